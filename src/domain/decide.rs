//! What one answer makes of an activity: its next state, its next poll and the events to announce.
//!
//! [`decide`] has four steps: what the answer itself changes (`Effect`), what the activity's age adds (`Change`), when
//! it is polled next (`Schedule`), and what is announced. Nothing has happened yet then: a [`Decision`] counts once the
//! recorder has stored it, with all that belongs to it, in one transaction.
//!
//! - The answer counts before the age: an activity that succeeds in the poll at its deadline has succeeded.
//! - A turn without a request, because a gate is closed, can only let the activity stall or expire.
//! - An answer about the credential or the VAT (401, 403, 429) changes neither state nor interval. It changes a gate
//!   (`domain::gate`).
//! - Refusals count in a row: any other answer, or none, begins the count anew.
//! - The lifecycle allows each change of state (`domain::lifecycle`); one that it forbids does not happen.
//! - Each poll is no later than the next deadline, so that stalling and expiring are noticed in time.

use std::sync::Arc;
use std::time::Duration;

use super::activity::{Activity, State};
use super::backoff::Backoff;
use super::catalogue::{Catalogue, Explanation};
use super::certificate::{self, Certificate, Obtained, Renewal};
use super::classify::{FinalBody, Observation, Verdict};
use super::event::{Event, EventKind, Standing};
use super::lifecycle::{Happening, IllegalChange, next_state};
use super::next_step::{NextStep, Withholding};
use super::report::{Findings, Report};
use super::text::one_line;
use super::time::{Timestamp, write_duration};

/// The settings that decisions follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// When to ask again.
    pub backoff: Backoff,
    /// Age at which an activity that has not concluded is reported as stalled, once.
    pub stalled_after: Duration,
    /// Age at which it expires.
    pub give_up_after: Duration,
    /// Refusals in a row that reject it; at least 1.
    pub reject_after: u32,
    /// What rules mean.
    pub catalogue: Arc<Catalogue>,
    /// How long certificates are valid, and when to remind of their end.
    pub renewal: Renewal,
}

/// What to record about an activity. A plain value: nothing has happened yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The state it is in now.
    pub state: State,
    /// The change of state, if there is one.
    pub transition: Option<Transition>,
    /// When to poll next; `None` once it is concluded.
    pub next_poll_at: Option<Timestamp>,
    /// The backoff's next interval.
    pub interval: Duration,
    /// Whether a request was made.
    pub polled: bool,
    /// Polls in a row without an answer that could be trusted.
    pub consecutive_errors: u32,
    /// Polls in a row that upstream refused.
    pub strikes: u32,
    /// HTTP status of this answer.
    pub http_status: Option<u16>,
    /// What was wrong with this answer; `None` if nothing was.
    pub error: Option<String>,
    /// Set when it stalls now.
    pub stalled_at: Option<Timestamp>,
    /// What upstream says of it, if that is new.
    pub report: Option<Report>,
    /// Checks and listed errors, set with a conclusion.
    pub findings: Option<Findings>,
    /// What is known of each cause in the findings, once each; set with them.
    pub explanations: Vec<Explanation>,
    /// What to do next, if there is something; set with a conclusion.
    pub next_step: Option<NextStep>,
    /// Upstream's final answer as it came, if one concluded the activity.
    pub final_body: Option<FinalBody>,
    /// The certificate that was obtained, set with a success.
    pub certificate: Option<Obtained>,
    /// What to announce, in this order.
    pub events: Vec<Event>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state it leaves.
    pub from: State,
    /// The state it enters.
    pub to: State,
    /// Why, for a reader of the timeline.
    pub reason: String,
}

/// What an observation changes, before the activity's age is considered.
struct Effect {
    happening: Happening,
    reason: String,
    error: Option<String>,
    report: Option<Report>,
    findings: Findings,
    final_body: Option<FinalBody>,
    strikes: u32,
    /// Whether the interval grows. It does not if the trouble is the credential's or the VAT's.
    grows: bool,
}

