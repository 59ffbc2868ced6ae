//! Puts the parts of one process together: databases under their roles, keys,
//! operations, identity, the API, the console. It refuses to decide anything: everything it
//! needs is handed in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use access::Policies;
use api::{ApiConfig, ApiParts, ApiState};
use audit::witness::{Witness, Witnesses};
use audit::{Sealer, anchor::Anchoring};
use banking::{HoldGroups, movements::CreateTransfer};
use console::{Console, ConsoleParts};
use events::Relay;
use hotstate::limiter::Limiter;
use hotstate::shared::Shared;
use identity::{Identity, IdentityConfig};
use notify::{Notices, Transports};
use operation::{AccessLog, Group, Operations};
use outward::{Client, Guard};
use tenancy::cells::Sealed;
use tenancy::directory::Directory;
use tenancy::keyring::{KeyShares, Keyring};
use tenancy::{ActorKind, Clock, Database, DatabaseConfig, OpContext, TenantRef};
use vault::password::{Hasher, HasherOptions, Pepper, Peppers};
use vault::{RootKeys, SecretBytes};
use webhooks::Webhooks;

use crate::serve::proofs;

/// What each domain seals.
pub const SEALED: &[Sealed] =
    &[banking::SEALED, identity::SEALED, notify::SEALED, webhooks::SEALED];

/// What an installation is put together from.
pub struct Ingredients {
    /// The database as `strongroom_app`.
    pub app: DatabaseConfig,
    /// The database as `strongroom_sealer`.
    pub sealer: DatabaseConfig,
    /// Where the newest checkpoint of the audit log is kept.
    pub anchor: Option<Anchoring>,
    /// The roots, for the tenants' keys.
    pub roots: RootKeys,
    /// Where the halves of field KEKs are kept that stand outside the database.
    pub shares: Option<KeyShares>,
    /// `JWT_SECRET_KEY`.
    pub token_secret: Option<SecretBytes>,
    /// Whether failures from this machine never block its address.
    pub exempt_loopback: bool,
    /// Settings of the interface.
    pub api: ApiConfig,
}

/// The parts of one process. Cheap to clone.
#[derive(Clone)]
pub struct Installation {
    /// The database as the app.
    pub app: Database,
    /// Runs every command and read.
    pub operations: Operations,
    /// Transfers, several to a transaction.
    pub transfers: Group<CreateTransfer>,
    /// Holds and their captures, the same.
    pub holds: HoldGroups,
    /// People, sessions and tokens.
    pub identity: Identity,
    /// The tenants.
    pub directory: Directory,
    /// The tenants' keys.
    pub keyring: Arc<Keyring>,
    /// Hashes passwords.
    pub hasher: Arc<Hasher>,
    /// Grows the audit log's trees.
    pub sealer: Arc<Sealer>,
    /// Has its checkpoints cosigned.
    pub witnesses: Witnesses,
    /// Gives events their positions.
    pub relay: Arc<Relay>,
    /// What time it is.
    pub clock: Clock,
    /// Set when shutdown begins.
    pub draining: Arc<AtomicBool>,
    /// How often each tenant's books are proven.
    pub proof_every: Duration,
    /// Sends what people are told.
    pub notices: Notices,
    /// Tells tenants' other systems.
    pub webhooks: Webhooks,
    /// The API and the console spend one budget.
    rates: Arc<Limiter>,
    api: ApiConfig,
}

