//! Journals: many legs or none, by accountants and never on accounts of their own; and
//! who sees what of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use banking::{
    BalanceAsOf, InternalAccount, JournalAccount, JournalEntry, MovementView, NewAccount,
    PostJournal, ReverseTransaction, TransactionFilter, TransactionList, TransferView,
};
use futures_util::future::join_all;
use jiff::civil::date;
use operation::{PageRequest, Refusal};
use serde_json::json;
use tenancy::OpContext;
use uuid::Uuid;

use crate::bank_world::{BankWorld, read, transfer};
use crate::harness::App;

fn journal(entries: &[(JournalAccount, i64)]) -> PostJournal {
    PostJournal {
        currency: "EUR".parse().unwrap(),
        description: "Correction".to_owned(),
        reference: None,
        value_date: None,
        entries: entries
            .iter()
            .map(|&(account, amount)| JournalEntry { account, amount })
            .collect(),
    }
}

fn of(id: Uuid) -> JournalAccount {
    JournalAccount::Customer(id)
}

const SUSPENSE: JournalAccount = JournalAccount::Internal(InternalAccount::Suspense);
const FEES: JournalAccount = JournalAccount::Internal(InternalAccount::Fees);

fn shown(refusal: &Refusal) -> (u16, String, String) {
    let field = refusal.errors.first().map(|error| error.field.to_string());
    (refusal.kind.status(), refusal.code.to_string(), field.unwrap_or_default())
}

