//! Group commit: whatever arrived during the last commit is written by the next one, in set-based statements.

use std::collections::{BTreeSet, HashSet};

use sqlx::PgConnection;

use super::certificates::write_certificates;
use super::deliveries::write_deliveries;
use super::error::StoreError;
use super::events::write_events;
use super::explanations::write_explanations;
use super::gates::{note_request, write_gate};
use super::membership::EVENTS;
use super::schedule::refresh_due;
use super::{Store, clock, millis, notify, optional_text, text};
use crate::domain::catalogue::Owner;
use crate::domain::report::Findings;
use crate::domain::routing::Route;
use crate::domain::rules::Severity;
use crate::domain::time::Timestamp;
use crate::store::deliveries::DeliveryRecord;
use crate::store::record::{Concluded, PollRecord, Record, Recorded};

/// Decisions in one set-based statement; a batch of more takes several statements.
const CHUNK: usize = 1_024;

impl Store {
    pub async fn record(&self, batch: &[Record]) -> Result<Recorded, StoreError> {
        self.session()?.write(async |connection| write(connection, self.routes(), batch).await).await
    }
}

async fn write(
    connection: &mut PgConnection,
    routes: &[Route],
    batch: &[Record],
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    let mut polls: Vec<&PollRecord> = Vec::new();
    let mut deliveries: Vec<&DeliveryRecord> = Vec::new();
    for record in batch {
        match record {
            Record::Poll(poll) => polls.push(poll),
            Record::Delivery(delivery) => deliveries.push(delivery),
            Record::Gate(change) => {
                recorded.n_events += usize::from(change.event.is_some());
                write_gate(connection, routes, change).await?;
            }
            Record::ClockJump(jump) => {
                // What was decided before the jump is written before it.
                recorded.add(write_polls(connection, routes, &std::mem::take(&mut polls)).await?);
                write_deliveries(connection, &std::mem::take(&mut deliveries)).await?;
                clock::shift(connection, jump).await?;
            }
            Record::Heartbeat(now) => clock::beat(&mut *connection, *now)
                .await
                .map_err(StoreError::query("recording the heartbeat"))?,
            Record::Request { credential, at } => note_request(connection, credential, *at).await?,
        }
    }
    recorded.add(write_polls(connection, routes, &polls).await?);
    write_deliveries(connection, &deliveries).await?;
    if recorded.n_events > 0 {
        notify(connection, EVENTS).await?;
    }
    Ok(recorded)
}

/// Within a transaction: writes decisions whose rows are as they were when claimed.
pub(super) async fn write_polls(
    connection: &mut PgConnection,
    routes: &[Route],
    polls: &[&PollRecord],
) -> Result<Recorded, StoreError> {
    let mut recorded = Recorded::default();
    for chunk in polls.chunks(CHUNK) {
        let applied = write_schedules(connection, chunk).await?;
        if applied.len() < chunk.len() {
            let keys: HashSet<i64> = applied.iter().map(|poll| poll.claimed.key).collect();
            let superseded = chunk.iter().map(|poll| poll.claimed.key).filter(|key| !keys.contains(key));
            recorded.superseded.extend(superseded);
        }
        let vat_keys: BTreeSet<i64> = applied.iter().map(|poll| poll.claimed.vat_key).collect();
        refresh_due(connection, &vat_keys.into_iter().collect::<Vec<_>>()).await?;
        write_activities(connection, &applied).await?;
        write_transitions(connection, &applied).await?;
        write_findings(connection, &applied).await?;
        write_explanations(connection, applied.iter().flat_map(|poll| &poll.decision.explanations)).await?;
        write_final_answers(connection, &applied).await?;
        write_certificates(connection, &applied).await?;
        let events: Vec<_> = applied
            .iter()
            .flat_map(|poll| poll.decision.events.iter().map(|event| (Some(poll.claimed.key), event)))
            .collect();
        write_events(connection, routes, &events).await?;
        recorded.n_events += events.len();
    }
    Ok(recorded)
}

/// One column of a statement's rows.
fn column<T, R>(rows: &[T], of: impl Fn(&T) -> R) -> Vec<R> {
    rows.iter().map(of).collect()
}

