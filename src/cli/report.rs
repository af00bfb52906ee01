//! `report`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::output::{self, Format};
use super::reader::Reader;
use super::{CliResult, open_existing};
use crate::domain::catalogue::Language;
use crate::domain::time::parse_duration;
use crate::settings::Settings;
use crate::store::{Access, ReportView, Slice, Table};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Name of the report
    name: ReportName,
    /// At most this many rows [default: 200 in a table, all in json and csv]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// For renewals: certificates that end within this time, such as 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
    within: Duration,
    /// Output format
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
    /// Deliveries by receiver
    Deliveries,
    /// Certificates that end soon or have ended, the first to end first
    Renewals,
    /// The daemons on a PostgreSQL database: since when, their last sign of life, what each holds
    Replicas,
}

/// Reads a time as it is written in the configuration.
fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text.trim()).ok_or_else(|| "it must be a time such as 12h or 90d".to_owned())
}

pub(super) async fn report(settings: &Settings, args: ReportArgs) -> CliResult {
    let store = open_existing(settings, Access::Read).await?;
    let report = match args.name {
        ReportName::Summary => ReportView::Summary,
        ReportName::Checks => ReportView::Checks,
        ReportName::Rules => ReportView::Rules,
        ReportName::Devices => ReportView::Devices,
        ReportName::Overdue => {
            ReportView::Overdue { watched_from: store.now().await? - settings.policy.stalled_after }
        }
        ReportName::Deliveries => ReportView::Deliveries,
        ReportName::Renewals => ReportView::Renewals { now: store.now().await?, within: args.within },
        ReportName::Replicas => ReportView::Replicas,
    };
    let shown: &[&str] = match (report, settings.language) {
        (ReportView::Rules, Language::English) => {
            &["rule", "check_name", "activities", "vats", "severity", "owner", "meaning", "remedy"]
        }
        (ReportView::Rules, Language::Arabic) => {
            &["rule", "check_name", "activities", "vats", "severity", "owner", "meaning_ar", "remedy_ar"]
        }
        (ReportView::Overdue { .. }, _) => &[
            "activity_id",
            "vat",
            "device_id",
            "reference",
            "state",
            "registered_at",
            "last_polled_at",
            "next_poll_at",
            "poll_count",
            "last_error",
        ],
        _ => &[],
    };
    let (limit, reports) = (args.format.limit(args.limit), store.reports());
    // One row more shows whether there are more.
    let slices = reports.report_slices(report, limit.map(|limit| limit.saturating_add(1))).await?;
    let slice = async |after: Option<usize>, _| {
        let nth = after.map_or(0, |nth| nth + 1);
        let table = match slices.get(nth) {
            Some(slice) => reports.report_slice(report, slice).await?,
            None => Table::default(),
        };
        Ok(Slice { table, last: Some(nth), has_more: nth + 1 < slices.len() })
    };
    output::print_slices(args.format, limit, shown, &Reader::new(settings), slice).await?;
    Ok(store.end_reading().await?)
}
