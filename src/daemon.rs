//! The composition root: builds the tasks, runs them until stopped, and stops them in the right order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, ApiParts, HttpToken, HttpTokenError, ListenError, Listener};
use crate::clock::{self, Clock};
use crate::domain::activity::Vat;
use crate::domain::gate::Gates;
use crate::domain::quota::Quota;
use crate::domain::routing::LOG_SINK;
use crate::domain::time::Timestamp;
use crate::monitor::Monitor;
use crate::service::{self, ServiceWatch};
use crate::settings::{CredentialSettings, Settings};
use crate::shutdown::Shutdown;
use crate::store::{DatabaseLock, Record, Store, StoreError};
use crate::upstream::{Client, ClientError, TokenError, Tokens};
use crate::webhook::{Sender, SenderError};
use crate::worker::{
    Dispatcher, DispatcherParts, InFlight, LogSink, Poller, PollerParts, Pruner, Recorder, RecorderHandle,
    RecorderParts, Renewer, Sink, Wakers,
};

/// How long answers on their way are waited for, and how long events that are due are still sent.
const DRAIN_POLLS: Duration = Duration::from_secs(5);
const DRAIN_DELIVERIES: Duration = Duration::from_millis(1_500);

/// When each step of stopping has to be over, counted from its beginning. A service manager is promised ten
/// seconds in all.
const POLLS_DRAINED: Duration = Duration::from_secs(6);
const RECORDS_FLUSHED: Duration = Duration::from_millis(6_500);
const DELIVERIES_DRAINED: Duration = Duration::from_millis(8_200);
const RECORDS_DRAINED: Duration = Duration::from_millis(8_900);

/// How long closing the database may take after that.
const CLOSE: Duration = Duration::from_millis(500);

/// How a task ends: well, or because a task of its own died.
type TaskResult = Result<(), JoinError>;

/// Why the daemon could not start, or ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No credential is configured.
    #[error(
        "{origin}: credentials: there is none, so nothing can be polled: add [[credentials]] with a name and a \
         token_file"
    )]
    NoCredentials {
        /// Where the settings come from.
        origin: String,
    },
    /// A token can't be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A webhook can't be used.
    #[error(transparent)]
    Webhook(#[from] SenderError),
    /// The client for upstream can't be built.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The token for HTTP can't be used.
    #[error(transparent)]
    HttpToken(#[from] HttpTokenError),
    /// An address for HTTP can't be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task ended unasked, which is a defect of this program.
    #[error("the {task} ended unasked; what was under way is still due and a restart goes on with it")]
    TaskEnded {
        /// Which one.
        task: &'static str,
        /// How it died, where it did.
        #[source]
        source: Option<JoinError>,
    },
    /// The file was taken away beneath the daemon.
    #[error(
        "database `{}` was removed or replaced while the daemon ran; what was recorded since is lost with it: put the \
         file back or restore a backup, remove what is left beside it under the same name with -wal and -shm, then start \
         again",
        path.display()
    )]
    DatabaseGone {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The last answers could not be written before the time for stopping ran out.
    #[error(
        "not everything could be written while stopping; activities whose answers are missing are still due, and \
         events that were sent may be sent again under the same ids"
    )]
    NotDrained,
}

impl DaemonError {
    /// Whether the configuration is to blame.
    pub fn is_configuration(&self) -> bool {
        match self {
            DaemonError::NoCredentials { .. }
            | DaemonError::Token(_)
            | DaemonError::Webhook(_)
            | DaemonError::Client(_)
            | DaemonError::HttpToken(_) => true,
            DaemonError::Store(err) => err.is_configuration(),
            DaemonError::Listen(_)
            | DaemonError::DatabaseGone { .. }
            | DaemonError::TaskEnded { .. }
            | DaemonError::NotDrained => false,
        }
    }
}

/// Everything a start needs that can be wrong, checked before anything is touched.
#[derive(Debug)]
pub struct Prepared {
    tokens: Tokens,
    client: Client,
    senders: Vec<(Sender, String, Duration)>,
    http_token: Option<HttpToken>,
}

impl Prepared {
    /// Reads secrets and sets clients up; `config check` does just this.
    ///
    /// # Errors
    /// What is not usable.
    pub fn new(settings: &Settings) -> Result<Self, DaemonError> {
        if settings.credentials.is_empty() {
            return Err(DaemonError::NoCredentials { origin: settings.origin() });
        }
        let senders = settings
            .webhooks
            .iter()
            .map(|webhook| Ok((Sender::new(webhook)?, webhook.route.sink.clone(), webhook.retry_for)))
            .collect::<Result<_, DaemonError>>()?;
        Ok(Self {
            tokens: Tokens::read(&settings.credentials)?,
            client: Client::new(&settings.upstream)?,
            senders,
            http_token: settings.http.token.clone().map(HttpToken::read).transpose()?,
        })
    }
}

