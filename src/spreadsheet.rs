//! Tables as CSV files that are safe to open in a spreadsheet.

use std::io::Write;

use crate::domain::text::is_layout_mark;
use crate::store::{Cell, Table};

/// A header row and a line for each row, each ending in CR LF, after a byte order mark if [`needs_mark`] says so. An
/// apostrophe is put before text that a spreadsheet would take for a formula.
///
/// # Errors
/// Only those of `out`.
pub fn write_csv(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    write_csv_part(out, table, Part::First { has_mark: needs_mark(table) })
}

/// Whether the table has letters that Excel shows wrongly unless the file begins with a byte order mark.
pub fn needs_mark(table: &Table) -> bool {
    let is_ascii = |cell: &Cell| !matches!(cell, Cell::Text(text) if !text.is_ascii());
    !table.rows.iter().flatten().all(is_ascii)
}

/// The part of a file that rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first, with the header row. A byte order mark, if there is one, stands before it, even if only a later part
    /// needs it.
    First {
        /// Whether the file begins with a byte order mark.
        has_mark: bool,
    },
    /// Any other.
    Later,
}

/// A part of a file that is written piece by piece.
///
/// # Errors
/// Only those of `out`.
pub fn write_csv_part(out: &mut impl Write, table: &Table, part: Part) -> std::io::Result<()> {
    if part == (Part::First { has_mark: true }) {
        out.write_all("\u{feff}".as_bytes())?;
    }
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let io = |err: csv::Error| match err.into_kind() {
        csv::ErrorKind::Io(err) => err,
        other => std::io::Error::other(format!("{other:?}")),
    };
    if part != Part::Later {
        writer.write_record(&table.columns).map_err(io)?;
    }
    for row in &table.rows {
        writer.write_record(row.iter().map(|cell| no_formula(text(cell)))).map_err(io)?;
    }
    writer.flush()
}

/// A cell as text; nothing for null.
pub fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// Puts an apostrophe before text that a spreadsheet would take for a formula, since others chose that text. Text that
/// consists only of the characters of ids is no formula.
fn no_formula(text: String) -> String {
    // Some spreadsheets accept the wide forms too, and some skip invisible characters before them.
    const CALCULATES: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let unseen = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || is_layout_mark(c)
            || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
    };
    let is_formula =
        text.starts_with(['\t', '\r', '\n']) || text.trim_start_matches(unseen).starts_with(CALCULATES);
    if is_formula && !is_id { format!("'{text}") } else { text }
}
