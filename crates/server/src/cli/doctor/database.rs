//! Owns the judgement of the PostgreSQL server itself: its version, its clock, how
//! careful it is with what it was told to keep, who can reach it, and its room.
//!
//! It refuses to know what we store in it.

use jiff::Timestamp;
use tenancy::DbError;
use tokio_postgres::{Client, Row};

use super::Patient;
use super::connection::Target;
use super::report::Finding;

const SERVER: &str = tenancy::sql!("server/doctor.sql", "server");
const DATA_DIRECTORY: &str = tenancy::sql!("server/doctor.sql", "data_directory");
const LONG_TRANSACTIONS: &str = tenancy::sql!("server/doctor.sql", "long_transactions");

pub(super) const VERSION: &str = "database.version";
pub(super) const TRANSPORT: &str = "database.transport";
pub(super) const LISTENING: &str = "database.listening";
pub(super) const CLOCK: &str = "database.clock";
pub(super) const TIME_ZONE: &str = "database.time_zone";
pub(super) const ENCODING: &str = "database.encoding";
pub(super) const DURABILITY: &str = "database.durability";
pub(super) const CHECKSUMS: &str = "database.checksums";
pub(super) const CONNECTIONS: &str = "database.connections";
pub(super) const DISK: &str = "database.disk";
pub(super) const TRANSACTIONS: &str = "database.transactions";

/// The oldest server that the statements are written for.
const VERSION_MIN: i32 = 150_000;
/// Tokens, locks and audit records of two clocks this far apart contradict each other.
const SKEW_FAULT_MS: i64 = 5_000;
const SKEW_WARNING_MS: i64 = 500;
/// A transaction older than this holds back vacuum, and maybe a lock.
const TRANSACTION_AGE_MAX_S: i64 = 300;
const DISK_FAULT_BYTES: u64 = 512 << 20;
const DISK_WARNING_BYTES: u64 = 2 << 30;
/// Beside the app's pool: four that carry its lookups, two of the sealer, four of an
/// auditor, one of us. (The sealer looks nothing up: what would carry that is never opened.)
const FURTHER_CONNECTIONS: usize = 4 + 2 + 4 + 1;

/// Every check of this file.
pub(super) async fn check(
    patient: &Patient<'_>,
    client: &Client,
    target: &Target,
) -> Result<Vec<Finding>, DbError> {
    let before = patient.clock.now();
    let row = client.query_one(SERVER, &[]).await?;
    let after = patient.clock.now();
    let text = |name: &str| row.try_get::<_, String>(name);
    let mut findings = vec![
        version(row.try_get("version_number")?, &text("version")?),
        transport(target, row.try_get("encrypted")?, patient.strict),
        listening(&text("listen_addresses")?),
        clock(before, row.try_get("clock")?, after),
        time_zone(&text("time_zone")?),
        encoding(&text("encoding")?),
    ];
    findings.extend(durability(&row)?);
    findings.push(checksums(&text("data_checksums")?));
    findings.push(connections(&row, patient)?);
    findings.push(disk(client, target, row.try_get("database_bytes")?).await?);
    findings.push(transactions(client).await?);
    Ok(findings)
}

/// For settings that the server reads again when it is told to.
fn alter(name: &str, value: &str) -> String {
    format!(
        "sudo -u postgres psql -c \"ALTER SYSTEM SET {name} = {value}\" -c \"SELECT pg_reload_conf()\""
    )
}

/// For settings that the server reads when it starts.
fn alter_and_restart(name: &str, value: &str) -> String {
    format!(
        "sudo -u postgres psql -c \"ALTER SYSTEM SET {name} = {value}\" && sudo systemctl restart postgresql"
    )
}

fn version(number: i32, text: &str) -> Finding {
    if number < VERSION_MIN {
        let found = format!("PostgreSQL {text}; 15 is the oldest that works");
        return Finding::fault(
            VERSION,
            found,
            "sudo apt-get install postgresql   (then pg_upgradecluster)",
        );
    }
    Finding::ok(VERSION, format!("PostgreSQL {text}"))
}

fn transport(target: &Target, encrypted: bool, strict: bool) -> Finding {
    let place = &target.place;
    if target.is_socket {
        return Finding::ok(
            TRANSPORT,
            format!("Unix socket in {place}: never leaves this machine"),
        );
    }
    if encrypted {
        return Finding::ok(TRANSPORT, format!("TLS to {place}"));
    }
    if target.is_local && !strict {
        return Finding::ok(
            TRANSPORT,
            format!("plain TCP to {place}: fine on one machine, in development"),
        );
    }
    Finding::fault(
        TRANSPORT,
        format!("passwords and data travel to {place} in the clear"),
        "strongroom config explain DATABASE_URL   (sslmode=verify-full, or a Unix socket)",
    )
}

