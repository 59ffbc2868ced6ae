//! The posting engine: the only writer of entries and balances.
//!
//! # Doctrine of locks and round trips
//! A batch, whatever its size, costs two round trips of its own:
//! 1. `lock_accounts` takes the row locks of every account of the batch **in id
//!    order**; `read_accounts` (and `read_holds`) read in a **later statement** of the
//!    same flush, whose snapshot is therefore newer than the locks;
//! 2. `insert_transfers`, `insert_transactions`, `update_accounts`, `insert_holds` and
//!    `update_holds`: one array statement each where there is anything to write,
//!    pipelined. The caller's audit, answers and COMMIT follow.
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

use jiff::{Timestamp, civil::Date};
use money::Currency;
use serde::{Deserialize, Serialize};
use tenancy::{Clock, DbError, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::model::{AccountState, TransactionType, TransferKind};

const LOCK: &str = tenancy::sql!("ledger/posting.sql", "lock_accounts");
const READ: &str = tenancy::sql!("ledger/posting.sql", "read_accounts");

pub(crate) use book::{Book, Wanted};

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

/// Posts a batch: a result for each posting, in order. Nothing is committed here.
pub async fn post(
    transaction: &TenantTx,
    clock: &Clock,
    batch: &[Posting],
) -> Result<Vec<Result<Posted, PostingError>>, DbError> {
    let accounts =
        batch.iter().flat_map(|posting| posting.legs.iter().map(|leg| leg.account_id)).collect();
    let wanted = Wanted { accounts, ..Wanted::default() };
    let mut book = Book::open(transaction, &wanted).await?;
    let results = batch.iter().map(|posting| book.post(posting, clock)).collect();
    book.close(transaction).await?;
    Ok(results)
}

/// [`post`] of those postings that are `admitted` by what a question of the caller's is
/// answered, asked in the round trip of the locks; it costs none of its own.
///
/// A posting that is not admitted moves nothing: it is checked for everything that needs
/// no balance, in the same order, and is `None` where it could be made.
pub async fn post_admitted(
    transaction: &TenantTx,
    clock: &Clock,
    batch: &[Posting],
    question: Query<'_>,
    admitted: impl FnOnce(&[Row], &[Posting]) -> Result<Vec<bool>, DbError>,
) -> Result<Vec<Result<Option<Posted>, PostingError>>, DbError> {
    let accounts =
        batch.iter().flat_map(|posting| posting.legs.iter().map(|leg| leg.account_id)).collect();
    let wanted = Wanted { accounts, ..Wanted::default() };
    let (mut book, answer) = Book::open_asking(transaction, &wanted, question).await?;
    let admitted = admitted(&answer, batch)?;
    if admitted.len() != batch.len() {
        return Err(DbError::Corrupt("another number of admissions than postings".to_owned()));
    }
    let results = (batch.iter().zip(admitted))
        .map(|(posting, admitted)| {
            if admitted {
                book.post(posting, clock).map(Some)
            } else {
                book.check(posting).map(|()| None)
            }
        })
        .collect();
    book.close(transaction).await?;
    Ok(results)
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