#[tokio::test]
async fn a_journal_is_booked_whole_or_not_at_all() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("many-bank").await;
    let elsewhere = world.tenant("far-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let rich = world.account(&tenant, customer.id, 1_000).await;
    let poor = world.account(&tenant, customer.id, 0).await;
    let koruna = NewAccount::plain(customer.id, "CZK".parse().unwrap());
    let koruna = world.account_like(&tenant, koruna, 0).await;
    let (_, other) = world.banking_customer(&elsewhere).await;
    let abroad = world.account(&elsewhere, other.id, 100).await;
    let cash: Uuid =
        world.rows("SELECT id FROM ledger_accounts WHERE code = 'cash'").await[0].get(0);

    let booked = journal(&[(of(rich.id), -700), (of(poor.id), 400), (SUSPENSE, 250), (FEES, 50)]);
    let booked = world.run_keyed(&manager, Some("j"), booked).await.unwrap();
    let movement = &booked.output;
    assert_eq!((movement.transfer.amount, movement.transfer.from_account_id), (700, rich.id));
    assert_eq!(
        movement.entries.iter().map(|entry| entry.amount).collect::<Vec<_>>(),
        [-700, 50, 250, 400]
    );
    assert_eq!(movement.entries.iter().map(|entry| entry.amount).sum::<i64>(), 0);
    assert_eq!((world.balance(rich.id).await, world.balance(poor.id).await), (300, 400));
    let view = MovementView { transfer_id: movement.transfer.id };
    assert_eq!(&read(&world, &manager, &view).await.unwrap(), movement, "read as it was answered");

    let pair = |account: JournalAccount| journal(&[(SUSPENSE, -1), (account, 1)]);
    let dated = |day| PostJournal { value_date: Some(day), ..pair(of(rich.id)) };
    // journal, code, field
    let table = [
        (journal(&[(SUSPENSE, -1)]), "entry_count", "entries"),
        (journal(&[(SUSPENSE, -1), (of(rich.id), 2)]), "unbalanced", "entries"),
        (journal(&[(of(rich.id), -1), (of(rich.id), 1)]), "same_account", "entries[1]"),
        (
            journal(&[(SUSPENSE, i64::MIN), (FEES, i64::MAX)]),
            "amount_too_large",
            "entries[0].amount",
        ),
        (
            journal(&[(SUSPENSE, -(1 << 53)), (FEES, 1 << 53)]),
            "amount_too_large",
            "entries[0].amount",
        ),
        (pair(of(Uuid::from_u128(3))), "not_found", "entries[1].account_id"),
        (pair(of(abroad.id)), "not_found", "entries[1].account_id"),
        // The bank's own accounts go by their names.
        (pair(of(cash)), "not_found", "entries[1].account_id"),
        (pair(of(koruna.id)), "currency_mismatch", "entries[1].account_id"),
        (
            journal(&[(SUSPENSE, 301), (of(rich.id), -301)]),
            "insufficient_funds",
            "entries[1].amount",
        ),
        (dated(date(2026, 3, 2)), "value_date_in_future", "value_date"),
        (dated(date(2026, 2, 28)), "value_date_before_opening", "value_date"),
        (
            PostJournal { description: "x".repeat(141), ..pair(FEES) },
            "validation_failed",
            "description",
        ),
    ];
    let before = world.dump().await;
    for (journal, code, field) in table {
        let refusal = world.run(&manager, journal).await.unwrap_err();
        assert_eq!(shown(&refusal), (422, code.to_owned(), field.to_owned()));
    }
    let dollars = PostJournal { currency: "USD".parse().unwrap(), ..pair(of(rich.id)) };
    let refusal = world.run(&manager, dollars).await.unwrap_err();
    assert_eq!(shown(&refusal).1, "currency_mismatch");
    assert_eq!(world.dump().await, before, "not even a suspense account in dollars was made");
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn journals_are_the_accountants_and_never_on_their_own_accounts() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("own-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let record = world.customer(&tenant, Some(&manager)).await;
    let own = world.account(&tenant, record.id, 100).await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 100).await;
    let before = world.dump().await;
    for role in ["officer", "customer_service", "auditor"] {
        let person = world.person(&tenant, role).await;
        let refusal =
            world.run(&person, journal(&[(SUSPENSE, -1), (of(account.id), 1)])).await.unwrap_err();
        assert_eq!(refusal.kind.status(), 403, "{role}");
    }
    let refusal =
        world.run(&jana, journal(&[(SUSPENSE, -1), (of(account.id), 1)])).await.unwrap_err();
    assert_eq!(refusal.kind.status(), 403);
    // In any place, to either side, beside others'.
    for entries in [
        vec![(SUSPENSE, -1), (of(own.id), 1)],
        vec![(of(own.id), -1), (SUSPENSE, 1)],
        vec![(SUSPENSE, -3), (of(account.id), 1), (FEES, 1), (of(own.id), 1)],
    ] {
        assert_eq!(world.run(&manager, journal(&entries)).await.unwrap_err().kind.status(), 403);
    }
    assert_eq!(world.dump().await, before);
    // Without any customer's account there is nobody's to be.
    world.run(&manager, journal(&[(SUSPENSE, -1), (FEES, 1)])).await.unwrap();
    // And a journal that touches one's account is not one's to reverse.
    let admin = world.person(&tenant, "admin").await;
    let booked = world
        .run(&admin, journal(&[(SUSPENSE, -9), (of(account.id), 4), (of(own.id), 5)]))
        .await
        .unwrap();
    let reverse =
        ReverseTransaction { transaction_id: booked.transfer.id, reason: None, value_date: None };
    assert_eq!(world.run(&manager, reverse.clone()).await.unwrap_err().kind.status(), 403);
    let undone = world.run(&admin, reverse).await.unwrap();
    assert_eq!(
        (undone.amount, world.balance(own.id).await, world.balance(account.id).await),
        (9, 100, 100)
    );
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn a_customer_sees_their_own_entry_and_not_the_others() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("pay-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let hers = world.account(&tenant, customer.id, 0).await;
    let (_, other) = world.banking_customer(&tenant).await;
    let theirs = world.account(&tenant, other.id, 100).await;
    let salaries = journal(&[(SUSPENSE, -900), (of(hers.id), 300), (of(theirs.id), 600)]);
    let booked = world.run(&manager, salaries).await.unwrap();
    let id = booked.transfer.id;
    for refused in [
        read(&world, &jana, &TransferView { transfer_id: id }).await.map(drop),
        read(&world, &jana, &MovementView { transfer_id: id }).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind.status(), 404);
    }
    let list = TransactionList {
        account_id: hers.id,
        filter: TransactionFilter::default(),
        page: PageRequest::default(),
    };
    let page = read(&world, &jana, &list).await.unwrap();
    assert_eq!((page.data.len(), page.data[0].amount, page.data[0].transfer_id), (1, 300, id));
    // The reversal of a journal is as many people's as the journal.
    let reverse = ReverseTransaction { transaction_id: id, reason: None, value_date: None };
    let undone = world.run(&manager, reverse).await.unwrap();
    assert_eq!(
        read(&world, &jana, &TransferView { transfer_id: undone.id })
            .await
            .unwrap_err()
            .kind
            .status(),
        404
    );
    // Of a transfer between two, the other's balance is not hers to see.
    let from = world.person(&tenant, "officer").await;
    let paid = world.run(&from, transfer(theirs.id, hers.id, 40)).await.unwrap();
    let seen = read(&world, &jana, &MovementView { transfer_id: paid.id }).await.unwrap();
    let accounts: Vec<Uuid> = seen.entries.iter().map(|entry| entry.account_id).collect();
    assert_eq!((seen.transfer.amount, accounts), (40, vec![hers.id]));
    let all = read(&world, &manager, &MovementView { transfer_id: paid.id }).await.unwrap();
    assert_eq!(all.entries.len(), 2);
}

