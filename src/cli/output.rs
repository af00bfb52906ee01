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
    /// A header row and a row each; with a byte order mark where the text needs one, so that Excel reads it
    Csv,
}

impl Format {
    /// How many rows to read without `--limit`: [`DEFAULT_LIMIT`] for people, all for programs.
    pub(super) fn limit(self, asked_for: Option<u32>) -> Option<u32> {
        asked_for.or((self == Format::Table).then_some(DEFAULT_LIMIT))
    }
}

/// Prints a table in the format asked for. For people it has only the columns in `shown` (empty: all), leaves out
/// columns without any value, and says so if there are more rows than these.
pub(super) fn print(
    table: &Table,
    format: Format,
    shown: &[&str],
    reader: &Reader,
    has_more: bool,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => {
            writeln!(out, "{}", draw(table, shown, reader))?;
            if has_more {
                writeln!(out, "{}", reader.words.more_rows(table.rows.len() as u64))?;
            }
        }
        Format::Json => {
            let rows: Vec<Value> = table.objects().into_iter().map(Value::Object).collect();
            print_json(&mut out, &rows)?;
        }
        Format::Csv => write_csv(&mut out, table)?,
    }
    out.flush()
}

/// How many rows [`print_all`] reads and prints at a time.
pub(super) const SLICE: u32 = 1_000;

/// Prints all of a list for a program, slice by slice, so that memory doesn't grow with the list. `next` reads the
/// slice after a position; `None` is the beginning.
///
/// # Errors
/// Those of `next`, and what keeps standard output from being written.
pub(super) async fn print_all<P: Clone>(
    format: Format,
    next: impl AsyncFn(Option<P>) -> Result<Slice<P>, StoreError>,
) -> CliResult {
    let mut slice = next(None).await?;
    // Excel wants the byte order mark before the first row, and the only letter that needs one may be in the last.
    let mut needs_mark = spreadsheet::needs_mark(&slice.table);
    if format == Format::Csv {
        let (mut last, mut has_more) = (slice.last.clone(), slice.has_more);
        while has_more && !needs_mark {
            let ahead = next(last).await?;
            needs_mark = spreadsheet::needs_mark(&ahead.table);
            (last, has_more) = (ahead.last, ahead.has_more);
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
            Format::Json | Format::Table => write_json_part(&mut out, &slice.table, is_first)?,
        }
        is_first &= slice.table.rows.is_empty();
        if !slice.has_more {
            break;
        }
        slice = next(slice.last).await?;
    }
    if format != Format::Csv {
        writeln!(out, "{}", if is_first { "[]" } else { "\n]" })?;
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
