//! `preflight`: are the details of a registration right, before its one-time password is spent?

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use serde_json::{Value, json};

use super::output::{self, Format};
use super::reader::Reader;
use super::{CliError, CliResult, complain, input, open_existing};
use crate::domain::preflight::{self, Context, Device, Finding, FindingSeverity, Known, MAX_BYTES};
use crate::domain::text::one_line;
use crate::settings::Settings;
use crate::spreadsheet::write_csv;
use crate::store::{Access, Cell, StoreError, Table};
use crate::words::Words;

#[derive(Debug, Args)]
pub(super) struct PreflightArgs {
    /// JSON as it will be sent to ClearTax, an array of such objects, or CSV with a row for each device (`-`: standard
    /// input)
    #[arg(required_unless_present = "example")]
    file: Option<PathBuf>,
    /// Print a filled file instead, to start from; with `--format csv` as CSV
    #[arg(long, conflicts_with = "file")]
    example: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A device with what was found about it.
struct CheckedDevice {
    device: Device,
    findings: Vec<Finding>,
}

pub(super) async fn preflight(settings: &Settings, args: PreflightArgs) -> CliResult {
    let Some(file) = args.file.filter(|_| !args.example) else { return example(args.format) };
    let name = input::name_of(&file);
    // A byte more than is accepted shows that a file is too long.
    let text = input::read(&file, MAX_BYTES as u64 + 1)
        .map_err(|err| CliError::unusable(format!("{name} can't be read: {err}")))?;
    let devices = preflight::from_text(&text).map_err(|err| CliError::unusable(format!("{name}: {err}")))?;
    let known = known(settings, &devices).await;
    let context = Context::of_upstream(&settings.upstream.base_url);
    let checked: Vec<CheckedDevice> = preflight::check_all(&devices, context, &known)
        .into_iter()
        .zip(devices)
        .map(|(findings, device)| CheckedDevice { device, findings })
        .collect();
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => {
            out.write_all(for_people(&name, &checked, Words::of(settings.language)).as_bytes())?
        }
        Format::Json => output::print_json(&mut out, &Rows(&checked))?,
        Format::Csv => {
            drop(out);
            output::print(&table(&checked), Format::Csv, &[], &Reader::new(settings))?;
            return verdict(&name, &checked);
        }
    }
    out.flush()?;
    drop(out);
    verdict(&name, &checked)
}

/// The exit code says whether there is an error.
fn verdict(name: &str, checked: &[CheckedDevice]) -> CliResult {
    match count(checked, FindingSeverity::Error) {
        0 => Ok(()),
        1 => {
            Err(CliError::failed(format!("{name}: 1 error; correct it before a one-time password is spent")))
        }
        n => Err(CliError::failed(format!(
            "{name}: {n} errors; correct them before a one-time password is spent"
        ))),
    }
}

fn count(checked: &[CheckedDevice], severity: FindingSeverity) -> usize {
    checked.iter().flat_map(|one| &one.findings).filter(|finding| finding.severity == severity).count()
}

fn example(format: Format) -> CliResult {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table | Format::Json => output::print_json(&mut out, &preflight::example())?,
        Format::Csv => {
            let [columns, row] = preflight::example_rows();
            let row = row.into_iter().map(|value| Cell::Text(value.to_owned())).collect();
            write_csv(&mut out, &Table::new(&columns, vec![row]))?;
        }
    }
    Ok(out.flush()?)
}

/// What the configured database knows of these devices, if there is one. If it can't be read, there is a warning, and
/// the rest is checked all the same.
async fn known(settings: &Settings, devices: &[Device]) -> Vec<Vec<Known>> {
    let nothing = || devices.iter().map(|_| Vec::new()).collect();
    if settings.database.is_absent() {
        return nothing();
    }
    let looked = async {
        let store = open_existing(settings, Access::Read).await?;
        let known = store.reports().known_devices(devices, store.now().await?).await;
        store.end_reading().await?;
        known
    };
    looked.await.unwrap_or_else(|err: StoreError| {
        complain(&format!("warning: known devices were not looked up: {err}"));
        nothing()
    })
}

