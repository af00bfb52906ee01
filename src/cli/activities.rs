//! `add`, `list`, `poll`, `cancel`, `retry`.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::output::{self, Format};
use super::{CliError, CliResult, complain, open};
use crate::clock;
use crate::domain::activity::{ActivityId, Registration, State, Vat};
use crate::settings::Settings;
use crate::store::{ActivityFilter, ActivityRef, RegisterOutcome};

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
    /// Any text of yours, an order or ticket number say
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only activities in this state
    #[arg(long, value_enum, ignore_case = true)]
    state: Option<StateArg>,
    /// Only activities of this VAT
    #[arg(long)]
    vat: Option<String>,
    /// At most so many
    #[arg(long)]
    limit: Option<u32>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ActivityArgs {
    /// The activity
    activity_id: String,
    /// Its VAT, where the id is registered for several
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
        Some(clap::builder::PossibleValue::new(self.0.label()))
    }
}

impl ActivityArgs {
    fn parse(&self) -> Result<ActivityRef, CliError> {
        activity_ref(&self.activity_id, self.vat.as_deref())
    }
}

/// What names an activity on a command line.
pub(super) fn activity_ref(activity_id: &str, vat: Option<&str>) -> Result<ActivityRef, CliError> {
    Ok(ActivityRef { activity_id: ActivityId::parse(activity_id)?, vat: vat.map(Vat::parse).transpose()? })
}

pub(super) async fn add(settings: &Settings, args: AddArgs) -> CliResult {
    let registrations = args
        .activity_ids
        .iter()
        .map(|id| Registration::parse(&args.vat, id, args.device_id.as_deref(), args.reference.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let outcomes = register(settings, &registrations).await?;
    let mut out = std::io::stdout().lock();
    for (registration, outcome) in registrations.iter().zip(outcomes) {
        let said = match outcome {
            RegisterOutcome::New => "is watched from now on",
            RegisterOutcome::Known => "was known already, nothing changed",
        };
        writeln!(out, "{} of VAT {} {said}", registration.activity_id, registration.vat)?;
    }
    Ok(())
}

/// Registers all or none. A VAT that no credential serves is refused: its activities would never be polled.
pub(super) async fn register(
    settings: &Settings,
    registrations: &[Registration],
) -> Result<Vec<RegisterOutcome>, CliError> {
    let serving = settings.serving();
    let mut vats: Vec<&Vat> = registrations.iter().map(|registration| &registration.vat).collect();
    vats.sort();
    vats.dedup();
    for vat in &vats {
        if serving.credential_of(vat).is_none() {
            return Err(CliError::unusable(format!(
                "VAT {vat} is served by no credential in {}: name it in the `vats` of one of [[credentials]], or \
                 have one without `vats`",
                settings.origin()
            )));
        }
    }
    let store = open(settings).await?;
    let outcomes = store
        .register(
            registrations,
            &settings.upstream.base_url,
            &serving,
            settings.policy.backoff.initial_interval(),
            clock::wall_now(),
        )
        .await?;
    store.close().await;
    for vat in vats.iter().filter(|vat| !vat.has_saudi_shape()) {
        complain(&format!("warning: VAT {vat} is not 15 digits between two 3s, as Saudi VAT numbers are"));
    }
    Ok(outcomes)
}

pub(super) async fn list(settings: &Settings, args: ListArgs) -> CliResult {
    let filter = ActivityFilter {
        states: args.state.map(|state| state.0).into_iter().collect(),
        vat: args.vat.as_deref().map(Vat::parse).transpose()?,
        limit: args.limit,
        ..ActivityFilter::default()
    };
    let store = open(settings).await?;
    let table = store.list_activities(&filter).await?.table;
    store.close().await;
    let shown = [
        "vat",
        "activity_id",
        "state",
        "device_id",
        "reference",
        "concluded_at",
        "next_poll_at",
        "poll_count",
        "last_error",
        "registered_at",
    ];
    Ok(output::print(&table, args.format, &shown)?)
}

pub(super) async fn poll(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open(settings).await?;
    let now = clock::wall_now();
    store.require_upstream(&settings.upstream.base_url, now).await?;
    let vat = store.poll_now(&activity, now).await?;
    store.close().await;
    Ok(writeln!(std::io::stdout(), "{} of VAT {vat} is due now", activity.activity_id)?)
}

pub(super) async fn cancel(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open(settings).await?;
    let vat = store.cancel(&activity, clock::wall_now()).await?;
    store.close().await;
    Ok(writeln!(std::io::stdout(), "{} of VAT {vat} is cancelled", activity.activity_id)?)
}

pub(super) async fn retry(settings: &Settings, args: ActivityArgs) -> CliResult {
    let activity = args.parse()?;
    let store = open(settings).await?;
    let initial_interval = settings.policy.backoff.initial_interval();
    let retried =
        store.retry(&activity, &settings.upstream.base_url, initial_interval, clock::wall_now()).await?;
    store.close().await;
    Ok(writeln!(
        std::io::stdout(),
        "{} of VAT {} was {} and is watched again",
        activity.activity_id,
        retried.vat,
        retried.from
    )?)
}
