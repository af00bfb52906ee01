//! Stopping: the first signal asks for it, the second one hurries it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What tells the daemon to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Stop: finish what is under way.
    pub stop: CancellationToken,
    /// Stop now: what is under way is left.
    pub hurry: CancellationToken,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT from now on, both alike.
    ///
    /// # Errors
    /// Where the signals can't be listened for.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let handed_out = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if shutdown.stop.is_cancelled() {
                    tracing::warn!("second signal: stopping at once");
                    shutdown.hurry.cancel();
                } else {
                    tracing::info!("stopping; a second signal stops at once");
                    shutdown.stop.cancel();
                }
            }
        });
        Ok(handed_out)
    }
}
