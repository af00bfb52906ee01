//! All that is known of an activity as one JSON object: what `show --format json` prints, `GET /v1/activities/{id}`
//! answers and the activity's page is drawn from.

use serde_json::{Map, Value};

use super::error::StoreError;
use super::read::ActivityView;
use super::{ActivityRef, Reports};
use crate::domain::activity::Vat;

/// See [`Reports::history`].
pub(super) async fn history(
    reports: &Reports,
    wanted: &ActivityRef,
) -> Result<Map<String, Value>, StoreError> {
    let found = reports.rows_of(ActivityView::Activity, wanted).await?.objects();
    whole(reports, wanted, StoreError::only(found, wanted)?).await
}

/// See [`Reports::histories`].
pub(super) async fn histories(
    reports: &Reports,
    wanted: &ActivityRef,
) -> Result<Vec<Map<String, Value>>, StoreError> {
    let mut histories = Vec::new();
    for activity in reports.rows_of(ActivityView::Activity, wanted).await?.objects() {
        histories.push(whole(reports, wanted, activity).await?);
    }
    if histories.is_empty() {
        return Err(StoreError::unknown(wanted));
    }
    Ok(histories)
}

/// The activity with all that belongs to it.
async fn whole(
    reports: &Reports,
    wanted: &ActivityRef,
    mut activity: Map<String, Value>,
) -> Result<Map<String, Value>, StoreError> {
    let text = |key: &str| activity.get(key).and_then(Value::as_str).unwrap_or_default();
    let vat = Vat::parse(text("vat")).ok();
    let wanted = ActivityRef { activity_id: wanted.activity_id.clone(), vat };
    let former = match activity.get("device_id") {
        Some(Value::String(_)) => reports.former_attempt(text("vat"), text("activity_id")).await?,
        _ => None,
    };
    let mut check_errors = reports.rows_of(ActivityView::CheckErrors, &wanted).await?.objects();
    for (key, view) in [
        ("transitions", ActivityView::Transitions),
        ("checks", ActivityView::Checks),
        ("errors", ActivityView::Errors),
        ("events", ActivityView::Events),
        ("deliveries", ActivityView::Deliveries),
        ("attempts", ActivityView::Attempts),
    ] {
        let mut rows = reports.rows_of(view, &wanted).await?.objects();
        if view == ActivityView::Checks {
            for check in &mut rows {
                let errors =
                    take(&mut check_errors, |error| error.get("check_name") == check.get("check_name"));
                check.insert("errors".to_owned(), own_fields(errors));
            }
        }
        activity.insert(key.to_owned(), own_fields(rows));
    }
    activity.insert("former_attempt".to_owned(), serde_json::to_value(former).map_err(StoreError::Encode)?);
    Ok(activity)
}

fn take(
    rows: &mut Vec<Map<String, Value>>,
    belongs: impl Fn(&Map<String, Value>) -> bool,
) -> Vec<Map<String, Value>> {
    let (own, others) = std::mem::take(rows).into_iter().partition(|row| belongs(row));
    *rows = others;
    own
}

/// The rows without the columns that only say whose they are.
fn own_fields(mut rows: Vec<Map<String, Value>>) -> Value {
    for row in &mut rows {
        row.shift_remove("vat");
        row.shift_remove("activity_id");
    }
    Value::Array(rows.into_iter().map(Value::Object).collect())
}
