//! People and machines and how they prove who they are: users, passwords, sign-in,
//! sessions, tokens and the keys that sign them, API keys, and the making of tenants.
//!
//! Owns every rule of these. Refuses to know HTTP, wire types and rate limits (the
//! API's), what a role may do (policy's), and any cryptography (the vault's).
//! [`Identity`] is the one door; every change behind it is an operation, except the
//! charge of a sign-in attempt, which must be committed before the password is
//! looked at and whose meaning the operation that follows records.

mod activity;
mod address;
mod api_keys;
mod authenticate;
mod capacity;
mod cells;
mod charge;
mod claims;
mod client_keys;
mod console;
mod context;
mod data_keys;
mod devices;
mod devices_own;
mod events;
mod forget;
mod introspection;
mod login;
mod login_commands;
mod me;
mod mfa;
mod passkeys;
mod password_policy;
mod passwords;
mod policy_change;
mod recovery;
mod referrals;
mod refresh;
mod roles;
mod session_begin;
mod sessions;
mod signing;
mod signing_keys;
mod strength;
mod tenant_state;
mod tenants;
mod users;
mod version;
mod webauthn;

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hotstate::{
    blocks::SourceBlocks,
    gate::Gate,
    sessions::{Fresh, LiveSessions},
    shared::Shared,
};
use operation::Operations;
use tenancy::{Clock, cells::Sealed, directory::Directory, keyring::Keyring};
use tokio::sync::Semaphore;
use uuid::Uuid;
use vault::{SecretBytes, password::Hasher};

pub use activity::{ActivityBy, ActivityRecord};
pub use api_keys::{ApiKeyRecord, ApiKeyRotation, IssuedApiKey, IssuedOnce, NewApiKey};
pub use capacity::Capacity;
pub use cells::SEALED;
pub use client_keys::{ClientKeyRecord, NewClientKey, SignatureFault};
pub use console::{ConsoleGrant, ConsoleSession};
pub use devices_own::DeviceRecord;
pub use introspection::{ActiveToken, Introspection};
pub use login::{LoginRequest, TokenGrant};
pub use me::Me;
pub use mfa::{
    AppSetup, Confirmed, ConsoleSignIn, ConsoleStep, FactorPresented, FactorRecord, Method,
    Payment, PaymentProven, Proven, Regenerate, ResetRequest, SecondFactorDue, Setup, SetupRequest,
    SignIn, SteppedUp, VerifiedStep,
};
pub use passkeys::{
    CreationOptions, Descriptor, PasskeyProof, PasskeyRecord, PasskeyRegistered,
    PasskeyRegistration, RequestOptions,
};
pub use password_policy::{PasswordRules, broken_rules};
pub use passwords::PasswordChange;
pub use policy_change::{
    POLICY_RULES, PolicyChange, PolicyChangeFilter, PolicyChangeStatus, PolicyDifference,
    PolicyPreview, PolicyRule, PolicyWish, UnknownPolicyChangeStatus, policy_merged, policy_patch,
};
pub use recovery::{
    ForgottenPassword, Invitation, Link, LinkSent, NewAddress, NewPasswordByLink, PhoneChallenge,
};
pub use referrals::Referral;
pub use roles::{RoleRecord, RoleType};
pub use sessions::SessionRecord;
pub use signing_keys::{KeyStatus, SigningKeyRecord};
pub use strength::{PasswordAdvice, PasswordTried};
pub use tenants::{NewTenant, TenantRecord};
pub use users::{
    Change, LockReason, NewPassword, NewUser, PendingRoles, Registration, UserFilter, UserRecord,
    UserSummary, UserUpdate,
};

/// What an installation decides about identity.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// `PUBLIC_URL`: the start of issuers, without a slash at its end.
    pub public_url: String,
    /// `JWT_SECRET_KEY`, at least 32 bytes: what HS256 keys are derived from where set.
    pub jwt_secret: Option<SecretBytes>,
    /// Whether failures from the machine itself never block its address (`dev`).
    pub exempt_loopback: bool,
    /// What every domain seals, to be counted by its keys.
    pub sealed: &'static [Sealed],
}

