//! Asking for a link to set a new password.
//!
//! The answer is the same for everybody, and so is what is done before it: the question is
//! recorded under the blind index of the name, whoever that is. Whether there is somebody
//! to write to is looked up after the answer has left, so nothing of it shows in its time;
//! of such work only so much is under way, and what comes on top is told to wait before
//! anything is known. A person is sent three links an hour, however often it is asked, and
//! the last of them stays good: asking on voids nothing.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use notify::Template;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, RequestInfo, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{BlindIndex, blind_index};

use super::{
    one_time::{NewToken, Purpose},
    person::{Person, Teller},
};
use crate::{
    Identity,
    context::key_failure,
    events::{about, hexadecimal},
    login::{PLATFORM, name_key},
    users::email_key,
};

const FIND_ACCOUNT: &str = tenancy::sql!("identity/login.sql", "find_account");

/// Whose password was forgotten.
#[derive(Debug)]
pub struct ForgottenPassword {
    /// The tenant's slug; may be absent where the installation has one tenant.
    pub tenant: Option<String>,
    /// User name or e-mail.
    pub username: String,
}

impl Identity {
    /// Sends a link to set a new password, if there is somebody to send one to; the caller
    /// never learns. 503 where too much of this is under way.
    pub async fn forgot_password(
        &self,
        request: ForgottenPassword,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        let busy = |_| {
            let detail = "Try again in 1 seconds";
            Refusal::new(RefusalKind::Unavailable, "busy", detail).retry_after(1)
        };
        let place = Arc::clone(&self.inner.afterwards).try_acquire_owned().map_err(busy)?;
        let found = self.login_tenant(request.tenant.as_deref()).await?;
        // An unknown tenant: the same record, kept with the platform.
        let platform = self.inner.directory.by_slug(PLATFORM).await?;
        let is_known = found.is_some();
        let Some(tenant) = found.or(platform) else { return Ok(()) };
        let context = self.anonymous(tenant, from);
        let state = self.state(&context).await?;
        let name = name_key(&request.username);
        let identifier = blind_index(state.keys.index(), "users.email", &email_key(&name));
        let command = NotePasswordForgotten { identifier };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await?;
        let identity = self.clone();
        tokio::spawn(async move {
            let _place = place;
            if !is_known {
                return;
            }
            if let Err(error) = identity.send_reset(&context, &name).await {
                tracing::warn!(%error, "a link to set a new password was not sent");
            }
        });
        Ok(())
    }

    pub(crate) async fn send_reset(
        &self,
        context: &OpContext,
        name: &str,
    ) -> Result<(), OperationError> {
        let tenant = context.tenant_id();
        let state = self.state(context).await?;
        let indexes = state.keys.indexes("users.email", &email_key(name));
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &name, &indexes];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND_ACCOUNT, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let user: Uuid = row.try_get("id").map_err(DbError::from)?;
        let token = NewToken::generate(context, Purpose::PasswordReset, user)?;
        let command = SendReset { identity: self.clone(), token };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }
}

/// Records that somebody asked, for whatever name.
struct NotePasswordForgotten {
    identifier: BlindIndex,
}

impl Command for NotePasswordForgotten {
    const NAME: &'static str = "password.forgot";
    const RESOURCE: &'static str = "user";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Result<Applied<()>, Failure> {
        let event = about(context, EventType::ApiAccess, Self::NAME, (None, None))
            .details(json!({ "identifier": hexadecimal(&self.identifier) }));
        Ok(Applied { output: (), status: 202, events: vec![event] })
    }
}

/// Sends a link to somebody who exists, unless there is a reason not to.
struct SendReset {
    identity: Identity,
    token: NewToken,
}

impl Command for SendReset {
    const NAME: &'static str = "password.reset_link";
    const RESOURCE: &'static str = "user";
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
        let why_not = self.send(transaction, context).await?;
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(self.token.user), None))
            .details(why_not.map_or_else(
                || json!({ "sent": true }),
                |reason| json!({ "sent": false, "reason": reason }),
            ));
        Ok(Applied { output: (), status: 202, events: vec![event] })
    }
}

impl SendReset {
    /// Why nothing was sent, if nothing was. A lock after wrong passwords is no reason: the
    /// owner of the address may get in again. One by staff is theirs to take back.
    async fn send(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<&'static str>, DbError> {
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let Some(person) = Person::lock(transaction, &keys, self.token.user).await? else {
            return Ok(Some("gone"));
        };
        let reason = if !person.is_active {
            Some("disabled")
        } else if person.is_locked {
            Some("locked")
        } else if !person.has_password {
            // Whoever never had one is invited by their administrator.
            Some("no_password")
        } else if person.email.is_none() {
            Some("no_email")
        } else {
            None
        };
        if reason.is_some() {
            return Ok(reason);
        }
        let Some(expires_at) = self.token.store(transaction, context).await? else {
            return Ok(Some("sent_enough"));
        };
        let values = json!({ "link": self.token.link(), "expires_at": expires_at });
        let teller = Teller { transaction, context, keys: &keys };
        teller.email(&person, Template::PasswordReset, values).await?;
        Ok(None)
    }
}
