//! What upstream found: the six checks with their errors, and the errors it listed.

use maud::{Markup, html};
use serde_json::Value;

use super::checks::check_name;
use super::marks::{Sign, chip_of, owner_word, sign};
use super::rows::{Row, below, count, text, text_of};
use super::text::{code, cut, prose, their_lines, theirs};
use super::{Frame, link_to};
use crate::domain::catalogue::{Language, Severity};
use crate::domain::report::CHECK_NAMES;
use crate::domain::rules::page_as_sentence;
use crate::domain::text::visible;

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
            h2 #checks { (frame.words.findings_title()) }
            @if !is_concluded { p.note { (frame.words.findings_later()) } }
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
    let words = frame.words;
    let outcome = check.map_or("", |check| text_of(check, "outcome"));
    let (class, mark, word) = match outcome {
        "SUCCEEDED" => ("succeeded", Sign::Good, words.outcome_succeeded()),
        "FAILED" => ("failed", Sign::Bad, words.outcome_failed()),
        _ if is_concluded => ("unreported", Sign::Nothing, words.not_reported()),
        _ => ("unreported", Sign::Waiting, words.outcome_unknown()),
    };
    html! {
        li class=(class) {
            p.check { span class={ "chip " (class) } { (sign(mark)) (check_name(words, name)) } " " span.soft { (word) } }
            @if let Some(check) = check.filter(|_| outcome == "FAILED") { (failure(frame, check)) }
        }
    }
}

fn failure(frame: &Frame<'_>, check: &Row) -> Markup {
    let words = frame.words;
    let errors: Vec<&Row> = below(check, "errors").collect();
    let n_more =
        errors.len().saturating_sub(MAX_ERRORS) as u64 + count(check, "errors_left_out").unwrap_or(0);
    html! {
        @if !errors.is_empty() {
            ul.errors {
                @for error in errors.iter().take(MAX_ERRORS) {
                    li {
                        @if let Some(rule) = text(error, "rule") { span.rule { (code(rule)) } }
                        @else { span.rule.soft { (words.no_rule_code()) } }
                        (severity(frame, error))
                        span.message { (their_lines(&cut(text_of(error, "message"), MAX_MESSAGE_CHARS))) }
                        (why(frame, error))
                    }
                }
            }
            @if n_more > 0 { p.soft { (words.more_errors(n_more)) } }
        }
        @if let Some(message) = text(check, "message") {
            details open[errors.is_empty()] {
                summary { (words.message_as_written()) }
                pre.verbatim dir="auto" tabindex="0" { (visible(message)) }
            }
        } @else if errors.is_empty() { p.soft { (words.no_message()) } }
    }
}

/// Whether an error blocks.
fn severity(frame: &Frame<'_>, error: &Row) -> Markup {
    let severity = Severity::from_label(text_of(error, "severity")).unwrap_or(Severity::Unknown);
    html! {
        span class={ "severity " (severity.label()) } { (severity.told().of(frame.words.language())) }
    }
}

/// What an error means, whose data it is about and what to do about it.
fn why(frame: &Frame<'_>, error: &Row) -> Markup {
    let keys = match frame.words.language() {
        Language::English => ("meaning", "remedy"),
        Language::Arabic => ("meaning_ar", "remedy_ar"),
    };
    html! {
        @if let Some(meaning) = text(error, keys.0) {
            div.why {
                p { (prose(meaning)) }
                p.soft {
                    @if let Some(owner) = owner_word(frame.words, text_of(error, "owner")) { span.owner { (owner) } " " }
                    @if let Some(remedy) = text(error, keys.1) { (prose(remedy)) }
                }
            }
        }
    }
}

/// How the device's attempt before this one ended, and what has become of its errors.
pub(super) fn former_attempt(frame: &Frame<'_>, history: &Row) -> Markup {
    let words = frame.words;
    let Some(former) = history.get("former_attempt").and_then(Value::as_object) else { return html! {} };
    let (vat, id) = (text_of(history, "vat"), text_of(former, "activity_id"));
    let rules = former.get("rules").and_then(Value::as_object);
    let kinds =
        [("fixed", words.rules_fixed()), ("remaining", words.rules_remaining()), ("new", words.rules_new())];
    html! {
        section aria-labelledby="former" {
            h2 #former { (words.former_title()) }
            p { (link_to(vat, id)) " " (chip_of(frame, text_of(former, "state"))) }
            @if let Some(rules) = rules {
                dl.compared {
                    @for (key, label) in kinds {
                        @let codes: Vec<&str> = rules.get(key).and_then(Value::as_array).into_iter().flatten()
                            .filter_map(Value::as_str).collect();
                        div {
                            dt { (label) }
                            dd {
                                @if codes.is_empty() { (words.none()) }
                                @for (at, rule) in codes.iter().enumerate() {
                                    @if at > 0 { (words.list_comma()) " " }
                                    (code(rule))
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
    let words = frame.words;
    let errors: Vec<&Row> = below(history, "errors").collect();
    let (source_, message_) = (words.col_source(), words.col_message());
    let is_first = |at: usize| {
        let entry = |at: usize| errors.get(at).and_then(|error| error.get("entry"));
        at == 0 || entry(at - 1) != entry(at)
    };
    html! {
        @if !errors.is_empty() {
            section aria-labelledby="errors" {
                h2 #errors { (words.listed_errors_title()) }
                table.folds {
                    caption.unseen { (words.listed_errors_title()) }
                    thead {
                        tr { @for title in [&words.col_code(), &source_, &message_] { th scope="col" { (title) } } }
                    }
                    tbody {
                        @for (at, error) in errors.iter().enumerate().take(MAX_ERRORS) {
                            tr {
                                th scope="row" {
                                    (code(text(error, "rule").or(text(error, "error_code")).unwrap_or("–")))
                                    " " (severity(frame, error))
                                }
                                td data-label=(source_) {
                                    @if let Some(source) = text(error, "error_source") { (theirs(source)) }
                                }
                                td data-label=(message_) {
                                    @if let Some(message) = text(error, "error_message").filter(|_| is_first(at)) {
                                        @let said = page_as_sentence(message);
                                        (their_lines(&cut(said.as_deref().unwrap_or(message), MAX_MESSAGE_CHARS)))
                                    }
                                    (why(frame, error))
                                }
                            }
                        }
                    }
                }
                @let n_more = errors.len().saturating_sub(MAX_ERRORS) as u64
                    + count(history, "errors_left_out").unwrap_or(0);
                @if n_more > 0 {
                    p.soft { (words.and_more(n_more)) }
                }
            }
        }
    }
}
