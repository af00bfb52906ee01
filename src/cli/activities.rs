//! `add`, `list`, `poll`, `cancel`, `retry`.

use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::output::{self, Format};
use super::reader::Reader;
use super::{CliError, CliResult, complain, open, open_existing};
use crate::domain::activity::{ActivityId, Registration, State, Vat};
use crate::domain::catalogue::Language;
use crate::settings::Settings;
use crate::spreadsheet;
use crate::store::{Access, ActivityFilter, ActivityRef, Cell, RegisterOutcome, Store, TURN, Table};
use crate::words::Words;

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// VAT or group VAT number that the activities belong to
    #[arg(long)]
    vat: String,
    /// PcsidGenerationActivityId, as ClearTax answered the device's registration
    #[arg(required = true, value_name = "ACTIVITY_ID")]
    activity_ids: Vec<String>,
    /// Your name for the device
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// Any text of yours, such as an order or ticket number
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only activities in this state; may be given several times
    #[arg(long, value_enum, ignore_case = true)]
    state: Vec<StateArg>,
    /// Only activities of this VAT
    #[arg(long)]
    vat: Option<String>,
    /// At most this many rows [default: 200 in a table, all in json and csv]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What names an activity on a command line.
#[derive(Debug, Args)]
pub(super) struct ActivityArgs {
    /// The activity
    activity_id: String,
    /// Its VAT, if the id is registered for several
    #[arg(long)]
    vat: Option<String>,
}

/// A state as people type it.
#[derive(Debug, Clone, Copy)]
struct StateArg(State);

impl ValueEnum for StateArg {
    fn value_variants<'a>() -> &'a [Self] {
        const STATES: [StateArg; 7] = [
            StateArg(State::Pending),
            StateArg(State::InProgress),
            StateArg(State::Succeeded),
            StateArg(State::Failed),
            StateArg(State::Rejected),
            StateArg(State::Expired),
            StateArg(State::Cancelled),
        ];
        &STATES
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let word = Words::of(Language::English).state_word(self.0).to_string();
        Some(clap::builder::PossibleValue::new(self.0.label()).help(word))
    }
}

impl ActivityArgs {
    pub(super) fn parse(&self) -> Result<ActivityRef, CliError> {
        let vat = self.vat.as_deref().map(Vat::parse).transpose()?;
        Ok(ActivityRef { activity_id: ActivityId::parse(&self.activity_id)?, vat })
    }
}

