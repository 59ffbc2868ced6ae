//! Nobody changes what they have not seen: every PATCH and PUT demands `If-Match`, and
//! whatever else takes it heeds it. From the OpenAPI document, so that a new route is asked.

use axum::http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    ON_PEOPLE, Objects, Route, api_key_of, client_key_of, fresh_key, id_of, plan, routes,
    webhook_of, with_fresh_user,
};
use crate::harness::{Answered, App};

/// Routes that only their owner may call, for what is theirs.
const OWN: [&str; 6] = [
    "removeFactor",
    "removePasskey",
    "renameDevice",
    "renameFactor",
    "renamePasskey",
    "revokeDevice",
];

/// A bank, who acts in it, and the objects that they act on.
struct Scene {
    app: App,
    admin: String,
    super_admin: String,
    owner: String,
    objects: Objects,
}

impl Scene {
    async fn new() -> Self {
        let app = App::start().await;
        let objects = Objects::of(&app, &app.bank, 0).await;
        let admin = app.login_by_factor(&app.bank, "admin").await;
        let super_admin = app.login_by_factor(&app.bank, "super_admin").await;
        let owner = app.login_by_factor(&app.bank, "customer").await;
        // Factors enough for one to be renamed and for two to be taken away.
        let factors = "INSERT INTO mfa_configs (tenant_id, id, user_id, method, name, secret_sealed, \
                 device_fingerprint, confirmed_at) \
             SELECT $1, gen_random_uuid(), $2, method, method, decode('01' || repeat('00', 99), 'hex'), \
                 decode(repeat('00', 32), 'hex'), now() FROM unnest(ARRAY['email', 'sms']) AS method";
        app.superuser.execute(factors, &[&app.bank.id, &objects.user]).await.unwrap();
        let confirmed = "UPDATE mfa_configs SET confirmed_at = now() WHERE method = 'passkey'";
        app.superuser.execute(confirmed, &[]).await.unwrap();
        Self { app, admin, super_admin, owner, objects }
    }

    /// Objects that this call may use up.
    async fn objects(&self, route: &Route) -> Objects {
        let (app, objects) = (&self.app, self.objects.clone());
        match route.id.as_str() {
            "closeAccount" => {
                let wish = json!({ "customer_id": objects.customer, "currency": "EUR" });
                let ask = app.post("/v1/accounts").bearer(&self.admin).key(&fresh_key());
                let opened = ask.json(&wish).send().await;
                Objects { account: id_of(&opened.body["id"]), ..objects }
            }
            "revokeApiKey" | "rotateApiKey" => {
                Objects { api_key: api_key_of(app, &app.bank).await, ..objects }
            }
            "deleteRole" => Objects { role: super::role_of(app, &app.bank).await, ..objects },
            "revokeClientKey" => {
                let client_key = client_key_of(app, &app.bank, "officer").await;
                Objects { client_key, ..objects }
            }
            "deleteWebhook" => Objects { webhook: webhook_of(app, &app.bank).await, ..objects },
            "removeFactor" | "renameFactor" => {
                let sql = "SELECT id FROM mfa_configs WHERE user_id = $1 AND method = 'email'";
                let found = app.superuser.query_one(sql, &[&objects.user]).await.unwrap();
                Objects { session: found.get(0), ..objects }
            }
            id if ON_PEOPLE.contains(&id) => with_fresh_user(app, &objects, route).await,
            _ => objects,
        }
    }

    fn actor(&self, route: &Route) -> &str {
        match route.id.as_str() {
            "requestPolicyChange" => &self.super_admin,
            id if OWN.contains(&id) => &self.owner,
            _ => &self.admin,
        }
    }

    /// The version as a client sees it: the `ETag` of the object, or its line of the list.
    async fn version(&self, route: &Route, id: Option<Uuid>) -> i64 {
        let token = self.actor(route);
        let get = |path: String| self.app.get(path).bearer(token).send();
        let (Some(id), Some((list, _))) = (id, route.path.split_once("/{id}")) else {
            return tagged(&get("/v1/settings".to_owned()).await);
        };
        if route.id == "restoreUser" {
            // The deleted are read by nobody.
            let sql = "SELECT version FROM users WHERE id = $1";
            return self.app.superuser.query_one(sql, &[&id]).await.unwrap().get(0);
        }
        let read = get(format!("{list}/{id}")).await;
        if read.status == 200 {
            return tagged(&read);
        }
        let listed = get(list.to_owned()).await;
        let lines = listed.body["data"].as_array().unwrap();
        let line = lines.iter().find(|line| line["id"] == id.to_string());
        line.and_then(|line| line["version"].as_i64())
            .unwrap_or_else(|| panic!("{}: no version in {}", route.id, listed.body))
    }

    async fn call(&self, route: &Route, objects: &Objects, version: Option<&str>) -> Answered {
        let (id, body, _) = plan(route, objects);
        let path = id.map_or(route.path.clone(), |id| route.path.replace("{id}", &id.to_string()));
        let mut ask = self.app.ask(route.method.clone(), path).bearer(self.actor(route));
        if let Some(version) = version {
            ask = ask.header("if-match", version);
        }
        if let Some(body) = body {
            ask = ask.json(&body);
        }
        ask.send().await
    }
}

fn tagged(answer: &Answered) -> i64 {
    let tag = answer.header("etag");
    tag.trim_matches('"').parse().unwrap_or_else(|_| panic!("{tag:?}: {}", answer.body))
}

fn is_change(route: &Route) -> bool {
    matches!(route.method, Method::PATCH | Method::PUT)
}

