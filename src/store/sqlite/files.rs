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
