//! `strongroom doctor` from outside, with the real binary: green on a good
//! installation, and for every fault provoked the finding and the command that
//! mends it. Roles and settings belong to a whole cluster, so each installation
//! here has a private one.

mod busy;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;

use crate::cli::strongroom;

/// Another root than any installation's.
const OTHER_KEY: &str = "q3Zf0v9m5N8s1XyB7LdKcTgJhR2WuEaP4oYi6MbVnQk=";

/// `strongroom dev`, kept in `var` of a folder of its own.
struct Installation {
    child: Child,
    note: Value,
    folder: tempfile::TempDir,
}

impl Installation {
    fn start(seed: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = strongroom(folder.path())
            .args(["dev", "--port", "0", "--seed", seed])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let path = folder.path().join("var/ready.json");
        let deadline = Instant::now() + Duration::from_secs(180);
        while !path.exists() {
            assert!(child.try_wait().unwrap().is_none(), "dev ended before it was ready");
            assert!(Instant::now() < deadline, "dev is not ready after three minutes");
            std::thread::sleep(Duration::from_millis(50));
        }
        let note = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // What was recorded while seeding is sealed within a moment.
        std::thread::sleep(Duration::from_millis(800));
        Self { child, note, folder }
    }

    fn text(&self, name: &str) -> &str {
        self.note[name].as_str().unwrap()
    }

