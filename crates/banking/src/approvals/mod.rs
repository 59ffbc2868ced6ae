//! Four eyes over transfers above the tenant's ceiling, and the list of all that waits,
//! whatever it is about. What every kind has in common is the crate `approvals`'.
//!
//! Owns which transfers wait and what becomes of them, and who reads what in the list.
//!
//! Decided as banks do it:
//! - an order waits where its amount is **greater** than the ceiling that holds at the
//!   moment of the order; a ceiling that is moved later changes nothing for what waits
//!   or was done. The bank's own runs have no exemption;
//! - only transfers wait. A deposit, a withdrawal, a fee, a journal, a reversal or a hold
//!   above the ceiling is refused (`approval_required`), and so is the reversal of what two
//!   people have agreed to, until these kinds can wait as well; the system's own are not.
//!   Who has authorised a hold that a ceiling lowered since forbids does not capture it;
//! - at most [`PENDING_MAX`] orders of one maker wait (`too_many_pending`);
//! - it is checked as any transfer is, but for the balance: nothing is posted and
//!   **nothing is kept back** while it waits (who wants the money kept back authorises a
//!   hold), so the ledger looks again, and at the funds, when it is approved;
//! - above the tenant's limit its maker proves it as they order it, with a second factor
//!   that was asked for this amount and this payee (`step_up_required`); nobody proves it
//!   again as it is approved;
//! - nobody decides what they have ordered, or what pays or is paid by an account that
//!   they are a party to: policy says so of every role, the commands of the system itself,
//!   and the table of the maker whoever asks;
//! - policy says how many others have to agree, one to five; the number is fixed when the
//!   order is given, and part of what is hashed. Each is independent of the maker and of all
//!   who agreed before; the last one's agreement does it, one rejection ends it, also by
//!   somebody who agreed before;
//! - only people decide: neither a machine nor the system is a second pair of eyes;
//! - what is approved is the order by its hash: one that was changed in the database is
//!   refused, with a critical record; it may still be rejected;
//! - its maker must still be one who may order it: active, with a role that may, and
//!   where policy asks, still a party to the account. Else it stays pending, and can be
//!   rejected, or approved once the maker may again;
//! - what the ledger refuses at that moment (funds, a frozen account) leaves it pending:
//!   it can be approved, with another key, when that is mended;
//! - it is posted in the approving transaction under the id that was answered to the
//!   order, ordered by its maker, valued on the day of the approval;
//! - after [`LIFETIME`] it is over, whether or not a worker has written so yet.

mod admission;
mod ceiling;
mod decide;
mod expire;
mod payload;
mod request;
mod view;

use access::{Permission, Resource};
use operation::Target;
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub use ::approvals::{Agreement, Approval, ApprovalKind, ApprovalStatus, LIFETIME, PENDING_MAX};
pub use decide::{ApproveRequest, RejectRequest};
pub use expire::{ExpireApprovals, expire_due};
pub use view::{ApprovalFilter, ApprovalList, ApprovalView};

pub(crate) use admission::{Admission, Orders, Used, session_to_prove_in, unproven};
pub(crate) use ceiling::{CEILING, Ceiling, approval_required};
pub(crate) use request::Requests;
pub(crate) use view::TRANSFER;

const FACTS: &str = tenancy::sql!("banking/approvals.sql", "facts");

/// The facts of a decision on an approval of a transfer that the path names.
async fn path_target(
    transaction: &TenantTx,
    context: &OpContext,
    approval_id: Uuid,
) -> Result<Target, DbError> {
    let parameters: [&(dyn ToSql + Sync); 3] =
        [&transaction.tenant(), &approval_id, &context.actor.id];
    let Some(row) = transaction.query_opt(FACTS, &parameters).await? else {
        return Ok(Target::Missing { field: None });
    };
    Ok(Target::Object {
        resource: Resource::for_permission(Permission::TransactionApprove, Some(approval_id))
            .owned(row.try_get("owned")?)
            .held(row.try_get("held")?),
        read_permission: Permission::TransactionRead,
        field: None,
    })
}
