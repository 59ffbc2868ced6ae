//! API keys: how machines prove who they are.
//!
//! A key is an actor of its own, in one role of the tenant, confined to `scopes` of what
//! that role may and to the networks it was made for. It opens the API and nothing else: no
//! console, no session, nothing about a person. Whoever makes one must hold its role; a key
//! never makes, rotates or ends keys, for one that has leaked must not beget others.
//!
//! A machine proves no factor where people have to, so whoever makes a key or holds a new
//! secret of one proves theirs, and whoever has none sets one up first.
//!
//! A key may be bound to a certificate by its thumbprint (RFC 8705 section 3.1): whoever reads
//! the secret somewhere has not the certificate's private key.
//!
//! Shown once, stored as SHA-256. Refuses to know what is done with it.

mod authenticate;
mod commands;
mod model;

use std::sync::Arc;

use access::{Permission, Scope};
use operation::{
    Call, Found, OperationError, Page, PageRequest, Refusal, Reply, View, read::ViewFailure,
};
use tenancy::{ActorKind, Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{OpaqueToken, TokenError};
use zeroize::Zeroizing;

use crate::{
    Identity,
    sessions::{Forgotten, after_of},
};

pub(crate) use authenticate::{KeyFacts, is_api_key};
use commands::{CreateApiKey, RevokeApiKey, RotateApiKey};
pub use model::{ApiKeyRecord, ApiKeyRotation, IssuedApiKey, NewApiKey};

const LIST: &str = tenancy::sql!("identity/api_keys.sql", "list");
const ONE: &str = tenancy::sql!("identity/api_keys.sql", "one");

/// The kind in front of an API key.
const KIND: &str = "apikey";

impl Identity {
    /// Makes an API key; the answer holds its secret, which is shown this once.
    ///
    /// Refused in this order: not permitted (a machine never is), `step_up_required`,
    /// `token_revoked` (401; the maker's roles changed meanwhile), `unknown_role`,
    /// `privilege_escalation`, then every field at fault together.
    pub async fn create_api_key(
        &self,
        context: &OpContext,
        new: NewApiKey,
    ) -> Result<IssuedApiKey, OperationError> {
        self.new_api_key(context, None, new).await?.into_issued()
    }

    /// As [`Self::create_api_key`], once for one idempotency key: whoever repeats it learns
    /// that the key is there, and not its secret.
    pub async fn create_api_key_once(
        &self,
        context: &OpContext,
        once: String,
        new: NewApiKey,
    ) -> Result<IssuedOnce, OperationError> {
        self.new_api_key(context, Some(once), new).await
    }

    async fn new_api_key(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        new: NewApiKey,
    ) -> Result<IssuedOnce, OperationError> {
        if self.may(context, Permission::KeyCreate) {
            self.require_factor_of_people(context).await?;
        }
        let (token, hint) = issue(context.tenant_id())?;
        let command = CreateApiKey {
            identity: self.clone(),
            id: context.clock.new_id(),
            new,
            hash: token.hash(),
            hint,
        };
        let call = Call { context: context.clone(), idempotency_key, command };
        Ok(IssuedOnce::of(self.inner.operations.run_one(call).await?, &token))
    }

    /// The tenant's API keys, newest first.
    pub async fn api_keys(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<ApiKeyRecord>, OperationError> {
        self.inner.operations.read(context, &KeyList { page: page.clone() }).await
    }

    /// One API key.
    pub async fn api_key(
        &self,
        context: &OpContext,
        key: Uuid,
    ) -> Result<ApiKeyRecord, OperationError> {
        self.inner.operations.read(context, &OneKey { key }).await
    }

    /// Gives a key a new secret; the one before is good for the overlap asked for, a day at
    /// most. Refused as [`Self::create_api_key`], and where the key is revoked or expired, or
    /// not at the version expected (`version_conflict`).
    pub async fn rotate_api_key(
        &self,
        context: &OpContext,
        (key, expected_version): (Uuid, Option<i64>),
        rotation: ApiKeyRotation,
    ) -> Result<IssuedApiKey, OperationError> {
        let wish = (key, expected_version, rotation);
        self.renew_api_key(context, None, wish).await?.into_issued()
    }

    /// As [`Self::rotate_api_key`], once for one idempotency key.
    pub async fn rotate_api_key_once(
        &self,
        context: &OpContext,
        once: String,
        wish: (Uuid, Option<i64>, ApiKeyRotation),
    ) -> Result<IssuedOnce, OperationError> {
        self.renew_api_key(context, Some(once), wish).await
    }

    async fn renew_api_key(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        (key, expected_version, rotation): (Uuid, Option<i64>, ApiKeyRotation),
    ) -> Result<IssuedOnce, OperationError> {
        if self.may(context, Permission::KeyRotate) {
            self.require_factor_of_people(context).await?;
        }
        let (token, hint) = issue(context.tenant_id())?;
        let (identity, hash) = (self.clone(), token.hash());
        let command = RotateApiKey { identity, key, expected_version, rotation, hash, hint };
        let call = Call { context: context.clone(), idempotency_key, command };
        let reply = self.call_and_forget(call, Forgotten::ApiKey(key)).await?;
        Ok(IssuedOnce::of(reply, &token))
    }

    /// Ends a key, at once on this node and within a second on every other; what it would
    /// write is refused at once everywhere. Ending it twice is ending it once. Who has a
    /// factor and may end keys is asked for it (`step_up_required`).
    pub async fn revoke_api_key(
        &self,
        context: &OpContext,
        (key, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        if self.may(context, Permission::KeyRevoke) {
            self.require_recent_factor_of_people(context).await?;
        }
        let command = RevokeApiKey { key, expected_version };
        self.run_and_forget(context, command, Forgotten::ApiKey(key)).await
    }
}

/// What became of a wish that may be sent twice.
#[derive(Debug)]
pub enum IssuedOnce {
    /// Now, with the secret.
    Now(IssuedApiKey),
    /// Before; the secret was shown then.
    Before(ApiKeyRecord),
}

impl IssuedOnce {
    fn of(reply: Reply<ApiKeyRecord>, token: &OpaqueToken) -> Self {
        if reply.replayed {
            return Self::Before(reply.output);
        }
        let secret = Zeroizing::new(token.expose().to_owned());
        Self::Now(IssuedApiKey { record: reply.output, secret })
    }

    /// What was done without an idempotency key was done now.
    fn into_issued(self) -> Result<IssuedApiKey, OperationError> {
        match self {
            Self::Now(issued) => Ok(issued),
            Self::Before(_) => Err(OperationError::Aborted),
        }
    }
}

/// A new secret, and the start of it that people may see again.
fn issue(tenant: Uuid) -> Result<(OpaqueToken, String), DbError> {
    let token = OpaqueToken::generate(KIND, tenant).map_err(malformed)?;
    let secret = token.expose().splitn(3, '_').nth(2).unwrap_or_default();
    let hint = secret.chars().take(4).collect();
    Ok((token, hint))
}

fn malformed(error: TokenError) -> DbError {
    DbError::Corrupt(error.to_string())
}

/// Keys are made and ended by people, and by the operator at the command line.
fn no_machine(context: &OpContext) -> Result<(), Refusal> {
    if context.actor.kind == ActorKind::ApiKey { Err(Refusal::denied()) } else { Ok(()) }
}

/// The tenant's API keys.
struct KeyList {
    page: PageRequest,
}

impl View for KeyList {
    const NAME: &'static str = "api_key.list";
    const RESOURCE: &'static str = "api_key";
    type Output = Page<ApiKeyRecord>;

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = after_of(&self.page)?;
        let (tenant, fetch) = (context.tenant_id(), self.page.fetch());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &fetch];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(ApiKeyRecord::read)
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, &self.page, |record| record.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

/// One of them.
struct OneKey {
    key: Uuid,
}

impl View for OneKey {
    const NAME: &'static str = "api_key.read";
    const RESOURCE: &'static str = "api_key";
    type Output = ApiKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.key)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &self.key];
        let rows = database.read(context, &[Query::new(ONE, &parameters)]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else {
            return Ok(Found::Missing);
        };
        let resource = commands::resource(self.key);
        Ok(Found::Object { value: ApiKeyRecord::read(row)?, resource })
    }
}

/// Shared by every request of a key.
type Scopes = Option<Arc<[String]>>;
