//! Fees, and what changes an account while money moves on it: freezing, closing,
//! lowering a limit. Whoever wins a race, the loser is told and the books are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use banking::{AccountChange, AccountStatus, ChargeFee, CloseAccount, NewAccount, UpdateAccount};
use futures_util::future::{join, join_all};
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, transfer, what};

fn fee(account_id: Uuid, amount: i64) -> ChargeFee {
    ChargeFee {
        account_id,
        amount,
        currency: None,
        description: "Paper statement".to_owned(),
        reference: None,
    }
}

#[tokio::test]
async fn fees_are_the_staffs_to_charge_and_go_to_the_banks_income() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("fee-bank").await;
    let elsewhere = world.tenant("rival-bank").await;
    let clerk = world.person(&tenant, "customer_service").await;
    let own_record = world.customer(&tenant, Some(&clerk)).await;
    let own = world.account(&tenant, own_record.id, 1_000).await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 1_000).await;
    let (_, other) = world.banking_customer(&elsewhere).await;
    let abroad = world.account(&elsewhere, other.id, 1_000).await;
    let auditor = world.person(&tenant, "auditor").await;
    // who, account, status
    let table = [
        (&jana, account.id, 403),
        (&auditor, account.id, 403),
        (&clerk, own.id, 403),
        (&clerk, abroad.id, 404),
        (&clerk, Uuid::from_u128(7), 404),
    ];
    let before = world.dump().await;
    for (context, account, status) in table {
        let refusal = world.run(context, fee(account, 50)).await.unwrap_err();
        assert_eq!(refusal.kind.status(), status, "{refusal}");
    }
    for (amount, code) in [
        (0, "invalid_amount"),
        (-5, "invalid_amount"),
        (1 << 53, "amount_too_large"),
        (1_001, "insufficient_funds"),
    ] {
        let refused = world.run(&clerk, fee(account.id, amount)).await;
        assert_eq!(what(&refused), (code.to_owned(), "amount".to_owned()), "{amount}");
    }
    let dollars = ChargeFee { currency: Some("USD".parse().unwrap()), ..fee(account.id, 1) };
    assert_eq!(what(&world.run(&clerk, dollars).await).0, "currency_mismatch");
    let long = ChargeFee { description: "x".repeat(141), ..fee(account.id, 1) };
    assert_eq!(what(&world.run(&clerk, long).await).1, "description");
    // Only the bank's own fee account was made on the way, and that undone again.
    assert_eq!(world.dump().await, before);

    let charged = world.run_keyed(&clerk, Some("f"), fee(account.id, 50)).await.unwrap();
    let again = world.run_keyed(&clerk, Some("f"), fee(account.id, 50)).await.unwrap();
    assert!(again.replayed && again.output == charged.output);
    assert_eq!((charged.output.kind.as_str(), charged.output.from_account_id), ("fee", account.id));
    assert_eq!(
        (world.balance(account.id).await, world.balance(charged.output.to_account_id).await),
        (950, 50)
    );
    let row = &world.rows("SELECT code FROM ledger_accounts WHERE balance = 50").await[0];
    assert_eq!(row.get::<_, &str>(0), "fees");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_among_fifty_transfers_stops_those_behind_it() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("freeze-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let officer = world.person(&tenant, "officer").await;
    let from = world.account(&tenant, customer.id, 1_000).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let freeze = UpdateAccount {
        account_id: from.id,
        expected_version: Some(1),
        change: AccountChange { status: Some(AccountStatus::Frozen), ..AccountChange::default() },
    };
    let orders = join_all((0..50).map(|_| world.run(&jana, transfer(from.id, to.id, 1))));
    let (results, frozen) = join(orders, world.run(&officer, freeze)).await;
    assert_eq!(frozen.unwrap().status, AccountStatus::Frozen);
    let posted = results.iter().filter(|result| result.is_ok()).count();
    for refused in results.iter().filter(|result| result.is_err()) {
        assert_eq!(what(refused), ("account_frozen".to_owned(), "from_account_id".to_owned()));
    }
    let moved = i64::try_from(posted).unwrap();
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (1_000 - moved, moved));
    // Frozen is frozen, for money in as well and for fees.
    let officer = world.person(&tenant, "officer").await;
    assert_eq!(what(&world.run(&officer, deposit(from.id, 1)).await).0, "account_frozen");
    assert_eq!(what(&world.run(&officer, fee(from.id, 1)).await).0, "account_frozen");
    assert_eq!(what(&world.run(&jana, transfer(to.id, from.id, 1)).await).0, "account_frozen");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_and_a_deposit_do_not_both_win() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("close-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let manager = world.person(&tenant, "manager").await;
    let (mut closed, mut paid) = (0, 0);
    for _ in 0..12 {
        let account = world.account(&tenant, customer.id, 0).await;
        let close = CloseAccount { account_id: account.id, expected_version: None };
        let (close, cash) =
            join(world.run(&manager, close), world.run(&manager, deposit(account.id, 5))).await;
        match (&close, &cash) {
            (Ok(after), Err(refusal)) => {
                assert_eq!(
                    (after.status, &*refusal.code),
                    (AccountStatus::Closed, "account_closed")
                );
                closed += 1;
            }
            (Err(refusal), Ok(_)) => {
                assert_eq!(&*refusal.code, "account_not_empty");
                paid += 1;
            }
            other => panic!("{other:?}"),
        }
        let balance = world.balance(account.id).await;
        assert_eq!(balance, if close.is_ok() { 0 } else { 5 });
    }
    assert_eq!(closed + paid, 12);
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_is_lowered_below_what_is_in_use_whoever_races() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("limit-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let officer = world.person(&tenant, "officer").await;
    let account = NewAccount {
        overdraft_limit: 500,
        ..NewAccount::plain(customer.id, "EUR".parse().unwrap())
    };
    let from = world.account_like(&tenant, account, 0).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let lower = |limit| UpdateAccount {
        account_id: from.id,
        expected_version: None,
        change: AccountChange { overdraft_limit: Some(limit), ..AccountChange::default() },
    };
    let orders = join_all((0..50).map(|_| world.run(&jana, transfer(from.id, to.id, 10))));
    let (results, lowered) = join(orders, world.run(&officer, lower(200))).await;
    let spent = 10 * i64::try_from(results.iter().filter(|result| result.is_ok()).count()).unwrap();
    let limit = match lowered {
        Ok(account) => account.overdraft_limit,
        Err(refusal) => {
            assert_eq!(
                (&*refusal.code, &*refusal.errors[0].field),
                ("overdraft_in_use", "overdraft_limit")
            );
            500
        }
    };
    assert!(spent <= limit && world.balance(from.id).await == -spent, "{spent} {limit}");
    // What is used may be frozen in place as the limit; one less may not.
    let refusal = world.run(&officer, lower(spent - 1)).await.unwrap_err();
    assert_eq!(refusal.code, "overdraft_in_use");
    let kept = world.run(&officer, lower(spent)).await.unwrap();
    assert_eq!((kept.overdraft_limit, kept.available_balance), (spent, 0));
    assert_eq!(what(&world.run(&jana, transfer(from.id, to.id, 1)).await).0, "insufficient_funds");
    // A minimum above the balance locks what is there and takes nothing.
    let minimum = UpdateAccount {
        account_id: to.id,
        expected_version: None,
        change: AccountChange {
            minimum_balance: Some(Some(spent + 1)),
            ..AccountChange::default()
        },
    };
    assert_eq!(world.run(&officer, minimum).await.unwrap().available_balance, 0);
    assert_eq!(what(&world.run(&jana, transfer(to.id, from.id, 1)).await).0, "insufficient_funds");
    world.assert_books_are_right(&tenant).await;
}
