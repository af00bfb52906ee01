//! Checks the raw values and turns them into settings. It finds all problems, not only the first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::raw::{
    Origins, RawCredential, RawDatabase, RawHttp, RawSettings, RawUpstream, RawWebhook, Secret,
    WrittenDuration,
};
use super::{
    CredentialSettings, HttpSettings, LogFormat, LogSettings, Settings, SettingsError, UpstreamSettings,
    WebhookSettings,
};
use crate::domain::activity::Vat;
use crate::domain::backoff::Backoff;
use crate::domain::catalogue::{Catalogue, Language};
use crate::domain::certificate::Renewal;
use crate::domain::decide::Policy;
use crate::domain::routing::{EventPattern, LOG_SINK, Route};
use crate::domain::time::write_duration;
use crate::domain::zone::Zone;
use crate::file;
use crate::secret::SecretSource;
use crate::store::Address;
use crate::transport::is_loopback;

/// More requests at a time than any quota allows; a larger number is a typo.
const MAX_IN_FLIGHT: u32 = 4_096;

/// Largest file of rules; the program's own has a hundredth of it.
const MAX_CATALOGUE_BYTES: u64 = 16 * 1024 * 1024;

/// More reminders of one certificate than anyone reads.
const MAX_REMINDERS: usize = 16;

/// Shortest token for an API that other machines reach: a shorter one could be guessed.
const MIN_PUBLIC_TOKEN_BYTES: usize = 16;

/// Longest accepted span, ten years: a longer one is a mistake.
const LONGEST: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);

/// Collects problems, each with the key's full path.
struct Problems {
    origins: Origins,
    found: Vec<String>,
}

impl Problems {
    fn add(&mut self, key: &str, rule: impl std::fmt::Display) {
        self.found.push(format!("{}: {key}: {rule}", self.origins.of(key)));
    }

    /// A span from 1 ms to ten years.
    fn span(&mut self, key: &str, span: WrittenDuration) -> Duration {
        if span.0 < Duration::from_millis(1) || span.0 > LONGEST {
            self.add(
                key,
                format!("`{}` is not usable: it must be from 1ms to 3653d", write_duration(span.0)),
            );
        }
        span.0
    }
}

