//! `import`: all rows of a CSV file or none, every bad row named with its line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::activities::register;
use super::{CliError, CliResult, complain, open};
use crate::clock;
use crate::domain::activity::Registration;
use crate::domain::certificate::ImportedCertificate;
use crate::domain::lines::Lines;
use crate::settings::Settings;
use crate::store::RegisterOutcome;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// CSV file with a header row (`-`: standard input)
    file: PathBuf,
    /// The file holds certificates that devices have already, with the columns vat, device_id and obtained_at or expires_at
    #[arg(long)]
    certificates: bool,
}

pub(super) async fn import(settings: &Settings, args: ImportArgs) -> CliResult {
    let name =
        if args.file.as_os_str() == "-" { "standard input".into() } else { args.file.display().to_string() };
    let bytes = read(&args.file).map_err(|err| CliError::unusable(format!("{name} can't be read: {err}")))?;
    if args.certificates {
        return import_certificates(settings, &name, &bytes).await;
    }
    let registrations = parse(&bytes).map_err(|problems| CliError::unusable(refusal(&name, &problems)))?;
    let outcomes = register(settings, &registrations).await?;
    let n_new = outcomes.iter().filter(|outcome| **outcome == RegisterOutcome::New).count();
    let n_known = outcomes.len() - n_new;
    Ok(writeln!(
        std::io::stdout(),
        "{n_new} activities are watched from now on, {n_known} were known already"
    )?)
}

