//! Secrets in every writing that a server may use.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

impl Redactor {
    fn redact_text(&self, text: String) -> String {
        String::from_utf8(self.redact(text.into_bytes())).unwrap()
    }
}

/// Of 45 characters, as ClearTax gives them out.
const TOKEN: &str = "1.9a7F3c21-5e0b-4d86_b1f2~Q/x+7=Zk0\"pLmW4tRvY";

fn redacted(secret: &str, text: &str) -> String {
    Redactor::new([secret.as_bytes()]).redact_text(text.to_owned())
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Ways in which a server may write what it was sent.
fn writings(secret: &str) -> Vec<String> {
    let each = |write: &dyn Fn(char) -> String| secret.chars().map(write).collect::<String>();
    let unicode = each(&|c| format!("\\u{:04X}", u32::from(c)));
    let percent = each(&|c| format!("%{:02x}", u32::from(c)));
    let only_odd = |write: &dyn Fn(char) -> String| {
        each(&|c| if c.is_ascii_alphanumeric() { c.to_string() } else { write(c) })
    };
    let mut all = vec![
        secret.to_owned(),
        json_escaped(secret),
        json_escaped(&json_escaped(secret)),
        json_escaped(&json_escaped(&json_escaped(secret))),
        secret.replace('/', "\\/"),
        unicode.clone(),
        unicode.to_lowercase(),
        json_escaped(&unicode),
        format!("{}{}", &secret[..3], &unicode[18..]),
        percent.clone(),
        percent.to_uppercase(),
        percent.replace('%', "%25"),
        only_odd(&|c| format!("%{:02X}", u32::from(c))),
        only_odd(&|c| format!("&#{};", u32::from(c))),
        only_odd(&|c| format!("&#x{:x};", u32::from(c))),
        each(&|c| format!("&#{}", u32::from(c)) + ";"),
        each(&|c| format!("\\x{:02x}", u32::from(c))),
        each(&|c| format!("\\u{{{:x}}}", u32::from(c))),
        each(&|c| format!("\\{:03o}", u32::from(c))),
        json_escaped(&each(&|c| format!("\\{:03o}", u32::from(c)))),
        secret.replace('"', "&quot;").replace('.', "&period;").replace('/', "&sol;").replace('=', "&equals;"),
        json_escaped(&secret.replace('"', "&amp;quot;")),
        each(&|c| format!("{:02x}", u32::from(c))),
        each(&|c| format!("{:02X}", u32::from(c))),
        each(&|c| format!("{:02x}:", u32::from(c))).trim_end_matches(':').to_owned(),
        each(&|c| format!("{:02X} ", u32::from(c))).trim_end().to_owned(),
        secret.to_uppercase(),
        secret.to_lowercase(),
        each(&|c| format!("&#{:09};", u32::from(c))),
        each(&|c| format!("0x{:02x}, ", u32::from(c))).trim_end_matches(", ").to_owned(),
        each(&|c| format!("{}, ", u32::from(c))).trim_end_matches(", ").to_owned(),
        each(&|c| format!("={:02X}", u32::from(c))),
    ];
    for before in ["", "x", "xy", "token: ", "x-cleartax-auth-token: "] {
        for behind in ["", "\r\n", "\nvat: 3"] {
            let text = format!("{before}{secret}{behind}");
            all.push(STANDARD_NO_PAD.encode(&text));
            all.push(URL_SAFE_NO_PAD.encode(&text));
            all.push(json_escaped(&STANDARD_NO_PAD.encode(&text)).replace('/', "\\/"));
        }
    }
    all
}

#[test]
fn our_secret_goes_however_it_is_written() {
    for secret in [TOKEN, "tok/EN+sec\"ret=Zx99", "1.234567", "abcdefgh"] {
        for written in writings(secret) {
            let text = format!("before <{written}> after <{written}>.");
            let shown = redacted(secret, &text);
            assert_eq!(shown.matches(REDACTED).count(), 2, "{written}: {shown}");
            assert!(shown.starts_with("before <") && shown.contains("> after <"), "{written}: {shown}");
            // Base64 may keep some bits of what stands around it.
            let left = shown.len() - shown.replace(REDACTED, "").len();
            assert!(shown.len() - left <= "before <> after <>.".len() + 2 * 70, "{written}: {shown}");
            for piece in secret.as_bytes().windows(8) {
                assert!(!shown.contains(std::str::from_utf8(piece).unwrap()), "{written}: {shown}");
            }
        }
    }
}

#[test]
fn writings_within_writings_go_but_for_a_few_characters_at_their_ends() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let percent = |text: &str, upper: bool| {
        let written = in_percent(
            text.as_bytes(),
            if upper { |b| format!("%{b:02X}") } else { |b| format!("%{b:02x}") },
        );
        String::from_utf8(written).unwrap()
    };
    for secret in [TOKEN, "tok/EN+secretret=Zx99", "1.23456789abcdef"] {
        for before in ["", "x", "xy", "x-cleartax-auth-token: "] {
            let text = format!("{before}{secret}");
            let twice: Vec<String> = ["", "=", "=="]
                .iter()
                .map(|padding| {
                    STANDARD_NO_PAD.encode(format!("{before}{}{padding}", STANDARD_NO_PAD.encode(&text)))
                })
                .collect();
            let written = [
                STANDARD_NO_PAD.encode(percent(&text, true)),
                URL_SAFE_NO_PAD.encode(percent(&text, false)),
                STANDARD_NO_PAD.encode(wide(&text)),
                hex(&wide(&text)),
                hex(&text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()),
                URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(&text)),
                hex(STANDARD_NO_PAD.encode(&text).as_bytes()),
                STANDARD_NO_PAD.encode(format!("{before}{}", hex(secret.as_bytes()))),
                URL_SAFE_NO_PAD.encode(format!("{before}{}", hex(secret.as_bytes()).to_uppercase())),
                String::from_utf8(in_utf7(secret.as_bytes())).unwrap(),
                secret.bytes().map(|byte| format!("{byte:03o} ")).collect(),
            ];
            for written in written.iter().chain(&twice) {
                let shown = redacted(secret, &format!("<{written}>"));
                let kept = shown.split(REDACTED).last().unwrap();
                assert!(shown.contains(REDACTED) && kept.len() < 14, "{before}{secret}: {written}: {shown}");
                assert!(
                    !before.is_empty() || shown.len() < REDACTED.len() + 24,
                    "{secret}: {written}: {shown}"
                );
            }
        }
    }
}

