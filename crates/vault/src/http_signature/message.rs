//! A request or response as it is signed, and the values of its components (RFC 9421 section 2).
//!
//! It takes what stood on the wire and refuses what two readers could read as two things. It
//! refuses to know bodies (`content-digest` stands for them) and any HTTP library.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SignatureError;
use super::component::{Component, Parameter};
use super::structured::Dictionary;

/// A field line: name in any case, value as on the wire.
pub type FieldLine<'a> = (&'a str, &'a [u8]);

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// As sent; methods have case.
    pub method: &'a str,
    /// `https` or `http`: how the client reached us, which behind a proxy only settings know.
    pub scheme: &'a str,
    /// `Host`, or `:authority`.
    pub authority: &'a str,
    /// As in the request line: `/path?query`, `*`, or with scheme and authority.
    pub target: &'a str,
    /// In the order on the wire, with every repetition.
    pub fields: &'a [FieldLine<'a>],
}

/// A response.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// In the order on the wire, with every repetition.
    pub fields: &'a [FieldLine<'a>],
    /// What it answers, for components with `req`.
    pub request: Option<Request<'a>>,
}

/// What is signed.
#[derive(Clone, Copy)]
pub enum Message<'a> {
    /// A request.
    Request(Request<'a>),
    /// A response.
    Response(Response<'a>),
}

impl<'a> Message<'a> {
    pub(super) fn fields(&self) -> &'a [FieldLine<'a>] {
        match self {
            Self::Request(request) => request.fields,
            Self::Response(response) => response.fields,
        }
    }

    /// The value of a component, one line of printable ASCII.
    pub(super) fn value(&self, component: &Component) -> Result<String, SignatureError> {
        let value = match self {
            _ if !component.is_of_request() => self.own_value(component)?,
            Self::Response(Response { request: Some(request), .. }) => {
                Self::Request(*request).own_value(component)?
            }
            _ => return Err(absent(component)),
        };
        // A field may hold tabs inside, and nothing else that does not print.
        let tabs = !component.is_derived();
        let prints = |byte| (0x20..=0x7e).contains(&byte) || (tabs && byte == b'\t');
        if value.bytes().all(prints) { Ok(value) } else { Err(unusable(component)) }
    }

    fn own_value(&self, component: &Component) -> Result<String, SignatureError> {
        match (component.name(), self) {
            ("@status", Self::Response(response)) => Ok(response.status.to_string()),
            (name, Self::Request(request)) if name.starts_with('@') => request.derived(component),
            (name, _) if name.starts_with('@') => Err(absent(component)),
            _ => field_value(self.fields(), component),
        }
    }
}

/// A request target taken apart.
struct Target<'a> {
    /// Empty only for the server as a whole.
    path: &'a str,
    query: Option<&'a str>,
}

impl Request<'_> {
    fn derived(&self, component: &Component) -> Result<String, SignatureError> {
        let malformed = || unusable(component);
        match component.name() {
            "@method" => Ok(self.method.to_owned()),
            "@scheme" => Ok(self.scheme.to_ascii_lowercase()),
            "@authority" => self.authority().ok_or_else(malformed),
            "@request-target" => Ok(self.target.to_owned()),
            "@path" => {
                let path = self.target().ok_or_else(malformed)?.path;
                Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
            }
            "@query" => {
                let target = self.target().ok_or_else(malformed)?;
                Ok(format!("?{}", target.query.unwrap_or_default()))
            }
            "@target-uri" => {
                let Target { path, query } = self.target().ok_or_else(malformed)?;
                // As it was sent (RFC 9110 section 7.1): only `@authority` is normal.
                self.authority().ok_or_else(malformed)?;
                let authority = self.authority;
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                Ok(format!("{}://{authority}{path}{query}", self.scheme.to_ascii_lowercase()))
            }
            "@query-param" => {
                let query = self.target().ok_or_else(malformed)?.query.unwrap_or_default();
                query_parameter(query, component)
            }
            _ => Err(absent(component)),
        }
    }

    /// RFC 9110 section 4.2.3: lowercase, without the default port; `None` where it is none.
    fn authority(&self) -> Option<String> {
        normal_authority(self.scheme, self.authority)
    }

    fn target(&self) -> Option<Target<'_>> {
        if self.target == "*" {
            return Some(Target { path: "", query: None });
        }
        let local = if self.target.starts_with('/') {
            self.target
        } else {
            let (scheme, rest) = self.target.split_once("://")?;
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, local) = rest.split_at(end);
            // Which of two names was meant is nothing to guess about.
            let is_ours = scheme.eq_ignore_ascii_case(self.scheme)
                && normal_authority(scheme, authority)? == self.authority()?;
            if !is_ours {
                return None;
            }
            local
        };
        if local.contains('#') {
            return None;
        }
        let (path, query) = match local.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (local, None),
        };
        // OPTIONS to no path at all asks the server as a whole.
        let path = if path.is_empty() && self.method != "OPTIONS" { "/" } else { path };
        Some(Target { path, query })
    }
}

