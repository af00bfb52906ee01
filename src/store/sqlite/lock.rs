//! The file lock: one daemon a database, and no migration under a running daemon.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
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
    /// [`StoreError::InUse`] where it stays held, [`StoreError::LockFile`] where the file can't be used.
    pub async fn acquire(database: &Path, patience: Duration) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let failed = |source| StoreError::LockFile { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    // The process id is a courtesy; without it the sentence still stands.
                    let pid = file.read_to_string(&mut owner).ok().and_then(|_| owner.trim().parse().ok());
                    return Err(StoreError::InUse { path: database.to_owned(), pid });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::LockFile { path, source });
                }
            }
        }
    }

    /// Whether somebody holds the lock of this database right now. It is taken for a moment to find out, where it is free.
    pub(super) fn is_held(database: &Path) -> bool {
        let Ok(file) = File::open(lock_path(database)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Writes this process's id into the lock file, for whoever finds it held.
    ///
    /// # Errors
    /// [`StoreError::LockFile`] where it can't be written.
    pub fn sign(&mut self, database: &Path) -> Result<(), StoreError> {
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut self.file).map_err(|source| StoreError::LockFile { path: lock_path(database), source })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
