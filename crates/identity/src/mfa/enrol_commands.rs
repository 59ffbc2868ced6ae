//! The two commands of an enrolment. Refuses to know how their results are shown.
//!
//! Refusals in this order: a pending state that is over, a method that is not offered,
//! a factor that exists, an address that is missing, a wrong code.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType};
use operation::{Applied, Command, Failure, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx, keyring::load_subject_keys};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Method, Parameters,
    challenge::{Purpose, consume},
    enrol::{Authority, method_unavailable, nothing_to_confirm},
    no_pending_state,
    notices::{Told, send_code, tell},
    proof::{Claim, Config, accept_totp, configs},
    step_up::begin_in_session,
};
use crate::{
    context::key_failure,
    events::about,
    login::device_fingerprint,
    passkeys::require_fresh,
    session_begin::{self, Accepted, LockedAccount, SessionBegin},
    sessions::revoke_all,
    tenant_state::TenantState,
    users::person_in,
};

const TENANT_NAME: &str = tenancy::sql!("identity/mfa.sql", "tenant_name");
const ENROL: &str = tenancy::sql!("identity/mfa.sql", "enrol");
const CONFIRM: &str = tenancy::sql!("identity/mfa.sql", "confirm");
const ENABLE: &str = tenancy::sql!("identity/mfa.sql", "enable");
const FORGET_BACKUP_CODES: &str = tenancy::sql!("identity/mfa.sql", "forget_backup_codes");
const STORE_BACKUP_CODES: &str = tenancy::sql!("identity/mfa.sql", "store_backup_codes");

/// The account, if what authorises the enrolment still stands.
async fn standing(
    transaction: &TenantTx,
    context: &OpContext,
    (user, authority): (Uuid, Authority),
    held: &[Config],
) -> Result<LockedAccount, Failure> {
    let account = session_begin::lock(transaction, context, user).await?;
    let account = account.filter(LockedAccount::may_enter).ok_or_else(no_pending_state)?;
    match authority {
        // A factor outlives the session, and pays: no passer-by at an open screen sets one up.
        Authority::Session(session) => {
            require_fresh(transaction, context, (user, session), false).await?;
        }
        Authority::Pending { password_changed_at, .. } => {
            // Somebody who has a factor by now proves that one instead.
            let enrolled = held.iter().any(|config| config.confirmed);
            if enrolled || account.password_changed_at != password_changed_at {
                return Err(no_pending_state().into());
            }
        }
    }
    Ok(account)
}

/// Stores what is to be confirmed, and sends its first code where one is sent.
pub(super) struct BeginEnrolment {
    pub(super) state: Arc<TenantState>,
    pub(super) user: Uuid,
    pub(super) authority: Authority,
    pub(super) method: Method,
    pub(super) name: String,
    /// Of an authenticator app.
    pub(super) secret: Option<Zeroizing<String>>,
}

impl Command for BeginEnrolment {
    const NAME: &'static str = "mfa.setup";
    const RESOURCE: &'static str = "user";
    /// One's own factor, whatever the role; [`Authority`] made sure of it.
    const ANONYMOUS: bool = true;
    type Output = Shown;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Shown>, Failure> {
        // Before what it guards is read: two set-ups come one after the other.
        session_begin::lock(transaction, context, self.user).await?;
        let held = configs(transaction, &self.state.keys, self.user).await?;
        let account = standing(transaction, context, (self.user, self.authority), &held).await?;
        let offered = self.state.policy.mfa.methods.iter().any(|name| name == self.method.as_str());
        if !offered || !matches!(self.method, Method::Totp | Method::Sms | Method::Email) {
            return Err(method_unavailable().into());
        }
        let earlier = held.iter().find(|config| config.method == self.method);
        if earlier.is_some_and(|config| config.confirmed) {
            let detail = "This factor is enrolled already; remove it first";
            return Err(Refusal::new(RefusalKind::Conflict, "factor_exists", detail).into());
        }
        let id = earlier.map_or_else(|| context.clock.new_id(), |config| config.id);
        let secret = self.secret_or_address(transaction).await?;
        self.store(transaction, context, (id, &secret)).await?;
        if self.method.is_sent() {
            let challenge = self.challenge(transaction, context).await?;
            let whose = (self.user, challenge);
            let to = (self.method, secret.as_str(), None);
            send_code(transaction, context, &self.state.keys, whose, to).await?;
        }
        let event =
            about(context, EventType::CredentialChange, Self::NAME, (Some(self.user), None))
                .details(json!({ "method": self.method, "state": "unconfirmed" }));
        let output = self.shown(transaction, account.username_key).await?;
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

/// What an authenticator app shows beside its codes.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) issuer: String,
    pub(super) account: String,
}

impl BeginEnrolment {
    async fn shown(&self, transaction: &TenantTx, account: String) -> Result<Shown, DbError> {
        if let Some(issuer) = self.state.policy.mfa.totp_issuer.clone() {
            return Ok(Shown { issuer, account });
        }
        let row = transaction.query_opt(TENANT_NAME, &[&transaction.tenant()]).await?;
        let row = row.ok_or_else(|| DbError::Corrupt("a tenant that is not there".to_owned()))?;
        Ok(Shown { issuer: row.try_get("name")?, account })
    }

