//! What the status page plots. All of it is read from tallies and short ends of indices, so that it costs the
//! same however many activities there are.

use super::Store;
use super::error::StoreError;
use crate::domain::activity::State;
use crate::domain::report::CheckOutcome;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::store::failures::Failure;
use crate::store::lists::ActivityFilter;
use crate::store::statistics::{
    ChecksByVat, Conclusion, Day, Durations, FailingRules, LatestRow, N_FAILURES, N_LATEST, N_MONTHS,
    N_RULES, N_VATS, Statistics, UnservedVats, checks_by_vat, day_hours, days, durations, failing_rules,
    latest_conclusions, unserved_vats,
};

impl Store {
    pub async fn statistics(&self, now: Timestamp, zone: &Zone) -> Result<Statistics, StoreError> {
        Ok(Statistics {
            days: self.conclusions_by_day(now, zone).await?,
            failures: self.latest_failures().await?,
            durations: self.durations(now).await?,
            checks: self.checks_by_vat().await?,
            rules: self.failing_rules().await?,
            latest: self.latest_conclusions().await?,
            unserved: self.unserved_vats().await?,
        })
    }

    async fn latest_failures(&self) -> Result<Vec<Failure>, StoreError> {
        let filter = ActivityFilter {
            states: vec![State::Failed],
            limit: Some(N_FAILURES),
            ..ActivityFilter::default()
        };
        self.failures(&self.list_activities(&filter).await?.table.read("report_activities")?).await
    }

    async fn conclusions_by_day(&self, now: Timestamp, zone: &Zone) -> Result<Vec<Day>, StoreError> {
        let hours = day_hours(now, zone);
        let (Some((_, first)), Some((_, end))) = (hours.first(), hours.last()) else { return Ok(Vec::new()) };
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT hour, state, n FROM tally_conclusions WHERE hour >= $1 AND hour < $2 AND n > 0",
        )
        .bind(first)
        .bind(end)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("counting conclusions"))?;
        days(&hours, rows)
    }

    async fn durations(&self, now: Timestamp) -> Result<Durations, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT duration_ms, sum(n)::bigint FROM tally_durations
             WHERE month >= to_char(timestamp 'epoch' + $1 * interval '1 millisecond' - $2 * interval '1 month',
                                    'YYYY-MM')
             GROUP BY duration_ms HAVING sum(n) > 0",
        )
        .bind(now.as_millis())
        .bind(N_MONTHS - 1)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading durations"))?;
        Ok(durations(rows))
    }

    async fn checks_by_vat(&self) -> Result<ChecksByVat, StoreError> {
        let tops: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT t.vat_id, v.vat, t.failed, t.failing
             FROM (SELECT vat_id, failed, reported, count(*) FILTER (WHERE failed > 0) OVER () AS failing
                   FROM (SELECT vat_id, coalesce(sum(n) FILTER (WHERE outcome = $2), 0)::bigint AS failed,
                                sum(n)::bigint AS reported
                         FROM tally_checks GROUP BY vat_id HAVING sum(n) > 0) c
                   ORDER BY failed DESC, reported DESC, vat_id LIMIT $1) t
             JOIN vats v ON v.id = t.vat_id
             ORDER BY t.failed DESC, t.reported DESC, t.vat_id",
        )
        .bind(N_VATS)
        .bind(CheckOutcome::Failed.label())
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("looking for VATs with failed checks"))?;
        let keys: Vec<i64> = tops.iter().map(|(key, ..)| *key).collect();
        let rows: Vec<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT vat_id, position, outcome, n FROM tally_checks WHERE vat_id = ANY ($1::bigint[])",
        )
        .bind(&keys)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading checks"))?;
        Ok(checks_by_vat(tops, &rows))
    }

    async fn failing_rules(&self) -> Result<FailingRules, StoreError> {
        let rows: Vec<(String, i64, String, i64)> = sqlx::query_as(
            "SELECT rule, sum(n)::bigint AS failed, json_agg(position)::text, count(*) OVER ()
             FROM (SELECT rule, position, sum(n) AS n FROM tally_rules GROUP BY rule, position HAVING sum(n) > 0) r
             GROUP BY rule ORDER BY failed DESC, rule LIMIT $1",
        )
        .bind(N_RULES)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("looking for failing rules"))?;
        failing_rules(rows)
    }

    async fn latest_conclusions(&self) -> Result<Vec<Conclusion>, StoreError> {
        let rows: Vec<LatestRow> = sqlx::query_as(
            "SELECT v.vat, a.activity_id, a.device_id, a.reference, a.state, a.registered_at, a.concluded_at,
                    (SELECT substr(reason, 1, 240) FROM transitions t
                     WHERE t.activity = a.id ORDER BY seq DESC LIMIT 1) AS reason,
                    (SELECT coalesce(json_agg(rule ORDER BY first_check, first), '[]')::text
                     FROM (SELECT rule, min(check_position) AS first_check, min(position) AS first
                           FROM check_errors e WHERE e.activity = a.id AND e.rule IS NOT NULL GROUP BY rule) r) AS rules
             FROM (SELECT * FROM activities WHERE concluded_at IS NOT NULL
                   ORDER BY concluded_at DESC, id DESC LIMIT $1) a
             JOIN vats v ON v.id = a.vat_id
             ORDER BY a.concluded_at DESC, a.id DESC",
        )
        .bind(N_LATEST)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading the latest conclusions"))?;
        latest_conclusions(rows)
    }

    async fn unserved_vats(&self) -> Result<UnservedVats, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT vat, count(*) OVER () FROM vats v
             WHERE credential IS NULL
               AND EXISTS (SELECT 1 FROM tally_states t
                           WHERE t.vat_id = v.id AND t.n > 0 AND t.state = ANY ($2))
             ORDER BY vat LIMIT $1",
        )
        .bind(N_VATS)
        .bind(State::WAITING.map(State::label).as_slice())
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("looking for VATs without a credential"))?;
        Ok(unserved_vats(rows))
    }
}
