//! Plots as SVG: geometry here, colours in the style sheet.
//!
//! Everything is drawn in a box of [`WIDTH`] by [`HEIGHT`] that the page scales. On a phone, where the box is small,
//! its text is relatively larger, so more room is left for text than a wide page needs.
//!
//! Positions are calculated from left to right. If the reader's language runs the other way, the drawing is mirrored:
//! time and magnitude run with the reading direction.

use std::time::Duration;

use maud::{Markup, html};

use super::marks::class_of;
use crate::domain::activity::State;
use crate::store::{Bucket, Day, Durations};
use crate::words::Words;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 168.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 6.0;
const BOTTOM: f64 = HEIGHT - 28.0;

/// States from the bottom of a bar to its top.
pub(super) const STACKED: [State; 5] =
    [State::Succeeded, State::Failed, State::Rejected, State::Expired, State::Cancelled];

/// The smallest height that can be seen.
const LEAST: f64 = 1.5;

/// A part of a bar.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// Shown while a pointer is over it.
    title: String,
}

/// A label below the axis.
#[derive(Debug, Clone, PartialEq)]
struct Tick {
    x: f64,
    anchor: &'static str,
    text: String,
}

/// Conclusions per day as stacked bars.
pub(super) fn conclusions(words: Words, days: &[Day], summary: &str) -> Markup {
    const TOP: f64 = 10.0;
    let axis = Axis::up_to(days.iter().map(Day::total).max().unwrap_or(0));
    let column = (RIGHT - LEFT) / days.len().max(1) as f64;
    let bars = stacks(words, days, &axis, TOP);
    let ticks = day_ticks(words, days, column);
    html! {
        svg.plot viewBox=(view_box()) role="img" aria-label=(summary) {
            (grid(words, &axis, TOP))
            @for bar in &bars {
                g {
                    title { (bar.title) }
                    (rectangle(words, bar, bar.class))
                    // Drawn again, hatched, for readers who can't tell the colours apart.
                    (rectangle(words, bar, &format!("hatch-{}", bar.class)))
                }
            }
            (below(words, &ticks))
        }
    }
}

/// Where a point is drawn across the box.
fn across(words: Words, x: f64) -> f64 {
    rounded(if words.is_rtl() { WIDTH - x } else { x })
}

/// The hatchings, once for a page. Each is named after the class of its state.
pub(super) fn hatchings() -> Markup {
    html! {
        svg.defs width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern #hatch-failed width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.hatch width="1.6" height="5" {}
                }
                pattern #hatch-rejected width="5" height="5" patternUnits="userSpaceOnUse" {
                    circle.hatch cx="2.5" cy="2.5" r="1.1" {}
                }
                pattern #hatch-expired width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect.hatch width="4" height="1.3" {}
                }
                pattern #hatch-cancelled width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect.hatch width="1.3" height="4" {}
                }
            }
        }
    }
}

/// The colour and hatching of a state, for a legend.
pub(super) fn swatch(state: State) -> Markup {
    let bar = Bar { class: class_of(state), x: 0.0, y: 0.0, width: 14.0, height: 14.0, title: String::new() };
    html! {
        svg.swatch viewBox="0 0 14 14" width="14" height="14" aria-hidden="true" focusable="false" {
            (drawn(&bar, 0.0, bar.class)) (drawn(&bar, 0.0, &format!("hatch-{}", bar.class)))
        }
    }
}

/// A share of a whole as a horizontal bar.
pub(super) fn share(words: Words, part: u64, whole: u64) -> Markup {
    let hundredths = if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0).clamp(0.5, 100.0) };
    let x = if words.is_rtl() { 100.0 - hundredths } else { 0.0 };
    html! {
        svg.share aria-hidden="true" focusable="false" {
            rect x={ (rounded(x)) "%" } width={ (rounded(hundredths)) "%" } height="100%" {}
        }
    }
}

