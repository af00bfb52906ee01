//! Tables for eyes, JSON and CSV for programs: one way for every command that reads.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};
use serde_json::Value;

use crate::store::{Cell, Table};

/// How a reading command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns, cut to the terminal
    #[default]
    Table,
    /// One array of objects
    Json,
    /// A header row and a row each; with a byte order mark where the text needs one, so that Excel reads it
    Csv,
}

/// Prints a table in the format asked for. The table for eyes has only the columns in `shown`, if there are any.
pub(super) fn print(table: &Table, format: Format, shown: &[&str]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", for_eyes(table, shown))?,
        Format::Json => {
            let rows: Vec<Value> = table.objects().into_iter().map(Value::Object).collect();
            print_json(&mut out, &Value::Array(rows))?;
        }
        Format::Csv => print_csv(&mut out, table)?,
    }
    out.flush()
}

/// Pretty JSON with a line break at its end.
pub(super) fn print_json(out: &mut impl Write, value: &Value) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// Text from outside as a terminal may see it: on one line, without control characters, and without the marks
/// that reorder what follows them.
pub(super) fn printable(text: &str) -> String {
    let is_reordering = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || is_reordering(c) { ' ' } else { c }).collect()
}

/// Aligned columns; where standard output is a terminal, as wide as that.
pub(super) fn for_eyes(table: &Table, shown: &[&str]) -> String {
    let positions: Vec<usize> = (0..table.columns.len())
        .filter(|&at| shown.is_empty() || shown.contains(&table.columns[at].as_str()))
        .collect();
    let mut drawn = comfy_table::Table::new();
    drawn
        .load_style(TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─')))
        .set_content_arrangement(ContentArrangement::Dynamic);
    drawn.set_header(positions.iter().map(|&at| table.columns[at].replace('_', " ")));
    for row in &table.rows {
        drawn.add_row(
            positions.iter().map(|&at| row.get(at).map(|cell| printable(&text(cell))).unwrap_or_default()),
        );
    }
    let constraints: Vec<_> = positions.iter().map(|&at| unbroken(table, at)).collect();
    drawn.set_constraints(constraints);
    let drawn = drawn.to_string();
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    if table.rows.is_empty() { format!("{}\n(none)", lines.join("\n")) } else { lines.join("\n") }
}

/// Text that a spreadsheet would calculate, with an apostrophe before it: somebody else wrote it. What is made of
/// an id's characters alone is no formula.
fn no_formula(text: String) -> String {
    let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_id { format!("'{text}") } else { text }
}

/// Long texts are folded to fit a terminal; ids, times and numbers stay in one piece, however narrow it is.
fn unbroken(table: &Table, at: usize) -> ColumnConstraint {
    const LONGEST_ID: usize = 36;
    let widest = table.rows.iter().filter_map(|row| row.get(at)).map(|cell| text(cell).chars().count()).max();
    let heading = table.columns[at].split('_').map(str::len).max().unwrap_or(0);
    let width = widest.unwrap_or(0).min(LONGEST_ID).max(heading);
    ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(width + 2).unwrap_or(u16::MAX)))
}

fn print_csv(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> =
        table.rows.iter().map(|row| row.iter().map(|cell| no_formula(text(cell))).collect()).collect();
    if !rows.iter().flatten().all(|cell| cell.is_ascii()) {
        out.write_all("\u{feff}".as_bytes())?;
    }
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let io = |err: csv::Error| match err.into_kind() {
        csv::ErrorKind::Io(err) => err,
        other => std::io::Error::other(format!("{other:?}")),
    };
    writer.write_record(&table.columns).map_err(io)?;
    for row in rows {
        writer.write_record(row).map_err(io)?;
    }
    writer.flush()
}
