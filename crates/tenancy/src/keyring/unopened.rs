//! What did not open: which cell, why, and whether it was told. Refuses to write records:
//! whoever has an audit log does.
//!
//! A value that does not open was altered, moved, or sealed under a key that is gone, and
//! whoever reads it over and over must not fill the log by it: each cell is told once an
//! hour, with how often it was met.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
    time::{Duration, Instant},
};

use uuid::Uuid;
use vault::OpenError;

use super::KeyringError;

/// A cell is told of once in this time.
const PERIOD: Duration = Duration::from_secs(3_600);
/// Cells of one tenant that a process remembers: who alters a table wholesale is told of by
/// these, and keeps no other tenant's from being told.
const CELLS_MAX: usize = 1_000;

/// A cell whose value did not open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnopenedCell {
    /// Whose.
    pub tenant: Uuid,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The row; of a key, the key's id.
    pub row: Uuid,
    /// Why, in a word.
    pub reason: &'static str,
}

/// Cells that did not open on this node.
#[derive(Debug, Default)]
pub struct Unopened {
    cells: Mutex<HashMap<Uuid, HashMap<UnopenedCell, Met>>>,
}

#[derive(Debug, Default)]
struct Met {
    told_at: Option<Instant>,
    untold: u64,
}

impl Met {
    fn is_recent(&self) -> bool {
        self.told_at.is_some_and(|at| at.elapsed() < PERIOD)
    }
}

impl Unopened {
    /// Takes note of a failure that lasts; of others none is taken.
    pub(super) fn note(
        &self,
        tenant: Uuid,
        (table, column, row): (&str, &str, Uuid),
        error: &KeyringError,
    ) {
        let Some(reason) = reason(error) else { return };
        let Ok(mut tenants) = self.cells.lock() else { return };
        let cells = tenants.entry(tenant).or_default();
        let (table, column) = (table.to_owned(), column.to_owned());
        let cell = UnopenedCell { tenant, table, column, row, reason };
        if cells.len() < CELLS_MAX || cells.contains_key(&cell) {
            cells.entry(cell).or_default().untold += 1;
        }
    }

    /// The tenants of which there is something to tell.
    pub fn tenants(&self) -> BTreeSet<Uuid> {
        let Ok(tenants) = self.cells.lock() else { return BTreeSet::new() };
        let is_due = |met: &Met| met.untold > 0 && !met.is_recent();
        let due = tenants.iter().filter(|(_, cells)| cells.values().any(is_due));
        due.map(|(tenant, _)| *tenant).collect()
    }

    /// What there is to tell of a tenant, each cell with how often it was met; it counts as
    /// told. What is long over is forgotten.
    pub fn take(&self, tenant: Uuid) -> Vec<(UnopenedCell, u64)> {
        let mut due = Vec::new();
        let Ok(mut tenants) = self.cells.lock() else { return due };
        let Some(cells) = tenants.get_mut(&tenant) else { return due };
        cells.retain(|cell, met| {
            if met.is_recent() {
                return true;
            }
            if met.untold == 0 {
                return false;
            }
            due.push((cell.clone(), std::mem::take(&mut met.untold)));
            met.told_at = Some(Instant::now());
            true
        });
        due
    }

    /// Gives back what could not be told.
    pub fn give_back(&self, untold: Vec<(UnopenedCell, u64)>) {
        let Ok(mut tenants) = self.cells.lock() else { return };
        for (cell, count) in untold {
            let met = tenants.entry(cell.tenant).or_default().entry(cell).or_default();
            met.untold += count;
            met.told_at = None;
        }
    }
}

/// None where the next reading of the keys may open it, or where nobody altered anything.
fn reason(error: &KeyringError) -> Option<&'static str> {
    match error {
        KeyringError::Key(_) => Some("key_unopenable"),
        KeyringError::Unknown(_) => Some("key_unknown"),
        KeyringError::Destroyed(_) => Some("key_destroyed"),
        KeyringError::Open(error) => Some(match error {
            OpenError::Truncated { .. } | OpenError::UnknownFormat(_) => "malformed",
            OpenError::WrongKey { .. }
            | OpenError::CommitmentMismatch
            | OpenError::ForeignTenant => "foreign_key",
            OpenError::Tampered => "altered_or_moved",
        }),
        KeyringError::Database(_)
        | KeyringError::Seal(_)
        | KeyringError::Missing(_)
        | KeyringError::NotYetKnown(_)
        | KeyringError::NoShare(_)
        | KeyringError::Shares(_)
        | KeyringError::Shredded => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use vault::{KeyError, OpenError};

    use super::*;

    const OURS: Uuid = Uuid::from_u128(1);
    const THEIRS: Uuid = Uuid::from_u128(2);

    fn altered() -> KeyringError {
        KeyringError::Open(OpenError::Tampered)
    }

    #[test]
    fn a_cell_is_told_once_with_how_often_it_was_met() {
        let unopened = Unopened::default();
        let cell = ("customers", "email", Uuid::from_u128(7));
        for _ in 0..3 {
            unopened.note(OURS, cell, &altered());
        }
        unopened.note(THEIRS, cell, &altered());
        assert_eq!(unopened.tenants(), BTreeSet::from([OURS, THEIRS]));
        let told = unopened.take(OURS);
        assert_eq!((told.len(), told[0].1, told[0].0.reason), (1, 3, "altered_or_moved"));
        assert!(unopened.take(OURS).is_empty(), "once");
        unopened.note(OURS, cell, &altered());
        assert!(unopened.take(OURS).is_empty(), "nor again within the hour");
        assert_eq!(unopened.tenants(), BTreeSet::from([THEIRS]));
        unopened.give_back(told);
        assert_eq!(unopened.take(OURS)[0].1, 4, "what could not be told is told later");
    }

    #[test]
    fn only_what_lasts_is_noted() {
        for (error, reason) in [
            (altered(), Some("altered_or_moved")),
            (KeyringError::Open(OpenError::ForeignTenant), Some("foreign_key")),
            (KeyringError::Open(OpenError::UnknownFormat(9)), Some("malformed")),
            (KeyringError::Key(KeyError::Truncated), Some("key_unopenable")),
            (KeyringError::Shredded, None),
            (KeyringError::Missing("field"), None),
        ] {
            assert_eq!(super::reason(&error), reason, "{error}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let unopened = Unopened::default();
        for row in 0..2 * CELLS_MAX {
            let row = Uuid::from_u128(u128::try_from(row).unwrap());
            unopened.note(OURS, ("customers", "email", row), &altered());
        }
        unopened.note(THEIRS, ("customers", "email", Uuid::from_u128(7)), &altered());
        assert_eq!(unopened.take(THEIRS).len(), 1, "another tenant's flood hides nothing");
        assert_eq!(unopened.take(OURS).len(), CELLS_MAX);
    }
}
