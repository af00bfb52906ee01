//! `explain`: what a rule means, whose data breaks it and what to do.

use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write};

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Format, printable};
use super::{CliError, CliResult, LanguageArg};
use crate::domain::catalogue::{Catalogue, Explanation, Language, Severity};
use crate::domain::rules::split;
use crate::settings::Settings;
use crate::store::{Cell, Table};

/// Longest text that is read from standard input.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Rule codes, such as BR-KSA-17
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// A check's message, whose rules are to be explained; without this and without codes it is read from standard
    /// input
    #[arg(long, conflicts_with = "codes", allow_hyphen_values = true)]
    text: Option<String>,
    /// The language to explain in [default: ui.language]
    #[arg(long, value_enum)]
    lang: Option<LanguageArg>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A rule with what the text said about it, where it comes from one.
struct Explained {
    message: Option<String>,
    /// As the text has it, or the catalogue.
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
            .map(|explanation| Explained { message: None, severity: explanation.severity, explanation })
            .collect(),
    };
    let language = LanguageArg::or(args.lang, settings.language);
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => out.write_all(for_eyes(&explained, language).as_bytes())?,
        Format::Json => output::print_json(&mut out, &Value::Array(explained.iter().map(as_json).collect()))?,
        Format::Csv => {
            drop(out);
            return Ok(output::print(&table(&explained, language), Format::Csv, &[])?);
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

fn in_text(text: &str, catalogue: &Catalogue) -> Vec<Explained> {
    split(text, catalogue.codes())
        .into_iter()
        .map(|mut error| {
            let message = std::mem::take(&mut error.message);
            catalogue.settle(&mut error, &message);
            Explained {
                severity: error.severity.unwrap_or(Severity::Unknown),
                explanation: catalogue.explain_error(&error),
                message: Some(message),
            }
        })
        .collect()
}

/// As JSON with both languages.
fn as_json(explained: &Explained) -> Value {
    let mut value = json!(explained.explanation);
    if let Some(object) = value.as_object_mut() {
        object.insert("severity".to_owned(), json!(explained.severity));
        if let Some(message) = &explained.message {
            object.insert("message".to_owned(), json!(message));
        }
    }
    value
}

fn table(explained: &[Explained], language: Language) -> Table {
    let rows = explained
        .iter()
        .map(|Explained { message, severity, explanation }| {
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

/// A few lines a rule. Writing to a `String` can't fail.
fn for_eyes(explained: &[Explained], language: Language) -> String {
    if explained.is_empty() {
        return "The text is empty: there is nothing to explain.\n".to_owned();
    }
    let mut text = String::new();
    for Explained { message, severity, explanation } in explained {
        let rule = explanation.rule.as_deref().unwrap_or("no rule code");
        let owner = match language {
            Language::English => explanation.owner.label().to_owned(),
            Language::Arabic => explanation.owner.told().ar,
        };
        let told = match language {
            Language::English => "owner",
            Language::Arabic => "المعنيّ",
        };
        let severity = severity.told();
        let _ = writeln!(text, "{} ({told}: {owner}, {})", printable(rule), severity.of(language));
        if let Some(message) = message {
            let _ = writeln!(text, "  message   {}", printable(message));
        }
        let _ = writeln!(text, "  meaning   {}", explanation.meaning.of(language));
        let _ = writeln!(text, "  remedy    {}\n", explanation.remedy.of(language));
    }
    text.pop();
    text
}
