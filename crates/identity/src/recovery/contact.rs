//! Proving and changing one's own e-mail address and phone number.
//!
//! A change is asked for with the present password, or with a second factor used a moment
//! ago, and takes place once a link or code has come back from the new address; the old
//! one is told. Whether another person has the new address is told to nobody but its owner.
//! Refuses to change other people's: that is administration.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
use notify::{Channel, Template};
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, access_log::Access,
    event,
};
use serde_json::json;
use tenancy::{OpContext, RequestInfo, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{OpaqueToken, blind_index};
use zeroize::Zeroizing;

use super::{
    LinkSent,
    link::refused,
    one_time::{
        self, Consumed, LiveToken, NewToken, PAYLOAD, Payload, Purpose, code_hash, link_invalid,
    },
    person::{Person, Teller, sent_enough},
};
use crate::{
    Identity, UserRecord,
    context::key_failure,
    events::about,
    sessions::own_user,
    users::{
        commands::{Sealer, taken},
        email_key, is_email, is_phone,
    },
};

const SET_EMAIL: &str = tenancy::sql!("identity/one_time.sql", "set_email");
const SET_PHONE: &str = tenancy::sql!("identity/one_time.sql", "set_phone");
const EMAIL_PROVEN: &str = tenancy::sql!("identity/one_time.sql", "email_proven");

const CODE: &str = "code";
const PHONE_TOKEN: &str = "phone_token";

/// An address to be changed to.
pub struct NewAddress {
    /// E-mail address or E.164 number.
    pub address: String,
    /// The present password; may be left out where a second factor was used just now.
    pub current_password: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for NewAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewAddress(redacted)")
    }
}

/// What the code that was sent to a phone is to be brought back with.
pub struct PhoneChallenge {
    /// Opaque; good for nothing without the code.
    pub phone_token: Zeroizing<String>,
    /// From when on both are good for nothing.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for PhoneChallenge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PhoneChallenge")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The caller's own record, their addresses with it, whatever their role.
    pub async fn own_record(&self, context: &OpContext) -> Result<UserRecord, OperationError> {
        let user = own_user(context)?;
        let record = self.unaudited_user(context, user).await?;
        let access = Access {
            action: "contact.read",
            resource: "user",
            object: Some(user),
            allowed: true,
            count: 1,
        };
        let operations = &self.inner.operations;
        operations.access_log().record(operations.database(), context, access).await;
        Ok(record)
    }

    /// Sends a link to the caller's own address, to prove that it is theirs. 422
    /// `email_missing`, 409 `already_verified`, 429 after five within an hour.
    pub async fn send_email_verification(
        &self,
        context: &OpContext,
    ) -> Result<LinkSent, OperationError> {
        let token = NewToken::generate(context, Purpose::EmailVerification, own_user(context)?)?;
        self.send(context, token, None).await
    }

    /// Sends a link to the address that the caller's is to become.
    pub async fn ask_email_change(
        &self,
        context: &OpContext,
        new: NewAddress,
    ) -> Result<LinkSent, OperationError> {
        let user = own_user(context)?;
        let address = new.address.trim().to_owned();
        if !is_email(&address) {
            return Err(Refusal::rule("email_malformed", "email", "Not an e-mail address").into());
        }
        // A password alone is not enough where there is more, nor in a session that looked odd.
        self.require_recent_factor(context, crate::mfa::RECENT).await?;
        self.prove_presence(context, user, new.current_password.as_ref()).await?;
        let token = NewToken::generate(context, Purpose::EmailChange, user)?;
        self.send(context, token, Some((Channel::Email, address, String::new()))).await
    }

    /// Sends a code to the phone whose number the caller's is to become.
    pub async fn ask_phone_change(
        &self,
        context: &OpContext,
        new: NewAddress,
    ) -> Result<PhoneChallenge, OperationError> {
        let user = own_user(context)?;
        let address = new.address.trim().to_owned();
        if !is_phone(&address) {
            let detail = "Not an E.164 number: + and 7 to 15 digits";
            return Err(Refusal::rule("phone_malformed", "phone", detail).into());
        }
        // A password alone is not enough where there is more, nor in a session that looked odd.
        self.require_recent_factor(context, crate::mfa::RECENT).await?;
        self.prove_presence(context, user, new.current_password.as_ref()).await?;
        let mut token = NewToken::generate(context, Purpose::PhoneChange, user)?;
        let code = six_digits();
        token.code_hash = Some(code_hash(&token.token, &code));
        let phone_token = Zeroizing::new(token.token.expose().to_owned());
        let sent = self.send(context, token, Some((Channel::Sms, address, code))).await?;
        Ok(PhoneChallenge { phone_token, expires_at: sent.expires_at })
    }