/// Decides what one answer, or one turn without a request, makes of an activity.
///
/// `observed` is the result of a request; `None` if the activity was due but could not be polled, so that only its age
/// can change anything. `withheld` is what keeps it from being polled, other than an outage; if it was polled all the
/// same, that was a probe.
///
/// Pure: the caller supplies the time and, as `luck` from 0 to 1, the randomness of the jitter. The activity
/// must not be concluded; one that is comes back unchanged and without a next poll.
pub fn decide(
    now: Timestamp,
    activity: &Activity,
    observed: Option<Observation>,
    withheld: Option<Withholding>,
    policy: &Policy,
    luck: f64,
) -> Decision {
    let withheld = withheld.or_else(|| observed.as_ref().and_then(refusal));
    // An answer for one that has concluded is ignored.
    let observed = observed.filter(|_| !activity.state.is_concluded());
    let polled = observed.is_some();
    let http_status = observed.as_ref().and_then(|observation| observation.http_status);
    let mut effect = match observed {
        None => Effect::unchanged(activity),
        Some(observation) => Effect::of(observation, activity, policy),
    };
    let change = Change::of(&effect, now, activity, policy);
    let schedule = Schedule::after(&change, polled, effect.grows, now, activity, policy, luck);
    let n_polls = activity.n_polls.saturating_add(u32::from(polled));
    let (explanations, next_step) = match change.concludes {
        true => explained(&mut effect.findings, change.state, withheld, &policy.catalogue),
        false => (Vec::new(), None),
    };
    let report = effect.report.as_ref().unwrap_or(&activity.report);
    let standing = Standing {
        activity,
        state: change.state,
        report,
        findings: &effect.findings,
        explanations: &explanations,
        next_step: next_step.as_ref(),
        n_polls,
        concluded_at: change.concludes.then_some(now),
    };
    let events = announced(&change, withheld, now, standing);
    let has_pcsid = change.concludes && change.state == State::Succeeded;
    let certificate = has_pcsid.then(|| obtained(activity, report, now, &policy.renewal));
    Decision {
        state: change.state,
        next_poll_at: schedule.next_poll_at,
        interval: schedule.interval,
        polled,
        consecutive_errors: match (&effect.error, polled) {
            (_, false) => activity.consecutive_errors,
            (Some(_), true) => activity.consecutive_errors.saturating_add(1),
            (None, true) => 0,
        },
        strikes: effect.strikes,
        http_status,
        error: effect.error,
        stalled_at: change.stalls.then_some(now),
        report: effect.report.filter(|report| *report != activity.report),
        explanations,
        next_step,
        final_body: effect.final_body.filter(|_| change.concludes && !change.expires),
        findings: change.concludes.then_some(effect.findings),
        certificate,
        events,
        transition: change.transition(activity.state, effect.reason, policy),
    }
}

/// Settles what came with a conclusion: what each of its errors means, and what to do next.
fn explained(
    findings: &mut Findings,
    state: State,
    withheld: Option<Withholding>,
    catalogue: &Catalogue,
) -> (Vec<Explanation>, Option<NextStep>) {
    findings.settle(catalogue);
    let explanations = findings.explained(catalogue);
    let next_step = NextStep::on_conclusion(state, findings, &explanations, withheld);
    (explanations, next_step)
}

/// What an answer that refuses the token or its user will hold.
fn refusal(observation: &Observation) -> Option<Withholding> {
    match observation.verdict {
        Verdict::Unauthorized => Some(Withholding::CredentialHeld),
        Verdict::Forbidden => Some(Withholding::VatHeld),
        _ => None,
    }
}

/// The state of an activity after an answer, its age included.
struct Change {
    state: State,
    /// It ends now.
    concludes: bool,
    /// It ends because of its age.
    expires: bool,
    /// It is late from now on.
    stalls: bool,
}

impl Change {
    fn of(effect: &Effect, now: Timestamp, activity: &Activity, policy: &Policy) -> Self {
        let age = now.since(activity.watched_from);
        // An illegal change changes nothing: for example an answer for one that has concluded.
        let observed = next_state(Some(activity.state), effect.happening).unwrap_or(activity.state);
        let expired = next_state(Some(observed), Happening::DeadlinePassed).ok();
        let expired = expired.filter(|_| age >= policy.give_up_after);
        let state = expired.unwrap_or(observed);
        Self {
            state,
            concludes: state.is_concluded() && !activity.state.is_concluded(),
            expires: expired.is_some(),
            stalls: !state.is_concluded() && activity.stalled_at.is_none() && age >= policy.stalled_after,
        }
    }

