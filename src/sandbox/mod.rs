//! A stand-in for the ClearTax endpoint: scripted outcomes by ActivityId, and a page that lists them.
//!
//! It keeps its state in memory, and accepts any token that is not empty. Tests bind port 0, pass the listener to
//! [`serve`] and keep a clone of the [`Sandbox`] to see what was asked.

mod cut_short;
mod outcome;
mod page;
mod reply;
mod script;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Bounds, Listener};
use crate::domain::activity::ActivityId;

use self::cut_short::CutShort;
use self::reply::{Delivery, Reply};
use self::script::Script;

/// How many activities are remembered. With more of them, the one that was first polled longest ago is forgotten; its
/// next poll begins its script again.
pub const MAX_ACTIVITIES: usize = 100_000;

/// How many requests [`Sandbox::requests`] remembers.
const MAX_REQUESTS: usize = 1_000;

/// No VAT is longer than this; a longer one is refused rather than remembered.
const MAX_VAT_BYTES: usize = 32;

/// How much of an invalid activity id is remembered.
const MAX_ACTIVITY_ID_CHARS: usize = 64;

/// Connections for several daemons with the default of 64 requests in flight. An idle one is kept for longer than a
/// client's pool keeps it.
const BOUNDS: Bounds =
    Bounds { n_connections: 512, head_patience: Duration::from_secs(100), age: Duration::from_secs(3_600) };

/// How long a request that is never answered is held: longer than any client waits.
const NEVER: Duration = Duration::from_secs(600);

/// What the sandbox has been asked so far. Clones share what is remembered.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    memory: Arc<Mutex<Memory>>,
}

/// One request for the status of an activity. The token is never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// When it came.
    pub seen_at: Timestamp,
    /// The `vat` header, cut to a sensible length; empty if there was none.
    pub vat: String,
    /// The id in the path, cut likewise.
    pub activity_id: String,
    /// Which poll of this VAT's activity it was, from 1; `None` if the request itself was not in order.
    pub poll: Option<u32>,
    /// What was answered, such as `200 in progress`.
    pub answered: String,
}

#[derive(Debug, Default)]
struct Memory {
    activities: HashMap<ActivityKey, Polled>,
    first_polled: VecDeque<ActivityKey>,
    requests: VecDeque<SeenRequest>,
}

/// VAT and activity id.
type ActivityKey = (String, String);

#[derive(Debug, Clone, Copy)]
struct Polled {
    n_polls: u32,
    first: Instant,
}

