//! What a file has that another database has not: its size, the room left for it, a copy.

use std::path::{Path, PathBuf};

use super::Store;
use super::error::StoreError;
use crate::store::Footprint;

impl Store {
    /// Writes a consistent copy of the database to a file that does not exist yet. Writers go on meanwhile.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        sqlx::query("VACUUM INTO ?1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&self.reports)
            .await
            .map_err(StoreError::query("copying the database"))?;
        Ok(())
    }

    /// Asks the file system; nothing where it can't say.
    pub async fn footprints(&self) -> Vec<Footprint> {
        let path = self.path().to_owned();
        // A disk that hangs must hold no other task up.
        tokio::task::spawn_blocking(move || read(path)).await.ok().flatten().unwrap_or_default()
    }
}

fn read(path: PathBuf) -> Option<Vec<Footprint>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let disk = rustix::fs::statvfs(folder.unwrap_or(".".as_ref())).ok()?;
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let wal_bytes = std::fs::metadata(&wal).map_or(0, |file| file.len());
    let of = |name, help, bytes| Footprint { name, help, bytes };
    Some(vec![
        of(
            "database_bytes",
            "Size of the database file with its WAL",
            std::fs::metadata(&path).ok()?.len() + wal_bytes,
        ),
        of("database_wal_bytes", "Size of the WAL alone", wal_bytes),
        of(
            "disk_free_bytes",
            "What may still be written where the database is",
            disk.f_bavail.saturating_mul(disk.f_frsize),
        ),
    ])
}
