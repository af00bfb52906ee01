//! The current state in a few numbers, for the status page, the metrics and the service manager.

use std::collections::BTreeMap;

use super::certificates::EndingCounts;
use crate::domain::activity::State;
use crate::domain::time::Timestamp;

/// What is known of all activities and the outbox together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview {
    /// How many activities are in each state; states without any are left out.
    pub states: BTreeMap<State, u64>,
    /// Every credential and VAT that is held or paused.
    pub closed: Vec<Blocked>,
    /// The activity that has waited longest for its conclusion.
    pub oldest_waiting: Option<Waiting>,
    /// Since when the longest due activity has been due; those behind a hold or a pause don't count.
    pub due_since: Option<Timestamp>,
    /// Each sink's undelivered events.
    pub outbox: Vec<Undelivered>,
    /// How many certificates end soon.
    pub ending: EndingCounts,
}

/// A credential or VAT that is held or paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The credential's name, if it is one.
    pub credential: Option<String>,
    /// The VAT, if it is one.
    pub vat: Option<String>,
    /// Why it is held; `None`: it is paused.
    pub reason: Option<String>,
    /// Since when it is held.
    pub since: Option<Timestamp>,
    /// When it is probed next, or when the pause ends.
    pub until: Option<Timestamp>,
}

/// An activity that is being watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its VAT.
    pub vat: String,
    /// Its id.
    pub activity_id: String,
    /// When it was registered, or watched again.
    pub since: Timestamp,
}

/// Events that a sink has not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// `log`, or the webhook's name.
    pub sink: String,
    /// How many are still tried.
    pub pending: u64,
    /// How many were given up.
    pub dead: u64,
    /// Since when the oldest of those still tried has been tried: since the event, or since it was ordered again.
    pub tried_since: Option<Timestamp>,
}

/// How many of a sink's oldest pending deliveries are read to find the one that has been tried for longest. The oldest
/// event need not be it: one that was sent again by hand has not been tried for long.
pub(super) const N_OLDEST: i64 = 1_000;

impl Overview {
    /// How many activities are in this state.
    pub fn in_state(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    /// How many activities are being watched.
    pub fn waiting(&self) -> u64 {
        self.in_state(State::Pending) + self.in_state(State::InProgress)
    }
}
