//! Accepting connections: bounded in number and in the patience that each is met with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at the same time; more wait for one of them to end.
const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send a request's head, or to begin the next one.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long requests that are under way may take once the daemon stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Pause after a connection could not be accepted, for want of file descriptors say.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {address} can't be listened on: choose another address, or an empty one to go without")]
pub struct ListenError {
    key: &'static str,
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A socket that listens already.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Where; a port 0 has become a real one.
    pub address: SocketAddr,
}

impl Listener {
    /// Listens on the address that `key` configures.
    ///
    /// # Errors
    /// Where it is taken, or not this machine's.
    pub async fn bind(key: &'static str, address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { key, address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }
}

/// Serves until `stop`, and then what is under way for a moment.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(err) => {
                tracing::debug!(error = &err as &dyn std::error::Error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            }
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // Whoever is not done by then is cut off with the process.
    let _ = tokio::time::timeout(STOP_PATIENCE, graceful.shutdown()).await;
}
