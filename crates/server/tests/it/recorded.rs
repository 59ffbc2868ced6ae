//! No movement without its record: what the triggers of migration 0027 refuse, whoever asks
//! and however. That nothing of ours is refused by them every other test of money shows.

use ledger::{Leg, Posting, TransactionType, TransferKind};
use tenancy::Clock;
use testkit::connect;
use tokio_postgres::{Client, error::SqlState};
use uuid::Uuid;

use crate::bank_world::{BankWorld, transfer};

/// Who holds the pen.
const HANDS: [(&str, &str); 4] = [
    ("strongroom_app", ""),
    ("strongroom_owner", ""),
    ("superuser", ""),
    ("superuser", "SET session_replication_role = replica;"),
];

fn new_id() -> Uuid {
    Clock::System.new_id()
}

struct Bank {
    world: BankWorld,
    tenant: tenancy::OpContext,
    from: Uuid,
    to: Uuid,
    /// A movement that was made as it should be.
    made: Uuid,
}

impl Bank {
    async fn new() -> Self {
        let world = BankWorld::new().await;
        let tenant = world.tenant("recorded-bank").await;
        let (person, customer) = world.banking_customer(&tenant).await;
        let from = world.account(&tenant, customer.id, 500).await.id;
        let to = world.account(&tenant, customer.id, 0).await.id;
        let made = world.run(&person, transfer(from, to, 200)).await.unwrap().id;
        Self { world, tenant, from, to, made }
    }

    async fn hand(&self, role: &str, settings: &str) -> Client {
        let url = match role {
            "superuser" => self.world.database.superuser_url(),
            role => self.world.database.url_as(role),
        };
        let client = connect(&url).await;
        let tenant = self.tenant.tenant_id();
        let settings = format!(
            "{settings} SET app.current_tenant = '{tenant}'; SET app.current_user_id = '*'"
        );
        client.batch_execute(&settings).await.unwrap();
        client
    }

    fn transfer(&self, id: Uuid) -> String {
        format!(
            "INSERT INTO transfers (tenant_id, id, kind, amount, currency, from_account_id, to_account_id, \
                 value_date, booking_date, posted_at, created_by) \
             SELECT tenant_id, '{id}', kind, amount, currency, from_account_id, to_account_id, value_date, \
                 booking_date, posted_at, created_by FROM transfers WHERE id = '{}'",
            self.made
        )
    }

    fn record(
        tenant: Uuid,
        resource: Option<Uuid>,
        kind: &str,
        digested: &[Uuid],
    ) -> (Uuid, String) {
        let id = new_id();
        let resource = resource.map_or("NULL".to_owned(), |id| format!("'{id}'"));
        let digests: Vec<_> = digested.iter().map(|id| serde_json::json!([id, "00"])).collect();
        let details = serde_json::json!({ "digests": digests });
        let sql = format!(
            "INSERT INTO audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, actor_kind, \
                 action, resource_type, resource_id, compliance_flags, details, record) \
             VALUES ('{tenant}', '{id}', now(), '{kind}', 'medium', 'success', 'cli', 'a', 'transfer', {resource}, \
                 '{{}}', '{details}', '\\x00')"
        );
        (id, sql)
    }

    fn entry(&self, transfer: Uuid, account: Uuid, amount: i64) -> String {
        format!(
            "('{}', '{}', '{account}', '{transfer}', {}, 'transfer_in', {amount}, 0, '2026-03-01', now())",
            self.tenant.tenant_id(),
            new_id(),
            new_id().as_u128() % 1_000_000_007 + 1_000,
        )
    }

    fn entries(&self, transfer: Uuid, sides: &[(Uuid, i64)]) -> String {
        let rows: Vec<_> =
            sides.iter().map(|(account, amount)| self.entry(transfer, *account, *amount)).collect();
        format!(
            "INSERT INTO transactions (tenant_id, transaction_id, account_id, transfer_id, account_sequence, \
                 transaction_type, amount, balance_after, transaction_date, posted_date) VALUES {}",
            rows.join(", ")
        )
    }
}

