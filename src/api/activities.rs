//! `/v1/activities`: registering, listing, showing, and what an operator can do with one.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::headers::{is_json, media_type};
use super::parameters::Parameters;
use super::path::PathName;
use super::problem::{Mistake, Mistakes, Problem};
use super::shape::{ActivityBody, HistoryBody};
use super::slices::sliced;
use crate::domain::activity::{ActivityId, Registration, State as ActivityState, Vat};
use crate::domain::catalogue::Language;
use crate::domain::text;
use crate::store::{ActivityFilter, ActivityRef, ActivityRow, History, RegisterOutcome};
use crate::words::Words;

/// Most activities in one body.
const MAX_ACTIVITIES: usize = 10_000;

/// Longest object that is read. A valid one is far shorter; a mistake in a long one takes several times its size, because
/// the library's message repeats a key or a value whole.
const MAX_OBJECT_BYTES: usize = 64 * 1024;

/// How much of a mistake is repeated.
const MAX_REPEATED_BYTES: usize = 512;

/// An activity as a client sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewActivity {
    vat: String,
    activity_id: String,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    reference: Option<String>,
}

/// `POST /v1/activities`: one object or an array; all are registered or none. Registering an activity again is no
/// error and changes nothing.
pub(super) async fn register(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::new(query.as_deref()).finish()?;
    if !is_json(&media_type(&headers)) {
        return Err(Problem::not_json());
    }
    let received = api.admission.read_body(body, super::MAX_BODY_BYTES).await?;
    let response = match read(&received.bytes)? {
        Intended::One(registration) => register_one(&api, *registration).await,
        Intended::Many(registrations) => register_many(&api, registrations).await,
    };
    // The parsed body takes as much memory as the body itself, so its share is kept until here.
    drop(received);
    response
}

/// What a body asks for: one registration, or an array of them.
enum Intended {
    One(Box<Registration>),
    Many(Vec<Registration>),
}

/// Reads a body element by element and keeps no more than [`MAX_ACTIVITIES`] of them.
fn read(body: &[u8]) -> Result<Intended, Problem> {
    let no_json = |err| Problem::bad_body(format!("Nothing was changed. The body is not JSON: {err}."));
    if body.trim_ascii_start().first() != Some(&b'[') {
        let item: &RawValue = serde_json::from_slice(body).map_err(no_json)?;
        let registration = parse(item.get(), "").map_err(|mistake| Problem::invalid(mistake.into()))?;
        return Ok(Intended::One(Box::new(registration)));
    }
    let Items { registrations, mistakes, n } = serde_json::from_slice(body).map_err(no_json)?;
    if n > MAX_ACTIVITIES {
        let detail = format!("{n} activities are too many for one request: send at most {MAX_ACTIVITIES}.");
        return Err(Problem::invalid(Mistake { pointer: String::new(), detail }.into()));
    }
    if !mistakes.is_empty() {
        return Err(Problem::invalid(mistakes));
    }
    Ok(Intended::Many(registrations))
}

