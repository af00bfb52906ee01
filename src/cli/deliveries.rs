//! `deliveries`, `deliveries redeliver`.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

use super::output::{self, Format};
use super::reader::Reader;
use super::{CliError, CliResult, open_existing};
use crate::domain::routing::DeliveryStatus;
use crate::domain::time::Timestamp;
use crate::settings::Settings;
use crate::store::{Access, DeliveryFilter, Redelivery};
use crate::words::Words;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DeliveriesArgs {
    #[command(subcommand)]
    command: Option<DeliveriesCommand>,
    /// Only deliveries with this status
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    /// At most this many rows [default: 200 in a table, all in json and csv]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusArg {
    Pending,
    Delivered,
    Dead,
}

#[derive(Debug, Subcommand)]
enum DeliveriesCommand {
    /// Send an event again, or all that are dead
    Redeliver(RedeliverArgs),
}

#[derive(Debug, Args)]
struct RedeliverArgs {
    /// The event
    #[arg(required_unless_present = "dead", conflicts_with = "dead")]
    event_id: Option<String>,
    /// All deliveries that are dead
    #[arg(long)]
    dead: bool,
    /// Only to this webhook (or `log`)
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// With --dead: only events since then, such as 2026-05-26 or 2026-05-26T10:00:00Z
    #[arg(long, value_name = "TIME", requires = "dead")]
    since: Option<String>,
}

pub(super) async fn deliveries(settings: &Settings, args: DeliveriesArgs) -> CliResult {
    if let Some(DeliveriesCommand::Redeliver(args)) = args.command {
        return redeliver(settings, args).await;
    }
    let status = args.status.map(|status| match status {
        StatusArg::Pending => DeliveryStatus::Pending,
        StatusArg::Delivered => DeliveryStatus::Delivered,
        StatusArg::Dead => DeliveryStatus::Dead,
    });
    let store = open_existing(settings, Access::Read).await?;
    let shown = [
        "event_id",
        "activity_id",
        "type",
        "sink",
        "status",
        "attempts",
        "last_attempt_at",
        "next_attempt_at",
        "last_error",
        "delivered_at",
    ];
    let reports = store.reports();
    let slice = async |after, n_rows| {
        let filter = DeliveryFilter { status, after, limit: Some(n_rows), ..DeliveryFilter::default() };
        reports.list_deliveries(&filter).await
    };
    let limit = args.format.limit(args.limit);
    output::print_slices(args.format, limit, &shown, &Reader::new(settings), slice).await?;
    Ok(store.end_reading().await?)
}

async fn redeliver(settings: &Settings, args: RedeliverArgs) -> CliResult {
    let since = args.since.as_deref().map(since).transpose()?;
    let which = match args.event_id {
        Some(event_id) => Redelivery::Event { event_id, sink: args.webhook },
        None => Redelivery::Dead { sink: args.webhook, since },
    };
    let store = open_existing(settings, Access::Change).await?;
    let n_due = store.intake().redeliver(&which, store.now().await?).await?;
    store.close().await;
    if let (Redelivery::Dead { sink: Some(sink), .. }, 0) = (&which, n_due) {
        let sinks: Vec<String> = settings.routes().into_iter().map(|route| route.sink).collect();
        if !sinks.contains(sink) {
            return Err(CliError::unusable(format!(
                "webhook `{sink}` is not configured and has no dead deliveries; configured: {}",
                sinks.join(", ")
            )));
        }
    }
    Ok(writeln!(std::io::stdout(), "{}", Words::of(settings.language).redeliver_done(n_due))?)
}

fn since(text: &str) -> Result<Timestamp, CliError> {
    let midnight = format!("{text}T00:00:00Z");
    Timestamp::parse_lenient(text).or_else(|| Timestamp::parse_lenient(&midnight)).ok_or_else(|| {
        CliError::unusable(format!("`{text}` is no time: write it as 2026-05-26 or 2026-05-26T10:00:00Z"))
    })
}
