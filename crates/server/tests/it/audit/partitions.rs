//! The log in partitions: each type of event in those of its class, each month in its own,
//! every one of them closed to changes, and one tree over all.

use audit::{
    RetentionClass, partitions,
    retire::{self, RetireError},
};
use tenancy::migrate::Migrator;

use super::*;

async fn column(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

impl World {
    /// A record of that type, at what the clock says.
    async fn append_one(&self, context: &OpContext, kind: EventType) -> Uuid {
        let event = AuditEvent::new(&event_context(context), kind, "toy.act", "toy");
        let id = event.event_id();
        let transaction = self.app.begin(context).await.unwrap();
        store::append(&transaction, vec![event]).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }
}

#[tokio::test]
async fn each_type_stands_in_the_partitions_of_its_class() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let superuser = world.superuser().await;
    for kind in EventType::ALL {
        let id = world.append_one(&context, *kind).await;
        let sql = "SELECT tableoid::regclass::text FROM audit_log WHERE event_id = $1";
        let table: String = superuser.query_one(sql, &[&id]).await.unwrap().get(0);
        assert_eq!(
            table,
            format!("audit_log_{}_rest", kind.retention_class().as_str()),
            "{kind:?}"
        );
    }
    world.sealer().drain().await.unwrap();
    assert_eq!(world.fault().await, None, "one tree over all of them");
}

#[tokio::test]
async fn nobody_changes_or_reads_a_partition_by_its_name() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    world.append(&context, 3).await;
    let superuser = world.superuser().await;
    let tree = "SELECT relid::regclass::text FROM pg_partition_tree('audit_log') WHERE level > 0";
    let tables = column(&superuser, tree).await;
    assert_eq!(tables.len(), 3 * (1 + 1 + 3), "{tables:?}");
    for role in
        ["strongroom_owner", "strongroom_app", "strongroom_sealer", "strongroom_auditor", "r"]
    {
        let client = match role {
            "r" => world.superuser().await,
            _ => connect(&world.database.url_as(role)).await,
        };
        if role == "r" {
            client.batch_execute("SET session_replication_role = replica").await.unwrap();
        }
        let set = format!("SET app.current_tenant = '{}'", context.tenant_id());
        client.batch_execute(&set).await.unwrap();
        for table in &tables {
            for statement in [
                format!("UPDATE {table} SET action = 'x'"),
                format!("DELETE FROM {table} WHERE false"),
                format!("TRUNCATE {table}"),
            ] {
                let error = client.batch_execute(&statement).await.expect_err(&statement);
                assert_eq!(error.code().unwrap().code(), "42501", "{role}: {statement}: {error:?}");
            }
            if !matches!(role, "r" | "strongroom_owner") {
                let statement = format!("SELECT 1 FROM {table}");
                let error = client.batch_execute(&statement).await.expect_err(&statement);
                assert_eq!(error.code().unwrap().code(), "42501", "{role}: {statement}: {error:?}");
            }
        }
    }
    // Who owns them sees through row security as everybody does.
    let owner = connect(&world.database.url_as("strongroom_owner")).await;
    for table in &tables {
        assert!(column(&owner, &format!("SELECT action FROM {table}")).await.is_empty(), "{table}");
    }
}

