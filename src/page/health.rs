//! Is it well, and if not: what is wrong, and what is to be done?

use std::time::Duration;

use maud::{Markup, html};

use super::marks::{Sign, sign};
use super::words::{counted, distance, moment, number, roughly, theirs};
use super::{Frame, link_to, link_to_vat};
use crate::store::{ClosedGate, Overview, Statistics};

/// How long upstream may say nothing while something is due.
const SILENT_AFTER: Duration = Duration::from_secs(10 * 60);

/// How many holds are told of one by one.
const MAX_HOLDS: usize = 12;

/// Something that an operator should know.
struct Concern {
    sign: Sign,
    /// Whether it keeps the daemon from working.
    is_fatal: bool,
    what: Markup,
    todo: Markup,
}

impl Concern {
    fn new(sign: Sign, what: Markup, todo: Markup) -> Self {
        Self { sign, is_fatal: false, what, todo }
    }
}

/// The state of the daemon in a sentence, and as the page's title.
pub(super) struct Health {
    /// For the title of the window.
    pub(super) title: String,
    /// The block at the top of the overview.
    pub(super) markup: Markup,
}

/// Puts together what is known of the daemon's health.
pub(super) fn health(frame: &Frame<'_>, overview: &Overview, statistics: &Statistics) -> Health {
    let concerns = concerns(frame, overview, statistics);
    let is_ready = frame.troubles.is_empty();
    let n_concerns = concerns.iter().filter(|concern| !concern.is_fatal).count() as u64;
    let need = if n_concerns == 1 { "needs" } else { "need" };
    let (class, mark, title, sentence) = match (is_ready, n_concerns) {
        (false, _) => (
            "ill",
            Sign::Bad,
            "Not ready".to_owned(),
            "Not ready: something keeps it from working.".to_owned(),
        ),
        (true, 0) => ("well", Sign::Good, "Ready".to_owned(), all_well(overview)),
        (true, n) => {
            let things = counted(n, "thing", "things");
            ("attention", Sign::Attention, format!("Ready, {things} {need} attention"), {
                format!("Ready, but {things} {need} attention.")
            })
        }
    };
    let markup = html! {
        div class={ "health " (class) } {
            h1 { (sign(mark)) span { (sentence) } }
            @if !concerns.is_empty() {
                ul.concerns {
                    @for concern in &concerns {
                        li.fatal[concern.is_fatal] { (sign(concern.sign)) div { p { (concern.what) } p.todo { (concern.todo) } } }
                    }
                }
            }
            (facts(frame, overview))
        }
    };
    Health { title, markup }
}

fn all_well(overview: &Overview) -> String {
    match overview.waiting() {
        0 if overview.states.is_empty() => "Ready: there is nothing to watch yet.".to_owned(),
        0 => "Ready: everything has concluded.".to_owned(),
        1 => "Ready: 1 activity is being watched.".to_owned(),
        n => format!("Ready: {} activities are being watched.", number(n)),
    }
}

fn concerns(frame: &Frame<'_>, overview: &Overview, statistics: &Statistics) -> Vec<Concern> {
    let mut concerns: Vec<Concern> = frame
        .troubles
        .iter()
        .map(|trouble| Concern {
            sign: Sign::Bad,
            is_fatal: true,
            what: theirs(trouble),
            todo: html! { "The log has the cause." },
        })
        .collect();
    concerns.extend(overview.closed.iter().take(MAX_HOLDS).map(|gate| closed(frame, gate)));
    if let Some(n_more) = overview.closed.len().checked_sub(MAX_HOLDS).filter(|n| *n > 0) {
        concerns.push(Concern::new(
            Sign::Paused,
            html! { (counted(n_more as u64, "more hold or pause", "more holds and pauses")) "." },
            html! { code { "pcsid-watch report summary" } " lists every VAT with the reason it is held for." },
        ));
    }
    concerns.extend(unserved(statistics));
    concerns.extend(outage(frame).or_else(|| silence(frame, overview)));
    concerns.extend(overview.outbox.iter().filter(|sink| sink.dead > 0).map(|sink| {
        Concern::new(
            Sign::Bad,
            html! {
                (counted(sink.dead, "event", "events")) " for " strong { (theirs(&sink.sink)) }
                @if sink.dead == 1 { " was" } @else { " were" } " given up."
            },
            html! {
                "Mend the receiver, then: " code { "pcsid-watch deliveries redeliver --dead" }
                ". Or redeliver one from its activity’s page."
            },
        )
    }));
    concerns.extend(overview.oldest_waiting.as_ref().and_then(|oldest| {
        let age = frame.now.since(oldest.registered_at);
        (age >= frame.stalled_after).then(|| {
            Concern::new(
                Sign::Late,
                html! {
                    (link_to(&oldest.vat, &oldest.activity_id)) " has been waiting for its conclusion for "
                    (roughly(age)) "."
                },
                html! {
                    "An activity should conclude within " (roughly(frame.stalled_after)) ". "
                    code { "pcsid-watch report overdue" } " lists all that have not."
                },
            )
        })
    }));
    concerns
}

