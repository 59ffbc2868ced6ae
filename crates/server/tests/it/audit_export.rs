//! The audit log as a stream over the API: every filter, both forms, any length in the
//! memory of a page, recorded before it begins, and nothing in it that a spreadsheet runs.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::App;

const MANY: usize = 20_000;
/// More than a page of records ever takes.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Records of another year, put in by hand: what is sealed is not asked for here.
async fn fill(app: &App, count: usize) {
    let fill = format!(
        "SET session_replication_role = replica; \
         INSERT INTO audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, \
         resource_id, actor_kind, action, resource_type, record) \
         SELECT '{}', lpad(to_hex(n), 32, '0')::uuid, now(), 'data_access', 'low', 'success', \
         md5(n::text)::uuid, 'worker', 'account.read', 'account', '' \
         FROM generate_series(1, {count}) n; SET session_replication_role = origin",
        app.bank.id
    );
    app.superuser.batch_execute(&fill).await.unwrap();
}

/// What records of exports say, newest first.
async fn recorded(app: &App) -> Vec<Value> {
    let sql = "SELECT details FROM audit_log WHERE tenant_id = $1 AND action = 'audit.export' \
               AND event_type = 'data_export' AND 'GDPR' = ANY (compliance_flags) \
               ORDER BY event_id DESC";
    let rows = app.superuser.query(sql, &[&app.bank.id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_streams_in_pieces_and_a_client_that_hangs_up_holds_nothing() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    fill(&app, MANY).await;
    let path = "/v1/audit/export?format=jsonl&actor_kind=worker&action=account.read";
    let mut body = app.get(path).bearer(&token).begin().await.into_body();
    let (mut lines, mut pieces, mut rest) = (0, 0, Vec::new());
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() < PIECE_BYTES_MAX, "{}", piece.len());
        lines += piece.split(|byte| *byte == b'\n').count() - 1;
        pieces += usize::from(!piece.is_empty());
        if !piece.is_empty() {
            rest = piece.to_vec();
        }
    }
    assert_eq!((lines, pieces), (MANY, MANY / 500));
    let last: Value = serde_json::from_slice(rest.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!((&last["actor_kind"], &last["severity"]), (&json!("worker"), &json!("low")));
    let filter = json!({ "actor_kind": "worker", "action": "account.read" });
    assert_eq!(recorded(&app).await, [json!({ "format": "jsonl", "filter": filter })]);

    // More clients than connections, each gone after the first records.
    for _ in 0..60 {
        let mut body = app.get(path).bearer(&token).begin().await.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.is_empty(), "no header in JSON Lines");
        assert!(!body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty());
    }
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state <> 'idle' AND pid <> pg_backend_pid()";
    let busy: i64 = app.superuser.query_one(busy, &[]).await.unwrap().get(0);
    assert_eq!(busy, 0, "connections held");
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 200);
}

