//! What has to hold for every page.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::civil::date;

use super::*;
use crate::domain::activity::State;
use crate::domain::catalogue::{Catalogue, Language};
use crate::domain::classify::TransientKind;
use crate::domain::gate::{Outage, Trouble};
use crate::domain::lifecycle::{Happening, next_state};
use crate::domain::report::CHECK_NAMES;
use crate::domain::routing::DeliveryStatus;
use crate::store::{
    ActivityRow, Blocked, Bucket, CheckTally, ChecksByVat, Conclusion, Day, Durations, EndingCertificate,
    EndingCertificates, EndingCounts, Explained, FailingRule, FailingRules, Failure, History, OutboxRow,
    Overview, Statistics, Total, Undelivered, UnservedVats, VatChecks, Waiting,
};

const NOW: Timestamp = Timestamp::from_millis(1_779_786_131_000);

pub(super) fn frame() -> Frame<'static> {
    Frame {
        now: NOW,
        version: "0.1.0",
        upstream: "https://api.example.com/ksa",
        last_answer_at: Some(NOW.shifted(-12_000)),
        outage: None,
        troubles: &[],
        form_token: "t0k3n",
        stalled_after: Duration::from_secs(3_600),
        catalogue: builtin(),
        words: Words::of(Language::English),
        zone: riyadh(),
        other_language_at: "/?lang=ar",
    }
}

fn arabic() -> Frame<'static> {
    Frame { words: Words::of(Language::Arabic), other_language_at: "/?lang=en", ..frame() }
}

fn riyadh() -> &'static Zone {
    static RIYADH: LazyLock<Zone> = LazyLock::new(Zone::default);
    &RIYADH
}

fn builtin() -> &'static Catalogue {
    static BUILTIN: LazyLock<Arc<Catalogue>> = LazyLock::new(Catalogue::builtin);
    &BUILTIN
}

/// Text that would do harm if it is not escaped, and would take all the room there is.
fn hostile() -> String {
    format!(
        "</p><script>alert(1)</script>\"'><img src=x style=x onerror=y>\u{202e}\u{7}{}",
        "x".repeat(10_000)
    )
}

fn conclusion(text: &str, state: State) -> Conclusion {
    Conclusion {
        vat: text.to_owned(),
        activity_id: text.to_owned(),
        device_id: Some(text.to_owned()),
        reference: Some(text.to_owned()),
        state,
        registered_at: NOW.shifted(-252_000),
        concluded_at: NOW,
        rules: if state == State::Failed { vec![text.to_owned()] } else { Vec::new() },
        n_more_rules: 2,
        reason: Some(text.to_owned()),
    }
}

fn failure(text: &str) -> Failure {
    let given = || Some(text.to_owned());
    Failure {
        vat: text.to_owned(),
        activity_id: text.to_owned(),
        device_id: given(),
        reference: given(),
        concluded_at: Some(NOW),
        rules: vec![text.to_owned(), text.to_owned()],
        message: given(),
        reason: given(),
        next_step: given(),
        next_step_ar: given(),
    }
}

