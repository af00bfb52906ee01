//! The outbox: which event still has to go to which sink.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::events::{count, count_deliveries};
use super::rows::{Row, with_rows};
use super::{Store, as_json, commit, millis};
use crate::domain::routing::LOG_SINK;
use crate::domain::time::Timestamp;
use crate::store::deliveries::{
    AT_ONCE, ClaimedDelivery, DeliveryOutcome, DeliveryRecord, MAX_CLAIM_BYTES, Redelivery,
};
use crate::store::schedule::from_json;

type DeliveryRow = (i64, i64, String, i64, Option<i64>);

impl Store {
    /// The due deliveries of a sink, the longest due first, without those in `claimed_keys`; and the last event there
    /// was.
    pub async fn claim_deliveries(
        &self,
        sink: &str,
        now: Timestamp,
        limit: usize,
        claimed_keys: &HashSet<i64>,
    ) -> Result<(Vec<ClaimedDelivery>, Option<i64>), StoreError> {
        // One row for all of them: each row is handed from thread to thread, which costs more than reading it. No JSON
        // has the character between payloads, however it is spaced.
        let (rows, payloads, last_event): (String, Option<String>, i64) = sqlx::query_as(
            sqlx::AssertSqlSafe(format!(
                "SELECT json_group_array(json_array(k.event, k.revision, e.event_id, k.tried_from, k.interval_ms)
                                         ORDER BY k.next_attempt_at, k.event),
                        group_concat(e.payload, char(30) ORDER BY k.next_attempt_at, k.event),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
                 FROM (SELECT *, sum(n_bytes) OVER (ORDER BY next_attempt_at, event) - n_bytes AS n_before
                       FROM (SELECT d.event, d.revision, d.tried_from, d.interval_ms, d.next_attempt_at,
                                    octet_length(e.payload) AS n_bytes
                             FROM deliveries d JOIN events e ON e.seq = d.event
                             WHERE d.sink = ?1 AND d.next_attempt_at <= ?2 AND d.event NOT IN (SELECT value FROM json_each(?4))
                             ORDER BY d.next_attempt_at, d.event LIMIT ?3) f) k
                 CROSS JOIN events e ON e.seq = k.event
                 WHERE k.n_before < {MAX_CLAIM_BYTES}"
            )),
        )
        .bind(sink)
        .bind(now.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(as_json(&claimed_keys.iter().collect::<Vec<_>>())?)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::query("claiming deliveries"))?;
        let rows: Vec<DeliveryRow> = from_json("deliveries", rows)?;
        let texts: Vec<&str> = payloads.iter().flat_map(|payloads| payloads.split('\u{1e}')).collect();
        if texts.len() != rows.len() {
            return Err(StoreError::Damaged {
                column: "events.payload".into(),
                value: "a control character".to_owned(),
            });
        }
        let claimed = rows.into_iter().zip(texts).map(|(row, payload)| {
            let (event_key, revision, event_id, tried_from, interval) = row;
            ClaimedDelivery {
                event_key,
                revision,
                event_id,
                payload: payload.to_owned(),
                tried_from: Timestamp::from_millis(tried_from),
                interval: interval.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
            }
        });
        Ok((claimed.collect(), Some(last_event)))
    }

    /// When this sink's next delivery is due, without those in `claimed_keys`.
    pub async fn next_delivery_at(
        &self,
        sink: &str,
        claimed_keys: &HashSet<i64>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT next_attempt_at FROM deliveries
             WHERE sink = ?1 AND next_attempt_at IS NOT NULL
               AND event NOT IN (SELECT value FROM json_each(?2))
             ORDER BY next_attempt_at LIMIT 1",
        )
        .bind(sink)
        .bind(as_json(&claimed_keys.iter().collect::<Vec<_>>())?)
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::query("looking for the next delivery"))?;
        Ok(next.map(Timestamp::from_millis))
    }

    pub async fn redeliver(&self, which: &Redelivery, now: Timestamp) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let again = "UPDATE deliveries SET status = 'pending', revision = revision + 1, tried_from = ?1,
             interval_ms = NULL, next_attempt_at = ?1, delivered_at = NULL ";
        let query = match which {
            Redelivery::Event { event_id, sink } => sqlx::query(sqlx::AssertSqlSafe(format!(
                "{again} WHERE event = (SELECT seq FROM events WHERE event_id = ?2)
                           AND (?3 IS NULL OR sink = ?3)"
            )))
            .bind(now.as_millis())
            .bind(event_id)
            .bind(sink),
            Redelivery::Dead { sink, since } => sqlx::query(sqlx::AssertSqlSafe(format!(
                "{again} WHERE (event, sink) IN (
                     SELECT event, sink FROM deliveries
                     WHERE status <> 'delivered' AND status = 'dead' AND (?2 IS NULL OR sink = ?2)
                       -- What has died again since has had its turn.
                       AND tried_from <> ?1
                       AND event IN (SELECT seq FROM events WHERE occurred_at >= ?3)
                     LIMIT {AT_ONCE})"
            )))
            .bind(now.as_millis())
            .bind(sink)
            .bind(since.map_or(i64::MIN, Timestamp::as_millis)),
        };
        let n_due = query
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query("redelivering"))?
            .rows_affected();
        if let (Redelivery::Event { event_id, sink }, 0) = (which, n_due) {
            return Err(StoreError::UnknownEvent { event_id: event_id.clone(), sink: sink.clone() });
        }
        commit(transaction).await?;
        Ok(n_due)
    }

    pub async fn give_up(
        &self,
        sink: &str,
        tried_before: Timestamp,
        claimed_keys: &HashSet<i64>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let given_up = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE deliveries SET status = 'dead', next_attempt_at = NULL, revision = revision + 1
             WHERE sink = ?1 AND event IN (
                 SELECT event FROM deliveries
                 WHERE sink = ?1 AND next_attempt_at IS NOT NULL AND tried_from < ?2
                   AND event NOT IN (SELECT value FROM json_each(?3)) LIMIT {AT_ONCE})"
        )))
        .bind(sink)
        .bind(tried_before.as_millis())
        .bind(as_json(&claimed_keys.iter().collect::<Vec<_>>())?)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("giving deliveries up"))?;
        commit(transaction).await?;
        Ok(given_up.rows_affected())
    }

    pub async fn sinks_with_pending_deliveries(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT sink FROM deliveries WHERE next_attempt_at IS NOT NULL ORDER BY sink",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::query("reading the outbox"))
    }
}

