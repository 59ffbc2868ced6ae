//! What a signed-in person is told of themselves.
//!
//! Refuses to unseal anything: names and addresses are read through the user's record.

use jiff::{SignedDuration, Timestamp};
use operation::{OperationError, Refusal, RefusalKind, access_log::Access};
use serde::{Deserialize, Serialize};
use tenancy::{OpContext, SessionId, policy::PasswordPolicy};
use uuid::Uuid;

use crate::{Identity, claims::token_revoked, sessions::own_user};

/// `GET /v1/auth/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The user's id.
    pub id: Uuid,
    /// The tenant's slug.
    pub tenant: String,
    /// The tenant's id.
    pub tenant_id: Uuid,
    /// The name to sign in with.
    pub username: String,
    /// The primary role.
    pub role: String,
    /// Every role, the primary one first.
    pub roles: Vec<String>,
    /// The names of the permissions held on at least one object, sorted.
    pub permissions: Vec<String>,
    /// `sid`.
    pub session_id: Uuid,
    /// When the session ends in any case.
    pub session_expires_at: Timestamp,
    /// The organisation confined to, if any.
    pub organization_id: Option<Uuid>,
    /// The department belonged to, if any.
    pub department: Option<String>,
    /// Whether a second factor is asked for.
    pub mfa_enabled: bool,
    /// When the password was last changed.
    pub password_changed_at: Option<Timestamp>,
    /// Whether the password is older than policy allows.
    pub password_expired: bool,
}

impl Identity {
    /// Who the caller is and what they may do.
    pub async fn me(&self, context: &OpContext) -> Result<Me, OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let state = self.state(context).await?;
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let (operations, blueprint) = (&self.inner.operations, context.tenant.blueprint);
        let permissions =
            operations.policies().permissions_held(blueprint, &operation::principal(context));
        let access = Access {
            action: "auth.me",
            resource: "user",
            object: Some(user),
            allowed: true,
            count: 1,
        };
        operations.access_log().record(operations.database(), context, access).await;
        Ok(Me {
            id: user,
            tenant: context.tenant.slug.clone(),
            tenant_id: context.tenant_id(),
            username: facts.username.clone(),
            role: facts.roles.first().cloned().unwrap_or_default(),
            roles: facts.roles.clone(),
            permissions: permissions.into_iter().map(str::to_owned).collect(),
            session_id: session,
            session_expires_at: facts.expires_at,
            organization_id: facts.organization,
            department: facts.department.clone(),
            mfa_enabled: facts.mfa_enabled,
            password_changed_at: facts.password_changed_at,
            password_expired: expired(
                &state.policy.password,
                facts.password_changed_at,
                context.clock.now(),
            ),
        })
    }
}

impl Identity {
    /// 403 `password_expired` where the caller's password has reached the maximum age of
    /// the tenant's policy: such a session changes it before it does anything else.
    pub async fn refuse_expired_password(&self, context: &OpContext) -> Result<(), OperationError> {
        if !self.has_expired_password(context).await? {
            return Ok(());
        }
        let access = Access {
            action: "password.expired",
            resource: "user",
            object: Some(context.actor.id),
            allowed: false,
            count: 1,
        };
        let operations = &self.inner.operations;
        operations.access_log().record(operations.database(), context, access).await;
        let detail = "The password has reached its maximum age; change it first";
        Err(Refusal::new(RefusalKind::Denied, "password_expired", detail).into())
    }

    /// Whether the caller's password has reached the maximum age.
    pub async fn has_expired_password(&self, context: &OpContext) -> Result<bool, OperationError> {
        let Some(SessionId(session)) = context.session else { return Ok(false) };
        let state = self.state(context).await?;
        if state.policy.password.maximum_age_days.is_none() {
            return Ok(false);
        }
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let now = context.clock.now();
        Ok(expired(&state.policy.password, facts.password_changed_at, now))
    }
}

fn expired(policy: &PasswordPolicy, changed_at: Option<Timestamp>, now: Timestamp) -> bool {
    let (Some(days), Some(changed_at)) = (policy.maximum_age_days, changed_at) else {
        return false;
    };
    now.duration_since(changed_at) >= SignedDuration::from_hours(i64::from(days) * 24)
}