/// What a hand writes in one transaction, and whether the database takes it.
async fn writes(client: &Client, statements: &[String]) -> Result<(), (SqlState, String)> {
    let whole = format!("BEGIN; {}; COMMIT", statements.join("; "));
    let written = client.batch_execute(&whole).await;
    if written.is_err() {
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    written.map_err(|error| {
        let error = error.as_db_error().unwrap();
        (error.code().clone(), error.message().to_owned())
    })
}

#[tokio::test]
async fn a_movement_without_a_record_is_refused_to_every_hand() {
    let bank = Bank::new().await;
    let before = bank.world.dump().await;
    for (role, settings) in HANDS {
        let client = bank.hand(role, settings).await;
        let id = new_id();
        let whole = [bank.transfer(id), bank.entries(id, &[(bank.from, -200), (bank.to, 200)])];
        let (state, message) = writes(&client, &whole).await.unwrap_err();
        assert_eq!(state, SqlState::INSUFFICIENT_PRIVILEGE, "{role} {settings}: {message}");
        assert!(message.contains("has no record in the audit log"), "{role} {settings}: {message}");
    }
    // Nor to a connection that acts for nobody, though the record is there.
    let client = connect(&bank.world.database.superuser_url()).await;
    let id = new_id();
    let (_, record) = Bank::record(bank.tenant.tenant_id(), Some(id), "ledger_posting", &[]);
    writes(&client, &[record, bank.transfer(id)]).await.unwrap_err();
    assert_eq!(bank.world.dump().await, before);
}

#[tokio::test]
async fn only_a_record_of_that_movement_in_that_tenant_counts() {
    let bank = Bank::new().await;
    let tenant = bank.tenant.tenant_id();
    let other = bank.world.tenant("other-bank").await.tenant_id();
    let client = bank.hand("superuser", "").await;
    let named = |id: Uuid| format!("SELECT set_config('app.posting_record', '{id}', true)");
    let id = new_id;
    let elsewhere = id();
    let (foreign, of_others) = Bank::record(other, None, "ledger_posting", &[elsewhere]);
    let missing = id();
    let (partial, of_some) = Bank::record(tenant, None, "ledger_posting", &[id(), id()]);
    let (access, of_access) = Bank::record(tenant, None, "api_access", &[id()]);
    let wrong = id();
    let cases: [(&str, Uuid, Vec<String>); 7] = [
        (
            "another movement's",
            wrong,
            vec![Bank::record(tenant, Some(id()), "ledger_posting", &[]).1],
        ),
        ("of another kind", wrong, vec![Bank::record(tenant, Some(wrong), "api_access", &[]).1]),
        (
            "another tenant's",
            wrong,
            vec![Bank::record(other, Some(wrong), "ledger_posting", &[]).1],
        ),
        ("a batch of another tenant", elsewhere, vec![of_others, named(foreign)]),
        ("a batch that does not name it", missing, vec![of_some, named(partial)]),
        ("a batch of another kind", missing, vec![of_access, named(access)]),
        ("a batch that is nowhere", missing, vec![named(id())]),
    ];
    for (case, id, mut statements) in cases {
        statements.push(bank.transfer(id));
        let refused = writes(&client, &statements).await.unwrap_err();
        assert!(refused.1.contains("has no record"), "{case}: {refused:?}");
    }
    // The table of cases can be right: with its own record, alone or in a batch, it is taken.
    for batch in [false, true] {
        let id = new_id();
        let resource = (!batch).then_some(id);
        let (event, record) = Bank::record(tenant, resource, "ledger_posting", &[id]);
        let mut statements = vec![record];
        if batch {
            statements.push(named(event));
        }
        statements.push(bank.transfer(id));
        writes(&client, &statements).await.unwrap();
    }
}

#[tokio::test]
async fn entries_come_whole_behind_their_transfer_and_never_later() {
    let bank = Bank::new().await;
    let tenant = bank.tenant.tenant_id();
    for (role, settings) in HANDS {
        let client = bank.hand(role, settings).await;
        let id = new_id();
        let new = |sides: &[(Uuid, i64)]| {
            let (_, record) = Bank::record(tenant, Some(id), "ledger_posting", &[]);
            vec![record, bank.transfer(id), bank.entries(id, sides)]
        };
        let cases: [(&str, Vec<String>); 4] = [
            ("one side", new(&[(bank.to, 200)])),
            ("more than was taken", new(&[(bank.from, -200), (bank.to, 201)])),
            ("of no transfer", vec![bank.entries(new_id(), &[(bank.from, -200), (bank.to, 200)])]),
            (
                "to one that is whole",
                vec![bank.entries(bank.made, &[(bank.from, -200), (bank.to, 200)])],
            ),
        ];
        for (case, statements) in cases {
            let (state, message) = writes(&client, &statements).await.unwrap_err();
            assert_eq!(
                state,
                SqlState::INSUFFICIENT_PRIVILEGE,
                "{role} {settings} {case}: {message}"
            );
            assert!(message.contains("all at once"), "{role} {settings} {case}: {message}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_many_has_one_record_and_a_refused_one_leaves_no_other() {
    let bank = Bank::new().await;
    let posting = |amount: i64| Posting {
        transfer_id: bank.world.clock.new_id(),
        kind: TransferKind::Transfer,
        amount,
        currency: "EUR".parse().unwrap(),
        legs: vec![
            Leg {
                account_id: bank.from,
                amount: -amount,
                transaction_type: TransactionType::TransferOut,
            },
            Leg { account_id: bank.to, amount, transaction_type: TransactionType::TransferIn },
        ],
        description: String::new(),
        reference: None,
        value_date: jiff::civil::date(2026, 3, 1),
        booking_date: jiff::civil::date(2026, 3, 1),
        posted_at: bank.world.clock.now(),
        created_by: bank.tenant.actor.id,
        reverses_transfer_id: None,
        waive_limits: false,
    };
    let batch = [posting(1), posting(9_999), posting(2)];
    let transaction = bank.world.app.begin(&bank.tenant).await.unwrap();
    let posted = ledger::posting::post_whole(&transaction, &bank.world.clock, &batch, |results| {
        let digests: Vec<_> = (batch.iter().zip(results))
            .filter(|(_, result)| result.is_ok())
            .map(|(posting, _)| serde_json::json!([posting.transfer_id, "00"]))
            .collect();
        operation::event(&bank.tenant, audit::EventType::LedgerPosting, "a.batch", "transfer")
            .details(serde_json::json!({ "digests": digests }))
    });
    let (results, record) = posted.await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(record.is_recorded());
    transaction.commit().await.unwrap();
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'a.batch'";
    let count: i64 = bank.world.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
    bank.world.assert_books_are_right(&bank.tenant).await;
    // A batch whose record forgets one movement is refused whole.
    let before = bank.world.dump().await;
    let batch = [posting(1), posting(2)];
    let transaction = bank.world.app.begin(&bank.tenant).await.unwrap();
    let posted = ledger::posting::post_whole(&transaction, &bank.world.clock, &batch, |_| {
        operation::event(&bank.tenant, audit::EventType::LedgerPosting, "a.batch", "transfer")
            .details(serde_json::json!({ "digests": [[batch[0].transfer_id, "00"]] }))
    });
    assert!(posted.await.unwrap_err().to_string().contains("has no record"));
    drop(transaction);
    assert_eq!(bank.world.dump().await, before);
}
