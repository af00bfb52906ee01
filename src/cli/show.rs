//! `show`: all that is known of an activity, told in order.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};

use super::activities::activity_ref;
use super::output::{self, Format, printable};
use super::{CliResult, LanguageArg, open};
use crate::domain::catalogue::{Language, Owner, Severity};
use crate::domain::rules::page_as_sentence;
use crate::settings::Settings;
use crate::store::{ActivityView, StoreError};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The activity
    activity_id: String,
    /// Its VAT, where the id is registered for several
    #[arg(long)]
    vat: Option<String>,
    /// The language of explanations [default: ui.language]
    #[arg(long, value_enum)]
    lang: Option<LanguageArg>,
    /// How to print; csv has the activity's own row alone
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn show(settings: &Settings, args: ShowArgs) -> CliResult {
    let wanted = activity_ref(&args.activity_id, args.vat.as_deref())?;
    let store = open(settings).await?;
    if args.format == Format::Csv {
        let table = store.rows_of(ActivityView::Activity, &wanted).await?;
        if table.rows.is_empty() {
            return Err(StoreError::unknown(&wanted).into());
        }
        return Ok(output::print(&table, Format::Csv, &[])?);
    }
    let activities = store.histories(&wanted).await?;
    store.close().await;
    let language = LanguageArg::or(args.lang, settings.language);
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            let all = activities.into_iter().map(Value::Object).collect();
            output::print_json(&mut out, &Value::Array(all))?;
        }
        _ => {
            for activity in &activities {
                out.write_all(story(activity, language).as_bytes())?;
            }
        }
    }
    Ok(out.flush()?)
}

/// An activity's story. Writing to a `String` can't fail.
fn story(activity: &Map<String, Value>, language: Language) -> String {
    let mut story = String::new();
    let _ = writeln!(
        story,
        "{} of VAT {}: {}",
        text(activity, "activity_id"),
        text(activity, "vat"),
        text(activity, "state")
    );
    for (label, key) in [
        ("device", "device_id"),
        ("reference", "reference"),
        ("upstream says", "upstream_status"),
        ("PCSID", "pcsid_generated"),
        ("created there", "upstream_created_at"),
        ("updated there", "upstream_updated_at"),
        ("completed there", "upstream_completed_at"),
        ("polls", "poll_count"),
        ("last poll", "last_polled_at"),
        ("next poll", "next_poll_at"),
        ("last error", "last_error"),
    ] {
        if !text(activity, key).is_empty() {
            let _ = writeln!(story, "  {label:<16}{}", text(activity, key));
        }
    }
    let next_step = in_language(activity, "next_step", language);
    if !next_step.is_empty() {
        let _ = writeln!(story, "\n  What to do next\n    {next_step}");
    }
    timeline(&mut story, activity);
    checks(&mut story, activity, language);
    former_attempt(&mut story, activity);
    errors(&mut story, activity, language);
    deliveries(&mut story, activity);
    story.push('\n');
    story
}