/// Changes first: what is taken away cannot be changed.
fn versioned() -> Vec<Route> {
    let mut routes: Vec<_> = routes()
        .into_iter()
        .filter(|route| route.versioned || route.honours_version || is_change(route))
        .collect();
    routes.sort_by_key(|route| !is_change(route));
    routes
}

#[tokio::test]
async fn nothing_is_changed_that_was_not_seen() {
    let scene = Scene::new().await;
    let (mut demanding, mut heeding) = (0, 0);
    for route in &versioned() {
        let objects = scene.objects(route).await;
        let id = plan(route, &objects).0;
        let seen = scene.version(route, id).await;
        let stale = scene.call(route, &objects, Some(&format!("\"{}\"", seen + 7))).await;
        assert_eq!(
            (stale.status, stale.code()),
            (412, "version_conflict"),
            "{}: {}",
            route.id,
            stale.body
        );
        if is_change(route) {
            assert!(route.versioned, "{} does not say that it demands If-Match", route.id);
            let blind = scene.call(route, &objects, None).await;
            let told = (blind.status, blind.code());
            assert_eq!(told, (428, "precondition_required"), "{}: {}", route.id, blind.body);
            demanding += 1;
        } else {
            heeding += 1;
        }
        assert_eq!(scene.version(route, id).await, seen, "{} changed it all the same", route.id);
        let done = scene.call(route, &objects, Some(&format!("\"{seen}\""))).await;
        assert!(done.is_success(), "{}: {} {}", route.id, done.status, done.body);
        if is_change(route) {
            assert!(tagged(&done) > seen, "{}: {}", route.id, done.header("etag"));
            let again = scene.call(route, &objects, Some(&format!("\"{seen}\""))).await;
            assert_eq!(again.status, 412, "{}: {}", route.id, again.body);
        }
    }
    assert!(demanding >= 6 && heeding >= 11, "{demanding} demand, {heeding} heed");
}

/// Steps on an object that shows a version heed it, or stand here with the reason.
const UNHEEDING: [(&str, &str); 18] = [
    ("approve", "what is approved is bound to the hash of its payload and decided once"),
    ("approvePolicyChange", "the change is bound to the version of the policy it was made on"),
    ("captureHold", "captures of a group commit, each of an amount that the hold must have left"),
    ("chargeFee", "a posting, under the account's lock"),
    ("confirmFactorReset", "bound to the request by its id and to the factors of that moment"),
    ("deposit", "a posting, under the account's lock"),
    ("endUserSessions", "of sessions, which are at no version"),
    ("reject", "ends what waits, whichever way it stands"),
    ("rejectFactorReset", "ends what waits, whichever way it stands"),
    ("rejectPolicyChange", "ends what waits, whichever way it stands"),
    ("releaseHold", "ends the hold with whatever is left of it"),
    ("requestFactorReset", "bound to the factors of that moment"),
    ("revokeSigningKey", "an ending, asked for in haste"),
    ("sendResetLink", "changes nothing of the person"),
    ("withdraw", "a posting, under the account's lock"),
    ("reverseTransaction", "postings never change"),
    ("replayWebhook", "has something sent, and changes nothing of the webhook"),
    ("testWebhook", "has something sent, and changes nothing of the webhook"),
];

#[tokio::test]
async fn steps_on_what_has_a_version_heed_it_or_say_why_not() {
    for route in routes().iter().filter(|route| route.path.contains("{id}") && !is_change(route)) {
        let is_step = matches!(route.method, Method::POST | Method::DELETE);
        let excused = UNHEEDING.iter().any(|(id, _)| *id == route.id) || route.id == "endSession";
        let heeds = route.honours_version;
        assert_eq!(is_step && !excused, heeds, "{} {}", route.method, route.id);
    }
}

#[tokio::test]
async fn of_fifty_who_saw_the_same_one_changes_it() {
    let scene = Scene::new().await;
    let path = format!("/v1/auth/webauthn/passkeys/{}", scene.objects.passkey);
    let mut renaming = JoinSet::new();
    let scene = std::sync::Arc::new(scene);
    for number in 0..50 {
        let (scene, path) = (std::sync::Arc::clone(&scene), path.clone());
        renaming.spawn(async move {
            let name = json!({ "name": format!("Key {number}") });
            let ask = scene.app.patch(path).bearer(&scene.owner).header("if-match", "\"1\"");
            ask.json(&name).send().await.status
        });
    }
    let mut statuses = renaming.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 412), "{statuses:?}");
}

#[tokio::test]
async fn the_database_counts_changes_of_factors_and_no_uses() {
    let scene = Scene::new().await;
    // statement, whether it is a change
    let table = [
        ("UPDATE mfa_configs SET name = name || '!' WHERE method = 'email'", true),
        ("UPDATE mfa_configs SET last_used_at = now() WHERE method = 'email'", false),
        ("UPDATE mfa_configs SET confirmed_at = NULL WHERE method = 'email'", true),
        ("UPDATE mfa_configs SET version = 40 WHERE method = 'email'", false),
        ("UPDATE webauthn_credentials SET sign_count = sign_count + 1", false),
        ("UPDATE webauthn_credentials SET transports = '{usb}'", true),
    ];
    for (statement, is_change) in table {
        let counted = if statement.contains("mfa_configs") {
            "SELECT version FROM mfa_configs WHERE method = 'email'"
        } else {
            "SELECT version FROM webauthn_credentials"
        };
        let version = || async {
            scene.app.superuser.query_one(counted, &[]).await.unwrap().get::<_, i64>(0)
        };
        let before = version().await;
        assert_eq!(scene.app.superuser.execute(statement, &[]).await.unwrap(), 1, "{statement}");
        assert_eq!(version().await, before + i64::from(is_change), "{statement}");
    }
}
