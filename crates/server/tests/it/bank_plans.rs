//! The hot statements of ledger and banking on a bank of some size: as the app
//! role, behind row security, none of them reads a table from end to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use testkit::connect;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::bank_world::BankWorld;

type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// Customers, accounts and entries enough that a sequential scan would cost more
/// than an index; `number` stands in the last digits of every id.
const FILL: &str = "
    SET session_replication_role = replica;
    SET app.operation = 'yes';
    INSERT INTO customers (tenant_id, id, customer_type, company_name, email, email_index, user_id)
    SELECT t.id, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'business', sealed, sealed,
        '\\x01'::bytea || sha256(n::text::bytea), ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid
    FROM tenants t, generate_series(1, 5000) n, (SELECT decode('01' || repeat('00', 99), 'hex') AS sealed) s;
    INSERT INTO subject_keys (tenant_id, subject_id, key_id, kek_epoch, wrapped_key)
    SELECT tenant_id, id, id, 1, '\\x00' FROM customers;
    INSERT INTO ledger_accounts (tenant_id, id, class, currency, entry_count)
    SELECT tenant_id, id, 'customer', 'EUR', 10 FROM customers;
    INSERT INTO savings_accounts (tenant_id, id, customer_id, account_number, account_type, opened_date, created_at)
    SELECT tenant_id, id, id, right(id::text, 12), 'savings', '2026-01-01',
        timestamptz '2026-01-01' + right(id::text, 12)::bigint * interval '1 minute' FROM customers;
    INSERT INTO account_parties (tenant_id, account_id, customer_id, party_role)
    SELECT tenant_id, id, id, 'owner' FROM customers;
    ALTER TABLE transfers DISABLE TRIGGER recorded;
    ALTER TABLE transactions DISABLE TRIGGER whole_movements;
    INSERT INTO transfers (tenant_id, id, kind, amount, currency, from_account_id, to_account_id, value_date,
        booking_date, posted_at, created_by)
    SELECT c.tenant_id, md5(c.id::text || n::text)::uuid, 'transfer', 1, 'EUR', c.id, gen_random_uuid(), '2026-01-01',
        '2026-01-01', now(), c.id FROM customers c, generate_series(1, 10) n;
    INSERT INTO transactions (tenant_id, transaction_id, account_id, transfer_id, account_sequence, transaction_type,
        amount, balance_after, transaction_date, posted_date)
    SELECT c.tenant_id, md5(c.id::text || n::text)::uuid, c.id, md5(c.id::text || n::text)::uuid, n, 'deposit', 1, n,
        '2026-01-01', now() FROM customers c, generate_series(1, 10) n;
    INSERT INTO holds (tenant_id, id, account_id, to_account_id, amount, remaining, currency, status, expires_at,
        created_by)
    SELECT c.tenant_id, md5(c.id::text || n::text)::uuid, c.id, gen_random_uuid(), 1, CASE n WHEN 1 THEN 1 ELSE 0 END,
        'EUR', CASE n WHEN 1 THEN 'authorized' ELSE 'released' END, now() + n * interval '1 day', c.id
    FROM customers c, generate_series(1, 10) n;
    INSERT INTO approvals (tenant_id, id, kind, status, payload, payload_hash, object_id, from_account_id,
        to_account_id, amount, currency, requested_by, requested_at, expires_at, decided_by, decided_at)
    SELECT c.tenant_id, md5(c.id::text || n::text)::uuid, 'transfer', CASE n WHEN 1 THEN 'pending' ELSE 'rejected' END,
        '{}', sha256(c.id::text::bytea), gen_random_uuid(), c.id, gen_random_uuid(), 1, 'EUR', c.user_id,
        now() + n * interval '1 minute', now() + interval '7 days', CASE n WHEN 1 THEN NULL ELSE c.id END,
        CASE n WHEN 1 THEN NULL ELSE now() END
    FROM customers c, generate_series(1, 4) n;
    ALTER TABLE approval_decisions DISABLE TRIGGER by_others;
    INSERT INTO approval_decisions (tenant_id, approval_id, decided_by, verdict, decided_at)
    SELECT tenant_id, id, decided_by, 'reject', decided_at FROM approvals WHERE status = 'rejected';
    SET session_replication_role = origin;
    SET app.operation = '';
    ANALYZE;
