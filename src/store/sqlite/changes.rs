//! What other processes do to the file: they commit to it, or take it away.
//!
//! `file_identity` says whether the file is still the one that was opened; here that is checked again and again.

use super::Store;
use super::error::StoreError;
use crate::store::News;

/// How often the file is checked for commits of other processes.
const WATCH_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Wait before the second check that the file is another one.
const LOOK_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

impl Store {
    /// Waits until another process, or another connection than the writer, has committed, or the file is gone.
    /// `version` is what the last call left.
    pub async fn next_change(&self, version: &mut Option<i64>) -> News {
        loop {
            if let Some(lost) = self.loss(*version).await {
                return News::Lost(lost);
            }
            match self.data_version().await {
                Ok(found) if *version == Some(found) => {}
                Ok(found) => {
                    *version = Some(found);
                    if let Some(identity) = &self.file_identity {
                        identity.learn(&self.writer).await;
                    }
                    return News::Changed;
                }
                // A database in trouble is reported where it is written.
                Err(err) => {
                    tracing::debug!(error = &err as &dyn std::error::Error, "the database can't be watched");
                }
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// What changes with every commit of others.
    async fn data_version(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.writer).await
    }

    /// What happened to the file, if it is another one or gone.
    async fn loss(&self, version: Option<i64>) -> Option<StoreError> {
        let identity = self.file_identity.as_ref()?;
        if identity.loss().is_none() {
            return identity.cut_wal(&self.writer).await;
        }
        // The first check may have met SQLite in the middle of writing, or commits of other processes may explain it. While
        // they go on, nothing can be said.
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        let found = self.data_version().await;
        if found.as_ref().is_ok_and(|found| version != Some(*found)) {
            identity.learn(&self.writer).await;
        }
        let lost = identity.loss()?;
        if let (Ok(before), Ok(after)) = (found, self.data_version().await)
            && before != after
        {
            return None;
        }
        if let StoreError::JournalGone { .. } = &lost {
            // SQLite still has the file open that has lost its name.
            let _ = sqlx::query("PRAGMA wal_checkpoint").execute(&self.writer).await;
        }
        Some(lost)
    }
}
