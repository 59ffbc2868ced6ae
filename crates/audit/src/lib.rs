//! Owns the tamper-evident audit log: events and their exact bytes, the inbox
//! they wait in, the sealer that grows one RFC 6962 tree per tenant, signed
//! checkpoints, proofs, queries and the verifier.
//!
//! Refuses to know: who may read the log (the access crate decides), what a
//! command does (it hands in finished events), and personal data (never here).

pub mod anchor;
pub mod canonical;
pub mod cosignature;
pub mod event;
pub mod export;
pub mod keys;
pub mod kind;
pub mod merkle;
pub mod note;
pub mod offline;
pub mod partitions;
pub mod portable;
pub mod proof;
pub mod query;
pub mod retire;
pub mod sealer;
pub mod store;
pub mod super_proof;
pub mod verify;
pub mod witness;

mod compare;
mod dropped;
mod fault;
mod record;
mod rows;
mod sealing;
mod super_log;
mod super_walk;
mod trust;
mod walk;

pub use event::{AuditEvent, Change, EventContext, EventError, SealedEvent};
pub use kind::{ComplianceFlag, EventType, Outcome, RetentionClass, Severity};
pub use sealer::Sealer;
