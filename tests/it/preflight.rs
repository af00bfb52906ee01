//! `preflight`: details of a registration are checked, offline, and nothing is stored.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::helpers::{Daemon, Ran, Reply, Server, Setup, VAT, eventually, http_client};

fn example(setup: &Setup) -> Value {
    serde_json::from_str(&setup.ok(&["preflight", "--example"])).unwrap()
}

fn check(setup: &Setup, text: &str, more: &[&str]) -> Ran {
    std::fs::write(setup.path("device.json"), text).unwrap();
    setup.run(&[&["preflight", "device.json"], more].concat())
}

fn findings(ran: &Ran) -> Vec<String> {
    let rows: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| format!("{} {} {}", text(row, "severity"), text(row, "field"), text(row, "rule")))
        .collect()
}

#[test]
fn the_example_passes_without_a_database_and_leaves_none_behind() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let text = setup.ok(&["preflight", "--example"]);
    let passed = check(&setup, &text, &[]);
    assert_eq!(passed.code, 0, "{}", passed.stderr);
    assert!(passed.stdout.contains("Nothing is wrong"), "{}", passed.stdout);
    let csv = setup.ok(&["preflight", "--example", "--format", "csv"]);
    let mut command = setup.command(&["preflight", "-", "--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(csv.as_bytes()).unwrap();
    let passed = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((passed.code, passed.stdout.trim()), (0, "[]"));
    assert!(!setup.database().exists());
}

#[test]
fn each_finding_has_field_rule_severity_and_both_languages() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let mut device = example(&setup);
    device["OrganizationDetails"]["Address"]["BuildingNumber"] = json!("12");
    device["OrganizationDetails"]["Vat"] = json!("399999999900003");
    device["DeviceDetails"]["Shade"] = json!("blue");
    device["Otp"] = json!("SECRET");
    let ran = check(&setup, &device.to_string(), &["--format", "json"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        findings(&ran),
        [
            "error OrganizationDetails.Address.BuildingNumber BR-KSA-37",
            "warning Otp Invalid-OTP",
            "warning OrganizationDetails.Vat -",
            "note DeviceDetails.Shade -",
        ]
    );
    let rows: Value = serde_json::from_str(&ran.stdout).unwrap();
    for row in rows.as_array().unwrap() {
        for key in ["problem", "expected"] {
            assert!(row[key]["en"].is_string() && row[key]["ar"].is_string(), "{row}");
        }
    }
    assert!(!ran.stdout.contains("SECRET") && !ran.stderr.contains("SECRET"));
    let arabic = check(&setup, &device.to_string(), &["--lang", "ar"]);
    assert!(arabic.stdout.contains("ليس 4 أرقام"), "{}", arabic.stdout);
    let csv = check(&setup, &device.to_string(), &["--format", "csv"]);
    assert!(
        csv.stdout.lines().next().unwrap().ends_with(
            "device,line,name,field,key,rule,severity,value,problem,expected,problem_ar,expected_ar"
        )
    );
    // A warning alone is no failure.
    device["OrganizationDetails"]["Address"]["BuildingNumber"] = json!("1234");
    assert_eq!(check(&setup, &device.to_string(), &[]).code, 0);
}

#[test]
fn what_can_not_be_read_is_one_sentence_with_the_place() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    for (text, said) in [
        ("", "device.json: the whole file: it is empty"),
        ("{\"DeviceDetails\":\n {\"CommonName\": }}", "device.json: line 2, column 17: not valid JSON"),
        ("[7]", "device.json: /0: a device is an object"),
        ("{\"colour\": 1}", "none of its keys is a detail of a registration (`colour` is the first)"),
        ("vat,CommonName\n3\n", "device.json: line 2: it has 1 fields, the header has 2"),
    ] {
        let ran = check(&setup, text, &[]);
        assert_eq!(ran.code, 2, "{text}");
        assert!(ran.stderr.contains(said) && ran.stderr.lines().count() == 1, "{text}: {}", ran.stderr);
    }
    assert_eq!(setup.run(&["preflight", "missing.json"]).code, 2);
    assert_eq!(setup.run(&["preflight"]).code, 2);
    assert!(!setup.database().exists());
}

