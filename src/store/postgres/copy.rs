//! Copies a whole SQLite database into an empty PostgreSQL database.
//!
//! All of it is one transaction: an interruption leaves the target as empty as it was. Before it is committed, each
//! table of the target is read again and compared with what was read from the source, by a checksum over its rows in
//! the order of their keys.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};

use super::error::StoreError;
use super::views::cells;
use super::{Store, lock_writing, text};
use crate::store::views::{Argument, Cell};
use crate::store::{CopiedTable, sqlite};

/// Rows that are read and written in one go.
const CHUNK: usize = 100;

/// Tables that are not copied: only a server's database has them, or each database has its own.
const OWN: [&str; 5] = ["pcsid_watch", "replicas", "pieces", "clock_jumps", "_sqlx_migrations"];

/// A table with its columns as both sides have them.
struct Table {
    name: String,
    /// Each with its type in PostgreSQL.
    columns: Vec<(String, String)>,
    /// Columns of the primary key, as positions in `columns`.
    key: Vec<usize>,
}

impl Table {
    fn column_names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn key_names(&self) -> String {
        let names = self.key.iter().filter_map(|at| self.columns.get(*at)).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Reads the rows after the one with this key, in the order of the key.
    fn page(&self, is_first: bool, placeholder: impl Fn(usize) -> String) -> String {
        let (columns, key) = (self.column_names(), self.key_names());
        let after = match is_first {
            true => String::new(),
            false => {
                let last: Vec<String> = (1..=self.key.len()).map(placeholder).collect();
                format!("WHERE ({key}) > ({})", last.join(", "))
            }
        };
        format!("SELECT {columns} FROM {} {after} ORDER BY {key} LIMIT {CHUNK}", self.name)
    }

    fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        self.key.iter().filter_map(|at| row.get(*at)).cloned().collect()
    }
}

/// Copies everything, as it is when the copy begins. The caller makes sure that no daemon runs on the source; commands may
/// write to it meanwhile.
///
/// # Errors
/// If the target is not empty, or differs from the source after the copy. Then nothing is in it.
pub async fn copy(from: &sqlite::Store, to: &Store) -> Result<Vec<CopiedTable>, StoreError> {
    let failed = StoreError::query;
    let mut transaction = to
        .people()
        .begin_with("BEGIN ISOLATION LEVEL READ COMMITTED")
        .await
        .map_err(failed("beginning to copy"))?;
    lock_writing(&mut transaction).await?;
    // A large copy takes its time, and so does waiting for the disk of a small server.
    for statement in ["SET LOCAL lock_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0"] {
        sqlx::query(statement).execute(&mut *transaction).await.map_err(failed("beginning to copy"))?;
    }
    let mut from = from.snapshot().await?;
    let tables = tables(&mut from, &mut transaction).await?;
    require_empty(to, &tables, &mut transaction).await?;
    let mut copied = Vec::new();
    for table in &tables {
        // Triggers are off: what they maintain is copied as it is.
        let statement = format!("ALTER TABLE {} DISABLE TRIGGER USER", table.name);
        execute(&mut transaction, statement).await?;
        let (n_rows, checksum) = copy_table(&mut from, &mut transaction, table).await?;
        copied.push((table, n_rows, checksum));
    }
    for (table, n_rows, checksum) in &copied {
        if checksum_of(&mut transaction, table).await? != (*n_rows, *checksum) {
            return Err(StoreError::CopyDiffers { table: table.name.clone() });
        }
        let statement = format!("ALTER TABLE {} ENABLE TRIGGER USER", table.name);
        execute(&mut transaction, statement).await?;
        // New rows get numbers after those of the copied ones.
        let statement = format!(
            "SELECT setval(s.seq::regclass, s.last) FROM (
                 SELECT pg_get_serial_sequence('{0}', c.column_name) AS seq,
                        (xpath('/row/m/text()', query_to_xml(format('SELECT max(%I) AS m FROM {0}', c.column_name),
                                                             false, true, '')))[1]::text::bigint AS last
                 FROM information_schema.columns c
                 WHERE c.table_schema = current_schema() AND c.table_name = '{0}' AND c.is_identity = 'YES') s
             WHERE s.last IS NOT NULL",
            table.name
        );
        execute(&mut transaction, statement).await?;
    }
    go_on_behind_last_event(&mut from, &mut transaction).await?;
    transaction.commit().await.map_err(failed("committing the copy"))?;
    Ok(copied
        .into_iter()
        .map(|(table, n_rows, _)| CopiedTable { name: table.name.clone(), n_rows })
        .collect())
}

