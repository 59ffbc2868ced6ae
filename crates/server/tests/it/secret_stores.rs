//! Settings that lie in secret managers, and sealed ones, through the real binary.
//!
//! AWS is played by PyPI `moto` as a process of its own, which verifies each signature with
//! botocore; of Azure and of a machine's metadata there is nothing that others wrote, and small
//! fakes of the documented answers stand in for them here.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{cli::strongroom, interop::moto_python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/interop/secret_stores.py");
const URL: &str = "postgresql://bank:hush-9137@db.example/bank";
const SHOWN: &str = "bank:[redacted]@db.example:5432/bank";
const ROOT: &str = "q3Zf0v9m5N8s1XyB7LdKcTgJhR2WuEaP4oYi6MbVnQk=";

/// What the binary said of itself; nothing of it holds the secret.
struct Said {
    code: Option<i32>,
    settings: Value,
    faults: String,
}

impl Said {
    fn setting(&self, name: &str) -> (&str, &str) {
        let lines = self.settings.as_array().unwrap();
        let line = lines.iter().find(|line| line["name"] == name).unwrap();
        (line["value"].as_str().unwrap_or_default(), line["source"].as_str().unwrap())
    }

    #[track_caller]
    fn assert_found(&self, source: &str) {
        assert_eq!(self.code, Some(0), "{}", self.faults);
        assert_eq!(self.setting("DATABASE_URL"), (SHOWN, source));
    }

    #[track_caller]
    fn assert_fault(&self, fault: &str) {
        assert_eq!(self.code, Some(3), "{}", self.faults);
        assert!(self.faults.contains(fault), "{fault}: {}", self.faults);
        assert!(self.faults.starts_with("strongroom: 1 fault "), "{}", self.faults);
    }
}

fn command(variables: &[(&str, &str)]) -> Command {
    let folder = std::env::temp_dir();
    let mut command = strongroom(&folder);
    command.env_remove("HOME").env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(variables.iter().copied());
    command
}

/// `config check` with these.
fn check(variables: &[(&str, &str)]) -> Said {
    let output = command(variables).args(["config", "check", "-o", "json"]).output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    for said in [&told, &faults] {
        assert!(!said.contains("hush"), "{said}");
    }
    Said { code: output.status.code(), settings: serde_json::from_str(&told).unwrap(), faults }
}

