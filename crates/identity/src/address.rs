//! Failures by source address, IPv6 by its /64: charged before an attempt, given back
//! where it succeeds, blocking past the tenant's threshold.
//!
//! Failures and blocks are those of all nodes where there is a shared store; parallel
//! attempts wait at the gate for the others of their node. Refuses to know accounts.

use std::net::IpAddr;

use hotstate::{
    block::BlockRule,
    blocks::{Blocked, Charged},
    gate::{Entered, Verdict},
    source,
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
    source: IpAddr,
    charged: Charged,
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
        let Some(address) = context.request.ip else { return Ok(None) };
        if self.inner.config.exempt_loopback && address.to_canonical().is_loopback() {
            return Ok(None);
        }
        let source = source::counted(address);
        let (tenant, rule) = (context.tenant_id(), rule_of(&state.policy.address_block));
        if !self.inner.blocks.knows(tenant, source) {
            let failed_at_s = self.earlier_failures(context, address, &rule).await?;
            self.inner.blocks.remember(tenant, source, failed_at_s, &rule);
        }
        let places = usize::try_from(rule.threshold).unwrap_or(usize::MAX);
        let mut entered = self.inner.address_gate.enter((tenant, source), places).await;
        loop {
            let now_s = self.inner.clock.now_s();
            match self.inner.blocks.charge(tenant, source, now_s, &rule).await {
                Ok(charged) => {
                    return Ok(Some(AddressCharge { entered, source, charged, rule }));
                }
                Err(Blocked { retry_after_s }) => {
                    if entered.exhausted().await == Verdict::Exhausted {
                        return Err(blocked(retry_after_s).into());
                    }
                }
            }
        }
    }

    /// Whether this is the first blocked attempt of a source within a minute: the one
    /// that is recorded.
    pub(crate) fn is_news(&self, context: &OpContext) -> bool {
        let Some(address) = context.request.ip else { return true };
        self.inner.floods.first((context.tenant_id(), source::counted(address)), ())
    }

    /// The attempt succeeded, or came to no verdict: its charge goes back.
    pub(crate) async fn give_back(&self, context: &OpContext, charge: AddressCharge) {
        let AddressCharge { entered, source, charged, rule } = charge;
        self.inner.blocks.give_back(context.tenant_id(), source, charged, &rule).await;
        entered.succeeded();
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
        let (first, last) = source::addresses_of(address).into_inner();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&tenant, &first, &last, &since, &most];
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
