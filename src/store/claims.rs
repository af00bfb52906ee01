//! Which rows are claimed: handed out, and not recorded or put back yet.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Keys of rows that no other claim may hand out. A claim writes nothing, so this is all that keeps a row from
/// being claimed twice; a process that is killed forgets it, and its rows are simply still due.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<Held>,
    released: Notify,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashSet<i64>,
    /// Those among them that nothing is being done about.
    n_left_out: usize,
}

impl Claims {
    /// A copy of the keys, for a claim to leave out.
    pub fn keys(&self) -> HashSet<i64> {
        self.lock().keys.clone()
    }

    /// How many there are that will be recorded or put back.
    pub fn len(&self) -> usize {
        let held = self.lock();
        held.keys.len() - held.n_left_out
    }

    /// Notes that a row will neither be recorded nor put back: no claim hands it out again.
    pub fn leave_out(&self, key: i64) {
        let mut held = self.lock();
        held.n_left_out += usize::from(held.keys.contains(&key));
        drop(held);
        self.released.notify_one();
    }

    /// Adds a row; `false` if it is claimed already.
    pub fn insert(&self, key: i64) -> bool {
        self.lock().keys.insert(key)
    }

    /// Removes rows and, if any was there, wakes the task that waits in [`Claims::released`].
    pub fn release(&self, keys: impl IntoIterator<Item = i64>) {
        let mut held = self.lock();
        let n_held = held.keys.len();
        for key in keys {
            held.keys.remove(&key);
        }
        let is_released = held.keys.len() < n_held;
        drop(held);
        if is_released {
            self.released.notify_one();
        }
    }

    /// Waits until rows are removed. One waiter at a time; a removal before the call counts.
    pub async fn released(&self) {
        self.released.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
