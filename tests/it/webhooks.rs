//! Events to webhooks: signed, filtered, tried again, and one receiver's trouble kept from the others.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::helpers::{OTHER_VAT, Ran, Reply, Seen, Server, Setup, VAT, WEBHOOK_SECRET, eventually, webhook};

/// The rows of `report_deliveries` for a sink as `[status, attempts, last_http_status]`.
async fn deliveries(setup: &Setup, sink: &str) -> Vec<Value> {
    setup
        .rows(&format!(
            "json_array(status, attempts, last_http_status) AS r FROM report_deliveries WHERE sink = '{sink}'"
        ))
        .await
}

/// Verifies a request with an implementation that is not ours.
fn genuine(seen: &Seen, secret: &str) -> bool {
    let mut headers = reqwest::header::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, seen.headers[name].parse().unwrap());
    }
    standardwebhooks::Webhook::new(secret).unwrap().verify(&seen.body, &headers).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conclusion_reaches_the_receiver_signed_and_once() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let receiver = Server::start(|_| Reply::new(204, "")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    eventually("it is delivered", || async {
        (deliveries(&setup, "erp").await == [json!(["delivered", 1, 204])]).then_some(())
    })
    .await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("POST", "/hook"));
    assert_eq!(seen[0].headers["content-type"], "application/json");
    assert!(genuine(&seen[0], WEBHOOK_SECRET));
    let event: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(event["id"].as_str(), Some(seen[0].headers["webhook-id"].as_str()));
    assert_eq!(event["type"], "pcsid.generation.failed");
    assert_eq!(daemon.stdout().trim_end().as_bytes(), seen[0].body, "every sink gets the same bytes");
    let shown = setup.show("act-1");
    assert_eq!(shown["deliveries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_encoded_is_named_and_not_repeated() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let refusal = || Reply::new(500, [0x1f, 0x8b, 8, 0, 7]).with_header("content-encoding", "gzip");
    let receiver = Server::start(move |_| refusal()).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    let refused =
        "json_array(last_error) AS r FROM report_deliveries WHERE sink = 'erp' AND last_error IS NOT NULL";
    let said = eventually("it is refused", || async { setup.rows(refused).await.pop() }).await;
    assert_eq!(said, json!(["HTTP 500: (a body that is encoded, gzip, though that was not asked for)"]));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_accepts_and_then_dawdles_has_the_event() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec();
    let drip = Reply::Drip { first: head, again: b"x".to_vec(), every: Duration::from_millis(100) };
    let receiver = Server::start(move |_| drip.clone()).await;
    let setup = Setup::new(&upstream.url(), &format!("{}timeout = \"500ms\"\n", webhook("erp", &receiver)));
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    // On a busy machine a first try may end before the head has come. One that counted the body would never be enough.
    eventually("it is delivered", || async {
        let deliveries = deliveries(&setup, "erp").await;
        deliveries.first().filter(|delivery| delivery[0] == "delivered" && delivery[2] == 200).map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_by_type_and_vat() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "bad" => Reply::failed(),
        _ => Reply::succeeded(),
    })
    .await;
    let failures = Server::start(|_| Reply::new(200, "")).await;
    let one_vat = Server::start(|_| Reply::new(200, "")).await;
    let more = format!(
        "{}events = [\"pcsid.generation.failed\", \"upstream.*\"]\n{}vats = [\"{OTHER_VAT}\"]\n",
        webhook("failures", &failures),
        webhook("one-vat", &one_vat)
    );
    let setup = Setup::new(&upstream.url(), &more);
    setup.add(VAT, &["good", "bad"]);
    setup.add(OTHER_VAT, &["good"]);
    let _daemon = setup.start().await;
    eventually("all are delivered", || async {
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == 3 + 1 + 1).then_some(())
    })
    .await;
    let told = |server: &Server| -> Vec<(Value, Value)> {
        let events =
            server.seen().into_iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap());
        events.map(|event| (event["data"]["vat"].clone(), event["data"]["activity_id"].clone())).collect()
    };
    assert_eq!(told(&failures), [(json!(VAT), json!("bad"))]);
    assert_eq!(told(&one_vat), [(json!(OTHER_VAT), json!("good"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_gets_the_same_event_again_under_a_new_timestamp() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let n_asked = AtomicUsize::new(0);
    let receiver = Server::start(move |_| match n_asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(500, "we are\r\nclosed"),
        _ => Reply::new(200, ""),
    })
    .await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    eventually("the refusal is recorded", || async {
        (deliveries(&setup, "erp").await == [json!(["pending", 1, 500])]).then_some(())
    })
    .await;
    let row = &setup.rows("json_array(last_error, round((julianday(next_attempt_at) - julianday(last_attempt_at)) * 86400)) AS r FROM report_deliveries WHERE sink = 'erp'").await[0];
    assert_eq!(row[0], "HTTP 500: we are  closed");
    assert!((4.0..=6.0).contains(&row[1].as_f64().unwrap()), "the first wait is 5 s and its jitter: {row}");
    eventually("it is delivered", || async {
        (deliveries(&setup, "erp").await == [json!(["delivered", 2, 200])]).then_some(())
    })
    .await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(seen[0].headers["webhook-id"], seen[1].headers["webhook-id"]);
    assert_ne!(seen[0].headers["webhook-timestamp"], seen[1].headers["webhook-timestamp"]);
    assert!(seen.iter().all(|seen| genuine(seen, WEBHOOK_SECRET)));
    // Each attempt has its own line in the history.
    let attempts = &setup.show("act-1")["attempts"];
    let statuses: Vec<_> =
        attempts.as_array().unwrap().iter().map(|attempt| attempt["http_status"].clone()).collect();
    assert_eq!(statuses, [500, 200]);
    assert!(attempts[0]["duration_ms"].is_u64() && attempts[0]["attempted_at"].is_string(), "{attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_is_dead_at_once_and_redelivery_by_hand_revives_it() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(410, "")).await;
    let other = Server::start(|_| Reply::new(200, "")).await;
    let setup =
        Setup::new(&upstream.url(), &format!("{}{}", webhook("erp", &receiver), webhook("other", &other)));
    setup.add(VAT, &["act-1", "act-2"]);
    let daemon = setup.start().await;
    eventually("both are dead", || async {
        (deliveries(&setup, "erp").await == [json!(["dead", 1, 410]), json!(["dead", 1, 410])]).then_some(())
    })
    .await;
    eventually("it says so", || async {
        daemon.stderr().contains("is dead for erp: HTTP 410").then_some(())
    })
    .await;
    let listed = setup.ok(&["deliveries", "--status", "dead", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 2);

    receiver.answer(|_| Reply::new(200, ""));
    let id = listed[0]["event_id"].as_str().unwrap();
    assert_eq!(setup.ok(&["deliveries", "redeliver", id, "--webhook", "erp"]), "1 delivery is due now\n");
    eventually("one is delivered", || async {
        let rows = deliveries(&setup, "erp").await;
        rows.contains(&json!(["delivered", 2, 200])).then_some(())
    })
    .await;
    assert_eq!(
        setup.ok(&["deliveries", "redeliver", "--dead", "--since", "2100-01-01"]),
        "0 deliveries are due now\n"
    );
    assert_eq!(
        setup.ok(&["deliveries", "redeliver", "--dead", "--webhook", "other"]),
        "0 deliveries are due now\n"
    );
    assert_eq!(setup.ok(&["deliveries", "redeliver", "--dead"]), "1 delivery is due now\n");
    eventually("both are delivered", || async {
        let rows = deliveries(&setup, "erp").await;
        (rows == [json!(["delivered", 2, 200]), json!(["delivered", 2, 200])]).then_some(())
    })
    .await;
    assert_eq!(other.n_seen(), 2, "the other webhook was not bothered");
    let unknown = setup.run(&["deliveries", "redeliver", "no-such-event"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("event `no-such-event` is not known"), "{}", unknown.stderr);
    assert_eq!(setup.run(&["deliveries", "redeliver"]).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_dies_at_the_end_of_its_time() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let elsewhere = Server::start(|_| Reply::new(200, "")).await;
    let target = elsewhere.url();
    let receiver = Server::start(move |_| Reply::new(302, "").with_header("location", &target)).await;
    let setup = Setup::new(&upstream.url(), &format!("{}retry_for = \"1s\"\n", webhook("erp", &receiver)));
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    // The first try may already take all of its time.
    eventually("it is dead", || async {
        let tried = |n| json!(["dead", n, 302]);
        let delivery = deliveries(&setup, "erp").await.pop();
        delivery.filter(|delivery| *delivery == tried(1) || *delivery == tried(2))
    })
    .await;
    assert_eq!(elsewhere.n_seen(), 0, "redirects are not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let n_asked = AtomicUsize::new(0);
    let receiver = Server::start(move |_| match n_asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429, "").with_header("retry-after", "8"),
        _ => Reply::new(200, ""),
    })
    .await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    eventually("it is delivered", || async {
        (deliveries(&setup, "erp").await == [json!(["delivered", 2, 200])]).then_some(())
    })
    .await;
    let seen = receiver.seen();
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!(waited >= Duration::from_millis(7_990), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_receiver_delays_no_other_and_no_poll() {
    const N: usize = 300;
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let hanging = Server::start(|_| Reply::Silence).await;
    let healthy = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new(
        &upstream.url(),
        // Its requests end only with the daemon.
        &format!("{}timeout = \"1h\"\n{}", webhook("hanging", &hanging), webhook("healthy", &healthy)),
    );
    let ids: Vec<String> = (0..N).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("the healthy one has all", || async { (healthy.n_seen() == N).then_some(()) }).await;
    eventually("standard output has all", || async { (daemon.events().len() == N).then_some(()) }).await;
    // Its concurrency is bounded: the others wait on disk.
    assert!(hanging.n_seen() <= 8, "{}", hanging.n_seen());
    assert_eq!(
        setup
            .number("SELECT count(*) FROM report_deliveries WHERE sink = 'hanging' AND status = 'pending'")
            .await,
        N as i64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_is_one_line_in_the_log_and_catches_up() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(500, "")).await;
    let setup =
        Setup::new(&upstream.url(), &format!("{}\n[events]\nlog = false\n", webhook("erp", &receiver)));
    let ids: Vec<String> = (0..100).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("all have concluded", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'pending'").await == 100)
            .then_some(())
    })
    .await;
    eventually("those sent at once have failed", || async {
        let n_failed = setup.number("SELECT CAST(sum(attempts) AS bigint) FROM report_deliveries").await;
        (n_failed >= 8 && n_failed == receiver.n_seen() as i64).then_some(())
    })
    .await;
    receiver.answer(|_| Reply::new(200, ""));
    eventually("all are delivered", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'delivered'").await == 100)
            .then_some(())
    })
    .await;
    let log = daemon.stop().await;
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("could not be delivered to erp"), 1, "{log}");
    assert_eq!(count("erp takes events again"), 1, "{log}");
    // While it was down it was tried by single deliveries, not by all hundred.
    assert!(receiver.n_seen() <= 100 + 20, "{}", receiver.n_seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_added_later_gets_no_old_events_and_a_removed_one_leaves_its_history() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let first = Server::start(|_| Reply::new(500, "")).await;
    let second = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new(&upstream.url(), &webhook("first", &first));
    setup.add(VAT, &["old"]);
    let daemon = setup.start().await;
    eventually("the first was tried", || async { (first.n_seen() == 1).then_some(()) }).await;
    daemon.stop().await;
    setup.configure(&setup.configuration().replace(&webhook("first", &first), &webhook("second", &second)));
    let daemon = setup.start().await;
    setup.add(VAT, &["new"]);
    eventually("the second has its event", || async { (second.n_seen() == 1).then_some(()) }).await;
    let log = daemon.stop().await;
    assert!(log.contains("undelivered events wait for first, which is no longer configured"), "{log}");
    let event: Value = serde_json::from_slice(&second.seen()[0].body).unwrap();
    assert_eq!(event["data"]["activity_id"], "new");
    assert_eq!(deliveries(&setup, "first").await, [json!(["pending", 1, 500])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_takes_effect_without_a_restart() {
    let new_secret = "whsec_bmV3LXNlY3JldC1vZi10aGlydHktdHdvLWJ5dGVzISE=";
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new(&upstream.url(), "");
    std::fs::write(setup.path("secret"), WEBHOOK_SECRET).unwrap();
    let section = format!(
        "[[webhooks]]\nname = \"erp\"\nurl = \"{}/hook\"\nsecret_file = \"{}\"\n",
        receiver.url(),
        setup.path("secret").display()
    );
    setup.configure(&format!("{}\n{section}", setup.configuration()));
    let _daemon = setup.start().await;
    setup.add(VAT, &["before"]);
    eventually("the first event arrives", || async { (receiver.n_seen() == 1).then_some(()) }).await;
    std::fs::write(setup.path("secret"), format!("{WEBHOOK_SECRET} {new_secret}\n")).unwrap();
    let mut n = 0;
    eventually("an event is signed with both", || {
        n += 1;
        setup.add(VAT, &[&format!("after-{n}")]);
        let receiver = &receiver;
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let last = receiver.seen().pop()?;
            (genuine(&last, new_secret) && genuine(&last, WEBHOOK_SECRET)).then_some(())
        }
    })
    .await;
    assert!(genuine(&receiver.seen()[0], WEBHOOK_SECRET) && !genuine(&receiver.seen()[0], new_secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_shows_what_the_receiver_says() {
    let receiver = Server::start(|_| Reply::new(202, "welcome\u{1b}[31m")).await;
    let setup = Setup::new("http://127.0.0.1:9", &webhook("erp", &receiver));
    let said = setup.ok(&["webhook", "test", "erp"]);
    assert_eq!(said, "webhook erp answered HTTP 202\nwelcome [31m\n");
    let seen = &receiver.seen()[0];
    assert!(genuine(seen, WEBHOOK_SECRET));
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap()["type"], "pcsid.test");
    receiver.answer(|_| Reply::new(401, "who are you?"));
    let ran = setup.run(&["webhook", "test", "erp"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("was not delivered to `erp`: HTTP 401: who are you?"), "{}", ran.stderr);
    let ran = setup.run(&["webhook", "test", "crm"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("webhook `crm` is not configured") && ran.stderr.contains("erp"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_request_can_be_verified() {
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new("http://127.0.0.1:9", &webhook("erp", &receiver));
    setup.ok(&["webhook", "test", "erp"]);
    let seen = &receiver.seen()[0];
    let headers: String = seen.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    std::fs::write(setup.path("headers"), headers).unwrap();
    std::fs::write(setup.path("body"), &seen.body).unwrap();
    std::fs::write(setup.path("secret"), WEBHOOK_SECRET).unwrap();
    let verify = ["webhook", "verify", "--secret-file", "secret", "--headers", "headers", "--body"];
    let said = setup.ok(&[verify.as_slice(), &["body"]].concat());
    assert_eq!(said, format!("the signature is right: event {} is genuine\n", seen.headers["webhook-id"]));

    let from_stdin = |body: &[u8]| {
        let mut child = setup
            .command(&[verify.as_slice(), &["-"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    };
    assert_eq!(from_stdin(&seen.body).code, 0);
    let changed = from_stdin(&[&seen.body, b"\n".as_slice()].concat());
    assert_eq!(changed.code, 1);
    assert!(changed.stderr.contains("no signature fits"), "{}", changed.stderr);
    let old = std::fs::read_to_string(setup.path("headers")).unwrap();
    let timestamp = &seen.headers["webhook-timestamp"];
    std::fs::write(setup.path("headers"), old.replace(timestamp, "1600000000")).unwrap();
    let stale = from_stdin(&seen.body);
    assert!(stale.stderr.contains("seconds from this machine's clock"), "{}", stale.stderr);
}

/// The fenced blocks of a language in docs/webhooks.md.
fn snippet(language: &str) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhooks.md")).unwrap();
    let fence = format!("```{language}\n");
    let after = text.split(&fence).nth(1).unwrap_or_else(|| panic!("a snippet in {language}"));
    after.split("\n```").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_verification_works_in_every_language_that_is_here() {
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new("http://127.0.0.1:9", &webhook("erp", &receiver));
    setup.ok(&["webhook", "test", "erp"]);
    let seen = receiver.seen().remove(0);
    let mut n_run = 0;
    for (language, file, interpreter) in
        [("python", "verify.py", "python3"), ("js", "verify.js", "node"), ("php", "verify.php", "php")]
    {
        std::fs::write(setup.path(file), snippet(language)).unwrap();
        if Command::new(interpreter).arg("--version").output().is_err() {
            continue;
        }
        n_run += 1;
        let run = |secret: &str, body: &[u8]| {
            let mut child = Command::new(interpreter)
                .arg(setup.path(file))
                .env("WEBHOOK_SECRET", secret)
                .env("WEBHOOK_ID", &seen.headers["webhook-id"])
                .env("WEBHOOK_TIMESTAMP", &seen.headers["webhook-timestamp"])
                .env("WEBHOOK_SIGNATURE", &seen.headers["webhook-signature"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // An interpreter may end before it has read the body.
            let _ = child.stdin.take().unwrap().write_all(body);
            child.wait_with_output().unwrap()
        };
        let genuine = run(WEBHOOK_SECRET, &seen.body);
        assert!(genuine.status.success(), "{language}: {}", String::from_utf8_lossy(&genuine.stderr));
        let rotating = format!("whsec_bmV3LXNlY3JldC1vZi10aGlydHktdHdvLWJ5dGVzISE= {WEBHOOK_SECRET}");
        assert!(run(&rotating, &seen.body).status.success(), "{language}");
        assert!(!run(WEBHOOK_SECRET, b"{}").status.success(), "{language} must refuse another body");
        assert!(
            !run("whsec_bmV3LXNlY3JldC1vZi10aGlydHktdHdvLWJ5dGVzISE=", &seen.body).status.success(),
            "{language}"
        );
    }
    assert!(n_run > 0, "no interpreter is here to run any snippet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_conclusions_is_delivered_in_order_of_age_without_a_pile_in_memory() {
    const N: usize = 1_000;
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup =
        Setup::new(&upstream.url(), &format!("{}\n[events]\nlog = false\n", webhook("erp", &receiver)));
    let csv: String = (0..N).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let began_at = Instant::now();
    let daemon = setup.start().await;
    eventually("all are delivered", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'delivered'").await == N as i64)
            .then_some(())
    })
    .await;
    println!("{N} events from the start to the last receipt: {:?}", began_at.elapsed());
    assert_eq!(receiver.n_seen(), N);
    // A few go out at the same time, so neighbours may change places, but none overtakes far.
    let order: Vec<String> = receiver.seen().iter().map(|seen| seen.headers["webhook-id"].clone()).collect();
    let stored = setup.rows("json_quote(event_id) AS r FROM report_events ORDER BY occurred_at").await;
    for (at, id) in order.iter().enumerate() {
        let expected = stored.iter().position(|stored| stored == id).unwrap();
        assert!(at.abs_diff(expected) < 200, "event {expected} came as number {at}");
    }
    daemon.stop().await;
}
