//! What the worker does for each tenant: events become deliveries, what is due is sent, and
//! what became of it is written down.
//!
//! At least once, as notices are: a lease is committed before anything is sent and its
//! outcome after, so what a dead process held is taken over when the lease ends, under the
//! same id. No lock and no transaction waits for a receiver.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use operation::{Call, OperationError, RefusalKind};
use outward::{Answer, Destination, Found, Unreached};
use serde_json::Value;
use tenancy::{
    DbError, OpContext, Query,
    keyring::{KeyringError, TenantKeys},
};
use tokio::time::timeout;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::webhook::WebhookSecret;

use crate::{
    Backlog, Webhooks,
    cells::{PREVIOUS_SECRET, SECRET, TABLE},
    message::{Data, Told, request},
    suspend::SuspendWebhook,
};

const WAITING: &str = tenancy::sql!("webhooks/deliveries.sql", "waiting");
const FAN_OUT: &str = tenancy::sql!("webhooks/deliveries.sql", "fan_out");
const CLAIM: &str = tenancy::sql!("webhooks/deliveries.sql", "claim");
const RECORD: &str = tenancy::sql!("webhooks/deliveries.sql", "record");
const NOTE: &str = tenancy::sql!("webhooks/deliveries.sql", "note");
const LOST: &str = tenancy::sql!("webhooks/deliveries.sql", "lost");
const BACKLOG: &str = tenancy::sql!("webhooks/deliveries.sql", "backlog");
const FORGET: &str = tenancy::sql!("webhooks/deliveries.sql", "forget");
const FORGET_DELETED: &str = tenancy::sql!("webhooks/deliveries.sql", "forget_deleted");
const FORGET_ENDPOINTS: &str = tenancy::sql!("webhooks/endpoints.sql", "forget");

/// Positions that an endpoint reads at once.
const SPAN: i64 = 500;
/// Deliveries of one endpoint in flight.
const IN_FLIGHT_MAX: i64 = 8;
/// A run takes up nothing more behind this: other tenants want the place.
const RUN_MAX: Duration = Duration::from_secs(10);
/// How often a run that waits for a receiver looks what else is due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A delivery that is ours until its lease is over.
struct Claimed {
    endpoint: Uuid,
    event: Uuid,
    position: Option<i64>,
    event_type: String,
    object_type: String,
    object: Uuid,
    sequence: i64,
    lease: i64,
    attempts: i32,
    url: String,
    secret: Vec<u8>,
    previous: Option<Vec<u8>>,
    occurred_at: Timestamp,
    values: Option<Value>,
}

/// What became of an attempt.
struct Tried {
    event: Uuid,
    lease: i64,
    status: &'static str,
    next_attempt_at: Timestamp,
    last_status: Option<i32>,
    error: Option<String>,
    duration_ms: i64,
}

/// Whom a round is told, its name looked up.
struct Receiver {
    destination: Destination,
    found: Found,
}

/// What one endpoint is told at once.
struct Round {
    endpoint: Uuid,
    keys: Arc<TenantKeys>,
    claimed: Vec<Claimed>,
}

impl Webhooks {
    /// Delivers what is due of the context's tenant, and says how much was taken. Takes up
    /// nothing more once `is_stopping` says so; what is under way is finished.
    ///
    /// Each endpoint goes its own way: what became of its deliveries is written down when they
    /// are over, and one that hangs holds up no other.
    pub async fn deliver_due(
        &self,
        context: &OpContext,
        is_stopping: impl Fn() -> bool + Sync,
    ) -> Result<u64, OperationError> {
        let begun = Instant::now();
        let (mut delivered, mut trouble) = (0, None);
        let (mut told, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            let is_over = trouble.is_some() || begun.elapsed() > RUN_MAX || is_stopping();
            let mut has_moved = false;
            if !is_over {
                match self.take_up(context, &busy).await {
                    Ok((moved, rounds)) => {
                        has_moved = moved;
                        busy.extend(rounds.iter().map(|round| round.endpoint));
                        told.extend(rounds.into_iter().map(|round| self.tell(context, round)));
                    }
                    Err(error) => trouble = Some(error.into()),
                }
            }
            let again = !is_over && trouble.is_none();
            if told.is_empty() && !(again && has_moved) {
                return trouble.map_or(Ok(delivered), Err);
            }
            // Others of the tenant may have become due meanwhile.
            let pause = if has_moved { Duration::ZERO } else { LOOK_AGAIN };
            let ended = if again {
                timeout(pause, told.next()).await.unwrap_or(None)
            } else {
                told.next().await
            };
            if let Some((endpoint, outcome)) = ended {
                busy.remove(&endpoint);
                match outcome {
                    Ok(taken) => delivered += taken,
                    Err(error) => trouble = trouble.or(Some(error)),
                }
            }
        }
    }

