//! Sessions: revocation is obeyed at the next request; nobody ends another's.

use std::time::{Duration, Instant};

use identity::{Change, ConsoleSignIn, UserUpdate};
use operation::PageRequest;
use tenancy::{Blueprint, OpContext};

use super::support::{PASSWORD, World, code, from};

#[tokio::test]
async fn every_way_to_end_a_session_is_obeyed_at_the_next_request() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "officer").await;
    let revoked =
        async |token: &str| world.authenticate(token).await.unwrap_err().code.into_owned();

    let (grant, context) = world.signed_in("bank", "alice").await;
    world.identity.logout(&context).await.unwrap();
    assert_eq!(revoked(&grant.access_token).await, "token_revoked");
    // A write with the old context is refused by the operation itself.
    assert_eq!(code(world.identity.logout(&context).await), "token_revoked");

    let (first, _) = world.signed_in("bank", "alice").await;
    let (second, context) = world.signed_in("bank", "alice").await;
    world.identity.revoke_session(&context, first.session_id).await.unwrap();
    assert_eq!(revoked(&first.access_token).await, "token_revoked");
    world.authenticate(&second.access_token).await.unwrap();

    world.identity.revoke_access_token(&context, &second.access_token).await.unwrap();
    assert_eq!(revoked(&second.access_token).await, "token_revoked");
    let renewed =
        world.identity.refresh(&second.refresh_token, from("192.0.2.1", "tests")).await.unwrap();
    world.authenticate(&renewed.access_token).await.unwrap();

    let (third, context) = world.signed_in("bank", "alice").await;
    assert_eq!(world.identity.logout_everywhere(&context, true).await.unwrap(), 1);
    assert_eq!(revoked(&renewed.access_token).await, "token_revoked");
    world.authenticate(&third.access_token).await.unwrap();
    assert_eq!(world.identity.logout_everywhere(&context, false).await.unwrap(), 1);
    assert_eq!(revoked(&third.access_token).await, "token_revoked");

    let (fourth, _) = world.signed_in("bank", "alice").await;
    let promote = UserUpdate { role: Some("auditor".to_owned()), ..UserUpdate::default() };
    let record = world.identity.update_user(&bank, alice, 1, promote).await.unwrap();
    // Another role is another session.
    assert_eq!(revoked(&fourth.access_token).await, "token_revoked");
    let (fifth, context) = world.signed_in("bank", "alice").await;
    assert_eq!(&context.actor.roles[..], ["auditor"]);
    let off = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
    world.identity.update_user(&bank, alice, record.version, off).await.unwrap();
    assert_eq!(revoked(&fifth.access_token).await, "token_revoked");
    assert_eq!(code(world.login("bank", "alice", PASSWORD).await), "invalid_credentials");
}

/// Every way to end what a request came with, by a client that does not wait for it.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Logout,
    Everywhere,
    Session,
    Token,
    Disabled,
}

