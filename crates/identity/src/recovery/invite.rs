//! Inviting somebody whom an administrator made without a password.
//!
//! Failures in this order: not seen, not permitted, holding more than the inviter, disabled,
//! locked by staff, in already, not reachable, invited too often. Refuses to make users.

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
use notify::Template;
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, Target, event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{
    one_time::{NewToken, Purpose},
    person::{Person, Teller, sent_enough},
};
use crate::{Identity, context::key_failure, users::commands::facts};

const USER: &str = "user_id";

/// An invitation that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: Uuid,
    /// Who is invited.
    pub user_id: Uuid,
    /// From when on its link is good for nothing.
    pub expires_at: Timestamp,
    /// When it was sent.
    pub created_at: Timestamp,
}

impl Identity {
    /// Sends somebody the link by which they set their first password, in the place of an
    /// earlier one. 422 `not_found` about `user_id`, `email_missing`; 409 `already_joined`,
    /// `user_disabled`, `user_locked`; 403 `privilege_escalation`; 429 after five within an hour.
    pub async fn invite_user(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<Invitation, OperationError> {
        let token = NewToken::generate(context, Purpose::Invite, user)?;
        let command = InviteUser { identity: self.clone(), token };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }
}

struct InviteUser {
    identity: Identity,
    token: NewToken,
}

impl Command for InviteUser {
    const NAME: &'static str = "user.invite";
    const RESOURCE: &'static str = "user";
    type Output = Invitation;

    fn permission(&self) -> Permission {
        Permission::UserCreate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let found = facts(transaction, context, self.token.user).await?;
        Ok(match found.map(|facts| facts.target) {
            Some(Target::Object { resource, read_permission, .. }) => {
                Target::Object { resource, read_permission, field: Some(USER) }
            }
            _ => Target::Missing { field: Some(USER) },
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Invitation>, Failure> {
        let user = self.token.user;
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let person = Person::lock(transaction, &keys, user)
            .await?
            .ok_or_else(|| Refusal::invisible(USER))?;
        self.identity.check_grants(transaction, context, &person.roles).await?;
        if !person.is_active {
            return Err(conflict("user_disabled", "The account is disabled").into());
        }
        if person.is_locked {
            return Err(conflict("user_locked", "The account is locked; unlock it first").into());
        }
        if person.has_password {
            return Err(conflict("already_joined", "They have a password already").into());
        }
        person.reachable(USER)?;
        let expires_at = self.token.store(transaction, context).await?.ok_or_else(sent_enough)?;
        let values = json!({ "link": self.token.link(), "expires_at": expires_at });
        let teller = Teller { transaction, context, keys: &keys };
        teller.email(&person, Template::Invite, values).await?;
        let (id, created_at) = (self.token.id, context.clock.now());
        let event = event(context, EventType::UserCreation, Self::NAME, Self::RESOURCE)
            .resource_id(user)
            .details(json!({ "invitation": id }));
        let output = Invitation { id, user_id: user, expires_at, created_at };
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

fn conflict(code: &'static str, detail: &str) -> Refusal {
    Refusal { kind: RefusalKind::Conflict, ..Refusal::rule(code, USER, detail) }
}
