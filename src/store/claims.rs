//! Which rows are claimed: handed out, and not recorded or put back yet.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Keys of rows that no other claim may hand out. A claim writes nothing, so this is all that keeps a row from
/// being claimed twice; a process that is killed forgets it, and its rows are simply still due.
#[derive(Debug, Default)]
pub(super) struct Claims {
    keys: Mutex<HashSet<i64>>,
    released: Notify,
}

impl Claims {
    /// A copy of the keys, for a claim to leave out.
    pub fn keys(&self) -> HashSet<i64> {
        self.lock().clone()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Adds a row; `false` if it is claimed already.
    pub fn insert(&self, key: i64) -> bool {
        self.lock().insert(key)
    }

    /// Removes rows and, if any was there, wakes the task that waits in [`Claims::released`].
    pub fn release(&self, keys: impl IntoIterator<Item = i64>) {
        let mut held = self.lock();
        let n_held = held.len();
        for key in keys {
            held.remove(&key);
        }
        let is_released = held.len() < n_held;
        drop(held);
        if is_released {
            self.released.notify_one();
        }
    }

    /// Waits until rows are removed. One waiter at a time; a removal before the call counts.
    pub async fn released(&self) {
        self.released.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
