//! The tenant's ceiling: what one person may not do alone. A transfer above it waits for
//! a second person; whatever cannot wait yet is refused.

use operation::{Refusal, RefusalKind};
use tenancy::{Actor, ActorKind, DbError};
use tokio_postgres::Row;
use uuid::Uuid;

/// The question after the ceiling; asked beside the locks of a batch.
pub(crate) const CEILING: &str = tenancy::sql!("banking/approvals.sql", "ceiling");

/// The code of what one person may not do alone.
const APPROVAL_REQUIRED: &str = "approval_required";

/// The answer to [`CEILING`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ceiling(Option<i64>);

impl Ceiling {
    pub(crate) fn of(answer: &[Row]) -> Result<Self, DbError> {
        Ok(Self(answer.first().map(|row| row.try_get("ceiling")).transpose()?.flatten()))
    }

    /// The ceiling itself is still below it.
    pub(crate) fn is_exceeded_by(self, amount: i64) -> bool {
        self.0.is_some_and(|ceiling| amount > ceiling)
    }

    /// Whether so much may be done on this principal's word alone. The system's own
    /// (command line, worker) is no person's, and has no second one.
    pub(crate) fn allows_alone(self, principal: Uuid, amount: i64) -> bool {
        is_the_systems(principal) || !self.is_exceeded_by(amount)
    }

    /// Why an order of a kind that cannot wait is refused above the ceiling.
    pub(crate) fn detail(self) -> String {
        let ceiling = self.0.unwrap_or_default();
        format!(
            "Above {ceiling} minor units a second person has to agree, \
             and this kind of order cannot wait for one yet"
        )
    }

    /// [`Ceiling::detail`] as the refusal of an amount.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::rule(APPROVAL_REQUIRED, "amount", self.detail())
    }

    /// The refusal of somebody who pays out what they have promised themselves.
    pub(crate) fn refusal_of_own_promise(self) -> Refusal {
        let ceiling = self.0.unwrap_or_default();
        let detail = format!(
            "A hold of more than {ceiling} minor units is captured by another person \
             than the one who authorised it"
        );
        approval_required(detail)
    }
}

/// A refusal without a field at fault.
pub(crate) fn approval_required(detail: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Rule, APPROVAL_REQUIRED, detail)
}

/// Whether a principal is the system itself.
pub(super) fn is_the_systems(principal: Uuid) -> bool {
    [ActorKind::Cli, ActorKind::Worker].iter().any(|kind| Actor::system(*kind).id == principal)
}

#[cfg(test)]
mod tests {
    use tenancy::{Actor, ActorKind};
    use uuid::Uuid;

    use super::Ceiling;

    #[test]
    fn only_what_is_more_than_the_ceiling_needs_a_second_person() {
        // ceiling, amount, exceeded
        let table = [
            (None, 1, false),
            (None, i64::MAX, false),
            (Some(5_000_000), 4_999_999, false),
            (Some(5_000_000), 5_000_000, false),
            (Some(5_000_000), 5_000_001, true),
            (Some(0), 1, true),
            (Some(0), 0, false),
            (Some(0), -1, false),
            (Some(0), i64::MAX, true),
        ];
        for (ceiling, amount, exceeded) in table {
            let ceiling = Ceiling(ceiling);
            assert_eq!(ceiling.is_exceeded_by(amount), exceeded, "{ceiling:?} {amount}");
            let person = Uuid::from_u128(7);
            assert_eq!(ceiling.allows_alone(person, amount), !exceeded, "{ceiling:?} {amount}");
            for kind in [ActorKind::Cli, ActorKind::Worker] {
                assert!(ceiling.allows_alone(Actor::system(kind).id, amount), "{kind:?} {amount}");
            }
        }
    }
}
