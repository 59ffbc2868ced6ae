//! The running proof: walks a tenant's books and recomputes every sum.
//!
//! It needs no more than SELECT, so it runs as any role that may read, beside live
//! traffic: each page is one statement and thus one snapshot. It refuses to mend
//! anything: what it finds is for people.

use std::collections::BTreeMap;

use serde::Serialize;
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::Row;
use uuid::Uuid;

const COUNTS: &str = tenancy::sql!("ledger/verify.sql", "counts");
const TOTALS: &str = tenancy::sql!("ledger/verify.sql", "totals");
const ACCOUNTS: &str = tenancy::sql!("ledger/verify.sql", "accounts");
const TRANSFERS: &str = tenancy::sql!("ledger/verify.sql", "transfers");
const ORPHANS: &str = tenancy::sql!("ledger/verify.sql", "orphans");
const CAPTURES: &str = tenancy::sql!("ledger/verify.sql", "captures");

/// Accounts of a page: their entries are all read, so it is kept small.
const ACCOUNTS_PAGE: i64 = 200;
const TRANSFERS_PAGE: i64 = 5_000;
/// Faults named in a report; the rest is counted.
const FAULTS_NAMED: usize = 20;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Accounts and transfers looked at.
    pub done: u64,
    /// Accounts and transfers there were at the start.
    pub total: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Accounts walked.
    pub accounts: u64,
    /// Transfers walked.
    pub transfers: u64,
    /// Entries summed.
    pub entries: u64,
    /// Sum of all balances by currency; zero where the books are right.
    pub trial_balance: BTreeMap<String, String>,
    /// How many things are wrong.
    pub fault_count: u64,
    /// The first of them, in the order of the walk.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The balances of a currency do not sum to zero.
    #[error("trial balance of {currency} is {sum}, not 0")]
    TrialBalance {
        /// The currency.
        currency: String,
        /// What they sum to, minor units.
        sum: String,
    },
    /// An account's balance is not the sum of its entries.
    #[error("account {account_id}: balance {balance}, entries sum to {entries}")]
    Balance {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        balance: i64,
        /// What the entries sum to.
        entries: String,
    },
    /// An account's entries are not numbered 1 to `entry_count`.
    #[error(
        "account {account_id}: {entry_count} entries recorded, {entries} found, the last is number {last_sequence}"
    )]
    EntryCount {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        entry_count: i64,
        /// How many there are.
        entries: i64,
        /// The highest number.
        last_sequence: i64,
    },
    /// An entry's balance is not its predecessor's plus its amount, or a number is missing before it.
    #[error("account {account_id}: the chain breaks at entry {account_sequence}")]
    Chain {
        /// The account.
        account_id: Uuid,
        /// The first entry that does not fit.
        account_sequence: i64,
    },
    /// What an account keeps back is not the sum of what remains of its live holds.
    #[error("account {account_id}: {held} held, its live holds sum to {holds}")]
    Held {
        /// The account.
        account_id: Uuid,
        /// What stands beside the account.
        held: i64,
        /// What remains of its live holds together.
        holds: String,
    },
    /// What was captured of a hold is not what its transfers have paid out.
    #[error("hold {hold_id}: {captured_amount} captured, its transfers sum to {transfers}")]
    Captured {
        /// The hold.
        hold_id: Uuid,
        /// What stands in the hold; 0 where there is none.
        captured_amount: i64,
        /// What the transfers that name it sum to.
        transfers: String,
    },
    /// A transfer's entries do not sum to zero, or not to its amount.
    #[error(
        "transfer {transfer_id} of {amount}: {entries} entries sum to {sum}, credits to {credited}"
    )]
    Transfer {
        /// The transfer.
        transfer_id: Uuid,
        /// Its amount.
        amount: i64,
        /// How many entries it has.
        entries: i64,
        /// What they sum to.
        sum: String,
        /// What the credits among them sum to.
        credited: String,
    },
    /// An entry of a transfer stands in an account of another currency.
    #[error("transfer {transfer_id} has entries in accounts of another currency")]
    Currency {
        /// The transfer.
        transfer_id: Uuid,
    },
    /// An entry belongs to no account or to no transfer.
    #[error(
        "entry {transaction_id} of account {account_id} and transfer {transfer_id} is an orphan"
    )]
    Orphan {
        /// The entry.
        transaction_id: Uuid,
        /// The account it names.
        account_id: Uuid,
        /// The transfer it names.
        transfer_id: Uuid,
    },
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    fn blame(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_NAMED {
            self.faults.push(fault);
        }
    }
}

