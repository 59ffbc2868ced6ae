//! The running proofs: what they find, who does them, what they leave behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{cmp::Ordering, time::Duration};

use api::ApiConfig;
use banking::proof::{SubLedgerFault, claim, prove, standing};
use futures_util::future::join_all;
use jiff::SignedDuration;
use metrics_exporter_prometheus::PrometheusBuilder;
use server::compose::{Ingredients, Installation};
use server::serve::proofs;
use tenancy::DatabaseConfig;
use vault::{RootKey, RootKeys};

use crate::bank_world::{BankWorld, open};

#[tokio::test]
async fn the_sub_ledger_is_compared_with_the_general_ledger() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("pair-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.account(&tenant, customer.id, 0).await.id);
    }
    let auditor = open(&world.database, "strongroom_auditor");
    let clean = prove(&tenant, &auditor, |_| {}).await.unwrap();
    assert_eq!((clean.fault_count(), clean.sub_ledger.accounts), (0, 5), "{clean:?}");
    // Each as nothing of ours could do it; the rest of the ledger stays in order.
    world
        .superuser
        .batch_execute(&format!(
            "SET session_replication_role = replica;
             ALTER TABLE ledger_accounts DISABLE TRIGGER never_deleted;
             DELETE FROM ledger_accounts WHERE id = '{}';
             ALTER TABLE ledger_accounts ENABLE ALWAYS TRIGGER never_deleted;
             DELETE FROM savings_accounts WHERE id = '{}';
             UPDATE ledger_accounts SET status = 'closed' WHERE id = '{}';
             DELETE FROM account_parties WHERE account_id = '{}';
             SET session_replication_role = origin;",
            ids[0], ids[1], ids[2], ids[3]
        ))
        .await
        .unwrap();
    let found = prove(&tenant, &auditor, |_| {}).await.unwrap();
    assert_eq!((found.ledger.fault_count, found.fault_count()), (0, 4), "{found:?}");
    let named = |account_id| {
        found.sub_ledger.faults.iter().find(|fault| match **fault {
            SubLedgerFault::NotInLedger { account_id: id }
            | SubLedgerFault::Nobodys { account_id: id }
            | SubLedgerFault::Owner { account_id: id }
            | SubLedgerFault::Status { account_id: id, .. } => id == account_id,
        })
    };
    assert!(matches!(named(ids[0]), Some(SubLedgerFault::NotInLedger { .. })));
    assert!(matches!(named(ids[1]), Some(SubLedgerFault::Nobodys { .. })));
    assert!(matches!(named(ids[2]), Some(SubLedgerFault::Status { closed_date: None, .. })));
    assert!(matches!(named(ids[3]), Some(SubLedgerFault::Owner { .. })));
    assert!(named(ids[4]).is_none());
    // Another tenant's proof knows nothing of it.
    let elsewhere = world.tenant("calm-bank").await;
    assert_eq!(prove(&elsewhere, &auditor, |_| {}).await.unwrap().fault_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_nodes_one_has_the_turn() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("turn-bank").await;
    let turns = || async {
        let claims = join_all((0..20).map(|_| claim(&tenant, &world.app, 60))).await;
        claims.into_iter().filter(|claimed| *claimed.as_ref().unwrap()).count()
    };
    assert_eq!(standing(&tenant, &world.app).await.unwrap(), None);
    assert_eq!(turns().await, 1);
    assert_eq!(turns().await, 0, "within the period nobody's");
    world.clock.advance(SignedDuration::from_secs(59));
    assert_eq!(turns().await, 0);
    world.clock.advance(SignedDuration::from_secs(2));
    assert_eq!(turns().await, 1, "the next period, whether the last node finished or not");
    let elsewhere = world.tenant("next-bank").await;
    assert!(claim(&elsewhere, &world.app, 60).await.unwrap(), "tenants have their own");
}

