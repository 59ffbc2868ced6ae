//! A full run of the real `serve` at `LOG_LEVEL=trace`, after which nothing that was a secret
//! in it is found where others look: not in what it prints, not in audit records, not in
//! stored answers, metrics, problems or the OpenAPI document; neither plain nor in any of the
//! forms that programs write secrets in.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::strongroom;
use crate::harness::{App, PASSWORD};
use crate::recovery::last;
use crate::serving::{drop_logins, free_port, logins, wait_for};

const SMTP_PASSWORD: &str = "pass-of-the-mail-server-5521";
const SMS_TOKEN: &str = "token-of-the-sms-gateway-7713";
/// Roots of the harness, as an operator would set them.
const ROOT: [u8; 32] = [7; 32];
const SHARED: [u8; 32] = [9; 32];

/// What must be found nowhere, by what it is.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= 6, "{what} is too short to be looked for");
        self.0.push((what.to_owned(), secret.clone()));
        secret
    }

    fn assert_absent(&self, place: &str, text: &str) {
        let lower = text.to_lowercase();
        for (what, secret) in &self.0 {
            if secret.bytes().all(|byte| byte.is_ascii_digit()) {
                assert!(!has_number(text, secret), "{what} stands in {place}");
                continue;
            }
            for form in forms(secret.as_bytes()) {
                assert!(!text.contains(&form), "{what} stands in {place} as {form}");
            }
            for form in folded_forms(secret.as_bytes()) {
                assert!(!lower.contains(&form), "{what} stands in {place} as {form}");
            }
        }
    }
}

/// A code as a number of its own, and not within another one or behind a second's point.
fn has_number(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + number.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        !joins(before) && before != Some('.') && before != Some('-') && !joins(after)
    })
}

/// Plain, and base64 from each of the three places that a secret may have in longer data.
fn forms(secret: &[u8]) -> Vec<String> {
    let mut forms = vec![String::from_utf8_lossy(secret).into_owned()];
    for shift in 0..3 {
        let mut data = vec![0; shift];
        data.extend_from_slice(secret);
        let usable = data.len() / 3 * 4;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&data);
            let begin = if shift == 0 { 0 } else { 4 };
            forms.push(encoded[begin..usable.max(begin)].to_owned());
        }
    }
    forms.retain(|form| form.len() >= 6);
    forms
}

/// Hexadecimal and percent-encoded, whole, in lower case.
fn folded_forms(secret: &[u8]) -> [String; 3] {
    let (mut hexadecimal, mut every) = (String::new(), String::new());
    for byte in secret {
        let _ = write!(hexadecimal, "{byte:02x}");
        let _ = write!(every, "%{byte:02x}");
    }
    let usual: String = form_urlencoded::byte_serialize(secret).collect();
    [hexadecimal, every, usual.to_lowercase()]
}

/// The real process, over a database of its own logins.
struct Node {
    child: Child,
    port: u16,
    metrics: u16,
    folder: TempDir,
    problems: String,
    asked: u8,
}

