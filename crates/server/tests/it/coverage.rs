//! Every route of the OpenAPI document, considered: who is turned away, whose
//! objects stay hidden, what each role gets (a golden table), and what record it leaves
//! (another one). A new route fails here until [`plan`] says how to call it.

mod plans;
mod precedence;
mod records;
mod signatures;
mod versions;

use std::fmt::Write as _;

use axum::http::Method;
use serde_json::{Value, json};
use tenancy::Blueprint;
use uuid::Uuid;
use vault::http_signature::SignatureAlgorithm;

use crate::{
    harness::{Answered, App, Bank},
    signed_requests::Signer,
};
use plans::{Plan, plan};

/// Routes that need no token, each with its reason in the route table.
const PUBLIC: [&str; 18] = [
    "acceptInvitation",
    "beginPasskeySignIn",
    "confirmRequiredFactor",
    "enrolRequiredFactor",
    "forgotPassword",
    "login",
    "readJwks",
    "readOpenApi",
    "readOpenIdConfiguration",
    "readPasswordPolicy",
    "refresh",
    "register",
    "resetPassword",
    "sendSecondFactorCode",
    "signInByPasskey",
    "tryPassword",
    "verifyEmail",
    "verifySecondFactor",
];
/// Public routes that a token in the body opens; without one they are nobody's.
const BY_TOKEN: [&str; 9] = [
    "acceptInvitation",
    "confirmRequiredFactor",
    "enrolRequiredFactor",
    "refresh",
    "resetPassword",
    "sendSecondFactorCode",
    "signInByPasskey",
    "verifyEmail",
    "verifySecondFactor",
];
/// Public routes that change nothing and concern nobody: no record.
const UNRECORDED: [&str; 5] =
    ["readJwks", "readOpenApi", "readOpenIdConfiguration", "readPasswordPolicy", "tryPassword"];

/// Routes that end an approval.
const DECISIONS: [&str; 3] = ["approve", "decideApprovals", "reject"];

/// Routes that ask whoever may call them for a second factor.
const BY_FACTOR: [&str; 6] =
    ["changeRole", "createApiKey", "createRole", "deleteRole", "registerClientKey", "rotateApiKey"];

/// Routes that change what becomes of somebody: whoever tries needs a person of their own.
const ON_PEOPLE: [&str; 5] =
    ["deleteUser", "endUserSessions", "lockUser", "restoreUser", "unlockUser"];

/// A route as the document describes it.
#[expect(clippy::struct_excessive_bools, reason = "what a route asks for, in any combination")]
struct Route {
    id: String,
    method: Method,
    path: String,
    keyed: bool,
    /// Whether it demands `If-Match`.
    versioned: bool,
    /// Whether it heeds `If-Match` without demanding it.
    honours_version: bool,
    public: bool,
    /// Whether it asks for a permission.
    needs: bool,
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(api::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
            let demands = |name: &str| {
                let is_it =
                    |parameter: &Value| parameter["name"] == name && parameter["required"] == true;
                parameters.iter().any(is_it)
            };
            routes.push(Route {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                keyed: has("Idempotency-Key"),
                versioned: demands("If-Match"),
                honours_version: has("If-Match") && !demands("If-Match"),
                public: operation["x-strongroom"]["access"].get("public").is_some(),
                needs: operation["x-strongroom"]["access"].get("permission").is_some(),
            });
        }
    }
    routes.sort_by(|left, right| left.id.cmp(&right.id));
    routes
}

/// The objects that a call is about.
#[derive(Clone)]
struct Objects {
    slug: String,
    user: Uuid,
    customer: Uuid,
    account: Uuid,
    other_account: Uuid,
    transfer: Uuid,
    /// An entry of a movement that nobody has reversed yet.
    entry: Uuid,
    /// A live hold on the account, of enough for everybody to capture a little.
    hold: Uuid,
    /// A transfer out of the account that waits for a second person.
    approval: Uuid,
    event: Uuid,
    session: Uuid,
    device: Uuid,
    /// A change of the security policy that the bank's `super_admin` has asked for.
    policy_change: Uuid,
    passkey: Uuid,
    signing_key: Uuid,
    api_key: Uuid,
    /// A custom role that nobody holds.
    role: Uuid,
    webhook: Uuid,
    /// A key of the person, which signs requests.
    client_key: Uuid,
}

