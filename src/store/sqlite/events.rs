//! Events and what is to be delivered of them.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::error::StoreError;
use super::rows::{Row, with_rows};
use crate::domain::activity::Vat;
use crate::domain::event::Event;
use crate::domain::routing::Route;

/// Within a transaction: stores events, each with the key of its activity, and one delivery for every sink that
/// takes them. An event that is stored already stays as it is. Answers with each event's key, in their order; with none
/// if one of them was stored already.
pub(super) async fn write_events(
    connection: &mut SqliteConnection,
    routes: &[Route],
    events: &[(Option<i64>, &Event)],
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let columns = "event_id, type, activity, vat, occurred_at, payload";
    let statement = "INSERT INTO events (event_id, type, activity, vat, occurred_at, payload)
         SELECT event_id, type, activity, vat, occurred_at, payload FROM j WHERE event_id IS NOT NULL
         ON CONFLICT (event_id) DO NOTHING";
    let bind = |row: &mut Row, one: Option<&(Option<i64>, &Event)>| {
        let event = one.map(|(_, event)| event);
        row.push_bind(event.map(|event| event.id.to_string()))
            .push_bind(event.map(|event| event.kind.label()))
            .push_bind(one.and_then(|(activity, _)| *activity))
            .push_bind(event.and_then(|event| event.vat.as_ref()).map(Vat::as_str))
            .push_bind(event.map(|event| event.occurred_at.as_millis()))
            .push_bind(event.map(|event| event.payload.as_str()));
    };
    let written = with_rows(connection, columns, statement, events, bind, "recording events").await?;
    let statement = "INSERT INTO deliveries (event, sink, status, tried_from, next_attempt_at)
         SELECT e.seq, j.sink, 'pending', j.at, j.at
         FROM j CROSS JOIN events e ON e.event_id = j.event_id
         WHERE true
         ON CONFLICT (event, sink) DO NOTHING";
    let bind = |row: &mut Row, one: Option<&(&Event, &str)>| {
        row.push_bind(one.map(|(event, _)| event.id.to_string()))
            .push_bind(one.map(|(_, sink)| *sink))
            .push_bind(one.map(|(event, _)| event.occurred_at.as_millis()));
    };
    for route in routes {
        let taken = events.iter().map(|(_, event)| *event).filter(|event| route.takes(event));
        let rows: Vec<_> = taken.map(|event| (event, route.sink.as_str())).collect();
        let columns = "event_id, sink, at";
        let new = with_rows(connection, columns, statement, &rows, bind, "recording deliveries").await?;
        count_deliveries(connection, &route.sink, "pending", count(new.n_changed)).await?;
    }
    if written.n_changed < events.len() as u64 {
        return Ok(Vec::new());
    }
    // Keys are given out one after the other.
    let first_key = written.last_key - count(written.n_changed) + 1;
    Ok(events.iter().map(|(_, event)| event.id).zip(first_key..).collect())
}

/// The number of changed rows as a signed number.
pub(super) fn count(n_changed: u64) -> i64 {
    i64::try_from(n_changed).unwrap_or(i64::MAX)
}

/// Within a transaction: adds to the count of deliveries with this status; a negative number takes away.
pub(super) async fn count_deliveries(
    connection: &mut SqliteConnection,
    sink: &str,
    status: &'static str,
    n: i64,
) -> Result<(), StoreError> {
    if n == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO tally_deliveries (sink, status, n) VALUES (?1, ?2, ?3)
         ON CONFLICT (sink, status) DO UPDATE SET n = n + excluded.n",
    )
    .bind(sink)
    .bind(status)
    .bind(n)
    .execute(connection)
    .await
    .map_err(StoreError::query("counting deliveries"))?;
    Ok(())
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
