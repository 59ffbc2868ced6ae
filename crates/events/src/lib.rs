//! Owns what other systems are told: the names of events, the outbox that they wait in,
//! the relay that gives them positions, reading on from one, and how long they are kept.
//!
//! Refuses to know: who may read them, and what a command does. An event is the shadow of
//! the audit record of a change; what it tells is what the record tells, so personal data
//! is never here either.

mod log;
mod names;
mod outbox;
mod relay;
mod retention;

pub use log::{Event, Page, Selection, page};
pub use names::{PUBLISHED, SILENT, name_of};
pub use outbox::Outgoing;
pub use relay::{Relay, Relayed};
pub use retention::forget_old;
