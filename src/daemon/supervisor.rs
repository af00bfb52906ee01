//! The supervisor starts and stops the tasks for the work that a daemon holds: one for each piece, and one recorder for
//! all.
//!
//! A file has one daemon, which holds everything from the start. On a server each daemon holds a part, which changes as
//! other daemons come and go. If its connection is lost, it holds nothing from then on, and this supervisor ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use super::DaemonError;
use crate::clock::{self, Clock};
use crate::domain::activity::Vat;
use crate::domain::gate::{Gates, Scope};
use crate::domain::quota::Quota;
use crate::domain::routing::LOG_SINK;
use crate::domain::time::Timestamp;
use crate::monitor::Monitor;
use crate::service;
use crate::settings::{CredentialSettings, Settings};
use crate::shutdown::Shutdown;
use crate::store::{Duties, Jump, Member, News, Piece, Record, Store, StoreError, Work};
use crate::upstream::{Client, Tokens};
use crate::wakers::Wakers;
use crate::webhook::Sender;
use crate::worker::{
    Dispatcher, DispatcherParts, LogSink, Poller, PollerParts, Pruner, Recorder, RecorderHandle,
    RecorderParts, Renewer, Sink,
};

/// How long to wait for requests in flight when stopping, and how long due events are still sent.
const DRAIN_POLLS: Duration = Duration::from_secs(4);
const DRAIN_DELIVERIES: Duration = Duration::from_millis(1_300);

/// How long to wait for requests in flight when another daemon waits for the piece.
const HAND_POLLS_OVER: Duration = Duration::from_millis(1_500);

/// When each step of stopping has to be over, counted from its beginning. A service manager is promised ten
/// seconds in all.
const POLLS_DRAINED: Duration = Duration::from_millis(4_200);
const RECORDS_FLUSHED: Duration = Duration::from_millis(4_700);
const DELIVERIES_DRAINED: Duration = Duration::from_millis(6_000);
const RECORDS_DRAINED: Duration = Duration::from_millis(6_500);

/// Pause before work is taken up again after the database could not be used.
const TAKE_UP_AGAIN: Duration = Duration::from_secs(1);

/// How long the results of an ended task may take to be recorded before its piece is given away.
const HANDED_OVER: Duration = Duration::from_secs(5);

/// How a task ends: as asked, or because a task that it runs has died.
type TaskResult = Result<(), JoinError>;

/// What every supervisor of a daemon works with.
pub(super) struct Shared<'a> {
    pub(super) settings: &'a Settings,
    pub(super) store: Store,
    pub(super) tokens: Tokens,
    pub(super) client: Client,
    pub(super) clock: Arc<Clock>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) wakers: Wakers,
    pub(super) reload: Arc<Notify>,
}

/// Runs the tasks for the work that this daemon holds. [`Supervisor::begin`] joins the other daemons, [`Supervisor::run`]
/// works until a stop or a loss of the database. After that [`Supervisor::stop`] records what is under way and leaves, or
/// [`Supervisor::give_up`] drops it.
pub(super) struct Supervisor<'a> {
    shared: &'a Shared<'a>,
    member: Member,
    recorder: RecorderHandle,
    recording: JoinSet<()>,
    /// Pollers and the upkeep; dispatchers are apart, because they stop later.
    polling: JoinSet<(Piece, TaskResult)>,
    sending: JoinSet<(Piece, TaskResult)>,
    running: BTreeMap<Piece, Running>,
}

/// A piece that is being worked on.
struct Running {
    stop: CancellationToken,
    /// Makes a poller read its tokens again.
    reload: Option<Arc<Notify>>,
}

/// Why a supervisor ended.
pub(super) enum SupervisorEnd {
    /// It was asked to stop.
    Stop,
    /// Its database is lost.
    Lost(StoreError),
}