/// Durations as a histogram on a logarithmic axis, with median and 95th percentile.
pub(super) fn durations(words: Words, durations: &Durations, summary: &str) -> Markup {
    const TOP: f64 = 46.0;
    let axis = Axis::up_to(durations.buckets.iter().map(|bucket| bucket.n).max().unwrap_or(0));
    let scale = LogScale::over(&durations.buckets);
    let bars = histogram(words, &durations.buckets, &axis, &scale, TOP);
    let mark = |name: String, value: Option<Duration>, row: f64, prefers_left: bool| {
        let Some(value) = value else { return html! {} };
        let x = scale.x(value);
        // As wide as the longest label is on a phone.
        let room = 175.0;
        let left = if prefers_left { x - LEFT > room } else { RIGHT - x < room };
        let (anchor, text_x) = if left { ("end", x - 5.0) } else { ("start", x + 5.0) };
        html! {
            line.mark x1=(across(words, x)) x2=(across(words, x)) y1=(rounded(row - 11.0)) y2=(BOTTOM) {}
            text.mark-label x=(across(words, text_x)) y=(row) text-anchor=(anchor) { (name) " " (words.duration(value)) }
        }
    };
    html! {
        svg.plot viewBox=(view_box()) role="img" aria-label=(summary) {
            (grid(words, &axis, TOP))
            @for bar in &bars { g { title { (bar.title) } (rectangle(words, bar, bar.class)) } }
            (below(words, &scale.ticks(words)))
            // The upper label may be above the lower mark, but not the other way round.
            (mark(words.plot_p95().to_string(), durations.p95, 14.0, false))
            (mark(words.plot_median().to_string(), durations.median, 34.0, true))
        }
    }
}

fn view_box() -> String {
    format!("0 0 {WIDTH} {HEIGHT}")
}

fn rectangle(words: Words, bar: &Bar, fill: &str) -> Markup {
    drawn(bar, if words.is_rtl() { WIDTH - bar.x - bar.width } else { bar.x }, fill)
}

fn drawn(bar: &Bar, x: f64, fill: &str) -> Markup {
    let hatched = fill.starts_with("hatch-");
    html! {
        @if !hatched || fill != "hatch-succeeded" {
            rect class=[(!hatched).then_some(format!("bar {fill}"))] fill=[hatched.then(|| format!("url(#{fill})"))]
                x=(rounded(x)) y=(rounded(bar.y)) width=(rounded(bar.width)) height=(rounded(bar.height)) {}
        }
    }
}

/// The bars of each day.
fn stacks(words: Words, days: &[Day], axis: &Axis, top: f64) -> Vec<Bar> {
    let column = (RIGHT - LEFT) / days.len().max(1) as f64;
    let gap = (column * 0.18).min(4.0);
    let mut bars = Vec::new();
    for (nth, day) in days.iter().enumerate() {
        let counts: Vec<(State, u64)> = STACKED
            .into_iter()
            .filter_map(|state| Some((state, *day.states.get(&state)?)))
            .filter(|(_, n)| *n > 0)
            .collect();
        let mut bottom = BOTTOM;
        for ((state, n), height) in counts.iter().zip(heights(&counts, axis, top)) {
            bottom -= height;
            bars.push(Bar {
                class: class_of(*state),
                x: LEFT + column * nth as f64 + gap / 2.0,
                y: bottom,
                width: column - gap,
                height,
                title: words
                    .days_bar(day.date.to_string(), words.number(*n), words.state_word(*state))
                    .to_string(),
            });
        }
    }
    bars
}

/// How high each part of a bar is. A part that would be too small to see is drawn larger, and the largest one smaller.
fn heights(counts: &[(State, u64)], axis: &Axis, top: f64) -> Vec<f64> {
    let exact: Vec<f64> = counts.iter().map(|(_, n)| axis.height(*n, top)).collect();
    let total = exact.iter().sum::<f64>().max(LEAST * exact.len() as f64);
    let mut shown: Vec<f64> = exact.iter().map(|height| height.max(LEAST)).collect();
    let excess = shown.iter().sum::<f64>() - total;
    if let Some(largest) = shown.iter_mut().max_by(|a, b| a.total_cmp(b)) {
        *largest = (*largest - excess).max(LEAST);
    }
    shown
}

