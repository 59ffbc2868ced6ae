//! The keys that sign the tenant's tokens, and what machines ask about a token.

use axum::extract::State;
use identity::SigningKeyRecord;

use super::{Answer, ok};
use crate::{
    extract::{Caller, Id, PageQuery, Paging, Parameters},
    json::{JsonOrForm, OptionalJson},
    state::ApiState,
    wire::{
        auth::Nothing,
        keys::{Introspect, IntrospectedToken, SigningKey},
    },
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/keys", &query).await?;
    let page = state.identity.signing_keys(&context, &paging.request).await?;
    Ok(paging.answer(page, SigningKey::from))
}

pub(crate) async fn rotate(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    let key: SigningKeyRecord = state.identity.rotate_signing_key(&context).await?;
    ok(SigningKey::from(key))
}

pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(key): Id,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    let key: SigningKeyRecord = state.identity.revoke_signing_key(&context, key).await?;
    ok(SigningKey::from(key))
}

pub(crate) async fn introspect(
    State(state): State<ApiState>,
    Caller(context): Caller,
    JsonOrForm(body): JsonOrForm<Introspect>,
) -> Answer {
    let said = state.identity.introspect(&context, &body.token).await?;
    ok(IntrospectedToken::from(said))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            auth::Nothing,
            keys::{Introspect, IntrospectedToken, SigningKey},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listSigningKeys", "keys", "The keys that sign access tokens, newest first")
            .describe("Retired ones included; never anything that signs.")
            .paged()
            .answers::<List<SigningKey>>(200, "A page of keys.")
    }

    pub(crate) fn rotate() -> Doc {
        Doc::new("rotateSigningKey", "keys", "Has the next key sign from now on")
            .describe(
                "Where none is published yet, one is made, published, and signs as soon as every \
                 node knows it: a little more than a second. The key before it verifies until \
                 its last token has expired. Verifiers that keep the key set have to read it \
                 again when they meet a `kid` that they do not know.",
            )
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<SigningKey>(200, "The key that signs now.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(409, &["nothing_due"])
    }

    pub(crate) fn revoke() -> Doc {
        Doc::new("revokeSigningKey", "keys", "Ends a key and all of its tokens at once")
            .describe(
                "For a key that somebody else may have. Where it was the one that signs, a new \
                 one takes over, and a published next key is discarded with it. Sessions go on: \
                 clients refresh, the console notices nothing. Other nodes follow within a \
                 second, and refuse what such a token would write at once; verifiers elsewhere \
                 when they read the key set again, after five minutes at most.",
            )
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers::<SigningKey>(200, "The key, retired.")
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(409, &["key_replacement_needed"])
    }

    pub(crate) fn introspect() -> Doc {
        Doc::new("introspectToken", "keys", "Whether an access token is good, and for what")
            .describe(
                "RFC 7662, for machines: send an API key as the bearer token, and the token in \
                 question as JSON or as a form. Anything but a good access token of the \
                 caller's own tenant is `{\"active\": false}` and nothing else.",
            )
            .body::<Introspect>(json!({ "token": "eyJhbGciOi…" }))
            .answers::<IntrospectedToken>(200, "What is known of it.")
    }
}
