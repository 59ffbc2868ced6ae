//! Holds as customers and staff order them: money promised to another account, paid
//! out of in one or several captures, let go, or ended by the clock.
//!
//! Owns how long a hold may live, who may do what with it, and which field a refusal
//! names. Locks, sums and transitions are the ledger's ([`ledger::holds`]).
//!
//! Whom a hold pays is said when it is authorised and never again: a capture names no
//! account, so that whoever captures cannot choose who is paid. Who promised cannot
//! take it back, and who is promised cannot pay themselves: both are staff's (policy).
//! Up to the tenant's ceiling one of the staff may promise for a customer and capture, as
//! they may transfer; above it nobody authorises a hold until holds can wait for a second
//! person, and one that a ceiling lowered since forbids is captured by somebody else.

mod authorise;
mod capture;
mod error;
mod expire;
mod release;
mod view;

use access::{Permission, Resource};
use audit::{AuditEvent, EventType};
use jiff::SignedDuration;
use ledger::Hold;
use operation::{Group, Operations, Target, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

pub use authorise::AuthoriseHold;
pub use capture::{CaptureHold, CapturedHold};
pub use expire::{ExpireHolds, expire_due};
pub use release::ReleaseHold;
pub use view::{HoldFilter, HoldList, HoldView};

/// The queues of holds and of their captures: those that wait together share a
/// transaction. One a process.
#[derive(Clone, Debug)]
pub struct HoldGroups {
    /// Of authorisations.
    pub authorisations: Group<AuthoriseHold>,
    /// Of captures.
    pub captures: Group<CaptureHold>,
}

impl HoldGroups {
    /// Empty queues before these operations.
    pub fn new(operations: &Operations) -> Self {
        Self {
            authorisations: Group::new(operations.clone()),
            captures: Group::new(operations.clone()),
        }
    }
}

/// How long a hold lives where nothing is asked.
pub const LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The longest that may be asked for: what is promised for longer is a standing order.
pub const LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

const FACTS: &str = tenancy::sql!("banking/holds.sql", "facts");
const RESOURCE: &str = "hold";

/// The facts of decisions on holds that paths name; one round trip for all.
async fn path_targets(
    transaction: &TenantTx,
    wanted: &[(Uuid, Uuid)],
    permission: Permission,
) -> Result<Vec<Target>, DbError> {
    let (holds, users): (Vec<Uuid>, Vec<Uuid>) = wanted.iter().copied().unzip();
    let rows = transaction.query(FACTS, &[&transaction.tenant(), &holds, &users]).await?;
    let mut targets: Vec<Target> = wanted.iter().map(|_| Target::Missing { field: None }).collect();
    for row in rows {
        let position = usize::try_from(row.try_get::<_, i64>("position")?).ok();
        let place = position.and_then(|at| Some((targets.get_mut(at)?, wanted.get(at)?)));
        let (slot, (hold_id, _)) =
            place.ok_or_else(|| DbError::Corrupt("position of a hold".to_owned()))?;
        *slot = Target::Object {
            resource: Resource::for_permission(permission, Some(*hold_id))
                .owned(row.try_get("owned")?)
                .held(row.try_get("held")?),
            read_permission: Permission::HoldRead,
            field: None,
        };
    }
    Ok(targets)
}

/// What of a hold changes, as audit records show it before and after.
fn state(hold: &Hold) -> Value {
    json!({
        "status": hold.status,
        "captured_amount": hold.captured_amount,
        "remaining": hold.remaining,
        "last_transfer_id": hold.last_transfer_id,
    })
}

/// The record of a change: ids, amounts and states; no text of anybody's.
fn changed_event(
    context: &OpContext,
    action: &'static str,
    before: &Hold,
    after: &Hold,
) -> AuditEvent {
    event(context, EventType::DataModification, action, RESOURCE)
        .resource_id(after.id)
        .old_values(state(before))
        .new_values(state(after))
        .at_version(after.version)
}
