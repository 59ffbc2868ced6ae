//! Money moving: transfers on somebody's order, deposits, withdrawals and fees at the
//! counter, journals and reversals by accountants, and the history they leave.
//!
//! Owns who may move what and which field a refusal names. Entries and balances
//! are the ledger's.

mod alone;
mod error;
mod fee;
mod journal;
mod model;
mod reversal;
mod teller;
mod transfer;
mod view;

use audit::{AuditEvent, EventType};
use jiff::{Timestamp, civil::Date};
use operation::event;
use serde_json::json;
use tenancy::{DbError, OpContext};

pub(crate) use error::Fields;
pub use fee::ChargeFee;
pub use journal::{ENTRIES_MAX, JournalAccount, JournalEntry, PostJournal};
pub use model::{Balance, Movement, Transaction, TransactionFilter, Transfer};
pub use reversal::ReverseTransaction;
pub use teller::{Deposit, Withdraw};
pub use transfer::CreateTransfer;
pub use view::{BalanceAsOf, MovementView, TransactionList, TransferView};

/// The business day that it now is in the tenant's zone.
pub fn business_date(context: &OpContext) -> Result<Date, DbError> {
    business_date_at(context, context.clock.now())
}

/// The business day that it was at an instant.
fn business_date_at(context: &OpContext, at: Timestamp) -> Result<Date, DbError> {
    let zone = &context.tenant.time_zone;
    // Most tenants keep UTC; it needs no zone files.
    if zone == "UTC" {
        return Ok(at.to_zoned(jiff::tz::TimeZone::UTC).date());
    }
    let local = at.in_tz(zone).map_err(|error| DbError::Corrupt(format!("time zone: {error}")))?;
    Ok(local.date())
}

/// What is posted is never changed: the first version is the only one.
pub(crate) const POSTED: i64 = 1;

/// The record of a posting: ids, amount, currency and day; no text of anybody's.
pub(crate) fn posting_event(
    context: &OpContext,
    action: &'static str,
    transfer: &Transfer,
) -> AuditEvent {
    let mut values = json!({
        "kind": transfer.kind,
        "amount": transfer.amount,
        "currency": transfer.currency,
        "from_account_id": transfer.from_account_id,
        "to_account_id": transfer.to_account_id,
        "value_date": transfer.value_date.to_string(),
    });
    if let Some(undone) = transfer.reverses_transfer_id {
        values["reverses_transfer_id"] = json!(undone);
    }
    event(context, EventType::LedgerPosting, action, "transfer")
        .resource_id(transfer.id)
        .new_values(values)
        .at_version(POSTED)
}
