//! Walks PostgreSQL's catalogue: no table, index, foreign key, grant or function
//! may be without what keeps tenants apart. What is exempt stands in a list here,
//! with its reason; a new table fails until it is considered.

use std::collections::BTreeSet;

use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Tables that belong to no tenant.
const WITHOUT_TENANT: &[(&str, &str)] = &[
    (
        "tenants",
        "the directory: a request is routed by it before its tenant is known; holds no secrets",
    ),
    ("audit_super_leaves", "hashes over all tenants' logs; the application has no right to it"),
    ("audit_super_tree", "hashes over all tenants' logs; the application has no right to it"),
    (
        "audit_super_checkpoints",
        "signed over all tenants' logs; the application has no right to it",
    ),
    (
        "audit_super_cosignatures",
        "of witnesses over all tenants' logs; the application has no right to it",
    ),
    ("policies_in_force", "the policies that were built in, from when on: every tenant's alike"),
    ("schema_migrations", "the schema's own history; written by the owner alone"),
    ("schema_migrations_history", "the schema's own history; written by the owner alone"),
];

/// Policies beside `tenant_isolation`.
const FURTHER_POLICIES: &[(&str, &str, &str)] = &[
    ("audit_inbox", "sealer_moves", "the sealer takes hashes of all tenants; it reads no record"),
    ("audit_leaves", "sealer_appends", "the sealer numbers hashes of all tenants"),
    ("audit_tree", "sealer_appends", "the sealer extends the trees of all tenants"),
    ("audit_checkpoints", "sealer_appends", "the sealer signs for all tenants"),
    ("audit_log_keys", "sealer_reads", "the sealer signs for all tenants"),
    (
        "tenant_keks",
        "sealer_reads",
        "the sealer opens its signing keys; a KEK is wrapped by a root that is not here",
    ),
    ("data_keys", "sealer_reads", "wrapped by a KEK that is wrapped by a root that is not here"),
    ("event_outbox", "relay_moves", "the relay takes ids of all tenants; it reads no record"),
    ("events", "relay_appends", "the relay numbers events of all tenants"),
    ("roles", "custom_changes", "restrictive: a blueprint's role is nobody's to change"),
    ("roles", "custom_ends", "restrictive: nor to end"),
    ("users", "own_row", "restrictive: who may see one user only sees one user"),
];

/// Tables whose rows carry their time under another name, or are no records.
const WITHOUT_CREATED_AT: &[(&str, &str)] = &[
    ("access_history", "valid_until"),
    ("policies_in_force", "since"),
    ("audit_log", "occurred_at is inside the record's bytes"),
    ("audit_inbox", "a queue of hashes, emptied within a second"),
    ("audit_leaves", "hashes; the record has the time"),
    ("audit_tree", "hashes; the record has the time"),
    ("audit_checkpoints", "signed_at"),
    ("event_outbox", "a queue of ids, emptied within a second"),
    ("events", "published_at; the record has the time"),
    ("audit_super_leaves", "hashes; the checkpoint has the time"),
    ("audit_super_tree", "hashes; the checkpoint has the time"),
    ("audit_super_checkpoints", "signed_at"),
    ("audit_super_cosignatures", "cosigned_at"),
];

const RLS_EXPRESSION: &str =
    "(tenant_id = (NULLIF(current_setting('app.current_tenant'::text, true), ''::text))::uuid)";

async fn names(client: &Client, statement: &str) -> Vec<String> {
    let rows = client.query(statement, &[]).await.expect(statement);
    rows.iter().map(|row| row.get(0)).collect()
}

async fn migrated() -> (TestDatabase, Client) {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    (database, client)
}

#[tokio::test]
async fn every_table_is_secured_or_exempt_with_a_reason() {
    let (_database, client) = migrated().await;
    let tables = client
        .query(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner), \
                    EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' \
                            AND a.attnotnull AND a.atttypid = 'uuid'::regtype) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() > 20, "only {} tables", tables.len());
    let mut seen = BTreeSet::new();
    for row in &tables {
        let (name, enabled, forced): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        let (owner, has_tenant): (String, bool) = (row.get(3), row.get(4));
        assert_eq!(owner, "strongroom_owner", "{name}");
        let is_exempt = WITHOUT_TENANT.iter().any(|(exempt, _)| *exempt == name);
        assert_eq!(
            enabled && forced && has_tenant,
            !is_exempt,
            "{name}: row security {enabled}, forced {forced}, tenant_id {has_tenant}"
        );
        seen.insert(name);
    }
    assert!(
        WITHOUT_TENANT.iter().all(|(name, _)| seen.contains(*name)),
        "an exemption without its table"
    );
}

