//! The audit log against a real server: append-only for everybody, sealed
//! once and in order, provable, and every tampering found and named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod partitions;

use std::sync::Arc;

use audit::merkle::{self, verify_consistency, verify_inclusion};
use audit::note::Checkpoint;
use audit::proof::{self, Inclusion};
use audit::query::{self, Filter};
use audit::verify::{Fault, FaultKind, Options, TenantReport, verify};
use audit::{AuditEvent, EventContext, EventType, Outcome, Sealer, store};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tenancy::keyring::Keyring;
use tenancy::{
    ActorKind, Blueprint, Clock, Database, DatabaseConfig, OpContext, TenantId, TenantRef,
};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use uuid::Uuid;
use vault::{RootKey, RootKeys};

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) app: Database,
    keyring: Arc<Keyring>,
    clock: Clock,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(TestDatabase::create().await)
    }

    /// The same over what another one left.
    pub(crate) fn over(database: TestDatabase) -> Self {
        let app = open(&database, "strongroom_app");
        let roots = RootKeys::new(RootKey::from_bytes(&[7; 32]), None);
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        Self { database, app, keyring: Arc::new(Keyring::new(roots)), clock: Clock::manual(start) }
    }

    async fn tenant(&self, slug: &str) -> OpContext {
        self.tenant_of(slug, "core-bank").await
    }

    pub(crate) async fn tenant_of(&self, slug: &str, blueprint: &str) -> OpContext {
        let id = self.clock.new_id();
        let superuser = self.superuser().await;
        // As the operation that makes tenants: the log begins empty.
        superuser.batch_execute("SET app.operation = 'yes'").await.unwrap();
        superuser
            .execute(
                "INSERT INTO tenants (id, slug, name, blueprint, modules) \
                 VALUES ($1, $2, $2, $3, '{}')",
                &[&id, &slug, &blueprint],
            )
            .await
            .unwrap();
        let tenant = TenantRef {
            id: TenantId(id),
            slug: slug.to_owned(),
            blueprint: blueprint.parse::<Blueprint>().unwrap(),
            modules: Vec::new(),
            time_zone: "UTC".to_owned(),
        };
        let context = OpContext::system(Arc::new(tenant), ActorKind::Cli, self.clock.clone());
        let transaction = self.app.begin(&context).await.unwrap();
        let keys = self.keyring.create_tenant_keys(&transaction).await.unwrap();
        audit::keys::create(&transaction, keys.kek()).await.unwrap();
        transaction.commit().await.unwrap();
        context
    }

    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::new(self.sealer_database(), Arc::clone(&self.keyring), self.clock.clone())
    }

    pub(crate) fn sealer_database(&self) -> Database {
        open(&self.database, "strongroom_sealer")
    }

    pub(crate) async fn superuser(&self) -> Client {
        connect(&self.database.superuser_url()).await
    }

    pub(crate) async fn append(&self, context: &OpContext, count: usize) -> Vec<Uuid> {
        let events: Vec<_> = (0..count).map(|number| self.event(context, number)).collect();
        let ids = events.iter().map(AuditEvent::event_id).collect();
        let transaction = self.app.begin(context).await.unwrap();
        store::append(&transaction, events).await.unwrap();
        transaction.commit().await.unwrap();
        ids
    }

    fn event(&self, context: &OpContext, number: usize) -> AuditEvent {
        self.clock.advance(SignedDuration::from_millis(1));
        AuditEvent::new(
            &event_context(context),
            EventType::LedgerPosting,
            "transfer.create",
            "transfer",
        )
        .resource_id(Uuid::from_u128(number as u128 + 1))
        .old_values(json!({ "balance": 100 }))
        .new_values(json!({ "balance": 100 + number, "note": "é\u{0}\u{1}" }))
        .details(json!({ "number": number, "empty": {}, "none": null }))
    }

    pub(crate) async fn verify(&self) -> Vec<TenantReport> {
        self.verify_as(&self.database.superuser_url()).await
    }

    pub(crate) async fn verify_as(&self, url: &str) -> Vec<TenantReport> {
        let options = Options { page_rows: 7, ..Options::default() };
        verify(&connect(url).await, &options, &mut |_| {}).await.unwrap()
    }

    pub(crate) async fn fault(&self) -> Option<Fault> {
        self.verify().await.into_iter().find_map(|report| report.fault)
    }
}

