//! Whether a code proves a factor, and its consumption if it does.
//!
//! Runs inside the command that acts on the proof, under the lock on the account's row,
//! for an attempt that was charged. What is accepted is used up by one conditional
//! UPDATE, so of any number of parallel uses, whichever challenge they are for, one
//! succeeds. Refuses to know what the proof is for.

use std::sync::Arc;

use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use operation::{Failure, Refusal};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx, keyring::TenantKeys};
use tokio_postgres::Row;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Method, Proven, Typed,
    charge::{FactorCharge, RECORD, account_locked},
    codes::{backup_hash, sent_hash},
    invalid_code,
    notices::{Told, tell},
    totp::matching_step,
};
use crate::{context::key_failure, events::about, tenant_state::TenantState};

const CONFIGS: &str = tenancy::sql!("identity/mfa.sql", "configs");
const ACCEPT_STEP: &str = tenancy::sql!("identity/mfa.sql", "accept_step");
const NOTE_USE: &str = tenancy::sql!("identity/mfa.sql", "note_use");
const USE_BACKUP_CODE: &str = tenancy::sql!("identity/mfa.sql", "use_backup_code");
const BACKUP_CODES_LEFT: &str = tenancy::sql!("identity/mfa.sql", "backup_codes_left");
const USE_SENT_CODE: &str = tenancy::sql!("identity/mfa.sql", "use_sent_code");

/// How long a lock of second factors lasts (`record_mfa_attempt`).
const LOCKED_S: u64 = 15 * 60;

/// What somebody enrolled for one method.
pub(crate) struct Config {
    pub(crate) id: Uuid,
    pub(crate) method: Method,
    pub(crate) name: String,
    pub(crate) confirmed: bool,
    /// The app's secret, or the address that codes go to.
    pub(crate) secret: Option<Zeroizing<String>>,
    /// Of an app: how long it shows a code.
    period_s: Option<i16>,
}

/// Everything that somebody enrolled, opened.
pub(crate) async fn configs(
    transaction: &TenantTx,
    keys: &TenantKeys,
    user: Uuid,
) -> Result<Vec<Config>, DbError> {
    let rows = transaction.query(CONFIGS, &[&transaction.tenant(), &user]).await?;
    rows.iter().filter_map(|row| config(keys, row).transpose()).collect()
}

fn config(keys: &TenantKeys, row: &Row) -> Result<Option<Config>, DbError> {
    let method: String = row.try_get("method")?;
    let Some(method) = Method::of(&method) else { return Ok(None) };
    let id: Uuid = row.try_get("id")?;
    let sealed: Option<Vec<u8>> = row.try_get("secret_sealed")?;
    let secret = match (sealed, row.try_get::<_, Option<Uuid>>("key_id")?) {
        (Some(sealed), Some(key_id)) => {
            let (epoch, wrapped) = (row.try_get("kek_epoch")?, row.try_get("wrapped_key")?);
            let subject = keys.open_subject_key(key_id, epoch, wrapped).map_err(key_failure)?;
            let cell = ("mfa_configs", "secret_sealed", id);
            Some(Zeroizing::new(keys.open(&subject, cell, sealed).map_err(key_failure)?))
        }
        _ => None,
    };
    let confirmed_at: Option<jiff::Timestamp> = row.try_get("confirmed_at")?;
    let confirmed = confirmed_at.is_some();
    let (name, period_s) = (row.try_get("name")?, row.try_get("period_s")?);
    Ok(Some(Config { id, method, name, confirmed, secret, period_s }))
}

/// A code to be checked, and whose.
pub(crate) struct Claim {
    pub(crate) state: Arc<TenantState>,
    pub(crate) charge: FactorCharge,
    pub(crate) typed: Typed,
}

impl Claim {
    /// The proof, recorded and with its events; or the refusal of a wrong code, kept.
    pub(crate) async fn settle(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        action: &'static str,
    ) -> Result<(Proven, Vec<AuditEvent>), Failure> {
        let Some(proven) = self.prove(transaction, context).await? else {
            return Err(self.refuse(transaction, context, action).await?);
        };
        self.record(transaction, context, (Some(proven.method), "success")).await?;
        let mut events = Vec::new();
        if let Some(left) = proven.backup_codes_left {
            let told = Told::BackupCodeUsed { remaining: left };
            tell(transaction, context, &self.state.keys, (self.charge.user, told)).await?;
            events.push(
                self.event(context, EventType::CredentialChange, action)
                    .details(json!({ "backup_codes_left": left })),
            );
        }
        Ok((proven, events))
    }

    /// A wrong code: recorded, told where it locks, and refused.
    pub(crate) async fn refuse(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        action: &'static str,
    ) -> Result<Failure, DbError> {
        self.record(transaction, context, (None, "wrong")).await?;
        let mut events = vec![
            self.event(context, EventType::AuthFailure, action)
                .outcome(AuditOutcome::Denied)
                .details(json!({ "reason": "wrong_code" })),
        ];
        let mut refusal: Refusal = invalid_code();
        if self.charge.locks {
            let told = Told::Locked { seconds: LOCKED_S };
            tell(transaction, context, &self.state.keys, (self.charge.user, told)).await?;
            events.push(
                self.event(context, EventType::AccountLockout, action)
                    .details(json!({ "failures": self.charge.failures, "of": "second_factor" })),
            );
            refusal = account_locked(LOCKED_S);
        }
        Ok(Failure::RefusedAndKept { refusal, events })
    }

