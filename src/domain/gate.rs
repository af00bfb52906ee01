//! Which activities may be polled now: holds, pauses, the outage brake and the quota.
//!
//! Trouble that concerns more than one activity is kept here instead of with each of them:
//!
//! | answer | closes | until |
//! |---|---|---|
//! | 401 | the credential | a probe passes, or the token changes |
//! | 403 | the VAT | a probe passes, or the token changes |
//! | 429, 503 with `Retry-After` | the credential | the time that upstream asked for |
//! | nothing usable ([`Verdict::Transient`]), [`OUTAGE_AFTER`] times without anything else for a while | everything | a probe passes |
//!
//! A closed gate lets one probe through per interval, and the interval grows by the same backoff that activities use.
//! Nothing is written to the activities behind a gate. They stay due and are polled as soon as it opens; until then ten
//! thousand of them cost one probe. After an outage the number of requests in flight grows from one, so that upstream
//! is not overrun. A receiver of events has a gate of the same kind ([`ReceiverGate`]).
//!
//! Pure: time and luck are arguments, and [`Gates`] has one owner, the poller.
//!
//! # How a request passes
//!
//! [`Gates::passage`] says whether a VAT may be asked for with a credential; [`Gates::take`] takes the permission, as a
//! [`Ticket`] that remembers whether it was a probe and with which token it was asked; [`Gates::settle`] gives it back
//! with the answer, and returns what to store ([`GateChange`]), announce and log. An answer to a request that was sent
//! before a gate closed changes nothing but the count of failures. An answer to a token that was replaced meanwhile
//! changes nothing at all.
//!
//! # Rejected
//!
//! A hold on each activity: the same fact would cost a request, a write and an event for each. Moving due times: every
//! row would be rewritten at each probe. Counting failures for the outage without regard to which activities fail: a
//! few that upstream always refuses would stop everything.
//!
//! # What can go wrong
//!
//! A 401 from a proxy in front of upstream holds a whole credential until the next probe. A VAT that answers 403 for
//! only some activities is held and restored in turn, at growing intervals. An absurd `Retry-After` is obeyed to its
//! end.

mod brake;
mod hold;
mod receiver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::activity::Vat;
use super::backoff::Backoff;
use super::classify::{Observation, TransientKind, Verdict};
use super::event::{Event, EventKind};
use super::next_step::Withholding;
use super::quota::Quota;
use super::serving::Serving;
use super::time::Timestamp;
use brake::{Brake, BrakeStep};
use hold::{ClosedGate, Gate, GateAnswer, HoldStep, Moment};

pub use hold::{Hold, Passage};
pub use receiver::{LONGEST_RECEIVER_PROBE, ReceiverGate, ReceiverStep, ReceiverTicket};

/// An outage begins after this many requests in a row without a usable answer: no answer at all, or a prompt but
/// useless one.
pub const OUTAGE_AFTER: u32 = 8;

/// Requests in flight until upstream has answered once.
const FIRST_WINDOW: usize = 8;

/// How long an ended hold is remembered at least: longer than any request takes.
const RELAPSE_MATTERS: Duration = Duration::from_secs(10 * 60);

/// A longer pause that upstream asks for is logged as a warning, also if it extends a shorter one.
pub const LONG_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a stored gate is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A credential, by its name.
    Credential(String),
    /// A VAT.
    Vat(Vat),
}

/// A change of a stored gate, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateChange {
    /// Whose gate.
    pub scope: Scope,
    /// The hold as it is now; `None`: open.
    pub hold: Option<Hold>,
    /// No request before this; `None` for a VAT, or if nothing is paused.
    pub paused_until: Option<Timestamp>,
    /// What to announce.
    pub event: Option<Event>,
}