fn open(database: &TestDatabase, role: &'static str) -> Database {
    Database::new(&DatabaseConfig::new(database.superuser_url()).with_role(role)).unwrap()
}

fn event_context(context: &OpContext) -> EventContext {
    EventContext {
        tenant_id: context.tenant_id(),
        organization_id: None,
        user_id: Some(Uuid::from_u128(42)),
        session_id: Some(Uuid::from_u128(43)),
        actor_kind: context.actor.kind.as_str(),
        ip_address: Some("2001:db8::1".parse().unwrap()),
        user_agent: Some("agent\u{0}/1 ".repeat(60)),
        request_id: Some(context.request.id.clone()),
        occurred_at: context.clock.now(),
    }
}

#[tokio::test]
async fn a_record_is_sealed_proven_and_listed() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let sealer = world.sealer();
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    for count in [1, 2, 60, 1, 100] {
        ids.extend(world.append(&context, count).await);
        assert!(matches!(
            proof::inclusion(&world.app, &context, ids[ids.len() - 1]).await.unwrap(),
            Inclusion::Waiting
        ));
        assert!(world.fault().await.is_none(), "waiting records are no fault");
        assert_eq!(sealer.drain().await.unwrap(), count);
        sizes.push(ids.len() as u64);
    }
    let key = proof::verifier_keys(&world.app, &context).await.unwrap().remove(0);
    for (index, id) in ids.iter().enumerate() {
        let Inclusion::Proven(proven) = proof::inclusion(&world.app, &context, *id).await.unwrap()
        else {
            panic!("event {index} is not proven")
        };
        assert_eq!(proven.log_index, index as u64);
        let signed = Checkpoint::open(&proven.checkpoint.note, &key).unwrap();
        let leaf = merkle::leaf_hash(proven.record.as_bytes());
        verify_inclusion(&leaf, proven.log_index, signed.size, &proven.hashes, &signed.root)
            .unwrap();
    }
    for pair in sizes.windows(2) {
        let found =
            proof::consistency(&world.app, &context, pair[0], pair[1]).await.unwrap().unwrap();
        let old = proof::checkpoint(&world.app, &context, pair[0]).await.unwrap().unwrap();
        let new = proof::checkpoint(&world.app, &context, pair[1]).await.unwrap().unwrap();
        verify_consistency(pair[0], pair[1], &found.hashes, &old.root_hash, &new.root_hash)
            .unwrap();
    }
    assert!(proof::consistency(&world.app, &context, 1, 999).await.unwrap().is_none());
    assert_eq!(
        proof::inclusion(&world.app, &context, Uuid::nil()).await.unwrap(),
        Inclusion::Unknown
    );
    let listed = proof::checkpoints(&world.app, &context, None, 100).await.unwrap();
    assert_eq!(listed.iter().map(|point| point.tree_size).rev().collect::<Vec<_>>(), sizes);
    for role in ["strongroom_owner", "strongroom_app", "strongroom_auditor"] {
        let reports = world.verify_as(&world.database.url_as(role)).await;
        assert_eq!((reports[0].sealed, reports[0].checkpoints), (164, 5), "{role}");
        assert_eq!(reports[0].fault, None, "{role}");
    }
}

