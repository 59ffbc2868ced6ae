//! Owns what a verification makes of records that were dropped when their time was over:
//! their leaves stay, and a record of the same log says how many they were and what tree
//! they made. A leaf without a record that none accounts for was removed.
//!
//! Refuses to know: where leaves come from, and who may drop.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    fault::{Fault, FaultKind},
    merkle::{Frontier, Hash},
};

/// The action of the record that declares a drop.
pub(crate) const ACTION: &str = "audit.drop";
/// How far into a record its action stands: the first member of ours, the second of SQL's.
const ACTION_WITHIN: usize = 64;

/// What a drop says of itself in its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declared {
    /// How long such records are kept.
    pub(crate) class: String,
    /// The month, like `2024_11`.
    pub(crate) month: String,
    /// How many records.
    pub(crate) records: u64,
    /// The root of the tree (RFC 6962) over their leaves alone, in the order of the log, base64.
    pub(crate) root: String,
    /// Why.
    pub(crate) reason: String,
}

impl Declared {
    pub(crate) fn root_of(leaves: &Frontier) -> String {
        STANDARD.encode(leaves.root())
    }
}

/// The leaves without a record that one drop claims.
#[derive(Debug)]
struct Claimed {
    first: (u64, Option<Uuid>),
    leaves: Frontier,
}

/// The drops of one log, as far as it was walked.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    declared: BTreeMap<Uuid, Declared>,
    claimed: BTreeMap<Uuid, Claimed>,
}

impl Drops {
    /// A record that is there, and as it was written: perhaps it declares a drop.
    pub(crate) fn read(&mut self, record: &[u8]) {
        let head = record.get(..ACTION_WITHIN).unwrap_or(record);
        if head.windows(ACTION.len()).any(|part| part == ACTION.as_bytes())
            && let Ok(record) = serde_json::from_slice::<Record>(record)
            && record.action == ACTION
        {
            self.declared.insert(record.event_id, record.details);
        }
    }

    /// A leaf whose record is gone, and the drop that is said to have taken it.
    pub(crate) fn claim(&mut self, drop: Uuid, (index, event): (u64, Option<Uuid>), leaf: Hash) {
        let claimed = self.claimed.entry(drop);
        let claimed = claimed
            .or_insert_with(|| Claimed { first: (index, event), leaves: Frontier::default() });
        claimed.leaves.append(leaf, |_, _| {});
    }

    /// The first leaf of a drop that no record declares, or that took others than it says.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let is_as_declared = |(drop, claimed): &(&Uuid, &Claimed)| {
            self.declared.get(*drop).is_some_and(|declared| {
                declared.records == claimed.leaves.size()
                    && declared.root == Declared::root_of(&claimed.leaves)
            })
        };
        let bad = self.claimed.iter().filter(|one| !is_as_declared(one));
        let (log_index, event_id) = bad.map(|(_, claimed)| claimed.first).min()?;
        Some(Fault { event_id, log_index: Some(log_index), kind: FaultKind::RecordsDropped })
    }
}

#[derive(Deserialize)]
struct Record {
    action: String,
    event_id: Uuid,
    details: Declared,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::merkle::leaf_hash;

    fn leaf(number: u8) -> Hash {
        leaf_hash(&[number])
    }

    fn drops(taken: &[u8], declared: &[u8], records: u64) -> Drops {
        let drop = Uuid::from_u128(7);
        let mut drops = Drops::default();
        for number in taken {
            let place = (u64::from(*number), Some(Uuid::from_u128(u128::from(*number))));
            drops.claim(drop, place, leaf(*number));
        }
        let mut tree = Frontier::default();
        for number in declared {
            tree.append(leaf(*number), |_, _| {});
        }
        let details = Declared {
            class: "access".to_owned(),
            month: "2019_03".to_owned(),
            records,
            root: Declared::root_of(&tree),
            reason: "Three years are over".to_owned(),
        };
        let record = json!({ "action": ACTION, "event_id": drop, "details": details });
        drops.read(record.to_string().as_bytes());
        drops
    }

    #[test]
    fn a_drop_takes_exactly_the_records_that_it_declares() {
        assert_eq!(drops(&[2, 3, 5], &[2, 3, 5], 3).fault(), None);
        assert_eq!(drops(&[], &[2, 3, 5], 3).fault(), None, "they are still there: no fault");
        for (taken, declared, records) in [
            (&[2, 3, 5][..], &[2, 3][..], 2),
            (&[2, 3], &[2, 3, 5], 3),
            (&[2, 3, 5], &[2, 4, 5], 3),
            (&[3, 2, 5], &[2, 3, 5], 3),
            (&[2, 3, 5], &[2, 3, 5], 4),
        ] {
            let fault = drops(taken, declared, records).fault().unwrap();
            let place = (fault.log_index, fault.kind);
            assert_eq!(place, (Some(u64::from(taken[0])), FaultKind::RecordsDropped));
        }
    }

    #[test]
    fn what_no_record_declares_was_removed() {
        let mut drops = Drops::default();
        drops.claim(Uuid::from_u128(7), (4, None), leaf(4));
        assert_eq!(drops.fault().unwrap().log_index, Some(4));
        drops.read(br#"{"action":"note","details":{"action":"audit.drop"}}"#);
        assert!(drops.fault().is_some());
    }
}
