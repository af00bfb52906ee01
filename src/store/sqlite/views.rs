//! What people look at: the public views, read as tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::Store;
use super::error::StoreError;
use crate::domain::activity::Vat;
use crate::domain::time::Timestamp;
use crate::store::activities::ActivityRef;
use crate::store::views::{ActivityView, Argument, Cell, ReportView, Table, keys_arguments, slice_arguments};

/// Longest time that a search may take. On a million activities searches take a fraction of it.
const LONGEST_SEARCH: Duration = Duration::from_secs(5);

/// Parameters: activity id, VAT or null. Whatever happened, what comes of it is bounded: of what may go on for ever the
/// latest is read, and [`ActivityView::is_latest_first`].
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

/// For a report that may have any number of rows: the keys of its rows, a JSON array for each slice.
const fn keys_statement(report: ReportView) -> Option<&'static str> {
    Some(match report {
        ReportView::Devices => {
            "SELECT json_group_array(json_array(vat_id, device_id)) FROM (
                 SELECT d.vat_id, d.device_id, (row_number() OVER
                     (ORDER BY d.n_succeeded > 0, d.n DESC, v.vat, d.device_id) - 1) / 1000 AS slice
                 FROM tally_devices d JOIN vats v ON v.id = d.vat_id)
             GROUP BY slice ORDER BY slice"
        }
        ReportView::Overdue { .. } => {
            "SELECT json_group_array(id) FROM (
                 SELECT id, (row_number() OVER (ORDER BY watched_from, id) - 1) / 1000 AS slice
                 FROM activities WHERE concluded_at IS NULL AND watched_from <= ?1)
             GROUP BY slice ORDER BY slice"
        }
        ReportView::Renewals { .. } => {
            "SELECT json_group_array(id) FROM (
                 SELECT id, (row_number() OVER (ORDER BY expires_at, vat, device_id, activity_id) - 1) / 1000 AS slice
                 FROM certificates WHERE superseded_by IS NULL AND expires_at <= ?1)
             GROUP BY slice ORDER BY slice"
        }
        _ => return None,
    })
}

/// The rows of such a slice; the last parameter has its keys.
const fn slice_statement(report: ReportView) -> &'static str {
    match report {
        ReportView::Devices => {
            "SELECT r.* FROM json_each(?1) j
             CROSS JOIN vats v ON v.id = j.value ->> 0
             CROSS JOIN report_devices r ON r.vat = v.vat AND r.device_id = j.value ->> 1
             ORDER BY r.pcsid_at IS NOT NULL, r.attempts DESC, r.vat, r.device_id"
        }
        ReportView::Renewals { .. } => {
            "SELECT vat, device_id, activity_id,
                        strftime('%Y-%m-%dT%H:%M:%fZ', obtained_at / 1000.0, 'unixepoch') AS obtained_at,
                        strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch') AS expires_at,
                        (expires_at - ?1) / 86400000 AS days_left,
                        CASE WHEN expires_at <= ?1 THEN 'expired' ELSE 'ending' END AS standing,
                        strftime('%Y-%m-%dT%H:%M:%fZ', reminded_at / 1000.0, 'unixepoch') AS reminded_at
                 FROM certificates WHERE superseded_by IS NULL AND id IN (SELECT value FROM json_each(?2))
                 ORDER BY certificates.expires_at, vat, device_id, activity_id"
        }
        _ => {
            "SELECT r.vat, r.activity_id, r.device_id, r.reference, r.state, r.registered_at, r.stalled_at,
                    r.last_polled_at, r.next_poll_at, r.poll_count, r.consecutive_errors, r.last_error
             FROM json_each(?1) j
             CROSS JOIN activities a ON a.id = j.value
             CROSS JOIN vats v ON v.id = a.vat_id
             CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
             WHERE a.concluded_at IS NULL
             ORDER BY a.watched_from, a.id"
        }
    }
}

