//! What is due: a claim is a read, and the row is the schedule.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::{Store, as_json, commit};
use crate::domain::activity::{Activity, ActivityId, State, Vat};
use crate::domain::report::Report;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;

/// A VAT with activities to poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VatHead {
    /// The store's key of the VAT.
    pub key: i64,
    /// The VAT.
    pub vat: Vat,
    /// When its next activity is due.
    pub next_poll_at: Timestamp,
}

/// A VAT as the database holds it: validated when it came in.
fn stored_vat(text: String) -> Result<Vat, StoreError> {
    Vat::parse(&text).map_err(|_| StoreError::Damaged { column: "vats.vat", value: text })
}

/// An activity as it was when it was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The store's key of the activity.
    pub key: i64,
    /// The store's key of its VAT.
    pub vat_key: i64,
    /// What the row must still have for an answer to count.
    pub revision: i64,
    /// The activity.
    pub activity: Activity,
}

/// An [`ActivityRow`] as a JSON array, from `activities a`, `vats v` and `schedules s`. Claims are read as one text:
/// two dozen columns a row cost three times as much when each comes as a value of its own.
pub(super) const ACTIVITY: &str = "json_array(a.id, a.vat_id, v.vat, a.activity_id, a.device_id, a.reference, a.state,
    a.round, a.registered_at, a.watched_from, a.stalled_at, a.upstream_status, a.pcsid_generated, a.total_count,
    a.success_count, a.failure_count, a.upstream_created_at, a.upstream_updated_at, a.upstream_completed_at,
    s.revision, s.interval_ms, s.poll_count, s.consecutive_errors, s.strikes)";

#[derive(Deserialize)]
struct ActivityRow {
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

impl TryFrom<ActivityRow> for Claimed {
    type Error = StoreError;