impl Objects {
    /// The objects of one customer of a bank, with a movement and a record of theirs.
    async fn of(app: &App, bank: &Bank, customer: usize) -> Self {
        let holder = &bank.customers[customer];
        let [account, second] = holder.accounts;
        let token = app.login(bank, holder.username).await;
        let order = json!({ "from_account_id": account, "to_account_id": second, "amount": 1, "currency": "EUR" });
        let sent =
            app.post("/v1/transfers").bearer(&token).key(&fresh_key()).json(&order).send().await;
        let me = app.get("/v1/auth/me").bearer(&token).send().await;
        app.seal().await;
        let sql = "SELECT event_id FROM audit_log WHERE tenant_id = $1 ORDER BY event_id LIMIT 1";
        let event = app.superuser.query_one(sql, &[&bank.id]).await.unwrap().get(0);
        Self {
            slug: bank.slug.clone(),
            user: bank.users[holder.username],
            customer: holder.id,
            account,
            other_account: second,
            transfer: id_of(&sent.body["id"]),
            entry: entry_of(app, id_of(&sent.body["id"])).await,
            hold: hold_on(app, &token, account, second).await,
            approval: approval_of(app, bank, &token, (account, second)).await,
            event,
            session: id_of(&me.body["session_id"]),
            device: device_of(app, &token).await,
            policy_change: policy_change_of(app, bank).await,
            passkey: crate::passkeys::stored_for(app, bank, bank.users[holder.username]).await,
            signing_key: signing_key_of(app, bank).await,
            api_key: api_key_of(app, bank).await,
            role: role_of(app, bank).await,
            webhook: webhook_of(app, bank).await,
            client_key: client_key_of(app, bank, holder.username).await,
        }
    }
}

async fn device_of(app: &App, token: &str) -> Uuid {
    let listed = app.get("/v1/auth/devices").bearer(token).send().await;
    id_of(&listed.body["data"][0]["id"])
}

/// A patch that no two callers send alike, so that it always changes something.
fn policy_patch() -> Value {
    let [high, low] = vault::random_bytes::<2>();
    let limit = 100_000 + u32::from(u16::from_be_bytes([high, low]));
    json!({ "patch": { "rate_limits": { "overall_per_hour": limit } } })
}

async fn policy_change_of(app: &App, bank: &Bank) -> Uuid {
    let token = app.login(bank, "super_admin").await;
    let asked =
        app.post("/v1/settings/policy/changes").bearer(&token).json(&policy_patch()).send().await;
    id_of(&asked.body["id"])
}

fn id_of(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no id in {value}"))
}

async fn signing_key_of(app: &App, bank: &Bank) -> Uuid {
    let sql = "SELECT key_id FROM signing_keys WHERE tenant_id = $1 AND status = 'active'";
    app.superuser.query_one(sql, &[&bank.id]).await.unwrap().get(0)
}

async fn api_key_of(app: &App, bank: &Bank) -> Uuid {
    let admin = app.login_by_factor(bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "customer_service" });
    id_of(&app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await.body["id"])
}

/// What a new custom role shall be; its name is one that no other has.
fn role_wish() -> Value {
    let letters = vault::random_bytes::<12>().map(|byte| char::from(b'a' + byte % 26));
    let name: String = letters.iter().collect();
    json!({ "name": name, "permissions": [{ "permission": "account:read" }] })
}

async fn role_of(app: &App, bank: &Bank) -> Uuid {
    let admin = app.login_by_factor(bank, "admin").await;
    id_of(&app.post("/v1/roles").bearer(&admin).json(&role_wish()).send().await.body["id"])
}