#[tokio::test]
async fn every_tenant_table_has_the_one_policy_and_no_unknown_other() {
    let (_database, client) = migrated().await;
    let rows = client
        .query(
            "SELECT p.polrelid::regclass::text, p.polname::text, p.polcmd::text, p.polpermissive, \
                    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), \
                    ARRAY(SELECT r.rolname::text FROM pg_roles r WHERE r.oid = ANY (p.polroles) ORDER BY 1) \
             FROM pg_policy p ORDER BY 1, 2",
            &[],
        )
        .await
        .unwrap();
    let mut isolated = BTreeSet::new();
    for row in &rows {
        let (table, policy): (String, String) = (row.get(0), row.get(1));
        let (using, check): (Option<String>, Option<String>) = (row.get(4), row.get(5));
        let roles: Vec<String> = row.get(6);
        assert!(!roles.is_empty(), "{table}.{policy} is TO PUBLIC");
        if policy == "tenant_isolation" {
            assert_eq!(row.get::<_, String>(2), "*", "{table}");
            assert!(row.get::<_, bool>(3), "{table}");
            assert_eq!(using.as_deref(), Some(RLS_EXPRESSION), "{table}");
            assert_eq!(check.as_deref(), Some(RLS_EXPRESSION), "{table}");
            assert_eq!(
                roles,
                ["strongroom_app", "strongroom_auditor", "strongroom_owner"],
                "{table}"
            );
            isolated.insert(table);
        } else {
            let listed =
                FURTHER_POLICIES.iter().any(|(known, name, _)| *known == table && *name == policy);
            assert!(listed, "policy {policy} on {table} is not on the list of exceptions");
            let is_restrictive = !row.get::<_, bool>(3);
            assert!(
                is_restrictive || roles == ["strongroom_sealer"],
                "{table}.{policy} opens a table to {roles:?}"
            );
        }
    }
    let tables = names(&client, "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity").await;
    assert_eq!(tables.into_iter().collect::<BTreeSet<_>>(), isolated);
    for (table, policy, _) in FURTHER_POLICIES {
        let exists = rows
            .iter()
            .any(|row| row.get::<_, String>(0) == *table && row.get::<_, String>(1) == *policy);
        assert!(exists, "{table}.{policy} is on the list and does not exist");
    }
}

#[tokio::test]
async fn tenant_id_comes_first_in_every_index_and_key() {
    let (_database, client) = migrated().await;
    let rows = client
        .query(
            "SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, i.indisprimary, a.attname::text \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE n.nspname = 'public' ORDER BY 1, 2",
            &[],
        )
        .await
        .unwrap();
    let mut with_primary = BTreeSet::new();
    for row in &rows {
        let (table, index, first): (String, String, Option<String>) =
            (row.get(0), row.get(1), row.get(3));
        if WITHOUT_TENANT.iter().any(|(exempt, _)| *exempt == table) {
            continue;
        }
        assert_eq!(first.as_deref(), Some("tenant_id"), "{index} of {table}");
        if row.get(2) {
            with_primary.insert(table);
        }
    }
    let tables = names(&client, "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity").await;
    assert_eq!(
        tables.into_iter().collect::<BTreeSet<_>>(),
        with_primary,
        "every tenant table has a primary key"
    );
}

