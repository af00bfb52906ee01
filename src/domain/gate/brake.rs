//! The outage brake: closes everything if upstream gives nobody a usable answer, and lets probes through.
//!
//! It counts failures in a row, of whichever activities. It closes after [`OUTAGE_AFTER`] of them, if there has also
//! been no usable answer for four initial intervals, at most 30 seconds. Single activities that always fail are no
//! outage:
//!
//! - A failure does not count if upstream has answered another request since that one was sent.
//! - If all that failed had failed before, the brake waits until every other activity must have had its turn.
//!
//! While it is closed, probes are sent an interval apart, whether the last one was answered or not: a probe that hangs
//! until its timeout must not delay the next. If upstream was never reached since the start, several are sent at once.
//! Any usable answer opens it.
//!
//! The first failure, an outage and a change of its reason are reported to the operator, each at most once a minute,
//! and so is the recovery from what was reported.

use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::classify::{Observation, TransientKind, Verdict};
use super::super::time::Timestamp;
use super::hold::{ClosedGate, Moment, Passage};
use super::{Notice, OUTAGE_AFTER, Outage, Settled, Ticket, Trouble};

/// Most probes in flight during an outage, so that one that hangs until its timeout doesn't delay the next. If upstream
/// has never answered, this many go at once: many activities may hang for reasons of their own, and a healthy one among
/// them is found sooner.
pub(super) const OUTAGE_PROBES: usize = 8;

/// A failure that follows the last reported one within this is not reported again: single failures among
/// many answers are no outage.
const QUIET_AFTER_REPORT: Duration = Duration::from_secs(60);

/// Longest wait between two probes of an upstream that is down. Shorter than an activity's own longest interval,
/// because results wait to be fetched.
const MAX_OUTAGE_PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Failures in a row and what they led to.
#[derive(Debug)]
pub(super) struct Brake {
    /// The initial interval of activities: what counts as silence depends on it.
    initial_interval: Duration,
    max_interval: Duration,
    n_failures: u32,
    /// Whether one of them was of an activity that had no trouble before.
    is_news: bool,
    /// The result of the last of them.
    trouble: Option<Trouble>,
    closed: Option<ClosedGate>,
    last_answer_at: Option<Timestamp>,
    /// When failures were last reported.
    reported_at: Option<Timestamp>,
    /// What was last said of an outage, and when.
    told: Option<(TransientKind, Timestamp)>,
    /// Whether the present failures were reported, so that their end is reported as well.
    is_reported: bool,
    /// Probes in flight. They take no slot, so that those that hang keep nobody waiting once another has passed.
    n_probing: usize,
}

/// What an answer did to the brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrakeStep {
    /// Upstream is there; the brake is open.
    Answered,
    /// It has just closed.
    Closed,
    /// Nothing to act on.
    Unchanged,
}

