//! Transfers between accounts.

use axum::extract::State;
use banking::TransferView;
use operation::Call;

use super::{Answer, ok, reply};
use crate::{
    extract::{Caller, Id, RequiredIdempotencyKey},
    json::Json,
    state::ApiState,
    wire::transfers::{Transfer, TransferOrder},
};

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Json(order): Json<TransferOrder>,
) -> Answer {
    let call = Call { context, idempotency_key: Some(key), command: order.checked()? };
    Ok(reply(state.operations.run_one(call).await?, Transfer::from))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(transfer_id): Id,
) -> Answer {
    let transfer = state.operations.read(&context, &TransferView { transfer_id }).await?;
    ok(Transfer::from(transfer))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            EXAMPLE_ID, OTHER_ID,
            transfers::{Transfer, TransferOrder},
        },
    };

    const PROBLEMS: &[&str] = &[
        "insufficient_funds",
        "not_found",
        "same_account",
        "invalid_amount",
        "amount_too_large",
        "currency_mismatch",
        "account_frozen",
        "account_closed",
        "validation_failed",
    ];

    pub(crate) fn create() -> Doc {
        Doc::new("createTransfer", "transfers", "Moves money from one account to another")
            .describe("An account that you cannot use is answered as one that does not exist: 422, with the field.")
            .body::<TransferOrder>(json!({
                "from_account_id": EXAMPLE_ID, "to_account_id": OTHER_ID, "amount": 2_500,
                "currency": "EUR", "description": "Rent",
            }))
            .moves_money()
            .answers::<Transfer>(201, "The transfer.")
            .problem(422, PROBLEMS)
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readTransfer", "transfers", "One movement")
            .answers::<Transfer>(200, "The movement.")
    }
}
