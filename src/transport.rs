//! What the HTTP clients for upstream and for webhooks share: connections that are renewed, explanations of errors, and
//! `Retry-After`.

mod names;
pub mod proxy;

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Handle;
use tokio::time::Instant;
use url::Url;

use crate::aside::Aside;
use crate::clock;
use crate::domain::retry_after::parse_retry_after;
use crate::file;
use names::Names;

/// How long connections are used before new ones replace them. A new one resolves the host's name again, so a changed
/// address is followed within this time, even if the old one still answers.
const RENEW_AFTER: Duration = Duration::from_secs(60);

/// Shortest time between two renewals, however much fails.
const RENEW_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// How long the system's root certificates are used before they are read again, because updates change them. Reading
/// them takes longer than the rest of making a client.
const READ_ROOTS_AFTER: Duration = Duration::from_secs(3_600);

/// A client that follows no redirect and sends no referer. Its connections are renewed every minute, and after a
/// request that failed, since the connection may lead to the wrong place.
///
/// The HTTP library reads interim answers (1xx) in a loop, so a server that sends them without end keeps a thread busy.
/// Therefore, for a minute after a request without an answer, the connections have a thread of their own and don't
/// share that of the daemon's work. [`FirstThread`] says which thread they begin with.
pub struct Renewing {
    url: Url,
    /// The certificates of the `ca_file`.
    trusted: Vec<CertificateDer<'static>>,
    with: Box<dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync>,
    current: Mutex<Current>,
    /// The thread for connections to a server that is not known to answer. Where there can be none, they share that of the
    /// work.
    aside: Aside,
    names: Arc<Names>,
}

/// The thread of the connections to a server that has not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstThread {
    /// The thread of the daemon's work, for a server that all work depends on.
    OfTheWork,
    /// A thread of its own, for a server among others, which it must not delay.
    ItsOwn,
}

struct Current {
    client: reqwest::Client,
    /// Whether the server has answered, or is assumed to answer.
    has_answered: bool,
    /// When a request ended without an answer.
    unanswered_at: Option<Instant>,
    /// Whether the client's connections have a thread of their own.
    is_aside: bool,
    made_at: Instant,
    is_doubted: bool,
    tls: Arc<rustls::ClientConfig>,
    tls_made_at: Instant,
}

impl std::fmt::Debug for Renewing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewing")
    }
}

impl Renewing {
    /// A client for `url`. Besides the system's roots it trusts the certificates of `ca_file`, given as the key that
    /// names the file and its path. `with` does the rest of the set-up.
    ///
    /// # Errors
    /// If the URL, the file or the TLS set-up is not usable.
    pub fn new(
        url: &str,
        ca_file: Option<(String, &Path)>,
        first: FirstThread,
        with: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, ClientError> {
        let url = Url::parse(url).map_err(ClientError::Url)?;
        let trusted = ca_file.map(read_certificates).transpose()?.unwrap_or_default();
        let tls = tls(&url, &trusted)?;
        let names = Arc::new(Names::default());
        let client = client(&url, &tls, &names, &with)?;
        let now = Instant::now();
        let current = Current {
            client,
            has_answered: first == FirstThread::OfTheWork,
            unanswered_at: None,
            is_aside: first == FirstThread::ItsOwn,
            made_at: now,
            is_doubted: false,
            tls,
            tls_made_at: now,
        };
        Ok(Self {
            url,
            trusted,
            with: Box::new(with),
            current: Mutex::new(current),
            aside: Aside::new("aside"),
            names,
        })
    }

    /// The URL that the client was made for. It is parsed once, because parsing takes time, most of it for the host.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Makes a request, and reads the head of its answer.
    ///
    /// # Errors
    /// If no answer comes. It waits without a limit; the caller sets one.
    pub async fn send(&self, request: Request) -> reqwest::Result<Response> {
        let (client, thread) = self.client();
        let mut outcome = Outcome { of: self, is_answered: false };
        let mut answer = pin!(client.execute(request));
        let answer = std::future::poll_fn(|context| {
            // A connection belongs to the runtime that it is opened in.
            let _entered = thread.as_ref().map(Handle::enter);
            answer.as_mut().poll(context)
        })
        .await;
        outcome.is_answered = answer.is_ok();
        answer
    }

    /// The client to make the next request with, and the thread for its connections, if they have one of their own.
    fn client(&self) -> (reqwest::Client, Option<Handle>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let age = current.made_at.elapsed();
        let is_quiet = current.unanswered_at.is_none_or(|at| at.elapsed() >= RENEW_AFTER);
        let is_to_be_aside = !(current.has_answered && is_quiet);
        let is_due = current.is_doubted || is_to_be_aside != current.is_aside;
        // A server that does not answer leaves the thread of the work at once.
        let is_urgent = is_to_be_aside && !current.is_aside;
        if age >= RENEW_AFTER || is_urgent || (is_due && age >= RENEW_AT_MOST_EVERY) {
            current.is_aside = is_to_be_aside;
            self.renew(&mut current);
        }
        let thread = current.is_aside.then(|| self.aside.handle()).flatten();
        (current.client.clone(), thread.cloned())
    }

    /// Makes a new client. If that fails, for example because no file descriptor is left, the former one stays in use.
    fn renew(&self, current: &mut Current) {
        if current.tls_made_at.elapsed() >= READ_ROOTS_AFTER
            && let Ok(tls) = tls(&self.url, &self.trusted)
        {
            current.tls = tls;
            current.tls_made_at = Instant::now();
        }
        if let Ok(client) = client(&self.url, &current.tls, &self.names, &self.with) {
            current.client = client;
        }
        current.made_at = Instant::now();
        current.is_doubted = false;
    }

    /// Notes that a request failed: the next one gets a new connection.
    pub fn doubt(&self) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).is_doubted = true;
    }
}

