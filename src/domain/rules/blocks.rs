//! Finds the blocks of a text whose errors are all of one kind: under `ksa validation warnings :`, in
//! `"warningMessages": [...]`.

use super::view::{BLOCK, INLINE, View, is_space, quote_kind};
use super::{KnownCodes, Level, read_code};

/// Longest heading, in characters.
const MAX_HEADING: usize = 48;

/// The Arabic headings, and whether they stand for several.
const ARABIC: [(&str, Level, bool); 11] = [
    ("تحذير", Level::Warning, false),
    ("تنبيه", Level::Warning, false),
    ("خطأ", Level::Error, false),
    ("تحذيرات", Level::Warning, true),
    ("التحذيرات", Level::Warning, true),
    ("تنبيهات", Level::Warning, true),
    ("التنبيهات", Level::Warning, true),
    ("أخطاء", Level::Error, true),
    ("الأخطاء", Level::Error, true),
    ("معلومات", Level::Info, false),
    ("المعلومات", Level::Info, false),
];

/// What stands for an empty block.
const NOTHING: [&str; 9] = ["null", "none", "nil", "false", "empty", "0", "no", "لا", "لايوجد"];

/// What precedes the heading of a block that there is not: `No warnings`.
const WITHOUT: [&str; 8] = ["no", "0", "zero", "without", "لا", "توجد", "يوجد", "بدون"];

/// The positions from which on errors are of a kind, in the order of the text.
pub(super) fn find(view: &View, known: &KnownCodes) -> Vec<(usize, Option<Level>)> {
    let mut marks: Vec<(usize, Option<Level>)> = Vec::new();
    // The depths of brackets that end a block, and the level that counts behind it.
    let mut open: Vec<(usize, Option<Level>)> = Vec::new();
    let mut level = None;
    // Whether a label counts until the end of its line or item.
    let mut is_labelled = false;
    let mut depth = 0_usize;
    let mut lines = view.warned.iter().peekable();
    let mut next_word = 0;
    for at in 0..view.len() {
        while view.words.get(next_word).is_some_and(|word| word.start < at) {
            next_word += 1;
        }
        if let Some(line) = lines.next_if(|line| line.start == at) {
            // A heading counts more than the level of a log's line.
            if level.is_none() {
                marks.extend([(line.start, Some(Level::Warning)), (line.end, None)]);
            }
        }
        match view.get(at) {
            Some('\n' | BLOCK | ',' | ';' | '،' | '؛') if is_labelled => {
                is_labelled = false;
                marks.push((at, level));
            }
            Some('[' | '{') => depth += 1,
            Some(']' | '}') => {
                depth = depth.saturating_sub(1);
                while let Some((_, before)) = open.pop_if(|(until, _)| *until >= depth) {
                    level = before;
                    marks.push((at, level));
                }
            }
            Some(ch) if ch.is_alphabetic() => {
                let word = view.words.get(next_word).filter(|word| word.start == at);
                let named = match word {
                    Some(word) => english(view, word.clone(), next_word),
                    None => arabic(view, at),
                };
                let Some((named, end, is_plural)) = named else { continue };
                let Some(value) = heading(view, known, at, end, is_plural) else {
                    // `تحذير: BR-KSA-98 …` counts for what it is before. (English ones are read with the code.)
                    if word.is_none()
                        && let Some(value) = heading(view, known, at, end, true)
                    {
                        marks.push((value, Some(named)));
                        is_labelled = true;
                    }
                    continue;
                };
                match view.get(value) {
                    // An empty list whose brackets were lost.
                    Some(',') => continue,
                    _ if is_nothing(view, value) => continue,
                    Some('[' | '{') => open.push((depth, level)),
                    _ => {}
                }
                level = Some(named);
                marks.push((value, level));
            }
            _ => {}
        }
    }
    // The sort is stable: if a block begins where a log's line ends, the block counts.
    marks.sort_by_key(|(at, _)| *at);
    marks
}

