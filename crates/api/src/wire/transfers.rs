//! Movements of money on the wire.

use banking::{ChargeFee, CreateTransfer, Deposit, Transfer as Stored, Withdraw};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_DATE, EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, accounts::currency, instant};
use crate::{openapi_parts::Example, problem::Problem};

/// A movement of money.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transfer {
    /// Its id.
    pub(crate) id: Uuid,
    /// `posted`; over the tenant's ceiling `pending_approval`, until it is posted,
    /// `rejected` or `expired`.
    pub(crate) status: String,
    /// Minor units.
    pub(crate) amount: i64,
    /// ISO 4217.
    pub(crate) currency: String,
    /// The account debited; for deposits the bank's own.
    pub(crate) from_account_id: Uuid,
    /// The account credited; for withdrawals the bank's own.
    pub(crate) to_account_id: Uuid,
    /// `transfer`, `deposit`, `withdrawal`, `fee`, `interest`, `reversal`, `import` or `journal`.
    pub(crate) kind: String,
    /// Text on both statements.
    pub(crate) description: String,
    /// The payer's reference.
    pub(crate) reference: Option<String>,
    /// The day from which it bears interest; null until it is posted.
    pub(crate) value_date: Option<String>,
    /// The business day on which it was booked; null until it is posted.
    pub(crate) booking_date: Option<String>,
    /// When it was posted; null until it is.
    pub(crate) posted_at: Option<String>,
    /// Who ordered it.
    pub(crate) created_by: Uuid,
    /// The transfer that it undoes.
    pub(crate) reverses_transfer_id: Option<Uuid>,
    /// The transfer that undid it, where it is read; null in the answer to its order.
    pub(crate) reversed_by_transfer_id: Option<Uuid>,
    /// The approval that it waits for, or was posted by.
    pub(crate) approval_id: Option<Uuid>,
    /// When it was stored.
    pub(crate) created_at: String,
}

impl From<Stored> for Transfer {
    fn from(transfer: Stored) -> Self {
        let posted = transfer.is_posted().then_some(());
        Self {
            id: transfer.id,
            status: transfer.status,
            amount: transfer.amount,
            currency: transfer.currency.to_string(),
            from_account_id: transfer.from_account_id,
            to_account_id: transfer.to_account_id,
            kind: transfer.kind.to_string(),
            description: transfer.description,
            reference: transfer.reference,
            value_date: posted.map(|()| transfer.value_date.to_string()),
            booking_date: posted.map(|()| transfer.booking_date.to_string()),
            posted_at: posted.map(|()| instant(transfer.posted_at)),
            created_by: transfer.created_by,
            reverses_transfer_id: transfer.reverses_transfer_id,
            reversed_by_transfer_id: transfer.reversed_by_transfer_id,
            approval_id: transfer.approval_id,
            created_at: instant(transfer.created_at),
        }
    }
}

impl Example for Transfer {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            status: "posted".to_owned(),
            amount: 2_500,
            currency: "EUR".to_owned(),
            from_account_id: EXAMPLE_ID,
            to_account_id: OTHER_ID,
            kind: "transfer".to_owned(),
            description: "Rent".to_owned(),
            reference: None,
            value_date: Some(EXAMPLE_DATE.to_owned()),
            booking_date: Some(EXAMPLE_DATE.to_owned()),
            posted_at: Some(EXAMPLE_INSTANT.to_owned()),
            created_by: OTHER_ID,
            reverses_transfer_id: None,
            reversed_by_transfer_id: None,
            approval_id: None,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// An order to move money.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferOrder {
    /// The account to debit.
    from_account_id: Uuid,
    /// The account to credit; anybody's in the tenant.
    to_account_id: Uuid,
    /// Minor units, 1 to 2^53 − 1.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217, of both accounts.
    currency: String,
    /// At most 140 characters; may be empty.
    #[serde(default)]
    description: Option<String>,
    /// Your own reference.
    #[serde(default)]
    reference: Option<String>,
}

/// A whole number of minor units. One that no integer of ours can hold is an amount
/// all the same, only too large: it saturates, and the rule that bounds amounts says so.
pub(crate) fn minor_units<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<i64, D::Error> {
    struct Whole;
    impl serde::de::Visitor<'_> for Whole {
        type Value = i64;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an integer within its range")
        }

        fn visit_i64<E>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }

        fn visit_u64<E>(self, value: u64) -> Result<i64, E> {
            Ok(i64::try_from(value).unwrap_or(i64::MAX))
        }

        fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<i64, E> {
            // The parser gives whole numbers above u64 and below i64 as floats; nothing
            // between that arrives as one was written as an integer.
            const ABOVE_U64: f64 = 18_446_744_073_709_551_616.0;
            const LOWEST_I64: f64 = -9_223_372_036_854_775_808.0;
            if value >= ABOVE_U64 {
                return Ok(i64::MAX);
            }
            if value <= LOWEST_I64 {
                return Ok(i64::MIN);
            }
            Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
        }
    }
    deserializer.deserialize_any(Whole)
}

impl TransferOrder {
    pub(crate) fn checked(self) -> Result<CreateTransfer, Problem> {
        Ok(CreateTransfer {
            from_account_id: self.from_account_id,
            to_account_id: self.to_account_id,
            amount: self.amount,
            currency: currency(&self.currency)?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
        })
    }
}

/// Cash over the counter.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CashOrder {
    /// Minor units, 1 to 2^53 − 1.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217; the account's own where absent.
    #[serde(default)]
    currency: Option<String>,
    /// At most 140 characters; may be empty.
    #[serde(default)]
    description: Option<String>,
    /// The payer's reference.
    #[serde(default)]
    reference: Option<String>,
    /// Where the cash moved on an earlier day; never in the future.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    value_date: Option<Date>,
}

impl CashOrder {
    pub(crate) fn deposit(self, account_id: Uuid) -> Result<Deposit, Problem> {
        Ok(Deposit {
            account_id,
            amount: self.amount,
            currency: self.currency.as_deref().map(currency).transpose()?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
            value_date: self.value_date,
        })
    }

    pub(crate) fn withdrawal(self, account_id: Uuid) -> Result<Withdraw, Problem> {
        let Deposit { account_id, amount, currency, description, reference, value_date } =
            self.deposit(account_id)?;
        Ok(Withdraw { account_id, amount, currency, description, reference, value_date })
    }
}

/// A charge of the bank.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeeOrder {
    /// Minor units, 1 to 2^53 − 1.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217; the account's own where absent.
    #[serde(default)]
    currency: Option<String>,
    /// At most 140 characters; may be empty.
    #[serde(default)]
    description: Option<String>,
    /// The bank's own reference.
    #[serde(default)]
    reference: Option<String>,
}

impl FeeOrder {
    pub(crate) fn checked(self, account_id: Uuid) -> Result<ChargeFee, Problem> {
        Ok(ChargeFee {
            account_id,
            amount: self.amount,
            currency: self.currency.as_deref().map(currency).transpose()?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
        })
    }
}
