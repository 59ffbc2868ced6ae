//! What a command is.

use std::future::Future;

use access::{Permission, Resource};
use audit::AuditEvent;
use serde::{Serialize, de::DeserializeOwned};
use tenancy::{DbError, OpContext, TenantTx};

use crate::Refusal;

/// One command of one caller.
#[derive(Clone, Debug)]
pub struct Call<C> {
    /// Under whose name, where from, when.
    pub context: OpContext,
    /// `Idempotency-Key`, unquoted; demanded by the API where money moves.
    pub idempotency_key: Option<String>,
    /// What to do.
    pub command: C,
}

/// What a decision is made on.
#[derive(Clone, Debug)]
pub enum Target {
    /// No object in particular: the tenant itself.
    Tenant,
    /// An object, with the permission under which its existence may be known.
    Object {
        /// The facts policy needs.
        resource: Resource<'static>,
        /// Not readable under this: the object is not found.
        read_permission: Permission,
        /// The body's field that named it; none where the path did.
        field: Option<&'static str>,
    },
    /// No such object in this tenant.
    Missing {
        /// The body's field that named it; none where the path did.
        field: Option<&'static str>,
    },
}

/// What a command did.
#[derive(Debug)]
pub struct Applied<T> {
    /// The answer's body.
    pub output: T,
    /// The answer's HTTP status: 200, 201, 202 or 204.
    pub status: u16,
    /// What it changed; at least one event.
    pub events: Vec<AuditEvent>,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A rule said no; its savepoint is rolled back and the refusal is audited.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A rule said no, and what it said must itself be kept: nothing is rolled
    /// back, and the events are recorded (a failed sign-in counts as failed).
    #[error("{refusal}")]
    RefusedAndKept {
        /// The answer.
        refusal: Refusal,
        /// What was recorded.
        events: Vec<AuditEvent>,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The body.
    pub output: T,
    /// The HTTP status.
    pub status: u16,
    /// Whether it is the stored answer of an earlier request.
    pub replayed: bool,
}

/// The outcome of one call of a batch, as [`Command::execute_all`] gives it.
pub type Outcome<T> = Result<Applied<T>, Failure>;

/// Something that changes something. One type a command; its fields are the
/// validated request.
pub trait Command: Send + Sync + Sized + 'static {
    /// The audit action and the namespace of idempotency keys, e.g. `transfer.create`.
    const NAME: &'static str;
    /// The kind of thing it acts on, as audit records name it.
    const RESOURCE: &'static str;
    /// Whether nobody at all may run it: sign-in, refresh. No policy applies.
    const ANONYMOUS: bool = false;
    /// The answer's body, stored with the idempotency key.
    type Output: Serialize + DeserializeOwned + Clone + Send + 'static;

    /// The permission it needs.
    fn permission(&self) -> Permission;

    /// The canonical request, path ids included, which a repeated key must match.
    /// Every command that the API takes an `Idempotency-Key` for overrides this. One
    /// that does not takes no key: without a fingerprint any two requests would be
    /// the same, and one would be answered with the other's result.
    fn fingerprint(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Loads the facts that the decision is made on.
    fn target(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> impl Future<Output = Result<Target, DbError>> + Send {
        let _ = (transaction, context);
        std::future::ready(Ok(Target::Tenant))
    }

    /// Does it. Runs under a savepoint: a refusal undoes everything.
    fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> impl Future<Output = Outcome<Self::Output>> + Send;

    /// [`Command::target`] of a whole batch; overridden where one statement can
    /// load the facts of all. Where several actors share the batch, such a
    /// statement sees only rows that they all may see (`users`: none).
    fn targets(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> impl Future<Output = Result<Vec<Target>, DbError>> + Send {
        async move {
            let mut targets = Vec::with_capacity(calls.len());
            for call in calls {
                transaction.act_as(Some(&call.context)).await?;
                targets.push(call.command.target(transaction, &call.context).await?);
            }
            transaction.act_as(None).await?;
            Ok(targets)
        }
    }

    /// [`Command::execute`] of a whole batch, a result each and in order;
    /// overridden where the rules are decided in memory and need no savepoints.
    fn execute_all(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> impl Future<Output = Result<Vec<Outcome<Self::Output>>, DbError>> + Send {
        async move {
            let mut outcomes = Vec::with_capacity(calls.len());
            for call in calls {
                transaction.act_as(Some(&call.context)).await?;
                outcomes.push(under_savepoint(transaction, call).await?);
            }
            transaction.act_as(None).await?;
            Ok(outcomes)
        }
    }
}

async fn under_savepoint<C: Command>(
    transaction: &TenantTx,
    call: &Call<C>,
) -> Result<Outcome<C::Output>, DbError> {
    transaction.savepoint()?;
    match call.command.execute(transaction, &call.context).await {
        Err(Failure::Database(error)) => Err(error),
        Err(Failure::Refused(refusal)) => {
            transaction.rollback_to_savepoint().await?;
            Ok(Err(Failure::Refused(refusal)))
        }
        outcome => Ok(outcome),
    }
}
