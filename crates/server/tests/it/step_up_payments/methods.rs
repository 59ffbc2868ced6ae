//! Each way to prove a payment: what is sent names it, and what was asked for one payment
//! proves no other.

use serde_json::{Value, json};
use testkit::authenticator::{KeyKind, Passkey};
use uuid::Uuid;

use super::{LIMIT, Scene};
use crate::harness::Answered;

/// `PUBLIC_URL` of the harness.
const SITE: &str = "http://localhost:8080";

impl Scene {
    /// Gives the first customer an address that codes go to, as if they had confirmed it.
    async fn reachable_by(&self, method: &str, address: &str) {
        let user = self.app.bank.users["customer"];
        let (config, context) = (self.app.clock.new_id(), self.app.cli("bank").await);
        let keys = self.app.keyring.tenant(&self.app.pool, &context).await.unwrap();
        let sql = "SELECT key_id, kek_epoch, wrapped_key FROM subject_keys WHERE subject_id = $1";
        let row = self.app.superuser.query_one(sql, &[&user]).await.unwrap();
        let subject = keys.open_subject_key(row.get(0), row.get(1), row.get(2)).unwrap();
        let sealed =
            keys.seal(&subject, ("mfa_configs", "secret_sealed", config), address).unwrap();
        let insert = "INSERT INTO mfa_configs (tenant_id, id, user_id, method, name, secret_sealed, device_fingerprint, \
             confirmed_at) VALUES ($1, $2, $3, $4, 'Here', $5, decode(repeat('00', 32), 'hex'), now())";
        let tenant = self.app.bank.id;
        self.app
            .superuser
            .execute(insert, &[&tenant, &config, &user, &method, &sealed])
            .await
            .unwrap();
    }

    /// What the newest code message says.
    async fn message(&self) -> Value {
        let user = self.app.bank.users["customer"];
        let notice = "SELECT id, values_sealed FROM notices WHERE user_id = $1 AND template = 'sign_in_code' \
             ORDER BY id DESC LIMIT 1";
        let notice = self.app.superuser.query_one(notice, &[&user]).await.unwrap();
        let context = self.app.cli("bank").await;
        let keys = self.app.keyring.tenant(&self.app.pool, &context).await.unwrap();
        let sql = "SELECT key_id, kek_epoch, wrapped_key FROM subject_keys WHERE subject_id = $1";
        let row = self.app.superuser.query_one(sql, &[&user]).await.unwrap();
        let subject = keys.open_subject_key(row.get(0), row.get(1), row.get(2)).unwrap();
        let cell = ("notices", "values_sealed", notice.get(0));
        let values = keys.open(&subject, cell, notice.get(1)).unwrap();
        serde_json::from_str(&values).unwrap()
    }

    async fn number_of(&self, account: Uuid) -> String {
        let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
        self.app.superuser.query_one(sql, &[&account]).await.unwrap().get(0)
    }

    async fn prove_by(&self, method: &str, code: &str, payment: &Value) -> Answered {
        let body = json!({ "method": method, "code": code, "payment": payment });
        self.app.post("/v1/auth/step-up").bearer(&self.token).json(&body).send().await
    }
}

