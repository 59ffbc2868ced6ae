//! What the database itself grants and refuses, role by role.

use tenancy::Blueprint;
use testkit::connect;
use tokio_postgres::Client;
use uuid::Uuid;

use super::support::World;

const FUNCTIONS: [&str; 17] = [
    "api_key_is_answered_for(uuid,boolean)",
    "check_mfa_rate_limit(uuid,inet,integer,integer)",
    "cleanup_expired_sessions()",
    "detect_suspicious_session(uuid,inet,text,character varying)",
    "disable_mfa_method(uuid,character varying)",
    "forget_expired_tokens()",
    "get_user_mfa_methods(uuid)",
    "handle_failed_login(citext)",
    "handle_successful_login(citext,inet,text)",
    "is_account_locked(uuid)",
    "record_mfa_attempt(uuid,uuid,uuid,character varying,character varying,inet,text)",
    "renew_subject_key(uuid,uuid,integer,bytea)",
    "revoke_user_sessions(uuid,character varying,character varying)",
    "shred_user(uuid)",
    "take_back_login_charges(uuid)",
    "unlock_account(uuid)",
    "update_session_activity(character varying,character varying)",
];

#[tokio::test]
async fn the_functions_of_the_seed_exist_and_only_the_app_may_call_them() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let sql = "SELECT oid::regprocedure::text, prosecdef, proowner::regrole::text, \
                 proconfig::text, has_function_privilege('strongroom_app', oid, 'EXECUTE'), \
                 has_function_privilege('strongroom_auditor', oid, 'EXECUTE') \
                 OR has_function_privilege('strongroom_sealer', oid, 'EXECUTE') \
                 OR EXISTS (SELECT 1 FROM aclexplode(proacl) WHERE grantee = 0) \
               FROM pg_proc WHERE oid::regprocedure::text = ANY ($1) ORDER BY 1";
    let rows = superuser.query(sql, &[&&FUNCTIONS[..]]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, FUNCTIONS);
    for row in rows {
        let name: String = row.get(0);
        assert!(row.get::<_, bool>(1), "{name} is SECURITY DEFINER");
        assert_eq!(row.get::<_, String>(2), "strongroom_owner", "{name}");
        assert!(row.get::<_, String>(3).contains("search_path=pg_catalog, public"), "{name}");
        assert_eq!((row.get::<_, bool>(4), row.get::<_, bool>(5)), (true, false), "{name}");
    }
}

