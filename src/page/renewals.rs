//! The certificates: which end in the next 90 days, and a calendar of the next year.

use std::collections::BTreeMap;

use jiff::civil::Date;
use maud::{Markup, html};

use super::marks::{Icon, icon};
use super::text::{cut, how_far, moment, theirs};
use super::{Frame, Here, layout, link_to, link_to_vat, scrolling};
use crate::domain::next_step::NextStep;
use crate::store::{EndingCertificate, EndingCertificates, WITHIN_DAYS};

/// The page.
pub fn renewals(frame: &Frame<'_>, ending: &EndingCertificates) -> Markup {
    let words = frame.words;
    let title = words.nav_certificates().to_string();
    let step = NextStep::before_certificate_ends();
    let main = html! {
        h1 { (title) }
        p.lead { (words.certificates_lead()) }
        ul.tiles {
            (tile(frame, ending.counts.expired, "failed", &html! { (icon(Icon::Bad)) (words.certificates_ended()) }))
            @for (days, n) in WITHIN_DAYS.into_iter().zip(ending.counts.within) {
                (tile(frame, n, "expired", &html! { (icon(Icon::Late)) (words.certificates_within(u64::from(days))) }))
            }
        }
        section aria-labelledby="calendar" {
            h2 #calendar { (words.certificates_year()) }
            p.note {
                (words.certificates_by_day()) " "
                a href="/v1/renewals.ics" { (words.certificates_subscribe()) }
            }
            (scrolling(&words.certificates_year(), &calendar(frame, &ending.days)))
            @if !ending.days.is_empty() {
                details {
                    summary { (words.as_a_table()) }
                    (scrolling(&words.certificates_by_day(), &day_table(frame, &ending.days)))
                }
            }
        }
        section aria-labelledby="soon" {
            h2 #soon { (words.certificates_soon()) }
            @if ending.list.is_empty() { p.empty { (words.certificates_none()) } }
            @else {
                div.step { p { (step.text.of(words.language())) } }
                (list(frame, &ending.list))
                @if ending.n_more > 0 {
                    p.note { (words.certificates_more(super::text::code("pcsid-watch report renewals"), ending.n_more)) }
                }
            }
        }
    };
    layout(frame, &title, Here::Certificates, &main)
}

fn tile(frame: &Frame<'_>, n: u64, class: &str, label: &Markup) -> Markup {
    html! {
        li {
            div class={ "tile " (class) @if n == 0 { " none" } } {
                span.n { (frame.words.number(n)) }
                span.label { (label) }
            }
        }
    }
}

fn list(frame: &Frame<'_>, list: &[EndingCertificate]) -> Markup {
    let words = frame.words;
    let titles = [
        words.col_device(),
        words.col_vat(),
        words.certificate_ends(),
        words.certificate_from(),
        words.certificate_reminded(),
    ]
    .map(|title| title.to_string());
    let [device, vat, ends, from, reminded] = &titles;
    html! {
        table.folds {
            caption.unseen { (words.certificates_soon()) }
            thead { tr { @for title in &titles { th scope="col" { (title) } } } }
            tbody {
                @for ending in list {
                    tr {
                        th scope="row" data-label=(device) {
                            @match &ending.device_id {
                                Some(device_id) => (theirs(&cut(device_id, 64))),
                                None => "–",
                            }
                        }
                        td data-label=(vat) { (link_to_vat(&ending.vat)) }
                        td data-label=(ends) {
                            @if ending.expires_at <= frame.now {
                                span.chip.failed { (icon(Icon::Bad)) (words.certificate_ended()) } " "
                            }
                            (moment(frame, ending.expires_at))
                        }
                        td data-label=(from) {
                            @match &ending.activity_id {
                                Some(activity_id) => (link_to(&ending.vat, activity_id)),
                                None => (words.certificate_imported()),
                            }
                        }
                        td data-label=(reminded) {
                            @if let Some(at) = ending.reminded_at { (how_far(frame, at)) }
                        }
                    }
                }
            }
        }
    }
}

const LEFT: f64 = 64.0;
const TOP: f64 = 22.0;
const CELL: f64 = 15.0;
const WIDTH: f64 = LEFT + CELL * 31.0 + 2.0;

/// Months in the calendar: from this one to the same one next year.
const N_MONTHS: i32 = 13;

/// A day of the calendar that exists.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    /// The distance of its edge from the side on which reading begins.
    x: f64,
    y: f64,
    date: Date,
    n: u64,
}