/// A label for today and for the same day of each week before.
fn day_ticks(words: Words, days: &[Day], column: f64) -> Vec<Tick> {
    let last = days.len().saturating_sub(1);
    let weekly = days.iter().enumerate().filter(|(nth, _)| (last - nth).is_multiple_of(7));
    weekly
        .map(|(nth, day)| {
            let at_the_end = nth == last && days.len() > 1;
            Tick {
                x: LEFT + column * (nth as f64 + if at_the_end { 1.0 } else { 0.5 }),
                anchor: if at_the_end { "end" } else { "middle" },
                text: format!("{} {}", day.date.day(), words.month(day.date.month())),
            }
        })
        .collect()
}

fn histogram(words: Words, buckets: &[Bucket], axis: &Axis, scale: &LogScale, top: f64) -> Vec<Bar> {
    let bar = |bucket: &Bucket| {
        let (from, until) = (scale.x(bucket.from), scale.x(bucket.until));
        let height = axis.height(bucket.n, top).max(LEAST);
        Bar {
            class: "duration",
            x: from + 0.5,
            y: BOTTOM - height,
            width: (until - from - 1.0).max(0.5),
            height,
            title: words
                .durations_bar(
                    words.n_activities(bucket.n),
                    words.duration(bucket.from),
                    words.duration(bucket.until),
                )
                .to_string(),
        }
    };
    buckets.iter().filter(|bucket| bucket.n > 0).map(bar).collect()
}

/// Counts on a vertical axis, in steps that are round numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    step: u64,
    n_steps: u64,
}

impl Axis {
    fn up_to(max: u64) -> Self {
        const MAX_STEPS: u64 = 4;
        let fits = |step: &u64| max.div_ceil(*step) <= MAX_STEPS;
        let decades = (0..19).map(|power| 10_u64.pow(power));
        let step = decades.flat_map(|unit| [1, 2, 5].map(|n| unit.saturating_mul(n))).find(fits);
        let step = step.unwrap_or(u64::MAX);
        Self { step, n_steps: max.div_ceil(step).max(1) }
    }

    fn height(&self, n: u64, top: f64) -> f64 {
        let whole = self.step as f64 * self.n_steps as f64;
        ((BOTTOM - top) * (n as f64 / whole)).min(BOTTOM - top)
    }
}

fn grid(words: Words, axis: &Axis, top: f64) -> Markup {
    html! {
        @for nth in 0..=axis.n_steps {
            @let n = axis.step.saturating_mul(nth);
            @let y = BOTTOM - (BOTTOM - top) * nth as f64 / axis.n_steps as f64;
            line class=(if nth == 0 { "base" } else { "grid" }) x1=(across(words, LEFT)) x2=(across(words, RIGHT))
                y1=(rounded(y)) y2=(rounded(y)) {}
            text.tick x=(across(words, LEFT - 6.0)) y=(rounded(y + 4.0)) text-anchor="end" { (words.compact(n)) }
        }
    }
}

fn below(words: Words, ticks: &[Tick]) -> Markup {
    html! {
        @for tick in ticks {
            text.tick x=(across(words, tick.x)) y=(HEIGHT - 8.0) text-anchor=(tick.anchor) { (tick.text) }
        }
    }
}

/// Durations on a horizontal axis, by their logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LogScale {
    from: f64,
    until: f64,
}

impl LogScale {
    /// Over all of these, and over a factor of ten at least.
    fn over(buckets: &[Bucket]) -> Self {
        let from = buckets.first().map_or(3.0, |bucket| logarithm(bucket.from));
        let until = buckets.last().map_or(4.0, |bucket| logarithm(bucket.until));
        let lack = ((1.0 - (until - from)) / 2.0).max(0.0);
        Self { from: from - lack, until: until + lack }
    }