#[tokio::test]
async fn the_functions_refuse_to_act_without_a_tenant_and_never_leave_it() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "customer").await;
    world.user(&other, "alice", "customer").await;
    let app = connect(&world.database.url_as("strongroom_app")).await;
    let calls = [
        "SELECT api_key_is_answered_for('00000000-0000-0000-0000-000000000001', false)",
        "SELECT is_account_locked('00000000-0000-0000-0000-000000000001')",
        "SELECT handle_failed_login('alice')",
        "SELECT handle_successful_login('alice', '192.0.2.1', 'agent')",
        "SELECT cleanup_expired_sessions()",
        "SELECT * FROM detect_suspicious_session('00000000-0000-0000-0000-000000000001', '192.0.2.1', 'agent', \
            '00000000-0000-0000-0000-000000000002')",
        "SELECT forget_expired_tokens()",
        "SELECT renew_subject_key('00000000-0000-0000-0000-000000000001', \
            '00000000-0000-0000-0000-000000000002', 1, '\\x00')",
        "SELECT shred_user('00000000-0000-0000-0000-000000000001')",
        "SELECT unlock_account('00000000-0000-0000-0000-000000000001')",
        "SELECT revoke_user_sessions('00000000-0000-0000-0000-000000000001', 'test', NULL)",
        "SELECT update_session_activity('00000000-0000-0000-0000-000000000001', '192.0.2.1')",
        "SELECT get_user_mfa_methods('00000000-0000-0000-0000-000000000001')",
        "SELECT check_mfa_rate_limit('00000000-0000-0000-0000-000000000001', '192.0.2.1', 3, 1)",
        "SELECT record_mfa_attempt('00000000-0000-0000-0000-000000000001', \
           '00000000-0000-0000-0000-000000000001', NULL, 'totp', 'charged', '192.0.2.1', 'agent')",
        "SELECT disable_mfa_method('00000000-0000-0000-0000-000000000001', 'totp')",
        "SELECT take_back_login_charges('00000000-0000-0000-0000-000000000001')",
    ];
    for call in calls {
        assert_eq!(refused_with(&app, call).await, "42501", "{call}");
        let auditor = connect(&world.database.url_as("strongroom_auditor")).await;
        assert_eq!(refused_with(&auditor, call).await, "42501", "{call}");
    }
    act_as(&app, &bank.tenant_id().to_string(), "*").await;
    for _ in 0..5 {
        app.batch_execute("SELECT handle_failed_login('ALICE')").await.unwrap();
    }
    let locked = format!("SELECT is_account_locked('{alice}')");
    assert!(app.query_one(&locked, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(
        world.scalar::<i64>("SELECT count(*) FROM users WHERE locked_until IS NOT NULL").await,
        1
    );
    app.batch_execute("SELECT handle_successful_login('Alice', '192.0.2.1', 'agent')")
        .await
        .unwrap();
    assert!(!app.query_one(&locked, &[]).await.unwrap().get::<_, bool>(0));
    act_as(&app, &other.tenant_id().to_string(), "*").await;
    app.batch_execute(&format!("SELECT revoke_user_sessions('{alice}', 'test', NULL)"))
        .await
        .unwrap();
    // Another tenant's people are nobody there.
    for nobody in [
        format!("SELECT shred_user('{alice}')"),
        format!("SELECT unlock_account('{alice}')"),
        format!(
            "SELECT renew_subject_key('{alice}', '00000000-0000-0000-0000-000000000002', 1, '\\x00')"
        ),
    ] {
        assert!(!app.query_one(&nobody, &[]).await.unwrap().get::<_, bool>(0), "{nobody}");
    }
    let unknown = app.query_opt("SELECT * FROM handle_failed_login('nobody')", &[]).await.unwrap();
    assert!(unknown.is_none());
}

#[tokio::test]
async fn a_person_sees_their_own_row_the_system_all_and_nobody_none() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "customer").await;
    world.user(&bank, "bob", "customer").await;
    world.user(&other, "carol", "customer").await;
    let app = connect(&world.database.url_as("strongroom_app")).await;
    assert_eq!(count_users(&app).await, 0, "no tenant");
    let bank_id = bank.tenant_id().to_string();
    for (user, expected) in [("", 0), ("*", 2), (&*alice.to_string(), 1)] {
        act_as(&app, &bank_id, user).await;
        assert_eq!(count_users(&app).await, expected, "{user:?}");
        app.batch_execute(
            "UPDATE users SET department = 'x' WHERE username_key IN ('bob', 'carol')",
        )
        .await
        .unwrap();
    }
    assert_eq!(
        world.scalar::<i64>("SELECT count(*) FROM users WHERE department = 'x'").await,
        1,
        "only by '*'"
    );
}

#[tokio::test]
async fn privileges_are_the_least_that_work() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    world.signed_in("bank", "alice").await;
    let bank_id = bank.tenant_id().to_string();
    let app = connect(&world.database.url_as("strongroom_app")).await;
    let auditor = connect(&world.database.url_as("strongroom_auditor")).await;
    let sealer = connect(&world.database.url_as("strongroom_sealer")).await;
    act_as(&app, &bank_id, "*").await;
    act_as(&auditor, &bank_id, "*").await;
    let refused_to_app = [
        "UPDATE users SET failed_login_attempts = 0",
        "UPDATE users SET locked_until = NULL",
        "UPDATE users SET tenant_id = gen_random_uuid()",
        "DELETE FROM users",
        "DELETE FROM user_sessions",
        "UPDATE user_sessions SET user_id = gen_random_uuid()",
        "UPDATE refresh_tokens SET token_hash = ''",
        "DELETE FROM login_attempts",
        "UPDATE login_attempts SET outcome = 'success'",
        "DELETE FROM revoked_tokens",
        "UPDATE users SET mfa_failed_attempts = 0",
        "UPDATE users SET mfa_locked_until = NULL",
        "DELETE FROM mfa_configs",
        "UPDATE mfa_configs SET user_id = gen_random_uuid()",
        "UPDATE mfa_backup_codes SET code_hash = ''",
        "UPDATE mfa_challenges SET token_hash = ''",
        "UPDATE mfa_challenges SET expires_at = now()",
        "INSERT INTO mfa_verification_attempts (outcome) VALUES ('success')",
        "UPDATE mfa_verification_attempts SET outcome = 'success'",
        "DELETE FROM mfa_verification_attempts",
        "UPDATE mfa_reset_requests SET requested_by = gen_random_uuid()",
        "DELETE FROM mfa_reset_requests",
        "UPDATE signing_keys SET algorithm = 'HS256'",
        "DELETE FROM signing_keys",
        "TRUNCATE users CASCADE",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
    ];
    for statement in refused_to_app {
        assert_eq!(refused_with(&app, statement).await, "42501", "{statement}");
    }
    // A key is wiped when it ends and never replaced: a trigger, since wiping needs the column.
    let replaced = "UPDATE signing_keys SET wrapped_key = ''";
    assert_eq!(refused_with(&app, replaced).await, "23000");
    let refused_to_auditor = [
        "SELECT password_hash FROM users",
        "SELECT email_sealed FROM users",
        "SELECT * FROM password_history",
        "SELECT * FROM refresh_tokens",
        "SELECT wrapped_key FROM signing_keys",
        "SELECT secret_sealed FROM mfa_configs",
        "SELECT * FROM mfa_backup_codes",
        "SELECT * FROM mfa_challenges",
        "UPDATE users SET is_active = false",
    ];
    for statement in refused_to_auditor {
        assert_eq!(refused_with(&auditor, statement).await, "42501", "{statement}");
    }
    assert_eq!(auditor.query("SELECT id, role FROM users", &[]).await.unwrap().len(), 1);
    for table in
        ["users", "user_sessions", "refresh_tokens", "signing_keys", "login_attempts", "roles"]
    {
        assert_eq!(
            refused_with(&sealer, &format!("SELECT count(*) FROM {table}")).await,
            "42501",
            "{table}"
        );
    }
}