/// A row for each month, from today's on, and a column for each day of the month.
fn cells(today: Date, days: &BTreeMap<Date, u64>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for row in 0..N_MONTHS {
        let Ok(first) = today.first_of_month().checked_add(jiff::Span::new().months(row)) else { break };
        for day in 1..=first.days_in_month() {
            let Ok(date) = Date::new(first.year(), first.month(), day) else { continue };
            let n = days.get(&date).copied().unwrap_or(0);
            let (x, y) = (LEFT + CELL * f64::from(day - 1), TOP + CELL * f64::from(row));
            cells.push(Cell { x, y, date, n });
        }
    }
    cells
}

fn calendar(frame: &Frame<'_>, days: &BTreeMap<Date, u64>) -> Markup {
    let words = frame.words;
    let today = frame.zone.date(frame.now);
    let cells = cells(today, days);
    let most = cells.iter().map(|cell| cell.n).max().unwrap_or(0);
    let height = TOP + CELL * f64::from(N_MONTHS) + 2.0;
    let summary = words.certificates_calendar(days.values().sum::<u64>()).to_string();
    // Days run with the reading direction.
    let from = |x: f64, width: f64| if words.is_rtl() { WIDTH - x - width } else { x };
    html! {
        svg.plot.calendar viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(summary) {
            @for day in [1_u8, 5, 10, 15, 20, 25, 31] {
                text.tick x=(from(LEFT + CELL * (f64::from(day) - 0.5), 0.0)) y=(TOP - 7.0) text-anchor="middle" { (day) }
            }
            @for cell in cells.iter().filter(|cell| cell.date.day() == 1) {
                text.tick x=(from(LEFT - 34.0, 0.0)) y=(cell.y + CELL - 4.0) text-anchor="middle" {
                    (cell.date.strftime("%Y-%m"))
                }
            }
            @for cell in &cells {
                @let class = shade(cell.n, most);
                g {
                    @if cell.n > 0 || cell.date == today { title { (cell.date) ": " (words.number(cell.n)) } }
                    rect class={ "day " (class) @if cell.date == today { " today" } @if cell.date < today { " past" } }
                        x=(from(cell.x + 1.0, CELL - 2.0)) y=(cell.y + 1.0) width=(CELL - 2.0) height=(CELL - 2.0)
                        rx="2" {}
                    @if cell.n > 0 {
                        text class={ "count " (class) } x=(from(cell.x + CELL / 2.0, 0.0)) y=(cell.y + CELL - 4.0)
                            text-anchor="middle" { @if cell.n < 100 { (cell.n) } @else { "+" } }
                    }
                }
            }
        }
    }
}

/// The class of a day, by its share of the highest number.
fn shade(n: u64, most: u64) -> &'static str {
    match (n, (u128::from(n) * 5).div_ceil(u128::from(most.max(1)))) {
        (0, _) => "h0",
        (_, 0 | 1) => "h1",
        (_, 2) => "h2",
        (_, 3) => "h3",
        (_, 4) => "h4",
        _ => "h5",
    }
}

fn day_table(frame: &Frame<'_>, days: &BTreeMap<Date, u64>) -> Markup {
    let words = frame.words;
    html! {
        table.numbers {
            caption.unseen { (words.certificates_by_day()) }
            thead { tr { th scope="col" { (words.certificate_day()) } th scope="col" { (words.nav_certificates()) } } }
            tbody {
                @for (day, n) in days {
                    tr { th scope="row" { time datetime=(day) dir="ltr" { (day) } } td { (words.number(*n)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_calendar_has_every_day_of_its_months_once_within_its_box() {
        for today in [date(2026, 11, 26), date(2028, 2, 29), date(2026, 1, 31)] {
            let days = BTreeMap::from([
                (today, 3),
                (today.tomorrow().unwrap(), 400),
                (today.checked_add(jiff::Span::new().days(365)).unwrap(), 1),
            ]);
            let cells = cells(today, &days);
            let dates: std::collections::BTreeSet<Date> = cells.iter().map(|cell| cell.date).collect();
            assert_eq!(dates.len(), cells.len(), "{today}");
            assert!((393..=397).contains(&cells.len()), "{today}: {}", cells.len());
            assert_eq!(cells.iter().map(|cell| cell.n).sum::<u64>(), 404, "{today}");
            assert!(cells.iter().all(|cell| cell.x >= LEFT && cell.x + CELL <= WIDTH));
            assert!(cells.iter().all(|cell| cell.y >= TOP));
        }
    }

    #[test]
    fn shades_go_from_nothing_to_most() {
        let shades: Vec<_> = [0, 1, 20, 40, 60, 80, 100].map(|n| shade(n, 100)).into();
        assert_eq!(shades, ["h0", "h1", "h1", "h2", "h3", "h4", "h5"]);
        assert_eq!((shade(1, 1), shade(u64::MAX, u64::MAX)), ("h5", "h5"));
    }
}
