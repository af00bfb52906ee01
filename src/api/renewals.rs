//! `/v1/renewals.ics`: the days on which certificates end, for calendars.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::parameters::Parameters;
use super::problem::Problem;
use crate::calendar;

/// How long a certificate that has ended stays in the calendar.
const PAST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `GET /v1/renewals.ics`
pub(super) async fn calendar(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(query.as_deref());
    let vat = parameters.vat()?;
    parameters.finish()?;
    let now = api.clock.now();
    let endings = api.reports.calendar(now - PAST, vat.as_ref()).await?;
    let text = calendar::feed(&endings, &api.renewal, now, api.language, &api.zone);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/calendar; charset=utf-8")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("inline; filename=\"renewals.ics\"")),
    ];
    Ok((headers, text).into_response())
}
