//! The functions of seed 002 as the database itself lists them: names, argument types,
//! whose rights they have, and who may call them.

use testkit::connect;

use super::support::World;

/// Seed 002's names with its argument types, of those that belong to identity; the four of
/// KYC come with it, `audit_row_change` with the audit log's own issue. Types that the seed
/// leaves out are ours.
const OF_THE_SEED: [&str; 11] = [
    "check_mfa_rate_limit(uuid,inet,integer,integer)",
    "cleanup_expired_sessions()",
    "detect_suspicious_session(uuid,inet,text,character varying)",
    "disable_mfa_method(uuid,character varying)",
    "get_user_mfa_methods(uuid)",
    "handle_failed_login(citext)",
    "handle_successful_login(citext,inet,text)",
    "is_account_locked(uuid)",
    "record_mfa_attempt(uuid,uuid,uuid,character varying,character varying,inet,text)",
    "revoke_user_sessions(uuid,character varying,character varying)",
    "update_session_activity(character varying,character varying)",
];

/// Whoever verifies a log reads its leaves in the log over all logs, and the key of that.
const THE_AUDITORS_TOO: [&str; 2] = ["audit_super_keys()", "audit_super_leaves_here()"];

/// Ours beside them that have the owner's rights and that a role may call.
const OURS: [&str; 15] = [
    "api_key_is_answered_for(uuid,boolean)",
    "audit_super_checkpoint_over(bigint)",
    "audit_super_hashes(smallint[],bigint[])",
    THE_AUDITORS_TOO[0],
    THE_AUDITORS_TOO[1],
    "audit_super_place(bigint)",
    "claim_email(uuid,bytea[])",
    "clear_account_lock(uuid)",
    "forget_expired_tokens()",
    "make_audit_partitions(integer)",
    "own_referrals(uuid,uuid,bigint)",
    "renew_subject_key(uuid,uuid,integer,bytea)",
    "shred_user(uuid)",
    "take_back_login_charges(uuid)",
    "unlock_account(uuid)",
];

#[tokio::test]
async fn pg_proc_has_the_seeds_functions_and_no_other_with_the_owners_rights() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    // Whatever anybody but the owner may call, and triggers, which nobody calls.
    let sql = "SELECT routine.oid::regprocedure::text, routine.proowner::regrole::text, \
          routine.proconfig::text, \
          ARRAY(SELECT grantee::regrole::text FROM aclexplode(routine.proacl) \
                WHERE grantee <> routine.proowner ORDER BY 1) \
        FROM pg_proc routine JOIN pg_namespace space ON space.oid = routine.pronamespace \
        WHERE space.nspname = 'public' AND routine.prosecdef \
          AND routine.prorettype <> 'trigger'::regtype ORDER BY 1";
    let rows = superuser.query(sql, &[]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut expected: Vec<&str> = OF_THE_SEED.iter().chain(&OURS).copied().collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for row in &rows {
        let name: String = row.get(0);
        assert_eq!(row.get::<_, String>(1), "strongroom_owner", "{name}");
        let settings: String = row.get(2);
        assert!(settings.contains("search_path=pg_catalog, public, pg_temp"), "{name}: {settings}");
        let callers: &[&str] = if THE_AUDITORS_TOO.contains(&name.as_str()) {
            &["strongroom_app", "strongroom_auditor"]
        } else {
            &["strongroom_app"]
        };
        assert_eq!(row.get::<_, Vec<String>>(3), callers, "{name}");
    }
}

#[tokio::test]
async fn each_role_is_refused_each_function_that_is_not_its_own() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let sql = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'strongroom\\_%' ORDER BY 1";
    let roles: Vec<String> =
        superuser.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(
        roles,
        ["strongroom_app", "strongroom_auditor", "strongroom_owner", "strongroom_sealer"]
    );
    // Not asked of the catalogue but tried: each argument is NULL of its type.
    for role in ["strongroom_auditor", "strongroom_sealer"] {
        let client = connect(&world.database.url_as(role)).await;
        let is_theirs =
            |function: &str| role == "strongroom_auditor" && THE_AUDITORS_TOO.contains(&function);
        for function in OF_THE_SEED.iter().chain(&OURS).filter(|function| !is_theirs(function)) {
            let (name, types) = function.trim_end_matches(')').split_once('(').unwrap();
            let nulls: Vec<_> = types
                .split(',')
                .filter(|kind| !kind.is_empty())
                .map(|kind| format!("NULL::{kind}"))
                .collect();
            let call = format!("SELECT {name}({})", nulls.join(", "));
            let error = client.batch_execute(&call).await.expect_err(&call);
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "42501", "{role} {call}: {error}");
            assert!(
                error.message().contains(&format!("function {name}")),
                "{role} {call}: {error}"
            );
        }
    }
}
