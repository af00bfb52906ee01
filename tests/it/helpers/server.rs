//! A server on a real socket that answers as a test says, upstream's or a receiver's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::eventually;

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Seen {
    /// The activity id in `/onboarding/{id}/pcsid-status`.
    pub fn activity_id(&self) -> &str {
        self.path.split("/onboarding/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A proper answer.
    Http { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// A proper answer, later.
    After(Duration, Box<Reply>),
    /// A proper answer, once this is true.
    Once(tokio::sync::watch::Receiver<bool>, Box<Reply>),
    /// These bytes again and again, with a pause between them, until the other side gives up.
    Drip { first: Vec<u8>, again: Vec<u8>, every: Duration },
    /// The connection is closed at once.
    Close,
    /// Nothing, ever.
    Silence,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Reply::Http { status, headers, body: body.into() }
    }

    pub fn with_header(self, name: &str, value: &str) -> Self {
        match self {
            Reply::Http { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Reply::Http { status, headers, body }
            }
            other => other,
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Reply::After(delay, Box::new(self))
    }

    pub fn once(self, released: &tokio::sync::watch::Receiver<bool>) -> Self {
        Reply::Once(released.clone(), Box::new(self))
    }

    pub fn in_progress() -> Self {
        Self::new(
            200,
            r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"IN_PROGRESS","CreatedAt":"2026-05-26T08:14:46.512Z",
                "UpdatedAt":"2026-05-26T08:14:46.512Z","CompletedAt":null,"RequestMetaInfo":{"TotalCount":6,
                "SuccessCount":0,"FailureCount":0},"ResponseInfo":{"ResponseMetaData":null},"ErrorList":[]}"#,
        )
    }

    pub fn succeeded() -> Self {
        Self::new(200, include_str!("../../fixtures/succeeded.json"))
    }

    pub fn failed() -> Self {
        Self::new(500, include_str!("../../fixtures/failed.json"))
    }

    pub fn refused() -> Self {
        Self::new(
            400,
            r#"{"ErrorList":[{"ErrorCode":"6004","ErrorMessage":"no such activity","ErrorSource":"CLEARTAX"}]}"#,
        )
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A server on a real socket that answers as told, upstream's or a webhook receiver's, and remembers all
/// requests.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<Mutex<Handler>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), handler).await
    }

    pub async fn start_on(
        address: SocketAddr,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = eventually("the port is free", || async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).ok()?;
            socket.listen(1_024).ok()
        })
        .await;
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Arc::new(handler)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen), Arc::clone(&handler)));
        Self { address, seen, handler, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An upstream that succeeds, fails or refuses by how an id begins (`good`, `bad`, `odd`), up to a hyphen. All
    /// others are in progress.
    pub async fn by_id() -> Self {
        Self::start(|seen| match seen.activity_id().split('-').next().unwrap_or_default() {
            "good" => Reply::succeeded(),
            "bad" => Reply::failed(),
            "odd" => Reply::refused(),
            _ => Reply::in_progress(),
        })
        .await
    }

    /// Answers differently from now on.
    pub fn answer(&self, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Arc::new(handler);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn n_seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn n_seen_of(&self, activity_id: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.activity_id() == activity_id).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, handler: Arc<Mutex<Handler>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream, Arc::clone(&seen), Arc::clone(&handler)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, handler: Arc<Mutex<Handler>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request.clone());
        let handler = Arc::clone(&handler.lock().unwrap());
        let mut reply = handler(&request);
        loop {
            reply = match reply {
                Reply::After(delay, then) => {
                    tokio::time::sleep(delay).await;
                    *then
                }
                Reply::Once(mut released, then) => {
                    // An end of the test releases it as well.
                    let _ = released.wait_for(|is_released| *is_released).await;
                    *then
                }
                other => {
                    reply = other;
                    break;
                }
            }
        }
        match reply {
            Reply::Http { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let bytes = [head.as_bytes(), b"\r\n", &body].concat();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Drip { first, again, every } => {
                let mut next = first;
                while stream.write_all(&next).await.is_ok() {
                    next.clone_from(&again);
                    tokio::time::sleep(every).await;
                }
                return;
            }
            Reply::Close | Reply::After(..) | Reply::Once(..) => return,
            Reply::Silence => {
                // Until the other side gives up.
                let _ = stream.read(&mut [0]).await;
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ');
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        method: request_line.next()?.to_owned(),
        path: request_line.next()?.to_owned(),
        headers,
        body: bytes[head_end..head_end + length].to_vec(),
        at: Instant::now(),
    })
}
