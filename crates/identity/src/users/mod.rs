//! People of a tenant: made, changed, read and listed.
//!
//! Owns the rule that nobody gives away more than they hold, and what becomes of somebody
//! who is locked, deleted or restored. Erasing the name as well belongs to privacy. Passwords are hashed before the operation begins, so
//! that no connection is held meanwhile.

mod authority;
pub(crate) mod commands;
mod grants;
mod lifecycle;
mod model;
mod names;
mod read;
pub(crate) mod register;
mod sessions;
#[cfg(test)]
mod tests;

use operation::{Call, OperationError, Page, PageRequest, Refusal, Reply};
use tenancy::OpContext;
use uuid::Uuid;
use vault::password::PasswordHash;

use access::Permission;

pub(crate) use commands::target_of;
pub use model::{
    Change, LockReason, NewPassword, NewUser, PendingRoles, UserFilter, UserRecord, UserSummary,
    UserUpdate,
};
pub(crate) use model::{email_key, is_email, is_phone};
pub(crate) use read::person_in;
pub use register::Registration;

use crate::{
    Identity,
    context::password_failure,
    password_policy::{PasswordRules, broken_rules},
    sessions::Forgotten,
    tenant_state::TenantState,
};
use commands::{CreateUser, ReadUser, UpdateUser};
use read::UserList;

impl Identity {
    /// Makes a user. Refused with `validation_failed` (every rule that is broken),
    /// `username_taken`, `email_taken`, `unknown_role`, `privilege_escalation`,
    /// `not_found` for an organisation.
    pub async fn create_user(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        user: NewUser,
    ) -> Result<Reply<UserRecord>, OperationError> {
        let call = self.create_call(context, idempotency_key, user).await?;
        let reply = self.inner.operations.run_one(call).await?;
        let output = self.unaudited_user(context, reply.output.id).await?;
        Ok(Reply { output, status: reply.status, replayed: reply.replayed })
    }

    /// Makes many users in one transaction, an answer each: seeds and imports.
    pub async fn create_users(
        &self,
        context: &OpContext,
        users: Vec<NewUser>,
    ) -> Result<Vec<Result<Uuid, OperationError>>, OperationError> {
        let mut calls = Vec::with_capacity(users.len());
        for user in users {
            calls.push(self.create_call(context, None, user).await?);
        }
        let answers = self.inner.operations.run(calls).await;
        Ok(answers.into_iter().map(|answer| answer.map(|reply| reply.output.id)).collect())
    }

    /// Changes a user, if they are still at `expected_version` (412
    /// `version_conflict`), none being any. Disabling ends their sessions.
    pub async fn update_user(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: impl Into<Option<i64>>,
        update: UserUpdate,
    ) -> Result<UserRecord, OperationError> {
        let command = UpdateUser {
            identity: self.clone(),
            user,
            expected_version: expected_version.into(),
            update: update.checked()?,
        };
        // Obeyed at the next request, whatever of it concerns sessions.
        self.run_and_forget(context, command, Forgotten::Standing(user)).await?;
        self.unaudited_user(context, user).await
    }

    /// One user with their personal data; recorded in the same transaction.
    pub async fn user(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<UserRecord, OperationError> {
        let call = Call {
            context: context.clone(),
            idempotency_key: None,
            command: ReadUser { identity: self.clone(), user },
        };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// The users that the actor may see, newest first, without personal data. 400
    /// `invalid_value` where the address to look for is none.
    pub async fn users(
        &self,
        context: &OpContext,
        filter: UserFilter,
        page: &PageRequest,
    ) -> Result<Page<UserSummary>, OperationError> {
        let email_indexes = match &filter.email {
            Some(email) => Some(self.email_indexes(context, email, filter.deleted).await?),
            None => None,
        };
        let list = UserList { filter, email_indexes, page: page.clone() };
        self.inner.operations.read(context, &list).await
    }

    /// The rules that new passwords of a tenant obey.
    pub async fn password_rules(&self, slug: &str) -> Result<PasswordRules, OperationError> {
        let tenant = self.inner.directory.by_slug(slug).await?.ok_or_else(Refusal::not_found)?;
        let context =
            OpContext::system(tenant, tenancy::ActorKind::Anonymous, self.inner.clock.clone());
        Ok(PasswordRules::from(&self.state(&context).await?.policy.password))
    }

    /// Hashes a password as the tenant's policy wants it.
    pub(crate) async fn hash_under(
        &self,
        state: &TenantState,
        password: &str,
    ) -> Result<String, OperationError> {
        let permit = state.reserve_hash(&self.inner.hasher)?;
        Ok(permit.hash(password).await.map_err(password_failure)?.to_string())
    }

    /// Hashes a password once for many users of one tenant (seeds): under bcrypt, until
    /// each signs in.
    pub async fn hash_password(&self, password: &str) -> Result<PasswordHash, OperationError> {
        self.inner.hasher.hash(password).await.map_err(password_failure)
    }

    async fn create_call(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        user: NewUser,
    ) -> Result<Call<CreateUser>, OperationError> {
        let state = self.state(context).await?;
        let may = !self.inner.operations.scope(context, Permission::UserCreate).is_none();
        let password_proof = user.password.proof(&state);
        // Nobody makes us hash who is going to be refused.
        let password_hash =
            if may { self.accepted_hash(context, &state, &user).await? } else { None };
        let command = CreateUser {
            identity: self.clone(),
            id: context.clock.new_id(),
            user: user.checked()?,
            password_hash,
            password_proof,
        };
        Ok(Call { context: context.clone(), idempotency_key, command })
    }

    async fn accepted_hash(
        &self,
        context: &OpContext,
        state: &TenantState,
        user: &NewUser,
    ) -> Result<Option<String>, OperationError> {
        let plain = match &user.password {
            NewPassword::None => return Ok(None),
            // Only the system itself brings hashes: seeds and imports.
            NewPassword::Hashed(hash) if context.actor.is_system() => {
                return Ok(Some(hash.to_string()));
            }
            NewPassword::Hashed(_) => return Err(Refusal::denied().into()),
            NewPassword::Plain(plain) => plain,
        };
        let names: Vec<&str> =
            [Some(user.username.as_str()), user.email.as_deref(), user.full_name.as_deref()]
                .into_iter()
                .flatten()
                .collect();
        let broken = broken_rules(&state.policy.password, plain, &names);
        if !broken.is_empty() {
            return Err(Refusal::validation(broken).into());
        }
        Ok(Some(self.hash_under(state, plain).await?))
    }
}
