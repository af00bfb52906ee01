//! `import`: all rows of a CSV file or none that can be used, every bad row named with its line.
//!
//! Files come from spreadsheets in Arabic and English: with commas, semicolons or tabs, in UTF-8, UTF-16 or
//! Windows-1256, with additional columns, and with headings in either language.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::activities::{CHUNK, register, say_if_stopped};
use super::{CliError, CliResult, complain, open};
use crate::domain::activity::Registration;
use crate::domain::certificate::ImportedCertificate;
use crate::domain::lines::Lines;
use crate::domain::text::with_ascii_digits;
use crate::settings::Settings;
use crate::store::{ImportedCertificates, RegisterOutcome, TURN};
use crate::words::{Said, Words, folded};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// CSV file with a header row (`-`: standard input)
    file: PathBuf,
    /// The file has certificates that devices have already, with the columns vat, device_id and obtained_at or expires_at
    #[arg(long)]
    certificates: bool,
}

pub(super) async fn import(settings: &Settings, args: ImportArgs) -> CliResult {
    let words = Words::of(settings.language);
    let name =
        if args.file.as_os_str() == "-" { "standard input".into() } else { args.file.display().to_string() };
    let bytes = read(&args.file).map_err(|err| CliError::unusable(format!("{name} can't be read: {err}")))?;
    let (text, encoding) = decoded(bytes);
    if let Some(encoding) = encoding {
        complain(&words.import_encoding(encoding, &name).to_string());
    }
    match args.certificates {
        true => import_certificates(settings, &name, text).await,
        false => import_activities(settings, &name, text).await,
    }
}

async fn import_activities(settings: &Settings, name: &str, text: String) -> CliResult {
    let words = Words::of(settings.language);
    let file = parse(&text, words).map_err(|problems| CliError::unusable(refusal(words, name, &problems)))?;
    // Only its rows are needed from here on, for as long as writing them takes.
    drop(text);
    say_ignored(words, name, &file.ignored);
    let registrations: Vec<Registration> =
        file.rows.into_iter().map(|(_, registration)| registration).collect();
    let mut progress = Progress::new(words, registrations.len());
    let registered = register(settings, &registrations, |n_done| progress.is_at(n_done)).await;
    progress.ends();
    let outcomes = match registered {
        Ok(outcomes) => outcomes,
        Err(CliError::Failed(err)) if progress.n_done > 0 => {
            let far = words.import_came_so_far(progress.n_done as u64, progress.n_rows as u64).to_string();
            return Err(CliError::Failed(err.context(far)));
        }
        Err(err) => return Err(err),
    };
    let n_new = outcomes.iter().filter(|outcome| **outcome == RegisterOutcome::New).count();
    let n_known = outcomes.len() - n_new;
    writeln!(std::io::stdout(), "{}", words.import_done(n_known as u64, n_new as u64))?;
    say_if_stopped(settings).await;
    Ok(())
}

fn say_ignored(words: Words, name: &str, ignored: &[String]) {
    if !ignored.is_empty() {
        complain(&words.import_ignored(words.listed(ignored), name).to_string());
    }
}

async fn import_certificates(settings: &Settings, name: &str, text: String) -> CliResult {
    let words = Words::of(settings.language);
    let file = parse_certificates(&text, settings.policy.renewal.valid_for(), words)
        .map_err(|problems| CliError::unusable(refusal(words, name, &problems)))?;
    say_ignored(words, name, &file.ignored);
    let certificates: Vec<ImportedCertificate> =
        file.rows.into_iter().map(|(_, certificate)| certificate).collect();
    let store = open(settings).await?;
    let base_url = &settings.upstream.base_url;
    let (mut n_done, mut imported) = (0, ImportedCertificates::default());
    // An empty file is written as one empty chunk, so that the database belongs to its upstream from then on.
    for chunk in certificates.chunks(CHUNK).chain(certificates.is_empty().then_some(&*certificates)) {
        if n_done > 0 {
            tokio::time::sleep(TURN).await;
        }
        let done = store.intake().import_certificates(chunk, base_url, store.now().await?).await;
        let done = done.map_err(|err| match CliError::from(err) {
            CliError::Failed(err) if n_done > 0 => {
                let far = words.import_came_so_far(n_done as u64, certificates.len() as u64).to_string();
                CliError::Failed(err.context(far))
            }
            err => err,
        })?;
        n_done += chunk.len();
        imported.n_new += done.n_new;
        imported.n_changed += done.n_changed;
        imported.n_known += done.n_known;
    }
    store.close().await;
    let odd = certificates.iter().map(|one| &one.vat).filter(|vat| !vat.has_saudi_shape());
    for vat in odd.collect::<BTreeSet<_>>() {
        complain(&words.vat_shape(vat.as_str()).to_string());
    }
    let ImportedCertificates { n_changed, n_known, n_new } = imported;
    Ok(writeln!(std::io::stdout(), "{}", words.import_certificates_done(n_changed, n_known, n_new))?)
}

