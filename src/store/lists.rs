//! Lists in slices: filtered, in a fixed order, each slice beginning where the one before it ended.

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::Store;
use super::error::StoreError;
use super::read::{Argument, Cell, Table};
use crate::domain::activity::{State, Vat};
use crate::domain::time::Timestamp;

/// A time from `from` on and before `until`; either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first time that counts.
    pub from: Option<Timestamp>,
    /// The first time that no longer counts.
    pub until: Option<Timestamp>,
}

/// Which activities to list, the latest registered first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityFilter {
    /// Only in one of these states; none: in any.
    pub states: Vec<State>,
    /// Only of this VAT.
    pub vat: Option<Vat>,
    /// Only with this `device_id`.
    pub device_id: Option<String>,
    /// Only with this `reference`.
    pub reference: Option<String>,
    /// Only registered then.
    pub registered: Span,
    /// Only concluded then.
    pub concluded: Span,
    /// Only what comes after this one.
    pub after: Option<ActivityPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

/// Which events to list, in the order in which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this type.
    pub kind: Option<String>,
    /// Only about this VAT.
    pub vat: Option<Vat>,
    /// Only about activities with this id.
    pub activity_id: Option<String>,
    /// Only from then.
    pub occurred: Span,
    /// Only what comes after this one.
    pub after: Option<EventPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

/// Which deliveries to list, the latest event first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Only with this status.
    pub status: Option<DeliveryStatus>,
    /// Only to this sink.
    pub sink: Option<String>,
    /// Only of this event.
    pub event_id: Option<String>,
    /// Only what comes after this one.
    pub after: Option<DeliveryPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It is tried.
    Pending,
    /// The sink took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryStatus {
    /// As stored and printed.
    pub const fn label(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Dead => "dead",
        }
    }
}

/// Where a list of activities goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityPosition {
    /// Epoch milliseconds.
    registered_at: i64,
    activity: i64,
}

/// Where a list of events goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPosition {
    event: i64,
}

/// Where a list of deliveries goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryPosition {
    of_event: i64,
    sink: String,
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<P> {
    /// Its rows.
    pub table: Table,
    /// Where its last row stands; `None`: it has none.
    pub last: Option<P>,
    /// Whether there are rows after it.
    pub has_more: bool,
}

/// A statement that grows by conditions.
struct Conditions<'a> {
    text: String,
    arguments: Vec<Argument<'a>>,
}

impl<'a> Conditions<'a> {
    fn new() -> Self {
        Self { text: String::from("WHERE true"), arguments: Vec::new() }
    }

    /// `condition` holds one `?` for each argument.
    fn add(&mut self, condition: &'static str, arguments: impl IntoIterator<Item = Argument<'a>>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.arguments.extend(arguments);
    }

    fn text(&mut self, condition: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.add(condition, [Argument::Text(Some(value))]);
        }
    }

    fn span(&mut self, from: &'static str, until: &'static str, span: Span) {
        if let Some(time) = span.from {
            self.add(from, [Argument::Integer(time.as_millis())]);
        }
        if let Some(time) = span.until {
            self.add(until, [Argument::Integer(time.as_millis())]);
        }
    }
}

/// One row more than asked for tells whether there are more.
fn probing_limit(limit: Option<u32>) -> Argument<'static> {
    Argument::Integer(limit.map_or(-1, |limit| i64::from(limit) + 1))
}

/// Takes the columns that only tell the position off a table, and the row that only tells that there are more.
fn slice<P>(
    mut table: Table,
    limit: Option<u32>,
    n_position_columns: usize,
    position: impl Fn(&[Cell]) -> Option<P>,
) -> Slice<P> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let has_more = table.rows.len() > limit;
    table.rows.truncate(limit);
    let n_columns = table.columns.len().saturating_sub(n_position_columns);
    let last = table.rows.last().and_then(|row| position(row.get(n_columns..).unwrap_or_default()));
    table.columns.truncate(n_columns);
    table.rows.iter_mut().for_each(|row| row.truncate(n_columns));
    Slice { table, last, has_more }
}