/// Runs the daemon in the foreground until it is told to stop.
///
/// # Errors
/// Where it can't start, where a task ends unasked, or where the last records could not be written.
pub async fn run(settings: &Settings, shutdown: Shutdown) -> Result<(), DaemonError> {
    let prepared = Prepared::new(settings)?;
    for warning in &settings.warnings {
        tracing::warn!("{}: {warning}", settings.origin());
    }
    let (store, lock) = Store::open_as_daemon(&settings.database, settings.routes()).await?;
    let reload = Arc::clone(&shutdown.reload);
    let mut daemon = Daemon::start(settings, prepared, store, lock, reload).await?;
    service::ready();
    let ended = daemon.wait(&shutdown).await;
    service::stopping();
    let drained = daemon.stop(&shutdown).await;
    ended.and(drained)
}

/// The running tasks.
struct Daemon {
    store: Store,
    recorder: RecorderHandle,
    /// The poller, the pruner, the renewer, and who tells the service manager.
    polling: JoinSet<TaskResult>,
    recording: JoinSet<TaskResult>,
    /// The dispatchers.
    sending: JoinSet<TaskResult>,
    /// The HTTP servers. They stop with the poller.
    serving: JoinSet<()>,
    stop_polling: CancellationToken,
    stop_sending: CancellationToken,
    /// The database's file is no longer there.
    gone: CancellationToken,
    /// Held until everything is closed.
    _lock: DatabaseLock,
}