pub(super) fn validate(
    file: Option<PathBuf>,
    raw: RawSettings,
    origins: Origins,
) -> Result<Settings, SettingsError> {
    let mut problems = Problems { origins, found: Vec::new() };
    let shown = match serde_json::to_value(&raw) {
        Ok(shown) => shown,
        Err(err) => {
            problems.add("configuration", format!("can't be shown: {err}"));
            serde_json::Value::Null
        }
    };
    let mut warnings = std::mem::take(&mut problems.origins.unread);
    let upstream = upstream(&raw.upstream, &mut problems);
    if let Some(upstream) = &upstream
        && url::Url::parse(&upstream.base_url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
    {
        warnings.push(format!(
            "{}: upstream.base_url: `{}` is plain http: anyone on the network path can read the token and change answers; \
             write https://",
            problems.origins.of("upstream.base_url"),
            upstream.base_url
        ));
    }
    let catalogue = catalogue(raw.catalogue.file.as_deref(), &mut problems);
    let policy = policy(&raw, catalogue, &mut problems, &mut warnings);
    let credentials = credentials(&raw.credentials, &mut problems);
    let webhooks = webhooks(&raw.webhooks, &mut problems);
    let http = http(&raw.http, &mut problems);
    let log = log(&raw, &mut problems);
    let language = language(&raw.ui.language, &mut problems);
    let zone = zone(&raw.ui.time_zone, &mut problems);
    let retention = problems.span("retention.concluded_after", raw.retention.concluded_after);
    let database = database(&raw.database, &mut problems);
    match (upstream, database, problems.found.is_empty()) {
        (Some(upstream), Some(database), true) => Ok(Settings {
            file,
            database,
            password_file: password_file(&raw.database),
            database_ca_file: raw.database.ca_file.as_ref().map(PathBuf::from),
            upstream,
            credentials,
            policy,
            webhooks,
            events_log: raw.events.log,
            http,
            log,
            language,
            zone,
            retention,
            shown,
            warnings,
        }),
        _ => Err(SettingsError { problems: problems.found }),
    }
}

/// The database that `database.url` names.
fn database(raw: &RawDatabase, problems: &mut Problems) -> Option<Address> {
    Address::parse(&raw.url, password_file(raw), raw.ca_file.as_ref().map(PathBuf::from))
        .map_err(|err| problems.add("database.url", err))
        .ok()
}

fn password_file(raw: &RawDatabase) -> Option<PathBuf> {
    match SecretSource::file(raw.password_file.as_deref()?) {
        SecretSource::File(path) => Some(path),
        SecretSource::Inline(_) => None,
    }
}

fn upstream(raw: &RawUpstream, problems: &mut Problems) -> Option<UpstreamSettings> {
    let checked = checked_url(&raw.base_url).and_then(|url| match url.query() {
        None => Ok(url),
        Some(_) => Err("it must not hold a query (`?…`)"),
    });
    let base_url = match checked {
        Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
        Err(rule) => {
            problems.add(
                "upstream.base_url",
                format!("`{}` is not usable: {rule}", without_userinfo(&raw.base_url)),
            );
            None
        }
    };
    if !(1..=MAX_IN_FLIGHT).contains(&raw.max_in_flight) {
        problems.add(
            "upstream.max_in_flight",
            format!("{} is not usable: it must be from 1 to {MAX_IN_FLIGHT}", raw.max_in_flight),
        );
    }
    let connect_timeout = problems.span("upstream.connect_timeout", raw.connect_timeout);
    let request_timeout = problems.span("upstream.request_timeout", raw.request_timeout);
    Some(UpstreamSettings {
        base_url: base_url?,
        connect_timeout,
        request_timeout,
        max_in_flight: raw.max_in_flight as usize,
        ca_file: raw.ca_file.as_ref().map(PathBuf::from),
    })
}

/// An absolute http or https URL without credentials, query or fragment.
fn checked_url(text: &str) -> Result<url::Url, &'static str> {
    let url = url::Url::parse(text).map_err(|_| "it must be an absolute URL, such as https://host/path")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with https:// (or http://)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a user name or password");
    }
    if url.fragment().is_some() {
        return Err("it must not hold a fragment (`#…`)");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it must name a host");
    }
    Ok(url)
}

/// A URL for error sentences, without its user name and password: a password must not get into a log.
fn without_userinfo(text: &str) -> String {
    match text.rfind('@') {
        Some(at) => format!("…{}", &text[at..]),
        None => text.to_owned(),
    }
}

