//! The daemon's clock: the wall clock as it was at the start, carried on by the monotonic one.
//!
//! It never jumps by itself. Where the wall clock does, [`Clock::jump`] says by how much, and the poller moves
//! the schedule along before it adopts the new time: a wrong clock must neither expire anything nor put it off.
//! Where the database is a server's, the time is the server's ([`Clock::follow`]), so that all daemons on it agree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// Differences below this are drift or a corrected second, and simply followed.
const DRIFT_MS: i64 = 30_000;

/// Longest time that a daemon may have been away. A longer absence is taken for a clock that jumped: nothing
/// expires for it.
pub const LONGEST_ABSENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// See the module.
#[derive(Debug)]
pub struct Clock {
    anchor: Mutex<(Instant, Timestamp)>,
    /// Whether the time is another machine's, which says by itself when it jumps.
    is_following: AtomicBool,
}

/// The wall clock, which only this module reads.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_system_time() -> SystemTime {
    SystemTime::now()
}

/// The wall clock as a timestamp.
pub fn wall_now() -> Timestamp {
    // A clock before 1970 is as good as one at it: both are far from anything stored.
    let since_epoch = wall_system_time().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_millis(0) + since_epoch
}

impl Default for Clock {
    fn default() -> Self {
        Self { anchor: Mutex::new((Instant::now(), wall_now())), is_following: AtomicBool::new(false) }
    }
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        let (instant, timestamp) = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        timestamp + instant.elapsed()
    }

    /// By how many milliseconds the wall clock differs, if that is a jump. Drift is followed on the way.
    pub fn jump(&self) -> Option<i64> {
        if self.is_following.load(Ordering::Relaxed) {
            return None;
        }
        let delta = wall_now().as_millis().saturating_sub(self.now().as_millis());
        if delta.abs() > DRIFT_MS {
            return Some(delta);
        }
        self.adopt_wall();
        None
    }

    /// Takes a server's time for the truth, from now on instead of the wall clock.
    pub fn follow(&self, now: Timestamp) {
        self.is_following.store(true, Ordering::Relaxed);
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
    }

    /// Takes the wall clock's time for the truth.
    pub fn adopt_wall(&self) {
        *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), wall_now());
    }
}

/// By how much the clock must have jumped while no daemon ran, if its last sign of life is in the future or
/// further back than [`LONGEST_ABSENCE`].
pub fn jump_since(last_beat: Timestamp, now: Timestamp) -> Option<i64> {
    let delta = now.as_millis().saturating_sub(last_beat.as_millis());
    let is_believable = delta >= -DRIFT_MS && now.since(last_beat) <= LONGEST_ABSENCE;
    (!is_believable).then_some(delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_of_days_is_believed_and_one_of_years_is_not() {
        let day = 86_400_000;
        let now = Timestamp::from_millis(20_000 * day);
        for (beat_days_ago, expected) in [
            (0, None),
            (3, None),
            (30, None),
            (31, Some(31 * day)),
            (-1, Some(-day)),
            (3_650, Some(3_650 * day)),
        ] {
            assert_eq!(jump_since(now.shifted(-beat_days_ago * day), now), expected, "{beat_days_ago}");
        }
    }

    #[test]
    fn a_steady_wall_clock_is_no_jump() {
        assert_eq!(Clock::default().jump(), None);
    }
}
