//! Failures by source within a window, and the block that follows.
//!
//! A failure is charged before the attempt and given back when it succeeds, as
//! with accounts. In memory of one node ([`crate::blocks`] shares them); what earlier
//! runs counted is brought by the caller. Refuses to know policy: thresholds come with
//! each call.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use crate::source::counted;

/// Failures that block, within which time, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BlockRule {
    /// Failures that block.
    pub threshold: u32,
    /// Within which they must fall, in seconds.
    pub window_s: i64,
    /// How long the block lasts, in seconds.
    pub duration_s: i64,
}

/// The answer to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// One failure was charged: go on.
    Charged,
    /// Blocked; seconds until another try makes sense.
    Blocked {
        /// At least 1.
        retry_after_s: u64,
    },
}

/// What a node knows of a source.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "they are all seconds")]
pub(crate) struct Known {
    /// When failures were charged, in seconds since 1970, oldest first.
    pub(crate) failed_at_s: Vec<i64>,
    pub(crate) blocked_until_s: i64,
    /// Until when others block it, as far as they told.
    pub(crate) heard_until_s: i64,
}

/// Failures of every source that failed lately.
#[derive(Debug, Default)]
pub struct AddressBlocks {
    sources: Mutex<HashMap<(Uuid, IpAddr), Known>>,
}

/// Beyond this many sources the ones without a live window are dropped.
const SOURCES_SWEEP: usize = 100_000;

impl AddressBlocks {
    /// Whether anything is known of an address on this node.
    pub fn knows(&self, tenant: Uuid, address: IpAddr) -> bool {
        self.lock().contains_key(&(tenant, counted(address)))
    }

    /// Takes over what was recorded before this node started; nothing where the
    /// address is known already.
    pub fn remember(
        &self,
        tenant: Uuid,
        address: IpAddr,
        mut failed_at_s: Vec<i64>,
        rule: &BlockRule,
    ) {
        failed_at_s.sort_unstable();
        let threshold = usize::try_from(rule.threshold.max(1)).unwrap_or(usize::MAX);
        // As many as block, and within one window.
        let first = failed_at_s.len().checked_sub(threshold).map(|at| failed_at_s[at]);
        let last = failed_at_s
            .last()
            .copied()
            .filter(|&last| first.is_some_and(|first| last.saturating_sub(first) < rule.window_s));
        let blocked_until_s = last.map_or(0, |at| at.saturating_add(rule.duration_s));
        self.lock().entry((tenant, counted(address))).or_insert(Known {
            failed_at_s,
            blocked_until_s,
            heard_until_s: 0,
        });
    }

    pub(crate) fn known(&self, tenant: Uuid, source: IpAddr) -> Known {
        self.lock().get(&(tenant, source)).cloned().unwrap_or_default()
    }

    /// Others say that they block a source until then.
    pub(crate) fn hear(&self, tenant: Uuid, source: IpAddr, until_s: i64) {
        if let Some(source) = self.lock().get_mut(&(tenant, source)) {
            source.heard_until_s = until_s;
        }
    }

    /// Charges one failure, atomically.
    pub fn charge(&self, tenant: Uuid, address: IpAddr, now_s: i64, rule: &BlockRule) -> Charge {
        let mut sources = self.lock();
        if sources.len() > SOURCES_SWEEP {
            sources.retain(|_, source| source.is_live(now_s, rule.window_s));
        }
        let source = sources.entry((tenant, counted(address))).or_default();
        if source.blocked_until_s > now_s {
            let retry_after_s = u64::try_from(source.blocked_until_s - now_s).unwrap_or(1);
            return Charge::Blocked { retry_after_s };
        }
        if source.blocked_until_s > 0 {
            let heard_until_s = source.heard_until_s;
            *source = Known { heard_until_s, ..Known::default() };
        }
        source.failed_at_s.retain(|at| *at > now_s - rule.window_s);
        source.failed_at_s.push(now_s);
        if u32::try_from(source.failed_at_s.len()).unwrap_or(u32::MAX) >= rule.threshold.max(1) {
            source.blocked_until_s = now_s.saturating_add(rule.duration_s);
        }
        Charge::Charged
    }

