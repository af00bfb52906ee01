//! What only a database that is a file has.

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
    /// Asks the file system what the database takes up there; nothing where it can't say.
    pub async fn footprints(&self) -> Vec<Footprint> {
        self.0.footprints().await
    }

    /// Writes a consistent copy of the database to a file that does not exist yet. Writers go on meanwhile.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.0.backup(to).await
    }
}
