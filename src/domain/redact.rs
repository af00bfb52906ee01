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

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shortest secret of ours that is searched for. A shorter one could be part of any word, and replacing it would change
/// the answer's meaning.
pub const MIN_SECRET_BYTES: usize = 8;

/// This many characters of a secret in a row are not a coincidence.
const WINDOW: usize = 12;

/// Of a writing that servers seldom use, only every fourth piece is looked for.
const RARE_STEP: usize = 4;

/// How many layers of escapes are removed. No real server adds more.
const MAX_LAYERS: usize = 5;

/// Digits of a numbered entity. Zeros before the number are allowed, and nobody writes as many.
const MAX_ENTITY_DIGITS: usize = 16;

/// Longest tag that is passed over.
const MAX_TAG_BYTES: usize = 512;

/// Secrets of ours, ready to be looked for. It shows none of them.
#[derive(Default)]
pub struct Redactor {
    written: Pieces,
    /// Of their letters and digits alone.
    bare: Pieces,
}

/// Lower-case pieces of every writing of the secrets.
#[derive(Default)]
struct Pieces {
    by_length: BTreeMap<usize, HashSet<Box<[u8]>>>,
    beginnings: Beginnings,
}

/// A part of a text that is to be replaced.
struct Found {
    range: Range<usize>,
    /// Whether it continues a secret that has been replaced a little before it.
    goes_on: bool,
}

/// Whether a piece may begin with these three bytes. This is asked for every position of every answer, and rules nearly
/// all of them out.
struct Beginnings(Box<[bool]>);

impl Beginnings {
    fn place(bytes: [u8; 3]) -> usize {
        let [first, second, third] = bytes.map(usize::from);
        first ^ second << 4 ^ third << 8
    }

    fn note(&mut self, bytes: [u8; 3]) {
        if let Some(may_be) = self.0.get_mut(Self::place(bytes)) {
            *may_be = true;
        }
    }

    fn may_be(&self, bytes: [u8; 3]) -> bool {
        self.0.get(Self::place(bytes)).is_some_and(|may_be| *may_be)
    }
}

impl Default for Beginnings {
    fn default() -> Self {
        Self(vec![false; 1 << 16].into())
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
            self.by_length.entry(piece.len()).or_default().insert(piece.into());
            if let Some(bytes) = piece.first_chunk() {
                self.beginnings.note(*bytes);
            }
        }
    }

    /// Where in this a piece stands.
    fn find<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let may_begin = |(at, three): (usize, &[u8])| {
            three.first_chunk().is_some_and(|bytes| self.beginnings.may_be(*bytes)).then_some(at)
        };
        bytes.windows(3).enumerate().filter_map(may_begin).flat_map(move |at| {
            self.by_length.iter().filter_map(move |(length, pieces)| {
                let range = at..at + length;
                bytes.get(range.clone()).is_some_and(|piece| pieces.contains(piece)).then_some(range)
            })
        })
    }
}

/// A text, lower-case, as it is behind some layers of escapes.
struct View {
    bytes: Vec<u8>,
    /// Where in the source each byte begins, and where the last one ends; `None` where it is the source itself.
    starts: Option<Vec<u32>>,
}

impl Redactor {
    /// Searches for these secrets, besides those of others.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES) {
            redactor.add(secret);
            // What stands between the numbers makes no difference.
            for write in
                [|byte| format!("{byte:02x}"), |byte| format!("0x{byte:02x}"), |byte| format!("{byte}")]
            {
                redactor.add(secret.iter().map(write).collect::<String>().as_bytes());
            }
            for encoded in in_base64(secret) {
                redactor.add(&encoded);
                in_base64(&encoded).iter().for_each(|twice| redactor.add_rare(twice));
            }
            // As programs for Windows and Java write texts.
            let wide: Vec<u8> = secret.iter().flat_map(|byte| [0, *byte]).collect();
            redactor.add_rare(wide.iter().map(|byte| format!("{byte:02x}")).collect::<String>().as_bytes());
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

