//! Records of sealed fields that did not open: a security violation names the table, the
//! column and the row, and says why. The keyring takes note of them wherever they are met, in
//! a command, a read or a worker.

use audit::{EventType, Outcome};
use serde_json::json;
use tenancy::{
    Database, DbError, OpContext,
    keyring::{Keyring, UnopenedCell},
};

use crate::{access_log::write, event};

/// Writes what there is to tell of the context's tenant; says how many records it were. What
/// could not be written is told the next time.
pub async fn tell_unopened(
    database: &Database,
    keyring: &Keyring,
    context: &OpContext,
) -> Result<usize, DbError> {
    let due = keyring.unopened().take(context.tenant_id());
    if due.is_empty() {
        return Ok(0);
    }
    let records = due.iter().map(|(cell, times)| {
        let UnopenedCell { table, column, row, reason, .. } = cell;
        tracing::error!(%table, %column, %row, reason, "a sealed field does not open");
        metrics::counter!("strongroom_unopened_fields_total").increment(1);
        event(context, EventType::SecurityViolation, "field.open", "sealed_field")
            .resource_id(*row)
            .outcome(Outcome::Failed)
            .details(json!({
                "code": "unopenable", "table": table, "column": column, "reason": reason,
                "times": times,
            }))
    });
    match write(database, context, records.collect()).await {
        Ok(()) => Ok(due.len()),
        Err(error) => {
            keyring.unopened().give_back(due);
            Err(error)
        }
    }
}