impl<'a> Supervisor<'a> {
    /// Joins the daemons of the database, brings the database up to date, and starts the recorder.
    ///
    /// # Errors
    /// If the database can't be used, now or ever.
    pub(super) async fn begin(shared: &'a Shared<'a>) -> Result<Self, DaemonError> {
        let settings = shared.settings;
        let duties = Duties {
            credentials: settings.credentials.iter().map(|credential| credential.name.clone()).collect(),
            sinks: settings.routes().into_iter().map(|route| route.sink).collect(),
        };
        let member = shared.store.join(&duties, &shared.clock).await?;
        prepare(shared, member.work()).await?;
        let (recorder, handle) = Recorder::new(RecorderParts {
            work: member.work().clone(),
            clock: Arc::clone(&shared.clock),
            monitor: Arc::clone(&shared.monitor),
        });
        let mut recording = JoinSet::new();
        recording.spawn(recorder.run());
        shared.monitor.works_again();
        Ok(Self {
            shared,
            member,
            recorder: handle,
            recording,
            polling: JoinSet::new(),
            sending: JoinSet::new(),
            running: BTreeMap::new(),
        })
    }

    /// Works until told to stop, or until the database is lost.
    ///
    /// # Errors
    /// If a task ends unasked, which is a defect.
    pub(super) async fn run(&mut self, shutdown: &Shutdown) -> Result<SupervisorEnd, DaemonError> {
        let died = |task, source| Err(DaemonError::TaskEnded { task, source });
        loop {
            tokio::select! {
                () = shutdown.stop.cancelled() => return Ok(SupervisorEnd::Stop),
                () = self.member.wait() => for news in self.member.act().await {
                    if let Some(lost) = self.follow(news, shutdown).await? {
                        return Ok(SupervisorEnd::Lost(lost));
                    }
                },
                Some(ended) = self.polling.join_next() => match self.free(ended).await {
                    Ok(None) => {}
                    Ok(Some(lost)) => return Ok(SupervisorEnd::Lost(lost)),
                    Err(source) => return died("poller or the upkeep", source),
                },
                Some(ended) = self.sending.join_next() => match self.free(ended).await {
                    Ok(None) => {}
                    Ok(Some(lost)) => return Ok(SupervisorEnd::Lost(lost)),
                    Err(source) => return died("dispatcher", source),
                },
                ended = self.recording.join_next() => {
                    return died("recorder", ended.and_then(Result::err));
                }
                () = self.shared.reload.notified() => self.reload(),
            }
        }
    }

    /// Acts on news of the database. Returns why the database is lost, if it is.
    async fn follow(&mut self, news: News, shutdown: &Shutdown) -> Result<Option<StoreError>, DaemonError> {
        match news {
            News::Changed => self.shared.wakers.wake_all(),
            News::Events => self.shared.wakers.wake_sinks(),
            News::Gained(piece) => {
                self.shared.monitor.holds(&piece, true);
                return self.take_up_when_it_can(&piece, shutdown).await;
            }
            News::Asked(piece) => match self.running.get(&piece) {
                Some(running) => running.stop.cancel(),
                None => return Ok(self.member.free(&piece).await.err()),
            },
            News::Lost(lost) => return Ok(Some(lost)),
        }
        Ok(None)
    }

    /// Begins to work on a piece. While a database file is locked or its disk is full, it is tried again; a server that
    /// fails is lost.
    async fn take_up_when_it_can(
        &mut self,
        piece: &Piece,
        shutdown: &Shutdown,
    ) -> Result<Option<StoreError>, DaemonError> {
        let mut told = None;
        loop {
            let taken_up = tokio::select! {
                taken_up = self.take_up(piece) => taken_up,
                () = shutdown.stop.cancelled() => return Ok(None),
            };
            match taken_up {
                Ok(()) => {
                    if told.is_some() {
                        self.shared.monitor.schedule_read(true);
                        tracing::info!("the database can be used");
                    }
                    return Ok(None);
                }
                Err(DaemonError::Store(err)) if self.shared.store.is_shared() => return Ok(Some(err)),
                Err(DaemonError::Store(err @ StoreError::Query { .. })) if err.may_pass() => {
                    // Nothing is polled meanwhile, so the daemon is not ready.
                    self.shared.monitor.schedule_read(false);
                    let sentence = err.to_string();
                    if told.as_ref() != Some(&sentence) {
                        let error = &err as &dyn std::error::Error;
                        tracing::warn!(error, "{err}; polling and sending begin when it can be used");
                        told = Some(sentence);
                    }
                }
                Err(err) => return Err(err),
            }
            tokio::select! {
                () = shutdown.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(TAKE_UP_AGAIN) => {}
            }
        }
    }

