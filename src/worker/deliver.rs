//! The dispatchers: one for each sink, so that a slow or dead one delays no other.
//!
//! A dispatcher claims the due deliveries of its sink from the outbox, sends each event's stored text, and hands the
//! result to the recorder, which writes it. Its neighbours are the poller, whose conclusions put deliveries into the
//! outbox, and the recorder, for which it waits as the poller does. Where it has sent all that was due, the store hands
//! it what comes next as soon as that is committed, and it reads nothing.
//!
//! # Rules
//!
//! - At least once: an event is marked as delivered after the receiver took it, so a crash in between sends it again,
//!   under the same id and with the same bytes.
//! - Retries live in the row (due time, interval, first try), so a restart changes nothing. What follows a failure is
//!   decided by `what_follows`: again later, before the receiver's `Retry-After` only at the end of `retry_for`, or dead after that.
//! - A receiver that is down is a closed gate ([`ReceiverGate`], a pure part of `domain::gate`): one event at a time
//!   goes as a probe. The rest waits without being read or written, and goes when a probe is accepted.
//! - Events whose time is over while the gate is closed are given up in pieces, without a request each; but none in a
//!   dispatcher's first minutes.
//! - One claim has a bounded number of events and of bytes.
//!
//! # Rejected
//!
//! One queue for all sinks: the slowest would set the pace. Events in order of a VAT: a receiver must be able to do
//! without, as retries change the order anyway. Exactly once: no sender can do it alone, since it may be killed after
//! the receiver took an event and before that is recorded.
//!
//! # What can go wrong
//!
//! A receiver answers 2xx and loses the event: redelivered by hand only. A line of the log is written by half when the
//! process is killed: the next start writes it again, whole, but behind that half if both go to the same file or pipe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::RecorderHandle;
use crate::clock::Clock;
use crate::domain::backoff::Backoff;
use crate::domain::gate::{LONGEST_RECEIVER_PROBE, Passage, ReceiverGate, ReceiverStep, ReceiverTicket};
use crate::domain::time::Timestamp;
use crate::monitor::{Attempted, Monitor};
use crate::store::{ClaimedDelivery, Deliveries, DeliveryOutcome, DeliveryRecord, Record};
use crate::webhook::{Attempt, Disposition, Sender};

/// Requests to one webhook at the same time.
const MAX_CONCURRENT: usize = 8;

/// Deliveries that are claimed ahead, or written to the log in one piece. Each holds its payload, so there are few.
const READY: usize = 64;

/// First and longest wait between tries of a delivery, and how they grow.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(10 * 60 * 60);
const RETRY_MULTIPLIER: f64 = 3.0;
const RETRY_JITTER: f64 = 0.2;

/// For how long after its beginning a dispatcher gives up no events but those that it has tried.
const GIVE_UP_NOT_BEFORE: Duration = Duration::from_secs(10 * 60);

/// How often a daemon that does not know whether it holds its deliveries looks whether it does again.
const HELD_AGAIN: Duration = Duration::from_secs(1);

/// Longest wait without a look at the outbox; also how often a webhook's secret is read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Writes events to standard output, one JSON object a line. There is one, and it writes all that is ready in one
/// piece: each piece costs a thread's turn, whatever it holds.
#[derive(Debug, Default)]
pub struct LogSink {
    /// Whether the last piece may have ended in the middle of a line.
    is_cut: AtomicBool,
}

impl LogSink {
    /// If a piece was not written whole, all of it is written again, on a line of its own.
    async fn write(&self, payloads: impl Iterator<Item = String>) -> Attempt {
        let mut stdout = tokio::io::stdout();
        let mut lines = if self.is_cut.load(Ordering::Relaxed) { "\n".to_owned() } else { String::new() };
        for payload in payloads {
            lines.push_str(&payload);
            lines.push('\n');
        }
        let written = match stdout.write_all(lines.as_bytes()).await {
            Ok(()) => stdout.flush().await,
            Err(err) => Err(err),
        };
        self.is_cut.store(written.is_err(), Ordering::Relaxed);
        match written {
            Ok(()) => Attempt::delivered(),
            Err(err) => Attempt {
                disposition: Disposition::Retry { not_before: None },
                error: Some(format!("standard output can't be written: {err}")),
                ..Attempt::delivered()
            },
        }
    }
}

