//! The list of sealed columns is all of them: every column of bytes is a sealed cell, the
//! index of one, or stands here with its reason; what is stored opens and is found as the
//! list says; and the inventory counts every cell by the keys that its headers name.

use std::collections::BTreeSet;
use std::sync::Arc;

use banking::{CreateCustomer, CustomerType, NewCustomer, PersonalData, ReadCustomer};
use operation::{Call, InventoryLine, KeyInventory, OperationError};
use server::compose::SEALED;
use tenancy::cells::{Cell, KeyClass, ROW};
use tenancy::keyring::TenantKeys;
use tenancy::{Actor, DbError, OpContext};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::App;

/// Columns of bytes that hold nothing sealed.
const UNSEALED: &[(&str, &[&str], &str)] = &[
    (
        "audit_log",
        &["record"],
        "the record's exact bytes; what is personal in it is no more than ids",
    ),
    ("audit_inbox", &["leaf_hash"], "a digest"),
    ("audit_leaves", &["leaf_hash"], "a digest"),
    ("audit_tree", &["hash"], "a digest"),
    ("audit_checkpoints", &["root_hash"], "a digest"),
    ("audit_digest_keys", &["inner_pad", "outer_pad"], "keys the database itself must read"),
    ("audit_super_leaves", &["leaf_hash"], "a digest"),
    ("audit_super_tree", &["hash"], "a digest"),
    ("audit_super_checkpoints", &["root_hash"], "a digest"),
    ("audit_log_keys", &["public_key", "wrapped_seed"], "a public key, and a key wrapped by a KEK"),
    ("tenant_keks", &["wrapped_key"], "a key wrapped by a root"),
    ("data_keys", &["wrapped_key"], "a key wrapped by a KEK"),
    ("subject_keys", &["wrapped_key"], "a key wrapped by a KEK"),
    ("signing_keys", &["wrapped_key"], "a key wrapped by a KEK"),
    ("idempotency_keys", &["request_hash"], "a digest"),
    ("user_sessions", &["device_fingerprint", "console_token_hash"], "a MAC and a digest"),
    ("refresh_tokens", &["token_hash", "device_fingerprint"], "a digest and a MAC"),
    (
        "login_attempts",
        &["identifier_index"],
        "the blind index of what was typed, which is kept nowhere",
    ),
    ("approvals", &["payload_hash"], "a digest"),
    ("one_time_tokens", &["token_hash", "code_hash"], "digests"),
    ("mfa_configs", &["device_fingerprint"], "a MAC"),
    ("mfa_backup_codes", &["code_hash"], "a MAC"),
    (
        "mfa_challenges",
        &["token_hash", "device_fingerprint", "code_hash", "payment_hash"],
        "digests and a MAC",
    ),
    ("payment_authorisations", &["payment_hash"], "a digest"),
    ("webauthn_users", &["user_handle"], "random"),
    (
        "webauthn_credentials",
        &["credential_id", "public_key"],
        "what a device answers a sign-in with",
    ),
    ("webauthn_challenges", &["challenge_hash"], "a digest"),
    ("api_keys", &["secret_hash", "previous_hash"], "digests"),
    ("user_devices", &["fingerprint"], "a MAC"),
    ("mfa_reset_requests", &["payload_hash"], "a digest"),
    ("policy_changes", &["payload_hash"], "a digest"),
];

fn cells() -> impl Iterator<Item = &'static Cell> {
    SEALED.iter().flat_map(|sealed| sealed.cells)
}

fn name(table: &str, column: &str) -> String {
    format!("{table}.{column}")
}

