//! Owns reading endpoints and deliveries back. Refuses to know how they came about.

use access::{Permission, Scope};
use operation::{
    Found, Page, PageRequest, Refusal, RefusalKind, View,
    read::{ViewFailure, told_filter},
};
use serde_json::{Value, json};
use tenancy::{Database, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    Delivery, DeliveryStatus, Webhook,
    commands::{ONE, RESOURCE, resource},
};

const LIST: &str = tenancy::sql!("webhooks/endpoints.sql", "list");
const DELIVERIES: &str = tenancy::sql!("webhooks/deliveries.sql", "list");

fn after_of(page: &PageRequest) -> Result<Option<Uuid>, Refusal> {
    let malformed = |_| {
        Refusal::new(RefusalKind::Malformed, "invalid_cursor", "The cursor is not of this list")
    };
    page.after.as_deref().map(|after| after.parse().map_err(malformed)).transpose()
}

pub(crate) struct ListWebhooks {
    pub(crate) page: PageRequest,
}

impl View for ListWebhooks {
    const NAME: &'static str = "webhook.list";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Page<Webhook>;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = after_of(&self.page)?;
        let (tenant, fetch) = (context.tenant_id(), self.page.fetch());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &fetch];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let found = rows.iter().flatten().map(Webhook::from_row).collect::<Result<Vec<_>, _>>()?;
        let value = Page::of(found, &self.page, |webhook| webhook.id.to_string());
        let count = value.data.len();
        Ok(Found::List { value, count })
    }
}

pub(crate) struct OneWebhook {
    pub(crate) id: Uuid,
}

impl View for OneWebhook {
    const NAME: &'static str = "webhook.read";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Webhook;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let rows = database.read(context, &[Query::new(ONE, &[&tenant, &self.id])]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else {
            return Ok(Found::Missing);
        };
        Ok(Found::Object { value: Webhook::from_row(row)?, resource: resource(self.id) })
    }
}

pub(crate) struct ListDeliveries {
    pub(crate) endpoint: Uuid,
    pub(crate) status: Option<DeliveryStatus>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) page: PageRequest,
}

impl View for ListDeliveries {
    const NAME: &'static str = "webhook.deliveries";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Page<Delivery>;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.endpoint)
    }

    fn filter(&self) -> Option<Value> {
        told_filter(json!({ "status": self.status }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let (after, status) = (after_of(&self.page)?, self.status.map(DeliveryStatus::as_str));
        let (tenant, fetch) = (context.tenant_id(), self.page.fetch());
        // A test is about the endpoint itself.
        let kinds: Vec<&str> = self.kinds.iter().copied().chain([RESOURCE]).collect();
        let of_list: [&(dyn ToSql + Sync); 6] =
            [&tenant, &self.endpoint, &after, &status, &fetch, &kinds];
        let of_one: [&(dyn ToSql + Sync); 2] = [&tenant, &self.endpoint];
        let queries = [Query::new(ONE, &of_one), Query::new(DELIVERIES, &of_list)];
        let answers = database.read(context, &queries).await?;
        let (Some(one), Some(rows)) = (answers.first(), answers.get(1)) else {
            return Ok(Found::Missing);
        };
        if one.is_empty() {
            return Ok(Found::Missing);
        }
        let found = rows.iter().map(Delivery::from_row).collect::<Result<Vec<_>, _>>()?;
        let value = Page::of(found, &self.page, |delivery| delivery.event_id.to_string());
        Ok(Found::Object { value, resource: resource(self.endpoint) })
    }
}
