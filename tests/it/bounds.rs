//! What others can make the daemon hold: memory, connections, time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::helpers::{Daemon, Reply, Server, Setup, VAT, eventually, http_client};

/// The most memory that the daemon has had so far, in MiB.
fn peak_mib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn address(daemon: &Daemon) -> SocketAddr {
    daemon.url().strip_prefix("http://").unwrap().parse().unwrap()
}

/// A failure whose six check texts are this one again and again, as long as an answer may be.
fn swollen(unit: &str) -> String {
    // Its quotes take two characters each in the body.
    let n_bytes = json!(unit).to_string().len() - 2;
    let text = unit.repeat(41_000 / n_bytes);
    let mut body: Value = serde_json::from_str(include_str!("../fixtures/failed.json")).unwrap();
    for check in [
        "StandardTaxInvoice",
        "StandardTaxInvoiceCredit",
        "StandardTaxInvoiceDebit",
        "SimplifiedTaxInvoice",
        "SimplifiedTaxInvoiceCredit",
        "SimplifiedTaxInvoiceDebit",
    ] {
        body["ResponseInfo"]["ResponseMetaData"][check] = json!(text);
    }
    body.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_swell_cost_little_and_say_what_was_cut() {
    let bodies = ["BR-KSA-17,", "BR-KSA-17 : a, ", "{\"code\":\"BR-KSA-17\"},", "a "].map(swollen);
    let whole = bodies[0].clone();
    let upstream = Server::start(move |seen| match seen.activity_id().strip_prefix("bad-") {
        Some(n) => Reply::new(500, bodies[n.parse::<usize>().unwrap() % bodies.len()].clone()),
        None => Reply::succeeded(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let ids: Vec<String> =
        (0..4).map(|n| format!("bad-{n}")).chain((0..8).map(|n| format!("good-{n}"))).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("all have concluded and been announced", || async {
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == 12).then_some(())
    })
    .await;
    assert!(peak_mib(&daemon) < 200, "{} MiB", peak_mib(&daemon));

    let event = daemon.events().into_iter().find(|event| event["data"]["activity_id"] == "bad-0").unwrap();
    let check = &event["data"]["checks"][0];
    assert_eq!((&event["data"]["truncated"], &check["error_count"]), (&json!(true), &json!(4_100)));
    assert!(check["errors"].as_array().unwrap().len() <= 100);
    let longest = setup.number("SELECT max(octet_length(payload)) FROM report_events").await;
    assert!(longest <= 256 * 1024, "{longest}");
    // The answer itself is kept whole.
    let history = setup.show("bad-0");
    let check = &history["checks"][0];
    assert_eq!((check["errors"].as_array().unwrap().len(), &check["errors_left_out"]), (100, &json!(4_000)));
    assert!(setup.ok(&["show", "bad-0"]).contains("4,000 more errors in the text"));
    let page = http_client().get(daemon.url() + "/activities/bad-0").send().await.unwrap();
    assert!(page.text().await.unwrap().contains("4,000 more errors in the text"));
    let sheet = setup.ok(&["evidence", "bad-0", "--format", "html"]);
    assert!(sheet.contains("4,000 more errors in the text"));
    let left_out = "SELECT sum(errors_left_out) FROM report_checks WHERE activity_id = 'bad-0'";
    assert_eq!(setup.number(left_out).await, 24_000);
    let answer = http_client().get(daemon.url() + "/v1/activities/bad-0").send().await.unwrap();
    let history: Value = answer.json().await.unwrap();
    assert_eq!((&history["truncated"], &history["checks"][0]["error_count"]), (&json!(true), &json!(4_100)));
    let evidence: Value =
        serde_json::from_str(&setup.ok(&["evidence", "bad-0", "--format", "json"])).unwrap();
    assert_eq!(evidence["content"]["final_answer"]["body"], whole);

    // Reading them all at once is no more.
    let urls = ["/v1/activities/bad-%", "/activities/bad-%", "/activities/bad-%/evidence?format=html"];
    let mut reading = tokio::task::JoinSet::new();
    for n in 0..24 {
        let path = urls[n % 3].replace('%', &(n % 4).to_string());
        let request = http_client().get(daemon.url() + &path);
        reading.spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.bytes().await.unwrap().len())
        });
    }
    while let Some(read) = reading.join_next().await {
        let (status, n_bytes) = read.unwrap();
        assert!(status == 200 || status == 503, "{status}");
        assert!(n_bytes < 4 << 20, "{n_bytes}");
    }
    assert!(peak_mib(&daemon) < 300, "{} MiB", peak_mib(&daemon));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_of_the_feed_is_bounded_by_bytes_and_skips_nothing() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.database());
    let writer = sqlx::SqlitePool::connect_with(options).await.unwrap();
    for n in 0..60 {
        let event = "INSERT INTO events (event_id, type, occurred_at, payload)
             VALUES (?1, 'pcsid.generation.failed', strftime('%s', 'now') * 1000, json_object('id', ?1, 'data', printf('%.*c', 250000, 'x')))";
        sqlx::query(event).bind(n.to_string()).execute(&writer).await.unwrap();
    }
    writer.close().await;
    let daemon = setup.start().await;
    let (mut n_events, mut n_slices, mut path) = (0, 0, "/v1/events?limit=1000".to_owned());
    loop {
        let response = http_client().get(daemon.url() + &path).send().await.unwrap();
        let body = response.text().await.unwrap();
        assert!(body.len() < (4 << 20) + (300 << 10), "{}", body.len());
        let slice: Value = serde_json::from_str(&body).unwrap();
        n_events += slice["items"].as_array().unwrap().len();
        n_slices += 1;
        if slice["has_more"] == false {
            break;
        }
        path = format!("/v1/events?limit=1000&cursor={}", slice["next_cursor"].as_str().unwrap());
    }
    assert_eq!(n_events, 60);
    assert!(n_slices > 1, "{n_slices}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_full_of_nothing_cost_little() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let nothing = format!("[{}0]", "0,".repeat((8 << 20) / 2 - 2));
    let objects = format!("[{}{{}}]", "{},".repeat((8 << 20) / 3 - 2));
    let key = format!("[{{\"{}\":1}}]", "k".repeat((8 << 20) - 20));
    let mut sending = tokio::task::JoinSet::new();
    for body in [&nothing, &objects, &key, &nothing, &objects, &key] {
        let request = http_client().post(daemon.url() + "/v1/activities");
        let request = request.header("content-type", "application/json").body(body.clone());
        sending.spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        });
    }
    let mut n_refused = 0;
    while let Some(sent) = sending.join_next().await {
        let (status, problem) = sent.unwrap();
        match status {
            422 => {
                let detail = problem["errors"][0]["detail"].as_str().unwrap();
                let is_named = detail.contains("activities are too many for one request")
                    || detail == "An activity is an object of at most 64 KiB.";
                assert!(is_named, "{detail}");
                n_refused += 1;
            }
            503 => {
                // On a busy machine its arrival alone may take too long.
                let kind = problem["type"].as_str().unwrap();
                assert!(kind.ends_with(":busy") || kind.ends_with(":timed-out"), "{problem}");
            }
            _ => panic!("{status}: {problem}"),
        }
    }
    assert!(n_refused >= 2);
    assert!(peak_mib(&daemon) < 150, "{} MiB", peak_mib(&daemon));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_key_is_not_repeated_whole() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let request = http_client().post(daemon.url() + "/v1/activities");
    let body = format!("{{\"{}\":1}}", "k".repeat(10_000));
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(response.status(), 422);
    let problem: Value = response.json().await.unwrap();
    let mistake = &problem["errors"][0];
    let (pointer, detail) = (mistake["pointer"].as_str().unwrap(), mistake["detail"].as_str().unwrap());
    assert!(detail.contains("unknown field `kkk") && detail.len() < 1_000, "{detail}");
    assert!(pointer.len() < 1_000, "{pointer}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_to_check_that_are_all_keys_cost_little() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    // Each value is named by its path, so a long key at the top is repeated for each value below it.
    let nulls = format!("{{\"{}\":[{}0]}}", "k".repeat(4 << 20), "null,".repeat(500_000));
    let ones = format!("{{\"{}\":[{}0]}}", "k".repeat(6 << 20), "1,".repeat(500_000));
    let columns = format!("{0}\n{0}", ",".repeat((4 << 20) - 8));
    let devices = format!("[{}{{\"CommonName\":\"\"}}]", "{\"CommonName\":\"\"},".repeat(2_999));
    let rows = format!("a{}\n{}", ",b".repeat(2_000), format!("{}\n", ",".repeat(2_000)).repeat(4_000));
    let mut sending = tokio::task::JoinSet::new();
    for (media_type, body) in [
        ("application/json", &nulls),
        ("text/csv", &columns),
        ("application/json", &ones),
        ("text/csv", &rows),
        ("application/json", &devices),
        ("application/json", &nulls),
        ("text/csv", &columns),
        ("application/json", &devices),
    ] {
        let request = http_client().post(daemon.url() + "/v1/preflight").header("content-type", media_type);
        let request = request.body(body.clone());
        sending.spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.bytes().await.unwrap().len())
        });
    }
    while let Some(sent) = sending.join_next().await {
        let (status, n_bytes) = sent.unwrap();
        assert!([200, 422, 503].contains(&status), "{status}");
        // What is found about thousands of devices is long, but is sent piece by piece.
        assert!(n_bytes < 64 << 20, "{n_bytes}");
    }
    assert!(peak_mib(&daemon) < 200, "{} MiB", peak_mib(&daemon));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_and_never_read_hide_no_sign_of_life() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    let address = address(&daemon);
    let greedy: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
            // As much as the daemon takes.
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let response = http_client().get(daemon.url() + path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    // They are given up, and the rest is answered again.
    eventually("the API answers", || async {
        let response = http_client().get(daemon.url() + "/v1/activities").send().await.ok()?;
        (response.status() == 200).then_some(())
    })
    .await;
    assert!(peak_mib(&daemon) < 200, "{} MiB", peak_mib(&daemon));
    drop(greedy);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_that_nobody_reads_take_little_together() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let events = "INSERT INTO events (event_id, type, occurred_at, payload)
         SELECT value, 'pcsid.generation.failed', strftime('%s', 'now') * 1000,
                json_object('id', value, 'data', printf('%.*c', 250000, 'x'))
         FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]')";
    setup.execute(events).await;
    let daemon = setup.start().await;
    let address = address(&daemon);
    let greedy: Vec<TcpStream> = (0..250)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = "GET /v1/events?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    // As long as they may go without reading.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(peak_mib(&daemon) < 300, "{} MiB", peak_mib(&daemon));
    drop(greedy);
    eventually("they are answered again", || async {
        let response = http_client().get(daemon.url() + "/v1/events?limit=1000").send().await.ok()?;
        (response.status() == 200 && response.bytes().await.ok()?.len() > 3 << 20).then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let more = "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"http-token\"\n";
    let setup = Setup::new("http://127.0.0.1:9", more);
    let daemon = setup.start().await;
    let address = address(&daemon);
    for (path, headers, status) in [
        ("/v1/activities", "authorization: Bearer http-token\r\ncontent-type: application/json\r\n", 413),
        ("/v1/activities", "authorization: Bearer http-token\r\n", 415),
        ("/v1/activities", "content-type: application/json\r\n", 401),
        ("/nowhere", "authorization: Bearer http-token\r\n", 404),
        ("/healthz", "", 405),
    ] {
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let n_bytes = 24 << 20;
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {n_bytes}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let chunk = vec![b' '; 1 << 20];
            for _ in 0..n_bytes / chunk.len() {
                stream.write_all(&chunk).unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_counted_and_logged_once() {
    let more = "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"http-token\"\n";
    let setup = Setup::new("http://127.0.0.1:9", more);
    let daemon = setup.start().await;
    let ask = |token: String| {
        let request = http_client().get(daemon.url() + "/metrics").bearer_auth(token);
        async move { request.send().await.unwrap() }
    };
    let mut guessing = tokio::task::JoinSet::new();
    for n in 0..150 {
        let asked = ask(format!("guess-{n}"));
        guessing.spawn(async move {
            let began_at = Instant::now();
            (asked.await.status(), began_at.elapsed())
        });
    }
    while let Some(answer) = guessing.join_next().await {
        let (status, took) = answer.unwrap();
        assert_eq!(status, 401);
        assert!(took >= Duration::from_millis(900), "many at the same time are slowed as well: {took:?}");
    }
    assert_eq!(http_client().get(daemon.url() + "/metrics").send().await.unwrap().status(), 401);
    let metrics = ask("http-token".to_owned()).await.text().await.unwrap();
    assert!(
        metrics.contains("pcsid_watch_http_wrong_tokens_total 150\n"),
        "none at all is no guess: {metrics}"
    );
    let log = daemon.stop().await;
    assert_eq!(log.matches("had a wrong token").count(), 1, "{log}");
    assert!(!log.contains("guess-"), "{log}");
}

#[test]
fn a_token_that_could_be_guessed_is_refused_where_others_reach_it() {
    for (token, by_file) in [("x", false), ("x", true), ("fifteen-letters", true)] {
        let setup = Setup::new("http://127.0.0.1:9", "[http]\nlisten = \"0.0.0.0:0\"\n");
        std::fs::write(setup.path("http-token"), token).unwrap();
        let line = match by_file {
            true => format!("token_file = \"{}\"", setup.path("http-token").display()),
            false => format!("token = \"{token}\""),
        };
        setup.configure(&(setup.configuration() + &line));
        let ran = setup.run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("at least 16 characters") && ran.stderr.contains("http.token"),
            "{}",
            ran.stderr
        );
        // On this machine alone it will do.
        setup.configure(&setup.configuration().replace("0.0.0.0:0", "127.0.0.1:0"));
        setup.ok(&["config", "check"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_stands_twice_is_refused() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let one = format!(r#"{{"vat":"{VAT}","activity_id":"a","vat":"{VAT}"}}"#);
    for (body, pointer) in [(one.clone(), "/vat"), (format!("[{one}]"), "/0/vat")] {
        let request = http_client().post(daemon.url() + "/v1/activities");
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status(), 422);
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["errors"][0]["detail"], "`vat` stands twice: give it once.", "{problem}");
        assert!(pointer.starts_with(problem["errors"][0]["pointer"].as_str().unwrap()), "{problem}");
    }
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_read_much_hold_up_no_metrics_and_no_page() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__SCHEDULE__INITIAL_INTERVAL", "1h");
    let setup = setup.variable("PCSID_WATCH__SCHEDULE__MAX_INTERVAL", "1h");
    let csv: String = (0..30_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let daemon = setup.start().await;
    // Nothing is found, after all of it has been looked at, again and again.
    let url = daemon.url() + "/v1/activities?reference=nothing";
    let reading: Vec<_> = (0..32)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                loop {
                    let status = http_client().get(&url).send().await.unwrap().status().as_u16();
                    assert!(status == 200 || status == 503, "{status}");
                }
            })
        })
        .collect();
    for _ in 0..3 {
        for path in ["/metrics", "/", "/healthz", "/readyz", "/v1/activities/act-7"] {
            let response = http_client().get(daemon.url() + path).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
        }
    }
    for one in reading {
        one.abort();
    }
    daemon.stop().await;
}
