//! Writes obey a revocation at once.

use operation::RefusalKind;
use tenancy::{OpContext, SessionId};
use uuid::Uuid;

use super::refusal;
use super::toy::{MakeToy, World, call};

/// A person with a live session, staff or not.
async fn signed_in(world: &World, name: &str, sees_all_users: bool) -> OpContext {
    let mut context = world.user(&["officer"]);
    context.actor.sees_all_users = sees_all_users;
    let (tenant, user, session) = (context.tenant_id(), context.actor.id, world.clock.new_id());
    let referral = format!("{:0>10}", name.to_uppercase());
    world
        .superuser
        .execute("INSERT INTO roles (tenant_id, name, rank) VALUES ($1, 'officer', 3) ON CONFLICT DO NOTHING", &[&tenant])
        .await
        .unwrap();
    world
        .superuser
        .execute(
            "INSERT INTO users (tenant_id, id, username, username_key, role, referral_code) \
             VALUES ($1, $2, $3, $3, 'officer', $4)",
            &[&tenant, &user, &name, &referral],
        )
        .await
        .unwrap();
    world
        .superuser
        .execute(
            "INSERT INTO user_sessions (tenant_id, id, user_id, device_fingerprint, absolute_expires_at) \
             VALUES ($1, $2, $3, sha256('x'), now() + interval '1 hour')",
            &[&tenant, &session, &user],
        )
        .await
        .unwrap();
    context.session = Some(SessionId(session));
    context
}

#[tokio::test]
async fn a_dead_session_writes_nothing() {
    let world = World::new().await;
    let deaths = [
        (
            "revoked",
            "UPDATE user_sessions SET revoked_at = now(), revocation_reason = 'logout' WHERE user_id = $1",
        ),
        (
            "expired",
            "UPDATE user_sessions SET absolute_expires_at = now() - interval '1 s' WHERE user_id = $1",
        ),
        ("disabled", "UPDATE users SET is_active = false WHERE id = $1"),
        ("deleted", "UPDATE users SET deleted_at = now() WHERE id = $1"),
    ];
    for (at, (name, death)) in deaths.into_iter().enumerate() {
        let person = signed_in(&world, &format!("a{at}"), false).await;
        world.run_keyed(&person, "key", MakeToy::labelled(name)).await.unwrap();
        world.superuser.execute(death, &[&person.actor.id]).await.unwrap();
        // Not even a replay.
        let refused = refusal(world.run_keyed(&person, "key", MakeToy::labelled(name)).await);
        assert_eq!(
            (refused.kind, refused.code.as_ref()),
            (RefusalKind::Unauthenticated, "token_revoked"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_session_serves_only_its_owner() {
    let world = World::new().await;
    let (owner, mut thief) =
        (signed_in(&world, "b1", false).await, signed_in(&world, "b2", true).await);
    thief.session = owner.session;
    let mut invented = owner.clone();
    invented.session = Some(SessionId(Uuid::from_u128(5)));
    for context in [thief, invented] {
        assert_eq!(
            refusal(world.run(&context, MakeToy::labelled("x")).await).code,
            "token_revoked"
        );
    }
}

#[tokio::test]
async fn the_sessions_of_a_batch_are_looked_up_together() {
    let world = World::new().await;
    let (one, two) = (signed_in(&world, "c1", false).await, signed_in(&world, "c2", false).await);
    let (staff, gone) = (signed_in(&world, "c3", true).await, signed_in(&world, "c4", false).await);
    let end = "UPDATE user_sessions SET revoked_at = now(), revocation_reason = 'logout' WHERE user_id = $1";
    world.superuser.execute(end, &[&gone.actor.id]).await.unwrap();
    let calls =
        [&one, &gone, &staff, &two].map(|context| call(context, None, MakeToy::labelled("x")));
    let results = world.operations.run(calls.into()).await;
    let done: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true, true], "{results:?}");
}
