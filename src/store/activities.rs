//! Registering activities, and what an operator does to one by hand.

use super::error::StoreError;
use super::read::Table;
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

/// An activity that something was ordered for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// Its VAT.
    pub vat: Vat,
    /// Its row of `report_activities` as the order left it, whatever came after.
    pub row: Table,
}

/// An activity that is watched again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retried {
    /// Its VAT.
    pub vat: Vat,
    /// The state it was taken out of.
    pub from: State,
    /// As in [`Ordered`].
    pub row: Table,
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