fn listening(addresses: &str) -> Finding {
    let public: Vec<_> = addresses
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .filter(|address| {
            !(*address == "localhost" || *address == "::1" || address.starts_with("127."))
        })
        .collect();
    if public.is_empty() {
        let shown =
            if addresses.trim().is_empty() { "no address, a socket only" } else { addresses };
        return Finding::ok(LISTENING, format!("PostgreSQL listens on {shown}"));
    }
    Finding::warning(
        LISTENING,
        format!("PostgreSQL listens beyond this machine: {}", public.join(", ")),
        alter_and_restart("listen_addresses", "'localhost'")
            + "   (or a private network and a firewall)",
    )
}

/// The server's clock was read between `before` and `after`.
fn clock(before: Timestamp, server: Timestamp, after: Timestamp) -> Finding {
    let ms = Timestamp::as_millisecond;
    // Within the round trip nobody can tell; outside it the clocks differ.
    let skew_ms = if ms(server) < ms(before) {
        ms(server) - ms(before)
    } else {
        (ms(server) - ms(after)).max(0)
    };
    let found = format!(
        "the database's clock is {} ms {} ours",
        skew_ms.abs(),
        if skew_ms < 0 { "behind" } else { "ahead of" }
    );
    let mend =
        "sudo timedatectl set-ntp true   (on both machines; then: timedatectl timesync-status)";
    match skew_ms.abs() {
        SKEW_FAULT_MS.. => Finding::fault(CLOCK, found, mend),
        SKEW_WARNING_MS.. => Finding::warning(CLOCK, found, mend),
        0 => Finding::ok(CLOCK, "the database's clock and ours agree"),
        _ => Finding::ok(CLOCK, found),
    }
}

fn time_zone(zone: &str) -> Finding {
    if ["UTC", "Etc/UTC", "GMT"].contains(&zone) {
        return Finding::ok(
            TIME_ZONE,
            format!("{zone}; business dates follow each tenant's own zone"),
        );
    }
    Finding::note(
        TIME_ZONE,
        format!(
            "{zone}: instants are stored without a zone, so this only changes how psql shows them"
        ),
    )
}

fn encoding(encoding: &str) -> Finding {
    if encoding == "UTF8" {
        return Finding::ok(ENCODING, "UTF8");
    }
    Finding::fault(
        ENCODING,
        format!("the database is {encoding}; names of people need UTF8"),
        "sudo -u postgres createdb --encoding=UTF8 --template=template0 strongroom_utf8   (then pg_dump and restore)",
    )
}

fn durability(row: &Row) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String = row.try_get(name)?;
        if value == "off" || (name == "synchronous_commit" && value == "local") {
            findings.push(Finding::fault(
                DURABILITY,
                format!(
                    "{name} is {value}: money that was acknowledged can be lost in a power cut"
                ),
                mend_of(name, row)?,
            ));
        }
    }
    if findings.is_empty() {
        let found = "fsync, full_page_writes and synchronous_commit are on";
        findings.push(Finding::ok(DURABILITY, found));
    }
    Ok(findings)
}

/// A setting of one database or login stands above the server's.
fn mend_of(name: &str, row: &Row) -> Result<String, DbError> {
    let source: Option<String> = row.try_get("commit_source")?;
    let database: String = row.try_get("database_name")?;
    let whose = match source.as_deref().filter(|_| name == "synchronous_commit") {
        Some("database") => format!("DATABASE {database}"),
        Some("user") => "ROLE strongroom_app".to_owned(),
        _ => return Ok(alter(name, "'on'")),
    };
    Ok(format!("sudo -u postgres psql -c 'ALTER {whose} RESET {name}'"))
}

fn checksums(value: &str) -> Finding {
    if value == "on" {
        return Finding::ok(CHECKSUMS, "data checksums are on: a disk that lies is found");
    }
    Finding::note(
        CHECKSUMS,
        "data checksums are off: pg_checksums --enable, with the server stopped, turns them on",
    )
}

fn connections(row: &Row, patient: &Patient<'_>) -> Result<Finding, DbError> {
    let (all, reserved): (i32, i32) =
        (row.try_get("max_connections")?, row.try_get("reserved_connections")?);
    let pool = patient.configuration.database().map_or(30, |config| config.max_connections);
    Ok(places(pool, usize::try_from(all - reserved).unwrap_or(0)))
}

fn places(pool: usize, free: usize) -> Finding {
    let ours = pool + FURTHER_CONNECTIONS;
    let found = format!("a node opens up to {ours} connections; PostgreSQL takes {free}");
    if ours > free {
        let mend = alter_and_restart("max_connections", &(ours * 2).to_string())
            + ", or lower DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW";
        return Finding::warning(CONNECTIONS, found, mend);
    }
    Finding::ok(CONNECTIONS, format!("{found}: room for {} nodes", free / ours))
}

