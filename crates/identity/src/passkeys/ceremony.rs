//! Challenges: given to a browser, found again in its answer, good once.
//!
//! A challenge is an opaque token whose kind is its purpose: an answer made for another
//! one is not even looked for. Its bytes are the token's text, so that the answer itself
//! says which tenant it belongs to. Refuses to know what an answer proves.

use jiff::{SignedDuration, Timestamp};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;
use vault::OpaqueToken;

use super::Parameters;
use crate::webauthn::{ALGORITHMS, ClientData, RelyingParty};

const FORGET: &str = tenancy::sql!("identity/passkeys.sql", "forget_challenges");
const BEGIN: &str = tenancy::sql!("identity/passkeys.sql", "begin_challenge");
const CONSUME: &str = tenancy::sql!("identity/passkeys.sql", "consume_challenge");

/// How long a browser may take.
const LIFETIME: SignedDuration = SignedDuration::from_secs(5 * 60);

/// What a challenge is for, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To register a passkey, in one's session.
    Registration { user: Uuid, session: Uuid },
    /// To register the passkey that one's role requires, and sign in with it.
    Enrolment { user: Uuid, pending: Uuid },
    /// To sign in with nothing else.
    SignIn,
    /// To finish a sign-in that began with a password.
    SecondFactor { user: Uuid, pending: Uuid },
    /// To prove a factor again, in one's session.
    StepUp { user: Uuid, session: Uuid },
    /// To prove the payment of a challenge, in one's session.
    Payment { user: Uuid, session: Uuid, challenge: Uuid },
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Registration { .. } => "registration",
            Self::SignIn => "sign_in",
            // Both belong to a pending sign-in, and their tokens are of different kinds.
            Self::Enrolment { .. } | Self::SecondFactor { .. } => "second_factor",
            Self::StepUp { .. } => "step_up",
            Self::Payment { .. } => "payment",
        }
    }

    /// The kind of its token.
    const fn kind(self) -> &'static str {
        match self {
            Self::Registration { .. } => "passkeynew",
            Self::Enrolment { .. } => "passkeyenrol",
            Self::SignIn => "passkey",
            Self::SecondFactor { .. } => "passkeyfactor",
            Self::StepUp { .. } => "passkeystepup",
            Self::Payment { .. } => "passkeypayment",
        }
    }

    /// Its person, their session, and their pending state.
    const fn owner(self) -> (Option<Uuid>, Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Registration { user, session } | Self::StepUp { user, session } => {
                (Some(user), Some(session), None)
            }
            Self::SignIn => (None, None, None),
            Self::Payment { user, session, challenge } => {
                (Some(user), Some(session), Some(challenge))
            }
            Self::Enrolment { user, pending } | Self::SecondFactor { user, pending } => {
                (Some(user), None, Some(pending))
            }
        }
    }
}

/// A known credential, for browsers to look for or to leave alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its id.
    pub credential_id: Vec<u8>,
    /// How to look for it.
    pub transports: Vec<String>,
}

impl Descriptor {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            credential_id: row.try_get("credential_id")?,
            transports: row.try_get("transports")?,
        })
    }
}

/// What `navigator.credentials.create()` is asked for.
pub struct CreationOptions {
    /// The bytes to be signed.
    pub challenge: Vec<u8>,
    /// Whose site.
    pub rp_id: String,
    /// What the site is called.
    pub rp_name: String,
    /// The random name by which the authenticator will know the person.
    pub user_handle: Vec<u8>,
    /// The name that they sign in with, for themselves to tell passkeys apart.
    pub username: String,
    /// COSE numbers, the best first.
    pub algorithms: [i16; 3],
    /// Registered already: the authenticator that has one declines.
    pub exclude: Vec<Descriptor>,
    /// How long the challenge is good for.
    pub timeout_ms: i64,
}

/// What `navigator.credentials.get()` is asked for.
pub struct RequestOptions {
    /// The bytes to be signed.
    pub challenge: Vec<u8>,
    /// Whose site.
    pub rp_id: String,
    /// The credentials that will do; any of the site's where empty.
    pub allow: Vec<Descriptor>,
    /// How long the challenge is good for.
    pub timeout_ms: i64,
}

impl CreationOptions {
    pub(super) fn new(
        (party, challenge): (&RelyingParty, &OpaqueToken),
        (user_handle, username): (Vec<u8>, String),
        (rp_name, exclude): (String, Vec<Descriptor>),
    ) -> Self {
        Self {
            challenge: challenge.expose().as_bytes().to_vec(),
            rp_id: party.id.clone(),
            rp_name,
            user_handle,
            username,
            algorithms: ALGORITHMS,
            exclude,
            timeout_ms: timeout_ms(),
        }
    }
}

impl RequestOptions {
    pub(super) fn new(
        party: &RelyingParty,
        challenge: &OpaqueToken,
        allow: Vec<Descriptor>,
    ) -> Self {
        Self {
            challenge: challenge.expose().as_bytes().to_vec(),
            rp_id: party.id.clone(),
            allow,
            timeout_ms: timeout_ms(),
        }
    }
}

fn timeout_ms() -> i64 {
    LIFETIME.as_secs() * 1_000
}

/// A challenge that nobody has yet.
pub(super) fn new_challenge(tenant: Uuid, purpose: Purpose) -> Result<OpaqueToken, DbError> {
    OpaqueToken::generate(purpose.kind(), tenant)
        .map_err(|error| DbError::Corrupt(error.to_string()))
}

/// Stores a challenge; sweeps a few of those that are over.
pub(super) async fn begin(
    transaction: &TenantTx,
    context: &OpContext,
    challenge: &OpaqueToken,
    purpose: Purpose,
) -> Result<(), DbError> {
    let (tenant, id, hash) = (context.tenant_id(), context.clock.new_id(), challenge.hash());
    let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
    let (user, session, pending) = purpose.owner();
    let (hash, purpose) = (hash.as_slice(), purpose.as_str());
    let forget: Parameters<'_, 1> = [&tenant];
    let begin: Parameters<'_, 8> =
        [&tenant, &id, &hash, &purpose, &user, &session, &pending, &expires_at];
    transaction.pipeline(&[Query::new(FORGET, &forget), Query::new(BEGIN, &begin)]).await?;
    Ok(())
}

/// The challenge that client data answer, if it can be one of this purpose's at all.
pub(super) fn presented(client_data: &[u8], purpose: Purpose) -> Option<OpaqueToken> {
    let bytes = ClientData::read(client_data).and_then(|data| data.challenge()).ok()?;
    OpaqueToken::parse(std::str::from_utf8(&bytes).ok()?, purpose.kind()).ok()
}

/// Uses a challenge up, and says whether it was there to be used.
pub(super) async fn consume(
    transaction: &TenantTx,
    challenge: &OpaqueToken,
    purpose: Purpose,
) -> Result<bool, DbError> {
    let (tenant, hash) = (transaction.tenant(), challenge.hash());
    let (user, session, pending) = purpose.owner();
    let (hash, purpose) = (hash.as_slice(), purpose.as_str());
    let parameters: Parameters<'_, 6> = [&tenant, &hash, &purpose, &user, &session, &pending];
    Ok(transaction.query_opt(CONSUME, &parameters).await?.is_some())
}
