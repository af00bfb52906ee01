//! `show`: all that is known of an activity, in order.

use std::io::Write;

use clap::Args;

use super::activities::ActivityArgs;
use super::output::{self, Format};
use super::reader::Reader;
use super::table::{cells, labelled, wrapped};
use super::{CliResult, open_existing};
use crate::domain::activity::Vat;
use crate::domain::report::CheckOutcome;
use crate::domain::routing::DeliveryStatus;
use crate::domain::rules::Severity;
use crate::domain::rules::page_as_sentence;
use crate::domain::text::one_line;
use crate::domain::time::Timestamp;
use crate::settings::Settings;
use crate::store::{
    Access, ActivityRow, ActivityView, ComparedRules, DeliveryRow, Explained, History, StoreError,
};
use crate::words::Said;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    activity: ActivityArgs,
    /// Output format; csv has only the activity's own row
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn show(settings: &Settings, args: ShowArgs) -> CliResult {
    let wanted = args.activity.parse()?;
    let reader = Reader::new(settings);
    let store = open_existing(settings, Access::Read).await?;
    if args.format == Format::Csv {
        let table = store.reports().rows_of(ActivityView::Activity, &wanted).await?;
        store.end_reading().await?;
        if table.rows.is_empty() {
            return Err(StoreError::unknown(&wanted).into());
        }
        return Ok(output::print(&table, Format::Csv, &[], &reader)?);
    }
    let activities = store.reports().histories(&wanted).await?;
    store.end_reading().await?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            output::print_json(&mut out, &activities)?;
        }
        _ => {
            for activity in &activities {
                out.write_all(Story::of(activity, &reader).as_bytes())?;
            }
        }
    }
    Ok(out.flush()?)
}

/// An activity's story, in lines that fit the terminal.
struct Story<'a> {
    reader: &'a Reader,
    lines: Vec<String>,
}

impl<'a> Story<'a> {
    fn of(history: &History, reader: &'a Reader) -> String {
        let mut story = Self { reader, lines: Vec::new() };
        story.head(&history.activity);
        story.timeline(history);
        story.checks(history);
        story.former_attempt(history);
        story.errors(history);
        story.deliveries(&history.deliveries);
        story.lines.push(String::new());
        story.line(0, &reader.zone_note(history.activity.registered_at));
        story.lines.join("\n") + "\n\n"
    }

    fn line(&mut self, indent: usize, text: &str) {
        let room = self.reader.width.saturating_sub(indent);
        self.lines
            .extend(wrapped(text, room).into_iter().map(|line| format!("{}{line}", " ".repeat(indent))));
    }

    /// A text after a mark. Further lines are indented to the text, not to the mark.
    fn entry(&mut self, indent: usize, mark: &str, text: &str) {
        let begin = indent + cells(mark) + 1;
        let room = self.reader.width.saturating_sub(begin);
        for (nth, line) in wrapped(text, room).into_iter().enumerate() {
            let before = match nth {
                0 => format!("{}{mark} ", " ".repeat(indent)),
                _ => " ".repeat(begin),
            };
            self.lines.push(format!("{before}{line}"));
        }
    }

    fn title(&mut self, title: Said<'_>) {
        self.lines.push(String::new());
        self.line(2, &title.to_string());
    }

