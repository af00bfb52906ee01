//! Reads the details of devices from the text of a file, with the keys that were recognised and those that were not.

use std::sync::LazyLock;

use serde_json::Value;

use super::fields::{FIELDS, Field, SCHEMES, Spec, plain, spec};
use crate::domain::lines::{Lines, MAX_ROW_BYTES, RowBytes, is_endless};
use crate::domain::text::{self, quoted};

/// Longest text that is read.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Most devices in one text.
const MAX_DEVICES: usize = 10_000;

/// Most values that are looked at for one device; a registration has two dozen.
const MAX_VALUES: usize = 500;

/// Longest key that is compared or repeated, with those around it. Every value is named by its whole path, so a long
/// key at the top would be kept once for each value below it.
const MAX_KEY_BYTES: usize = 256;

/// What the keys of all devices may take together. Each device names its own, though in a table they are the same.
const MAX_ALL_KEYS_BYTES: usize = 16 * 1024 * 1024;

/// Why a text can't be read at all. One sentence that names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Unreadable {
    /// Where, such as `line 3`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// A value that was given for a detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The key as it was written, with those around it: `OrganizationDetails.Address.zip`.
    pub(super) key: String,
    pub(super) field: Field,
    /// For a registration number: its kind, if the key or the one beside it says so.
    pub(super) scheme: Option<String>,
    pub(super) value: GivenValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GivenValue {
    Text(String),
    /// A number; `text` is how it was written.
    Number(String),
    /// Something else that is no text: what it is, in both languages.
    Other(&'static str, &'static str),
}

impl GivenValue {
    pub(super) fn text(&self) -> &str {
        match self {
            GivenValue::Text(text) | GivenValue::Number(text) => text,
            GivenValue::Other(..) => "",
        }
    }
}

/// The details of one device as they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Where it begins in the text, counted from 1; `None`: the text is about it alone.
    pub line: Option<u64>,
    pub(super) given: Vec<Given>,
    /// Keys that say nothing to us.
    pub(super) unknown: Vec<String>,
}

impl Device {
    /// A device whose details come one by one, by their paths or names. Empty ones count as left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut device = Self::default();
        for (key, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            device.take(&[], key, GivenValue::Text(value.to_owned()));
        }
        device
    }

    /// The keys that were recognised, each with the path of the detail it stands for.
    pub fn recognised(&self) -> Vec<(&str, &'static str)> {
        self.given.iter().map(|given| (given.key.as_str(), spec(given.field).path)).collect()
    }

    /// The keys that were not.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// What its keys take in memory.
    fn keys_bytes(&self) -> usize {
        let keys = self.given.iter().map(|given| &given.key).chain(&self.unknown);
        keys.map(|key| size_of::<String>() + key.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.given.len() + self.unknown.len() >= MAX_VALUES
    }

    /// Notes a key that says nothing to us.
    fn note_unknown(&mut self, key: String) {
        if !self.is_full() {
            self.unknown.push(key);
        }
    }

    /// Whether none of its keys was recognised.
    fn is_foreign(&self) -> bool {
        self.given.is_empty() && !self.unknown.is_empty()
    }

    /// Takes a value whose key is below `parents`. Returns whether the key was recognised.
    fn take(&mut self, parents: &[String], key: &str, value: GivenValue) -> bool {
        if self.is_full() {
            return false;
        }
        let path = written(parents, key);
        match recognise(parents, key) {
            Some((field, scheme)) => {
                self.given.push(Given { key: path, field, scheme: scheme.map(str::to_owned), value });
                true
            }
            None => {
                self.unknown.push(path);
                false
            }
        }
    }

    fn walk(&mut self, parents: &mut Vec<String>, key: &str, value: &Value) {
        if self.is_full() {
            return;
        }
        let key = &key[..key.floor_char_boundary(MAX_KEY_BYTES)];
        match value {
            Value::Null => {
                // An empty value counts as left out, but its key may still be wrong.
                if recognise(parents, key).is_none() {
                    self.note_unknown(written(parents, key));
                }
            }
            Value::String(text) => {
                self.take(parents, key, GivenValue::Text(text.clone()));
            }
            Value::Number(number) => {
                self.take(parents, key, GivenValue::Number(number.to_string()));
            }
            Value::Bool(_) => {
                self.take(parents, key, GivenValue::Other("true or false", "قيمة منطقية (true أو false)"));
            }
            Value::Object(fields) => {
                let n_before = self.given.len();
                parents.push(key.to_owned());
                for (name, value) in fields {
                    self.walk(parents, name, value);
                }
                self.pair_schemes(n_before);
                parents.pop();
                if self.given.len() == n_before && recognise(parents, key).is_some() {
                    self.take(parents, key, GivenValue::Other("an object", "كائن (object)"));
                }
            }
            Value::Array(items) => {
                let is_list_of_objects = items.iter().any(Value::is_object);
                if !is_list_of_objects && recognise(parents, key).is_some() {
                    self.take(parents, key, GivenValue::Other("an array", "مصفوفة (array)"));
                    return;
                }
                for (nth, item) in items.iter().enumerate() {
                    self.walk(parents, &format!("{key}[{nth}]"), item);
                }
            }
        }
    }

    /// A kind of registration number belongs to the number beside it.
    fn pair_schemes(&mut self, from: usize) {
        let Some(given) = self.given.get_mut(from..) else { return };
        let scheme =
            given.iter().find(|given| given.field == Field::SellerIdScheme && given.scheme.is_none());
        let Some(scheme) = scheme.map(|given| given.value.text().trim().to_owned()) else { return };
        for number in
            given.iter_mut().filter(|given| given.field == Field::SellerId && given.scheme.is_none())
        {
            number.scheme = Some(scheme.clone());
        }
    }

    /// Keys that were given side by side.
    fn finish(mut self) -> Self {
        self.pair_schemes(0);
        self
    }
}

