//! How commands that read print: tables for people, JSON and CSV for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::CliResult;
use super::reader::Reader;
use super::table::draw;
use crate::spreadsheet::{self, Part, write_csv, write_csv_part};
use crate::store::{Slice, StoreError, Table};

/// How many rows a table for people has without `--limit`.
pub(super) const DEFAULT_LIMIT: u32 = 200;

/// How a reading command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: columns if they fit the terminal, else a block for each row
    #[default]
    Table,
    /// One array of objects
    Json,
    /// A header row, then the rows; with a byte order mark if the text needs one, so that Excel reads it
    Csv,
}

impl Format {
    /// How many rows to read without `--limit`: [`DEFAULT_LIMIT`] for people, all for programs.
    pub(super) fn limit(self, asked_for: Option<u32>) -> Option<u32> {
        asked_for.or((self == Format::Table).then_some(DEFAULT_LIMIT))
    }
}

/// Prints a table in the format asked for. For people it has only the columns in `shown` (empty: all) that have a
/// value.
pub(super) fn print(table: &Table, format: Format, shown: &[&str], reader: &Reader) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", draw(table, shown, reader))?,
        Format::Json => {
            let rows: Vec<Value> = table.objects().into_iter().map(Value::Object).collect();
            print_json(&mut out, &rows)?;
        }
        Format::Csv => write_csv(&mut out, table)?,
    }
    out.flush()
}

/// How many rows [`print_slices`] reads and prints at a time.
pub(super) const SLICE: u32 = 1_000;

/// Prints a list, `limit` rows of it at most, slice by slice, so that memory doesn't grow with the list. `next` reads
/// the slice after a position, of at most so many rows; no position is the beginning. For people each slice is a table
/// as [`print()`] makes it, and the last line says if there is more.
///
/// # Errors
/// Those of `next`, and what keeps standard output from being written.
pub(super) async fn print_slices<P: Clone>(
    format: Format,
    limit: Option<u32>,
    shown: &[&str],
    reader: &Reader,
    next: impl AsyncFn(Option<P>, u32) -> Result<Slice<P>, StoreError>,
) -> CliResult {
    let limit = limit.unwrap_or(u32::MAX);
    let read = async |after: Option<P>, n_before: u32| -> Result<(Slice<P>, u32), StoreError> {
        let n_left = limit - n_before;
        let mut slice = next(after, SLICE.min(n_left)).await?;
        // A slice of a report may have more rows than were asked for.
        slice.has_more |= slice.table.rows.len() > n_left as usize;
        slice.table.rows.truncate(n_left as usize);
        let n_rows = u32::try_from(slice.table.rows.len()).unwrap_or(n_left);
        Ok((slice, n_before + n_rows))
    };
    let (mut slice, mut n_rows) = read(None, 0).await?;
    // Excel wants the byte order mark at the beginning, and the only letter that needs one may be in the last row.
    let mut needs_mark = spreadsheet::needs_mark(&slice.table);
    if format == Format::Csv {
        let (mut last, mut has_more, mut n_ahead) = (slice.last.clone(), slice.has_more, n_rows);
        while has_more && n_ahead < limit && !needs_mark {
            let (ahead, n) = read(last, n_ahead).await?;
            needs_mark = spreadsheet::needs_mark(&ahead.table);
            (last, has_more, n_ahead) = (ahead.last, ahead.has_more, n);
        }
    }
    let mut out = std::io::stdout().lock();
    let mut is_first = true;
    loop {
        match format {
            Format::Csv => {
                let part = if is_first { Part::First { has_mark: needs_mark } } else { Part::Later };
                write_csv_part(&mut out, &slice.table, part)?;
            }
            Format::Json => write_json_part(&mut out, &slice.table, is_first)?,
            Format::Table if is_first => writeln!(out, "{}", draw(&slice.table, shown, reader))?,
            Format::Table => writeln!(out, "\n{}", draw(&slice.table, shown, reader))?,
        }
        is_first &= slice.table.rows.is_empty();
        if !slice.has_more || n_rows == limit {
            break;
        }
        (slice, n_rows) = read(slice.last, n_rows).await?;
    }
    match format {
        Format::Json => writeln!(out, "{}", if is_first { "[]" } else { "\n]" })?,
        Format::Table if slice.has_more => writeln!(out, "{}", reader.words.more_rows(u64::from(n_rows)))?,
        Format::Table | Format::Csv => {}
    }
    Ok(out.flush()?)
}

/// Objects of an array as [`print_json`] writes it, without the closing bracket.
fn write_json_part(out: &mut impl Write, table: &Table, is_first: bool) -> std::io::Result<()> {
    for (nth, row) in table.objects().into_iter().enumerate() {
        out.write_all(if is_first && nth == 0 { b"[\n  " } else { b",\n  " })?;
        out.write_all(serde_json::to_string_pretty(&row)?.replace('\n', "\n  ").as_bytes())?;
    }
    Ok(())
}

/// Pretty JSON with a line break at its end.
pub(super) fn print_json(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
