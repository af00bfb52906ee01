//! The program: exit codes, and errors as plain sentences.

use std::process::ExitCode;
use std::time::Duration;

use pcsid_watch::{cli, telemetry, threads};
use tokio::runtime::Builder;

/// How long the exit waits for threads that hang in a blocking call, such as a write to a full pipe.
const EXIT_PATIENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    // It fails only if another provider is installed already, but nothing has happened before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = threads::try_threads().and_then(|()| {
        // This thread does the daemon's work. SQLite, large commits and the HTTP server have their own threads, and a second
        // one for the work would gain nothing. A task that waits for them runs before other tasks: the recorder waits for
        // SQLite after each statement, and while it waits for its turn here, nothing is written.
        threads::runtime(Builder::new_current_thread().global_queue_interval(1))
    });
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(err) => {
            telemetry::complain(
                cli::format_at_start(),
                &format!(
                    "too few threads can be started; this user or service may have no more (`ulimit -u`, TasksMax): {err}"
                ),
            );
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(cli::main());
    runtime.shutdown_timeout(EXIT_PATIENCE);
    ExitCode::from(code)
}
