//! What has to hold for the files of messages, and for what is made of them.

use std::collections::{BTreeMap, BTreeSet};

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement, VariantKey};

use super::*;
use crate::domain::catalogue::Catalogue;
use crate::domain::classify::{Answer, TransientKind, Verdict, classify};
use crate::domain::gate::Trouble;
use crate::domain::preflight::from_text;

type Arguments = BTreeMap<String, BTreeSet<String>>;

const AR: Words = Words::of(Language::Arabic);
const EN: Words = Words::of(Language::English);

/// Every message with its arguments; with the plural forms that it has.
fn messages(text: &str) -> (Arguments, Arguments) {
    let resource = fluent_syntax::parser::parse(text).expect("a file without mistakes");
    let (mut arguments, mut forms) = (Arguments::new(), Arguments::new());
    for entry in resource.body {
        let Entry::Message(message) = entry else { continue };
        let key = message.id.name.to_owned();
        let pattern = message.value.expect("a message has a text");
        let (mut names, mut plurals) = (BTreeSet::new(), BTreeSet::new());
        collect(&pattern, &mut names, &mut plurals);
        assert!(arguments.insert(key.clone(), names).is_none(), "{key} stands twice");
        forms.insert(key, plurals);
    }
    (arguments, forms)
}

fn collect(pattern: &Pattern<&str>, names: &mut BTreeSet<String>, forms: &mut BTreeSet<String>) {
    fn variable(inline: &InlineExpression<&str>, names: &mut BTreeSet<String>) {
        if let InlineExpression::VariableReference { id } = inline {
            names.insert(id.name.to_owned());
        }
    }
    for element in &pattern.elements {
        match element {
            PatternElement::Placeable { expression: Expression::Inline(inline) } => variable(inline, names),
            PatternElement::Placeable { expression: Expression::Select { selector, variants } } => {
                variable(selector, names);
                for variant in variants {
                    if let VariantKey::Identifier { name } = variant.key {
                        forms.insert(name.to_owned());
                    }
                    collect(&variant.value, names, forms);
                }
            }
            PatternElement::TextElement { .. } => {}
        }
    }
}

#[test]
fn every_message_is_there_in_both_languages_with_the_same_arguments() {
    let ((english, _), (arabic, _)) = (messages(ENGLISH), messages(ARABIC));
    let keys = |messages: &Arguments| messages.keys().cloned().collect::<BTreeSet<_>>();
    let (of_english, of_arabic) = (keys(&english), keys(&arabic));
    assert_eq!(
        of_english.difference(&of_arabic).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "missing in Arabic"
    );
    assert_eq!(
        of_arabic.difference(&of_english).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "used by nobody"
    );
    for (key, arguments) in &english {
        assert_eq!(arabic.get(key), Some(arguments), "{key}");
    }
}

/// The keys of the command line's help.
pub(crate) fn help_keys() -> BTreeSet<String> {
    messages(ARABIC_HELP).0.into_keys().collect()
}

#[test]
fn an_arabic_plural_has_all_six_forms() {
    let (_, forms) = messages(ARABIC);
    let six: BTreeSet<String> =
        ["zero", "one", "two", "few", "many", "other"].into_iter().map(str::to_owned).collect();
    for (key, forms) in forms.iter().filter(|(_, forms)| !forms.is_empty()) {
        assert_eq!(forms, &six, "{key}");
    }
}

#[test]
fn arabic_plurals_are_chosen_by_number() {
    for (n, text) in [
        (0, "لا أنشطة"),
        (1, "نشاط واحد"),
        (2, "نشاطان"),
        (3, "3 أنشطة"),
        (10, "10 أنشطة"),
        (11, "11 نشاطًا"),
        (99, "99 نشاطًا"),
        (100, "100 نشاط"),
        (102, "102 نشاط"),
        (1_103, "1,103 أنشطة"),
        (1_111, "1,111 نشاطًا"),
        (u64::MAX, "18,446,744,073,709,551,615 نشاطًا"),
    ] {
        assert_eq!(AR.n_activities(n).to_string(), text);
    }
    assert_eq!(EN.n_activities(1).to_string(), "1 activity");
    assert_eq!(EN.n_activities(1_000).to_string(), "1,000 activities");
}