#[tokio::test]
async fn months_are_made_ahead_and_once_however_many_nodes_ask() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    // As an installation that stood still for two months.
    for class in RetentionClass::ALL {
        for ahead in [1, 2] {
            let drop = format!(
                "DO $$ BEGIN EXECUTE 'DROP TABLE audit_log_{}_' || to_char((now() AT TIME ZONE 'UTC') \
                 + interval '{ahead} months', 'YYYY_MM'); END $$",
                class.as_str()
            );
            superuser.batch_execute(&drop).await.unwrap();
        }
    }
    let asked = futures_util::future::join_all((0..8).map(|_| partitions::make_ahead(&world.app)));
    let made: Vec<i32> = asked.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().sum::<i32>(), 6, "{made:?}");
    assert_eq!(partitions::make_ahead(&world.app).await.unwrap(), 0);
    // Each month's bounds meet the next one's, to the millisecond, in UTC.
    let sql = "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class c \
        WHERE c.relname ~ '^audit_log_security_\\d' AND c.relkind = 'r' ORDER BY c.relname";
    let bounds = column(&superuser, sql).await;
    assert_eq!(bounds.len(), 3);
    let end = |bound: &str| bound.split(" TO ").nth(1).unwrap().to_owned();
    let begin = |bound: &str| {
        bound.split(" TO ").next().unwrap().trim_start_matches("FOR VALUES FROM ").to_owned()
    };
    assert!(bounds.windows(2).all(|pair| end(&pair[0]) == begin(&pair[1])), "{bounds:?}");
    // The app asks for months, and makes no tables.
    let app = connect(&world.database.url_as("strongroom_app")).await;
    for statement in [
        "SELECT make_audit_partitions(13)",
        "SELECT make_audit_partitions(-1)",
        "SELECT make_audit_partition('security', '2020-01-01')",
        "CALL secure_audit_partition('users')",
    ] {
        assert!(app.batch_execute(statement).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn records_stand_in_their_month_and_one_is_found_without_asking_the_others() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    let superuser = world.superuser().await;
    let old = world.append_one(&context, EventType::DataAccess).await;
    let now = Clock::System.now();
    world.clock.advance(now.duration_since(world.clock.now()));
    let new = world.append_one(&context, EventType::DataAccess).await;
    let place = "SELECT tableoid::regclass::text FROM audit_log WHERE event_id = $1";
    let placed =
        async |id: Uuid| -> String { superuser.query_one(place, &[&id]).await.unwrap().get(0) };
    assert_eq!(placed(old).await, "audit_log_access_rest");
    assert_eq!(placed(new).await, format!("audit_log_access_{}", now.strftime("%Y_%m")));
    let app = connect(&world.database.url_as("strongroom_app")).await;
    app.batch_execute(&format!("SET app.current_tenant = '{}'", context.tenant_id()))
        .await
        .unwrap();
    let explain = format!(
        "EXPLAIN SELECT record FROM audit_log WHERE tenant_id = '{}' AND event_id = '{new}'",
        context.tenant_id()
    );
    let plan = column(&app, &explain).await.join("\n");
    assert_eq!(plan.matches("Index Scan").count(), 3, "one partition a class: {plan}");
    let filter = Filter { from: Some(now), ..Filter::default() };
    let found = query::list(&world.app, &context, &filter, None, 10).await.unwrap();
    assert_eq!(found.iter().map(|event| event.event_id).collect::<Vec<_>>(), [new]);
    let all = query::list(&world.app, &context, &Filter::default(), None, 10).await.unwrap();
    assert_eq!(all.iter().map(|event| event.event_id).collect::<Vec<_>>(), [new, old]);
}

#[tokio::test]
async fn a_log_is_taken_into_partitions_and_back_to_the_byte() {
    let world = World::new().await;
    let context = world.tenant("north-bank").await;
    world.append(&context, 40).await;
    let later = Clock::System.now().duration_since(world.clock.now());
    world.clock.advance(later);
    world.append_one(&context, EventType::DataAccess).await;
    world.append_one(&context, EventType::JobRun).await;
    world.sealer().drain().await.unwrap();
    let superuser = world.superuser().await;
    let all =
        "SELECT log::text FROM audit_log log WHERE action NOT LIKE 'migration.%' ORDER BY event_id";
    let before = column(&superuser, all).await;
    assert_eq!(before.len(), 42);
    let migrator = Migrator::embedded();
    let mut owner = connect(&world.database.url_as("strongroom_owner")).await;
    let known = migrator.status(&owner).await.unwrap();
    let steps = known.iter().rev().position(|one| one.name == "audit_partitions").unwrap() + 1;
    let steps = u32::try_from(steps).unwrap();
    migrator.down(&mut owner, steps).await.unwrap();
    assert_eq!(column(&superuser, all).await, before);
    let kind = "SELECT relkind::text FROM pg_class WHERE relname = 'audit_log'";
    assert_eq!(column(&superuser, kind).await, ["r"]);
    migrator.up(&mut owner, None).await.unwrap();
    assert_eq!(column(&superuser, kind).await, ["p"]);
    assert_eq!(column(&superuser, all).await, before);
    let months = "SELECT relname::text FROM pg_class WHERE relname = 'audit_log_security_2026_03'";
    assert_eq!(column(&superuser, months).await.len(), 1, "past months have theirs, too");
    world.sealer().drain().await.unwrap();
    assert_eq!(world.fault().await, None);
}

impl World {
    /// As installations that are that old: a month of each class had its partition in time.
    async fn month(&self, month: &str) {
        let superuser = self.superuser().await;
        for class in RetentionClass::ALL {
            let make = format!(
                "SET ROLE strongroom_owner; SELECT make_audit_partition('{}', '{month}-01')",
                class.as_str()
            );
            superuser.batch_execute(&make).await.unwrap();
        }
    }

    async fn retire(&self, reason: Option<&str>) -> Result<Vec<retire::Retired>, RetireError> {
        let mut owner = connect(&self.database.url_as("strongroom_owner")).await;
        let before = "2026-05-01".parse().unwrap();
        retire::retire(&mut owner, RetentionClass::Access, before, reason).await
    }

    /// The log in a file, and what is said of it without a database.
    async fn file_fault(&self, slug: &str) -> Option<Fault> {
        let (client, mut file) = (self.superuser().await, Vec::new());
        audit::export::export(&client, slug, &mut file, &mut |_, _| {}).await.unwrap();
        let trusted = audit::offline::Trusted::default();
        audit::offline::verify_export(file.as_slice(), &trusted).unwrap().fault
    }
}

/// A log whose every third record was a read in March, and one of April; two tenants.
async fn of_march() -> (World, [OpContext; 2]) {
    let world = World::new().await;
    world.month("2026-03").await;
    let contexts = [world.tenant("north-bank").await, world.tenant("south-bank").await];
    for round in 0..9 {
        for context in &contexts {
            let kind = if round % 3 == 0 { EventType::DataAccess } else { EventType::Login };
            world.append_one(context, kind).await;
        }
        world.sealer().drain().await.unwrap();
    }
    world.clock.advance(SignedDuration::from_hours(24 * 35));
    world.append_one(&contexts[0], EventType::DataAccess).await;
    world.sealer().drain().await.unwrap();
    (world, contexts)
}

#[tokio::test]
async fn a_month_goes_when_each_log_has_said_so_and_every_proof_is_as_it_was() {
    let (world, [north, south]) = of_march().await;
    let before = proof::latest_checkpoint(&world.app, &north).await.unwrap().unwrap();
    let all = query::list(&world.app, &north, &Filter::default(), None, 20).await.unwrap();
    let told = world.retire(None).await.unwrap();
    assert_eq!(told.iter().map(|one| one.records).collect::<Vec<_>>(), [3, 3], "{told:?}");
    assert_eq!(query::list(&world.app, &north, &Filter::default(), None, 20).await.unwrap(), all);
    assert_eq!(world.retire(Some("Three years are over")).await.unwrap(), told);
    let left = query::list(&world.app, &north, &Filter::default(), None, 20).await.unwrap();
    assert_eq!(left.len(), all.len() - 3 + 1, "and the record that says so");
    assert_eq!(left[0].action, "audit.drop");
    assert_eq!(left[0].details.as_ref().unwrap()["records"], 3);
    // Before and after the record itself is sealed.
    assert_eq!((world.fault().await, world.retire(Some("again")).await.unwrap()), (None, vec![]));
    world.sealer().drain().await.unwrap();
    assert_eq!(world.fault().await, None);
    for slug in ["north-bank", "south-bank"] {
        assert_eq!(world.file_fault(slug).await, None, "{slug}");
    }
    // What is left is proven as before, and the log extends what was signed before.
    let options = Options { known_checkpoints: vec![before.note], ..Options::default() };
    let reports = verify(&world.superuser().await, &options, &mut |_| {}).await.unwrap();
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:?}");
    for event in &left {
        let Inclusion::Proven(proven) =
            proof::inclusion(&world.app, &north, event.event_id).await.unwrap()
        else {
            panic!("{event:?}");
        };
        let checkpoint = &proven.checkpoint;
        verify_inclusion(
            &proven.leaf_hash,
            proven.log_index,
            checkpoint.tree_size,
            &proven.hashes,
            &checkpoint.root_hash,
        )
        .unwrap();
    }
    assert!(
        query::list(&world.app, &south, &Filter::default(), None, 20).await.unwrap().len() == 7
    );
}

