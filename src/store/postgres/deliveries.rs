//! The outbox: which event still has to go to which sink.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;

use super::error::StoreError;
use super::{Store, commit_and_notify, millis, optional_text};
use crate::domain::time::Timestamp;
use crate::store::deliveries::{
    AT_ONCE, ClaimedDelivery, DeliveryOutcome, DeliveryRecord, MAX_CLAIM_BYTES, Redelivery,
};

type DeliveryRow = (i64, i64, String, String, i64, Option<i64>);

impl Store {
    pub async fn claim_deliveries(
        &self,
        sink: &str,
        now: Timestamp,
        limit: usize,
        claimed_keys: &HashSet<i64>,
    ) -> Result<(Vec<ClaimedDelivery>, Option<i64>), StoreError> {
        self.require_held()?;
        let rows: Vec<DeliveryRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT k.event, k.revision, e.event_id, e.payload, k.tried_from, k.interval_ms
                 FROM (SELECT *, sum(n_bytes) OVER (ORDER BY next_attempt_at, event) - n_bytes AS n_before
                       FROM (SELECT d.event, d.revision, d.tried_from, d.interval_ms, d.next_attempt_at,
                                    octet_length(e.payload) AS n_bytes
                             FROM deliveries d JOIN events e ON e.seq = d.event
                             WHERE d.sink = $1 AND d.next_attempt_at <= $2 AND d.event <> ALL ($4::bigint[])
                             ORDER BY d.next_attempt_at, d.event LIMIT $3) f) k
                 JOIN events e ON e.seq = k.event
                 WHERE k.n_before < {MAX_CLAIM_BYTES}
                 ORDER BY k.next_attempt_at, k.event"
        )))
        .bind(sink)
        .bind(now.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(claimed_keys.iter().copied().collect::<Vec<_>>())
        .fetch_all(self.readers())
        .await
        .map_err(StoreError::query("claiming deliveries"))?;
        let claimed = rows
            .into_iter()
            .map(|(event_key, revision, event_id, payload, tried_from, interval)| ClaimedDelivery {
                event_key,
                revision,
                event_id,
                payload,
                tried_from: Timestamp::from_millis(tried_from),
                interval: interval.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
            })
            .collect();
        // Other daemons write events too, so a sink's own are always read.
        Ok((claimed, None))
    }

    pub async fn next_delivery_at(
        &self,
        sink: &str,
        claimed_keys: &HashSet<i64>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT next_attempt_at FROM deliveries
             WHERE sink = $1 AND next_attempt_at IS NOT NULL AND event <> ALL ($2::bigint[])
             ORDER BY next_attempt_at, event LIMIT 1",
        )
        .bind(sink)
        .bind(claimed_keys.iter().copied().collect::<Vec<_>>())
        .fetch_optional(self.readers())
        .await
        .map_err(StoreError::query("looking for the next delivery"))?;
        Ok(next.map(Timestamp::from_millis))
    }

    pub async fn redeliver(&self, which: &Redelivery, now: Timestamp) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let again = "UPDATE deliveries SET status = 'pending', revision = revision + 1, tried_from = $1,
             interval_ms = NULL, next_attempt_at = $1, delivered_at = NULL ";
        let query = match which {
            Redelivery::Event { event_id, sink } => sqlx::query(sqlx::AssertSqlSafe(format!(
                "{again} WHERE event = (SELECT seq FROM events WHERE event_id = $2)
                           AND ($3::text IS NULL OR sink = $3)"
            )))
            .bind(now.as_millis())
            .bind(event_id)
            .bind(sink),
            Redelivery::Dead { sink, since } => sqlx::query(sqlx::AssertSqlSafe(format!(
                "{again} WHERE (event, sink) IN (
                     SELECT event, sink FROM deliveries
                     WHERE status <> 'delivered' AND status = 'dead' AND ($2::text IS NULL OR sink = $2)
                       -- One that this order has made due already may be dead again: once is enough.
                       AND tried_from <> $1
                       AND event IN (SELECT seq FROM events WHERE occurred_at >= $3)
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
        commit_and_notify(transaction).await?;
        Ok(n_due)
    }

    pub async fn give_up(
        &self,
        sink: &str,
        tried_before: Timestamp,
        claimed_keys: &HashSet<i64>,
    ) -> Result<u64, StoreError> {
        let given_up = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE deliveries SET status = 'dead', next_attempt_at = NULL, revision = revision + 1
             WHERE sink = $1 AND event IN (
                 SELECT event FROM deliveries
                 WHERE sink = $1 AND next_attempt_at IS NOT NULL AND tried_from < $2
                   AND event <> ALL ($3::bigint[]) LIMIT {AT_ONCE})"
        )))
        .bind(sink)
        .bind(tried_before.as_millis())
        .bind(claimed_keys.iter().copied().collect::<Vec<_>>());
        let failed = StoreError::query("giving deliveries up");
        let given_up =
            async |connection: &mut PgConnection| given_up.execute(connection).await.map_err(failed);
        Ok(self.session()?.write(given_up).await?.rows_affected())
    }

    pub async fn sinks_with_pending_deliveries(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT sink FROM deliveries WHERE next_attempt_at IS NOT NULL ORDER BY sink",
        )
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading the outbox"))
    }
}

