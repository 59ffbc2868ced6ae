//! The ledger: double entry in integer minor units, one posting engine behind one
//! module ([`posting`]: a batch of postings in, a result each out), [`holds`]
//! that it decides under the same locks, and the proof that the books are right ([`verify`]).
//!
//! Signs are the bank's: a credit is positive, so a customer's balance is what the
//! bank owes them, and the entries of every transfer sum to zero.
//!
//! It refuses to know who may do what and why money moves: customers, products and
//! permissions are banking's. Nothing else writes balances or entries.

pub mod accounts;
pub mod holds;
pub mod model;
pub mod posting;
pub mod verify;

pub use holds::{Hold, HoldStatus};
pub use model::{AccountState, AccountStatus, InternalAccount, TransactionType, TransferKind};
pub use posting::{Leg, Posted, PostedEntry, Posting, PostingError};