/// Within a transaction: writes attempts whose deliveries are as they were when claimed.
pub(super) async fn write_deliveries(
    connection: &mut SqliteConnection,
    attempts: &[&DeliveryRecord],
) -> Result<(), StoreError> {
    let statement = "UPDATE deliveries SET
             status = j.status,
             attempts = attempts + 1,
             next_attempt_at = j.next_attempt_at,
             interval_ms = j.interval_ms,
             last_attempt_at = j.at,
             last_http_status = j.http_status,
             last_error = j.error,
             delivered_at = CASE WHEN j.status = 'delivered' THEN j.at + j.took END
         FROM j WHERE deliveries.event = j.event AND deliveries.sink = j.sink AND deliveries.revision = j.revision";
    // What was claimed was pending, and still is if its revision is the same.
    let mut by_end: BTreeMap<(&str, &'static str), Vec<&DeliveryRecord>> = BTreeMap::new();
    for attempt in attempts {
        by_end.entry((&attempt.sink, status(attempt.outcome))).or_default().push(attempt);
    }
    for ((sink, status), attempts) in by_end {
        let operation = "recording deliveries";
        let written = with_rows(connection, ATTEMPT, statement, &attempts, bind_attempt, operation).await?;
        if status != PENDING {
            count_deliveries(connection, sink, PENDING, -count(written.n_changed)).await?;
            count_deliveries(connection, sink, status, count(written.n_changed)).await?;
        }
    }
    // The log sink has no attempts worth keeping: a line was written or it was not.
    let kept: Vec<_> = attempts.iter().copied().filter(|attempt| attempt.sink != LOG_SINK).collect();
    let statement = "INSERT INTO attempts (event, sink, seq, attempted_at, duration_ms, http_status, error)
         SELECT j.event, j.sink,
                1 + (SELECT coalesce(max(seq), 0) FROM attempts WHERE event = j.event AND sink = j.sink),
                j.at, j.took, j.http_status, j.error
         FROM j CROSS JOIN deliveries d ON d.event = j.event AND d.sink = j.sink AND d.revision = j.revision";
    with_rows(connection, ATTEMPT, statement, &kept, bind_attempt, "recording delivery attempts").await?;
    Ok(())
}

/// Columns of an attempt, as [`bind_attempt`] binds them.
const ATTEMPT: &str =
    "event, sink, revision, status, next_attempt_at, interval_ms, at, took, http_status, error";

const PENDING: &str = "pending";

const fn status(outcome: DeliveryOutcome) -> &'static str {
    match outcome {
        DeliveryOutcome::Delivered => "delivered",
        DeliveryOutcome::Retry { .. } => PENDING,
        DeliveryOutcome::Dead => "dead",
    }
}

