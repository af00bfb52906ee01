//! What one answer of upstream means: the table of answers as a pure function.
//!
//! A body decides only if it can be trusted. Whatever is not in the table, or not of the documented shape, is
//! [`Verdict::Transient`]: the activity is polled again and never concluded by it.

use std::borrow::Cow;
use std::time::Duration;

use super::report::{ErrorBody, Findings, Object, Report, StatusBody};
use super::rules::KnownCodes;
use super::text;

/// The only `ActivityType` that this endpoint serves.
const PCSID_ACTIVITY_TYPE: &str = "ZATCA_COMPLIANCE_INVOICE";

/// How many characters of an unreadable body, or of why there was none, are kept for diagnosis.
const MAX_EXCERPT_CHARS: usize = 200;

/// How much of a final answer's body is kept as evidence: all that is read of one, unless removing secrets made it
/// longer.
pub const MAX_KEPT_BODY_BYTES: usize = 256 * 1024;

/// How many characters of an unknown `Status` are kept.
const MAX_STATUS_CHARS: usize = 64;

/// The raw result of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Upstream answered, and the whole body arrived within its bounds.
    Reply {
        /// HTTP status code.
        http_status: u16,
        /// From `Retry-After`: how long upstream asks us to wait.
        retry_after: Option<Duration>,
        /// The body, not decompressed: the client asks for no encoding.
        body: Vec<u8>,
    },
    /// No complete answer came.
    NoReply {
        /// The status, if at least the head of an answer arrived.
        http_status: Option<u16>,
        /// Why, in words for an operator.
        cause: String,
    },
}

/// A classified answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// HTTP status code; `None` if no answer came.
    pub http_status: Option<u16>,
    /// What it means.
    pub verdict: Verdict,
    /// The body as it came, cut to [`MAX_KEPT_BODY_BYTES`], if upstream said something final.
    pub final_body: Option<FinalBody>,
}

/// The body of a final answer, kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalBody {
    /// Its text.
    pub text: String,
    /// Whether its end was cut off.
    pub is_cut: bool,
    /// Whether it had bytes that are not UTF-8. Replacement characters (U+FFFD) stand in their place.
    pub is_repaired: bool,
}

/// What gzip begins with.
const GZIP: &[u8] = b"\x1f\x8b";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What an answer means for the activity it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Upstream is still working on it.
    InProgress(Report),
    /// The PCSID exists.
    Succeeded(Report, Findings),
    /// It ended without a PCSID.
    Failed(Report, Findings),
    /// Upstream refused the id; enough of these in a row reject the activity.
    Strike(Findings),
    /// The token is missing or not valid: this concerns the whole credential.
    Unauthorized,
    /// The token's user is not Admin for this VAT: this concerns the whole VAT.
    Forbidden,
    /// Upstream asks us to wait (429, or 503 with `Retry-After`): this concerns the whole credential.
    Throttled {
        /// For how long, if it says so.
        retry_after: Option<Duration>,
    },
    /// An answer that can't be trusted, or none.
    Transient {
        /// Its kind.
        kind: TransientKind,
        /// What is wrong, for an operator.
        detail: String,
        /// An unknown `Status`, verbatim, so that it can be seen.
        unknown_status: Option<String>,
    },
}

/// The kinds of untrusted answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransientKind {
    /// No answer: DNS, connect, TLS, timeout, reset, body over the limit.
    NoReply,
    /// 502, 503 or 504: something in front of upstream answered for it.
    Gateway,
    /// 500 with anything but a trusted failure.
    ServerError,
    /// 200 with a body that is not the documented one.
    InvalidResponse,
    /// Any other status, redirects included.
    UnexpectedStatus,
}

impl TransientKind {
    /// All kinds.
    pub const ALL: [TransientKind; 5] = [
        TransientKind::NoReply,
        TransientKind::Gateway,
        TransientKind::ServerError,
        TransientKind::InvalidResponse,
        TransientKind::UnexpectedStatus,
    ];

    /// The name in `last_error` and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            TransientKind::NoReply => "no_reply",
            TransientKind::Gateway => "gateway",
            TransientKind::ServerError => "server_error",
            TransientKind::InvalidResponse => "invalid_response",
            TransientKind::UnexpectedStatus => "unexpected_status",
        }
    }
}

impl Verdict {
    /// All [labels](Self::label) but those of [`TransientKind`].
    pub const USABLE_LABELS: [&str; 7] =
        ["in_progress", "succeeded", "failed", "refused", "unauthorized", "forbidden", "throttled"];

    /// Whether the answer can be trusted.
    pub const fn is_usable(&self) -> bool {
        !matches!(self, Verdict::Transient { .. })
    }

    /// Whether upstream said in which state the activity is. Answers about the credential or the VAT don't.
    pub const fn tells_where_it_stands(&self) -> bool {
        matches!(
            self,
            Verdict::InProgress(_) | Verdict::Succeeded(..) | Verdict::Failed(..) | Verdict::Strike(_)
        )
    }

