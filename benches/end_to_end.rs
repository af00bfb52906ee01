//! The whole daemon against a loopback upstream and receiver, in one process with them.
//!
//! `cargo bench --bench end_to_end` prints
//! - the time from upstream's final answer to the receiver's POST, for single conclusions and for a burst,
//! - polls a second, all recorded durably, beside a bare loop of the same client without any recording.
//!
//! Nothing is asserted: machines differ. Compare the ratio of one run, not times of two.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails says so by a panic")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use pcsid_watch::daemon;
use pcsid_watch::domain::activity::Registration;
use pcsid_watch::settings::{LogFormat, LogSettings, Settings};
use pcsid_watch::shutdown::Shutdown;
use pcsid_watch::store::Store;
use pcsid_watch::telemetry;

const VAT: &str = "310122393500003";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const IN_PROGRESS: &str = r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"IN_PROGRESS","CreatedAt":"2026-05-26T08:14:46.512Z","UpdatedAt":"2026-05-26T08:14:46.512Z","CompletedAt":null,"RequestMetaInfo":{"TotalCount":6,"SuccessCount":0,"FailureCount":0},"ResponseInfo":{"ResponseMetaData":null},"ErrorList":[]}"#;
const SUCCEEDED: &str = include_str!("../tests/fixtures/succeeded.json");

/// An upstream and a receiver that note when they answered and when they heard.
#[derive(Clone, Default)]
struct Ledger {
    is_done: Arc<AtomicBool>,
    n_requests: Arc<AtomicU64>,
    answered: Arc<Mutex<HashMap<String, Instant>>>,
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl Ledger {
    async fn serve(&self) -> String {
        let (upstream, receiver) = (self.clone(), self.clone());
        let app = Router::new()
            .route(
                "/onboarding/{id}/pcsid-status",
                get(move |Path(id): Path<String>| async move {
                    upstream.n_requests.fetch_add(1, Ordering::Relaxed);
                    let json = [(header::CONTENT_TYPE, "application/json")];
                    if id.starts_with("poll") && !upstream.is_done.load(Ordering::Relaxed) {
                        return (json, IN_PROGRESS);
                    }
                    if id.starts_with("event") {
                        upstream.answered.lock().unwrap().entry(id).or_insert_with(Instant::now);
                    }
                    (json, SUCCEEDED)
                }),
            )
            .route(
                "/hook",
                post(move |body: String| async move {
                    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
                    let id = event["data"]["activity_id"].as_str().unwrap();
                    if let Some(answered_at) = receiver.answered.lock().unwrap().remove(id) {
                        receiver.delays.lock().unwrap().push(answered_at.elapsed());
                    }
                    StatusCode::NO_CONTENT
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }
}

struct Running {
    store: Store,
    settings: Settings,
    shutdown: Shutdown,
    daemon: tokio::task::JoinHandle<Result<(), daemon::DaemonError>>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(url: &str, more: &str) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let text = format!(
            "[database]\nurl = \"sqlite://{}/bench.db\"\n[upstream]\nbase_url = \"{url}\"\n[[credentials]]\nname = \"b\"\n\
             token = \"t\"\nrequests_per_minute = 0\n[events]\nlog = false\n{more}",
            folder.path().display()
        );
        let settings = Settings::from_sources(None, &text, []).expect("usable settings");
        let store = Store::open(&settings.database, settings.routes()).await.unwrap();
        let shutdown = Shutdown::default();
        let (of_daemon, stop) = (settings.clone(), shutdown.clone());
        let daemon = tokio::spawn(async move { daemon::run(&of_daemon, stop).await });
        Self { store, settings, shutdown, daemon, _folder: folder }
    }

    async fn add(&self, ids: impl Iterator<Item = String>) {
        let all: Vec<_> = ids.map(|id| Registration::parse(VAT, &id, None, None).unwrap()).collect();
        let interval = self.settings.policy.backoff.initial_interval();
        let now = pcsid_watch::clock::wall_now();
        let base_url = &self.settings.upstream.base_url;
        self.store.register(&all, base_url, &self.settings.serving(), interval, now).await.unwrap();
    }

    async fn stop(self) {
        self.shutdown.stop.cancel();
        self.daemon.await.unwrap().unwrap();
        self.store.close().await;
    }
}

async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn summary(mut delays: Vec<Duration>) -> String {
    delays.sort();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    format!("median {:?}, p95 {:?}, worst {:?} of {}", at(50), at(95), at(100), delays.len())
}

async fn delays(n_single: usize, n_burst: usize) {
    let ledger = Ledger::default();
    let url = ledger.serve().await;
    let webhook = format!("[[webhooks]]\nname = \"erp\"\nurl = \"{url}/hook\"\nsecret = \"{SECRET}\"\n");
    let running = Running::start(&url, &webhook).await;
    let n_heard = |ledger: &Ledger| ledger.delays.lock().unwrap().len();
    for n in 0..n_single {
        running.add([format!("event-single-{n}")].into_iter()).await;
        until("a single event arrives", || n_heard(&ledger) == n + 1).await;
    }
    let single = std::mem::take(&mut *ledger.delays.lock().unwrap());
    println!("final answer -> POST, one at a time:  {}", summary(single));
    running.add((0..n_burst).map(|n| format!("event-burst-{n}"))).await;
    until("the burst arrives", || n_heard(&ledger) == n_burst).await;
    let burst = std::mem::take(&mut *ledger.delays.lock().unwrap());
    println!("final answer -> POST, burst of {n_burst}:    {}", summary(burst));
    running.stop().await;
}

/// Polls a second of a bare loop: the same client library, as many requests at a time, answers parsed.
async fn bare(url: &str, for_time: Duration) -> f64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (began_at, n) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let loops: Vec<_> = (0..64)
        .map(|slot| {
            let (client, n) = (client.clone(), Arc::clone(&n));
            let url = format!("{url}/onboarding/poll-{slot}/pcsid-status");
            tokio::spawn(async move {
                while began_at.elapsed() < for_time {
                    let request = client.get(&url).header("x-cleartax-auth-token", "t").header("vat", VAT);
                    let body = request.send().await.unwrap().bytes().await.unwrap();
                    let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    n.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for one in loops {
        one.await.unwrap();
    }
    n.load(Ordering::Relaxed) as f64 / began_at.elapsed().as_secs_f64()
}

async fn throughput(n_activities: usize, for_time: Duration) {
    let ledger = Ledger::default();
    let url = ledger.serve().await;
    let bare = bare(&url, for_time).await;
    let schedule = "[schedule]\ninitial_interval = \"1ms\"\nmax_interval = \"1ms\"\n";
    let running = Running::start(&url, schedule).await;
    running.add((0..n_activities).map(|n| format!("poll-{n}"))).await;
    // Past the start and the first growth of the window.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, began_at) = (ledger.n_requests.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(for_time).await;
    let polls =
        (ledger.n_requests.load(Ordering::Relaxed) - before) as f64 / began_at.elapsed().as_secs_f64();
    ledger.is_done.store(true, Ordering::Relaxed);
    running.stop().await;
    println!(
        "{n_activities} activities: {polls:.0} polls/s recorded, bare client {bare:.0}/s, ratio {:.2}",
        polls / bare
    );
}

fn main() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "warn".to_owned());
    let _log = telemetry::init(&LogSettings { format: LogFormat::Text, level });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        delays(200, 1_000).await;
        throughput(1_000, Duration::from_secs(5)).await;
        throughput(20_000, Duration::from_secs(5)).await;
    });
}
