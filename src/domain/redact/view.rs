//! A text behind its layers of escapes, with the places that its bytes have in the source.

use std::ops::Range;

use super::Found;

/// Most digits of a numbered entity. Zeros before the number are allowed, but so many are never written.
const MAX_ENTITY_DIGITS: usize = 16;

/// Longest tag that is passed over.
pub(super) const MAX_TAG_BYTES: usize = 512;

/// A text, lower-case, as it is behind some layers of escapes.
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    /// Where in the source each byte begins, and where the last one ends; `None` if it is the source itself.
    starts: Option<Vec<u32>>,
}

impl View {
    pub(super) fn of(text: &[u8]) -> Self {
        Self { bytes: text.to_ascii_lowercase(), starts: None }
    }

    /// Where in the source the byte at this place begins.
    pub(super) fn start(&self, at: usize) -> Option<u32> {
        match &self.starts {
            Some(starts) => starts.get(at).copied(),
            None => u32::try_from(at).ok(),
        }
    }

    /// Notes what a part of this view is in the source.
    pub(super) fn note(&self, part: Range<usize>, found: &mut Vec<Found>) {
        let (Some(start), Some(end)) = (self.start(part.start), self.start(part.end)) else { return };
        let range = start as usize..end as usize;
        match found.last_mut() {
            Some(Found { range: last, .. }) if last.start <= range.start && range.start <= last.end => {
                last.end = last.end.max(range.end)
            }
            _ => found.push(Found { range, goes_on: false }),
        }
    }

    /// Letters and digits without what stands between them. Those of HTML's tags are left out unless `within_tags`.
    pub(super) fn letters_and_digits(&self, within_tags: bool) -> Vec<u8> {
        let bytes = self.bytes.as_slice();
        let mut bare = Vec::with_capacity(bytes.len());
        if within_tags || !bytes.contains(&b'<') {
            bare.extend(bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()));
        } else {
            bare.extend(self.places_of_letters_and_digits(within_tags).filter_map(|place| bytes.get(place)));
        }
        bare
    }

    /// Where in this view each of them stands. It takes longer, and most texts have no use for it.
    pub(super) fn places_of_letters_and_digits(&self, within_tags: bool) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let (place, byte) = (at, *self.bytes.get(at)?);
                at += match self.bytes.get(at..) {
                    Some([b'<', rest @ ..]) if !within_tags => 1 + tag(rest),
                    _ => 1,
                };
                if byte.is_ascii_alphanumeric() {
                    return Some(place);
                }
            }
        })
    }

    /// The view behind one more layer of escapes; `None` if there is none.
    pub(super) fn without_escapes(&self) -> Option<Self> {
        let bytes = self.bytes.as_slice();
        if !bytes.iter().any(|byte| matches!(byte, b'\\' | b'%' | b'&')) {
            return None;
        }
        let (mut decoded, mut starts) =
            (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1));
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let start = self.start(at).unwrap_or_default();
            let rest = bytes.get(at..).unwrap_or_default();
            match unescape(rest) {
                Some((c, length)) => {
                    let mut buffer = [0; 4];
                    for byte in c.to_ascii_lowercase().encode_utf8(&mut buffer).bytes() {
                        decoded.push(byte);
                        starts.push(start);
                    }
                    at += length;
                }
                None => {
                    decoded.push(*byte);
                    starts.push(start);
                    at += 1;
                }
            }
        }
        starts.push(self.start(bytes.len()).unwrap_or_default());
        // An escape is longer than what it stands for, but for those that only looked like one.
        (decoded.len() < bytes.len()).then_some(Self { bytes: decoded, starts: Some(starts) })
    }
}

/// How much of this is the rest of a tag that has begun.
fn tag(rest: &[u8]) -> usize {
    if !rest.first().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!')) {
        return 0;
    }
    let end = rest.iter().take(MAX_TAG_BYTES).position(|byte| matches!(byte, b'<' | b'>'));
    end.filter(|end| rest.get(*end) == Some(&b'>')).map_or(0, |end| end + 1)
}

/// The character that an escape at the beginning of this stands for, and how long the escape is.
fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let number = |from: usize, n_digits: usize| {
        let digits = text.get(from..from + n_digits)?;
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        Some((char::from_u32(number).unwrap_or('\u{fffd}'), from + n_digits))
    };
    match text {
        [b'\\', b'u', ..] if number(2, 4).is_some() => number(2, 4),
        [b'\\', b'u', b'{', rest @ ..] => {
            let n_digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (c, length) = number(3, n_digits)?;
            (text.get(length) == Some(&b'}')).then_some((c, length + 1))
        }
        [b'\\', b'x', ..] if number(2, 2).is_some() => number(2, 2),
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            let byte = ((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0');
            Some((char::from(byte), 4))
        }
        [b'\\', b'n' | b'r' | b't', ..] => Some(('\n', 2)),
        // A backslash before a character of several bytes is no escape.
        [b'\\', c, ..] if c.is_ascii() => Some((char::from(*c), 2)),
        [b'%', b'u', ..] => number(2, 4),
        [b'%', ..] => number(1, 2).filter(|(c, _)| c.is_ascii()),
        [b'&', b'#', rest @ ..] => numbered_entity(rest).map(|(c, length)| (c, 2 + length)),
        [b'&', rest @ ..] => {
            const NAMED: [(&str, char); 17] = [
                ("amp;", '&'),
                ("lt;", '<'),
                ("gt;", '>'),
                ("quot;", '"'),
                ("apos;", '\''),
                ("sol;", '/'),
                ("bsol;", '\\'),
                ("period;", '.'),
                ("lowbar;", '_'),
                ("hyphen;", '-'),
                ("plus;", '+'),
                ("equals;", '='),
                ("colon;", ':'),
                ("comma;", ','),
                ("num;", '#'),
                ("nbsp;", ' '),
                ("shy;", '\u{ad}'),
            ];
            let named = NAMED.iter().find(|(name, _)| rest.starts_with(name.as_bytes()))?;
            Some((named.1, 1 + named.0.len()))
        }
        _ => None,
    }
}

/// `46;` or `x2e;`, the semicolon as HTML allows it to be missing.
fn numbered_entity(text: &[u8]) -> Option<(char, usize)> {
    let (radix, from) = if text.first() == Some(&b'x') { (16, 1) } else { (10, 0) };
    let digits = text.get(from..)?;
    let n_digits =
        digits.iter().take(MAX_ENTITY_DIGITS).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let number = u32::from_str_radix(std::str::from_utf8(digits.get(..n_digits)?).ok()?, radix).ok()?;
    let length = from + n_digits;
    let semicolon = usize::from(text.get(length) == Some(&b';'));
    Some((char::from_u32(number)?, length + semicolon))
}
