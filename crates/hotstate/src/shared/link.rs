//! Owns the one connection to the shared store: kept open by a task of its own, given up
//! at the first sign of trouble, and taken up again by itself.
//!
//! Nobody who asks ever waits for a connection. The first answer that does not come in
//! time closes it for everybody, so that a store which hangs costs whoever is asking then
//! one wait, and nobody after them anything. Refuses to know what is asked.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Cmd, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{StoreHealth, address::StoreAddress, scripts::Script};

/// How long a connection with everything that belongs to it may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How often a connection that nobody uses is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect double from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// A connection that stood this long is not one that comes and goes.
const STEADY: Duration = Duration::from_secs(30);
/// Questions on their way to the connection's task; beyond that they wait, within their time.
const QUEUE: usize = 1_024;

/// What is wrong with the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// No answer in time.
    #[error("it does not answer in time")]
    Slow,
    /// The connection broke or could not be made, or it refuses us or a script.
    #[error("{0}")]
    Broken(Arc<RedisError>),
    /// It answers what our scripts cannot have said.
    #[error("it answers what was not asked")]
    Malformed,
}

impl Trouble {
    /// The label in metrics.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Broken(_) => "broken",
            Self::Malformed => "malformed",
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Broken(Arc::new(error))
    }
}

/// The connection, or its absence.
pub(super) struct Link {
    client: redis::Client,
    address: StoreAddress,
    probe: String,
    patience: Duration,
    live: RwLock<Option<Arc<Live>>>,
    lost: Arc<Notify>,
    /// Whether anybody was told that it is lost.
    told: AtomicBool,
    forged_told: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection on which every script was tried.
struct Live {
    connection: MultiplexedConnection,
    /// Their digests, in the order of [`Script::ALL`].
    scripts: [String; Script::ALL.len()],
    since: Instant,
}

impl Link {
    pub(super) async fn open(
        address: StoreAddress,
        probe: String,
        patience: Duration,
    ) -> Result<Arc<Self>, Trouble> {
        trust_one_provider();
        let link = Arc::new(Self {
            client: address.client()?,
            address,
            probe,
            patience,
            live: RwLock::default(),
            lost: Arc::default(),
            told: AtomicBool::new(false),
            forged_told: Mutex::default(),
        });
        metrics::gauge!("strongroom_shared_state_up").set(0.0);
        metrics::counter!("strongroom_shared_state_forged_total").absolute(0);
        link.connect().await;
        tokio::spawn(keep(Arc::downgrade(&link), Arc::clone(&link.lost)));
        Ok(link)
    }

    pub(super) fn is_up(&self) -> bool {
        self.live().is_some()
    }

    /// Runs a script. None where the store is away or this is what it is lost by.
    pub(super) async fn ask(
        &self,
        script: Script,
        names: &[String],
        arguments: &[i64],
    ) -> Option<Vec<i64>> {
        let live = self.live()?;
        let asked = Instant::now();
        match live.run(script, names, arguments, self.patience).await {
            Ok(answer) => {
                metrics::histogram!("strongroom_shared_state_seconds").record(asked.elapsed());
                Some(answer)
            }
            Err(trouble) => {
                self.lose(&live, &trouble);
                None
            }
        }
    }

    /// Gives the connection of this moment up.
    pub(super) fn lose_now(&self, trouble: &Trouble) {
        if let Some(live) = self.live() {
            self.lose(&live, trouble);
        }
    }

    /// Says that what stood in the store was not written by us: at most once a minute.
    pub(super) fn note_forged(&self, windows: u32) {
        if windows == 0 {
            return;
        }
        metrics::counter!("strongroom_shared_state_forged_total").increment(u64::from(windows));
        let mut told = self.forged_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            *told = Some(Instant::now());
            tracing::error!(
                store = %self.address,
                "the shared store held what we did not write; it was thrown away"
            );
        }
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first to find it broken takes it away; whoever comes later finds it gone.
    fn lose(&self, broken: &Arc<Live>, trouble: &Trouble) {
        {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            if !live.as_ref().is_some_and(|live| Arc::ptr_eq(live, broken)) {
                return;
            }
            *live = None;
        }
        metrics::counter!("strongroom_shared_state_losses_total", "reason" => trouble.reason())
            .increment(1);
        self.say_lost(trouble);
        self.lost.notify_one();
    }

