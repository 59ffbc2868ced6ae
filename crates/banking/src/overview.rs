//! Figures about many accounts at once, for the first page that people see.
//!
//! Every view is bounded: what it reads does not grow with the tenant beyond a limit that
//! its answer names. The tenant's own figures are read whole or not at all: whoever may
//! see less than everything finds none, and has views of their own accounts instead.

use std::collections::BTreeMap;

use access::{Permission, Scope};
use jiff::{Timestamp, ToSpan as _, civil::Date};
use ledger::AccountStatus;
use money::Currency;
use operation::{Found, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::movements::{Transaction, Transfer};

const HELD_ALL: &str = tenancy::sql!("banking/overview.sql", "held_all");
const STATUSES_ALL: &str = tenancy::sql!("banking/overview.sql", "statuses_all");
const CUSTOMERS_ALL: &str = tenancy::sql!("banking/overview.sql", "customers_all");
const MOVEMENT_DAYS: &str = tenancy::sql!("banking/overview.sql", "movement_days");
const LATEST_MOVEMENTS: &str = tenancy::sql!("banking/overview.sql", "latest_movements");
const LATEST_ENTRIES: &str = tenancy::sql!("banking/overview.sql", "latest_entries");
const OWN_DAYS: &str = tenancy::sql!("banking/overview.sql", "own_days");
const LAST_PROOF: &str = tenancy::sql!("banking/overview.sql", "last_proof");

/// Accounts, and customers, counted before the answer says "at least".
pub const COUNTED_MAX: u64 = 50_000;
/// Movements summed before the answer says that it is of the newest only.
pub const MOVEMENTS_MAX: u64 = 100_000;

/// The books as a whole: money held, accounts by status, the last proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct BooksOverview;

/// What [`BooksOverview`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// What customers hold together, minor units; the currency most held first.
    pub held: Vec<(Currency, i64)>,
    /// Customers' accounts by status, of the first [`COUNTED_MAX`].
    pub accounts: Vec<(AccountStatus, u64)>,
    /// Whether there are more accounts than were counted.
    pub is_more: bool,
    /// The last running proof, where one was ever begun.
    pub proof: Option<LastProof>,
}

/// What the last running proof of the books came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastProof {
    /// When it ended; none while the one under way is the first.
    pub finished_at: Option<Timestamp>,
    /// When one last found nothing wrong.
    pub last_success_at: Option<Timestamp>,
    /// Accounts, transfers and entries walked.
    pub walked: [i64; 3],
    /// Things wrong.
    pub fault_count: i64,
}

impl Books {
    /// Accounts counted in all.
    pub fn account_count(&self) -> u64 {
        self.accounts.iter().map(|(_, count)| count).sum()
    }
}

impl View for BooksOverview {
    const NAME: &'static str = "overview.books";
    const RESOURCE: &'static str = "account";
    type Output = Books;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Books>, ViewFailure> {
        if !scope.is_all() {
            return Ok(Found::List { value: Books::default(), count: 0 });
        }
        let (tenant, bound) = (context.tenant_id(), bound(COUNTED_MAX));
        let counted: [&(dyn ToSql + Sync); 2] = [&tenant, &bound];
        let answers = database
            .read(
                context,
                &[
                    Query::new(HELD_ALL, &[&tenant]),
                    Query::new(STATUSES_ALL, &counted),
                    Query::new(LAST_PROOF, &[&tenant]),
                ],
            )
            .await?;
        let [held, accounts, proof] = answers.as_slice() else { return Ok(Found::Missing) };
        let held = held.iter().map(held_of).collect::<Result<_, _>>()?;
        let accounts: Vec<_> = accounts.iter().map(status_of).collect::<Result<_, _>>()?;
        let proof = proof.first().map(proof_of).transpose()?;
        let mut value = Books { held, accounts, is_more: false, proof };
        value.is_more = value.account_count() > COUNTED_MAX;
        Ok(Found::List { value, count: 1 })
    }
}

