//! Changing one's own password.

use identity::PasswordChange;
use tenancy::Blueprint;
use zeroize::Zeroizing;

use super::support::{PASSWORD, WRONG, World, code};

#[tokio::test]
async fn a_change_ends_the_other_sessions_and_remembers_the_old_ones() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (other, _) = world.signed_in("bank", "alice").await;
    let (current, context) = world.signed_in("bank", "alice").await;
    let mut password = PASSWORD.to_owned();
    for number in 0..6 {
        let next = format!("Next-Staple-{number}-Battery");
        world.identity.change_password(&context, change(&password, &next)).await.unwrap();
        assert_eq!(code(world.login("bank", "alice", &password).await), "invalid_credentials");
        password = next;
        world.advance_s(1);
    }
    assert_eq!(world.authenticate(&other.access_token).await.unwrap_err().code, "token_revoked");
    world.authenticate(&current.access_token).await.unwrap();
    world.login("bank", "alice", &password).await.unwrap();
    assert_eq!(world.audited(&bank, "credential_change").await, 6);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM password_history").await, 5);
    // current, new, answer
    let table = [
        (password.as_str(), password.as_str(), "password_reused"),
        (&password, "Next-Staple-1-Battery", "password_reused"),
        (&password, "short", "validation_failed"),
        (&password, "Alice-was-here-77", "validation_failed"),
        (WRONG, "Quite-New-77-Battery", "current_password_wrong"),
    ];
    for (old, new, expected) in table {
        assert_eq!(
            code(world.identity.change_password(&context, change(old, new)).await),
            expected,
            "{new}"
        );
    }
    for _ in 0..6 {
        let reused = world.identity.change_password(&context, change(&password, &password)).await;
        assert_eq!(code(reused), "password_reused", "a right password never locks");
    }
    // Beyond the history of five the first may come again.
    world.identity.change_password(&context, change(&password, PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn a_stolen_session_is_no_way_to_guess_the_password() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (_, context) = world.signed_in("bank", "alice").await;
    let before = world.identity.hash_counts().evaluated;
    for number in 0..10 {
        let guess = format!("Guess-Staple-{number}");
        let refused =
            world.identity.change_password(&context, change(&guess, "Quite-New-77-Battery")).await;
        assert_eq!(code(refused), "current_password_wrong");
    }
    assert_eq!(world.identity.hash_counts().evaluated - before, 5);
    let right =
        world.identity.change_password(&context, change(PASSWORD, "Quite-New-77-Battery")).await;
    assert_eq!(code(right), "current_password_wrong", "locked");
    assert_eq!(world.audited(&bank, "account_lockout").await, 1);
}

fn change(current: &str, new: &str) -> PasswordChange {
    PasswordChange {
        current: Zeroizing::new(current.to_owned()),
        new: Zeroizing::new(new.to_owned()),
    }
}
