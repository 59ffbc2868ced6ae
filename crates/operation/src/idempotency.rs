//! Claims and replays of idempotency keys, for a whole batch at once.
//!
//! A key belongs to (tenant, principal, command). The claim is an advisory lock of
//! the transaction, the memory a row written with the change itself, so a crash
//! at any moment leaves the key either free or answered.

use std::collections::HashMap;

use serde_json::Value;
use tenancy::{DbError, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Call, Command, Refusal, RefusalKind};

const CLAIM: &str = tenancy::sql!("operation/idempotency.sql", "claim");
const FIND: &str = tenancy::sql!("operation/idempotency.sql", "find");
const STORE: &str = tenancy::sql!("operation/idempotency.sql", "store");

/// The keys of a batch as arrays, beside the positions of the calls they belong to.
pub(crate) struct Keys {
    positions: Vec<usize>,
    names: Vec<String>,
    principals: Vec<Uuid>,
    keys: Vec<String>,
    hashes: Vec<Vec<u8>>,
}

/// What is known of one call's key.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nobody used it: run.
    Free,
    /// Answered before, to the same request.
    Answered { status: u16, response: Value },
    /// Not to be run: in flight, or used for another request.
    Refused(Refusal),
    /// The same key stands earlier in this batch, at that position.
    SameAs(usize),
}

/// An answer to remember.
pub(crate) struct Answer {
    pub(crate) position: usize,
    pub(crate) status: u16,
    pub(crate) response: Value,
}

impl Keys {
    pub(crate) fn of<C: Command>(tenant: Uuid, calls: &[Call<C>]) -> Self {
        let mut keys = Self {
            positions: Vec::new(),
            names: Vec::new(),
            principals: Vec::new(),
            keys: Vec::new(),
            hashes: Vec::new(),
        };
        for (position, call) in calls.iter().enumerate() {
            let Some(key) = &call.idempotency_key else { continue };
            let principal = call.context.actor.id;
            keys.positions.push(position);
            keys.names.push(format!("{tenant}/{principal}/{}/{key}", C::NAME));
            keys.principals.push(principal);
            keys.keys.push(key.clone());
            keys.hashes.push(request_hash(&call.command.fingerprint()));
        }
        keys
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Claims all keys and finds earlier answers: one round trip.
    pub(crate) async fn claim(
        &self,
        transaction: &TenantTx,
        command: &'static str,
        calls: usize,
    ) -> Result<Vec<Claim>, DbError> {
        let mut claims: Vec<Claim> = (0..calls).map(|_| Claim::Free).collect();
        if self.is_empty() {
            return Ok(claims);
        }
        let tenant = transaction.tenant();
        let rows = transaction
            .pipeline(&[
                Query::new(CLAIM, &[&self.names]),
                Query::new(FIND, &[&tenant, &self.principals, &command, &self.keys]),
            ])
            .await?;
        let [claimed, found] = rows.as_slice() else {
            return Err(DbError::Corrupt("two statements gave other than two results".to_owned()));
        };
        let found = self.found(found)?;
        let mut first_seen: HashMap<&str, usize> = HashMap::new();
        for (slot, row) in claimed.iter().enumerate() {
            let position = self.positions[slot];
            claims[position] = match (row.try_get("claimed")?, found.get(&slot), first_seen.get(self.names[slot].as_str())) {
                (_, _, Some(&earlier)) => self.repeated(slot, earlier),
                (false, _, _) => Claim::Refused(in_flight()),
                (true, Some(stored), _) if stored.hash != self.hashes[slot] => Claim::Refused(reused()),
                (true, Some(stored), _) => stored.claim(),
                (true, None, _) => Claim::Free,
            };
            first_seen.entry(&self.names[slot]).or_insert(slot);
        }
        Ok(claims)
    }

    /// The statement's parameters that store answers; none where nothing has a key.
    pub(crate) fn answers(&self, answers: Vec<Answer>) -> Option<StoredAnswers> {
        let slots: HashMap<usize, usize> = self.positions.iter().enumerate().map(|(slot, &at)| (at, slot)).collect();
        let mut stored = StoredAnswers::default();
        for answer in answers {
            let Some(&slot) = slots.get(&answer.position) else { continue };
            stored.principals.push(self.principals[slot]);
            stored.keys.push(self.keys[slot].clone());
            stored.hashes.push(self.hashes[slot].clone());
            stored.statuses.push(i16::try_from(answer.status).unwrap_or(i16::MAX));
            stored.responses.push(answer.response);
        }
        (!stored.keys.is_empty()).then_some(stored)
    }

    fn repeated(&self, slot: usize, earlier: usize) -> Claim {
        if self.hashes[slot] == self.hashes[earlier] {
            Claim::SameAs(self.positions[earlier])
        } else {
            Claim::Refused(reused())
        }
    }

    fn found(&self, rows: &[Row]) -> Result<HashMap<usize, Found>, DbError> {
        rows.iter()
            .map(|row| {
                let position: i64 = row.try_get("position")?;
                let status: i16 = row.try_get("status")?;
                let found = Found {
                    hash: row.try_get("request_hash")?,
                    status: u16::try_from(status).unwrap_or(500),
                    response: row.try_get("response")?,
                };
                let slot = usize::try_from(position)
                    .ok()
                    .filter(|slot| *slot < self.positions.len())
                    .ok_or_else(|| DbError::Corrupt("position of an idempotency key".to_owned()))?;
                Ok((slot, found))
            })
            .collect()
    }
}

struct Found {
    hash: Vec<u8>,
    status: u16,
    response: Value,
}

impl Found {
    fn claim(&self) -> Claim {
        Claim::Answered {
            status: self.status,
            response: self.response.clone(),
        }
    }
}

/// Answers as the arrays of one insert.
#[derive(Default)]
pub(crate) struct StoredAnswers {
    principals: Vec<Uuid>,
    keys: Vec<String>,
    hashes: Vec<Vec<u8>>,
    statuses: Vec<i16>,
    responses: Vec<Value>,
}

impl StoredAnswers {
    /// Stores them and commits, in one round trip.
    pub(crate) async fn commit(self, transaction: TenantTx, command: &'static str) -> Result<(), DbError> {
        let tenant = transaction.tenant();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &tenant,
            &self.principals,
            &command,
            &self.keys,
            &self.hashes,
            &self.statuses,
            &self.responses,
        ];
        transaction.commit_with(&[Query::new(STORE, &parameters)]).await?;
        Ok(())
    }
}

fn in_flight() -> Refusal {
    let detail = "A request with this Idempotency-Key is still being processed";
    Refusal::new(RefusalKind::Conflict, "idempotency_in_flight", detail).retry_after(1)
}

fn reused() -> Refusal {
    let detail = "This Idempotency-Key was used for another request";
    Refusal::rule("idempotency_key_reused", "Idempotency-Key", detail)
}

/// SHA-256 over the canonical request (RFC 8785). A request that has no canonical
/// form (a fraction somewhere) cannot be a command of ours; it hashes as its text.
fn request_hash(fingerprint: &Value) -> Vec<u8> {
    let canonical = audit::canonical::to_vec(fingerprint).unwrap_or_else(|_| fingerprint.to_string().into_bytes());
    vault::primitives::sha256(&canonical).to_vec()
}
