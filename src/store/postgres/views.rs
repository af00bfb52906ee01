//! The public views, read as tables.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column, Executor, PgConnection, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::Store;
use super::error::StoreError;
use crate::domain::activity::Vat;
use crate::store::activities::ActivityRef;
use crate::store::views::{
    ActivityView, Argument, Cell, ROWS_OF_SLICE, ReportSlice, ReportStatements, ReportView, Table,
    keys_arguments, slice_arguments,
};

/// Parameters: activity id, VAT or null. Each is bounded; of rows that can grow without end the latest are read, and
/// come first ([`ActivityView::is_latest_first`]).
pub(super) const fn statement_of(view: ActivityView) -> &'static str {
    match view {
        ActivityView::Activity => {
            "SELECT * FROM report_activities WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2) ORDER BY vat LIMIT 100"
        }
        ActivityView::Transitions => {
            "SELECT * FROM report_transitions WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2)
             ORDER BY vat DESC, seq DESC LIMIT 1000"
        }
        ActivityView::Checks => {
            "SELECT * FROM report_checks WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2)
             ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name) LIMIT 600"
        }
        ActivityView::CheckErrors => {
            "SELECT * FROM report_check_errors WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2)
             ORDER BY vat, (SELECT n.position FROM check_names n WHERE n.name = check_name), position LIMIT 1000"
        }
        ActivityView::Errors => {
            "SELECT * FROM report_errors WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2)
             ORDER BY vat, position LIMIT 1000"
        }
        ActivityView::Events => {
            "SELECT event_id, type, occurred_at FROM report_events
             WHERE activity_id = $1 AND ($2::text IS NULL OR vat = $2) ORDER BY vat DESC, occurred_at DESC, event_id DESC LIMIT 1000"
        }
        ActivityView::Deliveries => {
            "SELECT e.type, d.* FROM report_events e JOIN report_deliveries d USING (event_id)
             WHERE e.activity_id = $1 AND ($2::text IS NULL OR e.vat = $2)
             ORDER BY e.vat DESC, e.occurred_at DESC, d.sink DESC LIMIT 1000"
        }
        ActivityView::Attempts => {
            "SELECT e.event_id, t.sink, t.seq, pcsid_watch_time(t.attempted_at) AS attempted_at,
                    t.duration_ms, t.http_status, t.error
             FROM activities a
             JOIN vats v ON v.id = a.vat_id
             JOIN events e ON e.activity = a.id
             JOIN attempts t ON t.event = e.seq
             WHERE a.activity_id = $1 AND ($2::text IS NULL OR v.vat = $2)
             ORDER BY v.vat DESC, t.event DESC, t.sink DESC, t.seq DESC LIMIT 1000"
        }
    }
}

