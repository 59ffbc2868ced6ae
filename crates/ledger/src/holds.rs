//! Holds: money promised to one account and kept back on another, until it is
//! captured (paid out, at once or in parts), released, or too old.
//!
//! The posting engine decides them in memory under the same account locks as
//! postings, in the order of arrival, and writes them with array statements; a batch
//! of one is the same code. What a hold promises is fixed when it is authorised:
//! whom it may be paid to, how much, until when. The clock ends a hold, not the
//! worker that returns its money: from `expires_at` on nothing is captured.
//!
//! A capture never needs available funds: what it takes was kept back, so the same
//! amount leaves the balance and the held sum. A frozen account takes neither debits
//! nor credits (`AccountStatus`), and a capture is both: it waits until the account
//! is released, for a freeze may be a court's or a sanction's, which know no promises.
//! Letting go (release, expiry) moves nothing and works on frozen accounts.
//!
//! It refuses to know who may promise what and for how long: banking's.

use std::{collections::BTreeMap, fmt, str::FromStr};

use audit::AuditEvent;
use jiff::{Timestamp, civil::Date};
use money::Currency;
use serde::{Deserialize, Serialize};
use tenancy::{Clock, DbError, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    accounts,
    model::{InternalAccount, UnknownName, names, stored_currency},
    posting::{Book, Posted, Posting, PostingError, Records, Wanted, without_record},
};

const DUE: &str = tenancy::sql!("ledger/holds.sql", "due");

names! {
    /// What has become of a hold. Its legal transitions are [`TRANSITIONS`].
    HoldStatus, "hold status" {
        /// All of it is kept back.
        Authorized = "authorized",
        /// A part was paid out, the rest is kept back.
        PartiallyCaptured = "partially_captured",
        /// Paid out, in whole or in part, and what was left is returned.
        Captured = "captured",
        /// What was left is returned on somebody's order.
        Released = "released",
        /// What was left is returned because its time was over.
        Expired = "expired",
    }
}

/// Every legal change of status; whatever is not here is refused. The last three
/// statuses are final.
pub const TRANSITIONS: [(HoldStatus, HoldStatus); 8] = [
    (HoldStatus::Authorized, HoldStatus::PartiallyCaptured),
    (HoldStatus::Authorized, HoldStatus::Captured),
    (HoldStatus::Authorized, HoldStatus::Released),
    (HoldStatus::Authorized, HoldStatus::Expired),
    (HoldStatus::PartiallyCaptured, HoldStatus::PartiallyCaptured),
    (HoldStatus::PartiallyCaptured, HoldStatus::Captured),
    (HoldStatus::PartiallyCaptured, HoldStatus::Released),
    (HoldStatus::PartiallyCaptured, HoldStatus::Expired),
];

impl HoldStatus {
    /// Whether a hold may go from this status to `next`.
    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }

    /// Whether it still keeps money back.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Authorized | Self::PartiallyCaptured)
    }
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// The account that the money is kept back on.
    pub account_id: Uuid,
    /// The account that it may be paid to; the bank's own settlement account where the
    /// order named none. Never changes.
    pub to_account_id: Uuid,
    /// What was authorised, minor units.
    pub amount: i64,
    /// What has been paid out of it.
    pub captured_amount: i64,
    /// What is still kept back; nothing once it has ended.
    pub remaining: i64,
    /// Of the amounts and of both accounts.
    pub currency: Currency,
    /// What has become of it.
    pub status: HoldStatus,
    /// Text on both statements when it is captured; may be empty.
    pub description: String,
    /// The payer's or an outside system's reference.
    pub reference: Option<String>,
    /// From this instant on nothing can be captured.
    pub expires_at: Timestamp,
    /// The transfer of the last capture.
    pub last_transfer_id: Option<Uuid>,
    /// The principal that authorised it.
    pub created_by: Uuid,
    /// Counts its changes.
    pub version: i64,
    /// When it was authorised.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Hold {
    /// A row with every column of `holds` but the tenant's.
    pub fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            account_id: row.try_get("account_id")?,
            to_account_id: row.try_get("to_account_id")?,
            amount: row.try_get("amount")?,
            captured_amount: row.try_get("captured_amount")?,
            remaining: row.try_get("remaining")?,
            currency: stored_currency(row.try_get("currency")?)?,
            status: row.try_get::<_, &str>("status")?.parse::<HoldStatus>()?,
            description: row.try_get("description")?,
            reference: row.try_get("reference")?,
            expires_at: row.try_get("expires_at")?,
            last_transfer_id: row.try_get("last_transfer_id")?,
            created_by: row.try_get("created_by")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// Whom a hold may be paid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A customer's account, as the order names it.
    Customer(Uuid),
    /// One of the bank's own accounts, which no order can name.
    Internal(Uuid),
    /// One of the bank's own accounts that nothing has needed so far. It is made with the
    /// first hold for it that is authorised; a refused order makes nothing.
    Unmade {
        /// The id that it is given, unless somebody else makes it first. One for all
        /// orders of a batch that mean the same account.
        id: Uuid,
        /// Which.
        account: InternalAccount,
        /// Its currency.
        currency: Currency,
    },
}

