//! Changing one's own password, and what every new password goes through.
//!
//! The present password is asked for under the same charge as a sign-in, so that a
//! stolen session is no way to guess it; where its owner has a second factor, that has to
//! have been used a moment ago as well. Everything is hashed before the operation begins.
//! Every other session ends. Refuses to know links (`recovery`).

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use notify::Template;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, event};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::blind_index;
use zeroize::Zeroizing;

use crate::{
    Identity,
    charge::RightPassword,
    context::{key_failure, password_failure},
    login_commands::{LoginOutcome, RefuseLogin, RefusedAccount},
    password_policy::broken_rules,
    recovery::{
        one_time::{self, Purpose},
        person::{Person, Teller},
    },
    sessions::{Forgotten, own_user, revoke_all},
    tenant_state::TenantState,
};

const CREDENTIALS: &str = tenancy::sql!("identity/passwords.sql", "credentials");
const CHANGE: &str = tenancy::sql!("identity/passwords.sql", "change");
const FORGET_OLDEST: &str = tenancy::sql!("identity/passwords.sql", "forget_oldest");
const REMEMBER: &str = tenancy::sql!("identity/users.sql", "remember_password");

/// How long a second factor speaks for a sensitive change.
const FACTOR_FRESH_FOR: SignedDuration = SignedDuration::from_mins(5);

/// A password to be changed by its owner.
pub struct PasswordChange {
    /// The present one, as typed.
    pub current: Zeroizing<String>,
    /// The next one, as typed.
    pub new: Zeroizing<String>,
}

impl std::fmt::Debug for PasswordChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordChange(redacted)")
    }
}

/// A person's password and what belongs to it, as it was before anything was hashed.
pub(crate) struct Credentials {
    username_key: String,
    password_hash: Option<String>,
    password_changed_at: Option<Timestamp>,
    earlier: Vec<String>,
    mfa_enabled: bool,
    /// When the session that asks has last used a second factor.
    mfa_at: Option<Timestamp>,
}

/// A password that may be set: it obeys every rule, and is hashed.
pub(crate) struct NewCredentials {
    password_hash: String,
    /// Of the password that it replaces.
    changed_at: Option<Timestamp>,
    history: i64,
}

impl Identity {
    /// Changes the caller's password and ends their other sessions. 422
    /// `validation_failed` with every broken rule, `password_reused`,
    /// `current_password_wrong` (also while the account is locked); 403
    /// `step_up_required` where there is a second factor that was not used lately.
    pub async fn change_password(
        &self,
        context: &OpContext,
        change: PasswordChange,
    ) -> Result<(), OperationError> {
        let (identity, context) = (self.clone(), context.clone());
        // As with a sign-in: who hangs up must not leave a charge without its record.
        let whole = async move { identity.change_whole(&context, change).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn change_whole(
        &self,
        context: &OpContext,
        change: PasswordChange,
    ) -> Result<(), OperationError> {
        let user = own_user(context)?;
        self.require_recent_factor(context, crate::mfa::RECENT).await?;
        let state = self.state(context).await?;
        let credentials = self.credentials(context, user, &state).await?;
        if credentials.mfa_enabled {
            fresh_factor(context, &credentials)?;
        }
        self.check_rules((context, &state), user, &[], &change.new).await?;
        self.check_current_password(context, user, &state, &credentials, &change.current).await?;
        let credentials = self.next_credentials(&state, credentials, &change.new).await?;
        let command = ChangePassword { identity: self.clone(), user, credentials };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }

    /// Who acts proves to be there: by the present password, or by a second factor that
    /// their session used within the last five minutes.
    pub(crate) async fn prove_presence(
        &self,
        context: &OpContext,
        user: Uuid,
        current: Option<&Zeroizing<String>>,
    ) -> Result<(), OperationError> {
        let state = self.state(context).await?;
        let credentials = self.credentials(context, user, &state).await?;
        match current {
            None => Ok(fresh_factor(context, &credentials)?),
            Some(current) => {
                let (identity, context, current) = (self.clone(), context.clone(), current.clone());
                let whole = async move {
                    let checked = identity.check_current_password(
                        &context,
                        user,
                        &state,
                        &credentials,
                        &current,
                    );
                    checked.await
                };
                tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
            }
        }
    }

    /// A person's password and its history; 404 where they are not active.
    pub(crate) async fn credentials(
        &self,
        context: &OpContext,
        user: Uuid,
        state: &TenantState,
    ) -> Result<Credentials, OperationError> {
        let (tenant, history) = (context.tenant_id(), i64::from(state.policy.password.history));
        let session = context.session.map(|session| session.0);
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &user, &history, &session];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(CREDENTIALS, &parameters)).await?;
        let row = rows.first().ok_or_else(Refusal::not_found)?;
        let read = || -> Result<Credentials, tokio_postgres::Error> {
            Ok(Credentials {
                username_key: row.try_get("username_key")?,
                password_hash: row.try_get("password_hash")?,
                password_changed_at: row.try_get("password_changed_at")?,
                earlier: row.try_get("earlier")?,
                mfa_enabled: row.try_get("mfa_enabled")?,
                mfa_at: row.try_get("mfa_at")?,
            })
        };
        Ok(read().map_err(DbError::from)?)
    }

    /// Every rule that a person's new password breaks, as errors of `new_password`; `wished`
    /// are names that become theirs along with it.
    pub(crate) async fn check_rules(
        &self,
        (context, state): (&OpContext, &TenantState),
        user: Uuid,
        wished: &[String],
        new: &str,
    ) -> Result<(), OperationError> {
        let record = self.unaudited_user(context, user).await?;
        let names: Vec<&str> =
            [Some(record.username.as_str()), record.email.as_deref(), record.full_name.as_deref()]
                .into_iter()
                .flatten()
                .chain(wished.iter().map(String::as_str))
                .collect();
        let mut broken = broken_rules(&state.policy.password, new, &names);
        for error in &mut broken {
            error.field = "new_password".into();
        }
        if broken.is_empty() { Ok(()) } else { Err(Refusal::validation(broken).into()) }
    }

