//! Owns the console's cookies: their names, their attributes, their reading.
//!
//! All are `__Host-`: secure, for this host alone, for every path (RFC 6265bis
//! section 4.1.3.2), so no sister host can plant one, and `SameSite=Strict`, so none of
//! them comes along with anything that another site sends; a link in an e-mail opens
//! the page all the same (`onward`). Scripts read none of them; the one cookie that a
//! script keeps for itself (whether single letters are shortcuts) is `keys.js`'s. Refuses
//! to know what the values mean.

use http::{HeaderMap, HeaderValue, header};

/// The session's opaque token.
pub(crate) const SESSION: &str = "__Host-strongroom";
/// What the sign-in form must repeat, before there is a session.
pub(crate) const BEFORE: &str = "__Host-strongroom-form";
/// The pending state between a right password and a second factor.
pub(crate) const SECOND_STEP: &str = "__Host-strongroom-step";
/// What a phone's code belongs to, while it is waited for.
pub(crate) const PHONE: &str = "__Host-strongroom-phone";
/// What tells one browser from another of its kind: a part of the device's fingerprint.
pub(crate) const DEVICE: &str = "__Host-strongroom-device";
/// `light` or `dark`, where somebody chose.
pub(crate) const THEME: &str = "__Host-strongroom-theme";
/// One message for the next page.
pub(crate) const FLASH: &str = "__Host-strongroom-flash";

const YEAR_S: u64 = 31_536_000;

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// Until the browser closes; the server's own end comes first.
    Session,
    /// A year.
    Year,
    /// So many seconds.
    Seconds(u64),
    /// Not at all.
    Drop,
}

/// The value of a cookie; none where it is there twice, for then somebody plays.
pub(crate) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut found = pairs.filter_map(|pair| {
        let (given, value) = pair.trim().split_once('=')?;
        (given == name).then_some(value)
    });
    let value = found.next()?;
    found.next().is_none().then_some(value)
}

/// Adds a `Set-Cookie`. Values are of our own alphabet; any other is dropped.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str, keep: Keep) {
    let age = match keep {
        Keep::Session => String::new(),
        Keep::Year => format!("; Max-Age={YEAR_S}"),
        Keep::Seconds(seconds) => format!("; Max-Age={seconds}"),
        Keep::Drop => "; Max-Age=0".to_owned(),
    };
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !value.bytes().all(sane) {
        return;
    }
    let line = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{age}");
    if let Ok(mut line) = HeaderValue::from_str(&line) {
        line.set_sensitive(true);
        headers.append(header::SET_COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderValue, header};

    use super::{FLASH, Keep, SESSION, THEME, read, set};

    fn jar(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn one_cookie_is_read_and_two_are_none() {
        let table: [(&[&'static str], Option<&str>); 7] = [
            (&["__Host-strongroom=abc"], Some("abc")),
            (&["a=b; __Host-strongroom=abc; c=d"], Some("abc")),
            (&["a=b", "__Host-strongroom=abc"], Some("abc")),
            (&["__Host-strongroom=abc; __Host-strongroom=xyz"], None),
            (&["__Host-strongroom=abc", "__Host-strongroom=abc"], None),
            (&["__host-strongroom=abc"], None),
            (&["x__Host-strongroom=abc"], None),
        ];
        for (lines, value) in table {
            assert_eq!(read(&jar(lines), SESSION), value, "{lines:?}");
        }
        assert_eq!(read(&HeaderMap::new(), THEME), None);
    }

    #[test]
    fn every_cookie_is_host_only_secure_and_unreadable_by_scripts() {
        let mut headers = HeaderMap::new();
        set(&mut headers, SESSION, "console_1_a-b", Keep::Session);
        let line = headers.get(header::SET_COOKIE).unwrap().to_str().unwrap();
        let attributes = "; Path=/; Secure; HttpOnly; SameSite=Strict";
        assert_eq!(line, format!("__Host-strongroom=console_1_a-b{attributes}"));
        let mut headers = HeaderMap::new();
        set(&mut headers, FLASH, "a; Domain=example.com", Keep::Seconds(9));
        assert!(headers.is_empty(), "no attribute is smuggled in by a value");
    }
}