const fn report_statements(report: ReportView) -> ReportStatements {
    match report {
        ReportView::Summary => ReportStatements {
            keys: Some("SELECT vat AS key FROM vats ORDER BY vat LIMIT $1"),
            rows: "SELECT * FROM report_vats WHERE vat IN (SELECT jsonb_array_elements_text(($1::text)::jsonb))
                   ORDER BY vat",
        },
        ReportView::Checks => ReportStatements {
            // Six rows each.
            keys: Some("SELECT vat AS key FROM vats ORDER BY vat LIMIT $1"),
            rows: "SELECT * FROM report_vat_checks
                   WHERE vat IN (SELECT jsonb_array_elements_text(($1::text)::jsonb))
                   ORDER BY vat, (SELECT position FROM check_names WHERE name = check_name)",
        },
        ReportView::Rules => {
            ReportStatements::few("SELECT * FROM report_rules ORDER BY activities DESC, rule, check_name LIMIT $1")
        }
        ReportView::Devices => ReportStatements {
            // From the tally: the view reads several other rows for each device.
            keys: Some(
                "SELECT json_build_array(d.vat_id, d.device_id) AS key
                 FROM tally_devices d JOIN vats v ON v.id = d.vat_id
                 ORDER BY d.n_succeeded > 0, d.n DESC, v.vat, d.device_id LIMIT $1",
            ),
            rows: "SELECT r.* FROM jsonb_array_elements(($1::text)::jsonb) j
                   JOIN vats v ON v.id = (j.value ->> 0)::bigint
                   JOIN report_devices r ON r.vat = v.vat AND r.device_id = j.value ->> 1
                   ORDER BY r.pcsid_at IS NOT NULL, r.attempts DESC, r.vat, r.device_id",
        },
        ReportView::Overdue { .. } => ReportStatements {
            keys: Some(
                "SELECT id AS key FROM activities WHERE concluded_at IS NULL AND watched_from <= $1
                 ORDER BY watched_from, id LIMIT $2",
            ),
            rows: "SELECT r.vat, r.activity_id, r.device_id, r.reference, r.state, r.registered_at, r.stalled_at,
                          r.last_polled_at, r.next_poll_at, r.poll_count, r.consecutive_errors, r.last_error
                   FROM jsonb_array_elements_text(($1::text)::jsonb) j
                   JOIN activities a ON a.id = j.value::bigint
                   JOIN vats v ON v.id = a.vat_id
                   JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
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
             ORDER BY t.sink, t.status LIMIT $1",
        ),
        ReportView::Renewals { .. } => ReportStatements {
            keys: Some(
                "SELECT id AS key FROM certificates WHERE superseded_by IS NULL AND expires_at <= $1
                 ORDER BY expires_at, vat, device_id NULLS FIRST, activity_id NULLS FIRST LIMIT $2",
            ),
            rows: "SELECT vat, device_id, activity_id, pcsid_watch_time(obtained_at) AS obtained_at,
                          pcsid_watch_time(expires_at) AS expires_at,
                          -- Whole days; negative once it has ended.
                          (expires_at - $1) / 86400000 AS days_left,
                          CASE WHEN expires_at <= $1 THEN 'expired' ELSE 'ending' END AS standing,
                          pcsid_watch_time(reminded_at) AS reminded_at
                   FROM jsonb_array_elements_text(($2::text)::jsonb) j
                   JOIN certificates c ON c.id = j.value::bigint
                   WHERE superseded_by IS NULL
                   ORDER BY c.expires_at, vat, device_id NULLS FIRST, activity_id NULLS FIRST",
        },
        ReportView::Replicas => ReportStatements::few(
            "SELECT r.name, r.version, pcsid_watch_time(r.started_at) AS since,
                    pcsid_watch_time(r.seen_at) AS last_sign_of_life,
                    string_agg(p.name, ', ' ORDER BY p.name) FILTER (WHERE p.kind = 'credential') AS credentials,
                    string_agg(p.name, ', ' ORDER BY p.name) FILTER (WHERE p.kind = 'sink') AS sinks,
                    CASE WHEN bool_or(p.kind = 'upkeep') THEN 'yes' ELSE 'no' END AS upkeep
             FROM replicas r
             LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.pid = r.backend_pid AND l.granted
                 AND l.classid = 1346589527 AND l.objsubid = 2
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             LEFT JOIN pieces p ON p.id::bigint = l.objid::bigint
             GROUP BY r.id ORDER BY r.started_at, r.id LIMIT $1",
        ),
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
        let Some(keys) = report_statements(report).keys else { return Ok(vec![ReportSlice::first(at_most)]) };
        let statement = format!(
            "SELECT json_agg(key)::text FROM (
                 SELECT key, (row_number() OVER () - 1) / {ROWS_OF_SLICE} AS slice FROM ({keys}) k) s
             GROUP BY slice ORDER BY slice"
        );
        let arguments = keys_arguments(report, at_most);
        let slices = self.table("reading a report", AssertSqlSafe(statement), &arguments).await?;
        Ok(ReportSlice::of_keys(slices.into_texts()))
    }

    pub async fn report_slice(&self, report: ReportView, slice: &ReportSlice) -> Result<Table, StoreError> {
        let arguments = slice_arguments(report, slice);
        self.table("reading a report", report_statements(report).rows, &arguments).await
    }

    /// Reads a table; its columns are known even if it has no rows.
    pub(super) async fn table(
        &self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        let mut connection = self.people().acquire().await.map_err(StoreError::query(operation))?;
        table_by(&mut connection, operation, statement, arguments).await
    }

    /// As [`Store::table`], for what a reader chose freely: it has to wait for its turn, and the server ends it after
    /// some seconds.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] if it was ended, [`StoreError::Crowded`] if too many search.
    pub(super) async fn bounded_table(
        &self,
        operation: &'static str,
        statement: impl SqlSafeStr,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        let failed = StoreError::query;
        let _turn = self.inner.search_queue.turn().await?;
        let searches = &self.inner.searches;
        let mut bounded = searches.begin_with("BEGIN READ ONLY").await.map_err(failed(operation))?;
        sqlx::query("SET LOCAL statement_timeout = '5s'")
            .execute(&mut *bounded)
            .await
            .map_err(failed(operation))?;
        let table = table_by(&mut bounded, operation, statement, arguments).await;
        table.map_err(|err| if err.is_interruption() { StoreError::TooSlow } else { err })
    }
}

pub(super) async fn table_by(
    connection: &mut PgConnection,
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

/// Values by their columns' types.
pub(super) fn cells(row: &PgRow) -> Result<Vec<Cell>, sqlx::Error> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(Cell::Null);
            }
            match value.type_info().name() {
                "INT8" => row.try_get(column).map(Cell::Integer),
                "INT4" => row.try_get(column).map(|number: i32| Cell::Integer(number.into())),
                "BOOL" => row.try_get(column).map(|is: bool| Cell::Integer(is.into())),
                "FLOAT8" => row.try_get(column).map(Cell::Real),
                _ => row.try_get_unchecked(column).map(Cell::Text),
            }
        })
        .collect()
}
