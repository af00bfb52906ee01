//! How much room the database takes, and how much is left for it.

use std::path::PathBuf;

use super::Store;

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The database file with its WAL.
    pub database_bytes: u64,
    /// The WAL alone.
    pub wal_bytes: u64,
    /// What an ordinary user may still write to the file system that it is on.
    pub free_bytes: u64,
}

impl Store {
    /// Asks the file system; `None` where it can't say.
    pub async fn footprint(&self) -> Option<Footprint> {
        let path = self.path().to_owned();
        // A disk that hangs must hold no other task up.
        tokio::task::spawn_blocking(move || read(path)).await.ok().flatten()
    }
}

fn read(path: PathBuf) -> Option<Footprint> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let disk = rustix::fs::statvfs(folder.unwrap_or(".".as_ref())).ok()?;
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let wal_bytes = std::fs::metadata(&wal).map_or(0, |file| file.len());
    Some(Footprint {
        database_bytes: std::fs::metadata(&path).ok()?.len() + wal_bytes,
        wal_bytes,
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}