    fn x(&self, duration: Duration) -> f64 {
        let share = (logarithm(duration) - self.from) / (self.until - self.from);
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    /// As many familiar durations as there is room for: one and ten of each unit first, then those in between.
    fn ticks(&self, words: Words) -> Vec<Tick> {
        const ROOM: f64 = 66.0;
        const S: u64 = 1_000;
        const MIN: u64 = 60 * S;
        const H: u64 = 60 * MIN;
        const D: u64 = 24 * H;
        let first = [1, 10, 100, S, 10 * S, MIN, 10 * MIN, H, D, 10 * D, 100 * D];
        let then = [5 * S, 30 * S, 5 * MIN, 30 * MIN, 6 * H, 12 * H, 3 * D, 30 * D];
        let last = [2 * S, 20 * S, 2 * MIN, 20 * MIN, 2 * H, 3 * H, 2 * D, 5 * D];
        let mut ticks: Vec<Tick> = Vec::new();
        for ms in first.into_iter().chain(then).chain(last) {
            let at = Duration::from_millis(ms);
            let is_inside = (self.from..=self.until).contains(&logarithm(at));
            let x = self.x(at);
            let has_room =
                x <= RIGHT - ROOM / 2.0 + 6.0 && ticks.iter().all(|tick| (tick.x - x).abs() >= ROOM);
            if is_inside && has_room {
                ticks.push(Tick { x, anchor: "middle", text: words.duration(at) });
            }
        }
        ticks
    }
}

/// The logarithm of its milliseconds, of which there is at least one.
fn logarithm(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).max(1.0).log10()
}

