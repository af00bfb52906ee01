//! The status page: what an operator has to see at a glance.

use maud::{Markup, html};

use super::health::{health, right_now};
use super::marks::{chip, class_of, icon, icon_of};
use super::text::{code, cut, moment_stacked, stored, theirs};
use super::{
    Frame, Here, checks, failures, layout, link_to_device, link_to_vat, nothing_registered, plot, scrolling,
};
use crate::domain::activity::State;
use crate::store::{Conclusion, Day, Durations, Overview, Statistics};

/// How often the status page reloads itself, if that is switched on.
pub const REFRESH_S: u32 = 15;

/// Whether the status page reloads itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Every few seconds.
    On,
    /// Only when the reader asks, so that the page does not change while it is read.
    Off,
}

impl Refresh {
    /// The word in addresses and in the cookie that keeps the choice.
    pub const fn label(self) -> &'static str {
        match self {
            Refresh::On => "on",
            Refresh::Off => "off",
        }
    }

    /// What this word stands for.
    pub fn from_label(label: &str) -> Option<Self> {
        [Refresh::On, Refresh::Off].into_iter().find(|refresh| refresh.label() == label)
    }
}

/// The status page.
pub fn overview(frame: &Frame<'_>, overview: &Overview, statistics: &Statistics, refresh: Refresh) -> Markup {
    let health = health(frame, overview, statistics, &refresh_switch(frame, refresh));
    let main = html! {
        (plot::hatchings())
        (health.markup)
        @if overview.states.is_empty() { (nothing_registered(frame)) }
        @else {
            (counts(frame, overview))
            div.pair { (conclusions(frame, &statistics.days)) (durations(frame, &statistics.durations)) }
            (failures::latest(frame, &statistics.failures))
            (latest(frame, &statistics.latest))
            (checks::rules(frame, &statistics.rules))
            (checks::by_vat(frame, &statistics.checks))
            (right_now(frame, overview))
        }
    };
    layout(frame, &health.title, Here::Overview, &main)
}

fn refresh_switch(frame: &Frame<'_>, refresh: Refresh) -> Markup {
    let words = frame.words;
    html! {
        span.switch {
            @match refresh {
                Refresh::On => {
                    (words.refresh_is_on(u64::from(REFRESH_S))) " "
                    a href="/?refresh=off" { (words.refresh_switch_off()) }
                }
                Refresh::Off => {
                    a href="/" { (words.refresh_now()) } " · "
                    a href="/?refresh=on" { (words.refresh_switch_on(u64::from(REFRESH_S))) }
                }
            }
        }
    }
}

fn counts(frame: &Frame<'_>, overview: &Overview) -> Markup {
    let words = frame.words;
    html! {
        section aria-labelledby="counts" {
            h2.unseen #counts { (words.counts_title()) }
            ul.tiles {
                @for state in State::ALL {
                    @let n = overview.in_state(state);
                    li {
                        a class={ "tile " (class_of(state)) @if n == 0 { " none" } } data-state=(state.label())
                            href={ "/activities?state=" (state.label()) } {
                            span.n { (words.number(n)) } " "
                            span.label { (icon(icon_of(state))) (words.state_word(state)) }
                        }
                    }
                }
            }
        }
    }
}

fn conclusions(frame: &Frame<'_>, days: &[Day]) -> Markup {
    let words = frame.words;
    let total: u64 = days.iter().map(Day::total).sum();
    let of = |state: State| days.iter().filter_map(|day| day.states.get(&state)).sum::<u64>();
    let most = days.iter().map(Day::total).max().unwrap_or(0);
    let n_days = words.n_days(days.len() as u64);
    html! {
        section aria-labelledby="days" {
            h2 #days { (words.days_title()) }
            @if total == 0 { p.empty { (words.days_none(n_days)) } }
            @else {
                @let summary = words.days_summary(words.n_ended(total), n_days.clone(), words.number(most));
                p.note { (words.days_note(words.n_ended(total), n_days)) }
                ul.legend {
                    @for state in plot::STACKED {
                        li { (plot::swatch(state)) (words.state_word(state)) " " strong { (words.number(of(state))) } }
                    }
                }
                (plot::conclusions(words, days, &summary.to_string()))
                details {
                    summary { (words.as_a_table()) }
                    (scrolling(&words.days_title(), &day_table(frame, days)))
                }
            }
        }
    }
}

