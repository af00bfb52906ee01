//! Sends requests over HTTP/1.1. What the other side can make this program do for one answer is bounded: its head, its
//! interim answers, and how long its bytes keep a thread.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ACCEPT, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;

/// Longest head of an answer, and the most that one read of a connection brings.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Most interim answers (1xx) before the answer. Servers send one or two; one that reports progress sends some more.
const MAX_INTERIM_ANSWERS: usize = 64;

/// How often a connection that always has bytes is read before other tasks get their turn.
const READS_IN_A_TURN: usize = 4;

/// After this time without a word on a connection, the other side is asked for a sign of life.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent bytes may stay without an acknowledgement.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

const OURS: HeaderValue = HeaderValue::from_static(concat!("pcsid-watch/", env!("CARGO_PKG_VERSION")));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long is waited for a connection, and how many are kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection, its TLS included.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How many are kept.
    pub max_idle: usize,
}

/// A client with its connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    proxies: Option<Arc<Matcher>>,
}

impl Client {
    pub(super) fn new(
        tls: Arc<rustls::ClientConfig>,
        resolver: Resolver,
        proxies: Option<Matcher>,
        limits: Limits,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect_timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN));
        let proxies = proxies.map(Arc::new);
        let timeout = limits.connect_timeout;
        let connector = Connector { tcp, tls, proxies: proxies.clone(), timeout };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle_timeout)
            .pool_max_idle_per_host(limits.max_idle)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector);
        Self { http, proxies }
    }

    /// Sends a request and reads the head of its answer. No redirect is followed.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Response, Failure> {
        let failed = |kind| Failure { url: url.to_owned(), kind };
        let uri: Uri = url.parse().map_err(|err| failed(Kind::Url(err)))?;
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        request.headers_mut().insert(USER_AGENT, OURS);
        if uri.scheme_str() == Some("http")
            && let Some(proxy) = self.proxies.as_deref().and_then(|proxies| proxies.intercept(&uri))
            && let Some(password) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, password.clone());
        }
        *request.uri_mut() = uri;
        let too_many = Arc::new(Notify::new());
        let (n_interim, noted) = (AtomicUsize::new(0), Arc::clone(&too_many));
        hyper::ext::on_informational(&mut request, move |_| {
            if n_interim.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM_ANSWERS {
                noted.notify_one();
            }
        });
        // A request that is given up takes its connection with it.
        let answer = tokio::select! {
            biased;
            () = too_many.notified() => return Err(failed(Kind::InterimAnswers)),
            answer = self.http.request(request) => answer,
        };
        answer
            .map(|answer| Response { url: url.to_owned(), answer })
            .map_err(|err| failed(Kind::Request(err)))
    }
}

/// An answer, of which the head is known.
#[derive(Debug)]
pub struct Response {
    url: String,
    answer: hyper::Response<Incoming>,
}

impl Response {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// How long its body is, where the head says so.
    pub fn content_length(&self) -> Option<u64> {
        self.answer.body().size_hint().exact()
    }

    /// The next part of its body; `None` after the last one.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.answer.body_mut().frame().await {
            let frame = frame.map_err(|err| Failure { url: self.url.clone(), kind: Kind::Body(err) })?;
            // What is no data is a trailer.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// A request that brought no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
#[error("the request failed")]
pub struct Failure {
    pub(super) url: String,
    #[source]
    pub(super) kind: Kind,
}

impl Failure {
    /// Whether something took too long.
    pub(super) fn is_timeout(&self) -> bool {
        let timed_out = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|err| err.kind() == io::ErrorKind::TimedOut)
        };
        std::iter::successors(self.source(), |&cause| cause.source()).any(timed_out)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error(transparent)]
    Url(hyper::http::uri::InvalidUri),
    #[error(transparent)]
    Request(legacy::Error),
    #[error(transparent)]
    Body(hyper::Error),
    #[error("more than {MAX_INTERIM_ANSWERS} interim answers (HTTP 1xx) came and no answer")]
    InterimAnswers,
}

/// How names are found: as the system does, but in a test.
#[derive(Debug, Clone)]
pub(super) enum Resolver {
    System(GaiResolver),
    #[cfg(test)]
    Told(Arc<std::sync::Mutex<std::net::SocketAddr>>),
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<std::net::SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::System(system) => system.poll_ready(cx),
            #[cfg(test)]
            Self::Told(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, name: Name) -> Self::Future {
        match self {
            Self::System(system) => {
                let found = system.call(name);
                Box::pin(async move { Ok(found.await?.collect::<Vec<_>>().into_iter()) })
            }
            #[cfg(test)]
            Self::Told(address) => {
                let address = *address.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                Box::pin(async move { Ok(vec![address].into_iter()) })
            }
        }
    }
}

/// Opens connections: directly or by a proxy, in plain text or by TLS.
#[derive(Debug, Clone)]
struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Arc<rustls::ClientConfig>,
    proxies: Option<Arc<Matcher>>,
    timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Fair, BoxError> {
        let proxy = self.proxies.as_deref().and_then(|proxies| proxies.intercept(&uri));
        let mut direct = HttpsConnector::from((self.tcp, Arc::clone(&self.tls)));
        match proxy {
            None => Ok(Fair::new(Box::new(direct.call(uri).await?), false)),
            Some(proxy) if uri.scheme_str() == Some("https") => {
                let mut through = HttpsConnector::from((tunnel(&proxy, direct), self.tls));
                Ok(Fair::new(Box::new(through.call(uri).await?), false))
            }
            Some(proxy) => Ok(Fair::new(Box::new(direct.call(proxy.uri().clone()).await?), true)),
        }
    }
}

fn tunnel<C>(proxy: &Intercept, direct: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), direct);
    let tunnel = tunnel.with_headers(HeaderMap::from_iter([(USER_AGENT, OURS)]));
    match proxy.basic_auth() {
        Some(password) => tunnel.with_auth(password.clone()),
        None => tunnel,
    }
}

impl Service<Uri> for Connector {
    type Response = Fair;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Fair, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The one that was asked whether it is ready is used.
        let other = self.clone();
        let this = std::mem::replace(self, other);
        let timeout = this.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, this.connect(uri)).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "operation timed out").into()),
            }
        })
    }
}

/// What a connection of any kind can do.
trait Stream: Read + Write + Connection + Send + Unpin {}

impl Stream for MaybeHttpsStream<TokioIo<TcpStream>> {}
impl Stream for MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>> {}

/// A connection that lets other tasks have their turn.
///
/// The HTTP library reads interim answers in a loop for as long as bytes are there, and a server that sends them
/// without end would keep a thread. So from time to time the connection has no bytes for a moment. Then the library
/// also notices that nobody waits for the answer any more.
struct Fair {
    stream: Box<dyn Stream>,
    is_proxy: bool,
    n_reads: usize,
}

impl Fair {
    fn new(stream: Box<dyn Stream>, is_proxy: bool) -> Self {
        Self { stream, is_proxy, n_reads: 0 }
    }
}

impl Read for Fair {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.n_reads >= READS_IN_A_TURN {
            self.n_reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.n_reads = if polled.is_pending() { 0 } else { self.n_reads + 1 };
        polled
    }
}

impl Write for Fair {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl Connection for Fair {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_proxy)
    }
}
