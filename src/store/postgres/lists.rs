//! Lists in slices: the statements.

use sqlx::AssertSqlSafe;

use super::Store;
use super::error::StoreError;
use crate::store::lists::{
    ActivityFilter, ActivityPosition, Conditions, DeliveryFilter, DeliveryPosition, EventFilter,
    EventPosition, MAX_COUNTED, MAX_SLICE_BYTES, Slice, Total, probing_limit,
};
use crate::store::views::{Argument, Table};

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
        let table = self.list("listing activities", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
    }

    pub async fn count_activities(&self, filter: &ActivityFilter) -> Result<Total, StoreError> {
        let everything = ActivityFilter { after: None, limit: None, ..filter.clone() };
        let (statement, arguments, is_bounded) = if filter.is_tallied() {
            let statement = "SELECT coalesce(sum(n), 0)::bigint FROM tally_states
                 WHERE ($1 = '' OR state = ANY (string_to_array($1, ',')))
                   AND ($2::text IS NULL OR vat_id = (SELECT id FROM vats WHERE vat = $2))";
            let vat = filter.vat.as_ref().map(|vat| vat.to_string());
            let states = Argument::Owned(Some(joined(filter)));
            (statement.to_owned(), vec![states, Argument::Owned(vat)], false)
        } else {
            let limit = probing_limit(Some(MAX_COUNTED));
            let (keys, arguments) = keys_of(&everything, limit);
            (numbered(&format!("SELECT count(*) FROM ({keys}) k")), arguments, true)
        };
        let table = self.list("counting activities", is_bounded, statement, &arguments).await?;
        Ok(Total::of(&table, is_bounded))
    }

    /// Reads a list. An expensive one waits for its turn, and has a time limit.
    async fn list(
        &self,
        operation: &'static str,
        is_expensive: bool,
        statement: String,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        match is_expensive {
            true => self.bounded_table(operation, AssertSqlSafe(statement), arguments).await,
            false => self.table(operation, AssertSqlSafe(statement), arguments).await,
        }
    }

    pub async fn list_events(&self, filter: &EventFilter) -> Result<Slice<EventPosition>, StoreError> {
        let Conditions { text, mut arguments } = filter.conditions();
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
        let table = self.list("listing events", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
    }

    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        let Conditions { text, mut arguments } = filter.conditions();
        arguments.push(probing_limit(filter.limit));
        let statement = numbered(&format!(
            "SELECT e.type, e.vat, a.activity_id, r.*, k.event, k.sink AS position_sink
             FROM (SELECT d.event, d.sink FROM deliveries d {text} ORDER BY d.event DESC, d.sink {LIMIT}) k
             JOIN events e ON e.seq = k.event
             LEFT JOIN activities a ON a.id = e.activity
             JOIN report_deliveries r ON r.event_id = e.event_id AND r.sink = k.sink
             ORDER BY k.event DESC, k.sink"
        ));
        let table = self.list("listing deliveries", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
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
    for part in filter.search_parts() {
        conditions.add(
            "EXISTS (SELECT 1 FROM search_texts s
                     WHERE s.registered_at = a.registered_at AND s.activity = a.id AND strpos(s.text, ?) > 0)",
            [Argument::Owned(Some(part))],
        );
    }
    match filter.states.as_slice() {
        [] => {}
        // One state's activities are in the wanted order in its index.
        [state] => conditions.add("a.state = ?", [owned(state.label())]),
        _ => {
            conditions.add("a.state = ANY (string_to_array(?, ','))", [Argument::Owned(Some(joined(filter)))])
        }
    }
    if let Some(rule) = &filter.rule {
        conditions.add("a.id IN (SELECT activity FROM check_errors WHERE rule = ?)", [owned(rule)]);
    }
    filter.add_plain_conditions(&mut conditions);
    let Conditions { text, mut arguments } = conditions;
    arguments.push(limit);
    let statement = format!(
        "SELECT a.id, a.{column} AS at_ms FROM activities a {text}
         ORDER BY a.{column} {direction}, a.id {direction} {LIMIT}"
    );
    (statement, arguments)
}
