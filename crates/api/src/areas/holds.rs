//! Holds: keeping money back, paying out of it, letting it go.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use banking::{HoldFilter, HoldList, HoldStatus, HoldView, ReleaseHold};
use operation::{Call, Reply};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, ok_versioned, reply, tag};
use crate::{
    extract::{Caller, Id, PageParameters, Paging, Parameters, RequiredIdempotencyKey, named},
    json::{Json, OptionalJson},
    state::ApiState,
    wire::{
        auth::Nothing,
        holds::{CaptureOrder, Hold, HoldOrder},
    },
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldQuery {
    account_id: Option<Uuid>,
    status: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for HoldQuery {
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

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<HoldQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/holds", &query).await?;
    let filter = HoldFilter {
        account_id: query.account_id,
        status: named::<HoldStatus>("status", query.status.as_deref())?,
    };
    let view = HoldList { filter, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    Ok(paging.answer(page, Hold::from))
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<HoldOrder>,
) -> Answer {
    let call = Call { context, idempotency_key: Some(key), command: order.checked()? };
    Ok(versioned(state.holds.authorisations.run_one(call).await?))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(hold_id): Id,
) -> Answer {
    let hold = state.operations.read(&context, &HoldView { hold_id }).await?;
    let version = hold.version;
    ok_versioned(Hold::from(hold), version)
}

pub(crate) async fn capture(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(hold_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(order): OptionalJson<CaptureOrder>,
) -> Answer {
    let call = Call { context, idempotency_key: Some(key), command: order.of(hold_id) };
    Ok(versioned(state.holds.captures.run_one(call).await?))
}

pub(crate) async fn release(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(hold_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    let call = Call { context, idempotency_key: Some(key), command: ReleaseHold { hold_id } };
    Ok(versioned(state.operations.run_one(call).await?))
}

fn versioned<T: Into<Hold>>(done: Reply<T>) -> Response {
    let Reply { output, status, replayed } = done;
    let hold: Hold = output.into();
    let version = hold.version;
    let mut response = reply(Reply { output: hold, status, replayed }, |hold| hold);
    tag(&mut response, version);
    response.into_response()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use banking::HoldStatus;
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, one_of, uuid},
        wire::{
            EXAMPLE_ID, List, OTHER_ID,
            auth::Nothing,
            holds::{CaptureOrder, Hold, HoldOrder},
        },
    };

    const ENDED: [&str; 3] = ["hold_captured", "hold_released", "hold_expired"];

    pub(crate) fn list() -> Doc {
        Doc::new("listHolds", "holds", "Holds, newest first")
            .describe("A customer sees the holds on accounts that they are a party to.")
            .query("account_id", uuid(), "Kept back on this account.")
            .query(
                "status",
                one_of(HoldStatus::ALL.iter().map(|status| status.as_str())),
                "In this status.",
            )
            .paged()
            .answers::<List<Hold>>(200, "A page of holds.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createHold", "holds", "Keeps money back on an account")
            .describe(
                "What is held is no longer available, and stays on the balance until it is captured. \
                 Whom it may be paid to is said here and never again. Above the tenant's ceiling it is \
                 refused (422, `approval_required`): a hold cannot wait for a second person yet.",
            )
            .body::<HoldOrder>(json!({
                "account_id": EXAMPLE_ID, "to_account_id": OTHER_ID, "amount": 20_000,
                "currency": "EUR", "description": "Hotel deposit",
            }))
            .moves_money()
            .answers::<Hold>(201, "The hold.")
            .etag()
            .problem(
                422,
                &[
                    "insufficient_funds",
                    "approval_required",
                    "not_found",
                    "same_account",
                    "invalid_amount",
                    "amount_too_large",
                    "currency_mismatch",
                    "account_frozen",
                    "account_closed",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readHold", "holds", "One hold").answers::<Hold>(200, "The hold.").etag()
    }

    pub(crate) fn capture() -> Doc {
        Doc::new("captureHold", "holds", "Pays out of a hold, to whom it was promised")
            .describe(
                "Neither of a hold's sides may capture it, nor, where it lies above a ceiling that was \
                 lowered since, whoever authorised it (422, `approval_required`). A frozen account pays \
                 nothing out until it is active again; repeat with another key.",
            )
            .body::<CaptureOrder>(json!({ "amount": 12_500, "final": true }))
            .body_optional()
            .moves_money()
            .answer_with(200, "The hold as it is now.", &Hold::captured_example())
            .etag()
            .problem(
                422,
                &[
                    "capture_exceeds_hold",
                    "approval_required",
                    ENDED[0],
                    ENDED[1],
                    ENDED[2],
                    "invalid_amount",
                    "amount_too_large",
                    "account_frozen",
                    "account_closed",
                ],
            )
    }

    pub(crate) fn release() -> Doc {
        Doc::new("releaseHold", "holds", "Returns what is left of a hold to its account")
            .describe("Neither of a hold's sides may release it.")
            .body::<Nothing>(json!({}))
            .body_optional()
            .moves_money()
            .answer_with(200, "The hold as it is now.", &Hold::released_example())
            .etag()
            .problem(422, &ENDED)
    }
}
