//! The rate windows as requests meet them: of this node alone, or of all nodes where
//! there is a shared store.
//!
//! Owns what counts when. With a store, its windows decide, and what they admit here is
//! counted here as well: so a node that loses the store goes on with what it knows, and a
//! store that was emptied or tampered with gives no node more than its own limit. Refuses
//! to know what is limited.

use std::sync::OnceLock;

use crate::{
    rate::{Key, Quota, RateWindows, Verdict},
    shared::Shared,
};

/// What our clock may lie apart from the store's while an answer is under way.
const CLOCKS_APART_MS: i64 = 250;

/// The rate windows of a node.
#[derive(Debug, Default)]
pub struct Limiter {
    own: RateWindows,
    shared: OnceLock<Shared>,
}

impl Limiter {
    /// From now on the windows are shared; once.
    pub fn share(&self, shared: Shared) {
        // A second store would be a mistake of ours: the first one stands.
        let _ = self.shared.set(shared);
    }

    /// Counts a hit in all of the windows, or in none where one of them is full.
    ///
    /// `now_ms` is this node's clock; a store goes by its own. The keys of one check have
    /// to differ.
    pub async fn hit<const N: usize>(
        &self,
        windows: &[(Key, Quota); N],
        now_ms: i64,
    ) -> Verdict<N> {
        match self.shared.get() {
            None => self.own.hit(windows, now_ms),
            // Boxed: whoever asks without a store carries no room for it.
            Some(shared) => Box::pin(self.hit_shared(shared, windows, now_ms)).await,
        }
    }

    async fn hit_shared<const N: usize>(
        &self,
        shared: &Shared,
        windows: &[(Key, Quota); N],
        now_ms: i64,
    ) -> Verdict<N> {
        // What was admitted here alone fills a window: no need to ask.
        if self.own.is_full(windows, now_ms, CLOCKS_APART_MS) {
            let verdict = self.own.hit(windows, now_ms);
            if !verdict.allowed() {
                return verdict;
            }
        }
        let Some(verdict) = shared.hit(windows).await else {
            return self.own.hit(windows, now_ms);
        };
        if verdict.allowed() {
            self.own.count(windows, now_ms);
        }
        verdict
    }
}
