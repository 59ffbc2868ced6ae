//! Loads a plan in chunks, each one audited operation: records, their source ids
//! and the audit event commit together, so a run that is killed at any moment goes
//! on where it stopped and loads nothing twice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use access::Permission;
use audit::{AuditEvent, EventType};
use jiff::civil::Date;
use ledger::{InternalAccount, Posting, TransactionType, TransferKind, posting::post_whole};
use money::Currency;
use operation::{
    Applied, Call, Command, OperationError, Operations, Refusal, RefusalKind, command::Outcome,
    event,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx, keyring::Keyring};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Plan,
    plan::{PlannedAccount, PlannedCustomer, PlannedTransaction},
    reconcile::imported,
};
use crate::{
    AccountType, CustomerType, NewAccount, NewCustomer, Party, PartyRole, PersonalData,
    accounts::{self, Opening},
    customers,
    movements::business_date,
};

const IMPORTED_OF: &str = tenancy::sql!("banking/import.sql", "imported_of");
const REMEMBER: &str = tenancy::sql!("banking/import.sql", "remember");

/// Movements a transaction: large enough to pay for its round trips, small enough
/// that a kill loses little work.
const MOVEMENTS_A_CHUNK: usize = 1_000;
/// Customers and accounts a transaction.
const RECORDS_A_CHUNK: usize = 200;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `customers`, `accounts` or `transactions`.
    pub kind: &'static str,
    /// Records done, those of earlier runs included.
    pub done: usize,
    /// Records in the plan.
    pub total: usize,
}

/// What one run loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Customers made now.
    pub customers: usize,
    /// Accounts opened now.
    pub accounts: usize,
    /// Movements posted now.
    pub transactions: usize,
    /// Records that an earlier run had loaded.
    pub already_loaded: usize,
    /// Movements that the ledger refused: source id and reason.
    pub refused: Vec<(String, String)>,
}

/// What to load, and what loading needs.
#[derive(Clone)]
pub struct Import<'a> {
    /// The map's source name.
    pub source: &'a str,
    /// The files' content.
    pub plan: &'a Plan,
    /// Seals personal data.
    pub keyring: Arc<Keyring>,
}

/// Loads what is not loaded yet, customers before accounts before movements.
pub async fn load(
    operations: &Operations,
    context: &OpContext,
    import: &Import<'_>,
    mut progress: impl FnMut(Progress),
) -> Result<Loaded, OperationError> {
    let mut loaded = Loaded::default();
    let run = Run { operations, context, import };
    run.customers(&mut loaded, &mut progress).await?;
    run.accounts(&mut loaded, &mut progress).await?;
    run.transactions(&mut loaded, &mut progress).await?;
    Ok(loaded)
}

struct Run<'a> {
    operations: &'a Operations,
    context: &'a OpContext,
    import: &'a Import<'a>,
}