/// What an operator should read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The first request without a usable answer.
    Unanswered {
        /// Its result.
        trouble: Trouble,
    },
    /// Upstream counts as down; only probes are sent.
    OutageBegan {
        /// Requests in a row without a usable answer.
        n_failures: u32,
        /// The result of the last one.
        trouble: Trouble,
    },
    /// It is still down, and the reason is of another kind than was said last.
    OutageChanged {
        /// Requests in a row without a usable answer.
        n_failures: u32,
        /// The result of the last one.
        trouble: Trouble,
    },
    /// Upstream gives usable answers again.
    Recovered {
        /// Requests without a usable answer.
        n_failures: u32,
    },
    /// A credential is held.
    CredentialHeld {
        /// Its name.
        credential: String,
    },
    /// A credential works again.
    CredentialRestored {
        /// Its name.
        credential: String,
    },
    /// A VAT is held.
    VatHeld {
        /// The VAT.
        vat: Vat,
    },
    /// A VAT can be asked for again.
    VatRestored {
        /// The VAT.
        vat: Vat,
    },
    /// Upstream asked a credential to pause.
    Paused {
        /// Its name.
        credential: String,
        /// For how long.
        pause: Duration,
    },
}

/// Why a request brought nothing usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Of which kind.
    pub kind: TransientKind,
    /// What was wrong, for an operator.
    pub cause: String,
}

/// An outage that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub since: Timestamp,
    /// The result of the last probe.
    pub trouble: Trouble,
}

/// What settling an answer led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// To be recorded.
    pub changes: Vec<GateChange>,
    /// To be logged.
    pub notices: Vec<Notice>,
}

impl Settled {
    /// Notes what an answer did to a credential's hold. Returns the event that announces it.
    fn note_credential(&mut self, credential: &str, step: HoldStep, now: Timestamp) -> Option<Event> {
        match step {
            HoldStep::Unchanged | HoldStep::Probed => None,
            HoldStep::Began => {
                self.notices.push(Notice::CredentialHeld { credential: credential.to_owned() });
                Some(Event::of_credential(EventKind::CredentialHeld, now, credential, now, REFUSED_TOKEN))
            }
            HoldStep::Ended { since } => {
                self.notices.push(Notice::CredentialRestored { credential: credential.to_owned() });
                let reason = "the token is accepted again";
                Some(Event::of_credential(EventKind::CredentialRestored, now, credential, since, reason))
            }
        }
    }

    /// The same for a VAT.
    fn note_vat(&mut self, vat: &Vat, step: HoldStep, now: Timestamp) -> Option<Event> {
        match step {
            HoldStep::Unchanged | HoldStep::Probed => None,
            HoldStep::Began => {
                self.notices.push(Notice::VatHeld { vat: vat.clone() });
                Some(Event::of_vat(EventKind::VatHeld, now, vat, now, NOT_ADMIN))
            }
            HoldStep::Ended { since } => {
                self.notices.push(Notice::VatRestored { vat: vat.clone() });
                let reason = "upstream answers for this VAT again";
                Some(Event::of_vat(EventKind::VatRestored, now, vat, since, reason))
            }
        }
    }
}

/// Permission for one request. It is given back with [`Gates::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The VAT that is asked for.
    pub vat: Vat,
    /// The credential it is asked with.
    pub credential: String,
    is_untroubled: bool,
    token_generation: u64,
    asked_at: Timestamp,
    probes: Probes,
}

/// The closed gates that a request probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Probes {
    outage: bool,
    credential: bool,
    vat: bool,
}

#[derive(Debug)]
struct CredentialGate {
    gate: Gate,
    paused_until: Option<Timestamp>,
    /// Interval of the next pause that upstream asks for without saying how long.
    pause_interval: Duration,
    quota: Quota,
    token_generation: u64,
}

/// What follows from upstream's request for a pause.
struct Paused {
    pause: Duration,
    /// Whether the pause ends later than it did.
    is_longer: bool,
    /// Whether it is logged.
    is_news: bool,
}