    /// Writes how the attempt ended.
    pub(crate) async fn record(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (method, outcome): (Option<Method>, &str),
    ) -> Result<(), DbError> {
        let charge = &self.charge;
        let method = method.or(self.typed.method).map_or("any", Method::as_str);
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        transaction
            .query_opt(
                RECORD,
                &[&charge.attempt, &charge.user, &charge.challenge, &method, &outcome, &ip, &agent],
            )
            .await?;
        Ok(())
    }

    fn event(&self, context: &OpContext, kind: EventType, action: &'static str) -> AuditEvent {
        about(context, kind, action, (Some(self.charge.user), None))
    }

    async fn prove(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<Proven>, DbError> {
        let code = self.typed.code.trim();
        match self.typed.method {
            None => {
                if let Some(proven) = self.prove_totp(transaction, context, code).await? {
                    return Ok(Some(proven));
                }
                self.prove_backup(transaction, code).await
            }
            Some(Method::Totp) => self.prove_totp(transaction, context, code).await,
            Some(Method::Backup) => self.prove_backup(transaction, code).await,
            Some(method @ (Method::Sms | Method::Email)) => {
                self.prove_sent(transaction, method, code).await
            }
            Some(Method::Passkey) => self.prove_passkey(transaction, context).await,
        }
    }

    async fn prove_totp(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        code: &str,
    ) -> Result<Option<Proven>, DbError> {
        let configs = configs(transaction, &self.state.keys, self.charge.user).await?;
        let config = configs.iter().find(|held| held.method == Method::Totp && held.confirmed);
        let Some(config) = config else { return Ok(None) };
        Ok(accept_totp(transaction, context, self.charge.user, (config, code))
            .await?
            .then_some(Proven { method: Method::Totp, backup_codes_left: None }))
    }

    /// What an authenticator said, which is no code: `passkeys` verifies it.
    async fn prove_passkey(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<Proven>, DbError> {
        let Some(presented) = &self.typed.passkey else { return Ok(None) };
        let whose = (self.charge.user, self.charge.challenge);
        Ok(presented
            .proves(transaction, context, whose)
            .await?
            .then_some(Proven { method: Method::Passkey, backup_codes_left: None }))
    }

    async fn prove_backup(
        &self,
        transaction: &TenantTx,
        code: &str,
    ) -> Result<Option<Proven>, DbError> {
        let (tenant, user) = (transaction.tenant(), self.charge.user);
        let Some(hash) = backup_hash(&self.state.keys, user, code) else { return Ok(None) };
        let spent =
            transaction.query_opt(USE_BACKUP_CODE, &[&tenant, &user, &hash.as_slice()]).await?;
        if spent.is_none() {
            return Ok(None);
        }
        let row = transaction.query_opt(BACKUP_CODES_LEFT, &[&tenant, &user]).await?;
        let left = row.map_or(Ok(0), |row| row.try_get::<_, i64>("remaining"))?;
        let backup_codes_left = Some(u32::try_from(left).unwrap_or(0));
        Ok(Some(Proven { method: Method::Backup, backup_codes_left }))
    }

    async fn prove_sent(
        &self,
        transaction: &TenantTx,
        method: Method,
        code: &str,
    ) -> Result<Option<Proven>, DbError> {
        let (tenant, user) = (transaction.tenant(), self.charge.user);
        let held = super::held(transaction, user).await?;
        if !held.iter().any(|held| held.method == method)
            || !self.use_sent(transaction, method, code).await?
        {
            return Ok(None);
        }
        transaction.execute(NOTE_USE, &[&tenant, &user, &method.as_str()]).await?;
        Ok(Some(Proven { method, backup_codes_left: None }))
    }

    /// Uses up the code that was sent for this challenge.
    pub(crate) async fn use_sent(
        &self,
        transaction: &TenantTx,
        method: Method,
        code: &str,
    ) -> Result<bool, DbError> {
        let Some(challenge) = self.charge.challenge else { return Ok(false) };
        let hash = sent_hash(&self.state.keys, challenge, code);
        let parameters: super::Parameters<'_, 4> =
            [&transaction.tenant(), &challenge, &method.as_str(), &hash.as_slice()];
        Ok(transaction.query_opt(USE_SENT_CODE, &parameters).await?.is_some())
    }
}

/// Accepts a code of an authenticator app: its step, once, ever.
pub(crate) async fn accept_totp(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
    (config, code): (&Config, &str),
) -> Result<bool, DbError> {
    let (Some(secret), Some(period_s)) = (&config.secret, config.period_s) else {
        return Ok(false);
    };
    let times = (context.clock.now().as_second(), i64::from(period_s));
    let Some(step) = matching_step(secret, code, times) else { return Ok(false) };
    let parameters: super::Parameters<'_, 4> = [&transaction.tenant(), &user, &config.id, &step];
    Ok(transaction.query_opt(ACCEPT_STEP, &parameters).await?.is_some())
}