impl Node {
    async fn start(app: &App, secrets: &mut Secrets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, sealer) = logins(&app.database).await;
        for (role, url) in [("app", &database), ("sealer", &sealer)] {
            let config: tokio_postgres::Config = url.parse().unwrap();
            let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
            secrets.add(&format!("password of the {role}'s login"), password);
        }
        let root = secrets.add("root", STANDARD.encode(ROOT));
        secrets.add("root's bytes", String::from_utf8(ROOT.to_vec()).unwrap());
        let shared = secrets.add("secret of tokens", STANDARD.encode(SHARED));
        let (port, metrics, nobody) = (free_port(), free_port(), free_port());
        let smtp = secrets.add("password of SMTP", SMTP_PASSWORD);
        let sms = secrets.add("token of SMS", SMS_TOKEN);
        let out = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = strongroom(folder.path())
            .env("DATABASE_URL", database)
            .env("DATABASE_SEALER_URL", sealer)
            .env("ENCRYPTION_KEY", root)
            .env("JWT_SECRET_KEY", shared)
            .env("LISTEN_ADDRESS", format!("127.0.0.1:{port}"))
            .env("METRICS_ADDRESS", format!("127.0.0.1:{metrics}"))
            // Strangers come from addresses of their own: their limits are counted by address.
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("LOG_LEVEL", "trace")
            .env("SMTP_URL", format!("smtp://user:{smtp}@localhost:{nobody}?tls=none"))
            .env("SMTP_FROM", "bank@bank.example")
            .env("SMS_BASE_URL", format!("http://localhost:{nobody}"))
            .env("SMS_ACCOUNT_SID", "AC0001")
            .env("SMS_AUTH_TOKEN", sms)
            .env("SMS_FROM", "+420777000111")
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(out("out"))
            .stderr(out("err"))
            .spawn()
            .unwrap();
        let mut node = Self { child, port, metrics, folder, problems: String::new(), asked: 0 };
        wait_for(&mut node.child, metrics);
        wait_for(&mut node.child, port);
        node
    }

    /// Head and body of an answer; a refusal is kept.
    fn ask(&mut self, request: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        self.asked += 1;
        let mut whole = format!(
            "{request} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\
             X-Forwarded-For: 198.51.100.{}\r\nContent-Length: {}\r\n",
            self.port,
            self.asked,
            body.len()
        );
        for (name, value) in headers {
            let _ = write!(whole, "{name}: {value}\r\n");
        }
        stream.write_all(format!("{whole}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 400 {
            self.problems.push_str(&answer);
        }
        (status, answer)
    }

    fn call(&mut self, request: &str, token: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", &bearer));
        }
        if request.starts_with("POST") {
            headers.push(("Idempotency-Key", "\"redaction-0001\""));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(request, &headers, &body);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn done(&mut self, request: &str, token: &str, body: &Value) -> Value {
        let (status, answer) = self.call(request, token, body);
        assert!(status < 300, "{request}: {status} {answer}");
        answer
    }

    fn refused(&mut self, request: &str, token: &str, body: &Value) {
        let (status, answer) = self.call(request, token, body);
        assert!((400..500).contains(&status), "{request}: {status} {answer}");
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).unwrap();
        let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Ends it as an operator does; everything that it printed.
    fn stop(mut self) -> [(&'static str, String); 3] {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-s", "TERM", &id]).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let printed = [("stdout", read("out")), ("stderr", read("err"))];
        let [out, err] = printed;
        [out, err, ("problems", std::mem::take(&mut self.problems))]
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Only where the test failed half-way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A person signs in, rightly and wrongly, goes on, and enrols an authenticator app.
fn sign_ins(node: &mut Node, secrets: &mut Secrets) {
    let who =
        |password: &str| json!({ "tenant": "bank", "username": "officer", "password": password });
    let wrong = secrets.add("wrong password", "a wrong pass-phrase, 8841");
    node.refused("POST /v1/auth/login", "", &who(&wrong));
    // In the wrong members, and of the wrong kind.
    node.refused("POST /v1/auth/login", "", &json!({ "tenant": "bank", "password": [wrong] }));
    let right = secrets.add("password", PASSWORD);
    let first = node.done("POST /v1/auth/login", "", &who(&right));
    let tokens = |secrets: &mut Secrets, grant: &Value| {
        ["access_token", "refresh_token"]
            .map(|name| secrets.add(name, grant[name].as_str().unwrap()))
    };
    let [_, refresh] = tokens(secrets, &first);
    let second = node.done("POST /v1/auth/refresh", "", &json!({ "refresh_token": refresh }));
    let [access, _] = tokens(secrets, &second);
    let forged = secrets.add("forged token", format!("{}x", &access[..access.len() - 2]));
    node.refused("GET /v1/auth/me", &forged, &Value::Null);
    node.refused(&format!("GET /v1/auth/me?access_token={access}"), "", &Value::Null);
    let setup = node.done("POST /v1/auth/mfa/setup", &access, &json!({ "method": "totp" }));
    let seed = secrets.add("seed", setup["manual_entry_key"].as_str().unwrap());
    let code = Command::new("oathtool").args(["--totp", "--base32", &seed]).output().unwrap();
    let code = String::from_utf8(code.stdout).unwrap().trim().to_owned();
    let code = secrets.add("code of the app", code);
    node.refused("POST /v1/auth/mfa/confirm", &access, &json!({ "code": { "digits": code } }));
    let confirmed = node.done("POST /v1/auth/mfa/confirm", &access, &json!({ "code": code }));
    for backup in confirmed["backup_codes"].as_array().unwrap() {
        secrets.add("backup code", backup.as_str().unwrap());
    }
    let pending = node.call("POST /v1/auth/login", "", &who(&right)).1;
    if let Some(token) = pending["mfa_token"].as_str() {
        let token = secrets.add("pending token", token);
        let stale = json!({ "mfa_token": token, "method": "totp", "code": code });
        node.refused("POST /v1/auth/mfa/verify", "", &stale);
    }
}

/// A customer whose every field is somebody's.
fn customers(node: &mut Node, secrets: &mut Secrets, token: &str) {
    let mut field = |what: &str, value: &str| secrets.add(what, value);
    let new = json!({
        "customer_type": "individual",
        "first_name": field("first name", "Božidara"),
        "last_name": field("last name", "Hrabalová-Šípková"),
        "email": field("e-mail", "bozidara.h@home.example"),
        "phone": field("telephone", "+420601987321"),
        "tax_id": field("tax id", "CZ9054123377"),
        "date_of_birth": field("date of birth", "1977-03-29"),
    });
    let made = node.done("POST /v1/customers", token, &new);
    assert_eq!(node.done("POST /v1/customers", token, &new), made, "the stored answer");
    let id = made["id"].as_str().unwrap().to_owned();
    node.done(&format!("GET /v1/customers/{id}"), token, &Value::Null);
    let mut bad = new.clone();
    bad["customer_type"] = "private".into();
    bad["tax_id"] = json!({ "number": new["tax_id"] });
    node.refused("POST /v1/customers", token, &bad);
    let email = form_urlencoded::byte_serialize(b"bozidara.h@home.example").collect::<String>();
    node.done(&format!("GET /v1/customers?email={email}"), token, &Value::Null);
}

/// A machine's key, and a link by which somebody sets a new password.
async fn keys_and_links(app: &App, node: &mut Node, secrets: &mut Secrets, admin: &str) {
    let wish = json!({ "name": "Payroll", "role": "officer" });
    let made = node.done("POST /v1/api-keys", admin, &wish);
    let secret = secrets.add("secret of an API key", made["secret"].as_str().unwrap());
    node.done("GET /v1/accounts", &secret, &Value::Null);
    let wrong = secrets.add("wrong API key", format!("{}00", &secret[..secret.len() - 2]));
    node.refused("GET /v1/accounts", &wrong, &Value::Null);
    let who = json!({ "tenant": "bank", "username": "customer" });
    node.done("POST /v1/auth/password/forgot", "", &who);
    let link = secrets.add("link", last(app, &app.bank, "password_reset", 1).await.token());
    let weak = secrets.add("weak password", "weak-1");
    let reset = |password: &str| json!({ "token": link, "new_password": password });
    node.refused("POST /v1/auth/password/reset", "", &reset(&weak));
    let new = secrets.add("new password", "Horse staple 7 battery correct");
    node.done("POST /v1/auth/password/reset", "", &reset(&new));
}

/// Signs in to the console: cookies and the token of its forms.
fn console(node: &mut Node, secrets: &mut Secrets) {
    let html = ("Accept", "text/html");
    let (_, page) = node.ask("GET /login", &[html], "");
    let token = page.split_once("name=\"csrf-token\" content=\"").unwrap().1;
    let token = secrets.add("token of forms", token.split('"').next().unwrap());
    let jar = |answer: &str| -> Vec<String> {
        let lines = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        lines.map(|line| line.split(';').next().unwrap().to_owned()).collect()
    };
    let cookies = jar(&page).join("; ");
    let fields = [
        ("csrf", token.as_str()),
        ("tenant", "bank"),
        ("username", "auditor"),
        ("password", PASSWORD),
    ];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = [
        html,
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Cookie", &cookies),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let (status, answer) = node.ask("POST /login", &headers, &form);
    assert_eq!(status, 303, "{answer}");
    let signed_in = jar(&answer);
    for cookie in jar(&page).iter().chain(&signed_in) {
        let (name, value) = cookie.split_once('=').unwrap();
        if value.len() >= 16 {
            secrets.add(&format!("cookie {name}"), value);
        }
    }
    let cookies = signed_in.join("; ");
    let (status, _) = node.ask("GET /audit", &[html, ("Cookie", &cookies)], "");
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_run_at_trace_tells_no_secret() {
    let app = App::start().await;
    let mut secrets = Secrets::default();
    let mut node = Node::start(&app, &mut secrets).await;
    sign_ins(&mut node, &mut secrets);
    let admin = json!({ "tenant": "bank", "username": "admin", "password": PASSWORD });
    let admin = node.done("POST /v1/auth/login", "", &admin);
    let admin = secrets.add("access token of the admin", admin["access_token"].as_str().unwrap());
    app.factor_used("admin").await;
    // Until the node looks at the session anew.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    customers(&mut node, &mut secrets, &admin);
    keys_and_links(&app, &mut node, &mut secrets, &admin).await;
    console(&mut node, &mut secrets);
    // Examples of hashes have the bytes that keys of tests have.
    let keys_of_tests = [[7; 32], [9; 32]].map(|bytes| STANDARD.encode(bytes));
    let mut described = node.ask("GET /openapi.json", &[], "").1;
    for example in &keys_of_tests {
        described = described.replace(example, "");
    }
    // Long enough for what is queued to be tried, and given back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let metrics = node.metrics();
    assert!(metrics.contains("strongroom_http_request_seconds"), "{metrics}");
    let printed = node.stop();
    // Nothing of ours or of the libraries says anything below this level today.
    assert!(printed[1].1.contains("\"level\":\"DEBUG\""), "{}", printed[1].1);
    assert!(printed[2].1.contains("invalid_credentials"), "{}", printed[2].1);
    app.seal().await;
    let dump = async |sql: &str| -> String {
        let row = app.superuser.query_one(sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap()
    };
    let records = dump(
        "SELECT string_agg(convert_from(record, 'UTF8') || to_jsonb(log)::text, E'\\n') \
         FROM audit_log log",
    )
    .await;
    assert!(records.contains("customer.create"), "it is the log");
    let answers =
        dump("SELECT string_agg(to_jsonb(stored)::text, E'\\n') FROM idempotency_keys stored")
            .await;
    for (place, text) in printed {
        secrets.assert_absent(place, &text);
    }
    for (place, text) in [
        ("audit records", records),
        ("stored answers", answers),
        ("metrics", metrics),
        ("the OpenAPI document", described),
    ] {
        secrets.assert_absent(place, &text);
    }
    drop_logins(&app.database).await;
}

/// What looks for secrets finds them in each form.
#[test]
fn a_secret_is_found_in_every_form() {
    let mut secrets = Secrets::default();
    secrets.add("a secret", "p:w/d of Jana?7");
    secrets.add("a code", "482913");
    let secret = b"p:w/d of Jana?7";
    let shifted = |count: usize| [vec![b'x'; count], secret.to_vec(), b"yz".to_vec()].concat();
    let mut leaks: Vec<String> = (0..3).map(|count| STANDARD.encode(shifted(count))).collect();
    leaks.push(URL_SAFE_NO_PAD.encode(shifted(1)));
    leaks.extend(folded_forms(secret));
    leaks.extend(["p:w/d of Jana?7", "code=482913", "\"482913\""].map(str::to_owned));
    for leak in leaks {
        let text = format!("{{\"message\":\"{leak}\"}}");
        let found = std::panic::catch_unwind(|| secrets.assert_absent("a log", &text));
        assert!(found.is_err(), "{leak}");
    }
    for harmless in ["12:00:01.482913Z", "1482913", "482913a", "p:w"] {
        secrets.assert_absent("a log", harmless);
    }
}
