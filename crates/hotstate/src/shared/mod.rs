//! State that all nodes of an installation share, in a Redis (or what speaks its
//! protocol and runs its scripts: Valkey).
//!
//! Owns that every decision is one script in one round trip, by the store's own clock,
//! and that a store which is lost, slow or lying costs nobody more than one short wait:
//! every question is answered `None` then, and whoever asks decides alone. What the
//! store says is checked before it is believed; what it holds under our names names
//! nobody. Refuses to decide what counts when it is away: [`crate::limiter`] and
//! [`crate::blocks`] do.

mod address;
mod link;
mod names;
mod scripts;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use uuid::Uuid;
use vault::SecretBytes;

pub use address::{AddressError, StoreAddress};
pub use link::Trouble;

use crate::{
    block::{BlockRule, Charge, Known},
    rate::{Key, Quota, Verdict},
};
use link::Link;
use names::Names;
use scripts::{Script, charge_of, verdict_of, window_arguments};

/// The store that this node shares its state in. Cheap to clone; the connection goes
/// with the last clone.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    names: Names,
    link: Arc<Link>,
}

impl Shared {
    /// Connects, and from then on keeps connecting by itself: comes back without a
    /// store as well, after a second at most.
    ///
    /// `secret` is what names are made with, the same on every node. `patience` is how
    /// long a decision may wait for an answer.
    ///
    /// # Errors
    /// Where the address is one that this build cannot connect to.
    pub async fn open(
        address: StoreAddress,
        secret: SecretBytes,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let names = Names::new(secret);
        let link = Link::open(address, names.probe(), patience).await?;
        Ok(Self(Arc::new(Parts { names, link })))
    }

    /// Whether the store answers.
    pub fn is_up(&self) -> bool {
        self.0.link.is_up()
    }

    /// Counts a hit in all of the windows, or in none where one of them is full.
    pub(crate) async fn hit<const N: usize>(
        &self,
        windows: &[(Key, Quota); N],
    ) -> Option<Verdict<N>> {
        let names = windows.map(|(key, quota)| self.0.names.window(&key, quota));
        let answer = self.0.link.ask(Script::Windows, &names, &window_arguments(windows)).await?;
        self.believed(verdict_of(&answer, windows))
    }

    /// Charges one failure to a source; with it when, by the store's clock.
    pub(crate) async fn charge(
        &self,
        tenant: Uuid,
        source: IpAddr,
        rule: &BlockRule,
        known: &Known,
    ) -> Option<(Charge, i64)> {
        let mut arguments = failure_arguments(rule);
        arguments.push(known.blocked_until_s.max(known.heard_until_s));
        arguments.extend_from_slice(&known.failed_at_s);
        let names = [self.0.names.source(tenant, source)];
        let answer = self.0.link.ask(Script::Charge, &names, &arguments).await?;
        self.believed(charge_of(&answer, rule))
    }

    /// Gives the charge of an instant back.
    pub(crate) async fn give_back(
        &self,
        tenant: Uuid,
        source: IpAddr,
        rule: &BlockRule,
        charged_at_s: i64,
    ) -> Option<()> {
        let mut arguments = failure_arguments(rule);
        arguments.push(charged_at_s);
        let names = [self.0.names.source(tenant, source)];
        let answer = self.0.link.ask(Script::GiveBack, &names, &arguments).await?;
        self.believed(scripts::forged_of(&answer).map(|forged| (forged, ())))
    }

    /// What a script answered, once it is what our script can answer.
    fn believed<T>(&self, read: Option<(u32, T)>) -> Option<T> {
        let Some((forged, value)) = read else {
            self.0.link.lose_now(&Trouble::Malformed);
            return None;
        };
        self.0.link.note_forged(forged);
        Some(value)
    }
}

fn failure_arguments(rule: &BlockRule) -> Vec<i64> {
    vec![rule.window_s, rule.duration_s, i64::from(rule.threshold.max(1))]
}

/// What `doctor` asks a store beside whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether its memory has a bound.
    pub is_bounded: bool,
    /// Whether it makes room when it is full instead of refusing writes.
    pub evicts: bool,
}

/// Connects once, tries every script, and looks at the store's memory.
///
/// # Errors
/// Why it cannot be shared.
pub async fn examine(address: &StoreAddress, secret: SecretBytes) -> Result<StoreHealth, Trouble> {
    let names = Names::new(secret);
    link::examine(address, &names.probe()).await
}
