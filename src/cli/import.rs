//! `import`: all rows of a CSV file or none, every bad row named with its line.

use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::activities::register;
use super::{CliError, CliResult};
use crate::domain::activity::Registration;
use crate::settings::Settings;
use crate::store::RegisterOutcome;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// CSV file with a header row (`-`: standard input)
    file: PathBuf,
}

pub(super) async fn import(settings: &Settings, args: ImportArgs) -> CliResult {
    let name =
        if args.file.as_os_str() == "-" { "standard input".into() } else { args.file.display().to_string() };
    let bytes = read(&args.file).map_err(|err| CliError::unusable(format!("{name} can't be read: {err}")))?;
    let registrations = parse(&bytes).map_err(|problems| CliError::unusable(refusal(&name, &problems)))?;
    let outcomes = register(settings, &registrations).await?;
    let n_new = outcomes.iter().filter(|outcome| **outcome == RegisterOutcome::New).count();
    let n_known = outcomes.len() - n_new;
    Ok(writeln!(
        std::io::stdout(),
        "{n_new} activities are watched from now on, {n_known} were known already"
    )?)
}

fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refusal(name: &str, problems: &[String]) -> String {
    let mut text = format!("{name}: nothing was imported, for these rows can't be used:");
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(problem);
    }
    text
}

/// Tells which line a record begins on. The reader's own count is one behind after CR LF, for it sees the
/// line feed only with the next record.
struct Lines<'a> {
    bytes: &'a [u8],
    counted_to: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the first record at or after this offset; offsets must not go back.
    fn at(&mut self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let begins_at = offset + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.get(self.counted_to..begins_at).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted_to = begins_at;
        self.line
    }
}

/// Where the columns stand.
struct Columns {
    vat: usize,
    activity_id: usize,
    device_id: Option<usize>,
    reference: Option<usize>,
}

fn parse(bytes: &[u8]) -> Result<Vec<Registration>, Vec<String>> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|err| vec![format!("line 1: {err}")])?.clone();
    let columns = columns(&header)?;
    let (mut registrations, mut problems) = (Vec::new(), Vec::new());
    let mut record = csv::ByteRecord::new();
    let mut lines = Lines { bytes, counted_to: 0, line: 1 };
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = record.position().map_or(0, |position| lines.at(position.byte()));
                match registration(&record, &columns, header.len()) {
                    Ok(registration) => registrations.push(registration),
                    Err(problem) => problems.push(format!("line {line}: {problem}")),
                }
            }
            Err(err) => {
                problems.push(err.to_string());
                break;
            }
        }
    }
    if problems.is_empty() { Ok(registrations) } else { Err(problems) }
}

fn columns(header: &csv::ByteRecord) -> Result<Columns, Vec<String>> {
    let rule =
        "the header must be vat,activity_id and, if wanted, device_id and reference, separated by commas";
    let position = |name: &str| header.iter().position(|column| column == name.as_bytes());
    let known = ["vat", "activity_id", "device_id", "reference"];
    for (at, column) in header.iter().enumerate() {
        let text = String::from_utf8_lossy(column);
        if !known.contains(&text.as_ref()) {
            return Err(vec![format!("line 1: column `{}` is not known: {rule}", text.escape_debug())]);
        }
        if header.iter().take(at).any(|other| other == column) {
            return Err(vec![format!("line 1: column `{text}` stands twice: {rule}")]);
        }
    }
    match (position("vat"), position("activity_id")) {
        (Some(vat), Some(activity_id)) => Ok(Columns {
            vat,
            activity_id,
            device_id: position("device_id"),
            reference: position("reference"),
        }),
        _ => Err(vec![format!("line 1: {rule}")]),
    }
}

fn registration(
    record: &csv::ByteRecord,
    columns: &Columns,
    n_columns: usize,
) -> Result<Registration, String> {
    if record.len() != n_columns {
        return Err(format!("it has {} fields, the header has {n_columns}", record.len()));
    }
    let field = |at: usize| {
        let bytes = record.get(at).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| format!("field {} is not UTF-8", at + 1))
    };
    let optional = |at: Option<usize>| at.map(field).transpose();
    Registration::parse(
        field(columns.vat)?,
        field(columns.activity_id)?,
        optional(columns.device_id)?,
        optional(columns.reference)?,
    )
    .map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Result<Vec<String>, Vec<String>> {
        let ids = |all: Vec<Registration>| all.into_iter().map(|one| one.activity_id.to_string()).collect();
        parse(text.as_bytes()).map(ids)
    }

    #[test]
    fn files_as_spreadsheets_write_them_are_read() {
        let bom_and_crlf = "\u{feff}vat,activity_id\r\n310122393500003,a\r\n310122393500003,b\r\n";
        assert_eq!(ids(bom_and_crlf), Ok(vec!["a".into(), "b".into()]));
        let quoted = "activity_id,reference,vat\n\"a\",\"طلب ٧, \"\"عاجل\"\"\",3\n";
        let parsed = parse(quoted.as_bytes()).unwrap();
        assert_eq!(parsed[0].reference.as_deref(), Some("طلب ٧, \"عاجل\""));
        assert_eq!(ids("vat,activity_id\n"), Ok(vec![]));
    }

    #[test]
    fn every_bad_row_is_named_with_its_line() {
        let text = "vat,activity_id\n3,ok\n3,../x\n,b\n\n3\n\"3\",\"two\nlines\"\n3,ok2,more\n";
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            let problems = ids(&text).unwrap_err();
            let lines: Vec<&str> =
                problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
            assert_eq!(lines, ["line 3", "line 4", "line 6", "line 7", "line 9"]);
        }
    }

    #[test]
    fn a_header_that_is_not_the_documented_one_is_refused() {
        for text in
            ["", "vat\n3\n", "vat;activity_id\n3;a\n", "vat,activity_id,colour\n", "vat,activity_id,vat\n"]
        {
            assert!(ids(text).is_err(), "{text:?}");
        }
    }
}
