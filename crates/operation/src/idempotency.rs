//! Claims and replays of idempotency keys, for a whole batch at once.
//!
//! A key belongs to (tenant, principal, command). The claim is an advisory lock of
//! the transaction, the memory a row written with the change itself, so a crash
//! at any moment leaves the key either free or answered.

use std::collections::HashMap;

use serde_json::Value;
use tenancy::{ActorKind, DbError, Query, TenantTx};
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
    texts: Vec<String>,
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
    /// The keys of the calls that may run. Nobody in particular has no keys: all
    /// strangers would share one memory and be given each other's answers.
    pub(crate) fn of<C: Command>(
        tenant: Uuid,
        calls: &[Call<C>],
        may_run: impl Fn(usize) -> bool,
    ) -> Self {
        let mut keys = Self {
            positions: Vec::new(),
            names: Vec::new(),
            principals: Vec::new(),
            texts: Vec::new(),
            hashes: Vec::new(),
        };
        for (position, call) in calls.iter().enumerate() {
            let Some(key) = &call.idempotency_key else { continue };
            if C::ANONYMOUS || call.context.actor.kind == ActorKind::Anonymous || !may_run(position)
            {
                continue;
            }
            let fingerprint = call.command.fingerprint();
            if fingerprint.is_null() {
                continue;
            }
            let principal = call.context.actor.id;
            keys.positions.push(position);
            keys.names.push(format!("{tenant}/{principal}/{}/{key}", C::NAME));
            keys.principals.push(principal);
            keys.texts.push(key.clone());
            keys.hashes.push(request_hash(&fingerprint));
        }
        keys
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Whether the call at that position has a key.
    pub(crate) fn has(&self, position: usize) -> bool {
        self.positions.binary_search(&position).is_ok()
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
                Query::new(FIND, &[&tenant, &self.principals, &command, &self.texts]),
            ])
            .await?;
        let [claimed, found] = rows.as_slice() else {
            return Err(DbError::Corrupt("two statements gave other than two results".to_owned()));
        };
        let found = self.found(found)?;
        let mut first_seen: HashMap<&str, usize> = HashMap::new();
        for (slot, row) in claimed.iter().enumerate() {
            let position = self.positions[slot];
            let first = *first_seen.entry(&self.names[slot]).or_insert(slot);
            claims[position] = match (row.try_get("claimed")?, found.get(&slot)) {
                (false, _) => Claim::Refused(in_flight()),
                (true, Some(stored)) if stored.hash != self.hashes[slot] => {
                    Claim::Refused(reused())
                }
                (true, Some(stored)) => stored.claim(),
                (true, None) if first != slot => self.repeated(slot, first),
                (true, None) => Claim::Free,
            };
        }
        Ok(claims)
    }

    /// The statement's parameters that store answers; none where nothing has a key.
    pub(crate) fn answers(&self, answers: Vec<Answer>) -> Option<StoredAnswers> {
        let slots: HashMap<usize, usize> =
            self.positions.iter().enumerate().map(|(slot, &at)| (at, slot)).collect();
        let mut stored = StoredAnswers::default();
        for answer in answers {
            let Some(&slot) = slots.get(&answer.position) else { continue };
            stored.principals.push(self.principals[slot]);
            stored.keys.push(self.texts[slot].clone());
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
        Claim::Answered { status: self.status, response: self.response.clone() }
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
    /// The statement that stores them.
    pub(crate) const SQL: &'static str = STORE;

    /// Its parameters.
    pub(crate) fn parameters<'a>(
        &'a self,
        tenant: &'a Uuid,
        command: &'a &'static str,
    ) -> [&'a (dyn tokio_postgres::types::ToSql + Sync); 7] {
        [
            tenant,
            &self.principals,
            command,
            &self.keys,
            &self.hashes,
            &self.statuses,
            &self.responses,
        ]
    }
}

