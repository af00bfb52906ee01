//! The composition root: builds the tasks, runs them until stopped, and stops them in the right order.
//!
//! A start first checks what it can check without changing anything ([`Prepared`]): secrets, certificates, proxies.
//! Then it opens the database, listens, begins to work, and says that it is ready. An error on the way ends the start,
//! with exit code 2 if the configuration has to be changed. Only a database server that can't be reached yet is waited
//! for.
//!
//! `supervisor` runs the work. On SQLite one supervisor lasts as long as the daemon; on PostgreSQL a new one begins
//! after each lost connection. HTTP and the messages to the service manager run beside it, so that they report what is
//! wrong meanwhile. HTTP has threads of its own: a slow page delays no poll, and a busy poller delays no probe. A task
//! that ends unasked ends the daemon, with exit code 1.

mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api, ApiParts, Bounds, HttpToken, HttpTokenError, ListenError, Listener};
use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::service::{self, ServiceWatch};
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::store::{Address, Store, StoreError};
use crate::threads;
use crate::transport::proxy::{self, UnusableProxy};
use crate::upstream::{Client, ClientError, TokenError, Tokens};
use crate::wakers::Wakers;
use crate::webhook::{Sender, SenderError};
use supervisor::{Shared, Supervisor, SupervisorEnd};

/// First and longest wait before a server that can't be reached is tried again.
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
const RECONNECT_LONGEST: Duration = Duration::from_secs(5);

/// How long closing the database may take after everything has stopped.
const CLOSE: Duration = Duration::from_millis(400);

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
    /// The environment names a proxy that can't be used.
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
    /// More requests at a time than the process may have files open.
    #[error(
        "upstream.max_in_flight: {n_requests} requests at a time need at least {needed} file descriptors, and this process \
         may have {limit} (`ulimit -Hn`, LimitNOFILE): raise that limit, or lower upstream.max_in_flight"
    )]
    TooFewDescriptors {
        /// As many as the configuration allows, of all credentials that one process may ask with.
        n_requests: usize,
        /// How many files it needs at least.
        needed: u64,
        /// How many the process may have open.
        limit: u64,
    },
    /// The token for HTTP can't be used.
    #[error(transparent)]
    HttpToken(#[from] HttpTokenError),
    /// An address for HTTP can't be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The threads for HTTP can't be started.
    #[error(
        "the threads for HTTP can't be started; this user or service may have no more (`ulimit -u`, TasksMax)"
    )]
    Threads(#[source] std::io::Error),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task ended unexpectedly, which is a defect of this program.
    #[error("the {task} ended unexpectedly; what was in progress is still due, and a restart continues it")]
    TaskEnded {
        /// Which one.
        task: &'static str,
        /// How it died, if it did.
        #[source]
        source: Option<JoinError>,
    },
    /// The last answers could not be written before the time for stopping ran out.
    #[error(
        "not everything could be written while stopping; activities whose answers are missing are still due, and \
         events that were sent may be sent again under the same ids"
    )]
    NotDrained,
}

impl DaemonError {
    /// Whether the configuration has to be changed.
    pub fn is_configuration(&self) -> bool {
        match self {
            DaemonError::NoCredentials { .. }
            | DaemonError::Token(_)
            | DaemonError::Webhook(_)
            | DaemonError::Client(_)
            | DaemonError::Proxy(_)
            | DaemonError::TooFewDescriptors { .. }
            | DaemonError::HttpToken(_) => true,
            DaemonError::Store(err) => err.is_configuration(),
            DaemonError::Listen(err) => err.is_configuration(),
            DaemonError::Threads(_) | DaemonError::TaskEnded { .. } | DaemonError::NotDrained => false,
        }
    }
}

/// Everything that can be wrong with a start, checked before anything is changed.
#[derive(Debug)]
pub struct Prepared {
    tokens: Tokens,
    client: Client,
    http_token: Option<HttpToken>,
}

impl Prepared {
    /// Reads the secrets and sets up the clients, for `run` and for `config check`.
    ///
    /// # Errors
    /// The first thing that can't be used.
    pub fn new(settings: &Settings) -> Result<Self, DaemonError> {
        if settings.credentials.is_empty() {
            return Err(DaemonError::NoCredentials { origin: settings.origin() });
        }
        proxy::check()?;
        for webhook in &settings.webhooks {
            Sender::new(webhook)?;
        }
        Ok(Self {
            tokens: Tokens::read(&settings.credentials)?,
            client: Client::new(&settings.upstream)?,
            http_token: settings
                .http
                .token
                .clone()
                .map(|source| HttpToken::read(source, settings.http.token_min_bytes))
                .transpose()?,
        })
    }
}