impl CredentialGate {
    /// Pauses for as long as upstream asks, or longer each time if it doesn't say. Answers to a burst arrive one by
    /// one: the first begins the pause, the others can only extend it.
    fn pause(&mut self, retry_after: Option<Duration>, moment: &Moment<'_>) -> Paused {
        let now = moment.now;
        let is_paused = self.paused_until.is_some_and(|until| until > now);
        // A time that is over already, or none at all, is as good as unsaid.
        let pause = match retry_after.filter(|pause| !pause.is_zero()) {
            Some(pause) => pause,
            None if is_paused => Duration::ZERO,
            None => {
                let step = moment.backoff.step(self.pause_interval, moment.luck);
                self.pause_interval = step.next_interval;
                step.wait
            }
        };
        let is_longer = self.paused_until.is_none_or(|until| until < now + pause);
        let was_long = self.paused_until.is_some_and(|until| until.since(now) > LONG_PAUSE);
        if is_longer {
            self.paused_until = Some(now + pause);
        }
        let is_news = is_longer && (!is_paused || (pause > LONG_PAUSE && !was_long));
        Paused { pause, is_longer, is_news }
    }
}

/// All gates of a daemon.
#[derive(Debug)]
pub struct Gates {
    backoff: Backoff,
    max_in_flight: usize,
    window: usize,
    n_in_flight: usize,
    brake: Brake,
    credentials: BTreeMap<String, CredentialGate>,
    /// VATs that are held, or were a short time ago.
    vats: BTreeMap<Vat, Gate>,
    /// No held VAT may be probed before this; `None`: not known.
    next_vat_probe: Option<Timestamp>,
    /// The first time at which one may be probed that could not be at the last look.
    later_vat_probe: Timestamp,
}

impl Trouble {
    /// What is wrong, in a sentence without its end.
    pub fn sentence(&self) -> String {
        let what = match self.kind {
            TransientKind::NoReply => "upstream does not answer",
            _ => "upstream gives no usable answer",
        };
        format!("{what}: {}", self.cause)
    }

    /// What an operator should look at.
    pub const fn advice(&self) -> &'static str {
        match self.kind {
            TransientKind::NoReply => {
                "check network, DNS and proxy, and that upstream.base_url names the right host"
            }
            TransientKind::Gateway => {
                "ClearTax or a proxy before it is in trouble: check the proxy, and ask ClearTax if it lasts"
            }
            TransientKind::ServerError => {
                "ClearTax is in trouble: ask it if this lasts, and check that upstream.base_url is right"
            }
            TransientKind::InvalidResponse => {
                "check that upstream.base_url is the API itself and that no login page or proxy answers in its place"
            }
            TransientKind::UnexpectedStatus => {
                "check host and path of upstream.base_url, and that no login page or proxy answers in its place"
            }
        }
    }
}

impl Gates {
    /// Open gates for these credentials, each with its quota.
    pub fn new(
        backoff: Backoff,
        max_in_flight: usize,
        credentials: impl IntoIterator<Item = (String, Quota)>,
    ) -> Self {
        let gate = |quota| CredentialGate {
            gate: Gate::default(),
            paused_until: None,
            pause_interval: backoff.initial_interval(),
            quota,
            token_generation: 0,
        };
        let credentials = credentials.into_iter().map(|(name, quota)| (name, gate(quota))).collect();
        Self {
            max_in_flight: max_in_flight.max(1),
            window: FIRST_WINDOW.min(max_in_flight.max(1)),
            n_in_flight: 0,
            brake: Brake::new(&backoff),
            credentials,
            vats: BTreeMap::new(),
            next_vat_probe: None,
            later_vat_probe: Timestamp::MAX,
            backoff,
        }
    }

    /// Puts back a gate that an earlier run stored. One of a credential that is no longer configured is ignored.
    ///
    /// A hold is probed at once, because the restart may have brought another token; a pause is kept to the end.
    pub fn restore(
        &mut self,
        scope: Scope,
        hold: Option<Hold>,
        paused_until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let hold = hold.map(|hold| Hold { probe_at: hold.probe_at.min(now), ..hold });
        let gate = Gate { closed: hold.map(|hold| ClosedGate { hold, is_probing: false }), relapse: None };
        match scope {
            Scope::Credential(name) => {
                if let Some(credential) = self.credentials.get_mut(&name) {
                    credential.gate = gate;
                    credential.paused_until = paused_until;
                }
            }
            Scope::Vat(vat) => {
                self.next_vat_probe = None;
                self.vats.insert(vat, gate);
            }
        }
    }

