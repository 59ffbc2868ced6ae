//! Transfers between accounts, one by one and in batches.

use access::Permission;
use axum::{Extension, extract::State};
use banking::{CreateTransfer, TransferView};
use operation::{Call, OperationError, RefusalKind, Reply};
use tenancy::OpContext;

use super::{Answer, ok, reply};
use crate::{
    MAXIMUM_BATCH_BYTES,
    extract::{Caller, Id, RequiredIdempotencyKey, UnsignedLimit},
    json::{Document, Json},
    problem::Problem,
    state::ApiState,
    wire::{
        batch::{self, BatchResult, BatchResults},
        transfers::{Transfer, TransferOrder},
    },
};

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    unsigned: Option<Extension<UnsignedLimit>>,
    Json(order): Json<TransferOrder>,
) -> Answer {
    let command = order.checked()?;
    if let Some(Extension(UnsignedLimit(limit))) = unsigned
        && command.amount > limit
    {
        return Err(state.identity.refuse_unsigned(&context).await.into());
    }
    let call = Call { context, idempotency_key: Some(key), command };
    Ok(reply(state.transfers.run_one(call).await?, Transfer::from))
}

/// A batch is one request to its limits, whatever it holds: they protect the server
/// from requests, and what a batch may hold is bounded.
pub(crate) async fn create_batch(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Document(body): Document<MAXIMUM_BATCH_BYTES>,
) -> Answer {
    let items = batch::read(&body)?;
    let mut results: Vec<Result<(), Problem>> = Vec::with_capacity(items.len());
    let mut calls = Vec::with_capacity(items.len());
    for item in items {
        results.push(item.map(|(key, command)| {
            let idempotency_key = Some(key);
            calls.push(Call { context: context.clone(), idempotency_key, command });
        }));
    }
    let mut outcomes = run(&state, &context, calls).await?.into_iter();
    let request_id = &context.request.id;
    let answer = |read: Result<(), Problem>| {
        if let Err(problem) = read {
            BatchResult::refused(&problem, request_id)
        } else {
            let outcome = outcomes.next().unwrap_or(Err(OperationError::Aborted));
            BatchResult::of(outcome, request_id)
        }
    };
    ok(BatchResults { results: results.into_iter().map(answer).collect() })
}

type Outcome = Result<Reply<banking::Transfer>, OperationError>;

/// Runs what could be read. What concerns the caller, or the database, and not single
/// items answers the whole request: no permission at all, a session that is over, an
/// outage.
async fn run(
    state: &ApiState,
    context: &OpContext,
    mut calls: Vec<Call<CreateTransfer>>,
) -> Result<Vec<Outcome>, Problem> {
    let denied = state.operations.scope(context, Permission::TransactionCreate).is_none();
    if denied {
        // One refusal to answer and to record, not a thousand.
        calls.truncate(1);
    }
    let mut outcomes = state.transfers.run(calls).await;
    let is_whole = |outcome: &Outcome| match outcome {
        Err(OperationError::Refused(refusal)) => {
            denied || refusal.kind == RefusalKind::Unauthenticated
        }
        Err(OperationError::Database(_) | OperationError::Aborted) => true,
        Ok(_) => false,
    };
    if outcomes.iter().all(is_whole)
        && let Some(Err(error)) = outcomes.pop()
    {
        return Err(error.into());
    }
    Ok(outcomes)
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
            batch::{self, BatchResults, TransferBatch},
            transfers::{Transfer, TransferOrder},
        },
    };

    const PROBLEMS: &[&str] = &[
        "insufficient_funds",
        "too_many_pending",
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
            .describe(
                "An account that you cannot use is answered as one that does not exist: 422, with the field. \
                 Over the tenant's ceiling the transfer is `pending_approval`: nothing has moved and nothing is \
                 kept back until a second person approves it, and the transfer then has the same id. \
                 Over the tenant's limit it is ordered with a proof of this payment \
                 (`POST /v1/auth/step-up/challenge`, then `POST /v1/auth/step-up`, both with the \
                 payment), which it uses up where it is made or ordered. Machines need none.",
            )
            .body::<TransferOrder>(json!({
                "from_account_id": EXAMPLE_ID, "to_account_id": OTHER_ID, "amount": 2_500,
                "currency": "EUR", "description": "Rent",
            }))
            .moves_money()
            .answers::<Transfer>(201, "The transfer, posted or waiting for approval.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, PROBLEMS)
    }

    pub(crate) fn create_batch() -> Doc {
        Doc::new("createTransferBatch", "transfers", "Up to 1,000 transfers, each for itself")
            .describe(
                "Each transfer has its own key, its own decision and its own answer, which is that of \
                 `POST /v1/transfers`; one refusal never touches its neighbours, and a key that stands twice \
                 replays the first. Keys are shared with single transfers; an `Idempotency-Key` header has no \
                 meaning here. A batch counts as one request to its limits.",
            )
            .body::<TransferBatch>(batch::example())
            .answers::<BatchResults>(200, "What became of each, in the order of the request.")
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readTransfer", "transfers", "One movement, posted or not")
            .describe("One that waits for approval is seen by the side that pays and by whoever ordered it.")
            .answers::<Transfer>(200, "The movement.")
    }
}
