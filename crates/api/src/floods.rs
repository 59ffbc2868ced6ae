//! Owns the record of refused requests: 401 and 429, counted by source and minute,
//! one audit event each, so that a flood of them can neither fill the log nor go
//! unseen.
//!
//! Refuses to judge them: watching is another module's. Who is known is recorded in
//! their tenant's log, everybody else in the platform's. A crash loses at most the
//! minute under way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use audit::{AuditEvent, EventType, Outcome};
use operation::event;
use serde_json::json;
use tenancy::{Actor, ActorKind, DbError, OpContext, RequestInfo, TenantRef};
use uuid::Uuid;

use crate::state::ApiState;

const MINUTE: Duration = Duration::from_secs(60);
/// Sources told apart within a minute; the rest are counted as one.
const SOURCES_MAX: usize = 10_000;
/// Events of one insert.
const BATCH: usize = 500;
const PLATFORM: &str = "platform";

/// Where refused requests came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source {
    tenant: Option<Uuid>,
    address: Option<IpAddr>,
    status: u16,
}

/// How many there were, and what the first of them was.
#[derive(Debug)]
struct Count {
    requests: u64,
    tenant: Option<Arc<TenantRef>>,
    first: Arc<RequestInfo>,
}

/// The refused requests of the minute under way.
#[derive(Debug, Default)]
pub(crate) struct Floods {
    counts: Mutex<HashMap<Source, Count>>,
    /// Whether a task waits for the end of the minute.
    awaited: AtomicBool,
}

impl Floods {
    /// Takes note of one. Never waits for the database.
    pub(crate) fn note(
        state: &ApiState,
        tenant: Option<Arc<TenantRef>>,
        from: &Arc<RequestInfo>,
        status: u16,
    ) {
        let floods = &state.floods;
        floods.count(tenant, from, status);
        if !floods.awaited.swap(true, Ordering::AcqRel) {
            let state = state.clone();
            tokio::spawn(async move {
                tokio::time::sleep(MINUTE).await;
                // Before the taking: what comes during it starts the next minute.
                state.floods.awaited.store(false, Ordering::Release);
                state.record_refused().await;
            });
        }
    }

    fn count(&self, tenant: Option<Arc<TenantRef>>, from: &Arc<RequestInfo>, status: u16) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tenant.as_ref().map(|tenant| tenant.id.0);
        let mut source = Source { tenant: known, address: from.ip, status };
        if counts.len() >= SOURCES_MAX && !counts.contains_key(&source) {
            source.address = None;
        }
        let count = counts.entry(source).or_insert_with(|| Count {
            requests: 0,
            tenant,
            first: Arc::clone(from),
        });
        count.requests += 1;
    }

    fn take(&self) -> HashMap<Source, Count> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ApiState {
    /// Writes what was refused so far; at the end of each minute by itself, and to
    /// be called at shutdown.
    pub async fn record_refused(&self) {
        let mut logs: HashMap<Uuid, (OpContext, Vec<AuditEvent>)> = HashMap::new();
        let platform = match self.directory.by_slug(PLATFORM).await {
            Ok(platform) => platform,
            Err(error) => return lost(&error),
        };
        for (source, count) in self.floods.take() {
            let Some(tenant) = count.tenant.clone().or_else(|| platform.clone()) else { continue };
            let context = self.nobody(&tenant, &count.first);
            let record = flood_event(&context, source, &count);
            logs.entry(tenant.id.0).or_insert((context, Vec::new())).1.push(record);
        }
        for (context, mut events) in logs.into_values() {
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(BATCH));
                if let Err(error) = self.append(&context, events).await {
                    lost(&error);
                }
                events = rest;
            }
        }
    }

    async fn append(&self, context: &OpContext, events: Vec<AuditEvent>) -> Result<(), DbError> {
        let transaction = self.operations.database().begin(context).await?;
        audit::store::append(&transaction, events).await?;
        transaction.commit().await
    }

    /// Nobody yet, in one tenant.
    pub(crate) fn nobody(&self, tenant: &Arc<TenantRef>, from: &Arc<RequestInfo>) -> OpContext {
        OpContext {
            tenant: Arc::clone(tenant),
            actor: Actor::system(ActorKind::Anonymous),
            session: None,
            request: Arc::clone(from),
            clock: self.clock.clone(),
        }
    }
}

fn flood_event(context: &OpContext, source: Source, count: &Count) -> AuditEvent {
    let shared = source.address.is_none() && count.first.ip.is_some();
    event(context, EventType::RequestFlood, "request.refused", "request")
        .outcome(Outcome::Denied)
        .details(json!({
            "status": source.status, "requests": count.requests, "several_addresses": shared,
        }))
}

fn lost(error: &DbError) {
    tracing::error!(%error, "refused requests could not be recorded");
    metrics::counter!("strongroom_access_records_lost_total").increment(1);
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use tenancy::RequestInfo;

    use super::{Floods, SOURCES_MAX};

    fn from(address: [u8; 4]) -> Arc<RequestInfo> {
        Arc::new(RequestInfo { ip: Some(IpAddr::from(address)), ..RequestInfo::default() })
    }

    #[test]
    fn sources_are_counted_apart_until_there_are_too_many() {
        let floods = Floods::default();
        for _ in 0..3 {
            floods.count(None, &from([192, 0, 2, 1]), 401);
        }
        floods.count(None, &from([192, 0, 2, 1]), 429);
        assert_eq!(floods.take().values().map(|count| count.requests).max(), Some(3));
        for number in 0..20_000_u32 {
            floods.count(None, &from(number.to_be_bytes()), 401);
        }
        let counts = floods.take();
        assert_eq!(counts.len(), SOURCES_MAX + 1);
        assert_eq!(counts.values().map(|count| count.requests).sum::<u64>(), 20_000);
    }
}