#[tokio::test]
async fn events_are_listed_by_filter_and_page() {
    let world = World::new().await;
    let (context, other) = (world.tenant("north-bank").await, world.tenant("south-bank").await);
    let ids = world.append(&context, 6).await;
    world.append(&other, 2).await;
    let refusal = world.event(&context, 9).event_type(EventType::PermissionDenied);
    let refusal = refusal.outcome(Outcome::Denied);
    let refused = refusal.event_id();
    let transaction = world.app.begin(&context).await.unwrap();
    store::append(&transaction, vec![refusal]).await.unwrap();
    transaction.commit().await.unwrap();

    let all = query::list(&world.app, &context, &Filter::default(), None, 4).await.unwrap();
    let newest: Vec<_> = all.iter().map(|event| event.event_id).collect();
    assert_eq!(newest, [refused, ids[5], ids[4], ids[3]]);
    let rest = query::list(&world.app, &context, &Filter::default(), Some(ids[3]), 4).await;
    assert_eq!(rest.unwrap().len(), 3);
    let count = |filter: Filter| {
        let (app, context) = (&world.app, &context);
        async move { query::list(app, context, &filter, None, 100).await.unwrap().len() }
    };
    let denied = Filter { event_type: Some(EventType::PermissionDenied), ..Filter::default() };
    assert_eq!(count(denied).await, 1);
    let high = Filter { severity: Some(audit::Severity::High), ..Filter::default() };
    assert_eq!(count(high).await, 1);
    let flagged = Filter { compliance_flag: Some(audit::ComplianceFlag::Sox), ..Filter::default() };
    assert_eq!(count(flagged).await, 7);
    let by_user = Filter { user_id: Some(Uuid::from_u128(42)), ..Filter::default() };
    assert_eq!(count(by_user).await, 7);
    let object = Filter { resource_id: Some(Uuid::from_u128(3)), ..Filter::default() };
    assert_eq!(count(object).await, 1);
    let one = query::one(&world.app, &context, ids[2]).await.unwrap().unwrap();
    assert_eq!(one.ip_address.as_deref(), Some("2001:db8::1"));
    assert_eq!(one.new_values.unwrap()["note"], "é\u{fffd}\u{1}");
    let by_agent = Filter { user_agent: one.user_agent.clone(), ..Filter::default() };
    assert_eq!(count(by_agent).await, 7);
    let by_kind = |kind: &str| Filter { actor_kind: Some(kind.to_owned()), ..Filter::default() };
    assert_eq!((count(by_kind("cli")).await, count(by_kind("user")).await), (7, 0));
    let elsewhere = Filter { organization_id: Some(Uuid::from_u128(9)), ..Filter::default() };
    assert_eq!(count(elsewhere).await, 0);
    let since = Filter { from: Some(one.occurred_at), ..Filter::default() };
    assert_eq!(count(since).await, 5);
    let until = Filter { to: Some(one.occurred_at), ..Filter::default() };
    assert_eq!(count(until).await, 2);
    assert!(query::one(&world.app, &other, ids[2]).await.unwrap().is_none());
}

/// A rare value is found however far back it lies, a bounded look at a time.
#[tokio::test]
async fn a_rare_value_is_looked_for_in_windows() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let rare = world.event(&context, 0).event_type(EventType::PermissionDenied);
    let rare_id = rare.event_id();
    let transaction = world.app.begin(&context).await.unwrap();
    store::append(&transaction, vec![rare]).await.unwrap();
    transaction.commit().await.unwrap();
    world.append(&context, 25).await;
    let filter = Filter { severity: Some(audit::Severity::High), ..Filter::default() };
    let (mut before, mut looks, mut found) = (None, 0, Vec::new());
    loop {
        let looked = query::look(&world.app, &context, &filter, before, 500, 10).await.unwrap();
        (looks, before) = (looks + 1, looked.until);
        found.extend(looked.events.iter().map(|event| event.event_id));
        if before.is_none() {
            break;
        }
    }
    assert_eq!((looks, found), (3, vec![rare_id]));
    // What an index leads to needs no window.
    let object = Filter { resource_id: Some(Uuid::from_u128(1)), ..Filter::default() };
    let looked = query::look(&world.app, &context, &object, None, 500, 10).await.unwrap();
    assert_eq!((looked.events.len(), looked.until), (2, None));
}

