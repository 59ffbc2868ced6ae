//! Tokens and key sets in stacks that others wrote: PyPI `PyJWT` and `jwcrypto`, npm
//! `jose`, each a process of its own that reads the keys over HTTP from a real listener.
//! Over a rotation and a revocation, for every algorithm; what has no public half (HS256) they
//! verify by keys handed over, as to a service that knows `JWT_SECRET_KEY`. And what we
//! refuse, they refuse. Signatures of HTTP messages are beside them (`signatures`); the audit log
//! is verified by others in `audit_files`.
//!
//! `scripts/test` installs them beside the build (`install_interop`). Where they are not,
//! a test fails in CI and says loudly elsewhere that it has tested nothing.

mod signatures;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tenancy::{Blueprint, Clock, RequestInfo, policy::JwtAlgorithm};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use uuid::Uuid;
use vault::signing::SigningKey;

use crate::harness::{App, Bank, PASSWORD, unlimited};

const STACKS: [&str; 3] = ["pyjwt", "jwcrypto", "jose"];
const ALGORITHMS: [JwtAlgorithm; 4] =
    [JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA, JwtAlgorithm::HS256];
/// How they say that a set has no such key.
const NO_KEY: [&str; 4] = ["unable to find", "missingkey", "no applicable key", "keyerror"];
/// `JWT_SECRET_KEY` of the tests' installation.
const SHARED_SECRET: [u8; 32] = [9; 32];

/// The Python that has the stacks of passkeys.
pub(crate) fn passkeys_python() -> Option<PathBuf> {
    is_there("fido2").then(|| folder().join("passkeys/bin/python"))
}

/// The Python that has what verifies logs.
pub(crate) fn audit_python() -> Option<PathBuf> {
    is_there("pymerkle").then(|| folder().join("audit/bin/python"))
}

/// The Python that has a cloud.
pub(crate) fn moto_python() -> Option<PathBuf> {
    is_there("moto").then(|| folder().join("moto/bin/python"))
}

/// Where `install_interop` puts things: beside the build that this test is part of.
fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    // …/target/debug/deps/it
    program.ancestors().nth(3).unwrap().join("interop")
}

/// Whether the stack is installed; a test without it has tested nothing and says so.
#[allow(clippy::disallowed_methods, reason = "CI says of itself that it is one")]
#[allow(clippy::print_stderr, reason = "who reads the test's output is to know")]
fn is_there(stack: &str) -> bool {
    let library = match stack {
        "jose" => folder().join("node/node_modules/jose/package.json"),
        "fido2" => folder().join("passkeys/bin/python"),
        "pymerkle" => folder().join("audit/bin/python"),
        "moto" => folder().join("moto/bin/python"),
        "http-message-signatures" => folder().join("signatures/bin/python"),
        _ => folder().join("python/bin/python"),
    };
    if library.exists() {
        return true;
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "{stack} is not installed at {}: scripts/test does that", library.display());
    eprintln!(
        "NOT TESTED: {stack} is not installed at {}; scripts/test installs it",
        library.display()
    );
    false
}

/// A verifier of somebody else's.
struct Stack {
    name: &'static str,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Stack {
    fn start(name: &'static str) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop");
        let mut command = if name == "jose" {
            // It looks for its library from where it stands.
            let script = folder().join("node").join(format!("verify-{}.mjs", std::process::id()));
            std::fs::copy(scripts.join("verify.mjs"), &script).unwrap();
            let mut command = Command::new("node");
            command.arg(script);
            command
        } else if name == "http-message-signatures" {
            let mut command = Command::new(folder().join("signatures/bin/python"));
            command.arg(scripts.join("signatures.py"));
            command
        } else {
            let mut command = Command::new(folder().join("python/bin/python"));
            command.arg(scripts.join("verify.py")).arg(name);
            command
        };
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let input = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { name, input, answers, _process: process }
    }

    async fn ask(&mut self, question: &Value) -> Value {
        self.input.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap();
        let answer = answer.unwrap_or_else(|| panic!("{} ended at {question}", self.name));
        serde_json::from_str(&answer).unwrap()
    }
}

/// A tenant over a real listener, and what its tokens should say.
struct Issuer<'a> {
    app: &'a App,
    bank: Bank,
    algorithm: &'static str,
    jwks_url: String,
}

