//! The scheme of a tenant's hashes: chosen by policy, changed at the next sign-in.

use serde_json::{Value, json};

use super::{NEXT, reset, reset_token, set_policy, try_login};
use crate::harness::{App, PASSWORD};

async fn stored(app: &App, username: &str) -> String {
    let sql = "SELECT password_hash FROM users WHERE tenant_id = $1 AND username_key = $2";
    app.superuser.query_one(sql, &[&app.bank.id, &username]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_change_of_scheme_or_cost_takes_place_as_people_sign_in_and_back_again() {
    let app = App::start().await;
    let path = &["password", "hashing"];
    let argon2id = |kib: u32, passes: u32| json!({ "scheme": "argon2id", "memory_kib": kib, "iterations": passes });
    // policy, what the stored hash then begins with
    let table: [(Value, &str); 4] = [
        (json!({ "scheme": "argon2id" }), "$argon2id$v=19$m=19456,t=2,p=1$"),
        (argon2id(7_168, 5), "$argon2id$v=19$m=7168,t=5,p=1$"),
        (json!({ "scheme": "bcrypt" }), "$2b$04$"),
        (argon2id(19_456, 2), "$argon2id$v=19$m=19456,t=2,p=1$"),
    ];
    assert!(stored(&app, "customer").await.contains("$2b$04$"));
    for (policy, beginning) in table {
        set_policy(&app, &app.bank, path, &policy).await;
        let before = stored(&app, "customer").await;
        assert_eq!(try_login(&app, &app.bank, "customer", NEXT).await.status, 401);
        assert_eq!(stored(&app, "customer").await, before, "a wrong password changes nothing");
        assert_eq!(try_login(&app, &app.bank, "customer", PASSWORD).await.status, 200);
        let after = stored(&app, "customer").await;
        assert!(after.contains(beginning) && !before.contains(beginning), "{policy}: {after}");
        assert_eq!(try_login(&app, &app.bank, "customer", PASSWORD).await.status, 200);
        assert_eq!(stored(&app, "customer").await, after, "once");
    }
    // New passwords are made so from the start, and the history is compared across schemes.
    let token = reset_token(&app, &app.bank, "officer", 1).await;
    assert_eq!(reset(&app, &token, PASSWORD).await.code(), "password_reused");
    assert_eq!(reset(&app, &token, NEXT).await.status, 204);
    assert!(stored(&app, "officer").await.starts_with("$sr2$"));
    assert_eq!(try_login(&app, &app.bank, "officer", NEXT).await.status, 200);
}
