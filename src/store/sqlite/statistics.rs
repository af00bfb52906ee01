//! What the status page plots. All of it is read from tallies and short ends of indices, so that it costs the
//! same however many activities there are.

use super::error::StoreError;
use super::{Store, as_json};
use crate::domain::activity::State;
use crate::domain::report::CheckOutcome;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::store::failures::Failure;
use crate::store::lists::ActivityFilter;
use crate::store::schedule::from_json;
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
            "SELECT hour, state, n FROM tally_conclusions WHERE hour >= ?1 AND hour < ?2 AND n > 0",
        )
        .bind(first)
        .bind(end)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("counting conclusions"))?;
        days(&hours, rows)
    }

    async fn durations(&self, now: Timestamp) -> Result<Durations, StoreError> {
        // Thousands of short rows come faster as one long one.
        let rows: String = sqlx::query_scalar(
            "SELECT json_group_array(json_array(duration_ms, n))
             FROM (SELECT duration_ms, sum(n) AS n FROM tally_durations
                   WHERE month >= strftime('%Y-%m', ?1 / 1000, 'unixepoch', 'start of month', ?2)
                   GROUP BY duration_ms HAVING sum(n) > 0 ORDER BY duration_ms)",
        )
        .bind(now.as_millis())
        .bind(format!("-{} months", N_MONTHS - 1))
        .fetch_one(&self.reports)
        .await
        .map_err(StoreError::query("reading durations"))?;
        let rows: Vec<(i64, i64)> = from_json("tally_durations", rows)?;
        Ok(durations(rows))
    }

    async fn checks_by_vat(&self) -> Result<ChecksByVat, StoreError> {
        let tops: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT t.vat_id, v.vat, t.failed, t.failing
             FROM (SELECT vat_id, failed, reported, count(*) FILTER (WHERE failed > 0) OVER () AS failing
                   FROM (SELECT vat_id, coalesce(sum(n) FILTER (WHERE outcome = ?2), 0) AS failed,
                                sum(n) AS reported
                         FROM tally_checks GROUP BY vat_id HAVING sum(n) > 0)
                   ORDER BY failed DESC, reported DESC, vat_id LIMIT ?1) t
             JOIN vats v ON v.id = t.vat_id
             ORDER BY t.failed DESC, t.reported DESC, t.vat_id",
        )
        .bind(N_VATS)
        .bind(CheckOutcome::Failed.label())
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("looking for VATs with failed checks"))?;
        let keys: Vec<i64> = tops.iter().map(|(key, ..)| *key).collect();
        let rows: Vec<(i64, i64, String, i64)> = sqlx::query_as(
            "SELECT t.vat_id, t.position, t.outcome, t.n FROM json_each(?1) j JOIN tally_checks t ON t.vat_id = j.value",
        )
        .bind(as_json(&keys)?)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("reading checks"))?;
        Ok(checks_by_vat(tops, &rows))
    }

    async fn failing_rules(&self) -> Result<FailingRules, StoreError> {
        let rows: Vec<(String, i64, String, i64)> = sqlx::query_as(
            "SELECT rule, sum(n) AS failed, json_group_array(position), count(*) OVER ()
             FROM (SELECT rule, position, sum(n) AS n FROM tally_rules GROUP BY rule, position HAVING sum(n) > 0)
             GROUP BY rule ORDER BY failed DESC, rule LIMIT ?1",
        )
        .bind(N_RULES)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("looking for failing rules"))?;
        failing_rules(rows)
    }

    async fn latest_conclusions(&self) -> Result<Vec<Conclusion>, StoreError> {
        let rows: Vec<LatestRow> = sqlx::query_as(
            "SELECT v.vat, a.activity_id, a.device_id, a.reference, a.state, a.registered_at, a.concluded_at,
                    (SELECT substr(reason, 1, 240) FROM transitions t
                     WHERE t.activity = a.id ORDER BY seq DESC LIMIT 1) AS reason,
                    (SELECT json_group_array(rule)
                     FROM (SELECT rule FROM check_errors e WHERE e.activity = a.id AND e.rule IS NOT NULL
                           GROUP BY rule ORDER BY min(check_position), min(position))) AS rules
             FROM (SELECT id FROM activities WHERE concluded_at IS NOT NULL
                   ORDER BY concluded_at DESC, id DESC LIMIT ?1) k
             CROSS JOIN activities a ON a.id = k.id
             CROSS JOIN vats v ON v.id = a.vat_id
             ORDER BY a.concluded_at DESC, a.id DESC",
        )
        .bind(N_LATEST)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("reading the latest conclusions"))?;
        latest_conclusions(rows)
    }

    async fn unserved_vats(&self) -> Result<UnservedVats, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT vat, count(*) OVER () FROM vats v
             WHERE credential IS NULL
               AND EXISTS (SELECT 1 FROM tally_states t
                           WHERE t.vat_id = v.id AND t.n > 0
                             AND t.state IN (SELECT value FROM json_each(?2)))
             ORDER BY vat LIMIT ?1",
        )
        .bind(N_VATS)
        .bind(as_json(&State::WAITING.map(State::label))?)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("looking for VATs without a credential"))?;
        Ok(unserved_vats(rows))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::civil::date;

    use super::*;
    use crate::domain::activity::Registration;
    use crate::domain::serving::Serving;
    use crate::store::statistics::{CheckTally, FailingRule};

    const HOUR_MS: i64 = 3_600_000;
    /// 2026-05-26T21:30:00Z: in Riyadh the next day has begun.
    const NOW: Timestamp = Timestamp::from_millis(1_779_831_000_000);

    struct Fixture {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("watch.db"), Vec::new()).await.unwrap();
            Self { store, _folder: folder }
        }

        async fn register(&self, vat: &str, ids: &[&str], at: Timestamp) {
            let registrations: Vec<_> =
                ids.iter().map(|id| Registration::parse(vat, id, Some("till"), None).unwrap()).collect();
            let serving = Serving::new([("main", [].as_slice())]);
            self.store
                .register(&registrations, "http://127.0.0.1:1", &serving, Duration::from_secs(5), at)
                .await
                .unwrap();
        }

        async fn execute(&self, statement: &str) {
            sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.store.writer).await.unwrap();
        }

        /// As the recorder does: the activity's row first, then what depends on it.
        async fn conclude(&self, id: &str, state: State, at: Timestamp) {
            let (state, at) = (state.label(), at.as_millis());
            self.execute(&format!(
                "UPDATE activities SET state = '{state}', concluded_at = {at} WHERE activity_id = '{id}'"
            ))
            .await;
            self.execute(&format!(
                "INSERT INTO transitions SELECT id, 1, 'PENDING', '{state}', {at}, 200, 'because' FROM activities
                 WHERE activity_id = '{id}'"
            ))
            .await;
        }

        async fn check(&self, id: &str, position: i64, outcome: &str, rules: &[&str]) {
            self.execute(&format!(
                "INSERT INTO checks (activity, position, outcome, message) SELECT id, {position}, '{outcome}', NULL FROM activities WHERE activity_id = '{id}'"
            ))
            .await;
            for (nth, rule) in rules.iter().enumerate() {
                self.execute(&format!(
                    "INSERT INTO check_errors (activity, check_position, position, rule, message) SELECT id, {position}, {nth} + 1, '{rule}', 'wrong' FROM activities
                     WHERE activity_id = '{id}'"
                ))
                .await;
            }
        }

        async fn statistics(&self) -> Statistics {
            crate::store::sqlite::tallies::recount(&self.store.writer).await;
            self.store.statistics(NOW, &Zone::default()).await.unwrap()
        }
    }

    #[tokio::test]
    async fn an_empty_database_has_thirty_empty_days_and_nothing_else() {
        let statistics = Fixture::new().await.statistics().await;
        assert_eq!(statistics.days.len(), 30);
        assert_eq!(statistics.days.iter().map(Day::total).sum::<u64>(), 0);
        assert_eq!(statistics, Statistics { days: statistics.days.clone(), ..Statistics::default() });
    }

    #[tokio::test]
    async fn conclusions_count_for_their_day_in_riyadh() {
        let fixture = Fixture::new().await;
        fixture.register("3", &["a", "b", "c", "old", "waiting"], NOW.shifted(-40 * 24 * HOUR_MS)).await;
        fixture.conclude("a", State::Succeeded, NOW).await;
        fixture.conclude("b", State::Failed, NOW.shifted(-HOUR_MS)).await;
        fixture.conclude("c", State::Failed, NOW.shifted(-29 * 24 * HOUR_MS)).await;
        fixture.conclude("old", State::Failed, NOW.shifted(-30 * 24 * HOUR_MS)).await;
        let days = fixture.statistics().await.days;
        let with_any: Vec<_> = days.iter().filter(|day| day.total() > 0).cloned().collect();
        let day = |date, state| Day { date, states: BTreeMap::from([(state, 1)]) };
        assert_eq!(
            with_any,
            [
                day(date(2026, 4, 28), State::Failed),
                day(date(2026, 5, 26), State::Failed),
                day(date(2026, 5, 27), State::Succeeded),
            ]
        );
        assert_eq!(days.last().map(|day| day.date), Some(date(2026, 5, 27)));
    }

    #[tokio::test]
    async fn durations_are_those_of_three_months() {
        let fixture = Fixture::new().await;
        let registered_at = NOW.shifted(-10 * 60_000);
        fixture.register("3", &["a", "b", "c"], registered_at).await;
        for (id, took_ms) in [("a", 1_000), ("b", 2_000), ("c", 500_000)] {
            fixture.conclude(id, State::Succeeded, registered_at.shifted(took_ms)).await;
        }
        // Of February, before the first of the three months.
        let long_ago = NOW.shifted(-90 * 24 * HOUR_MS);
        fixture.register("3", &["old"], long_ago).await;
        fixture.conclude("old", State::Succeeded, long_ago).await;
        let durations = fixture.statistics().await.durations;
        assert_eq!(durations.n, 3);
        assert_eq!(durations.median, Some(Duration::from_secs(2)));
        assert_eq!(durations.p95, Some(Duration::from_secs(500)));
        assert_eq!(durations.buckets.iter().map(|bucket| bucket.n).sum::<u64>(), 3);
    }

    #[tokio::test]
    async fn vats_come_by_their_failed_checks() {
        let fixture = Fixture::new().await;
        for nth in 0..14 {
            let id = format!("a{nth}");
            fixture.register(&format!("3-{nth}"), &[&id], NOW).await;
            fixture.conclude(&id, State::Failed, NOW).await;
            for position in 1..=if nth == 5 { 6 } else { 1 } {
                fixture.check(&id, position, "FAILED", &[]).await;
            }
        }
        fixture.register("good", &["good"], NOW).await;
        fixture.conclude("good", State::Succeeded, NOW).await;
        fixture.check("good", 2, "SUCCEEDED", &[]).await;
        let checks = fixture.statistics().await.checks;
        assert_eq!(checks.vats.len(), 12);
        assert_eq!(checks.n_more_failing, 2);
        assert_eq!(checks.vats[0].vat, "3-5");
        assert_eq!(checks.vats[0].checks, [CheckTally { n_succeeded: 0, n_failed: 1 }; 6]);
        assert_eq!(checks.vats[1].checks[0].n_failed, 1);
        assert_eq!(checks.vats[1].checks[1], CheckTally::default());
    }

    #[tokio::test]
    async fn rules_come_by_the_checks_that_fail_with_them() {
        let fixture = Fixture::new().await;
        fixture.register("3", &["a", "b"], NOW).await;
        fixture.conclude("a", State::Failed, NOW).await;
        fixture.conclude("b", State::Failed, NOW.shifted(1)).await;
        fixture.check("a", 1, "FAILED", &["BR-KSA-17", "BR-KSA-17", "BR-1", "BR-2", "BR-3", "BR-4"]).await;
        fixture.check("a", 6, "FAILED", &["BR-KSA-17"]).await;
        fixture.check("b", 1, "FAILED", &["BR-KSA-17"]).await;
        let statistics = fixture.statistics().await;
        assert_eq!(
            statistics.rules.rules[0],
            FailingRule { rule: "BR-KSA-17".to_owned(), n_failed_checks: 3, checks: vec![0, 5] }
        );
        assert_eq!((statistics.rules.rules.len(), statistics.rules.n_more), (5, 0));
        let [last, first] = statistics.latest.as_slice() else { panic!("{:?}", statistics.latest) };
        assert_eq!(last.activity_id, "b");
        assert_eq!(first.rules, ["BR-KSA-17", "BR-1", "BR-2"]);
        assert_eq!(first.n_more_rules, 2);
        assert_eq!(first.reason.as_deref(), Some("because"));
        assert_eq!((first.device_id.as_deref(), first.reference.as_deref()), (Some("till"), None));
    }

    #[tokio::test]
    async fn the_latest_conclusions_are_fifteen_at_most() {
        let fixture = Fixture::new().await;
        let ids: Vec<String> = (0..20).map(|nth| format!("a{nth}")).collect();
        fixture.register("3", &ids.iter().map(String::as_str).collect::<Vec<_>>(), NOW).await;
        for (nth, id) in (0_i64..).zip(&ids) {
            fixture.conclude(id, State::Expired, NOW.shifted(nth)).await;
        }
        let latest = fixture.statistics().await.latest;
        assert_eq!(latest.len(), 15);
        assert_eq!(latest[0].activity_id, "a19");
        assert_eq!(latest[14].activity_id, "a5");
    }

    #[tokio::test]
    async fn a_vat_that_nobody_serves_is_told_of_while_it_waits() {
        let fixture = Fixture::new().await;
        fixture.register("3", &["a"], NOW).await;
        assert_eq!(fixture.statistics().await.unserved, UnservedVats::default());
        fixture.execute("UPDATE vats SET credential = NULL").await;
        assert_eq!(fixture.statistics().await.unserved.vats, ["3"]);
        fixture.conclude("a", State::Cancelled, NOW).await;
        assert_eq!(fixture.statistics().await.unserved, UnservedVats::default());
    }
}