async fn post(daemon: &Daemon, media_type: &str, body: String) -> (u16, Value) {
    let request = http_client().post(daemon.url() + "/v1/preflight").header("content-type", media_type);
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_the_page_say_the_same_and_know_what_the_database_does() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        _ => Reply::in_progress(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let device = example(&setup);
    let serial = device["DeviceDetails"]["EgsSerialNumber"].as_str().unwrap().to_owned();
    setup.ok(&["add", "--vat", VAT, "good", "--device-id", &serial]);
    setup.ok(&["add", "--vat", VAT, "slow", "--device-id", "A1B2C3D4"]);
    let daemon = setup.start().await;
    setup.reaches("good", "SUCCEEDED").await;
    let n_stored = setup.number("SELECT count(*) FROM report_activities").await;

    let (status, body) = post(&daemon, "application/json", device.to_string()).await;
    assert_eq!((status, &body["errors"], &body["warnings"]), (200, &json!(0), &json!(2)), "{body}");
    let values: Vec<&str> = body["devices"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["value"].as_str().unwrap())
        .collect();
    assert!(values[0].starts_with("20") && values[1] == "slow", "{values:?}");
    assert_eq!(body["devices"][0]["not_recognised"], json!([]));
    let ran = check(&setup, &device.to_string(), &["--format", "json"]);
    assert_eq!((ran.code, findings(&ran).len()), (0, 2));

    let (_, several) =
        post(&daemon, "application/json", json!([device, {"CommonName": "x"}]).to_string()).await;
    assert_eq!(several["devices"].as_array().unwrap().len(), 2);
    assert!(several["errors"].as_u64().unwrap() > 5);
    let csv = setup.ok(&["preflight", "--example", "--format", "csv"]);
    assert_eq!(post(&daemon, "text/csv", csv).await.0, 200);
    for (media_type, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "[1]", 422),
        ("application/json", "{\"a\": 1}", 422),
        ("text/csv", "vat,CommonName\n1\n", 422),
        ("text/plain", "{}", 415),
    ] {
        let (said, problem) = post(&daemon, media_type, body.to_owned()).await;
        assert_eq!(said, status, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().ends_with('.'), "{problem}");
    }

    let client = http_client();
    let form = client.get(daemon.url() + "/preflight").send().await.unwrap().text().await.unwrap();
    assert!(
        form.contains("name=\"DeviceDetails.EgsSerialNumber\"") && !form.contains("name=\"Otp\""),
        "{form}"
    );
    let fields = [("DeviceDetails.CommonName", "<b>till</b>"), ("OrganizationDetails.Vat", "12")];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request =
        client.post(daemon.url() + "/preflight").header("content-type", "application/x-www-form-urlencoded");
    let page = request.body(body).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(
        page.contains("BR-KSA-40") && page.contains("&lt;b&gt;till") && !page.contains("<b>till"),
        "{page}"
    );
    // What can't be read is told in the reader's language.
    for (language, text, said) in [
        ("ar", "[1]", "/0: يُكتب الجهاز كائنًا فيه DeviceDetails وOrganizationDetails"),
        ("ar", "vat,CommonName\n1\n", "السطر 2: عدد حقوله 1، وعدد حقول سطر العناوين 2"),
        ("ar", "{\"x\": 1}", "أولها `x`)؛ يطبع الخيار \u{200e}--example"),
        ("ar", "{", "السطر 1، العمود 1: ليس JSON صحيحًا: ينتهي النص قبل إغلاق القوس المعقوص"),
        ("en", "[1]", "/0: a device is an object with DeviceDetails and OrganizationDetails"),
    ] {
        let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("text", text).finish();
        let request = client
            .post(daemon.url() + "/preflight")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept-language", language);
        let page = request.body(body).send().await.unwrap().text().await.unwrap();
        assert!(page.contains(said), "{page}");
    }
    let ran = check(&setup, "{}", &["--lang", "ar"]);
    assert!(ran.stderr.contains("صحّحها قبل استهلاك رمز التحقق (OTP)"), "{}", ran.stderr);
    let pasted = url::form_urlencoded::Serializer::new(String::new()).append_pair("text", "{\"x\"").finish();
    let request = client
        .post(daemon.url() + "/preflight?lang=ar")
        .header("content-type", "application/x-www-form-urlencoded");
    let page = request.body(pasted).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("السطر 1، العمود 4: ليس JSON صحيحًا") && page.contains("فحص"), "{page}");

    eventually("nothing was stored", || async {
        (setup.number("SELECT count(*) FROM report_activities").await == n_stored).then_some(())
    })
    .await;
    daemon.stop().await;
}

#[test]
fn the_page_of_the_documentation_explains_every_detail() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/preflight.md")).unwrap();
    // In a table a bar is escaped.
    let page = page.replace("\\|", "|");
    for spec in &pcsid_watch::domain::preflight::FIELDS {
        assert!(page.contains(&format!("`{}`", spec.path)), "{}", spec.path);
        for text in [spec.example, spec.name.0, spec.name.1, spec.form.0, spec.about.0] {
            assert!(page.contains(text), "{}: {text}", spec.path);
        }
    }
}
