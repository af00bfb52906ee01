//! Secrets of others, by the key before them or by their form.

use std::ops::Range;

use super::Found;
use super::view::{MAX_TAG_BYTES, View};

/// What a key ends with whose value is somebody's secret.
const KEYS: [&str; 21] = [
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
    "accesskey",
    "access_key",
    "accesstoken",
    "access_token",
    "refreshtoken",
    "refresh_token",
    "authtoken",
    "auth_token",
    "auth-token",
];

const AUTHORIZATION: &str = "authorization";
const SCHEMES: [&str; 6] = ["bearer", "basic", "token", "digest", "negotiate", "apikey"];

/// What a private key's armour begins with, as far as it is one word.
const ARMOUR: &[u8] = b"-----begin";

/// Finds secrets of others in a view that has no escapes any more: each begins or ends with a word.
pub(super) fn find_others(view: &View, found: &mut Vec<Found>) {
    let bytes = view.bytes.as_slice();
    let mut at = 0;
    let mut run = Run::default();
    while let Some(start) = position(bytes, at, is_word) {
        let end = position(bytes, start, |byte| !is_word(byte)).unwrap_or(bytes.len());
        let secret = secret_at(bytes, start, end, &mut run);
        at = secret.as_ref().map_or(end, |secret| secret.end.max(start + 1));
        if let Some(secret) = secret {
            view.note(secret, found);
        }
    }
}

fn position(bytes: &[u8], from: usize, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    Some(from + bytes.get(from..)?.iter().position(|byte| is_wanted(*byte))?)
}

/// A stretch that could be one value without quotes. A value may have many keys in it (`secret:secret:…`), each of which
/// asks where it ends: it is measured once.
#[derive(Debug, Default)]
struct Run {
    measured: Range<usize>,
    /// Behind the last character that no plain word has.
    made_up_until: usize,
}

impl Run {
    /// The length of the value that begins here, and whether it could be made up rather than be a word.
    fn value_at(&mut self, bytes: &[u8], at: usize) -> (usize, bool) {
        if !self.measured.contains(&at) {
            let rest = bytes.get(at..).unwrap_or_default();
            let text = rest.split(|byte| ends_value(*byte)).next().unwrap_or_default();
            self.measured = at..at + text.len();
            self.made_up_until = text.iter().rposition(is_made_up).map_or(at, |last| at + last + 1);
        }
        (self.measured.end - at, self.made_up_until > at)
    }
}

/// What no plain word has.
const fn is_made_up(byte: &u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'/' | b'=')
}

/// The secret that a word is the beginning or the key of.
fn secret_at(bytes: &[u8], start: usize, end: usize, run: &mut Run) -> Option<Range<usize>> {
    let word = bytes.get(start..end)?;
    let found = |from: usize, measure: fn(&[u8]) -> Option<usize>| {
        Some(from..from + measure(bytes.get(from..).unwrap_or_default())?)
    };
    if word.starts_with(b"eyj")
        && let Some(token) = found(start, json_web_token)
    {
        return Some(token);
    }
    if word.ends_with(ARMOUR) {
        return found(end - ARMOUR.len(), private_key);
    }
    value_after(bytes, start, end, run)
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
fn value_after(bytes: &[u8], word_start: usize, word_end: usize, run: &mut Run) -> Option<Range<usize>> {
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
    // The first of a list is its value.
    let value = skip(value, &|byte| is_space(byte) || byte == b'[');
    let quote = bytes.get(value).copied().filter(|byte| is_quote(*byte));
    let value = value + usize::from(quote.is_some());
    let rest = bytes.get(value..)?;
    let (length, looks_made_up) = match quote {
        // A double quote may be the one that ends the whole text.
        Some(quote) => {
            let length = rest.iter().position(|byte| *byte == quote || *byte == b'"').unwrap_or(rest.len());
            (length, rest.iter().take(length).any(is_made_up))
        }
        None => run.value_at(bytes, value),
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
    let is_secret = if is_password {
        (4..=10).contains(&length) && text.iter().all(u8::is_ascii_digit)
    } else if quote.is_some() && !is_authorization {
        length >= 4 && !text.iter().any(|byte| is_space(*byte))
    } else {
        // A sentence goes on with a word: "Authorization: the user is not Admin".
        length >= 8 && looks_made_up && !text.iter().any(|byte| is_space(*byte))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_ends_as_keys_do() {
        for key in KEYS.into_iter().chain([AUTHORIZATION, "otp"]) {
            assert!(ends_as_keys_do(key.as_bytes()), "{key}");
        }
    }
}
