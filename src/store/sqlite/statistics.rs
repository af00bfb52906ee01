//! What the status page plots. All of it is read from tallies and short ends of indices, so that it costs the
//! same however many activities there are.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::error::StoreError;
use super::{ActivityFilter, Failure, Store, as_json};
use crate::domain::activity::State;
use crate::domain::report::CHECK_NAMES;
use crate::domain::time::Timestamp;
use crate::words::Zone;

/// How many days of conclusions are told.
const N_DAYS: i64 = 30;

/// How many months of durations are told, the running one included.
const N_MONTHS: i64 = 3;

/// Buckets of durations in a factor of ten, so that each is a third longer than the one before it.
const BUCKETS_PER_DECADE: f64 = 8.0;

/// How many VATs are told of.
const N_VATS: i64 = 12;

/// How many rules are told of.
const N_RULES: i64 = 10;

/// How many conclusions are told of.
const N_LATEST: i64 = 15;

/// How many failures are told of.
const N_FAILURES: u32 = 8;

/// What has been happening, in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    /// The last 30 days of the reader's zone, the oldest first and today last; also those without a conclusion.
    pub days: Vec<Day>,
    /// The latest failures with what to do about them.
    pub failures: Vec<Failure>,
    /// From registration to PCSID, concluded in the running month of UTC or the two before it.
    pub durations: Durations,
    /// The checks of the VATs with the most failed ones.
    pub checks: ChecksByVat,
    /// The rules that failed most.
    pub rules: FailingRules,
    /// The latest conclusions, the last one first.
    pub latest: Vec<Conclusion>,
    /// VATs with activities to poll that no configured credential serves.
    pub unserved: UnservedVats,
}

/// A day of the reader's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// Conclusions by state; states without any are left out.
    pub states: BTreeMap<State, u64>,
}

impl Day {
    /// All its conclusions.
    pub fn total(&self) -> u64 {
        self.states.values().sum()
    }
}

/// How long PCSIDs took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many.
    pub n: u64,
    /// Half of them took at most so long; `None` where there are none.
    pub median: Option<Duration>,
    /// 95 of 100 took at most so long; `None` where there are none.
    pub p95: Option<Duration>,
    /// Each beginning where the one before it ends, from the first with any to the last.
    pub buckets: Vec<Bucket>,
}

/// Durations of about the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The shortest.
    pub from: Duration,
    /// The shortest that no longer counts.
    pub until: Duration,
    /// How many.
    pub n: u64,
}

/// The checks by VAT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChecksByVat {
    /// Those with the most failed checks first.
    pub vats: Vec<VatChecks>,
    /// How many more VATs have failed checks.
    pub n_more_failing: u64,
}

/// The checks of a VAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VatChecks {
    /// The VAT.
    pub vat: String,
    /// In the order of [`CHECK_NAMES`].
    pub checks: [CheckTally; 6],
}

/// How often a check was reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckTally {
    /// How often it succeeded.
    pub n_succeeded: u64,
    /// How often it failed.
    pub n_failed: u64,
}

/// The rules that fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailingRules {
    /// The most frequent first.
    pub rules: Vec<FailingRule>,
    /// How many more there are.
    pub n_more: u64,
}

/// A rule that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingRule {
    /// Its code.
    pub rule: String,
    /// How many checks failed with it; an activity counts once for each of its checks.
    pub n_failed_checks: u64,
    /// Which checks, as positions in [`CHECK_NAMES`].
    pub checks: Vec<usize>,
}

/// An activity that has concluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Its VAT.
    pub vat: String,
    /// Its id.
    pub activity_id: String,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// The user's own text.
    pub reference: Option<String>,
    /// How it ended.
    pub state: State,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it ended.
    pub concluded_at: Timestamp,
    /// The first rules that failed.
    pub rules: Vec<String>,
    /// How many more rules failed.
    pub n_more_rules: u64,
    /// Why it ended so, in the words of its last transition, cut where they are long.
    pub reason: Option<String>,
}

/// VATs that nobody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnservedVats {
    /// The first of them.
    pub vats: Vec<String>,
    /// How many more there are.
    pub n_more: u64,
}

