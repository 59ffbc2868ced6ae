//! Signing up without an invitation, where the tenant's policy has it.
//!
//! The answer is the same for everybody, and so is what is done before it: the form is
//! checked, the referral code looked up, and the question recorded under the blind index of
//! the address, whoever that is. Whether the address is somebody's is looked up after the
//! answer has left. Somebody new gets a link that sets their first password, so that nothing
//! opens before the address is proven; somebody known gets what they would get had they
//! forgotten their password. A name that is taken is told to nobody: a free one like it
//! stands in the message.
//!
//! Anybody may type anybody's address: what the form wishes for (name, full name, referrer)
//! goes sealed with its link and is nobody's before that link is followed. Of several forms
//! for one address the one counts whose link its owner follows.
//!
//! Whoever signs up holds the least role of the blueprint and is nobody's customer yet. The
//! code of whoever owns the address already makes nobody, so nobody refers themselves.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType};
use notify::Template;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{Blueprint, DbError, OpContext, Query, RequestInfo, TenantTx, keyring::TenantKeys};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{BlindIndex, DataKey, blind_index};

use super::{
    commands::{CreateUser, Origin, Sealer},
    model::{NewPassword, NewUser, email_key, username_key},
};
use crate::{
    Identity,
    context::key_failure,
    events::{about, hexadecimal},
    login::name_key,
    recovery::{
        one_time::{LiveToken, NewToken, PAYLOAD, Payload, Purpose},
        person::{Person, Teller},
    },
};

const FIND_ACCOUNT: &str = tenancy::sql!("identity/login.sql", "find_account");
const NAME_TAKEN: &str = tenancy::sql!("identity/users.sql", "name_taken");
const ADOPT: &str = tenancy::sql!("identity/users.sql", "adopt");
const BY_REFERRAL_CODE: &str = tenancy::sql!("identity/users.sql", "by_referral_code");

/// Tries at a free name before somebody has to sign up again.
const NAMES_TRIED: usize = 8;
/// Letters of a name that leave room for what makes it free.
const NAME_KEPT: usize = 58;

/// Somebody who wants to sign up.
#[derive(Debug)]
pub struct Registration {
    /// The tenant's slug; may be absent where the installation has one tenant.
    pub tenant: Option<String>,
    /// The name they would like to sign in with.
    pub username: String,
    /// Where the link goes.
    pub email: String,
    /// How they are called.
    pub full_name: Option<String>,
    /// Of whoever recommended us.
    pub referral_code: Option<String>,
}

impl Identity {
    /// Takes a sign-up; the caller never learns whether the address was known. 403
    /// `registration_closed`; 422 with every field that is not acceptable,
    /// `referral_code_unknown`; 503 where too much of this is under way.
    pub async fn register(
        &self,
        registration: Registration,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        let busy = |_| {
            let detail = "Try again in 1 seconds";
            Refusal::new(RefusalKind::Unavailable, "busy", detail).retry_after(1)
        };
        let place = Arc::clone(&self.inner.afterwards).try_acquire_owned().map_err(busy)?;
        let tenant = self.login_tenant(registration.tenant.as_deref()).await?;
        let context = self.anonymous(tenant.ok_or_else(closed)?, from);
        let state = self.state(&context).await?;
        // Operators are made by operators, whatever a policy says.
        let blueprint = context.tenant.blueprint;
        let role = blueprint.roles().last().filter(|_| blueprint != Blueprint::Platform);
        let role = role.filter(|_| state.policy.self_registration);
        let is_open = role.is_some();
        let user = NewUser {
            username: registration.username,
            email: Some(registration.email),
            phone: None,
            full_name: registration.full_name,
            password: NewPassword::None,
            role: role.copied().unwrap_or_default().to_owned(),
            department: None,
            organization_id: None,
            referral_code: registration.referral_code,
        };
        let user = user.checked()?;
        let email = email_key(user.email.as_deref().unwrap_or_default());
        let address = blind_index(state.keys.index(), "users.email", &email);
        let referral_code = user.referral_code.clone();
        let command = NoteRegistration { address, referral_code, is_open };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await?;
        let identity = self.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = identity.admit(&context, user, &email).await {
                tracing::warn!(%error, "a sign-up came to nothing");
            }
        });
        Ok(())
    }

    /// What follows the answer: a new person, or a message to a known one.
    async fn admit(
        &self,
        context: &OpContext,
        mut user: NewUser,
        email: &str,
    ) -> Result<(), OperationError> {
        let wishes = Wishes {
            username: user.username.clone(),
            full_name: user.full_name.take(),
            referral_code: user.referral_code.take(),
        };
        let tenant = context.tenant_id();
        let state = self.state(context).await?;
        let indexes = state.keys.indexes("users.email", email);
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &email, &indexes];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND_ACCOUNT, &parameters)).await?;
        if let Some(row) = rows.first() {
            let known: Uuid = row.try_get("id").map_err(DbError::from)?;
            let password: Option<String> = row.try_get("password_hash").map_err(DbError::from)?;
            if password.is_some() {
                return self.send_reset(context, &name_key(email)).await;
            }
            let token = NewToken::generate(context, Purpose::Invite, known)?;
            return self.send_welcome(context, (token, None), wishes).await;
        }
        let token = NewToken::generate(context, Purpose::Invite, context.clock.new_id())?;
        let user = CreateUser {
            identity: self.clone(),
            id: token.user,
            user,
            password_hash: None,
            password_proof: [0; 32],
        };
        self.send_welcome(context, (token, Some(user)), wishes).await
    }

    async fn send_welcome(
        &self,
        context: &OpContext,
        (token, user): (NewToken, Option<CreateUser>),
        wishes: Wishes,
    ) -> Result<(), OperationError> {
        let command = Register { identity: self.clone(), token, user, wishes };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await.map(drop)
    }
}