/// Returns the decisions that count: those whose rows still have the revision that they were claimed with.
async fn write_schedules<'a>(
    connection: &mut PgConnection,
    polls: &[&'a PollRecord],
) -> Result<Vec<&'a PollRecord>, StoreError> {
    if polls.is_empty() {
        return Ok(Vec::new());
    }
    let updated: Vec<i64> = sqlx::query_scalar(
        "UPDATE schedules s SET
             revision = s.revision + 1,
             next_poll_at = j.next_poll_at,
             interval_ms = j.interval_ms,
             poll_count = s.poll_count + j.polled,
             consecutive_errors = j.errors,
             strikes = j.strikes,
             first_polled_at = CASE WHEN j.polled > 0 THEN coalesce(s.first_polled_at, j.at) ELSE s.first_polled_at END,
             last_polled_at = CASE WHEN j.polled > 0 THEN j.at ELSE s.last_polled_at END,
             last_http_status = CASE WHEN j.polled > 0 THEN j.http_status ELSE s.last_http_status END,
             last_error = CASE WHEN j.polled > 0 THEN j.error ELSE s.last_error END
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::text[])
              AS j (id, revision, next_poll_at, interval_ms, polled, errors, strikes, at, http_status, error)
         WHERE s.id = j.id AND s.revision = j.revision
         RETURNING s.id",
    )
    .bind(column(polls, |poll| poll.claimed.key))
    .bind(column(polls, |poll| poll.claimed.revision))
    .bind(column(polls, |poll| poll.decision.next_poll_at.map(Timestamp::as_millis)))
    .bind(column(polls, |poll| millis(poll.decision.interval)))
    .bind(column(polls, |poll| i64::from(poll.decision.polled)))
    .bind(column(polls, |poll| i64::from(poll.decision.consecutive_errors)))
    .bind(column(polls, |poll| i64::from(poll.decision.strikes)))
    .bind(column(polls, |poll| poll.decided_at.as_millis()))
    .bind(column(polls, |poll| poll.decision.http_status.map(i64::from)))
    .bind(column(polls, |poll| optional_text(poll.decision.error.as_deref())))
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("recording polls"))?;
    if updated.len() == polls.len() {
        return Ok(polls.to_vec());
    }
    let updated: HashSet<i64> = updated.into_iter().collect();
    Ok(polls.iter().copied().filter(|poll| updated.contains(&poll.claimed.key)).collect())
}

/// Writes the columns that few polls change.
async fn write_activities(connection: &mut PgConnection, polls: &[&PollRecord]) -> Result<(), StoreError> {
    let polls: Vec<&PollRecord> = polls
        .iter()
        .copied()
        .filter(|poll| {
            let decision = &poll.decision;
            decision.transition.is_some() || decision.report.is_some() || decision.stalled_at.is_some()
        })
        .collect();
    if polls.is_empty() {
        return Ok(());
    }
    let report = |poll: &&PollRecord| {
        poll.decision.report.clone().unwrap_or_else(|| poll.claimed.activity.report.clone())
    };
    let reports = column(&polls, report);
    let time = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    let step = |of: fn(&crate::domain::next_step::NextStep) -> Option<String>| {
        column(&polls, |poll| poll.decision.next_step.as_ref().and_then(of))
    };
    sqlx::query(
        "UPDATE activities a SET
             state = j.state,
             stalled_at = coalesce(j.stalled_at, a.stalled_at),
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
         FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],
                     $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[],
                     $15::text[], $16::text[], $17::bigint[], $18::bigint[])
              AS j (id, state, stalled_at, concluded_at, upstream_status, pcsid_generated, total_count, success_count,
                    failure_count, created_at, updated_at, completed_at, next_step, next_step_ar, next_step_owner, next_step_kind,
                    errors_left_out,
                    passed_checks)
         WHERE a.id = j.id",
    )
    .bind(column(&polls, |poll| poll.claimed.key))
    .bind(column(&polls, |poll| poll.decision.state.label()))
    .bind(column(&polls, |poll| time(poll.decision.stalled_at)))
    .bind(column(&polls, |poll| poll.decision.state.is_concluded().then(|| poll.decided_at.as_millis())))
    .bind(column(&reports, |report| optional_text(report.upstream_status.as_deref())))
    .bind(column(&reports, |report| optional_text(report.pcsid_generated.as_deref())))
    .bind(column(&reports, |report| report.total_count))
    .bind(column(&reports, |report| report.success_count))
    .bind(column(&reports, |report| report.failure_count))
    .bind(column(&reports, |report| time(report.created_at)))
    .bind(column(&reports, |report| time(report.updated_at)))
    .bind(column(&reports, |report| time(report.completed_at)))
    .bind(step(|step| Some(text(&step.text.en))))
    .bind(step(|step| Some(text(&step.text.ar))))
    .bind(step(|step| step.owner.map(|owner| Owner::label(owner).to_owned())))
    .bind(step(|step| Some(step.kind.to_string())))
    .bind(column(&polls, |poll| {
        poll.decision.findings.as_ref().map_or(0, |findings| i64::from(findings.errors_left_out))
    }))
    .bind(column(&polls, |poll| poll.decision.findings.as_ref().map_or(0, Findings::passed_checks)))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording states"))?;
    Ok(())
}

