//! Group commit: whatever arrived during the last commit is written by the next one, in set-based statements.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use sqlx::SqliteConnection;
use tokio_util::task::AbortOnDropHandle;

use super::certificates::write_certificates;
use super::deliveries::write_deliveries;
use super::error::StoreError;
use super::events::{insert, write_events};
use super::explanations::write_explanations;
use super::gates::{note_request, write_gate};
use super::rows::{Row, with_rows};
use super::schedule::refresh_due;
use super::tallies::Tallies;
use super::{Store, as_json, clock, commit, millis};
use crate::domain::catalogue::Owner;
use crate::domain::classify::FinalBody;
use crate::domain::decide::Transition;
use crate::domain::report::Findings;
use crate::domain::routing::Route;
use crate::domain::rules::Severity;
use crate::domain::time::Timestamp;
use crate::store::deliveries::DeliveryRecord;
use crate::store::record::{Concluded, PollRecord, Record, Recorded};

/// Decisions in one set-based statement, so that its JSON text is bounded. A larger batch takes several statements.
const CHUNK: usize = 1_024;

/// A commit with so many events has some forty statements, and after each of them its task waits for a turn. So it gets a
/// thread on which it is alone. Answers that come one by one don't take the way there and back.
const MANY_EVENTS: usize = 8;

impl Store {
    pub async fn record(&self, batch: &Arc<[Record]>) -> Result<Recorded, StoreError> {
        let n_events: usize = batch.iter().map(|record| record.events().len()).sum();
        let thread = (n_events >= MANY_EVENTS).then(|| self.commits.handle()).flatten();
        let recorded = match thread {
            Some(thread) => {
                let (store, batch) = (self.clone(), Arc::clone(batch));
                let recording = thread.spawn(async move { store.try_record(&batch).await });
                match AbortOnDropHandle::new(recording).await {
                    Ok(recorded) => recorded,
                    Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                    // It is only ended together with this task.
                    Err(_) => std::future::pending().await,
                }
            }
            None => self.try_record(batch).await,
        };
        // Closing the last connection to a database that is lost would write to it.
        if recorded.as_ref().is_err_and(|err| !err.forbids_writing()) {
            self.renew_writer().await;
        }
        recorded
    }

    pub async fn can_write(&self) -> Result<(), StoreError> {
        let tried = match self.begin().await {
            Ok(transaction) => transaction.rollback().await.map_err(StoreError::query("beginning to write")),
            Err(err) => Err(err),
        };
        if tried.as_ref().is_err_and(|err| !err.forbids_writing()) {
            self.renew_writer().await;
        }
        tried
    }

    /// Replaces the writer's connection. After a commit that failed, for example on a full disk, SQLite has ended the
    /// transaction, but the connection still counts it as open and would never begin another.
    async fn renew_writer(&self) {
        if let Ok(connection) = self.writer.acquire().await {
            // It failed already; how it is closed does not matter.
            let _ = connection.close().await;
        }
    }

    async fn try_record(&self, batch: &[Record]) -> Result<Recorded, StoreError> {
        let mut transaction = self.begin().await?;
        let mut recorded = Recorded::default();
        let mut polls: Vec<&PollRecord> = Vec::new();
        let mut deliveries: Vec<&DeliveryRecord> = Vec::new();
        for record in batch {
            match record {
                Record::Poll(poll) => polls.push(poll),
                Record::Delivery(delivery) => deliveries.push(delivery),
                Record::Gate(change) => {
                    recorded.n_events += usize::from(change.event.is_some());
                    let keys = write_gate(&mut transaction, &self.routes, change).await?;
                    recorded.event_keys.extend(keys);
                }
                Record::ClockJump(jump) => {
                    // What was decided before the jump is written before it.
                    recorded
                        .add(write_polls(&mut transaction, &self.routes, &std::mem::take(&mut polls)).await?);
                    write_deliveries(&mut transaction, &std::mem::take(&mut deliveries)).await?;
                    clock::shift(&mut transaction, jump).await?;
                }
                Record::Heartbeat(now) => clock::beat(&mut transaction, *now).await?,
                Record::Request { credential, at } => note_request(&mut transaction, credential, *at).await?,
            }
        }
        recorded.add(write_polls(&mut transaction, &self.routes, &polls).await?);
        write_deliveries(&mut transaction, &deliveries).await?;
        if let Some(identity) = &self.file_identity {
            identity.mark_again(&mut transaction).await?;
        }
        commit(transaction).await?;
        Ok(recorded)
    }
}

