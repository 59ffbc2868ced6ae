//! What stands between two steps: made after a right password, or for somebody signed
//! in who is sent a code.
//!
//! A sign-in's is found by its token, whose kind is its purpose: one of another purpose
//! is not even looked for. It serves the device it was given to, until the password
//! changes, for five minutes, once. Refuses to know what proves a factor.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use operation::{OperationError, Refusal};
use serde::{Deserialize, Serialize};
use tenancy::{DbError, OpContext, Query, RequestInfo, TenantId, TenantTx};
use uuid::Uuid;
use vault::OpaqueToken;

use super::{Method, Parameters, no_pending_state, payment::Payment};
use crate::{
    Identity, login::device_fingerprint, session_begin::SessionFor, tenant_state::TenantState,
};

const BEGIN: &str = tenancy::sql!("identity/mfa.sql", "begin_challenge");
const FORGET: &str = tenancy::sql!("identity/mfa.sql", "forget_challenges");
const FIND_BY_TOKEN: &str = tenancy::sql!("identity/mfa.sql", "find_by_token");
const FIND_BY_SESSION: &str = tenancy::sql!("identity/mfa.sql", "find_by_session");
const CONSUME: &str = tenancy::sql!("identity/mfa.sql", "consume_challenge");

/// How long a pending state and a code that was sent are good for.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_secs(5 * 60);

/// What a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To prove a factor and sign in.
    SignIn,
    /// To enrol a factor, because the role requires one, and sign in with it.
    Enrolment,
    /// To prove a factor again, in a session.
    StepUp,
    /// To confirm an address that is being enrolled, in a session.
    Confirm,
    /// To prove a factor for one payment, in a session.
    Payment,
}

impl Purpose {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Enrolment => "enrolment",
            Self::StepUp => "step_up",
            Self::Confirm => "confirm",
            Self::Payment => "payment",
        }
    }

    /// The kind of its opaque token; challenges of a session have none.
    const fn kind(self) -> &'static str {
        match self {
            Self::Enrolment => "enrol",
            _ => "mfa",
        }
    }
}

/// The tokens of a sign-in that may turn out to need a second step: which of the two is
/// due is known only under the account's lock.
pub(crate) struct PendingTokens {
    pub(crate) sign_in: OpaqueToken,
    pub(crate) enrolment: OpaqueToken,
}

impl PendingTokens {
    pub(crate) fn new(tenant: Uuid) -> Result<Self, DbError> {
        let token = |purpose: Purpose| {
            OpaqueToken::generate(purpose.kind(), tenant)
                .map_err(|error| DbError::Corrupt(error.to_string()))
        };
        Ok(Self { sign_in: token(Purpose::SignIn)?, enrolment: token(Purpose::Enrolment)? })
    }
}

/// A sign-in whose second step is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PendingFactor {
    pub(crate) user_id: Uuid,
    /// What may be proven with; where none, a factor has to be enrolled first.
    pub(crate) methods: Vec<Method>,
}

/// The owner of a challenge.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    /// Whoever holds the token of this hash.
    Token { hash: [u8; 32], session_for: SessionFor },
    /// A session.
    Session(Uuid),
}

/// A challenge about to be made.
pub(crate) struct NewChallenge {
    pub(crate) user: Uuid,
    pub(crate) purpose: Purpose,
    pub(crate) owner: Owner,
    pub(crate) device: [u8; 32],
    pub(crate) password_changed_at: Option<Timestamp>,
    /// What it is bound to, where a payment is to be proven.
    pub(crate) payment: Option<Payment>,
}

