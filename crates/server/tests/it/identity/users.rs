//! People: who may make whom, what is sealed, who sees whom.

use identity::{Change, NewPassword, UserFilter, UserUpdate};
use operation::{OperationError, PageRequest};
use tenancy::Blueprint;

use super::support::{World, code, from, new_user};

#[tokio::test]
async fn nobody_gives_away_more_than_they_hold() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    for role in Blueprint::CoreBank.roles() {
        world.user(&bank, &format!("the-{}", role.replace('_', "-")), role).await;
    }
    // actor, role to give, answer
    let table = [
        ("the-super-admin", "super_admin", None),
        ("the-admin", "super_admin", Some("privilege_escalation")),
        ("the-admin", "admin", None),
        ("the-admin", "auditor", None),
        ("the-manager", "admin", Some("privilege_escalation")),
        ("the-manager", "auditor", Some("privilege_escalation")),
        ("the-manager", "officer", None),
        ("the-manager", "customer", None),
        ("the-manager", "king", Some("unknown_role")),
        ("the-officer", "customer", Some("permission_denied")),
        ("the-auditor", "customer", Some("permission_denied")),
        ("the-customer", "customer", Some("permission_denied")),
    ];
    for (number, (actor, role, expected)) in table.into_iter().enumerate() {
        let (_, context) = world.signed_in("bank", actor).await;
        let outcome = world
            .identity
            .create_user(&context, None, new_user(&format!("new-{number}"), role))
            .await;
        match expected {
            Some(expected) => assert_eq!(code(outcome), expected, "{actor} gives {role}"),
            None => assert_eq!(outcome.unwrap().output.role, role, "{actor} gives {role}"),
        }
    }
    let hash = world.identity.hash_password("anything").await.unwrap();
    let (_, admin) = world.signed_in("bank", "the-admin").await;
    let mut smuggled = new_user("smuggled", "customer");
    smuggled.password = NewPassword::Hashed(hash);
    assert_eq!(code(world.identity.create_user(&admin, None, smuggled).await), "permission_denied");
}

#[tokio::test]
async fn an_organisation_that_does_not_exist_is_refused() {
    let world = World::new().await;
    for blueprint in [Blueprint::CoreBank, Blueprint::CreditRisk] {
        let tenant = world.tenant(&format!("{blueprint}-one"), blueprint).await;
        let role = blueprint.roles()[0];
        let mut user = new_user("alice", role);
        user.organization_id = Some(world.clock.new_id());
        let outcome = world.identity.create_user(&tenant, None, user).await;
        let Err(OperationError::Refused(refusal)) = outcome else { panic!("accepted") };
        assert_eq!(
            (refusal.code.as_ref(), refusal.errors[0].field.as_ref()),
            ("not_found", "organization_id")
        );
        world.user(&tenant, "alice", role).await;
    }
}

#[tokio::test]
async fn changes_obey_version_rank_and_ownership() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let admin_id = world.user(&bank, "admin", "admin").await;
    let manager_id = world.user(&bank, "manager", "manager").await;
    let alice_id = world.user(&bank, "alice", "customer").await;
    let (_, admin) = world.signed_in("bank", "admin").await;
    let (_, manager) = world.signed_in("bank", "manager").await;
    let (_, alice) = world.signed_in("bank", "alice").await;
    let role = |role: &str| UserUpdate { role: Some(role.to_owned()), ..UserUpdate::default() };
    let phone = |phone: &str| UserUpdate {
        phone: Change::Set(Some(phone.to_owned())),
        ..UserUpdate::default()
    };
    let name = |name: &str| UserUpdate {
        full_name: Change::Set(Some(name.to_owned())),
        ..UserUpdate::default()
    };
    let off = UserUpdate { is_active: Some(false), ..UserUpdate::default() };
    let table = [
        ("own role", &alice, alice_id, role("admin"), Some("permission_denied")),
        ("own role as staff", &admin, admin_id, role("super_admin"), Some("permission_denied")),
        ("another's", &alice, manager_id, phone("+420123456789"), Some("not_found")),
        ("a mightier one", &manager, admin_id, off.clone(), Some("privilege_escalation")),
        ("up to admin", &manager, alice_id, role("admin"), Some("privilege_escalation")),
        ("disable oneself", &admin, admin_id, off, Some("permission_denied")),
        ("bad phone", &alice, alice_id, phone("123"), Some("validation_failed")),
        ("nobody", &admin, uuid::Uuid::nil(), role("customer"), Some("not_found")),
        // One's own address changes by an answer from the new one.
        ("own phone", &alice, alice_id, phone(" +420123456789 "), Some("confirmation_needed")),
        ("own name", &alice, alice_id, name(" Alice Nová "), None),
    ];
    for (case, actor, user, update, expected) in table {
        let outcome = world.identity.update_user(actor, user, 1, update).await;
        match expected {
            Some(expected) => assert_eq!(code(outcome), expected, "{case}"),
            None => assert_eq!(outcome.unwrap().full_name.as_deref(), Some("Alice Nová"), "{case}"),
        }
    }
    assert_eq!(
        code(world.identity.update_user(&manager, alice_id, 1, role("officer")).await),
        "version_conflict"
    );
    let record = world.identity.update_user(&manager, alice_id, 2, role("officer")).await.unwrap();
    assert_eq!((record.version, record.roles), (3, vec!["officer".to_owned()]));
    assert_eq!(world.audited(&bank, "role_change").await, 1);
}

