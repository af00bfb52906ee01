//! `explain`: what a rule means, whose data breaks it and what to do.

use std::io::{IsTerminal, Read, Write};

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::reader::Reader;
use super::table::{cells, labelled};
use super::{CliError, CliResult};
use crate::domain::catalogue::{Catalogue, Explanation, Language};
use crate::domain::rules::Severity;
use crate::domain::rules::split;
use crate::domain::text::one_line;
use crate::settings::Settings;
use crate::store::{Cell, Table};

/// Longest text that is read from standard input.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Rule codes, such as BR-KSA-17
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// A check's message whose rules to explain; without it and without codes, the message is read from standard
    /// input
    #[arg(long, conflicts_with = "codes", allow_hyphen_values = true)]
    text: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A rule, with what the text says about it if it was found in one.
struct ExplainedRule {
    message: Option<String>,
    /// From the text, or else from the catalogue.
    severity: Severity,
    explanation: Explanation,
}

pub(super) fn explain(settings: &Settings, args: ExplainArgs) -> CliResult {
    let catalogue = &settings.policy.catalogue;
    let explained = match (args.codes.as_slice(), args.text) {
        ([], text) => in_text(&text.map_or_else(read_standard_input, Ok)?, catalogue),
        (codes, _) => codes
            .iter()
            .map(|code| catalogue.explain(Some(code)))
            .map(|explanation| ExplainedRule { message: None, severity: explanation.severity, explanation })
            .collect(),
    };
    let reader = Reader::new(settings);
    let language = settings.language;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => out.write_all(for_people(&explained, &reader).as_bytes())?,
        Format::Json => output::print_json(&mut out, &Value::Array(explained.iter().map(as_json).collect()))?,
        Format::Csv => {
            drop(out);
            return Ok(output::print(&table(&explained, language), Format::Csv, &[], &reader)?);
        }
    }
    Ok(out.flush()?)
}

fn read_standard_input() -> Result<String, CliError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::unusable(
            "nothing to explain: name a rule such as BR-KSA-17, or give a check's message by --text or on standard input",
        ));
    }
    let mut text = String::new();
    let read = stdin.lock().take(MAX_TEXT_BYTES).read_to_string(&mut text);
    read.map_err(|err| CliError::unusable(format!("standard input can't be read as text: {err}")))?;
    Ok(text)
}

fn in_text(text: &str, catalogue: &Catalogue) -> Vec<ExplainedRule> {
    split(text, catalogue.codes())
        .into_iter()
        .map(|mut error| {
            let message = std::mem::take(&mut error.message);
            catalogue.settle(&mut error, &message);
            ExplainedRule {
                severity: error.severity.unwrap_or(Severity::Unknown),
                explanation: catalogue.explain_error(&error),
                message: Some(message),
            }
        })
        .collect()
}

/// As JSON with both languages.
fn as_json(explained: &ExplainedRule) -> Value {
    let mut value = json!(explained.explanation);
    if let Some(object) = value.as_object_mut() {
        object.insert("severity".to_owned(), json!(explained.severity));
        if let Some(message) = &explained.message {
            object.insert("message".to_owned(), json!(message));
        }
    }
    value
}

fn table(explained: &[ExplainedRule], language: Language) -> Table {
    let rows = explained
        .iter()
        .map(|ExplainedRule { message, severity, explanation }| {
            let text = |text: &str| Cell::Text(text.to_owned());
            vec![
                explanation.rule.as_deref().map_or(Cell::Null, text),
                message.as_deref().map_or(Cell::Null, text),
                text(if explanation.is_known { "yes" } else { "no" }),
                text(severity.label()),
                text(explanation.owner.label()),
                text(explanation.meaning.of(language)),
                text(explanation.remedy.of(language)),
            ]
        })
        .collect();
    Table::new(&["rule", "message", "is_known", "severity", "owner", "meaning", "remedy"], rows)
}

/// A block for each rule.
fn for_people(explained: &[ExplainedRule], reader: &Reader) -> String {
    let words = reader.words;
    if explained.is_empty() {
        return format!("{}\n", words.nothing_to_explain());
    }
    let labels =
        [words.col_severity(), words.col_owner(), words.col_message(), words.col_meaning(), words.col_todo()];
    let labels = labels.map(|label| label.to_string());
    let width_of_labels = labels.iter().map(|label| cells(label)).max().unwrap_or(0);
    let [of_severity, of_owner, of_message, of_meaning, of_remedy] = labels;
    let mut lines = Vec::new();
    for ExplainedRule { message, severity, explanation } in explained {
        let rule = explanation.rule.as_deref().map_or_else(|| words.no_rule_code().to_string(), one_line);
        let owner = words.owner_word(explanation.owner).to_string();
        lines.push(rule);
        let mut fact = |label: &str, value: &str| {
            lines.extend(labelled(label, value, 2, width_of_labels, reader.width));
        };
        fact(&of_severity, severity.in_words().of(words.language()));
        // In English with the name that is used in data.
        let owner = match words.language() {
            Language::English => format!("{owner} ({})", explanation.owner.label()),
            Language::Arabic => owner,
        };
        fact(&of_owner, &owner);
        if let Some(message) = message {
            fact(&of_message, &one_line(message));
        }
        fact(&of_meaning, explanation.meaning.of(words.language()));
        fact(&of_remedy, explanation.remedy.of(words.language()));
        lines.push(String::new());
    }
    lines.join("\n")
}
