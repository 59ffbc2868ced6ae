//! Reversals: a linked counter-movement, at most once, with the funds it needs, on no
//! account that the actor holds; and balances as of any day afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use banking::{
    AccountChange, AccountStatus, BalanceAsOf, ChargeFee, CloseAccount, Deposit,
    ReverseTransaction, TransferKind, TransferView, UpdateAccount,
};
use futures_util::future::join_all;
use jiff::{SignedDuration, civil::date};
use operation::RefusalKind;
use tenancy::OpContext;
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, read, transfer, what};

fn reverse(transaction_id: Uuid) -> ReverseTransaction {
    ReverseTransaction { transaction_id, reason: None, value_date: None }
}

/// Both entries of a movement, the debit first.
async fn entries(world: &BankWorld, transfer_id: Uuid) -> Vec<Uuid> {
    let sql = format!(
        "SELECT transaction_id FROM transactions WHERE transfer_id = '{transfer_id}' ORDER BY amount"
    );
    world.rows(&sql).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_reversal_mirrors_its_movement_and_both_name_each_other() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("undo-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await;
    let (_, other) = world.banking_customer(&tenant).await;
    let to = world.account(&tenant, other.id, 0).await;
    let paid = world.run(&jana, transfer(from.id, to.id, 30)).await.unwrap();
    let [debit, credit] = entries(&world, paid.id).await.try_into().unwrap();

    let because = ReverseTransaction { reason: Some("Sent twice".to_owned()), ..reverse(credit) };
    let undone = world.run_keyed(&manager, Some("r"), because.clone()).await.unwrap();
    let transfer = &undone.output;
    assert_eq!((undone.status, transfer.kind), (201, TransferKind::Reversal));
    assert_eq!(
        (transfer.from_account_id, transfer.to_account_id, transfer.amount),
        (to.id, from.id, 30)
    );
    assert_eq!(
        (transfer.reverses_transfer_id, &*transfer.description),
        (Some(paid.id), "Sent twice")
    );
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (100, 0));
    let again = world.run_keyed(&manager, Some("r"), because).await.unwrap();
    assert!(again.replayed && again.output.id == transfer.id);

    // By the other entry, by the movement's own id, by another key: it has been reversed.
    for id in [debit, credit, paid.id] {
        assert_eq!(world.run(&manager, reverse(id)).await.unwrap_err().code, "already_reversed");
    }
    // A reversal is not reversed, by any of its ids.
    for id in entries(&world, transfer.id).await.into_iter().chain([transfer.id]) {
        assert_eq!(world.run(&manager, reverse(id)).await.unwrap_err().code, "not_reversible");
    }
    let seen = read(&world, &jana, &TransferView { transfer_id: paid.id }).await.unwrap();
    assert_eq!(seen.reversed_by_transfer_id, Some(transfer.id));
    let seen = read(&world, &jana, &TransferView { transfer_id: transfer.id }).await.unwrap();
    assert_eq!((seen.reverses_transfer_id, seen.reversed_by_transfer_id), (Some(paid.id), None));
    let types = world.rows("SELECT DISTINCT transaction_type FROM transactions t JOIN transfers m ON m.id = t.transfer_id WHERE m.kind = 'reversal'").await;
    assert_eq!(types.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["reversal"]);
    let record = world
        .rows("SELECT new_values->>'reverses_transfer_id' FROM audit_log WHERE action = 'transaction.reverse' AND result = 'success' AND event_type = 'ledger_posting'")
        .await;
    assert_eq!(record[0].get::<_, String>(0), paid.id.to_string());
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_reversals_at_once_undo_it_once() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("rush-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 1_000).await;
    let to = world.account(&tenant, customer.id, 1_000).await;
    let paid = world.run(&jana, transfer(from.id, to.id, 30)).await.unwrap();
    let ids = entries(&world, paid.id).await;
    // Under keys of their own, by either entry, and other money on the same accounts meanwhile.
    let attempts = (0..50).map(|number| {
        let (world, manager, id) = (&world, &manager, ids[number % 2]);
        async move {
            let key = format!("r{number}");
            world.run_keyed(manager, Some(&key), reverse(id)).await
        }
    });
    let others = (0..20).map(|_| world.run(&jana, transfer(to.id, from.id, 1)));
    let (results, others) = tokio::join!(join_all(attempts), join_all(others));
    assert!(others.iter().all(Result::is_ok));
    let made: BTreeSet<Uuid> =
        results.iter().filter_map(|result| Some(result.as_ref().ok()?.output.id)).collect();
    assert_eq!((made.len(), results.iter().filter(|result| result.is_ok()).count()), (1, 1));
    for refusal in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!((refusal.kind, &*refusal.code), (RefusalKind::Rule, "already_reversed"));
    }
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (1_020, 980));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn who_may_not_reverse_learns_no_more_than_it_may() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("mine-bank").await;
    let elsewhere = world.tenant("else-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let manager = world.person(&tenant, "manager").await;
    let own_record = world.customer(&tenant, Some(&manager)).await;
    let own = world.account(&tenant, own_record.id, 100).await;
    let paid = world.run(&jana, transfer(from.id, to.id, 10)).await.unwrap();
    let received = world.run(&jana, transfer(from.id, own.id, 10)).await.unwrap();
    let sent = world.run(&manager, transfer(own.id, to.id, 10)).await.unwrap();
    let rival = world.person(&elsewhere, "super_admin").await;
    let role = |name: &'static str| world.person(&tenant, name);
    let (officer, auditor, admin) =
        (role("officer").await, role("auditor").await, role("admin").await);
    let before = world.dump().await;
    // who, what, status
    let table: [(&OpContext, Uuid, u16); 9] = [
        (&jana, paid.id, 403),
        (&officer, paid.id, 403),
        (&auditor, paid.id, 403),
        (&rival, paid.id, 404),
        (&admin, Uuid::from_u128(9), 404),
        // An account's id is no movement's.
        (&admin, from.id, 404),
        // Either side is the manager's own.
        (&manager, received.id, 403),
        (&manager, sent.id, 403),
        (&manager, entries(&world, received.id).await[0], 403),
    ];
    for (context, id, status) in table {
        let refusal = world.run(context, reverse(id)).await.unwrap_err();
        assert_eq!(refusal.kind.status(), status, "{refusal}");
    }
    assert_eq!(world.dump().await, before);
    world.run(&admin, reverse(received.id)).await.unwrap();
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn a_reversal_takes_nothing_by_force() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("force-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let last = world.account(&tenant, customer.id, 0).await;
    let paid = world.run(&jana, transfer(from.id, to.id, 30)).await.unwrap();
    let spent = world.run(&jana, transfer(to.id, last.id, 20)).await.unwrap();
    let refused = world.run_keyed(&manager, Some("r"), reverse(paid.id)).await;
    let refused = refused.map(|reply| reply.output);
    assert_eq!(what(&refused), ("insufficient_funds".to_owned(), "id".to_owned()));
    // Newest first it works; the refusal under the first key stays what it was.
    world.run(&manager, reverse(spent.id)).await.unwrap();
    let again = world.run_keyed(&manager, Some("r"), reverse(paid.id)).await.unwrap_err();
    assert!(again.replayed && again.code == "insufficient_funds");
    world.run(&manager, reverse(paid.id)).await.unwrap();
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (100, 0));

    // Neither a frozen nor a closed account is reached.
    let paid = world.run(&jana, transfer(from.id, to.id, 30)).await.unwrap();
    let status = |status| UpdateAccount {
        account_id: from.id,
        expected_version: None,
        change: AccountChange { status: Some(status), ..AccountChange::default() },
    };
    world.run(&manager, status(AccountStatus::Frozen)).await.unwrap();
    assert_eq!(world.run(&manager, reverse(paid.id)).await.unwrap_err().code, "account_frozen");
    world.run(&manager, status(AccountStatus::Active)).await.unwrap();
    let rest = world.run(&jana, transfer(from.id, to.id, 70)).await.unwrap();
    let close = CloseAccount { account_id: from.id, expected_version: None };
    world.run(&manager, close).await.unwrap();
    assert_eq!(world.run(&manager, reverse(rest.id)).await.unwrap_err().code, "account_closed");
    let bad = ReverseTransaction { reason: Some("x".repeat(141)), ..reverse(rest.id) };
    assert_eq!(
        what(&world.run(&manager, bad).await),
        ("validation_failed".to_owned(), "reason".to_owned())
    );
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn balances_of_any_day_are_right_after_back_dated_work() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("days-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 0).await;
    let opened = "UPDATE savings_accounts SET opened_date = '2026-01-01' WHERE id = $1";
    world.run_sql(opened, &[&account.id]).await;
    // It is 1 March: 100 came in on 1 February, 40 on the 10th, a fee of 5 goes out today.
    let dated = |amount, day| Deposit { value_date: Some(day), ..deposit(account.id, amount) };
    let first = world.run(&tenant, dated(100, date(2026, 2, 1))).await.unwrap();
    world.run(&tenant, dated(40, date(2026, 2, 10))).await.unwrap();
    let fee = ChargeFee {
        account_id: account.id,
        amount: 5,
        currency: None,
        description: String::new(),
        reference: None,
    };
    let fee = world.run(&manager, fee).await.unwrap();
    world.clock.advance(SignedDuration::from_hours(24));
    let on = |value_date, id| ReverseTransaction { value_date: Some(value_date), ..reverse(id) };
    let early = world.run(&manager, on(date(2026, 1, 31), first.id)).await;
    assert_eq!(what(&early), ("value_date_before_original".to_owned(), "value_date".to_owned()));
    let late = world.run(&manager, on(date(2026, 3, 3), first.id)).await;
    assert_eq!(what(&late), ("value_date_in_future".to_owned(), "value_date".to_owned()));
    // The fee as if it had never been; the first deposit from the 20th on.
    world.run(&manager, on(date(2026, 3, 1), fee.id)).await.unwrap();
    let undone = world.run(&manager, on(date(2026, 2, 20), first.id)).await.unwrap();
    assert_eq!((undone.value_date, undone.booking_date), (date(2026, 2, 20), date(2026, 3, 2)));
    let table = [
        (date(2026, 1, 31), 0),
        (date(2026, 2, 1), 100),
        (date(2026, 2, 10), 140),
        (date(2026, 2, 19), 140),
        (date(2026, 2, 20), 40),
        (date(2026, 3, 1), 40),
        (date(2026, 3, 2), 40),
    ];
    for (day, expected) in table {
        let view = BalanceAsOf { account_id: account.id, date: day };
        assert_eq!(read(&world, &jana, &view).await.unwrap().balance, expected, "{day}");
    }
    // The running balance of the history knows the order of posting, not of value.
    assert_eq!(world.balance(account.id).await, 40);
    world.assert_books_are_right(&tenant).await;
}
