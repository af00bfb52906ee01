//! Counters and histograms of what the daemon has done since its start.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::Monitor;
use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::classify::{TransientKind, Verdict};
use crate::domain::report::{CHECK_NAMES, CheckOutcome};
use crate::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByVerdict {
    pub(super) verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUse {
    pub(super) usable: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByState {
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByCheck {
    pub(super) check: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByOwner {
    pub(super) owner: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BySink {
    pub(super) sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BySinkAndOutcome {
    pub(super) sink: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByCredential {
    pub(super) credential: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByPiece {
    pub(super) kind: &'static str,
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByTime {
    pub(super) within: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByTask {
    pub(super) task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByVersion {
    pub(super) version: &'static str,
}

impl ByUse {
    const fn new(is_usable: bool) -> Self {
        Self { usable: if is_usable { "yes" } else { "no" } }
    }
}

/// The outcome of one delivery attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// The sink took the event.
    Delivered,
    /// It is tried again.
    Failed,
    /// It was given up.
    Dead,
}

impl Attempted {
    pub(super) const ALL: [Attempted; 3] = [Attempted::Delivered, Attempted::Failed, Attempted::Dead];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Attempted::Delivered => "delivered",
            Attempted::Failed => "failed",
            Attempted::Dead => "dead",
        }
    }
}

/// Upper bounds of histograms, in seconds: of an exchange over the network, of a commit, of the time until a conclusion
/// is known.
const EXCHANGE: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0];
pub(super) const COMMIT: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];
pub(super) const LAG: [f64; 13] =
    [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

pub(super) fn exchange_durations() -> Histogram {
    Histogram::new(EXCHANGE)
}

impl Monitor {
    pub(super) fn register(&mut self) {
        let Self { registry, .. } = self;
        let build = Family::<ByVersion, Gauge>::default();
        build.get_or_create(&ByVersion { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", build);
        registry.register(
            "polls",
            "Answers from upstream, or failures to get one, by what they meant",
            self.polls.clone(),
        );
        registry.register(
            "answers",
            "Polls by whether the answer was usable; no: none came, a gateway answered, or it is not as documented",
            self.answers.clone(),
        );
        registry.register(
            "poll_duration_seconds",
            "Time from a request to the end of its answer",
            self.poll_duration.clone(),
        );
        registry.register(
            "conclusions",
            "Activities that concluded by an answer or by age, by the state they ended in",
            self.conclusions.clone(),
        );
        registry.register("checks", "Compliance checks of concluded activities", self.checks.clone());
        registry.register(
            "check_errors",
            "Errors in failed checks and in ErrorList of concluded activities, by who must act",
            self.check_errors.clone(),
        );
        registry.register(
            "detection_lag_seconds",
            "Time from upstream's CompletedAt to the recorded conclusion",
            self.detection_lag.clone(),
        );
        registry.register(
            "deliveries",
            "Attempts to deliver an event, by sink and outcome",
            self.deliveries.clone(),
        );
        registry.register(
            "delivery_duration_seconds",
            "Time that an attempt to deliver took",
            self.delivery_duration.clone(),
        );
        registry.register("commits", "Transactions of the recorder", self.commits.clone());
        registry.register(
            "commit_duration_seconds",
            "Time that a transaction of the recorder took",
            self.commit_duration.clone(),
        );
        registry.register("committed_records", "Records that were written", self.committed_records.clone());
        registry.register(
            "commit_failures",
            "Transactions of the recorder that failed and were tried again",
            self.commit_failures.clone(),
        );
        registry.register(
            "http_wrong_tokens",
            "Requests over HTTP that offered a wrong token",
            self.wrong_tokens.clone(),
        );
    }

    /// Creates every series with 0, so that its first increment shows and a missing series means a mistake.
    pub(super) fn preset(&self) {
        for verdict in Verdict::USABLE_LABELS.into_iter().chain(TransientKind::ALL.map(TransientKind::label))
        {
            drop(self.polls.get_or_create(&ByVerdict { verdict }));
        }
        for is_usable in [true, false] {
            drop(self.answers.get_or_create(&ByUse::new(is_usable)));
        }
        for check in CHECK_NAMES {
            for outcome in CheckOutcome::ALL {
                drop(self.checks.get_or_create(&ByCheck { check, outcome: outcome.label() }));
            }
        }
        for state in State::ALL.into_iter().filter(|state| state.is_concluded()) {
            drop(self.conclusions.get_or_create(&ByState { state: state.label() }));
        }
        for owner in Owner::ALL {
            drop(self.check_errors.get_or_create(&ByOwner { owner: owner.label() }));
        }
        for sink in &self.sinks {
            for outcome in Attempted::ALL {
                let labels = BySinkAndOutcome { sink: sink.clone(), outcome: outcome.label() };
                drop(self.deliveries.get_or_create(&labels));
            }
            drop(self.delivery_duration.get_or_create(&BySink { sink: sink.clone() }));
        }
    }

    /// A poll ended after `took`, with an answer or without. `now` is noted if the answer says in which state the
    /// activity is.
    pub fn polled(&self, verdict: &Verdict, took: Duration, now: Timestamp) {
        self.polls.get_or_create(&ByVerdict { verdict: verdict.label() }).inc();
        self.answers.get_or_create(&ByUse::new(verdict.is_usable())).inc();
        self.poll_duration.observe(took.as_secs_f64());
        if verdict.tells_where_it_stands() {
            self.health().last_answer_at = Some(now);
        }
    }

    /// A batch was committed. An empty one is not counted, but shows that the database is writable.
    pub fn committed(&self, n_records: usize, took: Duration) {
        if n_records > 0 {
            self.commits.inc();
            self.committed_records.inc_by(n_records as u64);
            self.commit_duration.observe(took.as_secs_f64());
        }
        let mut health = self.health();
        health.is_writable = true;
        health.writing_since = None;
    }

    /// A batch could not be committed.
    pub fn not_committed(&self) {
        self.commit_failures.inc();
        self.health().is_writable = false;
    }

    /// A request over HTTP offered a wrong token.
    pub fn wrong_token(&self) {
        self.wrong_tokens.inc();
    }

    /// A conclusion is in the database. `lag` is how long after upstream's `CompletedAt`, if that is known.
    pub fn concluded(&self, state: State, lag: Option<Duration>) {
        self.conclusions.get_or_create(&ByState { state: state.label() }).inc();
        if let Some(lag) = lag {
            self.detection_lag.observe(lag.as_secs_f64());
        }
    }

    /// A check of a concluded activity has this outcome.
    pub fn checked(&self, check: &'static str, outcome: &'static str) {
        self.checks.get_or_create(&ByCheck { check, outcome }).inc();
    }

    /// A failed check or the `ErrorList` of a concluded activity has an error that this owner has to fix.
    pub fn erred(&self, owner: Owner) {
        self.check_errors.get_or_create(&ByOwner { owner: owner.label() }).inc();
    }

    /// An attempt to deliver ended.
    pub fn attempted(&self, sink: &str, attempted: Attempted, took: Duration) {
        let sink = sink.to_owned();
        self.delivery_duration.get_or_create(&BySink { sink: sink.clone() }).observe(took.as_secs_f64());
        self.deliveries.get_or_create(&BySinkAndOutcome { sink, outcome: attempted.label() }).inc();
    }

    /// Events were given up without another attempt.
    pub fn gave_up(&self, sink: &str, n_dead: u64) {
        let labels = BySinkAndOutcome { sink: sink.to_owned(), outcome: Attempted::Dead.label() };
        self.deliveries.get_or_create(&labels).inc_by(n_dead);
    }
}
