//! Times, codes and other people's texts, as pages show them.

use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Frame;
use crate::domain::text::visible;
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

/// Longest id or code that is kept on one line: any phone has room for it.
const MAX_UNBROKEN_CHARS: usize = 24;

/// An id, a code or a command: always from left to right, whatever surrounds it, and never broken at a hyphen.
pub(crate) fn code(text: &str) -> Markup {
    let class = if text.chars().count() <= MAX_UNBROKEN_CHARS { "unbroken" } else { "whole" };
    html! { code class=(class) dir="ltr" { (visible(text)) } }
}

/// A text of ours, whose codes (`KSA-10`, `BT-112`) are isolated and never broken at their hyphens.
pub(crate) fn prose(text: &str) -> Markup {
    html! {
        @for piece in text.split_inclusive(|c: char| !is_of_code(c)) {
            @let word = piece.trim_end_matches(|c: char| !is_of_code(c));
            @if is_code(word) { bdi.unbroken dir="ltr" { (word) } (visible(&piece[word.len()..])) }
            @else { (visible(piece)) }
        }
    }
}

fn is_of_code(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

/// Whether a word is a code of ZATCA's or of an invoice's model: capitals, a hyphen and more.
fn is_code(word: &str) -> bool {
    let mut parts = word.split('-');
    word.len() <= MAX_UNBROKEN_CHARS
        && parts.next().is_some_and(|first| first.len() > 1 && first.bytes().all(|c| c.is_ascii_uppercase()))
        && parts.clone().next().is_some()
        && parts.all(|part| !part.is_empty())
}

/// Text that somebody else wrote, on its own in every sense: its direction is its own and does not reach
/// beyond it.
pub(crate) fn theirs(text: &str) -> Markup {
    html! { bdi dir="auto" { (visible(text)) } }
}

/// The same for a text of several lines: a box of its own, whose lines begin and end where its own direction wants
/// them.
pub(crate) fn their_lines(text: &str) -> Markup {
    html! { bdi.lines dir="auto" { (visible(text)) } }
}

/// A sentence that the database keeps in English: in the reader's language where it is one of ours, else as it is.
pub(super) fn stored(frame: &Frame<'_>, sentence: &str, n_chars: usize) -> Markup {
    frame.words.stored_markup(sentence, n_chars).unwrap_or_else(|| theirs(&cut(sentence, n_chars)))
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
    fn codes_in_a_text_are_isolated_and_whole() {
        let said = prose("سبب الإشعار (KSA-10) وBT-112؛ A-1 <x>").into_string();
        assert_eq!(
            said,
            "سبب الإشعار (<bdi class=\"unbroken\" dir=\"ltr\">KSA-10</bdi>) \
             و<bdi class=\"unbroken\" dir=\"ltr\">BT-112</bdi>؛ A-1 &lt;x&gt;"
        );
        assert_eq!(code("BR-KSA-17").into_string(), "<code class=\"unbroken\" dir=\"ltr\">BR-KSA-17</code>");
        let long = "x-".repeat(20);
        assert_eq!(code(&long).into_string(), format!("<code class=\"whole\" dir=\"ltr\">{long}</code>"));
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
