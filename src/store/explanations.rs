//! What is told of an activity's end besides the views.

use std::collections::BTreeMap;

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

/// A device's attempt before another one: which rules it broke that the later one breaks too, or no longer, or newly;
/// those only where upstream has concluded both.
#[derive(Debug, serde::Serialize)]
pub(super) struct FormerAttempt {
    pub(super) activity_id: String,
    pub(super) state: String,
    pub(super) registered_at: Timestamp,
    pub(super) concluded_at: Option<Timestamp>,
    pub(super) rules: Option<BTreeMap<&'static str, Vec<String>>>,
}
