//! Opening a database: refused untouched where it is not ours to open, created or migrated where it is.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use super::Store;
use super::error::StoreError;
use super::file_identity::{self, FileIdentity};
use super::files::{
    copies, copy_whole, flush_folder_of, folder_of, give_to_owner_of, name_without_replacing,
};
use super::lock::DatabaseLock;
use super::search_queue::{self, SearchQueue};
use super::{beside, read_only};
use crate::aside::Aside;
use crate::domain::routing::Route;
use crate::store::Access;

/// The files of `migrations/`, as `sqlx::migrate!` would embed them. That macro would have a second sqlx be compiled,
/// for the compiler itself.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "watch", include_str!("../../../migrations/0001_watch.sql")),
        migration(2, "tallies", include_str!("../../../migrations/0002_tallies.sql")),
        migration(3, "explanations", include_str!("../../../migrations/0003_explanations.sql")),
        migration(4, "turns", include_str!("../../../migrations/0004_turns.sql")),
        migration(5, "severity", include_str!("../../../migrations/0005_severity.sql")),
        migration(6, "bounds", include_str!("../../../migrations/0006_bounds.sql")),
        migration(7, "certificates", include_str!("../../../migrations/0007_certificates.sql")),
        migration(9, "last_seen", include_str!("../../../migrations/0009_last_seen.sql")),
        migration(10, "finding", include_str!("../../../migrations/0010_finding.sql")),
        migration(11, "lives", include_str!("../../../migrations/0011_lives.sql")),
        migration(12, "prune", include_str!("../../../migrations/0012_prune.sql")),
    ])
});

/// What the first migration marks a file with.
const APPLICATION_ID: i64 = 0x5043_5357;

/// How long a statement waits for another process's transaction. Those of this program are short; a foreign
/// one that takes longer is reported, and the daemon tries again.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages in the WAL, 16 MiB, after which it is written into the file. A page that changes often is written there once for
/// all changes, so the default of a thousand costs a conclusion a twentieth more. The WAL's index has room for as many in
/// one block.
const CHECKPOINT_AFTER: &str = "4000";

/// What is left of a WAL that a long-lived reader made grow, once it is restarted. Well above what it comes to
/// otherwise, so that it is not cut and extended all the time.
const WAL_SIZE_LIMIT: &str = "25165824";

/// How long a command waits for another process that is creating or migrating the file.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);

/// How long the lock is waited for before the schema is checked again.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// How long a statement's connection is waited for. Reports on a loaded machine may take a while.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);

impl Store {
    pub async fn open(path: &Path, routes: Vec<Route>) -> Result<Self, StoreError> {
        refuse_several_names(path)?;
        let deadline = tokio::time::Instant::now() + MIGRATION_PATIENCE;
        let mut is_new = false;
        // The lock may be that of a daemon that migrates the file and then keeps the lock for good: what counts
        // is the schema, so it is checked again and again.
        loop {
            match schema_of(path).await? {
                Schema::Current => break,
                Schema::Absent => is_new |= create(path).await?,
                Schema::Missing | Schema::Older(_) => {
                    match DatabaseLock::acquire(path, LOCK_PATIENCE).await {
                        Ok(_lock) => is_new |= migrate(path, &MIGRATIONS).await?,
                        Err(StoreError::InUse { .. }) if tokio::time::Instant::now() < deadline => {}
                        Err(err) => return Err(err),
                    }
                }
            }
        }
        connect(path.to_owned(), routes, None, is_new).await
    }

    pub async fn open_existing(path: &Path, routes: Vec<Route>, access: Access) -> Result<Self, StoreError> {
        refuse_several_names(path)?;
        let path = path.to_owned();
        match schema_of(&path).await? {
            Schema::Absent => Err(StoreError::Absent { path }),
            Schema::Missing => Err(StoreError::NoSchema { path }),
            Schema::Older(found) if access != Access::Inspect => {
                Err(StoreError::Older { path, found, known: newest_migration() })
            }
            _ if access == Access::Change => connect(path, routes, None, false).await,
            _ => connect_to_read(path, routes).await,
        }
    }

