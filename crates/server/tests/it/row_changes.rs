//! What changes rows past the operations leaves a record of its own, sealed with the rest;
//! operations and steps of the schema leave their own record alone.

use std::{collections::BTreeSet, fmt::Write as _};

use audit::verify::{Options, verify};
use serde_json::{Value, json};
use tenancy::migrate::{Migration, Migrator};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::App;

/// Tenant tables whose rows are not recorded.
const EXEMPT: &[(&str, &str)] = &[
    ("audit_checkpoints", "part of the log, which refuses changes"),
    ("audit_digest_keys", "keys of the digests in these records, which refuse changes"),
    ("audit_inbox", "part of the log; recording it would never end"),
    ("audit_dropped", "part of the log, which refuses changes"),
    ("audit_leaves", "part of the log, which refuses changes"),
    ("audit_log", "the log itself"),
    ("audit_tree", "part of the log, which refuses changes"),
    ("event_outbox", "follows from records of the log"),
    ("events", "follows from records of the log"),
    ("idempotency_keys", "answers, which may tell what is sealed everywhere else"),
];

#[tokio::test]
async fn every_tenant_table_records_its_rows_or_is_exempt() {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    let sql = "SELECT c.relname::text, \
            array_agg(t.tgname || ' ' || t.tgenabled::text || ' ' || encode(t.tgargs, 'escape') \
                ORDER BY t.tgname) FILTER (WHERE t.tgname IN ('audit_row_change', 'audit_truncation')) \
        FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid \
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
            AND (c.relrowsecurity OR c.relname = 'tenants') GROUP BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    let mut without = BTreeSet::new();
    for row in &rows {
        let (table, triggers): (String, Option<Vec<String>>) = (row.get(0), row.get(1));
        let Some(triggers) = triggers else {
            without.insert(table);
            continue;
        };
        let column = if table == "tenants" { "id" } else { "tenant_id" };
        let expected =
            ["audit_row_change", "audit_truncation"].map(|t| format!("{t} A {column}\\000"));
        assert_eq!(triggers, expected, "{table}");
    }
    let exempt: BTreeSet<_> = EXEMPT.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert_eq!(without, exempt);
}

#[tokio::test]
async fn the_triggers_functions_are_the_owners_and_nobody_calls_them() {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    let sql = "SELECT proname::text, prosecdef, proowner::regrole::text, proconfig::text, \
            ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'strongroom\\_%' \
                AND has_function_privilege(rolname, p.oid, 'EXECUTE') ORDER BY 1), \
            EXISTS (SELECT 1 FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0) \
        FROM pg_proc p WHERE proname IN ('audit_row_change', 'audit_truncation') ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let name: String = row.get(0);
        assert!(row.get::<_, bool>(1), "{name} is SECURITY DEFINER");
        assert_eq!(row.get::<_, String>(2), "strongroom_owner", "{name}");
        assert!(row.get::<_, String>(3).contains("search_path=pg_catalog, public"), "{name}");
        assert_eq!(row.get::<_, Vec<String>>(4), ["strongroom_owner"], "{name}");
        assert!(!row.get::<_, bool>(5), "{name} is nobody's");
    }
    for role in ["strongroom_app", "strongroom_sealer", "strongroom_auditor"] {
        let client = connect(&database.url_as(role)).await;
        let refused = client.batch_execute("SELECT audit_row_change()").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{role}");
    }
}

struct Change {
    /// The superuser, where it is no role of Strongroom's.
    hand: Option<&'static str>,
    statement: &'static str,
    action: &'static str,
    table: &'static str,
    old: Value,
    new: Value,
    key: Value,
}

