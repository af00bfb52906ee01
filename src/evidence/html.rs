//! The bundle for people: one file without anything from elsewhere, made to be printed on A4.

use std::fmt::Write as _;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::domain::activity::State;
use crate::domain::catalogue::{Language, Severity};
use crate::domain::rules::page_as_sentence;
use crate::domain::text::{is_direction_mark, visible};
use crate::domain::time::Timestamp;
use crate::page::{check_word, code, owner_word, prose, state_word, their_lines, theirs};
use crate::words::{Said, Words, Zone};

const CSS: &str = include_str!("evidence.css");

/// The page of a bundle in a reader's language, with times on a reader's clocks. The machine-readable bundle stands at its
/// end, in UTC.
pub fn render(bundle: &Value, words: Words, zone: &Zone) -> Markup {
    let sheet = Sheet { words, zone };
    let content = &bundle["content"];
    let activity = &content["activity"];
    let id = text(activity, "activity_id");
    html! {
        (DOCTYPE)
        html lang=(words.language().label()) dir=(words.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (words.sheet_title(visible(&id))) }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    h1 { (words.sheet_title(code(&id))) }
                    p {
                        (words.vat_named(code(&text(activity, "vat")))) " · "
                        strong { (sheet.state(&text(activity, "state"))) } " "
                        span.soft { "(" (code(&text(activity, "state"))) ")" }
                    }
                    p.soft { (sheet.zone_note(bundle)) }
                    @let next_step = sheet.in_language(activity, "next_step");
                    @if !next_step.is_empty() {
                        div.step { strong { (words.next_step_title()) } p { (prose(&next_step)) } }
                    }
                    (sheet.request(&content["request"]))
                    (sheet.facts(activity))
                    (sheet.timeline(content))
                    (sheet.checks(content))
                    (sheet.listed_errors(content))
                    (sheet.final_answer(content))
                    (sheet.proof(bundle))
                }
            }
        }
    }
}

/// How a fact is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Time,
}

#[derive(Clone, Copy)]
struct Sheet<'a> {
    words: Words,
    zone: &'a Zone,
}

