//! Lists in slices.

use sqlx::AssertSqlSafe;

use super::Store;
use super::error::StoreError;
use crate::domain::activity::Vat;
use crate::store::lists::{
    ActivityFilter, ActivityOrder, ActivityPosition, Conditions, DeliveryFilter, DeliveryPosition,
    DeliveryStatus, EventFilter, EventPosition, MAX_COUNTED, MAX_PARTS, MAX_SLICE_BYTES, Slice, Total,
    probing_limit, slice, slice_of_events,
};
use crate::store::read::{Argument, Cell, Table};
use crate::words::folded;

/// A statement with one `?` for each argument, as PostgreSQL numbers them.
fn numbered(statement: &str) -> String {
    let mut parts = statement.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (nth, part) in (1..).zip(parts) {
        text.push_str(&format!("${nth}{part}"));
    }
    text
}

/// No limit is written as -1, which PostgreSQL refuses.
const LIMIT: &str = "LIMIT nullif(?::bigint, -1)";

impl Store {
    pub async fn list_activities(
        &self,
        filter: &ActivityFilter,
    ) -> Result<Slice<ActivityPosition>, StoreError> {
        let (column, direction) = (filter.order.column(), filter.order.direction());
        let (keys, arguments) = keys_of(filter, probing_limit(filter.limit));
        let statement = numbered(&format!(
            "SELECT r.*, k.at_ms, k.id
             FROM ({keys}) k
             JOIN activities a ON a.id = k.id
             JOIN vats v ON v.id = a.vat_id
             JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
             ORDER BY a.{column} {direction}, k.id {direction}"
        ));
        let table = self.list("listing activities", filter.is_dear(), statement, &arguments).await?;
        Ok(slice(table, filter.limit, 2, filter.after, |cells| match cells {
            [Cell::Integer(at), Cell::Integer(activity)] => {
                Some(ActivityPosition { at: *at, activity: *activity })
            }
            _ => None,
        }))
    }

