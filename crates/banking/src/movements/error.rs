//! The ledger's refusals in the words and fields of the requests that caused them.

use std::borrow::Cow;

use ledger::PostingError;
use operation::{FieldError, Refusal, RefusalKind};

/// What the request calls the parts of a posting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields(Naming);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// The body names two accounts.
    Sides,
    /// The path names the one account; the other is the bank's own.
    Account,
    /// The path names a movement, or the order of one, which names everything else.
    Movement,
    /// The body lists the legs as `entries`.
    Entries,
}

impl Fields {
    /// A transfer names both accounts.
    pub(crate) const TRANSFER: Self = Self(Naming::Sides);
    /// The account of a deposit, a withdrawal or a fee stands in the path.
    pub(crate) const TELLER: Self = Self(Naming::Account);
    /// A reversal names nothing but the movement.
    pub(crate) const REVERSAL: Self = Self(Naming::Movement);
    /// An approval names nothing but the order that waits.
    pub(crate) const APPROVAL: Self = Self(Naming::Movement);
    /// A journal names its legs one by one.
    pub(crate) const JOURNAL: Self = Self(Naming::Entries);

    /// The account of a leg.
    fn account(self, leg: usize) -> Cow<'static, str> {
        match (self.0, leg) {
            (Naming::Sides, 0) => "from_account_id".into(),
            (Naming::Sides, _) => "to_account_id".into(),
            // Without a field of its own, the account is what the request is about.
            (Naming::Account, _) => "account_id".into(),
            (Naming::Movement, _) => "id".into(),
            (Naming::Entries, _) => format!("entries[{leg}].account_id").into(),
        }
    }

    /// The amount of a leg.
    fn amount(self, leg: usize) -> Cow<'static, str> {
        match self.0 {
            Naming::Sides | Naming::Account => "amount".into(),
            Naming::Movement => "id".into(),
            Naming::Entries => format!("entries[{leg}].amount").into(),
        }
    }

    /// The amount of the whole.
    pub(super) fn whole(self) -> Cow<'static, str> {
        match self.0 {
            Naming::Sides | Naming::Account => "amount".into(),
            Naming::Movement => "id".into(),
            Naming::Entries => "entries".into(),
        }
    }

    /// The currency that a leg's account does not hold.
    fn currency(self, leg: usize) -> Cow<'static, str> {
        if leg == 0 && self.0 != Naming::Entries { "currency".into() } else { self.account(leg) }
    }

    /// The refusal that the client sees.
    pub(crate) fn refusal(self, error: PostingError) -> Refusal {
        let (code, field, detail) = match error {
            PostingError::InvalidAmount => {
                ("invalid_amount", self.whole(), "The amount must be at least one minor unit")
            }
            PostingError::AmountTooLarge => (
                "amount_too_large",
                self.whole(),
                "The amount must be at most 2^53 - 1 minor units",
            ),
            PostingError::Unbalanced => {
                ("unbalanced", self.whole(), "The entries do not sum to zero")
            }
            PostingError::SameAccount { leg } => (
                "same_account",
                self.account(leg),
                "Money cannot be moved to the account it comes from",
            ),
            PostingError::UnknownAccount { leg } => return invisible(self.account(leg)),
            PostingError::CurrencyMismatch { leg } => {
                ("currency_mismatch", self.currency(leg), "The account holds another currency")
            }
            PostingError::AccountClosed { leg } => {
                ("account_closed", self.account(leg), "The account is closed")
            }
            PostingError::AccountFrozen { leg } => {
                ("account_frozen", self.account(leg), "The account is frozen")
            }
            PostingError::InsufficientFunds { leg } => (
                "insufficient_funds",
                self.amount(leg),
                "The available balance is less than the amount",
            ),
            PostingError::BalanceOutOfRange { leg } => (
                "amount_too_large",
                self.beyond_range(leg),
                "The balance would exceed 2^53 - 1 minor units",
            ),
        };
        rule(code, field, detail)
    }

    /// A balance that would leave its range is the account's as much as the amount's.
    fn beyond_range(self, leg: usize) -> Cow<'static, str> {
        if self.0 == Naming::Entries { self.amount(leg) } else { self.account(leg) }
    }
}

/// [`Refusal::rule`] about a field whose name is only now known.
pub(crate) fn rule(
    code: &'static str,
    field: impl Into<Cow<'static, str>>,
    detail: &str,
) -> Refusal {
    let error =
        FieldError { field: field.into(), code: Cow::Borrowed(code), message: detail.to_owned() };
    Refusal { errors: vec![error], ..Refusal::new(RefusalKind::Rule, code, detail) }
}

/// [`Refusal::invisible`] about a field whose name is only now known.
pub(crate) fn invisible(field: Cow<'static, str>) -> Refusal {
    let detail = format!("{field} names nothing that you can use");
    rule("not_found", field, &detail)
}
