//! Computed against published balances, account by account, out of the ledger.
//!
//! What is compared is what was posted, not what was planned: the entries are read
//! back with their source ids and held against the files.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::Serialize;
use tenancy::{Database, DbError, OpContext, Query};
use uuid::Uuid;

use super::{
    Plan,
    chain::{Fit, Movement, fit},
};

const POSTED: &str = tenancy::sql!("banking/import.sql", "posted");
const IMPORTED: &str = tenancy::sql!("banking/import.sql", "imported");

/// Accounts whose entries are read at once.
const ACCOUNTS_A_READ: usize = 200;

/// One account's comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountComparison {
    /// The account's source id.
    pub account: String,
    /// How the balances fit, and if they differ, why.
    pub fit: Fit,
    /// Movements posted.
    pub posted: usize,
    /// Movements of the plan that the ledger does not hold.
    pub missing: usize,
    /// The ledger's balance behind the last of them, minor units.
    pub computed: i64,
    /// The balance that the source published there, minor units.
    pub published: Option<i64>,
    /// Computed less published, minor units.
    pub difference: Option<i64>,
    /// Why they differ, in words.
    pub explanation: String,
}

/// The whole comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Accounts with movements, by source id; those that differ first.
    pub accounts: Vec<AccountComparison>,
    /// Accounts whose every published balance the ledger reproduces.
    pub exact: usize,
    /// Accounts that differ by the source's own rounding.
    pub rounded: usize,
    /// Accounts of whose last day the source is cut off.
    pub cut_off: usize,
    /// Accounts that a person has to look at.
    pub unexplained: usize,
}

struct Entry {
    source_id: String,
    amount: i64,
    balance_after: i64,
}

/// Compares everything of the plan that was posted.
pub async fn reconcile(
    database: &Database,
    context: &OpContext,
    plan: &Plan,
    source: &str,
) -> Result<Reconciliation, DbError> {
    let ids = imported(database, context, source, "account").await?;
    let mut published: HashMap<&str, (Option<i64>, Date)> = HashMap::new();
    let mut planned: HashMap<&str, usize> = HashMap::new();
    for one in &plan.transactions {
        published.insert(&one.source_id, (one.published, one.value_date));
        *planned.entry(&one.account).or_default() += 1;
    }
    let accounts: Vec<(&str, Uuid)> = plan
        .accounts
        .iter()
        .filter(|account| planned.contains_key(account.source_id.as_str()))
        .filter_map(|account| {
            ids.get(&account.source_id).map(|id| (account.source_id.as_str(), *id))
        })
        .collect();
    let mut result = Reconciliation::default();
    for part in accounts.chunks(ACCOUNTS_A_READ) {
        let wanted: Vec<Uuid> = part.iter().map(|(_, id)| *id).collect();
        let mut entries = posted(database, context, source, &wanted).await?;
        for (account, id) in part {
            let entries = entries.remove(id).unwrap_or_default();
            let expected = planned.get(account).copied().unwrap_or(0);
            result.add(compare(account, &entries, &published, expected, plan));
        }
    }
    result.accounts.sort_by(|left, right| {
        // What needs a person first, what fits exactly last.
        right.fit.cmp(&left.fit).then_with(|| left.account.cmp(&right.account))
    });
    Ok(result)
}

/// The objects that records of one kind have become, by source id.
pub async fn imported(
    database: &Database,
    context: &OpContext,
    source: &str,
    kind: &str,
) -> Result<HashMap<String, Uuid>, DbError> {
    let tenant = context.tenant_id();
    let rows = database.read(context, &[Query::new(IMPORTED, &[&tenant, &source, &kind])]).await?;
    rows.iter()
        .flatten()
        .map(|row| Ok((row.try_get("source_id")?, row.try_get("object_id")?)))
        .collect()
}

async fn posted(
    database: &Database,
    context: &OpContext,
    source: &str,
    accounts: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Entry>>, DbError> {
    let tenant = context.tenant_id();
    let rows =
        database.read(context, &[Query::new(POSTED, &[&tenant, &source, &accounts])]).await?;
    let mut entries: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    for row in rows.iter().flatten() {
        entries.entry(row.try_get("account_id")?).or_default().push(Entry {
            source_id: row.try_get("source_id")?,
            amount: row.try_get("amount")?,
            balance_after: row.try_get("balance_after")?,
        });
    }
    Ok(entries)
}

fn compare(
    account: &str,
    entries: &[Entry],
    published: &HashMap<&str, (Option<i64>, Date)>,
    planned: usize,
    plan: &Plan,
) -> AccountComparison {
    let known: Vec<(Movement, bool)> = entries
        .iter()
        .map(|entry| {
            let (balance, date) = published.get(entry.source_id.as_str()).copied().unzip();
            let movement = Movement { amount: entry.amount, published: balance.flatten() };
            (movement, date.is_some() && date == plan.cut_off)
        })
        .collect();
    let (movements, in_cut_day): (Vec<_>, Vec<_>) = known.into_iter().unzip();
    let missing = planned.saturating_sub(entries.len());
    let fit =
        if missing == 0 { fit(&movements, &in_cut_day, plan.rounding) } else { Fit::Unexplained };
    let computed = entries.last().map_or(0, |entry| entry.balance_after);
    let last_published = movements.last().and_then(|movement| movement.published);
    AccountComparison {
        account: account.to_owned(),
        fit,
        posted: entries.len(),
        missing,
        computed,
        published: last_published,
        difference: last_published.map(|published| computed - published),
        explanation: explanation(fit, missing, plan),
    }
}

fn explanation(fit: Fit, missing: usize, plan: &Plan) -> String {
    match fit {
        Fit::Exact => "every published balance is reproduced".to_owned(),
        Fit::Rounded => format!(
            "the source rounded: each balance follows from its predecessor within {} minor units",
            plan.rounding
        ),
        Fit::CutOff => {
            "the source is cut off on this day: a movement behind the last line is missing"
                .to_owned()
        }
        Fit::Unexplained if missing > 0 => {
            format!("{missing} movements of the files are not in the ledger")
        }
        Fit::Unexplained => "the published balances do not follow from the movements".to_owned(),
    }
}

impl Reconciliation {
    fn add(&mut self, account: AccountComparison) {
        let counter = match account.fit {
            Fit::Exact => &mut self.exact,
            Fit::Rounded => &mut self.rounded,
            Fit::CutOff => &mut self.cut_off,
            Fit::Unexplained => &mut self.unexplained,
        };
        *counter += 1;
        self.accounts.push(account);
    }
}
