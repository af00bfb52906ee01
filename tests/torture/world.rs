//! An upstream and a receiver that are faulty by luck, and keep books of what they said and took.
//!
//! What upstream says of an activity is true all the same: it is in progress for some polls, then it ends, and upstream
//! says that end in the same words for ever. Faults stand between the true answers and conclude nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::effort::draw;
use crate::helpers::{OTHER_VAT, Reply, Seen, Server, Setup, TOKEN, VAT, WEBHOOK_SECRET};

/// Served by another credential than the two others.
pub const THIRD_VAT: &str = "310000000000003";
pub const VATS: [&str; 3] = [VAT, OTHER_VAT, THIRD_VAT];
const SECOND_TOKEN: &str = "another-cleartax-token-for-tests";

/// Requests a minute of that credential, where it has a limit.
pub const QUOTA: u32 = 480;

/// Refusals in a row that reject an activity, by default.
pub const REJECT_AFTER: usize = 3;

const CHECKS: [&str; 6] = [
    "StandardTaxInvoice",
    "StandardTaxInvoiceCredit",
    "StandardTaxInvoiceDebit",
    "SimplifiedTaxInvoice",
    "SimplifiedTaxInvoiceCredit",
    "SimplifiedTaxInvoiceDebit",
];

/// An activity: its VAT and its id.
pub type Key = (String, String);

/// How an activity ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The state that it ends in.
    pub state: &'static str,
    /// Polls that still find it in progress.
    pub n_in_progress: u32,
    pub http_status: u16,
    pub body: String,
}

impl Truth {
    /// The truth of this activity: the same whenever it is asked for.
    pub fn of(seed: u64, (vat, id): &Key) -> Self {
        let mut rng = draw(seed, &["truth", vat, id]);
        let n_in_progress = rng.u32(0..4);
        let mark = format!("{id} {:08x}", rng.u32(..));
        let error = json!({ "ErrorCode": "6004", "ErrorMessage": format!("about {mark}"), "ErrorSource": "CLEARTAX" });
        if rng.u8(0..5) == 0 {
            let body = json!({ "ErrorList": [error] }).to_string();
            return Self { state: "REJECTED", n_in_progress, http_status: 400, body };
        }
        let is_failed = rng.u8(0..5) < 2;
        // A failure may come as an error, and as a success without a PCSID.
        let (status, http_status) = match (is_failed, rng.u8(0..3)) {
            (false, _) => ("SUCCEEDED", 200),
            (true, 0) => ("FAILED", 500),
            (true, 1) => ("FAILED", 200),
            (true, _) => ("SUCCEEDED", 200),
        };
        let mut data = serde_json::Map::new();
        data.insert("PcsidGenerated".to_owned(), json!(if is_failed { "FAILED" } else { "GENERATED" }));
        for name in CHECKS {
            let outcome = match rng.u8(0..4) {
                0 => continue,
                1 if is_failed => format!("BR-KSA-17 : a reason, of {mark},BR-CO-15 : the total, of {mark}"),
                _ => "SUCCEEDED".to_owned(),
            };
            data.insert(name.to_owned(), json!(outcome));
        }
        let completed_at = format!("2026-05-26T08:15:{:02}.{:03}Z", rng.u8(0..60), rng.u16(0..1000));
        let body = json!({
            "ActivityType": "ZATCA_COMPLIANCE_INVOICE", "Status": status, "CreatedAt": "2026-05-26T08:14:46.512Z",
            "UpdatedAt": completed_at, "CompletedAt": completed_at,
            "RequestMetaInfo": { "TotalCount": 6, "SuccessCount": rng.u8(0..7), "FailureCount": rng.u8(0..7) },
            "ResponseInfo": { "ResponseMetaData": data },
            "ErrorList": if is_failed { vec![error] } else { vec![] },
        });
        let state = if is_failed { "FAILED" } else { "SUCCEEDED" };
        Self { state, n_in_progress, http_status, body: body.to_string() }
    }

