//! Times, stored sentences and addresses, as pages show them.

use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Frame;
use crate::domain::time::Timestamp;

pub(super) use crate::words::{code, cut, prose, their_lines, theirs};

/// A time on the reader's clock, isolated, so that its parts keep their order in a text from right to left.
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

/// The same for a narrow column: how far off the time is, and below it the time to the minute.
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

/// How far off a time is. The time itself is for machines, and shown while a pointer is over it.
pub(super) fn how_far(frame: &Frame<'_>, at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(frame.zone.second(at)) { (frame.words.distance(frame.now, at)) } }
}

/// A sentence that the database keeps in English: translated if it is one of ours, else as it is.
pub(super) fn stored(frame: &Frame<'_>, sentence: &str, n_chars: usize) -> Markup {
    frame.words.stored_markup(sentence, n_chars).unwrap_or_else(|| theirs(&cut(sentence, n_chars)))
}

/// Percent-encoded, for one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A path with a query of those parameters that have a value.
pub(super) fn address(path: &str, parameters: &[(&str, &str)]) -> String {
    let given: Vec<String> = parameters
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_encoding() {
        assert_eq!(encoded("a/b c?&=%é-_.~"), "a%2Fb%20c%3F%26%3D%25%C3%A9-_.~");
    }
}