/// Within a transaction: writes decisions whose rows are as they were when claimed.
pub(super) async fn write_polls<P: std::borrow::Borrow<PollRecord>>(
    connection: &mut SqliteConnection,
    routes: &[Route],
    polls: &[P],
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    for chunk in polls.chunks(CHUNK) {
        let chunk: Vec<&PollRecord> = chunk.iter().map(std::borrow::Borrow::borrow).collect();
        let applied = write_schedules(connection, &chunk).await?;
        if applied.len() < chunk.len() {
            let keys: HashSet<i64> = applied.iter().map(|poll| poll.claimed.key).collect();
            let superseded = chunk.iter().map(|poll| poll.claimed.key).filter(|key| !keys.contains(key));
            recorded.superseded.extend(superseded);
        }
        let vat_keys: HashSet<i64> = applied.iter().map(|poll| poll.claimed.vat_key).collect();
        refresh_due(connection, &as_json(&vat_keys.into_iter().collect::<Vec<_>>())?).await?;
        write_activities(connection, &applied).await?;
        write_transitions(connection, &applied).await?;
        Tallies::of(&applied).write(connection).await?;
        write_findings(connection, &applied).await?;
        write_explanations(connection, applied.iter().flat_map(|poll| &poll.decision.explanations)).await?;
        write_final_answers(connection, &applied).await?;
        write_certificates(connection, &applied).await?;
        let events: Vec<_> = applied
            .iter()
            .flat_map(|poll| poll.decision.events.iter().map(|event| (Some(poll.claimed.key), event)))
            .collect();
        recorded.n_events += events.len();
        recorded.event_keys.extend(write_events(connection, routes, &events).await?);
    }
    Ok(recorded)
}

/// Returns the decisions that count: those whose rows still have the revision that they were claimed with.
async fn write_schedules<'a>(
    connection: &mut SqliteConnection,
    polls: &[&'a PollRecord],
) -> Result<Vec<&'a PollRecord>, StoreError> {
    let operation = "recording polls";
    savepoint(connection, "SAVEPOINT polls", operation).await?;
    let mut applied = polls.to_vec();
    if update_schedules(connection, &applied).await? < polls.len() {
        // Rare: a command has changed some of these rows since they were claimed. Which ones is only asked then.
        savepoint(connection, "ROLLBACK TO polls", operation).await?;
        let rows: Vec<_> = polls.iter().map(|poll| (poll.claimed.key, poll.claimed.revision)).collect();
        let unchanged: Vec<i64> = sqlx::query_scalar(
            "SELECT s.id FROM json_each(?1) j JOIN schedules s ON s.id = j.value ->> 0 AND s.revision = j.value ->> 1",
        )
        .bind(as_json(&rows)?)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::query(operation))?;
        let unchanged: HashSet<i64> = unchanged.into_iter().collect();
        applied.retain(|poll| unchanged.contains(&poll.claimed.key));
        update_schedules(connection, &applied).await?;
    }
    savepoint(connection, "RELEASE polls", operation).await?;
    Ok(applied)
}

async fn savepoint(
    connection: &mut SqliteConnection,
    statement: &'static str,
    operation: &'static str,
) -> Result<(), StoreError> {
    sqlx::query(statement).execute(connection).await.map_err(StoreError::query(operation))?;
    Ok(())
}

/// Returns how many rows still had the revision that they were claimed with.
///
/// The one statement that every poll needs.
async fn update_schedules(
    connection: &mut SqliteConnection,
    polls: &[&PollRecord],
) -> Result<usize, StoreError> {
    let statement = "UPDATE schedules SET
             revision = schedules.revision + 1,
             next_poll_at = j.next_poll_at,
             interval_ms = j.interval_ms,
             poll_count = poll_count + polled,
             consecutive_errors = errors,
             strikes = j.strikes,
             first_polled_at = CASE WHEN polled THEN coalesce(first_polled_at, at) ELSE first_polled_at END,
             last_polled_at = CASE WHEN polled THEN at ELSE last_polled_at END,
             last_http_status = CASE WHEN polled THEN http_status ELSE last_http_status END,
             last_error = CASE WHEN polled THEN error ELSE last_error END
         FROM j WHERE schedules.id = j.id AND schedules.revision = j.revision";
    let columns = "id, revision, next_poll_at, interval_ms, polled, errors, strikes, at, http_status, error";
    let bind = |row: &mut Row, poll: Option<&&PollRecord>| {
        let decision = poll.map(|poll| &poll.decision);
        row.push_bind(poll.map(|poll| poll.claimed.key))
            .push_bind(poll.map(|poll| poll.claimed.revision))
            .push_bind(decision.and_then(|decision| decision.next_poll_at).map(Timestamp::as_millis))
            .push_bind(decision.map(|decision| millis(decision.interval)))
            .push_bind(decision.map(|decision| decision.polled))
            .push_bind(decision.map(|decision| decision.consecutive_errors))
            .push_bind(decision.map(|decision| decision.strikes))
            .push_bind(poll.map(|poll| poll.decided_at.as_millis()))
            .push_bind(decision.and_then(|decision| decision.http_status))
            .push_text(decision.and_then(|decision| decision.error.as_deref()));
    };
    let written = with_rows(connection, columns, statement, polls, bind, "recording polls").await?;
    Ok(usize::try_from(written.n_changed).unwrap_or(usize::MAX))
}