    /// Follows a link that proves or changes an e-mail address. 422 `link_invalid`
    /// whatever is wrong with it, 409 `email_taken`.
    pub async fn verify_email(
        &self,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        let is_change = OpaqueToken::parse(token, Purpose::EmailChange.kind()).is_ok();
        let purpose = if is_change { Purpose::EmailChange } else { Purpose::EmailVerification };
        let (context, token, LiveToken { user, .. }) = self.followed(purpose, token, from).await?;
        let command =
            Confirm { identity: self.clone(), purpose, user, token: token.hash(), code: None };
        let call = Call { context, idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }

    /// Brings back the code that was sent to a phone. 422 `code_wrong` (five of them end
    /// it) or `link_invalid`.
    pub async fn verify_phone(
        &self,
        context: &OpContext,
        phone_token: &str,
        code: &str,
    ) -> Result<(), OperationError> {
        let (purpose, user) = (Purpose::PhoneChange, own_user(context)?);
        let token = OpaqueToken::parse(phone_token, purpose.kind())
            .map_err(|_| link_invalid(PHONE_TOKEN))?;
        let code = Some(code_hash(&token, code.trim()));
        let command = Confirm { identity: self.clone(), purpose, user, token: token.hash(), code };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }

    async fn send(
        &self,
        context: &OpContext,
        token: NewToken,
        to: Option<(Channel, String, String)>,
    ) -> Result<LinkSent, OperationError> {
        let command = Send { identity: self.clone(), token, to };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }
}

/// Six decimal digits, each sequence as likely as any other.
fn six_digits() -> String {
    const CODES: u32 = 1_000_000;
    /// The greatest multiple of it that fits: what lies beyond would favour small codes.
    const FAIR: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let number = u32::from_le_bytes(vault::random_bytes());
        if number < FAIR {
            return format!("{:06}", number % CODES);
        }
    }
}

/// Sends the link or code.
struct Send {
    identity: Identity,
    token: NewToken,
    /// The new address with its channel and the code for it; to the present one where absent.
    to: Option<(Channel, String, String)>,
}

impl Command for Send {
    const NAME: &'static str = "contact.prove";
    const RESOURCE: &'static str = "user";
    /// One's own, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = LinkSent;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<LinkSent>, Failure> {
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let user = self.token.user;
        let person =
            Person::lock(transaction, &keys, user).await?.ok_or_else(Refusal::not_found)?;
        let (channel, address, code) = match &self.to {
            Some((channel, address, code)) => (*channel, address.as_str(), code.as_str()),
            None if person.email_verified_at.is_some() => {
                let detail = "The address is proven already";
                return Err(Refusal::new(RefusalKind::Conflict, "already_verified", detail).into());
            }
            None => (Channel::Email, person.reachable("email")?, ""),
        };
        let mut token = NewToken { token: self.token.token.clone(), payload: None, ..self.token };
        if self.to.is_some() {
            let cell = (PAYLOAD.0, PAYLOAD.1, token.id);
            let sealed = keys.seal(&person.subject, cell, address).map_err(key_failure)?;
            let index = blind_index(keys.index(), index_of(channel), &email_key(address));
            token.payload = Some(Payload { sealed, index: Some(index) });
        }
        let expires_at = token.store(transaction, context).await?.ok_or_else(sent_enough)?;
        let (template, values) = match channel {
            Channel::Email => {
                (Template::VerifyEmail, json!({ "link": token.link(), "expires_at": expires_at }))
            }
            Channel::Sms => (
                Template::SignInCode,
                json!({ "code": code, "expires_at": expires_at, "purpose": "to change your phone number" }),
            ),
        };
        let teller = Teller { transaction, context, keys: &keys };
        teller.to(&person, (channel, address), template, values).await?;
        let event = event(context, EventType::ApiAccess, Self::NAME, Self::RESOURCE)
            .resource_id(user)
            .details(json!({ "purpose": token.purpose.as_str() }))
            .personal_fields();
        Ok(Applied { output: LinkSent { expires_at }, status: 202, events: vec![event] })
    }
}

