//! What a verification says of logs that were mixed with another tenant's, signed with
//! another key, or changed where no record contradicts itself.

use audit::keys::log_name;
use audit::note::LogSigner;
use audit::verify::logs_without_report;

use super::*;

/// What a superuser did with the triggers off, `$N` and `$S` being the two tenants, and
/// what is said of each.
const MIXTURES: &[(&str, &str, &str, &str)] = &[
    (
        "records",
        "UPDATE audit_log here SET record = there.record FROM audit_log there \
         WHERE here.event_id IN (SELECT event_id FROM audit_leaves WHERE log_index = 3) \
           AND there.event_id IN (SELECT event_id FROM audit_leaves WHERE log_index = 3) \
           AND there.tenant_id <> here.tenant_id",
        "3 record_changed",
        "3 record_changed",
    ),
    (
        "leaves",
        "CREATE TEMP TABLE moved AS SELECT * FROM audit_leaves WHERE log_index = 3; \
         DELETE FROM audit_leaves WHERE log_index = 3; \
         INSERT INTO audit_leaves SELECT CASE tenant_id WHEN $N THEN $S ELSE $N END, log_index, event_id, \
           leaf_hash FROM moved; DROP TABLE moved",
        "3 record_missing",
        "3 record_missing",
    ),
    (
        "rows with their leaves, under the other tenant",
        "CREATE TEMP TABLE moved AS SELECT * FROM audit_leaves WHERE log_index = 3; \
         UPDATE audit_log SET tenant_id = CASE tenant_id WHEN $N THEN $S ELSE $N END \
         WHERE event_id IN (SELECT event_id FROM moved); \
         DELETE FROM audit_leaves WHERE log_index = 3; \
         INSERT INTO audit_leaves SELECT CASE tenant_id WHEN $N THEN $S ELSE $N END, log_index, event_id, \
           leaf_hash FROM moved; DROP TABLE moved",
        "3 record_foreign",
        "3 record_foreign",
    ),
    (
        "rows under the other tenant, who stands in their bytes and leaves as well",
        "UPDATE audit_log SET tenant_id = CASE tenant_id WHEN $N THEN $S ELSE $N END, \
           record = convert_to(replace(convert_from(record, 'UTF8'), tenant_id::text, \
             (CASE tenant_id WHEN $N THEN $S ELSE $N END)::text), 'UTF8') \
         WHERE event_id IN (SELECT event_id FROM audit_leaves WHERE log_index = 130); \
         CREATE TEMP TABLE moved AS SELECT * FROM audit_leaves WHERE log_index = 130; \
         DELETE FROM audit_leaves WHERE log_index = 130; \
         INSERT INTO audit_leaves SELECT log.tenant_id, 130, log.event_id, sha256('\\x00'::bytea || log.record) \
           FROM audit_log log WHERE log.event_id IN (SELECT event_id FROM moved); DROP TABLE moved",
        "8 root_differs",
        "8 root_differs",
    ),
    (
        "notes",
        "UPDATE audit_checkpoints here SET note = there.note FROM audit_checkpoints there \
         WHERE here.tree_size = 8 AND there.tree_size = 8 AND here.tenant_id <> there.tenant_id",
        "0 checkpoint_bad",
        "0 checkpoint_bad",
    ),
    (
        "a key",
        "UPDATE audit_log_keys SET key_name = (SELECT key_name FROM audit_log_keys WHERE tenant_id = $S), \
           public_key = (SELECT public_key FROM audit_log_keys WHERE tenant_id = $S) WHERE tenant_id = $N",
        "- key_of_another_log",
        "none",
    ),
];

const MIXED: [&str; 4] = ["audit_log", "audit_leaves", "audit_checkpoints", "audit_log_keys"];

#[tokio::test]
async fn what_was_swapped_between_tenants_is_found_in_both() {
    let (world, north) = world_with_two_checkpoints().await;
    let south = world.tenant("south-bank").await;
    for count in [8, 130] {
        world.append(&south, count).await;
        world.sealer().drain().await.unwrap();
    }
    let superuser = world.superuser().await;
    for table in MIXED {
        let save = format!(
            "ALTER TABLE {table} DISABLE TRIGGER ALL; CREATE TEMP TABLE saved_{table} AS TABLE {table}"
        );
        superuser.batch_execute(&save).await.unwrap();
    }
    for (name, sql, in_north, in_south) in MIXTURES {
        let sql = sql
            .replace("$N", &format!("'{}'::uuid", north.tenant_id()))
            .replace("$S", &format!("'{}'::uuid", south.tenant_id()));
        superuser.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(faults(&world.verify().await), [*in_north, *in_south], "{name}");
        for table in MIXED {
            let restore = format!("DELETE FROM {table}; INSERT INTO {table} TABLE saved_{table}");
            superuser.batch_execute(&restore).await.unwrap();
        }
        assert_eq!(faults(&world.verify().await), ["none", "none"], "{name}: restored");
    }
}

