//! Answers to idempotency keys are forgotten after a week, however many there are.

use api::ApiConfig;
use server::compose::{Ingredients, Installation};
use server::serve::workers::forget_answers;
use tenancy::DatabaseConfig;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vault::{RootKey, RootKeys};

use super::toy::World;

/// Fails for the tenants in `broken`, and notes what each deletion took.
const WATCH: &str = "
    CREATE TABLE broken (tenant_id uuid);
    CREATE TABLE deletions (answers bigint);
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM gone JOIN broken USING (tenant_id)) THEN
            RAISE EXCEPTION 'provoked';
        END IF;
        INSERT INTO deletions SELECT count(*) FROM gone;
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER DELETE ON idempotency_keys REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION watch();
";

fn installation(world: &World) -> Installation {
    let url = world.database.superuser_url();
    Installation::assemble(Ingredients {
        app: DatabaseConfig::new(url.clone()).with_role("strongroom_app"),
        sealer: DatabaseConfig::new(url).with_role("strongroom_sealer"),
        anchor: None,
        shares: None,
        roots: RootKeys::new(RootKey::from_bytes(&[7; 32]), None),
        token_secret: None,
        exempt_loopback: false,
        api: ApiConfig::default(),
    })
    .unwrap()
}

async fn remember(world: &World, tenant: Uuid, count: i32, age: &str) {
    let sql = "INSERT INTO idempotency_keys \
        (tenant_id, principal_id, command, idempotency_key, request_hash, status, response, created_at) \
        SELECT $1, $1, 'toy.make', $3 || number, sha256('x'), 201, '{}', now() - $3::text::interval \
        FROM generate_series(1, $2::integer) AS number";
    world.superuser.execute(sql, &[&tenant, &count, &age]).await.unwrap();
}

async fn remembered(world: &World, tenant: Uuid) -> i64 {
    let sql = "SELECT count(*) FROM idempotency_keys WHERE tenant_id = $1";
    world.superuser.query_one(sql, &[&tenant]).await.unwrap().get(0)
}

#[tokio::test]
async fn old_answers_go_batch_by_batch_and_one_tenants_trouble_is_its_own() {
    let world = World::new().await;
    let (north, south) = (world.tenant.id.0, world.other_tenant().await.id.0);
    world.superuser.batch_execute(WATCH).await.unwrap();
    for (tenant, old) in [(north, 12_000), (south, 7)] {
        remember(&world, tenant, old, "7 days 1 minute").await;
        remember(&world, tenant, 3, "6 days 23 hours").await;
    }
    let installation = installation(&world);
    let forget = async || forget_answers(installation.clone(), CancellationToken::new()).await;
    // The tenant that comes first is the one that fails.
    world.superuser.execute("INSERT INTO broken VALUES ($1)", &[&north]).await.unwrap();
    forget().await.unwrap_err();
    assert_eq!((remembered(&world, north).await, remembered(&world, south).await), (12_003, 3));

    world.superuser.batch_execute("TRUNCATE broken, deletions").await.unwrap();
    forget().await.unwrap();
    assert_eq!((remembered(&world, north).await, remembered(&world, south).await), (3, 3));
    let largest = "SELECT max(answers), sum(answers)::bigint FROM deletions";
    let row = world.superuser.query_one(largest, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5_000, 12_000));
}
