//! Who we are to browsers: the relying party's id and its one origin, out of `PUBLIC_URL`.
//!
//! It refuses to know requests: what a `Host` header says would let a phishing site name itself.

/// A site that passkeys are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelyingParty {
    /// A host name: passkeys belong to it and work nowhere else.
    pub(crate) id: String,
    /// Scheme, host and port as a browser writes them.
    pub(crate) origin: String,
}

impl RelyingParty {
    /// The party of a public URL. None where it has no host name: passkeys are not to be had
    /// under an address (WebAuthn section 5.1.2 wants a domain).
    pub(crate) fn of(public_url: &str) -> Option<Self> {
        let (scheme, rest) = public_url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let usual_port = match scheme.as_str() {
            "https" => "443",
            "http" => "80",
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let id = host.to_ascii_lowercase();
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.len() <= 5;
        if !is_domain(&id) || !digits {
            return None;
        }
        let port =
            if port.is_empty() || port == usual_port { String::new() } else { format!(":{port}") };
        Some(Self { origin: format!("{scheme}://{id}{port}"), id })
    }
}

/// A name of labels whose last one is not a number (that would be an IPv4 address).
fn is_domain(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::RelyingParty;

    #[test]
    fn a_party_is_a_host_name_and_an_origin() {
        // PUBLIC_URL, id and origin
        let table = [
            ("https://bank.example", Some(("bank.example", "https://bank.example"))),
            ("https://bank.example/", Some(("bank.example", "https://bank.example"))),
            ("https://Bank.Example:443", Some(("bank.example", "https://bank.example"))),
            ("https://bank.example:8443", Some(("bank.example", "https://bank.example:8443"))),
            ("http://localhost:8080", Some(("localhost", "http://localhost:8080"))),
            ("http://localhost:80", Some(("localhost", "http://localhost"))),
            ("http://localhost:443", Some(("localhost", "http://localhost:443"))),
            ("HTTPS://bank.example/t/x?y#z", Some(("bank.example", "https://bank.example"))),
            ("https://192.0.2.1", None),
            ("https://127.0.0.1:8080", None),
            ("https://[::1]:8080", None),
            ("https://user@bank.example", None),
            ("https://bank.example:port", None),
            ("https://bank..example", None),
            ("https://", None),
            ("ftp://bank.example", None),
            ("bank.example", None),
        ];
        for (url, expected) in table {
            let party = RelyingParty::of(url);
            let found = party.as_ref().map(|party| (party.id.as_str(), party.origin.as_str()));
            assert_eq!(found, expected, "{url}");
        }
    }
}