    /// Opens the database file for the daemon and locks it against a second one.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::InUse`] if another daemon runs on it.
    pub async fn open_as_daemon(path: &Path, routes: Vec<Route>) -> Result<Self, StoreError> {
        refuse_several_names(path)?;
        let mut is_new = false;
        if is_absent(path)? {
            is_new = create(path).await?;
        }
        let configured = path;
        let path = &std::fs::canonicalize(configured).unwrap_or_else(|_| configured.to_owned());
        // Waits for a command that is migrating the file; a daemon never releases the lock.
        let lock = DatabaseLock::acquire(path, Duration::from_secs(2)).await?;
        is_new |= migrate(path, &MIGRATIONS).await?;
        if is_new {
            crate::store::warn_of_new(&path.display());
        }
        let file = lock.file().map_err(|source| StoreError::Lock { path: path.to_owned(), source })?;
        let mut store = connect(path.to_owned(), routes, Some(lock), is_new).await?;
        store.file_identity = Some(Arc::new(FileIdentity::mark(configured, path, file, &store.writer).await));
        Ok(store)
    }
}

/// A file with hard links, or mounted by itself, would have a WAL for each of its names, and lose what the others
/// write.
fn refuse_several_names(path: &Path) -> Result<(), StoreError> {
    if file_identity::is_mounted_alone(path) {
        return Err(StoreError::MountedAlone { path: path.to_owned() });
    }
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.nlink() > 1 => {
            Err(StoreError::SeveralNames { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

enum Schema {
    /// There is no file.
    Absent,
    /// There is a file without tables.
    Missing,
    Older(i64),
    Current,
}

fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Whether there is no file. Refuses what can be none of ours.
fn is_absent(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(file) if file.is_dir() => return Err(StoreError::Folder { path: path.to_owned() }),
        Ok(file) if !file.is_file() => return Err(StoreError::NoFile { path: path.to_owned() }),
        Ok(file) if file.len() == 0 => return Err(StoreError::Empty { path: path.to_owned() }),
        Ok(_) => {}
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(err) => return Err(StoreError::Open { path: path.to_owned(), source: sqlx::Error::Io(err) }),
    }
    match file_identity::has_stale_wal(path) {
        true => Err(StoreError::StaleJournal { path: path.to_owned() }),
        false => Ok(false),
    }
}

/// Reads the file's schema without changing anything.
async fn schema_of(path: &Path) -> Result<Schema, StoreError> {
    if is_absent(path)? {
        return Ok(Schema::Absent);
    }
    let (options, is_still) = read_only::options(path)?;
    match look_at_schema(path, options).await {
        // Another process may have written meanwhile. SQLite's own locks prevent that, if this user can take them.
        Err(_) if is_still && read_only::takes_part(path) => {
            look_at_schema(path, read_only::ordinary(path)).await
        }
        found => found,
    }
}

async fn look_at_schema(path: &Path, options: SqliteConnectOptions) -> Result<Schema, StoreError> {
    let mut connection = options.connect().await.map_err(|source| not_a_database(path, source))?;
    let found = read_schema(&mut connection, path).await;
    // Read-only and about to be dropped: there is nothing that closing could fail to keep.
    let _ = connection.close().await;
    found
}

async fn read_schema(connection: &mut SqliteConnection, path: &Path) -> Result<Schema, StoreError> {
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(|source| not_a_database(path, source))?;
    // A migration that was cut off may have left this table alone.
    if tables.iter().all(|table| table == "_sqlx_migrations") {
        return Ok(Schema::Missing);
    }
    let application_id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(|source| not_a_database(path, source))?;
    if application_id != APPLICATION_ID || !tables.iter().any(|table| table == "_sqlx_migrations") {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .map_err(|source| not_a_database(path, source))?;
    let known = newest_migration();
    match found {
        _ if found > known => Err(StoreError::Newer { path: path.to_owned(), found, known }),
        _ if found < known => Ok(Schema::Older(found)),
        _ => Ok(Schema::Current),
    }
}

/// Distinguishes "not a database" and "damaged" from all other errors.
fn not_a_database(path: &Path, source: sqlx::Error) -> StoreError {
    let code = source.as_database_error().and_then(|err| err.code()).map(|code| code.into_owned());
    let path = path.to_owned();
    match code.as_deref() {
        Some("26" | "11") => StoreError::NotADatabase { path, source },
        _ => open_error(path, source),
    }
}

/// SQLite doesn't say why a file can't be opened; the file system does. (A process that can't open it has no lock on it
/// to lose.)
fn open_error(path: PathBuf, source: sqlx::Error) -> StoreError {
    let is_cause_unknown =
        source.as_database_error().and_then(|err| err.code()).is_some_and(|code| code == "14");
    let source = match std::fs::File::open(&path) {
        Err(err) if is_cause_unknown => sqlx::Error::Io(err),
        _ => source,
    };
    StoreError::Open { path, source }
}

/// Makes a new database beside the final path and renames it when it is complete, so that a process that dies leaves no
/// half of a database. Returns whether this process made it, rather than another one at the same time.
async fn create(path: &Path) -> Result<bool, StoreError> {
    // A new file is created at the target of a symbolic link.
    let path = &match std::fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => path.to_owned(),
    };
    let failed = |err| StoreError::Open { path: path.clone(), source: sqlx::Error::Io(err) };
    if std::fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(StoreError::JournalAlone { path: path.clone() });
    }
    let making = beside(path, ".creating");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&making)
        .map_err(failed)?;
    let made = file.metadata().map(|file| (file.dev(), file.ino())).map_err(failed)?;
    let handle = file.try_clone().map_err(failed)?;
    give_to_owner_of(folder_of(path), &handle);
    let deadline = tokio::time::Instant::now() + MIGRATION_PATIENCE;
    let _lock = loop {
        let file = file.try_clone().map_err(failed)?;
        let locked = DatabaseLock::of(file, path, LOCK_PATIENCE).await;
        // The previous holder of the lock may have made the database and renamed it. If it was a daemon, it still has
        // the lock.
        if super::device_and_inode(&making) != Some(made) {
            return Ok(false);
        }
        match locked {
            Ok(lock) => break lock,
            Err(StoreError::InUse { .. }) if tokio::time::Instant::now() < deadline => {}
            Err(err) => return Err(err),
        }
    };
    if path.exists() {
        let _ = std::fs::remove_file(&making);
        return Ok(false);
    }
    let clear = || {
        for left in ["-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(beside(&making, left));
        }
    };
    // Left by a process that died.
    clear();
    let named = async {
        handle.set_len(0).map_err(failed)?;
        let mut connection = migrated(&making, path, &MIGRATIONS).await?;
        // Closing does this too, but ignores a full disk: the file would get its name without what the WAL holds.
        let folded = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        let closed = connection.close().await;
        folded.map_err(|source| migration_failed(path, MigrateError::Execute(source)))?;
        closed.map_err(StoreError::query("closing after migration"))?;
        handle.sync_all().map_err(failed)?;
        name_without_replacing(&making, path).map_err(failed)?;
        flush_folder_of(path).map_err(failed)
    };
    let named = named.await;
    // Only if it was not renamed.
    if super::device_and_inode(&making) == Some(made) {
        let _ = std::fs::remove_file(&making);
        clear();
    }
    named.map(|()| true)
}

/// Copies from before a migration that are kept of the same schema.
const MAX_COPIES: usize = 2;

/// Brings a file to the newest schema, with a copy of an older one beside it first. The caller has the lock. Answers
/// whether there was none.
async fn migrate(path: &Path, migrations: &Migrator) -> Result<bool, StoreError> {
    // Another process may have migrated it while this one waited for the lock.
    let older = match schema_of(path).await? {
        Schema::Current => return Ok(false),
        Schema::Absent => return Err(StoreError::Absent { path: path.to_owned() }),
        Schema::Missing => None,
        Schema::Older(version) => Some(version),
    };
    let Some(version) = older.filter(|version| *version > 0) else {
        run_migrations(path, migrations).await?;
        return Ok(older.is_none());
    };
    let now = crate::clock::wall_now().as_millis() / 1_000;
    let name = beside(path, &format!(".before-migration-from-{version}-"));
    let copy = beside(&name, &now.to_string());
    tracing::info!(
        "database {} has schema {version}: it is copied to {}, and then brought to schema {}; that takes a while where it is large",
        path.display(),
        copy.display(),
        newest_migration()
    );
    // Left by a start that was killed meanwhile: the lock is this one's.
    for partial in copies(&name).1 {
        let _ = std::fs::remove_file(partial);
    }
    let migrated = match copy_before_migration(path, &copy).await {
        Ok(()) => {
            // One that is killed within the migration leaves its copy. A start that is tried again and again would fill
            // the disk.
            let (whole, _) = copies(&name);
            for former in whole.iter().rev().skip(MAX_COPIES) {
                let _ = std::fs::remove_file(former);
            }
            run_migrations(path, migrations).await
        }
        failed => failed,
    };
    // While the database is as it was, the copy is of no use. A start that is tried again and again would fill the
    // disk.
    if migrated.is_err() && matches!(schema_of(path).await, Ok(Schema::Older(now)) if now == version) {
        let _ = std::fs::remove_file(&copy);
    }
    migrated.map(|()| false)
}

async fn copy_before_migration(path: &Path, copy: &Path) -> Result<(), StoreError> {
    let mut connection = write_options(path)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let copied = copy_whole(&mut connection, path, copy, None).await;
    let closed = connection.close().await;
    copied?;
    closed.map_err(StoreError::query("closing after the copy before the migration"))
}

async fn run_migrations(path: &Path, migrations: &Migrator) -> Result<(), StoreError> {
    let connection = migrated(path, path, migrations).await?;
    connection.close().await.map_err(StoreError::query("closing after migration"))
}

/// Migrates this file, which is called `name` if it fails. Answers with the connection.
async fn migrated(path: &Path, name: &Path, migrations: &Migrator) -> Result<SqliteConnection, StoreError> {
    // A slow statement would be logged with all that it says.
    let mut connection = write_options(path)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|source| StoreError::Open { path: name.to_owned(), source })?;
    match migrations.run_direct(None, &mut connection, false).await {
        Ok(()) => Ok(connection),
        Err(source) => {
            // It failed already; how it is closed does not matter.
            let _ = connection.close().await;
            Err(migration_failed(name, source))
        }
    }
}

