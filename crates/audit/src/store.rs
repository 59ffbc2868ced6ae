//! Owns the way of finished events into the log: one statement per batch,
//! inside the transaction of the change that they record.
//!
//! Refuses to know: sealing. A record waits in the inbox until the sealer
//! takes it; nothing here orders or locks anything, so that appends of many
//! transactions never wait for each other.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;
use tenancy::{DbError, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::canonical;
use crate::event::{AuditEvent, SealedEvent};

/// Inserts records and inbox rows; `$1` is the tenant, the rest are arrays.
const APPEND: &str = tenancy::sql!("audit/log.sql", "append");

/// Appends events to the log of the transaction's tenant, in one round trip.
/// Nothing is sent where there are none.
pub async fn append(transaction: &TenantTx, events: Vec<AuditEvent>) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let batch = Batch::seal(transaction.tenant(), events)?;
    let columns = batch.columns()?;
    transaction.execute(APPEND, &columns.parameters()).await?;
    Ok(())
}

/// Sealed events of one tenant, ready to be sent; for callers that put the
/// insert into a pipeline of their own.
#[derive(Debug)]
pub struct Batch {
    tenant_id: Uuid,
    events: Vec<SealedEvent>,
}

impl Batch {
    /// Writes and hashes the records of those that do not stand in the log already. An
    /// event of another tenant, or one that has no canonical form, is an error of ours
    /// and refuses the batch.
    pub fn seal(tenant_id: Uuid, events: Vec<AuditEvent>) -> Result<Self, DbError> {
        if events.iter().any(|event| event.tenant_id() != tenant_id) {
            return Err(DbError::Corrupt("audit event of another tenant".to_owned()));
        }
        let due = events.into_iter().filter(|event| !event.is_recorded());
        let events = (due.map(AuditEvent::seal).collect::<Result<Vec<_>, _>>())
            .map_err(|error| DbError::Corrupt(error.to_string()))?;
        Ok(Self { tenant_id, events })
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, behind the insert: a batch that they stand in again leaves them out.
    pub fn into_recorded(self) -> Vec<AuditEvent> {
        self.events.into_iter().map(|sealed| sealed.event.recorded()).collect()
    }

    /// The parameters of [`Batch::SQL`], borrowed from this batch.
    pub fn columns(&self) -> Result<Columns<'_>, DbError> {
        let mut columns = Columns::with_capacity(self.tenant_id, self.events.len());
        for event in &self.events {
            columns.push(event).map_err(|error| DbError::Corrupt(error.to_string()))?;
        }
        Ok(columns)
    }

    /// The statement.
    pub const SQL: &'static str = APPEND;
}

/// One array per column.
#[derive(Debug)]
pub struct Columns<'batch> {
    tenant_id: Uuid,
    event_ids: Vec<Uuid>,
    occurred_at: Vec<Timestamp>,
    event_types: Vec<&'static str>,
    severities: Vec<&'static str>,
    results: Vec<&'static str>,
    organization_ids: Vec<Option<Uuid>>,
    user_ids: Vec<Option<Uuid>>,
    session_ids: Vec<Option<Uuid>>,
    resource_ids: Vec<Option<Uuid>>,
    actor_kinds: Vec<&'static str>,
    actions: Vec<&'batch str>,
    resource_types: Vec<&'batch str>,
    ip_addresses: Vec<Option<IpAddr>>,
    user_agents: Vec<Option<&'batch str>>,
    request_ids: Vec<Option<&'batch str>>,
    compliance_flags: Vec<String>,
    old_values: Vec<Option<String>>,
    new_values: Vec<Option<String>>,
    details: Vec<Option<String>>,
    records: Vec<&'batch [u8]>,
    leaf_hashes: Vec<&'batch [u8]>,
}

impl<'batch> Columns<'batch> {
    fn with_capacity(tenant_id: Uuid, count: usize) -> Self {
        Self {
            tenant_id,
            event_ids: Vec::with_capacity(count),
            occurred_at: Vec::with_capacity(count),
            event_types: Vec::with_capacity(count),
            severities: Vec::with_capacity(count),
            results: Vec::with_capacity(count),
            organization_ids: Vec::with_capacity(count),
            user_ids: Vec::with_capacity(count),
            session_ids: Vec::with_capacity(count),
            resource_ids: Vec::with_capacity(count),
            actor_kinds: Vec::with_capacity(count),
            actions: Vec::with_capacity(count),
            resource_types: Vec::with_capacity(count),
            ip_addresses: Vec::with_capacity(count),
            user_agents: Vec::with_capacity(count),
            request_ids: Vec::with_capacity(count),
            compliance_flags: Vec::with_capacity(count),
            old_values: Vec::with_capacity(count),
            new_values: Vec::with_capacity(count),
            details: Vec::with_capacity(count),
            records: Vec::with_capacity(count),
            leaf_hashes: Vec::with_capacity(count),
        }
    }

    fn push(&mut self, sealed: &'batch SealedEvent) -> Result<(), canonical::CanonicalError> {
        let event = sealed.event.parts();
        let context = event.context;
        self.event_ids.push(sealed.event.event_id());
        self.occurred_at.push(context.occurred_at);
        self.event_types.push(event.event_type.as_str());
        self.severities.push(event.event_type.severity().as_str());
        self.results.push(event.outcome.as_str());
        self.organization_ids.push(context.organization_id);
        self.user_ids.push(context.user_id);
        self.session_ids.push(context.session_id);
        self.resource_ids.push(event.resource_id);
        self.actor_kinds.push(context.actor_kind);
        self.actions.push(event.action);
        self.resource_types.push(event.resource_type);
        self.ip_addresses.push(context.ip_address);
        self.user_agents.push(context.user_agent.as_deref());
        self.request_ids.push(context.request_id.as_deref());
        let flags: Vec<_> =
            sealed.event.compliance_flags().iter().map(|flag| flag.as_str()).collect();
        self.compliance_flags.push(flags.join(","));
        self.old_values.push(json_text(event.old_values)?);
        self.new_values.push(json_text(event.new_values)?);
        self.details.push(json_text(event.details)?);
        self.records.push(&sealed.record);
        self.leaf_hashes.push(&sealed.leaf_hash);
        Ok(())
    }

    /// `$1…$22` of [`Batch::SQL`].
    pub fn parameters(&self) -> [&(dyn ToSql + Sync); 22] {
        [
            &self.tenant_id,
            &self.event_ids,
            &self.occurred_at,
            &self.event_types,
            &self.severities,
            &self.results,
            &self.organization_ids,
            &self.user_ids,
            &self.session_ids,
            &self.resource_ids,
            &self.actor_kinds,
            &self.actions,
            &self.resource_types,
            &self.ip_addresses,
            &self.user_agents,
            &self.request_ids,
            &self.compliance_flags,
            &self.old_values,
            &self.new_values,
            &self.details,
            &self.records,
            &self.leaf_hashes,
        ]
    }
}

/// Canonical text, exactly as it stands inside the record.
fn json_text(value: Option<&Value>) -> Result<Option<String>, canonical::CanonicalError> {
    value.map(canonical::to_text).transpose()
}
