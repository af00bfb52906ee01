//! The pages' routes: what `page` draws, and the forms that act.
//!
//! A form acts only with the token that this run of the daemon put into it, so that no other site's form does. Every
//! action answers with a redirect, so that reloading a page repeats nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::Api;
use super::activities::{cancel_now, poll_now, retry_now};
use super::events::redeliver_now;
use super::named::Named;
use super::parameters::Parameters;
use super::problem::Problem;
use super::visit::Visit;
use crate::domain::activity::{ActivityId, State as ActivityState, Vat};
use crate::evidence::{self, Material};
use crate::page::{self, Frame, Refresh, Said, Search};
use crate::store::{ActivityFilter, ActivityRef};

/// Activities on a page of the list.
const ROWS: u32 = 50;

pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(overview))
        .route("/activities", get(activities))
        .route("/activities/{activity_id}", get(activity))
        .route("/activities/{activity_id}/poll", post(poll))
        .route("/activities/{activity_id}/cancel", post(cancel))
        .route("/activities/{activity_id}/retry", post(retry))
        .route("/activities/{activity_id}/evidence", get(evidence))
        .route("/events/{event_id}/redeliver", post(redeliver))
        .route("/style.css", get(style))
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))], page::CSS)
}

/// Draws a page, or the refusal of one.
fn drawn(api: &Api, visit: &Visit, draw: impl FnOnce(&Frame<'_>) -> Result<Markup, Problem>) -> Response {
    let troubles = api.monitor.troubles();
    let outage = api.monitor.outage();
    let frame = Frame {
        now: api.clock.now(),
        version: env!("CARGO_PKG_VERSION"),
        upstream: &api.base_url,
        last_answer_at: api.monitor.last_answer_at(),
        outage: outage.as_ref(),
        troubles: &troubles,
        form_token: &api.form_token,
        stalled_after: api.stalled_after,
        catalogue: &api.catalogue,
        language: visit.language,
        other_language_at: &visit.other_language_at,
    };
    let mut response = match draw(&frame) {
        Ok(page) => Html(page.into_string()).into_response(),
        Err(problem) => {
            let page = page::refusal(&frame, problem.title(), problem.detail());
            let mut response = (problem.status(), Html(page.into_string())).into_response();
            problem.add_headers(&mut response);
            response
        }
    };
    visit.keep(&mut response);
    response
}

async fn overview(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&visit.query));
        let refresh = match parameters.one("refresh")?.as_deref() {
            Some("off") => Refresh::Off,
            _ => Refresh::On,
        };
        parameters.finish()?;
        let now = api.clock.now();
        Ok((refresh, api.store.overview(now).await?, api.store.statistics(now).await?))
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &visit, |frame| {
        let (refresh, overview, statistics) = read?;
        Ok(page::overview(frame, &overview, &statistics, refresh))
    })
}

async fn activities(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&visit.query));
        // A form sends its fields empty where nothing was chosen.
        let chosen = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let q = chosen(parameters.one("q")?).map(|q| q.trim().to_owned());
        let state = chosen(parameters.one("state")?);
        let state = state
            .map(|label| {
                ActivityState::from_label(&label).ok_or_else(|| {
                    Problem::bad_parameter("There is no such state; choose one from the list.")
                })
            })
            .transpose()?;
        let vat = match chosen(parameters.one("vat")?) {
            Some(text) => Some(Vat::parse(&text)?),
            None => None,
        };
        let after = parameters.cursor()?;
        parameters.finish()?;
        let filter = ActivityFilter {
            states: state.into_iter().collect(),
            vat: vat.clone(),
            named: q.clone(),
            after,
            limit: Some(ROWS),
            ..ActivityFilter::default()
        };
        let slice = api.store.list_activities(&filter).await?;
        let more = slice.last.filter(|_| slice.has_more);
        let search = Search {
            q: q.unwrap_or_default(),
            state,
            vat: vat.map(|vat| vat.to_string()).unwrap_or_default(),
            is_continued: after.is_some(),
        };
        let next = more.map(|last| last.to_string());
        Ok((search, slice.table, next))
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &visit, |frame| {
        let (search, table, next) = read?;
        Ok(page::activities(frame, &search, &table, next.as_deref()))
    })
}

async fn activity(State(api): State<Arc<Api>>, Named(activity_id): Named, visit: Visit) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&visit.query));
        let vat = parameters.vat()?;
        let said = parameters.one("said")?.and_then(|label| Said::from_label(&label));
        parameters.finish()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(&activity_id)?, vat };
        Ok((api.store.histories(&wanted).await?, said))
    };
    let read: Result<_, Problem> = read.await;
    drawn(&api, &visit, |frame| {
        let (histories, said) = read?;
        Ok(match histories.as_slice() {
            [history] => page::activity(frame, history, said),
            histories => page::choose_vat(frame, histories),
        })
    })
}

