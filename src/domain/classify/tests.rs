//! Every row of the answer table, and what is beside it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::catalogue::Catalogue;
use crate::domain::report::{CHECK_NAMES, CheckOutcome, ListedError};
use crate::domain::time::Timestamp;

const IN_PROGRESS: &str = include_str!("../../../tests/fixtures/in_progress.200.json");
const SUCCEEDED: &str = include_str!("../../../tests/fixtures/succeeded.200.json");
const STANDARD_ONLY: &str = include_str!("../../../tests/fixtures/succeeded_standard_only.200.json");
const WITHOUT_PCSID: &str = include_str!("../../../tests/fixtures/succeeded_without_pcsid.200.json");
const FAILED: &str = include_str!("../../../tests/fixtures/failed.500.json");
const REFUSED: &str = include_str!("../../../tests/fixtures/rejected.400.json");

const HTML: &str = "<html>\n<body><h1>Status: SUCCEEDED</h1></body>\n</html>";
const META: &str = "/ResponseInfo/ResponseMetaData";

fn verdict(http_status: u16, body: impl AsRef<[u8]>) -> Verdict {
    verdict_after(http_status, None, body)
}

fn verdict_after(http_status: u16, retry_after: Option<Duration>, body: impl AsRef<[u8]>) -> Verdict {
    let answer = Answer::Reply { http_status, retry_after, body: body.as_ref().to_vec() };
    let observation = classify(&answer, Catalogue::builtin().codes());
    assert_eq!(observation.http_status, Some(http_status));
    observation.verdict
}

/// What is kept of a body that concludes.
#[track_caller]
fn kept(http_status: u16, body: impl AsRef<[u8]>) -> FinalBody {
    let answer = Answer::Reply { http_status, retry_after: None, body: body.as_ref().to_vec() };
    classify(&answer, Catalogue::builtin().codes()).final_body.unwrap()
}

#[track_caller]
fn check(http_status: u16, body: impl AsRef<[u8]>, expected: &str) {
    let verdict = verdict(http_status, body.as_ref());
    let shown: String = String::from_utf8_lossy(body.as_ref()).chars().take(400).collect();
    assert_eq!(verdict.label(), expected, "HTTP {http_status} with {shown}\n{verdict:?}");
    let labels = match verdict.is_usable() {
        true => Verdict::USABLE_LABELS.to_vec(),
        false => TransientKind::ALL.map(TransientKind::label).to_vec(),
    };
    assert!(labels.contains(&expected), "{expected} has no series from the start");
}

/// A body that is not to be trusted, under each status whose body counts.
#[track_caller]
fn check_untrusted(body: impl AsRef<[u8]>) {
    check(200, &body, "invalid_response");
    check(500, &body, "server_error");
    check(400, &body, "unexpected_status");
}

/// The body with one value replaced or added; the pointer is RFC 6901's.
fn with(body: &str, pointer: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(body).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
    document.to_string()
}

fn without(body: &str, pointer: &str) -> String {
    let mut document: Value = serde_json::from_str(body).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(key).unwrap();
    document.to_string()
}

#[track_caller]
fn concluded(http_status: u16, body: &str) -> (Report, Findings) {
    match verdict(http_status, body) {
        Verdict::Succeeded(report, findings) | Verdict::Failed(report, findings) => (report, findings),
        other => panic!("HTTP {http_status} with {body} does not conclude: {other:?}"),
    }
}

#[track_caller]
fn detail(http_status: u16, body: impl AsRef<[u8]>) -> String {
    match verdict(http_status, body) {
        Verdict::Transient { detail, .. } => detail,
        other => panic!("not transient: {other:?}"),
    }
}

#[test]
fn every_row_of_the_answer_table_means_what_it_says() {
    for (http_status, body, expected) in [
        (200, IN_PROGRESS, "in_progress"),
        (200, SUCCEEDED, "succeeded"),
        (200, STANDARD_ONLY, "succeeded"),
        (200, WITHOUT_PCSID, "failed"),
        (200, FAILED, "failed"),
        (500, FAILED, "failed"),
        (500, IN_PROGRESS, "server_error"),
        (500, SUCCEEDED, "server_error"),
        (500, WITHOUT_PCSID, "server_error"),
        (500, REFUSED, "server_error"),
        (500, "", "server_error"),
        (200, HTML, "invalid_response"),
        (200, REFUSED, "invalid_response"),
        (400, REFUSED, "refused"),
        (400, HTML, "unexpected_status"),
        (400, IN_PROGRESS, "unexpected_status"),
        (400, "", "unexpected_status"),
        (401, "", "unauthorized"),
        (403, "", "forbidden"),
        (429, "", "throttled"),
        (503, "", "gateway"),
        (502, "", "gateway"),
        (504, "", "gateway"),
        (302, "", "unexpected_status"),
        (404, "", "unexpected_status"),
        (418, "", "unexpected_status"),
        (204, "", "unexpected_status"),
        (501, "", "unexpected_status"),
    ] {
        check(http_status, body, expected);
    }
}

