//! The pruner: removes what concluded longer ago than it has to be kept.
//! It works in small batches with pauses between them. Each is a transaction of its own beside the recorder's, so that
//! no poll waits for long. It does nothing until the clock has been steady for a while: a clock that is years ahead
//! would make everything old.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{StoreError, Upkeep};

/// How often it runs. What is pruned is hundreds of days old, so an hour later does not matter.
const EVERY: Duration = Duration::from_secs(3_600);

/// Pause between two batches, for others to write in.
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Pruner {
    upkeep: Upkeep,
    clock: Arc<Clock>,
    keep_for: Duration,
}

impl Pruner {
    /// A pruner that has not begun yet; it keeps concluded activities for `keep_for`.
    pub fn new(upkeep: Upkeep, clock: Arc<Clock>, keep_for: Duration) -> Self {
        Self { upkeep, clock, keep_for }
    }

    /// Prunes once an hour until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                pruned = self.prune() => match pruned {
                    Ok(0) => {}
                    Ok(n_pruned) => tracing::info!(n_pruned, "{n_pruned} old activities and events were pruned"),
                    Err(err) => {
                        let error = &err as &dyn std::error::Error;
                        tracing::warn!(error, "{err}; it is tried again in an hour");
                    }
                },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn prune(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut n_pruned = 0;
        while self.upkeep.may_prune(now).await? {
            match self.upkeep.prune(now - self.keep_for).await? {
                0 => break,
                n => n_pruned += n,
            }
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
        Ok(n_pruned)
    }
}