/// Where events go.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Log(LogSink),
    /// A webhook.
    Webhook(Box<Sender>),
}

impl Sink {
    /// Sends these deliveries and takes their payloads out of them. They share one result.
    async fn deliver(&self, deliveries: &mut [Ready]) -> Attempt {
        let take = |ready: &mut Ready| std::mem::take(&mut ready.delivery.payload);
        match (self, deliveries) {
            (Sink::Webhook(sender), [ready, ..]) => {
                let payload = take(ready);
                sender.send(&ready.delivery.event_id, payload).await
            }
            (Sink::Webhook(_), []) => Attempt::delivered(),
            (Sink::Log(sink), deliveries) => sink.write(deliveries.iter_mut().map(take)).await,
        }
    }

    /// How many deliveries one attempt takes: a request of a webhook has one event.
    fn at_once(&self) -> usize {
        match self {
            Sink::Log(_) => READY,
            Sink::Webhook(_) => 1,
        }
    }

    /// The log keeps its order; webhooks need not.
    fn max_concurrent(&self) -> usize {
        match self {
            Sink::Log(_) => 1,
            Sink::Webhook(_) => MAX_CONCURRENT,
        }
    }
}

/// A claimed delivery, and how long it has been tried, whatever the clock does meanwhile.
#[derive(Debug)]
struct Ready {
    delivery: ClaimedDelivery,
    age: Duration,
    claimed_at: Instant,
}

impl Ready {
    fn new(delivery: ClaimedDelivery, now: Timestamp) -> Self {
        Self { age: now.since(delivery.tried_from), claimed_at: Instant::now(), delivery }
    }

    fn tried_for(&self) -> Duration {
        self.age + self.claimed_at.elapsed()
    }
}

/// An attempt that has ended.
#[derive(Debug)]
struct Ended {
    /// What was sent, without the payloads.
    deliveries: Vec<Ready>,
    ticket: ReceiverTicket,
    attempted_at: Timestamp,
    duration: Duration,
    attempt: Attempt,
}

/// What a dispatcher is made of.
#[derive(Debug)]
pub struct DispatcherParts {
    /// The sink's name.
    pub name: String,
    /// Where events go.
    pub sink: Sink,
    /// How long an event is tried.
    pub retry_for: Duration,
    /// How long due events are still sent when stopping.
    pub drain_for: Duration,
    /// The sink's part of the outbox.
    pub deliveries: Deliveries,
    /// The daemon's time.
    pub clock: Arc<Clock>,
    /// Writes the results of attempts.
    pub recorder: RecorderHandle,
    /// Woken if there may be something to send.
    pub wake: Arc<Notify>,
    /// Learns the results of attempts.
    pub monitor: Arc<Monitor>,
}

/// Sends one sink's events: the oldest due first, a bounded number at a time.
#[derive(Debug)]
pub struct Dispatcher {
    name: String,
    sink: Arc<Sink>,
    retry_for: Duration,
    drain_for: Duration,
    deliveries: Deliveries,
    clock: Arc<Clock>,
    recorder: RecorderHandle,
    wake: Arc<Notify>,
    monitor: Arc<Monitor>,
    ready: VecDeque<Ready>,
    attempts: JoinSet<Ended>,
    gate: ReceiverGate,
    /// Where the gate's time begins: no clock that jumps keeps a receiver waiting.
    began_at: Instant,
    look_at: Instant,
    /// Whether it was said that the outbox can't be read.
    is_unreadable: bool,
}

impl Dispatcher {
    /// A dispatcher that has not begun yet.
    pub fn new(parts: DispatcherParts) -> Self {
        Self {
            name: parts.name,
            sink: Arc::new(parts.sink),
            retry_for: parts.retry_for,
            drain_for: parts.drain_for,
            deliveries: parts.deliveries,
            clock: parts.clock,
            recorder: parts.recorder,
            wake: parts.wake,
            monitor: parts.monitor,
            ready: VecDeque::new(),
            attempts: JoinSet::new(),
            gate: ReceiverGate::default(),
            began_at: Instant::now(),
            look_at: Instant::now(),
            is_unreadable: false,
        }
    }