impl Daemon {
    async fn start(
        settings: &Settings,
        prepared: Prepared,
        store: Store,
        lock: DatabaseLock,
        reload: Arc<Notify>,
    ) -> Result<Self, DaemonError> {
        let clock = Arc::new(Clock::default());
        let (listener, metrics_listener) = (
            listen("http.listen", settings.http.listen).await?,
            listen("http.metrics_listen", settings.http.metrics_listen).await?,
        );
        store.require_upstream(&settings.upstream.base_url, clock.now()).await?;
        store.explain_anew(&settings.policy.catalogue).await?;
        store.follow_renewal(&settings.policy.renewal).await?;
        follow_absent_clock(&store, &clock, settings.policy.backoff.max_interval()).await?;
        let serving = settings.serving();
        warn_of_unserved_vats(store.assign_credentials(&serving).await?);
        let gates = stored_gates(&store, settings, clock.now()).await?;
        warn_of_orphaned_sinks(&store, settings).await?;

        let monitor = Monitor::new(
            settings.credentials.iter().map(|credential| credential.name.clone()).collect(),
            settings.routes().into_iter().map(|route| route.sink).collect(),
            clock.now(),
        );
        let polls = Arc::new(InFlight::default());
        let sinks: BTreeMap<String, (Arc<InFlight>, Arc<Notify>)> =
            settings.routes().into_iter().map(|route| (route.sink, Default::default())).collect();
        let wakers = Wakers {
            poller: Arc::default(),
            sinks: sinks.values().map(|(_, wake)| Arc::clone(wake)).collect(),
        };
        let gone = CancellationToken::new();
        let (recorder, recorder_handle) = Recorder::new(RecorderParts {
            store: store.clone(),
            clock: Arc::clone(&clock),
            polls: Arc::clone(&polls),
            sinks: sinks.iter().map(|(sink, (in_flight, _))| (sink.clone(), Arc::clone(in_flight))).collect(),
            wakers: wakers.clone(),
            monitor: Arc::clone(&monitor),
            gone: gone.clone(),
        });

        let (stop_polling, stop_sending) = (CancellationToken::new(), CancellationToken::new());
        let mut outlets: Vec<(Sink, String, Duration)> = prepared
            .senders
            .into_iter()
            .map(|(sender, name, retry_for)| (Sink::Webhook(sender), name, retry_for))
            .collect();
        if settings.events_log {
            // A line is tried for as long as there is a standard output.
            outlets.push((Sink::Log(LogSink), LOG_SINK.to_owned(), Duration::MAX));
        }
        let mut sending = JoinSet::new();
        for (sink, name, retry_for) in outlets {
            let (in_flight, wake) = sinks.get(&name).cloned().unwrap_or_default();
            let dispatcher = Dispatcher::new(DispatcherParts {
                name,
                sink,
                retry_for,
                drain_for: DRAIN_DELIVERIES,
                store: store.clone(),
                clock: Arc::clone(&clock),
                recorder: recorder_handle.clone(),
                in_flight,
                wake,
                monitor: Arc::clone(&monitor),
            });
            sending.spawn(dispatcher.run(stop_sending.clone()));
        }
        let mut polling = JoinSet::new();
        // It stops with the poller: nothing hangs on its last round.
        let pruner = Pruner::new(store.clone(), Arc::clone(&clock), settings.retention);
        let stop_pruning = stop_polling.clone();
        polling.spawn(async move {
            pruner.run(stop_pruning).await;
            Ok(())
        });
        let renewer =
            Renewer::new(store.clone(), Arc::clone(&clock), settings.policy.renewal.clone(), wakers.clone());
        let stop_renewing = stop_polling.clone();
        polling.spawn(async move {
            renewer.run(stop_renewing).await;
            Ok(())
        });
        let watch = ServiceWatch::new(store.clone(), Arc::clone(&clock), Arc::clone(&monitor));
        let stop_watch = stop_polling.clone();
        polling.spawn(async move {
            watch.run(stop_watch).await;
            Ok(())
        });
        let poller = Poller::new(PollerParts {
            policy: settings.policy.clone(),
            serving,
            drain_for: DRAIN_POLLS,
            store: store.clone(),
            client: prepared.client,
            tokens: prepared.tokens,
            clock: Arc::clone(&clock),
            gates,
            recorder: recorder_handle.clone(),
            in_flight: polls,
            wake: Arc::clone(&wakers.poller),
            reload,
            monitor: Arc::clone(&monitor),
        });
        polling.spawn(poller.run(stop_polling.clone()));
        let mut recording = JoinSet::new();
        recording.spawn(async move {
            recorder.run().await;
            Ok(())
        });
        let parts = ApiParts { store: store.clone(), clock, monitor, wakers, token: prepared.http_token };
        let api = Api::new(settings, parts);
        let mut serving = JoinSet::new();
        if let Some(listener) = listener {
            tracing::info!(address = %listener.address, "the status page and the API are on http://{}/", listener.address);
            serving.spawn(api::serve(listener, api.router(), stop_polling.clone()));
        }
        if let Some(listener) = metrics_listener {
            tracing::info!(address = %listener.address, "probes and metrics are on http://{}/metrics", listener.address);
            serving.spawn(api::serve(listener, api.probe_router(), stop_polling.clone()));
        }
        tracing::info!(
            database = %store.path().display(),
            upstream = %settings.upstream.base_url,
            version = env!("CARGO_PKG_VERSION"),
            "pcsid-watch {} polls {} and records in {}",
            env!("CARGO_PKG_VERSION"),
            settings.upstream.base_url,
            store.path().display()
        );
        Ok(Self {
            store,
            recorder: recorder_handle,
            polling,
            recording,
            sending,
            serving,
            stop_polling,
            stop_sending,
            gone,
            _lock: lock,
        })
    }

    /// Waits for the word to stop, or for a task that ends without it.
    async fn wait(&mut self, shutdown: &Shutdown) -> Result<(), DaemonError> {
        let (task, ended) = tokio::select! {
            () = shutdown.stop.cancelled() => return Ok(()),
            () = self.gone.cancelled() => {
                return Err(DaemonError::DatabaseGone { path: self.store.path().to_owned() });
            }
            ended = self.polling.join_next() => ("poller, the pruner, the renewer or the service watch", ended),
            ended = self.recording.join_next() => ("recorder", ended),
            Some(ended) = self.sending.join_next() => ("dispatcher", Some(ended)),
            Some(ended) = self.serving.join_next() => ("HTTP server", Some(ended.map(Ok))),
        };
        // A task that died, or one whose own task died.
        let source = ended.and_then(|ended| ended.and_then(|result| result).err());
        Err(DaemonError::TaskEnded { task, source })
    }

