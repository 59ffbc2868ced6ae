//! The commands on one user.
//!
//! Failures in this order: not seen, not permitted, changed meanwhile, a role that
//! does not exist or may not be given, the last administrator, an organisation that does
//! not exist, a name or address that is taken.

use access::{Permission, Resource};
use audit::EventType;
use notify::Template;
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, event};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    keyring::{TenantKeys, load_subject_keys, store_subject_keys},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::{DataKey, blind_index};

use super::{
    authority::{Hand, remember_hand},
    grants::OrderedRoles,
    model::{NewUser, UserRecord, UserUpdate, email_key, username_key},
    read,
};
use crate::{
    Identity,
    context::key_failure,
    events::hexadecimal,
    recovery::{
        one_time::{self, Purpose},
        person::{Person, Teller},
    },
    sessions::revoke_all,
    version,
};

const CREATE: &str = tenancy::sql!("identity/users.sql", "create");
const GRANT_ROLE: &str = tenancy::sql!("identity/users.sql", "grant_role");
const GRANT_ROLES: &str = tenancy::sql!("identity/users.sql", "grant_roles");
const WITHDRAW_ROLES: &str = tenancy::sql!("identity/users.sql", "withdraw_roles");
const REMEMBER_PASSWORD: &str = tenancy::sql!("identity/users.sql", "remember_password");
const BY_REFERRAL_CODE: &str = tenancy::sql!("identity/users.sql", "by_referral_code");
const FACTS: &str = tenancy::sql!("identity/users.sql", "facts");
const FACTS_OF_DELETED: &str = tenancy::sql!("identity/users.sql", "facts_of_deleted");
const LOCK: &str = tenancy::sql!("identity/users.sql", "lock");
const UPDATE: &str = tenancy::sql!("identity/users.sql", "update");
const CLAIM_EMAIL: &str = tenancy::sql!("identity/users.sql", "claim_email");
const FORGET_MIGHTIER: &str = tenancy::sql!("identity/api_keys.sql", "forget_mightier");
const REVOKE_MIGHTIER: &str = tenancy::sql!("identity/api_keys.sql", "revoke_mightier");

/// Makes a user whose values were checked and whose password was hashed.
pub(super) struct CreateUser {
    pub(super) identity: Identity,
    pub(super) id: Uuid,
    pub(super) user: NewUser,
    pub(super) password_hash: Option<String>,
    pub(super) password_proof: [u8; 32],
}

/// How somebody came.
pub(super) enum Origin {
    /// Somebody made them.
    Made {
        /// Who recommended the tenant to them.
        referred_by: Option<Uuid>,
    },
    /// By themselves; who recommended it is asked when the address is proven.
    SignedUp,
}

/// The answer that is stored with the idempotency key: no personal data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Created {
    pub(super) id: Uuid,
}

impl Command for CreateUser {
    const NAME: &'static str = "user.create";
    const RESOURCE: &'static str = "user";
    type Output = Created;

    fn permission(&self) -> Permission {
        Permission::UserCreate
    }

