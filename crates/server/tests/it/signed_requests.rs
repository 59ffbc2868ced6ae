//! Signed requests (RFC 9421) over real connections: what signs, what is refused and what of it
//! stands in the log, one use of a nonce, whose keys are whose, and what policy demands. Which
//! route demands what is `coverage::signatures`'; another implementation signs in `interop`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tenancy::Clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use uuid::Uuid;
use vault::{
    http_signature::{
        Component, DigestAlgorithm, FieldLine, Message, MessageSigningKey, Request,
        SignatureAlgorithm, SignatureParameters, content_digest, sign,
    },
    signing::{Algorithm, SigningKey},
};

use crate::{
    approvals::{CEILING, order, set_ceiling},
    harness::{App, Bank},
};

const EVERYTHING: [&str; 5] =
    ["@method", "@target-uri", "authorization", "content-digest", "idempotency-key"];

/// A request as it stands on the wire.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What came back.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Told {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Asked {
    pub(crate) fn new(method: &'static str, path: &str, token: &str) -> Self {
        let fields = vec![
            ("host".to_owned(), "localhost".to_owned()),
            ("authorization".to_owned(), format!("Bearer {token}")),
        ];
        Self { method, path: path.to_owned(), fields, body: String::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let body = body.to_string();
        let digest = content_digest(DigestAlgorithm::Sha256, body.as_bytes());
        let kind = "application/json";
        Self { body, ..self }.with("content-type", kind).with("content-digest", &digest)
    }

    /// Over a connection of its own.
    pub(crate) async fn send(&self, port: u16) -> Told {
        let fields: Vec<_> =
            self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!(
            "{} {} HTTP/1.1\r\n{}content-length: {}\r\nconnection: close\r\n\r\n{}",
            self.method,
            self.path,
            fields.concat(),
            self.body.len(),
            self.body
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Told { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }
}

/// A client that has a key, and its public half.
pub(crate) struct Signer {
    pub(crate) id: Uuid,
    pub(crate) jwk: Value,
    pkcs8: vault::SecretBytes,
    algorithm: SignatureAlgorithm,
}

impl Signer {
    pub(crate) fn make(algorithm: SignatureAlgorithm) -> Self {
        let of = match algorithm {
            SignatureAlgorithm::Ed25519 => Algorithm::EdDSA,
            SignatureAlgorithm::EcdsaP256Sha256 => Algorithm::ES256,
            _ => Algorithm::RS256,
        };
        let key = SigningKey::generate(of, "k").unwrap();
        let mut jwk = key.public_jwk().unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        let pkcs8 = vault::SecretBytes::from_slice(key.private_bytes().expose());
        Self { id: Uuid::nil(), jwk, pkcs8, algorithm }
    }

    pub(crate) fn wish(&self) -> Value {
        json!({ "name": "Test", "algorithm": self.algorithm.as_str(), "public_jwk": self.jwk })
    }

    /// Registered by somebody who has just used a factor.
    async fn registered(app: &App, token: &str) -> Self {
        let mut signer = Self::make(SignatureAlgorithm::Ed25519);
        signer.register(app, token, None).await;
        signer
    }

    async fn register(&mut self, app: &App, token: &str, machine: Option<Uuid>) {
        let mut wish = self.wish();
        wish["api_key_id"] = json!(machine);
        let made = app.post("/v1/client-keys").bearer(token).json(&wish).send().await;
        assert_eq!((made.status, made.header("etag")), (201, "\"1\""), "{}", made.text);
        self.id = made.body["id"].as_str().unwrap().parse().unwrap();
    }

    fn parameters() -> SignatureParameters {
        SignatureParameters {
            created_s: Some(Clock::System.now().as_second()),
            nonce: Some(Uuid::from_bytes(vault::random_bytes()).to_string()),
            ..SignatureParameters::default()
        }
    }

    /// Signs what every signature has to cover of this request.
    pub(crate) fn sign(&self, asked: &Asked) -> Asked {
        let covered: Vec<&str> = (EVERYTHING.into_iter())
            .filter(|name| name.starts_with('@') || !asked.field(name).is_empty())
            .collect();
        self.sign_with(asked, &covered, &Self::parameters())
    }

    fn sign_with(
        &self,
        asked: &Asked,
        covered: &[&str],
        parameters: &SignatureParameters,
    ) -> Asked {
        let id = self.id.to_string();
        let key = MessageSigningKey::from_private_bytes(self.algorithm, &id, &self.pkcs8).unwrap();
        let lines: Vec<FieldLine<'_>> =
            asked.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let message = Message::Request(Request {
            method: asked.method,
            scheme: "http",
            authority: asked.field("host"),
            target: &asked.path,
            fields: &lines,
        });
        let components: Vec<Component> =
            covered.iter().map(|name| Component::parse(name).unwrap()).collect();
        let made = sign(&message, "sig", &components, parameters, &key).unwrap();
        asked.clone().with("signature-input", &made.input).with("signature", &made.signature)
    }
}

pub(crate) async fn require_signatures(app: &App, bank: &Bank, on: bool) {
    let sql = "UPDATE security_policies SET policy = policy || jsonb_build_object('require_signature', $2::bool) \
        WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&bank.id, &on]).await.unwrap(), 1);
    // What a node knows of a policy is a second old at most.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

fn key() -> String {
    Uuid::from_bytes(vault::random_bytes()).to_string()
}

/// A transfer of the bank's first customer.
fn transfer(app: &App, token: &str, amount: i64) -> Asked {
    let asked = Asked::new("POST", "/v1/transfers", token);
    asked.with("idempotency-key", &key()).json(&order(app, amount))
}

/// Type, outcome and reason of the refusals of signatures, oldest first.
async fn refusals(app: &App, bank: &Bank) -> Vec<String> {
    let sql = "SELECT event_type::text || ' ' || result::text || ' ' || (details ->> 'reason') FROM audit_log \
        WHERE tenant_id = $1 AND action = 'signature.refuse' ORDER BY occurred_at, event_id";
    let rows = app.superuser.query(sql, &[&bank.id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(app: &App, sql: &str) -> i64 {
    app.superuser.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_ceiling_is_signed_where_policy_wants_it() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    set_ceiling(&app, &app.bank, Some(CEILING)).await;
    let token = app.login_by_factor(&app.bank, "customer").await;
    let mut signers = Vec::new();
    for algorithm in [
        SignatureAlgorithm::Ed25519,
        SignatureAlgorithm::EcdsaP256Sha256,
        SignatureAlgorithm::RsaPssSha512,
    ] {
        let mut signer = Signer::make(algorithm);
        signer.register(&app, &token, None).await;
        signers.push(signer);
    }
    let above = transfer(&app, &token, CEILING + 1);
    assert_eq!(above.send(port).await.status, 201, "off by default");
    require_signatures(&app, &app.bank, true).await;
    let unsigned = transfer(&app, &token, CEILING + 1).send(port).await;
    assert_eq!((unsigned.status, unsigned.code()), (401, "signature_required"));
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'signature.require' \
        AND event_type = 'permission_denied' AND result = 'denied'";
    assert_eq!(count(&app, sql).await, 1);
    assert_eq!(transfer(&app, &token, CEILING).send(port).await.status, 201, "not above");
    for signer in &signers {
        let told = signer.sign(&transfer(&app, &token, CEILING + 1)).send(port).await;
        assert_eq!(told.status, 201, "{:?} {}", signer.algorithm, told.body);
        // In its parts, and by its other name.
        let aliased =
            Asked { path: "/api/v1/transfers".to_owned(), ..transfer(&app, &token, CEILING + 1) };
        let parts = [
            "@method",
            "@authority",
            "@path",
            "@query",
            "authorization",
            "content-digest",
            "idempotency-key",
        ];
        let told = signer.sign_with(&aliased, &parts, &Signer::parameters()).send(port).await;
        assert_eq!(told.status, 201, "{:?} {}", signer.algorithm, told.body);
        // What has no content has no digest.
        let read = signer.sign(&Asked::new("GET", "/v1/accounts?limit=1", &token)).send(port).await;
        assert_eq!(read.status, 200, "{}", read.body);
    }
    let batch = Asked::new("POST", "/v1/transfers/batch", &token).json(&json!({ "transfers": [] }));
    let told = batch.send(port).await;
    assert_eq!((told.status, told.code()), (401, "signature_required"));
    assert_ne!(signers[0].sign(&batch).send(port).await.status, 401);
    assert_eq!(refusals(&app, &app.bank).await, Vec::<String>::new());
}

/// What was altered, the request, and how it is recorded.
type Forgery = (&'static str, Asked, &'static str);

const VIOLATED: &str = "security_violation denied bad_signature";
const UNCOVERED: &str = "auth_failure denied uncovered";
const MALFORMED: &str = "auth_failure denied malformed";
const TIME: &str = "auth_failure denied time";

/// Somebody with a key and a session, and what they could try.
struct Forger<'a> {
    app: &'a App,
    token: &'a str,
    signer: &'a Signer,
}

impl Forger<'_> {
    fn plain(&self) -> Asked {
        transfer(self.app, self.token, 1)
    }

    fn good(&self) -> Asked {
        self.signer.sign(&self.plain())
    }

    fn all(&self, asked: &Asked, parameters: &SignatureParameters) -> Asked {
        self.signer.sign_with(asked, &EVERYTHING, parameters)
    }

    fn but(&self, left_out: &str) -> Asked {
        let covered: Vec<&str> = EVERYTHING.into_iter().filter(|name| *name != left_out).collect();
        self.signer.sign_with(&self.plain(), &covered, &Signer::parameters())
    }

    fn renamed(&self, from: &str, to: &str) -> Asked {
        let good = self.good();
        let input = good.field("signature-input").replacen(from, to, 1);
        good.with("signature-input", &input)
    }

    /// Another request than the one that was signed.
    fn altered(&self, other_token: &str) -> Vec<Forgery> {
        let other_body = order(self.app, 2).to_string();
        let other_digest = content_digest(DigestAlgorithm::Sha256, other_body.as_bytes());
        let with_body = |asked: Asked| Asked { body: other_body.clone(), ..asked };
        let at = |path: &str| Asked { path: path.to_owned(), ..self.good() };
        let unknown_digest = self.plain().with("content-digest", "md5=:AAAA:");
        let other_session = format!("Bearer {other_token}");
        vec![
            ("content", with_body(self.good()), "security_violation denied content_digest"),
            (
                "content and digest",
                with_body(self.good()).with("content-digest", &other_digest),
                VIOLATED,
            ),
            ("no digest sent", self.good().without("content-digest"), MALFORMED),
            (
                "a digest of no algorithm",
                self.all(&unknown_digest, &Signer::parameters()),
                "auth_failure denied malformed_digest",
            ),
            ("path", at("/v1/holds"), VIOLATED),
            ("query", at("/v1/transfers?x=1"), VIOLATED),
            ("host", self.good().with("host", "elsewhere"), VIOLATED),
            ("idempotency key", self.good().with("idempotency-key", "other"), VIOLATED),
            ("session", self.good().with("authorization", &other_session), VIOLATED),
        ]
    }

    /// A signature that says too little, or of another time.
    fn unfit(&self) -> Vec<Forgery> {
        let now_s = Clock::System.now().as_second();
        let plain = self.plain();
        let of = |created_s: Option<i64>| {
            self.all(&plain, &SignatureParameters { created_s, ..Signer::parameters() })
        };
        let ended = SignatureParameters { expires_s: Some(now_s - 1), ..Signer::parameters() };
        let without_nonce = SignatureParameters { nonce: None, ..Signer::parameters() };
        let versioned = self.plain().with("if-match", "\"1\"");
        vec![
            ("too old", of(Some(now_s - 301)), TIME),
            ("too new", of(Some(now_s + 310)), TIME),
            ("past its end", self.all(&plain, &ended), TIME),
            ("undated", of(None), MALFORMED),
            ("without a nonce", self.all(&plain, &without_nonce), MALFORMED),
            ("not over the method", self.but("@method"), UNCOVERED),
            ("not over the target", self.but("@target-uri"), UNCOVERED),
            ("not over the caller", self.but("authorization"), UNCOVERED),
            ("not over the content", self.but("content-digest"), UNCOVERED),
            ("not over the key", self.but("idempotency-key"), UNCOVERED),
            ("not over the version", self.all(&versioned, &Signer::parameters()), UNCOVERED),
        ]
    }

    /// A signature that was tampered with.
    fn tampered(&self) -> Vec<Forgery> {
        let flipped = |asked: Asked| {
            let text = asked.field("signature").to_owned();
            let inner = text.trim_start_matches("sig=:").trim_end_matches(':').to_owned();
            let mut bytes = STANDARD.decode(inner).unwrap();
            bytes[7] ^= 1;
            asked.with("signature", &format!("sig=:{}:", STANDARD.encode(bytes)))
        };
        let twice = {
            let (one, two) = (self.good(), self.good());
            let both = |name: &str| {
                format!("{}, {}", one.field(name), two.field(name).replacen("sig=", "two=", 1))
            };
            let input = both("signature-input");
            one.clone().with("signature-input", &input).with("signature", &both("signature"))
        };
        let own = self.signer.id.to_string();
        vec![
            ("a flipped bit", flipped(self.good()), VIOLATED),
            ("another nonce", self.renamed("nonce=\"", "nonce=\"x"), VIOLATED),
            ("another time", self.renamed("created=", "created=1"), TIME),
            (
                "a keyid that is none",
                self.renamed(&own, "client-1"),
                "security_violation denied unknown_key",
            ),
            ("no signature to the input", self.good().without("signature"), MALFORMED),
            ("no input to the signature", self.good().without("signature-input"), MALFORMED),
            ("nonsense", self.good().with("signature-input", "sig=("), MALFORMED),
            ("two signatures", twice, "auth_failure denied several"),
            (
                "another algorithm",
                self.renamed(";nonce", ";alg=\"rsa-pss-sha512\";nonce"),
                MALFORMED,
            ),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_there_has_to_be_right_whatever_policy_wants() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let rival = app.add_bank("rival").await;
    let token = app.login_by_factor(&app.bank, "customer").await;
    let other_session = app.login_by_factor(&app.bank, "customer").await;
    let stranger = app.login_by_factor(&app.bank, "second").await;
    let rivals = app.login_by_factor(&rival, "customer").await;
    let signer = Signer::registered(&app, &token).await;
    let revoked = Signer::registered(&app, &token).await;
    let foreign = Signer::registered(&app, &stranger).await;
    let unknown = Signer::registered(&app, &rivals).await;
    let path = format!("/v1/client-keys/{}", revoked.id);
    assert_eq!(app.delete(path).bearer(&token).send().await.status, 204);
    let moved = "SELECT count(*) FROM transfers";
    let before = count(&app, moved).await;
    let forger = Forger { app: &app, token: &token, signer: &signer };
    let mut forgeries = forger.altered(&other_session);
    forgeries.extend(forger.unfit());
    forgeries.extend(forger.tampered());
    for (what, other, record) in [
        ("a key that ended", &revoked, "security_violation denied revoked_key"),
        ("somebody else's key", &foreign, "security_violation denied foreign_key"),
        ("a key of nobody", &unknown, "security_violation denied unknown_key"),
    ] {
        forgeries.push((what, other.sign(&forger.plain()), record));
    }
    let mut expected = Vec::new();
    for (what, asked, record) in forgeries {
        let told = asked.send(port).await;
        assert_eq!((told.status, told.code()), (401, "signature_invalid"), "{what} {}", told.body);
        assert_eq!(
            told.body["detail"], "The signature was not accepted",
            "{what}: nothing is told"
        );
        expected.push(record.to_owned());
        assert_eq!(refusals(&app, &app.bank).await, expected, "{what}");
    }
    assert_eq!(count(&app, moved).await, before, "nothing moved");
    assert_eq!(count(&app, "SELECT count(*) FROM signature_nonces").await, 0, "no nonce used up");
    assert_eq!(refusals(&app, &rival).await, Vec::<String>::new());
    // A header that changes what is done may be covered, and then has to be.
    let asked = transfer(&app, &token, 1).with("if-match", "\"1\"");
    let mut covered = EVERYTHING.to_vec();
    covered.push("if-match");
    let told = signer.sign_with(&asked, &covered, &Signer::parameters()).send(port).await;
    assert_eq!(told.status, 201, "{}", told.body);
    // A signature is nobody's way in.
    let anonymous = signer.sign(&transfer(&app, "nonsense", 1)).send(port).await;
    assert_eq!((anonymous.status, anonymous.code()), (401, "invalid_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_requests_with_one_nonce_one_goes_through() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let token = app.login_by_factor(&app.bank, "customer").await;
    let signer = Signer::registered(&app, &token).await;
    let asked = signer.sign(&Asked::new("GET", "/v1/accounts?limit=1", &token));
    let mut tries = JoinSet::new();
    for _ in 0..50 {
        let asked = asked.clone();
        tries.spawn(async move { asked.send(port).await });
    }
    let answers = tries.join_all().await;
    let passed = answers.iter().filter(|told| told.status == 200).count();
    let refused = answers.iter().filter(|told| told.code() == "signature_invalid").count();
    assert_eq!((passed, refused), (1, 49));
    let recorded = refusals(&app, &app.bank).await;
    assert_eq!(recorded, vec!["security_violation denied replayed"; 49]);
    // A nonce is one key's: another key may have used the same.
    let other = Signer::registered(&app, &token).await;
    let same = SignatureParameters { nonce: Some("shared".to_owned()), ..Signer::parameters() };
    let plain = Asked::new("GET", "/v1/accounts?limit=1", &token);
    let covered = ["@method", "@target-uri", "authorization"];
    for signer in [&signer, &other] {
        assert_eq!(signer.sign_with(&plain, &covered, &same).send(port).await.status, 200);
        // Signed anew with another time it is the same nonce still.
        let again =
            SignatureParameters { expires_s: same.created_s.map(|at| at + 60), ..same.clone() };
        let told = signer.sign_with(&plain, &covered, &again).send(port).await;
        assert_eq!(told.code(), "signature_invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_are_forgotten_when_their_signatures_are_too_old_and_not_before() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let token = app.login_by_factor(&app.bank, "customer").await;
    let signer = Signer::registered(&app, &token).await;
    let fresh = signer.sign(&Asked::new("GET", "/v1/accounts", &token));
    assert_eq!(fresh.send(port).await.status, 200);
    // Taken for as long as its signature is: 300 seconds.
    let sql = "SELECT count(*) FROM signature_nonces \
        WHERE expires_at BETWEEN now() + interval '290 s' AND now() + interval '301 s'";
    assert_eq!(count(&app, sql).await, 1);
    let old = "INSERT INTO signature_nonces (tenant_id, key_id, nonce, expires_at) \
        SELECT $1, $2, 'n' || n, now() - make_interval(mins => n) FROM generate_series(1, 120) n";
    app.superuser.execute(old, &[&app.bank.id, &signer.id]).await.unwrap();
    let worker = app.cli(&app.bank.slug).await;
    assert_eq!(app.identity.forget_nonces(&worker).await.unwrap(), 61);
    assert_eq!(app.identity.forget_nonces(&worker).await.unwrap(), 0);
    assert_eq!(count(&app, "SELECT count(*) FROM signature_nonces").await, 60);
    assert_eq!(fresh.send(port).await.code(), "signature_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_sign_with_keys_of_their_own() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "officer" });
    let made = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let machine: Uuid = made.body["id"].as_str().unwrap().parse().unwrap();
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    let mut signer = Signer::make(SignatureAlgorithm::Ed25519);
    signer.register(&app, &admin, Some(machine)).await;
    let own = Signer::registered(&app, &admin).await;
    require_signatures(&app, &app.bank, true).await;
    let items = json!({ "transfers": [{
        "idempotency_key": key(), "from_account_id": app.bank.customers[0].accounts[0],
        "to_account_id": app.bank.customers[1].accounts[0], "amount": 5, "currency": "EUR",
    }] });
    let batch = Asked::new("POST", "/v1/transfers/batch", &secret).json(&items);
    assert_eq!(batch.send(port).await.code(), "signature_required");
    // Whoever made the machine signs for themselves alone, and it for itself.
    assert_eq!(own.sign(&batch).send(port).await.code(), "signature_invalid");
    let told = signer.sign(&batch).send(port).await;
    assert_eq!(
        (told.status, &told.body["results"][0]["status"]),
        (200, &json!(201)),
        "{}",
        told.body
    );
    let rotate = Asked::new("POST", "/v1/keys/rotate", &admin).json(&json!({}));
    assert_eq!(signer.sign(&rotate).send(port).await.code(), "signature_invalid");
    assert_eq!(rotate.send(port).await.code(), "signature_required");
    assert_eq!(own.sign(&rotate).send(port).await.status, 200);
    // Machines neither register keys nor end them.
    for (method, path) in [
        ("GET", "/v1/client-keys".to_owned()),
        ("DELETE", format!("/v1/client-keys/{}", signer.id)),
    ] {
        let told = signer.sign(&Asked::new(method, &path, &secret)).send(port).await;
        assert_eq!((told.status, told.code()), (403, "permission_denied"), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_registered_once_bounded_and_each_its_owners() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let plain = app.login(&app.bank, "customer").await;
    let first = Signer::make(SignatureAlgorithm::Ed25519);
    let post = async |token: &str, wish: &Value| {
        app.post("/v1/client-keys").bearer(token).json(wish).send().await
    };
    let told = post(&plain, &first.wish()).await;
    assert_eq!((told.status, told.code()), (403, "step_up_required"), "without a factor");
    let token = app.login_by_factor(&app.bank, "customer").await;
    let made = post(&token, &first.wish()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["user_id"], json!(app.bank.users["customer"]));
    assert_eq!(made.body["public_jwk"].as_object().unwrap().len(), 3, "{}", made.text);
    let id = made.body["id"].as_str().unwrap().to_owned();
    // However it is written, and whoever asks: it is registered.
    let second = app.login_by_factor(&app.bank, "second").await;
    let mut other_words = first.wish();
    other_words["public_jwk"]["kid"] = json!("another");
    for token in [&token, &second] {
        let told = post(token, &other_words).await;
        assert_eq!((told.status, told.code()), (409, "client_key_known"));
    }
    let rivals = app.login_by_factor(&rival, "customer").await;
    assert_eq!(post(&rivals, &first.wish()).await.status, 201, "of another tenant");
    // Faults name their fields.
    let mut bad = first.wish();
    bad["name"] = json!("");
    bad["algorithm"] = json!("hmac-sha256");
    let told = post(&token, &bad).await;
    assert_eq!((told.status, told.code(), told.field()), (422, "validation_failed", "name"));
    assert_eq!(told.body["errors"][1]["field"], "algorithm");
    // For machines: who may make API keys, and machines of theirs.
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let mut of_machine = Signer::make(SignatureAlgorithm::Ed25519).wish();
    of_machine["api_key_id"] = json!(Uuid::from_u128(1));
    assert_eq!(post(&token, &of_machine).await.code(), "permission_denied");
    let told = post(&admin, &of_machine).await;
    assert_eq!((told.status, told.code(), told.field()), (422, "not_found", "api_key_id"));
    // One's own are seen by their owner and by whoever reads keys.
    let path = format!("/v1/client-keys/{id}");
    for (token, status, listed) in
        [(&token, 200, 1), (&second, 404, 0), (&admin, 200, 1), (&rivals, 404, 1)]
    {
        assert_eq!(app.get(path.as_str()).bearer(token).send().await.status, status);
        let list = app.get("/v1/client-keys").bearer(token).send().await;
        assert_eq!(list.body["data"].as_array().unwrap().len(), listed, "{}", list.text);
    }
    // Ended by their owner or by whoever ends keys, at the version that was seen; for good.
    let end = async |token: &str, version: &str| {
        app.delete(path.as_str()).bearer(token).header("if-match", version).send().await
    };
    assert_eq!(end(&second, "\"1\"").await.status, 404);
    assert_eq!(end(&rivals, "\"1\"").await.status, 404);
    assert_eq!(end(&token, "\"7\"").await.code(), "version_conflict");
    assert_eq!(end(&token, "\"1\"").await.status, 204);
    assert_eq!(end(&admin, "\"2\"").await.status, 204, "ending it twice is ending it once");
    assert_eq!(post(&token, &first.wish()).await.code(), "client_key_known");
    let revive = "UPDATE client_keys SET revoked_at = NULL WHERE revoked_at IS NOT NULL";
    assert!(app.superuser.execute(revive, &[]).await.is_err());
    let mut tries = Vec::new();
    for _ in 0..12 {
        tries.push(post(&token, &Signer::make(SignatureAlgorithm::Ed25519).wish()).await);
    }
    assert_eq!(tries.iter().filter(|told| told.status == 201).count(), 10);
    assert_eq!(tries[11].code(), "too_many_client_keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_key_comes_without_a_signature() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "officer" });
    let made = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let machine: Uuid = made.body["id"].as_str().unwrap().parse().unwrap();
    require_signatures(&app, &app.bank, true).await;
    let mut of_machine = Signer::make(SignatureAlgorithm::Ed25519).wish();
    of_machine["api_key_id"] = json!(machine);
    let enrol = |wish: &Value| Asked::new("POST", "/v1/client-keys", &admin).json(wish);
    assert_eq!(enrol(&of_machine).send(port).await.code(), "signature_required");
    let signer = Signer::registered(&app, &admin).await;
    let next = Signer::make(SignatureAlgorithm::EcdsaP256Sha256).wish();
    for wish in [&of_machine, &next] {
        assert_eq!(enrol(wish).send(port).await.code(), "signature_required");
        assert_eq!(signer.sign(&enrol(wish)).send(port).await.status, 201);
    }
    // Whoever lost the key ends it with their factor, and begins again.
    let list = app.get("/v1/client-keys").bearer(&admin).send().await;
    for one in list.body["data"].as_array().unwrap() {
        let path = format!("/v1/client-keys/{}", one["id"].as_str().unwrap());
        assert_eq!(app.delete(path).bearer(&admin).send().await.status, 204);
    }
    assert_eq!(signer.sign(&enrol(&next)).send(port).await.code(), "signature_invalid");
    Signer::registered(&app, &admin).await;
}
