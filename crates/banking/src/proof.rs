//! The running proof of a bank's books: the ledger's own (every sum recomputed) and
//! that the sub-ledger is the general ledger: each customer's account stands in both,
//! closed in both or in neither, and has its one owner.
//!
//! Balances, currencies and states are not compared, because they exist once: a savings
//! account has none of its own and shows its ledger account's.
//!
//! Proofs only read; what they find is for people. What came of the last one is kept
//! beside the tenant, for metrics, and as an audit record, for ever.

use audit::{EventType, Outcome as Ended};
use jiff::{Timestamp, civil::Date};
use ledger::{
    model::{AccountClass, AccountStatus},
    verify::{Progress, Report},
};
use operation::{Applied, Command, command::Outcome, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{Database, DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

const SUB_LEDGER: &str = tenancy::sql!("banking/proof.sql", "sub_ledger");
const CLAIM: &str = tenancy::sql!("banking/proof.sql", "claim");
const RECORD: &str = tenancy::sql!("banking/proof.sql", "record");
const LATEST: &str = tenancy::sql!("banking/proof.sql", "latest");

/// Accounts of a page.
const PAGE: i64 = 5_000;
/// Faults named in a report; the rest is counted.
const FAULTS_NAMED: usize = 20;

/// What a proof found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The general ledger by itself.
    #[serde(flatten)]
    pub ledger: Report,
    /// The customers' accounts beside it.
    pub sub_ledger: SubLedger,
}

/// What the comparison of customers' accounts with the ledger's found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubLedger {
    /// Accounts compared.
    pub accounts: u64,
    /// How many things are wrong.
    pub fault_count: u64,
    /// The first of them, by account id.
    pub faults: Vec<SubLedgerFault>,
}

/// Something that is wrong between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum SubLedgerFault {
    /// A savings account has no ledger account, or one of the bank's own.
    #[error("account {account_id} is not a customer's in the ledger")]
    NotInLedger {
        /// The account.
        account_id: Uuid,
    },
    /// A customer's ledger account belongs to no savings account.
    #[error("ledger account {account_id} is nobody's")]
    Nobodys {
        /// The account.
        account_id: Uuid,
    },
    /// Closed on one side only.
    #[error("account {account_id}: closed on {closed_date:?}, {status} in the ledger")]
    Status {
        /// The account.
        account_id: Uuid,
        /// When it was closed, as the savings account says.
        closed_date: Option<Date>,
        /// What the ledger says.
        status: AccountStatus,
    },
    /// The owner is not the party that they should be.
    #[error("account {account_id} is not its owner's to use")]
    Owner {
        /// The account.
        account_id: Uuid,
    },
}

impl Proof {
    /// How many things are wrong in all.
    pub fn fault_count(&self) -> u64 {
        self.ledger.fault_count + self.sub_ledger.fault_count
    }

    /// The faults that are named, in words.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        let ledger = self.ledger.faults.iter().map(ToString::to_string);
        ledger.chain(self.sub_ledger.faults.iter().map(ToString::to_string))
    }
}

/// Proves the books of the context's tenant: needs no more than SELECT, runs beside live
/// traffic. `progress` is called after each page of the ledger.
pub async fn prove(
    context: &OpContext,
    database: &Database,
    progress: impl FnMut(Progress),
) -> Result<Proof, DbError> {
    let ledger = ledger::verify::verify(context, database, progress).await?;
    Ok(Proof { ledger, sub_ledger: compare(context, database).await? })
}

async fn compare(context: &OpContext, database: &Database) -> Result<SubLedger, DbError> {
    let mut found = SubLedger::default();
    let (tenant, mut after) = (context.tenant_id(), Uuid::nil());
    loop {
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &PAGE];
        let answers = database.read(context, &[Query::new(SUB_LEDGER, &parameters)]).await?;
        let rows = answers.first().map_or(&[][..], Vec::as_slice);
        let Some(last) = rows.last() else { return Ok(found) };
        after = last.try_get("id")?;
        for row in rows {
            found.accounts += 1;
            for fault in faults_of(row)? {
                found.fault_count += 1;
                if found.faults.len() < FAULTS_NAMED {
                    found.faults.push(fault);
                }
            }
        }
    }
}

