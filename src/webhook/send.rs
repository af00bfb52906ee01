//! One attempt to hand an event to a receiver, and what follows from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::sign::{Secrets, WebhookSecretError};
use crate::clock;
use crate::domain::redact::Redactor;
use crate::domain::text;
use crate::secret::{SecretError, SecretSource};
use crate::settings::WebhookSettings;
use crate::transport::{
    ClientError, FirstThread, Renewing, ask_for_plain_body, encoding, explain, retry_after,
};

/// How much of a receiver's answer is read.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// How long the rest of a receiver's answer is waited for once its status is known.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// How much of an answer is kept.
const MAX_KEPT_CHARS: usize = 200;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why a webhook can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// Its secret can't be read.
    #[error("webhook `{webhook}` has no usable secret ({key})")]
    Unreadable {
        /// The webhook's name.
        webhook: String,
        /// The key that names it.
        key: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Its secret is not one.
    #[error("webhook `{webhook}` has no usable secret ({place})")]
    Secret {
        /// The webhook's name.
        webhook: String,
        /// The key, and the file if there is one.
        place: String,
        /// Why.
        #[source]
        source: WebhookSecretError,
    },
    /// The client can't be built.
    #[error("webhook `{webhook}` can't be sent to")]
    Client {
        /// The webhook's name.
        webhook: String,
        /// Why.
        #[source]
        source: ClientError,
    },
}

/// The result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The receiver's status.
    pub http_status: Option<u16>,
    /// What follows.
    pub disposition: Disposition,
    /// What was wrong; `None` if nothing was.
    pub error: Option<String>,
    /// The beginning of the receiver's answer, on one line.
    pub answer: String,
}

impl Attempt {
    /// An attempt that succeeded without an answer, as on standard output.
    pub fn delivered() -> Self {
        Self { http_status: None, disposition: Disposition::Delivered, error: None, answer: String::new() }
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// 2xx: the receiver has it.
    Delivered,
    /// To be tried again, and not before what the receiver asked for.
    Retry {
        /// From `Retry-After` on 429 and 503.
        not_before: Option<Duration>,
    },
    /// 410: the receiver never wants it.
    Gone,
}

/// Sends to one webhook.
#[derive(Debug)]
pub struct Sender {
    webhook: String,
    http: Renewing,
    source: SecretSource,
    current: RwLock<Arc<Current>>,
    is_readable: AtomicBool,
    timeout: Duration,
}

/// The secrets as they were last read.
#[derive(Debug)]
struct Current {
    text: SecretString,
    secrets: Secrets,
    /// Takes them out of answers. It is made when the first answer has a body: most have none.
    redactor: OnceLock<Redactor>,
}

impl Current {
    fn redactor(&self) -> &Redactor {
        self.redactor.get_or_init(|| {
            let texts = self.text.expose_secret().split_whitespace().map(str::as_bytes);
            // A receiver may show its key decoded.
            Redactor::new(texts.chain(self.secrets.keys()))
        })
    }
}

impl Sender {
    /// Reads the secret and sets the client up. Redirects are never followed.
    ///
    /// # Errors
    /// If the secret or the TLS set-up is not usable.
    pub fn new(settings: &WebhookSettings) -> Result<Self, SenderError> {
        let webhook = settings.route.sink.clone();
        let current = RwLock::new(Arc::new(read_secrets(&webhook, &settings.secret)?));
        let ca_file = settings.ca_file.as_deref().map(|path| ("webhooks[].ca_file".to_owned(), path));
        let timeout = settings.timeout;
        let http = Renewing::new(&settings.url, ca_file, FirstThread::ItsOwn, move |builder| {
            builder.connect_timeout(timeout)
        })
        .map_err(|source| SenderError::Client { webhook: webhook.clone(), source })?;
        let source = settings.secret.clone();
        Ok(Self {
            webhook,
            http,
            source,
            current,
            is_readable: AtomicBool::new(true),
            timeout: settings.timeout,
        })
    }

