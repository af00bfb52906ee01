//! Maintenance: checks, and pruning of what is old.

use super::error::StoreError;
use super::{Store, commit};
use crate::domain::report::CheckOutcome;
use crate::domain::time::Timestamp;
use crate::store::upkeep::PRUNE_BATCH;

/// Each tally, and two queries that must give the same rows: what is kept, and what there is. `{passed}` stands for the
/// outcome of a passed check.
const TALLIES: [(&str, &str, &str); 4] = [
    (
        "tally_states",
        "SELECT vat_id::text, state, n FROM tally_states WHERE n <> 0",
        "SELECT vat_id::text, state, count(*) FROM activities GROUP BY 1, 2",
    ),
    (
        "tally_conclusions",
        "SELECT hour::text, state, n FROM tally_conclusions WHERE n <> 0",
        "SELECT (concluded_at / 3600000)::text, state, count(*) FROM activities WHERE concluded_at IS NOT NULL
         GROUP BY 1, 2",
    ),
    (
        "tally_checks",
        "SELECT vat_id || ' ' || position, outcome, n FROM tally_checks WHERE n <> 0",
        "SELECT c.vat_id || ' ' || c.position, c.outcome, count(*)
         FROM (SELECT a.vat_id, c.position, c.outcome FROM checks c JOIN activities a ON a.id = c.activity
               UNION ALL
               SELECT a.vat_id, p.position, '{passed}' FROM activities a
               JOIN check_names p ON (a.passed_checks >> p.position::int) & 1 = 1) c
         GROUP BY 1, 2",
    ),
    (
        "tally_deliveries",
        "SELECT sink, status, n FROM tally_deliveries WHERE n <> 0",
        "SELECT sink, status, count(*) FROM deliveries GROUP BY 1, 2",
    ),
];

impl Store {
    /// Checks that what is stored twice is the same in both places. Whether the files are whole can only be checked on
    /// the server, by `pg_amcheck` and `pg_checksums`.
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        let checking = StoreError::query("checking the database");
        let mut problems = Vec::new();
        let mut snapshot = self
            .people()
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(checking)?;
        for (table, kept, counted) in TALLIES {
            let counted = counted.replace("{passed}", CheckOutcome::Succeeded.label());
            let n: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT count(*) FROM (({kept} EXCEPT {counted}) UNION ALL ({counted} EXCEPT {kept})) d"
            )))
            .fetch_one(&mut *snapshot)
            .await
            .map_err(StoreError::query("checking the database"))?;
            if n > 0 {
                problems.push(format!("{n} rows of {table} differ from what they count"));
            }
        }
        let n: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM activities a LEFT JOIN schedules s ON s.id = a.id AND s.vat_id = a.vat_id
             WHERE s.id IS NULL OR (a.concluded_at IS NULL) <> (s.next_poll_at IS NOT NULL)",
        )
        .fetch_one(&mut *snapshot)
        .await
        .map_err(StoreError::query("checking the database"))?;
        if n > 0 {
            problems.push(format!("{n} activities and their rows of schedules don't fit each other"));
        }
        Ok(problems)
    }

    /// Writes through the session of the daemon that holds the upkeep, or in a command's own transaction.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        match &self.session {
            Some(session) => {
                session.write(async |connection| prune(connection, &self.sinks(), before).await).await
            }
            None => {
                let mut transaction = self.begin().await?;
                let pruned = prune(&mut transaction, &self.sinks(), before).await?;
                commit(transaction).await?;
                Ok(pruned)
            }
        }
    }

    fn sinks(&self) -> Vec<String> {
        self.routes().iter().map(|route| route.sink.clone()).collect()
    }

    pub async fn may_prune(&self, now: Timestamp) -> Result<bool, StoreError> {
        let after: Option<Option<i64>> = sqlx::query_scalar("SELECT prune_after FROM heartbeat")
            .fetch_optional(self.people())
            .await
            .map_err(StoreError::query("reading the heartbeat"))?;
        Ok(after.flatten().is_none_or(|after| after <= now.as_millis()))
    }
}

async fn prune(
    connection: &mut sqlx::PgConnection,
    sinks: &[String],
    before: Timestamp,
) -> Result<u64, StoreError> {
    let activities = sqlx::query(
        "DELETE FROM activities WHERE id IN (
             SELECT id FROM activities a
             WHERE concluded_at < $1
               AND NOT EXISTS (SELECT 1 FROM events e JOIN deliveries d ON d.event = e.seq
                               WHERE e.activity = a.id AND d.status = 'pending' AND d.sink = ANY ($3::text[]))
             ORDER BY concluded_at LIMIT $2)",
    )
    .bind(before.as_millis())
    .bind(PRUNE_BATCH)
    .bind(sinks)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("pruning activities"))?;
    let events = sqlx::query(
        "DELETE FROM events WHERE seq IN (
             SELECT seq FROM events e
             WHERE activity IS NULL AND occurred_at < $1
               AND NOT EXISTS (SELECT 1 FROM deliveries d
                               WHERE d.event = e.seq AND d.status = 'pending' AND d.sink = ANY ($3::text[]))
             ORDER BY occurred_at LIMIT $2)",
    )
    .bind(before.as_millis())
    .bind(PRUNE_BATCH)
    .bind(sinks)
    .execute(connection)
    .await
    .map_err(StoreError::query("pruning events"))?;
    Ok(activities.rows_affected() + events.rows_affected())
}