fn policy(
    raw: &RawSettings,
    catalogue: Arc<Catalogue>,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Policy {
    let schedule = &raw.schedule;
    let initial_interval = problems.span("schedule.initial_interval", schedule.initial_interval);
    let max_interval = problems.span("schedule.max_interval", schedule.max_interval);
    let stalled_after = problems.span("schedule.stalled_after", schedule.stalled_after);
    let give_up_after = problems.span("schedule.give_up_after", schedule.give_up_after);
    if max_interval < initial_interval {
        problems.add(
            "schedule.max_interval",
            format!(
                "`{}` is not usable: it must not be below schedule.initial_interval, which is {}",
                write_duration(max_interval),
                write_duration(initial_interval)
            ),
        );
    }
    if !(1.0..=100.0).contains(&schedule.multiplier) {
        problems.add(
            "schedule.multiplier",
            format!("{} is not usable: it must be from 1 to 100", schedule.multiplier),
        );
    }
    if !(0.0..1.0).contains(&schedule.jitter) {
        problems.add(
            "schedule.jitter",
            format!("{} is not usable: it must be from 0 to below 1", schedule.jitter),
        );
    }
    if schedule.reject_after == 0 {
        problems.add("schedule.reject_after", "0 is not usable: it must be 1 or more");
    }
    if max_interval > give_up_after {
        warnings.push(format!(
            "{}: schedule.max_interval ({}) is longer than schedule.give_up_after ({}): activities expire between polls",
            problems.origins.of("schedule.max_interval"),
            write_duration(max_interval),
            write_duration(give_up_after)
        ));
    }
    if stalled_after >= give_up_after {
        warnings.push(format!(
            "{}: schedule.stalled_after ({}) is not below schedule.give_up_after ({}): no activity is ever reported as stalled",
            problems.origins.of("schedule.stalled_after"),
            write_duration(stalled_after),
            write_duration(give_up_after)
        ));
    }
    Policy {
        backoff: Backoff::new(initial_interval, schedule.multiplier, max_interval, schedule.jitter),
        stalled_after,
        give_up_after,
        reject_after: schedule.reject_after,
        catalogue,
        renewal: renewal(raw, problems, warnings),
    }
}

fn renewal(raw: &RawSettings, problems: &mut Problems, warnings: &mut Vec<String>) -> Renewal {
    let raw = &raw.renewal;
    let valid_for = problems.span("renewal.valid_for", raw.valid_for);
    if raw.remind_before.len() > MAX_REMINDERS {
        problems.add("renewal.remind_before", format!("at most {MAX_REMINDERS} reminders are possible"));
    }
    let reminders = raw.remind_before.iter().take(MAX_REMINDERS).enumerate();
    let remind_before: Vec<Duration> = reminders
        .map(|(nth, before)| problems.span(&format!("renewal.remind_before[{nth}]"), *before))
        .collect();
    if let Some(longest) = remind_before.iter().max().filter(|longest| **longest >= valid_for) {
        warnings.push(format!(
            "renewal.remind_before ({}) is not below renewal.valid_for ({}): a reminder of every new certificate is due at once",
            write_duration(*longest),
            write_duration(valid_for)
        ));
    }
    Renewal::new(valid_for, remind_before)
}

fn credentials(raw: &[RawCredential], problems: &mut Problems) -> Vec<CredentialSettings> {
    let mut credentials: Vec<CredentialSettings> = Vec::new();
    for (index, credential) in raw.iter().enumerate() {
        let key = format!("credentials[{index}]");
        name(&key, &credential.name, credentials.iter().map(|other| other.name.as_str()), problems);
        let vats = vats(&key, &credential.vats, problems);
        for vat in &vats {
            if let Some(other) = credentials.iter().find(|other| other.vats.contains(vat)) {
                problems.add(
                    &format!("{key}.vats"),
                    format!("VAT {vat} is served by credential `{}` already: name it once", other.name),
                );
            }
        }
        if vats.is_empty() && credentials.iter().any(|other| other.vats.is_empty()) {
            problems.add(
                &format!("{key}.vats"),
                "only one credential may be without `vats`: it serves every VAT that no other one names",
            );
        }
        let fields = ("token", &credential.token, "token_file", &credential.token_file);
        if let Some(token) = secret(&key, fields, problems) {
            credentials.push(CredentialSettings {
                name: credential.name.clone(),
                token,
                requests_per_minute: credential.requests_per_minute,
                vats,
            });
        }
    }
    credentials
}

/// Checks a name, which appears in reports, logs and command lines.
fn name<'a>(key: &str, name: &str, mut others: impl Iterator<Item = &'a str>, problems: &mut Problems) {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !fits {
        problems.add(
            &format!("{key}.name"),
            format!(
                "`{}` is not usable: it must be 1 to 64 characters out of A-Z, a-z, 0-9, `_`, `-` and `.`",
                name.escape_debug()
            ),
        );
    } else if others.any(|other| other == name) {
        problems.add(&format!("{key}.name"), format!("`{name}` stands twice: names must differ"));
    }
}

