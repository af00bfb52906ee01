//! Finds the single errors in the text of a failed compliance check.
//!
//! The text should be a list of messages separated by commas. It may also be lines of a log, a JSON body that is quoted
//! once or twice and cut off anywhere, a dump of a dictionary, an HTML list, or a sentence. Messages contain commas
//! too: so a comma, Latin or Arabic, separates two errors only if a new rule code follows it.
//!
//! Three passes, each linear in the length of the text, none of them recursive:
//!
//! 1. `view` undoes escapes, entities and markup and finds the words.
//! 2. `fields` finds keys (`"code":`, `'code' =>`, `[code] =>`, `code=`, `CODE :`) and groups them into records.
//!    Complete records become errors. Placeholders then cover them, so that the next pass can't read a code a second
//!    time.
//! 3. `prose` reads the codes in what is left, and decides for each whether it begins an error, repeats the code before
//!    it, shares that one's message, or is only mentioned.
//!
//! What counts as a code:
//!
//! - `BR-…` and `XSD_…` anywhere, in upper or lower case, with any kind of hyphen, known or not; if several codes fit,
//!   the longest. In the middle of a message that has a code already they refer to another rule and begin no error.
//! - Whatever is in a code field, known or not. An HTTP status counts only if nothing else says what the error is.
//! - Any other known code (`GENERAL`, `publicKey`) looks like an ordinary word or number, so it counts only as the
//!   value of a code field, or at the head of a message with a separator behind it. One that can't be mistaken for a
//!   word (`certificate-permissions`, `0x80094800`) counts in a sentence as well, if the sentence has no code at its
//!   head.
//! - A general code (`NOT_COMPLIANT`) says little, so the codes in its message count as well.
//! - `BT-…`, `BG-…` and `KSA-…` name parts of an invoice, not rules.
//! - A record with status `PASS` or type `INFO` reports no error, nor does `XSD_ZATCA_VALID`.
//!
//! Whether an error blocks is read from its own record or level, or else from the block that it is in (`warnings :`,
//! `"warningMessages":`). A code may be broken over two lines. Prefixes and result lines of a validator's log are
//! neither errors nor parts of messages.
//!
//! Errors without a code are kept: a text without any code is one message, verbatim. Headings and labels beside a code
//! are left out, and so are fields of data that hold no message.

mod blocks;
mod fields;
mod log;
mod page;
mod prose;
#[cfg(test)]
mod tests;
mod view;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use serde::{Deserialize, Serialize};

use super::text::one_line;
use view::View;

pub use page::page_as_sentence;

/// One error found in the text of a failed check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleError {
    /// The code of the rule, in its official spelling if that is known; `None` if the text names no rule.
    pub rule: Option<String>,
    /// What the text says about this error, without the code if the two can be told apart.
    pub message: String,
    /// Whether it blocks, as the text says. If the text does not say so, `Catalogue::settle` fills it in.
    pub severity: Option<Severity>,
    /// Which of its rule's causes this is; `Catalogue::settle` fills it in.
    pub variant: Option<String>,
}

/// Whether breaking a rule fails a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It is not known, or depends on the document (`both` in files of rules).
    #[serde(alias = "both")]
    Unknown,
    /// It does not.
    Warning,
}

impl Severity {
    /// All severities, those that block first.
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Unknown, Severity::Warning];

    /// The public name.
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Unknown => "unknown",
            Severity::Warning => "warning",
        }
    }

    /// The severity with this name.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.label() == label)
    }
}

/// The codes to look for besides those of the `BR-…` and `XSD_…` families, and the spelling of all of them.
///
/// A code is found whatever its case, the kind of its hyphens, and invisible marks in it. It is one word of Latin
/// letters, digits, hyphens and underscores; any other is never found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownCodes {
    /// By the form in which spellings are compared.
    official: BTreeMap<String, KnownCode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownCode {
    spelling: String,
    /// More specific codes in its text count as well.
    is_general: bool,
}

impl KnownCodes {
    /// The official spelling of a code, if it is known.
    pub fn official(&self, code: &str) -> Option<&str> {
        self.folded(&fold(code))
    }

