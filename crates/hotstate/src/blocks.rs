//! Failures and blocks by source as sign-ins meet them: of this node alone, or of all
//! nodes where there is a shared store.
//!
//! Owns what counts when. A failure is charged here and in the store, and either may
//! block: so a node that loses the store knows its own failures and the blocks it was told
//! of, and a store that was emptied is told again by the next node that asks. Refuses to
//! know policy.

use std::{net::IpAddr, sync::OnceLock};

use uuid::Uuid;

use crate::{
    block::{AddressBlocks, BlockRule, Charge},
    shared::Shared,
    source::counted,
};

/// A failure that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    own_at_s: i64,
    /// By the store's clock, where it was charged there too.
    shared_at_s: Option<i64>,
}

/// A source that may not try now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Seconds until another try makes sense; at least 1.
    pub retry_after_s: u64,
}

/// Failures and blocks of every source that failed lately.
#[derive(Debug, Default)]
pub struct SourceBlocks {
    own: AddressBlocks,
    shared: OnceLock<Shared>,
}

impl SourceBlocks {
    /// From now on failures and blocks are shared; once.
    pub fn share(&self, shared: Shared) {
        // A second store would be a mistake of ours: the first one stands.
        let _ = self.shared.set(shared);
    }

    /// Whether anything is known of an address on this node.
    pub fn knows(&self, tenant: Uuid, address: IpAddr) -> bool {
        self.own.knows(tenant, address)
    }

    /// Takes over what was recorded before this node started; nothing where the
    /// address is known already.
    pub fn remember(&self, tenant: Uuid, address: IpAddr, failed_at_s: Vec<i64>, rule: &BlockRule) {
        self.own.remember(tenant, address, failed_at_s, rule);
    }

    /// Charges one failure, atomically, by this node's clock and by the store's.
    ///
    /// # Errors
    /// Where the source is blocked; then nothing was charged.
    pub async fn charge(
        &self,
        tenant: Uuid,
        address: IpAddr,
        now_s: i64,
        rule: &BlockRule,
    ) -> Result<Charged, Blocked> {
        let address = counted(address);
        let shared = self.shared.get();
        let known = shared.map(|_| self.own.known(tenant, address)).unwrap_or_default();
        if let Charge::Blocked { retry_after_s } = self.own.charge(tenant, address, now_s, rule) {
            return Err(Blocked { retry_after_s });
        }
        let alone = Charged { own_at_s: now_s, shared_at_s: None };
        let Some(shared) = shared else { return Ok(alone) };
        let (retry_after_s, heard_until_s) =
            match shared.charge(tenant, address, rule, &known).await {
                Some((Charge::Charged, at_s)) => {
                    self.own.hear(tenant, address, 0);
                    return Ok(Charged { shared_at_s: Some(at_s), ..alone });
                }
                Some((Charge::Blocked { retry_after_s }, _)) => {
                    let lasts_s = i64::try_from(retry_after_s).unwrap_or(rule.duration_s);
                    (retry_after_s, now_s.saturating_add(lasts_s))
                }
                // Alone, and it was not: what it was told still holds.
                None => match u64::try_from(known.heard_until_s - now_s) {
                    Ok(left_s) if left_s > 0 => (left_s, known.heard_until_s),
                    _ => return Ok(alone),
                },
            };
        self.own.give_back(tenant, address, now_s, rule);
        self.own.hear(tenant, address, heard_until_s);
        Err(Blocked { retry_after_s })
    }

    /// Gives back the charge of an attempt that succeeded, and with it the block that this
    /// charge brought about. A store that is away keeps it until its window is over: it
    /// errs on the side of one more failure.
    pub async fn give_back(
        &self,
        tenant: Uuid,
        address: IpAddr,
        charged: Charged,
        rule: &BlockRule,
    ) {
        let address = counted(address);
        self.own.give_back(tenant, address, charged.own_at_s, rule);
        if let (Some(shared), Some(at_s)) = (self.shared.get(), charged.shared_at_s) {
            shared.give_back(tenant, address, rule, at_s).await;
        }
    }
}