#[tokio::test]
async fn nothing_goes_that_is_not_sealed_or_not_as_it_was_sealed() {
    let (world, [north, _]) = of_march().await;
    let superuser = world.superuser().await;
    let role = "SET session_replication_role = replica; ALTER TABLE audit_log DISABLE TRIGGER ALL";
    superuser.batch_execute(role).await.unwrap();
    let change = "UPDATE audit_log SET record = record || ' '::bytea WHERE event_type = 'data_access' \
        AND tenant_id = $1 AND event_id = (SELECT event_id FROM audit_leaves WHERE tenant_id = $1 AND log_index = 3)";
    assert_eq!(superuser.execute(change, &[&north.tenant_id()]).await.unwrap(), 1);
    let refused = world.retire(Some("to hide it")).await.unwrap_err();
    assert!(matches!(refused, RetireError::Changed { log_index: 3, .. }), "{refused:?}");
    let heal =
        change.replace("record || ' '::bytea", "substring(record FROM 1 FOR length(record) - 1)");
    assert_eq!(superuser.execute(&heal, &[&north.tenant_id()]).await.unwrap(), 1);
    world.clock.advance(SignedDuration::from_hours(-24 * 35));
    world.append_one(&north, EventType::DataAccess).await;
    let refused = world.retire(Some("too early")).await.unwrap_err();
    assert!(matches!(refused, RetireError::Unsealed { .. }), "{refused:?}");
    world.sealer().drain().await.unwrap();
    assert_eq!(world.fault().await, None);
    assert_eq!(world.retire(Some("now")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_nobody_declared_is_missed_and_a_drop_covers_nothing_else() {
    let (world, [north, _]) = of_march().await;
    let superuser = world.superuser().await;
    let tenant = north.tenant_id();
    // The partition taken away without a word.
    let aside = "SET ROLE strongroom_owner; \
        ALTER TABLE audit_log_access DETACH PARTITION audit_log_access_2026_03; RESET ROLE";
    superuser.batch_execute(aside).await.unwrap();
    let fault = world.fault().await.unwrap();
    assert_eq!(summary(&fault), "0 record_missing");
    // Said to be dropped by a record that declares nothing, or that is not there.
    let any: Uuid = superuser
        .query_one("SELECT event_id FROM audit_log WHERE tenant_id = $1 LIMIT 1", &[&tenant])
        .await
        .unwrap()
        .get(0);
    for drop in [any, Uuid::from_u128(9)] {
        let claim = format!(
            "SET session_replication_role = replica; ALTER TABLE audit_dropped DISABLE TRIGGER ALL; \
             DELETE FROM audit_dropped; INSERT INTO audit_dropped (tenant_id, first_index, last_index, drop_id) \
             SELECT tenant_id, log_index, log_index, '{drop}' FROM audit_leaves WHERE log_index IN (0, 3, 6)"
        );
        superuser.batch_execute(&claim).await.unwrap();
        assert_eq!(summary(&world.fault().await.unwrap()), "0 records_dropped");
        assert_eq!(summary(&world.file_fault("north-bank").await.unwrap()), "0 records_dropped");
    }
    superuser
        .batch_execute(
            "DELETE FROM audit_dropped; SET ROLE strongroom_owner; \
             DO $$ BEGIN EXECUTE format('ALTER TABLE audit_log_access ATTACH PARTITION audit_log_access_2026_03 \
             FOR VALUES FROM (%L) TO (%L)', event_id_at('2026-03-01Z'), event_id_at('2026-04-01Z')); END $$; RESET ROLE",
        )
        .await
        .unwrap();
    assert_eq!(world.fault().await, None);
    // A true drop, stretched over one record more.
    world.retire(Some("Three years are over")).await.unwrap();
    world.sealer().drain().await.unwrap();
    let stretch = "ALTER TABLE audit_log DISABLE TRIGGER ALL; \
        DELETE FROM audit_log WHERE event_id IN (SELECT event_id FROM audit_leaves WHERE log_index = 4); \
        UPDATE audit_dropped SET last_index = 4 WHERE first_index = 3";
    superuser.batch_execute(stretch).await.unwrap();
    assert_eq!(summary(&world.fault().await.unwrap()), "0 records_dropped");
    assert_eq!(summary(&world.file_fault("south-bank").await.unwrap()), "0 records_dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_drops_only_what_is_old_enough_and_says_why() {
    let world = World::new().await;
    world.month("2019-03").await;
    let context = world.tenant("north-bank").await;
    let years: SignedDuration =
        "2019-03-10T12:00:00Z".parse::<Timestamp>().unwrap().duration_since(world.clock.now());
    world.clock.advance(years);
    world.append_one(&context, EventType::DataAccess).await;
    world.append_one(&context, EventType::Login).await;
    world.sealer().drain().await.unwrap();
    world.clock.advance(-years);
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = crate::cli::strongroom(folder.path());
        command.env("DATABASE_URL", world.database.superuser_url());
        command.env("ENCRYPTION_KEY", "07".repeat(32));
        let output = command.args(["audit", "drop", "-o", "json"]).args(words).output().unwrap();
        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        (output.status.code(), text.concat())
    };
    for (words, part) in [
        (&["--class", "access", "--before", "2999-01"][..], "are kept 3 years"),
        (&["--class", "security", "--before", "2023-01"], "are kept 7 years"),
        (&["--class", "access", "--before", "March"], "--before March"),
        (&["--class", "access", "--reason", " "], "--reason"),
        (&["--class", "ledger"], "--class"),
    ] {
        let (code, text) = run(words);
        assert!(code == Some(2) && text.contains(part), "{words:?}: {code:?} {text}");
    }
    let (code, before) = run(&["--class", "access"]);
    let told: serde_json::Value = serde_json::from_str(&before).unwrap();
    assert_eq!((code, told[0]["records"].as_u64()), (Some(0), Some(1)), "{before}");
    assert_eq!(told[0]["month"], "2019_03");
    let left = "SELECT count(*) FROM audit_log WHERE event_type IN ('data_access', 'login')";
    let superuser = world.superuser().await;
    let count = async || -> i64 { superuser.query_one(left, &[]).await.unwrap().get(0) };
    assert_eq!(count().await, 2, "nothing without a reason");
    let reason = ["--class", "access", "--reason", "Kept three years"];
    assert_eq!(run(&reason), (Some(0), before));
    assert_eq!(count().await, 1, "of another class nothing");
    assert_eq!(run(&reason).1.trim(), "[]");
    world.sealer().drain().await.unwrap();
    assert_eq!(world.fault().await, None);
}