fn timeline(story: &mut String, activity: &Map<String, Value>) {
    let mut lines = vec![(text(activity, "registered_at"), "registered".to_owned())];
    if !text(activity, "stalled_at").is_empty() {
        lines.push((text(activity, "stalled_at"), "stalled: not concluded by then".to_owned()));
    }
    for step in rows(activity, "transitions") {
        let status = match text(step, "http_status") {
            status if status.is_empty() => String::new(),
            status => format!(" (HTTP {status})"),
        };
        let (from, to) = (text(step, "from_state"), text(step, "to_state"));
        lines.push((text(step, "occurred_at"), format!("{from} → {to}{status}: {}", text(step, "reason"))));
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    story.push_str("\n  Timeline\n");
    for (at, line) in lines {
        let _ = writeln!(story, "    {at}  {line}");
    }
}

/// A field that is there in both languages.
fn in_language(row: &Map<String, Value>, key: &str, language: Language) -> String {
    match language {
        Language::English => text(row, key),
        Language::Arabic => text(row, &format!("{key}_ar")),
    }
}

/// How the device's attempt before this one ended, and what has become of its errors.
fn former_attempt(story: &mut String, activity: &Map<String, Value>) {
    let Some(former) = activity.get("former_attempt").and_then(Value::as_object) else { return };
    let _ = writeln!(
        story,
        "\n  The device's attempt before\n    {}: {}, registered {}",
        text(former, "activity_id"),
        text(former, "state"),
        text(former, "registered_at")
    );
    let Some(rules) = former.get("rules").and_then(Value::as_object) else { return };
    for key in ["fixed", "remaining", "new"] {
        let codes = rules.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let codes: Vec<String> = codes.map(printable).collect();
        let codes = if codes.is_empty() { "none".to_owned() } else { codes.join(", ") };
        let _ = writeln!(story, "    {key:<10}{codes}");
    }
}

fn checks(story: &mut String, activity: &Map<String, Value>, language: Language) {
    let checks: Vec<_> = rows(activity, "checks").collect();
    if checks.iter().all(|check| text(check, "outcome") == "NOT_REPORTED") {
        return;
    }
    story.push_str("\n  Checks\n");
    for check in checks {
        let (mark, note) = match text(check, "outcome").as_str() {
            "SUCCEEDED" => ("✔", ""),
            "FAILED" => ("✘", ""),
            _ => ("–", "  not reported"),
        };
        let _ = writeln!(story, "    {mark} {}{note}", text(check, "check_name"));
        for error in rows(check, "errors") {
            let rule = match text(error, "rule") {
                rule if rule.is_empty() => "no rule code".to_owned(),
                rule => rule,
            };
            let _ =
                writeln!(story, "        {rule} ({}): {}", severity(error, language), text(error, "message"));
            why(story, error, language);
        }
    }
}

/// Whether an error blocks.
fn severity(error: &Map<String, Value>, language: Language) -> String {
    let label = text(error, "severity");
    Severity::from_label(&label).map_or(label, |severity| severity.told().of(language).to_owned())
}

/// What an error means, who must act and what to do.
fn why(story: &mut String, error: &Map<String, Value>, language: Language) {
    let meaning = in_language(error, "meaning", language);
    if meaning.is_empty() {
        return;
    }
    let owner = text(error, "owner");
    let owner = match (Owner::from_label(&owner), language) {
        (Some(known), Language::Arabic) => known.told().ar,
        _ => owner,
    };
    let _ = writeln!(story, "            {meaning}");
    let _ = writeln!(story, "            → {owner}: {}", in_language(error, "remedy", language));
}

fn errors(story: &mut String, activity: &Map<String, Value>, language: Language) {
    let mut errors = rows(activity, "errors").peekable();
    if errors.peek().is_some() {
        story.push_str("\n  Errors\n");
    }
    // An entry that names several rules is there once for each.
    let mut entry = None;
    for error in errors {
        if entry.replace(text(error, "entry")) != Some(text(error, "entry")) {
            let (code, source) = (text(error, "error_code"), text(error, "error_source"));
            let message = text(error, "error_message");
            let message = page_as_sentence(&message).unwrap_or(message);
            let _ = writeln!(story, "    {code} ({source}): {message}");
        }
        let rule = match text(error, "rule") {
            rule if rule.is_empty() => "no rule code".to_owned(),
            rule => rule,
        };
        let _ = writeln!(story, "        {rule} ({})", severity(error, language));
        why(story, error, language);
    }
}

fn deliveries(story: &mut String, activity: &Map<String, Value>) {
    let mut deliveries = rows(activity, "deliveries").peekable();
    if deliveries.peek().is_some() {
        story.push_str("\n  Deliveries\n");
    }
    for delivery in deliveries {
        let status = text(delivery, "status");
        let when = match status.as_str() {
            "delivered" => format!(" at {}", text(delivery, "delivered_at")),
            "pending" => format!(", next try at {}", text(delivery, "next_attempt_at")),
            _ => String::new(),
        };
        let error = match text(delivery, "last_error") {
            error if error.is_empty() => String::new(),
            error => format!("; last error: {error}"),
        };
        let _ = writeln!(
            story,
            "    {} to {}: {status}{when}, attempts: {}{error}",
            text(delivery, "type"),
            text(delivery, "sink"),
            text(delivery, "attempts")
        );
    }
}

fn rows<'a>(
    parent: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> + use<'a> {
    parent.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// A field as text for a terminal; nothing for null.
fn text(row: &Map<String, Value>, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}
