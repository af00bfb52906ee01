//! Errors as RFC 9457 problem documents.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::activity::InvalidInput;
use crate::domain::text::quoted;
use crate::store::StoreError;

/// Most single mistakes that are named in one answer.
const MAX_LISTED: usize = 100;

/// Why a request was refused or failed: a problem document of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A name for the kind of problem, to branch on: `urn:pcsid-watch:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What is wrong with this request, and what to do about it.
    detail: String,
    /// The single mistakes, if the request may have several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Mistake>,
}

/// One mistake in a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// The mistakes in a body: the first ones, and how many there are in all.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    listed: Vec<Mistake>,
    n: usize,
}

impl Mistakes {
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.n += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(mistake);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.n == 0
    }
}

impl From<Mistake> for Mistakes {
    fn from(only: Mistake) -> Self {
        Self { listed: vec![only], n: 1 }
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:pcsid-watch:problem:{kind}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    pub(super) fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter can't be used", detail)
    }

    pub(super) fn bad_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-body", "The body is not JSON", detail)
    }

    pub(super) fn invalid(mistakes: Mistakes) -> Self {
        let Mistakes { listed: errors, n } = mistakes;
        let detail = match errors.as_slice() {
            [only] => format!("Nothing was changed. {}", only.detail),
            _ if n > MAX_LISTED => {
                format!("Nothing was changed. {n} values can't be used; the first {MAX_LISTED} are listed.")
            }
            _ => format!("Nothing was changed. {n} values can't be used."),
        };
        let title = "The body holds values that can't be used";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, detail) }
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// For a form of a page.
    pub(super) fn form_too_large(max_bytes: usize) -> Self {
        Self::too_large(format!(
            "The form is longer than {} KiB. `pcsid-watch preflight FILE` checks longer files.",
            max_bytes >> 10
        ))
    }

    pub(super) fn not_json() -> Self {
        let detail = "Send the body as JSON, with Content-Type: application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The body has another media type", detail)
    }

    pub(super) fn no_such_path() -> Self {
        let detail = "There is nothing at this path. /openapi.json describes what there is.";
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "There is nothing here", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "This path has no such method; the Allow header names those it has.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed", detail)
    }

    pub(super) fn unauthorized() -> Self {
        let detail =
            "Send the header `Authorization: Bearer TOKEN` with the token that http.token_file holds.";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "The token is missing or not the right one",
            detail,
        )
    }

    pub(super) fn foreign_host(host: &str) -> Self {
        let detail = format!(
            "The Host {} is not known. If it is a name of this service, add it to http.hosts.",
            quoted(host)
        );
        Self::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", "This is another host", detail)
    }

    pub(super) fn cross_site() -> Self {
        let detail = "Requests that another site's page makes are refused.";
        Self::new(StatusCode::FORBIDDEN, "cross-site", "The request comes from another site", detail)
    }

    pub(super) fn stale_form() -> Self {
        let detail = "The form is not from this run of the daemon. Go back, reload the page and try again.";
        Self::new(StatusCode::FORBIDDEN, "stale-form", "The form is out of date", detail)
    }

    pub(super) fn timed_out() -> Self {
        let detail = "It took too long. What was asked for may have been done; ask again to see.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timed-out", "The request took too long", detail)
    }

    pub(super) fn busy() -> Self {
        let detail = "There are too many requests at the same time. Nothing was done; send it again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "There are too many requests", detail)
    }

    /// For a statement that the server ended by a time limit of its own, such as `statement_timeout` of its settings.
    fn database_took_too_long() -> Self {
        let detail = "The database took too long. Narrow the request, by `vat` or a time for example, or ask for fewer rows.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timed-out", "The request took too long", detail)
    }

    pub(super) fn unserved_vat(vat: &str) -> Self {
        let detail = format!(
            "Nothing was changed. No configured credential serves VAT {vat}, so it would never be polled: name the \
             VAT in the `vats` of one of [[credentials]], or have one without `vats`."
        );
        Self::new(StatusCode::CONFLICT, "unserved-vat", "No credential serves this VAT", detail)
    }

    fn unavailable() -> Self {
        let detail = "The database can't be used right now; the daemon's log says why. Try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The database can't be used", detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Headers that belong to the status, whatever the body is.
    pub(super) fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // For the second one a browser asks for a name, which may be any, and a password, which is the token.
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pcsid-watch\""));
            headers.append(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"pcsid-watch\", charset=\"UTF-8\""),
            );
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
    }
}

impl From<InvalidInput> for Problem {
    fn from(err: InvalidInput) -> Self {
        Self::bad_parameter(format!("{err}."))
    }
}

impl From<StoreError> for Problem {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::UnknownActivity { activity_id, vat } => {
                let of_vat = vat.map_or_else(String::new, |vat| format!(" for VAT {vat}"));
                let detail = format!("Activity {activity_id} is not known{of_vat}.");
                Self::new(StatusCode::NOT_FOUND, "unknown-activity", "There is no such activity", detail)
            }
            StoreError::AmbiguousActivity { activity_id, vats } => {
                let detail = format!(
                    "Activity {activity_id} is registered for several VATs ({}): name one by the parameter `vat`.",
                    vats.join(", ")
                );
                let title = "The activity is registered for several VATs";
                Self::new(StatusCode::CONFLICT, "ambiguous-activity", title, detail)
            }
            StoreError::WrongState { activity_id, vat, state, rule } => {
                let detail = format!("Activity {activity_id} of VAT {vat} is {state}: {rule}.");
                Self::new(StatusCode::CONFLICT, "wrong-state", "The activity's state forbids it", detail)
            }
            StoreError::UnknownEvent { event_id, sink } => {
                let to_sink = sink.map_or_else(String::new, |sink| format!(" for webhook {}", quoted(&sink)));
                let detail = format!("Event {} is not known{to_sink}.", quoted(&event_id));
                Self::new(StatusCode::NOT_FOUND, "unknown-event", "There is no such event", detail)
            }
            StoreError::TooSlow => {
                let detail = "The search takes too long. Narrow it by VAT, state or dates.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "The search takes too long", detail)
            }
            err if err.is_busy() => Self::busy(),
            err if err.is_interruption() => Self::database_took_too_long(),
            err => {
                tracing::error!(error = &err as &dyn std::error::Error, "a request over HTTP failed: {err}");
                Self::unavailable()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        self.add_headers(&mut response);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