    async fn secret_or_address(
        &self,
        transaction: &TenantTx,
    ) -> Result<Zeroizing<String>, Failure> {
        if let Some(secret) = &self.secret {
            return Ok(secret.clone());
        }
        let person = person_in(transaction, &self.state.keys, self.user).await?;
        let address = person.and_then(|person| match self.method {
            Method::Sms => person.phone,
            _ => person.email,
        });
        address.map(Zeroizing::new).ok_or_else(|| {
            let detail = "There is no address on record to send codes to";
            Refusal::rule("address_missing", "method", detail).into()
        })
    }

    async fn store(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (id, secret): (Uuid, &str),
    ) -> Result<(), Failure> {
        let keys = &self.state.keys;
        let subjects =
            load_subject_keys(transaction, keys, &[self.user]).await.map_err(key_failure)?;
        let subject = subjects.get(&self.user).ok_or_else(no_pending_state)?;
        let cell = ("mfa_configs", "secret_sealed", id);
        let sealed = keys.seal(subject, cell, secret).map_err(key_failure)?;
        let device = device_fingerprint(&self.state, &context.request);
        let (tenant, method) = (context.tenant_id(), self.method.as_str());
        let period = i16::try_from(self.state.policy.mfa.totp_interval_s)
            .map_err(|_| DbError::Corrupt("a period beyond what a policy may hold".to_owned()))?;
        let period_s = (self.method == Method::Totp).then_some(period);
        let device = device.as_slice();
        let parameters: Parameters<'_, 8> =
            [&tenant, &id, &self.user, &method, &self.name, &sealed, &device, &period_s];
        transaction.query_opt(ENROL, &parameters).await?;
        Ok(())
    }