impl Destination {
    /// The account's id; of one that is yet to be made, the proposed one.
    pub const fn account_id(self) -> Uuid {
        match self {
            Self::Customer(id) | Self::Internal(id) | Self::Unmade { id, .. } => id,
        }
    }
}

/// Money to be kept back.
#[derive(Clone, Debug)]
pub struct Authorisation {
    /// The hold's id.
    pub hold_id: Uuid,
    /// The customer's account that it is kept back on.
    pub account_id: Uuid,
    /// Whom it may be paid to.
    pub destination: Destination,
    /// Minor units, 1 to 2^53 − 1.
    pub amount: i64,
    /// Of the amount and of both accounts.
    pub currency: Currency,
    /// At most 140 characters; may be empty.
    pub description: String,
    /// At most 140 characters.
    pub reference: Option<String>,
    /// Later than `at`.
    pub expires_at: Timestamp,
    /// The acting principal.
    pub created_by: Uuid,
    /// The instant of the operation.
    pub at: Timestamp,
}

/// Money to be paid out of a hold.
#[derive(Clone, Debug)]
pub struct Capture {
    /// Which.
    pub hold_id: Uuid,
    /// Minor units; none means all that remains.
    pub amount: Option<i64>,
    /// Whether what is left is returned; else it stays kept back for further captures.
    pub is_final: bool,
    /// The id of the transfer that it makes.
    pub transfer_id: Uuid,
    /// The business day: value date and booking date.
    pub business_date: Date,
    /// The acting principal.
    pub created_by: Uuid,
    /// The instant of the operation.
    pub at: Timestamp,
}

/// A hold to be let go.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// Which.
    pub hold_id: Uuid,
    /// The instant of the operation.
    pub at: Timestamp,
}

/// A change of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As it was.
    pub before: Hold,
    /// As it is now.
    pub after: Hold,
}

/// What a capture did.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The hold's change.
    pub change: Changed,
    /// The movement that was posted: leg 0 is debited, leg 1 credited.
    pub posting: Posting,
    /// Its entries.
    pub posted: Posted,
}

/// Why nothing was done, in the order in which it is looked for: whatever else is
/// wrong as well, the first of these is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// Not positive.
    #[error("the amount must be positive")]
    InvalidAmount,
    /// Beyond 2^53 − 1. Also, and looked for last, where everything held on the account
    /// together would be.
    #[error("the amount is beyond 2^53 - 1 minor units")]
    AmountTooLarge,
    /// No such hold in this tenant.
    #[error("unknown hold")]
    UnknownHold,
    /// It has ended.
    #[error("the hold is {0}")]
    Ended(HoldStatus),
    /// Its time is over, whether or not that has been written down yet.
    #[error("the hold has expired")]
    Expired,
    /// It is to be ended by the clock, whose time has not come.
    #[error("the hold has not expired yet")]
    NotDue,
    /// More than remains of it.
    #[error("more than remains of the hold")]
    ExceedsHold,
    /// The caller does not admit it. Looked for behind everything else of the order, the
    /// hold and, of a promise, the accounts; before funds, and before the accounts of a
    /// capture.
    #[error("not admitted")]
    NotAdmitted,
    /// What the posting engine says of the movement: of the one that is made, or of
    /// the one that is promised. Leg 0 is the hold's account, leg 1 its destination.
    #[error(transparent)]
    Posting(#[from] PostingError),
}

/// Keeps money back: a result for each, in order. A hold is authorised where the
/// transfer that it promises could be posted now, and which is `admitted` by what a
/// question of the caller's is answered in the round trip of the locks; it costs none of
/// its own. Nothing is committed here.
pub async fn authorise(
    transaction: &TenantTx,
    batch: &[Authorisation],
    question: Query<'_>,
    mut admitted: impl FnMut(&[Row], &Authorisation) -> Result<bool, DbError>,
) -> Result<Vec<Result<Hold, HoldError>>, DbError> {
    let mut wanted = Wanted::default();
    for order in batch {
        wanted.accounts.insert(order.account_id);
        // Looked at, not locked: one settlement account is the destination of most
        // holds, and must not queue them all. It is locked when money reaches it.
        wanted.looked_at.insert(order.destination.account_id());
    }
    let (mut book, answer) = Book::open_asking(transaction, &wanted, question).await?;
    let mut results = Vec::with_capacity(batch.len());
    for order in batch {
        results.push(if admitted(&answer, order)? {
            book.authorise(order)
        } else {
            book.check_authorisation(order).and(Err(HoldError::NotAdmitted))
        });
    }
    make_destinations(transaction, &mut book, batch, &mut results).await?;
    book.close(transaction, Records::None).await?;
    Ok(results)
}

