//! Checks whether a registration is likely to pass, before its one-time password is spent.
//!
//! The details come as they will be sent to ClearTax. Each is checked against what ClearTax documents and what ZATCA's
//! rules require; the table of details is [`FIELDS`]. What can't pass is an error. What is legal but probably not
//! intended is a warning. Nothing is sent or stored.
//!
//! ClearTax's public page does not name the keys of an address. So keys are recognised by what they mean, with other
//! spellings and names; what was recognised and what was not is part of the answer.

mod fields;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::catalogue::Text;
use super::text;
use super::time::Timestamp;
use fields::{Presence, SCHEMES, Texts, is_alphanumeric, is_digits, is_group, is_vat, plain, serial_in};
use read::{Given, GivenValue};

pub use fields::{FIELDS, Field, Spec, spec};
pub use read::{Device, MAX_BYTES, Unreadable, from_csv, from_text, from_value};

/// The one VAT number that ZATCA's developer portal takes.
const TEST_VAT: &str = "399999999900003";

/// Longest field of a certificate, in characters.
const MAX_CERTIFICATE_CHARS: usize = 64;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// The registration can't pass.
    Error,
    /// It may pass, but is probably a mistake.
    Warning,
    /// Worth knowing.
    Note,
}

impl FindingSeverity {
    /// The public name.
    pub const fn label(self) -> &'static str {
        match self {
            FindingSeverity::Error => "error",
            FindingSeverity::Warning => "warning",
            FindingSeverity::Note => "note",
        }
    }
}

/// Something found about a detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where the detail is in what is sent.
    pub field: String,
    /// The key by which it was given, if that is another one.
    pub key: Option<String>,
    /// The rule of ZATCA or of its API that is behind it.
    pub rule: Option<&'static str>,
    /// How much it matters.
    pub severity: FindingSeverity,
    /// The value, on one line and cut; never that of a one-time password.
    pub value: Option<String>,
    /// What is wrong.
    pub problem: Text,
    /// How it must look.
    pub expected: Text,
}

/// What the configuration says of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Whether it goes to ClearTax's production.
    pub is_production: bool,
}

impl Context {
    /// The context of an upstream. It is production unless its name says sandbox or it is on this machine.
    pub fn of_upstream(base_url: &str) -> Self {
        let lower = base_url.to_ascii_lowercase();
        let host = lower.split("://").nth(1).unwrap_or(&lower);
        let host = host.split(['/', '?']).next().unwrap_or_default();
        let is_test = host.contains("sandbox")
            || host.starts_with("localhost")
            || host.starts_with("127.")
            || host.starts_with("[::1]");
        Self { is_production: !is_test }
    }
}

/// What the database knows of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It has a certificate.
    Certificate {
        /// When that ends.
        expires_at: Timestamp,
    },
    /// An activity of it is being watched.
    Waiting {
        /// The activity.
        activity_id: String,
    },
}

/// What a device may be known by in the database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// Its VAT.
    pub vat: String,
    /// The serial number, whole and its third part.
    pub names: Vec<String>,
}

impl Device {
    /// What the database may know it by; `None` if its VAT or its serial number is missing.
    pub fn identity(&self) -> Option<Identity> {
        let vat = self.first(Field::Vat).or_else(|| self.first(Field::HeaderVat))?;
        let serial = self.first(Field::EgsSerialNumber)?;
        let part = serial_in(&serial).map(str::to_owned).filter(|part| !part.is_empty());
        Some(Identity { vat, names: std::iter::once(serial).chain(part).collect() })
    }

    /// What people call it: its name, else its serial number.
    pub fn name(&self) -> Option<String> {
        self.first(Field::CommonName).or_else(|| self.first(Field::EgsSerialNumber))
    }

    /// The first value of a detail that is not empty, tidied.
    fn first(&self, field: Field) -> Option<String> {
        let given = self.given.iter().filter(|given| given.field == field);
        given.map(|given| tidy(given.value.text())).find(|text| !text.is_empty())
    }

    fn all(&self, field: Field) -> impl Iterator<Item = &Given> {
        self.given.iter().filter(move |given| given.field == field)
    }
}

