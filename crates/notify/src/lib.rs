//! Messages to people, by e-mail and SMS: what there is to tell, the queue it waits in,
//! how it reads, and how it leaves the house.
//!
//! Owns the wording, the look of each tenant's messages, retries, and when to give up.
//! Refuses to know why somebody is told something, whether an address is theirs, and what
//! a code or link opens: callers say whom to tell what.

mod branding;
mod cells;
mod message;
mod notice;
mod outcomes;
mod queue;
mod schedule;
mod transport;
mod wording;
mod worker;

pub use branding::{Branding, SetBranding};
pub use cells::SEALED;
pub use message::{Content, Message};
pub use notice::{Channel, Notice, Template, has_control};
pub use queue::enqueue;
pub use schedule::Patience;
pub use transport::{
    Delivery, Folder, Gateway, GatewayConfig, GatewayConfigError, Pending, RootsError, Smtp,
    SmtpConfig, SmtpConfigError, SmtpSecurity, Transport,
};
pub use worker::{Notices, Transports, Waiting};