fn closed() -> Refusal {
    let detail = "Nobody signs up here without an invitation";
    Refusal::new(RefusalKind::Denied, "registration_closed", detail)
}

/// Records that somebody wants to sign up, under whatever address; refuses where nobody may,
/// and a referral code that is nobody's.
struct NoteRegistration {
    address: BlindIndex,
    referral_code: Option<String>,
    is_open: bool,
}

impl Command for NoteRegistration {
    const NAME: &'static str = "user.register";
    const RESOURCE: &'static str = "user";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserCreate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        if !self.is_open {
            return Err(closed().into());
        }
        if let Some(code) = &self.referral_code {
            let tenant = context.tenant_id();
            let known = transaction.query_opt(BY_REFERRAL_CODE, &[&tenant, code]).await?;
            known.ok_or_else(|| {
                let detail = "Nobody has this referral code";
                Refusal::rule("referral_code_unknown", "referral_code", detail)
            })?;
        }
        let event = about(context, EventType::ApiAccess, Self::NAME, (None, None))
            .details(json!({ "identifier": hexadecimal(&self.address) }));
        Ok(Applied { output: (), status: 202, events: vec![event] })
    }
}

/// Makes somebody who signed up, and sends the link that proves their address; the link
/// alone to who has not followed an earlier one.
struct Register {
    identity: Identity,
    token: NewToken,
    /// Nobody where they are there already.
    user: Option<CreateUser>,
    wishes: Wishes,
}

/// What somebody would like to be called, and who recommended us to them.
#[derive(Clone, Serialize, Deserialize)]
struct Wishes {
    username: String,
    full_name: Option<String>,
    referral_code: Option<String>,
}

impl Wishes {
    fn open(
        (keys, subject): (&TenantKeys, &DataKey),
        (token, sealed): (Uuid, Vec<u8>),
    ) -> Result<Self, DbError> {
        let opened = keys.open(subject, (PAYLOAD.0, PAYLOAD.1, token), sealed);
        // Without the error's own words, which quote what was read.
        serde_json::from_str(&opened.map_err(key_failure)?)
            .map_err(|_| DbError::Corrupt(format!("the payload of link {token}")))
    }
}

impl Command for Register {
    const NAME: &'static str = "user.register";
    const RESOURCE: &'static str = "user";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserCreate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let mut events = Vec::new();
        if let Some(user) = &self.user {
            let name = free_name(transaction, (user.id, &user.user.username)).await?;
            let person = (&*name, &*user.user.role, Origin::SignedUp);
            user.insert(transaction, context, person).await?;
            events.push(
                event(context, EventType::UserCreation, Self::NAME, Self::RESOURCE)
                    .resource_id(user.id)
                    .new_values(json!({ "role": user.user.role }))
                    .personal_fields(),
            );
        }
        let why_not = self.send(transaction, context).await?;
        let who = (Some(self.token.user), None);
        events.push(about(context, EventType::ApiAccess, Self::NAME, who).details(
            why_not.map_or_else(
                || json!({ "sent": true }),
                |reason| json!({ "sent": false, "reason": reason }),
            ),
        ));
        Ok(Applied { output: (), status: 202, events })
    }
}

