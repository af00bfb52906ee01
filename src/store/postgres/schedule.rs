//! What is due: a claim is a read, and the row is the schedule. `store::sqlite::schedule` explains the plan; the
//! statements here give the same answers.

use std::collections::HashSet;

use sqlx::{PgConnection, PgPool};

use super::error::StoreError;
use super::{Store, commit};
use crate::domain::activity::Vat;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;
use crate::domain::turns::{Found, LOOK_STEPS, Wanted};
use crate::store::schedule::{
    Claimed, PROBE_SAMPLE, SWEEP_STEPS, Sweep, VAT_PROBE_SAMPLE, from_json, stored_vat,
};

pub(super) use crate::store::schedule::claimed;

/// An activity's row as a JSON array, from `activities a`, `vats v` and `schedules s`.
pub(super) const ACTIVITY: &str = "json_build_array(a.id, a.vat_id, v.vat, a.activity_id, a.device_id, a.reference,
    a.state, a.round, a.registered_at, a.watched_from, a.stalled_at, a.upstream_status, a.pcsid_generated, a.total_count,
    a.success_count, a.failure_count, a.upstream_created_at, a.upstream_updated_at, a.upstream_completed_at,
    s.revision, s.interval_ms, s.poll_count, s.consecutive_errors, s.strikes)";

const LOOKING: &str = "looking for what is due";

impl Store {
    pub async fn look(
        &self,
        wanted: &[Wanted],
        claimed_keys: HashSet<i64>,
        now: Timestamp,
    ) -> Result<Vec<Found<Claimed>>, StoreError> {
        self.require_held()?;
        let mut look = Look {
            readers: self.readers(),
            now: now.as_millis(),
            claimed_keys: claimed_keys.into_iter().collect(),
        };
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

    /// Of the VATs that these credentials serve, and of those that none does where those are this daemon's.
    pub async fn overdue(
        &self,
        sweep: &mut Sweep,
        closed_credentials: &[&str],
        (stalled_before, expired_before): (Timestamp, Timestamp),
        claimed_keys: &HashSet<i64>,
        (credentials, has_unserved): (&[String], bool),
    ) -> Result<Vec<Claimed>, StoreError> {
        self.require_held()?;
        let mut overdue = Vec::new();
        for (is_stalled, before, swept_to) in [
            (false, stalled_before.max(expired_before), &mut sweep.not_stalled),
            (true, expired_before, &mut sweep.stalled),
        ] {
            let (from_age, from_id) = swept_to.unwrap_or((i64::MIN, i64::MIN));
            let (rows, n_read, last_age, last_id): (String, i64, Option<i64>, Option<i64>) =
                sqlx::query_as(sqlx::AssertSqlSafe(format!(
                    "WITH aged AS MATERIALIZED (
                         SELECT id, watched_from FROM activities
                         WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = $1
                           AND watched_from <= $2 AND (watched_from, id) > ($3, $4)
                         ORDER BY watched_from, id LIMIT {SWEEP_STEPS})
                     SELECT (SELECT coalesce(json_agg({ACTIVITY}), '[]')::text FROM aged
                             JOIN activities a ON a.id = aged.id
                             JOIN vats v ON v.id = a.vat_id JOIN schedules s ON s.id = a.id
                             WHERE (v.credential IS NULL AND $8
                                    OR v.credential = ANY ($7::text[])
                                       AND (v.held_since IS NOT NULL OR v.credential = ANY ($5::text[])))
                               AND a.id <> ALL ($6::bigint[])),
                            (SELECT count(*) FROM aged),
                            (SELECT max(watched_from) FROM aged),
                            (SELECT id FROM aged ORDER BY watched_from DESC, id DESC LIMIT 1)"
                )))
                .bind(is_stalled)
                .bind(before.as_millis())
                .bind(from_age)
                .bind(from_id)
                .bind(closed_credentials)
                .bind(claimed_keys.iter().copied().collect::<Vec<_>>())
                .bind(credentials)
                .bind(has_unserved)
                .fetch_one(self.readers())
                .await
                .map_err(StoreError::query("looking for overdue activities"))?;
            overdue.extend(claimed(Ok(rows), "looking for overdue activities")?);
            *swept_to = last_age.zip(last_id).filter(|_| n_read == SWEEP_STEPS);
        }
        Ok(overdue)
    }