#[tokio::test]
async fn nobody_changes_or_removes_anything() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    world.append(&context, 3).await;
    world.sealer().drain().await.unwrap();
    world.append(&context, 1).await;
    let statements = [
        "UPDATE audit_log SET action = 'x'",
        "UPDATE audit_log SET record = '' WHERE false",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_inbox SET leaf_hash = ''",
        "TRUNCATE audit_inbox",
        "UPDATE audit_leaves SET leaf_hash = leaf_hash",
        "DELETE FROM audit_leaves",
        "TRUNCATE audit_leaves",
        "UPDATE audit_tree SET hash = hash",
        "DELETE FROM audit_tree",
        "TRUNCATE audit_tree",
        "UPDATE audit_checkpoints SET note = ''",
        "DELETE FROM audit_checkpoints",
        "TRUNCATE audit_checkpoints",
        "UPDATE audit_log_keys SET public_key = public_key || ''::bytea, key_name = 'x'",
        "DELETE FROM audit_log_keys",
        "TRUNCATE audit_log_keys",
    ];
    let roles =
        ["strongroom_owner", "strongroom_app", "strongroom_sealer", "strongroom_auditor", "", "r"];
    for role in roles {
        let client = match role {
            "" | "r" => world.superuser().await,
            _ => connect(&world.database.url_as(role)).await,
        };
        if role == "r" {
            client.batch_execute("SET session_replication_role = replica").await.unwrap();
        }
        let set = format!("SET app.current_tenant = '{}'", context.tenant_id());
        client.batch_execute(&set).await.unwrap();
        for statement in statements {
            let error = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(error.code().unwrap().code(), "42501", "{role}: {statement}: {error:?}");
        }
        if role != "strongroom_sealer" {
            let error = client.batch_execute("DELETE FROM audit_inbox").await.expect_err(role);
            assert_eq!(error.code().unwrap().code(), "42501", "{role}");
        }
    }
    assert_eq!(world.fault().await, None);
}

#[tokio::test]
async fn tenants_do_not_see_each_other_and_the_sealer_sees_no_record() {
    let world = World::new().await;
    let (context, other) = (world.tenant("north-bank").await, world.tenant("south-bank").await);
    let ids = world.append(&context, 2).await;
    world.sealer().drain().await.unwrap();
    assert_eq!(proof::inclusion(&world.app, &other, ids[0]).await.unwrap(), Inclusion::Unknown);
    assert!(proof::latest_checkpoint(&world.app, &other).await.unwrap().is_none());
    let foreign = world.event(&context, 1);
    let transaction = world.app.begin(&other).await.unwrap();
    assert!(store::append(&transaction, vec![foreign]).await.is_err());
    drop(transaction);
    let sealer = connect(&world.database.url_as("strongroom_sealer")).await;
    let error = sealer.query("SELECT record FROM audit_log", &[]).await.expect_err("no grant");
    assert_eq!(error.code().unwrap().code(), "42501");
    let app = connect(&world.database.url_as("strongroom_app")).await;
    let rows = app.query("SELECT 1 FROM audit_log", &[]).await.unwrap();
    assert!(rows.is_empty(), "without a tenant there are no rows");
}

