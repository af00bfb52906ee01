//! What others write reaches nobody as it came: no secret in it, and nothing that acts where it is shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::helpers::{Reply, Server, Setup, VAT, WEBHOOK_SECRET, eventually, webhook};

/// As ClearTax gives them out.
const TOKEN: &str = "1.9a7F3c21-5e0b-4d86-b1f2-Qx7Zk0pLmW4tRvYbN8s";

/// The texts of all files in the folder but the token's own, and what the daemon printed.
fn everything(setup: &Setup, printed: &str) -> Vec<u8> {
    let files = std::fs::read_dir(setup.folder()).unwrap().map(|file| file.unwrap().path());
    let mut all: Vec<u8> =
        files.filter(|file| !file.ends_with("token")).flat_map(|file| std::fs::read(file).unwrap()).collect();
    all.extend_from_slice(printed.as_bytes());
    all.to_ascii_lowercase()
}

fn holds(all: &[u8], part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    all.windows(part.len()).any(|window| window == part.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_the_token_is_kept_however_upstream_repeats_it() {
    let escaped: String = TOKEN.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let html: String = TOKEN.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("x-cleartax-auth-token: {TOKEN}"));
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let upper = TOKEN.to_uppercase();
    let padding = "x".repeat(170);
    let status = |written: &str| {
        json!({"ActivityType": "ZATCA_COMPLIANCE_INVOICE", "Status": "STATUS"})
            .to_string()
            .replace("STATUS", written)
    };
    let failed = |written: &str| {
        include_str!("../fixtures/failed.json").replacen(
            "\"StandardTaxInvoice\"",
            &format!("\"StandardTaxInvoice\": \"BR-KSA-17 : {written}\", \"Other\""),
            1,
        )
    };
    let mut replies = Vec::new();
    for written in [TOKEN.to_owned(), escaped, percent, html, base64.clone(), hex.clone(), upper] {
        replies.push(Reply::new(200, status(&written)));
        replies.push(Reply::new(200, format!("<html>{padding}{written}</html>")));
        replies.push(Reply::new(502, format!("{padding} token={written}")));
        replies.push(Reply::new(400, format!("{padding} {written}")));
        replies.push(Reply::new(500, failed(&written.replace('\\', "\\\\"))));
        replies.push(Reply::new(500, failed(&written)));
        replies.push(Reply::new(
            400,
            json!({"ErrorList": [{"ErrorCode": "6004", "ErrorMessage": written, "ErrorSource": written}]})
                .to_string(),
        ));
    }
    let n_replies = replies.len();
    let upstream = Server::start(move |seen| {
        replies[seen.activity_id().strip_prefix("act-").unwrap().parse::<usize>().unwrap()].clone()
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    std::fs::write(setup.path("token"), format!("\u{feff}{TOKEN}\r\n")).unwrap();
    let ids: Vec<String> = (0..n_replies).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("all were asked for several times or have concluded", || async {
        let waiting = "SELECT count(*) FROM report_activities WHERE concluded_at IS NULL AND poll_count < 3";
        (setup.number(waiting).await == 0).then_some(())
    })
    .await;
    assert_eq!(upstream.seen()[0].headers["x-cleartax-auth-token"], TOKEN, "no byte order mark, no line end");
    assert_eq!(upstream.seen()[0].headers["accept-encoding"], "identity");
    let evidence: String = ids
        .iter()
        .map(|id| setup.ok(&["show", id, "--format", "json"]) + &setup.ok(&["evidence", id]))
        .collect();
    let printed = daemon.stdout() + &evidence;
    let log = daemon.stop().await;
    let all = everything(&setup, &(printed + &log));
    assert!(holds(&all, "[redacted]"));
    for n in 0..TOKEN.len() - 8 {
        assert!(!holds(&all, &TOKEN[n..n + 8]), "{}", &TOKEN[n..n + 8]);
        assert!(!holds(&all, &hex[n * 2..n * 2 + 16]), "{n} in hexadecimal digits");
    }
    assert!(!holds(&all, &base64[36..60]), "in Base64");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_webhook_s_secret_is_kept_that_its_receiver_repeats() {
    let encoded = WEBHOOK_SECRET.strip_prefix("whsec_").unwrap();
    let key = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = WEBHOOK_SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let refusals = [
        format!("signature does not match, secret is {WEBHOOK_SECRET}"),
        format!("<td>{encoded}</td>"),
        format!("key 0x{hex}"),
        percent,
        format!("{}{WEBHOOK_SECRET}", "x".repeat(180)),
    ];
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let n_asked = AtomicUsize::new(0);
    let n_refusals = refusals.len();
    let receiver = Server::start(move |_| {
        Reply::new(401, refusals[n_asked.fetch_add(1, Ordering::Relaxed) % n_refusals].clone())
    })
    .await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    let ids: Vec<String> = (0..n_refusals).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("each refusal was made once", || async {
        let refused = "SELECT count(*) FROM report_deliveries WHERE sink = 'erp' AND last_http_status = 401";
        (setup.number(refused).await == n_refusals as i64).then_some(())
    })
    .await;
    let printed = daemon.stdout() + &setup.ok(&["deliveries", "--format", "json"]);
    let shown = setup.run(&["webhook", "test", "erp"]);
    let log = daemon.stop().await;
    let files = ["test.db", "test.db-wal"].map(|name| std::fs::read(setup.path(name)).unwrap_or_default());
    let mut all = files.concat();
    all.extend_from_slice(format!("{printed}{}{}{log}", shown.stdout, shown.stderr).as_bytes());
    let all = all.to_ascii_lowercase();
    assert!(holds(&all, "[redacted]"));
    for n in "whsec_".len()..WEBHOOK_SECRET.len() - 8 {
        assert!(!holds(&all, &WEBHOOK_SECRET[n..n + 8]), "{}", &WEBHOOK_SECRET[n..n + 8]);
    }
    for n in 0..hex.len() - 16 {
        assert!(!holds(&all, &hex[n..n + 16]), "{n} in hexadecimal digits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_others_are_not_kept() {
    let secret = "Xlj15LyMCgSC66ObnEO/qVPfhSbs3kDTjWnGheYhfSs=";
    let inner = json!({"binarySecurityToken": "TUlJRDFEQ0NBM21nQXdJQkFnSVRid0FBZTNVQVlWVTM0SS8rNVFBQkFBQjdkVA==",
        "secret": secret, "requestID": 1});
    let mut body: Value = serde_json::from_str(include_str!("../fixtures/failed.json")).unwrap();
    body["ErrorList"] = json!([{ "ErrorCode": "500", "ErrorMessage": inner.to_string(), "ErrorSource": "ZATCA" },
        { "ErrorCode": "401", "ErrorMessage": "Authorization: Basic dXNlcjpwYXNzd29yZA== was refused" }]);
    let body = body.to_string();
    let upstream = Server::start(move |_| Reply::new(500, body.clone())).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;
    assert_eq!(
        event["data"]["errors"][0]["message"],
        r#"{"binarySecurityToken":"[redacted]","secret":"[redacted]","requestID":1}"#
    );
    assert_eq!(event["data"]["errors"][1]["message"], "Authorization: Basic [redacted] was refused");
    let printed = daemon.stdout() + &setup.ok(&["evidence", "act-1"]);
    let log = daemon.stop().await;
    let all = everything(&setup, &(printed + &log));
    for part in [&secret[..12], "TUlJRDFEQ0NBM21n", "dXNlcjpwYXNz"] {
        assert!(!holds(&all, part), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_text_around_or_steers_a_terminal_reaches_no_log_and_no_evidence() {
    let evil =
        "\u{1b}]0;x\u{7}\u{1b}[2J \u{202e}reversed\u{2066} \u{202a}\u{200f}\u{61c} \u{2028}\u{9b}2J\u{7f}";
    let upstream = Server::start(move |seen| {
        let error = json!({ "ErrorCode": evil, "ErrorMessage": evil, "ErrorSource": evil });
        match seen.activity_id() {
            "refused" => Reply::new(400, json!({ "ErrorList": [error] }).to_string()),
            "failed" => {
                let mut body: Value = serde_json::from_str(include_str!("../fixtures/failed.json")).unwrap();
                body["ErrorList"] = json!([error]);
                body["ResponseInfo"]["ResponseMetaData"]["StandardTaxInvoice"] =
                    json!(format!("BR-KSA-17 : {evil}"));
                Reply::new(500, body.to_string())
            }
            _ => Reply::new(502, evil),
        }
    })
    .await;
    let setup = Setup::new(&upstream.url(), "[log]\nlevel = \"debug\"\n");
    setup.add(VAT, &["refused", "failed", "odd"]);
    let daemon = setup.start().await;
    setup.reaches("refused", "REJECTED").await;
    setup.reaches("failed", "FAILED").await;
    let marks = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{7f}'..='\u{9f}' | '\u{1b}' | '\u{7}');
    for id in ["refused", "failed"] {
        let html = setup.ok(&["evidence", id, "--format", "html"]);
        assert!(!html.contains(marks), "{id}");
        assert!(html.contains("⟦U+202E⟧reversed"), "it is to be seen that it is there");
        let json: Value = serde_json::from_str(&setup.ok(&["evidence", id, "--format", "json"])).unwrap();
        assert!(json["content"]["final_answer"]["body"].as_str().unwrap().contains('\u{202e}'), "as it came");
        assert!(!setup.ok(&["show", id]).contains(marks));
    }
    assert!(!daemon.stdout().contains(marks));
    let log = daemon.stop().await;
    assert!(!log.contains(marks), "{log}");
}

#[test]
fn no_cell_of_csv_is_calculated() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    for (n, text) in ["=1+1", "＝1+1", "＋1", "－1", "＠a", " =1", "\u{200b}=1", "\u{feff}+1", "-1 of 2"]
        .iter()
        .enumerate()
    {
        setup.ok(&["add", "--vat", VAT, &format!("act-{n}"), &format!("--reference={text}")]);
    }
    let csv = setup.ok(&["list", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.trim_start_matches('\u{feff}').as_bytes());
    let at = reader.headers().unwrap().iter().position(|column| column == "reference").unwrap();
    let n_harmless = reader.records().filter(|row| row.as_ref().unwrap()[at].starts_with('\'')).count();
    assert_eq!(n_harmless, 9, "{csv}");
}

#[test]
fn a_variable_of_the_wrong_shape_is_not_echoed() {
    for name in [
        "CREDENTIALS",
        "CREDENTIALS__0",
        "HTTP",
        "WEBHOOKS",
        "WEBHOOKS__0",
        "CREDENTIALS__0__TOKEN__X",
        "UPSTREAM",
    ] {
        let setup =
            Setup::new("http://127.0.0.1:9", "").variable(&format!("PCSID_WATCH__{name}"), "s3cret-v4lue");
        let ran = setup.run(&["config", "check"]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.stderr);
        assert!(!ran.stderr.contains("s3cret-v4lue"), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("PCSID_WATCH__{name}")), "{name}: {}", ran.stderr);
    }
}
