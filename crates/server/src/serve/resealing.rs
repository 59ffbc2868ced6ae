//! Owns when values are sealed anew after their key was rotated, and the gauge that tells of
//! it. Refuses to know how: that is `operation`'s.
//!
//! Tenants are served one after the other, suspended ones as well: what they have under an old
//! key keeps that key alive.

use std::sync::Arc;
use std::time::Duration;

use operation::OperationError;
use tenancy::{ActorKind, OpContext};
use tokio_util::sync::CancellationToken;

use crate::compose::Installation;

/// How long a rotation waits at most before it is gone after.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Seals anew what waits in every tenant. One tenant's trouble is not the next one's.
pub(super) async fn run(installation: Installation, stop: CancellationToken) -> anyhow::Result<()> {
    let mut trouble = Ok(());
    for tenant in installation.directory.with_suspended().await? {
        let context = installation.context(Arc::clone(&tenant), ActorKind::Worker);
        if let Err(error) = reseal(&installation, &context, &stop).await {
            tracing::warn!(tenant = tenant.slug, %error, "values could not be sealed anew");
            trouble = trouble.and(Err(error));
        }
    }
    Ok(trouble?)
}

/// Page by page until nothing is left for now; what is left when the process is told to stop
/// is gone on with at the next start.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts fit in them")]
async fn reseal(
    installation: &Installation,
    context: &OpContext,
    stop: &CancellationToken,
) -> Result<(), OperationError> {
    while !stop.is_cancelled() {
        let page = installation.identity.reseal_values(context).await?;
        metrics::gauge!("strongroom_values_to_reseal").set(page.left as f64);
        if page.is_over {
            break;
        }
        metrics::counter!("strongroom_values_resealed_total").increment(page.values as u64);
        metrics::counter!("strongroom_values_unopened_total").increment(page.skipped as u64);
    }
    Ok(())
}
