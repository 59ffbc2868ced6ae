//! The context of an operation: the first argument everywhere, so that tenant,
//! actor, clock and trace can be neither forgotten nor invented half-way.

use std::{net::IpAddr, sync::Arc};

use uuid::Uuid;

use crate::{Blueprint, Clock, SessionId, TenantId};

/// What everybody may know of a tenant.
#[derive(Clone, Debug)]
pub struct TenantRef {
    /// Its id, first in every key.
    pub id: TenantId,
    /// Its immutable name in URLs and issuers.
    pub slug: String,
    /// What it was created from; decides its roles and policies.
    pub blueprint: Blueprint,
    /// The modules that are switched on.
    pub modules: Vec<String>,
    /// IANA zone of its business dates.
    pub time_zone: String,
}

impl TenantRef {
    /// Whether a module (`banking`, …) is switched on.
    pub fn has_module(&self, module: &str) -> bool {
        self.modules.iter().any(|enabled| enabled == module)
    }
}

/// What sort of principal acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// A person with a session.
    User,
    /// A machine with an API key.
    ApiKey,
    /// A background worker of ours.
    Worker,
    /// An operator at the command line.
    Cli,
    /// Nobody yet: sign-in and sign-up.
    Anonymous,
}

impl ActorKind {
    /// The name in audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::Worker => "worker",
            Self::Cli => "cli",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// What sort of principal.
    pub kind: ActorKind,
    /// The user's id; a fixed id per kind for the rest.
    pub id: Uuid,
    /// The primary role first.
    pub roles: Arc<[String]>,
    /// The definitions of the custom roles among them, in JSON: a change of one is another
    /// text, so that whoever reads it cannot hold on to what it was.
    pub custom_roles: Arc<[Arc<str>]>,
    /// How well the session's owner is known: 0, 1 (two factors) or 2 (a passkey).
    pub mfa_level: u8,
    /// The organisation the actor is confined to (credit-risk).
    pub organization: Option<Uuid>,
    /// The department the actor belongs to (equipment-erp).
    pub department: Option<String>,
    /// When the actor's user row may be the only one they see.
    pub sees_all_users: bool,
    /// Whether they see the people of their organisation.
    pub sees_organization_users: bool,
    /// The access token they came with (`jti`), if any; writes look whether it was revoked.
    pub token: Option<Uuid>,
    /// The key that signed that token (`kid`); writes look whether it still verifies.
    pub signing_key: Option<Uuid>,
    /// The permissions that an API key is confined to, whatever its role may besides; all
    /// of the role's where absent.
    pub scopes: Option<Arc<[String]>>,
}

impl Actor {
    /// A person with a session.
    pub fn user(id: Uuid, roles: Vec<String>) -> Self {
        Self {
            kind: ActorKind::User,
            id,
            roles: roles.into(),
            custom_roles: Arc::from([]),
            mfa_level: 0,
            organization: None,
            department: None,
            sees_all_users: false,
            sees_organization_users: false,
            token: None,
            signing_key: None,
            scopes: None,
        }
    }

    /// The system itself: trusted code acting without a person, outside policy but audited.
    pub fn system(kind: ActorKind) -> Self {
        let number = match kind {
            ActorKind::Cli => 1,
            ActorKind::Worker => 2,
            ActorKind::Anonymous => 3,
            ActorKind::User | ActorKind::ApiKey => 4,
        };
        // Version 8 (RFC 9562): vendor-defined, so these can never meet a real id.
        let id = Uuid::from_fields(0, 0, 0x8000, &[0x80, 0, 0, 0, 0, 0, 0, number]);
        Self {
            kind,
            id,
            roles: Arc::from([]),
            custom_roles: Arc::from([]),
            mfa_level: 0,
            organization: None,
            department: None,
            sees_all_users: true,
            sees_organization_users: false,
            token: None,
            signing_key: None,
            scopes: None,
        }
    }

    /// A machine with an API key, in one role and confined to `scopes` of it.
    pub fn api_key(id: Uuid, role: String, scopes: Option<Arc<[String]>>) -> Self {
        Self { kind: ActorKind::ApiKey, scopes, ..Self::user(id, vec![role]) }
    }

    /// Whether the actor may use a permission at all; whether they hold it is policy's.
    pub fn is_within_scopes(&self, permission: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope == permission))
    }

    /// Whether policy does not apply because no person acts (CLI, worker, sign-in).
    pub fn is_system(&self) -> bool {
        matches!(self.kind, ActorKind::Cli | ActorKind::Worker | ActorKind::Anonymous)
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    /// `X-Request-ID`, ours or the caller's.
    pub id: String,
    /// The socket peer, or what a trusted proxy vouches for.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header, at most 512 characters.
    pub user_agent: Option<String>,
    /// What a browser says of its platform beside that (`Sec-CH-UA-*`), at most 128 characters.
    pub client_hints: Option<String>,
    /// What a client keeps on its device and sends as `X-Device-Id`: 16 to 128 visible characters.
    pub device_id: Option<String>,
    /// Where on earth, as a trusted proxy says.
    pub place: Option<Place>,
    /// The SHA-256 of the certificate that the client greeted with, as `x5t#S256` writes it
    /// (RFC 8705); its private key was used in the handshake.
    pub certificate_thumbprint: Option<String>,
    /// The registered key that signed the request, verified; none where it was not signed.
    pub signed_by: Option<Uuid>,
}

/// A place on earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// -90 to 90, north is positive.
    pub latitude: f64,
    /// -180 to 180, east is positive.
    pub longitude: f64,
}

/// The context of one operation.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Whose data.
    pub tenant: Arc<TenantRef>,
    /// Under whose name.
    pub actor: Actor,
    /// The session it came in, if any.
    pub session: Option<SessionId>,
    /// Where from.
    pub request: Arc<RequestInfo>,
    /// What time it is.
    pub clock: Clock,
}

impl OpContext {
    /// A context for the system itself in one tenant.
    pub fn system(tenant: Arc<TenantRef>, kind: ActorKind, clock: Clock) -> Self {
        let request = RequestInfo { id: clock.new_id().to_string(), ..RequestInfo::default() };
        Self {
            tenant,
            actor: Actor::system(kind),
            session: None,
            request: Arc::new(request),
            clock,
        }
    }

    /// The tenant's id, as every statement's first parameter.
    pub fn tenant_id(&self) -> Uuid {
        self.tenant.id.0
    }
}