#[test]
fn bodies_are_read_only_under_200_400_and_500() {
    for body in [SUCCEEDED, FAILED, WITHOUT_PCSID, IN_PROGRESS, REFUSED, HTML] {
        for http_status in [100, 101, 201, 202, 204, 206, 207, 402, 404, 405, 408, 410, 422, 501, 505, 599] {
            check(http_status, body, "unexpected_status");
        }
        for http_status in 300..400 {
            check(http_status, body, "unexpected_status");
        }
        for http_status in [502, 503, 504] {
            check(http_status, body, "gateway");
        }
        check(401, body, "unauthorized");
        check(403, body, "forbidden");
        check(429, body, "throttled");
    }
    assert!(detail(302, "").contains("redirect"), "an operator is told what to look at");
}

#[test]
fn an_error_page_is_never_trusted_whatever_its_words() {
    check_untrusted(HTML);
    check(404, HTML, "unexpected_status");
    check(502, HTML, "gateway");
    check(503, HTML, "gateway");
    check(504, HTML, "gateway");
    assert!(detail(200, HTML).contains("<h1>Status: SUCCEEDED</h1>"), "it is kept for diagnosis");
}

#[test]
fn bodies_that_are_no_json_object_are_never_trusted() {
    for body in [
        "",
        " \r\n\t",
        "null",
        "true",
        "6",
        "[]",
        "{}",
        "\"SUCCEEDED\"",
        "SUCCEEDED",
        "{\"Status\":\"SUCCEEDED\",}",
        "{'Status':'SUCCEEDED'}",
        "{\"Status\":\"SUCCEEDED\"} // done",
        "{\"Status\":\"SUCCEEDED\"}{\"Status\":\"SUCCEEDED\"}",
        "{\"Status\":\"SUCCEEDED\"}\0",
        "{\"Status\":\"SUCCEEDED\",\"RequestMetaInfo\":{\"TotalCount\":NaN}}",
        "{\"Status\":\"SUCCEEDED\",\"RequestMetaInfo\":{\"TotalCount\":1e999}}",
        "[{\"Status\":\"SUCCEEDED\"}]",
        "{\"Response\":{\"Status\":\"SUCCEEDED\"}}",
    ] {
        check_untrusted(body);
    }
}

#[test]
fn an_array_of_the_fields_in_their_order_is_no_object() {
    let kind = PCSID_ACTIVITY_TYPE;
    check_untrusted(json!([kind, "SUCCEEDED", null, null, null, null, null, null]).to_string());
    check_untrusted(json!([kind, "FAILED", null, null, null, null, null, null]).to_string());
    check_untrusted(json!([[{ "ErrorCode": "6004" }]]).to_string());
    check_untrusted(json!({ "ErrorList": [["6004", "no such id", "CLEARTAX"]] }).to_string());
    check(200, with(SUCCEEDED, "/RequestMetaInfo", json!([6, 6, 0])), "invalid_response");
    check(200, with(SUCCEEDED, "/RequestMetaInfo", json!([])), "invalid_response");
    check(200, with(SUCCEEDED, "/ResponseInfo", json!([null])), "invalid_response");
    check(200, with(SUCCEEDED, META, json!(["GENERATED", "", "", "", "", "", ""])), "invalid_response");
}

#[test]
fn a_body_cut_short_anywhere_is_never_trusted() {
    for body in [SUCCEEDED.trim_end(), FAILED.trim_end(), REFUSED.trim_end()] {
        for end in 0..body.len() {
            check_untrusted(&body.as_bytes()[..end]);
        }
    }
}

#[test]
fn bytes_that_are_no_utf8_decide_nothing_and_are_replaced_in_what_is_kept() {
    let with_junk =
        |body: &str, at: usize, junk: &[u8]| [&body.as_bytes()[..at], junk, &body.as_bytes()[at..]].concat();
    for junk in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xc7\xe1\xd1\xde\xe3"] {
        // In a message, or a value that nobody reads.
        for (http_status, body, place, expected) in [
            (200, FAILED, "Two", "failed"),
            (500, FAILED, "Two", "failed"),
            (400, REFUSED, "No", "refused"),
            (200, "{\"Status\":\"SUCCEEDED\",\"Note\":\"x\"}", "x", "succeeded"),
        ] {
            let damaged = with_junk(body, body.find(place).unwrap(), junk);
            check(http_status, &damaged, expected);
            let kept = kept(http_status, &damaged);
            assert!(kept.is_repaired && kept.text.contains(char::REPLACEMENT_CHARACTER), "{kept:?}");
        }
        // In a value that decides, in a key, or outside of texts.
        for (body, place) in [
            (SUCCEEDED, "GENERATED"),
            (SUCCEEDED, "SUCCEEDED"),
            (FAILED, "ZATCA_COMPLIANCE"),
            (FAILED, "ErrorSource"),
            (SUCCEEDED, "PcsidGenerated"),
            (FAILED, "{"),
        ] {
            let damaged = with_junk(body, body.find(place).unwrap(), junk);
            check(200, &damaged, "invalid_response");
            check(500, &damaged, "server_error");
        }
        check_untrusted(with_junk(REFUSED, REFUSED.find("ErrorList").unwrap(), junk));
        let escaped = b"{\"Status\":\"SUCCEEDED\",\"a\\\\\\\"".to_vec();
        check_untrusted([&escaped, junk, b"\" : 1}"].concat());
    }
    assert!(!kept(200, FAILED).is_repaired);
    check(200, b"\x1f\x8b\x08\x00 compressed", "invalid_response");
    let utf16: Vec<u8> = SUCCEEDED.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check_untrusted(utf16);
}

