//! The public views, read as tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::Store;
use super::error::StoreError;
use crate::domain::activity::Vat;
use crate::store::activities::ActivityRef;
use crate::store::views::{
    ActivityView, Argument, Cell, ROWS_OF_SLICE, ReportSlice, ReportStatements, ReportView, Table,
    keys_arguments, slice_arguments,
};

/// Longest time that a search may take. On a million activities searches take a fraction of it.
const LONGEST_SEARCH: Duration = Duration::from_secs(5);

/// Parameters: activity id, VAT or null. Each is bounded; of rows that can grow without end the latest are read, and
/// come first ([`ActivityView::is_latest_first`]).
pub(super) const fn statement_of(view: ActivityView) -> &'static str {
    match view {
            ActivityView::Activity => {
                "SELECT * FROM report_activities WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2) ORDER BY vat LIMIT 100"
            }
            ActivityView::Transitions => {
                "SELECT * FROM report_transitions WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2)
                 ORDER BY vat DESC, seq DESC LIMIT 1000"
            }
            ActivityView::Checks => {
                "SELECT * FROM report_checks WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2)
                 ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name) LIMIT 600"
            }
            ActivityView::CheckErrors => {
                "SELECT * FROM report_check_errors WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2)
                 ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name), position LIMIT 1000"
            }
            ActivityView::Errors => {
                "SELECT * FROM report_errors WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2)
                 ORDER BY vat, position LIMIT 1000"
            }
            ActivityView::Events => {
                "SELECT event_id, type, occurred_at FROM report_events
                 WHERE activity_id = ?1 AND (?2 IS NULL OR vat = ?2) ORDER BY vat DESC, occurred_at DESC, event_id DESC LIMIT 1000"
            }
            ActivityView::Deliveries => {
                "SELECT e.type, d.* FROM report_events e JOIN report_deliveries d USING (event_id)
                 WHERE e.activity_id = ?1 AND (?2 IS NULL OR e.vat = ?2)
                 ORDER BY e.vat DESC, e.occurred_at DESC, d.sink DESC LIMIT 1000"
            }
            ActivityView::Attempts => {
                "SELECT e.event_id, t.sink, t.seq,
                        strftime('%Y-%m-%dT%H:%M:%fZ', t.attempted_at / 1000.0, 'unixepoch') AS attempted_at,
                        t.duration_ms, t.http_status, t.error
                 FROM activities a
                 JOIN vats v ON v.id = a.vat_id
                 JOIN events e ON e.activity = a.id
                 JOIN attempts t ON t.event = e.seq
                 WHERE a.activity_id = ?1 AND (?2 IS NULL OR v.vat = ?2)
                 ORDER BY v.vat DESC, t.event DESC, t.sink DESC, t.seq DESC LIMIT 1000"
            }
        }
}

