//! The lock on a database: one daemon a database, and no migration under a running daemon.
//!
//! It is a `flock` on the database file itself: nobody can remove it apart from the database, every name of the file
//! leads to it, and a command that root runs leaves nothing behind that the daemon could not open. SQLite's own locks
//! are of another kind (`fcntl`) and don't conflict with it; but the kernel drops them when *any* descriptor of the
//! file is closed in their process. So this lock is taken before SQLite opens the file, and released after SQLite has
//! closed it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::error::StoreError;

/// Held for as long as the value lives; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct DatabaseLock {
    file: File,
}

/// How often a held lock is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(20);

impl DatabaseLock {
    /// Takes the lock of this database, trying for `patience`: long enough for another process's migration
    /// to end, whose lock it may be.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it stays held, [`StoreError::Lock`] if the file can't be locked.
    pub async fn acquire(database: &Path, patience: Duration) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Lock { path: database.to_owned(), source };
        Self::of(File::open(database).map_err(failed)?, database, patience).await
    }

    /// As [`DatabaseLock::acquire`], with the file opened already.
    pub(super) async fn of(file: File, database: &Path, patience: Duration) -> Result<Self, StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse { path: database.to_owned(), pid: holder_of(&file) });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::Lock { path: database.to_owned(), source });
                }
            }
        }
    }

    /// The descriptor that holds the lock, to read from. Closing another one of the file would drop SQLite's locks.
    pub(super) fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Whether a process holds the lock of this database right now. To find out, a free lock is taken for a moment.
    pub(super) fn is_held(database: &Path) -> bool {
        let Ok(file) = File::open(database) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

/// How often the kernel's list of locks is read. It comes in pieces, and a reader may miss a lock while others come and
/// go.
const READS_OF_LIST: usize = 3;

/// The process that holds the lock, as the kernel lists it. Only for the message, which is complete without it.
fn holder_of(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    (0..READS_OF_LIST).find_map(|_| listed_holder(&inode))
}

fn listed_holder(inode: &str) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF`
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, "WRITE", pid, place, ..] if place.ends_with(inode) => {
                pid.parse().ok().filter(|pid| *pid > 0)
            }
            _ => None,
        }
    })
}
