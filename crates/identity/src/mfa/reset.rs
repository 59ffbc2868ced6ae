//! Taking all factors from somebody who lost them: asked for by one admin, done by
//! another within a day, and never by the person themselves. That other may also decide
//! against it; whoever asked decides neither way. What is confirmed is exactly what was
//! asked for: that request, and the factors that the person had then.
//!
//! What it gives is the way back to a first factor, not a session: all sessions end, and
//! the password is still needed. Refuses to know who the admins are (policy's).

use std::sync::Arc;

use access::Permission;
use audit::{EventType, Outcome, canonical};
use jiff::{SignedDuration, Timestamp};
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, Reply, Target, event,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{ActorKind, DbError, OpContext, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Parameters,
    notices::{Told, tell},
};
use crate::{
    Identity,
    events::hexadecimal,
    session_begin,
    sessions::{Forgotten, revoke_all},
    tenant_state::TenantState,
    users::target_of,
};

const REQUEST: &str = tenancy::sql!("identity/mfa.sql", "request_reset");
const PENDING: &str = tenancy::sql!("identity/mfa.sql", "pending_reset");
const FACTORS: &str = tenancy::sql!("identity/mfa.sql", "factors_to_reset");
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
    /// What it takes: factors and passkeys by their ids, as they were when it was asked for.
    pub factors: Vec<Uuid>,
    /// SHA-256 over all of this; what is confirmed is this.
    pub payload_hash: String,
}

impl ResetRequest {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let hash: Vec<u8> = row.try_get("payload_hash")?;
        Ok(Self {
            id: row.try_get("id")?,
            user_id: row.try_get("user_id")?,
            requested_by: row.try_get("requested_by")?,
            expires_at: row.try_get("expires_at")?,
            factors: row.try_get("factors")?,
            payload_hash: hexadecimal(&hash),
        })
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of the request: one that was moved, given
    /// to another maker, kept alive or widened is another one.
    fn hash(&self, tenant: Uuid) -> Result<[u8; 32], DbError> {
        let whole = json!({
            "tenant_id": tenant,
            "id": self.id,
            "user_id": self.user_id,
            "requested_by": self.requested_by,
            "expires_at": format!("{:.6}", self.expires_at),
            "factors": self.factors,
        });
        let bytes =
            canonical::to_vec(&whole).map_err(|error| DbError::Corrupt(error.to_string()))?;
        Ok(vault::sha256(&bytes))
    }
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
    /// the other their role; 404 where that request does not wait; 422 `reset_tampered`;
    /// 409 `factors_changed` where the person has others by now.
    pub async fn confirm_factor_reset(
        &self,
        context: &OpContext,
        (user, request): (Uuid, Uuid),
    ) -> Result<(), OperationError> {
        let state = self.state(context).await?;
        let command = ConfirmReset { identity: self.clone(), state, user, request };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }

    /// Turns down what another admin asked for. 403 as for
    /// [`Identity::confirm_factor_reset`], 404 where nothing waits.
    pub async fn reject_factor_reset(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<(), OperationError> {
        let command = RejectReset { identity: self.clone(), user };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }

    /// What waits for the actor's decision on somebody, under the lock on that person's row.
    async fn to_be_decided(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        user: Uuid,
    ) -> Result<ResetRequest, Failure> {
        let account = session_begin::lock(transaction, context, user).await?;
        let account = account.ok_or_else(Refusal::not_found)?;
        self.check_reset(transaction, context, (user, &account.roles)).await?;
        let tenant = context.tenant_id();
        let row = transaction.query_opt(PENDING, &[&tenant, &user]).await?;
        let request = ResetRequest::read(&row.ok_or_else(Refusal::not_found)?)?;
        if request.requested_by == context.actor.id {
            return Err(Refusal::denied().into());
        }
        check_independence(transaction, context, request.requested_by).await?;
        Ok(request)
    }

    /// Only people decide this, over others, and over nobody mightier than themselves.
    async fn check_reset(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (user, roles): (Uuid, &[String]),
    ) -> Result<(), Failure> {
        let manages = self.inner.operations.scope(context, Permission::UserUpdate).is_all();
        // A machine is in the hands of whoever made its key: it is no second admin.
        let is_person = context.actor.kind == ActorKind::User;
        if !is_person || context.actor.id == user || !manages {
            return Err(Refusal::denied().into());
        }
        self.check_grants(transaction, context, roles).await
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
        let held = (self.user, account.roles.as_slice());
        self.identity.check_reset(transaction, context, held).await?;
        let (tenant, id, by) = (context.tenant_id(), context.clock.new_id(), context.actor.id);
        if transaction.query_opt(PENDING, &[&tenant, &self.user]).await?.is_some() {
            let detail = "A reset is waiting for a second admin already";
            return Err(Refusal::new(RefusalKind::Conflict, "reset_pending", detail).into());
        }
        let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let mut request = ResetRequest {
            id,
            user_id: self.user,
            requested_by: by,
            expires_at,
            factors: factors_of(transaction, self.user).await?,
            payload_hash: String::new(),
        };
        let hash = request.hash(tenant)?;
        request.payload_hash = hexadecimal(&hash);
        let (factors, hash) = (&request.factors, &hash.as_slice());
        let parameters: Parameters<'_, 7> =
            [&tenant, &id, &self.user, &by, &expires_at, factors, hash];
        transaction.execute(REQUEST, &parameters).await?;
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(details_of(&request));
        Ok(Applied { output: request, status: 202, events: vec![event] })
    }
}

struct ConfirmReset {
    identity: Identity,
    state: Arc<TenantState>,
    user: Uuid,
    request: Uuid,
}

impl ConfirmReset {
    /// Whether what waits is what the actor saw and what was asked for, of what is still so.
    async fn check(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        request: &ResetRequest,
    ) -> Result<(), Failure> {
        if request.id != self.request {
            return Err(Refusal::not_found().into());
        }
        if hexadecimal(&request.hash(context.tenant_id())?) != request.payload_hash {
            return Err(tampered(context, request));
        }
        if factors_of(transaction, self.user).await? == request.factors {
            return Ok(());
        }
        let detail = "Their second factors changed since this was asked for; turn it down";
        Err(Refusal::new(RefusalKind::Conflict, "factors_changed", detail).into())
    }
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
        let request = self.identity.to_be_decided(transaction, context, self.user).await?;
        self.check(transaction, context, &request).await?;
        let tenant = context.tenant_id();
        let parameters: Parameters<'_, 3> = [&tenant, &request.id, &context.actor.id];
        transaction.query_opt(CONFIRM, &parameters).await?.ok_or_else(Refusal::not_found)?;
        transaction.query_opt(DISABLE, &[&self.user, &None::<String>]).await?;
        let ended = revoke_all(transaction, self.user, "factors_reset", None).await?;
        let told = Told::Removed { factor: "all of them, by two administrators" };
        tell(transaction, context, &self.state.keys, (self.user, told)).await?;
        let mut details = details_of(&request);
        details["sessions_ended"] = json!(ended);
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(details);
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
        let request = self.identity.to_be_decided(transaction, context, self.user).await?;
        let parameters: Parameters<'_, 3> = [&transaction.tenant(), &request.id, &context.actor.id];
        transaction.query_opt(REJECT, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(details_of(&request));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

/// What a reset would take from somebody now, under the lock on their row.
async fn factors_of(transaction: &TenantTx, user: Uuid) -> Result<Vec<Uuid>, DbError> {
    let row = transaction.query_opt(FACTORS, &[&transaction.tenant(), &user]).await?;
    let row = row.ok_or_else(|| DbError::Corrupt("a question without an answer".to_owned()))?;
    Ok(row.try_get("factors")?)
}

/// What every record about a request says of it.
fn details_of(request: &ResetRequest) -> Value {
    json!({
        "request": request.id, "requested_by": request.requested_by,
        "payload_hash": request.payload_hash,
    })
}

/// Refused, and the record of it kept: somebody has written to the database.
fn tampered(context: &OpContext, request: &ResetRequest) -> Failure {
    let mut details = details_of(request);
    details["code"] = json!("reset_tampered");
    let event =
        event(context, EventType::SecurityViolation, ConfirmReset::NAME, ConfirmReset::RESOURCE)
            .resource_id(request.user_id)
            .outcome(Outcome::Failed)
            .details(details);
    let detail = "The request is not the one that was made";
    Failure::RefusedAndKept {
        refusal: Refusal::new(RefusalKind::Rule, "reset_tampered", detail),
        events: vec![event],
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
