//! Holds and pauses of credentials and VATs, so that a restart does not forget them.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::error::StoreError;
use super::events::write_events;
use super::{Store, millis};
use crate::domain::gate::{GateChange, Scope};
use crate::domain::routing::Route;
use crate::domain::time::Timestamp;
use crate::store::gates::{GateRow, StoredGate, stored_gate};

impl Store {
    pub async fn gates(&self) -> Result<Vec<StoredGate>, StoreError> {
        let rows: Vec<GateRow> = sqlx::query_as(
            "SELECT false, name, held_since, held_reason, probe_at, probe_interval_ms, n_probes, paused_until
             FROM credentials WHERE held_since IS NOT NULL OR paused_until IS NOT NULL
             UNION ALL
             SELECT true, vat, held_since, held_reason, probe_at, probe_interval_ms, n_probes, NULL
             FROM vats WHERE held_since IS NOT NULL",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::query("reading holds"))?;
        rows.into_iter().map(stored_gate).collect()
    }

    pub async fn last_requests(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, last_request_at FROM credentials WHERE last_request_at IS NOT NULL")
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::query("reading when requests were made last"))?;
        Ok(rows.into_iter().map(|(name, at)| (name, Timestamp::from_millis(at))).collect())
    }
}

/// Within a transaction: notes when a credential was used.
pub(super) async fn note_request(
    connection: &mut SqliteConnection,
    credential: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO credentials (name, last_request_at) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_request_at = excluded.last_request_at",
    )
    .bind(credential)
    .bind(at.as_millis())
    .execute(connection)
    .await
    .map_err(StoreError::query("noting a request"))?;
    Ok(())
}

/// Within a transaction: stores a gate as it is now, and its event.
pub(super) async fn write_gate(
    connection: &mut SqliteConnection,
    routes: &[Route],
    change: &GateChange,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let statement = match &change.scope {
        Scope::Credential(_) => {
            "INSERT INTO credentials
                 (name, held_since, held_reason, probe_at, probe_interval_ms, n_probes, paused_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (name) DO UPDATE SET
                 held_since = excluded.held_since, held_reason = excluded.held_reason,
                 probe_at = excluded.probe_at, probe_interval_ms = excluded.probe_interval_ms,
                 n_probes = excluded.n_probes, paused_until = excluded.paused_until"
        }
        // A VAT has no pause of its own; ?7 is bound for both.
        Scope::Vat(_) => {
            "UPDATE vats SET held_since = ?2, held_reason = ?3, probe_at = ?4, probe_interval_ms = ?5,
                 n_probes = ?6 WHERE vat = ?1 AND ?7 IS NULL"
        }
    };
    let name = match &change.scope {
        Scope::Credential(name) => name.as_str(),
        Scope::Vat(vat) => vat.as_str(),
    };
    let hold = change.hold.as_ref();
    sqlx::query(statement)
        .bind(name)
        .bind(hold.map(|hold| hold.since.as_millis()))
        .bind(hold.map(|hold| hold.reason.as_str()))
        .bind(hold.map(|hold| hold.probe_at.as_millis()))
        .bind(hold.map(|hold| millis(hold.interval)))
        .bind(hold.map_or(0, |hold| i64::from(hold.n_probes)))
        .bind(change.paused_until.map(Timestamp::as_millis))
        .execute(&mut *connection)
        .await
        .map_err(StoreError::query("recording a hold"))?;
    let event: Vec<_> = change.event.iter().map(|event| (None, event)).collect();
    write_events(connection, routes, &event).await
}