    pub async fn assign_credentials(&self, serving: &Serving) -> Result<(Vec<Vat>, u64), StoreError> {
        let (vats, credentials): (Vec<_>, Vec<_>) =
            serving.named().map(|(vat, credential)| (vat.as_str(), credential)).unzip();
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE vats SET credential = wanted.credential
             FROM (SELECT v.id, coalesce(n.credential, $3::text) AS credential
                   FROM vats v LEFT JOIN unnest($1::text[], $2::text[]) AS n (vat, credential) ON n.vat = v.vat) wanted
             WHERE wanted.id = vats.id AND vats.credential IS DISTINCT FROM wanted.credential",
        )
        .bind(vats)
        .bind(credentials)
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

    pub(super) async fn due_since(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let due: Option<i64> = sqlx::query_scalar(
            // One index look-up for each open credential; the index leaves held VATs out.
            "WITH RECURSIVE served (credential) AS (
                 SELECT min(credential) FROM vats
                 UNION ALL
                 SELECT (SELECT min(v.credential) FROM vats v WHERE v.credential > served.credential)
                 FROM served WHERE served.credential IS NOT NULL)
             SELECT min((SELECT v.next_due_at FROM vats v
                         WHERE v.credential = served.credential AND v.held_since IS NULL AND v.next_due_at IS NOT NULL
                         ORDER BY v.next_due_at LIMIT 1))
             FROM served
             WHERE credential NOT IN (SELECT name FROM credentials
                                      WHERE held_since IS NOT NULL OR paused_until > $1)",
        )
        .bind(now.as_millis())
        .fetch_one(self.vitals())
        .await
        .map_err(StoreError::query("looking for due activities"))?;
        Ok(due.map(Timestamp::from_millis).filter(|due| *due <= now))
    }
}

/// VATs of credential `$1` that have something due at `$2`, the longest due first. Held ones are left out by the index.
const DUE_VATS: &str = "SELECT id FROM vats
    WHERE credential = $1 AND held_since IS NULL AND next_due_at <= $2 ORDER BY next_due_at";

/// One look, for one credential after the other.
struct Look<'a> {
    readers: &'a PgPool,
    now: i64,
    /// What this look has found is added, so that it is found once.
    claimed_keys: Vec<i64>,
}

