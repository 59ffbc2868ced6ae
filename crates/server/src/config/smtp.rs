//! Owns the form of `SMTP_URL`. Refuses to know what is sent.
//!
//! `smtps://` is TLS from the first byte (port 465), `smtp://` is STARTTLS, without which
//! nothing is sent (port 587). `?tls=none` behind the latter is for a mail catcher on a
//! developer's machine. User name and password are percent-encoded, as in a database URL.

use notify::SmtpSecurity;
use zeroize::Zeroizing;

/// What the text says.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: SmtpSecurity,
    pub(super) credentials: Option<(String, Zeroizing<String>)>,
}

/// None where it is no mail server's address.
pub(super) fn parse(text: &str) -> Option<Server> {
    let (scheme, rest) = text.split_once("://")?;
    let (rest, query) =
        rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (security, default_port) = match (scheme, query) {
        ("smtps", None) => (SmtpSecurity::Implicit, 465),
        ("smtp", None) => (SmtpSecurity::StartTls, 587),
        ("smtp", Some("tls=none")) => (SmtpSecurity::None, 25),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, server) = match rest.rsplit_once('@') {
        Some((login, server)) => (Some(login), server),
        None => (None, rest),
    };
    let credentials = match login.map(|login| login.split_once(':')) {
        Some(Some((user, password))) => Some((decoded(user)?, Zeroizing::new(decoded(password)?))),
        Some(None) => return None,
        None => None,
    };
    let (host, port) = split_port(server)?;
    Some(Server { host, port: port.unwrap_or(default_port), security, credentials })
}

/// `host`, `host:port`, `[::1]:port`.
fn split_port(server: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (host, port.strip_prefix(':'))
    } else {
        server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port)))
    };
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0));
    match port {
        _ if !is_host => None,
        None => Some((host.to_owned(), None)),
        Some(port) => Some((host.to_owned(), Some(port?))),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

/// The server without the password.
pub(super) fn shown(text: &str) -> String {
    let Some(server) = parse(text) else { return "[redacted]".to_owned() };
    let scheme = if server.security == SmtpSecurity::Implicit { "smtps" } else { "smtp" };
    let login =
        server.credentials.map(|(user, _)| format!("{user}:[redacted]@")).unwrap_or_default();
    let tls = if server.security == SmtpSecurity::None { "?tls=none" } else { "" };
    format!("{scheme}://{login}{}:{}{tls}", server.host, server.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_its_security_its_place_and_its_login() {
        let table = [
            ("smtps://mail.example", Some("smtps://mail.example:465")),
            ("smtp://mail.example/", Some("smtp://mail.example:587")),
            (
                "smtp://us%40er:p%3Aw%2Fd@mail.example:2525",
                Some("smtp://us@er:[redacted]@mail.example:2525"),
            ),
            ("smtp://localhost:1025?tls=none", Some("smtp://localhost:1025?tls=none")),
            ("smtps://[::1]:465", Some("smtps://::1:465")),
            ("smtps://mail.example?tls=none", None),
            ("smtp://mail.example?tls=maybe", None),
            ("smtp://user@mail.example", None),
            ("smtp://user:@mail.example", None),
            ("smtp://user:%0d%0a@mail.example", None),
            ("smtp://user:%zz@mail.example", None),
            ("smtp://mail.example:0", None),
            ("smtp://mail.example:x", None),
            ("smtp://mail example", None),
            ("https://mail.example", None),
            ("mail.example", None),
            ("smtp://", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).map(|_| shown(text)).as_deref(), expected, "{text}");
        }
        let server =
            parse("smtp://us%40er:p%3Aw%2Fd@mail.example").map(|server| server.credentials);
        let login = server.flatten().map(|(user, password)| (user, password.to_string()));
        assert_eq!(login, Some(("us@er".to_owned(), "p:w/d".to_owned())));
    }
}