fn bind_attempt(row: &mut Row, attempt: Option<&&DeliveryRecord>) {
    let (next_attempt_at, interval) = match attempt.map(|attempt| attempt.outcome) {
        Some(DeliveryOutcome::Retry { next_attempt_at, interval }) => {
            (Some(next_attempt_at.as_millis()), Some(millis(interval)))
        }
        _ => (None, None),
    };
    row.push_bind(attempt.map(|attempt| attempt.event_key))
        .push_text(attempt.map(|attempt| attempt.sink.as_str()))
        .push_bind(attempt.map(|attempt| attempt.revision))
        .push_text(attempt.map(|attempt| status(attempt.outcome)))
        .push_bind(next_attempt_at)
        .push_bind(interval)
        .push_bind(attempt.map(|attempt| attempt.attempted_at.as_millis()))
        .push_bind(attempt.map(|attempt| millis(attempt.duration)))
        .push_bind(attempt.and_then(|attempt| attempt.http_status))
        .push_text(attempt.and_then(|attempt| attempt.error.as_deref()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_claim_is_bounded_by_bytes_and_never_empty_where_something_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("watch.db"), Vec::new()).await.unwrap();
        for (statement, n_bytes) in [("1", 300_000), ("2", 300_000), ("3", 5_000_000), ("4", 10), ("5", 10)] {
            let rows = [
                format!(
                    "INSERT INTO events VALUES ({statement}, 'e{statement}', 't', NULL, NULL, 0, printf('%.*c', {n_bytes}, 'x'))"
                ),
                format!(
                    "INSERT INTO deliveries (event, sink, status, tried_from, next_attempt_at) VALUES ({statement}, 's', 'pending', 0, 0)"
                ),
            ];
            for row in rows {
                sqlx::query(sqlx::AssertSqlSafe(row)).execute(&store.writer).await.unwrap();
            }
        }
        let claim = async |limit, out: &[i64]| -> Vec<i64> {
            let out = out.iter().copied().collect();
            let now = Timestamp::from_millis(1);
            let (claimed, last_event) = store.claim_deliveries("s", now, limit, &out).await.unwrap();
            assert_eq!(last_event, Some(5));
            claimed.iter().map(|delivery| delivery.event_key).collect()
        };
        assert_eq!(claim(64, &[]).await, [1, 2, 3]);
        assert_eq!(claim(1, &[]).await, [1]);
        assert_eq!(claim(64, &[1, 2]).await, [3]);
        assert_eq!(claim(64, &[3]).await, [1, 2, 4, 5]);
    }
}