fn report_statements(report: ReportView) -> Result<ReportStatements, StoreError> {
    Ok(match report {
        ReportView::Summary => ReportStatements {
            keys: Some("SELECT json_quote(vat) AS key FROM vats ORDER BY vat LIMIT ?1"),
            rows: "SELECT * FROM report_vats WHERE vat IN (SELECT value FROM json_each(?1)) ORDER BY vat",
        },
        ReportView::Checks => ReportStatements {
            // Six rows each.
            keys: Some("SELECT json_quote(vat) AS key FROM vats ORDER BY vat LIMIT ?1"),
            rows: "SELECT * FROM report_vat_checks WHERE vat IN (SELECT value FROM json_each(?1))
                   ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name)",
        },
        ReportView::Rules => {
            ReportStatements::few("SELECT * FROM report_rules ORDER BY activities DESC, rule, check_name LIMIT ?1")
        }
        ReportView::Devices => ReportStatements {
            // From the tally: the view reads several other rows for each device.
            keys: Some(
                "SELECT json_array(d.vat_id, d.device_id) AS key FROM tally_devices d JOIN vats v ON v.id = d.vat_id
                 ORDER BY d.n_succeeded > 0, d.n DESC, v.vat, d.device_id LIMIT ?1",
            ),
            rows: "SELECT r.* FROM json_each(?1) j
                   CROSS JOIN vats v ON v.id = j.value ->> 0
                   CROSS JOIN report_devices r ON r.vat = v.vat AND r.device_id = j.value ->> 1
                   ORDER BY r.pcsid_at IS NOT NULL, r.attempts DESC, r.vat, r.device_id",
        },
        ReportView::Overdue { .. } => ReportStatements {
            // Reads each half of the index by age as far as it must, so that a limit bounds the cost.
            keys: Some(
                "SELECT id AS key FROM (
                     SELECT * FROM (SELECT id, watched_from FROM activities INDEXED BY activities_by_age
                                    WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = 0
                                      AND watched_from <= ?1
                                    ORDER BY watched_from, id LIMIT ?2)
                     UNION ALL
                     SELECT * FROM (SELECT id, watched_from FROM activities INDEXED BY activities_by_age
                                    WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = 1
                                      AND watched_from <= ?1
                                    ORDER BY watched_from, id LIMIT ?2))
                 ORDER BY watched_from, id LIMIT ?2",
            ),
            rows: "SELECT r.vat, r.activity_id, r.device_id, r.reference, r.state, r.registered_at, r.stalled_at,
                          r.last_polled_at, r.next_poll_at, r.poll_count, r.consecutive_errors, r.last_error
                   FROM json_each(?1) j
                   CROSS JOIN activities a ON a.id = j.value
                   CROSS JOIN vats v ON v.id = a.vat_id
                   CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
                   WHERE a.concluded_at IS NULL
                   ORDER BY a.watched_from, a.id",
        },
        ReportView::Deliveries => ReportStatements::few(
            "SELECT t.sink, t.status, t.n AS deliveries,
                    u.oldest_event_at, u.next_attempt_at, u.an_error
             FROM tally_deliveries t
             LEFT JOIN (SELECT d.sink, d.status, min(e.occurred_at) AS oldest_event_at,
                               min(d.next_attempt_at) AS next_attempt_at, max(d.last_error) AS an_error
                        FROM report_deliveries d JOIN report_events e USING (event_id)
                        WHERE d.status <> 'delivered'
                        GROUP BY d.sink, d.status) u ON u.sink = t.sink AND u.status = t.status
             WHERE t.n > 0
             ORDER BY t.sink, t.status LIMIT ?1",
        ),
        ReportView::Renewals { .. } => ReportStatements {
            keys: Some(
                "SELECT id AS key FROM certificates WHERE superseded_by IS NULL AND expires_at <= ?1
                 ORDER BY expires_at, vat, device_id, activity_id LIMIT ?2",
            ),
            rows: "SELECT vat, device_id, activity_id,
                          strftime('%Y-%m-%dT%H:%M:%fZ', obtained_at / 1000.0, 'unixepoch') AS obtained_at,
                          strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch') AS expires_at,
                          -- Whole days; negative once it has ended.
                          (expires_at - ?1) / 86400000 AS days_left,
                          CASE WHEN expires_at <= ?1 THEN 'expired' ELSE 'ending' END AS standing,
                          strftime('%Y-%m-%dT%H:%M:%fZ', reminded_at / 1000.0, 'unixepoch') AS reminded_at
                   FROM certificates WHERE superseded_by IS NULL AND id IN (SELECT value FROM json_each(?2))
                   ORDER BY certificates.expires_at, vat, device_id, activity_id",
        },
        ReportView::Replicas => return Err(StoreError::NeedsServer { what: "`report replicas`" }),
    })
}