    /// What waits in the context's tenant.
    pub async fn backlog(&self, context: &OpContext) -> Result<Backlog, DbError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let found = database.read(context, &[Query::new(BACKLOG, &[&tenant])]).await?;
        let row = found.first().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| DbError::Corrupt("a count without a row".to_owned()))?;
        Ok(Backlog { count: row.try_get("waiting")?, oldest_at: row.try_get("oldest_at")? })
    }

    /// Forgets a batch of what is over for 30 days or belongs to deleted endpoints, and those
    /// of which nothing is left; says how many deliveries it were.
    pub async fn forget(&self, context: &OpContext) -> Result<u64, DbError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let tenant = transaction.tenant();
        let mut forgotten = 0;
        for statement in [FORGET, FORGET_DELETED] {
            forgotten += transaction.execute(statement, &[&tenant]).await?;
        }
        transaction.execute(FORGET_ENDPOINTS, &[&tenant]).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    /// Whether any endpoint read on, and what is to be told now, by endpoint; of the busy ones
    /// nothing.
    async fn take_up(
        &self,
        context: &OpContext,
        busy: &BTreeSet<Uuid>,
    ) -> Result<(bool, Vec<Round>), DbError> {
        let (any_unread, any_due) = self.waiting(context).await?;
        let has_moved = any_unread && self.fan_out(context).await?;
        if !(has_moved || any_due) {
            return Ok((false, Vec::new()));
        }
        let rounds = match self.claim(context, busy).await {
            // Under a key of another node, which this one knows now, or of nobody.
            Err(DbError::StaleKeys(_)) => self.claim(context, busy).await?,
            rounds => rounds?,
        };
        Ok((has_moved, rounds))
    }

    /// Whether events wait to become deliveries, and whether any delivery is due.
    async fn waiting(&self, context: &OpContext) -> Result<(bool, bool), DbError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let waiting_max = self.inner.patience.waiting_max;
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &waiting_max];
        let found = database.read(context, &[Query::new(WAITING, &parameters)]).await?;
        let row = found.first().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| DbError::Corrupt("a question without a row".to_owned()))?;
        Ok((row.try_get("any_unread")?, row.try_get("any_due")?))
    }

    /// Whether any endpoint read on.
    async fn fan_out(&self, context: &OpContext) -> Result<bool, DbError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let waiting_max = self.inner.patience.waiting_max;
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &SPAN.min(waiting_max), &waiting_max];
        let moved = transaction.execute(FAN_OUT, &parameters).await?;
        transaction.commit().await?;
        Ok(moved > 0)
    }

    async fn claim(
        &self,
        context: &OpContext,
        busy: &BTreeSet<Uuid>,
    ) -> Result<Vec<Round>, DbError> {
        let database = self.inner.operations.database();
        let keys = self.inner.keyring.tenant(database, context).await?;
        let transaction = database.begin(context).await?;
        let lease_s = self.inner.patience.lease.as_secs_f64();
        let busy: Vec<Uuid> = busy.iter().copied().collect();
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &IN_FLIGHT_MAX, &lease_s, &busy];
        let rows = transaction.query(CLAIM, &parameters).await?;
        let claimed = rows.iter().map(Claimed::from_row).collect::<Result<Vec<_>, _>>()?;
        let sealed = claimed.iter().flat_map(|one| [Some(&one.secret), one.previous.as_ref()]);
        let not_yet_known = (sealed.flatten())
            .filter_map(|sealed| keys.own_key(sealed).err())
            .find(|error| matches!(error, KeyringError::NotYetKnown(_)));
        if let Some(error) = not_yet_known {
            // Whoever claims next is not to find them locked by what is over.
            drop(transaction.rollback().await);
            return Err(error.into());
        }
        transaction.commit().await?;
        let mut rounds: BTreeMap<Uuid, Vec<Claimed>> = BTreeMap::new();
        for one in claimed {
            rounds.entry(one.endpoint).or_default().push(one);
        }
        let round = |(endpoint, claimed)| Round { endpoint, keys: Arc::clone(&keys), claimed };
        Ok(rounds.into_iter().map(round).collect())
    }

    /// Tells one endpoint, and writes down how it fared; says how much it took.
    async fn tell(&self, context: &OpContext, round: Round) -> (Uuid, Result<u64, OperationError>) {
        let Round { endpoint, keys, claimed } = round;
        let begun = Instant::now();
        // Once for all of them: places among those who look up are few, and for all tenants.
        let receiver = self.find(&claimed).await;
        let attempt = |claimed| self.attempt(context, &keys, claimed, (&receiver, begun));
        let tried = join_all(claimed.iter().map(attempt)).await;
        let written = async {
            let taken = self.record(context, endpoint, &tried).await?;
            self.suspend_lost(context, endpoint, &tried).await?;
            Ok(taken)
        };
        (endpoint, written.await)
    }

    /// Where a round goes; its deliveries are one endpoint's.
    async fn find(&self, claimed: &[Claimed]) -> Result<Receiver, Unreached> {
        let client = &self.inner.client;
        let url = &claimed.first().ok_or(Unreached::Unreachable)?.url;
        let destination = Destination::chosen(url, client.guard());
        let destination = destination.map_err(|_| Unreached::AddressRefused)?;
        let found = client.find(&destination).await?;
        Ok(Receiver { destination, found })
    }

    async fn attempt(
        &self,
        context: &OpContext,
        keys: &TenantKeys,
        claimed: &Claimed,
        (receiver, begun): (&Result<Receiver, Unreached>, Instant),
    ) -> Tried {
        let outcome = match receiver {
            Ok(receiver) => self.send(context, keys, claimed, receiver).await,
            Err(unreached) => Err(unreached.to_string()),
        };
        let duration_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let (last_status, error, asked) = match &outcome {
            Ok(answer) => {
                let status = answer.status.as_u16();
                let error = (!answer.status.is_success()).then(|| format!("status_{status}"));
                (Some(i32::from(status)), error, answer.retry_after)
            }
            Err(error) => (None, Some(error.clone()), None),
        };
        let now = context.clock.now();
        let (status, next_attempt_at) = match &error {
            None => ("delivered", now),
            Some(_) => self.again(claimed, asked, now),
        };
        metrics::counter!("strongroom_webhook_attempts_total", "outcome" => match status {
            "pending" => "failed",
            over => over,
        })
        .increment(1);
        let (event, lease) = (claimed.event, claimed.lease);
        Tried { event, lease, status, next_attempt_at, last_status, error, duration_ms }
    }

    /// Whether it is tried again, and when.
    fn again(
        &self,
        claimed: &Claimed,
        asked: Option<Duration>,
        now: Timestamp,
    ) -> (&'static str, Timestamp) {
        let [chance] = vault::random_bytes::<1>();
        match self.inner.patience.delay(claimed.attempts, chance, asked) {
            None => ("given_up", now),
            Some(delay) => {
                let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
                ("pending", now.checked_add(delay).unwrap_or(now))
            }
        }
    }

    /// The answer, or a word that says why there is none.
    async fn send(
        &self,
        context: &OpContext,
        keys: &TenantKeys,
        claimed: &Claimed,
        receiver: &Receiver,
    ) -> Result<Answer, String> {
        let Receiver { destination, found } = receiver;
        let (secret, previous) =
            claimed.secrets(keys).ok_or_else(|| "secret_unreadable".to_owned())?;
        let now = context.clock.now();
        let request = request(destination, &claimed.told(), (&secret, previous.as_ref()), now)
            .ok_or_else(|| "unwritable".to_owned())?;
        let word = |unreached: Unreached| unreached.to_string();
        let mut connection = self.inner.client.connect_to(found).await.map_err(word)?;
        connection.ask(request).await.map_err(word)
    }

    /// Writes down what became of a round; says how much was taken.
    async fn record(
        &self,
        context: &OpContext,
        endpoint: Uuid,
        tried: &[Tried],
    ) -> Result<u64, DbError> {
        let taken = tried.iter().filter(|tried| tried.error.is_none()).count();
        let transaction = self.inner.operations.database().begin(context).await?;
        let tenant = transaction.tenant();
        // The endpoint before its deliveries, as whoever deletes one locks them.
        let rest_s = self.inner.patience.rest.as_secs_f64();
        let is_well = taken > 0;
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &endpoint, &is_well, &rest_s];
        transaction.execute(NOTE, &parameters).await?;
        let columns = Columns::of(tried);
        transaction.execute(RECORD, &columns.parameters(&tenant, &endpoint)).await?;
        transaction.commit().await?;
        Ok(u64::try_from(taken).unwrap_or(u64::MAX))
    }

    /// Leaves alone whoever says that it is gone (410), and whoever has taken nothing for days.
    async fn suspend_lost(
        &self,
        context: &OpContext,
        id: Uuid,
        tried: &[Tried],
    ) -> Result<(), OperationError> {
        if tried.iter().all(|tried| tried.error.is_none()) {
            return Ok(());
        }
        let reason = if tried.iter().any(|tried| tried.last_status == Some(410)) {
            "gone"
        } else if self.is_lost(context, id).await? {
            "five_days"
        } else {
            return Ok(());
        };
        let command = SuspendWebhook { id, reason };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        match self.inner.operations.run_one(call).await {
            Ok(_) => tracing::warn!(webhook = %id, reason, "a webhook is left alone"),
            // It took something meanwhile, or another node was first.
            Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn is_lost(&self, context: &OpContext, id: Uuid) -> Result<bool, DbError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let found = database.read(context, &[Query::new(LOST, &[&tenant, &id])]).await?;
        Ok(found.first().is_some_and(|rows| !rows.is_empty()))
    }
}

