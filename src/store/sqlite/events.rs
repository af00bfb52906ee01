//! Events and what is to be delivered of them.

use sqlx::SqliteConnection;

use super::as_json;
use super::error::StoreError;
use crate::domain::event::Event;
use crate::domain::routing::Route;

/// Within a transaction: stores events, each with the key of its activity, and one delivery for every sink that
/// takes them. An event that is stored already stays as it is.
pub(super) async fn write_events(
    connection: &mut SqliteConnection,
    routes: &[Route],
    events: &[(Option<i64>, &Event)],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = events
        .iter()
        .map(|(activity, event)| {
            let vat = event.vat.as_ref().map(|vat| vat.as_str());
            (event.id, event.kind.label(), activity, vat, event.occurred_at.as_millis(), &event.payload)
        })
        .collect();
    let statement = "INSERT INTO events (event_id, type, activity, vat, occurred_at, payload)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?1) WHERE true ORDER BY key
         ON CONFLICT (event_id) DO NOTHING";
    insert(connection, statement, as_json(&rows)?, "recording events").await?;
    let deliveries: Vec<_> = events
        .iter()
        .flat_map(|(_, event)| {
            let takers = routes.iter().filter(|route| route.takes(event));
            takers.map(|route| (event.id, &route.sink, event.occurred_at.as_millis()))
        })
        .collect();
    let statement = "INSERT INTO deliveries (event, sink, status, tried_from, next_attempt_at)
         SELECT e.seq, j.value ->> 1, 'pending', j.value ->> 2, j.value ->> 2
         FROM json_each(?1) j JOIN events e ON e.event_id = j.value ->> 0
         WHERE true
         ON CONFLICT (event, sink) DO NOTHING";
    insert(connection, statement, as_json(&deliveries)?, "recording deliveries").await
}

/// A set-based insert: one statement for all rows of the JSON text.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: String,
    operation: &'static str,
) -> Result<(), StoreError> {
    sqlx::query(statement).bind(rows).execute(connection).await.map_err(StoreError::query(operation))?;
    Ok(())
}
