//! The keys with which clients sign their requests.

use axum::{
    Json as Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;

use super::{Answer, nothing, ok_versioned, tag};
use crate::{
    extract::{Caller, Id, MaybeIfMatch, Paging, Parameters},
    json::Json,
    state::ApiState,
    wire::client_keys::{ClientKey, ClientKeyQuery, RegisterClientKey},
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<ClientKeyQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/client-keys", &query).await?;
    let page = state.identity.client_keys(&context, query.api_key_id, &paging.request).await?;
    Ok(paging.answer(page, ClientKey::from))
}

pub(crate) async fn register(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(new): Json<RegisterClientKey>,
) -> Answer {
    let key = state.identity.register_client_key(&context, new.into()).await?;
    let version = key.version;
    let mut response: Response = (StatusCode::CREATED, Body(ClientKey::from(key))).into_response();
    tag(&mut response, version);
    Ok(response)
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    let key = state.identity.client_key(&context, id).await?;
    let version = key.version;
    ok_versioned(ClientKey::from(key), version)
}

pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    state.identity.revoke_client_key(&context, (id, expected)).await?;
    nothing()
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, uuid},
        wire::{
            List,
            client_keys::{ClientKey, RegisterClientKey},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listClientKeys", "client-keys", "The keys that sign requests, newest first")
            .describe("Your own; everybody's where you may read keys. Revoked ones included.")
            .query("api_key_id", uuid(), "Of one machine alone.")
            .paged()
            .answers::<List<ClientKey>>(200, "A page of keys.")
    }

    pub(crate) fn register() -> Doc {
        Doc::new("registerClientKey", "client-keys", "Registers a key that signs requests")
            .describe(
                "The public half alone: a JWK for Ed25519, ECDSA on P-256 or RSA-PSS, yours or, with \
                 `api_key_id`, a machine's. Its `id` is the `keyid` of signatures. A key signs for \
                 its owner alone, who is signed in as well; it is registered once, and after its end \
                 never again. A second factor used within five minutes is due, also of those who have \
                 none yet; where policy has requests signed, every key but your first is registered \
                 with a signature.",
            )
            .body::<RegisterClientKey>(json!({
                "name": "Payroll", "algorithm": "ed25519",
                "public_jwk": {
                    "kty": "OKP", "crv": "Ed25519",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                },
            }))
            .answers::<ClientKey>(201, "The key.")
            .etag()
            .problem(403, &["permission_denied", "step_up_required"])
            .problem(409, &["client_key_known"])
            .problem(422, &["validation_failed", "not_found", "too_many_client_keys"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readClientKey", "client-keys", "One key that signs requests")
            .answers::<ClientKey>(200, "The key.")
            .etag()
    }

    pub(crate) fn revoke() -> Doc {
        Doc::new("revokeClientKey", "client-keys", "Ends a key that signs requests")
            .describe("Yours, or anybody's where you may end keys. It needs no signature.")
            .answers_nothing("Ended; its signatures are refused from the next request on.")
            .honours_if_match()
            .problem(403, &["step_up_required"])
    }
}
