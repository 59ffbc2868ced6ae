//! Users: people who sign in.

use axum::extract::State;
use identity::UserFilter;
use serde::{Deserialize, Serialize};

use super::{Answer, ok, ok_versioned, reply, tag};
use crate::{
    extract::{Caller, Id, IdempotencyKey, IfMatch, PageParameters, Paging, Parameters},
    json::Json,
    state::ApiState,
    wire::{
        List,
        users::{ChangeUser, CreateUser, User, UserSummary},
    },
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserQuery {
    role: Option<String>,
    is_active: Option<bool>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

impl PageParameters for UserQuery {
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
    Parameters(query): Parameters<UserQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/users", &query).await?;
    let filter = UserFilter { role: query.role, is_active: query.is_active };
    let page = state.identity.users(&context, filter, &paging.request).await?;
    ok(List {
        data: page.data.into_iter().map(UserSummary::from).collect(),
        next_cursor: paging.cursor(page.next.as_deref()),
    })
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(new): Json<CreateUser>,
) -> Answer {
    let done = state.identity.create_user(&context, key, new.into()).await?;
    let version = done.output.version;
    let mut response = reply(done, User::from);
    tag(&mut response, version);
    Ok(response)
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    let user = state.identity.user(&context, id).await?;
    let version = user.version;
    ok_versioned(User::from(user), version)
}

pub(crate) async fn change(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    IfMatch(version): IfMatch,
    Json(change): Json<ChangeUser>,
) -> Answer {
    let user = state.identity.update_user(&context, id, version, change.into()).await?;
    let version = user.version;
    ok_versioned(User::from(user), version)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, boolean, text},
        wire::{
            List,
            users::{ChangeUser, CreateUser, User, UserSummary},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listUsers", "users", "Users, newest first")
            .describe("Without personal data. A customer sees themselves.")
            .query("role", text(), "Of this primary role.")
            .query("is_active", boolean(), "That may, or may not, sign in.")
            .paged()
            .answers::<List<UserSummary>>(200, "A page of users.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createUser", "users", "Makes a user")
            .body::<CreateUser>(json!({
                "username": "new.officer", "password": "as chosen", "role": "officer",
                "email": "new.officer@bank.example",
            }))
            .idempotent()
            .answers::<User>(201, "The user.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["username_taken", "email_taken"])
            .problem(422, &["validation_failed", "unknown_role", "referral_code_unknown"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readUser", "users", "One user").answers::<User>(200, "The user.").etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeUser", "users", "Changes, disables or enables a user")
            .body::<ChangeUser>(json!({ "is_active": false }))
            .if_match()
            .answers::<User>(200, "The user as they are now.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["email_taken"])
            .problem(422, &["validation_failed", "unknown_role", "confirmation_needed"])
    }
}
