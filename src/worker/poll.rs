//! The poller: asks upstream for what is due, as far as gates, quota and slots allow.
//!
//! A thin shell around two pure parts: [`Turns`] says who is next, [`Gates`] who may be asked for. One task owns both,
//! so no lock is needed. Its loop has four steps:
//!
//! 1. **Look.** [`Turns::wanted`] says what to read, [`Polls::look`] reads it, [`Turns::plan`] puts it in order. A look
//!    takes milliseconds and runs beside the loop: requests go on with what the last one found.
//! 2. **Send.** Each claimed activity gets a [`Ticket`] and a task with one bounded request. Its gate is checked once
//!    more, since it may have closed after the claim.
//! 3. **Settle.** An answer goes through `classify` (what does it mean?), [`Gates::settle`] (for its credential, its
//!    VAT and upstream as a whole?), [`decide`] (for the activity?) and then to the recorder.
//! 4. **Tick**, once a second: tokens that changed on disk, a wall clock that jumped, and the *sweep*, which lets
//!    activities stall and expire that a closed gate keeps from having a turn.
//!
//! # Rules
//!
//! - A claim is a read. The store knows what is claimed until its record is committed, so no look hands it out again,
//!   and a killed poller leaves nothing to repair.
//! - Everything is bounded: claimed activities that wait for a slot, requests in flight, records on their way
//!   (`QUEUE`), and one place of turns for each credential.
//! - When it asks again is not decided here: [`decide`] sets an activity's next poll, `Turns::wanted` the next look.
//! - What changes while a look is under way asks for another look, and the outdated one may not put anything off.
//!
//! # Rejected
//!
//! A timer for each activity: it grows with what is stored, and a restart forgets it. Several pollers for one
//! credential: they would have to share its quota and gates. Waiting for the record before the next request: a commit
//! costs as long as hundreds of requests.
//!
//! # What can go wrong
//!
//! The database can't be read: polling waits, logs it once, and tries again each second. The recorder can't write: its
//! queue fills, then nothing more is claimed. A request's task panics: the daemon ends, since going on would lose the
//! activity until the next start. While stopping, answers that come too late are dropped; their activities are still
//! due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::RecorderHandle;
use crate::clock::Clock;
use crate::domain::classify::{Observation, classify};
use crate::domain::decide::{Decision, Policy, decide};
use crate::domain::gate::{Gates, LONG_PAUSE, Notice, Passage, Ticket};
use crate::domain::serving::Serving;
use crate::domain::time::{Timestamp, write_duration};
use crate::domain::turns::{BY_AGE, Found, LOOK, Turn, Turns, Wanted};
use crate::monitor::Monitor;
use crate::service;
use crate::store::{Claimed, Jump, PollRecord, Polls, Record, StoreError, Sweep};
use crate::upstream::{Client, LongBody, Tokens};

/// When no more than so many claimed activities wait for a request, the next look begins. It takes a few milliseconds,
/// and requests go on meanwhile.
const READY_LOW: usize = LOOK / 2;

/// Decisions that may wait for the recorder before polling pauses. A conclusion takes some 10 KiB until it is committed, so
/// the daemon's peak memory is made of these. With half as many there are too few to poll on with while one commit of them
/// is under way, with twice as many nothing is faster.
const MOST_UNRECORDED: usize = 768;

/// How often tokens, the clock and overdue activities behind closed gates are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often the time of a credential's last request is recorded, at most.
const NOTE_REQUESTS_EVERY: Duration = Duration::from_secs(1);

/// Shortest wait between two looks of which the first found nothing.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Wait after the database could not be read.
const AFTER_READ_ERROR: Duration = Duration::from_secs(1);

/// What a poller is made of.
#[derive(Debug)]
pub struct PollerParts {
    /// The rules of decisions.
    pub policy: Policy,
    /// Which credential serves which VAT.
    pub serving: Serving,
    /// How long requests on their way are waited for when stopping.
    pub drain_for: Duration,
    /// Where the schedule is read.
    pub polls: Polls,
    /// Asks upstream.
    pub client: Client,
    /// What it asks with.
    pub tokens: Tokens,
    /// The daemon's time.
    pub clock: Arc<Clock>,
    /// As the last run left them.
    pub gates: Gates,
    /// Writes decisions.
    pub recorder: RecorderHandle,
    /// Woken where another process changed the database.
    pub wake: Arc<Notify>,
    /// Asks to read the tokens again at once.
    pub reload: Arc<Notify>,
    /// Counts polls, and learns whether the poller works.
    pub monitor: Arc<Monitor>,
}