/// Everything that is found about a device, errors first. `known` is what the database knows of it.
pub fn check(device: &Device, context: Context, known: &[Known]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FIELDS.iter().flat_map(|spec| of_field(device, spec)).collect();
    findings.extend(vat_numbers(device, context));
    findings.extend(organization_unit(device));
    findings.extend(seller_id(device));
    findings.extend(known.iter().map(|known| of_known(device, known)));
    findings.extend(keys(device));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Everything that is found about each device of a text. `known` is what the database knows of each.
pub fn check_all(devices: &[Device], context: Context, known: &[Vec<Known>]) -> Vec<Vec<Finding>> {
    check_each(devices, context, known).collect()
}

/// As [`check_all`], one device after the other: what is found takes a hundred times the memory of what was given.
pub fn check_each<'a>(
    devices: &'a [Device],
    context: Context,
    known: &'a [Vec<Known>],
) -> impl Iterator<Item = Vec<Finding>> + 'a {
    let mut repeated = repeated(devices);
    devices.iter().enumerate().map(move |(nth, device)| {
        let mut findings = check(device, context, known.get(nth).map_or(&[], Vec::as_slice));
        findings.extend(repeated.remove(&nth));
        findings.sort_by_key(|finding| finding.severity);
        findings
    })
}

/// Devices of a text that are in it twice, by the position of the later one: ClearTax makes one request for each VAT
/// and serial.
fn repeated(devices: &[Device]) -> BTreeMap<usize, Finding> {
    let mut seen: BTreeMap<Identity, usize> = BTreeMap::new();
    let mut repeated = BTreeMap::new();
    for (nth, device) in devices.iter().enumerate() {
        let Some(identity) = device.identity() else { continue };
        if seen.insert(identity, nth).is_some() {
            let problem = (
                "Another device in this file has the same VAT number and serial.",
                "في الملف جهاز آخر له الرقم الضريبي نفسه والرقم التسلسلي نفسه.",
            );
            repeated.insert(
                nth,
                finding(device, Field::EgsSerialNumber, FindingSeverity::Warning, None, problem),
            );
        }
    }
    repeated
}

/// A filled registration that passes, as it is sent to ClearTax.
pub fn example() -> Value {
    let mut root = Map::new();
    for spec in FIELDS.iter().filter(|spec| spec.field != Field::HeaderVat) {
        let mut at = &mut root;
        let mut segments = spec.path.split('.').peekable();
        while let Some(segment) = segments.next() {
            if segments.peek().is_none() {
                at.insert(segment.to_owned(), Value::from(spec.example));
                break;
            }
            let below = at.entry(segment).or_insert_with(|| Value::Object(Map::new()));
            match below.as_object_mut() {
                Some(object) => at = object,
                None => break,
            }
        }
    }
    Value::Object(root)
}

/// The same as the rows of a CSV file.
pub fn example_rows() -> [Vec<&'static str>; 2] {
    let shown = || FIELDS.iter().filter(|spec| spec.field != Field::HeaderVat);
    let leaf = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    [shown().map(|spec| leaf(spec.path)).collect(), shown().map(|spec| spec.example).collect()]
}

fn text(words: Texts) -> Text {
    Text::new(words.0, words.1)
}

/// A finding about a detail as it was first given, or as it should have been.
fn finding(
    device: &Device,
    field: Field,
    severity: FindingSeverity,
    rule: Option<&'static str>,
    problem: Texts,
) -> Finding {
    match device.all(field).next() {
        Some(given) => about(given, severity, rule, problem),
        None => missing(spec(field), severity, rule, problem),
    }
}

fn missing(spec: &Spec, severity: FindingSeverity, rule: Option<&'static str>, problem: Texts) -> Finding {
    Finding {
        field: spec.path.to_owned(),
        key: None,
        rule,
        severity,
        value: None,
        problem: text(problem),
        expected: text(spec.form),
    }
}

fn about(given: &Given, severity: FindingSeverity, rule: Option<&'static str>, problem: Texts) -> Finding {
    let spec = spec(given.field);
    Finding {
        key: (given.key != spec.path).then(|| shown(&given.key)),
        value: (given.field != Field::Otp && !given.value.text().is_empty())
            .then(|| shown(given.value.text())),
        ..missing(spec, severity, rule, problem)
    }
}

/// On one line, cut after 120 characters, with what can't be seen made visible.
fn shown(value: &str) -> String {
    let mut shown = String::new();
    for c in value.chars().take(120) {
        match c {
            c if is_invisible(c) || c.is_control() => shown.push_str(&text::named(c)),
            c => shown.push(c),
        }
    }
    if value.chars().nth(120).is_some() {
        shown.push('…');
    }
    shown
}

