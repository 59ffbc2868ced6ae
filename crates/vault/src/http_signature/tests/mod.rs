//! Owns what the tests of message signatures share: keys, and messages of the RFC's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod components;
mod keys;
mod properties;
mod refusals;
mod structured;
mod vectors;

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use super::*;
use crate::secret::SecretBytes;

const KEY_ID: &str = "client-1";
const NOW_S: i64 = 1_618_884_480;

fn component(text: &str) -> Component {
    Component::parse(text).unwrap()
}

fn components(texts: &[&str]) -> Vec<Component> {
    texts.iter().map(|text| component(text)).collect()
}

/// Expectations that only the time can fail.
fn expectations() -> Expectations<'static> {
    Expectations {
        now_s: NOW_S,
        lifetime_s: 300,
        leeway_s: 5,
        tag: None,
        needs_nonce: false,
        covered: &[],
    }
}

/// One key of each algorithm, made once: RSA takes its time.
fn keys() -> &'static [MessageSigningKey] {
    static KEYS: OnceLock<Vec<MessageSigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| SignatureAlgorithm::ALL.into_iter().map(new_key).collect())
}

fn new_key(algorithm: SignatureAlgorithm) -> MessageSigningKey {
    let secret = match algorithm {
        SignatureAlgorithm::Ed25519 => SecretBytes::from_slice(
            Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap().as_ref(),
        ),
        SignatureAlgorithm::EcdsaP256Sha256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            SecretBytes::from_slice(pair.to_pkcs8v1().unwrap().as_ref())
        }
        SignatureAlgorithm::RsaPssSha512 | SignatureAlgorithm::RsaV15Sha256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let document: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            SecretBytes::from_slice(document.as_ref())
        }
        SignatureAlgorithm::HmacSha256 => crate::random_secret(32),
    };
    MessageSigningKey::from_private_bytes(algorithm, KEY_ID, &secret).unwrap()
}

fn key() -> &'static MessageSigningKey {
    &keys()[0]
}

/// A message that owns its parts, so that a test can change one of them.
#[derive(Clone, Debug)]
struct Owned {
    method: String,
    scheme: String,
    authority: String,
    target: String,
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
}

impl Owned {
    fn payment() -> Self {
        let body = br#"{"amount":"10.00"}"#;
        let digest = content_digest(DigestAlgorithm::Sha256, body);
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        Self {
            method: "POST".to_owned(),
            scheme: "https".to_owned(),
            authority: "bank.example".to_owned(),
            target: "/v1/transfers?dry_run=false&note=a%20b".to_owned(),
            status: 201,
            fields: vec![
                field("Content-Type", "application/json"),
                field("Content-Digest", &digest),
                field("Idempotency-Key", "\"8e03978e\""),
            ],
        }
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn signed(self, fields: &SignatureFields) -> Self {
        self.with("Signature-Input", &fields.input).with("Signature", &fields.signature)
    }

    fn lines(&self) -> Vec<FieldLine<'_>> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    fn request<T>(&self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let lines = self.lines();
        look(&Message::Request(self.as_request(&lines)))
    }

    fn as_request<'a>(&'a self, lines: &'a [FieldLine<'a>]) -> Request<'a> {
        Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            target: &self.target,
            fields: lines,
        }
    }

    /// As a response to a request.
    fn response<T>(&self, request: &Self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let (own, asked) = (self.lines(), request.lines());
        let request = Some(request.as_request(&asked));
        look(&Message::Response(Response { status: self.status, fields: &own, request }))
    }

    fn value(&self, text: &str) -> Result<String, SignatureError> {
        self.request(|message| message.value(&component(text)))
    }

    fn sign(&self, texts: &[&str], key: &MessageSigningKey) -> SignatureFields {
        let parameters =
            SignatureParameters { created_s: Some(NOW_S - 7), ..SignatureParameters::default() };
        self.request(|message| sign(message, "sig", &components(texts), &parameters, key)).unwrap()
    }

    /// Verifies the one signature that is there.
    fn verify(&self, key: &MessageSigningKey) -> Result<VerifiedSignature, SignatureError> {
        self.verify_as(key, &expectations())
    }

    fn verify_as(
        &self,
        key: &MessageSigningKey,
        expectations: &Expectations<'_>,
    ) -> Result<VerifiedSignature, SignatureError> {
        let key = key.verifying_key().unwrap();
        self.request(|message| {
            let signatures = Signatures::read(message.fields())?;
            signatures.all()[0].verify(message, &key, expectations)
        })
    }
}
