//! Rows of the views in the shape that events have, for `/v1`.
//!
//! Views are flat, as SQL needs it. A program that reads both events and `/v1` should need one set of types only.
//! Columns that events don't have keep their names.

use serde::Serialize;

use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::report::CheckOutcome;
use crate::domain::rules::Severity;
use crate::domain::time::Timestamp;
use crate::store::{
    ActivityRow, AttemptRow, CheckErrorRow, CheckRow, DeliveryRow, EventRow, Explained, FormerAttempt,
    History, ListedErrorRow, TransitionRow,
};

/// An activity in a list.
#[derive(Debug, Serialize)]
pub(super) struct ActivityBody {
    vat: String,
    activity_id: String,
    device_id: Option<String>,
    reference: Option<String>,
    state: State,
    upstream_status: Option<String>,
    pcsid_generated: Option<String>,
    counts: CountsBody,
    registered_at: Timestamp,
    first_polled_at: Option<Timestamp>,
    last_polled_at: Option<Timestamp>,
    next_poll_at: Option<Timestamp>,
    stalled_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    concluded_at: Option<Timestamp>,
    polls: u64,
    consecutive_errors: u64,
    last_http_status: Option<u16>,
    last_error: Option<String>,
    next_step: Option<StepBody>,
    /// Also in `next_step`, as in events; here on their own, as in the view.
    next_step_kind: Option<String>,
    next_step_owner: Option<Owner>,
}

#[derive(Debug, Serialize)]
struct CountsBody {
    total: Option<i64>,
    success: Option<i64>,
    failure: Option<i64>,
}

#[derive(Debug, Serialize)]
struct StepBody {
    en: Option<String>,
    ar: Option<String>,
    kind: Option<String>,
    owner: Option<Owner>,
}

/// A sentence in both languages.
#[derive(Debug, Serialize)]
struct SaidBody {
    en: Option<String>,
    ar: Option<String>,
}

impl SaidBody {
    fn of(en: Option<String>, ar: Option<String>) -> Option<Self> {
        (en.is_some() || ar.is_some()).then_some(Self { en, ar })
    }
}

impl From<ActivityRow> for ActivityBody {
    fn from(row: ActivityRow) -> Self {
        let is_advised =
            row.next_step.is_some() || row.next_step_ar.is_some() || row.next_step_kind.is_some();
        let next_step = is_advised.then(|| StepBody {
            en: row.next_step,
            ar: row.next_step_ar,
            kind: row.next_step_kind.clone(),
            owner: row.next_step_owner,
        });
        Self {
            vat: row.vat,
            activity_id: row.activity_id,
            device_id: row.device_id,
            reference: row.reference,
            state: row.state,
            upstream_status: row.upstream_status,
            pcsid_generated: row.pcsid_generated,
            counts: CountsBody {
                total: row.total_count,
                success: row.success_count,
                failure: row.failure_count,
            },
            registered_at: row.registered_at,
            first_polled_at: row.first_polled_at,
            last_polled_at: row.last_polled_at,
            next_poll_at: row.next_poll_at,
            stalled_at: row.stalled_at,
            created_at: row.upstream_created_at,
            updated_at: row.upstream_updated_at,
            completed_at: row.upstream_completed_at,
            concluded_at: row.concluded_at,
            polls: row.poll_count,
            consecutive_errors: row.consecutive_errors,
            last_http_status: row.last_http_status,
            last_error: row.last_error,
            next_step,
            next_step_kind: row.next_step_kind,
            next_step_owner: row.next_step_owner,
        }
    }
}

/// A whole history.
#[derive(Debug, Serialize)]
pub(super) struct HistoryBody {
    #[serde(flatten)]
    activity: ActivityBody,
    transitions: Vec<TransitionRow>,
    checks: Vec<CheckBody>,
    errors: Vec<ListedErrorBody>,
    error_count: u64,
    events: Vec<EventBody>,
    deliveries: Vec<DeliveryRow>,
    attempts: Vec<AttemptRow>,
    former_attempt: Option<FormerAttempt>,
    /// Whether anything of what upstream said was left out.
    truncated: bool,
}

impl From<History> for HistoryBody {
    fn from(history: History) -> Self {
        let History { activity, transitions, checks, errors, events, deliveries, attempts, former_attempt } =
            history;
        let n_left_out = activity.errors_left_out;
        Self {
            truncated: n_left_out > 0 || checks.iter().any(|check| check.errors_left_out > 0),
            activity: activity.into(),
            transitions,
            checks: checks.into_iter().map(CheckBody::from).collect(),
            error_count: errors.len() as u64 + n_left_out,
            errors: errors.into_iter().map(ListedErrorBody::from).collect(),
            events: events.into_iter().map(EventBody::from).collect(),
            deliveries,
            attempts,
            former_attempt,
        }
    }
}

