//! Events: one JSON object each, made once, when what it announces is decided.
//!
//! An event's id is derived from what it announces. So if the same thing is decided again, for example because a crash
//! lost the commit, the id is the same.
//!
//! A new event is a kind in [`EventKind`], with its `data` here, and the place that announces it: [`super::decide`],
//! [`super::gate`] or [`super::certificate`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::activity::{Activity, State, Vat};
use super::catalogue::{Explanation, Owner, Text};
use super::certificate::{self, Certificate};
use super::next_step::NextStep;
use super::report::{CHECK_NAMES, Check, CheckOutcome, Explanations, Findings, Report};
use super::rules::RuleError;
use super::rules::Severity;
use super::text::{json_bytes, with_escaped_marks};
use super::time::Timestamp;

/// Namespace of the derived event ids. It must never change: receivers know events by their ids.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2c0a_93b4_5e8e_a1c7_d05b_4c2f_7e19);

/// Longest payload. A receiver has to take it in one piece, and it is kept, read and sent again and again.
const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// What most payloads fit into. A text is copied each time it has to grow.
const USUAL_BYTES: usize = 2 * 1024;

/// The limits of its parts: a check's text, the errors of all checks, the entries of `ErrorList`, and a reserve for
/// everything else, which takes far less.
const MESSAGE_BYTES: usize = 8 * 1024;
const CHECK_ERRORS_BYTES: usize = 136 * 1024;
const LISTED_ERRORS_BYTES: usize = 32 * 1024;
const REST_BYTES: usize = 40 * 1024;

const _: () = assert!(
    CHECK_NAMES.len() * MESSAGE_BYTES + CHECK_ERRORS_BYTES + LISTED_ERRORS_BYTES + REST_BYTES
        <= MAX_PAYLOAD_BYTES
);

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The PCSID was generated.
    GenerationSucceeded,
    /// The activity ended without a PCSID.
    GenerationFailed,
    /// Upstream says that the id is no PCSID activity of this VAT.
    ActivityRejected,
    /// Given up after `give_up_after`.
    ActivityExpired,
    /// An operator stopped watching.
    ActivityCancelled,
    /// Not concluded at `stalled_after`; watching goes on.
    ActivityStalled,
    /// A credential's token is refused.
    CredentialHeld,
    /// The credential works again.
    CredentialRestored,
    /// The token's user is not Admin for a VAT.
    VatHeld,
    /// The VAT can be asked for again.
    VatRestored,
    /// A certificate ends soon.
    RenewalDue,
    /// A certificate has ended, and no later success replaced it.
    CertificateExpired,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 12] = [
        EventKind::GenerationSucceeded,
        EventKind::GenerationFailed,
        EventKind::ActivityRejected,
        EventKind::ActivityExpired,
        EventKind::ActivityCancelled,
        EventKind::ActivityStalled,
        EventKind::CredentialHeld,
        EventKind::CredentialRestored,
        EventKind::VatHeld,
        EventKind::VatRestored,
        EventKind::RenewalDue,
        EventKind::CertificateExpired,
    ];

    /// The public `type`.
    pub const fn label(self) -> &'static str {
        match self {
            EventKind::GenerationSucceeded => "pcsid.generation.succeeded",
            EventKind::GenerationFailed => "pcsid.generation.failed",
            EventKind::ActivityRejected => "pcsid.activity.rejected",
            EventKind::ActivityExpired => "pcsid.activity.expired",
            EventKind::ActivityCancelled => "pcsid.activity.cancelled",
            EventKind::ActivityStalled => "pcsid.activity.stalled",
            EventKind::CredentialHeld => "upstream.credential.held",
            EventKind::CredentialRestored => "upstream.credential.restored",
            EventKind::VatHeld => "upstream.vat.held",
            EventKind::VatRestored => "upstream.vat.restored",
            EventKind::RenewalDue => "pcsid.certificate.renewal_due",
            EventKind::CertificateExpired => "pcsid.certificate.expired",
        }
    }

    /// The event that entering a state announces.
    pub const fn on_entering(state: State) -> Option<EventKind> {
        match state {
            State::Pending | State::InProgress => None,
            State::Succeeded => Some(EventKind::GenerationSucceeded),
            State::Failed => Some(EventKind::GenerationFailed),
            State::Rejected => Some(EventKind::ActivityRejected),
            State::Expired => Some(EventKind::ActivityExpired),
            State::Cancelled => Some(EventKind::ActivityCancelled),
        }
    }
}