    /// Begins to work on a piece.
    async fn take_up(&mut self, piece: &Piece) -> Result<(), DaemonError> {
        let stop = CancellationToken::new();
        let (name, mut running) = (piece.clone(), Running { stop: stop.clone(), reload: None });
        match piece {
            Piece::Polling { credentials, has_unserved } => {
                let reload = Arc::new(Notify::new());
                let poller = self.poller(credentials, *has_unserved, Arc::clone(&reload)).await?;
                running.reload = Some(reload);
                self.polling.spawn(async move { (name, poller.run(stop).await) });
            }
            Piece::Upkeep => {
                let (pruner, renewer) = self.upkeep();
                self.polling.spawn(async move {
                    tokio::join!(pruner.run(stop.clone()), renewer.run(stop));
                    (name, Ok(()))
                });
            }
            Piece::Sink(sink) => {
                let Some(dispatcher) = self.dispatcher(sink)? else { return Ok(()) };
                self.sending.spawn(async move { (name, dispatcher.run(stop).await) });
            }
        }
        self.running.insert(piece.clone(), running);
        Ok(())
    }

    /// A poller of these credentials, as the last run left them.
    async fn poller(
        &self,
        credentials: &[String],
        has_unserved: bool,
        reload: Arc<Notify>,
    ) -> Result<Poller, StoreError> {
        let Shared { settings, clock, monitor, wakers, .. } = self.shared;
        let (work, now) = (self.member.work(), clock.now());
        let n_pulled_in = work.pull_in(now, settings.policy.backoff.max_interval()).await?;
        if n_pulled_in > 0 {
            tracing::info!(
                n_pulled_in,
                "{n_pulled_in} polls lay beyond schedule.max_interval and are due now"
            );
        }
        Ok(Poller::new(PollerParts {
            policy: settings.policy.clone(),
            serving: settings.serving(),
            drain_for: if self.shared.store.is_shared() { HAND_POLLS_OVER } else { DRAIN_POLLS },
            polls: work.polls(credentials, has_unserved),
            client: self.shared.client.clone(),
            tokens: self.shared.tokens.of(credentials),
            clock: Arc::clone(clock),
            gates: stored_gates(work, settings, credentials, now).await?,
            recorder: self.recorder.clone(),
            wake: wakers.poller(),
            reload,
            monitor: Arc::clone(monitor),
        }))
    }

    /// What keeps the database small, and what reminds of certificates.
    fn upkeep(&self) -> (Pruner, Renewer) {
        let Shared { settings, clock, wakers, .. } = self.shared;
        let upkeep = || self.member.work().upkeep();
        let renewal = settings.policy.renewal.clone();
        (
            Pruner::new(upkeep(), Arc::clone(clock), settings.retention),
            Renewer::new(upkeep(), Arc::clone(clock), renewal, wakers.clone()),
        )
    }

    /// A dispatcher of this sink; `None` if the sink is no longer configured.
    fn dispatcher(&self, name: &str) -> Result<Option<Dispatcher>, DaemonError> {
        let Shared { settings, clock, monitor, wakers, .. } = self.shared;
        let Some((sink, retry_for)) = outlet(settings, name)? else { return Ok(None) };
        Ok(Some(Dispatcher::new(DispatcherParts {
            name: name.to_owned(),
            sink,
            retry_for,
            drain_for: DRAIN_DELIVERIES,
            deliveries: self.member.work().deliveries(name),
            clock: Arc::clone(clock),
            recorder: self.recorder.clone(),
            wake: wakers.sink(),
            monitor: Arc::clone(monitor),
        })))
    }

