//! The interface for what only a database file has: its size on disk, and a copy of it.

use std::path::Path;

use super::{StoreError, sqlite};

/// A number of bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// As metrics name it.
    pub name: &'static str,
    /// What it is of.
    pub help: &'static str,
    /// How many.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Files(pub(super) sqlite::Store);

impl Files {
    /// The database's sizes on disk; empty if the file system doesn't say.
    pub async fn footprints(&self) -> Vec<Footprint> {
        self.0.footprints().await
    }

    /// Writes a consistent copy of the database to a file that does not exist yet. Writers go on meanwhile.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.0.backup(to).await
    }
}
