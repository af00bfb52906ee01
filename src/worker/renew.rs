//! The renewer: stores the events of certificates that end, when they are due.
//!
//! It writes by itself rather than through the recorder: what it announces depends on no answer, and thousands of
//! reminders must not delay polls. It wakes the dispatchers after a commit. What is due is decided
//! by `domain::certificate::due`.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::certificate::Renewal;
use crate::store::{StoreError, Upkeep};
use crate::wakers::Wakers;

/// How often it checks. Events of certificates are promised within ten seconds.
const EVERY: Duration = Duration::from_secs(2);

/// Pause between two batches, for others to write in.
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Renewer {
    upkeep: Upkeep,
    clock: Arc<Clock>,
    renewal: Renewal,
    wakers: Wakers,
}

impl Renewer {
    /// A renewer that has not begun yet.
    pub fn new(upkeep: Upkeep, clock: Arc<Clock>, renewal: Renewal, wakers: Wakers) -> Self {
        Self { upkeep, clock, renewal, wakers }
    }

    /// Checks every two seconds until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut is_failing = false;
        loop {
            // A check is not interrupted: it is short, and what it stored has to wake the sinks.
            match self.check(&stop).await {
                Ok(()) => is_failing = false,
                Err(err) => {
                    let error = &err as &dyn std::error::Error;
                    match is_failing {
                        false => {
                            tracing::warn!(error, "certificates can't be checked: {err}; it is tried again")
                        }
                        true => tracing::debug!(error, "certificates still can't be checked: {err}"),
                    }
                    is_failing = true;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn check(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let reminded = self.upkeep.remind(&self.renewal, self.clock.now()).await?;
            if reminded.n_events > 0 {
                let n_events = reminded.n_events;
                tracing::info!(n_events, "{n_events} reminders and ends of certificates were announced");
                self.wakers.wake_sinks();
            }
            if reminded.n_looked_at == 0 {
                break;
            }
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
        Ok(())
    }
}
