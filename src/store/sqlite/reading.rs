//! Reading a file without leaving anything beside it, and without the right to write.
//!
//! SQLite puts `-wal` and `-shm` beside a database in WAL mode, also for who only reads. Made by another user than the
//! daemon's, they would keep the daemon out. So:
//!
//! | beside the file | who owns it, or root | everybody else |
//! |---|---|---|
//! | nothing unfinished, nobody at work | as ever; what is made is removed at the end | read as a file that doesn't change, and looked at afterwards whether that was so |
//! | `-wal` and `-shm` | as ever | as they are: SQLite reads them without writing |
//! | `-wal` alone, or `-journal` | as ever: SQLite finishes what is unfinished | refused, saying who can |

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sqlx::sqlite::SqliteConnectOptions;

use super::beside;
use super::error::StoreError;
use super::files::folder_of;
use super::open::BUSY_TIMEOUT;

/// What a file that is read as one that doesn't change must still be at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    n_bytes: u64,
    changed_at: Option<SystemTime>,
    has_wal: bool,
}

/// Makes sure that this user may write a database. SQLite would open it all the same, and put files of this user beside
/// it that keep the daemon out.
///
/// # Errors
/// What keeps it from that.
pub(super) fn require_writable(path: &Path) -> std::io::Result<()> {
    let may_write = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
    may_write(path)?;
    let path = real(path);
    let is_there = |suffix| beside(&path, suffix).exists();
    if !(is_there("-wal") && is_there("-shm")) {
        may_write(folder_of(&path))?;
    }
    Ok(())
}

/// Whether this user may do all that SQLite does where it reads, so that the daemon can open what it leaves.
pub(super) fn takes_part(path: &Path) -> bool {
    let may_write = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    let Ok(path) = std::fs::canonicalize(path) else { return false };
    let Ok(file) = std::fs::metadata(&path) else { return false };
    let me = rustix::process::geteuid();
    // What root makes SQLite gives to the file's owner.
    let is_mine = me.is_root() || me.as_raw() == file.uid();
    is_mine && may_write(&path) && may_write(folder_of(&path))
}

/// As SQLite reads where it may write as well.
pub(super) fn ordinary(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

/// How the file is read, and whether as one that doesn't change.
///
/// # Errors
/// [`StoreError::Unfinished`] where only who may write can read it.
pub(super) fn options(path: &Path) -> Result<(SqliteConnectOptions, bool), StoreError> {
    let length = |suffix| std::fs::metadata(beside(&real(path), suffix)).map(|file| file.len()).ok();
    let (wal, shm, journal) = (length("-wal"), length("-shm"), length("-journal"));
    let unfinished = |beside| {
        let owner = std::fs::metadata(path).map_or(0, |file| file.uid());
        Err(StoreError::Unfinished { path: path.to_owned(), beside, owner })
    };
    let may_finish = takes_part(path);
    if journal.is_some_and(|n_bytes| n_bytes > 0) {
        return if may_finish { Ok((ordinary(path), false)) } else { unfinished("-journal") };
    }
    match (wal, shm) {
        (Some(_), Some(_)) if !may_finish => Ok((without_making(path), false)),
        (Some(1..), None) if !may_finish => unfinished("-wal"),
        (Some(1..), _) | (Some(_), Some(_)) => Ok((ordinary(path), false)),
        _ => Ok((ordinary(path).immutable(true), true)),
    }
}

/// With the index of the WAL as it is: it is neither made nor written.
fn without_making(path: &Path) -> SqliteConnectOptions {
    let mut url = "file:".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'%' | b'?' | b'#' => url.push_str(&format!("%{byte:02X}")),
            _ => url.push(char::from(byte)),
        }
    }
    url.push_str("?readonly_shm=1");
    ordinary(Path::new(&url))
}

/// To be compared with what it was.
pub(super) fn state(path: &Path) -> State {
    let file = std::fs::metadata(path).ok();
    State {
        n_bytes: file.as_ref().map_or(0, |file| file.len()),
        changed_at: file.and_then(|file| file.modified().ok()),
        has_wal: std::fs::metadata(beside(&real(path), "-wal")).is_ok_and(|wal| wal.len() > 0),
    }
}

/// SQLite puts its files beside what a symbolic link leads to.
fn real(path: &Path) -> std::path::PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
