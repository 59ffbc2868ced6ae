//! Signing in, and what guessing gets.

use std::collections::HashSet;

use identity::{HashCounts, NewPassword, PasswordChange, PasswordRules};
use operation::OperationError;
use tenancy::Blueprint;
use zeroize::Zeroizing;

use super::support::{PASSWORD, WRONG, World, code, from, new_user, request};

#[tokio::test]
async fn every_blueprint_makes_a_tenant_whose_users_sign_in() {
    let world = World::new().await;
    world.identity.ensure_platform().await.unwrap();
    world.identity.ensure_platform().await.unwrap();
    for blueprint in Blueprint::ALL {
        let slug = if blueprint == Blueprint::Platform {
            "platform".to_owned()
        } else {
            format!("{blueprint}-one")
        };
        let context = match blueprint {
            Blueprint::Platform => world.cli(&slug).await,
            _ => world.tenant(&slug, blueprint).await,
        };
        for role in blueprint.roles() {
            let name = format!("the-{}", role.replace('_', "-"));
            world.user(&context, &name, role).await;
            let (grant, caller) = world.signed_in(&slug, &name.to_uppercase()).await;
            let me = world.identity.me(&caller).await.unwrap();
            assert_eq!(
                (me.username.as_str(), me.role.as_str(), me.tenant.as_str()),
                (&*name, *role, &*slug)
            );
            assert_eq!((me.id, me.session_id), (grant.user_id, grant.session_id));
            assert!(!me.password_expired);
        }
    }
    let slugs: Vec<_> = world
        .identity
        .directory()
        .list()
        .await
        .unwrap()
        .iter()
        .map(|one| one.slug.clone())
        .collect();
    assert_eq!(slugs.len(), 7, "{slugs:?}");
}

