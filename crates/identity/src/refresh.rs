//! Refresh: every use of a token gives its one successor.
//!
//! The successor is an HMAC of the presented token, so a retry within ten seconds
//! from the same device gets the same one again while it is unused, and nothing
//! recoverable is stored. Any other second use is a replay: somebody has a copy, and
//! the whole family ends. Refuses to know passwords.

use std::sync::{Arc, OnceLock};

use access::Permission;
use audit::{EventType, Outcome as AuditOutcome};
use jiff::{SignedDuration, Timestamp};
use operation::{Applied, Call, Command, Failure, OperationError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, RequestInfo, TenantId, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use tracing::Instrument;
use uuid::Uuid;
use vault::OpaqueToken;
use zeroize::Zeroizing;

use crate::{
    Identity, TokenGrant,
    claims::{Subject, invalid_token, token_expired, token_revoked},
    events::about,
    login::{REFRESH, device_fingerprint},
    mfa::is_required,
    tenant_state::TenantState,
};

const CONSUME: &str = tenancy::sql!("identity/refresh.sql", "consume");
const EXPLAIN: &str = tenancy::sql!("identity/refresh.sql", "explain");
const REVOKE_SESSION: &str = tenancy::sql!("identity/sessions.sql", "revoke_any");
const TOUCH: &str = tenancy::sql!("identity/sessions.sql", "touch");
const REVOKE_FAMILY: &str = tenancy::sql!("identity/sessions.sql", "revoke_family");

/// Within this a second use is a retry of the first.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

impl Identity {
    /// Exchanges a refresh token. 401 `invalid_token`, `token_expired` or
    /// `token_revoked`.
    pub async fn refresh(
        &self,
        presented: &str,
        from: Arc<RequestInfo>,
    ) -> Result<TokenGrant, OperationError> {
        let token = OpaqueToken::parse(presented, REFRESH).map_err(|_| invalid_token())?;
        let tenant = self
            .inner
            .directory
            .by_id(TenantId(token.tenant()))
            .await?
            .ok_or_else(invalid_token)?;
        let context = self.anonymous(tenant, from);
        let state = self.state(&context).await?;
        let successor = OpaqueToken::derive_successor(state.keys.refresh(), &token);
        let replayed = Arc::new(OnceLock::new());
        let command = Refresh {
            ended: Arc::clone(&replayed),
            state: Arc::clone(&state),
            token_hash: token.hash(),
            successor_hash: successor.hash(),
            device: device_fingerprint(&state, &context.request),
            bound_to_device: state.policy.session.bound_to_device,
            pinned_to_address: state.policy.session.pinned_to_address,
            client_idle_s: state.policy.session.client_idle_timeout_s,
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let identity = self.clone();
        // A task of its own: a thief that hangs up must not keep the family that their
        // replay ended alive on this node.
        let whole = async move {
            let tenant = call.context.tenant_id();
            let reply = identity.inner.operations.run_one(call).await;
            if let Some(session) = replayed.get() {
                identity.inner.sessions.forget(tenant, *session);
            }
            Ok(reply?.output)
        };
        let whole = tokio::spawn(whole.in_current_span());
        let refreshed = whole.await.unwrap_or(Err(OperationError::Aborted))?;
        let subject = Subject {
            user: refreshed.user_id,
            session: refreshed.session_id,
            roles: &refreshed.roles,
            session_expires_at: refreshed.expires_at,
        };
        let (access_token, expires_in_s) = self.issue_access(&context.tenant, &state, &subject)?;
        Ok(TokenGrant {
            access_token,
            refresh_token: Zeroizing::new(successor.expose().to_owned()),
            expires_in_s,
            user_id: refreshed.user_id,
            session_id: refreshed.session_id,
        })
    }
}

/// Uses a refresh token up.
struct Refresh {
    /// Receives the session that a replay ended, so that this node forgets it.
    ended: Arc<OnceLock<Uuid>>,
    state: Arc<TenantState>,
    token_hash: [u8; 32],
    successor_hash: [u8; 32],
    device: [u8; 32],
    bound_to_device: bool,
    pinned_to_address: bool,
    client_idle_s: Option<i64>,
}

/// The family that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refreshed {
    user_id: Uuid,
    session_id: Uuid,
    roles: Vec<String>,
    expires_at: Timestamp,
}

impl Refreshed {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            session_id: row.try_get("session_id")?,
            roles: row.try_get("roles")?,
            expires_at: row.try_get("family_expires_at")?,
        })
    }
}