    /// Sends until `stop`, and then what is still due, for at most `drain_for`.
    ///
    /// # Errors
    /// If an attempt's task died, which is a defect.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_due().await;
            let next = match self.deliveries.is_held() {
                true => self.look_at.max(self.probe_at()),
                false => Instant::now() + HELD_AGAIN,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.attempts.join_next() => self.settle(ended?).await,
                () = self.deliveries.arrived() => {}
                () = self.wake.notified() => self.look_at = Instant::now(),
                _ = ticks.tick() => {
                    self.refresh_secret();
                    self.give_up_if_down().await;
                }
                () = tokio::time::sleep_until(next), if self.has_room() => {}
            }
        }
        self.drain().await
    }

    async fn drain(mut self) -> Result<(), JoinError> {
        let deadline = Instant::now() + self.drain_for;
        self.look_at = Instant::now();
        self.send_due().await;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.attempts.join_next()).await {
            self.settle(ended?).await;
            self.send_due().await;
        }
        self.attempts.shutdown().await;
        Ok(())
    }

    /// The time by which the gate works.
    fn gate_time(&self) -> Timestamp {
        Timestamp::from_millis(0) + self.began_at.elapsed()
    }

    /// When the gate lets the next event through; in the past if it is open.
    fn probe_at(&self) -> Instant {
        match self.gate.passage(self.gate_time()) {
            Passage::Closed { until: Some(until) } => self.began_at + until.since(Timestamp::from_millis(0)),
            _ => self.began_at,
        }
    }

    fn has_room(&self) -> bool {
        // A receiver that is down gets one probe at a time.
        let at_once = if self.gate.is_down() { 1 } else { self.sink.max_concurrent() };
        self.attempts.len() < at_once
    }

    async fn send_due(&mut self) {
        while self.has_room()
            && self.deliveries.is_held()
            && !matches!(self.gate.passage(self.gate_time()), Passage::Closed { .. })
        {
            if self.ready.is_empty() {
                self.have_ready(self.deliveries.handed_over());
            }
            if self.ready.is_empty() && (self.deliveries.is_missing_some() || Instant::now() >= self.look_at)
            {
                self.claim().await;
            }
            let n_taken = self.ready.len().min(self.sink.at_once());
            let mut deliveries: Vec<Ready> = self.ready.drain(..n_taken).collect();
            if deliveries.is_empty() {
                return;
            }
            let ticket = self.gate.take(self.gate_time());
            let (sink, clock) = (Arc::clone(&self.sink), Arc::clone(&self.clock));
            self.attempts.spawn(async move {
                let (attempted_at, began_at) = (clock.now(), Instant::now());
                let attempt = sink.deliver(&mut deliveries).await;
                Ended { deliveries, ticket, attempted_at, duration: began_at.elapsed(), attempt }
            });
        }
    }

    fn have_ready(&mut self, claimed: Vec<ClaimedDelivery>) {
        let now = self.clock.now();
        self.ready.extend(claimed.into_iter().map(|delivery| Ready::new(delivery, now)));
    }

    async fn claim(&mut self) {
        let now = self.clock.now();
        let limit = if self.gate.is_down() { 1 } else { READY };
        match self.deliveries.claim(now, limit).await {
            Ok((claimed, next_at)) => {
                let shortest = Duration::from_millis(u64::from(claimed.is_empty()));
                let wait = next_at.map_or(LOOK_EVERY, |next_at| next_at.since(now).max(shortest));
                self.look_at = Instant::now() + wait.min(LOOK_EVERY);
                self.have_ready(claimed);
                if std::mem::take(&mut self.is_unreadable) {
                    tracing::info!(sink = %self.name, "the events for {} can be read again", self.name);
                }
            }
            Err(err) => {
                let (name, error) = (&self.name, &err as &dyn std::error::Error);
                // A daemon that holds nothing has said why.
                let is_said = err.is_lost() || std::mem::replace(&mut self.is_unreadable, true);
                if is_said {
                    tracing::debug!(sink = %name, error, "the events for {name} can't be read");
                } else {
                    tracing::warn!(
                        sink = %name, error, "{err}; the events for {name} can't be read and wait, and it is tried again"
                    );
                }
                self.look_at = Instant::now() + LOOK_EVERY;
            }
        }
    }

    async fn settle(&mut self, ended: Ended) {
        let Ended { deliveries, ticket, attempted_at, duration, attempt } = ended;
        let now = self.clock.now();
        self.note_health(&attempt, ticket);
        for ready in deliveries {
            let left = self.retry_for.checked_sub(ready.tried_for()).unwrap_or_default();
            let delivery = ready.delivery;
            let outcome = what_follows(&attempt, delivery.interval, left, now, fastrand::f64());
            let attempted = match outcome {
                DeliveryOutcome::Delivered => Attempted::Delivered,
                DeliveryOutcome::Retry { .. } => Attempted::Failed,
                DeliveryOutcome::Dead => Attempted::Dead,
            };
            match outcome {
                DeliveryOutcome::Delivered => {}
                DeliveryOutcome::Retry { next_attempt_at, .. } => {
                    self.look_at = self.look_at.min(Instant::now() + next_attempt_at.since(now));
                }
                DeliveryOutcome::Dead => self.log_death(&attempt, &delivery.event_id),
            }
            self.monitor.attempted(&self.name, attempted, duration);
            let record = DeliveryRecord {
                event_key: delivery.event_key,
                sink: self.name.clone(),
                revision: delivery.revision,
                attempted_at,
                duration,
                http_status: attempt.http_status,
                error: attempt.error.clone(),
                outcome,
            };
            self.recorder.submit(Record::Delivery(record)).await;
        }
    }

    fn log_death(&self, attempt: &Attempt, event_id: &str) {
        let (name, error) = (&self.name, attempt.error.as_deref().unwrap_or_default());
        tracing::error!(
            sink = %name,
            event_id = %event_id,
            error,
            "event {event_id} is dead for {name}: {error}; `pcsid-watch deliveries redeliver {event_id}` sends it again"
        );
    }

    /// One log line when a sink fails and one when it works again, however many events wait for it.
    fn note_health(&mut self, attempt: &Attempt, ticket: ReceiverTicket) {
        let (name, error) = (&self.name, attempt.error.as_deref().unwrap_or_default());
        // `410 Gone` is an answer: the receiver is up.
        let is_answered = !matches!(attempt.disposition, Disposition::Retry { .. });
        match self.gate.settle(ticket, is_answered, self.gate_time(), fastrand::f64()) {
            ReceiverStep::Unchanged => {}
            ReceiverStep::Failed => {
                tracing::warn!(sink = %name, error, "an event could not be delivered to {name}: {error}; it is tried again");
            }
            // What was claimed ahead stays due; nothing holds its payload in memory meanwhile.
            ReceiverStep::Down => {
                // After the first of these nothing more is handed over.
                self.deliveries.put_back(self.ready.drain(..).map(|ready| ready.delivery));
                self.deliveries.put_back(self.deliveries.handed_over());
            }
            ReceiverStep::Recovered { n_failures } => {
                tracing::info!(sink = %name, n_failures, "{name} takes events again after {n_failures} tries");
            }
        }
    }

    fn refresh_secret(&self) {
        if let Sink::Webhook(sender) = &*self.sink {
            sender.refresh_secret();
        }
    }

    /// Gives up events whose time is over while the sink is down. It gets one try at a time then, so most events would
    /// never have a last try.
    async fn give_up_if_down(&self) {
        // A receiver that is away for a moment after a long stop has its chance first.
        if !self.gate.is_down() || self.began_at.elapsed() < GIVE_UP_NOT_BEFORE {
            return;
        }
        // A little later than an event's own last try would be, so that it is not given up before that.
        let tried_before = self.clock.now() - self.retry_for - LONGEST_RECEIVER_PROBE;
        match self.deliveries.give_up(tried_before).await {
            Ok(0) => {}
            Ok(n_dead) => {
                self.monitor.gave_up(&self.name, n_dead);
                tracing::error!(
                    sink = %self.name,
                    n_dead,
                    "{n_dead} events are dead for {}, which was down for all of webhooks.retry_for; `pcsid-watch \
                     deliveries redeliver --dead` sends them again",
                    self.name
                );
            }
            Err(err) => {
                tracing::debug!(sink = %self.name, error = &err as &dyn std::error::Error, "the outbox can't be written");
            }
        }
    }
}

