//! Ways in that were thought of by reading: each was open once.

use std::sync::Arc;

use identity::{ApiKeyRotation, Change, Method, NewApiKey, SetupRequest, SignIn, UserUpdate};
use tenancy::Blueprint;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    factor_world::{Bank, here},
    support::{PASSWORD, World, code, from, new_user, request as request_of},
};

#[tokio::test]
async fn a_machine_is_no_second_admin() {
    let bank = Bank::new(1_000).await;
    let alice = bank.holder("alice", "customer").await;
    let adam = bank.holder("adam", "admin").await;
    let (_, adam) = bank.signed_in(&adam).await;
    let wish =
        NewApiKey { name: "Helper".to_owned(), role: "admin".to_owned(), ..NewApiKey::default() };
    let made = bank.node.create_api_key(&adam, wish).await.unwrap();
    let machine = bank.node.authenticate(&made.secret, here()).await.unwrap();
    let node = &bank.node;
    assert_eq!(code(node.request_factor_reset(&machine, alice.id).await), "permission_denied");
    let asked = node.request_factor_reset(&adam, alice.id).await.unwrap().output;
    let confirmed = node.confirm_factor_reset(&machine, (alice.id, asked.id)).await;
    assert_eq!(code(confirmed), "permission_denied");
    assert!(matches!(bank.sign_in("alice").await.unwrap(), SignIn::SecondFactor(_)));
}

#[tokio::test]
async fn an_odd_session_is_odd_the_second_time_as_well_and_sets_up_no_passkey() {
    // Card-bank has passkeys; here it asks nothing more on a new device.
    let bank = Bank::of(Blueprint::CardBank, 1_000, "{}").await;
    let change =
        "UPDATE security_policies SET policy = jsonb_set(policy, '{mfa,on_new_device}', 'false')";
    bank.world.superuser().await.batch_execute(change).await.unwrap();
    let node = bank.world.another_node();
    bank.user("alice", "customer").await;
    let sign_in = async |address: &str, agent: &str| {
        let request = from(address, agent);
        let who = request_of("bank", "alice", PASSWORD);
        let grant = node.login(who, Arc::clone(&request)).await.unwrap().into_tokens().unwrap();
        bank.world.advance_s(1);
        node.authenticate(&grant.access_token, request).await.unwrap()
    };
    let home = sign_in("192.0.2.1", "home").await;
    node.passkey_creation_options(&home).await.unwrap();
    // Whoever has the password alone comes again, and again.
    for _ in 0..3 {
        let elsewhere = sign_in("203.0.113.1", "thief").await;
        let options = node.passkey_creation_options(&elsewhere).await.map(drop);
        assert_eq!(code(options), "step_up_required");
    }
    let odd = "SELECT count(*) FROM user_sessions WHERE suspicious_at IS NOT NULL";
    assert_eq!(bank.count(odd).await, 3);
    // A day later the owner has heard of it and could have ended it.
    bank.world.advance_s(86_400);
    let moved = sign_in("203.0.113.1", "thief").await;
    node.passkey_creation_options(&moved).await.unwrap();
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

#[tokio::test]
async fn a_hand_in_somebodys_access_stays_whatever_comes_after() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let mut people = std::collections::BTreeMap::new();
    for name in ["maker", "moved", "restored", "holder", "checker"] {
        people.insert(name, world.user(&bank, name, "admin").await);
    }
    let (_, maker) = world.signed_in_by_factor("bank", "maker").await;
    let identity = &world.identity;
    let wish =
        NewApiKey { name: "Payroll".to_owned(), role: "admin".to_owned(), ..NewApiKey::default() };
    // A machine makes a login: whoever made the machine knows its password.
    let key = identity.create_api_key(&maker, wish).await.unwrap();
    let machine = world.authenticate(&key.secret).await.unwrap();
    identity.create_user(&machine, None, new_user("puppet", "admin")).await.unwrap();
    // Another's address, to which links to a new password go.
    let address = UserUpdate {
        email: Change::Set(Some("maker@else.example".to_owned())),
        ..UserUpdate::default()
    };
    identity.update_user(&maker, people["moved"], None, address).await.unwrap();
    // Somebody deleted and brought back has nothing but the name.
    identity.delete_user(&maker, people["restored"], None).await.unwrap();
    identity.restore_user(&maker, people["restored"], None).await.unwrap();
    let independent = async |one: Uuid, other: Uuid| {
        let sql = "SELECT set_config('app.current_tenant', $1::uuid::text, false), \
            depend_on_each_other($1, $2, $3)";
        let superuser = world.superuser().await;
        let row = superuser.query_one(sql, &[&bank.tenant_id(), &one, &other]).await.unwrap();
        !row.get::<_, bool>(1)
    };
    let puppet = "SELECT id FROM users WHERE username = 'puppet'";
    let puppet: Uuid = world.scalar(puppet).await;
    for behind in [puppet, people["moved"], people["restored"], key.record.id] {
        assert!(!independent(maker.actor.id, behind).await, "{behind}");
        assert!(!independent(behind, maker.actor.id).await, "{behind}");
        assert!(independent(people["checker"], behind).await, "{behind}");
    }
    // Whoever was shown its secret once is behind it still after others were.
    let (_, holder) = world.signed_in_by_factor("bank", "holder").await;
    let (_, checker) = world.signed_in_by_factor("bank", "checker").await;
    for actor in [&holder, &checker] {
        identity
            .rotate_api_key(actor, (key.record.id, None), ApiKeyRotation::default())
            .await
            .unwrap();
    }
    for person in ["maker", "holder", "checker"] {
        assert!(!independent(people[person], key.record.id).await, "{person}");
    }
    // And nobody takes a hand out again.
    let app = testkit::connect(&world.database.url_as("strongroom_app")).await;
    for statement in ["DELETE FROM access_hands", "UPDATE access_hands SET reason = 'role'"] {
        let refused = app.batch_execute(statement).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_session_of_hours_ago_sets_up_no_first_factor() {
    let bank = Bank::new(1_000).await;
    bank.user("alice", "customer").await;
    let grant = bank.sign_in("alice").await.unwrap().into_tokens().unwrap();
    let context = bank.context(&grant).await;
    let wish = || SetupRequest { method: Method::Totp, name: None };
    let begun = bank.node.setup_factor(&context, wish()).await.unwrap().app.unwrap();
    bank.world.advance_s(301);
    assert_eq!(code(bank.node.setup_factor(&context, wish()).await), "sign_in_required");
    // Nor does what was begun in time end later, by the right code.
    let now = Zeroizing::new(bank.code(&begun.manual_key));
    let late = bank.node.confirm_factor(&context, None, now).await;
    assert_eq!(code(late.map(drop)), "sign_in_required");
    assert!(matches!(bank.sign_in("alice").await.unwrap(), SignIn::Tokens(_)));
}