/// `config seal NAME` with the value on standard input.
fn seal(variables: &[(&str, &str)], name: &str, value: &str) -> (Option<i32>, String, String) {
    let mut child = command(variables)
        .args(["config", "seal", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [told, faults] =
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    (output.status.code(), told.trim_end().to_owned(), faults)
}

#[test]
fn a_sealed_setting_is_made_and_opened_by_the_binary() {
    let root = ("ENCRYPTION_KEY", ROOT);
    let (code, sealed, wrong) = seal(&[root], "database_url", &format!("{URL}\n"));
    assert_eq!(code, Some(0), "{wrong}");
    assert!(sealed.starts_with("sealed:v1:") && !sealed.contains("hush"), "{sealed}");
    check(&[root, ("DATABASE_URL", &sealed)]).assert_found("environment, sealed");

    let moved = check(&[root, ("DATABASE_URL", URL), ("DATABASE_OWNER_URL", &sealed)]);
    moved.assert_fault("DATABASE_OWNER_URL was altered, or sealed for another setting");
    let foreign = ("ENCRYPTION_KEY", "Zk8vQ2mN5sX1yB7LdKcTgJhR0WuEaP4oYi6MbVnq3f8=");
    check(&[foreign, ("DATABASE_URL", &sealed)])
        .assert_fault("DATABASE_URL was sealed under another ENCRYPTION_KEY");

    // Name, value, code, what is said.
    let table = [
        ("ENCRYPTION_KEY", ROOT, Some(3), "is a root and cannot be sealed"),
        ("DATABASE_URL", "mysql://hush", Some(3), "must be: PostgreSQL URL"),
        ("LOG_LEVEL", "debug", Some(3), "is no secret"),
        ("DATABSE_URL", URL, Some(2), "did you mean DATABASE_URL?"),
        ("DATABASE_URL", " \n", Some(2), "standard input holds no value"),
    ];
    for (name, value, expected, said) in table {
        let (code, told, wrong) = seal(&[root], name, value);
        assert_eq!((code, told.as_str()), (expected, ""), "{name}: {wrong}");
        assert!(wrong.contains(said) && !wrong.contains("hush"), "{name}: {wrong}");
    }
    let long = "a".repeat(16_385);
    assert_eq!(seal(&[root], "DB_PASSWORD", &long).0, Some(2));
    assert_eq!(seal(&[], "DATABASE_URL", URL).0, Some(3), "nothing to seal under");
}

/// PyPI `moto`, with what it keeps.
struct Moto {
    child: Child,
    told: Value,
}

impl Moto {
    fn start() -> Option<Self> {
        let mut child = Command::new(moto_python()?)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { child, told: serde_json::from_str(&line).unwrap() })
    }

    fn text(&self, pointer: &str) -> &str {
        self.told.pointer(pointer).and_then(Value::as_str).unwrap()
    }

    /// Where it is, and who asks.
    fn variables(&self, who: &str) -> Vec<(&'static str, &str)> {
        vec![
            ("AWS_ENDPOINT_URL", self.text("/endpoint")),
            ("AWS_REGION", self.text("/region")),
            ("AWS_ACCESS_KEY_ID", self.text(&format!("/{who}/id"))),
            ("AWS_SECRET_ACCESS_KEY", self.text(&format!("/{who}/secret"))),
        ]
    }

    fn with<'a>(&'a self, who: &str, more: &[(&'static str, &'a str)]) -> Said {
        check(&[self.variables(who), more.to_vec()].concat())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn secrets_of_aws_are_read_by_signed_requests() {
    let Some(moto) = Moto::start() else { return };
    let root = ("ENCRYPTION_KEY", ROOT);
    for reference in ["aws-sm://prod/database", "aws-sm://prod/several#url", "aws-sm://prod/binary"]
    {
        moto.with("reader", &[root, ("DATABASE_URL", reference)])
            .assert_found("environment, aws-sm");
    }
    let faults = [
        ("aws-sm://prod/nothing", "is aws-sm://prod/nothing, which is not there"),
        (
            "aws-sm://prod/several#user",
            "is aws-sm://prod/several#user, which has no such member of text",
        ),
        (
            "aws-sm://prod/several#port",
            "is aws-sm://prod/several#port, which has no such member of text",
        ),
        (
            "aws-sm://prod/database#url",
            "is aws-sm://prod/database#url, which has no such member of text",
        ),
        ("aws-kms://AQIDBA==", "is aws-kms://…, which "),
    ];
    for (reference, fault) in faults {
        moto.with("reader", &[root, ("DATABASE_URL", reference)])
            .assert_fault(&format!("DATABASE_URL {fault}"));
    }
}

#[test]
fn a_root_that_kms_keeps_opens_what_was_sealed_under_it() {
    let Some(moto) = Moto::start() else { return };
    let (_, sealed, _) = seal(&[("ENCRYPTION_KEY", moto.text("/root"))], "DATABASE_URL", URL);
    let reference = format!("aws-kms://{}", moto.text("/ciphertext"));
    let said = moto.with("reader", &[("ENCRYPTION_KEY", &reference), ("DATABASE_URL", &sealed)]);
    said.assert_found("environment, sealed");
    assert_eq!(said.setting("ENCRYPTION_KEY"), ("[redacted]", "environment, aws-kms"));
}

#[test]
fn whoever_may_not_read_it_in_aws_is_told_so_and_nothing_else() {
    let Some(moto) = Moto::start() else { return };
    let settings = [("ENCRYPTION_KEY", ROOT), ("DATABASE_URL", "aws-sm://prod/database")];
    let denied = "DATABASE_URL is aws-sm://prod/database, which may not be read with these \
                  credentials";
    moto.with("stranger", &settings).assert_fault(denied);
    // The same key id with another secret: the signature is another.
    let mut forged = moto.variables("reader");
    forged[3].1 = moto.text("/stranger/secret");
    check(&[forged.as_slice(), &settings].concat()).assert_fault(denied);
    let mut unknown = moto.variables("reader");
    unknown[2].1 = "AKIANOBODYATALL00000";
    check(&[unknown.as_slice(), &settings].concat()).assert_fault(denied);

    // A session is its key and its token together.
    let session = [moto.variables("session").as_slice(), &settings].concat();
    let with = |token| check(&[session.as_slice(), &[("AWS_SESSION_TOKEN", token)]].concat());
    with(moto.text("/session/token")).assert_found("environment, aws-sm");
    with("another").assert_fault(denied);
    check(&session).assert_fault(denied);

    let half = [&moto.variables("reader")[..3], &settings].concat();
    check(&half).assert_fault("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
    let nobody = [&moto.variables("reader")[..2], &settings].concat();
    check(&nobody).assert_fault("which needs credentials: set AWS_ACCESS_KEY_ID");
    let nowhere = [&moto.variables("reader")[2..], &settings].concat();
    check(&nowhere).assert_fault("which needs a region: set AWS_REGION");
    let mut in_the_clear = moto.variables("reader");
    in_the_clear[0].1 = "http://kms.example.org";
    check(&[in_the_clear.as_slice(), &settings].concat()).assert_fault(
        "AWS_ENDPOINT_URL must be an https address without a path, or http on this machine",
    );
}

#[test]
fn a_profile_and_a_machines_role_say_who_asks_aws() {
    let Some(moto) = Moto::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let profile = format!(
        "[default]\naws_access_key_id = nobody\n[bank]\naws_access_key_id = {}\n\
         aws_secret_access_key = {}\nregion = {}\n",
        moto.text("/reader/id"),
        moto.text("/reader/secret"),
        moto.text("/region"),
    );
    std::fs::write(&file, profile).unwrap();
    let settings = [
        ("ENCRYPTION_KEY", ROOT),
        ("DATABASE_URL", "aws-sm://prod/database"),
        ("AWS_ENDPOINT_URL", moto.text("/endpoint")),
    ];
    let of_profile = |name| {
        let file = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()), ("AWS_PROFILE", name)];
        check(&[settings.as_slice(), &file].concat())
    };
    of_profile("bank").assert_found("environment, aws-sm");
    of_profile("nobody").assert_fault("AWS_PROFILE names a profile without a key");

    // A fake of the metadata service; the session that it hands out is moto's own.
    let [id, secret, token, region] =
        ["/session/id", "/session/secret", "/session/token", "/region"]
            .map(|pointer| moto.text(pointer).to_owned());
    let fake = Fake::start(move |request| {
        let has_session = request.contains("x-aws-ec2-metadata-token: of-this-session\r\n");
        match request.lines().next().unwrap() {
            "PUT /latest/api/token HTTP/1.1" => (200, "of-this-session".to_owned()),
            _ if !has_session => (401, String::new()),
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => (200, "bank".to_owned()),
            "GET /latest/meta-data/iam/security-credentials/bank HTTP/1.1" => {
                let key = json!({"AccessKeyId": id, "SecretAccessKey": secret, "Token": token});
                (200, key.to_string())
            }
            "GET /latest/meta-data/placement/region HTTP/1.1" => (200, region.clone()),
            _ => (404, String::new()),
        }
    });
    let here = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.url.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "false"),
    ];
    check(&[settings.as_slice(), &here].concat()).assert_found("environment, aws-sm");
}

