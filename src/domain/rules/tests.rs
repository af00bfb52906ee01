use std::time::Duration;

use proptest::prelude::*;

use super::{KnownCodes, split};
use crate::domain::catalogue::Catalogue;
use crate::domain::rules::Severity;

/// Splits with the built-in codes and compares; an empty rule stands for none.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let found = split(text, Catalogue::builtin().codes());
    let found: Vec<_> = found
        .iter()
        .map(|error| (error.rule.as_deref().unwrap_or_default(), error.message.as_str()))
        .collect();
    assert_eq!(found, expected, "in {text:?}");
}

/// The text holds no rule and stays as it is.
#[track_caller]
fn check_verbatim(text: &str) {
    check(text, &[("", text)]);
}

/// A response body with one message of each severity.
const BODY: &str = concat!(
    r#"{"validationResults":{"infoMessages":[{"type":"INFO","code":"XSD_ZATCA_VALID","#,
    r#""category":"XSD validation","message":"Schema is fine","status":"PASS"}],"warningMessages":["#,
    r#"{"type":"WARNING","code":"BR-KSA-98","category":"KSA","message":"[BR-KSA-98] - Send it \"soon\", please.","#,
    r#""status":"WARNING"}],"errorMessages":[{"type":"ERROR","code":"certificate-permissions","#,
    r#""category":"CERTIFICATE_ERRORS","message":"Not your VAT number (see BR-KSA-40).","status":"ERROR"}],"#,
    r#""status":"ERROR"},"reportingStatus":"NOT_REPORTED","clearanceStatus":null}"#,
);

const BODY_ERRORS: &[(&str, &str)] = &[
    ("BR-KSA-98", "Send it \"soon\", please."),
    ("certificate-permissions", "Not your VAT number (see BR-KSA-40)."),
];

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

#[test]
fn a_dump_whose_message_repeats_the_code_is_one_error() {
    check("[code] => BR-KSA-37 [message] => [BR-KSA-37] - four digits", &[("BR-KSA-37", "four digits")]);
    check(
        "Array\n(\n    [type] => ERROR\n    [code] => BR-KSA-37\n    [message] => [BR-KSA-37] - four digits\n)\n",
        &[("BR-KSA-37", "four digits")],
    );
}

#[test]
fn the_same_rule_behind_two_texts_is_two_errors() {
    check(
        "line 1 reason missing (BR-KSA-17), line 2 reason missing (BR-KSA-17)",
        &[("BR-KSA-17", "line 1 reason missing"), ("BR-KSA-17", "line 2 reason missing")],
    );
}

#[test]
fn a_code_in_front_of_its_message_is_the_rule() {
    check(
        "BR-KSA-17 : the note has no reason (KSA-10).",
        &[("BR-KSA-17", "the note has no reason (KSA-10).")],
    );
    check("BR-KSA-17: no reason", &[("BR-KSA-17", "no reason")]);
    check("BR-KSA-17 - no reason", &[("BR-KSA-17", "no reason")]);
    check("BR-KSA-17 no reason", &[("BR-KSA-17", "no reason")]);
    check("BR-KSA-17=>no reason", &[("BR-KSA-17", "no reason")]);
    check(
        "BR-KSA-17\tno reason\nBR-KSA-66\tno code",
        &[("BR-KSA-17", "no reason"), ("BR-KSA-66", "no code")],
    );
    check("BR-KSA-F-04 : -5 pieces sold", &[("BR-KSA-F-04", "-5 pieces sold")]);
    check(
        "BR-KSA-17\nno reason\nBR-KSA-66\nno code",
        &[("BR-KSA-17", "no reason"), ("BR-KSA-66", "no code")],
    );
    check(
        "[BR-KSA-F-06-C28] - District too long (KSA-4).",
        &[("BR-KSA-F-06-C28", "District too long (KSA-4).")],
    );
    check(
        "com.example.CheckFailed: BR-KSA-17 : no reason\n\tat com.example.Check.run(Check.java:12)",
        &[("BR-KSA-17", "no reason\n\tat com.example.Check.run(Check.java:12)")],
    );
}

#[test]
fn commas_part_errors_only_before_a_new_code() {
    check(
        "BR-KSA-37: four digits, please,BR-KSA-66: five digits, not six",
        &[("BR-KSA-37", "four digits, please"), ("BR-KSA-66", "five digits, not six")],
    );
    check(
        "BR-KSA-08 : one of CRN, MOM, 700 (BT-29), BR-KSA-09 : street, city (BT-37), country",
        &[("BR-KSA-08", "one of CRN, MOM, 700 (BT-29)"), ("BR-KSA-09", "street, city (BT-37), country")],
    );
    check(
        "BR-KSA-40 : الرقم من 15 خانة، ويبدأ بالرقم 3،BR-KSA-66 : الرمز خطأ",
        &[("BR-KSA-40", "الرقم من 15 خانة، ويبدأ بالرقم 3"), ("BR-KSA-66", "الرمز خطأ")],
    );
    check("No street given,BR-KSA-17 : no reason", &[("", "No street given"), ("BR-KSA-17", "no reason")]);
    check("BR-KSA-17 : no reason,No street given", &[("BR-KSA-17", "no reason,No street given")]);
    check("BR-KSA-17 : a, , BR-KSA-66 : b,,", &[("BR-KSA-17", "a"), ("BR-KSA-66", "b")]);
}

