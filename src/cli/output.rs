//! Tables for eyes, JSON and CSV for programs: one way for every command that reads.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthChar as _;

use super::CliResult;
use crate::domain::activity::State;
use crate::domain::catalogue::{Language, Severity};
use crate::domain::text::one_line;
use crate::domain::time::Timestamp;
use crate::page::{check_word, delivery_word, event_word, owner_word, state_word};
use crate::settings::Settings;
use crate::spreadsheet::{self, write_csv, write_csv_part};
use crate::store::{Cell, Slice, StoreError, Table};
use crate::words::{Said, Words, Zone};

/// Where there is no terminal, as in a pipe or a file.
const WIDTH_ELSEWHERE: usize = 100;

/// Narrower than this nothing can be laid out.
const LEAST_WIDTH: usize = 20;

/// How many rows a table for eyes has where nobody asks for more.
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
    /// How many rows to read: what was asked for, else for eyes as many as are looked at, and all for programs.
    pub(super) fn limit(self, asked_for: Option<u32>) -> Option<u32> {
        asked_for.or((self == Format::Table).then_some(DEFAULT_LIMIT))
    }
}

/// Who reads: in which language, with which clocks, on how wide a terminal.
#[derive(Debug, Clone)]
pub(super) struct Eyes {
    pub(super) words: Words,
    pub(super) zone: Zone,
    /// In cells of the terminal.
    pub(super) width: usize,
}

impl Eyes {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { words: Words::of(settings.language), zone: settings.zone.clone(), width: width() }
    }

    /// Of which place the times are, on a line of its own.
    pub(super) fn zone_note(&self, at: Timestamp) -> String {
        let offset = self.zone.offset(at);
        let zone = match self.zone.name() {
            Zone::DEFAULT => self.words.zone_riyadh(offset).to_string(),
            name => self.words.zone_other(name.to_owned(), offset).to_string(),
        };
        self.words.sheet_zone(zone).to_string()
    }

    /// A time as it is stored, on the reader's clocks; any other text stays.
    pub(super) fn time(&self, text: &str) -> String {
        Timestamp::parse_lenient(text).map_or_else(|| one_line(text), |at| self.zone.minute(at))
    }

    /// A sentence that the database keeps in English, in the reader's language.
    pub(super) fn stored(&self, sentence: &str) -> String {
        one_line(self.words.stored(sentence).as_deref().unwrap_or(sentence))
    }

    pub(super) fn state(&self, label: &str) -> String {
        State::from_label(label)
            .map_or_else(|| one_line(label), |state| state_word(self.words, state).to_string())
    }

    /// A value in the words of its reader, by the column it is in.
    fn cell(&self, column: &str, cell: &Cell) -> String {
        let words = self.words;
        let word =
            |word: Option<Said<'_>>, text: &str| word.map_or_else(|| one_line(text), |word| word.to_string());
        match cell {
            Cell::Null => String::new(),
            Cell::Integer(n) if !column.ends_with("http_status") => {
                u64::try_from(*n).map_or_else(|_| n.to_string(), |n| words.number(n))
            }
            Cell::Integer(n) => n.to_string(),
            Cell::Real(n) => n.to_string(),
            Cell::Text(text) => match column {
                "state" | "latest_state" | "from_state" | "to_state" => self.state(text),
                "status" => word(delivery_word(words, text), text),
                "type" => event_word(words, text),
                "standing" => match text.as_str() {
                    "expired" => words.certificate_ended().to_string(),
                    "ending" => words.certificate_ending().to_string(),
                    _ => one_line(text),
                },
                "check_name" => word(check_word(words, text), text),
                "severity" => Severity::from_label(text).map_or_else(
                    || one_line(text),
                    |severity| severity.told().of(words.language()).to_owned(),
                ),
                "owner" | "next_step_owner" | "last_failure_owner" => word(owner_word(words, text), text),
                "reason" | "held_reason" | "last_error" | "an_error" => self.stored(text),
                "upkeep" => match text.as_str() {
                    "yes" => words.yes().to_string(),
                    _ => words.no().to_string(),
                },
                column if is_time(column) => self.time(text),
                _ => one_line(text),
            },
        }
    }
}