impl Register {
    /// Why nothing was sent, if nothing was. Whom an administrator made, in a role that
    /// nobody signs up for, waits for their invitation.
    async fn send(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<&'static str>, DbError> {
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let Some(mut person) = Person::lock(transaction, &keys, self.token.user).await? else {
            return Ok(Some("gone"));
        };
        let least = context.tenant.blueprint.roles().last().copied();
        if !person.may_act() || person.has_password {
            return Ok(Some("not_waiting"));
        }
        if !person.roles.iter().all(|role| Some(role.as_str()) == least) {
            return Ok(Some("invited_by_others"));
        }
        let mut token = NewToken { token: self.token.token.clone(), payload: None, ..self.token };
        if person.self_registered {
            // They are told the name that this link gives them, unless somebody takes it before
            // they follow it: then it is one like it, and their address signs them in.
            let asked = (person.id, self.wishes.username.as_str());
            person.username = free_name(transaction, asked).await?;
            let wishes = Wishes { username: person.username.clone(), ..self.wishes.clone() };
            let cell = (PAYLOAD.0, PAYLOAD.1, token.id);
            let sealed = keys
                .seal(&person.subject, cell, &json!(wishes).to_string())
                .map_err(key_failure)?;
            token.payload = Some(Payload { sealed, index: None });
        }
        let Some(expires_at) = token.store(transaction, context).await? else {
            return Ok(Some("sent_enough"));
        };
        let values = json!({ "link": token.link(), "expires_at": expires_at });
        let teller = Teller { transaction, context, keys: &keys };
        teller.email(&person, Template::Invite, values).await?;
        Ok(None)
    }
}

/// The names that somebody is about to bear, where this is the link of a sign-up.
pub(crate) fn wished_names(keys: &TenantKeys, live: &LiveToken) -> Result<Vec<String>, DbError> {
    let Some(payload) = &live.payload else { return Ok(Vec::new()) };
    let wrapped = Some(payload.wrapped_key.clone());
    let subject = keys.open_subject_key(payload.key_id, payload.kek_epoch, wrapped);
    let subject = subject.map_err(key_failure)?;
    let wishes = Wishes::open((keys, &subject), (live.id, payload.sealed.clone()))?;
    Ok([Some(wishes.username), wishes.full_name].into_iter().flatten().collect())
}

/// Makes the wishes of the form whose link was followed the person's, who is locked. A
/// referral code that is nobody's any more is left out.
pub(crate) async fn adopt(
    transaction: &TenantTx,
    context: &OpContext,
    (keys, person): (&TenantKeys, &Person),
    (token, sealed): (Uuid, Vec<u8>),
) -> Result<AuditEvent, Failure> {
    let wishes = Wishes::open((keys, &person.subject), (token, sealed))?;
    let tenant = transaction.tenant();
    let name = free_name(transaction, (person.id, &wishes.username)).await?;
    let referred_by = match &wishes.referral_code {
        Some(code) => transaction.query_opt(BY_REFERRAL_CODE, &[&tenant, code]).await?,
        None => None,
    };
    let referred_by: Option<Uuid> =
        referred_by.map(|row| row.try_get("id")).transpose().map_err(DbError::from)?;
    let referred_by = referred_by.filter(|referrer| *referrer != person.id);
    let whose = Sealer { keys, subject: &person.subject, user: person.id };
    let full_name = whose.seal("full_name_sealed", wishes.full_name.as_deref())?;
    let key = username_key(&name);
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&tenant, &person.id, &name, &key, &full_name, &referred_by];
    transaction.execute(ADOPT, &parameters).await.map_err(name_taken_meanwhile)?;
    Ok(about(context, EventType::DataModification, "user.register", (Some(person.id), None))
        .new_values(json!({ "referred_by": referred_by }))
        .details(json!({ "fields": ["username", "full_name", "referred_by"] }))
        .personal_fields())
}

/// Somebody took the free name between the look and the writing; the link stays good.
fn name_taken_meanwhile(error: DbError) -> Failure {
    if error.constraint() != Some("users_username_key") {
        return error.into();
    }
    let detail = "Something changed meanwhile; follow the link again";
    Refusal::new(RefusalKind::Conflict, "changed_meanwhile", detail).into()
}

/// The name that was wished for, or one like it that nobody else has.
async fn free_name(
    transaction: &TenantTx,
    (person, wished): (Uuid, &str),
) -> Result<String, DbError> {
    let tenant = transaction.tenant();
    let mut name = wished.to_owned();
    for _ in 0..NAMES_TRIED {
        let key = username_key(&name);
        if transaction.query_opt(NAME_TAKEN, &[&tenant, &key, &person]).await?.is_none() {
            return Ok(name);
        }
        let kept: String = wished.chars().take(NAME_KEPT).collect();
        let number = u32::from_be_bytes(vault::random_bytes::<4>()) % 100_000;
        name = format!("{kept}-{number:05}");
    }
    Ok(name)
}