#[test]
fn other_separators_part_errors_too() {
    let both = &[("BR-KSA-17", "no reason"), ("BR-KSA-66", "no code")];
    check("BR-KSA-17 : no reason; BR-KSA-66 : no code", both);
    check("BR-KSA-17 : no reason | BR-KSA-66 : no code", both);
    check("BR-KSA-17 : no reason\r\nBR-KSA-66 : no code\r\n", both);
    check("BR-KSA-17 : no reason BR-KSA-66 : no code", both);
    check("[BR-KSA-17]-no reason [BR-KSA-66]-no code", both);
    check("[BR-KSA-17] no reason [BR-KSA-66] no code", both);
    check("1. BR-KSA-17 : no reason\n2. BR-KSA-66 : no code", both);
    check("1) BR-KSA-17 no reason\n2) BR-KSA-66 no code", both);
    check("- BR-KSA-17: no reason\n• BR-KSA-66: no code", both);
    check("ERROR: BR-KSA-17 : no reason, [WARNING] BR-KSA-66 : no code", both);
    check("\"BR-KSA-17 : no reason\",\"BR-KSA-66 : no code\"", both);
    check("['BR-KSA-17 : no reason', 'BR-KSA-66 : no code']", both);
    check(r"BR-KSA-17 : no reason\nBR-KSA-66 : no code", both);
    check(
        "BR-KSA-17 - no reason. BR-KSA-66 - no code",
        &[("BR-KSA-17", "no reason."), ("BR-KSA-66", "no code")],
    );
}

#[test]
fn an_echo_is_the_same_error_and_a_repetition_is_another() {
    check("BR-CL-14: [BR-CL-14]-unknown country", &[("BR-CL-14", "unknown country")]);
    check("BR-CL-14 : [br-cl-14] - unknown country", &[("BR-CL-14", "unknown country")]);
    check("BR-CL-14 : BR-CL-14 : unknown country", &[("BR-CL-14", "unknown country")]);
    check("BR-CL-14\n[BR-CL-14]-unknown country", &[("BR-CL-14", "unknown country")]);
    check(
        "[BR-KSA-F-04]-row 1 below zero,[BR-KSA-F-04]-row 2 below zero",
        &[("BR-KSA-F-04", "row 1 below zero"), ("BR-KSA-F-04", "row 2 below zero")],
    );
    check(
        "BR-KSA-F-04 : row 1\nBR-KSA-F-04 : row 2 BR-KSA-F-04 : row 3",
        &[("BR-KSA-F-04", "row 1"), ("BR-KSA-F-04", "row 2"), ("BR-KSA-F-04", "row 3")],
    );
    check("BR-KSA-17,BR-KSA-17", &[("BR-KSA-17", "BR-KSA-17"), ("BR-KSA-17", "BR-KSA-17")]);
    check("BR-CL-KSA-14 : [KSA-14]-QR text too long", &[("BR-CL-KSA-14", "[KSA-14]-QR text too long")]);
    check("BR-KSA-61 : [KSA-13]-hash before", &[("BR-KSA-61", "[KSA-13]-hash before")]);
}

#[test]
fn log_lines_are_read_as_labels_and_values() {
    check("CODE : BR-CO-15, MESSAGE : [BR-CO-15]-A (BT-1) = B, no.", &[("BR-CO-15", "A (BT-1) = B, no.")]);
    check(
        "en validation errors : \nCODE : BR-CO-14, MESSAGE : [BR-CO-14]-Wrong sum, by far.\n\
         ksa validation warnings : \nCODE : BR-KSA-51, MESSAGE : [BR-KSA-51]-Wrong line.\n",
        &[("BR-CO-14", "Wrong sum, by far."), ("BR-KSA-51", "Wrong line.")],
    );
    check(
        "category : SIGNATURE_ERROR\ncode :X509IssuerName\nmessage : other issuer \n\
         category : SIGNATURE_ERROR\ncode :signatureValue\nmessage : other value",
        &[("X509IssuerName", "other issuer"), ("signatureValue", "other value")],
    );
    check("Error code: BR-KSA-17, Error message: no reason", &[("BR-KSA-17", "no reason")]);
    check(
        "Code: certificate-permissions\nCategory: CERTIFICATE_ERRORS\nMessage: \"Not yours\"\nStatus: ERROR",
        &[("certificate-permissions", "Not yours")],
    );
    check("level=error code=BR-KSA-17 msg=\"no reason\"", &[("BR-KSA-17", "no reason")]);
    check(
        "[Error(type=ERROR, code=BR-KSA-17, category=KSA, message=no, really, status=ERROR), Error(code=GENERAL, message=oops)]",
        &[("BR-KSA-17", "no, really"), ("GENERAL", "oops")],
    );
    check("Message: not yours, Code: certificate-permissions", &[("certificate-permissions", "not yours")]);
}

