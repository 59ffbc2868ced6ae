//! Decisions that a policy failed to give, told of in bounded numbers: the first of a tenant
//! and permission at once, those of the minute after it as one record with their count.
//!
//! Who asks something unanswerable over and over must not fill the log by it. The metric
//! counts every one. Refuses to decide: [`crate::Operations`] does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use access::Permission;
use audit::{AuditEvent, EventType, Outcome};
use serde_json::{Map, Value, json};
use tenancy::{Database, DbError, OpContext};
use uuid::Uuid;

use crate::{access_log::write, event};

/// Failures within this are one record.
const PERIOD: Duration = Duration::from_secs(60);

/// What failed in the last minute on this node. There are no more periods than tenants have
/// permissions.
#[derive(Clone, Default)]
pub(crate) struct FailedDecisions {
    periods: Arc<Mutex<HashMap<(Uuid, Permission), Period>>>,
}

struct Period {
    /// Of whoever met the failure first; the others are counted.
    context: OpContext,
    begun_at: Instant,
    untold: u64,
}

/// A record to be written, and how many failures it tells of.
struct Due {
    context: OpContext,
    permission: Permission,
    count: u64,
}

impl FailedDecisions {
    /// Takes note of a failure. The first of a period is to be told at once, by
    /// [`FailedDecisions::tell`].
    pub(crate) fn is_news(&self, context: &OpContext, permission: Permission) -> bool {
        let Ok(mut periods) = self.periods.lock() else { return true };
        let key = (context.tenant_id(), permission);
        if let Some(period) = periods.get_mut(&key) {
            period.untold += 1;
            return false;
        }
        let (context, begun_at) = (context.clone(), Instant::now());
        periods.insert(key, Period { context, begun_at, untold: 0 });
        true
    }

    /// Writes the record of a failure that is news. One that cannot be written is counted
    /// among those that follow.
    pub(crate) async fn tell(
        &self,
        database: &Database,
        context: &OpContext,
        permission: Permission,
    ) {
        let record = record(context, permission, None);
        if let Err(error) = write(database, context, vec![record]).await {
            tracing::error!(%error, %permission, "a failed decision could not be recorded yet");
            self.owe(context, permission, 1);
        }
    }

    /// Writes what periods that are over have counted; with `everything` also those that are
    /// not. What could not be written (the first error is returned) is due again.
    pub(crate) async fn flush(
        &self,
        database: &Database,
        everything: bool,
    ) -> Result<usize, DbError> {
        let (mut count, mut failure) = (0, None);
        for due in self.due(everything) {
            let record = record(&due.context, due.permission, Some(due.count));
            match write(database, &due.context, vec![record]).await {
                Ok(()) => count += 1,
                Err(error) => {
                    self.owe(&due.context, due.permission, due.count);
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(count), Err)
    }

    /// Periods that counted something begin anew, so that a lasting failure is told of once
    /// a minute; the others end.
    fn due(&self, everything: bool) -> Vec<Due> {
        let mut due = Vec::new();
        let Ok(mut periods) = self.periods.lock() else { return due };
        periods.retain(|(_, permission), period| {
            if !everything && period.begun_at.elapsed() < PERIOD {
                return true;
            }
            if period.untold == 0 {
                return false;
            }
            let count = std::mem::take(&mut period.untold);
            due.push(Due { context: period.context.clone(), permission: *permission, count });
            period.begun_at = Instant::now();
            true
        });
        due
    }

    fn owe(&self, context: &OpContext, permission: Permission, count: u64) {
        let Ok(mut periods) = self.periods.lock() else { return };
        let begun = || Period { context: context.clone(), begun_at: Instant::now(), untold: 0 };
        let period = periods.entry((context.tenant_id(), permission)).or_insert_with(begun);
        period.untold += count;
    }
}

fn record(context: &OpContext, permission: Permission, repeats: Option<u64>) -> AuditEvent {
    let mut details = Map::new();
    details.insert("code".to_owned(), json!("policy_failed"));
    details.insert("permission".to_owned(), json!(permission.as_str()));
    if let Some(repeats) = repeats {
        details.insert("repeats".to_owned(), json!(repeats));
    }
    event(context, EventType::SecurityViolation, "access.decide", "policy")
        .outcome(Outcome::Failed)
        .details(Value::Object(details))
}
