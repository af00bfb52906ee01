//! Numbers, shares and spans of time.
//!
//! Digits are ASCII in both languages, as on tax invoices, in ZATCA's portal and in Excel: a number on a page is often
//! compared with an id or a VAT number, which has no other digits.

use std::time::Duration;

use fluent_bundle::FluentValue;
use fluent_bundle::types::FluentNumber;
use icu_decimal::input::Decimal;
use icu_decimal::options::DecimalFormatterOptions;
use icu_decimal::{DecimalFormatter, DecimalFormatterPreferences};
use icu_locale_core::locale;

use super::{BEGIN, END, Words};
use crate::domain::catalogue::Language;
use crate::domain::time::Timestamp;

thread_local! {
    /// English and Arabic; `None` if the library lacks its data, which a test would find.
    static FORMATTERS: [Option<DecimalFormatter>; 2] = {
        let of = |preferences: DecimalFormatterPreferences| {
            DecimalFormatter::try_new(preferences, DecimalFormatterOptions::default()).ok()
        };
        [of((&locale!("en")).into()), of((&locale!("ar-SA-u-nu-latn")).into())]
    };
}

/// Formats a number in a message as the mark of an argument. The options carry its position.
pub(super) fn format_number<M>(value: &FluentValue<'_>, _: &M) -> Option<String> {
    match value {
        FluentValue::Number(FluentNumber { options, .. }) => {
            options.minimum_integer_digits.map(|nth| format!("{BEGIN}{nth}{END}"))
        }
        _ => None,
    }
}

/// A small number with the same plural form. In Arabic "few" and "many" depend on the last two digits, but the library
/// judges by the whole number, and it can't take numbers as large as ours.
pub(super) fn of_same_plural(n: u64) -> f64 {
    let small = match (n, n % 100) {
        (0..=100, _) => n,
        (_, 0..=2) => 100,
        (_, rest) => rest,
    };
    small as f64
}

const UNITS: [(u128, Unit); 4] =
    [(86_400_000, Unit::Days), (3_600_000, Unit::Hours), (60_000, Unit::Minutes), (1_000, Unit::Seconds)];

#[derive(Debug, Clone, Copy)]
enum Unit {
    Days,
    Hours,
    Minutes,
    Seconds,
}

impl Words {
    /// With groups of three: `1,234,567`.
    pub fn number(self, n: u64) -> String {
        let nth = usize::from(self.language == Language::Arabic);
        FORMATTERS.with(|formatters| match formatters.get(nth) {
            Some(Some(formatter)) => formatter.format(&Decimal::from(n)).to_string(),
            _ => n.to_string(),
        })
    }

    /// A round number for an axis: `500`, `20k`, `1.5M`.
    pub(crate) fn compact(self, n: u64) -> String {
        for (unit, name) in [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
            if n >= unit && (n >= 10_000 || n.is_multiple_of(1_000)) {
                let tenths = n / (unit / 10);
                return match tenths % 10 {
                    0 => format!("{}{name}", tenths / 10),
                    tenth => format!("{}.{tenth}{name}", tenths / 10),
                };
            }
        }
        self.number(n)
    }

    /// `part` of `whole` in percent. It says 0% only for nothing and 100% only for all.
    pub(crate) fn percent(self, part: u64, whole: u64) -> String {
        match (part, whole) {
            (_, 0) => "–".to_owned(),
            (0, _) => "0%".to_owned(),
            _ if part >= whole => "100%".to_owned(),
            _ => match (u128::from(part) * 200 + u128::from(whole)) / (u128::from(whole) * 2) {
                0 => "<1%".to_owned(),
                100.. => ">99%".to_owned(),
                share => format!("{share}%"),
            },
        }
    }

    fn short(self, n: u64, unit: Unit) -> String {
        match unit {
            Unit::Days => self.short_days(n),
            Unit::Hours => self.short_hours(n),
            Unit::Minutes => self.short_minutes(n),
            Unit::Seconds => self.short_seconds(Words::number(self, n)),
        }
        .to_string()
    }

