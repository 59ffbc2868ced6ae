//! The cookie that tells one browser from another of its kind: a random id of its own, a
//! part of the fingerprint of the device that a session belongs to.
//!
//! It opens nothing and names nobody; identity keeps no more of it than a MAC over it and
//! what else a browser says of itself. It is given out on the way in, and only there: who
//! reads the documentation is not marked. What a program says of its device in a header
//! counts on the interface and not here. Refuses to know what a device is good for.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, header};
use tenancy::RequestInfo;

use crate::{
    cookies,
    frame::{Visit, new_token},
};

/// Letters of an id: 256 bits in hexadecimal.
const LETTERS: usize = 64;

/// The request as it comes from that browser, and the id that it is to keep where it
/// brought none.
pub(crate) fn known(
    source: &RequestInfo,
    headers: &HeaderMap,
) -> (Arc<RequestInfo>, Option<String>) {
    let brought = cookies::read(headers, cookies::DEVICE).filter(|id| is_ours(id));
    let made = brought.is_none().then(new_token);
    let device_id = brought.map(str::to_owned).or_else(|| made.clone());
    (Arc::new(RequestInfo { device_id, ..source.clone() }), made)
}

fn is_ours(id: &str) -> bool {
    id.len() == LETTERS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Gives the browser its id with the forms of the way in, and in any case with a session,
/// which began on the device of that id. A page that only asks to come again gives nothing.
pub(crate) fn keep(visit: &Visit, response: &mut Response) {
    let Some(id) = &visit.new_device else { return };
    let gives = |cookie: &str| {
        response.headers().get_all(header::SET_COOKIE).iter().any(|line| {
            let line = line.to_str().unwrap_or_default();
            let value = line.strip_prefix(cookie).and_then(|rest| rest.strip_prefix('='));
            value.is_some() && !line.contains("Max-Age=0")
        })
    };
    let is_way_in = visit.path == "/login" || visit.path.starts_with("/login/");
    if gives(cookies::SESSION) || (is_way_in && gives(cookies::BEFORE)) {
        cookies::set(response.headers_mut(), cookies::DEVICE, id, cookies::Keep::Year);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderValue, header};
    use tenancy::RequestInfo;

    use super::known;

    #[test]
    fn only_an_id_of_our_own_making_is_believed() {
        let good = "0123456789abcdef".repeat(4);
        let table = [
            (format!("__Host-strongroom-device={good}"), true),
            (format!("__Host-strongroom-device={}", &good[1..]), false),
            (format!("__Host-strongroom-device={}", good.to_uppercase()), false),
            (format!("__Host-strongroom-device={good}; __Host-strongroom-device={good}"), false),
            (String::new(), false),
        ];
        let said = RequestInfo { device_id: Some("x".repeat(64)), ..RequestInfo::default() };
        for (line, is_known) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(&line).unwrap());
            let (source, made) = known(&said, &headers);
            let id = source.device_id.as_deref().unwrap();
            assert_eq!((id == good, made.is_none()), (is_known, is_known), "{line}");
            assert_ne!(id, "x".repeat(64), "a header is not the cookie");
        }
    }
}