#[test]
fn nesting_neither_breaks_the_reader_nor_concludes_in_place_of_a_value() {
    let deep = |n: usize, open: &str, inner: &str, close: &str| open.repeat(n) + inner + &close.repeat(n);
    check_untrusted("[".repeat(100_000));
    check_untrusted("{\"Status\":".repeat(20_000));
    check_untrusted(deep(50_000, "[", "", "]"));
    check_untrusted(deep(20_000, "{\"Status\":", "\"SUCCEEDED\"", "}"));
    check_untrusted(format!("{{\"Status\":{}}}", deep(50_000, "[", "\"SUCCEEDED\"", "]")));
    check_untrusted(format!("{{\"Status\":\"FAILED\",\"ErrorList\":{}}}", deep(50_000, "[", "{}", "]")));
    // An unknown key is passed over at any depth.
    let extra = deep(50_000, "[", "", "]");
    check(200, format!("{{\"Status\":\"IN_PROGRESS\",\"Trace\":{extra}}}"), "in_progress");
}

#[test]
fn a_wrong_type_anywhere_makes_the_whole_body_untrusted() {
    let texts = ["/ActivityType", "/Status", "/CreatedAt", "/UpdatedAt", "/CompletedAt"].map(str::to_owned);
    let meta = ["PcsidGenerated"].into_iter().chain(CHECK_NAMES).map(|name| format!("{META}/{name}"));
    let listed = ["Code", "Message", "Source"].map(|part| format!("/ErrorList/0/Error{part}"));
    for pointer in texts.into_iter().chain(meta).chain(listed) {
        for value in [json!(6), json!(6.5), json!(true), json!([]), json!({}), json!(["SUCCEEDED"])] {
            let body = with(FAILED, &pointer, value);
            check(200, &body, "invalid_response");
            check(500, &body, "server_error");
        }
    }
    for count in ["TotalCount", "SuccessCount", "FailureCount"] {
        for value in [json!("6"), json!(""), json!(6.5), json!(1e300), json!(true), json!([6]), json!({})] {
            check_untrusted(with(SUCCEEDED, &format!("/RequestMetaInfo/{count}"), value));
        }
    }
    for object in ["/RequestMetaInfo", "/ResponseInfo", META] {
        for value in [json!("x"), json!(6), json!(true), json!([])] {
            check_untrusted(with(SUCCEEDED, object, value));
        }
    }
    for value in [json!("x"), json!({}), json!(6), json!([null]), json!(["6010"]), json!([{}, 6])] {
        let body = with(FAILED, "/ErrorList", value);
        check(200, &body, "invalid_response");
        check(500, &body, "server_error");
        check(400, &body, "unexpected_status");
    }
}

#[test]
fn a_wrong_type_is_placed_without_quoting_the_value() {
    let secret = "s3cret".repeat(30_000);
    let shown = detail(200, format!("{{\"Status\":\"FAILED\",\"ErrorList\":\"{secret}\"}}"));
    assert!(shown.starts_with("a field has a wrong type or stands twice, near column "), "{shown}");
    assert!(shown.chars().count() < 400, "{shown}");
}

#[test]
fn an_unknown_status_is_kept_verbatim_and_concludes_nothing() {
    let long = "Z".repeat(MAX_STATUS_CHARS + 1);
    for status in ["ARCHIVED", "succeeded", " SUCCEEDED", "SUCCEEDED\n", "FAILED ", "", "قيد التنفيذ", &long]
    {
        for http_status in [200, 500] {
            let body = with(SUCCEEDED, "/Status", json!(status));
            let Verdict::Transient { unknown_status: Some(kept), detail, .. } = verdict(http_status, body)
            else {
                panic!("{status:?} is not transient under {http_status}");
            };
            assert_eq!(kept, status.chars().take(MAX_STATUS_CHARS).collect::<String>());
            assert!(detail.contains("is not known"), "{detail}");
        }
    }
}

#[test]
fn a_status_that_is_missing_or_null_concludes_nothing() {
    check_untrusted(without(SUCCEEDED, "/Status"));
    check_untrusted(with(SUCCEEDED, "/Status", Value::Null));
    check_untrusted(SUCCEEDED.replace("Status", "status"));
    assert!(detail(200, without(SUCCEEDED, "/Status")).starts_with("Status is missing"));
}

#[test]
fn another_activity_type_concludes_nothing_and_a_missing_one_is_no_other() {
    for other in ["ZATCA_REPORTING", "zatca_compliance_invoice", "ZATCA_COMPLIANCE_INVOICE ", ""] {
        check_untrusted(with(SUCCEEDED, "/ActivityType", json!(other)));
        check(500, with(FAILED, "/ActivityType", json!(other)), "server_error");
        assert!(detail(200, with(SUCCEEDED, "/ActivityType", json!(other))).starts_with("ActivityType is "));
    }
    check(200, without(SUCCEEDED, "/ActivityType"), "succeeded");
    check(200, with(SUCCEEDED, "/ActivityType", Value::Null), "succeeded");
}

