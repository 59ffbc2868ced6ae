//! Short-lived state that every request asks: rate windows, live sessions, login
//! gates, address blocks. In memory on one node; a shared store joins later behind
//! the same functions.
//!
//! It refuses to know SQL, HTTP and policy: callers bring keys, limits and the time.

pub mod block;
pub mod gate;
pub mod rate;
pub mod sessions;
