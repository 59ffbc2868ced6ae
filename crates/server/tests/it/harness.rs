//! The whole application in one process over a database of its own: a bank with a
//! person for each role and two customers with two funded accounts each. Requests
//! go through the router as they would from a socket.
//!
//! ```text
//! let app = App::start().await;
//! let token = app.login(&app.bank, "admin").await;
//! let answer = app.get("/v1/accounts").bearer(&token).send().await;
//! assert_eq!(answer.status, 200);
//! ```
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
};

use access::Policies;
use api::{ApiConfig, ApiParts, ApiState};
use audit::Sealer;
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode},
};
use banking::{
    CreateCustomer, CustomerType, Deposit, NewAccount, NewCustomer, OpenAccount, PersonalData,
};
use http_body_util::BodyExt as _;
use identity::{Identity, IdentityConfig, NewPassword, NewTenant, NewUser};
use operation::{AccessLog, Call, Command, Operations};
use serde_json::{Value, json};
use server::serve::listener::{Acceptor, bind_loopbacks};
use tenancy::{
    ActorKind, Blueprint, Clock, Database, DatabaseConfig, OpContext,
    directory::Directory,
    keyring::Keyring,
    policy::{JwtAlgorithm, PolicyOverrides},
};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use tower::ServiceExt as _;
use uuid::Uuid;
use vault::{
    RootKey, RootKeys, SecretBytes,
    password::{Hasher, HasherOptions, PasswordHash, Pepper, Peppers},
};

/// Everybody's password; good under every blueprint.
pub(crate) const PASSWORD: &str = "Correct-Horse-9-Battery";
/// On each account at the start, minor units of EUR.
pub(crate) const FUNDS: i64 = 100_000;
const ROOT: [u8; 32] = [7; 32];

/// The application.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) state: ApiState,
    pub(crate) identity: Identity,
    pub(crate) operations: Operations,
    pub(crate) directory: Directory,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: Clock,
    pub(crate) pool: Database,
    pub(crate) sealer: Sealer,
    pub(crate) bank: Bank,
    hash: PasswordHash,
    pub(crate) superuser: Client,
    // Dropped last: the connections above go first.
    pub(crate) database: TestDatabase,
}

/// A tenant with people and, where it banks, customers.
#[derive(Clone, Debug)]
pub(crate) struct Bank {
    pub(crate) slug: String,
    pub(crate) id: Uuid,
    /// A person's id by role; user names are the roles, with `second` for the
    /// second customer's login.
    pub(crate) users: BTreeMap<String, Uuid>,
    /// The first belongs to the login `customer`, the second to `second`.
    pub(crate) customers: Vec<BankCustomer>,
}

#[derive(Clone, Debug)]
pub(crate) struct BankCustomer {
    pub(crate) id: Uuid,
    pub(crate) username: &'static str,
    pub(crate) accounts: [Uuid; 2],
}

/// The settings of most tests: limits too high to be met.
pub(crate) fn unlimited() -> ApiConfig {
    ApiConfig { rate_limit_floor_per_minute: Some(1_000_000), ..ApiConfig::default() }
}

/// The console over the same parts as the API.
fn pages(state: &ApiState) -> axum::Router {
    let config = &state.config;
    console::router(console::Console::new(console::ConsoleParts {
        operations: state.operations.clone(),
        transfers: state.transfers.clone(),
        identity: state.identity.clone(),
        directory: state.directory.clone(),
        keyring: Arc::clone(&state.keyring),
        webhooks: state.webhooks.clone(),
        clock: state.clock.clone(),
        rates: Arc::clone(&state.rates),
        rate_limit_floor_per_minute: config.rate_limit_floor_per_minute,
        public_url: config.public_url.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        reference: Arc::new(console::Reference::read(
            &serde_json::to_value(api::openapi()).unwrap(),
        )),
        request_timeout_ms: config.request_timeout_ms,
    }))
}

impl App {
    /// A bank, and limits that no test meets.
    pub(crate) async fn start() -> Self {
        Self::start_with(unlimited()).await
    }

