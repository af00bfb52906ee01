//! One activity, told from its registration on.

use maud::{Markup, html};

use super::direction;
use super::marks::{Sign, chip_of, class_of, sign, sign_of};
use super::rows::{Row, below, count, text, text_of, time};
use super::words::{cut, distance, duration, encoded, moment, number, theirs};
use super::{Frame, Here, deliveries, findings, layout, link_to_vat, told};
use crate::domain::activity::State;
use crate::domain::catalogue::Language;
use crate::domain::lifecycle::{Happening, next_state};
use crate::domain::time::Timestamp;

/// Longest fact, in characters: a user's own labels fit.
const MAX_FACT_CHARS: usize = 256;

/// What was just done to the activity at the reader's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is due now.
    Due,
    /// It is no longer watched.
    Cancelled,
    /// It is watched again.
    Retried,
    /// An event is delivered once more.
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

    const fn sentence(self) -> &'static str {
        match self {
            Said::Due => {
                "It is due now, and asked for as soon as holds and limits allow. Reload to see the answer."
            }
            Said::Cancelled => "It is no longer watched.",
            Said::Retried => "It is watched again, as if it were registered now.",
            Said::Redelivered => "The event is due once more. Reload to see how the delivery went.",
        }
    }
}

/// An activity's page, from its history as the store tells it.
pub fn activity(frame: &Frame<'_>, history: &Row, said: Option<Said>) -> Markup {
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
    let state = State::from_label(text_of(history, "state"));
    let main = html! {
        @if let Some(said) = said {
            p.banner.well role="status" { (sign(Sign::Good)) span { (said.sentence()) } }
        }
        header class={ "headline " (state.map_or("", class_of)) } {
            p.eyebrow {
                a href="/activities" { "Activities" } " › VAT " (link_to_vat(vat)) " › " code { (theirs(id)) }
            }
            h1 {
                @if let Some(state) = state { (sign(sign_of(state))) }
                span { strong { (theirs(text_of(history, "state"))) } ": " (headline(frame, history, state)) }
            }
            (next_step(frame, history, state))
            (actions(frame, history, state))
        }
        (facts(frame, history))
        (timeline(frame, history, state))
        (findings::checks(frame, history, state.is_some_and(State::is_concluded)))
        (findings::listed_errors(frame, history))
        (findings::former_attempt(history))
        (deliveries::deliveries(frame, history))
        (evidence(history))
    };
    let title = format!("{} {id}", text_of(history, "state"));
    layout(frame, &title, Here::Elsewhere, None, &main)
}

/// What the state means, in the middle of a sentence.
fn headline(frame: &Frame<'_>, history: &Row, state: Option<State>) -> String {
    let registered_at = time(history, "registered_at");
    let took = registered_at.zip(time(history, "concluded_at")).map(|(from, until)| until.since(from));
    let after = |what: &str| match took {
        Some(took) => format!("{what} {} after registration", duration(took)),
        None => what.to_owned(),
    };
    let registered =
        registered_at.map_or_else(String::new, |at| format!("; registered {}", distance(frame.now, at)));
    match state {
        None => "a state this program does not know.".to_owned(),
        Some(State::Pending) => format!("ClearTax has said nothing of it yet{registered}."),
        Some(State::InProgress) => format!("ClearTax is working on it{registered}."),
        Some(State::Succeeded) => format!("{}.", after("the PCSID was generated")),
        Some(State::Failed) => match findings::n_failed(history) {
            0 => format!("{}.", after("finished without a PCSID")),
            n => format!("{}; {n} of 6 checks failed.", after("finished without a PCSID")),
        },
        Some(State::Rejected) => {
            format!("ClearTax knows no such PCSID activity of this VAT; {}.", after("given up"))
        }
        Some(State::Expired) => format!("{}.", after("given up without a conclusion")),
        Some(State::Cancelled) => format!("{}.", after("an operator stopped watching it")),
    }
}

/// All of it as a file, for a ticket or an auditor.
fn evidence(history: &Row) -> Markup {
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
    let at =
        |format: &str| format!("/activities/{}/evidence?vat={}&format={format}", encoded(id), encoded(vat));
    html! {
        section aria-labelledby="evidence" {
            h2 #evidence { "Evidence" }
            p {
                "All of this with ClearTax’s final answer as it came and a checksum, for a ticket or an auditor: "
                a href=(at("html")) download { "to read and print" } ", " a href=(at("json")) download { "for programs" } "."
            }
        }
    }
}

/// What to do next: what the conclusion came with, or what its state alone tells.
fn next_step(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let key = match frame.language {
        Language::English => "next_step",
        Language::Arabic => "next_step_ar",
    };
    match (text(history, key), state.and_then(advice)) {
        (Some(step), _) => html! {
            div.step lang=(frame.language.label()) dir=(direction(frame)) {
                strong { @if frame.language == Language::Arabic { "ما الخطوة التالية" } @else { "What to do next" } }
                p { (told(frame, step)) }
            }
        },
        (None, Some(advice)) => html! { p.lead { (advice) } },
        (None, None) => html! {},
    }
}

