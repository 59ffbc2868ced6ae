//! What the clock ends: changes of the policy that nobody decided, challenges that nobody
//! answered; and the blueprints' own policies, which every tenant can take.

use identity::{PolicyChangeFilter, PolicyChangeStatus, PolicyWish};
use operation::PageRequest;
use serde_json::json;
use tenancy::{Actor, ActorKind, Blueprint, OpContext, policy::SecurityPolicy};

use super::support::{PASSWORD, World, claims, code};

async fn bank(world: &World) -> (OpContext, OpContext, OpContext) {
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "maker", "admin").await;
    world.user(&bank, "checker", "admin").await;
    let (_, maker) = world.signed_in("bank", "maker").await;
    let (_, checker) = world.signed_in("bank", "checker").await;
    (bank, maker, checker)
}

fn limit(sessions: u32) -> PolicyWish {
    PolicyWish::Patch(json!({ "session": { "concurrent_limit": sessions } }))
}

fn worker(context: &OpContext) -> OpContext {
    OpContext { actor: Actor::system(ActorKind::Worker), ..context.clone() }
}

#[tokio::test]
async fn the_worker_writes_down_which_changes_are_over_once() {
    let world = World::new().await;
    let (bank, maker, _) = bank(&world).await;
    let identity = &world.identity;
    let worker = worker(&bank);
    let ask = async |sessions| {
        let asked = identity.request_policy_change(&maker, None, (limit(sessions), None), None);
        asked.await.unwrap().output
    };
    let over = ask(3).await;
    assert_eq!(identity.expire_policy_changes(&worker).await.unwrap(), 0, "it has time left");
    world.advance_s(3_600);
    let fresh = ask(4).await;
    world.advance_s(7 * 86_400 - 3_600);
    let other = world.another_node();
    let (one, two) =
        tokio::join!(identity.expire_policy_changes(&worker), other.expire_policy_changes(&worker));
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(identity.expire_policy_changes(&worker).await.unwrap(), 0);
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'policy_change.expire' \
        AND event_type = 'configuration_change' AND actor_kind = 'worker' \
        AND new_values ->> 'status' = 'expired'";
    assert_eq!(world.scalar::<i64>(sql).await, 1);
    // Whoever of the two came too late may have left that it found nothing.
    let sql = "SELECT resource_id::text FROM audit_log WHERE action = 'policy_change.expire' \
        AND event_type = 'configuration_change'";
    assert_eq!(world.scalar::<String>(sql).await, over.id.to_string());
    let (_, checker) = world.signed_in("bank", "checker").await;
    let read = identity.policy_change(&checker, over.id).await.unwrap();
    assert_eq!((read.status, read.version), (PolicyChangeStatus::Expired, 2));
    assert!(read.decided_by.is_none() && read.decided_at.is_some());
    let listed = async |status| {
        let filter = PolicyChangeFilter { status: Some(status) };
        let page =
            identity.policy_changes(&checker, filter, &PageRequest::default()).await.unwrap();
        page.data.into_iter().map(|change| change.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(PolicyChangeStatus::Expired).await, [over.id]);
    assert_eq!(listed(PolicyChangeStatus::Pending).await, [fresh.id]);
    for outcome in [
        identity.approve_policy_change(&checker, over.id, None).await,
        identity.reject_policy_change(&checker, over.id, None).await,
    ] {
        assert_eq!(code(outcome), "change_expired");
    }
    identity.approve_policy_change(&checker, fresh.id, None).await.unwrap();
    // What is noted stays noted, whoever writes; and only the system notes it.
    let revive = format!(
        "UPDATE policy_changes SET status = 'pending', decided_at = NULL WHERE id = '{}'",
        over.id
    );
    world.superuser().await.batch_execute(&revive).await.unwrap_err();
    // A week later the maker's first session is over as well.
    let (_, again) = world.signed_in("bank", "maker").await;
    let late = identity.request_policy_change(&again, None, (limit(5), None), None).await;
    let late = late.unwrap().output;
    world.advance_s(8 * 86_400);
    let (_, checker) = world.signed_in("bank", "checker").await;
    assert_eq!(code(identity.expire_policy_changes(&checker).await), "permission_denied");
    let read = identity.policy_change(&checker, late.id).await.unwrap();
    assert_eq!((read.status, read.version), (PolicyChangeStatus::Expired, 1), "by the clock alone");
}

#[tokio::test]
async fn a_worker_in_one_tenant_ends_nothing_in_another() {
    let world = World::new().await;
    let (_, maker, _) = bank(&world).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    world.identity.request_policy_change(&maker, None, (limit(3), None), None).await.unwrap();
    world.advance_s(8 * 86_400);
    assert_eq!(world.identity.expire_policy_changes(&worker(&other)).await.unwrap(), 0);
    assert_eq!(world.identity.forget_challenges(&worker(&other)).await.unwrap(), 0);
    let sql = "SELECT status FROM policy_changes";
    assert_eq!(world.scalar::<String>(sql).await, "pending");
}

#[tokio::test]
async fn challenges_are_forgotten_when_their_end_is_long_over() {
    let world = World::new().await;
    let (bank, maker, _) = bank(&world).await;
    let worker = worker(&bank);
    // 12,000 of each kind, of which every third is of now.
    let fill = format!(
        "INSERT INTO mfa_challenges (tenant_id, id, user_id, purpose, token_hash, session_for, \
             device_fingerprint, expires_at, created_at) \
         SELECT '{tenant}', gen_random_uuid(), '{user}', 'sign_in', sha256(('m' || n)::bytea), 'client', \
             sha256('device'), at, at - interval '5 minutes' \
         FROM (SELECT n, timestamptz '2026-03-01T12:00:00Z' - CASE WHEN n % 3 = 0 THEN interval '0' ELSE interval '3 days' END AS at \
               FROM generate_series(1, 12000) n) old; \
         INSERT INTO webauthn_challenges (tenant_id, id, challenge_hash, purpose, expires_at) \
         SELECT '{tenant}', gen_random_uuid(), sha256(('w' || n)::bytea), 'sign_in', \
             timestamptz '2026-03-01T12:00:00Z' - CASE WHEN n % 3 = 0 THEN interval '0' ELSE interval '3 days' END \
         FROM generate_series(1, 12000) n",
        tenant = bank.tenant_id(),
        user = maker.actor.id,
    );
    world.superuser().await.batch_execute(&fill).await.unwrap();
    let other = world.another_node();
    let mut forgotten = 0;
    loop {
        // Two nodes at once leave each other's rows alone and neither fails.
        let (one, two) = tokio::join!(
            world.identity.forget_challenges(&worker),
            other.forget_challenges(&worker)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one <= 10_000 && two <= 10_000, "{one} {two}: a batch of each kind is bounded");
        forgotten += one + two;
        if one + two == 0 {
            break;
        }
    }
    assert_eq!(forgotten, 16_000);
    for table in ["mfa_challenges", "webauthn_challenges"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(world.scalar::<i64>(&sql).await, 4_000, "{table}");
    }
}

/// The rows of the product specification are policies: a tenant can be changed from each
/// to each by two people, and what it hands out follows.
#[tokio::test]
async fn every_blueprints_policy_can_be_taken_by_a_tenant_and_is_what_its_tokens_say() {
    let world = World::new().await;
    let (bank, ..) = bank(&world).await;
    let blueprints = [
        Blueprint::EquipmentErp,
        Blueprint::DigitalBank,
        Blueprint::CardBank,
        Blueprint::CreditRisk,
        Blueprint::Standard,
        Blueprint::CoreBank,
    ];
    for blueprint in blueprints {
        let (_, maker) = world.signed_in("bank", "maker").await;
        let (_, checker) = world.signed_in("bank", "checker").await;
        let wanted = SecurityPolicy::of(blueprint);
        let whole = PolicyWish::Whole(serde_json::to_value(&wanted).unwrap());
        let identity = &world.identity;
        let asked = identity.request_policy_change(&maker, None, (whole, None), None).await;
        let change = asked.unwrap_or_else(|error| panic!("{blueprint}: {error}")).output;
        identity.approve_policy_change(&checker, change.id, None).await.unwrap();
        assert_eq!(identity.stored_policy(&bank).await.unwrap().0, wanted, "{blueprint}");
        // A key of the algorithm that the policy names signs from the next rotation on.
        let signs = identity.rotate_signing_key(&bank).await.unwrap();
        assert_eq!(signs.algorithm, format!("{:?}", wanted.token.algorithm), "{blueprint}");
        world.advance_s(61);
        let grant = world.login("bank", "checker", PASSWORD).await.unwrap();
        let claims = claims(&grant.access_token);
        let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lives, wanted.token.access_lifetime_s, "{blueprint}");
        if let Some(issuer) = &wanted.token.issuer {
            assert_eq!(claims["iss"], *issuer, "{blueprint}");
        } else {
            assert!(claims["iss"].as_str().unwrap().ends_with("/t/bank"), "{blueprint}: {claims}");
        }
        for audience in &wanted.token.audience {
            let told = claims["aud"].as_array().unwrap();
            assert!(told.iter().any(|one| one == audience), "{blueprint}: {claims}");
        }
        // The longest anybody stays: past the account's lock windows of every row.
        world.advance_s(3_601);
    }
}