async fn webhook_of(app: &App, bank: &Bank) -> Uuid {
    let admin = app.login_by_factor(bank, "super_admin").await;
    id_of(&app.post("/v1/webhooks").bearer(&admin).json(&webhook()).send().await.body["id"])
}

/// A key that nobody has registered before.
fn client_key_wish() -> Value {
    Signer::make(SignatureAlgorithm::Ed25519).wish()
}

async fn client_key_of(app: &App, bank: &Bank, username: &str) -> Uuid {
    let token = app.login_by_factor(bank, username).await;
    let ask = app.post("/v1/client-keys").bearer(&token).json(&client_key_wish());
    id_of(&ask.send().await.body["id"])
}

fn webhook() -> Value {
    json!({ "url": "https://hook.example/strongroom", "event_types": ["policy_change.requested"] })
}

async fn entry_of(app: &App, transfer: Uuid) -> Uuid {
    let sql = "SELECT transaction_id FROM transactions WHERE transfer_id = $1 LIMIT 1";
    app.superuser.query_one(sql, &[&transfer]).await.unwrap().get(0)
}

async fn hold_on(app: &App, token: &str, account: Uuid, to: Uuid) -> Uuid {
    let order = json!({ "account_id": account, "to_account_id": to, "amount": 100 });
    let made = app.post("/v1/holds").bearer(token).key(&fresh_key()).json(&order).send().await;
    id_of(&made.body["id"])
}

/// A transfer over a ceiling that leaves alone what the other calls move.
async fn approval_of(app: &App, bank: &Bank, token: &str, (from, to): (Uuid, Uuid)) -> Uuid {
    crate::approvals::set_ceiling(app, bank, Some(1_000)).await;
    let order =
        json!({ "from_account_id": from, "to_account_id": to, "amount": 1_001, "currency": "EUR" });
    let made = app.post("/v1/transfers").bearer(token).key(&fresh_key()).json(&order).send().await;
    id_of(&made.body["approval_id"])
}

/// An approval can be decided once: whoever tries needs one of their own.
async fn with_fresh_approval(app: &App, objects: &Objects, customer: &str) -> Objects {
    let token = app.login(&app.bank, customer).await;
    let sides = (objects.account, objects.other_account);
    let approval = approval_of(app, &app.bank, &token, sides).await;
    Objects { approval, ..objects.clone() }
}

/// A hold can be let go once: whoever tries needs one of their own.
async fn with_fresh_hold(app: &App, objects: &Objects, customer: &str) -> Objects {
    let token = app.login(&app.bank, customer).await;
    let hold = hold_on(app, &token, objects.account, objects.other_account).await;
    Objects { hold, ..objects.clone() }
}

/// A movement can be reversed once: whoever tries needs one of their own.
async fn with_fresh_entry(app: &App, objects: &Objects, customer: &str) -> Objects {
    let token = app.login(&app.bank, customer).await;
    let order = json!({
        "from_account_id": objects.account, "to_account_id": objects.other_account, "amount": 1, "currency": "EUR",
    });
    let sent = app.post("/v1/transfers").bearer(&token).key(&fresh_key()).json(&order).send().await;
    Objects { entry: entry_of(app, id_of(&sent.body["id"])).await, ..objects.clone() }
}

/// Somebody on whom nothing else rests; deleted where they are to be restored.
async fn with_fresh_user(app: &App, objects: &Objects, route: &Route) -> Objects {
    let cli = app.cli(&app.bank.slug).await;
    let user = identity::NewUser {
        username: format!("u{}", fresh_key()),
        email: None,
        phone: None,
        full_name: None,
        password: identity::NewPassword::None,
        role: "customer".to_owned(),
        department: None,
        organization_id: None,
        referral_code: None,
    };
    let user = app.identity.create_user(&cli, None, user).await.unwrap().output.id;
    if route.id == "restoreUser" {
        app.identity.delete_user(&cli, user, None).await.unwrap();
    }
    Objects { user, ..objects.clone() }
}

fn fresh_key() -> String {
    Uuid::from_bytes(vault::random_bytes()).to_string()
}

