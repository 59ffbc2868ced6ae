//! Four eyes, whatever it is about: an order that waits, what it is bound to, who may count
//! among those that decide it, and how a decision is written down.
//!
//! Owns the row of an approval, its hash, and the rules that every kind shares: only people
//! decide, never the maker, never whom it is about, each independent of the maker and of all
//! who agreed before, nothing after its time, and never something else than was ordered.
//! Refuses to know what is done when enough have agreed: each kind's domain carries it out,
//! in the transaction of the last agreement.

mod binding;
mod desk;
mod model;
mod order;

use jiff::SignedDuration;

pub use binding::Binding;
pub use desk::{
    Decision, Maker, agree, agreement_event, check_independence, counted, decide, decided_event,
    insert_decision, locked, maker, maker_not_permitted, tampered, tampered_event,
};
pub use model::{
    Agreement, Approval, ApprovalKind, ApprovalStatus, TRANSITIONS, UnknownApprovalName,
    hexadecimal,
};
pub use order::{
    NewOrder, PENDING_MAX, PENDING_OF_MAKERS, demanded, kind_of, order, too_many_pending,
};

/// How long an order waits for a second person.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What records say that they are about.
pub const RESOURCE: &str = "approval";
