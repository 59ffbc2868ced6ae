//! API keys over two nodes and over time.

use std::{sync::Arc, time::Duration};

use identity::{ApiKeyRotation, Change, NewApiKey, NewPassword, NewUser, UserUpdate};
use tenancy::{ActorKind, Blueprint, OpContext};
use uuid::Uuid;

use super::support::{World, code, from};

fn wish(role: &str, scopes: &[&str]) -> NewApiKey {
    NewApiKey {
        name: "Payroll".to_owned(),
        role: role.to_owned(),
        scopes: (!scopes.is_empty())
            .then(|| scopes.iter().map(|&scope| scope.to_owned()).collect()),
        ..NewApiKey::default()
    }
}

fn nobody(username: &str, role: &str) -> NewUser {
    NewUser { password: NewPassword::None, ..super::support::new_user(username, role) }
}

async fn world() -> (World, OpContext, OpContext) {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "admin", "admin").await;
    let (_, admin) = world.signed_in_by_factor("bank", "admin").await;
    (world, bank, admin)
}

#[tokio::test]
async fn a_key_is_an_actor_of_its_own_and_leaves_its_name() {
    let (world, bank, admin) = world().await;
    let policies = access::Policies::load().unwrap();
    let mut scopes = policies.permissions_of(Blueprint::CoreBank, &["customer"]);
    scopes.push("user:create");
    let made = world.identity.create_api_key(&admin, wish("admin", &scopes)).await.unwrap();
    let id = made.record.id;
    assert_eq!((made.record.created_by, made.record.hint.len()), (Some(admin.actor.id), 4));
    assert!(made.secret.starts_with(&format!(
        "apikey_{}_{}",
        bank.tenant_id().simple(),
        made.record.hint
    )));
    let stored = format!(
        "SELECT count(*) FROM api_keys WHERE strpos(api_keys::text, '{}') > 0",
        made.secret.splitn(3, '_').nth(2).unwrap()
    );
    assert_eq!(world.scalar::<i64>(&stored).await, 0, "the secret is stored nowhere");
    let machine = world.authenticate(&made.secret).await.unwrap();
    assert_eq!((machine.actor.kind, machine.actor.id), (ActorKind::ApiKey, id));
    assert!(machine.session.is_none());
    let user = world.identity.create_user(&machine, None, nobody("bob", "customer")).await.unwrap();
    let by = format!(
        "SELECT user_id FROM audit_log WHERE resource_id = '{}' AND actor_kind = 'api_key'",
        user.output.id
    );
    assert_eq!(world.scalar::<Uuid>(&by).await, id);
    let given = world.identity.create_user(&machine, None, nobody("eve", "admin")).await;
    assert_eq!(code(given), "privilege_escalation");
    // Its scopes bound what it sees and can give away, whatever its role holds.
    let narrow = world.identity.create_api_key(&admin, wish("admin", &["user:create"])).await;
    let narrow = world.authenticate(&narrow.unwrap().secret).await.unwrap();
    assert!(!narrow.actor.sees_all_users);
    let given = world.identity.create_user(&narrow, None, nobody("carl", "customer")).await;
    assert_eq!(code(given), "privilege_escalation");
    let page = operation::PageRequest::default();
    let read = world.identity.users(&narrow, identity::UserFilter::default(), &page).await;
    assert_eq!(code(read), "permission_denied");
    // Its use is noted, off the request path and to the minute.
    let touched = "SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL AND host(last_used_ip) = '192.0.2.1'";
    let noted = async || {
        for _ in 0..100 {
            if world.scalar::<i64>(touched).await == 2 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };
    assert!(noted().await);
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_here_and_within_a_second_elsewhere() {
    let (world, _, admin) = world().await;
    let made = world.identity.create_api_key(&admin, wish("admin", &[])).await.unwrap();
    let twin = world.another_node();
    let elsewhere = from("192.0.2.1", "tests");
    world.authenticate(&made.secret).await.unwrap();
    let at_twin = twin.authenticate(&made.secret, Arc::clone(&elsewhere)).await.unwrap();
    world.identity.revoke_api_key(&admin, (made.record.id, None)).await.unwrap();
    assert_eq!(world.authenticate(&made.secret).await.unwrap_err().code, "token_revoked");
    // The other node may still know it as good, but writes nothing for it.
    let write = twin.create_user(&at_twin, None, nobody("mallory", "customer")).await;
    assert_eq!(code(write), "token_revoked");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(twin.authenticate(&made.secret, elsewhere).await.unwrap_err().code, "token_revoked");
    world.identity.revoke_api_key(&admin, (made.record.id, None)).await.unwrap();
    let rotated = world
        .identity
        .rotate_api_key(&admin, (made.record.id, None), ApiKeyRotation::default())
        .await;
    assert_eq!(code(rotated), "api_key_over");
}

#[tokio::test]
async fn secrets_overlap_for_as_long_as_was_said_and_keys_end() {
    let (world, _, admin) = world().await;
    let first = world.identity.create_api_key(&admin, wish("officer", &[])).await.unwrap();
    let id = first.record.id;
    let rotate = async |overlap_s| {
        let rotation = ApiKeyRotation { overlap_s: Some(overlap_s), ..ApiKeyRotation::default() };
        world.identity.rotate_api_key(&admin, (id, None), rotation).await.unwrap().secret
    };
    let second = rotate(600).await;
    for secret in [&first.secret, &second] {
        assert_eq!(world.authenticate(secret).await.unwrap().actor.id, id);
    }
    let third = rotate(600).await;
    // Only the secret before the last is good beside it.
    assert_eq!(world.authenticate(&first.secret).await.unwrap_err().code, "invalid_token");
    world.authenticate(&second).await.unwrap();
    world.advance_s(601);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(world.authenticate(&second).await.unwrap_err().code, "invalid_token");
    let (_, admin) = world.signed_in_by_factor("bank", "admin").await;
    let none = ApiKeyRotation { overlap_s: Some(0), ..ApiKeyRotation::default() };
    let fourth = world.identity.rotate_api_key(&admin, (id, None), none).await.unwrap().secret;
    assert_eq!(world.authenticate(&third).await.unwrap_err().code, "invalid_token");
    world.authenticate(&fourth).await.unwrap();
    world.advance_s(90 * 86_400);
    assert_eq!(world.authenticate(&fourth).await.unwrap_err().code, "token_expired");
}

#[tokio::test]
async fn nobody_makes_a_key_of_more_than_they_are_and_no_key_makes_another() {
    let (world, bank, admin) = world().await;
    world.user(&bank, "manager", "manager").await;
    let (_, manager) = world.signed_in_by_factor("bank", "manager").await;
    let identity = &world.identity;
    let table = [
        (&manager, wish("customer", &[]), "permission_denied"),
        (&admin, wish("super_admin", &["account:read"]), "privilege_escalation"),
        (&admin, wish("nobody", &[]), "unknown_role"),
        (&admin, wish("officer", &["user:create"]), "validation_failed"),
    ];
    for (who, wish, expected) in table {
        let role = wish.role.clone();
        assert_eq!(code(identity.create_api_key(who, wish).await), expected, "{role}");
    }
    // The operator at the command line may make what an admin may not take over.
    let mighty = identity.create_api_key(&bank, wish("super_admin", &[])).await.unwrap();
    assert_eq!(mighty.record.created_by, None);
    let taken =
        identity.rotate_api_key(&admin, (mighty.record.id, None), ApiKeyRotation::default()).await;
    assert_eq!(code(taken), "privilege_escalation");
    let machine = world.authenticate(&mighty.secret).await.unwrap();
    let own = mighty.record.id;
    assert_eq!(
        code(identity.create_api_key(&machine, wish("customer", &[])).await),
        "permission_denied"
    );
    let rotated = identity.rotate_api_key(&machine, (own, None), ApiKeyRotation::default()).await;
    assert_eq!(code(rotated), "permission_denied");
    assert_eq!(code(identity.revoke_api_key(&machine, (own, None)).await), "permission_denied");
    // Nor does it get past that by way of a person.
    let taken =
        UserUpdate { full_name: Change::Set(Some("x".to_owned())), ..UserUpdate::default() };
    let unknown = identity.update_user(&machine, own, None, taken).await;
    assert_eq!(code(unknown), "not_found", "a key is nobody's user");
}
