//! Owns the asking: which checkpoint, with which proof, what of the answer is kept.
//!
//! Refuses to know: the bytes of a request. A worker of every node that seals runs it; two
//! that ask at once disturb nobody, since a witness answers one after the other and a line is
//! kept once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use outward::{Client, Unreached};
use tenancy::{Clock, Database, DbError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exchange::{self, Answer};
use super::{Witness, WitnessAnchor};
use crate::merkle::ProofPlan;
use crate::note::{Note, NoteError};
use crate::rows::{signed, unsigned};
use crate::super_log;

const TARGET: &str = tenancy::sql!("audit/witness.sql", "target");
const SIGNED_SIZE: &str = tenancy::sql!("audit/witness.sql", "signed_size");
const KEEP: &str = tenancy::sql!("audit/witness.sql", "keep");

/// Between two looks whether there is something to ask for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A witness that failed is left alone for so long.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
/// All witnesses are asked for the newest checkpoint before the same moment: the last multiple
/// of so many seconds.
const ROUND_S: i64 = 5;
/// A cosignature whose time is further from ours says nothing about when.
const CLOCKS_DIFFER_MAX_S: u64 = 3_600;

/// What asking came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing was signed yet.
    Nothing,
    /// The witness has cosigned what there is.
    Current {
        /// Leaves.
        size: u64,
    },
    /// It cosigned now.
    Cosigned {
        /// Leaves.
        size: u64,
    },
}

/// Why there is no cosignature to keep.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// Our own database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// It did not answer.
    #[error("the witness does not answer: {0}")]
    Unreached(#[from] Unreached),
    /// It answered with another status.
    #[error("the witness refuses with status {status}")]
    Refused {
        /// Its status.
        status: u16,
    },
    /// What it answered is no answer, or too long for one.
    #[error("the witness' answer is none")]
    Malformed,
    /// What it answered with is not its cosignature of this checkpoint.
    #[error("the witness' cosignature is not good: {0}")]
    Cosignature(#[from] NoteError),
    /// It says that it cosigned at another time than now.
    #[error("the witness' clock says {seconds} seconds since 1970")]
    Clock {
        /// Its time.
        seconds: u64,
    },
    /// It was asked by somebody else in between.
    #[error("the witness was asked by another node meanwhile")]
    Moved,
    /// It cosigned more than this database holds.
    #[error("the witness has cosigned {stands_at} checkpoints and the database holds {found}")]
    Ahead {
        /// Where it stands.
        stands_at: u64,
        /// What is here.
        found: u64,
    },
    /// It cosigned another checkpoint of this size, or one that this log did not grow out of.
    #[error("the witness has cosigned another history: at {stands_at} it differs from this one")]
    Forked {
        /// Where it stands.
        stands_at: u64,
    },
}

impl From<tokio_postgres::Error> for AskFault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl AskFault {
    /// A word for it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Database(_) => "database",
            Self::Unreached(_) => "unreached",
            Self::Refused { .. } => "refused",
            Self::Malformed => "malformed",
            Self::Cosignature(_) => "cosignature",
            Self::Clock { .. } => "clock",
            Self::Moved => "moved",
            Self::Ahead { .. } => "ahead",
            Self::Forked { .. } => "forked",
        }
    }

    /// Whether the witness holds another history than this database, if it says the truth.
    pub fn contradicts(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Forked { .. })
    }
}

/// The witnesses of an installation, and what they are asked through. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Witnesses {
    database: Database,
    client: Client,
    clock: Clock,
    all: Arc<[Witness]>,
    anchor: Option<Arc<WitnessAnchor>>,
}

/// What one of them is asked for.
struct Target {
    size: u64,
    note: String,
    cosigned: u64,
    waiting_since: Option<Timestamp>,
}

impl Witnesses {
    /// Over a database that was opened under the role `strongroom_sealer`.
    pub fn new(database: Database, client: Client, clock: Clock, all: Vec<Witness>) -> Self {
        Self { database, client, clock, all: all.into(), anchor: None }
    }

    /// The same, asking others.
    #[must_use]
    pub fn asking(self, all: Vec<Witness>, client: Client) -> Self {
        Self { client, all: all.into(), ..self }
    }

    /// The same, telling the anchor when the witness that it is contradicts the log.
    #[must_use]
    pub fn telling(self, anchor: Option<Arc<WitnessAnchor>>) -> Self {
        Self { anchor, ..self }
    }

    /// Who they are.
    pub fn all(&self) -> &[Witness] {
        &self.all
    }

