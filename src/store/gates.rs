//! Holds and pauses of credentials and VATs, so that a restart does not forget them.

use std::time::Duration;

use super::error::StoreError;
use super::schedule::stored_vat;
use crate::domain::gate::{Hold, Scope};
use crate::domain::time::Timestamp;

/// A gate that is not simply open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGate {
    /// Whose.
    pub scope: Scope,
    /// Its hold.
    pub hold: Option<Hold>,
    /// No request before this.
    pub paused_until: Option<Timestamp>,
}

pub(super) struct GateRow {
    pub(super) is_vat: bool,
    pub(super) name: String,
    pub(super) held_since: Option<i64>,
    pub(super) held_reason: Option<String>,
    pub(super) probe_at: Option<i64>,
    pub(super) probe_interval_ms: Option<i64>,
    pub(super) n_probes: i64,
    pub(super) paused_until: Option<i64>,
}

impl TryFrom<GateRow> for StoredGate {
    type Error = StoreError;

    fn try_from(row: GateRow) -> Result<Self, StoreError> {
        let hold = row.held_since.map(|since| Hold {
            reason: row.held_reason.unwrap_or_default(),
            since: Timestamp::from_millis(since),
            probe_at: Timestamp::from_millis(row.probe_at.unwrap_or(since)),
            interval: Duration::from_millis(
                row.probe_interval_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
            ),
            n_probes: u32::try_from(row.n_probes).unwrap_or(u32::MAX),
        });
        let scope = match row.is_vat {
            true => Scope::Vat(stored_vat(row.name)?),
            false => Scope::Credential(row.name),
        };
        Ok(StoredGate { scope, hold, paused_until: row.paused_until.map(Timestamp::from_millis) })
    }
}