    /// In its two largest units, short: `4 min 12 s`.
    pub fn duration(self, duration: Duration) -> String {
        let ms = duration.as_millis();
        if ms < 1_000 {
            return self.short_milliseconds(u64::try_from(ms).unwrap_or(0)).to_string();
        }
        if ms < 10_000 && !ms.is_multiple_of(1_000) {
            return self.short_seconds(format!("{:.1}", (ms / 100) as f64 / 10.0)).to_string();
        }
        let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        let mut parts = UNITS.iter().skip_while(|(unit, _)| ms < *unit);
        let Some((unit, name)) = parts.next() else { return String::new() };
        let larger = self.short(whole(ms / unit), *name);
        match parts.next().filter(|(smaller, _)| ms % unit >= *smaller) {
            Some((smaller, name)) => format!("{larger} {}", self.short(whole(ms % unit / smaller), *name)),
            None => larger,
        }
    }

    /// In its largest unit alone, for the middle of a sentence: `4 min`.
    pub fn roughly(self, duration: Duration) -> String {
        let ms = duration.as_millis();
        let Some((unit, name)) = UNITS.iter().find(|(unit, _)| ms >= *unit) else {
            return self.span_under_a_second().to_string();
        };
        let n = u64::try_from(ms / unit).unwrap_or(u64::MAX);
        match name {
            Unit::Days => self.span_days(n),
            Unit::Hours => self.span_hours(n),
            Unit::Minutes => self.span_minutes(n),
            Unit::Seconds => self.span_seconds(n),
        }
        .to_string()
    }

    /// How far off a time is: `4 min ago`, `in 4 min`, `just now`.
    pub fn distance(self, now: Timestamp, at: Timestamp) -> String {
        let a_second = Duration::from_secs(1);
        match (now.since(at), at.since(now)) {
            (past, ahead) if past < a_second && ahead < a_second => self.just_now(),
            (past, Duration::ZERO) => self.ago(self.roughly(past)),
            (_, ahead) => self.in_span(self.roughly(ahead)),
        }
        .to_string()
    }

    /// A month in short, from 1 on.
    pub(crate) fn month(self, nth: i8) -> String {
        match nth {
            1 => self.month_1(),
            2 => self.month_2(),
            3 => self.month_3(),
            4 => self.month_4(),
            5 => self.month_5(),
            6 => self.month_6(),
            7 => self.month_7(),
            8 => self.month_8(),
            9 => self.month_9(),
            10 => self.month_10(),
            11 => self.month_11(),
            _ => self.month_12(),
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN: Words = Words::of(Language::English);
    const AR: Words = Words::of(Language::Arabic);

    #[test]
    fn numbers_are_grouped_by_three_in_both_languages() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(EN.number(n), text);
            assert_eq!(AR.number(n), text);
        }
        assert_eq!(EN.number(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        for (n, text) in [
            (0, "0"),
            (500, "500"),
            (1_000, "1k"),
            (1_500, "1,500"),
            (15_000, "15k"),
            (1_500_000, "1.5M"),
            (2_000_000_000, "2G"),
        ] {
            assert_eq!(EN.compact(n), text);
        }
    }

    #[test]
    fn a_share_is_neither_nothing_nor_all_unless_it_is_so() {
        for (part, whole, text) in [
            (0, 0, "–"),
            (0, 9, "0%"),
            (1, 1_000, "<1%"),
            (1, 3, "33%"),
            (2, 3, "67%"),
            (999, 1_000, ">99%"),
            (9, 9, "100%"),
            (u64::MAX - 1, u64::MAX, ">99%"),
        ] {
            assert_eq!(EN.percent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (850, "850 ms"),
            (4_250, "4.2 s"),
            (5_000, "5 s"),
            (252_000, "4 min 12 s"),
            (3_600_000, "1 h"),
            (3_605_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(EN.duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(AR.duration(Duration::from_secs(252)), "4 د 12 ث");
        assert!(EN.duration(Duration::MAX).contains(" d"));
    }

    #[test]
    fn distances_point_to_either_side() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (delta_ms, english, arabic) in [
            (0, "just now", "الآن"),
            (-999, "just now", "الآن"),
            (-1_000, "1 s ago", "قبل ثانية واحدة"),
            (-200_000, "3 min ago", "قبل 3 دقائق"),
            (7_200_000, "in 2 h", "بعد ساعتين"),
            (-40_000, "40 s ago", "قبل 40 ثانية"),
            (900, "just now", "الآن"),
        ] {
            assert_eq!(EN.distance(now, now.shifted(delta_ms)), english);
            assert_eq!(AR.distance(now, now.shifted(delta_ms)), arabic);
        }
    }
}