/// The key with those around it, cut if it is too long.
fn written(parents: &[String], key: &str) -> String {
    let mut path = String::new();
    for (nth, part) in parents.iter().map(String::as_str).chain([key]).enumerate() {
        if nth > 0 {
            path.push('.');
        }
        path.push_str(part);
        if text::cut(&mut path, MAX_KEY_BYTES) {
            break;
        }
    }
    path
}

/// A detail with its path and the path's last part, as [`plain`] writes them.
struct Named {
    path: String,
    leaf: String,
    spec: &'static Spec,
}

static NAMED: LazyLock<Vec<Named>> = LazyLock::new(|| {
    let leaf = |path: &'static str| plain(path.rsplit('.').next().unwrap_or(path));
    FIELDS.iter().map(|spec| Named { path: plain(spec.path), leaf: leaf(spec.path), spec }).collect()
});

/// Which detail a key stands for, and for a registration number its kind.
///
/// The whole path counts first, then the key alone, then with the one above it (`Country.Code`). A key of `en` or `ar`
/// is the one above it in that language.
fn recognise(parents: &[String], key: &str) -> Option<(Field, Option<&'static str>)> {
    if key.len() > MAX_KEY_BYTES {
        return None;
    }
    let own = plain(key.split('[').next().unwrap_or(key));
    let above = parents.last().map(|parent| plain(parent.split('[').next().unwrap_or(parent)));
    if let (Some(above), "en" | "ar") = (&above, own.as_str()) {
        let (parent, rest) = parents.split_last()?;
        return if above == "en" || above == "ar" { None } else { recognise(rest, parent) };
    }
    // What is below a one-time password is one, whatever its key.
    if let Some((parent, rest)) = parents.split_last()
        && matches!(recognise(rest, parent), Some((Field::Otp, _)))
    {
        return Some((Field::Otp, None));
    }
    let whole = plain(&written(parents, key));
    if let Some(named) = NAMED.iter().find(|named| named.path == whole) {
        return Some((named.spec.field, None));
    }
    if let Some((scheme, _)) = SCHEMES.iter().find(|(_, names)| names.contains(&own.as_str())) {
        return Some((Field::SellerId, Some(scheme)));
    }
    let called = |name: &str| {
        NAMED
            .iter()
            // At the top `vat` is the header; anywhere else, and in a table without levels, it is the detail.
            .filter(|named| named.spec.field != Field::HeaderVat)
            .find(|named| named.leaf == name || named.spec.synonyms.contains(&name))
            .map(|named| (named.spec.field, None))
    };
    let header = spec(Field::HeaderVat).synonyms.contains(&own.as_str()).then_some((Field::HeaderVat, None));
    header.or_else(|| called(&own)).or_else(|| called(&format!("{}{own}", above.unwrap_or_default())))
}

/// Reads JSON: one registration as it will be sent to ClearTax, or an array of them.
///
/// # Errors
/// If it is not JSON, or neither an object nor an array of objects.
fn from_json(text: &[u8]) -> Result<Vec<Device>, Unreadable> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let value: Value = serde_json::from_slice(text).map_err(|err| {
        let shown = err.to_string();
        let what = shown.split(" at line ").next().unwrap_or_default();
        unreadable(
            &format!("line {}, column {}", err.line(), err.column()),
            format!("not valid JSON: {what}"),
        )
    })?;
    from_value(&value)
}

/// Reads JSON that has been parsed already: one registration, or an array of them.
///
/// # Errors
/// If it is neither an object nor an array of objects.
pub fn from_value(value: &Value) -> Result<Vec<Device>, Unreadable> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    require_number(items.len())?;
    let is_list = value.is_array();
    let (mut devices, mut keys) = (Vec::with_capacity(items.len()), Keys::default());
    for (nth, item) in items.iter().enumerate() {
        let place = if is_list { format!("/{nth}") } else { "the whole file".to_owned() };
        let Value::Object(fields) = item else {
            let what = "a device is an object with DeviceDetails and OrganizationDetails".to_owned();
            return Err(unreadable(&place, what));
        };
        let mut device = Device { line: is_list.then_some(nth as u64 + 1), ..Device::default() };
        for (key, value) in fields {
            device.walk(&mut Vec::new(), key, value);
        }
        keys.add(&device)?;
        devices.push(device.finish());
    }
    refuse_foreign(&devices)?;
    Ok(devices)
}

