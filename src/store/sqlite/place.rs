//! Whether the database is still the one that was opened.
//!
//! Its file can be removed, replaced or overwritten beneath a daemon, and so can what SQLite keeps beside it. SQLite does
//! not notice: it goes on in files that have no name any more, and mixes what it has in mind with what it finds.
//!
//! Names are compared by device and inode. A file that was overwritten keeps both, so its header is compared as well. Each
//! daemon puts a number of its own into it (`user_version`) at its start. No copy that was made before has that number,
//! and one by `db backup` has none. A copy by another SQLite client has a higher schema cookie, which in the file itself
//! only a commit raises that was noticed before.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sqlx::SqlitePool;

use super::error::StoreError;
use super::{beside, identity};

/// Where the header of a database has its two numbers; see SQLite's "Database File Format".
const SCHEMA_COOKIE_AT: usize = 40;
pub(super) const MARK_AT: usize = 60;
const HEADER_BYTES: usize = 64;

/// Where frames of a WAL begin, and how much of each comes before its page.
const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// What a daemon has opened.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    database: Option<(u64, u64)>,
    /// Names and identities of what stands beside it.
    beside: [(PathBuf, Option<(u64, u64)>); 2],
    /// The descriptor that the lock is held by: closing another one would drop SQLite's locks.
    file: File,
    /// What the header may have where a daemon's number is: the one before and this daemon's.
    marks: [u32; 2],
    /// Cookies that SQLite itself has told of.
    cookies: std::sync::Mutex<BTreeSet<u32>>,
    n_bytes_before: std::sync::Mutex<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    mark: u32,
    schema_cookie: u32,
}

impl Place {
    /// Marks a database that `writer` has opened and whose lock is held by `file`.
    pub(super) async fn mark(path: &Path, file: File, writer: &SqlitePool) -> Self {
        let before = header(&file).unwrap_or(Header { mark: 0, schema_cookie: 0 });
        let mark = fastrand::u32(1..=i32::MAX as u32);
        let marked = async {
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {mark}"))).execute(writer).await?;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await
        };
        if let Err(err) = marked.await {
            // A full disk, say: the daemon waits for that elsewhere.
            tracing::debug!(error = &err as &dyn std::error::Error, "the database could not be marked");
        }
        let place = Self {
            path: path.to_owned(),
            database: identity(path),
            beside: ["-wal", "-shm"].map(|suffix| {
                let name = beside(path, suffix);
                let identity = identity(&name);
                (name, identity)
            }),
            n_bytes_before: std::sync::Mutex::new(file.metadata().map_or(0, |file| file.len())),
            file,
            marks: [before.mark, mark],
            cookies: std::sync::Mutex::new([before.schema_cookie].into()),
        };
        place.learn(writer).await;
        place
    }

    /// After a commit of somebody else's: what the file's header may say from now on.
    pub(super) async fn learn(&self, writer: &SqlitePool) {
        if let Ok(cookie) = sqlx::query_scalar::<_, u32>("PRAGMA schema_version").fetch_one(writer).await {
            self.cookies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(cookie);
        }
    }

    /// What has become of the database; `None`: it is where it was.
    pub(super) fn loss(&self) -> Option<StoreError> {
        let path = self.path.clone();
        if identity(&self.path) != self.database {
            return Some(StoreError::Gone { path });
        }
        if !self.has_known_header() {
            return Some(StoreError::Overwritten { path });
        }
        let lost = self.beside.iter().find(|(name, was)| was.is_some() && identity(name) != *was);
        lost.map(|(name, _)| StoreError::JournalGone { path: name.clone() })
    }

    fn has_known_header(&self) -> bool {
        let poisoned = std::sync::PoisonError::into_inner;
        let cookies = self.cookies.lock().unwrap_or_else(poisoned);
        let Some(found) = header(&self.file) else { return false };
        let n_bytes = self.file.metadata().map_or(0, |file| file.len());
        let mut n_bytes_before = self.n_bytes_before.lock().unwrap_or_else(poisoned);
        // Only `VACUUM`, which raises the cookie, makes a file shorter.
        let is_shorter = n_bytes < *n_bytes_before && cookies.len() < 2;
        *n_bytes_before = n_bytes;
        !is_shorter && self.marks.contains(&found.mark) && cookies.contains(&found.schema_cookie)
    }
}

/// Whether the WAL beside a database was written for another one: a backup was put in place, and the WAL of what it
/// replaced was left. SQLite would put its pages into the backup.
pub(super) fn has_stale_wal(path: &Path) -> bool {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Ok(wal) = File::open(beside(path, "-wal")) else { return false };
    if wal.metadata().map_or(0, |wal| wal.len()) < WAL_HEADER_BYTES + FRAME_HEADER_BYTES {
        return false;
    }
    let Ok(database) = File::open(path) else { return false };
    let mut modes = [0; 2];
    let (Ok(()), Some(of_file)) = (database.read_exact_at(&mut modes, 18), header(&database)) else {
        return false;
    };
    // Copies are not in WAL mode; a database that has a WAL is.
    modes == [1, 1] || newest_cookie(&wal).is_some_and(|of_wal| of_file.schema_cookie > of_wal)
}

/// The schema cookie of the last first page in a WAL; a database's own is never above it.
fn newest_cookie(wal: &File) -> Option<u32> {
    let mut head = [0; 32];
    wal.read_exact_at(&mut head, 0).ok()?;
    let page_bytes = match number(&head, 8)? {
        1 => 65_536,
        n_bytes => u64::from(n_bytes),
    };
    let (mut at, mut newest) = (WAL_HEADER_BYTES, None);
    let mut frame = [0; 24];
    // Frames of a former round have other salts.
    while wal.read_exact_at(&mut frame, at).is_ok() && frame.get(8..16) == head.get(16..24) {
        if number(&frame, 0) == Some(1) {
            let mut page = [0; HEADER_BYTES];
            wal.read_exact_at(&mut page, at + FRAME_HEADER_BYTES).ok()?;
            newest = number(&page, SCHEMA_COOKIE_AT);
        }
        at += FRAME_HEADER_BYTES + page_bytes;
    }
    newest
}

fn header(file: &File) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(Header { mark: number(&bytes, MARK_AT)?, schema_cookie: number(&bytes, SCHEMA_COOKIE_AT)? })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Whether the file is mounted by itself, as a container's single-file volume is: SQLite's WAL would stand in another
/// folder than that of who mounts it elsewhere.
pub(super) fn is_mounted_alone(path: &Path) -> bool {
    let Ok(path) = std::fs::canonicalize(path) else { return false };
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return false };
    // The fifth field is the mount's place, with octal escapes.
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    path.to_str().is_some_and(|path| places.map(unescaped).any(|place| place == path))
}

fn unescaped(place: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(place.to_owned(), |place, (escape, character)| place.replace(escape, character))
}