    /// Reads the secret again, so that a rotated one takes effect without a restart. If that fails, the former one
    /// stays in use, and that is logged once.
    pub fn refresh_secret(&self) {
        match read_secrets(&self.webhook, &self.source) {
            Ok(read) => {
                self.is_readable.store(true, Ordering::Relaxed);
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                if current.text.expose_secret() != read.text.expose_secret() {
                    *current = Arc::new(read);
                }
            }
            Err(err) => {
                if self.is_readable.swap(false, Ordering::Relaxed) {
                    tracing::warn!(
                        sink = %self.webhook,
                        error = &err as &dyn std::error::Error,
                        "the secret of webhook {} can't be read any more; the former one stays in use",
                        self.webhook
                    );
                }
            }
        }
    }

    /// Sends exactly these bytes, signed for this moment. Never fails: what goes wrong is in the attempt.
    pub async fn send(&self, event_id: &str, body: String) -> Attempt {
        let failed = |error: String| Attempt {
            http_status: None,
            disposition: Disposition::Retry { not_before: None },
            error: Some(error),
            answer: String::new(),
        };
        // Receivers compare it with their own clocks, so it comes from the wall clock.
        let timestamp = clock::wall_now().as_millis() / 1_000;
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let signature = current.secrets.sign(event_id, timestamp, body.as_bytes());
        let mut request = Request::new(Method::POST, self.http.url().clone());
        *request.body_mut() = Some(body.into());
        let headers = request.headers_mut();
        ask_for_plain_body(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
        for (name, value) in [(WEBHOOK_ID, event_id), (WEBHOOK_SIGNATURE, signature.as_str())] {
            match HeaderValue::from_str(value) {
                Ok(value) => headers.insert(name, value),
                Err(_) => return failed(format!("{name} is no header value")),
            };
        }
        let response = match tokio::time::timeout(self.timeout, self.http.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => {
                self.http.doubt();
                return failed(explain(&err));
            }
            Err(_) => {
                self.http.doubt();
                return failed(format!("no answer within {:?} (webhooks.timeout)", self.timeout));
            }
        };
        let http_status = response.status().as_u16();
        if !response.status().is_success() {
            self.http.doubt();
        }
        let not_before = matches!(http_status, 429 | 503).then(|| retry_after(response.headers())).flatten();
        attempt(http_status, not_before, beginning(response, &current).await)
    }
}

fn read_secrets(webhook: &str, source: &SecretSource) -> Result<Current, SenderError> {
    let text = source.read().map_err(|err| SenderError::Unreadable {
        webhook: webhook.to_owned(),
        key: source.key("webhooks[].secret"),
        source: err,
    })?;
    let secrets = Secrets::parse(text.expose_secret()).map_err(|err| SenderError::Secret {
        webhook: webhook.to_owned(),
        place: source.place("webhooks[].secret"),
        source: err,
    })?;
    Ok(Current { text, secrets, redactor: OnceLock::new() })
}

fn attempt(http_status: u16, not_before: Option<Duration>, answer: String) -> Attempt {
    let (disposition, error) = match http_status {
        200..=299 => (Disposition::Delivered, None),
        410 => (Disposition::Gone, Some("HTTP 410: the receiver is gone for good".to_owned())),
        300..=399 => (
            Disposition::Retry { not_before },
            Some(format!("HTTP {http_status}: a redirect, which is never followed; check the webhook's url")),
        ),
        _ => {
            let said = if answer.is_empty() { String::new() } else { format!(": {answer}") };
            (Disposition::Retry { not_before }, Some(format!("HTTP {http_status}{said}")))
        }
    };
    Attempt { http_status: Some(http_status), disposition, error, answer }
}

/// The first characters of an answer, on one line. The status has decided already, so a body that breaks off or never
/// ends changes nothing.
async fn beginning(mut response: reqwest::Response, current: &Current) -> String {
    if let Some(encoding) = encoding(response.headers()) {
        return format!("(a body that is encoded, {encoding}, though that was not asked for)");
    }
    let mut body = Vec::new();
    let deadline = Instant::now() + ANSWER_PATIENCE;
    while body.len() < MAX_ANSWER_BYTES {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body.truncate(MAX_ANSWER_BYTES);
    if body.is_empty() {
        return String::new();
    }
    // A receiver is sent no secret, but knows that of the webhook, and its error page may show it, or another one.
    let body = current.redactor().redact(body);
    text::beginning(&String::from_utf8_lossy(&body), MAX_KEPT_CHARS)
}
