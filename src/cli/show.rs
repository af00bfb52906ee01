//! `show`: all that is known of an activity, told in order.

use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};

use super::activities::activity_ref;
use super::output::{self, Eyes, Format, cells, labelled, wrapped};
use super::{CliResult, open_existing};
use crate::domain::activity::Vat;
use crate::domain::catalogue::{Language, Severity};
use crate::domain::rules::page_as_sentence;
use crate::domain::text::one_line;
use crate::domain::time::Timestamp;
use crate::page::{check_word, delivery_word, event_word, owner_word};
use crate::settings::Settings;
use crate::store::{Access, ActivityView, StoreError};
use crate::words::Said;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The activity
    activity_id: String,
    /// Its VAT, where the id is registered for several
    #[arg(long)]
    vat: Option<String>,
    /// How to print; csv has the activity's own row alone
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

type Row = Map<String, Value>;

pub(super) async fn show(settings: &Settings, args: ShowArgs) -> CliResult {
    let wanted = activity_ref(&args.activity_id, args.vat.as_deref())?;
    let eyes = Eyes::new(settings);
    let store = open_existing(settings, Access::Read).await?;
    if args.format == Format::Csv {
        let table = store.reports().rows_of(ActivityView::Activity, &wanted).await?;
        store.end_reading().await?;
        if table.rows.is_empty() {
            return Err(StoreError::unknown(&wanted).into());
        }
        return Ok(output::print(&table, Format::Csv, &[], &eyes, false)?);
    }
    let activities = store.reports().histories(&wanted).await?;
    store.end_reading().await?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            let all = activities.into_iter().map(Value::Object).collect();
            output::print_json(&mut out, &Value::Array(all))?;
        }
        _ => {
            for activity in &activities {
                out.write_all(Story::of(activity, &eyes).as_bytes())?;
            }
        }
    }
    Ok(out.flush()?)
}

/// An activity's story, in lines that fit the terminal.
struct Story<'a> {
    eyes: &'a Eyes,
    lines: Vec<String>,
}

impl<'a> Story<'a> {
    fn of(activity: &Row, eyes: &'a Eyes) -> String {
        let mut story = Self { eyes, lines: Vec::new() };
        story.head(activity);
        story.timeline(activity);
        story.checks(activity);
        story.former_attempt(activity);
        story.errors(activity);
        story.deliveries(activity);
        story.lines.push(String::new());
        if let Some(at) = Timestamp::parse_lenient(&text(activity, "registered_at")) {
            story.line(0, &eyes.zone_note(at));
        }
        story.lines.join("\n") + "\n\n"
    }

    fn line(&mut self, indent: usize, text: &str) {
        let room = self.eyes.width.saturating_sub(indent);
        self.lines
            .extend(wrapped(text, room).into_iter().map(|line| format!("{}{line}", " ".repeat(indent))));
    }

    /// The rest of an entry stands below its beginning, not below its mark.
    fn entry(&mut self, indent: usize, mark: &str, text: &str) {
        let begin = indent + cells(mark) + 1;
        let room = self.eyes.width.saturating_sub(begin);
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

    fn head(&mut self, activity: &Row) {
        let (eyes, words) = (self.eyes, self.eyes.words);
        let state = text(activity, "state");
        let vat = text(activity, "vat");
        self.line(
            0,
            &words
                .story_head(text(activity, "activity_id"), state.clone(), vat.clone(), eyes.state(&state))
                .to_string(),
        );
        if Vat::parse(&vat).is_ok_and(|vat| !vat.has_saudi_shape()) {
            self.line(2, &words.vat_shape(vat).to_string());
        }
        let plain = |key: &str| text(activity, key);
        let time = |key: &str| eyes.second(&text(activity, key));
        let facts = [
            (words.col_device(), plain("device_id")),
            (words.col_reference(), plain("reference")),
            (words.fact_status(), plain("upstream_status")),
            (words.fact_pcsid(), plain("pcsid_generated")),
            (words.fact_created(), time("upstream_created_at")),
            (words.fact_updated(), time("upstream_updated_at")),
            (words.fact_completed(), time("upstream_completed_at")),
            (words.fact_polls(), plain("poll_count")),
            (words.fact_last_poll(), time("last_polled_at")),
            (words.fact_next_poll(), time("next_poll_at")),
            (words.fact_last_error(), eyes.stored(&plain("last_error"))),
        ];
        let facts: Vec<(String, String)> = facts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(label, value)| (label.to_string(), value))
            .collect();
        let labels = facts.iter().map(|(label, _)| cells(label)).max().unwrap_or(0);
        for (label, value) in &facts {
            self.lines.extend(labelled(label, value, 2, labels, eyes.width));
        }
        let next_step = self.in_language(activity, "next_step");
        if !next_step.is_empty() {
            self.title(words.next_step_title());
            self.line(4, &next_step);
        }
    }

