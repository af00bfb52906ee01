//! The daemon's sign of life in the database: a clock that jumped while it was away is noticed against it.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::Record;

/// How often the daemon notes that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(10);

/// When it was noted last.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    beat_at: Option<Instant>,
}

impl Heartbeat {
    /// What is to be recorded, where it is time.
    pub fn due(&mut self, clock: &Clock) -> Option<Record> {
        if self.beat_at.is_some_and(|at| at.elapsed() < BEAT_EVERY) {
            return None;
        }
        self.beat_at = Some(Instant::now());
        Some(Record::Heartbeat(clock.now()))
    }

    /// The last one.
    pub fn at_the_end(clock: &Clock) -> Record {
        Record::Heartbeat(clock.now())
    }
}
