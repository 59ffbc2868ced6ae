//! Owns the money of a load driver's installation: customers with accounts and a
//! little history, made by one audited operation a chunk, through the same ledger
//! engine as everything else. The living demo is [`super::demo`]'s.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType};
use banking::accounts::{self, Opening};
use banking::{CustomerType, NewAccount, NewCustomer, PersonalData, customers};
use jiff::ToSpan as _;
use ledger::{InternalAccount, Posting, TransactionType, TransferKind, posting::post_whole};
use money::Currency;
use operation::{Applied, Call, Command, Refusal, command::Outcome, event};
use serde_json::json;
use tenancy::keyring::Keyring;
use tenancy::{ActorKind, DbError, OpContext, Query, TenantRef, TenantTx};
use uuid::Uuid;

use super::digest::digests_of;
use super::ready::{Manifest, ManifestUser};
use crate::cli::progress::Progress;
use crate::cli::tenant::refused;
use crate::compose::Installation;

const OWNED_ACCOUNTS: &str = tenancy::sql!("server/manifest.sql", "owned_accounts");
const WITHOUT_RECORD: &str = tenancy::sql!("server/manifest.sql", "customers_without_record");

/// Currency of every seeded account.
const CURRENCY: &str = "EUR";
/// Accounts were opened so many days ago.
const HISTORY_DAYS: i64 = 90;

/// What every seeded customer gets.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Accounts of each customer.
    pub(super) accounts: usize,
    /// The entries of each account: days ago, minor units (negative is taken out), text.
    pub(super) history: &'static [(i64, i64, &'static str)],
    /// Customers of one operation: keeps a transaction near a thousand accounts.
    pub(super) customers_a_chunk: usize,
}

/// Three months of somebody's life; ends at 2,471.65.
pub(super) const BRIEF: Plan = Plan {
    accounts: 2,
    history: &[
        (88, 150_000, "Opening deposit"),
        (80, -62_000, "Rent"),
        (71, -8_435, "Groceries"),
        (62, -4_990, "Telephone"),
        (53, 240_000, "Salary"),
        (44, -12_700, "Electricity"),
        (33, -9_350, "Groceries"),
        (22, -31_960, "Train tickets"),
        (11, -23_400, "Dentist"),
        (2, 10_000, "Refund"),
    ],
    customers_a_chunk: 50,
};

/// Large balances, so that no load driver runs dry: 10,000,000.00 each.
pub(super) const LOAD: Plan = Plan {
    accounts: 100,
    history: &[(30, 1_000_000_000, "Opening deposit")],
    customers_a_chunk: 10,
};

/// Gives every login of the role customer that is no customer yet its record,
/// accounts and history. Repeatable: a start that was killed goes on here.
pub(super) async fn seed(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    plan: Plan,
) -> anyhow::Result<()> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let rows = installation
        .app
        .read(&context, &[Query::new(WITHOUT_RECORD, &[&context.tenant_id()])])
        .await?;
    let people = rows
        .concat_rows()
        .map(|row| Ok((row.try_get("id")?, row.try_get("username")?)))
        .collect::<Result<Vec<(Uuid, String)>, tokio_postgres::Error>>()?;
    let progress = Progress::new("seeding customers", people.len() as u64);
    for (number, chunk) in people.chunks(plan.customers_a_chunk).enumerate() {
        let command = SeedCustomers {
            keyring: Arc::clone(&installation.keyring),
            people: chunk.to_vec(),
            plan,
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        installation.operations.run_one(call).await.map_err(refused)?;
        progress.set(((number + 1) * plan.customers_a_chunk).min(people.len()) as u64);
    }
    Ok(())
}

/// Who owns what, for load drivers.
pub(super) async fn manifest(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    password: &str,
) -> anyhow::Result<Manifest> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let rows = installation
        .app
        .read(&context, &[Query::new(OWNED_ACCOUNTS, &[&context.tenant_id()])])
        .await?;
    let users = rows
        .concat_rows()
        .map(|row| {
            Ok(ManifestUser {
                username: row.try_get("username")?,
                accounts: row.try_get("accounts")?,
            })
        })
        .collect::<Result<_, tokio_postgres::Error>>()?;
    Ok(Manifest {
        tenant: tenant.slug.clone(),
        password: password.to_owned(),
        currency: CURRENCY.to_owned(),
        users,
    })
}

