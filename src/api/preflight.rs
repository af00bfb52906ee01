//! `/v1/preflight`: are the details of a registration right? Nothing is sent or stored.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use super::headers::{is_json, media_type};
use super::parameters::Parameters;
use super::problem::{Mistake, Problem};
use super::streaming::{BodySender, streamed};
use crate::domain::preflight::{self, Context, Device, Finding, FindingSeverity, Known, Unreadable};

/// Most values in a JSON body. Ten thousand registrations have half of that.
const MAX_VALUES: usize = 600_000;

/// How much of an answer is made before it is sent.
const PART_BYTES: usize = 64 * 1024;

/// `POST /v1/preflight`: one registration, an array of them, or CSV.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::new(query.as_deref()).finish()?;
    let received = api.admission.read_body(body, super::MAX_BODY_BYTES).await?;
    // The parsed body takes much more memory than the body, so few are checked at a time. Nobody has a turn while his
    // body arrives: he could keep it from all others.
    let turn = api.admission.heavy().await?;
    let media_type = media_type(&headers);
    // A long body takes seconds, and the threads of HTTP answer probes meanwhile. The turn lasts as long as the work,
    // even if nobody waits for it any more.
    let reading = tokio::task::spawn_blocking(move || (read(&media_type, received.bytes.as_slice()), turn));
    let (devices, turn) = reading.await.map_err(|_| Problem::timed_out())?;
    let devices = devices?;
    let known = api.reports.known_devices(&devices, api.clock.now()).await?;
    let context = Context::of_upstream(&api.base_url);
    let (parts, body) = streamed();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        // This fails if the client has gone.
        let _ = send(&devices, context, &known, &parts);
    });
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn read(media_type: &str, body: &[u8]) -> Result<Vec<Device>, Problem> {
    match media_type {
        "text/csv" => preflight::from_csv(body).map_err(unreadable),
        json if is_json(json) => {
            // A parsed value takes far more memory than the two bytes that it may have in the body.
            if body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > MAX_VALUES {
                return Err(Problem::too_large(format!("At most {MAX_VALUES} values are accepted.")));
            }
            let value: Value = serde_json::from_slice(body)
                .map_err(|err| Problem::bad_body(format!("The body is not JSON: {err}.")))?;
            preflight::from_value(&value).map_err(unreadable)
        }
        _ => Err(Problem::not_json()),
    }
}

/// Sends what is found, device by device: all of it together would take hundreds of MiB.
fn send(
    devices: &[Device],
    context: Context,
    known: &[Vec<Known>],
    parts: &BodySender,
) -> Result<(), axum::BoxError> {
    let count = |severity: FindingSeverity, findings: &[Finding]| {
        findings.iter().filter(|finding| finding.severity == severity).count()
    };
    let (mut n_errors, mut n_warnings) = (0, 0);
    let mut text = b"{\"devices\":[".to_vec();
    for (nth, (device, findings)) in
        devices.iter().zip(preflight::check_each(devices, context, known)).enumerate()
    {
        let errors = count(FindingSeverity::Error, &findings);
        let warnings = count(FindingSeverity::Warning, &findings);
        (n_errors, n_warnings) = (n_errors + errors, n_warnings + warnings);
        let recognised: Vec<Value> = device
            .recognised()
            .into_iter()
            .map(|(key, field)| json!({ "key": key, "field": field }))
            .collect();
        let checked = json!({
            "name": device.name(),
            "line": device.line,
            "errors": errors,
            "warnings": warnings,
            "findings": findings,
            "recognised": recognised,
            "not_recognised": device.unknown(),
        });
        if nth > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, &checked)?;
        if text.len() >= PART_BYTES {
            parts.blocking_send(Ok(std::mem::take(&mut text).into()))?;
        }
    }
    text.extend_from_slice(format!("],\"errors\":{n_errors},\"warnings\":{n_warnings}}}").as_bytes());
    Ok(parts.blocking_send(Ok(text.into()))?)
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
