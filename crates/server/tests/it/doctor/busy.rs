//! The doctor beside a server that works: what it reads first is old by the time that it
//! reads the rest, and none of that is a fault.

use std::time::{Duration, Instant};

use testkit::connect;
use tokio_postgres::Client;

use super::Installation;

/// A hash to be sealed, under an id of long ago: the doctor takes its second look, two
/// seconds later, and meanwhile the log grows. (No record belongs to it; nobody asks here.)
const GROWS: &str = "INSERT INTO audit_inbox \
    SELECT id, ('018f0000-0000-7000-8000-' || substr(md5(random()::text), 1, 12))::uuid, \
        decode(repeat('00', 32), 'hex') FROM tenants WHERE slug = 'demo-bank'";
const OFTEN: Duration = Duration::from_millis(10);
const LEAVES: &str = "SELECT count(*) FROM audit_leaves leaf \
    JOIN tenants ON tenants.id = leaf.tenant_id AND tenants.slug = 'demo-bank'";

async fn count(client: &Client, statement: &str) -> i64 {
    client.query_one(statement, &[]).await.unwrap().get(0)
}

pub(super) async fn a_log_that_grows_is_no_fault(installation: &Installation) {
    let client = connect(installation.text("database_url")).await;
    let before = count(&client, LEAVES).await;
    let url = installation.text("database_url").to_owned();
    let writer = tokio::spawn(async move {
        let client = connect(&url).await;
        loop {
            client.batch_execute(GROWS).await.unwrap();
            tokio::time::sleep(OFTEN).await;
        }
    });
    let mut looked_twice = false;
    for _ in 0..5 {
        let report = tokio::task::block_in_place(|| installation.doctor(&[], &[]));
        assert_eq!((report.code, report.bad()), (0, vec![]), "busy is not broken");
        // Where nothing waits at the moment of the first look there is no second one.
        looked_twice = report.checks().iter().any(|one| {
            one["check"] == "audit.sealer"
                && one["found"].as_str().unwrap().ends_with("and sealing moves on")
        });
        if looked_twice {
            break;
        }
    }
    writer.abort();
    assert!(looked_twice, "what is read first was never old");
    assert!(count(&client, LEAVES).await > before, "records were sealed meanwhile");
    let deadline = Instant::now() + Duration::from_secs(20);
    while count(&client, "SELECT count(*) FROM audit_inbox").await > 0 {
        assert!(Instant::now() < deadline, "what waits is not sealed");
        tokio::time::sleep(OFTEN).await;
    }
}
