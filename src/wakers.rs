//! Wakes the tasks that wait for something to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

/// Wakes pollers and dispatchers after something was written that they have not seen. Clones wake the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Wakers {
    sleepers: Arc<Mutex<Sleepers>>,
}

#[derive(Debug, Default)]
struct Sleepers {
    pollers: Vec<Weak<Notify>>,
    sinks: Vec<Weak<Notify>>,
}

impl Wakers {
    /// Wakes a new poller, for as long as it keeps this.
    pub fn poller(&self) -> Arc<Notify> {
        join(&mut self.sleepers().pollers)
    }

    /// Wakes a new dispatcher, for as long as it keeps this.
    pub fn sink(&self) -> Arc<Notify> {
        join(&mut self.sleepers().sinks)
    }

    /// There may be something else to poll and something to send.
    pub fn wake_all(&self) {
        wake(&self.sleepers().pollers);
        self.wake_sinks();
    }

    /// There may be something to send.
    pub fn wake_sinks(&self) {
        wake(&self.sleepers().sinks);
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join(sleepers: &mut Vec<Weak<Notify>>) -> Arc<Notify> {
    sleepers.retain(|sleeper| sleeper.strong_count() > 0);
    let notify = Arc::new(Notify::new());
    sleepers.push(Arc::downgrade(&notify));
    notify
}

fn wake(sleepers: &[Weak<Notify>]) {
    sleepers.iter().filter_map(Weak::upgrade).for_each(|sleeper| sleeper.notify_one());
}
