//! Owns the living demo of a bank's tenant: believable people and ninety days of
//! their money, and a few things in the audit log that somebody should look at.
//!
//! The same seed gives the same people, amounts and days before today; ids and
//! account numbers differ. Everything goes through operations, under clocks that
//! stand at the moment of what happens; a start that is killed is continued by the
//! next one.

mod approval;
mod book;
mod cast;
mod characters;
mod dice;
mod enrol;
mod finish;
mod life;
mod memory;
mod oddities;
mod places;
mod plan;
mod play;
#[cfg(test)]
mod tests;
mod timeline;
mod trade;
mod wish;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::ToSpan as _;
use operation::Call;
use tenancy::{ActorKind, Clock, OpContext, Query, TenantRef};

use crate::cli::tenant::refused;
use crate::compose::Installation;
use enrol::Enrol;
use finish::Finish;
use memory::{Ids, Memory};
use timeline::{Login, Stage, instant};

pub(super) use plan::LOGIN_DAYS;

const LOGINS: &str = tenancy::sql!("server/demo.sql", "logins");

/// Brings the demo of a tenant to its end, wherever an earlier start has left it.
/// What is whole stays as it is, whatever the seed.
pub(super) async fn seed(
    installation: &Installation,
    tenant: &Arc<TenantRef>,
    password: &str,
    seed: u64,
) -> anyhow::Result<()> {
    let context = installation.context(Arc::clone(tenant), ActorKind::Cli);
    let memory = Memory::read(&installation.operations, &context).await?;
    if memory.is_settled() {
        return Ok(());
    }
    let (today, seed) = match memory.plan() {
        Some(begun) => begun,
        None => (banking::movements::business_date(&context)?, seed),
    };
    let plan = Arc::new(cast::plan(seed, today));
    let logins = logins(installation, &context).await?;
    let ids = if let Some(ids) = memory.ids(&plan) {
        ids
    } else {
        let first = today.saturating_sub(plan::HISTORY_DAYS.days());
        let clock = Clock::manual(instant(tenant, wish::at(first, 0, 1))?);
        let enrol = Enrol {
            keyring: Arc::clone(&installation.keyring),
            plan: Arc::clone(&plan),
            logins: logins.iter().map(|(name, login)| (name.clone(), login.id)).collect(),
            today,
            seed,
        };
        let context = OpContext::system(Arc::clone(tenant), ActorKind::Cli, clock);
        let call = Call { context, idempotency_key: None, command: enrol };
        Ids::from(installation.operations.run_one(call).await.map_err(refused)?.output)
    };
    let stage = Stage { installation, tenant, plan: &plan, ids: &ids, logins: &logins };
    // Signing in is hashing, booking is waiting for the database: they go side by side.
    tokio::try_join!(
        stage.perform(memory.last_step()),
        oddities::perform(&stage, password, today)
    )?;
    approval::perform(&stage, today).await?;
    let call = Call { context, idempotency_key: None, command: Finish { seed, today } };
    installation.operations.run_one(call).await.map_err(refused)?;
    Ok(())
}

async fn logins(
    installation: &Installation,
    context: &OpContext,
) -> anyhow::Result<HashMap<String, Login>> {
    let rows =
        installation.app.read(context, &[Query::new(LOGINS, &[&context.tenant_id()])]).await?;
    let logins = rows.iter().flatten().map(|row| {
        Ok((row.try_get("username")?, Login { id: row.try_get("id")?, role: row.try_get("role")? }))
    });
    Ok(logins.collect::<Result<_, tokio_postgres::Error>>()?)
}