    /// One that servers seldom use. So that it costs little, fewer of its pieces are looked for: some characters more
    /// have to stand in a row, and a few at its ends may stay.
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
        let (bare, places) = view.letters_and_digits(within_tags);
        let mut ranges = self.bare.find(&bare).peekable();
        if ranges.peek().is_none() {
            return;
        }
        let mut is_secret = vec![false; bare.len()];
        for range in ranges {
            is_secret.get_mut(range).unwrap_or_default().fill(true);
        }
        let mut last: Option<(usize, Range<usize>)> = None;
        for (at, place) in places.into_iter().enumerate().filter(|(at, _)| is_secret.get(*at) == Some(&true))
        {
            let place = place as usize;
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

/// Percent-encoded as a value in a URL is.
fn in_percent(bytes: &[u8], write: fn(u8) -> String) -> Vec<u8> {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    bytes
        .iter()
        .flat_map(|byte| if is_kept(*byte) { vec![*byte] } else { write(*byte).into_bytes() })
        .collect()
}

impl View {
    fn of(text: &[u8]) -> Self {
        Self { bytes: text.to_ascii_lowercase(), starts: None }
    }

    /// Where in the source the byte at this place begins.
    fn start(&self, at: usize) -> Option<u32> {
        match &self.starts {
            Some(starts) => starts.get(at).copied(),
            None => u32::try_from(at).ok(),
        }
    }

    /// Notes what a part of this view is in the source.
    fn note(&self, part: Range<usize>, found: &mut Vec<Found>) {
        let (Some(start), Some(end)) = (self.start(part.start), self.start(part.end)) else { return };
        let range = start as usize..end as usize;
        match found.last_mut() {
            Some(Found { range: last, .. }) if last.start <= range.start && range.start <= last.end => {
                last.end = last.end.max(range.end)
            }
            _ => found.push(Found { range, goes_on: false }),
        }
    }

    /// Letters and digits without what stands between them, and where in this view each stands. Those of HTML's tags are
    /// left out unless `within_tags`.
    fn letters_and_digits(&self, within_tags: bool) -> (Vec<u8>, Vec<u32>) {
        let (mut bare, mut places) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            if let (true, Ok(place)) = (byte.is_ascii_alphanumeric(), u32::try_from(at)) {
                bare.push(*byte);
                places.push(place);
            }
            at += match self.bytes.get(at..) {
                Some([b'<', rest @ ..]) if !within_tags => 1 + tag(rest),
                _ => 1,
            };
        }
        (bare, places)
    }

    /// The view behind one more layer of escapes; `None` where there is none.
    fn without_escapes(&self) -> Option<Self> {
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
        // One that stands before several bytes of a character is nobody's escape.
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

/// What a key ends with whose value is somebody's secret.
const KEYS: [&str; 17] = [
    "secret",
    "secretkey",
    "secret_key",
    "securitytoken",
    "security_token",
    "privatekey",
    "private_key",
    "private-key",
    "password",
    "apikey",
    "api_key",
    "api-key",
    "accesstoken",
    "access_token",
    "authtoken",
    "auth_token",
    "auth-token",
];

const AUTHORIZATION: &str = "authorization";
const SCHEMES: [&str; 6] = ["bearer", "basic", "token", "digest", "negotiate", "apikey"];

/// Finds secrets of others in a view that has no escapes any more.
fn find_others(view: &View, found: &mut Vec<Found>) {
    let bytes = view.bytes.as_slice();
    let mut at = 0;
    let mut word_start = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let secret = match rest {
            [b'-', b'-', b'-', b'-', b'-', ..] => private_key(rest).map(|length| at..at + length),
            [b'e', b'y', b'j', ..] if at == word_start => json_web_token(rest).map(|length| at..at + length),
            [first, ..] if !is_word(*first) => None,
            // The end of a word is where a key ends.
            [_, next, ..] if is_word(*next) => None,
            _ => value_after(bytes, word_start, at + 1),
        };
        if let Some(secret) = secret {
            at = secret.end.max(at + 1);
            word_start = at;
            view.note(secret, found);
            continue;
        }
        at += 1;
        if bytes.get(at - 1).is_some_and(|byte| !is_word(*byte)) {
            word_start = at;
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Whether a word ends as [`KEYS`], [`AUTHORIZATION`] and `otp` do.
const fn ends_as_keys_do(word: &[u8]) -> bool {
    matches!(word, [.., b'e', b't' | b'y' | b'n'] | [.., b'r', b'd'] | [.., b'o', b'n'] | [.., b't', b'p'])
}

/// The secret that follows a word, if the word is the key of one.
fn value_after(bytes: &[u8], word_start: usize, word_end: usize) -> Option<Range<usize>> {
    let word = bytes.get(word_start..word_end)?;
    // Nearly all words end otherwise.
    if !ends_as_keys_do(word) {
        return None;
    }
    let is_authorization = word.ends_with(AUTHORIZATION.as_bytes());
    let is_password = word == b"otp";
    if !is_authorization && !is_password && !KEYS.iter().any(|key| word.ends_with(key.as_bytes())) {
        return None;
    }
    let skip = |from: usize, which: &dyn Fn(u8) -> bool| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().take(MAX_TAG_BYTES).take_while(|byte| which(**byte)).count()
    };
    let is_space = |byte: u8| byte.is_ascii_whitespace();
    // An element's name, perhaps with that of its namespace, may have attributes behind it.
    let name_start = word_start.checked_sub(1).filter(|at| bytes.get(*at) == Some(&b':'));
    let tag = match name_start {
        Some(colon) => {
            let before = bytes.get(..colon)?.iter().rev().take(64);
            colon.checked_sub(before.take_while(|byte| is_word(**byte)).count() + 1)
        }
        None => word_start.checked_sub(1),
    };
    let value = if tag.is_some_and(|at| bytes.get(at) == Some(&b'<')) {
        let end = skip(word_end, &|byte| byte != b'>' && byte != b'<');
        (bytes.get(end) == Some(&b'>')).then_some(end + 1)?
    } else {
        let separator = skip(word_end, &|byte| is_quote(byte) || is_space(byte) || byte == b']');
        match bytes.get(separator..)? {
            [b'=', b'>', ..] => separator + 2,
            [b':' | b'=', ..] => separator + 1,
            _ => return None,
        }
    };
    let value = skip(value, &is_space);
    let quote = bytes.get(value).copied().filter(|byte| is_quote(*byte));
    let value = value + usize::from(quote.is_some());
    let rest = bytes.get(value..)?;
    let length = match quote {
        // A double quote may be the one that ends the whole text.
        Some(quote) => rest.iter().position(|byte| *byte == quote || *byte == b'"').unwrap_or(rest.len()),
        None => rest.iter().position(|byte| ends_value(*byte)).unwrap_or(rest.len()),
    };
    let text = rest.get(..length)?;
    if is_authorization
        && let Some(scheme) = SCHEMES.iter().find(|scheme| text.starts_with(scheme.as_bytes()))
    {
        let token = skip(value + scheme.len(), &is_space);
        let rest = bytes.get(token..)?;
        let length = rest.iter().position(|byte| ends_value(*byte)).unwrap_or(rest.len());
        return (token > value + scheme.len() && length >= 6).then_some(token..token + length);
    }
    let looks_made_up =
        || text.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'/' | b'='));
    let is_secret = if is_password {
        (4..=10).contains(&length) && text.iter().all(u8::is_ascii_digit)
    } else if quote.is_some() && !is_authorization {
        length >= 4 && !text.iter().any(|byte| is_space(*byte))
    } else {
        // A sentence goes on with a word: "Authorization: the user is not Admin".
        length >= 8 && looks_made_up() && !text.iter().any(|byte| is_space(*byte))
    };
    is_secret.then_some(value..value + length)
}

const fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || is_quote(byte)
        || matches!(byte, b',' | b';' | b')' | b'}' | b']' | b'&' | b'<' | b'>' | b'|')
}

/// The length of a private key in PEM form, its armour included.
fn private_key(text: &[u8]) -> Option<usize> {
    const KIND: &[u8] = b"private key-----";
    text.strip_prefix(b"-----begin ")?;
    let head = text.get(..64.min(text.len()))?;
    let kind_at = head.windows(KIND.len()).position(|window| window == KIND)?;
    let body = kind_at + KIND.len();
    let rest = text.get(body..)?;
    let n_body = rest
        .iter()
        .position(|byte| {
            !(byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=:,".contains(byte))
        })
        .unwrap_or(rest.len());
    let end = rest.get(n_body..)?;
    let n_end = match end.strip_prefix(b"-----end ") {
        Some(_) => {
            end.windows(KIND.len()).take(64).position(|window| window == KIND).map_or(0, |at| at + KIND.len())
        }
        None => 0,
    };
    Some(body + n_body + n_end)
}

/// The length of a JSON Web Token.
fn json_web_token(text: &[u8]) -> Option<usize> {
    const SHORTEST: usize = 8;
    let part = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| is_word(**byte)).count()
    };
    let header = part(0);
    let payload = (text.get(header) == Some(&b'.')).then(|| part(header + 1))?;
    if header < SHORTEST || payload - header - 1 < SHORTEST {
        return None;
    }
    Some(if text.get(payload) == Some(&b'.') { part(payload + 1) } else { payload })
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
        let are_numbers =
            secret.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b' ' | b'\n'))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Redactor {
        fn redact_text(&self, text: String) -> String {
            String::from_utf8(self.redact(text.into_bytes())).unwrap()
        }
    }

    /// Of 45 characters, as ClearTax gives them out.
    const TOKEN: &str = "1.9a7F3c21-5e0b-4d86_b1f2~Q/x+7=Zk0\"pLmW4tRvY";

    fn redacted(secret: &str, text: &str) -> String {
        Redactor::new([secret.as_bytes()]).redact_text(text.to_owned())
    }

    fn json_escaped(text: &str) -> String {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    }

    /// Ways in which a server may write what it was sent.
    fn writings(secret: &str) -> Vec<String> {
        let each = |write: &dyn Fn(char) -> String| secret.chars().map(write).collect::<String>();
        let unicode = each(&|c| format!("\\u{:04X}", u32::from(c)));
        let percent = each(&|c| format!("%{:02x}", u32::from(c)));
        let only_odd = |write: &dyn Fn(char) -> String| {
            each(&|c| if c.is_ascii_alphanumeric() { c.to_string() } else { write(c) })
        };
        let mut all = vec![
            secret.to_owned(),
            json_escaped(secret),
            json_escaped(&json_escaped(secret)),
            json_escaped(&json_escaped(&json_escaped(secret))),
            secret.replace('/', "\\/"),
            unicode.clone(),
            unicode.to_lowercase(),
            json_escaped(&unicode),
            format!("{}{}", &secret[..3], &unicode[18..]),
            percent.clone(),
            percent.to_uppercase(),
            percent.replace('%', "%25"),
            only_odd(&|c| format!("%{:02X}", u32::from(c))),
            only_odd(&|c| format!("&#{};", u32::from(c))),
            only_odd(&|c| format!("&#x{:x};", u32::from(c))),
            each(&|c| format!("&#{}", u32::from(c)) + ";"),
            each(&|c| format!("\\x{:02x}", u32::from(c))),
            each(&|c| format!("\\u{{{:x}}}", u32::from(c))),
            each(&|c| format!("\\{:03o}", u32::from(c))),
            json_escaped(&each(&|c| format!("\\{:03o}", u32::from(c)))),
            secret
                .replace('"', "&quot;")
                .replace('.', "&period;")
                .replace('/', "&sol;")
                .replace('=', "&equals;"),
            json_escaped(&secret.replace('"', "&amp;quot;")),
            each(&|c| format!("{:02x}", u32::from(c))),
            each(&|c| format!("{:02X}", u32::from(c))),
            each(&|c| format!("{:02x}:", u32::from(c))).trim_end_matches(':').to_owned(),
            each(&|c| format!("{:02X} ", u32::from(c))).trim_end().to_owned(),
            secret.to_uppercase(),
            secret.to_lowercase(),
            each(&|c| format!("&#{:09};", u32::from(c))),
            each(&|c| format!("0x{:02x}, ", u32::from(c))).trim_end_matches(", ").to_owned(),
            each(&|c| format!("{}, ", u32::from(c))).trim_end_matches(", ").to_owned(),
            each(&|c| format!("={:02X}", u32::from(c))),
        ];
        for before in ["", "x", "xy", "token: ", "x-cleartax-auth-token: "] {
            for behind in ["", "\r\n", "\nvat: 3"] {
                let text = format!("{before}{secret}{behind}");
                all.push(STANDARD_NO_PAD.encode(&text));
                all.push(URL_SAFE_NO_PAD.encode(&text));
                all.push(json_escaped(&STANDARD_NO_PAD.encode(&text)).replace('/', "\\/"));
            }
        }
        all
    }

    #[test]
    fn every_key_ends_as_keys_do() {
        for key in KEYS.into_iter().chain([AUTHORIZATION, "otp"]) {
            assert!(ends_as_keys_do(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn our_secret_goes_however_it_is_written() {
        for secret in [TOKEN, "tok/EN+sec\"ret=Zx99", "1.234567", "abcdefgh"] {
            for written in writings(secret) {
                let text = format!("before <{written}> after <{written}>.");
                let shown = redacted(secret, &text);
                assert_eq!(shown.matches(REDACTED).count(), 2, "{written}: {shown}");
                assert!(shown.starts_with("before <") && shown.contains("> after <"), "{written}: {shown}");
                // Base64 may keep some bits of what stands around it.
                let left = shown.len() - shown.replace(REDACTED, "").len();
                assert!(shown.len() - left <= "before <> after <>.".len() + 2 * 70, "{written}: {shown}");
                for piece in secret.as_bytes().windows(8) {
                    assert!(!shown.contains(std::str::from_utf8(piece).unwrap()), "{written}: {shown}");
                }
            }
        }
    }

    #[test]
    fn writings_within_writings_go_but_for_a_few_characters_at_their_ends() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let percent = |text: &str, upper: bool| {
            let written = in_percent(
                text.as_bytes(),
                if upper { |b| format!("%{b:02X}") } else { |b| format!("%{b:02x}") },
            );
            String::from_utf8(written).unwrap()
        };
        for secret in [TOKEN, "tok/EN+secretret=Zx99", "1.23456789abcdef"] {
            for before in ["", "x", "xy", "x-cleartax-auth-token: "] {
                let text = format!("{before}{secret}");
                let twice: Vec<String> = ["", "=", "=="]
                    .iter()
                    .map(|padding| {
                        STANDARD_NO_PAD.encode(format!("{before}{}{padding}", STANDARD_NO_PAD.encode(&text)))
                    })
                    .collect();
                let written = [
                    STANDARD_NO_PAD.encode(percent(&text, true)),
                    URL_SAFE_NO_PAD.encode(percent(&text, false)),
                    STANDARD_NO_PAD.encode(wide(&text)),
                    hex(&wide(&text)),
                    hex(&text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()),
                    URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(&text)),
                ];
                for written in written.iter().chain(&twice) {
                    let shown = redacted(secret, &format!("<{written}>"));
                    let kept = shown.split(REDACTED).last().unwrap();
                    assert!(
                        shown.contains(REDACTED) && kept.len() < 14,
                        "{before}{secret}: {written}: {shown}"
                    );
                    assert!(
                        !before.is_empty() || shown.len() < REDACTED.len() + 24,
                        "{secret}: {written}: {shown}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_tag_around_it_hides_nothing() {
        for written in writings(TOKEN) {
            let shown = redacted(TOKEN, &format!("<a value={written} >"));
            assert!(shown.contains(REDACTED) && !shown.contains(&written[..written.len() / 2]), "{shown}");
        }
    }

    #[test]
    fn what_stands_between_its_characters_makes_no_difference() {
        let each = |between: &str| TOKEN.chars().map(String::from).collect::<Vec<_>>().join(between);
        let lines = |text: &str, length: usize, between: &str| {
            let lines: Vec<&str> =
                text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).unwrap()).collect();
            lines.join(between)
        };
        let base64 =
            STANDARD_NO_PAD.encode(format!("GET /onboarding HTTP/1.1\r\nx-cleartax-auth-token: {TOKEN}\r\n"));
        for written in [
            lines(TOKEN, 5, "\n"),
            lines(TOKEN, 9, "\r\n "),
            lines(TOKEN, 9, "=\r\n"),
            lines(TOKEN, 6, "&shy;"),
            lines(TOKEN, 6, "&#8203;"),
            lines(TOKEN, 9, "' . '"),
            json_escaped(&lines(TOKEN, 5, "\n")),
            json_escaped(&json_escaped(&lines(TOKEN, 5, "\r\n"))),
            lines(&base64, 76, "\n"),
            lines(&base64, 64, "\n"),
            lines(&base64, 10, "\n"),
            each("\u{200b}"),
            each("\u{202e}"),
            each("\0"),
            each(" "),
            each("<wbr>"),
            each("</b><b class='c'>"),
        ] {
            let shown = redacted(TOKEN, &format!("({written})"));
            assert_eq!(shown.matches(REDACTED).count(), 1, "{written}: {shown}");
            for piece in [&TOKEN[..4], &TOKEN[24..28], &TOKEN[41..]] {
                assert!(!shown.contains(piece), "{written}: {shown}");
            }
        }
        // Quotation marks stay, so that JSON does.
        let body = serde_json::json!({"a": [&TOKEN[..10], &TOKEN[11..19], {"b": 1}], "bytes": TOKEN.as_bytes(), "n": 2});
        let shown = redacted(TOKEN, &body.to_string());
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value, serde_json::json!({"a": ["[redacted]", "", {"b": 1}], "bytes": [0], "n": 2}));
    }

    #[test]
    fn a_part_of_it_goes_as_well_and_nothing_else() {
        assert_eq!(redacted(TOKEN, &format!("begins {}…", &TOKEN[..33])), "begins [redacted]…");
        assert_eq!(redacted(TOKEN, &format!("ends …{}", &TOKEN[20..])), "ends …[redacted]");
        for innocent in ["", "1.9a7F3c2", "nothing \\u0074\\u006f % %2 \\ & &# &#; &x", "رمز \\u00", "\\é %é"]
        {
            assert_eq!(redacted(TOKEN, innocent), innocent);
        }
        assert_eq!(redacted("short", "a short one is a word"), "a short one is a word");
        // What is no UTF-8 does not become it.
        let bytes = b"\xff\xfe 1.9a7F3c21-5e0b \xc3".to_vec();
        assert_eq!(Redactor::new([TOKEN.as_bytes()]).redact(bytes), b"\xff\xfe [redacted] \xc3");
    }

    #[test]
    fn json_stays_json() {
        let body = format!(r#"{{"a":"{}","n":1234567890123,"password":4711471147}}"#, json_escaped(TOKEN));
        let shown = Redactor::new([TOKEN.as_bytes(), b"1234567890123"]).redact_text(body);
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value, serde_json::json!({"a": "[redacted]", "n": 0, "password": 0}));
    }

    #[test]
    fn secrets_of_others_go_by_their_keys_and_forms() {
        const SECRET: &str = "Xlj15LyMCgSC66ObnEO/qVPfhSbs3kDTjWnGheYhfSs=";
        const JWT: &str =
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\nMHQCAQEEIIHdyhYJcBKmgdeDpOAs0VPs9dGN\n-----END EC PRIVATE KEY-----";
        for (text, expected) in [
            (format!(r#"{{"secret":"{SECRET}","requestID":1}}"#), r#"{"secret":"[redacted]","requestID":1}"#),
            (format!(r#"{{"clientSecret" : "{SECRET}"}}"#), r#"{"clientSecret" : "[redacted]"}"#),
            (
                format!(r#"{{"binarySecurityToken":"TUlJRDFEQ0NBM21n","secret":"{SECRET}"}}"#),
                r#"{"binarySecurityToken":"[redacted]","secret":"[redacted]"}"#,
            ),
            (
                format!(r#"{{"m":"{{\"secret\":\"{SECRET}\",\"x\":1}}"}}"#),
                r#"{"m":"{\"secret\":\"[redacted]\",\"x\":1}"}"#,
            ),
            (format!("Csid(binarySecurityToken=TUlJRDFEQ0NBM21n, secret={SECRET})"), "Csid(binarySecurityToken=[redacted], secret=[redacted])"),
            (
                r#"<wsse:BinarySecurityToken EncodingType="x#Base64">TUlJRDFEQ0NBM21n</wsse:BinarySecurityToken>"#.to_owned(),
                r#"<wsse:BinarySecurityToken EncodingType="x#Base64">[redacted]</wsse:BinarySecurityToken>"#,
            ),
            (format!("[secret] => {SECRET}\n"), "[secret] => [redacted]\n"),
            (format!("token {JWT} is out of date"), "token [redacted] is out of date"),
            (format!("key: {PEM} end"), "key: [redacted] end"),
            (format!(r#""key":"{}""#, json_escaped(PEM)), r#""key":"[redacted]""#),
            ("Authorization: Basic dXNlcjpwYXNz, vat: 3".to_owned(), "Authorization: Basic [redacted], vat: 3"),
            (r#"{"Authorization":"Bearer abc.def-1"}"#.to_owned(), r#"{"Authorization":"Bearer [redacted]"}"#),
            ("authorization=abcdef012345".to_owned(), "authorization=[redacted]"),
            (r#"{"x-cleartax-auth-token":"1.abcdef"}"#.to_owned(), r#"{"x-cleartax-auth-token":"[redacted]"}"#),
            (r#"{"Otp":"123456"}"#.to_owned(), r#"{"Otp":"[redacted]"}"#),
        ] {
            assert_eq!(Redactor::default().redact_text(text.clone()), expected, "{text}");
        }
        for innocent in [
            "Authorization: the user is not Admin for this VAT",
            "The secret is missing; password: required, check the private key",
            r#"{"errors":{"secret":"must not be empty"},"Secret":null,"password":{"a":1}}"#,
            "Invalid-OTP: the OTP is wrong",
            r#"{"Otp":"Invalid-OTP"}"#,
            "BR-KSA-17 : the token eyJ is short, -----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
            "certificate-permissions : User only allowed to use the vat number that exists in the authentication certificate",
        ] {
            assert_eq!(Redactor::default().redact_text(innocent.to_owned()), innocent);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_token_survives(
            before in "[ -~éم\\\\%&#;=\"]{0,40}", behind in "[ -~éم\\\\%&#;=\"]{0,40}", way in any::<prop::sample::Index>(),
        ) {
            let all = writings(TOKEN);
            let written = &all[way.index(all.len())];
            let shown = redacted(TOKEN, &format!("{before} {written} {behind}"));
            // Where a list of numbers may be JSON, a number stands for it.
            prop_assert!(shown.contains(REDACTED) || shown.contains(" 0"), "{}", shown);
            prop_assert!(!shown.contains(&written[..written.len() / 2]), "{}", shown);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let redactor = Redactor::new([TOKEN.as_bytes()]);
            let once = redactor.redact(bytes);
            prop_assert_eq!(redactor.redact(once.clone()), once);
        }
    }
}