fn migration_failed(name: &Path, source: MigrateError) -> StoreError {
    StoreError::Migrate { database: name.display().to_string(), source: Box::new(source) }
}

fn write_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL makes every commit survive a power cut; group commit pays for it.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_AFTER)
        .pragma("journal_size_limit", WAL_SIZE_LIMIT)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
    // No ANALYZE, ever: statistics of a file that was small outlive its growth, and turn every look-up by key
    // in the set-based statements into a scan of the whole table.
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn connect(
    path: PathBuf,
    routes: Vec<Route>,
    lock: Option<DatabaseLock>,
    is_new: bool,
) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Open { path: path.clone(), source };
    read_only::require_writable(&path).map_err(|err| failed(sqlx::Error::Io(err)))?;
    let writer = pool().max_connections(1).connect_with(write_options(&path)).await.map_err(failed)?;
    require_durable(&writer, &path).await?;
    let readers = |n_most| pool().max_connections(n_most).connect_lazy_with(read_only::ordinary(&path));
    // Those that read what is due find their cache empty after each commit: a large one would only take memory. Each of
    // them holds the whole schema as well, so there are two: the second serves what the look ahead does not wait for.
    let looking = read_only::ordinary(&path).pragma("cache_size", "-512");
    // A daemon needs both soon: they are opened while its start goes on. A command may need none.
    let n_at_once = if lock.is_some() { 2 } else { 0 };
    Ok(Store {
        file_identity: None,
        writer,
        readers: pool().max_connections(2).min_connections(n_at_once).connect_lazy_with(looking),
        reports: readers(2),
        searches: readers(search_queue::N_RUNNING),
        search_queue: SearchQueue::default(),
        commits: Arc::new(Aside::new("commits")),
        vitals: readers(1),
        routes: routes.into(),
        is_new,
        read_at: None,
        _lock: lock.map(Arc::new),
        path: Arc::new(path),
    })
}

