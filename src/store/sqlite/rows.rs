//! Set-based statements whose rows are bound.
//!
//! For what every poll or conclusion writes. Rows that come as JSON text are parsed twice, as a whole and each by itself,
//! which costs more than writing them.

use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::error::StoreError;

/// Rows of one statement. A prepared statement takes memory for each of its rows, and there is one for each power of two.
const MAX_ROWS: usize = 128;

/// A row that is being bound, column by column.
pub(super) type Row<'a> = Separated<'a, Sqlite, &'static str>;

/// Executes `statement`, which reads its rows from `j` with these columns. Answers with how many rows it changed.
///
/// The number of rows is rounded up to a power of two, so that few statements are prepared again and again: what `bind`
/// makes of `None` must match nothing, nor be inserted.
pub(super) async fn with_rows<'a, T>(
    connection: &mut SqliteConnection,
    columns: &'static str,
    statement: &'static str,
    rows: &'a [T],
    bind: impl Fn(&mut Row<'_>, Option<&'a T>),
    operation: &'static str,
) -> Result<u64, StoreError> {
    let mut n_changed = 0;
    for chunk in rows.chunks(MAX_ROWS) {
        let padded = chunk.iter().map(Some).chain(std::iter::repeat(None));
        let mut query = QueryBuilder::<Sqlite>::new(format!("WITH j ({columns}) AS ("));
        query.push_values(padded.take(chunk.len().next_power_of_two()), |mut row, one| bind(&mut row, one));
        query.push(") ").push(statement);
        let done = query.build().execute(&mut *connection).await.map_err(StoreError::query(operation))?;
        n_changed += done.rows_affected();
    }
    Ok(n_changed)
}
