//! The poller: asks upstream for what is due, as far as gates, quota and slots allow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::record::QUEUE;
use super::turns::{CLAIM, Round, Turn, claim};
use super::{InFlight, RecorderHandle};
use crate::clock::Clock;
use crate::domain::classify::{Observation, classify};
use crate::domain::decide::{Decision, Input, Policy, decide, human};
use crate::domain::gate::{Gates, LONG_PAUSE, Notice, Passage, Ticket};
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;
use crate::monitor::Monitor;
use crate::service;
use crate::store::{Claimed, PollRecord, Record, Store, StoreError, VatHead};
use crate::upstream::{Client, MIN_REDACTED_BYTES, Tokens};

/// Where no more than so many claimed activities wait for a request, the next are looked for: a look takes a few
/// milliseconds, and requests go on meanwhile.
const READY_LOW: usize = CLAIM / 2;

/// How often tokens, the clock and overdue activities behind closed gates are looked at.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Activities behind closed gates that are concluded or reported in one go.
const OVERDUE_BATCH: usize = 1_000;

/// Longest wait without a look at the database.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// Wait where as much is ready as the quota allows.
const WITH_ENOUGH_READY: Duration = Duration::from_millis(100);

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
    pub store: Store,
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
    /// Rows whose decisions are not committed yet.
    pub in_flight: Arc<InFlight>,
    /// Woken where another process changed the database.
    pub wake: Arc<Notify>,
    /// Asks to read the tokens again at once.
    pub reload: Arc<Notify>,
    /// Is told how it goes.
    pub monitor: Arc<Monitor>,
}

/// See the module.
#[derive(Debug)]
pub struct Poller {
    parts: PollerParts,
    requests: JoinSet<Finished>,
    ready: VecDeque<Turn>,
    /// When each VAT had its last turn, by a counter: the longest waiting comes first.
    served: HashMap<i64, u64>,
    n_served: u64,
    /// By credential, whether the longest due of all have the next odd one.
    odd_one: HashMap<String, bool>,
    /// The look at the database that is under way.
    looking: Option<Looking>,
    /// When the next one begins, if none is under way.
    look_at: Instant,
    /// VATs that could not be asked for at the last look.
    withheld: Vec<i64>,
    swept: Sweep,
    is_readable: bool,
}

/// A look at the database takes two questions: which VATs have work, then which activities are next. It is abandoned
/// when dropped.
type Looking = AbortOnDropHandle<Result<Seen, StoreError>>;

/// What a look at the database has seen so far.
#[derive(Debug)]
enum Seen {
    Heads(Vec<VatHead>),
    /// In their order, and when something is due that was not asked for.
    Turns(Vec<Turn>, Timestamp),
}

/// A request that has ended.
#[derive(Debug)]
struct Finished {
    claimed: Claimed,
    ticket: Ticket,
    observation: Observation,
    took: Duration,
}

/// When the last sweep was and how long it took, so that sweeps never take more than a small share of the time.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    ended_at: Instant,
    took: Duration,
}

impl Poller {
    /// A poller that has not begun yet.
    pub fn new(parts: PollerParts) -> Self {
        Self {
            parts,
            requests: JoinSet::new(),
            ready: VecDeque::new(),
            served: HashMap::new(),
            n_served: 0,
            odd_one: HashMap::new(),
            looking: None,
            look_at: Instant::now(),
            withheld: Vec::new(),
            swept: Sweep { ended_at: Instant::now(), took: Duration::ZERO },
            is_readable: true,
        }
    }