#[tokio::test]
async fn every_filter_narrows_the_file_and_no_personal_one_is_recorded() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    let who = json!({ "tenant": app.bank.slug, "username": "auditor", "password": "wrong" });
    let agent = "=HYPERLINK(\"http://evil.example\")";
    let peer = "203.0.113.9";
    let refused = app.post("/v1/auth/login").peer(peer).header("user-agent", agent).json(&who);
    assert_eq!(refused.send().await.status, 401);
    app.seal().await;
    let file = async |query: &str| {
        let answer = app.get(format!("/v1/audit/export?{query}")).bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer
    };
    let all = file("format=jsonl").await;
    let events: Vec<Value> =
        all.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = events.iter().find(|event| event["user_agent"] == agent).unwrap();
    let text = |name: &str| failed[name].as_str().unwrap().to_owned();
    // Each filter, as the file itself says what it has to let through.
    for name in [
        "event_type",
        "severity",
        "result",
        "action",
        "resource_type",
        "request_id",
        "actor_kind",
        "ip_address",
        "user_agent",
    ] {
        let value: String = form_urlencoded::byte_serialize(text(name).as_bytes()).collect();
        let found = file(&format!("format=jsonl&{name}={value}")).await.text;
        let alike = events.iter().filter(|event| event[name] == failed[name]).count();
        let lines = found.lines().filter(|line| !line.contains("audit.export"));
        assert_eq!(lines.count(), alike, "{name}");
        assert!(
            found
                .lines()
                .all(|line| { serde_json::from_str::<Value>(line).unwrap()[name] == failed[name] })
        );
    }
    for (query, expected) in [
        ("compliance_flag=KYC_AML", 0),
        ("organization_id=00000000-0000-0000-0000-000000000001", 0),
        ("session_id=00000000-0000-0000-0000-000000000001", 0),
        ("user_id=00000000-0000-0000-0000-000000000001", 0),
        ("resource_id=00000000-0000-0000-0000-000000000001", 0),
        ("to=2020-01-01T00:00:00Z", 0),
        ("from=2100-01-01T00:00:00Z", 0),
    ] {
        let found = file(&format!("format=jsonl&{query}")).await.text;
        assert_eq!(found.lines().count(), expected, "{query}");
    }
    // What somebody typed is no record's: not an address, not a name of no action.
    file("format=csv&action=Jana+Novak&ip_address=203.0.113.9&user_agent=phone").await;
    let told = recorded(&app).await.remove(0);
    let filter = json!({ "action": true, "ip_address": true, "user_agent": true });
    assert_eq!(told, json!({ "format": "csv", "filter": filter }));
}

#[tokio::test]
async fn a_csv_is_one_that_no_spreadsheet_runs() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    let who = json!({ "tenant": app.bank.slug, "username": "auditor", "password": "wrong" });
    let agent = "=cmd|' /C calc'!A0";
    app.post("/v1/auth/login").header("user-agent", agent).json(&who).send().await;
    app.seal().await;
    let csv = app.get("/v1/audit/export?format=csv").bearer(&token).send().await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"audit-log.csv\"");
    assert!(csv.text.starts_with("event_id,occurred_at,event_type,severity,result,"));
    assert!(csv.text.contains("\"'=cmd|' /C calc'!A0\""), "{}", csv.text);
    assert!(!csv.text.contains(",=cmd"), "{}", csv.text);
}

#[tokio::test]
async fn who_may_not_read_the_log_has_no_file_of_it_and_bad_questions_leave_no_record() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let path = "/v1/audit/export?format=csv";
    let refused = app.get(path).bearer(&customer).send().await;
    assert_eq!((refused.status, refused.text.contains("event_id")), (403, false));
    let denied = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'audit.export' \
                  AND result = 'denied'";
    let denied: i64 = app.superuser.query_one(denied, &[&app.bank.id]).await.unwrap().get(0);
    assert_eq!((denied, recorded(&app).await.len()), (1, 0));
    let token = app.login(&app.bank, "auditor").await;
    for (query, field) in [
        ("", "format"),
        ("format=xlsx", "format"),
        ("format=csv&limit=5", "limit"),
        ("format=csv&cursor=x", "cursor"),
        ("format=csv&actor_kind=ghost", "actor_kind"),
        ("format=csv&compliance_flag=HIPAA", "compliance_flag"),
        ("format=csv&severity=loud", "severity"),
        ("format=csv&owner=me", "owner"),
    ] {
        let wrong = app.get(format!("/v1/audit/export?{query}")).bearer(&token).send().await;
        assert_eq!((wrong.status, wrong.field()), (400, field), "{query}: {}", wrong.text);
    }
    let wrong = app.get("/v1/audit/events?format=csv").bearer(&token).send().await;
    assert_eq!((wrong.status, wrong.field()), (400, "format"));
    assert_eq!(recorded(&app).await.len(), 0);
    // Another tenant's file holds nothing of this one.
    let other = app.add_bank("other").await;
    let foreign = app.login(&other, "auditor").await;
    let file = app.get("/v1/audit/export?format=jsonl").bearer(&foreign).send().await;
    let ours = app.bank.users["auditor"].to_string();
    assert!(file.text.lines().count() > 3 && !file.text.contains(&ours), "{}", file.text);
}
