//! What the daemon reports of itself while it runs: whether it is ready and alive (`health`), and its metrics.
//!
//! `counters` counts what the daemon has done; tasks report it once it is certain. What the database knows is not
//! counted here: `exposition` reads it at each scrape and writes all metrics.
//!
//! A new counter is a field here, a name and a help text in `counters` (`register`), and a row in docs/http.md.

mod counters;
mod exposition;
mod health;

use std::sync::{Arc, Mutex};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::time::Timestamp;
use counters::{
    ByCheck, ByOwner, BySink, BySinkAndOutcome, ByState, ByUse, ByVerdict, COMMIT, LAG, exchange_durations,
};
use health::Health;

pub use counters::Attempted;

/// What every metric's name begins with.
const PREFIX: &str = "pcsid_watch";

/// See the module. One for each daemon, shared by its tasks.
#[derive(Debug)]
pub struct Monitor {
    credentials: Vec<String>,
    sinks: Vec<String>,
    started_at: Timestamp,
    health: Mutex<Health>,
    registry: Registry,
    polls: Family<ByVerdict, Counter>,
    answers: Family<ByUse, Counter>,
    poll_duration: Histogram,
    conclusions: Family<ByState, Counter>,
    checks: Family<ByCheck, Counter>,
    check_errors: Family<ByOwner, Counter>,
    detection_lag: Histogram,
    deliveries: Family<BySinkAndOutcome, Counter>,
    delivery_duration: Family<BySink, Histogram, fn() -> Histogram>,
    commits: Counter,
    commit_duration: Histogram,
    committed_records: Counter,
    commit_failures: Counter,
    wrong_tokens: Counter,
}

impl Monitor {
    /// A monitor of a daemon with these credentials and sinks that starts now.
    pub fn new(credentials: Vec<String>, sinks: Vec<String>, now: Timestamp) -> Arc<Self> {
        let mut monitor = Self {
            credentials,
            sinks,
            started_at: now,
            health: Mutex::new(Health::new()),
            registry: Registry::with_prefix(PREFIX),
            polls: Family::default(),
            answers: Family::default(),
            poll_duration: exchange_durations(),
            conclusions: Family::default(),
            checks: Family::default(),
            check_errors: Family::default(),
            detection_lag: Histogram::new(LAG),
            deliveries: Family::default(),
            delivery_duration: Family::new_with_constructor(exchange_durations),
            commits: Counter::default(),
            commit_duration: Histogram::new(COMMIT),
            committed_records: Counter::default(),
            commit_failures: Counter::default(),
            wrong_tokens: Counter::default(),
        };
        monitor.register();
        monitor.preset();
        Arc::new(monitor)
    }
}
