//! Short-lived state that every request asks: rate windows, live sessions, login
//! gates, address blocks. In memory on one node; a shared store joins later behind
//! the same functions.
//!
//! It refuses to know SQL and HTTP; callers bring keys, policy and the time.

pub mod block;
pub mod gate;
pub mod limits;
pub mod rate;
pub mod sessions;
pub mod source;
