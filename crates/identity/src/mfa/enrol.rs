//! Enrolling a factor: what is needed to set it up, and its first code.
//!
//! By somebody signed in, or with the token that a sign-in gives to whose role requires
//! a factor and who has none; that one is good for this and nothing else, and its end is
//! a session. Refuses to know passkeys, whose ceremony is another (`passkeys::enrol`).

use std::sync::Arc;

use jiff::Timestamp;
use operation::{Call, OperationError, Refusal};
use tenancy::{OpContext, Query, RequestInfo, SessionId};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Method, Typed,
    challenge::{Pending, Purpose},
    codes::{backup_hash, new_backup_codes},
    enrol_commands::{BeginEnrolment, ConfirmEnrolment, Shown},
    proof::Claim,
    qr,
    step_up::RECENT,
    totp,
};
use crate::{
    ConsoleGrant, Identity, TokenGrant,
    claims::token_revoked,
    session_begin::{Assurance, Begun, Entrant, SessionBegin, SessionFor},
    sessions::{Forgotten, own_user},
    tenant_state::TenantState,
};

const WAITING: &str = tenancy::sql!("identity/mfa.sql", "waiting");

/// A factor to be enrolled.
#[derive(Clone, Debug)]
pub struct SetupRequest {
    /// Which.
    pub method: Method,
    /// What its owner calls it.
    pub name: Option<String>,
}

/// What is needed to set a factor up.
pub struct Setup {
    /// Which.
    pub method: Method,
    /// For an authenticator app.
    pub app: Option<AppSetup>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Setup").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What an authenticator app is given; shown once.
pub struct AppSetup {
    /// The `otpauth` address.
    pub uri: Zeroizing<String>,
    /// The secret in base 32, to be typed where nothing can be scanned.
    pub manual_key: Zeroizing<String>,
    /// The address as a QR code, SVG.
    pub svg: Zeroizing<String>,
    /// The same, PNG.
    pub png: Zeroizing<Vec<u8>>,
}

/// A factor that counts from now on.
pub struct Confirmed {
    /// Which.
    pub method: Method,
    /// The backup codes that come with the first factor; shown now and never again.
    pub backup_codes: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Confirmed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Confirmed").field("method", &self.method).finish_non_exhaustive()
    }
}

/// 422: nothing of the method was begun, or several were and none is named.
pub(crate) fn nothing_to_confirm() -> Refusal {
    let detail = "Nothing of this method waits for its first code";
    Refusal::rule("nothing_to_confirm", "method", detail)
}

/// 422: the tenant does not offer the method, or the person cannot have it.
pub(crate) fn method_unavailable() -> Refusal {
    Refusal::rule("method_unavailable", "method", "This method cannot be used here")
}

/// Under whose authority something is enrolled.
#[derive(Clone, Copy)]
pub(crate) enum Authority {
    /// A session's.
    Session(Uuid),
    /// A pending sign-in's.
    Pending { challenge: Uuid, password_changed_at: Option<Timestamp> },
}

impl Pending {
    /// What it entitles to, if it is for enrolling.
    pub(crate) fn authority(&self) -> Authority {
        let password_changed_at = self.password_changed_at;
        Authority::Pending { challenge: self.id, password_changed_at }
    }
}

