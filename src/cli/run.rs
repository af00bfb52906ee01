//! `run` and `sandbox`, which run until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{CliError, CliResult};
use crate::daemon::{self, DaemonError};
use crate::sandbox::{self, Sandbox};
use crate::settings::{LogFormat, LogSettings, Settings};
use crate::shutdown::{Hangup, Shutdown};
use crate::telemetry;

/// How long stopping may take, whatever it waits for, such as a frozen server or a database that another process locks.
/// A normal stop is faster. The last log lines and threads take up to a second more.
const STOP_AT_MOST: Duration = Duration::from_millis(7_200);

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8089", value_name = "ADDR")]
    listen: SocketAddr,
}

pub(super) async fn run(settings: &Settings) -> CliResult {
    dump_no_core();
    outlive_file_limit();
    let _log = telemetry::init(&settings.log);
    let shutdown = on_signals(Hangup::Reload)?;
    let overdue = {
        let stop = shutdown.stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(STOP_AT_MOST).await;
        }
    };
    tokio::select! {
        ended = daemon::run(settings, shutdown) => Ok(ended?),
        () = overdue => Err(DaemonError::NotDrained.into()),
    }
}

/// Where a file may grow no more (`ulimit -f`), a write fails as on a full disk, instead of ending the process.
fn outlive_file_limit() {
    let number = rustix::process::Signal::XFSZ.as_raw();
    // Once there is a handler, it stays. Without one only this limit ends the daemon otherwise.
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(number));
}

/// Disables core dumps, because tokens are in memory. If a sandbox forbids this call, the service manager's
/// `LimitCORE=0` does the same. (`PR_SET_DUMPABLE` would hide `/proc/self/fd`, which a metric counts.)
fn dump_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

pub(super) async fn sandbox(args: SandboxArgs) -> CliResult {
    let _log = telemetry::init(&LogSettings { format: LogFormat::Text, level: "info".to_owned() });
    let shutdown = on_signals(Hangup::Stop)?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|err| {
        CliError::failed(format!(
            "{} can't be listened on: {err}; name another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr()?;
    tracing::info!(
        "the sandbox listens: set upstream.base_url = \"http://{address}\"; http://{address}/ lists its scripts"
    );
    let stop = shutdown.stop.clone();
    let served = sandbox::serve(listener, Sandbox::new(), async move { stop.cancelled().await }).await;
    served.map_err(|err| CliError::failed(format!("the sandbox ended: {err}")))
}

pub(super) fn on_signals(hangup: Hangup) -> Result<Shutdown, CliError> {
    Shutdown::on_signals(hangup)
        .map_err(|err| CliError::failed(format!("signals can't be listened for: {err}")))
}