/// The last event may have been pruned. Its number is never used again: readers of the feed go on behind it.
async fn go_on_behind_last_event(
    from: &mut sqlite::Snapshot,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    let statement = "SELECT seq FROM sqlite_sequence WHERE name = 'events' AND seq > 0";
    let last = from.table("reading the source", statement, &[]).await?;
    let Some([Cell::Integer(last)]) = last.rows.first().map(Vec::as_slice) else { return Ok(()) };
    let statement = format!("SELECT setval(pg_get_serial_sequence('events', 'seq'), {last})");
    execute(connection, statement).await
}

/// The tables of both sides, those that others refer to first. Tables or columns that only the source has would be
/// lost, and are refused.
async fn tables(
    from: &mut sqlite::Snapshot,
    connection: &mut PgConnection,
) -> Result<Vec<Table>, StoreError> {
    let known = target_columns(connection).await?;
    let source = from
        .table(
            "reading the source's tables",
            "SELECT m.name AS t, c.name AS c FROM sqlite_schema m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.rowid",
            &[],
        )
        .await?;
    let mut tables: Vec<Table> = Vec::new();
    // Positions in the key of each table, with the columns at them.
    let mut keys: Vec<Vec<(i64, usize)>> = Vec::new();
    for row in &source.rows {
        let [Cell::Text(table), Cell::Text(column)] = row.as_slice() else { continue };
        if OWN.contains(&table.as_str()) {
            continue;
        }
        let Some((kind, position)) = known.get(&(table.clone(), column.clone())) else {
            return Err(StoreError::CopyDiffers { table: format!("{table}.{column}") });
        };
        if tables.last().is_none_or(|last| last.name != *table) {
            tables.push(Table { name: table.clone(), columns: Vec::new(), key: Vec::new() });
            keys.push(Vec::new());
        }
        if let (Some(last), Some(key)) = (tables.last_mut(), keys.last_mut()) {
            key.extend(position.map(|position| (position, last.columns.len())));
            last.columns.push((column.clone(), kind.clone()));
        }
    }
    for (table, mut key) in tables.iter_mut().zip(keys) {
        key.sort();
        table.key = key.into_iter().map(|(_, column)| column).collect();
    }
    Ok(parents_first(tables, &references(connection).await?))
}

/// By table and column of the target: the column's type, and its position in the primary key if it is part of it.
async fn target_columns(
    connection: &mut PgConnection,
) -> Result<HashMap<(String, String), (String, Option<i64>)>, StoreError> {
    let rows: Vec<(String, String, String, Option<i64>)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text, c.data_type::text,
                (SELECT array_position(i.indkey::smallint[], a.attnum)
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
                 WHERE i.indisprimary AND i.indrelid = to_regclass(quote_ident(c.table_name))
                   AND a.attname = c.column_name)::bigint
         FROM information_schema.columns c
         JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("reading the target's tables"))?;
    Ok(rows.into_iter().map(|(table, column, kind, key)| ((table, column), (kind, key))).collect())
}

/// Which table of the target refers to which.
async fn references(connection: &mut PgConnection) -> Result<Vec<(String, String)>, StoreError> {
    sqlx::query_as(
        "SELECT c.relname::text, p.relname::text FROM pg_constraint k
         JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid
         WHERE k.contype = 'f' AND c.relnamespace = to_regnamespace(current_schema()::text)",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("reading the target's tables"))
}

fn parents_first(mut tables: Vec<Table>, references: &[(String, String)]) -> Vec<Table> {
    let mut ordered: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let is_free = |table: &Table| {
            let mut parents =
                references.iter().filter(|(child, parent)| *child == table.name && parent != child);
            parents.all(|(_, parent)| tables.iter().all(|other| other.name != *parent))
        };
        let at = tables.iter().position(is_free).unwrap_or(0);
        ordered.push(tables.remove(at));
    }
    ordered
}

/// Rows that the migrations themselves inserted are deleted; any other row means that the target is in use.
async fn require_empty(
    to: &Store,
    tables: &[Table],
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    for table in tables.iter().rev() {
        if table.name == "check_names" {
            execute(connection, "DELETE FROM check_names".to_owned()).await?;
            continue;
        }
        let n_rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name)))
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::query("looking whether the target is empty"))?;
        if n_rows > 0 {
            return Err(StoreError::Server {
                address: to.address().to_string(),
                rule: format!("it is not empty ({} has {n_rows} rows): name an empty database", table.name),
            });
        }
    }
    Ok(())
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.map_err(StoreError::query("copying"))?;
    Ok(())
}

