//! `import`: all rows of a CSV file or none; bad rows are named with their lines.
//!
//! Files come from spreadsheets in Arabic and English: with commas, semicolons or tabs, in UTF-8, UTF-16 or
//! Windows-1256, with additional columns, and with headings in either language.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::activities::{CHUNK, interrupted, register, say_if_stopped};
use super::run::on_signals;
use super::{CliError, CliResult, complain, input, open};
use crate::domain::activity::{Registration, Vat};
use crate::domain::certificate::ImportedCertificate;
use crate::domain::lines::{Lines, MAX_ROW_BYTES, RowBytes, is_endless};
use crate::domain::text::{folded, with_ascii_digits};
use crate::settings::Settings;
use crate::shutdown::Hangup;
use crate::store::{ImportedCertificates, RegisterOutcome, TURN};
use crate::words::{Said, Words};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// CSV file with a header row (`-`: standard input)
    file: PathBuf,
    /// The file has certificates that devices have already, with the columns vat, device_id and obtained_at or
    /// expires_at
    #[arg(long)]
    certificates: bool,
}

pub(super) async fn import(settings: &Settings, args: ImportArgs) -> CliResult {
    let words = Words::of(settings.language);
    let name = input::name_of(&args.file);
    let bytes = input::read(&args.file, MAX_FILE_BYTES + 1)
        .map_err(|err| CliError::unusable(format!("{name} can't be read: {err}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CliError::unusable(words.import_too_long(&name, MAX_FILE_BYTES >> 20).to_string()));
    }
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
    let refused = |problems: Problems| CliError::unusable(refusal(words, name, &problems));
    // The file is read twice, so that its rows are never all in memory at once.
    let checked = check(&text, words).map_err(refused)?;
    say_ignored(words, name, &checked.ignored);
    let mut progress = Progress::new(words, checked.n_rows);
    let mut reader =
        RowReader::new(&text, &ACTIVITIES, words).map_err(|problem| refused(Problems::of(problem)))?;
    let chunks = std::iter::from_fn(|| {
        let rows = std::iter::from_fn(|| reader.next(registration)).filter_map(Result::ok);
        let chunk: Vec<Registration> = rows.take(CHUNK).map(|(_, registration)| registration).collect();
        (!chunk.is_empty()).then_some(chunk)
    });
    // From now on a signal ends it between two chunks, and the error says how far it came.
    let stop = on_signals(Hangup::Stop)?.stop;
    let registered = register(settings, &checked.vats, chunks, |n_done| progress.is_at(n_done), &stop).await;
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
    let stop = on_signals(Hangup::Stop)?.stop;
    // An empty file is written as one empty chunk, so that the database belongs to its upstream from then on.
    for chunk in certificates.chunks(CHUNK).chain(certificates.is_empty().then_some(&*certificates)) {
        if n_done > 0 {
            tokio::time::sleep(TURN).await;
        }
        let done = match stop.is_cancelled() {
            true => Err(interrupted()),
            false => {
                let now = store.now().await?;
                store.intake().import_certificates(chunk, base_url, now).await.map_err(CliError::from)
            }
        };
        let done = done.map_err(|err| match err {
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
    /// Fewer rows are imported in a moment.
    const WORTH_SHOWING: usize = 5_000;

    fn new(words: Words, n_rows: usize) -> Self {
        let is_shown = n_rows >= Self::WORTH_SHOWING && std::io::stderr().is_terminal();
        Self { words, n_rows, n_done: 0, is_shown }
    }

    fn is_at(&mut self, n_done: usize) {
        self.n_done = n_done;
        if self.is_shown {
            let line = self.words.import_progress(n_done as u64, self.n_rows as u64);
            // If standard error can't be written, nobody reads it.
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}");
        }
    }

    fn ends(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// Longest file that is read. All of it is read before the first row is written, so its bytes are in memory.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

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

fn refusal(words: Words, name: &str, problems: &Problems) -> String {
    let mut text = words.import_refused(name).to_string();
    let more = (problems.n_more > 0).then(|| words.and_more(problems.n_more).to_string());
    for problem in problems.first.iter().chain(&more) {
        text.push_str("\n  ");
        text.push_str(problem);
    }
    text
}

/// How many bad rows are named. Further ones mostly repeat the same mistakes.
const MAX_NAMED: usize = 100;

/// What is wrong with a file: the first rows that are bad, and how many more there are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Problems {
    first: Vec<String>,
    n_more: u64,
}

impl Problems {
    fn of(problem: String) -> Self {
        Self { first: vec![problem], n_more: 0 }
    }

    fn add(&mut self, problem: String) {
        if self.first.len() < MAX_NAMED {
            self.first.push(problem);
        } else {
            self.n_more += 1;
        }
    }

    fn or<T>(self, good: T) -> Result<T, Self> {
        if self.first.is_empty() { Ok(good) } else { Err(self) }
    }
}

/// The columns of one kind of file, each with its headings, our own name first.
struct Columns {
    known: [(&'static str, &'static [&'static str]); 4],
    /// How many columns are required; they come first.
    n_required: usize,
    /// What the header must be, for a sentence.
    rule: fn(Words) -> Said<'static>,
}

const VAT_COLUMN: (&str, &[&str]) = ("vat", &["vat", "vat number", "الرقم الضريبي"]);
const DEVICE: (&str, &[&str]) = ("device_id", &["device id", "device", "الجهاز"]);

const ACTIVITIES: Columns = Columns {
    known: [
        VAT_COLUMN,
        ("activity_id", &["activity id", "PcsidGenerationActivityId", "معرّف النشاط"]),
        DEVICE,
        ("reference", &["reference", "ref", "المرجع"]),
    ],
    n_required: 2,
    rule: Words::import_header,
};

const CERTIFICATES: Columns = Columns {
    known: [
        VAT_COLUMN,
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
        // Only letters and digits are compared: users mix up spaces, hyphens and underscores.
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

/// The content of a file: its rows with the lines that they begin on, and the headings of columns that are not used.
#[derive(Debug)]
struct ImportedRows<T> {
    rows: Vec<(u64, T)>,
    ignored: Vec<String>,
}

fn at_line(words: Words, line: u64, problem: &str) -> String {
    words.import_line(line.to_string(), problem.to_owned()).to_string()
}

fn registration([vat, activity_id, device_id, reference]: [Option<&str>; 4]) -> Result<Registration, String> {
    let [vat, activity_id] = [vat, activity_id].map(|text| with_ascii_digits(text.unwrap_or_default()));
    Registration::parse(&vat, &activity_id, device_id, reference).map_err(|err| err.to_string())
}

/// What is known of a file of activities whose rows are all good.
#[derive(Debug, Default)]
struct CheckedFile {
    n_rows: usize,
    vats: BTreeSet<Vat>,
    ignored: Vec<String>,
}

/// Reads every row once; all bad ones are found.
fn check(text: &str, words: Words) -> Result<CheckedFile, Problems> {
    let mut reader = RowReader::new(text, &ACTIVITIES, words).map_err(Problems::of)?;
    let mut checked = CheckedFile { ignored: std::mem::take(&mut reader.ignored), ..CheckedFile::default() };
    let mut problems = Problems::default();
    while let Some(row) = reader.next(registration) {
        match row {
            Ok((_, registration)) => {
                checked.n_rows += 1;
                // Few VATs have many rows.
                if !checked.vats.contains(&registration.vat) {
                    checked.vats.insert(registration.vat);
                }
            }
            Err(problem) => problems.add(problem),
        }
    }
    problems.or(checked)
}

fn parse_certificates(
    text: &str,
    valid_for: Duration,
    words: Words,
) -> Result<ImportedRows<ImportedCertificate>, Problems> {
    let row = |[vat, device_id, obtained_at, expires_at]: [Option<&str>; 4]| {
        let [vat, obtained_at, expires_at] =
            [vat, obtained_at, expires_at].map(|text| with_ascii_digits(text.unwrap_or_default()));
        ImportedCertificate::parse(&vat, device_id.unwrap_or_default(), &obtained_at, &expires_at, valid_for)
    };
    let mut reader = RowReader::new(text, &CERTIFICATES, words).map_err(Problems::of)?;
    let ignored = std::mem::take(&mut reader.ignored);
    let (mut rows, mut problems) = (Vec::new(), Problems::default());
    while let Some(row) = reader.next(row) {
        match row {
            Ok(row) => rows.push(row),
            Err(problem) => problems.add(problem),
        }
    }
    let file = problems.or(ImportedRows { rows, ignored })?;
    let mut first_lines: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut problems = Problems::default();
    for (line, row) in &file.rows {
        if let Some(first) = first_lines.insert((row.vat.as_str(), &row.device_id), *line) {
            problems.add(at_line(words, *line, &words.import_device_twice(first.to_string()).to_string()));
        }
    }
    problems.or(file)
}

/// Reads the rows of a file one after the other.
struct RowReader<'a> {
    csv: csv::Reader<RowBytes<'a>>,
    record: csv::StringRecord,
    lines: Lines<'a>,
    positions: [Option<usize>; 4],
    n_columns: usize,
    /// The headings of columns that are not used.
    ignored: Vec<String>,
    words: Words,
    is_over: bool,
}

impl<'a> RowReader<'a> {
    fn new(text: &'a str, columns: &Columns, words: Words) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let mut csv = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .delimiter(delimiter(text))
            .from_reader(RowBytes::of(bytes));
        let header = csv.headers().map_err(|err| at_line(words, 1, &unreadable(&err, words)))?;
        let n_columns = header.len();
        let (positions, ignored) =
            columns.positions(header, words).map_err(|problem| at_line(words, 1, &problem))?;
        let (record, lines) = (csv::StringRecord::new(), Lines::new(bytes));
        Ok(Self { csv, record, lines, positions, n_columns, ignored, words, is_over: false })
    }

    /// The next row with the line that it begins on, or what is wrong with it; `None` at the end.
    fn next<T>(
        &mut self,
        row: impl Fn([Option<&str>; 4]) -> Result<T, String>,
    ) -> Option<Result<(u64, T), String>> {
        loop {
            let begins_at = self.csv.position().byte();
            self.csv.get_mut().begin_row();
            match self.csv.read_record(&mut self.record) {
                _ if self.is_over => return None,
                Ok(false) => return None,
                // Spreadsheets often end with empty rows.
                Ok(true) if self.record.iter().all(str::is_empty) => {}
                Ok(true) => break,
                Err(err) => {
                    self.is_over = true;
                    let line = self.lines.at(begins_at);
                    return Some(Err(at_line(self.words, line, &unreadable(&err, self.words))));
                }
            }
        }
        let line = self.record.position().map_or(0, |position| self.lines.at(position.byte()));
        let read = fields(&self.record, self.positions, self.n_columns, self.words)
            .and_then(|fields| said(row(fields), fields, self.words));
        Some(read.map(|row| (line, row)).map_err(|problem| at_line(self.words, line, &problem)))
    }
}

/// Why a row can't be read.
fn unreadable(err: &csv::Error, words: Words) -> String {
    match is_endless(err) {
        true => words.import_row_too_long(MAX_ROW_BYTES as u64 >> 10).to_string(),
        false => err.to_string(),
    }
}

/// Puts what is wrong with a row into the reader's language, with a hint if a spreadsheet has damaged a value.
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
    fn the_refusal_of_a_long_file_names_the_limit() {
        for language in [Language::English, Language::Arabic] {
            assert!(Words::of(language).import_too_long("a.csv", 256).to_string().contains("256"));
        }
    }

    #[test]
    fn a_row_that_never_ends_is_named_and_not_kept() {
        let good = "vat,activity_id\n3,a\n3,b\n";
        for endless in ["x".repeat(4 << 20), format!("3,\"{}", "c\n".repeat(2 << 20)), ",".repeat(4 << 20)] {
            let problems = check(&format!("{good}{endless}"), EN).unwrap_err();
            assert_eq!(
                problems.first,
                ["line 4: it is longer than 256 KiB: is a quotation mark not closed?"]
            );
            let problems = check(&endless, EN).unwrap_err();
            assert!(problems.first[0].starts_with("line 1: it is longer"), "{problems:?}");
        }
        // All rows together may be as long as they like, and one may be rather long.
        let long = format!("vat,activity_id,note\n{}", format!("3,a,{}\n", "n".repeat(200 << 10)).repeat(8));
        assert_eq!(check(&long, EN).unwrap().n_rows, 8);
    }

    #[test]
    fn of_many_bad_rows_the_first_are_named_and_the_rest_is_counted() {
        let text = format!("vat,activity_id\n{}", "3,/\n".repeat(250));
        let problems = check(&text, EN).unwrap_err();
        assert_eq!((problems.first.len(), problems.n_more), (100, 150));
        let said = refusal(EN, "a.csv", &problems);
        assert!(said.contains("line 101: ") && !said.contains("line 102: "), "{said}");
        assert!(said.ends_with("\n  and 150 more"), "{said}");
        assert!(!refusal(EN, "a.csv", &Problems::of("x".to_owned())).contains("more"));
    }

    fn parse(text: &str) -> Result<Vec<Registration>, Vec<String>> {
        let checked = check(text, EN).map_err(|problems| problems.first)?;
        let mut reader = RowReader::new(text, &ACTIVITIES, EN).unwrap();
        let rows: Vec<_> =
            std::iter::from_fn(|| reader.next(registration)).map(|row| row.unwrap().1).collect();
        assert_eq!(rows.len(), checked.n_rows);
        Ok(rows)
    }

    fn ids(text: &str) -> Result<Vec<String>, Vec<String>> {
        let ids =
            |rows: Vec<Registration>| rows.iter().map(|one| one.activity_id.to_string()).collect::<Vec<_>>();
        parse(&decoded(text.as_bytes().to_vec()).0).map(ids)
    }

    #[test]
    fn files_as_spreadsheets_write_them_are_read() {
        let bom_and_crlf = "\u{feff}vat,activity_id\r\n310122393500003,a\r\n310122393500003,b\r\n";
        assert_eq!(ids(bom_and_crlf), Ok(vec!["a".into(), "b".into()]));
        let quoted = "activity_id,reference,vat\n\"a\",\"طلب ٧, \"\"عاجل\"\"\",3\n";
        assert_eq!(parse(quoted).unwrap()[0].reference.as_deref(), Some("طلب ٧, \"عاجل\""));
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
        let file = check("vat,Branch,activity_id,\n3,Riyadh,a,\n", EN).unwrap();
        assert_eq!(file.ignored, ["Branch"]);
        assert_eq!(file.n_rows, 1);
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
            let file = parse_certificates(text, valid_for, EN).map_err(|problems| problems.first)?;
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
