//! One activity, from its registration on.

use maud::{Markup, Render, html};

use super::marks::{Icon, chip, class_of, icon, icon_of};
use super::text::{clock, code, cut, encoded, how_far, moment, prose, stored, theirs};
use super::{Frame, Here, action, deliveries, findings, layout, link_to_vat};
use crate::domain::activity::{State, Vat};
use crate::domain::lifecycle::{Happening, next_state};
use crate::domain::time::Timestamp;
use crate::store::{ActivityRow, History};
use crate::words::{Said, Words};

/// Longest fact, in characters. A user's own labels are no longer.
const MAX_FACT_CHARS: usize = 256;

/// Longest reason of a step in the timeline, in characters.
const MAX_REASON_CHARS: usize = 600;

/// What the reader's last action did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is due now.
    Due,
    /// It is no longer watched.
    Cancelled,
    /// It is watched again.
    Retried,
    /// Events are delivered once more.
    Redelivered,
}

impl Done {
    /// The word in the page's address.
    pub const fn label(self) -> &'static str {
        match self {
            Done::Due => "due",
            Done::Cancelled => "cancelled",
            Done::Retried => "retried",
            Done::Redelivered => "redelivered",
        }
    }

    /// What this word stands for.
    pub fn from_label(label: &str) -> Option<Done> {
        [Done::Due, Done::Cancelled, Done::Retried, Done::Redelivered]
            .into_iter()
            .find(|said| said.label() == label)
    }

    fn sentence(self, words: Words) -> Said<'static> {
        match self {
            Done::Due => words.said_due(),
            Done::Cancelled => words.said_cancelled(),
            Done::Retried => words.said_retried(),
            Done::Redelivered => words.said_redelivered(),
        }
    }
}

/// What was just done, at the top of the page.
pub(super) fn banner(frame: &Frame<'_>, said: Option<Done>) -> Markup {
    html! {
        @if let Some(said) = said {
            p.banner.well role="status" { (icon(Icon::Good)) span { (said.sentence(frame.words)) } }
        }
    }
}

/// An activity's page.
pub fn activity(frame: &Frame<'_>, history: &History, said: Option<Done>) -> Markup {
    let words = frame.words;
    let activity = &history.activity;
    let ActivityRow { vat, activity_id: id, state, .. } = activity;
    let named = words.state_word(*state).to_string();
    let main = html! {
        (banner(frame, said))
        header class={ "headline " (class_of(*state)) } {
            p.eyebrow {
                a href="/activities" { (words.nav_activities()) } " › "
                (words.vat_named(link_to_vat(vat))) " › " (code(id))
                @if Vat::parse(vat).is_ok_and(|vat| !vat.has_saudi_shape()) {
                    " " span.tag title=(words.vat_shape_rule(vat)) { (words.vat_shape_short()) }
                }
            }
            h1 data-state=(state.label()) {
                (icon(icon_of(*state)))
                span { strong { (theirs(&named)) } ": " (headline(frame, history)) }
            }
            (next_step(frame, activity))
            (actions(frame, activity))
        }
        (findings::checks(frame, history))
        (findings::listed_errors(frame, history))
        (findings::former_attempt(frame, history))
        (facts(frame, activity))
        (timeline(frame, history))
        (deliveries::deliveries(frame, history))
        (evidence(frame, activity))
    };
    layout(frame, &format!("{named} · {id}"), Here::Elsewhere, &main)
}

/// What the state means, after its word.
fn headline(frame: &Frame<'_>, history: &History) -> Markup {
    let words = frame.words;
    let ActivityRow { state, registered_at, concluded_at, .. } = history.activity;
    let took = concluded_at.map(|until| words.duration(until.since(registered_at))).unwrap_or_default();
    let added = how_far(frame, registered_at);
    match state {
        State::Pending => words.headline_pending(added).render(),
        State::InProgress => words.headline_in_progress(added).render(),
        State::Succeeded => words.headline_succeeded(took).render(),
        State::Failed => match findings::n_failed(history) {
            0 => words.headline_failed(took).render(),
            n => words.headline_failed_checks(n as u64, took).render(),
        },
        State::Rejected => words.headline_rejected(took).render(),
        State::Expired => words.headline_expired(took).render(),
        State::Cancelled => words.headline_cancelled(took).render(),
    }
}

/// Links to the evidence: everything about the activity as a file, for a ticket or an auditor.
fn evidence(frame: &Frame<'_>, activity: &ActivityRow) -> Markup {
    let words = frame.words;
    let (vat, id) = (&activity.vat, &activity.activity_id);
    let at =
        |format: &str| format!("/activities/{}/evidence?vat={}&format={format}", encoded(id), encoded(vat));
    html! {
        section aria-labelledby="evidence" {
            h2 #evidence { (words.evidence_title()) }
            p { (words.evidence_lead()) }
            p {
                a href=(at("html")) download { (words.evidence_html()) } " · "
                a href=(at("json")) download { (words.evidence_json()) }
            }
        }
    }
}

/// What to do next: the step of the conclusion, or what follows from the state alone.
fn next_step(frame: &Frame<'_>, activity: &ActivityRow) -> Markup {
    let words = frame.words;
    let step = match (activity.next_step_in(words.language()), activity.state) {
        (Some(step), _) => prose(step),
        (None, State::Failed) => words.advice_failed().render(),
        (None, State::Rejected) => words.advice_rejected().render(),
        (None, State::Expired | State::Cancelled) => words.advice_ended().render(),
        _ => return html! {},
    };
    html! { div.step { strong { (words.next_step_title()) } p { (step) } } }
}

