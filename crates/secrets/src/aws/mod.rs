//! Owns AWS: which of its services keeps a secret, and what it says when it does not.

mod credentials;
mod metadata;
mod profile;
mod sigv4;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ask::{Answered, Place, Question, ask};
use crate::{Reference, Refusal, Stores};
use credentials::Caller;
use sigv4::Scope;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// One operation of a service.
struct Operation {
    service: &'static str,
    target: &'static str,
    who: &'static str,
}

const GET_SECRET_VALUE: Operation = Operation {
    service: "secretsmanager",
    target: "secretsmanager.GetSecretValue",
    who: "AWS Secrets Manager",
};
const DECRYPT: Operation =
    Operation { service: "kms", target: "TrentService.Decrypt", who: "AWS KMS" };

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValue {
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted {
    plaintext: String,
}

pub(crate) async fn fetch(
    stores: &Stores<'_>,
    reference: &Reference,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    match reference {
        Reference::AwsSecret { name, member } => {
            let answer = call(stores, &GET_SECRET_VALUE, &json!({ "SecretId": name })).await?;
            let value = content(answer.json()?)?;
            member.as_deref().map_or(Ok(value.clone()), |member| member_of(&value, member))
        }
        Reference::AwsKms { ciphertext } => {
            let answer = call(stores, &DECRYPT, &json!({ "CiphertextBlob": ciphertext })).await?;
            decoded(answer.json::<Decrypted>()?.plaintext)
        }
        Reference::AzureSecret { .. } => Err(Refusal::NotFound),
    }
}

fn content(value: SecretValue) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    match (value.secret_string, value.secret_binary) {
        (Some(text), _) => Ok(Zeroizing::new(text.into_bytes())),
        (None, Some(encoded)) => decoded(encoded),
        (None, None) => Err(Refusal::Unreadable),
    }
}

fn decoded(encoded: String) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let encoded = Zeroizing::new(encoded);
    STANDARD.decode(encoded.as_str()).map(Zeroizing::new).map_err(|_| Refusal::Unreadable)
}

/// Secrets Manager's own way of keeping several: one JSON object.
fn member_of(value: &[u8], member: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let object: Value = serde_json::from_slice(value).map_err(|_| Refusal::NoMember)?;
    match object {
        Value::Object(mut members) => match members.remove(member) {
            Some(Value::String(text)) => Ok(Zeroizing::new(text.into_bytes())),
            _ => Err(Refusal::NoMember),
        },
        _ => Err(Refusal::NoMember),
    }
}

async fn call(
    stores: &Stores<'_>,
    operation: &Operation,
    input: &Value,
) -> Result<Answered, Refusal> {
    let caller = Caller::of(stores).await?;
    let url = stores.variable(ENDPOINT).map_or_else(
        || public(operation.service, &caller.region),
        |endpoint| format!("{}/", endpoint.trim_end_matches('/')),
    );
    let host = url.split_once("://").map_or("", |(_, rest)| rest.trim_end_matches('/'));
    if host.contains(['/', '?']) {
        return Err(Refusal::Endpoint(ENDPOINT));
    }
    let body = input.to_string();
    let at = stores.now.strftime("%Y%m%dT%H%M%SZ").to_string();
    // In the order that signing wants: by name.
    let mut headers =
        vec![("content-type", CONTENT_TYPE), ("host", host), ("x-amz-date", at.as_str())];
    let token = caller.credentials.token.as_deref();
    headers.extend(token.map(|token| ("x-amz-security-token", token.as_str())));
    headers.push(("x-amz-target", operation.target));
    let scope = Scope { at: &at, region: &caller.region, service: operation.service };
    let signed = sigv4::authorization(&caller.credentials, &scope, &headers, body.as_bytes());
    headers.retain(|(name, _)| *name != "host");
    headers.push(("authorization", &signed));
    let answer = ask(Question {
        place: Place { who: operation.who, variable: ENDPOINT, is_metadata: false },
        method: Method::POST,
        url: &url,
        headers: &headers,
        body: body.as_bytes(),
    })
    .await?;
    if answer.status == StatusCode::BAD_REQUEST {
        return Err(refusal_in(&answer));
    }
    answer.or_refused()
}

/// China is a partition with a domain of its own.
fn public(service: &str, region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{service}.{region}.amazonaws.com{end}/")
}

/// AWS says 400 to most that it refuses, and why in a name.
fn refusal_in(answer: &Answered) -> Refusal {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "__type")]
        name: String,
    }
    let Ok(Named { name }) = answer.json() else { return Refusal::Refused(400) };
    match name.rsplit('#').next().unwrap_or_default() {
        "ResourceNotFoundException" | "NotFoundException" => Refusal::NotFound,
        "InvalidCiphertextException" | "IncorrectKeyException" => Refusal::NoCiphertext,
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException" => Refusal::Denied,
        _ => Refusal::Refused(400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_text_of_one_object() {
        let value = br#"{"url":"postgresql:///bank","port":5432,"more":{"url":"no"}}"#;
        let member = |name| member_of(value, name).map(|text| text.to_vec());
        assert_eq!(member("url"), Ok(b"postgresql:///bank".to_vec()));
        for name in ["port", "more", "missing", "more.url"] {
            assert_eq!(member(name), Err(Refusal::NoMember), "{name}");
        }
        assert_eq!(member_of(b"postgresql:///bank", "url"), Err(Refusal::NoMember));
        assert_eq!(member_of(b"[\"url\"]", "url"), Err(Refusal::NoMember));
    }
}
