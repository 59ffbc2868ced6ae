//! The walk over all entries, in the order of accounts and of each account's sequence: one
//! account may span any number of pages, and a page any number of accounts.
//!
//! An account is judged by the page in which it ends: entries are only ever added, so what
//! earlier pages have summed is still so in the snapshot of the last one, where the
//! account's own row is read as well.

use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Fault, Progress, Report, Walk, count};

const ENTRIES: &str = tenancy::sql!("ledger/verify.sql", "entries");

/// What the entries of one account come to, as far as they are walked.
struct Chain {
    account_id: Uuid,
    entries: i64,
    total: i128,
    last_sequence: i64,
    last_balance: i64,
    first_break: Option<i64>,
    /// Balance and number of entries that stand beside the account; none where there is
    /// no such account.
    standing: Option<(i64, i64)>,
}

impl<P: FnMut(Progress)> Walk<'_, P> {
    pub(super) async fn entries(&mut self) -> Result<(), DbError> {
        let mut open: Option<Chain> = None;
        loop {
            // Where the last page ended; before the first there is neither.
            let (account_id, sequence, balance) = open.as_ref().map_or_else(
                || (Uuid::nil(), 0, 0),
                |chain| (chain.account_id, chain.last_sequence, chain.last_balance),
            );
            let page = self.page;
            let rows = self.rows(ENTRIES, &[&account_id, &sequence, &balance, &page]).await?;
            let mut walked = 0;
            for row in &rows {
                let part = Chain::from_row(row)?;
                walked += part.entries;
                self.blame_orphan(row, part.account_id)?;
                open = Some(match open.take() {
                    Some(chain) if chain.account_id == part.account_id => chain.and(&part),
                    Some(chain) => {
                        chain.judge(&mut self.report);
                        part
                    }
                    None => part,
                });
            }
            self.report.entries += count(walked);
            self.step(count(walked));
            if walked < page {
                break;
            }
        }
        if let Some(chain) = open {
            chain.judge(&mut self.report);
        }
        Ok(())
    }

    /// Names the first orphan of a page's part of an account.
    fn blame_orphan(&mut self, row: &Row, account_id: Uuid) -> Result<(), DbError> {
        if let Some(transaction_id) = row.try_get("orphan_id")? {
            let transfer_id = row.try_get("orphan_transfer_id")?;
            self.report.blame(Fault::Orphan { transaction_id, account_id, transfer_id });
        }
        Ok(())
    }
}

impl Chain {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        let total: &str = row.try_get("total")?;
        let balance: Option<i64> = row.try_get("balance")?;
        let entry_count: Option<i64> = row.try_get("entry_count")?;
        Ok(Self {
            account_id: row.try_get("account_id")?,
            entries: row.try_get("entries")?,
            total: total.parse().map_err(|_| DbError::Corrupt(format!("a sum of {total}")))?,
            last_sequence: row.try_get("last_sequence")?,
            last_balance: row.try_get("last_balance")?,
            first_break: row.try_get("first_break")?,
            standing: balance.zip(entry_count),
        })
    }

    /// Goes on with what the next page has of it.
    fn and(self, next: &Self) -> Self {
        Self {
            account_id: self.account_id,
            entries: self.entries + next.entries,
            total: self.total + next.total,
            last_sequence: next.last_sequence,
            last_balance: next.last_balance,
            first_break: self.first_break.or(next.first_break),
            standing: next.standing,
        }
    }

    /// Holds the whole against what stands beside the account. Where there is none, each
    /// page has named an orphan.
    fn judge(self, report: &mut Report) {
        let Self { account_id, entries, last_sequence, .. } = self;
        let Some((balance, entry_count)) = self.standing else { return };
        if self.total != i128::from(balance) {
            let entries = self.total.to_string();
            report.blame(Fault::Balance { account_id, balance, entries });
        }
        if entries != entry_count || last_sequence != entry_count {
            report.blame(Fault::EntryCount { account_id, entry_count, entries, last_sequence });
        }
        if let Some(account_sequence) = self.first_break {
            report.blame(Fault::Chain { account_id, account_sequence });
        }
    }
}