const fn report_statement(report: ReportView) -> &'static str {
    match report {
        ReportView::Summary => "SELECT * FROM report_vats ORDER BY vat",
        ReportView::Checks => {
            "SELECT * FROM report_vat_checks
                 ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name)"
        }
        ReportView::Rules => "SELECT * FROM report_rules ORDER BY activities DESC, rule, check_name",
        ReportView::Devices => {
            // Which are the first is read from the tally; the view looks up a good deal for each.
            "SELECT r.* FROM (
                 SELECT v.vat, d.device_id FROM tally_devices d JOIN vats v ON v.id = d.vat_id
                 ORDER BY d.n_succeeded > 0, d.n DESC, v.vat, d.device_id LIMIT ?1) k
             CROSS JOIN report_devices r ON r.vat = k.vat AND r.device_id = k.device_id
             ORDER BY r.pcsid_at IS NOT NULL, r.attempts DESC, r.vat, r.device_id"
        }
        // `report` has refused it already.
        ReportView::Replicas => "",
        // Read by `overdue_rows`.
        ReportView::Overdue { .. } => "",
        ReportView::Renewals { .. } => {
            "SELECT vat, device_id, activity_id,
                        strftime('%Y-%m-%dT%H:%M:%fZ', obtained_at / 1000.0, 'unixepoch') AS obtained_at,
                        strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch') AS expires_at,
                        -- Whole days; negative once it has ended.
                        (expires_at - ?1) / 86400000 AS days_left,
                        CASE WHEN expires_at <= ?1 THEN 'expired' ELSE 'ending' END AS standing,
                        strftime('%Y-%m-%dT%H:%M:%fZ', reminded_at / 1000.0, 'unixepoch') AS reminded_at
                 FROM certificates WHERE superseded_by IS NULL AND certificates.expires_at <= ?2
                 ORDER BY certificates.expires_at, vat, device_id, activity_id"
        }
        ReportView::Deliveries => {
            "SELECT t.sink, t.status, t.n AS deliveries,
                        u.oldest_event_at, u.next_attempt_at, u.an_error
                 FROM tally_deliveries t
                 LEFT JOIN (SELECT d.sink, d.status, min(e.occurred_at) AS oldest_event_at,
                                   min(d.next_attempt_at) AS next_attempt_at, max(d.last_error) AS an_error
                            FROM report_deliveries d JOIN report_events e USING (event_id)
                            WHERE d.status <> 'delivered'
                            GROUP BY d.sink, d.status) u ON u.sink = t.sink AND u.status = t.status
                 WHERE t.n > 0
                 ORDER BY t.sink, t.status"
        }
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

    pub async fn report(&self, report: ReportView, limit: Option<u32>) -> Result<(Table, bool), StoreError> {
        if report == ReportView::Replicas {
            return Err(StoreError::NeedsServer { what: "`report replicas`" });
        }
        let probing = limit.map_or(-1, |limit| i64::from(limit) + 1);
        let mut table = match report {
            ReportView::Overdue { watched_from } => self.overdue_rows(watched_from, probing).await?,
            _ => {
                let statement = format!("{} LIMIT {probing}", report_statement(report));
                let arguments = match report {
                    ReportView::Renewals { now, within } => {
                        [now, now + within].map(|time| Argument::Integer(time.as_millis())).to_vec()
                    }
                    ReportView::Devices => vec![Argument::Integer(probing)],
                    _ => Vec::new(),
                };
                self.table("reading a report", AssertSqlSafe(statement), &arguments).await?
            }
        };
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let has_more = table.rows.len() > limit;
        table.rows.truncate(limit);
        Ok((table, has_more))
    }

    pub async fn report_slices(&self, report: ReportView) -> Result<Option<Vec<String>>, StoreError> {
        let Some(statement) = keys_statement(report) else { return Ok(None) };
        Ok(Some(self.table("reading a report", statement, &keys_arguments(report)).await?.into_texts()))
    }

    pub async fn report_slice(&self, report: ReportView, keys: &str) -> Result<Table, StoreError> {
        self.table("reading a report", slice_statement(report), &slice_arguments(report, keys)).await
    }

    /// Walks both halves of the index by age, so that it costs what it prints.
    async fn overdue_rows(&self, watched_from: Timestamp, limit: i64) -> Result<Table, StoreError> {
        let statement =
            "SELECT r.vat, r.activity_id, r.device_id, r.reference, r.state, r.registered_at, r.stalled_at,
                    r.last_polled_at, r.next_poll_at, r.poll_count, r.consecutive_errors, r.last_error
             FROM (SELECT id, watched_from FROM (
                       SELECT * FROM (SELECT id, watched_from FROM activities INDEXED BY activities_by_age
                                      WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = 0
                                        AND watched_from <= ?1
                                      ORDER BY watched_from, id LIMIT ?2)
                       UNION ALL
                       SELECT * FROM (SELECT id, watched_from FROM activities INDEXED BY activities_by_age
                                      WHERE concluded_at IS NULL AND (stalled_at IS NOT NULL) = 1
                                        AND watched_from <= ?1
                                      ORDER BY watched_from, id LIMIT ?2))
                   ORDER BY watched_from, id LIMIT ?2) k
             CROSS JOIN activities a ON a.id = k.id
             CROSS JOIN vats v ON v.id = a.vat_id
             CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
             ORDER BY k.watched_from, k.id";
        let arguments = [Argument::Integer(watched_from.as_millis()), Argument::Integer(limit)];
        self.table("reading a report", statement, &arguments).await
    }

    /// Reads a table; its columns are known even where it has no rows.
    pub async fn table(
        &self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        let mut connection = self.reports.acquire().await.map_err(StoreError::query(operation))?;
        Self::table_by(&mut connection, operation, statement, arguments).await
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
        /// Between two looks at the clock: a millisecond or so.
        const STEPS: std::ffi::c_int = 20_000;
        let failed = StoreError::query;
        let _turn = self.line.turn().await?;
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
    use crate::store::line::N_RUNNING;

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
