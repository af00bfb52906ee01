//! Why activities failed, in a row each.

use serde_json::{Map, Value};

use super::read::Table;
use crate::domain::time::Timestamp;

/// How many rules of an activity are told.
const MAX_RULES: usize = 20;

/// An activity that did not end well, with what it takes to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Its VAT.
    pub vat: String,
    /// Its id.
    pub activity_id: String,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// The user's own text.
    pub reference: Option<String>,
    /// When it ended.
    pub concluded_at: Option<Timestamp>,
    /// The rules that failed, once each, what blocks first, in the order of the checks.
    pub rules: Vec<String>,
    /// The first error's own text, where it names no rule.
    pub message: Option<String>,
    /// Why it ended so, in the words of its last transition.
    pub reason: Option<String>,
    /// What to do next, in English.
    pub next_step: Option<String>,
    /// What to do next, in Arabic.
    pub next_step_ar: Option<String>,
}

pub(super) fn text<'a>(row: &'a Map<String, Value>, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn of_row(row: &Map<String, Value>) -> Failure {
    let given = |key: &str| Some(text(row, key)).filter(|text| !text.is_empty()).map(str::to_owned);
    Failure {
        vat: text(row, "vat").to_owned(),
        activity_id: text(row, "activity_id").to_owned(),
        device_id: given("device_id"),
        reference: given("reference"),
        concluded_at: Timestamp::parse_lenient(text(row, "concluded_at")),
        next_step: given("next_step"),
        next_step_ar: given("next_step_ar"),
        ..Failure::default()
    }
}

/// The failures behind rows of `report_activities`: by a row's place, the rules as a JSON array, the first error's text,
/// and the last transition's reason.
pub(super) fn failures(
    activities: &Table,
    found: Vec<(i64, String, Option<String>, Option<String>)>,
) -> Vec<Failure> {
    let mut failures: Vec<Failure> = activities.objects().iter().map(of_row).collect();
    for (nth, rules, message, reason) in found {
        let Some(failure) = usize::try_from(nth).ok().and_then(|nth| failures.get_mut(nth)) else {
            continue;
        };
        failure.rules = serde_json::from_str(&rules).unwrap_or_default();
        failure.rules.truncate(MAX_RULES);
        failure.message = message.filter(|message| !message.trim().is_empty());
        failure.reason = reason;
    }
    failures
}
