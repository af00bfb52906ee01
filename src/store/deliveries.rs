//! The outbox: which event still has to go to which sink.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// About how many bytes of payloads one claim has: less than this plus one event.
pub(super) const MAX_CLAIM_BYTES: usize = 1024 * 1024;

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The store's key of the event.
    pub event_key: i64,
    /// The row's revision: an attempt counts only if the row still has it.
    pub revision: i64,
    /// The event's id.
    pub event_id: String,
    /// The exact text to send.
    pub payload: String,
    /// What `retry_for` counts from.
    pub tried_from: Timestamp,
    /// The backoff's next interval; `None` before the first failure.
    pub interval: Option<Duration>,
}

/// The result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The store's key of the event.
    pub event_key: i64,
    /// The sink.
    pub sink: String,
    /// As it was claimed.
    pub revision: i64,
    /// When the attempt began.
    pub attempted_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The receiver's HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// What was wrong; `None` where nothing was.
    pub error: Option<String>,
    /// What follows.
    pub outcome: DeliveryOutcome,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The sink has it.
    Delivered,
    /// To be tried again.
    Retry {
        /// When.
        next_attempt_at: Timestamp,
        /// The backoff's interval after that.
        interval: Duration,
    },
    /// Given up, until redelivered by hand.
    Dead,
}

/// Deliveries that an order or an end of `retry_for` changes in one transaction.
pub(super) const AT_ONCE: u64 = 2_000;

/// Which deliveries to make again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redelivery {
    /// One event, to one sink or to all that it was meant for.
    Event {
        /// Its id.
        event_id: String,
        /// The sink.
        sink: Option<String>,
    },
    /// All that are dead.
    Dead {
        /// Only of this sink.
        sink: Option<String>,
        /// Only of events since then.
        since: Option<Timestamp>,
    },
}