    /// The change from a state, if it is one; `reason` is what the answer says of it.
    fn transition(&self, from: State, reason: String, policy: &Policy) -> Option<Transition> {
        let reason = match self.expires {
            true => format!("not concluded {} after watching began", write_duration(policy.give_up_after)),
            false => reason,
        };
        (self.state != from).then_some(Transition { from, to: self.state, reason })
    }
}

/// When an activity is asked for next.
struct Schedule {
    next_poll_at: Option<Timestamp>,
    interval: Duration,
}

impl Schedule {
    fn after(
        change: &Change,
        polled: bool,
        grows: bool,
        now: Timestamp,
        activity: &Activity,
        policy: &Policy,
        luck: f64,
    ) -> Self {
        let step = policy.backoff.step(activity.interval, luck);
        let next_poll_at = match (change.state.is_concluded(), polled) {
            (true, _) => None,
            (false, true) => {
                Some(no_later_than_deadlines(now + step.wait, now, activity, change.stalls, policy))
            }
            // It was not polled, so it stays due.
            (false, false) => Some(now),
        };
        Self { next_poll_at, interval: if polled && grows { step.next_interval } else { activity.interval } }
    }
}

/// What is announced of a change, in this order.
fn announced(
    change: &Change,
    withheld: Option<Withholding>,
    now: Timestamp,
    standing: Standing<'_>,
) -> Vec<Event> {
    let mut events = Vec::new();
    if change.stalls {
        let next_step = NextStep::while_waiting(withheld, true);
        let standing = Standing { next_step: next_step.as_ref(), ..standing };
        events.push(Event::of_activity(EventKind::ActivityStalled, now, &standing));
    }
    if let Some(kind) = EventKind::on_entering(change.state).filter(|_| change.concludes) {
        events.push(Event::of_activity(kind, now, &standing));
    }
    events
}

/// The certificate that a success left on the device.
fn obtained(activity: &Activity, report: &Report, now: Timestamp, renewal: &Renewal) -> Obtained {
    let obtained_at = certificate::obtained_at(report.completed_at, now);
    let certificate = Certificate {
        vat: activity.vat.to_string(),
        device_id: activity.device_id.clone(),
        activity_id: Some(activity.activity_id.to_string()),
        obtained_at,
        expires_at: obtained_at + renewal.valid_for(),
        noted_at: now,
        reminded_before: None,
        is_end_announced: false,
    };
    Obtained::new(certificate, now, renewal)
}

/// Decides what an operator's `cancel` makes of an activity.
///
/// # Errors
/// If it is not being watched.
pub fn cancel(now: Timestamp, activity: &Activity) -> Result<Decision, IllegalChange> {
    let state = next_state(Some(activity.state), Happening::Cancelled)?;
    let findings = Findings::default();
    let standing = Standing {
        activity,
        state,
        report: &activity.report,
        findings: &findings,
        explanations: &[],
        next_step: None,
        n_polls: activity.n_polls,
        concluded_at: Some(now),
    };
    let events = vec![Event::of_activity(EventKind::ActivityCancelled, now, &standing)];
    Ok(Decision {
        state,
        transition: Some(Transition {
            from: activity.state,
            to: state,
            reason: "cancelled by an operator".to_owned(),
        }),
        next_poll_at: None,
        interval: activity.interval,
        polled: false,
        consecutive_errors: activity.consecutive_errors,
        strikes: activity.strikes,
        http_status: None,
        error: None,
        stalled_at: None,
        report: None,
        findings: Some(findings),
        explanations: Vec::new(),
        next_step: None,
        final_body: None,
        certificate: None,
        events,
    })
}