fn vats(key: &str, list: &[String], problems: &mut Problems) -> Vec<Vat> {
    let mut vats = Vec::new();
    for (index, text) in list.iter().enumerate() {
        match Vat::parse(text) {
            Ok(vat) => vats.push(vat),
            Err(err) => problems.add(&format!("{key}.vats[{index}]"), err),
        }
    }
    vats
}

/// The secret that a key or a file gives. Exactly one of the two must be set.
fn secret(
    key: &str,
    (inline_key, inline, file_key, file): (&str, &Option<Secret>, &str, &Option<String>),
    problems: &mut Problems,
) -> Option<SecretSource> {
    match (inline, file) {
        (Some(secret), None) => Some(SecretSource::Inline(secret.0.clone())),
        (None, Some(path)) if path.is_empty() => {
            problems.add(&format!("{key}.{file_key}"), "it is empty: name the file that holds the secret");
            None
        }
        (None, Some(path)) => Some(SecretSource::file(path)),
        (Some(_), Some(_)) => {
            problems.add(key, format!("{inline_key} and {file_key} exclude each other: keep one"));
            None
        }
        (None, None) => {
            problems.add(key, format!("{file_key} is missing: name the file that holds the secret"));
            None
        }
    }
}

fn webhooks(raw: &[RawWebhook], problems: &mut Problems) -> Vec<WebhookSettings> {
    let mut webhooks: Vec<WebhookSettings> = Vec::new();
    for (index, webhook) in raw.iter().enumerate() {
        let key = format!("webhooks[{index}]");
        name(&key, &webhook.name, webhooks.iter().map(|other| other.route.sink.as_str()), problems);
        if webhook.name == LOG_SINK {
            problems.add(
                &format!("{key}.name"),
                "`log` is the name of the sink on standard output: choose another",
            );
        }
        let url = match checked_webhook_url(&webhook.url, webhook.allow_http) {
            Ok(url) => Some(url),
            Err(rule) => {
                let shown = without_userinfo(&webhook.url);
                problems.add(&format!("{key}.url"), format!("`{shown}` is not usable: {rule}"));
                None
            }
        };
        let mut events = Vec::new();
        for (nth, text) in webhook.events.iter().enumerate() {
            match EventPattern::parse(text) {
                Some(pattern) => events.push(pattern),
                None => problems.add(
                    &format!("{key}.events[{nth}]"),
                    format!(
                        "`{}` matches no event: name a type, or a prefix such as pcsid.generation.*",
                        text.escape_debug()
                    ),
                ),
            }
        }
        let route = Route { sink: webhook.name.clone(), events, vats: vats(&key, &webhook.vats, problems) };
        let timeout = problems.span(&format!("{key}.timeout"), webhook.timeout);
        let retry_for = problems.span(&format!("{key}.retry_for"), webhook.retry_for);
        let fields = ("secret", &webhook.secret, "secret_file", &webhook.secret_file);
        if let (Some(url), Some(secret)) = (url, secret(&key, fields, problems)) {
            let ca_file = webhook.ca_file.as_ref().map(PathBuf::from);
            webhooks.push(WebhookSettings { route, url, secret, timeout, retry_for, ca_file });
        }
    }
    webhooks
}

fn checked_webhook_url(text: &str, allow_http: bool) -> Result<String, &'static str> {
    let url = checked_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) && !allow_http {
        return Err("it must begin with https://; set allow_http = true if plain http is meant");
    }
    Ok(url.into())
}

