//! What the daemon tells of itself while it runs: whether it is ready, and its metrics.
//!
//! The tasks report what they did, where it is certain; nobody counts on their behalf. What the database knows is
//! not counted here again but read when it is asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::classify::{TransientKind, Verdict};
use crate::domain::gate::Outage;
use crate::domain::report::{CHECK_NAMES, CheckOutcome};
use crate::domain::time::Timestamp;
use crate::process::Usage;
use crate::store::{ClosedGate, Footprint, Overview, Piece, StoreError, WITHIN_DAYS};

/// A task that has not gone round for this long is stuck. Each goes round once a second or more often.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// After so long it won't move any more, and only a new start helps: as long as the systemd unit's watchdog waits.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Something is written every ten seconds. Where nothing was for this long, others keep the database.
const UNWRITTEN_AFTER: Duration = Duration::from_secs(25);

/// What every metric's name begins with.
const PREFIX: &str = "pcsid_watch";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVerdict {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByUse {
    usable: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCheck {
    check: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOwner {
    owner: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySink {
    sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySinkAndOutcome {
    sink: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCredential {
    credential: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPiece {
    kind: &'static str,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTime {
    within: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTask {
    task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVersion {
    version: &'static str,
}

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

#[derive(Debug)]
struct Health {
    /// What this daemon holds; a database that is a file is held whole.
    held: BTreeSet<Piece>,
    /// How many pollers there are.
    n_pollers: usize,
    /// Why the database can't be reached.
    lost: Option<String>,
    poller_at: Instant,
    recorder_at: Instant,
    is_readable: bool,
    is_writable: bool,
    committed_at: Instant,
    last_answer_at: Option<Timestamp>,
    outage: Option<Outage>,
}

/// What became of one delivery attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// The sink took the event.
    Delivered,
    /// It is tried again.
    Failed,
    /// It was given up.
    Dead,
}

impl Attempted {
    const ALL: [Attempted; 3] = [Attempted::Delivered, Attempted::Failed, Attempted::Dead];

    const fn label(self) -> &'static str {
        match self {
            Attempted::Delivered => "delivered",
            Attempted::Failed => "failed",
            Attempted::Dead => "dead",
        }
    }
}

/// Upper bounds in seconds: of an exchange over the network, of a commit, of the time until a conclusion is known.
const EXCHANGE: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0];
const COMMIT: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];
const LAG: [f64; 13] =
    [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

fn exchange_durations() -> Histogram {
    Histogram::new(EXCHANGE)
}

impl Monitor {
    /// A monitor of a daemon with these credentials and sinks that starts now.
    pub fn new(credentials: Vec<String>, sinks: Vec<String>, now: Timestamp) -> Arc<Self> {
        let mut monitor = Self {
            credentials,
            sinks,
            started_at: now,
            health: Mutex::new(Health {
                held: BTreeSet::new(),
                n_pollers: 0,
                lost: None,
                poller_at: Instant::now(),
                recorder_at: Instant::now(),
                is_readable: true,
                is_writable: true,
                committed_at: Instant::now(),
                last_answer_at: None,
                outage: None,
            }),
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
        // A series that is there from the start can be told from one that is missing, and grows by its first increment.
        for verdict in Verdict::USABLE_LABELS.into_iter().chain(TransientKind::ALL.map(TransientKind::label))
        {
            drop(monitor.polls.get_or_create(&ByVerdict { verdict }));
        }
        for is_usable in [true, false] {
            drop(monitor.answers.get_or_create(&ByUse::new(is_usable)));
        }
        for check in CHECK_NAMES {
            for outcome in CheckOutcome::ALL {
                drop(monitor.checks.get_or_create(&ByCheck { check, outcome: outcome.label() }));
            }
        }
        for state in State::ALL.into_iter().filter(|state| state.is_concluded()) {
            drop(monitor.conclusions.get_or_create(&ByState { state: state.label() }));
        }
        for owner in Owner::ALL {
            drop(monitor.check_errors.get_or_create(&ByOwner { owner: owner.label() }));
        }
        for sink in &monitor.sinks {
            for outcome in Attempted::ALL {
                let labels = BySinkAndOutcome { sink: sink.clone(), outcome: outcome.label() };
                drop(monitor.deliveries.get_or_create(&labels));
            }
            drop(monitor.delivery_duration.get_or_create(&BySink { sink: sink.clone() }));
        }
        Arc::new(monitor)
    }

    fn register(&mut self) {
        let Self { registry, .. } = self;
        let build = Family::<ByVersion, Gauge>::default();
        build.get_or_create(&ByVersion { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", build);
        registry.register(
            "polls",
            "Answers from upstream, or failures to get one, by what they meant",
            self.polls.clone(),
        );
        registry.register(
            "answers",
            "The same by whether anything could be made of them: no is no answer, or none that can be trusted",
            self.answers.clone(),
        );
        registry.register(
            "poll_duration_seconds",
            "Time from a request to the end of its answer",
            self.poll_duration.clone(),
        );
        registry.register(
            "conclusions",
            "Activities that concluded, by the state they ended in",
            self.conclusions.clone(),
        );
        registry.register("checks", "Compliance checks of concluded activities", self.checks.clone());
        registry.register(
            "check_errors",
            "Errors in failed checks of concluded activities, by who must act",
            self.check_errors.clone(),
        );
        registry.register(
            "detection_lag_seconds",
            "Time from upstream's CompletedAt to the recorded conclusion",
            self.detection_lag.clone(),
        );
        registry.register(
            "deliveries",
            "Attempts to deliver an event, by sink and outcome",
            self.deliveries.clone(),
        );
        registry.register(
            "delivery_duration_seconds",
            "Time that an attempt to deliver took",
            self.delivery_duration.clone(),
        );
        registry.register("commits", "Transactions of the recorder", self.commits.clone());
        registry.register(
            "commit_duration_seconds",
            "Time that a transaction of the recorder took",
            self.commit_duration.clone(),
        );
        registry.register("committed_records", "Records that were written", self.committed_records.clone());
        registry.register(
            "commit_failures",
            "Transactions of the recorder that failed and were tried again",
            self.commit_failures.clone(),
        );
        registry.register(
            "http_wrong_tokens",
            "Requests over HTTP that offered a wrong token",
            self.wrong_tokens.clone(),
        );
    }

    /// This daemon holds a piece of work, or no longer does.
    pub fn holds(&self, piece: &Piece, is_held: bool) {
        let mut health = self.health();
        if matches!(piece, Piece::Polling { .. }) {
            health.n_pollers =
                if is_held { health.n_pollers + 1 } else { health.n_pollers.saturating_sub(1) };
            health.poller_at = Instant::now();
        }
        match is_held {
            true => health.held.insert(piece.clone()),
            false => health.held.remove(piece),
        };
    }

    /// What this daemon holds, as people name it.
    pub fn held(&self) -> Vec<String> {
        self.health().held.iter().map(ToString::to_string).collect()
    }

    /// The database is lost, and with it all that was held.
    pub fn lost(&self, cause: &StoreError) {
        let mut health = self.health();
        health.held.clear();
        health.n_pollers = 0;
        let mut text = cause.to_string();
        let mut source = std::error::Error::source(cause);
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        health.lost = Some(text);
    }

    /// The database is reached.
    pub fn works_again(&self) {
        let mut health = self.health();
        health.lost = None;
        (health.is_readable, health.is_writable) = (true, true);
        health.committed_at = Instant::now();
        health.recorder_at = Instant::now();
        health.poller_at = Instant::now();
    }

    /// The poller goes round.
    pub fn poller_lives(&self) {
        self.health().poller_at = Instant::now();
    }

    /// The schedule could be read, or could not.
    pub fn schedule_read(&self, is_readable: bool) {
        self.health().is_readable = is_readable;
    }

    /// The recorder goes round.
    pub fn recorder_lives(&self) {
        self.health().recorder_at = Instant::now();
    }

    /// Whether poller and recorder have both gone round since then. A poller that waits for a recorder that waits for
    /// the disk counts as moving.
    pub fn moved_since(&self, then: Instant) -> bool {
        let health = self.health();
        let polls = health.poller_at > then || health.n_pollers == 0 || !health.is_writable;
        health.lost.is_some() || (health.recorder_at > then && polls)
    }

    /// Whether the tasks still go round, so that a new start would mend nothing.
    pub fn is_alive(&self) -> bool {
        Instant::now().checked_sub(DEAD_AFTER).is_none_or(|then| self.moved_since(then))
    }

    /// An answer came, or none did, after so long. `usable_at`: when it was, if it told where an activity stands.
    pub fn polled(&self, verdict: &Verdict, took: Duration, usable_at: Option<Timestamp>) {
        self.polls.get_or_create(&ByVerdict { verdict: verdict.label() }).inc();
        self.answers.get_or_create(&ByUse::new(verdict.is_usable())).inc();
        self.poll_duration.observe(took.as_secs_f64());
        if usable_at.is_some() {
            self.health().last_answer_at = usable_at;
        }
    }

    /// Whether nothing usable comes from upstream, and why.
    pub fn outage_is(&self, outage: Option<Outage>) {
        self.health().outage = outage;
    }

    /// The outage of upstream that is going on.
    pub fn outage(&self) -> Option<Outage> {
        self.health().outage.clone()
    }

    /// A batch was committed.
    pub fn committed(&self, n_records: usize, took: Duration) {
        self.commits.inc();
        self.committed_records.inc_by(n_records as u64);
        self.commit_duration.observe(took.as_secs_f64());
        let mut health = self.health();
        health.is_writable = true;
        health.committed_at = Instant::now();
    }

    /// A batch could not be committed.
    pub fn not_committed(&self) {
        self.commit_failures.inc();
        self.health().is_writable = false;
    }

    /// A request over HTTP offered a wrong token.
    pub fn wrong_token(&self) {
        self.wrong_tokens.inc();
    }

    /// A conclusion is in the database. `lag`: how long after upstream's own time, where that is known.
    pub fn concluded(&self, state: State, lag: Option<Duration>) {
        self.conclusions.get_or_create(&ByState { state: state.label() }).inc();
        if let Some(lag) = lag {
            self.detection_lag.observe(lag.as_secs_f64());
        }
    }

    /// A check of a concluded activity came out so.
    pub fn checked(&self, check: &'static str, outcome: &'static str) {
        self.checks.get_or_create(&ByCheck { check, outcome }).inc();
    }

    /// A failed check of a concluded activity has an error that is this one's to mend.
    pub fn erred(&self, owner: Owner) {
        self.check_errors.get_or_create(&ByOwner { owner: owner.label() }).inc();
    }

    /// An attempt to deliver ended.
    pub fn attempted(&self, sink: &str, attempted: Attempted, took: Duration) {
        let sink = sink.to_owned();
        self.delivery_duration.get_or_create(&BySink { sink: sink.clone() }).observe(took.as_secs_f64());
        self.deliveries.get_or_create(&BySinkAndOutcome { sink, outcome: attempted.label() }).inc();
    }

    /// Events were given up without another attempt.
    pub fn gave_up(&self, sink: &str, n_dead: u64) {
        let labels = BySinkAndOutcome { sink: sink.to_owned(), outcome: Attempted::Dead.label() };
        self.deliveries.get_or_create(&labels).inc_by(n_dead);
    }

    /// Why the daemon is not ready, in sentences; none: it is.
    pub fn troubles(&self) -> Vec<String> {
        let health = self.health();
        if let Some(lost) = &health.lost {
            return vec![lost.clone()];
        }
        let mut troubles = Vec::new();
        if !health.is_writable || health.committed_at.elapsed() > UNWRITTEN_AFTER {
            troubles.push(
                "the database can't be written; the log says why, and it is tried until it works".into(),
            );
        }
        if !health.is_readable {
            troubles
                .push("the database can't be read; the log says why, and it is tried until it works".into());
        }
        let tasks = [("poller", health.poller_at), ("recorder", health.recorder_at)];
        for (task, at) in tasks.into_iter().filter(|(task, _)| *task != "poller" || health.n_pollers > 0) {
            // A recorder that waits for the disk is not stuck, and has been named already.
            if at.elapsed() > STUCK_AFTER && health.is_writable {
                troubles.push(format!("the {task} has not moved for {} s", at.elapsed().as_secs()));
            }
        }
        troubles
    }

    /// When upstream last answered where an activity stands; `None`: not since the start.
    pub fn last_answer_at(&self) -> Option<Timestamp> {
        self.health().last_answer_at
    }

    /// All metrics in the OpenMetrics text format, those of the process first. `overview`: what the database knows; `footprints`: what the
    /// file system says. The series of one that can't be asked are missing.
    ///
    /// # Errors
    /// Where the text could not be formatted, which the library alone knows a reason for.
    pub fn metrics(
        &self,
        overview: Option<&Overview>,
        footprints: &[Footprint],
        now: Timestamp,
    ) -> Result<String, std::fmt::Error> {
        let mut seen = Registry::with_prefix(PREFIX);
        let ready = f64::from(u8::from(self.troubles().is_empty()));
        gauge(&mut seen, "ready", "1 where the database is writable and the poller runs", ready);
        if let Some(at) = self.last_answer_at() {
            let name = "last_answer_timestamp_seconds";
            gauge(&mut seen, name, "When upstream last told where an activity stands", epoch_seconds(at));
        }
        let outage = f64::from(u8::from(self.outage().is_some()));
        let help = "1 where nothing usable comes from upstream and only probes are sent";
        gauge(&mut seen, "upstream_outage", help, outage);
        let started = epoch_seconds(self.started_at);
        gauge(&mut seen, "start_timestamp_seconds", "When the daemon started", started);
        self.add_idle_times(&mut seen);
        self.add_pieces(&mut seen);
        for Footprint { name, help, bytes } in footprints {
            gauge(&mut seen, name, help, *bytes as f64);
        }
        if let Some(overview) = overview {
            self.add_overview(&mut seen, overview, now);
        }
        // These have the names that every program has them under.
        let mut process = Registry::default();
        if let Some(usage) = Usage::read() {
            self.add_usage(&mut process, usage);
        }
        let mut text = String::new();
        encode_registry(&mut text, &process)?;
        encode_registry(&mut text, &seen)?;
        encode_registry(&mut text, &self.registry)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn add_usage(&self, process: &mut Registry, usage: Usage) {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(usage.cpu_seconds);
        process.register("process_cpu_seconds", "Processor time that the process has used", cpu);
        let started = epoch_seconds(self.started_at);
        gauge(process, "process_start_time_seconds", "When the process started, since 1970", started);
        let bytes = usage.resident_bytes as f64;
        gauge(process, "process_resident_memory_bytes", "Memory that is resident", bytes);
        let bytes = usage.virtual_bytes as f64;
        gauge(process, "process_virtual_memory_bytes", "Address space", bytes);
        gauge(process, "process_threads", "Threads", usage.threads as f64);
        if let Some(n) = usage.open_descriptors {
            gauge(process, "process_open_fds", "Descriptors that are open", n as f64);
        }
        if let Some(n) = usage.max_descriptors {
            gauge(process, "process_max_fds", "Descriptors that may be open", n as f64);
        }
    }

    fn add_idle_times(&self, seen: &mut Registry) {
        let idle = Family::<ByTask, Gauge<f64, AtomicU64>>::default();
        let (poller_at, recorder_at) = {
            let health = self.health();
            (health.poller_at, health.recorder_at)
        };
        for (task, at) in [("poller", poller_at), ("recorder", recorder_at)] {
            idle.get_or_create(&ByTask { task }).set(at.elapsed().as_secs_f64());
        }
        seen.register("task_idle_seconds", "Time since a task went round last", idle);
    }

    /// Each piece that is configured, held or not.
    fn add_pieces(&self, seen: &mut Registry) {
        let family = Family::<ByPiece, Gauge>::default();
        let held = self.health().held.clone();
        let add = |kind, name: &str, is_this: &dyn Fn(&Piece) -> bool| {
            let labels = ByPiece { kind, name: name.to_owned() };
            family.get_or_create(&labels).set(i64::from(held.iter().any(is_this)));
        };
        for name in &self.credentials {
            let polls = |piece: &Piece| matches!(piece, Piece::Polling { credentials, .. } if credentials.contains(name));
            add("credential", name, &polls);
        }
        for name in &self.sinks {
            add("sink", name, &|piece| matches!(piece, Piece::Sink(sink) if sink == name));
        }
        add("upkeep", "", &|piece| *piece == Piece::Upkeep);
        seen.register(
            "piece_held",
            "1 where this daemon works on the credential, the sink or the upkeep",
            family,
        );
    }

    fn add_overview(&self, seen: &mut Registry, overview: &Overview, now: Timestamp) {
        let activities = Family::<ByState, Gauge>::default();
        for state in State::ALL {
            let n = i64::try_from(overview.in_state(state)).unwrap_or(i64::MAX);
            activities.get_or_create(&ByState { state: state.label() }).set(n);
        }
        seen.register("activities", "Activities in the database, by state", activities);
        let oldest =
            overview.oldest_waiting.as_ref().map_or(Duration::ZERO, |oldest| now.since(oldest.since));
        gauge(
            seen,
            "oldest_waiting_seconds",
            "Age of the activity that has waited longest, from its last registration or retry; 0: none waits",
            oldest.as_secs_f64(),
        );
        let behind = overview.due_since.map_or(Duration::ZERO, |due| now.since(due));
        gauge(
            seen,
            "schedule_behind_seconds",
            "For how long the longest due activity has been due, of those that no hold or pause keeps back",
            behind.as_secs_f64(),
        );

        let (held, paused) =
            (Family::<ByCredential, Gauge>::default(), Family::<ByCredential, Gauge>::default());
        for credential in &self.credentials {
            let of = |gate: &&ClosedGate| gate.credential.as_deref() == Some(credential);
            let gate = overview.closed.iter().find(of);
            let is_held = gate.is_some_and(|gate| gate.reason.is_some());
            let labels = ByCredential { credential: credential.clone() };
            held.get_or_create(&labels).set(i64::from(is_held));
            paused.get_or_create(&labels).set(i64::from(gate.is_some() && !is_held));
        }
        seen.register("credential_held", "1 where upstream refuses the credential's token", held);
        seen.register("credential_paused", "1 where upstream asked the credential to pause", paused);
        let vats = overview.closed.iter().filter(|gate| gate.vat.is_some()).count();
        gauge(seen, "vats_held", "VATs that upstream refuses", vats as f64);

        Self::add_certificates(seen, overview);

        let undelivered = Family::<BySinkAndOutcome, Gauge>::default();
        let oldest = Family::<BySink, Gauge<f64, AtomicU64>>::default();
        let is_unknown = |sink: &&String| !self.sinks.contains(sink);
        let orphans = overview.outbox.iter().map(|of| &of.sink).filter(is_unknown);
        for sink in self.sinks.iter().chain(orphans) {
            let of = overview.outbox.iter().find(|of| of.sink == *sink);
            let tried_for = of.and_then(|of| of.tried_since).map_or(Duration::ZERO, |since| now.since(since));
            oldest.get_or_create(&BySink { sink: sink.clone() }).set(tried_for.as_secs_f64());
            for (outcome, n) in [("pending", of.map(|of| of.pending)), ("dead", of.map(|of| of.dead))] {
                let labels = BySinkAndOutcome { sink: sink.clone(), outcome };
                undelivered.get_or_create(&labels).set(i64::try_from(n.unwrap_or(0)).unwrap_or(i64::MAX));
            }
        }
        seen.register(
            "undelivered_events",
            "Events that a sink has not taken: pending ones are tried, dead ones are not",
            undelivered,
        );
        seen.register(
            "oldest_undelivered_seconds",
            "For how long a sink has not taken the event that it has been tried with for longest; 0: none is pending",
            oldest,
        );
    }

    fn add_certificates(seen: &mut Registry, overview: &Overview) {
        let ending = Family::<ByTime, Gauge>::default();
        for (days, n) in WITHIN_DAYS.into_iter().zip(overview.ending.within) {
            let labels = ByTime { within: format!("{days}d") };
            ending.get_or_create(&labels).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
        seen.register(
            "certificates_expiring",
            "Certificates that end within so many days and that no later success has replaced",
            ending,
        );
        let expired = overview.ending.expired as f64;
        let help = "Certificates that have ended and that no later success has replaced";
        gauge(seen, "certificates_expired", help, expired);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByUse {
    const fn new(is_usable: bool) -> Self {
        Self { usable: if is_usable { "yes" } else { "no" } }
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn epoch_seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::{DEAD_AFTER, Duration, Instant, Monitor, Piece, STUCK_AFTER, Timestamp};

    fn long_ago() -> Instant {
        Instant::now() - DEAD_AFTER - Duration::from_secs(1)
    }

    #[test]
    fn it_is_alive_until_the_poller_or_the_recorder_stands_still() {
        let monitor = Monitor::new(Vec::new(), Vec::new(), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: Vec::new(), has_unserved: true }, true);
        assert!(monitor.is_alive());
        monitor.health().poller_at = Instant::now() - STUCK_AFTER - Duration::from_secs(1);
        assert!(monitor.is_alive() && !monitor.troubles().is_empty(), "not ready is not dead");
        monitor.health().poller_at = long_ago();
        assert!(!monitor.is_alive());
        monitor.poller_lives();
        assert!(monitor.is_alive());
        monitor.health().recorder_at = long_ago();
        assert!(!monitor.is_alive());
    }

    #[test]
    fn each_configured_piece_is_told_whether_it_is_held_or_not() {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let monitor = Monitor::new(names(["a", "b"]), names(["log", "erp"]), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: vec!["b".to_owned()], has_unserved: false }, true);
        monitor.holds(&Piece::Sink("log".to_owned()), true);
        let told = |monitor: &Monitor| {
            let text = monitor.metrics(None, &[], Timestamp::from_millis(0)).unwrap();
            let of_pieces = text.lines().filter(|line| line.starts_with("pcsid_watch_piece_held{"));
            let mut lines: Vec<String> = of_pieces.map(str::to_owned).collect();
            lines.sort();
            lines.iter().map(|line| if line.ends_with(" 1") { '1' } else { '0' }).collect::<String>()
        };
        // Credentials a and b, sinks erp and log, upkeep.
        assert_eq!(told(&monitor), "01010");
        monitor.holds(&Piece::Upkeep, true);
        monitor.holds(&Piece::Sink("log".to_owned()), false);
        assert_eq!(told(&monitor), "01001");
    }

    #[test]
    fn a_recorder_that_tries_to_write_keeps_a_poller_alive_that_waits_for_it() {
        let monitor = Monitor::new(Vec::new(), Vec::new(), Timestamp::from_millis(0));
        monitor.holds(&Piece::Polling { credentials: Vec::new(), has_unserved: true }, true);
        monitor.not_committed();
        monitor.health().poller_at = long_ago();
        assert!(monitor.is_alive());
        monitor.health().recorder_at = long_ago();
        assert!(!monitor.is_alive());
    }
}