    pub async fn count_activities(&self, filter: &ActivityFilter) -> Result<Total, StoreError> {
        let everything = ActivityFilter { after: None, limit: None, ..filter.clone() };
        let is_tallied = ActivityFilter {
            states: filter.states.clone(),
            vat: filter.vat.clone(),
            ..ActivityFilter::default()
        } == everything;
        let (statement, arguments, is_bounded) = if is_tallied {
            let statement = "SELECT coalesce(sum(n), 0)::bigint FROM tally_states
                 WHERE ($1 = '' OR state = ANY (string_to_array($1, ',')))
                   AND ($2::text IS NULL OR vat_id = (SELECT id FROM vats WHERE vat = $2))";
            let vat = filter.vat.as_ref().map(|vat| vat.to_string());
            let states = Argument::Owned(Some(joined(filter)));
            (statement.to_owned(), vec![states, Argument::Owned(vat)], false)
        } else {
            let limit = Argument::Integer(i64::try_from(MAX_COUNTED).unwrap_or(i64::MAX) + 1);
            let (keys, arguments) = keys_of(&everything, limit);
            (numbered(&format!("SELECT count(*) FROM ({keys}) k")), arguments, true)
        };
        let table = self.list("counting activities", is_bounded, statement, &arguments).await?;
        let n = match table.rows.first().and_then(|row| row.first()) {
            Some(Cell::Integer(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        Ok(if is_bounded && n > MAX_COUNTED { Total::MoreThan(MAX_COUNTED) } else { Total::Exactly(n) })
    }

    /// Reads a list; one that may have to look at everything has its time and waits for its turn.
    async fn list(
        &self,
        operation: &'static str,
        is_dear: bool,
        statement: String,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        match is_dear {
            true => self.bounded_table(operation, AssertSqlSafe(statement), arguments).await,
            false => self.table(operation, AssertSqlSafe(statement), arguments).await,
        }
    }

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
        let statement = numbered(&format!(
            "SELECT r.*, k.seq, k.n_found
             FROM (SELECT seq, event_id, sum(n_bytes) OVER (ORDER BY seq) - n_bytes AS n_before,
                          count(*) OVER () AS n_found
                   FROM (SELECT e.seq, e.event_id, octet_length(e.payload) AS n_bytes
                         FROM events e {text} ORDER BY e.seq {LIMIT}) f) k
             JOIN report_events r ON r.event_id = k.event_id
             WHERE k.n_before < {MAX_SLICE_BYTES}
             ORDER BY k.seq"
        ));
        let table = self.list("listing events", filter.is_dear(), statement, &arguments).await?;
        Ok(slice_of_events(table, filter))
    }

    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        let mut conditions = Conditions::new();
        let status = match filter.status {
            // For the index, which has what is still open alone.
            Some(DeliveryStatus::Pending | DeliveryStatus::Dead) => {
                "d.status <> 'delivered' AND d.status = ?"
            }
            _ => "d.status = ?",
        };
        conditions.text(status, filter.status.map(DeliveryStatus::label));
        conditions.text("d.sink = ?", filter.sink.as_deref());
        conditions.text("d.event = (SELECT seq FROM events WHERE event_id = ?)", filter.event_id.as_deref());
        if let Some(after) = &filter.after {
            let (event, sink) = (Argument::Integer(after.event), Argument::Text(Some(&after.sink)));
            conditions.add("(d.event < ? OR (d.event = ? AND d.sink > ?))", [event.clone(), event, sink]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = numbered(&format!(
            "SELECT e.type, e.vat, a.activity_id, r.*, k.event, k.sink AS position_sink
             FROM (SELECT d.event, d.sink FROM deliveries d {text} ORDER BY d.event DESC, d.sink {LIMIT}) k
             JOIN events e ON e.seq = k.event
             LEFT JOIN activities a ON a.id = e.activity
             JOIN report_deliveries r ON r.event_id = e.event_id AND r.sink = k.sink
             ORDER BY k.event DESC, k.sink"
        ));
        let table = self.list("listing deliveries", filter.is_dear(), statement, &arguments).await?;
        Ok(slice(table, filter.limit, 2, filter.after.clone(), |cells| match cells {
            [Cell::Integer(event), Cell::Text(sink)] => {
                Some(DeliveryPosition { event: *event, sink: sink.clone() })
            }
            _ => None,
        }))
    }
}

fn joined(filter: &ActivityFilter) -> String {
    filter.states.iter().map(|state| state.label()).collect::<Vec<_>>().join(",")
}

/// A statement that yields the activities of a filter as `id` and `at_ms`, in order, with a `?` for each argument.
fn keys_of(filter: &ActivityFilter, limit: Argument<'static>) -> (String, Vec<Argument<'static>>) {
    let (column, direction) = (filter.order.column(), filter.order.direction());
    let owned = |text: &str| Argument::Owned(Some(text.to_owned()));
    let mut conditions = Conditions::new();
    let parts = filter.search.as_deref().map(folded).unwrap_or_default();
    for part in parts.split_whitespace().take(MAX_PARTS) {
        conditions.add(
            "EXISTS (SELECT 1 FROM search_texts s
                     WHERE s.registered_at = a.registered_at AND s.activity = a.id AND strpos(s.text, ?) > 0)",
            [owned(part)],
        );
    }
    match filter.states.as_slice() {
        [] => {}
        // By itself the one state is found in the index in the order that is wanted.
        [state] => conditions.add("a.state = ?", [owned(state.label())]),
        _ => {
            conditions.add("a.state = ANY (string_to_array(?, ','))", [Argument::Owned(Some(joined(filter)))])
        }
    }
    if let Some(vat) = &filter.vat {
        conditions.add("a.vat_id = (SELECT id FROM vats WHERE vat = ?)", [owned(vat.as_str())]);
    }
    if let Some(owner) = filter.owner {
        conditions.add("a.next_step_owner = ?", [owned(owner.label())]);
    }
    if let Some(rule) = &filter.rule {
        conditions.add("a.id IN (SELECT activity FROM check_errors WHERE rule = ?)", [owned(rule)]);
    }
    if let Some(device_id) = &filter.device_id {
        conditions.add("a.device_id = ?", [owned(device_id)]);
    }
    if let Some(reference) = &filter.reference {
        conditions.add("a.reference = ?", [owned(reference)]);
    }
    conditions.span("a.registered_at >= ?", "a.registered_at < ?", filter.registered);
    conditions.span("a.concluded_at >= ?", "a.concluded_at < ?", filter.concluded);
    if let Some(after) = filter.after {
        let condition = match filter.order {
            ActivityOrder::LatestAdded => "(a.registered_at, a.id) < (?, ?)",
            ActivityOrder::FirstAdded => "(a.registered_at, a.id) > (?, ?)",
            ActivityOrder::LatestEnded => "(a.concluded_at, a.id) < (?, ?)",
            ActivityOrder::FirstEnded => "(a.concluded_at, a.id) > (?, ?)",
        };
        conditions.add(condition, [Argument::Integer(after.at), Argument::Integer(after.activity)]);
    }
    if filter.order.is_by_end() {
        conditions.add("a.concluded_at IS NOT NULL", []);
    }
    let Conditions { text, mut arguments } = conditions;
    arguments.push(limit);
    let statement = format!(
        "SELECT a.id, a.{column} AS at_ms FROM activities a {text}
         ORDER BY a.{column} {direction}, a.id {direction} {LIMIT}"
    );
    (statement, arguments)
}
