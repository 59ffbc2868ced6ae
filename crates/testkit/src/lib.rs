//! Owns what tests need and production must not have: a PostgreSQL cluster for
//! the run, a migrated database of its own for every test, a Redis for those that share
//! state, and a software authenticator.
//!
//! It refuses to know what is tested: no domain crate is imported here. It
//! panics instead of returning errors: a test without its database has failed.
#![allow(clippy::panic, clippy::expect_used, reason = "a test tool fails loudly, in the test")]

pub mod authenticator;
mod database;
mod redis;
mod shared_cluster;

pub use database::{TestDatabase, connect};
pub use redis::RedisServer;
pub use shared_cluster::{CLUSTER_URL_VARIABLE, superuser_url};