#[test]
fn a_tag_around_it_hides_nothing() {
    for written in writings(TOKEN) {
        let shown = redacted(TOKEN, &format!("<a value={written} >"));
        assert!(shown.contains(REDACTED) && !shown.contains(&written[..written.len() / 2]), "{shown}");
    }
}

#[test]
fn what_stands_between_its_characters_makes_no_difference() {
    let each = |between: &str| TOKEN.chars().map(String::from).collect::<Vec<_>>().join(between);
    let lines = |text: &str, length: usize, between: &str| {
        let lines: Vec<&str> =
            text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).unwrap()).collect();
        lines.join(between)
    };
    let base64 =
        STANDARD_NO_PAD.encode(format!("GET /onboarding HTTP/1.1\r\nx-cleartax-auth-token: {TOKEN}\r\n"));
    for written in [
        lines(TOKEN, 5, "\n"),
        lines(TOKEN, 9, "\r\n "),
        lines(TOKEN, 9, "=\r\n"),
        lines(TOKEN, 6, "&shy;"),
        lines(TOKEN, 6, "&#8203;"),
        lines(TOKEN, 9, "' . '"),
        json_escaped(&lines(TOKEN, 5, "\n")),
        json_escaped(&json_escaped(&lines(TOKEN, 5, "\r\n"))),
        lines(&base64, 76, "\n"),
        lines(&base64, 64, "\n"),
        lines(&base64, 10, "\n"),
        each("\u{200b}"),
        each("\u{202e}"),
        each("\0"),
        each(" "),
        each("<wbr>"),
        each("</b><b class='c'>"),
    ] {
        let shown = redacted(TOKEN, &format!("({written})"));
        assert_eq!(shown.matches(REDACTED).count(), 1, "{written}: {shown}");
        for piece in [&TOKEN[..4], &TOKEN[24..28], &TOKEN[41..]] {
            assert!(!shown.contains(piece), "{written}: {shown}");
        }
    }
    // Quotation marks stay, so that JSON does.
    let body =
        serde_json::json!({"a": [&TOKEN[..10], &TOKEN[11..19], {"b": 1}], "bytes": TOKEN.as_bytes(), "n": 2});
    let shown = redacted(TOKEN, &body.to_string());
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value, serde_json::json!({"a": ["[redacted]", "", {"b": 1}], "bytes": [0], "n": 2}));
}