async fn write_transitions(connection: &mut PgConnection, polls: &[&PollRecord]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        polls.iter().filter_map(|poll| Some((*poll, poll.decision.transition.as_ref()?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO transitions (activity, seq, from_state, to_state, occurred_at, http_status, reason)
         SELECT j.activity,
                1 + (SELECT coalesce(max(t.seq), 0) FROM transitions t WHERE t.activity = j.activity),
                j.from_state, j.to_state, j.at, j.http_status, j.reason
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
              AS j (activity, from_state, to_state, at, http_status, reason)",
    )
    .bind(column(&rows, |(poll, _)| poll.claimed.key))
    .bind(column(&rows, |(_, transition)| transition.from.label()))
    .bind(column(&rows, |(_, transition)| transition.to.label()))
    .bind(column(&rows, |(poll, _)| poll.decided_at.as_millis()))
    .bind(column(&rows, |(poll, _)| poll.decision.http_status.map(i64::from)))
    .bind(column(&rows, |(_, transition)| text(&transition.reason)))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording transitions"))?;
    Ok(())
}

async fn write_final_answers(connection: &mut PgConnection, polls: &[&PollRecord]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        polls.iter().filter_map(|poll| Some((*poll, poll.decision.final_body.as_ref()?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO final_answers (activity, answered_at, http_status, body, is_cut)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])
         ON CONFLICT (activity) DO UPDATE SET
             answered_at = excluded.answered_at, http_status = excluded.http_status, body = excluded.body,
             is_cut = excluded.is_cut",
    )
    .bind(column(&rows, |(poll, _)| poll.claimed.key))
    .bind(column(&rows, |(poll, _)| poll.decided_at.as_millis()))
    .bind(column(&rows, |(poll, _)| poll.decision.http_status.map(i64::from)))
    .bind(column(&rows, |(_, body)| text(&body.text)))
    .bind(column(&rows, |(_, body)| i64::from(body.is_cut)))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording final answers"))?;
    Ok(())
}

/// Writes what came with conclusions.
async fn write_findings(connection: &mut PgConnection, polls: &[&PollRecord]) -> Result<(), StoreError> {
    let concluded = Concluded::of(polls);
    write_checks(connection, &concluded).await?;
    write_check_errors(connection, &concluded).await?;
    write_listed_errors(connection, &concluded).await?;
    write_rules_of_listed_errors(connection, &concluded).await
}

async fn write_checks(connection: &mut PgConnection, concluded: &Concluded<'_>) -> Result<(), StoreError> {
    let checks: Vec<_> = concluded.checks().collect();
    if checks.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO checks (activity, position, outcome, message, errors_left_out)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])",
    )
    .bind(column(&checks, |(key, ..)| *key))
    .bind(column(&checks, |(_, position, _)| *position))
    .bind(column(&checks, |(.., check)| check.outcome.label()))
    .bind(column(&checks, |(.., check)| optional_text(check.message.as_deref())))
    .bind(column(&checks, |(.., check)| i64::from(check.errors_left_out)))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording checks"))?;
    Ok(())
}

async fn write_check_errors(
    connection: &mut PgConnection,
    concluded: &Concluded<'_>,
) -> Result<(), StoreError> {
    let errors: Vec<_> = concluded.check_errors().collect();
    if errors.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO check_errors (activity, check_position, position, rule, message, severity, variant)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                              $7::text[])",
    )
    .bind(column(&errors, |(key, ..)| *key))
    .bind(column(&errors, |(_, position, ..)| *position))
    .bind(column(&errors, |(_, _, nth, _)| *nth))
    .bind(column(&errors, |(.., error)| optional_text(error.rule.as_deref())))
    .bind(column(&errors, |(.., error)| text(&error.message)))
    .bind(column(&errors, |(.., error)| error.severity.map(Severity::label)))
    .bind(column(&errors, |(.., error)| optional_text(error.variant.as_deref())))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording check errors"))?;
    Ok(())
}

async fn write_listed_errors(
    connection: &mut PgConnection,
    concluded: &Concluded<'_>,
) -> Result<(), StoreError> {
    let errors: Vec<_> = concluded.listed_errors().collect();
    if errors.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO errors (activity, position, error_code, error_message, error_source)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])",
    )
    .bind(column(&errors, |(key, ..)| *key))
    .bind(column(&errors, |(_, nth, _)| *nth))
    .bind(column(&errors, |(.., error)| optional_text(error.error_code.as_deref())))
    .bind(column(&errors, |(.., error)| optional_text(error.error_message.as_deref())))
    .bind(column(&errors, |(.., error)| optional_text(error.error_source.as_deref())))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording listed errors"))?;
    Ok(())
}

async fn write_rules_of_listed_errors(
    connection: &mut PgConnection,
    concluded: &Concluded<'_>,
) -> Result<(), StoreError> {
    let rules: Vec<_> = concluded.rules_of_listed_errors().collect();
    if rules.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO error_rules (activity, position, entry, rule, severity, variant)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])",
    )
    .bind(column(&rules, |(key, ..)| *key))
    .bind(column(&rules, |(_, position, ..)| *position))
    .bind(column(&rules, |(_, _, entry, _)| *entry))
    .bind(column(&rules, |(.., rule)| optional_text(rule.rule.as_deref())))
    .bind(column(&rules, |(.., rule)| rule.severity.map(Severity::label)))
    .bind(column(&rules, |(.., rule)| optional_text(rule.variant.as_deref())))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording the listed errors' rules"))?;
    Ok(())
}
