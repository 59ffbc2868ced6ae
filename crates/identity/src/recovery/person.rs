//! The person behind a token, locked; and telling them.
//!
//! Refuses to know why.

use jiff::Timestamp;
use notify::{Channel, Notice, Template};
use operation::{Refusal, RefusalKind};
use serde_json::Value;
use tenancy::{DbError, OpContext, TenantTx, keyring::TenantKeys};
use uuid::Uuid;
use vault::DataKey;

use crate::context::key_failure;

const LOCK_PERSON: &str = tenancy::sql!("identity/one_time.sql", "lock_person");

const HOUR_S: u64 = 3_600;

/// A person as they are now; nobody else changes them before the transaction ends.
#[expect(clippy::struct_excessive_bools, reason = "facts of a row, each asked on its own")]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    pub(crate) is_active: bool,
    /// By staff: nothing that comes by link or code opens it, and only staff do.
    pub(crate) is_locked: bool,
    pub(crate) has_password: bool,
    /// Nobody made them but themselves.
    pub(crate) self_registered: bool,
    pub(crate) email: Option<String>,
    pub(crate) email_verified_at: Option<Timestamp>,
    pub(crate) phone: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) subject: DataKey,
}

impl Person {
    /// Locks a person; none where there is none, or they were erased.
    pub(crate) async fn lock(
        transaction: &TenantTx,
        keys: &TenantKeys,
        id: Uuid,
    ) -> Result<Option<Self>, DbError> {
        let found = transaction.query_opt(LOCK_PERSON, &[&transaction.tenant(), &id]).await?;
        let Some(row) = found else { return Ok(None) };
        let (key, wrapped): (Option<Uuid>, Option<Vec<u8>>) =
            (row.try_get("key_id")?, row.try_get("wrapped_key")?);
        let (Some(key), Some(wrapped)) = (key, wrapped) else { return Ok(None) };
        let subject = keys.open_subject_key(key, row.try_get("kek_epoch")?, Some(wrapped));
        let subject = subject.map_err(key_failure)?;
        let open = |column: &str| -> Result<Option<String>, DbError> {
            let sealed: Option<Vec<u8>> = row.try_get(column)?;
            let opened = sealed.map(|sealed| keys.open(&subject, ("users", column, id), sealed));
            opened.transpose().map_err(key_failure)
        };
        Ok(Some(Self {
            id,
            username: row.try_get("username")?,
            is_active: row.try_get("is_active")?,
            is_locked: row.try_get("locked_by_staff")?,
            has_password: row.try_get::<_, Option<String>>("password_hash")?.is_some(),
            self_registered: row.try_get("self_registered")?,
            email: open("email_sealed")?,
            email_verified_at: row.try_get("email_verified_at")?,
            phone: open("phone_sealed")?,
            roles: row.try_get("roles")?,
            subject,
        }))
    }

    /// Whether they may go on with what they began: neither disabled nor locked by staff.
    pub(crate) const fn may_act(&self) -> bool {
        self.is_active && !self.is_locked
    }

    /// Their e-mail address, or the refusal for want of one.
    pub(crate) fn reachable(&self, field: &'static str) -> Result<&str, Refusal> {
        let detail = "There is no e-mail address to send it to";
        self.email.as_deref().ok_or_else(|| Refusal::rule("email_missing", field, detail))
    }
}

/// Puts notices to people into the queue, in a transaction.
pub(crate) struct Teller<'a> {
    pub(crate) transaction: &'a TenantTx,
    pub(crate) context: &'a OpContext,
    pub(crate) keys: &'a TenantKeys,
}

impl Teller<'_> {
    /// Tells a person by e-mail, where they have an address.
    pub(crate) async fn email(
        &self,
        person: &Person,
        template: Template,
        values: Value,
    ) -> Result<(), DbError> {
        match &person.email {
            Some(email) => self.to(person, (Channel::Email, email), template, values).await,
            None => Ok(()),
        }
    }

    /// Tells a person at an address that need not be theirs yet.
    pub(crate) async fn to(
        &self,
        person: &Person,
        (channel, to): (Channel, &str),
        template: Template,
        mut values: Value,
    ) -> Result<(), DbError> {
        values["name"] = person.username.as_str().into();
        if let Some(ip) = self.context.request.ip {
            values["ip_address"] = ip.to_string().into();
        }
        let notice = Notice { channel, to, user: Some(person.id), template, values };
        notify::enqueue(self.transaction, self.context, self.keys, &notice).await?;
        Ok(())
    }
}

/// 429: a person was sent enough for this hour.
pub(crate) fn sent_enough() -> Refusal {
    let detail = format!("Try again in {HOUR_S} seconds");
    Refusal::new(RefusalKind::RateLimited, "rate_limited", detail).retry_after(HOUR_S)
}