impl Effect {
    fn unchanged(activity: &Activity) -> Self {
        Self {
            happening: Happening::Nothing,
            reason: String::new(),
            error: None,
            report: None,
            findings: Findings::default(),
            final_body: None,
            strikes: activity.strikes,
            grows: false,
        }
    }

    /// Upstream refused the id once more.
    fn with_strike(self, findings: Findings, activity: &Activity, policy: &Policy) -> Self {
        let strikes = activity.strikes.saturating_add(1);
        let named = summary(&findings);
        let rejects = strikes >= policy.reject_after;
        Self {
            happening: if rejects { Happening::RefusedTooOften } else { Happening::Nothing },
            reason: format!("upstream refused the id {strikes} times in a row: {named}"),
            error: Some(format!("refused: {named}")),
            findings,
            strikes,
            ..self
        }
    }

    fn of(observation: Observation, activity: &Activity, policy: &Policy) -> Self {
        let Observation { verdict, final_body, .. } = observation;
        // Strikes count in a row: every other answer, and a poll without one, restarts the count.
        let untouched = Self { strikes: 0, grows: true, final_body, ..Self::unchanged(activity) };
        match verdict {
            Verdict::InProgress(report) => Self {
                happening: Happening::ReportedInProgress,
                reason: "upstream reports IN_PROGRESS".to_owned(),
                report: Some(report),
                ..untouched
            },
            Verdict::Succeeded(report, findings) => Self {
                happening: Happening::ReportedSucceeded,
                reason: "upstream reports that the PCSID was generated".to_owned(),
                report: Some(report),
                findings,
                ..untouched
            },
            Verdict::Failed(report, findings) => Self {
                happening: Happening::ReportedFailed,
                reason: match report.upstream_status.as_deref() {
                    Some("SUCCEEDED") => "upstream reports SUCCEEDED, but no PCSID was generated".to_owned(),
                    _ => "upstream reports FAILED".to_owned(),
                },
                report: Some(report),
                findings,
                ..untouched
            },
            Verdict::Strike(findings) => untouched.with_strike(findings, activity, policy),
            Verdict::Unauthorized => Self {
                error: Some("unauthorized: upstream refused the token (HTTP 401)".to_owned()),
                grows: false,
                ..untouched
            },
            Verdict::Forbidden => Self {
                error: Some("forbidden: the token's user is not Admin for this VAT (HTTP 403)".to_owned()),
                grows: false,
                ..untouched
            },
            Verdict::Throttled { retry_after } => Self {
                error: Some(match retry_after {
                    Some(pause) => format!("throttled: upstream asks to wait {}", write_duration(pause)),
                    None => "throttled: upstream asks to slow down".to_owned(),
                }),
                grows: false,
                ..untouched
            },
            Verdict::Transient { kind, detail, unknown_status } => Self {
                error: Some(format!("{}: {detail}", kind.label())),
                report: unknown_status
                    .map(|status| Report { upstream_status: Some(status), ..activity.report.clone() }),
                ..untouched
            },
        }
    }
}

/// The planned poll, or the next deadline if that comes first, so that stalling and expiring are noticed in time even
/// if polls are far apart.
fn no_later_than_deadlines(
    planned: Timestamp,
    now: Timestamp,
    activity: &Activity,
    stalls: bool,
    policy: &Policy,
) -> Timestamp {
    let stalled = stalls || activity.stalled_at.is_some();
    let deadlines = [
        (!stalled).then(|| activity.watched_from + policy.stalled_after),
        Some(activity.watched_from + policy.give_up_after),
    ];
    deadlines.into_iter().flatten().filter(|deadline| *deadline > now).fold(planned, Timestamp::min)
}

/// The first listed error on one line.
fn summary(findings: &Findings) -> String {
    let Some(first) = findings.errors.first() else { return "no reason given".to_owned() };
    let text = |part: &Option<String>| {
        one_line(&part.as_deref().unwrap_or_default().chars().take(200).collect::<String>())
    };
    let (code, message) = (text(&first.error_code), text(&first.error_message));
    let more = match findings.errors.len() + findings.errors_left_out as usize {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    format!("{code} {message}").trim().to_owned() + &more
}

#[cfg(test)]
mod tests;