/// A key is 1 to 255 characters that can be seen.
pub(crate) fn check_form(key: Option<&str>) -> Result<(), Refusal> {
    let is_good =
        |key: &str| (1..=255).contains(&key.chars().count()) && !key.chars().any(char::is_control);
    if key.is_none_or(is_good) {
        return Ok(());
    }
    let detail = "Idempotency-Key must be 1 to 255 visible characters";
    Err(Refusal::new(RefusalKind::Malformed, "idempotency_key_invalid", detail))
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
    let canonical = audit::canonical::to_vec(fingerprint)
        .unwrap_or_else(|_| fingerprint.to_string().into_bytes());
    vault::primitives::sha256(&canonical).to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use std::sync::Arc;

    use access::Permission;
    use tenancy::{ActorKind, Blueprint, Clock, OpContext, TenantId, TenantRef, TenantTx};
    use uuid::Uuid;

    use super::{Keys, check_form, request_hash};
    use crate::{Call, Command, Refusal, command::Outcome};

    struct Fingerprinted(Value);

    impl Command for Fingerprinted {
        const NAME: &'static str = "toy.fingerprinted";
        const RESOURCE: &'static str = "toy";
        type Output = ();

        fn permission(&self) -> Permission {
            Permission::SystemUpdate
        }

        fn fingerprint(&self) -> Value {
            self.0.clone()
        }

        async fn execute(&self, _: &TenantTx, _: &OpContext) -> Outcome<()> {
            Err(Refusal::denied().into())
        }
    }

    #[test]
    fn a_command_without_a_fingerprint_takes_no_key() {
        let tenant = TenantRef {
            id: TenantId(Uuid::from_u128(1)),
            slug: "toys".to_owned(),
            blueprint: Blueprint::CoreBank,
            modules: Vec::new(),
            time_zone: "UTC".to_owned(),
        };
        let context = OpContext::system(Arc::new(tenant), ActorKind::Cli, Clock::System);
        let calls = [Value::Null, json!({ "amount": 1 })].map(|fingerprint| Call {
            context: context.clone(),
            idempotency_key: Some("k".to_owned()),
            command: Fingerprinted(fingerprint),
        });
        let keys = Keys::of(context.tenant_id(), &calls, |_| true);
        assert!(!keys.has(0), "any two such requests would be the same");
        assert!(keys.has(1));
    }

    /// Any JSON that a request can hold: no fractions, integers up to 2^53 − 1.
    fn requests() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same value with the members of every object put in the other way round.
    fn reversed(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let turned =
                    members.iter().rev().map(|(name, inner)| (name.clone(), reversed(inner)));
                Value::Object(turned.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(reversed).collect(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_members_and_white_space_do_not_matter(request in requests()) {
            let turned = reversed(&request);
            prop_assert_eq!(request_hash(&request), request_hash(&turned));
            let spaced: Value = serde_json::from_str(&serde_json::to_string_pretty(&turned).unwrap()).unwrap();
            prop_assert_eq!(request_hash(&request), request_hash(&spaced));
        }

        #[test]
        fn different_requests_have_different_hashes(left in requests(), right in requests()) {
            prop_assert_eq!(left == right, request_hash(&left) == request_hash(&right));
        }
    }

    #[test]
    fn requests_that_look_alike_differ() {
        let alike = [
            json!({ "amount": 1 }),
            json!({ "amount": "1" }),
            json!({ "amount": [1] }),
            json!({ "amount": null }),
            json!({}),
            json!({ "amount": 1, "memo": null }),
            json!({ "a": { "mount": 1 } }),
        ];
        for (at, left) in alike.iter().enumerate() {
            for right in &alike[at + 1..] {
                assert_ne!(request_hash(left), request_hash(right), "{left} {right}");
            }
        }
    }

    #[test]
    fn keys_have_a_form() {
        let long = "k".repeat(255);
        let table = [
            (None, true),
            (Some("k"), true),
            (Some(long.as_str()), true),
            (Some(""), false),
            (Some("a\nb"), false),
            (Some("a\0"), false),
        ];
        for (key, good) in table {
            assert_eq!(check_form(key).is_ok(), good, "{key:?}");
        }
        assert!(check_form(Some(&"k".repeat(256))).is_err());
    }
}