#[test]
fn a_key_given_twice_makes_the_whole_body_untrusted() {
    for (once, twice) in [
        ("\"Status\": \"FAILED\"", "\"Status\": \"SUCCEEDED\", \"Status\": \"FAILED\""),
        ("\"Status\": \"FAILED\"", "\"Status\": \"FAILED\", \"Status\": \"FAILED\""),
        ("\"ActivityType\": ", "\"ActivityType\": \"X\", \"ActivityType\": "),
        ("\"TotalCount\": 6", "\"TotalCount\": 6, \"TotalCount\": 6"),
        ("\"ResponseInfo\": ", "\"ResponseInfo\": null, \"ResponseInfo\": "),
        ("\"PcsidGenerated\": ", "\"PcsidGenerated\": \"GENERATED\", \"PcsidGenerated\": "),
        ("\"SimplifiedTaxInvoice\": ", "\"SimplifiedTaxInvoice\": null, \"SimplifiedTaxInvoice\": "),
        ("\"ErrorList\": ", "\"ErrorList\": [], \"ErrorList\": "),
        ("\"ErrorCode\": ", "\"ErrorCode\": \"1\", \"ErrorCode\": "),
    ] {
        let body = FAILED.replacen(once, twice, 1);
        assert_ne!(body, FAILED);
        check(200, &body, "invalid_response");
        check(500, &body, "server_error");
    }
    check_untrusted("{\"ErrorList\":[],\"ErrorList\":[{\"ErrorCode\":\"6004\"}]}");
    check(200, "{\"Status\":\"IN_PROGRESS\",\"X\":1,\"X\":2}", "in_progress");
}

#[test]
fn missing_and_null_fields_are_reported_as_not_said() {
    for body in [
        json!({ "Status": "SUCCEEDED" }),
        json!({ "Status": "SUCCEEDED", "RequestMetaInfo": {}, "ResponseInfo": {} }),
        json!({ "Status": "SUCCEEDED", "RequestMetaInfo": null, "ResponseInfo": null, "ErrorList": null }),
        json!({ "Status": "SUCCEEDED", "ResponseInfo": { "ResponseMetaData": {} }, "ErrorList": [] }),
        json!({ "Status": "SUCCEEDED", "RequestMetaInfo": { "TotalCount": null }, "CompletedAt": null }),
        json!({ "Status": "SUCCEEDED", "ResponseInfo": { "ResponseMetaData": { "PcsidGenerated": null } } }),
    ] {
        let (report, findings) = concluded(200, &body.to_string());
        let expected = Report { upstream_status: Some("SUCCEEDED".to_owned()), ..Report::default() };
        assert_eq!((report, findings), (expected, Findings::default()), "{body}");
    }
}

#[test]
fn unknown_fields_are_passed_over_wherever_they_stand() {
    for pointer in
        ["/Note", "/RequestMetaInfo/Note", "/ResponseInfo/Note", &format!("{META}/Note"), "/ErrorList/0/Note"]
    {
        for value in [json!(null), json!(1), json!("FAILED"), json!([{ "Status": "IN_PROGRESS" }])] {
            let (report, findings) = concluded(500, &with(FAILED, pointer, value));
            assert_eq!((report, findings), concluded(500, FAILED), "{pointer}");
        }
    }
}

#[test]
fn a_documented_answer_is_kept_whole() {
    let (report, findings) = concluded(500, FAILED);
    let completed_at = Timestamp::parse_lenient("2026-03-02T09:46:30Z");
    assert_eq!(
        report,
        Report {
            upstream_status: Some("FAILED".to_owned()),
            pcsid_generated: Some("FAILED".to_owned()),
            total_count: Some(6),
            success_count: Some(4),
            failure_count: Some(2),
            created_at: Timestamp::parse_lenient("2026-03-02T09:45:00Z"),
            updated_at: completed_at,
            completed_at,
        }
    );
    let outcomes: Vec<_> = findings.checks.iter().map(|check| (check.name, check.outcome)).collect();
    let expected = CHECK_NAMES.map(|name| match name {
        "StandardTaxInvoiceCredit" | "SimplifiedTaxInvoiceDebit" => (name, CheckOutcome::Failed),
        _ => (name, CheckOutcome::Succeeded),
    });
    assert_eq!(outcomes, expected);
    assert_eq!(
        findings.checks[1].message.as_deref(),
        Some("BR-KSA-17 : the note gives no reason for being issued")
    );
    assert_eq!(findings.checks[0].message, None);
    let listed = ListedError {
        error_code: Some("6010".to_owned()),
        error_message: Some("Two sample invoices did not pass".to_owned()),
        error_source: Some("ZATCA".to_owned()),
        ..ListedError::default()
    };
    assert_eq!(findings.errors, [listed]);
}

#[test]
fn progress_is_reported_without_counting_as_an_end() {
    let Verdict::InProgress(report) = verdict(200, IN_PROGRESS) else { panic!("not in progress") };
    assert_eq!(report.upstream_status.as_deref(), Some("IN_PROGRESS"));
    assert_eq!(report.created_at.map(|at| at.to_string()).as_deref(), Some("2026-03-02T06:00:00.250Z"));
    assert_eq!(report.completed_at, None);
    assert_eq!(report.pcsid_generated, None);
}