/// Reads CSV: a header row of keys, and a row for each device. Commas, semicolons or tabs are between the columns.
///
/// # Errors
/// If a row has another number of fields than the header, or the text is not UTF-8.
pub fn from_csv(text: &[u8]) -> Result<Vec<Device>, Unreadable> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| first_line.iter().filter(|byte| **byte == wanted).count();
    let delimiter =
        [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(RowBytes::of(text));
    let utf8 = |err: csv::Error| {
        let line = err.position().map_or(1, csv::Position::line);
        match err.kind() {
            csv::ErrorKind::Utf8 { err, .. } => {
                unreadable(&format!("line {line}"), format!("field {} is not UTF-8 text", err.field() + 1))
            }
            _ if is_endless(&err) => unreadable(
                "the whole file",
                format!("a row is longer than {} KiB: is a quotation mark not closed?", MAX_ROW_BYTES >> 10),
            ),
            _ => unreadable(&format!("line {line}"), "not valid CSV".to_owned()),
        }
    };
    let header = reader.headers().map_err(utf8)?.clone();
    let mut lines = Lines::new(text);
    let (mut devices, mut keys) = (Vec::new(), Keys::default());
    let mut record = csv::StringRecord::new();
    loop {
        reader.get_mut().begin_row();
        if !reader.read_record(&mut record).map_err(utf8)? {
            break;
        }
        let line = record.position().map_or(0, |position| lines.at(position.byte()));
        if record.len() != header.len() {
            let what = format!("it has {} fields, the header has {}", record.len(), header.len());
            return Err(unreadable(&format!("line {line}"), what));
        }
        let mut device = Device { line: Some(line), ..Device::default() };
        for (key, value) in header.iter().zip(&record) {
            match value.is_empty() {
                // The column is there, whatever this row has in it.
                _ if device.is_full() => break,
                true if recognise(&[], key).is_none() && !key.is_empty() => {
                    device.note_unknown(written(&[], key))
                }
                true => {}
                false => {
                    device.take(&[], key, GivenValue::Text(value.to_owned()));
                }
            }
        }
        keys.add(&device)?;
        devices.push(device.finish());
        require_number(devices.len())?;
    }
    require_number(devices.len())?;
    refuse_foreign(&devices)?;
    Ok(devices)
}

/// Reads a text that begins like JSON as JSON, and any other as CSV.
///
/// # Errors
/// As [`from_value`] and [`from_csv`], and if the text is too long or empty.
pub fn from_text(text: &[u8]) -> Result<Vec<Device>, Unreadable> {
    let whole = "the whole file";
    if text.len() > MAX_BYTES {
        return Err(unreadable(whole, format!("it is longer than {} MiB", MAX_BYTES >> 20)));
    }
    let bare = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    match bare.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(unreadable(whole, "it is empty".to_owned())),
        Some(b'{' | b'[' | b'"') => from_json(bare),
        Some(_) => from_csv(bare),
    }
}

/// Adds up what the keys of all devices take.
#[derive(Default)]
struct Keys {
    n_bytes: usize,
}

impl Keys {
    fn add(&mut self, device: &Device) -> Result<(), Unreadable> {
        self.n_bytes += device.keys_bytes();
        match self.n_bytes > MAX_ALL_KEYS_BYTES {
            true => Err(unreadable("the whole file", "it has too many long keys: divide it".to_owned())),
            false => Ok(()),
        }
    }
}

fn require_number(n_devices: usize) -> Result<(), Unreadable> {
    match n_devices {
        0 => Err(unreadable("the whole file", "there is no device in it".to_owned())),
        n if n > MAX_DEVICES => {
            Err(unreadable("the whole file", format!("{MAX_DEVICES} devices are the most for one file")))
        }
        _ => Ok(()),
    }
}

/// Refuses a file without a single known key: it must be the wrong file.
fn refuse_foreign(devices: &[Device]) -> Result<(), Unreadable> {
    match devices.iter().find(|device| device.is_foreign()) {
        Some(device) if devices.iter().all(Device::is_foreign) => {
            let what = format!(
                "none of its keys is a detail of a registration ({} is the first); --example prints a file that is right",
                quoted(device.unknown.first().map_or("", String::as_str))
            );
            Err(unreadable("the whole file", what))
        }
        _ => Ok(()),
    }
}

fn unreadable(place: &str, what: String) -> Unreadable {
    Unreadable { place: place.to_owned(), what }
}