impl Brake {
    /// Open.
    pub(super) fn new(backoff: &Backoff) -> Self {
        Self {
            initial_interval: backoff.initial_interval(),
            max_interval: backoff.max_interval(),
            n_failures: 0,
            is_news: false,
            trouble: None,
            closed: None,
            last_answer_at: None,
            reported_at: None,
            told: None,
            is_reported: false,
            n_probing: 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The outage that has closed it.
    pub(super) fn outage(&self) -> Option<Outage> {
        let closed = self.closed.as_ref()?;
        Some(Outage { since: closed.hold.since, trouble: self.trouble.clone()? })
    }

    /// How many more probes may be in flight. `n_free_slots` is what `max_in_flight` has left.
    pub(super) fn n_free_probes(&self, n_free_slots: usize) -> usize {
        OUTAGE_PROBES.min(n_free_slots).saturating_sub(self.n_probing)
    }

    /// `n_free`: how many more probes may be in flight.
    pub(super) fn passage(&self, n_free: usize, now: Timestamp) -> Passage {
        match &self.closed {
            None => Passage::Free,
            Some(_) if n_free == 0 => Passage::Closed { until: None },
            Some(closed) if closed.hold.probe_at <= now => Passage::Probe,
            Some(closed) => Passage::Closed { until: Some(closed.hold.probe_at) },
        }
    }

    /// Notes that a probe is sent. The next one may go an interval later, answered or not.
    pub(super) fn probe(&mut self, now: Timestamp) {
        self.n_probing += 1;
        let backoff = self.probe_backoff();
        if let Some(closed) = self.closed.as_mut().filter(|_| self.last_answer_at.is_some()) {
            // In the middle of its jitter: when the probe is sent is a matter of chance already.
            closed.next_probe(&Moment { backoff: &backoff, now, luck: 0.5 });
        }
    }

    /// Moves along with a wall clock that jumped by `delta_ms`. What lies in the past is forgotten.
    pub(super) fn shift(&mut self, delta_ms: i64) {
        if let Some(closed) = &mut self.closed {
            closed.hold.probe_at = closed.hold.probe_at.shifted(delta_ms);
        }
        self.last_answer_at = None;
        self.reported_at = None;
        self.told = self.told.map(|(kind, at)| (kind, at.shifted(delta_ms)));
    }

    /// Notes the result of a request.
    pub(super) fn settle(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
        settled: &mut Settled,
    ) -> BrakeStep {
        if ticket.probes.outage {
            self.n_probing = self.n_probing.saturating_sub(1);
        }
        let Verdict::Transient { kind, detail, .. } = &observation.verdict else {
            self.answered(now, settled);
            return BrakeStep::Answered;
        };
        if self.last_answer_at.is_some_and(|at| at >= ticket.asked_at) {
            // Upstream answered another request meanwhile: this failure is the activity's own.
            return BrakeStep::Unchanged;
        }
        let trouble = Trouble { kind: *kind, cause: detail.clone() };
        self.n_failures = self.n_failures.saturating_add(1);
        self.is_news |= ticket.is_untroubled;
        self.trouble = Some(trouble.clone());
        let is_quiet = self.reported_at.is_some_and(|at| now.since(at) < QUIET_AFTER_REPORT);
        if self.n_failures == 1 && !is_quiet {
            self.reported_at = Some(now);
            self.is_reported = true;
            settled.notices.push(Notice::Unanswered { trouble: trouble.clone() });
        }
        if self.closed.is_some()
            && self.told.is_some_and(|(told, at)| told != *kind && now.since(at) >= QUIET_AFTER_REPORT)
        {
            self.told = Some((*kind, now));
            let n_failures = self.n_failures;
            settled.notices.push(Notice::OutageChanged { n_failures, trouble: trouble.clone() });
        }
        let backoff = self.probe_backoff();
        let moment = Moment { backoff: &backoff, now, luck };
        let is_row = self.n_failures >= OUTAGE_AFTER && self.is_silent(now);
        match &mut self.closed {
            // Of probes sent together, the first result decides when the next ones go. Probes sent one by one decided
            // it when they were sent.
            Some(closed)
                if ticket.probes.outage && self.last_answer_at.is_none() && closed.hold.probe_at <= now =>
            {
                closed.next_probe(&moment);
                BrakeStep::Unchanged
            }
            None if is_row => {
                self.close(trouble, &moment, settled);
                BrakeStep::Closed
            }
            Some(_) | None => BrakeStep::Unchanged,
        }
    }

    fn answered(&mut self, now: Timestamp, settled: &mut Settled) {
        self.last_answer_at = Some(now);
        if std::mem::take(&mut self.is_reported) {
            settled.notices.push(Notice::Recovered { n_failures: self.n_failures });
        }
        self.n_failures = 0;
        self.is_news = false;
        self.trouble = None;
        self.closed = None;
    }

    fn close(&mut self, trouble: Trouble, moment: &Moment<'_>, settled: &mut Settled) {
        let now = moment.now;
        self.closed = Some(ClosedGate::new(trouble.cause.clone(), self.initial_interval, moment));
        if self.told.is_none_or(|(_, at)| now.since(at) >= QUIET_AFTER_REPORT) {
            self.told = Some((trouble.kind, now));
            self.is_reported = true;
            settled.notices.push(Notice::OutageBegan { n_failures: self.n_failures, trouble });
        }
    }

    /// If other activities get answers now and then, failures are the activities' own. So are repeated failures of the
    /// same activities, until all others must have been polled.
    fn is_silent(&self, now: Timestamp) -> bool {
        let silence = (self.initial_interval * 4).min(MAX_OUTAGE_PROBE_INTERVAL);
        let is_silent_for = |time| self.last_answer_at.is_none_or(|at| now.since(at) >= time);
        is_silent_for(silence)
            && (self.is_news || is_silent_for(self.max_interval + MAX_OUTAGE_PROBE_INTERVAL))
    }

    fn probe_backoff(&self) -> Backoff {
        Backoff::new(self.initial_interval, 1.5, self.max_interval.min(MAX_OUTAGE_PROBE_INTERVAL), 0.2)
    }
}
