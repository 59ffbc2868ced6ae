//! Passwords changed, forgotten and set by link; invitations; addresses proven and changed.
//!
//! What anybody may ask counts itself as a sign-in does: under the name or the token
//! tried, and the address.

use std::sync::Arc;

use axum::{
    Json as Answered,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use identity::{ForgottenPassword, Link, PasswordTried};
use serde::Serialize;
use tenancy::RequestInfo;

use super::{
    Answer,
    auth::{limited_in, tenant_hinted, tenant_named},
    nothing, ok,
};
use crate::{
    extract::{Caller, Id, PageQuery, Paging, Parameters, Source},
    json::{Json, OptionalJson},
    problem::Problem,
    route::Class,
    state::ApiState,
    wire::{
        auth::Nothing,
        recovery::{
            Accepted, ChangePassword, ForgotPassword, Invitation, Invite, LinkSent, NewEmail,
            NewPhone, PasswordAdvice, PasswordByLink, PhoneChallenge, Referral, Register,
            TryPassword, VerifyEmail, VerifyPhone,
        },
    },
};

pub(crate) async fn forgot_password(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<ForgotPassword>,
) -> Answer {
    let tenant = tenant_named(&state, body.tenant.as_deref()).await?;
    let tried = hotstate::limits::tried_name(&body.username);
    let request = ForgottenPassword { tenant: body.tenant, username: body.username };
    let asking = state.identity.forgot_password(request, Arc::clone(&source));
    let answer = async {
        asking.await?;
        Ok(accepted(Accepted { accepted: true }))
    };
    limited_in(Class::Auth, &state, (&source, tenant), &tried, Box::pin(answer)).await
}

pub(crate) async fn register(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(form): Json<Register>,
) -> Answer {
    let tenant = tenant_named(&state, form.tenant()).await?;
    let tried = hotstate::limits::tried_name(&form.email);
    let registering = state.identity.register(form.into(), Arc::clone(&source));
    let answer = async {
        registering.await?;
        Ok(accepted(Accepted { accepted: true }))
    };
    limited_in(Class::Auth, &state, (&source, tenant), &tried, Box::pin(answer)).await
}

pub(crate) async fn reset_password(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<PasswordByLink>,
) -> Answer {
    by_link(&state, &source, Link::Reset, body).await
}

pub(crate) async fn accept_invitation(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<PasswordByLink>,
) -> Answer {
    by_link(&state, &source, Link::Invite, body).await
}

async fn by_link(
    state: &ApiState,
    source: &Arc<RequestInfo>,
    link: Link,
    body: PasswordByLink,
) -> Answer {
    let tenant = tenant_hinted(state, &body.token).await?;
    let tried = body.token.clone();
    let request = body.into_request(link);
    let setting = state.identity.set_password_by_link(request, Arc::clone(source));
    let answer = async {
        setting.await?;
        nothing()
    };
    limited_in(Class::Auth, state, (source, tenant), &tried, Box::pin(answer)).await
}

pub(crate) async fn change_password(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<ChangePassword>,
) -> Answer {
    state.identity.change_password(&context, body.into()).await?;
    nothing()
}

pub(crate) async fn try_password(
    State(state): State<ApiState>,
    Json(body): Json<TryPassword>,
) -> Answer {
    let tenant = tenant_named(&state, body.tenant.as_deref()).await?;
    let tenant = tenant.ok_or_else(Problem::not_found)?;
    let names = [body.username, body.email].into_iter().flatten().collect();
    let tried = PasswordTried { password: body.password.into(), names };
    ok(PasswordAdvice::from(state.identity.advise_on_password(tenant, tried).await?))
}

pub(crate) async fn invite(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<Invite>,
) -> Answer {
    let invitation = state.identity.invite_user(&context, body.user_id).await?;
    Ok((StatusCode::CREATED, Answered(Invitation::from(invitation))).into_response())
}

pub(crate) async fn send_reset_link(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(user): Id,
) -> Answer {
    let sent = state.identity.send_reset_link(&context, user).await?;
    Ok(accepted(LinkSent::from(sent)))
}

pub(crate) async fn change_email(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<NewEmail>,
) -> Answer {
    let sent = state.identity.ask_email_change(&context, body.into()).await?;
    Ok(accepted(LinkSent::from(sent)))
}

pub(crate) async fn prove_email(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    let sent = state.identity.send_email_verification(&context).await?;
    Ok(accepted(LinkSent::from(sent)))
}

pub(crate) async fn verify_email(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<VerifyEmail>,
) -> Answer {
    let tenant = tenant_hinted(&state, &body.token).await?;
    let verifying = state.identity.verify_email(&body.token, Arc::clone(&source));
    let answer = async {
        verifying.await?;
        nothing()
    };
    limited_in(Class::Auth, &state, (&source, tenant), &body.token, Box::pin(answer)).await
}

pub(crate) async fn change_phone(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<NewPhone>,
) -> Answer {
    let challenge = state.identity.ask_phone_change(&context, body.into()).await?;
    Ok(accepted(PhoneChallenge::from(challenge)))
}

pub(crate) async fn verify_phone(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<VerifyPhone>,
) -> Answer {
    state.identity.verify_phone(&context, &body.phone_token, &body.code).await?;
    nothing()
}

pub(crate) async fn referrals(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/auth/referrals", &query).await?;
    let page = state.identity.referrals(&context, &paging.request).await?;
    Ok(paging.answer(page, Referral::from))
}

/// 202 with a body.
fn accepted(body: impl Serialize) -> Response {
    (StatusCode::ACCEPTED, Answered(body)).into_response()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            auth::Nothing,
            recovery::{
                Accepted, ChangePassword, ForgotPassword, Invitation, Invite, LinkSent, NewEmail,
                NewPhone, PasswordAdvice, PasswordByLink, PhoneChallenge, Referral, Register,
                TryPassword, VerifyEmail, VerifyPhone,
            },
        },
    };

    pub(crate) fn forgot_password() -> Doc {
        Doc::new("forgotPassword", "auth", "Asks for a link to set a new password")
            .describe(
                "The answer is the same whether there is such a person or not. The link goes \
                 to their e-mail address, is good once and for 30 minutes, and voids an \
                 earlier one; at most three are sent within an hour.",
            )
            .body::<ForgotPassword>(json!({ "tenant": "ultracore", "username": "customer" }))
            .answers::<Accepted>(202, "Taken.")
    }

    pub(crate) fn register() -> Doc {
        Doc::new("register", "auth", "Signs somebody up without an invitation")
            .describe(
                "Where the tenant's policy has it (`self_registration`). The answer is the same \
                 whether the address is known or not. Somebody new is sent a link that sets \
                 their first password (`POST /v1/invitations/accept`); nothing opens before. \
                 The names and the referral code become theirs with that link: of several forms for one \
                 address the one counts whose link is followed. Somebody known is sent what a forgotten password sends.",
            )
            .body::<Register>(json!({
                "tenant": "dway", "username": "jana", "email": "jana@home.example",
                "referral_code": "7H2K9QX4MB",
            }))
            .answers::<Accepted>(202, "Taken.")
            .problem(403, &["registration_closed"])
            .problem(422, &["referral_code_unknown", "validation_failed"])
    }

    pub(crate) fn reset_password() -> Doc {
        Doc::new("resetPassword", "auth", "Sets a new password by a link")
            .describe(
                "Ends every session and lifts a lock. Nobody is signed in by it: a second \
                 factor is asked for at the next sign-in as ever.",
            )
            .body::<PasswordByLink>(json!({
                "token": "reset_tenant_secret", "new_password": "as chosen",
            }))
            .answers_nothing("Set; the link is used up.")
            .problem(409, &["changed_meanwhile"])
            .problem(422, &["link_invalid", "validation_failed", "password_reused"])
    }

    pub(crate) fn accept_invitation() -> Doc {
        Doc::new("acceptInvitation", "auth", "Sets the first password by an invitation")
            .body::<PasswordByLink>(json!({
                "token": "invite_tenant_secret", "new_password": "as chosen",
            }))
            .answers_nothing("Set; the invitation is used up.")
            .problem(409, &["changed_meanwhile"])
            .problem(422, &["link_invalid", "validation_failed"])
    }

    pub(crate) fn change_password() -> Doc {
        Doc::new("changePassword", "auth", "Changes your password")
            .describe(
                "Ends your other sessions. Whoever has a second factor has to have used it \
                 within five minutes. This is what a session may still do whose password has \
                 reached its maximum age.",
            )
            .body::<ChangePassword>(json!({
                "current_password": "as it is", "new_password": "as chosen",
            }))
            .answers_nothing("Changed.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(409, &["changed_meanwhile"])
            .problem(422, &["validation_failed", "current_password_wrong", "password_reused"])
    }

    pub(crate) fn try_password() -> Doc {
        Doc::new("tryPassword", "auth", "What is to be said of a password before it is chosen")
            .describe("Nothing of it is kept or logged. The estimate is advice; the rules decide.")
            .body::<TryPassword>(json!({
                "tenant": "ultracore", "password": "correct horse battery staple",
            }))
            .answers::<PasswordAdvice>(200, "Rules and estimate.")
            .problem(404, &["not_found"])
    }

    pub(crate) fn invite() -> Doc {
        Doc::new("createInvitation", "users", "Invites a user to set their first password")
            .describe("The link is good once and for seven days, and voids an earlier one.")
            .body::<Invite>(json!({ "user_id": crate::wire::OTHER_ID }))
            .answers::<Invitation>(201, "On its way.")
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["already_joined", "user_disabled", "user_locked"])
            .problem(422, &["not_found", "email_missing"])
    }

    pub(crate) fn send_reset_link() -> Doc {
        Doc::new("sendResetLink", "users", "Sends somebody a link to set a new password")
            .describe(
                "To their own address, never to whoever asks. Good once and for half an hour; the \
                 password they have stays until they use it.",
            )
            .answers::<LinkSent>(202, "A link is on its way.")
            .problem(403, &["permission_denied", "own_account", "privilege_escalation"])
            .problem(409, &["user_disabled", "not_joined", "user_locked"])
            .problem(422, &["email_missing"])
    }

    pub(crate) fn change_email() -> Doc {
        Doc::new("changeEmail", "auth", "Asks to change your e-mail address")
            .describe(
                "A link goes to the new address; following it changes it, and the old one is \
                 told. Needs the present password or a second factor used just now.",
            )
            .body::<NewEmail>(
                json!({ "email": "new@home.example", "current_password": "as it is" }),
            )
            .answers::<LinkSent>(202, "A link is on its way.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["email_malformed", "current_password_wrong"])
    }

    pub(crate) fn prove_email() -> Doc {
        Doc::new("proveEmail", "auth", "Asks for a link that proves your e-mail address")
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<LinkSent>(202, "A link is on its way.")
            .problem(409, &["already_verified"])
            .problem(422, &["email_missing"])
    }

    pub(crate) fn verify_email() -> Doc {
        Doc::new("verifyEmail", "auth", "Follows a link that proves or changes an e-mail address")
            .body::<VerifyEmail>(json!({ "token": "verify_tenant_secret" }))
            .answers_nothing("Proven, or changed; the link is used up.")
            .problem(409, &["email_taken"])
            .problem(422, &["link_invalid"])
    }

    pub(crate) fn change_phone() -> Doc {
        Doc::new("changePhone", "auth", "Asks to change your phone number")
            .describe(
                "A code of six digits goes to the new number and is good for five minutes. \
                 Needs the present password or a second factor used just now.",
            )
            .body::<NewPhone>(json!({ "phone": "+420601123456", "current_password": "as it is" }))
            .answers::<PhoneChallenge>(202, "A code is on its way.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(422, &["phone_malformed", "current_password_wrong"])
    }

    pub(crate) fn verify_phone() -> Doc {
        Doc::new("verifyPhone", "auth", "Brings back the code that was sent to a phone")
            .describe("The old number is told. Five wrong codes end it.")
            .body::<VerifyPhone>(json!({
                "phone_token": "phonechange_tenant_secret", "code": "123456",
            }))
            .answers_nothing("Changed.")
            .problem(422, &["link_invalid", "code_wrong"])
    }

    pub(crate) fn referrals() -> Doc {
        Doc::new("listReferrals", "auth", "Whom you have recommended us to, newest first")
            .describe("Without anything personal of them.")
            .paged()
            .answers::<List<Referral>>(200, "A page of referrals.")
    }
}