fn http(raw: &RawHttp, problems: &mut Problems) -> HttpSettings {
    let token = match (&raw.token, &raw.token_file) {
        (None, None) => None,
        _ => secret("http", ("token", &raw.token, "token_file", &raw.token_file), problems),
    };
    let listen = listen_address("http.listen", &raw.listen, problems);
    let metrics_listen = listen_address("http.metrics_listen", &raw.metrics_listen, problems);
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && token.is_none()) {
        problems.add(
            "http.listen",
            format!(
                "`{listen}` is reachable from other machines: set http.token_file, or listen on 127.0.0.1"
            ),
        );
    }
    let is_public = listen.is_some_and(|listen| !listen.ip().is_loopback());
    if let (true, Some(SecretSource::Inline(secret))) = (is_public, &token)
        && secret.expose_secret().trim().len() < MIN_PUBLIC_TOKEN_BYTES
    {
        problems.add(
            "http.token",
            format!(
                "it is too short (its value is not shown): other machines reach http.listen, so it must have at least \
                 {MIN_PUBLIC_TOKEN_BYTES} characters, as `openssl rand -hex 32` gives them"
            ),
        );
    }
    let token_min_bytes = if is_public { MIN_PUBLIC_TOKEN_BYTES } else { 1 };
    if let (Some(_), true) = (metrics_listen.filter(|listen| listen.port() != 0), metrics_listen == listen) {
        problems.add("http.metrics_listen", "it is the address of http.listen: name another one");
    }
    for (index, host) in raw.hosts.iter().enumerate() {
        let fits = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if !fits {
            problems.add(
                &format!("http.hosts[{index}]"),
                format!(
                    "`{}` is not usable: it must be a host name without a port, such as pcsid.example.com",
                    host.escape_debug()
                ),
            );
        }
    }
    HttpSettings { listen, hosts: raw.hosts.clone(), token, token_min_bytes, metrics_listen }
}

/// An address to listen on; empty disables it.
fn listen_address(key: &str, text: &str, problems: &mut Problems) -> Option<SocketAddr> {
    if text.is_empty() {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        problems.add(
            key,
            format!(
                "`{}` is not usable: it must be an address and a port, such as 127.0.0.1:8088, or empty",
                text.escape_debug()
            ),
        );
    }
    address
}

/// The rules that the program knows, and those of the user's file. The file is read here, so that a mistake in it is
/// reported with all others.
fn catalogue(file: Option<&str>, problems: &mut Problems) -> Arc<Catalogue> {
    let builtin = Catalogue::builtin();
    let Some(file) = file else { return builtin };
    match file::read_text(Path::new(file), MAX_CATALOGUE_BYTES).map(|text| builtin.extended(&text)) {
        Ok(Ok(extended)) => return Arc::new(extended),
        Ok(Err(err)) => problems.add("catalogue.file", format!("`{file}` is not usable: {err}")),
        Err(err) => problems.add("catalogue.file", format!("`{file}` can't be read: {err}")),
    }
    builtin
}

fn zone(name: &str, problems: &mut Problems) -> Zone {
    Zone::named(name).unwrap_or_else(|| {
        problems.add(
            "ui.time_zone",
            format!(
                "`{}` is not usable: it must be a name of the IANA time zone database, such as Asia/Riyadh",
                name.escape_debug()
            ),
        );
        Zone::default()
    })
}

fn language(label: &str, problems: &mut Problems) -> Language {
    Language::from_label(label).unwrap_or_else(|| {
        problems.add("ui.language", format!("`{}` is not usable: it must be en or ar", label.escape_debug()));
        Language::default()
    })
}

fn log(raw: &RawSettings, problems: &mut Problems) -> LogSettings {
    let format = match raw.log.format.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            problems.add("log.format", format!("`{other}` is not usable: it must be text or json"));
            LogFormat::Text
        }
    };
    if !is_filter(&raw.log.level) {
        problems.add(
            "log.level",
            format!("`{}` is not usable: it must be error, warn, info, debug or trace", raw.log.level),
        );
    }
    LogSettings { format, level: raw.log.level.clone() }
}

/// A level, or several directives `target=level` with commas between them. A word that is no level would count as a
/// target, and everything else would be silenced.
fn is_filter(text: &str) -> bool {
    text.split(',').map(str::trim).all(|directive| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace")
    }) && text.parse::<tracing_subscriber::filter::Targets>().is_ok()
}
