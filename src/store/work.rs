//! The interface of a daemon that holds work: claims, and records of their results.
//!
//! A claim writes nothing. What is claimed and not recorded yet is known here alone, in memory ([`Claims`]), and is not
//! handed out by another claim until it is recorded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::claims::Claims;
use super::deliveries::{AT_ONCE, ClaimedDelivery, Outbox};
use super::error::StoreError;
use super::gates::StoredGate;
use super::record::{Record, Recorded};
use super::schedule::{Claimed, Sweep};
use super::{Backend, TURN, Upkeep, on};
use crate::domain::time::Timestamp;
use crate::domain::turns::{Found, Wanted};

/// Cheap to clone; all clones know what is claimed.
#[derive(Debug, Clone)]
pub struct Work {
    backend: Backend,
    claims: Arc<Mutex<AllClaims>>,
}

/// What is claimed of the schedule by each poller, and of each sink.
#[derive(Debug, Default)]
struct AllClaims {
    polls: Vec<Weak<Claims>>,
    sinks: BTreeMap<String, Arc<Outbox>>,
}

/// The schedule of the activities of some credentials' VATs.
#[derive(Debug, Clone)]
pub struct Polls {
    backend: Backend,
    claims: Arc<Claims>,
    /// For a database that several daemons work on: what is this one's.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "a file has one daemon"))]
    mine: Arc<(Vec<String>, bool)>,
}

/// The due deliveries of one sink.
#[derive(Debug, Clone)]
pub struct Deliveries {
    backend: Backend,
    sink: String,
    outbox: Arc<Outbox>,
}

impl Work {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, claims: Arc::default() }
    }

    /// The deliveries of a sink, for one dispatcher. What an earlier one had claimed and not recorded is due again.
    pub fn deliveries(&self, sink: &str) -> Deliveries {
        let outbox = Arc::new(Outbox::default());
        self.claims().sinks.insert(sink.to_owned(), Arc::clone(&outbox));
        Deliveries { backend: self.backend.clone(), sink: sink.to_owned(), outbox }
    }

    /// The activities of these credentials' VATs, and of those that none serves if they are this daemon's.
    pub fn polls(&self, credentials: &[String], has_unserved: bool) -> Polls {
        let claims = Arc::new(Claims::default());
        let mut all = self.claims();
        all.polls.retain(|polls| polls.strong_count() > 0);
        all.polls.push(Arc::downgrade(&claims));
        Polls { backend: self.backend.clone(), claims, mine: Arc::new((credentials.to_vec(), has_unserved)) }
    }

    /// Pruning, for the daemon that holds the upkeep.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep(self.backend.clone())
    }

    /// Writes all of these in one transaction, in their order where it matters. What they are about is no longer
    /// claimed afterwards.
    ///
    /// A decision counts only if its row is as it was when claimed: a cancel or retry in between wins.
    ///
    /// # Errors
    /// After an error nothing was written and everything is still claimed; the same batch may be tried again.
    pub async fn record(&self, batch: &Arc<[Record]>) -> Result<Recorded, StoreError> {
        let recorded = on!(&self.backend, store => store.record(batch).await)?;
        let claims = self.claims();
        for polls in claims.polls.iter().filter_map(Weak::upgrade) {
            polls.release(batch.iter().filter_map(|record| match record {
                Record::Poll(poll) => Some(poll.claimed.key),
                _ => None,
            }));
        }
        for (sink, outbox) in &claims.sinks {
            outbox.claims.release(batch.iter().filter_map(|record| match record {
                Record::Delivery(delivery) if delivery.sink == *sink => Some(delivery.event_key),
                _ => None,
            }));
        }
        if recorded.n_events > 0 {
            self.hand_over(&claims.sinks, batch, &recorded);
        }
        Ok(recorded)
    }

    /// Notes that this can't be written, whatever is tried. What it is about stays claimed, so that it is not tried in a
    /// loop, but no longer counts as waiting for the recorder. `false` if there are too many of them.
    pub fn leave_out(&self, record: &Record) -> bool {
        let Record::Poll(poll) = record else { return true };
        self.claims().polls.iter().filter_map(Weak::upgrade).all(|polls| polls.leave_out(poll.claimed.key))
    }

    /// Tells the sinks of events that were committed.
    fn hand_over(&self, sinks: &BTreeMap<String, Arc<Outbox>>, batch: &[Record], recorded: &Recorded) {
        let by_id: HashMap<_, _> =
            batch.iter().flat_map(Record::events).map(|event| (event.id, event)).collect();
        let keys = recorded.event_keys.iter();
        let events: Vec<_> = keys.filter_map(|(id, key)| Some((*key, *by_id.get(id)?))).collect();
        for (sink, outbox) in sinks {
            match self.backend.routes().iter().find(|route| route.sink == *sink) {
                Some(route) if events.len() == recorded.n_events => outbox.committed(&events, route),
                _ => outbox.miss(),
            }
        }
    }

    /// Finds out whether others keep the database locked, and writes nothing. A server notices that by other means.
    ///
    /// # Errors
    /// If it is still locked after a while, or can't be used.
    pub async fn can_write(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.can_write().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => Ok(()),
        }
    }

    /// The gates that are held or paused.
    pub async fn gates(&self) -> Result<Vec<StoredGate>, StoreError> {
        on!(&self.backend, store => store.gates().await)
    }

    /// Brings back what lies further ahead than anything is ever planned: polls beyond `now` + `horizon`, and ages that
    /// have not begun yet. A command under a wrong clock writes such rows.
    pub async fn pull_in(&self, now: Timestamp, horizon: Duration) -> Result<u64, StoreError> {
        on!(&self.backend, store => store.pull_in(now, horizon).await)
    }

    /// When each credential was last used for a request, as far as is noted.
    pub async fn last_requests(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        on!(&self.backend, store => store.last_requests().await)
    }

    fn claims(&self) -> MutexGuard<'_, AllClaims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Polls {
    /// Whether this daemon is known to hold them; while it is not, nothing is to be asked for.
    pub fn is_held(&self) -> bool {
        self.backend.is_held()
    }

    /// What the schedule has for each of these, in their order, without what is claimed.
    pub async fn look(&self, wanted: &[Wanted], now: Timestamp) -> Result<Vec<Found<Claimed>>, StoreError> {
        on!(&self.backend, store => store.look(wanted, self.claims.keys(), now).await)
    }

    /// Activities that are old enough to stall or expire but may not be polled: those of held VATs, of VATs that no
    /// credential serves, and of `closed_credentials`, without what is claimed. Reads a bounded number from where
    /// `sweep` stopped, and begins again after the last.
    pub async fn overdue(
        &self,
        sweep: &mut Sweep,
        closed_credentials: &[&str],
        stalled_before: Timestamp,
        expired_before: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let claimed = self.claims.keys();
        match &self.backend {
            Backend::Sqlite(store) => {
                store.overdue(sweep, closed_credentials, stalled_before, expired_before, &claimed).await
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => {
                let (credentials, has_unserved) = &*self.mine;
                let before = (stalled_before, expired_before);
                store.overdue(sweep, closed_credentials, before, &claimed, (credentials, *has_unserved)).await
            }
        }
    }

    /// Claims a found activity, until it is recorded or put back. `false` if it is claimed already.
    pub fn claim(&self, claimed: &Claimed) -> bool {
        self.claims.insert(claimed.key)
    }

    /// Puts back what was claimed and will not be recorded.
    pub fn put_back(&self, claimed: impl IntoIterator<Item = Claimed>) {
        self.claims.release(claimed.into_iter().map(|claimed| claimed.key));
    }

    /// How many activities are claimed and will be recorded or put back.
    pub fn n_claimed(&self) -> usize {
        self.claims.len()
    }

    /// Waits until something that was claimed is recorded, put back or left out. One waiter at a time; what was before the
    /// call counts.
    pub async fn released(&self) {
        self.claims.released().await;
    }
}