    /// Stops in the order in which answers travel: poller, recorder, dispatchers, recorder again. Each has its
    /// share of the time; the tasks keep to it, but they wait for the recorder, which may be waiting for a disk.
    async fn stop(self, shutdown: &Shutdown) -> Result<(), DaemonError> {
        let Self { store, recorder, mut polling, mut recording, mut sending, .. } = self;
        let began_at = Instant::now();
        let drain = async {
            self.stop_polling.cancel();
            all_ended(&mut polling, began_at + POLLS_DRAINED).await;
            let flushed = tokio::time::timeout_at(began_at + RECORDS_FLUSHED, recorder.flush()).await;
            self.stop_sending.cancel();
            all_ended(&mut sending, began_at + DELIVERIES_DRAINED).await;
            drop(recorder);
            match (flushed, all_ended(&mut recording, began_at + RECORDS_DRAINED).await) {
                (Ok(()), Ended::All) => Ok(()),
                _ => Err(DaemonError::NotDrained),
            }
        };
        let drained = tokio::select! {
            drained = drain => drained,
            () = shutdown.hurry.cancelled() => Err(DaemonError::NotDrained),
        };
        if tokio::time::timeout(CLOSE, store.close()).await.is_err() {
            tracing::warn!("the database was left without being closed; the next start recovers it");
        }
        tracing::info!("stopped");
        drained
    }
}

async fn listen(key: &'static str, address: Option<SocketAddr>) -> Result<Option<Listener>, ListenError> {
    match address {
        Some(address) => Ok(Some(Listener::bind(key, address).await?)),
        None => Ok(None),
    }
}

/// How waiting for tasks came out.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    All,
    NotAll,
}

/// Waits for all of these tasks until the deadline. Why one ended badly has been found out by `wait`.
async fn all_ended(tasks: &mut JoinSet<TaskResult>, deadline: Instant) -> Ended {
    let all = async { while tasks.join_next().await.is_some() {} };
    match tokio::time::timeout_at(deadline, all).await {
        Ok(()) => Ended::All,
        Err(_) => Ended::NotAll,
    }
}

/// Moves the schedule along where the clock must have jumped while no daemon ran, and pulls in what a command
/// planned under a wrong clock.
async fn follow_absent_clock(store: &Store, clock: &Clock, max_interval: Duration) -> Result<(), StoreError> {
    let now = clock.now();
    if let Some(delta_ms) = store.last_beat().await?.and_then(|beat| clock::jump_since(beat, now)) {
        tracing::warn!(
            delta_ms,
            "the wall clock is {} s away from the daemon's last sign of life: taken for a clock that jumped, the \
             schedule moves along and no activity expires for it",
            delta_ms / 1_000
        );
        store.record(&[Record::ClockJump { delta_ms, now }, Record::Heartbeat(now)]).await?;
    }
    let n_pulled_in = store.pull_in(now, max_interval).await?;
    if n_pulled_in > 0 {
        tracing::info!(n_pulled_in, "{n_pulled_in} polls lay beyond schedule.max_interval and are due now");
    }
    Ok(())
}

/// The gates and quotas as the last run left them.
async fn stored_gates(store: &Store, settings: &Settings, now: Timestamp) -> Result<Gates, StoreError> {
    let last_requests = store.last_requests().await?;
    let quota = |credential: &CredentialSettings| {
        let idle = last_requests.get(&credential.name).map_or(Duration::MAX, |last| now.since(*last));
        // Requests are noted once a second.
        let idle = idle.saturating_sub(Duration::from_secs(1));
        Quota::new(credential.requests_per_minute, idle, std::time::Instant::now())
    };
    let quotas = settings.credentials.iter().map(|credential| (credential.name.clone(), quota(credential)));
    let mut gates = Gates::new(settings.policy.backoff.clone(), settings.upstream.max_in_flight, quotas);
    for gate in store.gates().await? {
        gates.restore(gate.scope, gate.hold, gate.paused_until, now);
    }
    Ok(gates)
}

/// Says which VATs no credential serves: the first few, and how many more there are.
fn warn_of_unserved_vats((vats, n_vats): (Vec<Vat>, u64)) {
    for vat in &vats {
        tracing::warn!(vat = %vat, "no configured credential serves VAT {vat}: its activities are not polled");
    }
    let n_more = n_vats.saturating_sub(vats.len() as u64);
    if n_more > 0 {
        tracing::warn!(
            n_more,
            "no configured credential serves {n_more} other VATs: their activities are not polled"
        );
    }
}

/// Events for a sink that is no longer configured stay pending: say so, for nobody will send them.
async fn warn_of_orphaned_sinks(store: &Store, settings: &Settings) -> Result<(), StoreError> {
    let known: Vec<String> = settings.routes().into_iter().map(|route| route.sink).collect();
    for sink in store.sinks_with_pending_deliveries().await? {
        if !known.contains(&sink) {
            tracing::warn!(
                sink = %sink,
                "undelivered events wait for {sink}, which is no longer configured: they wait until it is"
            );
        }
    }
    Ok(())
}
