//! A database that fails between the charge of a sign-in and its record: whose failure
//! that is.

use std::time::{Duration, Instant};

use identity::PasswordChange;
use operation::OperationError;
use tenancy::{Blueprint, DbError};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use super::support::{PASSWORD, WRONG, World, code};

/// While `disk_full` has a row nothing can be recorded of a sign-in but its charge: neither
/// that it succeeded (which clears the failures) nor that it failed.
const DISK: &str = "
    CREATE TABLE disk_full (yes boolean);
    CREATE FUNCTION say_full() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM disk_full) THEN
            RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER say_full BEFORE UPDATE ON users FOR EACH ROW
        WHEN (OLD.failed_login_attempts > 0 AND NEW.failed_login_attempts = 0) EXECUTE FUNCTION say_full();
    CREATE TRIGGER say_full BEFORE INSERT ON login_attempts FOR EACH ROW
        WHEN (NEW.outcome = 'wrong') EXECUTE FUNCTION say_full();
    INSERT INTO disk_full VALUES (true);
";

async fn fill_the_disk(world: &World) -> Client {
    let superuser = world.superuser().await;
    superuser.batch_execute(DISK).await.unwrap();
    superuser
}

/// Waits until a person's charges are taken back.
async fn until_taken_back(superuser: &Client, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while failures(superuser, name).await > 0 {
        assert!(Instant::now() < deadline, "{name} is charged for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn failures(superuser: &Client, name: &str) -> i32 {
    let sql = "SELECT failed_login_attempts FROM users WHERE username = $1";
    superuser.query_one(sql, &[&name]).await.unwrap().get(0)
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(outcome: &Result<T, OperationError>) {
    let unavailable = matches!(outcome, Err(OperationError::Database(DbError::Unavailable(_))));
    assert!(unavailable, "{outcome:?}");
}

/// Under the blueprint that forgives least: five of an account lock it, and five of an
/// address block it.
#[tokio::test]
async fn a_right_password_that_could_not_be_recorded_is_no_failure() {
    let world = World::new().await;
    let erp = world.tenant("erp", Blueprint::EquipmentErp).await;
    for name in ["alice", "bob"] {
        world.user(&erp, name, "viewer").await;
    }
    let superuser = fill_the_disk(&world).await;
    for _ in 0..5 {
        assert_unavailable(&world.login("erp", "alice", PASSWORD).await);
    }
    // Locked until the database can be asked; the address is nobody's failure already.
    assert_eq!(code(world.login("erp", "alice", PASSWORD).await), "invalid_credentials");
    superuser.batch_execute("TRUNCATE disk_full").await.unwrap();
    until_taken_back(&superuser, "alice").await;
    world.login("erp", "alice", PASSWORD).await.unwrap();

    // The same of a password that is changed.
    let (_, caller) = world.signed_in("erp", "bob").await;
    superuser.batch_execute("INSERT INTO disk_full VALUES (true)").await.unwrap();
    let change = PasswordChange {
        current: Zeroizing::new(PASSWORD.to_owned()),
        new: Zeroizing::new("Another-Horse-9-Battery".to_owned()),
    };
    assert_unavailable(&world.identity.change_password(&caller, change).await);
    assert_eq!(failures(&superuser, "bob").await, 1);
    superuser.batch_execute("TRUNCATE disk_full").await.unwrap();
    until_taken_back(&superuser, "bob").await;
}

#[tokio::test]
async fn an_outage_gives_nobody_a_guess() {
    let world = World::new().await;
    let erp = world.tenant("erp", Blueprint::EquipmentErp).await;
    world.user(&erp, "alice", "viewer").await;
    let superuser = fill_the_disk(&world).await;
    for _ in 0..4 {
        // The same answer as to a right one.
        assert_unavailable(&world.login("erp", "alice", WRONG).await);
    }
    assert_eq!(failures(&superuser, "alice").await, 4);
    superuser.batch_execute("TRUNCATE disk_full").await.unwrap();
    assert_eq!(code(world.login("erp", "alice", WRONG).await), "invalid_credentials");
    assert_eq!(code(world.login("erp", "alice", PASSWORD).await), "rate_limited");
    assert_eq!(failures(&superuser, "alice").await, 5);
}

/// Who knew an earlier password must not clear what was guessed at its successor.
#[tokio::test]
async fn charges_are_taken_back_only_for_the_password_that_was_right() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    for name in ["alice", "bob"] {
        world.user(&bank, name, "customer").await;
    }
    let superuser = fill_the_disk(&world).await;
    assert_unavailable(&world.login("bank", "alice", PASSWORD).await);
    assert_unavailable(&world.login("bank", "bob", PASSWORD).await);
    assert_unavailable(&world.login("bank", "alice", WRONG).await);
    let change = "UPDATE users SET password_changed_at = password_changed_at + interval '1 s' WHERE username = 'alice'";
    superuser.batch_execute(change).await.unwrap();
    superuser.batch_execute("TRUNCATE disk_full").await.unwrap();
    // Both are tried again after the same pauses, hers first.
    until_taken_back(&superuser, "bob").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(failures(&superuser, "alice").await, 2);
}