impl Claimed {
    fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            endpoint: row.try_get("endpoint_id")?,
            event: row.try_get("event_id")?,
            position: row.try_get("position")?,
            event_type: row.try_get("event_type")?,
            object_type: row.try_get("object_type")?,
            object: row.try_get("object_id")?,
            sequence: row.try_get("sequence")?,
            lease: row.try_get("lease")?,
            attempts: row.try_get("attempts")?,
            url: row.try_get("url")?,
            secret: row.try_get("secret_sealed")?,
            previous: row.try_get("previous_secret_sealed")?,
            occurred_at: row.try_get("occurred_at")?,
            values: row.try_get("new_values")?,
        })
    }

    /// The secret, and the one before while it is good.
    fn secrets(&self, keys: &TenantKeys) -> Option<(WebhookSecret, Option<WebhookSecret>)> {
        let open = |column, sealed: &Vec<u8>| {
            let text = keys.open_own((TABLE, column, self.endpoint), sealed.clone()).ok()?;
            WebhookSecret::parse(&text).ok()
        };
        let previous = match &self.previous {
            None => None,
            Some(sealed) => Some(open(PREVIOUS_SECRET, sealed)?),
        };
        Some((open(SECRET, &self.secret)?, previous))
    }

    fn told(&self) -> Told<'_> {
        let data = Data {
            event_id: self.event,
            position: self.position,
            object_type: &self.object_type,
            object_id: self.object,
            sequence: self.sequence,
            values: self.values.as_ref(),
        };
        Told { r#type: &self.event_type, timestamp: self.occurred_at, data }
    }
}

/// One array a column of [`RECORD`].
#[derive(Default)]
struct Columns<'a> {
    events: Vec<Uuid>,
    leases: Vec<i64>,
    statuses: Vec<&'static str>,
    times: Vec<Timestamp>,
    answers: Vec<Option<i32>>,
    errors: Vec<Option<&'a str>>,
    durations: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(tried: &'a [Tried]) -> Self {
        let mut columns = Self::default();
        for tried in tried {
            columns.events.push(tried.event);
            columns.leases.push(tried.lease);
            columns.statuses.push(tried.status);
            columns.times.push(tried.next_attempt_at);
            columns.answers.push(tried.last_status);
            columns.errors.push(tried.error.as_deref());
            columns.durations.push(tried.duration_ms);
        }
        columns
    }

    fn parameters<'b>(
        &'b self,
        tenant: &'b Uuid,
        endpoint: &'b Uuid,
    ) -> [&'b (dyn ToSql + Sync); 9] {
        [
            tenant,
            endpoint,
            &self.events,
            &self.leases,
            &self.statuses,
            &self.times,
            &self.answers,
            &self.errors,
            &self.durations,
        ]
    }
}