/// What kind of errors a word stands for, where it ends, and whether it stands for several.
fn english(view: &View, word: std::ops::Range<usize>, index: usize) -> Option<(Level, usize, bool)> {
    let folded = view.fold(&word).0.replace(['_', '-'], "");
    let (level, is_plural) = match folded.as_str() {
        "warnings" | "warningmessages" | "warningslist" | "warninglist" => (Level::Warning, true),
        "errors" | "errormessages" | "errorslist" | "errorlist" => (Level::Error, true),
        "infos" | "infomessages" | "informationmessages" => (Level::Info, true),
        "warning" | "warn" => (Level::Warning, false),
        "error" => (Level::Error, false),
        "messages" => {
            let before =
                view.words.get(index.checked_sub(1)?).filter(|before| before.end + 1 == word.start)?;
            (Level::of(&view.fold(before).0)?, true)
        }
        _ => return None,
    };
    Some((level, word.end, is_plural))
}

fn arabic(view: &View, at: usize) -> Option<(Level, usize, bool)> {
    if view.before(at).is_some_and(char::is_alphanumeric) {
        return None;
    }
    let word: String =
        (at..at + 12).map_while(|at| view.get(at)).take_while(|ch| ch.is_alphanumeric()).collect();
    let (known, level, is_plural) = ARABIC.into_iter().find(|(known, ..)| *known == word)?;
    Some((level, at + known.chars().count(), is_plural))
}

/// Whether what a heading introduces is empty: `null`, `0`, `""`, `none`. In `no reason given` it is not.
fn is_nothing(view: &View, value: usize) -> bool {
    let is_quote = |at: usize| view.get(at).is_some_and(|ch| quote_kind(ch).is_some());
    let start = value + usize::from(is_quote(value));
    let word: String =
        (start..start + 8).map_while(|at| view.get(at)).take_while(|ch| ch.is_alphanumeric()).collect();
    let mut end = start + word.chars().count();
    if word.is_empty() && !(start > value && is_quote(end)) {
        return false;
    }
    while view.get(end).is_some_and(|ch| quote_kind(ch).is_some() || (is_space(ch) && ch != '\n')) {
        end += 1;
    }
    let ends = view
        .get(end)
        .is_none_or(|ch| matches!(ch, '\n' | BLOCK | ',' | ';' | '،' | '؛' | '.' | '}' | ']' | ')'));
    ends && (word.is_empty() || NOTHING.contains(&word.to_lowercase().as_str()))
}

/// If the word from `start` to `end` is a heading: where the text that it introduces begins.
fn heading(view: &View, known: &KnownCodes, start: usize, end: usize, is_plural: bool) -> Option<usize> {
    // Only a few words may be before it.
    let mut from = start;
    while let Some(ch) = view.before(from) {
        if matches!(ch, '\n' | ',' | ';' | '،' | '؛' | '{' | '[' | '(' | BLOCK | INLINE) {
            break;
        }
        if matches!(ch, ':' | '：' | '=' | '.') || start - from == MAX_HEADING {
            return None;
        }
        from -= 1;
    }
    let before = view.render(from..start).to_lowercase();
    if before
        .split(|ch: char| !ch.is_alphanumeric())
        .rfind(|word| !word.is_empty())
        .is_some_and(|word| WITHOUT.contains(&word))
    {
        return None;
    }
    let mut words = view.words.iter().skip(view.word_from(from)).take_while(|word| word.end <= start);
    if words.any(|word| read_code(view, word, known).is_some()) {
        return None;
    }
    // `Error Messages (Fail)`, `"errors":`, `[errors] =>`
    let mut at = end;
    while view.get(at).is_some_and(|ch| quote_kind(ch).is_some() || ch == ']') {
        at += 1;
    }
    let blank =
        |at: usize| (at..view.len()).find(|at| !view.get(*at).is_some_and(|ch| is_space(ch) && ch != '\n'));
    let mut at = blank(at).unwrap_or(view.len());
    if view.get(at) == Some('(') {
        let closing = (at..at + 16).find(|at| view.get(*at) == Some(')'))?;
        at = blank(closing + 1).unwrap_or(view.len());
    }
    let has_mark = matches!(view.get(at), Some(':' | '：' | '='));
    if has_mark {
        at += 1;
        if view.get(at) == Some('>') {
            at += 1;
        }
    }
    let line_end = blank(at).unwrap_or(view.len());
    let ends_line = matches!(view.get(line_end), Some('\n' | BLOCK));
    let value = view.skip_space(at);
    let holds_many = is_plural || ends_line || matches!(view.get(value), Some('[' | '{'));
    ((has_mark && holds_many) || (is_plural && ends_line)).then_some(value)
}
