//! The tenant's settings, and changes of its security policy, which two people make.

use access::{Permission, Resource, Scope};
use axum::{extract::State, response::IntoResponse as _};
use identity::{Identity, PolicyChangeFilter, PolicyChangeStatus, PolicyWish};
use operation::{Found, View, read::ViewFailure};
use serde::{Deserialize, Serialize};
use tenancy::{Database, OpContext, policy::SecurityPolicy};

use super::{Answer, ok_versioned, reply, tag};
use crate::{
    extract::{
        Caller, Id, IdempotencyKey, MaybeIfMatch, PageParameters, Paging, Parameters, named,
    },
    json::{Json, OptionalJson},
    problem::Problem,
    state::ApiState,
    wire::{
        approvals::Remark,
        settings::{PolicyChange, RequestPolicyChange, Settings},
    },
};

pub(crate) async fn read(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let view = ReadSettings(state.identity.clone());
    let (policy, version) = state.operations.read(&context, &view).await?;
    ok_versioned(Settings::of(&context.tenant, (&policy, version)), version)
}

struct ReadSettings(Identity);

impl View for ReadSettings {
    const NAME: &'static str = "settings.read";
    const RESOURCE: &'static str = "settings";
    type Output = (SecurityPolicy, i64);

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        _: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let value = self.0.stored_policy(context).await?;
        Ok(Found::Object { value, resource: Resource::for_permission(self.permission(), None) })
    }
}

/// The filter of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeQuery {
    status: Option<String>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for ChangeQuery {
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

pub(crate) async fn changes(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<ChangeQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/settings/policy/changes", &query).await?;
    let status = named::<PolicyChangeStatus>("status", query.status.as_deref())?;
    let filter = PolicyChangeFilter { status };
    let page = state.identity.policy_changes(&context, filter, &paging.request).await?;
    Ok(paging.answer(page, PolicyChange::from))
}

pub(crate) async fn request_change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    IdempotencyKey(key): IdempotencyKey,
    MaybeIfMatch(version): MaybeIfMatch,
    Json(body): Json<RequestPolicyChange>,
) -> Answer {
    let wish = match (body.policy, body.patch) {
        (Some(policy), None) => PolicyWish::Whole(policy),
        (None, Some(patch)) => PolicyWish::Patch(patch),
        _ => {
            let message = "Send the whole policy or a patch of it, one of the two";
            return Err(Problem::malformed_field("policy", "invalid_value", message));
        }
    };
    let note = body.note.as_deref();
    let done = state.identity.request_policy_change(&context, key, (wish, version), note).await?;
    let version = done.output.version;
    let mut response = reply(done, PolicyChange::from);
    tag(&mut response, version);
    Ok(response.into_response())
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    versioned(state.identity.policy_change(&context, id).await?)
}

pub(crate) async fn approve_change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    OptionalJson(Remark { note }): OptionalJson<Remark>,
) -> Answer {
    versioned(state.identity.approve_policy_change(&context, id, note.as_deref()).await?)
}

pub(crate) async fn reject_change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    OptionalJson(Remark { note }): OptionalJson<Remark>,
) -> Answer {
    versioned(state.identity.reject_policy_change(&context, id, note.as_deref()).await?)
}

fn versioned(change: identity::PolicyChange) -> Answer {
    let version = change.version;
    ok_versioned(PolicyChange::from(change), version)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use identity::PolicyChangeStatus;
    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, one_of},
        wire::{
            List,
            approvals::Remark,
            settings::{PolicyChange, RequestPolicyChange, Settings},
        },
    };

    pub(crate) fn read() -> Doc {
        Doc::new("readSettings", "settings", "The tenant's settings and security policy")
            .answers::<Settings>(200, "The settings.")
            .etag()
    }

    pub(crate) fn changes() -> Doc {
        Doc::new("listPolicyChanges", "settings", "Changes of the security policy, newest first")
            .query(
                "status",
                one_of(PolicyChangeStatus::ALL.iter().map(|status| status.as_str())),
                "In this status.",
            )
            .paged()
            .answers::<List<PolicyChange>>(200, "A page of changes.")
    }

    pub(crate) fn request_change() -> Doc {
        Doc::new("requestPolicyChange", "settings", "Asks for a change of the security policy")
            .describe(
                "Send the whole policy, or a JSON merge patch (RFC 7396) of it; null removes what may be \
                 absent. Another administrator has to agree within seven days, and nobody may have changed \
                 the policy meanwhile. Every fault is named under its path. `If-Match` with the ETag of the \
                 settings is honoured where it is sent.",
            )
            .body::<RequestPolicyChange>(json!({
                "patch": { "session": { "concurrent_limit": 3 } }, "note": "After the audit of May",
            }))
            .idempotent()
            .answers::<PolicyChange>(201, "The change, which waits.")
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .honours_if_match()
            .problem(422, &["validation_failed", "nothing_changes", "too_many_pending"])
    }

    pub(crate) fn change() -> Doc {
        Doc::new("readPolicyChange", "settings", "One change of the security policy")
            .answers::<PolicyChange>(200, "The change.")
            .etag()
    }

    pub(crate) fn approve_change() -> Doc {
        Doc::new("approvePolicyChange", "settings", "Agrees to a change, which is then the policy")
            .describe(
                "Never by whoever asked for it: 403 for every role. Nor by whoever gave the maker their \
                 role, or was given theirs by the maker (`not_independent`). Obeyed within a second.",
            )
            .body::<Remark>(json!({ "note": "As agreed" }))
            .body_optional()
            .answer_with(200, "The change as it is now.", &PolicyChange::approved_example())
            .etag()
            .problem(403, &["permission_denied", "step_up_required", "not_independent"])
            .problem(409, &["policy_changed"])
            .problem(
                422,
                &[
                    "change_decided",
                    "change_expired",
                    "change_tampered",
                    "maker_not_permitted",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn reject_change() -> Doc {
        Doc::new("rejectPolicyChange", "settings", "Rejects a change of the security policy")
            .describe("Never by whoever asked for it: 403 for every role.")
            .body::<Remark>(json!({ "note": "Too short for our people abroad" }))
            .body_optional()
            .answer_with(200, "The change as it is now.", &PolicyChange::rejected_example())
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["change_decided", "change_expired", "validation_failed"])
    }
}