fn faults_of(row: &Row) -> Result<Vec<SubLedgerFault>, DbError> {
    let account_id: Uuid = row.try_get("id")?;
    if !row.try_get::<_, bool>("has_account")? {
        return Ok(vec![SubLedgerFault::Nobodys { account_id }]);
    }
    let class: Option<&str> = row.try_get("class")?;
    let status: Option<&str> = row.try_get("status")?;
    let (Some(class), Some(status)) = (class, status) else {
        return Ok(vec![SubLedgerFault::NotInLedger { account_id }]);
    };
    let status: AccountStatus = status.parse()?;
    let closed_date: Option<Date> = row.try_get("closed_date")?;
    let wrong = [
        (class != AccountClass::Customer.as_str(), SubLedgerFault::NotInLedger { account_id }),
        (
            closed_date.is_some() != (status == AccountStatus::Closed),
            SubLedgerFault::Status { account_id, closed_date, status },
        ),
        (!row.try_get::<_, bool>("has_owner")?, SubLedgerFault::Owner { account_id }),
    ];
    Ok(wrong.into_iter().filter(|(wrong, _)| *wrong).map(|(_, fault)| fault).collect())
}

/// Takes the proof of a tenant upon this node, where none has begun for `every_s`
/// seconds; says whether it did.
pub async fn claim(
    context: &OpContext,
    database: &Database,
    every_s: i64,
) -> Result<bool, DbError> {
    let transaction = database.begin(context).await?;
    let taken = transaction.query_opt(CLAIM, &[&transaction.tenant(), &every_s]).await?.is_some();
    transaction.commit().await?;
    Ok(taken)
}

/// What is known of a tenant's proofs, whichever node did them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Faults that the last finished proof found.
    pub fault_count: i64,
    /// When the books were last proven right; before the first time, since when a proof
    /// has been tried.
    pub good_until: Timestamp,
}

/// The standing of the context's tenant; none where no proof was ever begun.
pub async fn standing(
    context: &OpContext,
    database: &Database,
) -> Result<Option<Standing>, DbError> {
    let tenant = context.tenant_id();
    let answers = database.read(context, &[Query::new(LATEST, &[&tenant])]).await?;
    let Some(row) = answers.first().and_then(|rows| rows.first()) else { return Ok(None) };
    Ok(Some(Standing {
        fault_count: row.try_get("fault_count")?,
        good_until: row.try_get("good_until")?,
    }))
}

/// Keeps what a proof came to: the tenant's standing, and an audit record, which is
/// critical where something is wrong. Only the system itself runs it.
#[derive(Clone, Debug)]
pub struct RecordProof {
    /// Accounts, transfers and entries that were walked.
    pub walked: [u64; 3],
    /// How many things are wrong.
    pub fault_count: u64,
    /// The first of them, in words of ids and amounts.
    pub faults: Vec<String>,
}

impl From<&Proof> for RecordProof {
    fn from(proof: &Proof) -> Self {
        let ledger = &proof.ledger;
        Self {
            walked: [ledger.accounts, ledger.transfers, ledger.entries],
            fault_count: proof.fault_count(),
            faults: proof.faults().take(FAULTS_NAMED).collect(),
        }
    }
}

/// The answer to [`RecordProof`], which nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded;

impl Command for RecordProof {
    const NAME: &'static str = "ledger.prove";
    const RESOURCE: &'static str = "ledger";
    type Output = Recorded;

    /// Forbidden in every tenant, so that no person's role can ever reach it.
    fn permission(&self) -> access::Permission {
        access::Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Recorded> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let [accounts, transfers, entries] = self.walked.map(number);
        let faults = number(self.fault_count);
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&transaction.tenant(), &accounts, &transfers, &entries, &faults];
        transaction.execute(RECORD, &parameters).await?;
        let kind = if faults == 0 { EventType::JobRun } else { EventType::SecurityViolation };
        let record = event(context, kind, Self::NAME, Self::RESOURCE)
            .outcome(if faults == 0 { Ended::Success } else { Ended::Failed })
            .details(json!({
                "accounts": accounts,
                "transfers": transfers,
                "entries": entries,
                "fault_count": faults,
                "faults": self.faults,
            }));
        Ok(Applied { output: Recorded, status: 200, events: vec![record] })
    }
}