    fn reply(&self) -> Reply {
        Reply::new(self.http_status, self.body.clone())
    }

    /// What an event's `data` must say of it, as far as upstream said it.
    pub fn expected_data(&self) -> Value {
        let said: Value = serde_json::from_str(&self.body).unwrap();
        let errors: Vec<_> = said["ErrorList"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| json!([error["ErrorCode"], error["ErrorMessage"], error["ErrorSource"]]))
            .collect();
        let checks: Vec<_> = CHECKS
            .iter()
            .map(|name| match said["ResponseInfo"]["ResponseMetaData"][name].as_str() {
                None => json!([name, "NOT_REPORTED", null]),
                Some("SUCCEEDED") => json!([name, "SUCCEEDED", null]),
                Some(message) => json!([name, "FAILED", message]),
            })
            .collect();
        let counts = &said["RequestMetaInfo"];
        if self.state == "REJECTED" {
            return json!({ "state": self.state, "errors": errors, "checks": checks });
        }
        json!({
            "state": self.state, "errors": errors, "checks": checks,
            "status": said["Status"], "completed_at": said["CompletedAt"],
            "pcsid": said["ResponseInfo"]["ResponseMetaData"]["PcsidGenerated"],
            "counts": [counts["TotalCount"], counts["SuccessCount"], counts["FailureCount"]],
        })
    }

    /// The same of an event.
    pub fn data_of(&self, event: &Value) -> Value {
        let data = &event["data"];
        let list = |name: &str, keys: [&str; 3]| -> Vec<Value> {
            let entries = data[name].as_array().unwrap();
            entries.iter().map(|entry| keys.iter().map(|key| entry[*key].clone()).collect()).collect()
        };
        let errors = list("errors", ["code", "message", "source"]);
        let checks = list("checks", ["name", "outcome", "message"]);
        if self.state == "REJECTED" {
            return json!({ "state": data["state"], "errors": errors, "checks": checks });
        }
        let counts = &data["counts"];
        json!({
            "state": data["state"], "errors": errors, "checks": checks,
            "status": data["upstream_status"], "completed_at": data["completed_at"], "pcsid": data["pcsid_generated"],
            "counts": [counts["total"], counts["success"], counts["failure"]],
        })
    }
}

/// What upstream was asked and said about one activity.
#[derive(Debug, Default)]
pub struct Asked {
    n_requests: u32,
    n_true: u32,
    n_false_refusals: u32,
    /// When it said how the activity ended, each time.
    pub ending_said_at: Vec<u64>,
}

/// An event as the receiver got it.
#[derive(Debug)]
pub struct Received {
    pub at: u64,
    pub event_id: String,
    pub body: String,
    /// Whether the receiver kept it, whatever it managed to answer.
    pub is_taken: bool,
}

/// Both sides' books. Times are those of one counter.
#[derive(Debug, Default)]
pub struct Book {
    now: u64,
    pub asked: HashMap<Key, Asked>,
    /// When the credential with a limit was used.
    pub limited_at: Vec<Instant>,
    /// When each credential's token was first refused, and each VAT.
    pub refused_at: HashMap<String, u64>,
    pub received: Vec<Received>,
    n_tries: HashMap<String, u32>,
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

struct Shared {
    seed: u64,
    is_calm: AtomicBool,
    /// Requests and receipts so far.
    n_seen: AtomicU64,
    book: Mutex<Book>,
}

/// See the module.
pub struct World {
    shared: Arc<Shared>,
    upstream: Server,
    _receiver: Server,
    door: Door,
}

impl World {
    pub async fn start(seed: u64) -> Self {
        let shared = Arc::new(Shared {
            seed,
            is_calm: AtomicBool::new(false),
            n_seen: AtomicU64::new(0),
            book: Mutex::default(),
        });
        let asked = Arc::clone(&shared);
        let upstream = Server::start(move |seen| asked.answer(seen)).await;
        let receiving = Arc::clone(&shared);
        let receiver = Server::start(move |seen| receiving.receive(seen)).await;
        let door = Door::start(receiver.address(), Arc::clone(&shared)).await;
        Self { shared, upstream, _receiver: receiver, door }
    }

