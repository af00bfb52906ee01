//! Accepts connections, with a limit on their number and on the time that each may take.
//!
//! Clients that use up all connections must not make the daemon look dead. So every connection is accepted; one beyond
//! the limit gets probes and metrics only, has little time, and is closed for the next.

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

/// Connections beyond the limit, for probes and metrics. If there are more, the oldest is closed.
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
    /// How long a connection serves one request after the other. A client may send its requests without reading the
    /// answers, and would hold it for as long as the sockets' buffers and other timeouts last.
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

/// How long the last request of a connection may take: a body is waited for, and an answer is read, for a minute at
/// most.
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
    /// Whether the configuration has to be changed. An address that is taken, or not there yet, may be free later; a
    /// port that this user may not have stays so.
    pub fn is_configuration(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::PermissionDenied
    }
}

/// What keeps an address from being listened on, and what to do.
fn why(err: &std::io::Error) -> &'static str {
    match err.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another pcsid-watch: stop it (`ss -ltnp` names it), or choose another \
             address, or an empty one to go without"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address, or not yet: wait for the network, or choose another address, or an empty one \
             to go without"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's: choose a higher one, or an empty address to go without"
        }
        _ => "choose another address, or an empty one to go without",
    }
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
        Self::of(socket).map_err(failed)
    }

    /// A socket that somebody else has bound.
    ///
    /// # Errors
    /// Where it can't say its address.
    pub fn of(socket: TcpListener) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// Serves until `stop`, and then what is under way for a moment. `spare` answers the connections beyond the bound.
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
        // Errors of a connection are the client's; nothing follows from them here.
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
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(answers.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answers));
        stop.cancel();
        server.await.unwrap();
    }
}
