//! Getting in again, and how one is reached: passwords by link, invitations, proven and
//! changed addresses.
//!
//! What is sent is good once, for a while, and for one purpose. It leads to the configured
//! origin only: a path is put into the queue of notices, and nothing of a request stands in
//! it. Whether somebody exists is told to nobody who has not proven to be them.
//!
//! Lock order: the person's row, then their tokens. Refuses to know how messages look and
//! leave, and to sign anybody in: a link is no second factor.

mod contact;
mod forgotten;
mod invite;
mod link;
pub(crate) mod one_time;
pub(crate) mod person;
mod staff;

pub use contact::{NewAddress, PhoneChallenge};
pub use forgotten::ForgottenPassword;
pub use invite::Invitation;
pub use link::{Link, NewPasswordByLink};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// That a link is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSent {
    /// From when on it is good for nothing.
    pub expires_at: Timestamp,
}
