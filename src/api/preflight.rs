//! `/v1/preflight`: are the details of a registration right? Nothing is sent or stored.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Api;
use super::headers::{is_json, media_type};
use super::parameters::Parameters;
use super::problem::{Mistake, Problem};
use crate::domain::preflight::{self, Context, Device, Finding, FindingSeverity, Unreadable};

/// Most values in a JSON body. Ten thousand registrations have half of that.
const MAX_VALUES: usize = 600_000;

/// `POST /v1/preflight`: one registration, an array of them, or CSV.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    Parameters::new(query.as_deref()).finish()?;
    // The parsed body takes much more memory than the body, so few are read at a time.
    let _turn = api.admission.heavy().await?;
    let received = api.admission.read_body(body, super::MAX_BODY_BYTES).await?;
    let body = received.bytes.as_slice();
    let devices = match media_type(&headers).as_str() {
        "text/csv" => preflight::from_csv(body).map_err(unreadable)?,
        json if is_json(json) => {
            // A parsed value takes far more memory than the two bytes that it may have in the body.
            if body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > MAX_VALUES {
                return Err(Problem::too_large(format!("At most {MAX_VALUES} values are accepted.")));
            }
            let value: Value = serde_json::from_slice(body)
                .map_err(|err| Problem::bad_body(format!("The body is not JSON: {err}.")))?;
            preflight::from_value(&value).map_err(unreadable)?
        }
        _ => return Err(Problem::not_json()),
    };
    let checked = checked(&api, devices).await?;
    let count = |severity: FindingSeverity, findings: &[Finding]| {
        findings.iter().filter(|finding| finding.severity == severity).count()
    };
    let total = |severity| checked.iter().map(|(_, findings)| count(severity, findings)).sum::<usize>();
    let (errors, warnings) = (total(FindingSeverity::Error), total(FindingSeverity::Warning));
    let devices: Vec<Value> = checked
        .iter()
        .map(|(device, findings)| {
            let recognised: Vec<Value> = device
                .recognised()
                .into_iter()
                .map(|(key, field)| json!({ "key": key, "field": field }))
                .collect();
            json!({
                "name": device.name(),
                "line": device.line,
                "errors": count(FindingSeverity::Error, findings),
                "warnings": count(FindingSeverity::Warning, findings),
                "findings": findings,
                "recognised": recognised,
                "not_recognised": device.unknown(),
            })
        })
        .collect();
    Ok(Json(json!({ "errors": errors, "warnings": warnings, "devices": devices })))
}

/// Each device with all that is found about it, what the database knows included.
pub(super) async fn checked(api: &Api, devices: Vec<Device>) -> Result<Vec<(Device, Vec<Finding>)>, Problem> {
    let known = api.reports.known_devices(&devices, api.clock.now()).await?;
    let findings = preflight::check_all(&devices, Context::of_upstream(&api.base_url), &known);
    Ok(devices.into_iter().zip(findings).collect())
}

fn unreadable(err: Unreadable) -> Problem {
    let pointer = if err.place.starts_with('/') { err.place.clone() } else { String::new() };
    Problem::invalid(Mistake { pointer, detail: format!("{err}.") }.into())
}
