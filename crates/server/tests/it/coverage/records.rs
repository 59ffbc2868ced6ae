//! What each route leaves in the audit log, as golden tables, and that every type of event
//! is left by something.

use std::{collections::BTreeSet, fmt::Write as _};

use audit::EventType;
use identity::{LockReason, UserUpdate};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    BY_TOKEN, ON_PEOPLE, Objects, UNRECORDED, call, fresh_key, policy_patch, role_of, routes,
    version, webhook_of, with_fresh_approval, with_fresh_user,
};
use crate::{
    console::Browser,
    harness::{Answered, App, PASSWORD},
};

/// Types that nothing leaves yet: they come with the module that has the deed.
const AWAITED: [EventType; 3] = [
    // A breach is declared by a person, where privacy is looked after.
    EventType::DataBreach,
    EventType::PredictionRequest,
    EventType::ReportGeneration,
];
/// Left by what needs an authenticator: `a_passkey_of_any_algorithm_signs_in_by_itself`.
const ELSEWHERE: [EventType; 1] = [EventType::KeyUse];

#[tokio::test]
async fn every_route_leaves_a_record() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 0).await;
    let mut table = String::new();
    for route in routes().iter().filter(|route| !UNRECORDED.contains(&route.id.as_str())) {
        let token = app.login_by_factor(&app.bank, "admin").await;
        let mut objects = objects.clone();
        if route.id == "endSession" {
            objects.session = Uuid::from_u128(1);
        }
        if ON_PEOPLE.contains(&route.id.as_str()) {
            objects = with_fresh_user(&app, &objects, route).await;
        }
        if route.id == "decideApprovals" {
            objects = with_fresh_approval(&app, &objects, "customer").await;
        }
        if route.id == "deleteRole" {
            objects.role = role_of(&app, &app.bank).await;
        }
        if route.id == "deleteWebhook" {
            objects.webhook = webhook_of(&app, &app.bank).await;
        }
        let version = version(&app, route, &objects, &token).await;
        let before = app.audit_count(app.bank.id).await;
        let token = (!route.public).then_some(token.as_str());
        let answer = call(&app, route, &objects, token, &version).await;
        let after = app.audit_count(app.bank.id).await;
        // What is refused before anything of a tenant is known has nobody's log to stand in.
        let nobodys = BY_TOKEN.contains(&route.id.as_str()) && matches!(answer.status, 401 | 422);
        assert!(after > before || nobodys, "{} left no record: {}", route.id, answer.body);
        write!(table, "{} {}{}", route.id, answer.status, records_of(&app, &answer).await).unwrap();
    }
    // A refresh that is somebody's does.
    let tokens = app.sign_in(&app.bank, "officer").await;
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    let answer = app.post("/v1/auth/refresh").json(&body).send().await;
    assert_eq!(answer.status, 200);
    write!(table, "refresh 200{}", records_of(&app, &answer).await).unwrap();
    insta::assert_snapshot!("records_by_route", table);
    // And no route changes a row past the operations.
    let past = "SELECT coalesce(string_agg(DISTINCT action || ' ' || resource_type, ', '), 'none') \
        FROM audit_log WHERE action LIKE 'row.%'";
    assert_eq!(app.superuser.query_one(past, &[]).await.unwrap().get::<_, String>(0), "none");
}

#[tokio::test]
async fn refusals_leave_a_record_as_well() {
    let app = App::start().await;
    let objects = Objects::of(&app, &app.bank, 1).await;
    let token = app.login(&app.bank, "customer").await;
    // They end the session that asks for the next one, or are granted to everybody.
    let about_oneself = [
        "logout",
        "signOutEverywhere",
        "readMe",
        "listSessions",
        "listActivity",
        "listDevices",
        "listPasskeys",
    ];
    let mut table = String::new();
    for route in routes().iter().filter(|route| !route.public) {
        if about_oneself.contains(&route.id.as_str()) {
            continue;
        }
        let before = app.audit_count(app.bank.id).await;
        let answer = call(&app, route, &objects, Some(&token), "\"1\"").await;
        if matches!(answer.status, 403 | 404) {
            let after = app.audit_count(app.bank.id).await;
            assert!(after > before, "{}: a refusal left no record: {}", route.id, answer.body);
            let (id, status) = (&route.id, answer.status);
            write!(table, "{id} {status}{}", records_of(&app, &answer).await).unwrap();
        }
    }
    insta::assert_snapshot!("records_by_refusal", table);
}