/// Makes the bank's own accounts that holds were authorised for, in one order for all
/// batches: two that make the same ones wait for each other once, and never in a circle.
async fn make_destinations(
    transaction: &TenantTx,
    book: &mut Book,
    batch: &[Authorisation],
    results: &mut [Result<Hold, HoldError>],
) -> Result<(), DbError> {
    let mut made: BTreeMap<(&str, &str), Uuid> = BTreeMap::new();
    let unmade = |order: &Authorisation| match order.destination {
        Destination::Unmade { id, account, currency } => {
            Some(((account.as_str(), currency.code()), id))
        }
        _ => None,
    };
    for (order, result) in batch.iter().zip(results.iter()) {
        if let (Some((account, id)), Ok(_)) = (unmade(order), result) {
            made.entry(account).or_insert(id);
        }
    }
    for (account, id) in &mut made {
        *id = accounts::make_internal(transaction, *id, *account).await?;
    }
    for (order, result) in batch.iter().zip(results) {
        let id = unmade(order).and_then(|(account, _)| made.get(&account));
        if let (Some(&id), Ok(hold)) = (id, result) {
            hold.to_account_id = id;
            book.promise_to(hold.id, id);
        }
    }
    Ok(())
}

/// Pays out of holds: a result for each, in order. What is not `admitted` of a hold by
/// what a question of the caller's is answered, asked as in [`authorise`], is refused.
/// Each movement that is made has the `record` that is said for its position. Nothing is
/// committed here.
pub async fn capture(
    transaction: &TenantTx,
    clock: &Clock,
    batch: &[Capture],
    question: Query<'_>,
    mut admitted: impl FnMut(&[Row], &Capture, &Hold) -> Result<bool, DbError>,
    mut record: impl FnMut(usize, &Captured) -> AuditEvent,
) -> Result<Vec<Result<(Captured, AuditEvent), HoldError>>, DbError> {
    let captured = batch.iter().map(|order| order.hold_id).collect();
    let wanted = Wanted { captured, ..Wanted::default() };
    let (mut book, answer) = Book::open_asking(transaction, &wanted, question).await?;
    let mut results = Vec::with_capacity(batch.len());
    for order in batch {
        let is_admitted =
            book.hold(order.hold_id).map_or(Ok(true), |hold| admitted(&answer, order, hold))?;
        results.push(if is_admitted {
            book.capture(order, clock)
        } else {
            book.check_capture(order).and(Err(HoldError::NotAdmitted))
        });
    }
    let made = results.iter().enumerate();
    let made = made.filter_map(|(position, done)| Some(record(position, done.as_ref().ok()?)));
    let records = Records::Each(made.collect());
    let mut written = book.close(transaction, records).await?;
    let mut records = std::mem::take(&mut written.records).into_iter();
    let mut enter = |mut done: Captured| {
        written.date(&mut done.change.after);
        Ok((done, records.next().ok_or_else(without_record)?))
    };
    results
        .into_iter()
        .map(|result| match result {
            Ok(done) => enter(done).map(Ok),
            Err(error) => Ok(Err(error)),
        })
        .collect()
}

/// Lets holds go: a result for each, in order. Nothing is committed here.
pub async fn release(
    transaction: &TenantTx,
    batch: &[Release],
) -> Result<Vec<Result<Changed, HoldError>>, DbError> {
    let_go(transaction, batch, Book::release).await
}

/// Ends holds whose time is over: a result for each, in order. Nothing is committed here.
pub async fn expire(
    transaction: &TenantTx,
    batch: &[Release],
) -> Result<Vec<Result<Changed, HoldError>>, DbError> {
    let_go(transaction, batch, Book::expire).await
}

/// Live holds whose time is over, at most so many, the oldest first.
pub async fn due(transaction: &TenantTx, at: Timestamp, limit: i64) -> Result<Vec<Uuid>, DbError> {
    let rows = transaction.query(DUE, &[&transaction.tenant(), &at, &limit]).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

async fn let_go(
    transaction: &TenantTx,
    batch: &[Release],
    decide: fn(&mut Book, Release) -> Result<Changed, HoldError>,
) -> Result<Vec<Result<Changed, HoldError>>, DbError> {
    let released = batch.iter().map(|order| order.hold_id).collect();
    let wanted = Wanted { released, ..Wanted::default() };
    let mut book = Book::open(transaction, &wanted).await?;
    let mut results: Vec<_> = batch.iter().map(|order| decide(&mut book, *order)).collect();
    let written = book.close(transaction, Records::None).await?;
    for done in results.iter_mut().flatten() {
        written.date(&mut done.after);
    }
    Ok(results)
}