#[test]
fn checks_that_upstream_leaves_out_are_not_reported() {
    let (_, findings) = concluded(200, STANDARD_ONLY);
    let names: Vec<_> = findings.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, CHECK_NAMES[..3]);
    let all = findings.all_checks().map(|check| (check.name, check.outcome.label()));
    let expected = CHECK_NAMES
        .map(|name| (name, if name.starts_with("Standard") { "SUCCEEDED" } else { "NOT_REPORTED" }));
    assert_eq!(all, expected);
}

#[test]
fn only_a_failed_pcsid_turns_a_success_into_a_failure() {
    let pointer = format!("{META}/PcsidGenerated");
    for (pcsid, expected) in [
        (json!("GENERATED"), "succeeded"),
        (json!("FAILED"), "failed"),
        (Value::Null, "succeeded"),
        (json!("PENDING"), "succeeded"),
        (json!(""), "succeeded"),
    ] {
        check(200, with(SUCCEEDED, &pointer, pcsid.clone()), expected);
        check(200, with(FAILED, &pointer, pcsid.clone()), "failed");
        check(
            200,
            with(&with(FAILED, &pointer, pcsid.clone()), "/Status", json!("IN_PROGRESS")),
            "in_progress",
        );
        check(500, with(FAILED, &pointer, pcsid), "failed");
    }
}

#[test]
fn counts_and_checks_that_contradict_the_status_change_no_conclusion() {
    let (report, _) = concluded(200, &with(SUCCEEDED, "/RequestMetaInfo/FailureCount", json!(6)));
    assert_eq!((report.success_count, report.failure_count), (Some(6), Some(6)));
    check(200, with(SUCCEEDED, &format!("{META}/StandardTaxInvoice"), json!("BR-S-08 : no")), "succeeded");
    check(200, with(SUCCEEDED, "/Status", json!("FAILED")), "failed");
    check(200, with(SUCCEEDED, "/Status", json!("IN_PROGRESS")), "in_progress");
    for (written, read) in [("6.0", 6), ("-1", -1), ("0", 0), ("6e0", 6), ("9223372036854775807", i64::MAX)] {
        let body = SUCCEEDED.replace("\"TotalCount\": 6", &format!("\"TotalCount\": {written}"));
        assert_eq!(concluded(200, &body).0.total_count, Some(read), "{written}");
    }
}

#[test]
fn a_refusal_needs_an_error_list_that_names_something() {
    for (list, expected) in [
        (json!({}), "unexpected_status"),
        (json!({ "ErrorList": null }), "unexpected_status"),
        (json!({ "ErrorList": [] }), "unexpected_status"),
        (json!({ "ErrorList": [null] }), "unexpected_status"),
        (json!({ "ErrorList": [{ "ErrorCode": 6004 }] }), "unexpected_status"),
        (json!({ "errorList": [{ "ErrorCode": "6004" }] }), "unexpected_status"),
        (json!({ "ErrorList": [{ "ErrorCode": "6004" }] }), "refused"),
        (json!({ "ErrorList": [{ "ErrorMessage": "no such id", "ErrorSource": null }] }), "refused"),
        (json!({ "ErrorList": [{}] }), "refused"),
        (json!({ "ErrorList": [{ "ErrorCode": "6004" }], "TraceId": 7, "Status": 400 }), "refused"),
    ] {
        check(400, list.to_string(), expected);
    }
    let Verdict::Strike(findings) = verdict(400, REFUSED) else { panic!("no strike") };
    assert_eq!(findings.errors[0].error_message.as_deref(), Some("No PCSID activity has this id"));
}

#[test]
fn entries_that_lack_fields_are_kept_as_far_as_they_go() {
    let entry = |code: Option<&str>, message: Option<&str>| ListedError {
        error_code: code.map(str::to_owned),
        error_message: message.map(str::to_owned),
        ..ListedError::default()
    };
    let list = json!([{ "ErrorCode": "1" }, {}, { "ErrorMessage": "why", "ErrorSource": null, "Extra": 1 }]);
    let expected = vec![entry(Some("1"), None), entry(None, None), entry(None, Some("why"))];
    assert_eq!(concluded(500, &with(FAILED, "/ErrorList", list.clone())).1.errors, expected);
    let findings = Findings { errors: expected, ..Findings::default() };
    assert_eq!(verdict(400, json!({ "ErrorList": list }).to_string()), Verdict::Strike(findings));
    for none in [json!([]), Value::Null] {
        assert_eq!(concluded(500, &with(FAILED, "/ErrorList", none)).1.errors, []);
    }
    assert_eq!(concluded(500, &without(FAILED, "/ErrorList")).1.errors, []);
}

#[test]
fn timestamps_are_read_in_every_documented_form_and_left_out_otherwise() {
    for (text, expected) in [
        ("2026-03-02T08:16:10Z", Some("2026-03-02T08:16:10.000Z")),
        ("2026-03-02T08:16:10.5Z", Some("2026-03-02T08:16:10.500Z")),
        ("2026-03-02T08:16:10.123456789Z", Some("2026-03-02T08:16:10.123Z")),
        ("2026-03-02T08:16:10", Some("2026-03-02T08:16:10.000Z")),
        ("2026-03-02T08:16:10.250", Some("2026-03-02T08:16:10.250Z")),
        ("2026-03-02 08:16:10", Some("2026-03-02T08:16:10.000Z")),
        ("2026-03-02 08:16:10.250", Some("2026-03-02T08:16:10.250Z")),
        ("2026-03-02T11:16:10+03:00", Some("2026-03-02T08:16:10.000Z")),
        ("2026-03-02 11:16:10.000+03:00", Some("2026-03-02T08:16:10.000Z")),
        ("1772439370", None),
        ("soon", None),
        ("", None),
        ("2026-02-30T00:00:00Z", None),
    ] {
        let (report, _) = concluded(200, &with(SUCCEEDED, "/CompletedAt", json!(text)));
        assert_eq!(report.completed_at.map(|at| at.to_string()).as_deref(), expected, "{text}");
        assert!(report.created_at.is_some(), "one unreadable time spoils no other");
    }
}