    /// A task has ended. If its piece was asked back, its results are recorded and the piece is freed. Any other end is
    /// a defect. Nobody would work on a piece that can't be freed. If there is one, the database counts as lost, and a new
    /// beginning frees all pieces. Returns why, if so.
    async fn free(
        &mut self,
        ended: Result<(Piece, TaskResult), JoinError>,
    ) -> Result<Option<StoreError>, Option<JoinError>> {
        let (piece, result) = ended.map_err(Some)?;
        result.map_err(Some)?;
        match self.running.remove(&piece) {
            Some(running) if running.stop.is_cancelled() => {}
            _ => return Err(None),
        }
        let flushed = tokio::time::timeout(HANDED_OVER, self.recorder.flush()).await;
        self.shared.monitor.holds(&piece, false);
        match flushed {
            Ok(()) => Ok(self.member.free(&piece).await.err()),
            Err(_) => {
                let cause =
                    format!("what was recorded last could not be written within {} s", HANDED_OVER.as_secs());
                Ok(Some(StoreError::Lost { cause }))
            }
        }
    }

    fn reload(&self) {
        let pollers: Vec<_> = self.running.values().filter_map(|running| running.reload.as_ref()).collect();
        match pollers.is_empty() {
            true => {
                service::reloading();
                service::reloaded();
            }
            false => pollers.into_iter().for_each(|reload| reload.notify_one()),
        }
    }

    /// Gives everything up at once. What was under way can't be recorded and stays due.
    pub(super) async fn give_up(mut self, lost: &StoreError) {
        self.member.give_up();
        self.shared.monitor.lost(lost);
        self.recording.shutdown().await;
        self.polling.shutdown().await;
        // The log sink finishes the line that it is writing.
        self.running.values().for_each(|running| running.stop.cancel());
        let _ = ended_by(&mut self.sending, Instant::now() + DRAIN_DELIVERIES).await;
        self.sending.shutdown().await;
    }

    /// Stops in the order in which answers travel: poller, recorder, dispatchers, recorder again. Each has its
    /// share of the time; the tasks keep to it, but they wait for the recorder, which may be waiting for a disk.
    ///
    /// # Errors
    /// [`DaemonError::NotDrained`] if something could not be written in time.
    pub(super) async fn stop(mut self) -> Result<(), DaemonError> {
        let began_at = Instant::now();
        // If the database is lost, other daemons don't wait for this.
        let _ = self.member.retire().await;
        let stop = |running: &BTreeMap<Piece, Running>, is_sink: bool| {
            let of = running.iter().filter(|(piece, _)| matches!(piece, Piece::Sink(_)) == is_sink);
            of.for_each(|(_, running)| running.stop.cancel());
        };
        stop(&self.running, false);
        let _ = ended_by(&mut self.polling, began_at + POLLS_DRAINED).await;
        let flushed = tokio::time::timeout_at(began_at + RECORDS_FLUSHED, self.recorder.flush()).await;
        if flushed.is_ok() {
            let pieces: Vec<Piece> = self.running.keys().cloned().collect();
            for piece in pieces.iter().filter(|piece| !matches!(piece, Piece::Sink(_))) {
                let _ = self.member.free(piece).await;
            }
        }
        stop(&self.running, true);
        let _ = ended_by(&mut self.sending, began_at + DELIVERIES_DRAINED).await;
        drop(self.recorder);
        let recorded = ended_by(&mut self.recording, began_at + RECORDS_DRAINED).await;
        let drained = flushed.and(recorded).map_err(|_| DaemonError::NotDrained);
        self.member.leave().await;
        drained
    }
}

/// Waits for all of these tasks until the deadline. Those that have not ended by then are dropped with the set.
///
/// # Errors
/// If some have not ended.
async fn ended_by<T: 'static>(tasks: &mut JoinSet<T>, deadline: Instant) -> Result<(), Elapsed> {
    tokio::time::timeout_at(deadline, async { while tasks.join_next().await.is_some() {} }).await
}

