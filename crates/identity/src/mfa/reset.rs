//! Taking all factors from somebody who lost them: asked for by one admin, done by
//! another within a day, and never by the person themselves. That other may also decide
//! against it; whoever asked decides neither way.
//!
//! What it gives is the way back to a first factor, not a session: all sessions end, and
//! the password is still needed. Refuses to know who the admins are (policy's).

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, Reply, Target, event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{ActorKind, DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{
    Parameters,
    notices::{Told, tell},
};
use crate::{
    Identity, session_begin,
    sessions::{Forgotten, revoke_all},
    tenant_state::TenantState,
    users::target_of,
};

const REQUEST: &str = tenancy::sql!("identity/mfa.sql", "request_reset");
const PENDING: &str = tenancy::sql!("identity/mfa.sql", "pending_reset");
const DEPENDENT: &str = tenancy::sql!("identity/mfa.sql", "dependent");
const CONFIRM: &str = tenancy::sql!("identity/mfa.sql", "confirm_reset");
const REJECT: &str = tenancy::sql!("identity/mfa.sql", "reject_reset");
const DISABLE: &str = tenancy::sql!("identity/mfa.sql", "disable");

const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// A reset that waits for a second admin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetRequest {
    /// Its id.
    pub id: Uuid,
    /// Whose factors.
    pub user_id: Uuid,
    /// Who asked.
    pub requested_by: Uuid,
    /// Until when another may do it.
    pub expires_at: Timestamp,
}

impl Identity {
    /// Asks for somebody's factors to be taken from them. 403 for oneself and for whoever
    /// holds more than the one who asks; 409 `reset_pending`.
    pub async fn request_factor_reset(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<Reply<ResetRequest>, OperationError> {
        let command = RequestReset { identity: self.clone(), user };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await
    }

    /// Does what another admin asked for, and ends the person's sessions. 403
    /// `permission_denied` for whoever asked, `not_independent` where one of the two gave
    /// the other their role; 404 where nothing waits.
    pub async fn confirm_factor_reset(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<(), OperationError> {
        let state = self.state(context).await?;
        let command = ConfirmReset { identity: self.clone(), state, user };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }

    /// Turns down what another admin asked for. The refusals are those of
    /// [`Identity::confirm_factor_reset`].
    pub async fn reject_factor_reset(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<(), OperationError> {
        let command = RejectReset { identity: self.clone(), user };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }

    /// What waits for the actor's decision on somebody: its id and who asked, under the
    /// lock on that person's row.
    async fn to_be_decided(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        user: Uuid,
    ) -> Result<(Uuid, Uuid), Failure> {
        let account = session_begin::lock(transaction, context, user).await?;
        let account = account.ok_or_else(Refusal::not_found)?;
        self.check_reset(context, user, &account.roles)?;
        let tenant = context.tenant_id();
        let row = transaction.query_opt(PENDING, &[&tenant, &user]).await?;
        let row = row.ok_or_else(Refusal::not_found)?;
        let read = || Ok((row.try_get::<_, Uuid>("id")?, row.try_get::<_, Uuid>("requested_by")?));
        let (id, requested_by) =
            read().map_err(|error: tokio_postgres::Error| DbError::from(error))?;
        if requested_by == context.actor.id {
            return Err(Refusal::denied().into());
        }
        check_independence(transaction, context, requested_by).await?;
        Ok((id, requested_by))
    }

    /// Only people decide this, over others, and over nobody mightier than themselves.
    fn check_reset(
        &self,
        context: &OpContext,
        user: Uuid,
        roles: &[String],
    ) -> Result<(), Refusal> {
        let manages = self.inner.operations.scope(context, Permission::UserUpdate).is_all();
        // A machine is in the hands of whoever made its key: it is no second admin.
        let is_person = context.actor.kind == ActorKind::User;
        if !is_person || context.actor.id == user || !manages {
            return Err(Refusal::denied());
        }
        roles.iter().try_for_each(|role| self.check_grant(context, role))
    }
}

struct RequestReset {
    identity: Identity,
    user: Uuid,
}

impl Command for RequestReset {
    const NAME: &'static str = "mfa.reset_request";
    const RESOURCE: &'static str = "user";
    type Output = ResetRequest;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        target_of(transaction, context, self.user).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<ResetRequest>, Failure> {
        let account = session_begin::lock(transaction, context, self.user).await?;
        let account = account.ok_or_else(Refusal::not_found)?;
        self.identity.check_reset(context, self.user, &account.roles)?;
        let (tenant, id, by) = (context.tenant_id(), context.clock.new_id(), context.actor.id);
        if transaction.query_opt(PENDING, &[&tenant, &self.user]).await?.is_some() {
            let detail = "A reset is waiting for a second admin already";
            return Err(Refusal::new(RefusalKind::Conflict, "reset_pending", detail).into());
        }
        let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let parameters: Parameters<'_, 5> = [&tenant, &id, &self.user, &by, &expires_at];
        transaction.execute(REQUEST, &parameters).await?;
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "request": id }));
        let output = ResetRequest { id, user_id: self.user, requested_by: by, expires_at };
        Ok(Applied { output, status: 202, events: vec![event] })
    }
}

struct ConfirmReset {
    identity: Identity,
    state: Arc<TenantState>,
    user: Uuid,
}

impl Command for ConfirmReset {
    const NAME: &'static str = "mfa.reset";
    const RESOURCE: &'static str = "user";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        target_of(transaction, context, self.user).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let (id, requested_by) =
            self.identity.to_be_decided(transaction, context, self.user).await?;
        let tenant = context.tenant_id();
        let parameters: Parameters<'_, 3> = [&tenant, &id, &context.actor.id];
        transaction.query_opt(CONFIRM, &parameters).await?.ok_or_else(Refusal::not_found)?;
        transaction.query_opt(DISABLE, &[&self.user, &None::<String>]).await?;
        let ended = revoke_all(transaction, self.user, "factors_reset", None).await?;
        let told = Told::Removed { factor: "all of them, by two administrators" };
        tell(transaction, context, &self.state.keys, (self.user, told)).await?;
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(
                json!({ "request": id, "requested_by": requested_by, "sessions_ended": ended }),
            );
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

struct RejectReset {
    identity: Identity,
    user: Uuid,
}

impl Command for RejectReset {
    const NAME: &'static str = "mfa.reset_reject";
    const RESOURCE: &'static str = "user";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        target_of(transaction, context, self.user).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let (id, requested_by) =
            self.identity.to_be_decided(transaction, context, self.user).await?;
        let parameters: Parameters<'_, 3> = [&transaction.tenant(), &id, &context.actor.id];
        transaction.query_opt(REJECT, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "request": id, "requested_by": requested_by }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

/// Whether the two admins are two persons, as far as the roles they were given tell.
async fn check_independence(
    transaction: &TenantTx,
    context: &OpContext,
    requested_by: Uuid,
) -> Result<(), Failure> {
    let parameters: Parameters<'_, 3> = [&transaction.tenant(), &requested_by, &context.actor.id];
    let row = transaction.query_opt(DEPENDENT, &parameters).await?;
    let row = row.ok_or_else(|| DbError::Corrupt("a question without an answer".to_owned()))?;
    if !row.try_get::<_, bool>("dependent").map_err(DbError::from)? {
        return Ok(());
    }
    let detail = "Whoever gave the other their role is no second person";
    Err(Refusal::new(RefusalKind::Denied, "not_independent", detail).into())
}