    /// The name in metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Verdict::InProgress(_) => "in_progress",
            Verdict::Succeeded(..) => "succeeded",
            Verdict::Failed(..) => "failed",
            Verdict::Strike(_) => "refused",
            Verdict::Unauthorized => "unauthorized",
            Verdict::Forbidden => "forbidden",
            Verdict::Throttled { .. } => "throttled",
            Verdict::Transient { kind, .. } => kind.label(),
        }
    }
}

impl FinalBody {
    /// Only bodies that may conclude an activity are copied.
    fn of(verdict: &Verdict, body: &[u8]) -> Option<Self> {
        if !matches!(verdict, Verdict::Succeeded(..) | Verdict::Failed(..) | Verdict::Strike(_)) {
            return None;
        }
        let text = String::from_utf8_lossy(body);
        let kept = &text[..text.floor_char_boundary(MAX_KEPT_BODY_BYTES)];
        Some(Self {
            text: kept.to_owned(),
            is_cut: kept.len() < text.len(),
            is_repaired: matches!(text, Cow::Owned(_)),
        })
    }
}

/// Decides what one answer means. `known` are the rule codes to look for in the checks' texts.
pub fn classify(answer: &Answer, known: &KnownCodes) -> Observation {
    let (http_status, retry_after, body) = match answer {
        Answer::NoReply { http_status, cause } => {
            // A cause may quote what the other side sent, such as the names in its certificate.
            let verdict = transient(TransientKind::NoReply, text::beginning(cause, MAX_EXCERPT_CHARS));
            return Observation { http_status: *http_status, verdict, final_body: None };
        }
        Answer::Reply { http_status, retry_after, body } => (*http_status, *retry_after, body.as_slice()),
    };
    let verdict = match http_status {
        200 => match read_status(body, known) {
            Ok(verdict) => verdict,
            Err(unusable) => unusable.into_transient(TransientKind::InvalidResponse, body),
        },
        500 => match read_status(body, known) {
            // Only `Status` counts here: a success with an error's HTTP status contradicts itself.
            Ok(Verdict::Failed(report, findings)) if report.upstream_status.as_deref() == Some("FAILED") => {
                Verdict::Failed(report, findings)
            }
            Ok(_) => transient(
                TransientKind::ServerError,
                format!("HTTP 500 with a body whose Status is not FAILED: {}", excerpt(body)),
            ),
            Err(unusable) => unusable.into_transient(TransientKind::ServerError, body),
        },
        400 => match read_errors(body) {
            Some(findings) => Verdict::Strike(findings),
            None => transient(
                TransientKind::UnexpectedStatus,
                format!("HTTP 400 without a readable ErrorList: {}", excerpt(body)),
            ),
        },
        401 => Verdict::Unauthorized,
        403 => Verdict::Forbidden,
        429 => Verdict::Throttled { retry_after },
        503 if retry_after.is_some() => Verdict::Throttled { retry_after },
        502..=504 => transient(TransientKind::Gateway, format!("HTTP {http_status}: {}", excerpt(body))),
        300..=399 => transient(
            TransientKind::UnexpectedStatus,
            format!("HTTP {http_status}: a redirect, which is never followed; check upstream.base_url"),
        ),
        _ => transient(TransientKind::UnexpectedStatus, format!("HTTP {http_status}: {}", excerpt(body))),
    };
    let final_body = FinalBody::of(&verdict, body);
    Observation { http_status: Some(http_status), verdict, final_body }
}

/// Why a body can't be trusted.
enum Unusable {
    NotUtf8,
    NotJson(serde_json::Error),
    OtherActivityType(String),
    NoStatus,
    UnknownStatus(String),
}

impl Unusable {
    fn into_transient(self, kind: TransientKind, body: &[u8]) -> Verdict {
        let (detail, unknown_status) = match self {
            Unusable::NotUtf8 => ("the body is not UTF-8".to_owned(), None),
            Unusable::NotJson(_) if body.starts_with(GZIP) => {
                ("the body is compressed (gzip)".to_owned(), None)
            }
            Unusable::NotJson(err) if !err.is_data() && std::str::from_utf8(body).is_err() => {
                ("the body is not UTF-8".to_owned(), None)
            }
            // The error's own text may quote a body's value at any length; its place in the body is enough.
            Unusable::NotJson(err) if err.is_data() => {
                (format!("a field has a wrong type or stands twice, near column {}", err.column()), None)
            }
            Unusable::NotJson(_) if body.is_empty() => ("the body is empty".to_owned(), None),
            Unusable::NotJson(_) if body.trim_ascii_start().starts_with(b"<") => {
                ("the body is not JSON but a web page".to_owned(), None)
            }
            Unusable::NotJson(_) => ("the body is not JSON".to_owned(), None),
            Unusable::OtherActivityType(other) => {
                (format!("ActivityType is {}", excerpt(other.as_bytes())), None)
            }
            Unusable::NoStatus => ("Status is missing".to_owned(), None),
            Unusable::UnknownStatus(status) => {
                let kept = status.chars().take(MAX_STATUS_CHARS).collect();
                (format!("Status {} is not known", excerpt(status.as_bytes())), Some(kept))
            }
        };
        let detail =
            if body.is_empty() { detail } else { format!("{detail}; body starts {}", excerpt(body)) };
        Verdict::Transient { kind, detail, unknown_status }
    }
}

