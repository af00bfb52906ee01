//! Maintenance: checks, and pruning of what is old.

use super::error::StoreError;
use super::{Store, as_json, commit};
use crate::domain::time::Timestamp;
use crate::store::upkeep::PRUNE_BATCH;

impl Store {
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        let failed = StoreError::query;
        let mut problems: Vec<String> =
            sqlx::query_scalar("SELECT integrity_check FROM pragma_integrity_check")
                .fetch_all(&self.reports)
                .await
                .map_err(failed("checking the database"))?;
        problems.retain(|problem| problem != "ok");
        let orphans: Vec<String> = sqlx::query_scalar(
            "SELECT 'a row of ' || \"table\" || ' refers to one of ' || parent || ' that is not there'
             FROM pragma_foreign_key_check",
        )
        .fetch_all(&self.reports)
        .await
        .map_err(failed("checking references"))?;
        problems.extend(orphans);
        Ok(problems)
    }

    /// Deliveries are looked up by their event, since many may be pending: the `+` keeps SQLite from using the index by
    /// status.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sinks: Vec<&str> = self.routes.iter().map(|route| route.sink.as_str()).collect();
        let sinks = as_json(&sinks)?;
        let mut transaction = self.begin().await?;
        let activities = sqlx::query(
            "DELETE FROM activities WHERE id IN (
                 SELECT id FROM activities a
                 WHERE concluded_at < ?1
                   AND NOT EXISTS (SELECT 1 FROM events e CROSS JOIN deliveries d ON d.event = e.seq
                                   WHERE e.activity = a.id AND +d.status = 'pending'
                                     AND d.sink IN (SELECT value FROM json_each(?3)))
                 ORDER BY concluded_at LIMIT ?2)",
        )
        .bind(before.as_millis())
        .bind(PRUNE_BATCH)
        .bind(&sinks)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("pruning activities"))?;
        let events = sqlx::query(
            "DELETE FROM events WHERE seq IN (
                 SELECT seq FROM events e
                 WHERE activity IS NULL AND occurred_at < ?1
                   AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.seq AND +d.status = 'pending'
                                     AND d.sink IN (SELECT value FROM json_each(?3)))
                 ORDER BY occurred_at LIMIT ?2)",
        )
        .bind(before.as_millis())
        .bind(PRUNE_BATCH)
        .bind(&sinks)
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("pruning events"))?;
        commit(transaction).await?;
        Ok(activities.rows_affected() + events.rows_affected())
    }

    pub async fn may_prune(&self, now: Timestamp) -> Result<bool, StoreError> {
        let after: Option<Option<i64>> = sqlx::query_scalar("SELECT prune_after FROM heartbeat")
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::query("reading the heartbeat"))?;
        Ok(after.flatten().is_none_or(|after| after <= now.as_millis()))
    }
}
