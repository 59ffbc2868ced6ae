//! The commands on one endpoint. Their records tell the host and what is told, never the rest
//! of an address, which may hold a receiver's own secret.

use access::{Permission, Resource};
use audit::EventType;
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, command::Outcome, event};
use outward::Destination;
use serde_json::{Value, json};
use tenancy::{ActorKind, DbError, OpContext, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::webhook::WebhookSecret;

use crate::{
    NewWebhook, Webhook, WebhookChange, WebhookStatus, Webhooks,
    cells::{PREVIOUS_SECRET, SECRET, TABLE},
    model::fault,
};

const LOCK_ALL: &str = tenancy::sql!("webhooks/endpoints.sql", "lock_all");
const COUNT: &str = tenancy::sql!("webhooks/endpoints.sql", "count");
const CREATE: &str = tenancy::sql!("webhooks/endpoints.sql", "create");
pub(crate) const ONE: &str = tenancy::sql!("webhooks/endpoints.sql", "one");
const LOCK: &str = tenancy::sql!("webhooks/endpoints.sql", "lock");
const CHANGE: &str = tenancy::sql!("webhooks/endpoints.sql", "change");
const ROTATE: &str = tenancy::sql!("webhooks/endpoints.sql", "rotate");
const DELETE: &str = tenancy::sql!("webhooks/endpoints.sql", "delete");

pub(crate) const RESOURCE: &str = "webhook";
/// Endpoints of one tenant.
const ENDPOINTS_MAX: i64 = 20;
const OVERLAP_DEFAULT_S: i64 = 86_400;
const OVERLAP_MAX_S: i64 = 7 * 86_400;

/// An endpoint as policy sees it: the tenant's.
pub(crate) fn resource(id: Uuid) -> Resource<'static> {
    Resource::for_permission(Permission::SettingsView, Some(id))
}

pub(crate) async fn target(transaction: &TenantTx, id: Uuid) -> Result<Target, DbError> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &id]).await?;
    Ok(match row {
        None => Target::Missing { field: None },
        Some(_) => Target::Object {
            resource: resource(id),
            read_permission: Permission::SettingsView,
            field: None,
        },
    })
}

pub(crate) async fn stored(transaction: &TenantTx, id: Uuid) -> Result<Webhook, Failure> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &id]).await?;
    Ok(Webhook::from_row(&row.ok_or_else(Refusal::not_found)?)?)
}

/// Where a tenant's events go is said by people, and by the operator at the command line: a
/// machine's secret that has leaked must not open a way out.
pub(crate) fn no_machine(context: &OpContext) -> Result<(), Refusal> {
    if context.actor.kind == ActorKind::ApiKey { Err(Refusal::denied()) } else { Ok(()) }
}

/// What records tell of an endpoint.
fn told(webhook: &Webhook) -> Value {
    let host = Destination::parse(&webhook.url).map(|found| found.authority().to_owned());
    json!({
        "host": host.unwrap_or_default(), "event_types": webhook.event_types,
        "status": webhook.status,
    })
}

/// The endpoint under its lock, at the version that the caller has seen.
async fn locked(transaction: &TenantTx, id: Uuid, expected: Option<i64>) -> Result<Row, Failure> {
    let row = transaction.query_opt(LOCK, &[&transaction.tenant(), &id]).await?;
    let row = row.ok_or_else(Refusal::not_found)?;
    let version: i64 = row.try_get("version").map_err(DbError::from)?;
    if expected.is_some_and(|expected| expected != version) {
        let detail = "The webhook was changed since it was read";
        let kind = RefusalKind::PreconditionFailed;
        return Err(Refusal::new(kind, "version_conflict", detail).into());
    }
    Ok(row)
}

/// Makes one.
pub(crate) struct CreateWebhook {
    pub(crate) webhooks: Webhooks,
    pub(crate) id: Uuid,
    pub(crate) new: NewWebhook,
    pub(crate) secret: WebhookSecret,
}

impl Command for CreateWebhook {
    const NAME: &'static str = "webhook.create";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Webhook;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    /// What was wished for: the secret is another one at every try.
    fn fingerprint(&self) -> Value {
        json!({ "url": self.new.url, "event_types": self.new.event_types })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Webhook> {
        no_machine(context)?;
        let inner = &self.webhooks.inner;
        let by = (&inner.operations, context);
        let names = self.new.accept(by, inner.client.guard()).map_err(Refusal::validation)?;
        let tenant = transaction.tenant();
        transaction.query(LOCK_ALL, &[&tenant]).await?;
        let counted = transaction.query(COUNT, &[&tenant]).await?;
        let count = counted.first().map_or(Ok(0), |row| row.try_get("count"));
        if count.map_err(DbError::from)? >= ENDPOINTS_MAX {
            let detail = "A tenant has at most 20 webhooks";
            return Err(Refusal::new(RefusalKind::Conflict, "too_many_webhooks", detail).into());
        }
        let keys = inner.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let secret = keys.seal(keys.field(), (TABLE, SECRET, self.id), &self.secret.expose());
        let secret = secret.map_err(DbError::from)?;
        let created_by = (context.actor.kind == ActorKind::User).then_some(context.actor.id);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&tenant, &self.id, &self.new.url, &secret, &names, &created_by];
        transaction.execute(CREATE, &parameters).await?;
        let output = stored(transaction, self.id).await?;
        let made = event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .new_values(told(&output));
        Ok(Applied { output, status: 201, events: vec![made] })
    }
}