    fn fingerprint(&self) -> Value {
        let user = &self.user;
        json!({
            "username": user.username, "email": user.email, "phone": user.phone, "full_name": user.full_name,
            "role": user.role, "department": user.department, "organization_id": user.organization_id,
            "referral_code": user.referral_code, "password": hexadecimal(&self.password_proof),
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Created>, Failure> {
        let roles = [self.user.role.as_str()];
        self.identity.check_grants(transaction, context, &roles).await?;
        let none: (&[String], &[&str]) = (&[], &roles);
        let required = self.identity.approvals_of_grant(transaction, context, none).await?;
        // Somebody new holds as little as there is until others have agreed to more.
        let role = match required {
            Some(_) => self.identity.interim_role(context)?,
            None => self.user.role.as_str(),
        };
        // There are no organisations yet, so every id of one names nothing.
        if self.user.organization_id.is_some() {
            return Err(Refusal::invisible("organization_id").into());
        }
        let referred_by = self.referrer(transaction, context).await?;
        let origin = Origin::Made { referred_by };
        self.insert(transaction, context, (&self.user.username, role, origin)).await?;
        let made = event(context, EventType::UserCreation, Self::NAME, Self::RESOURCE)
            .resource_id(self.id)
            .new_values(json!({
                "role": role, "department": self.user.department,
                "organization_id": self.user.organization_id, "referred_by": referred_by,
            }))
            .personal_fields()
            .at_version(1);
        let mut events = vec![made];
        if let Some(required) = required {
            let grant = OrderedRoles {
                user_id: self.id,
                user_version: 1,
                roles_before: vec![role.to_owned()],
                roles: vec![self.user.role.clone()],
            };
            events.push(grant.wait(transaction, context, (Self::NAME, required)).await?);
        }
        Ok(Applied { output: Created { id: self.id }, status: 201, events })
    }
}

impl CreateUser {
    async fn referrer(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<Uuid>, Failure> {
        let Some(code) = &self.user.referral_code else { return Ok(None) };
        let row = transaction.query_opt(BY_REFERRAL_CODE, &[&context.tenant_id(), code]).await?;
        let row = row.ok_or_else(|| {
            Refusal::rule("referral_code_unknown", "referral_code", "Nobody has this referral code")
        })?;
        Ok(Some(row.try_get("id").map_err(DbError::from)?))
    }

    /// Writes the person, under a name and in a role that need not be those that were wished
    /// for.
    pub(super) async fn insert(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (username, role, origin): (&str, &str, Origin),
    ) -> Result<(), Failure> {
        let (tenant, user) = (context.tenant_id(), &self.user);
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let subject = keys.make_subject_key().map_err(key_failure)?;
        store_subject_keys(transaction, &keys, &[(self.id, &subject)])
            .await
            .map_err(key_failure)?;
        let sealer = Sealer { keys: &keys, subject: &subject, user: self.id };
        let (email, phone) =
            (sealer.email(user.email.as_deref())?, sealer.phone(user.phone.as_deref())?);
        sealer.claim(transaction, user.email.as_deref()).await?;
        let name = sealer.seal("full_name_sealed", user.full_name.as_deref())?;
        let (key, code) = (username_key(username), referral_code());
        let granted_by = (!context.actor.is_system()).then_some(context.actor.id);
        let (referred_by, self_registered) = match origin {
            Origin::Made { referred_by } => (referred_by, false),
            Origin::SignedUp => (None, true),
        };
        let create: [&(dyn ToSql + Sync); 16] = [
            &tenant,
            &self.id,
            &username,
            &key,
            &email.sealed,
            &email.index,
            &phone.sealed,
            &phone.index,
            &name,
            &self.password_hash,
            &role,
            &user.department,
            &user.organization_id,
            &code,
            &referred_by,
            &self_registered,
        ];
        let grant: [&(dyn ToSql + Sync); 4] = [&tenant, &self.id, &role, &granted_by];
        let history_id = context.clock.new_id();
        let remember: [&(dyn ToSql + Sync); 4] =
            [&tenant, &self.id, &history_id, &self.password_hash];
        let mut queries = vec![Query::new(CREATE, &create), Query::new(GRANT_ROLE, &grant)];
        if self.password_hash.is_some() {
            queries.push(Query::new(REMEMBER_PASSWORD, &remember));
        }
        transaction.pipeline(&queries).await.map_err(taken)?;
        Ok(())
    }
}

/// Changes a user.
pub(super) struct UpdateUser {
    pub(super) identity: Identity,
    pub(super) user: Uuid,
    pub(super) expected_version: Option<i64>,
    pub(super) update: UserUpdate,
}

impl Command for UpdateUser {
    const NAME: &'static str = "user.update";
    const RESOURCE: &'static str = "user";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(facts(transaction, context, self.user)
            .await?
            .map_or(Target::Missing { field: None }, |facts| facts.target))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let tenant = context.tenant_id();
        let row = transaction.query_opt(LOCK, &[&tenant, &self.user]).await?;
        let version = check_version(row.as_ref(), self.expected_version)?;
        let before =
            facts(transaction, context, self.user).await?.ok_or_else(Refusal::not_found)?;
        self.check_authority(transaction, context, &before.roles).await?;
        let wanted = self.update.wanted_roles().unwrap_or_default();
        let change = (before.roles.as_slice(), wanted.as_slice());
        let required = self.identity.approvals_of_grant(transaction, context, change).await?;
        let as_it_is = (before.roles.as_slice(), version);
        let giver = Giver((!context.actor.is_system()).then_some(context.actor.id));
        let Some(required) = required else {
            let events = self.apply(transaction, context, as_it_is, giver).await?;
            return Ok(Applied { output: (), status: 200, events });
        };
        let mut events = self.rest().apply(transaction, context, as_it_is, giver).await?;
        let grant = OrderedRoles {
            user_id: self.user,
            user_version: version + 1,
            roles: wanted.into_iter().map(str::to_owned).collect(),
            roles_before: before.roles,
        };
        events.push(grant.wait(transaction, context, (Self::NAME, required)).await?);
        Ok(Applied { output: (), status: 200, events })
    }
}

/// In whose name roles are given; nobody's where the system itself gives them.
#[derive(Clone, Copy)]
pub(super) struct Giver(pub(super) Option<Uuid>);

impl UpdateUser {
    /// The change without the roles, which wait.
    fn rest(&self) -> Self {
        let update = UserUpdate { role: None, roles: None, ..self.update.clone() };
        Self {
            identity: self.identity.clone(),
            user: self.user,
            expected_version: self.expected_version,
            update,
        }
    }

    /// Writes what whoever asks for it may: of a person behind their lock, who holds these
    /// roles at this version.
    pub(super) async fn apply(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (held, version): (&[String], i64),
        giver: Giver,
    ) -> Result<Vec<audit::AuditEvent>, Failure> {
        if self.ends_administration(context) {
            let held = (self.user, held);
            self.identity.keep_an_administrator(transaction, context, held).await?;
        }
        if self.update.email.is_set() || self.update.phone.is_set() {
            self.tell_old_addresses(transaction, context).await?;
        }
        self.write(transaction, context).await?;
        self.apply_roles(transaction, giver).await?;
        if self.update.is_active == Some(false) {
            revoke_all(transaction, self.user, "disabled", None).await?;
        } else if self.changes_roles(held) {
            // A session was begun with what its owner could do then: they begin another.
            revoke_all(transaction, self.user, "role_changed", None).await?;
        }
        let mut events = self.events(context, held, version + 1);
        events.extend(self.end_mightier_keys(transaction, context).await?);
        Ok(events)
    }

    /// Whoever could be reached so far hears that they cannot any more, and links that
    /// were sent there open nothing.
    async fn tell_old_addresses(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<(), DbError> {
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let Some(person) = Person::lock(transaction, &keys, self.user).await? else {
            return Ok(());
        };
        let teller = Teller { transaction, context, keys: &keys };
        // Links to a new password go where whoever set the address wanted them.
        remember_hand(transaction, context, (self.user, Hand::Address)).await?;
        if self.update.email.is_set() {
            one_time::void(transaction, self.user, &Purpose::TO_THE_EMAIL).await?;
            teller.email(&person, Template::EmailChanged, json!({})).await?;
        }
        if self.update.phone.is_set() {
            one_time::void(transaction, self.user, &[Purpose::PhoneChange]).await?;
            teller.email(&person, Template::PhoneChanged, json!({})).await?;
        }
        Ok(())
    }

    /// Own row: contact data only. Anybody else's: nobody mightier than oneself.
    async fn check_authority(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        roles: &[String],
    ) -> Result<(), Failure> {
        let actor = &context.actor;
        let given = self.update.wanted_roles().unwrap_or_default();
        if actor.is_system() {
            return self.identity.check_grants(transaction, context, &given).await;
        }
        let manages =
            self.identity.inner.operations.scope(context, Permission::UserUpdate).is_all();
        if self.update.is_administrative() && (actor.id == self.user || !manages) {
            return Err(Refusal::denied().into());
        }
        if actor.id == self.user {
            self.refuse_own_addresses()?;
        } else {
            self.identity.check_grants(transaction, context, roles).await?;
        }
        self.identity.check_grants(transaction, context, &given).await
    }

    /// Whether they hold other roles afterwards, or another one first.
    fn changes_roles(&self, held: &[String]) -> bool {
        let Some(wanted) = self.update.wanted_roles() else { return false };
        let same_first = wanted.first().copied() == held.first().map(String::as_str);
        let kept = wanted.iter().all(|role| held.iter().any(|held| held == role));
        !same_first || !kept || held.iter().any(|held| !wanted.contains(&held.as_str()))
    }

    /// A machine does no more than whoever answers for it could give: its key ends with the
    /// role that its maker held.
    async fn end_mightier_keys(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Vec<audit::AuditEvent>, DbError> {
        let Some(roles) = self.update.wanted_roles() else { return Ok(Vec::new()) };
        let roles: Vec<String> = roles.into_iter().map(str::to_owned).collect();
        let grantable = self.identity.grantable_by(context.tenant.blueprint, &roles);
        let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &self.user, &grantable];
        let answers = transaction
            .pipeline(&[
                Query::new(REVOKE_MIGHTIER, &parameters),
                Query::new(FORGET_MIGHTIER, &parameters),
            ])
            .await?;
        let ended = answers.first().map_or(&[][..], Vec::as_slice);
        let record = |row: &Row| -> Result<audit::AuditEvent, DbError> {
            let ended = event(context, EventType::CredentialChange, "api_key.revoke", "api_key")
                .resource_id(row.try_get("id")?)
                .at_version(row.try_get("version")?)
                .details(json!({ "ended": true, "reason": "role_changed" }));
            Ok(ended)
        };
        ended.iter().map(record).collect()
    }

    /// Whether an administrator would be none afterwards.
    fn ends_administration(&self, context: &OpContext) -> bool {
        let administrative = self.identity.administrative_roles(context);
        let demoted = self
            .update
            .wanted_roles()
            .is_some_and(|roles| !roles.iter().any(|role| administrative.contains(role)));
        demoted || self.update.is_active == Some(false)
    }

    /// One's own addresses change by a link or code that reached the new one: else a stolen
    /// session could send the next reset to itself.
    fn refuse_own_addresses(&self) -> Result<(), Refusal> {
        let field = match (self.update.email.is_set(), self.update.phone.is_set()) {
            (true, _) => "email",
            (false, true) => "phone",
            (false, false) => return Ok(()),
        };
        let detail = format!("Your own {field} is changed at /v1/auth/me/{field}");
        Err(Refusal::rule("confirmation_needed", field, detail))
    }

    async fn write(&self, transaction: &TenantTx, context: &OpContext) -> Result<(), Failure> {
        let (tenant, update) = (context.tenant_id(), &self.update);
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let subjects =
            load_subject_keys(transaction, &keys, &[self.user]).await.map_err(key_failure)?;
        let subject = subjects.get(&self.user).ok_or_else(Refusal::not_found)?;
        let sealer = Sealer { keys: &keys, subject, user: self.user };
        let email = sealer.email(update.email.value().map(String::as_str))?;
        sealer.claim(transaction, update.email.value().map(String::as_str)).await?;
        let phone = sealer.phone(update.phone.value().map(String::as_str))?;
        let name = sealer.seal("full_name_sealed", update.full_name.value().map(String::as_str))?;
        let primary = update.wanted_roles().and_then(|roles| roles.first().copied());
        let parameters: [&(dyn ToSql + Sync); 14] = [
            &tenant,
            &self.user,
            &update.is_active,
            &primary,
            &update.department.is_set(),
            &update.department.value(),
            &update.email.is_set(),
            &email.sealed,
            &email.index,
            &update.phone.is_set(),
            &phone.sealed,
            &phone.index,
            &update.full_name.is_set(),
            &name,
        ];
        transaction.execute(UPDATE, &parameters).await.map_err(taken)?;
        Ok(())
    }

    async fn apply_roles(&self, transaction: &TenantTx, giver: Giver) -> Result<(), DbError> {
        let Some(roles) = self.update.wanted_roles() else { return Ok(()) };
        let (tenant, Giver(granted_by)) = (transaction.tenant(), giver);
        transaction
            .pipeline(&[
                Query::new(WITHDRAW_ROLES, &[&tenant, &self.user, &roles]),
                Query::new(GRANT_ROLES, &[&tenant, &self.user, &roles, &granted_by]),
            ])
            .await?;
        Ok(())
    }

    fn events(
        &self,
        context: &OpContext,
        roles: &[String],
        version: i64,
    ) -> Vec<audit::AuditEvent> {
        let update = &self.update;
        let personal = update.email.is_set() || update.phone.is_set() || update.full_name.is_set();
        let mut changed = json!({});
        if let Some(is_active) = update.is_active {
            changed["is_active"] = json!(is_active);
        }
        if update.department.is_set() {
            changed["department"] = json!(update.department.value());
        }
        if let Some(wanted) = update.wanted_roles() {
            changed["roles"] = json!(wanted);
        }
        let sealed: Vec<_> = [
            ("email", update.email.is_set()),
            ("phone", update.phone.is_set()),
            ("full_name", update.full_name.is_set()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect();
        let mut modified = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .new_values(changed)
            .details(json!({ "sealed_fields": sealed }))
            .at_version(version);
        if personal {
            modified = modified.personal_fields();
        }
        let changed = update.wanted_roles().map(|wanted| {
            event(context, EventType::RoleChange, Self::NAME, Self::RESOURCE)
                .resource_id(self.user)
                .old_values(json!({ "roles": roles }))
                .new_values(json!({ "roles": wanted }))
        });
        std::iter::once(modified).chain(changed).collect()
    }
}

/// The version of a user's row under its lock, where it is there and the caller has seen it.
pub(super) fn check_version(row: Option<&Row>, expected: Option<i64>) -> Result<i64, Failure> {
    version::check(row, expected, "The user was changed since it was read")
}

/// Reads one user, personal data included.
pub(super) struct ReadUser {
    pub(super) identity: Identity,
    pub(super) user: Uuid,
}

impl Command for ReadUser {
    const NAME: &'static str = "user.read";
    const RESOURCE: &'static str = "user";
    type Output = UserRecord;

    fn permission(&self) -> Permission {
        Permission::UserRead
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(facts(transaction, context, self.user)
            .await?
            .map_or(Target::Missing { field: None }, |facts| facts.target))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<UserRecord>, Failure> {
        let row = transaction.query_opt(read::ONE, &[&context.tenant_id(), &self.user]).await?;
        let row = row.ok_or_else(Refusal::not_found)?;
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let output = read::record(&keys, &row)?;
        let event = event(context, EventType::DataAccess, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .personal_fields();
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

/// What is known of a person before a decision.
pub(crate) struct Facts {
    pub(crate) target: Target,
    pub(crate) roles: Vec<String>,
}

/// A person as the object of a decision.
pub(crate) async fn target_of(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
) -> Result<Target, DbError> {
    Ok(facts(transaction, context, user)
        .await?
        .map_or(Target::Missing { field: None }, |facts| facts.target))
}

pub(crate) async fn facts(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
) -> Result<Option<Facts>, DbError> {
    let Some(row) = transaction.query_opt(FACTS, &[&context.tenant_id(), &user]).await? else {
        return Ok(None);
    };
    facts_of(context, user, &row).map(Some)
}

/// The same of somebody who was deleted.
pub(super) async fn facts_of_deleted(
    transaction: &TenantTx,
    context: &OpContext,
    user: Uuid,
) -> Result<Option<Facts>, DbError> {
    let row = transaction.query_opt(FACTS_OF_DELETED, &[&context.tenant_id(), &user]).await?;
    row.map(|row| facts_of(context, user, &row)).transpose()
}

fn facts_of(context: &OpContext, user: Uuid, row: &Row) -> Result<Facts, DbError> {
    let resource = Resource::for_permission(Permission::UserRead, Some(user))
        .owned(context.actor.id == user)
        .organization(row.try_get("organization_id")?);
    let target = Target::Object { resource, read_permission: Permission::UserRead, field: None };
    Ok(Facts { target, roles: row.try_get("roles")? })
}

/// Seals the fields of one person.
pub(crate) struct Sealer<'a> {
    pub(crate) keys: &'a TenantKeys,
    pub(crate) subject: &'a DataKey,
    pub(crate) user: Uuid,
}

/// A sealed value and what it is found by.
#[derive(Default)]
pub(crate) struct Indexed {
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) index: Option<Vec<u8>>,
}

impl Sealer<'_> {
    pub(crate) fn seal(
        &self,
        column: &str,
        value: Option<&str>,
    ) -> Result<Option<Vec<u8>>, DbError> {
        let cell = ("users", column, self.user);
        value
            .map(|value| self.keys.seal(self.subject, cell, value))
            .transpose()
            .map_err(key_failure)
    }

    pub(crate) fn email(&self, email: Option<&str>) -> Result<Indexed, DbError> {
        let index = email
            .map(|email| blind_index(self.keys.index(), "users.email", &email_key(email)).to_vec());
        Ok(Indexed { sealed: self.seal("email_sealed", email)?, index })
    }

    /// Sees to it that the address is nobody else's under any generation of the index key.
    pub(crate) async fn claim(
        &self,
        transaction: &TenantTx,
        email: Option<&str>,
    ) -> Result<(), Failure> {
        let Some(email) = email else { return Ok(()) };
        let indexes = self.keys.indexes("users.email", &email_key(email));
        transaction.execute(CLAIM_EMAIL, &[&self.user, &indexes]).await.map_err(taken)?;
        Ok(())
    }

    pub(crate) fn phone(&self, phone: Option<&str>) -> Result<Indexed, DbError> {
        let index =
            phone.map(|phone| blind_index(self.keys.index(), "users.phone", phone).to_vec());
        Ok(Indexed { sealed: self.seal("phone_sealed", phone)?, index })
    }
}

/// Ten letters and digits of Crockford's base 32: 50 random bits.
fn referral_code() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    vault::random_bytes::<10>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// Named constraints as client errors.
pub(crate) fn taken(error: DbError) -> Failure {
    match error.constraint() {
        Some("users_username_key") => {
            conflict("username_taken", "username", "This user name is taken").into()
        }
        Some("users_email_key") => {
            conflict("email_taken", "email", "This e-mail address is taken").into()
        }
        _ => Failure::Database(error),
    }
}

fn conflict(code: &'static str, field: &'static str, detail: &str) -> Refusal {
    Refusal { kind: RefusalKind::Conflict, ..Refusal::rule(code, field, detail) }
}
