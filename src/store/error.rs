//! Everything that can go wrong with the database, in sentences that say what to do.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::secret::SecretError;

/// An error of the database or of what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file can't be opened or created.
    #[error("database `{}` can't be opened{}", path.display(), open_hint(.source))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// There is no such file.
    #[error(
        "database `{}` does not exist: check database.url and that its volume is mounted; `pcsid-watch run`, `add` and \
         `import` create a new one",
        path.display()
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error(
        "database `{}` is an empty file (0 bytes), which pcsid-watch never leaves: check that its volume is mounted, \
         restore a backup, or remove the file to begin a new database",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database without a table.
    #[error(
        "database `{}` holds nothing yet: check database.url; `pcsid-watch run`, `add` and `import` begin a new one in it",
        path.display()
    )]
    NoSchema {
        /// The file.
        path: PathBuf,
    },
    /// An older version of this program wrote the file.
    #[error(
        "database `{}` has schema {found}, this version needs {known}: `pcsid-watch run` migrates it at its start",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is a folder where the file should be.
    #[error("database `{}` is a folder: name a file in it in database.url", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// There is a pipe or a device where the file should be.
    #[error("database `{}` is a pipe or a device: name a file in database.url", path.display())]
    NoFile {
        /// Where.
        path: PathBuf,
    },
    /// The file's WAL or journal has to be written into it first, which this user can't do.
    #[error(
        "database `{}` was left with unfinished writes in the file beside it that ends in `{beside}`, and this user may \
         not finish them: start the daemon, or run the command once as the owner of the file (user id {owner})",
        path.display()
    )]
    Unfinished {
        /// The file.
        path: PathBuf,
        /// `-wal` or `-journal`.
        beside: &'static str,
        /// The user whom it belongs to.
        owner: u32,
    },
    /// The file was written while it was read by somebody who may only read.
    #[error("database `{}` was written while it was read, and what was read may not fit together: try again", path.display())]
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// The file is not there, but its journal is.
    #[error(
        "database `{}` does not exist, but `{}-wal` does: put the database back; or remove what is left under its name \
         with -wal and -shm, and a new one is created",
        path.display(), path.display()
    )]
    JournalAlone {
        /// The file.
        path: PathBuf,
    },
    /// A copy can't be written.
    #[error("`{}` can't be written{}", path.display(), io_hint(.source))]
    Copy {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no SQLite database, or a damaged one.
    #[error("`{}` is not a readable SQLite database: restore it from a backup or name another file in database.url", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// The file is a database of another program.
    #[error("`{}` is a database of another program: name another file in database.url", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program has migrated the file.
    #[error(
        "database `{}` has schema {found}, this version knows up to {known}: install the version that wrote it, \
         or restore the backup made before its migration",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Our newest.
        known: i64,
    },
    /// The file has hard links, and SQLite keeps a WAL for each name.
    #[error("database `{}` has several names (hard links): keep one, or what is written by one is lost to the others", path.display())]
    SeveralNames {
        /// The file.
        path: PathBuf,
    },
    /// The file is a mount of its own, and SQLite keeps a WAL beside each place of it.
    #[error(
        "database `{}` is mounted as a single file, and what is written through its other place is lost to it: mount \
         the folder that holds it instead",
        path.display()
    )]
    MountedAlone {
        /// The file.
        path: PathBuf,
    },
    /// The WAL beside the file is of another database.
    #[error(
        "`{}-wal` does not belong to database `{}`, which was restored without it: move what stands beside the database \
         under its name with -wal and -shm away, and start again",
        path.display(), path.display()
    )]
    StaleJournal {
        /// The database.
        path: PathBuf,
    },
    /// Another process has the lock.
    #[error("database `{}` is in use by another pcsid-watch daemon{}: stop it first", path.display(), owner(.pid))]
    InUse {
        /// The file.
        path: PathBuf,
        /// The daemon's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The file can't be locked.
    #[error("database `{}` can't be locked: check that this user may read it and that it is on a local disk", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A migration failed; the database is as it was before it.
    #[error("database `{database}` can't be created or migrated{}", migration_hint(.source))]
    Migrate {
        /// Where it is.
        database: String,
        /// Why.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// SQLite does not run in the mode that durability depends on.
    #[error("database `{}` runs in {setting}, which may lose answers: put it on a local disk, not on a network file system", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// The setting as SQLite reports it.
        setting: String,
    },
    /// The file was removed while the daemon ran.
    #[error(
        "database `{}` was removed or replaced while the daemon ran; what was recorded since is lost with it: put the \
         file back or restore a backup, remove what is left beside it under the same name with -wal and -shm, then start \
         again",
        path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The symbolic link to the file was switched while the daemon ran.
    #[error(
        "`{}` led to database `{}` when the daemon started, and no longer does; what the daemon recorded is in that file: lead \
         the link back there, or go on with what it leads to now, then start again",
        link.display(), path.display()
    )]
    Switched {
        /// The name in the configuration.
        link: PathBuf,
        /// The file that it led to.
        path: PathBuf,
    },
    /// Another file was copied over the database while the daemon ran.
    #[error(
        "database `{}` was overwritten while the daemon ran; nothing more was written to it, and what stood beside it, of the \
         database that was there before, is `{}-wal.overwritten` now: a start goes on with the file as it is; next time stop \
         the daemon before a restore",
        path.display(), path.display()
    )]
    Overwritten {
        /// The file.
        path: PathBuf,
    },
    /// The database was emptied while the daemon ran.
    #[error(
        "database `{}` was emptied (0 bytes) while the daemon ran; nothing more was written to it, and what stood beside it \
         is `{}-wal.overwritten` now: restore a backup, or remove the file to begin a new database, then start again",
        path.display(), path.display()
    )]
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// A file that SQLite keeps beside the database was removed or replaced while the daemon ran.
    #[error(
        "`{}` was removed or replaced while the daemon ran; what it held has been written to the database as far as \
         that goes: run `pcsid-watch db check`, then start again",
        path.display()
    )]
    JournalGone {
        /// The file beside the database.
        path: PathBuf,
    },
    /// The WAL was cut while the daemon ran.
    #[error(
        "`{}` was emptied or cut while the daemon ran; nothing more was written to the database, and what that file alone \
         held is lost: run `pcsid-watch db check`, then start again",
        path.display()
    )]
    JournalCut {
        /// The WAL.
        path: PathBuf,
    },
    /// The server can't be reached, or refuses this user.
    #[error("database `{address}` can't be reached{}", hint(.source))]
    Connect {
        /// The URL.
        address: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// There is no password for the server where it should be.
    #[error("database.password_file has no usable password")]
    Password(#[source] SecretError),
    /// The file of the server's root can't be read.
    #[error("database.ca_file `{}` can't be read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What answers there may not be used.
    #[error("database `{address}` can't be used: {rule}")]
    Server {
        /// The URL.
        address: String,
        /// Why not, and what to do.
        rule: String,
    },
    /// A newer version of this program has migrated the schema.
    #[error(
        "database `{address}` has schema {found}, this version knows up to {known}: install the version that wrote it"
    )]
    NewerSchema {
        /// The URL.
        address: String,
        /// Its schema.
        found: i64,
        /// Our newest.
        known: i64,
    },
    /// The user may not do what has to be done.
    #[error("database `{address}`: rights are missing; as the owner run: {grant}")]
    Rights {
        /// The URL.
        address: String,
        /// The statement that gives them.
        grant: String,
    },
    /// The connection that held this daemon's work has ended, and with it all that it held.
    #[error("this daemon has lost the database: {cause}")]
    Lost {
        /// How it ended.
        cause: String,
    },
    /// This daemon does not hold the work that it was about to do.
    #[error("this daemon does not hold that work now")]
    NotHeld,
    /// A copy is not what it was made of.
    #[error("the copy of `{table}` differs from the source, and was undone: please report this")]
    CopyDiffers {
        /// The table, or a column that the target lacks.
        table: String,
    },
    /// Too many search at the same time.
    #[error("too many searches are under way")]
    Crowded,
    /// There is no such thing with this database.
    #[error("{what} needs PostgreSQL: a SQLite database has one daemon")]
    NeedsServer {
        /// What was asked for.
        what: &'static str,
    },
    /// The database belongs to another upstream.
    #[error(
        "this database belongs to upstream {stored}, but upstream.base_url is {configured}: name another database, \
         or run `pcsid-watch db adopt` if it should serve the new one"
    )]
    OtherUpstream {
        /// The one it was first used with.
        stored: String,
        /// The one in the configuration.
        configured: String,
    },
    /// No such activity.
    #[error("activity `{activity_id}` is not known{}: `pcsid-watch list` shows what is", for_vat(.vat))]
    UnknownActivity {
        /// As asked for.
        activity_id: String,
        /// As asked for.
        vat: Option<String>,
    },
    /// The id is registered for several VATs.
    #[error("activity `{activity_id}` is registered for several VATs ({}): name one with --vat", vats.join(", "))]
    AmbiguousActivity {
        /// As asked for.
        activity_id: String,
        /// Where it is registered.
        vats: Vec<String>,
    },
    /// The activity's state forbids it.
    #[error("activity `{activity_id}` of VAT {vat} is {state}: {rule}")]
    WrongState {
        /// The activity.
        activity_id: String,
        /// Its VAT.
        vat: String,
        /// Its state.
        state: &'static str,
        /// Which states the command is for.
        rule: &'static str,
    },
    /// No such event, or not for that webhook.
    #[error("event `{event_id}` is not known{}: `pcsid-watch deliveries` shows what is", for_sink(.sink))]
    UnknownEvent {
        /// As asked for.
        event_id: String,
        /// As asked for.
        sink: Option<String>,
    },
    /// A statement failed.
    #[error("database: {operation} failed{}", hint(.source))]
    Query {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A stored value is one that this program never writes.
    #[error(
        "database: `{column}` holds {value:?}, which this program never writes: run `pcsid-watch db check`"
    )]
    Damaged {
        /// Where.
        column: Cow<'static, str>,
        /// What.
        value: String,
    },
    /// Rows could not be turned into a statement's argument.
    #[error("database: a statement's argument could not be written")]
    Encode(#[source] serde_json::Error),
    /// A search took longer than anybody waits.
    #[error("the search takes too long: narrow it by VAT, state or dates")]
    TooSlow,
}