/// The elements of an array, those beyond [`MAX_ACTIVITIES`] only counted.
#[derive(Debug, Default)]
struct Items {
    registrations: Vec<Registration>,
    mistakes: Mistakes,
    n: usize,
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Items, A::Error> {
                let mut items = Items::default();
                while items.n < MAX_ACTIVITIES
                    && let Some(item) = array.next_element::<&RawValue>()?
                {
                    match parse(item.get(), &format!("/{}", items.n)) {
                        Ok(registration) => items.registrations.push(registration),
                        Err(mistake) => items.mistakes.add(mistake),
                    }
                    items.n += 1;
                }
                while array.next_element::<IgnoredAny>()?.is_some() {
                    items.n += 1;
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

async fn register_one(api: &Api, registration: Registration) -> Result<Response, Problem> {
    require_served(api, std::slice::from_ref(&registration))?;
    let _turn = api.admission.writer().await?;
    let now = api.clock.now();
    let (outcome, activity) = api
        .intake
        .register_one(&registration, &api.base_url, &api.serving, api.initial_interval, now)
        .await?;
    api.wakers.wake_all();
    let status = match outcome {
        RegisterOutcome::New => StatusCode::CREATED,
        RegisterOutcome::Known => StatusCode::OK,
    };
    let location = format!("/v1/activities/{}?vat={}", registration.activity_id, registration.vat);
    let warnings = warnings(std::slice::from_ref(&registration));
    let added = Added { activity: activity.into(), warnings };
    let mut response = (status, Json(added)).into_response();
    // Both ids are made of characters that a header may hold.
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// An activity that was registered on its own.
#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    activity: ActivityBody,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The outcome of one element.
#[derive(Serialize)]
struct Registered<'a> {
    vat: &'a str,
    activity_id: &'a str,
    outcome: &'static str,
}

async fn register_many(api: &Api, registrations: Vec<Registration>) -> Result<Response, Problem> {
    require_served(api, &registrations)?;
    let turn = api.admission.writer().await?;
    let (now, interval) = (api.clock.now(), api.initial_interval);
    let outcomes = api.intake.register(&registrations, &api.base_url, &api.serving, interval, now).await?;
    drop(turn);
    api.wakers.wake_all();
    let n_new = outcomes.iter().filter(|outcome| **outcome == RegisterOutcome::New).count();
    let items: Vec<Registered<'_>> = registrations
        .iter()
        .zip(&outcomes)
        .map(|(registration, outcome)| Registered {
            vat: registration.vat.as_str(),
            activity_id: registration.activity_id.as_str(),
            outcome: match outcome {
                RegisterOutcome::New => "new",
                RegisterOutcome::Known => "known",
            },
        })
        .collect();
    let status = if n_new > 0 { StatusCode::CREATED } else { StatusCode::OK };
    #[derive(Serialize)]
    struct Answer<'a> {
        new: usize,
        known: usize,
        items: Vec<Registered<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    }
    let warnings = warnings(&registrations);
    Ok((status, Json(Answer { new: n_new, known: outcomes.len() - n_new, items, warnings })).into_response())
}

/// What was accepted but is probably a mistake: one warning for each VAT of an unusual shape.
fn warnings(registrations: &[Registration]) -> Vec<String> {
    let unusual: BTreeSet<&Vat> =
        registrations.iter().map(|one| &one.vat).filter(|vat| !vat.has_saudi_shape()).collect();
    let words = Words::of(Language::English);
    unusual.into_iter().take(MAX_WARNINGS).map(|vat| words.vat_shape_rule(vat.as_str()).to_string()).collect()
}

/// Most warnings in one answer.
const MAX_WARNINGS: usize = 100;

/// Reads one object of a body. `at` is its place in the body, as a JSON pointer.
fn parse(item: &str, at: &str) -> Result<Registration, Mistake> {
    let mistake = |pointer: String, detail: String| Mistake { pointer, detail };
    // serde alone would also accept an array, in the order of the fields.
    if !item.starts_with('{') {
        return Err(mistake(
            at.to_owned(),
            "An activity is an object with `vat` and `activity_id`.".to_owned(),
        ));
    }
    if item.len() > MAX_OBJECT_BYTES {
        let detail = format!("An activity is an object of at most {} KiB.", MAX_OBJECT_BYTES / 1024);
        return Err(mistake(at.to_owned(), detail));
    }
    let mut reader = serde_json::Deserializer::from_str(item);
    let new: NewActivity = serde_path_to_error::deserialize(&mut reader).map_err(|err| {
        let path = err.path().to_string();
        let mut pointer = if path == "." { at.to_owned() } else { format!("{at}/{path}") };
        let mut detail = plain(&err.into_inner().to_string());
        // Both repeat a key that is not known, or a value, however long it is.
        text::cut(&mut pointer, MAX_REPEATED_BYTES);
        text::cut(&mut detail, MAX_REPEATED_BYTES);
        mistake(pointer, detail)
    })?;
    let field = |err: &crate::domain::activity::InvalidInput| {
        use crate::domain::activity::InvalidInput;
        match err {
            InvalidInput::Vat(_) => "vat",
            InvalidInput::ActivityId(_) => "activity_id",
            InvalidInput::Label { field: "reference", .. } => "reference",
            InvalidInput::Label { .. } => "device_id",
        }
    };
    Registration::parse(&new.vat, &new.activity_id, new.device_id.as_deref(), new.reference.as_deref())
        .map_err(|err| mistake(format!("{at}/{}", field(&err)), format!("{err}.")))
}

/// serde's message in plain words, without its position, which would count from the beginning of the object.
fn plain(complaint: &str) -> String {
    let complaint = complaint.split(" at line ").next().unwrap_or(complaint);
    match complaint.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(field) => format!("`{field}` stands twice: give it once."),
        None => format!("{}.", crate::serde_messages::in_plain_words(complaint, true)),
    }
}

fn require_served(api: &Api, registrations: &[Registration]) -> Result<(), Problem> {
    let vats: BTreeSet<&Vat> = registrations.iter().map(|registration| &registration.vat).collect();
    match vats.into_iter().find(|vat| api.serving.credential_of(vat).is_none()) {
        Some(vat) => Err(Problem::unserved_vat(vat.as_str())),
        None => Ok(()),
    }
}

/// `GET /v1/activities`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let mut states =
        parameters.all("state").iter().map(|label| state(label)).collect::<Result<Vec<_>, _>>()?;
    // Each is looked up by itself.
    states.sort_unstable_by_key(|state| state.label());
    states.dedup();
    let limit = parameters.limit()?;
    let filter = ActivityFilter {
        states,
        vat: parameters.vat()?,
        device_id: parameters.one("device_id")?,
        reference: parameters.one("reference")?,
        registered: parameters.span("registered_from", "registered_until")?,
        concluded: parameters.span("concluded_from", "concluded_until")?,
        after: parameters.cursor()?,
        limit: Some(limit),
        ..ActivityFilter::default()
    };
    parameters.finish()?;
    let slice = api.reports.list_activities(&filter).await?;
    let activities: Vec<ActivityRow> = slice.table.read("report_activities")?;
    let items: Vec<_> = activities.into_iter().map(ActivityBody::from).collect();
    Ok(sliced("/v1/activities", query.as_deref(), &slice, items))
}

