//! One row for each failed activity: its rules, the first error and the next step.

use super::error::StoreError;
use super::history::ActivityRow;
use super::schedule::from_json;
use crate::domain::time::Timestamp;

/// How many rules of an activity are shown.
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
    /// The first error's own text, if it names no rule.
    pub message: Option<String>,
    /// Why it ended so, in the words of its last transition.
    pub reason: Option<String>,
    /// What to do next, in English.
    pub next_step: Option<String>,
    /// What to do next, in Arabic.
    pub next_step_ar: Option<String>,
}

fn of_row(row: &ActivityRow) -> Failure {
    Failure {
        vat: row.vat.clone(),
        activity_id: row.activity_id.clone(),
        device_id: row.device_id.clone(),
        reference: row.reference.clone(),
        concluded_at: row.concluded_at,
        next_step: row.next_step.clone(),
        next_step_ar: row.next_step_ar.clone(),
        ..Failure::default()
    }
}

/// Why these activities failed: by an activity's place, the rules as a JSON array, the first error's text, and the last
/// transition's reason.
pub(super) fn failures(
    activities: &[ActivityRow],
    found: Vec<(i64, String, Option<String>, Option<String>)>,
) -> Result<Vec<Failure>, StoreError> {
    let mut failures: Vec<Failure> = activities.iter().map(of_row).collect();
    for (nth, rules, message, reason) in found {
        let Some(failure) = usize::try_from(nth).ok().and_then(|nth| failures.get_mut(nth)) else {
            continue;
        };
        failure.rules = from_json("check_errors.rule", rules)?;
        failure.rules.truncate(MAX_RULES);
        failure.message = message.filter(|message| !message.trim().is_empty());
        failure.reason = reason;
    }
    Ok(failures)
}
