//! A migrated database of its own with identity over it, and short ways to act.

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc};

use access::Policies;
use identity::{
    Identity, IdentityConfig, LoginRequest, NewPassword, NewTenant, NewUser, TokenGrant,
};
use jiff::{SignedDuration, Timestamp};
use operation::{AccessLog, OperationError, Operations, Refusal};
use serde_json::Value;
use tenancy::{
    ActorKind, Blueprint, Clock, Database, DatabaseConfig, OpContext, RequestInfo,
    directory::Directory,
    keyring::Keyring,
    policy::{JwtAlgorithm, PolicyOverrides},
};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use uuid::Uuid;
use vault::{
    RootKey, RootKeys, SecretBytes,
    password::{Hasher, HasherOptions, Pepper, Peppers},
};
use zeroize::Zeroizing;

/// Good under every blueprint.
pub(super) const PASSWORD: &str = "Correct-Horse-9-Battery";
pub(super) const WRONG: &str = "Wrong-Horse-9-Battery";

pub(super) struct World {
    pub(super) database: TestDatabase,
    pub(super) identity: Identity,
    pub(super) hasher: Arc<Hasher>,
    pub(super) clock: Clock,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_secret(Some([9; 32])).await
    }

    pub(super) async fn with_secret(secret: Option<[u8; 32]>) -> Self {
        let database = TestDatabase::create().await;
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = Clock::manual(start);
        let hasher = hasher();
        let identity = open(&database, clock.clone(), secret, Arc::clone(&hasher));
        Self { database, identity, hasher, clock }
    }

    /// A second node on the same database.
    pub(super) fn another_node(&self) -> Identity {
        open(&self.database, self.clock.clone(), Some([9; 32]), hasher())
    }

    pub(super) async fn tenant(&self, slug: &str, blueprint: Blueprint) -> OpContext {
        self.tenant_signing(slug, blueprint, None).await
    }

    pub(super) async fn tenant_signing(
        &self,
        slug: &str,
        blueprint: Blueprint,
        algorithm: Option<JwtAlgorithm>,
    ) -> OpContext {
        let tenant = NewTenant {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            blueprint,
            time_zone: "Europe/Prague".to_owned(),
            overrides: PolicyOverrides { algorithm, ..PolicyOverrides::default() },
        };
        self.identity.create_tenant(tenant).await.unwrap();
        self.cli(slug).await
    }

    /// The operator at the command line, in a tenant.
    pub(super) async fn cli(&self, slug: &str) -> OpContext {
        let tenant = self.identity.directory().by_slug(slug).await.unwrap().unwrap();
        OpContext::system(tenant, ActorKind::Cli, self.clock.clone())
    }

    pub(super) async fn user(&self, context: &OpContext, username: &str, role: &str) -> Uuid {
        self.identity.create_user(context, None, new_user(username, role)).await.unwrap().output.id
    }

    pub(super) async fn login(
        &self,
        slug: &str,
        username: &str,
        password: &str,
    ) -> Result<TokenGrant, OperationError> {
        self.login_from(slug, username, password, from("192.0.2.1", "tests")).await
    }

    pub(super) async fn login_from(
        &self,
        slug: &str,
        username: &str,
        password: &str,
        from: Arc<RequestInfo>,
    ) -> Result<TokenGrant, OperationError> {
        Ok(self.identity.login(request(slug, username, password), from).await?.into_tokens()?)
    }

    pub(super) async fn authenticate(&self, bearer: &str) -> Result<OpContext, Refusal> {
        self.identity.authenticate(bearer, from("192.0.2.1", "tests")).await
    }

    /// Signed in, a second factor used just now, and the context that a request would have.
    pub(super) async fn signed_in_by_factor(
        &self,
        slug: &str,
        username: &str,
    ) -> (TokenGrant, OpContext) {
        let grant = self.login(slug, username, PASSWORD).await.unwrap();
        let sql = "UPDATE user_sessions SET mfa_level = 1, mfa_at = $2 WHERE revoked_at IS NULL \
             AND user_id IN (SELECT id FROM users WHERE username = $1)";
        let now = self.clock.now();
        self.superuser().await.execute(sql, &[&username, &now]).await.unwrap();
        let context = self.authenticate(&grant.access_token).await.unwrap();
        self.advance_s(1);
        (grant, context)
    }

    /// Signed in, and the context that a request would have.
    pub(super) async fn signed_in(&self, slug: &str, username: &str) -> (TokenGrant, OpContext) {
        let grant = self.login(slug, username, PASSWORD).await.unwrap();
        let context = self.authenticate(&grant.access_token).await.unwrap();
        // Ids of sessions are ordered by time; a manual clock must be moved for that.
        self.advance_s(1);
        (grant, context)
    }

    pub(super) fn advance_s(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(super) async fn superuser(&self) -> Client {
        connect(&self.database.superuser_url()).await
    }

    pub(super) async fn scalar<T: for<'a> tokio_postgres::types::FromSql<'a>>(
        &self,
        sql: &str,
    ) -> T {
        self.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// How many audit records of a type a tenant has.
    pub(super) async fn audited(&self, context: &OpContext, event_type: &str) -> i64 {
        let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND event_type::text = $2";
        let superuser = self.superuser().await;
        superuser.query_one(sql, &[&context.tenant_id(), &event_type]).await.unwrap().get(0)
    }
}

pub(super) fn request(slug: &str, username: &str, password: &str) -> LoginRequest {
    LoginRequest {
        tenant: Some(slug.to_owned()),
        username: username.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    }
}

pub(super) fn new_user(username: &str, role: &str) -> NewUser {
    NewUser {
        username: username.to_owned(),
        email: Some(format!("{username}@Example.com")),
        phone: None,
        full_name: Some("Žofie Nováková".to_owned()),
        password: NewPassword::Plain(Zeroizing::new(PASSWORD.to_owned())),
        role: role.to_owned(),
        department: None,
        organization_id: None,
        referral_code: None,
    }
}

pub(super) fn from(ip: &str, agent: &str) -> Arc<RequestInfo> {
    Arc::new(RequestInfo {
        id: "request".to_owned(),
        ip: Some(ip.parse::<IpAddr>().unwrap()),
        user_agent: Some(agent.to_owned()),
        ..RequestInfo::default()
    })
}

/// The code of a refusal; anything else fails the test.
pub(super) fn code<T: std::fmt::Debug>(outcome: Result<T, OperationError>) -> String {
    match outcome {
        Err(OperationError::Refused(refusal)) => refusal.code.into_owned(),
        other => panic!("not refused: {other:?}"),
    }
}

/// The claims of a token, unverified.
pub(super) fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap())
        .unwrap()
}

