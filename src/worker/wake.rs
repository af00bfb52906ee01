//! Wakes the tasks that wait for something to do.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes the poller and the dispatchers, where something was written that they have not seen.
#[derive(Debug, Clone, Default)]
pub struct Wakers {
    /// The poller's.
    pub poller: Arc<Notify>,
    /// Each dispatcher's.
    pub sinks: Vec<Arc<Notify>>,
}

impl Wakers {
    /// There may be something else to poll and something to send.
    pub fn wake_all(&self) {
        self.poller.notify_one();
        self.wake_sinks();
    }

    /// There may be something to send.
    pub fn wake_sinks(&self) {
        self.sinks.iter().for_each(|sink| sink.notify_one());
    }
}