#[tokio::test]
async fn personal_data_is_sealed_and_found_by_its_index_only() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let mut one = new_user("alice", "customer");
    one.phone = Some("+420123456789".to_owned());
    let alice = world.identity.create_user(&bank, None, one).await.unwrap().output;
    assert_eq!(alice.email.as_deref(), Some("alice@Example.com"));
    assert_eq!(alice.full_name.as_deref(), Some("Žofie Nováková"));
    for text in ["alice@", "420123456789", "Nov"] {
        let sql = format!(
            "SELECT count(*) FROM users u WHERE u::text ILIKE '%{text}%' \
             OR encode(email_sealed, 'escape') ILIKE '%{text}%' OR encode(full_name_sealed, 'escape') ILIKE '%{text}%'"
        );
        assert_eq!(world.scalar::<i64>(&sql).await, 0, "{text}");
    }
    let mut same_mail = new_user("alice-two", "customer");
    same_mail.email = Some("ALICE@example.COM".to_owned());
    assert_eq!(code(world.identity.create_user(&bank, None, same_mail).await), "email_taken");
    let mut same_name = new_user("ALICE", "customer");
    same_name.email = None;
    assert_eq!(code(world.identity.create_user(&bank, None, same_name).await), "username_taken");
    let other = world.tenant("other", Blueprint::CoreBank).await;
    let elsewhere = world
        .identity
        .create_user(&other, None, new_user("alice", "customer"))
        .await
        .unwrap()
        .output;
    assert_eq!(code(world.identity.user(&bank, elsewhere.id).await), "not_found");
    let distinct = "SELECT count(DISTINCT email_index) FROM users";
    assert_eq!(world.scalar::<i64>(distinct).await, 2, "one address, two tenants, two indexes");

    let mut referred = new_user("bob", "customer");
    referred.referral_code = Some(alice.referral_code.to_lowercase());
    world.identity.create_user(&bank, None, referred).await.unwrap();
    let mut nonsense = new_user("carol", "customer");
    nonsense.referral_code = Some("ZZZZZZZZZZ".to_owned());
    assert_eq!(
        code(world.identity.create_user(&bank, None, nonsense).await),
        "referral_code_unknown"
    );
}

#[tokio::test]
async fn creation_is_idempotent_and_its_stored_answer_is_not_personal() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let key = || Some("once".to_owned());
    let first =
        world.identity.create_user(&bank, key(), new_user("alice", "customer")).await.unwrap();
    let again =
        world.identity.create_user(&bank, key(), new_user("alice", "customer")).await.unwrap();
    assert_eq!((first.output.id, first.replayed, again.replayed), (again.output.id, false, true));
    let reused = world.identity.create_user(&bank, key(), new_user("bob", "customer")).await;
    assert_eq!(code(reused), "idempotency_key_reused");
    let stored = "SELECT count(*) FROM idempotency_keys i WHERE i::text ILIKE '%example%' OR i::text ILIKE '%Nov%'";
    assert_eq!(world.scalar::<i64>(stored).await, 0);
}

