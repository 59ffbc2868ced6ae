//! Setting a password by a link: a forgotten one anew, or the first one.
//!
//! Rules and history are looked at before the link is consumed, so that a weak password
//! does not cost it. Consuming it and everything that follows from it are one transaction:
//! a crash leaves either a good link and the old password, or a used link and the new one.
//! Nobody is signed in by it, so second factors are asked for as ever. A lock is lifted:
//! the password that was guessed at is no more, and how long the next lock lasts stays. A
//! lock by staff is not, and what was begun before it is not finished under it.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType, Outcome};
use notify::Template;
use operation::{Applied, Call, Command, Failure, OperationError};
use serde_json::json;
use tenancy::{DbError, OpContext, RequestInfo, TenantId, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::OpaqueToken;
use zeroize::Zeroizing;

use super::{
    one_time::{self, Consumed, LiveToken, Purpose, link_invalid},
    person::{Person, Teller},
};
use crate::{
    Identity,
    context::key_failure,
    events::about,
    passwords::{NewCredentials, write_password},
    sessions::{Forgotten, revoke_all},
    users::register,
};

const CLEAR_LOCK: &str = tenancy::sql!("identity/one_time.sql", "clear_lock");
const EMAIL_PROVEN: &str = tenancy::sql!("identity/one_time.sql", "email_proven");

/// The field of the body that a link's token stands in.
const TOKEN: &str = "token";
/// The same of a token that a code goes with.
const PHONE_TOKEN: &str = "phone_token";

/// What a link that sets a password was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A password was forgotten.
    Reset,
    /// An invitation.
    Invite,
}

impl Link {
    const fn purpose(self) -> Purpose {
        match self {
            Self::Reset => Purpose::PasswordReset,
            Self::Invite => Purpose::Invite,
        }
    }
}

/// A link that was followed and the password that is to be set.
pub struct NewPasswordByLink {
    /// Which link.
    pub link: Link,
    /// As it stood in the link.
    pub token: Zeroizing<String>,
    /// As typed.
    pub new: Zeroizing<String>,
}

