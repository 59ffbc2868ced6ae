//! What a verifier of tokens and a generator of clients read: keys, discovery, the
//! OpenAPI document. Public, and the same for everybody.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};

use super::Answer;
use crate::state::ApiState;

/// Keys are published before they sign: five minutes are never too long.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(crate) async fn jwks(State(state): State<ApiState>, Path(tenant): Path<String>) -> Answer {
    Ok(cached(Json(state.identity.jwks(&tenant).await?).into_response()))
}

pub(crate) async fn openid_configuration(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
) -> Answer {
    Ok(cached(Json(state.identity.openid_configuration(&tenant).await?).into_response()))
}

pub(crate) async fn openapi(State(state): State<ApiState>) -> Answer {
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok(cached((json, state.document.clone()).into_response()))
}

fn cached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use crate::{
        openapi_parts::Doc,
        wire::published::{Jwks, OpenApiDocument, OpenIdConfiguration},
    };

    pub(crate) fn jwks() -> Doc {
        Doc::new("readJwks", "keys", "The keys that verify a tenant's access tokens")
            .describe(
                "RFC 7517. The key that signs next and those whose tokens may still be out are \
                 among them. Empty where the tenant signs with HS256, which has no public half. \
                 May be kept for five minutes.",
            )
            .answers::<Jwks>(200, "The key set.")
    }

    pub(crate) fn openid_configuration() -> Doc {
        Doc::new("readOpenIdConfiguration", "keys", "A tenant's discovery document")
            .describe("RFC 8414, at the address that OpenID Connect Discovery 1.0 gives it.")
            .answers::<OpenIdConfiguration>(200, "The document.")
    }

    pub(crate) fn openapi() -> Doc {
        Doc::new("readOpenApi", "keys", "This document")
            .answers::<OpenApiDocument>(200, "OpenAPI 3.1.")
    }
}
