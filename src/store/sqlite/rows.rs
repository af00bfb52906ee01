//! Set-based statements whose rows are bound.
//! They are for what every poll or conclusion writes. Rows that come as JSON text are parsed twice, the text as a whole
//! and then each row, which costs more than writing them.

use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Sqlite, SqliteConnection, Type};

use super::error::StoreError;

/// Rows of one statement. A prepared statement takes memory for each of its rows, and there is one for each power of
/// two.
const MAX_ROWS: usize = 128;

/// A row that is being bound, column by column.
#[derive(Debug)]
pub(super) struct Row {
    arguments: SqliteArguments,
    /// The text that each column had last: rows of one batch have most of them in common.
    texts: Vec<Option<Arc<str>>>,
    failed: Option<BoxDynError>,
}

impl Row {
    fn new(n_columns: usize, n_rows: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(n_columns * n_rows, 0);
        Self { arguments, texts: vec![None; n_columns], failed: None }
    }

    /// Binds the next column, a text.
    pub fn push_text(&mut self, text: Option<&str>) -> &mut Self {
        let Some(text) = text else { return self.push_bind(None::<Arc<str>>) };
        let column = self.arguments.len() % self.texts.len();
        let last = self.texts[column].take().filter(|last| **last == *text);
        let shared = last.unwrap_or_else(|| text.into());
        self.texts[column] = Some(Arc::clone(&shared));
        self.push_bind(shared)
    }

    /// Binds the next column.
    pub fn push_bind<'a, T: Encode<'a, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(err) = self.arguments.add(value) {
            self.failed = Some(err);
        }
        self
    }
}

/// What a statement did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// How many rows it changed.
    pub n_changed: u64,
    /// The key of the row that was inserted last, if any was.
    pub last_key: i64,
}

/// Executes `statement`, which reads its rows from `j` with these columns, in their order.
///
/// A statement has a power of two as its number of places, so that only a few different ones are prepared. `bind` gets
/// `None` for a place that stays empty: what it binds then must match no row and must not be inserted.
pub(super) async fn with_rows<'a, T>(
    connection: &mut SqliteConnection,
    columns: &'static str,
    statement: &'static str,
    rows: &'a [T],
    bind: impl Fn(&mut Row, Option<&'a T>),
    operation: &'static str,
) -> Result<Written, StoreError> {
    let n_columns = columns.matches(',').count() + 1;
    let one = format!(",({}?)", "?,".repeat(n_columns - 1));
    let (mut written, mut rest) = (Written::default(), rows);
    while !rest.is_empty() {
        let (n_rows, n_places) = fitting(rest.len());
        let (chunk, others) = rest.split_at(n_rows);
        rest = others;
        let places = one.repeat(n_places);
        let text = format!("WITH j ({columns}) AS (VALUES {}) {statement}", places.trim_start_matches(','));
        let mut row = Row::new(n_columns, n_places);
        let padding = std::iter::repeat_n(None, n_places - n_rows);
        chunk.iter().map(Some).chain(padding).for_each(|one| bind(&mut row, one));
        debug_assert_eq!(row.arguments.len(), n_columns * n_places, "{operation}");
        let failed = StoreError::query(operation);
        if let Some(err) = row.failed {
            return Err(failed(sqlx::Error::Encode(err)));
        }
        let done = sqlx::query_with(AssertSqlSafe(text), row.arguments).execute(&mut *connection).await;
        let done = done.map_err(failed)?;
        written.n_changed += done.rows_affected();
        written.last_key = done.last_insert_rowid();
    }
    Ok(written)
}

/// How many of these rows the next statement takes, and how many it has places for: a power of two, of which at most a
/// quarter stays empty. An empty place costs about as much as a row, a few of them less than another statement.
fn fitting(n_rows: usize) -> (usize, usize) {
    let n_rows = n_rows.min(MAX_ROWS);
    let n_places = n_rows.next_power_of_two();
    if n_places - n_rows <= n_places / 4 { (n_rows, n_places) } else { (n_places / 2, n_places / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_row_is_written_once_however_many_there_are() {
        use sqlx::Connection as _;
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for n_rows in (0..=20).chain([31, 63, 64, 65, 97, 127, 128, 129, 200, 300]) {
            sqlx::query("DROP TABLE IF EXISTS t").execute(&mut connection).await.unwrap();
            sqlx::query("CREATE TABLE t (n INTEGER, word TEXT, third TEXT)")
                .execute(&mut connection)
                .await
                .unwrap();
            let rows: Vec<i64> = (1..=n_rows).collect();
            let statement = "INSERT INTO t SELECT n, word, third FROM j WHERE n IS NOT NULL";
            // Texts that differ in each row, and such that come again, with gaps.
            let third = |n: i64| [None, Some("second"), Some("third")][usize::try_from(n % 6).unwrap() / 2];
            let bind = |row: &mut Row, n: Option<&i64>| {
                row.push_bind(n)
                    .push_text(n.map(i64::to_string).as_deref())
                    .push_text(n.and_then(|n| third(*n)));
            };
            let columns = "n, word, third";
            let written =
                with_rows(&mut connection, columns, statement, &rows, bind, "writing").await.unwrap();
            let stored: Vec<(i64, String, Option<String>)> =
                sqlx::query_as("SELECT n, word, third FROM t ORDER BY n")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            let expected = rows.iter().map(|n| (*n, n.to_string(), third(*n).map(str::to_owned)));
            assert!(stored.into_iter().eq(expected));
            assert_eq!(written.n_changed, n_rows.unsigned_abs());
            let out_of_order: i64 = sqlx::query_scalar("SELECT count(*) FROM t WHERE n <> rowid")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!((out_of_order, written.last_key), (0, n_rows));
        }
    }

    #[test]
    fn few_places_stay_empty() {
        for n_rows in 1..=MAX_ROWS {
            let (n_taken, n_places) = fitting(n_rows);
            assert!(n_taken <= n_rows && n_places.is_power_of_two());
            assert!(n_taken * 4 >= n_places * 3, "{n_taken} of {n_places}");
        }
        assert_eq!(fitting(1_000), (MAX_ROWS, MAX_ROWS));
    }
}
