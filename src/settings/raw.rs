//! The settings as users write them: every key, its type and its default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, File, FileFormat};
use secrecy::SecretString;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{CONFIG_VARIABLE, SettingsError, VARIABLE_PREFIX};
use crate::domain::time::{parse_duration, write_duration};
use crate::serde_messages::in_plain_words;

/// A duration as people write it: `5ms`, `5s`, `10m`, `72h`, `400d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for WrittenDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = WrittenDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"5ms\", \"5s\", \"10m\", \"72h\" or \"400d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenDuration, E> {
                parse_duration(text.trim())
                    .map(WrittenDuration)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(DurationVisitor)
    }
}

impl Serialize for WrittenDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_duration(self.0))
    }
}

/// A secret: never shown, and an error about it never quotes it.
#[derive(Debug, Clone)]
pub(super) struct Secret(pub(super) SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
            .map(|text| Self(SecretString::from(text)))
            .map_err(|_| de::Error::custom("it must be text (its value is not shown)"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

const fn ms(ms: u64) -> WrittenDuration {
    WrittenDuration(Duration::from_millis(ms))
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

section!(RawSettings {
    database: RawDatabase = RawDatabase::default(),
    upstream: RawUpstream = RawUpstream::default(),
    credentials: Vec<RawCredential> = Vec::new(),
    schedule: RawSchedule = RawSchedule::default(),
    webhooks: Vec<RawWebhook> = Vec::new(),
    events: RawEvents = RawEvents::default(),
    http: RawHttp = RawHttp::default(),
    log: RawLog = RawLog::default(),
    catalogue: RawCatalogue = RawCatalogue::default(),
    ui: RawUi = RawUi::default(),
    retention: RawRetention = RawRetention::default(),
    renewal: RawRenewal = RawRenewal::default(),
});

section!(RawDatabase {
    url: String = "sqlite://pcsid-watch.db".to_owned(),
    password_file: Option<String> = None,
    ca_file: Option<String> = None,
});

section!(RawUpstream {
    base_url: String = "https://api-sandbox.cleartax.com/middle-east/ksa/einvoicing".to_owned(),
    connect_timeout: WrittenDuration = ms(5 * SECOND),
    request_timeout: WrittenDuration = ms(30 * SECOND),
    max_in_flight: u32 = 64,
    ca_file: Option<String> = None,
});

section!(RawCredential {
    name: String = String::new(),
    token: Option<Secret> = None,
    token_file: Option<String> = None,
    requests_per_minute: u32 = 300,
    vats: Vec<String> = Vec::new(),
});

section!(RawSchedule {
    initial_interval: WrittenDuration = ms(5 * SECOND),
    multiplier: f64 = 1.5,
    max_interval: WrittenDuration = ms(5 * MINUTE),
    jitter: f64 = 0.2,
    stalled_after: WrittenDuration = ms(HOUR),
    give_up_after: WrittenDuration = ms(24 * HOUR),
    reject_after: u32 = 3,
});

section!(RawWebhook {
    name: String = String::new(),
    url: String = String::new(),
    secret: Option<Secret> = None,
    secret_file: Option<String> = None,
    events: Vec<String> = Vec::new(),
    vats: Vec<String> = Vec::new(),
    timeout: WrittenDuration = ms(15 * SECOND),
    retry_for: WrittenDuration = ms(72 * HOUR),
    allow_http: bool = false,
    ca_file: Option<String> = None,
});

section!(RawEvents { log: bool = true });

section!(RawHttp {
    listen: String = "127.0.0.1:8088".to_owned(),
    hosts: Vec<String> = Vec::new(),
    token: Option<Secret> = None,
    token_file: Option<String> = None,
    metrics_listen: String = String::new(),
});

section!(RawLog { format: String = "text".to_owned(), level: String = "info".to_owned() });

section!(RawCatalogue { file: Option<String> = None });

section!(RawUi {
    language: String = "en".to_owned(),
    time_zone: String = crate::domain::zone::Zone::DEFAULT.to_owned(),
});

section!(RawRenewal {
    valid_for: WrittenDuration = WrittenDuration(crate::domain::certificate::VALID_FOR),
    remind_before: Vec<WrittenDuration> = vec![ms(60 * DAY), ms(14 * DAY)],
});

section!(RawRetention { concluded_after: WrittenDuration = ms(400 * DAY) });

/// Our environment variables, as text.
///
/// # Errors
/// If one is not text: were it ignored, the file or a default would win silently.
pub(super) fn our_variables(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut ours = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in all {
        let shown = name.to_string_lossy().into_owned();
        if !shown.get(..FAMILY.len()).is_some_and(|start| start.eq_ignore_ascii_case(FAMILY)) {
            continue;
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => ours.push((name, value)),
            _ => problems.push(format!("environment variable {} is not UTF-8 text", shown.escape_debug())),
        }
    }
    problems.sort();
    if problems.is_empty() { Ok(ours) } else { Err(SettingsError { problems }) }
}

/// Environment variables that begin with this, in any case, are probably meant for this program.
const FAMILY: &str = "PCSID_WATCH";

/// Most entries of a list in the environment; a larger index is a typo.
const MAX_ENTRIES: usize = 1_000;

/// The warning about a variable that is probably meant for this program and that nothing reads. Kubernetes sets
/// variables with such names for a service called `pcsid-watch`; those are no mistakes.
fn unread(variable: &str, template: &Value) -> Option<String> {
    let Some(rest) = variable.strip_prefix(FAMILY) else {
        let in_capitals = variable.to_ascii_uppercase();
        return Some(format!("environment variable {variable} is not read: did you mean {in_capitals}?"));
    };
    if variable == CONFIG_VARIABLE || rest.starts_with("__") {
        return None;
    }
    let rest = rest.trim_start_matches('_');
    let is_kubernetes = rest.starts_with("SERVICE_")
        || rest == "PORT"
        || rest.strip_prefix("PORT_").is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    if rest.is_empty() || is_kubernetes {
        return None;
    }
    let meant = sections(template).into_iter().find_map(|section| {
        let key = rest.strip_prefix(&section.to_ascii_uppercase())?.trim_start_matches('_');
        let known = template.get(section)?;
        let known = known.get(0).unwrap_or(known);
        known.get(key.to_ascii_lowercase())?;
        Some(format!("{VARIABLE_PREFIX}{}__{key}", section.to_ascii_uppercase()))
    });
    let instead = meant.map_or_else(
        || {
            format!(
                "two underscores stand before and between section and key, as in {VARIABLE_PREFIX}LOG__LEVEL"
            )
        },
        |meant| format!("did you mean {meant}?"),
    );
    Some(format!("environment variable {variable} is not read: {instead}"))
}

fn sections(template: &Value) -> Vec<&str> {
    template.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Where each key comes from, for sentences about it.
#[derive(Debug, Default)]
pub(super) struct Origins {
    file: String,
    /// Keys that the environment sets, by their full path, with the variable.
    variables: BTreeMap<String, String>,
    /// Warnings about variables that are probably meant for this program and that nothing reads.
    pub(super) unread: Vec<String>,
}

impl Origins {
    /// The variable that sets this key, or one below or above it; else the file.
    pub(super) fn of(&self, key: &str) -> String {
        let variable = self.variable_of(key);
        variable.map_or_else(|| self.file.clone(), |variable| format!("environment variable {variable}"))
    }

    /// The variable that sets this key, or one below or above it.
    fn variable_of(&self, key: &str) -> Option<&str> {
        let is_below =
            |key: &str, other: &str| key.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', '[']));
        let is_related = |set: &str| set == key || is_below(set, key) || is_below(key, set);
        self.variables.iter().find(|(set, _)| is_related(set)).map(|(_, variable)| variable.as_str())
    }
}

/// Reads file and environment into the raw settings.
pub(super) fn read(
    file: Option<&Path>,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(RawSettings, Origins), SettingsError> {
    let origin = file.map_or_else(|| "configuration".to_owned(), |file| file.display().to_string());
    let mut origins = Origins { file: origin.clone(), ..Origins::default() };
    let template = serde_json::json!(RawSettings {
        credentials: vec![RawCredential::default()],
        webhooks: vec![RawWebhook::default()],
        ..RawSettings::default()
    });
    let file = Config::builder().add_source(File::from_str(text, FileFormat::Toml));
    let config = overridden(file, variables, &template, &mut origins)?
        .build()
        .map_err(|err| fail(syntax_problem(&origin, text, &err)))?;
    // The `config` crate converts any scalar into any other, `false` into 0 requests a minute for example; JSON values
    // don't.
    let values: Value = config.try_deserialize().map_err(|_| fail(format!("{origin}: can't be read")))?;
    require_no_gaps(&values, &origins)?;
    let raw = serde_path_to_error::deserialize(values).map_err(|err| {
        let path = err.path().to_string();
        let text = err.into_inner().to_string();
        let (key, problem) = match misplaced(&template, &path, &text) {
            Some(problem) => (path, problem),
            None => key_problem(&path, &text, origins.variable_of(&path).is_none()),
        };
        fail(format!("{}: {key}: {problem}", origins.of(&key)))
    })?;
    Ok((raw, origins))
}

fn fail(problem: String) -> SettingsError {
    SettingsError { problems: vec![problem] }
}

/// A file with the keys that the environment sets; notes their origins.
fn overridden(
    mut file: ConfigBuilder<DefaultState>,
    variables: impl IntoIterator<Item = (String, String)>,
    template: &Value,
    origins: &mut Origins,
) -> Result<ConfigBuilder<DefaultState>, SettingsError> {
    // In the order of their names, so that the result does not depend on the environment's order.
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    let mut problems = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
            origins.unread.extend(unread(&variable, template));
            continue;
        };
        let key = match key_of(name, template) {
            Ok(key) => key,
            Err(rule) => {
                problems.push(format!("environment variable {variable}: {rule}"));
                continue;
            }
        };
        if let Some(other) = origins.variable_of(&key) {
            problems.push(format!(
                "environment variables {other} and {variable} contradict each other: both set `{key}` or a part of it; \
                 keep one"
            ));
            continue;
        }
        file = file.set_override(&key, typed(template, &key, &value)).map_err(|_| {
            fail(format!("environment variable {variable} names no key of the configuration"))
        })?;
        origins.variables.insert(key, variable);
    }
    if problems.is_empty() { Ok(file) } else { Err(SettingsError { problems }) }
}

/// Refuses a list with a gap: the environment may set `credentials[1]` without `credentials[0]`.
fn require_no_gaps(values: &Value, origins: &Origins) -> Result<(), SettingsError> {
    for list in ["credentials", "webhooks"] {
        let entries = values.get(list).and_then(Value::as_array);
        if let Some(at) = entries.and_then(|entries| entries.iter().position(Value::is_null)) {
            return Err(fail(format!(
                "{}: {list}[{at}]: it is missing: entries are numbered from 0 without gaps",
                origins.of(list)
            )));
        }
    }
    Ok(())
}

/// One text of a file that may be unusable otherwise. A file that is not TOML is searched line by line.
pub(super) fn alone(text: &str, section: &str, key: &str) -> Option<String> {
    if let Ok(file) = text.parse::<toml::Table>() {
        return Some(file.get(section)?.get(key)?.as_str()?.to_owned());
    }
    let heading = format!("[{section}]");
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != heading).skip(1);
    let line = lines.by_ref().take_while(|line| !line.starts_with('[')).find(|line| line.starts_with(key))?;
    Some(line.split(['"', '\'']).nth(1)?.to_owned())
}

/// The text of a variable, converted to the type of its key. A text that can't be converted stays text and is refused
/// later.
fn typed(template: &Value, key: &str, text: &str) -> config::Value {
    let mut expected = Some(template);
    for segment in key.split('.') {
        let (name, is_entry) = match segment.split_once('[') {
            Some((name, _)) => (name, true),
            None => (segment, false),
        };
        expected = expected.and_then(|value| value.get(name));
        if is_entry {
            expected = expected.and_then(|value| value.get(0));
        }
    }
    let trimmed = text.trim();
    match expected {
        Some(Value::Bool(_)) => trimmed.parse::<bool>().map_or_else(|_| text.into(), Into::into),
        Some(Value::Number(number)) if number.is_f64() => {
            trimmed.parse::<f64>().map_or_else(|_| text.into(), Into::into)
        }
        Some(Value::Number(_)) => trimmed.parse::<i64>().map_or_else(|_| text.into(), Into::into),
        Some(Value::Array(_)) => {
            let items = text.split([' ', ',']).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect::<Vec<String>>().into()
        }
        _ => text.into(),
    }
}

/// What is wrong with a single value in the place of a section or a list. The value is not quoted: it may be a secret
/// that belongs to a key below.
fn misplaced(template: &Value, path: &str, text: &str) -> Option<String> {
    if !text.starts_with("invalid type: ") {
        return None;
    }
    let mut expected = template;
    for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
        expected = match segment.strip_suffix(']') {
            Some(_) => expected.get(0)?,
            None => expected.get(segment)?,
        };
    }
    match expected {
        Value::Object(keys) => {
            let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
            Some(format!(
                "it can't have a value of its own (the value is not shown): set a key below it: {}",
                keys.join(", ")
            ))
        }
        Value::Array(entries) if entries.first().is_some_and(Value::is_object) => Some(
            "it can't have a value of its own (the value is not shown): it has numbered entries, from 0 on"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The key that a variable sets: `CREDENTIALS__0__TOKEN_FILE` sets `credentials[0].token_file`.
///
/// # Errors
/// What is wrong with the name.
fn key_of(name: &str, template: &Value) -> Result<String, String> {
    let mut key = String::new();
    for segment in name.split("__") {
        match segment.parse::<usize>() {
            Ok(index) if !key.is_empty() && index < MAX_ENTRIES => key.push_str(&format!("[{index}]")),
            Ok(index) if !key.is_empty() => {
                return Err(format!("{key}[{index}]: entries are numbered from 0 without gaps"));
            }
            _ if segment.is_empty() => {
                return Err(
                    "it names no key: section and key stand with two underscores between them, as in \
                            PCSID_WATCH__LOG__LEVEL"
                        .to_owned(),
                );
            }
            _ => {
                if !key.is_empty() {
                    key.push('.');
                }
                key.push_str(&segment.to_ascii_lowercase());
            }
        }
    }
    let (section, rest) = key.split_at(key.find(['.', '[']).unwrap_or(key.len()));
    let is_list = template.get(section).is_some_and(|known| known.get(0).is_some_and(Value::is_object));
    if is_list && !rest.starts_with('[') {
        let key_of_entry = rest.trim_start_matches('.').to_ascii_uppercase();
        let key_of_entry = if key_of_entry.is_empty() { "NAME".to_owned() } else { key_of_entry };
        return Err(format!(
            "{section} is a list: number its entries from 0, as in {VARIABLE_PREFIX}{}__0__{key_of_entry}",
            section.to_ascii_uppercase()
        ));
    }
    Ok(key)
}

/// A syntax error. Its line is not quoted, because it may contain a secret.
fn syntax_problem(origin: &str, text: &str, err: &config::ConfigError) -> String {
    let shown = err.to_string();
    let place = shown.lines().find_map(|line| line.trim().strip_prefix("TOML parse error at "));
    let reason = shown.lines().last().map(str::trim).unwrap_or_default();
    let is_quoted = text.lines().any(|line| !line.trim().is_empty() && reason.contains(line.trim()));
    match (place, is_quoted) {
        (Some(place), false) => format!("{origin}: not valid TOML at {place}: {reason}"),
        (Some(place), true) => format!("{origin}: not valid TOML at {place}"),
        (None, _) => format!("{origin}: not valid TOML"),
    }
}

/// A wrong key or type: the key's full path, and what is wrong with it.
fn key_problem(path: &str, text: &str, shows_value: bool) -> (String, String) {
    let path = if path == "." { "" } else { path };
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (field, known) = rest.split_once('`').unwrap_or((rest, ""));
        let dot = if path.is_empty() || path.ends_with(field) { "" } else { "." };
        let parent = path.strip_suffix(field).unwrap_or(path);
        return (format!("{parent}{dot}{field}"), format!("this key is not known{known}"));
    }
    (path.to_owned(), in_plain_words(text, shows_value))
}
