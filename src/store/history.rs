//! All that is known of an activity: what `show` prints, `GET /v1/activities/{id}` answers, and what the activity's
//! page and the evidence are made of.
//!
//! Each type is a row of a public view, its fields the columns in their order; serialised it is what `--format json`
//! prints. A value that a field can't hold is [`StoreError::Damaged`], never an empty text. Columns that a newer
//! program added are passed over, so that two versions may run side by side.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::schedule::stored_state;
use super::views::ActivityView;
use super::{ActivityRef, Reports};
use crate::domain::activity::{State, Vat};
use crate::domain::catalogue::{Language, Owner};
use crate::domain::report::CheckOutcome;
use crate::domain::routing::DeliveryStatus;
use crate::domain::rules::Severity;
use crate::domain::time::Timestamp;

/// A row of `report_activities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct ActivityRow {
    pub vat: String,
    pub activity_id: String,
    pub device_id: Option<String>,
    pub reference: Option<String>,
    pub state: State,
    pub upstream_status: Option<String>,
    pub pcsid_generated: Option<String>,
    pub total_count: Option<i64>,
    pub success_count: Option<i64>,
    pub failure_count: Option<i64>,
    pub registered_at: Timestamp,
    pub first_polled_at: Option<Timestamp>,
    pub last_polled_at: Option<Timestamp>,
    pub next_poll_at: Option<Timestamp>,
    pub stalled_at: Option<Timestamp>,
    pub upstream_created_at: Option<Timestamp>,
    pub upstream_updated_at: Option<Timestamp>,
    pub upstream_completed_at: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    pub poll_count: u64,
    pub consecutive_errors: u64,
    pub last_http_status: Option<u16>,
    pub last_error: Option<String>,
    pub next_step: Option<String>,
    pub next_step_ar: Option<String>,
    pub next_step_kind: Option<String>,
    pub next_step_owner: Option<Owner>,
    pub errors_left_out: u64,
}

impl ActivityRow {
    /// What to do next, in a reader's language.
    pub fn next_step_in(&self, language: Language) -> Option<&str> {
        match language {
            Language::English => self.next_step.as_deref(),
            Language::Arabic => self.next_step_ar.as_deref(),
        }
    }
}

/// A row of `report_transitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct TransitionRow {
    pub seq: u64,
    pub from_state: State,
    pub to_state: State,
    pub occurred_at: Timestamp,
    pub http_status: Option<u16>,
    pub reason: Option<String>,
}

/// A row of `report_checks` with its errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct CheckRow {
    pub check_name: String,
    pub outcome: CheckOutcome,
    pub message: Option<String>,
    pub errors_left_out: u64,
    /// The rows of `report_check_errors` that belong to it.
    #[serde(default)]
    pub errors: Vec<CheckErrorRow>,
}

/// A row of `report_check_errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct CheckErrorRow {
    pub check_name: String,
    pub position: u64,
    pub rule: Option<String>,
    pub message: String,
    #[serde(flatten)]
    pub explained: Explained,
    pub severity: Severity,
}

/// A row of `report_errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct ListedErrorRow {
    pub position: u64,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub error_source: Option<String>,
    pub entry: u64,
    pub rule: Option<String>,
    pub severity: Severity,
    #[serde(flatten)]
    pub explained: Explained,
}

/// What the catalogue says of an error; all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct Explained {
    pub owner: Option<Owner>,
    pub meaning: Option<String>,
    pub remedy: Option<String>,
    pub meaning_ar: Option<String>,
    pub remedy_ar: Option<String>,
}

impl Explained {
    /// What the error means, in a reader's language.
    pub fn meaning_in(&self, language: Language) -> Option<&str> {
        match language {
            Language::English => self.meaning.as_deref(),
            Language::Arabic => self.meaning_ar.as_deref(),
        }
    }

    /// What to do about it, in a reader's language.
    pub fn remedy_in(&self, language: Language) -> Option<&str> {
        match language {
            Language::English => self.remedy.as_deref(),
            Language::Arabic => self.remedy_ar.as_deref(),
        }
    }
}

/// A row of `report_events` without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct EventRow {
    pub event_id: String,
    pub r#type: String,
    pub occurred_at: Timestamp,
}

/// A row of `report_deliveries` with its event's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/reports.md describes the columns")]
pub struct DeliveryRow {
    pub r#type: String,
    pub event_id: String,
    pub sink: String,
    pub status: DeliveryStatus,
    pub attempts: u64,
    pub next_attempt_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    pub last_http_status: Option<u16>,
    pub last_error: Option<String>,
    pub delivered_at: Option<Timestamp>,
}

/// One attempt of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http.md describes them")]
pub struct AttemptRow {
    pub event_id: String,
    pub sink: String,
    pub seq: u64,
    pub attempted_at: Timestamp,
    pub duration_ms: u64,
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

/// An activity with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// The activity itself.
    #[serde(flatten)]
    pub activity: ActivityRow,
    /// How its state changed.
    pub transitions: Vec<TransitionRow>,
    /// The six checks, once it has concluded.
    pub checks: Vec<CheckRow>,
    /// What the final answer lists as errors.
    pub errors: Vec<ListedErrorRow>,
    /// What was announced of it.
    pub events: Vec<EventRow>,
    /// To whom each event goes.
    pub deliveries: Vec<DeliveryRow>,
    /// Each attempt to deliver one.
    pub attempts: Vec<AttemptRow>,
    /// The device's attempt before this one.
    pub former_attempt: Option<FormerAttempt>,
}

