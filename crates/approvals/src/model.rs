//! What an approval is: words, states, rows.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use money::Currency;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;

/// A name that stands in none of the closed lists of this module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}: {name:?}")]
pub struct UnknownApprovalName {
    /// Which list was asked.
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
}

impl From<UnknownApprovalName> for DbError {
    fn from(error: UnknownApprovalName) -> Self {
        Self::Corrupt(error.to_string())
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
            type Err = UnknownApprovalName;

            fn from_str(name: &str) -> Result<Self, UnknownApprovalName> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == name);
                found.ok_or_else(|| UnknownApprovalName { what: $what, name: name.to_owned() })
            }
        }
    };
}

names! {
    /// What waits for approval.
    ApprovalKind, "kind of approval" {
        /// A transfer over the tenant's ceiling.
        Transfer = "transfer",
        /// Roles for somebody, of which one reaches beyond what is their own.
        RoleGrant = "role_grant",
    }
}

names! {
    /// What has become of an approval. Its legal transitions are [`TRANSITIONS`].
    ApprovalStatus, "approval status" {
        /// It waits for a second person.
        Pending = "pending",
        /// A second person has approved it, and it was done.
        Approved = "approved",
        /// A second person has rejected it.
        Rejected = "rejected",
        /// Nobody has decided in time.
        Expired = "expired",
    }
}

/// Every legal change of status; whatever is not here is refused. All but `pending` are
/// final.
pub const TRANSITIONS: [(ApprovalStatus, ApprovalStatus); 3] = [
    (ApprovalStatus::Pending, ApprovalStatus::Approved),
    (ApprovalStatus::Pending, ApprovalStatus::Rejected),
    (ApprovalStatus::Pending, ApprovalStatus::Expired),
];

impl ApprovalStatus {
    /// Whether an approval may go from this status to `next`.
    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }
}

/// Somebody who has agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Who.
    pub by: Uuid,
    /// When.
    pub at: Timestamp,
}

/// Answers that were stored before there was a choice.
const fn one() -> i16 {
    1
}

/// An order that a second person has to approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: Uuid,
    /// What sort of order.
    pub kind: ApprovalKind,
    /// What has become of it; from `expires_at` on a pending one reads as expired.
    pub status: ApprovalStatus,
    /// The order as it was given; its members depend on the kind.
    pub payload: Value,
    /// SHA-256 over the canonical order and what it is bound to, in hexadecimal digits.
    pub payload_hash: String,
    /// What it is about: the transfer that will have this id, or the person who gets the roles.
    pub object_id: Uuid,
    /// The account that would be debited.
    pub from_account_id: Option<Uuid>,
    /// The account that would be credited.
    pub to_account_id: Option<Uuid>,
    /// Minor units.
    pub amount: Option<i64>,
    /// Of the amount.
    pub currency: Option<Currency>,
    /// Who has ordered it.
    pub requested_by: Uuid,
    /// When.
    pub requested_at: Timestamp,
    /// From this instant on nobody can decide it.
    pub expires_at: Timestamp,
    /// How many others have to agree.
    #[serde(default = "one")]
    pub required: i16,
    /// Who has, the first one first; none of what was decided before this was kept.
    #[serde(default)]
    pub approvals: Vec<Agreement>,
    /// Who has decided, of several the last; nobody where it expired.
    pub decided_by: Option<Uuid>,
    /// When it was decided, or when a worker wrote down that it expired.
    pub decided_at: Option<Timestamp>,
    /// What whoever decided says to it.
    pub decision_note: Option<String>,
    /// What came of it: the transfer that was posted, or the person who has the roles.
    pub result_id: Option<Uuid>,
    /// Counts its changes.
    pub version: i64,
}

impl Approval {
    /// Whether it is about a person: they do not decide what they get.
    pub(crate) fn is_about(&self, person: Uuid) -> bool {
        self.kind == ApprovalKind::RoleGrant && self.object_id == person
    }

    /// Whether nobody else has to agree.
    pub fn is_agreed(&self) -> bool {
        self.approvals.len() >= usize::try_from(self.required).unwrap_or(usize::MAX)
    }

    /// A row of any statement that reads whole approvals.
    pub fn from_row(row: &Row) -> Result<Self, DbError> {
        let currency: Option<&str> = row.try_get("currency")?;
        let by: Vec<Uuid> = row.try_get("approved_by")?;
        let at: Vec<Timestamp> = row.try_get("approved_at")?;
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get::<_, &str>("kind")?.parse::<ApprovalKind>()?,
            status: row.try_get::<_, &str>("status")?.parse::<ApprovalStatus>()?,
            payload: row.try_get("payload")?,
            payload_hash: hexadecimal(row.try_get("payload_hash")?),
            object_id: row.try_get("object_id")?,
            from_account_id: row.try_get("from_account_id")?,
            to_account_id: row.try_get("to_account_id")?,
            amount: row.try_get("amount")?,
            currency: currency.map(stored_currency).transpose()?,
            requested_by: row.try_get("requested_by")?,
            requested_at: row.try_get("requested_at")?,
            expires_at: row.try_get("expires_at")?,
            required: row.try_get("required")?,
            approvals: by.into_iter().zip(at).map(|(by, at)| Agreement { by, at }).collect(),
            decided_by: row.try_get("decided_by")?,
            decided_at: row.try_get("decided_at")?,
            decision_note: row.try_get("decision_note")?,
            result_id: row.try_get("result_id")?,
            version: row.try_get("version")?,
        })
    }
}

fn stored_currency(code: &str) -> Result<Currency, DbError> {
    code.parse().map_err(|error: money::CurrencyError| DbError::Corrupt(error.to_string()))
}

/// Bytes in lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{ApprovalStatus, TRANSITIONS, hexadecimal};

    #[test]
    fn only_what_waits_can_change_and_never_back() {
        for from in ApprovalStatus::ALL {
            for to in ApprovalStatus::ALL {
                let expected = *from == ApprovalStatus::Pending && *to != ApprovalStatus::Pending;
                assert_eq!(from.may_become(*to), expected, "{from} → {to}");
            }
        }
        assert_eq!(TRANSITIONS.len(), ApprovalStatus::ALL.len() - 1);
    }

    #[test]
    fn bytes_are_written_in_two_digits_each() {
        assert_eq!(hexadecimal(&[0, 10, 255]), "000aff");
    }
}
