//! Takes secrets out of what upstream sends, before any of it is understood, cut, kept or shown.
//!
//! An error page may repeat the request that it refuses, the token included, in many forms: escaped for JSON or HTML,
//! percent-encoded, in Base64 after other text, as a list of numbers, in capitals, broken over lines, one form within
//! another, or only in part. It may also contain secrets of others: ZATCA answers with a `secret` and a
//! `binarySecurityToken`.
//!
//! So the whole text is searched, once as it came and once for each layer of escapes that can be removed; each time
//! also by its letters and digits alone, since line breaks, tags or separators may stand between them. What is found in
//! any of these is replaced in the text itself. Our secrets are found by any twelve of their characters in a row, so
//! that parts are found too; those of others by the key before them or by their form.
//!
//! JSON stays JSON: a replacement is always within a string, and a number is replaced by a number.

mod others;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use others::find_others;
use view::View;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// Shortest secret of ours that is searched for. A shorter one could be part of any word, and replacing it would change
/// the answer's meaning.
const MIN_SECRET_BYTES: usize = 8;

/// This many characters of a secret in a row are not a coincidence.
const WINDOW: usize = 12;

/// Of a form that servers seldom use, only every fourth piece is searched for.
const RARE_STEP: usize = 4;

/// How many layers of escapes are removed. No real server adds more.
const MAX_LAYERS: usize = 5;

/// Secrets of ours, ready to be looked for. It shows none of them.
#[derive(Default)]
pub struct Redactor {
    written: Pieces,
    /// Of their letters and digits alone.
    bare: Pieces,
}

/// Lower-case pieces of every writing of the secrets, none of them shorter than [`MIN_SECRET_BYTES`].
#[derive(Default)]
struct Pieces {
    by_length: BTreeMap<usize, HashSet<Box<[u8]>>>,
    steps: Steps,
}

/// A part of a text that is to be replaced.
struct Found {
    range: Range<usize>,
    /// Whether it continues a secret that has been replaced a little before it.
    goes_on: bool,
}

/// How far a search may step on (Wu and Manber's algorithm): every answer is searched, and nearly all of its bytes are
/// passed over unread.
struct Steps(Box<[u8; 1 << 16]>);

impl Steps {
    /// The farthest step: no piece has three bytes that no piece has.
    const FARTHEST: u8 = (MIN_SECRET_BYTES - 2) as u8;

    fn place(bytes: [u8; 3]) -> u16 {
        let [first, second, third] = bytes.map(u16::from);
        first ^ second << 4 ^ third << 8
    }

    /// Notes what a piece begins with: no step may lead past it.
    fn note(&mut self, beginning: &[u8; MIN_SECRET_BYTES]) {
        for (step, three) in (0..).zip(beginning.windows(3).rev()) {
            if let Some(three) = three.first_chunk()
                && let Some(farthest) = self.0.get_mut(usize::from(Self::place(*three)))
            {
                *farthest = step.min(*farthest);
            }
        }
    }

    /// Where in this a piece may begin; from `at` on, the first place.
    fn next(&self, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            let last_three = bytes.get(at + MIN_SECRET_BYTES - 3..)?.first_chunk()?;
            match self.0.get(usize::from(Self::place(*last_three))) {
                Some(0) | None => return Some(at),
                Some(step) => at += usize::from(*step),
            }
        }
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self(Box::new([Self::FARTHEST; 1 << 16]))
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Pieces {
    fn add(&mut self, writing: &[u8], step: usize) {
        for piece in writing.windows(writing.len().clamp(1, WINDOW)).step_by(step) {
            if let Some(beginning) = piece.first_chunk() {
                self.steps.note(beginning);
                self.by_length.entry(piece.len()).or_default().insert(piece.into());
            }
        }
    }

    /// Where in this a piece stands.
    fn find<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let candidates =
            std::iter::successors(self.steps.next(bytes, 0), |at| self.steps.next(bytes, at + 1));
        candidates.flat_map(move |at| {
            self.by_length.iter().filter_map(move |(length, pieces)| {
                let range = at..at + length;
                bytes.get(range.clone()).is_some_and(|piece| pieces.contains(piece)).then_some(range)
            })
        })
    }
}