/// Calls a route; `version` is what `If-Match` says.
async fn call(
    app: &App,
    route: &Route,
    objects: &Objects,
    token: Option<&str>,
    version: &str,
) -> Answered {
    call_as_planned(app, route, (&plan(route, objects), objects), token, version, &fresh_key())
        .await
}

async fn call_as_planned(
    app: &App,
    route: &Route,
    ((id, body, query), objects): (&Plan, &Objects),
    token: Option<&str>,
    version: &str,
    key: &str,
) -> Answered {
    let path = route.path.replace("{tenant}", &objects.slug);
    let path = id.map_or(path.clone(), |id| path.replace("{id}", &id.to_string()));
    let mut ask = app.ask(route.method.clone(), format!("{path}{query}"));
    if let Some(token) = token {
        ask = ask.bearer(token);
    }
    if route.keyed {
        ask = ask.key(key);
    }
    if route.versioned {
        ask = ask.header("if-match", version);
    }
    if let Some(body) = body {
        ask = ask.json(body);
    }
    ask.send().await
}

/// The `ETag` of what a route changes, read by one who may.
async fn version(app: &App, route: &Route, objects: &Objects, reader: &str) -> String {
    if !route.versioned {
        return String::new();
    }
    let (Some(id), ..) = plan(route, objects) else { return String::new() };
    let read = app.get(route.path.replace("{id}", &id.to_string())).bearer(reader).send().await;
    match read.header("etag") {
        // One's own things are listed, not read one by one: any version will do.
        "" => "*".to_owned(),
        version => version.to_owned(),
    }
}

#[tokio::test]
async fn nobody_gets_past_without_a_token() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let public: Vec<_> =
        routes().into_iter().filter(|route| route.public).map(|route| route.id).collect();
    assert_eq!(public, PUBLIC, "a public route needs its reason here and in the route table");
    for route in routes().iter().filter(|route| !route.public) {
        for token in [None, Some("nonsense"), Some("a.b.c")] {
            let answer = call(&app, route, &objects, token, "\"1\"").await;
            assert_eq!(answer.status, 401, "{}: {}", route.id, answer.body);
            assert_eq!(
                (answer.code(), answer.header("www-authenticate")),
                ("invalid_token", "Bearer")
            );
        }
    }
}

#[tokio::test]
async fn each_role_gets_what_the_golden_table_says() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let roles = Blueprint::CoreBank.roles();
    let mut table = format!("{:<24}", "");
    for role in roles {
        write!(table, " {role:<22}").unwrap();
    }
    for route in routes().iter().filter(|route| !route.public) {
        write!(table, "\n{:<24}", route.id).unwrap();
        for role in roles {
            let token = app.login(&app.bank, role).await;
            let mut objects = objects.clone();
            if route.id == "endSession" {
                // One's own: another of the same person.
                let other = app.login(&app.bank, role).await;
                let me = app.get("/v1/auth/me").bearer(&other).send().await;
                objects.session = id_of(&me.body["session_id"]);
            }
            if route.id == "reverseTransaction" {
                objects = with_fresh_entry(&app, &objects, "customer").await;
            }
            if route.id == "releaseHold" {
                objects = with_fresh_hold(&app, &objects, "customer").await;
            }
            if DECISIONS.contains(&route.id.as_str()) {
                objects = with_fresh_approval(&app, &objects, "customer").await;
            }
            if ON_PEOPLE.contains(&route.id.as_str()) {
                objects = with_fresh_user(&app, &objects, route).await;
            }
            if ["approvePolicyChange", "rejectPolicyChange"].contains(&route.id.as_str()) {
                objects.policy_change = policy_change_of(&app, &app.bank).await;
            }
            if route.id == "rotateApiKey" {
                objects.api_key = api_key_of(&app, &app.bank).await;
            }
            if route.id == "deleteRole" {
                objects.role = role_of(&app, &app.bank).await;
            }
            if route.id == "deleteWebhook" {
                objects.webhook = webhook_of(&app, &app.bank).await;
            }
            // Anew: of so many sessions of one person the oldest have ended.
            let reader = app.login(&app.bank, "admin").await;
            let version = version(&app, route, &objects, &reader).await;
            if BY_FACTOR.contains(&route.id.as_str()) {
                app.factor_used(role).await;
            }
            let answer = call(&app, route, &objects, Some(&token), &version).await;
            assert!(answer.status < 500, "{} as {role}: {}", route.id, answer.body);
            let cell = if answer.is_success() {
                "ok".to_owned()
            } else {
                format!("{} {}", answer.status, answer.code())
            };
            write!(table, " {:<22}", cell.replace("permission_denied", "denied")).unwrap();
        }
    }
    let table: Vec<_> = table.lines().map(str::trim_end).collect();
    insta::assert_snapshot!("role_by_route", table.join("\n"));
}