#[test]
fn a_line_that_names_a_code_is_more_than_a_result() {
    check(
        "BR-KSA-40 : Seller VAT number validation: failed\nBR-CO-15 : total",
        &[("BR-KSA-40", "Seller VAT number validation: failed"), ("BR-CO-15", "total")],
    );
    check(
        "XSD_ZATCA_INVALID : schema validation: failed",
        &[("XSD_ZATCA_INVALID", "schema validation: failed")],
    );
    check("Rule BR-KSA-40 result: FAILED", &[("BR-KSA-40", "result: FAILED")]);
    check("***** ERROR BR-KSA-40 : x", &[("BR-KSA-40", "x")]);
    check("[XSD] validation result : PASSED\nBR-CO-15 : total", &[("BR-CO-15", "total")]);
}

#[test]
fn each_line_behind_the_same_label_is_an_error() {
    let both = [("BR-CO-15", "total is wrong"), ("BR-KSA-40", "seller VAT number is wrong")];
    for label in ["Validation failed: ", "ZATCA: ", "Failed rule: ", "StandardTaxInvoice: "] {
        for between in ["\n", "; ", " | ", ", "] {
            let text =
                format!("{label}BR-CO-15 total is wrong{between}{label}BR-KSA-40 seller VAT number is wrong");
            let found = split(&text, Catalogue::builtin().codes());
            let rules: Vec<_> = found.iter().map(|error| error.rule.as_deref().unwrap_or_default()).collect();
            assert_eq!(rules, both.map(|(rule, _)| rule), "{text:?}");
        }
    }
}

#[test]
fn codes_behind_their_text_belong_to_it() {
    check(
        "No name (BR-KSA-17), a code, of five digits, is wrong (BR-KSA-66)",
        &[("BR-KSA-17", "No name"), ("BR-KSA-66", "a code, of five digits, is wrong")],
    );
    check(
        "No name (BR-KSA-17). Wrong code (BR-KSA-66).",
        &[("BR-KSA-17", "No name"), ("BR-KSA-66", "Wrong code")],
    );
    check(
        "No name [BR-KSA-17]\nWrong code [BR-KSA-66]",
        &[("BR-KSA-17", "No name"), ("BR-KSA-66", "Wrong code")],
    );
    check("لا سبب (BR-KSA-17)، الرمز خطأ (BR-KSA-66)", &[("BR-KSA-17", "لا سبب"), ("BR-KSA-66", "الرمز خطأ")]);
    check(
        "Wrong code: BR-KSA-66, no street: BR-KSA-09",
        &[("BR-KSA-66", "Wrong code: BR-KSA-66"), ("BR-KSA-09", "no street: BR-KSA-09")],
    );
}

#[test]
fn a_code_in_the_middle_of_prose_counts_only_without_a_head() {
    let text = "The seller was turned down with BR-KSA-40 without further words";
    check(text, &[("BR-KSA-40", text)]);
    let text = "Turned down with BR-KSA-40 and BR-KSA-66 today";
    check(text, &[("BR-KSA-40", text), ("BR-KSA-66", text)]);
    let text = "رفض بسبب BR-KSA-40 وBR-KSA-66";
    check(text, &[("BR-KSA-40", text), ("BR-KSA-66", text)]);
    for message in [
        "no reason (see also BR-KSA-40)",
        "no reason, see also BR-KSA-40.",
        "no reason; compare rule [BR-KSA-40] for the buyer",
        "at odds with BR-KSA-42, BR-KSA-44 and BR-KSA-46, too",
        "no street (BR-KSA-66, BR-KSA-67), no city",
        "unlike BR-KSA-17 says",
    ] {
        check(&format!("BR-KSA-17 : {message}"), &[("BR-KSA-17", message)]);
        let text = format!("BR-KSA-17 : {message},BR-KSA-63 : more");
        check(&text, &[("BR-KSA-17", message), ("BR-KSA-63", "more")]);
    }
}

#[test]
fn codes_may_stand_together() {
    check("BR-KSA-17,BR-KSA-66", &[("BR-KSA-17", "BR-KSA-17"), ("BR-KSA-66", "BR-KSA-66")]);
    check("BR-KSA-17/BR-KSA-66 : both", &[("BR-KSA-17", "both"), ("BR-KSA-66", "both")]);
    check("[BR-KSA-17][BR-KSA-66] both", &[("BR-KSA-17", "both"), ("BR-KSA-66", "both")]);
    check("BR-KSA-17 and BR-KSA-66 failed", &[("BR-KSA-17", "failed"), ("BR-KSA-66", "failed")]);
    check(
        "Broken rules: BR-KSA-17, BR-KSA-66",
        &[("BR-KSA-17", "Broken rules: BR-KSA-17"), ("BR-KSA-66", "BR-KSA-66")],
    );
}

