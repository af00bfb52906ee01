//! The interface for maintenance: checks, pruning, reminders, and the tie to one upstream.

use std::time::Duration;

use super::certificates::Reminded;
use super::error::StoreError;
use super::{Backend, on};
use crate::domain::activity::Vat;
use crate::domain::catalogue::Catalogue;
use crate::domain::certificate::Renewal;
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;

/// A jump of the clock ahead beyond this makes pruning pause; a machine that slept over a night or a weekend is below
/// it.
pub(super) const SUSPICIOUS_JUMP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long nothing is pruned after such a jump: time enough to notice a wrong clock.
pub(super) const PRUNE_PAUSE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Activities removed in one transaction, so that none holds other writers up for long.
pub(super) const PRUNE_BATCH: i64 = 500;

/// Maintains the database.
#[derive(Debug, Clone)]
pub struct Upkeep(pub(super) Backend);

impl Upkeep {
    /// What is wrong with the database; empty if nothing is.
    pub async fn problems(&self) -> Result<Vec<String>, StoreError> {
        on!(&self.0, store => store.problems().await)
    }

    /// Removes the oldest activities that concluded before then, with all that belongs to them, and events of
    /// credentials and VATs from before then: a bounded number. Returns how many; 0 if none is left.
    ///
    /// Whatever is still to be delivered to a configured sink stays.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        on!(&self.0, store => store.prune(before).await)
    }

    /// Whether the clock has been steady for long enough to judge what is old.
    pub async fn may_prune(&self, now: Timestamp) -> Result<bool, StoreError> {
        on!(&self.0, store => store.may_prune(now).await)
    }

    /// When a daemon last noted that it lives; `None` before the first run.
    pub async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        on!(&self.0, store => store.last_beat().await)
    }

    /// Makes sure that this database belongs to `base_url`; a new one belongs to it from now on.
    ///
    /// # Errors
    /// [`StoreError::OtherUpstream`], naming both, if it belongs to another.
    pub async fn require_upstream(&self, base_url: &str, now: Timestamp) -> Result<(), StoreError> {
        on!(&self.0, store => store.require_upstream(base_url, now).await)
    }

    /// Binds this database to `base_url`. Returns the upstream that it belonged to before.
    pub async fn adopt_upstream(&self, base_url: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        on!(&self.0, store => store.adopt_upstream(base_url, now).await)
    }

    /// Replaces the stored explanation of every rule that occurred, and of every reason to wait, by this catalogue's.
    pub async fn explain_anew(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        on!(&self.0, store => store.explain_anew(catalogue).await)
    }

    /// Stores which credential serves each known VAT. Returns the first few VATs that no credential serves, and their
    /// number.
    pub async fn assign_credentials(&self, serving: &Serving) -> Result<(Vec<Vat>, u64), StoreError> {
        on!(&self.0, store => store.assign_credentials(serving).await)
    }

    /// Sinks that have undelivered events.
    pub async fn sinks_with_pending_deliveries(&self) -> Result<Vec<String>, StoreError> {
        on!(&self.0, store => store.sinks_with_pending_deliveries().await)
    }

    /// Recalculates the ends of certificates if they were stored under other settings, and has every current one
    /// checked again. A reminder that was sent is not sent again unless the end itself moves.
    pub async fn follow_renewal(&self, renewal: &Renewal) -> Result<(), StoreError> {
        on!(&self.0, store => store.follow_renewal(renewal).await)
    }

    /// Stores the events of reminders and ends that are due, for a bounded number of certificates, and notes with each
    /// certificate what was announced.
    pub async fn remind(&self, renewal: &Renewal, now: Timestamp) -> Result<Reminded, StoreError> {
        on!(&self.0, store => store.remind(renewal, now).await)
    }
}
