//! What somebody may try with a proof that is not for what they want.

use futures_util::future::join_all;
use serde_json::json;
use tenancy::Blueprint;
use uuid::Uuid;

use super::{LIMIT, Scene, enrolled, payment, set_policy};
use crate::harness::FUNDS;

#[tokio::test]
async fn a_proof_is_good_for_nothing_but_its_payment() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let proven = scene.payment(5_000);
    scene.proven(&proven).await;
    let [from, other_own] = scene.app.bank.customers[0].accounts;
    let [to, other] = scene.app.bank.customers[1].accounts;
    let table = [
        ("one minor unit more", payment((from, to), 5_001)),
        ("less, and above the limit", payment((from, to), 4_999)),
        ("another payee", payment((from, other), 5_000)),
        ("another payer", payment((other_own, to), 5_000)),
    ];
    for (what, order) in &table {
        assert_eq!(scene.outcome(&token, what, order).await, "403 step_up_required", "{what}");
    }
    // Another session of the same person, and another person who may use the account.
    let again =
        json!({ "tenant": "bank", "username": "customer", "password": crate::harness::PASSWORD });
    let due = scene.app.post("/v1/auth/login").json(&again).send().await;
    let code = scene.codes.pop().unwrap();
    let body = json!({ "mfa_token": due.body["mfa_token"], "code": code });
    let second = scene.app.post("/v1/auth/mfa/verify").json(&body).send().await;
    let second = second.body["access_token"].as_str().unwrap();
    assert_eq!(scene.outcome(second, "session", &proven).await, "403 step_up_required");
    let officer = scene.app.login(&scene.app.bank, "officer").await;
    assert_eq!(scene.outcome(&officer, "staff", &proven).await, "403 step_up_required");
    assert_eq!(scene.unused().await, 1, "none of them used it up");
    // Neither does what was proven elsewhere help here.
    let foreign = scene.prove(second, &scene.codes[0].clone(), &proven).await;
    assert_eq!(foreign.code(), "step_up_required", "asked for in another session");
    assert_eq!(scene.outcome(&token, "right", &proven).await, "posted");
}

#[tokio::test]
async fn another_currency_and_another_tenant_find_no_proof() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let proven = scene.payment(5_000);
    let id = scene.proven(&proven).await;
    // Between accounts of one currency no other can be ordered, so the row is turned round.
    let dollars = "UPDATE payment_authorisations SET payment_hash = payment_hash($2, $3, 5000, 'USD') WHERE id = $1";
    let bound: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&id, &scene.from, &scene.to];
    scene.app.superuser.execute(dollars, &bound).await.unwrap();
    assert_eq!(scene.outcome(&token, "euros", &proven).await, "403 step_up_required");
    let euros = dollars.replace("USD", "EUR");
    // The same ids under another tenant: nothing there is seen from here.
    let cards = scene.app.add_tenant("cards", Blueprint::CardBank, None).await;
    let elsewhere = scene.app.login(&cards, "customer").await;
    let asked = scene.ask(&elsewhere, "backup", &proven).await;
    assert!([403, 404, 422].contains(&asked.status), "{}", asked.text);
    let sent = scene.transfer(&elsewhere, "tenant", &proven).await;
    assert!([403, 404, 422].contains(&sent.status), "{}", sent.text);
    scene.app.superuser.execute(&euros, &bound).await.unwrap();
    assert_eq!(scene.outcome(&token, "mine", &proven).await, "posted");
}

#[tokio::test]
async fn fifty_transfers_race_for_one_proof() {
    let mut scene = Scene::new().await;
    let great = scene.payment(LIMIT + 1);
    scene.proven(&great).await;
    let race = (0..50).map(|number| {
        let (scene, great) = (&scene, &great);
        async move { scene.outcome(&scene.token, &format!("race-{number}"), great).await }
    });
    let outcomes = join_all(race).await;
    let made = outcomes.iter().filter(|outcome| *outcome == "posted").count();
    let refused = outcomes.iter().filter(|outcome| *outcome == "403 step_up_required").count();
    assert_eq!((made, refused), (1, 49), "{outcomes:?}");
    assert_eq!(scene.app.balance(scene.from).await, FUNDS - LIMIT - 1);
}

#[tokio::test]
async fn twenty_proofs_race_for_one_challenge_and_one_code() {
    let scene = Scene::new().await;
    let great = scene.payment(LIMIT + 1);
    assert_eq!(scene.ask(&scene.token, "backup", &great).await.status, 202);
    let code = scene.codes[0].clone();
    let race = (0..20).map(|_| {
        let (scene, great, code) = (&scene, &great, &code);
        async move { scene.prove(&scene.token, code, great).await.status }
    });
    let proven = join_all(race).await.into_iter().filter(|status| *status == 200).count();
    assert_eq!((proven, scene.unused().await), (1, 1));
}

