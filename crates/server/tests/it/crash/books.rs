//! Owns the reckoning after a crash: what clients were told against what is in the
//! database, and the two proofs. It refuses to know what happened in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use tokio_postgres::Client as Connection;
use uuid::Uuid;

use super::bank::{Bank, SLUG};
use super::load::{Acknowledged, Promised};
use super::place::{Postgres, Server};

/// Transfers of the load, by their key: clients give it as the reference.
const POSTED: &str = "SELECT reference, id, from_account_id, to_account_id, amount FROM transfers \
     WHERE tenant_id = $1 AND reference ~ '^r[0-9]+-c'";
const BALANCES: &str = "SELECT id, balance FROM ledger_accounts WHERE tenant_id = $1";
const ENTRY_SUMS: &str =
    "SELECT account_id, sum(amount)::bigint FROM transactions WHERE tenant_id = $1 GROUP BY 1";
const UNBALANCED: &str = "SELECT transfer_id FROM transactions WHERE tenant_id = $1 \
     GROUP BY 1 HAVING sum(amount) <> 0 LIMIT 1";
/// Each posted transfer has exactly one record of success, and that one is sealed.
const UNAUDITED: &str = "SELECT moved.reference, count(log.event_id), count(leaf.event_id) FROM transfers moved \
     LEFT JOIN audit_log log ON log.tenant_id = moved.tenant_id AND log.resource_id = moved.id \
         AND log.resource_type = 'transfer' AND log.result = 'success' AND log.event_type = 'ledger_posting' \
     LEFT JOIN audit_leaves leaf ON leaf.tenant_id = log.tenant_id AND leaf.event_id = log.event_id \
     WHERE moved.tenant_id = $1 AND moved.reference ~ '^r[0-9]+-c' \
     GROUP BY moved.id, moved.reference HAVING count(log.event_id) <> 1 OR count(leaf.event_id) <> 1";
/// The remembered answers say what is posted: to an order, or to the capture of a hold.
const MISREMEMBERED: &str = "SELECT moved.reference FROM transfers moved \
     LEFT JOIN idempotency_keys known ON known.tenant_id = moved.tenant_id \
         AND known.idempotency_key = moved.reference \
         AND known.response -> 'ok' ->> CASE WHEN moved.hold_id IS NULL THEN 'id' ELSE 'transfer_id' END = moved.id::text \
     WHERE moved.tenant_id = $1 AND moved.reference ~ '^r[0-9]+-c' \
       AND known.status IS DISTINCT FROM CASE WHEN moved.hold_id IS NULL THEN 201 ELSE 200 END LIMIT 3";
/// Holds of the load, by their key.
const HELD: &str = "SELECT reference, id, captured_amount FROM holds \
     WHERE tenant_id = $1 AND reference ~ '^r[0-9]+-c'";
/// Every client ends its holds before it stops.
const STILL_HELD: &str = "SELECT id, held FROM ledger_accounts WHERE tenant_id = $1 AND held <> 0";
const CHECKPOINT: &str =
    "SELECT note FROM audit_checkpoints WHERE tenant_id = $1 ORDER BY tree_size DESC LIMIT 1";

/// The database and what it should hold.
#[derive(Debug)]
pub(crate) struct Books<'a> {
    pub(crate) bank: &'a Bank,
    pub(crate) acknowledged: &'a BTreeMap<String, Acknowledged>,
    pub(crate) promised: &'a BTreeMap<String, Promised>,
}