/// Behind the last whole subtree that is stored: a stored node would be found wrong first.
#[tokio::test]
async fn a_root_that_differs_tells_the_records_since_the_last_good_one() {
    let (world, context) = world_with_two_checkpoints().await;
    let superuser = world.superuser().await;
    let rewrite = "ALTER TABLE audit_leaves DISABLE TRIGGER ALL; \
        ALTER TABLE audit_log DISABLE TRIGGER ALL; \
        UPDATE audit_log SET action = 'x', record = convert_to(replace(convert_from(record, 'UTF8'), \
          '\"transfer.create\"', '\"x\"'), 'UTF8') \
        WHERE event_id = (SELECT event_id FROM audit_leaves WHERE log_index = 130); \
        UPDATE audit_leaves SET leaf_hash = sha256('\\x00'::bytea || log.record) \
        FROM audit_log log WHERE log.event_id = audit_leaves.event_id AND log_index = 130";
    superuser.batch_execute(rewrite).await.unwrap();
    let first = "SELECT event_id FROM audit_leaves WHERE tenant_id = $1 AND log_index = 8";
    let first: Uuid =
        superuser.query_one(first, &[&context.tenant_id()]).await.unwrap().get("event_id");
    let fault = world.fault().await.unwrap();
    assert_eq!((fault.event_id, fault.log_index), (Some(first), Some(8)));
    assert_eq!(fault.kind, FaultKind::RootDiffers { tree_size: 138, after: 8 });
    assert!(fault.kind.to_string().contains("of the records 8 to 137"), "{}", fault.kind);
}

/// Whoever owns the database stores a key of their own and signs all anew: only a key
/// from elsewhere tells.
#[tokio::test]
async fn a_log_signed_anew_with_another_key_is_found_by_the_key_kept_elsewhere() {
    let (world, context) = world_with_two_checkpoints().await;
    let kept = proof::verifier_keys(&world.app, &context).await.unwrap();
    let superuser = world.superuser().await;
    let name = log_name(context.tenant_id());
    let forger = vault::NoteSigner::generate();
    let public_key = forger.public_key();
    let forger = LogSigner::new(&name, forger).unwrap();
    superuser
        .batch_execute(
            "ALTER TABLE audit_checkpoints DISABLE TRIGGER ALL; \
             ALTER TABLE audit_log_keys DISABLE TRIGGER ALL",
        )
        .await
        .unwrap();
    for point in proof::checkpoints(&world.app, &context, None, 10).await.unwrap() {
        let (origin, size, root) = (name.clone(), point.tree_size, point.root_hash);
        let note = Checkpoint { origin, size, root, extensions: Vec::new() }.sign(&forger).unwrap();
        let size = i64::try_from(size).unwrap();
        let update = "UPDATE audit_checkpoints SET note = $1 WHERE tree_size = $2";
        superuser.execute(update, &[&note, &size]).await.unwrap();
    }
    let update = "UPDATE audit_log_keys SET public_key = $1";
    superuser.execute(update, &[&public_key.as_slice()]).await.unwrap();
    assert_eq!(world.fault().await, None, "it is signed by the key that is stored");
    let options = Options { trusted_keys: kept, ..Options::default() };
    let reports = verify(&superuser, &options, &mut |_| {}).await.unwrap();
    assert_eq!(faults(&reports), ["0 checkpoint_bad"]);
}

#[tokio::test]
async fn a_checkpoint_or_key_of_no_log_is_told() {
    let (world, context) = world_with_two_checkpoints().await;
    let note = proof::checkpoint(&world.app, &context, 8).await.unwrap().unwrap().note;
    let keys = proof::verifier_keys(&world.app, &context).await.unwrap();
    let superuser = world.superuser().await;
    let options =
        Options { known_checkpoints: vec![note], trusted_keys: keys, ..Options::default() };
    let reports = verify(&superuser, &options, &mut |_| {}).await.unwrap();
    assert_eq!(faults(&reports), ["none"]);
    assert_eq!(logs_without_report(&reports, &options), Vec::<String>::new());
    let gone = log_name(Uuid::from_u128(1));
    let signer = LogSigner::new(&gone, vault::NoteSigner::generate()).unwrap();
    let stranger = Checkpoint { origin: gone.clone(), size: 1, root: [1; 32], extensions: vec![] };
    let stranger = stranger.sign(&signer).unwrap();
    let key = signer.verifier().unwrap();
    for (known_checkpoints, trusted_keys) in [(vec![stranger], vec![]), (vec![], vec![key])] {
        let options = Options { known_checkpoints, trusted_keys, ..Options::default() };
        let reports = verify(&superuser, &options, &mut |_| {}).await.unwrap();
        assert_eq!(faults(&reports), ["none"]);
        assert_eq!(logs_without_report(&reports, &options), [gone.as_str()]);
    }
    let nobody = Options { tenant: Some("nobody".to_owned()), ..options };
    let reports = verify(&superuser, &nobody, &mut |_| {}).await.unwrap();
    assert_eq!(logs_without_report(&reports, &nobody), [log_name(context.tenant_id())]);
}

/// In the order of the slugs.
fn faults(reports: &[TenantReport]) -> Vec<String> {
    let told = |report: &TenantReport| report.fault.as_ref().map_or("none".to_owned(), summary);
    reports.iter().map(told).collect()
}