#[derive(Debug, Serialize)]
struct CheckBody {
    name: String,
    outcome: CheckOutcome,
    message: Option<String>,
    errors: Vec<CheckErrorBody>,
    error_count: u64,
}

impl From<CheckRow> for CheckBody {
    fn from(row: CheckRow) -> Self {
        Self {
            name: row.check_name,
            outcome: row.outcome,
            message: row.message,
            error_count: row.errors.len() as u64 + row.errors_left_out,
            errors: row.errors.into_iter().map(CheckErrorBody::from).collect(),
        }
    }
}

/// An error of a check, which is named above it.
#[derive(Debug, Serialize)]
struct CheckErrorBody {
    position: u64,
    rule: Option<String>,
    message: String,
    #[serde(flatten)]
    explained: ExplainedBody,
    severity: Severity,
}

impl From<CheckErrorRow> for CheckErrorBody {
    fn from(row: CheckErrorRow) -> Self {
        Self {
            position: row.position,
            rule: row.rule,
            message: row.message,
            explained: row.explained.into(),
            severity: row.severity,
        }
    }
}

#[derive(Debug, Serialize)]
struct ListedErrorBody {
    position: u64,
    code: Option<String>,
    message: Option<String>,
    source: Option<String>,
    entry: u64,
    rule: Option<String>,
    severity: Severity,
    #[serde(flatten)]
    explained: ExplainedBody,
}

impl From<ListedErrorRow> for ListedErrorBody {
    fn from(row: ListedErrorRow) -> Self {
        Self {
            position: row.position,
            code: row.error_code,
            message: row.error_message,
            source: row.error_source,
            entry: row.entry,
            rule: row.rule,
            severity: row.severity,
            explained: row.explained.into(),
        }
    }
}

#[derive(Debug, Serialize)]
struct ExplainedBody {
    owner: Option<Owner>,
    meaning: Option<SaidBody>,
    remedy: Option<SaidBody>,
}

impl From<Explained> for ExplainedBody {
    fn from(explained: Explained) -> Self {
        Self {
            owner: explained.owner,
            meaning: SaidBody::of(explained.meaning, explained.meaning_ar),
            remedy: SaidBody::of(explained.remedy, explained.remedy_ar),
        }
    }
}

#[derive(Debug, Serialize)]
struct EventBody {
    id: String,
    r#type: String,
    timestamp: Timestamp,
}

impl From<EventRow> for EventBody {
    fn from(row: EventRow) -> Self {
        Self { id: row.event_id, r#type: row.r#type, timestamp: row.occurred_at }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ActivityBody, HistoryBody};
    use crate::store::tests::history;

    #[test]
    fn a_history_has_the_names_of_events() {
        let mut history = history();
        history.checks[0].errors_left_out = 4;
        let body = serde_json::to_value(HistoryBody::from(history)).unwrap();
        assert_eq!(body["counts"], json!({"total": 6, "success": 4, "failure": 2}));
        assert_eq!(body["next_step"], json!({"en": "Wait.", "ar": "انتظر.", "kind": "wait", "owner": null}));
        assert_eq!((&body["next_step_kind"], &body["polls"]), (&json!("wait"), &json!(7)));
        let check = &body["checks"][0];
        assert_eq!((&check["name"], &check["error_count"]), (&json!("StandardTaxInvoice"), &json!(5)));
        assert_eq!(
            check["errors"],
            json!([{"position": 1, "rule": "BR-1", "message": "m", "owner": "device", "meaning": {"en": "a", "ar": "ب"},
                    "remedy": {"en": "c", "ar": "د"}, "severity": "error"}])
        );
        let listed = &body["errors"][0];
        assert_eq!(
            (&listed["code"], &listed["source"], &listed["meaning"]),
            (&json!("6010"), &json!("ZATCA"), &Value::Null)
        );
        assert_eq!((&body["error_count"], &body["truncated"]), (&json!(1), &json!(true)));
        assert_eq!(body["events"][0]["id"], "e-1");
        for name in ["total_count", "poll_count", "upstream_created_at", "errors_left_out", "next_step_ar"] {
            assert_eq!(body.get(name), None, "{name}");
        }
    }

    #[test]
    fn where_nothing_is_advised_there_is_no_step() {
        let mut activity = history().activity;
        (activity.next_step, activity.next_step_ar, activity.next_step_kind) = (None, None, None);
        assert_eq!(serde_json::to_value(ActivityBody::from(activity)).unwrap()["next_step"], Value::Null);
    }
}
