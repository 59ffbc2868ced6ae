//! How a session begins, whichever way its owner came in: with a password, after a
//! second factor, by a passkey.
//!
//! Whoever lets somebody in locks the account ([`lock`]), decides, and has
//! [`SessionBegin::write`] write the session in the same transaction: charges back,
//! concurrent limit, device, tokens or the console's cookie, audit. What was begun is
//! handed over as a [`TokenGrant`] or a [`ConsoleGrant`]. Refuses to know what proved
//! who somebody is.

use std::sync::Arc;

use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use jiff::{SignedDuration, Timestamp};
use operation::{Failure, OperationError, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    keyring::TenantKeys,
    policy::{OverLimit, SessionPolicy},
};
use uuid::Uuid;
use vault::{BlindIndex, OpaqueToken, blind_index};
use zeroize::Zeroizing;

use crate::{
    ConsoleGrant, Identity, TokenGrant,
    claims::Subject,
    console::{COOKIE, sealed},
    devices::{self, Seen},
    events::about,
    login::{REFRESH, device_fingerprint},
    mfa::Method,
    tenant_state::TenantState,
    users::email_key,
};

const LOCK_ACCOUNT: &str = tenancy::sql!("identity/login.sql", "lock_account");
const SUCCEED: &str = tenancy::sql!("identity/login.sql", "succeed");
const NOTE_LOGIN: &str = tenancy::sql!("identity/login.sql", "note_login");
const RECORD_ATTEMPT: &str = tenancy::sql!("identity/login.sql", "record_attempt");
const CREATE_SESSION: &str = tenancy::sql!("identity/sessions.sql", "create");
const AT_LIMIT: &str = tenancy::sql!("identity/sessions.sql", "at_limit");
const END_OLDEST: &str = tenancy::sql!("identity/sessions.sql", "end_oldest");
const ISSUE_REFRESH: &str = tenancy::sql!("identity/refresh.sql", "issue");

/// The code of the refusal of a session beyond the limit.
pub(crate) const TOO_MANY_SESSIONS: &str = "too_many_sessions";

/// Whom a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionFor {
    /// A client, which gets tokens.
    Client,
    /// A browser, which gets a cookie and no token at all.
    Console,
}

impl SessionFor {
    /// The name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Console => "console",
        }
    }
}

/// How well its owner is known: `mfa_level` of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assurance {
    /// By a password alone; not by two factors.
    Password,
    /// By a password and a second factor.
    TwoFactors,
    /// By a passkey that verified its user: two factors that cannot be phished.
    Passkey,
}

impl Assurance {
    const fn level(self) -> i16 {
        match self {
            Self::Password => 0,
            Self::TwoFactors => 1,
            Self::Passkey => 2,
        }
    }
}

/// Who comes in.
pub(crate) struct Entrant {
    pub(crate) user: Uuid,
    pub(crate) username_key: String,
    /// The blind index of what was typed, or of the name ([`Entrant::named`]).
    pub(crate) identifier_index: BlindIndex,
}

impl Entrant {
    /// Somebody who did not type a name this time.
    pub(crate) fn named(state: &TenantState, user: Uuid, username_key: String) -> Self {
        let index = blind_index(state.keys.index(), "users.email", &email_key(&username_key));
        Self { user, username_key, identifier_index: index }
    }
}

/// The hash of what its owner will present.
#[derive(Clone, Copy)]
pub(crate) enum SessionSecret {
    /// A refresh token: the session is a client's.
    Refresh([u8; 32]),
    /// A cookie: the session is the console's and has no tokens.
    Cookie([u8; 32]),
}

/// A session about to begin.
pub(crate) struct SessionBegin {
    pub(crate) entrant: Entrant,
    assurance: Assurance,
    /// Whether it comes in the place of another: no password was shown for it.
    is_renewal: bool,
    session: Uuid,
    secret: SessionSecret,
    device: [u8; 32],
    expires_at: Timestamp,
    policy: SessionPolicy,
    keys: Arc<TenantKeys>,
}

/// A session that began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
    pub(crate) roles: Vec<String>,
    pub(crate) expires_at: Timestamp,
    /// The sessions that ended because there were too many.
    pub(crate) ended: Vec<Uuid>,
}

/// A session that began, and what its owner will present.
pub(crate) struct Begun {
    pub(crate) accepted: Accepted,
    pub(crate) secret: OpaqueToken,
    pub(crate) context: OpContext,
    pub(crate) state: Arc<TenantState>,
}

/// An account as it stands under our lock.
pub(crate) struct LockedAccount {
    pub(crate) username_key: String,
    pub(crate) is_active: bool,
    /// Whether staff have locked it; a passkey opens it all the same.
    pub(crate) locked_by_staff: bool,
    pub(crate) password_changed_at: Option<Timestamp>,
    pub(crate) roles: Vec<String>,
    /// What may be proven as a second factor; empty where there is none.
    pub(crate) methods: Vec<Method>,
}

impl LockedAccount {
    /// Whether somebody without a passkey may come in.
    pub(crate) const fn may_enter(&self) -> bool {
        self.is_active && !self.locked_by_staff
    }
}