async fn disk(client: &Client, target: &Target, used: i64) -> Result<Finding, DbError> {
    let used = bytes(u64::try_from(used).unwrap_or(0));
    if !target.is_local {
        let why = format!("the data lies on another machine; the database has {used}");
        return Ok(Finding::skipped(DISK, why));
    }
    let Some(row) = client.query_opt(DATA_DIRECTORY, &[]).await? else {
        let why = format!(
            "this login may not know the data directory (GRANT pg_read_all_settings); the database has {used}"
        );
        return Ok(Finding::skipped(DISK, why));
    };
    let directory: String = row.try_get("setting")?;
    Ok(match free_bytes(&directory) {
        None => Finding::skipped(
            DISK,
            format!("{directory} is not ours to enter; the database has {used}"),
        ),
        Some(free) => room(&directory, &used, free),
    })
}

/// Free space where a folder lies, its parents standing in for one we may not enter.
fn free_bytes(folder: &str) -> Option<u64> {
    let found = std::path::Path::new(folder)
        .ancestors()
        .take(4)
        .find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn room(directory: &str, used: &str, free: u64) -> Finding {
    let found = format!("the database has {used}, {} free at {directory}", bytes(free));
    let mend = format!("df -h {directory}   (grow the volume, or free space on it)");
    if free < DISK_FAULT_BYTES {
        Finding::fault(DISK, found, mend)
    } else if free < DISK_WARNING_BYTES {
        Finding::warning(DISK, found, mend)
    } else {
        Finding::ok(DISK, found)
    }
}

async fn transactions(client: &Client) -> Result<Finding, DbError> {
    let rows = client.query(LONG_TRANSACTIONS, &[&TRANSACTION_AGE_MAX_S]).await?;
    let Some(oldest) = rows.first() else {
        return Ok(Finding::ok(TRANSACTIONS, "none has been open for five minutes"));
    };
    let (pid, age_s): (i32, i64) = (oldest.try_get("pid")?, oldest.try_get("age_s")?);
    let (login, state): (String, String) = (oldest.try_get("login")?, oldest.try_get("state")?);
    Ok(Finding::warning(
        TRANSACTIONS,
        format!(
            "{} open for more than five minutes; the oldest for {age_s} s, by {login} ({state})",
            rows.len()
        ),
        format!("sudo -u postgres psql -c 'SELECT pg_terminate_backend({pid})'"),
    ))
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut scaled = count;
    let mut unit = 0;
    while scaled >= 10_240 && unit + 1 < units.len() {
        scaled /= 1_024;
        unit += 1;
    }
    format!("{scaled} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{bytes, clock, encoding, listening, places, room, time_zone, transport, version};
    use crate::cli::doctor::connection::Target;
    use crate::cli::doctor::report::Verdict::{Fault, Note, Ok, Warning};

    #[test]
    fn clocks_are_compared_around_the_round_trip() {
        let at = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
        let table = [
            (1_000, 1_005, 1_010, Ok),
            (1_000, 1_400, 1_010, Ok),
            (1_000, 1_600, 1_010, Warning),
            (10_000, 9_000, 10_010, Warning),
            (10_000, 16_000, 10_010, Fault),
            (10_000, 4_000, 10_010, Fault),
            // A slow answer says nothing about the clocks.
            (1_000, 8_000, 9_000, Ok),
        ];
        for (before, server, after, verdict) in table {
            let finding = clock(at(before), at(server), at(after));
            assert_eq!(finding.verdict, verdict, "{before} {server} {after}: {finding:?}");
        }
    }

    #[test]
    fn servers_are_judged() {
        let target = |url: &str| Target::of(&url.parse().unwrap_or_default());
        let remote = target("postgres://a@db.example/b");
        let near = target("postgres://a@127.0.0.1/b");
        let socket = target("postgres:///b?host=/tmp");
        let table = [
            (version(140_012, "14.12"), Fault),
            (version(150_008, "15.8"), Ok),
            (transport(&remote, false, false), Fault),
            (transport(&remote, true, true), Ok),
            (transport(&near, false, false), Ok),
            (transport(&near, false, true), Fault),
            (transport(&socket, false, true), Ok),
            (listening("localhost"), Ok),
            (listening(""), Ok),
            (listening("127.0.0.1, ::1"), Ok),
            (listening("*"), Warning),
            (listening("localhost,10.0.0.5"), Warning),
            (time_zone("Europe/Berlin"), Note),
            (encoding("SQL_ASCII"), Fault),
            // 30 of the pool, 4 of its lookups, 2 of the sealer, 5 of commands beside it.
            (places(30, 41), Ok),
            (places(30, 40), Warning),
            (room("/data", "1 GB", 100 << 20), Fault),
            (room("/data", "1 GB", 1 << 30), Warning),
            (room("/data", "1 GB", 20 << 30), Ok),
        ];
        for (finding, verdict) in table {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(finding.mend.is_some(), matches!(verdict, Warning | Fault), "{finding:?}");
        }
        assert_eq!([bytes(512), bytes(20_480), bytes(5 << 30)], ["512 bytes", "20 kB", "5120 MB"]);
    }
}
