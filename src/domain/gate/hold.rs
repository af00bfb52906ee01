//! One gate: open, or closed by a hold that lets one probe through per interval.

use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::classify::Verdict;
use super::super::time::Timestamp;

/// Why a gate is closed, and when it is tried next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why, for an operator.
    pub reason: String,
    /// When it closed.
    pub since: Timestamp,
    /// When the next probe may go.
    pub probe_at: Timestamp,
    /// The backoff's next interval.
    pub interval: Duration,
    /// Probes made so far.
    pub n_probes: u32,
}

/// Whether a VAT may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Yes, as far as quota and window reach.
    Free,
    /// One request, as a probe, even of an activity that is not due yet.
    Probe,
    /// No; ask again at this time, or, without one, at the next answer.
    Closed {
        /// When it may open by itself.
        until: Option<Timestamp>,
    },
}

/// A hold and whether its probe is on its way.
#[derive(Debug, Clone)]
pub(super) struct ClosedGate {
    pub(super) hold: Hold,
    pub(super) is_probing: bool,
}

/// A gate of a credential or a VAT.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) closed: Option<ClosedGate>,
    /// When its last hold ended, and the interval that it had reached. If upstream accepts and refuses in turn, the
    /// next hold continues from that interval, so that probes and events become rare.
    pub(super) relapse: Option<(Timestamp, Duration)>,
}

/// What an answer says of one closed or open gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GateAnswer {
    Refused,
    Passed,
    Silent,
}

impl GateAnswer {
    /// What an answer says of the credential's gate.
    pub(super) const fn for_credential(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Unauthorized => GateAnswer::Refused,
            Verdict::Throttled { .. } | Verdict::Transient { .. } => GateAnswer::Silent,
            _ => GateAnswer::Passed,
        }
    }

    /// What an answer says of the VAT's gate.
    pub(super) const fn for_vat(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Forbidden => GateAnswer::Refused,
            Verdict::Unauthorized | Verdict::Throttled { .. } | Verdict::Transient { .. } => {
                GateAnswer::Silent
            }
            _ => GateAnswer::Passed,
        }
    }
}

/// What an answer did to a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldStep {
    Unchanged,
    Began,
    Probed,
    Ended { since: Timestamp },
}

/// The time of a decision, and what the next probe's time is calculated from.
pub(super) struct Moment<'a> {
    pub(super) backoff: &'a Backoff,
    pub(super) now: Timestamp,
    pub(super) luck: f64,
}

impl Gate {
    pub(super) fn hold(&self) -> Option<Hold> {
        self.closed.as_ref().map(|closed| closed.hold.clone())
    }

    /// One match for every hold: what an answer does to an open or a closed gate. Only its probe moves a closed
    /// gate; answers to requests that were on their way when it closed say nothing new.
    pub(super) fn settle(
        &mut self,
        asked_at: Timestamp,
        is_probe: bool,
        sign: GateAnswer,
        reason: &str,
        moment: &Moment<'_>,
    ) -> HoldStep {
        let Moment { backoff, now, .. } = *moment;
        // A slow answer to a request from before the last hold ended is about that one.
        let is_outdated = self.relapse.is_some_and(|(ended_at, _)| asked_at < ended_at);
        match (self.closed.as_mut(), sign) {
            (None, GateAnswer::Refused) if is_outdated => HoldStep::Unchanged,
            (None, GateAnswer::Refused) => {
                let is_relapse =
                    |(ended_at, _): &(Timestamp, Duration)| now.since(*ended_at) <= backoff.max_interval();
                let interval = match self.relapse.filter(is_relapse) {
                    Some((_, interval)) => interval,
                    None => backoff.initial_interval(),
                };
                self.closed = Some(ClosedGate::new(reason.to_owned(), interval, moment));
                HoldStep::Began
            }
            (Some(closed), GateAnswer::Passed) if is_probe => {
                let since = closed.hold.since;
                self.relapse = Some((now, closed.hold.interval));
                self.closed = None;
                HoldStep::Ended { since }
            }
            (Some(closed), GateAnswer::Refused | GateAnswer::Silent) if is_probe => {
                closed.next_probe(moment);
                HoldStep::Probed
            }
            (None, GateAnswer::Passed | GateAnswer::Silent) | (Some(_), _) => HoldStep::Unchanged,
        }
    }
}

impl ClosedGate {
    /// Closed from now on, with the first probe after this interval.
    pub(super) fn new(reason: String, interval: Duration, moment: &Moment<'_>) -> Self {
        let step = moment.backoff.step(interval, moment.luck);
        let hold = Hold {
            reason,
            since: moment.now,
            probe_at: moment.now + step.wait,
            interval: step.next_interval,
            n_probes: 0,
        };
        Self { hold, is_probing: false }
    }

    /// Its probe has failed: the next one comes later.
    pub(super) fn next_probe(&mut self, moment: &Moment<'_>) {
        let step = moment.backoff.step(self.hold.interval, moment.luck);
        self.is_probing = false;
        self.hold.probe_at = moment.now + step.wait;
        self.hold.interval = step.next_interval;
        self.hold.n_probes = self.hold.n_probes.saturating_add(1);
    }

    pub(super) fn passage(&self, now: Timestamp) -> Passage {
        match (self.is_probing, self.hold.probe_at <= now) {
            (true, _) => Passage::Closed { until: None },
            (false, true) => Passage::Probe,
            (false, false) => Passage::Closed { until: Some(self.hold.probe_at) },
        }
    }
}

impl Passage {
    /// Of two passages the one that allows less; of two closed ones the one that opens later.
    #[must_use]
    pub(super) fn strictest(self, other: Passage) -> Passage {
        match (self, other) {
            (Passage::Closed { until: Some(a) }, Passage::Closed { until: Some(b) }) => {
                Passage::Closed { until: Some(a.max(b)) }
            }
            (Passage::Closed { until: None }, _) | (_, Passage::Closed { until: None }) => {
                Passage::Closed { until: None }
            }
            (closed @ Passage::Closed { .. }, _) | (_, closed @ Passage::Closed { .. }) => closed,
            (Passage::Probe, _) | (_, Passage::Probe) => Passage::Probe,
            (Passage::Free, Passage::Free) => Passage::Free,
        }
    }
}
