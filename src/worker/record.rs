//! The recorder: the one task that writes the outcomes of polls and deliveries, changes of gates, jumps of the clock
//! and the heartbeat.
//!
//! Poller and dispatchers hand it [`Record`]s by a [`RecorderHandle`] and go on without waiting for the commit. What
//! arrives during one commit is the next batch, so a busy daemon writes many records with one flush of the disk, and a
//! quiet one waits for nothing.
//!
//! # Rules
//!
//! - Records are written in their order where it matters; a batch is one transaction, or a few if it is long.
//! - Nothing is logged, counted or announced before it is committed ([`outcomes`]).
//! - What upstream said is not dropped because a disk is full or a database is locked: the batch is tried until it can
//!   be written. The queue is bounded, so that poller and dispatchers then wait.
//! - [`RecorderHandle::flush`] returns once all that was handed over before is committed. Stopping and handing a piece
//!   over wait for it.
//!
//! # Rejected
//!
//! A transaction for each answer: a commit takes as long as hundreds of requests. A commit by a timer: what arrives
//! alone would wait for it.
//!
//! # What can go wrong
//!
//! A record that can't be written at all, a defect: the others of its batch are, and its row stays claimed until a
//! restart. If there are very many, polling pauses. A connection that is lost with its locks: the batch is dropped, and its rows are still due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::heartbeat::Heartbeat;
use super::outcomes;
use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::store::{Record, Recorded, StoreError, Work};

/// Records that may wait for the recorder. Together with what is in flight it bounds the daemon's memory.
const QUEUE: usize = 2_048;

/// KiB of records that may wait for the recorder: ordinary ones don't come near it, the longest do.
const QUEUE_KIB: usize = 16 * 1_024;

/// Records in one transaction, so that no commit takes long.
const MAX_BATCH: usize = 1_024;

/// Bytes of records in one transaction: each statement has all of its rows as one text, and the database a copy of it.
const MAX_BATCH_BYTES: usize = 4 * 1_024 * 1_024;

/// Shortest time from the beginning of a commit of [`BUSY_BATCH`] records to that of the next. Records share pages, and
/// a page written once for many costs less than one written often.
const BUSY_COMMITS_EVERY: Duration = Duration::from_millis(5);

/// A commit of at least this many records makes the next one wait, one of fewer does not: answers that come one by one are
/// never kept waiting. The results of a webhook's requests come eight at a time, and nobody waits for them.
const BUSY_BATCH: usize = 4;

/// How often the loop runs while there is nothing to write, so that the monitor sees it alive.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// Waits between tries of a batch that could not be written.
const RETRY_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// What is sent to the recorder.
#[derive(Debug)]
enum Submission {
    /// With its share of [`QUEUE_KIB`], which it gives back once it is written.
    Record(Record, Option<OwnedSemaphorePermit>),
    /// Answered once everything before it is committed.
    Flush(oneshot::Sender<()>),
}

/// Sends records to the recorder. The recorder ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct RecorderHandle {
    submissions: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

impl RecorderHandle {
    /// Hands a record over; waits while the queue is full. After the recorder's end it is dropped: its row is still
    /// due.
    pub async fn submit(&self, record: Record) {
        let n_kib = (record.weight() / 1_024).clamp(1, QUEUE_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(u32::try_from(n_kib).unwrap_or(u32::MAX));
        // The semaphore is never closed.
        let room = room.await.ok();
        let _ = self.submissions.send(Submission::Record(record, room)).await;
    }

    /// Waits until everything handed over before is committed.
    pub async fn flush(&self) {
        let (done, committed) = oneshot::channel();
        if self.submissions.send(Submission::Flush(done)).await.is_ok() {
            // An error means that the recorder has ended, which is as final as a commit.
            let _ = committed.await;
        }
    }
}

/// What a recorder is made of.
#[derive(Debug)]
pub struct RecorderParts {
    /// Where it writes.
    pub work: Work,
    /// The daemon's time.
    pub clock: Arc<Clock>,
    /// Counts what was written.
    pub monitor: Arc<Monitor>,
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    parts: RecorderParts,
    submissions: mpsc::Receiver<Submission>,
    heartbeat: Heartbeat,
    /// Whether that was said.
    has_too_many_left_out: bool,
}

impl Recorder {
    /// A recorder and the first handle to it.
    pub fn new(parts: RecorderParts) -> (Self, RecorderHandle) {
        let (sender, submissions) = mpsc::channel(QUEUE);
        let recorder =
            Self { parts, submissions, heartbeat: Heartbeat::default(), has_too_many_left_out: false };
        (recorder, RecorderHandle { submissions: sender, room: Arc::new(Semaphore::new(QUEUE_KIB)) })
    }

    /// Writes until the last handle is gone and everything is committed.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(ROUND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut submissions = Vec::new();
        let mut next_commit_at = Instant::now();
        loop {
            self.parts.monitor.recorder_lives();
            tokio::time::sleep_until(next_commit_at).await;
            tokio::select! {
                n_received = self.submissions.recv_many(&mut submissions, MAX_BATCH) => {
                    if n_received == 0 {
                        break;
                    }
                    if n_received >= BUSY_BATCH {
                        next_commit_at = Instant::now() + BUSY_COMMITS_EVERY;
                    }
                    self.write(submissions.drain(..)).await;
                }
                // Notices a lock that others keep, also while there is nothing to write. A permanent error comes again
                // with the next record.
                _ = ticks.tick() => drop(self.commit(&Arc::default()).await),
            }
            if let Some(beat) = self.heartbeat.due(&self.parts.clock) {
                self.commit_or_leave_out([beat].into()).await;
            }
        }
        self.commit_or_leave_out([Heartbeat::at_the_end(&self.parts.clock)].into()).await;
    }

