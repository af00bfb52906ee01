//! The database: the only place with SQL.
//!
//! [`Store`] is an opened one. What may be done with it is divided into interfaces, so that a caller sees only what it
//! may do:
//!
//! | interface | for |
//! |---|---|
//! | [`Reports`] | reading: reports, lists, the overview, one activity's history |
//! | [`Intake`] | what people and other programs order: register, cancel, retry, poll now, redeliver |
//! | [`Work`] | what only a daemon that holds work does: claims, and records of their results |
//! | [`Member`] | a daemon's part in the work: what it holds, what others changed, or that the database is lost |
//! | [`Upkeep`] | pruning, checking, the ties to an upstream |
//! | [`Files`] | what only a database that is a file has: its size, the room left for it, a copy of it |
//!
//! # Where what is
//!
//! The files here have the types that callers see, and what both databases share. `sqlite` and `postgres` have the
//! statements, under the same names, one file for each family of tables. What a function promises is documented at its
//! interface, not again in each database. `history` has a struct for each view of one activity, `views` the views of
//! `report`, `lists` filters and cursors, `record` what the recorder writes, `schedule` what is claimed.
//!
//! # Rules
//!
//! - Only the store opens transactions, and none spans a network call.
//! - Every function that asks the database can fail as that does ([`StoreError::Query`], [`StoreError::Lost`],
//!   [`StoreError::Damaged`]); `# Errors` names only what else can go wrong.
//! - A decision or delivery is written only if its row still has the revision that it was claimed with.
//! - A batch is a few statements, whatever its size.
//! - A stored value that this program never writes is [`StoreError::Damaged`], named by its column, and never replaced
//!   by a default.
//! - What people read has connections of its own, and free searches have a time limit.
//!
//! # Rejected
//!
//! An ORM or a generic repository: the statements are the point, and the two dialects differ where it matters
//! (`json_each` and `unnest`, triggers by row and by statement). A trait for the two databases: `on!` calls the same
//! method of either, with neither boxed futures nor a second list of signatures. sqlx's macros: docs/DESIGN.md says
//! why.
//!
//! Only the module of each database knows which one it is: paths, locks, journals.

mod activities;
mod address;
mod certificates;
mod claims;
mod deliveries;
mod error;
mod failures;
mod files;
mod gates;
mod history;
mod intake;
mod lists;
mod member;
mod overview;
#[cfg(feature = "postgres")]
mod postgres;
mod record;
mod reports;
mod schedule;
mod search_queue;
mod sqlite;
mod statistics;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;
mod views;
mod work;

use std::fmt;
use std::sync::Arc;

pub use activities::{ActivityRef, RegisterOutcome, Retried};
pub use address::{Address, UnusableAddress};
pub use certificates::{
    EndingCertificate, EndingCertificates, EndingCounts, ImportedCertificates, Reminded, WITHIN_DAYS,
};
pub use deliveries::{ClaimedDelivery, DeliveryOutcome, DeliveryRecord, Redelivery};
pub use error::StoreError;
pub use failures::Failure;
pub use files::{Files, Footprint};
pub use gates::StoredGate;
pub use history::{
    ActivityRow, AttemptRow, CheckErrorRow, CheckRow, ComparedRules, DeliveryRow, EventRow, Explained,
    FinalAnswer, FormerAttempt, History, ListedErrorRow, TransitionRow,
};
pub use intake::Intake;
pub use lists::{
    ActivityFilter, ActivityOrder, ActivityPosition, DeliveryFilter, DeliveryPosition, EventFilter,
    EventPosition, OutboxRow, Slice, TimeRange, Total,
};
pub use member::{Duties, Member, News, Piece};
pub use overview::{Blocked, Overview, Undelivered, Waiting};
pub use record::{Jump, PollRecord, Record, Recorded};
pub use reports::Reports;
pub use schedule::{Claimed, Sweep};
pub use statistics::{
    Bucket, CheckTally, ChecksByVat, Conclusion, Day, Durations, FailingRule, FailingRules, Statistics,
    UnservedVats, VatChecks,
};
pub use upkeep::Upkeep;
pub use views::{ActivityView, Cell, ReportSlice, ReportView, Table};
pub use work::{Deliveries, Polls, Work};

use crate::clock::Clock;
use crate::domain::routing::Route;
use crate::domain::time::Timestamp;

/// What a command wants to do with a database that must exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading what it says.
    Read,
    /// Copying or checking all of it. An older schema is accepted.
    Inspect,
    /// Changing what is there.
    Change,
}

/// Pause between two transactions of one order, so that others can write.
pub const TURN: std::time::Duration = std::time::Duration::from_millis(20);

/// A table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub n_rows: u64,
}

/// An opened database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
}

/// Which database it is.
#[derive(Debug, Clone)]
enum Backend {
    Sqlite(sqlite::Store),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Store),
}

/// Calls the same function of whichever database it is.
macro_rules! on {
    ($backend:expr, $store:ident => $call:expr) => {
        match $backend {
            Backend::Sqlite($store) => $call,
            #[cfg(feature = "postgres")]
            Backend::Postgres($store) => $call,
        }
    };
}
use on;

impl Backend {
    /// Which sinks get which events.
    fn routes(&self) -> &[Route] {
        on!(self, store => store.routes())
    }

    /// Whether this daemon is known to hold the work that it was given.
    fn is_held(&self) -> bool {
        match self {
            Backend::Sqlite(_) => true,
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => store.is_held(),
        }
    }
}