/// What was done by a superuser with the triggers off, and what `verify` must say.
const TAMPERINGS: &[(&str, &str, &str)] = &[
    (
        "bytes edited",
        "UPDATE audit_log SET record = overlay(record PLACING 'x'::bytea FROM 20) \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 9)",
        "9 record_changed",
    ),
    (
        "column edited",
        "UPDATE audit_log SET action = 'account.read' \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 4)",
        "4 column_changed action",
    ),
    (
        "values edited",
        "UPDATE audit_log SET new_values = new_values || '{\"balance\": 1}' \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 5)",
        "5 column_changed new_values",
    ),
    (
        "time edited",
        "UPDATE audit_log SET occurred_at = occurred_at + interval '1 microsecond' \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 0)",
        "0 column_changed occurred_at",
    ),
    (
        "severity lowered",
        "UPDATE audit_log SET severity = 'low' \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 137)",
        "137 column_changed severity",
    ),
    (
        "time that no clock shows",
        "UPDATE audit_log SET occurred_at = 'infinity' \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 6)",
        "6 column_changed occurred_at",
    ),
    (
        "network in place of a host",
        "UPDATE audit_log SET ip_address = set_masklen(ip_address, 64) \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 10)",
        "10 column_changed ip_address",
    ),
    (
        "flag that is nothing",
        "UPDATE audit_log SET compliance_flags = ARRAY[NULL]::text[] \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 11)",
        "11 column_changed compliance_flags",
    ),
    (
        "number beyond any float",
        "UPDATE audit_log SET details = jsonb_build_object('number', 1e400) \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 12)",
        "12 column_changed details",
    ),
    (
        "record deleted",
        "DELETE FROM audit_log WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 7)",
        "7 record_missing",
    ),
    (
        "record and leaf deleted",
        "DELETE FROM audit_log WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 7); \
         DELETE FROM audit_leaves WHERE log_index = 7",
        "7 leaf_missing",
    ),
    ("last leaf deleted", "DELETE FROM audit_leaves WHERE log_index = 137", "- size_differs"),
    (
        "log cut off with its checkpoint",
        "DELETE FROM audit_leaves WHERE log_index >= 8; DELETE FROM audit_checkpoints WHERE tree_size > 8",
        "- node_count_wrong",
    ),
    (
        "record inserted",
        "INSERT INTO audit_log SELECT tenant_id, gen_random_uuid(), occurred_at, event_type, severity, result, \
         organization_id, user_id, session_id, resource_id, actor_kind, action, resource_type, ip_address, \
         user_agent, request_id, compliance_flags, old_values, new_values, details, record \
         FROM audit_log LIMIT 1",
        "- record_unqueued",
    ),
    (
        "two leaves swapped",
        "CREATE TEMP TABLE moved AS SELECT tenant_id, 5 - log_index AS log_index, event_id, leaf_hash \
         FROM audit_leaves WHERE log_index IN (2, 3); \
         DELETE FROM audit_leaves WHERE log_index IN (2, 3); \
         INSERT INTO audit_leaves SELECT * FROM moved",
        "0 root_differs",
    ),
    (
        "record rewritten with its leaf",
        "UPDATE audit_log SET action = 'x', record = convert_to(replace(convert_from(record, 'UTF8'), \
           '\"transfer.create\"', '\"x\"'), 'UTF8') \
         WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 3); \
         UPDATE audit_leaves SET leaf_hash = sha256('\\x00'::bytea || log.record) \
         FROM audit_log log WHERE log.event_id = audit_leaves.event_id AND log_index = 3",
        "0 root_differs",
    ),
    (
        "tree node edited",
        "UPDATE audit_tree SET hash = sha256(hash) WHERE level = 6 AND node_index = 1",
        "64 node_wrong",
    ),
    ("checkpoint removed", "DELETE FROM audit_checkpoints WHERE tree_size = 138", "- size_differs"),
    (
        "checkpoint root edited",
        "UPDATE audit_checkpoints SET root_hash = sha256(root_hash) WHERE tree_size = 8",
        "0 checkpoint_bad",
    ),
    (
        "note forged",
        "UPDATE audit_checkpoints SET note = replace(note, E'\\n8\\n', E'\\n9\\n') WHERE tree_size = 8",
        "0 checkpoint_bad",
    ),
    (
        "inbox hash edited",
        "INSERT INTO audit_inbox SELECT tenant_id, event_id, sha256(leaf_hash) FROM audit_leaves WHERE log_index = 1",
        "- record_changed",
    ),
    (
        "sealed record queued again",
        "INSERT INTO audit_inbox SELECT tenant_id, event_id, leaf_hash FROM audit_leaves WHERE log_index = 1",
        "- sealed_twice",
    ),
];

const TABLES: [&str; 5] =
    ["audit_log", "audit_inbox", "audit_leaves", "audit_tree", "audit_checkpoints"];

