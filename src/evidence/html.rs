//! The bundle for people: one file that loads nothing else, made to be printed on A4.

use std::fmt::Write as _;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Bundle, FORMAT, MADE_BY, METHOD};
use crate::domain::activity::State;
use crate::domain::report::CheckOutcome;
use crate::domain::rules::Severity;
use crate::domain::rules::page_as_sentence;
use crate::domain::text::{is_layout_mark, visible};
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::store::{ActivityRow, CheckErrorRow, Explained, FinalAnswer, History};
use crate::words::{Said, Words, code, prose, their_lines, theirs};

const CSS: &str = include_str!("evidence.css");

/// The page of a bundle in a reader's language and time zone. The machine-readable bundle is at its end, in UTC.
pub fn render(bundle: &Bundle, words: Words, zone: &Zone) -> Markup {
    let sheet = Sheet { words, zone };
    let history = &bundle.material.history;
    let activity = &history.activity;
    let id = &activity.activity_id;
    html! {
        (DOCTYPE)
        html lang=(words.language().label()) dir=(words.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (words.sheet_title(visible(id))) }
                style { (PreEscaped(CSS)) }
            }
            body {
                main {
                    h1 { (words.sheet_title(code(id))) }
                    p {
                        (words.vat_named(code(&activity.vat))) " · "
                        strong { (words.state_word(activity.state)) } " "
                        span.soft { "(" (code(activity.state.label())) ")" }
                    }
                    p.soft { (sheet.zone_note(bundle.made_at)) }
                    @if let Some(step) = activity.next_step_in(words.language()) {
                        div.step { strong { (words.next_step_title()) } p { (prose(step)) } }
                    }
                    (sheet.request(&bundle.material.url()))
                    (sheet.facts(activity))
                    (sheet.timeline(history))
                    (sheet.checks(history))
                    (sheet.listed_errors(history))
                    (sheet.final_answer(bundle.material.final_answer.as_ref()))
                    (sheet.proof(bundle))
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sheet<'a> {
    words: Words,
    zone: &'a Zone,
}

impl Sheet<'_> {
    fn state(&self, state: State) -> Said<'static> {
        self.words.state_word(state)
    }

    fn time(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at) dir="ltr" { (self.zone.second(at)) } }
    }

    /// The sentence that names the time zone.
    fn zone_note(&self, at: Timestamp) -> Said<'static> {
        let zone = match self.zone.name() {
            Zone::DEFAULT => self.words.zone_riyadh(self.zone.offset(at)).to_string(),
            name => self.words.zone_other(name.to_owned(), self.zone.offset(at)).to_string(),
        };
        self.words.sheet_zone(zone)
    }

    fn stored(&self, sentence: &str) -> Markup {
        self.words.stored_markup(sentence, usize::MAX).unwrap_or_else(|| theirs(sentence))
    }

    fn request(&self, url: &str) -> Markup {
        html! {
            section {
                h2 { (self.words.sheet_request()) }
                p { (code(&format!("{METHOD} {url}"))) }
            }
        }
    }

    fn facts(&self, activity: &ActivityRow) -> Markup {
        let words = self.words;
        let said = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(theirs);
        let at = |at: Option<Timestamp>| at.map(|at| self.time(at));
        let n = |n: u64| html! { (words.number(n)) };
        let count = |count: Option<i64>| {
            count.map(|count| u64::try_from(count).map_or_else(|_| html! { (count) }, n))
        };
        let facts: [(Said<'static>, Option<Markup>); 15] = [
            (words.col_device(), said(&activity.device_id)),
            (words.col_reference(), said(&activity.reference)),
            (words.fact_status(), said(&activity.upstream_status)),
            (words.fact_pcsid(), said(&activity.pcsid_generated)),
            (words.sheet_total(), count(activity.total_count)),
            (words.sheet_succeeded(), count(activity.success_count)),
            (words.sheet_failed(), count(activity.failure_count)),
            (words.col_added(), at(Some(activity.registered_at))),
            (words.fact_first_poll(), at(activity.first_polled_at)),
            (words.fact_last_poll(), at(activity.last_polled_at)),
            (words.fact_polls(), Some(n(activity.poll_count))),
            (words.fact_created(), at(activity.upstream_created_at)),
            (words.fact_completed(), at(activity.upstream_completed_at)),
            (words.col_ended(), at(activity.concluded_at)),
            (words.fact_http_status(), activity.last_http_status.map(|status| theirs(&status.to_string()))),
        ];
        html! {
            section {
                h2 { (words.facts_title()) }
                table.facts {
                    @for (label, value) in facts {
                        @if let Some(value) = value { tr { th scope="row" { (label) } td { (value) } } }
                    }
                }
            }
        }
    }

    fn timeline(&self, history: &History) -> Markup {
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
                        @for step in &history.transitions {
                            tr {
                                td.nowrap { (self.time(step.occurred_at)) }
                                td { (self.state(step.from_state)) }
                                td { (self.state(step.to_state)) }
                                td { @if let Some(status) = step.http_status { (status) } }
                                td { @if let Some(reason) = &step.reason { (self.stored(reason)) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn checks(&self, history: &History) -> Markup {
        let words = self.words;
        html! {
            h2 { (words.findings_title()) }
            @for check in &history.checks {
                @let name = &check.check_name;
                @let outcome = match check.outcome {
                    CheckOutcome::Succeeded => words.outcome_succeeded(),
                    CheckOutcome::Failed => words.outcome_failed(),
                    CheckOutcome::NotReported => words.not_reported(),
                };
                section.check {
                    h3 {
                        @match words.check_word(name) { Some(word) => (word), None => (theirs(name)) }
                        ": " (outcome) " " span.soft { "(" (code(name)) ")" }
                    }
                    @for error in &check.errors { (self.error(error)) }
                    @if check.errors_left_out > 0 { p { (words.more_errors(check.errors_left_out)) } }
                    @if let Some(message) = check.message.as_deref().filter(|message| !message.is_empty()) {
                        p.before-text { (words.message_as_written()) }
                        pre dir="auto" { (visible(message)) }
                    }
                }
            }
        }
    }

    fn error(&self, error: &CheckErrorRow) -> Markup {
        html! {
            dl {
                (self.rule(error.rule.as_deref(), error.severity))
                dd { (their_lines(&error.message)) }
                (self.why(&error.explained))
            }
        }
    }

    /// Which rule, and whether it blocks.
    fn rule(&self, rule: Option<&str>, severity: Severity) -> Markup {
        html! {
            dt {
                @match rule { Some(rule) => (code(rule)), None => (self.words.no_rule_code()) }
                " " span.soft { "(" (severity.in_words().of(self.words.language())) ")" }
            }
        }
    }

    /// What an error means, what to do and who must do it.
    fn why(&self, explained: &Explained) -> Markup {
        let language = self.words.language();
        html! {
            @if let Some(meaning) = explained.meaning_in(language) {
                dd { (prose(meaning)) }
                @if let Some(remedy) = explained.remedy_in(language) { dd { (prose(remedy)) } }
                @if let Some(owner) = explained.owner {
                    dd { (self.words.col_owner()) ": " (self.words.owner_word(owner)) }
                }
            }
        }
    }

    /// `ErrorList`. An entry that names several rules is listed once for each.
    fn listed_errors(&self, history: &History) -> Markup {
        let errors = &history.errors;
        let n_left_out = history.activity.errors_left_out;
        html! {
            @if !errors.is_empty() {
                section {
                    h2 { (self.words.listed_errors_title()) }
                    @for error in errors {
                        @let [code_, message, source] = [&error.error_code, &error.error_message, &error.error_source]
                            .map(|text| text.as_deref().unwrap_or(""));
                        dl {
                            (self.rule(error.rule.as_deref(), error.severity))
                            dd {
                                (code(code_)) " (" (theirs(source)) "): "
                                (their_lines(page_as_sentence(message).as_deref().unwrap_or(message)))
                            }
                            (self.why(&error.explained))
                        }
                    }
                    @if n_left_out > 0 { p { (self.words.and_more(n_left_out)) } }
                }
            }
        }
    }

    fn final_answer(&self, answer: Option<&FinalAnswer>) -> Markup {
        let words = self.words;
        html! {
            section {
                h2 { (words.sheet_answer()) }
                @if let Some(answer) = answer {
                    p.before-text {
                        bdi dir="ltr" { "HTTP " @if let Some(status) = answer.http_status { (status) } } " · "
                        (self.time(answer.answered_at))
                        @if answer.is_cut { " · " (words.sheet_cut()) }
                    }
                    pre dir="ltr" { (visible(&answer.body)) }
                } @else { p { (words.sheet_no_answer()) } }
            }
        }
    }

    fn proof(&self, bundle: &Bundle) -> Markup {
        let words = self.words;
        html! {
            section {
                h2 { (words.sheet_proof()) }
                p { (words.sheet_hash()) } p { (code(&bundle.sha256)) }
                p {
                    (words.sheet_made(code(FORMAT), code(MADE_BY), self.time(bundle.made_at)))
                }
            }
            details {
                summary { (words.sheet_bundle()) }
                pre dir="ltr" { (escaped(&format!("{:#}", bundle.json))) }
            }
        }
    }
}

/// JSON with its invisible characters escaped, so that people see them and programs can still read it.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => escaped.push(c),
            c if c.is_control() || is_layout_mark(c) => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}