fn day_table(frame: &Frame<'_>, days: &[Day]) -> Markup {
    let words = frame.words;
    html! {
        table.numbers {
            caption.unseen { (words.days_title()) }
            thead {
                tr {
                    th scope="col" { (words.col_day()) }
                    @for state in plot::STACKED { th scope="col" { (words.state_word(state)) } }
                    th scope="col" { (words.col_all()) }
                }
            }
            tbody {
                @for day in days.iter().rev() {
                    tr {
                        th scope="row" { time datetime=(day.date) dir="ltr" { (day.date) } }
                        @for state in plot::STACKED {
                            td { (words.number(day.states.get(&state).copied().unwrap_or(0))) }
                        }
                        td { (words.number(day.total())) }
                    }
                }
            }
        }
    }
}

fn durations(frame: &Frame<'_>, durations: &Durations) -> Markup {
    let words = frame.words;
    let named =
        |value: Option<std::time::Duration>| value.map_or_else(String::new, |value| words.duration(value));
    let (median, p95) = (named(durations.median), named(durations.p95));
    html! {
        section aria-labelledby="durations" {
            h2 #durations { (words.durations_title()) }
            @if durations.n == 0 { p.empty { (words.durations_none()) } }
            @else {
                p.note { (words.durations_note(words.n_activities(durations.n))) }
                p.legend {
                    (words.durations_legend(html! { strong { (median) } }, html! { strong { (p95) } }))
                }
                (plot::durations(words, durations, &words.durations_summary(median, p95).to_string()))
                details {
                    summary { (words.as_a_table()) }
                    (scrolling(&words.durations_title(), &duration_table(frame, durations)))
                }
            }
        }
    }
}

fn duration_table(frame: &Frame<'_>, durations: &Durations) -> Markup {
    let words = frame.words;
    html! {
        table.numbers {
            caption.unseen { (words.durations_title()) }
            thead {
                tr {
                    th scope="col" { (words.col_from()) } th scope="col" { (words.col_to_less_than()) }
                    th scope="col" { (words.col_activities()) }
                }
            }
            tbody {
                @for bucket in durations.buckets.iter().filter(|bucket| bucket.n > 0) {
                    tr {
                        th scope="row" { (words.duration(bucket.from)) }
                        td { (words.duration(bucket.until)) }
                        td { (words.number(bucket.n)) }
                    }
                }
            }
        }
    }
}

fn latest(frame: &Frame<'_>, latest: &[Conclusion]) -> Markup {
    let words = frame.words;
    let (state, vat, ended, why_) = (words.col_state(), words.col_vat(), words.col_ended(), words.col_why());
    html! {
        section aria-labelledby="latest" {
            div.titled {
                h2 #latest { (words.latest_title()) }
                a href="/activities?sort=ended" { (words.latest_all()) }
            }
            @if latest.is_empty() { p.empty { (words.latest_none()) } }
            @else {
                table.folds.cards.fixed {
                    caption.unseen { (words.latest_title()) }
                    colgroup { col.w-id; col.w-state; col.w-vat; col.w-time; col; }
                    thead {
                        tr {
                            @for title in [&words.col_device(), &state, &vat, &ended, &why_] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody {
                        @for conclusion in latest {
                            tr {
                                th scope="row" {
                                    (link_to_device(
                                        &conclusion.vat, &conclusion.activity_id, conclusion.device_id.as_deref()))
                                    @if let Some(reference) = &conclusion.reference {
                                        " " span.under { (theirs(&cut(reference, 64))) }
                                    }
                                }
                                td.state data-label=(state) { (chip(frame, conclusion.state)) }
                                td.whose data-label=(vat) { (link_to_vat(&conclusion.vat)) }
                                td.time data-label=(ended) { (moment_stacked(frame, conclusion.concluded_at)) }
                                td data-label=(why_) { (why(frame, conclusion)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn why(frame: &Frame<'_>, conclusion: &Conclusion) -> Markup {
    let words = frame.words;
    html! {
        @if conclusion.state == State::Succeeded {
            (words.after_span(words.duration(conclusion.concluded_at.since(conclusion.registered_at))))
        } @else if !conclusion.rules.is_empty() {
            @for (nth, rule) in conclusion.rules.iter().enumerate() {
                @if nth > 0 { (words.list_comma()) " " } (code(&cut(rule, 40)))
            }
            @if conclusion.n_more_rules > 0 { " " (words.and_more(conclusion.n_more_rules)) }
        } @else if let Some(reason) = &conclusion.reason { (stored(frame, reason, 120)) }
    }
}