/// Within a transaction: writes attempts whose deliveries are as they were when claimed.
pub(super) async fn write_deliveries(
    connection: &mut PgConnection,
    attempts: &[&DeliveryRecord],
) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let (mut status, mut next_attempt_at, mut interval) = (Vec::new(), Vec::new(), Vec::new());
    for attempt in attempts {
        let (label, at, ms) = match attempt.outcome {
            DeliveryOutcome::Delivered => ("delivered", None, None),
            DeliveryOutcome::Retry { next_attempt_at, interval } => {
                ("pending", Some(next_attempt_at.as_millis()), Some(millis(interval)))
            }
            DeliveryOutcome::Dead => ("dead", None, None),
        };
        status.push(label);
        next_attempt_at.push(at);
        interval.push(ms);
    }
    // The log sink has no attempts worth keeping: a line was written or it was not.
    sqlx::query(
        "WITH j AS MATERIALIZED (
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[],
                                  $7::bigint[], $8::bigint[], $9::bigint[], $10::text[])
                  AS j (event, sink, revision, status, next_at, interval_ms, at, took, http_status, error)),
         tried AS (
             UPDATE deliveries d SET
                 status = j.status,
                 attempts = d.attempts + 1,
                 next_attempt_at = j.next_at,
                 interval_ms = j.interval_ms,
                 last_attempt_at = j.at,
                 last_http_status = j.http_status,
                 last_error = j.error,
                 delivered_at = CASE WHEN j.status = 'delivered' THEN j.at + j.took END
             FROM j WHERE d.event = j.event AND d.sink = j.sink AND d.revision = j.revision
             RETURNING j.event, j.sink, j.at, j.took, j.http_status, j.error)
         INSERT INTO attempts (event, sink, seq, attempted_at, duration_ms, http_status, error)
         SELECT t.event, t.sink,
                1 + (SELECT coalesce(max(a.seq), 0) FROM attempts a WHERE a.event = t.event AND a.sink = t.sink),
                t.at, t.took, t.http_status, t.error
         FROM tried t WHERE t.sink <> 'log'",
    )
    .bind(attempts.iter().map(|attempt| attempt.event_key).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.sink.as_str()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.revision).collect::<Vec<_>>())
    .bind(status)
    .bind(next_attempt_at)
    .bind(interval)
    .bind(attempts.iter().map(|attempt| attempt.attempted_at.as_millis()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| millis(attempt.duration)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.http_status.map(i64::from)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| optional_text(attempt.error.as_deref())).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(StoreError::query("recording deliveries"))?;
    Ok(())
}
