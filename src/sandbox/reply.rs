//! The answers that scripts consist of: bodies, headers, and how they reach the client. Pure.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::outcome::{Ending, Trouble};
use crate::domain::report::CHECK_NAMES;

/// Far more than any answer needs, so that a client with a sensible limit stops reading.
const OVERSIZED_BYTES: usize = 4 << 20;

const HTML: &str =
    "<!doctype html>\n<html lang=\"en\"><title>Sandbox</title><p>Not the answer you want.</html>\n";

/// One answer, ready to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers, `Content-Type` among them.
    pub headers: Vec<(HeaderName, String)>,
    /// The whole body, also if only a part of it is to be delivered.
    pub body: String,
    /// How the answer is to reach the client.
    pub delivery: Delivery,
    /// What the answer says, in a word or two.
    pub gist: &'static str,
}

/// How an answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Whole and at once.
    AtOnce,
    /// Whole, but so much later.
    Late(Duration),
    /// Head and half of the body; then the connection breaks.
    CutShort,
    /// Not at all, while the connection stays open.
    Never,
}

impl Reply {
    /// A refusal with an `ErrorList` of one entry; the code's wording is the sandbox's own.
    pub fn refusal(status: StatusCode, code: &str, message: &str) -> Self {
        Self::json(status, "refused", &json!({ "ErrorList": error_list(code, message, "CLEARTAX") }))
    }

    /// The status and the gist, for people.
    pub fn summary(&self) -> String {
        match self.delivery {
            Delivery::Never => self.gist.to_owned(),
            _ => format!("{} {}", self.status.as_u16(), self.gist),
        }
    }

    fn unknown_id() -> Self {
        Self::refusal(StatusCode::BAD_REQUEST, "6004", "No PCSID generation of this VAT has this activity id")
    }

    fn json(status: StatusCode, gist: &'static str, body: &Value) -> Self {
        Self::new(status, gist, "application/json", format!("{body:#}"))
    }

    fn html(status: StatusCode, gist: &'static str) -> Self {
        Self::new(status, gist, "text/html; charset=utf-8", HTML.to_owned())
    }

    fn new(status: StatusCode, gist: &'static str, content_type: &str, body: String) -> Self {
        let headers = vec![(CONTENT_TYPE, content_type.to_owned())];
        Self { status, headers, body, delivery: Delivery::AtOnce, gist }
    }