/// Progress, shown on a terminal.
struct Progress {
    words: Words,
    n_rows: usize,
    n_done: usize,
    is_shown: bool,
}

impl Progress {
    /// Fewer rows take no time to speak of.
    const WORTH_SHOWING: usize = 5_000;

    fn new(words: Words, n_rows: usize) -> Self {
        let is_shown = n_rows >= Self::WORTH_SHOWING && std::io::stderr().is_terminal();
        Self { words, n_rows, n_done: 0, is_shown }
    }

    fn is_at(&mut self, n_done: usize) {
        self.n_done = n_done;
        if self.is_shown {
            let line = self.words.import_progress(n_done as u64, self.n_rows as u64);
            // Nobody reads standard error if it can't be written.
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}");
        }
    }

    fn ends(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// Longest file that is read. All of it is looked at before the first row is written, so it stands in memory.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        read_bounded(std::io::stdin().lock())
    } else {
        read_bounded(std::fs::File::open(file)?)
    }
}

fn read_bounded(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "it is longer than {} MiB: divide it, each part with the header row",
            MAX_FILE_BYTES / 1024 / 1024
        )));
    }
    Ok(bytes)
}

/// The text of a file, and its encoding unless it is UTF-8.
fn decoded(bytes: Vec<u8>) -> (String, Option<&'static str>) {
    if let Some((encoding, _)) = encoding_rs::Encoding::for_bom(&bytes) {
        let (text, ..) = encoding.decode(&bytes);
        let said = (encoding != encoding_rs::UTF_8).then(|| encoding.name());
        return (text.into_owned(), said);
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        // What Excel writes in Arabic locales. Every byte means something in it.
        Err(err) => {
            let (text, _) = encoding_rs::WINDOWS_1256.decode_without_bom_handling(err.as_bytes());
            (text.into_owned(), Some("Windows-1256"))
        }
    }
}

fn refusal(words: Words, name: &str, problems: &[String]) -> String {
    let mut text = words.import_refused(name).to_string();
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(problem);
    }
    text
}

