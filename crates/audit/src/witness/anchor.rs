//! Owns the witness that was made the anchor: before anything is signed it says whether this
//! database is the one whose log it cosigned last, or an older copy, or another history.
//!
//! Refuses to know: what is sealed. It is asked once a process, again after every failure of
//! the database, and whenever it contradicted the log in between; while it is silent, what it
//! said last holds. It lags behind what was signed by the seconds between two questions.

use std::sync::{Mutex, PoisonError};

use outward::Client;
use tenancy::{Clock, Database, DbError};

use super::{AskFault, Witness, Witnesses};
use crate::anchor::AnchorFault;

/// A witness that the sealer goes by.
#[derive(Debug)]
pub struct WitnessAnchor {
    witnesses: Witnesses,
    witness: Witness,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Whether the witness agreed since there was a reason to ask.
    is_confirmed: bool,
    /// The largest log that this process has seen; it never grows smaller.
    size: u64,
}

impl WitnessAnchor {
    /// Over a database that was opened under the role `strongroom_sealer`.
    pub fn new(database: Database, client: Client, clock: Clock, witness: Witness) -> Self {
        let witnesses = Witnesses::new(database, client, clock, Vec::new());
        Self { witnesses, witness, known: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.witness.name()
    }

    /// There is a reason to ask again before anything is signed.
    pub fn doubt(&self) {
        self.known().is_confirmed = false;
    }

    /// This process signed so much.
    pub(crate) fn signed(&self, size: u64) {
        let mut known = self.known();
        known.size = known.size.max(size);
    }

    /// Asks where there is a reason to; the size below which the log must not be.
    pub(crate) async fn confirmed(&self) -> Result<Result<u64, AnchorFault>, DbError> {
        let known = *self.known();
        if known.is_confirmed {
            return Ok(Ok(known.size));
        }
        let size = match self.witnesses.confirm(&self.witness).await {
            Ok(size) => size,
            Err(AskFault::Database(error)) => return Err(error),
            Err(AskFault::Ahead { stands_at, found }) => {
                return Ok(Err(AnchorFault::RolledBack { anchored: stands_at, found }));
            }
            Err(AskFault::Forked { stands_at }) => {
                return Ok(Err(AnchorFault::Forked { anchored: stands_at }));
            }
            Err(fault) => return Ok(Err(AnchorFault::Unasked(fault.to_string()))),
        };
        let mut known = self.known();
        known.is_confirmed = true;
        known.size = known.size.max(size);
        Ok(Ok(known.size))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