/// `$tenant`, `$user` and `$other` stand for ids.
fn changes() -> [Change; 6] {
    let (by_app, by_owner) = (Some("strongroom_app"), Some("strongroom_owner"));
    let membership = json!({ "user_id": "$user", "role": "auditor" });
    [
        Change {
            hand: None,
            statement: "UPDATE tenants SET status = 'suspended' WHERE id = '$tenant'",
            action: "row.update",
            table: "tenants",
            old: json!({ "status": "active" }),
            new: json!({ "status": "suspended" }),
            key: json!({ "id": "$tenant" }),
        },
        Change {
            hand: None,
            statement: "SET session_replication_role = replica; \
                UPDATE users SET mfa_failed_attempts = 3 WHERE id = '$user'; \
                SET session_replication_role = origin",
            action: "row.update",
            table: "users",
            old: json!({ "mfa_failed_attempts": 0 }),
            new: json!({ "mfa_failed_attempts": 3 }),
            key: json!({ "id": "$user" }),
        },
        Change {
            hand: by_owner,
            statement: "INSERT INTO access_hands (tenant_id, subject_id, held_by, reason) \
                VALUES ('$tenant', '$user', '$other', 'role')",
            action: "row.insert",
            table: "access_hands",
            old: Value::Null,
            new: json!({ "tenant_id": "$tenant", "reason": "role" }),
            key: json!({ "subject_id": "$user", "held_by": "$other" }),
        },
        Change {
            hand: by_app,
            statement: "INSERT INTO user_roles (tenant_id, user_id, role) \
                VALUES ('$tenant', '$user', 'auditor')",
            action: "row.insert",
            table: "user_roles",
            old: Value::Null,
            new: membership.clone(),
            key: membership.clone(),
        },
        Change {
            hand: by_app,
            statement: "DELETE FROM user_roles WHERE user_id = '$user' AND role = 'auditor'",
            action: "row.delete",
            table: "user_roles",
            old: membership.clone(),
            new: Value::Null,
            key: membership,
        },
        Change {
            hand: by_owner,
            statement: "TRUNCATE access_hands",
            action: "row.truncate",
            table: "access_hands",
            old: Value::Null,
            new: Value::Null,
            key: Value::Null,
        },
    ]
}

#[tokio::test]
async fn changes_past_the_operations_are_recorded_with_both_values_and_sealed() {
    let app = App::start().await;
    let (tenant, user, other) =
        (app.bank.id, app.bank.users["customer"], app.bank.users["auditor"]);
    let filled = |text: &str| {
        text.replace("$tenant", &tenant.to_string())
            .replace("$user", &user.to_string())
            .replace("$other", &other.to_string())
    };
    for (number, change) in changes().into_iter().enumerate() {
        let statement = filled(change.statement);
        let client = hand(&app, change.hand).await;
        client.batch_execute(&statement).await.unwrap();
        // What the trigger sets for its record does not stay.
        let now = "SELECT coalesce(current_setting('app.current_tenant', true), '')";
        let left: String = client.query_one(now, &[]).await.unwrap().get(0);
        assert_eq!(left.is_empty(), change.hand.is_none(), "{statement}");

        let records = row_records(&app.superuser, tenant).await;
        assert_eq!(records.len(), number + 1, "{statement}: {records:#?}");
        let record = &records[number];
        assert_eq!(record["action"], change.action, "{statement}");
        assert_eq!(record["resource_type"], change.table, "{statement}");
        assert_eq!(record["actor_kind"], "database", "{statement}");
        assert_eq!(record["details"]["application"], "by-hand", "{statement}");
        assert!(record["details"]["login"].is_string(), "{statement}");
        for (wanted, told) in [
            (change.old, &record["old_values"]),
            (change.new, &record["new_values"]),
            (change.key, &record["details"]["key"]),
        ] {
            let wanted: Value = serde_json::from_str(&filled(&wanted.to_string())).unwrap();
            assert!(holds(told, &wanted), "{statement}: {told} instead of {wanted}");
        }
    }
    app.seal().await;
    let options = Options::default();
    let reports = verify(&hand(&app, None).await, &options, &mut |_| {}).await.unwrap();
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:?}");
}

#[tokio::test]
async fn secrets_are_told_by_their_digests_and_a_moved_row_in_both_tenants() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let user = app.bank.users["customer"];
    let superuser = hand(&app, None).await;
    let sql = format!(
        "UPDATE users SET username = 'jana.novak', username_key = 'jana.novak', \
            password_hash = 'stolen' WHERE id = '{user}'; \
         UPDATE refresh_tokens SET token_hash = decode(repeat('00', 32), 'hex')"
    );
    app.login(&app.bank, "auditor").await;
    superuser.batch_execute(&sql).await.unwrap();
    let records = row_records(&app.superuser, app.bank.id).await;
    let text = Value::from(records.clone()).to_string();
    for secret in ["jana.novak", "stolen", "$2b$", "$argon2", "\\\\x"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for values in ["old_values", "new_values"] {
        for (table, column) in [
            ("users", "username"),
            ("users", "username_key"),
            ("users", "password_hash"),
            ("refresh_tokens", "token_hash"),
        ] {
            // Records of one transaction are of one instant, in no order.
            let record = records.iter().find(|record| record["resource_type"] == table).unwrap();
            let digest = record[values][column].as_str().unwrap();
            assert!(digest.starts_with("hmac-sha256:"), "{column}: {digest}");
        }
    }

    let moved = format!(
        "INSERT INTO tenant_branding (tenant_id, display_name) VALUES ('{}', 'Ours'); \
         UPDATE tenant_branding SET tenant_id = '{}'",
        app.bank.id, other.id
    );
    superuser.batch_execute(&moved).await.unwrap();
    let [left, joined] = [app.bank.id, other.id].map(|tenant| row_records(&app.superuser, tenant));
    let (left, joined) = (left.await, joined.await);
    assert!(left.iter().any(|record| record["new_values"]["tenant_id"] == other.id.to_string()));
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0]["old_values"]["tenant_id"], app.bank.id.to_string());
}

