//! Owns when notices are sent, given up and forgotten, and the figures that tell of it. It
//! refuses to know what they say and how they are sent.
//!
//! Each channel has a loop of its own, so that an SMS gateway that hangs holds up no mail.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use notify::{Channel, Waiting};
use operation::OperationError;
use tenancy::{ActorKind, OpContext};
use tokio_util::sync::CancellationToken;

use super::workers::for_each_tenant;
use crate::compose::Installation;

/// How long a code waits at most before it is on its way.
pub(super) const SEND_EVERY: Duration = Duration::from_secs(1);
/// Nothing is sent after its end whether or not a worker has written so.
pub(super) const CLEAN_EVERY: Duration = Duration::from_secs(30);

/// The job of one channel: sends what is due, tenant by tenant.
pub(super) fn sending(
    channel: Channel,
    stop: CancellationToken,
) -> impl Fn(Installation) -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    move |installation| {
        let stop = stop.clone();
        Box::pin(async move {
            if installation.notices.is_resting(channel) {
                return Ok(());
            }
            let job = |own: Installation, context: OpContext| {
                let stop = stop.clone();
                async move {
                    let is_stopping = || stop.is_cancelled();
                    own.notices.send_due(&context, channel, is_stopping).await.map(drop)
                }
            };
            for_each_tenant(&installation, job).await
        })
    }
}

/// Gives up what is over, and shows what waits.
pub(super) async fn clean(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        own.notices.expire(&context).await.map(drop)
    };
    let expired = for_each_tenant(&installation, job).await;
    let mut waiting = Vec::new();
    for tenant in installation.directory.list().await? {
        let context = installation.context(tenant, ActorKind::Worker);
        waiting.extend(installation.notices.waiting(&context).await?);
    }
    show(&waiting, installation.clock.now());
    expired
}

/// Forgets what has long been over.
pub(super) async fn forget(
    installation: Installation,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| {
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() && own.notices.forget(&context).await? > 0 {}
            Ok::<_, OperationError>(())
        }
    };
    for_each_tenant(&installation, job).await
}

/// The same on every node, whichever sends.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts fit in them")]
fn show(waiting: &[Waiting], now: Timestamp) {
    let mut all: BTreeMap<&str, (i64, i64)> =
        Channel::ALL.into_iter().map(|channel| (channel.as_str(), (0, 0))).collect();
    for one in waiting {
        let (count, age_s) = all.entry(one.channel.as_str()).or_default();
        *count += one.count;
        *age_s = (*age_s).max(now.as_second() - one.oldest_at.as_second());
    }
    for (channel, (count, age_s)) in all {
        metrics::gauge!("strongroom_notices_waiting", "channel" => channel).set(count as f64);
        metrics::gauge!("strongroom_notices_oldest_age_seconds", "channel" => channel)
            .set(age_s as f64);
    }
}