/// Locks an account to the end of the transaction, so that two sign-ins count each
/// other's sessions and a disablement or password change in between is seen.
pub(crate) async fn lock(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
) -> Result<Option<LockedAccount>, DbError> {
    let row = transaction.query_opt(LOCK_ACCOUNT, &[&context.tenant_id(), &user]).await?;
    let Some(row) = row else { return Ok(None) };
    let methods: Vec<String> = row.try_get("methods")?;
    Ok(Some(LockedAccount {
        methods: methods.iter().filter_map(|name| Method::of(name)).collect(),
        username_key: row.try_get("username_key")?,
        is_active: row.try_get("is_active")?,
        locked_by_staff: row.try_get("locked_by_staff")?,
        password_changed_at: row.try_get("password_changed_at")?,
        roles: row.try_get("roles")?,
    }))
}

impl SessionBegin {
    /// A session about to begin, and what its owner will present once it has.
    pub(crate) fn prepare(
        context: &OpContext,
        state: &TenantState,
        entrant: Entrant,
        (session_for, assurance): (SessionFor, Assurance),
    ) -> Result<(Self, OpaqueToken), DbError> {
        let (kind, lifetime_s) = match session_for {
            SessionFor::Client => (REFRESH, state.policy.token.refresh_lifetime_s),
            SessionFor::Console => (COOKIE, state.policy.session.absolute_timeout_s),
        };
        let token = OpaqueToken::generate(kind, context.tenant_id())
            .map_err(|error| DbError::Corrupt(error.to_string()))?;
        let lifetime = SignedDuration::from_secs(lifetime_s);
        let begin = Self {
            entrant,
            assurance,
            is_renewal: false,
            session: context.clock.new_id(),
            secret: match session_for {
                SessionFor::Client => SessionSecret::Refresh(token.hash()),
                SessionFor::Console => SessionSecret::Cookie(token.hash()),
            },
            device: device_fingerprint(state, &context.request),
            expires_at: context.clock.now().checked_add(lifetime).unwrap_or(Timestamp::MAX),
            policy: state.policy.session.clone(),
            keys: Arc::clone(&state.keys),
        };
        Ok((begin, token))
    }

    /// The same with another session's end, in whose place it comes.
    pub(crate) fn ending_at(self, expires_at: Timestamp) -> Self {
        Self { expires_at, is_renewal: true, ..self }
    }

