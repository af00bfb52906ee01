//! Registering activities, and what an operator does to one by hand.

use std::collections::{HashMap, HashSet};

use super::error::StoreError;
use super::history::ActivityRow;
use super::schedule::Claimed;
use super::views::Table;
use crate::domain::activity::{ActivityId, Registration, State, Vat};
use crate::domain::lifecycle::IllegalChange;
use crate::domain::text::folded;

/// Rows in one set-based statement; larger intakes take several within their one transaction.
pub(super) const REGISTER_CHUNK: usize = 10_000;

/// The outcome of one registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is watched from now on.
    New,
    /// It was known already; nothing changed.
    Known,
}

/// An activity that was not known before.
pub(super) struct Added {
    /// The store's key of the activity.
    pub(super) key: i64,
    /// The store's key of its VAT.
    pub(super) vat_key: i64,
    pub(super) vat: String,
    pub(super) activity_id: String,
}

/// As the statement that adds activities returns them.
impl From<(i64, i64, String, String)> for Added {
    fn from((key, vat_key, vat, activity_id): (i64, i64, String, String)) -> Self {
        Self { key, vat_key, vat, activity_id }
    }
}

/// The outcome of each of these registrations, of which the store has added some.
pub(super) fn outcomes(registrations: &[Registration], added: &[Added]) -> Vec<RegisterOutcome> {
    let mut new: HashSet<(&str, &str)> =
        added.iter().map(|added| (added.vat.as_str(), added.activity_id.as_str())).collect();
    let outcomes = registrations.iter().map(|registration| {
        // Taken out when first met: the same activity further down the list is known by then.
        match new.remove(&(registration.vat.as_str(), registration.activity_id.as_str())) {
            true => RegisterOutcome::New,
            false => RegisterOutcome::Known,
        }
    });
    outcomes.collect()
}

/// What each new activity is searched in, with its key.
pub(super) fn search_texts(registrations: &[Registration], added: &[Added]) -> Vec<(i64, String)> {
    // An activity may be in the list twice; the first counts.
    let mut first: HashMap<(&str, &str), &Registration> = HashMap::new();
    for registration in registrations {
        let key = (registration.vat.as_str(), registration.activity_id.as_str());
        first.entry(key).or_insert(registration);
    }
    let texts = added.iter().filter_map(|added| {
        let registration = first.get(&(added.vat.as_str(), added.activity_id.as_str()))?;
        let device = registration.device_id.as_deref().unwrap_or_default();
        let reference = registration.reference.as_deref().unwrap_or_default();
        Some((added.key, folded(&[&*added.activity_id, device, reference, &*added.vat].join("\n"))))
    });
    texts.collect()
}

/// What names one activity: its id, and its VAT if the id alone is ambiguous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRef {
    /// Its id at ClearTax.
    pub activity_id: ActivityId,
    /// Its VAT.
    pub vat: Option<Vat>,
}

/// An activity that is watched again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// The state it was taken out of.
    pub from: State,
    /// As the retry left it.
    pub activity: ActivityRow,
}

/// The activity in a table of `report_activities` that was read by VAT and id.
pub(super) fn ordered(table: &Table, vat: &Vat, activity_id: &ActivityId) -> Result<ActivityRow, StoreError> {
    let wanted = ActivityRef { activity_id: activity_id.clone(), vat: Some(vat.clone()) };
    StoreError::only(table.read("report_activities")?, &wanted, |row: &ActivityRow| &row.vat)
}

pub(super) fn wrong_state(claimed: &Claimed) -> impl FnOnce(IllegalChange) -> StoreError {
    let activity = &claimed.activity;
    move |illegal| StoreError::WrongState {
        activity_id: activity.activity_id.to_string(),
        vat: activity.vat.to_string(),
        state: activity.state.label(),
        rule: illegal.rule(),
    }
}