#[test]
fn what_others_wrote_is_escaped_and_isolated_in_a_page_and_plain_on_a_terminal() {
    let said = AR.vat_named("<b>\u{202e}3\u{f8f0}0\u{f8f1}");
    assert_eq!(said.to_string(), "الرقم الضريبي <b>\u{202e}3\u{f8f0}0\u{f8f1}");
    let html = said.render().into_string();
    assert!(html.starts_with("الرقم الضريبي <bdi dir=\"auto\">&lt;b&gt;⟦U+202E⟧3"), "{html}");
    assert_eq!(EN.listed(&["a".to_owned(), "b".to_owned(), "c".to_owned()]), "a, b and c");
    assert_eq!(AR.listed(&["أ".to_owned(), "ب".to_owned(), "ج".to_owned()]), "أ، ب وج");
}

#[test]
fn stored_sentences_are_said_in_arabic_and_others_are_not_touched() {
    for (sentence, arabic) in [
        ("upstream reports FAILED", "أفادت ClearTax بالفشل"),
        (
            "upstream refused the id 3 times in a row: E1 no such activity",
            "رفضت ClearTax المعرّف مرات متتالية عددها 3: E1 no such activity",
        ),
        ("not concluded 23h after watching began", "لم ينتهِ خلال 23 ساعة من بدء المتابعة"),
        (
            "invalid_response: the body is not JSON; body starts `<html>: x`",
            "رد غير صالح: النص ليس JSON؛ يبدأ النص بـ `<html>: x`",
        ),
        ("gateway: HTTP 502: `bad`", "خطأ في البوابة: HTTP 502: `bad`"),
        ("no_reply: no connection: refused", "لم يصل رد: لا اتصال: refused"),
        (
            "Activity a of VAT 3 is FAILED: only one that is being watched can be polled.",
            "حالة النشاط a للرقم الضريبي 3 هي فشل: لا يُستعلم إلا عن نشاط قيد المتابعة.",
        ),
        ("Activity a is not known", "النشاط a غير معروف"),
    ] {
        assert_eq!(AR.stored(sentence).as_deref(), Some(arabic), "{sentence}");
        assert_eq!(EN.stored(sentence), None, "{sentence}");
    }
    for others in ["", "Something that nobody says here", "upstream reports FAILED twice"] {
        assert_eq!(AR.stored(others), None, "{others}");
    }
}

#[test]
fn what_others_wrote_within_a_stored_sentence_is_isolated_in_a_page() {
    let refused = "upstream refused the id 3 times in a row: 6011 ZATCA issued no certificate: wait";
    let html = AR.stored_markup(refused, 600).unwrap().into_string();
    assert_eq!(
        html,
        "رفضت ClearTax المعرّف مرات متتالية عددها <bdi dir=\"auto\">3</bdi>: \
         <bdi dir=\"auto\">6011 ZATCA issued no certificate: wait</bdi>"
    );
    let cut = AR.stored_markup(refused, 60).unwrap().into_string();
    assert!(cut.ends_with("…</bdi>") && !cut.contains(BEGIN), "{cut}");
    let nested = AR.stored_markup("no_reply: no connection: <refused>", 600).unwrap().into_string();
    assert_eq!(nested, "لم يصل رد: لا اتصال: <bdi dir=\"auto\">&lt;refused&gt;</bdi>");
    assert!(EN.stored_markup(refused, 600).is_none());
}

#[test]
fn a_complaint_is_said_in_arabic_behind_the_places_that_it_names() {
    for (complaint, arabic) in [
        (
            "pcsid-watch.toml: http.listen: `x` is not usable: it must be an address and a port, such as 127.0.0.1:8088, or empty",
            "pcsid-watch.toml: http.listen: القيمة `x` لا تصلح: يجب أن تكون عنوانًا ومنفذًا مثل 127.0.0.1:8088، أو فارغة",
        ),
        (
            "line 2, column 7: not valid JSON: expected value",
            "السطر 2، العمود 7: ليس JSON صحيحًا: يجب أن تكون هنا قيمة",
        ),
        (
            "standard input: line 1, column 6: not valid JSON: expected `,` or `}`",
            "المدخل القياسي: السطر 1، العمود 6: ليس JSON صحيحًا: يجب أن تأتي هنا فاصلة `,` أو يُغلق القوس المعقوص",
        ),
        ("x.toml: not valid TOML at line 1, column 2", "x.toml: ليس TOML صحيحًا عند السطر 1، العمود 2"),
        ("a.csv: the whole file: it is empty", "a.csv: الملف كله: هو فارغ"),
        ("line 3: it has 2 fields, the header has 4", "السطر 3: عدد حقوله 2، وعدد حقول سطر العناوين 4"),
        (
            "x.toml: colour: this key is not known, expected one of `database`, `ui`\nnobody: knows this",
            "x.toml: colour: هذا المفتاح غير معروف، والمعروف `database`, `ui`\nnobody: knows this",
        ),
    ] {
        assert_eq!(AR.complaint(complaint), arabic);
        assert_eq!(EN.complaint(complaint), complaint);
    }
}

