//! Owns one `add-checkpoint`: the bytes of the question, and the two answers that mean
//! anything. An answer is bounded in time and length by `outward`.
//!
//! Refuses to know: whether a cosignature is good, and what is done where there is none.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outward::{Client, Destination, Unreached};
use tokio::time::timeout;

use super::AskFault;
use crate::merkle::Hash;
use crate::note::parse_size;

/// One question with its connection. A witness that needs longer is asked again later.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
const SIZE_TYPE: &str = "text/x.tlog.size";

/// What a witness answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Signature lines, nobody verified them yet.
    Cosigned(String),
    /// Where it stands, where the proof does not begin there.
    StandsAt(u64),
}

/// The body: the size that the proof begins at, the proof, the note.
pub(super) fn body(old: u64, proof: &[Hash], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        // Writing to a String cannot fail.
        let _ = writeln!(body, "{}", STANDARD.encode(hash));
    }
    body + "\n" + note
}

pub(super) async fn submit(
    client: &Client,
    destination: &Destination,
    body: String,
) -> Result<Answer, AskFault> {
    let asking = client.post(destination, "text/plain; charset=utf-8", body);
    let answer = timeout(EXCHANGE_MAX, asking).await.unwrap_or(Err(Unreached::Timeout))?;
    read(&answer)
}

fn read(answer: &outward::Answer) -> Result<Answer, AskFault> {
    let body = answer.body.as_deref().and_then(|body| std::str::from_utf8(body).ok());
    match answer.status.as_u16() {
        200 => Ok(Answer::Cosigned(body.ok_or(AskFault::Malformed)?.to_owned())),
        409 => {
            let is_size = answer.content_type.as_deref() == Some(SIZE_TYPE);
            let size = body.filter(|_| is_size).and_then(|body| body.strip_suffix('\n'));
            size.and_then(parse_size).map(Answer::StandsAt).ok_or(AskFault::Malformed)
        }
        status => Err(AskFault::Refused { status }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answered(status: u16, kind: Option<&str>, body: Option<&str>) -> Result<Answer, AskFault> {
        read(&outward::Answer {
            status: status.try_into().unwrap(),
            retry_after: None,
            content_type: kind.map(str::to_owned),
            body: body.map(|body| body.to_owned().into()),
        })
    }

    #[test]
    fn only_two_answers_mean_anything() {
        let size = Some(SIZE_TYPE);
        assert_eq!(answered(200, None, Some("line\n")).unwrap(), Answer::Cosigned("line\n".into()));
        assert_eq!(answered(409, size, Some("17\n")).unwrap(), Answer::StandsAt(17));
        let nonsense = [
            (200, None, None),
            (409, size, None),
            (409, size, Some("")),
            (409, size, Some("17")),
            (409, size, Some("017\n")),
            (409, size, Some("+17\n")),
            (409, size, Some("17\n18\n")),
            (409, size, Some("18446744073709551616\n")),
            (409, Some("text/plain"), Some("17\n")),
            (409, None, Some("17\n")),
        ];
        for (status, kind, body) in nonsense {
            let fault = answered(status, kind, body).unwrap_err();
            assert!(matches!(fault, AskFault::Malformed), "{status} {body:?}: {fault}");
        }
        for status in [204, 302, 400, 403, 404, 422, 500] {
            let fault = answered(status, size, Some("17\n")).unwrap_err();
            assert!(matches!(fault, AskFault::Refused { status: told } if told == status));
        }
    }
}
