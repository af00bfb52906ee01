//! What upstream found: the six checks with their errors, and the errors it listed.

use maud::{Markup, html};

use super::checks::check_name;
use super::marks::{Icon, chip, icon};
use super::text::{code, cut, prose, their_lines, theirs};
use super::{Frame, link_to};
use crate::domain::report::{CHECK_NAMES, CheckOutcome};
use crate::domain::rules::Severity;
use crate::domain::rules::page_as_sentence;
use crate::domain::text::visible;
use crate::store::{CheckRow, Explained, History};

/// How many errors of a check are shown one by one; its whole text has the others.
const MAX_ERRORS: usize = 100;

/// Longest message of an error, in characters; the check's whole text has the rest.
const MAX_MESSAGE_CHARS: usize = 600;

/// How many checks failed.
pub(super) fn n_failed(history: &History) -> usize {
    history.checks.iter().filter(|check| check.outcome == CheckOutcome::Failed).count()
}

/// All six checks in the documented order, also those of which nothing is known.
pub(super) fn checks(frame: &Frame<'_>, history: &History) -> Markup {
    let is_concluded = history.activity.state.is_concluded();
    html! {
        section aria-labelledby="checks" {
            h2 #checks { (frame.words.findings_title()) }
            @if !is_concluded { p.note { (frame.words.findings_later()) } }
            ul.checks {
                @for name in CHECK_NAMES {
                    @let check = history.checks.iter().find(|check| check.check_name == name);
                    (check_item(frame, name, check, is_concluded))
                }
            }
        }
    }
}

fn check_item(frame: &Frame<'_>, name: &str, check: Option<&CheckRow>, is_concluded: bool) -> Markup {
    let words = frame.words;
    let outcome = check.map(|check| check.outcome);
    let (class, mark, word) = match outcome {
        Some(CheckOutcome::Succeeded) => ("succeeded", Icon::Good, words.outcome_succeeded()),
        Some(CheckOutcome::Failed) => ("failed", Icon::Bad, words.outcome_failed()),
        _ if is_concluded => ("unreported", Icon::Nothing, words.not_reported()),
        _ => ("unreported", Icon::Waiting, words.outcome_unknown()),
    };
    html! {
        li class=(class) {
            p.check { span class={ "chip " (class) } { (icon(mark)) (check_name(words, name)) } " " span.soft { (word) } }
            @if let Some(check) = check.filter(|check| check.outcome == CheckOutcome::Failed) { (failure(frame, check)) }
        }
    }
}

fn failure(frame: &Frame<'_>, check: &CheckRow) -> Markup {
    let words = frame.words;
    let errors = &check.errors;
    let n_more = errors.len().saturating_sub(MAX_ERRORS) as u64 + check.errors_left_out;
    html! {
        @if !errors.is_empty() {
            ul.errors {
                @for error in errors.iter().take(MAX_ERRORS) {
                    li {
                        @if let Some(rule) = &error.rule { span.rule { (code(rule)) } }
                        @else { span.rule.soft { (words.no_rule_code()) } }
                        (severity(frame, error.severity))
                        span.message { (their_lines(&cut(&error.message, MAX_MESSAGE_CHARS))) }
                        (why(frame, &error.explained))
                    }
                }
            }
            @if n_more > 0 { p.soft { (words.more_errors(n_more)) } }
        }
        @if let Some(message) = check.message.as_deref().filter(|message| !message.is_empty()) {
            details open[errors.is_empty()] {
                summary { (words.message_as_written()) }
                pre.verbatim dir="auto" tabindex="0" { (visible(message)) }
            }
        } @else if errors.is_empty() { p.soft { (words.no_message()) } }
    }
}

/// Whether an error blocks.
fn severity(frame: &Frame<'_>, severity: Severity) -> Markup {
    html! {
        span class={ "severity " (severity.label()) } { (severity.in_words().of(frame.words.language())) }
    }
}

/// What an error means, whose data it is about and what to do about it.
fn why(frame: &Frame<'_>, explained: &Explained) -> Markup {
    let language = frame.words.language();
    html! {
        @if let Some(meaning) = explained.meaning_in(language) {
            div.why {
                p { (prose(meaning)) }
                p.soft {
                    @if let Some(owner) = explained.owner { span.owner { (frame.words.owner_word(owner)) } " " }
                    @if let Some(remedy) = explained.remedy_in(language) { (prose(remedy)) }
                }
            }
        }
    }
}

/// How the device's attempt before this one ended, and which of its errors remain.
pub(super) fn former_attempt(frame: &Frame<'_>, history: &History) -> Markup {
    let words = frame.words;
    let Some(former) = &history.former_attempt else { return html! {} };
    html! {
        section aria-labelledby="former" {
            h2 #former { (words.former_title()) }
            p { (link_to(&history.activity.vat, &former.activity_id)) " " (chip(frame, former.state)) }
            @if let Some(rules) = &former.rules {
                dl.compared {
                    @for (codes, label) in [
                        (&rules.fixed, words.rules_fixed()),
                        (&rules.remaining, words.rules_remaining()),
                        (&rules.new, words.rules_new()),
                    ] {
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

/// `ErrorList` of the concluding answer, if it had one. An entry that names several rules has a row for each.
pub(super) fn listed_errors(frame: &Frame<'_>, history: &History) -> Markup {
    let words = frame.words;
    let errors = &history.errors;
    let (source_, message_) = (words.col_source(), words.col_message());
    let is_first = |at: usize| {
        let entry = |at: usize| errors.get(at).map(|error| error.entry);
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
                                    (code(error.rule.as_deref().or(error.error_code.as_deref()).unwrap_or("–")))
                                    " " (severity(frame, error.severity))
                                }
                                td data-label=(source_) {
                                    @if let Some(source) = &error.error_source { (theirs(source)) }
                                }
                                td data-label=(message_) {
                                    @if let Some(message) = error.error_message.as_deref().filter(|_| is_first(at)) {
                                        @let said = page_as_sentence(message);
                                        (their_lines(&cut(said.as_deref().unwrap_or(message), MAX_MESSAGE_CHARS)))
                                    }
                                    (why(frame, &error.explained))
                                }
                            }
                        }
                    }
                }
                @let n_more =
                    errors.len().saturating_sub(MAX_ERRORS) as u64 + history.activity.errors_left_out;
                @if n_more > 0 {
                    p.soft { (words.and_more(n_more)) }
                }
            }
        }
    }
}
