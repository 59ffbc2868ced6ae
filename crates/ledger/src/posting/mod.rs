//! The posting engine: the only writer of entries and balances.
//!
//! # Doctrine of locks and round trips
//! A batch, whatever its size, costs two round trips of its own:
//! 1. `lock_accounts` takes the row locks of every account of the batch **in id
//!    order**; `read_accounts` (and `read_holds`) read in a **later statement** of the
//!    same flush, whose snapshot is therefore newer than the locks;
//! 2. the records of the movements for the audit log, then `insert_transfers`, `insert_transactions`, `update_accounts`, `insert_holds` and
//!    `update_holds`: one array statement each where there is anything to write,
//!    pipelined. The caller's other records, answers and COMMIT follow. The order matters:
//!    a trigger refuses transfers that have no record in the log yet.
//!
//! In between, `decide` and `holding` decide order after order in memory, in the
//! order of arrival, against the locked accounts. A refused one changes nothing
//! there, so one refusal never touches its neighbours and no savepoint is needed. A
//! batch of one is the same code. A hold has no lock of its own: its account's is
//! its lock. Everybody who locks accounts goes through [`lock`] or the book, so there
//! is one order of locks, and nobody can deadlock with a batch over accounts that are
//! there. The first use of one of the bank's own accounts is the exception: it is
//! inserted, by a journal or a deposit before its locks and with a hold behind them, so
//! two that make the same account while they wait for each other's rows end in
//! PostgreSQL's `deadlock_detected`, once in a currency's life. Whoever is chosen is
//! rolled back and run again.

mod book;
mod decide;
#[cfg(test)]
mod hold_tests;
mod holding;
#[cfg(test)]
mod model_tests;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use audit::AuditEvent;
use jiff::{Timestamp, civil::Date};
use money::Currency;
use serde::{Deserialize, Serialize};
use tenancy::{Clock, DbError, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::model::{AccountState, TransactionType, TransferKind};

const LOCK: &str = tenancy::sql!("ledger/posting.sql", "lock_accounts");
const READ: &str = tenancy::sql!("ledger/posting.sql", "read_accounts");

pub(crate) use book::{Book, Records, Wanted};

/// One side of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The account.
    pub account_id: Uuid,
    /// Minor units; positive credits the account, negative debits it.
    pub amount: i64,
    /// What the entry is to the account.
    pub transaction_type: TransactionType,
}

/// A movement to be posted whole or not at all.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The transfer's id.
    pub transfer_id: Uuid,
    /// Why.
    pub kind: TransferKind,
    /// What moves, in minor units: the sum of the credits.
    pub amount: i64,
    /// Of every leg.
    pub currency: Currency,
    /// Two or more, summing to zero. Refusals name a leg by its position.
    pub legs: Vec<Leg>,
    /// Text on the statement, at most 140 characters.
    pub description: String,
    /// The payer's or an outside system's reference, at most 140 characters.
    pub reference: Option<String>,
    /// The day from which it bears interest; may lie in the past.
    pub value_date: Date,
    /// The business day on which it is booked.
    pub booking_date: Date,
    /// The instant of the operation.
    pub posted_at: Timestamp,
    /// The acting principal.
    pub created_by: Uuid,
    /// The transfer that this one undoes.
    pub reverses_transfer_id: Option<Uuid>,
    /// Posts below the floor as well: history that has happened elsewhere. Never
    /// set for anything that a person orders.
    pub waive_limits: bool,
}

impl Posting {
    /// The usual two legs: leg 0 is debited, leg 1 credited. An amount that is not
    /// positive is refused by the engine.
    pub fn two_legs(
        (from, from_type): (Uuid, TransactionType),
        (to, to_type): (Uuid, TransactionType),
        amount: i64,
    ) -> Vec<Leg> {
        let debit =
            Leg { account_id: from, amount: amount.saturating_neg(), transaction_type: from_type };
        vec![debit, Leg { account_id: to, amount, transaction_type: to_type }]
    }
}

/// What was posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The transfer.
    pub transfer_id: Uuid,
    /// Its entries, in the order of the legs.
    pub entries: Vec<PostedEntry>,
}

/// A posting that was made, and its record, which stands in the log.
#[derive(Clone, Debug)]
pub struct Entered {
    /// What was posted.
    pub posted: Posted,
    /// For the command's outcome.
    pub record: AuditEvent,
}

/// One entry that was posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedEntry {
    /// The entry's id.
    pub transaction_id: Uuid,
    /// The account.
    pub account_id: Uuid,
    /// Its place in the account's history, from 1.
    pub account_sequence: i64,
    /// Minor units, signed.
    pub amount: i64,
    /// The account's balance behind it.
    pub balance_after: i64,
}

