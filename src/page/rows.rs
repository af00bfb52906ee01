//! Rows of the public views as the JSON objects that the store tells histories in.

use serde_json::{Map, Value};

use crate::domain::time::Timestamp;

/// A row, its keys the columns.
pub(super) type Row = Map<String, Value>;

/// A text; `None` for null and for nothing.
pub(super) fn text<'a>(row: &'a Row, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A text that is always there.
pub(super) fn text_of<'a>(row: &'a Row, key: &str) -> &'a str {
    text(row, key).unwrap_or_default()
}

/// A whole number that is not negative.
pub(super) fn count(row: &Row, key: &str) -> Option<u64> {
    row.get(key).and_then(Value::as_i64).and_then(|n| u64::try_from(n).ok())
}

/// A time.
pub(super) fn time(row: &Row, key: &str) -> Option<Timestamp> {
    text(row, key).and_then(Timestamp::parse_lenient)
}

/// The rows below a row.
pub(super) fn below<'a>(row: &'a Row, key: &str) -> impl Iterator<Item = &'a Row> + use<'a> {
    row.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}
