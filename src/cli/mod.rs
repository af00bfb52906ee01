//! The command line: the commands, and their exit codes.

mod activities;
mod config;
mod database;
mod deliveries;
mod demo;
mod evidence;
mod explain;
mod health;
mod help;
mod import;
mod input;
mod output;
mod preflight;
mod reader;
mod report;
mod run;
mod show;
mod table;
mod webhook;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};

use crate::daemon::DaemonError;
use crate::domain::activity::InvalidInput;
use crate::domain::catalogue::Language;
use crate::domain::text;
use crate::settings::{LogFormat, Settings, SettingsError};
use crate::store::{Access, Store, StoreError};
use crate::telemetry;
use crate::words::Words;
use webhook::WebhookCommand;

/// Watches ZATCA device onboarding at ClearTax: polls pending PCSID activities, records every step, announces each
/// conclusion.
#[derive(Debug, Parser)]
#[command(name = "pcsid-watch", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file [default: $PCSID_WATCH_CONFIG, ./config/pcsid-watch.toml,
    /// /etc/pcsid-watch/pcsid-watch.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Language of help, tables and messages [default: ui.language]
    #[arg(long, global = true, value_enum)]
    lang: Option<LanguageArg>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground until SIGTERM or SIGINT
    Run,
    /// Show how it works on this terminal, without an account
    Demo,
    /// Run a stand-in for the ClearTax endpoint, with outcomes chosen by activity id
    Sandbox(run::SandboxArgs),
    /// Register activities to be watched
    Add(activities::AddArgs),
    /// Register activities from a CSV file with the columns vat, activity_id and, optionally, device_id,
    /// reference; or certificates, by --certificates
    Import(import::ImportArgs),
    /// List activities, the latest registered first
    List(activities::ListArgs),
    /// Show everything about an activity
    Show(show::ShowArgs),
    /// Explain rules: what they mean, whose data breaks them, what to do
    Explain(explain::ExplainArgs),
    /// Print the evidence on an activity, for a ClearTax ticket or an auditor
    Evidence(evidence::EvidenceArgs),
    /// Check the details of a registration before its one-time password is spent; nothing is sent or stored
    Preflight(preflight::PreflightArgs),
    /// Print a report
    Report(report::ReportArgs),
    /// Ask ClearTax about an activity now
    Poll(activities::ActivityArgs),
    /// Stop watching an activity
    Cancel(activities::ActivityArgs),
    /// Watch an activity again that was rejected, expired or cancelled
    Retry(activities::ActivityArgs),
    /// List deliveries of events, or send events again
    Deliveries(deliveries::DeliveriesArgs),
    /// Test a webhook, or verify a request that one received
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Ask the daemon on this machine whether it is alive; exit code 0 or 1
    Health(health::HealthArgs),
    /// Back up, check, prune or move the database
    #[command(subcommand)]
    Db(database::DbCommand),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a folder, for packages
    #[command(hide = true)]
    Man {
        /// Folder that exists
        folder: PathBuf,
    },
}

/// A language as people type it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LanguageArg {
    /// English
    En,
    /// Arabic
    Ar,
}

