//! Signals: the first SIGTERM or SIGINT asks to stop, a later one stops at once; SIGHUP makes a daemon read its tokens
//! again.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A signal this soon after the first one is the same wish to stop: `timeout`, supervisors and terminals signal a
/// process and its group, so that one stop arrives twice. An impatient person takes longer.
const SAME_WISH: Duration = Duration::from_secs(1);

/// The signals that stop the daemon, or make it read its tokens again.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Stop: finish what is under way.
    pub stop: CancellationToken,
    /// Stop now: leave what is under way.
    pub hurry: CancellationToken,
    /// Read tokens again now; they are read every second anyway.
    pub reload: Arc<Notify>,
}

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// Read the tokens again.
    Reload,
    /// The terminal is gone: stop.
    Stop,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT, both alike, and SIGHUP from now on.
    ///
    /// # Errors
    /// If the signals can't be listened for.
    pub fn on_signals(on_hangup: Hangup) -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let shutdown = Self::default();
        let handed_out = shutdown.clone();
        tokio::spawn(async move {
            let mut asked_at: Option<Instant> = None;
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => match on_hangup {
                        Hangup::Stop => {}
                        Hangup::Reload => {
                            shutdown.reload.notify_one();
                            continue;
                        }
                    },
                }
                match asked_at {
                    None => {
                        asked_at = Some(Instant::now());
                        tracing::info!("stopping; another signal, a second or more from now, stops at once");
                        shutdown.stop.cancel();
                    }
                    Some(asked_at) if asked_at.elapsed() < SAME_WISH => {
                        tracing::debug!("another signal at the same time as the first one changes nothing");
                    }
                    Some(_) => {
                        tracing::warn!("second signal: stopping at once");
                        shutdown.hurry.cancel();
                    }
                }
            }
        });
        Ok(handed_out)
    }
}