    /// Polls until `stop`, then waits for the requests on their way and hands their answers to the recorder.
    ///
    /// # Errors
    /// Where a request's task died, which is a defect: the daemon must not go on as if nothing were.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut tending = tokio::time::interval(TEND_EVERY);
        tending.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A look that never ends is a poller that stands still, whatever else goes round here.
            if self.looking.is_none() {
                self.parts.monitor.poller_lives();
            }
            self.send_ready();
            self.look();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(finished) = self.requests.join_next() => self.finish(finished?).await?,
                seen = part_of(&mut self.looking) => self.looked(seen?),
                () = self.parts.in_flight.released() => self.look_at = Instant::now(),
                () = self.parts.wake.notified() => self.look_again(),
                _ = tending.tick() => self.tend().await,
                () = self.parts.reload.notified() => self.reload().await,
                () = tokio::time::sleep_until(self.look_at), if self.may_look() => {}
            }
        }
        self.drain().await
    }

    fn is_full(&self) -> bool {
        self.parts.gates.free_slots() == 0 || self.parts.in_flight.len() >= QUEUE / 2
    }

    /// Puts requests on their way while there is room and something to ask for.
    fn send_ready(&mut self) {
        while !self.is_full() {
            let Some(turn) = self.ready.pop_front() else { return };
            self.send(turn);
        }
    }

    fn may_look(&self) -> bool {
        self.looking.is_none() && self.ready.len() <= READY_LOW && self.parts.in_flight.len() < QUEUE / 2
    }

    /// Begins to look for what is due, if it is time.
    fn look(&mut self) {
        if !self.may_look() || Instant::now() < self.look_at {
            return;
        }
        // What happens while it is under way asks for another by setting this again.
        self.look_at = Instant::now() + LOOK_AT_LEAST_EVERY;
        let (store, in_flight) = (self.parts.store.clone(), self.parts.in_flight.keys());
        let looking = async move { Ok(Seen::Heads(store.vat_heads(&in_flight).await?)) };
        self.looking = Some(AbortOnDropHandle::new(tokio::spawn(looking)));
    }

    /// Goes on with what a look has seen.
    fn looked(&mut self, seen: Result<Seen, StoreError>) {
        self.parts.monitor.schedule_read(seen.is_ok());
        match seen {
            Ok(seen) => {
                self.is_readable = true;
                match seen {
                    Seen::Heads(heads) => self.plan(heads),
                    Seen::Turns(turns, next_look) => self.make_ready(turns, next_look),
                }
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
    fn send(&mut self, turn: Turn) {
        let Turn { claimed, credential } = turn;
        let now = self.parts.clock.now();
        let vat = &claimed.activity.vat;
        let is_open = !matches!(self.parts.gates.passage(vat, &credential, now), Passage::Closed { .. });
        let has_quota = self.parts.gates.quota_available(&credential, Instant::now().into_std()) > 0;
        let token = self.parts.tokens.header(&credential).cloned();
        let (true, true, Some(token)) = (is_open, has_quota, token) else {
            self.parts.in_flight.release([claimed.key]);
            return;
        };
        let mut ticket = self.parts.gates.take(vat, &credential, now);
        ticket.is_untroubled = claimed.activity.consecutive_errors == 0;
        let client = self.parts.client.clone();
        let catalogue = Arc::clone(&self.parts.policy.catalogue);
        self.requests.spawn(async move {
            let activity = &claimed.activity;
            let began_at = Instant::now();
            let answer = client.pcsid_status(&activity.vat, &activity.activity_id, &token).await;
            let took = began_at.elapsed();
            let mut observation = classify(&answer, catalogue.codes());
            if let Ok(secret) = token.to_str()
                && secret.len() >= MIN_REDACTED_BYTES
            {
                observation.redact(secret);
            }
            Finished { claimed, ticket, observation, took }
        });
    }

    /// Has the next turns claimed, as far as each credential's quota reaches. Where it does not reach far, half of them
    /// are for the longest due of all; the others are for the VATs that have waited longest for a turn, one activity
    /// each, round after round.
    fn plan(&mut self, heads: Vec<VatHead>) {
        let now = self.parts.clock.now();
        let mut next_look = now + LOOK_AT_LEAST_EVERY;
        self.withheld.clear();

        // By credential, the VATs that may be asked for now.
        let mut candidates: HashMap<String, Vec<(VatHead, Passage)>> = HashMap::new();
        for head in heads {
            let Some(credential) = self.parts.serving.credential_of(&head.vat) else {
                self.withheld.push(head.key);
                continue;
            };
            match self.parts.gates.passage(&head.vat, credential, now) {
                Passage::Free if head.next_poll_at > now => next_look = next_look.min(head.next_poll_at),
                Passage::Closed { until } => {
                    self.withheld.push(head.key);
                    next_look = until.map_or(next_look, |until| next_look.min(until));
                }
                passage => {
                    if passage == Passage::Probe {
                        self.withheld.push(head.key);
                    }
                    candidates.entry(credential.to_owned()).or_default().push((head, passage));
                }
            }
        }

        let mut rounds = Vec::new();
        for (credential, mut heads) in candidates {
            let instant = Instant::now().into_std();
            let n_ready = self.ready.iter().filter(|turn| turn.credential == credential).count();
            let quota = self.parts.gates.quota_available(&credential, instant);
            let budget = quota.saturating_sub(n_ready).min(CLAIM);
            if budget == 0 {
                // What is ready may wait for a free slot with the quota at hand: no reason to look all the time.
                let at_least = if n_ready > 0 { WITH_ENOUGH_READY } else { Duration::ZERO };
                let wait = self.parts.gates.quota_wait(&credential, instant).max(at_least);
                next_look = next_look.min(now + wait);
                continue;
            }
            heads.sort_by_key(|(head, _)| {
                (self.served.get(&head.key).copied().unwrap_or(0), head.next_poll_at)
            });
            // Half of them; none where the quota has room for all that is claimed in one go. A used up quota allows one at
            // a time: every other look has the odd one.
            let is_theirs = self.odd_one.entry(credential.clone()).or_default();
            let n_longest_due = if budget < CLAIM { (budget + usize::from(*is_theirs)) / 2 } else { 0 };
            *is_theirs ^= budget % 2 == 1;
            rounds.push(Round { credential, budget, n_longest_due, heads });
        }
        if rounds.is_empty() {
            self.make_ready(Vec::new(), next_look);
        } else {
            let (store, in_flight) = (self.parts.store.clone(), self.parts.in_flight.keys());
            let claiming = async move {
                let turns = claim(&store, &in_flight, rounds, now).await?;
                Ok(Seen::Turns(turns, next_look))
            };
            self.looking = Some(AbortOnDropHandle::new(tokio::spawn(claiming)));
        }
    }

    /// Takes claimed activities up, and sets the time of the next look.
    fn make_ready(&mut self, turns: Vec<Turn>, next_look: Timestamp) {
        let wait = if turns.is_empty() {
            next_look.since(self.parts.clock.now()).max(Duration::from_millis(1))
        } else {
            Duration::ZERO
        };
        self.look_at = self.look_at.min(Instant::now() + wait);
        for turn in turns {
            // Others may have taken it up during the look.
            if self.parts.in_flight.insert(turn.claimed.key) {
                self.n_served += 1;
                self.served.insert(turn.claimed.vat_key, self.n_served);
                self.ready.push_back(turn);
            }
        }
    }

    /// Takes note of a request's end and of all others that have ended by now.
    async fn finish(&mut self, first: Finished) -> Result<(), JoinError> {
        let mut next = Some(first);
        while let Some(finished) = next {
            self.settle(finished).await;
            next = self.requests.try_join_next().transpose()?;
        }
        Ok(())
    }

    /// Decides what an answer means for its gates and its activity, and has both recorded.
    async fn settle(&mut self, finished: Finished) {
        let Finished { claimed, ticket, observation, took } = finished;
        let now = self.parts.clock.now();
        let is_usable = observation.verdict.tells_where_it_stands();
        self.parts.monitor.polled(observation.verdict.label(), took, is_usable.then_some(now));
        let settled = self.parts.gates.settle(&ticket, &observation, now, fastrand::f64());
        self.parts.monitor.outage_is(self.parts.gates.outage());
        if !settled.changes.is_empty() || !settled.notices.is_empty() {
            self.look_at = Instant::now();
        }
        for notice in &settled.notices {
            log_notice(notice);
        }
        for change in settled.changes {
            self.parts.recorder.submit(Record::Gate(change)).await;
        }
        let input = Input::Observed(&observation);
        let decision = decide(now, &claimed.activity, input, &self.parts.policy, fastrand::f64());
        tracing::debug!(
            activity.id = %claimed.activity.activity_id,
            activity.vat = %claimed.activity.vat,
            verdict = observation.verdict.label(),
            error = decision.error.as_deref(),
            "polled"
        );
        self.decided(claimed, now, decision).await;
    }

    async fn decided(&self, claimed: Claimed, now: Timestamp, decision: Decision) {
        self.parts
            .recorder
            .submit(Record::Poll(Box::new(PollRecord { claimed, decided_at: now, decision })))
            .await;
    }

    /// Another process changed something: what was claimed may be outdated.
    fn look_again(&mut self) {
        self.put_back();
        self.look_at = Instant::now();
    }

    /// Forgets what was claimed and not sent, and what is just being claimed.
    fn put_back(&mut self) {
        self.looking = None;
        self.parts.in_flight.release(self.ready.drain(..).map(|turn| turn.claimed.key));
    }

    /// Reads the tokens again because somebody asked for it, and says when that has been done.
    async fn reload(&mut self) {
        service::reloading();
        self.tend().await;
        service::reloaded();
    }

    /// Looks at what no answer brings along: tokens, the clock, and ages behind closed gates.
    async fn tend(&mut self) {
        for credential in self.parts.tokens.refresh() {
            tracing::info!(credential = %credential, "credential {credential} has a new token");
            self.parts.gates.token_changed(&credential, self.parts.clock.now(), &self.parts.serving);
            self.look_at = Instant::now();
        }
        if let Some(delta_ms) = self.parts.clock.jump() {
            self.follow_clock(delta_ms).await;
        }
        let is_time = self.swept.ended_at.elapsed() >= (self.swept.took * 20).max(TEND_EVERY);
        if !self.withheld.is_empty() && is_time {
            self.sweep().await;
        }
    }

    /// Moves everything planned along with a wall clock that jumped. Answers on their way are asked for again.
    async fn follow_clock(&mut self, delta_ms: i64) {
        tracing::warn!(
            delta_ms,
            "the wall clock jumped by {} s; the schedule moves along, nothing expires for it",
            delta_ms / 1_000
        );
        self.put_back();
        let now = self.parts.clock.now().shifted(delta_ms);
        self.parts.recorder.submit(Record::ClockJump { delta_ms, now }).await;
        self.parts.gates.shift(delta_ms);
        self.parts.clock.adopt_wall();
        self.look_at = Instant::now();
    }

    /// Lets activities stall and expire that can't be asked for.
    async fn sweep(&mut self) {
        let began_at = Instant::now();
        let now = self.parts.clock.now();
        let policy = &self.parts.policy;
        let overdue = self
            .parts
            .store
            .overdue_of(
                &self.withheld,
                now - policy.stalled_after,
                now - policy.give_up_after,
                OVERDUE_BATCH,
                &self.parts.in_flight.keys(),
            )
            .await;
        // A database in trouble has been reported by the look.
        for claimed in overdue.unwrap_or_default() {
            let vat = &claimed.activity.vat;
            let credential = self.parts.serving.credential_of(vat);
            if credential.is_some_and(|name| self.parts.gates.passage(vat, name, now) == Passage::Free) {
                // Its gate has opened since: it has a turn of its own.
                continue;
            }
            self.parts.in_flight.insert(claimed.key);
            let decision = decide(now, &claimed.activity, Input::Withheld, policy, 0.5);
            self.decided(claimed, now, decision).await;
        }
        self.swept = Sweep { ended_at: Instant::now(), took: began_at.elapsed() };
    }

    /// Waits for the requests on their way, but no longer than allowed: an answer that is not awaited is lost
    /// to nobody, its activity is still due.
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

/// What the part of the look that is under way has seen; waits for ever where there is none.
async fn part_of(looking: &mut Option<Looking>) -> Result<Result<Seen, StoreError>, JoinError> {
    let Some(part) = looking else { return std::future::pending().await };
    let seen = part.await;
    *looking = None;
    seen
}

fn log_notice(notice: &Notice) {
    match notice {
        // One request is nobody's business yet; an outage is.
        Notice::Unanswered { trouble } => {
            tracing::info!(kind = trouble.kind.label(), "{}", trouble.sentence());
        }
        Notice::OutageBegan { n_failures, trouble } => tracing::warn!(
            n_failures,
            kind = trouble.kind.label(),
            "upstream is down: {n_failures} requests in a row came to nothing usable, only probes are sent now; the last \
             one: {}; {}",
            trouble.cause,
            trouble.advice()
        ),
        Notice::Recovered { n_failures } => {
            tracing::info!(n_failures, "upstream recovered after {n_failures} tries");
        }
        Notice::CredentialHeld { credential } => tracing::error!(
            credential,
            "upstream refuses the token of credential {credential} (HTTP 401): nothing of it is polled but probes; \
             put a valid token in its token_file, it is tried at once"
        ),
        Notice::CredentialRestored { credential } => {
            tracing::info!(credential, "the token of credential {credential} is accepted again");
        }
        Notice::VatHeld { vat } => tracing::error!(
            vat = %vat,
            "the token's user is not Admin for VAT {vat} (HTTP 403): nothing of it is polled but probes; grant the \
             role in ClearTax"
        ),
        Notice::VatRestored { vat } => {
            tracing::info!(vat = %vat, "upstream answers for VAT {vat} again");
        }
        Notice::Paused { credential, pause } if *pause > LONG_PAUSE => tracing::warn!(
            credential,
            pause_s = pause.as_secs(),
            "upstream asks credential {credential} to pause for {}, longer than an hour",
            human(*pause)
        ),
        Notice::Paused { credential, pause } => {
            tracing::info!(
                credential,
                pause_ms = pause.as_millis() as u64,
                "upstream asks credential {credential} to pause for {}",
                human(*pause)
            );
        }
    }
}
