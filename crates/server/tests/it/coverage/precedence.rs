//! What is said first, over all routes: 401, then 400, then 403 (specification 30).

use serde_json::Value;

use super::{Objects, Route, fresh_key, plan, routes};
use crate::harness::{Answered, App};

/// Signs in somebody whose only role is none that the policies know.
async fn powerless(app: &App) -> String {
    let user = app.bank.users["second"];
    let statements = [
        "INSERT INTO roles (tenant_id, name, rank) VALUES ($1, 'visitor', 0)",
        "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2",
        "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, 'visitor')",
        "UPDATE users SET role = 'visitor' WHERE tenant_id = $1 AND id = $2",
    ];
    app.superuser.execute(statements[0], &[&app.bank.id]).await.unwrap();
    for statement in &statements[1..] {
        app.superuser.execute(*statement, &[&app.bank.id, &user]).await.unwrap();
    }
    app.login(&app.bank, "second").await
}

async fn send(
    app: &App,
    (route, path): (&Route, String),
    token: Option<&str>,
    body: Option<String>,
) -> Answered {
    let mut ask = app.ask(route.method.clone(), path).key(&fresh_key()).header("if-match", "*");
    if let Some(token) = token {
        ask = ask.bearer(token);
    }
    if let Some(body) = body {
        ask = ask.raw_json(body);
    }
    ask.send().await
}

#[tokio::test]
async fn who_one_is_comes_before_what_one_says_and_what_one_may() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let token = powerless(&app).await;
    let mut spoilt = 0;
    for route in routes().iter().filter(|route| !route.public) {
        let (id, body, query) = plan(route, &objects);
        let path = id.map_or(route.path.clone(), |id| route.path.replace("{id}", &id.to_string()));
        let nonsense = route.path.replace("{id}", "nonsense");
        // path, body, whether it cannot be read
        let mut table =
            vec![(format!("{path}{query}"), body.clone().map(|body| body.to_string()), false)];
        if body.is_some() {
            table.push((format!("{path}{query}"), Some("{\"".to_owned()), true));
        }
        if id.is_some() {
            table.push((nonsense, body.as_ref().map(Value::to_string), true));
        }
        for (path, body, is_malformed) in table {
            spoilt += usize::from(is_malformed);
            let stranger = send(&app, (route, path.clone()), None, body.clone()).await;
            let told = (stranger.status, stranger.code());
            assert_eq!(told, (401, "invalid_token"), "{} {path}: {}", route.id, stranger.body);
            // What ends the session of the powerless would end this test.
            if ["logout", "signOutEverywhere"].contains(&route.id.as_str()) && !is_malformed {
                continue;
            }
            let answer = send(&app, (route, path.clone()), Some(&token), body).await;
            if is_malformed {
                assert_eq!(answer.status, 400, "{} {path}: {}", route.id, answer.body);
            } else if route.needs {
                let told = (answer.status, answer.code());
                assert_eq!(
                    told,
                    (403, "permission_denied"),
                    "{} {path}: {}",
                    route.id,
                    answer.body
                );
            } else {
                assert_ne!(answer.code(), "permission_denied", "{} {path}", route.id);
                assert!(answer.status < 500, "{} {path}: {}", route.id, answer.body);
            }
        }
    }
    assert!(spoilt >= 60, "{spoilt}");
}

/// On what anybody may ask there is no 401 before 400.
#[tokio::test]
async fn what_is_public_is_read_before_it_is_refused() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    for route in routes().iter().filter(|route| route.public) {
        let (_, body, _) = plan(route, &objects);
        if body.is_some() {
            let answer =
                send(&app, (route, route.path.clone()), None, Some("{\"".to_owned())).await;
            let told = (answer.status, answer.code());
            assert_eq!(told, (400, "malformed_json"), "{}: {}", route.id, answer.body);
        }
    }
}
