//! The HTTP client for "Get PCSID Generation Status".

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::token::Token;
use crate::domain::activity::{ActivityId, Vat, status_path};
use crate::domain::classify::{Answer, MAX_KEPT_BODY_BYTES};
use crate::settings::UpstreamSettings;
use crate::transport::{FirstThread, Renewing, ask_for_plain_body, encoding, explain, retry_after};

pub use crate::transport::ClientError;

/// Longest body that is read, and as much as is kept of a final one. The longest documented answer is far shorter.
const MAX_BODY_BYTES: usize = MAX_KEPT_BODY_BYTES;

/// Nearly all bodies are shorter than this. Only [`MAX_LONG_BODIES`] longer ones are read at the same time; others wait
/// within their own timeout. So any number of requests in flight takes little memory.
const LONG_BODY_BYTES: usize = 16 * 1024;
const MAX_LONG_BODIES: usize = 16;

/// How long an idle connection is kept. Most servers keep theirs longer, so a request seldom meets a connection that is
/// being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-cleartax-auth-token");
const VAT: HeaderName = HeaderName::from_static("vat");

/// The permit for a long body, if the body was long.
#[derive(Debug, Default)]
pub struct LongBody(Option<OwnedSemaphorePermit>);

/// Asks upstream, one activity at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Arc<Renewing>,
    /// Permits for bodies that are long.
    long_bodies: Arc<Semaphore>,
    request_timeout: Duration,
}

impl Client {
    /// A client for this upstream. Redirects are never followed, so that the token can't leave its host; bodies are
    /// never decompressed, so that their size is what was received.
    ///
    /// # Errors
    /// If the CA file or the TLS set-up is not usable.
    pub fn new(settings: &UpstreamSettings) -> Result<Self, ClientError> {
        let ca_file = settings.ca_file.as_deref().map(|path| ("upstream.ca_file".to_owned(), path));
        let (connect_timeout, max_in_flight) = (settings.connect_timeout, settings.max_in_flight);
        let http = Renewing::new(&settings.base_url, ca_file, FirstThread::OfTheWork, move |builder| {
            builder
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(max_in_flight)
        })?;
        Ok(Self {
            http: Arc::new(http),
            long_bodies: Arc::new(Semaphore::new(MAX_LONG_BODIES)),
            request_timeout: settings.request_timeout,
        })
    }

    /// Notes that a request failed: the next one uses a new connection.
    pub fn doubt(&self) {
        self.http.doubt();
    }

    /// Asks about an activity. Never fails: whatever goes wrong is an [`Answer`] as well.
    ///
    /// Secrets in the body, the token above all, have been removed. The caller keeps the permit until it has dropped
    /// the answer, apart from what it passes on.
    pub async fn pcsid_status(
        &self,
        vat: &Vat,
        activity_id: &ActivityId,
        token: &Token,
    ) -> (Answer, LongBody) {
        let mut long_body = LongBody::default();
        let answer = self.ask(vat, activity_id, token, &mut long_body).await;
        (answer, long_body)
    }

    async fn ask(
        &self,
        vat: &Vat,
        activity_id: &ActivityId,
        token: &Token,
        long_body: &mut LongBody,
    ) -> Answer {
        let mut url = self.http.url().clone();
        let base_path = self.http.url().path().trim_end_matches('/');
        url.set_path(&format!("{base_path}{}", status_path(activity_id.as_str())));
        let mut request = Request::new(Method::GET, url);
        let headers = request.headers_mut();
        // Those set here, and those that the libraries add.
        headers.reserve(6);
        ask_for_plain_body(headers);
        headers.insert(AUTH_TOKEN, token.header.clone());
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
        let response = match tokio::time::timeout_at(deadline, self.http.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return Answer::NoReply { http_status: None, cause: explain(&err) },
            Err(_) => return Answer::NoReply { http_status: None, cause: late() },
        };
        let http_status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let encoding = encoding(response.headers());
        let body = match tokio::time::timeout_at(deadline, self.read_body(response, long_body)).await {
            Ok(body) => body,
            Err(_) => Err(late()),
        };
        let body = match (body, encoding) {
            (Ok(_), Some(encoding)) => Err(format!(
                "the answer's body is encoded ({encoding}), though none was asked for that way: something between us and \
                 upstream must leave bodies as they are"
            )),
            (body, _) => body,
        };
        match body {
            Ok(body) => Answer::Reply { http_status, retry_after, body: token.redactor.redact(body) },
            // These statuses are enough: a hold or a pause must not depend on a body that can't be read.
            Err(_)
                if matches!(http_status, 401 | 403 | 429)
                    || (http_status == 503 && retry_after.is_some()) =>
            {
                Answer::Reply { http_status, retry_after, body: Vec::new() }
            }
            Err(cause) => Answer::NoReply { http_status: Some(http_status), cause },
        }
    }

    async fn read_body(
        &self,
        mut response: reqwest::Response,
        long_body: &mut LongBody,
    ) -> Result<Vec<u8>, String> {
        let too_long = || format!("the answer's body is longer than {} KiB", MAX_BODY_BYTES / 1024);
        if response.content_length().is_some_and(|announced| announced > MAX_BODY_BYTES as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| explain(&err))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(too_long());
            }
            if body.len() + chunk.len() > LONG_BODY_BYTES && long_body.0.is_none() {
                // The semaphore is never closed.
                long_body.0 = Arc::clone(&self.long_bodies).acquire_owned().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
