//! What is due: a claim is a read, and the row is the schedule.
//!
//! The cost of a look is bounded by what it hands out, whatever is stored. Each VAT's row holds when its first activity
//! is due (`vats.next_due_at`). So an index of VATs finds the longest due of all and the VATs in turn, and an activity
//! is read only to be handed out. Code that moves a due time calls [`refresh_due`] in the same transaction.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::{Store, as_json, commit};
use crate::domain::activity::Vat;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;
use crate::domain::turns::{Found, LOOK_STEPS, Wanted};
use crate::store::schedule::{
    Claimed, PROBE_SAMPLE, SWEEP_STEPS, Sweep, VAT_PROBE_SAMPLE, claimed, from_json, stored_vat,
};

/// An activity as a JSON array, from `activities a`, `vats v` and `schedules s`. Claims are read as one text:
/// two dozen columns a row cost three times as much when each comes as a value of its own.
pub(super) const ACTIVITY: &str = "json_array(a.id, a.vat_id, v.vat, a.activity_id, a.device_id, a.reference, a.state,
    a.round, a.registered_at, a.watched_from, a.stalled_at, a.upstream_status, a.pcsid_generated, a.total_count,
    a.success_count, a.failure_count, a.upstream_created_at, a.upstream_updated_at, a.upstream_completed_at,
    s.revision, s.interval_ms, s.poll_count, s.consecutive_errors, s.strikes)";

impl Store {
    /// Nothing is written: only the daemon that holds the file's lock claims, and it knows what it has claimed.
    pub async fn look(
        &self,
        wanted: &[Wanted],
        claimed_keys: HashSet<i64>,
        now: Timestamp,
    ) -> Result<Vec<Found<Claimed>>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(StoreError::query(LOOKING))?;
        let mut look = Look { connection: &mut connection, now: now.as_millis(), claimed_keys };
        let mut all_found = Vec::with_capacity(wanted.len());
        for (wanted, (first, next)) in wanted.iter().zip(look.due_times(wanted).await?) {
            let is_due = first.is_some_and(|first| first <= look.now);
            let mut found = Found {
                longest_due: Vec::new(),
                in_turn: Vec::new(),
                stopped_at: None,
                probes: look.probes(wanted).await?,
                next_due_at: next.map(Timestamp::from_millis),
            };
            if is_due && wanted.n_longest_due > 0 {
                found.longest_due = look.longest_due(wanted).await?;
            }
            if is_due && wanted.n_in_turn > 0 {
                (found.in_turn, found.stopped_at) = look.in_turn(wanted).await?;
            }
            all_found.push(found);
        }
        Ok(all_found)
    }

    pub async fn overdue(
        &self,
        sweep: &mut Sweep,
        closed_credentials: &[&str],
        stalled_before: Timestamp,
        expired_before: Timestamp,
        claimed_keys: &HashSet<i64>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let closed = as_json(closed_credentials)?;
        let claimed_keys = as_json(&claimed_keys.iter().collect::<Vec<_>>())?;
        let mut overdue = Vec::new();
        for (is_stalled, before, swept_to) in [
            (false, stalled_before.max(expired_before), &mut sweep.not_stalled),
            (true, expired_before, &mut sweep.stalled),
        ] {
            let (from_age, from_id) = swept_to.unwrap_or((i64::MIN, i64::MIN));
            let (rows, n_read, last_age, last_id): (String, i64, Option<i64>, Option<i64>) =
                sqlx::query_as(sqlx::AssertSqlSafe(format!(
                    "WITH aged AS MATERIALIZED (
                         SELECT id, watched_from FROM activities INDEXED BY activities_by_age
                         WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = ?1
                           AND watched_from <= ?2 AND (watched_from, id) > (?3, ?4)
                         ORDER BY watched_from, id LIMIT {SWEEP_STEPS})
                     SELECT (SELECT json_group_array({ACTIVITY}) FROM aged CROSS JOIN activities a ON a.id = aged.id
                             CROSS JOIN vats v ON v.id = a.vat_id CROSS JOIN schedules s ON s.id = a.id
                             WHERE (v.credential IS NULL OR v.held_since IS NOT NULL
                                    OR v.credential IN (SELECT value FROM json_each(?5)))
                               AND a.id NOT IN (SELECT value FROM json_each(?6))),
                            (SELECT count(*) FROM aged),
                            (SELECT max(watched_from) FROM aged),
                            (SELECT id FROM aged ORDER BY watched_from DESC, id DESC LIMIT 1)"
                )))
                .bind(is_stalled)
                .bind(before.as_millis())
                .bind(from_age)
                .bind(from_id)
                .bind(&closed)
                .bind(&claimed_keys)
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::query("looking for overdue activities"))?;
            overdue.extend(claimed(Ok(rows), "looking for overdue activities")?);
            *swept_to = last_age.zip(last_id).filter(|_| n_read == SWEEP_STEPS);
        }
        Ok(overdue)
    }

    pub async fn assign_credentials(&self, serving: &Serving) -> Result<(Vec<Vat>, u64), StoreError> {
        let named: Vec<_> = serving.named().map(|(vat, credential)| (vat.as_str(), credential)).collect();
        let mut transaction = self.begin().await?;
        sqlx::query(
            "WITH named AS MATERIALIZED (
                 SELECT value ->> 0 AS vat, value ->> 1 AS credential FROM json_each(?1))
             UPDATE vats SET credential = wanted.credential
             FROM (SELECT v.id, coalesce(n.credential, ?2) AS credential
                   FROM vats v LEFT JOIN named n ON n.vat = v.vat) AS wanted
             WHERE wanted.id = vats.id AND vats.credential IS NOT wanted.credential",
        )
        .bind(as_json(&named)?)
        .bind(serving.default_credential())
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("assigning credentials"))?;
        let n_unserved: i64 = sqlx::query_scalar("SELECT count(*) FROM vats WHERE credential IS NULL")
            .fetch_one(&mut *transaction)
            .await
            .map_err(StoreError::query("counting VATs that no credential serves"))?;
        let unserved: Vec<String> =
            sqlx::query_scalar("SELECT vat FROM vats WHERE credential IS NULL ORDER BY vat LIMIT 20")
                .fetch_all(&mut *transaction)
                .await
                .map_err(StoreError::query("reading VATs that no credential serves"))?;
        commit(transaction).await?;
        let unserved = unserved.into_iter().map(stored_vat).collect::<Result<_, _>>()?;
        Ok((unserved, u64::try_from(n_unserved).unwrap_or(0)))
    }
}

