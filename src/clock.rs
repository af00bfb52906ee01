//! The daemon's clock: the wall clock as it was at the start, carried on by the monotonic one.
//!
//! It never jumps by itself. If the wall clock does, [`Clock::jump`] says by how much, and the poller moves the
//! schedule before the clock jumps along, so that a wrong clock neither expires nor delays anything. It never goes
//! back either: if the true time is behind by less than a jump, it runs slower until they meet. With a server as
//! database the time is the server's ([`Clock::follow`]), so that all daemons agree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// Smaller differences are drift or a corrected second, and are followed.
const DRIFT_MS: i64 = 30_000;

/// While the clock waits for the true time, it runs slower by one part in so many: by a tenth.
const SLOWNESS: u32 = 10;

/// How far in the future the last sign of life may be at a start. If it is further ahead, the clock was set back
/// meanwhile, and everything planned would wait.
const START_DRIFT_MS: i64 = 1_000;

/// Longest time that a daemon may have been away. A longer absence is taken for a clock that jumped: nothing
/// expires for it.
const LONGEST_ABSENCE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// See the module.
#[derive(Debug)]
pub struct Clock {
    anchor: Mutex<Anchor>,
    /// Whether the time is the server's, whose jumps are reported by the store.
    is_following: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    instant: Instant,
    timestamp: Timestamp,
    /// How far this clock was ahead of the true time.
    ahead_by: Duration,
}

impl Anchor {
    fn at(timestamp: Timestamp) -> Self {
        Self { instant: Instant::now(), timestamp, ahead_by: Duration::ZERO }
    }

    /// The time when `elapsed` has passed since the anchor was set. It never goes back.
    fn after(&self, elapsed: Duration) -> Timestamp {
        self.timestamp + elapsed.saturating_sub(self.ahead_by.min(elapsed / SLOWNESS))
    }

    /// Approaches the true time: at once if it is ahead, slowly if it is behind by less than a jump. Going back would
    /// delay everything planned.
    fn approach(&mut self, truth: Timestamp) {
        let now = self.after(self.instant.elapsed());
        *self = match i64::try_from(now.since(truth).as_millis()) {
            Ok(behind) if behind <= DRIFT_MS => {
                Self { ahead_by: now.since(truth), ..Self::at(now.max(truth)) }
            }
            _ => Self::at(truth),
        };
    }
}

/// The wall clock, which only this module reads.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_system_time() -> SystemTime {
    SystemTime::now()
}

/// The wall clock as a timestamp.
pub fn wall_now() -> Timestamp {
    // A clock before 1970 counts as 1970: both are far from anything stored.
    let since_epoch = wall_system_time().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_millis(0) + since_epoch
}

impl Default for Clock {
    fn default() -> Self {
        Self { anchor: Mutex::new(Anchor::at(wall_now())), is_following: AtomicBool::new(false) }
    }
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        let anchor = self.anchor();
        anchor.after(anchor.instant.elapsed())
    }

    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how many milliseconds the wall clock differs, if that is a jump. A smaller difference is
    /// drift, which this clock follows.
    pub fn jump(&self) -> Option<i64> {
        if self.is_following.load(Ordering::Relaxed) {
            return None;
        }
        let wall = wall_now();
        let delta = wall.as_millis().saturating_sub(self.now().as_millis());
        if delta.abs() > DRIFT_MS {
            return Some(delta);
        }
        self.anchor().approach(wall);
        None
    }

    /// Follows a server's time, from now on and instead of the wall clock.
    pub fn follow(&self, now: Timestamp) {
        self.is_following.store(true, Ordering::Relaxed);
        self.anchor().approach(now);
    }

    /// Jumps by `delta_ms`, after the schedule has. If the wall clock has jumped again meanwhile, that is the next
    /// jump.
    pub fn jump_along(&self, delta_ms: i64) {
        let mut anchor = self.anchor();
        *anchor = Anchor::at(anchor.after(anchor.instant.elapsed()).shifted(delta_ms));
    }
}

/// By how much the clock must have jumped while no daemon ran, if its last sign of life is in the future or
/// further back than `LONGEST_ABSENCE`.
pub fn jump_since(last_beat: Timestamp, now: Timestamp) -> Option<i64> {
    let delta = now.as_millis().saturating_sub(last_beat.as_millis());
    let is_believable = delta >= -START_DRIFT_MS && now.since(last_beat) <= LONGEST_ABSENCE;
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
    fn a_clock_that_was_set_back_a_little_is_a_jump_at_a_start() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (ahead_ms, expected) in [(500, None), (2_000, Some(-2_000)), (25_000, Some(-25_000))] {
            assert_eq!(jump_since(now.shifted(ahead_ms), now), expected, "{ahead_ms}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_goes_slower_until_it_is_no_more_and_never_back() {
        let start = Timestamp::from_millis(1_000_000);
        let anchor = Anchor { ahead_by: Duration::from_secs(25), ..Anchor::at(start) };
        for (elapsed_s, expected_s) in [(0, 0), (10, 9), (100, 90), (250, 225), (1_000, 975)] {
            let expected = start + Duration::from_secs(expected_s);
            assert_eq!(anchor.after(Duration::from_secs(elapsed_s)), expected, "{elapsed_s}");
        }
    }

    #[test]
    fn what_is_true_is_followed_ahead_at_once_and_back_slowly_unless_it_jumped() {
        let start = Timestamp::from_millis(1_000_000_000);
        for (ms, expected_ms, ahead_ms) in [(25_000, 25_000, 0), (-25_000, 0, 25_000), (-60_000, -60_000, 0)]
        {
            let mut anchor = Anchor::at(start);
            anchor.approach(start.shifted(ms));
            let off = anchor.timestamp.as_millis() - start.shifted(expected_ms).as_millis();
            assert!((0..1_000).contains(&off), "{ms}: {off}");
            let ahead = anchor.ahead_by.as_millis() as i64 - ahead_ms;
            assert!((0..1_000).contains(&ahead), "{ms}: {ahead}");
        }
    }

    #[test]
    fn a_steady_wall_clock_is_no_jump() {
        assert_eq!(Clock::default().jump(), None);
    }
    #[test]
    fn a_jump_that_was_not_followed_is_the_next_one() {
        let clock = Clock::default();
        clock.jump_along(-100_000);
        assert!(clock.jump().is_some_and(|delta| (100_000..110_000).contains(&delta)));
        clock.jump_along(100_000);
        assert_eq!(clock.jump(), None);
    }
}