impl StoreError {
    /// There is no such activity.
    pub fn unknown(wanted: &super::ActivityRef) -> StoreError {
        StoreError::UnknownActivity {
            activity_id: wanted.activity_id.to_string(),
            vat: wanted.vat.as_ref().map(ToString::to_string),
        }
    }

    /// The one row found for an activity. None, or several of different VATs, is an error.
    ///
    /// # Errors
    /// [`StoreError::UnknownActivity`] or [`StoreError::AmbiguousActivity`].
    pub fn only<T>(
        mut found: Vec<T>,
        wanted: &super::ActivityRef,
        vat_of: impl Fn(&T) -> &str,
    ) -> Result<T, StoreError> {
        match (found.pop(), found.is_empty()) {
            (Some(activity), true) => Ok(activity),
            (None, _) => Err(StoreError::unknown(wanted)),
            (Some(last), false) => {
                let vats = found.iter().chain([&last]).map(|one| vat_of(one).to_owned()).collect();
                Err(StoreError::AmbiguousActivity { activity_id: wanted.activity_id.to_string(), vats })
            }
        }
    }

    /// A stored value is one that this program never writes.
    pub(super) fn damaged(column: impl Into<Cow<'static, str>>, value: impl Into<String>) -> StoreError {
        StoreError::Damaged { column: column.into(), value: value.into() }
    }

