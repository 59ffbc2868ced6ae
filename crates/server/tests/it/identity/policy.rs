//! Changes of the security policy: two people, one change, once, as it was asked for.

use std::time::Duration;

use identity::{PolicyChange, PolicyChangeFilter, PolicyChangeStatus, PolicyWish, UserUpdate};
use operation::{OperationError, PageRequest};
use serde_json::{Value, json};
use tenancy::{Blueprint, OpContext};
use uuid::Uuid;

use super::support::{World, code};

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

async fn ask(
    world: &World,
    actor: &OpContext,
    wish: PolicyWish,
) -> Result<PolicyChange, OperationError> {
    let asked = world.identity.request_policy_change(actor, None, (wish, None), None).await;
    asked.map(|reply| reply.output)
}

async fn stored(world: &World, context: &OpContext) -> (u32, i64) {
    let (policy, version) = world.identity.stored_policy(context).await.unwrap();
    (policy.session.concurrent_limit, version)
}

#[tokio::test]
async fn a_change_is_the_policy_once_a_second_person_agrees() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    let identity = &world.identity;
    let other = world.another_node();
    assert_eq!(other.policy(&bank).await.unwrap().session.concurrent_limit, 10);
    let asked = identity
        .request_policy_change(&maker, None, (limit(3), Some(1)), Some(" After the audit "))
        .await
        .unwrap();
    let change = asked.output;
    assert_eq!((asked.status, change.status), (201, PolicyChangeStatus::Pending));
    assert_eq!((change.base_version, change.note.as_deref()), (1, Some("After the audit")));
    assert_eq!(change.differences.len(), 1);
    assert_eq!(
        (
            change.differences[0].path.as_str(),
            &change.differences[0].old,
            &change.differences[0].new
        ),
        ("session.concurrent_limit", &json!(10), &json!(3))
    );
    assert_eq!(stored(&world, &bank).await, (10, 1), "nothing yet");

    // Nobody agrees with themselves, whatever their role.
    for outcome in [
        identity.approve_policy_change(&maker, change.id, None).await,
        identity.reject_policy_change(&maker, change.id, None).await,
    ] {
        assert_eq!(code(outcome), "permission_denied");
    }
    let done = identity.approve_policy_change(&checker, change.id, Some("Seen")).await.unwrap();
    assert_eq!((done.status, done.version), (PolicyChangeStatus::Approved, 2));
    assert_eq!(done.decided_by, Some(checker.actor.id));
    assert_eq!(stored(&world, &bank).await, (3, 2));
    assert_eq!(identity.policy(&bank).await.unwrap().session.concurrent_limit, 3, "here at once");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(
        other.policy(&bank).await.unwrap().session.concurrent_limit,
        3,
        "elsewhere within a second"
    );

    let sql = "SELECT (old_values ->> 'session.concurrent_limit') || ' ' || (new_values ->> 'session.concurrent_limit') \
        FROM audit_log WHERE action = 'settings.update'";
    assert_eq!(world.scalar::<String>(sql).await, "10 3");
    assert_eq!(
        world.audited(&bank, "configuration_change").await,
        3,
        "asked for, applied, decided"
    );
    for outcome in [
        identity.approve_policy_change(&checker, change.id, None).await,
        identity.reject_policy_change(&checker, change.id, None).await,
    ] {
        assert_eq!(code(outcome), "change_decided");
    }
    // What is decided cannot be decided again, whoever writes.
    let revive = format!(
        "UPDATE policy_changes SET status = 'pending', decided_by = NULL, decided_at = NULL, \
        decision_note = NULL WHERE id = '{}'",
        change.id
    );
    world.superuser().await.batch_execute(&revive).await.unwrap_err();
    world.superuser().await.batch_execute("DELETE FROM policy_changes").await.unwrap_err();
}

#[tokio::test]
async fn two_logins_in_one_hand_are_not_two_persons() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    // The maker makes an administrator, and that one another.
    let made = |name: &str| super::support::new_user(name, "admin");
    world.identity.create_user(&maker, None, made("puppet")).await.unwrap();
    let (_, puppet) = world.signed_in("bank", "puppet").await;
    world.identity.create_user(&puppet, None, made("puppets-puppet")).await.unwrap();
    let (_, second) = world.signed_in("bank", "puppets-puppet").await;
    let change = ask(&world, &maker, limit(4)).await.unwrap();
    let own = ask(&world, &second, limit(5)).await.unwrap();
    for (actor, id) in [(&puppet, change.id), (&second, change.id), (&maker, own.id)] {
        let outcome = world.identity.approve_policy_change(actor, id, None).await;
        assert_eq!(code(outcome), "not_independent");
    }
    assert_eq!(stored(&world, &bank).await, (10, 1));
    world.identity.approve_policy_change(&checker, change.id, None).await.unwrap();
}

