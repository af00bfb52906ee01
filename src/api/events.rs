//! `/v1/events`: what was announced, in order, and announcing it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Api;
use super::parameters::Parameters;
use super::path::PathName;
use super::problem::Problem;
use super::slices::sliced;
use crate::domain::activity::ActivityId;
use crate::domain::event::EventKind;
use crate::store::{Cell, EventFilter, Redelivery, Table};

/// `GET /v1/events`: the payloads as every sink gets them, in the order in which they were recorded. A client that
/// keeps the last cursor can continue from there later.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let activity_id = parameters.one("activity_id")?;
    let limit = parameters.limit()?;
    let filter = EventFilter {
        kind: parameters.one("type")?.map(known_type).transpose()?,
        vat: parameters.vat()?,
        activity_id: activity_id.map(|id| ActivityId::parse(&id)).transpose()?.map(|id| id.to_string()),
        occurred: parameters.span("occurred_from", "occurred_until")?,
        after: parameters.cursor()?,
        limit: Some(limit),
    };
    parameters.finish()?;
    let slice = api.reports.list_events(&filter).await?;
    let items = payloads(&slice.table)?;
    Ok(sliced("/v1/events", query.as_deref(), &slice, items))
}

fn known_type(text: String) -> Result<String, Problem> {
    if EventKind::ALL.iter().any(|kind| kind.label() == text) {
        return Ok(text);
    }
    let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.label()).collect();
    Err(Problem::bad_parameter(format!("Parameter `type`: it must be one of {}.", known.join(", "))))
}

/// The stored texts as they are.
fn payloads(table: &Table) -> Result<Vec<Box<RawValue>>, Problem> {
    let at = table.position("payload");
    let texts = table.rows.iter().filter_map(|row| match row.get(at?) {
        Some(Cell::Text(text)) => Some(text.clone()),
        _ => None,
    });
    Ok(texts
        .map(RawValue::from_string)
        .collect::<Result<_, _>>()
        .map_err(crate::store::StoreError::Encode)?)
}

/// `POST /v1/events/{event_id}/redeliver`
pub(super) async fn redeliver(
    State(api): State<Arc<Api>>,
    PathName(event_id): PathName,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let sink = parameters.one("webhook")?;
    parameters.finish()?;
    let n_due = redeliver_now(&api, &Redelivery::Event { event_id, sink }).await?;
    Ok(Json(json!({"redelivered": n_due})))
}

pub(super) async fn redeliver_now(api: &Api, which: &Redelivery) -> Result<u64, Problem> {
    let _turn = api.admission.writer().await?;
    let n_due = api.intake.redeliver(which, api.clock.now()).await?;
    api.wakers.wake_sinks();
    Ok(n_due)
}