/// The rows of the one statement that was asked.
trait ConcatRows {
    fn concat_rows(&self) -> impl Iterator<Item = &tokio_postgres::Row>;
}

impl ConcatRows for Vec<Vec<tokio_postgres::Row>> {
    fn concat_rows(&self) -> impl Iterator<Item = &tokio_postgres::Row> {
        self.iter().flatten()
    }
}

/// Customers with accounts and history, made by the system itself.
struct SeedCustomers {
    keyring: Arc<Keyring>,
    people: Vec<(Uuid, String)>,
    plan: Plan,
}

impl Command for SeedCustomers {
    const NAME: &'static str = "development.seed_customers";
    const RESOURCE: &'static str = "customer";
    type Output = usize;

    fn permission(&self) -> Permission {
        Permission::CustomerCreate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<usize> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let new: Vec<_> = self.people.iter().map(|(user, name)| customer(*user, name)).collect();
        let records = customers::store(transaction, context, &keys, &new).await?;
        let today = banking::movements::business_date(context)?;
        let currency = currency()?;
        let openings: Vec<_> = records
            .iter()
            .flat_map(|record| std::iter::repeat_n(record.id, self.plan.accounts))
            .map(|customer| Opening {
                account: NewAccount::plain(customer, currency),
                opened_date: today.saturating_sub(HISTORY_DAYS.days()),
                account_number: None,
            })
            .collect();
        let accounts = accounts::store(transaction, context, &openings).await?;
        let seeded = event(context, EventType::LedgerPosting, Self::NAME, Self::RESOURCE)
            .personal_fields()
            .details(json!({ "customers": records.len(), "accounts": accounts.len() }));
        let posted = self.post(transaction, context, &accounts, currency).await?;
        Ok(Applied { output: records.len(), status: 201, events: vec![seeded, posted] })
    }
}

impl SeedCustomers {
    async fn post(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        accounts: &[Uuid],
        currency: Currency,
    ) -> Result<AuditEvent, operation::Failure> {
        let cash = ledger::accounts::internal(
            transaction,
            &context.clock,
            InternalAccount::Cash,
            currency,
        )
        .await?;
        let today = banking::movements::business_date(context)?;
        let mut batch = Vec::with_capacity(accounts.len() * self.plan.history.len());
        for (days_ago, amount, text) in self.plan.history {
            let date = today.saturating_sub(days_ago.days());
            batch.extend(accounts.iter().map(|&account| {
                let is_deposit = *amount > 0;
                let kind =
                    if is_deposit { TransferKind::Deposit } else { TransferKind::Withdrawal };
                let entry =
                    if is_deposit { TransactionType::Deposit } else { TransactionType::Withdrawal };
                let (from, to) = if is_deposit { (cash, account) } else { (account, cash) };
                Posting {
                    transfer_id: context.clock.new_id(),
                    kind,
                    amount: amount.abs(),
                    currency,
                    legs: Posting::two_legs((from, entry), (to, entry), amount.abs()),
                    description: (*text).to_owned(),
                    reference: None,
                    value_date: date,
                    booking_date: date,
                    posted_at: context.clock.now(),
                    created_by: context.actor.id,
                    reverses_transfer_id: None,
                    waive_limits: false,
                }
            }));
        }
        let record = event(context, EventType::LedgerPosting, Self::NAME, "transfer")
            .details(digests_of(&batch));
        let posted = post_whole(transaction, &context.clock, &batch, |_| record);
        let (results, record) = posted.await?;
        for result in results {
            result.map_err(|error| Refusal::rule("seed_refused", "history", error.to_string()))?;
        }
        Ok(record)
    }
}

fn currency() -> Result<Currency, DbError> {
    CURRENCY.parse().map_err(|_| DbError::Corrupt(format!("{CURRENCY} is no currency")))
}

fn customer(user: Uuid, username: &str) -> NewCustomer {
    let (first, rest) = username.split_at(username.len().min(1));
    let personal = PersonalData {
        first_name: Some(format!("{}{rest}", first.to_uppercase())),
        last_name: Some("Demo".to_owned()),
        email: Some(format!("{username}@customers.example")),
        ..PersonalData::default()
    };
    NewCustomer { customer_type: CustomerType::Individual, personal, user_id: Some(user) }
}