impl Look<'_> {
    /// For each credential when its first activity is due, and when the first one that is not due yet.
    async fn due_times(&mut self, wanted: &[Wanted]) -> Result<Vec<(Option<i64>, Option<i64>)>, StoreError> {
        let credentials: Vec<&str> = wanted.iter().map(|wanted| &*wanted.credential).collect();
        sqlx::query_as(
            "SELECT (SELECT v.next_due_at FROM vats v WHERE v.credential = j.name AND v.held_since IS NULL
                     AND v.next_due_at IS NOT NULL ORDER BY v.next_due_at LIMIT 1),
                    (SELECT v.next_due_at FROM vats v WHERE v.credential = j.name AND v.held_since IS NULL
                     AND v.next_due_at > $2 ORDER BY v.next_due_at LIMIT 1)
             FROM unnest($1::text[]) WITH ORDINALITY AS j (name, nth) ORDER BY j.nth",
        )
        .bind(credentials)
        .bind(self.now)
        .fetch_all(self.readers)
        .await
        .map_err(StoreError::query(LOOKING))
    }

    /// As on SQLite: all due activities of the first VATs may be claimed already, so as many more are read.
    async fn longest_due(&mut self, wanted: &Wanted) -> Result<Vec<Claimed>, StoreError> {
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "WITH due AS MATERIALIZED ({DUE_VATS} LIMIT $3),
                  share AS MATERIALIZED (
                      SELECT least(1 + 4 * {LOOK_STEPS} / greatest(count(*), 1), $5) AS of_each FROM due)
             SELECT coalesce(json_agg({ACTIVITY} ORDER BY s.next_poll_at, s.id), '[]')::text
             FROM (SELECT s.id FROM due d
                   CROSS JOIN LATERAL (
                       SELECT id, next_poll_at FROM schedules WHERE vat_id = d.id AND next_poll_at <= $2
                         AND id <> ALL ($4::bigint[])
                       ORDER BY next_poll_at LIMIT (SELECT of_each FROM share)) s
                   ORDER BY s.next_poll_at, s.id LIMIT $5) longest
             JOIN schedules s ON s.id = longest.id {AND_THE_REST}"
        )))
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(as_i64(wanted.n_longest_due + self.claimed_keys.len()))
        .bind(&self.claimed_keys)
        .bind(as_i64(wanted.n_longest_due))
        .fetch_one(self.readers)
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
            "SELECT coalesce(json_agg({ACTIVITY} ORDER BY j.nth, s.next_poll_at, s.id), '[]')::text
             FROM unnest($1::bigint[]) WITH ORDINALITY AS j (id, nth)
             CROSS JOIN LATERAL (
                 SELECT * FROM schedules WHERE vat_id = j.id AND next_poll_at <= $2 AND id <> ALL ($3::bigint[])
                 ORDER BY next_poll_at LIMIT $4) s
             {AND_THE_REST}"
        )))
        .bind(&vats)
        .bind(self.now)
        .bind(&self.claimed_keys)
        .bind(as_i64(of_each))
        .fetch_one(self.readers)
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
        let (n_due, vats): (i64, String) = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "WITH due AS MATERIALIZED ({DUE_VATS} LIMIT $3)
             SELECT (SELECT count(*) FROM due),
                    (SELECT coalesce(json_agg(id), '[]')::text
                     FROM (SELECT id FROM due ORDER BY id = ANY ($6::bigint[]), id <= $4, id LIMIT $5) d)"
        )))
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(as_i64(LOOK_STEPS))
        .bind(wanted.after)
        .bind(as_i64(limit))
        .bind(&wanted.passing)
        .fetch_one(self.readers)
        .await
        .map_err(StoreError::query(LOOKING))?;
        if n_due < as_i64(LOOK_STEPS) {
            return Ok((from_json("vats.id", vats)?, None));
        }
        // More VATs are due than one read returns: go through all VATs of the credential by key, due or not.
        let (n_walked, last, vats): (i64, Option<i64>, String) = sqlx::query_as(
            "WITH walked AS MATERIALIZED (
                 SELECT id, coalesce(held_since IS NULL AND next_due_at <= $2, false) AS is_due
                 FROM vats WHERE credential = $1 AND id > $3 ORDER BY id LIMIT $4)
             SELECT (SELECT count(*) FROM walked), (SELECT max(id) FROM walked),
                    (SELECT coalesce(json_agg(id), '[]')::text
                     FROM (SELECT id FROM walked WHERE is_due AND id <> ALL ($6::bigint[]) ORDER BY id LIMIT $5) d)",
        )
        .bind(&*wanted.credential)
        .bind(self.now)
        .bind(wanted.after)
        .bind(as_i64(LOOK_STEPS))
        .bind(as_i64(limit))
        .bind(&wanted.passing)
        .fetch_one(self.readers)
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
                "SELECT coalesce(json_agg({ACTIVITY} ORDER BY s.consecutive_errors, s.next_poll_at, s.id), '[]')::text
                 FROM (SELECT s.id FROM (SELECT id FROM vats
                             WHERE credential = $1 AND held_since IS NULL AND next_due_at IS NOT NULL
                             ORDER BY next_due_at LIMIT $2) d
                       CROSS JOIN LATERAL (
                           SELECT * FROM schedules WHERE vat_id = d.id AND next_poll_at IS NOT NULL
                             AND id <> ALL ($3::bigint[])
                           ORDER BY next_poll_at LIMIT {PROBE_SAMPLE}) s
                       ORDER BY s.consecutive_errors, s.next_poll_at, s.id LIMIT $4) chosen
                 JOIN schedules s ON s.id = chosen.id {AND_THE_REST}"
            )))
            .bind(&*wanted.credential)
            .bind(as_i64(PROBE_SAMPLE + self.claimed_keys.len()))
            .bind(&self.claimed_keys)
            .bind(as_i64(wanted.n_probes))
            .fetch_one(self.readers)
            .await;
            probes = self.take(rows)?;
        }
        if !wanted.held_vats.is_empty() {
            let vats: Vec<&str> = wanted.held_vats.iter().map(Vat::as_str).collect();
            let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "SELECT coalesce(json_agg({ACTIVITY} ORDER BY j.nth), '[]')::text
                 FROM unnest($1::text[]) WITH ORDINALITY AS j (vat, nth)
                 JOIN vats h ON h.vat = j.vat
                 CROSS JOIN LATERAL (
                     SELECT * FROM (
                         SELECT * FROM schedules WHERE vat_id = h.id AND next_poll_at IS NOT NULL
                           AND id <> ALL ($2::bigint[])
                         ORDER BY next_poll_at LIMIT {VAT_PROBE_SAMPLE}) sample
                     ORDER BY consecutive_errors, next_poll_at LIMIT 1) s
                 {AND_THE_REST}"
            )))
            .bind(vats)
            .bind(&self.claimed_keys)
            .fetch_one(self.readers)
            .await;
            probes.extend(self.take(rows)?);
        }
        Ok(probes)
    }

    fn take(&mut self, rows: Result<String, sqlx::Error>) -> Result<Vec<Claimed>, StoreError> {
        let claimed = claimed(rows, "claiming activities")?;
        self.claimed_keys.extend(claimed.iter().map(|claimed| claimed.key));
        Ok(claimed)
    }
}

