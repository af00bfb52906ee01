//! The daemon's heartbeat in the database. By its time the next start notices whether the clock jumped in between.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::Record;

/// How often the daemon records that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(10);

/// When it was recorded last.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    beat_at: Option<Instant>,
}

impl Heartbeat {
    /// The record to write, if it is time for one.
    pub fn due(&mut self, clock: &Clock) -> Option<Record> {
        if self.beat_at.is_some_and(|at| at.elapsed() < BEAT_EVERY) {
            return None;
        }
        self.beat_at = Some(Instant::now());
        Some(Record::Heartbeat(clock.now()))
    }

    /// The record to write at the end.
    pub fn at_the_end(clock: &Clock) -> Record {
        Record::Heartbeat(clock.now())
    }
}