    async fn write(&mut self, submissions: impl Iterator<Item = Submission>) {
        let mut batch = Vec::with_capacity(submissions.size_hint().0);
        let (mut n_bytes, mut rooms) = (0, Vec::new());
        let mut flushes = Vec::new();
        for submission in submissions {
            match submission {
                Submission::Record(record, room) => {
                    let weight = record.weight();
                    if n_bytes + weight > MAX_BATCH_BYTES && !batch.is_empty() {
                        self.commit_or_leave_out(std::mem::take(&mut batch).into()).await;
                        rooms.clear();
                        n_bytes = 0;
                    }
                    n_bytes += weight;
                    batch.push(record);
                    rooms.push(room);
                }
                Submission::Flush(done) => flushes.push(done),
            }
        }
        if !batch.is_empty() {
            self.commit_or_leave_out(batch.into()).await;
        }
        drop(rooms);
        for done in flushes {
            // The caller may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Commits a batch. If one of its records can't be written at all, which is a defect, the others are. That one is
    /// reported, and its row stays claimed, so that it is not polled in a loop.
    async fn commit_or_leave_out(&mut self, batch: Arc<[Record]>) {
        match self.commit(&batch).await {
            Ok(()) => {}
            Err(_) if batch.len() > 1 => {
                for record in batch.iter() {
                    let alone = [record.clone()].into();
                    if let Err(err) = self.commit(&alone).await {
                        self.leave_out(record, &err);
                    }
                }
            }
            Err(err) => {
                for record in batch.iter() {
                    self.leave_out(record, &err);
                }
            }
        }
    }

    fn leave_out(&mut self, record: &Record, err: &StoreError) {
        report_unwritable_record(err, record);
        if !self.parts.work.leave_out(record) && !std::mem::replace(&mut self.has_too_many_left_out, true) {
            tracing::error!("too many answers can't be written: polling pauses until a restart");
        }
    }

    /// Commits a batch, and tries again as often as needed: nothing that upstream said is dropped because a disk is
    /// full. Only a permanent error is returned. An empty batch writes nothing: it waits until no other process keeps
    /// the lock.
    async fn commit(&mut self, batch: &Arc<[Record]>) -> Result<(), StoreError> {
        let mut n_failures: u32 = 0;
        loop {
            self.parts.monitor.recorder_lives();
            self.parts.monitor.begins_to_write();
            let began_at = Instant::now();
            let trying = async {
                match batch.is_empty() {
                    true => self.parts.work.can_write().await.map(|()| Recorded::default()),
                    false => self.parts.work.record(batch).await,
                }
            };
            let tried = self.waiting_for(trying).await;
            match tried {
                Ok(recorded) => {
                    self.parts.monitor.committed(batch.len(), began_at.elapsed());
                    if n_failures > 0 {
                        tracing::info!(
                            n_failures,
                            "the database can be written again, after {n_failures} tries"
                        );
                    }
                    self.announce(batch, &recorded);
                    return Ok(());
                }
                // The supervisor is about to end this task, with all that was held. What can't be written is still due.
                Err(err) if err.is_lost() => {
                    tracing::debug!(error = &err as &dyn std::error::Error, "a batch is dropped");
                    std::future::pending::<()>().await;
                }
                Err(err) if !err.may_pass() => return Err(err),
                Err(err) => {
                    self.parts.monitor.not_committed();
                    if n_failures == 0 {
                        report_unwritable(&err, batch.len());
                    }
                    let wait = RETRY_AFTER.get(n_failures as usize).or(RETRY_AFTER.last());
                    n_failures = n_failures.saturating_add(1);
                    tokio::time::sleep(wait.copied().unwrap_or(Duration::from_secs(5))).await;
                }
            }
        }
    }

    /// Waits, which counts as being alive: others may keep the writer for longer than a task may stand still.
    async fn waiting_for<T>(&self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            match tokio::time::timeout(ROUND_EVERY, &mut done).await {
                Ok(value) => return value,
                Err(_) => self.parts.monitor.recorder_lives(),
            }
        }
    }

    /// What follows from a commit: its outcomes are logged and counted.
    fn announce(&self, batch: &[Record], recorded: &Recorded) {
        outcomes::report(batch, recorded, &self.parts.monitor);
        if !recorded.superseded.is_empty() {
            tracing::debug!(
                n_superseded = recorded.superseded.len(),
                "answers were dropped for activities that a command changed meanwhile"
            );
        }
    }
}

fn report_unwritable(err: &StoreError, n_records: usize) {
    tracing::error!(
        error = err as &dyn std::error::Error,
        n_records,
        "{err}; polling waits, nothing is announced, and it is tried again until it works"
    );
}

fn report_unwritable_record(err: &StoreError, record: &Record) {
    let what = match record {
        Record::Poll(poll) => format!("the answer for activity {}", poll.claimed.activity.activity_id),
        Record::Delivery(delivery) => format!("a delivery to {}", delivery.sink),
        Record::Gate(_) => "a hold".to_owned(),
        Record::ClockJump(_) => "a jump of the clock".to_owned(),
        Record::Heartbeat(_) => "the heartbeat".to_owned(),
        Record::Request { credential, .. } => format!("the time of the last request with {credential}"),
    };
    tracing::error!(
        error = err as &dyn std::error::Error,
        "{what} can't be written and is left out until a restart: {err}; please report this"
    );
}