impl Issuer<'_> {
    async fn question(&self, token: &str) -> Value {
        let url = format!("{}/t/{}", self.app.state.config.public_url, self.bank.slug);
        let mut question = json!({
            "algorithms": [self.algorithm], "issuer": url, "audience": url, "token": token,
        });
        if self.algorithm == "HS256" {
            question["jwks"] = json!({ "keys": self.shared_keys().await });
        } else {
            question["jwks_url"] = json!(self.jwks_url);
        }
        question
    }

    /// The tenant's keys of now, derived from the secret that both sides know.
    async fn shared_keys(&self) -> Vec<Value> {
        let sql = "SELECT key_id FROM signing_keys WHERE tenant_id = $1 AND status <> 'retired'";
        let rows = self.app.superuser.query(sql, &[&self.bank.id]).await.unwrap();
        let key = |kid: Uuid| {
            let kid = kid.to_string();
            let key = SigningKey::derive_hs256(&SHARED_SECRET, self.bank.id, &kid).unwrap();
            let k = URL_SAFE_NO_PAD.encode(key.private_bytes().expose());
            json!({ "kty": "oct", "alg": "HS256", "kid": kid, "k": k })
        };
        rows.iter().map(|row| key(row.get(0))).collect()
    }

    async fn token(&self) -> String {
        self.app.login(&self.bank, "customer").await
    }

    /// A genuine token of an hour ago.
    async fn expired(&self) -> String {
        let past = Clock::System.now().checked_sub(SignedDuration::from_hours(1)).unwrap();
        let who = identity::LoginRequest {
            tenant: Some(self.bank.slug.clone()),
            username: "customer".to_owned(),
            password: PASSWORD.to_owned().into(),
        };
        let earlier = self.app.identity.at(Clock::manual(past));
        let signed_in = earlier.login(who, Arc::new(RequestInfo::default())).await.unwrap();
        signed_in.into_tokens().unwrap().access_token
    }
}

async fn accepts(stack: &mut Stack, issuer: &Issuer<'_>, token: &str, what: &str) {
    let said = stack.ask(&issuer.question(token).await).await;
    let place = format!("{} {} {what}", stack.name, issuer.algorithm);
    assert_eq!(said["ok"], json!(true), "{place}: {said}");
    assert_eq!(said["claims"]["sub"], json!(issuer.bank.users["customer"]), "{place}");
    assert_eq!(said["claims"]["tenant"], json!(issuer.bank.id), "{place}");
}

async fn refuses(stack: &mut Stack, question: &Value, place: &str, words: &[&str]) {
    let said = stack.ask(question).await;
    assert_eq!(said["ok"], json!(false), "{} {place}: {said}", stack.name);
    // For that reason, and not because something else is broken.
    let error = said["error"].as_str().unwrap().to_lowercase();
    assert!(words.iter().any(|word| error.contains(word)), "{} {place}: {error}", stack.name);
}

fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut decoded = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (header, claims) = (decoded(), decoded());
    (header, claims, parts.next().unwrap().to_owned())
}