#[tokio::test]
async fn back_dated_journals_count_from_their_own_day() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("back-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 100).await;
    let opened = "UPDATE savings_accounts SET opened_date = '2026-01-15' WHERE id = $1";
    world.run_sql(opened, &[&account.id]).await;
    let dated = |amount: i64, day| PostJournal {
        value_date: Some(day),
        ..journal(&[(SUSPENSE, -amount), (of(account.id), amount)])
    };
    world.run(&manager, dated(60, date(2026, 1, 20))).await.unwrap();
    // Taken out on a day on which, by value, nothing of today's deposit was there: the
    // floor is today's balance, and the day shows what it shows.
    world.run(&manager, dated(-90, date(2026, 2, 1))).await.unwrap();
    let table = [
        (date(2026, 1, 19), 0),
        (date(2026, 1, 20), 60),
        (date(2026, 2, 1), -30),
        (date(2026, 2, 28), -30),
        (date(2026, 3, 1), 70),
    ];
    for (day, expected) in table {
        let view = BalanceAsOf { account_id: account.id, date: day };
        assert_eq!(read(&world, &jana, &view).await.unwrap().balance, expected, "{day}");
    }
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crossing_journals_and_transfers_neither_deadlock_nor_overdraw() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("knot-bank").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let mut accounts = Vec::new();
    for _ in 0..4 {
        accounts.push(world.account(&tenant, customer.id, 100).await.id);
    }
    let journals = (0..30_usize).map(|turn| {
        let at = |step: usize| of(accounts[(turn + step) % 4]);
        let order = journal(&[(at(0), -30), (at(1), 10), (at(2), 15), (at(3), 4), (FEES, 1)]);
        let (world, manager): (&BankWorld, &OpContext) = (&world, &manager);
        async move { world.run(manager, order).await.map(drop) }
    });
    let transfers = (0..30_usize).map(|turn| {
        let order = transfer(accounts[(turn + 2) % 4], accounts[turn % 4], 25);
        let (world, jana) = (&world, &jana);
        async move { world.run(jana, order).await.map(drop) }
    });
    let (journals, transfers) = tokio::join!(join_all(journals), join_all(transfers));
    for refusal in journals.into_iter().chain(transfers).filter_map(Result::err) {
        assert_eq!(refusal.code, "insufficient_funds");
    }
    for account in accounts {
        assert!(world.balance(account).await >= 0);
    }
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn journals_through_the_interface() {
    let app = App::start().await;
    let manager = app.login(&app.bank, "manager").await;
    let customer = app.login(&app.bank, "customer").await;
    let [account, second] = app.bank.customers[0].accounts;
    let body = json!({
        "currency": "EUR", "description": "Refund",
        "entries": [
            { "internal_account": "fees", "amount": -30 }, { "account_id": account, "amount": 20 },
            { "account_id": second, "amount": 10 },
        ],
    });
    let keyless = app.post("/v1/postings").bearer(&manager).json(&body).send().await;
    assert_eq!((keyless.status, keyless.code()), (400, "idempotency_key_required"));
    let answer = app.post("/v1/postings").bearer(&manager).key("p").json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!((&answer.body["kind"], &answer.body["amount"]), (&json!("journal"), &json!(30)));
    assert_eq!(answer.body["entries"].as_array().unwrap().len(), 3);
    let id = answer.body["id"].as_str().unwrap();
    let again = app.post("/v1/postings").bearer(&manager).key("\"p\"").json(&body).send().await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &answer.body));
    let read = app.get(format!("/v1/postings/{id}")).bearer(&manager).send().await;
    assert_eq!((read.status, &read.body), (200, &answer.body));
    assert_eq!(app.get(format!("/v1/postings/{id}")).bearer(&customer).send().await.status, 404);
    let entry = answer.body["entries"][2]["id"].as_str().unwrap();
    let path = format!("/v1/transactions/{entry}/reverse");
    // The body may be left out.
    let undone = app.post(&*path).bearer(&manager).key("r").send().await;
    assert_eq!(
        (undone.status, &undone.body["reverses_transfer_id"]),
        (201, &json!(id)),
        "{}",
        undone.text
    );
    let twice = app.post(&*path).bearer(&manager).key("r2").json(&json!({})).send().await;
    assert_eq!((twice.status, twice.code()), (422, "already_reversed"));
    let read = app.get(format!("/v1/transfers/{id}")).bearer(&manager).send().await;
    assert_eq!(read.body["reversed_by_transfer_id"], undone.body["id"]);
    let balance = app
        .get(format!("/v1/accounts/{account}/balance?date=2999-01-01"))
        .bearer(&customer)
        .send()
        .await;
    assert_eq!(
        (balance.status, balance.body["balance"].as_i64()),
        (200, Some(crate::harness::FUNDS))
    );
    let both = app.get(format!("/v1/accounts/{account}/balance?date=2999-01-01&as_of=2999-01-01"));
    assert_eq!(both.bearer(&customer).send().await.status, 400);
}

#[tokio::test]
async fn the_schema_of_journals_goes_back_only_while_there_are_none() {
    let app = App::start().await;
    let mut client = testkit::connect(&app.database.superuser_url()).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let steps = migrator.schema_version() - 8;
    let manager = app.login(&app.bank, "manager").await;
    let body = json!({
        "currency": "EUR",
        "entries": [{ "internal_account": "fees", "amount": -1 }, { "internal_account": "suspense", "amount": 1 }],
    });
    migrator.down(&mut client, steps).await.unwrap();
    migrator.up(&mut client, None).await.unwrap();
    let booked = app.post("/v1/postings").bearer(&manager).key("p").json(&body).send().await;
    assert_eq!(booked.status, 201, "{}", booked.text);
    let refused = migrator.down(&mut client, steps).await.unwrap_err();
    let words = format!("{refused:#} {refused:?}");
    assert!(words.contains("journals have been posted"), "{words}");
    let kept = "SELECT to_regclass('ledger_proofs') IS NOT NULL";
    let row = client.query_one(kept, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0) || steps > 1, "nothing of the step was done");
}