/// What a reader can do about it.
fn advice(state: State) -> Option<&'static str> {
    match state {
        State::Failed => Some(
            "This is upstream’s last word on the activity. Mend what the checks below name, onboard the device \
             again, and add the new activity.",
        ),
        State::Rejected => Some("Compare id and VAT with what ClearTax answered the registration with."),
        State::Expired | State::Cancelled => {
            Some("Nothing more is asked or announced until it is watched again.")
        }
        State::Pending | State::InProgress | State::Succeeded => None,
    }
}

fn actions(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let (vat, id) = (text_of(history, "vat"), text_of(history, "activity_id"));
    let form = |verb: &str, class: &str, label: &str| {
        html! {
            form method="post" action={ "/activities/" (encoded(id)) "/" (verb) } {
                input type="hidden" name="form_token" value=(frame.form_token);
                input type="hidden" name="vat" value=(vat);
                button class=(class) type="submit" { (label) }
            }
        }
    };
    let Some(state) = state else { return html! {} };
    html! {
        @if !state.is_concluded() {
            div.actions {
                (form("poll", "", "Poll now"))
                details.danger {
                    summary { "Stop watching…" }
                    div {
                        p { "It is concluded as CANCELLED and announced so. Its result will not be noticed." }
                        (form("cancel", "grave", "Stop watching it"))
                    }
                }
            }
        } @else if next_state(Some(state), Happening::Retried).is_ok() {
            div.actions { (form("retry", "", "Watch again")) }
        }
    }
}

fn facts(frame: &Frame<'_>, history: &Row) -> Markup {
    let said = |key: &str| text(history, key).map(|text| theirs(&cut(text, MAX_FACT_CHARS)));
    let at = |key: &str| time(history, key).map(|at| moment(frame.now, at));
    let n = |key: &str| count(history, key).map(|n| html! { (number(n)) });
    let facts: [(&str, Option<Markup>); 15] = [
        ("Device", said("device_id")),
        ("Reference", said("reference")),
        ("ClearTax says", said("upstream_status")),
        ("PCSID", said("pcsid_generated")),
        ("Checks, as counted there", counts(history)),
        ("Created there", at("upstream_created_at")),
        ("Updated there", at("upstream_updated_at")),
        ("Completed there", at("upstream_completed_at")),
        ("Polls", n("poll_count")),
        ("First poll", at("first_polled_at")),
        ("Last poll", at("last_polled_at")),
        ("Next poll", at("next_poll_at")),
        ("Last HTTP status", n("last_http_status")),
        (
            "Unusable answers in a row",
            n("consecutive_errors").filter(|_| count(history, "consecutive_errors") > Some(0)),
        ),
        ("Last error", said("last_error")),
    ];
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "Facts" }
            dl.facts {
                @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
            }
        }
    }
}

/// Upstream's own counts.
fn counts(history: &Row) -> Option<Markup> {
    let said: Vec<String> =
        [("total_count", "in all"), ("success_count", "succeeded"), ("failure_count", "failed")]
            .into_iter()
            .filter_map(|(key, name)| Some(format!("{} {name}", number(count(history, key)?))))
            .collect();
    (!said.is_empty()).then(|| html! { (said.join(", ")) })
}

fn timeline(frame: &Frame<'_>, history: &Row, state: Option<State>) -> Markup {
    let mut steps: Vec<(Timestamp, Markup)> = Vec::new();
    let mut step = |at: Option<Timestamp>, what: Markup| steps.extend(at.map(|at| (at, what)));
    step(time(history, "registered_at"), html! { "Registered" });
    step(
        time(history, "stalled_at"),
        html! { span.tag { "stalled" } " Not concluded by then; watching goes on" },
    );
    for transition in below(history, "transitions") {
        step(
            time(transition, "occurred_at"),
            html! {
                (chip_of(text_of(transition, "from_state"))) " → " (chip_of(text_of(transition, "to_state")))
                @if let Some(status) = count(transition, "http_status") { " " span.soft { "HTTP " (status) } }
                @if let Some(reason) = text(transition, "reason") { div.reason { (theirs(&cut(reason, 600))) } }
            },
        );
    }
    if state.is_some_and(|state| !state.is_concluded()) {
        let polls = count(history, "poll_count").unwrap_or(0);
        step(
            time(history, "last_polled_at"),
            html! {
                "Polled, " @if polls == 1 { "once" } @else { (number(polls)) " times" } " so far"
                @if let Some(error) = text(history, "last_error") { div.reason.bad { (theirs(&cut(error, 600))) } }
            },
        );
        let next = time(history, "next_poll_at");
        step(
            next.map(|at| at.max(frame.now)),
            html! {
                @if next <= Some(frame.now) { "Due for its next poll" } @else { "Next poll" }
            },
        );
    }
    // What happened at the same moment stays in the order it was told in.
    steps.sort_by_key(|(at, _)| *at);
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { "Timeline" }
            ol.timeline {
                @for (at, what) in &steps {
                    li.ahead[*at > frame.now] { (moment(frame.now, *at)) div { (what) } }
                }
            }
        }
    }
}
