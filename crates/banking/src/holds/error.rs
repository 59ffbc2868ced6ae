//! The ledger's refusals of holds in the words and fields of the requests.

use ledger::{HoldStatus, PostingError, holds::HoldError};
use operation::{Refusal, RefusalKind};

use crate::approvals::approval_required;

/// What the client sees. Of a hold in the path no field is at fault.
pub(super) fn refusal(error: HoldError) -> Refusal {
    match error {
        HoldError::InvalidAmount => {
            Refusal::rule("invalid_amount", "amount", "The amount must be at least one minor unit")
        }
        HoldError::AmountTooLarge => Refusal::rule(
            "amount_too_large",
            "amount",
            "The amount, and all that is held on the account, must be at most 2^53 - 1 minor units",
        ),
        HoldError::UnknownHold => Refusal::not_found(),
        HoldError::Ended(HoldStatus::Captured) => {
            state("hold_captured", "The hold has been captured and is over")
        }
        HoldError::Ended(HoldStatus::Released) => {
            state("hold_released", "The hold has been released and is over")
        }
        HoldError::Ended(_) | HoldError::Expired => {
            state("hold_expired", "The hold has expired and is over")
        }
        HoldError::NotDue => state("hold_not_expired", "The hold has not expired yet"),
        HoldError::ExceedsHold => Refusal::rule(
            "capture_exceeds_hold",
            "amount",
            "The amount is more than remains of the hold",
        ),
        // Its caller asked for it, and knows in whose words: see `authorise` and `capture`.
        HoldError::NotAdmitted => approval_required("A second person has to agree"),
        HoldError::Posting(error) => posting(error),
    }
}

fn posting(error: PostingError) -> Refusal {
    let field = |leg: usize| if leg == 0 { "account_id" } else { "to_account_id" };
    match error {
        PostingError::InvalidAmount => refusal(HoldError::InvalidAmount),
        PostingError::AmountTooLarge => refusal(HoldError::AmountTooLarge),
        PostingError::Unbalanced => {
            Refusal::rule("unbalanced", "amount", "The entries do not sum to zero")
        }
        PostingError::SameAccount { leg } => Refusal::rule(
            "same_account",
            field(leg),
            "Money cannot be promised to the account it is kept back on",
        ),
        PostingError::UnknownAccount { leg } => Refusal::invisible(field(leg)),
        PostingError::CurrencyMismatch { leg } => {
            let field = if leg == 0 { "currency" } else { field(leg) };
            Refusal::rule("currency_mismatch", field, "The account holds another currency")
        }
        PostingError::AccountClosed { leg } => {
            Refusal::rule("account_closed", field(leg), "The account is closed")
        }
        PostingError::AccountFrozen { leg } => {
            Refusal::rule("account_frozen", field(leg), "The account is frozen")
        }
        PostingError::InsufficientFunds { .. } => Refusal::rule(
            "insufficient_funds",
            "amount",
            "The available balance is less than the amount",
        ),
        PostingError::BalanceOutOfRange { leg } => Refusal::rule(
            "amount_too_large",
            field(leg),
            "The balance would exceed 2^53 - 1 minor units",
        ),
    }
}

fn state(code: &'static str, detail: &'static str) -> Refusal {
    Refusal::new(RefusalKind::Rule, code, detail)
}