/// Where a sink's events go, and how long each is tried; `None` if the sink is no longer configured.
fn outlet(settings: &Settings, name: &str) -> Result<Option<(Sink, Duration)>, DaemonError> {
    if name == LOG_SINK {
        // Standard output is tried without end.
        return Ok(Some((Sink::Log(LogSink::default()), Duration::MAX)));
    }
    match settings.webhooks.iter().find(|webhook| webhook.route.sink == name) {
        Some(webhook) => Ok(Some((Sink::Webhook(Box::new(Sender::new(webhook)?)), webhook.retry_for))),
        None => Ok(None),
    }
}

/// Brings the database up to date before work begins: upstream, clock, explanations, credentials, certificates.
async fn prepare(shared: &Shared<'_>, work: &Work) -> Result<(), DaemonError> {
    let Shared { settings, store, clock, .. } = shared;
    let upkeep = store.upkeep();
    upkeep.require_upstream(&settings.upstream.base_url, clock.now()).await?;
    upkeep.explain_anew(&settings.policy.catalogue).await?;
    upkeep.follow_renewal(&settings.policy.renewal).await?;
    follow_absent_clock(store, work, clock).await?;
    warn_of_unserved_vats(upkeep.assign_credentials(&settings.serving()).await?);
    Ok(warn_of_orphaned_sinks(store, settings).await?)
}

/// Moves the schedule if the clock jumped while no daemon ran.
async fn follow_absent_clock(store: &Store, work: &Work, clock: &Clock) -> Result<(), StoreError> {
    let now = clock.now();
    if let Some(delta_ms) = store.upkeep().last_beat().await?.and_then(|beat| clock::jump_since(beat, now)) {
        tracing::warn!(
            delta_ms,
            "the wall clock is {} s away from the daemon's last sign of life: taken for a clock that jumped, the \
             schedule moves along and no activity expires for it",
            delta_ms / 1_000
        );
        let jump = Jump { delta_ms, now, while_absent: true };
        work.record(&[Record::ClockJump(jump), Record::Heartbeat(now)].into()).await?;
    }
    Ok(())
}

/// The gates and quotas of these credentials as the last run left them.
async fn stored_gates(
    work: &Work,
    settings: &Settings,
    credentials: &[String],
    now: Timestamp,
) -> Result<Gates, StoreError> {
    let last_requests = work.last_requests().await?;
    let quota = |credential: &CredentialSettings| {
        let idle = last_requests.get(&credential.name).map_or(Duration::MAX, |last| now.since(*last));
        // Requests are noted once a second.
        let idle = idle.saturating_sub(Duration::from_secs(1));
        Quota::new(credential.requests_per_minute, idle, std::time::Instant::now())
    };
    let held = settings.credentials.iter().filter(|credential| credentials.contains(&credential.name));
    let quotas = held.map(|credential| (credential.name.clone(), quota(credential)));
    let mut gates = Gates::new(settings.policy.backoff.clone(), settings.upstream.max_in_flight, quotas);
    let serving = settings.serving();
    let is_ours = |vat: &Vat| {
        serving.credential_of(vat).is_some_and(|name| credentials.iter().any(|ours| ours == name))
    };
    for gate in work.gates().await? {
        // On a server other pollers have VATs as well, whose probes are theirs.
        if matches!(&gate.scope, Scope::Vat(vat) if !is_ours(vat)) {
            continue;
        }
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

/// Events for a sink that is no longer configured stay pending: say so, because nothing sends them.
async fn warn_of_orphaned_sinks(store: &Store, settings: &Settings) -> Result<(), StoreError> {
    let known: Vec<String> = settings.routes().into_iter().map(|route| route.sink).collect();
    for sink in store.upkeep().sinks_with_pending_deliveries().await? {
        if !known.contains(&sink) {
            tracing::warn!(
                sink = %sink,
                "undelivered events wait for {sink}, which is no longer configured: they wait until it is"
            );
        }
    }
    Ok(())
}
