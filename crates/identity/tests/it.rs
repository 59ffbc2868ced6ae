//! Temporary.
#[path = "../../server/tests/it/identity.rs"]
mod identity_tests;