const LOOKING: &str = "looking for what is due";

/// VATs of credential `?1` that have something due at `?2`, the longest due first. Held ones are left out by the index.
const DUE_VATS: &str = "SELECT id FROM vats INDEXED BY vats_due
    WHERE credential = ?1 AND held_since IS NULL AND next_due_at <= ?2 ORDER BY next_due_at";

/// One look, for one credential after the other.
struct Look<'a> {
    connection: &'a mut SqliteConnection,
    now: i64,
    /// What this look finds is added, so that it is found only once.
    claimed_keys: HashSet<i64>,
}

impl Look<'_> {
    /// For each credential when its first activity is due, and when the first one that is not due yet.
    async fn due_times(&mut self, wanted: &[Wanted]) -> Result<Vec<(Option<i64>, Option<i64>)>, StoreError> {
        let credentials: Vec<&str> = wanted.iter().map(|wanted| &*wanted.credential).collect();
        let rows: String = sqlx::query_scalar(
            "SELECT json_group_array(json_array(
                 (SELECT next_due_at FROM vats WHERE credential = j.value AND held_since IS NULL
                  AND next_due_at IS NOT NULL ORDER BY next_due_at LIMIT 1),
                 (SELECT next_due_at FROM vats WHERE credential = j.value AND held_since IS NULL
                  AND next_due_at > ?2 ORDER BY next_due_at LIMIT 1)) ORDER BY j.key)
             FROM json_each(?1) j",
        )
        .bind(as_json(&credentials)?)
        .bind(self.now)
        .fetch_one(&mut *self.connection)
        .await
        .map_err(StoreError::query(LOOKING))?;
        from_json("vats.next_due_at", rows)
    }

    /// All due activities of the first VATs may be claimed already, so as many more VATs are read as there are claims.
    /// The number read for each VAT is limited to keep a look short. If many VATs have many due activities, a few of
    /// the longest due are passed over for others that are due nearly as long.
    async fn longest_due(&mut self, wanted: &Wanted) -> Result<Vec<Claimed>, StoreError> {
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "WITH due AS MATERIALIZED ({DUE_VATS} LIMIT ?3),
                  share AS MATERIALIZED (
                      SELECT min(1 + 4 * {LOOK_STEPS} / max(count(*), 1), ?5) AS of_each FROM due)
             SELECT json_group_array({ACTIVITY} ORDER BY s.next_poll_at, s.id)
             FROM (SELECT s.id FROM due d
                   CROSS JOIN schedules s ON s.id IN (
                       SELECT id FROM schedules WHERE vat_id = d.id AND next_poll_at <= ?2
                         AND id NOT IN (SELECT value FROM json_each(?4))
                       ORDER BY next_poll_at LIMIT (SELECT of_each FROM share))
                   ORDER BY s.next_poll_at, s.id LIMIT ?5) longest
             {WITH_THEIR_ROWS} ON s.id = longest.id {AND_THE_REST}"
        )))
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(as_i64(wanted.n_longest_due + self.claimed_keys.len()))
        .bind(self.claimed_as_json()?)
        .bind(as_i64(wanted.n_longest_due))
        .fetch_one(&mut *self.connection)
        .await;
        self.take(rows)
    }

    async fn in_turn(&mut self, wanted: &Wanted) -> Result<(Vec<Claimed>, Option<i64>), StoreError> {
        let (found, n_vats, stopped_at) = self.of_vats_in_turn(wanted, wanted.n_in_turn).await?;
        if found.is_empty() && n_vats == wanted.n_in_turn {
            // All that these have due is claimed. So many more can't be claimed as well.
            let limit = wanted.n_in_turn + self.claimed_keys.len();
            let (mut found, _, stopped_at) = self.of_vats_in_turn(wanted, limit).await?;
            found.truncate(wanted.n_in_turn);
            let stopped_at = stopped_at.map(|at| found.last().map_or(at, |last| last.vat_key));
            return Ok((found, stopped_at));
        }
        Ok((found, stopped_at))
    }

    /// What the next VATs have due, at most `limit` of them, without what is claimed; how many VATs these are, and where
    /// reading them stopped.
    async fn of_vats_in_turn(
        &mut self,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<(Vec<Claimed>, usize, Option<i64>), StoreError> {
        let (vats, stopped_at) = self.vats_in_turn(wanted, limit).await?;
        let of_each = wanted.n_in_turn.div_ceil(vats.len().max(1));
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT json_group_array({ACTIVITY} ORDER BY j.key, s.next_poll_at, s.id)
             FROM json_each(?1) j
             CROSS JOIN schedules s ON s.id IN (
                 SELECT id FROM schedules WHERE vat_id = j.value AND next_poll_at <= ?2
                   AND id NOT IN (SELECT value FROM json_each(?3))
                 ORDER BY next_poll_at LIMIT ?4)
             {AND_THE_REST}"
        )))
        .bind(as_json(&vats)?)
        .bind(self.now)
        .bind(self.claimed_as_json()?)
        .bind(as_i64(of_each))
        .fetch_one(&mut *self.connection)
        .await;
        Ok((self.take(rows)?, vats.len(), stopped_at))
    }

    /// Keys of VATs that have something due, in the order of their turns; and the last key that was read, where reading
    /// stopped before all had been seen.
    async fn vats_in_turn(
        &mut self,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let passing = as_json(&wanted.passing)?;
        let (n_due, vats): (i64, String) = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "WITH due AS MATERIALIZED ({DUE_VATS} LIMIT ?3)
             SELECT (SELECT count(*) FROM due),
                    (SELECT json_group_array(id) FROM (
                        SELECT id FROM due ORDER BY id IN (SELECT value FROM json_each(?6)), id <= ?4, id LIMIT ?5))"
        )))
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(as_i64(LOOK_STEPS))
        .bind(wanted.after)
        .bind(as_i64(limit))
        .bind(&passing)
        .fetch_one(&mut *self.connection)
        .await
        .map_err(StoreError::query(LOOKING))?;
        if n_due < as_i64(LOOK_STEPS) {
            return Ok((from_json("vats.id", vats)?, None));
        }
        // More VATs are due than one read returns: go through all VATs of the credential by key, due or not.
        let (n_walked, last, vats): (i64, Option<i64>, String) = sqlx::query_as(
            "WITH walked AS MATERIALIZED (
                 SELECT id, held_since IS NULL AND next_due_at <= ?2 AS is_due
                 FROM vats INDEXED BY vats_by_credential
                 WHERE credential = ?1 AND id > ?3 ORDER BY id LIMIT ?4)
             SELECT (SELECT count(*) FROM walked), (SELECT max(id) FROM walked),
                    (SELECT json_group_array(id) FROM (
                        SELECT id FROM walked WHERE is_due AND id NOT IN (SELECT value FROM json_each(?6))
                        ORDER BY id LIMIT ?5))",
        )
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(wanted.after)
        .bind(as_i64(LOOK_STEPS))
        .bind(as_i64(limit))
        .bind(&passing)
        .fetch_one(&mut *self.connection)
        .await
        .map_err(StoreError::query(LOOKING))?;
        let vats: Vec<i64> = from_json("vats.id", vats)?;
        let stopped_at = match (vats.len() == limit, n_walked < as_i64(LOOK_STEPS)) {
            (true, _) => vats.last().copied(),
            // After the last VAT comes the first.
            (false, true) => Some(0),
            (false, false) => last,
        };
        Ok((vats, stopped_at))
    }

    /// Candidates for a probe: of those due first, the ones with the fewest errors in a row, so that a probe doesn't
    /// fail for a reason of the activity's own.
    async fn probes(&mut self, wanted: &Wanted) -> Result<Vec<Claimed>, StoreError> {
        let mut probes = Vec::new();
        if wanted.n_probes > 0 {
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT json_group_array({ACTIVITY} ORDER BY s.consecutive_errors, s.next_poll_at, s.id)
                 FROM (SELECT s.id FROM (SELECT id FROM vats INDEXED BY vats_due
                             WHERE credential = ?1 AND held_since IS NULL AND next_due_at IS NOT NULL
                             ORDER BY next_due_at LIMIT ?2) d
                       CROSS JOIN schedules s ON s.id IN (
                           SELECT id FROM schedules WHERE vat_id = d.id AND next_poll_at IS NOT NULL
                             AND id NOT IN (SELECT value FROM json_each(?3))
                           ORDER BY next_poll_at LIMIT {PROBE_SAMPLE})
                       ORDER BY s.consecutive_errors, s.next_poll_at, s.id LIMIT ?4) chosen
                 {WITH_THEIR_ROWS} ON s.id = chosen.id {AND_THE_REST}"
            )))
            .bind(&*wanted.credential)
            .bind(as_i64(PROBE_SAMPLE + self.claimed_keys.len()))
            .bind(self.claimed_as_json()?)
            .bind(as_i64(wanted.n_probes))
            .fetch_one(&mut *self.connection)
            .await;
            probes = self.take(rows)?;
        }
        if !wanted.held_vats.is_empty() {
            let vats: Vec<&str> = wanted.held_vats.iter().map(Vat::as_str).collect();
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT json_group_array({ACTIVITY} ORDER BY j.key)
                 FROM json_each(?1) j
                 CROSS JOIN vats h ON h.vat = j.value
                 CROSS JOIN schedules s ON s.id = (
                     SELECT id FROM (
                         SELECT id, consecutive_errors, next_poll_at FROM schedules
                         WHERE vat_id = h.id AND next_poll_at IS NOT NULL
                           AND id NOT IN (SELECT value FROM json_each(?2))
                         ORDER BY next_poll_at LIMIT {VAT_PROBE_SAMPLE})
                     ORDER BY consecutive_errors, next_poll_at LIMIT 1)
                 {AND_THE_REST}"
            )))
            .bind(as_json(&vats)?)
            .bind(self.claimed_as_json()?)
            .fetch_one(&mut *self.connection)
            .await;
            probes.extend(self.take(rows)?);
        }
        Ok(probes)
    }

    fn claimed_as_json(&self) -> Result<String, StoreError> {
        as_json(&self.claimed_keys.iter().collect::<Vec<_>>())
    }

    fn take(&mut self, rows: Result<String, sqlx::Error>) -> Result<Vec<Claimed>, StoreError> {
        let claimed = claimed(rows, "claiming activities")?;
        self.claimed_keys.extend(claimed.iter().map(|claimed| claimed.key));
        Ok(claimed)
    }
}

