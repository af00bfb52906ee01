//! The program: exit codes, and errors as plain sentences.

use std::process::ExitCode;
use std::time::Duration;

use pcsid_watch::{cli, telemetry};

/// How long the exit waits for threads that hang in a blocking call, such as a write to a full pipe.
const EXIT_PATIENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    // Another provider can't be installed yet: this is the first thing that happens.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            telemetry::complain(cli::format_at_start(), &format!("no threads can be started: {err}"));
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(cli::main());
    runtime.shutdown_timeout(EXIT_PATIENCE);
    ExitCode::from(code)
}
