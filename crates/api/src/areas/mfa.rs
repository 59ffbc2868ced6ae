//! Second factors: the second step of a sign-in, one's own factors, stepping up, and
//! the reset by two admins.
//!
//! A second step counts itself against the limits, under the pending token: the gate
//! does not know whose it is.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse as _};
use http::StatusCode;
use identity::{FactorPresented, SetupRequest};
use tenancy::OpContext;
use zeroize::Zeroizing;

use super::{
    Answer,
    auth::{limited_in, tenant_hinted},
    nothing, ok, reply, tag,
};
use crate::{
    extract::{Caller, Id, IfMatch, MaybeIfMatch, PageQuery, Paging, Parameters, Source},
    json::{Json, OptionalJson},
    route::Class,
    state::ApiState,
    wire::{
        List,
        auth::Nothing,
        mfa::{
            BackupCodes, Challenge, Confirm, ConfirmReset, Confirmed, Enrol, Enrolled,
            EnrolmentBegun, Factor, FactorReset, FinishEnrolment, FirstProof, Method, Payment,
            Presented, Rename, SendTo, SetUp, Setup, StepUp, SteppedUp, Verified, Verify,
        },
        passkeys::RequestOptions,
    },
};

pub(crate) async fn challenge(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(Challenge { mfa_token, method }): Json<Challenge>,
) -> Answer {
    let tenant = tenant_hinted(&state, &mfa_token).await?;
    let identity = &state.identity;
    let answer = async {
        if matches!(method, Method::Passkey) {
            let options = identity.passkey_factor_options(&mfa_token, Arc::clone(&source)).await?;
            return ok(RequestOptions::from(options));
        }
        identity.send_factor_code(&mfa_token, method.into(), Arc::clone(&source)).await?;
        accepted()
    };
    limited_in(Class::Auth, &state, (&source, tenant), &mfa_token, answer).await
}

pub(crate) async fn verify(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(step): Json<Verify>,
) -> Answer {
    let (mfa_token, presented) = step.presented()?;
    let tenant = tenant_hinted(&state, &mfa_token).await?;
    let (token, from) = (Zeroizing::new(mfa_token.clone()), Arc::clone(&source));
    let identity = &state.identity;
    let answer = async {
        ok(Verified::from(match presented {
            Presented::Code(method, code) => {
                let presented = FactorPresented { token, method, code };
                identity.verify_factor(presented, from).await?
            }
            Presented::Passkey(proof) => identity.verify_passkey_factor(token, proof, from).await?,
        }))
    };
    limited_in(Class::Mfa, &state, (&source, tenant), &mfa_token, answer).await
}

pub(crate) async fn enrol(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(Enrol { mfa_token, method, name }): Json<Enrol>,
) -> Answer {
    let tenant = tenant_hinted(&state, &mfa_token).await?;
    let identity = &state.identity;
    let answer = async {
        if matches!(method, Method::Passkey) {
            let options = identity.required_passkey_options(&mfa_token, Arc::clone(&source));
            return ok(EnrolmentBegun::Passkey(options.await?.into()));
        }
        let request = SetupRequest { method: method.into(), name };
        let setup = identity.setup_required_factor(&mfa_token, request, Arc::clone(&source));
        ok(EnrolmentBegun::Setup(setup.await?.into()))
    };
    limited_in(Class::Auth, &state, (&source, tenant), &mfa_token, answer).await
}

pub(crate) async fn finish_enrolment(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(step): Json<FinishEnrolment>,
) -> Answer {
    let (mfa_token, proof) = step.checked()?;
    let tenant = tenant_hinted(&state, &mfa_token).await?;
    let (identity, from) = (&state.identity, Arc::clone(&source));
    let answer = async {
        ok(match proof {
            FirstProof::Code(method, code) => Enrolled::from(
                identity.confirm_required_factor(&mfa_token, (method, code), from).await?,
            ),
            FirstProof::Passkey(made) => {
                Enrolled::from(identity.register_required_passkey(&mfa_token, made, from).await?)
            }
        })
    };
    limited_in(Class::Mfa, &state, (&source, tenant), &mfa_token, answer).await
}

