//! Accountants' work: journals, reversals, and movements with their entries.

use axum::extract::State;
use banking::MovementView;
use operation::Call;

use super::{Answer, ok, reply};
use crate::{
    extract::{Caller, Id, RequiredIdempotencyKey},
    json::{Json, OptionalJson},
    state::ApiState,
    wire::{
        postings::{Posting, PostingOrder, ReversalOrder},
        transfers::Transfer,
    },
};

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<PostingOrder>,
) -> Answer {
    let call = Call { context, idempotency_key: Some(key), command: order.checked()? };
    Ok(reply(state.operations.run_one(call).await?, Posting::from))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(transfer_id): Id,
) -> Answer {
    let movement = state.operations.read(&context, &MovementView { transfer_id }).await?;
    ok(Posting::from(movement))
}

pub(crate) async fn reverse(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(transaction_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(order): OptionalJson<ReversalOrder>,
) -> Answer {
    let command = order.of(transaction_id);
    let call = Call { context, idempotency_key: Some(key), command };
    Ok(reply(state.operations.run_one(call).await?, Transfer::from))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            EXAMPLE_ID,
            postings::{Posting, PostingOrder, ReversalOrder},
            transfers::Transfer,
        },
    };

    pub(crate) fn create() -> Doc {
        Doc::new("createPosting", "postings", "Books a journal of several legs, whole or not at all")
            .describe(
                "Legs name customers' accounts by id and the bank's own by name. Customers' accounts keep \
                 their floors. A journal that touches an account that you hold is denied. Above the limit \
                 from which transfers are proven, a second factor used within five minutes is due \
                 (`step_up_required`).",
            )
            .body::<PostingOrder>(json!({
                "currency": "EUR", "description": "Refund of a fee",
                "entries": [
                    { "internal_account": "fees", "amount": -500 },
                    { "account_id": EXAMPLE_ID, "amount": 500 },
                ],
            }))
            .moves_money()
            .problem(403, &["permission_denied", "step_up_required"])
            .answers::<Posting>(201, "The movement with its entries.")
            .problem(
                422,
                &[
                    "insufficient_funds",
                    "approval_required",
                    "not_found",
                    "entry_count",
                    "unbalanced",
                    "same_account",
                    "invalid_amount",
                    "amount_too_large",
                    "currency_mismatch",
                    "account_frozen",
                    "account_closed",
                    "value_date_in_future",
                    "value_date_before_opening",
                ],
            )
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readPosting", "postings", "One movement with its entries")
            .describe(
                "Of any kind. A customer sees the entries in their own accounts, and of a journal \
                 nothing but those, in the accounts' histories.",
            )
            .answers::<Posting>(200, "The movement with its entries.")
    }

    pub(crate) fn reverse() -> Doc {
        Doc::new("reverseTransaction", "postings", "Undoes a movement by a linked counter-movement")
            .describe(
                "The id is an entry's, or the movement's own. At most once; neither a reversal nor imported \
                 history is reversed. It needs the funds: money spent since is not taken by force. What lies \
                 above the tenant's ceiling, or was approved by a second person, is not reversed by one \
                 (`approval_required`). Above the limit from which transfers are proven, a second factor used \
                 within five minutes is due (`step_up_required`).",
            )
            .body::<ReversalOrder>(json!({ "reason": "Booked twice" }))
            .body_optional()
            .moves_money()
            .problem(403, &["permission_denied", "step_up_required"])
            .answers::<Transfer>(201, "The counter-movement.")
            .problem(
                422,
                &[
                    "already_reversed",
                    "not_reversible",
                    "approval_required",
                    "insufficient_funds",
                    "account_frozen",
                    "account_closed",
                    "amount_too_large",
                    "value_date_in_future",
                    "value_date_before_original",
                ],
            )
    }
}