    /// Makes more specific codes in this one's text count as errors of their own.
    pub fn mark_general(&mut self, code: &str) {
        if let Some(code) = self.official.get_mut(&fold(code)) {
            code.is_general = true;
        }
    }

    fn folded(&self, folded: &str) -> Option<&str> {
        self.official.get(folded).map(|code| code.spelling.as_str())
    }

    /// Whether more specific codes in this one's text count as well, as they do for an unknown code.
    pub(super) fn is_general(&self, code: &str) -> bool {
        self.official.get(&fold(code)).is_none_or(|code| code.is_general)
    }

    /// Whether a known code begins like this.
    fn has_beginning(&self, folded: &str) -> bool {
        let mut from_here = self.official.range::<str, _>((Bound::Included(folded), Bound::Unbounded));
        from_here.next().is_some_and(|(code, _)| code.starts_with(folded))
    }
}

impl<S: Borrow<str>> FromIterator<S> for KnownCodes {
    fn from_iter<I: IntoIterator<Item = S>>(codes: I) -> Self {
        let mut known = Self::default();
        known.extend(codes);
        known
    }
}

/// Adds codes; one that was known already takes the new spelling. Empty ones are ignored.
impl<S: Borrow<str>> Extend<S> for KnownCodes {
    fn extend<I: IntoIterator<Item = S>>(&mut self, codes: I) {
        let codes = codes.into_iter();
        self.official.extend(codes.filter_map(|code| {
            let code = code.borrow().trim();
            let known = KnownCode { spelling: code.to_owned(), is_general: false };
            (!code.is_empty()).then(|| (fold(code), known))
        }));
    }
}

/// Longest code, in characters. Anything longer in a code's place is a text.
const MAX_CODE_CHARS: usize = 64;

/// An unknown code as it is kept: on one line, and cut off if it is too long for a code.
pub(super) fn shortened(code: &str) -> String {
    one_line(code.trim()).chars().take(MAX_CODE_CHARS).collect()
}

fn fold(code: &str) -> String {
    code.trim().chars().filter_map(view::fold_char).collect()
}

/// Splits the text of a failed check into its errors, in the order of the text.
///
/// An empty text has none, every other text at least one: a text that can't be split is one error without a rule, with
/// the whole text as its message. The same rule may occur several times. Any text is accepted, and takes time linear in
/// its length.
pub fn split(text: &str, known: &KnownCodes) -> Vec<RuleError> {
    let whole = text.trim_matches(view::is_space);
    if whole.is_empty() {
        return Vec::new();
    }
    let mut view = View::new(whole, known);
    log::cover(&mut view, known);
    let blocks = blocks::find(&view, known);
    let extracted = fields::extract(&mut view, known);
    let mut found = extracted.errors;
    for (position, mut error) in prose::split(&view, known, extracted.structured) {
        error.severity = error.severity.or(extracted.levels.get(&position).copied());
        found.push((position, error));
    }
    let severity_at =
        |position: usize| blocks.get(blocks.partition_point(|(at, _)| *at <= position).checked_sub(1)?)?.1;
    found.retain_mut(|(position, error)| match severity_at(*position) {
        Some(Level::Info) if error.severity.is_none() => false,
        level => {
            error.severity = error.severity.or(level.and_then(Level::severity));
            true
        }
    });
    if found.iter().all(|(_, error)| error.rule.is_none()) {
        let message = page_as_sentence(whole).unwrap_or_else(|| whole.to_owned());
        let severity = found.iter().filter_map(|(_, error)| error.severity).min();
        return vec![RuleError { message, severity, ..RuleError::default() }];
    }
    found.sort_by_key(|(position, _)| *position);
    found.into_iter().map(|(_, error)| error).collect()
}

/// What a word says of the errors around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    /// No error at all.
    Info,
}

impl Level {
    /// The level that a value or a label in lower case names.
    fn of(folded: &str) -> Option<Self> {
        if folded.contains("warn") {
            Some(Self::Warning)
        } else if ["error", "fatal", "fail", "critical", "severe"].iter().any(|word| folded.contains(word)) {
            Some(Self::Error)
        } else if ["info", "pass", "debug", "trace"].iter().any(|word| folded.starts_with(word)) {
            Some(Self::Info)
        } else {
            None
        }
    }