/// Changes one.
pub(crate) struct UpdateWebhook {
    pub(crate) webhooks: Webhooks,
    pub(crate) id: Uuid,
    pub(crate) expected_version: Option<i64>,
    pub(crate) change: WebhookChange,
}

impl Command for UpdateWebhook {
    const NAME: &'static str = "webhook.update";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Webhook;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Webhook> {
        no_machine(context)?;
        locked(transaction, self.id, self.expected_version).await?;
        let before = stored(transaction, self.id).await?;
        if self.change.status == Some(WebhookStatus::Failing) {
            let faults = vec![fault("status", "Expected active or disabled")];
            return Err(Refusal::validation(faults).into());
        }
        let inner = &self.webhooks.inner;
        // All of it is judged anew: whoever has it lead elsewhere may be told all of it.
        let wish = NewWebhook {
            url: self.change.url.clone().unwrap_or_else(|| before.url.clone()),
            event_types: (self.change.event_types.clone())
                .unwrap_or_else(|| before.event_types.clone()),
        };
        let by = (&inner.operations, context);
        let names = wish.accept(by, inner.client.guard()).map_err(Refusal::validation)?;
        let status = self.change.status.unwrap_or(before.status).as_str();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&transaction.tenant(), &self.id, &wish.url, &names, &status];
        transaction.execute(CHANGE, &parameters).await?;
        let output = stored(transaction, self.id).await?;
        let changed = event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .old_values(told(&before))
            .new_values(told(&output))
            .details(json!({ "leads_elsewhere": before.url != output.url }));
        Ok(Applied { output, status: 200, events: vec![changed] })
    }
}

/// Gives one a new secret.
pub(crate) struct RotateSecret {
    pub(crate) webhooks: Webhooks,
    pub(crate) id: Uuid,
    pub(crate) expected_version: Option<i64>,
    pub(crate) overlap_s: Option<i64>,
    pub(crate) secret: WebhookSecret,
}

impl Command for RotateSecret {
    const NAME: &'static str = "webhook.rotate_secret";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Webhook;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    fn fingerprint(&self) -> Value {
        json!({
            "webhook": self.id, "expected_version": self.expected_version,
            "overlap_s": self.overlap_s,
        })
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Webhook> {
        no_machine(context)?;
        let row = locked(transaction, self.id, self.expected_version).await?;
        let overlap_s = self.overlap_s.unwrap_or(OVERLAP_DEFAULT_S);
        if !(0..=OVERLAP_MAX_S).contains(&overlap_s) {
            let faults = vec![fault("overlap_s", "Expected 0 to 604800 seconds")];
            return Err(Refusal::validation(faults).into());
        }
        let sealed: Vec<u8> = row.try_get("secret_sealed").map_err(DbError::from)?;
        let keyring = &self.webhooks.inner.keyring;
        let keys = keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let seal = |column, text: &str| {
            keys.seal(keys.field(), (TABLE, column, self.id), text).map_err(DbError::from)
        };
        let before = keys.open_own((TABLE, SECRET, self.id), sealed).map_err(DbError::from)?;
        let previous = seal(PREVIOUS_SECRET, &before)?;
        let secret = seal(SECRET, &self.secret.expose())?;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&transaction.tenant(), &self.id, &secret, &previous, &overlap_s];
        transaction.execute(ROTATE, &parameters).await?;
        let output = stored(transaction, self.id).await?;
        let rotated = event(context, EventType::CredentialChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .new_values(json!({ "previous_until": output.previous_until }));
        Ok(Applied { output, status: 200, events: vec![rotated] })
    }
}

/// Ends one.
pub(crate) struct DeleteWebhook {
    pub(crate) id: Uuid,
    pub(crate) expected_version: Option<i64>,
}

impl Command for DeleteWebhook {
    const NAME: &'static str = "webhook.delete";
    const RESOURCE: &'static str = RESOURCE;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<()> {
        no_machine(context)?;
        locked(transaction, self.id, self.expected_version).await?;
        let before = stored(transaction, self.id).await?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &self.id];
        transaction.execute(DELETE, &parameters).await?;
        let ended = event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .old_values(told(&before));
        Ok(Applied { output: (), status: 204, events: vec![ended] })
    }
}
