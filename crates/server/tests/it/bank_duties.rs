//! Duties kept apart: staff never reach money through their own login. Each test walks a
//! chain that a black-box attack found open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use banking::{
    AccountChange, AccountStatus, CloseAccount, CreateCustomer, CustomerChange, CustomerRecord,
    CustomerType, NewAccount, NewCustomer, OpenAccount, Party, PartyRole, PersonalData,
    UpdateAccount, UpdateCustomer,
};
use operation::Refusal;
use tenancy::OpContext;
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, transfer};

/// Roles that serve customers, and whether they give out logins.
const STAFF: [(&str, bool); 5] = [
    ("customer_service", false),
    ("officer", false),
    ("manager", true),
    ("admin", true),
    ("super_admin", true),
];

/// Links the customer to the login, or removes its link.
async fn link(
    world: &BankWorld,
    actor: &OpContext,
    customer: &CustomerRecord,
    login: Option<&OpContext>,
) -> Result<CustomerRecord, Refusal> {
    let change = CustomerChange {
        user_id: Some(login.map(|login| login.actor.id)),
        ..CustomerChange::default()
    };
    let keyring = Arc::clone(&world.keyring);
    let update =
        UpdateCustomer { keyring, customer_id: customer.id, expected_version: None, change };
    world.run(actor, update).await
}

/// Records a customer of the login.
async fn record(
    world: &BankWorld,
    actor: &OpContext,
    login: &OpContext,
) -> Result<CustomerRecord, Refusal> {
    let personal = PersonalData {
        first_name: Some("Jana".to_owned()),
        last_name: Some("Nováková".to_owned()),
        ..PersonalData::default()
    };
    let customer = NewCustomer {
        customer_type: CustomerType::Individual,
        personal,
        user_id: Some(login.actor.id),
    };
    world.run(actor, CreateCustomer { keyring: Arc::clone(&world.keyring), customer }).await
}

/// Status and code of a refusal.
fn said<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> (u16, String) {
    let refusal = outcome.expect_err("a refusal");
    (refusal.kind.status(), refusal.code.into_owned())
}

fn denied() -> (u16, String) {
    (403, "permission_denied".to_owned())
}

fn rule(code: &str) -> (u16, String) {
    (422, code.to_owned())
}

#[tokio::test]
async fn nobody_takes_over_a_customer_through_their_own_login() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("link-bank").await;
    let (jana, victim) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, victim.id, 100).await;
    let unlinked = world.customer(&tenant, None).await;
    let before = world.dump().await;
    for (role, may_link) in STAFF {
        let thief = world.person(&tenant, role).await;
        let accomplice = world.person(&tenant, "customer").await;
        let own = if may_link { rule("own_login") } else { denied() };
        for customer in [&victim, &unlinked] {
            assert_eq!(said(link(&world, &thief, customer, Some(&thief)).await), own, "{role}");
        }
        assert_eq!(said(record(&world, &thief, &thief).await), own, "{role}");
        let other = if may_link { rule("user_linked") } else { denied() };
        let relinked = link(&world, &thief, &victim, Some(&accomplice)).await;
        assert_eq!(said(relinked), other, "{role}");
        if !may_link {
            assert_eq!(said(link(&world, &thief, &victim, None).await), denied(), "{role}");
            assert_eq!(said(record(&world, &thief, &accomplice).await), denied(), "{role}");
        }
    }
    assert_eq!(said(link(&world, &jana, &victim, None).await), denied());
    assert_eq!(world.dump().await, before);
    world.run(&jana, transfer(account.id, other(&world, &tenant).await, 100)).await.unwrap();
}

#[tokio::test]
async fn those_who_give_out_logins_link_and_remove_links() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("relink-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (old, new) =
        (world.person(&tenant, "customer").await, world.person(&tenant, "customer").await);
    let customer = record(&world, &manager, &old).await.unwrap();
    // The same login again is no change of hands.
    link(&world, &manager, &customer, Some(&old)).await.unwrap();
    assert_eq!(said(link(&world, &manager, &customer, Some(&new)).await), rule("user_linked"));
    link(&world, &manager, &customer, None).await.unwrap();
    let linked = link(&world, &manager, &customer, Some(&new)).await.unwrap();
    assert_eq!((linked.user_id, linked.version), (Some(new.actor.id), 4));
    // Somebody's own record is theirs to look at; others change its link.
    let own_record = world.customer(&tenant, Some(&manager)).await;
    let removed = said(link(&world, &manager, &own_record, None).await);
    assert_eq!(removed, rule("contact_details_only"));
}

