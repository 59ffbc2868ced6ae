//! The one integration-test binary: whole parts against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod audit;
mod bank_duties;
mod bank_lists;
mod bank_plans;
mod bank_world;
mod banking;
mod catalogue;
mod cli;
mod coverage;
mod harness;
mod identity;
mod import;
mod ledger;
mod operation;
mod serving;
mod statements;
mod tenancy;
mod wire;
mod wire_requests;
