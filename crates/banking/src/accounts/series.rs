//! An account over time: its balance at the end of each day, and its entries by what
//! stands in them. Both cost no more than they promise, however old the account is.
//!
//! Refuses to draw anything.

use access::{Permission, Scope};
use jiff::{ToSpan as _, civil::Date};
use ledger::TransactionType;
use money::Currency;
use operation::{
    Found, Page, PageRequest, Refusal, RefusalKind, View,
    read::{ViewFailure, told_filter},
};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{ACCOUNT, resource_of};
use crate::{
    movements::{Transaction, TransactionFilter},
    paging::invalid_cursor,
};

const END_OF_DAY: &str = tenancy::sql!("banking/series.sql", "end_of_day");
const SEARCH: &str = tenancy::sql!("banking/series.sql", "search");

/// The most days of one series: a leap year and the day before it.
pub const SERIES_DAYS_MAX: i32 = 367;
/// How many entries one search looks through.
pub const SEARCH_ENTRIES_MAX: i64 = 5_000;

/// The balance of one account at the end of each day of a period.
#[derive(Clone, Copy, Debug)]
pub struct AccountSeries {
    /// Which account.
    pub account_id: Uuid,
    /// The first day.
    pub from: Date,
    /// The last day; at most [`SERIES_DAYS_MAX`] days in all.
    pub to: Date,
}

/// What [`AccountSeries`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Of the balances.
    pub currency: Currency,
    /// Every day of the period, in order, with the balance at its end, minor units.
    pub days: Vec<(Date, i64)>,
}

/// Which entries a search is for; what is `None` does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Value date and type.
    pub base: TransactionFilter,
    /// At least this much, in or out, minor units.
    pub amount_min: Option<i64>,
    /// At most this much, in or out, minor units.
    pub amount_max: Option<i64>,
    /// In the description or the reference, whatever its case.
    pub text: Option<String>,
}

/// The entries of one account that a filter lets through, the newest first. A page looks
/// through at most [`SEARCH_ENTRIES_MAX`] entries: it may hold less than was asked for,
/// even nothing, and still be followed by another.
#[derive(Clone, Debug)]
pub struct EntrySearch {
    /// Which account.
    pub account_id: Uuid,
    /// Which entries.
    pub filter: EntryFilter,
    /// Which page.
    pub page: PageRequest,
}

impl View for AccountSeries {
    const NAME: &'static str = "account.series";
    const RESOURCE: &'static str = "account";
    type Output = Series;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.account_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Series>, ViewFailure> {
        let days = (self.to - self.from).get_days();
        if !(0..SERIES_DAYS_MAX).contains(&days) {
            let detail = "A series runs over 1 to 367 days";
            let refusal = Refusal::new(RefusalKind::Malformed, "invalid_period", detail);
            return Err(refusal.into());
        }
        let tenant = context.tenant_id();
        let account: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &context.actor.id];
        let series: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &self.from];
        let queries = [Query::new(ACCOUNT, &account), Query::new(END_OF_DAY, &series)];
        let answers = database.read(context, &queries).await?;
        let [account, rows] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(account) = account.first() else { return Ok(Found::Missing) };
        let resource = resource_of(account, Permission::AccountRead, self.account_id)?;
        let currency = account.try_get("currency").map_err(DbError::from)?;
        let moves = rows.iter().map(Move::from_row).collect::<Result<Vec<_>, _>>()?;
        let value = Series {
            currency: ledger::model::stored_currency(currency)?,
            days: filled((self.from, self.to), &moves),
        };
        Ok(Found::Object { value, resource })
    }
}

/// A day on which something moved; none is the account that stood still.
#[derive(Clone, Copy, Debug)]
struct Move {
    date: Option<Date>,
    amount: i64,
    balance: i64,
}

impl Move {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            date: row.try_get("date")?,
            amount: row.try_get::<_, Option<i64>>("amount")?.unwrap_or(0),
            balance: row.try_get("balance")?,
        })
    }
}