impl Store {
    /// Opens the database for a command, creating or migrating it as needed. New events go to `routes`.
    ///
    /// # Errors
    /// If it is not ours (another program's, a newer schema, damaged) it is left untouched.
    pub async fn open(address: &Address, routes: Vec<Route>) -> Result<Self, StoreError> {
        let backend = match address {
            Address::Sqlite(path) => Backend::Sqlite(sqlite::Store::open(path, routes).await?),
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => Backend::Postgres(postgres::Store::open(address, routes).await?),
        };
        Ok(Self { backend })
    }

    /// Opens an existing database for a command. Nothing is created or migrated. A command that only reads leaves no
    /// files behind and needs no right to write.
    ///
    /// # Errors
    /// As [`Store::open`], and if there is no database, or one of an older version.
    pub async fn open_existing(
        address: &Address,
        routes: Vec<Route>,
        access: Access,
    ) -> Result<Self, StoreError> {
        let backend = match address {
            Address::Sqlite(path) => {
                Backend::Sqlite(sqlite::Store::open_existing(path, routes, access).await?)
            }
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => {
                Backend::Postgres(postgres::Store::open_existing(address, routes, access).await?)
            }
        };
        Ok(Self { backend })
    }

    /// Whether this process has created the database.
    pub fn is_new(&self) -> bool {
        on!(&self.backend, store => store.is_new())
    }

    /// Whether a daemon runs on the database. If a server doesn't say, the answer is yes.
    pub async fn is_served(address: &Address) -> bool {
        match address {
            Address::Sqlite(path) => sqlite::Store::is_served(path),
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => postgres::Store::is_served(address).await,
        }
    }

    /// Opens the database for a daemon. A file is locked against a second daemon for as long as this value or a clone
    /// of it lives; a server is checked when the daemon joins.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::InUse`] if another daemon runs on the file.
    pub async fn open_as_daemon(address: &Address, routes: Vec<Route>) -> Result<Self, StoreError> {
        let backend = match address {
            Address::Sqlite(path) => Backend::Sqlite(sqlite::Store::open_as_daemon(path, routes).await?),
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => Backend::Postgres(postgres::Store::new(address, routes)?),
        };
        Ok(Self { backend })
    }

    /// The database on a server, without asking it anything yet; `None` if it is a file.
    ///
    /// # Errors
    /// If the password's file can't be read.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "there are files alone"))]
    pub fn on_server(address: &Address, routes: Vec<Route>) -> Result<Option<Self>, StoreError> {
        match address {
            Address::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => {
                let backend = Backend::Postgres(postgres::Store::new(address, routes)?);
                Ok(Some(Self { backend }))
            }
        }
    }

    /// Connects, changes nothing, and says in words what is there.
    ///
    /// # Errors
    /// If it can't be reached, or may not be used.
    pub async fn reach(&self) -> Result<&'static str, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok("a file"),
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => store.reach().await,
        }
    }

    /// Takes part in the work, for a daemon.
    ///
    /// # Errors
    /// If the database can't be used now; [`StoreError::is_absence`] says whether that may pass.
    pub async fn join(&self, duties: &Duties, clock: &Arc<Clock>) -> Result<Member, StoreError> {
        Member::join(&self.backend, duties, clock).await
    }

    /// The time by which this database's work goes: a server's own, if it is one.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(crate::clock::wall_now()),
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => store.now().await,
        }
    }

    /// Whether other daemons may work on it at the same time.
    pub fn is_shared(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => true,
        }
    }

    /// Reading.
    pub fn reports(&self) -> Reports {
        Reports(self.backend.clone())
    }

    /// Orders of people and programs.
    pub fn intake(&self) -> Intake {
        Intake(self.backend.clone())
    }

    /// Maintenance.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep(self.backend.clone())
    }

    /// What only a database file has; `None` on a server.
    pub fn files(&self) -> Option<Files> {
        match &self.backend {
            Backend::Sqlite(store) => Some(Files(store.clone())),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => None,
        }
    }

    /// Copies this database, a file without a running daemon, into an empty database on a server. If it is interrupted,
    /// the target stays empty.
    ///
    /// # Errors
    /// If one of the two is of another kind, or the target is not empty.
    pub async fn copy_to(&self, target: &Store) -> Result<Vec<CopiedTable>, StoreError> {
        match (&self.backend, &target.backend) {
            #[cfg(feature = "postgres")]
            (Backend::Sqlite(from), Backend::Postgres(to)) => postgres::copy(from, to).await,
            _ => Err(StoreError::NeedsServer { what: "`db copy`" }),
        }
    }

    /// Closes all connections after reading.
    ///
    /// # Errors
    /// If what was read may not fit together, because another process has written meanwhile.
    pub async fn end_reading(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(store) => store.end_reading().await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => {
                store.close().await;
                Ok(())
            }
        }
    }

    /// Abandons a file that was overwritten, or whose WAL was cut: nothing more is written to it.
    pub fn leave_as_it_is(&self, lost: &StoreError) {
        match &self.backend {
            Backend::Sqlite(store) => store.leave_as_it_is(lost),
            #[cfg(feature = "postgres")]
            Backend::Postgres(_) => {}
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        on!(&self.backend, store => store.close().await);
    }
}

/// Where it is, as people name it.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            Backend::Sqlite(store) => store.path().display().fmt(f),
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => store.address().fmt(f),
        }
    }
}

/// Says that a database was created. If one was expected, the URL names another place or its volume is not mounted.
fn warn_of_new(database: &dyn fmt::Display) {
    tracing::warn!(
        database = %database,
        "database {database} did not exist: a new one is created, which knows of no activity"
    );
}

/// A duration as the whole milliseconds that columns hold.
fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
