//! Signing in with a password.
//!
//! The order is what makes parallel guessing useless: (1) the address is charged;
//! (2) a place in the hashing queue is taken; (3) the account is charged in the database,
//! committed, by `handle_failed_login`; where (2) or (3) fails, the address gets its
//! charge back and the answer is 503; (4) the password is compared, or nothing is for the same
//! time; (5) the outcome is recorded, and a success takes the charges back. Where (5) fails,
//! a right password takes them back all the same and a wrong one does not (see `charge`). No
//! connection is held in (4). Whatever is wrong, the answer is the same.
//!
//! Lock order: address gate, then account gate. Refuses to know second factors: where one
//! is due, a right password gives the token of the second step (`mfa`) and no session.

use std::sync::Arc;

use jiff::Timestamp;
use operation::{Call, OperationError, Refusal};
use tenancy::{DbError, OpContext, Query, RequestInfo, TenantRef};
use uuid::Uuid;
use vault::{
    BlindIndex, blind_index,
    password::{PasswordHash, Permit},
};
use zeroize::Zeroizing;

use crate::{
    Identity,
    address::AddressCharge,
    charge::{AtGate, Charged, RightPassword},
    context::password_failure,
    login_commands::{AcceptLogin, Judged, LoginOutcome, RefuseLogin, RefusedAccount},
    mfa::{PendingTokens, SecondFactorDue, SignIn},
    session_begin::{Assurance, Begun, Entrant, SessionBegin, SessionFor, TOO_MANY_SESSIONS},
    tenant_state::TenantState,
    users::email_key,
};

const FIND_ACCOUNT: &str = tenancy::sql!("identity/login.sql", "find_account");

/// The reserved tenant that owns events which belong to no tenant.
pub(crate) const PLATFORM: &str = "platform";
/// The kind of refresh tokens.
pub(crate) const REFRESH: &str = "refresh";

/// Who wants in.
pub struct LoginRequest {
    /// The tenant's slug; may be absent where the installation has one tenant.
    pub tenant: Option<String>,
    /// User name or e-mail.
    pub username: String,
    /// As typed.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LoginRequest").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// What a successful sign-in or refresh gives.
pub struct TokenGrant {
    /// A JWT (RFC 9068); goes into `Authorization: Bearer`.
    pub access_token: String,
    /// Opaque, for one use.
    pub refresh_token: Zeroizing<String>,
    /// Lifetime of the access token.
    pub expires_in_s: i64,
    /// Whose tokens these are.
    pub user_id: Uuid,
    /// `sid`.
    pub session_id: Uuid,
}

impl std::fmt::Debug for TokenGrant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenGrant")
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// What a right password led to.
pub(crate) enum Entered {
    /// A session.
    Session(Box<Begun>),
    /// A second step.
    SecondFactor(SecondFactorDue),
}

/// One attempt and what is known of it from the start.
pub(crate) struct Attempt {
    pub(crate) context: OpContext,
    pub(crate) state: Arc<TenantState>,
    /// The name as it is looked up; no account has the empty one.
    pub(crate) name_key: String,
    pub(crate) identifier_index: BlindIndex,
}

/// The account of a name, as it was before hashing.
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) username_key: String,
    pub(crate) password_changed_at: Option<Timestamp>,
    password_hash: Option<String>,
    is_active: bool,
}

/// An attempt right before its comparison.
struct Prepared {
    permit: Permit,
    account: Option<Account>,
    charged: Charged,
    entered: AtGate,
}

/// What a comparison came to.
enum Compared {
    Right { account: Account, needs_rehash: bool, entered: AtGate },
    Failed { account: Option<RefusedAccount>, outcome: LoginOutcome },
}