/// A small server of ours that answers as a function says, and remembers what it was asked.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&asked);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let request = request_of(&mut stream);
                let (status, body) = answer(&request);
                remembered.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} said\r\nlocation: http://127.0.0.1:1/\r\n\
                     content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Head and body.
fn request_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let length = stream.read(&mut part).unwrap_or(0);
        bytes.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let declared = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            line.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0)
        };
        let is_whole =
            text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= declared(head));
        if is_whole || length == 0 {
            return text.into_owned();
        }
    }
}

/// A fake of Microsoft Entra ID, of the metadata service and of one vault, by their published
/// REST answers; nobody else's word.
fn azure(request: &str) -> (u16, String) {
    let token = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "t0k-en"});
    let target = request.split(' ').nth(1).unwrap();
    match target {
        "/tenant-1/oauth2/v2.0/token" => {
            let form = "grant_type=client_credentials&client_id=client-1&client_secret=hush%2Fp\
                        &scope=https%3A%2F%2Fvault.azure.net%2F.default";
            if request.ends_with(form) {
                (200, token.to_string())
            } else {
                (401, json!({"error": "invalid_client", "hush": "hush"}).to_string())
            }
        }
        _ if target.starts_with("/metadata/identity/oauth2/token?api-version=2018-02-01") => {
            let is_meant = request.contains("metadata: true\r\n")
                && target.contains("&resource=https%3A%2F%2Fvault.azure.net");
            if is_meant { (200, token.to_string()) } else { (400, String::new()) }
        }
        _ if !request.contains("authorization: Bearer t0k-en\r\n") => (401, String::new()),
        "/secrets/database?api-version=7.4" | "/secrets/database/v1?api-version=7.4" => {
            let id = format!("https://bank.vault.azure.net{target}");
            (200, json!({"value": URL, "id": id, "attributes": {"enabled": true}}).to_string())
        }
        "/secrets/forbidden?api-version=7.4" => {
            (403, json!({"error": {"code": "Forbidden", "message": "hush"}}).to_string())
        }
        "/secrets/elsewhere?api-version=7.4" => (302, String::new()),
        "/secrets/long?api-version=7.4" => (200, json!({"value": "x".repeat(20_000)}).to_string()),
        "/secrets/odd?api-version=7.4" => (200, "hush".to_owned()),
        _ => (404, json!({"error": {"code": "SecretNotFound"}}).to_string()),
    }
}