impl Store {
    /// Rows of `report_activities`, the latest registered first.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list_activities(
        &self,
        filter: &ActivityFilter,
    ) -> Result<Slice<ActivityPosition>, StoreError> {
        let mut conditions = Conditions::new();
        let states: Vec<&str> = filter.states.iter().map(|state| state.label()).collect();
        let states = super::as_json(&states)?;
        match filter.states.as_slice() {
            [] => {}
            // By itself the one state is found in the index in the order that is wanted.
            [state] => conditions.text("a.state = ?", Some(state.label())),
            _ => conditions.text("a.state IN (SELECT value FROM json_each(?))", Some(&states)),
        }
        conditions
            .text("a.vat_id = (SELECT id FROM vats WHERE vat = ?)", filter.vat.as_ref().map(Vat::as_str));
        conditions.text("a.device_id = ?", filter.device_id.as_deref());
        conditions.text("a.reference = ?", filter.reference.as_deref());
        conditions.span("a.registered_at >= ?", "a.registered_at < ?", filter.registered);
        conditions.span("a.concluded_at >= ?", "a.concluded_at < ?", filter.concluded);
        if let Some(after) = filter.after {
            let (registered_at, key) =
                (Argument::Integer(after.registered_at), Argument::Integer(after.activity));
            conditions.add("(a.registered_at, a.id) < (?, ?)", [registered_at, key]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT r.*, k.registered_ms, k.id
             FROM (SELECT a.id, a.vat_id, a.activity_id, a.registered_at AS registered_ms FROM activities a
                   {text} ORDER BY a.registered_at DESC, a.id DESC LIMIT ?) k
             CROSS JOIN vats v ON v.id = k.vat_id
             CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = k.activity_id
             ORDER BY k.registered_ms DESC, k.id DESC"
        );
        let table = self.table("listing activities", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 2, |cells| match cells {
            [Cell::Integer(registered_at), Cell::Integer(activity)] => {
                Some(ActivityPosition { registered_at: *registered_at, activity: *activity })
            }
            _ => None,
        }))
    }

    /// Rows of `report_events` in the order in which they were recorded.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list_events(&self, filter: &EventFilter) -> Result<Slice<EventPosition>, StoreError> {
        let mut conditions = Conditions::new();
        conditions.text("e.type = ?", filter.kind.as_deref());
        conditions.text("e.vat = ?", filter.vat.as_ref().map(Vat::as_str));
        conditions.text(
            "e.activity IN (SELECT id FROM activities WHERE activity_id = ?)",
            filter.activity_id.as_deref(),
        );
        conditions.span("e.occurred_at >= ?", "e.occurred_at < ?", filter.occurred);
        if let Some(after) = filter.after {
            conditions.add("e.seq > ?", [Argument::Integer(after.event)]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT r.*, k.seq
             FROM (SELECT e.seq, e.event_id FROM events e {text} ORDER BY e.seq LIMIT ?) k
             CROSS JOIN report_events r ON r.event_id = k.event_id
             ORDER BY k.seq"
        );
        let table = self.table("listing events", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 1, |cells| match cells {
            [Cell::Integer(event)] => Some(EventPosition { event: *event }),
            _ => None,
        }))
    }

    /// Rows of `report_deliveries` with their events' types, VATs and activities, the latest event first.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        let mut conditions = Conditions::new();
        conditions.text("d.status = ?", filter.status.map(DeliveryStatus::label));
        conditions.text("d.sink = ?", filter.sink.as_deref());
        conditions.text("d.event = (SELECT seq FROM events WHERE event_id = ?)", filter.event_id.as_deref());
        if let Some(after) = &filter.after {
            let (event, sink) = (Argument::Integer(after.of_event), Argument::Text(Some(&after.sink)));
            conditions.add("(d.event < ? OR (d.event = ? AND d.sink > ?))", [event.clone(), event, sink]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT e.type, e.vat, a.activity_id, r.*, k.event, k.sink AS position_sink
             FROM (SELECT d.event, d.sink FROM deliveries d {text} ORDER BY d.event DESC, d.sink LIMIT ?) k
             CROSS JOIN events e ON e.seq = k.event
             LEFT JOIN activities a ON a.id = e.activity
             CROSS JOIN report_deliveries r ON r.event_id = e.event_id AND r.sink = k.sink
             ORDER BY k.event DESC, k.sink"
        );
        let table = self.table("listing deliveries", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 2, |cells| match cells {
            [Cell::Integer(of_event), Cell::Text(sink)] => {
                Some(DeliveryPosition { of_event: *of_event, sink: sink.clone() })
            }
            _ => None,
        }))
    }
}
