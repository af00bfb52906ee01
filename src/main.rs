//! The program: exit codes, and errors as plain sentences.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::RwLock;
use std::time::Duration;

use pcsid_watch::{cli, telemetry};
use tokio::runtime::Builder;

/// How long the exit waits for threads that hang in a blocking call, such as a write to a full pipe.
const EXIT_PATIENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    // It fails only if another provider is installed already, but nothing has happened before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = try_threads().and_then(|()| {
        // This thread does the daemon's work. SQLite, large commits and the HTTP server have their own threads, and a second
        // one for the work would gain nothing. A task that waits for them runs before other tasks: the recorder waits for
        // SQLite after each statement, and while it waits for its turn here, nothing is written.
        Builder::new_current_thread().global_queue_interval(1).enable_all().build()
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

/// Threads besides this one and those that serve HTTP, of which there is one for each core: the log's, the database's,
/// and those that block. Work does without the others.
const OTHER_THREADS: usize = 4;

/// Starts as many threads as are needed at least, and ends them: later, libraries panic or wait for ever if they can't
/// start one.
fn try_threads() -> std::io::Result<()> {
    let n_cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        let _closed = gate.write();
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, || drop(gate.read())).map(drop);
        (0..n_cores + OTHER_THREADS).try_for_each(start)
    })
}
