//! A link to set a new password, sent to somebody by whoever administers people.
//!
//! The link goes to the person's own address and to nobody else: staff learn that it was
//! sent, never the link. Failures in this order: not seen, not permitted, oneself or somebody
//! mightier, disabled, never joined, locked by staff, not reachable, sent enough of them.
//! Refuses to set a password.

use access::Permission;
use audit::EventType;
use notify::Template;
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, Target, event,
};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{
    LinkSent,
    one_time::{NewToken, Purpose},
    person::{Person, Teller, sent_enough},
};
use crate::{Identity, context::key_failure, users::target_of};

impl Identity {
    /// Sends somebody a link to set a new password, in the place of an earlier one. 403
    /// `own_account`, `privilege_escalation`; 409 `user_disabled`, `not_joined`, `user_locked`;
    /// 422 `email_missing`; 429 after three within an hour.
    pub async fn send_reset_link(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<LinkSent, OperationError> {
        let token = NewToken::generate(context, Purpose::PasswordReset, user)?;
        let command = SendResetLink { identity: self.clone(), token };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }
}

struct SendResetLink {
    identity: Identity,
    token: NewToken,
}

impl Command for SendResetLink {
    const NAME: &'static str = "password.send_reset";
    const RESOURCE: &'static str = "user";
    type Output = LinkSent;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        target_of(transaction, context, self.token.user).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<LinkSent>, Failure> {
        let user = self.token.user;
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let person =
            Person::lock(transaction, &keys, user).await?.ok_or_else(Refusal::not_found)?;
        let held = (user, person.roles.as_slice());
        self.identity.check_power_over(transaction, context, held).await?;
        check_standing(&person)?;
        person.reachable("email")?;
        let expires_at = self.token.store(transaction, context).await?.ok_or_else(sent_enough)?;
        let values = json!({ "link": self.token.link(), "expires_at": expires_at });
        let teller = Teller { transaction, context, keys: &keys };
        teller.email(&person, Template::PasswordReset, values).await?;
        let event =
            event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE).resource_id(user);
        Ok(Applied { output: LinkSent { expires_at }, status: 202, events: vec![event] })
    }
}

/// Whoever could not use a link is sent none.
fn check_standing(person: &Person) -> Result<(), Refusal> {
    let conflict = |code: &'static str, detail: &str| {
        Err(Refusal::new(RefusalKind::Conflict, code, detail.to_owned()))
    };
    if !person.is_active {
        return conflict("user_disabled", "The account is disabled");
    }
    if !person.has_password {
        return conflict("not_joined", "They never had a password; send an invitation");
    }
    if person.is_locked {
        return conflict("user_locked", "The account is locked; unlock it first");
    }
    Ok(())
}