#[tokio::test]
async fn fifty_approvals_at_once_apply_it_once() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    let change = ask(&world, &maker, limit(4)).await.unwrap();
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (identity, checker, id) = (world.identity.clone(), checker.clone(), change.id);
        racing.spawn(async move {
            let note = format!("{number}");
            identity.approve_policy_change(&checker, id, Some(&note)).await
        });
    }
    let (done, refused): (Vec<_>, Vec<_>) =
        racing.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 49));
    for outcome in refused {
        assert_eq!(code(outcome), "change_decided");
    }
    assert_eq!(stored(&world, &bank).await, (4, 2));
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'settings.update'";
    assert_eq!(world.scalar::<i64>(sql).await, 1);
}

#[tokio::test]
async fn of_two_changes_of_one_policy_the_first_agreed_to_holds() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    let first = ask(&world, &maker, limit(4)).await.unwrap();
    let second = ask(&world, &checker, limit(5)).await.unwrap();
    world.identity.approve_policy_change(&checker, first.id, None).await.unwrap();
    let late = world.identity.approve_policy_change(&maker, second.id, None).await;
    assert_eq!(code(late), "policy_changed");
    assert_eq!(stored(&world, &bank).await, (4, 2));
    let read = world.identity.policy_change(&checker, second.id).await.unwrap();
    assert_eq!(read.status, PolicyChangeStatus::Pending, "it can still be rejected");
    world.identity.reject_policy_change(&maker, second.id, None).await.unwrap();
    // Crossing: each agrees to the other's at the same moment.
    for round in 0..5 {
        let left = ask(&world, &maker, limit(20 + round)).await.unwrap();
        let right = ask(&world, &checker, limit(40 + round)).await.unwrap();
        let (one, two) = tokio::join!(
            world.identity.approve_policy_change(&checker, left.id, None),
            world.identity.approve_policy_change(&maker, right.id, None),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let lost = if one.is_ok() { two } else { one };
        assert_eq!(code(lost), "policy_changed");
    }
}

#[tokio::test]
async fn what_was_changed_in_the_database_is_not_what_is_agreed_to() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    // What somebody with the database in their hands might write
    let forgeries = [
        "policy = jsonb_set(policy, '{session,concurrent_limit}', '99')",
        "base_version = base_version + 1",
        "expires_at = expires_at + interval '1 year'",
        "differences = '[]'",
    ];
    for (number, forgery) in forgeries.into_iter().enumerate() {
        let change = ask(&world, &maker, limit(4)).await.unwrap();
        // Triggers stop everybody but who can turn them off.
        let sql = format!(
            "SET session_replication_role = 'replica'; \
             UPDATE policy_changes SET {forgery} WHERE id = '{}'; \
             SET session_replication_role = 'origin'",
            change.id
        );
        world.superuser().await.batch_execute(&sql).await.unwrap();
        let outcome = world.identity.approve_policy_change(&checker, change.id, None).await;
        assert_eq!(code(outcome), "change_tampered", "{forgery}");
        let violations = i64::try_from(number).unwrap() + 1;
        assert_eq!(world.audited(&bank, "security_violation").await, violations, "{forgery}");
        world.identity.reject_policy_change(&checker, change.id, None).await.unwrap();
    }
    assert_eq!(stored(&world, &bank).await, (10, 1));
    // The application's own role may write none of it.
    let app = testkit::connect(&world.database.url_as("strongroom_app")).await;
    for forgery in forgeries {
        app.batch_execute(&format!("UPDATE policy_changes SET {forgery}")).await.unwrap_err();
    }
}

#[tokio::test]
async fn time_and_standing_are_looked_at_when_it_is_decided() {
    let world = World::new().await;
    let (bank, maker, checker) = bank(&world).await;
    let identity = &world.identity;
    let change = ask(&world, &maker, limit(4)).await.unwrap();
    let demoted = UserUpdate { role: Some("manager".to_owned()), ..UserUpdate::default() };
    identity.update_user(&bank, maker.actor.id, None, demoted).await.unwrap();
    let outcome = identity.approve_policy_change(&checker, change.id, None).await;
    assert_eq!(code(outcome), "maker_not_permitted");
    let promoted = UserUpdate { role: Some("admin".to_owned()), ..UserUpdate::default() };
    identity.update_user(&bank, maker.actor.id, None, promoted).await.unwrap();
    identity.lock_user(&bank, maker.actor.id, None, identity::LockReason::Other).await.unwrap();
    let outcome = identity.approve_policy_change(&checker, change.id, None).await;
    assert_eq!(code(outcome), "maker_not_permitted");
    identity.unlock_user(&bank, maker.actor.id, None).await.unwrap();
    world.advance_s(7 * 86_400);
    let (_, checker) = world.signed_in("bank", "checker").await;
    let outcome = identity.approve_policy_change(&checker, change.id, None).await;
    assert_eq!(code(outcome), "change_expired");
    let read = identity.policy_change(&checker, change.id).await.unwrap();
    assert_eq!(read.status, PolicyChangeStatus::Expired);
    let expired = PolicyChangeFilter { status: Some(PolicyChangeStatus::Expired) };
    let page = PageRequest::default();
    assert_eq!(identity.policy_changes(&checker, expired, &page).await.unwrap().data.len(), 1);
    let pending = PolicyChangeFilter { status: Some(PolicyChangeStatus::Pending) };
    assert_eq!(identity.policy_changes(&checker, pending, &page).await.unwrap().data.len(), 0);
    assert_eq!(stored(&world, &bank).await, (10, 1));
}