impl Sandbox {
    /// A sandbox that nobody has asked anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest requests for a status, at most `MAX_REQUESTS`, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.memory().requests.iter().cloned().collect()
    }

    /// How often this VAT's activity was polled so far.
    #[cfg(test)]
    fn n_polls(&self, vat: &str, activity_id: &str) -> u32 {
        let key = (vat.to_owned(), activity_id.to_owned());
        self.memory().activities.get(&key).map_or(0, |polled| polled.n_polls)
    }

    /// Plays the next step of the activity's script.
    fn poll(&self, vat: &str, activity_id: &str, now: Timestamp) -> Reply {
        let key = (vat.to_owned(), activity_id.to_owned());
        let (n_polls_before, since_first) = self.memory().count_poll(key);
        let reply = Script::for_activity(activity_id).answer(n_polls_before, since_first, now);
        self.memory().note(SeenRequest {
            seen_at: now,
            vat: vat.to_owned(),
            activity_id: activity_id.to_owned(),
            poll: Some(n_polls_before.saturating_add(1)),
            answered: reply.summary(),
        });
        reply
    }

    fn note_refused(&self, vat: &str, activity_id: &str, now: Timestamp, reply: &Reply) {
        self.memory().note(SeenRequest {
            seen_at: now,
            vat: vat.chars().take(MAX_VAT_BYTES).collect(),
            activity_id: activity_id.chars().take(MAX_ACTIVITY_ID_CHARS).collect(),
            poll: None,
            answered: reply.summary(),
        });
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Counts one more poll. Returns how many there were before, and how long ago the first was.
    fn count_poll(&mut self, key: ActivityKey) -> (u32, Duration) {
        if let Some(polled) = self.activities.get_mut(&key) {
            let n_polls_before = polled.n_polls;
            polled.n_polls = n_polls_before.saturating_add(1);
            return (n_polls_before, polled.first.elapsed());
        }
        if self.activities.len() >= MAX_ACTIVITIES
            && let Some(oldest) = self.first_polled.pop_front()
        {
            self.activities.remove(&oldest);
        }
        self.first_polled.push_back(key.clone());
        self.activities.insert(key, Polled { n_polls: 1, first: Instant::now() });
        (0, Duration::ZERO)
    }

    fn note(&mut self, request: SeenRequest) {
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}

/// Serves the sandbox until `stop` completes. Then answers that are still held back are dropped, and connections get a
/// second to end. Slow clients are cut off as by the daemon's own listener.
///
/// # Errors
///
/// If the listener can't say its address.
pub async fn serve(
    listener: TcpListener,
    sandbox: Sandbox,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = CancellationToken::new();
    let server = Server { sandbox, stopping: stopping.clone() };
    let router = Router::new().fallback(respond).with_state(server);
    let serving = api::serve(Listener::of(listener)?, BOUNDS, router.clone(), router, stopping.clone());
    let stop = async {
        stop.await;
        stopping.cancel();
    };
    tokio::join!(serving, stop);
    Ok(())
}

#[derive(Debug, Clone)]
struct Server {
    sandbox: Sandbox,
    stopping: CancellationToken,
}

/// The router can't match a path below an arbitrary prefix, so the path is split here.
async fn respond(State(server): State<Server>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path: Vec<&str> = uri.path().split('/').collect();
    match path.as_slice() {
        ["", ""] if method == Method::GET => page_for(&server.sandbox, &headers),
        [.., "onboarding", activity_id, "pcsid-status"] if method == Method::GET => {
            let reply = answer(&server.sandbox, activity_id, &headers);
            deliver(reply, server.stopping).await
        }
        _ => {
            let reply = Reply::refusal(
                StatusCode::NOT_FOUND,
                "404",
                "The sandbox knows only GET …/onboarding/{ActivityId}/pcsid-status, and / for its page",
            );
            deliver(reply, server.stopping).await
        }
    }
}

fn page_for(sandbox: &Sandbox, headers: &HeaderMap) -> Response {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let page = page::render(host, &sandbox.requests(), now());
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    ([(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-store")], Html(page.into_string()))
        .into_response()
}

fn answer(sandbox: &Sandbox, activity_id: &str, headers: &HeaderMap) -> Reply {
    let now = now();
    let vat = headers.get("vat").and_then(|vat| vat.to_str().ok()).unwrap_or_default().trim();
    let reply = match refused(vat, activity_id, headers) {
        Some(refusal) => {
            sandbox.note_refused(vat, activity_id, now, &refusal);
            refusal
        }
        None => sandbox.poll(vat, activity_id, now),
    };
    tracing::debug!(vat, activity_id, answered = reply.summary(), "the sandbox was polled");
    reply
}

/// The refusal of a request that is not in order, whatever the script says.
fn refused(vat: &str, activity_id: &str, headers: &HeaderMap) -> Option<Reply> {
    let has_token =
        headers.get("x-cleartax-auth-token").is_some_and(|token| !token.as_bytes().trim_ascii().is_empty());
    if !has_token {
        let message = "The header x-cleartax-auth-token is missing or empty";
        return Some(Reply::refusal(StatusCode::UNAUTHORIZED, "401", message));
    }
    if vat.is_empty() || vat.len() > MAX_VAT_BYTES {
        let message = "The header vat is missing, empty or too long";
        return Some(Reply::refusal(StatusCode::BAD_REQUEST, "400", message));
    }
    if ActivityId::parse(activity_id).is_err() {
        let message = "An activity id has 1 to 64 letters, digits, dashes or underscores";
        return Some(Reply::refusal(StatusCode::BAD_REQUEST, "6004", message));
    }
    None
}

/// Waits for so long, or until the sandbox is told to stop.
async fn held_back(time: Duration, stopping: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = stopping.cancelled() => {}
    }
}

async fn deliver(reply: Reply, stopping: CancellationToken) -> Response {
    let body = match reply.delivery {
        Delivery::AtOnce => Body::from(reply.body),
        Delivery::Late(time) => {
            held_back(time, &stopping).await;
            Body::from(reply.body)
        }
        Delivery::CutShort => Body::new(CutShort::new(reply.body)),
        Delivery::Never => {
            held_back(NEVER, &stopping).await;
            Body::new(CutShort::new(reply.body))
        }
    };
    (reply.status, AppendHeaders(reply.headers), body).into_response()
}

/// The wall clock. A time off the calendar counts as the epoch.
fn now() -> Timestamp {
    Timestamp::try_from(crate::clock::wall_system_time()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    const VAT: &str = "310122393500003";
    const HEADERS: &str = "x-cleartax-auth-token: secret-token\r\nvat: 310122393500003\r\n";

    struct Running {
        address: SocketAddr,
        sandbox: Sandbox,
        stop: oneshot::Sender<()>,
        serving: JoinHandle<io::Result<()>>,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Sandbox::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, sandbox.clone(), async { stopped.await.unwrap() }));
        Running { address, sandbox, stop, serving }
    }

    impl Running {
        async fn ask(&self, path: &str, headers: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        /// Head and body of the answer, as far as they came.
        async fn get(&self, path: &str, headers: &str) -> (String, String) {
            let mut answer = Vec::new();
            self.ask(path, headers).await.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.to_owned(), body.to_owned())
        }

        async fn poll(&self, activity_id: &str) -> (String, String) {
            self.get(&format!("/onboarding/{activity_id}/pcsid-status"), HEADERS).await
        }

        async fn stop(self) {
            self.stop.send(()).unwrap();
            tokio::time::timeout(Duration::from_secs(300), self.serving).await.unwrap().unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn requests_that_are_not_in_order_are_refused_and_not_counted_as_polls() {
        let running = start().await;
        let path = "/onboarding/success-1/pcsid-status";
        let long_id = format!("/onboarding/{}/pcsid-status", "a".repeat(65));
        for (path, headers, status) in [
            (path, "vat: 310122393500003\r\n", "401"),
            (path, "vat: 310122393500003\r\nx-cleartax-auth-token:  \r\n", "401"),
            (path, "x-cleartax-auth-token: t\r\n", "400"),
            (path, "x-cleartax-auth-token: t\r\nvat:\r\n", "400"),
            ("/onboarding/a%20b/pcsid-status", HEADERS, "400"),
            ("/onboarding//pcsid-status", HEADERS, "400"),
            (&long_id, HEADERS, "400"),
            ("/onboarding/success-1", HEADERS, "404"),
            ("/favicon.ico", "", "404"),
        ] {
            let (head, body) = running.get(path, headers).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
            assert!(head.contains("content-type: application/json"), "{path}: {head}");
            assert!(body.contains("ErrorList"), "{path}: {body}");
        }
        assert_eq!(running.sandbox.n_polls(VAT, "success-1"), 0);
        assert_eq!(running.sandbox.requests().len(), 7);
        running.stop().await;
    }

    #[tokio::test]
    async fn each_vat_and_id_plays_its_own_script_below_any_base_path() {
        let running = start().await;
        let path = "/middle-east/ksa/einvoicing/onboarding/success-after-1-poll/pcsid-status";
        let other = "x-cleartax-auth-token: t\r\nvat: 399999999900003\r\n";
        for (headers, status) in
            [(HEADERS, "IN_PROGRESS"), (HEADERS, "SUCCEEDED"), (other, "IN_PROGRESS"), (other, "SUCCEEDED")]
        {
            let (head, body) = running.get(path, headers).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body.contains(status), "{body}");
        }
        let polls: Vec<_> = running.sandbox.requests().iter().map(|request| request.poll).collect();
        assert_eq!(polls, [Some(1), Some(2), Some(1), Some(2)]);
        assert_eq!(running.sandbox.n_polls(VAT, "success-after-1-poll"), 2);
        running.stop().await;
    }

    #[tokio::test]
    async fn a_dropped_connection_breaks_in_the_middle_of_the_body() {
        let running = start().await;
        for _ in 0..2 {
            let (head, body) = running.poll("dropped-1").await;
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert_eq!(body.len(), announced.parse::<usize>().unwrap() / 2, "{head}");
        }
        let (_, body) = running.poll("dropped-1").await;
        assert!(body.ends_with('}'), "{body}");
        running.stop().await;
    }

    #[tokio::test]
    async fn a_hanging_request_gets_no_byte_and_does_not_hold_up_the_stop() {
        let running = start().await;
        let mut stream = running.ask("/onboarding/hang-1/pcsid-status", HEADERS).await;
        let silence = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        running.stop().await;
    }

    #[tokio::test]
    async fn a_slow_answer_is_whole_but_late() {
        let running = start().await;
        let started = Instant::now();
        let (_, body) = running.poll("slow-150ms").await;
        assert!(started.elapsed() >= Duration::from_millis(150));
        assert!(body.contains("GENERATED"), "{body}");
        running.stop().await;
    }

    #[tokio::test]
    async fn the_page_shows_requests_but_never_the_token() {
        let running = start().await;
        running.poll("failed-9").await;
        running.get("/onboarding/never/pcsid-status", "x-cleartax-auth-token: t\r\nvat: <b>\r\n").await;
        let (head, page) = running.get("/", "").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/html; charset=utf-8"), "{head}");
        for expected in [VAT, "failed-9", "500 failed", "http://test", "&lt;b&gt;"] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert!(script::SCRIPTS.iter().all(|doc| page.contains(doc.example)), "{page}");
        assert!(!page.contains("<b>") && !page.contains("secret-token"), "{page}");
        running.stop().await;
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let sandbox = Sandbox::new();
        let polls = |n: usize| sandbox.n_polls(VAT, &format!("never-{n}"));
        for n in 0..=MAX_ACTIVITIES {
            sandbox.poll(VAT, &format!("never-{n}"), Timestamp::UNIX_EPOCH);
        }
        assert_eq!((polls(0), polls(1), polls(MAX_ACTIVITIES)), (0, 1, 1));
        assert_eq!(sandbox.requests().len(), MAX_REQUESTS);
    }
}