/// What one request left: the action, its types, how they ended, the flags, and whether what
/// was before and after stands in it.
async fn records_of(app: &App, answer: &Answered) -> String {
    app.operations.access_log().flush(&app.pool, true).await.unwrap();
    let sql = "SELECT DISTINCT action || ': ' || event_type::text || ' ' || result::text \
            || coalesce(' ' || nullif(array_to_string(compliance_flags, ' '), ''), '') \
            || CASE WHEN old_values IS NULL THEN '' ELSE ' old' END \
            || CASE WHEN new_values IS NULL THEN '' ELSE ' new' END \
        FROM audit_log WHERE tenant_id = $1 AND request_id = $2 ORDER BY 1";
    let request = answer.header("x-request-id");
    assert!(!request.is_empty());
    let rows = app.superuser.query(sql, &[&app.bank.id, &request]).await.unwrap();
    let mut text = String::from("\n");
    for row in rows {
        writeln!(text, "    {}", row.get::<_, &str>(0)).unwrap();
    }
    text
}

/// The log as it grows, deed by deed.
struct Log<'a> {
    app: &'a App,
    seen: Vec<Uuid>,
    types: BTreeSet<String>,
}

impl Log<'_> {
    /// The deed before left a record of this type, of the severity that the type has.
    async fn grew(&mut self, expected: EventType) {
        let app = self.app;
        app.operations.access_log().flush(&app.pool, true).await.unwrap();
        let sql = "SELECT event_id, event_type::text, severity::text FROM audit_log \
            WHERE event_id <> ALL ($1)";
        let rows = app.superuser.query(sql, &[&self.seen]).await.unwrap();
        let mut left = BTreeSet::new();
        for row in rows {
            let (kind, severity): (String, String) = (row.get(1), row.get(2));
            let known: EventType = kind.parse().unwrap();
            assert_eq!(severity, known.severity().as_str(), "{kind}");
            self.seen.push(row.get(0));
            left.insert(kind);
        }
        assert!(left.contains(expected.as_str()), "{expected}: {left:?}");
        self.types.extend(left);
    }
}

#[tokio::test]
async fn every_type_of_event_is_left_by_something() {
    let app = App::start().await;
    let cli = app.cli(&app.bank.slug).await;
    let mut log = Log { app: &app, seen: Vec::new(), types: BTreeSet::new() };
    // A bank was made: people, customers, accounts and their first money.
    log.grew(EventType::LedgerPosting).await;
    for made in [EventType::UserCreation, EventType::DataModification] {
        assert!(log.types.contains(made.as_str()), "{made}");
    }
    ways_in(&mut log).await;
    rights(&mut log).await;
    reads(&mut log).await;
    app.identity.cleanup_sessions(&cli).await.unwrap();
    log.grew(EventType::JobRun).await;
    app.identity.ensure_platform().await.unwrap();
    app.get("/v1/accounts").peer("203.0.113.1").bearer("nonsense").send().await;
    app.state.record_refused().await.unwrap();
    log.grew(EventType::RequestFlood).await;
    let missing: Vec<_> =
        EventType::ALL.iter().filter(|kind| !log.types.contains(kind.as_str())).collect();
    let awaited: Vec<_> = EventType::ALL
        .iter()
        .filter(|kind| AWAITED.contains(kind) || ELSEWHERE.contains(kind))
        .collect();
    assert_eq!(missing, awaited);
}

/// Signing in and out, and what is taken for an attack on it.
async fn ways_in(log: &mut Log<'_>) {
    let app = log.app;
    let tokens = app.sign_in(&app.bank, "officer").await;
    log.grew(EventType::Login).await;
    let refresh = async |token: &Value| {
        app.post("/v1/auth/refresh").json(&json!({ "refresh_token": token })).send().await
    };
    let second = refresh(&tokens["refresh_token"]).await;
    log.grew(EventType::TokenRefresh).await;
    assert_eq!(refresh(&second.body["refresh_token"]).await.status, 200);
    assert_eq!(refresh(&tokens["refresh_token"]).await.status, 401);
    log.grew(EventType::SecurityViolation).await;
    let token = app.login(&app.bank, "officer").await;
    assert!(app.post("/v1/auth/logout").bearer(&token).json(&json!({})).send().await.is_success());
    log.grew(EventType::Logout).await;
    let wrong = json!({ "tenant": app.bank.slug, "username": "second", "password": "wrong" });
    assert_eq!(app.post("/v1/auth/login").json(&wrong).send().await.status, 401);
    log.grew(EventType::AuthFailure).await;
    for _ in 0..10 {
        app.post("/v1/auth/login").json(&wrong).send().await;
    }
    log.grew(EventType::AccountLockout).await;
    let token = app.login(&app.bank, "auditor").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "Quite-New-77-Battery" });
    let changed = app.post("/v1/auth/password/change").bearer(&token).json(&change).send().await;
    assert!(changed.is_success(), "{}", changed.body);
    log.grew(EventType::CredentialChange).await;
}