/// The columns of one kind of file, each with its headings, our own name first.
struct Columns {
    known: [(&'static str, &'static [&'static str]); 4],
    /// How many columns are required; they come first.
    n_required: usize,
    /// What the header must be, for a sentence.
    rule: fn(Words) -> Said<'static>,
}

const VAT: (&str, &[&str]) = ("vat", &["vat", "vat number", "الرقم الضريبي"]);
const DEVICE: (&str, &[&str]) = ("device_id", &["device id", "device", "الجهاز"]);

const ACTIVITIES: Columns = Columns {
    known: [
        VAT,
        ("activity_id", &["activity id", "PcsidGenerationActivityId", "معرّف النشاط"]),
        DEVICE,
        ("reference", &["reference", "ref", "المرجع"]),
    ],
    n_required: 2,
    rule: Words::import_header,
};

const CERTIFICATES: Columns = Columns {
    known: [
        VAT,
        DEVICE,
        ("obtained_at", &["obtained at", "صدرت في"]),
        ("expires_at", &["expires at", "تنتهي في"]),
    ],
    n_required: 2,
    rule: Words::import_certificates_header,
};

impl Columns {
    /// The place of the column that a heading names, in either language and any case.
    fn named(&self, heading: &str) -> Option<usize> {
        // Compares letters and digits only: users mix up spaces, hyphens and underscores.
        let plain = |text: &str| folded(text).chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let heading = plain(heading);
        self.known.iter().position(|(_, names)| names.iter().any(|name| plain(name) == heading))
    }

    /// Where each of the known columns is in a file, and the headings of the others.
    fn positions(
        &self,
        header: &csv::StringRecord,
        words: Words,
    ) -> Result<([Option<usize>; 4], Vec<String>), String> {
        let (mut positions, mut others) = ([None; 4], Vec::new());
        for (at, heading) in header.iter().enumerate() {
            let shown = || heading.chars().take(40).flat_map(char::escape_debug).collect::<String>();
            match self.named(heading).and_then(|nth| positions.get_mut(nth)) {
                Some(Some(_)) => return Err(words.import_column_twice(shown()).to_string()),
                Some(position) => *position = Some(at),
                None if heading.is_empty() => {}
                None => others.push(shown()),
            }
        }
        match positions.iter().take(self.n_required).all(Option::is_some) {
            true => Ok((positions, others)),
            false => Err((self.rule)(words).to_string()),
        }
    }
}

/// What a file holds: its rows with the lines that they begin on, and the headings of columns that are none of ours.
#[derive(Debug)]
struct Rows<T> {
    rows: Vec<(u64, T)>,
    ignored: Vec<String>,
}

fn at_line(words: Words, line: u64, problem: &str) -> String {
    words.import_line(line.to_string(), problem.to_owned()).to_string()
}

fn parse(text: &str, words: Words) -> Result<Rows<Registration>, Vec<String>> {
    parse_rows(text, &ACTIVITIES, words, |[vat, activity_id, device_id, reference]| {
        let [vat, activity_id] = [vat, activity_id].map(|text| with_ascii_digits(text.unwrap_or_default()));
        Registration::parse(&vat, &activity_id, device_id, reference).map_err(|err| err.to_string())
    })
}

fn parse_certificates(
    text: &str,
    valid_for: Duration,
    words: Words,
) -> Result<Rows<ImportedCertificate>, Vec<String>> {
    let file = parse_rows(text, &CERTIFICATES, words, |[vat, device_id, obtained_at, expires_at]| {
        let [vat, obtained_at, expires_at] =
            [vat, obtained_at, expires_at].map(|text| with_ascii_digits(text.unwrap_or_default()));
        ImportedCertificate::parse(&vat, device_id.unwrap_or_default(), &obtained_at, &expires_at, valid_for)
    })?;
    let mut first_lines: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut problems = Vec::new();
    for (line, row) in &file.rows {
        if let Some(first) = first_lines.insert((row.vat.as_str(), &row.device_id), *line) {
            problems.push(at_line(words, *line, &words.import_device_twice(first.to_string()).to_string()));
        }
    }
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

/// Reads every row; all bad ones are named.
fn parse_rows<T>(
    text: &str,
    columns: &Columns,
    words: Words,
    row: impl Fn([Option<&str>; 4]) -> Result<T, String>,
) -> Result<Rows<T>, Vec<String>> {
    let bytes = text.as_bytes();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(bytes);
    let header = reader.headers().map_err(|err| vec![at_line(words, 1, &err.to_string())])?.clone();
    let (positions, ignored) =
        columns.positions(&header, words).map_err(|problem| vec![at_line(words, 1, &problem)])?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    let mut lines = Lines::new(bytes);
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                let line = record.position().map_or(0, |position| lines.at(position.byte()));
                // Spreadsheets often end with empty rows.
                if record.iter().all(str::is_empty) {
                    continue;
                }
                match fields(&record, positions, header.len(), words)
                    .and_then(|fields| said(row(fields), fields, words))
                {
                    Ok(row) => rows.push((line, row)),
                    Err(problem) => problems.push(at_line(words, line, &problem)),
                }
            }
            Err(err) => {
                problems.push(err.to_string());
                break;
            }
        }
    }
    if problems.is_empty() { Ok(Rows { rows, ignored }) } else { Err(problems) }
}

/// What is wrong with a row, in the reader's language, with a hint if a spreadsheet has damaged a value.
fn said<T>(row: Result<T, String>, fields: [Option<&str>; 4], words: Words) -> Result<T, String> {
    row.map_err(|sentence| {
        let said = words.stored(&sentence).unwrap_or(sentence);
        // A spreadsheet shortens long numbers to this form and saves them so.
        match fields[0].is_some_and(|vat| vat.contains("E+")) {
            true => words.import_also(said, words.import_shortened()).to_string(),
            false => said,
        }
    })
}

/// The separator of columns: the candidate that is most frequent in the header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    // If several are equally frequent, or none occurs, this is the last one, the comma.
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// The fields of a row in the order of the known columns; `None`: the file has no such column.
fn fields(
    record: &csv::StringRecord,
    positions: [Option<usize>; 4],
    n_columns: usize,
    words: Words,
) -> Result<[Option<&str>; 4], String> {
    if record.len() != n_columns {
        return Err(words.import_fields(record.len() as u64, n_columns as u64).to_string());
    }
    Ok(positions.map(|position| position.map(|at| record.get(at).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogue::Language;

    const EN: Words = Words::of(Language::English);

    #[test]
    fn what_never_ends_is_refused() {
        let endless = read_bounded(std::io::repeat(b'x')).unwrap_err();
        assert_eq!(
            endless.to_string(),
            "it is longer than 256 MiB: divide it, each part with the header row"
        );
    }

    fn ids(text: &str) -> Result<Vec<String>, Vec<String>> {
        let ids = |file: Rows<Registration>| {
            file.rows.into_iter().map(|(_, one)| one.activity_id.to_string()).collect::<Vec<_>>()
        };
        parse(&decoded(text.as_bytes().to_vec()).0, EN).map(ids)
    }

    #[test]
    fn files_as_spreadsheets_write_them_are_read() {
        let bom_and_crlf = "\u{feff}vat,activity_id\r\n310122393500003,a\r\n310122393500003,b\r\n";
        assert_eq!(ids(bom_and_crlf), Ok(vec!["a".into(), "b".into()]));
        let quoted = "activity_id,reference,vat\n\"a\",\"طلب ٧, \"\"عاجل\"\"\",3\n";
        let parsed = parse(quoted, EN).unwrap();
        assert_eq!(parsed.rows[0].1.reference.as_deref(), Some("طلب ٧, \"عاجل\""));
        assert_eq!(ids("vat,activity_id\n"), Ok(vec![]));
        for text in [
            "VAT;Activity ID\n3;a\n;\n",
            "Vat\tACTIVITY_ID\n3\ta\n",
            "الرقم الضريبي;معرف النشاط\n٣;a\n",
            "\"activity_id\";\"vat\"\r\n\"a\";\"3\"\r\n",
        ] {
            assert_eq!(ids(text), Ok(vec!["a".into()]), "{text}");
        }
    }

    #[test]
    fn other_encodings_are_recognised_and_said() {
        let text = "vat;activity_id;device_id\r\n3;a;صندوق\r\n";
        let (bytes, ..) = encoding_rs::WINDOWS_1256.encode(text);
        assert_eq!(decoded(bytes.to_vec()), (text.to_owned(), Some("Windows-1256")));
        let utf_16: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded(utf_16.clone()), (text.to_owned(), Some("UTF-16LE")));
        assert_eq!(decoded(text.as_bytes().to_vec()), (text.to_owned(), None));
    }

    #[test]
    fn columns_that_are_none_of_ours_are_ignored_and_named() {
        let file = parse("vat,Branch,activity_id,\n3,Riyadh,a,\n", EN).unwrap();
        assert_eq!(file.ignored, ["Branch"]);
        assert_eq!(file.rows.len(), 1);
    }

    #[test]
    fn every_bad_row_is_named_with_its_line() {
        let text = "vat,activity_id\n3,ok\n3,../x\n,b\n\n3\n\"3\",\"two\nlines\"\n3,ok2,more\n3.1E+14,ok3\n";
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            let problems = ids(&text).unwrap_err();
            let lines: Vec<&str> =
                problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
            assert_eq!(lines, ["line 3", "line 4", "line 6", "line 7", "line 9", "line 10"]);
            assert!(problems[5].contains("spreadsheet"), "{problems:?}");
        }
    }

    #[test]
    fn certificates_have_one_time_at_least_and_each_device_once() {
        let valid_for = Duration::from_secs(86_400);
        let told = |text: &str| {
            let file = parse_certificates(text, valid_for, EN)?;
            Ok::<_, Vec<String>>(file.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
        };
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
        assert_eq!(twice, ["line 3: the same VAT and device are on line 2 already"]);
        assert!(
            told("vat,until\n3,2031-01-02\n").unwrap_err()[0]
                .contains("must have the columns vat, device_id")
        );
    }

    #[test]
    fn a_header_without_our_columns_is_refused() {
        for text in ["", "vat\n3\n", "vat:activity_id\n3:a\n", "vat,activity_id,VAT\n"] {
            assert!(ids(text).is_err(), "{text:?}");
        }
    }
}
