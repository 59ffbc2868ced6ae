//! Ways in that were thought of by reading: each was open once.

use std::sync::Arc;

use identity::{NewApiKey, SignIn};
use tenancy::Blueprint;

use super::{
    factor_world::{Bank, here},
    support::{PASSWORD, World, code, from},
};

#[tokio::test]
async fn a_machine_is_no_second_admin() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    bank.user("adam", "admin").await;
    let grant = bank.sign_in("adam").await.unwrap().into_tokens().unwrap();
    let adam = bank.context(&grant).await;
    let wish =
        NewApiKey { name: "Helper".to_owned(), role: "admin".to_owned(), ..NewApiKey::default() };
    let made = bank.node.create_api_key(&adam, wish).await.unwrap();
    let machine = bank.node.authenticate(&made.secret, here()).await.unwrap();
    let node = &bank.node;
    assert_eq!(code(node.request_factor_reset(&machine, alice.id).await), "permission_denied");
    node.request_factor_reset(&adam, alice.id).await.unwrap();
    assert_eq!(code(node.confirm_factor_reset(&machine, alice.id).await), "permission_denied");
    assert!(matches!(bank.sign_in("alice").await.unwrap(), SignIn::SecondFactor(_)));
}

#[tokio::test]
async fn an_odd_session_is_odd_the_second_time_as_well_and_sets_up_no_passkey() {
    let world = World::new().await;
    // Digital-bank has passkeys, and asks nothing more on a new device.
    let bank = world.tenant("bank", Blueprint::DigitalBank).await;
    world.user(&bank, "alice", "customer").await;
    let sign_in = async |address: &str, agent: &str| {
        let request = from(address, agent);
        let grant = world.login_from("bank", "alice", PASSWORD, Arc::clone(&request)).await;
        world.advance_s(1);
        world.identity.authenticate(&grant.unwrap().access_token, request).await.unwrap()
    };
    let home = sign_in("192.0.2.1", "home").await;
    world.identity.passkey_creation_options(&home).await.unwrap();
    // Whoever has the password alone comes again, and again.
    for _ in 0..3 {
        let elsewhere = sign_in("203.0.113.1", "thief").await;
        let options = world.identity.passkey_creation_options(&elsewhere).await.map(drop);
        assert_eq!(code(options), "step_up_required");
    }
    let odd = "SELECT count(*) FROM user_sessions WHERE suspicious_at IS NOT NULL";
    assert_eq!(world.scalar::<i64>(odd).await, 3);
    // A day later the owner has heard of it and could have ended it.
    world.advance_s(86_400);
    let moved = sign_in("203.0.113.1", "thief").await;
    world.identity.passkey_creation_options(&moved).await.unwrap();
}

#[tokio::test]
async fn a_duty_to_have_a_factor_binds_those_who_are_signed_in() {
    let bank = Bank::new(1_000).await;
    bank.user("audrey", "auditor").await;
    let grant = bank.sign_in("audrey").await.unwrap().into_tokens().unwrap();
    let change = "UPDATE security_policies SET policy = jsonb_set(policy, '{mfa,required_roles}', '[\"auditor\"]')";
    bank.world.superuser().await.batch_execute(change).await.unwrap();
    let node = bank.world.another_node();
    let refreshed = node.refresh(&grant.refresh_token, from("192.0.2.1", "tests")).await;
    assert_eq!(code(refreshed), "token_revoked");
}
