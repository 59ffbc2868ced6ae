//! Payments above the tenant's limit: one proof of amount, payee, payer and currency makes
//! one transfer, for the person and in the session that gave it, and nothing else.

mod abuse;
mod methods;
mod other_duties;
mod pages;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answered, App};

/// The limit of these tests; each account begins with a hundred times as much.
const LIMIT: i64 = 1_000;

/// A bank with a limit, and its first customer with ten backup codes to prove payments with.
struct Scene {
    app: App,
    token: String,
    codes: Vec<String>,
    from: Uuid,
    to: Uuid,
}

impl Scene {
    async fn new() -> Self {
        let app = App::start().await;
        set_policy(&app, "{transfer_step_up_minor}", &LIMIT.to_string()).await;
        set_policy(&app, "{rate_limits,mfa}", "1000").await;
        set_policy(&app, "{mfa,methods}", r#"["totp","sms","email","passkey","backup"]"#).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let token = app.login(&app.bank, "customer").await;
        let codes = enrolled(&app, &token).await;
        let from = app.bank.customers[0].accounts[0];
        let to = app.bank.customers[1].accounts[0];
        Self { app, token, codes, from, to }
    }

    fn payment(&self, amount: i64) -> Value {
        payment((self.from, self.to), amount)
    }

    async fn ask(&self, token: &str, method: &str, payment: &Value) -> Answered {
        let body = json!({ "method": method, "payment": payment });
        self.app.post("/v1/auth/step-up/challenge").bearer(token).json(&body).send().await
    }

    async fn prove(&self, token: &str, code: &str, payment: &Value) -> Answered {
        let body = json!({ "code": code, "payment": payment });
        self.app.post("/v1/auth/step-up").bearer(token).json(&body).send().await
    }

    /// A proof of the payment, by the next backup code.
    async fn proven(&mut self, payment: &Value) -> Uuid {
        let token = self.token.clone();
        let code = self.codes.pop().unwrap();
        let asked = self.ask(&token, "backup", payment).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        let proven = self.prove(&token, &code, payment).await;
        assert_eq!(proven.status, 200, "{}", proven.text);
        proven.body["id"].as_str().unwrap().parse().unwrap()
    }

    async fn transfer(&self, token: &str, key: &str, payment: &Value) -> Answered {
        let key = key.replace([' ', ','], "-");
        self.app.post("/v1/transfers").bearer(token).key(&key).json(payment).send().await
    }

    /// What came of a transfer: its status, or the code of its refusal.
    async fn outcome(&self, token: &str, key: &str, payment: &Value) -> String {
        outcome(&self.transfer(token, key, payment).await)
    }

    async fn unused(&self) -> i64 {
        let sql = "SELECT count(*) FROM payment_authorisations WHERE consumed_at IS NULL";
        self.app.superuser.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn payment((from, to): (Uuid, Uuid), amount: i64) -> Value {
    json!({ "from_account_id": from, "to_account_id": to, "amount": amount, "currency": "EUR" })
}

fn outcome(answer: &Answered) -> String {
    match answer.status {
        201 => answer.body["status"].as_str().unwrap().to_owned(),
        _ => format!("{} {}", answer.status, answer.code()),
    }
}

async fn set_policy(app: &App, path: &str, value: &str) {
    let sql = format!(
        "UPDATE security_policies SET policy = jsonb_set(policy, '{path}', '{value}') WHERE tenant_id = $1"
    );
    app.superuser.execute(&sql, &[&app.bank.id]).await.unwrap();
}

/// Enrols an authenticator app in a session; its backup codes.
async fn enrolled(app: &App, token: &str) -> Vec<String> {
    let setup = app.post("/v1/auth/mfa/setup").bearer(token).json(&json!({ "method": "totp" }));
    let setup = setup.send().await;
    assert_eq!(setup.status, 200, "{}", setup.text);
    let secret = setup.body["manual_entry_key"].as_str().unwrap();
    let step = app.clock.now().as_second() / 30;
    let code = json!({ "code": crate::identity::factor_world::totp(secret, step) });
    let confirmed = app.post("/v1/auth/mfa/confirm").bearer(token).json(&code).send().await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    let codes = confirmed.body["backup_codes"].as_array().unwrap();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_proof_makes_one_transfer_of_exactly_this_payment() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let (small, great) = (scene.payment(LIMIT), scene.payment(LIMIT + 1));
    assert_eq!(scene.outcome(&token, "small", &small).await, "posted", "the limit itself is free");
    let refused = scene.transfer(&token, "great", &great).await;
    assert_eq!((refused.status, refused.code()), (403, "step_up_required"), "{}", refused.text);
    assert!(refused.body["detail"].as_str().unwrap().contains("/v1/auth/step-up/challenge"));
    // What was never asked for cannot be proven, and costs no code.
    let code = scene.codes.last().unwrap().clone();
    let unasked = scene.prove(&token, &code, &great).await;
    assert_eq!((unasked.status, unasked.code()), (403, "step_up_required"), "{}", unasked.text);
    let asked = scene.ask(&token, "backup", &great).await;
    assert_eq!((asked.status, asked.text.as_str()), (202, ""));
    let wrong = scene.prove(&token, "AAAAA-AAAAA", &great).await;
    assert_eq!((wrong.status, wrong.code()), (401, "invalid_code"));
    let proven = scene.prove(&token, &code, &great).await;
    assert_eq!((proven.status, proven.body["method"].as_str()), (200, Some("backup")));
    assert!(proven.body.get("access_token").is_none(), "the session goes on");
    assert_eq!(proven.body["backup_codes_remaining"], 9);
    // The refusal before was not remembered under its key.
    let made = scene.transfer(&token, "great", &great).await;
    assert_eq!((made.status, made.body["status"].as_str()), (201, Some("posted")), "{}", made.text);
    let sql = "SELECT transfer_id FROM payment_authorisations WHERE id = $1::text::uuid";
    let id = proven.body["id"].as_str().unwrap();
    let used: Uuid = scene.app.superuser.query_one(sql, &[&id]).await.unwrap().get(0);
    assert_eq!(made.body["id"], used.to_string());
    // The stored answer needs no second proof; another transfer does.
    let replayed = scene.transfer(&token, "great", &great).await;
    assert_eq!((replayed.status, &replayed.body), (201, &made.body));
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(scene.outcome(&token, "again", &great).await, "403 step_up_required");
    assert_eq!(scene.app.balance(scene.from).await, crate::harness::FUNDS - 2 * LIMIT - 1);
    // The proof raised nothing else: backup codes want a factor that was used.
    let codes = scene.app.post("/v1/auth/mfa/backup-codes").bearer(&token).send().await;
    assert_eq!(codes.code(), "step_up_required");
    scene.codes.pop();
    let again = scene.proven(&great).await;
    assert_ne!(again.to_string(), id);
    assert_eq!(scene.outcome(&token, "again", &great).await, "posted");
    assert_eq!(scene.unused().await, 0);
}

#[tokio::test]
async fn what_was_refused_leaves_the_proof_unused() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let too_much = scene.payment(crate::harness::FUNDS + 1);
    scene.proven(&too_much).await;
    assert_eq!(scene.outcome(&token, "poor", &too_much).await, "422 insufficient_funds");
    assert_eq!(scene.unused().await, 1);
    let own = payment((scene.app.bank.customers[0].accounts[1], scene.from), LIMIT);
    assert_eq!(scene.outcome(&token, "own", &own).await, "posted");
    assert_eq!(scene.outcome(&token, "poor", &too_much).await, "422 insufficient_funds", "stored");
    assert_eq!(scene.outcome(&token, "richer", &too_much).await, "posted");
    assert_eq!(scene.unused().await, 0);
    // What could never be made is not asked for either, and said as the transfer says it.
    let stranger = scene.app.bank.customers[1].accounts[0];
    let table = [
        (payment((scene.from, scene.from), 5_000), "same_account", "to_account_id"),
        (payment((stranger, scene.from), 5_000), "not_found", "from_account_id"),
        (payment((scene.from, Uuid::nil()), 5_000), "not_found", "to_account_id"),
        (scene.payment(0), "invalid_amount", "amount"),
    ];
    for (payment, code, field) in table {
        let asked = scene.ask(&token, "backup", &payment).await;
        assert_eq!((asked.status, asked.code(), asked.field()), (422, code, field), "{payment}");
        let sent = scene.transfer(&token, &format!("{code} {field}"), &payment).await;
        assert_eq!((sent.status, sent.code(), sent.field()), (422, code, field), "{payment}");
    }
    let mut dollars = scene.payment(5_000);
    dollars["currency"] = json!("USD");
    assert_eq!(scene.ask(&token, "backup", &dollars).await.code(), "currency_mismatch");
}

#[tokio::test]
async fn each_transfer_of_a_batch_uses_a_proof_of_its_own() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let great = scene.payment(LIMIT + 7);
    scene.proven(&great).await;
    scene.proven(&great).await;
    let item = |key: &str, amount: i64| {
        let mut item = scene.payment(amount);
        item["idempotency_key"] = json!(key);
        item
    };
    let batch = json!({ "transfers": [
        item("a", LIMIT + 7), item("b", LIMIT), item("c", LIMIT + 8), item("d", LIMIT + 7),
        item("e", LIMIT + 7), item("a", LIMIT + 7),
    ] });
    let send = || scene.app.post("/v1/transfers/batch").bearer(&token).json(&batch).send();
    let answered = send().await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let came = |answered: &Answered| -> Vec<String> {
        let results = answered.body["results"].as_array().unwrap();
        let one = |result: &Value| {
            let code = result["problem"]["code"].as_str().unwrap_or("posted");
            format!("{} {code}", result["status"])
        };
        results.iter().map(one).collect()
    };
    let expected = [
        "201 posted",
        "201 posted",
        "403 step_up_required",
        "201 posted",
        "403 step_up_required",
        "201 posted",
    ];
    assert_eq!(came(&answered), expected);
    assert_eq!(came(&send().await), expected, "replayed and refused again");
    assert_eq!(scene.unused().await, 0);
    let moved = crate::harness::FUNDS - scene.app.balance(scene.from).await;
    assert_eq!(moved, 2 * (LIMIT + 7) + LIMIT);
}

#[tokio::test]
async fn above_the_ceiling_the_maker_proves_as_they_order() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    set_policy(&scene.app, "{transfer_ceiling_minor}", "2000").await;
    let order = scene.payment(2_001);
    assert_eq!(scene.outcome(&token, "order", &order).await, "403 step_up_required");
    let waiting = "SELECT count(*) FROM approvals";
    let count: i64 = scene.app.superuser.query_one(waiting, &[]).await.unwrap().get(0);
    assert_eq!(count, 0, "nothing waits that was not proven");
    scene.proven(&order).await;
    let made = scene.transfer(&token, "order", &order).await;
    assert_eq!(outcome(&made), "pending_approval", "{}", made.text);
    assert_eq!(scene.unused().await, 0, "used up by the order");
    assert_eq!(scene.outcome(&token, "another", &order).await, "403 step_up_required");
    let manager = scene.app.login(&scene.app.bank, "manager").await;
    let approve = format!("/v1/approvals/{}/approve", made.body["approval_id"].as_str().unwrap());
    let approved =
        scene.app.post(approve).bearer(&manager).key("yes").json(&json!({})).send().await;
    assert_eq!(approved.status, 200, "nobody proves it again: {}", approved.text);
    assert_eq!(scene.app.balance(scene.from).await, crate::harness::FUNDS - 2_001);
}
