//! The text as the splitter reads it: escapes, entities and markup resolved, words found.
//!
//! All later passes use positions in [`View::units`]. So they don't need to know how often the text was quoted, nor
//! about bytes and character boundaries.

use std::ops::Range;

use super::{KnownCodes, br_length};

/// Ends the text before it: a list item begins here, or a field was taken out.
pub(super) const BLOCK: char = '\u{FDD0}';
/// Separates two words but is not shown: the edge of bold text, or a label that says nothing.
pub(super) const INLINE: char = '\u{FDD1}';
/// What follows is the value of a code field.
pub(super) const MARK: char = '\u{FDD2}';

/// A longer word is a hash or a certificate; reading more of it would only cost time.
const WORD_LIMIT: usize = 64;

/// One character, and how many backslashes escaped it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub ch: char,
    pub escapes: u8,
}

impl Unit {
    const fn plain(ch: char) -> Self {
        Self { ch, escapes: 0 }
    }
}

/// A decoded text with the places of its words.
#[derive(Debug)]
pub(super) struct View {
    pub units: Vec<Unit>,
    /// Runs of Latin letters, digits, underscores and hyphens, in order.
    pub words: Vec<Range<usize>>,
    /// The texts of a log's lines of the level WARN.
    pub warned: Vec<Range<usize>>,
}

