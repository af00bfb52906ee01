//! Upstream's final answer, and the device's attempt before this one.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::domain::activity::State;
use crate::domain::time::Timestamp;

/// Upstream's final answer about an activity, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalAnswer {
    /// When it came.
    pub answered_at: Timestamp,
    /// Its status.
    pub http_status: Option<u16>,
    /// Its body, or the beginning of it.
    pub body: String,
    /// Whether its end was cut off.
    pub is_cut: bool,
}

/// A device's attempt before another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormerAttempt {
    /// Its activity.
    pub activity_id: String,
    /// Its state.
    pub state: State,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it concluded.
    pub concluded_at: Option<Timestamp>,
    /// Which of the rules it broke remain; only where upstream has concluded both attempts.
    pub rules: Option<ComparedRules>,
}

/// The rules that two attempts of a device broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedRules {
    /// Broken by the former attempt alone.
    pub fixed: BTreeSet<String>,
    /// Broken by both.
    pub remaining: BTreeSet<String>,
    /// Broken by the later attempt alone.
    pub new: BTreeSet<String>,
}

impl ComparedRules {
    /// Whether an attempt that ended so can be compared: upstream has said which rules it broke.
    pub(super) const fn knows(state: State) -> bool {
        matches!(state, State::Succeeded | State::Failed)
    }

    /// From the rules of each attempt.
    pub(super) fn of(former: &BTreeSet<String>, later: &BTreeSet<String>) -> Self {
        Self {
            fixed: former.difference(later).cloned().collect(),
            remaining: former.intersection(later).cloned().collect(),
            new: later.difference(former).cloned().collect(),
        }
    }
}