/// Runs the daemon in the foreground until it is told to stop.
///
/// # Errors
/// If it can't start, if a task ends unasked, or if the last records could not be written.
pub async fn run(settings: &Settings, shutdown: Shutdown) -> Result<(), DaemonError> {
    let prepared = Prepared::new(settings)?;
    have_descriptors(settings)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let Some(store) = open_database(settings, &shutdown).await? else { return Ok(()) };
    let clock = Arc::new(Clock::default());
    let threads = HttpThreads::start()?;
    let (listener, metrics_listener) = (
        threads.listen("http.listen", settings.http.listen).await?,
        threads.listen("http.metrics_listen", settings.http.metrics_listen).await?,
    );
    let monitor = Monitor::new(
        settings.credentials.iter().map(|credential| credential.name.clone()).collect(),
        settings.routes().into_iter().map(|route| route.sink).collect(),
        clock.now(),
    );
    let shared = Shared {
        settings,
        store,
        tokens: prepared.tokens,
        client: prepared.client,
        clock,
        monitor,
        wakers: Wakers::default(),
        reload: Arc::clone(&shutdown.reload),
    };
    let first = tokio::select! {
        first = first_supervisor(&shared) => first?,
        () = shutdown.stop.cancelled() => {
            stopped_early();
            return Ok(());
        }
    };
    let mut servers = Servers::start(&shared, &threads, listener, metrics_listener, prepared.http_token);
    tracing::info!(
        database = %shared.store,
        upstream = %settings.upstream.base_url,
        version = env!("CARGO_PKG_VERSION"),
        "pcsid-watch {} polls {} and records in {}",
        env!("CARGO_PKG_VERSION"),
        settings.upstream.base_url,
        shared.store
    );
    service::ready();
    let ended = tokio::select! {
        ended = work(&shared, first, &shutdown) => ended,
        ended = servers.ended() => Err(ended),
    };
    servers.stop();
    if matches!(&ended, Err(DaemonError::Store(err)) if err.forbids_writing()) {
        return ended;
    }
    if tokio::time::timeout(CLOSE, shared.store.close()).await.is_err() {
        tracing::warn!("the database was not closed in time; the next start recovers it");
    }
    tracing::info!("stopped");
    ended
}

/// Opens the database; `None` if the daemon was stopped meanwhile. A migration of a large database takes minutes. Each
/// of its steps is one transaction, which a stop may cut off.
async fn open_database(settings: &Settings, shutdown: &Shutdown) -> Result<Option<Store>, DaemonError> {
    tokio::select! {
        opened = Store::open_as_daemon(&settings.database, settings.routes()) => Ok(Some(opened?)),
        () = shutdown.stop.cancelled() => {
            stopped_early();
            Ok(None)
        }
    }
}

/// Before anything was asked for. What is dropped in the middle is a transaction, which is undone.
fn stopped_early() {
    tracing::info!("stopped while the database was opened; the next start goes on with it");
}