impl LanguageArg {
    /// The language asked for, or else the configured one.
    fn or(asked_for: Option<Self>, configured: Language) -> Language {
        match asked_for {
            None => configured,
            Some(LanguageArg::En) => Language::English,
            Some(LanguageArg::Ar) => Language::Arabic,
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
enum CliError {
    /// Unusable arguments or configuration: exit code 2.
    Unusable(anyhow::Error),
    /// It failed: exit code 1.
    Failed(anyhow::Error),
}

type CliResult = Result<(), CliError>;

impl CliError {
    fn unusable(sentence: impl Into<String>) -> Self {
        Self::Unusable(anyhow::Error::msg(sentence.into()))
    }

    fn failed(sentence: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(sentence.into()))
    }
}

impl From<SettingsError> for CliError {
    fn from(err: SettingsError) -> Self {
        Self::Unusable(err.into())
    }
}

impl From<InvalidInput> for CliError {
    fn from(err: InvalidInput) -> Self {
        Self::Unusable(err.into())
    }
}

impl From<StoreError> for CliError {
    fn from(err: StoreError) -> Self {
        if err.is_configuration() { Self::Unusable(err.into()) } else { Self::Failed(err.into()) }
    }
}

impl From<DaemonError> for CliError {
    fn from(err: DaemonError) -> Self {
        if err.is_configuration() { Self::Unusable(err.into()) } else { Self::Failed(err.into()) }
    }
}

impl From<std::io::Error> for CliError {
    fn from(err: std::io::Error) -> Self {
        Self::Failed(anyhow::Error::new(err).context("the output can't be written"))
    }
}

/// Runs the command that the process was started with. Returns the exit code.
pub async fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return answer_usage(err),
    };
    let (config, lang, is_daemon) = (cli.config.clone(), cli.lang, matches!(cli.command, Command::Run));
    // Our own sentences are translated into the language asked for; other errors stay in English.
    let told = |err: &anyhow::Error| {
        let sentence = sentence(err);
        // The log is in English.
        if is_daemon {
            return sentence;
        }
        let configured = || Settings::language(config.as_deref());
        let language = lang.map_or_else(configured, |lang| LanguageArg::or(Some(lang), Language::English));
        Words::of(language).complaint(&sentence)
    };
    // A daemon reports its failure as a line of its log, even if the configuration is unusable; other commands write a
    // sentence for people.
    let format = match &cli.command {
        Command::Run => Settings::log_format(cli.config.as_deref()),
        _ => LogFormat::Text,
    };
    match dispatch(cli).await {
        Ok(()) => 0,
        // A reader that closes the pipe, as `head` does, has what it wanted.
        Err(CliError::Failed(err)) if is_broken_pipe(&err) => 0,
        Err(CliError::Failed(err)) => {
            telemetry::complain(format, &told(&err));
            1
        }
        Err(CliError::Unusable(err)) => {
            telemetry::complain(format, &told(&err));
            2
        }
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments. Returns the exit code.
fn answer_usage(err: clap::Error) -> u8 {
    // The log is in English.
    let is_for_a_log = err.use_stderr() && std::env::args_os().any(|argument| argument == "run");
    let err = match language_at_start() {
        Language::Arabic if !is_for_a_log => match help::in_arabic(err) {
            Ok(err) => err,
            Err(text) => {
                complain(&text);
                return 2;
            }
        },
        _ => err,
    };
    // clap prints help to stdout and errors to stderr. If that can't be written, nobody reads it.
    if !err.use_stderr() {
        let _ = err.print();
        return 0;
    }
    match format_at_start() {
        LogFormat::Text => print_usage_error(&err),
        LogFormat::Json => telemetry::complain(LogFormat::Json, telemetry::harmless(&err.to_string()).trim()),
    }
    2
}

/// Prints as clap does, in colours. If an argument that it repeats holds invisible characters, they are shown instead.
fn print_usage_error(err: &clap::Error) {
    let plain = err.to_string();
    let shown = text::visible(&plain);
    if shown == plain {
        let _ = err.print();
    } else {
        let _ = std::io::stderr().write_all(shown.as_bytes());
    }
}

/// Writes a line to standard error for the user.
fn complain(sentence: &str) {
    telemetry::complain(LogFormat::Text, sentence);
}

/// An error as one sentence. The arguments and file names that it repeats may hold anything, so they are made harmless.
fn sentence(err: &anyhow::Error) -> String {
    telemetry::harmless(&text::visible(&telemetry::sentence(err.as_ref())))
}

/// The format of a daemon's log, as far as it is known before the arguments are parsed.
pub fn format_at_start() -> LogFormat {
    match std::env::args_os().any(|argument| argument == "run") {
        true => Settings::log_format(argument("--config").map(PathBuf::from).as_deref()),
        false => LogFormat::Text,
    }
}

/// The reader's language, as far as it is known before the arguments are parsed.
fn language_at_start() -> Language {
    let asked_for = argument("--lang").and_then(|label| Language::from_label(&label));
    asked_for.unwrap_or_else(|| Settings::language(argument("--config").map(PathBuf::from).as_deref()))
}

/// The value of an option, before the arguments are parsed.
fn argument(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let after = arguments.iter().skip_while(|arg| *arg != name).nth(1).cloned();
    let inside =
        || arguments.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    after.or_else(inside)
}

fn is_broken_pipe(err: &anyhow::Error) -> bool {
    let kind = err.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

async fn dispatch(cli: Cli) -> CliResult {
    let settings = || -> Result<Settings, SettingsError> {
        let mut settings = Settings::load(cli.config.as_deref())?;
        settings.language = LanguageArg::or(cli.lang, settings.language);
        Ok(settings)
    };
    match cli.command {
        Command::Demo => demo::demo(cli.lang).await,
        Command::Sandbox(args) => run::sandbox(args).await,
        Command::Webhook(WebhookCommand::Verify(args)) => webhook::check(&args),
        Command::Webhook(WebhookCommand::Test { name }) => webhook::test(&settings()?, &name).await,
        Command::Run => run::run(&settings()?).await,
        Command::Add(args) => activities::add(&settings()?, args).await,
        Command::Import(args) => import::import(&settings()?, args).await,
        Command::List(args) => activities::list(&settings()?, args).await,
        Command::Show(args) => show::show(&settings()?, args).await,
        Command::Explain(args) => explain::explain(&settings()?, args),
        Command::Evidence(args) => evidence::evidence(&settings()?, args).await,
        Command::Preflight(args) => preflight::preflight(&settings()?, args).await,
        Command::Report(args) => report::report(&settings()?, args).await,
        Command::Poll(args) => activities::poll(&settings()?, args).await,
        Command::Cancel(args) => activities::cancel(&settings()?, args).await,
        Command::Retry(args) => activities::retry(&settings()?, args).await,
        Command::Deliveries(args) => deliveries::deliveries(&settings()?, args).await,
        Command::Completions { shell } => completions(shell),
        Command::Man { folder } => manual(&folder),
        Command::Health(args) => health::health(&settings()?, args).await,
        Command::Config(command) => config::config(&settings()?, command).await,
        Command::Db(command) => database::db(&settings()?, command).await,
    }
}

fn completions(shell: clap_complete::Shell) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pcsid-watch", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

fn manual(folder: &Path) -> CliResult {
    clap_mangen::generate_to(Cli::command(), folder).map_err(|err| {
        CliError::failed(format!("the manual can't be written to `{}`: {err}", folder.display()))
    })
}

/// Opens the database that the settings name, and creates it if there is none.
async fn open(settings: &Settings) -> Result<Store, StoreError> {
    let store = Store::open(&settings.database, settings.routes()).await?;
    if store.is_new() {
        complain(&Words::of(settings.language).new_database(settings.database.to_string()).to_string());
    }
    Ok(store)
}

/// Opens the database that the settings name; it must exist.
async fn open_existing(settings: &Settings, access: Access) -> Result<Store, StoreError> {
    Store::open_existing(&settings.database, settings.routes(), access).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_tree_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
