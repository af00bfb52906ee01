//! What upstream found: the six checks with their errors, and the errors it listed.

use maud::{Markup, html};
use serde_json::Value;

use super::marks::{Sign, sign};
use super::rows::{Row, below, text, text_of};
use super::words::{counted, cut, theirs, visible};
use super::{Frame, direction, link_to, told};
use crate::domain::catalogue::{Language, Owner, Severity};
use crate::domain::report::CHECK_NAMES;
use crate::domain::rules::page_as_sentence;

/// How many errors of a check are told one by one; its whole text has the others.
const MAX_ERRORS: usize = 100;

/// Longest message of an error, in characters; the check's whole text has the rest.
const MAX_MESSAGE_CHARS: usize = 600;

/// How many checks failed.
pub(super) fn n_failed(history: &Row) -> usize {
    below(history, "checks").filter(|check| text_of(check, "outcome") == "FAILED").count()
}

/// All six checks in the documented order, whether anything is known of them or not.
pub(super) fn checks(frame: &Frame<'_>, history: &Row, is_concluded: bool) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 #checks { "Checks" }
            @if !is_concluded { p.note { "Upstream reports on them with its conclusion." } }
            ul.checks {
                @for name in CHECK_NAMES {
                    @let check = below(history, "checks").find(|check| text_of(check, "check_name") == name);
                    (one(frame, name, check, is_concluded))
                }
            }
        }
    }
}

fn one(frame: &Frame<'_>, name: &str, check: Option<&Row>, is_concluded: bool) -> Markup {
    let outcome = check.map_or("", |check| text_of(check, "outcome"));
    let (class, mark, word) = match outcome {
        "SUCCEEDED" => ("succeeded", Sign::Good, "succeeded"),
        "FAILED" => ("failed", Sign::Bad, "failed"),
        _ if is_concluded => ("unreported", Sign::Nothing, "not reported"),
        _ => ("unreported", Sign::Waiting, "not known yet"),
    };
    html! {
        li class=(class) {
            p.check { span class={ "chip " (class) } { (sign(mark)) (name) } " " span.soft { (word) } }
            @if let Some(check) = check.filter(|_| outcome == "FAILED") { (failure(frame, check)) }
        }
    }
}

fn failure(frame: &Frame<'_>, check: &Row) -> Markup {
    let errors: Vec<&Row> = below(check, "errors").collect();
    let n_more = errors.len().saturating_sub(MAX_ERRORS) as u64;
    html! {
        @if !errors.is_empty() {
            ul.errors {
                @for error in errors.iter().take(MAX_ERRORS) {
                    li {
                        @if let Some(rule) = text(error, "rule") { code.rule { (theirs(rule)) } }
                        @else { span.rule.soft { "no rule code" } }
                        (severity(frame, error))
                        span.message dir="auto" { (visible(&cut(text_of(error, "message"), MAX_MESSAGE_CHARS))) }
                        (why(frame, error))
                    }
                }
            }
            @if n_more > 0 { p.soft { "And " (counted(n_more, "more error", "more errors")) " in the text." } }
        }
        @if let Some(message) = text(check, "message") {
            details open[errors.is_empty()] {
                summary { "The message as ClearTax wrote it" }
                pre.verbatim dir="auto" tabindex="0" { (visible(message)) }
            }
        } @else if errors.is_empty() { p.soft { "Without a message." } }
    }
}

/// Whether an error blocks.
fn severity(frame: &Frame<'_>, error: &Row) -> Markup {
    let severity = Severity::from_label(text_of(error, "severity")).unwrap_or(Severity::Unknown);
    html! {
        span class={ "severity " (severity.label()) } lang=(frame.language.label()) dir=(direction(frame)) {
            (severity.told().of(frame.language))
        }
    }
}

/// What an error means, and what to do about it.
fn why(frame: &Frame<'_>, error: &Row) -> Markup {
    let keys = match frame.language {
        Language::English => ("meaning", "remedy"),
        Language::Arabic => ("meaning_ar", "remedy_ar"),
    };
    let owner = Owner::from_label(text_of(error, "owner")).map(Owner::told);
    html! {
        @if let Some(meaning) = text(error, keys.0) {
            div.why lang=(frame.language.label()) dir=(direction(frame)) {
                p { (told(frame, meaning)) }
                p.soft {
                    @if let Some(owner) = owner { span.owner { (owner.of(frame.language)) } }
                    @if let Some(remedy) = text(error, keys.1) { (told(frame, remedy)) }
                }
            }
        }
    }
}

/// How the device's attempt before this one ended, and what has become of its errors.
pub(super) fn former_attempt(history: &Row) -> Markup {
    let Some(former) = history.get("former_attempt").and_then(Value::as_object) else { return html! {} };
    let (vat, id) = (text_of(history, "vat"), text_of(former, "activity_id"));
    let rules = former.get("rules").and_then(Value::as_object);
    html! {
        section aria-labelledby="former" {
            h2 #former { "The device’s attempt before" }
            p { (link_to(vat, id)) " ended as " strong { (theirs(text_of(former, "state"))) } "." }
            @if let Some(rules) = rules {
                dl.compared {
                    @for (key, label) in [("fixed", "No longer broken"), ("remaining", "Still broken"), ("new", "Newly broken")] {
                        @let codes: Vec<&str> = rules.get(key).and_then(Value::as_array).into_iter().flatten()
                            .filter_map(Value::as_str).collect();
                        div {
                            dt { (label) }
                            dd {
                                @if codes.is_empty() { "none" }
                                @for (at, code) in codes.iter().enumerate() {
                                    @if at > 0 { ", " }
                                    code { (theirs(code)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `ErrorList` of the concluding answer, where there is one.
///
/// An entry that names several rules is there once for each.
pub(super) fn listed_errors(frame: &Frame<'_>, history: &Row) -> Markup {
    let errors: Vec<&Row> = below(history, "errors").collect();
    let is_first = |at: usize| {
        let entry = |at: usize| errors.get(at).and_then(|error| error.get("entry"));
        at == 0 || entry(at - 1) != entry(at)
    };
    html! {
        @if !errors.is_empty() {
            section aria-labelledby="errors" {
                h2 #errors { "Errors ClearTax listed" }
                table.folds {
                    caption.unseen { "Errors ClearTax listed" }
                    thead {
                        tr { th scope="col" { "Code" } th scope="col" { "Source" } th scope="col" { "Message" } }
                    }
                    tbody {
                        @for (at, error) in errors.iter().enumerate().take(MAX_ERRORS) {
                            tr {
                                th scope="row" {
                                    code { (theirs(text(error, "rule").or(text(error, "error_code")).unwrap_or("–"))) }
                                    " " (severity(frame, error))
                                }
                                td data-label="Source" {
                                    @if let Some(source) = text(error, "error_source") { (theirs(source)) }
                                }
                                td data-label="Message" {
                                    @if let Some(message) = text(error, "error_message").filter(|_| is_first(at)) {
                                        (theirs(page_as_sentence(message).as_deref().unwrap_or(message)))
                                    }
                                    (why(frame, error))
                                }
                            }
                        }
                    }
                }
                @if let Some(n_more @ 1..) = errors.len().checked_sub(MAX_ERRORS) {
                    p.soft { "And " (counted(n_more as u64, "more", "more")) "." }
                }
            }
        }
    }
}