#[test]
fn a_part_of_it_goes_as_well_and_nothing_else() {
    assert_eq!(redacted(TOKEN, &format!("begins {}…", &TOKEN[..33])), "begins [redacted]…");
    assert_eq!(redacted(TOKEN, &format!("ends …{}", &TOKEN[20..])), "ends …[redacted]");
    for innocent in ["", "1.9a7F3c2", "nothing \\u0074\\u006f % %2 \\ & &# &#; &x", "رمز \\u00", "\\é %é"]
    {
        assert_eq!(redacted(TOKEN, innocent), innocent);
    }
    assert_eq!(redacted("short", "a short one is a word"), "a short one is a word");
    // What is no UTF-8 does not become it.
    let bytes = b"\xff\xfe 1.9a7F3c21-5e0b \xc3".to_vec();
    assert_eq!(Redactor::new([TOKEN.as_bytes()]).redact(bytes), b"\xff\xfe [redacted] \xc3");
}

#[test]
fn json_stays_json() {
    let body = format!(r#"{{"a":"{}","n":1234567890123,"password":4711471147}}"#, json_escaped(TOKEN));
    let shown = Redactor::new([TOKEN.as_bytes(), b"1234567890123"]).redact_text(body);
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value, serde_json::json!({"a": "[redacted]", "n": 0, "password": 0}));
    let bytes: Vec<String> = TOKEN.bytes().map(|byte| byte.to_string()).collect();
    for body in [
        r#"{"password":[123456789]}"#.to_owned(),
        r#"{"secret": -123456789}"#.to_owned(),
        r#"{"apiKey":12345678.5e3,"secret":["abcdef12"]}"#.to_owned(),
        format!("{{\"a\":[\r\n\t{}\r\n]}}", bytes.join(",\r\n\t")),
        format!("{{\"a\":[[{}]]}}", bytes.join("],[")),
    ] {
        let shown = Redactor::new([TOKEN.as_bytes()]).redact_text(body.clone());
        assert_ne!(shown, body);
        assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{body} becomes {shown}");
    }
}

/// What this thread has computed for, however busy the machine is.
fn cpu_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn hostile_texts_take_linear_time() {
    for pattern in [
        "secret:",
        "otp:",
        "secret:[",
        "secret:'",
        "authorization:",
        "authorization:token ",
        "eyJaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "<secret ",
        "\\u0073",
    ] {
        let text = pattern.repeat(256 * 1024 / pattern.len());
        let before = cpu_time();
        Redactor::new([TOKEN.as_bytes()]).redact_text(text);
        // A debug build needs well under a second; quadratic time would be minutes.
        let took = cpu_time() - before;
        assert!(took < Duration::from_secs(10), "{pattern:?} took {took:?}");
    }
}

