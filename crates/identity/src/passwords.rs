//! Changing one's own password.
//!
//! The present password is asked for under the same charge as a sign-in, so that a
//! stolen session is no way to guess it. Everything is hashed before the operation
//! begins. Every other session ends. Refuses to know resets by link.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
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
    context::password_failure,
    login_commands::{LoginOutcome, RefuseLogin, RefusedAccount},
    password_policy::broken_rules,
    sessions::{own_user, revoke_all},
    tenant_state::TenantState,
};

const OWN_CREDENTIALS: &str = tenancy::sql!("identity/passwords.sql", "own_credentials");
const CHANGE: &str = tenancy::sql!("identity/passwords.sql", "change");
const FORGET_OLDEST: &str = tenancy::sql!("identity/passwords.sql", "forget_oldest");
const REMEMBER: &str = tenancy::sql!("identity/users.sql", "remember_password");

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

struct Credentials {
    username_key: String,
    password_hash: Option<String>,
    password_changed_at: Option<Timestamp>,
    earlier: Vec<String>,
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
        let credentials = self.own_credentials(context, user, &state).await?;
        self.check_new_password(context, user, &state, &change).await?;
        self.check_current_password(context, user, &state, &credentials, &change.current).await?;
        for earlier in credentials.earlier.iter().chain(&credentials.password_hash) {
            let earlier = earlier.parse().map_err(password_failure)?;
            let verdict = self
                .inner
                .hasher
                .verify(&change.new, Some(&earlier))
                .await
                .map_err(password_failure)?;
            if verdict.matches {
                let detail = "This password was used before";
                return Err(Refusal::rule("password_reused", "new_password", detail).into());
            }
        }
        let command = ChangePassword {
            user,
            changed_at: credentials.password_changed_at,
            password_hash: self.hash_password(&change.new).await?.to_string(),
            history: i64::from(state.policy.password.history.max(1)),
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await?;
        self.inner.sessions.forget_user(context.tenant_id(), user);
        Ok(())
    }

    async fn own_credentials(
        &self,
        context: &OpContext,
        user: Uuid,
        state: &TenantState,
    ) -> Result<Credentials, OperationError> {
        let (tenant, history) = (context.tenant_id(), i64::from(state.policy.password.history));
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &user, &history];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(OWN_CREDENTIALS, &parameters)).await?;
        let row = rows.first().ok_or_else(Refusal::not_found)?;
        let read = || -> Result<Credentials, tokio_postgres::Error> {
            Ok(Credentials {
                username_key: row.try_get("username_key")?,
                password_hash: row.try_get("password_hash")?,
                password_changed_at: row.try_get("password_changed_at")?,
                earlier: row.try_get("earlier")?,
            })
        };
        Ok(read().map_err(DbError::from)?)
    }

    async fn check_new_password(
        &self,
        context: &OpContext,
        user: Uuid,
        state: &TenantState,
        change: &PasswordChange,
    ) -> Result<(), OperationError> {
        let record = self.unaudited_user(context, user).await?;
        let names: Vec<&str> =
            [Some(record.username.as_str()), record.email.as_deref(), record.full_name.as_deref()]
                .into_iter()
                .flatten()
                .collect();
        let mut broken = broken_rules(&state.policy.password, &change.new, &names);
        for error in &mut broken {
            error.field = "new_password".into();
        }
        if broken.is_empty() { Ok(()) } else { Err(Refusal::validation(broken).into()) }
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
        let permit = self.inner.hasher.reserve().map_err(password_failure)?;
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

struct ChangePassword {
    user: Uuid,
    changed_at: Option<Timestamp>,
    password_hash: String,
    history: i64,
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
        let (tenant, id) = (context.tenant_id(), context.clock.new_id());
        let changed = transaction
            .pipeline(&[
                Query::new(CHANGE, &[&tenant, &self.user, &self.password_hash, &self.changed_at]),
                Query::new(REMEMBER, &[&tenant, &self.user, &id, &self.password_hash]),
                Query::new(FORGET_OLDEST, &[&tenant, &self.user, &self.history]),
            ])
            .await?;
        if changed.first().is_none_or(Vec::is_empty) {
            let detail = "The password was changed meanwhile";
            return Err(Refusal::new(RefusalKind::Conflict, "changed_meanwhile", detail).into());
        }
        let kept = context.session.map(|session| session.to_string());
        let ended = revoke_all(transaction, self.user, "password_changed", kept.as_deref()).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "sessions_ended": ended }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
