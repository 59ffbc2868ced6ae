//! Owns AWS Signature Version 4, as far as it is needed: a POST to `/` without a query.

use std::fmt::Write as _;

use vault::{hmac_sha256, sha256};
use zeroize::Zeroizing;

use super::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is good for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// As `20150830T123600Z`.
    pub(super) at: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// The header `Authorization`. The headers are those that are signed, in lower case and by name.
pub(super) fn authorization(
    credentials: &Credentials,
    scope: &Scope<'_>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let day = scope.at.split('T').next().unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    // It may hold a session's token.
    let mut canonical = Zeroizing::new("POST\n/\n\n".to_owned());
    for (name, value) in headers {
        // Writing to a String cannot fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", hexadecimal(&sha256(body)));
    let digest = hexadecimal(&sha256(canonical.as_bytes()));
    let to_sign = format!("{ALGORITHM}\n{}\n{place}\n{digest}", scope.at);
    let signature = hmac_sha256(&*signing_key(credentials, scope, day), to_sign.as_bytes());
    format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={names}, Signature={}",
        credentials.id,
        hexadecimal(&signature)
    )
}

/// Good for one day, region and service: what leaks of it opens no other.
fn signing_key(credentials: &Credentials, scope: &Scope<'_>, day: &str) -> Zeroizing<[u8; 32]> {
    let secret = Zeroizing::new(format!("AWS4{}", *credentials.secret));
    [scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(Zeroizing::new(hmac_sha256(secret.as_bytes(), day.as_bytes())), |key, part| {
            Zeroizing::new(hmac_sha256(&*key, part.as_bytes()))
        })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credentials of AWS' own examples and test suite.
    fn example() -> Credentials {
        Credentials {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Zeroizing::new(["wJalrXUtnFEMI", "K7MDENG+bPxRfiCYEXAMPLEKEY"].join("/")),
            token: None,
        }
    }

    /// `post-vanilla` of AWS' Signature Version 4 test suite.
    #[test]
    fn the_published_request_has_the_published_signature() {
        let at = "20150830T123600Z";
        let scope = Scope { at, region: "us-east-1", service: "service" };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", at)];
        assert_eq!(
            authorization(&example(), &scope, &headers, b""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
    }

    /// The signing key that AWS' documentation derives step by step.
    #[test]
    fn the_published_key_is_derived() {
        let scope = Scope { at: "20150830T123600Z", region: "us-east-1", service: "iam" };
        assert_eq!(
            hexadecimal(&*signing_key(&example(), &scope, "20150830")),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }
}