#[tokio::test]
async fn a_code_that_is_sent_names_amount_and_payee_and_proves_that_alone() {
    let scene = Scene::new().await;
    for (method, address, more) in
        [("sms", "+420601123456", 235), ("email", "jana@home.example", 236)]
    {
        scene.reachable_by(method, address).await;
        let (asked, other) = (scene.payment(LIMIT + 234), scene.payment(LIMIT + more));
        let answer = scene.ask(&scene.token, method, &asked).await;
        assert_eq!(answer.status, 202, "{method}: {}", answer.text);
        let message = scene.message().await;
        let number = scene.number_of(scene.to).await;
        let purpose = message["purpose"].as_str().unwrap();
        assert_eq!(purpose, format!("to pay 12.34 EUR to account {number}"), "{method}");
        let code = message["code"].as_str().unwrap().to_owned();
        // For another amount it is no code at all, asked for or not.
        assert_eq!(scene.prove_by(method, &code, &other).await.code(), "step_up_required");
        assert_eq!(scene.ask(&scene.token, "backup", &other).await.status, 202);
        assert_eq!(scene.prove_by(method, &code, &other).await.code(), "invalid_code");
        // Nor does it step the session up, or confirm anything else.
        let body = json!({ "method": method, "code": code });
        let up = scene.app.post("/v1/auth/step-up").bearer(&scene.token).json(&body).send().await;
        assert_eq!(up.code(), "invalid_code", "{method}");
        let proven = scene.prove_by(method, &code, &asked).await;
        assert_eq!((proven.status, proven.body["method"].as_str()), (200, Some(method)));
        assert_eq!(scene.prove_by(method, &code, &asked).await.code(), "step_up_required", "once");
        assert_eq!(scene.outcome(&scene.token, method, &asked).await, "posted");
        let clear = "UPDATE users SET mfa_failed_attempts = 0, mfa_first_failed_at = NULL";
        scene.app.superuser.execute(clear, &[]).await.unwrap();
    }
    // The other way round: what steps a session up pays nothing.
    let body = json!({ "method": "sms" });
    let asked = scene.app.post("/v1/auth/step-up/challenge").bearer(&scene.token).json(&body);
    assert_eq!(asked.send().await.status, 202);
    let message = scene.message().await;
    assert!(message.get("purpose").is_none());
    let great = scene.payment(LIMIT + 1);
    assert_eq!(scene.ask(&scene.token, "backup", &great).await.status, 202);
    let crossed = scene.prove_by("sms", message["code"].as_str().unwrap(), &great).await;
    assert_eq!(crossed.code(), "invalid_code");
}

#[tokio::test]
async fn what_an_authenticator_signed_for_one_payment_proves_no_other() {
    let scene = Scene::new().await;
    // A session that lately proved a factor may enrol another.
    let fresh = "UPDATE user_sessions SET mfa_at = now()";
    scene.app.superuser.execute(fresh, &[]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let wanted = scene.app.post("/v1/auth/webauthn/passkeys/options").bearer(&scene.token);
    let wanted = wanted.json(&json!({})).send().await;
    assert_eq!(wanted.status, 200, "{}", wanted.text);
    let made = passkey.create(&wanted.body["publicKey"]).to_json();
    let body = json!({ "name": "Ring", "credential": made });
    let made = scene.app.post("/v1/auth/webauthn/passkeys").bearer(&scene.token).json(&body);
    assert_eq!(made.send().await.status, 201);

    let (asked, other) = (scene.payment(LIMIT + 1), scene.payment(LIMIT + 2));
    let mut sign = async |payment: &Value| {
        let options = scene.ask(&scene.token, "passkey", payment).await;
        assert_eq!(options.status, 200, "{}", options.text);
        passkey.get(&options.body["publicKey"]).to_json()
    };
    let (first, second) = (sign(&asked).await, sign(&other).await);
    let send = async |credential: &Value, payment: Option<&Value>| {
        let mut body = json!({ "method": "passkey", "credential": credential });
        if let Some(payment) = payment {
            body["payment"] = payment.clone();
        }
        scene.app.post("/v1/auth/step-up").bearer(&scene.token).json(&body).send().await
    };
    assert_eq!(send(&first, Some(&other)).await.code(), "invalid_code", "another amount");
    assert_eq!(send(&second, None).await.code(), "invalid_code", "no step-up");
    let proven = send(&first, Some(&asked)).await;
    assert_eq!((proven.status, proven.body["method"].as_str()), (200, Some("passkey")));
    assert_eq!(send(&first, Some(&asked)).await.code(), "step_up_required", "once");
    assert_eq!(scene.outcome(&scene.token, "signed", &asked).await, "posted");
    assert_eq!(scene.outcome(&scene.token, "unsigned", &other).await, "403 step_up_required");
}

#[tokio::test]
async fn of_two_codes_for_one_payment_the_later_one_proves_it() {
    let scene = Scene::new().await;
    scene.reachable_by("sms", "+420601123456").await;
    let asked = scene.payment(LIMIT + 1);
    let mut codes = Vec::new();
    for _ in 0..2 {
        assert_eq!(scene.ask(&scene.token, "sms", &asked).await.status, 202);
        codes.push(scene.message().await["code"].as_str().unwrap().to_owned());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(scene.prove_by("sms", &codes[1], &asked).await.status, 200);
    assert_eq!(scene.prove_by("sms", &codes[0], &asked).await.code(), "step_up_required");
    assert_eq!(scene.unused().await, 1);
}
