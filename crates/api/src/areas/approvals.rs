//! Approvals: what waits for a second person, and their decision.

use access::Permission;
use approvals::{Approval as Stored, ApprovalKind, ApprovalStatus, kind_of};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use banking::{ApprovalFilter, ApprovalList, ApprovalView, ApproveRequest, RejectRequest};
use operation::{Call, OperationError, RefusalKind, Reply};
use serde::{Deserialize, Serialize};
use tenancy::{ActorKind, OpContext};

use super::{Answer, ok, ok_versioned, reply, tag};
use crate::{
    extract::{Caller, Id, PageParameters, Paging, Parameters, RequiredIdempotencyKey, named},
    json::{Json, OptionalJson},
    state::ApiState,
    wire::approvals::{
        Approval, DecidedOne, Decision, DecisionResult, DecisionResults, Decisions, Verdict,
    },
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalQuery {
    status: Option<String>,
    kind: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for ApprovalQuery {
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
    Parameters(query): Parameters<ApprovalQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/approvals", &query).await?;
    let filter = ApprovalFilter {
        status: named::<ApprovalStatus>("status", query.status.as_deref())?,
        kind: named::<ApprovalKind>("kind", query.kind.as_deref())?,
    };
    let view = ApprovalList { filter, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    Ok(paging.answer(page, Approval::from))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(approval_id): Id,
) -> Answer {
    let approval = state.operations.read(&context, &ApprovalView { approval_id }).await?;
    let version = approval.version;
    ok_versioned(Approval::from(approval), version)
}

pub(crate) async fn approve(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(approval_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(Decision { note, payload_hash }): OptionalJson<Decision>,
) -> Answer {
    let said = approvals::Decision { approval_id, payload_hash, note };
    Ok(decided(decide(&state, context, (Verdict::Approve, said), key).await?))
}

pub(crate) async fn reject(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(approval_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(Decision { note, payload_hash }): OptionalJson<Decision>,
) -> Answer {
    let said = approvals::Decision { approval_id, payload_hash, note };
    Ok(decided(decide(&state, context, (Verdict::Reject, said), key).await?))
}

/// One decision on many orders, one after the other: each has its own key, its own answer and
/// its own record, and one that is refused stops no other.
pub(crate) async fn decide_many(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(wish): Json<Decisions>,
) -> Answer {
    let mut orders = wish.checked()?;
    // A machine decides nothing, whatever its role may.
    let is_denied = context.actor.kind != ActorKind::User
        || state.operations.scope(&context, Permission::TransactionApprove).is_none();
    if is_denied {
        // One refusal to answer and to record, not a hundred.
        orders.truncate(1);
    }
    let mut results = Vec::with_capacity(orders.len());
    for (order, key) in orders {
        let outcome = decide_one(&state, &context, (&wish, order), key).await;
        match outcome {
            Err(error) if is_denied || concerns_the_caller(&error) => return Err(error.into()),
            outcome => results.push(DecisionResult::of(outcome, &context.request.id)),
        }
    }
    ok(DecisionResults { results })
}

async fn decide_one(
    state: &ApiState,
    context: &OpContext,
    (wish, order): (&Decisions, &DecidedOne),
    key: String,
) -> Result<Reply<Stored>, OperationError> {
    let (note, payload_hash) = (wish.note.clone(), order.payload_hash.clone());
    let said = approvals::Decision { approval_id: order.id, payload_hash, note };
    decide(state, context.clone(), (wish.decision, said), key).await
}

/// At the desk of its kind; what the tenant does not have is nobody's, and a transfer's to miss.
async fn decide(
    state: &ApiState,
    context: OpContext,
    (verdict, said): (Verdict, approvals::Decision),
    key: String,
) -> Result<Reply<Stored>, OperationError> {
    let operations = state.operations.clone();
    let kind = kind_of(&operations, &context, said.approval_id).await?;
    let idempotency_key = Some(key);
    if kind == Some(ApprovalKind::RoleGrant) {
        return match verdict {
            Verdict::Approve => {
                state.identity.approve_role_grant(&context, idempotency_key, said).await
            }
            Verdict::Reject => {
                state.identity.reject_role_grant(&context, idempotency_key, said).await
            }
        };
    }
    let approvals::Decision { approval_id, payload_hash, note } = said;
    match verdict {
        Verdict::Approve => {
            let command = ApproveRequest { operations, approval_id, payload_hash, note };
            state.operations.run_one(Call { context, idempotency_key, command }).await
        }
        Verdict::Reject => {
            let command = RejectRequest { approval_id, payload_hash, note };
            state.operations.run_one(Call { context, idempotency_key, command }).await
        }
    }
}

/// A session that is over is so for every order. What was decided before stays decided, and is
/// answered again under its key.
fn concerns_the_caller(error: &OperationError) -> bool {
    match error {
        OperationError::Refused(refusal) => refusal.kind == RefusalKind::Unauthenticated,
        _ => true,
    }
}

fn decided(done: Reply<Stored>) -> Response {
    let version = done.output.version;
    let mut response = reply(done, Approval::from);
    tag(&mut response, version);
    response.into_response()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use approvals::{ApprovalKind, ApprovalStatus};
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, one_of},
        wire::{
            EXAMPLE_ID, List,
            approvals::{Approval, Decision, DecisionResults, Decisions},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listApprovals", "approvals", "What waits for a second person, newest first")
            .describe(
                "Whoever reads all transactions sees all approvals of transfers; a customer sees what they have \
                 ordered and what is to be paid by accounts that they are a party to. Roles that somebody \
                 would get are shown to them, to whoever asked for it, and to whoever reads everybody.",
            )
            .query(
                "status",
                one_of(ApprovalStatus::ALL.iter().map(|status| status.as_str())),
                "In this status.",
            )
            .query(
                "kind",
                one_of(ApprovalKind::ALL.iter().map(|kind| kind.as_str())),
                "Of this kind.",
            )
            .paged()
            .answers::<List<Approval>>(200, "A page of approvals.")
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readApproval", "approvals", "One approval")
            .answers::<Approval>(200, "The approval.")
            .etag()
    }

    pub(crate) fn approve() -> Doc {
        Doc::new("approve", "approvals", "Approves what waits, and does it when enough have agreed")
            .describe(
                "It stays `pending` until `required` others have agreed, each of them independent of the \
                 rest. Never by whoever ordered it, nor by a party to either account: 403 for every role. \
                 Nor by whoever gave the maker their role, or was given theirs by the maker, directly or \
                 through others (`not_independent`). \
                 Nothing was kept back while it waited: the ledger looks at the accounts and the funds \
                 now. What it refuses stays pending; repeat with another key when that is mended. \
                 Roles (`role_grant`) are decided under `user:update`, by whoever could give them \
                 (`privilege_escalation`), never by the person who gets them, and given as long as that \
                 person still holds what they held (`roles_changed`).",
            )
            .body::<Decision>(json!({ "note": "Checked with the customer by telephone" }))
            .body_optional()
            .moves_money()
            .answer_with(200, "The approval as it is now.", &Approval::approved_example())
            .etag()
            .problem(403, &["permission_denied", "not_independent", "privilege_escalation"])
            .problem(412, &["approval_changed"])
            .problem(
                422,
                &[
                    "approval_decided",
                    "approval_expired",
                    "approval_tampered",
                    "already_approved",
                    "maker_not_permitted",
                    "roles_changed",
                    "last_administrator",
                    "insufficient_funds",
                    "amount_too_large",
                    "account_frozen",
                    "account_closed",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn decide_many() -> Doc {
        Doc::new("decideApprovals", "approvals", "Decides up to 100 orders, each for itself")
            .describe(
                "Each order has its own key, its own decision and its own answer, which is that of the route of the \
                 one; one refusal never touches its neighbours. They are decided one after the other, in \
                 the order of the request. Keys are shared with single decisions; an `Idempotency-Key` header \
                 has no meaning here.",
            )
            .body::<Decisions>(json!({
                "decision": "approve", "note": "Checked against the list of invoices",
                "approvals": [{ "id": EXAMPLE_ID, "payload_hash": "9f2c7a5e".repeat(8), "idempotency_key": "run-7-1" }],
            }))
            .answers::<DecisionResults>(200, "What became of each, in the order of the request.")
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn reject() -> Doc {
        Doc::new("reject", "approvals", "Rejects what waits; nothing moves")
            .describe(
                "Never by whoever ordered it, nor by a party to either account, nor by the person who would \
                 get the roles.",
            )
            .body::<Decision>(json!({ "note": "The invoice is not known to the customer" }))
            .body_optional()
            .moves_money()
            .answer_with(200, "The approval as it is now.", &Approval::rejected_example())
            .etag()
            .problem(412, &["approval_changed"])
            .problem(422, &["approval_decided", "approval_expired", "validation_failed"])
    }
}