/// Notes, when dropped, whether a request was answered.
struct Outcome<'a> {
    of: &'a Renewing,
    is_answered: bool,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        let mut current = self.of.current.lock().unwrap_or_else(PoisonError::into_inner);
        match self.is_answered {
            true => current.has_answered = true,
            false => current.unanswered_at = Some(Instant::now()),
        }
    }
}

/// Makes a client. Plain http to this machine uses no proxy: a proxy could not reach it, and would read the token.
fn client(
    url: &Url,
    tls: &rustls::ClientConfig,
    names: &Arc<Names>,
    with: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // It would repeat only what HTTP/2 refuses, and keep a copy of each request for that.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .user_agent(concat!("pcsid-watch/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::clone(names))
        .tls_backend_preconfigured(tls.clone());
    let builder = if is_plain_loopback(url) { builder.no_proxy() } else { builder };
    with(builder).build().map_err(ClientError::Client)
}

/// TLS that trusts the system's roots and the certificates of a `ca_file`. A client that speaks plain http to this
/// machine needs no roots, so none are read.
fn tls(url: &Url, trusted: &[CertificateDer<'static>]) -> Result<Arc<rustls::ClientConfig>, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    if !is_plain_loopback(url) {
        roots.add_parsable_certificates(trusted.iter().cloned());
        // A root that can't be read is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ClientError::NoRoots);
        }
    }
    let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of a `ca_file` can't be read.
    #[error("{key} `{}` can't be read", path.display())]
    CaFile {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of a `ca_file` holds no certificates.
    #[error("{key} `{}` holds no PEM certificates", path.display())]
    CaCertificates {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate to trust.
    #[error("TLS can't be set up: is a bundle of CA certificates installed (package ca-certificates)?")]
    NoRoots,
    /// It is not a URL.
    #[error("the URL can't be read")]
    Url(#[source] url::ParseError),
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Client(#[source] reqwest::Error),
}

fn read_certificates((key, path): (String, &Path)) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let path = path.to_owned();
    let pem = match file::read(&path, file::MAX_CA_BYTES) {
        Ok(pem) => pem,
        Err(source) => return Err(ClientError::CaFile { key, path, source }),
    };
    // Editors on Windows put a byte order mark before the text.
    CertificateDer::pem_slice_iter(pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&pem))
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|certificates| !certificates.is_empty() && all_usable(certificates))
        .ok_or(ClientError::CaCertificates { key, path })
}

fn all_usable(certificates: &[CertificateDer<'static>]) -> bool {
    let (_, n_unusable) =
        rustls::RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
    n_unusable == 0
}

/// Asks for a body that is not encoded. Bodies are not decoded here, so that their size is what was received.
pub fn ask_for_plain_body(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// How a body is encoded, although no encoding was asked for. An unknown name is not repeated: it may be anything, even
/// a secret of ours.
pub fn encoding(headers: &HeaderMap) -> Option<&'static str> {
    const KNOWN: [&str; 7] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"];
    let named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("unreadable"));
    named
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"))
        .map(|one| {
            KNOWN.into_iter().find(|known| one.eq_ignore_ascii_case(known)).unwrap_or("in an unknown way")
        })
}

fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// How long the other side asks us to wait, by its answer's headers.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    parse_retry_after(text(RETRY_AFTER)?, text(DATE), clock::wall_system_time())
}

