//! Owns what handlers are given of a request beside its body: the caller, path
//! ids, query parameters, pages, and the headers that change what a command does.
//!
//! Refuses to decide anything: it reads, or answers 400, 401 or 428.

use std::{error::Error as _, iter::successors, str::FromStr, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, Path, Query, rejection::QueryRejection},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use operation::{Page, PageRequest, page};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tenancy::{OpContext, RequestInfo};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{cursor::Binding, problem::Problem, state::ApiState, wire::List};

/// The signed-in caller, authenticated by the gate before the handler runs.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) OpContext);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(no_token)
    }
}

/// What an unsigned transfer may move at most, in minor units: there where the tenant's policy
/// wants what is over its ceiling signed.
#[derive(Clone, Copy)]
pub(crate) struct UnsignedLimit(pub(crate) i64);

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

/// The bearer token of a request (RFC 6750 section 2.1), if it carries one. Two
/// `Authorization` headers are 400: parties on the way might each believe another.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let parts = lines.next().and_then(|line| line.to_str().ok()?.split_once(' '));
    if lines.next().is_some() {
        let message = "Expected no more than one such header";
        return Err(Problem::malformed_field("Authorization", "invalid_value", message));
    }
    let token = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(token.map(|(_, token)| token.trim()))
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
        query.map(|Query(value)| Self(value)).map_err(|rejection| parameter_at_fault(&rejection))
    }
}

/// What serde found wrong with a query, in our words.
fn parameter_at_fault(rejection: &QueryRejection) -> Problem {
    let mut causes = successors(rejection.source(), |&error| error.source());
    let fault = causes.find_map(|error| error.downcast_ref::<ParameterError>());
    let path = fault.map_or_else(|| ".".to_owned(), |error| error.path().to_string());
    let message = fault.map(|error| error.inner().to_string()).unwrap_or_default();
    // serde's own words name the parameter between backquotes; its values are the caller's.
    let named = message.split('`').nth(1).unwrap_or("query");
    let (code, words) = match message.split(' ').next() {
        _ if path != "." && path != named => ("invalid_value", "The value is not acceptable"),
        Some("unknown") => ("unknown_field", "This parameter is not known here"),
        Some("missing") => ("missing_field", "This parameter is required"),
        Some("duplicate") => ("duplicate_field", "This parameter is given twice"),
        _ => ("invalid_value", "A parameter is not acceptable"),
    };
    Problem::malformed_field(if path == "." { named } else { &path }, code, words)
}

/// What axum's query rejections are caused by.
type ParameterError = serde_path_to_error::Error<serde::de::value::Error>;

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
    let key = line.to_str().ok().and_then(key_of).filter(|_| lines.next().is_none());
    key.map(Some).ok_or_else(|| malformed_key("Idempotency-Key"))
}

/// A key as it is written in the header, or in a batch: `k` and `"k"` are the same.
pub(crate) fn key_of(text: &str) -> Option<String> {
    let text = text.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => text.to_owned(),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && (1..=255).contains(&key.len())).then_some(key)
}

/// 400 about a key that is none.
pub(crate) fn malformed_key(field: &'static str) -> Problem {
    let message = "Expected 1 to 255 visible ASCII characters, bare or between double quotes";
    Problem::malformed_field(field, "invalid_value", message)
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

/// `If-Match`: the version that the caller has seen, or none for `*`, which is any
/// (RFC 9110 section 13.1.1). Missing: 428. One that is no version of ours can match
/// nothing: 412.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<i64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if_match(&parts.headers)?.ok_or_else(|| {
            let detail = "Send If-Match with the ETag of the object as you read it";
            let status = StatusCode::PRECONDITION_REQUIRED;
            Problem::new(status, "precondition_required", detail)
        })
    }
}

/// `If-Match` where it is not demanded; `*` asks for no more than leaving it out.
pub(crate) struct MaybeIfMatch(pub(crate) Option<i64>);

impl<S: Sync> FromRequestParts<S> for MaybeIfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(if_match(&parts.headers)?.and_then(|IfMatch(version)| version)))
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let Some(line) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = line.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Some(IfMatch(None)));
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    // The whole number and nothing else: `"+1"` and `"01"` are other texts.
    let parsed = version
        .and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == text));
    parsed.map(|version| Some(IfMatch(Some(version)))).ok_or_else(|| {
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
    /// `count`.
    fn count(&self) -> bool;
}

/// The parameters of a list without filters.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for PageQuery {
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
        let request = PageRequest { limit, after, count: parameters.count() };
        Ok(Self { request, binding, keys })
    }

    /// The page as it goes out.
    pub(crate) fn answer<T, W: Serialize + ToSchema>(
        &self,
        page: Page<T>,
        to_wire: impl Fn(T) -> W,
    ) -> Response {
        let next_cursor = self.cursor(page.next.as_deref());
        let data = page.data.into_iter().map(to_wire).collect();
        let mut response = Json(List { data, next_cursor }).into_response();
        count(&mut response, page.total);
        response
    }

    /// The cursor of a position.
    pub(crate) fn cursor(&self, position: Option<&str>) -> Option<String> {
        position.map(|position| self.binding.seal(self.keys.cursor(), position))
    }
}

/// Says how many objects the list has, where they were counted.
pub(crate) fn count(response: &mut Response, total: Option<usize>) {
    if let Some(total) = total {
        response.headers_mut().insert("x-total-count", HeaderValue::from(total));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::extract::Query;
    use http::{HeaderMap, HeaderValue, header};
    use serde::Deserialize;

    use super::{IfMatch, bearer, idempotency_key, if_match, parameter_at_fault};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Sizes {
        from: u64,
        limit: Option<u32>,
    }

    #[test]
    fn every_fault_names_its_parameter() {
        // query, field, code of the field
        let table = [
            ("from=1&limit=-1", "limit", "invalid_value"),
            ("from=1&limit=x", "limit", "invalid_value"),
            ("from=1&limit=", "limit", "invalid_value"),
            ("from=1&limit=4294967296", "limit", "invalid_value"),
            ("from=unknown+field+%60x%60", "from", "invalid_value"),
            ("limit=1", "from", "missing_field"),
            ("from=1&from=2", "from", "duplicate_field"),
            ("from=1&x.y=2", "x.y", "unknown_field"),
        ];
        for (query, field, code) in table {
            let uri = format!("/?{query}").parse().unwrap();
            let rejection = Query::<Sizes>::try_from_uri(&uri).unwrap_err();
            let problem = parameter_at_fault(&rejection);
            assert_eq!((problem.status.as_u16(), problem.errors.len()), (400, 1), "{query}");
            let error = &problem.errors[0];
            assert_eq!((error.field.as_ref(), error.code.as_ref()), (field, code), "{query}");
        }
    }

    #[test]
    fn a_version_is_a_quoted_number_or_a_star() {
        // header, version: none is refused
        let table = [
            ("\"7\"", Some(IfMatch(Some(7)))),
            ("*", Some(IfMatch(None))),
            (" * ", Some(IfMatch(None))),
            ("\"*\"", None),
            ("W/\"7\"", None),
            ("7", None),
            ("\"07\"", None),
            ("", None),
        ];
        for (text, version) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_str(text).unwrap());
            assert_eq!(if_match(&headers).ok().flatten(), version, "{text}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn there_is_one_token_or_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers).unwrap(), None);
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("bearer abc"));
        assert_eq!(bearer(&headers).unwrap(), Some("abc"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(bearer(&headers).unwrap_err().status.as_u16(), 400);
    }

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