/// How many customers there are, counted up to [`COUNTED_MAX`] and one.
#[derive(Clone, Copy, Debug, Default)]
pub struct CustomerCount;

impl View for CustomerCount {
    const NAME: &'static str = "overview.customers";
    const RESOURCE: &'static str = "customer";
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::CustomerRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<u64>, ViewFailure> {
        if !scope.is_all() {
            return Ok(Found::List { value: 0, count: 0 });
        }
        let (tenant, bound) = (context.tenant_id(), bound(COUNTED_MAX));
        let answers =
            database.read(context, &[Query::new(CUSTOMERS_ALL, &[&tenant, &bound])]).await?;
        let row = answers.first().and_then(|rows| rows.first());
        let value = row.map(|row| count_of(row, "customers")).transpose()?.unwrap_or_default();
        Ok(Found::List { value, count: 1 })
    }
}

/// Movements a day from a day to today.
#[derive(Clone, Copy, Debug)]
pub struct MovementDays {
    /// The first day.
    pub from: Date,
}

/// Movements of one day in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayOfMovements {
    /// The business day on which they were booked.
    pub date: Date,
    /// Of their amounts.
    pub currency: Currency,
    /// How many.
    pub count: u64,
    /// The sum of their amounts, minor units.
    pub volume: i64,
}

/// What [`MovementDays`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Days on which something moved, the earliest first.
    pub days: Vec<DayOfMovements>,
    /// Whether only the newest [`MOVEMENTS_MAX`] movements are in it.
    pub is_cut: bool,
}

impl View for MovementDays {
    const NAME: &'static str = "overview.activity";
    const RESOURCE: &'static str = "transfer";
    type Output = Activity;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Activity>, ViewFailure> {
        if !scope.is_all() {
            return Ok(Found::List { value: Activity::default(), count: 0 });
        }
        let (tenant, bound) = (context.tenant_id(), bound(MOVEMENTS_MAX));
        // Two days before cover every zone's offset; the day itself is compared beside it.
        let before = self.from.checked_sub(2.days()).unwrap_or(self.from);
        let instant = before
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|error| DbError::Corrupt(format!("day: {error}")))?;
        let first = audit::event::first_event_id_at(instant.timestamp());
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &first, &self.from, &bound];
        let answers = database.read(context, &[Query::new(MOVEMENT_DAYS, &parameters)]).await?;
        let days: Vec<_> = answers.iter().flatten().map(day_of).collect::<Result<_, DbError>>()?;
        let is_cut = days.iter().map(|day| day.count).sum::<u64>() > MOVEMENTS_MAX;
        let count = days.len();
        Ok(Found::List { value: Activity { days, is_cut }, count })
    }
}

/// The newest movements of the tenant.
#[derive(Clone, Copy, Debug)]
pub struct LatestMovements {
    /// How many at most; 1 to 50.
    pub limit: u32,
}

/// A movement between numbered accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedMovement {
    /// The movement.
    pub transfer: Transfer,
    /// The number of the account debited; none where it is the bank's own.
    pub from_number: Option<String>,
    /// The number of the account credited; none where it is the bank's own.
    pub to_number: Option<String>,
}

impl View for LatestMovements {
    const NAME: &'static str = "overview.movements";
    const RESOURCE: &'static str = "transfer";
    type Output = Vec<NumberedMovement>;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        if !scope.is_all() {
            return Ok(Found::List { value: Vec::new(), count: 0 });
        }
        let (tenant, limit) = (context.tenant_id(), i64::from(self.limit.clamp(1, 50)));
        let answers =
            database.read(context, &[Query::new(LATEST_MOVEMENTS, &[&tenant, &limit])]).await?;
        let value: Vec<_> = answers
            .iter()
            .flatten()
            .map(|row| {
                Ok(NumberedMovement {
                    transfer: Transfer::from_row(row)?,
                    from_number: row.try_get("from_number")?,
                    to_number: row.try_get("to_number")?,
                })
            })
            .collect::<Result<_, DbError>>()?;
        let count = value.len();
        Ok(Found::List { value, count })
    }
}

