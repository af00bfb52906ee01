//! One shape for one thing: what the views have as flat columns, `/v1` has as events have it.
//!
//! Views serve SQL, where a name stands alone and a value has no inside; a program that reads both events and `/v1` should
//! need one set of types.

use serde_json::{Map, Value};

/// A row of a view, and everything below it, by the names of an event's `data`. Columns that events don't have keep theirs.
pub(super) fn shaped(row: Map<String, Value>) -> Map<String, Value> {
    let mut shaped = Map::new();
    let n_left_out = row.get("errors_left_out").and_then(Value::as_u64).unwrap_or(0);
    for (name, value) in row {
        match name.as_str() {
            "total_count" => put(&mut shaped, "counts", "total", value),
            "success_count" => put(&mut shaped, "counts", "success", value),
            "failure_count" => put(&mut shaped, "counts", "failure", value),
            "upstream_created_at" => set(&mut shaped, "created_at", value),
            "upstream_updated_at" => set(&mut shaped, "updated_at", value),
            "upstream_completed_at" => set(&mut shaped, "completed_at", value),
            "poll_count" => set(&mut shaped, "polls", value),
            "check_name" => set(&mut shaped, "name", value),
            "error_code" => set(&mut shaped, "code", value),
            "error_message" => set(&mut shaped, "message", value),
            "error_source" => set(&mut shaped, "source", value),
            "meaning" | "remedy" | "next_step" => put(&mut shaped, &name, "en", value),
            "meaning_ar" | "remedy_ar" | "next_step_ar" => {
                put(&mut shaped, name.trim_end_matches("_ar"), "ar", value);
            }
            // Beside the sentences as in events, and on their own as in the view.
            "next_step_kind" | "next_step_owner" => {
                put(&mut shaped, "next_step", name.trim_start_matches("next_step_"), value.clone());
                set(&mut shaped, &name, value);
            }
            "checks" => set(&mut shaped, &name, each(value, shaped_part)),
            "errors" => {
                let n_errors = value.as_array().map_or(0, Vec::len) as u64;
                set(&mut shaped, &name, each(value, shaped_part));
                set(&mut shaped, "error_count", Value::from(n_errors + n_left_out));
            }
            // Said by `error_count`.
            "errors_left_out" => {}
            "events" => set(&mut shaped, &name, each(value, shaped_event)),
            _ => set(&mut shaped, &name, value),
        }
    }
    for name in ["meaning", "remedy", "next_step"] {
        let is_nothing = |value: &Value| value.as_object().is_some_and(|of| of.values().all(Value::is_null));
        if let Some(value) = shaped.get_mut(name).filter(|value| is_nothing(value)) {
            *value = Value::Null;
        }
    }
    shaped
}

/// A whole history, and whether anything of what upstream said was left out of it.
pub(super) fn shaped_history(row: Map<String, Value>) -> Map<String, Value> {
    let is_cut = |row: &Map<String, Value>| row.get("errors_left_out").is_some_and(|n| n.as_u64() > Some(0));
    let checks = row.get("checks").and_then(Value::as_array).into_iter().flatten();
    let truncated = is_cut(&row) || checks.filter_map(Value::as_object).any(is_cut);
    let mut shaped = shaped(row);
    set(&mut shaped, "truncated", Value::from(truncated));
    shaped
}

/// An entry of a list; an error in a check need not say whose it is.
fn shaped_part(mut row: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(errors)) = row.get_mut("errors") {
        for error in errors.iter_mut().filter_map(Value::as_object_mut) {
            error.shift_remove("check_name");
        }
    }
    shaped(row)
}

fn shaped_event(row: Map<String, Value>) -> Map<String, Value> {
    let name = |name: String| match name.as_str() {
        "event_id" => "id".to_owned(),
        "occurred_at" => "timestamp".to_owned(),
        _ => name,
    };
    row.into_iter().map(|(key, value)| (name(key), value)).collect()
}

fn each(list: Value, shape: impl Fn(Map<String, Value>) -> Map<String, Value>) -> Value {
    match list {
        Value::Array(rows) => rows
            .into_iter()
            .map(|row| match row {
                Value::Object(row) => Value::Object(shape(row)),
                other => other,
            })
            .collect(),
        other => other,
    }
}

fn set(shaped: &mut Map<String, Value>, name: &str, value: Value) {
    shaped.insert(name.to_owned(), value);
}

/// Sets a value of the object with this name.
fn put(shaped: &mut Map<String, Value>, object: &str, name: &str, value: Value) {
    let object = shaped.entry(object).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(object) = object {
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{shaped, shaped_history};

    #[test]
    fn a_history_has_the_names_of_events() {
        let row = json!({
            "vat": "3", "total_count": 6, "success_count": 5, "failure_count": 1, "upstream_created_at": "t0",
            "upstream_updated_at": "t1", "upstream_completed_at": null, "poll_count": 2,
            "next_step": "Wait.", "next_step_ar": "…", "next_step_kind": "wait", "next_step_owner": null,
            "errors_left_out": 0,
            "checks": [{"check_name": "A", "errors_left_out": 4, "errors": [
                {"check_name": "A", "rule": "R", "meaning": "m", "remedy": null, "meaning_ar": "م", "remedy_ar": null}]}],
            "errors": [{"position": 1, "error_code": "6", "error_message": "x", "error_source": null}],
            "events": [{"event_id": "e", "type": "t", "occurred_at": "t2"}],
            "former_attempt": null,
        });
        let Value::Object(row) = row else { unreachable!() };
        let expected = json!({
            "vat": "3", "counts": {"total": 6, "success": 5, "failure": 1}, "created_at": "t0",
            "updated_at": "t1", "completed_at": null, "polls": 2,
            "next_step": {"en": "Wait.", "ar": "…", "kind": "wait", "owner": null},
            "next_step_kind": "wait", "next_step_owner": null,
            "checks": [{"name": "A", "errors": [
                {"rule": "R", "meaning": {"en": "m", "ar": "م"}, "remedy": null}], "error_count": 5}],
            "errors": [{"position": 1, "code": "6", "message": "x", "source": null}], "error_count": 1,
            "events": [{"id": "e", "type": "t", "timestamp": "t2"}],
            "former_attempt": null, "truncated": true,
        });
        assert_eq!(Value::Object(shaped_history(row)), expected);
        let Value::Object(without) = json!({"next_step": null, "next_step_ar": null}) else { unreachable!() };
        assert_eq!(Value::Object(shaped(without)), json!({"next_step": null}));
    }
}
