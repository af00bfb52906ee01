//! The daemon's health: whether it works, what is wrong, and what to do.

use std::time::Duration;

use maud::{Markup, Render, html};

use super::marks::{Icon, icon};
use super::text::{code, encoded, how_far, stored, theirs};
use super::{Frame, as_of, link_to, link_to_vat};
use crate::store::{Blocked, Overview, Statistics};

/// How long upstream may say nothing while something is due.
const SILENT_AFTER: Duration = Duration::from_secs(10 * 60);

/// How many holds are shown one by one.
const MAX_HOLDS: usize = 12;

/// How many concerns are shown at once; the rest is folded away.
const MAX_OPEN: usize = 5;

/// Something that an operator should know: a short row with what to do at its end.
struct Concern {
    icon: Icon,
    /// Whether it keeps the daemon from working.
    is_fatal: bool,
    what: Markup,
    action: Markup,
}

impl Concern {
    fn new(icon: Icon, what: impl Render, action: impl Render) -> Self {
        Self { icon, is_fatal: false, what: what.render(), action: action.render() }
    }
}

/// The state of the daemon in a sentence, and as the page's title.
pub(super) struct Health {
    /// For the title of the window.
    pub(super) title: String,
    /// The line at the top of the overview, with what needs attention below it.
    pub(super) markup: Markup,
}

/// The daemon's health, from all that is known of it. `switch` is put at the end of its line.
pub(super) fn health(
    frame: &Frame<'_>,
    overview: &Overview,
    statistics: &Statistics,
    switch: &Markup,
) -> Health {
    let words = frame.words;
    let concerns = concerns(frame, overview, statistics);
    let n_concerns = concerns.iter().filter(|concern| !concern.is_fatal).count() as u64;
    let (class, mark, sentence) = match (frame.troubles.is_empty(), n_concerns) {
        (false, _) => ("ill", Icon::Bad, words.health_ill()),
        (true, 0) if overview.states.is_empty() => ("well", Icon::Good, words.health_empty()),
        (true, 0) if overview.waiting() == 0 => ("well", Icon::Good, words.health_all_ended()),
        (true, 0) => ("well", Icon::Good, words.health_watching(overview.waiting())),
        (true, n) => ("attention", Icon::Attention, words.health_attention(n)),
    };
    let rest = concerns.get(MAX_OPEN..).unwrap_or_default();
    let markup = html! {
        div class={ "health " (class) } {
            h1 { (icon(mark)) span { (sentence) } }
            div.aside { (as_of(frame)) (switch) }
        }
        @if !concerns.is_empty() {
            ul.concerns aria-label=(words.concerns_label()) {
                @for concern in concerns.iter().take(MAX_OPEN) { (row(concern)) }
            }
            @if !rest.is_empty() {
                details.concerns-more {
                    summary { (words.concerns_more(rest.len() as u64)) }
                    ul.concerns { @for concern in rest { (row(concern)) } }
                }
            }
        }
    };
    Health { title: sentence.to_string().trim_end_matches('.').to_owned(), markup }
}

fn row(concern: &Concern) -> Markup {
    html! {
        li.fatal[concern.is_fatal] { (icon(concern.icon)) p { (concern.what) } p.todo { (concern.action) } }
    }
}

fn concerns(frame: &Frame<'_>, overview: &Overview, statistics: &Statistics) -> Vec<Concern> {
    let words = frame.words;
    let mut concerns: Vec<Concern> = frame
        .troubles
        .iter()
        .map(|trouble| Concern {
            is_fatal: true,
            ..Concern::new(Icon::Bad, stored(frame, trouble, 600), words.todo_see_log())
        })
        .collect();
    concerns.extend(overview.closed.iter().take(MAX_HOLDS).map(|gate| closed(frame, gate)));
    if let Some(n_more) = overview.closed.len().checked_sub(MAX_HOLDS).filter(|n| *n > 0) {
        let action = words.todo_list_by(code("pcsid-watch report summary"));
        concerns.push(Concern::new(Icon::Paused, words.concern_more_holds(n_more as u64), action));
    }
    concerns.extend(unserved(frame, statistics));
    concerns.extend(outage(frame).or_else(|| silence(frame, overview)));
    concerns.extend(overview.outbox.iter().filter(|sink| sink.dead > 0).map(|sink| {
        let what = words.concern_dead(sink.dead, html! { strong { (theirs(&sink.sink)) } });
        let address = format!("/deliveries?status=dead&sink={}", encoded(&sink.sink));
        Concern::new(Icon::Bad, what, html! { a href=(address) { (words.todo_resend()) } })
    }));
    concerns.extend(certificates(frame, overview));
    concerns.extend(overview.oldest_waiting.as_ref().and_then(|oldest| {
        let age = frame.now.since(oldest.since);
        (age >= frame.stalled_after).then(|| {
            let what = words.concern_late(link_to(&oldest.vat, &oldest.activity_id), words.roughly(age));
            let action =
                html! { a href="/activities?state=WAITING&sort=oldest" { (words.todo_show_late()) } };
            Concern::new(Icon::Late, what, action)
        })
    }));
    concerns
}