/// To hundredths: more would only make the page longer.
fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::civil::date;

    use super::*;
    use crate::domain::catalogue::Language;

    const EN: Words = Words::of(Language::English);
    const AR: Words = Words::of(Language::Arabic);

    fn day(nth: i8, states: &[(State, u64)]) -> Day {
        Day { date: date(2026, 5, nth), states: states.iter().copied().collect::<BTreeMap<_, _>>() }
    }

    fn bucket(from_ms: u64, until_ms: u64, n: u64) -> Bucket {
        Bucket { from: Duration::from_millis(from_ms), until: Duration::from_millis(until_ms), n }
    }

    fn assert_in_box(bars: &[Bar], top: f64) {
        for bar in bars {
            assert!(bar.x >= LEFT && bar.x + bar.width <= RIGHT + 1e-9, "{bar:?}");
            assert!(bar.y >= top - 1e-9 && bar.y + bar.height <= BOTTOM + 1e-9, "{bar:?}");
            assert!(bar.width > 0.0 && bar.height > 0.0, "{bar:?}");
        }
    }

    fn check_days(days: &[Day], n_bars: usize) {
        let axis = Axis::up_to(days.iter().map(Day::total).max().unwrap_or(0));
        let bars = stacks(EN, days, &axis, 10.0);
        assert_eq!(bars.len(), n_bars);
        assert_in_box(&bars, 10.0);
        let column = (RIGHT - LEFT) / days.len().max(1) as f64;
        for tick in day_ticks(EN, days, column) {
            assert!((0.0..=WIDTH).contains(&tick.x), "{tick:?}");
        }
        for words in [EN, AR] {
            let drawn = conclusions(words, days, "all").into_string();
            assert!(drawn.contains("viewBox"), "{drawn}");
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }

    #[test]
    fn bars_stay_within_their_box() {
        check_days(&[], 0);
        check_days(&[day(1, &[])], 0);
        check_days(&[day(1, &[(State::Succeeded, 1)])], 1);
        let huge: Vec<(State, u64)> = STACKED
            .iter()
            .map(|state| (*state, if *state == State::Failed { u64::MAX / 2 } else { 1 }))
            .collect();
        check_days(&[day(1, &huge), day(2, &[(State::Expired, 1)])], 6);
        let month: Vec<Day> = (1..=30).map(|nth| day(nth, &[(State::Succeeded, 1 << nth)])).collect();
        check_days(&month, 30);
    }

    #[test]
    fn one_failure_among_very_many_successes_can_still_be_seen() {
        let counts = [(State::Succeeded, 1_000_000), (State::Failed, 1)];
        let axis = Axis::up_to(1_000_001);
        let heights = heights(&counts, &axis, 10.0);
        assert_eq!(heights[1], LEAST);
        assert!((heights.iter().sum::<f64>() - axis.height(1_000_001, 10.0)).abs() < 1e-6);
    }

    #[test]
    fn steps_of_an_axis_are_round_and_few() {
        for (max, step, n_steps) in
            [(0, 1, 1), (1, 1, 1), (4, 1, 4), (5, 2, 3), (17, 5, 4), (101, 50, 3), (1_234_567, 500_000, 3)]
        {
            assert_eq!(Axis::up_to(max), Axis { step, n_steps }, "{max}");
        }
        assert!(Axis::up_to(u64::MAX).n_steps <= 4);
    }

    fn check_durations(durations_: &Durations) {
        let axis = Axis::up_to(durations_.buckets.iter().map(|bucket| bucket.n).max().unwrap_or(0));
        let scale = LogScale::over(&durations_.buckets);
        assert_in_box(&histogram(EN, &durations_.buckets, &axis, &scale, 50.0), 50.0);
        let ticks = scale.ticks(EN);
        assert!(!ticks.is_empty(), "{scale:?}");
        for tick in ticks {
            assert!((LEFT..=RIGHT).contains(&tick.x), "{tick:?}");
        }
        let drawn = durations(EN, durations_, "all").into_string();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn a_histogram_stays_within_its_box() {
        check_durations(&Durations::default());
        check_durations(&Durations {
            n: 1,
            median: Some(Duration::ZERO),
            p95: Some(Duration::MAX),
            buckets: vec![bucket(0, 1, 1)],
        });
        for exponent in 0..9 {
            let from = 10_u64.pow(exponent);
            check_durations(&Durations {
                buckets: vec![bucket(from, from * 4 / 3 + 1, 7)],
                ..Durations::default()
            });
        }
        let buckets =
            (0..11).map(|nth| bucket(10_u64.pow(nth), 10_u64.pow(nth + 1), u64::MAX >> nth)).collect();
        check_durations(&Durations { n: u64::MAX, buckets, ..Durations::default() });
    }

    #[test]
    fn median_and_percentile_are_marked_with_their_values() {
        let drawn = durations(
            EN,
            &Durations {
                n: 3,
                median: Some(Duration::from_secs(252)),
                p95: Some(Duration::from_secs(3_700)),
                buckets: vec![bucket(1_000, 10_000_000, 3)],
            },
            "all",
        )
        .into_string();
        assert!(drawn.contains("half within 4 min 12 s"), "{drawn}");
        assert!(drawn.contains("95% within 1 h 1 min"), "{drawn}");
    }

    #[test]
    fn a_share_fills_at_most_its_bar() {
        for (part, whole, width) in [(0, 0, "0%"), (1, 2, "50%"), (5, 2, "100%"), (1, u64::MAX, "0.5%")] {
            let drawn = share(EN, part, whole).into_string();
            assert!(drawn.contains(&format!("width=\"{width}\"")), "{drawn}");
        }
    }

    #[test]
    fn time_and_magnitude_run_with_the_reading_direction() {
        let days = [day(1, &[(State::Succeeded, 1)]), day(2, &[]), day(3, &[])];
        let x_of_bar = |words| -> f64 {
            let drawn = conclusions(words, &days, "all").into_string();
            let (_, bar) = drawn.split_once("class=\"bar succeeded\"").unwrap();
            bar.split("x=\"").nth(1).and_then(|x| x.split('"').next()).unwrap().parse().unwrap()
        };
        assert!(x_of_bar(EN) < WIDTH / 2.0);
        assert!(x_of_bar(AR) > WIDTH / 2.0);
        assert!(share(AR, 1, 4).into_string().contains("x=\"75%\" width=\"25%\""));
    }
}
