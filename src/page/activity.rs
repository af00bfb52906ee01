//! One activity, told from its registration on.

use maud::{Markup, Render, html};

use super::marks::{Sign, chip_of, class_of, sign, sign_of, state_word};
use super::rows::{Row, below, count, text, text_of, time};
use super::text::{clock, code, cut, encoded, how_far, moment, prose, stored, theirs};
use super::{Frame, Here, action, deliveries, findings, layout, link_to_vat};
use crate::domain::activity::{State, Vat};
use crate::domain::catalogue::Language;
use crate::domain::lifecycle::{Happening, next_state};
use crate::domain::time::Timestamp;
use crate::words;

/// Longest fact, in characters: a user's own labels fit.
const MAX_FACT_CHARS: usize = 256;

/// Longest reason of a step in the timeline, in characters.
const MAX_REASON_CHARS: usize = 600;

/// What was just done at the reader's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is due now.
    Due,
    /// It is no longer watched.
    Cancelled,
    /// It is watched again.
    Retried,
    /// Events are delivered once more.
    Redelivered,
}

impl Said {
    /// The word in the page's address.
    pub const fn label(self) -> &'static str {
        match self {
            Said::Due => "due",
            Said::Cancelled => "cancelled",
            Said::Retried => "retried",
            Said::Redelivered => "redelivered",
        }
    }

    /// What this word stands for.
    pub fn from_label(label: &str) -> Option<Said> {
        [Said::Due, Said::Cancelled, Said::Retried, Said::Redelivered]
            .into_iter()
            .find(|said| said.label() == label)
    }

    fn sentence(self, words: words::Words) -> words::Said<'static> {
        match self {
            Said::Due => words.said_due(),
            Said::Cancelled => words.said_cancelled(),
            Said::Retried => words.said_retried(),
            Said::Redelivered => words.said_redelivered(),
        }
    }
}

/// What was just done, at the top of the page.
pub(super) fn banner(frame: &Frame<'_>, said: Option<Said>) -> Markup {
    html! {
        @if let Some(said) = said {
            p.banner.well role="status" { (sign(Sign::Good)) span { (said.sentence(frame.words)) } }
        }
    }
}

/// An activity's page, from its history as the store tells it.
pub fn activity(frame: &Frame<'_>, history: &Row, said: Option<Said>) -> Markup {
    let words = frame.words;
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
    let state = State::from_label(text_of(history, "state"));
    let named = match state {
        Some(state) => state_word(words, state).to_string(),
        None => text_of(history, "state").to_owned(),
    };
    let main = html! {
        (banner(frame, said))
        header class={ "headline " (state.map_or("", class_of)) } {
            p.eyebrow {
                a href="/activities" { (words.nav_activities()) } " › "
                (words.vat_named(link_to_vat(vat))) " › " (code(id))
                @if Vat::parse(vat).is_ok_and(|vat| !vat.has_saudi_shape()) {
                    " " span.tag title=(words.vat_shape_rule(vat)) { (words.vat_shape_short()) }
                }
            }
            h1 data-state=(text_of(history, "state")) {
                @if let Some(state) = state { (sign(sign_of(state))) }
                span { strong { (theirs(&named)) } @if let Some(line) = headline(frame, history, state) { ": " (line) } }
            }
            (next_step(frame, history, state))
            (actions(frame, history, state))
        }
        (findings::checks(frame, history, state.is_some_and(State::is_concluded)))
        (findings::listed_errors(frame, history))
        (findings::former_attempt(frame, history))
        (facts(frame, history))
        (timeline(frame, history, state))
        (deliveries::deliveries(frame, history))
        (evidence(frame, history))
    };
    layout(frame, &format!("{named} · {id}"), Here::Elsewhere, &main)
}