/// The newest entries of the actor's own accounts, whatever else they may see.
#[derive(Clone, Copy, Debug)]
pub struct OwnLatestEntries {
    /// How many at most; 1 to 50.
    pub limit: u32,
}

/// An entry with the account it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEntry {
    /// The entry.
    pub entry: Transaction,
    /// The account's number.
    pub account_number: String,
    /// Of its amounts.
    pub currency: Currency,
}

impl View for OwnLatestEntries {
    const NAME: &'static str = "overview.entries";
    const RESOURCE: &'static str = "transaction";
    type Output = Vec<NumberedEntry>;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let (tenant, limit) = (context.tenant_id(), i64::from(self.limit.clamp(1, 50)));
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &context.actor.id, &limit];
        let answers = database.read(context, &[Query::new(LATEST_ENTRIES, &parameters)]).await?;
        let value: Vec<_> = answers
            .iter()
            .flatten()
            .map(|row| {
                Ok(NumberedEntry {
                    entry: Transaction::from_row(row)?,
                    account_number: row.try_get("account_number")?,
                    currency: ledger::model::stored_currency(row.try_get("currency")?)?,
                })
            })
            .collect::<Result<_, DbError>>()?;
        let count = value.len();
        Ok(Found::List { value, count })
    }
}

/// What came and went a day in each of the actor's own accounts.
#[derive(Clone, Copy, Debug)]
pub struct OwnChanges {
    /// The first day; the newest 400 days at most are read.
    pub from: Date,
}

impl View for OwnChanges {
    const NAME: &'static str = "overview.changes";
    const RESOURCE: &'static str = "account";
    /// By account: days on which something moved, the newest first, with the sum of what did.
    type Output = BTreeMap<Uuid, Vec<(Date, i64)>>;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let (tenant, days) = (context.tenant_id(), 400_i64);
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &context.actor.id, &self.from, &days];
        let answers = database.read(context, &[Query::new(OWN_DAYS, &parameters)]).await?;
        let mut value: Self::Output = BTreeMap::new();
        for row in answers.iter().flatten() {
            let change = (column(row, "transaction_date")?, column(row, "change")?);
            value.entry(column(row, "account_id")?).or_default().push(change);
        }
        let count = value.len();
        Ok(Found::List { value, count })
    }
}

/// A column, its failure as the database's.
fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, DbError> {
    Ok(row.try_get(name)?)
}

/// One more than is counted, so that the answer knows whether there are more.
fn bound(most: u64) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1)
}

fn count_of(row: &Row, name: &str) -> Result<u64, DbError> {
    let count: i64 = row.try_get(name)?;
    u64::try_from(count).map_err(|_| DbError::Corrupt("a negative count".to_owned()))
}

fn held_of(row: &Row) -> Result<(Currency, i64), DbError> {
    Ok((ledger::model::stored_currency(row.try_get("currency")?)?, row.try_get("held")?))
}

fn status_of(row: &Row) -> Result<(AccountStatus, u64), DbError> {
    Ok((row.try_get::<_, &str>("status")?.parse()?, count_of(row, "accounts")?))
}

fn proof_of(row: &Row) -> Result<LastProof, DbError> {
    Ok(LastProof {
        finished_at: row.try_get("finished_at")?,
        last_success_at: row.try_get("last_success_at")?,
        walked: [row.try_get("accounts")?, row.try_get("transfers")?, row.try_get("entries")?],
        fault_count: row.try_get("fault_count")?,
    })
}

fn day_of(row: &Row) -> Result<DayOfMovements, DbError> {
    Ok(DayOfMovements {
        date: row.try_get("booking_date")?,
        currency: ledger::model::stored_currency(row.try_get("currency")?)?,
        count: count_of(row, "movements")?,
        volume: row.try_get("volume")?,
    })
}