fn installation(world: &BankWorld) -> Installation {
    let url = world.database.superuser_url();
    let mut installation = Installation::assemble(Ingredients {
        app: DatabaseConfig::new(url.clone()).with_role("strongroom_app"),
        sealer: DatabaseConfig::new(url).with_role("strongroom_sealer"),
        anchor: None,
        shares: None,
        roots: RootKeys::new(RootKey::from_bytes(&[7; 32]), None),
        token_secret: None,
        exempt_loopback: false,
        api: ApiConfig::default(),
    })
    .unwrap();
    // Always due, so that each pass proves.
    installation.proof_every = Duration::ZERO;
    installation
}

fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[track_caller]
fn assert_figure(text: &str, name: &str, expected: f64) {
    let found = figure(text, name);
    assert_eq!(found.total_cmp(&expected), Ordering::Equal, "{name} is {found} in {text}");
}

#[tokio::test]
async fn a_fault_is_loud_recorded_and_gone_when_mended() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = BankWorld::new().await;
    let tenant = world.tenant("loud-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 100).await;
    let (first, second) = (installation(&world), installation(&world));
    let events = |kind: &'static str| {
        let sql = format!(
            "SELECT severity::text, result::text, convert_from(record, 'UTF8') FROM audit_log \
             WHERE action = 'ledger.prove' AND event_type = '{kind}' ORDER BY event_id"
        );
        let world = &world;
        async move { world.rows(&sql).await }
    };
    proofs::pass(&first).await;
    let text = figures.render();
    assert_figure(&text, "strongroom_ledger_proof_ok", 1.0);
    assert_figure(&text, "strongroom_ledger_proof_faults_total", 0.0);
    let good_until = figure(&text, "strongroom_ledger_proof_last_success_timestamp_seconds");
    assert!(good_until > 1_700_000_000.0);
    assert_eq!(events("job_run").await.len(), 1);

    world
        .run_sql("UPDATE ledger_accounts SET balance = balance + 1 WHERE id = $1", &[&account.id])
        .await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    proofs::pass(&first).await;
    // A node that did not do the proof says the same.
    metrics::gauge!("strongroom_ledger_proof_ok").set(9.0);
    let mut lazy = second;
    lazy.proof_every = Duration::from_secs(3_600);
    proofs::pass(&lazy).await;
    let text = figures.render();
    assert_figure(&text, "strongroom_ledger_proof_ok", 0.0);
    // The trial balance and the balance.
    assert_figure(&text, "strongroom_ledger_proof_faults_total", 2.0);
    assert_figure(&text, "strongroom_ledger_proof_period_seconds", 3_600.0);
    assert_figure(&text, "strongroom_ledger_proof_last_success_timestamp_seconds", good_until);
    let records = events("security_violation").await;
    assert_eq!(records.len(), 1);
    let (severity, result): (String, String) = (records[0].get(0), records[0].get(1));
    assert_eq!((severity.as_str(), result.as_str()), ("critical", "failed"));
    let record: String = records[0].get(2);
    assert!(record.contains("trial balance of EUR is 1, not 0"), "{record}");

    world
        .run_sql("UPDATE ledger_accounts SET balance = balance - 1 WHERE id = $1", &[&account.id])
        .await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    proofs::pass(&first).await;
    let text = figures.render();
    assert_figure(&text, "strongroom_ledger_proof_ok", 1.0);
    assert!(figure(&text, "strongroom_ledger_proof_last_success_timestamp_seconds") > good_until);
    assert_eq!(events("job_run").await.len(), 2);
}

#[tokio::test]
async fn a_proof_that_cannot_be_done_is_counted_and_proves_nothing() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let world = BankWorld::new().await;
    world.tenant("dark-bank").await;
    let installation = installation(&world);
    proofs::pass(&installation).await;
    let before =
        figure(&figures.render(), "strongroom_ledger_proof_last_success_timestamp_seconds");
    world
        .superuser
        .batch_execute("REVOKE SELECT ON transactions FROM strongroom_app")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    proofs::pass(&installation).await;
    let text = figures.render();
    let failures = text.lines().find(|line| line.starts_with("strongroom_worker_failures_total"));
    assert!(failures.unwrap().contains("ledger_proof"), "{text}");
    // Not ok = 0: nothing was found wrong. But not newer either, so that the alarm for stale ones rings.
    assert!(figure(&text, "strongroom_ledger_proof_last_success_timestamp_seconds") <= before);
}
