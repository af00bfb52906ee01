//! What the daemon writes: one batch of records, one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::deliveries::DeliveryRecord;
use super::schedule::Claimed;
use crate::domain::decide::Decision;
use crate::domain::event::Event;
use crate::domain::gate::GateChange;
use crate::domain::report::Findings;
use crate::domain::time::Timestamp;

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// What was decided about an activity.
    Poll(Box<PollRecord>),
    /// A hold or pause.
    Gate(GateChange),
    /// The result of sending an event to a sink.
    Delivery(DeliveryRecord),
    /// The wall clock jumped by so many milliseconds: everything planned moves along.
    ClockJump {
        /// By how much, in milliseconds; negative: backwards.
        delta_ms: i64,
        /// The time after the jump.
        now: Timestamp,
    },
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
    /// The key of each of these events, in their order, where the database tells without being asked again.
    pub(super) event_keys: Vec<(Uuid, i64)>,
}

impl Recorded {
    pub(super) fn add(&mut self, other: Recorded) {
        self.superseded.extend(other.superseded);
        self.n_events += other.n_events;
        self.event_keys.extend(other.event_keys);
    }
}