#[tokio::test]
async fn a_list_is_what_its_reader_may_read_one_by_one() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let mut ids = Vec::new();
    for role in Blueprint::CoreBank.roles() {
        ids.push(world.user(&bank, &format!("the-{}", role.replace('_', "-")), role).await);
        world.advance_s(1);
    }
    for role in Blueprint::CoreBank.roles() {
        let (_, context) =
            world.signed_in("bank", &format!("the-{}", role.replace('_', "-"))).await;
        let mut listed = Vec::new();
        let mut page = PageRequest { limit: 2, after: None, ..PageRequest::default() };
        loop {
            let part = world.identity.users(&context, UserFilter::default(), &page).await.unwrap();
            listed.extend(part.data.iter().map(|user| user.id));
            match part.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        let mut readable = Vec::new();
        for id in ids.iter().rev() {
            match world.identity.user(&context, *id).await {
                Ok(user) => readable.push(user.id),
                outcome => assert_eq!(code(outcome), "not_found", "{role}"),
            }
        }
        assert_eq!(listed, readable, "{role}");
        assert_eq!(listed.len(), if *role == "customer" { 1 } else { ids.len() }, "{role}");
    }
    let filter = UserFilter {
        role: Some("admin".to_owned()),
        is_active: Some(true),
        ..UserFilter::default()
    };
    assert_eq!(
        world.identity.users(&bank, filter, &PageRequest::default()).await.unwrap().data.len(),
        1
    );
}

#[tokio::test]
async fn many_users_share_one_hash_and_one_transaction() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let hash = world.identity.hash_password(super::support::PASSWORD).await.unwrap();
    let users = (0..50)
        .map(|number| {
            let mut user = new_user(&format!("load-{number}"), "customer");
            user.password = NewPassword::Hashed(hash.clone());
            user
        })
        .chain([new_user("load-7", "customer")])
        .collect();
    let made = world.identity.create_users(&bank, users).await.unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (50, 1));
    let local = from("127.0.0.1", "tests");
    world.login_from("bank", "load-49", super::support::PASSWORD, local).await.unwrap();
}

#[tokio::test]
async fn the_list_of_people_is_whom_one_may_read() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let organization = world.clock.new_id();
    for blueprint in Blueprint::ALL.into_iter().filter(|one| *one != Blueprint::Platform) {
        let slug = format!("{blueprint}-one");
        let tenant = world.tenant(&slug, blueprint).await;
        let name = |role: &str| format!("the-{}", role.replace('_', "-"));
        let mut people = Vec::new();
        for role in blueprint.roles() {
            people.push(world.user(&tenant, &name(role), role).await);
        }
        for confined in [false, true] {
            let organization = confined.then_some(organization);
            let confine = "UPDATE users SET organization_id = $2 WHERE tenant_id = $1";
            superuser.execute(confine, &[&tenant.tenant_id(), &organization]).await.unwrap();
            for role in blueprint.roles() {
                let (_, context) = world.signed_in(&slug, &name(role)).await;
                let mut readable = Vec::new();
                for person in &people {
                    if world.identity.user(&context, *person).await.is_ok() {
                        readable.push(*person);
                    }
                }
                readable.sort_unstable();
                let case = format!("{role} of {blueprint}, confined: {confined}");
                let page = PageRequest { limit: 100, after: None, ..PageRequest::default() };
                let filters = [
                    UserFilter::default(),
                    UserFilter { username: Some("the-".to_owned()), ..UserFilter::default() },
                ];
                for filter in filters {
                    let listed = match world.identity.users(&context, filter, &page).await {
                        Ok(page) => page.data.into_iter().map(|user| user.id).collect(),
                        Err(error) => {
                            assert_eq!(code::<()>(Err(error)), "permission_denied", "{case}");
                            Vec::new()
                        }
                    };
                    assert_eq!(sorted(listed), readable, "{case}");
                }
                let named = world.identity.user_names(&context, &people, &[]).await;
                let named = named.unwrap_or_default().into_iter().map(|(id, _)| id).collect();
                assert_eq!(sorted(named), readable, "{case}");
                let own = UserFilter {
                    email: Some(format!("{}@example.com", name(role))),
                    ..UserFilter::default()
                };
                let found = world.identity.users(&context, own, &page).await;
                let found = found.map_or(0, |page| page.data.len());
                let is_readable = readable.contains(&context.actor.id);
                assert_eq!(found, usize::from(is_readable), "by their own address: {case}");
            }
        }
    }
}

fn sorted(mut ids: Vec<uuid::Uuid>) -> Vec<uuid::Uuid> {
    ids.sort_unstable();
    ids
}