#[tokio::test]
async fn other_owners_and_other_tenants_objects_do_not_exist() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let theirs = Objects::of(&app, &rival, 0).await;
    let neighbours = Objects::of(&app, &app.bank, 1).await;
    let missing = Objects {
        user: Uuid::from_u128(1),
        customer: Uuid::from_u128(1),
        account: Uuid::from_u128(1),
        other_account: Uuid::from_u128(1),
        transfer: Uuid::from_u128(1),
        entry: Uuid::from_u128(1),
        hold: Uuid::from_u128(1),
        approval: Uuid::from_u128(1),
        event: Uuid::from_u128(1),
        session: Uuid::from_u128(1),
        device: Uuid::from_u128(1),
        policy_change: Uuid::from_u128(1),
        passkey: Uuid::from_u128(1),
        signing_key: Uuid::from_u128(1),
        api_key: Uuid::from_u128(1),
        role: Uuid::from_u128(1),
        webhook: Uuid::from_u128(1),
        client_key: Uuid::from_u128(1),
        ..neighbours.clone()
    };
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let customer = app.login(&app.bank, "customer").await;
    for route in routes().iter().filter(|route| !route.public && route.path.contains("{id}")) {
        let mut bodies = Vec::new();
        for (who, token, objects) in [
            ("admin", &admin, &theirs),
            ("admin", &admin, &missing),
            ("customer", &customer, &neighbours),
        ] {
            let answer = call(&app, route, objects, Some(token), "\"1\"").await;
            // Whoever has no permission on any object learns that first.
            let expected: &[u16] = if who == "admin" { &[404] } else { &[403, 404] };
            assert!(expected.contains(&answer.status), "{} as {who}: {}", route.id, answer.body);
            let mut body = answer.body;
            body["request_id"] = Value::Null;
            bodies.push(body);
        }
        assert_eq!(bodies[0], bodies[1], "{}: another tenant's reads like nothing", route.id);
    }
}