    fn head(&mut self, activity: &ActivityRow) {
        let (reader, words) = (self.reader, self.reader.words);
        let state = activity.state.label();
        let vat = one_line(&activity.vat);
        let head = words.story_head(one_line(&activity.activity_id), state, vat.clone(), reader.state(state));
        self.line(0, &head.to_string());
        if Vat::parse(&vat).is_ok_and(|vat| !vat.has_saudi_shape()) {
            self.line(2, &words.vat_shape(vat).to_string());
        }
        let plain = |text: &Option<String>| text.as_deref().map(one_line).unwrap_or_default();
        let time = |at: Option<Timestamp>| at.map(|at| reader.zone.second(at)).unwrap_or_default();
        let facts = [
            (words.col_device(), plain(&activity.device_id)),
            (words.col_reference(), plain(&activity.reference)),
            (words.fact_status(), plain(&activity.upstream_status)),
            (words.fact_pcsid(), plain(&activity.pcsid_generated)),
            (words.fact_created(), time(activity.upstream_created_at)),
            (words.fact_updated(), time(activity.upstream_updated_at)),
            (words.fact_completed(), time(activity.upstream_completed_at)),
            (words.fact_polls(), activity.poll_count.to_string()),
            (words.fact_last_poll(), time(activity.last_polled_at)),
            (words.fact_next_poll(), time(activity.next_poll_at)),
            (
                words.fact_last_error(),
                activity.last_error.as_deref().map(|error| reader.stored(error)).unwrap_or_default(),
            ),
        ];
        let facts: Vec<(String, String)> = facts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(label, value)| (label.to_string(), value))
            .collect();
        let labels = facts.iter().map(|(label, _)| cells(label)).max().unwrap_or(0);
        for (label, value) in &facts {
            self.lines.extend(labelled(label, value, 2, labels, reader.width));
        }
        if let Some(step) = activity.next_step_in(words.language()) {
            self.title(words.next_step_title());
            self.line(4, &one_line(step));
        }
    }

    fn timeline(&mut self, history: &History) {
        let (reader, words) = (self.reader, self.reader.words);
        let activity = &history.activity;
        let mut steps = vec![(activity.registered_at, words.step_added().to_string())];
        steps.extend(activity.stalled_at.map(|at| (at, words.step_stalled().to_string())));
        for step in &history.transitions {
            let status = step.http_status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
            let changed = words
                .step_transition(reader.state(step.from_state.label()), reader.state(step.to_state.label()));
            let reason = step.reason.as_deref().map(|reason| reader.stored(reason)).unwrap_or_default();
            steps.push((step.occurred_at, format!("{changed}{status}: {reason}")));
        }
        steps.sort_by_key(|(at, _)| *at);
        self.title(words.timeline_title());
        for (at, what) in steps {
            self.entry(4, &format!("{} ", reader.zone.second(at)), &what);
        }
    }

    fn checks(&mut self, history: &History) {
        let words = self.reader.words;
        if history.checks.iter().all(|check| check.outcome == CheckOutcome::NotReported) {
            return;
        }
        self.title(words.findings_title());
        for check in &history.checks {
            let (mark, outcome) = match check.outcome {
                CheckOutcome::Succeeded => ("✔", words.outcome_succeeded()),
                CheckOutcome::Failed => ("✘", words.outcome_failed()),
                CheckOutcome::NotReported => ("–", words.not_reported()),
            };
            let name = one_line(&check.check_name);
            let word = words.check_word(&name).map_or_else(|| name.clone(), |word| word.to_string());
            self.entry(4, mark, &format!("{word}: {outcome} ({name})"));
            for error in &check.errors {
                let (rule, severity) = (self.rule(error.rule.as_deref()), self.severity(error.severity));
                self.line(8, &format!("{rule} ({severity}): {}", one_line(&error.message)));
                self.why(&error.explained);
            }
            if check.errors_left_out > 0 {
                self.line(8, &words.more_errors(check.errors_left_out).to_string());
            }
        }
    }

    fn rule(&self, rule: Option<&str>) -> String {
        let rule = rule.map(one_line).filter(|rule| !rule.is_empty());
        rule.unwrap_or_else(|| self.reader.words.no_rule_code().to_string())
    }

    /// What an error means and what to do about it.
    fn why(&mut self, explained: &Explained) {
        let words = self.reader.words;
        let Some(meaning) = explained.meaning_in(words.language()) else { return };
        self.line(12, &one_line(meaning));
        let owner = explained.owner.map(|owner| words.owner_word(owner).to_string()).unwrap_or_default();
        let arrow = if words.is_rtl() { "←" } else { "→" };
        let remedy = explained.remedy_in(words.language()).map(one_line).unwrap_or_default();
        self.entry(12, arrow, &format!("{owner}: {remedy}"));
    }

    /// How the device's attempt before this one ended, and which of its errors remain.
    fn former_attempt(&mut self, history: &History) {
        let words = self.reader.words;
        let Some(former) = &history.former_attempt else { return };
        self.title(words.former_title());
        let added = words.added_when(self.reader.zone.minute(former.registered_at)).to_string();
        let state = self.reader.state(former.state.label());
        self.line(4, &format!("{}: {state}{} {added}", one_line(&former.activity_id), words.list_comma()));
        let Some(ComparedRules { fixed, remaining, new }) = &former.rules else { return };
        for (codes, label) in
            [(fixed, words.rules_fixed()), (remaining, words.rules_remaining()), (new, words.rules_new())]
        {
            let codes: Vec<String> = codes.iter().map(|code| one_line(code)).collect();
            let codes = match codes.as_slice() {
                [] => words.none().to_string(),
                codes => codes.join(&format!("{} ", words.list_comma())),
            };
            self.line(4, &format!("{label}: {codes}"));
        }
    }

    /// Whether an error blocks.
    fn severity(&self, severity: Severity) -> String {
        severity.in_words().of(self.reader.words.language()).to_owned()
    }

    fn errors(&mut self, history: &History) {
        let words = self.reader.words;
        // An entry that names several rules has a row for each.
        let mut entry = None;
        if !history.errors.is_empty() {
            self.title(words.listed_errors_title());
        }
        for error in &history.errors {
            if entry.replace(error.entry) != Some(error.entry) {
                let plain = |text: &Option<String>| text.as_deref().map(one_line).unwrap_or_default();
                let message = plain(&error.error_message);
                let message = page_as_sentence(&message).unwrap_or(message);
                let (code, source) = (plain(&error.error_code), plain(&error.error_source));
                self.line(4, &format!("{code} ({source}): {message}"));
            }
            let (rule, severity) = (self.rule(error.rule.as_deref()), self.severity(error.severity));
            self.line(8, &format!("{rule} ({severity})"));
            self.why(&error.explained);
        }
        if history.activity.errors_left_out > 0 {
            self.line(4, &words.and_more(history.activity.errors_left_out).to_string());
        }
    }

    fn deliveries(&mut self, deliveries: &[DeliveryRow]) {
        let (reader, words) = (self.reader, self.reader.words);
        if !deliveries.is_empty() {
            self.title(words.events_title());
        }
        for delivery in deliveries {
            let second = |at: Option<Timestamp>| at.map(|at| reader.zone.second(at)).unwrap_or_default();
            let when = match delivery.status {
                DeliveryStatus::Delivered => second(delivery.delivered_at),
                DeliveryStatus::Pending => words.next_try(second(delivery.next_attempt_at)).to_string(),
                DeliveryStatus::Dead => String::new(),
            };
            let word = words.delivery_word(delivery.status).to_string();
            let mut parts = vec![words.delivery_to(one_line(&delivery.sink), word).to_string(), when];
            parts.push(words.n_attempts(delivery.attempts).to_string());
            parts.extend(delivery.last_error.as_deref().map(|error| reader.stored(error)));
            parts.retain(|part| !part.is_empty());
            let kind = words.event_word(&one_line(&delivery.r#type));
            self.line(4, &format!("{kind}: {}", parts.join(" · ")));
        }
    }
}
