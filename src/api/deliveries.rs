//! `/v1/deliveries`: the outbox.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::Api;
use super::parameters::Parameters;
use super::problem::Problem;
use super::slices::sliced;
use crate::domain::routing::DeliveryStatus;
use crate::store::DeliveryFilter;

/// `GET /v1/deliveries`: the latest event's first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let known = |label: String| {
        DeliveryStatus::from_label(&label).ok_or_else(|| {
            Problem::bad_parameter("Parameter `status`: it must be one of pending, delivered, dead.")
        })
    };
    let status = parameters.one("status")?.map(known).transpose()?;
    let limit = parameters.limit()?;
    let filter = DeliveryFilter {
        status,
        sink: parameters.one("sink")?,
        event_id: parameters.one("event_id")?,
        after: parameters.cursor()?,
        limit: Some(limit),
    };
    parameters.finish()?;
    let slice = api.reports.list_deliveries(&filter).await?;
    let items = slice.table.objects();
    Ok(sliced("/v1/deliveries", query.as_deref(), &slice, items))
}
