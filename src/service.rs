//! Messages to the service manager (`NOTIFY_SOCKET`): ready, a status line, reloading, stopping, and the watchdog's
//! sign of life.
//!
//! The watchdog is fed by progress: each sign of life means that poller and recorder have run another round. So a
//! daemon whose tasks are stuck is killed and restarted, even if its timers and HTTP server go on. A recorder that
//! waits for a full disk counts as progress, and so does a poller that waits for it: a restart would fix nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::activity::State;
use crate::monitor::Monitor;
use crate::store::{Overview, Reports};

/// How often the status line is updated.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How long reading the database for the status line may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// How often progress is checked in one watchdog period, so that the daemon survives the loss of two messages.
const LOOKS_A_PERIOD: u32 = 4;

/// Sends the daemon's state to the service manager, for as long as the daemon runs.
#[derive(Debug)]
pub struct ServiceWatch {
    reports: Reports,
    clock: Arc<Clock>,
    monitor: Arc<Monitor>,
    fed_at: Instant,
    told: String,
}

/// Everything has been started.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reloading after SIGHUP begins.
pub fn reloading() {
    // The time tells the service manager which of several reloads this one answers.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Reloading is done.
pub fn reloaded() {
    ready();
}

/// The daemon stops.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping: what has arrived is being written")]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(states) {
        tracing::debug!(error = &err as &dyn std::error::Error, "the service manager can't be notified");
    }
}

impl ServiceWatch {
    /// A watch that has not begun yet.
    pub fn new(reports: Reports, clock: Arc<Clock>, monitor: Arc<Monitor>) -> Self {
        Self { reports, clock, monitor, fed_at: Instant::now(), told: String::new() }
    }

    /// Sends until `stop`. It does not return before, even if nobody listens.
    pub async fn run(mut self, stop: CancellationToken) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return stop.cancelled().await;
        }
        let watchdog = sd_notify::watchdog_enabled().map(|period| period / LOOKS_A_PERIOD);
        let mut looks = tokio::time::interval(watchdog.unwrap_or(STATUS_EVERY).max(Duration::from_millis(1)));
        let mut statuses = tokio::time::interval(STATUS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        statuses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick(), if watchdog.is_some() => self.feed(),
                _ = statuses.tick() => tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.notify_status() => {}
                },
            }
        }
    }

    /// Feeds the watchdog if there has been progress since it was fed last.
    fn feed(&mut self) {
        if self.monitor.moved_since(self.fed_at) {
            self.fed_at = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
    }

    async fn notify_status(&mut self) {
        let overview = tokio::time::timeout(STATUS_PATIENCE, self.reports.overview(self.clock.now())).await;
        // A database that can't be read is among the troubles; one that is slow leaves the line as it is.
        let overview = match overview {
            Ok(read) => read.ok(),
            Err(_) => return,
        };
        let mut troubles = self.monitor.troubles();
        if self.monitor.outage().is_some() {
            troubles.push("nothing usable comes from upstream".to_owned());
        }
        let status = status(overview.as_ref(), &troubles);
        if status != self.told {
            notify(&[NotifyState::Status(&status)]);
            self.told = status;
        }
    }
}

/// The status line.
fn status(overview: Option<&Overview>, troubles: &[String]) -> String {
    let mut line = String::new();
    for trouble in troubles {
        // Writing to a string can't fail.
        let _ = write!(line, "{trouble}; ");
    }
    let Some(overview) = overview else { return line.trim_end_matches("; ").to_owned() };
    // Numbers only, since every user of the machine can read the line.
    let held = overview.closed.iter().filter(|gate| gate.reason.is_some());
    let (credentials, vats) = held.fold((0, 0), |(credentials, vats), gate| match gate.credential {
        Some(_) => (credentials + 1, vats),
        None => (credentials, vats + 1),
    });
    let (undelivered, dead) =
        overview.outbox.iter().fold((0, 0), |(pending, dead), of| (pending + of.pending, dead + of.dead));
    let _ = write!(
        line,
        "{} pending, {} in progress; {credentials} credentials and {vats} VATs held; {undelivered} events \
         undelivered, {dead} dead",
        overview.in_state(State::Pending),
        overview.in_state(State::InProgress),
    );
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::status;
    use crate::domain::activity::State;
    use crate::store::{Blocked, Overview, Undelivered};

    fn held(credential: Option<&str>, vat: Option<&str>) -> Blocked {
        Blocked {
            credential: credential.map(str::to_owned),
            vat: vat.map(str::to_owned),
            reason: Some("HTTP 401".to_owned()),
            since: None,
            until: None,
        }
    }

    #[test]
    fn the_status_names_what_waits_what_is_held_and_what_is_undelivered() {
        let quiet = Overview::default();
        assert_eq!(
            status(Some(&quiet), &[]),
            "0 pending, 0 in progress; 0 credentials and 0 VATs held; 0 events undelivered, 0 dead"
        );
        let busy = Overview {
            states: BTreeMap::from([(State::Pending, 3), (State::InProgress, 2), (State::Failed, 9)]),
            closed: vec![
                held(Some("main"), None),
                held(None, Some("310122393500003")),
                Blocked { reason: None, ..held(Some("paused"), None) },
            ],
            outbox: vec![
                Undelivered { sink: "erp".to_owned(), pending: 4, dead: 1, tried_since: None },
                Undelivered { sink: "log".to_owned(), pending: 1, dead: 0, tried_since: None },
            ],
            ..Overview::default()
        };
        assert_eq!(
            status(Some(&busy), &[]),
            "3 pending, 2 in progress; 1 credentials and 1 VATs held; 5 events undelivered, 1 dead"
        );
    }

    #[test]
    fn trouble_comes_first_and_stands_alone_where_the_database_is_silent() {
        let troubles = ["the database can't be read".to_owned()];
        assert_eq!(status(None, &troubles), "the database can't be read");
        assert!(
            status(Some(&Overview::default()), &troubles)
                .starts_with("the database can't be read; 0 pending")
        );
    }
}
