//! What owners are told of their factors, and the codes that are sent to them.
//!
//! In the transaction of what it is about, so that it is told once that is so. Refuses
//! to know how messages read and travel (`notify`'s).

use notify::{Channel, Notice, Template};
use operation::{Failure, Refusal, RefusalKind};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx, keyring::TenantKeys};
use uuid::Uuid;

use super::{
    Method, Parameters,
    challenge::LIFETIME,
    codes::{new_sent_code, sent_hash},
};
use crate::users::person_in;

const SENT_LATELY: &str = tenancy::sql!("identity/mfa.sql", "sent_lately");
const STORE_CODE: &str = tenancy::sql!("identity/mfa.sql", "store_code");

/// Codes sent to one person within a quarter of an hour.
const SENT_MAX: i64 = 5;

/// What happened.
#[derive(Clone, Copy)]
pub(crate) enum Told<'a> {
    Added { factor: &'a str },
    Removed { factor: &'a str },
    BackupCodeUsed { remaining: u32 },
    Locked { seconds: u64 },
}

impl Told<'_> {
    fn template(self) -> Template {
        match self {
            Self::Added { .. } => Template::FactorAdded,
            Self::Removed { .. } => Template::FactorRemoved,
            Self::BackupCodeUsed { .. } => Template::BackupCodeUsed,
            Self::Locked { .. } => Template::AccountLocked,
        }
    }

    fn values(self, context: &OpContext) -> Value {
        let mut values = match self {
            Self::Added { factor } | Self::Removed { factor } => json!({ "factor": factor }),
            Self::BackupCodeUsed { remaining } => json!({ "remaining": remaining }),
            Self::Locked { seconds } => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                let until =
                    context.clock.now().checked_add(jiff::SignedDuration::from_secs(seconds));
                json!({ "until": until.ok() })
            }
        };
        values["occurred_at"] = json!(context.clock.now());
        if let Some(address) = context.request.ip {
            values["ip_address"] = json!(address.to_string());
        }
        values
    }
}

/// Tells somebody, by e-mail or, where they have none, by text message. Who has left
/// neither is told nothing.
pub(crate) async fn tell(
    transaction: &TenantTx,
    context: &OpContext,
    keys: &TenantKeys,
    (user, told): (Uuid, Told<'_>),
) -> Result<(), DbError> {
    let Some(person) = person_in(transaction, keys, user).await? else { return Ok(()) };
    let address = (person.email.as_deref().map(|to| (Channel::Email, to)))
        .or_else(|| person.phone.as_deref().map(|to| (Channel::Sms, to)));
    let Some((channel, to)) = address else { return Ok(()) };
    let (template, values) = (told.template(), told.values(context));
    let notice = Notice { channel, to, user: Some(user), template, values };
    notify::enqueue(transaction, context, keys, &notice).await?;
    Ok(())
}

/// Sends a code for a challenge, in the place of an earlier one, and says what it is for
/// where that is more than a sign-in. 429 where somebody had too many of late.
pub(crate) async fn send_code(
    transaction: &TenantTx,
    context: &OpContext,
    keys: &TenantKeys,
    (user, challenge): (Uuid, Uuid),
    (method, to, purpose): (Method, &str, Option<&str>),
) -> Result<(), Failure> {
    let tenant = transaction.tenant();
    let row = transaction.query_opt(SENT_LATELY, &[&tenant, &user]).await?;
    let sent = row.map_or(Ok(0), |row| row.try_get::<_, i64>("sent")).map_err(DbError::from)?;
    if sent >= SENT_MAX {
        let detail = "Too many codes were sent. Try again in 15 minutes";
        return Err(Refusal::new(RefusalKind::RateLimited, "rate_limited", detail)
            .retry_after(15 * 60)
            .into());
    }
    let code = new_sent_code();
    let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(jiff::Timestamp::MAX);
    let hash = sent_hash(keys, challenge, &code);
    let store: Parameters<'_, 5> =
        [&tenant, &challenge, &method.as_str(), &hash.as_slice(), &expires_at];
    if transaction.query_opt(STORE_CODE, &store).await?.is_none() {
        return Err(super::no_pending_state().into());
    }
    let channel = if method == Method::Sms { Channel::Sms } else { Channel::Email };
    let mut values = json!({ "code": code.as_str(), "expires_at": expires_at });
    if let Some(purpose) = purpose {
        values["purpose"] = json!(purpose);
    }
    let template = Template::SignInCode;
    let notice = Notice { channel, to, user: Some(user), template, values };
    notify::enqueue(transaction, context, keys, &notice).await?;
    Ok(())
}