/// Ends it, hangs up, and says how long what this node remembered was believed.
async fn hang_up(world: &World, bank: &OpContext, ending: Ending) -> Duration {
    let name = format!("{ending:?}-{}", world.clock.new_id()).to_lowercase();
    let user = world.user(bank, &name, "customer").await;
    let (grant, context) = world.signed_in("bank", &name).await;
    world.authenticate(&grant.access_token).await.unwrap();
    let read_at = Instant::now();
    let identity = &world.identity;
    let ended = async {
        match ending {
            Ending::Logout => identity.logout(&context).await.map(drop),
            Ending::Everywhere => identity.logout_everywhere(&context, false).await.map(drop),
            Ending::Session => identity.revoke_session(&context, grant.session_id).await,
            Ending::Token => identity.revoke_access_token(&context, &grant.access_token).await,
            Ending::Disabled => {
                let off = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
                identity.update_user(bank, user, None::<i64>, off).await.map(drop)
            }
        }
    };
    // Polled once: it has begun, and nobody waits for it any more.
    assert!(tokio::time::timeout(Duration::ZERO, ended).await.is_err(), "{ending:?}");
    while world.authenticate(&grant.access_token).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    read_at.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_is_signed_out_at_once_all_the_same() {
    // What is remembered for a second would be believed for all of it.
    const REMEMBERED: Duration = Duration::from_millis(900);
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let endings =
        [Ending::Logout, Ending::Everywhere, Ending::Session, Ending::Token, Ending::Disabled];
    for ending in endings {
        let mut took = Vec::new();
        // On a busy machine the ending itself may take a second: any quick one proves it.
        while took.len() < 5 && took.iter().all(|took| *took >= REMEMBERED) {
            took.push(hang_up(&world, &bank, ending).await);
        }
        assert!(took.iter().any(|took| *took < REMEMBERED), "{ending:?}: {took:?}");
    }
}

#[tokio::test]
async fn another_node_writes_by_the_roles_of_now() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "admin").await;
    // No tenant is left without an administrator.
    world.user(&bank, "carol", "admin").await;
    let bob = world.user(&bank, "bob", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let other = world.another_node();
    let known = other.authenticate(&grant.access_token, from("192.0.2.1", "tests")).await.unwrap();
    let department = |name: &str| UserUpdate {
        department: Change::Set(Some(name.to_owned())),
        ..UserUpdate::default()
    };
    other.update_user(&known, bob, None::<i64>, department("one")).await.unwrap();
    let demote = UserUpdate { role: Some("auditor".to_owned()), ..UserUpdate::default() };
    world.identity.update_user(&bank, alice, None::<i64>, demote).await.unwrap();
    // What the other node remembers of her still says `admin`; her session is over.
    let refused = other.update_user(&known, bob, None::<i64>, department("two")).await;
    assert_eq!(code(refused), "token_revoked");
    let promote = UserUpdate { role: Some("admin".to_owned()), ..UserUpdate::default() };
    world.identity.update_user(&bank, alice, None::<i64>, promote).await.unwrap();
    let (grant, _) = world.signed_in("bank", "alice").await;
    let known = other.authenticate(&grant.access_token, from("192.0.2.1", "tests")).await.unwrap();
    other.update_user(&known, bob, None::<i64>, department("three")).await.unwrap();
    // Nor does it know that her token was ended, and the session goes on without it.
    let renewed =
        world.identity.refresh(&grant.refresh_token, from("192.0.2.1", "tests")).await.unwrap();
    let successor = world.authenticate(&renewed.access_token).await.unwrap();
    world.identity.revoke_access_token(&successor, &grant.access_token).await.unwrap();
    let refused = other.update_user(&known, bob, None::<i64>, department("four")).await;
    assert_eq!(code(refused), "token_revoked");
    world.identity.update_user(&successor, bob, None::<i64>, department("five")).await.unwrap();
}

#[tokio::test]
async fn another_node_obeys_within_a_second() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, context) = world.signed_in("bank", "alice").await;
    let other = world.another_node();
    let here = || from("192.0.2.1", "tests");
    other.authenticate(&grant.access_token, here()).await.unwrap();
    world.identity.logout(&context).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let refused = other.authenticate(&grant.access_token, here()).await.unwrap_err();
    assert_eq!(refused.code, "token_revoked");
}

#[tokio::test]
async fn anothers_session_is_not_found_and_lives_on() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    for (tenant, name) in [(&bank, "alice"), (&bank, "bob"), (&other, "carol")] {
        world.user(tenant, name, "admin").await;
    }
    let (alice, _) = world.signed_in("bank", "alice").await;
    let (carol, _) = world.signed_in("other", "carol").await;
    let (_, bob) = world.signed_in("bank", "bob").await;
    for target in [alice.session_id, carol.session_id, uuid::Uuid::nil()] {
        assert_eq!(code(world.identity.revoke_session(&bob, target).await), "not_found");
    }
    world.authenticate(&alice.access_token).await.unwrap();
    world.authenticate(&carol.access_token).await.unwrap();
    let live = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL";
    assert_eq!(world.scalar::<i64>(live).await, 3);
    let listed = world.identity.sessions(&bob, &PageRequest::default()).await.unwrap();
    assert_eq!(listed.data.len(), 1);
    assert!(listed.data[0].current && listed.data[0].ip_address.as_deref() == Some("192.0.2.1"));
}

