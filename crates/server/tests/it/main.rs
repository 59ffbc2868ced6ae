//! The one integration-test binary: whole parts against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod operation;
mod catalogue;
mod cli;
mod identity;
mod serving;
mod statements;
mod tenancy;
mod bank_lists;
mod bank_plans;
mod bank_world;
mod banking;
mod ledger;
mod api;
mod coverage;
mod harness;
mod import;
mod wire;
