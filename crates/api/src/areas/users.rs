//! Users: people who sign in.

use axum::extract::State;
use identity::UserFilter;
use serde::{Deserialize, Serialize};

use super::{Answer, nothing, ok, ok_versioned, reply, tag};
use crate::{
    extract::{
        Caller, Id, IdempotencyKey, IfMatch, MaybeIfMatch, PageParameters, PageQuery, Paging,
        Parameters,
    },
    json::{Json, OptionalJson},
    state::ApiState,
    wire::{
        auth::{Nothing, Session, SignedOut},
        users::{ChangeUser, CreateUser, EndSessions, LockUser, User, UserSummary},
    },
};

/// The filters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserQuery {
    role: Option<String>,
    is_active: Option<bool>,
    email: Option<String>,
    username: Option<String>,
    deleted: Option<bool>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for UserQuery {
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
    Parameters(query): Parameters<UserQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/users", &query).await?;
    let filter = UserFilter {
        role: query.role,
        is_active: query.is_active,
        email: query.email,
        username: query.username,
        deleted: query.deleted.unwrap_or_default(),
    };
    let page = state.identity.users(&context, filter, &paging.request).await?;
    Ok(paging.answer(page, UserSummary::from))
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

pub(crate) async fn remove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(version): MaybeIfMatch,
) -> Answer {
    state.identity.delete_user(&context, id, version).await?;
    nothing()
}

pub(crate) async fn restore(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(version): MaybeIfMatch,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    versioned(state.identity.restore_user(&context, id, version).await?)
}

pub(crate) async fn lock(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(version): MaybeIfMatch,
    Json(lock): Json<LockUser>,
) -> Answer {
    versioned(state.identity.lock_user(&context, id, version, lock.reason.into()).await?)
}

pub(crate) async fn unlock(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(version): MaybeIfMatch,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    versioned(state.identity.unlock_user(&context, id, version).await?)
}

fn versioned(user: identity::UserRecord) -> Answer {
    let version = user.version;
    ok_versioned(User::from(user), version)
}

pub(crate) async fn sessions(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let route = format!("/v1/users/{id}/sessions");
    let paging = Paging::of(&state, &context, &route, &query).await?;
    let page = state.identity.sessions_of(&context, id, &paging.request).await?;
    Ok(paging.answer(page, Session::from))
}

pub(crate) async fn end_sessions(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    OptionalJson(body): OptionalJson<EndSessions>,
) -> Answer {
    let ended = state.identity.end_sessions_of(&context, id, body.session_id).await?;
    ok(SignedOut { ended })
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, boolean, text},
        wire::{
            List,
            auth::{Nothing, Session, SignedOut},
            users::{ChangeUser, CreateUser, EndSessions, LockUser, User, UserSummary},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listUsers", "users", "Users, newest first")
            .describe("Without personal data. A customer sees themselves.")
            .query("role", text(), "Of this primary role.")
            .query("is_active", boolean(), "That may, or may not, sign in.")
            .query(
                "email",
                text(),
                "With this e-mail address, in any case of letters; the search is recorded.",
            )
            .query(
                "username",
                text(),
                "Whose user name begins so, in any case of letters; the search is recorded.",
            )
            .query("deleted", boolean(), "Those who were deleted, instead of those who were not.")
            .paged()
            .answers::<List<UserSummary>>(200, "A page of users.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createUser", "users", "Makes a user")
            .describe(
                "Where the tenant's policy demands it (`role_grant_approvals`), a role that reaches beyond \
                 its holder's own waits for others: `pending_roles` says which approval. Until then they \
                 hold the least role there is.",
            )
            .body::<CreateUser>(json!({
                "username": "new.officer", "password": "as chosen", "role": "officer",
                "email": "new.officer@bank.example",
            }))
            .idempotent()
            .answers::<User>(201, "The user.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["username_taken", "email_taken"])
            .problem(
                422,
                &[
                    "validation_failed",
                    "unknown_role",
                    "referral_code_unknown",
                    "approval_required",
                    "too_many_pending",
                ],
            )
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readUser", "users", "One user").answers::<User>(200, "The user.").etag()
    }

    pub(crate) fn change() -> Doc {
        Doc::new("changeUser", "users", "Changes, disables or enables a user")
            .describe(
                "Where the tenant's policy demands it (`role_grant_approvals`), a role that reaches beyond \
                 its holder's own waits for others: `pending_roles` says which approval. The rest of \
                 the change is made at once, and so are roles that are only taken away.",
            )
            .body::<ChangeUser>(json!({ "is_active": false }))
            .if_match()
            .answers::<User>(200, "The user as they are now.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["email_taken"])
            .problem(
                422,
                &[
                    "validation_failed",
                    "unknown_role",
                    "last_administrator",
                    "confirmation_needed",
                    "too_many_pending",
                ],
            )
    }

    pub(crate) fn remove() -> Doc {
        Doc::new("deleteUser", "users", "Deletes a user and shreds their personal data")
            .describe(
                "Their key is destroyed: e-mail, phone, name, passwords, factors, devices and sessions are \
                 gone at once and for good. The id and the user name stay, so that records still say who \
                 acted; nobody else can take the name.",
            )
            .answers_nothing("Deleted.")
            .problem(403, &["permission_denied", "own_account", "privilege_escalation"])
            .honours_if_match()
            .problem(422, &["last_administrator"])
    }

    pub(crate) fn restore() -> Doc {
        Doc::new("restoreUser", "users", "Restores a deleted user's name and roles")
            .describe(
                "What was shredded stays shredded: they need an address, and an invitation or a password. \
                 404 where nobody of that id is deleted.",
            )
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<User>(200, "The user.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation"])
            .honours_if_match()
    }

    pub(crate) fn lock() -> Doc {
        Doc::new("lockUser", "users", "Locks an account until it is unlocked")
            .describe(
                "Its password opens nothing, its sessions and tokens end at once. No lock blocks the \
                 owner's passkey; to keep somebody out altogether, disable them.",
            )
            .body::<LockUser>(json!({ "reason": "suspected_fraud" }))
            .answers::<User>(200, "The user as they are now.")
            .etag()
            .problem(403, &["permission_denied", "own_account", "privilege_escalation"])
            .honours_if_match()
            .problem(422, &["last_administrator"])
    }

    pub(crate) fn unlock() -> Doc {
        Doc::new("unlockUser", "users", "Unlocks an account and forgets its failed sign-ins")
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<User>(200, "The user as they are now.")
            .etag()
            .problem(403, &["permission_denied", "own_account", "privilege_escalation"])
            .honours_if_match()
    }

    pub(crate) fn sessions() -> Doc {
        Doc::new("listUserSessions", "users", "Somebody's live sessions, newest first")
            .paged()
            .answers::<List<Session>>(200, "A page of sessions.")
    }

    pub(crate) fn end_sessions() -> Doc {
        Doc::new("endUserSessions", "users", "Ends somebody's sessions, or one of them")
            .body::<EndSessions>(json!({}))
            .body_optional()
            .answers::<SignedOut>(200, "How many ended.")
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(422, &["not_found"])
    }
}
