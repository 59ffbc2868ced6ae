//! Failures by source address: charged before an attempt, given back where it
//! succeeds, blocking past the tenant's threshold.
//!
//! Refuses to know accounts; parallel attempts wait for each other at the gate.

use std::net::IpAddr;

use hotstate::{
    block::{BlockRule, Charge},
    gate::{Entered, Verdict},
};
use jiff::{SignedDuration, Timestamp};
use operation::{OperationError, Refusal, RefusalKind};
use tenancy::{OpContext, Query, policy::LockPolicy};
use uuid::Uuid;

use crate::{Identity, tenant_state::TenantState};

const FAILURES: &str = tenancy::sql!("identity/login.sql", "failures_of_address");

/// An attempt that was charged to its address.
pub(crate) struct AddressCharge {
    entered: Entered<(Uuid, IpAddr)>,
    address: IpAddr,
    charged_at_s: i64,
    rule: BlockRule,
}

impl Identity {
    /// Charges an attempt to its address; nothing where the address is unknown or
    /// exempt, a 429 where it is blocked.
    pub(crate) async fn charge_address(
        &self,
        context: &OpContext,
        state: &TenantState,
    ) -> Result<Option<AddressCharge>, OperationError> {
        let Some(address) = context.request.ip.map(|address| address.to_canonical()) else {
            return Ok(None);
        };
        if self.inner.config.exempt_loopback && address.is_loopback() {
            return Ok(None);
        }
        let (tenant, rule) = (context.tenant_id(), rule_of(&state.policy.address_block));
        if !self.inner.blocks.knows(tenant, address) {
            let failed_at_s = self.earlier_failures(context, address, &rule).await?;
            self.inner.blocks.remember(tenant, address, failed_at_s, &rule);
        }
        let places = usize::try_from(rule.threshold).unwrap_or(usize::MAX);
        let mut entered = self.inner.address_gate.enter((tenant, address), places).await;
        loop {
            let charged_at_s = self.inner.clock.now_s();
            match self.inner.blocks.charge(tenant, address, charged_at_s, &rule) {
                Charge::Charged => {
                    return Ok(Some(AddressCharge { entered, address, charged_at_s, rule }));
                }
                Charge::Blocked { retry_after_s } => {
                    if entered.exhausted().await == Verdict::Exhausted {
                        return Err(blocked(retry_after_s).into());
                    }
                }
            }
        }
    }

    /// Whether this is the first blocked attempt of an address within a minute: the
    /// one that is recorded.
    pub(crate) fn is_news(&self, context: &OpContext) -> bool {
        let Some(address) = context.request.ip else { return true };
        self.inner.floods.first((context.tenant_id(), address), ())
    }

    /// The attempt succeeded: its charge goes back.
    pub(crate) fn give_back(&self, context: &OpContext, charge: AddressCharge) {
        self.inner.blocks.give_back(
            context.tenant_id(),
            charge.address,
            charge.charged_at_s,
            &charge.rule,
        );
        charge.entered.succeeded();
    }

    async fn earlier_failures(
        &self,
        context: &OpContext,
        address: IpAddr,
        rule: &BlockRule,
    ) -> Result<Vec<i64>, OperationError> {
        let tenant = context.tenant_id();
        let span = SignedDuration::from_secs(rule.window_s.max(rule.duration_s));
        let since = context.clock.now().checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH);
        let most = i64::from(rule.threshold);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&tenant, &address, &since, &most];
        let rows = self
            .inner
            .operations
            .database()
            .look_up(context, Query::new(FAILURES, &parameters))
            .await?;
        let seconds = rows
            .iter()
            .map(|row| row.try_get::<_, Timestamp>("created_at").map(Timestamp::as_second));
        Ok(seconds.collect::<Result<_, _>>().map_err(tenancy::DbError::from)?)
    }
}

fn rule_of(policy: &LockPolicy) -> BlockRule {
    BlockRule {
        threshold: policy.threshold,
        window_s: policy.window_s.unwrap_or(policy.duration_s),
        duration_s: policy.duration_s,
    }
}

fn blocked(retry_after_s: u64) -> Refusal {
    let detail = format!("Try again in {retry_after_s} seconds");
    Refusal::new(RefusalKind::RateLimited, "rate_limited", detail).retry_after(retry_after_s)
}
