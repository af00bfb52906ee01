//! `evidence`: one file about an activity.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::activities::ActivityArgs;
use super::{CliResult, open_existing, output};
use crate::clock;
use crate::evidence::{self, Bundle, Material};
use crate::settings::Settings;
use crate::store::Access;
use crate::words::Words;

#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    #[command(flatten)]
    activity: ActivityArgs,
    /// json for programs, html to read and print
    #[arg(long, value_enum, default_value_t)]
    format: EvidenceFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum EvidenceFormat {
    #[default]
    Json,
    Html,
}

pub(super) async fn evidence(settings: &Settings, args: EvidenceArgs) -> CliResult {
    let wanted = args.activity.parse()?;
    let store = open_existing(settings, Access::Read).await?;
    let history = store.reports().history(&wanted).await?;
    let final_answer = store.reports().final_answer(&wanted).await?;
    let base_url = store.reports().upstream().await?.unwrap_or_else(|| settings.upstream.base_url.clone());
    store.end_reading().await?;
    let material = Material { history, final_answer, base_url };
    let bundle = Bundle::new(material, clock::wall_now()).map_err(std::io::Error::from)?;
    let mut out = std::io::stdout().lock();
    match args.format {
        EvidenceFormat::Json => output::print_json(&mut out, bundle.json())?,
        EvidenceFormat::Html => {
            let words = Words::of(settings.language);
            out.write_all(evidence::render(&bundle, words, &settings.zone).into_string().as_bytes())?;
        }
    }
    Ok(out.flush()?)
}