/// One object for each finding, with both languages. Each is made when it is printed: all of them take hundreds of MiB.
struct Rows<'a>(&'a [CheckedDevice]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        for (nth, one) in self.0.iter().enumerate() {
            for finding in &one.findings {
                let mut row =
                    json!({ "device": nth + 1, "line": one.device.line, "name": one.device.name() });
                if let (Some(row), Value::Object(fields)) = (row.as_object_mut(), json!(finding)) {
                    row.extend(fields);
                }
                rows.serialize_element(&row)?;
            }
        }
        rows.end()
    }
}

fn table(checked: &[CheckedDevice]) -> Table {
    let text = |text: &str| Cell::Text(text.to_owned());
    let some = |given: Option<&str>| given.map_or(Cell::Null, text);
    let number = |n: u64| i64::try_from(n).map_or(Cell::Null, Cell::Integer);
    let mut rows = Vec::new();
    for (nth, CheckedDevice { device, findings }) in checked.iter().enumerate() {
        for found in findings {
            rows.push(vec![
                number(nth as u64 + 1),
                device.line.map_or(Cell::Null, number),
                some(device.name().as_deref()),
                text(&found.field),
                some(found.key.as_deref()),
                some(found.rule),
                text(found.severity.label()),
                some(found.value.as_deref()),
                text(&found.problem.en),
                text(&found.expected.en),
                text(&found.problem.ar),
                text(&found.expected.ar),
            ]);
        }
    }
    let columns = [
        "device",
        "line",
        "name",
        "field",
        "key",
        "rule",
        "severity",
        "value",
        "problem",
        "expected",
        "problem_ar",
        "expected_ar",
    ];
    Table::new(&columns, rows)
}

/// A few lines for each finding, errors first. Writing to a `String` can't fail.
fn for_people(name: &str, checked: &[CheckedDevice], words: Words) -> String {
    let mut text = String::new();
    for (nth, CheckedDevice { device, findings }) in checked.iter().enumerate() {
        let place = match device.line {
            Some(line) => format!("{name}, {}", words.preflight_device(line)),
            None => name.to_owned(),
        };
        let called = device.name().map_or_else(String::new, |name| format!(" ({})", one_line(&name)));
        if nth > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}{called}", one_line(&place));
        if findings.iter().all(|finding| finding.severity == FindingSeverity::Note) {
            let _ = writeln!(text, "  ✔ {}", words.preflight_nothing());
        }
        for finding in findings {
            line(&mut text, finding, words);
        }
        let (n_known, n_unknown) = (device.recognised().len() as u64, device.unknown().len() as u64);
        let _ = writeln!(text, "  {}", words.preflight_keys(n_known, n_unknown));
    }
    let n = |severity| count(checked, severity) as u64;
    let (errors, warnings) = (n(FindingSeverity::Error), n(FindingSeverity::Warning));
    let comma = words.list_comma();
    let _ =
        writeln!(text, "\n{}{comma} {}", words.preflight_errors(errors), words.preflight_warnings(warnings));
    text
}

fn line(text: &mut String, finding: &Finding, words: Words) {
    let mark = match finding.severity {
        FindingSeverity::Error => "✘",
        FindingSeverity::Warning => "!",
        FindingSeverity::Note => "–",
    };
    let rule = finding.rule.map_or_else(String::new, |rule| format!(" [{rule}]"));
    let value = finding.value.as_deref().map_or_else(String::new, |value| format!(" = {}", one_line(value)));
    let _ = writeln!(text, "  {mark} {}{value}{rule}", one_line(&finding.field));
    if let Some(key) = &finding.key {
        let _ = writeln!(text, "      {}", words.preflight_given_as(one_line(key)));
    }
    let _ = writeln!(text, "      {}", finding.problem.of(words.language()));
    let expected = finding.expected.of(words.language());
    if !expected.is_empty() {
        let _ = writeln!(text, "      → {expected}");
    }
}
