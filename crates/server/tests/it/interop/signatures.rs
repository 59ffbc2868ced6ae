//! HTTP message signatures with PyPI's http-message-signatures, a process of its own, both ways
//! and for every algorithm: it verifies what we sign, we verify what it signs, and what one
//! refuses the other refuses. Webhooks that we sign are verified by PyPI's standardwebhooks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use vault::{
    SecretBytes,
    http_signature::{
        Component, DigestAlgorithm, Expectations, FieldLine, Message, MessageSigningKey,
        MessageVerifyingKey, Request, Response, SignatureAlgorithm, SignatureError,
        SignatureParameters, Signatures, VerifiedSignature, check_content_digest, content_digest,
        sign,
    },
    webhook::{WebhookSecret, sign_webhook},
};

use super::{Stack, is_there};
use crate::{
    harness::App,
    signed_requests::{Asked, require_signatures},
};

const STACK: &str = "http-message-signatures";
const KEY_ID: &str = "client-1";
const LABEL: &str = "client";
const BODY: &str = r#"{"amount":"10.00","currency":"EUR"}"#;

/// Every kind of component that a request has.
const REQUEST: [&str; 17] = [
    "@method",
    "@scheme",
    "@authority",
    "@target-uri",
    "@request-target",
    "@path",
    "@query",
    "\"@query-param\";name=\"fa%C3%A7ade\"",
    "\"@query-param\";name=\"empty\"",
    "content-type",
    "content-digest",
    "\"content-digest\";key=\"sha-256\"",
    "\"priority\";sf",
    "\"x-dictionary\";key=\"b\"",
    "x-lines",
    "\"x-bytes\";bs",
    "x-empty",
];
/// What a response has, and what it takes of its request.
const RESPONSE: [&str; 7] = [
    "@status",
    "content-type",
    "\"@method\";req",
    "\"@authority\";req",
    "\"@query-param\";name=\"empty\";req",
    "\"content-digest\";req",
    "\"signature\";req;key=\"client\"",
];

type Lines = Vec<(String, String)>;

/// A request, or a response to one.
#[derive(Clone)]
struct Told {
    method: &'static str,
    fields: Lines,
    /// The fields of a response with this status.
    answer: Option<(u16, Lines)>,
}

impl Told {
    const TARGET: &str = "/v1/transfers%2F1?fa%C3%A7ade=a+b~c%2a%0A&empty=&other=1";

    fn payment() -> Self {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = vec![
            line("Content-Type", "application/json"),
            line("Content-Digest", &content_digest(DigestAlgorithm::Sha256, BODY.as_bytes())),
            line("Priority", "u=1,   i"),
            line("X-Dictionary", "a=1,  b=(x   y);z=2.50, c"),
            line("X-Lines", "  one, with a comma "),
            line("X-Bytes", "caf\u{e9}"),
            line("x-lines", "two"),
            line("X-Empty", ""),
        ];
        Self { method: "POST", fields, answer: None }
    }

    /// What is signed now: the response where there is one.
    fn own(&mut self) -> &mut Lines {
        match &mut self.answer {
            Some((_, fields)) => fields,
            None => &mut self.fields,
        }
    }

    fn as_json(&self) -> Value {
        let request = json!({
            "method": self.method,
            "url": format!("https://Bank.example:8443{}", Self::TARGET),
            "fields": self.fields,
        });
        match &self.answer {
            None => request,
            Some((status, fields)) => {
                json!({ "status": status, "fields": fields, "request": request })
            }
        }
    }

    fn look<T>(&self, look: impl FnOnce(&Message<'_>, &[FieldLine<'_>]) -> T) -> T {
        let asked = on_the_wire(&self.fields);
        let asked = lines(&asked);
        let request = Request {
            method: self.method,
            scheme: "https",
            authority: "Bank.example:8443",
            target: Self::TARGET,
            fields: &asked,
        };
        let Some((status, fields)) = &self.answer else {
            return look(&Message::Request(request), &asked);
        };
        let own = on_the_wire(fields);
        let own = lines(&own);
        let response = Response { status: *status, fields: &own, request: Some(request) };
        look(&Message::Response(response), &own)
    }
}

