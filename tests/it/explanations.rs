//! Why an activity failed, whose data it is about and what to do next, wherever it is told.

use std::process::Stdio;

use pcsid_watch::domain::next_step::{NextStep, Withholding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::helpers::{Ran, Reply, Server, Setup, TOKEN, VAT, eventually, http_client};

/// A failure whose checks say this.
fn failed(standard: &str, simplified: &str) -> Reply {
    let body = json!({
        "ActivityType": "ZATCA_COMPLIANCE_INVOICE", "Status": "FAILED",
        "CreatedAt": "2026-05-26T08:14:46.512Z", "UpdatedAt": "2026-05-26T08:15:46.512Z",
        "CompletedAt": "2026-05-26T08:15:46.512Z",
        "RequestMetaInfo": {"TotalCount": 2, "SuccessCount": 0, "FailureCount": 2},
        "ResponseInfo": {"ResponseMetaData": {
            "PcsidGenerated": "FAILED", "StandardTaxInvoice": standard, "SimplifiedTaxInvoice": simplified}},
        "ErrorList": [{"ErrorCode": "6002", "ErrorMessage": "the device is there already", "ErrorSource": "ZATCA"}],
    });
    Reply::new(500, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_waits_the_view_names_the_step_that_the_program_decides_on() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    daemon.stop().await;
    for combination in 0..16 {
        let [is_unserved, is_credential_held, is_vat_held, has_stalled] =
            [1, 2, 4, 8].map(|bit| combination & bit != 0);
        let time = |is_set: bool| if is_set { "1779786131000" } else { "NULL" };
        let credential = if is_unserved { "NULL" } else { "(SELECT min(name) FROM credentials)" };
        for change in [
            format!("UPDATE credentials SET held_since = {}", time(is_credential_held)),
            format!("UPDATE vats SET held_since = {}, credential = {credential}", time(is_vat_held)),
            format!("UPDATE activities SET stalled_at = {}", time(has_stalled)),
        ] {
            setup.execute(&change).await;
        }
        let withheld = Withholding::of(is_unserved, is_credential_held, is_vat_held);
        let decided = NextStep::while_waiting(withheld, has_stalled);
        let shown: Value = serde_json::from_str(&setup.ok(&["show", "act-1", "--format", "json"])).unwrap();
        let shown = ["next_step", "next_step_ar", "next_step_kind"].map(|column| shown[0][column].clone());
        let decided = match decided {
            Some(step) => [json!(step.text.en), json!(step.text.ar), json!(step.kind)],
            None => [Value::Null, Value::Null, Value::Null],
        };
        assert_eq!(shown, decided, "{combination:04b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_tells_owner_meaning_remedy_and_next_step_in_both_languages_everywhere() {
    let upstream = Server::start(|_| {
        failed("BR-KSA-37: Building number,BR-KSA-09: Address", "br-co-15 : totals, لا أكثر")
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;
    let data = &event["data"];
    let step = &data["next_step"];
    assert_eq!(
        (&step["kind"], &step["owner"]),
        (&json!("correct-and-register-again"), &json!("registration"))
    );
    let english = step["en"].as_str().unwrap();
    for part in ["building number", "organisation's address", "one-time password", "ClearTax ticket"] {
        assert!(english.contains(part), "{english}");
    }
    assert!(step["ar"].as_str().unwrap().contains("رقم المبنى"));
    let error = &data["checks"][0]["errors"][0];
    assert_eq!((&error["rule"], &error["owner"]), (&json!("BR-KSA-37"), &json!("registration")));
    for key in ["meaning", "remedy"] {
        assert!(error[key]["en"].is_string() && error[key]["ar"].is_string(), "{error}");
    }
    assert_eq!(data["checks"][3]["errors"][0]["owner"], "cleartax");
    assert_eq!((&data["errors"][0]["code"], &data["errors"][0]["owner"]), (&json!("6002"), &json!("device")));

    let rows = setup
        .rows("json_array(rule, owner, length(meaning) > 9, length(remedy_ar) > 9) AS r FROM report_check_errors ORDER BY rule")
        .await;
    assert_eq!(
        rows,
        [
            json!(["BR-CO-15", "cleartax", 1, 1]),
            json!(["BR-KSA-09", "registration", 1, 1]),
            json!(["BR-KSA-37", "registration", 1, 1])
        ]
    );
    assert_eq!(
        setup.rows("json_array(next_step, next_step_ar) AS r FROM report_activities").await,
        [json!([step["en"], step["ar"]])]
    );
    let owners = "SELECT count(*) FROM report_rules WHERE owner IS NOT NULL AND meaning IS NOT NULL";
    assert_eq!(setup.number(owners).await, 4, "with the listed one");

    let unfolded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let story = unfolded(&setup.ok(&["show", "act-1"]));
    assert!(story.contains(english) && story.contains("→ Your registration details: "), "{story}");
    assert!(story.contains("BR-CO-15 (error)") && story.contains("6002 (may block)"), "{story}");
    let arabic = unfolded(&setup.ok(&["show", "act-1", "--lang", "ar"]));
    assert!(arabic.contains(step["ar"].as_str().unwrap()) && !arabic.contains(english), "{arabic}");
    assert!(arabic.contains("← بيانات التسجيل لديك: ") && arabic.contains("BR-CO-15 (خطأ)"), "{arabic}");
    let rules = setup.ok(&["report", "rules", "--format", "csv"]);
    for line in ["6002,ErrorList,1,1", "BR-CO-15,SimplifiedTaxInvoice,1,1"] {
        assert!(rules.contains(line), "{rules}");
    }
    let worst = |line: &str| line.starts_with("BR-CO-15,") && line.trim_end().ends_with(",error");
    assert!(rules.contains(",severity") && rules.lines().any(worst), "{rules}");
    let listed =
        "json_array(entry, error_code, rule, severity, owner, length(meaning) > 9) AS r FROM report_errors";
    assert_eq!(setup.rows(listed).await, [json!([1, "6002", "6002", "unknown", "device", 1])]);
    let bundle: Value = serde_json::from_str(&setup.ok(&["evidence", "act-1"])).unwrap();
    assert_eq!(bundle["content"]["checks"][0]["errors"][0]["severity"], "unknown");
    assert!(setup.ok(&["report", "rules"]).contains("Your registration details"));
    let arabic = unfolded(&setup.ok(&["report", "rules", "--lang", "ar"]));
    assert!(arabic.contains("بيانات التسجيل لديك") && !arabic.contains("registration"), "{arabic}");
    assert_eq!(bundle["content"]["errors"][0]["owner"], "device");
    let printed = setup.ok(&["evidence", "act-1", "--format", "html", "--lang", "ar"]);
    assert!(printed.contains("قد يكون مانعًا") && printed.contains("بيانات التسجيل لديك"), "{printed}");

    let client = http_client();
    let page = async |path: &str, cookie: &str| {
        let request = client.get(format!("{}{path}", daemon.url())).header("cookie", cookie);
        let response = request.send().await.unwrap();
        let cookie = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
        (response.text().await.unwrap(), cookie)
    };
    let path = format!("/activities/act-1?vat={VAT}");
    let (english_page, cookie) = page(&path, "").await;
    assert!(english_page.contains(english) && cookie.is_none());
    let (arabic_page, cookie) = page(&format!("{path}&lang=ar"), "").await;
    assert!(arabic_page.contains(step["ar"].as_str().unwrap()) && arabic_page.contains("dir=\"rtl\""));
    let (kept, _) = page(&path, cookie.unwrap().split(';').next().unwrap()).await;
    assert!(kept.contains(step["ar"].as_str().unwrap()), "the choice is kept");
    let metrics = http_client().get(daemon.url() + "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pcsid_watch_check_errors_total{owner=\"registration\"} 2"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_failure_tells_what_to_do_as_well() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "odd" => Reply::refused(),
        "good" => Reply::succeeded(),
        _ if seen.headers["vat"] != VAT => Reply::new(403, ""),
        _ => Reply::in_progress(),
    })
    .await;
    let schedule = "[schedule]\ninitial_interval = \"20ms\"\nmax_interval = \"100ms\"\nstalled_after = \"300ms\"\ngive_up_after = \"5s\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    // Their age counts from here, so that the daemon is there already.
    let daemon = setup.start().await;
    setup.add(VAT, &["odd", "good", "slow"]);
    setup.add("399999999900003", &["held"]);
    let step = async |id: &str| setup.show(id)["next_step"].as_str().unwrap_or_default().to_owned();
    eventually("the slow one stalls", || async {
        step("slow").await.contains("longer than usual").then_some(())
    })
    .await;
    assert!(step("held").await.contains("not Admin for this VAT"));
    setup.reaches("odd", "REJECTED").await;
    assert!(step("odd").await.contains("does not know this id"));
    setup.reaches("slow", "EXPIRED").await;
    assert!(step("slow").await.contains("retry the activity"));
    assert_eq!(step("good").await, "");
    setup.reaches("held", "EXPIRED").await;
    assert!(
        step("held").await.contains("not Admin for this VAT")
            && step("held").await.contains("retry it afterwards")
    );
    let of_steps = "json_array(activity_id, next_step_kind, next_step_owner) AS r FROM report_activities ORDER BY activity_id";
    assert_eq!(
        setup.rows(of_steps).await,
        [
            json!(["good", null, null]),
            json!(["held", "grant-admin", null]),
            json!(["odd", "check-activity-id", null]),
            json!(["slow", "ask-cleartax", null])
        ]
    );
    let kinds: Vec<(String, Value)> = daemon
        .events()
        .iter()
        .map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"]["next_step"]["kind"].clone()))
        .collect();
    for (kind, step) in [
        ("pcsid.generation.succeeded", json!(null)),
        ("pcsid.activity.rejected", json!("check-activity-id")),
        ("pcsid.activity.stalled", json!("wait-or-ask-cleartax")),
        ("upstream.vat.held", json!("grant-admin")),
        // While it is held, what holds it is what has to be told.
        ("pcsid.activity.stalled", json!("grant-admin")),
        ("pcsid.activity.expired", json!("grant-admin")),
        ("pcsid.activity.expired", json!("ask-cleartax")),
    ] {
        assert!(kinds.contains(&(kind.to_owned(), step)), "{kind}: {kinds:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_s_attempts_are_compared() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "first" => failed("BR-KSA-37: a,BR-KSA-66: b", "SUCCEEDED"),
        "second" => failed("BR-KSA-66: b", "BR-CO-15: c"),
        _ => Reply::succeeded(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    for id in ["first", "second", "third"] {
        setup.ok(&["add", "--vat", VAT, "--device-id", "till 7", id]);
        setup.reaches(id, if id == "third" { "SUCCEEDED" } else { "FAILED" }).await;
    }
    assert_eq!(setup.show("first")["former_attempt"], json!(null));
    let second = setup.show("second");
    assert_eq!(second["former_attempt"]["activity_id"], "first");
    assert_eq!(
        second["former_attempt"]["rules"],
        json!({"fixed": ["BR-KSA-37"], "new": ["BR-CO-15"], "remaining": ["BR-KSA-66"]})
    );
    let story = setup.ok(&["show", "second"]);
    assert!(story.contains("No longer broken: BR-KSA-37"), "{story}");
    let devices = setup
        .rows("json_array(device_id, attempts, attempts_until_pcsid, latest_activity_id, latest_state, last_failure_owner) AS r FROM report_devices")
        .await;
    assert_eq!(devices, [json!(["till 7", 3, 3, "third", "SUCCEEDED", "cleartax"])]);
    assert!(setup.ok(&["report", "devices", "--format", "csv"]).contains("till 7,3,3"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_holds_the_answer_as_it_came_and_a_hash_that_anyone_can_check_but_no_secret() {
    // Upstream quotes the token, plainly and escaped.
    let echo = format!("BR-KSA-37: sent with {TOKEN}");
    let upstream = Server::start(move |_| failed(&echo, "SUCCEEDED")).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "FAILED").await;
    daemon.stop().await;
    let text = setup.ok(&["evidence", "act-1"]);
    assert!(!text.contains(TOKEN), "{text}");
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["format"], "pcsid-watch/evidence/1");
    let content = &bundle["content"];
    let answer = &content["final_answer"];
    assert_eq!((&answer["http_status"], &answer["is_cut"]), (&json!(500), &json!(false)));
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["ErrorList"][0]["ErrorCode"], "6002");
    assert_eq!(content["checks"].as_array().unwrap().len(), 6);
    assert_eq!(content["request"]["url"], format!("{}/onboarding/act-1/pcsid-status", upstream.url()));
    // Written with sorted keys and no white space, by another writer than ours.
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut keys: Vec<_> = fields.keys().cloned().collect();
                keys.sort();
                Value::Object(keys.into_iter().map(|key| (key.clone(), sorted(&fields[&key]))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            plain => plain.clone(),
        }
    }
    let canonical = serde_json::to_string(&sorted(content)).unwrap();
    let digest: String =
        Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bundle["sha256"], digest);
    assert_eq!(serde_json::from_str::<Value>(&setup.ok(&["evidence", "act-1"])).unwrap()["sha256"], digest);

    let page = setup.ok(&["evidence", "act-1", "--format", "html", "--lang", "ar"]);
    assert!(
        page.contains(&digest) && page.contains("<html lang=\"ar\" dir=\"rtl\">") && !page.contains(TOKEN)
    );
    assert!(!page.contains("<script") && !page.contains("http-equiv"));
    let unknown = setup.run(&["evidence", "act-2"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("act-2"), "{}", unknown.stderr);
}

#[test]
fn explain_takes_codes_a_text_or_standard_input() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let by_code = setup.ok(&["explain", "br-ksa-17", "BR-KSA-999"]);
    assert!(
        by_code.starts_with("BR-KSA-17\n  Severity    error\n  Whose data  ClearTax (cleartax)")
            && by_code.contains("not in the catalogue"),
        "{by_code}"
    );
    let json_of = |arguments: &[&str]| -> Value {
        serde_json::from_str(&setup.ok(&[&["explain", "--format", "json"], arguments].concat())).unwrap()
    };
    let told = json_of(&["--text", "BR-KSA-37: four digits,BR-KSA-66: five"]);
    assert_eq!(told.as_array().unwrap().len(), 2);
    assert_eq!((&told[0]["rule"], &told[0]["message"]), (&json!("BR-KSA-37"), &json!("four digits")));
    assert!(told[0]["meaning"]["ar"].is_string() && told[0]["is_known"] == true);
    assert_eq!(json_of(&["--text", "nothing to see"])[0]["rule"], json!(null));
    let arabic = setup.ok(&["explain", "BR-KSA-37", "--lang", "ar"]);
    assert!(arabic.contains("رقم المبنى") && arabic.contains("بيانات التسجيل لديك"), "{arabic}");
    let hyphen = setup.ok(&["explain", "--text", "- BR-DEC-14 x"]);
    assert!(hyphen.starts_with("BR-DEC-14\n  Severity    warning"), "{hyphen}");
    let told = json_of(&["--text", "certificate-permissions : the CSID does not cover simplified documents"]);
    assert_eq!((&told[0]["variant"], &told[0]["severity"]), (&json!("invoice-type"), &json!("error")));
    assert!(
        setup
            .ok(&["explain", "BR-KSA-37", "--format", "csv"])
            .starts_with("rule,message,is_known,severity,owner,meaning,remedy")
    );

    use std::io::Write as _;
    let mut piped = setup.command(&["explain"]);
    let mut child =
        piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("Invalid-OTP : no".as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert!(
        ran.code == 0
            && ran.stdout.contains("Invalid-OTP\n  Severity    error\n  Whose data  The device (device)"),
        "{}",
        ran.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_users_are_found_and_told_and_a_bad_file_is_refused_with_its_place() {
    let upstream = Server::start(|_| failed("House-Rule : no, BR-KSA-37: x", "SUCCEEDED")).await;
    let more = "[catalogue]\nfile = \"rules.toml\"\n[ui]\nlanguage = \"ar\"\n";
    let setup = Setup::new(&upstream.url(), more);
    let rule = |owner: &str| {
        format!(
            "[remedies.call]\nen = \"Call us.\"\nar = \"اتصل بنا.\"\n[[rules]]\ncode = \"House-Rule\"\nfamily = \"onboarding\"\n\
             severity = \"error\"\nconcerns = \"other\"\napplies_to = \"all\"\nowner = \"{owner}\"\nremedy = \"call\"\n\
             en = \"Ours.\"\nar = \"قاعدتنا.\"\n"
        )
    };
    let refused = setup.run(&["explain", "House-Rule"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("catalogue.file: تتعذّر قراءة `rules.toml`"),
        "{}",
        refused.stderr
    );
    std::fs::write(setup.path("rules.toml"), rule("me")).unwrap();
    let refused = setup.run(&["config", "check"]);
    assert!(refused.code == 2 && refused.stderr.contains("unknown variant `me`"), "{}", refused.stderr);

    std::fs::write(setup.path("rules.toml"), rule("zatca")).unwrap();
    assert!(setup.ok(&["explain", "house-rule"]).contains("قاعدتنا."), "ui.language");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "FAILED").await;
    daemon.stop().await;
    let owner = "json_array(owner, meaning) AS r FROM report_check_errors WHERE rule = 'House-Rule'";
    assert_eq!(setup.rows(owner).await, [json!(["zatca", "Ours."])]);

    // Another file, another telling, of what is there already too.
    std::fs::write(setup.path("rules.toml"), rule("device").replace("Ours.", "Theirs.")).unwrap();
    setup.start().await.stop().await;
    assert_eq!(setup.rows(owner).await, [json!(["device", "Theirs."])]);
}
