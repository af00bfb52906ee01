//! Logs and counts what a committed batch contains. Nothing is reported before it is committed.

use std::collections::HashMap;

use crate::domain::activity::State;
use crate::domain::decide::Transition;
use crate::domain::report::Findings;
use crate::domain::text::one_line;
use crate::monitor::Monitor;
use crate::store::{PollRecord, Record, Recorded};

/// Logs and counts what was recorded, except decisions that a command had superseded.
pub(super) fn report(batch: &[Record], recorded: &Recorded, monitor: &Monitor) {
    for poll in polls(batch).filter(|poll| !recorded.superseded.contains(&poll.claimed.key)) {
        log_stall(poll);
        if let Some(conclusion) = poll.decision.transition.as_ref().filter(|change| change.to.is_concluded())
        {
            log_conclusion(poll, conclusion);
            count_conclusion(monitor, poll, conclusion);
        }
    }
}

fn polls(batch: &[Record]) -> impl Iterator<Item = &PollRecord> {
    batch.iter().filter_map(|record| match record {
        Record::Poll(poll) => Some(&**poll),
        _ => None,
    })
}

fn count_conclusion(monitor: &Monitor, poll: &PollRecord, conclusion: &Transition) {
    let PollRecord { decision, decided_at, .. } = poll;
    let completed_at = decision.report.as_ref().and_then(|report| report.completed_at);
    monitor.concluded(conclusion.to, completed_at.map(|completed_at| decided_at.since(completed_at)));
    for check in decision.findings.iter().flat_map(Findings::all_checks) {
        monitor.checked(check.name, check.outcome.label());
    }
    let known: HashMap<_, _> = decision
        .explanations
        .iter()
        .map(|explained| ((&explained.rule, &explained.variant), explained.owner))
        .collect();
    for error in decision.findings.iter().flat_map(Findings::each_error) {
        if let Some(owner) = known.get(&(&error.rule, &error.variant)) {
            monitor.erred(*owner);
        }
    }
}

/// Says that an activity takes too long, once.
fn log_stall(poll: &PollRecord) {
    let PollRecord { claimed, decision, .. } = poll;
    let Some(stalled_at) = decision.stalled_at else { return };
    let activity = &claimed.activity;
    let (id, vat) = (&activity.activity_id, &activity.vat);
    let error = decision.error.as_deref().unwrap_or("upstream reports IN_PROGRESS");
    tracing::warn!(
        activity_id = %id,
        vat = %vat,
        age_s = stalled_at.since(activity.watched_from).as_secs(),
        "activity {id} of VAT {vat} has not concluded within schedule.stalled_after and is watched on; last: {}",
        one_line(error)
    );
}

/// Says how watching ended.
fn log_conclusion(poll: &PollRecord, conclusion: &Transition) {
    let activity = &poll.claimed.activity;
    let (id, vat, state) = (&activity.activity_id, &activity.vat, conclusion.to);
    match state {
        State::Succeeded => {
            tracing::info!(activity_id = %id, vat = %vat, state = state.label(), "activity {id} of VAT {vat} succeeded");
        }
        _ => tracing::warn!(
            activity_id = %id,
            vat = %vat,
            state = state.label(),
            "activity {id} of VAT {vat} is {state}: {}",
            one_line(&conclusion.reason)
        ),
    }
}