/// Certificates that have ended, and those that end within two weeks.
fn certificates(frame: &Frame<'_>, overview: &Overview) -> impl Iterator<Item = Concern> {
    let words = frame.words;
    let (expired, soon) = (overview.ending.expired, overview.ending.within.first().copied().unwrap_or(0));
    let action = || html! { a href="/renewals" { (words.todo_see_certificates()) } };
    let ended =
        (expired > 0).then(|| Concern::new(Icon::Bad, words.concern_certificates_ended(expired), action()));
    let ending =
        (soon > 0).then(|| Concern::new(Icon::Late, words.concern_certificates_soon(soon), action()));
    ended.into_iter().chain(ending)
}

fn closed(frame: &Frame<'_>, gate: &Blocked) -> Concern {
    let words = frame.words;
    let whose = match (&gate.credential, &gate.vat) {
        (Some(credential), _) => words.whose_credential(html! { strong { (theirs(credential)) } }).render(),
        (None, Some(vat)) => words.whose_vat(link_to_vat(vat)).render(),
        (None, None) => html! {},
    };
    let until = gate.until.map(|until| how_far(frame, until));
    let Some(reason) = &gate.reason else {
        let action = match until {
            Some(until) => words.todo_nothing_until(until).render(),
            None => words.todo_nothing().render(),
        };
        return Concern::new(Icon::Paused, words.concern_paused(whose), action);
    };
    let action = match gate.credential {
        Some(_) => words.todo_replace_token(),
        None => words.todo_grant_admin(),
    };
    Concern::new(
        Icon::Paused,
        words.concern_held(stored(frame, reason, 200), whose),
        html! { (action) @if let Some(until) = until { " " span.soft { (words.tried_again(until)) } } },
    )
}

fn unserved(frame: &Frame<'_>, statistics: &Statistics) -> Option<Concern> {
    let words = frame.words;
    let unserved = &statistics.unserved;
    let first = unserved.vats.first()?;
    let n = unserved.vats.len() as u64 + unserved.n_more;
    let vat = link_to_vat(first);
    let what = match n {
        1 => words.concern_unserved(vat).render(),
        _ => words.concern_unserved_many(n - 1, vat).render(),
    };
    Some(Concern::new(Icon::Refused, what, words.todo_configure(code("[[credentials]]"))))
}

/// Nothing usable comes from upstream.
fn outage(frame: &Frame<'_>) -> Option<Concern> {
    let words = frame.words;
    let outage = frame.outage?;
    let cause = stored(frame, &outage.trouble.cause, 200);
    let what = words.concern_outage(cause, how_far(frame, outage.since));
    Some(Concern::new(Icon::Bad, what, stored(frame, outage.trouble.advice(), 300)))
}

/// Upstream has been silent while something was due that no hold keeps back.
fn silence(frame: &Frame<'_>, overview: &Overview) -> Option<Concern> {
    let words = frame.words;
    let due_since = overview.due_since?;
    let silent_since = frame.last_answer_at.unwrap_or(due_since).max(due_since);
    let silent_for = frame.now.since(silent_since);
    (silent_for >= SILENT_AFTER).then(|| {
        let what = words.concern_silence(words.roughly(silent_for));
        Concern::new(Icon::Attention, what, words.todo_check_connection(code(frame.upstream)))
    })
}

/// What goes on right now, in a few facts.
pub(super) fn right_now(frame: &Frame<'_>, overview: &Overview) -> Markup {
    let words = frame.words;
    html! {
        section aria-labelledby="now" {
            h2 #now { (words.now_title()) }
            dl.facts {
                div {
                    dt { (words.now_last_answer()) }
                    dd {
                        @if let Some(at) = frame.last_answer_at { (super::text::moment(frame, at)) }
                        @else { (words.now_no_answer()) }
                    }
                }
                div {
                    dt { (words.now_oldest()) }
                    dd {
                        @if let Some(oldest) = &overview.oldest_waiting {
                            (link_to(&oldest.vat, &oldest.activity_id)) " "
                            span.soft { (words.watch_began(how_far(frame, oldest.since))) }
                        } @else { (words.now_none_waits()) }
                    }
                }
                div {
                    dt { (words.now_due()) }
                    dd {
                        @if let Some(since) = overview.due_since { (super::text::moment(frame, since)) }
                        @else { (words.now_none_due()) }
                    }
                }
                div {
                    dt { (words.now_undelivered()) }
                    dd {
                        @if overview.outbox.is_empty() { (words.none()) }
                        @else {
                            ul.plain {
                                @for sink in &overview.outbox {
                                    li {
                                        (theirs(&sink.sink)) ": " (words.n_pending(sink.pending))
                                        @if sink.dead > 0 {
                                            (words.list_comma()) " " strong.bad { (words.n_dead(sink.dead)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
