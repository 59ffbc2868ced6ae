//! Owns one question to a store: where it may be asked, how long for, and reading the answer.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use outward::{Client, Destination, Guard};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::Refusal;

/// For a reference, with all that it takes to be told who asks.
const PATIENCE: Duration = Duration::from_secs(30);
/// The clouds' own address of a machine's identity: silent elsewhere.
const METADATA_PATIENCE: Duration = Duration::from_secs(3);
/// Spoken to in the clear: this machine, and what clouds tell a machine of itself.
const PLAIN_HOSTS: [&str; 5] =
    ["localhost", "127.0.0.1", "[::1]", "169.254.169.254", "[fd00:ec2::254]"];

/// Where a question goes, for the operator: the variable that moves it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// What is asked, in a fault.
    pub(crate) who: &'static str,
    /// The variable that its address comes from.
    pub(crate) variable: &'static str,
    /// Whether it answers at once or never.
    pub(crate) is_metadata: bool,
}

/// A question.
pub(crate) struct Question<'a> {
    pub(crate) place: Place,
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// An answer; its body is never repeated.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    body: Zeroizing<Vec<u8>>,
}

impl Answered {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Refusal::Unreadable)
    }

    /// The body as text, as machines of AWS are told of themselves.
    #[cfg(feature = "aws")]
    pub(crate) fn text(&self) -> Result<Zeroizing<String>, Refusal> {
        let text = std::str::from_utf8(&self.body).map_err(|_| Refusal::Unreadable)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Itself, where the question was answered.
    pub(crate) fn or_refused(self) -> Result<Self, Refusal> {
        match self.status {
            status if status.is_success() => Ok(self),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Refusal::Denied),
            StatusCode::NOT_FOUND => Err(Refusal::NotFound),
            status => Err(Refusal::Refused(status.as_u16())),
        }
    }
}

/// Runs to its end, wherever it is called: configuration is read before anything else, and
/// perhaps inside a runtime that must not be held up.
pub(crate) fn waited_for<T: Send>(
    asking: impl Future<Output = Result<T, Refusal>> + Send,
) -> Result<T, Refusal> {
    let nowhere = Refusal::Unreached("nothing runs here", "no thread");
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|_| nowhere)?.block_on(async {
            let late = Err(Refusal::Unreached("the store", "timeout"));
            timeout(PATIENCE, asking).await.unwrap_or(late)
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or(Err(nowhere)))
}

/// Asks, over TLS that the system's roots vouch for. A redirect is an answer like any other.
pub(crate) async fn ask(question: Question<'_>) -> Result<Answered, Refusal> {
    let place = question.place;
    let destination = destination(place, question.url)?;
    let mut request = Request::builder()
        .method(&question.method)
        .uri(destination.path())
        .header(header::HOST, destination.authority());
    for (name, value) in question.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(question.body)));
    // A header that cannot be sent: a credential with a line feed in it.
    let request = request.map_err(|_| Refusal::NoCredentials("they cannot stand in a header"))?;
    let unreached = |_| Refusal::Unreached(place.who, "no roots to trust");
    let client = if question.url.starts_with("https://") {
        Client::new(Guard::Any, None).map_err(unreached)?
    } else {
        Client::plain(Guard::Any)
    };
    let asking = async {
        let mut connection = client.connect(&destination).await?;
        connection.ask(request).await
    };
    let patience = if place.is_metadata { METADATA_PATIENCE } else { PATIENCE };
    let answer = timeout(patience, asking)
        .await
        .unwrap_or(Err(outward::Unreached::Timeout))
        .map_err(|why| Refusal::Unreached(place.who, said(why)))?;
    let body = answer.body.ok_or(Refusal::Unreadable)?;
    Ok(Answered { status: answer.status, body: Zeroizing::new(Vec::from(body)) })
}

fn destination(place: Place, url: &str) -> Result<Destination, Refusal> {
    let refused = Refusal::Endpoint(place.variable);
    let destination = Destination::parse(url).map_err(|_| refused)?;
    let authority = destination.authority();
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(authority, |(host, _)| host);
    let may_be_read_by_others = url.starts_with("http://") && !PLAIN_HOSTS.contains(&host);
    if may_be_read_by_others { Err(refused) } else { Ok(destination) }
}

fn said(why: outward::Unreached) -> &'static str {
    match why {
        outward::Unreached::Unreachable => "unreachable",
        outward::Unreached::AddressRefused => "address refused",
        outward::Unreached::TlsRefused => "TLS refused",
        outward::Unreached::ConnectionLost => "connection lost",
        outward::Unreached::Timeout => "timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_cross_no_network_in_the_clear() {
        let place = Place { who: "it", variable: "AWS_ENDPOINT_URL", is_metadata: false };
        for (url, is_admitted) in [
            ("https://kms.eu-central-1.amazonaws.com/", true),
            ("http://127.0.0.1:5000/", true),
            ("http://[::1]:5000/", true),
            ("http://169.254.169.254/latest/api/token", true),
            ("http://kms.eu-central-1.amazonaws.com/", false),
            ("http://127.0.0.1.example.org/", false),
            ("http://user@127.0.0.1/", false),
            ("ftp://127.0.0.1/", false),
            ("127.0.0.1:5000", false),
        ] {
            let judged = destination(place, url);
            assert_eq!(judged.is_ok(), is_admitted, "{url}");
        }
    }
}