/// An event, ready to be stored and sent. The payload is never made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Derived from what it announces.
    pub id: Uuid,
    /// Its kind.
    pub kind: EventKind,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The VAT it is about; `None` for a credential's.
    pub vat: Option<Vat>,
    /// The exact JSON text: `{id, type, timestamp, data}`.
    pub payload: String,
}

impl Event {
    fn new<D: Serialize>(
        identity: &str,
        kind: EventKind,
        occurred_at: Timestamp,
        vat: Option<Vat>,
        data: &D,
    ) -> Self {
        let id = Uuid::new_v5(&EVENT_NAMESPACE, identity.as_bytes());
        let payload = Payload { id, kind: kind.label(), timestamp: occurred_at, data };
        let mut text = Vec::with_capacity(USUAL_BYTES);
        let written = serde_json::to_writer(&mut text, &payload).map(|()| String::from_utf8(text));
        // Our own types can always be written as JSON. If not, the event still says what happened.
        let payload = written.ok().and_then(Result::ok).unwrap_or_else(|| {
            json!({ "id": id, "type": kind.label(), "timestamp": occurred_at }).to_string()
        });
        Self { id, kind, occurred_at, vat, payload: with_escaped_marks(payload) }
    }

    /// The event about an activity as it stands after a decision.
    pub fn of_activity(kind: EventKind, occurred_at: Timestamp, standing: &Standing<'_>) -> Self {
        let activity = standing.activity;
        let identity =
            format!("{}/{}/{}/{}", activity.vat, activity.activity_id, kind.label(), activity.round);
        Self::new(&identity, kind, occurred_at, Some(activity.vat.clone()), &standing.data())
    }

    /// The event about a credential whose token is refused or works again. `since` is when the hold began.
    pub fn of_credential(
        kind: EventKind,
        occurred_at: Timestamp,
        credential: &str,
        since: Timestamp,
        reason: &str,
    ) -> Self {
        let identity = format!("credential/{credential}/{}/{}", kind.label(), since.as_millis());
        let next_step = (kind == EventKind::CredentialHeld).then(NextStep::while_credential_is_held);
        let data = json!({ "credential": credential, "held_since": since, "reason": reason, "next_step": next_step });
        Self::new(&identity, kind, occurred_at, None, &data)
    }

    /// The event about a VAT that may not be asked for, or may again. `since` is when the hold began.
    pub fn of_vat(
        kind: EventKind,
        occurred_at: Timestamp,
        vat: &Vat,
        since: Timestamp,
        reason: &str,
    ) -> Self {
        let identity = format!("vat/{vat}/{}/{}", kind.label(), since.as_millis());
        let next_step = (kind == EventKind::VatHeld).then(NextStep::while_vat_is_held);
        let data =
            json!({ "vat": vat.as_str(), "held_since": since, "reason": reason, "next_step": next_step });
        Self::new(&identity, kind, occurred_at, Some(vat.clone()), &data)
    }
}

impl Event {
    /// The reminder that a certificate ends in `before`.
    pub fn of_renewal(certificate: &Certificate, vat: &Vat, before: Duration, now: Timestamp) -> Self {
        let next_step = NextStep::before_certificate_ends();
        Self::of_certificate(
            EventKind::RenewalDue,
            certificate,
            vat,
            &before.as_millis().to_string(),
            next_step,
            now,
        )
    }

    /// The event that a certificate has ended.
    pub fn of_certificate_end(certificate: &Certificate, vat: &Vat, now: Timestamp) -> Self {
        let next_step = NextStep::after_certificate_ended();
        Self::of_certificate(EventKind::CertificateExpired, certificate, vat, "end", next_step, now)
    }