impl Sheet<'_> {
    fn state(&self, label: &str) -> Markup {
        html! {
            @match State::from_label(label) {
                Some(state) => (state_word(self.words, state)),
                None => (theirs(label)),
            }
        }
    }

    fn time(&self, text: &str) -> Markup {
        html! {
            @match Timestamp::parse_lenient(text) {
                Some(at) => time datetime=(at) dir="ltr" { (self.zone.second(at)) },
                None => (theirs(text)),
            }
        }
    }

    /// Of which place the times are.
    fn zone_note(&self, bundle: &Value) -> Said<'static> {
        let at = Timestamp::parse_lenient(&text(bundle, "made_at")).unwrap_or(Timestamp::from_millis(0));
        let zone = match self.zone.name() {
            Zone::DEFAULT => self.words.zone_riyadh(self.zone.offset(at)).to_string(),
            name => self.words.zone_other(name.to_owned(), self.zone.offset(at)).to_string(),
        };
        self.words.sheet_zone(zone)
    }

    fn stored(&self, sentence: &str) -> Markup {
        self.words.stored_markup(sentence, usize::MAX).unwrap_or_else(|| theirs(sentence))
    }

    fn in_language(&self, row: &Value, key: &str) -> String {
        match self.words.language() {
            Language::English => text(row, key),
            Language::Arabic => text(row, &format!("{key}_ar")),
        }
    }

    fn request(&self, request: &Value) -> Markup {
        html! {
            section {
                h2 { (self.words.sheet_request()) }
                p { (code(&format!("{} {}", text(request, "method"), text(request, "url")))) }
            }
        }
    }

    fn facts(&self, activity: &Value) -> Markup {
        let words = self.words;
        let facts: [(&str, Said<'static>, Kind); 15] = [
            ("device_id", words.col_device(), Kind::Text),
            ("reference", words.col_reference(), Kind::Text),
            ("upstream_status", words.fact_status(), Kind::Text),
            ("pcsid_generated", words.fact_pcsid(), Kind::Text),
            ("total_count", words.sheet_total(), Kind::Number),
            ("success_count", words.sheet_succeeded(), Kind::Number),
            ("failure_count", words.sheet_failed(), Kind::Number),
            ("registered_at", words.col_added(), Kind::Time),
            ("first_polled_at", words.fact_first_poll(), Kind::Time),
            ("last_polled_at", words.fact_last_poll(), Kind::Time),
            ("poll_count", words.fact_polls(), Kind::Number),
            ("upstream_created_at", words.fact_created(), Kind::Time),
            ("upstream_completed_at", words.fact_completed(), Kind::Time),
            ("concluded_at", words.col_ended(), Kind::Time),
            ("last_http_status", words.fact_http_status(), Kind::Text),
        ];
        html! {
            section {
                h2 { (words.facts_title()) }
                table.facts {
                    @for (key, label, kind) in facts {
                        @let value = text(activity, key);
                        @if !value.is_empty() {
                            tr {
                                th scope="row" { (label) }
                                td {
                                    @match kind {
                                        Kind::Text => (theirs(&value)),
                                        Kind::Number => (value.parse().map_or(value.clone(), |n| words.number(n))),
                                        Kind::Time => (self.time(&value)),
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn timeline(&self, content: &Value) -> Markup {
        let words = self.words;
        html! {
            section {
                h2 { (words.timeline_title()) }
                table {
                    thead {
                        tr {
                            th scope="col" { (words.col_when()) } th scope="col" { (words.col_from()) }
                            th scope="col" { (words.col_to()) } th scope="col" { "HTTP" }
                            th scope="col" { (words.col_why()) }
                        }
                    }
                    tbody {
                        @for step in rows(content, "transitions") {
                            tr {
                                td.nowrap { (self.time(&text(step, "occurred_at"))) }
                                td { (self.state(&text(step, "from_state"))) }
                                td { (self.state(&text(step, "to_state"))) }
                                td { (text(step, "http_status")) }
                                td { (self.stored(&text(step, "reason"))) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn checks(&self, content: &Value) -> Markup {
        let words = self.words;
        html! {
            h2 { (words.findings_title()) }
            @for check in rows(content, "checks") {
                @let name = text(check, "check_name");
                @let outcome = match text(check, "outcome").as_str() {
                    "SUCCEEDED" => words.outcome_succeeded(),
                    "FAILED" => words.outcome_failed(),
                    _ => words.not_reported(),
                };
                section.check {
                    h3 {
                        @match check_word(words, &name) { Some(word) => (word), None => (theirs(&name)) }
                        ": " (outcome) " " span.soft { "(" (code(&name)) ")" }
                    }
                    @for error in rows(check, "errors") { (self.error(error)) }
                    @if let Some(n @ 1..) = check["errors_left_out"].as_u64() { p { (words.more_errors(n)) } }
                    @let message = text(check, "message");
                    @if !message.is_empty() {
                        p.before-text { (words.message_as_written()) }
                        pre dir="auto" { (visible(&message)) }
                    }
                }
            }
        }
    }

    fn error(&self, error: &Value) -> Markup {
        html! {
            dl {
                (self.rule(error))
                dd { (their_lines(&text(error, "message"))) }
                (self.why(error))
            }
        }
    }

    /// Which rule, and whether it blocks.
    fn rule(&self, error: &Value) -> Markup {
        let rule = text(error, "rule");
        let severity = Severity::from_label(&text(error, "severity")).unwrap_or(Severity::Unknown);
        html! {
            dt {
                @if rule.is_empty() { (self.words.no_rule_code()) } @else { (code(&rule)) }
                " " span.soft { "(" (severity.told().of(self.words.language())) ")" }
            }
        }
    }

    /// What an error means, what to do and who must.
    fn why(&self, error: &Value) -> Markup {
        let meaning = self.in_language(error, "meaning");
        html! {
            @if !meaning.is_empty() {
                dd { (prose(&meaning)) }
                dd { (prose(&self.in_language(error, "remedy"))) }
                @if let Some(owner) = owner_word(self.words, &text(error, "owner")) {
                    dd { (self.words.col_owner()) ": " (owner) }
                }
            }
        }
    }

    /// An entry that names several rules is there once for each.
    fn listed_errors(&self, content: &Value) -> Markup {
        let errors: Vec<&Value> = rows(content, "errors").collect();
        html! {
            @if !errors.is_empty() {
                section {
                    h2 { (self.words.listed_errors_title()) }
                    @for error in errors {
                        @let message = text(error, "error_message");
                        dl {
                            (self.rule(error))
                            dd {
                                (code(&text(error, "error_code"))) " (" (theirs(&text(error, "error_source"))) "): "
                                (their_lines(&page_as_sentence(&message).unwrap_or(message)))
                            }
                            (self.why(error))
                        }
                    }
                    @if let Some(n @ 1..) = content["activity"]["errors_left_out"].as_u64() { p { (self.words.and_more(n)) } }
                }
            }
        }
    }

    fn final_answer(&self, content: &Value) -> Markup {
        let words = self.words;
        let answer = &content["final_answer"];
        html! {
            section {
                h2 { (words.sheet_answer()) }
                @if answer.is_null() { p { (words.sheet_no_answer()) } }
                @else {
                    p.before-text {
                        bdi dir="ltr" { "HTTP " (text(answer, "http_status")) } " · " (self.time(&text(answer, "answered_at")))
                        @if answer["is_cut"] == true { " · " (words.sheet_cut()) }
                    }
                    pre dir="ltr" { (visible(&text(answer, "body"))) }
                }
            }
        }
    }

    fn proof(&self, bundle: &Value) -> Markup {
        let words = self.words;
        html! {
            section {
                h2 { (words.sheet_proof()) }
                p { (words.sheet_hash()) } p { (code(&text(bundle, "sha256"))) }
                p {
                    (words.sheet_made(code(&text(bundle, "format")), code(&text(bundle, "made_by")),
                        self.time(&text(bundle, "made_at"))))
                }
            }
            details {
                summary { (words.sheet_bundle()) }
                pre dir="ltr" { (escaped(&serde_json::to_string_pretty(bundle).unwrap_or_default())) }
            }
        }
    }
}

/// JSON with what can't be seen escaped as JSON does it, so that it can still be read by programs.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => escaped.push(c),
            c if c.is_control() || is_direction_mark(c) => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn rows<'a>(parent: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    parent[key].as_array().into_iter().flatten()
}

/// A field as text; nothing for null.
fn text(row: &Value, key: &str) -> String {
    match &row[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