    /// A bank under the tenants' own limits.
    pub(crate) async fn start_strict() -> Self {
        Self::start_with(ApiConfig::default()).await
    }

    pub(crate) async fn start_with(config: ApiConfig) -> Self {
        let database = TestDatabase::create().await;
        let superuser = connect(&database.superuser_url()).await;
        // What a test arranges stands for what operations did, and leaves no record.
        superuser.batch_execute("SET app.operation = 'yes'").await.unwrap();
        let app_database = open(&database, "strongroom_app");
        let clock = Clock::System;
        let policies = Arc::new(Policies::load().unwrap());
        let operations = Operations::new(app_database.clone(), policies, AccessLog::default());
        let directory = Directory::new(app_database.clone());
        let keyring = Arc::new(Keyring::new(roots()));
        let hasher = Arc::new(hasher());
        let identity = Identity::new(
            operations.clone(),
            directory.clone(),
            Arc::clone(&keyring),
            Arc::clone(&hasher),
            clock.clone(),
            IdentityConfig {
                public_url: config.public_url.clone(),
                jwt_secret: Some(SecretBytes::new(vec![9; 32])),
                exempt_loopback: true,
                sealed: server::compose::SEALED,
            },
        );
        let sealer =
            Sealer::new(open(&database, "strongroom_sealer"), Arc::clone(&keyring), clock.clone());
        let webhooks = webhooks::Webhooks::new(
            operations.clone(),
            Arc::clone(&keyring),
            outward::Client::plain(outward::Guard::Any),
        );
        let state = ApiState::new(ApiParts {
            operations: operations.clone(),
            transfers: operation::Group::new(operations.clone()),
            holds: banking::HoldGroups::new(&operations),
            identity: identity.clone(),
            webhooks: webhooks.clone(),
            directory: directory.clone(),
            keyring: Arc::clone(&keyring),
            clock: clock.clone(),
            rates: Arc::default(),
            config,
        });
        let hash = hasher.hash(PASSWORD).await.unwrap();
        let bank = Bank {
            slug: String::new(),
            id: Uuid::nil(),
            users: BTreeMap::new(),
            customers: Vec::new(),
        };
        let mut app = Self {
            router: api::router_with_pages(state.clone(), pages(&state)),
            state,
            identity,
            operations,
            directory,
            keyring,
            clock,
            pool: app_database,
            sealer,
            bank,
            hash,
            superuser,
            database,
        };
        app.bank = app.add_bank("bank").await;
        app
    }

    /// Another core-bank tenant with the same people and holdings.
    pub(crate) async fn add_bank(&self, slug: &str) -> Bank {
        let mut bank = self.add_tenant(slug, Blueprint::CoreBank, None).await;
        let context = self.cli(slug).await;
        for username in ["customer", "second"] {
            let customer = self.add_customer(&context, &bank, username).await;
            bank.customers.push(customer);
        }
        bank
    }

    /// A tenant of any blueprint with a person for each role.
    pub(crate) async fn add_tenant(
        &self,
        slug: &str,
        blueprint: Blueprint,
        algorithm: Option<JwtAlgorithm>,
    ) -> Bank {
        let tenant = NewTenant {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            blueprint,
            time_zone: "UTC".to_owned(),
            overrides: PolicyOverrides { algorithm, ..PolicyOverrides::default() },
        };
        let made = self.identity.create_tenant(tenant).await.unwrap();
        let context = self.cli(slug).await;
        let mut people: Vec<(&str, &str)> =
            blueprint.roles().iter().map(|role| (*role, *role)).collect();
        if blueprint == Blueprint::CoreBank {
            people.push(("second", "customer"));
        }
        let new = people.iter().map(|(username, role)| self.person(username, role)).collect();
        let ids = self.identity.create_users(&context, new).await.unwrap();
        let users =
            people.iter().zip(ids).map(|((username, _), id)| ((*username).to_owned(), id.unwrap()));
        Bank { slug: slug.to_owned(), id: made.id, users: users.collect(), customers: Vec::new() }
    }