#[tokio::test]
async fn foreign_keys_between_tenant_tables_carry_the_tenant() {
    let (_database, client) = migrated().await;
    let rows = client
        .query(
            "SELECT k.conname::text, k.conrelid::regclass::text, k.confrelid::regclass::text, \
                    ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, o) \
                          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o), \
                    ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, o) \
                          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o) \
             FROM pg_constraint k WHERE k.contype = 'f' ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    assert!(!rows.is_empty());
    for row in &rows {
        let (name, from, to): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let (own, foreign): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
        let position = own.iter().position(|column| column == "tenant_id");
        let expected = if to == "tenants" { "id" } else { "tenant_id" };
        let matches = position.is_some_and(|at| foreign[at] == expected);
        assert!(matches, "{name}: {from}({own:?}) → {to}({foreign:?})");
    }
}

#[tokio::test]
async fn every_tenant_table_says_when() {
    let (_database, client) = migrated().await;
    let columns = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped \
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity \
          AND NOT c.relispartition AND a.attname = ";
    let all = names(
        &client,
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity \
          AND NOT c.relispartition",
    )
    .await;
    let created: BTreeSet<_> =
        names(&client, &format!("{columns} 'created_at'")).await.into_iter().collect();
    for table in &all {
        let is_exempt = WITHOUT_CREATED_AT.iter().any(|(exempt, _)| exempt == table);
        assert_eq!(created.contains(table), !is_exempt, "{table}.created_at");
    }
    let updated: BTreeSet<_> =
        names(&client, &format!("{columns} 'updated_at'")).await.into_iter().collect();
    let touched: BTreeSet<_> = names(
        &client,
        "SELECT t.tgrelid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
         WHERE t.tgname = 'touch_updated_at' AND c.relrowsecurity",
    )
    .await
    .into_iter()
    .collect();
    assert_eq!(updated, touched, "updated_at is kept by the trigger");
    // Whole-row UPDATE is for mutable objects: those say when they changed.
    let mutable = names(
        &client,
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity \
           AND has_table_privilege('strongroom_app', c.oid, 'UPDATE')",
    )
    .await;
    for table in mutable {
        assert!(updated.contains(&table), "{table} may be updated and has no updated_at");
    }
}

#[tokio::test]
async fn grants_are_exactly_these() {
    let (_database, client) = migrated().await;
    let rows = client
        .query(
            "SELECT grantee || ' ' || table_name || ': ' || string_agg(privilege_type, ', ' ORDER BY privilege_type) \
             FROM information_schema.role_table_grants \
             WHERE table_schema = 'public' AND grantee <> 'strongroom_owner' \
             GROUP BY grantee, table_name \
             UNION ALL \
             SELECT grantee || ' ' || table_name || ': ' || privilege_type || ' (' \
                 || string_agg(column_name, ', ' ORDER BY column_name) || ')' \
             FROM information_schema.role_column_grants column_grant \
             WHERE table_schema = 'public' AND grantee <> 'strongroom_owner' \
               AND NOT EXISTS (SELECT 1 FROM information_schema.role_table_grants table_grant \
                   WHERE table_grant.table_schema = 'public' AND table_grant.table_name = column_grant.table_name \
                     AND table_grant.grantee = column_grant.grantee \
                     AND table_grant.privilege_type = column_grant.privilege_type) \
             GROUP BY grantee, table_name, privilege_type \
             UNION ALL \
             SELECT coalesce(role.rolname, 'PUBLIC') || ' ' || routine.oid::regprocedure || ': EXECUTE' \
             FROM pg_proc routine JOIN pg_namespace space ON space.oid = routine.pronamespace \
             CROSS JOIN LATERAL aclexplode(coalesce(routine.proacl, acldefault('f', routine.proowner))) privilege \
             LEFT JOIN pg_roles role ON role.oid = privilege.grantee \
             WHERE space.nspname = 'public' AND privilege.grantee <> routine.proowner \
               AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = routine.oid AND d.deptype = 'e') \
             ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let listed: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(listed.iter().all(|line| !line.starts_with("PUBLIC ")), "{listed:#?}");
    insta::assert_snapshot!("grants", listed.join("\n"));
}

#[tokio::test]
async fn the_ledger_and_the_audit_log_cannot_be_rewritten_by_anybody() {
    let (_database, client) = migrated().await;
    for table in [
        "transactions",
        "transfers",
        "audit_log",
        "audit_leaves",
        "audit_tree",
        "audit_checkpoints",
    ] {
        for role in ["strongroom_app", "strongroom_sealer", "strongroom_auditor"] {
            for privilege in ["UPDATE", "DELETE", "TRUNCATE"] {
                let row = client
                    .query_one(
                        "SELECT has_table_privilege($1, $2, $3)",
                        &[&role, &table, &privilege],
                    )
                    .await
                    .unwrap();
                assert!(!row.get::<_, bool>(0), "{role} has {privilege} on {table}");
            }
        }
        // Superuser included: the statement triggers fire for everybody.
        for statement in [
            format!("UPDATE {table} SET tenant_id = tenant_id"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
        ] {
            let refused = client.batch_execute(&statement).await.expect_err(&statement);
            assert_eq!(
                refused.code().map(SqlState::code),
                Some("42501"),
                "{statement}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn roles_have_no_powers_of_their_own() {
    let (_database, client) = migrated().await;
    let rows = client
        .query(
            "SELECT rolname::text, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication \
             FROM pg_roles WHERE rolname LIKE 'strongroom\\_%' ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let found: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected =
        ["strongroom_app", "strongroom_auditor", "strongroom_owner", "strongroom_sealer"];
    assert_eq!(found, expected.map(|name| (name.to_owned(), false)));
}

#[tokio::test]
async fn functions_with_the_owners_rights_are_pinned() {
    let (_database, client) = migrated().await;
    let loose = names(
        &client,
        "SELECT routine.oid::regprocedure::text FROM pg_proc routine \
         JOIN pg_namespace space ON space.oid = routine.pronamespace \
         WHERE space.nspname = 'public' AND routine.prosecdef \
           AND NOT EXISTS (SELECT 1 FROM unnest(routine.proconfig) setting WHERE setting LIKE 'search_path=pg_catalog%')",
    )
    .await;
    assert_eq!(loose, Vec::<String>::new(), "SECURITY DEFINER without a pinned search_path");
}

/// What `strongroom doctor` holds an installation against.
#[tokio::test]
async fn the_doctor_knows_every_trigger() {
    let (_database, client) = migrated().await;
    let triggers = "SELECT c.relname || ' ' || string_agg( \
            t.tgname || CASE t.tgenabled WHEN 'A' THEN '!' WHEN 'O' THEN '' ELSE '?' END, ' ' \
            ORDER BY t.tgname COLLATE \"C\") \
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
        WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND NOT c.relispartition \
        GROUP BY c.relname ORDER BY c.relname COLLATE \"C\"";
    let made = names(&client, triggers).await.join("\n");
    let known = include_str!("../../src/cli/doctor/triggers.txt");
    assert_eq!(made, known.trim_end(), "src/cli/doctor/triggers.txt: it has to be\n{made}\n");
}
