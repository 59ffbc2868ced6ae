//! The outermost layer: gives a request its id and its source, and an answer its
//! headers and, where it is an error, its body.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use metrics::Histogram;
use tenancy::{Clock, RequestInfo};
use tracing::Instrument as _;

use super::{headers, pages::IsPage};
use crate::{
    client::{self, ClientCertificate},
    config::ApiConfig,
    extract::Source,
    problem::{PROBLEM_JSON, Problem},
    state::ApiState,
};

const REQUEST_ID: &str = "x-request-id";
/// Characters of a caller's `X-Request-ID`.
const REQUEST_ID_LETTERS: std::ops::RangeInclusive<usize> = 1..=128;
/// Characters of a user agent that are kept.
const USER_AGENT_LETTERS: usize = 512;
/// Characters of client hints that are kept.
const CLIENT_HINTS_LETTERS: usize = 128;
/// Characters of `X-Device-Id`.
const DEVICE_ID_LETTERS: std::ops::RangeInclusive<usize> = 16..=128;

/// The frame around whatever serves the request.
pub(super) async fn frame(
    state: &ApiState,
    mut request: Request,
    served: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let started = Instant::now();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let mut source = source(request.headers(), peer, &state.config, &state.clock);
    let certificate = request.extensions().get::<ClientCertificate>();
    source.certificate_thumbprint = certificate.map(|own| own.thumbprint.clone());
    let source = Arc::new(source);
    let trace = trace_id(request.headers()).unwrap_or_default().to_owned();
    let method = request.method().clone();
    request.extensions_mut().insert(Source(Arc::clone(&source)));
    // For the pages, which are another crate's.
    request.extensions_mut().insert(Arc::clone(&source));
    let response = match check_host(&request, &state.config) {
        Ok(()) => {
            let span = tracing::error_span!("request", request_id = %source.id, trace_id = %trace);
            served(request).instrument(span).await
        }
        Err(problem) => problem.into_response(),
    };
    let response = finished(response, &source.id);
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    seconds_of(&method, status).record(elapsed.as_secs_f64());
    // Neither path nor query: ids are in the audit log, secrets must be nowhere.
    tracing::debug!(%method, status, request_id = %source.id, elapsed_us = elapsed.as_micros(), "answered");
    response
}

/// Methods as a metric's label: a closed list, whatever strangers invent.
const METHODS: [&str; 5] = ["GET", "POST", "PATCH", "DELETE", "other"];
/// One more than the highest status there is.
const STATUSES: usize = 600;
/// Looked up once: a look into the registry costs more than what it counts.
static SECONDS: [[OnceLock<Histogram>; STATUSES]; METHODS.len()] =
    [const { [const { OnceLock::new() }; STATUSES] }; METHODS.len()];

fn seconds_of(method: &http::Method, status: u16) -> &'static Histogram {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    let method = known.unwrap_or(METHODS.len() - 1);
    SECONDS[method][usize::from(status).min(STATUSES - 1)].get_or_init(|| {
        let labels = [("method", METHODS[method].to_owned()), ("status", status.to_string())];
        metrics::histogram!("strongroom_http_request_seconds", &labels)
    })
}

fn source(
    headers: &HeaderMap,
    peer: Option<std::net::IpAddr>,
    config: &ApiConfig,
    clock: &Clock,
) -> RequestInfo {
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    RequestInfo {
        id: request_id(headers).map_or_else(|| clock.new_id().to_string(), str::to_owned),
        ip: client::address(peer, headers, &config.trusted_proxies),
        user_agent: user_agent.map(|agent| agent.chars().take(USER_AGENT_LETTERS).collect()),
        client_hints: client_hints(headers),
        device_id: device_id(headers).map(str::to_owned),
        place: client::place(peer, headers, config),
        certificate_thumbprint: None,
        signed_by: None,
    }
}

/// The hints that browsers send with every request to a secure origin and that change no
/// more often than the device: which browser it is, the user agent says already.
fn client_hints(headers: &HeaderMap) -> Option<String> {
    let hints: Vec<&str> = ["sec-ch-ua-platform", "sec-ch-ua-mobile"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .collect();
    (!hints.is_empty()).then(|| hints.join(" ").chars().take(CLIENT_HINTS_LETTERS).collect())
}

/// What a client keeps on its device and sends each time; one that is none is not there.
fn device_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-device-id")?.to_str().ok()?;
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    (DEVICE_ID_LETTERS.contains(&id.len()) && visible).then_some(id)
}

/// The caller's id for this request, where it is one that may stand in a log.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (REQUEST_ID_LETTERS.contains(&id.len()) && id.bytes().all(sane)).then_some(id)
}

/// The trace id of a W3C `traceparent`, version 00 or later.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let known = version.len() == 2 && is_hex(version) && version != "ff";
    let whole = trace.len() == 32 && is_hex(trace) && trace.bytes().any(|digit| digit != b'0');
    (known && whole).then_some(trace)
}

/// Whether the request says for exactly one host that it is (RFC 9112 section 3.2), and
/// for one that is served. Whoever reads the first of two hosts and whoever reads the
/// second must not be led to different ones.
fn check_host(request: &Request, config: &ApiConfig) -> Result<(), Problem> {
    let one = "A request has to name one host";
    let unclear = || Problem::malformed_field("Host", "invalid_value", one);
    let mut headers = request.headers().get_all(header::HOST).iter();
    let header = headers.next().map(|host| host.to_str().map_err(|_| unclear())).transpose()?;
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = match (authority, header, headers.next()) {
        (_, _, Some(_)) | (None, None, None) => return Err(unclear()),
        (Some(authority), Some(header), None) if !authority.eq_ignore_ascii_case(header) => {
            return Err(unclear());
        }
        (Some(host), _, None) | (None, Some(host), None) => host,
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_served = config.allowed_hosts.is_empty()
        || config.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    let unknown = || Problem::malformed("unknown_host", "This host is not served here");
    is_served.then_some(()).ok_or_else(unknown)
}

fn finished(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let is_page = response.extensions_mut().remove::<IsPage>().is_some();
    if !is_page && (status.is_client_error() || status.is_server_error()) {
        let problem = response.extensions_mut().remove::<Problem>();
        let problem = problem.unwrap_or_else(|| Problem::of_status(status));
        write(&mut response, &problem, request_id);
    }
    if is_page {
        headers::complete(response.headers_mut());
    } else {
        headers::secure(response.headers_mut());
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn write(response: &mut Response, problem: &Problem, request_id: &str) {
    let body = problem.body(request_id).to_string();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    *response.status_mut() = if problem.status.as_u16() >= 400 {
        problem.status
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{request_id, trace_id};

    #[test]
    fn only_sane_ids_are_taken_over() {
        let long = "a".repeat(129);
        for (given, taken) in [
            ("abc-1.2:3_X", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (long.as_str(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(
                HeaderValue::from_str(given)
                    .ok()
                    .map(|value| (http::HeaderName::from_static("x-request-id"), value)),
            );
            assert_eq!(request_id(&headers).is_some(), taken, "{given}");
        }
    }

    #[test]
    fn traceparent_is_read_as_w3c_writes_it() {
        let table = [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("nonsense", false),
        ];
        for (given, taken) in table {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(given));
            assert_eq!(trace_id(&headers).is_some(), taken, "{given}");
        }
    }
}
