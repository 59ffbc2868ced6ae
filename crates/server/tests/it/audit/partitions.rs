//! The log in partitions: each type of event in those of its class, each month in its own,
//! every one of them closed to changes, and one tree over all.

use audit::{RetentionClass, partitions};
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
    let now = Timestamp::now();
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
    let later = Timestamp::now().duration_since(world.clock.now());
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