/// Begins to work; `None` if the database server can't be reached yet, which is waited for. Any other error is
/// permanent and ends the start.
async fn first_supervisor<'a>(shared: &'a Shared<'a>) -> Result<Option<Supervisor<'a>>, DaemonError> {
    match Supervisor::begin(shared).await {
        Ok(supervisor) => Ok(Some(supervisor)),
        Err(DaemonError::Store(err)) if err.is_absence() && shared.store.is_shared() => {
            say_lost(&err);
            shared.monitor.lost(&err);
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

/// File descriptors that are not for requests in flight: the database, the log, and a few connections of people.
const OTHER_DESCRIPTORS: u64 = 64;

/// How many requests one process may have in flight.
fn most_in_flight(settings: &Settings) -> usize {
    // On a server each credential has a poller, and one process may have them all.
    let n_pollers = match settings.database {
        Address::Sqlite(_) => 1,
        #[cfg(feature = "postgres")]
        Address::Postgres(_) => settings.credentials.len(),
    };
    n_pollers * settings.upstream.max_in_flight
}

/// Raises the limit of open files as far as allowed, since services are often started with 1,024. With too few,
/// requests would fail and it would look like upstream's fault.
///
/// # Errors
/// If that is not enough.
pub fn have_descriptors(settings: &Settings) -> Result<(), DaemonError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let n_requests = most_in_flight(settings);
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If a sandbox forbids it, the check below uses the old limit.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = n_requests as u64 + OTHER_DESCRIPTORS;
    if limit < needed {
        return Err(DaemonError::TooFewDescriptors { n_requests, needed, limit });
    }
    Ok(())
}

/// Runs one supervisor after the other until told to stop. Only on a server is there a second one.
async fn work(
    shared: &Shared<'_>,
    mut next: Option<Supervisor<'_>>,
    shutdown: &Shutdown,
) -> Result<(), DaemonError> {
    let mut wait = RECONNECT_FIRST;
    loop {
        let Some(mut supervisor) = next.take() else {
            tokio::select! {
                () = shutdown.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            }
            let begun = tokio::select! {
                begun = Supervisor::begin(shared) => begun,
                () = shutdown.stop.cancelled() => return Ok(()),
            };
            match begun {
                Ok(begun) => {
                    tracing::info!(database = %shared.store, "the database is reached again");
                    wait = RECONNECT_FIRST;
                    next = Some(begun);
                }
                Err(DaemonError::Store(err)) => {
                    tracing::debug!(
                        error = &err as &dyn std::error::Error,
                        "the database can't be reached yet"
                    );
                    shared.monitor.lost(&err);
                    wait = (wait * 2).min(RECONNECT_LONGEST);
                }
                Err(err) => return Err(err),
            }
            continue;
        };
        let ended = supervisor.run(shutdown).await;
        match ended {
            Ok(SupervisorEnd::Lost(lost)) if shared.store.is_shared() => {
                say_lost(&lost);
                supervisor.give_up(&lost).await;
            }
            Ok(SupervisorEnd::Lost(lost)) if lost.forbids_writing() => {
                service::stopping();
                shared.store.leave_as_it_is(&lost);
                supervisor.give_up(&lost).await;
                return Err(lost.into());
            }
            ended => {
                service::stopping();
                let drained = tokio::select! {
                    drained = supervisor.stop() => drained,
                    () = shutdown.hurry.cancelled() => Err(DaemonError::NotDrained),
                };
                return match ended {
                    Ok(SupervisorEnd::Stop) => drained,
                    Ok(SupervisorEnd::Lost(lost)) => Err(lost.into()),
                    Err(err) => Err(err),
                };
            }
        }
    }
}

fn say_lost(err: &StoreError) {
    let error = err as &dyn std::error::Error;
    tracing::error!(
        error,
        "{err}; nothing is polled or sent from here until it is reached; it is tried again and again"
    );
}

/// What runs regardless of the work that is held: the HTTP servers and the messages to the service manager.
struct Servers {
    http: JoinSet<()>,
    watch: JoinSet<()>,
    stop: CancellationToken,
}

impl Servers {
    fn start(
        shared: &Shared<'_>,
        threads: &HttpThreads,
        listener: Option<Listener>,
        metrics_listener: Option<Listener>,
        token: Option<HttpToken>,
    ) -> Self {
        let stop = CancellationToken::new();
        let (clock, monitor) = (Arc::clone(&shared.clock), Arc::clone(&shared.monitor));
        let watch_clock = Arc::clone(&clock);
        let service_watch = ServiceWatch::new(shared.store.reports(), watch_clock, Arc::clone(&monitor));
        let mut watch = JoinSet::new();
        watch.spawn(service_watch.run(stop.clone()));
        let parts =
            ApiParts { store: shared.store.clone(), clock, monitor, wakers: shared.wakers.clone(), token };
        let api = Api::new(shared.settings, parts);
        let mut http = JoinSet::new();
        if let Some(listener) = listener {
            tracing::info!(address = %listener.address, "the status page and the API are on http://{}/", listener.address);
            let (router, spare) = (api.router(), api.spare_router());
            http.spawn_on(
                api::serve(listener, Bounds::default(), router, spare, stop.clone()),
                &threads.handle,
            );
        }
        if let Some(listener) = metrics_listener {
            tracing::info!(address = %listener.address, "probes and metrics are on http://{}/metrics", listener.address);
            let (router, spare) = (api.probe_router(), api.probe_router());
            http.spawn_on(
                api::serve(listener, Bounds::default(), router, spare, stop.clone()),
                &threads.handle,
            );
        }
        Self { http, watch, stop }
    }

    /// Waits until one of them ends, which none should do by itself.
    async fn ended(&mut self) -> DaemonError {
        let (task, ended) = tokio::select! {
            Some(ended) = self.http.join_next() => ("HTTP server", ended),
            Some(ended) = self.watch.join_next() => ("service watch", ended),
            else => return std::future::pending().await,
        };
        DaemonError::TaskEnded { task, source: ended.err() }
    }

    /// Ends them. Requests that are under way have a moment to end.
    fn stop(self) {
        self.stop.cancel();
    }
}

/// The threads that serve HTTP. Connections that were opened on them stay usable until this is dropped.
struct HttpThreads {
    handle: Handle,
    /// Taken when dropped.
    runtime: Option<Runtime>,
}

impl HttpThreads {
    fn start() -> Result<Self, DaemonError> {
        let runtime = threads::runtime(Builder::new_multi_thread().thread_name("http"));
        let runtime = runtime.map_err(DaemonError::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Listens there, so that these threads are told of new connections.
    async fn listen(
        &self,
        key: &'static str,
        address: Option<SocketAddr>,
    ) -> Result<Option<Listener>, DaemonError> {
        let Some(address) = address else { return Ok(None) };
        match self.handle.spawn(Listener::bind(key, address)).await {
            Ok(listener) => Ok(Some(listener?)),
            Err(source) => Err(DaemonError::TaskEnded { task: "HTTP server", source: Some(source) }),
        }
    }
}

impl Drop for HttpThreads {
    fn drop(&mut self) {
        // Waiting for them would panic inside another runtime, and is not needed: requests have ended or had their
        // time.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