#[test]
fn whatever_a_json_parser_complains_of_is_said_in_arabic() {
    let deep = "[".repeat(200);
    for text in [
        "[1",
        "{",
        "{\"a\"",
        "[\"a",
        "[",
        "{\"a\" 1}",
        "[1 2]",
        "{\"a\": 1 2}",
        "[tru]",
        "[?]",
        "{1: 2}",
        "[1,]",
        "{} {}",
        "[\"\\q\"]",
        "[\"\n\"]",
        "[01]",
        "[1e999]",
        "[\"\\ud800\"]",
        "[\"\\ud800\\n\"]",
        "[\"\\u12\"]",
        &deep,
    ] {
        let complaint = from_text(text.as_bytes()).unwrap_err().to_string();
        let said = AR.complaint(&complaint);
        let (_, reason) =
            said.split_once("ليس JSON صحيحًا: ").unwrap_or_else(|| panic!("{complaint} is {said}"));
        assert!(reason.contains(|c: char| ('\u{620}'..='\u{64a}').contains(&c)), "{complaint} is {said}");
    }
    assert_eq!(
        AR.complaint("a.json can't be read: No such file or directory (os error 2)"),
        "تتعذّر قراءة a.json: لا يوجد ملف بهذا الاسم"
    );
}

#[test]
fn whatever_is_wrong_with_an_answer_is_said_in_arabic() {
    let reply = |http_status, body: &str| Answer::Reply { http_status, retry_after: None, body: body.into() };
    let no_reply = |cause: &str| Answer::NoReply { http_status: None, cause: cause.to_owned() };
    let mut answers = vec![
        reply(200, ""),
        reply(200, "<html>"),
        reply(200, "{}"),
        reply(200, r#"{"Status": 7}"#),
        reply(200, r#"{"Status": "WHATEVER"}"#),
        reply(200, r#"{"Status": "SUCCEEDED", "ActivityType": "OTHER"}"#),
        Answer::Reply { http_status: 200, retry_after: None, body: vec![0xff, 0xfe] },
        reply(400, "{}"),
        reply(500, r#"{"Status": "IN_PROGRESS"}"#),
        reply(500, "oops"),
    ];
    answers.extend([301, 307, 404, 418, 502, 503, 504].map(|status| reply(status, "oops")));
    answers.extend(
        [
            "no connection in time: deadline has elapsed",
            "no answer in time: x",
            "the host's name could not be resolved: x",
            "TLS failed: x",
            "no connection: x",
            "the connection broke within the answer: x",
            "the connection broke before an answer: x",
            "no complete answer within 30s (upstream.request_timeout)",
            "the answer's body is longer than 256 KiB",
        ]
        .map(no_reply),
    );
    let catalogue = Catalogue::builtin();
    for answer in answers {
        let Verdict::Transient { kind, detail, .. } = classify(&answer, catalogue.codes()).verdict else {
            panic!("{answer:?} says something");
        };
        let stored = format!("{}: {detail}", kind.label());
        let said = AR.stored(&stored).unwrap_or_else(|| panic!("{stored} is not known"));
        let (_, rest) = said.split_once(": ").unwrap();
        let is_arabic = |c: char| ('\u{620}'..='\u{64a}').contains(&c);
        assert!(rest.contains(is_arabic) || detail.starts_with("HTTP"), "{stored} is {said}");
    }
    for trouble in [
        TransientKind::NoReply,
        TransientKind::Gateway,
        TransientKind::ServerError,
        TransientKind::InvalidResponse,
        TransientKind::UnexpectedStatus,
    ] {
        let advice = Trouble { kind: trouble, cause: String::new() }.advice();
        assert!(AR.stored(advice).is_some(), "{advice}");
    }
}
