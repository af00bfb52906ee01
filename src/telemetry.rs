//! The program's own log: always on stderr, as text or JSON. `docs/log.schema.json` describes the JSON.
//!
//! A thread of its own writes it, so that a stuck log collector blocks nothing else: lines that find the queue full are
//! dropped.
//!
//! `tracing-appender` was rejected: it panics if its thread can't be started, it waits a second at the end for a reader
//! that does not read, and it prints its complaint about that to standard output, where our events go.

use std::error::Error;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::domain::text::acts_in_json;
use crate::settings::{LogFormat, LogSettings};

/// Times as everywhere else: RFC 3339 in UTC with milliseconds.
struct UtcMillis;

impl FormatTime for UtcMillis {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", clock::wall_now())
    }
}

/// The names of this program's own modules begin with this.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// A line of the log as one JSON object. What a library logs is below `library`, whatever names it uses.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, mut fields) = (event.metadata(), Fields::default());
        event.record(&mut fields);
        if metadata.target().split("::").next() != Some(OWN) {
            let mut library = std::mem::take(&mut fields.others);
            // Libraries that log by the crate `log` come through one target, and name theirs in a field.
            let target = library.remove("log.target").unwrap_or_else(|| metadata.target().into());
            library.retain(|name, _| !name.starts_with("log."));
            library.insert("target".to_owned(), target);
            fields.others.insert("library".to_owned(), Value::Object(library));
        }
        writeln!(writer, "{}", json_line(*metadata.level(), &fields.message, fields.others))
    }
}

/// The fields of an event, its message apart.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field, sentence(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.set(field, format!("{value:?}")),
        }
    }
}

fn json_line(level: Level, message: &str, fields: Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), clock::wall_now().to_string().into());
    line.insert("level".to_owned(), level.as_str().into());
    line.insert("message".to_owned(), message.into());
    line.extend(fields);
    Value::Object(line)
}

/// An error with its causes, each said once: some libraries repeat theirs in their own text.
pub fn sentence(err: &(dyn Error + 'static)) -> String {
    let mut sentence = String::new();
    for cause in std::iter::successors(Some(err), |&cause| cause.source()).map(ToString::to_string) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence.push_str(": ");
            sentence.push_str(&cause);
        }
    }
    sentence
}

/// Writes a line for the user, such as the last one, which says why the program ends. If it can't be written, that is
/// ignored. What others wrote must have been made [`harmless`] before: our own Arabic sentences contain marks that keep
/// an option in its order.
pub fn complain(format: LogFormat, sentence: &str) {
    let line = match format {
        LogFormat::Text => format!("pcsid-watch: {sentence}\n"),
        LogFormat::Json => format!("{}\n", json_line(Level::ERROR, sentence, Map::new())),
    };
    let (done, is_written) = sync_channel(1);
    let line = Arc::new(line);
    let to_write = Arc::clone(&line);
    // A thread of its own writes it: a full pipe blocks the writer, and the log's thread may hold the lock for the same
    // reason.
    let writing = std::thread::Builder::new().spawn(move || {
        let _ = std::io::stderr().write_all(to_write.as_bytes());
        let _ = done.send(());
    });
    if writing.is_err() {
        // If no thread can be started, this line probably says so.
        let _ = std::io::stderr().write_all(line.as_bytes());
    } else {
        let mut patience = Patience::new();
        while let Err(RecvTimeoutError::Timeout) = is_written.recv_timeout(LOOK_EVERY) {
            if patience.is_over(Instant::now(), takes_lines()) {
                break;
            }
        }
    }
}

/// How long to wait for the last lines to be written: if nobody reads them, and in all if the machine is busy.
const UNREAD: Duration = Duration::from_millis(300);
const UNWRITTEN: Duration = Duration::from_secs(2);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Limits the wait for the last lines: a reader that does not read must not keep the program from ending.
struct Patience {
    began_at: Instant,
    unread_since: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { began_at: Instant::now(), unread_since: None }
    }

    fn is_over(&mut self, now: Instant, is_read: bool) -> bool {
        if is_read {
            self.unread_since = None;
        }
        now - *self.unread_since.get_or_insert(now) >= UNREAD || now - self.began_at >= UNWRITTEN
    }
}

/// Whether stderr takes a line at once. A pipe that nobody reads is full sooner or later.
fn takes_lines() -> bool {
    let stderr = std::io::stderr();
    let mut looked_at = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut looked_at, Some(&Timespec::default())).is_ok_and(|n_ready| n_ready > 0)
}

/// Writes a line in one piece, so that no other line gets in between.
fn write_line(line: &Value) -> std::io::Result<()> {
    std::io::stderr().write_all(format!("{line}\n").as_bytes())
}

/// Logs a panic as a line like the others, so that programs can parse the whole log.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("something that is no text");
    let _ =
        write_line(&json_line(Level::ERROR, &format!("a task panicked at {place}: {message}"), Map::new()));
}

/// Lines that may wait to be written.
const QUEUE: usize = 4_096;

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
        if self.queue.try_send(harmless_line(line)).is_err() {
            self.n_waiting.fetch_sub(1, Ordering::Release);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A line without marks that reorder or break it, since somebody else may have written a part of it. Control characters
/// have been escaped already.
pub fn harmless(text: &str) -> String {
    text.replace(acts_in_json, "\u{fffd}")
}

fn harmless_line(line: &[u8]) -> Vec<u8> {
    std::str::from_utf8(line).map_or_else(|_| line.to_vec(), |text| harmless(text).into_bytes())
}

/// Waits, when dropped, until the last lines are written, but not for ever.
pub struct LogGuard(Option<Lines>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(lines) = &self.0 else { return };
        let mut patience = Patience::new();
        while lines.n_waiting.load(Ordering::Acquire) > 0 && !patience.is_over(Instant::now(), takes_lines())
        {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Sets the log up for the whole process; a second call changes nothing. The caller keeps the guard until the end.
#[must_use]
pub fn init(settings: &LogSettings) -> LogGuard {
    // These libraries have little to say to an operator; a directive that names one overrides this. Waiting for a
    // locked database is reported by the task that waits, so `sqlx::pool` need not.
    let directives =
        format!("hyper=warn,reqwest=warn,rustls=warn,sqlx=warn,sqlx::pool=error,{}", settings.level);
    let filter: Targets = directives.parse().unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
    // If no thread can be started, the daemon can't start either and says so.
    let Ok(lines) = Lines::start() else { return LogGuard(None) };
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_timer(UtcMillis)
        .log_internal_errors(false)
        .with_writer(move || writer.clone())
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that a log is set up already, as in tests that run several commands.
    let _ = match settings.format {
        LogFormat::Text => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => {
            std::panic::set_hook(Box::new(report_panic));
            registry.with(layer.event_format(JsonLines)).try_init()
        }
    };
    LogGuard(Some(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_has_longer_for_the_last_line_than_a_reader_who_does_not_read() {
        let mut patience = Patience::new();
        let began_at = patience.began_at;
        let mut is_over = |at, is_read| patience.is_over(began_at + at, is_read);
        let a_moment = Duration::from_millis(1);
        assert!(!is_over(UNREAD, true), "stderr takes the line, but its thread has not run yet");
        assert!(!is_over(UNREAD * 2 - a_moment, false), "a full pipe may be read any moment");
        assert!(is_over(UNREAD * 2, false), "nobody reads it");
        assert!(!is_over(UNREAD * 2, true), "somebody reads again");
        assert!(!is_over(UNWRITTEN - a_moment, true) && is_over(UNWRITTEN, true), "not for ever");
    }
}
