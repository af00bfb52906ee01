//! Failures as rows: which rule failed, what it means and what to do.

use maud::{Markup, html};

use super::text::{code, cut, moment_stacked, prose, stored, their_lines};
use super::{Frame, link_to_device, link_to_vat};
use crate::domain::catalogue::Language;
use crate::store::Failure;

/// Longest meaning or step in a row, in characters; the activity's page has all of it.
const MAX_CHARS: usize = 320;

/// The latest failures.
pub(super) fn latest(frame: &Frame<'_>, failures: &[Failure]) -> Markup {
    let words = frame.words;
    html! {
        @if !failures.is_empty() {
            section aria-labelledby="failures" {
                div.titled {
                    h2 #failures { (words.failures_title()) }
                    a href="/activities?state=FAILED" { (words.failures_all()) }
                }
                (table(frame, failures, &words.failures_title().to_string()))
            }
        }
    }
}

/// The rows of these failures.
pub(super) fn table(frame: &Frame<'_>, failures: &[Failure], caption: &str) -> Markup {
    let words = frame.words;
    let (vat, ended, rule, todo) = (words.col_vat(), words.col_ended(), words.col_why(), words.col_todo());
    html! {
        table.folds.cards.fixed.failures {
            caption.unseen { (caption) }
            colgroup { col.w-id; col.w-vat; col.w-time; col; col; }
            thead {
                tr {
                    @for title in [&words.col_device(), &vat, &ended, &rule, &todo] { th scope="col" { (title) } }
                }
            }
            tbody {
                @for failure in failures {
                    tr {
                        th scope="row" {
                            (link_to_device(&failure.vat, &failure.activity_id, failure.device_id.as_deref()))
                        }
                        td.whose data-label=(vat) { (link_to_vat(&failure.vat)) }
                        td.time data-label=(ended) { @if let Some(at) = failure.concluded_at { (moment_stacked(frame, at)) } }
                        td data-label=(rule) { (why(frame, failure)) }
                        td.told data-label=(todo) { (step(frame, failure)) }
                    }
                }
            }
        }
    }
}

fn why(frame: &Frame<'_>, failure: &Failure) -> Markup {
    let words = frame.words;
    html! {
        @if let Some(rule) = failure.rules.first() {
            @let explained = frame.catalogue.explain(Some(rule));
            p { strong { (code(&cut(rule, 60))) }
                @if failure.rules.len() > 1 { " " span.soft { (words.and_more(failure.rules.len() as u64 - 1)) } }
            }
            p { (prose(&cut(explained.meaning.of(words.language()), MAX_CHARS))) }
        } @else if let Some(message) = &failure.message { (their_lines(&cut(message, MAX_CHARS))) }
        @else if let Some(reason) = &failure.reason { (stored(frame, reason, MAX_CHARS)) }
    }
}

fn step(frame: &Frame<'_>, failure: &Failure) -> Markup {
    let step = match frame.words.language() {
        Language::English => &failure.next_step,
        Language::Arabic => &failure.next_step_ar,
    };
    html! { @if let Some(step) = step { (prose(&cut(step, MAX_CHARS))) } }
}
