//! The words of the ledger and an account's state: types, names, no I/O.

use std::{fmt, str::FromStr};

use money::Currency;
use serde::{Deserialize, Serialize};
use tenancy::DbError;
use uuid::Uuid;

/// A name that stands in none of the closed lists of this module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}: {name:?}")]
pub struct UnknownName {
    /// Which list was asked.
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
}

impl From<UnknownName> for DbError {
    fn from(error: UnknownName) -> Self {
        Self::Corrupt(error.to_string())
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $kind {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)*
        }

        impl $kind {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|candidate| candidate.as_str() == name)
                    .ok_or_else(|| UnknownName { what: $what, name: name.to_owned() })
            }
        }
    };
}

pub(crate) use names;

names! {
    /// Whose account it is.
    AccountClass, "account class" {
        /// A customer's; bound to its floor.
        Customer = "customer",
        /// The bank's own; may have any balance.
        Internal = "internal",
    }
}

names! {
    /// Whether an account takes postings. Legal transitions: active ↔ frozen,
    /// active → closed, frozen → closed; closed is final.
    AccountStatus, "account status" {
        /// It does.
        Active = "active",
        /// Neither debits nor credits until it is released.
        Frozen = "frozen",
        /// Never again.
        Closed = "closed",
    }
}

impl AccountStatus {
    /// Whether an account may go from this status to `next`; staying is no transition.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Active, Self::Frozen | Self::Closed)
                | (Self::Frozen, Self::Active | Self::Closed)
        )
    }
}

names! {
    /// Why a transfer was made.
    TransferKind, "transfer kind" {
        /// Between two accounts, on somebody's order.
        Transfer = "transfer",
        /// Cash in at the counter.
        Deposit = "deposit",
        /// Cash out at the counter.
        Withdrawal = "withdrawal",
        /// A charge of the bank.
        Fee = "fee",
        /// Interest, paid or charged.
        Interest = "interest",
        /// Undoes another transfer.
        Reversal = "reversal",
        /// History brought in from elsewhere.
        Import = "import",
        /// Several accounts at once, on an accountant's order.
        Journal = "journal",
    }
}

names! {
    /// What an entry is to its account.
    TransactionType, "transaction type" {
        /// Received from another account.
        TransferIn = "transfer_in",
        /// Sent to another account.
        TransferOut = "transfer_out",
        /// Cash or an outside payment in.
        Deposit = "deposit",
        /// Cash or an outside payment out.
        Withdrawal = "withdrawal",
        /// A charge of the bank.
        Fee = "fee",
        /// Interest, paid or charged.
        Interest = "interest",
        /// The counter-entry of a reversed one.
        Reversal = "reversal",
        /// A leg of an accountant's journal.
        Journal = "journal",
    }
}

names! {
    /// The bank's own accounts, one of each per currency, made when first used.
    InternalAccount, "internal account" {
        /// Cash in the vault and the tills.
        Cash = "cash",
        /// Owed by and to other banks.
        Settlement = "settlement",
        /// Fees earned.
        Fees = "fees",
        /// Interest paid to customers.
        InterestExpense = "interest_expense",
        /// Interest charged to customers.
        InterestIncome = "interest_income",
        /// What has yet to be explained.
        Suspense = "suspense",
        /// Money lent.
        Loans = "loans",
        /// The other side of history brought in from another system.
        OpeningBalance = "opening_balance",
    }
}

/// An account as a posting sees it, under its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub class: AccountClass,
    /// The one currency it holds.
    pub currency: Currency,
    /// Sum of its entries, minor units.
    pub balance: i64,
    /// Kept back by holds, minor units.
    pub held: i64,
    /// How far below zero it may go, minor units.
    pub overdraft_limit: i64,
    /// What must stay on it; excludes an overdraft.
    pub minimum_balance: Option<i64>,
    /// Whether it takes postings.
    pub status: AccountStatus,
    /// How many entries it has: the sequence of the last one.
    pub entry_count: i64,
    /// Counts changes of its settings.
    pub version: i64,
}

impl AccountState {
    /// One of the bank's own as it is when it is made.
    pub(crate) const fn new_internal(id: Uuid, currency: Currency) -> Self {
        Self {
            id,
            class: AccountClass::Internal,
            currency,
            balance: 0,
            held: 0,
            overdraft_limit: 0,
            minimum_balance: None,
            status: AccountStatus::Active,
            entry_count: 0,
            version: 1,
        }
    }

    /// The lowest balance that a debit may leave.
    pub fn floor(&self) -> i64 {
        self.minimum_balance.unwrap_or(-self.overdraft_limit)
    }

    /// What can be taken out now: balance less holds, down to the floor; never negative.
    pub fn available(&self) -> i64 {
        available_balance(self.balance, self.held, self.overdraft_limit, self.minimum_balance)
    }
}

/// What can be taken out of an account now, in minor units; never negative.
pub fn available_balance(
    balance: i64,
    held: i64,
    overdraft_limit: i64,
    minimum_balance: Option<i64>,
) -> i64 {
    let floor = minimum_balance.unwrap_or(-overdraft_limit);
    balance.saturating_sub(held).saturating_sub(floor).max(0)
}

/// The currency of a stored code.
pub fn stored_currency(code: &str) -> Result<Currency, DbError> {
    code.parse().map_err(|error: money::CurrencyError| DbError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{AccountStatus, available_balance};

    #[test]
    fn available_is_what_lies_above_the_floor() {
        let table = [
            (1_000, 0, 0, None, 1_000),
            (1_000, 300, 0, None, 700),
            (-200, 0, 500, None, 300),
            (-600, 0, 500, None, 0),
            (1_000, 0, 0, Some(400), 600),
            (300, 0, 0, Some(400), 0),
        ];
        for (balance, held, overdraft, minimum, expected) in table {
            let available = available_balance(balance, held, overdraft, minimum);
            assert_eq!(available, expected, "{balance} {held} {overdraft} {minimum:?}");
        }
    }

    #[test]
    fn closed_is_final() {
        for &next in AccountStatus::ALL {
            assert!(!AccountStatus::Closed.may_become(next));
            assert!(!next.may_become(next));
        }
        assert!(AccountStatus::Frozen.may_become(AccountStatus::Active));
    }
}
