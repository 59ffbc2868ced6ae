//! Owns the list of benchmarks: names, goals and limits, as in the specification's
//! table of speed. Refuses to know how they are measured.

use serde::Serialize;

use crate::statistics::Goal;

/// One benchmark.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is measured.
    pub work: &'static str,
    /// What is measured beside it in the same run; none where the goal is a figure.
    pub limit: Option<&'static str>,
    /// What the ratio (or, without a limit, the figure) has to reach.
    pub goal: Goal,
    /// Of the figures.
    pub unit: &'static str,
    /// Whether it needs a running installation, or only this process.
    pub needs_server: bool,
}

const fn served(
    name: &'static str,
    work: &'static str,
    limit: Option<&'static str>,
    goal: Goal,
    unit: &'static str,
) -> Entry {
    Entry { name, work, limit, goal, unit, needs_server: true }
}

const UNKNOWN: Option<&str> =
    Some("the same for a name that nobody has, interleaved with it at random");
const PGBENCH: Option<&str> =
    Some("pgbench, 64 clients, one pipelined transaction per transfer, the same rows written");
const RS256: Option<&str> = Some("bare RS256 verification of the same tokens");
const AES_GCM: Option<&str> = Some("bare AES-256-GCM of 64 bytes");

/// Every benchmark, in the order in which they run: in-process ones first, while
/// nothing else of ours is running.
pub const ALL: &[Entry] = &[
    Entry {
        name: "cedar",
        work: "an uncached access decision of a core bank, p50 over representative requests",
        limit: None,
        goal: Goal::at_most(15.0),
        unit: "µs",
        needs_server: false,
    },
    Entry {
        name: "cedar-custom",
        work: "the same of somebody who holds a custom role with conditions beside the least of the blueprint's",
        limit: None,
        goal: Goal::at_most(15.0),
        unit: "µs",
        needs_server: false,
    },
    Entry {
        name: "seal",
        work: "sealing a field of 64 bytes",
        limit: AES_GCM,
        goal: Goal::at_most(3.0),
        unit: "ns",
        needs_server: false,
    },
    Entry {
        name: "open",
        work: "opening a field of 64 bytes",
        limit: AES_GCM,
        goal: Goal::at_most(3.0),
        unit: "ns",
        needs_server: false,
    },
    Entry {
        name: "argon2id",
        work: "one password by Argon2id as a tenant may choose it, 19 MiB and two passes",
        limit: Some("one by bcrypt of cost 12, in the same pool"),
        goal: Goal::reported(),
        unit: "ms",
        needs_server: false,
    },
    served(
        "read-account",
        "GET /v1/accounts/{id}, authenticated, authorised, tenant-isolated",
        Some("the same row from a bare axum handler over pipelined connections, no security"),
        Goal::at_least(0.85),
        "requests/s",
    ),
    served(
        "transfer-single",
        "POST /v1/transfers, 64 clients, uniform accounts",
        PGBENCH,
        Goal::at_least(1.0),
        "transfers/s",
    ),
    served(
        "transfer-batch",
        "POST /v1/transfers/batch × 1000",
        PGBENCH,
        Goal::at_least(3.0),
        "transfers/s",
    ),
    served(
        "hot-account",
        "POST /v1/transfers, one account credited by every transfer",
        Some("the same with uniform accounts"),
        Goal::at_least(0.7),
        "transfers/s",
    ),
    served(
        "login",
        "POST /v1/auth/login",
        Some("bare bcrypt of cost 12 on all cores"),
        Goal::at_least(0.95),
        "logins/s",
    ),
    served(
        "reads-under-login-flood",
        "p99 of paced reads while logins flood in",
        Some("p99 of the same reads without the flood"),
        Goal::at_most(2.0),
        "ms",
    ),
    served(
        "enumeration-login",
        "a wrong password for a name that somebody has, until the answer",
        UNKNOWN,
        Goal::reported(),
        "ms",
    ),
    served(
        "enumeration-forgot",
        "POST /v1/auth/password/forgot for a name that somebody has, until the answer",
        UNKNOWN,
        Goal::reported(),
        "ms",
    ),
    served(
        "enumeration-sign-up",
        "POST /v1/auth/register for an address that somebody has, until the answer",
        UNKNOWN,
        Goal::reported(),
        "ms",
    ),
    served(
        "token-cached",
        "authenticating a token seen before: times, key, revocation",
        RS256,
        Goal::at_least(20.0),
        "verifications/s",
    ),
    served(
        "token-uncached",
        "authenticating a token never seen, of a session that is known: signature, claims, revocation",
        RS256,
        Goal::at_least(0.9),
        "verifications/s",
    ),
    served(
        "session-validation",
        "authenticating where neither token nor session is known: the mean of single calls",
        None,
        Goal::at_most(2.5),
        "ms",
    ),
    served(
        "mfa-verification",
        "POST /v1/auth/mfa/verify by backup codes, one after another: the mean of single calls",
        None,
        Goal::at_most(10.0),
        "ms",
    ),
    served(
        "refresh",
        "POST /v1/auth/refresh, each token once, 24 families that rotate, tokens signed by HS256",
        None,
        Goal::at_least(2_000.0),
        "refreshes/s",
    ),
    served(
        "introspection",
        "POST /v1/auth/introspect by a machine with an API key, 32 connections, tokens seen before",
        None,
        Goal::at_least(20_000.0),
        "introspections/s",
    ),
    served(
        "audit-append",
        "appending audit records until the last of them is sealed into the tenant's tree",
        Some("inserts of the same rows into bare tables, no tree"),
        Goal::at_least(0.8),
        "records/s",
    ),
    served(
        "audit-verify",
        "verifying an exported log in memory: records, tree, signatures, per second of processor time",
        None,
        Goal::at_least(1_000_000.0),
        "records/s",
    ),
    served(
        "audit-verify-database",
        "verifying the log in the database, columns and stored nodes included, per second of processor time",
        None,
        Goal::reported(),
        "records/s",
    ),
    served(
        "start",
        "`strongroom serve` on a migrated database, until ready",
        None,
        Goal::at_most(300.0),
        "ms",
    ),
    served("memory-idle", "resident memory of `serve`, idle", None, Goal::at_most(60.0), "MB"),
    served(
        "connections",
        "1,000 connections held, each reading once a second: those that were always answered",
        None,
        Goal::at_least(1_000.0),
        "connections",
    ),
    served(
        "memory-busy",
        "peak of the resident memory of the server at 1,000 busy connections",
        None,
        Goal::at_most(150.0),
        "MB",
    ),
];

/// The benchmark of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_unique_and_of_the_command_lines_form() {
        let mut names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
        for name in &names {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