    /// A folder and a configuration for a daemon in this world.
    pub fn setup(&self) -> Setup {
        self.setup_with_quota(0)
    }

    /// As [`World::setup`], with a limit to the requests a minute of one credential.
    pub fn setup_with_quota(&self, quota: u32) -> Setup {
        let url = self.door.url.clone();
        let more = format!(
            "[[credentials]]\nname = \"main\"\ntoken = \"{TOKEN}\"\nrequests_per_minute = 0\n\
             [[credentials]]\nname = \"second\"\ntoken = \"{SECOND_TOKEN}\"\nrequests_per_minute = {quota}\n\
             vats = [\"{THIRD_VAT}\"]\n\
             [[webhooks]]\nname = \"erp\"\nurl = \"{url}/hook\"\nsecret = \"{WEBHOOK_SECRET}\"\ntimeout = \"1s\"\n"
        );
        Setup::new(&self.upstream.url(), &more)
            .variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "250ms")
            .variable("PCSID_WATCH__UPSTREAM__MAX_IN_FLIGHT", "16")
    }

    /// From now on both do as they should.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, Ordering::SeqCst);
    }

    pub fn n_seen(&self) -> u64 {
        self.shared.n_seen.load(Ordering::SeqCst)
    }

    pub fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap()
    }
}

impl Shared {
    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// Upstream's answer.
    fn answer(&self, seen: &Seen) -> Reply {
        self.n_seen.fetch_add(1, Ordering::SeqCst);
        let key = (seen.headers["vat"].clone(), seen.activity_id().to_owned());
        let truth = Truth::of(self.seed, &key);
        let mut book = self.book.lock().unwrap();
        let now = book.tick();
        if key.0 == THIRD_VAT {
            book.limited_at.push(seen.at);
        }
        let n_requests = {
            let asked = book.asked.entry(key.clone()).or_default();
            asked.n_requests += 1;
            asked.n_requests
        };
        let mut rng = draw(self.seed, &["fault", &key.0, &key.1, &n_requests.to_string()]);
        let kind = if self.is_calm() { u8::MAX } else { rng.u8(..) };
        let json = |status, body: &str| Reply::new(status, body.to_owned());
        let asked = book.asked.get_mut(&key).unwrap();
        match kind {
            0..8 => Reply::new(502, "<html>bad gateway</html>"),
            8..12 => Reply::new(503, "<html>unavailable</html>"),
            12 => Reply::new(503, "").with_header("retry-after", "1"),
            13..15 => Reply::new(503, "").with_header("retry-after", "0"),
            15..17 => Reply::new(429, ""),
            17 => Reply::new(429, "").with_header("retry-after", "1"),
            18..20 => {
                let token = &seen.headers["x-cleartax-auth-token"];
                let credential = if token == SECOND_TOKEN { "second" } else { "main" };
                book.refused_at.entry(credential.to_owned()).or_insert(now);
                Reply::new(401, "")
            }
            20..22 => {
                book.refused_at.entry(key.0).or_insert(now);
                Reply::new(403, "")
            }
            22..28 if truth.state != "REJECTED" && asked.n_false_refusals + 1 < REJECT_AFTER as u32 => {
                asked.n_false_refusals += 1;
                Reply::refused()
            }
            28..32 => json(400, r#"{"message":"a gateway's own"}"#),
            32..44 => cut_short(&truth.body, truth.http_status, &mut rng),
            44..48 => Reply::new(200, (0..rng.usize(0..400)).map(|_| rng.u8(..)).collect::<Vec<u8>>()),
            48..52 => json(200, &truth.body.replace("ZATCA_COMPLIANCE_INVOICE", "EINVOICE")),
            52..56 => {
                json(200, r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"WAITING_FOR_GODOT"}"#)
            }
            56..60 => json(
                200,
                r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"SUCCEEDED","Status":"FAILED"}"#,
            ),
            // A success that comes as an error contradicts itself.
            60..64 if truth.state == "SUCCEEDED" => json(500, &truth.body),
            64..70 => Reply::Close,
            70..72 => Reply::Silence,
            72..110 => asked.true_reply(&truth, now).after(Duration::from_millis(rng.u64(10..400))),
            110..116 => twice_on_one_connection(&asked.true_reply(&truth, now)),
            _ => asked.true_reply(&truth, now),
        }
    }

