//! The interface for orders: register, cancel, retry, poll now, redeliver, import.

use super::activities::{ActivityRef, RegisterOutcome, Retried};
use super::certificates::ImportedCertificates;
use super::deliveries::{AT_ONCE, Redelivery};
use super::error::StoreError;
use super::history::ActivityRow;
use super::{Backend, TURN, on};
use crate::domain::activity::Registration;
use crate::domain::certificate::ImportedCertificate;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;

/// Takes orders of people and programs. Each is one transaction, unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Intake(pub(super) Backend);

impl Intake {
    /// Registers all of these or, on an error, none. The outcomes are in the order of the registrations.
    ///
    /// A new activity is due at once.
    ///
    /// # Errors
    /// [`StoreError::OtherUpstream`] if this database belongs to another upstream than `base_url`.
    pub async fn register(
        &self,
        registrations: &[Registration],
        base_url: &str,
        serving: &Serving,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<Vec<RegisterOutcome>, StoreError> {
        on!(&self.0, store => store.register(registrations, base_url, serving, initial_interval, now).await)
    }

    /// As [`Intake::register`], of one; with the activity as this left it, whatever came after.
    ///
    /// # Errors
    /// As [`Intake::register`].
    pub async fn register_one(
        &self,
        registration: &Registration,
        base_url: &str,
        serving: &Serving,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<(RegisterOutcome, ActivityRow), StoreError> {
        on!(&self.0, store => store.register_one(registration, base_url, serving, initial_interval, now).await)
    }

    /// Makes an activity that is being watched due now. Returns it as this left it, whatever came after.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] if it is concluded.
    pub async fn poll_now(&self, activity: &ActivityRef, now: Timestamp) -> Result<ActivityRow, StoreError> {
        on!(&self.0, store => store.poll_now(activity, now).await)
    }

    /// Stops watching an activity. An answer that is on its way no longer counts. Returns it as this left it.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] if it is concluded.
    pub async fn cancel(&self, activity: &ActivityRef, now: Timestamp) -> Result<ActivityRow, StoreError> {
        on!(&self.0, store => store.cancel(activity, now).await)
    }

    /// Watches an activity again that was rejected, expired or cancelled, as if it were registered now.
    ///
    /// # Errors
    /// [`StoreError::WrongState`] if it is watched already or upstream has concluded it.
    pub async fn retry(
        &self,
        activity: &ActivityRef,
        base_url: &str,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<Retried, StoreError> {
        on!(&self.0, store => store.retry(activity, base_url, initial_interval, now).await)
    }

    /// Makes deliveries due again, with a new `retry_for`; returns how many. Many are changed in several transactions,
    /// so that others can write in between: an error may come after some of them.
    ///
    /// # Errors
    /// [`StoreError::UnknownEvent`] if a named event has no such delivery.
    pub async fn redeliver(&self, which: &Redelivery, now: Timestamp) -> Result<u64, StoreError> {
        let mut n_due = 0;
        loop {
            let n = on!(&self.0, store => store.redeliver(which, now).await)?;
            n_due += n;
            match which {
                Redelivery::Dead { .. } if n >= AT_ONCE => tokio::time::sleep(TURN).await,
                Redelivery::Dead { .. } | Redelivery::Event { .. } => return Ok(n_due),
            }
        }
    }

    /// Takes over certificates that were obtained elsewhere: all of them or, on an error, none. A device whose
    /// certificate was obtained later keeps that one.
    ///
    /// # Errors
    /// [`StoreError::OtherUpstream`] if this database belongs to another upstream than `base_url`.
    pub async fn import_certificates(
        &self,
        certificates: &[ImportedCertificate],
        base_url: &str,
        now: Timestamp,
    ) -> Result<ImportedCertificates, StoreError> {
        on!(&self.0, store => store.import_certificates(certificates, base_url, now).await)
    }
}