pub(crate) async fn setup(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(SetUp { method, name }): Json<SetUp>,
) -> Answer {
    let request = SetupRequest { method: method.into(), name };
    ok(Setup::from(state.identity.setup_factor(&context, request).await?))
}

pub(crate) async fn confirm(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(Confirm { method, code }): Json<Confirm>,
) -> Answer {
    let (method, code) = (method.map(Into::into), Zeroizing::new(code));
    ok(Confirmed::from(state.identity.confirm_factor(&context, method, code).await?))
}

pub(crate) async fn list(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let factors = state.identity.factors(&context).await?;
    ok(List { data: factors.into_iter().map(Factor::from).collect(), next_cursor: None })
}

pub(crate) async fn rename(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(factor): Id,
    IfMatch(expected): IfMatch,
    Json(Rename { name }): Json<Rename>,
) -> Answer {
    let version = state.identity.rename_factor(&context, (factor, expected), &name).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    tag(&mut response, version);
    Ok(response)
}

pub(crate) async fn remove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(factor): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    state.identity.remove_factor(&context, (factor, expected)).await?;
    nothing()
}

pub(crate) async fn backup_codes(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    ok(BackupCodes::of(&state.identity.regenerate_backup_codes(&context).await?))
}

pub(crate) async fn send_step_up_code(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(SendTo { method, payment }): Json<SendTo>,
) -> Answer {
    if let Some(payment) = payment {
        return ask_payment_proof(&state, &context, method, payment).await;
    }
    if matches!(method, Method::Passkey) {
        let options = state.identity.passkey_step_up_options(&context).await?;
        return ok(RequestOptions::from(options));
    }
    state.identity.send_step_up_code(&context, method.into()).await?;
    accepted()
}

async fn ask_payment_proof(
    state: &ApiState,
    context: &OpContext,
    method: Method,
    payment: Payment,
) -> Answer {
    let (judged, payment) = payment.checked()?;
    let payee = judged.payee(&state.operations, context).await?;
    let (identity, purpose) = (&state.identity, judged.purpose(&payee));
    if matches!(method, Method::Passkey) {
        let options = identity.passkey_payment_options(context, payment, &purpose).await?;
        return ok(RequestOptions::from(options));
    }
    identity.ask_payment_proof(context, method.into(), payment, &purpose).await?;
    accepted()
}

pub(crate) async fn step_up(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(step): Json<StepUp>,
) -> Answer {
    let (presented, payment) = step.presented()?;
    let identity = &state.identity;
    if let Some(payment) = payment {
        let (_, payment) = payment.checked()?;
        let proven = match presented {
            Presented::Code(method, code) => {
                identity.prove_payment(&context, payment, method, code).await?
            }
            Presented::Passkey(proof) => {
                identity.prove_payment_by_passkey(&context, payment, proof).await?
            }
        };
        return ok(SteppedUp::Payment(proven.into()));
    }
    ok(SteppedUp::Session(Verified::from(match presented {
        Presented::Code(method, code) => identity.step_up(&context, method, code).await?,
        Presented::Passkey(proof) => identity.step_up_by_passkey(&context, proof).await?,
    })))
}

pub(crate) async fn request_reset(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(user): Id,
) -> Answer {
    let requested = state.identity.request_factor_reset(&context, user).await?;
    Ok(reply(requested, FactorReset::from))
}

pub(crate) async fn confirm_reset(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(user): Id,
    Json(reset): Json<ConfirmReset>,
) -> Answer {
    state.identity.confirm_factor_reset(&context, (user, reset.request_id)).await?;
    nothing()
}

pub(crate) async fn reject_reset(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(user): Id,
) -> Answer {
    state.identity.reject_factor_reset(&context, user).await?;
    nothing()
}

pub(crate) async fn waiting_resets(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/mfa-resets", &query).await?;
    let page = state.identity.waiting_factor_resets(&context, &paging.request).await?;
    Ok(paging.answer(page, FactorReset::from))
}

