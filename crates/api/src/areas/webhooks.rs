//! Webhooks: where a tenant's other systems are told what happened.

use ::webhooks::{DeliveryStatus, Issued, Replay, Replayed};
use axum::{extract::State, response::Response};
use operation::Reply;
use serde::{Deserialize, Serialize};
use tenancy::OpContext;

use super::{Answer, nothing, ok_versioned, reply, tag};
use crate::{
    extract::{
        Caller, Id, IdempotencyKey, IfMatch, MaybeIfMatch, PageParameters, PageQuery, Paging,
        Parameters, named,
    },
    json::{Json, OptionalJson},
    problem::Problem,
    state::ApiState,
    wire::webhooks::{
        ChangeWebhook, CreateWebhook, Deliveries, ReplayEvents, RotateSecret, Webhook,
        WebhookDelivery, WebhookWithSecret,
    },
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/webhooks", &query).await?;
    let page = state.webhooks.list(&context, &paging.request).await?;
    Ok(paging.answer(page, Webhook::from))
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(new): Json<CreateWebhook>,
) -> Answer {
    proven(&state, &context).await?;
    Ok(shown(state.webhooks.create(&context, key, new.into()).await?))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    versioned(state.webhooks.one(&context, id).await?)
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IfMatch(expected): IfMatch,
    Json(change): Json<ChangeWebhook>,
) -> Answer {
    let change = change.try_into()?;
    proven(&state, &context).await?;
    versioned(state.webhooks.update(&context, (id, expected), change).await?)
}

pub(crate) async fn remove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    proven(&state, &context).await?;
    state.webhooks.delete(&context, (id, expected)).await?;
    nothing()
}

pub(crate) async fn rotate_secret(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IdempotencyKey(key): IdempotencyKey,
    MaybeIfMatch(expected): MaybeIfMatch,
    OptionalJson(rotation): OptionalJson<RotateSecret>,
) -> Answer {
    proven(&state, &context).await?;
    let wish = (id, expected, rotation.overlap_s);
    Ok(shown(state.webhooks.rotate_secret(&context, key, wish).await?))
}

pub(crate) async fn test(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IdempotencyKey(key): IdempotencyKey,
) -> Answer {
    proven(&state, &context).await?;
    Ok(counted(state.webhooks.test(&context, key, id).await?))
}

pub(crate) async fn replay(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IdempotencyKey(key): IdempotencyKey,
    Json(wish): Json<ReplayEvents>,
) -> Answer {
    let wish: Replay = wish.try_into()?;
    proven(&state, &context).await?;
    Ok(counted(state.webhooks.replay(&context, key, (id, wish)).await?))
}

/// The filter of deliveries.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryQuery {
    status: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for DeliveryQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}

pub(crate) async fn deliveries(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    Parameters(query): Parameters<DeliveryQuery>,
) -> Answer {
    // A cursor is of one webhook's list and no other's.
    let route = format!("/v1/webhooks/{id}/deliveries");
    let paging = Paging::of(&state, &context, &route, &query).await?;
    let status = named::<DeliveryStatus>("status", query.status.as_deref())?;
    let page = state.webhooks.deliveries(&context, (id, status), &paging.request).await?;
    Ok(paging.answer(page, WebhookDelivery::from))
}

/// Where a tenant's events go is said by whoever proved a factor of late.
async fn proven(state: &ApiState, context: &OpContext) -> Result<(), Problem> {
    Ok(state.identity.prove_for_settings(context).await?)
}

fn versioned(webhook: ::webhooks::Webhook) -> Answer {
    let version = webhook.version;
    ok_versioned(Webhook::from(webhook), version)
}

/// The one answer that holds the secret.
fn shown(issued: Issued) -> Response {
    let (version, secret) = (issued.reply.output.version, issued.secret);
    let mut response = reply(issued.reply, |webhook| WebhookWithSecret::of(webhook, secret));
    tag(&mut response, version);
    response
}