    /// Requests that may still be put in flight.
    pub fn free_slots(&self) -> usize {
        match self.brake.is_closed() {
            true => self.brake.n_free_probes(self.max_in_flight.saturating_sub(self.n_in_flight)),
            false => self.window.saturating_sub(self.n_in_flight),
        }
    }

    /// How many requests a closed gate lets through together as probes, if it lets any through.
    pub fn free_probes(&self) -> usize {
        if self.brake.is_closed() { self.free_slots() } else { 1 }
    }

    /// Requests that this credential's quota allows now.
    pub fn quota_available(&mut self, credential: &str, now: Instant) -> usize {
        self.credentials.get_mut(credential).map_or(0, |gate| gate.quota.available(now))
    }

    /// How long until this credential's quota allows one more request.
    pub fn quota_wait(&mut self, credential: &str, now: Instant) -> Duration {
        self.credentials.get_mut(credential).map_or(Duration::ZERO, |gate| gate.quota.wait(now))
    }

    /// Whether this credential may be used at all, apart from holds of single VATs.
    pub fn passage_of_credential(&self, credential: &str, now: Timestamp) -> Passage {
        let Some(gate) = self.credentials.get(credential) else { return Passage::Closed { until: None } };
        if let Some(until) = gate.paused_until.filter(|until| *until > now) {
            return Passage::Closed { until: Some(until) };
        }
        let hold = gate.gate.closed.as_ref().map_or(Passage::Free, |closed| closed.passage(now));
        self.brake.passage(self.free_slots(), now).strictest(hold)
    }

    /// Whether this VAT may be asked for with this credential.
    pub fn passage(&self, vat: &Vat, credential: &str, now: Timestamp) -> Passage {
        let of_vat = self.vats.get(vat).and_then(|gate| gate.closed.as_ref());
        let of_vat = of_vat.map_or(Passage::Free, |closed| closed.passage(now));
        self.passage_of_credential(credential, now).strictest(of_vat)
    }

    /// Credentials that can't be used freely now; a probe may be due for some of them.
    pub fn closed_credentials(&self, now: Timestamp) -> Vec<&str> {
        let names = self.credentials.keys().map(String::as_str);
        names.filter(|name| self.passage_of_credential(name, now) != Passage::Free).collect()
    }

    /// Held VATs whose own hold lets a probe through now, by credential; the longest waiting first, and at most so many
    /// of each credential.
    pub fn vats_to_probe(
        &mut self,
        serving: &Serving,
        now: Timestamp,
        at_most: usize,
    ) -> BTreeMap<String, Vec<Vat>> {
        if self.next_vat_probe.is_some_and(|at| at > now) {
            return BTreeMap::new();
        }
        let held = self.vats.iter().filter_map(|(vat, gate)| Some((vat, gate.closed.as_ref()?)));
        let mut waiting: Vec<_> = held
            .filter(|(_, closed)| !closed.is_probing)
            .map(|(vat, closed)| (closed.hold.probe_at, vat))
            .collect();
        waiting.sort_unstable();
        let mut times = waiting.iter().map(|(probe_at, _)| *probe_at);
        self.next_vat_probe = Some(times.clone().next().unwrap_or(Timestamp::MAX));
        // Those that are due may be kept back by their credentials; others' time comes nevertheless.
        self.later_vat_probe = times.find(|at| *at > now).unwrap_or(Timestamp::MAX);
        let mut to_probe: BTreeMap<String, Vec<Vat>> = BTreeMap::new();
        for (_, vat) in waiting.into_iter().take_while(|(probe_at, _)| *probe_at <= now) {
            let Some(credential) = serving.credential_of(vat) else { continue };
            let vats = to_probe.entry(credential.to_owned()).or_default();
            if vats.len() < at_most {
                vats.push(vat.clone());
            }
        }
        to_probe
    }

