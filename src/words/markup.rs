//! Texts in markup, isolated: the direction of an id or of somebody else's text does not reorder the sentence around
//! it.

use maud::{Markup, html};

use crate::domain::text::visible;

/// Longest id or code that is never broken over lines: any phone has room for it.
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

/// Whether a word is a code of ZATCA or of the invoice model: capitals, a hyphen and more.
fn is_code(word: &str) -> bool {
    let mut parts = word.split('-');
    word.len() <= MAX_UNBROKEN_CHARS
        && parts.next().is_some_and(|first| first.len() > 1 && first.bytes().all(|c| c.is_ascii_uppercase()))
        && parts.clone().next().is_some()
        && parts.all(|part| !part.is_empty())
}

/// Text that somebody else wrote. Its direction follows from the text itself and does not affect what is around it.
pub(crate) fn theirs(text: &str) -> Markup {
    html! { bdi dir="auto" { (visible(text)) } }
}

/// The same for a text of several lines: a box of its own, whose lines are aligned by the direction of the text.
pub(crate) fn their_lines(text: &str) -> Markup {
    html! { bdi.lines dir="auto" { (visible(text)) } }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, n_chars: usize) -> String {
    match text.char_indices().nth(n_chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
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
}