impl std::fmt::Debug for NewPasswordByLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NewPasswordByLink")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Sets a password by a link and ends every session of its person. 422 `link_invalid`
    /// whatever is wrong with the link, `validation_failed` with every broken rule,
    /// `password_reused`; the last two leave the link good.
    pub async fn set_password_by_link(
        &self,
        request: NewPasswordByLink,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        let identity = self.clone();
        // A task of its own: who hangs up after the hashing has it done all the same.
        let whole = async move { identity.set_whole(request, from).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn set_whole(
        &self,
        request: NewPasswordByLink,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        let purpose = request.link.purpose();
        let (context, token, live) = self.followed(purpose, &request.token, from).await?;
        let (state, user) = (self.state(&context).await?, live.user);
        let credentials = match self.credentials(&context, user, &state).await {
            // Disabled since it was sent.
            Err(OperationError::Refused(_)) => {
                return Err(self.refuse_link(context, purpose, Some(user)).await);
            }
            read => read?,
        };
        // Names that somebody signed up under are theirs with this password.
        let wished = self.opening(&context, |keys| register::wished_names(keys, &live)).await?;
        self.check_rules((&context, &state), user, &wished, &request.new).await?;
        let credentials = self.next_credentials(&state, credentials, &request.new).await?;
        let command = SetPasswordByLink {
            identity: self.clone(),
            purpose,
            user,
            token: token.hash(),
            credentials,
        };
        self.run_and_forget(&context, command, Forgotten::User(user)).await
    }

    /// The person and tenant of a link that is good so far. What is no link of ours has
    /// nobody's log to stand in; one that is good no more is recorded.
    pub(super) async fn followed(
        &self,
        purpose: Purpose,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<(OpContext, OpaqueToken, LiveToken), OperationError> {
        let token = OpaqueToken::parse(token, purpose.kind()).map_err(|_| link_invalid(TOKEN))?;
        let tenant = self.inner.directory.by_id(TenantId(token.tenant())).await?;
        let context = self.anonymous(tenant.ok_or_else(|| link_invalid(TOKEN))?, from);
        if let Some(live) = self.live_token(&context, purpose, &token).await? {
            return Ok((context, token, live));
        }
        Err(self.refuse_link(context, purpose, None).await)
    }

    async fn refuse_link(
        &self,
        context: OpContext,
        purpose: Purpose,
        user: Option<Uuid>,
    ) -> OperationError {
        let call = Call { context, idempotency_key: None, command: RefuseLink { purpose, user } };
        // The command always refuses.
        let refused = self.inner.operations.run_one(call).await.err();
        refused.unwrap_or_else(|| link_invalid(TOKEN).into())
    }
}

/// Records that somebody followed a link that is good no more.
struct RefuseLink {
    purpose: Purpose,
    user: Option<Uuid>,
}

impl Command for RefuseLink {
    const NAME: &'static str = "link.refuse";
    const RESOURCE: &'static str = "user";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Result<Applied<()>, Failure> {
        Err(refused(context, self.purpose, self.user))
    }
}

/// The refusal of a link, kept in the log.
pub(super) fn refused(context: &OpContext, purpose: Purpose, user: Option<Uuid>) -> Failure {
    let event = about(context, EventType::AuthFailure, "link.refuse", (user, None))
        .outcome(Outcome::Denied)
        .details(json!({ "purpose": purpose.as_str() }));
    let field = if purpose == Purpose::PhoneChange { PHONE_TOKEN } else { TOKEN };
    Failure::RefusedAndKept { refusal: link_invalid(field), events: vec![event] }
}

/// Consumes the link and sets the password.
struct SetPasswordByLink {
    identity: Identity,
    purpose: Purpose,
    user: Uuid,
    token: [u8; 32],
    credentials: NewCredentials,
}

impl Command for SetPasswordByLink {
    const NAME: &'static str = "password.set_by_link";
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
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let person = Person::lock(transaction, &keys, self.user).await?;
        let is_invite = self.purpose == Purpose::Invite;
        // An invitation sets the first password and never another.
        let person = person.filter(|person| person.may_act() && person.has_password != is_invite);
        let Some(person) = person else {
            return Err(refused(context, self.purpose, Some(self.user)));
        };
        let consumed =
            one_time::consume(transaction, (self.purpose, self.user), &self.token, None).await?;
        let Consumed::Used { id, payload } = consumed else {
            return Err(refused(context, self.purpose, Some(self.user)));
        };
        let mut events = Vec::new();
        if is_invite {
            one_time::void(transaction, self.user, &[self.purpose]).await?;
            if let Some(sealed) = payload.filter(|_| person.self_registered) {
                let adopted = register::adopt(transaction, context, (&keys, &person), (id, sealed));
                events.push(adopted.await?);
            }
        }
        write_password(transaction, context, self.user, &self.credentials).await?;
        let ended = revoke_all(transaction, self.user, "password_reset", None).await?;
        self.follow(transaction).await?;
        if !is_invite {
            let teller = Teller { transaction, context, keys: &keys };
            teller.email(&person, Template::PasswordChanged, json!({})).await?;
        }
        events.push(self.event(context, ended));
        Ok(Applied { output: (), status: 204, events })
    }
}

impl SetPasswordByLink {
    /// The lock was on the old password, and the link has proven the address it was sent to.
    async fn follow(&self, transaction: &TenantTx) -> Result<(), DbError> {
        let tenant = transaction.tenant();
        let proven: [&(dyn ToSql + Sync); 2] = [&tenant, &self.user];
        transaction.query(CLEAR_LOCK, &[&self.user]).await?;
        transaction.execute(EMAIL_PROVEN, &proven).await?;
        Ok(())
    }

    fn event(&self, context: &OpContext, ended: i32) -> AuditEvent {
        about(context, EventType::CredentialChange, Self::NAME, (Some(self.user), None))
            .details(json!({ "purpose": self.purpose.as_str(), "sessions_ended": ended }))
    }
}
