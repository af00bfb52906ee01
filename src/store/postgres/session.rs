//! The connection that holds a daemon's locks, and writes for the work that it holds.
//!
//! Whatever ends that connection ends both, so that nobody can commit for a piece of work that another daemon holds. No
//! clock takes part in that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::error::{StoreError, ends_connection};
use super::{LOCKS, Store, WRITING};

/// A daemon that could not write its sign of life for this long stops claiming, asking and sending. Shorter than the time after
/// which others take it for dead, by more than a statement takes to arrive.
const FRESH_FOR: Duration = Duration::from_secs(8);

/// How long a statement of the control connection may take.
const CONTROL_PATIENCE: Duration = Duration::from_secs(6);

/// How long one transaction may take before its connection is given up. Moving a million rows with the clock takes
/// longest.
const WRITE_PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// `None` once it has failed, or is closed.
    connection: tokio::sync::Mutex<Option<PgConnection>>,
    backend_pid: i32,
    /// How often the clock had jumped when the session began.
    n_jumps: i64,
    /// Until when the locks are known to be held; `None` once they are given up.
    fresh_until: Mutex<Option<Instant>>,
    /// When the transaction began that is under way. One that was dropped in the middle stays until the next.
    began_at: Mutex<Option<Instant>>,
}

impl Session {
    pub(super) fn new(connection: PgConnection, backend_pid: i32, n_jumps: i64, now: Instant) -> Self {
        Self {
            connection: tokio::sync::Mutex::new(Some(connection)),
            backend_pid,
            n_jumps,
            fresh_until: Mutex::new(Some(now + FRESH_FOR)),
            began_at: Mutex::default(),
        }
    }

    pub(super) fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// Whether the locks are held, as far as can be known without asking.
    pub fn is_held(&self) -> bool {
        lock(&self.fresh_until).is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn refresh(&self, since: Instant) {
        if let Some(until) = &mut *lock(&self.fresh_until) {
            *until = since + FRESH_FOR;
        }
    }

    /// Whether the current transaction has taken longer than any should.
    pub(super) fn is_stuck(&self) -> bool {
        lock(&self.began_at).is_some_and(|at| at.elapsed() > WRITE_PATIENCE)
    }

    /// Writes in one transaction that has the writers' lock. Commits if all went well, else undoes everything. A
    /// connection that failed is given up, and with it all that is held.
    ///
    /// # Errors
    /// Those of `work`, and [`StoreError::Lost`] if the session has ended.
    pub(super) async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut held = self.connection.lock().await;
        let connection = held.as_mut().ok_or_else(ended)?;
        let is_unfinished = lock(&self.began_at).replace(Instant::now()).is_some();
        let written = self.transact(connection, is_unfinished, work).await;
        *lock(&self.began_at) = None;
        if let Err(StoreError::Lost { .. }) = written {
            *held = None;
            self.give_up();
        }
        written
    }

    /// From now on nothing counts as held: what was is free, or about to be.
    pub(super) fn give_up(&self) {
        *lock(&self.fresh_until) = None;
    }

    async fn transact<T>(
        &self,
        connection: &mut PgConnection,
        is_unfinished: bool,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = match self.begin(connection, is_unfinished).await {
            Ok(()) => work(connection).await,
            Err(err) => Err(err),
        };
        match written {
            // If COMMIT fails, it is unknown whether it was done; the next session reads what is stored.
            Ok(value) => match sqlx::query("COMMIT").execute(connection).await {
                Ok(_) => Ok(value),
                Err(source) => Err(lost_by(&source)),
            },
            Err(StoreError::Query { operation, source }) if is_broken(&source) => {
                tracing::debug!(error = &source as &dyn std::error::Error, "{operation} failed");
                Err(lost_by(&source))
            }
            Err(err) => match sqlx::query("ROLLBACK").execute(connection).await {
                Ok(_) => Err(err),
                Err(source) => Err(lost_by(&source)),
            },
        }
    }

    async fn begin(&self, connection: &mut PgConnection, is_unfinished: bool) -> Result<(), StoreError> {
        let failed = || StoreError::query("beginning to write");
        if is_unfinished {
            sqlx::query("ROLLBACK").execute(&mut *connection).await.map_err(failed())?;
        }
        sqlx::query("BEGIN ISOLATION LEVEL READ COMMITTED")
            .execute(&mut *connection)
            .await
            .map_err(failed())?;
        let n_jumps: i64 = sqlx::query_scalar("SELECT n FROM clock_jumps, pg_advisory_xact_lock($1, $2)")
            .bind(LOCKS)
            .bind(WRITING)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed())?;
        if n_jumps == self.n_jumps {
            return Ok(());
        }
        Err(StoreError::Lost { cause: "the database's clock has jumped".to_owned() })
    }

    pub(super) async fn close(&self) {
        if let Ok(mut connection) = tokio::time::timeout(CONTROL_PATIENCE, self.connection.lock()).await
            && let Some(connection) = connection.take()
        {
            // Its result does not matter: the server drops the locks in either case.
            let _ = tokio::time::timeout(CONTROL_PATIENCE, connection.close()).await;
        }
    }

    /// Runs one statement about the lock of a piece outside the transactions, and returns its one value.
    pub(super) async fn scalar(&self, statement: &'static str, piece: i32) -> Result<bool, StoreError> {
        let mut held = tokio::time::timeout(CONTROL_PATIENCE, self.connection.lock())
            .await
            .map_err(|_| StoreError::Lost { cause: "its writer is busy".to_owned() })?;
        let connection = held.as_mut().ok_or_else(ended)?;
        in_time(sqlx::query_scalar(statement).bind(LOCKS).bind(piece).fetch_one(connection)).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended() -> StoreError {
    StoreError::Lost { cause: "its session has ended".to_owned() }
}

pub(super) fn lost_by(source: &sqlx::Error) -> StoreError {
    StoreError::Lost { cause: source.to_string() }
}

/// Whether an error is the connection's rather than the statement's.
fn is_broken(source: &sqlx::Error) -> bool {
    match source {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            true
        }
        sqlx::Error::Database(err) => err.code().is_some_and(|code| ends_connection(&code)),
        _ => false,
    }
}

pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CONTROL_PATIENCE, asked).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(lost_by(&source)),
        Err(_) => {
            let cause = format!("no answer within {} s", CONTROL_PATIENCE.as_secs());
            Err(StoreError::Lost { cause })
        }
    }
}

impl Store {
    /// Refuses a claim if this daemon's sign of life is overdue.
    pub(super) fn require_held(&self) -> Result<(), StoreError> {
        match &self.session {
            Some(session) if session.is_held() => Ok(()),
            _ => Err(StoreError::NotHeld),
        }
    }

    /// Whether this daemon's session is known to be alive.
    pub fn is_held(&self) -> bool {
        self.require_held().is_ok()
    }

    pub(super) fn session(&self) -> Result<&Session, StoreError> {
        self.session.as_deref().ok_or(StoreError::NotHeld)
    }
}