#[tokio::test]
async fn over_the_limit_the_oldest_session_ends() {
    let world = World::new().await;
    let tenant = world.tenant("risk", Blueprint::CreditRisk).await;
    world.user(&tenant, "alice", "user").await;
    let mut grants = Vec::new();
    for _ in 0..4 {
        grants.push(world.signed_in("risk", "alice").await);
    }
    assert_eq!(
        world.authenticate(&grants[0].0.access_token).await.unwrap_err().code,
        "token_revoked"
    );
    for (grant, _) in &grants[1..] {
        world.authenticate(&grant.access_token).await.unwrap();
    }
    let first = PageRequest { limit: 2, after: None, ..PageRequest::default() };
    let page = world.identity.sessions(&grants[3].1, &first).await.unwrap();
    let rest = PageRequest { limit: 2, after: page.next.clone(), ..PageRequest::default() };
    let last = world.identity.sessions(&grants[3].1, &rest).await.unwrap();
    let ids: Vec<_> = page.data.iter().chain(&last.data).map(|session| session.id).collect();
    let expected: Vec<_> = grants[1..].iter().rev().map(|(grant, _)| grant.session_id).collect();
    assert_eq!((ids, last.next), (expected, None));
    let nonsense = PageRequest { limit: 2, after: Some("x".to_owned()), ..PageRequest::default() };
    assert_eq!(code(world.identity.sessions(&grants[3].1, &nonsense).await), "invalid_cursor");
}

#[tokio::test]
async fn a_pinned_session_ends_where_it_is_used_from_elsewhere() {
    let world = World::new().await;
    let erp = world.tenant("erp", Blueprint::EquipmentErp).await;
    let digital = world.tenant("digital", Blueprint::DigitalBank).await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&erp, "alice", "viewer").await;
    world.user(&digital, "alice", "customer").await;
    world.user(&bank, "alice", "customer").await;
    let moved = from("192.0.2.99", "tests");
    let swapped = from("192.0.2.1", "another browser");
    for (slug, tenant, thief, tolerated) in
        [("erp", &erp, &moved, &swapped), ("digital", &digital, &swapped, &moved)]
    {
        let (grant, _) = world.signed_in(slug, "alice").await;
        world.identity.authenticate(&grant.access_token, tolerated.clone()).await.unwrap();
        let refused =
            world.identity.authenticate(&grant.access_token, thief.clone()).await.unwrap_err();
        assert_eq!(refused.code, "token_revoked", "{slug}");
        assert_eq!(
            world.authenticate(&grant.access_token).await.unwrap_err().code,
            "token_revoked",
            "{slug}"
        );
        assert_eq!(world.audited(tenant, "security_violation").await, 1, "{slug}");

        let (grant, _) = world.signed_in(slug, "alice").await;
        assert_eq!(
            code(world.identity.refresh(&grant.refresh_token, thief.clone()).await),
            "token_revoked"
        );
        assert_eq!(world.audited(tenant, "security_violation").await, 2, "{slug}");
    }
    let (grant, _) = world.signed_in("bank", "alice").await;
    world
        .identity
        .authenticate(&grant.access_token, from("203.0.113.4", "anything"))
        .await
        .unwrap();
}