fn normal_authority(scheme: &str, authority: &str) -> Option<String> {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[host_end..].split_once(':') {
        Some((host, port)) => (&authority[..host_end + host.len()], port),
        None => (authority, ""),
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte);
    if host.is_empty() || !is_number || !host.bytes().all(is_host) {
        return None;
    }
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "https" => "443",
        "http" => "80",
        _ => "",
    };
    let host = host.to_ascii_lowercase();
    let is_default = port.is_empty() || port == default_port;
    Some(if is_default { host } else { format!("{host}:{port}") })
}

/// RFC 9421 section 2.2.8: read as a form, written with percent signs. A name that stands twice
/// has no one value, and what is no UTF-8 would be read as something else.
fn query_parameter(query: &str, component: &Component) -> Result<String, SignatureError> {
    let wanted = component.parameters().iter().find_map(|parameter| match parameter {
        Parameter::Name(name) => Some(name),
        _ => None,
    });
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What else stands in the query and is no text is somebody else's matter.
        if reencoded(name).as_ref() != wanted {
            continue;
        }
        if found.is_some() {
            return Err(unusable(component));
        }
        found = Some(reencoded(value).ok_or_else(|| unusable(component))?);
    }
    found.ok_or_else(|| absent(component))
}

/// A part of a query as the form reads it, in its one encoding; `None` where it is no UTF-8.
fn reencoded(part: &str) -> Option<String> {
    let bytes = part.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).ok()?);
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    let decoded = String::from_utf8(decoded).ok()?;
    Some(percent_encoded(&decoded))
}

/// The percent-encode set of forms (WHATWG URL), spaces as `%20`.
pub(super) fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'*' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

/// Whether a field is published as a dictionary, which cannot be seen on its value. Another one
/// cannot be covered with `sf`.
fn is_dictionary(name: &str) -> bool {
    matches!(
        name,
        "accept-signature"
            | "content-digest"
            | "priority"
            | "repr-digest"
            | "signature"
            | "signature-input"
            | "want-content-digest"
            | "want-repr-digest"
    )
}

fn field_value(fields: &[FieldLine<'_>], component: &Component) -> Result<String, SignatureError> {
    let name = component.name();
    let lines = lines(fields, name);
    if lines.is_empty() {
        return Err(absent(component));
    }
    let has = |wanted: &Parameter| component.parameters().contains(wanted);
    if has(&Parameter::Binary) {
        let wrap = |line: &&[u8]| format!(":{}:", STANDARD.encode(line));
        return Ok(lines.iter().map(wrap).collect::<Vec<_>>().join(", "));
    }
    // Its values hold commas, so that two lines and one line would look alike.
    if name == "set-cookie" && lines.len() > 1 {
        return Err(unusable(component));
    }
    let value = combined(&lines).ok_or_else(|| unusable(component))?;
    let key = component.parameters().iter().find_map(|parameter| match parameter {
        Parameter::Key(key) => Some(key),
        _ => None,
    });
    let malformed = |_| unusable(component);
    if let Some(key) = key {
        let dictionary = Dictionary::parse(&value).map_err(malformed)?;
        let member = dictionary.get(key).ok_or_else(|| absent(component))?;
        return Ok(member.to_string());
    }
    if !has(&Parameter::Structured) {
        return Ok(value);
    }
    if !is_dictionary(name) {
        return Err(unusable(component));
    }
    Dictionary::parse(&value).map(|value| value.to_string()).map_err(malformed)
}

/// Every line of a field, without the space around it.
pub(super) fn lines<'a>(fields: &[FieldLine<'a>], name: &str) -> Vec<&'a [u8]> {
    fields
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| trimmed(value))
        .collect()
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_space(byte)).count();
    let value = &value[start..];
    let end = value.iter().rev().take_while(|byte| is_space(byte)).count();
    &value[..value.len() - end]
}

/// Lines of ASCII as one value, `None` where they are not. Line breaks inside one, which are
/// obsolete, are refused where the value is looked at, as HTTP parsers refuse them before.
pub(super) fn combined(lines: &[&[u8]]) -> Option<String> {
    let lines: Option<Vec<&str>> = lines
        .iter()
        .map(|line| std::str::from_utf8(line).ok().filter(|line| line.is_ascii()))
        .collect();
    lines.map(|lines| lines.join(", "))
}

fn absent(component: &Component) -> SignatureError {
    SignatureError::ComponentAbsent(component.to_string())
}

fn unusable(component: &Component) -> SignatureError {
    SignatureError::ComponentUnusable(component.to_string())
}