    /// Everything that the beginning writes, and `more` of the caller's own, in one
    /// round trip; under the lock of [`lock`], whose `roles` these are. The events are
    /// those of `action`.
    pub(crate) async fn write(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        roles: Vec<String>,
        (action, more): (&'static str, &[Query<'_>]),
    ) -> Result<(Accepted, Vec<AuditEvent>), Failure> {
        self.check_limit(transaction, context, action).await?;
        let (ended, seen) = self.rows(transaction, context, more).await?;
        seen.tell_owner(transaction, context, (&self.keys, self.entrant.user)).await?;
        let accepted = Accepted {
            user_id: self.entrant.user,
            session_id: self.session,
            roles,
            expires_at: self.expires_at,
            ended,
        };
        let events = self.events(context, action, (&accepted, &seen));
        Ok((accepted, events))
    }

    /// Writes the rows, in one round trip; which sessions ended for it, and its device.
    async fn rows(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        more: &[Query<'_>],
    ) -> Result<(Vec<Uuid>, Seen), DbError> {
        let (tenant, user) = (context.tenant_id(), self.entrant.user);
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        let (refresh_id, attempt_id) = (context.clock.new_id(), context.clock.new_id());
        let device = self.device.as_slice();
        let (refresh_hash, cookie_hash) = match &self.secret {
            SessionSecret::Refresh(hash) => (Some(hash.as_slice()), None),
            SessionSecret::Cookie(hash) => (None, Some(hash.as_slice())),
        };
        let index = self.entrant.identifier_index.as_slice();
        let (level, factor_at) = (self.assurance.level(), self.factor_at(context));
        // The new session makes the count full.
        let others = i64::from(self.policy.concurrent_limit.max(1)) - 1;
        let (device_id, device_name) = (context.clock.new_id(), devices::name_of(agent));
        let (trusted, session) = (factor_at.is_some(), self.session.to_string());
        let latitude = context.request.place.map(|place| place.latitude);
        let longitude = context.request.place.map(|place| place.longitude);
        let seen: Parameters<'_, 6> = [&tenant, &device_id, &user, &device, &device_name, &trusted];
        let detect: Parameters<'_, 4> = [&user, &ip, &agent, &session];
        let succeed: Parameters<'_, 3> = [&self.entrant.username_key, &ip, &agent];
        let note_login: Parameters<'_, 3> = [&tenant, &user, &ip];
        let come_in = if self.by_password() {
            Query::new(SUCCEED, &succeed)
        } else {
            Query::new(NOTE_LOGIN, &note_login)
        };
        let end: Parameters<'_, 3> = [&tenant, &user, &others];
        let create: Parameters<'_, 12> = [
            &tenant,
            &self.session,
            &user,
            &device,
            &ip,
            &agent,
            &self.expires_at,
            &cookie_hash,
            &level,
            &factor_at,
            &latitude,
            &longitude,
        ];
        let issue: Parameters<'_, 7> =
            [&tenant, &refresh_id, &user, &self.session, &refresh_hash, &device, &self.expires_at];
        let record: Parameters<'_, 7> =
            [&tenant, &attempt_id, &user, &index, &ip, &agent, &"success"];
        let mut queries = vec![
            Query::new(END_OLDEST, &end),
            Query::new(devices::SEEN, &seen),
            Query::new(CREATE_SESSION, &create),
            Query::new(devices::DETECT, &detect),
            come_in,
            Query::new(RECORD_ATTEMPT, &record),
        ];
        if refresh_hash.is_some() {
            queries.push(Query::new(ISSUE_REFRESH, &issue));
        }
        queries.extend_from_slice(more);
        let rows = transaction.pipeline(&queries).await?;
        let ended = rows.first().map_or(&[][..], Vec::as_slice);
        let ended = ended.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        let row = |at: usize| rows.get(at).and_then(|rows| rows.first());
        Ok((ended, Seen::read(row(1), row(3))?))
    }

    /// Where policy lets nobody in beyond the limit: 409 `too_many_sessions`. Whoever is
    /// told so has proven who they are, so a password's charges go back all the same.
    async fn check_limit(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        action: &'static str,
    ) -> Result<(), Failure> {
        if self.policy.over_limit == OverLimit::EndOldest {
            return Ok(());
        }
        let (tenant, user) = (context.tenant_id(), self.entrant.user);
        let limit = i64::from(self.policy.concurrent_limit.max(1));
        let row = transaction.query_opt(AT_LIMIT, &[&tenant, &user, &limit]).await?;
        let at_limit: Option<bool> =
            row.map(|row| row.try_get("at_limit")).transpose().map_err(DbError::from)?;
        if at_limit != Some(true) {
            return Ok(());
        }
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        if self.by_password() {
            let succeed: Parameters<'_, 3> = [&self.entrant.username_key, &ip, &agent];
            transaction.query_opt(SUCCEED, &succeed).await?;
        }
        let event = about(context, EventType::AuthFailure, action, (Some(user), None))
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": TOO_MANY_SESSIONS }));
        let detail = "End a session elsewhere first";
        let refusal = Refusal::new(RefusalKind::Conflict, TOO_MANY_SESSIONS, detail);
        Err(Failure::RefusedAndKept { refusal, events: vec![event] })
    }

    /// Whether a right password brought this about: only that takes its failures back.
    fn by_password(&self) -> bool {
        !self.is_renewal && self.assurance != Assurance::Passkey
    }

    fn factor_at(&self, context: &OpContext) -> Option<Timestamp> {
        (self.assurance != Assurance::Password).then(|| context.clock.now())
    }

    fn events(
        &self,
        context: &OpContext,
        action: &'static str,
        (output, seen): (&Accepted, &Seen),
    ) -> Vec<AuditEvent> {
        let who = |session| (Some(self.entrant.user), Some(session));
        let ended = output.ended.iter().map(|session| {
            about(context, EventType::SessionRevocation, action, who(*session))
                .details(json!({ "reason": "concurrent_limit" }))
        });
        let login = about(context, EventType::Login, action, who(self.session));
        std::iter::once(login.details(seen.details()))
            .chain(seen.suspicion(context, action, who(self.session)))
            .chain(ended)
            .collect()
    }
}

type Parameters<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];

impl Identity {
    /// What the transaction that began it left to do on this node.
    pub(crate) fn begun(
        &self,
        (context, state): (&OpContext, &Arc<TenantState>),
        accepted: Accepted,
        secret: OpaqueToken,
    ) -> Begun {
        for ended in &accepted.ended {
            self.inner.sessions.forget(context.tenant_id(), *ended);
        }
        Begun { accepted, secret, context: context.clone(), state: Arc::clone(state) }
    }

    /// A client's session in its owner's hands.
    pub(crate) fn tokens_of(&self, begun: &Begun) -> Result<TokenGrant, OperationError> {
        let accepted = &begun.accepted;
        let subject = Subject {
            user: accepted.user_id,
            session: accepted.session_id,
            roles: &accepted.roles,
            session_expires_at: accepted.expires_at,
        };
        let (access_token, expires_in_s) =
            self.issue_access(&begun.context.tenant, &begun.state, &subject)?;
        Ok(TokenGrant {
            access_token,
            refresh_token: Zeroizing::new(begun.secret.expose().to_owned()),
            expires_in_s,
            user_id: accepted.user_id,
            session_id: accepted.session_id,
        })
    }

    /// A console's session in its owner's hands.
    pub(crate) fn cookie_of(begun: &Begun) -> ConsoleGrant {
        ConsoleGrant {
            cookie: sealed(&begun.state, &begun.secret),
            expires_at: begun.accepted.expires_at,
            session_id: begun.accepted.session_id,
        }
    }
}
