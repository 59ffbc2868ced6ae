//! Messages to people, by e-mail and SMS: what there is to tell, the queue it waits in,
//! how it reads, and how it leaves the house.
//!
//! Owns the wording, the look of each tenant's messages, retries, and when to give up.
//! Refuses to know why somebody is told something, whether an address is theirs, and what
//! a code or link opens: callers say whom to tell what.

mod notice;
mod queue;

pub use notice::{Channel, Notice, Template};
pub use queue::enqueue;