#[tokio::test]
async fn who_may_ask_and_decide_is_a_table() {
    let world = World::new().await;
    let (bank, maker, _) = bank(&world).await;
    let change = ask(&world, &maker, limit(4)).await.unwrap();
    for role in Blueprint::CoreBank.roles() {
        world.user(&bank, &format!("a-{}", role.replace('_', "-")), role).await;
    }
    let other = world.tenant("other", Blueprint::CoreBank).await;
    world.user(&other, "stranger", "super_admin").await;
    let (_, stranger) = world.signed_in("other", "stranger").await;
    let identity = &world.identity;
    let outcome = identity.approve_policy_change(&stranger, change.id, None).await;
    assert_eq!(code(outcome), "not_found");
    assert_eq!(code(identity.policy_change(&stranger, change.id).await), "not_found");
    assert_eq!(code(identity.approve_policy_change(&maker, Uuid::nil(), None).await), "not_found");
    for role in Blueprint::CoreBank.roles() {
        let (_, actor) = world.signed_in("bank", &format!("a-{}", role.replace('_', "-"))).await;
        let may = ["super_admin", "admin"].contains(role);
        let sees = may || ["manager", "auditor"].contains(role);
        let asked = ask(&world, &actor, limit(6)).await;
        assert_eq!(asked.is_ok(), may, "{role}: {asked:?}");
        let read = identity.policy_change(&actor, change.id).await;
        assert_eq!(read.is_ok(), sees, "{role}");
        if !may {
            let outcome = identity.approve_policy_change(&actor, change.id, None).await;
            assert_eq!(code(outcome), "permission_denied", "{role}");
        }
    }
}

#[tokio::test]
async fn what_is_no_policy_is_refused_with_every_fault() {
    let world = World::new().await;
    let (bank, maker, _) = bank(&world).await;
    let identity = &world.identity;
    let (policy, _) = identity.stored_policy(&bank).await.unwrap();
    let whole = serde_json::to_value(&policy).unwrap();
    let with = |path: &str, value: Value| {
        let mut whole = whole.clone();
        *whole.pointer_mut(path).unwrap() = value;
        PolicyWish::Whole(whole)
    };
    let mut lacking = whole.clone();
    lacking.as_object_mut().unwrap().remove("mfa").unwrap();
    // wish, code, fields
    let table: [(PolicyWish, &str, &[&str]); 7] = [
        (PolicyWish::Whole(whole.clone()), "nothing_changes", &[]),
        (PolicyWish::Patch(json!({})), "nothing_changes", &[]),
        (PolicyWish::Whole(lacking), "validation_failed", &["policy.mfa"]),
        (with("/token/algorithm", json!("none")), "validation_failed", &["policy.token.algorithm"]),
        (
            with("/password/minimum_length", json!(-1)),
            "validation_failed",
            &["policy.password.minimum_length"],
        ),
        (
            PolicyWish::Patch(
                json!({ "password": { "history": 1_000 }, "session": { "sticky": true }, "x": {} }),
            ),
            "validation_failed",
            &["patch.x", "patch.password.history", "patch.session.sticky"],
        ),
        (PolicyWish::Patch(json!([1])), "validation_failed", &["patch"]),
    ];
    for (wish, expected, fields) in table {
        let outcome = ask(&world, &maker, wish.clone()).await;
        let Err(OperationError::Refused(refusal)) = outcome else { panic!("{wish:?} accepted") };
        assert_eq!(refusal.code, expected, "{wish:?}");
        if !fields.is_empty() {
            let mut found: Vec<_> =
                refusal.errors.iter().map(|error| error.field.as_ref()).collect();
            let mut fields = fields.to_vec();
            found.sort_unstable();
            fields.sort_unstable();
            assert_eq!(found, fields, "{wish:?}");
        }
    }
    let stale = identity.request_policy_change(&maker, None, (limit(4), Some(7)), None).await;
    assert_eq!(code(stale), "version_conflict");
    let long = "x".repeat(141);
    let noted = identity.request_policy_change(&maker, None, (limit(4), None), Some(&long)).await;
    assert_eq!(code(noted), "validation_failed");
    // One key, one change.
    let key = || Some("once".to_owned());
    let first =
        identity.request_policy_change(&maker, key(), (limit(4), None), None).await.unwrap();
    let again =
        identity.request_policy_change(&maker, key(), (limit(4), None), None).await.unwrap();
    assert_eq!((first.output.id, again.replayed), (again.output.id, true));
    let reused = identity.request_policy_change(&maker, key(), (limit(5), None), None).await;
    assert_eq!(code(reused), "idempotency_key_reused");
    for number in 0..19 {
        ask(&world, &maker, limit(20 + number)).await.unwrap();
    }
    assert_eq!(code(ask(&world, &maker, limit(50)).await), "too_many_pending");
}