fn closed(frame: &Frame<'_>, gate: &ClosedGate) -> Concern {
    let whose = html! {
        @if let Some(credential) = &gate.credential { "Credential " strong { (theirs(credential)) } }
        @else if let Some(vat) = &gate.vat { "VAT " (link_to_vat(vat)) }
    };
    let until = |verb: &str| {
        html! { @if let Some(until) = gate.until { " " (verb) " " (distance(frame.now, until)) "." } }
    };
    let Some(reason) = &gate.reason else {
        return Concern::new(
            Sign::Paused,
            html! { (whose) " is paused: upstream asked us to slow down." },
            html! { "Nothing to do:" (until("it goes on")) },
        );
    };
    Concern::new(
        Sign::Paused,
        html! {
            (whose) " is held"
            @if let Some(since) = gate.since { " since " (moment(frame.now, since)) }
            ": " (theirs(reason))
        },
        html! {
            @if gate.credential.is_some() {
                "Replace its token; a changed token file is noticed without a restart."
            } @else {
                "Make the token’s user Admin of this VAT at ClearTax, or give the VAT a credential of its own."
            }
            (until("It is tried again"))
        },
    )
}

fn unserved(statistics: &Statistics) -> Option<Concern> {
    let unserved = &statistics.unserved;
    let first = unserved.vats.first()?;
    let n = unserved.vats.len() as u64 + unserved.n_more;
    Some(Concern::new(
        Sign::Refused,
        html! {
            @if n == 1 { "No credential serves VAT " (link_to_vat(first)) "." }
            @else {
                "No credential serves " (counted(n, "VAT", "VATs")) ": "
                @for (nth, vat) in unserved.vats.iter().enumerate() {
                    @if nth > 0 { ", " } (link_to_vat(vat))
                }
                @if unserved.n_more > 0 { " and " (number(unserved.n_more)) " more" } "."
            }
        },
        html! { "Nothing of it is polled until " code { "[[credentials]]" } " has one for it." },
    ))
}

/// Nothing usable comes from upstream.
fn outage(frame: &Frame<'_>) -> Option<Concern> {
    let outage = frame.outage?;
    Some(Concern::new(
        Sign::Bad,
        html! {
            "Nothing usable comes from upstream since " (moment(frame.now, outage.since)) ": "
            (theirs(&outage.trouble.cause)) "."
        },
        html! {
            (theirs(frame.upstream)) " is tried again all the time, by single requests. What to do: "
            (outage.trouble.advice()) "."
        },
    ))
}

/// Upstream has been silent while something was due, and no hold explains it.
fn silence(frame: &Frame<'_>, overview: &Overview) -> Option<Concern> {
    let due_since = overview.due_since.filter(|_| overview.closed.is_empty())?;
    let silent_since = frame.last_answer_at.unwrap_or(due_since).max(due_since);
    (frame.now.since(silent_since) >= SILENT_AFTER).then(|| {
        Concern::new(
            Sign::Attention,
            html! { "Upstream has given no usable answer for " (roughly(frame.now.since(silent_since))) "." },
            html! { "Can " (theirs(frame.upstream)) " be reached from here? It is tried again all the time." },
        )
    })
}

fn facts(frame: &Frame<'_>, overview: &Overview) -> Markup {
    html! {
        dl.facts {
            div {
                dt { "Last good answer" }
                dd {
                    @if let Some(at) = frame.last_answer_at { (moment(frame.now, at)) }
                    @else { "none since the start" }
                }
            }
            div {
                dt { "Oldest waiting" }
                dd {
                    @if let Some(oldest) = &overview.oldest_waiting {
                        (link_to(&oldest.vat, &oldest.activity_id)) ", registered "
                        (moment(frame.now, oldest.registered_at))
                    } @else { "nothing waits" }
                }
            }
            div {
                dt { "Due longest" }
                dd {
                    @if let Some(since) = overview.due_since {
                        "since " (moment(frame.now, since))
                        @if !overview.closed.is_empty() { ", what is held included" }
                    } @else { "nothing is due right now" }
                }
            }
            div {
                dt { "Undelivered events" }
                dd {
                    @if overview.outbox.is_empty() { "none" }
                    @else {
                        ul.plain {
                            @for sink in &overview.outbox {
                                li {
                                    (theirs(&sink.sink)) ": " (number(sink.pending)) " pending, "
                                    @if sink.dead > 0 { strong.bad { (number(sink.dead)) " dead" } }
                                    @else { "0 dead" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