async fn import_certificates(settings: &Settings, name: &str, bytes: &[u8]) -> CliResult {
    let renewal = &settings.policy.renewal;
    let certificates = parse_certificates(bytes, renewal.valid_for())
        .map_err(|problems| CliError::unusable(refusal(name, &problems)))?;
    let store = open(settings).await?;
    let base_url = &settings.upstream.base_url;
    let imported = store.import_certificates(&certificates, base_url, clock::wall_now()).await?;
    store.close().await;
    let odd = certificates.iter().map(|one| &one.vat).filter(|vat| !vat.has_saudi_shape());
    for vat in odd.collect::<BTreeSet<_>>() {
        complain(&format!("warning: VAT {vat} is not 15 digits between two 3s, as Saudi VAT numbers are"));
    }
    Ok(writeln!(
        std::io::stdout(),
        "{} certificates are new, {} have other times now, {} were known already",
        imported.n_new,
        imported.n_changed,
        imported.n_known
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

/// The columns of one kind of file.
struct Columns {
    /// All that are known; those that must be there first.
    known: &'static [&'static str],
    n_required: usize,
    /// What the header must be, for a sentence.
    rule: &'static str,
}

const ACTIVITIES: Columns = Columns {
    known: &["vat", "activity_id", "device_id", "reference"],
    n_required: 2,
    rule: "the header must be vat,activity_id and, if wanted, device_id and reference, separated by commas",
};

const CERTIFICATES: Columns = Columns {
    known: &["vat", "device_id", "obtained_at", "expires_at"],
    n_required: 2,
    rule: "the header must be vat,device_id and obtained_at or expires_at, separated by commas",
};

fn parse(bytes: &[u8]) -> Result<Vec<Registration>, Vec<String>> {
    let registration = |[vat, activity_id, device_id, reference]: [Option<&str>; 4]| {
        Registration::parse(vat.unwrap_or_default(), activity_id.unwrap_or_default(), device_id, reference)
            .map_err(|err| err.to_string())
    };
    let rows = parse_rows(bytes, &ACTIVITIES, registration)?;
    Ok(rows.into_iter().map(|(_, registration)| registration).collect())
}

fn parse_certificates(bytes: &[u8], valid_for: Duration) -> Result<Vec<ImportedCertificate>, Vec<String>> {
    let certificate = |fields: [Option<&str>; 4]| {
        let [vat, device_id, obtained_at, expires_at] = fields.map(Option::unwrap_or_default);
        ImportedCertificate::parse(vat, device_id, obtained_at, expires_at, valid_for)
    };
    let rows = parse_rows(bytes, &CERTIFICATES, certificate)?;
    let mut first_lines: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut problems = Vec::new();
    for (line, row) in &rows {
        if let Some(first) = first_lines.insert((row.vat.as_str(), &row.device_id), *line) {
            problems.push(format!("line {line}: the same VAT and device stand on line {first} already"));
        }
    }
    if problems.is_empty() { Ok(rows.into_iter().map(|(_, row)| row).collect()) } else { Err(problems) }
}

/// Reads every row, with the line it begins on; all bad ones are named.
fn parse_rows<T>(
    bytes: &[u8],
    columns: &Columns,
    row: impl Fn([Option<&str>; 4]) -> Result<T, String>,
) -> Result<Vec<(u64, T)>, Vec<String>> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let header = reader.byte_headers().map_err(|err| vec![format!("line 1: {err}")])?.clone();
    let positions = columns.positions(&header)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let mut record = csv::ByteRecord::new();
    let mut lines = Lines::new(bytes);
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = record.position().map_or(0, |position| lines.at(position.byte()));
                match fields(&record, positions, header.len()).and_then(&row) {
                    Ok(row) => rows.push((line, row)),
                    Err(problem) => problems.push(format!("line {line}: {problem}")),
                }
            }
            Err(err) => {
                problems.push(err.to_string());
                break;
            }
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

impl Columns {
    /// Where each of the known columns stands.
    fn positions(&self, header: &csv::ByteRecord) -> Result<[Option<usize>; 4], Vec<String>> {
        let Self { known, n_required, rule } = self;
        for (at, column) in header.iter().enumerate() {
            let text = String::from_utf8_lossy(column);
            if !known.contains(&text.as_ref()) {
                return Err(vec![format!("line 1: column `{}` is not known: {rule}", text.escape_debug())]);
            }
            if header.iter().take(at).any(|other| other == column) {
                return Err(vec![format!("line 1: column `{text}` stands twice: {rule}")]);
            }
        }
        let mut positions = [None; 4];
        for (position, name) in positions.iter_mut().zip(*known) {
            *position = header.iter().position(|column| column == name.as_bytes());
        }
        match positions.iter().take(*n_required).all(Option::is_some) {
            true => Ok(positions),
            false => Err(vec![format!("line 1: {rule}")]),
        }
    }
}

/// The fields of a row in the order of the known columns; `None`: the file has no such column.
fn fields(
    record: &csv::ByteRecord,
    positions: [Option<usize>; 4],
    n_columns: usize,
) -> Result<[Option<&str>; 4], String> {
    if record.len() != n_columns {
        return Err(format!("it has {} fields, the header has {n_columns}", record.len()));
    }
    let mut fields = [None; 4];
    for (field, position) in fields.iter_mut().zip(positions) {
        let Some(at) = position else { continue };
        let bytes = record.get(at).unwrap_or_default();
        *field = Some(std::str::from_utf8(bytes).map_err(|_| format!("field {} is not UTF-8", at + 1))?);
    }
    Ok(fields)
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
    fn certificates_have_one_time_at_least_and_each_device_once() {
        let valid_for = Duration::from_secs(86_400);
        let told = |text: &str| parse_certificates(text.as_bytes(), valid_for);
        let rows = told(
            "expires_at,vat,device_id,obtained_at\n2031-01-02,3,till 1,\n,3,till 2,2026-05-26T09:02:11+03:00\n\
             2031-01-02,3,till 3,2026-01-01\n",
        )
        .unwrap();
        let times: Vec<_> =
            rows.iter().map(|row| (row.obtained_at.to_string(), row.expires_at.to_string())).collect();
        assert_eq!(times[0], ("2031-01-01T00:00:00.000Z".to_owned(), "2031-01-02T00:00:00.000Z".to_owned()));
        assert_eq!(times[1], ("2026-05-26T06:02:11.000Z".to_owned(), "2026-05-27T06:02:11.000Z".to_owned()));
        assert_eq!(rows.iter().map(|row| row.is_end_given).collect::<Vec<_>>(), [true, false, true]);

        let problems = told(
            "vat,device_id,obtained_at,expires_at\n3,a,,\n3,,2026-01-01,\n3,b,yesterday,\n3,c,2026-01-02,2026-01-02\n\
             3/,d,2026-01-01,\n3,e,1999-01-01,\n",
        )
        .unwrap_err();
        let lines: Vec<&str> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["line 2", "line 3", "line 4", "line 5", "line 6", "line 7"], "{problems:?}");
        let twice = told("vat,device_id,expires_at\n3,a,2031-01-02\n3,a,2031-01-03\n").unwrap_err();
        assert_eq!(twice, ["line 3: the same VAT and device stand on line 2 already"]);
        assert!(
            told("vat,device_id,until\n3,a,2031-01-02\n").unwrap_err()[0].contains("`until` is not known")
        );
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
