//! The guard that ties a database to the upstream it was first used with.

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::{Store, commit};
use crate::domain::time::Timestamp;

impl Store {
    pub async fn require_upstream(&self, base_url: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        require(&mut transaction, base_url, now).await?;
        commit(transaction).await
    }

    pub async fn upstream(&self) -> Result<Option<String>, StoreError> {
        let mut connection =
            self.reports.acquire().await.map_err(StoreError::query("reading the database's upstream"))?;
        stored(&mut connection).await
    }

    pub async fn adopt_upstream(&self, base_url: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let mut transaction = self.begin().await?;
        let former = stored(&mut transaction).await?;
        sqlx::query(
            "INSERT INTO upstream (id, base_url, adopted_at) VALUES (1, ?1, ?2)
             ON CONFLICT (id) DO UPDATE SET base_url = excluded.base_url, adopted_at = excluded.adopted_at",
        )
        .bind(base_url)
        .bind(now.as_millis())
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("adopting the upstream"))?;
        commit(transaction).await?;
        Ok(former)
    }
}

/// Within a transaction: as [`Store::require_upstream`].
pub(super) async fn require(
    connection: &mut SqliteConnection,
    base_url: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    match stored(connection).await? {
        Some(stored) if stored == base_url => Ok(()),
        Some(stored) => Err(StoreError::OtherUpstream { stored, configured: base_url.to_owned() }),
        None => {
            sqlx::query("INSERT INTO upstream (id, base_url, adopted_at) VALUES (1, ?1, ?2)")
                .bind(base_url)
                .bind(now.as_millis())
                .execute(connection)
                .await
                .map_err(StoreError::query("adopting the upstream"))?;
            Ok(())
        }
    }
}

async fn stored(connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT base_url FROM upstream WHERE id = 1")
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("reading the database's upstream"))
}
