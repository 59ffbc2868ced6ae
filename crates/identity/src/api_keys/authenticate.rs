//! From a presented API key to the context of an operation, in memory but for a key
//! that was not read within the last second.
//!
//! The order of refusals is fixed: not a key of ours, revoked, expired, used from a network
//! that it is not made for, or without the certificate that it is bound to (RFC 8705). The last
//! two read like the first: whoever tries a key elsewhere learns nothing of it, and its owner's
//! log says so.

use std::{net::IpAddr, sync::Arc, time::Instant};

use access::Permission;
use audit::{EventType, Outcome as AuditOutcome};
use hotstate::source;
use jiff::Timestamp;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, event};
use serde_json::json;
use tenancy::{
    Actor, DbError, OpContext, Query, RequestInfo, TenantId, TenantTx, network::Network,
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::OpaqueToken;

use super::{KIND, Scopes};
use crate::{
    Identity,
    claims::{invalid_token, token_expired, token_revoked},
    context::into_refusal,
};

const FIND: &str = tenancy::sql!("identity/api_keys.sql", "find");
const TOUCH: &str = tenancy::sql!("identity/api_keys.sql", "touch");

/// Whether a bearer token is meant as an API key: an access token has no underscore
/// before its first dot.
pub(crate) fn is_api_key(bearer: &str) -> bool {
    bearer.strip_prefix(KIND).is_some_and(|rest| rest.starts_with('_'))
}

/// A key, as it was at most a second ago.
#[derive(Debug)]
pub(crate) struct KeyFacts {
    id: Uuid,
    hash: [u8; 32],
    role: String,
    scopes: Scopes,
    networks: Vec<Network>,
    certificate_thumbprint: Option<String>,
    expires_at: Timestamp,
    revoked: bool,
    last_used_at: Option<Timestamp>,
}

impl KeyFacts {
    fn read(hash: [u8; 32], row: &Row) -> Result<Self, DbError> {
        let networks: Vec<String> = row.try_get("networks")?;
        let networks = networks.iter().map(|text| text.parse::<Network>());
        let scopes: Option<Vec<String>> = row.try_get("scopes")?;
        Ok(Self {
            id: row.try_get("id")?,
            hash,
            role: row.try_get("role")?,
            scopes: scopes.map(Arc::from),
            networks: networks
                .collect::<Result<_, _>>()
                .map_err(|error| DbError::Corrupt(error.to_string()))?,
            certificate_thumbprint: row.try_get("certificate_thumbprint")?,
            expires_at: row.try_get("expires_at")?,
            revoked: row.try_get("revoked")?,
            last_used_at: row.try_get("last_used_at")?,
        })
    }

    /// What is wrong with where a request comes from, or with what it brings.
    fn misuse(&self, request: &RequestInfo) -> Option<&'static str> {
        let bound = self.certificate_thumbprint.as_deref();
        if !self.may_come_from(request.ip) {
            Some("network")
        } else if bound.is_some() && bound != request.certificate_thumbprint.as_deref() {
            Some("certificate")
        } else {
            None
        }
    }

    fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || address.is_some_and(|address| self.networks.iter().any(|own| own.contains(address)))
    }
}

impl Identity {
    /// Which machine sent this request. As [`Identity::authenticate`].
    pub(crate) async fn authenticate_api_key(
        &self,
        bearer: &str,
        from: Arc<RequestInfo>,
    ) -> Result<OpContext, Refusal> {
        let token = OpaqueToken::parse(bearer, KIND).map_err(|_| invalid_token())?;
        let tenant = self.inner.directory.by_id(TenantId(token.tenant())).await;
        let tenant = tenant.map_err(|error| into_refusal(error.into()))?;
        let context = self.anonymous(tenant.ok_or_else(invalid_token)?, from);
        let found = self.presented_key(&context, token.hash()).await;
        let key = found.map_err(|error| into_refusal(error.into()))?.ok_or_else(invalid_token)?;
        if key.revoked {
            return Err(token_revoked());
        }
        if key.expires_at <= context.clock.now() {
            return Err(token_expired());
        }
        let mut context = self.machine(context, &key);
        if let Some(reason) = key.misuse(&context.request) {
            // Counted as nobody's from here on.
            self.note_misuse(&context, reason).await.map_err(into_refusal)?;
            return Err(invalid_token());
        }
        self.touch_key(&context, &key);
        context.session = None;
        Ok(context)
    }

    fn machine(&self, context: OpContext, key: &KeyFacts) -> OpContext {
        let actor = Actor::api_key(key.id, key.role.clone(), key.scopes.clone());
        let mut context = OpContext { actor, ..context };
        self.inner.operations.show_people(&mut context);
        context
    }

    async fn presented_key(
        &self,
        context: &OpContext,
        hash: [u8; 32],
    ) -> Result<Option<Arc<KeyFacts>>, DbError> {
        let tenant = context.tenant_id();
        let known = self.inner.api_keys.get(tenant, place_of(&hash));
        if let Some(facts) = known.filter(|facts| facts.hash == hash) {
            return Ok(Some(facts));
        }
        let read_at = Instant::now();
        let presented = hash.as_slice();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &presented];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let facts = Arc::new(KeyFacts::read(hash, row)?);
        let place = (tenant, place_of(&hash));
        self.inner.api_keys.put(place, facts.id, read_at, Arc::clone(&facts));
        Ok(Some(facts))
    }

    /// Notes that a key is used, at most once a minute and off the request path.
    fn touch_key(&self, context: &OpContext, key: &KeyFacts) {
        let now_s = context.clock.now().as_second();
        let is_recent = key.last_used_at.is_some_and(|at| now_s - at.as_second() < 60);
        if is_recent || !self.inner.touched.first((context.tenant_id(), key.id), ()) {
            return;
        }
        let (identity, context, key) = (self.clone(), context.clone(), key.id);
        tokio::spawn(async move {
            let (tenant, address) = (context.tenant_id(), context.request.ip);
            let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &key, &address];
            let queries = [Query::new(TOUCH, &parameters)];
            let database = identity.inner.operations.database();
            let noted = match database.begin_with(&context, &queries).await {
                Ok((transaction, _)) => transaction.commit().await,
                Err(error) => Err(error),
            };
            if let Err(error) = noted {
                tracing::warn!(%error, "the use of an API key could not be noted");
            }
        });
    }

    /// Records that a key was tried from where it must not be or without its certificate, once a
    /// minute, key, address and reason: nobody drowns it in failures of another kind.
    async fn note_misuse(
        &self,
        context: &OpContext,
        reason: &'static str,
    ) -> Result<(), OperationError> {
        let source = context.request.ip.map(source::counted);
        if !self.inner.misuses.first((context.actor.id, source, reason), ()) {
            return Ok(());
        }
        let command = NoteMisuse { reason };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }
}

/// Where a presented key is kept: the map wants an id. The whole hash is compared.
fn place_of(hash: &[u8; 32]) -> Uuid {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(half)
}

/// An API key was presented from a network that it is not made for, or without its certificate.
struct NoteMisuse {
    reason: &'static str,
}

impl Command for NoteMisuse {
    const NAME: &'static str = "api_key.misuse";
    const RESOURCE: &'static str = "api_key";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Result<Applied<()>, Failure> {
        let event = event(context, EventType::SecurityViolation, Self::NAME, Self::RESOURCE)
            .resource_id(context.actor.id)
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": self.reason }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