";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of statements")]
async fn hot_statements_never_scan_a_table() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("big-bank").await.tenant_id();
    world.superuser.batch_execute(FILL).await.unwrap();
    let client = connect(&world.database.url_as("strongroom_app")).await;
    client.batch_execute(&format!("SET app.current_tenant = '{tenant}'")).await.unwrap();

    let id: Uuid = "00000000-0000-7000-8000-000000000777".parse().unwrap();
    let user: Uuid = "00000000-0000-7000-9000-000000000777".parse().unwrap();
    let transfer: Uuid = world.rows("SELECT id FROM transfers LIMIT 1").await[0].get(0);
    let hold: Uuid = world.rows("SELECT id FROM holds LIMIT 1").await[0].get(0);
    let (ids, users) = (vec![id], vec![user]);
    let (holds, transfers, words) = (vec![hold], vec![Some(transfer)], vec!["released"]);
    let long_ago: jiff::Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let (beyond, last) = (jiff::Timestamp::MAX, Uuid::max());
    let (limit, no_text, no_date) = (51_i64, None::<String>, None::<jiff::civil::Date>);
    let (number, day) = ("000000000777", jiff::civil::date(2026, 2, 1));
    let (end, amounts, none) = (i64::MAX, vec![1_i64], None::<i64>);
    let index = vec![[1_u8; 33].to_vec()];
    let (nobody, nothing) = (None::<Uuid>, None::<Vec<Vec<u8>>>);
    let statements: Vec<(&str, &str, Parameters<'_>)> = vec![
        ("lock", tenancy::sql!("ledger/posting.sql", "lock_accounts"), vec![&tenant, &ids]),
        ("read", tenancy::sql!("ledger/posting.sql", "read_accounts"), vec![&tenant, &ids]),
        (
            "update",
            tenancy::sql!("ledger/posting.sql", "update_accounts"),
            vec![&tenant, &ids, &amounts, &amounts, &amounts],
        ),
        ("account", tenancy::sql!("banking/accounts.sql", "account"), vec![&tenant, &id, &user]),
        ("facts", tenancy::sql!("banking/accounts.sql", "facts"), vec![&tenant, &ids, &users]),
        ("counter", tenancy::sql!("banking/accounts.sql", "counter"), vec![&tenant, &id]),
        (
            "the actor's own customer",
            tenancy::sql!("banking/accounts.sql", "any_own_customer"),
            vec![&tenant, &ids, &user],
        ),
        (
            "accounts",
            tenancy::sql!("banking/accounts.sql", "list_all"),
            vec![&tenant, &beyond, &last, &no_text, &limit, &no_text, &no_text],
        ),
        (
            "own accounts",
            tenancy::sql!("banking/accounts.sql", "list_own"),
            vec![&tenant, &beyond, &last, &no_text, &limit, &user, &no_text, &no_text],
        ),
        (
            "a customer's accounts",
            tenancy::sql!("banking/accounts.sql", "list_of_customer"),
            vec![&tenant, &beyond, &last, &no_text, &limit, &nobody, &id, &no_text, &no_text],
        ),
        (
            "an account by number",
            tenancy::sql!("banking/accounts.sql", "list_by_number"),
            vec![
                &tenant, &beyond, &last, &no_text, &limit, &nobody, &nobody, &number, &no_text,
                &no_text,
            ],
        ),
        (
            "entries",
            tenancy::sql!("banking/history.sql", "entries"),
            vec![&tenant, &id, &end, &no_date, &no_date, &no_text, &limit],
        ),
        (
            "balance as of",
            tenancy::sql!("banking/history.sql", "balance_as_of"),
            vec![&tenant, &id, &day],
        ),
        (
            "end-of-day balances",
            tenancy::sql!("banking/series.sql", "end_of_day"),
            vec![&tenant, &id, &day],
        ),
        (
            "a search in entries",
            tenancy::sql!("banking/series.sql", "search"),
            vec![
                &tenant, &id, &end, &limit, &limit, &no_date, &no_date, &no_text, &none, &none,
                &no_text,
            ],
        ),
        (
            "an account's parties",
            tenancy::sql!("banking/parties.sql", "parties_of_account"),
            vec![&tenant, &id, &nobody],
        ),
        (
            "a customer's parts",
            tenancy::sql!("banking/parties.sql", "accounts_of_party"),
            vec![&tenant, &id, &nobody, &limit],
        ),
        (
            "customers by id",
            tenancy::sql!("banking/parties.sql", "customers_by_id"),
            vec![&tenant, &ids, &nobody],
        ),
        (
            "transfer",
            tenancy::sql!("banking/history.sql", "transfer"),
            vec![&tenant, &transfer, &user],
        ),
        (
            "lock of holds",
            tenancy::sql!("ledger/holds.sql", "lock_accounts"),
            vec![&tenant, &ids, &holds, &holds],
        ),
        (
            "read of holds",
            tenancy::sql!("ledger/holds.sql", "read_accounts"),
            vec![&tenant, &ids, &holds],
        ),
        ("holds", tenancy::sql!("ledger/holds.sql", "read_holds"), vec![&tenant, &holds]),
        (
            "change of holds",
            tenancy::sql!("ledger/holds.sql", "update_holds"),
            vec![&tenant, &holds, &amounts, &amounts, &words, &transfers, &amounts],
        ),
        ("due holds", tenancy::sql!("ledger/holds.sql", "due"), vec![&tenant, &long_ago, &limit]),
        ("hold facts", tenancy::sql!("banking/holds.sql", "facts"), vec![&tenant, &holds, &users]),
        ("sides of holds", tenancy::sql!("banking/holds.sql", "sides"), vec![&tenant, &ids]),
        ("hold", tenancy::sql!("banking/holds.sql", "hold"), vec![&tenant, &hold, &user]),
        (
            "list of holds",
            tenancy::sql!("banking/holds.sql", "list_all"),
            vec![&tenant, &beyond, &last, &no_text, &limit],
        ),
        (
            "an account's holds",
            tenancy::sql!("banking/holds.sql", "list_of_account"),
            vec![&tenant, &beyond, &last, &no_text, &limit, &nobody, &id],
        ),
        (
            "posted or waiting",
            tenancy::sql!("banking/approvals.sql", "transfer"),
            vec![&tenant, &transfer, &user],
        ),
        (
            "approval",
            tenancy::sql!("banking/approvals.sql", "approval"),
            vec![&tenant, &hold, &user],
        ),
        (
            "approval's facts",
            tenancy::sql!("banking/approvals.sql", "facts"),
            vec![&tenant, &hold, &user],
        ),
        (
            "approvals",
            tenancy::sql!("banking/approvals.sql", "list_all"),
            vec![&tenant, &beyond, &last, &no_text, &no_text, &limit, &true, &user],
        ),
        (
            "own approvals",
            tenancy::sql!("banking/approvals.sql", "list_own"),
            vec![&tenant, &beyond, &last, &no_text, &no_text, &limit, &user, &false],
        ),
        (
            "due approvals",
            tenancy::sql!("banking/approvals.sql", "due"),
            vec![&tenant, &long_ago, &limit],
        ),
        (
            "own holds",
            tenancy::sql!("banking/holds.sql", "list_own"),
            vec![&tenant, &beyond, &last, &no_text, &limit, &user],
        ),
        ("customer", tenancy::sql!("banking/customers.sql", "customer"), vec![&tenant, &id]),
        (
            "customer facts",
            tenancy::sql!("banking/customers.sql", "facts"),
            vec![&tenant, &id, &user],
        ),
        (
            "customers",
            tenancy::sql!("banking/customers.sql", "list_all"),
            vec![&tenant, &beyond, &last, &limit, &no_text, &no_text],
        ),
        (
            "own customer",
            tenancy::sql!("banking/customers.sql", "list_own"),
            vec![&tenant, &beyond, &last, &limit, &no_text, &no_text, &user, &nothing, &nothing],
        ),
        (
            "customers by e-mail",
            tenancy::sql!("banking/customers.sql", "list_by_email"),
            vec![&tenant, &beyond, &last, &limit, &no_text, &no_text, &index, &nothing],
        ),
        (
            "what makers have waiting",
            tenancy::sql!("approvals/desk.sql", "pending_of_makers"),
            vec![&tenant, &users],
        ),
        (
            "facts of a reversal",
            tenancy::sql!("banking/movements.sql", "reversal_facts"),
            vec![&tenant, &transfer, &user],
        ),
        (
            "a movement to be undone",
            tenancy::sql!("banking/movements.sql", "reversible"),
            vec![&tenant, &transfer],
        ),
        // A proof's pages: from the middle, so that what is before them would be read by a scan.
        (
            "proof of accounts",
            tenancy::sql!("ledger/verify.sql", "accounts"),
            vec![&tenant, &id, &limit],
        ),
        (
            "proof of entries",
            tenancy::sql!("ledger/verify.sql", "entries"),
            vec![&tenant, &id, &limit, &limit, &limit],
        ),
        (
            "proof of transfers",
            tenancy::sql!("ledger/verify.sql", "transfers"),
            vec![&tenant, &transfer, &limit],
        ),
        (
            "proof of captures",
            tenancy::sql!("ledger/verify.sql", "captures"),
            vec![&tenant, &hold, &limit],
        ),
    ];
    for (name, sql, parameters) in statements {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            client.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
            let plan = client
                .query(&format!("EXPLAIN {sql}"), &parameters)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            assert!(
                !plan.iter().any(|line| line.contains("Seq Scan")),
                "{name}, {mode}:\n{}",
                plan.join("\n")
            );
        }
    }
}
