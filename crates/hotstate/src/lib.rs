//! Short-lived state that every request asks: rate windows, live sessions, login
//! gates, address blocks. In memory on one node; rate windows and blocks in a store that
//! all nodes share, where there is one.
//!
//! It refuses to know SQL and HTTP; callers bring keys, policy and the time.

pub mod block;
pub mod blocks;
pub mod gate;
pub mod limiter;
pub mod limits;
pub mod rate;
pub mod sessions;
pub mod shared;
pub mod source;