#[tokio::test]
async fn activity_is_noted_once_a_minute_and_the_expired_are_cleaned_up() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    world.advance_s(61);
    for _ in 0..5 {
        world.authenticate(&grant.access_token).await.unwrap();
    }
    let noted = "SELECT count(*) FROM user_sessions WHERE last_activity_at > created_at \
                 AND last_activity_ip = '192.0.2.1'";
    for _ in 0..100 {
        if world.scalar::<i64>(noted).await == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.scalar::<i64>(noted).await, 1);

    assert_eq!(world.identity.cleanup_sessions(&bank).await.unwrap(), 0);
    world.advance_s(7 * 86_400);
    assert_eq!(world.identity.cleanup_sessions(&bank).await.unwrap(), 1);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM refresh_tokens").await, 0);
    assert_eq!(world.audited(&bank, "session_revocation").await, 1);
}

/// What moves with a session, and whether it goes on, in every blueprint.
#[tokio::test]
async fn every_blueprint_pins_sessions_as_its_policy_says() {
    let world = World::new().await;
    // blueprint, whether another address ends it, whether another device does
    let table = [
        (Blueprint::CoreBank, false, false),
        (Blueprint::EquipmentErp, true, false),
        (Blueprint::DigitalBank, false, true),
        (Blueprint::CardBank, false, false),
        (Blueprint::CreditRisk, false, false),
        (Blueprint::Standard, true, true),
    ];
    for (blueprint, by_address, by_device) in table {
        let slug = format!("{blueprint}-one");
        let tenant = world.tenant(&slug, blueprint).await;
        let role = blueprint.roles().last().unwrap();
        world.user(&tenant, "alice", role).await;
        let mut expected = 0;
        for (moved, ends, reason) in [
            (from("192.0.2.99", "tests"), by_address, "address_changed"),
            (from("192.0.2.1", "another browser"), by_device, "device_changed"),
        ] {
            let (grant, _) = world.signed_in(&slug, "alice").await;
            let cookie = world
                .identity
                .sign_in_console(
                    super::support::request(&slug, "alice", PASSWORD),
                    from("192.0.2.1", "tests"),
                )
                .await;
            let Ok(ConsoleSignIn::Session(cookie)) = cookie else { panic!("no session") };
            world.advance_s(1);
            let used = world.identity.authenticate(&grant.access_token, moved.clone()).await;
            let seen = world.identity.authenticate_cookie(&cookie.cookie, moved.clone()).await;
            assert_eq!(used.is_err(), ends, "{blueprint} {reason}");
            assert_eq!(seen.is_err(), ends, "{blueprint} {reason}: console");
            expected += if ends { 2 } else { 0 };
            if ends {
                // For its owner as well: whose it is now, nobody knows.
                let owner = world.authenticate(&grant.access_token).await.unwrap_err();
                assert_eq!(owner.code, "token_revoked", "{blueprint}");
                let sql = format!(
                    "SELECT count(*) FROM user_sessions WHERE tenant_id = '{}' AND revocation_reason = '{reason}'",
                    tenant.tenant_id()
                );
                assert_eq!(world.scalar::<i64>(&sql).await, 2, "{blueprint} {reason}");
            }
        }
        assert_eq!(world.audited(&tenant, "security_violation").await, expected, "{blueprint}");
    }
}

/// Changes a field of a tenant's session policy, as a change agreed to would.
async fn set_session_policy(world: &World, context: &OpContext, field: &str, value: &str) {
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, ARRAY['session', $2], $3::text::jsonb), \
        version = version + 1 WHERE tenant_id = $1";
    let superuser = world.superuser().await;
    superuser.execute(sql, &[&context.tenant_id(), &field, &value]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_050)).await;
}

