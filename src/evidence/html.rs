//! The bundle for people: one file without anything from elsewhere, made to be printed.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::domain::catalogue::{Language, Owner, Severity};
use crate::domain::rules::page_as_sentence;

const CSS: &str = include_str!("evidence.css");

/// The page of a bundle, with explanations in this language. The machine-readable bundle stands at its end.
pub fn render(bundle: &Value, language: Language) -> Markup {
    let content = &bundle["content"];
    let activity = &content["activity"];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Evidence: " (text(activity, "activity_id")) " of VAT " (text(activity, "vat")) }
                style { (PreEscaped(CSS)) }
            }
            body {
                h1 { "Evidence on PCSID activity " code { (text(activity, "activity_id")) } }
                p { "VAT " code { (text(activity, "vat")) } ", state " strong { (text(activity, "state")) } "." }
                @let next_step = in_language(activity, "next_step", language);
                @if !next_step.is_empty() {
                    p.step lang=(language.label()) dir="auto" { (next_step) }
                }
                (facts("The request", &content["request"], &[("method", "Method"), ("url", "URL")]))
                (facts("What is known", activity, &FACTS))
                (timeline(content))
                (checks(content, language))
                (listed_errors(content, language))
                (final_answer(content))
                (proof(bundle))
            }
        }
    }
}

const FACTS: [(&str, &str); 15] = [
    ("device_id", "Device"),
    ("reference", "Reference"),
    ("upstream_status", "Status there"),
    ("pcsid_generated", "PCSID"),
    ("total_count", "Checks there"),
    ("success_count", "Succeeded there"),
    ("failure_count", "Failed there"),
    ("registered_at", "Registered"),
    ("first_polled_at", "First asked"),
    ("last_polled_at", "Last asked"),
    ("poll_count", "Times asked"),
    ("upstream_created_at", "Created there"),
    ("upstream_completed_at", "Completed there"),
    ("concluded_at", "Concluded"),
    ("last_http_status", "Last HTTP status"),
];

fn facts(title: &str, row: &Value, keys: &[(&str, &str)]) -> Markup {
    html! {
        h2 { (title) }
        table.facts {
            @for (key, label) in keys {
                @let value = text(row, key);
                @if !value.is_empty() { tr { th scope="row" { (label) } td dir="auto" { (value) } } }
            }
        }
    }
}

fn timeline(content: &Value) -> Markup {
    html! {
        h2 { "Timeline" }
        table {
            thead { tr { th { "Time (UTC)" } th { "From" } th { "To" } th { "HTTP" } th { "Why" } } }
            tbody {
                @for step in rows(content, "transitions") {
                    tr {
                        @for key in ["occurred_at", "from_state", "to_state", "http_status", "reason"] {
                            td dir="auto" { (text(step, key)) }
                        }
                    }
                }
            }
        }
    }
}

fn checks(content: &Value, language: Language) -> Markup {
    html! {
        h2 { "The six compliance checks" }
        @for check in rows(content, "checks") {
            section.check {
                h3 { (text(check, "check_name")) ": " (text(check, "outcome")) }
                @for error in rows(check, "errors") {
                    @let rule = text(error, "rule");
                    dl {
                        dt { code { @if rule.is_empty() { "no rule code" } @else { (rule) } } (severity(error, language)) }
                        dd dir="auto" { (text(error, "message")) }
                        (why(error, language))
                    }
                }
                @let message = text(check, "message");
                @if !message.is_empty() { p { "As ClearTax wrote it:" } pre dir="auto" { (message) } }
            }
        }
    }
}

/// Whether an error blocks.
fn severity(error: &Value, language: Language) -> Markup {
    let severity = Severity::from_label(&text(error, "severity")).unwrap_or(Severity::Unknown);
    html! { " " span lang=(language.label()) dir="auto" { "(" (severity.told().of(language)) ")" } }
}

/// What an error means, what to do and who must.
fn why(error: &Value, language: Language) -> Markup {
    let meaning = in_language(error, "meaning", language);
    let owner = Owner::from_label(&text(error, "owner")).map(Owner::told);
    html! {
        @if !meaning.is_empty() {
            dd lang=(language.label()) dir="auto" { (meaning) }
            dd lang=(language.label()) dir="auto" { (in_language(error, "remedy", language)) }
            @if let Some(owner) = owner {
                dd lang=(language.label()) dir="auto" {
                    @if language == Language::Arabic { "المعنيّ بالأمر: " } @else { "Owner: " } (owner.of(language))
                }
            }
        }
    }
}

/// An entry that names several rules is there once for each.
fn listed_errors(content: &Value, language: Language) -> Markup {
    let errors: Vec<&Value> = rows(content, "errors").collect();
    html! {
        @if !errors.is_empty() {
            h2 { "Errors that ClearTax listed" }
            @for error in errors {
                @let (rule, message) = (text(error, "rule"), text(error, "error_message"));
                dl {
                    dt { code { @if rule.is_empty() { "no rule code" } @else { (rule) } } (severity(error, language)) }
                    dd dir="auto" {
                        (text(error, "error_code")) " (" (text(error, "error_source")) "): "
                        (page_as_sentence(&message).unwrap_or(message))
                    }
                    (why(error, language))
                }
            }
        }
    }
}

fn final_answer(content: &Value) -> Markup {
    let answer = &content["final_answer"];
    html! {
        h2 { "ClearTax's final answer, as it came" }
        @if answer.is_null() { p { "No answer of ClearTax's concluded it." } }
        @else {
            p { "HTTP " (text(answer, "http_status")) ", " (text(answer, "answered_at"))
                @if answer["is_cut"] == true { "; its end is cut off" } "." }
            pre dir="auto" { (text(answer, "body")) }
        }
    }
}

fn proof(bundle: &Value) -> Markup {
    html! {
        h2 { "Proof" }
        p { "SHA-256 of the canonical content (RFC 8785): " code { (text(bundle, "sha256")) } }
        p { "Made at " (text(bundle, "made_at")) " by " (text(bundle, "made_by")) ", format " (text(bundle, "format")) "." }
        details {
            summary { "The bundle for programs" }
            pre dir="ltr" { (serde_json::to_string_pretty(bundle).unwrap_or_default()) }
        }
    }
}

fn rows<'a>(parent: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    parent[key].as_array().into_iter().flatten()
}

/// A field as text, without the marks that would reorder what follows; nothing for null.
fn text(row: &Value, key: &str) -> String {
    let is_reordering = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match &row[key] {
        Value::Null => String::new(),
        Value::String(text) => text.chars().map(|c| if is_reordering(c) { '\u{fffd}' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn in_language(row: &Value, key: &str, language: Language) -> String {
    match language {
        Language::English => text(row, key),
        Language::Arabic => text(row, &format!("{key}_ar")),
    }
}
