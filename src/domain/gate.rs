//! Who may be asked for now: holds, pauses, the outage brake and the quota.
//!
//! Trouble that belongs to more than one activity is kept here instead of with each of them:
//!
//! | answer | closes | until |
//! |---|---|---|
//! | 401 | the credential | a probe passes, or the token changes |
//! | 403 | the VAT | a probe passes, or the token changes |
//! | 429, 503 with `Retry-After` | the credential | the time that upstream asked for |
//! | nothing usable ([`Verdict::Transient`]), [`OUTAGE_AFTER`] times without anything else for a while | everything | a probe passes |
//!
//! A closed gate lets one probe through an interval, and the interval grows by the same backoff that activities
//! use. Behind a gate nothing is written to the activities: they stay due, so that ten thousand of them cost
//! one probe, and are asked for as soon as it opens. After an outage the number of requests in flight grows
//! from one, so that upstream is not met by a stampede.
//!
//! Pure: time and luck are arguments, and [`Gates`] has one owner, the poller.

mod hold;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::activity::Vat;
use super::classify::{Observation, TransientKind, Verdict};
use super::event::{Event, EventKind};
use super::quota::Quota;
use super::schedule::Backoff;
use super::serving::Serving;
use super::time::Timestamp;
use hold::{ClosedGate, Gate, HoldStep, Moment, Sign};

pub use hold::{Hold, Passage};

/// Requests in a row that came to nothing usable, without anything else in between, that count as an outage: silence
/// and prompt but useless answers alike.
pub const OUTAGE_AFTER: u32 = 8;

/// Requests in flight while it has not been seen yet whether upstream answers at all.
const FIRST_WINDOW: usize = 8;

/// A pause that upstream asks for beyond this deserves to be noticed, also where it extends a shorter one.
pub const LONG_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A failure that follows the last reported one within this is not reported again: single failures among
/// many answers are no outage.
const QUIET_AFTER_REPORT: Duration = Duration::from_secs(60);

/// Longest wait between two probes of an upstream that is down. The result waits on the other side, so this
/// does not grow as far as an activity's own interval.
const MAX_OUTAGE_PROBE_INTERVAL: Duration = Duration::from_secs(30);

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
    /// No request before this; `None` for a VAT or where nothing is paused.
    pub paused_until: Option<Timestamp>,
    /// What to announce.
    pub event: Option<Event>,
}

/// What an operator should read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The first request that came to nothing usable.
    Unanswered {
        /// What came of it.
        trouble: Trouble,
    },
    /// Upstream counts as down; only probes are sent.
    OutageBegan {
        /// Requests in a row that came to nothing usable.
        n_failures: u32,
        /// What came of the last one.
        trouble: Trouble,
    },
    /// Upstream gives usable answers again.
    Recovered {
        /// Requests that came to nothing usable.
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

/// What came of a request that came to nothing usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of nothing.
    pub kind: TransientKind,
    /// What was wrong, for an operator.
    pub cause: String,
}

/// An outage that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// When it began.
    pub since: Timestamp,
    /// What came of the last probe.
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

/// Permission for one request. It is given back with [`Gates::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The VAT that is asked for.
    pub vat: Vat,
    /// The credential it is asked with.
    pub credential: String,
    /// Whether the activity had no trouble before this request: one that has had it for long is no sign of an outage.
    pub is_untroubled: bool,
    token_generation: u64,
    asked_at: Timestamp,
    probes: Probes,
}

/// Which closed gates a request is the probe of.
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

#[derive(Debug, Default)]
struct Brake {
    n_failures: u32,
    /// Whether one of them was of an activity that had no trouble before.
    is_news: bool,
    /// What came of the last of them.
    trouble: Option<Trouble>,
    closed: Option<ClosedGate>,
    last_answer_at: Option<Timestamp>,
    /// When failures were last reported, and when an outage was.
    reported_at: Option<Timestamp>,
    began_at: Option<Timestamp>,
    /// Whether the present failures were reported, so that their end is as well.
    is_reported: bool,
}

