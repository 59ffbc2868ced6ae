//! Roles: the blueprint's, and those that a tenant makes for itself.

use axum::{
    Json as Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;

use super::{Answer, nothing, ok_versioned, tag};
use crate::{
    extract::{Caller, Id, IfMatch, MaybeIfMatch, PageQuery, Paging, Parameters},
    json::Json,
    state::ApiState,
    wire::roles::{ChangeRole, CreateRole, Role},
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/roles", &query).await?;
    let page = state.identity.roles(&context, &paging.request).await?;
    Ok(paging.answer(page, Role::from))
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(new): Json<CreateRole>,
) -> Answer {
    let role = state.identity.create_role(&context, None, new.into()).await?;
    Ok(made(role))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    let role = state.identity.role(&context, id).await?;
    let version = role.version;
    ok_versioned(Role::from(role), version)
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IfMatch(version): IfMatch,
    Json(change): Json<ChangeRole>,
) -> Answer {
    let role = state.identity.change_role(&context, (id, version), change.into()).await?;
    let version = role.version;
    ok_versioned(Role::from(role), version)
}

pub(crate) async fn remove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    state.identity.delete_role(&context, (id, expected)).await?;
    nothing()
}

fn made(role: identity::RoleRecord) -> Response {
    let version = role.version;
    let mut response = (StatusCode::CREATED, Body(Role::from(role))).into_response();
    tag(&mut response, version);
    response
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            roles::{ChangeRole, CreateRole, Role},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listRoles", "roles", "The tenant's roles, by name")
            .describe("Those of its blueprint, in the words of custom ones, and its own.")
            .paged()
            .answers::<List<Role>>(200, "A page of roles.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createRole", "roles", "Makes a custom role")
            .describe(
                "A permission is `resource:action[:scope]` with `*` for every action; scopes are \
                 `own`, `own_tenant` (also meant where none is named), `own_org` and \
                 `assigned_companies`. Conditions hold together, beside the scope, and stay with \
                 their permission. A role holds no more than its maker does under any \
                 circumstances, and never what is the platform's. People are given it as any \
                 other role. A second factor used within five minutes is due.",
            )
            .body::<CreateRole>(json!({
                "name": "night_desk",
                "permissions": [
                    { "permission": "account:read" },
                    { "permission": "transaction:deposit", "conditions": {
                        "amount_max": { "amount": 100_000, "currency": "EUR" },
                        "business_hours": {
                            "time_zone": "Europe/Prague", "days": ["mon", "fri"],
                            "from": "18:00", "to": "24:00",
                        },
                    } },
                ],
            }))
            .answers::<Role>(201, "The role.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation", "step_up_required"])
            .problem(409, &["role_exists"])
            .problem(422, &["validation_failed", "too_many_roles"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readRole", "roles", "One role").answers::<Role>(200, "The role.").etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeRole", "roles", "Has a custom role do something else")
            .describe(
                "In force with the answer: writes are decided by it, and whoever holds it signs \
                 in anew. Nobody changes a role that they hold.",
            )
            .body::<ChangeRole>(json!({ "permissions": [{ "permission": "account:read" }] }))
            .if_match()
            .answers::<Role>(200, "The role as it is now.")
            .etag()
            .problem(
                403,
                &["permission_denied", "own_role", "privilege_escalation", "step_up_required"],
            )
            .problem(422, &["validation_failed", "system_role", "approval_required"])
    }

    pub(crate) fn remove() -> Doc {
        Doc::new("deleteRole", "roles", "Ends a custom role that nobody holds")
            .answers_nothing("Ended.")
            .honours_if_match()
            .problem(
                403,
                &["permission_denied", "own_role", "privilege_escalation", "step_up_required"],
            )
            .problem(409, &["role_in_use"])
            .problem(422, &["system_role"])
    }
}
