//! What the database knows of time. All daemons work by the server's clock, and measure by how much theirs differs.

use sqlx::{PgConnection, PgExecutor};

use super::error::StoreError;
use super::schedule::refresh_all_due;
use super::{Store, millis};
use crate::domain::time::Timestamp;
use crate::store::record::Jump;
use crate::store::upkeep::{PRUNE_PAUSE, SUSPICIOUS_JUMP};

/// If the last sign of life is this near to the time after a jump, another daemon has already moved the schedule.
const FOLLOWED_MS: i64 = 30_000;

/// The time on the server, in milliseconds.
pub(super) const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

impl Store {
    /// The time on the server.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        let now: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT {NOW}")))
            .fetch_one(self.people())
            .await
            .map_err(StoreError::query("asking for the time"))?;
        Ok(Timestamp::from_millis(now))
    }

    pub async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        let beat: Option<i64> = sqlx::query_scalar("SELECT beat_at FROM heartbeat WHERE id = 1")
            .fetch_optional(self.people())
            .await
            .map_err(StoreError::query("reading the heartbeat"))?;
        Ok(beat.map(Timestamp::from_millis))
    }

    pub async fn pull_in(&self, now: Timestamp, horizon: std::time::Duration) -> Result<u64, StoreError> {
        self.session()?.write(async |connection| pull_in(connection, now, horizon).await).await
    }
}

async fn pull_in(
    connection: &mut PgConnection,
    now: Timestamp,
    horizon: std::time::Duration,
) -> Result<u64, StoreError> {
    let pulled = sqlx::query(
        "UPDATE schedules SET next_poll_at = $1, revision = revision + 1
         WHERE next_poll_at > $2 AND vat_id IN (SELECT id FROM vats WHERE next_due_at IS NOT NULL)",
    )
    .bind(now.as_millis())
    .bind((now + horizon).as_millis())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("pulling polls in"))?;
    if pulled.rows_affected() > 0 {
        refresh_all_due(connection).await?;
    }
    sqlx::query(
        "UPDATE activities SET watched_from = $1
         WHERE concluded_at IS NULL AND watched_from > $1",
    )
    .bind(now.as_millis())
    .execute(connection)
    .await
    .map_err(StoreError::query("pulling ages in"))?;
    Ok(pulled.rows_affected())
}

/// Records that a daemon is alive.
pub(super) async fn beat(connection: impl PgExecutor<'_>, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO heartbeat (id, beat_at) VALUES (1, $1)
         ON CONFLICT (id) DO UPDATE SET beat_at = greatest(heartbeat.beat_at, excluded.beat_at)",
    )
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Within a transaction that has the writers' lock: moves all that is planned, and all that ages count from, by
/// the jump, as on SQLite; unless another daemon has done so for the same one.
///
/// Decisions made by the time before the jump no longer count: the number of jumps is raised, and every daemon that
/// finds it changed starts over.
pub(super) async fn shift(connection: &mut PgConnection, jump: &Jump) -> Result<(), StoreError> {
    let (Jump { delta_ms, now, .. }, of_commands) = (*jump, jump.of_commands());
    let failed = StoreError::query;
    let beat: Option<i64> = sqlx::query_scalar("SELECT beat_at FROM heartbeat WHERE id = 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed("reading the heartbeat"))?;
    if beat.is_none_or(|beat| (now.as_millis().saturating_sub(beat)).abs() < FOLLOWED_MS) {
        return Ok(());
    }
    let moved =
        |statement: &'static str| sqlx::query(statement).bind(delta_ms).bind(Timestamp::MAX.as_millis());
    for written_by_commands in [
        "UPDATE schedules SET next_poll_at = least(next_poll_at + $1, $2), revision = revision + 1
         WHERE next_poll_at IS NOT NULL
           AND (next_poll_at NOT BETWEEN $4 AND $5 OR abs(next_poll_at - $3 + $1) <= abs(next_poll_at - $3))",
        "UPDATE activities SET watched_from = least(watched_from + $1, $2) WHERE concluded_at IS NULL
           AND (watched_from NOT BETWEEN $4 AND $5 OR abs(watched_from - $3 + $1) <= abs(watched_from - $3))",
    ] {
        let statement = moved(written_by_commands).bind(now.as_millis());
        let statement = statement.bind(*of_commands.start()).bind(*of_commands.end());
        statement.execute(&mut *connection).await.map_err(failed("moving the schedule with the clock"))?;
    }
    refresh_all_due(connection).await?;
    for written_by_daemons in [
        "UPDATE credentials SET probe_at = CASE WHEN probe_at IS NOT NULL THEN least(probe_at + $1, $2) END,
             paused_until = CASE WHEN paused_until IS NOT NULL THEN least(paused_until + $1, $2) END",
        "UPDATE vats SET probe_at = least(probe_at + $1, $2) WHERE probe_at IS NOT NULL",
        "UPDATE deliveries SET next_attempt_at = CASE WHEN next_attempt_at IS NOT NULL
                                                      THEN least(next_attempt_at + $1, $2) END,
             tried_from = least(tried_from + $1, $2)
         WHERE status = 'pending'",
        "UPDATE heartbeat SET beat_at = least(beat_at + $1, $2),
             prune_after = CASE WHEN prune_after IS NOT NULL THEN least(prune_after + $1, $2) END",
    ] {
        let statement = moved(written_by_daemons);
        statement.execute(&mut *connection).await.map_err(failed("moving plans with the clock"))?;
    }
    if delta_ms > millis(SUSPICIOUS_JUMP) {
        sqlx::query("UPDATE heartbeat SET prune_after = greatest(coalesce(prune_after, 0), beat_at + $1)")
            .bind(millis(PRUNE_PAUSE))
            .execute(&mut *connection)
            .await
            .map_err(failed("pausing the pruning"))?;
    }
    sqlx::query("UPDATE clock_jumps SET n = n + 1")
        .execute(&mut *connection)
        .await
        .map_err(failed("counting the clock's jumps"))?;
    Ok(())
}
