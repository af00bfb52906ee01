//! The loopback upstream and the receiver of webhooks, as cheap as a server of the same library can be.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

const IN_PROGRESS: &str = r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"IN_PROGRESS","CreatedAt":"2026-05-26T08:14:46.512Z","UpdatedAt":"2026-05-26T08:14:46.512Z","CompletedAt":null,"RequestMetaInfo":{"TotalCount":6,"SuccessCount":0,"FailureCount":0},"ResponseInfo":{"ResponseMetaData":null},"ErrorList":[]}"#;
const SUCCEEDED: &str = include_str!("../../tests/fixtures/succeeded.json");
const FAILED: &str = include_str!("../../tests/fixtures/failed.500.json");

/// What was asked and heard.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Whether activities succeed now, rather than being in progress.
    pub succeeds: AtomicBool,
    /// With which poll an activity ends, the first being 1; 0: never, unless `succeeds`. One in twenty fails.
    pub polls_a_life: AtomicU64,
    /// How long each answer takes, in milliseconds.
    pub latency_ms: AtomicU64,
    n_answers: AtomicU64,
    /// Polls of each activity, where they end.
    polled: Mutex<HashMap<String, u64>>,
    answered: Mutex<HashMap<String, Instant>>,
    delays: Mutex<Vec<Duration>>,
}

impl Ledger {
    /// Answers so far.
    pub fn n_answers(&self) -> u64 {
        self.n_answers.load(Ordering::Relaxed)
    }

    /// Times from a final answer to its event, so far.
    pub fn n_delays(&self) -> usize {
        self.delays.lock().unwrap().len()
    }

    /// Those times, which are forgotten here.
    pub fn take_delays(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.delays.lock().unwrap())
    }

    /// Serves both on one port of the loopback interface, and answers with the address.
    pub async fn serve(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).unwrap();
                let ledger = Arc::clone(&ledger);
                let service = service_fn(move |request| {
                    let ledger = Arc::clone(&ledger);
                    async move { Ok::<_, Infallible>(ledger.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        url
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/hook" {
            self.hear(request).await;
            return Response::builder().status(204).body(Full::default()).unwrap();
        }
        let latency_ms = self.latency_ms.load(Ordering::Relaxed);
        if latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(latency_ms)).await;
        }
        self.n_answers.fetch_add(1, Ordering::Relaxed);
        let polls_a_life = self.polls_a_life.load(Ordering::Relaxed);
        if polls_a_life > 0 {
            return self.answer_of_a_life(request.uri().path(), polls_a_life);
        }
        if !self.succeeds.load(Ordering::Relaxed) {
            return Response::new(Full::new(Bytes::from_static(IN_PROGRESS.as_bytes())));
        }
        let id = request.uri().path().split('/').nth(2).unwrap_or_default().to_owned();
        self.answered.lock().unwrap().entry(id).or_insert_with(Instant::now);
        Response::new(Full::new(Bytes::from_static(SUCCEEDED.as_bytes())))
    }

    fn answer_of_a_life(&self, path: &str, polls_a_life: u64) -> Response<Full<Bytes>> {
        let id = path.split('/').nth(2).unwrap_or_default();
        let mut polled = self.polled.lock().unwrap();
        let n_polls = match polled.get_mut(id) {
            Some(n_polls) => {
                *n_polls += 1;
                *n_polls
            }
            None => *polled.entry(id.to_owned()).or_insert(1),
        };
        let fails = id
            .rsplit('-')
            .next()
            .and_then(|nth| nth.parse().ok())
            .is_some_and(|nth: u64| nth.is_multiple_of(20));
        let (status, text) = match (n_polls < polls_a_life, fails) {
            (true, _) => (200, IN_PROGRESS),
            (false, false) => (200, SUCCEEDED),
            (false, true) => (500, FAILED),
        };
        Response::builder().status(status).body(Full::new(Bytes::from_static(text.as_bytes()))).unwrap()
    }

    /// Forgets what was polled.
    pub fn forget(&self) {
        self.polled.lock().unwrap().clear();
    }

    async fn hear(&self, request: Request<Incoming>) {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id = event["data"]["activity_id"].as_str().unwrap();
        if let Some(answered_at) = self.answered.lock().unwrap().remove(id) {
            self.delays.lock().unwrap().push(answered_at.elapsed());
        }
    }
}