fn joined(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

async fn over_a_rotation(stack: &mut Stack, issuer: &Issuer<'_>) {
    let cli = issuer.app.cli(&issuer.bank.slug).await;
    let identity = &issuer.app.identity;
    let first = issuer.token().await;
    accepts(stack, issuer, &first, "before").await;
    let second_key = identity.rotate_signing_key(&cli).await.unwrap().id;
    let second = issuer.token().await;
    assert_eq!(parts(&second).0["kid"], json!(second_key));
    accepts(stack, issuer, &second, "after").await;
    accepts(stack, issuer, &first, "verify-only").await;
    refused_everywhere(stack, issuer, &second).await;
    // A key that is ended is gone from the set, and a verifier that reads it anew knows.
    identity.revoke_signing_key(&cli, second_key).await.unwrap();
    let third = issuer.token().await;
    accepts(stack, issuer, &third, "after a revocation").await;
    assert_ne!(parts(&third).0["kid"], json!(second_key));
    let mut old = issuer.question(&second).await;
    if let Some(url) = old["jwks_url"].as_str() {
        // Under another name for the same place, which nobody has a set of yet.
        old["jwks_url"] = json!(url.replace("localhost", "127.0.0.1"));
    }
    refuses(stack, &old, "a revoked key", &NO_KEY).await;
}

/// Altered, expired, for somebody else, of another issuer, and unsigned.
async fn refused_everywhere(stack: &mut Stack, issuer: &Issuer<'_>, token: &str) {
    let (header, claims, signature) = parts(token);
    let place = |what: &str| format!("{} {what}", issuer.algorithm);
    let mut altered = claims.clone();
    altered["role"] = json!("super_admin");
    let altered = issuer.question(&joined(&header, &altered, &signature)).await;
    let signature_words = ["signature", "verification failed"];
    refuses(stack, &altered, &place("altered"), &signature_words).await;
    let expired = issuer.question(&issuer.expired().await).await;
    refuses(stack, &expired, &place("expired"), &["expired", "exp"]).await;
    for (name, words) in [("audience", ["aud", "audience"]), ("issuer", ["iss", "issuer"])] {
        let mut question = issuer.question(token).await;
        question[name] = json!("https://somebody.example");
        refuses(stack, &question, &place(name), &words).await;
    }
    let another = if issuer.algorithm == "HS256" { "RS256" } else { "HS256" };
    for alg in ["none", "None", another] {
        let unsigned = json!({ "alg": alg, "typ": "at+jwt", "kid": header["kid"] });
        let signature = if alg == another { signature.as_str() } else { "" };
        let question = issuer.question(&joined(&unsigned, &claims, signature)).await;
        let words = [
            "alg",
            "not allowed",
            "not supported",
            "unsupported",
            "jwsinvalid",
            "no applicable key",
        ];
        refuses(stack, &question, &place(alg), &words).await;
    }
    let stranger = json!({ "alg": header["alg"], "typ": "at+jwt", "kid": Uuid::nil() });
    let question = issuer.question(&joined(&stranger, &claims, &signature)).await;
    refuses(stack, &question, &place("an unknown key"), &NO_KEY).await;
}

async fn verifies(name: &'static str) {
    if !is_there(name) {
        return;
    }
    let app = App::start_with(unlimited()).await;
    let (port, acceptor) = app.listen().await;
    let mut stack = Stack::start(name);
    for algorithm in ALGORITHMS {
        let algorithm_name: &'static str = match algorithm {
            JwtAlgorithm::RS256 => "RS256",
            JwtAlgorithm::ES256 => "ES256",
            JwtAlgorithm::HS256 => "HS256",
            JwtAlgorithm::EdDSA => "EdDSA",
        };
        let slug = format!("bank-{}", algorithm_name.to_lowercase());
        let bank = app.add_tenant(&slug, Blueprint::CoreBank, Some(algorithm)).await;
        let jwks_url = format!("http://localhost:{port}/t/{slug}/.well-known/jwks.json");
        let issuer = Issuer { app: &app, bank, algorithm: algorithm_name, jwks_url };
        over_a_rotation(&mut stack, &issuer).await;
    }
    drop(acceptor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyjwt_verifies_our_tokens_by_the_published_keys() {
    verifies(STACKS[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jwcrypto_verifies_our_tokens_by_the_published_keys() {
    verifies(STACKS[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jose_verifies_our_tokens_by_the_published_keys() {
    verifies(STACKS[2]).await;
}

/// A verifier that has kept the set since the day before still verifies: the next key was
/// in it.
#[tokio::test]
async fn a_key_is_in_the_set_a_day_before_it_signs() {
    let app = App::start().await;
    app.add_tenant("risk", Blueprint::CoreBank, Some(JwtAlgorithm::EdDSA)).await;
    let context = app.cli("risk").await;
    let set = async || app.get("/t/risk/.well-known/jwks.json").send().await;
    let age =
        "UPDATE signing_keys SET activated_at = now() - interval '29 days' WHERE status = 'active'";
    app.superuser.batch_execute(age).await.unwrap();
    assert_eq!(app.identity.tend_signing_keys(&context).await.unwrap(), 1);
    let kept = set().await;
    assert_eq!(kept.header("cache-control"), "public, max-age=300");
    let kids: Vec<Value> =
        kept.body["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
    let day = "UPDATE signing_keys SET activated_at = activated_at - interval '1 day', \
               created_at = created_at - interval '1 day'";
    app.superuser.batch_execute(day).await.unwrap();
    assert_eq!(app.identity.tend_signing_keys(&context).await.unwrap(), 1);
    let who = json!({ "tenant": "risk", "username": "customer", "password": PASSWORD });
    let tokens = app.post("/v1/auth/login").json(&who).send().await;
    let (header, ..) = parts(tokens.body["access_token"].as_str().unwrap());
    assert_eq!((kids.len(), &header["kid"]), (2, &kids[0]));
    let discovery = app.get("/t/risk/.well-known/openid-configuration").send().await.body;
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
    let told: Vec<&String> = discovery.as_object().unwrap().keys().collect();
    assert!(
        !told.iter().any(|name| *name == "token_endpoint" || *name == "authorization_endpoint")
    );
    let asked = discovery["introspection_endpoint"].as_str().unwrap();
    assert!(asked.ends_with("/v1/auth/introspect"), "{asked}");
}