    /// `what` distinguishes one reminder of a certificate from another.
    fn of_certificate(
        kind: EventKind,
        certificate: &Certificate,
        vat: &Vat,
        what: &str,
        next_step: NextStep,
        now: Timestamp,
    ) -> Self {
        let Certificate { device_id, activity_id, obtained_at, expires_at, .. } = certificate;
        let of =
            certificate::identity(vat.as_str(), device_id.as_deref(), activity_id.as_deref(), *expires_at);
        let identity = format!("certificate/{of}/{}/{what}", kind.label());
        let data = json!({
            "vat": vat.as_str(),
            "device_id": device_id,
            "activity_id": activity_id,
            "obtained_at": obtained_at,
            "expires_at": expires_at,
            "next_step": next_step,
        });
        Self::new(&identity, kind, now, Some(vat.clone()), &data)
    }
}

/// An activity as a decision left it, for an event's `data`.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// As it was before the decision.
    pub activity: &'a Activity,
    /// As it is after it.
    pub state: State,
    /// What upstream says of it.
    pub report: &'a Report,
    /// Its checks and listed errors.
    pub findings: &'a Findings,
    /// What is known of each cause in them.
    pub explanations: &'a [Explanation],
    /// What to do next, if there is something.
    pub next_step: Option<&'a NextStep>,
    /// Requests made, the deciding one included.
    pub n_polls: u32,
    /// When watching ended, if it did.
    pub concluded_at: Option<Timestamp>,
}

/// An event as it is sent; the field names are public.
#[derive(Serialize)]
struct Payload<'a, D> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: &'a D,
}

/// `data` of an activity's event; the field names are public.
#[derive(Serialize)]
struct ActivityData<'a> {
    vat: &'a str,
    activity_id: &'a str,
    device_id: Option<&'a str>,
    reference: Option<&'a str>,
    state: &'static str,
    upstream_status: Option<&'a str>,
    pcsid_generated: Option<&'a str>,
    counts: Counts,
    checks: Vec<CheckData<'a>>,
    errors: Vec<ErrorData<'a>>,
    /// How many there were; more than `errors` if some were left out.
    error_count: usize,
    /// Whether anything was left out or cut.
    truncated: bool,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    registered_at: Timestamp,
    concluded_at: Option<Timestamp>,
    polls: u32,
    next_step: Option<&'a NextStep>,
}

#[derive(Serialize)]
struct Counts {
    total: Option<i64>,
    success: Option<i64>,
    failure: Option<i64>,
}

#[derive(Serialize)]
struct CheckData<'a> {
    name: &'static str,
    outcome: &'static str,
    message: Option<Cow<'a, str>>,
    errors: Vec<RuleData<'a>>,
    /// How many there were, at least; more than `errors` if some were left out.
    error_count: usize,
}

#[derive(Serialize)]
struct RuleData<'a> {
    rule: Option<&'a str>,
    message: &'a str,
    #[serde(flatten)]
    explained: ExplainedData<'a>,
}

/// An entry of `ErrorList`, once for each rule that it names.
#[derive(Serialize)]
struct ErrorData<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    source: Option<&'a str>,
    rule: Option<&'a str>,
    #[serde(flatten)]
    explained: ExplainedData<'a>,
}

#[derive(Serialize)]
struct ExplainedData<'a> {
    severity: Severity,
    owner: Option<Owner>,
    meaning: Option<&'a Text>,
    remedy: Option<&'a Text>,
}

/// Puts findings into an event, with what is known of each error.
struct Told<'a>(Explanations<'a>);

