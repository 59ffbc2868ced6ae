//! Owns what people are told: how large the super-log is, how far each witness is with it, and
//! the key to give to a witness.
//!
//! Refuses to know: who is asked when.

use jiff::Timestamp;
use serde::Serialize;
use tenancy::DbError;
use tokio_postgres::Client;

use crate::note::NoteVerifier;
use crate::rows::unsigned;
use crate::super_proof::verifiers;

const NEWEST: &str = tenancy::sql!("audit/super_log.sql", "newest");
const STANDINGS: &str = tenancy::sql!("audit/witness.sql", "standings");
const KEYS: &str = tenancy::sql!("audit/witness.sql", "keys");

/// The super-log and those who watch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuperStanding {
    /// Checkpoints of tenants that were signed over.
    pub signed: u64,
    /// The keys that its checkpoints verify with, oldest first: what a witness is given.
    pub verifier_keys: Vec<String>,
    /// How far each witness is.
    pub witnesses: Vec<WitnessStanding>,
}

/// How far one witness is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessStanding {
    /// Its name.
    pub witness: String,
    /// The largest log that it cosigned; none where it never did.
    pub size: Option<u64>,
    /// When, by its own clock.
    pub cosigned_at: Option<Timestamp>,
    /// When the first checkpoint was signed that it has not cosigned.
    pub waiting_since: Option<Timestamp>,
}

/// What a role that reads the super-log (owner or auditor) sees of it.
pub async fn standing(client: &Client, names: &[&str]) -> Result<SuperStanding, DbError> {
    let newest = client.query_opt(NEWEST, &[]).await?;
    let signed = match newest {
        Some(row) => unsigned(row.try_get("tree_size")?)?,
        None => 0,
    };
    let keys = verifiers(&client.query(KEYS, &[]).await?)?;
    let verifier_keys = keys.iter().map(NoteVerifier::to_text).collect();
    let mut witnesses = Vec::with_capacity(names.len());
    for row in client.query(STANDINGS, &[&names]).await? {
        witnesses.push(WitnessStanding {
            witness: row.try_get("witness")?,
            size: row.try_get::<_, Option<i64>>("tree_size")?.map(unsigned).transpose()?,
            cosigned_at: row.try_get("cosigned_at")?,
            waiting_since: row.try_get("waiting_since")?,
        });
    }
    Ok(SuperStanding { signed, verifier_keys, witnesses })
}
