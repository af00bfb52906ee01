//! Tables for people: in columns if they fit the terminal, otherwise in blocks. Every value is shown in full.

use unicode_width::UnicodeWidthChar as _;

use super::reader::{LEAST_WIDTH, Reader, heading, is_time};
use crate::domain::catalogue::Language;
use crate::domain::time::Timestamp;
use crate::store::{Cell, Table};
use crate::words::Words;

/// Spaces between two columns.
const GAP: usize = 2;

/// Keeps a terminal that reorders Arabic from reordering columns. It has no width, and what is on either side of it
/// stays there.
const KEEP_ORDER: char = '\u{200e}';

struct Column {
    heading: String,
    cells: Vec<String>,
    is_number: bool,
}

impl Column {
    /// The width of its longest text.
    fn natural(&self) -> usize {
        self.cells.iter().chain([&self.heading]).map(|text| cells(text)).max().unwrap_or(0)
    }

    /// The width of its longest word. A narrower column would break it.
    fn least(&self) -> usize {
        let words = self.cells.iter().chain([&self.heading]).flat_map(|text| text.split_whitespace());
        words.map(cells).max().unwrap_or(0)
    }
}

/// Draws a table in columns if all of them fit, else as a block for each row. Nothing is left out.
pub(super) fn draw(table: &Table, shown: &[&str], reader: &Reader) -> String {
    let positions: Vec<usize> = match shown {
        [] => (0..table.columns.len()).collect(),
        shown => shown.iter().filter_map(|name| table.position(name)).collect(),
    };
    let columns: Vec<Column> = positions
        .into_iter()
        .filter_map(|at| {
            let name = table.columns.get(at)?;
            let of_row =
                |row: &Vec<Cell>| row.get(at).map(|cell| reader.cell(name, cell)).unwrap_or_default();
            let cells: Vec<String> = table.rows.iter().map(of_row).collect();
            let is_number = !table.rows.is_empty()
                && table
                    .rows
                    .iter()
                    .all(|row| matches!(row.get(at), Some(Cell::Integer(_) | Cell::Real(_) | Cell::Null)));
            let is_empty = !table.rows.is_empty() && cells.iter().all(String::is_empty);
            (!is_empty).then(|| Column { heading: heading(reader.words, name), cells, is_number })
        })
        .collect();
    let mut lines = match widths(&columns, reader.width) {
        Some(widths) => in_columns(&columns, &widths, table.rows.len(), reader.words),
        None => in_blocks(&columns, table.rows.len(), reader.width),
    };
    if table.rows.is_empty() {
        lines.push(format!("({})", reader.words.none()));
    }
    let has_times = table.columns.iter().any(|column| is_time(column) || column == "standing");
    if let (true, true, Some(at)) = (has_times, !table.rows.is_empty(), some_time(table)) {
        lines.extend(wrapped(&reader.zone_note(at), reader.width));
    }
    lines.join("\n")
}

/// The first time in a table.
fn some_time(table: &Table) -> Option<Timestamp> {
    let at = table.columns.iter().position(|column| is_time(column))?;
    table.rows.iter().find_map(|row| match row.get(at) {
        Some(Cell::Text(text)) => Timestamp::parse_lenient(text),
        _ => None,
    })
}

/// How wide each column is; `None` if the columns don't fit, or a text would be folded too often.
fn widths(columns: &[Column], width: usize) -> Option<Vec<usize>> {
    let gaps = GAP * columns.len().saturating_sub(1);
    let natural: Vec<usize> = columns.iter().map(Column::natural).collect();
    if natural.iter().sum::<usize>() + gaps <= width {
        return Some(natural);
    }
    let mut widths: Vec<usize> = columns.iter().map(Column::least).collect();
    let mut spare = width.checked_sub(widths.iter().sum::<usize>() + gaps)?;
    // A column whose text would be folded into too many lines is not readable as a column.
    let is_fit = |at: usize, widths: &[usize]| natural[at] <= widths[at] * MAX_FOLDS;
    // The remaining width is given, cell by cell, to the column that lacks most.
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

/// A value after its name, folded beside it, or below it if there is too little room.
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

/// How many cells of a terminal a text takes, counted letter by letter: few terminals draw lam and alef as one letter.
pub(super) fn cells(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::zone::Zone;

    fn reader(language: Language, width: usize) -> Reader {
        Reader { words: Words::of(language), zone: Zone::default(), width }
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
                let drawn = draw(&table(), &[], &reader(language, width));
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
        let wide = draw(&table(), &[], &reader(Language::English, 160));
        assert!(wide.starts_with("Rule       Check"), "{wide}");
        assert!(!wide.contains("Reference"), "{wide}");
        let narrow = draw(&table(), &[], &reader(Language::English, 40));
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
        let drawn = draw(&replicas, &[], &reader(Language::Arabic, 160));
        for part in
            ["الخدمة", "الإصدار", "آخر إشارة", "رموز الوصول", "الصيانة", "نعم", "12:02", "12:05", "UTC+3"]
        {
            assert!(drawn.contains(part), "{part} is missing in\n{drawn}");
        }
    }

    #[test]
    fn an_empty_table_says_so() {
        let none = draw(&Table::new(&["vat"], Vec::new()), &[], &reader(Language::English, 80));
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