/// For commands that only read.
async fn connect_to_read(path: PathBuf, routes: Vec<Route>) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Open { path: path.clone(), source };
    let (writer, options, read_at) = if read_only::takes_part(&path) {
        // One connection that could write, closed last: SQLite then folds the WAL into the file and removes the files
        // that it has created beside it.
        let options = SqliteConnectOptions::new().filename(&path).busy_timeout(BUSY_TIMEOUT);
        let keeper = options.pragma("query_only", "ON");
        let keeper = pool().max_connections(1).connect_with(keeper).await.map_err(failed)?;
        let looking = sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&keeper).await;
        looking.map_err(|source| not_a_database(&path, source))?;
        (keeper, read_only::ordinary(&path), None)
    } else {
        let (options, is_still) = read_only::options(&path)?;
        let state = is_still.then(|| read_only::file_state(&path));
        (pool().max_connections(1).connect_lazy_with(options.clone()), options, state)
    };
    let readers = |n_most| pool().max_connections(n_most).connect_lazy_with(options.clone());
    Ok(Store {
        file_identity: None,
        writer,
        readers: readers(1),
        reports: readers(2),
        searches: readers(search_queue::N_RUNNING),
        search_queue: SearchQueue::default(),
        commits: Arc::new(Aside::new("commits")),
        vitals: readers(1),
        routes: routes.into(),
        is_new: false,
        read_at,
        _lock: None,
        path: Arc::new(path),
    })
}