#[test]
fn spelling_does_not_matter() {
    check("br-ksa-66 : five digits", &[("BR-KSA-66", "five digits")]);
    check("Br-Xx-12 : new,xsd_something : newer", &[("BR-XX-12", "new"), ("XSD_SOMETHING", "newer")]);
    check("BR-KSA-999 : new", &[("BR-KSA-999", "new")]);
    check("INVALID-OTP : used up", &[("Invalid-OTP", "used up")]);
    check("BR\u{2011}KSA\u{2011}17\u{a0}:\u{a0}no reason", &[("BR-KSA-17", "no reason")]);
    check("BR–KSA—17 : a, BR\u{2010}KSA\u{ad}66 : b", &[("BR-KSA-17", "a"), ("BR-KSA-66", "b")]);
    check("BR\u{200e}-\u{200e}KSA-\u{200b}17 : a", &[("BR-KSA-17", "a")]);
    check("certificate\u{2011}permissions : a", &[("certificate-permissions", "a")]);
    check(
        "\u{200f}BR-KSA-EN16931-11\u{200f} : صافي خطأ، \u{200f}BR-S-08\u{200f} : \u{200f}المجموع خطأ\u{200f}",
        &[("BR-KSA-EN16931-11", "صافي خطأ"), ("BR-S-08", "المجموع خطأ")],
    );
    check(
        "\u{2067}BR-KSA-17\u{2069}: نص، \u{2067}BR-KSA-66\u{2069}: نص",
        &[("BR-KSA-17", "نص"), ("BR-KSA-66", "نص")],
    );
    check("\u{feff}BR-KSA-17 : a", &[("BR-KSA-17", "a")]);
}

#[test]
fn the_longest_code_wins_and_text_does_not_join_it() {
    check(
        "BR-KSA-F-06-C2 : a,BR-KSA-F-06-C28 : b,BR-KSA-F-06 : c",
        &[("BR-KSA-F-06-C2", "a"), ("BR-KSA-F-06-C28", "b"), ("BR-KSA-F-06", "c")],
    );
    check("BR-KSA-17-The reason", &[("BR-KSA-17", "The reason")]);
    check("BR-KSA-40-15 digits", &[("BR-KSA-40", "15 digits")]);
    check(
        "QRCODE_INVALID : a,invoiceTimeStamp_QRCODE_INVALID : b",
        &[("QRCODE_INVALID", "a"), ("invoiceTimeStamp_QRCODE_INVALID", "b")],
    );
    check_verbatim("Documents XBR-KSA-17, INV-BR-02 and BR-2024-001");
}

#[test]
fn word_codes_count_only_as_values_and_heads() {
    check("certificate-permissions : not yours", &[("certificate-permissions", "not yours")]);
    check("[Invalid-OTP]-used up", &[("Invalid-OTP", "used up")]);
    check("Error: Invalid-OTP : used up", &[("Invalid-OTP", "used up")]);
    check("Invalid-OTP", &[("Invalid-OTP", "Invalid-OTP")]);
    check("BR-KSA-17: a; GENERAL: b", &[("BR-KSA-17", "a"), ("GENERAL", "b")]);
    check("0x80094800 : wrong template", &[("0x80094800", "wrong template")]);
    check("KSA-13 : other hash", &[("KSA-13", "other hash")]);
    check(
        "XSD_ZATCA_INVALID : No; ERROR: org.xml.sax.SAXParseException; lineNumber: 5; '0x1' is no 'integer'.",
        &[(
            "XSD_ZATCA_INVALID",
            "No; ERROR: org.xml.sax.SAXParseException; lineNumber: 5; '0x1' is no 'integer'.",
        )],
    );
    check(
        "Missing-ComplianceSteps : open are [a-compliant,b-compliant]",
        &[("Missing-ComplianceSteps", "open are [a-compliant,b-compliant]")],
    );
    check_verbatim("They say the publicKey and GENERAL, all at once");
    check_verbatim("In general: no");
    // What looks like nothing else counts in a sentence, too.
    let text = "They say Invalid-OTP, all at once";
    check(text, &[("Invalid-OTP", text)]);
    check("java.lang.NullPointerException : no", &[("NullPointerException", "no")]);
}