impl Books<'_> {
    /// Everything that is not as it was told, in words.
    pub(crate) async fn faults(&self, superuser: &Connection) -> Vec<String> {
        let mut faults = self.faults_of_transfers(superuser).await;
        faults.extend(self.faults_of_holds(superuser).await);
        faults.extend(self.faults_of_balances(superuser).await);
        let tenant = self.bank.tenant;
        let unbalanced = superuser.query(UNBALANCED, &[&tenant]).await.unwrap();
        faults.extend(
            unbalanced
                .iter()
                .map(|row| format!("the entries of {} do not sum to zero", row.get::<_, Uuid>(0))),
        );
        let unaudited = superuser.query(UNAUDITED, &[&tenant]).await.unwrap();
        faults.extend(unaudited.iter().map(|row| {
            let (records, leaves): (i64, i64) = (row.get(1), row.get(2));
            format!("{} has {records} audit records, {leaves} sealed", row.get::<_, String>(0))
        }));
        let misremembered = superuser.query(MISREMEMBERED, &[&tenant]).await.unwrap();
        faults.extend(
            misremembered.iter().map(|row| {
                format!("{} is remembered otherwise than posted", row.get::<_, String>(0))
            }),
        );
        faults
    }

    /// Posted and acknowledged are the same set, each once and with the same id.
    async fn faults_of_transfers(&self, superuser: &Connection) -> Vec<String> {
        let mut faults = Vec::new();
        let mut posted = BTreeMap::new();
        for row in superuser.query(POSTED, &[&self.bank.tenant]).await.unwrap() {
            let key: String = row.get(0);
            let found = Acknowledged {
                id: row.get(1),
                from: row.get(2),
                to: row.get(3),
                amount: row.get(4),
            };
            if let Some(first) = posted.insert(key.clone(), found.clone()) {
                faults.push(format!("{key} is posted twice: {first:?} and {found:?}"));
            }
        }
        for (key, told) in self.acknowledged {
            match posted.remove(key) {
                None => faults.push(format!("{key} was acknowledged and is lost: {told:?}")),
                Some(found) if found != *told => {
                    faults.push(format!("{key} was acknowledged as {told:?}, posted as {found:?}"));
                }
                Some(_) => {}
            }
        }
        faults.extend(posted.keys().map(|key| format!("{key} is posted, yet was never answered")));
        faults
    }

    /// Authorised and acknowledged are the same set, each once, with the same id, and paid
    /// out as it was said; nothing is kept back any more.
    async fn faults_of_holds(&self, superuser: &Connection) -> Vec<String> {
        let mut faults = Vec::new();
        let mut held = BTreeMap::new();
        for row in superuser.query(HELD, &[&self.bank.tenant]).await.unwrap() {
            let key: String = row.get(0);
            let found = Promised { id: row.get(1), captured: row.get(2) };
            if let Some(first) = held.insert(key.clone(), found.clone()) {
                faults.push(format!("{key} is held twice: {first:?} and {found:?}"));
            }
        }
        for (key, told) in self.promised {
            let found = held.remove(key);
            if found.as_ref() != Some(told) {
                faults.push(format!("{key} was acknowledged as {told:?}, is {found:?}"));
            }
        }
        faults.extend(held.keys().map(|key| format!("{key} is held, yet was never answered")));
        let kept = pairs(superuser, STILL_HELD, self.bank.tenant).await;
        faults.extend(kept.iter().map(|(account, held)| format!("{account} still holds {held}")));
        faults
    }

    /// Balances are what the acknowledged transfers make of the opening ones, and
    /// the sums of their entries; all entries sum to zero.
    async fn faults_of_balances(&self, superuser: &Connection) -> Vec<String> {
        let mut expected = self.bank.opening_balances();
        for told in self.acknowledged.values() {
            *expected.entry(told.from).or_default() -= told.amount;
            *expected.entry(told.to).or_default() += told.amount;
        }
        let tenant = self.bank.tenant;
        let balances = pairs(superuser, BALANCES, tenant).await;
        let sums = pairs(superuser, ENTRY_SUMS, tenant).await;
        let mut faults = Vec::new();
        for (account, balance) in &expected {
            if balances.get(account) != Some(balance) {
                let found = balances.get(account);
                faults.push(format!("{account} should hold {balance}, holds {found:?}"));
            }
        }
        for (account, balance) in &balances {
            let sum = sums.get(account).copied().unwrap_or_default();
            if sum != *balance {
                faults.push(format!("{account} holds {balance}, its entries sum to {sum}"));
            }
        }
        let total: i64 = sums.values().sum();
        if total != 0 {
            faults.push(format!("all entries sum to {total}, not to zero"));
        }
        faults
    }
}

/// Waits until the sealer has taken everything in.
pub(crate) async fn wait_until_sealed(superuser: &Connection) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let row = superuser.query_one("SELECT count(*) FROM audit_inbox", &[]).await.unwrap();
        let waiting: i64 = row.get(0);
        if waiting == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{waiting} audit records are not sealed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The log's last signed checkpoint, put where a crash does not reach it.
pub(crate) async fn witness(bank: &Bank, superuser: &Connection, folder: &Path) -> Option<PathBuf> {
    let row = superuser.query_opt(CHECKPOINT, &[&bank.tenant]).await.unwrap()?;
    let path = folder.join("witnessed.checkpoint");
    std::fs::write(&path, row.get::<_, String>(0)).unwrap();
    Some(path)
}

/// `ledger verify` and `audit verify`, as an auditor runs them; the log must extend
/// the witnessed checkpoint.
pub(crate) fn proofs(
    postgres: &Postgres,
    server: &Server,
    witnessed: Option<&Path>,
) -> Vec<String> {
    let run = |arguments: &[&str]| {
        let mut command = server.command();
        command.env("DATABASE_URL", postgres.url_of("auditor")).args(arguments);
        command.output().unwrap()
    };
    let mut audit = vec!["audit", "verify", "--tenant", SLUG];
    if let Some(path) = witnessed.and_then(Path::to_str) {
        audit.extend(["--checkpoint", path]);
    }
    let failed = |name: &str, output: &Output| {
        (!output.status.success()).then(|| format!("{name} verify: {output:?}"))
    };
    let ledger = failed("ledger", &run(&["ledger", "verify", "--tenant", SLUG]));
    ledger.into_iter().chain(failed("audit", &run(&audit))).collect()
}

async fn pairs(superuser: &Connection, sql: &str, tenant: Uuid) -> BTreeMap<Uuid, i64> {
    let rows = superuser.query(sql, &[&tenant]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