    /// Hashes a password that obeys the rules, unless it was used before.
    pub(crate) async fn next_credentials(
        &self,
        state: &TenantState,
        credentials: Credentials,
        new: &str,
    ) -> Result<NewCredentials, OperationError> {
        for earlier in credentials.earlier.iter().chain(&credentials.password_hash) {
            let earlier = earlier.parse().map_err(password_failure)?;
            let permit = state.reserve_hash(&self.inner.hasher)?;
            let verdict = permit.verify(new, Some(&earlier)).await.map_err(password_failure)?;
            if verdict.matches {
                let detail = "This password was used before";
                return Err(Refusal::rule("password_reused", "new_password", detail).into());
            }
        }
        Ok(NewCredentials {
            password_hash: self.hash_under(state, new).await?,
            changed_at: credentials.password_changed_at,
            history: i64::from(state.policy.password.history.max(1)),
        })
    }

    async fn check_current_password(
        &self,
        context: &OpContext,
        user: Uuid,
        state: &Arc<TenantState>,
        credentials: &Credentials,
        current: &str,
    ) -> Result<(), OperationError> {
        let name = &credentials.username_key;
        // Before the charge, as with a sign-in: a full queue costs the account nothing.
        let permit = state.reserve_hash(&self.inner.hasher)?;
        let places = usize::try_from(state.policy.account_lock.threshold).unwrap_or(usize::MAX);
        let mut entered =
            self.inner.account_gate.enter((context.tenant_id(), name.clone()), places).await;
        let charged = self.charge_account(context, name, &mut entered).await?;
        let stored = credentials.password_hash.as_deref().filter(|_| charged.may_evaluate);
        let stored = stored.map(str::parse).transpose().map_err(password_failure)?;
        self.count_hash(stored.is_some());
        let verdict = permit.verify(current, stored.as_ref()).await.map_err(password_failure)?;
        if verdict.matches {
            let changed_at = credentials.password_changed_at;
            let right = RightPassword { name: name.clone(), changed_at };
            // At once and not with the change, which may yet be refused.
            if let Err(error) = self.take_back(context, &right).await {
                self.take_back_later(context, right, entered);
                return Err(error.into());
            }
            entered.succeeded();
            return Ok(());
        }
        let outcome = match (charged.may_evaluate, charged.locks) {
            (false, _) => LoginOutcome::Locked,
            (true, false) => LoginOutcome::Wrong,
            (true, true) => LoginOutcome::WrongAndLocks,
        };
        let command = RefuseLogin {
            account: Some(RefusedAccount { id: user, failures: charged.failures }),
            identifier_index: blind_index(state.keys.index(), "users.username", name),
            outcome,
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        match self.inner.operations.run_one(call).await {
            Ok(_) | Err(OperationError::Refused(_)) => {
                let detail = "The present password is wrong";
                Err(Refusal::rule("current_password_wrong", "current_password", detail).into())
            }
            Err(error) => Err(error),
        }
    }
}

/// 403 where no second factor was used by this session within the last five minutes.
fn fresh_factor(context: &OpContext, credentials: &Credentials) -> Result<(), Refusal> {
    let now = context.clock.now();
    let is_fresh = |used_at: Timestamp| now.duration_since(used_at) <= FACTOR_FRESH_FOR;
    if credentials.mfa_at.is_some_and(is_fresh) {
        return Ok(());
    }
    let detail = "Use your second factor first";
    Err(Refusal::new(RefusalKind::Denied, "step_up_required", detail))
}

/// Sets a password in the place of the one that was looked at before hashing, and ends the
/// links by which another, or another address, could be set. Of two at once one is refused.
pub(crate) async fn write_password(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
    new: &NewCredentials,
) -> Result<(), Failure> {
    let (tenant, id) = (context.tenant_id(), context.clock.new_id());
    let changed = transaction
        .pipeline(&[
            Query::new(CHANGE, &[&tenant, &user, &new.password_hash, &new.changed_at]),
            Query::new(REMEMBER, &[&tenant, &user, &id, &new.password_hash]),
            Query::new(FORGET_OLDEST, &[&tenant, &user, &new.history]),
        ])
        .await?;
    if changed.first().is_none_or(Vec::is_empty) {
        let detail = "The password was changed meanwhile";
        return Err(Refusal::new(RefusalKind::Conflict, "changed_meanwhile", detail).into());
    }
    // What somebody else may have asked for with the old one goes with it.
    let purposes =
        [Purpose::PasswordReset, Purpose::Invite, Purpose::EmailChange, Purpose::PhoneChange];
    Ok(one_time::void(transaction, user, &purposes).await?)
}

struct ChangePassword {
    identity: Identity,
    user: Uuid,
    credentials: NewCredentials,
}

impl Command for ChangePassword {
    const NAME: &'static str = "password.change";
    const RESOURCE: &'static str = "user";
    /// One's own password, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let person =
            Person::lock(transaction, &keys, self.user).await?.ok_or_else(Refusal::not_found)?;
        write_password(transaction, context, self.user, &self.credentials).await?;
        let kept = context.session.map(|session| session.to_string());
        let ended = revoke_all(transaction, self.user, "password_changed", kept.as_deref()).await?;
        let teller = Teller { transaction, context, keys: &keys };
        teller.email(&person, Template::PasswordChanged, json!({})).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "sessions_ended": ended }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
