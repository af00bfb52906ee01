//! `db adopt`.

use std::io::Write;

use clap::Subcommand;

use super::{CliResult, open};
use crate::clock;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Give the database to the configured upstream, after it was used with another
    Adopt,
}

pub(super) async fn db(settings: &Settings, command: DbCommand) -> CliResult {
    match command {
        DbCommand::Adopt => adopt(settings).await,
    }
}

async fn adopt(settings: &Settings) -> CliResult {
    let store = open(settings).await?;
    let base_url = &settings.upstream.base_url;
    let former = store.adopt_upstream(base_url, clock::wall_now()).await?;
    store.close().await;
    let mut out = std::io::stdout();
    match former {
        Some(former) if former == *base_url => writeln!(out, "the database belongs to {base_url} already")?,
        Some(former) => writeln!(out, "the database belonged to {former} and belongs to {base_url} now")?,
        None => writeln!(out, "the database belongs to {base_url} now")?,
    }
    Ok(())
}