impl View {
    pub fn new(text: &str, known: &KnownCodes) -> Self {
        let units = join_broken_codes(resolve_tags(&decode(text)), known);
        let words = find_words(&units);
        Self { units, words, warned: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    pub fn get(&self, at: usize) -> Option<char> {
        self.units.get(at).map(|unit| unit.ch)
    }

    /// The character before a position.
    pub fn before(&self, at: usize) -> Option<char> {
        at.checked_sub(1).and_then(|at| self.get(at))
    }

    /// The first position from `at` on that holds no white space.
    pub fn skip_space(&self, at: usize) -> usize {
        let rest = self.units.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|unit| is_space(unit.ch)).count()
    }

    /// The index of the first word that starts at `at` or later.
    pub fn word_from(&self, at: usize) -> usize {
        self.words.partition_point(|word| word.start < at)
    }

    /// Replaces a range by a placeholder, so that nothing reads it again.
    pub fn cover(&mut self, range: Range<usize>, with: char) {
        for unit in self.units.get_mut(range).unwrap_or_default() {
            *unit = Unit::plain(with);
        }
    }

    /// The characters of a range, as people read them.
    pub fn render(&self, range: Range<usize>) -> String {
        let units = self.units.get(range).unwrap_or_default();
        let shown = units.iter().filter_map(|unit| match unit.ch {
            INLINE | MARK => None,
            BLOCK => Some('\n'),
            ch => Some(ch),
        });
        shown.collect()
    }

    /// A piece of text without what does not belong to it at either end: white space, commas, brackets and quotes
    /// without a partner, quotes around all of it.
    pub fn clean(&self, range: Range<usize>) -> String {
        let text = self.render(range);
        let text = text.trim_matches(is_space);
        // They are counted once, so that removing one costs nothing more.
        let mut open = [0_i64; 6];
        let mut before = None;
        let mut chars = text.chars().peekable();
        while let Some(ch) = chars.next() {
            let is_in_word = |ch: Option<char>| ch.is_some_and(char::is_alphanumeric);
            let is_apostrophe =
                quote_kind(ch).is_some() && is_in_word(before) && is_in_word(chars.peek().copied());
            if let Some((slot, step)) = bracket_slot(ch).filter(|_| !is_apostrophe) {
                open[slot] += step;
            }
            before = Some(ch);
        }
        // `outward` is the step of a bracket that cannot have a partner on this side.
        let mut is_loose = |ch: char, outward: i64| {
            let Some((slot, step)) = bracket_slot(ch) else {
                return matches!(ch, ',' | ';' | '،' | '؛' | '|') || is_space(ch);
            };
            let loose = if slot < QUOTES {
                step == outward || open[slot].signum() == step
            } else {
                open[slot] % 2 != 0
            };
            open[slot] -= if loose { step } else { 0 };
            loose
        };
        let text = text.trim_end_matches(|ch| is_loose(ch, 1)).trim_start_matches(|ch| is_loose(ch, -1));
        let quote = text.chars().next().filter(|first| quote_kind(*first).is_some());
        let inner = quote.and_then(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
        let inner = inner.filter(|inner| !inner.contains(|ch| quote == Some(ch)));
        // A list of one text.
        let only = || {
            let item = text.strip_prefix('[')?.strip_suffix(']')?.trim_matches(is_space);
            let quote = item.chars().next().filter(|first| quote_kind(*first).is_some())?;
            let item = item.strip_prefix(quote)?.strip_suffix(quote)?;
            (!item.contains(quote)).then_some(item)
        };
        inner.or_else(only).unwrap_or(text).trim_matches(is_space).to_owned()
    }

    /// A word in its comparable form, with the position behind each of its characters. The flag says whether that is
    /// all of the word.
    pub fn fold(&self, word: &Range<usize>) -> (String, Vec<usize>, bool) {
        let mut folded = String::new();
        let mut ends = Vec::new();
        for at in word.clone() {
            if ends.len() == WORD_LIMIT {
                return (folded, ends, false);
            }
            match self.get(at).and_then(fold_char) {
                Some('-') if folded.ends_with('-') => {}
                Some(ch) => {
                    folded.push(ch);
                    ends.push(at + 1);
                }
                None => {}
            }
        }
        (folded, ends, true)
    }
}

/// The form in which two spellings of a code are equal; `None` for a character that makes no difference.
pub(super) fn fold_char(ch: char) -> Option<char> {
    match ch {
        _ if is_hyphen(ch) => Some('-'),
        _ if is_mark(ch) => None,
        '٠'..='٩' => char::from_digit(ch as u32 - '٠' as u32, 10),
        _ => Some(ch.to_ascii_lowercase()),
    }
}

pub(super) fn is_hyphen(ch: char) -> bool {
    matches!(
        ch,
        '-' | '\u{AD}' | '\u{2010}'
            ..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}'
    )
}

/// Invisible marks: reading direction, zero width, byte order.
pub(super) fn is_mark(ch: char) -> bool {
    matches!(ch, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// White space and everything invisible.
pub(super) fn is_space(ch: char) -> bool {
    ch.is_whitespace() || is_mark(ch) || ch == INLINE
}

/// Straight and curly quotes, reduced to the straight one of their kind.
pub(super) fn quote_kind(ch: char) -> Option<char> {
    match ch {
        '"' | '“' | '”' | '„' => Some('"'),
        '\'' | '‘' | '’' => Some('\''),
        '`' => Some('`'),
        _ => None,
    }
}

pub(super) fn is_quote(ch: Option<char>) -> bool {
    ch.and_then(quote_kind).is_some()
}

/// The first slot of quotes, whose opening and closing forms may look alike.
const QUOTES: usize = 3;

/// The slot in which brackets or quotes of this kind are counted, and the step: -1 for a closing bracket, else 1.
fn bracket_slot(ch: char) -> Option<(usize, i64)> {
    match ch {
        '[' => Some((0, 1)),
        ']' => Some((0, -1)),
        '{' => Some((1, 1)),
        '}' => Some((1, -1)),
        '(' => Some((2, 1)),
        ')' => Some((2, -1)),
        _ => match quote_kind(ch)? {
            '"' => Some((QUOTES, 1)),
            '\'' => Some((QUOTES + 1, 1)),
            _ => Some((QUOTES + 2, 1)),
        },
    }
}

/// Resolves backslash escapes of any depth and HTML entities.
pub(super) fn decode(text: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(ch) = rest.chars().next() {
        let taken = match ch {
            '\\' => Some(decode_escape(rest, &mut units)),
            '&' => decode_entity(rest, &mut units),
            _ => None,
        };
        let taken = taken.unwrap_or_else(|| {
            units.push(Unit::plain(not_forged(ch)));
            ch.len_utf8()
        });
        rest = rest.get(taken..).unwrap_or_default();
    }
    units
}

/// Replaces a placeholder in the text itself, which must not be taken for one of ours. They are noncharacters.
fn not_forged(ch: char) -> char {
    if matches!(ch, BLOCK | INLINE | MARK) { '\u{FFFD}' } else { ch }
}

/// Reads any number of backslashes and what they escape. Returns how many bytes that is.
fn decode_escape(rest: &str, units: &mut Vec<Unit>) -> usize {
    let after = rest.trim_start_matches('\\');
    let depth = rest.len() - after.len();
    let found = match after.chars().next() {
        Some('n' | 'r') => Some(('\n', 1)),
        Some('t') => Some(('\t', 1)),
        Some(ch @ ('"' | '\'' | '/')) => Some((ch, 1)),
        Some('u') => decode_unicode(after),
        _ => None,
    };
    let Some((ch, taken)) = found else {
        // They escape nothing known. All are taken at once, so that a long run is read only once.
        units.extend(std::iter::repeat_n(Unit::plain('\\'), depth));
        return depth;
    };
    let escapes = u8::try_from(depth).unwrap_or(u8::MAX);
    units.push(Unit { ch: not_forged(ch), escapes });
    depth + taken
}

/// `u0041`, or two halves of a surrogate pair.
fn decode_unicode(after: &str) -> Option<(char, usize)> {
    let high = hex4(after)?;
    if let Some(ch) = char::from_u32(high) {
        return Some((ch, 5));
    }
    let second = after.get(5..)?;
    let low_part = second.trim_start_matches('\\');
    let low = hex4(low_part)?;
    let ch = char::decode_utf16([u16::try_from(high).ok()?, u16::try_from(low).ok()?]).next()?;
    Some((ch.ok()?, 5 + second.len() - low_part.len() + 5))
}

fn hex4(after: &str) -> Option<u32> {
    let digits = after.strip_prefix('u')?.get(..4)?;
    let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

fn decode_entity(rest: &str, units: &mut Vec<Unit>) -> Option<usize> {
    let end = rest.bytes().take(10).position(|byte| byte == b';')?;
    let name = rest.get(1..end)?;
    let ch = match name {
        "quot" => '"',
        "apos" => '\'',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "nbsp" => '\u{A0}',
        "shy" => '\u{AD}',
        "ndash" => '–',
        "mdash" => '—',
        "lrm" => '\u{200E}',
        "rlm" => '\u{200F}',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).map(not_forged)?
        }
    };
    units.push(Unit::plain(ch));
    Some(end + 1)
}

/// Turns HTML tags, and XML tags that name the parts of an error, into what they mean for the text.
/// Other tags stay: messages speak of XML elements.
fn resolve_tags(units: &[Unit]) -> Vec<Unit> {
    let mut resolved = Vec::with_capacity(units.len());
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        let tag = if unit.ch == '<' { units.get(at + 1..).and_then(read_tag) } else { None };
        match tag {
            Some((meaning, length)) => {
                resolved.push(Unit::plain(meaning));
                at += 1 + length;
            }
            None => {
                resolved.push(*unit);
                at += 1;
            }
        }
    }
    resolved
}

/// Reads a tag behind its `<`, and never past the next `<`, which keeps the whole pass linear.
fn read_tag(rest: &[Unit]) -> Option<(char, usize)> {
    let closing = rest.first()?.ch == '/';
    let start = usize::from(closing);
    let name = rest.get(start..)?.iter().map(|unit| unit.ch.to_ascii_lowercase());
    let name: String = name.take_while(char::is_ascii_alphanumeric).take(13).collect();
    let meaning = match name.as_str() {
        "li" | "tr" | "error" => BLOCK,
        "br" | "p" | "div" | "ul" | "ol" | "table" | "thead" | "tbody" | "td" | "th" | "hr" | "h1" | "h2"
        | "h3" | "h4" | "h5" | "h6" | "pre" | "dl" | "dt" | "dd" | "html" | "body" | "errors" | "message"
        | "errormessage" | "category" | "type" | "status" => '\n',
        "b" | "strong" | "i" | "em" | "u" | "span" | "font" | "small" | "a" | "tt" => INLINE,
        "code" | "errorcode" | "rule" => {
            if closing {
                INLINE
            } else {
                MARK
            }
        }
        _ => return None,
    };
    let attributes = rest.get(start + name.len()..)?;
    let opens_well = matches!(attributes.first()?.ch, '>' | '/') || is_space(attributes.first()?.ch);
    let end = attributes.iter().position(|unit| matches!(unit.ch, '<' | '>'))?;
    // An attribute that carries a value may carry the error itself (`<error code="…">`).
    let carries_fields = name == "error" && end > 1;
    (opens_well && !carries_fields && attributes.get(end)?.ch == '>')
        .then_some((meaning, start + name.len() + end + 1))
}

/// Takes out the line breaks that broke a code at one of its joints.
fn join_broken_codes(units: Vec<Unit>, known: &KnownCodes) -> Vec<Unit> {
    let mut joined: Vec<Unit> = Vec::with_capacity(units.len());
    let mut word_start = None;
    let mut at = 0;
    while let Some(unit) = units.get(at).copied() {
        if is_word_char(unit.ch) {
            word_start.get_or_insert(joined.len());
        } else if unit.ch.is_whitespace() {
            let rest = units.get(at..).unwrap_or_default();
            let gap = rest.iter().take_while(|unit| unit.ch.is_whitespace()).count();
            let has_break = rest.iter().take(gap).any(|unit| unit.ch == '\n');
            let word = word_start.take().filter(|_| has_break).and_then(|start| joined.get(start..));
            if word.is_some_and(|word| is_broken_code(word, rest.get(gap..).unwrap_or_default(), known)) {
                word_start =
                    joined.iter().rposition(|unit| !is_word_char(unit.ch)).map_or(Some(0), |at| Some(at + 1));
                at += gap;
            } else {
                joined.extend(rest.iter().take(gap));
                at += gap;
            }
            continue;
        } else if !is_mark(unit.ch) {
            word_start = None;
        }
        joined.push(unit);
        at += 1;
    }
    joined
}

/// Whether the text after a line break continues the code before it.
fn is_broken_code(before: &[Unit], after: &[Unit], known: &KnownCodes) -> bool {
    let is_joint_at = |unit: Option<&Unit>| unit.is_some_and(|unit| is_joint(unit.ch));
    if before.len() > WORD_LIMIT {
        return false;
    }
    let is_at_joint = is_joint_at(before.last()) != is_joint_at(after.first());
    let fold = |units: &[Unit]| -> String {
        let word = units.iter().take_while(|unit| is_word_char(unit.ch) || is_mark(unit.ch));
        word.take(WORD_LIMIT).filter_map(|unit| fold_char(unit.ch)).collect()
    };
    let start = fold(before);
    let whole = start.clone() + &fold(after);
    if whole.len() == start.len() {
        return false;
    }
    if !is_at_joint {
        // In the middle of a word, the two parts are joined only if they are a known code.
        return start.contains(['-', '_']) && !start.starts_with("br-") && known.folded(&whole).is_some();
    }
    if start.starts_with("br-") && br_length(&whole, known).is_some_and(|length| length > start.len()) {
        return true;
    }
    start.len() >= 3 && known.has_beginning(&whole)
}

fn is_word_char(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || ch == '_' || is_hyphen(ch) || matches!(ch, '٠'..='٩')
}

fn is_joint(ch: char) -> bool {
    ch == '_' || is_hyphen(ch)
}

/// Invisible marks belong to a word only next to a joint, where right-to-left editors put them.
fn find_words(units: &[Unit]) -> Vec<Range<usize>> {
    let ch_at = |at: usize| units.get(at).map(|unit| unit.ch);
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(ch) = ch_at(at) {
        if !is_word_char(ch) || is_joint(ch) {
            at += 1;
            continue;
        }
        let start = at;
        let mut end = at;
        let mut last = ch;
        while let Some(ch) = ch_at(at) {
            if is_mark(ch) {
                let marks = units.iter().skip(at).take_while(|unit| is_mark(unit.ch)).count();
                match ch_at(at + marks) {
                    Some(next) if is_word_char(next) && (is_joint(last) || is_joint(next)) => at += marks,
                    _ => break,
                }
            } else if is_word_char(ch) {
                at += 1;
                last = ch;
                if !is_joint(ch) {
                    end = at;
                }
            } else {
                break;
            }
        }
        words.push(start..end);
    }
    words
}