    /// Gives back the charge of an attempt at `charged_at_s` that succeeded, and
    /// with it the block that this charge brought about.
    pub fn give_back(&self, tenant: Uuid, address: IpAddr, charged_at_s: i64, rule: &BlockRule) {
        let mut sources = self.lock();
        let Some(source) = sources.get_mut(&(tenant, counted(address))) else { return };
        if let Some(at) = source.failed_at_s.iter().rposition(|at| *at == charged_at_s) {
            source.failed_at_s.remove(at);
        }
        if u32::try_from(source.failed_at_s.len()).unwrap_or(u32::MAX) < rule.threshold.max(1) {
            source.blocked_until_s = 0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Uuid, IpAddr), Known>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_live(&self, now_s: i64, window_s: i64) -> bool {
        self.blocked_until_s.max(self.heard_until_s) > now_s
            || self.failed_at_s.last().is_some_and(|at| *at > now_s - window_s)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use uuid::Uuid;

    use super::{AddressBlocks, BlockRule, Charge};

    const RULE: BlockRule = BlockRule { threshold: 3, window_s: 60, duration_s: 600 };
    const TENANT: Uuid = Uuid::from_u128(7);
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_threshold_blocks_and_the_block_runs_out() {
        let blocks = AddressBlocks::default();
        for now_s in [100, 101, 102] {
            assert_eq!(blocks.charge(TENANT, ADDRESS, now_s, &RULE), Charge::Charged);
        }
        assert_eq!(
            blocks.charge(TENANT, ADDRESS, 103, &RULE),
            Charge::Blocked { retry_after_s: 599 }
        );
        assert_eq!(blocks.charge(TENANT, ADDRESS, 702, &RULE), Charge::Charged);
    }

    #[test]
    fn failures_outside_the_window_do_not_count() {
        let blocks = AddressBlocks::default();
        for now_s in [100, 200, 300, 400] {
            assert_eq!(blocks.charge(TENANT, ADDRESS, now_s, &RULE), Charge::Charged);
        }
    }

    #[test]
    fn whoever_has_a_network_of_addresses_is_one_source() {
        let address = |network: u128, host: u128| {
            IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (network << 64) | host))
        };
        let blocks = AddressBlocks::default();
        for host in 1..=3 {
            assert_eq!(blocks.charge(TENANT, address(1, host), 100, &RULE), Charge::Charged);
        }
        let another = blocks.charge(TENANT, address(1, 4), 101, &RULE);
        assert_eq!(another, Charge::Blocked { retry_after_s: 599 });
        assert_eq!(blocks.charge(TENANT, address(2, 1), 101, &RULE), Charge::Charged);
        blocks.give_back(TENANT, address(1, 2), 100, &RULE);
        assert_eq!(blocks.charge(TENANT, address(1, 5), 101, &RULE), Charge::Charged);
    }

    #[test]
    fn a_success_gives_its_charge_back_and_no_other() {
        let blocks = AddressBlocks::default();
        for now_s in [100, 101, 102] {
            blocks.charge(TENANT, ADDRESS, now_s, &RULE);
        }
        blocks.give_back(TENANT, ADDRESS, 102, &RULE);
        assert_eq!(blocks.charge(TENANT, ADDRESS, 103, &RULE), Charge::Charged);
        assert!(matches!(blocks.charge(TENANT, ADDRESS, 104, &RULE), Charge::Blocked { .. }));
    }

    #[test]
    fn what_an_earlier_run_counted_still_counts() {
        let blocks = AddressBlocks::default();
        blocks.remember(TENANT, ADDRESS, vec![99, 98, 97], &RULE);
        assert!(blocks.knows(TENANT, ADDRESS));
        assert!(matches!(blocks.charge(TENANT, ADDRESS, 100, &RULE), Charge::Blocked { .. }));
    }
}