/// The evidence as a file to keep: json, or html to be read and printed.
async fn evidence(State(api): State<Arc<Api>>, Named(activity_id): Named, visit: Visit) -> Response {
    let read = async {
        let mut parameters = Parameters::new(Some(&visit.query));
        let vat = parameters.vat()?;
        let is_html = match parameters.one("format")?.as_deref() {
            None | Some("json") => false,
            Some("html") => true,
            Some(_) => return Err(Problem::bad_parameter("The format must be json or html.")),
        };
        parameters.finish()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(&activity_id)?, vat };
        let material = Material {
            history: super::activities::history(&api, &wanted).await?,
            final_answer: api.store.final_answer(&wanted).await?,
            base_url: api.base_url.clone(),
        };
        Ok((wanted, evidence::bundle(material, api.clock.now()), is_html))
    };
    let read: Result<_, Problem> = read.await;
    let (wanted, bundle, is_html) = match read {
        Ok(read) => read,
        Err(problem) => return drawn(&api, &visit, |_| Err(problem)),
    };
    let (text, media_type, ending) = match is_html {
        true => (evidence::render(&bundle, visit.language).into_string(), "text/html; charset=utf-8", "html"),
        false => (bundle.to_string(), "application/json", "json"),
    };
    // An id is made of characters that a file's name may hold.
    let name = format!("attachment; filename=\"evidence-{}.{ending}\"", wanted.activity_id);
    ([(CONTENT_TYPE, media_type.to_owned()), (CONTENT_DISPOSITION, name)], text).into_response()
}

/// What the forms of an activity's page send.
#[derive(Debug, Default)]
struct Action {
    form_token: String,
    vat: Option<String>,
    activity_id: String,
    webhook: Option<String>,
}

impl Action {
    fn read(body: &[u8]) -> Self {
        let mut action = Self::default();
        for (name, value) in form_urlencoded::parse(body).into_owned() {
            match name.as_str() {
                "form_token" => action.form_token = value,
                "vat" => action.vat = Some(value),
                "activity_id" => action.activity_id = value,
                "webhook" => action.webhook = Some(value),
                _ => {}
            }
        }
        action
    }
}

async fn poll(api: State<Arc<Api>>, visit: Visit, Named(activity_id): Named, body: Bytes) -> Response {
    act(&api, &visit, &activity_id, &Action::read(&body), Said::Due, async |wanted| {
        poll_now(&api, wanted).await
    })
    .await
}

async fn cancel(api: State<Arc<Api>>, visit: Visit, Named(activity_id): Named, body: Bytes) -> Response {
    let action = Action::read(&body);
    act(&api, &visit, &activity_id, &action, Said::Cancelled, async |wanted| cancel_now(&api, wanted).await)
        .await
}

async fn retry(api: State<Arc<Api>>, visit: Visit, Named(activity_id): Named, body: Bytes) -> Response {
    let action = Action::read(&body);
    act(&api, &visit, &activity_id, &action, Said::Retried, async |wanted| retry_now(&api, wanted).await)
        .await
}

async fn redeliver(api: State<Arc<Api>>, visit: Visit, Named(event_id): Named, body: Bytes) -> Response {
    let action = Action::read(&body);
    let webhook = action.webhook.clone();
    act(&api, &visit, &action.activity_id, &action, Said::Redelivered, async |_| {
        redeliver_now(&api, event_id, webhook).await.map(|_| ())
    })
    .await
}

/// Does what a form asks for, if it is one of ours, and leads back to the activity.
async fn act(
    api: &Api,
    visit: &Visit,
    activity_id: &str,
    action: &Action,
    said: Said,
    what: impl AsyncFnOnce(&ActivityRef) -> Result<(), Problem>,
) -> Response {
    let done = async {
        let is_ours: bool = action.form_token.as_bytes().ct_eq(api.form_token.as_bytes()).into();
        if !is_ours {
            return Err(Problem::stale_form());
        }
        let vat = action.vat.as_deref().map(Vat::parse).transpose()?;
        let wanted = ActivityRef { activity_id: ActivityId::parse(activity_id)?, vat };
        what(&wanted).await?;
        Ok(wanted)
    };
    let done: Result<_, Problem> = done.await;
    match done {
        Ok(wanted) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(vat) = &wanted.vat {
                query.append_pair("vat", vat.as_str());
            }
            query.append_pair("said", said.label());
            Redirect::to(&format!("/activities/{}?{}", wanted.activity_id, query.finish())).into_response()
        }
        Err(problem) => drawn(api, visit, |_| Err(problem)),
    }
}
