//! Stands between the daemons and the server: cuts and stalls connections, and leads to another server when told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is done with what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Nothing gets through, and no connection ends.
    Stall,
    /// The server gets everything, and its answers get lost.
    LoseAnswers,
}

/// See the module.
pub struct Proxy {
    pub port: u16,
    target: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
    /// Counts the cuts.
    cuts: watch::Sender<u32>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let (mode, cuts) = (watch::Sender::new(Mode::Pass), watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&target), mode.clone(), cuts.clone()));
        Self { port, target, mode, cuts, accepting }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Ends every connection at once.
    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// From now on it leads to this server, and to no other.
    pub fn lead_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
        self.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<u32>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let (mode, mut cut, port) = (mode.subscribe(), cuts.subscribe(), target.load(Ordering::SeqCst));
        connections.spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = carry(from_client, to_server, mode.clone(), false) => {}
                () = carry(from_server, to_client, mode, true) => {}
                _ = cut.changed() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Copies until one side ends.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    are_answers: bool,
) {
    let mut bytes = vec![0; 16 * 1_024];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let Ok(now) = mode.wait_for(|mode| *mode != Mode::Stall).await.map(|mode| *mode) else { return };
        let is_lost = are_answers && now == Mode::LoseAnswers;
        if !is_lost && to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}