impl Command for Refresh {
    const NAME: &'static str = "auth.refresh";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = Refreshed;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Refreshed>, Failure> {
        let tenant = context.tenant_id();
        let id = context.clock.new_id();
        let (hash, device, ip) =
            (self.token_hash.as_slice(), self.device.as_slice(), context.request.ip);
        let successor = self.successor_hash.as_slice();
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &tenant,
            &hash,
            &self.bound_to_device,
            &device,
            &self.pinned_to_address,
            &ip,
            &self.client_idle_s,
            &id,
            &successor,
        ];
        let consumed = transaction.query_opt(CONSUME, &parameters).await?;
        let (row, retried) = match consumed {
            Some(row) => (row, false),
            None => (self.retried(transaction, context).await?, true),
        };
        let refreshed = self.go_on(transaction, context, &row).await?;
        let who = (Some(refreshed.user_id), Some(refreshed.session_id));
        let event = about(context, EventType::TokenRefresh, Self::NAME, who)
            .details(json!({ "retried": retried }));
        Ok(Applied { output: refreshed, status: 200, events: vec![event] })
    }
}

impl Refresh {
    /// The family of a token that was used now, or is used again by a retry.
    async fn go_on(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        row: &Row,
    ) -> Result<Refreshed, Failure> {
        let has_factor: bool = row.try_get("mfa_enabled").map_err(DbError::from)?;
        let refreshed = Refreshed::read(row)?;
        // A factor was made a duty since: the way to one leads through signing in.
        if !has_factor && is_required(&self.state, &refreshed.roles) {
            return Err(token_revoked().into());
        }
        // Where idleness ends a session, renewing its tokens is no idleness.
        if self.client_idle_s.is_some() {
            let session = refreshed.session_id.to_string();
            let address = context.request.ip.map(|ip| ip.to_string());
            transaction.query(TOUCH, &[&session, &address]).await?;
        }
        Ok(refreshed)
    }

    /// The token's row where this is a retry that gets the same successor; else the
    /// refusal, and the end of the family where it is a replay.
    async fn retried(&self, transaction: &TenantTx, context: &OpContext) -> Result<Row, Failure> {
        let tenant = context.tenant_id();
        let (hash, successor) = (self.token_hash.as_slice(), self.successor_hash.as_slice());
        let row = transaction
            .query_opt(EXPLAIN, &[&tenant, &hash, &successor, &self.client_idle_s])
            .await?
            .ok_or_else(invalid_token)?;
        let facts = Facts::read(&row)?;
        if facts.revoked || !facts.session_live {
            return Err(if facts.expired { token_expired() } else { token_revoked() }.into());
        }
        if facts.expired {
            return Err(token_expired().into());
        }
        let same_device = facts.device == self.device;
        let recent =
            facts.used_at.is_some_and(|at| context.clock.now().duration_since(at) <= GRACE);
        let pinned_elsewhere = self.pinned_to_address && facts.address != context.request.ip;
        if recent && facts.successor_unused && same_device && !pinned_elsewhere {
            return Ok(row);
        }
        let reason = match facts.used_at {
            Some(_) => "refresh_replayed",
            None if same_device => "address_changed",
            None => "device_changed",
        };
        Err(self.end_family(transaction, context, &facts, reason).await?)
    }

    async fn end_family(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        facts: &Facts,
        reason: &'static str,
    ) -> Result<Failure, DbError> {
        let tenant = context.tenant_id();
        transaction
            .pipeline(&[
                Query::new(REVOKE_SESSION, &[&tenant, &facts.session, &reason]),
                Query::new(REVOKE_FAMILY, &[&tenant, &facts.session]),
            ])
            .await?;
        // Set already where the transaction is being repeated.
        let _ = self.ended.set(facts.session);
        let who = (Some(facts.user), Some(facts.session));
        let event = about(context, EventType::SecurityViolation, Self::NAME, who)
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": reason }));
        Ok(Failure::RefusedAndKept { refusal: token_revoked(), events: vec![event] })
    }
}

/// Why a token was not consumed.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one row, read once")]
struct Facts {
    user: Uuid,
    session: Uuid,
    used_at: Option<Timestamp>,
    revoked: bool,
    expired: bool,
    session_live: bool,
    successor_unused: bool,
    device: Vec<u8>,
    address: Option<std::net::IpAddr>,
}

impl Facts {
    fn read(row: &Row) -> Result<Self, DbError> {
        let revoked_at: Option<Timestamp> = row.try_get("revoked_at")?;
        Ok(Self {
            user: row.try_get("user_id")?,
            session: row.try_get("session_id")?,
            used_at: row.try_get("used_at")?,
            revoked: revoked_at.is_some(),
            expired: row.try_get("expired")?,
            session_live: row.try_get("session_live")?,
            successor_unused: row.try_get("successor_unused")?,
            device: row.try_get("device_fingerprint")?,
            address: row.try_get("ip_address")?,
        })
    }
}