fn counted(done: Reply<Replayed>) -> Response {
    reply(done, Deliveries::from)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use super::DeliveryStatus;
    use crate::{
        openapi_parts::{Doc, one_of},
        wire::{
            List,
            webhooks::{
                ChangeWebhook, CreateWebhook, Deliveries, ReplayEvents, RotateSecret, Webhook,
                WebhookDelivery, WebhookWithSecret,
            },
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listWebhooks", "webhooks", "Where other systems are told, newest first")
            .paged()
            .answers::<List<Webhook>>(200, "A page of webhooks.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createWebhook", "webhooks", "Has another system told what happens")
            .describe(
                "From now on each event of these types is sent to `url` by POST, signed as Standard Webhooks has \
                 it: `webhook-id` (the same at every attempt and replay), `webhook-timestamp`, \
                 `webhook-signature`. The body is `type`, `timestamp` and `data` with the object, its `sequence` \
                 (the version it came to) and `values`; events of one object come in the order of their \
                 sequence. Whatever answers 2xx within 20 seconds has taken it; else it is tried ten times in \
                 three days. Nothing is sent to addresses that are not public, and no redirect is followed. The \
                 secret stands in this answer and nowhere else, ever: a repeated `Idempotency-Key` is answered \
                 without it. Only events of which the caller may read every object.",
            )
            .body::<CreateWebhook>(json!({
                "url": "https://hook.example/strongroom", "event_types": ["account.opened"],
            }))
            .idempotent()
            .answers::<WebhookWithSecret>(201, "The webhook with its secret.")
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(409, &["too_many_webhooks"])
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readWebhook", "webhooks", "One webhook")
            .answers::<Webhook>(200, "The webhook.")
            .etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeWebhook", "webhooks", "Changes where, of what and whether it is told")
            .describe(
                "What is enabled again, by `status` `active`, is told what happened since it stopped, as far as \
                 events are kept.",
            )
            .body::<ChangeWebhook>(json!({ "status": "disabled" }))
            .if_match()
            .answers::<Webhook>(200, "The webhook as it is now.")
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn remove() -> Doc {
        Doc::new("deleteWebhook", "webhooks", "Ends a webhook and forgets its deliveries")
            .answers_nothing("Ended.")
            .honours_if_match()
            .problem(403, &["permission_denied", "step_up_required"])
    }

    pub(crate) fn rotate_secret() -> Doc {
        Doc::new("rotateWebhookSecret", "webhooks", "Gives a webhook a new secret")
            .describe(
                "The secret before signs as well for `overlap_s`: a day, at most seven. Every message carries \
                 both signatures meanwhile.",
            )
            .body::<RotateSecret>(json!({ "overlap_s": 3_600 }))
            .body_optional()
            .idempotent()
            .honours_if_match()
            .answers::<WebhookWithSecret>(200, "The webhook with its new secret.")
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn test() -> Doc {
        Doc::new("testWebhook", "webhooks", "Sends an event of no consequence")
            .describe("Its type is `webhook.test`; what became of it stands among the deliveries.")
            .idempotent()
            .answers::<Deliveries>(202, "It will be sent.")
            .problem(403, &["permission_denied", "step_up_required"])
    }

    pub(crate) fn replay() -> Doc {
        Doc::new("replayWebhook", "webhooks", "Has events delivered again")
            .describe(
                "All from a position on, at most 10,000, or those named; under the ids that they had. Only \
                 events that the webhook was to be told, as far as they are kept (30 days).",
            )
            .body::<ReplayEvents>(json!({ "from_position": 4_711 }))
            .idempotent()
            .answers::<Deliveries>(202, "They will be sent.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["validation_failed", "event_unknown", "too_many_events"])
    }

    pub(crate) fn deliveries() -> Doc {
        let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str);
        Doc::new("listWebhookDeliveries", "webhooks", "What became of what a webhook was told")
            .paged()
            .query("status", one_of(statuses), "By standing.")
            .answers::<List<WebhookDelivery>>(200, "A page of deliveries, newest event first.")
    }
}
