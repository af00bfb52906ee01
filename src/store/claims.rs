//! Which rows are claimed: handed out, and not recorded or put back yet.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Rows that may be left out. If more can't be recorded, it is not about single rows: they count as waiting for the
/// recorder, so that polling pauses soon, and what is claimed stays bounded.
const MOST_LEFT_OUT: usize = 1_000;

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
    /// Those among them that will neither be recorded nor put back.
    left_out: HashSet<i64>,
}

impl Claims {
    /// A copy of the keys, for a claim to leave out.
    pub fn keys(&self) -> HashSet<i64> {
        self.lock().keys.clone()
    }

    /// How many there are that will be recorded or put back.
    pub fn len(&self) -> usize {
        let held = self.lock();
        held.keys.len() - held.left_out.len()
    }

    /// Notes that a row will neither be recorded nor put back: no claim hands it out again. `false` if there are too many.
    pub fn leave_out(&self, key: i64) -> bool {
        let mut held = self.lock();
        if !held.keys.contains(&key) {
            return true;
        }
        let has_room = held.left_out.len() < MOST_LEFT_OUT;
        if has_room {
            held.left_out.insert(key);
        }
        drop(held);
        self.released.notify_one();
        has_room
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
            held.left_out.remove(&key);
        }
        let is_released = held.keys.len() < n_held;
        drop(held);
        if is_released {
            self.released.notify_one();
        }
    }

    /// Waits until rows are removed or left out. One waiter at a time; what was before the call counts.
    pub async fn released(&self) {
        self.released.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_claimed_and_does_not_count_up_to_a_bound() {
        let claims = Claims::default();
        let n_rows = MOST_LEFT_OUT as i64 + 3;
        assert!((0..n_rows).all(|key| claims.insert(key)));
        assert!(claims.leave_out(0) && claims.leave_out(0) && claims.leave_out(-1));
        assert_eq!(claims.len(), n_rows as usize - 1);
        assert!(!claims.insert(0), "it is claimed");
        assert_eq!((1..n_rows).filter(|key| !claims.leave_out(*key)).count(), 3);
        assert_eq!(claims.len(), 3);
        claims.release(0..n_rows);
        assert_eq!((claims.len(), claims.keys().len()), (0, 0));
    }
}
