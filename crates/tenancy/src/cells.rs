//! Which columns are sealed, under whose key, and which blind index stands beside them. Every
//! domain says so of its own tables, and a test holds the catalogue against all of it: what is
//! counted or sealed anew goes by these lists.
//!
//! Refuses to know what is inside a cell.

use uuid::Uuid;

/// The column that names a row in the context of what is sealed in it.
pub const ROW: &str = "id";

/// Whose key seals a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyClass {
    /// A data subject's, whose id stands in this column of the row.
    Subject(&'static str),
    /// A data subject's, or where this column is empty the tenant's own.
    SubjectOrTenant(&'static str),
    /// The tenant's own.
    Tenant,
}

/// What a blind index may stand for.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// What keeps equal values of different kinds apart.
    pub domain: &'static str,
    /// How a value is written before it is indexed.
    pub normal: fn(&str) -> String,
}

/// The blind index beside a cell.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its column.
    pub column: &'static str,
    /// What it stands for; the row says which of several.
    pub meanings: &'static [Meaning],
    /// How it is made anew, where rows are looked for by it for longer than a few days.
    pub reindex: Option<Reindex>,
}

/// The statements by which a blind index is made anew.
#[derive(Clone, Copy, Debug)]
pub struct Reindex {
    /// Counts what another generation than this indexes: tenant, generation.
    pub behind: &'static str,
    /// Row, value, index and key of the subject of some of that, in order: tenant, generation,
    /// row to begin after, how many.
    pub page: &'static str,
    /// Writes new indexes where the old ones still stand: tenant, rows, old ones, new ones.
    pub write: &'static str,
}

/// The statements by which a column of the tenant's own values is sealed anew.
#[derive(Clone, Copy, Debug)]
pub struct Reseal {
    /// Counts what another key than this seals: tenant, key.
    pub behind: &'static str,
    /// Row and value of some of that, in order: tenant, key, row to begin after, how many.
    pub page: &'static str,
    /// Writes new values where the old ones still stand: tenant, rows, old ones, new ones.
    pub write: &'static str,
}

/// A sealed column.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
    /// Whose key seals it.
    pub key: KeyClass,
    /// What it is found by, where it is looked for.
    pub index: Option<Index>,
    /// How it is sealed anew, where the tenant's own key seals any of it.
    pub reseal: Option<Reseal>,
}

impl Cell {
    /// A column that nothing is found by.
    pub const fn new(table: &'static str, column: &'static str, key: KeyClass) -> Self {
        Self { table, column, key, index: None, reseal: None }
    }

    /// The same with an index beside it.
    #[must_use]
    pub const fn found_by(mut self, column: &'static str, meanings: &'static [Meaning]) -> Self {
        self.index = Some(Index { column, meanings, reindex: None });
        self
    }

    /// The same with the statements that make its index anew.
    #[must_use]
    pub const fn reindexed_by(mut self, reindex: Reindex) -> Self {
        if let Some(index) = &mut self.index {
            index.reindex = Some(reindex);
        }
        self
    }

    /// The same with the statements that seal it anew.
    #[must_use]
    pub const fn resealed_by(mut self, reseal: Reseal) -> Self {
        self.reseal = Some(reseal);
        self
    }

    /// The cell of one row.
    pub const fn at(&self, row: Uuid) -> (&'static str, &'static str, Uuid) {
        (self.table, self.column, row)
    }
}

/// What a domain seals.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    /// The columns.
    pub cells: &'static [Cell],
    /// The statement that counts what stands in them by the keys that their headers name:
    /// table, column, purpose, epoch and state of the keys, how many keys, how many values.
    pub inventory: &'static str,
}
