//! The ledger against a real server: races, repetition, refusals that leave no
//! trace, entries that nobody can change, and proofs that find what was changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use banking::{
    AccountChange, AccountStatus, CloseAccount, CreateTransfer, NewAccount, ReverseTransaction,
    UpdateAccount,
};
use futures_util::future::join_all;
use ledger::verify::{Fault, verify, verify_in_pages};
use operation::{Call, RefusalKind};
use testkit::connect;
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, open, refused, transfer, what};
use crate::holds::{capture, hold};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_parallel_transfers_on_a_balance_for_ten_post_ten() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("race-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let attempts = (0..100).map(|_| world.run(&person, transfer(from.id, to.id, 10)));
    let results = join_all(attempts).await;
    let posted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(posted, 10);
    for result in results.iter().filter(|result| result.is_err()) {
        assert_eq!(what(result), ("insufficient_funds".to_owned(), "amount".to_owned()));
    }
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (0, 100));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_transfers_and_batches_never_deadlock() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("cross-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let left = world.account(&tenant, customer.id, 1_000).await;
    let right = world.account(&tenant, customer.id, 1_000).await;
    let batches = (0..20_i64).map(|number| {
        let (from, to) = if number % 2 == 0 { (left.id, right.id) } else { (right.id, left.id) };
        let commands = [transfer(from, to, 1), transfer(to, from, 2), transfer(from, to, 3)];
        let calls = commands
            .into_iter()
            .map(|command| Call { context: tenant.clone(), idempotency_key: None, command })
            .collect();
        world.operations.run(calls)
    });
    let results: Vec<_> = join_all(batches).await.into_iter().flatten().collect();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((world.balance(left.id).await, world.balance(right.id).await), (1_000, 1_000));
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_identical_transfers_with_one_key_post_once() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("key-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 1_000).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let order = transfer(from.id, to.id, 10);
    let attempts = (0..50).map(|_| world.run_keyed(&person, Some("rent-march"), order.clone()));
    let results = join_all(attempts).await;
    let mut ids = BTreeSet::new();
    let mut fresh = 0;
    for result in results {
        match result {
            Ok(reply) => {
                fresh += usize::from(!reply.replayed);
                assert_eq!(reply.status, 201);
                ids.insert(reply.output.id);
            }
            Err(refusal) => {
                assert_eq!(
                    (refusal.kind, &*refusal.code),
                    (RefusalKind::Conflict, "idempotency_in_flight")
                );
            }
        }
    }
    assert_eq!((fresh, ids.len(), world.balance(to.id).await), (1, 1, 10));

    let again = world.run_keyed(&person, Some("rent-march"), order.clone()).await.unwrap();
    assert!(again.replayed && ids.contains(&again.output.id));
    let other = CreateTransfer { amount: 11, ..order };
    let reused = world.run_keyed(&person, Some("rent-march"), other).await.unwrap_err();
    assert_eq!((reused.kind.status(), &*reused.code), (422, "idempotency_key_reused"));
    assert_eq!(world.balance(to.id).await, 10);
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_movement_leaves_every_row_as_it_was() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("bad-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let full = world.account(&tenant, customer.id, 500).await;
    let empty = world.account(&tenant, customer.id, 0).await;
    let koruna = NewAccount::plain(customer.id, "CZK".parse().unwrap());
    let koruna = world.account_like(&tenant, koruna, 0).await;
    let frozen = world.account(&tenant, customer.id, 500).await;
    set_status(&world, &tenant, frozen.id, AccountStatus::Frozen).await;
    let closed = world.account(&tenant, customer.id, 0).await;
    let close = CloseAccount { account_id: closed.id, expected_version: Some(1) };
    world.run(&tenant, close).await.unwrap();
    let cash: Uuid =
        world.rows("SELECT id FROM ledger_accounts WHERE code = 'cash'").await[0].get(0);

    let long = CreateTransfer { description: "x".repeat(141), ..transfer(full.id, empty.id, 1) };
    let control =
        CreateTransfer { reference: Some("a\u{0}".to_owned()), ..transfer(full.id, empty.id, 1) };
    let table = [
        (transfer(full.id, empty.id, 501), "insufficient_funds", "amount"),
        (transfer(full.id, empty.id, 0), "invalid_amount", "amount"),
        (transfer(full.id, empty.id, -1), "invalid_amount", "amount"),
        (transfer(full.id, empty.id, i64::MIN), "invalid_amount", "amount"),
        (transfer(full.id, empty.id, 1 << 53), "amount_too_large", "amount"),
        (transfer(full.id, empty.id, i64::MAX), "amount_too_large", "amount"),
        (transfer(full.id, full.id, 1), "same_account", "to_account_id"),
        (transfer(full.id, koruna.id, 1), "currency_mismatch", "to_account_id"),
        (transfer(koruna.id, full.id, 1), "currency_mismatch", "currency"),
        (transfer(frozen.id, full.id, 1), "account_frozen", "from_account_id"),
        (transfer(full.id, frozen.id, 1), "account_frozen", "to_account_id"),
        (transfer(closed.id, full.id, 1), "account_closed", "from_account_id"),
        (transfer(full.id, closed.id, 1), "account_closed", "to_account_id"),
        (transfer(full.id, cash, 1), "not_found", "to_account_id"),
        (transfer(cash, full.id, 1), "not_found", "from_account_id"),
        (transfer(full.id, Uuid::from_u128(1), 1), "not_found", "to_account_id"),
        (long, "validation_failed", "description"),
        (control, "validation_failed", "reference"),
    ];
    let before = world.dump().await;
    for (order, code, field) in table {
        let name = format!("{order:?}");
        let result = world.run(&person, order).await;
        assert_eq!(what(&result), (code.to_owned(), field.to_owned()), "{name}");
        assert_eq!(result.unwrap_err().kind.status(), 422);
        assert_eq!(world.dump().await, before, "{name} left a trace");
    }
    for (account, amount, code) in [
        (full.id, 0, "invalid_amount"),
        (full.id, -5, "invalid_amount"),
        (full.id, (1 << 53) - 500, "amount_too_large"),
        (frozen.id, 5, "account_frozen"),
        (closed.id, 5, "account_closed"),
        // Refused before, and without, a first cash account of its currency.
        (koruna.id, -5, "invalid_amount"),
    ] {
        let result = world.run(&tenant, deposit(account, amount)).await;
        assert_eq!(what(&result).0, code, "{account} {amount}");
        assert_eq!(world.dump().await, before, "deposit of {amount} left a trace");
    }
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_in_a_batch_leaves_its_neighbours_alone() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("batch-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 500).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let stranger = world.customer(&tenant, None).await;
    let foreign = world.account(&tenant, stranger.id, 500).await;
    let orders = (0..1_000_i64).map(|number| match number % 4 {
        0 => (transfer(from.id, to.id, 1), None),
        1 => (transfer(from.id, to.id, 0), Some("invalid_amount")),
        2 => (transfer(foreign.id, to.id, 1), Some("not_found")),
        _ => (transfer(from.id, from.id, 1), Some("same_account")),
    });
    let (orders, expected): (Vec<_>, Vec<_>) = orders.unzip();
    let calls = orders.into_iter().enumerate().map(|(number, command)| Call {
        context: person.clone(),
        idempotency_key: Some(format!("k{number}")),
        command,
    });
    let results = world.operations.run(calls.collect()).await;
    for (number, (result, expected)) in results.into_iter().zip(expected).enumerate() {
        let code = refused(result).err().map(|refusal| refusal.code.to_string());
        assert_eq!(code.as_deref(), expected, "{number}");
    }
    assert_eq!((world.balance(from.id).await, world.balance(to.id).await), (250, 250));
    assert_eq!(world.balance(foreign.id).await, 500);
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn entries_and_transfers_are_append_only_for_every_role() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("stone-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 500).await;
    let before = world.dump().await;
    let attempts = [
        "UPDATE transactions SET amount = amount + 1",
        "UPDATE transactions SET description = 'x' WHERE false",
        "DELETE FROM transactions",
        "TRUNCATE transactions",
        "UPDATE transfers SET amount = amount + 1",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "DELETE FROM ledger_accounts",
        "TRUNCATE ledger_accounts CASCADE",
    ];
    let roles = [
        "strongroom_app",
        "strongroom_sealer",
        "strongroom_auditor",
        "strongroom_owner",
        "postgres",
    ];
    let superuser: String = world.rows("SELECT current_user::text").await[0].get(0);
    for role in roles {
        let url = if role == "postgres" {
            world.database.superuser_url()
        } else {
            world.database.url_as(role)
        };
        let client = connect(&url).await;
        let tenant_id = tenant.tenant_id();
        client.batch_execute(&format!("SET app.current_tenant = '{tenant_id}'")).await.unwrap();
        for replica in [false, true] {
            if replica && role != "postgres" {
                continue;
            }
            let mode = if replica { "replica" } else { "origin" };
            if role == "postgres" {
                client
                    .batch_execute(&format!("SET session_replication_role = {mode}"))
                    .await
                    .unwrap();
            }
            for attempt in attempts {
                let error = client.batch_execute(attempt).await.expect_err(attempt);
                let state = error.code().map(tokio_postgres::error::SqlState::code);
                assert_eq!(
                    state,
                    Some("42501"),
                    "{attempt} as {role} ({superuser}), {mode}: {error}"
                );
            }
        }
    }
    assert_eq!(world.dump().await, before);
    assert_eq!(world.balance(account.id).await, 500);
}

/// What tells the fault that is found first.
type Found = fn(&Fault) -> bool;

/// What is done to a bank's tables.
const DAMAGE: [(&str, Found); 17] = [
    (
        "UPDATE ledger_accounts SET balance = balance + 1 WHERE class = 'customer' AND balance = 300",
        |fault| matches!(fault, Fault::TrialBalance { sum, .. } if sum == "1"),
    ),
    (
        "UPDATE ledger_accounts SET balance = balance + CASE balance WHEN 300 THEN 5 ELSE -5 END \
         WHERE class = 'customer'",
        |fault| matches!(fault, Fault::Balance { .. }),
    ),
    ("UPDATE ledger_accounts SET entry_count = entry_count + 1 WHERE balance = 300", |fault| {
        matches!(fault, Fault::EntryCount { .. })
    }),
    ("UPDATE transactions SET balance_after = 7 WHERE amount = -200", |fault| {
        matches!(fault, Fault::Chain { account_sequence: 2, .. })
    }),
    ("UPDATE transactions SET amount = amount + 1 WHERE amount = -200", |fault| {
        matches!(fault, Fault::Balance { .. })
    }),
    ("UPDATE transfers SET amount = 199 WHERE amount = 200", |fault| {
        matches!(fault, Fault::Transfer { amount: 199, .. })
    }),
    (
        "UPDATE transactions SET transfer_id = '00000000-0000-0000-0000-000000000001' WHERE amount = -200",
        |fault| matches!(fault, Fault::Orphan { .. }),
    ),
    // Whatever entries repeat of their transfer.
    (
        "UPDATE transactions SET transaction_date = transaction_date - 1 WHERE amount = -200",
        |fault| matches!(fault, Fault::Unlike { entries: 1, .. }),
    ),
    ("UPDATE transfers SET value_date = value_date - 1 WHERE amount = 200", |fault| {
        matches!(fault, Fault::Unlike { entries: 2, .. })
    }),
    (
        "UPDATE transactions SET posted_date = posted_date - interval '1 day' WHERE amount = 200",
        |fault| matches!(fault, Fault::Unlike { entries: 1, .. }),
    ),
    ("UPDATE transactions SET description = 'Bread' WHERE amount = -200", |fault| {
        matches!(fault, Fault::Unlike { entries: 1, .. })
    }),
    ("UPDATE transfers SET reference = 'R 1' WHERE amount = 200", |fault| {
        matches!(fault, Fault::Unlike { entries: 2, .. })
    }),
    ("UPDATE transactions SET transaction_type = 'fee' WHERE amount = -200", |fault| {
        matches!(fault, Fault::Unlike { entries: 1, .. })
    }),
    ("UPDATE transfers SET kind = 'fee' WHERE amount = 200", |fault| {
        matches!(fault, Fault::Unlike { entries: 2, .. })
    }),
    // Whom a transfer names, and what it undoes.
    (
        "UPDATE transfers SET from_account_id = to_account_id, to_account_id = from_account_id WHERE amount = 200",
        |fault| matches!(fault, Fault::Sides { .. }),
    ),
    (
        "UPDATE transfers SET from_account_id = '00000000-0000-0000-0000-000000000001' WHERE amount = 200",
        |fault| matches!(fault, Fault::Sides { .. }),
    ),
    (
        "UPDATE transfers SET reverses_transfer_id = '00000000-0000-0000-0000-000000000001' WHERE amount = 200",
        |fault| matches!(fault, Fault::Mirror { .. }),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_and_names_every_kind_of_damage() {
    let world = BankWorld::new().await;
    let owner = connect(&world.database.url_as("strongroom_owner")).await;
    for table in ["transactions", "transfers"] {
        owner
            .batch_execute(&format!("ALTER TABLE {table} DISABLE TRIGGER append_only"))
            .await
            .unwrap();
    }
    for (number, (damage, found)) in DAMAGE.into_iter().enumerate() {
        let tenant = world.tenant(&format!("proof-bank-{number}")).await;
        let (person, customer) = world.banking_customer(&tenant).await;
        let from = world.account(&tenant, customer.id, 500).await;
        let to = world.account(&tenant, customer.id, 0).await;
        world.run(&person, transfer(from.id, to.id, 200)).await.unwrap();
        world.assert_books_are_right(&tenant).await;
        // Row security binds the owner too: the damage stays in this tenant.
        let damage = format!("SET app.current_tenant = '{}'; {damage}", tenant.tenant_id());
        owner.batch_execute(&damage).await.unwrap();
        let app = open(&world.database, "strongroom_app");
        let mut steps = Vec::new();
        let report = verify(&tenant, &app, |step| steps.push(step)).await.unwrap();
        assert!(report.faults.first().is_some_and(found), "{damage}: {:?}", report.faults);
        assert_eq!(steps.last().map(|step| step.done), steps.last().map(|step| step.total));
        assert_eq!((report.accounts, report.transfers, report.entries), (3, 2, 4));
        // However the books are cut into pages.
        for page in 1..=5 {
            let again = verify_in_pages(&tenant, &app, page, |_| {}).await.unwrap();
            assert_eq!(again.faults.first(), report.faults.first(), "{damage} by {page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_the_same_however_small_its_pages() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("page-bank").await;
    let (person, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 500).await.id;
    let to = world.account(&tenant, customer.id, 0).await.id;
    world.account(&tenant, customer.id, 0).await;
    for _ in 0..9 {
        world.run(&person, transfer(from, to, 1)).await.unwrap();
    }
    let promise = hold(from, Some(to), 5);
    let promise = world.run(&person, promise).await.unwrap();
    world.run(&tenant, capture(&promise, Some(2), false)).await.unwrap();
    let paid = world.run(&person, transfer(from, to, 3)).await.unwrap();
    let undo = ReverseTransaction { transaction_id: paid.id, reason: None, value_date: None };
    world.run(&tenant, undo).await.unwrap();
    let app = open(&world.database, "strongroom_app");
    let whole = verify(&tenant, &app, |_| {}).await.unwrap();
    assert!(whole.is_clean(), "{:?}", whole.faults);
    assert_eq!((whole.accounts, whole.transfers, whole.entries), (4, 13, 26));
    // Money that moves between the pages of a walk is no fault of the books.
    let busy = async {
        for _ in 0..60 {
            world.run(&person, transfer(from, to, 1)).await.unwrap();
        }
    };
    let walks = async {
        for page in [1, 2, 3, 13, 26] {
            let report = verify_in_pages(&tenant, &app, page, |_| {}).await.unwrap();
            assert!(report.is_clean(), "{page}: {:?}", report.faults);
        }
    };
    tokio::join!(busy, walks);
    // A break in the middle of a page, at its edge, and in an account's last entry.
    let owner = connect(&world.database.url_as("strongroom_owner")).await;
    let setting = format!("SET app.current_tenant = '{}'", tenant.tenant_id());
    owner.batch_execute(&setting).await.unwrap();
    owner.batch_execute("ALTER TABLE transactions DISABLE TRIGGER append_only").await.unwrap();
    for broken in [1_i64, 3, 4, 7, 73] {
        let damage = "UPDATE transactions SET balance_after = balance_after + $2 \
             WHERE account_id = $1 AND account_sequence = $3";
        assert_eq!(owner.execute(damage, &[&from, &1_i64, &broken]).await.unwrap(), 1);
        for page in [1, 2, 3, 5_000] {
            let report = verify_in_pages(&tenant, &app, page, |_| {}).await.unwrap();
            let expected = Fault::Chain { account_id: from, account_sequence: broken };
            assert_eq!(report.faults, [expected], "{page}");
        }
        owner.execute(damage, &[&from, &-1_i64, &broken]).await.unwrap();
    }
}

async fn set_status(
    world: &BankWorld,
    context: &tenancy::OpContext,
    account_id: Uuid,
    status: AccountStatus,
) {
    let change = AccountChange { status: Some(status), ..AccountChange::default() };
    let command = UpdateAccount { account_id, expected_version: None, change };
    world.run(context, command).await.unwrap();
}