/// Returns the number of rows and their checksum.
async fn copy_table(
    from: &mut sqlite::Snapshot,
    connection: &mut PgConnection,
    table: &Table,
) -> Result<(u64, [u8; 32]), StoreError> {
    let mut sum = Checksum::default();
    let mut last: Vec<Cell> = Vec::new();
    loop {
        let arguments: Vec<Argument<'_>> = last.iter().map(argument).collect();
        let statement = table.page(last.is_empty(), |nth| format!("?{nth}"));
        let page = from.table("reading the source", AssertSqlSafe(statement), &arguments).await?;
        let rows: Vec<Vec<Cell>> =
            page.rows.into_iter().map(|row| row.into_iter().map(fitting).collect()).collect();
        let Some(end) = rows.last() else { break };
        last = table.key_of(end);
        insert(connection, table, &rows).await?;
        rows.iter().for_each(|row| sum.add(row));
    }
    Ok(sum.end())
}

async fn insert(connection: &mut PgConnection, table: &Table, rows: &[Vec<Cell>]) -> Result<(), StoreError> {
    let arrays: Vec<String> = (1..)
        .zip(&table.columns)
        .map(|(nth, (_, kind))| format!("${nth}::{}[]", if kind == "text" { "text" } else { "bigint" }))
        .collect();
    let statement = format!(
        "INSERT INTO {} ({}) SELECT * FROM unnest({})",
        table.name,
        table.column_names(),
        arrays.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for (at, (_, kind)) in table.columns.iter().enumerate() {
        query = match kind.as_str() {
            "text" => query.bind(rows.iter().map(|row| row.get(at).and_then(as_text)).collect::<Vec<_>>()),
            _ => query.bind(rows.iter().map(|row| row.get(at).and_then(as_integer)).collect::<Vec<_>>()),
        };
    }
    query.execute(connection).await.map_err(StoreError::query("copying"))?;
    Ok(())
}

async fn checksum_of(connection: &mut PgConnection, table: &Table) -> Result<(u64, [u8; 32]), StoreError> {
    let mut sum = Checksum::default();
    let mut last: Vec<Cell> = Vec::new();
    loop {
        let statement = table.page(last.is_empty(), |nth| format!("${nth}"));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for cell in &last {
            query = match cell {
                Cell::Text(text) => query.bind(text),
                other => query.bind(as_integer(other)),
            };
        }
        let comparing = StoreError::query("comparing the copy");
        let page: Vec<PgRow> = query.fetch_all(&mut *connection).await.map_err(comparing)?;
        let mut end = None;
        for row in &page {
            let row = cells(row).map_err(StoreError::query("comparing the copy"))?;
            sum.add(&row);
            end = Some(table.key_of(&row));
        }
        match end {
            Some(end) => last = end,
            None => break,
        }
    }
    Ok(sum.end())
}

/// As the target can hold it.
fn fitting(cell: Cell) -> Cell {
    match cell {
        Cell::Text(value) => Cell::Text(text(&value)),
        other => other,
    }
}

fn argument(cell: &Cell) -> Argument<'_> {
    match cell {
        Cell::Text(text) => Argument::Text(Some(text)),
        other => Argument::Integer(as_integer(other).unwrap_or(0)),
    }
}

fn as_text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn as_integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(number) => Some(*number),
        _ => None,
    }
}

/// A checksum over rows, in their order.
#[derive(Default)]
struct Checksum {
    hash: Sha256,
    n_rows: u64,
}

impl Checksum {
    fn add(&mut self, row: &[Cell]) {
        self.n_rows += 1;
        for cell in row {
            match cell {
                Cell::Null => self.hash.update([0]),
                Cell::Integer(number) => {
                    self.hash.update([1]);
                    self.hash.update(number.to_be_bytes());
                }
                Cell::Real(number) => {
                    self.hash.update([2]);
                    self.hash.update(number.to_be_bytes());
                }
                Cell::Text(text) => {
                    self.hash.update([3]);
                    self.hash.update((text.len() as u64).to_be_bytes());
                    self.hash.update(text);
                }
            }
        }
    }

    fn end(self) -> (u64, [u8; 32]) {
        (self.n_rows, self.hash.finalize().into())
    }
}