    fn timeline(&mut self, activity: &Row) {
        let (eyes, words) = (self.eyes, self.eyes.words);
        let mut steps = vec![(text(activity, "registered_at"), words.step_added().to_string())];
        if !text(activity, "stalled_at").is_empty() {
            steps.push((text(activity, "stalled_at"), words.step_stalled().to_string()));
        }
        for step in rows(activity, "transitions") {
            let status = match text(step, "http_status") {
                status if status.is_empty() => String::new(),
                status => format!(" (HTTP {status})"),
            };
            let (from, to) = (eyes.state(&text(step, "from_state")), eyes.state(&text(step, "to_state")));
            let reason = eyes.stored(&text(step, "reason"));
            steps.push((
                text(step, "occurred_at"),
                format!("{}{status}: {reason}", words.step_transition(from, to)),
            ));
        }
        steps.sort_by(|a, b| a.0.cmp(&b.0));
        self.title(words.timeline_title());
        for (at, what) in steps {
            self.entry(4, &format!("{} ", eyes.second(&at)), &what);
        }
    }

    fn checks(&mut self, activity: &Row) {
        let words = self.eyes.words;
        let checks: Vec<_> = rows(activity, "checks").collect();
        if checks.iter().all(|check| text(check, "outcome") == "NOT_REPORTED") {
            return;
        }
        self.title(words.findings_title());
        for check in checks {
            let (mark, outcome) = match text(check, "outcome").as_str() {
                "SUCCEEDED" => ("✔", words.outcome_succeeded()),
                "FAILED" => ("✘", words.outcome_failed()),
                _ => ("–", words.not_reported()),
            };
            let name = text(check, "check_name");
            let word = check_word(words, &name).map_or_else(|| name.clone(), |word| word.to_string());
            self.entry(4, mark, &format!("{word}: {outcome} ({name})"));
            for error in rows(check, "errors") {
                let rule = match text(error, "rule") {
                    rule if rule.is_empty() => words.no_rule_code().to_string(),
                    rule => rule,
                };
                self.line(8, &format!("{rule} ({}): {}", self.severity(error), text(error, "message")));
                self.why(error);
            }
            if let Some(n @ 1..) = check.get("errors_left_out").and_then(Value::as_u64) {
                self.line(8, &words.more_errors(n).to_string());
            }
        }
    }

    /// What an error means and what to do about it.
    fn why(&mut self, error: &Row) {
        let words = self.eyes.words;
        let meaning = self.in_language(error, "meaning");
        if meaning.is_empty() {
            return;
        }
        self.line(12, &meaning);
        let owner = text(error, "owner");
        let owner = owner_word(words, &owner).map_or_else(|| owner.clone(), |word| word.to_string());
        let arrow = if words.is_rtl() { "←" } else { "→" };
        self.entry(12, arrow, &format!("{owner}: {}", self.in_language(error, "remedy")));
    }