#[test]
fn messages_are_kept_to_the_letter() {
    let long = "x, ".repeat(35_000);
    for message in [
        "BR-S-08 : one, two,BR-CO-15 : three, four",
        "الإجمالي غير صحيح، راجع الفاتورة",
        "two\nlines\r\nand a \t tab",
        "\u{1b}]0;title\u{7}\u{1b}[31mred\u{9b}0m \u{202e}desrever",
        "\u{0}",
        "",
        " ",
        "succeeded",
        "SUCCEEDED, but",
        &long,
    ] {
        let body = with(FAILED, &format!("{META}/SimplifiedTaxInvoice"), json!(message));
        let body = with(&body, "/ErrorList/0/ErrorMessage", json!(message));
        let (_, findings) = concluded(500, &body);
        let check =
            findings.all_checks().into_iter().find(|check| check.name == "SimplifiedTaxInvoice").unwrap();
        assert_eq!((check.outcome, check.message.as_deref()), (CheckOutcome::Failed, Some(message)));
        // A listed one is cut if it is very long: the final answer has it whole.
        let listed = findings.errors[0].error_message.as_deref().unwrap();
        assert_eq!(listed.len(), message.len().min(4 * 1024));
        assert!(message.starts_with(listed.strip_suffix('…').unwrap_or(listed)));
    }
    let body = with(FAILED, &format!("{META}/SimplifiedTaxInvoice"), json!(" SUCCEEDED\n"));
    assert_eq!(concluded(500, &body).1.checks[3].outcome, CheckOutcome::Succeeded);
}

#[test]
fn throttling_is_429_or_a_503_that_says_how_long() {
    let pause = Some(Duration::from_secs(17));
    for (http_status, retry_after, expected) in [
        (429, None, "throttled"),
        (429, pause, "throttled"),
        (503, None, "gateway"),
        (503, pause, "throttled"),
        (503, Some(Duration::ZERO), "throttled"),
        (502, pause, "gateway"),
        (500, pause, "server_error"),
        (301, pause, "unexpected_status"),
        (401, pause, "unauthorized"),
    ] {
        let verdict = verdict_after(http_status, retry_after, SUCCEEDED.replace("SUCCEEDED", "X"));
        assert_eq!(verdict.label(), expected, "{http_status} {retry_after:?}");
        if let Verdict::Throttled { retry_after: kept } = verdict {
            assert_eq!(kept, retry_after);
        }
    }
}

#[test]
fn no_reply_is_transient_and_says_why_on_one_short_line() {
    for http_status in [None, Some(200), Some(401)] {
        let answer = Answer::NoReply { http_status, cause: "connection reset".to_owned() };
        let observation = classify(&answer, Catalogue::builtin().codes());
        assert_eq!(observation.http_status, http_status);
        assert_eq!(observation.verdict, transient(TransientKind::NoReply, "connection reset".to_owned()));
    }
    let cause = format!("not valid for names\r\n{}", "evil\u{1b}[2J.example, ".repeat(1_000));
    let Verdict::Transient { detail, .. } =
        classify(&Answer::NoReply { http_status: None, cause }, Catalogue::builtin().codes()).verdict
    else {
        panic!("not transient");
    };
    assert!(detail.starts_with("not valid for names  evil [2J.example"), "{detail}");
    assert_presentable(&detail);
}

#[test]
fn excerpts_are_cut_after_whole_characters_and_say_so() {
    for (body, expected) in [
        ("".to_owned(), "(empty)".to_owned()),
        (" a\n\u{1b}[1mb ".to_owned(), "`a  [1mb`".to_owned()),
        ("é".repeat(MAX_EXCERPT_CHARS), format!("`{}`", "é".repeat(MAX_EXCERPT_CHARS))),
        ("😀".repeat(MAX_EXCERPT_CHARS + 1), format!("`{}…`", "😀".repeat(MAX_EXCERPT_CHARS))),
    ] {
        assert_eq!(excerpt(body.as_bytes()), expected);
    }
}

fn assert_presentable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= 600, "{} characters: {text}", text.chars().count());
}