    fn person(&self, username: &str, role: &str) -> NewUser {
        NewUser {
            username: username.to_owned(),
            email: Some(format!("{username}@bank.example")),
            phone: None,
            full_name: None,
            password: NewPassword::Hashed(self.hash.clone()),
            role: role.to_owned(),
            department: None,
            organization_id: None,
            referral_code: None,
        }
    }

    async fn add_customer(
        &self,
        context: &OpContext,
        bank: &Bank,
        username: &'static str,
    ) -> BankCustomer {
        let customer = NewCustomer {
            customer_type: CustomerType::Individual,
            personal: PersonalData {
                first_name: Some("Jana".to_owned()),
                last_name: Some("Nováková".to_owned()),
                email: Some(format!("{username}@home.example")),
                ..PersonalData::default()
            },
            user_id: bank.users.get(username).copied(),
        };
        let command = CreateCustomer { keyring: Arc::clone(&self.keyring), customer };
        let id = self.run(context, command).await.id;
        let accounts = [self.add_account(context, id).await, self.add_account(context, id).await];
        BankCustomer { id, username, accounts }
    }

    async fn add_account(&self, context: &OpContext, owner: Uuid) -> Uuid {
        let account = NewAccount::plain(owner, "EUR".parse().unwrap());
        let id = self.run(context, OpenAccount { account }).await.id;
        let deposit = Deposit {
            account_id: id,
            amount: FUNDS,
            currency: None,
            description: "Opening".to_owned(),
            reference: None,
            value_date: None,
        };
        self.run(context, deposit).await;
        id
    }

    /// A real listener on both loopbacks; where sockets matter.
    pub(crate) async fn listen(&self) -> (u16, Acceptor) {
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let acceptor = Acceptor::new(self.router.clone(), 64);
        for listener in listeners {
            acceptor.listen(listener);
        }
        (port, acceptor)
    }

    /// Runs a command as whoever the context says.
    pub(crate) async fn run<C: Command>(&self, context: &OpContext, command: C) -> C::Output {
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.operations.run_one(call).await.unwrap().output
    }

    /// The operator at the command line, in a tenant.
    pub(crate) async fn cli(&self, slug: &str) -> OpContext {
        let tenant = self.directory.by_slug(slug).await.unwrap().unwrap();
        OpContext::system(tenant, ActorKind::Cli, self.clock.clone())
    }

    /// An access token.
    pub(crate) async fn login(&self, bank: &Bank, username: &str) -> String {
        self.sign_in(bank, username).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Signed in, and a second factor used just now.
    pub(crate) async fn login_by_factor(&self, bank: &Bank, username: &str) -> String {
        let token = self.login(bank, username).await;
        self.factor_used(username).await;
        token
    }

    /// As if whoever is signed in under a name had used a second factor just now. A node that
    /// has met the session before knows it a second later.
    pub(crate) async fn factor_used(&self, username: &str) {
        let sql = "UPDATE user_sessions SET mfa_level = 1, mfa_at = now() WHERE revoked_at IS NULL \
             AND user_id IN (SELECT id FROM users WHERE username = $1)";
        self.superuser.execute(sql, &[&username]).await.unwrap();
    }

    /// Gives somebody who has a factor another one beside it, which nobody can use.
    pub(crate) async fn another_factor(&self, bank: &Bank, username: &str) {
        crate::harness::another_factor(&self.superuser, bank.id, username).await;
    }

    /// Both tokens, as the interface answers them.
    pub(crate) async fn sign_in(&self, bank: &Bank, username: &str) -> Value {
        let body = json!({ "tenant": bank.slug, "username": username, "password": PASSWORD });
        let answer = self.post("/v1/auth/login").json(&body).send().await;
        assert_eq!(answer.status, 200, "{username}: {}", answer.body);
        answer.body
    }

    /// Writes what reads left to be recorded, and seals the log.
    pub(crate) async fn seal(&self) {
        self.operations.access_log().flush(&self.pool, true).await.unwrap();
        self.sealer.drain().await.unwrap();
    }

    /// How many audit records a tenant has.
    pub(crate) async fn audit_count(&self, tenant: Uuid) -> i64 {
        self.operations.access_log().flush(&self.pool, true).await.unwrap();
        let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1";
        self.superuser.query_one(sql, &[&tenant]).await.unwrap().get(0)
    }

    pub(crate) async fn balance(&self, account: Uuid) -> i64 {
        let sql = "SELECT balance FROM ledger_accounts WHERE id = $1";
        self.superuser.query_one(sql, &[&account]).await.unwrap().get(0)
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    pub(crate) fn ask(&self, method: Method, path: impl Into<String>) -> Ask<'_> {
        Ask {
            app: self,
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            peer: [127, 0, 0, 1].into(),
            body: Body::empty(),
        }
    }
}

/// A request being put together.
pub(crate) struct Ask<'a> {
    app: &'a App,
    method: Method,
    path: String,
    headers: HeaderMap,
    peer: IpAddr,
    body: Body,
}

