//! Approvals: what waits for a second person, and their decision.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use banking::{
    ApprovalFilter, ApprovalKind, ApprovalList, ApprovalStatus, ApprovalView, ApproveRequest,
    RejectRequest,
};
use operation::{Call, Reply};
use serde::{Deserialize, Serialize};

use super::{Answer, ok, ok_versioned, reply, tag};
use crate::{
    extract::{Caller, Id, PageParameters, Paging, Parameters, RequiredIdempotencyKey, named},
    json::OptionalJson,
    state::ApiState,
    wire::{
        List,
        approvals::{Approval, Decision},
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
}

impl PageParameters for ApprovalQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
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
    ok(List {
        data: page.data.into_iter().map(Approval::from).collect(),
        next_cursor: paging.cursor(page.next.as_deref()),
    })
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
    OptionalJson(Decision { note }): OptionalJson<Decision>,
) -> Answer {
    let operations = state.operations.clone();
    let command = ApproveRequest { operations, approval_id, note };
    let call = Call { context, idempotency_key: Some(key), command };
    Ok(decided(state.operations.run_one(call).await?))
}

pub(crate) async fn reject(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(approval_id): Id,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    OptionalJson(Decision { note }): OptionalJson<Decision>,
) -> Answer {
    let command = RejectRequest { approval_id, note };
    let call = Call { context, idempotency_key: Some(key), command };
    Ok(decided(state.operations.run_one(call).await?))
}

fn decided(done: Reply<banking::Approval>) -> Response {
    let version = done.output.version;
    let mut response = reply(done, Approval::from);
    tag(&mut response, version);
    response.into_response()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use banking::{ApprovalKind, ApprovalStatus};
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, one_of},
        wire::{
            List,
            approvals::{Approval, Decision},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listApprovals", "approvals", "What waits for a second person, newest first")
            .describe(
                "Whoever reads all transactions sees all approvals; a customer sees what they have \
                 ordered and what is to be paid by accounts that they are a party to.",
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
        Doc::new("approve", "approvals", "Approves what waits, and does it")
            .describe(
                "Never by whoever ordered it, nor by a party to either account: 403 for every role. \
                 Nor by whoever gave the maker their role, or was given theirs by the maker, directly or \
                 through others (`not_independent`). \
                 Nothing was kept back while it waited: the ledger looks at the accounts and the funds \
                 now. What it refuses stays pending; repeat with another key when that is mended.",
            )
            .body::<Decision>(json!({ "note": "Checked with the customer by telephone" }))
            .body_optional()
            .moves_money()
            .answer_with(200, "The approval as it is now.", &Approval::approved_example())
            .etag()
            .problem(403, &["permission_denied", "not_independent"])
            .problem(
                422,
                &[
                    "approval_decided",
                    "approval_expired",
                    "approval_tampered",
                    "maker_not_permitted",
                    "insufficient_funds",
                    "amount_too_large",
                    "account_frozen",
                    "account_closed",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn reject() -> Doc {
        Doc::new("reject", "approvals", "Rejects what waits; nothing moves")
            .describe("Never by whoever ordered it, nor by a party to either account.")
            .body::<Decision>(json!({ "note": "The invoice is not known to the customer" }))
            .body_optional()
            .moves_money()
            .answer_with(200, "The approval as it is now.", &Approval::rejected_example())
            .etag()
            .problem(422, &["approval_decided", "approval_expired", "validation_failed"])
    }
}
