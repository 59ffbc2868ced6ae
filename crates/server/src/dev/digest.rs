//! What one audit record says of a run of movements: a digest of each, so that every one
//! stays provable without a record of its own.

use std::fmt::Write as _;

use ledger::Posting;
use serde_json::{Value, json};

/// The details of the record of a batch.
pub(super) fn digests_of(batch: &[Posting]) -> Value {
    let digests: Vec<Value> = batch.iter().map(digest).collect();
    json!({ "transfers": batch.len(), "digests": digests })
}

/// A movement's id with the digest of what it says.
fn digest(posting: &Posting) -> Value {
    let content = format!(
        "{} {} {} {} {}",
        posting.transfer_id,
        posting.amount,
        posting.currency,
        posting.value_date,
        posting.description
    );
    let mut hexadecimal = String::with_capacity(64);
    for byte in vault::sha256(content.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    json!([posting.transfer_id, hexadecimal])
}
