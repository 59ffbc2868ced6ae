//! Owns what handlers are given of a request beside its body: the caller, path
//! ids, query parameters, pages, and the headers that change what a command does.
//!
//! Refuses to decide anything: it reads, or answers 400, 401 or 428.

use std::{str::FromStr, sync::Arc};

use axum::extract::{FromRequestParts, Path, Query};
use http::{HeaderMap, StatusCode, header, request::Parts};
use operation::{PageRequest, page};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tenancy::{OpContext, RequestInfo};
use uuid::Uuid;

use crate::{cursor::Binding, problem::Problem, state::ApiState};

/// The signed-in caller, authenticated by the gate before the handler runs.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) OpContext);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(no_token)
    }
}

/// 401 where no token was sent at all.
pub(crate) fn no_token() -> Problem {
    let detail = "A valid access token is needed";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
}

/// Where a request comes from.
#[derive(Clone)]
pub(crate) struct Source(pub(crate) Arc<RequestInfo>);

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::internal)
    }
}

/// The bearer token of a request (RFC 6750 section 2.1), if it carries one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The one id in the path; any well-formed UUID.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
        id.map(Self)
            .ok_or_else(|| Problem::malformed_field("id", "invalid_value", "Expected a UUID"))
    }
}

/// The query string; unknown parameters are refused by `T` itself.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| {
            let message = rejection.body_text();
            let field = message.split('`').nth(1).unwrap_or("query").to_owned();
            if message.contains("unknown field") {
                return Problem::malformed_field(
                    field,
                    "unknown_field",
                    "This parameter is not known here",
                );
            }
            Problem::malformed_field("query", "invalid_value", "A parameter is not acceptable")
        })
    }
}

/// `Idempotency-Key`: a quoted structured-field string or bare, 1 to 255 visible
/// ASCII characters.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        idempotency_key(&parts.headers).map(Self)
    }
}

/// `Idempotency-Key` where money moves: without one, 400 `idempotency_key_required`.
pub(crate) struct RequiredIdempotencyKey(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for RequiredIdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        idempotency_key(&parts.headers)?.map(Self).ok_or_else(|| {
            let detail = "Send an Idempotency-Key header: this request moves money";
            Problem::malformed("idempotency_key_required", detail)
        })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = headers.get_all("idempotency-key").iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let wrong = || {
        let message = "Expected 1 to 255 visible ASCII characters, bare or between double quotes";
        Problem::malformed_field("Idempotency-Key", "invalid_value", message)
    };
    let text = line.to_str().map_err(|_| wrong())?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted).ok_or_else(wrong)?,
        None => text.to_owned(),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if lines.next().is_some() || !visible || !(1..=255).contains(&key.len()) {
        return Err(wrong());
    }
    Ok(Some(key))
}

/// The rest of a structured-field string after its first quote (RFC 9651 section 4.2.5).
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(text),
            '\\' => match letters.next()? {
                escaped @ ('"' | '\\') => text.push(escaped),
                _ => return None,
            },
            letter => text.push(letter),
        }
    }
}

/// `If-Match`: the version that the caller has seen. Missing: 428. One that is no
/// version of ours can match nothing: 412.
pub(crate) struct IfMatch(pub(crate) i64);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if_match(&parts.headers)?.map(Self).ok_or_else(|| {
            let detail = "Send If-Match with the ETag of the object as you read it";
            let status = StatusCode::PRECONDITION_REQUIRED;
            Problem::new(status, "precondition_required", detail)
        })
    }
}

/// `If-Match` where it is not demanded.
pub(crate) struct MaybeIfMatch(pub(crate) Option<i64>);

impl<S: Sync> FromRequestParts<S> for MaybeIfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if_match(&parts.headers).map(Self)
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(line) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = line.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    // The whole number and nothing else: `"+1"` and `"01"` are other texts.
    let parsed = version
        .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    parsed.map(Some).ok_or_else(|| {
        let detail = "The object has changed since it was read; read it again";
        Problem::new(StatusCode::PRECONDITION_FAILED, "version_conflict", detail)
    })
}

/// What a list's parameters have in common.
pub(crate) trait PageParameters: Serialize {
    /// `limit`.
    fn limit(&self) -> Option<u32>;
    /// `cursor`.
    fn cursor(&self) -> Option<&str>;
}

/// The parameters of a list without filters.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

impl PageParameters for PageQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

/// A parameter out of a closed list of names.
pub(crate) fn named<T: FromStr>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    let message = "Not one of the known names";
    let unknown = |_| Problem::malformed_field(field, "invalid_value", message);
    text.map(str::parse).transpose().map_err(unknown)
}

/// A page asked for, and how to write the cursor of the next one.
pub(crate) struct Paging {
    pub(crate) request: PageRequest,
    binding: Binding,
    keys: Arc<tenancy::keyring::TenantKeys>,
}

impl Paging {
    /// Checks `limit` and opens the cursor. `route` is the template.
    pub(crate) async fn of(
        state: &ApiState,
        context: &OpContext,
        route: &str,
        parameters: &impl PageParameters,
    ) -> Result<Self, Problem> {
        let limit = parameters.limit().unwrap_or(page::LIMIT_DEFAULT);
        if !(1..=page::LIMIT_MAX).contains(&limit) {
            let message = format!("Expected 1 to {}", page::LIMIT_MAX);
            return Err(Problem::malformed_field("limit", "invalid_value", message));
        }
        let keys = state.keyring.tenant(state.operations.database(), context).await?;
        let binding = Binding::new(context, route, parameters);
        let after =
            parameters.cursor().map(|cursor| binding.open(keys.cursor(), cursor)).transpose()?;
        Ok(Self { request: PageRequest { limit, after }, binding, keys })
    }

    /// The cursor of a position.
    pub(crate) fn cursor(&self, position: Option<&str>) -> Option<String> {
        position.map(|position| self.binding.seal(self.keys.cursor(), position))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderValue};

    use super::idempotency_key;

    #[test]
    fn keys_are_read_bare_and_quoted() {
        let long = "k".repeat(255);
        let too_long = "k".repeat(256);
        // header, key
        let table = [
            ("abc-1", Some("abc-1")),
            ("\"abc-1\"", Some("abc-1")),
            (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
            (long.as_str(), Some(long.as_str())),
            (too_long.as_str(), None),
            ("\"\"", None),
            ("\"abc", None),
            ("\"abc\"x", None),
            ("\"a\\bc\"", None),
            ("a b", None),
            ("\"a b\"", None),
        ];
        for (header, key) in table {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_str(header).unwrap());
            assert_eq!(idempotency_key(&headers).ok().flatten().as_deref(), key, "{header}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(idempotency_key(&twice).is_err());
    }
}