impl Store {
    /// Reads the statistics. It costs the same however many activities there are.
    ///
    /// # Errors
    /// Only those of the database.
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
        self.failures(&self.list_activities(&filter).await?.table).await
    }

    async fn conclusions_by_day(&self, now: Timestamp, zone: &Zone) -> Result<Vec<Day>, StoreError> {
        let today = zone.date(now);
        // In which hour each day begins, and the one after the last. The tally's hours are whole ones of UTC, so in a
        // zone that is half an hour off a day's first half hour counts for the day before.
        let hours: Vec<(Date, i64)> = (-(N_DAYS - 1)..=1)
            .filter_map(|nth| {
                let date = today.saturating_add(jiff::Span::new().days(nth));
                Some((date, zone.start_of(date)?.as_millis().div_euclid(3_600_000)))
            })
            .collect();
        let (Some((_, first)), Some((_, end))) = (hours.first(), hours.last()) else { return Ok(Vec::new()) };
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT hour, state, n FROM tally_conclusions WHERE hour >= ?1 AND hour < ?2 AND n > 0",
        )
        .bind(first)
        .bind(end)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("counting conclusions"))?;
        let empty = |(date, _): &(Date, i64)| Day { date: *date, states: BTreeMap::new() };
        let mut days: Vec<Day> =
            hours.split_last().map_or_else(Vec::new, |(_, days)| days.iter().map(empty).collect());
        for (hour, label, n) in rows {
            let state = state("tally_conclusions.state", label)?;
            let nth = hours.partition_point(|(_, begins)| *begins <= hour).saturating_sub(1);
            if let Some(day) = days.get_mut(nth) {
                *day.states.entry(state).or_insert(0) += count(n);
            }
        }
        Ok(days)
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
        let rows: Vec<(i64, i64)> = serde_json::from_str(&rows).unwrap_or_default();
        let mut rows: Vec<(u64, u64)> = rows.into_iter().map(|(ms, n)| (count(ms), count(n))).collect();
        rows.sort_unstable();
        Ok(distribution(&rows))
    }

    async fn checks_by_vat(&self) -> Result<ChecksByVat, StoreError> {
        let tops: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT t.vat_id, v.vat, t.failed, t.failing
             FROM (SELECT vat_id, failed, reported, count(*) FILTER (WHERE failed > 0) OVER () AS failing
                   FROM (SELECT vat_id, coalesce(sum(n) FILTER (WHERE outcome = 'FAILED'), 0) AS failed,
                                sum(n) AS reported
                         FROM tally_checks GROUP BY vat_id HAVING sum(n) > 0)
                   ORDER BY failed DESC, reported DESC, vat_id LIMIT ?1) t
             JOIN vats v ON v.id = t.vat_id
             ORDER BY t.failed DESC, t.reported DESC, t.vat_id",
        )
        .bind(N_VATS)
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
        let n_failing = tops.first().map_or(0, |(.., failing)| count(*failing));
        let n_shown = tops.iter().filter(|(.., failed, _)| *failed > 0).count();
        let vats = tops
            .into_iter()
            .map(|(key, vat, ..)| {
                let mut checks = [CheckTally::default(); 6];
                for (_, position, outcome, n) in rows.iter().filter(|(of, ..)| *of == key) {
                    if let Some(check) = check_at(*position).and_then(|at| checks.get_mut(at)) {
                        match outcome.as_str() {
                            "FAILED" => check.n_failed = count(*n),
                            _ => check.n_succeeded = count(*n),
                        }
                    }
                }
                VatChecks { vat, checks }
            })
            .collect();
        Ok(ChecksByVat { vats, n_more_failing: n_failing.saturating_sub(n_shown as u64) })
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
        let n_rules = rows.first().map_or(0, |(.., n)| count(*n));
        let rules: Vec<_> = rows
            .into_iter()
            .map(|(rule, failed, positions, _)| {
                let positions: Vec<i64> = serde_json::from_str(&positions).unwrap_or_default();
                let mut checks: Vec<usize> = positions.into_iter().filter_map(check_at).collect();
                checks.sort_unstable();
                FailingRule { rule, n_failed_checks: count(failed), checks }
            })
            .collect();
        Ok(FailingRules { n_more: n_rules.saturating_sub(rules.len() as u64), rules })
    }

    async fn latest_conclusions(&self) -> Result<Vec<Conclusion>, StoreError> {
        const N_FIRST_RULES: usize = 3;
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
        rows.into_iter()
            .map(|row| {
                let mut rules: Vec<String> = serde_json::from_str(&row.rules).unwrap_or_default();
                let n_more_rules = rules.len().saturating_sub(N_FIRST_RULES) as u64;
                rules.truncate(N_FIRST_RULES);
                Ok(Conclusion {
                    vat: row.vat,
                    activity_id: row.activity_id,
                    device_id: row.device_id,
                    reference: row.reference,
                    state: state("activities.state", row.state)?,
                    registered_at: Timestamp::from_millis(row.registered_at),
                    concluded_at: Timestamp::from_millis(row.concluded_at),
                    rules,
                    n_more_rules,
                    reason: row.reason,
                })
            })
            .collect()
    }

    async fn unserved_vats(&self) -> Result<UnservedVats, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT vat, count(*) OVER () FROM vats v
             WHERE credential IS NULL
               AND EXISTS (SELECT 1 FROM tally_states t
                           WHERE t.vat_id = v.id AND t.state IN ('PENDING', 'IN_PROGRESS') AND t.n > 0)
             ORDER BY vat LIMIT ?1",
        )
        .bind(N_VATS)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("looking for VATs without a credential"))?;
        let n = rows.first().map_or(0, |(_, n)| count(*n));
        let vats: Vec<String> = rows.into_iter().map(|(vat, _)| vat).collect();
        Ok(UnservedVats { n_more: n.saturating_sub(vats.len() as u64), vats })
    }
}

