//! The outbox: which event still has to go to which sink.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::claims::Claims;
use crate::domain::event::Event;
use crate::domain::routing::Route;
use crate::domain::time::Timestamp;

/// About how many bytes of payloads one claim has: less than this plus one event.
pub(super) const MAX_CLAIM_BYTES: usize = 1024 * 1024;

/// Deliveries that wait in memory for their sink: what one commit may have, and some more. With more of them, or of
/// [`MAX_CLAIM_BYTES`], the outbox is read.
const MAX_FRESH: usize = 1_024;

/// What this process has handed out of a sink's part of the outbox, and what it need not read of it.
///
/// A sink that has all that is due gets what comes next from memory as soon as it is committed: in a wave nearly every
/// event would be read back a moment after it was written. Whatever else becomes due (tries again, what other processes
/// wrote, what came while the sink was behind) is read, so that nothing depends on this.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub claims: Claims,
    fresh: Mutex<Fresh>,
    arrived: Notify,
}

/// What was committed since the outbox was read.
#[derive(Debug, Default)]
struct Fresh {
    /// Up to which event everything due has been handed out; `None` if that is not known.
    up_to: Option<i64>,
    /// Claimed, in the order of their events.
    deliveries: Vec<ClaimedDelivery>,
    n_bytes: usize,
    /// Whether something was committed that is not among these.
    is_missing_some: bool,
}

impl Outbox {
    /// The outbox is about to be read: what is committed from now on may or may not be found.
    pub fn begin_to_read(&self) {
        let mut fresh = self.fresh();
        fresh.up_to = None;
        fresh.is_missing_some = false;
    }

    /// All that was due has been read, up to this event.
    pub fn has_read(&self, up_to: Option<i64>) {
        self.fresh().up_to = up_to;
    }

    /// Takes note of events that were committed, with their keys, in their order: what this route takes of them is
    /// claimed and handed over, or else has to be read. Only if they follow what was handed out before: so a sink gets
    /// all events in the order in which they were recorded.
    pub fn committed(&self, events: &[(i64, &Event)], route: &Route) {
        let mut fresh = self.fresh();
        for (key, event) in events {
            let n_bytes = fresh.n_bytes + event.payload.len();
            let has_room = fresh.deliveries.len() < MAX_FRESH && n_bytes < MAX_CLAIM_BYTES;
            if fresh.up_to.is_none_or(|up_to| up_to + 1 != *key) || !has_room {
                drop(fresh);
                return self.miss();
            }
            fresh.up_to = Some(*key);
            if route.takes(event) && self.claims.insert(*key) {
                fresh.n_bytes = n_bytes;
                fresh.deliveries.push(ClaimedDelivery::first(*key, event));
            }
        }
        drop(fresh);
        self.arrived.notify_one();
    }

    /// Takes note that something is due of which it knows no more: it has to be read.
    pub fn miss(&self) {
        let mut fresh = self.fresh();
        fresh.up_to = None;
        fresh.is_missing_some = true;
        drop(fresh);
        self.arrived.notify_one();
    }

    /// What was handed over since the last time.
    pub fn take(&self) -> Vec<ClaimedDelivery> {
        let mut fresh = self.fresh();
        fresh.n_bytes = 0;
        std::mem::take(&mut fresh.deliveries)
    }

    /// Whether there is something to read that was committed and not handed over.
    pub fn is_missing_some(&self) -> bool {
        self.fresh().is_missing_some
    }

    /// Waits until something was committed. One waiter at a time; what was before the call counts.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// The store's key of the event.
    pub event_key: i64,
    /// The row's revision: an attempt counts only if the row still has it.
    pub revision: i64,
    /// The event's id.
    pub event_id: String,
    /// The exact text to send.
    pub payload: String,
    /// What `retry_for` counts from.
    pub tried_from: Timestamp,
    /// The backoff's next interval; `None` before the first failure.
    pub interval: Option<Duration>,
}

impl ClaimedDelivery {
    /// As it is stored with its event.
    fn first(event_key: i64, event: &Event) -> Self {
        Self {
            event_key,
            revision: 0,
            event_id: event.id.to_string(),
            payload: event.payload.clone(),
            tried_from: event.occurred_at,
            interval: None,
        }
    }
}

