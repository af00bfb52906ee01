//! Tables as CSV that a spreadsheet opens without harm.

use std::io::Write;

use crate::domain::text::is_direction_mark;
use crate::store::{Cell, Table};

/// A header row and a row each, with CR LF; with a byte order mark where the text needs one, so that Excel reads it. Text
/// that a spreadsheet would calculate has an apostrophe before it.
///
/// # Errors
/// Only those of `out`.
pub fn write_csv(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    write_csv_part(out, table, Some(needs_mark(table)))
}

/// Whether a spreadsheet would take the table's letters for others.
pub fn needs_mark(table: &Table) -> bool {
    let is_ascii = |cell: &Cell| !matches!(cell, Cell::Text(text) if !text.is_ascii());
    !table.rows.iter().flatten().all(is_ascii)
}

/// A part of a file. `begins`: it is the first one, with a mark or without one; a later part may need it.
///
/// # Errors
/// Only those of `out`.
pub fn write_csv_part(out: &mut impl Write, table: &Table, begins: Option<bool>) -> std::io::Result<()> {
    write(out, begins == Some(true), begins.is_some().then_some(&table.columns), table)
}

fn write(
    out: &mut impl Write,
    has_mark: bool,
    header: Option<&Vec<String>>,
    table: &Table,
) -> std::io::Result<()> {
    if has_mark {
        out.write_all("\u{feff}".as_bytes())?;
    }
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let io = |err: csv::Error| match err.into_kind() {
        csv::ErrorKind::Io(err) => err,
        other => std::io::Error::other(format!("{other:?}")),
    };
    if let Some(header) = header {
        writer.write_record(header).map_err(io)?;
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

/// Text that a spreadsheet would calculate, with an apostrophe before it: somebody else wrote it. What is made of
/// an id's characters alone is no formula.
fn no_formula(text: String) -> String {
    // Some take the wide forms for the plain ones, and some pass over what can't be seen in front of them.
    const CALCULATES: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let unseen = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || is_direction_mark(c)
            || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
    };
    let is_formula =
        text.starts_with(['\t', '\r', '\n']) || text.trim_start_matches(unseen).starts_with(CALCULATES);
    if is_formula && !is_id { format!("'{text}") } else { text }
}