/// The terminal's width, or what `COLUMNS` says.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse::<usize>().ok());
    let of_terminal = || {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col))
    };
    said.or_else(of_terminal).filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE).max(LEAST_WIDTH)
}

/// Prints a table in the format asked for. The table for eyes has only the columns in `shown`, if there are any, and of
/// those only what has a value in some row; of `limit` rows it says that there may be more.
pub(super) fn print(
    table: &Table,
    format: Format,
    shown: &[&str],
    eyes: &Eyes,
    has_more: bool,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => {
            writeln!(out, "{}", for_eyes(table, shown, eyes))?;
            if has_more {
                writeln!(out, "{}", eyes.words.more_rows(table.rows.len() as u64))?;
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

/// Rows of a list that are read and printed at a time where all of it is wanted.
pub(super) const SLICE: u32 = 1_000;

/// Prints all of a list for a program, however long it is, in the memory of a slice. `next` reads the slice that follows
/// `None`, the beginning, or another one.
///
/// # Errors
/// Those of `next`, and what keeps standard output from being written.
pub(super) async fn print_all<P: Clone>(
    format: Format,
    next: impl AsyncFn(Option<P>) -> Result<Slice<P>, StoreError>,
) -> CliResult {
    let mut slice = next(None).await?;
    // Excel wants the mark before the first row, and the only letter that needs it may be in the last.
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
            Format::Csv => write_csv_part(&mut out, &slice.table, is_first.then_some(needs_mark))?,
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

/// Objects of an array as [`print_json`] writes it, but for its end.
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

/// How many cells of a terminal a text takes. Letter by letter: few terminals draw lam and alef as the one that they are in
/// print.
pub(super) fn cells(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Between two columns.
const GAP: usize = 2;

/// Keeps a terminal that reorders Arabic from reordering columns: it has no width, and everything on either side of it
/// stays there.
const KEEP_ORDER: char = '\u{200e}';

struct Column {
    heading: String,
    cells: Vec<String>,
    is_number: bool,
}

impl Column {
    /// As wide as its longest text.
    fn natural(&self) -> usize {
        self.cells.iter().chain([&self.heading]).map(|text| cells(text)).max().unwrap_or(0)
    }

    /// As wide as its longest word: what is narrower would break one.
    fn least(&self) -> usize {
        let words = self.cells.iter().chain([&self.heading]).flat_map(|text| text.split_whitespace());
        words.map(cells).max().unwrap_or(0)
    }
}

/// Columns where all of them fit, else a block for each row: nothing is left out.
pub(super) fn for_eyes(table: &Table, shown: &[&str], eyes: &Eyes) -> String {
    let positions: Vec<usize> = match shown {
        [] => (0..table.columns.len()).collect(),
        shown => {
            shown.iter().filter_map(|shown| table.columns.iter().position(|column| column == shown)).collect()
        }
    };
    let columns: Vec<Column> = positions
        .into_iter()
        .filter_map(|at| {
            let name = table.columns.get(at)?;
            let of_row = |row: &Vec<Cell>| row.get(at).map(|cell| eyes.cell(name, cell)).unwrap_or_default();
            let cells: Vec<String> = table.rows.iter().map(of_row).collect();
            let is_number = !table.rows.is_empty()
                && table
                    .rows
                    .iter()
                    .all(|row| matches!(row.get(at), Some(Cell::Integer(_) | Cell::Real(_) | Cell::Null)));
            let is_empty = !table.rows.is_empty() && cells.iter().all(String::is_empty);
            (!is_empty).then(|| Column { heading: heading(eyes.words, name), cells, is_number })
        })
        .collect();
    let mut lines = match widths(&columns, eyes.width) {
        Some(widths) => in_columns(&columns, &widths, table.rows.len(), eyes.words),
        None => in_blocks(&columns, table.rows.len(), eyes.width),
    };
    if table.rows.is_empty() {
        lines.push(format!("({})", eyes.words.none()));
    }
    let has_times = table.columns.iter().any(|column| is_time(column) || column == "standing");
    if let (true, true, Some(at)) = (has_times, !table.rows.is_empty(), some_time(table)) {
        lines.extend(wrapped(&eyes.zone_note(at), eyes.width));
    }
    lines.join("\n")
}

/// Whether a column holds times.
fn is_time(column: &str) -> bool {
    column.ends_with("_at") || matches!(column, "since" | "last_sign_of_life")
}

/// The first time in a table.
fn some_time(table: &Table) -> Option<Timestamp> {
    let at = table.columns.iter().position(|column| is_time(column))?;
    table.rows.iter().find_map(|row| match row.get(at) {
        Some(Cell::Text(text)) => Timestamp::parse_lenient(text),
        _ => None,
    })
}

/// A column's name in the reader's language.
fn heading(words: Words, name: &str) -> String {
    let said = match name {
        "activities" => words.col_activities(),
        "activity_id" | "latest_activity_id" => words.col_activity_id(),
        "an_error" | "last_error" => words.fact_last_error(),
        "attempts" => words.col_attempts(),
        "attempts_until_pcsid" => words.col_attempts_until_pcsid(),
        "cancelled" => words.state_cancelled(),
        "credentials" => words.col_credentials(),
        "check_name" => words.col_check(),
        "concluded_at" => words.col_ended(),
        "consecutive_errors" => words.fact_bad_answers(),
        "deliveries" => words.nav_deliveries(),
        "days_left" => words.col_days_left(),
        "delivered_at" => words.delivery_delivered(),
        "device_id" => words.col_device(),
        "event_id" => words.col_event_id(),
        "expired" => words.state_expired(),
        "expires_at" => words.col_expires(),
        "failed" => words.state_failed(),
        "first_attempt_at" => words.col_first_attempt(),
        "held_reason" => words.col_held_reason(),
        "in_progress" => words.state_in_progress(),
        "last_failure_owner" | "owner" => words.col_owner(),
        "last_polled_at" => words.fact_last_poll(),
        "last_seen_at" => words.col_last_seen(),
        "last_sign_of_life" => words.col_last_sign(),
        "last_attempt_at" | "latest_attempt_at" => words.col_latest_attempt(),
        "latest_state" | "state" | "status" => words.col_state(),
        "meaning" | "meaning_ar" => words.col_meaning(),
        "message" => words.col_message(),
        "name" => words.col_daemon(),
        "next_attempt_at" => words.col_next_attempt(),
        "next_poll_at" => words.fact_next_poll(),
        "not_reported" => words.not_reported(),
        "obtained_at" => words.col_obtained(),
        "oldest_event_at" => words.col_oldest(),
        "pcsid_at" => words.state_succeeded(),
        "pending" => words.state_pending(),
        "poll_count" => words.fact_polls(),
        "reference" => words.col_reference(),
        "registered_at" => words.col_added(),
        "reminded_at" => words.col_reminded(),
        "rejected" => words.state_rejected(),
        "remedy" | "remedy_ar" => words.col_todo(),
        "rule" => words.col_rule(),
        "severity" => words.col_severity(),
        "since" => words.col_since(),
        "sink" => words.col_sink(),
        "sinks" => words.col_sinks(),
        "stalled_at" => words.col_late_since(),
        "standing" => words.col_standing(),
        "succeeded" => words.col_succeeded(),
        "type" => words.col_event(),
        "upkeep" => words.col_upkeep(),
        "vat" => words.col_vat(),
        "vats" => words.col_vats(),
        "version" => words.col_version(),
        other => return one_line(&other.replace('_', " ")),
    };
    said.to_string()
}

/// How wide each column is; `None`: not even the longest words fit beside each other.
fn widths(columns: &[Column], width: usize) -> Option<Vec<usize>> {
    let gaps = GAP * columns.len().saturating_sub(1);
    let natural: Vec<usize> = columns.iter().map(Column::natural).collect();
    if natural.iter().sum::<usize>() + gaps <= width {
        return Some(natural);
    }
    let mut widths: Vec<usize> = columns.iter().map(Column::least).collect();
    let mut spare = width.checked_sub(widths.iter().sum::<usize>() + gaps)?;
    // A column that would be folded into very many lines is no column.
    let is_fit = |at: usize, widths: &[usize]| natural[at] <= widths[at] * MAX_FOLDS;
    // What is left goes to those that lack most, a cell at a time.
    while spare > 0 {
        let lacks = |at: usize| natural[at].saturating_sub(widths[at]);
        let Some(neediest) = (0..columns.len()).max_by_key(|at| lacks(*at)).filter(|at| lacks(*at) > 0)
        else {
            break;
        };
        widths[neediest] += 1;
        spare -= 1;
    }
    (0..columns.len()).all(|at| is_fit(at, &widths)).then_some(widths)
}

/// How many lines a cell may be folded into.
const MAX_FOLDS: usize = 6;

fn in_columns(columns: &[Column], widths: &[usize], n_rows: usize, words: Words) -> Vec<String> {
    let mut lines = Vec::new();
    let headings: Vec<&str> = columns.iter().map(|column| column.heading.as_str()).collect();
    row(&headings, columns, widths, words, &mut lines);
    lines.push("─".repeat(widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)));
    for nth in 0..n_rows {
        let texts: Vec<&str> =
            columns.iter().map(|column| column.cells.get(nth).map_or("", String::as_str)).collect();
        row(&texts, columns, widths, words, &mut lines);
    }
    lines
}

/// One row, of as many lines as its longest cell is folded into.
fn row(texts: &[&str], columns: &[Column], widths: &[usize], words: Words, lines: &mut Vec<String>) {
    let folded: Vec<Vec<String>> =
        texts.iter().zip(widths).map(|(text, width)| wrapped(text, *width)).collect();
    let height = folded.iter().map(Vec::len).max().unwrap_or(0);
    for nth in 0..height {
        let mut line = String::new();
        for ((folded, column), width) in folded.iter().zip(columns).zip(widths) {
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            if words.language() == Language::Arabic {
                line.push(KEEP_ORDER);
            }
            let text = folded.get(nth).map_or("", String::as_str);
            let padding = " ".repeat(width.saturating_sub(cells(text)));
            match column.is_number {
                true => line.extend([padding.as_str(), text]),
                false => line.extend([text, padding.as_str()]),
            }
        }
        lines.push(line.trim_end_matches([' ', KEEP_ORDER]).to_owned());
    }
}

/// A block for each row: its first value as a title, the others below it by their names.
fn in_blocks(columns: &[Column], n_rows: usize, width: usize) -> Vec<String> {
    let Some((title, rest)) = columns.split_first() else { return Vec::new() };
    let mut lines = Vec::new();
    let labels = rest.iter().map(|column| cells(&column.heading)).max().unwrap_or(0);
    for nth in 0..n_rows {
        let of = |column: &Column| column.cells.get(nth).cloned().unwrap_or_default();
        lines.extend(wrapped(&of(title), width));
        for column in rest {
            let value = of(column);
            if !value.is_empty() {
                lines.extend(labelled(&column.heading, &value, 2, labels, width));
            }
        }
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// A value after its name, folded beside it; below it where there is too little room.
pub(super) fn labelled(label: &str, value: &str, indent: usize, labels: usize, width: usize) -> Vec<String> {
    let begin = indent + labels + GAP;
    let room = width.saturating_sub(begin);
    let name = format!("{}{label}", " ".repeat(indent));
    if room < LEAST_WIDTH {
        let below = wrapped(value, width.saturating_sub(indent + 2));
        return std::iter::once(name)
            .chain(below.into_iter().map(|line| format!("{}{line}", " ".repeat(indent + 2))))
            .collect();
    }
    let mut lines = Vec::new();
    for (nth, line) in wrapped(value, room).into_iter().enumerate() {
        let before = match nth {
            0 => format!("{name}{}", " ".repeat(begin.saturating_sub(cells(&name)))),
            _ => " ".repeat(begin),
        };
        lines.push(format!("{before}{line}"));
    }
    lines
}

/// A text in lines of at most so many cells, folded between words; a word that is longer is broken.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let (mut line, mut filled) = (String::new(), 0);
    for word in text.split_whitespace() {
        let wide = cells(word);
        if filled > 0 && filled + 1 + wide <= width {
            line.push(' ');
            line.push_str(word);
            filled += 1 + wide;
            continue;
        }
        if filled > 0 {
            lines.push(std::mem::take(&mut line));
        }
        (line, filled) = broken(word, width, &mut lines);
    }
    if filled > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Breaks a word that is longer than a line; the last piece is the line that goes on.
fn broken(word: &str, width: usize, lines: &mut Vec<String>) -> (String, usize) {
    if cells(word) <= width {
        return (word.to_owned(), cells(word));
    }
    let (mut piece, mut filled) = (String::new(), 0);
    for c in word.chars() {
        let wide = c.width().unwrap_or(0);
        if filled + wide > width && filled > 0 {
            lines.push(std::mem::take(&mut piece));
            filled = 0;
        }
        piece.push(c);
        filled += wide;
    }
    (piece, filled)
}

/// A cell as text; nothing for null.
pub(super) fn text(cell: &Cell) -> String {
    spreadsheet::text(cell)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eyes(language: Language, width: usize) -> Eyes {
        Eyes { words: Words::of(language), zone: Zone::default(), width }
    }

    fn table() -> Table {
        let text = |text: &str| Cell::Text(text.to_owned());
        Table::new(
            &["rule", "check_name", "activities", "meaning", "last_seen_at", "reference"],
            vec![
                vec![
                    text("BR-KSA-37"),
                    text("StandardTaxInvoice"),
                    Cell::Integer(1_234),
                    text(&"a building number has four digits ".repeat(6)),
                    text("2026-05-26T09:02:11.000Z"),
                    Cell::Null,
                ],
                vec![
                    text("BR-KSA-66"),
                    text("SimplifiedTaxInvoiceDebit"),
                    Cell::Integer(7),
                    text("الرمز البريدي خمسة أرقام"),
                    Cell::Null,
                    Cell::Null,
                ],
            ],
        )
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_is_left_out() {
        for language in [Language::English, Language::Arabic] {
            for width in [20, 40, 60, 80, 100, 160, 400] {
                let drawn = for_eyes(&table(), &[], &eyes(language, width));
                for line in drawn.lines() {
                    assert!(cells(line) <= width, "{width}: {line:?}");
                }
                let words: String = drawn.split_whitespace().collect();
                let expected = ["BR-KSA-37", "BR-KSA-66", "1,234", "12:02", "UTC+3"];
                for part in expected {
                    assert!(words.contains(part), "{width}: {part} is missing in\n{drawn}");
                }
            }
        }
    }

    #[test]
    fn an_empty_column_takes_no_room_and_a_row_that_does_not_fit_becomes_a_block() {
        let wide = for_eyes(&table(), &[], &eyes(Language::English, 160));
        assert!(wide.starts_with("Rule       Check"), "{wide}");
        assert!(!wide.contains("Reference"), "{wide}");
        let narrow = for_eyes(&table(), &[], &eyes(Language::English, 40));
        assert!(narrow.starts_with("BR-KSA-37\n  Check"), "{narrow}");
    }

    #[test]
    fn the_daemons_on_a_database_are_told_in_the_readers_language_and_time() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let replicas = Table::new(
            &["name", "version", "since", "last_sign_of_life", "credentials", "sinks", "upkeep"],
            vec![vec![
                text("till"),
                text("0.1.0"),
                text("2026-05-26T09:02:11.000Z"),
                text("2026-05-26T09:05:11.000Z"),
                text("main"),
                Cell::Null,
                text("yes"),
            ]],
        );
        let drawn = for_eyes(&replicas, &[], &eyes(Language::Arabic, 160));
        for part in
            ["الخدمة", "الإصدار", "آخر إشارة", "رموز الوصول", "الصيانة", "نعم", "12:02", "12:05", "UTC+3"]
        {
            assert!(drawn.contains(part), "{part} is missing in\n{drawn}");
        }
    }

    #[test]
    fn an_empty_table_says_so() {
        let none = for_eyes(&Table::new(&["vat"], Vec::new()), &[], &eyes(Language::English, 80));
        assert!(none.ends_with("(none)"), "{none}");
    }

    proptest! {
        #[test]
        fn folding_keeps_every_word_and_the_width(text in "[a-zا-ي ]{0,200}", width in 1_usize..60) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| cells(line) <= width.max(2)));
            let joined: String = lines.concat().split_whitespace().collect();
            let expected: String = text.split_whitespace().collect();
            prop_assert_eq!(joined, expected);
        }
    }
}