/// Makes a challenge and gives its id, in one round trip with `more`.
pub(crate) async fn begin(
    transaction: &TenantTx,
    context: &OpContext,
    new: &NewChallenge,
    more: &[Query<'_>],
) -> Result<Uuid, DbError> {
    let (tenant, id) = (context.tenant_id(), context.clock.new_id());
    let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
    let (hash, session_for, session) = match &new.owner {
        Owner::Token { hash, session_for } => (Some(hash.as_slice()), Some(*session_for), None),
        Owner::Session(session) => (None, None, Some(*session)),
    };
    let session_for = session_for.map(SessionFor::as_str);
    let (purpose, device) = (new.purpose.as_str(), new.device.as_slice());
    let forget: Parameters<'_, 2> = [&tenant, &new.user];
    let payment = new.payment.as_ref();
    let (from, to) =
        payment.map(|payment| (payment.from_account_id, payment.to_account_id)).unzip();
    let (amount, currency) =
        payment.map(|payment| (payment.amount, payment.currency.as_str())).unzip();
    let begin: Parameters<'_, 14> = [
        &tenant,
        &id,
        &new.user,
        &purpose,
        &hash,
        &session,
        &session_for,
        &device,
        &new.password_changed_at,
        &expires_at,
        &from,
        &to,
        &amount,
        &currency,
    ];
    let mut queries = vec![Query::new(FORGET, &forget), Query::new(BEGIN, &begin)];
    queries.extend_from_slice(more);
    transaction.pipeline(&queries).await?;
    Ok(id)
}

/// A pending state that its owner came back to.
pub(crate) struct Pending {
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) username_key: String,
    pub(crate) password_changed_at: Option<Timestamp>,
    /// Whether passwords are locked meanwhile.
    pub(crate) is_locked: bool,
    pub(crate) context: OpContext,
    pub(crate) state: Arc<TenantState>,
}

impl Identity {
    /// The pending state of a token: one answer, whatever is wrong with it.
    pub(crate) async fn pending(
        &self,
        presented: &str,
        (purpose, session_for): (Purpose, SessionFor),
        from: Arc<RequestInfo>,
    ) -> Result<Pending, OperationError> {
        let token =
            OpaqueToken::parse(presented, purpose.kind()).map_err(|_| no_pending_state())?;
        let tenant = self.inner.directory.by_id(TenantId(token.tenant())).await?;
        let context = self.anonymous(tenant.ok_or_else(no_pending_state)?, from);
        let state = self.state(&context).await?;
        let (tenant, hash) = (context.tenant_id(), token.hash());
        let device = device_fingerprint(&state, &context.request);
        let (purpose, session_for) = (purpose.as_str(), session_for.as_str());
        let parameters: Parameters<'_, 5> =
            [&tenant, &hash.as_slice(), &purpose, &session_for, &device.as_slice()];
        let database = self.inner.operations.database();
        let rows = database.look_up(&context, Query::new(FIND_BY_TOKEN, &parameters)).await?;
        let row = rows.first().ok_or_else(no_pending_state)?;
        let read = || -> Result<_, tokio_postgres::Error> {
            let is_locked: Option<bool> = row.try_get("is_locked")?;
            Ok((
                row.try_get("id")?,
                row.try_get("user_id")?,
                row.try_get("username_key")?,
                row.try_get("password_changed_at")?,
                is_locked.unwrap_or(false),
            ))
        };
        let (id, user, username_key, password_changed_at, is_locked) =
            read().map_err(DbError::from)?;
        Ok(Pending { id, user, username_key, password_changed_at, is_locked, context, state })
    }

    /// The newest challenge of a session, if it has one.
    pub(crate) async fn challenge_of_session(
        &self,
        context: &OpContext,
        (user, session): (Uuid, Uuid),
        purpose: Purpose,
    ) -> Result<Option<Uuid>, DbError> {
        let (tenant, purpose) = (context.tenant_id(), purpose.as_str());
        let parameters: Parameters<'_, 4> = [&tenant, &session, &user, &purpose];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND_BY_SESSION, &parameters)).await?;
        Ok(rows.first().map(|row| row.try_get("id")).transpose()?)
    }
}

/// Uses a challenge up; refused where another request was first, or it is over.
pub(crate) async fn consume(
    transaction: &TenantTx,
    challenge: Uuid,
) -> Result<Result<(), Refusal>, DbError> {
    let used = transaction.query_opt(CONSUME, &[&transaction.tenant(), &challenge]).await?;
    Ok(used.map(drop).ok_or_else(no_pending_state))
}