/// What administrators do, and what others try.
async fn rights(log: &mut Log<'_>) {
    let app = log.app;
    let cli = app.cli(&app.bank.slug).await;
    let manager = app.login(&app.bank, "manager").await;
    let wish = json!({ "username": "mightier", "role": "admin" });
    let refused = app.post("/v1/users").bearer(&manager).key(&fresh_key()).json(&wish).send().await;
    assert_eq!((refused.status, refused.code()), (403, "privilege_escalation"));
    log.grew(EventType::PrivilegeEscalation).await;
    let user = app.bank.users["customer_service"];
    let wish = UserUpdate { role: Some("officer".to_owned()), ..UserUpdate::default() };
    app.identity.update_user(&cli, user, 1, wish).await.unwrap();
    log.grew(EventType::RoleChange).await;
    app.login(&app.bank, "customer_service").await;
    app.identity.end_sessions_of(&cli, user, None).await.unwrap();
    log.grew(EventType::SessionRevocation).await;
    app.identity.lock_user(&cli, user, None, LockReason::Compliance).await.unwrap();
    log.grew(EventType::AccountLockout).await;
    app.identity.unlock_user(&cli, user, None).await.unwrap();
    log.grew(EventType::AdminAction).await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let rotated = app.post("/v1/keys/rotate").bearer(&admin).json(&json!({})).send().await;
    assert!(rotated.is_success(), "{}", rotated.body);
    log.grew(EventType::KeyManagement).await;
    let mightiest = app.login_by_factor(&app.bank, "super_admin").await;
    let asked = app.post("/v1/settings/policy/changes").bearer(&mightiest).json(&policy_patch());
    assert_eq!(asked.send().await.status, 201);
    log.grew(EventType::ConfigurationChange).await;
}

/// What is read, taken along, refused, and asked for in vain.
async fn reads(log: &mut Log<'_>) {
    let app = log.app;
    let customer = app.login(&app.bank, "customer").await;
    let (own, others) = (app.bank.customers[0].accounts, app.bank.customers[1].accounts);
    assert_eq!(app.get("/v1/accounts").bearer(&customer).send().await.status, 200);
    log.grew(EventType::DataQuery).await;
    let read = async |account: Uuid| {
        app.get(format!("/v1/accounts/{account}")).bearer(&customer).send().await.status
    };
    assert_eq!(read(own[0]).await, 200);
    log.grew(EventType::DataAccess).await;
    assert_eq!(read(others[0]).await, 404);
    log.grew(EventType::PermissionDenied).await;
    let order = json!({
        "from_account_id": own[0], "to_account_id": own[0], "amount": 1, "currency": "EUR",
    });
    let refused =
        app.post("/v1/transfers").bearer(&customer).key(&fresh_key()).json(&order).send().await;
    assert_eq!(refused.code(), "same_account");
    log.grew(EventType::ApiAccess).await;
    let mut browser = Browser::signed_in_by_factor(app, &app.bank.slug, "admin").await;
    assert_eq!(browser.get(app, "/accounts/export").await.status, 200);
    log.grew(EventType::DataExport).await;
}

#[tokio::test]
async fn a_list_says_what_it_was_filtered_by_and_never_whom() {
    let app = App::start().await;
    let token = app.login(&app.bank, "admin").await;
    let account = app.bank.customers[0].accounts[0];
    let read = app.get(format!("/v1/accounts/{account}")).bearer(&token).send().await;
    let number = read.body["account_number"].as_str().unwrap();
    // The list, the action of its record, what is told of the filter
    let table = [
        (
            format!("/v1/accounts?account_number={number}&status=active"),
            "account.list",
            json!({ "account_number": true, "status": "active" }),
        ),
        ("/v1/accounts".to_owned(), "account.list", Value::Null),
        (
            format!("/v1/accounts/{account}/transactions?transaction_type=deposit&from=2020-01-01"),
            "transaction.list",
            json!({ "transaction_type": "deposit", "from": "2020-01-01" }),
        ),
        (
            "/v1/audit/events?request_id=whose&ip_address=203.0.113.9&severity=high".to_owned(),
            "audit.list",
            json!({ "request_id": true, "ip_address": true, "severity": "high" }),
        ),
        (
            format!("/v1/audit/events?user_id={account}&compliance_flag=GDPR"),
            "audit.list",
            json!({ "user_id": account, "compliance_flag": "GDPR" }),
        ),
        (
            "/v1/users?username=jan&role=customer".to_owned(),
            "user.list",
            json!({ "role": "customer", "is_active": null, "search": "by_username", "deleted": false }),
        ),
    ];
    for (path, action, told) in table {
        let answer = app.get(path.as_str()).bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        app.operations.access_log().flush(&app.pool, true).await.unwrap();
        let sql = "SELECT details, convert_from(record, 'UTF8') FROM audit_log \
            WHERE tenant_id = $1 AND request_id = $2 AND action = $3";
        let request = answer.header("x-request-id");
        let row = app.superuser.query_one(sql, &[&app.bank.id, &request, &action]).await.unwrap();
        let (details, record): (Value, String) = (row.get(0), row.get(1));
        assert_eq!(details["filter"], told, "{path}");
        assert!(details["count"].is_number(), "{path}: {details}");
        for secret in [number, "203.0.113.9", "whose"] {
            assert!(!record.contains(secret), "{path}: {record}");
        }
    }
}
