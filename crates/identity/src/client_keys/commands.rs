//! The commands on one client key. Each comes in two kinds: on what is one's own, which no role
//! has to allow, and on others', which policy decides.

use access::{Permission, Resource};
use audit::EventType;
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, event};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{ClientKeyRecord, NewClientKey, ONE, RESOURCE, signature_required};
use crate::{claims::token_revoked, session_begin, version};

const CREATE: &str = tenancy::sql!("identity/client_keys.sql", "create");
const LIVING: &str = tenancy::sql!("identity/client_keys.sql", "living");
const LOCK_MACHINE: &str = tenancy::sql!("identity/client_keys.sql", "lock_machine");
const LOCK: &str = tenancy::sql!("identity/client_keys.sql", "lock");
const REVOKE: &str = tenancy::sql!("identity/client_keys.sql", "revoke");

/// Of one owner at a time.
const LIVING_MAX: i64 = 10;

/// Of a `version_conflict`.
const CHANGED: &str = "The key was changed since it was read";

/// Registers a key, of the caller or of a machine.
pub(super) struct Register<const OWN: bool> {
    pub(super) id: Uuid,
    pub(super) person: Uuid,
    pub(super) new: NewClientKey,
    /// Policy wants it signed, and it is not.
    pub(super) signature_needed: bool,
}

impl<const OWN: bool> Register<OWN> {
    /// How many keys the owner has, who is locked: two at once count each other's.
    async fn living(&self, transaction: &TenantTx, context: &OpContext) -> Result<i64, Failure> {
        let tenant = transaction.tenant();
        let machine = self.new.api_key_id;
        if let Some(machine) = machine {
            let found = transaction.query_opt(LOCK_MACHINE, &[&tenant, &machine]).await?;
            found.ok_or_else(|| Refusal::invisible("api_key_id"))?;
        } else {
            let account = session_begin::lock(transaction, context, self.person).await?;
            account.ok_or_else(token_revoked)?;
        }
        let person = machine.is_none().then_some(self.person);
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &person, &machine];
        let row = transaction.query_opt(LIVING, &parameters).await?;
        let living = row.map(|row| row.try_get("living")).transpose();
        Ok(living.map_err(DbError::from)?.unwrap_or_default())
    }
}

impl<const OWN: bool> Command for Register<OWN> {
    const NAME: &'static str = "client_key.register";
    const RESOURCE: &'static str = RESOURCE;
    /// One's own, whatever the role.
    const ANONYMOUS: bool = OWN;
    type Output = ClientKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyCreate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<ClientKeyRecord>, Failure> {
        let accepted = self.new.accept(self.id).map_err(Refusal::validation)?;
        let living = self.living(transaction, context).await?;
        // The first key of a person comes by their factor: there is nothing to sign it with.
        if self.signature_needed && (living > 0 || self.new.api_key_id.is_some()) {
            return Err(signature_required().into());
        }
        if living >= LIVING_MAX {
            let detail = "Nobody may have more than 10 keys: end one first";
            return Err(Refusal::rule("too_many_client_keys", "public_jwk", detail).into());
        }
        let tenant = transaction.tenant();
        let person = self.new.api_key_id.is_none().then_some(self.person);
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &tenant,
            &self.id,
            &self.new.name,
            &person,
            &self.new.api_key_id,
            &accepted.algorithm,
            &accepted.public_jwk,
            &accepted.thumbprint,
            &self.person,
        ];
        if transaction.execute(CREATE, &parameters).await? == 0 {
            let detail = "This key is registered already, or was";
            return Err(Refusal::new(RefusalKind::Conflict, "client_key_known", detail).into());
        }
        let row = transaction.query_opt(ONE, &[&tenant, &self.id]).await?;
        let output = ClientKeyRecord::read(&row.ok_or_else(Refusal::not_found)?)?;
        let event = event(context, EventType::CredentialChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .new_values(json!({
                "user_id": output.user_id, "api_key_id": output.api_key_id,
                "algorithm": output.algorithm, "thumbprint": output.thumbprint,
            }));
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

/// Ends a key, of the caller or of anybody.
pub(super) struct Revoke<const OWN: bool> {
    pub(super) key: Uuid,
    pub(super) person: Uuid,
    pub(super) expected_version: Option<i64>,
}

impl<const OWN: bool> Command for Revoke<OWN> {
    const NAME: &'static str = "client_key.revoke";
    const RESOURCE: &'static str = RESOURCE;
    /// One's own, whatever the role.
    const ANONYMOUS: bool = OWN;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::KeyRevoke
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        let row = transaction.query_opt(ONE, &[&transaction.tenant(), &self.key]).await?;
        let owner: Option<Uuid> =
            row.as_ref().map(|row| row.try_get("user_id")).transpose()?.flatten();
        if row.is_none() || (OWN && owner != Some(self.person)) {
            return Ok(Target::Missing { field: None });
        }
        Ok(Target::Object {
            resource: Resource::for_permission(Permission::KeyRead, Some(self.key)),
            read_permission: Permission::KeyRead,
            field: None,
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let tenant = transaction.tenant();
        let row = transaction.query_opt(LOCK, &[&tenant, &self.key]).await?;
        version::check(row.as_ref(), self.expected_version, CHANGED)?;
        let ended = transaction.query_opt(REVOKE, &[&tenant, &self.key]).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, RESOURCE)
            .resource_id(self.key)
            .details(json!({ "ended": ended.is_some() }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