/// Text, lists and JSON whose values a record tells. What is not here is told by its digest,
/// whatever columns come.
const TOLD: &[(&str, &[&str])] = &[
    ("access_hands", &["reason"]),
    ("access_history", &["subject_kind"]),
    ("account_parties", &["party_role"]),
    ("api_keys", &["role", "scopes"]),
    ("approval_decisions", &["verdict"]),
    ("approvals", &["currency", "kind", "status"]),
    ("audit_log_keys", &["kek_purpose", "status"]),
    ("client_keys", &["algorithm"]),
    ("customers", &["customer_type", "status"]),
    ("data_keys", &["kek_purpose", "purpose", "status"]),
    ("holds", &["currency", "status"]),
    ("import_items", &["kind"]),
    ("key_rotations", &["state"]),
    ("ledger_accounts", &["class", "currency", "status"]),
    ("login_attempts", &["outcome"]),
    ("mfa_challenges", &["code_method", "purpose", "session_for"]),
    ("mfa_configs", &["method"]),
    ("mfa_verification_attempts", &["method", "outcome"]),
    ("notices", &["channel", "state"]),
    ("one_time_tokens", &["purpose"]),
    ("payment_authorisations", &["method"]),
    ("policy_changes", &["differences", "policy", "status"]),
    ("role_permissions", &["scope"]),
    ("roles", &["name", "role_type"]),
    ("savings_accounts", &["account_type"]),
    ("security_policies", &["policy"]),
    ("signing_keys", &["algorithm", "kek_purpose", "status"]),
    ("subject_keys", &["kek_purpose"]),
    ("tenant_keks", &["purpose", "status"]),
    ("tenants", &["blueprint", "modules", "slug", "status", "time_zone"]),
    ("transactions", &["status", "transaction_type"]),
    ("transfers", &["currency", "kind", "status"]),
    ("user_roles", &["role"]),
    ("users", &["role", "staff_lock_reason"]),
    ("webauthn_challenges", &["purpose"]),
    ("webhook_deliveries", &["status"]),
    ("webhook_endpoints", &["status"]),
];

#[tokio::test]
async fn a_record_tells_listed_words_and_numbers_and_no_other_text() {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    let sql = "SELECT c.relname::text, array_agg(told.attname::text ORDER BY told.attname) \
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
        CROSS JOIN columns_told(c.oid) told \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = told.attname \
        JOIN pg_type y ON y.oid = a.atttypid \
        WHERE t.tgname = 'audit_row_change' AND y.typname <> '_uuid' \
            AND (y.typcategory NOT IN ('N', 'B', 'D', 'T') AND y.typname <> 'uuid') GROUP BY 1 ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    let told: Vec<(String, Vec<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let words = |columns: &[&str]| columns.iter().map(|&word| word.to_owned()).collect();
    let listed: Vec<_> = TOLD.iter().map(|(t, c)| ((*t).to_owned(), words(c))).collect();
    assert_eq!(told, listed);
}

#[tokio::test]
async fn a_digest_is_the_tenants_own_and_proves_the_value_to_whoever_has_the_key() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let superuser = hand(&app, None).await;
    superuser.batch_execute("UPDATE users SET department = 'Vault'").await.unwrap();
    let mut digests = BTreeSet::new();
    for tenant in [app.bank.id, other.id] {
        let records = row_records(&app.superuser, tenant).await;
        let record = records.iter().find(|record| record["resource_type"] == "users").unwrap();
        assert_eq!(record["old_values"]["department"], Value::Null, "nothing is told as nothing");
        let sql = "SELECT inner_pad, outer_pad FROM audit_digest_keys WHERE tenant_id = $1";
        let row = app.superuser.query_one(sql, &[&tenant]).await.unwrap();
        let (inner, outer): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
        // A key is what its padding combines to with the constant of RFC 2104.
        let key: Vec<u8> = inner.iter().map(|byte| byte ^ 0x36).collect();
        assert!(outer.iter().map(|byte| byte ^ 0x5c).eq(key.iter().copied()), "one key");
        assert!(key[32..].iter().all(|byte| *byte == 0), "of 32 bytes");
        let mac = vault::hmac_sha256(&key, b"Vault");
        let digest = mac.iter().fold("hmac-sha256:".to_owned(), |mut digest, byte| {
            write!(digest, "{byte:02x}").unwrap();
            digest
        });
        assert_eq!(record["new_values"]["department"], digest);
        assert!(digests.insert(digest), "each tenant has a key of its own");
    }
}

