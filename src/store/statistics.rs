//! What the status page plots.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use super::error::StoreError;
use super::failures::Failure;
use super::schedule::{from_json, stored_state};
use crate::domain::activity::State;
use crate::domain::report::CHECK_NAMES;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;

/// How many days of conclusions are shown.
const N_DAYS: i64 = 30;

/// How many months of durations are shown, the running one included.
pub(super) const N_MONTHS: i64 = 3;

/// Buckets of durations in a factor of ten, so that each is a third longer than the one before it.
const BUCKETS_PER_DECADE: f64 = 8.0;

/// How many VATs are shown.
pub(super) const N_VATS: i64 = 12;

/// How many rules are shown.
pub(super) const N_RULES: i64 = 10;

/// How many conclusions are shown.
pub(super) const N_LATEST: i64 = 15;

/// How many failures are shown.
pub(super) const N_FAILURES: u32 = 8;

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
    /// Half of them took at most so long; `None` if there are none.
    pub median: Option<Duration>,
    /// 95 of 100 took at most so long; `None` if there are none.
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
    /// Why it ended so, in the words of its last transition, cut if long.
    pub reason: Option<String>,
}

/// VATs that no configured credential serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnservedVats {
    /// The first of them.
    pub vats: Vec<String>,
    /// How many more there are.
    pub n_more: u64,
}

/// VAT, id, device, reference, state; registered, concluded; reason, and rules as a JSON array.
pub(super) type LatestRow =
    (String, String, Option<String>, Option<String>, String, i64, i64, Option<String>, String);

/// The days that are shown, each with the hour in which it begins, and the one after the last. The tally's hours are
/// whole ones of UTC, so in a zone that is half an hour off a day's first half hour counts for the day before.
pub(super) fn day_hours(now: Timestamp, zone: &Zone) -> Vec<(Date, i64)> {
    let today = zone.date(now);
    (-(N_DAYS - 1)..=1)
        .filter_map(|nth| {
            let date = today.saturating_add(jiff::Span::new().days(nth));
            Some((date, zone.start_of(date)?.as_millis().div_euclid(3_600_000)))
        })
        .collect()
}

/// From rows of hour, state and number.
pub(super) fn days(hours: &[(Date, i64)], rows: Vec<(i64, String, i64)>) -> Result<Vec<Day>, StoreError> {
    let empty = |(date, _): &(Date, i64)| Day { date: *date, states: BTreeMap::new() };
    let mut days: Vec<Day> =
        hours.split_last().map_or_else(Vec::new, |(_, days)| days.iter().map(empty).collect());
    for (hour, label, n) in rows {
        let state = stored_state("tally_conclusions.state", label)?;
        let nth = hours.partition_point(|(_, begins)| *begins <= hour).saturating_sub(1);
        if let Some(day) = days.get_mut(nth) {
            *day.states.entry(state).or_insert(0) += count(n);
        }
    }
    Ok(days)
}

/// From rows of milliseconds and number.
pub(super) fn durations(rows: Vec<(i64, i64)>) -> Durations {
    let mut rows: Vec<(u64, u64)> = rows.into_iter().map(|(ms, n)| (count(ms), count(n))).collect();
    rows.sort_unstable();
    distribution(&rows)
}

/// From the first VATs (key, VAT, failed checks, how many VATs have any) and their tallies (key, position, outcome,
/// number).
pub(super) fn checks_by_vat(
    tops: Vec<(i64, String, i64, i64)>,
    rows: &[(i64, i64, String, i64)],
) -> ChecksByVat {
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
    ChecksByVat { vats, n_more_failing: n_failing.saturating_sub(n_shown as u64) }
}

/// From rows of rule, number, positions as a JSON array, and how many rules there are.
pub(super) fn failing_rules(rows: Vec<(String, i64, String, i64)>) -> Result<FailingRules, StoreError> {
    let n_rules = rows.first().map_or(0, |(.., n)| count(*n));
    let rules: Vec<_> = rows
        .into_iter()
        .map(|(rule, failed, positions, _)| {
            let positions: Vec<i64> = from_json("tally_rules.position", positions)?;
            let mut checks: Vec<usize> = positions.into_iter().filter_map(check_at).collect();
            checks.sort_unstable();
            Ok(FailingRule { rule, n_failed_checks: count(failed), checks })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(FailingRules { n_more: n_rules.saturating_sub(rules.len() as u64), rules })
}

/// From rows of conclusions, the latest first.
pub(super) fn latest_conclusions(rows: Vec<LatestRow>) -> Result<Vec<Conclusion>, StoreError> {
    const N_FIRST_RULES: usize = 3;
    rows.into_iter()
        .map(|row| {
            let (vat, activity_id, device_id, reference, label, registered_at, concluded_at, reason, rules) =
                row;
            let mut rules: Vec<String> = from_json("check_errors.rule", rules)?;
            let n_more_rules = rules.len().saturating_sub(N_FIRST_RULES) as u64;
            rules.truncate(N_FIRST_RULES);
            Ok(Conclusion {
                vat,
                activity_id,
                device_id,
                reference,
                state: stored_state("activities.state", label)?,
                registered_at: Timestamp::from_millis(registered_at),
                concluded_at: Timestamp::from_millis(concluded_at),
                rules,
                n_more_rules,
                reason,
            })
        })
        .collect()
}

/// From rows of VAT and how many there are.
pub(super) fn unserved_vats(rows: Vec<(String, i64)>) -> UnservedVats {
    let n = rows.first().map_or(0, |(_, n)| count(*n));
    let vats: Vec<String> = rows.into_iter().map(|(vat, _)| vat).collect();
    UnservedVats { n_more: n.saturating_sub(vats.len() as u64), vats }
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
    // Rounding may put an edge just below itself.
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

#[cfg(test)]
mod tests {
    use super::*;

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