/// Every day from the first to the last: days without a move keep the balance before.
fn filled((from, to): (Date, Date), moves: &[Move]) -> Vec<(Date, i64)> {
    // What was there before the first move. Both lie within ± 2^53.
    let mut balance = moves.first().map_or(0, |first| first.balance - first.amount);
    let mut left = moves.iter().peekable();
    let mut days = Vec::new();
    for day in from.series(1.day()).take_while(|day| *day <= to) {
        while let Some(next) = left.next_if(|next| next.date.is_some_and(|date| date <= day)) {
            balance = next.balance;
        }
        days.push((day, balance));
    }
    days
}

impl View for EntrySearch {
    const NAME: &'static str = "transaction.search";
    const RESOURCE: &'static str = "transaction";
    type Output = Page<Transaction>;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.account_id)
    }

    fn filter(&self) -> Option<Value> {
        let EntryFilter { base, amount_min, amount_max, text } = &self.filter;
        let mut told = base.told();
        told["amount_min"] = json!(amount_min);
        told["amount_max"] = json!(amount_max);
        // What was typed may be somebody's name: that something was is enough.
        told["text"] = json!(text.as_ref().map(|_| true));
        told_filter(told)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Page<Transaction>>, ViewFailure> {
        let before: i64 = match &self.page.after {
            None => i64::MAX,
            Some(text) => text.parse().map_err(|_| invalid_cursor())?,
        };
        let tenant = context.tenant_id();
        let EntryFilter { base, amount_min, amount_max, text } = &self.filter;
        let transaction_type = base.transaction_type.map(TransactionType::as_str);
        let fetch = self.page.fetch();
        let account: [&(dyn ToSql + Sync); 3] = [&tenant, &self.account_id, &context.actor.id];
        let search: [&(dyn ToSql + Sync); 11] = [
            &tenant,
            &self.account_id,
            &before,
            &SEARCH_ENTRIES_MAX,
            &fetch,
            &base.from,
            &base.to,
            &transaction_type,
            amount_min,
            amount_max,
            text,
        ];
        let queries = [Query::new(ACCOUNT, &account), Query::new(SEARCH, &search)];
        let answers = database.read(context, &queries).await?;
        let [account, rows] = answers.as_slice() else { return Ok(Found::Missing) };
        let Some(account) = account.first() else { return Ok(Found::Missing) };
        let resource = resource_of(account, Permission::TransactionRead, self.account_id)?;
        Ok(Found::Object { value: self.found(rows)?, resource })
    }
}

impl EntrySearch {
    /// The page; where it is not full, the next one goes on behind what was looked through.
    fn found(&self, rows: &[Row]) -> Result<Page<Transaction>, DbError> {
        let floor = rows.first().map_or(Ok(1), |row| row.try_get::<_, i64>("floor"))?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            if row.try_get::<_, Option<Uuid>>("transaction_id")?.is_some() {
                entries.push(Transaction::from_row(row)?);
            }
        }
        let mut page = Page::of(entries, &self.page, |last| last.account_sequence.to_string());
        if page.next.is_none() && floor > 1 {
            page.next = Some(floor.to_string());
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{Move, filled};

    #[test]
    fn days_without_a_move_keep_the_balance() {
        let (from, to) = (date(2026, 2, 27), date(2026, 3, 2));
        let moved = |day, amount, balance| Move { date: Some(day), amount, balance };
        let still = [Move { date: None, amount: 0, balance: 7 }];
        // Nothing moved; moved within; moved on the edges; moved beyond the end only.
        let table: [(&[Move], [i64; 4]); 4] = [
            (&still, [7; 4]),
            (&[moved(date(2026, 3, 1), 5, 12)], [7, 7, 12, 12]),
            (&[moved(from, -2, 5), moved(to, 4, 9)], [5, 5, 5, 9]),
            (&[moved(date(2026, 3, 9), 3, 10)], [7; 4]),
        ];
        for (moves, balances) in table {
            let days = filled((from, to), moves);
            assert_eq!(days.iter().map(|day| day.1).collect::<Vec<_>>(), balances, "{moves:?}");
            assert_eq!((days[0].0, days[3].0), (from, to));
        }
    }
}
