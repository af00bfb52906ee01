//! `report`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::output::{self, Format};
use super::{CliResult, LanguageArg, open};
use crate::clock;
use crate::domain::catalogue::{Language, Owner, Severity};
use crate::settings::{Settings, parse_span};
use crate::store::{Cell, Report, Table};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Which one
    name: ReportName,
    /// The language of explanations [default: ui.language]
    #[arg(long, value_enum)]
    lang: Option<LanguageArg>,
    /// Of renewals: certificates that end within this time, such as 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
    within: Duration,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportName {
    /// Activities by VAT and state, and what is held
    Summary,
    /// The six compliance checks by VAT
    Checks,
    /// ZATCA's rules that fail, the most frequent first
    Rules,
    /// Devices: attempts until a PCSID, still without one, whose data the last failure was about
    Devices,
    /// Activities that have not concluded for longer than schedule.stalled_after
    Overdue,
    /// The outbox by sink
    Deliveries,
    /// Certificates that end soon or have ended, the first to end first
    Renewals,
}

/// A time as the configuration writes it.
fn time(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| "it must be a time such as 12h or 90d".to_owned())
}

pub(super) async fn report(settings: &Settings, args: ReportArgs) -> CliResult {
    let report = match args.name {
        ReportName::Summary => Report::Summary,
        ReportName::Checks => Report::Checks,
        ReportName::Rules => Report::Rules,
        ReportName::Devices => Report::Devices,
        ReportName::Overdue => {
            Report::Overdue { registered_until: clock::wall_now() - settings.policy.stalled_after }
        }
        ReportName::Deliveries => Report::Deliveries,
        ReportName::Renewals => Report::Renewals { now: clock::wall_now(), within: args.within },
    };
    let store = open(settings).await?;
    let mut table = store.report(report).await?;
    store.close().await;
    let language = LanguageArg::or(args.lang, settings.language);
    if args.format == Format::Table && language == Language::Arabic {
        tell_in_arabic(&mut table);
    }
    let shown: &[&str] = match (report, language) {
        (Report::Rules, Language::English) => {
            &["rule", "check_name", "activities", "vats", "severity", "owner", "meaning", "remedy"]
        }
        (Report::Rules, Language::Arabic) => {
            &["rule", "check_name", "activities", "vats", "severity", "owner", "meaning_ar", "remedy_ar"]
        }
        _ => &[],
    };
    Ok(output::print(&table, args.format, shown)?)
}

/// Says owners and severities in Arabic, for people; data keeps the names.
fn tell_in_arabic(table: &mut Table) {
    for (at, column) in table.columns.iter().enumerate() {
        let told = |label: &str| match column.as_str() {
            "owner" | "last_failure_owner" => Owner::from_label(label).map(Owner::told),
            "severity" => Severity::from_label(label).map(Severity::told),
            _ => None,
        };
        for cell in table.rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            if let Cell::Text(label) = cell
                && let Some(told) = told(label)
            {
                *cell = Cell::Text(told.ar);
            }
        }
    }
}
