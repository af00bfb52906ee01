//! Events and what is to be delivered of them.

use sqlx::PgConnection;

use super::error::StoreError;
use super::text;
use crate::domain::event::Event;
use crate::domain::routing::Route;

/// Within a transaction that has the writers' lock: stores events, each with the key of its activity, and one delivery
/// for every sink that takes them. An event that is stored already stays as it is.
pub(super) async fn write_events(
    connection: &mut PgConnection,
    routes: &[Route],
    events: &[(Option<i64>, &Event)],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = events.iter().map(|(_, event)| event.id.to_string()).collect();
    sqlx::query(
        "INSERT INTO events (event_id, type, activity, vat, occurred_at, payload)
         SELECT j.id, j.type, j.activity, j.vat, j.occurred_at, j.payload
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[]) WITH ORDINALITY
              AS j (id, type, activity, vat, occurred_at, payload, nth)
         ORDER BY j.nth
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(&ids)
    .bind(events.iter().map(|(_, event)| event.kind.label()).collect::<Vec<_>>())
    .bind(events.iter().map(|(activity, _)| *activity).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, event)| event.vat.as_ref().map(|vat| vat.as_str())).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, event)| event.occurred_at.as_millis()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, event)| text(&event.payload)).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("recording events"))?;
    let (mut of, mut sinks, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, event), id) in events.iter().zip(&ids) {
        for route in routes.iter().filter(|route| route.takes(event)) {
            of.push(id.as_str());
            sinks.push(route.sink.as_str());
            times.push(event.occurred_at.as_millis());
        }
    }
    if of.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO deliveries (event, sink, status, tried_from, next_attempt_at)
         SELECT e.seq, j.sink, 'pending', j.at, j.at
         FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j (id, sink, at) JOIN events e ON e.event_id = j.id
         ON CONFLICT (event, sink) DO NOTHING",
    )
    .bind(of)
    .bind(sinks)
    .bind(times)
    .execute(connection)
    .await
    .map_err(StoreError::query("recording deliveries"))?;
    Ok(())
}