#[test]
fn secrets_of_azure_are_read_by_an_application_or_the_machine() {
    let fake = Fake::start(azure);
    let base = [
        ("ENCRYPTION_KEY", ROOT),
        ("AZURE_KEYVAULT_ENDPOINT", fake.url.as_str()),
        ("AZURE_AUTHORITY_HOST", fake.url.as_str()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", fake.url.as_str()),
    ];
    let with = |more: &[(&'static str, &'static str)]| check(&[base.as_slice(), more].concat());
    let application = [
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", "hush/p"),
    ];
    let of_application =
        |reference| with(&[application.as_slice(), &[("DATABASE_URL", reference)]].concat());
    of_application("azure-kv://bank/database").assert_found("environment, azure-kv");
    of_application("azure-kv://bank/database/v1").assert_found("environment, azure-kv");
    assert_eq!(fake.asked().len(), 4, "a token and a secret, each time");
    with(&[("DATABASE_URL", "azure-kv://bank/database")]).assert_found("environment, azure-kv");
    with(&[("AZURE_CLIENT_ID", "one/of us"), ("DATABASE_URL", "azure-kv://bank/database")])
        .assert_found("environment, azure-kv");
    let asked = fake.asked();
    assert!(asked[2].contains("&client_id=one%2Fof+us HTTP/1.1"), "{asked:?}");

    let faults = [
        ("azure-kv://bank/nothing", "is not there"),
        ("azure-kv://bank/forbidden", "may not be read with these credentials"),
        // Not followed: a vault that redirects is none.
        ("azure-kv://bank/elsewhere", "was refused (status 302)"),
        ("azure-kv://bank/long", "was answered with what cannot be read"),
        ("azure-kv://bank/odd", "was answered with what cannot be read"),
    ];
    for (reference, fault) in faults {
        of_application(reference)
            .assert_fault(&format!("DATABASE_URL is {reference}, which {fault}"));
    }
    let wrong = [application[0], application[1], ("AZURE_CLIENT_SECRET", "hush")];
    let reference = ("DATABASE_URL", "azure-kv://bank/database");
    with(&[wrong.as_slice(), &[reference]].concat())
        .assert_fault("may not be read with these credentials");
    with(&[application[2], reference]).assert_fault("which needs credentials: set AZURE_TENANT_ID");
}