    fn doctor(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Report {
        let output = strongroom(self.folder.path())
            .args(["doctor", "--json"])
            .args(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        for secret in [self.text("encryption_key"), password(self.text("database_url"))] {
            let all = format!("{output:?}");
            assert!(!all.contains(secret), "a secret was printed: {all}");
        }
        Report::of(&output)
    }

    fn stop(&mut self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Only where a test failed half-way; the cluster's watchdog does the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn password(url: &str) -> &str {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .unwrap()
        .0
        .split_once(':')
        .unwrap()
        .1
}

struct Report {
    code: i32,
    json: Value,
}

impl Report {
    fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { code: output.status.code().unwrap(), json }
    }

    fn checks(&self) -> &Vec<Value> {
        self.json["checks"].as_array().unwrap()
    }

    fn bad(&self) -> Vec<&Value> {
        let is_bad = |one: &&Value| one["verdict"] == "fault" || one["verdict"] == "warning";
        self.checks().iter().filter(is_bad).collect()
    }

    /// The one thing that is wrong is this, and this mends it.
    fn blames(&self, what: &str, (check, verdict, found, mend): (&str, &str, &str, &str)) {
        let hit = self.checks().iter().any(|one| {
            one["check"] == check
                && one["verdict"] == verdict
                && one["found"].as_str().unwrap().contains(found)
                && one["mend"].as_str().is_some_and(|command| command.contains(mend))
        });
        assert!(hit, "{what}: {check} {verdict} {found:?} → {mend:?} in {:#?}", self.bad());
        assert_eq!(self.code, i32::from(self.json["summary"]["fault"] != 0), "{what}");
    }
}

/// Something that is broken, what says so, and what puts it right again.
struct Provoked {
    what: &'static str,
    by: &'static str,
    expected: (&'static str, &'static str, &'static str, &'static str),
    undone_by: &'static str,
}

const PROVOKED: &[Provoked] = &[
    Provoked {
        what: "a tampered migration",
        by: "UPDATE schema_migrations SET checksum_up = repeat('0', 64) WHERE version = 2",
        expected: (
            "schema.migrations",
            "fault",
            "0002_audit was changed after it was applied",
            "strongroom migrate status",
        ),
        undone_by: "UPDATE schema_migrations SET checksum_up = kept.checksum FROM schema_migrations_history kept \
                    WHERE schema_migrations.version = 2 AND kept.version = 2 AND kept.direction = 'up'",
    },
    Provoked {
        what: "a partition that takes changes",
        by: "ALTER TABLE audit_log_security_rest DISABLE TRIGGER append_only",
        expected: (
            "schema.triggers",
            "fault",
            "the trigger append_only of audit_log_security_rest is switched off",
            "ALTER TABLE audit_log_security_rest ENABLE ALWAYS TRIGGER append_only",
        ),
        undone_by: "ALTER TABLE audit_log_security_rest ENABLE ALWAYS TRIGGER append_only",
    },
    Provoked {
        what: "a month without its partition",
        by: "DO $$ BEGIN EXECUTE 'ALTER TABLE audit_log_system_' || to_char((now() AT TIME ZONE 'UTC') \
                 + interval '1 month', 'YYYY_MM') || ' RENAME TO audit_log_system_aside'; END $$",
        expected: (
            "schema.partitions",
            "warning",
            "the audit log lacks audit_log_system_2",
            "strongroom serve",
        ),
        undone_by: "DO $$ BEGIN EXECUTE 'ALTER TABLE audit_log_system_aside RENAME TO audit_log_system_' \
                 || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM'); END $$",
    },
    Provoked {
        what: "a pending migration",
        by: "CREATE TABLE kept AS SELECT * FROM schema_migrations ORDER BY version DESC LIMIT 1; \
             DELETE FROM schema_migrations WHERE version = (SELECT version FROM kept)",
        expected: ("schema.migrations", "fault", "1 migration pending", "strongroom migrate up"),
        undone_by: "INSERT INTO schema_migrations SELECT * FROM kept; DROP TABLE kept",
    },
    Provoked {
        what: "a database of a newer binary",
        by: "INSERT INTO schema_migrations SELECT 9999, 'tomorrow', checksum_up, checksum_down, 9999, applied_at, \
             applied_by, 1 FROM schema_migrations WHERE version = 1",
        expected: (
            "schema.migrations",
            "fault",
            "9999_tomorrow, which needs a binary",
            "install the newer binary",
        ),
        undone_by: "DELETE FROM schema_migrations WHERE version = 9999",
    },
    Provoked {
        what: "a table without forced row security",
        by: "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
        expected: (
            "schema.row_security",
            "fault",
            "users does not force",
            "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        ),
        undone_by: "ALTER TABLE users FORCE ROW LEVEL SECURITY",
    },
    Provoked {
        what: "a table without row security",
        by: "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
        expected: (
            "schema.row_security",
            "fault",
            "customers has row security switched off",
            "ALTER TABLE customers ENABLE",
        ),
        undone_by: "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
    },
    Provoked {
        what: "a trigger that was switched off",
        by: "ALTER TABLE audit_log DISABLE TRIGGER append_only",
        expected: (
            "schema.triggers",
            "fault",
            "append_only of audit_log",
            "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only",
        ),
        undone_by: "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only",
    },
    Provoked {
        what: "a trigger that replicas pass by",
        by: "ALTER TABLE transfers ENABLE TRIGGER append_only",
        expected: (
            "schema.triggers",
            "fault",
            "append_only of transfers does not always fire",
            "ALTER TABLE transfers ENABLE ALWAYS TRIGGER append_only",
        ),
        undone_by: "ALTER TABLE transfers ENABLE ALWAYS TRIGGER append_only",
    },
    Provoked {
        what: "a trigger that was dropped",
        by: "DROP TRIGGER only_forward ON holds",
        expected: (
            "schema.triggers",
            "fault",
            "only_forward of holds is gone",
            "strongroom migrate status",
        ),
        undone_by: "CREATE TRIGGER only_forward BEFORE UPDATE ON holds FOR EACH ROW \
                    WHEN (OLD.status NOT IN ('authorized', 'partially_captured') \
                        OR NEW.status = 'authorized' OR NEW.captured_amount < OLD.captured_amount) \
                    EXECUTE FUNCTION refuse_hold_revival()",
    },
    Provoked {
        what: "a trigger of somebody else",
        by: "CREATE TRIGGER quiet BEFORE UPDATE ON holds FOR EACH ROW \
             EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        expected: (
            "schema.triggers",
            "warning",
            "quiet of holds is none of ours",
            "DROP TRIGGER quiet ON holds",
        ),
        undone_by: "DROP TRIGGER quiet ON holds",
    },
    Provoked {
        what: "an app role above row security",
        by: "ALTER ROLE strongroom_app BYPASSRLS",
        expected: (
            "database.roles",
            "fault",
            "strongroom_app has BYPASSRLS",
            "ALTER ROLE strongroom_app NOBYPASSRLS",
        ),
        undone_by: "ALTER ROLE strongroom_app NOBYPASSRLS",
    },
    Provoked {
        what: "an app role that may become the owner",
        by: "GRANT strongroom_owner TO strongroom_app",
        expected: (
            "database.roles",
            "fault",
            "strongroom_app may act as strongroom_owner",
            "REVOKE strongroom_owner FROM strongroom_app",
        ),
        undone_by: "REVOKE strongroom_owner FROM strongroom_app",
    },
    Provoked {
        what: "commits that do not wait for the disk",
        by: "ALTER DATABASE strongroom SET synchronous_commit = off",
        expected: (
            "database.durability",
            "fault",
            "synchronous_commit is off",
            "ALTER DATABASE strongroom RESET synchronous_commit",
        ),
        undone_by: "ALTER DATABASE strongroom RESET synchronous_commit",
    },
    Provoked {
        what: "a clock that is an hour ahead",
        by: "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''; \
             GRANT EXECUTE ON FUNCTION public.clock_timestamp() TO PUBLIC; \
             ALTER DATABASE strongroom SET search_path = public, pg_catalog",
        expected: ("database.clock", "fault", "ms ahead of ours", "timedatectl set-ntp true"),
        undone_by: "ALTER DATABASE strongroom RESET search_path; DROP FUNCTION public.clock_timestamp()",
    },
    Provoked {
        what: "books that do not balance",
        by: "UPDATE ledger_accounts SET balance = balance + 1 WHERE id = (SELECT min(id::text)::uuid FROM ledger_accounts)",
        expected: (
            "ledger.trial_balance",
            "fault",
            "sum to 1 minor units instead of 0",
            "strongroom ledger verify --tenant demo-bank",
        ),
        undone_by: "UPDATE ledger_accounts SET balance = balance - 1 WHERE id = (SELECT min(id::text)::uuid FROM ledger_accounts)",
    },
    Provoked {
        what: "a signing key beyond its time",
        by: "UPDATE signing_keys SET activated_at = now() - interval '400 days' \
             WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'demo-bank')",
        expected: (
            "keys.signing",
            "warning",
            "key of demo-bank signs for 400 days; its policy says 30",
            "strongroom keys rotate --tenant demo-bank",
        ),
        undone_by: "UPDATE signing_keys SET activated_at = now()",
    },
    Provoked {
        what: "no signing key at all",
        by: "UPDATE signing_keys SET status = 'verify_only', verify_until = now() + interval '1 day' \
             WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'demo-bank')",
        expected: (
            "keys.signing",
            "fault",
            "demo-bank has no active signing key",
            "restore the table signing_keys",
        ),
        undone_by: "UPDATE signing_keys SET status = 'active', verify_until = NULL \
                    WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'demo-bank')",
    },
    Provoked {
        what: "a checkpoint that was changed",
        by: "ALTER TABLE audit_checkpoints DISABLE TRIGGER append_only; \
             UPDATE audit_checkpoints SET note = replace(note, E'\\n\\n', E'\\nforged\\n\\n'); \
             ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER append_only",
        expected: (
            "audit.checkpoints",
            "fault",
            "no valid signature",
            "strongroom audit verify --tenant demo-bank",
        ),
        undone_by: "ALTER TABLE audit_checkpoints DISABLE TRIGGER append_only; \
                    UPDATE audit_checkpoints SET note = replace(note, E'\\nforged\\n\\n', E'\\n\\n'); \
                    ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER append_only",
    },
    Provoked {
        what: "a proof of the books that failed",
        by: "INSERT INTO ledger_proofs (tenant_id, started_at, finished_at, fault_count) \
             SELECT id, now(), now(), 3 FROM tenants WHERE slug = 'demo-bank' \
             ON CONFLICT (tenant_id) DO UPDATE SET fault_count = 3",
        expected: (
            "ledger.proof",
            "fault",
            "demo-bank: the last proof of the books found 3 faults",
            "strongroom ledger verify --tenant demo-bank",
        ),
        undone_by: "UPDATE ledger_proofs SET fault_count = 0",
    },
    Provoked {
        what: "answers that nobody forgets",
        by: "INSERT INTO idempotency_keys SELECT id, id, 'x', 'x', decode(repeat('00', 32), 'hex'), 200, '{}', \
             now() - interval '30 days' FROM tenants WHERE slug = 'demo-bank'",
        expected: (
            "operation.idempotency",
            "warning",
            "demo-bank keeps 1 answers",
            "strongroom serve",
        ),
        undone_by: "DELETE FROM idempotency_keys WHERE command = 'x'",
    },
];

/// The sealer's advisory lock, held by somebody who does not seal.
const STUCK: &str = "SELECT pg_advisory_lock(1936023916)";
const WAITS: &str = "INSERT INTO audit_inbox SELECT id, '018f0000-0000-7000-8000-000000000001', \
    decode(repeat('00', 32), 'hex') FROM tenants WHERE slug = 'demo-bank'";
const WAITS_NO_MORE: &str = "SET ROLE strongroom_sealer; DELETE FROM audit_inbox WHERE event_id = '018f0000-0000-7000-8000-000000000001'; RESET ROLE";

async fn run(client: &Client, statements: &str) {
    client
        .batch_execute(statements)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// Ten seconds after its start the server proves the books and records it, which would
/// put right a proof and sign a checkpoint in the middle of what is provoked. The next
/// time is in an hour.
async fn first_proof_is_over(client: &Client) {
    let proven = "SELECT EXISTS (SELECT FROM ledger_proofs proof JOIN tenants ON tenants.id = proof.tenant_id \
                  WHERE tenants.slug = 'demo-bank' AND proof.finished_at IS NOT NULL)";
    let waiting = "SELECT EXISTS (SELECT FROM audit_inbox)";
    let is =
        async |question: &str| -> bool { client.query_one(question, &[]).await.unwrap().get(0) };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is(proven).await || is(waiting).await {
        assert!(Instant::now() < deadline, "the books are not proven");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provoked_fault_is_found_and_names_what_mends_it() {
    let installation = Installation::start("demo");
    let green = installation.doctor(&[], &[]);
    assert_eq!((green.code, green.bad()), (0, vec![]), "a good installation is all green");
    every_check_is_documented(&green);
    busy::a_log_that_grows_is_no_fault(&installation).await;
    let client = connect(installation.text("database_url")).await;
    first_proof_is_over(&client).await;
    // Nothing tells of what is provoked: a record of it would be sealed, and the checkpoint
    // over it would be sound again.
    run(&client, "SET app.operation = 'yes'").await;
    for provoked in PROVOKED {
        run(&client, provoked.by).await;
        let report = installation.doctor(&[], &[]);
        run(&client, provoked.undone_by).await;
        report.blames(provoked.what, provoked.expected);
    }
    run(&client, STUCK).await;
    run(&client, WAITS).await;
    let report = installation.doctor(&[], &[]);
    run(&client, WAITS_NO_MORE).await;
    report.blames(
        "a stuck sealer",
        ("audit.sealer", "fault", "demo-bank: 1 records wait", "strongroom serve"),
    );
    drop(client);
    wrong_settings_are_told_apart(&installation);
    wrong_keys_and_sizes_are_told_apart(&installation);
    production_is_answered_line_by_line(&installation);
    statements_are_planned(&installation);
    let healed = installation.doctor(&[], &[]);
    assert_eq!((healed.code, healed.bad()), (0, vec![]), "everything was put right");
    what_stops_is_named(installation).await;
}

/// The names are an interface: each stands in the documentation with its meaning.
fn every_check_is_documented(report: &Report) {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md"))
            .unwrap();
    for check in report.checks() {
        let name = check["check"].as_str().unwrap();
        assert!(text.contains(&format!("`{name}`")), "{name} is not in docs/doctor.md");
    }
    let mut keys: Vec<_> = report.json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["checks", "healthy", "installation", "strongroom", "summary", "version"]);
    assert_eq!(report.json["version"], 1);
}

/// What is wrong, the environment, and the check with its verdict, finding and mend.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, (&'a str, &'a str, &'a str, &'a str));

fn wrong_settings_are_told_apart(installation: &Installation) {
    let url = installation.text("database_url");
    let key = installation.text("encryption_key");
    let wrong_password = url.replace(password(url), "wrong");
    let elsewhere = url.replace("/strongroom", "/nowhere");
    let database: [Case<'_>; 3] = [
        (
            "a wrong password",
            vec![("DATABASE_URL", &wrong_password), ("ENCRYPTION_KEY", key)],
            (
                "database.reachable",
                "fault",
                "refuses the password of postgres",
                "\\password postgres",
            ),
        ),
        (
            "another database",
            vec![("DATABASE_URL", &elsewhere), ("ENCRYPTION_KEY", key)],
            ("database.reachable", "fault", "there is no database nowhere", "createdb nowhere"),
        ),
        (
            "a stopped server",
            vec![("DATABASE_URL", "postgres://app@127.0.0.1:1/bank"), ("ENCRYPTION_KEY", key)],
            (
                "database.reachable",
                "fault",
                "nobody answers at 127.0.0.1:1",
                "systemctl start postgresql",
            ),
        ),
    ];
    for (what, environment, expected) in database {
        installation.doctor(&[], &environment).blames(what, expected);
    }
}

fn wrong_keys_and_sizes_are_told_apart(installation: &Installation) {
    let url = installation.text("database_url");
    let key = installation.text("encryption_key");
    let file = installation.folder.path().join("key");
    std::fs::write(&file, key).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.to_str().unwrap();
    let table: [Case<'_>; 4] = [
        (
            "another key",
            vec![("ENCRYPTION_KEY", OTHER_KEY)],
            (
                "keys.encryption",
                "fault",
                "does not open the keys of demo-bank",
                "strongroom config explain ENCRYPTION_KEY",
            ),
        ),
        (
            "a key file for everybody",
            vec![("DATABASE_URL", url), ("ENCRYPTION_KEY_FILE", file)],
            (
                "configuration.secret_files",
                "fault",
                "everybody on this machine may use",
                "chmod 600 ",
            ),
        ),
        (
            "a setting that is none",
            vec![("LISTEN_ADDRESS", "everywhere")],
            (
                "configuration.valid",
                "fault",
                "LISTEN_ADDRESS must be: address:port",
                "strongroom config explain LISTEN_ADDRESS",
            ),
        ),
        (
            "a pool beyond the server",
            vec![("DATABASE_POOL_SIZE", "900")],
            ("database.connections", "warning", "PostgreSQL takes", "max_connections"),
        ),
    ];
    for (what, environment, expected) in table {
        installation.doctor(&[], &environment).blames(what, expected);
    }
}

fn production_is_answered_line_by_line(installation: &Installation) {
    let report = installation.doctor(&["--production"], &[]);
    assert_eq!(report.code, 1, "a development installation is no production");
    let lines = report.json["production"].as_array().unwrap();
    let verdicts: Vec<_> = lines
        .iter()
        .map(|line| (line["line"].as_str().unwrap(), line["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("Use strong JWT secret (256+ bits entropy)", "ok"),
            ("Enable HTTPS with valid certificates", "fault"),
            ("Configure proper CORS policies", "ok"),
            ("Set up database encryption at rest", "warning"),
            ("Implement request rate limiting", "ok"),
            ("Add security headers middleware", "ok"),
            ("Enable audit logging", "ok"),
            ("Set up monitoring and alerting", "warning"),
        ]
    );
    assert!(lines.iter().all(|line| !line["evidence"].as_str().unwrap().is_empty()), "{lines:#?}");
    report.blames("a superuser", ("database.logins", "fault", "is a superuser", "createuser"));
    report.blames(
        "plain HTTP",
        ("configuration.valid", "fault", "PUBLIC_URL must begin with https", "PUBLIC_URL"),
    );
    report.blames(
        "a plain connection",
        ("database.transport", "fault", "in the clear", "Unix socket"),
    );
}

fn statements_are_planned(installation: &Installation) {
    let report = installation.doctor(&["--queries"], &[]);
    assert_eq!(report.code, 0, "{:#?}", report.bad());
    let queries = &report.json["queries"];
    assert!(queries["planned"].as_u64().unwrap() > 100, "{queries}");
    assert_eq!(queries["skipped"], serde_json::json!({}), "a superuser may act as every role");
    // The directory is read as a whole, and nothing but a plan is shown of it.
    let listed = queries["listed"].as_array().unwrap();
    let directory = listed.iter().find(|one| one["name"] == "all_tenants").unwrap();
    assert_eq!(
        (&directory["judgement"], &directory["tables"][0]["table"]),
        (&Value::from("unindexed"), &Value::from("tenants"))
    );
    assert!(directory["plan"].as_str().unwrap().contains("Seq Scan on tenants"), "{directory}");
    // Nothing that serves a request reads a tenant's table from end to end, whatever its size.
    for one in listed {
        let tables: Vec<_> =
            one["tables"].as_array().unwrap().iter().map(|table| &table["table"]).collect();
        let is_system = ["tenants", "schema_migrations", "schema_migrations_history"]
            .iter()
            .any(|known| tables.iter().all(|table| *table == known));
        assert!(is_system || one["role"] == "sealer", "{one}");
    }
}

/// PostgreSQL alone, then `dev` by force, then nothing at all.
async fn what_stops_is_named(mut installation: Installation) {
    let client = connect(installation.text("database_url")).await;
    let row = client.query_one("SELECT pg_read_file('postmaster.pid')", &[]).await.unwrap();
    let postmaster = row.get::<_, String>(0).lines().next().unwrap().to_owned();
    drop(client);
    assert!(Command::new("kill").args(["-s", "INT", &postmaster]).status().unwrap().success());
    let port = installation
        .text("database_url")
        .split('@')
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(&port).is_ok() {
        assert!(Instant::now() < deadline, "PostgreSQL is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
    let report = installation.doctor(&[], &[]);
    report.blames(
        "PostgreSQL is down",
        (
            "database.reachable",
            "fault",
            "where the running `dev` has its database",
            "./scripts/dev",
        ),
    );
    let skipped = report.checks().iter().filter(|one| one["verdict"] == "skipped").count();
    assert!(skipped > 20, "what could not be asked is skipped, never left out: {skipped}");
    installation.stop("KILL");
    let report = installation.doctor(&[], &[]);
    report.blames(
        "dev was killed",
        ("server.alive", "fault", "of `dev` is gone or stuck", "./scripts/dev"),
    );
}

#[test]
fn a_stopped_installation_and_an_empty_folder_say_how_to_start_one() {
    let mut installation = Installation::start("none");
    let second = strongroom(installation.folder.path())
        .args(["dev", "--port", "0", "--seed", "none"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && words.contains("already, at http://localhost:"), "{words}");
    // Every other command finds it without being told.
    let found = strongroom(installation.folder.path())
        .args(["tenant", "list", "-o", "csv"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).contains("platform"), "{found:?}");
    let text = strongroom(installation.folder.path()).arg("doctor").output().unwrap();
    let words = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.status.success() && words.contains(" 0 faults."), "{words}");
    assert!(!words.contains('\u{1b}'), "no colours into a pipe: {words}");
    installation.stop("TERM");
    let stopped = installation.doctor(&[], &[]);
    stopped.blames(
        "dev was stopped",
        (
            "configuration.valid",
            "fault",
            "the development installation in var is not running",
            "./scripts/dev",
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    let empty = doctor_in(folder.path(), &[]);
    empty.blames(
        "nothing here",
        ("configuration.valid", "fault", "there is no development installation", "./scripts/dev"),
    );
    let wrong_key = strongroom(installation.folder.path())
        .args(["dev", "--port", "0", "--seed", "none"])
        .env("ENCRYPTION_KEY", OTHER_KEY)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&wrong_key.stderr).into_owned();
    assert!(!wrong_key.status.success() && words.contains("was made under another one"), "{words}");
}

fn doctor_in(folder: &Path, environment: &[(&str, &str)]) -> Report {
    let output = strongroom(folder)
        .args(["doctor", "-o", "json"])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    Report::of(&output)
}

/// The tests' own cluster does without `fsync`, and an empty database has no schema.
#[tokio::test(flavor = "multi_thread")]
async fn a_careless_server_and_an_empty_database_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty().await;
    let url = database.superuser_url();
    let report = doctor_in(folder.path(), &[("DATABASE_URL", &url), ("ENCRYPTION_KEY", OTHER_KEY)]);
    report.blames(
        "fsync is off",
        ("database.durability", "fault", "fsync is off", "ALTER SYSTEM SET fsync"),
    );
    report.blames(
        "no schema",
        ("schema.migrations", "fault", "migrations pending", "strongroom migrate up"),
    );
    let codes = [(vec![], 1), (vec!["--frobnicate"], 2), (vec!["-o", "csv"], 1)];
    for (arguments, code) in codes {
        let output = strongroom(folder.path()).arg("doctor").args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
}