#[tokio::test]
async fn plain_text_and_short_indexes_are_refused_by_the_table() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let superuser = world.superuser().await;
    let table = [
        ("email_sealed = 'alice@example.com'", "users_email_envelope"),
        ("email_sealed = NULL", "users_email_indexed"),
        ("email_index = '\\x00'", "users_email_index_length"),
        ("full_name_sealed = 'Alice'", "users_name_envelope"),
        ("username_key = 'Alice'", "users_username_key_form"),
        ("username = 'Bob'", "users_username_matches_key"),
        ("referred_by = id", "users_no_self_referral"),
        ("role = 'king'", "users_role_known"),
    ];
    for (change, constraint) in table {
        let error =
            superuser.batch_execute(&format!("UPDATE users SET {change}")).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().constraint(), Some(constraint), "{change}");
    }
}

/// The setting that shows an organisation's people is given by policy alone; belonging to
/// one shows nothing.
#[tokio::test]
async fn whoever_reads_an_organisation_sees_its_rows_and_no_others() {
    let world = World::new().await;
    let bank = world.tenant("risk", Blueprint::CreditRisk).await;
    let other = world.tenant("other", Blueprint::CreditRisk).await;
    let [one, two] = [world.clock.new_id(), world.clock.new_id()];
    let superuser = world.superuser().await;
    for (tenant, name, organization) in
        [(&bank, "ann", one), (&bank, "ben", one), (&bank, "cid", two), (&other, "dan", one)]
    {
        let person = world.user(tenant, name, "user").await;
        let confine = "UPDATE users SET organization_id = $2 WHERE id = $1";
        superuser.execute(confine, &[&person, &organization]).await.unwrap();
    }
    let app = connect(&world.database.url_as("strongroom_app")).await;
    act_as(&app, &bank.tenant_id().to_string(), &Uuid::from_u128(1).to_string()).await;
    // app.current_org_id, app.visible_org_id, people seen
    let table = [
        (one.to_string(), String::new(), 0),
        (one.to_string(), one.to_string(), 2),
        (one.to_string(), two.to_string(), 1),
        ("*".to_owned(), String::new(), 0),
    ];
    for (own, visible, expected) in table {
        let set = "SELECT set_config('app.current_org_id', $1, false), \
             set_config('app.visible_org_id', $2, false)";
        app.execute(set, &[&own, &visible]).await.unwrap();
        assert_eq!(count_users(&app).await, expected, "{own} {visible}");
        let theirs = "UPDATE users SET department = 'x' WHERE username_key = 'dan'";
        assert_eq!(app.execute(theirs, &[]).await.unwrap(), 0, "another tenant's");
    }
}

async fn act_as(client: &Client, tenant: &str, user: &str) {
    let set = "SELECT set_config('app.current_tenant', $1, false), set_config('app.current_user_id', $2, false)";
    client.execute(set, &[&tenant, &user]).await.unwrap();
}