/// Invisible marks, which come along when a text is copied from a document.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

fn is_around(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// Without what can't be seen, trimmed, and with ASCII digits. Rules check this form, so that one mistake is one finding.
fn tidy(value: &str) -> String {
    let seen: String =
        value.chars().filter(|c| !is_invisible(*c) && (!c.is_control() || c.is_whitespace())).collect();
    text::with_ascii_digits(seen.trim())
}

fn of_field(device: &Device, spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for given in device.all(spec.field) {
        findings.extend(of_value(given, spec));
    }
    let is_given = device.first(spec.field).is_some();
    let is_wrong_already = device.all(spec.field).any(|given| matches!(given.value, GivenValue::Other(..)));
    if is_given || is_wrong_already {
        findings.extend(contradiction(device, spec));
        return findings;
    }
    match spec.presence {
        Presence::Required(rule) => {
            let problem = match device.all(spec.field).next() {
                Some(_) => ("It is empty.", "فارغ."),
                None => ("It is missing.", "غير موجود."),
            };
            findings.push(finding(device, spec.field, FindingSeverity::Error, rule, problem));
        }
        Presence::Optional | Presence::Elsewhere => {}
    }
    findings
}

fn of_value(given: &Given, spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, rule, problem| findings.push(about(given, severity, rule, problem));
    let raw = match &given.value {
        GivenValue::Text(raw) => raw,
        GivenValue::Number(raw) => {
            let problem = (
                "It is a number; text belongs here, in quotes. Zeros at its beginning would be lost.",
                "قيمة رقمية، والمطلوب نص بين علامتي اقتباس، وإلا ضاعت الأصفار في أوله.",
            );
            add(FindingSeverity::Error, None, problem);
            raw
        }
        GivenValue::Other(en, ar) => {
            let mut wrong = about(given, FindingSeverity::Error, None, ("", ""));
            wrong.problem =
                Text::new(format!("It is {en}; text belongs here."), format!("القيمة {ar}، والمطلوب نص."));
            return vec![wrong];
        }
    };
    if raw.trim_matches(is_around) != raw {
        let problem = (
            "There are spaces or invisible marks around it.",
            "توجد مسافات أو علامات غير مرئية في أوله أو آخره.",
        );
        add(FindingSeverity::Warning, None, problem);
    }
    let bare = raw.trim_matches(is_around);
    if bare.chars().any(|c| is_invisible(c) || c.is_control()) {
        let problem = ("There are invisible marks in it.", "توجد فيه علامات غير مرئية.");
        add(FindingSeverity::Warning, None, problem);
    }
    if spec.is_code && bare.chars().any(|c| text::ascii_digit(c).is_some()) {
        let problem = (
            "It has Arabic digits (٠١٢…); ASCII ones (012…) belong here.",
            "فيه أرقام عربية (٠١٢…)، والمطلوب أرقام لاتينية (012…).",
        );
        add(FindingSeverity::Warning, None, problem);
    }
    let tidied = tidy(raw);
    if tidied.is_empty() && given.field != Field::Otp {
        return findings;
    }
    let wrong = spec.shapes.iter().find(|shape| !(shape.holds)(&tidied));
    if let Some(shape) = wrong {
        let severity = if shape.is_warning { FindingSeverity::Warning } else { FindingSeverity::Error };
        findings.push(about(given, severity, shape.rule, shape.problem));
    }
    if spec.is_in_certificate {
        findings.extend(length(given, &tidied));
    }
    findings
}

/// Fields of a certificate hold 64 characters; some programs count bytes.
fn length(given: &Given, tidied: &str) -> Option<Finding> {
    let rule = Some("EXCEED_CHARACTER_LIMIT");
    if tidied.chars().count() > MAX_CERTIFICATE_CHARS {
        let problem = ("It has more than 64 characters.", "يزيد على 64 حرفًا.");
        return Some(about(given, FindingSeverity::Error, rule, problem));
    }
    (tidied.len() > MAX_CERTIFICATE_CHARS).then(|| {
        let problem = (
            "It has more than 64 bytes: an Arabic letter takes two, and some programs count bytes.",
            "يزيد على 64 بايت: الحرف العربي يأخذ بايتين، وبعض البرامج تعدّ البايتات.",
        );
        about(given, FindingSeverity::Warning, rule, problem)
    })
}

/// The same detail given twice, by different keys, with different values.
fn contradiction(device: &Device, spec: &Spec) -> Option<Finding> {
    let is_single = !matches!(spec.field, Field::SellerId | Field::SellerIdScheme);
    let first = device.first(spec.field)?;
    let in_a_language = |given: &Given| given.key.ends_with(".en") || given.key.ends_with(".ar");
    let other = device.all(spec.field).find(|given| {
        let value = tidy(given.value.text());
        !value.is_empty() && value != first && !in_a_language(given)
    })?;
    let problem = ("It is given more than once, with different values.", "ذُكر أكثر من مرة بقيم مختلفة.");
    is_single.then(|| about(other, FindingSeverity::Warning, None, problem))
}

fn vat_numbers(device: &Device, context: Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (header, detail) = (device.first(Field::HeaderVat), device.first(Field::Vat));
    let Some(vat) = detail.clone().or_else(|| header.clone()) else {
        let problem = ("It is missing.", "غير موجود.");
        return vec![finding(device, Field::Vat, FindingSeverity::Error, Some("BR-KSA-39"), problem)];
    };
    let field = if detail.is_some() { Field::Vat } else { Field::HeaderVat };
    if detail.is_none() && !is_vat(&vat) {
        let problem = (
            "It is not 15 digits of which the first and the last are 3.",
            "ليس 15 رقمًا يبدأ وينتهي بالرقم 3.",
        );
        findings.push(finding(device, field, FindingSeverity::Error, Some("BR-KSA-40"), problem));
    }
    if let (Some(header), Some(detail)) = (header, detail)
        && header != detail
    {
        let problem = (
            "The VAT number in the header is another one than in the details.",
            "الرقم الضريبي في الترويسة غير الرقم الوارد في البيانات.",
        );
        let rule = Some("certificate-permissions");
        findings.push(finding(device, Field::HeaderVat, FindingSeverity::Error, rule, problem));
    }
    if vat == TEST_VAT {
        let problem = match context.is_production {
            true => (
                "This VAT number exists in ZATCA's sandbox alone, and the configured upstream is production.",
                "هذا الرقم الضريبي خاص ببيئة الهيئة التجريبية، والبيئة المحددة في الإعدادات هي بيئة الإنتاج.",
            ),
            false => (
                "This VAT number exists in ZATCA's sandbox alone; no other environment knows it.",
                "هذا الرقم الضريبي خاص ببيئة الهيئة التجريبية، ولا تعرفه أي بيئة أخرى.",
            ),
        };
        findings.push(finding(device, field, FindingSeverity::Warning, None, problem));
    }
    findings
}

/// For a VAT group ZATCA wants the member's TIN.
fn organization_unit(device: &Device) -> Option<Finding> {
    let vat = device.first(Field::Vat).or_else(|| device.first(Field::HeaderVat)).unwrap_or_default();
    let unit = device.first(Field::OrganizationUnit);
    let of =
        |severity, problem| finding(device, Field::OrganizationUnit, severity, Some("Invalid-CSR"), problem);
    match unit {
        None if is_group(&vat) => Some(of(
            FindingSeverity::Error,
            (
                "It is missing, and the VAT number is that of a group (its 11th digit is 1).",
                "غير موجود، والرقم الضريبي لمجموعة (الخانة 11 هي 1).",
            ),
        )),
        Some(unit) if is_group(&vat) && !is_digits(&unit, 10) => Some(of(
            FindingSeverity::Error,
            (
                "It is not a TIN of 10 digits, and the VAT number is that of a group (its 11th digit is 1).",
                "ليس رقمًا مميزًا (TIN) من 10 أرقام، والرقم الضريبي لمجموعة (الخانة 11 هي 1).",
            ),
        )),
        None => Some(of(
            FindingSeverity::Warning,
            (
                "It is missing; ZATCA's certificate request names a branch or organization unit.",
                "غير موجود؛ وطلب الشهادة لدى الهيئة يذكر الفرع أو الوحدة.",
            ),
        )),
        Some(_) => None,
    }
}

/// BR-KSA-08: exactly one registration number, of a known kind.
fn seller_id(device: &Device) -> Vec<Finding> {
    let rule = Some("BR-KSA-08");
    let ids: Vec<(&Given, String)> = device
        .all(Field::SellerId)
        .map(|given| (given, tidy(given.value.text())))
        .filter(|(_, id)| !id.is_empty())
        .collect();
    let mut findings = Vec::new();
    if ids.is_empty() {
        let problem = ("It is missing.", "غير موجود.");
        return vec![finding(device, Field::SellerId, FindingSeverity::Error, rule, problem)];
    }
    for (given, id) in &ids {
        let of = |severity, problem| about(given, severity, rule, problem);
        if !is_alphanumeric(id) {
            let problem = (
                "It has other characters than Latin letters and digits.",
                "فيه رموز غير الحروف اللاتينية والأرقام.",
            );
            findings.push(of(FindingSeverity::Error, problem));
        }
        match given.scheme.as_deref().map(known_scheme) {
            Some(Some("CRN")) if is_alphanumeric(id) && !is_digits(id, 10) => {
                let problem =
                    ("A commercial registration (CRN) has 10 digits.", "السجل التجاري (CRN) من 10 أرقام.");
                findings.push(of(FindingSeverity::Error, problem));
            }
            Some(Some("700")) if is_alphanumeric(id) && !(is_digits(id, 10) && id.starts_with('7')) => {
                let problem =
                    ("A 700 number has 10 digits, the first being 7.", "رقم 700 من 10 أرقام أولها 7.");
                findings.push(about(given, FindingSeverity::Warning, Some("BR-KSA-F-09"), problem));
            }
            Some(Some(_)) => {}
            Some(None) => {
                let problem =
                    ("Its kind is none that ZATCA knows.", "نوعه ليس من الأنواع التي تعرفها الهيئة.");
                let scheme = device.all(Field::SellerIdScheme).next().unwrap_or(given);
                findings.push(about(scheme, FindingSeverity::Error, rule, problem));
            }
            None => {
                let problem = (
                    "The kind of the seller's registration number is missing.",
                    "نوع رقم تسجيل البائع غير مذكور.",
                );
                findings.push(finding(device, Field::SellerIdScheme, FindingSeverity::Error, rule, problem));
            }
        }
    }
    if let Some((second, _)) = ids.get(1) {
        let problem = (
            "There are several registration numbers; ZATCA's validator breaks off at a second one (SaxonApiException).",
            "توجد عدة أرقام تسجيل، ومدقق الهيئة يتوقف عند الثاني (SaxonApiException).",
        );
        findings.push(about(second, FindingSeverity::Warning, rule, problem));
    }
    findings
}

/// The official spelling of a kind of registration number.
fn known_scheme(scheme: &str) -> Option<&'static str> {
    let plain = plain(&tidy(scheme));
    SCHEMES.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(scheme, _)| *scheme)
}