fn accepted() -> Answer {
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            EXAMPLE_ID, List, OTHER_ID,
            auth::Nothing,
            mfa::{
                BackupCodes, Challenge, Confirm, ConfirmReset, Confirmed, Enrol, Enrolled,
                EnrolmentBegun, Factor, FactorReset, FinishEnrolment, Rename, SendTo, SetUp, Setup,
                StepUp, SteppedUp, Verified, Verify,
            },
            passkeys::RequestOptions,
        },
    };

    /// What is wrong with a pending token, and with a code.
    const STEP: &[&str] = &["invalid_token", "invalid_code"];
    const TOKEN: &str = "mfa_tenant_secret";

    pub(crate) fn challenge() -> Doc {
        Doc::new("sendSecondFactorCode", "mfa", "Sends the code of a sign-in's second step")
            .describe(
                "Six digits, good for five minutes and once. An earlier code is void. With the \
                 method `passkey` nothing is sent: the answer is for the browser.",
            )
            .body::<Challenge>(json!({ "mfa_token": TOKEN, "method": "sms" }))
            .answers_accepted("On its way.")
            .answers::<RequestOptions>(200, "For `navigator.credentials.get()`.")
            .problem(401, &["invalid_token"])
            .problem(422, &["method_unavailable"])
    }

    pub(crate) fn verify() -> Doc {
        Doc::new("verifySecondFactor", "mfa", "Finishes a sign-in with a second factor")
            .describe(
                "A pending token that is wrong, expired, used, from another device or of another \
                 purpose is answered alike. Three attempts a minute; five failures within fifteen \
                 minutes lock second factors for as long.",
            )
            .body::<Verify>(json!({ "mfa_token": TOKEN, "method": "totp", "code": "123456" }))
            .answers::<Verified>(200, "Tokens.")
            .problem(401, STEP)
            .problem(403, &["account_locked"])
    }

    pub(crate) fn enrol() -> Doc {
        Doc::new("enrolRequiredFactor", "mfa", "Begins to enrol the factor that a role requires")
            .body::<Enrol>(json!({ "mfa_token": "enrol_tenant_secret", "method": "totp" }))
            .describe(
                "A sign-in answers `enrolment_required` where the role requires a factor and there \
                 is none. A passkey is made with what this answers and sent to the confirmation.",
            )
            .answers::<EnrolmentBegun>(200, "What is needed to set it up.")
            .problem(401, &["invalid_token"])
            .problem(
                422,
                &[
                    "method_unavailable",
                    "address_missing",
                    "passkeys_unavailable",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn finish_enrolment() -> Doc {
        Doc::new("confirmRequiredFactor", "mfa", "Confirms that factor and finishes the sign-in")
            .body::<FinishEnrolment>(
                json!({ "mfa_token": "enrol_tenant_secret", "code": "123456" }),
            )
            .answers::<Enrolled>(200, "Backup codes, shown once, and tokens.")
            .problem(401, STEP)
            .problem(403, &["account_locked"])
            .problem(409, &["passkey_exists"])
            .problem(
                422,
                &[
                    "nothing_to_confirm",
                    "passkey_not_accepted",
                    "method_unavailable",
                    "too_many_passkeys",
                    "passkeys_unavailable",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn setup() -> Doc {
        Doc::new("setUpFactor", "mfa", "Begins to enrol a second factor")
            .describe(
                "It counts from its first code on. Where there is one already, prove it first.",
            )
            .body::<SetUp>(json!({ "method": "totp", "name": "My phone" }))
            .answers::<Setup>(200, "What is needed to set it up.")
            .problem(403, &["step_up_required", "sign_in_required"])
            .problem(409, &["factor_exists"])
            .problem(422, &["method_unavailable", "address_missing", "validation_failed"])
    }

    pub(crate) fn confirm() -> Doc {
        Doc::new("confirmFactor", "mfa", "Confirms a second factor by its first code")
            .body::<Confirm>(json!({ "code": "123456" }))
            .answers::<Confirmed>(200, "It counts; with the first come the backup codes.")
            .problem(401, &["invalid_code"])
            .problem(403, &["account_locked", "step_up_required", "sign_in_required"])
            .problem(422, &["nothing_to_confirm"])
    }

    pub(crate) fn list() -> Doc {
        Doc::new("listFactors", "mfa", "Your second factors")
            .answers::<List<Factor>>(200, "All of them.")
    }

    pub(crate) fn rename() -> Doc {
        Doc::new("renameFactor", "mfa", "Gives one of your factors another name")
            .body::<Rename>(json!({ "name": "Work phone" }))
            .answers_nothing("Renamed.")
            .etag()
            .if_match()
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn remove() -> Doc {
        Doc::new("removeFactor", "mfa", "Removes one of your factors")
            .describe(
                "The only one stays: add another one first. Where it is lost, two administrators reset it.",
            )
            .answers_nothing("Removed.")
            .honours_if_match()
            .problem(403, &["step_up_required"])
            .problem(422, &["last_factor"])
    }

    pub(crate) fn backup_codes() -> Doc {
        Doc::new("regenerateBackupCodes", "mfa", "A new set of backup codes")
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<BackupCodes>(200, "Ten codes, shown once; earlier ones are void.")
            .problem(403, &["step_up_required"])
            .problem(422, &["no_factor"])
    }

    pub(crate) fn send_step_up_code() -> Doc {
        Doc::new("sendStepUpCode", "mfa", "Sends a code to step up with")
            .describe(
                "With a `payment` it is asked for that one alone: what is sent names its amount and \
                 payee, what an authenticator signs is bound to it, and with `totp` or `backup` \
                 nothing is sent, but the code has to be given for it. Refused as the transfer \
                 would be.",
            )
            .body::<SendTo>(json!({ "method": "sms", "payment": {
                "from_account_id": EXAMPLE_ID, "to_account_id": OTHER_ID,
                "amount": 150_000, "currency": "EUR",
            } }))
            .answers_accepted("On its way.")
            .answers::<RequestOptions>(200, "For `navigator.credentials.get()`.")
            .problem(403, &["permission_denied"])
            .problem(
                422,
                &[
                    "method_unavailable",
                    "not_found",
                    "same_account",
                    "invalid_amount",
                    "amount_too_large",
                    "currency_mismatch",
                ],
            )
    }

    pub(crate) fn step_up() -> Doc {
        Doc::new("stepUp", "mfa", "Proves a second factor again")
            .describe(
                "What is sensitive asks for a factor used within five minutes. The session ends, \
                 with all its tokens, and the answer's take its place. With a `payment`, which has \
                 to be the one that was asked for, it proves that payment and nothing else: the \
                 session goes on, and within five minutes one transfer of this amount between these \
                 accounts may be ordered in it.",
            )
            .body::<StepUp>(json!({ "code": "123456" }))
            .answers::<SteppedUp>(200, "Tokens of the session that took its place, or the proof.")
            .problem(401, &["invalid_code"])
            .problem(403, &["account_locked", "step_up_required"])
            .problem(422, &["no_factor"])
    }

    pub(crate) fn request_reset() -> Doc {
        Doc::new("requestFactorReset", "users", "Asks for somebody's second factors to be removed")
            .describe("Another admin confirms it within a day, and never the person themselves.")
            .answers::<FactorReset>(202, "It waits for a second admin.")
            .problem(403, &["permission_denied", "privilege_escalation"])
            .problem(409, &["reset_pending"])
    }

    pub(crate) fn confirm_reset() -> Doc {
        Doc::new("confirmFactorReset", "users", "Removes somebody's second factors")
            .describe(
                "By another admin than the one who asked, of the factors that the person had \
                 then. All of the person's sessions end.",
            )
            .body::<ConfirmReset>(json!({ "request_id": EXAMPLE_ID }))
            .answers_nothing("Removed.")
            .problem(403, &["permission_denied", "privilege_escalation", "not_independent"])
            .problem(409, &["factors_changed"])
            .problem(422, &["reset_tampered"])
    }

    pub(crate) fn reject_reset() -> Doc {
        Doc::new("rejectFactorReset", "users", "Turns down the removal of somebody's factors")
            .describe("By another admin than the one who asked.")
            .answers_nothing("Turned down.")
            .problem(403, &["permission_denied", "privilege_escalation", "not_independent"])
    }

    pub(crate) fn waiting_resets() -> Doc {
        Doc::new("listFactorResets", "users", "Removals of factors that wait, newest first")
            .describe("Those that wait for a second admin, one's own requests among them.")
            .paged()
            .answers::<List<FactorReset>>(200, "A page of what waits.")
    }
}
