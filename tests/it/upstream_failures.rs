//! How upstream can fail, and what is held, paused or slowed down for it.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{
    Daemon, OTHER_VAT, Reply, Server, Setup, TOKEN, VAT, WEBHOOK_SECRET, eventually, http_client,
};

/// The activity's last error.
async fn last_error(setup: &Setup, activity_id: &str) -> String {
    let query = format!(
        "json_quote(coalesce(last_error, '')) AS r FROM report_activities WHERE activity_id = '{activity_id}'"
    );
    setup.rows(&query).await[0].as_str().unwrap().to_owned()
}

async fn error_begins(setup: &Setup, activity_id: &str, expected: &str) {
    eventually(&format!("the error of {activity_id} begins with {expected}"), || async {
        let error = last_error(setup, activity_id).await;
        (error.starts_with(expected)).then_some(())
    })
    .await;
}

fn n_lines(daemon: &Daemon, part: &str) -> usize {
    daemon.stderr().lines().filter(|line| line.contains(part)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_every_phase_are_transient_and_named() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"Status\":\"SUCC".to_vec();
    let cases = [
        ("closed", Reply::Close, "no_reply: the connection broke before an answer"),
        (
            "half-head",
            Reply::Raw(b"HTTP/1.1 200 OK\r\ncont".to_vec()),
            "no_reply: the connection broke before an answer",
        ),
        ("no-http", Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), "no_reply"),
        ("half-body", Reply::Raw(half), "no_reply: the connection broke within the answer"),
        ("silent", Reply::Silence, "no_reply: no complete answer within 300ms (upstream.request_timeout)"),
    ];
    let replies = cases.clone();
    let upstream = Server::start(move |seen| {
        let reply = replies.iter().find(|(id, ..)| *id == seen.activity_id());
        reply.map_or_else(Reply::in_progress, |(_, reply, _)| reply.clone())
    })
    .await;
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "300ms");
    setup.add(VAT, &cases.each_ref().map(|(id, ..)| *id));
    setup.add(VAT, &["healthy"]);
    let daemon = setup.start().await;
    for (id, _, error) in &cases {
        error_begins(&setup, id, error).await;
        assert_eq!(setup.state(id).await, "PENDING", "{id}");
    }
    upstream.answer(|_| Reply::succeeded());
    for (id, ..) in &cases {
        setup.reaches(id, "SUCCEEDED").await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_one_line_in_the_log_and_slows_polling_to_probes() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let address = upstream.address();
    let setup = Setup::new(&upstream.url(), "");
    let ids: Vec<String> = (0..300).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    drop(upstream);
    let daemon = setup.start().await;
    eventually("upstream counts as down", || async {
        (n_lines(&daemon, "upstream is down") == 1).then_some(())
    })
    .await;
    assert_eq!(n_lines(&daemon, "upstream does not answer: no connection"), 1, "{}", daemon.stderr());
    // From now on only probes are made, so most activities have never been asked for.
    eventually("some probes have failed", || async {
        (setup.number("SELECT max(poll_count) + sum(poll_count > 0) FROM report_activities").await >= 12)
            .then_some(())
    })
    .await;
    let never = setup.number("SELECT count(*) FROM report_activities WHERE poll_count = 0").await;
    // Beside the probes, at most as many as may be in flight (64) went out before the first one failed.
    assert!(never >= 300 - 64 - 12, "{never} of 300 were never asked for");

    let upstream = Server::start_on(address, |_| Reply::succeeded()).await;
    eventually("all have succeeded", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'").await == 300)
            .then_some(())
    })
    .await;
    assert_eq!(upstream.n_seen(), 300);
    let log = daemon.stop().await;
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("upstream recovered after"), 1, "{log}");
    assert_eq!(count("upstream does not answer"), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_costs_probes_and_one_event_until_the_file_changes() {
    const N: usize = 500;
    let upstream = Server::start(|seen| match seen.headers["x-cleartax-auth-token"].as_str() {
        "fresh-token" => Reply::succeeded(),
        _ => Reply::new(401, "{}"),
    })
    .await;
    let schedule =
        "[schedule]\ninitial_interval = \"200ms\"\nmultiplier = 1\nmax_interval = \"200ms\"\njitter = 0\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    let csv: String = (0..N).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let began_at = Instant::now();
    let daemon = setup.start().await;
    let held = eventually("the hold is announced", || async { daemon.events().pop() }).await;
    assert_eq!(held["type"], "upstream.credential.held");
    assert_eq!(held["data"]["credential"], "main");
    eventually("some probes were made", || async { (upstream.n_seen() >= 14).then_some(()) }).await;
    let n_intervals = began_at.elapsed().as_millis() / 200 + 1;
    // The first requests go out together before the first answer; from then on it is one an interval.
    assert!(upstream.n_seen() as u128 <= 8 + n_intervals, "{} in {n_intervals} intervals", upstream.n_seen());
    assert_eq!(daemon.events().len(), 1);
    assert_eq!(n_lines(&daemon, "refuses the token of credential main"), 1);
    let reason = setup.rows("json_quote(held_reason) AS r FROM report_vats").await;
    assert!(reason[0].as_str().is_some_and(|reason| reason.contains("HTTP 401")), "{reason:?}");

    std::fs::write(setup.path("token"), "fresh-token\n").unwrap();
    eventually("all have succeeded", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'").await == N as i64)
            .then_some(())
    })
    .await;
    assert_eq!(setup.number("SELECT count(*) FROM report_vats WHERE held_reason IS NOT NULL").await, 0);
    let kinds =
        setup.rows("json_array(type, count(*)) AS r FROM report_events GROUP BY type ORDER BY type").await;
    assert_eq!(
        kinds,
        [
            json!(["pcsid.generation.succeeded", N]),
            json!(["upstream.credential.held", 1]),
            json!(["upstream.credential.restored", 1])
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_survives_a_restart_with_one_probe_and_without_a_second_event() {
    let upstream = Server::start(|_| Reply::new(401, "{}")).await;
    let schedule = "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"1h\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    setup.add(VAT, &["a", "b", "c", "d"]);
    let mut daemon = setup.start().await;
    eventually("the hold is recorded", || async {
        (setup.number("SELECT count(*) FROM report_events").await == 1).then_some(())
    })
    .await;
    daemon.kill_9();
    let n_before = upstream.n_seen();
    let daemon = setup.start().await;
    setup.add(VAT, &["e"]);
    // The restart may have brought another token, so it is tried once; the next probe is an hour away.
    eventually("the restart has probed", || async { (upstream.n_seen() > n_before).then_some(()) }).await;
    daemon.stop().await;
    assert_eq!(upstream.n_seen(), n_before + 1);
    assert_eq!(setup.number("SELECT count(*) FROM report_events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vat_without_admin_is_held_alone_and_restored_when_granted() {
    let upstream = Server::start(|seen| match seen.headers["vat"].as_str() {
        VAT => Reply::new(403, "{}"),
        _ => Reply::succeeded(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["a", "b", "c"]);
    setup.add(OTHER_VAT, &["d", "e"]);
    let daemon = setup.start().await;
    setup.reaches("d", "SUCCEEDED").await;
    setup.reaches("e", "SUCCEEDED").await;
    eventually("the hold is shown", || async {
        let held = "SELECT count(*) FROM report_vats WHERE vat = '310122393500003' AND held_reason LIKE '%not Admin%'";
        (setup.number(held).await == 1).then_some(())
    })
    .await;
    assert_eq!(setup.number("SELECT count(*) FROM report_vats WHERE held_reason IS NOT NULL").await, 1);
    upstream.answer(|_| Reply::succeeded());
    for id in ["a", "b", "c"] {
        setup.reaches(id, "SUCCEEDED").await;
    }
    eventually("both are announced", || async {
        let kinds: Vec<_> = daemon
            .events()
            .iter()
            .map(|event| event["type"].clone())
            .filter(|kind| kind.as_str().is_some_and(|kind| kind.starts_with("upstream")))
            .collect();
        (kinds == ["upstream.vat.held", "upstream.vat.restored"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_activities_stall_and_expire_without_being_asked_for() {
    let upstream = Server::start(|_| Reply::new(401, "{}")).await;
    let schedule = "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"2h\"\nstalled_after = \"400ms\"\ngive_up_after = \"1500ms\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    let ids: Vec<String> = (0..40).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let _daemon = setup.start().await;
    eventually("all have expired", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'EXPIRED'").await == 40)
            .then_some(())
    })
    .await;
    assert!(upstream.n_seen() <= 8, "{}", upstream.n_seen());
}

/// They are overdue while nothing may be asked for, and are asked for once it may.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_expires_in_a_pause() {
    let begun = Arc::new(Mutex::new(None));
    let upstream = Server::start(move |_| {
        let begun: Instant = *begun.lock().unwrap().get_or_insert_with(Instant::now);
        match begun.elapsed() < Duration::from_millis(500) {
            true => Reply::new(429, "").with_header("retry-after", "4"),
            false => Reply::succeeded(),
        }
    })
    .await;
    let schedule = "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"2h\"\nstalled_after = \"400ms\"\ngive_up_after = \"1500ms\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    let ids: Vec<String> = (0..40).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    for id in &ids {
        setup.reaches(id, "SUCCEEDED").await;
    }
    let stalled = daemon.events().iter().filter(|event| event["type"] == "pcsid.activity.stalled").count();
    assert_eq!(stalled, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_pauses_the_whole_credential_and_is_never_undercut() {
    for (status, retry_after, at_least) in [(429, "2".to_owned(), 2_000), (503, "date".to_owned(), 1_000)] {
        let throttled_at = Arc::new(Mutex::new(None));
        let first = Arc::clone(&throttled_at);
        let upstream = Server::start(move |_| {
            let mut first = first.lock().unwrap();
            if first.is_some() {
                return Reply::succeeded();
            }
            *first = Some(Instant::now());
            let value = match retry_after.as_str() {
                "date" => {
                    httpdate::fmt_http_date(pcsid_watch::clock::wall_system_time() + Duration::from_secs(2))
                }
                seconds => seconds.to_owned(),
            };
            Reply::new(status, "").with_header("retry-after", &value)
        })
        .await;
        let setup = Setup::new(&upstream.url(), "");
        setup.add(VAT, &["a"]);
        let mut daemon = setup.start().await;
        eventually("it was throttled", || async { throttled_at.lock().unwrap().map(drop) }).await;
        error_begins(&setup, "a", "throttled: upstream asks to wait").await;
        setup.add(OTHER_VAT, &["b", "c"]);
        // A restart does not forget it either.
        daemon.kill_9();
        let daemon = setup.start().await;
        for id in ["a", "b", "c"] {
            setup.reaches(id, "SUCCEEDED").await;
        }
        let began = throttled_at.lock().unwrap().unwrap();
        let earliest =
            upstream.seen().iter().skip(1).map(|seen| seen.at.duration_since(began)).min().unwrap();
        assert!(earliest >= Duration::from_millis(at_least), "{status}: {earliest:?}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_in_retry_after_is_no_pause_for_ever() {
    let n_asked = AtomicUsize::new(0);
    let upstream = Server::start(move |_| match n_asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429, "").with_header("retry-after", "in a while"),
        1 => Reply::new(429, "").with_header("retry-after", "-5"),
        _ => Reply::succeeded(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["a"]);
    let _daemon = setup.start().await;
    setup.reaches("a", "SUCCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_vat_does_not_wait_behind_a_large_one() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let credential =
        |setup: &Setup| setup.configuration().replace("requests_per_minute = 0", "requests_per_minute = 600");
    let setup = Setup::new(&upstream.url(), "");
    setup.configure(&credential(&setup));
    let csv: String = (0..5_000).map(|n| format!("{VAT},large-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let daemon = setup.start().await;
    eventually("the large one is being polled", || async { (upstream.n_seen() >= 35).then_some(()) }).await;
    setup.add(OTHER_VAT, &["small"]);
    eventually("the small one had its turn", || async { (upstream.n_seen_of("small") >= 1).then_some(()) })
        .await;
    let seen = upstream.seen();
    let before = seen.iter().position(|seen| seen.activity_id() == "small").unwrap();
    assert!(before < 120, "{before} requests came before it");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_vat_does_not_wait_behind_many_small_ones() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup =
        Setup::with(&upstream.url(), "[schedule]\ninitial_interval = \"1ms\"\nmax_interval = \"1ms\"\n", "");
    setup.configure(&setup.configuration().replace("requests_per_minute = 0", "requests_per_minute = 1200"));
    let large = (0..400).map(|n| format!("{VAT},large-{n}\n"));
    let small = (0..40).map(|n| format!("3100000000{n:04}3,small\n"));
    let csv: String = large.chain(small).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let daemon = setup.start().await;
    eventually("it runs for a few seconds", || async { (upstream.n_seen() >= 120).then_some(()) }).await;
    daemon.stop().await;
    let seen = upstream.seen();
    let n_large = seen[..120].iter().filter(|seen| seen.headers["vat"] == VAT).count();
    // By turns alone it would have 3; all others could be asked for over and over meanwhile.
    assert!((30..=90).contains(&n_large), "{n_large} of 120 requests were for the large one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_holds() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup =
        Setup::with(&upstream.url(), "[schedule]\ninitial_interval = \"1ms\"\nmax_interval = \"1ms\"\n", "");
    setup.configure(&setup.configuration().replace("requests_per_minute = 0", "requests_per_minute = 600"));
    setup.add(VAT, &["a", "b", "c", "d"]);
    setup.add(OTHER_VAT, &["a", "b", "c", "d"]);
    let daemon = setup.start().await;
    eventually("it runs for a few seconds", || async { (upstream.n_seen() >= 60).then_some(()) }).await;
    daemon.stop().await;
    let seen = upstream.seen();
    let took = seen[59].at.duration_since(seen[0].at);
    // 600 a minute and a burst of 30: sixty requests take three seconds, and not less.
    assert!(took >= Duration::from_millis(2_800), "{took:?}");
    let mut by_vat: HashMap<&str, usize> = HashMap::new();
    seen.iter().for_each(|seen| *by_vat.entry(&seen.headers["vat"]).or_default() += 1);
    // By turns, but a VAT whose four activities wait for an answer or a commit has none that could be asked for.
    assert!(by_vat[VAT].abs_diff(by_vat[OTHER_VAT]) <= 8, "{by_vat:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_start_goes_at_once_and_restarts_add_none() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.configure(&setup.configuration().replace("requests_per_minute = 0", "requests_per_minute = 1"));
    setup.add(VAT, &["a", "b"]);
    let mut daemon = setup.start().await;
    eventually("it is recorded", || async {
        (setup.number("SELECT sum(poll_count) FROM report_activities").await == 1).then_some(())
    })
    .await;
    assert!(daemon.kill_9().code().is_none());
    for _ in 0..3 {
        let daemon = setup.start().await;
        daemon.stop().await;
    }
    assert_eq!(upstream.n_seen(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_vat_is_asked_for_with_its_own_credential() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let more = format!(
        "[[credentials]]\nname = \"first\"\ntoken = \"token-one\"\nvats = [\"{VAT}\"]\n\
         [[credentials]]\nname = \"rest\"\ntoken = \"token-two\"\n"
    );
    let setup = Setup::new(&upstream.url(), &more);
    setup.add(VAT, &["a"]);
    setup.add(OTHER_VAT, &["b"]);
    let daemon = setup.start().await;
    setup.reaches("a", "SUCCEEDED").await;
    setup.reaches("b", "SUCCEEDED").await;
    for seen in upstream.seen() {
        let expected = if seen.headers["vat"] == VAT { "token-one" } else { "token-two" };
        assert_eq!(seen.headers["x-cleartax-auth-token"], expected);
    }
    daemon.stop().await;

    // A VAT that the configuration forgets is shown as such, and not asked for.
    setup.add(OTHER_VAT, &["c"]);
    let text = setup.configuration();
    setup.configure(text.split("[[credentials]]\nname = \"rest\"").next().unwrap());
    let n_before = upstream.n_seen();
    let daemon = setup.start().await;
    setup.add(VAT, &["d"]);
    setup.reaches("d", "SUCCEEDED").await;
    assert_eq!(upstream.n_seen(), n_before + 1);
    let reasons = setup.rows("json_array(vat, held_reason) AS r FROM report_vats ORDER BY vat").await;
    assert_eq!(reasons, [json!([VAT, null]), json!([OTHER_VAT, "no configured credential serves this VAT"])]);
    assert!(daemon.stderr().contains("no configured credential serves VAT 399999999900003"));
}

/// A TLS server that answers every request with success, with a certificate for `name`.
fn tls_server(name: &str, not_after_year: i32) -> (u16, String, std::thread::JoinHandle<()>) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let mut leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.not_after = rcgen::date_time_ymd(not_after_year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    let serving = std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = stream;
            let mut tls = rustls::Stream::new(&mut session, &mut stream);
            let mut request = [0; 4_096];
            if tls.read(&mut request).is_ok() {
                let body = include_str!("../fixtures/succeeded.json");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = tls.write_all(answer.as_bytes());
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    (port, ca_certificate.pem(), serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corporate_ca_is_trusted_where_it_is_named_and_bad_certificates_never() {
    for (host, name, year, with_ca, expected) in [
        ("localhost", "localhost", 2100, true, None),
        ("localhost", "localhost", 2100, false, Some("no_reply: TLS failed")),
        ("localhost", "elsewhere.example", 2100, true, Some("no_reply: TLS failed")),
        ("localhost", "localhost", 2001, true, Some("no_reply: TLS failed")),
    ] {
        let (port, ca, _serving) = tls_server(name, year);
        let setup = Setup::new(&format!("https://{host}:{port}"), "");
        std::fs::write(setup.path("ca.pem"), ca).unwrap();
        if with_ca {
            let line = format!("[upstream]\nca_file = \"{}\"", setup.path("ca.pem").display());
            setup.configure(&setup.configuration().replace("[upstream]", &line));
        }
        setup.add(VAT, &["a"]);
        let _daemon = setup.start().await;
        match expected {
            None => setup.reaches("a", "SUCCEEDED").await,
            Some(error) => error_begins(&setup, "a", error).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_certificate_of_a_private_ca_is_trusted_where_it_is_named() {
    for (name, year, ca_before, expected) in [
        ("localhost", 2100, Some(""), Ok("webhook erp answered HTTP 200")),
        // As an editor on Windows writes it.
        ("localhost", 2100, Some("\u{feff}"), Ok("webhook erp answered HTTP 200")),
        ("localhost", 2100, None, Err("a ca_file can name one")),
        ("elsewhere.example", 2100, Some(""), Err("not valid for name \"localhost\"")),
        ("localhost", 2001, Some(""), Err("the server's certificate ended ")),
    ] {
        let (port, ca, _serving) = tls_server(name, year);
        let webhook = format!(
            "[[webhooks]]\nname = \"erp\"\nurl = \"https://localhost:{port}/hooks\"\nsecret = \"{WEBHOOK_SECRET}\"\n"
        );
        let setup = Setup::new("http://127.0.0.1:9", &webhook);
        if let Some(before) = ca_before {
            std::fs::write(setup.path("ca.pem"), format!("{before}{ca}")).unwrap();
            let line = format!("[[webhooks]]\nca_file = \"{}\"", setup.path("ca.pem").display());
            setup.configure(&setup.configuration().replace("[[webhooks]]", &line));
        }
        let ran = setup.run(&["webhook", "test", "erp"]);
        match expected {
            Ok(said) => assert!(ran.code == 0 && ran.stdout.contains(said), "{}", ran.stderr),
            Err(said) => assert!(ran.code == 1 && ran.stderr.contains(said), "{}", ran.stderr),
        }
    }
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_refused_at_the_start() {
    let setup = Setup::new("https://127.0.0.1:9", "");
    for (content, sentence) in [
        (None, "can't be read"),
        (Some("not a certificate"), "holds no PEM certificates"),
        (Some(EMPTY), "holds no PEM certificates"),
    ] {
        if let Some(content) = content {
            std::fs::write(setup.path("ca.pem"), content).unwrap();
            assert!(setup.path("ca.pem").exists());
        }
        let line = format!("[upstream]\nca_file = \"{}\"", setup.path("ca.pem").display());
        let text = setup.configuration();
        if !text.contains("ca_file") {
            setup.configure(&text.replace("[upstream]", &line));
        }
        let ran = setup.run(&["config", "check"]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("upstream.ca_file") && ran.stderr.contains(sentence), "{}", ran.stderr);
    }
}

/// The frame of a certificate, with something else in it.
const EMPTY: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[tokio::test]
async fn without_root_certificates_only_what_needs_them_is_refused() {
    let without = |base_url| {
        let setup = Setup::new(base_url, "");
        std::fs::create_dir(setup.path("roots")).unwrap();
        std::fs::write(setup.path("roots.pem"), "").unwrap();
        let place = |name| setup.path(name).display().to_string();
        let (folder, file) = (place("roots"), place("roots.pem"));
        setup.variable("SSL_CERT_DIR", &folder).variable("SSL_CERT_FILE", &file)
    };
    let ran = without("https://127.0.0.1:9").run(&["run"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("is a bundle of CA certificates installed"), "{}", ran.stderr);
    without("http://127.0.0.1:9").start().await.stop().await;
}

/// A proxy for CONNECT that counts the tunnels it made.
fn proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let n_tunnels = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_tunnels);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || tunnel(client, &counted));
        }
    });
    (port, n_tunnels)
}

fn tunnel(mut client: std::net::TcpStream, n_tunnels: &AtomicUsize) -> Option<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(client.try_clone().ok()?);
    while !head.ends_with("\r\n\r\n") {
        std::io::BufRead::read_line(&mut reader, &mut head).ok()?;
    }
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    assert!(!head.contains(TOKEN), "a proxy must not see the token");
    let mut server = std::net::TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    n_tunnels.fetch_add(1, Ordering::SeqCst);
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let back = std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(std::net::Shutdown::Write);
    let _ = back.join();
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment_is_used() {
    let (port, ca, _serving) = tls_server("localhost", 2100);
    let (proxy_port, n_tunnels) = proxy();
    let setup = Setup::new(&format!("https://localhost:{port}"), "")
        .variable("HTTPS_PROXY", &format!("http://127.0.0.1:{proxy_port}"));
    std::fs::write(setup.path("ca.pem"), ca).unwrap();
    let line = format!("[upstream]\nca_file = \"{}\"", setup.path("ca.pem").display());
    setup.configure(&setup.configuration().replace("[upstream]", &line));
    setup.add(VAT, &["a"]);
    let _daemon = setup.start().await;
    setup.reaches("a", "SUCCEEDED").await;
    assert!(n_tunnels.load(Ordering::SeqCst) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_named() {
    let setup = Setup::new("http://does-not-exist.invalid", "");
    setup.add(VAT, &["a"]);
    let daemon = setup.start().await;
    error_begins(&setup, "a", "no_reply: the host's name could not be resolved").await;
    daemon.stop().await;
}

/// The line of a metric.
async fn metric(daemon: &Daemon, name: &str) -> Option<String> {
    let text = http_client().get(daemon.url() + "/metrics").send().await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_but_useless_answers_are_an_outage_like_any_other() {
    const LOGIN: &str = "<!DOCTYPE html><html><form action=/login></form></html>";
    let elsewhere = || Reply::new(307, "").with_header("location", "https://login.example/");
    type Answer = fn() -> Reply;
    let useless: [(Answer, &str); 6] = [
        (|| Reply::new(404, "404 page not found"), "HTTP 404"),
        (elsewhere, "HTTP 307: a redirect"),
        (|| Reply::new(200, LOGIN), "not JSON but a web page"),
        (|| Reply::new(200, r#"{"status":"ok"}"#), "Status is missing"),
        (|| Reply::new(500, "oops"), "the body is not JSON"),
        (|| Reply::new(502, "bad gateway"), "HTTP 502"),
    ];
    for (reply, cause) in useless {
        let upstream = Server::start(move |_| reply()).await;
        let schedule =
            "[schedule]\ninitial_interval = \"100ms\"\nmax_interval = \"300ms\"\nstalled_after = \"900ms\"\n";
        let setup = Setup::with(&upstream.url(), schedule, "");
        let ids: Vec<String> = (0..60).map(|n| format!("act-{n}")).collect();
        setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
        let began_at = std::time::Instant::now();
        let daemon = setup.start().await;
        eventually("upstream counts as down", || async {
            (n_lines(&daemon, "upstream is down") == 1).then_some(())
        })
        .await;
        assert_eq!(metric(&daemon, "pcsid_watch_upstream_outage").await.as_deref(), Some("1.0"), "{cause}");
        let page = http_client().get(daemon.url()).send().await.unwrap().text().await.unwrap();
        for part in ["your attention</title>", "No usable answer from ClearTax", cause] {
            let part = part.replace("</title>", " ·");
            assert!(page.contains(&part), "{part}: {page}");
        }
        eventually("some probes were made", || async { (upstream.n_seen() >= 20).then_some(()) }).await;
        // Each of them would have been asked for many times by now: sixty each 300 ms. Of an upstream that was never
        // there, eight probes go every 200 ms or later.
        let n_probes = setup.number("SELECT sum(poll_count) FROM report_activities").await;
        let most = 35 + 8 * i64::try_from(began_at.elapsed().as_millis() / 200).unwrap();
        assert!(n_probes <= most, "{cause}: {n_probes} were asked for, {most} at most were to be");
        eventually("what takes too long is said", || async {
            (n_lines(&daemon, "has not concluded within schedule.stalled_after") >= 1).then_some(())
        })
        .await;
        let list = setup.ok(&["list", "--format", "csv"]);
        assert!(list.lines().next().is_some_and(|head| head.contains("last_error")), "{list}");

        upstream.answer(|_| Reply::succeeded());
        eventually("all have succeeded", || async {
            (setup.number("SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'").await == 60)
                .then_some(())
        })
        .await;
        assert_eq!(metric(&daemon, "pcsid_watch_upstream_outage").await.as_deref(), Some("0.0"), "{cause}");
        let log = daemon.stop().await;
        let warnings: Vec<&str> =
            log.lines().filter(|line| line.contains("WARN") && line.contains("upstream")).collect();
        assert_eq!(warnings.iter().filter(|line| !line.contains("activity")).count(), 1, "{warnings:#?}");
        assert!(warnings.iter().any(|line| line.contains(cause) && line.contains("check")), "{warnings:#?}");
        assert_eq!(log.lines().filter(|line| line.contains("upstream recovered after")).count(), 1, "{log}");
    }
}