#[tokio::test]
async fn ids_in_bodies_say_nothing_of_other_owners_and_tenants() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let (own, neighbour) = (app.bank.customers[0].accounts, app.bank.customers[1].accounts);
    let (theirs, nothing) = (rival.customers[0].accounts[0], Uuid::from_u128(1));
    let customer = app.login(&app.bank, "customer").await;
    let officer = app.login(&app.bank, "officer").await;
    let order = |from: Uuid, to: Uuid| json!({ "from_account_id": from, "to_account_id": to, "amount": 1, "currency": "EUR" });
    let promise =
        |from: Uuid, to: Uuid| json!({ "account_id": from, "to_account_id": to, "amount": 1 });
    // token, path, body, field
    let table = [
        (&customer, "/v1/transfers", order(neighbour[0], own[0]), "from_account_id"),
        (&customer, "/v1/transfers", order(theirs, own[0]), "from_account_id"),
        (&customer, "/v1/transfers", order(nothing, own[0]), "from_account_id"),
        (&customer, "/v1/transfers", order(own[0], theirs), "to_account_id"),
        (&customer, "/v1/transfers", order(own[0], nothing), "to_account_id"),
        (&officer, "/v1/transfers", order(theirs, own[0]), "from_account_id"),
        (&customer, "/v1/holds", promise(neighbour[0], own[0]), "account_id"),
        (&customer, "/v1/holds", promise(theirs, own[0]), "account_id"),
        (&customer, "/v1/holds", promise(nothing, own[0]), "account_id"),
        (&customer, "/v1/holds", promise(own[0], theirs), "to_account_id"),
        (&customer, "/v1/holds", promise(own[0], nothing), "to_account_id"),
        (&officer, "/v1/holds", promise(theirs, own[0]), "account_id"),
        (
            &officer,
            "/v1/accounts",
            json!({ "customer_id": rival.customers[0].id, "currency": "EUR" }),
            "customer_id",
        ),
        (
            &officer,
            "/v1/accounts",
            json!({ "customer_id": nothing, "currency": "EUR" }),
            "customer_id",
        ),
    ];
    for (token, path, body, field) in table {
        let answer = app.post(path).bearer(token).key(&fresh_key()).json(&body).send().await;
        assert_eq!(
            (answer.status, answer.code(), answer.field()),
            (422, "not_found", field),
            "{body}: {}",
            answer.body
        );
    }
    // One may pay anybody of the same bank.
    let answer = app
        .post("/v1/transfers")
        .bearer(&customer)
        .key("k")
        .json(&order(own[0], neighbour[0]))
        .send()
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn a_repeated_key_gives_the_same_answer_on_every_route_that_takes_one() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let token = app.login(&app.bank, "admin").await;
    let mut tried = 0;
    for route in routes().iter().filter(|route| route.keyed) {
        let is_decision = DECISIONS.contains(&route.id.as_str());
        let objects = if is_decision {
            with_fresh_approval(&app, &objects, "customer").await
        } else {
            objects.clone()
        };
        let plan = plan(route, &objects);
        // What happens to a hold or an approval is no new object.
        let changes = is_decision || ["captureHold", "releaseHold"].contains(&&*route.id);
        let status = match route.id.as_str() {
            "rotateWebhookSecret" => 200,
            // Sent when its turn comes.
            "replayWebhook" | "testWebhook" => 202,
            _ if changes => 200,
            _ => 201,
        };
        let first = call_as_planned(&app, route, (&plan, &objects), Some(&token), "", "same").await;
        let again = call_as_planned(&app, route, (&plan, &objects), Some(&token), "", "same").await;
        assert_eq!(
            (first.status, first.header("idempotency-replayed")),
            (status, ""),
            "{}: {}",
            route.id,
            first.body
        );
        assert_eq!(
            (again.status, again.header("idempotency-replayed")),
            (status, "true"),
            "{}: {}",
            route.id,
            again.body
        );
        let mut shown = first.body;
        if ["createWebhook", "rotateWebhookSecret"].contains(&route.id.as_str()) {
            // A secret is shown once.
            assert!(shown["secret"].take().is_string(), "{}", route.id);
        }
        assert_eq!(shown, again.body, "{}", route.id);
        // Somebody else's key of the same name is another key.
        let is_of_settings = route.id == "requestPolicyChange" || route.id.contains("Webhook");
        let other = if is_of_settings { "super_admin" } else { "manager" };
        let other = app.login(&app.bank, other).await;
        let plan = match route.id.as_str() {
            "createUser" => self::plan(route, &objects),
            "reverseTransaction" => {
                self::plan(route, &with_fresh_entry(&app, &objects, "customer").await)
            }
            "releaseHold" => self::plan(route, &with_fresh_hold(&app, &objects, "customer").await),
            "approve" | "reject" => {
                self::plan(route, &with_fresh_approval(&app, &objects, "customer").await)
            }
            _ => plan,
        };
        let theirs =
            call_as_planned(&app, route, (&plan, &objects), Some(&other), "", "same").await;
        assert_eq!(
            (theirs.status, theirs.header("idempotency-replayed")),
            (status, ""),
            "{}: {}",
            route.id,
            theirs.body
        );
        tried += 1;
    }
    assert!(tried >= 12, "{tried}");
}