impl Deliveries {
    /// Whether this daemon is known to hold them; while it is not, nothing is to be sent.
    pub fn is_held(&self) -> bool {
        self.backend.is_held()
    }

    /// The sink's due deliveries, the longest due first, without what is claimed; from now on they are claimed. And
    /// when the next is due.
    pub async fn claim(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ClaimedDelivery>, Option<Timestamp>), StoreError> {
        let mut claimed = self.outbox.claims.keys();
        self.outbox.begin_to_read();
        let (due, last_event) =
            on!(&self.backend, store => store.claim_deliveries(&self.sink, now, limit, &claimed).await)?;
        claimed.extend(due.iter().map(|delivery| delivery.event_key));
        let next_at = match due.len() == limit {
            true => Some(now),
            false => on!(&self.backend, store => store.next_delivery_at(&self.sink, &claimed).await)?,
        };
        // After both reads: if one fails, nobody sends what is claimed by then.
        due.iter().for_each(|delivery| {
            self.outbox.claims.insert(delivery.event_key);
        });
        // A claim ends as well if it has as many bytes as one may have.
        if next_at.is_none_or(|next_at| next_at > now) {
            self.outbox.has_read(last_event);
        }
        Ok((due, next_at))
    }

    /// What was handed over from memory as soon as it was committed; it is claimed.
    pub fn handed_over(&self) -> Vec<ClaimedDelivery> {
        self.outbox.take()
    }

    /// Whether something is due since the last claim that was not handed over, and has to be claimed.
    pub fn is_missing_some(&self) -> bool {
        self.outbox.is_missing_some()
    }

    /// Waits until something was committed. One waiter at a time; what was before the call counts.
    pub async fn arrived(&self) {
        self.outbox.arrived().await;
    }

    /// Puts back what was claimed and will not be recorded.
    pub fn put_back(&self, deliveries: impl IntoIterator<Item = ClaimedDelivery>) {
        self.outbox.claims.release(deliveries.into_iter().map(|delivery| delivery.event_key));
        self.outbox.miss();
    }

    /// Marks deliveries as dead that have failed since before `tried_before`, even if they had few tries because the
    /// sink is down. What is claimed is not among them: its try may just succeed. Returns how many.
    pub async fn give_up(&self, tried_before: Timestamp) -> Result<u64, StoreError> {
        let mut n_dead = 0;
        loop {
            let claimed = self.outbox.claims.keys();
            let n = on!(&self.backend, store => store.give_up(&self.sink, tried_before, &claimed).await)?;
            n_dead += n;
            if n < AT_ONCE {
                return Ok(n_dead);
            }
            tokio::time::sleep(TURN).await;
        }
    }
}