impl<'a> Told<'a> {
    fn explained(&self, error: &'a RuleError) -> ExplainedData<'a> {
        let explained = self.0.get(error);
        ExplainedData {
            severity: error.severity.unwrap_or(Severity::Unknown),
            owner: explained.map(|explained| explained.owner),
            meaning: explained.map(|explained| &explained.meaning),
            remedy: explained.map(|explained| &explained.remedy),
        }
    }

    /// All six checks as far as they fit, and whether anything was left out.
    ///
    /// Each error is explained. If that takes too much room, each cause is explained only with its first error. If that
    /// still takes too much, each check gets an equal share, and what it does not use is left to the next ones.
    fn checks(&self, findings: &'a Findings) -> (Vec<CheckData<'a>>, bool) {
        let mut is_cut = false;
        let mut checks = CHECK_NAMES.map(|name| {
            let check = findings.checks.iter().find(|check| check.name == name);
            let data = self.check(name, check);
            is_cut |= matches!(data.message, Some(Cow::Owned(_))) || data.errors.len() < data.error_count;
            data
        });
        let n_bytes: usize = checks.iter().flat_map(|check| &check.errors).map(written_bytes).sum();
        if n_bytes > CHECK_ERRORS_BYTES {
            is_cut = true;
            let mut seen = HashSet::new();
            let mut left = CHECK_ERRORS_BYTES;
            for (n_after, check) in (0..CHECK_NAMES.len()).rev().zip(&mut checks) {
                let mut share = left / (n_after + 1);
                left -= share;
                check.errors.retain_mut(|error| {
                    if !seen.insert((error.rule, error.explained.meaning.map(|meaning| meaning.en.as_str())))
                    {
                        (error.explained.meaning, error.explained.remedy) = (None, None);
                    }
                    take(&mut share, written_bytes(error))
                });
                left += share;
            }
        }
        (checks.into(), is_cut)
    }

    fn check(&self, name: &'static str, check: Option<&'a Check>) -> CheckData<'a> {
        let data = |error: &'a RuleError| RuleData {
            rule: error.rule.as_deref(),
            message: &error.message,
            explained: self.explained(error),
        };
        let errors: Vec<_> = check.map(|check| check.errors.iter().map(data).collect()).unwrap_or_default();
        CheckData {
            name,
            outcome: check.map_or(CheckOutcome::NotReported, |check| check.outcome).label(),
            message: check.and_then(|check| check.message.as_deref()).map(beginning),
            error_count: errors.len() + check.map_or(0, |check| check.errors_left_out as usize),
            errors,
        }
    }

    /// The entries of `ErrorList` that there is room for, and how many are left out.
    fn listed(&self, findings: &'a Findings) -> (Vec<ErrorData<'a>>, usize) {
        let mut left = LISTED_ERRORS_BYTES;
        let mut n_cut = findings.errors_left_out as usize;
        let entries = findings.errors.iter().flat_map(|listed| {
            listed.rules.iter().map(|error| ErrorData {
                code: listed.error_code.as_deref(),
                message: listed.error_message.as_deref(),
                source: listed.error_source.as_deref(),
                rule: error.rule.as_deref(),
                explained: self.explained(error),
            })
        });
        let fitting = entries.filter(|entry| {
            let fits = take(&mut left, written_bytes(entry));
            n_cut += usize::from(!fits);
            fits
        });
        (fitting.collect(), n_cut)
    }
}

impl<'a> Standing<'a> {
    fn data(&self) -> ActivityData<'a> {
        let Standing { activity, report, findings, explanations, .. } = *self;
        let told = Told(Explanations::new(explanations));
        let (checks, checks_are_cut) = told.checks(findings);
        let (errors, n_errors_cut) = told.listed(findings);
        let error_count = errors.len() + n_errors_cut;
        ActivityData {
            vat: activity.vat.as_str(),
            activity_id: activity.activity_id.as_str(),
            device_id: activity.device_id.as_deref(),
            reference: activity.reference.as_deref(),
            state: self.state.label(),
            upstream_status: report.upstream_status.as_deref(),
            pcsid_generated: report.pcsid_generated.as_deref(),
            counts: Counts {
                total: report.total_count,
                success: report.success_count,
                failure: report.failure_count,
            },
            checks,
            truncated: checks_are_cut || errors.len() < error_count,
            errors,
            error_count,
            created_at: report.created_at,
            updated_at: report.updated_at,
            completed_at: report.completed_at,
            registered_at: activity.registered_at,
            concluded_at: self.concluded_at,
            polls: self.n_polls,
            next_step: self.next_step,
        }
    }
}

/// Takes `n_bytes` from what is left, if that is enough.
fn take(left: &mut usize, n_bytes: usize) -> bool {
    let fits = n_bytes <= *left;
    *left -= if fits { n_bytes } else { 0 };
    fits
}

/// The most bytes that a value takes in the payload, with its separator.
fn written_bytes(value: &impl Serialize) -> usize {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.chars().map(|c| if c.is_ascii() { 1 } else { json_bytes(c) }).sum::<usize>() + 1
}