fn full_overview(text: &str) -> (Overview, Statistics) {
    let gate = |credential: Option<&str>, vat: Option<&str>, reason: Option<&str>| Blocked {
        credential: credential.map(str::to_owned),
        vat: vat.map(str::to_owned),
        reason: reason.map(str::to_owned),
        since: Some(NOW.shifted(-60_000)),
        until: Some(NOW.shifted(60_000)),
    };
    let overview = Overview {
        states: State::ALL.into_iter().map(|state| (state, 1_234)).collect(),
        closed: vec![
            gate(Some(text), None, Some(text)),
            gate(Some(text), None, None),
            gate(None, Some(text), Some(text)),
        ],
        oldest_waiting: Some(Waiting {
            vat: text.to_owned(),
            activity_id: text.to_owned(),
            since: NOW.shifted(-7_200_000),
        }),
        due_since: Some(NOW.shifted(-5_000)),
        outbox: vec![Undelivered { sink: text.to_owned(), pending: 3, dead: 2, tried_since: None }],
        ending: EndingCounts { expired: 1, within: [2, 3, 4, 5] },
    };
    let statistics = Statistics {
        failures: vec![failure(text)],
        days: vec![Day { date: date(2026, 5, 26), states: BTreeMap::from([(State::Failed, 7)]) }],
        durations: Durations {
            n: 1,
            median: Some(Duration::from_secs(252)),
            p95: Some(Duration::from_secs(252)),
            buckets: vec![Bucket { from: Duration::from_secs(200), until: Duration::from_secs(300), n: 1 }],
        },
        checks: ChecksByVat {
            vats: vec![VatChecks {
                vat: text.to_owned(),
                checks: [CheckTally { n_succeeded: 3, n_failed: 1 }; 6],
            }],
            n_more_failing: 1,
        },
        rules: FailingRules {
            rules: vec![FailingRule { rule: text.to_owned(), n_failed_checks: 5, checks: vec![0, 3] }],
            n_more: 1,
        },
        latest: State::ALL.into_iter().map(|state| conclusion(text, state)).collect(),
        unserved: UnservedVats { vats: vec![text.to_owned(), text.to_owned()], n_more: 3 },
    };
    (overview, statistics)
}

