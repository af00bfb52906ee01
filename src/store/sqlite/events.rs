//! Events and what is to be delivered of them.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::as_json;
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
        row.push_text(event.map(|event| event.id.to_string()).as_deref())
            .push_text(event.map(|event| event.kind.label()))
            .push_bind(one.and_then(|(activity, _)| *activity))
            .push_text(event.and_then(|event| event.vat.as_ref()).map(Vat::as_str))
            .push_bind(event.map(|event| event.occurred_at.as_millis()))
            .push_text(event.map(|event| event.payload.as_str()));
    };
    let written = with_rows(connection, columns, statement, events, bind, "recording events").await?;
    let are_new = written.n_changed == events.len() as u64;
    let keys = match are_new {
        // They are given out one after the other.
        true => (written.last_key - count(written.n_changed) + 1..=written.last_key).collect(),
        false => stored_keys(connection, events).await?,
    };
    let statement = "INSERT INTO deliveries (event, sink, status, tried_from, next_attempt_at)
         SELECT event, sink, 'pending', at, at FROM j WHERE event IS NOT NULL
         ON CONFLICT (event, sink) DO NOTHING";
    let bind = |row: &mut Row, one: Option<&(i64, &Event, &str)>| {
        row.push_bind(one.map(|(key, ..)| *key))
            .push_text(one.map(|(.., sink)| *sink))
            .push_bind(one.map(|(_, event, _)| event.occurred_at.as_millis()));
    };
    for route in routes {
        let taken = keys.iter().zip(events).filter(|(_, (_, event))| route.takes(event));
        let rows: Vec<_> = taken.map(|(key, (_, event))| (*key, *event, route.sink.as_str())).collect();
        let columns = "event, sink, at";
        let new = with_rows(connection, columns, statement, &rows, bind, "recording deliveries").await?;
        count_deliveries(connection, &route.sink, "pending", count(new.n_changed)).await?;
    }
    if !are_new {
        return Ok(Vec::new());
    }
    Ok(events.iter().map(|(_, event)| event.id).zip(keys).collect())
}

/// The keys of stored events, in their order.
async fn stored_keys(
    connection: &mut SqliteConnection,
    events: &[(Option<i64>, &Event)],
) -> Result<Vec<i64>, StoreError> {
    let ids: Vec<_> = events.iter().map(|(_, event)| event.id.to_string()).collect();
    sqlx::query_scalar(
        "SELECT e.seq FROM json_each(?1) j JOIN events e ON e.event_id = j.value ORDER BY j.key",
    )
    .bind(as_json(&ids)?)
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("looking for stored events"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventKind;
    use crate::domain::time::Timestamp;
    use crate::store::sqlite::Store;

    fn event(n: u128) -> Event {
        Event {
            id: Uuid::from_u128(n),
            kind: EventKind::CredentialHeld,
            occurred_at: Timestamp::from_millis(0),
            vat: None,
            payload: format!("{{\"n\":{n}}}"),
        }
    }

    #[tokio::test]
    async fn an_event_that_is_stored_already_is_delivered_to_no_sink_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("watch.db"), Vec::new()).await.unwrap();
        let mut connection = store.writer.acquire().await.unwrap();
        let to = |sink: &str| Route { sink: sink.to_owned(), events: Vec::new(), vats: Vec::new() };
        let (one, two, three, four) = (event(1), event(2), event(3), event(4));
        let mut write = async |sinks: &[&str], events: &[&Event]| {
            let routes: Vec<_> = sinks.iter().copied().map(to).collect();
            let events: Vec<_> = events.iter().map(|event| (None, *event)).collect();
            let keys = write_events(&mut connection, &routes, &events).await.unwrap();
            keys.into_iter().map(|(id, key)| (id.as_u128(), key)).collect::<Vec<_>>()
        };
        assert_eq!(write(&["log"], &[&three, &one]).await, [(3, 1), (1, 2)]);
        // A sink that was added later gets what is announced again, as any new event.
        assert_eq!(write(&["log", "erp"], &[&two, &one]).await, [], "some are stored already");
        assert_eq!(write(&["erp"], &[&four]).await, [(4, 5)], "the one that was stored has used up a key");
        let stored: Vec<(String, String)> = sqlx::query_as(
            "SELECT e.payload, group_concat(d.sink ORDER BY d.sink)
             FROM events e JOIN deliveries d ON d.event = e.seq GROUP BY e.seq ORDER BY e.seq",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let stored: Vec<_> =
            stored.iter().map(|(payload, sinks)| (payload.as_str(), sinks.as_str())).collect();
        let expected =
            [("{\"n\":3}", "log"), ("{\"n\":1}", "erp,log"), ("{\"n\":2}", "erp,log"), ("{\"n\":4}", "erp")];
        assert_eq!(stored, expected);
        let counted: Vec<(String, i64)> =
            sqlx::query_as("SELECT sink, n FROM tally_deliveries WHERE status = 'pending' ORDER BY sink")
                .fetch_all(&mut *connection)
                .await
                .unwrap();
        assert_eq!(counted, [("erp".to_owned(), 3), ("log".to_owned(), 3)]);
    }
}
