//! What only a database that is a file has.

use std::path::Path;

use super::{StoreError, sqlite};

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// The database with all that belongs to it.
    pub database_bytes: u64,
    /// What of it is not folded into the database yet.
    pub wal_bytes: u64,
    /// What an ordinary user may still write where it is.
    pub free_bytes: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Files(pub(super) sqlite::Store);

impl Files {
    /// Asks the file system; `None` where it can't say.
    pub async fn footprint(&self) -> Option<Footprint> {
        self.0.footprint().await
    }

    /// Writes a consistent copy of the database to a file that does not exist yet. Writers go on meanwhile.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.0.backup(to).await
    }
}