    /// When the first held VAT may be probed that could not be when [`Gates::vats_to_probe`] looked.
    pub const fn later_vat_probe(&self) -> Timestamp {
        self.later_vat_probe
    }

    /// Notes that a held VAT has no activity to probe it with: it is tried again an interval later.
    pub fn nothing_to_probe(&mut self, vat: &Vat, now: Timestamp) {
        if let Some(closed) = self.vats.get_mut(vat).and_then(|gate| gate.closed.as_mut()) {
            closed.hold.probe_at = now + closed.hold.interval;
            self.next_vat_probe = None;
        }
    }

    /// Forgets holds that ended long ago, so that memory does not grow with every VAT that was ever held.
    pub fn forget_ended_holds(&mut self, now: Timestamp) {
        let matters = self.backoff.max_interval().max(RELAPSE_MATTERS);
        self.vats.retain(|_, gate| {
            gate.closed.is_some() || gate.relapse.is_some_and(|(ended_at, _)| now.since(ended_at) <= matters)
        });
    }

    /// Why this VAT can't be polled, other than an outage or a pause. `credential` is the one that serves it, if one
    /// does.
    pub fn withholding(&self, vat: &Vat, credential: Option<&str>) -> Option<Withholding> {
        let is_held = |gate: &Gate| gate.closed.is_some();
        let gate = credential.and_then(|credential| self.credentials.get(credential));
        Withholding::of(
            credential.is_none(),
            gate.is_some_and(|credential| is_held(&credential.gate)),
            self.vats.get(vat).is_some_and(is_held),
        )
    }

    /// Takes permission for one request. The caller has checked that the passage is not closed and that slots and quota
    /// are left. `is_untroubled` says whether the activity had no trouble before: one that has failed for long is no
    /// sign of an outage.
    pub fn take(&mut self, vat: &Vat, credential: &str, is_untroubled: bool, now: Timestamp) -> Ticket {
        let mark = |closed: Option<&mut ClosedGate>| match closed {
            Some(closed) => {
                closed.is_probing = true;
                true
            }
            None => false,
        };
        let probes_outage = self.brake.is_closed();
        match probes_outage {
            true => self.brake.probe(now),
            false => self.n_in_flight += 1,
        }
        let mut probes = Probes {
            outage: probes_outage,
            vat: mark(self.vats.get_mut(vat).and_then(|gate| gate.closed.as_mut())),
            ..Probes::default()
        };
        let mut token_generation = 0;
        if let Some(gate) = self.credentials.get_mut(credential) {
            probes.credential = mark(gate.gate.closed.as_mut());
            gate.quota.take();
            token_generation = gate.token_generation;
        }
        Ticket {
            vat: vat.clone(),
            credential: credential.to_owned(),
            is_untroubled,
            token_generation,
            asked_at: now,
            probes,
        }
    }

    /// Notes that a credential's token has changed. Its hold and those of the VATs that it serves are probed at once,
    /// since the new token may be another user's. Answers to the old token no longer count for them.
    pub fn token_changed(&mut self, credential: &str, now: Timestamp, serving: &Serving) {
        let Some(gate) = self.credentials.get_mut(credential) else { return };
        gate.token_generation += 1;
        let vats = self.vats.iter_mut().filter(|(vat, _)| serving.credential_of(vat) == Some(credential));
        let gates = std::iter::once(&mut gate.gate).chain(vats.map(|(_, gate)| gate));
        for closed in gates.filter_map(|gate| gate.closed.as_mut()) {
            closed.is_probing = false;
            closed.hold.probe_at = now;
        }
        self.next_vat_probe = None;
    }