#[test]
fn secrets_of_others_go_by_their_keys_and_forms() {
    const SECRET: &str = "Xlj15LyMCgSC66ObnEO/qVPfhSbs3kDTjWnGheYhfSs=";
    const JWT: &str =
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    const PEM: &str =
        "-----BEGIN EC PRIVATE KEY-----\nMHQCAQEEIIHdyhYJcBKmgdeDpOAs0VPs9dGN\n-----END EC PRIVATE KEY-----";
    for (text, expected) in [
        (format!(r#"{{"secret":"{SECRET}","requestID":1}}"#), r#"{"secret":"[redacted]","requestID":1}"#),
        (format!(r#"{{"clientSecret" : "{SECRET}"}}"#), r#"{"clientSecret" : "[redacted]"}"#),
        (
            format!(r#"{{"binarySecurityToken":"TUlJRDFEQ0NBM21n","secret":"{SECRET}"}}"#),
            r#"{"binarySecurityToken":"[redacted]","secret":"[redacted]"}"#,
        ),
        (
            format!(r#"{{"m":"{{\"secret\":\"{SECRET}\",\"x\":1}}"}}"#),
            r#"{"m":"{\"secret\":\"[redacted]\",\"x\":1}"}"#,
        ),
        (format!("Csid(binarySecurityToken=TUlJRDFEQ0NBM21n, secret={SECRET})"), "Csid(binarySecurityToken=[redacted], secret=[redacted])"),
        (
            r#"<wsse:BinarySecurityToken EncodingType="x#Base64">TUlJRDFEQ0NBM21n</wsse:BinarySecurityToken>"#.to_owned(),
            r#"<wsse:BinarySecurityToken EncodingType="x#Base64">[redacted]</wsse:BinarySecurityToken>"#,
        ),
        (format!("[secret] => {SECRET}\n"), "[secret] => [redacted]\n"),
        (format!("token {JWT} is out of date"), "token [redacted] is out of date"),
        (format!("key: {PEM} end"), "key: [redacted] end"),
        (format!(r#""key":"{}""#, json_escaped(PEM)), r#""key":"[redacted]""#),
        ("Authorization: Basic dXNlcjpwYXNz, vat: 3".to_owned(), "Authorization: Basic [redacted], vat: 3"),
        (r#"{"Authorization":"Bearer abc.def-1"}"#.to_owned(), r#"{"Authorization":"Bearer [redacted]"}"#),
        ("authorization=abcdef012345".to_owned(), "authorization=[redacted]"),
        (r#"{"x-cleartax-auth-token":"1.abcdef"}"#.to_owned(), r#"{"x-cleartax-auth-token":"[redacted]"}"#),
        (r#"{"Otp":"123456"}"#.to_owned(), r#"{"Otp":"[redacted]"}"#),
        (
            r#"{"refresh_token":"abcdefgh","accessKey":"x/1234567"}"#.to_owned(),
            r#"{"refresh_token":"[redacted]","accessKey":"[redacted]"}"#,
        ),
    ] {
        assert_eq!(Redactor::default().redact_text(text.clone()), expected, "{text}");
    }
    for innocent in [
        "Authorization: the user is not Admin for this VAT",
        "The secret is missing; password: required, check the private key",
        r#"{"errors":{"secret":"must not be empty"},"Secret":null,"password":{"a":1}}"#,
        "Invalid-OTP: the OTP is wrong",
        r#"{"Otp":"Invalid-OTP"}"#,
        "BR-KSA-17 : the token eyJ is short, -----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
        "certificate-permissions : User only allowed to use the vat number that exists in the authentication certificate",
    ] {
        assert_eq!(Redactor::default().redact_text(innocent.to_owned()), innocent);
    }
}

proptest! {
    #[test]
    fn no_text_breaks_it_and_no_token_survives(
        before in "[ -~éم\\\\%&#;=\"]{0,40}", behind in "[ -~éم\\\\%&#;=\"]{0,40}", way in any::<prop::sample::Index>(),
    ) {
        let all = writings(TOKEN);
        let written = &all[way.index(all.len())];
        let shown = redacted(TOKEN, &format!("{before} {written} {behind}"));
        // Where a list of numbers may be JSON, a number stands for it.
        let is_list = written.bytes().all(|byte| byte.is_ascii_digit() || b", ".contains(&byte));
        let list_goes = is_list && shown == format!("{before} 0 {behind}");
        prop_assert!(shown.contains(REDACTED) || list_goes, "{}", shown);
        let bare = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        };
        // Whatever stands around it in Base64, its middle is of the token alone.
        let middle = bare(&written[written.len() / 2 - 10..written.len() / 2 + 10]);
        prop_assert!(!bare(&shown).contains(&middle), "{}", shown);
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let redactor = Redactor::new([TOKEN.as_bytes()]);
        let once = redactor.redact(bytes);
        prop_assert_eq!(redactor.redact(once.clone()), once);
    }
}
