//! Numbers, times and other people's texts, as a reader wants to see them.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use crate::domain::time::Timestamp;

/// With groups of three: `1,234,567`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// With its noun: `1 check`, `2 checks`.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A round number for an axis: `500`, `20k`, `1.5M`.
pub(super) fn compact(n: u64) -> String {
    for (unit, name) in [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
        if n >= unit && (n >= 10_000 || n.is_multiple_of(1_000)) {
            let tenths = n / (unit / 10);
            return match tenths % 10 {
                0 => format!("{}{name}", tenths / 10),
                tenth => format!("{}.{tenth}{name}", tenths / 10),
            };
        }
    }
    number(n)
}

/// `part` of `whole` in hundredths. Neither nothing nor all is said unless it is so.
pub(super) fn percent(part: u64, whole: u64) -> String {
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

const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];

/// In its two largest units: `4 min 12 s`.
pub(super) fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    if ms < 10_000 && !ms.is_multiple_of(1_000) {
        return format!("{:.1} s", (ms / 100) as f64 / 10.0);
    }
    let mut parts = UNITS.iter().skip_while(|(unit, _)| ms < *unit);
    let Some((unit, name)) = parts.next() else { return format!("{ms} ms") };
    let mut text = format!("{} {name}", ms / unit);
    if let Some((smaller, name)) = parts.next().filter(|(smaller, _)| ms % unit >= *smaller) {
        let _ = write!(text, " {} {name}", ms % unit / smaller);
    }
    text
}

/// In its largest unit alone: `4 min`.
pub(super) fn roughly(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = UNITS.iter().find(|(unit, _)| ms >= *unit);
    unit.map_or_else(|| "less than 1 s".to_owned(), |(unit, name)| format!("{} {name}", ms / unit))
}

/// How far off a time is: `4 min ago`, `in 4 min`, `just now`.
pub(super) fn distance(now: Timestamp, at: Timestamp) -> String {
    match (now.since(at), at.since(now)) {
        (past, ahead) if past < Duration::from_secs(1) && ahead < Duration::from_secs(1) => {
            "just now".to_owned()
        }
        (past, Duration::ZERO) => format!("{} ago", roughly(past)),
        (_, ahead) => format!("in {}", roughly(ahead)),
    }
}

/// A time in UTC to the second.
pub(super) fn utc(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => at.to_string(),
    }
}

/// A time in UTC, and how far off it is.
pub(super) fn moment(now: Timestamp, at: Timestamp) -> Markup {
    html! {
        time.moment datetime=(at) {
            span { (utc(at)) } " " span.soft { "(" (distance(now, at)) ")" }
        }
    }
}

/// The same for a narrow column: what it is the time of, how far off, and below it the time.
pub(super) fn moment_stacked(what: &str, now: Timestamp, at: Timestamp) -> Markup {
    html! {
        time.moment.stacked datetime=(at) { span { (what) (distance(now, at)) } " " span.soft { (utc(at)) } }
    }
}

/// Text that somebody else wrote, on its own in every sense: its direction is its own and does not reach
/// beyond it.
pub(super) fn theirs(text: &str) -> Markup {
    html! { bdi dir="auto" { (visible(text)) } }
}

/// Their text with what can't be seen made visible: control characters, and the marks that would let text be
/// read in another order than it is written in. Line breaks and tabs stay.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\r' => {}
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                let _ = write!(shown, "⟦U+{:04X}⟧", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The beginning of a text.
pub(super) fn cut(text: &str, n_chars: usize) -> String {
    match text.char_indices().nth(n_chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// Percent-encoded, for one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "check", "checks"), "1 check");
        assert_eq!(counted(0, "check", "checks"), "0 checks");
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
            assert_eq!(compact(n), text);
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
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
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
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
        assert!(duration(Duration::MAX).contains(" d"));
    }

    #[test]
    fn distances_point_to_either_side() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (delta_ms, text) in [
            (0, "just now"),
            (-999, "just now"),
            (-1_000, "1 s ago"),
            (-200_000, "3 min ago"),
            (7_200_000, "in 2 h"),
            (900, "just now"),
        ] {
            assert_eq!(distance(now, now.shifted(delta_ms)), text);
        }
    }

    #[test]
    fn times_are_utc_for_eyes_and_rfc_3339_for_programs() {
        let at = Timestamp::from_millis(1_779_786_131_007);
        let shown = moment(at.shifted(180_000), at).into_string();
        assert!(shown.contains(r#"datetime="2026-05-26T09:02:11.007Z""#), "{shown}");
        assert!(shown.contains("2026-05-26 09:02:11 UTC"), "{shown}");
        assert!(shown.contains("3 min ago"), "{shown}");
    }

    #[test]
    fn what_can_not_be_seen_is_made_visible() {
        assert_eq!(visible("a\u{202e}b\u{7}c\nd\u{2066}"), "a⟦U+202E⟧b⟦U+0007⟧c\nd⟦U+2066⟧");
        assert_eq!(visible("صندوق ١"), "صندوق ١");
        let shown = theirs("<b>\"'&").into_string();
        assert_eq!(shown, r#"<bdi dir="auto">&lt;b&gt;&quot;'&amp;</bdi>"#);
    }

    #[test]
    fn ids_are_encoded_byte_by_byte() {
        assert_eq!(encoded("a-Z_9.~"), "a-Z_9.~");
        assert_eq!(encoded("a/b?c=d&e f%"), "a%2Fb%3Fc%3Dd%26e%20f%25");
        assert_eq!(encoded("ص"), "%D8%B5");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("صندوق", 3), "صند…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
