//! Owns the question whether a form was sent by our own page in this very browser.
//!
//! Three answers must agree: the browser says that the request is of our origin
//! (`Sec-Fetch-Site`, else `Origin`; one of them must be there), the cookie came along
//! under `SameSite`, and the form carries the token of this session (or, before there
//! is one, of this browser). Refuses to know what the form wants.

use http::{HeaderMap, header};
use identity::ConsoleSession;

use crate::params::Params;

/// The field of every form.
pub(crate) const FIELD: &str = "csrf";
/// The header of htmx's requests.
pub(crate) const HEADER: &str = "x-csrf-token";

/// Whether the browser vouches for the request's origin.
pub(crate) fn is_of_our_origin(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text("sec-fetch-site");
    let origin = text("origin");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match origin {
        Some(origin) => is_ours(origin, headers, public_url),
        None => site.is_some(),
    }
}

fn is_ours(origin: &str, headers: &HeaderMap, public_url: &str) -> bool {
    if origin.eq_ignore_ascii_case(public_url) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// Whether the form carries the token that is due.
pub(crate) fn owns_form(
    session: Option<&ConsoleSession>,
    before: Option<&str>,
    headers: &HeaderMap,
    form: &Params,
) -> bool {
    let sent = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let Some(presented) = sent.or_else(|| form.raw(FIELD)) else { return false };
    match (session, before) {
        (Some(session), _) => session.owns_form(presented),
        (None, Some(before)) => {
            before.len() == 64 && vault::constant_time_eq(before.as_bytes(), presented.as_bytes())
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{is_of_our_origin, owns_form};
    use crate::params::Params;

    #[test]
    fn only_our_own_origin_may_send_forms() {
        let table: [(&[(&str, &str)], bool); 11] = [
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://bank.example")], true),
            (&[("origin", "https://bank.example")], true),
            (&[("origin", "http://other:81"), ("host", "other:81")], true),
            (&[], false),
            (&[("origin", "null")], false),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("origin", "https://evil.example"), ("host", "bank.example")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://bank.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
        ];
        for (given, ours) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.insert(
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            assert_eq!(is_of_our_origin(&headers, "https://bank.example"), ours, "{given:?}");
        }
    }

    #[test]
    fn before_a_session_the_form_repeats_the_cookie() {
        let cookie = "a".repeat(64);
        let form = |token: &str| Params::parse(format!("csrf={token}").as_bytes()).unwrap();
        let headers = HeaderMap::new();
        assert!(owns_form(None, Some(&cookie), &headers, &form(&cookie)));
        for (before, token) in [
            (Some(cookie.as_str()), "b".repeat(64)),
            (Some(cookie.as_str()), String::new()),
            (None, cookie.clone()),
            (Some(""), String::new()),
        ] {
            assert!(!owns_form(None, before, &headers, &form(&token)));
        }
        assert!(!owns_form(None, Some(&cookie), &headers, &Params::default()));
    }
}
