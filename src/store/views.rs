//! The public views, read as tables.
//!
//! A report that may have any number of rows is read in two steps, so that nobody holds it whole: the keys of its rows,
//! in slices of a thousand, and the rows of one slice after the other. A row that has left the report between the two
//! is left out. A limit bounds the keys, and so the cost.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::StoreError;
use crate::domain::time::Timestamp;

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text.
    Text(String),
}

impl Cell {
    /// As JSON, a number as a number.
    fn to_json(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::from(*number),
            Cell::Real(number) => Value::from(*number),
            Cell::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// Rows of a view with the names of its columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of values that no view has.
    pub fn new(columns: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns: columns.iter().map(|&column| column.to_owned()).collect(), rows }
    }

    /// The position of the column with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The rows as JSON objects, their keys the columns.
    pub fn objects(&self) -> Vec<Map<String, Value>> {
        let object =
            |row: &Vec<Cell>| self.columns.iter().cloned().zip(row.iter().map(Cell::to_json)).collect();
        self.rows.iter().map(object).collect()
    }

    /// The texts of a table of one column.
    pub(super) fn into_texts(self) -> Vec<String> {
        let text = |cell| match cell {
            Cell::Text(text) => Some(text),
            _ => None,
        };
        self.rows.into_iter().flatten().filter_map(text).collect()
    }

    /// The rows of `view` as values of a type whose fields are its columns.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a field can't hold what its column has.
    pub fn read<T: DeserializeOwned>(&self, view: &'static str) -> Result<Vec<T>, StoreError> {
        let read = |row: Map<String, Value>| {
            let row = Value::Object(row);
            serde_path_to_error::deserialize(&row).map_err(|err| {
                let column = err.path().to_string();
                match row.get(&column) {
                    Some(value) => StoreError::damaged(format!("{view}.{column}"), value.to_string()),
                    None => StoreError::damaged(view, err.inner().to_string()),
                }
            })
        };
        self.objects().into_iter().map(read).collect()
    }
}

/// The views of one activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityView {
    /// `report_activities`
    Activity,
    /// `report_transitions`
    Transitions,
    /// `report_checks`
    Checks,
    /// `report_check_errors`
    CheckErrors,
    /// `report_errors`
    Errors,
    /// `report_events`
    Events,
    /// `report_deliveries`
    Deliveries,
    /// Each attempt of a webhook.
    Attempts,
}

impl ActivityView {
    /// Whether its rows are read from the last one back, because there may be more than are read.
    pub(super) const fn is_latest_first(self) -> bool {
        matches!(
            self,
            ActivityView::Transitions
                | ActivityView::Events
                | ActivityView::Deliveries
                | ActivityView::Attempts
        )
    }
}

/// The reports of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportView {
    /// Counts by VAT and state, and what is held.
    Summary,
    /// The six checks by VAT: how often each succeeded and failed.
    Checks,
    /// The rules that fail, the most frequent first.
    Rules,
    /// Devices: attempts until a PCSID, those that still have none first.
    Devices,
    /// Activities that have been watched since this time or before.
    Overdue {
        /// Now less `stalled_after`.
        watched_from: Timestamp,
    },
    /// Undelivered events by sink.
    Deliveries,
    /// Current certificates that have ended or end within this time.
    Renewals {
        /// The time now.
        now: Timestamp,
        /// How far ahead.
        within: std::time::Duration,
    },
    /// The daemons on the database, if there may be several.
    Replicas,
}

/// How many rows of a report are read at once.
pub(super) const ROWS_OF_SLICE: usize = 1_000;

/// A part of a report that is read at once: the last parameter of `ReportStatements::rows`.
#[derive(Debug, Clone)]
pub struct ReportSlice(Argument<'static>);

impl ReportSlice {
    /// At most so many rows of a report that has few.
    pub(super) fn first(at_most: i64) -> Self {
        Self(Argument::Integer(at_most))
    }

    /// A slice for each of these JSON arrays of keys; at least one, which has the columns if there are no rows.
    pub(super) fn of_keys(mut keys: Vec<String>) -> Vec<Self> {
        if keys.is_empty() {
            keys.push("[]".to_owned());
        }
        keys.into_iter().map(|keys| Self(Argument::Owned(Some(keys)))).collect()
    }
}

/// How a report is read.
pub(super) struct ReportStatements {
    /// The keys of its rows in the report's order, each JSON in the column `key`, at most as many as the last parameter
    /// says. `None`: it has few rows.
    pub keys: Option<&'static str>,
    /// Its rows. The last parameter has their keys as a JSON array; of a report without keys, it is a limit.
    pub rows: &'static str,
}

impl ReportStatements {
    /// Of a report that has few rows.
    pub(super) const fn few(rows: &'static str) -> Self {
        Self { keys: None, rows }
    }
}

/// What the keys of a report are read with.
pub(super) fn keys_arguments(report: ReportView, at_most: i64) -> Vec<Argument<'static>> {
    let at_most = Argument::Integer(at_most);
    match report {
        ReportView::Overdue { watched_from } => vec![Argument::Integer(watched_from.as_millis()), at_most],
        ReportView::Renewals { now, within } => vec![Argument::Integer((now + within).as_millis()), at_most],
        _ => vec![at_most],
    }
}

/// What a slice of a report is read with.
pub(super) fn slice_arguments(report: ReportView, slice: &ReportSlice) -> Vec<Argument<'static>> {
    let slice = slice.0.clone();
    match report {
        ReportView::Renewals { now, .. } => vec![Argument::Integer(now.as_millis()), slice],
        _ => vec![slice],
    }
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(super) enum Argument<'a> {
    Text(Option<&'a str>),
    Owned(Option<String>),
    Integer(i64),
}