fn state(label: &str) -> Result<ActivityState, Problem> {
    ActivityState::from_label(label).ok_or_else(|| {
        let known: Vec<&str> = ActivityState::ALL.iter().map(|state| state.label()).collect();
        Problem::bad_parameter(format!("Parameter `state`: it must be one of {}.", known.join(", ")))
    })
}

/// `GET /v1/activities/{activity_id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    RawQuery(query): RawQuery,
) -> Result<Json<HistoryBody>, Problem> {
    Ok(Json(history(&api, &wanted(&activity_id, query.as_deref())?).await?.into()))
}

/// `POST /v1/activities/{activity_id}/poll`
pub(super) async fn poll(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    RawQuery(query): RawQuery,
) -> Result<Json<ActivityBody>, Problem> {
    let wanted = wanted(&activity_id, query.as_deref())?;
    Ok(Json(poll_now(&api, &wanted).await?.into()))
}

/// `POST /v1/activities/{activity_id}/cancel`
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    RawQuery(query): RawQuery,
) -> Result<Json<ActivityBody>, Problem> {
    let wanted = wanted(&activity_id, query.as_deref())?;
    Ok(Json(cancel_now(&api, &wanted).await?.into()))
}

/// `POST /v1/activities/{activity_id}/retry`
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    PathName(activity_id): PathName,
    RawQuery(query): RawQuery,
) -> Result<Json<ActivityBody>, Problem> {
    let wanted = wanted(&activity_id, query.as_deref())?;
    Ok(Json(retry_now(&api, &wanted).await?.into()))
}

pub(super) async fn poll_now(api: &Api, wanted: &ActivityRef) -> Result<ActivityRow, Problem> {
    let _turn = api.admission.writer().await?;
    let activity = api.intake.poll_now(wanted, api.clock.now()).await?;
    api.wakers.wake_all();
    Ok(activity)
}

pub(super) async fn cancel_now(api: &Api, wanted: &ActivityRef) -> Result<ActivityRow, Problem> {
    let _turn = api.admission.writer().await?;
    let activity = api.intake.cancel(wanted, api.clock.now()).await?;
    api.wakers.wake_all();
    Ok(activity)
}

pub(super) async fn retry_now(api: &Api, wanted: &ActivityRef) -> Result<ActivityRow, Problem> {
    let _turn = api.admission.writer().await?;
    let retried = api.intake.retry(wanted, &api.base_url, api.initial_interval, api.clock.now()).await?;
    api.wakers.wake_all();
    Ok(retried.activity)
}

/// The activity that a path names, with the parameter `vat` if it is given.
fn wanted(activity_id: &str, query: Option<&str>) -> Result<ActivityRef, Problem> {
    let mut parameters = Parameters::new(query);
    let vat = parameters.vat()?;
    parameters.finish()?;
    Ok(ActivityRef { activity_id: ActivityId::parse(activity_id)?, vat })
}

/// The activity with everything that belongs to it.
pub(super) async fn history(api: &Api, wanted: &ActivityRef) -> Result<History, Problem> {
    Ok(api.reports.history(wanted).await?)
}