/// See the module.
#[derive(Debug)]
pub struct Poller {
    parts: PollerParts,
    /// Boxed, as their tasks are: both are moved several times.
    requests: JoinSet<Box<Finished>>,
    turns: Turns,
    /// Claimed, and waiting for a slot.
    ready: VecDeque<Turn<Claimed>>,
    /// The look at the database that is under way.
    looking: Option<Looking>,
    /// Whether something may have come up since the look that is under way began.
    is_outdated: bool,
    /// When the next one begins, if none is under way.
    look_at: Instant,
    /// By credential, when a request was last noted.
    noted_at: HashMap<Arc<str>, Instant>,
    sweep: Sweep,
    swept: Swept,
    is_readable: bool,
    /// Whether the last sweep could read what it wanted.
    is_sweeping: bool,
}

/// A look at the database. It is abandoned when dropped.
type Looking = AbortOnDropHandle<Result<Vec<(Wanted, Found<Claimed>)>, StoreError>>;

/// A request that has ended.
#[derive(Debug)]
struct Finished {
    claimed: Claimed,
    ticket: Ticket,
    observation: Observation,
    took: Duration,
    /// Given back once the record has been handed over.
    long_body: LongBody,
}

/// When the last sweep was and how long it took, so that sweeps never take more than a small share of the time.
#[derive(Debug, Clone, Copy)]
struct Swept {
    ended_at: Instant,
    took: Duration,
}

impl Poller {
    /// A poller that has not begun yet.
    pub fn new(parts: PollerParts) -> Self {
        let credentials = parts.tokens.names().map(str::to_owned);
        Self {
            turns: Turns::new(credentials, BY_AGE),
            parts,
            requests: JoinSet::new(),
            ready: VecDeque::new(),
            looking: None,
            is_outdated: false,
            look_at: Instant::now(),
            noted_at: HashMap::new(),
            sweep: Sweep::default(),
            swept: Swept { ended_at: Instant::now(), took: Duration::ZERO },
            is_readable: true,
            is_sweeping: true,
        }
    }