const fn index_of(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "users.email",
        Channel::Sms => "users.phone",
    }
}

/// Consumes the link or code and does what it was for.
struct Confirm {
    identity: Identity,
    purpose: Purpose,
    user: Uuid,
    token: [u8; 32],
    code: Option<[u8; 32]>,
}

impl Command for Confirm {
    const NAME: &'static str = "contact.confirm";
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
        let Some(person) = person.filter(Person::may_act) else {
            return Err(refused(context, self.purpose, Some(self.user)));
        };
        let consumed = one_time::consume(
            transaction,
            (self.purpose, self.user),
            &self.token,
            self.code.as_ref(),
        )
        .await?;
        let teller = Teller { transaction, context, keys: &keys };
        match consumed {
            Consumed::Gone => return Err(refused(context, self.purpose, Some(self.user))),
            Consumed::WrongCode => return Err(self.wrong_code(context)),
            Consumed::Used { id, payload: Some(sealed) } => {
                let address = keys.open(&person.subject, (PAYLOAD.0, PAYLOAD.1, id), sealed);
                self.change(&teller, &person, &address.map_err(key_failure)?).await?;
            }
            Consumed::Used { payload: None, .. } => {
                transaction.execute(EMAIL_PROVEN, &[&transaction.tenant(), &self.user]).await?;
            }
        }
        let event =
            about(context, EventType::DataModification, Self::NAME, (Some(self.user), None))
                .details(json!({ "purpose": self.purpose.as_str() }))
                .personal_fields();
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

impl Confirm {
    /// Puts the new address in the place of the old one, and tells that.
    async fn change(
        &self,
        teller: &Teller<'_>,
        person: &Person,
        address: &str,
    ) -> Result<(), Failure> {
        let transaction = teller.transaction;
        let sealer = Sealer { keys: teller.keys, subject: &person.subject, user: person.id };
        let is_email = self.purpose == Purpose::EmailChange;
        let (sql, cell) = if is_email {
            sealer.claim(transaction, Some(address)).await?;
            (SET_EMAIL, sealer.email(Some(address))?)
        } else {
            (SET_PHONE, sealer.phone(Some(address))?)
        };
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &person.id, &cell.sealed, &cell.index];
        transaction.execute(sql, &parameters).await.map_err(taken)?;
        if is_email {
            one_time::void(transaction, person.id, &Purpose::TO_THE_EMAIL).await?;
            return Ok(teller.email(person, Template::EmailChanged, json!({})).await?);
        }
        let Some(old) = &person.phone else {
            return Ok(teller.email(person, Template::PhoneChanged, json!({})).await?);
        };
        Ok(teller.to(person, (Channel::Sms, old), Template::PhoneChanged, json!({})).await?)
    }

    fn wrong_code(&self, context: &OpContext) -> Failure {
        let event = about(context, EventType::AuthFailure, Self::NAME, (Some(self.user), None))
            .outcome(audit::Outcome::Denied)
            .details(json!({ "purpose": self.purpose.as_str(), "reason": "code" }));
        let refusal = Refusal::rule("code_wrong", CODE, "The code is not the one that was sent");
        Failure::RefusedAndKept { refusal, events: vec![event] }
    }
}

#[cfg(test)]
mod tests {
    use super::six_digits;

    #[test]
    fn codes_are_six_digits_with_leading_zeros_among_them() {
        let codes: Vec<String> = (0..2_000).map(|_| six_digits()).collect();
        assert!(codes.iter().all(|code| code.len() == 6 && code.parse::<u32>().is_ok()));
        assert!(codes.iter().any(|code| code.starts_with('0')));
        let distinct: std::collections::HashSet<_> = codes.iter().collect();
        assert!(distinct.len() > 1_950, "{}", distinct.len());
    }
}
