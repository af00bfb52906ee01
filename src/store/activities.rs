//! Registering activities, and what an operator does to one by hand.

use std::collections::HashSet;

use super::error::StoreError;
use super::read::Table;
use super::schedule::Claimed;
use crate::domain::activity::{ActivityId, Registration, State, Vat};
use crate::domain::lifecycle::IllegalChange;

/// The outcome of one registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// It is watched from now on.
    New,
    /// It was known already; nothing changed.
    Known,
}

/// The outcome of each of these, where `inserted` are the VATs and ids of those that were new.
pub(super) fn outcomes(
    registrations: &[Registration],
    mut inserted: HashSet<(Box<str>, Box<str>)>,
) -> impl Iterator<Item = RegisterOutcome> {
    registrations.iter().map(move |registration| {
        // Taken out when first met: the same activity further down the list is known by then.
        match inserted.remove(&(registration.vat.as_str().into(), registration.activity_id.as_str().into())) {
            true => RegisterOutcome::New,
            false => RegisterOutcome::Known,
        }
    })
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
