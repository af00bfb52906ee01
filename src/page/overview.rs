//! The status page: all that an operator wants at a glance.

use maud::{Markup, html};

use super::health::health;
use super::marks::{chip, class_of, sign, sign_of};
use super::words::{counted, cut, duration, moment_stacked, number, theirs, utc};
use super::{Frame, Here, checks, layout, link_to, link_to_vat, nothing_registered, plot, scrolling};
use crate::domain::activity::State;
use crate::store::{Conclusion, Day, Durations, Overview, Statistics};

/// How often the status page loads itself anew.
const REFRESH_S: u32 = 15;

/// Whether the status page loads itself anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Every few seconds.
    On,
    /// Not before the reader asks.
    Off,
}

/// The status page.
pub fn overview(frame: &Frame<'_>, overview: &Overview, statistics: &Statistics, refresh: Refresh) -> Markup {
    let health = health(frame, overview, statistics);
    let main = html! {
        (plot::hatchings())
        (health.markup)
        p.refresh {
            "As of " time datetime=(frame.now) { (utc(frame.now)) } ". "
            @match refresh {
                Refresh::On => { "Refreshes every " (REFRESH_S) " s: " a href="/?refresh=off" { "switch off" } }
                Refresh::Off => { "Does not refresh: " a href="/" { "switch on" } }
            }
        }
        @if overview.states.is_empty() { (nothing_registered()) }
        @else {
            (counts(overview))
            div.pair { (conclusions(&statistics.days)) (durations(&statistics.durations)) }
            (checks::by_vat(&statistics.checks))
            (checks::rules(frame, &statistics.rules))
            (latest(frame, &statistics.latest))
        }
    };
    let refresh_s = (refresh == Refresh::On).then_some(REFRESH_S);
    layout(frame, &health.title, Here::Overview, refresh_s, &main)
}

fn counts(overview: &Overview) -> Markup {
    html! {
        section aria-labelledby="counts" {
            h2 #counts { "Activities by state" }
            ul.tiles {
                @for state in State::ALL {
                    @let n = overview.in_state(state);
                    li {
                        a class={ "tile " (class_of(state)) @if n == 0 { " none" } }
                            href={ "/activities?state=" (state.label()) } {
                            span.n { (number(n)) }
                            span.label { (sign(sign_of(state))) (state.label()) }
                        }
                    }
                }
            }
        }
    }
}

fn conclusions(days: &[Day]) -> Markup {
    let total: u64 = days.iter().map(Day::total).sum();
    let of = |state: State| days.iter().filter_map(|day| day.states.get(&state)).sum::<u64>();
    let most = days.iter().map(Day::total).max().unwrap_or(0);
    let n_days = days.len() as u64;
    let summary = format!(
        "Bars: {} in {}, at most {} a day. The table below has the numbers.",
        counted(total, "conclusion", "conclusions"),
        counted(n_days, "day", "days"),
        number(most)
    );
    html! {
        section aria-labelledby="days" {
            h2 #days { "Conclusions per day" }
            @if total == 0 { p.empty { "None in the last " (counted(n_days, "day", "days")) "." } }
            @else {
                p.note { (number(total)) " in " (counted(n_days, "day", "days")) " of Riyadh (UTC+3), today so far" }
                ul.legend {
                    @for state in plot::STACKED {
                        li { (plot::swatch(state)) (state.label()) " " strong { (number(of(state))) } }
                    }
                }
                (plot::conclusions(days, &summary))
                details {
                    summary { "As a table" }
                    (scrolling("Conclusions per day", &day_table(days)))
                }
            }
        }
    }
}

fn day_table(days: &[Day]) -> Markup {
    html! {
        table.numbers {
            caption.unseen { "Conclusions per day and state" }
            thead {
                tr {
                    th scope="col" { "Day" }
                    @for state in plot::STACKED { th scope="col" { (state.label()) } }
                    th scope="col" { "All" }
                }
            }
            tbody {
                @for day in days.iter().rev() {
                    tr {
                        th scope="row" { time datetime=(day.date) { (day.date) } }
                        @for state in plot::STACKED {
                            td { (number(day.states.get(&state).copied().unwrap_or(0))) }
                        }
                        td { (number(day.total())) }
                    }
                }
            }
        }
    }
}

