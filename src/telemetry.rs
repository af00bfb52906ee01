//! The program's own log: always on stderr, as text or JSON.

use std::io::IsTerminal;

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

/// Sets the log up for the whole process; a second call changes nothing.
pub fn init(settings: &LogSettings) {
    // Libraries below have little to say to an operator; a directive that names them overrides this.
    let directives = format!("hyper=warn,reqwest=warn,rustls=warn,sqlx=warn,{}", settings.level);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(UtcMillis)
        // A log that can't be written must not end the daemon: complaining on stderr itself would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_target(false);
    // An error means that a log is set up already, as in tests of several runs.
    let _ = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
