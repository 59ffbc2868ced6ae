//! Lists obey the same policy as single reads: over random worlds, what a list
//! shows is exactly what reading each object by its id shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, sync::Arc};

use banking::{
    Account, AccountChange, AccountFilter, AccountList, AccountStatus, AccountView, CustomerFilter,
    NewAccount, Party, PartyRole, ReadCustomer, TransactionFilter, TransactionList, UpdateAccount,
};
use jiff::SignedDuration;
use operation::PageRequest;
use tenancy::{Blueprint, OpContext};
use uuid::Uuid;

use crate::bank_world::{BankWorld, list_customers, read};

/// A small generator (Knuth's MMIX constants): worlds differ by seed and can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_exactly_what_single_reads_show() {
    for seed in 0..3 {
        let world = BankWorld::new().await;
        let mut dice = Dice(seed);
        let mut accounts: Vec<Account> = Vec::new();
        let mut customers = Vec::new();
        let mut actors = Vec::new();
        for slug in ["one-bank", "two-bank"] {
            let tenant = world.tenant(slug).await;
            for role in Blueprint::CoreBank.roles() {
                actors.push(world.person(&tenant, role).await);
            }
            let own = populate(&world, &tenant, &mut dice, &mut actors).await;
            customers.extend(own.0);
            accounts.extend(own.1);
        }
        for actor in &actors {
            check_accounts(&world, actor, &accounts, seed).await;
            let mut readable = BTreeSet::new();
            for &customer_id in &customers {
                let look = ReadCustomer { keyring: Arc::clone(&world.keyring), customer_id };
                if world.run(actor, look).await.is_ok() {
                    readable.insert(customer_id);
                }
            }
            let listed = list_customers(&world, actor, CustomerFilter::default()).await;
            assert_eq!(listed.len(), readable.len(), "seed {seed}, {:?}", actor.actor.roles);
            assert_eq!(
                listed.into_iter().collect::<BTreeSet<_>>(),
                readable,
                "seed {seed}, {:?}",
                actor.actor.roles
            );
        }
    }
}

/// Customers with and without logins (staff among them), and accounts with random
/// owners, parties and states.
async fn populate(
    world: &BankWorld,
    tenant: &OpContext,
    dice: &mut Dice,
    actors: &mut Vec<OpContext>,
) -> (Vec<Uuid>, Vec<Account>) {
    let mut customers = Vec::new();
    for _ in 0..5 {
        let login = world.person(tenant, ["customer", "customer", "officer"][dice.roll(3)]).await;
        let linked = dice.roll(3) > 0;
        customers.push(world.customer(tenant, linked.then_some(&login)).await.id);
        actors.push(login);
        world.clock.advance(SignedDuration::from_secs(i64::try_from(dice.roll(2)).unwrap()));
    }
    let mut accounts = Vec::new();
    for _ in 0..9 {
        let owner = customers[dice.roll(customers.len())];
        let parties = customers
            .iter()
            .filter(|&&customer| customer != owner)
            .filter_map(|&customer_id| {
                let roles =
                    [Some(PartyRole::JointOwner), Some(PartyRole::Disponent), None, None, None];
                roles[dice.roll(5)].map(|party_role| Party { customer_id, party_role })
            })
            .collect();
        let account = NewAccount { parties, ..NewAccount::plain(owner, "EUR".parse().unwrap()) };
        let account = world.account_like(tenant, account, 0).await;
        if dice.roll(3) == 0 {
            let change =
                AccountChange { status: Some(AccountStatus::Frozen), ..AccountChange::default() };
            let freeze = UpdateAccount { account_id: account.id, expected_version: None, change };
            accounts.push(world.run(tenant, freeze).await.unwrap());
        } else {
            accounts.push(account);
        }
        world.clock.advance(SignedDuration::from_secs(i64::try_from(dice.roll(2)).unwrap()));
    }
    (customers, accounts)
}

async fn check_accounts(world: &BankWorld, actor: &OpContext, accounts: &[Account], seed: u64) {
    let who = format!("seed {seed}, {:?} in {}", actor.actor.roles, actor.tenant.slug);
    let mut readable: Vec<Account> = Vec::new();
    for account in accounts {
        let single = read(world, actor, &AccountView { account_id: account.id }).await;
        let list = TransactionList {
            account_id: account.id,
            filter: TransactionFilter::default(),
            page: PageRequest::default(),
        };
        let history = read(world, actor, &list).await;
        assert_eq!(single.is_ok(), history.is_ok(), "{who}");
        readable.extend(single);
    }
    // Newest first, then by id.
    readable.sort_by_key(|account| std::cmp::Reverse((account.created_at, account.id)));
    let owner = accounts[0].customer_id;
    let number = accounts[1].account_number.clone();
    let filters = [
        AccountFilter::default(),
        AccountFilter { status: Some(AccountStatus::Frozen), ..AccountFilter::default() },
        AccountFilter { customer_id: Some(owner), ..AccountFilter::default() },
        AccountFilter { account_number: Some(number.clone()), ..AccountFilter::default() },
        AccountFilter {
            account_number: Some(number),
            customer_id: Some(owner),
            ..AccountFilter::default()
        },
    ];
    for filter in filters {
        let expected: Vec<&Account> = readable
            .iter()
            .filter(|account| filter.status.is_none_or(|status| account.status == status))
            .filter(|account| {
                filter.customer_id.is_none_or(|customer| account.customer_id == customer)
            })
            .filter(|account| {
                filter
                    .account_number
                    .as_ref()
                    .is_none_or(|number| account.account_number == *number)
            })
            .collect();
        let listed = all_pages(world, actor, &filter).await;
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{who}, {filter:?}");
    }
}

async fn all_pages(world: &BankWorld, actor: &OpContext, filter: &AccountFilter) -> Vec<Account> {
    let mut listed = Vec::new();
    let mut page = PageRequest { limit: 2, after: None, ..PageRequest::default() };
    loop {
        let list = AccountList { filter: filter.clone(), page: page.clone() };
        let answer = read(world, actor, &list).await.unwrap();
        listed.extend(answer.data);
        let Some(next) = answer.next else { return listed };
        page.after = Some(next);
    }
}