/// Identity of every tenant on this node. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) operations: Operations,
    pub(crate) directory: Directory,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) clock: Clock,
    pub(crate) config: IdentityConfig,
    pub(crate) states: Fresh<Uuid, Arc<tenant_state::TenantState>>,
    pub(crate) key_sets: RwLock<std::collections::HashMap<Uuid, Arc<signing::KeySet>>>,
    pub(crate) sessions: LiveSessions<Arc<sessions::SessionFacts>>,
    /// By a part of the hash of what was presented, and by the key's id.
    pub(crate) api_keys: LiveSessions<Arc<api_keys::KeyFacts>>,
    pub(crate) tokens: Fresh<[u8; 32], claims::VerifiedToken>,
    pub(crate) scope_texts: introspection::ScopeTexts,
    pub(crate) cookies: Fresh<[u8; 32], Uuid>,
    pub(crate) touched: Fresh<(Uuid, Uuid), ()>,
    pub(crate) floods: Fresh<(Uuid, std::net::IpAddr), ()>,
    /// API keys that were tried from where they must not be, from where, and what was wrong.
    pub(crate) misuses: Fresh<(Uuid, Option<std::net::IpAddr>, &'static str), ()>,
    pub(crate) account_gate: Gate<(Uuid, String)>,
    pub(crate) address_gate: Gate<(Uuid, std::net::IpAddr)>,
    pub(crate) blocks: SourceBlocks,
    /// Of requests for a link whose work is done after their answer.
    pub(crate) afterwards: Arc<Semaphore>,
    /// Of estimates of a password's strength.
    pub(crate) estimates: Arc<Semaphore>,
    /// Of counts of all that is sealed.
    pub(crate) inventories: Semaphore,
    evaluated: AtomicU64,
    pretended: AtomicU64,
}

/// How many passwords were compared on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCounts {
    /// Against a stored hash.
    pub evaluated: u64,
    /// Against nothing, for the sake of time: unknown, locked or disabled accounts.
    pub pretended: u64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// How stale policy and keys may be.
const STATE_FRESH_FOR: Duration = Duration::from_secs(1);
/// How long a verified signature is believed, while its key still verifies.
const TOKEN_FRESH_FOR: Duration = Duration::from_secs(60);
/// Activity, and floods from one address, are written once in this time.
const MINUTE: Duration = Duration::from_secs(60);
/// Requests for a link that may be under way after their answer.
const AFTERWARDS_MAX: usize = 64;
/// Passwords whose strength is estimated at the same time.
const ESTIMATES_MAX: usize = 2;
const TENANTS_MAX: usize = 100_000;
const TOKENS_MAX: usize = 200_000;

impl Identity {
    /// Identity over a database, a directory and opened root keys.
    pub fn new(
        operations: Operations,
        directory: Directory,
        keyring: Arc<Keyring>,
        hasher: Arc<Hasher>,
        clock: Clock,
        config: IdentityConfig,
    ) -> Self {
        let inner = Inner {
            operations,
            directory,
            keyring,
            hasher,
            clock,
            config,
            states: Fresh::new(STATE_FRESH_FOR, TENANTS_MAX),
            key_sets: RwLock::default(),
            sessions: LiveSessions::default(),
            api_keys: LiveSessions::default(),
            tokens: Fresh::new(TOKEN_FRESH_FOR, TOKENS_MAX),
            scope_texts: RwLock::default(),
            cookies: Fresh::new(TOKEN_FRESH_FOR, TOKENS_MAX),
            touched: Fresh::new(MINUTE, TOKENS_MAX),
            floods: Fresh::new(MINUTE, TOKENS_MAX),
            misuses: Fresh::new(MINUTE, TOKENS_MAX),
            account_gate: Gate::default(),
            address_gate: Gate::default(),
            blocks: SourceBlocks::default(),
            afterwards: Arc::new(Semaphore::new(AFTERWARDS_MAX)),
            estimates: Arc::new(Semaphore::new(ESTIMATES_MAX)),
            inventories: Semaphore::new(1),
            evaluated: AtomicU64::new(0),
            pretended: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same installation's identity under another clock, sharing nothing that is
    /// kept in memory: for what has happened on an earlier day (demos).
    #[must_use]
    pub fn at(&self, clock: Clock) -> Self {
        Self::new(
            self.inner.operations.clone(),
            self.inner.directory.clone(),
            Arc::clone(&self.inner.keyring),
            Arc::clone(&self.inner.hasher),
            clock,
            self.inner.config.clone(),
        )
    }

    /// From now on failures and blocks of addresses are those of all nodes.
    pub fn share(&self, shared: Shared) {
        self.inner.blocks.share(shared);
    }

    /// The directory that tenants are resolved by.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// The operations that changes run through.
    pub fn operations(&self) -> &Operations {
        &self.inner.operations
    }

    /// The clock of this node.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// How many passwords were compared so far, for metrics and for tests of timing.
    pub fn hash_counts(&self) -> HashCounts {
        HashCounts {
            evaluated: self.inner.evaluated.load(Ordering::Relaxed),
            pretended: self.inner.pretended.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count_hash(&self, evaluated: bool) {
        let counter = if evaluated { &self.inner.evaluated } else { &self.inner.pretended };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
