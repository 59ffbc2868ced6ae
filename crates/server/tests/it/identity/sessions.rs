//! Sessions: revocation is obeyed at the next request; nobody ends another's.

use std::time::{Duration, Instant};

use identity::{Change, UserUpdate};
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
    let context = world.authenticate(&fourth.access_token).await.unwrap();
    assert_eq!(&context.actor.roles[..], ["auditor"]);
    let off = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
    world.identity.update_user(&bank, alice, record.version, off).await.unwrap();
    assert_eq!(revoked(&fourth.access_token).await, "token_revoked");
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
    // What the other node remembers of her still says `admin`.
    let refused = other.update_user(&known, bob, None::<i64>, department("two")).await;
    assert_eq!(code(refused), "permission_denied");
    let promote = UserUpdate { role: Some("admin".to_owned()), ..UserUpdate::default() };
    world.identity.update_user(&bank, alice, None::<i64>, promote).await.unwrap();
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
    let first = PageRequest { limit: 2, after: None };
    let page = world.identity.sessions(&grants[3].1, &first).await.unwrap();
    let rest = PageRequest { limit: 2, after: page.next.clone() };
    let last = world.identity.sessions(&grants[3].1, &rest).await.unwrap();
    let ids: Vec<_> = page.data.iter().chain(&last.data).map(|session| session.id).collect();
    let expected: Vec<_> = grants[1..].iter().rev().map(|(grant, _)| grant.session_id).collect();
    assert_eq!((ids, last.next), (expected, None));
    let nonsense = PageRequest { limit: 2, after: Some("x".to_owned()) };
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
