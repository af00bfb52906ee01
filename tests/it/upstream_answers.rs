//! What upstream can answer, over real sockets: nothing is concluded that it did not say.

use std::time::Duration;

use serde_json::{Value, json};

use crate::helpers::{OTHER_VAT, Reply, Server, Setup, TOKEN, VAT, eventually};

const HTML: &str = "<html><body><h1>It works!</h1></body></html>";

fn status(status: &str, more: &str) -> String {
    format!(r#"{{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"{status}"{more}}}"#)
}

/// Answers that must conclude nothing, with what `last_error` begins with.
fn untrusted() -> Vec<(&'static str, Reply, &'static str)> {
    let deep = format!("{{\"Status\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    vec![
        ("html-200", Reply::new(200, HTML), "invalid_response: the body is not JSON"),
        ("html-400", Reply::new(400, HTML), "unexpected_status: HTTP 400 without a readable ErrorList"),
        ("html-404", Reply::new(404, HTML), "unexpected_status: HTTP 404"),
        ("html-500", Reply::new(500, HTML), "server_error: the body is not JSON"),
        ("html-502", Reply::new(502, HTML), "gateway: HTTP 502"),
        ("html-503", Reply::new(503, HTML), "gateway: HTTP 503"),
        ("empty", Reply::new(200, ""), "invalid_response: the body is empty"),
        (
            "truncated",
            Reply::new(200, status("SUCCEEDED", ",\"ErrorL")),
            "invalid_response: the body is not JSON",
        ),
        ("latin1", Reply::new(200, b"{\"Status\":\"SUCCEEDED\xe9\"}".to_vec()), "invalid_response"),
        ("deep", Reply::new(200, deep), "invalid_response"),
        ("null", Reply::new(200, "null"), "invalid_response"),
        ("array", Reply::new(200, "[]"), "invalid_response"),
        ("no-status", Reply::new(200, "{}"), "invalid_response: Status is missing"),
        ("number", Reply::new(200, r#"{"Status":1}"#), "invalid_response: a field has a wrong type"),
        (
            "number-in-check",
            Reply::new(
                200,
                status("SUCCEEDED", r#","ResponseInfo":{"ResponseMetaData":{"StandardTaxInvoice":7}}"#),
            ),
            "invalid_response",
        ),
        (
            "text-count",
            Reply::new(200, status("SUCCEEDED", r#","RequestMetaInfo":{"TotalCount":"six"}"#)),
            "invalid_response",
        ),
        (
            "twice",
            Reply::new(200, status("FAILED", r#","Status":"SUCCEEDED""#)),
            "invalid_response: a field has a wrong type or stands twice",
        ),
        ("unknown", Reply::new(200, status("PAUSED", "")), "invalid_response: Status `PAUSED` is not known"),
        (
            "other-type",
            Reply::new(200, r#"{"ActivityType":"E_INVOICE","Status":"SUCCEEDED"}"#),
            "invalid_response: ActivityType is `E_INVOICE`",
        ),
        ("500-in-progress", Reply::new(500, status("IN_PROGRESS", "")), "server_error"),
        ("500-succeeded", Reply::new(500, status("SUCCEEDED", "")), "server_error"),
        ("400-null-list", Reply::new(400, r#"{"ErrorList":null}"#), "unexpected_status: HTTP 400"),
        ("400-empty-list", Reply::new(400, r#"{"ErrorList":[]}"#), "unexpected_status: HTTP 400"),
        ("400-failed", Reply::new(400, status("FAILED", "")), "unexpected_status: HTTP 400"),
        ("404-succeeded", Reply::new(404, status("SUCCEEDED", "")), "unexpected_status: HTTP 404"),
        ("201-succeeded", Reply::new(201, status("SUCCEEDED", "")), "unexpected_status: HTTP 201"),
        (
            "redirect",
            Reply::new(302, status("SUCCEEDED", "")).with_header("location", "http://127.0.0.1:9/"),
            "unexpected_status: HTTP 302: a redirect",
        ),
        (
            "gzip",
            Reply::new(200, gzip_bomb()).with_header("content-encoding", "gzip"),
            "no_reply: the answer's body is encoded (gzip)",
        ),
        (
            "gzip-503",
            Reply::new(503, gzip_bomb()).with_header("content-encoding", "gzip"),
            "no_reply: the answer's body is encoded (gzip)",
        ),
        ("gzip-unsaid", Reply::new(200, gzip_bomb()), "invalid_response: the body is compressed (gzip)"),
        (
            "too-long",
            Reply::new(200, status("SUCCEEDED", &" ".repeat(300_000))),
            "no_reply: the answer's body is longer than 256 KiB",
        ),
    ]
}

/// The head of a gzip stream: it is never decompressed, so its content does not matter.
fn gzip_bomb() -> Vec<u8> {
    [[0x1f, 0x8b, 8, 0].as_slice(), &[0; 2_000]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_concluded_from_an_answer_that_cannot_be_trusted() {
    let upstream = Server::start(|seen| {
        let reply = untrusted().into_iter().find(|(id, ..)| *id == seen.activity_id());
        reply.map_or_else(Reply::in_progress, |(_, reply, _)| reply)
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let cases = untrusted();
    let ids: Vec<&str> = cases.iter().map(|(id, ..)| *id).collect();
    setup.add(VAT, &ids);
    // A healthy neighbour, so that answers without any content are not taken for an outage of everything.
    setup.add(OTHER_VAT, &["healthy"]);
    let daemon = setup.start().await;
    eventually("each was asked for at least three times", || async {
        let rarely = "SELECT count(*) FROM report_activities WHERE poll_count < 3";
        (setup.number(rarely).await == 0).then_some(())
    })
    .await;
    for (id, _, error) in &cases {
        let row = &setup.rows(&format!(
            "json_object('state', state, 'error', last_error, 'errors', consecutive_errors >= 3, 'status', upstream_status) AS r
             FROM report_activities WHERE activity_id = '{id}'"
        )).await[0];
        assert_eq!(row["state"], "PENDING", "{id}");
        assert!(row["error"].as_str().is_some_and(|said| said.starts_with(error)), "{id}: {row}");
        assert_eq!(row["errors"], 1, "{id}: {row}");
        let status = if *id == "unknown" { json!("PAUSED") } else { Value::Null };
        assert_eq!(row["status"], status, "{id}");
    }
    assert_eq!(daemon.stdout(), "");

    // What was not trusted is asked again, and the first word that can be trusted counts.
    upstream.answer(|_| Reply::succeeded());
    eventually("all have succeeded", || async {
        let others = "SELECT count(*) FROM report_activities WHERE state <> 'SUCCEEDED'";
        (setup.number(others).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_final_answer_concludes_as_documented() {
    let success_without_pcsid = r#","ResponseInfo":{"ResponseMetaData":{"PcsidGenerated":"FAILED"}}"#;
    let answers = [
        ("success", Reply::succeeded(), "SUCCEEDED"),
        ("success-bare", Reply::new(200, status("SUCCEEDED", "")), "SUCCEEDED"),
        (
            "success-extra",
            Reply::new(200, status("SUCCEEDED", r#","New":{"a":[1]},"ErrorList":null"#)),
            "SUCCEEDED",
        ),
        (
            "success-float",
            Reply::new(200, status("SUCCEEDED", r#","RequestMetaInfo":{"TotalCount":6.0}"#)),
            "SUCCEEDED",
        ),
        ("no-pcsid", Reply::new(200, status("SUCCEEDED", success_without_pcsid)), "FAILED"),
        ("failed-500", Reply::failed(), "FAILED"),
        ("failed-200", Reply::new(200, status("FAILED", "")), "FAILED"),
        (
            "failed-bare-500",
            Reply::new(500, status("FAILED", r#","CompletedAt":"when it was done""#)),
            "FAILED",
        ),
        ("refused", Reply::refused(), "REJECTED"),
    ];
    let replies = answers.clone();
    let upstream = Server::start(move |seen| {
        replies.iter().find(|(id, ..)| *id == seen.activity_id()).unwrap().1.clone()
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &answers.each_ref().map(|(id, ..)| *id));
    let _daemon = setup.start().await;
    for (id, _, state) in &answers {
        setup.reaches(id, state).await;
    }
    let row = &setup.rows("json_object('total', total_count, 'done', upstream_completed_at) AS r FROM report_activities WHERE activity_id = 'success-float'").await[0];
    assert_eq!(row["total"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_kept_verbatim_and_shown_harmless() {
    let long = "BR-KSA-17 : ".to_owned() + &"طويل ".repeat(20_000);
    let evil = "BR-KSA-66 : \u{1b}[2J\u{202e}reversed\r\nsecond line, with comma";
    let body = json!({
        "ActivityType": "ZATCA_COMPLIANCE_INVOICE", "Status": "FAILED",
        "RequestMetaInfo": { "TotalCount": 1, "SuccessCount": 99, "FailureCount": -3 },
        "ResponseInfo": { "ResponseMetaData": { "PcsidGenerated": "FAILED", "StandardTaxInvoice": evil,
            "StandardTaxInvoiceCredit": long, "StandardTaxInvoiceDebit": "" } },
        "ErrorList": [{ "ErrorCode": "1", "ErrorMessage": format!("token {TOKEN} was refused"), "ErrorSource": null }],
    });
    // A letter of the token escaped, as JSON allows: it must be recognised all the same.
    let body = body.to_string().replace(TOKEN, &TOKEN.replacen('s', "\\u0073", 1));
    let upstream = Server::start(move |_| Reply::new(500, body.clone())).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "FAILED").await;
    let stored = setup.rows("json_array(check_name, outcome, message) AS r FROM report_checks WHERE outcome = 'FAILED' ORDER BY length(message)").await;
    assert_eq!(stored[0], json!(["StandardTaxInvoiceDebit", "FAILED", ""]));
    assert_eq!(stored[1][2], evil);
    assert_eq!(stored[2][2].as_str().map(str::len), Some(12 + 9 * 20_000));
    let story = setup.ok(&["show", "act-1"]);
    assert!(!story.contains('\u{1b}') && !story.contains('\u{202e}') && !story.contains('\r'));
    let csv = setup.ok(&["list", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 2);
    // An answer that repeats the token must not bring it into any place.
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;
    assert_eq!(event["data"]["errors"][0]["message"], "token [redacted] was refused");
    let log = daemon.stop().await;
    for file in std::fs::read_dir(setup.folder()).unwrap() {
        let file = file.unwrap().path();
        if !file.ends_with("token") {
            let bytes = std::fs::read(&file).unwrap();
            let found = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
            assert!(!found, "{}", file.display());
        }
    }
    assert!(!log.contains(TOKEN) && !event.to_string().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_a_part_of_many_words_changes_no_answer() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "[[credentials]]\nname = \"short\"\ntoken = \"t\"\n");
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_never_takes_the_token_along() {
    let elsewhere = Server::start(|_| Reply::succeeded()).await;
    let target = elsewhere.url();
    let upstream = Server::start(move |_| Reply::new(307, "").with_header("location", &target)).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    eventually("it was asked for several times", || async { (upstream.n_seen() >= 3).then_some(()) }).await;
    assert_eq!(elsewhere.n_seen(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_says_it_all_counts_whatever_becomes_of_its_body() {
    for (status, header, expected) in [
        (401, "", "unauthorized"),
        (403, "", "forbidden"),
        (429, "retry-after: 1\r\n", "throttled: upstream asks to wait 1s"),
    ] {
        let head = format!("HTTP/1.1 {status} No\r\ncontent-length: 900000\r\n{header}\r\n<html>");
        let drip =
            Reply::Drip { first: head.into_bytes(), again: b"x".to_vec(), every: Duration::from_millis(50) };
        let upstream = Server::start(move |_| drip.clone()).await;
        let setup =
            Setup::new(&upstream.url(), "").variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "400ms");
        setup.add(VAT, &["act-1"]);
        let _daemon = setup.start().await;
        eventually("the status is recorded", || async {
            let rows = setup.rows("json_quote(coalesce(last_error, '')) AS r FROM report_activities").await;
            rows[0].as_str().unwrap().starts_with(expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strikes_count_in_a_row() {
    // Two refusals, an answer of another kind, and again: never three in a row.
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Server::start(move |_| match n_asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        n if n >= 12 => Reply::succeeded(),
        n if n % 3 == 2 => Reply::new(500, HTML),
        _ => Reply::refused(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    assert_eq!(setup.number("SELECT poll_count FROM report_activities").await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_cut_off_by_time() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n{".to_vec();
    let drip = Reply::Drip { first: head, again: b" ".to_vec(), every: Duration::from_millis(20) };
    let upstream = Server::start(move |_| drip.clone()).await;
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__UPSTREAM__REQUEST_TIMEOUT", "300ms");
    setup.add(VAT, &["act-1"]);
    let _daemon = setup.start().await;
    eventually("the request has timed out", || async {
        let timed_out = "SELECT count(*) FROM report_activities WHERE last_error LIKE '%no complete answer within 300ms%'";
        (setup.number(timed_out).await == 1).then_some(())
    })
    .await;
}
