//! Movements and entries as they are read and answered.

use jiff::{Timestamp, civil::Date};
use ledger::{Posted, Posting, TransactionType, TransferKind};
use money::Currency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;

/// A movement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its id.
    pub id: Uuid,
    /// Why it was made.
    pub kind: TransferKind,
    /// `posted`; of an order over the ceiling that is not, `pending_approval`, `rejected`
    /// or `expired`. Its days and `posted_at` are then those of the order.
    pub status: String,
    /// Minor units.
    pub amount: i64,
    /// Of the amount.
    pub currency: Currency,
    /// The account debited; for deposits the bank's own.
    pub from_account_id: Uuid,
    /// The account credited; for withdrawals the bank's own.
    pub to_account_id: Uuid,
    /// Text on both statements; may be empty.
    pub description: String,
    /// The payer's or an outside system's reference.
    pub reference: Option<String>,
    /// The day from which it bears interest.
    pub value_date: Date,
    /// The business day on which it was booked.
    pub booking_date: Date,
    /// When it was posted.
    pub posted_at: Timestamp,
    /// The principal that ordered it.
    pub created_by: Uuid,
    /// The transfer that it undoes.
    pub reverses_transfer_id: Option<Uuid>,
    /// The transfer that undid it, where it is read; the answer to an order was given
    /// before any could.
    #[serde(default)]
    pub reversed_by_transfer_id: Option<Uuid>,
    /// The approval that it waits for, or was posted by; the answer to an approved order
    /// said it while it waited.
    #[serde(default)]
    pub approval_id: Option<Uuid>,
    /// When it was stored; the same instant as `posted_at`.
    pub created_at: Timestamp,
}

impl Transfer {
    /// The movement of a posting that was just made: from its first debit to its first
    /// credit, as the ledger stores it.
    pub(crate) fn of(posting: &Posting) -> Self {
        let first = |is_credit: bool| {
            let side = posting.legs.iter().find(|leg| (leg.amount > 0) == is_credit);
            side.map_or(Uuid::nil(), |leg| leg.account_id)
        };
        Self {
            id: posting.transfer_id,
            kind: posting.kind,
            status: "posted".to_owned(),
            amount: posting.amount,
            currency: posting.currency,
            from_account_id: first(false),
            to_account_id: first(true),
            description: posting.description.clone(),
            reference: posting.reference.clone(),
            value_date: posting.value_date,
            booking_date: posting.booking_date,
            posted_at: posting.posted_at,
            created_by: posting.created_by,
            reverses_transfer_id: posting.reverses_transfer_id,
            reversed_by_transfer_id: None,
            approval_id: None,
            created_at: posting.posted_at,
        }
    }

    /// A movement that was ordered and waits for approval.
    pub(crate) fn pending(posting: &Posting, approval_id: Uuid) -> Self {
        let status = "pending_approval".to_owned();
        Self { status, approval_id: Some(approval_id), ..Self::of(posting) }
    }

    /// Whether it has moved anything.
    pub fn is_posted(&self) -> bool {
        self.status == "posted"
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        let posted_at = row.try_get("posted_at")?;
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get::<_, &str>("kind")?.parse::<TransferKind>()?,
            status: row.try_get("status")?,
            amount: row.try_get("amount")?,
            currency: ledger::model::stored_currency(row.try_get("currency")?)?,
            from_account_id: row.try_get("from_account_id")?,
            to_account_id: row.try_get("to_account_id")?,
            description: row.try_get("description")?,
            reference: row.try_get("reference")?,
            value_date: row.try_get("value_date")?,
            booking_date: row.try_get("booking_date")?,
            posted_at,
            created_by: row.try_get("created_by")?,
            reverses_transfer_id: row.try_get("reverses_transfer_id")?,
            reversed_by_transfer_id: row.try_get("reversed_by_transfer_id")?,
            approval_id: row.try_get("approval_id")?,
            // The answer to the order and every later read say the same instant.
            created_at: posted_at,
        })
    }
}

/// An entry of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its id.
    pub id: Uuid,
    /// The account it stands in.
    pub account_id: Uuid,
    /// The movement it is a side of.
    pub transfer_id: Uuid,
    /// Its place in the account's history, from 1 without gaps.
    pub account_sequence: i64,
    /// What it is to the account.
    pub transaction_type: TransactionType,
    /// Minor units; positive is in, negative is out.
    pub amount: i64,
    /// The account's balance behind it.
    pub balance_after: i64,
    /// Text on the statement.
    pub description: String,
    /// The payer's or an outside system's reference.
    pub reference: Option<String>,
    /// The value date.
    pub transaction_date: Date,
    /// When it was posted.
    pub posted_date: Timestamp,
    /// `posted`.
    pub status: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl Transaction {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("transaction_id")?,
            account_id: row.try_get("account_id")?,
            transfer_id: row.try_get("transfer_id")?,
            account_sequence: row.try_get("account_sequence")?,
            transaction_type: row
                .try_get::<_, &str>("transaction_type")?
                .parse::<TransactionType>()?,
            amount: row.try_get("amount")?,
            balance_after: row.try_get("balance_after")?,
            description: row.try_get("description")?,
            reference: row.try_get("reference")?,
            transaction_date: row.try_get("transaction_date")?,
            posted_date: row.try_get("posted_date")?,
            status: row.try_get("status")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// A movement with its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// The movement.
    pub transfer: Transfer,
    /// Its entries, debits first, the largest first among them; only of accounts that
    /// the reader may see.
    pub entries: Vec<Transaction>,
}

impl Movement {
    /// What was just posted, with all its entries.
    pub(crate) fn of(posting: &Posting, posted: &Posted) -> Self {
        let transfer = Transfer::of(posting);
        let mut entries: Vec<Transaction> = (posting.legs.iter().zip(&posted.entries))
            .map(|(leg, entry)| Transaction {
                id: entry.transaction_id,
                account_id: entry.account_id,
                transfer_id: transfer.id,
                account_sequence: entry.account_sequence,
                transaction_type: leg.transaction_type,
                amount: entry.amount,
                balance_after: entry.balance_after,
                description: transfer.description.clone(),
                reference: transfer.reference.clone(),
                transaction_date: transfer.value_date,
                posted_date: transfer.posted_at,
                status: transfer.status.clone(),
                created_at: transfer.created_at,
            })
            .collect();
        // The order of the statement that reads them later.
        entries.sort_by_key(|entry| (entry.amount, entry.account_id));
        Self { transfer, entries }
    }
}

/// Which entries of a list; what is `None` does not narrow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Value date not before.
    pub from: Option<Date>,
    /// Value date not after.
    pub to: Option<Date>,
    /// Of this type.
    pub transaction_type: Option<TransactionType>,
}

impl TransactionFilter {
    /// As an access record tells it.
    pub(crate) fn told(&self) -> Value {
        json!({
            "from": self.from.map(|from| from.to_string()),
            "to": self.to.map(|to| to.to_string()),
            "transaction_type": self.transaction_type.map(TransactionType::as_str),
        })
    }
}

/// An account's balance at the end of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The account.
    pub account_id: Uuid,
    /// Of the balance.
    pub currency: Currency,
    /// The day.
    pub date: Date,
    /// Sum of the entries with a value date up to that day, minor units.
    pub balance: i64,
}