/// What [`ACTIVITY`] is read from.
const WITH_THEIR_ROWS: &str = "CROSS JOIN schedules s";

const AND_THE_REST: &str = "CROSS JOIN activities a ON a.id = s.id CROSS JOIN vats v ON v.id = s.vat_id";

fn as_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Within a transaction: stores anew when each of these VATs has something due. `vat_keys` is a JSON array.
pub(super) async fn refresh_due(connection: &mut SqliteConnection, vat_keys: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE vats SET next_due_at = (
             SELECT next_poll_at FROM schedules WHERE vat_id = vats.id AND next_poll_at IS NOT NULL
             ORDER BY next_poll_at LIMIT 1)
         FROM json_each(?1) j WHERE vats.id = j.value",
    )
    .bind(vat_keys)
    .execute(connection)
    .await
    .map_err(StoreError::query("noting what is due next"))?;
    Ok(())
}

/// Within a transaction: the same for all VATs.
pub(super) async fn refresh_all_due(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE vats SET next_due_at = next.due_at
         FROM (SELECT v.id, (SELECT next_poll_at FROM schedules WHERE vat_id = v.id AND next_poll_at IS NOT NULL
                             ORDER BY next_poll_at LIMIT 1) AS due_at FROM vats v) AS next
         WHERE next.id = vats.id AND vats.next_due_at IS NOT next.due_at",
    )
    .execute(connection)
    .await
    .map_err(StoreError::query("noting what is due next"))?;
    Ok(())
}
