//! The database as an SQLite file, for one daemon.
//!
//! Only functions of this module open transactions, every one of them by `BEGIN IMMEDIATE` on the single
//! writer connection, and none spans anything but statements.

mod activities;
mod certificates;
mod clock;
mod deliveries;
mod events;
mod explanations;
mod failures;
mod footprint;
mod gates;
mod history;
mod lists;
mod lock;
mod open;
mod overview;
mod read;
mod record;
mod schedule;
mod statistics;
mod upkeep;
mod upstream;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};

pub use activities::{ActivityRef, RegisterOutcome, Retried};
pub use certificates::{
    Ending, EndingCertificates, EndingCounts, ImportedCertificates, Reminded, WITHIN_DAYS,
};
pub use deliveries::{ClaimedDelivery, DeliveryOutcome, DeliveryRecord, Redelivery};
pub use explanations::FinalAnswer;
pub use failures::Failure;
pub use footprint::Footprint;
pub use gates::StoredGate;
pub use lists::{
    ActivityFilter, ActivityOrder, ActivityPosition, DeliveryFilter, DeliveryPosition, DeliveryStatus,
    EventFilter, EventPosition, Slice, Span, Total,
};
pub use lock::DatabaseLock;
pub use overview::{ClosedGate, Overview, Undelivered, Waiting};
pub use read::{ActivityView, Cell, Report, Table};
pub use record::{PollRecord, Record, Recorded};
pub use schedule::{Claimed, Sweep};
pub use statistics::{
    Bucket, CheckTally, ChecksByVat, Conclusion, Day, Durations, FailingRule, FailingRules, Statistics,
    UnservedVats, VatChecks,
};

use super::error;
use super::error::StoreError;
use crate::domain::routing::Route;

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
    /// Sinks that new events are delivered to.
    routes: Arc<[Route]>,
    /// Device and inode of the file that was opened.
    identity: Option<(u64, u64)>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still the one that was opened. One that was removed or replaced takes all that is written to
    /// it along when the last connection closes.
    pub fn is_in_place(&self) -> bool {
        identity(&self.path) == self.identity
    }

    /// Whether a daemon runs on this database file.
    pub fn is_served(path: &Path) -> bool {
        // The lock is found by the file's name, as the daemon found it.
        DatabaseLock::is_held(&std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// Closes all connections; the last process to do so folds the WAL into the file.
    pub async fn close(&self) {
        self.reports.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::query("beginning to write"))
    }
}

/// Device and inode of a file; `None` where there is none.
fn identity(path: &Path) -> Option<(u64, u64)> {
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

/// A duration as the whole milliseconds that columns hold.
fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
