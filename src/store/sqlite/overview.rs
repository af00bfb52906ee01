//! The current state in a few numbers, for the status page, the metrics and the service manager.

use std::collections::BTreeMap;

use super::Store;
use super::error::StoreError;
use crate::domain::activity::State;
use crate::domain::time::Timestamp;
use crate::store::overview::{Blocked, N_OLDEST, Overview, Undelivered, Waiting};
use crate::store::schedule::stored_state;

impl Store {
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        Ok(Overview {
            states: self.states().await?,
            closed: self.closed_gates(now).await?,
            oldest_waiting: self.oldest_waiting().await?,
            due_since: self.due_since(now).await?,
            outbox: self.outbox().await?,
            ending: self.ending_counts(now).await?,
        })
    }

    async fn states(&self) -> Result<BTreeMap<State, u64>, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT state, sum(n) FROM tally_states GROUP BY state HAVING sum(n) > 0")
                .fetch_all(&self.vitals)
                .await
                .map_err(StoreError::query("counting activities"))?;
        rows.into_iter()
            .map(|(label, n)| Ok((stored_state("tally_states.state", label)?, u64::try_from(n).unwrap_or(0))))
            .collect()
    }

    async fn closed_gates(&self, now: Timestamp) -> Result<Vec<Blocked>, StoreError> {
        type Row = (Option<String>, Option<String>, Option<String>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT name, NULL, held_reason, held_since, coalesce(probe_at, paused_until) FROM credentials
             WHERE held_since IS NOT NULL OR paused_until > ?1
             UNION ALL
             SELECT NULL, vat, held_reason, held_since, probe_at FROM vats WHERE held_since IS NOT NULL
             ORDER BY 1, 2",
        )
        .bind(now.as_millis())
        .fetch_all(&self.vitals)
        .await
        .map_err(StoreError::query("reading holds"))?;
        let time = |ms: Option<i64>| ms.map(Timestamp::from_millis);
        Ok(rows
            .into_iter()
            .map(|(credential, vat, reason, since, until)| Blocked {
                credential,
                vat,
                reason,
                since: time(since),
                until: time(until),
            })
            .collect())
    }

    async fn oldest_waiting(&self) -> Result<Option<Waiting>, StoreError> {
        // One index look-up for those that have stalled and one for the others, rather than a scan.
        let row: Option<(String, String, i64)> = sqlx::query_as(
            "SELECT v.vat, a.activity_id, a.watched_from
             FROM (SELECT 0 AS has_stalled UNION ALL SELECT 1) w
             JOIN activities a ON a.id = (SELECT id FROM activities INDEXED BY activities_by_age
                                          WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = w.has_stalled
                                          ORDER BY watched_from, id LIMIT 1)
             JOIN vats v ON v.id = a.vat_id
             ORDER BY a.watched_from, a.id LIMIT 1",
        )
        .fetch_optional(&self.vitals)
        .await
        .map_err(StoreError::query("looking for the oldest activity"))?;
        Ok(row.map(|(vat, activity_id, since)| Waiting {
            vat,
            activity_id,
            since: Timestamp::from_millis(since),
        }))
    }

    async fn due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let due: Option<i64> = sqlx::query_scalar(
            // One index look-up for each open credential; the index leaves held VATs out.
            "WITH RECURSIVE served (credential) AS (
                 SELECT min(credential) FROM vats
                 UNION ALL
                 SELECT (SELECT min(credential) FROM vats WHERE credential > served.credential)
                 FROM served WHERE served.credential IS NOT NULL)
             SELECT min((SELECT next_due_at FROM vats
                         WHERE credential = served.credential AND held_since IS NULL AND next_due_at IS NOT NULL
                         ORDER BY next_due_at LIMIT 1))
             FROM served
             WHERE credential NOT IN (SELECT name FROM credentials
                                      WHERE held_since IS NOT NULL OR paused_until > ?1)",
        )
        .bind(now.as_millis())
        .fetch_one(&self.vitals)
        .await
        .map_err(StoreError::query("looking for due activities"))?;
        Ok(due.map(Timestamp::from_millis).filter(|due| *due <= now))
    }

    async fn outbox(&self) -> Result<Vec<Undelivered>, StoreError> {
        type Row = (String, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT t.sink, t.pending, t.dead,
                    CASE WHEN t.pending > 0 THEN
                        (SELECT min(o.tried_from)
                         FROM (SELECT d.tried_from FROM deliveries d
                               WHERE d.status <> 'delivered' AND d.status = 'pending' AND d.sink = t.sink
                               ORDER BY d.event LIMIT ?1) o) END
             FROM (SELECT sink,
                          sum(n) FILTER (WHERE status = 'pending') AS pending,
                          sum(n) FILTER (WHERE status = 'dead') AS dead
                   FROM tally_deliveries WHERE status <> 'delivered' AND n > 0 GROUP BY sink) t
             ORDER BY t.sink",
        )
        .bind(N_OLDEST)
        .fetch_all(&self.vitals)
        .await
        .map_err(StoreError::query("counting undelivered events"))?;
        let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        Ok(rows
            .into_iter()
            .map(|(sink, pending, dead, tried_since)| Undelivered {
                sink,
                pending: count(pending),
                dead: count(dead),
                tried_since: tried_since.map(Timestamp::from_millis),
            })
            .collect())
    }
}
