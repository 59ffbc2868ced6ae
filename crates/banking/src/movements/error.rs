//! The ledger's refusals in the words and fields of the requests that caused them.

use ledger::PostingError;
use operation::Refusal;

/// What the request calls the parts of a posting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// By leg: the body's field that named the account; none where the path did,
    /// or where it is an account of the bank's own.
    pub(crate) legs: [Option<&'static str>; 2],
}

impl Fields {
    /// A transfer names both accounts.
    pub(crate) const TRANSFER: Self =
        Self { legs: [Some("from_account_id"), Some("to_account_id")] };
    /// A deposit's account stands in the path; so does a withdrawal's.
    pub(crate) const TELLER: Self = Self { legs: [None, None] };

    fn of(self, leg: usize) -> &'static str {
        // Without a field of its own, the account is what the request is about.
        self.legs.get(leg).copied().flatten().unwrap_or("account_id")
    }

    /// The refusal that the client sees.
    pub(crate) fn refusal(self, error: PostingError) -> Refusal {
        match error {
            PostingError::InvalidAmount => Refusal::rule(
                "invalid_amount",
                "amount",
                "The amount must be at least one minor unit",
            ),
            PostingError::AmountTooLarge => Refusal::rule(
                "amount_too_large",
                "amount",
                "The amount must be at most 2^53 - 1 minor units",
            ),
            PostingError::Unbalanced => {
                Refusal::rule("unbalanced", "amount", "The entries do not sum to zero")
            }
            PostingError::SameAccount { leg } => Refusal::rule(
                "same_account",
                self.of(leg),
                "Money cannot be moved to the account it comes from",
            ),
            PostingError::UnknownAccount { leg } => Refusal::invisible(self.of(leg)),
            PostingError::CurrencyMismatch { leg: 0 } => {
                Refusal::rule("currency_mismatch", "currency", "The account holds another currency")
            }
            PostingError::CurrencyMismatch { leg } => Refusal::rule(
                "currency_mismatch",
                self.of(leg),
                "The account holds another currency",
            ),
            PostingError::AccountClosed { leg } => {
                Refusal::rule("account_closed", self.of(leg), "The account is closed")
            }
            PostingError::AccountFrozen { leg } => {
                Refusal::rule("account_frozen", self.of(leg), "The account is frozen")
            }
            PostingError::InsufficientFunds { .. } => Refusal::rule(
                "insufficient_funds",
                "amount",
                "The available balance is less than the amount",
            ),
            PostingError::BalanceOutOfRange { leg } => Refusal::rule(
                "amount_too_large",
                self.of(leg),
                "The balance would exceed 2^53 - 1 minor units",
            ),
        }
    }
}