    fn with_header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Ending {
    /// What is answered once the activity has come to this end; it was first polled at `first_at`.
    pub fn reply(self, first_at: Timestamp, now: Timestamp) -> Reply {
        let (status, gist) = match self {
            Self::Success => (StatusCode::OK, "succeeded"),
            Self::StandardOnly => (StatusCode::OK, "succeeded, standard only"),
            Self::SimplifiedOnly => (StatusCode::OK, "succeeded, simplified only"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
            Self::FailedAs200 => (StatusCode::OK, "failed"),
            Self::NoPcsid => (StatusCode::OK, "succeeded without a PCSID"),
            Self::Rejected => return Reply::unknown_id(),
            Self::Never => return self.in_progress(first_at),
        };
        Reply::json(status, gist, &self.concluded(first_at, now))
    }

    /// What is answered until then.
    pub fn in_progress(self, first_at: Timestamp) -> Reply {
        let created_at = self.written(first_at);
        let body = json!({
            "ActivityType": "ZATCA_COMPLIANCE_INVOICE",
            "Status": "IN_PROGRESS",
            "CreatedAt": created_at,
            "UpdatedAt": created_at,
            "CompletedAt": null,
            "RequestMetaInfo": { "TotalCount": CHECK_NAMES.len(), "SuccessCount": 0, "FailureCount": 0 },
            "ResponseInfo": { "ResponseMetaData": null },
            "ErrorList": [],
        });
        Reply::json(StatusCode::OK, "in progress", &body)
    }

    fn concluded(self, first_at: Timestamp, now: Timestamp) -> Value {
        let faults = self.faults();
        let checks: Map<String, Value> = self
            .checks()
            .iter()
            .map(|check| {
                let fault = faults.iter().find(|(name, _)| name == check);
                ((*check).to_owned(), fault.map_or("SUCCEEDED", |(_, message)| message).into())
            })
            .collect();
        let is_failed = matches!(self, Self::Failed | Self::FailedAs200);
        let has_pcsid = !is_failed && self != Self::NoPcsid;
        let (n_failures, n_successes) = (faults.len(), checks.len() - faults.len());
        let mut meta = Map::from_iter([("PcsidGenerated".to_owned(), generated(has_pcsid).into())]);
        meta.extend(checks);
        let mut body = json!({
            "ActivityType": "ZATCA_COMPLIANCE_INVOICE",
            "Status": if is_failed { "FAILED" } else { "SUCCEEDED" },
            "CreatedAt": self.written(first_at),
            "UpdatedAt": self.written(now),
            "CompletedAt": self.written(now),
            "RequestMetaInfo":
                { "TotalCount": CHECK_NAMES.len(), "SuccessCount": n_successes, "FailureCount": n_failures },
            "ResponseInfo": { "ResponseMetaData": meta },
        });
        // Upstream's list is optional: an array, null, or not there at all.
        match self {
            Self::SimplifiedOnly => {}
            Self::StandardOnly => body["ErrorList"] = Value::Null,
            Self::Failed | Self::FailedAs200 => {
                body["ErrorList"] =
                    error_list("6010", "The device did not pass its compliance checks", "ZATCA");
            }
            Self::NoPcsid => {
                body["ErrorList"] =
                    error_list("6011", "ZATCA issued no certificate: لم تصدر الشهادة", "ZATCA");
            }
            _ => body["ErrorList"] = json!([]),
        }
        body
    }

    fn checks(self) -> &'static [&'static str] {
        match self {
            Self::StandardOnly => &CHECK_NAMES[..3],
            Self::SimplifiedOnly => &CHECK_NAMES[3..],
            _ => &CHECK_NAMES,
        }
    }

    /// The checks that did not pass, with their messages. One message may hold several errors, and commas
    /// of its own.
    fn faults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Failed => &[
                (
                    "StandardTaxInvoiceCredit",
                    "BR-KSA-17 : This note gives no reason (KSA-10), and a note needs one",
                ),
                (
                    "SimplifiedTaxInvoiceDebit",
                    "BR-CO-15 : The total with VAT (BT-112) is not BT-109, plus BT-110,\
                     BR-KSA-EN16931-11 : صافي مبلغ البند لا يساوي الكمية مضروبة في السعر، راجع البند 1",
                ),
            ],
            Self::FailedAs200 => &[
                (
                    "StandardTaxInvoice",
                    "certificate-permissions : The certificate may not sign standard invoices",
                ),
                ("SimplifiedTaxInvoice", "BR-S-08 : مجموع المبالغ الخاضعة للضريبة غير مطابق"),
                (
                    "SimplifiedTaxInvoiceCredit",
                    "ZATCA answered this check with an internal error, try again later",
                ),
            ],
            _ => &[],
        }
    }

    /// A time in the form that this ending uses; together the endings use every documented form.
    fn written(self, at: Timestamp) -> String {
        let format = match self {
            Self::StandardOnly => "%Y-%m-%d %H:%M:%S",
            Self::SimplifiedOnly => "%Y-%m-%dT%H:%M:%S%.6f",
            Self::Failed => "%Y-%m-%dT%H:%M:%SZ",
            Self::FailedAs200 => "%Y-%m-%dT%H:%M:%S%.3f+00:00",
            Self::NoPcsid => "%Y-%m-%dT%H:%M:%S",
            Self::Success | Self::Rejected | Self::Never => "%Y-%m-%dT%H:%M:%S%.3fZ",
        };
        at.strftime(format).to_string()
    }
}

fn generated(has_pcsid: bool) -> &'static str {
    if has_pcsid { "GENERATED" } else { "FAILED" }
}

fn error_list(code: &str, message: &str, source: &str) -> Value {
    json!([{ "ErrorCode": code, "ErrorMessage": message, "ErrorSource": source }])
}