/// What the state means, after its word.
fn headline(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Option<Markup> {
    let words = frame.words;
    let registered_at = time(history, "registered_at");
    let took = registered_at.zip(time(history, "concluded_at")).map(|(from, until)| until.since(from));
    let took = took.map_or_else(String::new, |took| words.duration(took));
    let added = registered_at.map_or_else(|| html! {}, |at| how_far(frame, at));
    Some(match state? {
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
    })
}

/// All of it as a file, for a ticket or an auditor.
fn evidence(frame: &Frame<'_>, history: &Row) -> Markup {
    let words = frame.words;
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
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

/// What to do next: what the conclusion came with, or what its state alone tells.
fn next_step(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let words = frame.words;
    let key = match words.language() {
        Language::English => "next_step",
        Language::Arabic => "next_step_ar",
    };
    let step = match (text(history, key), state) {
        (Some(step), _) => prose(step),
        (None, Some(State::Failed)) => words.advice_failed().render(),
        (None, Some(State::Rejected)) => words.advice_rejected().render(),
        (None, Some(State::Expired | State::Cancelled)) => words.advice_ended().render(),
        _ => return html! {},
    };
    html! { div.step { strong { (words.next_step_title()) } p { (step) } } }
}

fn actions(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let words = frame.words;
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
    let form = |verb: &str, class: &str, label: words::Said<'_>| {
        let button = html! { button class=(class) type="submit" { (label) } };
        action(frame, &format!("/activities/{}/{verb}", encoded(id)), &[("vat", vat)], &button)
    };
    let Some(state) = state else { return html! {} };
    html! {
        @if !state.is_concluded() {
            div.actions {
                (form("poll", "", words.do_poll()))
                details.danger {
                    summary { (words.do_cancel_first()) }
                    div {
                        p { (words.do_cancel_warning()) }
                        (form("cancel", "grave", words.do_cancel()))
                    }
                }
            }
        } @else if next_state(Some(state), Happening::Retried).is_ok() {
            div.actions { (form("retry", "", words.do_retry())) }
        }
    }
}

fn facts(frame: &Frame<'_>, history: &Row) -> Markup {
    let words = frame.words;
    let said = |key: &str| text(history, key).map(|text| theirs(&cut(text, MAX_FACT_CHARS)));
    let at = |key: &str| time(history, key).map(|at| moment(frame, at));
    let n = |key: &str| count(history, key).map(|n| html! { (words.number(n)) });
    let facts: [(words::Said<'_>, Option<Markup>); 15] = [
        (words.col_device(), said("device_id")),
        (words.col_reference(), said("reference")),
        (words.fact_status(), said("upstream_status")),
        (words.fact_pcsid(), said("pcsid_generated")),
        (words.fact_counts(), counts(frame, history)),
        (words.fact_created(), at("upstream_created_at")),
        (words.fact_updated(), at("upstream_updated_at")),
        (words.fact_completed(), at("upstream_completed_at")),
        (words.fact_polls(), n("poll_count")),
        (words.fact_first_poll(), at("first_polled_at")),
        (words.fact_last_poll(), at("last_polled_at")),
        (words.fact_next_poll(), at("next_poll_at")),
        (words.fact_http_status(), count(history, "last_http_status").map(|n| html! { (n) })),
        (
            words.fact_bad_answers(),
            n("consecutive_errors").filter(|_| count(history, "consecutive_errors") > Some(0)),
        ),
        (
            words.fact_last_error(),
            text(history, "last_error").map(|text| stored(frame, text, MAX_FACT_CHARS)),
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
fn counts(frame: &Frame<'_>, history: &Row) -> Option<Markup> {
    let words = frame.words;
    let n = |key: &str| count(history, key);
    let said: Vec<String> = [
        n("total_count").map(|n| words.count_total(n)),
        n("success_count").map(|n| words.count_succeeded(n)),
        n("failure_count").map(|n| words.count_failed(n)),
    ]
    .into_iter()
    .flatten()
    .map(|said| said.to_string())
    .collect();
    (!said.is_empty()).then(|| html! { (said.join(&format!("{} ", words.list_comma()))) })
}

fn timeline(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let words = frame.words;
    let mut steps: Vec<(Timestamp, Markup)> = Vec::new();
    let mut step = |at: Option<Timestamp>, what: Markup| steps.extend(at.map(|at| (at, what)));
    step(time(history, "registered_at"), words.step_added().render());
    step(time(history, "stalled_at"), html! { span.tag { (words.late()) } " " (words.step_stalled()) });
    for transition in below(history, "transitions") {
        let (from, to) = (text_of(transition, "from_state"), text_of(transition, "to_state"));
        step(
            time(transition, "occurred_at"),
            html! {
                (words.step_transition(chip_of(frame, from), chip_of(frame, to)))
                @if let Some(status) = count(transition, "http_status") { " " span.soft dir="ltr" { "HTTP " (status) } }
                @if let Some(reason) = text(transition, "reason") {
                    div.reason { (stored(frame, reason, MAX_REASON_CHARS)) }
                }
            },
        );
    }
    if state.is_some_and(|state| !state.is_concluded()) {
        step(
            time(history, "last_polled_at"),
            html! {
                (words.step_polled(count(history, "poll_count").unwrap_or(0)))
                @if let Some(error) = text(history, "last_error") {
                    div.reason.bad { (stored(frame, error, MAX_REASON_CHARS)) }
                }
            },
        );
        let next = time(history, "next_poll_at");
        let what = if next <= Some(frame.now) { words.step_due() } else { words.fact_next_poll() };
        step(next.map(|at| at.max(frame.now)), what.render());
    }
    // What happened at the same moment stays in the order it was told in.
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
