//! Times and other people's texts, as a reader wants to see them.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::Frame;
use crate::domain::time::Timestamp;

/// A time on the reader's clock, isolated: its parts keep their order in a text that runs from right to left.
pub(super) fn clock(frame: &Frame<'_>, at: Timestamp) -> Markup {
    html! { time datetime=(at) dir="ltr" { (frame.zone.second(at)) } }
}

/// A time, and how far off it is.
pub(super) fn moment(frame: &Frame<'_>, at: Timestamp) -> Markup {
    html! {
        span.moment {
            (clock(frame, at)) " " span.soft { "(" (frame.words.distance(frame.now, at)) ")" }
        }
    }
}

/// The same for a narrow column: how far off it is, and below it the time to the minute.
pub(super) fn moment_stacked(frame: &Frame<'_>, at: Timestamp) -> Markup {
    stacked(frame, html! { (frame.words.distance(frame.now, at)) }, at)
}

/// What is said of a time, and below it the time to the minute.
pub(super) fn stacked(frame: &Frame<'_>, said: impl maud::Render, at: Timestamp) -> Markup {
    html! {
        span.moment.stacked {
            span { (said) } " " time.soft datetime=(at) dir="ltr" { (frame.zone.minute(at)) }
        }
    }
}

/// How far off a time is, and the time itself for machines and pointers.
pub(super) fn how_far(frame: &Frame<'_>, at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(frame.zone.second(at)) { (frame.words.distance(frame.now, at)) } }
}

/// An id, a code or a command: always from left to right, whatever surrounds it.
pub(super) fn code(text: &str) -> Markup {
    html! { code dir="ltr" { (visible(text)) } }
}

/// Text that somebody else wrote, on its own in every sense: its direction is its own and does not reach
/// beyond it.
pub(crate) fn theirs(text: &str) -> Markup {
    html! { bdi dir="auto" { (visible(text)) } }
}

/// A sentence that the database keeps in English: in the reader's language where it is one of ours, else as it is.
pub(super) fn stored(frame: &Frame<'_>, sentence: &str, n_chars: usize) -> Markup {
    let known = frame.words.stored(sentence);
    theirs(&cut(known.as_deref().unwrap_or(sentence), n_chars))
}

/// Their text with what can't be seen made visible: control characters, and the marks that would let text be
/// read in another order than it is written in. Line breaks and tabs stay.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\r' => {}
            c if c.is_control() || is_reordering(c) => {
                let _ = write!(shown, "⟦U+{:04X}⟧", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Whether a character can't be seen and changes the order in which what follows is read.
pub(crate) fn is_reordering(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, n_chars: usize) -> String {
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
    fn what_can_not_be_seen_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{7}\r\n"), "a⟦U+202E⟧b⟦U+0007⟧\n");
        assert_eq!(visible("صندوق ١"), "صندوق ١");
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("صندوق", 3), "صند…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ab cd", 3), "ab…");
    }

    #[test]
    fn every_byte_survives_encoding() {
        assert_eq!(encoded("a/b c?&=%é-_.~"), "a%2Fb%20c%3F%26%3D%25%C3%A9-_.~");
    }
}