#[tokio::test]
async fn an_email_signs_in_as_well_and_the_tenant_may_be_left_out_where_there_is_one() {
    let world = World::new().await;
    world.identity.ensure_platform().await.unwrap();
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let user = world.user(&bank, "alice", "customer").await;
    let grant = world.login("bank", "ALICE@example.COM", PASSWORD).await.unwrap();
    assert_eq!(grant.user_id, user);
    let mut anywhere = request("", "alice", PASSWORD);
    anywhere.tenant = None;
    assert_eq!(
        world
            .identity
            .login(anywhere, from("192.0.2.1", "tests"))
            .await
            .unwrap()
            .into_tokens()
            .unwrap()
            .user_id,
        user
    );
    world.tenant("other", Blueprint::CoreBank).await;
    let mut anywhere = request("", "alice", PASSWORD);
    anywhere.tenant = None;
    assert_eq!(
        code(world.identity.login(anywhere, from("192.0.2.1", "tests")).await),
        "invalid_credentials"
    );
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_and_the_work_are_the_same() {
    let world = World::new().await;
    world.identity.ensure_platform().await.unwrap();
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    world.user(&bank, "locked", "customer").await;
    let disabled = world.user(&bank, "disabled", "customer").await;
    let off = identity::UserUpdate { is_active: Some(false), ..identity::UserUpdate::default() };
    world.identity.update_user(&bank, disabled, 1, off).await.unwrap();
    let mut invited = new_user("invited", "customer");
    invited.password = NewPassword::None;
    world.identity.create_user(&bank, None, invited).await.unwrap();
    for _ in 0..5 {
        world.login("bank", "locked", WRONG).await.unwrap_err();
    }
    // tenant, name, password; how many hashes are compared for real
    let table = [
        ("bank", "alice", WRONG, 1),
        ("bank", "nobody", PASSWORD, 0),
        ("bank", "nobody@example.com", PASSWORD, 0),
        ("bank", "locked", PASSWORD, 0),
        ("bank", "disabled", PASSWORD, 0),
        ("bank", "invited", PASSWORD, 0),
        ("bank", "al\u{0}ice", PASSWORD, 0),
        ("nowhere", "alice", PASSWORD, 0),
    ];
    let mut answers = HashSet::new();
    for (tenant, name, password, evaluated) in table {
        let before = world.identity.hash_counts();
        let outcome = world.login(tenant, name, password).await;
        let Err(OperationError::Refused(refusal)) = outcome else {
            panic!("{name} got in: {outcome:?}")
        };
        answers.insert(serde_json::to_string(&refusal).unwrap());
        let after = world.identity.hash_counts();
        let expected = HashCounts {
            evaluated: before.evaluated + evaluated,
            pretended: before.pretended + 1 - evaluated,
        };
        assert_eq!(after, expected, "one hash of work for {tenant}/{name}");
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_guesses_evaluate_no_more_than_the_threshold() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let guesses: Vec<_> = (0..200)
        .map(|number| {
            let identity = world.identity.clone();
            // The owner's mail address and name are one account.
            let name = if number % 2 == 0 { "alice" } else { "alice@example.com" };
            tokio::spawn(async move {
                identity.login(request("bank", name, WRONG), from("127.0.0.1", "x")).await
            })
        })
        .collect();
    for guess in guesses {
        assert_eq!(code(guess.await.unwrap()), "invalid_credentials");
    }
    assert_eq!(world.identity.hash_counts(), HashCounts { evaluated: 5, pretended: 195 });
    assert_eq!(world.audited(&bank, "auth_failure").await, 200);
    assert_eq!(world.audited(&bank, "account_lockout").await, 1);
    assert_eq!(code(world.login("bank", "alice", PASSWORD).await), "invalid_credentials");
    world.advance_s(30 * 60 + 1);
    world.login("bank", "alice", PASSWORD).await.unwrap();
    let left: i32 = world.scalar("SELECT failed_login_attempts FROM users").await;
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_right_passwords_of_one_user_all_get_in() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    for _ in 0..3 {
        world.login("bank", "alice", WRONG).await.unwrap_err();
    }
    let logins: Vec<_> = (0..60)
        .map(|_| {
            let identity = world.identity.clone();
            tokio::spawn(async move {
                identity.login(request("bank", "alice", PASSWORD), from("127.0.0.1", "x")).await
            })
        })
        .collect();
    for login in logins {
        login.await.unwrap().unwrap();
    }
    let live: i64 =
        world.scalar("SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL").await;
    assert_eq!(live, 10, "the concurrent limit of core-bank");
    assert_eq!(world.audited(&bank, "login").await, 60);
}

#[tokio::test]
async fn locks_double_where_policy_says_so() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::DigitalBank).await;
    world.user(&bank, "alice", "customer").await;
    for _ in 0..5 {
        world.login("bank", "alice", WRONG).await.unwrap_err();
    }
    for lock_s in [60, 120, 240] {
        world.advance_s(lock_s - 1);
        assert_eq!(
            code(world.login("bank", "alice", PASSWORD).await),
            "invalid_credentials",
            "{lock_s}"
        );
        world.advance_s(1);
        world.login("bank", "alice", WRONG).await.unwrap_err();
    }
    world.advance_s(480);
    world.login("bank", "alice", PASSWORD).await.unwrap();
    world.login("bank", "alice", WRONG).await.unwrap_err();
    world.login("bank", "alice", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn failures_of_an_address_block_it_across_accounts_and_restarts() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let bad = || from("198.51.100.7", "x");
    for number in 0..20 {
        if number % 5 == 0 {
            world.login_from("bank", "alice", PASSWORD, bad()).await.unwrap();
        }
        let name = format!("nobody-{number}");
        assert_eq!(
            code(world.login_from("bank", &name, WRONG, bad()).await),
            "invalid_credentials"
        );
    }
    assert_eq!(code(world.login_from("bank", "alice", PASSWORD, bad()).await), "rate_limited");
    let elsewhere = from("198.51.100.8", "x");
    world.login_from("bank", "alice", PASSWORD, elsewhere).await.unwrap();
    let restarted = world.another_node();
    let again = restarted.login(request("bank", "alice", PASSWORD), bad()).await;
    let Err(OperationError::Refused(refusal)) = again else { panic!("{again:?}") };
    assert_eq!(refusal.code, "rate_limited");
    assert!(
        refusal.retry_after_s.is_some_and(|seconds| (3_500..=3_600).contains(&seconds)),
        "{refusal:?}"
    );
    world.advance_s(3_601);
    world.login_from("bank", "alice", PASSWORD, bad()).await.unwrap();
    for number in 0..30 {
        let name = format!("loopback-{number}");
        let local = from("::ffff:127.0.0.1", "x");
        assert_eq!(
            code(world.login_from("bank", &name, WRONG, local).await),
            "invalid_credentials"
        );
    }
}

#[tokio::test]
async fn whoever_has_a_network_of_addresses_is_one_address() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let host = |number: usize| from(&format!("2001:db8:1:2::{number:x}"), "x");
    for number in 0..20 {
        let name = format!("nobody-{number}");
        let outcome = world.login_from("bank", &name, WRONG, host(number)).await;
        assert_eq!(code(outcome), "invalid_credentials");
    }
    assert_eq!(code(world.login_from("bank", "alice", PASSWORD, host(99)).await), "rate_limited");
    // A node that has just started knows it from the records.
    let restarted = world.another_node();
    for (address, got_in) in [("2001:db8:1:2:ffff::1", false), ("2001:db8:1:3::1", true)] {
        let again = restarted.login(request("bank", "alice", PASSWORD), from(address, "x")).await;
        assert_eq!(again.is_ok(), got_in, "{address}: {again:?}");
    }
}

