//! Brings another bank's records in: customers, accounts, parties and the whole
//! history, out of CSV files and a column map.
//!
//! Owns reading the files, naming every bad line, the order in which a day's
//! movements are posted, loading each record exactly once, and the comparison of
//! computed with published balances. Refuses to write balances or entries itself
//! (the ledger does) and to guess: what the map does not say is a fault.

pub mod chain;
pub mod load;
pub mod map;
pub mod plan;
pub mod reconcile;
pub mod source;

pub use chain::Fit;
pub use load::{Import, Loaded, Progress, load};
pub use map::ImportMap;
pub use plan::{Fault, Plan};
pub use reconcile::{Reconciliation, reconcile};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
