//! What the database knows of time: the daemon's last heartbeat, and what moves when the wall clock jumps.

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::schedule::refresh_all_due;
use super::{Store, commit, millis};
use crate::domain::time::Timestamp;
use crate::store::record::Jump;
use crate::store::upkeep::{PRUNE_PAUSE, SUSPICIOUS_JUMP};

impl Store {
    pub async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        let beat: Option<i64> = sqlx::query_scalar("SELECT beat_at FROM heartbeat WHERE id = 1")
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::query("reading the heartbeat"))?;
        Ok(beat.map(Timestamp::from_millis))
    }

    pub async fn pull_in(&self, now: Timestamp, horizon: std::time::Duration) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let pulled = sqlx::query(
            "UPDATE schedules SET next_poll_at = ?1, revision = revision + 1
             WHERE next_poll_at > ?2 AND vat_id IN (SELECT id FROM vats WHERE next_due_at IS NOT NULL)",
        )
        .bind(now.as_millis())
        .bind((now + horizon).as_millis())
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("pulling polls in"))?;
        if pulled.rows_affected() > 0 {
            refresh_all_due(&mut transaction).await?;
        }
        sqlx::query(
            "UPDATE activities SET watched_from = ?1
             WHERE concluded_at IS NULL AND watched_from > ?1",
        )
        .bind(now.as_millis())
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("pulling ages in"))?;
        commit(transaction).await?;
        Ok(pulled.rows_affected())
    }
}

/// Within a transaction: the daemon is alive.
pub(super) async fn beat(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO heartbeat (id, beat_at) VALUES (1, ?1)
         ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at",
    )
    .bind(now.as_millis())
    .execute(connection)
    .await
    .map_err(StoreError::query("recording the heartbeat"))?;
    Ok(())
}

/// Within a transaction: moves all that is planned, and all that ages count from, by `delta_ms`. What has
/// happened keeps its time, and nothing gets beyond the last time that can be written. Activities get a new revision, so
/// that no answer to a request from before the jump counts after it. Deliveries don't: an event that was taken is taken.
///
/// What a command wrote under the new clock before the jump was noticed fits it already, and stays.
pub(super) async fn shift(connection: &mut SqliteConnection, jump: &Jump) -> Result<(), StoreError> {
    let (Jump { delta_ms, now, .. }, of_commands) = (*jump, jump.of_commands());
    let moved =
        |statement: &'static str| sqlx::query(statement).bind(delta_ms).bind(Timestamp::MAX.as_millis());
    let failed = StoreError::query;
    for written_by_commands in [
        "UPDATE schedules SET next_poll_at = min(next_poll_at + ?1, ?2), revision = revision + 1
         WHERE next_poll_at IS NOT NULL
           AND (next_poll_at NOT BETWEEN ?4 AND ?5 OR abs(next_poll_at - ?3 + ?1) <= abs(next_poll_at - ?3))",
        "UPDATE activities SET watched_from = min(watched_from + ?1, ?2) WHERE concluded_at IS NULL
           AND (watched_from NOT BETWEEN ?4 AND ?5 OR abs(watched_from - ?3 + ?1) <= abs(watched_from - ?3))",
    ] {
        let statement = moved(written_by_commands).bind(now.as_millis());
        let statement = statement.bind(*of_commands.start()).bind(*of_commands.end());
        statement.execute(&mut *connection).await.map_err(failed("moving the schedule with the clock"))?;
    }
    refresh_all_due(connection).await?;
    for written_by_the_daemon in [
        "UPDATE credentials SET probe_at = min(probe_at + ?1, ?2), paused_until = min(paused_until + ?1, ?2)",
        "UPDATE vats SET probe_at = min(probe_at + ?1, ?2) WHERE probe_at IS NOT NULL",
        "UPDATE deliveries SET next_attempt_at = min(next_attempt_at + ?1, ?2),
             tried_from = min(tried_from + ?1, ?2)
         -- The index of undelivered ones is used only where the statement says so.
         WHERE status <> 'delivered' AND status = 'pending'",
        "UPDATE heartbeat SET beat_at = min(beat_at + ?1, ?2), prune_after = min(prune_after + ?1, ?2)",
    ] {
        let statement = moved(written_by_the_daemon);
        statement.execute(&mut *connection).await.map_err(failed("moving plans with the clock"))?;
    }
    if delta_ms > millis(SUSPICIOUS_JUMP) {
        sqlx::query("UPDATE heartbeat SET prune_after = max(coalesce(prune_after, 0), beat_at + ?1)")
            .bind(millis(PRUNE_PAUSE))
            .execute(&mut *connection)
            .await
            .map_err(StoreError::query("pausing the pruning"))?;
    }
    Ok(())
}