    /// Polls until `stop`, then waits for the requests on their way and hands their answers to the recorder.
    ///
    /// # Errors
    /// If a request's task died, which is a defect: the daemon must not go on as if nothing were.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut ticking = tokio::time::interval(TICK);
        ticking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A look that never ends is a stuck poller, whatever else runs here.
            if self.looking.is_none() {
                self.parts.monitor.poller_lives();
            }
            self.send_ready().await;
            self.look();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(finished) = self.requests.join_next() => self.finish(finished?).await?,
                found = end_of(&mut self.looking) => self.looked(found?),
                () = self.parts.polls.released() => self.look_again(),
                () = self.parts.wake.notified() => self.begin_again(),
                _ = ticking.tick() => self.tick().await,
                () = self.parts.reload.notified() => self.reload().await,
                () = tokio::time::sleep_until(self.look_at), if self.may_look() => {}
            }
        }
        self.drain().await
    }

    fn is_full(&self) -> bool {
        self.parts.gates.free_slots() == 0 || self.has_enough_unrecorded() || !self.parts.polls.is_held()
    }

    /// What waits for a slot does not count: however much that is, it gets one.
    fn has_enough_unrecorded(&self) -> bool {
        let n_unanswered = self.ready.len() + self.requests.len();
        self.parts.polls.n_claimed() >= MOST_UNRECORDED + n_unanswered
    }

    /// Puts requests on their way while there is room and something to ask for.
    async fn send_ready(&mut self) {
        while !self.is_full() {
            let Some(turn) = self.ready.pop_front() else { return };
            self.send(turn).await;
        }
    }

    fn may_look(&self) -> bool {
        self.looking.is_none() && self.ready.len() <= READY_LOW && !self.has_enough_unrecorded()
    }

    /// Begins to look for what is due, if it is time.
    fn look(&mut self) {
        if !self.may_look() || Instant::now() < self.look_at {
            return;
        }
        let mut n_ready: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for turn in &self.ready {
            *n_ready.entry(Arc::clone(&turn.credential)).or_default() += 1;
        }
        let (now, instant) = (self.parts.clock.now(), Instant::now());
        let (gates, serving) = (&mut self.parts.gates, &self.parts.serving);
        let (wanted, next_look) = self.turns.wanted(gates, serving, &n_ready, now, instant.into_std());
        // What happens while a look is under way asks for another by setting this again.
        self.look_at = instant + next_look.since(now).max(SHORTEST_WAIT);
        if wanted.is_empty() {
            return;
        }
        let polls = self.parts.polls.clone();
        let looking = async move {
            let found = polls.look(&wanted, now).await?;
            Ok(wanted.into_iter().zip(found).collect())
        };
        self.looking = Some(AbortOnDropHandle::new(tokio::spawn(looking)));
    }

    /// Takes up what a look has found.
    fn looked(&mut self, looked: Result<Vec<(Wanted, Found<Claimed>)>, StoreError>) {
        self.parts.monitor.schedule_read(looked.is_ok());
        match looked {
            Ok(looked) => {
                self.is_readable = true;
                let turns = self.turns.plan(looked, &mut self.parts.gates, self.parts.clock.now());
                if std::mem::take(&mut self.is_outdated) {
                    // The look must not put off what it has not seen.
                    self.turns.look_again();
                }
                // A sweep may have claimed an activity during the look.
                let polls = &self.parts.polls;
                self.ready.extend(turns.into_iter().filter(|turn| polls.claim(&turn.activity)));
                // The turns know whether there is more, and when.
                self.look_at = Instant::now();
            }
            Err(err) => {
                if std::mem::take(&mut self.is_readable) {
                    let error = &err as &dyn std::error::Error;
                    tracing::error!(error, "{err}; polling waits until the database can be read");
                }
                self.look_at = Instant::now() + AFTER_READ_ERROR;
            }
        }
    }

    /// Sends one request, unless its gate has closed since it was claimed.
    async fn send(&mut self, turn: Turn<Claimed>) {
        let Turn { activity: claimed, credential } = turn;
        let now = self.parts.clock.now();
        let vat = &claimed.activity.vat;
        let is_open = !matches!(self.parts.gates.passage(vat, &credential, now), Passage::Closed { .. });
        let has_quota = self.parts.gates.quota_available(&credential, Instant::now().into_std()) > 0;
        let token = self.parts.tokens.get(&credential).cloned();
        let (true, true, Some(token)) = (is_open, has_quota, token) else {
            self.parts.polls.put_back([claimed]);
            return;
        };
        let is_untroubled = claimed.activity.consecutive_errors == 0;
        let ticket = self.parts.gates.take(vat, &credential, is_untroubled, now);
        self.note_request(&credential, now).await;
        let client = self.parts.client.clone();
        let catalogue = Arc::clone(&self.parts.policy.catalogue);
        self.requests.spawn(Box::pin(async move {
            let activity = &claimed.activity;
            let began_at = Instant::now();
            let (answer, long_body) = client.pcsid_status(&activity.vat, &activity.activity_id, &token).await;
            let took = began_at.elapsed();
            let observation = classify(&answer, catalogue.codes());
            if !observation.verdict.tells_where_it_stands() {
                client.doubt();
            }
            Box::new(Finished { claimed, ticket, observation, took, long_body })
        }));
    }

    /// Notes that a credential is used, so that the next start's quota goes on from there.
    async fn note_request(&mut self, credential: &Arc<str>, at: Timestamp) {
        let is_noted = |noted_at: &Instant| noted_at.elapsed() < NOTE_REQUESTS_EVERY;
        if !self.noted_at.get(credential).is_some_and(is_noted) {
            self.noted_at.insert(Arc::clone(credential), Instant::now());
            self.parts.recorder.submit(Record::Request { credential: Arc::clone(credential), at }).await;
        }
    }

    /// Settles a request that has ended, and all others that have ended by now.
    async fn finish(&mut self, first: Box<Finished>) -> Result<(), JoinError> {
        let mut next = Some(first);
        while let Some(finished) = next {
            self.settle(*finished).await;
            next = self.requests.try_join_next().transpose()?;
        }
        Ok(())
    }

    /// Decides what an answer means for its gates and its activity, and has both recorded.
    async fn settle(&mut self, finished: Finished) {
        let Finished { claimed, ticket, observation, took, long_body } = finished;
        let now = self.parts.clock.now();
        let verdict = &observation.verdict;
        self.parts.monitor.polled(verdict, took, now);
        let settled = self.parts.gates.settle(&ticket, &observation, now, fastrand::f64());
        self.parts.monitor.outage_is(self.parts.gates.outage());
        if !settled.changes.is_empty() || !settled.notices.is_empty() {
            self.look_again();
        }
        for notice in &settled.notices {
            log_notice(notice);
        }
        for change in settled.changes {
            self.parts.recorder.submit(Record::Gate(change)).await;
        }
        let withheld = self.parts.gates.withholding(&ticket.vat, Some(&ticket.credential));
        if observation.final_body.as_ref().is_some_and(|body| body.is_repaired) {
            tracing::warn!(
                activity_id = %claimed.activity.activity_id,
                vat = %claimed.activity.vat,
                "the answer for activity {} has bytes that are not UTF-8; U+FFFD stands for them in what is kept of it",
                claimed.activity.activity_id
            );
        }
        let label = verdict.label();
        let (observed, luck) = (Some(observation), fastrand::f64());
        let decision = decide(now, &claimed.activity, observed, withheld, &self.parts.policy, luck);
        tracing::debug!(
            activity_id = %claimed.activity.activity_id,
            vat = %claimed.activity.vat,
            verdict = label,
            error = decision.error.as_deref(),
            "polled"
        );
        self.record(claimed, now, decision).await;
        drop(long_body);
    }

    async fn record(&self, claimed: Claimed, decided_at: Timestamp, decision: Decision) {
        let record = PollRecord { claimed, decided_at, decision };
        self.parts.recorder.submit(Record::Poll(Box::new(record))).await;
    }

    /// Something may be due, or may be asked for, that was not.
    fn look_again(&mut self) {
        self.turns.look_again();
        self.is_outdated = self.looking.is_some();
        self.look_at = Instant::now();
    }

    /// Another process changed something: what was claimed may be outdated.
    fn begin_again(&mut self) {
        self.put_back();
        self.look_again();
    }

    /// Forgets what was claimed and not sent, and what is just being claimed.
    fn put_back(&mut self) {
        self.looking = None;
        self.parts.polls.put_back(self.ready.drain(..).map(|turn| turn.activity));
    }

    /// Reads the tokens again because somebody asked for it, and says when that has been done.
    async fn reload(&mut self) {
        service::reloading();
        self.tick().await;
        tracing::info!(
            "SIGHUP: tokens were read again, webhooks' secrets follow within seconds; a changed configuration needs a restart"
        );
        service::reloaded();
    }

    /// Checks what no answer is about: tokens, the clock, and ages behind closed gates.
    async fn tick(&mut self) {
        for credential in self.parts.tokens.refresh() {
            tracing::info!(credential = %credential, "credential {credential} has a new token");
            self.parts.gates.token_changed(&credential, self.parts.clock.now(), &self.parts.serving);
            self.look_again();
        }
        if let Some(delta_ms) = self.parts.clock.jump() {
            self.follow_clock(delta_ms).await;
        }
        self.parts.gates.forget_ended_holds(self.parts.clock.now());
        if self.swept.ended_at.elapsed() >= (self.swept.took * 20).max(TICK) {
            self.sweep().await;
        }
    }

    /// Moves everything planned along with a wall clock that jumped. Answers on their way are asked for again.
    async fn follow_clock(&mut self, delta_ms: i64) {
        tracing::warn!(
            delta_ms,
            "the wall clock jumped by {} s; the schedule moves along, no activity expires for it",
            delta_ms / 1_000
        );
        self.put_back();
        let now = self.parts.clock.now().shifted(delta_ms);
        self.parts.recorder.submit(Record::ClockJump(Jump { delta_ms, now, while_absent: false })).await;
        // What is read before that is committed has the old times: the next look comes after it.
        let (recorder, wake) = (self.parts.recorder.clone(), Arc::clone(&self.parts.wake));
        tokio::spawn(async move {
            recorder.flush().await;
            wake.notify_one();
        });
        self.parts.gates.shift(delta_ms);
        self.parts.clock.jump_along(delta_ms);
        self.look_again();
    }

    /// Lets activities stall that can't be asked for, and expire where a hold is the reason. An outage or a pause ends by
    /// itself: whatever it has kept back is asked for once more before it expires.
    async fn sweep(&mut self) {
        let began_at = Instant::now();
        let now = self.parts.clock.now();
        let policy = &self.parts.policy;
        let (stalled_before, expired_before) = (now - policy.stalled_after, now - policy.give_up_after);
        let closed = self.parts.gates.closed_credentials(now);
        let sweep = &mut self.sweep;
        let overdue = match self.parts.polls.overdue(sweep, &closed, stalled_before, expired_before).await {
            Ok(overdue) => overdue,
            Err(err) => {
                // The look reports a database that can't be read as well, but it may not meet a single row that can't
                // be.
                if std::mem::take(&mut self.is_sweeping) {
                    let error = &err as &dyn std::error::Error;
                    tracing::error!(error, "{err}; overdue activities on hold wait");
                }
                self.swept = Swept { ended_at: Instant::now(), took: began_at.elapsed() };
                return;
            }
        };
        self.is_sweeping = true;
        let patient = Policy { give_up_after: Duration::MAX, ..policy.clone() };
        for claimed in overdue {
            let vat = &claimed.activity.vat;
            let credential = self.parts.serving.credential_of(vat);
            if credential.is_some_and(|name| self.parts.gates.passage(vat, name, now) == Passage::Free) {
                // Its gate has opened since: it has a turn of its own.
                continue;
            }
            let withheld = self.parts.gates.withholding(vat, credential);
            let policy = if withheld.is_some() { &self.parts.policy } else { &patient };
            if withheld.is_none() && claimed.activity.stalled_at.is_some() {
                continue;
            }
            self.parts.polls.claim(&claimed);
            let decision = decide(now, &claimed.activity, None, withheld, policy, 0.5);
            self.record(claimed, now, decision).await;
        }
        self.swept = Swept { ended_at: Instant::now(), took: began_at.elapsed() };
    }

    /// Waits for the requests on their way, but no longer than allowed. An activity whose answer came too late is
    /// still due.
    async fn drain(mut self) -> Result<(), JoinError> {
        self.put_back();
        let deadline = Instant::now() + self.parts.drain_for;
        while let Ok(Some(finished)) = tokio::time::timeout_at(deadline, self.requests.join_next()).await {
            self.finish(finished?).await?;
        }
        let n_given_up = self.requests.len();
        if n_given_up > 0 {
            tracing::info!(n_given_up, "stopped waiting for {n_given_up} answers; they are asked for again");
        }
        self.requests.shutdown().await;
        Ok(())
    }
}