#[tokio::test]
async fn keys_of_digests_are_read_and_changed_by_nobody() {
    let app = App::start().await;
    for role in ["strongroom_app", "strongroom_sealer", "strongroom_auditor"] {
        let client = hand(&app, Some(role)).await;
        let refused = client.query("SELECT * FROM audit_digest_keys", &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{role}");
    }
    for change in [
        "UPDATE audit_digest_keys SET outer_pad = inner_pad",
        "DELETE FROM audit_digest_keys",
        "TRUNCATE audit_digest_keys",
        "SET session_replication_role = replica; DELETE FROM audit_digest_keys",
    ] {
        let refused = hand(&app, None).await.batch_execute(change).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{change}");
    }
}

#[tokio::test]
async fn a_rolled_back_change_and_one_that_is_refused_leave_nothing() {
    let app = App::start().await;
    let client = hand(&app, None).await;
    client.batch_execute("BEGIN; UPDATE users SET department = 'Vault'; ROLLBACK").await.unwrap();
    client.batch_execute("UPDATE users SET status_that_is_not = 1").await.unwrap_err();
    client.batch_execute("DELETE FROM transactions").await.unwrap_err();
    assert_eq!(row_records(&app.superuser, app.bank.id).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_step_of_the_schema_leaves_one_record_a_tenant() {
    let app = App::start().await;
    app.add_bank("other").await;
    let mut owner = connect(&app.database.url_as("strongroom_owner")).await;
    let number = Migrator::embedded().schema_version() + 1;
    let mut migrations = Migrator::embedded().migrations().to_vec();
    let up = "DO $$ DECLARE v_tenant uuid; BEGIN FOR v_tenant IN SELECT id FROM tenants LOOP \
        PERFORM set_config('app.current_tenant', v_tenant::text, true), \
            set_config('app.current_user_id', '*', true); \
        UPDATE users SET department = 'Filled'; END LOOP; END $$";
    migrations.push(Migration::new(number, "departments", up, "SELECT 1"));
    let migrator = Migrator::with(migrations);
    assert_eq!(migrator.up(&mut owner, None).await.unwrap().len(), 1);
    let filled = "SELECT count(*) FROM users WHERE department = 'Filled'";
    assert!(app.superuser.query_one(filled, &[]).await.unwrap().get::<_, i64>(0) > 2);
    migrator.down(&mut owner, 1).await.unwrap();
    let sql = "SELECT action, count(*), count(DISTINCT tenant_id), min(details ->> 'version') \
        FROM audit_log WHERE resource_type = 'migration' GROUP BY 1 ORDER BY 1";
    let rows = app.superuser.query(sql, &[]).await.unwrap();
    let told: Vec<(String, i64, i64, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let step = |action: &str| (action.to_owned(), 2, 2, number.to_string());
    assert_eq!(told, [step("migration.down"), step("migration.up")]);
    assert_eq!(row_records(&app.superuser, app.bank.id).await, Vec::<Value>::new());
}

/// A connection as somebody would have it who works past the operations.
async fn hand(app: &App, role: Option<&'static str>) -> Client {
    let Some(role) = role else {
        let client = connect(&app.database.superuser_url()).await;
        client.batch_execute("SET application_name = 'by-hand'").await.unwrap();
        return client;
    };
    let client = connect(&app.database.url_as(role)).await;
    let set = format!(
        "SET application_name = 'by-hand'; SET app.current_tenant = '{}'; \
         SET app.current_user_id = '*'",
        app.bank.id
    );
    client.batch_execute(&set).await.unwrap();
    client
}

/// What was recorded of single rows, oldest first.
async fn row_records(client: &Client, tenant: Uuid) -> Vec<Value> {
    let sql = "SELECT convert_from(record, 'UTF8') FROM audit_log \
        WHERE tenant_id = $1 AND action LIKE 'row.%' ORDER BY occurred_at, event_id";
    let rows = client.query(sql, &[&tenant]).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
}

/// Whether an object has at least these members; anything, where nothing is wanted.
fn holds(told: &Value, wanted: &Value) -> bool {
    let Some(wanted) = wanted.as_object() else { return told.is_null() };
    told.is_object() && wanted.iter().all(|(key, value)| told[key] == *value)
}
