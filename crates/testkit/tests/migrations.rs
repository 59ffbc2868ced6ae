//! The migrator and the test databases against a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

use tenancy::migrate::{
    Direction, MigrateError, Migration, MigrationState, Migrator, ensure_roles,
};
use testkit::{TestDatabase, connect};

/// The whole catalogue as `pg_dump` writes it, sorted by it and free of ids.
fn catalogue(database: &TestDatabase) -> String {
    let binaries = cluster::Binaries::find(None).unwrap();
    let output = Command::new(binaries.program("pg_dump"))
        .args(["--schema-only", "--dbname"])
        .arg(database.superuser_url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions wrap the dump in a random `\restrict` key.
    text.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

fn two_steps() -> Vec<Migration> {
    vec![
        Migration::new(1, "first", "CREATE TABLE first (id int)", "DROP TABLE first"),
        Migration::new(2, "second", "CREATE TABLE second (id int)", "DROP TABLE second"),
    ]
}

#[tokio::test]
async fn every_migration_can_be_taken_back_and_applied_again() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let migrator = Migrator::embedded();
    let count = u32::try_from(migrator.migrations().len()).unwrap();

    migrator.up(&mut client, Some(0)).await.unwrap();
    let empty = catalogue(&database);
    assert_eq!(migrator.up(&mut client, None).await.unwrap().len(), migrator.migrations().len());
    let first = catalogue(&database);
    migrator.down(&mut client, count).await.unwrap();
    assert_eq!(catalogue(&database), empty, "down leaves what was there before");
    migrator.up(&mut client, None).await.unwrap();
    assert_eq!(catalogue(&database), first, "and up makes the same again");

    for step in migrator.migrations().iter().rev() {
        assert_eq!(migrator.down(&mut client, 1).await.unwrap()[0].version, step.version);
    }
    assert_eq!(catalogue(&database), empty, "one by one as well");
    let verified = migrator.verify(&client).await.unwrap();
    assert_eq!((verified.current_version, verified.pending), (0, migrator.migrations().len()));
}

#[tokio::test]
async fn databases_are_migrated_and_isolated() {
    let (one, other) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    let (one_client, other_client) =
        tokio::join!(async { connect(&one.superuser_url()).await }, async {
            connect(&other.superuser_url()).await
        });
    one_client.batch_execute("CREATE TABLE only_here (id int)").await.unwrap();
    let found = "SELECT to_regclass('only_here') IS NOT NULL";
    assert!(one_client.query_one(found, &[]).await.unwrap().get::<_, bool>(0));
    assert!(!other_client.query_one(found, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(Migrator::embedded().verify(&other_client).await.unwrap().pending, 0);
}

#[tokio::test]
async fn a_role_is_taken_at_connection_and_the_database_goes_with_its_test() {
    let database = TestDatabase::create().await;
    for role in tenancy::migrate::ROLES {
        let client = connect(&database.url_as(role)).await;
        let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), role);
        assert_eq!(Migrator::embedded().verify(&client).await.unwrap().pending, 0, "{role}");
        if role != "strongroom_owner" {
            let write = "DELETE FROM schema_migrations";
            let refused = client.batch_execute(write).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{role}");
        }
    }
    let name = database.name().to_owned();
    drop(database);
    let admin = connect(testkit::superuser_url()).await;
    let left =
        admin.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await.unwrap();
    assert!(left.is_none());
}

#[tokio::test]
async fn a_tampered_history_is_refused_by_name() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    Migrator::with(two_steps()).up(&mut client, None).await.unwrap();

    let mut changed = two_steps();
    changed[0] = Migration::new(1, "first", "CREATE TABLE first (id bigint)", "DROP TABLE first");
    let changed = Migrator::with(changed);
    for refused in [
        changed.verify(&client).await.map(|_| ()),
        changed.up(&mut client, None).await.map(|_| ()),
        changed.down(&mut client, 1).await.map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, MigrateError::Tampered { version: 1, .. }), "{error}");
        assert!(error.to_string().contains("0001_first"), "{error}");
    }

    let forged = "UPDATE schema_migrations SET checksum_up = repeat('0', 64) WHERE version = 2";
    client.batch_execute(forged).await.unwrap();
    let error = Migrator::with(two_steps()).verify(&client).await.unwrap_err();
    assert!(matches!(error, MigrateError::Tampered { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn two_runners_apply_each_migration_once() {
    let database = TestDatabase::empty().await;
    let mut one = connect(&database.url_as("strongroom_owner")).await;
    let mut other = connect(&database.superuser_url()).await;
    let slow = vec![
        Migration::new(1, "first", "CREATE TABLE first (id int); SELECT pg_sleep(0.3)", ""),
        Migration::new(2, "second", "CREATE TABLE second (id int); SELECT pg_sleep(0.3)", ""),
    ];
    let migrator = Migrator::with(slow);
    let (by_one, by_other) =
        tokio::join!(migrator.up(&mut one, None), migrator.up(&mut other, None));
    let mut counts = [by_one.unwrap().len(), by_other.unwrap().len()];
    counts.sort_unstable();
    assert_eq!(counts, [0, 2]);
    let row = other.query_one("SELECT current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), cluster::SUPERUSER, "the connection gets its role back");
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_and_those_before_it_stay() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let mut steps = two_steps();
    steps.push(Migration::new(3, "broken", "CREATE TABLE third (id int);\nSELECT nothing", ""));
    let migrator = Migrator::with(steps);
    let error = migrator.up(&mut client, None).await.unwrap_err();
    assert!(matches!(error, MigrateError::Failed { version: 3, .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("in line 2") && said.contains("\"nothing\" does not exist"), "{said}");

    let status = migrator.status(&client).await.unwrap();
    let is_applied = |state: &MigrationState| matches!(state, MigrationState::Applied(_));
    let found: Vec<_> = status.iter().map(|one| is_applied(&one.state)).collect();
    assert_eq!(found, [true, true, false]);
    let left = client.query_one("SELECT to_regclass('third') IS NULL", &[]).await.unwrap();
    assert!(left.get::<_, bool>(0));
}

#[tokio::test]
async fn a_migration_gives_up_waiting_for_a_lock() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let blocker = connect(&database.superuser_url()).await;
    let mut steps = two_steps();
    Migrator::with(steps.clone()).up(&mut client, None).await.unwrap();
    steps.push(Migration::new(3, "alter", "ALTER TABLE first ADD COLUMN other int", ""));
    blocker.batch_execute("BEGIN; LOCK TABLE first").await.unwrap();
    let migrator = Migrator::with(steps).lock_timeout_ms(50);
    let error = migrator.up(&mut client, None).await.unwrap_err();
    assert!(error.to_string().contains("55P03"), "{error}");
    blocker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(migrator.up(&mut client, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn newer_databases_are_accepted_only_where_they_say_so() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let mut steps = two_steps();
    steps.push(Migration::new(3, "kind", "-- min_binary: 2\nSELECT 1", "SELECT 1"));
    Migrator::with(steps.clone()).up(&mut client, None).await.unwrap();

    let older = Migrator::with(two_steps());
    assert_eq!(older.verify(&client).await.unwrap().current_version, 3);
    assert!(older.up(&mut client, None).await.unwrap().is_empty());
    let newest = older.status(&client).await.unwrap().pop().unwrap();
    assert!(matches!(newest.state, MigrationState::Newer(_)));
    let error = older.down(&mut client, 1).await.unwrap_err();
    assert!(matches!(error, MigrateError::NotInBinary { version: 3, .. }), "{error}");

    steps.push(Migration::new(4, "unkind", "SELECT 1", "SELECT 1"));
    Migrator::with(steps).up(&mut client, None).await.unwrap();
    let error = older.verify(&client).await.unwrap_err();
    assert!(matches!(error, MigrateError::TooNew { version: 4, min_binary: 4, .. }), "{error}");
}

#[tokio::test]
async fn targets_and_history_are_kept() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let migrator = Migrator::with(two_steps());
    assert!(migrator.history(&client).await.unwrap().is_empty());
    assert_eq!(migrator.up(&mut client, Some(1)).await.unwrap().len(), 1);
    assert_eq!(migrator.up(&mut client, Some(2)).await.unwrap().len(), 1);
    migrator.down(&mut client, 2).await.unwrap();
    let steps: Vec<_> = migrator
        .history(&client)
        .await
        .unwrap()
        .iter()
        .map(|entry| (entry.version, entry.direction))
        .collect();
    let (up, down) = (Direction::Up, Direction::Down);
    assert_eq!(steps, [(1, up), (2, up), (2, down), (1, down)]);
}

#[tokio::test]
async fn a_login_that_may_not_prepare_the_database_is_told_the_sql() {
    let database = TestDatabase::create().await;
    let admin = connect(&database.superuser_url()).await;
    let login = format!("login_{}", database.name());
    admin.batch_execute(&format!("CREATE ROLE {login} NOLOGIN")).await.unwrap();
    let mut client = connect(&database.url_as(&login)).await;
    // All is prepared already: nothing to do needs no privilege.
    ensure_roles(&client).await.unwrap();
    let error = Migrator::embedded().up(&mut client, None).await.unwrap_err();
    assert!(matches!(error, MigrateError::NotOwner { .. }), "{error}");

    admin.batch_execute("ALTER SCHEMA public OWNER TO postgres").await.unwrap();
    let error = ensure_roles(&client).await.unwrap_err();
    assert!(error.to_string().contains("ALTER SCHEMA public OWNER TO strongroom_owner"), "{error}");
    admin.batch_execute(&format!("DROP ROLE {login}")).await.unwrap();
}

#[test]
fn new_writes_the_next_pair() {
    let folder = std::env::temp_dir().join(format!("migrations-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("0007_before.up.sql"), "").unwrap();
    let [up, down] = tenancy::migrate::new(&folder, "add_cards").unwrap();
    assert!(up.ends_with("0008_add_cards.up.sql") && down.ends_with("0008_add_cards.down.sql"));
    assert!(up.is_file() && down.is_file());
    for bad in ["", "9lives", "has space", "../escape", "Upper"] {
        let refused = tenancy::migrate::new(&folder, bad).unwrap_err();
        assert!(matches!(refused, MigrateError::BadName), "{bad}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A tenant with a person, whose ids are their numbers.
const PEOPLED: &str = "\
    INSERT INTO tenants (id, slug, name, blueprint, modules) VALUES \
        ('00000000-0000-0000-0000-000000000001', 'bank', 'Bank', 'core-bank', '{}'); \
    INSERT INTO security_policies (tenant_id, policy) VALUES ('00000000-0000-0000-0000-000000000001', \
        '{\"mfa\": {\"totp_interval_s\": 45}, \"address_block\": {\"doubling_to_s\": 900}, \
          \"token\": {\"access_lifetime_s\": 900}}'); \
    INSERT INTO roles (tenant_id, name, rank) VALUES \
        ('00000000-0000-0000-0000-000000000001', 'customer', 0); \
    INSERT INTO users (tenant_id, id, username, username_key, role, referral_code) VALUES \
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', 'jana', 'jana', \
         'customer', '0123456789'); \
    INSERT INTO mfa_configs (tenant_id, id, user_id, method, name, secret_sealed, device_fingerprint) VALUES \
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003', \
         '00000000-0000-0000-0000-000000000002', 'totp', 'App', decode('01' || repeat('00', 99), 'hex'), \
         decode(repeat('00', 32), 'hex')); \
    INSERT INTO one_time_tokens (tenant_id, id, user_id, purpose, token_hash, expires_at) VALUES \
        ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000004', \
         '00000000-0000-0000-0000-000000000002', 'invite', decode(repeat('04', 32), 'hex'), now() + interval '1 day')";

/// Links of sign-ups: two of one person, alive beside each other.
const SIGN_UPS: &str = "\
    UPDATE one_time_tokens SET voided_at = now(); \
    INSERT INTO one_time_tokens (tenant_id, id, user_id, purpose, token_hash, payload_sealed, expires_at) \
    SELECT tenant_id, given.id::uuid, user_id, 'invite', decode(repeat(given.hash, 32), 'hex'), \
        decode('01' || repeat('00', 99), 'hex'), now() + interval '1 day' \
    FROM one_time_tokens, (VALUES ('00000000-0000-0000-0000-000000000005', '05'), \
        ('00000000-0000-0000-0000-000000000006', '06')) AS given (id, hash)";

#[tokio::test]
async fn steps_over_people_and_their_links_lose_nothing_that_can_be_kept() {
    let database = TestDatabase::empty().await;
    let mut client = connect(&database.superuser_url()).await;
    let migrator = Migrator::embedded();
    let newest = migrator.migrations().len();
    migrator.up(&mut client, Some(21)).await.unwrap();
    client.batch_execute(PEOPLED).await.unwrap();
    migrator.up(&mut client, None).await.unwrap();
    let period = "SELECT period_s FROM mfa_configs";
    assert_eq!(client.query_one(period, &[]).await.unwrap().get::<_, Option<i16>>(0), Some(45));
    let doubling =
        "SELECT policy #> '{address_block,doubling_to_s}' = 'null' FROM security_policies";
    assert!(client.query_one(doubling, &[]).await.unwrap().get::<_, bool>(0));
    client.batch_execute(SIGN_UPS).await.unwrap();
    migrator.down(&mut client, u32::try_from(newest - 21).unwrap()).await.unwrap();
    let left = "SELECT count(*) FROM one_time_tokens";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 1, "the links went");
    migrator.up(&mut client, None).await.unwrap();
    assert_eq!(client.query_one(period, &[]).await.unwrap().get::<_, Option<i16>>(0), Some(45));
}