pub(super) async fn add(settings: &Settings, args: AddArgs) -> CliResult {
    let registrations = args
        .activity_ids
        .iter()
        .map(|id| Registration::parse(&args.vat, id, args.device_id.as_deref(), args.reference.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let vats = registrations.iter().map(|registration| registration.vat.clone()).collect();
    let chunks = registrations.chunks(CHUNK).map(<[Registration]>::to_vec);
    let outcomes = register(settings, &vats, chunks, |_| {}, &CancellationToken::new()).await?;
    let words = Words::of(settings.language);
    {
        let mut out = std::io::stdout().lock();
        for (registration, outcome) in registrations.iter().zip(outcomes) {
            let (id, vat) = (registration.activity_id.as_str(), registration.vat.as_str());
            match outcome {
                RegisterOutcome::New => writeln!(out, "{}", words.add_new(id, vat))?,
                RegisterOutcome::Known => writeln!(out, "{}", words.add_known(id, vat))?,
            }
        }
    }
    say_if_stopped(settings).await;
    Ok(())
}

/// Rows that are registered in one transaction. Between two transactions the daemon gets its turn to write.
pub(super) const CHUNK: usize = 1_000;

/// Registers these chunks, and reports after each how many registrations are done. `vats` are all VATs in them: one
/// that no credential serves is refused before anything is written, because its activities would never be polled.
pub(super) async fn register(
    settings: &Settings,
    vats: &BTreeSet<Vat>,
    chunks: impl Iterator<Item = Vec<Registration>>,
    mut progress: impl FnMut(usize),
    stop: &CancellationToken,
) -> Result<Vec<RegisterOutcome>, CliError> {
    let serving = settings.serving();
    for vat in vats {
        if serving.credential_of(vat).is_none() {
            return Err(CliError::unusable(format!(
                "VAT {vat} is served by no credential in {}: name it in the `vats` of one of [[credentials]], or \
                 have one without `vats`",
                settings.origin()
            )));
        }
    }
    let store = open(settings).await?;
    let mut outcomes = Vec::new();
    let mut chunks = chunks.peekable();
    // Without any chunk an empty one is registered, so that the database belongs to its upstream from then on.
    let empty = chunks.peek().is_none().then(Vec::new);
    for (nth, chunk) in empty.into_iter().chain(chunks).enumerate() {
        if stop.is_cancelled() {
            return Err(interrupted());
        }
        if nth > 0 {
            tokio::time::sleep(TURN).await;
        }
        let registered = store
            .intake()
            .register(
                &chunk,
                &settings.upstream.base_url,
                &serving,
                settings.policy.backoff.initial_interval(),
                store.now().await?,
            )
            .await?;
        outcomes.extend(registered);
        progress(outcomes.len());
    }
    store.close().await;
    for vat in vats.iter().filter(|vat| !vat.has_saudi_shape()) {
        complain(&Words::of(settings.language).vat_shape(vat.as_str()).to_string());
    }
    Ok(outcomes)
}

/// The error of a command that a signal ended before it was done.
pub(super) fn interrupted() -> CliError {
    CliError::failed("a signal ended it")
}

/// Warns if no daemon runs, because nothing happens until one does.
pub(super) async fn say_if_stopped(settings: &Settings) {
    if !Store::is_served(&settings.database).await {
        complain(&Words::of(settings.language).nothing_until_it_runs("pcsid-watch run").to_string());
    }
}

pub(super) async fn list(settings: &Settings, args: ListArgs) -> CliResult {
    let mut states: Vec<State> = args.state.iter().map(|state| state.0).collect();
    states.sort();
    states.dedup();
    let filter = ActivityFilter {
        states,
        vat: args.vat.as_deref().map(Vat::parse).transpose()?,
        ..ActivityFilter::default()
    };
    let reader = Reader::new(settings);
    let store = open_existing(settings, Access::Read).await?;
    let shown = ["activity_id", "vat", "state", "device_id", "reference", "registered_at", "standing"];
    let reports = store.reports();
    let slice = async |after, n_rows| {
        let filter = ActivityFilter { after, limit: Some(n_rows), ..filter.clone() };
        let mut slice = reports.list_activities(&filter).await?;
        if args.format == Format::Table {
            add_standing(&mut slice.table, &reader);
        }
        Ok(slice)
    };
    output::print_slices(args.format, args.format.limit(args.limit), &shown, &reader, slice).await?;
    Ok(store.end_reading().await?)
}

/// Adds each activity's progress, for people: when it ended, or when it is polled next and what was wrong last.
fn add_standing(table: &mut Table, reader: &Reader) {
    let at = ["concluded_at", "next_poll_at", "last_error"].map(|name| table.position(name));
    for row in &mut table.rows {
        let [ended, next, error] =
            at.map(|at| at.and_then(|at| row.get(at)).map(spreadsheet::text).unwrap_or_default());
        let words = reader.words;
        let mut standing = match (ended.is_empty(), next.is_empty()) {
            (false, _) => words.ended_when(reader.time(&ended)).to_string(),
            (true, false) => words.next_poll_when(reader.time(&next)).to_string(),
            (true, true) => String::new(),
        };
        if ended.is_empty() && !error.is_empty() {
            let error: String = reader.stored(&error).chars().take(80).collect();
            standing = format!("{standing}; {error}");
        }
        row.push(Cell::Text(standing));
    }
    table.columns.push("standing".to_owned());
}

pub(super) async fn poll(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open_existing(settings, Access::Change).await?;
    let now = store.now().await?;
    store.upkeep().require_upstream(&settings.upstream.base_url, now).await?;
    let vat = store.intake().poll_now(&activity, now).await?.vat;
    store.close().await;
    let words = Words::of(settings.language);
    writeln!(std::io::stdout(), "{}", words.poll_due(activity.activity_id.as_str(), vat.as_str()))?;
    say_if_stopped(settings).await;
    Ok(())
}

pub(super) async fn cancel(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open_existing(settings, Access::Change).await?;
    let vat = store.intake().cancel(&activity, store.now().await?).await?.vat;
    store.close().await;
    let words = Words::of(settings.language);
    Ok(writeln!(std::io::stdout(), "{}", words.cancel_done(activity.activity_id.as_str(), vat.as_str()))?)
}

pub(super) async fn retry(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open_existing(settings, Access::Change).await?;
    let initial_interval = settings.policy.backoff.initial_interval();
    let retried = store
        .intake()
        .retry(&activity, &settings.upstream.base_url, initial_interval, store.now().await?)
        .await?;
    store.close().await;
    let words = Words::of(settings.language);
    let (id, vat) = (activity.activity_id.as_str(), retried.activity.vat.as_str());
    let from = words.state_word(retried.from);
    writeln!(std::io::stdout(), "{}", words.retry_done(from, id, vat))?;
    say_if_stopped(settings).await;
    Ok(())
}
