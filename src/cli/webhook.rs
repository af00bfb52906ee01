//! `webhook test`, `webhook verify`: for those who build the receiver.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::{CliError, CliResult};
use crate::clock;
use crate::daemon::DaemonError;
use crate::domain::text::one_line;
use crate::file;
use crate::secret::SecretSource;
use crate::settings::Settings;
use crate::transport::proxy;
use crate::webhook::{Secrets, Sender, verify};

#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// Send a signed `pcsid.test` event to one webhook and print what came back
    Test {
        /// The webhook's name
        name: String,
    },
    /// Check the signature of a request that a receiver captured
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// File with the webhook's secret
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// File with the request's headers, one `name: value` a line
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// File with the request's body, byte for byte (`-`: standard input)
    #[arg(long, value_name = "FILE", default_value = "-")]
    body: PathBuf,
    /// Accept a request that is older than five minutes
    #[arg(long)]
    any_age: bool,
}

pub(super) async fn test(settings: &Settings, name: &str) -> CliResult {
    let found = settings.webhooks.iter().find(|webhook| webhook.route.sink == name);
    let webhook = found.ok_or_else(|| {
        let names: Vec<_> = settings.webhooks.iter().map(|webhook| webhook.route.sink.as_str()).collect();
        let known = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
        CliError::unusable(format!("webhook `{name}` is not configured in {}: {known}", settings.origin()))
    })?;
    proxy::check().map_err(DaemonError::from)?;
    let sender = Sender::new(webhook).map_err(DaemonError::from)?;
    // Each test is a new event, so its id is random.
    let id = Uuid::now_v7();
    let data = json!({ "message": "a test of this webhook; no activity is behind it" });
    let body =
        json!({ "id": id, "type": "pcsid.test", "timestamp": clock::wall_now(), "data": data }).to_string();
    let attempt = sender.send(&id.to_string(), body).await;
    let mut out = std::io::stdout();
    if let Some(status) = attempt.http_status {
        writeln!(out, "webhook {name} answered HTTP {status}")?;
    }
    if !attempt.answer.is_empty() {
        writeln!(out, "{}", one_line(&attempt.answer))?;
    }
    match attempt.error {
        None => Ok(()),
        Some(error) => {
            Err(CliError::failed(format!("the test event was not delivered to `{name}`: {error}")))
        }
    }
}

pub(super) fn check(args: &VerifyArgs) -> CliResult {
    let secret = SecretSource::File(args.secret_file.clone())
        .read()
        .map_err(|err| CliError::Unusable(anyhow::Error::new(err)))?;
    let secrets = Secrets::parse(secret.expose_secret()).map_err(|err| {
        CliError::unusable(format!("`{}` is not usable: {err}", args.secret_file.display()))
    })?;
    let headers = String::from_utf8_lossy(&read(&args.headers)?).into_owned();
    let body = read(&args.body)?;
    let header = |name: &str| {
        let found = headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        });
        found.ok_or_else(|| {
            CliError::failed(format!(
                "the request is not signed: header {name} is missing in {}",
                args.headers.display()
            ))
        })
    };
    let now = (!args.any_age).then(|| clock::wall_now().as_millis() / 1_000);
    let (id, timestamp, signatures) =
        (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
    verify(&secrets, &id, &timestamp, &signatures, &body, now)
        .map_err(|err| CliError::failed(format!("the request is not genuine: {err}")))?;
    Ok(writeln!(std::io::stdout(), "the signature is right: event {id} is genuine")?)
}

/// Longest file that is read. The requests of webhooks are far shorter.
const MAX_REQUEST_BYTES: u64 = 16 * 1_024 * 1_024;

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let read = || {
        if path.as_os_str() != "-" {
            return file::read(path, MAX_REQUEST_BYTES);
        }
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_REQUEST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|err| CliError::unusable(format!("`{}` can't be read: {err}", path.display())))
}