/// What went wrong with a request, in an operator's words: the kind of failure and its innermost cause.
pub fn explain(err: &reqwest::Error) -> String {
    let chain: Vec<String> =
        std::iter::successors(err.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    let says = |part: &str| chain.iter().any(|cause| cause.contains(part));
    let is_tls = says("certificate") || says("tls") || says("TLS");
    // A failing proxy is named, so that the other side is not blamed.
    let proxy = err.url().filter(|url| err.is_connect() && !is_plain_loopback(url)).and_then(proxy::of);
    let by_proxy = proxy.map(|proxy| match () {
        () if says("proxy authorization required") => format!("{proxy} wants a user name and a password"),
        () if says("tunnel error") && !says("failed to create") => format!("{proxy} refuses the connection"),
        () => format!("no connection to {proxy}"),
    });
    let kind = if says("Too many open files") {
        "this process has too few file descriptors (`ulimit -n`, LimitNOFILE)"
    } else if let Some(by_proxy) = by_proxy.as_deref().filter(|_| !is_tls) {
        by_proxy
    } else if says("found HTTP2 preface") || says("NoApplicationProtocol") || says("invalid HTTP version") {
        "the other side does not speak HTTP/1.1, which is needed; perhaps it takes HTTP/2 alone"
    } else if err.is_timeout() && err.is_connect() {
        "no connection in time"
    } else if err.is_timeout() {
        "no answer in time"
    } else if says("dns error") {
        "the host's name could not be resolved"
    } else if is_tls {
        "TLS failed"
    } else if err.is_connect() {
        "no connection"
    } else if err.is_body() || err.is_decode() {
        "the connection broke within the answer"
    } else {
        "the connection broke before an answer"
    };
    match chain.last().map(|cause| of_certificate(cause).unwrap_or_else(|| cause.clone())) {
        Some(cause) => format!("{kind}: {cause}"),
        None => kind.to_owned(),
    }
}

/// What is wrong with a server's certificate, in plain words; `None` if the library's own words are plain enough.
fn of_certificate(cause: &str) -> Option<String> {
    let says = |part: &str| cause.contains(part);
    // The library gives seconds, in brackets at the end.
    let days = || {
        let (_, seconds) = cause.rsplit_once('(')?;
        let seconds: u64 = seconds.split(' ').next()?.parse().ok()?;
        Some(seconds / 86_400)
    };
    if says("CaUsedAsEndEntity") {
        Some(
            "the server shows the certificate of an authority (CA:TRUE) as its own; it needs one that is not \
             (CaUsedAsEndEntity)"
                .to_owned(),
        )
    } else if says("UnknownIssuer") {
        Some(
            "no authority that is trusted here has signed the server's certificate; a ca_file can name one (UnknownIssuer)"
                .to_owned(),
        )
    } else if says("certificate expired") {
        Some(format!(
            "the server's certificate ended {} days ago by this machine's clock (certificate expired)",
            days()?
        ))
    } else if says("certificate not valid yet") {
        Some(format!(
            "the server's certificate begins in {} days by this machine's clock (certificate not valid yet)",
            days()?
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use reqwest::Method;

    use super::*;

    /// A server that answers every request on every connection with its name, and never closes one.
    async fn server(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 4_096];
                    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn an_encoding_is_named_and_what_is_none_is_not_repeated() {
        for (header, expected) in [
            ("identity", None),
            ("", None),
            ("identity, GZIP", Some("gzip")),
            ("1.abcdefghijklmnopqrstuvwxyz", Some("in an unknown way")),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(header))]);
            assert_eq!(encoding(&headers), expected, "{header}");
        }
    }

    #[tokio::test]
    async fn roots_are_read_again_after_an_hour_and_not_with_each_client() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients =
            Renewing::new("http://elsewhere.test/", None, FirstThread::OfTheWork, |builder| builder).unwrap();
        let tls_of_next_client = |tls_age| {
            let mut current = clients.current.lock().unwrap();
            current.made_at -= RENEW_AFTER;
            current.tls_made_at -= tls_age;
            drop(current);
            drop(clients.client());
            Arc::clone(&clients.current.lock().unwrap().tls)
        };
        let first = tls_of_next_client(Duration::ZERO);
        assert!(Arc::ptr_eq(&first, &tls_of_next_client(RENEW_AFTER)));
        assert!(!Arc::ptr_eq(&first, &tls_of_next_client(READ_ROOTS_AFTER)));
    }

    #[tokio::test]
    async fn a_name_that_was_moved_is_followed_though_the_old_address_still_answers() {
        // Another one may be installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (old, new) = (server("old").await, server("new").await);
        // What the name resolves to, for who asks again.
        let record = Arc::new(Mutex::new(old));
        let resolved = Arc::clone(&record);
        let clients = Renewing::new("http://moved.test/", None, FirstThread::ItsOwn, move |builder| {
            builder.no_proxy().resolve("moved.test", *resolved.lock().unwrap())
        })
        .unwrap();
        let ask = async || {
            let answer = clients.send(Request::new(Method::GET, clients.url().clone())).await.unwrap();
            answer.text().await.unwrap()
        };
        let later = |time| clients.current.lock().unwrap().made_at -= time;
        let is_aside = || clients.current.lock().unwrap().is_aside;
        assert_eq!((ask().await.as_str(), is_aside()), ("old", true), "it has never answered before");
        later(RENEW_AT_MOST_EVERY);
        assert_eq!((ask().await.as_str(), is_aside()), ("old", false));
        *record.lock().unwrap() = new;
        assert_eq!(ask().await, "old", "the connection is used again");
        later(RENEW_AFTER);
        assert_eq!(ask().await, "new");
        // Renewed at once after a failure, unless many failures follow each other.
        *record.lock().unwrap() = old;
        clients.doubt();
        later(RENEW_AT_MOST_EVERY);
        assert_eq!(ask().await, "old");
        // A request without an answer.
        drop(Outcome { of: &clients, is_answered: false });
        assert_eq!((ask().await.as_str(), is_aside()), ("old", true));
        later(RENEW_AT_MOST_EVERY);
        assert_eq!((ask().await.as_str(), is_aside()), ("old", true));
    }
}