impl Redactor {
    /// Searches for these secrets, besides those of others.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES) {
            redactor.add(secret);
            // What stands between the numbers makes no difference.
            for write in [
                |byte| format!("{byte:02x}"),
                |byte| format!("0x{byte:02x}"),
                |byte| format!("{byte}"),
                |byte| format!("{byte:03o}"),
            ] {
                redactor.add(secret.iter().map(write).collect::<String>().as_bytes());
            }
            for encoded in in_base64(secret) {
                redactor.add(&encoded);
                redactor.add_rare(hex(&encoded).as_bytes());
                in_base64(&encoded).iter().for_each(|twice| redactor.add_rare(twice));
            }
            for hex in [hex(secret), hex(secret).to_ascii_uppercase()] {
                in_base64(hex.as_bytes()).iter().for_each(|encoded| redactor.add_rare(encoded));
            }
            redactor.add_rare(&in_utf7(secret));
            // As programs for Windows and Java write texts.
            let wide: Vec<u8> = secret.iter().flat_map(|byte| [0, *byte]).collect();
            redactor.add_rare(hex(&wide).as_bytes());
            in_base64(&wide).iter().for_each(|encoded| redactor.add_rare(encoded));
            for escaped in [
                in_percent(secret, |byte| format!("%{byte:02X}")),
                in_percent(secret, |byte| format!("%{byte:02x}")),
            ] {
                if escaped != secret {
                    in_base64(&escaped).iter().for_each(|encoded| redactor.add_rare(encoded));
                }
            }
        }
        redactor
    }

    fn add(&mut self, writing: &[u8]) {
        self.add_each(writing, 1);
    }

    /// Adds a form that servers seldom use. To save time, fewer of its pieces are searched for: it is found only if a
    /// few more characters in a row are there, and a few at its ends may stay.
    fn add_rare(&mut self, writing: &[u8]) {
        self.add_each(writing, RARE_STEP);
    }

    fn add_each(&mut self, writing: &[u8], step: usize) {
        if writing.len() < MIN_SECRET_BYTES {
            return;
        }
        let writing = writing.to_ascii_lowercase();
        self.written.add(&writing, step);
        let bare: Vec<u8> = writing.into_iter().filter(u8::is_ascii_alphanumeric).collect();
        // Fewer letters may be the end of one word and the beginning of the next.
        if bare.len() >= WINDOW {
            self.bare.add(&bare, step);
        }
    }

    /// The text without secrets; unchanged if it has none.
    pub fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let mut found = Vec::new();
        let mut view = View::of(&text);
        self.find_ours(&text, &view, &mut found);
        for _ in 0..MAX_LAYERS {
            let Some(decoded) = view.without_escapes() else { break };
            view = decoded;
            self.find_ours(&text, &view, &mut found);
        }
        find_others(&view, &mut found);
        drop(view);
        if found.is_empty() { text } else { replace(&text, found) }
    }

    fn find_ours(&self, source: &[u8], view: &View, found: &mut Vec<Found>) {
        for range in self.written.find(&view.bytes) {
            view.note(range, found);
        }
        if self.bare.by_length.is_empty() {
            return;
        }
        self.find_bare(source, view, false, found);
        if view.bytes.contains(&b'<') {
            self.find_bare(source, view, true, found);
        }
    }

    /// Finds our secrets by their letters and digits alone, with or without those within tags: a tag may stand between
    /// two characters, or around them all.
    fn find_bare(&self, source: &[u8], view: &View, within_tags: bool, found: &mut Vec<Found>) {
        let bare = view.letters_and_digits(within_tags);
        let mut ranges = self.bare.find(&bare).peekable();
        if ranges.peek().is_none() {
            return;
        }
        let mut is_secret = vec![false; bare.len()];
        for range in ranges {
            is_secret.get_mut(range).unwrap_or_default().fill(true);
        }
        let mut last: Option<(usize, Range<usize>)> = None;
        let places = view.places_of_letters_and_digits(within_tags).enumerate();
        for (at, place) in places.filter(|(at, _)| is_secret.get(*at) == Some(&true)) {
            let (Some(start), Some(end)) = (view.start(place), view.start(place + 1)) else { continue };
            let range = start as usize..end as usize;
            let before = last.take().filter(|(last_at, _)| last_at + 1 == at).map(|(_, range)| range);
            // What a quotation mark divides may be two texts of JSON, and stays divided.
            let is_one = |before: &Range<usize>| {
                source.get(before.end..range.start).is_none_or(|between| !between.contains(&b'"'))
            };
            match (found.last_mut(), &before) {
                (Some(found), Some(before)) if is_one(before) => {
                    found.range.end = found.range.end.max(range.end)
                }
                _ => found.push(Found { range: range.clone(), goes_on: before.is_some() }),
            }
            last = Some((at, range));
        }
    }
}

