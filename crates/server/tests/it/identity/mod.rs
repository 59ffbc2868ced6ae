//! Identity against a real server: sign-in under attack, tokens, refresh families,
//! sessions, people, tenants, and what the database itself refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abuse;
mod abuse_database;
mod abuse_wire;
mod api_keys;
mod database;
mod devices;
mod factor_world;
mod factors;
mod keys;
mod login;
mod outages;
mod passkeys;
mod passwords;
mod people;
mod policy;
mod refresh;
mod sessions;
mod support;
mod tokens;
mod users;
