//! Banking against a real server: who sees and moves what, and that personal data stays sealed where it belongs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, sync::Arc};

use banking::{
    AccountChange, AccountStatus, AccountView, BalanceAsOf, CloseAccount, CustomerChange,
    CustomerFilter, CustomerStatus, CustomerType, Deposit, NewAccount, NewCustomer, OpenAccount,
    PersonalData, ReadCustomer, TransactionFilter, TransactionList, TransferView, UpdateAccount,
    UpdateCustomer, Withdraw,
};
use jiff::{SignedDuration, civil::date};
use ledger::TransactionType;
use operation::{OperationError, PageRequest};
use tenancy::OpContext;
use uuid::Uuid;

use crate::bank_world::{BankWorld, deposit, list_customers, read, transfer, what};

#[tokio::test]
async fn what_the_body_names_and_the_actor_may_not_use_is_the_same_refusal() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let elsewhere = world.tenant("south-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let own = world.account(&tenant, customer.id, 100).await;
    let (_, stranger) = world.banking_customer(&tenant).await;
    let foreign = world.account(&tenant, stranger.id, 100).await;
    let (_, other) = world.banking_customer(&elsewhere).await;
    let abroad = world.account(&elsewhere, other.id, 100).await;

    let mut answers = BTreeSet::new();
    for from in [foreign.id, abroad.id, Uuid::from_u128(5)] {
        let refusal = world.run(&jana, transfer(from, own.id, 1)).await.unwrap_err();
        answers.insert(format!("{refusal:?}"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let hidden = world.run(&jana, transfer(foreign.id, own.id, 1)).await;
    assert_eq!(what(&hidden), ("not_found".to_owned(), "from_account_id".to_owned()));

    let mut answers = BTreeSet::new();
    for to in [abroad.id, Uuid::from_u128(5)] {
        let refusal = world.run(&jana, transfer(own.id, to, 1)).await.unwrap_err();
        answers.insert(format!("{refusal:?}"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let paid = world.run(&jana, transfer(own.id, foreign.id, 1)).await.unwrap();

    let manager = world.person(&elsewhere, "manager").await;
    for (context, visible) in [(&jana, true), (&manager, false)] {
        let seen = read(&world, context, &TransferView { transfer_id: paid.id }).await;
        assert_eq!(seen.is_ok(), visible);
    }
    let abroad_read =
        read(&world, &jana, &AccountView { account_id: abroad.id }).await.unwrap_err();
    assert_eq!(abroad_read.kind.status(), 404);
}

#[tokio::test]
async fn tellers_serve_everybody_but_themselves() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("teller-bank").await;
    let teller = world.person(&tenant, "officer").await;
    let own_record = world.customer(&tenant, Some(&teller)).await;
    let own = world.account(&tenant, own_record.id, 100).await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 100).await;
    let auditor = world.person(&tenant, "auditor").await;
    let withdraw = |account_id| Withdraw {
        account_id,
        amount: 10,
        currency: None,
        description: String::new(),
        reference: None,
        value_date: None,
    };
    let status = |refusal: operation::Refusal| refusal.kind.status();
    assert_eq!(world.run(&teller, deposit(own.id, 10)).await.map_err(status), Err(403));
    assert_eq!(world.run(&teller, withdraw(own.id)).await.map_err(status), Err(403));
    assert_eq!(world.run(&teller, deposit(Uuid::from_u128(5), 10)).await.map_err(status), Err(404));
    assert_eq!(world.run(&jana, deposit(account.id, 10)).await.map_err(status), Err(403));
    assert_eq!(world.run(&auditor, deposit(account.id, 10)).await.map_err(status), Err(403));
    world.run(&teller, deposit(account.id, 10)).await.unwrap();
    let out = world.run(&teller, withdraw(account.id)).await.unwrap();
    assert_eq!((out.from_account_id, world.balance(account.id).await), (account.id, 100));
    // A transfer from one's own account is no teller operation.
    world.run(&teller, transfer(own.id, account.id, 10)).await.unwrap();
    world.assert_books_are_right(&tenant).await;
}

#[tokio::test]
async fn back_dated_entries_count_from_their_own_day() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("past-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 100).await;
    let back_dated = |day| Deposit { value_date: Some(day), ..deposit(account.id, 40) };
    let unopened = world.run(&tenant, back_dated(date(2026, 1, 31))).await;
    assert_eq!(what(&unopened), ("value_date_before_opening".to_owned(), "value_date".to_owned()));
    let opened = "UPDATE savings_accounts SET opened_date = '2026-01-31' WHERE id = $1";
    world.run_sql(opened, &[&account.id]).await;
    let unopened = world.run(&tenant, back_dated(date(2026, 1, 30))).await;
    assert_eq!(what(&unopened), ("value_date_before_opening".to_owned(), "value_date".to_owned()));
    world.run(&tenant, back_dated(date(2026, 1, 31))).await.unwrap();
    let future = world.run(&tenant, back_dated(date(2026, 3, 2))).await;
    assert_eq!(what(&future), ("value_date_in_future".to_owned(), "value_date".to_owned()));
    world.clock.advance(SignedDuration::from_hours(24));
    world.run(&jana, transfer(account.id, other(&world, &tenant).await, 30)).await.unwrap();
    let table = [
        (date(2026, 1, 30), 0),
        (date(2026, 1, 31), 40),
        (date(2026, 2, 28), 40),
        (date(2026, 3, 1), 140),
        (date(2026, 3, 2), 110),
    ];
    for (day, expected) in table {
        let view = BalanceAsOf { account_id: account.id, date: day };
        assert_eq!(read(&world, &jana, &view).await.unwrap().balance, expected, "{day}");
    }
}

async fn other(world: &BankWorld, tenant: &OpContext) -> Uuid {
    let customer = world.customer(tenant, None).await;
    world.account(tenant, customer.id, 0).await.id
}

#[tokio::test]
async fn history_pages_run_backwards_without_gaps_and_filter() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("page-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 0).await;
    let sink = other(&world, &tenant).await;
    for number in 1..=13 {
        world.run(&tenant, deposit(account.id, number)).await.unwrap();
    }
    world.run(&jana, transfer(account.id, sink, 5)).await.unwrap();
    let mut sequences = Vec::new();
    let mut page = PageRequest { limit: 4, after: None, ..PageRequest::default() };
    let list = |filter, page: &PageRequest| TransactionList {
        account_id: account.id,
        filter,
        page: page.clone(),
    };
    loop {
        let answer = read(&world, &jana, &list(TransactionFilter::default(), &page)).await.unwrap();
        sequences.extend(answer.data.iter().map(|entry| entry.account_sequence));
        let Some(next) = answer.next else { break };
        page.after = Some(next);
    }
    assert_eq!(sequences, (1..=14).rev().collect::<Vec<_>>());
    let out = TransactionFilter {
        transaction_type: Some(TransactionType::TransferOut),
        from: Some(date(2026, 3, 1)),
        to: Some(date(2026, 3, 1)),
    };
    let answer = read(&world, &jana, &list(out, &PageRequest::default())).await.unwrap();
    assert_eq!(answer.data.iter().map(|entry| entry.amount).collect::<Vec<_>>(), [-5]);
    let before = TransactionFilter { to: Some(date(2026, 2, 28)), ..TransactionFilter::default() };
    assert!(
        read(&world, &jana, &list(before, &PageRequest::default())).await.unwrap().data.is_empty()
    );
    let foreign = PageRequest { limit: 4, after: Some("x.y".to_owned()), ..PageRequest::default() };
    let refusal =
        read(&world, &jana, &list(TransactionFilter::default(), &foreign)).await.unwrap_err();
    assert_eq!((refusal.kind.status(), &*refusal.code), (400, "invalid_cursor"));
}

#[tokio::test]
async fn accounts_are_opened_changed_and_closed_under_their_version() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("life-bank").await;
    let officer = world.person(&tenant, "officer").await;
    let manager = world.person(&tenant, "manager").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 0).await;
    assert!(
        account.account_number.parse::<money::AccountNumber>().is_ok(),
        "{}",
        account.account_number
    );
    assert_eq!((account.status, account.version, account.balance), (AccountStatus::Active, 1, 0));

    let unknown =
        OpenAccount { account: NewAccount::plain(Uuid::from_u128(3), "EUR".parse().unwrap()) };
    let refusal = world.run(&officer, unknown).await.unwrap_err();
    assert_eq!((&*refusal.code, &*refusal.errors[0].field), ("not_found", "customer_id"));
    let denied = OpenAccount { account: NewAccount::plain(customer.id, "EUR".parse().unwrap()) };
    assert_eq!(world.run(&jana, denied).await.unwrap_err().kind.status(), 403);

    let update = |version, change| UpdateAccount {
        account_id: account.id,
        expected_version: Some(version),
        change,
    };
    let limit = AccountChange {
        overdraft_limit: Some(300),
        interest_rate: Some("4.25".parse().unwrap()),
        ..AccountChange::default()
    };
    let changed = world.run(&officer, update(1, limit.clone())).await.unwrap();
    assert_eq!((changed.version, changed.available_balance), (2, 300));
    assert_eq!(changed.interest_rate.to_string(), "4.25");
    assert_eq!(world.run(&officer, update(1, limit)).await.unwrap_err().kind.status(), 412);
    let both = AccountChange { minimum_balance: Some(Some(5)), ..AccountChange::default() };
    assert_eq!(
        world.run(&officer, update(2, both)).await.unwrap_err().errors[0].code,
        "excludes_overdraft"
    );

    world.run(&jana, transfer(account.id, other(&world, &tenant).await, 300)).await.unwrap();
    let close = |version| CloseAccount { account_id: account.id, expected_version: Some(version) };
    assert_eq!(world.run(&officer, close(2)).await.unwrap_err().kind.status(), 403);
    // The posting changed the balance and not the version.
    assert_eq!(world.run(&manager, close(2)).await.unwrap_err().code, "account_not_empty");
    world.run(&officer, deposit(account.id, 300)).await.unwrap();
    let closed = world.run(&manager, close(2)).await.unwrap();
    assert_eq!(
        (closed.status, closed.closed_date),
        (AccountStatus::Closed, Some(date(2026, 3, 1)))
    );
    assert_eq!(world.run(&manager, close(3)).await.unwrap_err().code, "account_closed");
    let thaw = AccountChange { status: Some(AccountStatus::Active), ..AccountChange::default() };
    assert_eq!(world.run(&manager, update(3, thaw)).await.unwrap_err().code, "account_closed");
    world.assert_books_are_right(&tenant).await;
}

fn bedriska() -> PersonalData {
    PersonalData {
        first_name: Some("Bedřiška".to_owned()),
        last_name: Some("Vopičková".to_owned()),
        email: Some("Bedriska@Example.CZ".to_owned()),
        phone: Some("+420601777888".to_owned()),
        date_of_birth: Some(date(1961, 5, 4)),
        tax_id: Some("615504/1234".to_owned()),
        company_name: None,
    }
}

#[tokio::test]
async fn personal_data_is_sealed_found_by_blind_index_and_never_in_records() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("seal-bank").await;
    let officer = world.person(&tenant, "officer").await;
    let login = world.person(&tenant, "customer").await;
    let personal = bedriska();
    let customer = NewCustomer {
        customer_type: CustomerType::Individual,
        personal: personal.clone(),
        user_id: Some(login.actor.id),
    };
    let create = banking::CreateCustomer { keyring: Arc::clone(&world.keyring), customer };
    assert_eq!(world.run(&officer, create.clone()).await.unwrap_err().kind.status(), 403);
    let manager = world.person(&tenant, "manager").await;
    let record = world.run(&manager, create.clone()).await.unwrap();
    let taken = world.run(&manager, create).await.unwrap_err();
    assert!(["user_taken", "tax_id_taken"].contains(&&*taken.code), "{taken}");

    let look = ReadCustomer { keyring: Arc::clone(&world.keyring), customer_id: record.id };
    assert_eq!(world.run(&login, look.clone()).await.unwrap().personal, personal);
    let filter = CustomerFilter {
        email: Some(" bedriska@example.cz".to_owned()),
        ..CustomerFilter::default()
    };
    assert_eq!(list_customers(&world, &officer, filter).await, [record.id]);
    let filter =
        CustomerFilter { phone: Some("+420601777889".to_owned()), ..CustomerFilter::default() };
    assert!(list_customers(&world, &officer, filter).await.is_empty());

    let update = |change| UpdateCustomer {
        keyring: Arc::clone(&world.keyring),
        customer_id: record.id,
        expected_version: None,
        change,
    };
    let rename =
        CustomerChange { last_name: Some(Some("Nová".to_owned())), ..CustomerChange::default() };
    let refusal = world.run(&login, update(rename.clone())).await.unwrap_err();
    assert_eq!((&*refusal.code, &*refusal.errors[0].field), ("contact_details_only", "last_name"));
    let mail =
        CustomerChange { email: Some(Some("b@nova.cz".to_owned())), ..CustomerChange::default() };
    assert_eq!(world.run(&login, update(mail)).await.unwrap().version, 2);
    assert_eq!(world.run(&officer, update(rename)).await.unwrap().version, 3);
    let after = world.run(&officer, look.clone()).await.unwrap();
    assert_eq!(
        (after.personal.email.as_deref(), after.personal.last_name.as_deref()),
        (Some("b@nova.cz"), Some("Nová"))
    );

    let everything = world
        .rows(
            "SELECT row::text FROM customers row UNION ALL SELECT convert_from(record, 'UTF8') FROM audit_log \
             UNION ALL SELECT row::text FROM idempotency_keys row",
        )
        .await;
    for row in everything {
        let text: String = row.get(0);
        for secret in ["Vopi", "Nová", "example.cz", "nova.cz", "601777888", "615504", "1961-05-04"]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let reads = world
        .rows("SELECT compliance_flags FROM audit_log WHERE action IN ('customer.read', 'customer.list') AND result = 'success'")
        .await;
    assert_eq!(reads.len(), 4, "each look leaves a record");
    assert!(reads.iter().all(|row| row.get::<_, Vec<String>>(0).contains(&"GDPR".to_owned())));

    world.run_sql("UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now()", &[]).await;
    assert_eq!(world.run(&officer, look).await.unwrap().personal, PersonalData::default());
}

#[tokio::test]
async fn a_ciphertext_opens_in_its_own_cell_and_nowhere_else() {
    let moves = [
        ("another column", "UPDATE customers SET first_name = last_name WHERE id = $1"),
        (
            "another row",
            "UPDATE customers SET first_name = (SELECT first_name FROM customers other \
             WHERE other.id <> $1 AND other.tenant_id = customers.tenant_id LIMIT 1) WHERE id = $1",
        ),
        (
            "another tenant",
            "UPDATE customers SET first_name = (SELECT first_name FROM customers other \
             WHERE other.tenant_id <> customers.tenant_id LIMIT 1) WHERE id = $1",
        ),
        (
            "another person's key",
            "UPDATE subject_keys SET wrapped_key = (SELECT wrapped_key FROM subject_keys other \
             WHERE other.subject_id <> $1 AND other.tenant_id = subject_keys.tenant_id LIMIT 1) WHERE subject_id = $1",
        ),
        (
            "a flipped bit",
            "UPDATE customers SET first_name = set_byte(first_name, 90, get_byte(first_name, 90) # 1) WHERE id = $1",
        ),
    ];
    let world = BankWorld::new().await;
    let tenant = world.tenant("cell-bank").await;
    let elsewhere = world.tenant("far-bank").await;
    world.customer(&elsewhere, None).await;
    world.customer(&tenant, None).await;
    world.run_sql("ALTER TABLE subject_keys DISABLE TRIGGER USER", &[]).await;
    let told = "SELECT severity::text, details ->> 'table', details ->> 'column', details ->> 'reason' FROM audit_log \
                WHERE tenant_id = $1 AND action = 'field.open'";
    for (name, change) in moves {
        let victim = world.customer(&tenant, None).await;
        world.run_sql(change, &[&victim.id]).await;
        let look = ReadCustomer { keyring: Arc::clone(&world.keyring), customer_id: victim.id };
        let call =
            operation::Call { context: tenant.clone(), idempotency_key: None, command: look };
        match world.operations.run_one(call).await {
            Err(OperationError::Database(error)) => {
                let text = error.to_string();
                assert!(
                    text.contains(&victim.id.to_string()) && text.contains("does not open"),
                    "{name}: {text}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
        // Each is told in the log by its cell, and once.
        for count in [1, 0] {
            let written = operation::tell_unopened(&world.app, &world.keyring, &tenant).await;
            assert_eq!(written.unwrap(), count, "{name}");
            let look = ReadCustomer { keyring: Arc::clone(&world.keyring), customer_id: victim.id };
            let call =
                operation::Call { context: tenant.clone(), idempotency_key: None, command: look };
            assert!(world.operations.run_one(call).await.is_err(), "{name}");
        }
        let rows = world.superuser.query(told, &[&tenant.tenant_id()]).await.unwrap();
        let cells: Vec<[String; 4]> =
            rows.iter().map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)]).collect();
        let expected = match name {
            "another tenant" | "another row" => {
                ["critical", "customers", "first_name", "foreign_key"]
            }
            "another person's key" => ["critical", "subject_keys", "wrapped_key", "key_unopenable"],
            _ => ["critical", "customers", "first_name", "altered_or_moved"],
        };
        assert!(cells.contains(&expected.map(str::to_owned)), "{name}: {cells:?}");
    }
}

#[tokio::test]
async fn an_inactive_customer_gets_no_account() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("idle-bank").await;
    let customer = world.customer(&tenant, None).await;
    let change =
        CustomerChange { status: Some(CustomerStatus::Inactive), ..CustomerChange::default() };
    let update = UpdateCustomer {
        keyring: Arc::clone(&world.keyring),
        customer_id: customer.id,
        expected_version: Some(1),
        change,
    };
    world.run(&tenant, update).await.unwrap();
    let open = OpenAccount { account: NewAccount::plain(customer.id, "EUR".parse().unwrap()) };
    assert_eq!(world.run(&tenant, open).await.unwrap_err().code, "customer_inactive");
}
