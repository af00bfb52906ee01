//! Kept counts: what reports would otherwise have to count row by row. They are added up in memory and written once for
//! a batch, in its transaction.
//!
//! Triggers keep them up to date for what is registered, pruned or changed by hand, which is little at a time.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::SqliteConnection;

use super::as_json;
use super::error::StoreError;
use super::events::insert;
use crate::domain::activity::State;
use crate::domain::report::Findings;
use crate::domain::time::Timestamp;
use crate::store::record::PollRecord;

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// By how much a batch of decisions changes each count, by the keys of the tables.
#[derive(Debug, Default)]
pub(super) struct Tallies<'a> {
    states: BTreeMap<(i64, &'static str), i64>,
    conclusions: BTreeMap<(i64, &'static str), i64>,
    durations: BTreeMap<(String, i64), i64>,
    /// Passed checks. They are not rows of `checks`, whose triggers count the others.
    checks: BTreeMap<(i64, i64, &'static str), i64>,
    devices: BTreeMap<(i64, &'a str), i64>,
}

impl<'a> Tallies<'a> {
    /// `polls` are those whose rows were still as claimed.
    pub fn of(polls: &[&'a PollRecord]) -> Self {
        let mut tallies = Self::default();
        for poll in polls {
            let (was, becomes) = (poll.claimed.activity.state, poll.decision.state);
            if was != becomes {
                tallies.move_state(poll.claimed.vat_key, was, becomes);
            }
            if becomes.is_concluded() && !was.is_concluded() {
                tallies.conclude(poll);
            }
        }
        tallies
    }

    fn move_state(&mut self, vat_key: i64, was: State, becomes: State) {
        *self.states.entry((vat_key, was.label())).or_default() -= 1;
        *self.states.entry((vat_key, becomes.label())).or_default() += 1;
    }

    fn conclude(&mut self, poll: &'a PollRecord) {
        let (activity, at) = (&poll.claimed.activity, poll.decided_at.as_millis());
        let vat_key = poll.claimed.vat_key;
        let state = poll.decision.state;
        *self.conclusions.entry((at / HOUR_MS, state.label())).or_default() += 1;
        if state == State::Succeeded {
            let took_ms = at - activity.registered_at.as_millis();
            *self.durations.entry((month(poll.decided_at), rounded(took_ms))).or_default() += 1;
            if let Some(device_id) = &activity.device_id {
                *self.devices.entry((vat_key, device_id)).or_default() += 1;
            }
        }
        let reported = poll.decision.findings.iter().flat_map(Findings::reported_checks);
        for (position, check) in reported.filter(|(_, check)| check.only_passed()) {
            *self.checks.entry((vat_key, position, check.outcome.label())).or_default() += 1;
        }
    }

    /// Within a transaction: adds them.
    pub async fn write(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let states = "INSERT INTO tally_states (vat_id, state, n)
             SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> 1 FROM json_each(?1) WHERE true
             ON CONFLICT (vat_id, state) DO UPDATE SET n = n + excluded.n";
        let conclusions = "INSERT INTO tally_conclusions (hour, state, n)
             SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> 1 FROM json_each(?1) WHERE true
             ON CONFLICT (hour, state) DO UPDATE SET n = n + excluded.n";
        let durations = "INSERT INTO tally_durations (month, duration_ms, n)
             SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> 1 FROM json_each(?1) WHERE true
             ON CONFLICT (month, duration_ms) DO UPDATE SET n = n + excluded.n";
        let checks = "INSERT INTO tally_checks (vat_id, position, outcome, n)
             SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> 1 FROM json_each(?1) WHERE true
             ON CONFLICT (vat_id, position, outcome) DO UPDATE SET n = n + excluded.n";
        let devices = "UPDATE tally_devices SET n_succeeded = n_succeeded + (j.value ->> 1)
             FROM json_each(?1) j WHERE vat_id = j.value ->> '$[0][0]' AND device_id = j.value ->> '$[0][1]'";
        add(connection, states, self.states).await?;
        add(connection, conclusions, self.conclusions).await?;
        add(connection, durations, self.durations).await?;
        add(connection, checks, self.checks).await?;
        add(connection, devices, self.devices).await
    }
}

async fn add<K: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    counts: BTreeMap<K, i64>,
) -> Result<(), StoreError> {
    let rows: Vec<(K, i64)> = counts.into_iter().filter(|(_, n)| *n != 0).collect();
    if rows.is_empty() {
        return Ok(());
    }
    insert(connection, statement, as_json(&rows)?, "counting").await
}

/// Within a transaction, before an activity is watched again: takes it out of the counted conclusions.
pub(super) async fn uncount_conclusion(
    connection: &mut SqliteConnection,
    key: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE tally_conclusions SET n = n - 1 FROM activities a
         WHERE a.id = ?1 AND hour = a.concluded_at / 3600000 AND tally_conclusions.state = a.state",
    )
    .bind(key)
    .execute(connection)
    .await
    .map_err(StoreError::query("counting"))?;
    Ok(())
}

/// Within a transaction: counts that an activity of this VAT went from one state to another.
pub(super) async fn count_state(
    connection: &mut SqliteConnection,
    vat_key: i64,
    was: State,
    becomes: State,
) -> Result<(), StoreError> {
    let mut tallies = Tallies::default();
    tallies.move_state(vat_key, was, becomes);
    tallies.write(connection).await
}

/// As `strftime('%Y-%m', …)` has it.
fn month(at: Timestamp) -> String {
    at.to_string().chars().take("2026-05".len()).collect()
}

/// Rounded to three digits as `printf('%.2e', …)` does, with which pruning finds the row again.
fn rounded(took_ms: i64) -> i64 {
    let took_ms = took_ms.max(0);
    let unit = 10_i64.pow(took_ms.checked_ilog10().unwrap_or(0).saturating_sub(2));
    (took_ms + unit / 2) / unit * unit
}

/// For tests that write rows themselves: counts them.
#[cfg(test)]
pub(super) async fn recount(pool: &sqlx::SqlitePool) {
    for statement in [
        "DELETE FROM tally_states",
        "DELETE FROM tally_conclusions",
        "DELETE FROM tally_durations",
        "INSERT INTO tally_states SELECT vat_id, state, count(*) FROM activities GROUP BY vat_id, state",
        "INSERT INTO tally_conclusions SELECT concluded_at / 3600000, state, count(*) FROM activities
         WHERE concluded_at IS NOT NULL GROUP BY 1, 2",
        "INSERT INTO tally_durations
         SELECT strftime('%Y-%m', concluded_at / 1000, 'unixepoch'),
                CAST(CAST(printf('%.2e', max(concluded_at - registered_at, 0)) AS REAL) AS INTEGER), count(*)
         FROM activities WHERE state = 'SUCCEEDED' GROUP BY 1, 2",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test]
    async fn months_and_durations_are_those_of_the_statements_that_take_them_away_again() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut times: Vec<i64> = (0..12_000).collect();
        times.extend((0..5_000).map(|_| fastrand::i64(0..200_000_000_000)));
        times.extend([-5, 12_350, 12_450, 99_949, 99_950, 99_999, 123_500_000, 25_339_999_999_999]);
        for chunk in times.chunks(1_000) {
            let found: Vec<(i64, i64, String)> = sqlx::query_as(
                "SELECT value, CAST(CAST(printf('%.2e', max(value, 0)) AS REAL) AS INTEGER),
                        strftime('%Y-%m', max(value, 0) * 10 / 1000, 'unixepoch') FROM json_each(?1)",
            )
            .bind(as_json(chunk).unwrap())
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (ms, in_sql, month_in_sql) in found {
                assert_eq!(rounded(ms), in_sql, "{ms}");
                assert_eq!(month(Timestamp::from_millis(ms.max(0) * 10)), month_in_sql, "{ms}");
            }
        }
    }
}