/// Fields are Latin-1 on the wire, as the other side takes them.
fn on_the_wire(fields: &Lines) -> Vec<(&str, Vec<u8>)> {
    let bytes = |value: &str| value.chars().map(|one| u8::try_from(one).unwrap()).collect();
    fields.iter().map(|(name, value)| (name.as_str(), bytes(value))).collect()
}

fn lines<'a>(fields: &'a [(&'a str, Vec<u8>)]) -> Vec<FieldLine<'a>> {
    fields.iter().map(|(name, value)| (*name, value.as_slice())).collect()
}

/// Both halves of one key of theirs, and the other side.
struct Peer<'a> {
    stack: &'a mut Stack,
    algorithm: SignatureAlgorithm,
    now_s: i64,
    signing: MessageSigningKey,
    verifying: MessageVerifyingKey,
}

impl<'a> Peer<'a> {
    async fn new(stack: &'a mut Stack, algorithm: SignatureAlgorithm) -> Self {
        let question = json!({ "do": "key", "algorithm": algorithm.as_str() });
        let told = stack.ask(&question).await;
        let private = STANDARD.decode(told["private"].as_str().unwrap()).unwrap();
        let private = SecretBytes::new(private);
        let verifying = if algorithm == SignatureAlgorithm::HmacSha256 {
            MessageVerifyingKey::from_shared_secret(KEY_ID, &private)
        } else {
            MessageVerifyingKey::from_public_jwk(algorithm, KEY_ID, &told["jwk"])
        };
        let signing = MessageSigningKey::from_private_bytes(algorithm, KEY_ID, &private);
        let now_s = told["now"].as_i64().unwrap();
        let (signing, verifying) = (signing.unwrap(), verifying.unwrap());
        Self { stack, algorithm, now_s, signing, verifying }
    }

    fn parameters(&self) -> SignatureParameters {
        SignatureParameters {
            created_s: Some(self.now_s),
            expires_s: Some(self.now_s + 120),
            names_algorithm: true,
            nonce: Some("b3k2\"pp5\\k7z".to_owned()),
            tag: Some("payment".to_owned()),
        }
    }

    /// Signs as we do.
    fn signs(&self, told: &mut Told, covered: &[&str], parameters: &SignatureParameters) {
        let covered: Vec<Component> =
            covered.iter().map(|text| Component::parse(text).unwrap()).collect();
        let made =
            told.look(|message, _| sign(message, LABEL, &covered, parameters, &self.signing));
        let made = made.unwrap();
        told.own().push(("Signature-Input".to_owned(), made.input));
        told.own().push(("Signature".to_owned(), made.signature));
    }

    /// Verifies as we do.
    fn verifies(&self, told: &Told) -> Result<VerifiedSignature, SignatureError> {
        let expectations = Expectations {
            now_s: self.now_s,
            lifetime_s: 300,
            leeway_s: 5,
            tag: Some("payment"),
            needs_nonce: false,
            covered: &[],
        };
        told.look(|message, fields| {
            Signatures::read(fields)?.all()[0].verify(message, &self.verifying, &expectations)
        })
    }

    async fn ask(&mut self, what: &str, told: &Told, more: Value) -> Value {
        let mut question = json!({
            "do": what,
            "algorithm": self.algorithm.as_str(),
            "key_id": KEY_ID,
            "tag": "payment",
            "message": told.as_json(),
        });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.stack.ask(&question).await
    }

    /// Has the other side sign, and takes its fields.
    async fn they_sign(&mut self, told: &mut Told, covered: &[&str], more: Value) {
        // It reads no name without quotes beside one with parameters.
        let quoted = |text: &&str| Component::parse(text).unwrap().to_string();
        let covered: Vec<String> = covered.iter().map(quoted).collect();
        let mut question = json!({ "label": LABEL, "covered": covered, "created": self.now_s });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let said = self.ask("sign", told, question).await;
        assert_eq!(said["ok"], json!(true), "{:?} {said}", self.algorithm);
        *told.own() = serde_json::from_value(said["fields"].clone()).unwrap();
    }

    async fn they_accept(&mut self, told: &Told, covered: usize) {
        let said = self.ask("verify", told, json!({ "body": BODY })).await;
        assert_eq!(said["ok"], json!(true), "{:?} {said}", self.algorithm);
        // Its own line of parameters is one more.
        let theirs = said["covered"].as_object().unwrap();
        assert_eq!(theirs.len(), covered + 1, "{:?} {said}", self.algorithm);
        assert_eq!(said["nonce"], json!("b3k2\"pp5\\k7z"), "{said}");
    }

    async fn both_refuse(&mut self, told: &Told, what: &str, words: &[&str]) {
        assert!(self.verifies(told).is_err(), "{:?} {what}", self.algorithm);
        let said = self.ask("verify", told, json!({})).await;
        assert_eq!(said["ok"], json!(false), "{:?} {what}", self.algorithm);
        let error = said["error"].as_str().unwrap().to_lowercase();
        assert!(words.iter().any(|word| error.contains(word)), "{what}: {error}");
    }
}

async fn ours_are_verified(peer: &mut Peer<'_>) -> Told {
    let parameters = peer.parameters();
    let mut told = Told::payment();
    peer.signs(&mut told, &REQUEST, &parameters);
    peer.they_accept(&told, REQUEST.len()).await;
    assert_eq!(peer.verifies(&told).unwrap().covered.len(), REQUEST.len());
    let mut answered = told.clone();
    let kind = ("Content-Type".to_owned(), "text/plain".to_owned());
    answered.answer = Some((201, vec![kind]));
    peer.signs(&mut answered, &RESPONSE, &parameters);
    let said = peer.ask("verify", &answered, json!({})).await;
    assert_eq!(said["ok"], json!(true), "{said}");
    told
}

async fn theirs_are_verified(peer: &mut Peer<'_>) {
    let said = json!({
        "expires": peer.now_s + 120, "nonce": "b3k2\"pp5\\k7z", "names_algorithm": true,
    });
    let mut told = Told::payment();
    peer.they_sign(&mut told, &REQUEST, said.clone()).await;
    let verified = peer.verifies(&told).unwrap();
    assert_eq!(verified.covered.len(), REQUEST.len());
    assert_eq!(verified.nonce.as_deref(), Some("b3k2\"pp5\\k7z"));
    assert_eq!(verified.taken_until_s, peer.now_s + 120);
    let mut answered = told.clone();
    let kind = ("Content-Type".to_owned(), "text/plain".to_owned());
    answered.answer = Some((201, vec![kind]));
    peer.they_sign(&mut answered, &RESPONSE, said).await;
    assert_eq!(peer.verifies(&answered).unwrap().covered.len(), RESPONSE.len());
    // Its own digest of a body, which it covers of itself.
    let mut digested = Told::payment();
    digested.fields.retain(|(name, _)| name != "Content-Digest");
    peer.they_sign(&mut digested, &["@method"], json!({ "body": BODY })).await;
    let covered = peer.verifies(&digested).unwrap().covered;
    assert!(covered.contains(&Component::parse("content-digest").unwrap()));
    let check =
        |body: &str| digested.look(|_, fields| check_content_digest(fields, body.as_bytes()));
    assert_eq!(check(BODY), Ok(()));
    assert!(check("{}").is_err());
}

/// Altered, of another time, of another key, and in the name of another algorithm.
async fn both_refuse_the_same(peer: &mut Peer<'_>, good: &Told) {
    let put = Told { method: "PUT", ..good.clone() };
    peer.both_refuse(&put, "another method", &["forged"]).await;
    for (at, (name, _)) in good.fields.iter().enumerate().take(8) {
        let mut altered = good.clone();
        let other = if name == "Priority" { "u=2, i" } else { "a=1, b=2" };
        other.clone_into(&mut altered.fields[at].1);
        peer.both_refuse(&altered, name, &["forged", "no member"]).await;
    }
    let parameters = peer.parameters();
    let expired = SignatureParameters { expires_s: Some(peer.now_s - 60), ..parameters.clone() };
    let old = SignatureParameters { created_s: Some(peer.now_s - 400), ..parameters.clone() };
    let future = SignatureParameters { created_s: Some(peer.now_s + 60), ..parameters.clone() };
    let undated = SignatureParameters { created_s: None, ..parameters.clone() };
    let for_another = SignatureParameters { tag: Some("policy".to_owned()), ..parameters };
    for (what, parameters, word) in [
        ("expired", expired, "past"),
        ("old", old, "exceeds"),
        ("from the future", future, "future"),
        ("undated", undated, "created"),
        ("for another purpose", for_another, "tag"),
    ] {
        let mut told = Told::payment();
        peer.signs(&mut told, &REQUEST, &parameters);
        peer.both_refuse(&told, what, &[word]).await;
    }
    let rewritten = |from: &str, to: &str| {
        let mut told = good.clone();
        for (name, value) in &mut told.fields {
            if name == "Signature-Input" {
                assert!(value.contains(from), "{value}");
                *value = value.replacen(from, to, 1);
            }
        }
        told
    };
    let own = format!("alg=\"{}\"", peer.algorithm.as_str());
    for (from, to, words) in [
        (own.as_str(), "alg=\"ecdsa-p384-sha384\"", &["algorithm"][..]),
        ("nonce=\"b3k2", "nonce=\"B3k2", &["forged"]),
        (KEY_ID, "client-2", &["resolve", "key"]),
        ("\"@method\" ", "", &["forged"]),
        ("\"@method\" ", "\"@method\" \"@method\" ", &["multiple times"]),
        ("\"@method\" ", "\"@method\" \"x-none\" ", &["not found"]),
        ("\"@method\" ", "\"@method\" \"@status\" ", &["@status"]),
    ] {
        peer.both_refuse(&rewritten(from, to), to, words).await;
    }
}

#[tokio::test]
async fn http_message_signatures_and_ours_verify_each_other() {
    if !is_there(STACK) {
        return;
    }
    let mut stack = Stack::start(STACK);
    for algorithm in SignatureAlgorithm::ALL {
        let mut peer = Peer::new(&mut stack, algorithm).await;
        let good = ours_are_verified(&mut peer).await;
        theirs_are_verified(&mut peer).await;
        both_refuse_the_same(&mut peer, &good).await;
    }
    // A key of another pair under the same id.
    let peer = Peer::new(&mut stack, SignatureAlgorithm::Ed25519).await;
    let mut told = Told::payment();
    peer.signs(&mut told, &REQUEST, &peer.parameters());
    let Peer { stack, .. } = peer;
    let mut other = Peer::new(stack, SignatureAlgorithm::Ed25519).await;
    other.both_refuse(&told, "another pair", &["forged"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_others_sign_are_let_through_once() {
    if !is_there(STACK) {
        return;
    }
    let mut stack = Stack::start(STACK);
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let token = app.login_by_factor(&app.bank, "customer").await;
    require_signatures(&app, &app.bank, true).await;
    let body = json!({ "transfers": [] }).to_string();
    let covered = ["@method", "@target-uri", "authorization", "idempotency-key", "content-digest"];
    for (at, algorithm) in [
        SignatureAlgorithm::Ed25519,
        SignatureAlgorithm::EcdsaP256Sha256,
        SignatureAlgorithm::RsaPssSha512,
    ]
    .into_iter()
    .enumerate()
    {
        let question = json!({ "do": "key", "algorithm": algorithm.as_str() });
        let made = stack.ask(&question).await;
        // Each key but the first would have to be signed with the one before.
        app.superuser
            .execute("UPDATE client_keys SET revoked_at = now() WHERE revoked_at IS NULL", &[])
            .await
            .unwrap();
        let wish =
            json!({ "name": "PyPI", "algorithm": algorithm.as_str(), "public_jwk": made["jwk"] });
        let key = app.post("/v1/client-keys").bearer(&token).json(&wish).send().await;
        assert_eq!(key.status, 201, "{}", key.text);
        let plain = Asked::new("POST", "/v1/transfers/batch", &token)
            .with("content-type", "application/json")
            .with("idempotency-key", &format!("key-{at}"));
        assert_eq!(
            Asked { body: body.clone(), ..plain.clone() }.send(port).await.code(),
            "signature_required"
        );
        let covered: Vec<String> =
            covered.iter().map(|name| Component::parse(name).unwrap().to_string()).collect();
        let fields = plain.fields.iter().filter(|(name, _)| name != "host").collect::<Vec<_>>();
        let question = json!({
            "do": "sign", "algorithm": algorithm.as_str(), "key_id": key.body["id"], "label": LABEL,
            "covered": covered, "created": made["now"], "nonce": format!("nonce-{at}"), "body": body,
            "message": {
                "method": "POST", "url": "http://localhost/v1/transfers/batch", "fields": fields,
            },
        });
        let said = stack.ask(&question).await;
        assert_eq!(said["ok"], json!(true), "{algorithm:?} {said}");
        let mut fields: Lines = serde_json::from_value(said["fields"].clone()).unwrap();
        fields.push(("host".to_owned(), "localhost".to_owned()));
        let signed = Asked { fields, body: body.clone(), ..plain };
        let told = signed.send(port).await;
        assert_ne!(told.status, 401, "{algorithm:?} {}", told.body);
        let again = signed.send(port).await;
        assert_eq!((again.status, again.code()), (401, "signature_invalid"), "{algorithm:?}");
    }
}

#[tokio::test]
async fn webhooks_of_ours_are_verified() {
    if !is_there(STACK) {
        return;
    }
    let mut stack = Stack::start(STACK);
    let now_s = stack.ask(&json!({ "do": "now" })).await["now"].as_i64().unwrap();
    let [old, new, other] = [0; 3].map(|_| WebhookSecret::generate());
    let alone = |at_s| sign_webhook(&new, None, "msg_1", at_s, BODY.as_bytes()).unwrap();
    let both = sign_webhook(&new, Some(&old), "msg_1", now_s, BODY.as_bytes()).unwrap();
    let altered = BODY.replace("10.00", "90.00");
    let cases = [
        ("the secret", &new, "msg_1", now_s, alone(now_s), BODY, None),
        ("the new one of two", &new, "msg_1", now_s, both.clone(), BODY, None),
        ("the old one of two", &old, "msg_1", now_s, both.clone(), BODY, None),
        ("another one", &other, "msg_1", now_s, both, BODY, Some("matching")),
        ("another content", &new, "msg_1", now_s, alone(now_s), altered.as_str(), Some("matching")),
        ("another id", &new, "msg_2", now_s, alone(now_s), BODY, Some("matching")),
        ("another time", &new, "msg_1", now_s - 1, alone(now_s), BODY, Some("matching")),
        ("long ago", &new, "msg_1", now_s - 400, alone(now_s - 400), BODY, Some("too old")),
    ];
    for (what, secret, id, at_s, signature, body, refused) in cases {
        let headers = json!({
            "webhook-id": id,
            "webhook-timestamp": at_s.to_string(),
            "webhook-signature": signature,
        });
        let secret = secret.expose();
        let question =
            json!({ "do": "webhook", "secret": secret.as_str(), "headers": headers, "body": body });
        let said = stack.ask(&question).await;
        let error = said["error"].as_str();
        assert_eq!(said["ok"], json!(refused.is_none()), "{what} {said}");
        assert!(refused.is_none_or(|word| error.unwrap().contains(word)), "{what} {said}");
    }
}