/// Walks the books of the context's tenant. `progress` is called after each page.
pub async fn verify(
    context: &OpContext,
    database: &Database,
    mut progress: impl FnMut(Progress),
) -> Result<Report, DbError> {
    let tenant = context.tenant_id();
    let mut report = Report::default();
    let total = start(context, database, &mut report).await?;
    let mut after = Uuid::nil();
    loop {
        let rows = page(database, context, ACCOUNTS, after, ACCOUNTS_PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get("id")?;
        rows.iter().try_for_each(|row| check_account(row, &mut report))?;
        progress(Progress { done: report.accounts, total });
    }
    after = Uuid::nil();
    loop {
        let rows = page(database, context, TRANSFERS, after, TRANSFERS_PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.try_get("id")?;
        rows.iter().try_for_each(|row| check_transfer(row, &mut report))?;
        progress(Progress { done: report.accounts + report.transfers, total });
    }
    for row in one(database, context, Query::new(ORPHANS, &[&tenant])).await? {
        report.blame(Fault::Orphan {
            transaction_id: row.try_get("transaction_id")?,
            account_id: row.try_get("account_id")?,
            transfer_id: row.try_get("transfer_id")?,
        });
    }
    for row in one(database, context, Query::new(CAPTURES, &[&tenant])).await? {
        report.blame(Fault::Captured {
            hold_id: row.try_get("hold_id")?,
            captured_amount: row.try_get("captured_amount")?,
            transfers: row.try_get("paid")?,
        });
    }
    Ok(report)
}

/// The trial balance, and how much there is to walk.
async fn start(
    context: &OpContext,
    database: &Database,
    report: &mut Report,
) -> Result<u64, DbError> {
    let tenant = context.tenant_id();
    let answers = database
        .read(context, &[Query::new(TOTALS, &[&tenant]), Query::new(COUNTS, &[&tenant])])
        .await?;
    let [totals, counts] = answers.as_slice() else {
        return Err(DbError::Corrupt("two statements gave other than two results".to_owned()));
    };
    for row in totals {
        let (currency, sum): (String, String) = (row.try_get("currency")?, row.try_get("balance")?);
        if sum != "0" {
            report.blame(Fault::TrialBalance { currency: currency.clone(), sum: sum.clone() });
        }
        report.trial_balance.insert(currency, sum);
    }
    let mut total = 0;
    for row in counts {
        total = count(row.try_get("accounts")?) + count(row.try_get("transfers")?);
    }
    Ok(total)
}

fn check_account(row: &Row, report: &mut Report) -> Result<(), DbError> {
    let account_id: Uuid = row.try_get("id")?;
    let (balance, total): (i64, String) = (row.try_get("balance")?, row.try_get("total")?);
    let (entry_count, entries): (i64, i64) = (row.try_get("entry_count")?, row.try_get("entries")?);
    let last_sequence: i64 = row.try_get("last_sequence")?;
    report.accounts += 1;
    report.entries += count(entries);
    if total != balance.to_string() {
        report.blame(Fault::Balance { account_id, balance, entries: total });
    }
    if entries != entry_count || last_sequence != entry_count {
        report.blame(Fault::EntryCount { account_id, entry_count, entries, last_sequence });
    }
    if let Some(account_sequence) = row.try_get("first_break")? {
        report.blame(Fault::Chain { account_id, account_sequence });
    }
    let (held, promised): (i64, String) = (row.try_get("held")?, row.try_get("promised")?);
    if promised != held.to_string() {
        report.blame(Fault::Held { account_id, held, holds: promised });
    }
    Ok(())
}

fn check_transfer(row: &Row, report: &mut Report) -> Result<(), DbError> {
    let transfer_id: Uuid = row.try_get("id")?;
    let (amount, entries): (i64, i64) = (row.try_get("amount")?, row.try_get("entries")?);
    let (sum, credited): (String, String) = (row.try_get("total")?, row.try_get("credited")?);
    report.transfers += 1;
    if sum != "0" || credited != amount.to_string() {
        report.blame(Fault::Transfer { transfer_id, amount, entries, sum, credited });
    }
    if row.try_get::<_, i64>("foreign_entries")? > 0 {
        report.blame(Fault::Currency { transfer_id });
    }
    Ok(())
}

async fn page(
    database: &Database,
    context: &OpContext,
    statement: &'static str,
    after: Uuid,
    rows: i64,
) -> Result<Vec<Row>, DbError> {
    one(database, context, Query::new(statement, &[&context.tenant_id(), &after, &rows])).await
}

async fn one(
    database: &Database,
    context: &OpContext,
    query: Query<'_>,
) -> Result<Vec<Row>, DbError> {
    Ok(database.read(context, &[query]).await?.pop().unwrap_or_default())
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