#[tokio::test]
async fn every_tampering_is_found_and_named() {
    let (world, context) = world_with_two_checkpoints().await;
    let earlier = proof::checkpoint(&world.app, &context, 8).await.unwrap().unwrap().note;
    assert_eq!(world.fault().await, None, "before");
    let superuser = world.superuser().await;
    for table in TABLES {
        let save = format!(
            "ALTER TABLE {table} DISABLE TRIGGER ALL; CREATE TEMP TABLE saved_{table} AS TABLE {table}"
        );
        superuser.batch_execute(&save).await.unwrap();
    }
    for (name, sql, expected) in TAMPERINGS {
        superuser.batch_execute(sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let fault = world.fault().await.unwrap_or_else(|| panic!("{name}: not found"));
        assert_eq!(summary(&fault), *expected, "{name}: {fault:?}");
        for table in TABLES {
            let restore = format!("DELETE FROM {table}; INSERT INTO {table} TABLE saved_{table}");
            superuser.batch_execute(&restore).await.unwrap();
        }
        assert_eq!(world.fault().await, None, "{name}: restored");
    }
    // Everything rolled back to nothing: only a checkpoint kept elsewhere tells.
    for table in TABLES {
        superuser.batch_execute(&format!("DELETE FROM {table}")).await.unwrap();
    }
    assert_eq!(world.fault().await, None);
    let options = Options { known_checkpoints: vec![earlier], ..Options::default() };
    let reports = verify(&superuser, &options, &mut |_| {}).await.unwrap();
    assert_eq!(summary(reports[0].fault.as_ref().unwrap()), "- rolled_back");
}

#[tokio::test]
async fn a_log_is_held_against_checkpoints_kept_elsewhere() {
    let (world, context) = world_with_two_checkpoints().await;
    let client = world.superuser().await;
    let mut known = Vec::new();
    for point in proof::checkpoints(&world.app, &context, None, 10).await.unwrap() {
        known.push(point.note);
    }
    let good = Options { known_checkpoints: known.clone(), ..Options::default() };
    assert_eq!(verify(&client, &good, &mut |_| {}).await.unwrap()[0].fault, None);
    let forged = known[0].replace("\n138\n", "\n137\n");
    let bad = Options { known_checkpoints: vec![forged], ..Options::default() };
    let reports = verify(&client, &bad, &mut |_| {}).await.unwrap();
    assert_eq!(summary(reports[0].fault.as_ref().unwrap()), "- known_checkpoint_bad");
}

async fn world_with_two_checkpoints() -> (World, OpContext) {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let sealer = world.sealer();
    for count in [8, 130] {
        world.append(&context, count).await;
        sealer.drain().await.unwrap();
    }
    (world, context)
}

fn summary(fault: &Fault) -> String {
    let index = fault.log_index.map_or("-".to_owned(), |index| index.to_string());
    let kind = serde_json::to_value(&fault.kind).unwrap();
    let words = [Some(index.as_str()), kind["fault"].as_str(), kind["column"].as_str()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_sealers_number_every_record_once() {
    let world = Arc::new(World::new().await);
    let contexts = [world.tenant("north-bank").await, world.tenant("south-bank").await];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_usize {
        let (world, context) = (Arc::clone(&world), contexts[writer % 2].clone());
        writers.spawn(async move {
            for _ in 0..20 {
                world.append(&context, 3).await;
            }
        });
    }
    let mut sealers = tokio::task::JoinSet::new();
    let stop = tokio_util::sync::CancellationToken::new();
    for _ in 0..2 {
        let (sealer, stop) = (world.sealer().with_batch_rows(37), stop.clone());
        sealers.spawn(async move { sealer.run(stop).await });
    }
    while writers.join_next().await.transpose().unwrap().is_some() {}
    stop.cancel();
    while sealers.join_next().await.transpose().unwrap().is_some() {}
    world.sealer().drain().await.unwrap();
    let reports = world.verify().await;
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!((report.sealed, report.waiting, report.fault), (240, 0, None));
    }
}

#[tokio::test]
async fn a_late_committer_gets_a_later_index() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let late = world.event(&context, 0);
    let late_id = late.event_id();
    let transaction = world.app.begin(&context).await.unwrap();
    store::append(&transaction, vec![late]).await.unwrap();
    let early = world.append(&context, 2).await;
    let sealer = world.sealer();
    sealer.measure().await.unwrap();
    assert_eq!(sealer.drain().await.unwrap(), 2);
    sealer.measure().await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(sealer.drain().await.unwrap(), 1);
    let index = |id| {
        let (app, context) = (&world.app, &context);
        async move { query::one(app, context, id).await.unwrap().unwrap().log_index }
    };
    assert!(late_id < early[0]);
    assert_eq!((index(early[0]).await, index(late_id).await), (Some(0), Some(2)));
    assert_eq!(world.fault().await, None);
}

#[tokio::test]
async fn a_rolled_back_change_leaves_no_record() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let transaction = world.app.begin(&context).await.unwrap();
    store::append(&transaction, vec![world.event(&context, 0)]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(world.sealer().drain().await.unwrap(), 0);
    let fraction = world.event(&context, 1).details(json!({ "rate": 0.5 }));
    let transaction = world.app.begin(&context).await.unwrap();
    assert!(store::append(&transaction, vec![fraction]).await.is_err());
}

#[tokio::test]
async fn a_tenant_with_a_broken_log_is_set_aside_and_the_others_go_on() {
    let world = World::new().await;
    let (broken, whole) = (world.tenant("north-bank").await, world.tenant("south-bank").await);
    let sealer = world.sealer();
    for context in [&broken, &whole] {
        world.append(context, 3).await;
    }
    sealer.drain().await.unwrap();
    let superuser = world.superuser().await;
    let cut = format!(
        "ALTER TABLE audit_leaves DISABLE TRIGGER ALL; \
         DELETE FROM audit_leaves WHERE tenant_id = '{}' AND log_index = 2",
        broken.tenant_id()
    );
    superuser.batch_execute(&cut).await.unwrap();
    for context in [&broken, &whole] {
        world.append(context, 2).await;
    }
    assert_eq!(sealer.drain().await.unwrap(), 2);
    let quarantined = sealer.quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].0, broken.tenant_id());
    let reports = world.verify().await;
    let fault_of =
        |slug: &str| reports.iter().find(|report| report.tenant == slug).unwrap().fault.clone();
    assert_eq!(fault_of("south-bank"), None);
    assert!(matches!(fault_of("north-bank").unwrap().kind, FaultKind::SizeDiffers { .. }));
}