    async fn challenge(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Uuid, DbError> {
        match self.authority {
            Authority::Pending { challenge, .. } => Ok(challenge),
            Authority::Session(session) => {
                let whose = (self.state.as_ref(), self.user, session);
                begin_in_session(transaction, context, whose, Purpose::Confirm).await
            }
        }
    }
}

/// Has a factor count from its first code on.
pub(super) struct ConfirmEnrolment {
    pub(super) claim: Claim,
    pub(super) authority: Authority,
    /// Stored with the first factor.
    pub(super) backup_hashes: Vec<[u8; 32]>,
    /// What a pending sign-in becomes.
    pub(super) begin: Option<SessionBegin>,
}

/// A factor that counts.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Enrolled {
    pub(super) method: Method,
    /// Whether it is the first, which brings the backup codes.
    pub(super) first: bool,
    pub(super) accepted: Option<Accepted>,
}

impl Command for ConfirmEnrolment {
    const NAME: &'static str = "mfa.confirm";
    const RESOURCE: &'static str = "user";
    /// One's own factor, whatever the role; [`Authority`] made sure of it.
    const ANONYMOUS: bool = true;
    type Output = Enrolled;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Enrolled>, Failure> {
        let user = self.claim.charge.user;
        session_begin::lock(transaction, context, user).await?;
        let held = configs(transaction, &self.claim.state.keys, user).await?;
        let account = standing(transaction, context, (user, self.authority), &held).await?;
        let config = self.begun(&held)?;
        if !self.is_right(transaction, context, config).await? {
            return Err(self.claim.refuse(transaction, context, Self::NAME).await?);
        }
        let first = !held.iter().any(|config| config.confirmed);
        self.enable(transaction, context, (config, first)).await?;
        if first {
            end_other_sessions(transaction, context, user).await?;
        }
        let mut events = vec![self.event(context, config)];
        let accepted = match &self.begin {
            Some(begin) => {
                let named = (Self::NAME, &[][..]);
                let (accepted, of_session) =
                    begin.write(transaction, context, account.roles, named).await?;
                events.extend(of_session);
                Some(accepted)
            }
            None => None,
        };
        let output = Enrolled { method: config.method, first, accepted };
        Ok(Applied { output, status: 200, events })
    }
}

impl ConfirmEnrolment {
    /// What is to be confirmed: of the method named, or the only one that waits.
    fn begun<'a>(&self, held: &'a [Config]) -> Result<&'a Config, Refusal> {
        let mut waiting = held.iter().filter(|config| {
            let named = self.claim.typed.method.is_none_or(|method| method == config.method);
            named && !config.confirmed && config.secret.is_some()
        });
        waiting.next().filter(|_| waiting.next().is_none()).ok_or_else(nothing_to_confirm)
    }

    async fn is_right(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        config: &Config,
    ) -> Result<bool, DbError> {
        let (claim, code) = (&self.claim, self.claim.typed.code.trim());
        if config.method.is_sent() {
            return claim.use_sent(transaction, config.method, code).await;
        }
        accept_totp(transaction, context, claim.charge.user, (config, code)).await
    }

    async fn enable(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (config, first): (&Config, bool),
    ) -> Result<(), Failure> {
        let (tenant, user) = (context.tenant_id(), self.claim.charge.user);
        transaction
            .pipeline(&[
                Query::new(CONFIRM, &[&tenant, &user, &config.id]),
                Query::new(ENABLE, &[&tenant, &user]),
            ])
            .await?;
        if first && self.claim.state.policy.mfa.methods.iter().any(|name| name == "backup") {
            store_backup_codes(transaction, context, (user, &self.backup_hashes)).await?;
        }
        self.claim.record(transaction, context, (Some(config.method), "success")).await?;
        let told = Told::Added { factor: &config.name };
        tell(transaction, context, &self.claim.state.keys, (user, told)).await?;
        if let Some(challenge) = self.claim.charge.challenge {
            consume(transaction, challenge).await??;
        }
        Ok(())
    }

    fn event(&self, context: &OpContext, config: &Config) -> AuditEvent {
        let who = (Some(self.claim.charge.user), None);
        about(context, EventType::CredentialChange, Self::NAME, who)
            .details(json!({ "method": config.method, "state": "confirmed" }))
    }
}

/// Ends what somebody began before they had a factor, but for the session that gets it: until
/// then a password alone was enough for all of them, whoever knew it.
pub(crate) async fn end_other_sessions(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
) -> Result<(), DbError> {
    let kept = context.session.map(|session| session.0.to_string());
    revoke_all(transaction, user, "first_factor", kept.as_deref()).await.map(drop)
}

/// Puts a set of backup codes in the place of the one before.
pub(crate) async fn store_backup_codes(
    transaction: &TenantTx,
    context: &OpContext,
    (user, hashes): (Uuid, &[[u8; 32]]),
) -> Result<(), DbError> {
    let tenant = context.tenant_id();
    let ids: Vec<Uuid> = hashes.iter().map(|_| context.clock.new_id()).collect();
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
    transaction
        .pipeline(&[
            Query::new(FORGET_BACKUP_CODES, &[&tenant, &user]),
            Query::new(STORE_BACKUP_CODES, &[&tenant, &user, &ids, &hashes]),
        ])
        .await?;
    Ok(())
}
