//! scratch
#[path = "../../server/tests/it/audit.rs"]
mod audit_it;
