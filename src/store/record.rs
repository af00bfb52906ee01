//! What the daemon writes: one batch of records, one transaction.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::deliveries::DeliveryRecord;
use super::schedule::Claimed;
use crate::domain::decide::Decision;
use crate::domain::event::Event;
use crate::domain::gate::GateChange;
use crate::domain::report::{Check, Findings, ListedError};
use crate::domain::rules::RuleError;
use crate::domain::time::Timestamp;

/// How long after a jump of the clock a running daemon has noticed it at the latest. What a command wrote meanwhile has
/// the new time already.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// A jump of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how many milliseconds; negative: backwards.
    pub delta_ms: i64,
    /// The time after it.
    pub now: Timestamp,
    /// Whether it happened while no daemon ran. Then commands may have written under the new clock for long.
    pub while_absent: bool,
}

impl Jump {
    /// Within which times something that commands write may fit the new clock already: if it is nearer to the new time
    /// than to the old one, it does.
    pub(super) fn of_commands(&self) -> RangeInclusive<i64> {
        let from = if self.while_absent { Timestamp::from_millis(0) } else { self.now - NOTICED_WITHIN };
        from.as_millis()..=(self.now + NOTICED_WITHIN).as_millis()
    }
}

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// What was decided about an activity.
    Poll(Box<PollRecord>),
    /// A hold or pause.
    Gate(GateChange),
    /// The result of sending an event to a sink.
    Delivery(DeliveryRecord),
    /// The wall clock jumped: everything planned moves along.
    ClockJump(Jump),
    /// The daemon is alive at this time.
    Heartbeat(Timestamp),
    /// A request was made with this credential. Noted about once a second, for the quota of the next start.
    Request {
        /// The credential's name.
        credential: Arc<str>,
        /// When.
        at: Timestamp,
    },
}

impl Record {
    /// The events that it announces.
    pub(super) fn events(&self) -> &[Event] {
        match self {
            Record::Poll(poll) => &poll.decision.events,
            Record::Gate(change) => change.event.as_slice(),
            _ => &[],
        }
    }

    /// About how many bytes it takes in memory: nearly all of them are texts that upstream wrote, and what is made of
    /// them.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 1_024;
        let Record::Poll(poll) = self else { return FIXED };
        let decision = &poll.decision;
        let texts = |findings: &Findings| -> usize {
            let of_checks = findings.checks.iter().map(|check| {
                let errors = check.errors.iter().map(|error| error.message.len() + 128);
                check.message.as_ref().map_or(0, String::len) + errors.sum::<usize>()
            });
            let listed =
                findings.errors.iter().map(|error| error.error_message.as_ref().map_or(0, String::len) + 128);
            of_checks.sum::<usize>() + listed.sum::<usize>()
        };
        FIXED
            + decision.final_body.as_ref().map_or(0, |body| body.text.len())
            + decision.findings.as_ref().map_or(0, texts)
            + decision.events.iter().map(|event| event.payload.len()).sum::<usize>()
            + decision.explanations.len() * FIXED
    }
}

/// A decision about an activity, and the row it was made for.
#[derive(Debug, Clone, PartialEq)]
pub struct PollRecord {
    /// As it was claimed.
    pub claimed: Claimed,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// The decision.
    pub decision: Decision,
}

/// The result of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Keys of the rows whose decisions were dropped because a command had changed them meanwhile.
    pub superseded: HashSet<i64>,
    /// Events stored.
    pub n_events: usize,
    /// The key of each of these events, in their order, if the database tells without being asked again.
    pub(super) event_keys: Vec<(Uuid, i64)>,
}

impl Recorded {
    pub(super) fn add(&mut self, other: Recorded) {
        self.superseded.extend(other.superseded);
        self.n_events += other.n_events;
        self.event_keys.extend(other.event_keys);
    }
}

/// What came with the conclusions among some decisions, with the keys of their activities.
pub(super) struct Concluded<'a>(Vec<(i64, &'a Findings)>);

impl<'a> Concluded<'a> {
    pub fn of(polls: &[&'a PollRecord]) -> Self {
        let findings =
            polls.iter().filter_map(|poll| Some((poll.claimed.key, poll.decision.findings.as_ref()?)));
        Self(findings.collect())
    }

    /// The checks that get a row, because they say more than that they passed; each with its activity and position.
    pub fn checks(&self) -> impl Iterator<Item = (i64, i64, &'a Check)> {
        self.0.iter().flat_map(|(key, findings)| {
            let stored = findings.reported_checks().filter(|(_, check)| !check.only_passed());
            stored.map(|(position, check)| (*key, position, check))
        })
    }

    /// The errors in their texts, with activity, the check's position, and their own.
    pub fn check_errors(&self) -> impl Iterator<Item = (i64, i64, i64, &'a RuleError)> {
        self.checks().flat_map(|(key, position, check)| {
            (1_i64..).zip(&check.errors).map(move |(nth, error)| (key, position, nth, error))
        })
    }

    /// The errors of `ErrorList`, with activity and position.
    pub fn listed_errors(&self) -> impl Iterator<Item = (i64, i64, &'a ListedError)> {
        self.0.iter().flat_map(|(key, findings)| {
            (1_i64..).zip(&findings.errors).map(move |(nth, error)| (*key, nth, error))
        })
    }

    /// The rules that these name, with activity, position, and the position of the listed error.
    pub fn rules_of_listed_errors(&self) -> impl Iterator<Item = (i64, i64, i64, &'a RuleError)> {
        self.0.iter().flat_map(|(key, findings)| {
            let rules = (1_i64..)
                .zip(&findings.errors)
                .flat_map(|(entry, error)| error.rules.iter().map(move |rule| (entry, rule)));
            (1_i64..).zip(rules).map(move |(position, (entry, rule))| (*key, position, entry, rule))
        })
    }
}
