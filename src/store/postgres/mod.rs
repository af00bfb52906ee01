//! The database as a PostgreSQL schema, for any number of daemons.
//!
//! What a daemon writes for the work that it holds goes through the one connection that holds the locks on it
//! ([`session::Session`]): a daemon that has lost its locks has lost that connection and can't commit. Everything else,
//! reading and the orders of people, has connections of its own.
//!
//! Every transaction that writes takes one lock first, so that writers come one after the other as on SQLite: events
//! are numbered in the order of their commits, and no two transactions wait for each other's rows.

mod activities;
mod address;
mod certificates;
mod clock;
mod copy;
mod deliveries;
mod events;
mod explanations;
mod failures;
mod gates;
mod history;
mod lists;
mod membership;
mod open;
mod overview;
mod record;
mod schedule;
mod session;
mod share;
mod statistics;
mod upkeep;
mod upstream;
mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{PgPool, Postgres, Transaction};

pub use address::PostgresAddress;
pub use copy::copy;
pub use membership::Membership;
pub use session::Session;

use super::error;
use super::error::StoreError;
use super::millis;
use super::search_queue::{self, SearchQueue};
use crate::domain::routing::Route;

/// First half of the keys of all advisory locks of this program: "PCSW".
const LOCKS: i32 = 0x5043_5357;

/// Second half of the key of the lock that writers take; pieces have theirs from 1 on.
const WRITING: i32 = 0;

/// Second half of the key of the lock that migrations take.
const MIGRATING: i32 = -1;

/// The channel of `NOTIFY`.
const CHANNEL: &str = "pcsid_watch";

/// First statement of every transaction that writes.
const LOCK_WRITING: &str = "SELECT pg_advisory_xact_lock($1, $2)";

/// The database of many daemons and their commands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What a daemon writes through; `None` for commands, and for a daemon that holds nothing.
    session: Option<Arc<Session>>,
}

#[derive(Debug)]
struct Inner {
    address: PostgresAddress,
    /// What the daemon's tasks read with.
    readers: PgPool,
    /// What people read and order with: however long their reports take, no poll waits for one.
    people: PgPool,
    /// What people search with, each in its turn.
    searches: PgPool,
    search_queue: SearchQueue,
    /// What metrics and the service manager's line are read with: they wait for nobody else.
    vitals: PgPool,
    /// Sinks that new events are delivered to.
    routes: Arc<[Route]>,
    /// Whether this process has created the schema.
    is_new: AtomicBool,
}

impl Store {
    /// Closes all connections.
    pub async fn close(&self) {
        for pool in [&self.inner.vitals, &self.inner.searches, &self.inner.people] {
            pool.close().await;
        }
        self.inner.readers.close().await;
    }

    /// Where it is, without secrets.
    pub fn address(&self) -> &PostgresAddress {
        &self.inner.address
    }

    /// Whether this process has created the schema.
    pub fn is_new(&self) -> bool {
        self.inner.is_new.load(Ordering::Relaxed)
    }

    /// The same database, written through this session.
    pub fn through(&self, session: Arc<Session>) -> Self {
        Self { inner: Arc::clone(&self.inner), session: Some(session) }
    }

    fn people(&self) -> &PgPool {
        &self.inner.people
    }

    fn vitals(&self) -> &PgPool {
        &self.inner.vitals
    }

    fn readers(&self) -> &PgPool {
        &self.inner.readers
    }

    pub fn routes(&self) -> &[Route] {
        &self.inner.routes
    }

    /// Begins to write an order of people.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self
            .people()
            .begin_with("BEGIN ISOLATION LEVEL READ COMMITTED")
            .await
            .map_err(StoreError::query("beginning to write"))?;
        lock_writing(&mut transaction).await?;
        Ok(transaction)
    }
}

async fn lock_writing(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    sqlx::query(LOCK_WRITING)
        .bind(LOCKS)
        .bind(WRITING)
        .execute(connection)
        .await
        .map_err(StoreError::query("beginning to write"))?;
    Ok(())
}

/// Commits, and wakes the daemons.
async fn commit_and_notify(mut transaction: Transaction<'_, Postgres>) -> Result<(), StoreError> {
    notify(&mut transaction, "").await?;
    commit(transaction).await
}

/// Within a transaction: wakes the daemons once it is committed.
async fn notify(connection: &mut sqlx::PgConnection, what: &'static str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(what)
        .execute(connection)
        .await
        .map_err(StoreError::query("telling the daemons"))?;
    Ok(())
}

async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(StoreError::query("committing"))
}

/// Text as PostgreSQL takes it: a NUL, which it can't hold, becomes the replacement character.
fn text(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

/// As [`text`].
fn optional_text(value: Option<&str>) -> Option<String> {
    value.map(text)
}
