//! The database as an SQLite file, for one daemon.
//!
//! Only functions of this module open transactions, every one of them by `BEGIN IMMEDIATE` on the single
//! writer connection, and none spans anything but statements.

mod activities;
mod certificates;
mod changes;
mod clock;
mod deliveries;
mod events;
mod explanations;
mod failures;
mod file_format;
mod file_identity;
mod files;
mod gates;
mod history;
mod lists;
mod lock;
mod open;
mod overview;
mod read_only;
mod record;
mod rows;
mod schedule;
mod statistics;
mod tallies;
mod upkeep;
mod upstream;
mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

use super::error;
use super::error::StoreError;
use super::millis;
use super::search_queue::{self, SearchQueue};
use crate::aside::Aside;
use crate::domain::routing::Route;
use file_identity::FileIdentity;
use lock::DatabaseLock;
#[cfg(feature = "postgres")]
pub use views::Snapshot;

/// The database of one daemon and its commands.
#[derive(Debug, Clone)]
pub struct Store {
    path: Arc<PathBuf>,
    /// One connection: SQLite has one writer, and queueing for it is cheaper here than in SQLite.
    writer: SqlitePool,
    /// What the daemon's tasks read with.
    readers: SqlitePool,
    /// What people read with: however long their reports take, no poll waits for one.
    reports: SqlitePool,
    /// What people search with, each in its turn.
    searches: SqlitePool,
    search_queue: SearchQueue,
    /// The thread of commits with many statements. Where there can be none, they share that of the work.
    commits: Arc<Aside>,
    /// What metrics and the service manager's line are read with: they wait for nobody else.
    vitals: SqlitePool,
    /// Sinks that new events are delivered to.
    routes: Arc<[Route]>,
    /// By which the daemon knows the file that it has opened.
    file_identity: Option<Arc<FileIdentity>>,
    /// Whether this process has created it.
    is_new: bool,
    /// How the file was at the start, if it is read as one that doesn't change.
    read_at: Option<read_only::FileState>,
    /// The daemon's lock, held for as long as a clone lives.
    _lock: Option<Arc<DatabaseLock>>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a daemon runs on this database file.
    pub fn is_served(path: &Path) -> bool {
        DatabaseLock::is_held(path)
    }

    /// Whether this process has created it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Closes all connections after reading.
    ///
    /// # Errors
    /// [`StoreError::Moved`] if what was read may not fit together.
    pub async fn end_reading(&self) -> Result<(), StoreError> {
        self.close().await;
        match read_only::has_moved(&self.path, self.read_at.as_ref()) {
            true => Err(StoreError::Moved { path: self.path().to_owned() }),
            false => Ok(()),
        }
    }

    /// Closes all connections; the last process to do so folds the WAL into the file.
    pub async fn close(&self) {
        for pool in [&self.vitals, &self.searches, &self.reports] {
            pool.close().await;
        }
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The connections stay open until the process ends, because closing the last one would write to the file. If that
    /// was overwritten or emptied, the files beside it belong to the database that was there before, and are renamed.
    pub fn leave_as_it_is(&self, lost: &StoreError) {
        std::mem::forget(self.clone());
        if !matches!(lost, StoreError::Overwritten { .. } | StoreError::Emptied { .. }) {
            return;
        }
        for suffix in ["-wal", "-shm"] {
            let (from, to) =
                (beside(&self.path, suffix), beside(&self.path, &format!("{suffix}.overwritten")));
            if let Err(err) = std::fs::rename(&from, &to) {
                tracing::error!(
                    error = &err as &dyn std::error::Error,
                    "{} can't be moved away",
                    from.display()
                );
            }
        }
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Begins to write, unless the WAL was cut: a commit may make SQLite copy it into the file, with frames that are
    /// lost.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        if let Some(identity) = &self.file_identity
            && identity.is_wal_shorter()
            && let Some(cut) = identity.cut_wal(&self.writer).await
        {
            return Err(cut);
        }
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::query("beginning to write"))
    }
}

/// The path of a file beside another: the same name with a suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Device and inode of a file; `None` if there is none.
fn device_and_inode(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

async fn commit(transaction: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(StoreError::query("committing"))
}

/// Rows as the JSON text that a set-based statement reads with `json_each`.
fn as_json<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(StoreError::Encode)
}