#[tokio::test]
async fn a_full_hashing_queue_refuses_at_once_and_charges_nobody() {
    let world = World::new().await;
    world.identity.ensure_platform().await.unwrap();
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (_, caller) = world.signed_in("bank", "alice").await;
    let before = world.identity.hash_counts();
    let held: Vec<_> = std::iter::from_fn(|| world.hasher.reserve().ok()).collect();
    assert_eq!(held.len(), 1_002);
    // More than either the account or the address may fail.
    for _ in 0..40 {
        for (tenant, name) in [("bank", "alice"), ("bank", "nobody"), ("nowhere", "alice")] {
            assert_eq!(code(world.login(tenant, name, WRONG).await), "busy", "{tenant}/{name}");
        }
    }
    let change = || PasswordChange {
        current: Zeroizing::new(WRONG.to_owned()),
        new: Zeroizing::new("Another-Horse-9-Battery".to_owned()),
    };
    for _ in 0..6 {
        assert_eq!(code(world.identity.change_password(&caller, change()).await), "busy");
    }
    assert_eq!(world.identity.hash_counts(), before);
    let charged = "SELECT sum(failed_login_attempts)::bigint FROM users";
    assert_eq!(world.scalar::<i64>(charged).await, 0);
    assert_eq!(world.audited(&bank, "auth_failure").await, 0);
    drop(held);
    world.login("bank", "alice", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn failures_outside_the_window_are_forgotten() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    for _ in 0..4 {
        world.login("bank", "alice", WRONG).await.unwrap_err();
    }
    world.advance_s(15 * 60 + 1);
    world.login("bank", "alice", WRONG).await.unwrap_err();
    world.login("bank", "alice", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn the_record_of_attempts_names_nobody() {
    let world = World::new().await;
    world.identity.ensure_platform().await.unwrap();
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    world.login("bank", "alice", PASSWORD).await.unwrap();
    world.login("bank", "alice", WRONG).await.unwrap_err();
    world.login("bank", "somebody@example.com", WRONG).await.unwrap_err();
    world.login("nowhere", "somebody@example.com", WRONG).await.unwrap_err();
    for personal in ["alice", "somebody", "example.com", "Nov", WRONG, PASSWORD] {
        let sql = format!(
            "SELECT (SELECT count(*) FROM audit_log WHERE convert_from(record, 'UTF8') ILIKE '%{personal}%') \
             + (SELECT count(*) FROM login_attempts a WHERE a::text ILIKE '%{personal}%') \
             + (SELECT count(*) FROM idempotency_keys i WHERE i::text ILIKE '%{personal}%')"
        );
        assert_eq!(world.scalar::<i64>(&sql).await, 0, "{personal}");
    }
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM login_attempts").await, 4);
}

#[tokio::test]
async fn weak_passwords_are_refused_with_every_broken_rule() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let mut weak = new_user("alice", "customer");
    weak.password = NewPassword::Plain(Zeroizing::new("alice1".to_owned()));
    let Err(OperationError::Refused(refusal)) = world.identity.create_user(&bank, None, weak).await
    else {
        panic!("accepted")
    };
    let codes: Vec<_> = refusal.errors.iter().map(|error| error.code.as_ref()).collect();
    let expected = [
        "password_too_short",
        "password_needs_upper",
        "password_needs_special",
        "password_common",
        "password_contains_name",
    ];
    assert_eq!(codes, expected);
    let PasswordRules { minimum_length, history, .. } =
        world.identity.password_rules("bank").await.unwrap();
    assert_eq!((minimum_length, history), (12, 5));
}