    fn say_lost(&self, trouble: &Trouble) {
        metrics::gauge!("strongroom_shared_state_up").set(0.0);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                store = %self.address, %trouble,
                "the shared store is lost: this node counts limits and blocks alone until it is back"
            );
        }
    }

    /// Whether there is a connection now.
    async fn connect(&self) -> bool {
        let making = Live::make(&self.client, &self.probe, self.patience);
        let made = timeout(CONNECT, making).await.unwrap_or(Err(Trouble::Slow));
        match made {
            Ok(live) => {
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(live));
                metrics::gauge!("strongroom_shared_state_up").set(1.0);
                self.told.store(false, Ordering::Relaxed);
                tracing::info!(store = %self.address, "limits and blocks are shared");
                true
            }
            Err(trouble) => {
                self.say_lost(&trouble);
                false
            }
        }
    }

    /// Tries the connection that there is.
    async fn try_live(&self, live: &Arc<Live>) {
        let probe = std::slice::from_ref(&self.probe);
        if let Err(trouble) = live.run(Script::Windows, probe, &PROBE, self.patience).await {
            self.lose(live, &trouble);
        }
    }
}

/// A window that is never full and gone after a second: that scripts run and may write.
const PROBE: [i64; 2] = [1_000_000, 1_000];

/// Until nobody shares through the link any more.
async fn keep(link: Weak<Link>, lost: Arc<Notify>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let Some(own) = link.upgrade() else { return };
        let next = match own.live() {
            Some(live) => {
                own.try_live(&live).await;
                if live.since.elapsed() > STEADY {
                    pause = PAUSE_FIRST;
                }
                TRY_EVERY
            }
            None if own.connect().await => TRY_EVERY,
            None => {
                pause = (pause * 2).min(PAUSE_LONGEST);
                pause
            }
        };
        drop(own);
        tokio::select! {
            () = sleep(next) => {}
            // Lost this moment: it gets a moment to come back.
            () = lost.notified() => sleep(pause).await,
        }
    }
}

impl Live {
    async fn make(
        client: &redis::Client,
        probe: &str,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut scripts = [const { String::new() }; Script::ALL.len()];
        for (script, digest) in Script::ALL.iter().zip(&mut scripts) {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(script.text());
            *digest = command.query_async(&mut connection).await?;
        }
        let live = Self { connection, scripts, since: Instant::now() };
        live.run(Script::Windows, &[probe.to_owned()], &PROBE, patience).await?;
        Ok(live)
    }

    async fn run(
        &self,
        script: Script,
        names: &[String],
        arguments: &[i64],
        patience: Duration,
    ) -> Result<Vec<i64>, Trouble> {
        let mut command = Cmd::with_capacity(3 + names.len() + arguments.len(), 512);
        command.arg("EVALSHA").arg(&self.scripts[script as usize]).arg(names.len());
        command.arg(names).arg(arguments);
        let mut connection = self.connection.clone();
        let answer = timeout(patience, connection.send_packed_command(&command)).await;
        integers(answer.map_err(|_| Trouble::Slow)??)
    }
}

/// An array of numbers and nothing else.
fn integers(answer: Value) -> Result<Vec<i64>, Trouble> {
    match answer {
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::Int(number) => Ok(number),
                _ => Err(Trouble::Malformed),
            })
            .collect(),
        Value::ServerError(error) => Err(RedisError::from(error).into()),
        _ => Err(Trouble::Malformed),
    }
}

/// TLS goes through AWS-LC, as everything does; an earlier choice of the same stands.
fn trust_one_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Connects once and looks at the store's memory.
pub(super) async fn examine(address: &StoreAddress, probe: &str) -> Result<StoreHealth, Trouble> {
    trust_one_provider();
    let looked = async {
        let live = Live::make(&address.client()?, probe, CONNECT).await?;
        let mut connection = live.connection.clone();
        let mut command = redis::cmd("INFO");
        let text: String = command.arg("memory").query_async(&mut connection).await?;
        let figure = |name: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
        };
        Ok(StoreHealth {
            is_bounded: figure("maxmemory").is_some_and(|bytes| bytes != "0"),
            evicts: figure("maxmemory_policy").is_some_and(|policy| policy != "noeviction"),
        })
    };
    timeout(CONNECT * 2, looked).await.unwrap_or(Err(Trouble::Slow))
}