/// The result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The store's key of the event.
    pub event_key: i64,
    /// The sink.
    pub sink: String,
    /// As it was claimed.
    pub revision: i64,
    /// When the attempt began.
    pub attempted_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The receiver's HTTP status, if there was one.
    pub http_status: Option<u16>,
    /// What was wrong; `None` if nothing was.
    pub error: Option<String>,
    /// What follows.
    pub outcome: DeliveryOutcome,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The sink has it.
    Delivered,
    /// To be tried again.
    Retry {
        /// When.
        next_attempt_at: Timestamp,
        /// The backoff's interval after that.
        interval: Duration,
    },
    /// Given up, until redelivered by hand.
    Dead,
}

/// Deliveries that an order or an end of `retry_for` changes in one transaction.
pub(super) const AT_ONCE: u64 = 2_000;

/// Which deliveries to make again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redelivery {
    /// One event, to one sink or to all that it was meant for.
    Event {
        /// Its id.
        event_id: String,
        /// The sink.
        sink: Option<String>,
    },
    /// All that are dead.
    Dead {
        /// Only of this sink.
        sink: Option<String>,
        /// Only of events since then.
        since: Option<Timestamp>,
    },
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::task::Poll;

    use crate::domain::activity::Vat;
    use crate::domain::event::{Event, EventKind};
    use crate::domain::gate::{GateChange, Scope};
    use crate::domain::routing::{EventPattern, LOG_SINK, Route};
    use crate::domain::time::Timestamp;
    use crate::store::work::{Deliveries, Work};
    use crate::store::{Address, Record, Store};

    const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);
    const VATS_ALONE: &str = "vats";
    const NONE: [i64; 0] = [];

    async fn store(path: &Path) -> Store {
        let route = |sink: &str, patterns: &[&str]| Route {
            sink: sink.to_owned(),
            events: patterns.iter().filter_map(|text| EventPattern::parse(text)).collect(),
            vats: Vec::new(),
        };
        let routes = vec![route(LOG_SINK, &[]), route(VATS_ALONE, &["upstream.vat.*"])];
        Store::open(&Address::Sqlite(path.to_owned()), routes).await.unwrap()
    }

    fn held(n: i64) -> Record {
        let since = NOW.shifted(-n);
        let event = Event::of_credential(EventKind::CredentialHeld, NOW, "main", since, &n.to_string());
        Record::Gate(GateChange {
            scope: Scope::Credential("main".to_owned()),
            hold: None,
            paused_until: None,
            event: Some(event),
        })
    }

    fn vat_held(n: i64) -> Record {
        let vat = Vat::parse("310122393500003").unwrap();
        let event = Event::of_vat(EventKind::VatHeld, NOW, &vat, NOW.shifted(-n), &n.to_string());
        Record::Gate(GateChange {
            scope: Scope::Vat(vat),
            hold: None,
            paused_until: None,
            event: Some(event),
        })
    }

    /// The reasons in their payloads, which tell them apart.
    fn reasons(deliveries: &[super::ClaimedDelivery]) -> Vec<i64> {
        let reason = |delivery: &super::ClaimedDelivery| {
            let payload: serde_json::Value = serde_json::from_str(&delivery.payload).unwrap();
            assert_eq!(payload["id"].as_str(), Some(delivery.event_id.as_str()));
            payload["data"]["reason"].as_str().unwrap().parse().unwrap()
        };
        deliveries.iter().map(reason).collect()
    }

    async fn read(deliveries: &Deliveries) -> Vec<i64> {
        reasons(&deliveries.claim(NOW, 2_000).await.unwrap().0)
    }

    #[tokio::test]
    async fn what_follows_what_was_read_is_handed_over_and_all_else_is_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("watch.db")).await;
        let work = Work::new(store.backend.clone());
        let other_process = Work::new(store.backend.clone());
        let log = work.deliveries(LOG_SINK);

        work.record(&[held(1)].into()).await.unwrap();
        assert_eq!(reasons(&log.handed_over()), NONE, "nothing was read before");
        assert!(log.is_missing_some());
        assert_eq!(read(&log).await, [1]);

        work.record(&[held(2), held(3)].into()).await.unwrap();
        let handed_over = log.handed_over();
        assert_eq!(reasons(&handed_over), [2, 3]);
        assert_eq!(read(&log).await, NONE, "they are claimed");

        other_process.record(&[held(4)].into()).await.unwrap();
        work.record(&[held(5)].into()).await.unwrap();
        assert_eq!(reasons(&log.handed_over()), NONE, "it would go before one that was recorded earlier");
        assert!(log.is_missing_some());
        assert_eq!(read(&log).await, [4, 5]);

        log.put_back(handed_over);
        work.record(&[held(6)].into()).await.unwrap();
        assert_eq!(reasons(&log.handed_over()), NONE);
        assert_eq!(read(&log).await, [2, 3, 6]);

        // The same event once more is stored once, and goes out once.
        work.record(&[held(6), held(7)].into()).await.unwrap();
        assert_eq!(reasons(&log.handed_over()), NONE);
        assert_eq!(read(&log).await, [7]);
    }

    #[tokio::test]
    async fn a_sink_is_handed_what_its_route_takes_and_as_much_as_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("watch.db")).await;
        let work = Work::new(store.backend.clone());
        let (log, vats) = (work.deliveries(LOG_SINK), work.deliveries(VATS_ALONE));
        assert_eq!((read(&log).await, read(&vats).await), (vec![], vec![]));

        work.record(&[held(1), vat_held(2), held(3)].into()).await.unwrap();
        work.record(&[vat_held(4)].into()).await.unwrap();
        assert_eq!(reasons(&log.handed_over()), [1, 2, 3, 4]);
        assert_eq!(reasons(&vats.handed_over()), [2, 4]);

        let last = super::MAX_FRESH as i64 + 50;
        let many: Vec<_> = (5..=last).map(held).collect();
        work.record(&many.into()).await.unwrap();
        let mut all = reasons(&log.handed_over());
        assert_eq!(all.len(), super::MAX_FRESH);
        assert!(log.is_missing_some());
        all.extend(read(&log).await);
        assert_eq!(all, (5..=last).collect::<Vec<_>>());
    }

    /// Polls this so many times; `None` if it has not ended by then.
    async fn polled<T>(n_times: usize, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut n_left = n_times;
        std::future::poll_fn(|context| match n_left.checked_sub(1) {
            None => Poll::Ready(None),
            Some(left) => {
                n_left = left;
                future.as_mut().poll(context).map(Some)
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_claim_that_ends_half_way_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("watch.db")).await;
        let work = Work::new(store.backend.clone());
        work.record(&[held(1), held(2)].into()).await.unwrap();
        let log = work.deliveries(LOG_SINK);
        let mut n_times = 0;
        let (claimed, _) = loop {
            n_times += 1;
            if let Some(claimed) = polled(n_times, log.claim(NOW, 1_000)).await {
                break claimed.unwrap();
            }
            let (claimed, _) = log.claim(NOW, 1_000).await.unwrap();
            assert_eq!(reasons(&claimed), [1, 2], "after {n_times} steps");
            log.put_back(claimed);
        };
        assert!(n_times > 2 && claimed.len() == 2, "{n_times}");
    }

    #[tokio::test]
    async fn the_next_dispatcher_gets_what_the_last_one_had_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("watch.db")).await;
        let work = Work::new(store.backend.clone());
        work.record(&[held(1)].into()).await.unwrap();
        assert_eq!(read(&work.deliveries(LOG_SINK)).await, [1]);
        assert_eq!(read(&work.deliveries(LOG_SINK)).await, [1]);
    }

    #[tokio::test]
    async fn what_is_claimed_is_not_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("watch.db")).await;
        let work = Work::new(store.backend.clone());
        work.record(&[held(1), held(2)].into()).await.unwrap();
        let log = work.deliveries(LOG_SINK);
        let (claimed, _) = log.claim(NOW, 1).await.unwrap();
        assert_eq!(log.give_up(Timestamp::MAX).await.unwrap(), 1);
        log.put_back(claimed);
        assert_eq!(log.give_up(Timestamp::MAX).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn events_that_were_not_committed_are_not_handed_over() {
        use sqlx::Connection as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch.db");
        let store = store(&path).await;
        let work = Work::new(store.backend.clone());
        let log = work.deliveries(LOG_SINK);
        assert_eq!(read(&log).await, NONE);
        let mut other = sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        let refuse =
            "CREATE TRIGGER refuse BEFORE INSERT ON credentials BEGIN SELECT RAISE(ABORT, 'no'); END";
        sqlx::query(refuse).execute(&mut other).await.unwrap();
        let last = Record::Request { credential: "main".into(), at: NOW };
        assert!(work.record(&[vat_held(1), last].into()).await.is_err());
        assert_eq!((reasons(&log.handed_over()), log.is_missing_some()), (vec![], false));
        sqlx::query("DROP TRIGGER refuse").execute(&mut other).await.unwrap();
        work.record(&[held(2)].into()).await.unwrap();
        let mut got = reasons(&log.handed_over());
        got.extend(read(&log).await);
        assert_eq!(got, [2]);
    }
}