    /// Asks all of them, each at its own pace, until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut asking = JoinSet::new();
        for place in 0..self.all.len() {
            let (own, cancel) = (self.clone(), cancel.clone());
            asking.spawn(async move { own.ask_on(&own.all[place], &cancel).await });
        }
        while asking.join_next().await.is_some() {}
    }

    async fn ask_on(&self, witness: &Witness, cancel: &CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            // An answer that is not waited for any more is asked for again at the next start.
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let asked = tokio::select! {
                () = cancel.cancelled() => return,
                asked = self.ask(witness) => asked,
            };
            pause = if asked.is_ok() { LOOK_EVERY } else { PAUSE_AFTER_FAULT };
        }
    }

    /// Asks one for the checkpoint of the moment, where it has not cosigned it, and keeps a
    /// good answer.
    pub async fn ask(&self, witness: &Witness) -> Result<Asked, AskFault> {
        let asked = self.asked(witness).await;
        let name = witness.name().to_owned();
        let contradicts = asked.as_ref().is_err_and(AskFault::contradicts);
        metrics::gauge!("audit_witness_contradicts", "witness" => name.clone())
            .set(if contradicts { 1.0 } else { 0.0 });
        match &asked {
            Err(AskFault::Moved) | Ok(_) => {}
            Err(fault) => {
                metrics::counter!("audit_witness_failures_total", "witness" => name.clone(), "reason" => fault.reason())
                    .increment(1);
                if contradicts {
                    if let Some(anchor) = self.anchor.as_ref().filter(|own| own.name() == name) {
                        anchor.doubt();
                    }
                    tracing::error!(witness = name, %fault, "a witness contradicts the audit log");
                } else {
                    tracing::warn!(witness = name, %fault, "a witness did not cosign");
                }
            }
        }
        asked
    }

    async fn asked(&self, witness: &Witness) -> Result<Asked, AskFault> {
        let now = self.clock.now().as_second();
        let moment = Timestamp::from_second(now - now.rem_euclid(ROUND_S));
        let moment = moment.map_err(|error| DbError::Corrupt(error.to_string()))?;
        let target = self.target(witness, moment).await?;
        self.measure(witness, target.as_ref());
        let Some(target) = target else { return Ok(Asked::Nothing) };
        if target.cosigned >= target.size {
            return Ok(Asked::Current { size: target.size });
        }
        self.cosign(witness, &target).await?;
        Ok(Asked::Cosigned { size: target.size })
    }

    /// Asks about the newest checkpoint, cosigned or not: the answer is how large the log is
    /// that this witness knows as its own.
    pub(super) async fn confirm(&self, witness: &Witness) -> Result<u64, AskFault> {
        match self.target(witness, Timestamp::MAX).await? {
            None => Ok(0),
            Some(target) => self.cosign(witness, &target).await.map(|()| target.size),
        }
    }

    async fn cosign(&self, witness: &Witness, target: &Target) -> Result<(), AskFault> {
        let lines = match self.submit(witness, target, target.cosigned).await? {
            Answer::Cosigned(lines) => lines,
            Answer::StandsAt(at) if at == target.cosigned => {
                return Err(AskFault::Forked { stands_at: at });
            }
            Answer::StandsAt(at) => match self.submit_from(witness, target, at).await? {
                Answer::Cosigned(lines) => lines,
                Answer::StandsAt(again) if again == at => {
                    return Err(AskFault::Forked { stands_at: at });
                }
                Answer::StandsAt(_) => return Err(AskFault::Moved),
            },
        };
        self.keep(witness, target, &lines).await
    }

    /// The newest checkpoint that was signed until a moment.
    async fn target(
        &self,
        witness: &Witness,
        moment: Timestamp,
    ) -> Result<Option<Target>, AskFault> {
        let client = self.database.system_connection().await?;
        let row = client.query_opt(TARGET, &[&witness.name(), &moment]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Target {
            size: unsigned(row.try_get("tree_size")?)?,
            note: row.try_get("note")?,
            cosigned: unsigned(row.try_get("cosigned")?)?,
            waiting_since: row.try_get("waiting_since")?,
        }))
    }

    /// How long the first checkpoint that this witness has not cosigned has been waiting.
    fn measure(&self, witness: &Witness, target: Option<&Target>) {
        let waiting_s = target.and_then(|target| target.waiting_since).map_or(0, |since| {
            self.clock.now().as_second().saturating_sub(since.as_second()).max(0)
        });
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("audit_witness_lag_seconds", "witness" => witness.name().to_owned())
            .set(waiting_s as f64);
    }

    /// The proof from where the witness says that it stands, where this log reaches there.
    async fn submit_from(
        &self,
        witness: &Witness,
        target: &Target,
        stands_at: u64,
    ) -> Result<Answer, AskFault> {
        if stands_at <= target.size {
            return self.submit(witness, target, stands_at).await;
        }
        let client = self.database.system_connection().await?;
        let found = unsigned(client.query_one(SIGNED_SIZE, &[]).await?.try_get("signed_size")?)?;
        if stands_at > found {
            Err(AskFault::Ahead { stands_at, found })
        } else {
            Err(AskFault::Moved)
        }
    }

    async fn submit(
        &self,
        witness: &Witness,
        target: &Target,
        old: u64,
    ) -> Result<Answer, AskFault> {
        let proof = if old == 0 || old == target.size {
            Vec::new()
        } else {
            let plan = ProofPlan::consistency(old, target.size)
                .map_err(|error| DbError::Corrupt(error.to_string()))?;
            // Given back before anybody is waited for.
            let client = self.database.system_connection().await?;
            super_log::hashes(&client, &plan).await?
        };
        let body = exchange::body(old, &proof, &target.note);
        match exchange::submit(&self.client, &witness.destination, body).await {
            // The proof leads nowhere from where it stands: what it cosigned is not in this log.
            Err(AskFault::Refused { status: 422 }) => Err(AskFault::Forked { stands_at: old }),
            answer => answer,
        }
    }

    async fn keep(&self, witness: &Witness, target: &Target, lines: &str) -> Result<(), AskFault> {
        let note = Note::parse(&target.note)?;
        let (line, seconds) = witness.verifier.line_among(&note.text, lines)?;
        let now = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let wrong = || AskFault::Clock { seconds };
        if seconds.abs_diff(now) > CLOCKS_DIFFER_MAX_S {
            return Err(wrong());
        }
        let at = i64::try_from(seconds).ok().and_then(|at| Timestamp::from_second(at).ok());
        let at = at.ok_or_else(wrong)?;
        let client = self.database.system_connection().await?;
        client.execute(KEEP, &[&signed(target.size)?, &witness.name(), &line, &at]).await?;
        Ok(())
    }
}