    /// For `map_err`: wraps a failed statement with what was being done.
    pub(super) fn query(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Query { operation, source }
    }

    /// Whether all connections or turns were taken for as long as one is waited for.
    pub fn is_busy(&self) -> bool {
        matches!(self, StoreError::Crowded | StoreError::Query { source: sqlx::Error::PoolTimedOut, .. })
    }

    /// Whether a statement was ended because it took too long.
    pub fn is_interruption(&self) -> bool {
        let StoreError::Query { source, .. } = self else { return false };
        source.as_database_error().is_some_and(|err| match primary_code(err) {
            Some(code) => code == 9,
            None => err.code().is_some_and(|code| code == "57014"),
        })
    }

    /// Whether waiting may help: a lock, a full disk, the connection. A row that violates a constraint stays wrong.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Query { source, .. } => match source.as_database_error() {
                Some(err) => match primary_code(err) {
                    Some(code) => !matches!(code, 18 | 19 | 20 | 25),
                    // Of a server's classes data, integrity and syntax stay wrong.
                    None => !err.code().is_some_and(|code| matches!(code.get(..2), Some("22" | "23" | "42"))),
                },
                None => !matches!(source, sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. }),
            },
            StoreError::Encode(_) | StoreError::Damaged { .. } => false,
            _ => true,
        }
    }

    /// Whether a daemon that can't begin yet may wait for it to pass: the server is not there, or not ready.
    pub fn is_absence(&self) -> bool {
        match self {
            StoreError::Connect { source, .. } | StoreError::Query { source, .. } => is_away(source),
            StoreError::Lost { .. } => true,
            _ => false,
        }
    }

    /// Whether this daemon no longer holds the work: the connection that held it has ended, or the piece was given up.
    pub fn is_lost(&self) -> bool {
        matches!(self, StoreError::Lost { .. } | StoreError::NotHeld)
    }

    /// Whether nothing more may be written to the file: it is another database now, or lost a part of its WAL.
    pub fn forbids_writing(&self) -> bool {
        matches!(
            self,
            StoreError::Overwritten { .. } | StoreError::Emptied { .. } | StoreError::JournalCut { .. }
        )
    }

    /// Whether the configuration has to be changed.
    pub fn is_configuration(&self) -> bool {
        matches!(self, StoreError::OtherUpstream { .. } | StoreError::Password(_) | StoreError::CaFile { .. })
    }
}