fn transient(kind: TransientKind, detail: String) -> Verdict {
    Verdict::Transient { kind, detail, unknown_status: None }
}

/// The text of a body, ready to be read as JSON: without a byte order mark, and with replacement characters for
/// unpaired surrogates, which JSON may contain and text may not, and for bytes that are not UTF-8. `None` if such bytes
/// are in a key, because then it is not known which field it names; in a value they affect no decision.
fn readable(body: &[u8]) -> Option<Cow<'_, str>> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => Some(without_lone_surrogates(text)),
        Cow::Owned(text) if has_damaged_key(&text) => None,
        Cow::Owned(text) => Some(Cow::Owned(without_lone_surrogates(&text).into_owned())),
    }
}

/// Whether a key of a JSON text has a replacement character.
fn has_damaged_key(text: &str) -> bool {
    let (mut is_inside, mut is_damaged) = (false, false);
    for piece in text.split('"') {
        if is_inside {
            is_damaged |= piece.contains(char::REPLACEMENT_CHARACTER);
            let n_backslashes = piece.bytes().rev().take_while(|byte| *byte == b'\\').count();
            // A quotation mark that is escaped ends no text.
            is_inside = n_backslashes % 2 == 1;
        } else {
            if is_damaged && piece.trim_start().starts_with(':') {
                return true;
            }
            (is_inside, is_damaged) = (true, false);
        }
    }
    false
}

fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    /// The number of a `\u` escape that begins at this byte.
    fn escaped(text: &str, at: usize) -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at += match escaped(text, at) {
            Some(0xd800..=0xdbff) if matches!(escaped(text, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                lone.push(at);
                6
            }
            Some(_) => 6,
            // What is escaped may be a backslash. It may be a character of several bytes too, if this is no JSON.
            None => 1 + usize::from(text.as_bytes().get(at + 1).is_some_and(u8::is_ascii)),
        };
    }
    if lone.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len());
    let mut from = 0;
    for at in lone {
        repaired.push_str(text.get(from..at).unwrap_or_default());
        repaired.push_str("\\ufffd");
        from = at + 6;
    }
    repaired.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(repaired)
}

fn read_status(bytes: &[u8], known: &KnownCodes) -> Result<Verdict, Unusable> {
    let text = readable(bytes).ok_or(Unusable::NotUtf8)?;
    let Object(body): Object<StatusBody> = serde_json::from_str(&text).map_err(Unusable::NotJson)?;
    let decisive = [body.activity_type.as_deref(), body.status.as_deref(), body.pcsid_generated()];
    let is_damaged = |value: &str| value.contains(char::REPLACEMENT_CHARACTER);
    if decisive.into_iter().flatten().any(is_damaged) && std::str::from_utf8(bytes).is_err() {
        return Err(Unusable::NotUtf8);
    }
    if let Some(other) = body.activity_type.as_deref().filter(|kind| *kind != PCSID_ACTIVITY_TYPE) {
        return Err(Unusable::OtherActivityType(other.to_owned()));
    }
    match body.status.as_deref() {
        None => Err(Unusable::NoStatus),
        Some("IN_PROGRESS") => Ok(Verdict::InProgress(body.into_parts(known).0)),
        // Without a PCSID the device is useless, so `PcsidGenerated` wins over the activity's own status.
        Some("SUCCEEDED") if body.pcsid_generated() != Some("FAILED") => {
            let (report, findings) = body.into_parts(known);
            Ok(Verdict::Succeeded(report, findings))
        }
        Some("SUCCEEDED" | "FAILED") => {
            let (report, findings) = body.into_parts(known);
            Ok(Verdict::Failed(report, findings))
        }
        Some(unknown) => Err(Unusable::UnknownStatus(unknown.to_owned())),
    }
}

/// The `ErrorList` of a refusal; `None` if it is missing or names nothing, because then upstream has not said what it
/// refuses.
fn read_errors(body: &[u8]) -> Option<Findings> {
    let Object(body): Object<ErrorBody> = serde_json::from_str(&readable(body)?).ok()?;
    Some(body.into_findings()).filter(|findings| !findings.errors.is_empty())
}

/// The first characters of a body, on one line and safe for any terminal.
fn excerpt(body: &[u8]) -> String {
    if body.is_empty() {
        return "(empty)".to_owned();
    }
    // A character takes at most four bytes. One character more than is shown is enough to see that the text is longer.
    let head = body.get(..(MAX_EXCERPT_CHARS + 1) * 4).unwrap_or(body);
    format!("`{}`", text::beginning(&String::from_utf8_lossy(head), MAX_EXCERPT_CHARS))
}

#[cfg(test)]
pub(in crate::domain) mod tests;
