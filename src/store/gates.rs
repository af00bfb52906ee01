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

/// Whether it is a VAT's, whose it is; since when and why it is held; the next probe, the interval after it, probes
/// made; and until when it is paused.
pub(super) type GateRow =
    (bool, String, Option<i64>, Option<String>, Option<i64>, Option<i64>, i64, Option<i64>);

/// From a row of the gates that are not simply open.
pub(super) fn stored_gate(row: GateRow) -> Result<StoredGate, StoreError> {
    let (is_vat, name, since, reason, probe_at, interval_ms, n_probes, paused_until) = row;
    let hold = match (since, reason, probe_at, interval_ms.map(u64::try_from)) {
        (None, ..) => None,
        (Some(since), Some(reason), Some(probe_at), Some(Ok(interval_ms))) => Some(Hold {
            reason,
            since: Timestamp::from_millis(since),
            probe_at: Timestamp::from_millis(probe_at),
            interval: Duration::from_millis(interval_ms),
            n_probes: u32::try_from(n_probes).unwrap_or(u32::MAX),
        }),
        _ => {
            return Err(StoreError::damaged("held_since", format!("a hold of {name} without all its parts")));
        }
    };
    let scope = if is_vat { Scope::Vat(stored_vat(name)?) } else { Scope::Credential(name) };
    Ok(StoredGate { scope, hold, paused_until: paused_until.map(Timestamp::from_millis) })
}
