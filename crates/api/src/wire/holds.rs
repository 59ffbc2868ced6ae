//! Holds on the wire.

use banking::{AuthoriseHold, CaptureHold, CapturedHold, Hold as Stored};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, accounts::currency, instant, transfers::minor_units,
};
use crate::{openapi_parts::Example, problem::Problem};

/// Money kept back on an account for another one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hold {
    /// Its id.
    pub(crate) id: Uuid,
    /// The account that the money is kept back on.
    pub(crate) account_id: Uuid,
    /// The account that it is promised to; the bank's own where none was named.
    pub(crate) to_account_id: Uuid,
    /// What was authorised, minor units.
    pub(crate) amount: i64,
    /// What has been paid out of it, minor units.
    pub(crate) captured_amount: i64,
    /// What is still kept back, minor units; 0 once it has ended.
    pub(crate) remaining: i64,
    /// ISO 4217.
    pub(crate) currency: String,
    /// `authorized` and `partially_captured` keep money back and may become
    /// `partially_captured`, `captured`, `released` or `expired`; those three are final.
    pub(crate) status: String,
    /// Text on both statements when it is captured.
    pub(crate) description: String,
    /// The payer's reference.
    pub(crate) reference: Option<String>,
    /// From this instant on nothing can be captured. The money returns, and the status
    /// becomes `expired`, within a minute of it.
    pub(crate) expires_at: String,
    /// The transfer of the last capture.
    pub(crate) last_transfer_id: Option<Uuid>,
    /// Who authorised it.
    pub(crate) created_by: Uuid,
    /// Counts its changes; its `ETag`.
    pub(crate) version: i64,
    /// When it was authorised.
    pub(crate) created_at: String,
    /// When it last changed.
    pub(crate) updated_at: String,
}

impl From<Stored> for Hold {
    fn from(hold: Stored) -> Self {
        Self {
            id: hold.id,
            account_id: hold.account_id,
            to_account_id: hold.to_account_id,
            amount: hold.amount,
            captured_amount: hold.captured_amount,
            remaining: hold.remaining,
            currency: hold.currency.to_string(),
            status: hold.status.to_string(),
            description: hold.description,
            reference: hold.reference,
            expires_at: instant(hold.expires_at),
            last_transfer_id: hold.last_transfer_id,
            created_by: hold.created_by,
            version: hold.version,
            created_at: instant(hold.created_at),
            updated_at: instant(hold.updated_at),
        }
    }
}

impl From<CapturedHold> for Hold {
    fn from(captured: CapturedHold) -> Self {
        Self::from(captured.hold)
    }
}

impl Example for Hold {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            account_id: EXAMPLE_ID,
            to_account_id: OTHER_ID,
            amount: 20_000,
            captured_amount: 0,
            remaining: 20_000,
            currency: "EUR".to_owned(),
            status: "authorized".to_owned(),
            description: "Hotel deposit".to_owned(),
            reference: None,
            expires_at: "2026-11-28T09:30:00.000000Z".to_owned(),
            last_transfer_id: None,
            created_by: OTHER_ID,
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

impl Hold {
    /// The example after its last capture.
    pub(crate) fn captured_example() -> Self {
        Self {
            captured_amount: 12_500,
            remaining: 0,
            status: "captured".to_owned(),
            last_transfer_id: Some(OTHER_ID),
            version: 2,
            ..Self::example()
        }
    }

    /// The example, let go.
    pub(crate) fn released_example() -> Self {
        Self { remaining: 0, status: "released".to_owned(), version: 2, ..Self::example() }
    }
}

/// Money to be kept back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldOrder {
    /// The account to keep it back on.
    account_id: Uuid,
    /// The account to promise it to, anybody's in the tenant; the bank's settlement
    /// account where absent.
    #[serde(default)]
    to_account_id: Option<Uuid>,
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
    /// Your own reference.
    #[serde(default)]
    reference: Option<String>,
    /// Later than now, at most 30 days ahead; 7 days ahead where absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl HoldOrder {
    pub(crate) fn checked(self) -> Result<AuthoriseHold, Problem> {
        Ok(AuthoriseHold {
            account_id: self.account_id,
            to_account_id: self.to_account_id,
            amount: self.amount,
            currency: self.currency.as_deref().map(currency).transpose()?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
            expires_at: self.expires_at,
        })
    }
}

/// Money to be paid out of a hold; an empty object, or no body, captures all of it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureOrder {
    /// Minor units, 1 to what remains; all that remains where absent.
    #[serde(default, deserialize_with = "some_minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: Option<i64>,
    /// Whether what is left is returned (true where absent), or stays kept back for
    /// further captures.
    #[serde(default, rename = "final")]
    is_final: Option<bool>,
}

impl CaptureOrder {
    pub(crate) fn of(&self, hold_id: Uuid) -> CaptureHold {
        CaptureHold { hold_id, amount: self.amount, is_final: self.is_final.unwrap_or(true) }
    }
}

/// An amount that may be absent, but is a whole number where it is there.
fn some_minor_units<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    minor_units(deserializer).map(Some)
}