#[tokio::test]
async fn a_proof_and_what_asks_for_it_live_five_minutes() {
    let mut scene = Scene::new().await;
    let token = scene.token.clone();
    let great = scene.payment(LIMIT + 1);
    let id = scene.proven(&great).await;
    let lifetime = "SELECT expires_at - created_at BETWEEN interval '299 seconds' AND interval '301 seconds' FROM payment_authorisations WHERE id = $1";
    assert!(scene.app.superuser.query_one(lifetime, &[&id]).await.unwrap().get::<_, bool>(0));
    let later = "UPDATE payment_authorisations SET expires_at = now() - interval '1 second'";
    scene.app.superuser.execute(later, &[]).await.unwrap();
    assert_eq!(scene.outcome(&token, "late", &great).await, "403 step_up_required");
    assert_eq!(scene.ask(&token, "backup", &great).await.status, 202);
    let later = "UPDATE mfa_challenges SET expires_at = now() - interval '1 second'";
    scene.app.superuser.execute(later, &[]).await.unwrap();
    let code = scene.codes.last().unwrap().clone();
    assert_eq!(scene.prove(&token, &code, &great).await.code(), "step_up_required");
    // The code itself was not used up by it.
    scene.proven(&great).await;
    // A session that ends takes its proofs along.
    let out = scene.app.post("/v1/auth/logout").bearer(&token).send().await;
    assert!(out.is_success(), "{}", out.text);
    assert_eq!(scene.outcome(&token, "gone", &great).await, "401 token_revoked");
}

#[tokio::test]
async fn who_has_no_factor_pays_no_more_than_the_limit_until_they_have_one() {
    let scene = Scene::new().await;
    let (app, bank) = (&scene.app, &scene.app.bank);
    let token = app.login(bank, "second").await;
    let own = payment((bank.customers[1].accounts[0], bank.customers[0].accounts[0]), LIMIT + 1);
    assert_eq!(scene.outcome(&token, "none", &own).await, "403 step_up_required");
    assert_eq!(scene.ask(&token, "totp", &own).await.code(), "method_unavailable");
    assert_eq!(scene.prove(&token, "123456", &own).await.code(), "no_factor");
    let codes = enrolled(app, &token).await;
    assert_eq!(
        scene.outcome(&token, "one", &own).await,
        "403 step_up_required",
        "not by enrolling"
    );
    assert_eq!(scene.ask(&token, "backup", &own).await.status, 202);
    assert_eq!(scene.prove(&token, &codes[0], &own).await.status, 200);
    assert_eq!(scene.outcome(&token, "one", &own).await, "posted");
}

#[tokio::test]
async fn staff_prove_as_well_and_machines_do_not() {
    let mut scene = Scene::new().await;
    let great = scene.payment(LIMIT + 1);
    let officer = scene.app.login(&scene.app.bank, "officer").await;
    assert_eq!(scene.outcome(&officer, "staff", &great).await, "403 step_up_required");
    let admin = scene.app.login_by_factor(&scene.app.bank, "admin").await;
    let scopes = ["transaction:create", "transaction:read", "account:read"];
    let wish = json!({ "name": "Payroll", "role": "officer", "scopes": scopes });
    let key = scene.app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let secret = key.body["secret"].as_str().unwrap();
    assert_eq!(scene.outcome(secret, "machine", &great).await, "posted");
    // It neither asks for a proof nor gives one, and uses up nobody's.
    assert_eq!(scene.ask(secret, "totp", &great).await.code(), "permission_denied");
    assert_eq!(scene.prove(secret, "123456", &great).await.code(), "permission_denied");
    scene.proven(&great).await;
    assert_eq!(scene.outcome(secret, "machine again", &great).await, "posted");
    assert_eq!(scene.unused().await, 1);
    // Without a limit nobody proves anything, and nothing is used up.
    set_policy(&scene.app, "{transfer_step_up_minor}", "null").await;
    let token = scene.token.clone();
    assert_eq!(scene.outcome(&token, "free", &great).await, "posted");
    assert_eq!(scene.unused().await, 1);
}

#[tokio::test]
async fn a_malformed_payment_is_refused_whole() {
    let scene = Scene::new().await;
    let good = scene.payment(5_000);
    for (member, value) in [
        ("amount", json!("5000")),
        ("amount", json!(1.5)),
        ("currency", json!("ZZZ")),
        ("from_account_id", json!(null)),
        ("payee", json!("Jana")),
        ("to_account_id", json!(Uuid::nil().to_string() + "\u{0}")),
    ] {
        let mut payment = good.clone();
        payment[member] = value.clone();
        let asked = scene.ask(&scene.token, "totp", &payment).await;
        assert_eq!(asked.status, 400, "{member} {value}: {}", asked.text);
        let proven = scene.prove(&scene.token, "123456", &payment).await;
        assert_eq!(proven.status, 400, "{member} {value}: {}", proven.text);
    }
}
