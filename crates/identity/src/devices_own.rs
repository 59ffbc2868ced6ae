//! A person's own devices: listed, renamed, revoked. Theirs whatever their role, so these
//! commands ask no policy and never reach another's: another's device is not found.

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
use operation::{
    Applied, Command, Failure, FieldError, OperationError, Page, PageRequest, Refusal,
    access_log::Access, event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Identity, devices,
    sessions::{Forgotten, after_of, own_user},
    version,
};

const LIST_OWN: &str = tenancy::sql!("identity/devices.sql", "list_own");
const LOCK_OWN: &str = tenancy::sql!("identity/devices.sql", "lock_own");
const RENAME: &str = tenancy::sql!("identity/devices.sql", "rename");
const REVOKE: &str = tenancy::sql!("identity/devices.sql", "revoke");
const END_SESSIONS: &str = tenancy::sql!("identity/devices.sql", "end_sessions");
const END_FAMILIES: &str = tenancy::sql!("identity/devices.sql", "end_families");

/// The longest name of a device, in characters.
const NAME_MAX: usize = 64;

/// A device as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its id.
    pub id: Uuid,
    /// What it is called: by what it said of itself, until its owner renames it.
    pub name: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When somebody first signed in from it.
    pub first_seen_at: Timestamp,
    /// When somebody last signed in from it.
    pub last_seen_at: Timestamp,
    /// Until when it is trusted, because two factors were proven on it.
    pub trusted_until: Option<Timestamp>,
    /// Counts changes.
    pub version: i64,
}

impl DeviceRecord {
    fn read(row: &Row, current: &[u8]) -> Result<Self, DbError> {
        let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            current: fingerprint == current,
            first_seen_at: row.try_get("first_seen_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            trusted_until: row.try_get("trusted_until")?,
            version: row.try_get("version")?,
        })
    }
}

impl Identity {
    /// The person's own devices that are not revoked, newest first.
    pub async fn devices(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<DeviceRecord>, OperationError> {
        let after = after_of(page)?;
        let (tenant, user, fetch) = (context.tenant_id(), own_user(context)?, page.fetch());
        let current = devices::fingerprint(&*self.state(context).await?, &context.request);
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &user, &after, &fetch];
        let database = self.inner.operations.database();
        let rows = database.read(context, &[Query::new(LIST_OWN, &parameters)]).await?;
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(|row| DeviceRecord::read(row, &current))
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, page, |record| record.id.to_string());
        let access = Access {
            action: "device.list",
            resource: "device",
            object: None,
            allowed: true,
            count: page.data.len(),
        };
        self.inner.operations.access_log().record(database, context, access).await;
        Ok(page)
    }

    /// Gives a device another name. Refused, first found, with `not_found`,
    /// `version_conflict`, `validation_failed`.
    pub async fn rename_device(
        &self,
        context: &OpContext,
        device: Uuid,
        expected_version: Option<i64>,
        name: &str,
    ) -> Result<DeviceRecord, OperationError> {
        let current = devices::fingerprint(&*self.state(context).await?, &context.request);
        let command =
            RenameDevice { device, expected_version, name: name.trim().to_owned(), current };
        self.run_and_forget(context, command, Forgotten::Nothing).await
    }

    /// Revokes a device: its sessions end at once, and whoever signs in from it again is
    /// on a new device. Refused, first found, with `not_found`, `version_conflict`.
    pub async fn revoke_device(
        &self,
        context: &OpContext,
        device: Uuid,
        expected_version: Option<i64>,
    ) -> Result<(), OperationError> {
        let command = RevokeDevice { device, expected_version };
        self.run_and_forget(context, command, Forgotten::User(context.actor.id)).await
    }
}

/// Locks a device of the actor's own that is at the version they have seen.
async fn locked(
    transaction: &TenantTx,
    context: &OpContext,
    (device, expected): (Uuid, Option<i64>),
) -> Result<(), Failure> {
    let (tenant, user) = (context.tenant_id(), own_user(context)?);
    let row = transaction.query_opt(LOCK_OWN, &[&tenant, &device, &user]).await?;
    version::check(row.as_ref(), expected, "The device was changed since it was read").map(drop)
}

struct RenameDevice {
    device: Uuid,
    expected_version: Option<i64>,
    name: String,
    current: [u8; 32],
}

impl Command for RenameDevice {
    const NAME: &'static str = "device.rename";
    const RESOURCE: &'static str = "device";
    const ANONYMOUS: bool = true;
    type Output = DeviceRecord;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<DeviceRecord>, Failure> {
        locked(transaction, context, (self.device, self.expected_version)).await?;
        let length = self.name.chars().count();
        if !(1..=NAME_MAX).contains(&length) || self.name.chars().any(char::is_control) {
            let fault = FieldError {
                field: "name".into(),
                code: "name_malformed".into(),
                message: format!("1 to {NAME_MAX} characters are possible"),
            };
            return Err(Refusal::validation(vec![fault]).into());
        }
        let tenant = context.tenant_id();
        let row = transaction.query_opt(RENAME, &[&tenant, &self.device, &self.name]).await?;
        let output = DeviceRecord::read(&row.ok_or_else(Refusal::not_found)?, &self.current)?;
        // What somebody calls their things is theirs.
        let event = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(self.device)
            .details(json!({ "fields": ["name"] }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

struct RevokeDevice {
    device: Uuid,
    expected_version: Option<i64>,
}

impl Command for RevokeDevice {
    const NAME: &'static str = "device.revoke";
    const RESOURCE: &'static str = "device";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        locked(transaction, context, (self.device, self.expected_version)).await?;
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &self.device];
        let rows = transaction
            .pipeline(&[
                Query::new(REVOKE, &parameters),
                Query::new(END_SESSIONS, &parameters),
                Query::new(END_FAMILIES, &parameters),
            ])
            .await?;
        let ended = rows.get(1).map_or(0, Vec::len);
        let event = event(context, EventType::SessionRevocation, Self::NAME, Self::RESOURCE)
            .resource_id(self.device)
            .details(json!({ "ended": ended, "reason": "device_revoked" }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