    /// How the device's attempt before this one ended, and what has become of its errors.
    fn former_attempt(&mut self, activity: &Row) {
        let words = self.eyes.words;
        let Some(former) = activity.get("former_attempt").and_then(Value::as_object) else { return };
        self.title(words.former_title());
        let added = words.added_when(self.eyes.time(&text(former, "registered_at"))).to_string();
        let state = self.eyes.state(&text(former, "state"));
        self.line(4, &format!("{}: {state}{} {added}", text(former, "activity_id"), words.list_comma()));
        let Some(rules) = former.get("rules").and_then(Value::as_object) else { return };
        for (key, label) in [
            ("fixed", words.rules_fixed()),
            ("remaining", words.rules_remaining()),
            ("new", words.rules_new()),
        ] {
            let codes =
                rules.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let codes: Vec<String> = codes.map(one_line).collect();
            let codes = match codes.as_slice() {
                [] => words.none().to_string(),
                codes => codes.join(&format!("{} ", words.list_comma())),
            };
            self.line(4, &format!("{label}: {codes}"));
        }
    }

    /// Whether an error blocks.
    fn severity(&self, error: &Row) -> String {
        let label = text(error, "severity");
        let language = self.eyes.words.language();
        Severity::from_label(&label).map_or(label, |severity| severity.told().of(language).to_owned())
    }

    fn errors(&mut self, activity: &Row) {
        let words = self.eyes.words;
        // An entry that names several rules is there once for each.
        let mut entry = None;
        let mut errors = rows(activity, "errors").peekable();
        if errors.peek().is_some() {
            self.title(words.listed_errors_title());
        }
        for error in errors {
            if entry.replace(text(error, "entry")) != Some(text(error, "entry")) {
                let (code, source) = (text(error, "error_code"), text(error, "error_source"));
                let message = text(error, "error_message");
                let message = page_as_sentence(&message).unwrap_or(message);
                self.line(4, &format!("{code} ({source}): {message}"));
            }
            let rule = match text(error, "rule") {
                rule if rule.is_empty() => words.no_rule_code().to_string(),
                rule => rule,
            };
            self.line(8, &format!("{rule} ({})", self.severity(error)));
            self.why(error);
        }
        if let Some(n @ 1..) = activity.get("errors_left_out").and_then(Value::as_u64) {
            self.line(4, &words.and_more(n).to_string());
        }
    }

    fn deliveries(&mut self, activity: &Row) {
        let (eyes, words) = (self.eyes, self.eyes.words);
        let mut deliveries = rows(activity, "deliveries").peekable();
        if deliveries.peek().is_some() {
            self.title(words.events_title());
        }
        for delivery in deliveries {
            let status = text(delivery, "status");
            let when = match status.as_str() {
                "delivered" => eyes.second(&text(delivery, "delivered_at")),
                "pending" => words.next_try(eyes.second(&text(delivery, "next_attempt_at"))).to_string(),
                _ => String::new(),
            };
            let word = delivery_word(words, &status).map_or_else(|| status.clone(), |word| word.to_string());
            let mut parts = vec![words.delivery_to(text(delivery, "sink"), word).to_string(), when];
            if let Ok(n) = text(delivery, "attempts").parse::<u64>() {
                parts.push(words.n_attempts(n).to_string());
            }
            let error = text(delivery, "last_error");
            if !error.is_empty() {
                parts.push(eyes.stored(&error));
            }
            parts.retain(|part| !part.is_empty());
            let kind = event_word(words, &text(delivery, "type"));
            self.line(4, &format!("{kind}: {}", parts.join(" · ")));
        }
    }

    /// A field that is there in both languages.
    fn in_language(&self, row: &Row, key: &str) -> String {
        match self.eyes.words.language() {
            Language::English => text(row, key),
            Language::Arabic => text(row, &format!("{key}_ar")),
        }
    }
}

fn rows<'a>(parent: &'a Row, key: &str) -> impl Iterator<Item = &'a Row> + use<'a> {
    parent.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// A field as text for a terminal; nothing for null.
fn text(row: &Row, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => one_line(text),
        Some(other) => other.to_string(),
    }
}