#[test]
fn data_elements_and_successes_are_no_errors() {
    check_verbatim("Fields KSA-13, BT-29 and BG-4 are empty");
    check_verbatim("KSA-14 : no QR code");
    check_verbatim(r#"{"code":"XSD_ZATCA_VALID","message":"all fine"}"#);
    check("XSD_ZATCA_VALID : fine,BR-KSA-17 : a", &[("BR-KSA-17", "a")]);
    check(
        r#"{"type":"INFO","code":"BR-KSA-98","message":"a"},{"type":"ERROR","code":"BR-KSA-17","message":"b"}"#,
        &[("BR-KSA-17", "b")],
    );
}

#[test]
fn texts_without_a_rule_stay_as_they_are() {
    check("", &[]);
    check(" \n\u{200f} ", &[]);
    check_verbatim("503 Service Unavailable");
    check_verbatim("503 : [no body]");
    check_verbatim("HTTP status code: 401");
    check_verbatim(
        "POST to \"https://example.com/compliance/invoices\" failed: timed out; cause: Timeout: timed out",
    );
    check_verbatim("Please give a street, then try again.");
    check_verbatim(r#"{"status":503,"error":"Unavailable","message":"busy, sorry"}"#);
    check_verbatim("null");
    check_verbatim("[]");
}

#[test]
fn a_response_body_gives_its_errors_and_warnings() {
    check(BODY, BODY_ERRORS);
    check(&format!("400 Bad Request: [{BODY}]"), BODY_ERRORS);
    check(&BODY.replace("\":", "\" : ").replace(",\"", ",\n  \""), BODY_ERRORS);
    let html = BODY.replace("\\\"", "'").replace('"', "&quot;");
    check(&html, &[("BR-KSA-98", "Send it 'soon', please."), BODY_ERRORS[1]]);
}

#[test]
fn escapes_of_any_depth_are_undone() {
    let once = quoted(BODY);
    check(&once, BODY_ERRORS);
    check(once.trim_matches('"'), BODY_ERRORS);
    check(&quoted(&once), BODY_ERRORS);
    check(&format!(r#"{{"status":400,"message":{once},"path":"/a b"}}"#), BODY_ERRORS);
    let spring = quoted(&format!("400 : [{BODY}]"));
    check(&format!(r#"{{"status":400,"message":{spring},"path":"/a b"}}"#), BODY_ERRORS);
    check(r#"{"code":"BR\u2011KSA\u201117","message":"\u0646\u0635"}"#, &[("BR-KSA-17", "نص")]);
}

#[test]
fn json_may_be_cut_off_anywhere() {
    let head = r#"{"type":"ERROR","code":"BR-KSA-17","category":"KSA","message":"[BR-KSA-17]-no, "#;
    check(head, &[("BR-KSA-17", "no")]);
    check(r#"{\"code\":\"GENERAL\",\"message\":\"not \\\"a"#, &[("GENERAL", "not \"a")]);
    check(r#"{"type":"ERROR","code":"BR-KSA-17","cate"#, &[("BR-KSA-17", "\"code\":\"BR-KSA-17\",\"cate")]);
    check(r#"or","code":"BR-KSA-17","category":"KSA","message":"no"}"#, &[("BR-KSA-17", "no")]);
    let first = r#"{"code":"BR-KSA-37","message":"a"},{"code":"BR-KSA-6"#;
    check(first, &[("BR-KSA-37", "a")]);
    check(&format!("{first}6"), &[("BR-KSA-37", "a"), ("BR-KSA-66", "\"code\":\"BR-KSA-66")]);
    check(
        r#"{"errorCode":"400","errorCategory":"Invalid-CSR","errorMessage":"no, si"#,
        &[("Invalid-CSR", "no, si")],
    );
}

#[test]
fn the_order_and_the_lack_of_fields_do_not_matter() {
    check(
        r#"[{"message":"a, as BR-KSA-40","code":"BR-KSA-66"},{"category":"KSA","code":"BR-KSA-17","at":{"line":1},"message":"b"}]"#,
        &[("BR-KSA-66", "a, as BR-KSA-40"), ("BR-KSA-17", "b")],
    );
    check(r#"{"code":"BR-KSA-17","hint":"c d"}"#, &[("BR-KSA-17", r#""code":"BR-KSA-17","hint":"c d""#)]);
    check(
        r#"{"code":"NEW_WORD","message":"a"},{"code":"BR-KSA-17","message":"b"}"#,
        &[("NEW_WORD", "a"), ("BR-KSA-17", "b")],
    );
    check(
        r#"{"message":"Checks failed","errors":[{"code":"BR-KSA-17","message":"a"}],"status":"ERROR"}"#,
        &[("BR-KSA-17", "a")],
    );
    check(
        r#"{"code": "BR-KSA-17", "message": "either "S", "Z" or "E" fits", "status": "ERROR"}"#,
        &[("BR-KSA-17", r#"either "S", "Z" or "E" fits"#)],
    );
    check(
        r#"{"publicKey":"MFkw","state":"NOT_COMPLIANT","errors":["No street","BR-KSA-17 : a, b","BR-KSA-66 : c"]}"#,
        &[("", "No street"), ("BR-KSA-17", "a, b"), ("BR-KSA-66", "c")],
    );
    check(r#"{"BR-KSA-17":"a, b","Invalid-OTP":"c"}"#, &[("BR-KSA-17", "a, b"), ("Invalid-OTP", "c")]);
    check(
        r#"BR-KSA-17 : a, {"code":"BR-KSA-66","message":"b"} BR-KSA-37: c"#,
        &[("BR-KSA-17", "a"), ("BR-KSA-66", "b"), ("BR-KSA-37", "c")],
    );
}

#[test]
fn a_number_as_code_gives_way_to_category_and_message() {
    check(
        r#"{"errorCode":"400","errorCategory":"Invalid-CSR","errorMessage":"not good"}"#,
        &[("Invalid-CSR", "not good")],
    );
    check(r#"{"code":500,"category":"HTTP-Errors","message":"oops"}"#, &[("HTTP-Errors", "oops")]);
    check(
        r#"{"ErrorCode":"6002","ErrorMessage":"BR-KSA-17 : a, b,BR-KSA-66 : c"}"#,
        &[("6002", "BR-KSA-17 : a, b,BR-KSA-66 : c"), ("BR-KSA-17", "a, b"), ("BR-KSA-66", "c")],
    );
    check(
        r#"{"ErrorCode":"400","ErrorMessage":"BR-KSA-17 : a, b,BR-KSA-66 : c"}"#,
        &[("BR-KSA-17", "a, b"), ("BR-KSA-66", "c")],
    );
    check(r#"{"code":"6002","message":"have one"}"#, &[("6002", "have one")]);
    check(r#"{"code":401,"category":"Other","message":"no"}"#, &[("401", "no")]);
    check(r#"{"code":400,"message":"no"}"#, &[("400", "no")]);
    check_verbatim(r#"{"code":200,"message":"no"}"#);
    check(r#"{"code":"GENERAL","category":"HTTP-Errors","message":"no"}"#, &[("GENERAL", "no")]);
}

#[test]
fn dumps_of_other_languages_are_records() {
    let both = &[("BR-KSA-17", "no, really (KSA-10)"), ("GENERAL", "the seller's turn")];
    check(
        r#"[{'type': 'ERROR', 'code': 'BR-KSA-17', 'message': 'no, really (KSA-10)', 'status': None}, {'code': 'GENERAL', 'message': "the seller's turn"}]"#,
        both,
    );
    check(
        "array ( 0 => array ( 'code' => 'BR-KSA-17', 'message' => 'no, really (KSA-10)', ), 1 => array ( 'code' => 'GENERAL', 'message' => 'the seller\\'s turn', ), )",
        both,
    );
    check(
        "[['code' => 'BR-KSA-17', 'message' => 'no, really (KSA-10)'], ['code' => 'GENERAL', 'message' => 'the seller\\'s turn']]",
        both,
    );
    check(
        "['code': 'BR-KSA-17', 'message': 'no, really (KSA-10)'], ['code': 'GENERAL', 'message': 'the seller\\'s turn']",
        both,
    );
    check(
        "Array\n(\n [0] => Array\n (\n [type] => ERROR\n [code] => BR-KSA-17\n [message] => no, really (KSA-10)\n [status] => ERROR\n )\n\n [1] => Array\n (\n [code] => GENERAL\n [message] => the seller's turn\n )\n\n)\n",
        both,
    );
    check(
        "array(1) {\n [\"code\"]=>\n string(9) \"BR-KSA-17\"\n [\"message\"]=>\n string(9) \"no reason\"\n}",
        &[("BR-KSA-17", "no reason")],
    );
    check(
        "Error(code='BR-KSA-17', message='no, really (KSA-10)'), Error(code='GENERAL', message='the seller\\'s turn')",
        both,
    );
    check(
        "{code: 'BR-KSA-17', message: 'a'}, {code: 'GENERAL', message: 'b'}",
        &[("BR-KSA-17", "a"), ("GENERAL", "b")],
    );
}

#[test]
fn markup_parts_errors_and_is_not_shown() {
    check(
        "<ul><li>BR-KSA-17: a, b</li>\n<li class=\"x\"><b>BR&#8209;KSA&#8209;66</b>&nbsp;: c &amp; d</li><li>No street given</li></ul>",
        &[("BR-KSA-17", "a, b"), ("BR-KSA-66", "c & d"), ("", "No street given")],
    );
    check(
        "<li>No reason (BR-KSA-17)</li><li>No code (BR-KSA-66)</li>",
        &[("BR-KSA-17", "No reason"), ("BR-KSA-66", "No code")],
    );
    check(
        r"\u003cli\u003eBR-KSA-17: a\u003c\/li\u003e\u003cli\u003eBR-KSA-17: b\u003c\/li\u003e",
        &[("BR-KSA-17", "a"), ("BR-KSA-17", "b")],
    );
    check("BR-KSA-17 - a<br/>[BR-KSA-66]-b", &[("BR-KSA-17", "a"), ("BR-KSA-66", "b")]);
    check(
        "<table><tr><td>BR-KSA-17</td><td>a</td></tr><tr><td>Invalid-OTP</td><td>b c</td></tr></table>",
        &[("BR-KSA-17", "a"), ("Invalid-OTP", "b c")],
    );
    check(
        "<error><code>BR-KSA-17</code><message>a</message></error><error><code>Invalid-OTP</code><message>b</message></error>",
        &[("BR-KSA-17", "a"), ("Invalid-OTP", "b")],
    );
    check("<error code=\"GENERAL\" message=\"a b\"/>", &[("GENERAL", "a b")]);
    check("BR-KSA-17 : element <cbc:Note> is empty", &[("BR-KSA-17", "element <cbc:Note> is empty")]);
}

#[test]
fn each_error_knows_whether_it_blocks_where_the_text_says_so() {
    let severities = |text: &str| -> Vec<Option<Severity>> {
        split(text, Catalogue::builtin().codes()).into_iter().map(|error| error.severity).collect()
    };
    let (error, warning) = (Some(Severity::Error), Some(Severity::Warning));
    for (text, expected) in [
        ("BR-KSA-37 : a", vec![None]),
        (r#"{"type":"WARNING","code":"BR-KSA-37","message":"a"}"#, vec![warning]),
        ("ERROR: BR-KSA-37 : a, [WARN] BR-KSA-66 : b", vec![error, warning]),
        ("ksa warnings :\nBR-KSA-37 : a\nen errors :\nBR-KSA-66 : b", vec![warning, error]),
        (r#"{"warnings":["BR-KSA-37 : a"],"more":["BR-KSA-66 : b"]}"#, vec![warning, None]),
        // In a message it is a word.
        ("BR-KSA-37 : there are 2 errors: a, b\nBR-KSA-66 : c", vec![None, None]),
        // An empty block is none.
        (
            r#"{"status":"ERROR","warningMessages":null,"results":[{"code":"BR-KSA-40","message":"a"}]}"#,
            vec![None],
        ),
        (r#"{"warnings":0,"results":[{"code":"BR-KSA-40","message":"a"}]}"#, vec![None]),
        ("{'warningMessages': None, 'x': [{'code': 'BR-KSA-40', 'message': 'a'}]}", vec![None]),
        (r#"{"warnings":"none","results":[{"code":"BR-KSA-40","message":"a"}]}"#, vec![None]),
        (r#"{"warnings":"","results":[{"code":"BR-KSA-40","message":"a"}]}"#, vec![None]),
        ("Warnings: no building number (BR-KSA-37)", vec![warning]),
        ("Warnings: none\nBR-KSA-40 : a", vec![None, None]),
        ("0 warnings\nBR-KSA-40 : a", vec![None]),
        ("No warnings:\nBR-KSA-40 : a", vec![None]),
        ("لا توجد تحذيرات\nBR-KSA-40 : a", vec![None, None]),
        ("2 warnings:\nBR-KSA-98 : a", vec![warning]),
        // A word for one heads no list.
        ("تحذير: BR-KSA-98 : a، BR-KSA-40 : b", vec![warning, None]),
        ("خطأ: BR-KSA-98 : a، تنبيه: BR-KSA-40 : b", vec![error, warning]),
        ("تحذيرات: BR-KSA-98 : a، BR-KSA-51 : b", vec![warning, warning]),
        // What a record says itself counts more than the block it is in.
        (r#"{"warnings":[{"type":"ERROR","code":"BR-KSA-37","message":"a"}]}"#, vec![error]),
    ] {
        assert_eq!(severities(text), expected, "{text}");
    }
}

#[test]
fn a_key_behind_a_mark_is_no_code() {
    check("<code>code:BR-KSA-17 : a", &[("BR-KSA-17", "a")]);
}

#[test]
fn other_codes_can_be_made_known() {
    let mut known: KnownCodes = ["House-Rule", "BR-KSA-40-15", " ", "br-xx-1"].into_iter().collect();
    assert_eq!(known.official("HOUSE\u{2011}RULE"), Some("House-Rule"));
    assert_eq!(known.official("GENERAL"), None);
    let rules = |text: &str, known: &KnownCodes| -> Vec<String> {
        split(text, known).into_iter().filter_map(|error| error.rule).collect()
    };
    assert_eq!(
        rules("house-rule : a,BR-KSA-40-15 : b,BR-XX-1 : c", &known),
        ["House-Rule", "BR-KSA-40-15", "br-xx-1"]
    );
    known.extend(["GENERAL".to_owned()]);
    assert_eq!(rules("general : a", &known), ["GENERAL"]);
}

#[test]
fn every_builtin_code_is_found_at_the_head_and_as_a_value() {
    for code in Catalogue::builtin().codes().official.values().map(|code| &code.spelling) {
        let is_status = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        if !is_status {
            check(&format!("{} : no", code.to_lowercase()), &[(code, "no")]);
        }
        check(&format!(r#"{{"code":"{code}","message":"[{code}] - no"}}"#), &[(code, "no")]);
    }
}

/// What this thread has computed for, however busy the machine is.
fn cpu_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn hostile_texts_take_linear_time_and_space() {
    const LENGTH: usize = 256 * 1024;
    for (prefix, pattern) in [
        ("", "BR-KSA-17,"),
        ("", "BR-KSA-17/BR-KSA-18/"),
        ("", "no BR-KSA-17 no BR-KSA-18 "),
        ("", "[[[["),
        ("", "(BR-KSA-17,"),
        ("", "{\"code\":"),
        ("", "{\"message\":x"),
        ("{\"message\":\"", ", message: 'y"),
        ("{\"message\":\"", "\"a\":"),
        ("", "\\"),
        ("", "<li"),
        ("", "\u{200f}-"),
        ("", "a:\n"),
        ("BR-KSA-17 : ", "error: "),
        ("code: BR-KSA-17, message: ", "x٣و BR-KSA-18"),
        ("", "warnings:\n"),
        ("", "تحذير: "),
        ("", "\"errors\":["),
        ("", "errors "),
        ("", "[ERROR] aB - x\n"),
        ("", "certificate-\n"),
        ("", "BR-\n"),
        ("*****welcome\n", "a\n"),
        ("", "NOT_COMPLIANT Invalid-OTP "),
        ("{\"code\":\"A\",\"message\":\"", "Invalid-OTP "),
        ("{", "a:'"),
    ] {
        let text = format!("{prefix}{}", pattern.repeat(LENGTH / pattern.len()));
        let before = cpu_time();
        let errors = split(&text, Catalogue::builtin().codes());
        // A debug build needs well under a second; quadratic time would be minutes.
        let took = cpu_time() - before;
        assert!(took < Duration::from_secs(10), "{pattern:?} took {took:?}");
        let shown: usize = errors.iter().map(|error| error.message.len()).sum();
        assert!(shown <= 9 * text.len(), "{pattern:?} became {shown} bytes");
    }
}

/// What `split` promises for any text.
fn keeps_promises(text: &str) -> Result<(), TestCaseError> {
    let errors = split(text, Catalogue::builtin().codes());
    let whole = text.trim_matches(super::view::is_space);
    prop_assert_eq!(errors.is_empty(), whole.is_empty());
    if errors.iter().all(|error| error.rule.is_none()) && !whole.is_empty() {
        let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
        let sentence = super::page_as_sentence(whole);
        prop_assert_eq!(messages, [sentence.as_deref().unwrap_or(whole)]);
    }
    for error in &errors {
        prop_assert!(!error.message.is_empty());
        prop_assert!(error.rule.as_ref().is_none_or(|rule| rule != "XSD_ZATCA_VALID" && !rule.is_empty()));
    }
    Ok(())
}

/// Texts of all notations, to be damaged.
fn samples() -> Vec<String> {
    let single = [
        "CODE : BR-CO-14, MESSAGE : [BR-CO-14]-Wrong.\nksa warnings : \nCODE : GENERAL, MESSAGE : no",
        "\u{200f}BR-KSA-17\u{200f} : لا سبب، BR–KSA–66 : الرمز (BR-KSA-40)",
        "No name (BR-KSA-17), wrong code (BR-KSA-66)",
        "Array ( [0] => Array ( [code] => BR-KSA-17 [message] => no (KSA-10) [status] => ERROR ) )",
        "[{'code': 'BR-KSA-17', 'message': \"it's\"}, {'errorCode': '400', 'errorCategory': 'Invalid-CSR'}]",
        "<ul><li>BR-KSA-17: a</li><li><code>GENERAL</code> b &amp; c</li></ul>",
        "[\"code\"]=> string(9) \"BR-KSA-17\"",
        r#"{\\\"code\\\":\\\"BR\u2011KSA\u201117\\\",\\\"message\\\":\\\"\ud83d\ude00\\\"}"#,
    ];
    let mut samples: Vec<String> = single.into_iter().map(str::to_owned).collect();
    samples.extend([BODY.to_owned(), quoted(BODY), quoted(&quoted(BODY))]);
    samples
}

#[test]
fn samples_cut_off_anywhere_keep_the_promises() {
    for sample in samples() {
        for (at, _) in sample.char_indices() {
            let (head, tail) = sample.split_at(at);
            keeps_promises(head).unwrap();
            keeps_promises(tail).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_keeps_the_promises(text in any::<String>()) {
        keeps_promises(&text)?;
    }

    #[test]
    fn any_mix_of_tokens_keeps_the_promises(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "BR-KSA-17", "GENERAL", "503", "code", "message", "category", "error", "status", "PASS", "XSD_ZATCA_VALID",
                "\"", "'", "\\\"", "\\\\\\\"", "{", "}", "[", "]", "(", ")", ":", " : ", "=", "=>", ",", "،", ".", "-", " ",
                "\n", "<li>", "<code>", "<", "&quot;", "\\u2011", "\\n", "\\", "\u{200f}", "\u{a0}", "و", "٣", "1", "text",
                "string(", "|", "and", "null", "“", "\u{fdd0}", "\u{fdd2}",
            ]),
            0..40,
        )
    ) {
        keeps_promises(&tokens.concat())?;
    }

    #[test]
    fn damaged_samples_keep_the_promises(
        sample in prop::sample::select(samples()),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<char>>()), 1..6),
    ) {
        let mut chars: Vec<char> = sample.chars().collect();
        for (place, put) in places {
            let at = place.index(chars.len());
            match put {
                Some(ch) => chars.insert(at, ch),
                None if chars.len() > 1 => { chars.remove(at); }
                None => {}
            }
        }
        keeps_promises(&chars.into_iter().collect::<String>())?;
    }

    #[test]
    fn codes_and_messages_come_back_in_order(
        errors in prop::collection::vec(
            (prop::sample::select(vec!["BR-KSA-17", "BR-CO-15", "GENERAL", "Invalid-OTP", "BR-KSA-F-06-C28"]), "[a-z]{2,6}( [a-z]{2,6}){0,3}"),
            1..8,
        ),
        separator in prop::sample::select(vec![",", ", ", "\n", "; ", "، "]),
    ) {
        let texts: Vec<String> = errors.iter().map(|(code, message)| format!("{code} : {message}")).collect();
        let found = split(&texts.join(separator), Catalogue::builtin().codes());
        let found: Vec<_> = found.into_iter().map(|error| (error.rule.unwrap_or_default(), error.message)).collect();
        let expected: Vec<_> = errors.into_iter().map(|(code, message)| (code.to_owned(), message)).collect();
        prop_assert_eq!(found, expected);
    }
}
