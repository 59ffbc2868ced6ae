//! Identity against a real server: sign-in under attack, tokens, refresh families,
//! sessions, people, tenants, and what the database itself refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abuse;
mod abuse_database;
mod abuse_wire;
mod api_keys;
mod database;
mod devices;
pub(crate) mod factor_world;
mod factors;
mod hardening;
mod keys;
mod login;
mod outages;
mod passkeys;
mod passwords;
mod people;
mod policy;
mod policy_clock;
mod refresh;
mod register;
mod sessions;
mod standing;
mod support;
mod tokens;
mod users;
