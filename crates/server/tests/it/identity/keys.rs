//! Signing keys over time, over two nodes and under attack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{Identity, KeyStatus, SigningKeyRecord};
use operation::PageRequest;
use serde_json::Value;
use tenancy::{Blueprint, OpContext, policy::JwtAlgorithm};
use uuid::Uuid;

use super::support::{PASSWORD, World, code, from, request};

const DAY_S: i64 = 86_400;

fn kid(token: &str) -> Uuid {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().parse().unwrap()
}

async fn published(identity: &Identity, slug: &str) -> Vec<Uuid> {
    let jwks = identity.jwks(slug).await.unwrap();
    let kids = jwks["keys"].as_array().unwrap().iter();
    kids.map(|key| key["kid"].as_str().unwrap().parse().unwrap()).collect()
}

async fn keys(world: &World, context: &OpContext) -> Vec<SigningKeyRecord> {
    world.identity.signing_keys(context, &PageRequest::default()).await.unwrap().data
}

async fn statuses(world: &World, context: &OpContext) -> Vec<KeyStatus> {
    keys(world, context).await.iter().map(|key| key.status).collect()
}

/// Signed in without moving the clock; the token's key beside it.
async fn token(world: &World, slug: &str) -> (String, Uuid) {
    let grant = world.login(slug, "alice", PASSWORD).await.unwrap();
    let signed_by = kid(&grant.access_token);
    (grant.access_token, signed_by)
}

async fn bank(world: &World, algorithm: JwtAlgorithm) -> OpContext {
    let bank = world.tenant_signing("bank", Blueprint::CoreBank, Some(algorithm)).await;
    world.user(&bank, "alice", "customer").await;
    bank
}

#[tokio::test]
async fn a_key_is_published_a_day_ahead_signs_its_time_verifies_and_is_wiped() {
    use KeyStatus::{Active, PrePublished, Retired, VerifyOnly};
    let world = World::with_secret(None).await;
    let bank = bank(&world, JwtAlgorithm::EdDSA).await;
    let tend = async || world.identity.tend_signing_keys(&bank).await.unwrap();
    assert_eq!(tend().await, 0);
    world.advance_s(29 * DAY_S - 1);
    assert_eq!(tend().await, 0);
    world.advance_s(1);
    assert_eq!(tend().await, 1);
    assert_eq!(statuses(&world, &bank).await, [PrePublished, Active]);
    let [next, first] = published(&world.identity, "bank").await.try_into().unwrap();
    world.advance_s(DAY_S - 1);
    assert_eq!(tend().await, 0);
    let (old_token, signed_by) = token(&world, "bank").await;
    assert_eq!(signed_by, first);
    world.advance_s(1);
    assert_eq!(tend().await, 1);
    assert_eq!(statuses(&world, &bank).await, [Active, VerifyOnly]);
    let (new_token, signed_by) = token(&world, "bank").await;
    assert_eq!(signed_by, next, "what was published for a day signs now");
    assert_eq!(published(&world.identity, "bank").await, [next, first]);
    for token in [&old_token, &new_token] {
        world.authenticate(token).await.unwrap();
    }
    // The last token of the old key has expired, and a little has passed besides.
    world.advance_s(1_800 + 59);
    assert_eq!(tend().await, 0);
    world.advance_s(1);
    assert_eq!(tend().await, 1);
    assert_eq!(statuses(&world, &bank).await, [Active, Retired]);
    assert_eq!(published(&world.identity, "bank").await, [next]);
    let wiped = "SELECT wrapped_key IS NULL FROM signing_keys WHERE status = 'retired'";
    assert!(world.scalar::<bool>(wiped).await);
    assert_eq!(world.authenticate(&old_token).await.unwrap_err().code, "invalid_token");
    let recorded = "SELECT count(*) FROM audit_log WHERE event_type = 'key_management' AND action = 'key.rotate' \
                    AND actor_kind = 'cli'";
    assert_eq!(world.scalar::<i64>(recorded).await, 3);
}