struct LatestRow {
    vat: String,
    activity_id: String,
    device_id: Option<String>,
    reference: Option<String>,
    state: String,
    registered_at: i64,
    concluded_at: i64,
    reason: Option<String>,
    /// A JSON array.
    rules: String,
}

impl FromRow<'_, SqliteRow> for LatestRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            vat: row.try_get("vat")?,
            activity_id: row.try_get("activity_id")?,
            device_id: row.try_get("device_id")?,
            reference: row.try_get("reference")?,
            state: row.try_get("state")?,
            registered_at: row.try_get("registered_at")?,
            concluded_at: row.try_get("concluded_at")?,
            reason: row.try_get("reason")?,
            rules: row.try_get("rules")?,
        })
    }
}

/// Median, 95th percentile and buckets of durations in milliseconds, given in ascending order with how many
/// there are of each.
fn distribution(rows: &[(u64, u64)]) -> Durations {
    let n: u64 = rows.iter().map(|(_, n)| n).sum();
    // The one that so many are not longer than, counted from 1.
    let nth = |rank: u64| {
        let mut passed = 0;
        let reached = rows.iter().find(|(_, n)| {
            passed += n;
            passed >= rank
        });
        reached.map(|(ms, _)| *ms)
    };
    let median = nth(n.div_ceil(2)).zip(nth(n / 2 + 1)).map(|(low, high)| low.midpoint(high));
    let p95 = nth(u64::try_from((u128::from(n) * 95).div_ceil(100)).unwrap_or(n));
    let mut buckets: Vec<Bucket> = Vec::new();
    if let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) {
        let (first, last) = (bucket_of(*first), bucket_of(*last));
        let empty = |nth| Bucket { from: bucket_edge(nth), until: bucket_edge(nth + 1), n: 0 };
        buckets.extend((first..=last).map(empty));
        for (ms, n) in rows {
            let nth = usize::try_from(bucket_of(*ms) - first).ok();
            if let Some(bucket) = nth.and_then(|nth| buckets.get_mut(nth)) {
                bucket.n += n;
            }
        }
    }
    Durations { n, median: median.map(Duration::from_millis), p95: p95.map(Duration::from_millis), buckets }
}

/// Which bucket a duration belongs to. Those of less than a millisecond count as one.
fn bucket_of(ms: u64) -> i32 {
    // An edge itself may be found a hair below it.
    ((ms.max(1) as f64).log10() * BUCKETS_PER_DECADE + 1e-9).floor() as i32
}

fn bucket_edge(nth: i32) -> Duration {
    Duration::try_from_secs_f64(10_f64.powf(f64::from(nth) / BUCKETS_PER_DECADE) / 1000.0)
        .unwrap_or(Duration::MAX)
}

/// A check's place in [`CHECK_NAMES`].
fn check_at(position: i64) -> Option<usize> {
    usize::try_from(position - 1).ok().filter(|at| *at < CHECK_NAMES.len())
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn state(column: &'static str, label: String) -> Result<State, StoreError> {
    State::from_label(&label).ok_or(StoreError::Damaged { column, value: label })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::domain::activity::Registration;
    use crate::domain::serving::Serving;

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

        /// As the recorder does: the activity's row first, then what hangs on it.
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
                "INSERT INTO checks SELECT id, {position}, '{outcome}', NULL FROM activities WHERE activity_id = '{id}'"
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

    #[test]
    fn median_and_percentile_are_those_of_the_ranks() {
        let of = |rows: &[(u64, u64)]| {
            let durations = distribution(rows);
            (durations.n, durations.median, durations.p95)
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(of(&[]), (0, None, None));
        assert_eq!(of(&[(7, 1)]), (1, ms(7), ms(7)));
        assert_eq!(of(&[(10, 1), (20, 1)]), (2, ms(15), ms(20)));
        assert_eq!(of(&[(10, 95), (500, 5)]), (100, ms(10), ms(10)));
        assert_eq!(of(&[(10, 94), (500, 6)]), (100, ms(10), ms(500)));
    }

    #[test]
    fn buckets_are_gapless_and_hold_what_they_say() {
        let rows = [(0, 1), (1, 1), (999, 2), (1_000, 3), (86_400_000, 1)];
        let buckets = distribution(&rows).buckets;
        assert!(buckets.windows(2).all(|pair| pair[0].until == pair[1].from));
        assert_eq!(buckets.iter().map(|bucket| bucket.n).sum::<u64>(), 8);
        assert_eq!((buckets[0].from, buckets[0].n), (Duration::from_millis(1), 2));
        let second = buckets.iter().find(|bucket| bucket.from == Duration::from_secs(1)).unwrap();
        assert_eq!(second.n, 3);
        assert!(distribution(&[(u64::MAX, 1)]).buckets.len() == 1);
    }
}