const AND_THE_REST: &str = "JOIN activities a ON a.id = s.id JOIN vats v ON v.id = s.vat_id";

fn as_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Within a transaction: notes again when each of these VATs has something due.
pub(super) async fn refresh_due(connection: &mut PgConnection, vat_keys: &[i64]) -> Result<(), StoreError> {
    if vat_keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE vats SET next_due_at = next.due_at
         FROM (SELECT j.id, (SELECT s.next_poll_at FROM schedules s
                             WHERE s.vat_id = j.id AND s.next_poll_at IS NOT NULL
                             ORDER BY s.next_poll_at LIMIT 1) AS due_at
               FROM unnest($1::bigint[]) AS j (id)) AS next
         WHERE next.id = vats.id AND vats.next_due_at IS DISTINCT FROM next.due_at",
    )
    .bind(vat_keys)
    .execute(connection)
    .await
    .map_err(StoreError::query("noting what is due next"))?;
    Ok(())
}

/// Within a transaction: the same for all VATs.
pub(super) async fn refresh_all_due(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE vats SET next_due_at = next.due_at
         FROM (SELECT v.id, (SELECT s.next_poll_at FROM schedules s WHERE s.vat_id = v.id AND s.next_poll_at IS NOT NULL
                             ORDER BY s.next_poll_at LIMIT 1) AS due_at FROM vats v) AS next
         WHERE next.id = vats.id AND vats.next_due_at IS DISTINCT FROM next.due_at",
    )
    .execute(connection)
    .await
    .map_err(StoreError::query("noting what is due next"))?;
    Ok(())
}
