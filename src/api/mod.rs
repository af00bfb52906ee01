//! HTTP: the JSON API under `/v1`, the pages' routes, probes and metrics.
//!
//! Three checks come before any handler but the probes': the `Host` must be one of ours (another site must not reach a
//! loopback service under a name of its own), an `Origin` must be this site (no other page's script or form acts here),
//! and the token must be right if one is configured. See `guard`.
//!
//! This module alone turns errors into status codes. Clients see sentences made for them; what went wrong inside
//! is in the log.

mod activities;
mod admission;
mod deliveries;
mod events;
mod exposition;
mod guard;
mod headers;
mod openapi;
mod page_request;
mod pages;
mod parameters;
mod path;
mod preflight;
mod probes;
mod problem;
mod renewals;
mod returned_body;
mod server;
mod shape;
mod slices;
mod streaming;
mod token;
mod unread_body;
mod write_timeout;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

pub use server::{Bounds, ListenError, Listener, serve};
pub use token::{HttpToken, HttpTokenError};

use crate::clock::Clock;
use crate::domain::catalogue::{Catalogue, Language};
use crate::domain::certificate::Renewal;
use crate::domain::serving::Serving;
use crate::domain::zone::Zone;
use crate::monitor::Monitor;
use crate::settings::Settings;
use crate::store::{Files, Intake, Reports, Store};
use crate::wakers::Wakers;
use problem::Problem;

/// Longest body of a request that registers activities or has registrations checked.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How long a request may take, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    reports: Reports,
    intake: Intake,
    files: Option<Files>,
    /// Whether other daemons may work on the same database.
    is_shared: bool,
    clock: Arc<Clock>,
    monitor: Arc<Monitor>,
    wakers: Wakers,
    serving: Serving,
    base_url: String,
    initial_interval: Duration,
    stalled_after: Duration,
    catalogue: Arc<Catalogue>,
    renewal: Renewal,
    /// The language of pages if neither the reader nor the browser asks for one.
    language: Language,
    /// Where people read times.
    zone: Zone,
    /// All sinks that are configured.
    sinks: Vec<String>,
    /// Host names that are accepted besides `localhost` and addresses.
    hosts: Vec<String>,
    token: Option<HttpToken>,
    /// Every form of our pages carries it; another site can't know it.
    form_token: String,
    admission: admission::Admission,
    wrong_tokens: guard::WrongTokens,
}

/// What the API is made of besides settings.
#[derive(Debug)]
pub struct ApiParts {
    /// What is read and written.
    pub store: Store,
    /// The daemon's time.
    pub clock: Arc<Clock>,
    /// What the daemon reports of itself.
    pub monitor: Arc<Monitor>,
    /// Wakes the daemon's tasks after a change.
    pub wakers: Wakers,
    /// The bearer token, if one is configured.
    pub token: Option<HttpToken>,
}

impl Api {
    /// An API on these parts.
    pub fn new(settings: &Settings, parts: ApiParts) -> Arc<Self> {
        Arc::new(Self {
            reports: parts.store.reports(),
            intake: parts.store.intake(),
            files: parts.store.files(),
            is_shared: parts.store.is_shared(),
            clock: parts.clock,
            monitor: parts.monitor,
            wakers: parts.wakers,
            serving: settings.serving(),
            base_url: settings.upstream.base_url.clone(),
            initial_interval: settings.policy.backoff.initial_interval(),
            stalled_after: settings.policy.stalled_after,
            catalogue: Arc::clone(&settings.policy.catalogue),
            renewal: settings.policy.renewal.clone(),
            language: settings.language,
            zone: settings.zone.clone(),
            sinks: settings.routes().into_iter().map(|route| route.sink).collect(),
            hosts: settings.http.hosts.clone(),
            token: parts.token,
            form_token: uuid::Uuid::new_v4().simple().to_string(),
            admission: admission::Admission::default(),
            wrong_tokens: guard::WrongTokens::default(),
        })
    }

    /// Everything, for `http.listen`.
    pub fn router(self: &Arc<Self>) -> Router {
        let api = Arc::clone(self);
        let v1 = Router::new()
            .route("/activities", get(activities::list).post(activities::register))
            .route("/activities/{activity_id}", get(activities::show))
            .route("/activities/{activity_id}/poll", post(activities::poll))
            .route("/activities/{activity_id}/cancel", post(activities::cancel))
            .route("/activities/{activity_id}/retry", post(activities::retry))
            .route("/events", get(events::list))
            .route("/events/{event_id}/redeliver", post(events::redeliver))
            .route("/deliveries", get(deliveries::list))
            .route("/preflight", post(preflight::check))
            .route("/renewals.ics", get(renewals::calendar));
        let guarded = Router::new()
            .nest("/v1", v1)
            .merge(pages::router())
            .route("/openapi.json", get(openapi::document))
            .layer(from_fn_with_state(Arc::clone(&api), admission::admit))
            .route("/metrics", get(probes::metrics))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn_with_state(Arc::clone(&api), guard::token))
            .layer(from_fn_with_state(Arc::clone(&api), guard::site));
        probes::router()
            .fallback_service(guarded.with_state(Arc::clone(&api)))
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn(bounded))
            .layer(from_fn(unread_body::discard))
            .with_state(api)
    }

    /// Probes and metrics alone, as [`Api::router`] answers them: for connections beyond the limit.
    pub fn spare_router(self: &Arc<Self>) -> Router {
        let api = Arc::clone(self);
        let guarded = Router::new()
            .route("/metrics", get(probes::metrics))
            .fallback(busy)
            .layer(from_fn_with_state(Arc::clone(&api), guard::token))
            .layer(from_fn_with_state(Arc::clone(&api), guard::site));
        probes::router()
            .fallback_service(guarded.with_state(Arc::clone(&api)))
            .layer(from_fn(bounded))
            .with_state(api)
    }

    /// Probes and metrics alone, for `http.metrics_listen`.
    pub fn probe_router(self: &Arc<Self>) -> Router {
        probes::router()
            .route("/metrics", get(probes::metrics))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn(bounded))
            .layer(from_fn(unread_body::discard))
            .with_state(Arc::clone(self))
    }
}

/// Ends a request after [`REQUEST_TIMEOUT`].
async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timed_out().into_response(),
    }
}

async fn busy() -> Problem {
    Problem::busy()
}

async fn not_found() -> Problem {
    Problem::no_such_path()
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