    const fn severity(self) -> Option<Severity> {
        match self {
            Level::Error => Some(Severity::Error),
            Level::Warning => Some(Severity::Warning),
            Level::Info => None,
        }
    }
}

/// How certain it is, by the look of a code, that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `BR-…` or `XSD_…`: nothing else looks like this.
    Family,
    /// A known code that could be an ordinary word or number.
    Word,
    /// A known code that could be an HTTP status.
    Status,
    /// Reports a success.
    Success,
}

/// A word, or its beginning, that may be a code.
#[derive(Debug, Clone)]
struct Candidate {
    range: Range<usize>,
    code: String,
    kind: Kind,
    known: bool,
    /// Nothing but this code looks like it, so it counts in a sentence as well.
    is_distinctive: bool,
    /// The codes in its message count as well.
    is_general: bool,
    /// As the text before it says.
    severity: Option<Severity>,
}

/// Reads the code that a word is, or begins with.
fn read_code(view: &View, word: &Range<usize>, known: &KnownCodes) -> Option<Candidate> {
    let (folded, ends, is_whole) = view.fold(word);
    // A numbered list may write `2-BR-KSA-66`.
    let number = folded.bytes().take_while(u8::is_ascii_digit).count();
    let skipped = if folded.get(number..)?.starts_with("-br-") { number + 1 } else { 0 };
    let rest = folded.get(skipped..)?;
    let family = if rest.starts_with("br-") {
        br_length(rest, known)
    } else if rest.starts_with("xsd_") {
        // These codes have no hyphens: what follows one is text.
        rest.find('-').or(is_whole.then_some(rest.len()))
    } else {
        None
    };
    if let Some(length) = family {
        let folded_code = rest.get(..length)?;
        let official = known.folded(folded_code);
        return Some(Candidate {
            range: word.start..*ends.get(skipped + length - 1)?,
            code: official.map_or_else(|| folded_code.to_ascii_uppercase(), str::to_owned),
            kind: if folded_code == "xsd_zatca_valid" { Kind::Success } else { Kind::Family },
            known: official.is_some(),
            is_distinctive: true,
            is_general: official.is_some_and(|code| known.is_general(code)),
            severity: None,
        });
    }
    let official = known.folded(&folded).filter(|_| is_whole)?;
    let is_status = folded.len() == 3 && number == 3;
    Some(Candidate {
        range: word.clone(),
        code: official.to_owned(),
        kind: if is_status { Kind::Status } else { Kind::Word },
        known: true,
        is_distinctive: is_distinctive(&folded),
        is_general: known.is_general(official),
        severity: None,
    })
}

/// Whether a known code could hardly be anything else in a sentence.
fn is_distinctive(folded: &str) -> bool {
    (folded.contains(['-', '_']) && !folded.starts_with("ksa-"))
        || folded.starts_with("0x")
        || folded.ends_with("exception")
        || folded.starts_with("x509")
}

/// The length of the longest code of the `BR-` family that a folded word begins with.
///
/// Such a code ends in a number, which one letter and a number may follow (`BR-KSA-F-06-C28`). A second plain number is
/// text (`BR-KSA-40-15 digits`), unless a known code has it.
fn br_length(folded: &str, known: &KnownCodes) -> Option<usize> {
    let mut longest = None;
    let mut in_grammar = true;
    let mut has_number = false;
    let mut end = "br".len();
    for part in folded.get(end + 1..)?.split('-') {
        let is_first = end == "br".len();
        end += 1 + part.len();
        let digits = part.trim_start_matches(|ch: char| ch.is_ascii_lowercase());
        let letters = part.len() - digits.len();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // The core rules have two digits; `BR-2024-…` is the number of a document.
        let digits_max = if is_first { 3 } else { 4 };
        let is_end = match letters {
            0 => is_number && !has_number && digits.len() <= digits_max,
            1 => is_number && digits.len() <= 3,
            _ => false,
        };
        has_number |= letters == 0;
        in_grammar &= is_end || (letters > 0 && !has_number);
        if (in_grammar && is_end) || folded.get(..end).is_some_and(|code| known.folded(code).is_some()) {
            longest = Some(end);
        }
    }
    longest
}
