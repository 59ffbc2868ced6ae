//! Owns the record of refused requests: 401 and 429, counted by source and minute,
//! one audit event each, so that a flood of them can neither fill the log nor go
//! unseen.
//!
//! Refuses to judge them: watching is another module's. Who is known is recorded in
//! their tenant's log, everybody else in the platform's. A crash loses at most the
//! minute under way; a database that is away loses nothing, for what was not written
//! stays here and is counted on.

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
use hotstate::source;
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
    /// As it is counted; none where several share what is left.
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

/// What goes into one log.
type Counted = Vec<(Source, Count)>;

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
            tokio::spawn(state.clone().record_by_the_minute());
        }
    }

    fn count(&self, tenant: Option<Arc<TenantRef>>, from: &Arc<RequestInfo>, status: u16) {
        let known = tenant.as_ref().map(|tenant| tenant.id.0);
        let source = Source { tenant: known, address: from.ip.map(source::counted), status };
        self.add([(source, Count { requests: 1, tenant, first: Arc::clone(from) })]);
    }

    /// Adds to what is counted: what was refused now, or what could not be written.
    fn add(&self, more: impl IntoIterator<Item = (Source, Count)>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (mut source, count) in more {
            if counts.len() >= SOURCES_MAX && !counts.contains_key(&source) {
                source.address = None;
            }
            let requests = count.requests;
            counts.entry(source).or_insert(Count { requests: 0, ..count }).requests += requests;
        }
    }

    fn take(&self) -> HashMap<Source, Count> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ApiState {
    /// Writes what was refused so far; at the end of each minute by itself, and to be
    /// called at shutdown.
    ///
    /// # Errors
    /// The first that something could not be written for. It is kept, and written the
    /// next time.
    pub async fn record_refused(&self) -> Result<(), DbError> {
        let platform = self.directory.by_slug(PLATFORM).await?;
        let mut logs: HashMap<Uuid, (Arc<TenantRef>, Counted)> = HashMap::new();
        for (source, count) in self.floods.take() {
            let Some(tenant) = count.tenant.clone().or_else(|| platform.clone()) else { continue };
            let log = logs.entry(tenant.id.0).or_insert((tenant, Vec::new()));
            log.1.push((source, count));
        }
        let mut failure = None;
        for (tenant, mut counts) in logs.into_values() {
            while !counts.is_empty() {
                let rest = counts.split_off(counts.len().min(BATCH));
                if let Err(error) = self.append(&tenant, &counts).await {
                    self.floods.add(counts);
                    failure = failure.or(Some(error));
                }
                counts = rest;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes at the end of the minute, and of each one after that until all is written.
    async fn record_by_the_minute(self) {
        loop {
            tokio::time::sleep(MINUTE).await;
            // Before the taking: what comes during it starts the next minute.
            self.floods.awaited.store(false, Ordering::Release);
            let Err(error) = self.record_refused().await else { return };
            tracing::warn!(%error, "refused requests will be recorded a minute later");
            if self.floods.awaited.swap(true, Ordering::AcqRel) {
                // Another of us waits already, and writes for both.
                return;
            }
        }
    }

    async fn append(
        &self,
        tenant: &Arc<TenantRef>,
        counts: &[(Source, Count)],
    ) -> Result<(), DbError> {
        let Some((_, first)) = counts.first() else { return Ok(()) };
        let context = self.nobody(tenant, &first.first);
        let events = counts
            .iter()
            .map(|(source, count)| flood_event(&self.nobody(tenant, &count.first), *source, count))
            .collect();
        let transaction = self.operations.database().begin(&context).await?;
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

    #[test]
    fn what_could_not_be_written_is_counted_on_within_the_same_bounds() {
        let floods = Floods::default();
        for number in 0..15_000_u32 {
            floods.count(None, &from(number.to_be_bytes()), 401);
        }
        let unwritten = floods.take();
        for number in 10_000..20_000_u32 {
            floods.count(None, &from(number.to_be_bytes()), 401);
        }
        floods.add(unwritten);
        let counts = floods.take();
        assert!(counts.len() <= SOURCES_MAX + 1, "{}", counts.len());
        assert_eq!(counts.values().map(|count| count.requests).sum::<u64>(), 25_000);
    }

    #[test]
    fn whoever_has_a_network_of_addresses_is_one_source() {
        let floods = Floods::default();
        for host in 0..100_u16 {
            let ip = IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, host]);
            let from = RequestInfo { ip: Some(ip), ..RequestInfo::default() };
            floods.count(None, &Arc::new(from), 401);
        }
        let requests: Vec<_> = floods.take().into_values().map(|count| count.requests).collect();
        assert_eq!(requests, [100]);
    }
}
