//! Lines of a validator's log: `2026-01-01 10:00:00,123 [ERROR] ValidationProcessorImpl - CODE : ...`.
//!
//! The prefix of a line is no part of a message, and a line that only reports progress or a result
//! (`[XSD] validation result : FAILED`) is no error.

use std::ops::Range;

use super::view::{BLOCK, INLINE, View, is_space};
use super::{Kind, KnownCodes, Level, read_code};

/// Longest prefix, in characters.
const MAX_PREFIX: usize = 160;
/// Longest line that is read whole.
const MAX_LINE: usize = 160;

/// Covers prefixes and lines that report no error, and notes the lines of the level WARN.
pub(super) fn cover(view: &mut View, known: &KnownCodes) {
    let mut covered: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    // The lines of a welcome between two rows of stars.
    let mut banner: Option<Vec<Range<usize>>> = None;
    while start < view.len() {
        let is_end = |at: &usize| matches!(view.get(*at), Some('\n' | BLOCK));
        let end = (start..view.len()).find(is_end).unwrap_or(view.len());
        let prefix = prefix(view, start..end, known);
        let body = prefix.as_ref().map_or(start, |(_, end)| *end);
        let text = short_line(view, body..end);
        let reports_progress = prefix.as_ref().is_some_and(|(level, _)| *level == Some(Level::Info));
        // What names a code reports more than a result.
        let text = text.filter(|_| reports_progress || !names_an_error(view, body..end, known));
        if text.as_ref().is_some_and(|text| text.starts_with("*****")) {
            covered.extend(banner.take().into_iter().flatten());
            banner = text.filter(|text| text.contains("welcome")).map(|_| Vec::new());
            covered.push(start..end);
        } else if reports_progress || text.is_some_and(|text| is_result(&text)) {
            covered.push(start..end);
        } else if let (Some(lines), None) = (&mut banner, &prefix) {
            lines.push(start..end);
        } else if let Some((level, prefix_end)) = prefix {
            covered.push(start..prefix_end);
            if level == Some(Level::Warning) {
                view.warned.push(prefix_end..end);
            }
        }
        start = end + 1;
    }
    for range in covered {
        view.cover(range, INLINE);
    }
    view.words.retain(|word| view.units.get(word.start).is_some_and(|unit| unit.ch != INLINE));
}

fn names_an_error(view: &View, line: Range<usize>, known: &KnownCodes) -> bool {
    let words = view.words.iter().skip(view.word_from(line.start)).take_while(|word| word.start < line.end);
    let mut codes = words.filter_map(|word| read_code(view, word, known));
    codes.any(|code| code.kind != Kind::Success && code.is_distinctive)
}

/// The level that a line's prefix names, and where the prefix ends.
fn prefix(view: &View, line: Range<usize>, known: &KnownCodes) -> Option<(Option<Level>, usize)> {
    let limit = line.end.min(line.start + MAX_PREFIX);
    let skip = |from: usize, fits: &dyn Fn(char) -> bool| {
        (from..limit).find(|at| !view.get(*at).is_some_and(fits)).unwrap_or(limit)
    };
    let start = skip(line.start, &is_space);
    let after_time = skip(start, &|ch| {
        ch.is_ascii_digit() || matches!(ch, '-' | ':' | '.' | ',' | '/' | 'T' | 'Z' | '+' | ' ')
    });
    let has_time =
        (start..after_time).filter(|at| view.get(*at).is_some_and(|ch| ch.is_ascii_digit())).count() >= 6
            && (start..after_time).any(|at| view.get(at) == Some(':'));
    let mut at = if has_time { after_time } else { start };
    // The thread may be before the level.
    if has_time && view.get(at) == Some('[') {
        let closing = (at..limit).find(|at| view.get(*at) == Some(']'))?;
        if Level::of(&view.render(at + 1..closing).to_ascii_lowercase()).is_none() {
            at = skip(closing + 1, &is_space);
        }
    }
    let is_bracketed = view.get(at) == Some('[');
    at += usize::from(is_bracketed);
    let word_end = skip(at, &|ch| ch.is_ascii_alphabetic());
    let word = view.render(at..word_end).to_ascii_lowercase();
    let is_level = matches!(
        word.as_str(),
        "error" | "warn" | "warning" | "info" | "debug" | "trace" | "fatal" | "severe"
    );
    if !is_level || is_bracketed != (view.get(word_end) == Some(']')) {
        return None;
    }
    let level_end = skip(word_end + usize::from(is_bracketed), &is_space);
    // A thread in brackets, then the logger.
    let mut logger = level_end;
    if view.get(logger) == Some('[') {
        let closing = (logger..limit).find(|at| view.get(*at) == Some(']'))?;
        logger = skip(closing + 1, &is_space);
    }
    let logger_end = skip(logger, &|ch| ch.is_ascii_alphanumeric() || matches!(ch, '.' | '_' | '$'));
    let dash = skip(logger_end, &|ch| ch == ' ');
    let name = view.render(logger..logger_end);
    let has_logger = !name.is_empty()
        && dash > logger_end
        && view.get(dash) == Some('-')
        && view.get(dash + 1).is_none_or(is_space)
        && known.official(&name).is_none()
        && is_logger(&name);
    if has_logger {
        Some((Level::of(&word), skip(dash + 1, &is_space).min(line.end)))
    } else {
        has_time.then_some((Level::of(&word), level_end))
    }
}

/// A class or a package, not a word of a sentence.
fn is_logger(name: &str) -> bool {
    let is_hump = |pair: &[u8]| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase());
    name.contains('.') || name.as_bytes().windows(2).any(is_hump)
}

/// A line in lower case without the stars around it, if it is a short one.
fn short_line(view: &View, line: Range<usize>) -> Option<String> {
    (line.len() <= MAX_LINE).then(|| view.render(line).trim().to_ascii_lowercase())
}

/// `[EN] validation result : PASSED`, `*** GLOBAL VALIDATION RESULT = FAILED`
fn is_result(line: &str) -> bool {
    let line = line.trim_matches(|ch: char| is_space(ch) || matches!(ch, '*' | '.'));
    let Some((label, value)) = line.rsplit_once([':', '=']) else { return false };
    let value = value.trim();
    ["result", "results", "validation"].iter().any(|word| label.trim_end().ends_with(word))
        && ["passed", "failed", "pass", "fail", "success", "valid", "invalid", "true", "false", "error", "ok"]
            .contains(&value)
}