    /// Moves every stored time along with a wall clock that jumped by `delta_ms`.
    pub fn shift(&mut self, delta_ms: i64) {
        let shift = |gate: &mut Gate| {
            if let Some(closed) = &mut gate.closed {
                closed.hold.probe_at = closed.hold.probe_at.shifted(delta_ms);
            }
            gate.relapse = gate.relapse.map(|(ended_at, interval)| (ended_at.shifted(delta_ms), interval));
        };
        self.brake.shift(delta_ms);
        self.next_vat_probe = None;
        self.vats.values_mut().for_each(shift);
        for gate in self.credentials.values_mut() {
            shift(&mut gate.gate);
            gate.paused_until = gate.paused_until.map(|until| until.shifted(delta_ms));
        }
    }

    /// The outage that is going on.
    pub fn outage(&self) -> Option<Outage> {
        self.brake.outage()
    }

    /// Gives a request's permission back together with its result.
    pub fn settle(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
    ) -> Settled {
        if !ticket.probes.outage {
            self.n_in_flight = self.n_in_flight.saturating_sub(1);
        }
        let mut settled = Settled::default();
        match self.brake.settle(ticket, observation, now, luck, &mut settled) {
            BrakeStep::Answered => self.window = (self.window + 1).min(self.max_in_flight),
            // After the outage upstream must not get all requests at once.
            BrakeStep::Closed => self.window = 1,
            BrakeStep::Unchanged => {}
        }
        self.settle_credential(ticket, observation, now, luck, &mut settled);
        self.settle_vat(ticket, observation, now, luck, &mut settled);
        settled
    }

    fn settle_credential(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
        settled: &mut Settled,
    ) {
        let Some(gate) = self.credentials.get_mut(&ticket.credential) else { return };
        let moment = Moment { backoff: &self.backoff, now, luck };
        let mut changed = false;
        if let Verdict::Throttled { retry_after } = observation.verdict {
            let paused = gate.pause(retry_after, &moment);
            changed = paused.is_longer;
            if paused.is_news {
                let credential = ticket.credential.clone();
                settled.notices.push(Notice::Paused { credential, pause: paused.pause });
            }
        }
        let answer = GateAnswer::for_credential(&observation.verdict);
        if answer == GateAnswer::Passed {
            gate.pause_interval = self.backoff.initial_interval();
        }
        // An answer to a token that has been replaced since says nothing about the new one.
        let step = match ticket.token_generation == gate.token_generation {
            true => {
                gate.gate.settle(ticket.asked_at, ticket.probes.credential, answer, REFUSED_TOKEN, &moment)
            }
            false => HoldStep::Unchanged,
        };
        let event = settled.note_credential(&ticket.credential, step, now);
        if changed || step != HoldStep::Unchanged {
            settled.changes.push(GateChange {
                scope: Scope::Credential(ticket.credential.clone()),
                hold: gate.gate.hold(),
                paused_until: gate.paused_until,
                event,
            });
        }
    }

    fn settle_vat(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
        settled: &mut Settled,
    ) {
        let is_of_old_token = |gate: &CredentialGate| gate.token_generation != ticket.token_generation;
        if self.credentials.get(&ticket.credential).is_some_and(is_of_old_token) {
            return;
        }
        let answer = GateAnswer::for_vat(&observation.verdict);
        let vat = &ticket.vat;
        if answer != GateAnswer::Refused && !self.vats.contains_key(vat) {
            return;
        }
        let gate = self.vats.entry(vat.clone()).or_default();
        let step = gate.settle(
            ticket.asked_at,
            ticket.probes.vat,
            answer,
            NOT_ADMIN,
            &Moment { backoff: &self.backoff, now, luck },
        );
        let event = settled.note_vat(vat, step, now);
        if step != HoldStep::Unchanged {
            self.next_vat_probe = None;
            settled.changes.push(GateChange {
                scope: Scope::Vat(vat.clone()),
                hold: gate.hold(),
                paused_until: None,
                event,
            });
        }
    }
}

const REFUSED_TOKEN: &str =
    "upstream refuses the token (HTTP 401): put a valid one in the credential's token_file";
const NOT_ADMIN: &str = "the token's user is not Admin for this VAT (HTTP 403): grant the role in ClearTax";
