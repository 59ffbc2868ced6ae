//! What the worker does for each tenant: take what is due, send it, and write down what
//! became of it.
//!
//! At least once: a lease is committed before anything is sent, and its outcome after, so
//! a process that dies in between leaves notices that another takes over when the lease is
//! over, under the same Message-ID. Two workers never hold one lease, so they send once
//! while both live. No lock and no transaction waits for a mail server.
//!
//! Round trips of a batch: one to see that anything is due, four to take it (begin, lease
//! and look, keys, commit), and those of the operation that records what became of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use operation::{Call, OperationError, Operations};
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    keyring::{Keyring, KeyringError, TenantKeys, load_subject_keys},
};
use tokio_postgres::Row;
use uuid::Uuid;
use vault::DataKey;

use crate::{
    branding::{Branding, Look},
    message::{Frame, Message, Unwritten, write},
    notice::{Channel, Template, Values},
    outcomes::{ExpireNotices, RecordSent, Tried},
    queue::{RECIPIENT, TABLE, VALUES},
    schedule::{BATCH_MAX, Patience, Rest},
    transport::{Delivery, Transport},
};

const ANY_DUE: &str = tenancy::sql!("notify/queue.sql", "any_due");
const CLAIM: &str = tenancy::sql!("notify/queue.sql", "claim");
const BRANDING: &str = tenancy::sql!("notify/queue.sql", "branding");
const DEFER: &str = tenancy::sql!("notify/queue.sql", "defer");
const ANY_EXPIRED: &str = tenancy::sql!("notify/queue.sql", "any_expired");
const FORGET: &str = tenancy::sql!("notify/queue.sql", "forget");
const WAITING: &str = tenancy::sql!("notify/queue.sql", "waiting");

/// Notices of one lease.
const CLAIMED_MAX: i64 = 20;
/// Batches of one run: a tenant's backlog must not keep the others waiting.
const BATCHES_MAX: usize = 5;
/// Notices that expire in one transaction.
const EXPIRED_MAX: i64 = 200;

/// What an installation sends with.
#[derive(Clone, Default)]
pub struct Transports {
    /// E-mail; what is queued for it waits and expires where there is none.
    pub email: Option<Arc<dyn Transport>>,
    /// SMS, the same.
    pub sms: Option<Arc<dyn Transport>>,
}

impl std::fmt::Debug for Transports {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Transports")
            .field("email", &self.email.is_some())
            .field("sms", &self.sms.is_some())
            .finish()
    }
}

/// Sends what is queued. Cheap to clone; clones know of each other's outages.
#[derive(Clone)]
pub struct Notices {
    inner: Arc<Inner>,
}

struct Inner {
    operations: Operations,
    keyring: Arc<Keyring>,
    transports: Transports,
    origin: String,
    patience: Patience,
    rests: Mutex<HashMap<Channel, Rest>>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.transports.fmt(formatter)
    }
}

/// What waits in one channel of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub channel: Channel,
    /// How many.
    pub count: i64,
    /// Since when the oldest does.
    pub oldest_at: Timestamp,
}

/// A notice that is ours until its lease is over.
struct Claimed {
    id: Uuid,
    user: Option<Uuid>,
    template: String,
    recipient: Vec<u8>,
    values: Vec<u8>,
    attempts: i32,
    expires_at: Timestamp,
    written_at: Timestamp,
}

/// A batch with what is needed to write it.
struct Batch {
    notices: Vec<Claimed>,
    keys: Arc<TenantKeys>,
    /// None where somebody's key does not open; who is erased is not here.
    subjects: HashMap<Uuid, Option<DataKey>>,
    look: Look,
}

impl Notices {
    /// Sends for these operations' tenants. `origin` is `PUBLIC_URL`, without a slash at
    /// its end: the only place that messages lead to.
    pub fn new(
        operations: Operations,
        keyring: Arc<Keyring>,
        transports: Transports,
        origin: impl Into<String>,
    ) -> Self {
        Self::with_patience(operations, keyring, transports, origin, Patience::default())
    }

