//! Reading a file without leaving anything beside it, and without the right to write.
//!
//! In WAL mode SQLite creates `-wal` and `-shm` beside a database, even if it only reads. If another user than the
//! daemon's created them, the daemon could not open the database any more. So:
//!
//! | beside the file | the owner, or root | other users |
//! |---|---|---|
//! | nothing | as usual; SQLite removes at the end what it has created | read as immutable, and checked afterwards: did it change? |
//! | `-wal` and `-shm` | as usual | SQLite reads them without writing |
//! | `-wal` alone, or `-journal` | as usual: SQLite finishes what is unfinished | refused; the error says who can read it |

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sqlx::sqlite::SqliteConnectOptions;

use super::beside;
use super::error::StoreError;
use super::files::folder_of;
use super::open::BUSY_TIMEOUT;

/// What must be the same before and after an immutable read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileState {
    n_bytes: u64,
    changed_at: Option<SystemTime>,
    has_wal: bool,
}

/// Makes sure that this user may write a database. SQLite would open it anyway, and create files beside it that the
/// daemon can't open.
///
/// # Errors
/// Why this user may not.
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

/// Whether this user may read as SQLite usually does: the daemon can open the files that it leaves.
pub(super) fn takes_part(path: &Path) -> bool {
    let may_write = |path: &Path| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    let Ok(path) = std::fs::canonicalize(path) else { return false };
    let Ok(file) = std::fs::metadata(&path) else { return false };
    let me = rustix::process::geteuid();
    // SQLite gives files that root creates to the owner of the database.
    let is_mine = me.is_root() || me.as_raw() == file.uid();
    is_mine && may_write(&path) && may_write(folder_of(&path))
}

/// The usual way to read, for a user who may also write.
pub(super) fn ordinary(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

/// How the file is read, and whether as immutable.
///
/// # Errors
/// [`StoreError::Unfinished`] if only a user who may write can read it.
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

/// With the index of the WAL as it is: it is neither created nor written.
fn without_making(path: &Path) -> SqliteConnectOptions {
    let mut url = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?readonly_shm=1");
    ordinary(Path::new(&url))
}

/// The file's state now, to compare with the one before.
pub(super) fn file_state(path: &Path) -> FileState {
    let file = std::fs::metadata(path).ok();
    FileState {
        n_bytes: file.as_ref().map_or(0, |file| file.len()),
        changed_at: file.and_then(|file| file.modified().ok()),
        has_wal: std::fs::metadata(beside(&real(path), "-wal")).is_ok_and(|wal| wal.len() > 0),
    }
}

/// Whether a file that is read as one that does not change has changed since `read_at`.
pub(super) fn has_moved(path: &Path, read_at: Option<&FileState>) -> bool {
    read_at.is_some_and(|before| *before != file_state(path))
}

/// SQLite puts its files beside the target of a symbolic link.
fn real(path: &Path) -> std::path::PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
