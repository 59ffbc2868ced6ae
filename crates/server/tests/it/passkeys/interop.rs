//! Stacks that others wrote, each as a process of its own: PyPI `soft-webauthn` makes and
//! proves a passkey of ours, and PyPI `fido2` judges what our own software authenticator
//! makes, so that the other tests are no monologue.
//!
//! `scripts/test` installs them beside the build (`install_interop`). Where they are not,
//! a test fails in CI and says loudly elsewhere that it has tested nothing.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::authenticator::{BE, BS, KeyKind, Passkey};

use super::{PASSKEYS, SITE, cards, creation_options, options, present};
use crate::harness::App;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/passkeys/interop.py");

/// The other stacks, asked line by line.
struct Others {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Others {
    /// None, said aloud, where the packages are not.
    fn start() -> Option<Self> {
        let mut child = Command::new(crate::interop::passkeys_python()?)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Self { child, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn done(&mut self, question: &Value) -> Value {
        let answer = self.ask(question);
        assert!(answer["error"].is_null(), "{answer}");
        answer["done"].clone()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_passkey_of_pypi_soft_webauthn_signs_in() {
    let Some(mut others) = Others::start() else { return };
    let app = App::start().await;
    let bank = cards(&app).await;
    let token = app.login(&bank, "customer").await;
    let register = |credential: Value| {
        let body = json!({ "credential": credential });
        app.post(PASSKEYS).bearer(&token).json(&body).send()
    };
    // As it comes it verifies nobody, which is not enough for us.
    let wanted = creation_options(&app, &token).await;
    let create = |wanted: Value, verified: bool| json!({ "do": "create", "options": wanted, "origin": SITE, "verified": verified });
    let made = others.done(&create(wanted, false));
    let refused = register(made).await;
    assert_eq!(refused.body["errors"][0]["code"], "user_not_verified", "{}", refused.body);
    let made = others.done(&create(creation_options(&app, &token).await, true));
    let registered = register(made).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    for (origin, verified, status) in [
        (SITE, true, 200),
        (SITE, false, 401),
        ("http://localhost:9", true, 401),
        (SITE, true, 200),
    ] {
        let wanted = options(&app, &bank).await;
        let question =
            json!({ "do": "get", "options": wanted, "origin": origin, "verified": verified });
        let answer = present(&app, others.done(&question)).await;
        assert_eq!(answer.status, status, "{origin} {verified}: {}", answer.body);
    }
}

#[test]
fn pypi_fido2_accepts_what_our_own_authenticator_makes() {
    let Some(mut others) = Others::start() else { return };
    let challenge = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    for kind in [KeyKind::Es256, KeyKind::EdDsa, KeyKind::Rs256] {
        for format in ["none", "packed"] {
            let mut passkey = Passkey::new(kind, SITE);
            passkey.flags |= BE | BS;
            passkey.format = format;
            let created = passkey.create_for(b"a registration's challenge");
            let proof = passkey.get_for(b"a sign-in's challenge");
            let question = json!({
                "do": "accept", "rp_id": "localhost", "origin": SITE,
                "creation": {
                    "challenge": challenge(b"a registration's challenge"),
                    "credential": created.to_json(),
                },
                "proof": {
                    "challenge": challenge(b"a sign-in's challenge"),
                    "credential": proof.to_json(),
                },
            });
            let accepted = others.done(&question);
            assert_eq!(accepted["algorithm"], passkey.algorithm(), "{kind:?} {format}");
            assert_eq!(accepted["cose"], challenge(&passkey.cose_key()), "{kind:?} {format}");
            let mut forged = question;
            forged["proof"]["challenge"] = challenge(b"another").into();
            assert!(others.ask(&forged)["error"].is_string(), "{kind:?} {format}");
        }
    }
}
