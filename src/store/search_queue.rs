//! The queue for searches: a search that a user chooses freely may cost as much as reading the whole database.
//!
//! Few run at the same time and few wait; more are refused at once. So searches never use up what other readers need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;

/// Searches at the same time.
pub(super) const N_RUNNING: u32 = 2;

/// Searches that run or wait.
const N_RUNNING_OR_WAITING: usize = 8;

/// How long one waits. A search takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone; clones are the same queue.
#[derive(Debug, Clone)]
pub(super) struct SearchQueue {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for SearchQueue {
    fn default() -> Self {
        let turns = Semaphore::new(N_RUNNING as usize);
        Self { places: Arc::new(Semaphore::new(N_RUNNING_OR_WAITING)), turns: Arc::new(turns) }
    }
}

impl SearchQueue {
    /// Waits for a turn, which lasts until the returned permits are dropped.
    ///
    /// # Errors
    /// [`StoreError::Crowded`] if too many wait, or for too long.
    pub async fn turn(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), StoreError> {
        self.turn_within(PATIENCE).await
    }

    async fn turn_within(
        &self,
        patience: Duration,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), StoreError> {
        let crowded = || StoreError::Crowded;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| crowded())?;
        match tokio::time::timeout(patience, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok((place, turn)),
            _ => Err(crowded()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn few_search_few_wait_and_the_others_are_sent_away_at_once() {
        let queue = SearchQueue::default();
        let first = queue.turn().await.unwrap();
        let _second = queue.turn().await.unwrap();
        // No wait is endless, and a client that has gone leaves the queue.
        assert!(matches!(queue.turn_within(Duration::ZERO).await, Err(StoreError::Crowded)));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let queue = queue.clone();
            waiting.spawn(async move { queue.turn_within(Duration::MAX).await.map(drop) });
        }
        tokio::task::yield_now().await;
        assert!(matches!(queue.turn_within(Duration::MAX).await, Err(StoreError::Crowded)));
        drop(first);
        while let Some(waited) = waiting.join_next().await {
            waited.unwrap().unwrap();
        }
        drop(queue.turn().await.unwrap());
    }
}
