//! The HTTP client for "Get PCSID Generation Status".

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::domain::activity::{ActivityId, Vat};
use crate::domain::classify::Answer;
use crate::settings::UpstreamSettings;
use crate::transport::{client_builder, explain, retry_after};

/// Longest body that is read. The longest documented answer is far below it.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long an idle connection is kept: shorter than most servers' own patience, so that a request seldom
/// meets one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-cleartax-auth-token");
const VAT: HeaderName = HeaderName::from_static("vat");

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `upstream.ca_file` can't be read.
    #[error("upstream.ca_file `{}` can't be read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `upstream.ca_file` holds no certificates.
    #[error("upstream.ca_file `{}` holds no PEM certificates", path.display())]
    CaCertificates {
        /// The file.
        path: PathBuf,
    },
    /// TLS can't be set up.
    #[error("TLS can't be set up: is a bundle of CA certificates installed (package ca-certificates)?")]
    Tls(#[source] reqwest::Error),
}

/// Asks upstream, one activity at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    request_timeout: Duration,
}

impl Client {
    /// A client for this upstream. Redirects are never followed, so that the token can't leave its host;
    /// bodies are never decompressed, so that their size is what was received.
    ///
    /// # Errors
    /// Where the CA file or the TLS set-up is not usable.
    pub fn new(settings: &UpstreamSettings) -> Result<Self, ClientError> {
        let mut builder = client_builder(&settings.base_url)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.max_in_flight);
        if let Some(path) = &settings.ca_file {
            let pem =
                std::fs::read(path).map_err(|source| ClientError::CaFile { path: path.clone(), source })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| ClientError::CaCertificates { path: path.clone() })?;
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::Tls)?,
            base_url: settings.base_url.clone(),
            request_timeout: settings.request_timeout,
        })
    }

    /// Asks how an activity stands. Never fails: whatever goes wrong is an [`Answer`] as well.
    ///
    /// `token` must be marked as sensitive; where a hostile answer repeats it, it is taken out of the body.
    pub async fn pcsid_status(&self, vat: &Vat, activity_id: &ActivityId, token: &HeaderValue) -> Answer {
        let url = format!("{}/onboarding/{activity_id}/pcsid-status", self.base_url);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(AUTH_TOKEN, token.clone());
        match HeaderValue::from_str(vat.as_str()) {
            Ok(vat) => headers.insert(VAT, vat),
            // The grammar of a VAT is narrower than that of a header's value.
            Err(_) => {
                return Answer::NoReply { http_status: None, cause: "VAT is no header value".to_owned() };
            }
        };
        let deadline = Instant::now() + self.request_timeout;
        let late =
            || format!("no complete answer within {:?} (upstream.request_timeout)", self.request_timeout);
        let request = self.http.get(url).headers(headers).send();
        let response = match tokio::time::timeout_at(deadline, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return Answer::NoReply { http_status: None, cause: explain(&err) },
            Err(_) => return Answer::NoReply { http_status: None, cause: late() },
        };
        let http_status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body = match tokio::time::timeout_at(deadline, read_body(response)).await {
            Ok(body) => body,
            Err(_) => Err(late()),
        };
        match body {
            Ok(body) => Answer::Reply { http_status, retry_after, body: without(body, token.as_bytes()) },
            // These statuses have said it all: a hold or a pause must not hang on a body that nobody reads.
            Err(_) if matches!(http_status, 401 | 403 | 429 | 503) => {
                Answer::Reply { http_status, retry_after, body: Vec::new() }
            }
            Err(cause) => Answer::NoReply { http_status: Some(http_status), cause },
        }
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let too_long = || format!("the answer's body is longer than {} KiB", MAX_BODY_BYTES / 1024);
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_BODY_BYTES as u64 {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|err| explain(&err))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Shortest token that is looked for in answers. A shorter one is nobody's, and could be a part of any word: the
/// answer must keep its meaning.
pub const MIN_REDACTED_BYTES: usize = 8;

/// The body without the token, should somebody's error page repeat the request.
fn without(body: Vec<u8>, token: &[u8]) -> Vec<u8> {
    if token.len() < MIN_REDACTED_BYTES || !body.windows(token.len()).any(|window| window == token) {
        return body;
    }
    // By bytes: what is no UTF-8 must not become it.
    let mut redacted = Vec::with_capacity(body.len());
    let mut rest = body.as_slice();
    while let Some((first, others)) = rest.split_first() {
        match rest.strip_prefix(token) {
            Some(behind) => {
                redacted.extend_from_slice(b"[redacted]");
                rest = behind;
            }
            None => {
                redacted.push(*first);
                rest = others;
            }
        }
    }
    redacted
}