fn of_known(device: &Device, known: &Known) -> Finding {
    let (value, problem, expected) = match known {
        Known::Certificate { expires_at } => (
            expires_at.to_string(),
            (
                "A device of this serial has a certificate already, until the time shown: for the same VAT number and serial \
                 ClearTax answers with the existing device.",
                "لجهاز بهذا الرقم التسلسلي شهادة حتى الوقت المذكور: للرقم الضريبي والرقم التسلسلي نفسيهما تعيد ClearTax الجهاز \
                 الموجود.",
            ),
            (
                "another serial for a new device; the same one only to renew its certificate",
                "رقم تسلسلي آخر لجهاز جديد؛ والرقم نفسه لتجديد شهادته فقط",
            ),
        ),
        Known::Waiting { activity_id } => (
            activity_id.clone(),
            (
                "The activity shown is being watched for a device of this serial: another one-time password would be spent on it.",
                "النشاط المذكور قيد المتابعة لجهاز بهذا الرقم التسلسلي: سيُستهلك له رمز تحقق (OTP) آخر.",
            ),
            ("wait for how it ends", "انتظر نتيجته"),
        ),
    };
    Finding {
        value: Some(value),
        expected: text(expected),
        ..finding(device, Field::EgsSerialNumber, FindingSeverity::Warning, None, problem)
    }
}

/// Keys that say nothing to us, and those that were read as something by another name.
fn keys(device: &Device) -> Vec<Finding> {
    let unknown = device.unknown.iter().map(|key| Finding {
        field: shown(key),
        key: None,
        rule: None,
        severity: FindingSeverity::Note,
        value: None,
        problem: text(("This key is not known; it was not checked.", "هذا المفتاح غير معروف، ولم يُفحص.")),
        expected: text(("", "")),
    });
    unknown.collect()
}
