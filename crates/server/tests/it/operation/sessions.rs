//! Writes obey a revocation and a change of roles at once.

use access::Permission;
use operation::{Group, RefusalKind};
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
        .execute(
            "INSERT INTO roles (tenant_id, name, rank) \
             VALUES ($1, 'officer', 3), ($1, 'auditor', 4), ($1, 'customer', 5) ON CONFLICT DO NOTHING",
            &[&tenant],
        )
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
            "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, 'officer')",
            &[&tenant, &user],
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

/// Gives somebody another role, as another node does: nobody here is told.
async fn give_role(world: &World, person: &OpContext, role: &str) {
    for change in [
        "UPDATE users SET role = $2 WHERE id = $1",
        "UPDATE user_roles SET role = $2 WHERE user_id = $1",
    ] {
        world.superuser.execute(change, &[&person.actor.id, &role]).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_is_decided_on_the_roles_of_now() {
    let world = World::new().await;
    // (remembered, held now, what becomes of it)
    let table = [
        ("officer", "officer", true),
        ("officer", "auditor", false),
        ("officer", "customer", false),
        ("auditor", "officer", true),
        ("customer", "officer", true),
    ];
    let policies = world.operations.policies();
    let blueprint = world.tenant.blueprint;
    let sees_all = |role: &str| policies.scope(blueprint, &[role], Permission::UserRead).is_all();
    assert!(sees_all("officer") && !sees_all("customer"), "who sees whom differs");
    for (at, (remembered, held, done)) in table.into_iter().enumerate() {
        let mut person = signed_in(&world, &format!("d{at}"), sees_all(remembered)).await;
        person.actor.roles = [remembered.to_owned()].into();
        give_role(&world, &person, held).await;
        let group = Group::new(world.operations.clone());
        let outcomes = [
            world.run(&person, MakeToy::labelled("x")).await,
            group.run_one(call(&person, None, MakeToy::labelled("x"))).await,
        ];
        for outcome in outcomes {
            match outcome {
                // What row security shows follows the roles as well.
                Ok(toy) => assert_eq!((toy.output.seen_by.as_str(), done), ("*", true), "{held}"),
                refused => assert_eq!(
                    (refusal(refused).code.as_ref(), done),
                    ("permission_denied", false),
                    "{held}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn others_of_a_batch_are_not_touched_by_a_change_of_roles() {
    let world = World::new().await;
    let (staff, demoted) =
        (signed_in(&world, "e1", true).await, signed_in(&world, "e2", true).await);
    give_role(&world, &demoted, "customer").await;
    let calls =
        [&staff, &demoted, &staff].map(|context| call(context, None, MakeToy::labelled("x")));
    let results = world.operations.run(calls.into()).await;
    let done: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true], "{results:?}");
}