/// What the look that is under way has found; waits for ever if there is none.
async fn end_of(
    looking: &mut Option<Looking>,
) -> Result<Result<Vec<(Wanted, Found<Claimed>)>, StoreError>, JoinError> {
    let Some(look) = looking else { return std::future::pending().await };
    let found = look.await;
    *looking = None;
    found
}

fn log_notice(notice: &Notice) {
    match notice {
        // A single request is not worth a line; an outage is.
        Notice::Unanswered { trouble } => {
            tracing::info!(verdict = trouble.kind.label(), "{}", trouble.sentence());
        }
        Notice::OutageBegan { n_failures, trouble } => tracing::warn!(
            n_failures,
            verdict = trouble.kind.label(),
            "upstream is down: {n_failures} requests in a row got no usable answer, only probes are sent now; the last \
             one: {}; {}",
            trouble.cause,
            trouble.advice()
        ),
        Notice::OutageChanged { n_failures, trouble } => tracing::warn!(
            n_failures,
            verdict = trouble.kind.label(),
            "upstream is still down, for another reason than before: {}; {}",
            trouble.cause,
            trouble.advice()
        ),
        Notice::Recovered { n_failures } => {
            tracing::info!(n_failures, "upstream recovered after {n_failures} tries");
        }
        Notice::CredentialHeld { credential } => tracing::error!(
            credential,
            "upstream refuses the token of credential {credential} (HTTP 401): only probes are sent for it; \
             put a valid token in its token_file, it is tried at once"
        ),
        Notice::CredentialRestored { credential } => {
            tracing::info!(credential, "the token of credential {credential} is accepted again");
        }
        Notice::VatHeld { vat } => tracing::error!(
            vat = %vat,
            "the token's user is not Admin for VAT {vat} (HTTP 403): only probes are sent for it; grant the \
             role in ClearTax"
        ),
        Notice::VatRestored { vat } => {
            tracing::info!(vat = %vat, "upstream answers for VAT {vat} again");
        }
        Notice::Paused { credential, pause } if *pause > LONG_PAUSE => tracing::warn!(
            credential,
            pause_ms = pause.as_millis() as u64,
            "upstream asks credential {credential} to pause for {}, longer than an hour",
            write_duration(*pause)
        ),
        Notice::Paused { credential, pause } => {
            tracing::info!(
                credential,
                pause_ms = pause.as_millis() as u64,
                "upstream asks credential {credential} to pause for {}",
                write_duration(*pause)
            );
        }
    }
}