/// See [`Store::snapshot`].
#[cfg(feature = "postgres")]
#[derive(Debug)]
pub struct Snapshot(sqlx::Transaction<'static, sqlx::Sqlite>);

#[cfg(feature = "postgres")]
impl Snapshot {
    /// As [`Store::table`].
    pub async fn table(
        &mut self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        Store::table_by(&mut self.0, operation, statement, arguments).await
    }
}

impl Store {
    pub async fn rows_of(&self, view: ActivityView, activity: &ActivityRef) -> Result<Table, StoreError> {
        let arguments = [
            Argument::Text(Some(activity.activity_id.as_str())),
            Argument::Text(activity.vat.as_ref().map(Vat::as_str)),
        ];
        let mut table = self.table("reading an activity", statement_of(view), &arguments).await?;
        if view.is_latest_first() {
            table.rows.reverse();
        }
        Ok(table)
    }

    pub async fn report_slices(
        &self,
        report: ReportView,
        at_most: i64,
    ) -> Result<Vec<ReportSlice>, StoreError> {
        let Some(keys) = report_statements(report)?.keys else {
            return Ok(vec![ReportSlice::first(at_most)]);
        };
        let statement = format!(
            "SELECT json_group_array(json(key)) FROM (
                 SELECT key, (row_number() OVER () - 1) / {ROWS_OF_SLICE} AS slice FROM ({keys}))
             GROUP BY slice ORDER BY slice"
        );
        let arguments = keys_arguments(report, at_most);
        let slices = self.table("reading a report", AssertSqlSafe(statement), &arguments).await?;
        Ok(ReportSlice::of_keys(slices.into_texts()))
    }

    pub async fn report_slice(&self, report: ReportView, slice: &ReportSlice) -> Result<Table, StoreError> {
        let arguments = slice_arguments(report, slice);
        self.table("reading a report", report_statements(report)?.rows, &arguments).await
    }

    /// Reads a table; its columns are known even if it has no rows.
    pub async fn table(
        &self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        let mut connection = self.reports.acquire().await.map_err(StoreError::query(operation))?;
        Self::table_by(&mut connection, operation, statement, arguments).await
    }

    /// The database as it is at the first read, whatever is written meanwhile.
    #[cfg(feature = "postgres")]
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.reports.begin_with("BEGIN").await.map(Snapshot).map_err(StoreError::query("beginning to read"))
    }

    /// As [`Store::table`], for what a reader chose freely: it has to wait for its turn, and the database is
    /// interrupted after [`LONGEST_SEARCH`].
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] if it was ended, [`StoreError::Crowded`] if too many search.
    pub(super) async fn bounded_table(
        &self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        /// Steps of SQLite between two checks of the time: a millisecond or so.
        const STEPS: std::ffi::c_int = 20_000;
        let failed = StoreError::query;
        let _turn = self.search_queue.turn().await?;
        let mut connection = self.searches.acquire().await.map_err(failed(operation))?;
        let until = Instant::now() + LONGEST_SEARCH;
        // A query whose client has gone is interrupted. The next user of the connection sets a handler of its own.
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        connection
            .lock_handle()
            .await
            .map_err(failed(operation))?
            .set_progress_handler(STEPS, move || waited_for.strong_count() > 0 && Instant::now() < until);
        let table = Self::table_by(&mut connection, operation, statement, arguments).await;
        drop(waiting);
        if let Ok(mut handle) = connection.lock_handle().await {
            handle.remove_progress_handler();
        }
        table.map_err(|err| if err.is_interruption() { StoreError::TooSlow } else { err })
    }

    pub(super) async fn table_by(
        connection: &mut SqliteConnection,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        let failed = StoreError::query;
        let prepared = connection.prepare(statement.into_sql_str()).await.map_err(failed(operation))?;
        let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        let mut query = prepared.query();
        for argument in arguments {
            query = match argument {
                Argument::Text(text) => query.bind(*text),
                Argument::Owned(text) => query.bind(text.as_deref()),
                Argument::Integer(number) => query.bind(*number),
            };
        }
        let rows = query.fetch_all(connection).await.map_err(failed(operation))?;
        let rows = rows.iter().map(cells).collect::<Result<_, _>>().map_err(failed(operation))?;
        Ok(Table { columns, rows })
    }
}

/// Values by the type that SQLite gives each of them: a view's columns have none of their own.
fn cells(row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(Cell::Null);
            }
            match value.type_info().name() {
                "INTEGER" | "BOOLEAN" => row.try_get_unchecked(column).map(Cell::Integer),
                "REAL" => row.try_get_unchecked(column).map(Cell::Real),
                _ => row.try_get_unchecked(column).map(Cell::Text),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::search_queue::N_RUNNING;

    #[tokio::test]
    async fn a_search_that_nobody_waits_for_any_more_is_interrupted() {
        const ENDLESS: &str =
            "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("watch.db"), Vec::new()).await.unwrap();
        let mut searches = tokio::task::JoinSet::new();
        for _ in 0..N_RUNNING {
            let store = store.clone();
            searches.spawn(async move { store.bounded_table("searching", ENDLESS, &[]).await.map(drop) });
        }
        while store.searches.size() < N_RUNNING {
            tokio::task::yield_now().await;
        }
        searches.shutdown().await;
        // An endless one would keep its connection.
        let one = store.bounded_table("searching", "SELECT 1 AS one", &[]).await.unwrap();
        assert_eq!(one.rows, [[Cell::Integer(1)]]);
        // One that is waited for has its time, and the connection is good for the next.
        let endless = store.bounded_table("searching", ENDLESS, &[]).await;
        assert!(matches!(endless, Err(StoreError::TooSlow)), "{endless:?}");
        store.bounded_table("searching", "SELECT 1 AS one", &[]).await.unwrap();
    }
}