#[tokio::test]
async fn records_written_in_sql_are_sealed_and_verify() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let transaction = world.app.begin(&context).await.unwrap();
    transaction
        .query(
            "SELECT audit_append('job_run', 'low', 'session.cleanup', 'session', NULL, 'success', \
             NULL, '{\"a\": null, \"b\": [1, {\"c\": \"é\"}]}', '{\"removed\": 3}')",
            &[],
        )
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(world.sealer().drain().await.unwrap(), 1);
    assert_eq!(world.fault().await, None);
    let listed = query::list(&world.app, &context, &Filter::default(), None, 10).await.unwrap();
    assert_eq!(listed[0].occurred_at, world.clock.now());
    assert_eq!(listed[0].event_id.get_version_num(), 7);
}

#[tokio::test]
async fn the_database_knows_the_same_event_types() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let rows = superuser
        .query("SELECT unnest(enum_range(NULL::audit_event_type))::text", &[])
        .await
        .unwrap();
    let mut stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut ours: Vec<_> = EventType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    stored.sort();
    ours.sort();
    assert_eq!(stored, ours);
}

#[tokio::test]
async fn filters_by_user_resource_and_time_use_an_index() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let superuser = world.superuser().await;
    // Enough rows of many users that a scan of the tenant would be the wrong plan.
    let fill = format!(
        "INSERT INTO audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, user_id, \
         resource_id, actor_kind, action, resource_type, record) \
         SELECT '{}', lpad(to_hex(n), 32, '0')::uuid, now(), 'data_access', 'low', 'success', \
         md5((n % 500)::text)::uuid, md5((n % 900)::text)::uuid, 'user', 'account.read', 'account', '' \
         FROM generate_series(1, 20000) n; ANALYZE audit_log",
        context.tenant_id()
    );
    superuser.batch_execute(&fill).await.unwrap();
    let app = connect(&world.database.url_as("strongroom_app")).await;
    let set = format!("SET app.current_tenant = '{}'", context.tenant_id());
    app.batch_execute(&set).await.unwrap();
    let list = tenancy::sql::section(include_str!("../../../../queries/audit/log.sql"), "list");
    let cases = [
        (2, "_rest_pkey"),
        (4, "_rest_tenant_id_user_id_event_id_idx"),
        (10, "_rest_tenant_id_resource_id_event_id_idx"),
    ];
    for (parameter, index) in cases {
        let mut statement = list.to_owned();
        for number in (1..=18).rev() {
            let value = match number {
                1 => format!("'{}'", context.tenant_id()),
                18 => "50".to_owned(),
                _ if number == parameter => format!("'{}'", Uuid::from_u128(10_000)),
                _ => "NULL".to_owned(),
            };
            statement = statement.replace(&format!("${number}"), &value);
        }
        let plan = app.query(&format!("EXPLAIN {statement}"), &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        let is_indexed =
            plan.contains(index) && !plan.contains("Seq Scan on audit_log_access_rest");
        assert!(is_indexed, "{plan}");
    }
}