/// Writes the columns that few polls change.
async fn write_activities(
    connection: &mut SqliteConnection,
    polls: &[&PollRecord],
) -> Result<(), StoreError> {
    let changed = polls.iter().copied().filter(|poll| {
        let decision = &poll.decision;
        decision.transition.is_some() || decision.report.is_some() || decision.stalled_at.is_some()
    });
    let statement = "UPDATE activities SET
             state = j.state,
             stalled_at = coalesce(j.stalled_at, activities.stalled_at),
             concluded_at = j.concluded_at,
             upstream_status = j.upstream_status,
             pcsid_generated = j.pcsid_generated,
             total_count = j.total_count,
             success_count = j.success_count,
             failure_count = j.failure_count,
             upstream_created_at = j.created_at,
             upstream_updated_at = j.updated_at,
             upstream_completed_at = j.completed_at,
             next_step = j.next_step,
             next_step_ar = j.next_step_ar,
             next_step_owner = j.next_step_owner,
             next_step_kind = j.next_step_kind,
             errors_left_out = j.errors_left_out,
             passed_checks = j.passed_checks
         FROM j WHERE activities.id = j.id";
    let columns = "id, state, stalled_at, concluded_at, upstream_status, pcsid_generated, total_count, success_count,
         failure_count, created_at, updated_at, completed_at, next_step, next_step_ar, next_step_owner, next_step_kind,
         errors_left_out, passed_checks";
    let time = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    let bind = |row: &mut Row, poll: Option<&&PollRecord>| {
        let decision = poll.map(|poll| &poll.decision);
        let report = poll.map(|poll| poll.decision.report.as_ref().unwrap_or(&poll.claimed.activity.report));
        let step = decision.and_then(|decision| decision.next_step.as_ref());
        let concluded = poll.filter(|poll| poll.decision.state.is_concluded());
        let findings = decision.and_then(|decision| decision.findings.as_ref());
        row.push_bind(poll.map(|poll| poll.claimed.key))
            .push_text(decision.map(|decision| decision.state.label()))
            .push_bind(time(decision.and_then(|decision| decision.stalled_at)))
            .push_bind(concluded.map(|poll| poll.decided_at.as_millis()))
            .push_text(report.and_then(|report| report.upstream_status.as_deref()))
            .push_text(report.and_then(|report| report.pcsid_generated.as_deref()))
            .push_bind(report.and_then(|report| report.total_count))
            .push_bind(report.and_then(|report| report.success_count))
            .push_bind(report.and_then(|report| report.failure_count))
            .push_bind(time(report.and_then(|report| report.created_at)))
            .push_bind(time(report.and_then(|report| report.updated_at)))
            .push_bind(time(report.and_then(|report| report.completed_at)))
            .push_text(step.map(|step| step.text.en.as_str()))
            .push_text(step.map(|step| step.text.ar.as_str()))
            .push_text(step.and_then(|step| step.owner).map(Owner::label))
            .push_text(step.map(|step| step.kind))
            .push_bind(findings.map_or(0, |findings| findings.errors_left_out))
            .push_bind(findings.map_or(0, Findings::passed_checks));
    };
    let rows: Vec<_> = changed.collect();
    with_rows(connection, columns, statement, &rows, bind, "recording states").await?;
    Ok(())
}

