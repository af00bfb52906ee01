//! Claimed activities, and where a sweep goes on.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;
use crate::domain::activity::{Activity, ActivityId, State, Vat};
use crate::domain::report::Report;
use crate::domain::time::Timestamp;
use crate::domain::turns::Candidate;

/// VATs, and activities of each, that a probe of a credential is chosen from.
pub(super) const PROBE_SAMPLE: usize = 64;

/// Activities of a held VAT that its probe is chosen from.
pub(super) const VAT_PROBE_SAMPLE: usize = 1_000;

/// Activities that one sweep reads.
pub(super) const SWEEP_STEPS: i64 = 1_000;

/// A VAT as the database holds it: validated when it came in.
pub(super) fn stored_vat(text: String) -> Result<Vat, StoreError> {
    Vat::parse(&text).map_err(|_| StoreError::damaged("vats.vat", text))
}

/// A state as the database holds it in this column.
pub(super) fn stored_state(column: &'static str, label: String) -> Result<State, StoreError> {
    State::from_label(&label).ok_or_else(|| StoreError::damaged(column, label))
}

/// An activity as it was when it was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The store's key of the activity.
    pub key: i64,
    /// The store's key of its VAT.
    pub vat_key: i64,
    /// The row's revision: an answer counts only if the row still has it.
    pub revision: i64,
    /// The activity.
    pub activity: Activity,
}

impl Candidate for Claimed {
    fn vat_key(&self) -> i64 {
        self.vat_key
    }

    fn vat(&self) -> &Vat {
        &self.activity.vat
    }
}

#[derive(Deserialize)]
struct ClaimedRow {
    id: i64,
    vat_id: i64,
    vat: String,
    activity_id: String,
    device_id: Option<String>,
    reference: Option<String>,
    state: String,
    round: i64,
    registered_at: i64,
    watched_from: i64,
    stalled_at: Option<i64>,
    upstream_status: Option<String>,
    pcsid_generated: Option<String>,
    total_count: Option<i64>,
    success_count: Option<i64>,
    failure_count: Option<i64>,
    upstream_created_at: Option<i64>,
    upstream_updated_at: Option<i64>,
    upstream_completed_at: Option<i64>,
    revision: i64,
    interval_ms: i64,
    poll_count: i64,
    consecutive_errors: i64,
    strikes: i64,
}

impl TryFrom<ClaimedRow> for Claimed {
    type Error = StoreError;

    fn try_from(row: ClaimedRow) -> Result<Self, StoreError> {
        let time = |ms: Option<i64>| ms.map(Timestamp::from_millis);
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Claimed {
            key: row.id,
            vat_key: row.vat_id,
            revision: row.revision,
            activity: Activity {
                vat: stored_vat(row.vat)?,
                activity_id: ActivityId::parse(&row.activity_id)
                    .map_err(|_| StoreError::damaged("activities.activity_id", &row.activity_id))?,
                device_id: row.device_id,
                reference: row.reference,
                state: stored_state("activities.state", row.state)?,
                round: count(row.round),
                registered_at: Timestamp::from_millis(row.registered_at),
                watched_from: Timestamp::from_millis(row.watched_from),
                stalled_at: time(row.stalled_at),
                interval: Duration::from_millis(u64::try_from(row.interval_ms).unwrap_or(0)),
                n_polls: count(row.poll_count),
                consecutive_errors: count(row.consecutive_errors),
                strikes: count(row.strikes),
                report: Report {
                    upstream_status: row.upstream_status,
                    pcsid_generated: row.pcsid_generated,
                    total_count: row.total_count,
                    success_count: row.success_count,
                    failure_count: row.failure_count,
                    created_at: time(row.upstream_created_at),
                    updated_at: time(row.upstream_updated_at),
                    completed_at: time(row.upstream_completed_at),
                },
            },
        })
    }
}

/// The activities in a JSON array that a query has answered with; `operation` says what failed if it did.
pub(super) fn claimed(
    rows: Result<String, sqlx::Error>,
    operation: &'static str,
) -> Result<Vec<Claimed>, StoreError> {
    let rows: Vec<ClaimedRow> = from_json("activities", rows.map_err(StoreError::query(operation))?)?;
    rows.into_iter().map(Claimed::try_from).collect()
}

/// Reads what a query has put together with `json_group_array`.
pub(super) fn from_json<T: DeserializeOwned>(column: &'static str, text: String) -> Result<T, StoreError> {
    serde_json::from_str(&text).map_err(|_| StoreError::damaged(column, text))
}

/// How far a sweep has come: the age and the key of the last activity that it read. `None`: at the oldest.
type SweptTo = Option<(i64, i64)>;

/// Where the sweeps for those that have not stalled yet, and for those that have, go on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sweep {
    pub(super) not_stalled: SweptTo,
    pub(super) stalled: SweptTo,
}