/// Upstream's final answer about an activity, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalAnswer {
    /// When it came.
    pub answered_at: Timestamp,
    /// Its status.
    pub http_status: Option<u16>,
    /// Its body, or the beginning of it.
    pub body: String,
    /// Whether its end was cut off.
    pub is_cut: bool,
}

/// A device's attempt before another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormerAttempt {
    /// Its activity.
    pub activity_id: String,
    /// Its state.
    pub state: State,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it concluded.
    pub concluded_at: Option<Timestamp>,
    /// Which of the rules it broke remain; only if upstream has concluded both attempts.
    pub rules: Option<ComparedRules>,
}

/// The rules that two attempts of a device broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedRules {
    /// Broken by the former attempt alone.
    pub fixed: BTreeSet<String>,
    /// Broken by both.
    pub remaining: BTreeSet<String>,
    /// Broken by the later attempt alone.
    pub new: BTreeSet<String>,
}

/// A device's attempt and the one before it: key, id, state, registration and conclusion of the former, key and state
/// of the later.
pub(super) type AttemptsRow = (i64, String, String, i64, Option<i64>, i64, String);

/// The former attempt, without the comparison of rules; and the keys of both attempts, if they can be compared because
/// upstream has said of both which rules they broke.
pub(super) fn former_attempt(row: AttemptsRow) -> Result<(FormerAttempt, Option<[i64; 2]>), StoreError> {
    let (former, activity_id, state, registered_at, concluded_at, later, later_state) = row;
    let stored = |state| stored_state("activities.state", state);
    let (state, later_state) = (stored(state)?, stored(later_state)?);
    let has_rules = |state| matches!(state, State::Succeeded | State::Failed);
    let attempt = FormerAttempt {
        activity_id,
        state,
        registered_at: Timestamp::from_millis(registered_at),
        concluded_at: concluded_at.map(Timestamp::from_millis),
        rules: None,
    };
    Ok((attempt, (has_rules(state) && has_rules(later_state)).then_some([former, later])))
}

impl ComparedRules {
    /// From rows of an attempt's key and a rule that it broke.
    pub(super) fn of([former, later]: [i64; 2], rows: &[(i64, String)]) -> Self {
        let of = |key: i64| -> BTreeSet<&String> {
            rows.iter().filter(|(attempt, _)| *attempt == key).map(|(_, rule)| rule).collect()
        };
        let (former, later) = (of(former), of(later));
        Self {
            fixed: former.difference(&later).copied().cloned().collect(),
            remaining: former.intersection(&later).copied().cloned().collect(),
            new: later.difference(&former).copied().cloned().collect(),
        }
    }
}

/// See [`Reports::history`].
pub(super) async fn history(reports: &Reports, wanted: &ActivityRef) -> Result<History, StoreError> {
    history_of(
        reports,
        StoreError::only(reports.activities_named(wanted).await?, wanted, |row| &row.vat)?,
        wanted,
    )
    .await
}

/// See [`Reports::histories`].
pub(super) async fn histories(reports: &Reports, wanted: &ActivityRef) -> Result<Vec<History>, StoreError> {
    let mut histories = Vec::new();
    for activity in reports.activities_named(wanted).await? {
        histories.push(history_of(reports, activity, wanted).await?);
    }
    if histories.is_empty() {
        return Err(StoreError::unknown(wanted));
    }
    Ok(histories)
}

/// The activity with all that belongs to it.
async fn history_of(
    reports: &Reports,
    activity: ActivityRow,
    wanted: &ActivityRef,
) -> Result<History, StoreError> {
    let vat = Vat::parse(&activity.vat).map_err(|_| StoreError::damaged("vats.vat", &activity.vat))?;
    let own = ActivityRef { activity_id: wanted.activity_id.clone(), vat: Some(vat) };
    let former_attempt = match &activity.device_id {
        Some(_) => reports.former_attempt(&activity.vat, &activity.activity_id).await?,
        None => None,
    };
    let read = async |view| reports.rows_of(view, &own).await;
    let mut checks: Vec<CheckRow> = read(ActivityView::Checks).await?.read("report_checks")?;
    let errors: Vec<CheckErrorRow> = read(ActivityView::CheckErrors).await?.read("report_check_errors")?;
    for error in errors {
        if let Some(check) = checks.iter_mut().find(|check| check.check_name == error.check_name) {
            check.errors.push(error);
        }
    }
    Ok(History {
        activity,
        transitions: read(ActivityView::Transitions).await?.read("report_transitions")?,
        checks,
        errors: read(ActivityView::Errors).await?.read("report_errors")?,
        events: read(ActivityView::Events).await?.read("report_events")?,
        deliveries: read(ActivityView::Deliveries).await?.read("report_deliveries")?,
        attempts: read(ActivityView::Attempts).await?.read("attempts")?,
        former_attempt,
    })
}