/// All gates of a daemon.
#[derive(Debug)]
pub struct Gates {
    backoff: Backoff,
    max_in_flight: usize,
    window: usize,
    n_in_flight: usize,
    outage: Brake,
    credentials: BTreeMap<String, CredentialGate>,
    /// VATs that are held or were.
    vats: BTreeMap<Vat, Gate>,
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
    /// Open gates for these credentials, each with its requests per minute.
    pub fn new(
        backoff: Backoff,
        max_in_flight: usize,
        credentials: impl IntoIterator<Item = (String, u32)>,
        now: Instant,
    ) -> Self {
        let gate = |requests_per_minute| CredentialGate {
            gate: Gate::default(),
            paused_until: None,
            pause_interval: backoff.initial_interval(),
            quota: Quota::new(requests_per_minute, now),
            token_generation: 0,
        };
        let credentials =
            credentials.into_iter().map(|(name, per_minute)| (name, gate(per_minute))).collect();
        Self {
            max_in_flight: max_in_flight.max(1),
            window: FIRST_WINDOW.min(max_in_flight.max(1)),
            n_in_flight: 0,
            outage: Brake::default(),
            credentials,
            vats: BTreeMap::new(),
            backoff,
        }
    }

    /// Puts back a gate that an earlier run stored. One of a credential that is no longer configured is ignored.
    ///
    /// A hold is probed at once, for the restart may have brought another token; a pause is kept to the end.
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
                self.vats.insert(vat, gate);
            }
        }
    }

    /// Requests that may still be put in flight.
    pub fn free_slots(&self) -> usize {
        self.window.saturating_sub(self.n_in_flight)
    }

    /// Requests that this credential's quota allows now.
    pub fn quota_available(&mut self, credential: &str, now: Instant) -> usize {
        self.credentials.get_mut(credential).map_or(0, |gate| gate.quota.available(now))
    }

    /// How long until this credential's quota allows one more request.
    pub fn quota_wait(&mut self, credential: &str, now: Instant) -> Duration {
        self.credentials.get_mut(credential).map_or(Duration::ZERO, |gate| gate.quota.wait(now))
    }

    /// Whether this VAT may be asked for with this credential.
    pub fn passage(&self, vat: &Vat, credential: &str, now: Timestamp) -> Passage {
        let Some(gate) = self.credentials.get(credential) else { return Passage::Closed { until: None } };
        if let Some(until) = gate.paused_until.filter(|until| *until > now) {
            return Passage::Closed { until: Some(until) };
        }
        let of_vat = self.vats.get(vat).and_then(|gate| gate.closed.as_ref());
        let closed = [self.outage.closed.as_ref(), gate.gate.closed.as_ref(), of_vat];
        closed.into_iter().flatten().map(|closed| closed.passage(now)).fold(Passage::Free, Passage::strictest)
    }

    /// Takes permission for one request. The caller has seen that the passage is not closed and that slots
    /// and quota are left.
    pub fn take(&mut self, vat: &Vat, credential: &str, now: Timestamp) -> Ticket {
        self.n_in_flight += 1;
        let mark = |closed: Option<&mut ClosedGate>| match closed {
            Some(closed) => {
                closed.is_probing = true;
                true
            }
            None => false,
        };
        let mut probes = Probes {
            outage: mark(self.outage.closed.as_mut()),
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
            is_untroubled: true,
            token_generation,
            asked_at: now,
            probes,
        }
    }

    /// Takes note that a credential's token is another one now: its hold and those of the VATs that it serves
    /// are probed at once, for the new token may be another user's, and answers to the old token no longer
    /// count for them.
    pub fn token_changed(&mut self, credential: &str, now: Timestamp, serving: &Serving) {
        let Some(gate) = self.credentials.get_mut(credential) else { return };
        gate.token_generation += 1;
        let vats = self.vats.iter_mut().filter(|(vat, _)| serving.credential_of(vat) == Some(credential));
        let gates = std::iter::once(&mut gate.gate).chain(vats.map(|(_, gate)| gate));
        for closed in gates.filter_map(|gate| gate.closed.as_mut()) {
            closed.is_probing = false;
            closed.hold.probe_at = now;
        }
    }

    /// Moves every stored time along with a wall clock that jumped by `delta_ms`.
    pub fn shift(&mut self, delta_ms: i64) {
        let shift = |closed: &mut ClosedGate| closed.hold.probe_at = closed.hold.probe_at.shifted(delta_ms);
        self.outage.closed.iter_mut().for_each(shift);
        self.outage.last_answer_at = None;
        self.outage.reported_at = None;
        self.outage.began_at = None;
        self.vats.values_mut().filter_map(|gate| gate.closed.as_mut()).for_each(shift);
        for gate in self.credentials.values_mut() {
            gate.gate.closed.iter_mut().for_each(shift);
            gate.paused_until = gate.paused_until.map(|until| until.shifted(delta_ms));
        }
    }

    /// The outage that is going on.
    pub fn outage(&self) -> Option<Outage> {
        let closed = self.outage.closed.as_ref()?;
        Some(Outage { since: closed.hold.since, trouble: self.outage.trouble.clone()? })
    }

    /// Gives a request's permission back together with what came of it.
    pub fn settle(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
    ) -> Settled {
        self.n_in_flight = self.n_in_flight.saturating_sub(1);
        let mut settled = Settled::default();
        self.settle_outage(ticket, observation, now, luck, &mut settled);
        self.settle_credential(ticket, observation, now, luck, &mut settled);
        self.settle_vat(ticket, observation, now, luck, &mut settled);
        settled
    }

    fn settle_outage(
        &mut self,
        ticket: &Ticket,
        observation: &Observation,
        now: Timestamp,
        luck: f64,
        settled: &mut Settled,
    ) {
        let outage = &mut self.outage;
        let trouble = match &observation.verdict {
            Verdict::Transient { kind, detail, .. } => Trouble { kind: *kind, cause: detail.clone() },
            _ => {
                outage.last_answer_at = Some(now);
                self.window = (self.window + 1).min(self.max_in_flight);
                if std::mem::take(&mut outage.is_reported) {
                    settled.notices.push(Notice::Recovered { n_failures: outage.n_failures });
                }
                outage.n_failures = 0;
                outage.is_news = false;
                outage.trouble = None;
                outage.closed = None;
                return;
            }
        };
        if outage.last_answer_at.is_some_and(|at| at >= ticket.asked_at) {
            // Upstream answered somebody else meanwhile: this failure is the activity's own.
            return;
        }
        outage.n_failures = outage.n_failures.saturating_add(1);
        outage.is_news |= ticket.is_untroubled;
        outage.trouble = Some(trouble.clone());
        let is_quiet = outage.reported_at.is_some_and(|at| now.since(at) < QUIET_AFTER_REPORT);
        if outage.n_failures == 1 && !is_quiet {
            outage.reported_at = Some(now);
            outage.is_reported = true;
            settled.notices.push(Notice::Unanswered { trouble: trouble.clone() });
        }
        let backoff = Backoff::new(
            self.backoff.initial_interval(),
            1.5,
            self.backoff.max_interval().min(MAX_OUTAGE_PROBE_INTERVAL),
            0.2,
        );
        let moment = Moment { backoff: &backoff, now, luck };
        // Where others are answered every now and then, failures are the activities' own.
        let silence = (self.backoff.initial_interval() * 4).min(MAX_OUTAGE_PROBE_INTERVAL);
        let is_silent_for = |time| outage.last_answer_at.is_none_or(|at| now.since(at) >= time);
        // So are those of activities that failed before as well, until all others must have been asked for.
        let is_silent = is_silent_for(silence)
            && (outage.is_news || is_silent_for(self.backoff.max_interval() + MAX_OUTAGE_PROBE_INTERVAL));
        match &mut outage.closed {
            Some(closed) if ticket.probes.outage => closed.next_probe(&moment),
            Some(_) => {}
            None if outage.n_failures >= OUTAGE_AFTER && is_silent => {
                self.window = 1;
                let is_news = outage.began_at.is_none_or(|at| now.since(at) >= QUIET_AFTER_REPORT);
                let reason = trouble.cause.clone();
                outage.closed = Some(ClosedGate::new(reason, backoff.initial_interval(), &moment));
                if is_news {
                    outage.began_at = Some(now);
                    outage.is_reported = true;
                    let n_failures = outage.n_failures;
                    settled.notices.push(Notice::OutageBegan { n_failures, trouble });
                }
            }
            None => {}
        }
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
        let mut changed = false;
        if let Verdict::Throttled { retry_after } = observation.verdict {
            // Answers to a burst arrive one by one: the first begins the pause, the others can only extend it.
            let is_paused = gate.paused_until.is_some_and(|until| until > now);
            let pause = match retry_after {
                Some(pause) => pause,
                None if is_paused => Duration::ZERO,
                None => {
                    let step = self.backoff.step(gate.pause_interval, luck);
                    gate.pause_interval = step.next_interval;
                    step.wait
                }
            };
            if gate.paused_until.is_none_or(|until| until < now + pause) {
                let was_long = gate.paused_until.is_some_and(|until| until.since(now) > LONG_PAUSE);
                gate.paused_until = Some(now + pause);
                changed = true;
                if !is_paused || (pause > LONG_PAUSE && !was_long) {
                    settled.notices.push(Notice::Paused { credential: ticket.credential.clone(), pause });
                }
            }
        }
        let sign = match observation.verdict {
            Verdict::Unauthorized => Sign::Refused,
            Verdict::Throttled { .. } | Verdict::Transient { .. } => Sign::Silent,
            _ => Sign::Passed,
        };
        if sign == Sign::Passed {
            gate.pause_interval = self.backoff.initial_interval();
        }
        let mut event = None;
        if ticket.token_generation == gate.token_generation {
            let name = &ticket.credential;
            match gate.gate.settle(
                ticket.asked_at,
                ticket.probes.credential,
                sign,
                REFUSED_TOKEN,
                &Moment { backoff: &self.backoff, now, luck },
            ) {
                HoldStep::Unchanged => {}
                HoldStep::Probed => changed = true,
                HoldStep::Began => {
                    changed = true;
                    event =
                        Some(Event::of_credential(EventKind::CredentialHeld, now, name, now, REFUSED_TOKEN));
                    settled.notices.push(Notice::CredentialHeld { credential: name.clone() });
                }
                HoldStep::Ended { since } => {
                    changed = true;
                    let kind = EventKind::CredentialRestored;
                    event = Some(Event::of_credential(kind, now, name, since, "the token is accepted again"));
                    settled.notices.push(Notice::CredentialRestored { credential: name.clone() });
                }
            }
        }
        if changed {
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
        let sign = match observation.verdict {
            Verdict::Forbidden => Sign::Refused,
            Verdict::Unauthorized | Verdict::Throttled { .. } | Verdict::Transient { .. } => Sign::Silent,
            _ => Sign::Passed,
        };
        let vat = &ticket.vat;
        if sign != Sign::Refused && !self.vats.contains_key(vat) {
            return;
        }
        let gate = self.vats.entry(vat.clone()).or_default();
        let step = gate.settle(
            ticket.asked_at,
            ticket.probes.vat,
            sign,
            NOT_ADMIN,
            &Moment { backoff: &self.backoff, now, luck },
        );
        let event = match step {
            HoldStep::Unchanged | HoldStep::Probed => None,
            HoldStep::Began => {
                settled.notices.push(Notice::VatHeld { vat: vat.clone() });
                Some(Event::of_vat(EventKind::VatHeld, now, vat, now, NOT_ADMIN))
            }
            HoldStep::Ended { since } => {
                settled.notices.push(Notice::VatRestored { vat: vat.clone() });
                let reason = "upstream answers for this VAT again";
                Some(Event::of_vat(EventKind::VatRestored, now, vat, since, reason))
            }
        };
        if step != HoldStep::Unchanged {
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