/// Whether a server's error with this code (SQLSTATE) is about the connection and not about the statement: it is or
/// will be closed, was in a transaction without a word for too long, or leads to a server that only reads.
pub(super) fn ends_connection(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code == "25006"
}

/// Starting up, shutting down, cut off, out of connections or room, or a lock that others kept; a wrong password or an
/// unknown database stays.
fn is_away(source: &sqlx::Error) -> bool {
    match source {
        sqlx::Error::Database(err) if primary_code(err.as_ref()).is_none() => {
            err.code().is_some_and(|code| {
                ends_connection(&code) || ["53", "40", "55P03"].iter().any(|class| code.starts_with(class))
            })
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

fn owner(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn for_vat(vat: &Option<String>) -> String {
    vat.as_ref().map_or_else(String::new, |vat| format!(" for VAT {vat}"))
}

fn for_sink(sink: &Option<String>) -> String {
    sink.as_ref().map_or_else(String::new, |sink| format!(" for webhook {sink}"))
}

/// SQLite's result code. `None`: it is not SQLite's.
fn extended_code(err: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    use sqlx::error::DatabaseError as _;
    err.try_downcast_ref::<sqlx::sqlite::SqliteError>()?.code()?.parse().ok()
}

/// The low byte of it.
fn primary_code(err: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    extended_code(err).map(|code| code & 0xff)
}

/// The `-shm` file can't be made as long as it must be.
const NO_ROOM_FOR_SHM: i32 = 4_874;

/// What keeps a file from being opened.
fn open_hint(source: &sqlx::Error) -> &'static str {
    match (source, source.as_database_error().and_then(primary_code)) {
        (sqlx::Error::Io(err), _) => io_hint(err),
        // A file that can't be opened; why, SQLite does not say.
        (_, Some(14)) => ": check that the folder exists and that this user may write there",
        _ => hint(source),
    }
}

fn migration_hint(source: &sqlx::migrate::MigrateError) -> &'static str {
    use sqlx::migrate::MigrateError;
    match source {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => hint(source),
        _ => "",
    }
}

/// What to do about what the file system says.
fn io_hint(err: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match err.kind() {
        ErrorKind::NotFound => ": its folder does not exist, create it first",
        ErrorKind::NotADirectory => ": a part of its path is a file and no folder",
        ErrorKind::PermissionDenied => {
            ": this user may not read or write there; see whom the file and its folder belong to (`ls -ld`), and run the \
             command as that user"
        }
        ErrorKind::ReadOnlyFilesystem => ": the file system is mounted read-only",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": the disk is full",
        _ => "",
    }
}

/// What to do about the SQLite results that an operator can do something about.
fn hint(source: &sqlx::Error) -> &'static str {
    match source.as_database_error().and_then(primary_code) {
        Some(10) if source.as_database_error().and_then(extended_code) == Some(NO_ROOM_FOR_SHM) => {
            ": the disk is full, or reports an error"
        }
        Some(5 | 6) => ": another process keeps it locked",
        Some(8) => ": the file is read-only, or one beside it under the same name with -wal or -shm",
        Some(10) => ": the disk reports an error",
        Some(11 | 26) => ": the file is damaged, restore a backup",
        Some(13) => ": the disk is full",
        Some(_) => "",
        None => server_hint(source),
    }
}

/// What to do about what a server says.
fn server_hint(source: &sqlx::Error) -> &'static str {
    match source {
        sqlx::Error::Tls(_) => {
            ": TLS failed; database.ca_file names the server's root, `?sslmode=` in database.url another mode"
        }
        sqlx::Error::Database(err) => match err.code().as_deref() {
            Some("28P01" | "28000") => {
                ": the server refuses this user; see database.password_file and the server's pg_hba.conf"
            }
            Some("3D000") => ": there is no such database; create it, owned by this user",
            Some("42501") => ": this user lacks the right",
            Some("53100") => ": the server's disk is full",
            Some("53300") => ": the server has no connection left",
            Some("57P03") => ": the server is starting or stopping",
            Some("25006") => ": it is a standby, which takes no writes",
            _ => "",
        },
        sqlx::Error::PoolTimedOut => ": no connection within the time for it; is the server there?",
        _ => "",
    }
}