/// What follows from an attempt, after which `left` is left of `retry_for`. That counts from the event or from the last
/// redelivery by hand, and the last try is at its end. Until then no try is earlier than `Retry-After` says. It can't put
/// off the last try: no receiver may keep an event pending for ever.
fn what_follows(
    attempt: &Attempt,
    interval: Option<Duration>,
    left: Duration,
    now: Timestamp,
    luck: f64,
) -> DeliveryOutcome {
    let not_before = match attempt.disposition {
        Disposition::Delivered => return DeliveryOutcome::Delivered,
        Disposition::Gone => return DeliveryOutcome::Dead,
        Disposition::Retry { not_before } => not_before.unwrap_or_default(),
    };
    if left.is_zero() {
        return DeliveryOutcome::Dead;
    }
    let backoff = Backoff::new(FIRST_RETRY, RETRY_MULTIPLIER, LONGEST_RETRY, RETRY_JITTER);
    let step = backoff.step(interval.unwrap_or(FIRST_RETRY), luck);
    DeliveryOutcome::Retry {
        next_attempt_at: now + step.wait.max(not_before).min(left),
        interval: step.next_interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn attempt(disposition: Disposition) -> Attempt {
        Attempt { http_status: None, disposition, error: None, answer: String::new() }
    }

    fn retry(not_before: Option<u64>) -> Attempt {
        attempt(Disposition::Retry { not_before: not_before.map(Duration::from_secs) })
    }

    #[test]
    fn tries_come_later_and_later_up_to_ten_hours_and_end_with_retry_for() {
        let retry_for = Duration::from_secs(72 * 3_600);
        let (mut now, mut interval, mut waits_s) = (START, None, Vec::new());
        loop {
            let left = retry_for.checked_sub(now.since(START)).unwrap_or_default();
            match what_follows(&retry(None), interval, left, now, 0.5) {
                DeliveryOutcome::Retry { next_attempt_at, interval: next } => {
                    waits_s.push(next_attempt_at.since(now).as_secs());
                    (now, interval) = (next_attempt_at, Some(next));
                }
                outcome => {
                    assert_eq!(outcome, DeliveryOutcome::Dead);
                    break;
                }
            }
        }
        assert_eq!(waits_s[..6], [5, 15, 45, 135, 405, 1_215]);
        assert_eq!(waits_s.iter().max(), Some(&36_000));
        assert_eq!(now, START + retry_for, "the last try is at the very end");
    }

    #[test]
    fn retry_after_is_never_undercut() {
        let outcome = what_follows(&retry(Some(30)), None, Duration::from_secs(60), START, 0.0);
        assert_eq!(
            outcome,
            DeliveryOutcome::Retry {
                next_attempt_at: START + Duration::from_secs(30),
                interval: Duration::from_secs(15)
            }
        );
    }

    #[test]
    fn retry_after_puts_nothing_off_beyond_retry_for() {
        let left = Duration::from_secs(60);
        for seconds in [61, 9_999_999_999_999, u64::MAX] {
            let outcome = what_follows(&retry(Some(seconds)), None, left, START, 0.5);
            let DeliveryOutcome::Retry { next_attempt_at, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!(next_attempt_at, START + left, "{seconds}");
            let last = what_follows(&retry(Some(seconds)), None, Duration::ZERO, next_attempt_at, 0.5);
            assert_eq!(last, DeliveryOutcome::Dead, "{seconds}");
        }
    }

    #[test]
    fn a_receiver_that_is_gone_is_dead_at_once() {
        let outcome = what_follows(&attempt(Disposition::Gone), None, Duration::MAX, START, 0.5);
        assert_eq!(outcome, DeliveryOutcome::Dead);
    }
}