impl Identity {
    /// Signs in, or gives the token of the second step where one is due. 401 `invalid_credentials` whatever is wrong, 429 where the address
    /// is blocked, 503 where hashing is busy.
    pub async fn login(
        &self,
        request: LoginRequest,
        from: Arc<RequestInfo>,
    ) -> Result<SignIn, OperationError> {
        Ok(match self.by_password(request, from, SessionFor::Client).await? {
            Entered::Session(begun) => SignIn::Tokens(self.tokens_of(&begun)?),
            Entered::SecondFactor(due) => SignIn::SecondFactor(due),
        })
    }

    /// The one way in by password, whoever it is for: the same charges, the same answers.
    pub(crate) async fn by_password(
        &self,
        request: LoginRequest,
        from: Arc<RequestInfo>,
        session_for: SessionFor,
    ) -> Result<Entered, OperationError> {
        let identity = self.clone();
        // A task of its own: who hangs up must not leave a charge without its record.
        let whole = async move { identity.login_whole(request, from, session_for).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn login_whole(
        &self,
        request: LoginRequest,
        from: Arc<RequestInfo>,
        session_for: SessionFor,
    ) -> Result<Entered, OperationError> {
        let Some(tenant) = self.login_tenant(request.tenant.as_deref()).await? else {
            return self.login_nowhere(&request, from).await;
        };
        let attempt = self.attempt(tenant, &request.username, from).await?;
        let charge = match self.charge_address(&attempt.context, &attempt.state).await {
            Ok(charge) => charge,
            Err(refusal) => return self.refuse_blocked(&attempt, refusal).await,
        };
        let compared = match self.compare(&attempt, &request.password).await {
            Ok(compared) => compared,
            // Nothing was compared: a busy queue or a lost database is nobody's failure.
            Err(error) => {
                if let Some(charge) = charge {
                    self.give_back(&attempt.context, charge).await;
                }
                return Err(error);
            }
        };
        match compared {
            Compared::Failed { account, outcome } => {
                self.record_failure(&attempt, account, outcome).await
            }
            Compared::Right { account, needs_rehash, entered } => {
                let rehash = if needs_rehash {
                    self.rehash(&attempt.state, &request.password).await
                } else {
                    None
                };
                self.accept(&attempt, session_for, account, rehash, (entered, charge)).await
            }
        }
    }

    /// Compares with the account's password, or with nothing for the same time.
    async fn compare(&self, attempt: &Attempt, password: &str) -> Result<Compared, OperationError> {
        let Prepared { permit, account, charged, entered } = self.prepare(attempt).await?;
        let Some(account) = account else {
            drop(entered);
            self.pretend(permit, password).await?;
            return Ok(Compared::Failed { account: None, outcome: LoginOutcome::Unknown });
        };
        let refused = |failures, outcome| Compared::Failed {
            account: Some(RefusedAccount { id: account.id, failures }),
            outcome,
        };
        let hash = account.password_hash.as_deref().filter(|_| account.is_active);
        let (Some(hash), true) = (hash, charged.may_evaluate) else {
            drop(entered);
            self.pretend(permit, password).await?;
            let locked = !charged.may_evaluate;
            return Ok(refused(
                0,
                if locked { LoginOutcome::Locked } else { LoginOutcome::Disabled },
            ));
        };
        let hash: PasswordHash = hash.parse().map_err(password_failure)?;
        self.count_hash(true);
        let verdict = permit.verify(password, Some(&hash)).await.map_err(password_failure)?;
        if verdict.matches {
            return Ok(Compared::Right { account, needs_rehash: verdict.needs_rehash, entered });
        }
        let locks = charged.locks;
        let outcome = if locks { LoginOutcome::WrongAndLocks } else { LoginOutcome::Wrong };
        Ok(refused(charged.failures, outcome))
    }

    /// What comes before a comparison. The place in the queue is first: busy says nothing
    /// of the account and costs it nothing.
    async fn prepare(&self, attempt: &Attempt) -> Result<Prepared, OperationError> {
        let permit = attempt.state.reserve_hash(&self.inner.hasher)?;
        let account = self.find_account(attempt).await?;
        let name =
            account.as_ref().map_or(&attempt.name_key, |account| &account.username_key).clone();
        let places =
            usize::try_from(attempt.state.policy.account_lock.threshold).unwrap_or(usize::MAX);
        let mut entered = self
            .inner
            .account_gate
            .enter((attempt.context.tenant_id(), name.clone()), places)
            .await;
        let charged = self.charge_account(&attempt.context, &name, &mut entered).await?;
        Ok(Prepared { permit, account, charged, entered })
    }

    /// An unknown tenant: the same work and the same answer, recorded with the platform.
    async fn login_nowhere(
        &self,
        request: &LoginRequest,
        from: Arc<RequestInfo>,
    ) -> Result<Entered, OperationError> {
        let permit = self.inner.hasher.reserve().map_err(password_failure)?;
        let Some(platform) = self.inner.directory.by_slug(PLATFORM).await? else {
            self.pretend(permit, &request.password).await?;
            return Err(invalid_credentials().into());
        };
        let attempt = self.attempt(platform, "", from).await?;
        self.pretend(permit, &request.password).await?;
        self.record_failure(&attempt, None, LoginOutcome::Unknown).await
    }

    /// The tenant of that slug, or the only one of the installation.
    pub async fn login_tenant(
        &self,
        slug: Option<&str>,
    ) -> Result<Option<Arc<TenantRef>>, DbError> {
        if let Some(slug) = slug {
            return self.inner.directory.by_slug(slug).await;
        }
        let mut tenants = self.inner.directory.list().await?;
        tenants.retain(|tenant| tenant.slug != PLATFORM);
        Ok(tenants.pop().filter(|_| tenants.is_empty()))
    }

    async fn attempt(
        &self,
        tenant: Arc<TenantRef>,
        identifier: &str,
        from: Arc<RequestInfo>,
    ) -> Result<Attempt, OperationError> {
        let context = self.anonymous(tenant, from);
        let state = self.state(&context).await?;
        let name_key = name_key(identifier);
        let identifier_index =
            blind_index(state.keys.index(), "users.email", &email_key(&name_key));
        Ok(Attempt { context, state, name_key, identifier_index })
    }

    async fn find_account(&self, attempt: &Attempt) -> Result<Option<Account>, DbError> {
        let tenant = attempt.context.tenant_id();
        let address = email_key(&attempt.name_key);
        let indexes = attempt.state.keys.indexes("users.email", &address);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&tenant, &attempt.name_key, &indexes];
        let database = self.inner.operations.database();
        let rows =
            database.look_up(&attempt.context, Query::new(FIND_ACCOUNT, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Account {
            id: row.try_get("id")?,
            username_key: row.try_get("username_key")?,
            password_changed_at: row.try_get("password_changed_at")?,
            password_hash: row.try_get("password_hash")?,
            is_active: row.try_get("is_active")?,
        }))
    }

    async fn record_failure(
        &self,
        attempt: &Attempt,
        account: Option<RefusedAccount>,
        outcome: LoginOutcome,
    ) -> Result<Entered, OperationError> {
        let identifier_index = attempt.identifier_index;
        let command = RefuseLogin { account, identifier_index, outcome };
        let call = Call { context: attempt.context.clone(), idempotency_key: None, command };
        // The command always refuses; a reply without a refusal cannot be.
        self.inner.operations.run_one(call).await?;
        Err(invalid_credentials().into())
    }

    async fn refuse_blocked(
        &self,
        attempt: &Attempt,
        refusal: OperationError,
    ) -> Result<Entered, OperationError> {
        if matches!(refusal, OperationError::Refused(_)) && self.is_news(&attempt.context) {
            // Its own answer is the 401; this one is told to wait.
            let recorded = self.record_failure(attempt, None, LoginOutcome::Blocked).await;
            if let Err(error @ (OperationError::Database(_) | OperationError::Aborted)) = recorded {
                return Err(error);
            }
        }
        Err(refusal)
    }

    async fn accept(
        &self,
        attempt: &Attempt,
        session_for: SessionFor,
        account: Account,
        rehash: Option<String>,
        (entered, charge): (AtGate, Option<AddressCharge>),
    ) -> Result<Entered, OperationError> {
        let (context, state) = (&attempt.context, &attempt.state);
        let right = RightPassword {
            name: account.username_key.clone(),
            changed_at: account.password_changed_at,
        };
        let entrant = Entrant {
            user: account.id,
            username_key: account.username_key,
            identifier_index: attempt.identifier_index,
        };
        let (begin, secret) =
            SessionBegin::prepare(context, state, entrant, (session_for, Assurance::Password))?;
        let pending = PendingTokens::new(context.tenant_id())?;
        let (enrolment, sign_in) = (pending.enrolment.clone(), pending.sign_in.clone());
        let command = AcceptLogin {
            begin,
            password_changed_at: account.password_changed_at,
            rehash,
            pending,
            session_for,
            state: Arc::clone(state),
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let recorded = self.inner.operations.run_one(call).await;
        // Disabled, or given another password, while it was compared: a failure like any.
        // Of too many sessions only who knows the password is told.
        if let Err(OperationError::Refused(refusal)) = recorded {
            if refusal.code == TOO_MANY_SESSIONS {
                if let Some(charge) = charge {
                    self.give_back(context, charge).await;
                }
                entered.succeeded();
            }
            return Err(refusal.into());
        }
        if let Some(charge) = charge {
            self.give_back(context, charge).await;
        }
        let judged = match recorded {
            Ok(reply) => reply.output,
            Err(error) => {
                self.take_back_later(context, right, entered);
                return Err(error);
            }
        };
        entered.succeeded();
        Ok(match judged {
            Judged::Session(accepted) => {
                Entered::Session(Box::new(self.begun((context, state), accepted, secret)))
            }
            Judged::SecondFactor(pending) => {
                let token = if pending.methods.is_empty() { &enrolment } else { &sign_in };
                Entered::SecondFactor(SecondFactorDue::of(token, pending))
            }
        })
    }

    /// A hash as policy wants it today for one of yesterday's; the sign-in does not fail for it.
    async fn rehash(&self, state: &TenantState, password: &str) -> Option<String> {
        self.hash_under(state, password).await.ok()
    }

    async fn pretend(&self, permit: Permit, password: &str) -> Result<(), OperationError> {
        self.count_hash(false);
        permit.verify(password, None).await.map_err(password_failure)?;
        Ok(())
    }
}

/// The one answer to a sign-in that failed.
pub(crate) fn invalid_credentials() -> Refusal {
    Refusal::unauthenticated("invalid_credentials", "User name or password is wrong")
}

/// What a device looks like to us: a MAC over what the request says of it.
pub(crate) fn device_fingerprint(state: &TenantState, request: &RequestInfo) -> [u8; 32] {
    crate::devices::fingerprint(state, request)
}

/// The longest identifier that can belong to anybody: an e-mail address (RFC 5321).
const IDENTIFIER_MAX: usize = 254;

/// A typed name as it is looked up: trimmed, in lower case. What cannot be a name
/// (too long, not ASCII, control characters) becomes the empty one, which nobody has.
pub(crate) fn name_key(identifier: &str) -> String {
    let trimmed = identifier.trim();
    let possible =
        trimmed.len() <= IDENTIFIER_MAX && trimmed.bytes().all(|byte| byte.is_ascii_graphic());
    if possible { trimmed.to_ascii_lowercase() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::name_key;

    #[test]
    fn names_are_trimmed_lowered_and_nothing_else() {
        let table = [
            ("  Alice ", "alice"),
            ("A.B@Example.COM", "a.b@example.com"),
            ("al\u{0}ice", ""),
            ("ａｌｉｃｅ", ""),
            ("two words", ""),
        ];
        for (typed, key) in table {
            assert_eq!(name_key(typed), key, "{typed:?}");
        }
        assert_eq!(name_key(&"x".repeat(255)), "");
    }
}
