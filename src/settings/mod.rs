//! Settings: a TOML file, then the environment, then one validation that names file, key and rule.
//!
//! `raw` has every key with its type and default, and reads file and environment into it. `validate` turns that into
//! [`Settings`], whose types hold only usable values. A secret in a file is not read here; the settings have its path
//! ([`SecretSource`]). The module that needs the secret reads it, so commands that need none work for a user who may
//! not read the file.
//!
//! - A wrong type or an unknown key ends the reading. All other problems are reported at once, each with file or
//!   variable, key, value and rule.
//! - A value that may be a secret is never quoted.
//! - A value that is usable but probably a mistake causes a warning.
//!
//! A new key is a field in `raw`, a rule in `validate`, and a line in `config/pcsid-watch.toml`.

mod raw;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::activity::Vat;
use crate::domain::catalogue::Language;
use crate::domain::decide::Policy;
use crate::domain::routing::{LOG_SINK, Route};
use crate::domain::serving::Serving;
use crate::domain::zone::Zone;
use crate::file;
use crate::secret::SecretSource;
use crate::store::{Address, UnusableAddress};

/// Environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "PCSID_WATCH_CONFIG";

/// What environment variables that override a key begin with.
pub const VARIABLE_PREFIX: &str = "PCSID_WATCH__";

/// Files that are tried, in this order, if none is named.
const DEFAULT_FILES: [&str; 2] = ["config/pcsid-watch.toml", "/etc/pcsid-watch/pcsid-watch.toml"];

/// Longest configuration file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1_024 * 1_024;

/// Why the configuration can't be used: one sentence for each problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct SettingsError {
    /// Each names the file or variable, the key, the value (unless it is a secret) and the rule.
    pub problems: Vec<String>,
}

/// Validated settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file they come from; `None`: defaults and environment alone.
    pub file: Option<PathBuf>,
    /// The database that `database.url` names.
    pub database: Address,
    /// `database.password_file`
    pub password_file: Option<PathBuf>,
    /// `database.ca_file`
    pub database_ca_file: Option<PathBuf>,
    /// `[upstream]`
    pub upstream: UpstreamSettings,
    /// `[[credentials]]`
    pub credentials: Vec<CredentialSettings>,
    /// `[schedule]`
    pub policy: Policy,
    /// `[[webhooks]]`
    pub webhooks: Vec<WebhookSettings>,
    /// `events.log`
    pub events_log: bool,
    /// `[http]`
    pub http: HttpSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `ui.language`: the language of pages and terminal if nobody asks for another.
    pub language: Language,
    /// `ui.time_zone`: the time zone of pages and terminal.
    pub zone: Zone,
    /// `retention.concluded_after`
    pub retention: Duration,
    /// The effective values with secrets redacted, as `config show` prints them.
    pub shown: serde_json::Value,
    /// Values that are usable but probably a mistake: a sentence for each, with its place.
    pub warnings: Vec<String>,
}

/// `[upstream]`
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Without a slash at its end.
    pub base_url: String,
    /// Bound on DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Bound on the whole exchange, the body included.
    pub request_timeout: Duration,
    /// Requests at the same time.
    pub max_in_flight: usize,
    /// Certificates trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// One of `[[credentials]]`
#[derive(Debug, Clone)]
pub struct CredentialSettings {
    /// Names it in logs, events and reports.
    pub name: String,
    /// Where its token is.
    pub token: SecretSource,
    /// 0: no limit.
    pub requests_per_minute: u32,
    /// The VATs it serves; empty: all that no other one names.
    pub vats: Vec<Vat>,
}

/// One of `[[webhooks]]`
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Which events it gets. Its sink has the webhook's name.
    pub route: Route,
    /// Where events are sent.
    pub url: String,
    /// Where its secrets are.
    pub secret: SecretSource,
    /// Bound on one attempt.
    pub timeout: Duration,
    /// How long an event is tried.
    pub retry_for: Duration,
    /// Certificates trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where the API, the pages, probes and metrics listen; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Host names of the service, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The bearer token for them.
    pub token: Option<SecretSource>,
    /// How many bytes the token must have at least.
    pub token_min_bytes: usize,
    /// Where probes and metrics also listen, without a token; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// A level, or directives as `tracing` understands them.
    pub level: String,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Another database, with the password file and the CA file of this configuration.
    ///
    /// # Errors
    /// If the URL is not usable.
    pub fn database_at(&self, url: &str) -> Result<Address, UnusableAddress> {
        Address::parse(url, self.password_file.clone(), self.database_ca_file.clone())
    }

    /// Reads and validates the configuration: from the file `explicit`, else from the one that [`CONFIG_VARIABLE`]
    /// names, else from the first default file that exists.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(explicit: Option<&Path>) -> Result<Self, SettingsError> {
        let file = Self::file(explicit);
        let text = match &file {
            None => String::new(),
            Some(path) => file::read_text(path, MAX_FILE_BYTES).map_err(|err| SettingsError {
                problems: vec![format!(
                    "configuration file `{}` can't be read: {err}; name another with --config",
                    path.display()
                )],
            })?,
        };
        Self::from_sources(file, &text, raw::our_variables(std::env::vars_os())?)
    }

    fn file(explicit: Option<&Path>) -> Option<PathBuf> {
        let from_variable = || std::env::var_os(CONFIG_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let default = || DEFAULT_FILES.iter().map(PathBuf::from).find(|file| file.exists());
        explicit.map(Path::to_owned).or_else(from_variable).or_else(default)
    }

    /// `log.format` alone, even if the configuration is unusable: its problems are reported in this format.
    pub fn log_format(explicit: Option<&Path>) -> LogFormat {
        match Self::alone(explicit, "log", "format").as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }

    /// `ui.language` alone, even if the configuration is unusable.
    pub fn language(explicit: Option<&Path>) -> Language {
        let label = Self::alone(explicit, "ui", "language");
        label.and_then(|label| Language::from_label(&label)).unwrap_or_default()
    }

    /// One text of a configuration whose other keys may be unusable.
    fn alone(explicit: Option<&Path>, section: &str, key: &str) -> Option<String> {
        let variable =
            format!("{VARIABLE_PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase());
        let from_file =
            || raw::alone(&file::read_text(&Self::file(explicit)?, MAX_FILE_BYTES).ok()?, section, key);
        std::env::var(variable).ok().or_else(from_file)
    }

    /// As [`Settings::load`], from a file's text and from environment variables.
    ///
    /// # Errors
    /// All problems at once.
    pub fn from_sources(
        file: Option<PathBuf>,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let (raw, origins) = raw::read(file.as_deref(), text, variables)?;
        validate::validate(file, raw, origins)
    }

    /// Which credential serves which VAT.
    pub fn serving(&self) -> Serving {
        Serving::new(
            self.credentials.iter().map(|credential| (credential.name.as_str(), credential.vats.as_slice())),
        )
    }

    /// All sinks, standard output first.
    pub fn routes(&self) -> Vec<Route> {
        let log = Route { sink: LOG_SINK.to_owned(), events: Vec::new(), vats: Vec::new() };
        let log = self.events_log.then_some(log);
        log.into_iter().chain(self.webhooks.iter().map(|webhook| webhook.route.clone())).collect()
    }

    /// Where the settings come from, for sentences.
    pub fn origin(&self) -> String {
        self.file.as_ref().map_or_else(|| "the environment".to_owned(), |file| file.display().to_string())
    }
}
