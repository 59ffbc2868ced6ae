//! Introspection (RFC 7662): a machine asks whether an access token is good.
//!
//! Of a token of another tenant, of another kind, expired, revoked or made up the answer is
//! the same: not active. Refuses to know who may ask, which is policy's.

use std::sync::Arc;

use access::{Permission, Resource, Scope};
use operation::{Found, OperationError, View, read::ViewFailure};
use serde_json::Value;
use tenancy::{Blueprint, Database, OpContext};
use uuid::Uuid;

use crate::Identity;

/// The answer about a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Introspection {
    /// Good at this moment.
    Active(Box<ActiveToken>),
    /// Anything else.
    Inactive,
}

/// What is said of a good token: its claims, with role and scope as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveToken {
    /// `iss`.
    pub issuer: String,
    /// `aud`: a text or a list of them.
    pub audience: Value,
    /// `sub`.
    pub user_id: Uuid,
    /// For people.
    pub username: String,
    /// `sid`.
    pub session_id: Uuid,
    /// `jti`.
    pub token_id: Uuid,
    /// `tenant`.
    pub tenant_id: Uuid,
    /// The primary role.
    pub role: String,
    /// The permissions held now, separated by spaces.
    pub scope: Arc<str>,
    /// `iat`, and `nbf` with it.
    pub issued_at_s: i64,
    /// `exp`.
    pub expires_at_s: i64,
}

/// What somebody's roles come to follows from the policies alone.
pub(crate) type ScopeTexts = std::sync::RwLock<Vec<(Blueprint, Vec<String>, Arc<str>)>>;

/// Combinations of roles that people really hold are few; beyond this they are worked out
/// each time.
const SCOPE_TEXTS_MAX: usize = 64;

impl Identity {
    /// Whether an access token of the caller's own tenant is good, and for what. Needs
    /// `session:introspect`.
    pub async fn introspect(
        &self,
        context: &OpContext,
        token: &str,
    ) -> Result<Introspection, OperationError> {
        let view = Introspect { identity: self, token };
        self.inner.operations.read(context, &view).await
    }

    async fn look_into(
        &self,
        context: &OpContext,
        token: &str,
    ) -> Result<Introspection, OperationError> {
        let presented = self.presented(token);
        if presented.tenant() != Some(context.tenant_id()) {
            return Ok(Introspection::Inactive);
        }
        let (state, token) = match self.verified(context, presented).await {
            Ok(verified) => verified,
            Err(OperationError::Refused(_)) => return Ok(Introspection::Inactive),
            Err(error) => return Err(error),
        };
        // As nobody: row security shows a machine no person's session.
        let nobody = self.anonymous(Arc::clone(&context.tenant), Arc::clone(&context.request));
        let Some(facts) = self.session(&nobody, token.sid).await? else {
            return Ok(Introspection::Inactive);
        };
        if crate::authenticate::check(&token, &facts, context.clock.now()).is_err()
            || token.exp <= context.clock.now_s()
        {
            return Ok(Introspection::Inactive);
        }
        Ok(Introspection::Active(Box::new(ActiveToken {
            issuer: self.issuer(&context.tenant, &state.policy),
            audience: self.audience_value(&context.tenant, &state),
            user_id: token.sub,
            username: facts.username.clone(),
            session_id: token.sid,
            token_id: token.jti,
            tenant_id: context.tenant_id(),
            role: facts.roles.first().cloned().unwrap_or_default(),
            scope: self.scope_text(context.tenant.blueprint, &facts.roles),
            issued_at_s: token.iat,
            expires_at_s: token.exp,
        })))
    }

    fn scope_text(&self, blueprint: Blueprint, roles: &[String]) -> Arc<str> {
        let known = &self.inner.scope_texts;
        let same =
            |entry: &&(Blueprint, Vec<String>, Arc<str>)| entry.0 == blueprint && entry.1 == roles;
        if let Ok(texts) = known.read()
            && let Some((_, _, text)) = texts.iter().find(same)
        {
            return Arc::clone(text);
        }
        let permissions = self.inner.operations.policies().permissions_of(blueprint, roles);
        let text: Arc<str> = permissions.join(" ").into();
        if let Ok(mut texts) = known.write()
            && texts.len() < SCOPE_TEXTS_MAX
        {
            texts.push((blueprint, roles.to_vec(), Arc::clone(&text)));
        }
        text
    }
}

/// One question about one token. The access record names no session: what was asked, and
/// how often, is enough.
struct Introspect<'a> {
    identity: &'a Identity,
    token: &'a str,
}

impl View for Introspect<'_> {
    const NAME: &'static str = "token.introspect";
    const RESOURCE: &'static str = "session";
    type Output = Introspection;

    fn permission(&self) -> Permission {
        Permission::SessionIntrospect
    }

    async fn load(
        &self,
        _: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let looked = self.identity.look_into(context, self.token).await;
        let value = looked.map_err(|error| match error {
            OperationError::Refused(refusal) => ViewFailure::Refused(refusal),
            OperationError::Database(error) => ViewFailure::Database(error),
            OperationError::Aborted => {
                ViewFailure::Database(tenancy::DbError::Corrupt(error.to_string()))
            }
        })?;
        let resource = Resource::for_permission(self.permission(), None);
        Ok(Found::Object { value, resource })
    }
}
