//! Accepts connections, with a limit on their number and on the time that each may take.
//!
//! Clients that use up all connections must not make the daemon look dead. So every connection is accepted, but one
//! beyond the limit gets only probes and metrics, has a few seconds, and is closed if there are too many.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::write_timeout::WriteTimeout;

/// Most connections beyond the limit. If there are more, the oldest of them is closed.
const MAX_SPARE: usize = 64;

/// How long one of those may take in all.
const SPARE_PATIENCE: Duration = Duration::from_secs(5);

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at the same time.
    pub n_connections: usize,
    /// How long a client may take to send a request's head, or to begin the next one.
    pub head_patience: Duration,
    /// How long a connection serves one request after the other. Without this limit, a client that sends requests and
    /// reads no answer could hold it until the sockets' buffers are full and another timeout ends it.
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { n_connections: 256, head_patience: Duration::from_secs(10), age: Duration::from_secs(20) }
    }
}

/// Bytes that a connection buffers of what it reads and of what it writes. It bounds a request's head as well.
const BUFFER: usize = 64 * 1024;

/// How long requests that are under way may take once the daemon stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How long the last request of a connection may take. The other limits allow less together: 10 s for its head, 30 s
/// for the request, 10 s for the rest of its body, 60 s for reading the answer.
const LAST_REQUEST: Duration = Duration::from_secs(130);

/// Pause after a connection could not be accepted, for example because no file descriptor is left.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {address} can't be listened on: {}", why(source))]
pub struct ListenError {
    key: &'static str,
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

impl ListenError {
    /// Whether the configuration has to be changed. An address that is taken or does not exist yet may be usable later;
    /// a port that this user may not use stays forbidden.
    pub fn is_configuration(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::PermissionDenied
    }
}

/// Why an address can't be listened on, and what to do.
fn why(err: &std::io::Error) -> &'static str {
    match err.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another pcsid-watch: stop it (`ss -ltnp` names it), or choose another \
             address, or leave it empty to disable this"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address, or not yet: wait for the network, or choose another address, or leave it \
             empty to disable this"
        }
        std::io::ErrorKind::PermissionDenied => {
            "only root may use ports below 1024: choose a higher one, or leave the address empty to disable this"
        }
        _ => "choose another address, or leave it empty to disable this",
    }
}

/// A socket that listens already.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Its address, with the real port if 0 was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// Listens on the address that `key` configures.
    ///
    /// # Errors
    /// If the address is taken, forbidden or not this machine's.
    pub async fn bind(key: &'static str, address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { key, address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        Self::of(socket).map_err(failed)
    }

    /// A socket that somebody else has bound.
    ///
    /// # Errors
    /// If its address can't be read.
    pub fn of(socket: TcpListener) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// Serves until `stop`, then gives requests that are under way a second. `spare` answers connections beyond
/// the bound.
pub async fn serve(
    listener: Listener,
    bounds: Bounds,
    router: Router,
    spare: Router,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(bounds.n_connections));
    let connections = TaskTracker::new();
    let mut spares: VecDeque<AbortHandle> = VecDeque::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_patience).max_buf_size(BUFFER);
    let mut spare_http = http.clone();
    spare_http.keep_alive(false);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.socket.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => TokioIo::new(WriteTimeout::new(stream)),
            Err(err) => {
                tracing::debug!(error = &err as &dyn std::error::Error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            }
        };
        // Errors of a connection concern its client; nothing follows from them here.
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            let connection = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
            let stop = stop.clone();
            connections.spawn(async move {
                let mut connection = pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(bounds.age) => {}
                }
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_REQUEST, connection).await;
                drop(permit);
            });
        } else {
            spares.retain(|spare| !spare.is_finished());
            while spares.len() >= MAX_SPARE {
                spares.pop_front().iter().for_each(AbortHandle::abort);
            }
            let connection = spare_http.serve_connection(stream, TowerToHyperService::new(spare.clone()));
            let connection = tokio::time::timeout(SPARE_PATIENCE, connection);
            spares.push_back(tokio::spawn(async move { drop(connection.await) }).abort_handle());
        }
    }
    drop(listener);
    // A request that is not done by then is cut off with the process.
    connections.close();
    let _ = tokio::time::timeout(STOP_PATIENCE, connections.wait()).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn only_what_does_not_pass_is_the_configurations_fault() {
        use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        for (kind, expected) in [(AddrInUse, false), (AddrNotAvailable, false), (PermissionDenied, true)] {
            let address = "127.0.0.1:80".parse().unwrap();
            let err = ListenError { key: "http.listen", address, source: kind.into() };
            assert_eq!(err.is_configuration(), expected, "{err}");
        }
    }

    #[tokio::test]
    async fn a_connection_ends_however_many_requests_follow_each_other() {
        let listener = Listener::of(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let address = listener.address;
        let router = || Router::new().route("/", axum::routing::get(|| async { "here" }));
        let bounds = Bounds { age: Duration::from_millis(50), ..Bounds::default() };
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, bounds, router(), router(), stop.clone()));
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut answers = Vec::new();
        let ended = async {
            let mut buffer = [0; 1024];
            loop {
                // Writing to a connection that has just been closed fails; it has ended all the same.
                let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
                match client.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => answers.extend_from_slice(&buffer[..n]),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(300), ended).await.unwrap();
        assert!(answers.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answers));
        stop.cancel();
        server.await.unwrap();
    }
}