fn root() -> RootKey {
    RootKey::from_bytes(&[7; 32])
}

fn hasher() -> Arc<Hasher> {
    let options = HasherOptions {
        cost: 4,
        threads: NonZeroUsize::new(2).unwrap(),
        queue_capacity: 1_000,
        wait_max: std::time::Duration::from_secs(600),
        niceness: 0,
        memory_kib: 65_536,
        peppers: Peppers::new(Pepper::derive(&root()), Vec::new()),
    };
    Arc::new(Hasher::start(options).unwrap())
}

fn open(
    database: &TestDatabase,
    clock: Clock,
    secret: Option<[u8; 32]>,
    hasher: Arc<Hasher>,
) -> Identity {
    let url = database.superuser_url();
    // Tests share few cores with each other: slowness is no failure here.
    let config = DatabaseConfig { wait_timeout_ms: 120_000, ..DatabaseConfig::new(url) };
    let app = Database::new(&config.with_role("strongroom_app")).unwrap();
    let policies = Arc::new(Policies::load().unwrap());
    let operations = Operations::new(app.clone(), policies, AccessLog::default());
    let keyring = Keyring::new(RootKeys::new(root(), None));
    let config = IdentityConfig {
        public_url: "https://bank.test".to_owned(),
        jwt_secret: secret.map(|bytes| SecretBytes::from_slice(&bytes)),
        exempt_loopback: true,
        sealed: &[],
    };
    Identity::new(operations, Directory::new(app), Arc::new(keyring), hasher, clock, config)
}
