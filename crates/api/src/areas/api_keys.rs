//! API keys: how machines sign in.

use axum::{
    Json as Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use identity::IssuedApiKey;

use super::{Answer, nothing, ok_versioned, tag};
use crate::{
    extract::{Caller, Id, MaybeIfMatch, PageQuery, Paging, Parameters},
    json::{Json, OptionalJson},
    problem::Problem,
    state::ApiState,
    wire::api_keys::{ApiKey, ApiKeyWithSecret, CreateApiKey, RotateApiKey},
};

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/api-keys", &query).await?;
    let page = state.identity.api_keys(&context, &paging.request).await?;
    Ok(paging.answer(page, ApiKey::from))
}

pub(crate) async fn create(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Json(new): Json<CreateApiKey>,
) -> Answer {
    let issued = state.identity.create_api_key(&context, new.try_into()?).await?;
    Ok(shown(StatusCode::CREATED, issued))
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    let key = state.identity.api_key(&context, id).await?;
    let version = key.version;
    ok_versioned(ApiKey::from(key), version)
}

pub(crate) async fn rotate(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
    OptionalJson(rotation): OptionalJson<RotateApiKey>,
) -> Answer {
    let rotation = rotation.try_into()?;
    let issued = state.identity.rotate_api_key(&context, (id, expected), rotation).await?;
    Ok(shown(StatusCode::OK, issued))
}

pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
    MaybeIfMatch(expected): MaybeIfMatch,
) -> Answer {
    state.identity.revoke_api_key(&context, (id, expected)).await?;
    nothing()
}

/// The one answer that holds the secret.
fn shown(status: StatusCode, issued: IssuedApiKey) -> Response {
    let version = issued.record.version;
    let mut response = (status, Body(ApiKeyWithSecret::from(issued))).into_response();
    tag(&mut response, version);
    response
}

/// An instant of a body.
pub(crate) fn instant(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<jiff::Timestamp>, Problem> {
    let malformed =
        |_| Problem::malformed_field(field, "invalid_value", "Expected an instant as in RFC 3339");
    text.map(str::parse).transpose().map_err(malformed)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::Doc,
        wire::{
            List,
            api_keys::{ApiKey, ApiKeyWithSecret, CreateApiKey, RotateApiKey},
        },
    };

    pub(crate) fn list() -> Doc {
        Doc::new("listApiKeys", "api-keys", "The machines' API keys, newest first")
            .describe("Revoked and expired ones included; never a secret.")
            .paged()
            .answers::<List<ApiKey>>(200, "A page of keys.")
    }

    pub(crate) fn create() -> Doc {
        Doc::new("createApiKey", "api-keys", "Makes an API key")
            .describe(
                "The secret stands in this answer and nowhere else, ever. It goes into \
                 `Authorization: Bearer`. A key acts in one role, which must not be more than \
                 its maker's, confined to `scopes` of it; it opens nothing about a person and no \
                 page of the console, approves nothing, and makes, rotates and ends no keys. A machine proves \
                 no factor, so its maker does, here and where a secret is rotated: a second factor used \
                 within five minutes is due, also of those who have none yet. Where the maker's roles \
                 shrink below the key's, the key ends. With `certificate_thumbprint` it is good with that \
                 client certificate alone, whoever signed it; without it the key does not exist.",
            )
            .body::<CreateApiKey>(json!({
                "name": "Payroll", "role": "officer", "scopes": ["account:read"],
                "allowed_networks": ["192.0.2.0/24"],
            }))
            .answers::<ApiKeyWithSecret>(201, "The key with its secret.")
            .etag()
            .problem(403, &["permission_denied", "privilege_escalation", "step_up_required"])
            .problem(422, &["validation_failed", "unknown_role"])
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readApiKey", "api-keys", "One API key").answers::<ApiKey>(200, "The key.").etag()
    }

    pub(crate) fn rotate() -> Doc {
        Doc::new("rotateApiKey", "api-keys", "Gives an API key a new secret")
            .describe("The secret before stays good for `overlap_s`: an hour, at most a day.")
            .body::<RotateApiKey>(json!({ "overlap_s": 600 }))
            .body_optional()
            .answers::<ApiKeyWithSecret>(200, "The key with its new secret.")
            .etag()
            .honours_if_match()
            .problem(403, &["permission_denied", "privilege_escalation", "step_up_required"])
            .problem(409, &["api_key_over"])
    }

    pub(crate) fn revoke() -> Doc {
        Doc::new("revokeApiKey", "api-keys", "Ends an API key at once")
            .answers_nothing("Ended; it is refused from the next request on.")
            .honours_if_match()
    }
}
