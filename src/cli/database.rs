//! `db adopt`, `db backup`, `db check`, `db copy`, `db prune`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::activities::interrupted;
use super::run::on_signals;
use super::{CliError, CliResult, open_existing};
use crate::clock;
use crate::settings::Settings;
use crate::shutdown::Hangup;
use crate::store::{Access, Store};

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Bind the database to the configured upstream, after it was used with another
    Adopt,
    /// Write a copy of the database, also while the daemon runs
    Backup {
        /// The copy; it must not exist yet
        file: PathBuf,
    },
    /// Check that the database is undamaged and consistent
    Check,
    /// Copy the SQLite database into an empty PostgreSQL database; stop the daemon first
    Copy {
        /// The target, as in database.url; the password comes from database.password_file or PGPASSFILE
        #[arg(long, value_name = "URL")]
        to: String,
    },
    /// Remove concluded activities older than retention.concluded_after now
    Prune,
}

pub(super) async fn db(settings: &Settings, command: DbCommand) -> CliResult {
    match command {
        DbCommand::Adopt => adopt(settings).await,
        DbCommand::Backup { file } => backup(settings, &file).await,
        DbCommand::Check => check(settings).await,
        DbCommand::Copy { to } => copy(settings, &to).await,
        DbCommand::Prune => prune(settings).await,
    }
}

async fn backup(settings: &Settings, file: &Path) -> CliResult {
    if file.exists() {
        return Err(CliError::unusable(format!("`{}` exists already: name another file", file.display())));
    }
    let store = open_existing(settings, Access::Inspect).await?;
    let Some(files) = store.files() else {
        return Err(CliError::failed(format!(
            "{store} is no file: take a backup with its server's pg_dump, or of the whole server with pg_basebackup"
        )));
    };
    let stop = on_signals(Hangup::Stop)?.stop;
    tokio::select! {
        copied = files.backup(file) => {
            store.close().await;
            copied?;
        }
        // The unfinished copy is removed.
        () = stop.cancelled() => return Err(interrupted()),
    }
    Ok(writeln!(std::io::stdout(), "{} is a copy of {}", file.display(), store)?)
}

async fn check(settings: &Settings) -> CliResult {
    let store = open_existing(settings, Access::Inspect).await?;
    let problems = store.upkeep().problems().await?;
    store.end_reading().await?;
    if problems.is_empty() {
        return Ok(writeln!(std::io::stdout(), "{} is whole", store)?);
    }
    Err(CliError::failed(format!("{} is damaged, restore a backup:\n  {}", store, problems.join("\n  "))))
}

async fn copy(settings: &Settings, to: &str) -> CliResult {
    let address = settings.database_at(to).map_err(|err| CliError::unusable(format!("--to: {err}")))?;
    // Before anything is opened, which would create it.
    if settings.database.file().is_none() {
        return Err(CliError::unusable(format!(
            "database.url: `db copy` copies a SQLite file to a server, and {} is none",
            settings.database
        )));
    }
    if let Some(file) = address.file() {
        return Err(CliError::unusable(format!(
            "--to: `db copy` copies to a server, postgres://…; `pcsid-watch db backup {}` makes a copy as a file",
            file.display()
        )));
    }
    // Refuses a database that does not exist: opening it as below would create one.
    open_existing(settings, Access::Inspect).await?.close().await;
    // Opened as a daemon does, so that no daemon can run on it meanwhile.
    let store = Store::open_as_daemon(&settings.database, settings.routes()).await?;
    let target = Store::open(&address, settings.routes()).await?;
    let copied = store.copy_to(&target).await;
    store.close().await;
    target.close().await;
    let copied = copied?;
    let n_rows: u64 = copied.iter().map(|table| table.n_rows).sum();
    let mut out = std::io::stdout();
    for table in copied.iter().filter(|table| table.n_rows > 0) {
        writeln!(out, "{:>12} {}", table.n_rows, table.name)?;
    }
    writeln!(out, "{n_rows} rows of {} tables were copied to {target} and compared.", copied.len())?;
    Ok(writeln!(out, "Now set database.url = \"{target}\" in {} and start the daemon.", settings.origin())?)
}

async fn prune(settings: &Settings) -> CliResult {
    let store = open_existing(settings, Access::Change).await?;
    let now = store.now().await?;
    let jump = store.upkeep().last_beat().await?.and_then(|beat| clock::jump_since(beat, now));
    if jump.is_some() || !store.upkeep().may_prune(now).await? {
        return Err(CliError::failed(
            "nothing was pruned, because the clock has jumped and what looks old may be of yesterday: check this \
             machine's time; pruning goes on 30 days after a daemon has noticed the jump",
        ));
    }
    let before = now - settings.retention;
    let mut n_pruned = 0;
    loop {
        match store.upkeep().prune(before).await? {
            0 => break,
            n => n_pruned += n,
        }
        // A daemon that waits to write has its turn in between; SQLite asks every tenth of a second.
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    store.close().await;
    Ok(writeln!(std::io::stdout(), "{n_pruned} concluded activities and events before {before} are removed")?)
}

async fn adopt(settings: &Settings) -> CliResult {
    let store = open_existing(settings, Access::Change).await?;
    let base_url = &settings.upstream.base_url;
    let former = store.upkeep().adopt_upstream(base_url, store.now().await?).await?;
    store.close().await;
    let mut out = std::io::stdout();
    match former {
        Some(former) if former == *base_url => writeln!(out, "the database belongs to {base_url} already")?,
        Some(former) => writeln!(out, "the database belonged to {former} and belongs to {base_url} now")?,
        None => writeln!(out, "the database belongs to {base_url} now")?,
    }
    Ok(())
}