/// A check's text, or as much of its beginning as there is room for.
fn beginning(message: &str) -> Cow<'_, str> {
    const MORE: &str = "…";
    let mut n_bytes = 0;
    let mut end_within = 0;
    for (at, c) in message.char_indices() {
        n_bytes += json_bytes(c);
        if n_bytes <= MESSAGE_BYTES - MORE.len() {
            end_within = at + c.len_utf8();
        }
        if n_bytes > MESSAGE_BYTES {
            return Cow::Owned(message.get(..end_within).unwrap_or_default().to_owned() + MORE);
        }
    }
    Cow::Borrowed(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::activity::ActivityId;
    use crate::domain::catalogue::Catalogue;
    use crate::domain::classify::tests::swollen;
    use crate::domain::classify::{Answer, Verdict, classify};

    fn payload(findings: &Findings, report: &Report) -> serde_json::Value {
        let activity = Activity {
            vat: Vat::parse("310122393500003").unwrap(),
            activity_id: ActivityId::parse("act-1").unwrap(),
            device_id: Some("\u{1}".repeat(200)),
            reference: None,
            state: State::InProgress,
            round: 1,
            registered_at: Timestamp::from_millis(0),
            watched_from: Timestamp::from_millis(0),
            stalled_at: None,
            interval: std::time::Duration::from_secs(1),
            n_polls: 1,
            consecutive_errors: 0,
            strikes: 0,
            report: Report::default(),
        };
        let catalogue = Catalogue::builtin();
        let mut findings = findings.clone();
        findings.settle(&catalogue);
        let explanations = findings.explained(&catalogue);
        let next_step = NextStep::on_conclusion(State::Failed, &findings, &explanations, None);
        let standing = Standing {
            activity: &activity,
            state: State::Failed,
            report,
            findings: &findings,
            explanations: &explanations,
            next_step: next_step.as_ref(),
            n_polls: 2,
            concluded_at: None,
        };
        let event = Event::of_activity(EventKind::GenerationFailed, Timestamp::from_millis(1), &standing);
        assert!(event.payload.len() <= MAX_PAYLOAD_BYTES, "{}", event.payload.len());
        serde_json::from_str(&event.payload).unwrap()
    }

    #[test]
    fn no_answer_makes_a_payload_too_long_and_what_is_cut_says_so() {
        for (http_status, body) in swollen() {
            let answer = Answer::Reply { http_status, retry_after: None, body: body.clone().into_bytes() };
            match classify(&answer, Catalogue::builtin().codes()).verdict {
                Verdict::Failed(report, findings) | Verdict::Succeeded(report, findings) => {
                    let payload = payload(&findings, &report);
                    let is_cut = http_status == 500;
                    assert_eq!(payload["data"]["truncated"], is_cut, "{}", &body[..400]);
                }
                other => panic!("not concluded: {other:?}"),
            }
        }
    }

    #[test]
    fn what_fits_is_whole_and_what_does_not_explains_each_rule_once() {
        let error = |rule: &str| RuleError {
            rule: Some(rule.to_owned()),
            message: "wrong".to_owned(),
            ..RuleError::default()
        };
        let findings = |n_errors: usize| Findings {
            checks: CHECK_NAMES
                .map(|name| Check {
                    name,
                    outcome: CheckOutcome::Failed,
                    message: Some("wrong".to_owned()),
                    errors: (0..n_errors)
                        .map(|n| error(["BR-KSA-17", "BR-KSA-37", "BR-CO-15"][n % 3]))
                        .collect(),
                    errors_left_out: 0,
                })
                .to_vec(),
            ..Findings::default()
        };
        let few = payload(&findings(5), &Report::default());
        assert_eq!(few["data"]["truncated"], false);
        for check in few["data"]["checks"].as_array().unwrap() {
            assert_eq!((check["errors"].as_array().unwrap().len(), &check["error_count"]), (5, &json!(5)));
            assert!(
                check["errors"].as_array().unwrap().iter().all(|error| error["meaning"]["en"].is_string())
            );
        }
        let many = payload(&findings(100), &Report::default());
        assert_eq!(many["data"]["truncated"], true);
        let checks = many["data"]["checks"].as_array().unwrap();
        let errors = |at: usize| checks[at]["errors"].as_array().unwrap();
        assert_eq!(errors(5).len(), 100, "short ones all have room");
        assert!(errors(0)[..3].iter().all(|error| error["meaning"]["ar"].is_string()));
        assert!(errors(0)[3..].iter().chain(errors(1)).all(|error| error["meaning"].is_null()));
    }
}
