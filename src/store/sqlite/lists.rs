//! Lists in slices: filtered, in a fixed order, each slice beginning where the one before it ended.

use std::fmt;
use std::str::FromStr;

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
    /// Only where this is the id, the `device_id`, the `reference` or the VAT.
    pub named: Option<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Where a list of activities goes on. Its text is the same number of hexadecimal digits always, and all digits mean
/// some place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityPosition {
    /// Epoch milliseconds.
    registered_at: i64,
    activity: i64,
}

/// Where a list of events goes on; text as with [`ActivityPosition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPosition {
    event: i64,
}

/// Where a list of deliveries goes on; text as with [`ActivityPosition`], as long as the sink's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPosition {
    event: i64,
    sink: String,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPosition;

impl fmt::Display for ActivityPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.registered_at, self.activity)
    }
}

impl FromStr for ActivityPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (registered_at, activity) = text.split_at_checked(16).ok_or(NoPosition)?;
        Ok(Self { registered_at: number(registered_at)?, activity: number(activity)? })
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.event)
    }
}

impl FromStr for EventPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        Ok(Self { event: number(text)? })
    }
}

impl fmt::Display for DeliveryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.event)?;
        self.sink.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for DeliveryPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (event, sink) = text.split_at_checked(16).ok_or(NoPosition)?;
        let bytes: Option<Vec<u8>> = sink
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
            })
            .collect();
        let sink = String::from_utf8_lossy(&bytes.ok_or(NoPosition)?).into_owned();
        Ok(Self { event: number(event)?, sink })
    }
}

/// Sixteen hexadecimal digits; what is stored is never negative.
fn number(text: &str) -> Result<i64, NoPosition> {
    match text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => i64::from_str_radix(text, 16).map_err(|_| NoPosition),
        false => Err(NoPosition),
    }
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<P> {
    /// Its rows.
    pub table: Table,
    /// Where its last row stands, or where it begins if it has none; `None`: it has none and begins at the start.
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
    began_after: Option<P>,
    position: impl Fn(&[Cell]) -> Option<P>,
) -> Slice<P> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let has_more = table.rows.len() > limit;
    table.rows.truncate(limit);
    let n_columns = table.columns.len().saturating_sub(n_position_columns);
    let last = table.rows.last().and_then(|row| position(row.get(n_columns..).unwrap_or_default()));
    let last = last.or(began_after);
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
        if let Some(name) = &filter.named {
            // A union, so that each part is looked up in its own index.
            conditions.add(
                "a.id IN (SELECT id FROM activities WHERE activity_id = ?
                          UNION ALL SELECT id FROM activities WHERE device_id = ?
                          UNION ALL SELECT id FROM activities WHERE reference = ?
                          UNION ALL SELECT id FROM activities WHERE vat_id = (SELECT id FROM vats WHERE vat = ?))",
                std::iter::repeat_n(Argument::Text(Some(name)), 4),
            );
        }
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
        Ok(slice(table, filter.limit, 2, filter.after, |cells| match cells {
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
        Ok(slice(table, filter.limit, 1, filter.after, |cells| match cells {
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
            let (event, sink) = (Argument::Integer(after.event), Argument::Text(Some(&after.sink)));
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
        Ok(slice(table, filter.limit, 2, filter.after.clone(), |cells| match cells {
            [Cell::Integer(event), Cell::Text(sink)] => {
                Some(DeliveryPosition { event: *event, sink: sink.clone() })
            }
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_position_survives_its_text(first in 0..i64::MAX, second in 0..i64::MAX, sink in "[A-Za-z0-9_.-]{1,64}") {
            let activity = ActivityPosition { registered_at: first, activity: second };
            prop_assert_eq!(activity.to_string().parse(), Ok(activity));
            let event = EventPosition { event: first };
            prop_assert_eq!(event.to_string().parse(), Ok(event));
            let delivery = DeliveryPosition { event: first, sink };
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<ActivityPosition>();
            let _ = text.parse::<EventPosition>();
            let _ = text.parse::<DeliveryPosition>();
        }
    }

    #[test]
    fn what_no_list_gives_is_no_position() {
        for text in [
            "",
            "0",
            "+000000000000001",
            "00000000000000001",
            "é000000000000000",
            "zzzzzzzzzzzzzzzz",
            "8000000000000000",
        ] {
            assert_eq!(text.parse::<EventPosition>(), Err(NoPosition), "{text}");
            assert_eq!(text.parse::<ActivityPosition>(), Err(NoPosition), "{text}");
        }
        assert_eq!("00000000000000011".parse::<DeliveryPosition>(), Err(NoPosition));
    }
}