impl Installation {
    /// Puts everything together; connects on first use.
    ///
    /// # Errors
    /// Where the policies do not validate, or threads cannot be started.
    pub fn assemble(ingredients: Ingredients) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let app = Database::new(&ingredients.app)?;
        let sealer_database = Database::new(&ingredients.sealer)?;
        let pepper = Pepper::derive(ingredients.roots.encryption());
        let hasher =
            Arc::new(Hasher::start(HasherOptions::production(Peppers::new(pepper, Vec::new())))?);
        let keyring = Arc::new(Keyring::new(ingredients.roots).sharing(ingredients.shares));
        let operations =
            Operations::new(app.clone(), Arc::new(Policies::load()?), AccessLog::default());
        let directory = Directory::new(app.clone());
        let identity = Identity::new(
            operations.clone(),
            directory.clone(),
            Arc::clone(&keyring),
            Arc::clone(&hasher),
            clock.clone(),
            IdentityConfig {
                public_url: ingredients.api.public_url.clone(),
                jwt_secret: ingredients.token_secret,
                exempt_loopback: ingredients.exempt_loopback,
                sealed: SEALED,
            },
        );
        let relay = Relay::new(sealer_database.clone(), clock.clone());
        let sealer = Sealer::new(sealer_database.clone(), Arc::clone(&keyring), clock.clone())
            .anchored_in(ingredients.anchor);
        let witnesses =
            Witnesses::new(sealer_database, Client::plain(Guard::Any), clock.clone(), Vec::new())
                .telling(sealer.witness_anchor());
        let notices = Notices::new(
            operations.clone(),
            Arc::clone(&keyring),
            Transports::default(),
            ingredients.api.public_url.as_str(),
        );
        let webhooks = Webhooks::new(
            operations.clone(),
            Arc::clone(&keyring),
            Client::plain(Guard::PublicOnly),
        );
        Ok(Self {
            app,
            transfers: Group::new(operations.clone()),
            holds: HoldGroups::new(&operations),
            operations,
            identity,
            directory,
            keyring,
            hasher,
            sealer: Arc::new(sealer),
            witnesses,
            relay: Arc::new(relay),
            clock,
            draining: Arc::default(),
            proof_every: proofs::EVERY_DEFAULT,
            notices,
            webhooks,
            rates: Arc::default(),
            api: ingredients.api,
        })
    }

    /// The same, sending over these. Without, what people are to be told stays in the queue.
    #[must_use]
    pub fn sending_over(mut self, transports: Transports) -> Self {
        self.notices = Notices::new(
            self.operations.clone(),
            Arc::clone(&self.keyring),
            transports,
            self.api.public_url.as_str(),
        );
        self
    }

    /// The same, telling tenants' other systems through this client. Without, nothing reaches
    /// any of them: nobody's certificate is believed.
    #[must_use]
    pub fn telling_through(mut self, client: Client) -> Self {
        self.webhooks = Webhooks::new(self.operations.clone(), Arc::clone(&self.keyring), client);
        self
    }

    /// The same, having the audit log's checkpoints cosigned by these.
    #[must_use]
    pub fn witnessed_by(mut self, witnesses: Vec<Witness>, client: Client) -> Self {
        self.witnesses = self.witnesses.asking(witnesses, client);
        self
    }

    /// From now on rate windows and address blocks are those of all nodes.
    pub fn share(&self, shared: &Shared) {
        self.rates.share(shared.clone());
        self.identity.share(shared.clone());
    }

    /// What handlers share.
    pub fn api_state(&self) -> ApiState {
        ApiState::new(ApiParts {
            operations: self.operations.clone(),
            transfers: self.transfers.clone(),
            holds: self.holds.clone(),
            identity: self.identity.clone(),
            webhooks: self.webhooks.clone(),
            directory: self.directory.clone(),
            keyring: Arc::clone(&self.keyring),
            clock: self.clock.clone(),
            rates: Arc::clone(&self.rates),
            config: self.api.clone(),
        })
    }

    /// What pages share.
    pub fn console(&self) -> Console {
        Console::new(ConsoleParts {
            operations: self.operations.clone(),
            transfers: self.transfers.clone(),
            identity: self.identity.clone(),
            directory: self.directory.clone(),
            keyring: Arc::clone(&self.keyring),
            webhooks: self.webhooks.clone(),
            clock: self.clock.clone(),
            rates: Arc::clone(&self.rates),
            rate_limit_floor_per_minute: self.api.rate_limit_floor_per_minute,
            public_url: self.api.public_url.clone(),
            allowed_hosts: self.api.allowed_hosts.clone(),
            reference: Arc::new(reference()),
            request_timeout_ms: self.api.request_timeout_ms,
        })
    }

    /// A context of the system itself in a tenant.
    pub fn context(&self, tenant: Arc<TenantRef>, kind: ActorKind) -> OpContext {
        OpContext::system(tenant, kind, self.clock.clone())
    }

    /// The tenant of that slug, or a refusal to go on.
    ///
    /// # Errors
    /// [`crate::cli::exit::Found`] where there is none, or a database error.
    pub async fn tenant(&self, slug: &str) -> anyhow::Result<Arc<TenantRef>> {
        let found = self.directory.by_slug(slug).await?;
        found.ok_or_else(|| {
            crate::cli::exit::Found(format!("there is no active tenant {slug}")).into()
        })
    }
}

/// The documentation's source. A document that cannot be written down is one that
/// `/openapi.json` could not serve either.
fn reference() -> console::Reference {
    console::Reference::read(&serde_json::to_value(api::openapi()).unwrap_or_default())
}