#[tokio::test]
async fn nobody_sets_the_terms_of_accounts_they_hold() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("terms-bank").await;
    let (_, stranger) = world.banking_customer(&tenant).await;
    for (role, _) in STAFF {
        let actor = world.person(&tenant, role).await;
        let own_record = world.customer(&tenant, Some(&actor)).await;
        let own = world.account(&tenant, own_record.id, 0).await;
        let joint = NewAccount {
            parties: vec![Party { customer_id: own_record.id, party_role: PartyRole::JointOwner }],
            ..NewAccount::plain(stranger.id, "EUR".parse().unwrap())
        };
        let shared = world.account_like(&tenant, joint.clone(), 0).await;
        let foreign = world.account(&tenant, stranger.id, 0).await;
        let before = world.dump().await;
        let update =
            |account_id, change| UpdateAccount { account_id, expected_version: None, change };
        let overdraft =
            AccountChange { overdraft_limit: Some(1_000_000), ..AccountChange::default() };
        let freeze =
            AccountChange { status: Some(AccountStatus::Frozen), ..AccountChange::default() };
        for account_id in [own.id, shared.id] {
            for change in [&overdraft, &freeze] {
                let outcome = world.run(&actor, update(account_id, change.clone())).await;
                assert_eq!(said(outcome), denied(), "{role}");
            }
            let close = CloseAccount { account_id, expected_version: None };
            assert_eq!(said(world.run(&actor, close).await), denied(), "{role}");
        }
        let plain = NewAccount::plain(own_record.id, "EUR".parse().unwrap());
        for account in [plain, joint] {
            let outcome = world.run(&actor, OpenAccount { account }).await;
            assert_eq!(said(outcome), denied(), "{role}");
        }
        assert_eq!(world.dump().await, before, "{role}");
        world.run(&actor, update(foreign.id, overdraft)).await.unwrap();
        let account = NewAccount::plain(stranger.id, "EUR".parse().unwrap());
        world.run(&actor, OpenAccount { account }).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_pays_themselves_with_foreign_money() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("self-bank").await;
    let (jana, stranger) = world.banking_customer(&tenant).await;
    let foreign = world.account(&tenant, stranger.id, 1000).await;
    let further = other(&world, &tenant).await;
    for (role, _) in STAFF {
        let actor = world.person(&tenant, role).await;
        let own_record = world.customer(&tenant, Some(&actor)).await;
        let own = world.account(&tenant, own_record.id, 10).await;
        let second = world.account(&tenant, own_record.id, 0).await;
        let before = world.dump().await;
        let paid = world.run(&actor, transfer(foreign.id, own.id, 1)).await;
        assert_eq!(said(paid), denied(), "{role}");
        assert_eq!(said(world.run(&actor, deposit(own.id, 1)).await), denied(), "{role}");
        let unknown = world.run(&actor, transfer(Uuid::from_u128(5), own.id, 1)).await;
        assert_eq!(said(unknown), rule("not_found"), "{role}");
        assert_eq!(world.dump().await, before, "{role}");
        world.run(&actor, transfer(own.id, second.id, 10)).await.unwrap();
        world.run(&actor, transfer(second.id, foreign.id, 10)).await.unwrap();
        world.run(&actor, transfer(foreign.id, further, 10)).await.unwrap();
        // Customers pay staff as they pay anybody.
        world.run(&jana, transfer(foreign.id, own.id, 1)).await.unwrap();
    }
    world.assert_books_are_right(&tenant).await;
}

async fn other(world: &BankWorld, tenant: &OpContext) -> Uuid {
    let customer = world.customer(tenant, None).await;
    world.account(tenant, customer.id, 0).await.id
}
