//! Refresh families: one successor, however many ask; a replay ends everything.

use std::collections::HashSet;

use tenancy::Blueprint;

use super::support::{World, code, from};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_refreshes_give_one_successor() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let refreshes: Vec<_> = (0..50)
        .map(|_| {
            let (identity, token) = (world.identity.clone(), grant.refresh_token.clone());
            tokio::spawn(async move { identity.refresh(&token, from("192.0.2.1", "tests")).await })
        })
        .collect();
    let mut successors = HashSet::new();
    for refresh in refreshes {
        let answer = refresh.await.unwrap().unwrap();
        assert_eq!(answer.session_id, grant.session_id);
        world.authenticate(&answer.access_token).await.unwrap();
        successors.insert(answer.refresh_token.to_string());
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM refresh_tokens").await, 2);
    let live = "SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL";
    assert_eq!(world.scalar::<i64>(live).await, 1);
    let successor = successors.into_iter().next().unwrap();
    world.identity.refresh(&successor, from("192.0.2.1", "tests")).await.unwrap();
}

#[tokio::test]
async fn a_replay_ends_the_family_its_session_and_its_access_tokens() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let here = || from("192.0.2.1", "tests");
    // What is done after the first refresh, and whether using the first token again is a replay.
    for (case, late, used, elsewhere) in [
        ("late", true, false, false),
        ("successor used", false, true, false),
        ("other device", false, false, true),
    ] {
        let (grant, _) = world.signed_in("bank", "alice").await;
        let second = world.identity.refresh(&grant.refresh_token, here()).await.unwrap();
        let last = if used {
            world.identity.refresh(&second.refresh_token, here()).await.unwrap()
        } else {
            second
        };
        if late {
            world.advance_s(11);
        }
        let thief = if elsewhere { from("192.0.2.1", "another") } else { here() };
        let before = world.audited(&bank, "security_violation").await;
        assert_eq!(
            code(world.identity.refresh(&grant.refresh_token, thief).await),
            "token_revoked",
            "{case}"
        );
        assert_eq!(world.audited(&bank, "security_violation").await, before + 1, "{case}");
        assert_eq!(
            code(world.identity.refresh(&last.refresh_token, here()).await),
            "token_revoked",
            "{case}"
        );
        for token in [&grant.access_token, &last.access_token] {
            assert_eq!(
                world.authenticate(token).await.unwrap_err().code,
                "token_revoked",
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn a_retry_within_the_grace_gets_the_same_successor() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let here = || from("192.0.2.1", "tests");
    let first = world.identity.refresh(&grant.refresh_token, here()).await.unwrap();
    world.advance_s(9);
    let retry = world.identity.refresh(&grant.refresh_token, here()).await.unwrap();
    assert_eq!(*first.refresh_token, *retry.refresh_token);
    assert_ne!(*first.refresh_token, *grant.refresh_token);
}

#[tokio::test]
async fn a_family_ends_with_its_lifetime_and_its_owner() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let here = || from("192.0.2.1", "tests");
    let (mut grant, _) = world.signed_in("bank", "alice").await;
    for _ in 0..6 {
        world.advance_s(86_400);
        grant = world.identity.refresh(&grant.refresh_token, here()).await.unwrap();
    }
    world.advance_s(86_400);
    assert_eq!(code(world.identity.refresh(&grant.refresh_token, here()).await), "token_expired");

    let (grant, context) = world.signed_in("bank", "alice").await;
    world.identity.logout(&context).await.unwrap();
    assert_eq!(code(world.identity.refresh(&grant.refresh_token, here()).await), "token_revoked");
    for nonsense in
        ["", "refresh_", &grant.access_token, "api_00_x", &grant.refresh_token.replace('_', "-")]
    {
        assert_eq!(code(world.identity.refresh(nonsense, here()).await), "invalid_token");
    }
    let never_issued =
        vault::OpaqueToken::generate("refresh", bank.tenant_id()).unwrap().expose().to_owned();
    assert_eq!(code(world.identity.refresh(&never_issued, here()).await), "invalid_token");
}

#[tokio::test]
async fn nothing_that_is_stored_is_a_token() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let second =
        world.identity.refresh(&grant.refresh_token, from("192.0.2.1", "tests")).await.unwrap();
    for token in [&*grant.refresh_token, &*second.refresh_token] {
        let secret = token.splitn(3, '_').nth(2).unwrap();
        for table in ["refresh_tokens", "user_sessions", "audit_log", "idempotency_keys"] {
            let sql =
                format!("SELECT count(*) FROM {table} t WHERE strpos(t::text, '{secret}') > 0");
            assert_eq!(world.scalar::<i64>(&sql).await, 0, "{table}");
        }
        let stored =
            format!("SELECT count(*) FROM refresh_tokens WHERE token_hash = sha256('{token}')");
        assert_eq!(world.scalar::<i64>(&stored).await, 1);
    }
}
