//! The gate of one receiver of events: the same hold as a credential's, closed by failures in a row.
//!
//! While it is closed, one event at a time is sent as a probe, at growing intervals, so that a receiver that is down
//! costs little and is not flooded when it is back. Unlike upstream's holds this one is not stored: after a restart the
//! first tries show it.

use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::time::Timestamp;
use super::hold::{Gate, GateAnswer, HoldStep, Moment, Passage};

/// Failures in a row that close it. A single failure may be due to its event.
const DOWN_AFTER: u32 = 8;

/// Waits between probes: the first, how they grow, the longest, and how far luck moves them.
const FIRST_PROBE: Duration = Duration::from_secs(5);
const PROBE_MULTIPLIER: f64 = 2.0;
const PROBE_JITTER: f64 = 0.2;

/// Longest wait between two probes.
pub const LONGEST_RECEIVER_PROBE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct ReceiverGate {
    gate: Gate,
    n_failures: u32,
}

/// Permission for one try. It is given back with [`ReceiverGate::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverTicket {
    asked_at: Timestamp,
    is_probe: bool,
}

/// What a try says of the receiver, for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverStep {
    /// Nothing new.
    Unchanged,
    /// The first failure.
    Failed,
    /// It counts as down from now on, or its probe has failed.
    Down,
    /// It answers again.
    Recovered {
        /// Tries that failed.
        n_failures: u32,
    },
}

impl ReceiverGate {
    /// Whether it counts as down.
    pub fn is_down(&self) -> bool {
        self.gate.closed.is_some()
    }

    /// Whether an event may be sent now.
    pub fn passage(&self, now: Timestamp) -> Passage {
        self.gate.closed.as_ref().map_or(Passage::Free, |closed| closed.passage(now))
    }

    /// Takes permission for one try. The caller has seen that the passage is not closed.
    pub fn take(&mut self, now: Timestamp) -> ReceiverTicket {
        let closed = self.gate.closed.as_mut();
        let is_probe = closed.is_some();
        if let Some(closed) = closed {
            closed.is_probing = true;
        }
        ReceiverTicket { asked_at: now, is_probe }
    }

    /// Takes note of the result of a try: whether the receiver answered with what it wants.
    pub fn settle(
        &mut self,
        ticket: ReceiverTicket,
        is_answered: bool,
        now: Timestamp,
        luck: f64,
    ) -> ReceiverStep {
        let backoff = Backoff::new(FIRST_PROBE, PROBE_MULTIPLIER, LONGEST_RECEIVER_PROBE, PROBE_JITTER);
        let moment = Moment { backoff: &backoff, now, luck };
        let n_failures = self.n_failures;
        self.n_failures = if is_answered { 0 } else { n_failures.saturating_add(1) };
        let sign = match is_answered {
            true => GateAnswer::Passed,
            // An open gate tolerates some failures.
            false if self.n_failures < DOWN_AFTER && !self.is_down() => GateAnswer::Silent,
            false => GateAnswer::Refused,
        };
        // Any answer opens it, also one to a request from before it closed: the receiver is there.
        let is_probe = ticket.is_probe || is_answered;
        match (self.gate.settle(ticket.asked_at, is_probe, sign, "", &moment), is_answered) {
            (HoldStep::Began | HoldStep::Probed, _) => ReceiverStep::Down,
            (_, true) if n_failures > 0 => ReceiverStep::Recovered { n_failures },
            (_, false) if self.n_failures == 1 => ReceiverStep::Failed,
            _ => ReceiverStep::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_secs(seconds)
    }

    /// A gate that `n` tries have failed at in the same second.
    fn failed(n: u32) -> ReceiverGate {
        let mut gate = ReceiverGate::default();
        for _ in 0..n {
            let ticket = gate.take(at(0));
            gate.settle(ticket, false, at(0), 0.5);
        }
        gate
    }

    #[test]
    fn the_first_failure_is_said_once_and_so_is_the_recovery() {
        let mut gate = ReceiverGate::default();
        let steps = [false, false, true, true, false].map(|is_answered| {
            let ticket = gate.take(at(0));
            gate.settle(ticket, is_answered, at(1), 0.5)
        });
        let recovered = ReceiverStep::Recovered { n_failures: 2 };
        let unchanged = ReceiverStep::Unchanged;
        assert_eq!(steps, [ReceiverStep::Failed, unchanged, recovered, unchanged, ReceiverStep::Failed]);
    }

    #[test]
    fn eight_failures_in_a_row_close_it_and_one_success_between_them_does_not() {
        assert!(!failed(7).is_down());
        assert!(failed(8).is_down());
        let mut gate = failed(7);
        let ticket = gate.take(at(1));
        gate.settle(ticket, true, at(1), 0.5);
        let ticket = gate.take(at(1));
        gate.settle(ticket, false, at(1), 0.5);
        assert_eq!(gate.passage(at(1)), Passage::Free);
    }

    #[test]
    fn a_closed_one_lets_one_probe_through_at_a_time_further_and_further_apart() {
        let mut gate = failed(8);
        let (mut now, mut waits_s) = (at(0), Vec::new());
        for _ in 0..6 {
            let Passage::Closed { until: Some(until) } = gate.passage(now) else { panic!("open") };
            waits_s.push(until.since(now).as_secs());
            now = until;
            assert_eq!(gate.passage(now), Passage::Probe);
            let ticket = gate.take(now);
            assert_eq!(gate.passage(now), Passage::Closed { until: None }, "one is on its way");
            assert_eq!(gate.settle(ticket, false, now, 0.5), ReceiverStep::Down);
        }
        assert_eq!(waits_s, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn what_was_on_its_way_when_it_closed_puts_no_probe_off_but_may_open_it() {
        let mut gate = failed(7);
        let (closing, failing, answered) = (gate.take(at(0)), gate.take(at(0)), gate.take(at(0)));
        assert_eq!(gate.settle(closing, false, at(1), 0.5), ReceiverStep::Down);
        let passage = gate.passage(at(1));
        assert_eq!(gate.settle(failing, false, at(2), 0.5), ReceiverStep::Unchanged);
        assert_eq!(gate.passage(at(1)), passage);
        assert_eq!(gate.settle(answered, true, at(3), 0.5), ReceiverStep::Recovered { n_failures: 9 });
        assert_eq!(gate.passage(at(3)), Passage::Free);
    }
}