    fn try_from(row: ActivityRow) -> Result<Self, StoreError> {
        let damaged = |column, value: &str| StoreError::Damaged { column, value: value.to_owned() };
        let time = |ms: Option<i64>| ms.map(Timestamp::from_millis);
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Claimed {
            key: row.id,
            vat_key: row.vat_id,
            revision: row.revision,
            activity: Activity {
                vat: Vat::parse(&row.vat).map_err(|_| damaged("vats.vat", &row.vat))?,
                activity_id: ActivityId::parse(&row.activity_id)
                    .map_err(|_| damaged("activities.activity_id", &row.activity_id))?,
                device_id: row.device_id,
                reference: row.reference,
                state: State::from_label(&row.state)
                    .ok_or_else(|| damaged("activities.state", &row.state))?,
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

/// The activities in a JSON array of [`ACTIVITY`], or what was being done where it could not be read.
pub(super) fn claimed(
    rows: Result<String, sqlx::Error>,
    operation: &'static str,
) -> Result<Vec<Claimed>, StoreError> {
    let rows: Vec<ActivityRow> = from_json("activities", rows.map_err(StoreError::query(operation))?)?;
    rows.into_iter().map(Claimed::try_from).collect()
}

/// What a query has put together with `json_group_array`.
fn from_json<T: DeserializeOwned>(column: &'static str, text: String) -> Result<T, StoreError> {
    serde_json::from_str(&text).map_err(|_| StoreError::Damaged { column, value: text })
}

impl Store {
    /// The VATs that have activities to poll, each with the time its next one is due, without those in
    /// `in_flight`.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn vat_heads(&self, in_flight: &HashSet<i64>) -> Result<Vec<VatHead>, StoreError> {
        let in_flight: Vec<_> = in_flight.iter().collect();
        let rows: String = sqlx::query_scalar(
            "WITH heads AS MATERIALIZED (
                 SELECT id, vat,
                        (SELECT next_poll_at FROM schedules
                         WHERE vat_id = vats.id AND next_poll_at IS NOT NULL
                           AND id NOT IN (SELECT value FROM json_each(?1))
                         ORDER BY next_poll_at LIMIT 1) AS next_poll_at
                 FROM vats)
             SELECT json_group_array(json_array(id, vat, next_poll_at)) FROM heads WHERE next_poll_at IS NOT NULL",
        )
        .bind(as_json(&in_flight)?)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::query("looking for VATs with work"))?;
        let rows: Vec<(i64, String, i64)> = from_json("vats", rows)?;
        rows.into_iter()
            .map(|(key, vat, next_poll_at)| {
                let next_poll_at = Timestamp::from_millis(next_poll_at);
                Ok(VatHead { key, vat: stored_vat(vat)?, next_poll_at })
            })
            .collect()
    }

    /// At most `limit` activities of each of these VATs that are due at `due_until` or before, each VAT's
    /// longest due first, without those in `in_flight`.
    ///
    /// Nothing is written: only the daemon that holds the file's lock claims, and what it has in flight it knows.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn claim(
        &self,
        vat_keys: &[i64],
        limit: usize,
        due_until: Timestamp,
        in_flight: &HashSet<i64>,
    ) -> Result<Vec<Claimed>, StoreError> {
        if vat_keys.is_empty() {
            return Ok(Vec::new());
        }
        let in_flight: Vec<_> = in_flight.iter().collect();
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT json_group_array({ACTIVITY} ORDER BY s.next_poll_at, s.id)
             FROM json_each(?1) j
             CROSS JOIN schedules s ON s.id IN (
                 SELECT id FROM schedules
                 WHERE vat_id = j.value AND next_poll_at <= ?3
                   AND id NOT IN (SELECT value FROM json_each(?2))
                 ORDER BY next_poll_at LIMIT ?4)
             CROSS JOIN activities a ON a.id = s.id
             CROSS JOIN vats v ON v.id = s.vat_id"
        )))
        .bind(as_json(vat_keys)?)
        .bind(as_json(&in_flight)?)
        .bind(due_until.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_one(&self.readers)
        .await;
        claimed(rows, "claiming due activities")
    }

    /// One activity of each of these VATs to probe with, due or not: of those that are due first, the one with the
    /// fewest errors in a row, so that a probe does not fail for an activity's own trouble.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn claim_probes(
        &self,
        vat_keys: &[i64],
        in_flight: &HashSet<i64>,
    ) -> Result<Vec<Claimed>, StoreError> {
        if vat_keys.is_empty() {
            return Ok(Vec::new());
        }
        let in_flight: Vec<_> = in_flight.iter().collect();
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT json_group_array({ACTIVITY})
             FROM json_each(?1) j
             CROSS JOIN schedules s ON s.id = (
                 SELECT id FROM (
                     SELECT id, consecutive_errors, next_poll_at FROM schedules
                     WHERE vat_id = j.value AND next_poll_at IS NOT NULL
                       AND id NOT IN (SELECT value FROM json_each(?2))
                     ORDER BY next_poll_at LIMIT 1000)
                 ORDER BY consecutive_errors, next_poll_at LIMIT 1)
             CROSS JOIN activities a ON a.id = s.id
             CROSS JOIN vats v ON v.id = s.vat_id"
        )))
        .bind(as_json(vat_keys)?)
        .bind(as_json(&in_flight)?)
        .fetch_one(&self.readers)
        .await;
        claimed(rows, "claiming probes")
    }

    /// Activities of these VATs that are old enough to stall or expire, though they may not be asked for.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn overdue_of(
        &self,
        vat_keys: &[i64],
        stalled_before: Timestamp,
        expired_before: Timestamp,
        limit: usize,
        in_flight: &HashSet<i64>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let in_flight: Vec<_> = in_flight.iter().collect();
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT json_group_array(json(activity)) FROM (SELECT {ACTIVITY} AS activity
             FROM json_each(?1) j
             CROSS JOIN activities a ON a.vat_id = j.value AND a.state IN ('PENDING', 'IN_PROGRESS')
                 AND a.watched_from <= max(?2, ?3)
             CROSS JOIN schedules s ON s.id = a.id
             CROSS JOIN vats v ON v.id = a.vat_id
             WHERE (a.watched_from <= ?3 OR a.stalled_at IS NULL)
               AND s.id NOT IN (SELECT value FROM json_each(?5))
             LIMIT ?4)"
        )))
        .bind(as_json(vat_keys)?)
        .bind(stalled_before.as_millis())
        .bind(expired_before.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(as_json(&in_flight)?)
        .fetch_one(&self.readers)
        .await;
        claimed(rows, "looking for overdue activities")
    }

    /// Notes which credential serves each known VAT. Answers with the VATs that none does.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn assign_credentials(&self, serving: &Serving) -> Result<Vec<Vat>, StoreError> {
        let mut transaction = self.begin().await?;
        let vats: Vec<String> = sqlx::query_scalar("SELECT vat FROM vats ORDER BY vat")
            .fetch_all(&mut *transaction)
            .await
            .map_err(StoreError::query("reading VATs"))?;
        let vats = vats.into_iter().map(stored_vat).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<_> = vats.iter().map(|vat| (vat.as_str(), serving.credential_of(vat))).collect();
        sqlx::query(
            "UPDATE vats SET credential = j.value ->> 1 FROM json_each(?1) j
             WHERE vats.vat = j.value ->> 0 AND vats.credential IS NOT j.value ->> 1",
        )
        .bind(as_json(&rows)?)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("assigning credentials"))?;
        commit(transaction).await?;
        Ok(vats.into_iter().filter(|vat| serving.credential_of(vat).is_none()).collect())
    }
}