/// Whether a value has the documented shape: written apart from the reader, over untyped JSON.
fn is_documented(value: &Value) -> bool {
    fn is(value: &Value, key: &str, fits: impl Fn(&Value) -> bool) -> bool {
        value.get(key).is_none_or(|value| value.is_null() || fits(value))
    }
    fn is_list(value: &Value) -> bool {
        let fits = |entry: &Value| {
            entry.is_object()
                && ["ErrorCode", "ErrorMessage", "ErrorSource"]
                    .iter()
                    .all(|key| is(entry, key, Value::is_string))
        };
        value.as_array().is_some_and(|entries| entries.iter().all(fits))
    }
    fn is_meta(value: &Value) -> bool {
        let mut texts = ["PcsidGenerated"].into_iter().chain(CHECK_NAMES);
        value.is_object() && texts.all(|key| is(value, key, Value::is_string))
    }
    let is_counts = |value: &Value| {
        let is_whole = |count: &Value| count.as_f64().is_some_and(|count| count.fract() == 0.0);
        value.is_object()
            && ["TotalCount", "SuccessCount", "FailureCount"].iter().all(|key| is(value, key, is_whole))
    };
    value.is_object()
        && is(value, "ActivityType", |kind| kind == "ZATCA_COMPLIANCE_INVOICE")
        && ["Status", "CreatedAt", "UpdatedAt", "CompletedAt"]
            .iter()
            .all(|key| is(value, key, Value::is_string))
        && is(value, "RequestMetaInfo", is_counts)
        && is(value, "ResponseInfo", |info| info.is_object() && is(info, "ResponseMetaData", is_meta))
        && is(value, "ErrorList", is_list)
}

/// Fails if a verdict concludes without being entitled to by the status and the body.
fn check_entitled(http_status: u16, body: &[u8]) -> Result<(), TestCaseError> {
    let verdict = verdict(http_status, body);
    let document =
        readable(body).and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    let status = document.get("Status").and_then(Value::as_str);
    let pcsid = document.pointer("/ResponseInfo/ResponseMetaData/PcsidGenerated").and_then(Value::as_str);
    let is_entitled = match &verdict {
        Verdict::InProgress(_) => http_status == 200 && status == Some("IN_PROGRESS"),
        Verdict::Succeeded(..) => {
            http_status == 200 && status == Some("SUCCEEDED") && pcsid != Some("FAILED")
        }
        Verdict::Failed(..) => match http_status {
            200 => status == Some("FAILED") || (status == Some("SUCCEEDED") && pcsid == Some("FAILED")),
            500 => status == Some("FAILED"),
            _ => false,
        },
        Verdict::Strike(findings) => http_status == 400 && !findings.errors.is_empty(),
        Verdict::Unauthorized => http_status == 401,
        Verdict::Forbidden => http_status == 403,
        Verdict::Throttled { .. } => http_status == 429,
        Verdict::Transient { detail, unknown_status, .. } => {
            assert_presentable(detail);
            prop_assert!(unknown_status.iter().all(|status| status.chars().count() <= MAX_STATUS_CHARS));
            return Ok(());
        }
    };
    prop_assert!(is_entitled, "HTTP {http_status}: {verdict:?}");
    if let Verdict::InProgress(_) | Verdict::Succeeded(..) | Verdict::Failed(..) = verdict {
        prop_assert!(is_documented(&document), "{document}");
    }
    if let Verdict::Strike(_) = verdict {
        prop_assert!(document.get("ErrorList").is_some_and(Value::is_array), "{document}");
    }
    Ok(())
}

fn any_http_status() -> impl Strategy<Value = u16> {
    prop_oneof![4 => prop::sample::select(vec![200, 400, 500]), 1 => 100..600_u16, 1 => any::<u16>()]
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = ["SUCCEEDED", "FAILED", "IN_PROGRESS", "GENERATED", "ZATCA_COMPLIANCE_INVOICE", ""];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let keys = ["ActivityType", "Status", "CreatedAt", "RequestMetaInfo", "TotalCount", "ResponseInfo"];
    let more =
        ["ResponseMetaData", "PcsidGenerated", "SimplifiedTaxInvoice", "ErrorList", "ErrorCode", "Other"];
    let key = prop::sample::select([keys, more].concat());
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..9).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| Value::from_iter(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value))
            )),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_conclude_unless_documented(
        http_status in any_http_status(), body in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        check_entitled(http_status, &body)?;
    }

    #[test]
    fn no_json_concludes_unless_documented(http_status in any_http_status(), body in any_json()) {
        check_entitled(http_status, body.to_string().as_bytes())?;
    }

    #[test]
    fn no_damage_to_a_documented_body_concludes_unless_it_is_still_documented(
        http_status in any_http_status(),
        body in prop::sample::select(vec![IN_PROGRESS, SUCCEEDED, STANDARD_ONLY, WITHOUT_PCSID, FAILED, REFUSED]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..5),
    ) {
        let mut bytes = body.as_bytes().to_vec();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        check_entitled(http_status, &bytes)?;
    }

    #[test]
    fn no_value_swapped_into_a_documented_body_concludes_unless_it_still_is(
        http_status in any_http_status(),
        pointer in prop::sample::select(vec![
            "/ActivityType", "/Status", "/CreatedAt", "/RequestMetaInfo", "/RequestMetaInfo/TotalCount",
            "/ResponseInfo", META, "/ResponseInfo/ResponseMetaData/PcsidGenerated",
            "/ResponseInfo/ResponseMetaData/SimplifiedTaxInvoice", "/ErrorList", "/ErrorList/0",
            "/ErrorList/0/ErrorCode",
        ]),
        value in any_json(),
    ) {
        check_entitled(http_status, with(FAILED, pointer, value).as_bytes())?;
    }

    #[test]
    fn no_cause_of_silence_breaks_the_line(cause in any::<String>()) {
        let Verdict::Transient { detail, .. } = classify(&Answer::NoReply { http_status: None, cause }, Catalogue::builtin().codes()).verdict
        else {
            return Err(TestCaseError::fail("not transient"));
        };
        assert_presentable(&detail);
    }
}