#[tokio::test]
async fn a_key_verifies_as_long_as_the_longest_token_that_policy_ever_gave_it() {
    let world = World::with_secret(None).await;
    let bank = bank(&world, JwtAlgorithm::ES256).await;
    let superuser = world.superuser().await;
    for lifetime_s in [86_400, 900] {
        let set = format!(
            "UPDATE security_policies SET policy = jsonb_set(policy, '{{token,access_lifetime_s}}', '{lifetime_s}')"
        );
        superuser.batch_execute(&set).await.unwrap();
    }
    let now = world.clock.now();
    world.identity.rotate_signing_key(&bank).await.unwrap();
    let old = &keys(&world, &bank).await[1];
    let verifies_s = old.verify_until.unwrap().duration_since(now).as_secs();
    assert_eq!((old.status, verifies_s), (KeyStatus::VerifyOnly, 86_400 + 60));
    // Shorter again, the new one outlives what policy says now.
    world.identity.rotate_signing_key(&bank).await.unwrap();
    let second = &keys(&world, &bank).await[1];
    assert_eq!(second.verify_until.unwrap().duration_since(now).as_secs(), 900 + 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_on_two_nodes_rotate_once() {
    let world = World::new().await;
    let bank = bank(&world, JwtAlgorithm::EdDSA).await;
    let twin = world.another_node();
    for days in [29, 1] {
        world.advance_s(days * DAY_S);
        let workers: Vec<_> = (0..10)
            .map(|number| {
                let node = if number % 2 == 0 { world.identity.clone() } else { twin.clone() };
                let context = bank.clone();
                tokio::spawn(async move { node.tend_signing_keys(&context).await.unwrap() })
            })
            .collect();
        let mut steps = 0;
        for worker in workers {
            steps += worker.await.unwrap();
        }
        assert!(steps >= 1, "nobody took the step of day {days}");
    }
    assert_eq!(statuses(&world, &bank).await, [KeyStatus::Active, KeyStatus::VerifyOnly]);
    // Rotating by hand, ten times at once, is rotating once.
    let rotations: Vec<_> = (0..10)
        .map(|number| {
            let node = if number % 2 == 0 { world.identity.clone() } else { twin.clone() };
            let context = bank.clone();
            tokio::spawn(async move { node.rotate_signing_key(&context).await.unwrap().id })
        })
        .collect();
    let mut made = std::collections::HashSet::new();
    for rotation in rotations {
        made.insert(rotation.await.unwrap());
    }
    assert_eq!(made.len(), 1);
    assert_eq!(statuses(&world, &bank).await[0], KeyStatus::Active);
    assert_eq!(keys(&world, &bank).await.len(), 3);
}

#[tokio::test]
async fn a_rotation_takes_the_algorithm_that_policy_wants_now() {
    let world = World::new().await;
    let bank = bank(&world, JwtAlgorithm::HS256).await;
    let (derived, first) = token(&world, "bank").await;
    // Derived keys rotate as well: another kid gives another key.
    let second = world.identity.rotate_signing_key(&bank).await.unwrap();
    assert_eq!((second.algorithm.as_str(), second.epoch), ("HS256", 2));
    assert_ne!(second.id, first);
    world.authenticate(&derived).await.unwrap();
    assert!(published(&world.identity, "bank").await.is_empty());
    // One that waits to sign is discarded where policy has left its algorithm.
    world.advance_s(29 * DAY_S);
    assert_eq!(world.identity.tend_signing_keys(&bank).await.unwrap(), 2);
    let change =
        "UPDATE security_policies SET policy = jsonb_set(policy, '{token,algorithm}', '\"ES256\"')";
    world.superuser().await.batch_execute(change).await.unwrap();
    let third = world.identity.rotate_signing_key(&bank).await.unwrap();
    assert_eq!((third.algorithm.as_str(), third.status), ("ES256", KeyStatus::Active));
    let (now, signed_by) = token(&world, "bank").await;
    assert_eq!(signed_by, third.id);
    world.authenticate(&now).await.unwrap();
    assert_eq!(published(&world.identity, "bank").await, [third.id]);
    let waiting = "SELECT count(*) FROM signing_keys WHERE status = 'pre_published'";
    assert_eq!(world.scalar::<i64>(waiting).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_signed_by_a_key_that_is_not_published_everywhere() {
    let world = World::with_secret(None).await;
    let bank = bank(&world, JwtAlgorithm::EdDSA).await;
    let twin = world.another_node();
    let over = Arc::new(AtomicBool::new(false));
    let issuing: Vec<_> = (0..50)
        .map(|number| {
            // Each is issued by one node and checked at the other.
            let nodes = [world.identity.clone(), twin.clone()];
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let (issuer, verifier) = (&nodes[number % 2], &nodes[(number + 1) % 2]);
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    let who = request("bank", "alice", PASSWORD);
                    let grant = issuer.login(who, from("192.0.2.1", "tests")).await.unwrap();
                    let grant = grant.into_tokens().unwrap();
                    let signed_by = kid(&grant.access_token);
                    assert!(published(verifier, "bank").await.contains(&signed_by));
                    let seen =
                        verifier.authenticate(&grant.access_token, from("192.0.2.1", "tests"));
                    // The oldest of too many sessions ends; its token is genuine all the same.
                    if let Err(refusal) = seen.await {
                        assert_eq!(refusal.code, "token_revoked");
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    for node in [&world.identity, &twin, &world.identity] {
        node.rotate_signing_key(&bank).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let mut issued = 0;
    for task in issuing {
        issued += task.await.unwrap();
    }
    assert!(issued >= 50, "{issued}");
    assert_eq!(keys(&world, &bank).await.len(), 4);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_sessions_go_on() {
    let world = World::with_secret(None).await;
    let bank = bank(&world, JwtAlgorithm::RS256).await;
    // A next key waits: it goes with the one that was given away.
    world.advance_s(29 * DAY_S);
    assert_eq!(world.identity.tend_signing_keys(&bank).await.unwrap(), 1);
    let cookie = request("bank", "alice", PASSWORD);
    let console = world.identity.sign_in_console(cookie, from("192.0.2.1", "tests")).await.unwrap();
    let identity::ConsoleSignIn::Session(console) = console else { panic!("{console:?}") };
    let (grant, _) = world.signed_in("bank", "alice").await;
    let twin = world.another_node();
    let elsewhere = from("192.0.2.1", "tests");
    let at_twin = twin.authenticate(&grant.access_token, Arc::clone(&elsewhere)).await.unwrap();
    let old = kid(&grant.access_token);
    let revoked = world.identity.revoke_signing_key(&bank, old).await.unwrap();
    assert_eq!(revoked.status, KeyStatus::Retired);
    assert!(revoked.revoked_at.is_some());
    let refused = world.authenticate(&grant.access_token).await.unwrap_err();
    assert_eq!(refused.code, "invalid_token");
    // The other node may still believe it for a moment, but writes nothing for it.
    let write = twin.logout_everywhere(&at_twin, false).await;
    assert_eq!(code(write), "token_revoked");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let refused = twin.authenticate(&grant.access_token, elsewhere).await.unwrap_err();
    assert_eq!(refused.code, "invalid_token");
    let [new] = published(&world.identity, "bank").await.try_into().unwrap();
    assert_eq!(
        statuses(&world, &bank).await,
        [KeyStatus::Active, KeyStatus::Retired, KeyStatus::Retired]
    );
    // Neither a cookie nor a refresh token is signed by any key.
    let request = from("192.0.2.1", "tests");
    let again = world.identity.refresh(&grant.refresh_token, Arc::clone(&request)).await.unwrap();
    assert_eq!((kid(&again.access_token), again.session_id), (new, grant.session_id));
    world.authenticate(&again.access_token).await.unwrap();
    world.identity.authenticate_cookie(&console.cookie, request).await.unwrap();
    // Ending it again changes nothing.
    let twice = world.identity.revoke_signing_key(&bank, old).await.unwrap();
    assert_eq!(twice, revoked);
    let recorded = "SELECT count(*) FROM audit_log WHERE action = 'key.revoke' AND event_type = 'key_management' \
                    AND jsonb_array_length(details -> 'withdrawn') = 1";
    assert_eq!(world.scalar::<i64>(recorded).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_obeyed_by_every_request_that_begins_after_it() {
    let world = World::new().await;
    let bank = bank(&world, JwtAlgorithm::HS256).await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let revoked = Arc::new(AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(2);
    let latest = until + Duration::from_secs(60);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let (identity, revoked) = (world.identity.clone(), Arc::clone(&revoked));
            let token = grant.access_token.clone();
            tokio::spawn(async move {
                let mut refused = 0;
                // On a slow machine somebody's first refusal comes later than that.
                while Instant::now() < until || (refused == 0 && Instant::now() < latest) {
                    let is_over = revoked.load(Ordering::SeqCst);
                    let answer = identity.authenticate(&token, from("192.0.2.1", "tests")).await;
                    assert!(!is_over || answer.is_err(), "a revoked key was believed");
                    refused += usize::from(answer.is_err());
                    tokio::task::yield_now().await;
                }
                refused
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.identity.revoke_signing_key(&bank, kid(&grant.access_token)).await.unwrap();
    revoked.store(true, Ordering::SeqCst);
    for request in requests {
        assert!(request.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn keys_belong_to_their_tenant_and_to_those_whom_policy_names() {
    let world = World::new().await;
    let bank = bank(&world, JwtAlgorithm::EdDSA).await;
    let rival = world.tenant_signing("rival", Blueprint::CoreBank, Some(JwtAlgorithm::EdDSA)).await;
    for (username, role) in [("admin", "admin"), ("manager", "manager")] {
        world.user(&bank, username, role).await;
    }
    let theirs = keys(&world, &rival).await[0].id;
    let own = keys(&world, &bank).await[0].id;
    let (_, admin) = world.signed_in("bank", "admin").await;
    let (_, manager) = world.signed_in("bank", "manager").await;
    for key in [theirs, Uuid::nil()] {
        assert_eq!(code(world.identity.revoke_signing_key(&admin, key).await), "not_found");
    }
    let page = PageRequest::default();
    assert_eq!(code(world.identity.signing_keys(&manager, &page).await), "permission_denied");
    assert_eq!(code(world.identity.rotate_signing_key(&manager).await), "permission_denied");
    let refused = world.identity.revoke_signing_key(&manager, own).await;
    assert_eq!(code(refused), "permission_denied");
    let denied = "SELECT count(*) FROM audit_log WHERE action LIKE 'key.%' AND result = 'denied'";
    assert!(world.scalar::<i64>(denied).await >= 2);
    assert_eq!(keys(&world, &bank).await.len(), 1, "nothing was made for nobody");
    assert_eq!(keys(&world, &rival).await[0].status, KeyStatus::Active);
    let listed = world.identity.signing_keys(&admin, &page).await.unwrap();
    assert_eq!(listed.data[0].id, own);
}

#[tokio::test]
async fn the_database_brings_no_key_back() {
    let world = World::with_secret(None).await;
    let bank = bank(&world, JwtAlgorithm::ES256).await;
    let first = keys(&world, &bank).await[0].id;
    world.identity.revoke_signing_key(&bank, first).await.unwrap();
    let superuser = world.superuser().await;
    let table = [
        "UPDATE signing_keys SET status = 'verify_only', verify_until = now() WHERE status = 'retired'",
        "UPDATE signing_keys SET wrapped_key = decode(repeat('00', 64), 'hex') WHERE status = 'active'",
        "UPDATE signing_keys SET status = 'retired' WHERE status = 'active'",
        "UPDATE signing_keys SET status = 'verify_only' WHERE status = 'active'",
        "UPDATE signing_keys SET revoked_at = now() WHERE status = 'active'",
    ];
    for statement in table {
        superuser.batch_execute(statement).await.expect_err(statement);
    }
}