fn durations(durations: &Durations) -> Markup {
    let named = |value: Option<std::time::Duration>| value.map_or_else(String::new, duration);
    let summary = format!(
        "Histogram: the median is {}, the 95th percentile {}. The table below has the numbers.",
        named(durations.median),
        named(durations.p95)
    );
    html! {
        section aria-labelledby="durations" {
            h2 #durations { "Time to PCSID" }
            @if durations.n == 0 { p.empty { "No PCSID was generated in the last three months." } }
            @else {
                p.note {
                    "From registration to PCSID, " (counted(durations.n, "activity", "activities"))
                    " concluded this month or in the two before"
                }
                p.legend {
                    "Half within " strong { (named(durations.median)) } ", 95% within " strong { (named(durations.p95)) }
                }
                (plot::durations(durations, &summary))
                details {
                    summary { "As a table" }
                    (scrolling("Time to PCSID", &duration_table(durations)))
                }
            }
        }
    }
}

fn duration_table(durations: &Durations) -> Markup {
    html! {
        table.numbers {
            caption.unseen { "Activities by time from registration to PCSID" }
            thead { tr { th scope="col" { "From" } th scope="col" { "To less than" } th scope="col" { "Activities" } } }
            tbody {
                @for bucket in durations.buckets.iter().filter(|bucket| bucket.n > 0) {
                    tr {
                        th scope="row" { (duration(bucket.from)) }
                        td { (duration(bucket.until)) }
                        td { (number(bucket.n)) }
                    }
                }
            }
        }
    }
}

fn latest(frame: &Frame<'_>, latest: &[Conclusion]) -> Markup {
    html! {
        section aria-labelledby="latest" {
            h2 #latest { "Latest conclusions" }
            @if latest.is_empty() { p.empty { "Nothing has concluded yet." } }
            @else {
                table.folds.fixed {
                    caption.unseen { "The latest conclusions, the last one first" }
                    colgroup { col.w-id; col.w-state; col.w-vat; col; col.w-time; col; }
                    thead {
                        tr {
                            @for title in ["Activity", "State", "VAT", "Device", "Concluded", "Why"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody { @for conclusion in latest { (concluded(frame, conclusion)) } }
                }
            }
        }
    }
}

fn concluded(frame: &Frame<'_>, conclusion: &Conclusion) -> Markup {
    html! {
        tr {
            th scope="row" { (link_to(&conclusion.vat, &conclusion.activity_id)) }
            td data-label="State" { (chip(conclusion.state)) }
            td data-label="VAT" { (link_to_vat(&conclusion.vat)) }
            td data-label="Device" {
                @if let Some(device) = &conclusion.device_id { (theirs(&cut(device, 64))) }
                @if let Some(reference) = &conclusion.reference {
                    @if conclusion.device_id.is_some() { " " }
                    span.soft { (theirs(&cut(reference, 64))) }
                }
            }
            td data-label="Concluded" { (moment_stacked("", frame.now, conclusion.concluded_at)) }
            td data-label="Why" { (why(conclusion)) }
        }
    }
}

fn why(conclusion: &Conclusion) -> Markup {
    html! {
        @if conclusion.state == State::Succeeded {
            "after " (duration(conclusion.concluded_at.since(conclusion.registered_at)))
        } @else if !conclusion.rules.is_empty() {
            @for (nth, rule) in conclusion.rules.iter().enumerate() {
                @if nth > 0 { ", " } code { (theirs(&cut(rule, 40))) }
            }
            @if conclusion.n_more_rules > 0 { " and " (number(conclusion.n_more_rules)) " more" }
        } @else if let Some(reason) = &conclusion.reason { (theirs(&cut(reason, 120))) }
    }
}
