//! `config check`, `config show`.

use std::io::Write;

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Format};
use super::reader::Reader;
use super::{CliResult, complain};
use crate::daemon::{self, Prepared};
use crate::settings::Settings;
use crate::store::{Cell, Store, Table};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Validate the configuration as `run` does, secrets and certificates included
    Check,
    /// Print the effective settings, secrets redacted
    Show {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub(super) async fn config(settings: &Settings, command: ConfigCommand) -> CliResult {
    match command {
        ConfigCommand::Check => {
            Prepared::new(settings)?;
            if let Some(store) = Store::on_server(&settings.database, settings.routes())? {
                writeln!(std::io::stdout(), "{store}: {}", store.reach().await?)?;
            }
            // The service may be allowed more files than this process.
            if let Err(err) = daemon::have_descriptors(settings) {
                complain(&format!("warning: {err}"));
            }
            for warning in &settings.warnings {
                complain(&format!("warning: {warning}"));
            }
            Ok(writeln!(std::io::stdout(), "{}: the configuration is usable", settings.origin())?)
        }
        ConfigCommand::Show { format } => {
            let mut rows = Vec::new();
            flatten("", &settings.shown, &mut rows);
            Ok(output::print(&Table::new(&["key", "value"], rows), format, &[], &Reader::new(settings))?)
        }
    }
}

/// `{"a": {"b": 1}}` is the row `a.b`, `1`.
fn flatten(key: &str, value: &Value, rows: &mut Vec<Vec<Cell>>) {
    match value {
        Value::Object(fields) => {
            let dot = if key.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, value)| flatten(&format!("{key}{dot}{name}"), value, rows));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&format!("{key}[{at}]"), item, rows));
        }
        Value::Null => rows.push(vec![Cell::Text(key.to_owned()), Cell::Null]),
        Value::String(text) => rows.push(vec![Cell::Text(key.to_owned()), Cell::Text(text.clone())]),
        other => rows.push(vec![Cell::Text(key.to_owned()), Cell::Text(other.to_string())]),
    }
}
