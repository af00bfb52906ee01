//! The program's own log: always on stderr, as text or JSON.
//!
//! A thread of its own writes it, so that a reader who does not read, a stuck log collector say, holds up nothing
//! else: lines that find the queue full are dropped.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock;
use crate::settings::{LogFormat, LogSettings};

/// Times as everywhere else: RFC 3339 in UTC with milliseconds.
struct UtcMillis;

impl FormatTime for UtcMillis {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", clock::wall_now())
    }
}

/// Lines that may wait to be written.
const QUEUE: usize = 4_096;

/// How long the last lines are waited for at the end.
const PATIENCE: Duration = Duration::from_millis(300);

/// Hands lines to the thread that writes them.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Vec<u8>>,
    n_waiting: Arc<AtomicUsize>,
}

impl Lines {
    /// Starts the thread.
    fn start() -> std::io::Result<Self> {
        let (queue, lines) = sync_channel::<Vec<u8>>(QUEUE);
        let n_waiting = Arc::new(AtomicUsize::new(0));
        let n_left = Arc::clone(&n_waiting);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            for line in lines {
                // A log that can't be written must not end the daemon.
                let _ = std::io::stderr().write_all(&line);
                n_left.fetch_sub(1, Ordering::Release);
            }
        })?;
        Ok(Self { queue, n_waiting })
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.n_waiting.fetch_add(1, Ordering::Acquire);
        if self.queue.try_send(line.to_vec()).is_err() {
            self.n_waiting.fetch_sub(1, Ordering::Release);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits, when dropped, until the last lines are written, but not for ever.
pub struct LogGuard(Option<Lines>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(lines) = &self.0 else { return };
        let deadline = Instant::now() + PATIENCE;
        while lines.n_waiting.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Sets the log up for the whole process; a second call changes nothing. The guard belongs to whoever runs until
/// the end.
#[must_use]
pub fn init(settings: &LogSettings) -> LogGuard {
    // Libraries below have little to say to an operator; a directive that names them overrides this.
    let directives = format!("hyper=warn,reqwest=warn,rustls=warn,sqlx=warn,{}", settings.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    // Without a thread there is no daemon either, and that is said soon enough.
    let Ok(lines) = Lines::start() else { return LogGuard(None) };
    let writer = lines.clone();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(UtcMillis)
        .log_internal_errors(false)
        .with_writer(move || writer.clone())
        .with_target(false);
    // An error means that a log is set up already, as in tests of several runs.
    let _ = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    LogGuard(Some(lines))
}
