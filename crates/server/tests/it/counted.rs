//! `?count=true`: how many objects whoever asks may read of a list, on every list that has
//! pages, and nothing where there are too many.

use uuid::Uuid;

use crate::{
    approvals::{CEILING, order, set_ceiling},
    harness::{Answered, App},
};

/// Every list with pages, out of the document.
fn paged() -> Vec<(String, String)> {
    let document = serde_json::to_value(api::openapi()).unwrap();
    let mut lists = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get") else { continue };
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| parameters.iter().any(|one| one["name"] == name);
        if has("cursor") && has("limit") {
            assert!(has("count"), "{path}");
            let told = &operation["responses"]["200"]["headers"]["X-Total-Count"];
            assert!(told.is_object(), "{path}");
            lists.push((operation["operationId"].as_str().unwrap().to_owned(), path.clone()));
        }
    }
    lists
}

fn total(answer: &Answered) -> Option<usize> {
    answer.headers.get("x-total-count").map(|value| value.to_str().unwrap().parse().unwrap())
}

fn shown(answer: &Answered) -> usize {
    answer.body["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn every_list_counts_what_its_reader_sees_and_only_where_asked() {
    let app = App::start().await;
    set_ceiling(&app, &app.bank, Some(CEILING)).await;
    let customer = app.login_by_factor(&app.bank, "customer").await;
    for (at, amount) in [1, 2, CEILING + 1, CEILING + 2].into_iter().enumerate() {
        let ask = app.post("/v1/transfers").bearer(&customer).key(&format!("k{at}"));
        assert_eq!(ask.json(&order(&app, amount)).send().await.status, 201);
    }
    app.seal().await;
    let account = app.bank.customers[0].accounts[0];
    let mut counted = 0;
    for role in ["admin", "customer", "auditor"] {
        let token = app.login_by_factor(&app.bank, role).await;
        for (id, path) in paged() {
            let object = match id.as_str() {
                "listTransactions" => account,
                "listUserSessions" => app.bank.users["customer"],
                _ => Uuid::from_u128(1),
            };
            let path = path.replace("{id}", &object.to_string());
            let plain = app.get(format!("{path}?limit=200")).bearer(&token).send().await;
            assert_eq!(total(&plain), None, "{role} {id}");
            if plain.status != 200 {
                assert!([403, 404].contains(&plain.status), "{role} {id}: {}", plain.text);
                let refused = app.get(format!("{path}?count=true")).bearer(&token).send().await;
                assert_eq!((refused.status, total(&refused)), (plain.status, None), "{role} {id}");
                continue;
            }
            // The log grows as it is read.
            let grows = ["listAuditEvents", "listAuditCheckpoints", "listEvents"].contains(&&*id);
            assert!(plain.body["next_cursor"].is_null() || grows, "{role} {id}");
            let one = app.get(format!("{path}?limit=1&count=true")).bearer(&token).send().await;
            if !grows {
                assert_eq!(total(&one), Some(shown(&plain)), "{role} {id}");
            }
            assert!(total(&one).is_some() && shown(&one) <= 1, "{role} {id}");
            let no = app.get(format!("{path}?count=false")).bearer(&token).send().await;
            assert_eq!((no.status, total(&no)), (200, None), "{role} {id}");
            // A later page is of the same list, and counts nothing again.
            if let Some(cursor) = one.body["next_cursor"].as_str() {
                let later = format!("{path}?limit=1&count=true&cursor={cursor}");
                let later = app.get(later).bearer(&token).send().await;
                assert_eq!((later.status, total(&later)), (200, None), "{role} {id}");
            }
            counted += 1;
        }
    }
    assert!(counted >= 25, "{counted}");
    let bad = app.get("/v1/accounts?count=yes").bearer(&customer).send().await;
    assert_eq!((bad.status, bad.field()), (400, "count"));
}

#[tokio::test]
async fn nobody_counts_what_they_may_not_read() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let customer = app.login(&app.bank, "customer").await;
    let admin = app.login(&app.bank, "admin").await;
    let rivals = app.login(&rival, "admin").await;
    let count = async |token: &str, path: &str| total(&app.get(path).bearer(token).send().await);
    assert_eq!(count(&customer, "/v1/accounts?count=true").await, Some(2));
    assert_eq!(count(&admin, "/v1/accounts?count=true").await, Some(4));
    assert_eq!(count(&rivals, "/v1/accounts?count=true").await, Some(4));
    // Not through a filter, either.
    let others = app.bank.customers[1].id;
    let filtered = format!("/v1/accounts?count=true&customer_id={others}");
    assert_eq!(count(&customer, &filtered).await, Some(0));
    assert_eq!(count(&rivals, &filtered).await, Some(0));
    assert_eq!(count(&admin, &filtered).await, Some(2));
    let theirs =
        format!("/v1/accounts/{}/transactions?count=true", app.bank.customers[1].accounts[0]);
    let hidden = app.get(theirs).bearer(&customer).send().await;
    assert_eq!((hidden.status, total(&hidden)), (404, None));
}

#[tokio::test]
async fn what_is_too_much_is_not_counted() {
    let app = App::start().await;
    let admin = app.login(&app.bank, "admin").await;
    let add = async |from: i32, to: i32| {
        let sql = "INSERT INTO api_keys (tenant_id, id, name, hint, secret_hash, role, expires_at) \
            SELECT $1, gen_random_uuid(), 'many', 'abcd', sha256(n::text::bytea), 'officer', \
                now() + interval '1 day' FROM generate_series($2::int, $3::int) n";
        app.superuser.execute(sql, &[&app.bank.id, &from, &to]).await.unwrap();
    };
    add(1, 1_000).await;
    let ask = async || {
        let answer = app.get("/v1/api-keys?limit=1&count=true").bearer(&admin).send().await;
        assert_eq!((answer.status, shown(&answer)), (200, 1), "{}", answer.text);
        assert!(answer.body["next_cursor"].is_string());
        total(&answer)
    };
    assert_eq!(ask().await, Some(1_000));
    add(1_001, 1_001).await;
    assert_eq!(ask().await, None);
    // The record of a read says how many were shown, not how many were counted.
    app.operations.access_log().flush(&app.pool, true).await.unwrap();
    let sql =
        "SELECT max((details ->> 'count')::bigint) FROM audit_log WHERE action = 'api_key.list'";
    let most: i64 = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert!(most <= 3, "{most}");
}
