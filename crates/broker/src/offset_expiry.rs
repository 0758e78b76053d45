//! Lets go of committed offsets that nobody needs any more: from time to time, in one task.
//!
//! What it is not: the rule. Which offsets expire is decided by the log, which keeps them, by its clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::services::Services;
use crate::stop::stopped;

/// Works until the broker stops. The first look comes after one interval, when groups that were there before a restart
/// have come back.
pub(crate) async fn run(services: Arc<Services>) {
    let mut stopping = services.stopping.clone();
    let interval = Duration::from_millis(services.settings.groups.offsets_check_interval_ms.max(1));
    // Each look is a whole interval after the one before has ended.
    let mut due = interval_at(Instant::now() + interval, interval);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let look = async {
            due.tick().await;
            look(&services).await;
        };
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = look => {}
        }
    }
}

async fn look(services: &Services) {
    // The coordinator is gone only when the broker stops.
    let Ok(listed) = services.coordinator.list().await else { return };
    let with_members: BTreeSet<String> =
        listed.into_iter().filter(|group| group.has_members).map(|group| group.name).collect();
    let retention_ms = services.settings.groups.offsets_retention_ms;
    match services.log.expire_offsets(&with_members, retention_ms).await {
        Ok(0) => {}
        Ok(expired) => tracing::info!(expired, retention_ms, "offsets of groups without members have expired"),
        // What is due stays due.
        Err(error) => tracing::warn!(%error, "cannot look which committed offsets have expired; it is tried again"),
    }
}
