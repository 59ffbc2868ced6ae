//! Webhooks: what happened is told to a tenant's other systems, signed (Standard Webhooks),
//! in the order of each object's versions, again until it is taken or given up.
//!
//! Owns endpoints and their secrets, deliveries, when they are tried again, when an endpoint
//! is left alone, and who may read the log of events on. Refuses to know how events come
//! about, and what a receiver does with them: of its answer only the status is kept.
//!
//! An endpoint hears nothing that whoever set it up, or changed where it leads, may not read
//! of every object.

mod cells;
mod commands;
mod feed;
mod kinds;
mod message;
mod model;
mod replay;
mod schedule;
mod suspend;
mod views;
mod worker;

use std::sync::Arc;

use jiff::Timestamp;
use operation::{Call, Command, OperationError, Operations, Page, PageRequest, Reply};
use outward::Client;
use tenancy::{OpContext, keyring::Keyring};
use uuid::Uuid;
use vault::webhook::WebhookSecret;
use zeroize::Zeroizing;

pub use cells::SEALED;
use commands::{CreateWebhook, DeleteWebhook, RotateSecret, UpdateWebhook};
pub use feed::{Feed, ReadFeed};
pub use kinds::KINDS;
use kinds::readable_kinds;
pub use model::{
    Delivery, DeliveryStatus, NewWebhook, Replay, Replayed, Webhook, WebhookChange, WebhookStatus,
};
use replay::{ReplayEvents, SendTest};
pub use schedule::Patience;
use views::{ListDeliveries, ListWebhooks, OneWebhook};

/// Everything about webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

struct Inner {
    operations: Operations,
    keyring: Arc<Keyring>,
    client: Client,
    patience: Patience,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Webhooks").field("client", &self.client).finish_non_exhaustive()
    }
}

/// An endpoint with its secret, which nobody can show again.
pub struct Issued {
    /// The endpoint, and whether an earlier request made it so.
    pub reply: Reply<Webhook>,
    /// `whsec_…`; none where an earlier request was shown it.
    pub secret: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issued").field("reply", &self.reply).finish_non_exhaustive()
    }
}

impl Issued {
    fn of(reply: Reply<Webhook>, secret: &WebhookSecret) -> Self {
        let secret = (!reply.replayed).then(|| secret.expose());
        Self { reply, secret }
    }
}

/// What waits to be delivered in one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many deliveries.
    pub count: i64,
    /// Since when the oldest does; none where nothing waits.
    pub oldest_at: Option<Timestamp>,
}

impl Webhooks {
    /// Webhooks of these operations' tenants, sent by this client, whose guard says where to.
    pub fn new(operations: Operations, keyring: Arc<Keyring>, client: Client) -> Self {
        Self::with_patience(operations, keyring, client, Patience::default())
    }

    /// The same with another patience.
    pub fn with_patience(
        operations: Operations,
        keyring: Arc<Keyring>,
        client: Client,
        patience: Patience,
    ) -> Self {
        Self { inner: Arc::new(Inner { operations, keyring, client, patience }) }
    }

    /// Makes an endpoint. Refused, first found, with `permission_denied` (machines always),
    /// `validation_failed` (every field at fault), `too_many_webhooks`.
    pub async fn create(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        new: NewWebhook,
    ) -> Result<Issued, OperationError> {
        let secret = WebhookSecret::generate();
        let id = context.clock.new_id();
        let command = CreateWebhook { webhooks: self.clone(), id, new, secret: secret.clone() };
        Ok(Issued::of(self.call(context, idempotency_key, command).await?, &secret))
    }

    /// Changes an endpoint; `active` enables it again. Refused, first found, with
    /// `version_conflict`, `validation_failed`.
    pub async fn update(
        &self,
        context: &OpContext,
        (id, expected_version): (Uuid, Option<i64>),
        change: WebhookChange,
    ) -> Result<Webhook, OperationError> {
        let command = UpdateWebhook { webhooks: self.clone(), id, expected_version, change };
        Ok(self.call(context, None, command).await?.output)
    }

    /// Ends an endpoint; its deliveries are forgotten by and by.
    pub async fn delete(
        &self,
        context: &OpContext,
        (id, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        let command = DeleteWebhook { id, expected_version };
        self.call(context, None, command).await.map(drop)
    }

    /// Gives an endpoint a new secret. The one before signs beside it for `overlap_s`: a day
    /// where absent, seven at most.
    pub async fn rotate_secret(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        (id, expected_version, overlap_s): (Uuid, Option<i64>, Option<i64>),
    ) -> Result<Issued, OperationError> {
        let secret = WebhookSecret::generate();
        let (webhooks, shared) = (self.clone(), secret.clone());
        let command = RotateSecret { webhooks, id, expected_version, overlap_s, secret: shared };
        Ok(Issued::of(self.call(context, idempotency_key, command).await?, &secret))
    }

    /// Has an event of no consequence delivered.
    pub async fn test(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        id: Uuid,
    ) -> Result<Reply<Replayed>, OperationError> {
        let command = SendTest { id, event: context.clock.new_id() };
        self.call(context, idempotency_key, command).await
    }

    /// Has events delivered again. Refused with `validation_failed`, `event_unknown`,
    /// `too_many_events`.
    pub async fn replay(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        (id, replay): (Uuid, Replay),
    ) -> Result<Reply<Replayed>, OperationError> {
        self.call(context, idempotency_key, ReplayEvents { id, replay }).await
    }

    /// The tenant's endpoints, newest first.
    pub async fn list(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<Webhook>, OperationError> {
        self.inner.operations.read(context, &ListWebhooks { page: page.clone() }).await
    }

    /// One endpoint.
    pub async fn one(&self, context: &OpContext, id: Uuid) -> Result<Webhook, OperationError> {
        self.inner.operations.read(context, &OneWebhook { id }).await
    }

    /// What became of what an endpoint was told, newest event first: of the kinds of objects
    /// that the reader may read all of.
    pub async fn deliveries(
        &self,
        context: &OpContext,
        (endpoint, status): (Uuid, Option<DeliveryStatus>),
        page: &PageRequest,
    ) -> Result<Page<Delivery>, OperationError> {
        let kinds = readable_kinds(&self.inner.operations, context);
        let view = ListDeliveries { endpoint, status, kinds, page: page.clone() };
        self.inner.operations.read(context, &view).await
    }

    /// The names of events that the actor may have told to other systems, kind by kind.
    pub fn offered(&self, context: &OpContext) -> Vec<&'static str> {
        kinds::offered(&self.inner.operations, context)
    }

    async fn call<C: Command>(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        command: C,
    ) -> Result<Reply<C::Output>, OperationError> {
        let call = Call { context: context.clone(), idempotency_key, command };
        self.inner.operations.run_one(call).await
    }
}
