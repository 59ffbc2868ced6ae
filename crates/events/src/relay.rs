//! Owns the relay: it moves events from the outbox into the log and gives them their
//! positions, contiguous in each tenant.
//!
//! One pass is one transaction: leadership (an advisory lock that ends with it) and one
//! statement. A crash anywhere leaves the outbox as it was. It runs under the role
//! `strongroom_sealer`, on ids only, and works on all tenants at once.

use std::time::Duration;

use jiff::Timestamp;
use tenancy::{Clock, Database, DbError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LEAD: &str = tenancy::sql!("events/relay.sql", "lead");
const RELAY: &str = tenancy::sql!("events/relay.sql", "relay");
const WAITING: &str = tenancy::sql!("events/relay.sql", "waiting");

/// Events of one tenant in one pass.
const TENANT_ROWS: i64 = 1_000;
/// Events of all tenants in one pass: bounds the length of a transaction.
const PASS_ROWS: i64 = 5_000;
/// Pause between passes where nothing was moved.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause after a failed pass.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// The age of the outbox is measured every so many passes.
const MEASURE_EVERY_PASSES: u32 = 20;

/// What one pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// Another process leads.
    Elsewhere,
    /// So many were moved.
    Moved(u64),
}

/// The relay of one process. Several may run; one leads at a time.
#[derive(Debug)]
pub struct Relay {
    database: Database,
    clock: Clock,
    tenant_rows: i64,
    pass_rows: i64,
}

impl Relay {
    /// A relay on a database that was opened under the role `strongroom_sealer`.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, tenant_rows: TENANT_ROWS, pass_rows: PASS_ROWS }
    }

    /// The same with other bounds: on one tenant's events of a pass, and on everybody's.
    #[must_use]
    pub fn with_bounds(mut self, tenant_rows: i64, pass_rows: i64) -> Self {
        (self.tenant_rows, self.pass_rows) = (tenant_rows.max(1), pass_rows.max(1));
        self
    }

    /// Relays until cancelled; a pass that has begun is finished.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut passes = 0_u32;
        while !cancel.is_cancelled() {
            let pause = match self.relay_once().await {
                Ok(Relayed::Moved(moved)) if moved > 0 => Duration::ZERO,
                Ok(_) => PAUSE,
                Err(error) => {
                    metrics::counter!("strongroom_event_relay_failures_total").increment(1);
                    tracing::error!(%error, "events could not be relayed");
                    PAUSE_AFTER_ERROR
                }
            };
            if passes.is_multiple_of(MEASURE_EVERY_PASSES)
                && let Err(error) = self.measure().await
            {
                tracing::warn!(%error, "the age of the event outbox could not be measured");
            }
            passes = passes.wrapping_add(1);
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Relays until nothing more can be moved.
    pub async fn drain(&self) -> Result<u64, DbError> {
        let mut moved = 0;
        while let Relayed::Moved(some @ 1..) = self.relay_once().await? {
            moved += some;
        }
        Ok(moved)
    }

    /// One pass.
    pub async fn relay_once(&self) -> Result<Relayed, DbError> {
        let mut client = self.database.system_connection().await?;
        // Prepared once a connection, not once a pass.
        let lead = client.prepare_cached(LEAD).await?;
        let relay = client.prepare_cached(RELAY).await?;
        let transaction = client.build_transaction().start().await?;
        let leads: bool = transaction.query_one(&lead, &[]).await?.try_get("leads")?;
        if !leads {
            return Ok(Relayed::Elsewhere);
        }
        // Its snapshot begins behind the lock: it sees what the last leader numbered.
        let now = self.clock.now();
        let moved =
            transaction.execute(&relay, &[&self.tenant_rows, &self.pass_rows, &now]).await?;
        transaction.commit().await?;
        metrics::counter!("strongroom_events_relayed_total").increment(moved);
        Ok(Relayed::Moved(moved))
    }

    /// Sets the gauges `strongroom_event_outbox_waiting` and `…_age_seconds`.
    pub async fn measure(&self) -> Result<(), DbError> {
        let client = self.database.system_connection().await?;
        let row = client.query_one(WAITING, &[]).await?;
        let waiting: i64 = row.try_get("waiting")?;
        let oldest: Option<Uuid> = row.try_get("oldest")?;
        let age_ms = oldest
            .and_then(instant_of)
            .map_or(0, |at| self.clock.now().as_millisecond() - at.as_millisecond());
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats; neither is money")]
        {
            metrics::gauge!("strongroom_event_outbox_waiting").set(waiting as f64);
            metrics::gauge!("strongroom_event_outbox_age_seconds")
                .set(age_ms.max(0) as f64 / 1_000.0);
        }
        Ok(())
    }
}

/// The millisecond inside a version 7 id.
fn instant_of(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}
