//! Whether the daemon is ready, and whether its tasks still run.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Monitor;
use crate::domain::gate::Outage;
use crate::domain::time::Timestamp;
use crate::store::{Piece, StoreError};
use crate::telemetry::sentence;

/// A task whose loop has not run for this long is stuck. Each runs once a second or more often.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// A task whose loop has not run for this long won't recover; only a restart helps. It is the period of the systemd
/// unit's watchdog.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// A write that has waited for this long waits for another process's lock or for a disk that hangs. An import or
/// pruning, which write beside the daemon, release the lock after milliseconds.
const BLOCKED_AFTER: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Health {
    /// What this daemon holds; a database that is a file is held whole.
    pub(super) held: BTreeSet<Piece>,
    /// How many pollers there are.
    pub(super) n_pollers: usize,
    /// Why the database can't be reached.
    pub(super) lost: Option<String>,
    pub(super) poller_at: Instant,
    pub(super) recorder_at: Instant,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// Since when a write has been tried without success.
    pub(super) writing_since: Option<Instant>,
    pub(super) last_answer_at: Option<Timestamp>,
    pub(super) outage: Option<Outage>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            held: BTreeSet::new(),
            n_pollers: 0,
            lost: None,
            poller_at: Instant::now(),
            recorder_at: Instant::now(),
            is_readable: true,
            is_writable: true,
            writing_since: None,
            last_answer_at: None,
            outage: None,
        }
    }
}

impl Monitor {
    /// This daemon holds a piece of work, or no longer does.
    pub fn holds(&self, piece: &Piece, is_held: bool) {
        let mut health = self.health();
        if matches!(piece, Piece::Polling { .. }) {
            health.n_pollers =
                if is_held { health.n_pollers + 1 } else { health.n_pollers.saturating_sub(1) };
            health.poller_at = Instant::now();
        }
        match is_held {
            true => health.held.insert(piece.clone()),
            false => health.held.remove(piece),
        };
    }

    /// What this daemon holds, as people name it.
    pub fn held(&self) -> Vec<String> {
        self.health().held.iter().map(ToString::to_string).collect()
    }

    /// The database is lost, and with it all that was held.
    pub fn lost(&self, cause: &StoreError) {
        let mut health = self.health();
        health.held.clear();
        health.n_pollers = 0;
        health.lost = Some(sentence(cause));
    }

    /// The database is reached.
    pub fn works_again(&self) {
        let mut health = self.health();
        health.lost = None;
        (health.is_readable, health.is_writable) = (true, true);
        health.writing_since = None;
        health.recorder_at = Instant::now();
        health.poller_at = Instant::now();
    }

    /// The poller has run its loop once more.
    pub fn poller_lives(&self) {
        self.health().poller_at = Instant::now();
    }

    /// The schedule could be read, or could not.
    pub fn schedule_read(&self, is_readable: bool) {
        self.health().is_readable = is_readable;
    }

    /// The recorder has run its loop once more.
    pub fn recorder_lives(&self) {
        self.health().recorder_at = Instant::now();
    }

    /// A write begins, if none is being tried.
    pub fn begins_to_write(&self) {
        self.health().writing_since.get_or_insert_with(Instant::now);
    }

    /// Whether poller and recorder have both run their loops since then. If the database can't be written, the poller
    /// waits for the recorder, which counts as running.
    pub fn moved_since(&self, then: Instant) -> bool {
        let health = self.health();
        let polls = health.poller_at > then || health.n_pollers == 0 || !health.is_writable;
        health.lost.is_some() || (health.recorder_at > then && polls)
    }

    /// Whether the tasks still run. If not, only a restart helps.
    pub fn is_alive(&self) -> bool {
        Instant::now().checked_sub(DEAD_AFTER).is_none_or(|then| self.moved_since(then))
    }

    /// Notes the outage that is going on, or that there is none.
    pub fn outage_is(&self, outage: Option<Outage>) {
        self.health().outage = outage;
    }

    /// The outage of upstream that is going on.
    pub fn outage(&self) -> Option<Outage> {
        self.health().outage.clone()
    }

    /// When upstream last gave an activity's status; `None` if it has not since the start.
    pub fn last_answer_at(&self) -> Option<Timestamp> {
        self.health().last_answer_at
    }

    /// Why the daemon is not ready, one sentence for each reason; empty if it is.
    pub fn troubles(&self) -> Vec<String> {
        let health = self.health();
        if let Some(lost) = &health.lost {
            return vec![lost.clone()];
        }
        let mut troubles = Vec::new();
        let blocked_for = health.writing_since.map(|since| since.elapsed()).unwrap_or_default();
        if !health.is_writable {
            troubles.push(
                "the database can't be written; the log says why, and it is tried until it works".into(),
            );
        } else if blocked_for > BLOCKED_AFTER {
            troubles.push(format!(
                "the database can't be written: a write has waited for {} s, perhaps for another process that keeps it locked",
                blocked_for.as_secs()
            ));
        }
        if !health.is_readable {
            troubles
                .push("the database can't be read; the log says why, and it is tried until it works".into());
        }
        let tasks = [("poller", health.poller_at), ("recorder", health.recorder_at)];
        for (task, at) in tasks.into_iter().filter(|(task, _)| *task != "poller" || health.n_pollers > 0) {
            // A recorder that waits for the disk is not stuck, and has been named already.
            if at.elapsed() > STUCK_AFTER && health.is_writable {
                troubles.push(format!("the {task} has not moved for {} s", at.elapsed().as_secs()));
            }
        }
        troubles
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago() -> Instant {
        Instant::now() - DEAD_AFTER - Duration::from_secs(1)
    }

    #[test]
    fn it_is_alive_until_the_poller_or_the_recorder_stands_still() {
        let monitor = Monitor::new(Vec::new(), Vec::new(), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: Vec::new(), has_unserved: true }, true);
        assert!(monitor.is_alive());
        monitor.health().poller_at = Instant::now() - STUCK_AFTER - Duration::from_secs(1);
        assert!(monitor.is_alive() && !monitor.troubles().is_empty(), "not ready is not dead");
        monitor.health().poller_at = long_ago();
        assert!(!monitor.is_alive());
        monitor.poller_lives();
        assert!(monitor.is_alive());
        monitor.health().recorder_at = long_ago();
        assert!(!monitor.is_alive());
    }

    #[test]
    fn a_recorder_that_tries_to_write_keeps_a_poller_alive_that_waits_for_it() {
        let monitor = Monitor::new(Vec::new(), Vec::new(), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: Vec::new(), has_unserved: true }, true);
        monitor.not_committed();
        monitor.health().poller_at = long_ago();
        assert!(monitor.is_alive());
        monitor.health().recorder_at = long_ago();
        assert!(!monitor.is_alive());
    }
}