async fn named(client: &Client, sql: &str) -> BTreeSet<String> {
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| name(row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn every_column_of_bytes_is_a_cell_the_index_of_one_or_excused() {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    let bytes = named(
        &client,
        "SELECT c.relname::text, a.attname::text FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped \
           AND a.atttypid = 'bytea'::regtype",
    )
    .await;
    let sealed: BTreeSet<String> = cells().map(|cell| name(cell.table, cell.column)).collect();
    assert_eq!(sealed.len(), cells().count(), "a cell is named twice");
    let indexes: BTreeSet<String> =
        cells().filter_map(|cell| cell.index.map(|index| name(cell.table, index.column))).collect();
    let excused: BTreeSet<String> = UNSEALED
        .iter()
        .flat_map(|(table, columns, _)| columns.iter().map(move |column| name(table, column)))
        .collect();
    let listed: BTreeSet<String> = sealed.iter().chain(&indexes).chain(&excused).cloned().collect();
    assert_eq!(listed.len(), sealed.len() + indexes.len() + excused.len(), "listed twice");
    assert_eq!(bytes, listed);

    // The database checks the envelope of every cell, and of nothing else.
    let enveloped = named(
        &client,
        "SELECT c.relname::text, a.attname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
         WHERE k.contype = 'c' AND cardinality(k.conkey) = 1 AND (pg_get_constraintdef(k.oid) LIKE '%is_sealed(%' \
           OR pg_get_constraintdef(k.oid) LIKE '%get_byte(%, 0) = 1%')",
    )
    .await;
    assert_eq!(enveloped, sealed);
    let of_33_bytes = named(
        &client,
        "SELECT c.relname::text, a.attname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
         WHERE k.contype = 'c' AND cardinality(k.conkey) = 1 \
           AND pg_get_constraintdef(k.oid) LIKE '%= 33%'",
    )
    .await;
    let loose = BTreeSet::from([name("login_attempts", "identifier_index")]);
    assert_eq!(of_33_bytes, indexes.union(&loose).cloned().collect());
}

#[test]
fn every_cell_that_the_tenants_own_key_may_seal_is_sealed_anew_and_no_other() {
    for cell in cells() {
        let is_of_a_person = matches!(cell.key, KeyClass::Subject(_));
        assert_eq!(cell.reseal.is_none(), is_of_a_person, "{}", name(cell.table, cell.column));
    }
}

/// The column that names whose a cell is; the row itself where it is the tenant's.
fn subject_of(cell: &Cell) -> &'static str {
    match cell.key {
        KeyClass::Subject(subject) | KeyClass::SubjectOrTenant(subject) => subject,
        KeyClass::Tenant => ROW,
    }
}

#[tokio::test]
async fn every_cell_names_its_row_and_whose_it_is_and_is_counted() {
    let database = TestDatabase::create().await;
    let client = connect(&database.superuser_url()).await;
    for sealed in SEALED {
        for cell in sealed.cells {
            let subject = subject_of(cell);
            let sql = "SELECT count(*) FILTER (WHERE a.attname = $2 AND a.attnotnull), \
                    count(*) FILTER (WHERE a.attname = $3 AND (a.attnotnull OR $4)) \
                FROM pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.atttypid = 'uuid'::regtype";
            let is_optional = !matches!(cell.key, KeyClass::Subject(_));
            let row =
                client.query_one(sql, &[&cell.table, &ROW, &subject, &is_optional]).await.unwrap();
            assert_eq!((row.get(0), row.get(1)), (1_i64, 1_i64), "{cell:?}");
            let counts = sealed.inventory;
            assert!(counts.contains(&format!("'{}', {}", cell.column, cell.column)), "{cell:?}");
            assert!(counts.contains(&format!("FROM {}", cell.table)), "{cell:?}");
        }
    }
}

/// Opens every stored value of a tenant by the list alone, and makes its index again. Which
/// cells held anything.
async fn opened(app: &App, keys: &TenantKeys, tenant: Uuid) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for cell in cells() {
        // Nobody's: a row is its own subject, and no subject has its id.
        let subject = subject_of(cell);
        let index = cell.index.map_or("NULL::bytea", |index| index.column);
        let sql = format!(
            "SELECT cell.{ROW}, cell.{}, {index}, person.key_id, person.kek_epoch, person.wrapped_key \
             FROM {} cell LEFT JOIN subject_keys person ON person.tenant_id = cell.tenant_id \
               AND person.subject_id = cell.{subject} \
             WHERE cell.tenant_id = $1 AND cell.{} IS NOT NULL",
            cell.column, cell.table, cell.column
        );
        for row in app.superuser.query(&sql, &[&tenant]).await.unwrap() {
            let (at, sealed): (_, Vec<u8>) = (cell.at(row.get(0)), row.get(1));
            let text = match row.get::<_, Option<Uuid>>(3) {
                Some(key) => {
                    let person = keys.open_subject_key(key, row.get(4), row.get(5)).unwrap();
                    keys.open(&person, at, sealed).unwrap()
                }
                None => keys.open_own(at, sealed).unwrap(),
            };
            if let (Some(index), Some(stored)) = (cell.index, row.get::<_, Option<Vec<u8>>>(2)) {
                let key = keys.index_of(stored[0]).unwrap();
                let is_found = index.meanings.iter().any(|meaning| {
                    vault::blind_index(key, meaning.domain, &(meaning.normal)(&text))[..] == stored
                });
                assert!(is_found, "{cell:?}");
            }
            seen.insert(name(cell.table, cell.column));
        }
    }
    seen
}