async fn count_users(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM users", &[]).await.unwrap().get(0)
}

async fn refused_with(client: &Client, statement: &str) -> String {
    let Err(error) = client.batch_execute(statement).await else { panic!("allowed: {statement}") };
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// Under row security a condition that is not leakproof never reaches an index.
#[tokio::test]
async fn the_hot_statements_use_their_indexes_as_the_app_role() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let tenant = bank.tenant_id();
    let crowd = format!(
        "INSERT INTO users (tenant_id, id, username, username_key, role, referral_code, email_sealed, email_index) \
           SELECT '{tenant}', gen_random_uuid(), 'u' || n, 'u' || n, 'customer', lpad(n::text, 10, '0'), \
                  decode('01' || repeat('00', 99), 'hex'), '\\x01' || sha256(n::text::bytea) \
           FROM generate_series(1, 3000) n; \
         INSERT INTO user_sessions (tenant_id, id, user_id, device_fingerprint, absolute_expires_at) \
           SELECT tenant_id, gen_random_uuid(), id, sha256('x'), now() FROM users; \
         INSERT INTO refresh_tokens (tenant_id, id, user_id, session_id, token_hash, device_fingerprint, expires_at) \
           SELECT tenant_id, gen_random_uuid(), user_id, id, sha256(id::text::bytea), sha256('x'), now() \
           FROM user_sessions; \
         INSERT INTO user_roles (tenant_id, user_id, role) SELECT tenant_id, id, role FROM users; \
         INSERT INTO revoked_tokens (tenant_id, jti, session_id, user_id, reason, expires_at) \
           SELECT tenant_id, gen_random_uuid(), id, user_id, 'test', now() FROM user_sessions; \
         INSERT INTO mfa_backup_codes (tenant_id, id, user_id, code_hash) \
           SELECT tenant_id, gen_random_uuid(), id, sha256('x') FROM users; \
         INSERT INTO roles (tenant_id, name, role_type) \
           SELECT '{tenant}', translate('role_' || n, '0123456789', 'abcdefghij'), 'custom' FROM generate_series(1, 2000) n; \
         INSERT INTO role_permissions (tenant_id, role_id, position, resource, action) \
           SELECT tenant_id, id, 0, 'account', 'read' FROM roles WHERE role_type = 'custom'; \
         ANALYZE;"
    );
    world.superuser().await.batch_execute(&crowd).await.unwrap();
    let app = connect(&world.database.url_as("strongroom_app")).await;
    act_as(&app, &tenant.to_string(), "*").await;
    let table = [
        // By the unique one or by the one in the order of bytes; both lead to one row.
        ("username_key = 'alice'", "users", "using users_"),
        ("email_index = '\\x00'", "users", "users_email_key"),
        ("token_hash = '\\x00'", "refresh_tokens", "refresh_tokens_hash_key"),
        ("console_token_hash = '\\x00'", "user_sessions", "user_sessions_console_token_key"),
        ("id = '00000000-0000-0000-0000-000000000001'", "user_sessions", "user_sessions_pkey"),
    ];
    for (condition, from, index) in table {
        let sql =
            format!("EXPLAIN SELECT 1 FROM {from} WHERE tenant_id = '{tenant}' AND {condition}");
        let plan: Vec<String> =
            app.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        let column = condition.split(' ').next().unwrap();
        let conditions: Vec<_> = plan.lines().filter(|line| line.contains("Index Cond")).collect();
        assert!(
            plan.contains(index) && conditions.iter().any(|line| line.contains(column)),
            "{plan}"
        );
    }
    let statements = [
        tenancy::sql!("identity/sessions.sql", "load"),
        tenancy::sql!("identity/login.sql", "find_account"),
        tenancy::sql!("identity/refresh.sql", "consume"),
        tenancy::sql!("identity/refresh.sql", "explain"),
    ];
    for (number, statement) in statements.into_iter().enumerate() {
        app.batch_execute(&format!("PREPARE hot_{number} AS {statement}")).await.unwrap();
        let count: i64 = app
            .query_one("SELECT cardinality(parameter_types)::bigint FROM pg_prepared_statements WHERE name = $1", &[
                &format!("hot_{number}"),
            ])
            .await
            .unwrap()
            .get(0);
        let nulls = vec!["NULL"; usize::try_from(count).unwrap()].join(", ");
        app.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
        let plan = app.query(&format!("EXPLAIN EXECUTE hot_{number}({nulls})"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{}", plan.join("\n"));
    }
}
