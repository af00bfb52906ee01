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

/// Aligned columns, those in `shown` in their order, or all; where standard output is a terminal, as many of them as fit
/// into it, from the first on.
pub(super) fn for_eyes(table: &Table, shown: &[&str]) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn
        .load_style(TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─')))
        .set_content_arrangement(ContentArrangement::Dynamic);
    let mut positions: Vec<usize> = match shown {
        [] => (0..table.columns.len()).collect(),
        shown => {
            shown.iter().filter_map(|shown| table.columns.iter().position(|column| column == shown)).collect()
        }
    };
    let left_out = match drawn.width() {
        Some(width) => positions.split_off(n_fitting(table, &positions, width)),
        None => Vec::new(),
    };
    drawn.set_header(positions.iter().map(|&at| heading(table, at)));
    for row in &table.rows {
        drawn.add_row(
            positions.iter().map(|&at| row.get(at).map(|cell| printable(&text(cell))).unwrap_or_default()),
        );
    }
    let constraints: Vec<_> = positions
        .iter()
        .map(|&at| ColumnConstraint::LowerBoundary(Width::Fixed(least_width(table, at))))
        .collect();
    drawn.set_constraints(constraints);
    let drawn = drawn.to_string();
    let mut lines: Vec<String> = drawn.lines().map(|line| line.trim_end().to_owned()).collect();
    if table.rows.is_empty() {
        lines.push("(none)".to_owned());
    }
    if !left_out.is_empty() {
        lines.push(format!("({} more columns: --format csv has all)", left_out.len()));
    }
    lines.join("\n")
}

fn heading(table: &Table, at: usize) -> String {
    table.columns.get(at).map(|column| column.replace('_', " ")).unwrap_or_default()
}

/// How many of these columns fit, from the first on; one at least.
fn n_fitting(table: &Table, positions: &[usize], width: u16) -> usize {
    /// Between two columns a line that is not drawn.
    const BETWEEN: u16 = 1;
    let mut left = width.saturating_sub(1);
    let fits = |at: &&usize| {
        left = left.saturating_sub(least_width(table, **at) + BETWEEN);
        left > 0
    };
    positions.iter().take_while(fits).count().max(1)
}

/// Text that a spreadsheet would calculate, with an apostrophe before it: somebody else wrote it. What is made of
/// an id's characters alone is no formula.
fn no_formula(text: String) -> String {
    let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_id { format!("'{text}") } else { text }
}

/// Long texts are folded between words to fit a terminal; ids, times and numbers stay in one piece. With the
/// padding around them.
fn least_width(table: &Table, at: usize) -> u16 {
    const LONGEST_ID: usize = 36;
    const NARROWEST_TEXT: usize = 14;
    let of_cell = |cell: &Cell| {
        let text = text(cell);
        let words = text.split_whitespace();
        let longest_word = words.map(|word| word.chars().count()).max().unwrap_or(0);
        longest_word.max(text.chars().count().min(NARROWEST_TEXT))
    };
    let widest = table.rows.iter().filter_map(|row| row.get(at)).map(of_cell).max().unwrap_or(0);
    let heading = heading(table, at).split(' ').map(str::len).max().unwrap_or(0);
    u16::try_from(widest.min(LONGEST_ID).max(heading) + 2).unwrap_or(u16::MAX)
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
