//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::Api;
use super::exposition::Exposition;
use super::problem::Problem;

/// The probes. They need no token and reveal nothing else.
pub(super) fn router() -> Router<Arc<Api>> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

/// Whether the tasks run, not whether they get anything done: a full disk must not make an orchestrator restart the
/// daemon.
async fn alive(State(api): State<Arc<Api>>) -> Response {
    match api.monitor.is_alive() {
        true => Json(json!({"status": "ok"})).into_response(),
        false => {
            let body = Json(json!({"status": "stuck", "reasons": api.monitor.troubles()}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// The database is writable and the poller runs.
async fn ready(State(api): State<Arc<Api>>) -> Response {
    let troubles = api.monitor.troubles();
    match troubles.is_empty() {
        true if api.is_shared => {
            Json(json!({"status": "ready", "holds": api.monitor.held()})).into_response()
        }
        true => Json(json!({"status": "ready"})).into_response(),
        false => {
            let body = Json(json!({"status": "not ready", "reasons": troubles}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Everything that is counted, for Prometheus, in the format that it asks for.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let now = api.clock.now();
    let overview = match api.reports.overview(now).await {
        Ok(overview) => Some(overview),
        // What comes from the database is then missing, and the metric `ready` is 0.
        Err(err) => {
            tracing::debug!(error = &err as &dyn std::error::Error, "the database can't be read for metrics");
            None
        }
    };
    let footprints = match &api.files {
        Some(files) => files.footprints().await,
        None => Vec::new(),
    };
    match api.monitor.metrics(overview.as_ref(), &footprints, now) {
        Ok(text) => {
            let format = Exposition::wanted(&headers);
            let headers = [(CONTENT_TYPE, format.content_type()), (VARY, "Accept")];
            Ok((headers, format.of(text)).into_response())
        }
        Err(_) => Err(Problem::timed_out()),
    }
}
