//! Passkeys and hardware keys: one's own, and signing in with nothing else.
//!
//! Signing in counts itself against the limits, as with a password: both steps, under
//! the tenant asked for or the challenge answered, and the address.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse as _};
use http::StatusCode;

use super::{
    Answer,
    auth::{limited_in, tenant_named},
    nothing, ok, ok_versioned,
};
use crate::{
    extract::{Caller, Id, IfMatch, MaybeIfMatch, Source},
    json::{Json, OptionalJson},
    problem::Problem,
    route::Class,
    state::ApiState,
    wire::{
        List,
        auth::{Nothing, Tokens},
        passkeys::{
            CreationOptions, Passkey, PasskeySignIn, ProvePasskey, RegisterPasskey,
            RegisteredPasskey, RenamePasskey, RequestOptions,
        },
    },
};

pub(crate) async fn sign_in_options(
    State(state): State<ApiState>,
    Source(source): Source,
    OptionalJson(body): OptionalJson<PasskeySignIn>,
) -> Answer {
    let tenant = tenant_named(&state, body.tenant.as_deref()).await?;
    let Some(named) = tenant.clone() else {
        if body.tenant.is_some() {
            return Err(Problem::not_found());
        }
        let message = "Name the tenant";
        return Err(Problem::malformed_field("tenant", "missing_field", message));
    };
    // Every challenge is another attempt: only the address says that it is one person's.
    let tried = source.ip.map(|address| address.to_string()).unwrap_or_default();
    let options = state.identity.passkey_sign_in_options(named, Arc::clone(&source));
    let answer = async { ok(RequestOptions::from(options.await?)) };
    limited_in(Class::Auth, &state, (&source, tenant), &tried, answer).await
}

pub(crate) async fn sign_in(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<ProvePasskey>,
) -> Answer {
    let proof = body.checked()?;
    let tenant = match proof.tenant_hint() {
        Some(tenant) => state.directory.by_id(tenant).await?,
        None => None,
    };
    let tried = format!("{:?}", proof.credential_id);
    let signing_in = state.identity.sign_in_by_passkey(proof, Arc::clone(&source));
    let answer = async { ok(Tokens::from(signing_in.await?)) };
    limited_in(Class::Auth, &state, (&source, tenant), &tried, answer).await
}

pub(crate) async fn creation_options(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    ok(CreationOptions::from(state.identity.passkey_creation_options(&context).await?))
}

pub(crate) async fn register(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(body): Json<RegisterPasskey>,
) -> Answer {
    let made = state.identity.register_passkey(&context, body.checked()?).await?;
    let made = RegisteredPasskey::from(made);
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

pub(crate) async fn list(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    let passkeys = state.identity.passkeys(&context).await?;
    // There are never more than a page of them.
    let data = passkeys.into_iter().map(Passkey::from).collect();
    ok(List { data, next_cursor: None })
}

pub(crate) async fn rename(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(passkey): Id,
    IfMatch(expected): IfMatch,
    Json(body): Json<RenamePasskey>,
) -> Answer {
    let passkey = (passkey, expected);
    let renamed = state.identity.rename_passkey(&context, passkey, &body.name).await?;
    let version = renamed.version;
    ok_versioned(Passkey::from(renamed), version)
}

pub(crate) async fn remove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(passkey): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    state.identity.remove_passkey(&context, (passkey, expected)).await?;
    nothing()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::{Value, json};

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            auth::{Nothing, Tokens},
            passkeys::{
                CreationOptions, Passkey, PasskeySignIn, ProvePasskey, RegisterPasskey,
                RegisteredPasskey, RenamePasskey, RequestOptions,
            },
        },
    };

    fn proof() -> Value {
        json!({
            "id": "Y3JlZGVudGlhbA", "rawId": "Y3JlZGVudGlhbA", "type": "public-key",
            "response": {
                "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA",
                "userHandle": "AA",
            },
            "clientExtensionResults": {},
        })
    }

    pub(crate) fn sign_in_options() -> Doc {
        Doc::new("beginPasskeySignIn", "auth", "What a browser needs to sign in by passkey")
            .describe(
                "No name is asked for: the authenticator offers what it has for this site. Answer \
                 with `POST /v1/auth/webauthn/login` within five minutes.",
            )
            .body::<PasskeySignIn>(json!({ "tenant": "ultracore" }))
            .body_optional()
            .answers::<RequestOptions>(200, "For `navigator.credentials.get()`.")
            .problem(404, &["not_found"])
            .problem(422, &["passkeys_unavailable"])
    }

    pub(crate) fn sign_in() -> Doc {
        Doc::new("signInByPasskey", "auth", "Signs in by passkey")
            .describe(
                "The authenticator must have verified its owner. A lock after wrong passwords does \
                 not keep the owner's passkey out. Whatever is wrong is answered alike.",
            )
            .body::<ProvePasskey>(json!({ "credential": proof() }))
            .answers::<Tokens>(200, "Tokens.")
            .problem(401, &["passkey_not_accepted"])
            .problem(422, &["passkeys_unavailable"])
    }

    pub(crate) fn creation_options() -> Doc {
        Doc::new("beginPasskey", "auth", "What a browser needs to make a passkey")
            .describe(
                "Needs a second factor used within five minutes or, of somebody who has none, a \
                 sign-in within five minutes.",
            )
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<CreationOptions>(200, "For `navigator.credentials.create()`.")
            .problem(403, &["step_up_required", "sign_in_required"])
            .problem(422, &["method_unavailable", "too_many_passkeys", "passkeys_unavailable"])
    }

    pub(crate) fn register() -> Doc {
        let made = json!({
            "id": "Y3JlZGVudGlhbA", "rawId": "Y3JlZGVudGlhbA", "type": "public-key",
            "response": { "clientDataJSON": "e30", "attestationObject": "AA", "transports": ["usb"] },
            "clientExtensionResults": {},
        });
        Doc::new("registerPasskey", "auth", "Registers a passkey of yours")
            .describe(
                "From then on it signs you in by itself, and is asked for as a second factor after \
                 your password.",
            )
            .body::<RegisterPasskey>(json!({ "name": "Key on my ring", "credential": made }))
            .answers::<RegisteredPasskey>(201, "The passkey.")
            .problem(403, &["step_up_required", "sign_in_required"])
            .problem(409, &["passkey_exists"])
            .problem(
                422,
                &[
                    "passkey_not_accepted",
                    "method_unavailable",
                    "too_many_passkeys",
                    "passkeys_unavailable",
                    "validation_failed",
                ],
            )
    }

    pub(crate) fn list() -> Doc {
        Doc::new("listPasskeys", "auth", "Your passkeys, newest first")
            .answers::<List<Passkey>>(200, "All of them.")
    }

    pub(crate) fn rename() -> Doc {
        Doc::new("renamePasskey", "auth", "Gives one of your passkeys another name")
            .body::<RenamePasskey>(json!({ "name": "Key in the safe" }))
            .answers::<Passkey>(200, "The passkey.")
            .etag()
            .if_match()
            .problem(422, &["validation_failed"])
    }

    pub(crate) fn remove() -> Doc {
        Doc::new("removePasskey", "auth", "Takes one of your passkeys away")
            .describe(
                "Needs a second factor used within five minutes. The only second factor stays.",
            )
            .answers_nothing("It proves nothing any more.")
            .honours_if_match()
            .problem(403, &["step_up_required"])
            .problem(422, &["last_factor"])
    }
}