#[tokio::test]
async fn over_the_limit_policy_may_refuse_the_new_session_instead() {
    let world = World::new().await;
    let tenant = world.tenant("risk", Blueprint::CreditRisk).await;
    world.user(&tenant, "alice", "user").await;
    set_session_policy(&world, &tenant, "over_limit", "\"refuse\"").await;
    let mut grants = Vec::new();
    for _ in 0..3 {
        grants.push(world.signed_in("risk", "alice").await);
    }
    let elsewhere = || from("203.0.113.4", "elsewhere");
    // More often than wrong passwords would be borne, of account and address.
    for _ in 0..25 {
        let outcome = world.login_from("risk", "alice", PASSWORD, elsewhere()).await;
        assert_eq!(code(outcome), "too_many_sessions");
    }
    let wrong = world.login_from("risk", "alice", super::support::WRONG, elsewhere()).await;
    assert_eq!(code(wrong), "invalid_credentials", "only who knows the password is told");
    for (grant, _) in &grants {
        world.authenticate(&grant.access_token).await.unwrap();
    }
    world.identity.logout(&grants[0].1).await.unwrap();
    world.login_from("risk", "alice", PASSWORD, elsewhere()).await.unwrap();
    // Twenty at once for one place: one gets it.
    world.identity.logout(&grants[1].1).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (identity, from) = (world.identity.clone(), from("127.0.0.1", "racer"));
        racing.spawn(async move {
            identity.login(super::support::request("risk", "alice", PASSWORD), from).await.is_ok()
        });
    }
    let begun = racing.join_all().await.into_iter().filter(|begun| *begun).count();
    assert_eq!(begun, 1);
}

#[tokio::test]
async fn a_clients_idle_session_ends_where_policy_says_so() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let here = || from("192.0.2.1", "tests");
    // As the blueprint has it: only the tokens' own lifetimes end it.
    let (grant, _) = world.signed_in("bank", "alice").await;
    world.advance_s(1_700);
    world.authenticate(&grant.access_token).await.unwrap();
    set_session_policy(&world, &bank, "client_idle_timeout_s", "600").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let (other, _) = world.signed_in("bank", "alice").await;
    world.advance_s(500);
    let renewed = world.identity.refresh(&grant.refresh_token, here()).await.unwrap();
    world.advance_s(200);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    world.authenticate(&renewed.access_token).await.unwrap();
    let idle = world.authenticate(&other.access_token).await.unwrap_err();
    assert_eq!(idle.code, "token_expired");
    let idle = world.identity.refresh(&other.refresh_token, here()).await;
    assert_eq!(code(idle), "token_expired");
    // The worker writes down what the clock has ended: the first and the idle one.
    assert_eq!(world.identity.cleanup_sessions(&bank).await.unwrap(), 2);
    let sql = "SELECT count(*) FROM user_sessions WHERE revocation_reason = 'idle'";
    assert_eq!(world.scalar::<i64>(sql).await, 2);
    world.advance_s(700);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(world.authenticate(&renewed.access_token).await.unwrap_err().code, "token_expired");
}

#[tokio::test]
async fn a_backlog_of_ended_sessions_goes_in_bounded_transactions() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "customer").await;
    let tenant = bank.tenant_id();
    let sql = format!(
        "INSERT INTO user_sessions (tenant_id, id, user_id, device_fingerprint, absolute_expires_at) \
         SELECT '{tenant}', gen_random_uuid(), '{alice}', decode(repeat('00', 32), 'hex'), '2026-01-01' \
         FROM generate_series(1, 2500); \
         INSERT INTO refresh_tokens (tenant_id, id, user_id, session_id, token_hash, device_fingerprint, expires_at) \
         SELECT tenant_id, id, user_id, id, sha256(uuid_send(id)), device_fingerprint, absolute_expires_at \
         FROM user_sessions"
    );
    world.superuser().await.batch_execute(&sql).await.unwrap();
    assert_eq!(world.identity.cleanup_sessions(&bank).await.unwrap(), 2_500);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM refresh_tokens").await, 0);
    let most =
        "SELECT max((details ->> 'ended')::integer) FROM audit_log WHERE event_type = 'job_run'";
    assert_eq!(world.scalar::<i32>(most).await, 1_000);
    assert_eq!(world.identity.cleanup_sessions(&bank).await.unwrap(), 0);
}
