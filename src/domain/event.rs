//! What is announced: one JSON object an event, fixed at the moment of the conclusion.
//!
//! An event's id is derived from what it announces, so that deciding the same thing again, after a commit
//! that a crash swallowed say, gives the same id.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::activity::{Activity, State, Vat};
use super::catalogue::{Catalogue, Explanation, Owner, Text};
use super::next_step::NextStep;
use super::report::{Findings, ListedError, Report};
use super::rules::RuleError;
use super::time::Timestamp;

/// Namespace of the derived event ids. It must never change: receivers know events by their ids.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2c0a_93b4_5e8e_a1c7_d05b_4c2f_7e19);

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
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 10] = [
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
        let payload =
            json!({ "id": id, "type": kind.label(), "timestamp": occurred_at, "data": data }).to_string();
        Self { id, kind, occurred_at, vat, payload }
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

/// An activity with what a decision made of it: the material of an event's `data`.
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
    /// What the rules in them mean.
    pub catalogue: &'a Catalogue,
    /// What to do next, where there is something.
    pub next_step: Option<&'a NextStep>,
    /// Requests made, the deciding one included.
    pub n_polls: u32,
    /// When watching ended, if it did.
    pub concluded_at: Option<Timestamp>,
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
    checks: Vec<CheckData>,
    errors: Vec<ErrorData<'a>>,
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
struct CheckData {
    name: &'static str,
    outcome: &'static str,
    message: Option<String>,
    errors: Vec<RuleData>,
}

#[derive(Serialize)]
struct RuleData {
    rule: Option<String>,
    message: String,
    owner: Owner,
    meaning: Text,
    remedy: Text,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    code: Option<&'a str>,
    message: Option<&'a str>,
    source: Option<&'a str>,
    owner: Option<Owner>,
    meaning: Option<Text>,
    remedy: Option<Text>,
}

impl<'a> Standing<'a> {
    fn data(&self) -> ActivityData<'a> {
        let Standing { activity, report, findings, catalogue, .. } = self;
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
            checks: findings.all_checks().into_iter().map(|check| CheckData::new(check, catalogue)).collect(),
            errors: findings.errors.iter().map(|error| ErrorData::new(error, catalogue)).collect(),
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

impl CheckData {
    fn new(check: super::report::Check, catalogue: &Catalogue) -> Self {
        let data = |error: RuleError| {
            let Explanation { owner, meaning, remedy, .. } = catalogue.explain(error.rule.as_deref());
            RuleData { rule: error.rule, message: error.message, owner, meaning, remedy }
        };
        let errors = check.errors.into_iter().map(data).collect();
        Self { name: check.name, outcome: check.outcome.label(), message: check.message, errors }
    }
}

impl<'a> ErrorData<'a> {
    /// A code that the catalogue does not know explains nothing.
    fn new(error: &'a ListedError, catalogue: &Catalogue) -> Self {
        let explained = catalogue.explain_listed(error.error_code.as_deref(), error.error_message.as_deref());
        let explained = Some(explained).filter(|explained| explained.is_known);
        Self {
            owner: explained.as_ref().map(|explained| explained.owner),
            meaning: explained.as_ref().map(|explained| explained.meaning.clone()),
            remedy: explained.map(|explained| explained.remedy),
            code: error.error_code.as_deref(),
            message: error.error_message.as_deref(),
            source: error.error_source.as_deref(),
        }
    }
}