#[test]
fn half_a_surrogate_pair_and_a_byte_order_mark_decide_nothing() {
    for half in [r"\ud83d", r"\uDE00", r"\ud83d\ud83d\uDE00", r"\uD83D\n", r"\\\ud83d"] {
        let texts = [
            FAILED.replace("FAILED\",", &format!("FAILED\", \"Other{half}\": \"{half}\",")),
            with(FAILED, &format!("{META}/StandardTaxInvoice"), json!("BR-KSA-17 : x HALF y"))
                .replace("HALF", half),
            format!("\u{feff}{FAILED}"),
        ];
        for text in texts {
            let (_, findings) = concluded(500, &text);
            assert!(!findings.checks.is_empty());
        }
        let refused = with(REFUSED, "/ErrorList/0/ErrorMessage", json!("no HALF")).replace("HALF", half);
        check(400, &refused, "refused");
        check(400, format!("\u{feff}{refused}"), "refused");
    }
    // What comes in pairs, and what only looks like an escape, stays as it is.
    for whole in [r"\ud83d\ude00", r"\\ud83d", r"\u0041", r"\ud83", "\\é", "\\"] {
        assert_eq!(without_lone_surrogates(whole), whole);
    }
    assert_eq!(without_lone_surrogates(r"a\ud83d\udE00\uD83dz\udc00"), r"a\ud83d\udE00\ufffdz\ufffd");
    // The text that is kept is upstream's own.
    let text = format!("\u{feff}{}", FAILED.replacen("FAILED", r"FAILED\ud800", 0));
    let answer = Answer::Reply { http_status: 500, retry_after: None, body: text.clone().into_bytes() };
    assert_eq!(classify(&answer, Catalogue::builtin().codes()).final_body.unwrap().text, text);
}

/// Bodies of 256 KiB that are meant to become something much larger.
pub(in crate::domain) fn swollen() -> Vec<(u16, String)> {
    let fill = |unit: &str, n_bytes: usize| unit.repeat(n_bytes / (json!(unit).to_string().len() - 2));
    let in_checks = |text: &str| {
        let mut body = FAILED.to_owned();
        for name in CHECK_NAMES {
            body = with(&body, &format!("{META}/{name}"), json!(fill(text, 41_000)));
        }
        body
    };
    let in_one = |text: &str| with(FAILED, &format!("{META}/{}", CHECK_NAMES[0]), json!(fill(text, 250_000)));
    let listed = |entry: &str| {
        let list = format!("[{}{{}}]", format!("{entry},").repeat(250_000 / (entry.len() + 1)));
        let body: Value = serde_json::from_str(FAILED).unwrap();
        body.to_string().replace(&body["ErrorList"].to_string(), &list)
    };
    let shared: String = (0..8).map(|n| format!("BR-KSA-{n:02} BR-CO-{n:02} ")).collect();
    let failed = [
        in_checks("BR-KSA-17,"),
        in_checks("BR-KSA-17 : م, "),
        in_checks("a "),
        in_checks("\u{1}"),
        in_checks(&format!("{shared} are broken in the document. ")),
        in_checks("{\"code\":\"BR-KSA-17\",\"message\":\"x\"},"),
        in_one("BR-KSA-17,"),
        in_one("XSD_A "),
        in_one("("),
        listed("{}"),
        listed(r#"{"ErrorCode":"BR-KSA-17"}"#),
        listed(&format!(r#"{{"ErrorMessage":"{}"}}"#, "BR-KSA-17,".repeat(2_000))),
    ];
    let word = with(SUCCEEDED, &format!("{META}/PcsidGenerated"), json!(fill("x", 250_000)));
    failed.into_iter().map(|body| (500, body)).chain([(200, word)]).collect()
}

#[test]
fn no_answer_becomes_more_than_is_kept_of_one() {
    for (http_status, body) in swollen() {
        let shown: String = body.chars().skip(300).take(60).collect();
        assert!(body.len() <= MAX_KEPT_BODY_BYTES, "{shown}: {}", body.len());
        let (report, findings) = concluded(http_status, &body);
        assert!(report.pcsid_generated.is_none_or(|word| word.len() <= 256), "{shown}");
        for check in &findings.checks {
            let n_bytes: usize = check.errors.iter().map(|error| error.message.len()).sum();
            assert!(check.errors.len() <= 100 && n_bytes <= 32 * 1024, "{shown}");
            assert!(check.message.is_some() || check.errors.is_empty(), "the text itself is kept whole");
        }
        assert!(findings.errors.len() <= 100, "{shown}");
    }
    let (_, findings) = concluded(500, &swollen()[0].1);
    assert_eq!((findings.checks[0].errors.len(), findings.checks[0].errors_left_out), (100, 4_000));
    let (_, findings) = concluded(500, &swollen()[9].1);
    assert_eq!(findings.errors.len() + findings.errors_left_out as usize, 250_000 / 3 + 1);
}