async fn write_transitions(
    connection: &mut SqliteConnection,
    polls: &[&PollRecord],
) -> Result<(), StoreError> {
    let rows: Vec<_> =
        polls.iter().filter_map(|poll| Some((*poll, poll.decision.transition.as_ref()?))).collect();
    let statement = "INSERT INTO transitions (activity, seq, from_state, to_state, occurred_at, http_status, reason)
         SELECT j.activity, 1 + (SELECT coalesce(max(t.seq), 0) FROM transitions t WHERE t.activity = j.activity),
                j.from_state, j.to_state, j.at, j.http_status, j.reason
         FROM j WHERE j.activity IS NOT NULL";
    let columns = "activity, from_state, to_state, at, http_status, reason";
    let bind = |row: &mut Row, one: Option<&(&PollRecord, &Transition)>| {
        row.push_bind(one.map(|(poll, _)| poll.claimed.key))
            .push_text(one.map(|(_, transition)| transition.from.label()))
            .push_text(one.map(|(_, transition)| transition.to.label()))
            .push_bind(one.map(|(poll, _)| poll.decided_at.as_millis()))
            .push_bind(one.and_then(|(poll, _)| poll.decision.http_status))
            .push_text(one.map(|(_, transition)| transition.reason.as_str()));
    };
    with_rows(connection, columns, statement, &rows, bind, "recording transitions").await?;
    Ok(())
}

async fn write_final_answers(
    connection: &mut SqliteConnection,
    polls: &[&PollRecord],
) -> Result<(), StoreError> {
    let rows: Vec<_> =
        polls.iter().filter_map(|poll| Some((*poll, poll.decision.final_body.as_ref()?))).collect();
    let statement = "INSERT OR REPLACE INTO final_answers (activity, answered_at, http_status, body, is_cut)
         SELECT activity, answered_at, http_status, body, is_cut FROM j WHERE activity IS NOT NULL";
    let columns = "activity, answered_at, http_status, body, is_cut";
    let bind = |row: &mut Row, one: Option<&(&PollRecord, &FinalBody)>| {
        row.push_bind(one.map(|(poll, _)| poll.claimed.key))
            .push_bind(one.map(|(poll, _)| poll.decided_at.as_millis()))
            .push_bind(one.and_then(|(poll, _)| poll.decision.http_status))
            .push_text(one.map(|(_, body)| body.text.as_str()))
            .push_bind(one.map(|(_, body)| body.is_cut));
    };
    with_rows(connection, columns, statement, &rows, bind, "recording final answers").await?;
    Ok(())
}

/// Writes what came with conclusions: checks, the single errors in their texts, and listed errors.
async fn write_findings(connection: &mut SqliteConnection, polls: &[&PollRecord]) -> Result<(), StoreError> {
    let concluded = Concluded::of(polls);
    let checks: Vec<_> = concluded
        .checks()
        .map(|(key, position, check)| {
            (key, position, check.outcome.label(), &check.message, check.errors_left_out)
        })
        .collect();
    let check_errors: Vec<_> = concluded
        .check_errors()
        .map(|(key, position, nth, error)| {
            let severity = error.severity.map(Severity::label);
            (key, position, nth, &error.rule, &error.message, severity, &error.variant)
        })
        .collect();
    let errors: Vec<_> = concluded
        .listed_errors()
        .map(|(key, nth, error)| (key, nth, &error.error_code, &error.error_message, &error.error_source))
        .collect();
    let rules: Vec<_> = concluded
        .rules_of_listed_errors()
        .map(|(key, position, entry, rule)| {
            (key, position, entry, &rule.rule, rule.severity.map(Severity::label), &rule.variant)
        })
        .collect();
    insert_all(
        connection,
        "INSERT INTO checks (activity, position, outcome, message, errors_left_out)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)",
        &checks,
        "recording checks",
    )
    .await?;
    insert_all(
        connection,
        "INSERT INTO check_errors (activity, check_position, position, rule, message, severity, variant)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
         FROM json_each(?1)",
        &check_errors,
        "recording check errors",
    )
    .await?;
    insert_all(
        connection,
        "INSERT INTO errors (activity, position, error_code, error_message, error_source)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)",
        &errors,
        "recording listed errors",
    )
    .await?;
    insert_all(
        connection,
        "INSERT INTO error_rules (activity, position, entry, rule, severity, variant)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1)",
        &rules,
        "recording the listed errors' rules",
    )
    .await
}

async fn insert_all<T: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
    operation: &'static str,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    insert(connection, statement, as_json(rows)?, operation).await
}