/// A history with this text wherever somebody else's may be.
fn history(state: State, text: &str) -> History {
    let mut history = crate::store::tests::history();
    let given = || Some(text.to_owned());
    let activity = &mut history.activity;
    (activity.state, activity.device_id, activity.reference) = (state, given(), given());
    (activity.upstream_status, activity.pcsid_generated) = (given(), given());
    (activity.last_error, activity.next_step, activity.next_step_ar) = (given(), given(), given());
    let explained =
        Explained { meaning: given(), meaning_ar: given(), remedy: given(), remedy_ar: given(), owner: None };
    for transition in &mut history.transitions {
        transition.reason = given();
    }
    for check in &mut history.checks {
        check.message = given();
        for error in &mut check.errors {
            (error.rule, error.message, error.explained) = (given(), text.to_owned(), explained.clone());
        }
    }
    for error in &mut history.errors {
        (error.error_code, error.error_message, error.error_source) = (given(), given(), given());
        (error.rule, error.explained) = (given(), explained.clone());
    }
    for event in &mut history.events {
        event.r#type = text.to_owned();
    }
    for delivery in &mut history.deliveries {
        (delivery.r#type, delivery.last_error) = (text.to_owned(), given());
    }
    for attempt in &mut history.attempts {
        attempt.error = given();
    }
    history
}

fn outbox_of(text: &str) -> Outbox {
    let part = |status| {
        let mut delivery = crate::store::tests::history().deliveries.remove(0);
        (delivery.event_id, delivery.r#type, delivery.sink) =
            (text.to_owned(), text.to_owned(), text.to_owned());
        (delivery.status, delivery.last_error) = (status, Some(text.to_owned()));
        let row = OutboxRow { vat: Some(text.to_owned()), activity_id: Some(text.to_owned()), delivery };
        OutboxPart { status, rows: vec![row], next: Some("0".to_owned()) }
    };
    Outbox {
        status: None,
        sink: Some(text.to_owned()),
        sinks: vec![text.to_owned(), "log".to_owned()],
        undelivered: vec![Undelivered { sink: text.to_owned(), pending: 3, dead: 2, tried_since: None }],
        parts: vec![
            part(DeliveryStatus::Dead),
            part(DeliveryStatus::Pending),
            part(DeliveryStatus::Delivered),
        ],
        is_continued: true,
    }
}

/// Certificates of which one has ended.
fn ending(text: &str) -> EndingCertificates {
    let one = |activity_id: Option<&str>, expires_at| EndingCertificate {
        vat: text.to_owned(),
        device_id: Some(text.to_owned()),
        activity_id: activity_id.map(str::to_owned),
        obtained_at: NOW,
        expires_at,
        reminded_at: Some(NOW),
    };
    EndingCertificates {
        list: vec![one(None, NOW.shifted(-1_000)), one(Some(text), NOW.shifted(86_400_000))],
        n_more: 7,
        days: BTreeMap::from([(date(2026, 6, 1), 3)]),
        counts: EndingCounts { expired: 1, within: [1, 2, 3, 4] },
    }
}

fn entered(text: &str) -> Entered {
    let path = crate::domain::preflight::FIELDS[1].path.to_owned();
    // What was pasted comes back as it is, as in every field of a form.
    let pasted = text.replace(['\u{202e}', '\u{7}'], "");
    Entered { values: BTreeMap::from([(path, text.to_owned())]), text: pasted }
}

/// Two devices with this text as their name, and as a key and a value that are not right.
fn checked(text: &str) -> Outcome {
    use crate::domain::preflight::{Context, Device, check};
    let device = Device::from_pairs([("CommonName", text), ("Vat", text), (text, text)]);
    let findings = check(&device, Context { is_production: true }, &[]);
    Outcome::Checked(vec![(device.clone(), findings), (device, Vec::new())])
}

/// Every kind of page in both languages, with this text wherever somebody else's may be.
fn every_page(text: &str) -> Vec<(String, String)> {
    let both = [frame(), arabic()].map(|frame| every_page_in(&frame, text));
    both.into_iter().flatten().collect()
}

fn every_page_in(frame: &Frame<'static>, text: &str) -> Vec<(String, String)> {
    let troubles = [text.to_owned()];
    let sad = Frame { upstream: text, troubles: &troubles, form_token: text, ..*frame };
    let search = Search {
        q: text.to_owned(),
        vat: text.to_owned(),
        rule: text.to_owned(),
        is_continued: true,
        ..Search::default()
    };
    let found = FoundActivities {
        activities: State::ALL
            .map(|state| ActivityRow {
                vat: text.to_owned(),
                activity_id: text.to_owned(),
                ..history(state, text).activity
            })
            .to_vec(),
        failures: Vec::new(),
        total: Total::MoreThan(10),
        next: Some(text.to_owned()),
    };
    let failed = FoundActivities { failures: vec![failure(text)], ..found.clone() };
    let (full, statistics) = full_overview(text);
    let empty = Overview::default();
    let mut pages = vec![
        ("overview", overview(&sad, &full, &statistics, Refresh::On)),
        ("empty overview", overview(frame, &empty, &Statistics::default(), Refresh::Off)),
        ("activities", activities(&sad, &search, &found)),
        ("failures", activities(&sad, &search, &failed)),
        ("nothing found", activities(frame, &search, &FoundActivities::default())),
        ("no activities", activities(frame, &Search::default(), &FoundActivities::default())),
        ("deliveries", outbox(&sad, &outbox_of(text), Some(Done::Redelivered))),
        ("no deliveries", outbox(frame, &Outbox::default(), None)),
        ("choice", choose_vat(&sad, &found.activities)),
        ("refusal", refusal(&sad, text, text)),
        ("certificates", renewals(&sad, &ending(text))),
        ("no certificates", renewals(frame, &EndingCertificates::default())),
        ("preflight", preflight(frame, &Entered::default(), &Outcome::Empty)),
        ("preflight checked", preflight(&sad, &entered(text), &checked(text))),
        ("preflight unreadable", preflight(&sad, &entered(text), &Outcome::Unreadable(text.to_owned()))),
    ];
    for state in State::ALL {
        pages.push((state.label(), activity(&sad, &history(state, text), Some(Done::Due))));
    }
    let language = frame.words.language().label();
    pages
        .into_iter()
        .map(|(name, page)| {
            (format!("{language} {}", name.chars().take(20).collect::<String>()), page.into_string())
        })
        .collect()
}

#[test]
fn hostile_text_comes_out_escaped_on_every_page() {
    let text = hostile();
    for (name, page) in every_page(&text) {
        for harm in ["<script", "<img", "<style"] {
            assert!(!page.contains(harm), "{name} has {harm:?}");
        }
        // What goes into a form's field has to come back as it is, and is shown in no line with other text.
        for invisible in ['\u{202e}', '\u{7}'] {
            assert!(!without_values(&page).contains(invisible), "{name} has {invisible:?}");
        }
        // Inside quotes it is text; outside, an attribute.
        assert!(!outside_of_quotes(&page).contains("style="), "{name}");
        assert!(!outside_of_quotes(&page).contains("onerror="), "{name}");
    }
}

/// The tags without the values of their attributes and without the text between them.
fn outside_of_quotes(page: &str) -> String {
    without_values(page).split('<').filter_map(|rest| rest.split('>').next()).collect()
}

/// Tags and text without the values of attributes.
fn without_values(page: &str) -> String {
    let (mut kept, mut in_tag, mut in_value) = (String::new(), false, false);
    for c in page.chars() {
        match c {
            '<' if !in_tag => in_tag = true,
            '>' if in_tag && !in_value => in_tag = false,
            '"' if in_tag => in_value = !in_value,
            _ => {}
        }
        if !in_value {
            kept.push(c);
        }
    }
    kept
}

#[test]
fn no_page_needs_more_than_its_own_style_sheet() {
    for (name, page) in every_page("صندوق ١") {
        for inline in
            ["<script", "<style", " style=", "javascript:", " onclick=", "http://", "<iframe", "<img"]
        {
            assert!(!page.contains(inline), "{name} has {inline}");
        }
        assert_eq!(
            page.matches("https://").count(),
            page.matches("https://api.example.com/ksa").count(),
            "{name}"
        );
    }
    for outside in ["@import", "http", "url("] {
        assert!(!CSS.contains(outside), "{outside}");
    }
}

#[test]
fn every_page_has_landmarks_a_title_and_one_headline() {
    for (name, page) in every_page("text") {
        assert_eq!(page.matches("<h1").count(), 1, "{name}");
        for part in ["<main id=\"main\"", "href=\"#main\"", "<nav", "<footer", "<title>"] {
            assert!(page.contains(part), "{name} lacks {part}");
        }
        let n_tables = page.matches("<table").count();
        assert_eq!(page.matches("<caption").count(), n_tables, "{name}");
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{name}: {ids:?}");
    }
}

#[test]
fn all_six_checks_are_there_whatever_is_known_of_them() {
    for state in State::ALL {
        for n_checks in [0, 5, 6] {
            let mut history = history(state, "text");
            history.checks.truncate(n_checks);
            let page = activity(&frame(), &history, None).into_string();
            for name in CHECK_NAMES {
                assert!(page.contains(&format!("data-check=\"{name}\"")), "{state}: {name}");
            }
        }
    }
}

#[test]
fn a_state_offers_what_can_be_done_in_it() {
    for state in State::ALL {
        let page = activity(&frame(), &history(state, "text"), None).into_string();
        let offers = |verb: &str| page.contains(&format!("action=\"/activities/act-1/{verb}\""));
        assert_eq!(offers("poll"), !state.is_concluded(), "{state}");
        assert_eq!(offers("cancel"), !state.is_concluded(), "{state}");
        assert_eq!(offers("retry"), next_state(Some(state), Happening::Retried).is_ok(), "{state}");
        let word = frame().words.state_word(state);
        assert!(page.contains(&format!("<title>{word} · act-1")), "{state}");
        assert!(page.contains(&format!("<h1 data-state=\"{state}\"")), "{state}");
        let forms = page.matches("method=\"post\"").count();
        assert_eq!(page.matches("name=\"form_token\" value=\"t0k3n\"").count(), forms, "{state}");
        assert_eq!(page.matches("name=\"vat\" value=\"310122393500003\"").count(), forms, "{state}");
    }
}

#[test]
fn watching_is_not_stopped_by_one_stray_click() {
    let page = activity(&frame(), &history(State::Pending, "text"), None).into_string();
    let (before, _) = page.split_once("/cancel\"").unwrap();
    let opened = before.matches("<details").count() - before.matches("</details").count();
    assert_eq!(opened, 1, "{page}");
    assert!(!before.contains("<details open"), "{page}");
}

#[test]
fn what_is_dead_or_delivered_can_be_redelivered() {
    let page = activity(&frame(), &history(State::Failed, "text"), None).into_string();
    assert_eq!(page.matches("action=\"/events/e-1/redeliver\"").count(), 2, "{page}");
    for sink in ["erp", "log"] {
        assert!(page.contains(&format!("name=\"webhook\" value=\"{sink}\"")), "{sink}");
    }
    assert!(!page.contains("value=\"crm\""), "{page}");
}

#[test]
fn what_was_done_is_said() {
    for said in [Done::Due, Done::Cancelled, Done::Retried, Done::Redelivered] {
        assert_eq!(Done::from_label(said.label()), Some(said));
        let page = activity(&frame(), &history(State::Pending, "text"), Some(said)).into_string();
        assert!(page.contains("role=\"status\""), "{said:?}");
    }
    assert_eq!(Done::from_label("<script>"), None);
}

#[test]
fn the_overview_says_whether_all_is_well() {
    let title = |frame: &Frame<'_>, overview_: &Overview, statistics: &Statistics| {
        let page = overview(frame, overview_, statistics, Refresh::Off).into_string();
        page.split("<title>").nth(1).and_then(|rest| rest.split(" · ").next()).unwrap().to_owned()
    };
    let (full, statistics) = full_overview("text");
    let nothing = Statistics::default();
    assert!(title(&frame(), &Overview::default(), &nothing).starts_with("Ready"));
    assert_eq!(title(&frame(), &full, &statistics), "8 things need your attention");
    assert_eq!(title(&arabic(), &full, &statistics), "8 أمور تحتاج إلى انتباهك");
    let troubles = ["the database cannot be written".to_owned()];
    assert!(title(&Frame { troubles: &troubles, ..frame() }, &full, &statistics).starts_with("Not working"));

    let due = Overview { due_since: Some(NOW.shifted(-1_200_000)), ..Overview::default() };
    assert!(title(&frame(), &due, &nothing).starts_with("Ready"));
    let silent = Frame { last_answer_at: Some(NOW.shifted(-900_000)), ..frame() };
    assert_eq!(title(&silent, &due, &nothing), "1 thing needs your attention");
}

#[test]
fn the_overview_says_that_nothing_usable_comes_from_upstream_and_what_to_check() {
    let trouble =
        Trouble { kind: TransientKind::UnexpectedStatus, cause: "HTTP 404: <b>nginx</b>".to_owned() };
    let outage = Outage { since: NOW.shifted(-90_000), trouble };
    let frame = Frame { outage: Some(&outage), last_answer_at: None, ..frame() };
    let due = Overview { due_since: Some(NOW.shifted(-1_200_000)), ..Overview::default() };
    let page = overview(&frame, &due, &Statistics::default(), Refresh::Off).into_string();
    for part in [
        "<title>1 thing needs your attention",
        "No usable answer from ClearTax",
        "HTTP 404: &lt;b&gt;",
        "upstream.base_url",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn an_empty_database_says_how_to_fill_it() {
    for page in [
        overview(&frame(), &Overview::default(), &Statistics::default(), Refresh::On),
        activities(&frame(), &Search::default(), &FoundActivities::default()),
    ] {
        let page = page.into_string();
        assert!(page.contains("pcsid-watch add --vat VAT ACTIVITY_ID"), "{page}");
        assert!(page.contains("POST /v1/activities"), "{page}");
    }
}

#[test]
fn refreshing_can_be_switched_off_and_on_and_no_page_does_it_by_itself() {
    let page =
        |refresh| overview(&frame(), &Overview::default(), &Statistics::default(), refresh).into_string();
    assert!(page(Refresh::On).contains("href=\"/?refresh=off\""));
    assert!(page(Refresh::Off).contains("href=\"/?refresh=on\""));
    for (name, page) in every_page("text") {
        assert!(!page.contains("http-equiv"), "{name}");
    }
}

#[test]
fn every_page_has_the_language_and_direction_of_its_reader() {
    for (name, page) in every_page("text") {
        let (language, direction) = if name.starts_with("ar") { ("ar", "rtl") } else { ("en", "ltr") };
        assert!(page.contains(&format!("<html lang=\"{language}\" dir=\"{direction}\">")), "{name}");
    }
}

/// English words that are in an Arabic page for good: names, and what is typed.
const NAMES: [&str; 23] = [
    "otp",
    "tin",
    "egs",
    "crn",
    "mom",
    "mls",
    "sag",
    "oth",
    "sa",
    "rrrd",
    "json",
    "pcsid",
    "watch",
    "cleartax",
    "pcsid-watch",
    "http",
    "vat",
    "utc",
    "admin",
    "csv",
    "english",
    "br",
    "ksa",
];

#[test]
fn an_arabic_page_has_no_english_sentence() {
    for (name, page) in every_page("٧") {
        if !name.starts_with("ar") {
            continue;
        }
        for text in texts_outside_of_code(&page) {
            let n_english = text
                .split(|c: char| !c.is_ascii_alphabetic())
                .filter(|word| word.len() > 1 && !NAMES.contains(&word.to_ascii_lowercase().as_str()))
                .count();
            assert!(n_english == 0, "{name}: {text:?}");
        }
    }
}

/// The texts of a page that are neither code nor marked as of another language or direction.
fn texts_outside_of_code(page: &str) -> Vec<String> {
    let body = page.split_once("<body>").map_or("", |(_, body)| body);
    let (mut texts, mut open): (Vec<String>, Vec<(String, bool)>) = (Vec::new(), Vec::new());
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap_or_default();
        if tag.starts_with('/') {
            open.pop();
        } else if !matches!(name, "input" | "br" | "col" | "meta" | "link") {
            let is_foreign = tag.contains("dir=\"ltr\"") || tag.contains("dir=\"auto\"");
            open.push((name.to_owned(), is_foreign));
        }
        if !text.trim().is_empty() && !open.iter().any(|(_, is_foreign)| *is_foreign) {
            texts.push(text.to_owned());
        }
    }
    texts
}

#[test]
fn activities_are_linked_with_their_vat() {
    let (full, statistics) = full_overview("a&b c");
    let page = overview(&frame(), &full, &statistics, Refresh::Off).into_string();
    assert!(page.contains("href=\"/activities/a%26b%20c?vat=a%26b%20c\""), "{page}");
    for state in State::ALL {
        assert!(page.contains(&format!("href=\"/activities?state={state}\"")), "{state}");
    }
}

#[test]
fn text_of_others_brings_its_own_direction() {
    let page = activity(&frame(), &history(State::Failed, "صندوق ١"), None).into_string();
    assert!(page.contains("<bdi dir=\"auto\">صندوق ١</bdi>"), "{page}");
    assert!(page.contains("<pre class=\"verbatim\" dir=\"auto\""), "{page}");
}

/// What a reader sees of a page's main part, a line for each piece of text.
fn read_aloud(page: &str) -> String {
    let main = page.split_once("<main").and_then(|(_, rest)| rest.split_once("</main>")).unwrap().0;
    let (mut lines, mut in_tag) = (String::new(), true);
    for c in main.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                lines.push('\n');
            }
            c if !in_tag => lines.push(c),
            _ => {}
        }
    }
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_pages_say_reads_as_ever() {
    let history = crate::store::tests::history();
    let (full, statistics) = full_overview("PO-7");
    let said: Vec<String> = [frame(), arabic()]
        .iter()
        .flat_map(|frame| {
            [
                activity(frame, &history, Some(Done::Due)),
                overview(frame, &full, &statistics, Refresh::Off),
                outbox(frame, &outbox_of("PO-7"), None),
                choose_vat(frame, std::slice::from_ref(&history.activity)),
                renewals(frame, &ending("PO-7")),
            ]
        })
        .map(|page| read_aloud(&page.into_string()))
        .collect();
    insta::assert_snapshot!(said.join("\n\n----\n\n"));
}