    /// The receiver's answer.
    fn receive(&self, seen: &Seen) -> Reply {
        self.n_seen.fetch_add(1, Ordering::SeqCst);
        let event_id = seen.headers["webhook-id"].clone();
        let body = String::from_utf8(seen.body.clone()).unwrap();
        let mut book = self.book.lock().unwrap();
        let at = book.tick();
        let n_tries = {
            let n_tries = book.n_tries.entry(event_id.clone()).or_default();
            *n_tries += 1;
            *n_tries
        };
        let mut rng = draw(self.seed, &["receiver", &event_id, &n_tries.to_string()]);
        // Waits grow between tries, so none is refused often.
        let kind = if self.is_calm() || n_tries > 2 { u8::MAX } else { rng.u8(0..100) };
        let (is_taken, reply) = match kind {
            0..8 => (false, Reply::new(500, "out of order")),
            8..10 => (false, Reply::new(503, "").with_header("retry-after", "1")),
            10..14 => (false, Reply::Close),
            14..20 => (true, Reply::Close),
            20..24 => (true, Reply::Raw(b"HTTP/1.1 20".to_vec())),
            24..28 => (true, Reply::new(500, "taken, and then out of order")),
            28..30 => (false, Reply::new(410, "")),
            30..34 => (true, Reply::new(200, "").after(Duration::from_millis(rng.u64(10..1_300)))),
            34..44 => (true, Reply::new(204, "").with_header("connection", "close")),
            _ => (true, Reply::new(200, "thanks")),
        };
        book.received.push(Received { at, event_id, body, is_taken });
        reply
    }
}

impl Asked {
    fn true_reply(&mut self, truth: &Truth, now: u64) -> Reply {
        self.n_true += 1;
        if self.n_true <= truth.n_in_progress {
            return Reply::in_progress();
        }
        self.ending_said_at.push(now);
        truth.reply()
    }
}

/// An answer whose end is missing.
fn cut_short(body: &str, status: u16, rng: &mut fastrand::Rng) -> Reply {
    let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut bytes = [head.as_bytes(), body.as_bytes()].concat();
    bytes.truncate(rng.usize(..bytes.len()));
    Reply::Raw(bytes)
}

/// The second is nobody's: the next request must not take it for its own.
fn twice_on_one_connection(reply: &Reply) -> Reply {
    let Reply::Http { status, body, .. } = reply else { unreachable!() };
    let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Raw([head.as_bytes(), body].concat().repeat(2))
}

/// Stands before the receiver, and closes connections before anything was read, or in the middle of a request.
struct Door {
    url: String,
    opening: tokio::task::JoinHandle<()>,
}

impl Door {
    async fn start(receiver: std::net::SocketAddr, shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let opening = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for nth in 0_u64.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let mut rng = draw(shared.seed, &["door", &nth.to_string()]);
                let kind = if shared.is_calm() { u8::MAX } else { rng.u8(0..100) };
                let n_bytes = rng.u64(1..4_000);
                connections.spawn(async move {
                    let Ok(mut inside) = TcpStream::connect(receiver).await else { return };
                    match kind {
                        0..5 => {}
                        5..10 => {
                            let _ = tokio::io::copy(&mut (&mut stream).take(n_bytes), &mut inside).await;
                        }
                        _ => {
                            let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, opening }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.opening.abort();
    }
}