#[tokio::test]
async fn what_is_stored_opens_and_is_found_as_the_list_says() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let personal = PersonalData {
        first_name: Some("Bedřiška".to_owned()),
        last_name: Some("Nováková".to_owned()),
        company_name: None,
        email: Some("Bedriska@Example.cz".to_owned()),
        phone: Some("+420123456789".to_owned()),
        date_of_birth: Some("1980-02-29".parse().unwrap()),
        tax_id: Some("cz 80-02.29".to_owned()),
    };
    let customer = NewCustomer { customer_type: CustomerType::Individual, personal, user_id: None };
    app.run(&context, CreateCustomer { keyring: Arc::clone(&app.keyring), customer }).await;
    let keys = app.keyring.tenant(&app.pool, &context).await.unwrap();
    let seen = opened(&app, &keys, app.bank.id).await;
    for column in ["first_name", "last_name", "email", "phone", "date_of_birth", "tax_id"] {
        assert!(seen.contains(&name("customers", column)), "{column}: {seen:?}");
    }
    assert!(seen.contains("users.email_sealed"), "{seen:?}");

    // All of it stands under the one generation that there is, and nothing else does.
    let lines = inventory(&app).await;
    let counted: BTreeSet<String> =
        lines.iter().map(|line| name(&line.table, &line.column)).collect();
    let indexed = ["customers.email_index", "customers.phone_index", "customers.tax_id_index"];
    let indexed = indexed.into_iter().chain(["users.email_index"]).map(str::to_owned);
    assert_eq!(counted, seen.into_iter().chain(indexed).collect());
    for line in &lines {
        let standing = (line.purpose.as_str(), line.epoch, line.status.as_str());
        let is_index = line.column.ends_with("_index");
        let purpose = if is_index { "blind_index" } else { "subject_data" };
        assert_eq!(standing, (purpose, Some(1), "active"), "{line:?}");
        let sql = format!("SELECT count({}) FROM {} WHERE tenant_id = $1", line.column, line.table);
        let there: i64 = app.superuser.query_one(&sql, &[&app.bank.id]).await.unwrap().get(0);
        let keys = if is_index { 1 } else { there };
        assert_eq!((line.values, line.keys), (there, keys), "{line:?}");
    }
}

async fn inventory(app: &App) -> Vec<InventoryLine> {
    let context = app.cli("bank").await;
    app.operations.read(&context, &KeyInventory { sealed: SEALED }).await.unwrap()
}

#[tokio::test]
async fn the_inventory_tells_destroyed_and_unknown_keys_from_living_ones() {
    let app = App::start().await;
    let (erased, foreign) = (app.bank.customers[0].id, app.bank.customers[1].id);
    // A living key, and of another tenant.
    app.add_bank("elsewhere").await;
    let change = [
        (
            "UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now() WHERE subject_id = $1",
            erased,
        ),
        (
            "UPDATE customers SET first_name = overlay(first_name PLACING uuid_send((SELECT key_id FROM data_keys \
                 WHERE tenant_id <> customers.tenant_id AND purpose = 'field_data')) FROM 2) WHERE id = $1",
            foreign,
        ),
    ];
    let before = of_first_names(&inventory(&app).await);
    for (sql, id) in change {
        assert_eq!(app.superuser.execute(sql, &[&id]).await.unwrap(), 1, "{sql}");
    }
    let living = before[0].3;
    assert_eq!(before, [("subject_data".to_owned(), Some(1), "active".to_owned(), living)]);
    let mut after = of_first_names(&inventory(&app).await);
    after.sort_by(|one, other| one.2.cmp(&other.2));
    let line = |purpose: &str, epoch, status: &str, values| {
        (purpose.to_owned(), epoch, status.to_owned(), values)
    };
    let mut expected =
        vec![line("subject_data", Some(1), "destroyed", 1), line("unknown", None, "unknown", 1)];
    if living > 2 {
        expected.insert(0, line("subject_data", Some(1), "active", living - 2));
    }
    assert_eq!(after, expected);
    // Who looked is recorded, as a list of so many lines.
    app.operations.access_log().flush(&app.pool, true).await.unwrap();
    let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'key.inventory' AND result = 'success'";
    let looks: i64 = app.superuser.query_one(sql, &[&app.bank.id]).await.unwrap().get(0);
    assert!(looks >= 1);
    // And nobody is read as nobody, or as the one whose key it is.
    let context = app.cli("bank").await;
    let command = ReadCustomer { keyring: Arc::clone(&app.keyring), customer_id: foreign };
    let call = Call { context, idempotency_key: None, command };
    let refused = app.operations.run_one(call).await;
    assert!(matches!(refused, Err(OperationError::Database(DbError::Corrupt(_)))));
}

#[tokio::test]
async fn the_inventory_is_for_those_who_may_see_keys_and_of_their_own_tenant() {
    let app = App::start().await;
    let elsewhere = app.add_bank("elsewhere").await;
    let looks = KeyInventory { sealed: SEALED };
    let cli = app.cli("bank").await;
    for (role, is_allowed) in [("customer", false), ("officer", false), ("admin", true)] {
        let actor = Actor::user(app.bank.users[role], vec![role.to_owned()]);
        let context = OpContext { actor, ..cli.clone() };
        let outcome = app.operations.read(&context, &looks).await;
        assert_eq!(outcome.is_ok(), is_allowed, "{role}: {outcome:?}");
    }
    // What the other one has is not counted here, nor the other way round.
    let before = inventory(&app).await;
    let sql = "UPDATE customers SET phone = NULL, phone_index = NULL, email = NULL, email_index = NULL \
        WHERE tenant_id = $1";
    app.superuser.execute(sql, &[&elsewhere.id]).await.unwrap();
    assert_eq!(inventory(&app).await, before);
}

fn of_first_names(lines: &[InventoryLine]) -> Vec<(String, Option<i32>, String, i64)> {
    let of_column = lines.iter().filter(|line| line.column == "first_name");
    of_column
        .map(|line| (line.purpose.clone(), line.epoch, line.status.clone(), line.values))
        .collect()
}
