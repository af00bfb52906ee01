//! The face of those who look after the database.

use super::certificates::Reminded;
use super::error::StoreError;
use super::{Backend, on};
use crate::domain::activity::Vat;
use crate::domain::catalogue::Catalogue;
use crate::domain::certificate::Renewal;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;

/// Looks after the database.
#[derive(Debug, Clone)]
pub struct Upkeep(pub(super) Backend);

impl Upkeep {
    /// What is wrong with the database; nothing where it is whole.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        on!(&self.0, store => store.problems().await)
    }

    /// Removes the oldest activities that concluded before then, with all that belongs to them, and events of
    /// credentials and VATs from before then; a bounded number at a time. Answers with how many; 0: none is left.
    ///
    /// What is still to be delivered to a configured sink stays.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        on!(&self.0, store => store.prune(before).await)
    }

    /// Whether the clock has been steady for long enough to tell what is old.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn may_prune(&self, now: Timestamp) -> Result<bool, StoreError> {
        on!(&self.0, store => store.may_prune(now).await)
    }

    /// When a daemon last was alive; `None` before its first run.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        on!(&self.0, store => store.last_beat().await)
    }

    /// Makes sure that this database belongs to `base_url`; a new one belongs to it from now on.
    ///
    /// # Errors
    /// [`StoreError::OtherUpstream`], naming both, where it belongs to another.
    pub async fn require_upstream(&self, base_url: &str, now: Timestamp) -> Result<(), StoreError> {
        on!(&self.0, store => store.require_upstream(base_url, now).await)
    }

    /// Gives this database to `base_url`, whomever it belonged to; answers with that one.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn adopt_upstream(&self, base_url: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        on!(&self.0, store => store.adopt_upstream(base_url, now).await)
    }

    /// Tells every rule that occurred, and every reason to wait, as this catalogue does.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn explain_anew(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        on!(&self.0, store => store.explain_anew(catalogue).await)
    }

    /// Notes which credential serves each known VAT. Answers with the first few VATs that none does, and how many
    /// there are.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn assign_credentials(&self, serving: &Serving) -> Result<(Vec<Vat>, u64), StoreError> {
        on!(&self.0, store => store.assign_credentials(serving).await)
    }

    /// Sinks that have undelivered events.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn sinks_with_pending_deliveries(&self) -> Result<Vec<String>, StoreError> {
        on!(&self.0, store => store.sinks_with_pending_deliveries().await)
    }

    /// Counts the ends of certificates by these settings, where they were counted by others, and has every current one
    /// looked at again. What was said stays said, unless the end itself moves.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn follow_renewal(&self, renewal: &Renewal) -> Result<(), StoreError> {
        on!(&self.0, store => store.follow_renewal(renewal).await)
    }

    /// Stores the reminders and ends that are due, with what was said, for a bounded number of certificates.
    ///
    /// # Errors
    /// Only those of the database; then nothing was stored.
    pub async fn remind(&self, renewal: &Renewal, now: Timestamp) -> Result<Reminded, StoreError> {
        on!(&self.0, store => store.remind(renewal, now).await)
    }
}
