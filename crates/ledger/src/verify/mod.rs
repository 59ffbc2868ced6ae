//! The running proof: walks a tenant's books and recomputes every sum.
//!
//! It needs no more than SELECT, so it runs as any role that may read, beside live
//! traffic: each page is one statement and thus one snapshot. Every statement but the
//! trial balance, which is one pass over the accounts, reads a bounded number of rows, so
//! that no bank is too large for a statement's time limit. It refuses to mend anything:
//! what it finds is for people.
//!
//! It finds whatever contradicts itself within the ledger's tables. What somebody with the
//! owner's rights changed consistently in all of them (a transfer inserted, or removed with
//! its accounts' last entries and their balances) does not; of that the audit log's record
//! of each posting is the proof, and [`Report`] is silent.

mod entries;
mod report;

use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

pub use report::{Fault, Progress, Report};

const TOTALS: &str = tenancy::sql!("ledger/verify.sql", "totals");
const ACCOUNTS: &str = tenancy::sql!("ledger/verify.sql", "accounts");
const TRANSFERS: &str = tenancy::sql!("ledger/verify.sql", "transfers");
const CAPTURES: &str = tenancy::sql!("ledger/verify.sql", "captures");

/// Rows of a page: accounts, entries, transfers, holds. A transfer has a hundred entries at most.
const PAGE: i64 = 5_000;

/// Walks the books of the context's tenant. `progress` is called after each page.
pub async fn verify(
    context: &OpContext,
    database: &Database,
    progress: impl FnMut(Progress),
) -> Result<Report, DbError> {
    verify_in_pages(context, database, PAGE, progress).await
}

/// [`verify`] in pages of so many rows, one at least: what it finds does not depend on it.
pub async fn verify_in_pages(
    context: &OpContext,
    database: &Database,
    page: i64,
    progress: impl FnMut(Progress),
) -> Result<Report, DbError> {
    let mut walk = Walk {
        context,
        database,
        page: page.max(1),
        report: Report::default(),
        at: Progress { done: 0, total: 0 },
        progress,
    };
    walk.total().await?;
    walk.by_id(ACCOUNTS, check_account).await?;
    walk.entries().await?;
    walk.by_id(TRANSFERS, check_transfer).await?;
    walk.by_id(CAPTURES, check_captures).await?;
    walk.step(walk.at.total - walk.at.done);
    Ok(walk.report)
}

/// A walk under way.
struct Walk<'a, P> {
    context: &'a OpContext,
    database: &'a Database,
    page: i64,
    report: Report,
    at: Progress,
    progress: P,
}

impl<P: FnMut(Progress)> Walk<'_, P> {
    /// The trial balance, and how much there is to walk.
    async fn total(&mut self) -> Result<(), DbError> {
        for row in self.rows(TOTALS, &[]).await? {
            let (currency, sum): (String, String) =
                (row.try_get("currency")?, row.try_get("balance")?);
            if sum != "0" {
                let currency = currency.clone();
                self.report.blame(Fault::TrialBalance { currency, sum: sum.clone() });
            }
            self.report.trial_balance.insert(currency, sum);
            self.at.total += count(row.try_get("accounts")?);
            self.at.total += 2 * count(row.try_get("entries")?);
        }
        Ok(())
    }

    /// Page after page of a statement that gives its rows by id. `check` says how much of
    /// the way a row was.
    async fn by_id(
        &mut self,
        statement: &'static str,
        check: fn(&Row, &mut Report) -> Result<u64, DbError>,
    ) -> Result<(), DbError> {
        let mut after = Uuid::nil();
        loop {
            let page = self.page;
            let rows = self.rows(statement, &[&after, &page]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get("id")?;
            let mut steps = 0;
            for row in &rows {
                steps += check(row, &mut self.report)?;
            }
            self.step(steps);
        }
    }

    /// What a statement gives of the tenant, in a snapshot of its own.
    async fn rows(
        &self,
        statement: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        let tenant = self.context.tenant_id();
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        all.extend(parameters);
        let answers = self.database.read(self.context, &[Query::new(statement, &all)]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// What is posted meanwhile is walked as well, and never more than all of the way.
    fn step(&mut self, steps: u64) {
        self.at.done = (self.at.done + steps).min(self.at.total);
        (self.progress)(self.at);
    }
}

/// What needs no entries of an account but the number of the last; those of one that has
/// any are summed by [`Walk::entries`].
fn check_account(row: &Row, report: &mut Report) -> Result<u64, DbError> {
    let account_id: Uuid = row.try_get("id")?;
    let (balance, entry_count): (i64, i64) = (row.try_get("balance")?, row.try_get("entry_count")?);
    report.accounts += 1;
    if row.try_get::<_, i64>("last_sequence")? == 0 {
        if balance != 0 {
            report.blame(Fault::Balance { account_id, balance, entries: "0".to_owned() });
        }
        if entry_count != 0 {
            let (entries, last_sequence) = (0, 0);
            report.blame(Fault::EntryCount { account_id, entry_count, entries, last_sequence });
        }
    }
    let (held, promised): (i64, String) = (row.try_get("held")?, row.try_get("promised")?);
    if promised != held.to_string() {
        report.blame(Fault::Held { account_id, held, holds: promised });
    }
    Ok(1)
}

fn check_transfer(row: &Row, report: &mut Report) -> Result<u64, DbError> {
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
    let unlike: i64 = row.try_get("unlike_entries")?;
    if unlike > 0 {
        report.blame(Fault::Unlike { transfer_id, entries: unlike });
    }
    if !row.try_get::<_, bool>("has_its_sides")? {
        report.blame(Fault::Sides { transfer_id });
    }
    if !row.try_get::<_, bool>("is_mirrored")? {
        report.blame(Fault::Mirror { transfer_id });
    }
    if let Some(hold_id) = row.try_get("missing_hold_id")? {
        let (captured_amount, transfers) = (0, amount.to_string());
        report.blame(Fault::Captured { hold_id, captured_amount, transfers });
    }
    Ok(count(entries))
}

fn check_captures(row: &Row, report: &mut Report) -> Result<u64, DbError> {
    let (captured_amount, paid): (i64, String) =
        (row.try_get("captured_amount")?, row.try_get("paid")?);
    if paid != captured_amount.to_string() {
        let hold_id = row.try_get("id")?;
        report.blame(Fault::Captured { hold_id, captured_amount, transfers: paid });
    }
    Ok(0)
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
