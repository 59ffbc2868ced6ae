//! Owns reading where to: scheme, host, port and path of an address, and what no destination
//! may have.

use std::net::IpAddr;

use hyper::Uri;

use crate::guard::Guard;

const URL_BYTES_MAX: usize = 2_048;

/// Why an address is no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationFault {
    /// No absolute address with a host.
    #[error("Expected an absolute address such as https://example.org/hook")]
    Malformed,
    /// Too long.
    #[error("Expected at most 2048 bytes")]
    TooLong,
    /// A scheme that is not spoken.
    #[error("Expected https")]
    Scheme,
    /// A user name or password: they would be stored and told.
    #[error("Expected no user name and no password in it")]
    UserInfo,
    /// A part behind `#`, which is never sent.
    #[error("Expected nothing behind a #")]
    Fragment,
    /// An address, or this machine's own name, that the guard does not admit.
    #[error("Expected a host of the public internet")]
    NotPublic,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub(crate) is_https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    authority: String,
    path: String,
}

impl Destination {
    /// Reads an http or https address.
    pub fn parse(url: &str) -> Result<Self, DestinationFault> {
        if url.len() > URL_BYTES_MAX {
            return Err(DestinationFault::TooLong);
        }
        if url.contains('#') {
            return Err(DestinationFault::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| DestinationFault::Malformed)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(DestinationFault::Scheme),
            None => return Err(DestinationFault::Malformed),
        };
        let authority = uri.authority().ok_or(DestinationFault::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(DestinationFault::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.as_str().ends_with(':') {
            return Err(DestinationFault::Malformed);
        }
        let default_port = if is_https { 443 } else { 80 };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(default_port),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// Reads an address that somebody outside chose: https where the guard is set, and no
    /// host that plainly is not public. What a name leads to is judged at every connection.
    pub fn chosen(url: &str, guard: Guard) -> Result<Self, DestinationFault> {
        let destination = Self::parse(url)?;
        if guard == Guard::Any {
            return Ok(destination);
        }
        if !destination.is_https {
            return Err(DestinationFault::Scheme);
        }
        let host = destination.host.trim_end_matches('.');
        let is_own_name = host == "localhost" || host.ends_with(".localhost");
        let is_refused = host.parse::<IpAddr>().is_ok_and(|address| !guard.admits(address));
        if is_own_name || is_refused {
            return Err(DestinationFault::NotPublic);
        }
        Ok(destination)
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Host and port as they were written: the value of `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_an_address() {
        let table = [
            ("https://Hook.example/a?b=c", (true, "hook.example", 443, "/a?b=c")),
            ("http://hook.example", (false, "hook.example", 80, "/")),
            ("https://[2606:4700::1]:8443/x", (true, "2606:4700::1", 8443, "/x")),
        ];
        for (url, (is_https, host, port, path)) in table {
            let read = Destination::parse(url).unwrap();
            let found = (read.is_https, read.host.as_str(), read.port, read.path());
            assert_eq!(found, (is_https, host, port, path), "{url}");
        }
    }

    #[test]
    fn what_no_destination_may_have() {
        use DestinationFault::{Fragment, Malformed, NotPublic, Scheme, TooLong, UserInfo};
        let long = format!("https://hook.example/{}", "a".repeat(URL_BYTES_MAX));
        let table = [
            ("", Malformed),
            ("/path", Malformed),
            ("hook.example", Malformed),
            ("https://", Malformed),
            ("https://hook.example:/", Malformed),
            ("https://ho ok.example/", Malformed),
            ("ftp://hook.example/", Scheme),
            ("http://hook.example/", Scheme),
            ("https://user@hook.example/", UserInfo),
            ("https://user:secret@hook.example/", UserInfo),
            ("https://hook.example/#part", Fragment),
            (long.as_str(), TooLong),
            ("https://127.0.0.1/", NotPublic),
            ("https://[::1]/", NotPublic),
            ("https://[::ffff:10.0.0.1]/", NotPublic),
            ("https://169.254.169.254/latest/meta-data", NotPublic),
            ("https://LOCALHOST/", NotPublic),
            ("https://a.localhost./", NotPublic),
        ];
        for (url, fault) in table {
            assert_eq!(Destination::chosen(url, Guard::PublicOnly), Err(fault), "{url}");
        }
        assert!(Destination::chosen("https://hook.example:8443/a", Guard::PublicOnly).is_ok());
        assert!(Destination::chosen("http://127.0.0.1:9/", Guard::Any).is_ok());
    }
}