fn actions(frame: &Frame<'_>, activity: &ActivityRow) -> Markup {
    let words = frame.words;
    let ActivityRow { vat, activity_id: id, state, .. } = activity;
    let form = |verb: &str, class: &str, label: Said<'_>| {
        let button = html! { button class=(class) type="submit" { (label) } };
        action(frame, &format!("/activities/{}/{verb}", encoded(id)), &[("vat", vat)], &button)
    };
    html! {
        @if !state.is_concluded() {
            div.actions {
                (form("poll", "main", words.do_poll()))
                details.danger {
                    summary { (words.do_cancel_first()) }
                    div {
                        p { (words.do_cancel_warning()) }
                        (form("cancel", "grave", words.do_cancel()))
                    }
                }
            }
        } @else if next_state(Some(*state), Happening::Retried).is_ok() {
            div.actions { (form("retry", "main", words.do_retry())) }
        }
    }
}

fn facts(frame: &Frame<'_>, activity: &ActivityRow) -> Markup {
    let words = frame.words;
    let said = |text: &Option<String>| {
        let said = text.as_deref().filter(|text| !text.is_empty());
        said.map(|text| theirs(&cut(text, MAX_FACT_CHARS)))
    };
    let at = |at: Option<Timestamp>| at.map(|at| moment(frame, at));
    let n = |n: u64| html! { (words.number(n)) };
    let facts: [(Said<'_>, Option<Markup>); 15] = [
        (words.col_device(), said(&activity.device_id)),
        (words.col_reference(), said(&activity.reference)),
        (words.fact_status(), said(&activity.upstream_status)),
        (words.fact_pcsid(), said(&activity.pcsid_generated)),
        (words.fact_counts(), counts(frame, activity)),
        (words.fact_created(), at(activity.upstream_created_at)),
        (words.fact_updated(), at(activity.upstream_updated_at)),
        (words.fact_completed(), at(activity.upstream_completed_at)),
        (words.fact_polls(), Some(n(activity.poll_count))),
        (words.fact_first_poll(), at(activity.first_polled_at)),
        (words.fact_last_poll(), at(activity.last_polled_at)),
        (words.fact_next_poll(), at(activity.next_poll_at)),
        (words.fact_http_status(), activity.last_http_status.map(|status| html! { (status) })),
        (words.fact_bad_answers(), Some(activity.consecutive_errors).filter(|errors| *errors > 0).map(n)),
        (
            words.fact_last_error(),
            activity.last_error.as_deref().map(|error| stored(frame, error, MAX_FACT_CHARS)),
        ),
    ];
    html! {
        section aria-labelledby="facts" {
            h2 #facts { (words.facts_title()) }
            dl.facts {
                @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
            }
        }
    }
}

/// Upstream's own counts.
fn counts(frame: &Frame<'_>, activity: &ActivityRow) -> Option<Markup> {
    let words = frame.words;
    let n = |count: Option<i64>| count.and_then(|n| u64::try_from(n).ok());
    let said: Vec<String> = [
        n(activity.total_count).map(|n| words.count_total(n)),
        n(activity.success_count).map(|n| words.count_succeeded(n)),
        n(activity.failure_count).map(|n| words.count_failed(n)),
    ]
    .into_iter()
    .flatten()
    .map(|said| said.to_string())
    .collect();
    (!said.is_empty()).then(|| html! { (said.join(&format!("{} ", words.list_comma()))) })
}

fn timeline(frame: &Frame<'_>, history: &History) -> Markup {
    let words = frame.words;
    let activity = &history.activity;
    let mut steps: Vec<(Timestamp, Markup)> = vec![(activity.registered_at, words.step_added().render())];
    if let Some(at) = activity.stalled_at {
        steps.push((at, html! { span.tag { (words.late()) } " " (words.step_stalled()) }));
    }
    for transition in &history.transitions {
        let (from, to) = (chip(frame, transition.from_state), chip(frame, transition.to_state));
        steps.push((
            transition.occurred_at,
            html! {
                (words.step_transition(from, to))
                @if let Some(status) = transition.http_status { " " span.soft dir="ltr" { "HTTP " (status) } }
                @if let Some(reason) = &transition.reason {
                    div.reason { (stored(frame, reason, MAX_REASON_CHARS)) }
                }
            },
        ));
    }
    if !activity.state.is_concluded() {
        if let Some(at) = activity.last_polled_at {
            steps.push((
                at,
                html! {
                    (words.step_polled(activity.poll_count))
                    @if let Some(error) = &activity.last_error {
                        div.reason.bad { (stored(frame, error, MAX_REASON_CHARS)) }
                    }
                },
            ));
        }
        if let Some(next) = activity.next_poll_at {
            let what = if next <= frame.now { words.step_due() } else { words.fact_next_poll() };
            steps.push((next.max(frame.now), what.render()));
        }
    }
    // Steps of the same moment stay in this order.
    steps.sort_by_key(|(at, _)| *at);
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { (words.timeline_title()) }
            ol.timeline {
                @for (at, what) in &steps {
                    li.ahead[*at > frame.now] {
                        span.moment { (clock(frame, *at)) " " span.soft { "(" (words.distance(frame.now, *at)) ")" } }
                        div { (what) }
                    }
                }
            }
        }
    }
}
