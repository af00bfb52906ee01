//! Registering activities, and what an operator does to one by hand.

use super::error::StoreError;
use super::schedule::Claimed;
use crate::domain::activity::{ActivityId, State, Vat};
use crate::domain::lifecycle::IllegalChange;

/// What became of one registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is watched from now on.
    New,
    /// It was known already; nothing changed.
    Known,
}

/// What names one activity: its id, and its VAT where the id alone is ambiguous.
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
    /// Its VAT.
    pub vat: Vat,
    /// The state it was taken out of.
    pub from: State,
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