impl Run<'_> {
    async fn customers(
        &self,
        loaded: &mut Loaded,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), OperationError> {
        let plan = &self.import.plan.customers;
        let known = self.imported("customer").await?;
        loaded.already_loaded += known.len();
        let left: Vec<_> =
            plan.iter().filter(|one| !known.contains_key(&one.source_id)).cloned().collect();
        for chunk in left.chunks(RECORDS_A_CHUNK) {
            let make = |customers| ImportCustomers {
                source: self.import.source.to_owned(),
                customers,
                keyring: Arc::clone(&self.import.keyring),
            };
            loaded.customers += self.chunk(chunk.to_vec(), &make, loaded).await?;
            progress(Progress {
                kind: "customers",
                done: known.len() + loaded.customers,
                total: plan.len(),
            });
        }
        Ok(())
    }

    async fn accounts(
        &self,
        loaded: &mut Loaded,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), OperationError> {
        let plan = &self.import.plan.accounts;
        let customers = self.imported("customer").await?;
        let known = self.imported("account").await?;
        loaded.already_loaded += known.len();
        let mut left = Vec::new();
        for account in plan.iter().filter(|one| !known.contains_key(&one.source_id)) {
            match self.opening(account, &customers) {
                Ok(new) => left.push((account.source_id.clone(), new)),
                Err(reason) => loaded.refused.push((account.source_id.clone(), reason)),
            }
        }
        for chunk in left.chunks(RECORDS_A_CHUNK) {
            let make =
                |accounts| ImportAccounts { source: self.import.source.to_owned(), accounts };
            loaded.accounts += self.chunk(chunk.to_vec(), &make, loaded).await?;
            progress(Progress {
                kind: "accounts",
                done: known.len() + loaded.accounts,
                total: plan.len(),
            });
        }
        Ok(())
    }

    async fn transactions(
        &self,
        loaded: &mut Loaded,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), OperationError> {
        let plan = &self.import.plan.transactions;
        let accounts = self.imported("account").await?;
        let known = self.imported("transaction").await?;
        loaded.already_loaded += known.len();
        let mut left = Vec::new();
        for movement in plan.iter().filter(|one| !known.contains_key(&one.source_id)) {
            match accounts.get(&movement.account) {
                Some(account) => left.push((*account, movement.clone())),
                None => loaded
                    .refused
                    .push((movement.source_id.clone(), "its account was not loaded".to_owned())),
            }
        }
        for chunk in left.chunks(MOVEMENTS_A_CHUNK) {
            let command = ImportTransactions {
                source: self.import.source.to_owned(),
                currency: self.import.plan.currency,
                movements: chunk.to_vec(),
            };
            let done = self.operations.run_one(self.call(command)).await?.output;
            loaded.transactions += done.imported;
            loaded.refused.extend(done.refused);
            let done = known.len() + loaded.transactions;
            progress(Progress { kind: "transactions", done, total: plan.len() });
        }
        Ok(())
    }

    /// Loads records in one operation; where a rule refuses it, in halves, down to
    /// the record at fault.
    async fn chunk<T: Clone + Named, C: Command<Output = ChunkLoaded>>(
        &self,
        records: Vec<T>,
        make: &impl Fn(Vec<T>) -> C,
        loaded: &mut Loaded,
    ) -> Result<usize, OperationError> {
        let mut imported = 0;
        let mut parts = vec![records];
        while let Some(part) = parts.pop() {
            match self.operations.run_one(self.call(make(part.clone()))).await {
                Ok(reply) => imported += reply.output.imported,
                // Only a rule can be some record's fault; anything else stops the run.
                Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::Rule => {
                    match part.as_slice() {
                        [one] => loaded.refused.push((one.name().to_owned(), reason(&refusal))),
                        many => {
                            let (left, right) = many.split_at(many.len() / 2);
                            parts.extend([right.to_vec(), left.to_vec()]);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(imported)
    }

    fn opening(
        &self,
        planned: &PlannedAccount,
        customers: &HashMap<String, Uuid>,
    ) -> Result<Opening, String> {
        let customer = |source_id: &str| {
            customers
                .get(source_id)
                .copied()
                .ok_or_else(|| format!("its customer {source_id} was not loaded"))
        };
        let parties = planned.others.iter().map(|(source_id, role)| {
            let party_role = PartyRole::ALL.into_iter().find(|known| known.as_str() == role);
            let party_role = party_role.ok_or_else(|| format!("{role:?} is no role"))?;
            Ok(Party { customer_id: customer(source_id)?, party_role })
        });
        let account_type =
            AccountType::ALL.into_iter().find(|known| known.as_str() == planned.account_type);
        let account = NewAccount {
            account_type: account_type
                .ok_or_else(|| format!("{:?} is no account type", planned.account_type))?,
            overdraft_limit: planned.overdraft_limit,
            parties: parties.collect::<Result<_, String>>()?,
            ..NewAccount::plain(customer(&planned.owner)?, self.import.plan.currency)
        };
        Ok(Opening { account, opened_date: planned.opened_date, account_number: None })
    }

    async fn imported(&self, kind: &str) -> Result<HashMap<String, Uuid>, DbError> {
        imported(self.operations.database(), self.context, self.import.source, kind).await
    }

    fn call<C>(&self, command: C) -> Call<C> {
        Call { context: self.context.clone(), idempotency_key: None, command }
    }
}

/// A refusal with the fields at fault.
fn reason(refusal: &Refusal) -> String {
    let fields: Vec<_> =
        refusal.errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    if fields.is_empty() { refusal.to_string() } else { fields.join("; ") }
}

/// What one chunk did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChunkLoaded {
    imported: usize,
    refused: Vec<(String, String)>,
}

/// A record with a source id.
trait Named {
    fn name(&self) -> &str;
}

impl Named for PlannedCustomer {
    fn name(&self) -> &str {
        &self.source_id
    }
}

impl Named for (String, Opening) {
    fn name(&self) -> &str {
        &self.0
    }
}

struct ImportCustomers {
    source: String,
    customers: Vec<PlannedCustomer>,
    keyring: Arc<Keyring>,
}

struct ImportAccounts {
    source: String,
    accounts: Vec<(String, Opening)>,
}

struct ImportTransactions {
    source: String,
    currency: Currency,
    movements: Vec<(Uuid, PlannedTransaction)>,
}

impl Command for ImportCustomers {
    const NAME: &'static str = "import.customers";
    const RESOURCE: &'static str = "customer";
    type Output = ChunkLoaded;

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<ChunkLoaded> {
        let ids: Vec<&str> = self.customers.iter().map(|one| one.source_id.as_str()).collect();
        let done = already(transaction, &self.source, "customer", &ids).await?;
        let mut chunk = Chunk::new(&self.source, "customer");
        let today = business_date(context)?;
        let (mut source_ids, mut new) = (Vec::new(), Vec::new());
        for planned in self.customers.iter().filter(|one| !done.contains(&one.source_id)) {
            let personal = PersonalData {
                first_name: Some(planned.first_name.clone()),
                last_name: Some(planned.last_name.clone()),
                date_of_birth: planned.date_of_birth,
                tax_id: planned.tax_id.clone(),
                ..PersonalData::default()
            };
            personal.check(CustomerType::Individual, today)?;
            let customer =
                NewCustomer { customer_type: CustomerType::Individual, personal, user_id: None };
            source_ids.push(&planned.source_id);
            new.push(customer);
        }
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        for (source_id, record) in
            source_ids.iter().zip(customers::store(transaction, context, &keys, &new).await?)
        {
            chunk.add(source_id, record.id);
        }
        let record = chunk.record(context, Self::NAME, Self::RESOURCE);
        chunk.finish(transaction, record).await
    }
}

impl Command for ImportAccounts {
    const NAME: &'static str = "import.accounts";
    const RESOURCE: &'static str = "account";
    type Output = ChunkLoaded;

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<ChunkLoaded> {
        let ids: Vec<&str> =
            self.accounts.iter().map(|(source_id, _)| source_id.as_str()).collect();
        let done = already(transaction, &self.source, "account", &ids).await?;
        let mut chunk = Chunk::new(&self.source, "account");
        let left: Vec<_> =
            self.accounts.iter().filter(|(source_id, _)| !done.contains(source_id)).collect();
        let openings: Vec<Opening> = left.iter().map(|(_, opening)| opening.clone()).collect();
        for opening in &openings {
            opening.account.check()?;
        }
        let ids = accounts::store(transaction, context, &openings).await?;
        for ((source_id, _), id) in left.iter().zip(ids) {
            chunk.add(source_id, id);
        }
        let record = chunk.record(context, Self::NAME, Self::RESOURCE);
        chunk.finish(transaction, record).await
    }
}

impl Command for ImportTransactions {
    const NAME: &'static str = "import.transactions";
    const RESOURCE: &'static str = "transfer";
    type Output = ChunkLoaded;

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<ChunkLoaded> {
        let ids: Vec<&str> = self.movements.iter().map(|(_, one)| one.source_id.as_str()).collect();
        let done = already(transaction, &self.source, "transaction", &ids).await?;
        let left: Vec<_> =
            self.movements.iter().filter(|(_, one)| !done.contains(&one.source_id)).collect();
        let counterpart = ledger::accounts::internal(
            transaction,
            &context.clock,
            InternalAccount::OpeningBalance,
            self.currency,
        );
        let counterpart = counterpart.await?;
        let booking_date = business_date(context)?;
        let postings: Vec<Posting> = left
            .iter()
            .map(|(account, planned)| {
                posting(context, self.currency, (*account, counterpart), planned, booking_date)
            })
            .collect();
        let mut chunk = Chunk::new(&self.source, "transaction");
        let posted = post_whole(transaction, &context.clock, &postings, |results| {
            for ((posting, (_, planned)), result) in postings.iter().zip(&left).zip(results) {
                match result {
                    Ok(_) => chunk.add_movement(posting, planned),
                    Err(error) => {
                        chunk.loaded.refused.push((planned.source_id.clone(), error.to_string()));
                    }
                }
            }
            chunk.record(context, Self::NAME, Self::RESOURCE)
        });
        let (_, record) = posted.await?;
        chunk.finish(transaction, record).await
    }
}

/// A movement between the account and the bank's counterpart of imported history.
fn posting(
    context: &OpContext,
    currency: Currency,
    (account, counterpart): (Uuid, Uuid),
    planned: &PlannedTransaction,
    booking_date: Date,
) -> Posting {
    let amount = planned.amount.abs();
    let legs = if planned.amount > 0 {
        let (from, to) = (TransactionType::TransferOut, TransactionType::Deposit);
        Posting::two_legs((counterpart, from), (account, to), amount)
    } else {
        let (from, to) = (TransactionType::Withdrawal, TransactionType::TransferIn);
        Posting::two_legs((account, from), (counterpart, to), amount)
    };
    Posting {
        transfer_id: context.clock.new_id(),
        kind: TransferKind::Import,
        amount,
        currency,
        legs,
        description: planned.description.chars().take(140).collect(),
        reference: Some(planned.reference.chars().take(140).collect())
            .filter(|text: &String| !text.is_empty()),
        value_date: planned.value_date,
        booking_date,
        posted_at: context.clock.now(),
        created_by: context.actor.id,
        reverses_transfer_id: None,
        // The plan gave every account the overdraft its history needs: the limit holds.
        waive_limits: false,
    }
}

/// The source ids that are loaded already, as of this transaction.
async fn already(
    transaction: &TenantTx,
    source: &str,
    kind: &str,
    ids: &[&str],
) -> Result<HashSet<String>, DbError> {
    let rows =
        transaction.query(IMPORTED_OF, &[&transaction.tenant(), &source, &kind, &ids]).await?;
    rows.iter().map(|row| Ok(row.try_get("source_id")?)).collect()
}

/// What a chunk has made, until it is remembered.
struct Chunk<'a> {
    source: &'a str,
    kind: &'static str,
    source_ids: Vec<String>,
    object_ids: Vec<Uuid>,
    digests: Vec<Value>,
    loaded: ChunkLoaded,
}

impl<'a> Chunk<'a> {
    fn new(source: &'a str, kind: &'static str) -> Self {
        Self {
            source,
            kind,
            source_ids: Vec::new(),
            object_ids: Vec::new(),
            digests: Vec::new(),
            loaded: ChunkLoaded::default(),
        }
    }

    fn add(&mut self, source_id: &str, object_id: Uuid) {
        self.source_ids.push(source_id.to_owned());
        self.object_ids.push(object_id);
    }

    /// Movements have one audit record a chunk, with a digest each, so that every
    /// one stays provable without a record of its own.
    fn add_movement(&mut self, posting: &Posting, planned: &PlannedTransaction) {
        let content = format!(
            "{} {} {} {} {}",
            posting.transfer_id,
            planned.source_id,
            planned.amount,
            posting.currency,
            posting.value_date
        );
        self.digests
            .push(json!([posting.transfer_id, hexadecimal(&vault::sha256(content.as_bytes()))]));
        self.add(&planned.source_id, posting.transfer_id);
    }

    /// What the log says of the chunk, once it is whole.
    fn record(
        &mut self,
        context: &OpContext,
        name: &'static str,
        resource: &'static str,
    ) -> AuditEvent {
        let mut details = json!({
            "source": self.source,
            "imported": self.source_ids.len(),
            "refused": self.loaded.refused.len(),
        });
        let record = if self.kind == "transaction" {
            details["digests"] = Value::Array(std::mem::take(&mut self.digests));
            event(context, EventType::LedgerPosting, name, resource)
        } else {
            details["object_ids"] = json!(self.object_ids);
            event(context, EventType::AdminAction, name, resource)
        };
        let record = if self.kind == "customer" { record.personal_fields() } else { record };
        record.details(details)
    }

    async fn finish(mut self, transaction: &TenantTx, record: AuditEvent) -> Outcome<ChunkLoaded> {
        self.loaded.imported = self.source_ids.len();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&transaction.tenant(), &self.source, &self.kind, &self.source_ids, &self.object_ids];
        transaction.execute(REMEMBER, &parameters).await?;
        Ok(Applied { output: self.loaded, status: 200, events: vec![record] })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