impl Ask<'_> {
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw_json(body.to_string())
    }

    pub(crate) fn raw_json(mut self, body: impl Into<Body>) -> Self {
        self.headers.insert("content-type", HeaderValue::from_static("application/json"));
        self.body = body.into();
        self
    }

    /// Fields as a browser submits them.
    pub(crate) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.headers.insert("content-type", kind);
        let encoded = fields.iter().map(|(name, value)| format!("{name}={}", percent(value)));
        self.body = encoded.collect::<Vec<_>>().join("&").into();
        self
    }

    /// The socket's peer.
    pub(crate) fn peer(mut self, address: &str) -> Self {
        self.peer = address.parse().unwrap();
        self
    }

    pub(crate) async fn send(self) -> Answered {
        let (parts, body) = self.begin().await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answered { status: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    /// The answer with its body yet to be read.
    pub(crate) async fn begin(self) -> axum::response::Response {
        let mut request =
            Request::builder().method(self.method).uri(&self.path).body(self.body).unwrap();
        *request.headers_mut() = self.headers;
        request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost"));
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.peer, 40_000)));
        self.app.router.clone().oneshot(request).await.unwrap()
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The first field at fault.
    pub(crate) fn field(&self) -> &str {
        self.body["errors"][0]["field"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }
}

fn percent(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    text.bytes()
        .flat_map(|byte| [b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

fn roots() -> RootKeys {
    RootKeys::new(RootKey::from_bytes(&ROOT), None)
}

fn hasher() -> Hasher {
    let pepper = Pepper::derive(&RootKey::from_bytes(&ROOT));
    let options = HasherOptions {
        cost: vault::password::MINIMUM_COST,
        threads: NonZeroUsize::MIN,
        queue_capacity: 1_000,
        wait_max: std::time::Duration::from_secs(600),
        niceness: 0,
        memory_kib: 65_536,
        peppers: Peppers::new(pepper, Vec::new()),
    };
    Hasher::start(options).unwrap()
}

fn open(database: &TestDatabase, role: &'static str) -> Database {
    let mut config = DatabaseConfig::new(database.superuser_url()).with_role(role);
    config.wait_timeout_ms = 60_000;
    config.max_connections = 16;
    Database::new(&config).unwrap()
}

/// A second factor that nobody can use, as a row: codes sent to an address that nobody knows.
pub(crate) async fn another_factor(tables: &Client, tenant: Uuid, username: &str) {
    let sql = "INSERT INTO mfa_configs (tenant_id, id, user_id, method, name, secret_sealed, \
             device_fingerprint, confirmed_at) \
         SELECT tenant_id, $3, id, 'email', 'E-mail', decode('01' || repeat('00', 99), 'hex'), \
             decode(repeat('00', 32), 'hex'), now() FROM users WHERE tenant_id = $1 AND username = $2";
    let id = Uuid::from_bytes(vault::random_bytes());
    assert_eq!(tables.execute(sql, &[&tenant, &username, &id]).await.unwrap(), 1);
}