/// Checks what SQLite really set: a file system may refuse WAL without an error.
async fn require_durable(writer: &sqlx::SqlitePool, path: &Path) -> Result<(), StoreError> {
    let read = StoreError::query("reading the database's settings");
    let (journal, synchronous, version): (String, i64, String) = sqlx::query_as(
        "SELECT (SELECT journal_mode FROM pragma_journal_mode),
                (SELECT synchronous FROM pragma_synchronous),
                sqlite_version()",
    )
    .fetch_one(writer)
    .await
    .map_err(read)?;
    let refuse = |setting: String| Err(StoreError::Unsafe { path: path.to_owned(), setting });
    if !journal.eq_ignore_ascii_case("wal") {
        return refuse(format!("journal mode {journal}"));
    }
    if synchronous < 2 {
        return refuse(format!("synchronous mode {synchronous}"));
    }
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    if parts < vec![3, 51, 3] {
        return refuse(format!(
            "SQLite {version}, whose WAL can lose commits (3.51.3 is the first that does not)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with all migrations before this one.
    async fn before(version: i64, path: &Path) -> SqliteConnection {
        let older = MIGRATIONS.iter().filter(|one| one.version < version).cloned().collect();
        std::fs::File::create_new(path).unwrap();
        run_migrations(path, &Migrator::with_migrations(older)).await.unwrap();
        write_options(path).connect().await.unwrap()
    }

    async fn lines(connection: &mut SqliteConnection, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(connection).await.unwrap()
    }

    #[tokio::test]
    async fn checks_and_devices_from_before_are_told_and_counted_as_they_were() {
        const CHECKS: &str = "SELECT activity_id || check_name || outcome || coalesce(message, '') FROM report_checks ORDER BY 1";
        const TALLY: &str = "SELECT position || outcome || n FROM tally_checks WHERE n <> 0 ORDER BY 1";
        const DEVICES: &str =
            "SELECT device_id || attempts || latest_activity_id || coalesce(attempts_until_pcsid, '') ||
            coalesce(pcsid_at, '') || first_attempt_at || latest_attempt_at FROM report_devices ORDER BY 1";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watch.db");
        let mut connection = before(11, &path).await;
        for statement in [
            "INSERT INTO vats (id, vat, credential) VALUES (1, '3', 'main')",
            "INSERT INTO activities (id, vat_id, activity_id, device_id, state, registered_at, watched_from) VALUES
                 (1, 1, 'good', 'till', 'PENDING', 2000, 2000), (2, 1, 'bad', 'till', 'PENDING', 1000, 1000),
                 (3, 1, 'nameless', NULL, 'PENDING', 3000, 3000), (4, 1, 'open', 'other', 'PENDING', 4000, 4000)",
            "UPDATE activities SET state = iif(id = 2, 'FAILED', 'SUCCEEDED'), concluded_at = 5000 WHERE id < 4",
            "INSERT INTO checks (activity, position, outcome) SELECT id, position, 'SUCCEEDED' FROM activities, check_names
             WHERE id IN (1, 3) OR (id = 2 AND position = 1)",
            "INSERT INTO checks (activity, position, outcome, message) VALUES (2, 2, 'FAILED', 'BR-KSA-17 : no')",
        ] {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        let told = [CHECKS, TALLY, DEVICES];
        let mut were = Vec::new();
        for query in told {
            were.push(lines(&mut connection, query).await);
        }
        connection.close().await.unwrap();
        assert_eq!(were.iter().map(Vec::len).collect::<Vec<_>>(), [18, 7, 2]);

        migrate(&path, &MIGRATIONS).await.unwrap();
        let mut connection = write_options(&path).connect().await.unwrap();
        for (query, were) in told.into_iter().zip(were) {
            assert_eq!(lines(&mut connection, query).await, were);
        }
        // What goes takes its counts along.
        sqlx::query("DELETE FROM activities").execute(&mut connection).await.unwrap();
        for query in told {
            assert_eq!(lines(&mut connection, query).await, Vec::<String>::new(), "{query}");
        }
    }

    #[test]
    fn every_file_of_migrations_is_one_that_is_run() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let names =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = names.filter(|name| name.ends_with(".sql")).collect();
        files.sort();
        let named = MIGRATIONS.iter().map(|one| format!("{:04}_{}.sql", one.version, one.description));
        assert_eq!(files, named.collect::<Vec<_>>());
    }
}
