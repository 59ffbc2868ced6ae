//! The one integration-test binary: whole parts against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod operation;
mod catalogue;
mod statements;
mod tenancy;
