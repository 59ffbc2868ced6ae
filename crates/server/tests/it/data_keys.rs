//! Keys that seal and wrap, administered over the interface and in the console. What the
//! changes themselves do is `key_changes`' matter.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    console::Browser,
    harness::{Answered, App},
};

const KEYS: &str = "/v1/keys/data";

async fn change(app: &App, token: &str, path: &str, body: Value) -> Answered {
    app.post(format!("{KEYS}/{path}")).bearer(token).json(&body).send().await
}

/// `purpose epoch status` of every generation.
async fn standing(app: &App, token: &str) -> Vec<String> {
    let listed = app.get(KEYS).bearer(token).send().await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    let word = |key: &Value, name: &str| key[name].to_string().replace('"', "");
    let keys = listed.body["data"].as_array().unwrap().iter();
    keys.map(|key| ["purpose", "epoch", "status"].map(|name| word(key, name)).join(" ")).collect()
}

/// Generation and count of what stands in a column.
async fn sealed(app: &App, token: &str, column: &str) -> Vec<(i64, i64)> {
    let counted = app.get("/v1/keys/inventory").bearer(token).send().await;
    assert_eq!(counted.status, 200, "{}", counted.text);
    let lines = counted.body["data"].as_array().unwrap().iter();
    let ours = lines.filter(|line| line["column"] == column);
    ours.map(|line| (line["epoch"].as_i64().unwrap(), line["values"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_generation_comes_takes_over_and_is_destroyed() {
    let app = App::start().await;
    let admin = app.login(&app.bank, "admin").await;
    let first = ["blind_index", "field_data", "field_kek", "tenant_kek"];
    assert_eq!(standing(&app, &admin).await, first.map(|purpose| format!("{purpose} 1 active")));
    let people = sealed(&app, &admin, "email_sealed").await;
    assert!(people.iter().any(|(epoch, values)| *epoch == 1 && *values > 3), "{people:?}");

    let made = change(&app, &admin, "rotate", json!({ "purpose": "field_kek" })).await;
    assert_eq!((made.status, made.body["epoch"].as_i64()), (200, Some(2)), "{}", made.text);
    let taken = ["field_kek 2 active", "field_kek 1 retired"];
    assert_eq!(standing(&app, &admin).await[2..4], taken);
    let first = json!({ "purpose": "field_kek", "epoch": 1 });
    let early = change(&app, &admin, "destroy", first.clone()).await;
    assert_eq!((early.status, early.code()), (409, "key_in_use"), "{}", early.text);

    let moved = change(&app, &admin, "rewrap", json!({})).await;
    assert!(moved.body["subject_keys"].as_i64() > Some(3), "{}", moved.text);
    let again = change(&app, &admin, "rewrap", json!({})).await;
    assert_eq!(again.body, json!({ "data_keys": 0, "subject_keys": 0, "log_keys": 0 }));
    assert!(sealed(&app, &admin, "email_sealed").await.iter().all(|(epoch, _)| *epoch == 2));
    for time in ["once", "twice"] {
        let gone = change(&app, &admin, "destroy", first.clone()).await;
        assert_eq!((gone.status, &gone.body["status"]), (200, &json!("destroyed")), "{time}");
    }
    assert_eq!(standing(&app, &admin).await[3], "field_kek 1 destroyed");
    let person = app.get(format!("/v1/users/{}", app.bank.users["customer"]));
    assert_eq!(person.bearer(&admin).send().await.status, 200, "nothing was lost");
}

#[tokio::test]
async fn what_is_asked_wrongly_changes_nothing() {
    let app = App::start().await;
    app.add_bank("other").await;
    let admin = app.login(&app.bank, "admin").await;
    let before = standing(&app, &admin).await;
    let table = [
        ("rotate", json!({ "purpose": "root" }), 400, "malformed_request"),
        ("rotate", json!({}), 400, "malformed_request"),
        ("rotate", json!({ "purpose": "field_kek", "epoch": 2 }), 400, "malformed_request"),
        ("destroy", json!({ "purpose": "field_kek", "epoch": 1 }), 409, "key_not_retired"),
        ("destroy", json!({ "purpose": "field_kek", "epoch": 7 }), 404, "not_found"),
        ("destroy", json!({ "purpose": "field_kek", "epoch": 1e12 }), 400, "malformed_request"),
        ("rewrap", json!({ "all": true }), 400, "malformed_request"),
    ];
    for (path, body, status, code) in table {
        let answer = change(&app, &admin, path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{path} {body}: {}",
            answer.text
        );
    }
    for role in ["manager", "officer", "customer_service", "auditor", "customer"] {
        let token = app.login(&app.bank, role).await;
        let answer = change(&app, &token, "rotate", json!({ "purpose": "field_kek" })).await;
        assert_eq!(answer.status, 403, "{role}");
        for path in [KEYS, "/v1/keys/inventory"] {
            assert_eq!(app.get(path).bearer(&token).send().await.status, 403, "{role} {path}");
        }
    }
    assert_eq!(standing(&app, &admin).await, before);
}

#[tokio::test]
async fn fifty_rotations_at_once_are_fifty_generations_one_of_them_active() {
    let app = App::start().await;
    let admin = app.login(&app.bank, "admin").await;
    let ask = || change(&app, &admin, "rotate", json!({ "purpose": "field_data" }));
    let answers = join_all((0..50).map(|_| ask())).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)), "{made} made");
    assert!(made > 5, "{made} made");
    let after = standing(&app, &admin).await;
    let ours = after.iter().filter(|line| line.starts_with("field_data"));
    let expected = (1..=made + 1).rev().map(|epoch| {
        let status = if epoch == made + 1 { "active" } else { "retired" };
        format!("field_data {epoch} {status}")
    });
    assert!(ours.eq(expected.collect::<Vec<_>>().iter()), "{after:?}");
}

#[tokio::test]
async fn the_page_rotates_wraps_anew_counts_and_destroys() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let page = admin.get(&app, "/keys/data").await;
    assert!(page.text.contains("Data keys") && !page.text.contains("Wrap anew"), "{}", page.text);
    assert!(!page.text.contains("customers.email_sealed"), "counted when asked alone");
    let asked = admin.get(&app, "/keys/data?confirm=ask-field-kek-1").await;
    assert!(asked.text.contains("Make one generation more?"), "{}", asked.text);
    let done = admin.post(&app, "/keys/data/field_kek/rotate", &[]).await;
    assert_eq!((done.status, done.header("location")), (303, "/keys/data"), "{}", done.text);
    let refused = admin.post(&app, "/keys/data/field_kek/1/destroy", &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("It still wraps"), "{}", refused.text);
    assert!(refused.text.contains("Wrap anew…"), "{}", refused.text);
    assert_eq!(admin.post(&app, "/keys/data/rewrap", &[]).await.status, 303);
    let counted = admin.get(&app, "/keys/data?count=yes").await;
    assert!(counted.text.contains("users.email_sealed"), "{}", counted.text);
    assert!(counted.text.contains("Destroy generation 1 of field_kek"), "{}", counted.text);
    assert_eq!(admin.post(&app, "/keys/data/field_kek/1/destroy", &[]).await.status, 303);
    let page = admin.get(&app, "/keys/data").await;
    assert!(page.text.contains("Destroyed"), "{}", page.text);
    for path in ["/keys/data/root/rotate", "/keys/data/root/1/destroy"] {
        assert_eq!(admin.post(&app, path, &[]).await.status, 404, "{path}");
    }
    for path in ["/keys/data/field_kek/x/destroy", "/keys/data/field_kek/9/destroy"] {
        assert_eq!(admin.post(&app, path, &[]).await.status, 404, "{path}");
    }
    for role in ["manager", "auditor", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        assert_eq!(browser.get(&app, "/keys/data").await.status, 403, "{role}");
        let answer = browser.post(&app, "/keys/data/field_kek/rotate", &[]).await;
        assert_eq!(answer.status, 403, "{role}");
    }
}