/// Why a posting was refused, in the order in which it is looked for: whatever
/// else is wrong as well, the first of these is the answer. `leg` is the position
/// in [`Posting::legs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// Not positive, or a leg moves nothing.
    #[error("the amount must be positive")]
    InvalidAmount,
    /// Beyond 2^53 − 1.
    #[error("the amount is beyond 2^53 - 1 minor units")]
    AmountTooLarge,
    /// The legs do not sum to zero, or not to the amount. A fault of the caller's code.
    #[error("the legs do not balance")]
    Unbalanced,
    /// One account is both debited and credited.
    #[error("debited and credited account are the same")]
    SameAccount {
        /// The later of the two.
        leg: usize,
    },
    /// No such account in this tenant, or a transfer order names one of the bank's own.
    #[error("unknown account")]
    UnknownAccount {
        /// Which.
        leg: usize,
    },
    /// The account holds another currency.
    #[error("the account holds another currency")]
    CurrencyMismatch {
        /// Which.
        leg: usize,
    },
    /// The account is closed.
    #[error("the account is closed")]
    AccountClosed {
        /// Which.
        leg: usize,
    },
    /// The account is frozen.
    #[error("the account is frozen")]
    AccountFrozen {
        /// Which.
        leg: usize,
    },
    /// Less is available than the posting takes out.
    #[error("insufficient funds")]
    InsufficientFunds {
        /// Which.
        leg: usize,
    },
    /// The balance would leave the range of exact integers.
    #[error("the balance would be beyond 2^53 - 1 minor units")]
    BalanceOutOfRange {
        /// Which.
        leg: usize,
    },
}

/// Posts one movement with its `record`. Nothing is committed here.
pub async fn post_one(
    transaction: &TenantTx,
    clock: &Clock,
    posting: &Posting,
    record: impl FnOnce(&Posted) -> AuditEvent,
) -> Result<Result<Entered, PostingError>, DbError> {
    let mut book = Book::open(transaction, &wanted(std::slice::from_ref(posting))).await?;
    let posted = match book.post(posting, clock) {
        Ok(posted) => posted,
        Err(error) => return Ok(Err(error)),
    };
    let records = Records::Each(vec![record(&posted)]);
    let record = book.close(transaction, records).await?.records.pop();
    let record = record.ok_or_else(without_record)?;
    Ok(Ok(Entered { posted, record }))
}

/// Posts a batch: a result for each posting, in order, and the one `record` of all of them,
/// whose details have a digest of each movement that was made: `digests`, pairs of the
/// movement's id and the digest. Nothing is committed here.
pub async fn post_whole(
    transaction: &TenantTx,
    clock: &Clock,
    batch: &[Posting],
    record: impl FnOnce(&[Result<Posted, PostingError>]) -> AuditEvent,
) -> Result<(Vec<Result<Posted, PostingError>>, AuditEvent), DbError> {
    let mut book = Book::open(transaction, &wanted(batch)).await?;
    let results: Vec<_> = batch.iter().map(|posting| book.post(posting, clock)).collect();
    let records = Records::Whole(Box::new(record(&results)));
    let record = book.close(transaction, records).await?.records.pop();
    Ok((results, record.ok_or_else(without_record)?))
}

fn wanted(batch: &[Posting]) -> Wanted {
    let legs = batch.iter().flat_map(|posting| &posting.legs);
    Wanted { accounts: legs.map(|leg| leg.account_id).collect(), ..Wanted::default() }
}

pub(crate) fn without_record() -> DbError {
    DbError::Corrupt("a posting without a record".to_owned())
}

/// Posts those of a batch that are `admitted` by what a question of the caller's is
/// answered, asked in the round trip of the locks; it costs none of its own. Each that is
/// made has the `record` that is said for its position. Nothing is committed here.
///
/// A posting that is not admitted moves nothing: it is checked for everything that needs
/// no balance, in the same order, and is `None` where it could be made.
pub async fn post_admitted(
    transaction: &TenantTx,
    clock: &Clock,
    batch: &[Posting],
    question: Query<'_>,
    admitted: impl FnOnce(&[Row], &[Posting]) -> Result<Vec<bool>, DbError>,
    mut record: impl FnMut(usize, &Posted) -> AuditEvent,
) -> Result<Vec<Result<Option<Entered>, PostingError>>, DbError> {
    let (mut book, answer) = Book::open_asking(transaction, &wanted(batch), question).await?;
    let admitted = admitted(&answer, batch)?;
    if admitted.len() != batch.len() {
        return Err(DbError::Corrupt("another number of admissions than postings".to_owned()));
    }
    let results: Vec<Result<Option<Posted>, PostingError>> = (batch.iter().zip(admitted))
        .map(|(posting, admitted)| {
            if admitted {
                book.post(posting, clock).map(Some)
            } else {
                book.check(posting).map(|()| None)
            }
        })
        .collect();
    let made = results.iter().enumerate().filter_map(|(position, result)| {
        result.as_ref().ok().and_then(Option::as_ref).map(|posted| record(position, posted))
    });
    let records = Records::Each(made.collect());
    let mut records = book.close(transaction, records).await?.records.into_iter();
    let mut enter = |posted| {
        let record = records.next().ok_or_else(without_record)?;
        Ok(Entered { posted, record })
    };
    results
        .into_iter()
        .map(|result| match result {
            Ok(posted) => posted.map(&mut enter).transpose().map(Ok),
            Err(error) => Ok(Err(error)),
        })
        .collect()
}

/// Locks accounts in id order and reads them; those that do not exist are absent.
/// One round trip.
pub async fn lock(
    transaction: &TenantTx,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, AccountState>, DbError> {
    let tenant = transaction.tenant();
    let answers = transaction
        .pipeline(&[Query::new(LOCK, &[&tenant, &ids]), Query::new(READ, &[&tenant, &ids])])
        .await?;
    answers
        .last()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|row| rows::account(row).map(|account| (account.id, account)))
        .collect()
}