/// Characters of Base64 that are made of these bytes alone, whatever stands before and behind them.
fn in_base64(bytes: &[u8]) -> HashSet<Vec<u8>> {
    let mut writings = HashSet::new();
    for n_before in 0..3 {
        let bytes = [&[0; 3][..n_before], bytes].concat();
        let begin = [0, 2, 3][n_before];
        let end = bytes.len() / 3 * 4 + [0, 1, 2][bytes.len() % 3];
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            writings.insert(encoded.as_bytes().get(begin..end).unwrap_or_default().to_vec());
        }
    }
    writings
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With all but letters and digits as UTF-7 writes them.
fn in_utf7(bytes: &[u8]) -> Vec<u8> {
    let write = |byte: &u8| match byte {
        b'+' => b"+-".to_vec(),
        byte if byte.is_ascii_alphanumeric() => vec![*byte],
        byte => format!("+{}-", STANDARD_NO_PAD.encode([0, *byte])).into_bytes(),
    };
    bytes.iter().flat_map(write).collect()
}

/// Percent-encoded as a value in a URL is.
fn in_percent(bytes: &[u8], write: fn(u8) -> String) -> Vec<u8> {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    bytes
        .iter()
        .flat_map(|byte| if is_kept(*byte) { vec![*byte] } else { write(*byte).into_bytes() })
        .collect()
}

fn replace(text: &[u8], mut found: Vec<Found>) -> Vec<u8> {
    found.sort_by_key(|found| (found.range.start, found.range.end));
    let mut redacted = Vec::with_capacity(text.len());
    let mut done = 0;
    let mut all = found.into_iter().peekable();
    while let Some(Found { mut range, mut goes_on }) = all.next() {
        while let Some(next) = all.next_if(|next| next.range.start <= range.end) {
            range.end = range.end.max(next.range.end);
            goes_on &= next.goes_on;
        }
        redacted.extend_from_slice(text.get(done..range.start).unwrap_or_default());
        let secret = text.get(range.clone()).unwrap_or_default();
        let is_of_numbers = |byte: &u8| byte.is_ascii_digit() || b" \t\r\n,[]-+.eE".contains(byte);
        let are_numbers = secret.iter().all(is_of_numbers)
            && secret.iter().any(u8::is_ascii_digit)
            && stands_as_value(text, &range);
        redacted.extend_from_slice(match () {
            () if are_numbers => b"0",
            () if goes_on => b"",
            () => REDACTED.as_bytes(),
        });
        done = range.end;
    }
    redacted.extend_from_slice(text.get(done..).unwrap_or_default());
    redacted
}

/// Whether what stands there is a value of JSON by itself, rather than a part of a text.
fn stands_as_value(text: &[u8], range: &Range<usize>) -> bool {
    let before =
        text.get(..range.start).unwrap_or_default().iter().rev().find(|byte| !byte.is_ascii_whitespace());
    let behind = text.get(range.end);
    matches!(before, Some(b':' | b',' | b'['))
        && behind.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']'))
}