impl Identity {
    /// Begins to enrol a factor. 403 `step_up_required` where there is one already and
    /// it was not used lately; 409 `factor_exists`; 422 `method_unavailable`,
    /// `address_missing`, `validation_failed`.
    pub async fn setup_factor(
        &self,
        context: &OpContext,
        request: SetupRequest,
    ) -> Result<Setup, OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        self.require_recent_factor(context, RECENT).await?;
        let state = self.state(context).await?;
        self.begin_enrolment(context, &state, (user, Authority::Session(session)), request).await
    }

    /// The same with the token of a sign-in that requires it; 401 `invalid_token`.
    pub async fn setup_required_factor(
        &self,
        token: &str,
        request: SetupRequest,
        from: Arc<RequestInfo>,
    ) -> Result<Setup, OperationError> {
        self.setup_pending(token, request, (SessionFor::Client, from)).await
    }

    /// As [`Identity::setup_required_factor`], for the console.
    pub async fn setup_console_factor(
        &self,
        token: &str,
        request: SetupRequest,
        from: Arc<RequestInfo>,
    ) -> Result<Setup, OperationError> {
        self.setup_pending(token, request, (SessionFor::Console, from)).await
    }

    async fn setup_pending(
        &self,
        token: &str,
        request: SetupRequest,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<Setup, OperationError> {
        let pending = self.pending(token, (Purpose::Enrolment, session_for), from).await?;
        let whose = (pending.user, pending.authority());
        self.begin_enrolment(&pending.context, &pending.state, whose, request).await
    }

    /// Confirms what was begun, by its first code. 401 `invalid_code`, 403
    /// `account_locked`, 422 `nothing_to_confirm`, 429.
    pub async fn confirm_factor(
        &self,
        context: &OpContext,
        method: Option<Method>,
        code: Zeroizing<String>,
    ) -> Result<Confirmed, OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        self.require_recent_factor(context, RECENT).await?;
        let state = self.state(context).await?;
        self.require_waiting(context, user, method).await?;
        let challenge =
            self.challenge_of_session(context, (user, session), Purpose::Confirm).await?;
        let charge = self.charge_factor(context, &state, (user, challenge), method).await?;
        let claim = Claim { state: Arc::clone(&state), charge, typed: Typed::code(method, code) };
        let (codes, hashes) = fresh_codes(&state, user);
        let authority = Authority::Session(session);
        let command = ConfirmEnrolment { claim, authority, backup_hashes: hashes, begin: None };
        let done = self.run_and_forget(context, command, Forgotten::User(user)).await?;
        Ok(Confirmed { method: done.method, backup_codes: codes_if(done.first, codes) })
    }

    /// The same with the token of a sign-in that requires it, which ends with a session.
    pub async fn confirm_required_factor(
        &self,
        token: &str,
        (method, code): (Option<Method>, Zeroizing<String>),
        from: Arc<RequestInfo>,
    ) -> Result<(Confirmed, TokenGrant), OperationError> {
        let typed = Typed::code(method, code);
        let (confirmed, begun) =
            self.confirm_pending(token, typed, (SessionFor::Client, from)).await?;
        Ok((confirmed, self.tokens_of(&begun)?))
    }

    /// As [`Identity::confirm_required_factor`], for the console.
    pub async fn confirm_console_factor(
        &self,
        token: &str,
        (method, code): (Option<Method>, Zeroizing<String>),
        from: Arc<RequestInfo>,
    ) -> Result<(Confirmed, ConsoleGrant), OperationError> {
        let typed = Typed::code(method, code);
        let (confirmed, begun) =
            self.confirm_pending(token, typed, (SessionFor::Console, from)).await?;
        Ok((confirmed, Self::cookie_of(&begun)))
    }

    async fn confirm_pending(
        &self,
        token: &str,
        typed: Typed,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<(Confirmed, Begun), OperationError> {
        let pending = self.pending(token, (Purpose::Enrolment, session_for), from).await?;
        let (identity, how) = (self.clone(), (session_for, Assurance::TwoFactors));
        // As with a sign-in: who hangs up must not leave a charge without its record.
        let whole = async move { identity.confirm_whole(&pending, typed, how).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn confirm_whole(
        &self,
        pending: &Pending,
        typed: Typed,
        how: (SessionFor, Assurance),
    ) -> Result<(Confirmed, Begun), OperationError> {
        let Pending { id, user, context, state, .. } = pending;
        self.require_waiting(context, *user, typed.method).await?;
        let whose = (*user, Some(*id));
        let charge = self.charge_factor(context, state, whose, typed.method).await?;
        let claim = Claim { state: Arc::clone(state), charge, typed };
        let entrant = Entrant::named(state, *user, pending.username_key.clone());
        let (begin, secret) = SessionBegin::prepare(context, state, entrant, how)?;
        let (codes, hashes) = fresh_codes(state, *user);
        let authority = pending.authority();
        let command =
            ConfirmEnrolment { claim, authority, backup_hashes: hashes, begin: Some(begin) };
        let done = self.run_and_forget(context, command, Forgotten::User(*user)).await?;
        let accepted = done.accepted.ok_or_else(super::no_pending_state)?;
        let confirmed =
            Confirmed { method: done.method, backup_codes: codes_if(done.first, codes) };
        Ok((confirmed, self.begun((context, state), accepted, secret)))
    }

    /// Refuses, before anything is charged, where nothing waits for a first code.
    async fn require_waiting(
        &self,
        context: &OpContext,
        user: Uuid,
        method: Option<Method>,
    ) -> Result<(), OperationError> {
        let parameters: super::Parameters<'_, 2> = [&context.tenant_id(), &user];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(WAITING, &parameters)).await?;
        let names = rows.iter().map(|row| row.try_get::<_, String>("method"));
        let names = names.collect::<Result<Vec<_>, _>>().map_err(tenancy::DbError::from)?;
        if names.iter().any(|name| method.is_none_or(|method| method.as_str() == name)) {
            return Ok(());
        }
        Err(self.refuse_factor(context, user, nothing_to_confirm()).await)
    }

    async fn begin_enrolment(
        &self,
        context: &OpContext,
        state: &Arc<TenantState>,
        (user, authority): (Uuid, Authority),
        request: SetupRequest,
    ) -> Result<Setup, OperationError> {
        let method = request.method;
        let secret = (method == Method::Totp).then(totp::new_secret);
        let name = checked_name(request.name.as_deref().unwrap_or(method.title()))?;
        let state = Arc::clone(state);
        let command = BeginEnrolment {
            state: Arc::clone(&state),
            user,
            authority,
            method,
            name,
            secret: secret.clone(),
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let shown = self.inner.operations.run_one(call).await?.output;
        let app = secret.map(|secret| app_setup(&state, &shown, secret)).transpose()?;
        Ok(Setup { method, app })
    }
}

fn app_setup(
    state: &TenantState,
    shown: &Shown,
    secret: Zeroizing<String>,
) -> Result<AppSetup, OperationError> {
    let uri = totp::uri(&shown.issuer, &shown.account, &secret, state.policy.mfa.totp_interval_s);
    let drawn = qr::draw(&uri).map_err(|error| tenancy::DbError::Corrupt(error.to_string()))?;
    let (svg, png) = (Zeroizing::new(drawn.svg), Zeroizing::new(drawn.png));
    Ok(AppSetup { uri, manual_key: secret, svg, png })
}

/// A set of backup codes, and what is stored of it.
pub(crate) fn fresh_codes(
    state: &TenantState,
    user: Uuid,
) -> (Vec<Zeroizing<String>>, Vec<[u8; 32]>) {
    let codes = new_backup_codes();
    let hashes = codes.iter().filter_map(|code| backup_hash(&state.keys, user, code)).collect();
    (codes, hashes)
}

fn codes_if(first: bool, codes: Vec<Zeroizing<String>>) -> Vec<Zeroizing<String>> {
    if first { codes } else { Vec::new() }
}

/// A factor's name: 1 to 64 characters on one line. Its owner is told it when it goes, so
/// it must be fit for a message.
pub(crate) fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    let long = name.chars().count();
    if (1..=64).contains(&long) && !notify::has_control(name) {
        return Ok(name.to_owned());
    }
    let error = operation::FieldError {
        field: "name".into(),
        code: "invalid_value".into(),
        message: "Expected 1 to 64 characters".to_owned(),
    };
    Err(Refusal::validation(vec![error]))
}