    /// The same with another patience.
    pub fn with_patience(
        operations: Operations,
        keyring: Arc<Keyring>,
        transports: Transports,
        origin: impl Into<String>,
        patience: Patience,
    ) -> Self {
        let inner = Inner {
            operations,
            keyring,
            transports,
            origin: origin.into(),
            patience,
            rests: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether this installation can send over a channel at all.
    pub fn has(&self, channel: Channel) -> bool {
        self.transport(channel).is_some()
    }

    /// Whether a channel's server was found missing a moment ago: nothing is sent over it.
    pub fn is_resting(&self, channel: Channel) -> bool {
        let now = Instant::now();
        self.rests().get(&channel).is_some_and(|rest| rest.is_resting(now))
    }

    /// Sends what is due of the context's tenant over a channel, and says how many it were.
    /// Begins no further message once `is_stopping` says so.
    pub async fn send_due(
        &self,
        context: &OpContext,
        channel: Channel,
        is_stopping: impl Fn() -> bool + Sync,
    ) -> Result<u64, OperationError> {
        let Some(transport) = self.transport(channel) else { return Ok(0) };
        let mut sent = 0;
        for _ in 0..BATCHES_MAX {
            if is_stopping() || self.is_resting(channel) || !self.any_due(context, channel).await? {
                break;
            }
            let batch = match self.claim(context, channel).await {
                // Under a key of another node, which this one knows now, or of nobody.
                Err(OperationError::Database(DbError::StaleKeys(_))) => {
                    self.claim(context, channel).await?
                }
                claimed => claimed?,
            };
            if batch.notices.is_empty() {
                break;
            }
            let tried = self.deliver(context, channel, &transport, &batch, &is_stopping).await;
            sent += self.record(context, channel, tried).await?;
        }
        transport.rest().await;
        Ok(sent)
    }

    /// Gives up what is over of the context's tenant, and says how many it were.
    pub async fn expire(&self, context: &OpContext) -> Result<u64, OperationError> {
        let mut expired = 0;
        for _ in 0..BATCHES_MAX {
            let tenant = context.tenant_id();
            let database = self.inner.operations.database();
            let found = database.read(context, &[Query::new(ANY_EXPIRED, &[&tenant])]).await?;
            if !is_true(&found, "any_expired")? {
                break;
            }
            let command = ExpireNotices { limit: EXPIRED_MAX };
            expired += self.run(context, command).await?;
        }
        Ok(expired)
    }

    /// Forgets what has been over for 90 days; says how many it were, none once all are gone.
    pub async fn forget(&self, context: &OpContext) -> Result<u64, DbError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let forgotten = transaction.execute(FORGET, &[&transaction.tenant()]).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    /// What waits in the context's tenant.
    pub async fn waiting(&self, context: &OpContext) -> Result<Vec<Waiting>, DbError> {
        let tenant = context.tenant_id();
        let database = self.inner.operations.database();
        let found = database.read(context, &[Query::new(WAITING, &[&tenant])]).await?;
        let mut waiting = Vec::new();
        for row in found.iter().flatten() {
            let channel: &str = row.try_get("channel")?;
            let channel = Channel::ALL.into_iter().find(|known| known.as_str() == channel);
            let channel = channel.ok_or_else(|| DbError::Corrupt("channel".to_owned()))?;
            let (count, oldest_at) = (row.try_get("waiting")?, row.try_get("oldest_at")?);
            waiting.push(Waiting { channel, count, oldest_at });
        }
        Ok(waiting)
    }

    fn transport(&self, channel: Channel) -> Option<Arc<dyn Transport>> {
        match channel {
            Channel::Email => self.inner.transports.email.clone(),
            Channel::Sms => self.inner.transports.sms.clone(),
        }
    }

    fn rests(&self) -> MutexGuard<'_, HashMap<Channel, Rest>> {
        self.inner.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn any_due(&self, context: &OpContext, channel: Channel) -> Result<bool, DbError> {
        let (tenant, channel) = (context.tenant_id(), channel.as_str());
        let database = self.inner.operations.database();
        let found = database.read(context, &[Query::new(ANY_DUE, &[&tenant, &channel])]).await?;
        is_true(&found, "any_due")
    }

    async fn claim(&self, context: &OpContext, channel: Channel) -> Result<Batch, OperationError> {
        let keyring = &self.inner.keyring;
        let database = self.inner.operations.database();
        let keys = keyring.tenant(database, context).await.map_err(DbError::from)?;
        let (tenant, channel) = (context.tenant_id(), channel.as_str());
        let lease_s = self.inner.patience.lease.as_secs_f64();
        let (transaction, found) = database
            .begin_with(
                context,
                &[
                    Query::new(CLAIM, &[&tenant, &channel, &CLAIMED_MAX, &lease_s]),
                    Query::new(BRANDING, &[&tenant]),
                ],
            )
            .await?;
        let [claimed, branding] = found.as_slice() else {
            return Err(DbError::Corrupt("two statements have two answers".to_owned()).into());
        };
        let mut notices = claimed.iter().map(claimed_from).collect::<Result<Vec<_>, _>>()?;
        notices.sort_by_key(|notice| notice.id);
        let look = look_from(branding.first())?;
        let subjects = match subjects(&transaction, &keys, &notices).await {
            Ok(subjects) => subjects,
            Err(error) => {
                // Whoever claims next is not to find them locked by what is over.
                drop(transaction.rollback().await);
                return Err(DbError::from(error).into());
            }
        };
        transaction.commit().await?;
        Ok(Batch { notices, keys, subjects, look })
    }

    /// Sends one after the other. After an outage the rest is not tried: it would fare alike.
    async fn deliver(
        &self,
        context: &OpContext,
        channel: Channel,
        transport: &Arc<dyn Transport>,
        batch: &Batch,
        is_stopping: &(impl Fn() -> bool + Sync),
    ) -> Vec<Tried> {
        let begun = Instant::now();
        let mut outage: Option<Delivery> = None;
        let mut tried = Vec::with_capacity(batch.notices.len());
        for notice in &batch.notices {
            if is_stopping() || begun.elapsed() > BATCH_MAX {
                tried.push(put_back(context, notice));
                continue;
            }
            let delivery = match (&outage, self.written(context, channel, batch, notice)) {
                (_, Err(error)) => Delivery::Never { error: error.to_owned() },
                (Some(outage), Ok(_)) => outage.clone(),
                (None, Ok(message)) => transport.send(&message).await,
            };
            self.note(channel, &delivery, &mut outage);
            tried.push(self.tried(context, notice, delivery));
        }
        tried
    }

    /// Remembers whether the server was there.
    fn note(&self, channel: Channel, delivery: &Delivery, outage: &mut Option<Delivery>) {
        match delivery {
            Delivery::Later { after, is_outage: true, error } if outage.is_none() => {
                *outage = Some(delivery.clone());
                let (now, patience) = (Instant::now(), &self.inner.patience);
                self.rests().entry(channel).or_default().begin(now, patience, *after);
                tracing::warn!(channel = channel.as_str(), error, "notices cannot be sent now");
            }
            Delivery::Sent => self.rests().entry(channel).or_default().ended(),
            _ => {}
        }
    }

    /// The message of a notice, or why there is none.
    fn written(
        &self,
        context: &OpContext,
        channel: Channel,
        batch: &Batch,
        notice: &Claimed,
    ) -> Result<Message, &'static str> {
        if notice.attempts > self.inner.patience.attempts_max {
            // The process died each time: perhaps of this one.
            return Err("attempts_exhausted");
        }
        if notice.expires_at <= context.clock.now() {
            return Err("expired");
        }
        let open = |column, sealed: &Vec<u8>| {
            let cell = (TABLE, column, notice.id);
            let opened = match notice.user {
                None => batch.keys.open_own(cell, sealed.clone()),
                // Erased since.
                Some(user) => {
                    let key = batch.subjects.get(&user).ok_or("erased")?;
                    let key = key.as_ref().ok_or("unreadable")?;
                    batch.keys.open(key, cell, sealed.clone())
                }
            };
            opened.map_err(|_| "unreadable")
        };
        let to = open(RECIPIENT, &notice.recipient)?;
        let values = open(VALUES, &notice.values)?;
        let values: Values = serde_json::from_str(&values).map_err(|_| "unreadable")?;
        let template = Template::of(&notice.template).ok_or("unknown_template")?;
        let time_zone = TimeZone::get(&context.tenant.time_zone).unwrap_or(TimeZone::UTC);
        let frame = Frame { look: &batch.look, origin: &self.inner.origin, time_zone: &time_zone };
        let written = write(channel, template, &values, &frame).map_err(Unwritten::word)?;
        Ok(Message { id: notice.id, to, written_at: notice.written_at, content: written })
    }

    fn tried(&self, context: &OpContext, notice: &Claimed, delivery: Delivery) -> Tried {
        let (id, attempts) = (notice.id, notice.attempts);
        match delivery {
            Delivery::Sent => Tried::Sent { id, attempts },
            Delivery::Never { error } => Tried::GivenUp { id, attempts, error },
            Delivery::Later { .. } if attempts >= self.inner.patience.attempts_max => {
                Tried::GivenUp { id, attempts, error: "attempts_exhausted".to_owned() }
            }
            Delivery::Later { error, after, .. } => {
                let [chance] = vault::random_bytes::<1>();
                let delay = after.unwrap_or_else(|| self.inner.patience.delay(attempts, chance));
                let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
                let now = context.clock.now();
                let next_attempt_at = now.checked_add(delay).unwrap_or(now);
                Tried::Deferred { id, attempts, next_attempt_at, error }
            }
        }
    }

    /// Writes down what became of a batch; says how many were sent.
    async fn record(
        &self,
        context: &OpContext,
        channel: Channel,
        tried: Vec<Tried>,
    ) -> Result<u64, OperationError> {
        let (deferred, finished): (Vec<_>, Vec<_>) =
            tried.into_iter().partition(|tried| matches!(tried, Tried::Deferred { .. }));
        // First what is over: it must not be sent again because the rest could not be written.
        let sent = if finished.is_empty() {
            0
        } else {
            self.run(context, RecordSent { channel, finished }).await?
        };
        if !deferred.is_empty() {
            self.defer(context, channel, &deferred).await?;
        }
        Ok(sent)
    }

    async fn defer(
        &self,
        context: &OpContext,
        channel: Channel,
        deferred: &[Tried],
    ) -> Result<(), DbError> {
        let (mut ids, mut numbers, mut times, mut errors) = (vec![], vec![], vec![], vec![]);
        for tried in deferred {
            if let Tried::Deferred { id, attempts, next_attempt_at, error } = tried {
                ids.push(*id);
                numbers.push(*attempts);
                times.push(*next_attempt_at);
                errors.push(error.as_str());
            }
        }
        let transaction = self.inner.operations.database().begin(context).await?;
        let tenant = transaction.tenant();
        let count = transaction.execute(DEFER, &[&tenant, &ids, &numbers, &times, &errors]).await?;
        transaction.commit().await?;
        metrics::counter!("strongroom_notices_deferred_total", "channel" => channel.as_str())
            .increment(count);
        Ok(())
    }

    async fn run<C: operation::Command<Output = u64>>(
        &self,
        context: &OpContext,
        command: C,
    ) -> Result<u64, OperationError> {
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }
}

/// Nobody tried: due again at once, for whoever is next.
fn put_back(context: &OpContext, notice: &Claimed) -> Tried {
    Tried::Deferred {
        id: notice.id,
        attempts: notice.attempts,
        next_attempt_at: context.clock.now(),
        error: "not_tried".to_owned(),
    }
}

fn is_true(found: &[Vec<Row>], column: &str) -> Result<bool, DbError> {
    let row = found.first().and_then(|rows| rows.first());
    Ok(row.map(|row| row.try_get(column)).transpose()?.unwrap_or(false))
}

fn claimed_from(row: &Row) -> Result<Claimed, DbError> {
    Ok(Claimed {
        id: row.try_get("id")?,
        user: row.try_get("user_id")?,
        template: row.try_get("template")?,
        recipient: row.try_get("recipient_sealed")?,
        values: row.try_get("values_sealed")?,
        attempts: row.try_get("attempts")?,
        expires_at: row.try_get("expires_at")?,
        written_at: row.try_get("created_at")?,
    })
}

fn look_from(row: Option<&Row>) -> Result<Look, DbError> {
    let row = row.ok_or_else(|| DbError::Corrupt("a tenant that is not there".to_owned()))?;
    Ok(Look::of(row.try_get("name")?, Branding::from_row(row)?))
}

/// The keys of those whom a batch is about; an error where one of them, or of the tenant's
/// own keys that the rest is sealed under, has to be looked for first.
async fn subjects(
    transaction: &TenantTx,
    keys: &TenantKeys,
    notices: &[Claimed],
) -> Result<HashMap<Uuid, Option<DataKey>>, KeyringError> {
    let own = notices.iter().filter(|notice| notice.user.is_none());
    // All of them, so that all are looked for at once.
    let not_yet_known = own
        .flat_map(|notice| [&notice.recipient, &notice.values])
        .filter_map(|sealed| keys.own_key(sealed).err())
        .filter(|error| matches!(error, KeyringError::NotYetKnown(_)));
    if let Some(error) = not_yet_known.last() {
        return Err(error);
    }
    let users: Vec<Uuid> = notices.iter().filter_map(|notice| notice.user).collect();
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    match load_subject_keys(transaction, keys, &users).await {
        Err(error) if error.is_lasting() => {}
        found => return Ok(found?.into_iter().map(|(user, key)| (user, Some(key))).collect()),
    }
    // Somebody's key does not open: what everybody else is told does not wait for it.
    let mut opened = HashMap::with_capacity(users.len());
    for user in users {
        match load_subject_keys(transaction, keys, &[user]).await {
            Ok(found) => opened.extend(found.into_iter().map(|(user, key)| (user, Some(key)))),
            Err(error) if error.is_lasting() => {
                tracing::error!(%user, %error, "somebody cannot be told anything");
                opened.insert(user, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(opened)
}