impl Trouble {
    /// The troubled answer; `wait` is for those that take time or ask for it.
    pub fn reply(self, wait: Duration, first_at: Timestamp, now: Timestamp) -> Reply {
        let success = || Ending::Success.reply(first_at, now);
        let altered = |gist, key: &str, value: &str| {
            let mut body = Ending::Success.concluded(first_at, now);
            body[key] = value.into();
            Reply::json(StatusCode::OK, gist, &body)
        };
        match self {
            Self::Unauthorized => Reply::refusal(
                StatusCode::UNAUTHORIZED,
                "401",
                "The sandbox was told not to accept this token",
            ),
            Self::Forbidden => {
                Reply::refusal(StatusCode::FORBIDDEN, "403", "The token's user is no Admin of this VAT")
            }
            Self::NotYetKnown => Reply::unknown_id(),
            Self::BadRequest => {
                let body = json!({ "message": "This request could not be read" });
                Reply::json(StatusCode::BAD_REQUEST, "no ErrorList", &body)
            }
            Self::Throttled => {
                let seconds = wait.as_millis().div_ceil(1000).to_string();
                Reply::refusal(StatusCode::TOO_MANY_REQUESTS, "429", "Too many requests in this minute")
                    .with_header(RETRY_AFTER, seconds)
            }
            Self::Unavailable => Reply::html(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
                .with_header(RETRY_AFTER, http_date(now, wait)),
            Self::ServerError => {
                let body = json!({ "message": "Something went wrong on our side" });
                Reply::json(StatusCode::INTERNAL_SERVER_ERROR, "no Status", &body)
            }
            Self::Gateway => Reply::html(StatusCode::BAD_GATEWAY, "HTML"),
            // `.invalid` never resolves, so a client that does follow takes its token nowhere.
            Self::Redirect => Reply::html(StatusCode::TEMPORARY_REDIRECT, "redirect")
                .with_header(LOCATION, "https://elsewhere.invalid/".to_owned()),
            Self::Slow => Reply { delivery: Delivery::Late(wait), gist: "succeeded, late", ..success() },
            Self::Hang => Reply { delivery: Delivery::Never, gist: "no answer", ..success() },
            Self::Dropped => Reply { delivery: Delivery::CutShort, gist: "cut short", ..success() },
            Self::Garbage => Reply::html(StatusCode::OK, "HTML"),
            Self::Oversized => {
                let blanks = " ".repeat(OVERSIZED_BYTES);
                let whole = success();
                Reply { body: whole.body.clone() + &blanks, gist: "oversized", ..whole }
            }
            Self::UnknownStatus => altered("unknown Status", "Status", "QUEUED_AT_ZATCA"),
            Self::OtherType => altered("other ActivityType", "ActivityType", "EINVOICE_GENERATION"),
        }
    }
}

/// `now + wait` as an HTTP date, rounded up so that a client that obeys never comes too early.
fn http_date(now: Timestamp, wait: Duration) -> String {
    let rounded_up = wait + Duration::from_nanos(999_999_999);
    now.checked_add(rounded_up).unwrap_or(now).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_779_786_131, 250_000_000);

    fn first_reply(activity_id: &str) -> Reply {
        Script::for_activity(activity_id).answer(0, Duration::ZERO, NOW)
    }

    fn body(activity_id: &str) -> Value {
        serde_json::from_str(&first_reply(activity_id).body).unwrap()
    }

    fn retry_after_of(activity_id: &str) -> Option<String> {
        let headers = first_reply(activity_id).headers;
        headers.into_iter().find(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value)
    }

    #[test]
    fn counts_agree_with_the_reported_checks() {
        for (id, n_successes, n_failures, pcsid) in [
            ("success", 6, 0, "GENERATED"),
            ("standard-only", 3, 0, "GENERATED"),
            ("simplified-only", 3, 0, "GENERATED"),
            ("failed", 4, 2, "FAILED"),
            ("failed-200", 3, 3, "FAILED"),
            ("no-pcsid", 6, 0, "FAILED"),
        ] {
            let body = body(id);
            let counts = json!({ "TotalCount": 6, "SuccessCount": n_successes, "FailureCount": n_failures });
            assert_eq!(body["RequestMetaInfo"], counts, "{id}");
            let meta = body["ResponseInfo"]["ResponseMetaData"].as_object().unwrap();
            assert_eq!(meta["PcsidGenerated"], pcsid, "{id}");
            assert_eq!(meta.len(), 1 + n_successes + n_failures, "{id}");
            assert_eq!(meta.values().filter(|value| *value == "SUCCEEDED").count(), n_successes, "{id}");
        }
    }

    #[test]
    fn times_are_written_in_every_documented_form() {
        for (id, completed_at) in [
            ("success", "2026-05-26T09:02:11.250Z"),
            ("standard-only", "2026-05-26 09:02:11"),
            ("simplified-only", "2026-05-26T09:02:11.250000"),
            ("failed", "2026-05-26T09:02:11Z"),
            ("failed-200", "2026-05-26T09:02:11.250+00:00"),
            ("no-pcsid", "2026-05-26T09:02:11"),
        ] {
            let body = body(id);
            assert_eq!(body["CompletedAt"], completed_at, "{id}");
        }
    }

    #[test]
    fn waits_reach_the_answer_and_are_never_rounded_down() {
        for (id, retry_after) in [
            ("throttled", "1"),
            ("throttled-30s", "30"),
            ("throttled-1200ms", "2"),
            ("unavailable", "Tue, 26 May 2026 09:02:13 GMT"),
            ("unavailable-2m", "Tue, 26 May 2026 09:04:12 GMT"),
        ] {
            assert_eq!(retry_after_of(id).as_deref(), Some(retry_after), "{id}");
        }
        assert_eq!(first_reply("slow-40ms").delivery, Delivery::Late(Duration::from_millis(40)));
        assert!(first_reply("oversized").body.len() > OVERSIZED_BYTES);
    }
}
