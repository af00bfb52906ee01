//! The content of upstream's answer, as it is sent and as it is kept.
//!
//! `StatusBody` and `ErrorBody` are the documented JSON; [`Report`] is the part that the database keeps.
//! Reading is strict where a conclusion depends on it: a wrong type or a key given twice makes the whole body
//! unreadable, so that nothing is concluded from it. Unknown keys are passed over.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::catalogue::{Catalogue, Explanation};
use super::rules::{self, KnownCodes, RuleError};
use super::text;
use super::time::Timestamp;

/// How much of a check's text is searched for errors. Real texts are at most a tenth as long.
const MAX_SPLIT_BYTES: usize = 64 * 1024;

/// Most errors kept of a check, and most entries kept of `ErrorList`. More would say nothing new, and the rows and
/// explanations made of each would turn a short answer into a very long one.
const MAX_ERRORS: usize = 100;

/// Bytes of all texts of a check's errors, and of all that is kept of `ErrorList`.
const MAX_ERRORS_BYTES: usize = 32 * 1024;

/// Bytes of a single one of those texts.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// Most bytes of a text that is documented to be one word.
const MAX_WORD_BYTES: usize = 256;

/// The six compliance checks, by upstream's own names, in the documented order.
pub const CHECK_NAMES: [&str; 6] = [
    "StandardTaxInvoice",
    "StandardTaxInvoiceCredit",
    "StandardTaxInvoiceDebit",
    "SimplifiedTaxInvoice",
    "SimplifiedTaxInvoiceCredit",
    "SimplifiedTaxInvoiceDebit",
];

/// How a compliance check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckOutcome {
    /// Upstream says `SUCCEEDED`.
    Succeeded,
    /// Upstream gave any other text: its error messages.
    Failed,
    /// Upstream left the check out, as it does for a device that issues only the other kind of invoice.
    NotReported,
}

impl CheckOutcome {
    /// All outcomes.
    pub const ALL: [CheckOutcome; 3] =
        [CheckOutcome::Succeeded, CheckOutcome::Failed, CheckOutcome::NotReported];

    /// The public name, as stored and shown.
    pub const fn label(self) -> &'static str {
        match self {
            CheckOutcome::Succeeded => "SUCCEEDED",
            CheckOutcome::Failed => "FAILED",
            CheckOutcome::NotReported => "NOT_REPORTED",
        }
    }
}

/// Rules that are read out of one listed error. More would be a list within the list.
const MAX_LISTED_RULES: usize = 32;

/// Rules that are read out of all of them. Each is shown with its entry's text.
const MAX_ALL_LISTED_RULES: usize = 200;

/// One of the six compliance checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// One of [`CHECK_NAMES`].
    pub name: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// Upstream's verbatim text, if the check failed.
    pub message: Option<String>,
    /// The single errors in that text, as far as they are kept.
    pub errors: Vec<RuleError>,
    /// How many more were found in it, at least.
    pub errors_left_out: u32,
}

impl Check {
    fn not_reported(name: &'static str) -> Self {
        Self {
            name,
            outcome: CheckOutcome::NotReported,
            message: None,
            errors: Vec::new(),
            errors_left_out: 0,
        }
    }

    /// Whether it passed and has nothing more to say.
    pub fn only_passed(&self) -> bool {
        self.outcome == CheckOutcome::Succeeded
            && self.message.is_none()
            && self.errors.is_empty()
            && self.errors_left_out == 0
    }

    fn from_text(name: &'static str, text: Option<String>, known: &KnownCodes) -> Self {
        match text {
            None => Self::not_reported(name),
            Some(text) if text.trim() == "SUCCEEDED" => {
                Self { outcome: CheckOutcome::Succeeded, ..Self::not_reported(name) }
            }
            Some(text) => {
                let (errors, errors_left_out) = errors_in(&text, known);
                Self { name, outcome: CheckOutcome::Failed, message: Some(text), errors, errors_left_out }
            }
        }
    }
}

/// The errors in a check's text that are kept, and how many more there are.
fn errors_in(text: &str, known: &KnownCodes) -> (Vec<RuleError>, u32) {
    let (looked_at, rest) = text.split_at(text.floor_char_boundary(MAX_SPLIT_BYTES));
    let mut bound = Bound::default();
    if !rest.trim().is_empty() {
        bound.left_out += 1;
    }
    let mut errors = rules::split(looked_at, known);
    errors.retain_mut(|error| {
        text::cut(&mut error.message, MAX_TEXT_BYTES);
        bound.takes(error.message.len() + error.rule.as_ref().map_or(0, String::len))
    });
    errors.shrink_to_fit();
    (errors, bound.left_out)
}

/// Counts what is kept of a list, and what is not.
#[derive(Debug, Default)]
struct Bound {
    n: usize,
    bytes: usize,
    left_out: u32,
}

impl Bound {
    /// Whether one more, with so many bytes of text, is kept.
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.n < MAX_ERRORS && self.bytes + bytes <= MAX_ERRORS_BYTES;
        if fits {
            self.n += 1;
            self.bytes += bytes;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        fits
    }
}

/// An entry of `ErrorList`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListedError {
    /// `ErrorCode`.
    pub error_code: Option<String>,
    /// `ErrorMessage`.
    pub error_message: Option<String>,
    /// `ErrorSource`.
    pub error_source: Option<String>,
    /// The rules that it names, its own code first, once they are settled. Their messages are empty: they share the
    /// entry's message.
    #[serde(skip)]
    pub rules: Vec<RuleError>,
}

/// What upstream said of an activity. All of it is optional: nothing is filled in that was not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// `Status`, verbatim.
    pub upstream_status: Option<String>,
    /// `PcsidGenerated`, verbatim.
    pub pcsid_generated: Option<String>,
    /// `TotalCount`.
    pub total_count: Option<i64>,
    /// `SuccessCount`.
    pub success_count: Option<i64>,
    /// `FailureCount`.
    pub failure_count: Option<i64>,
    /// `CreatedAt`.
    pub created_at: Option<Timestamp>,
    /// `UpdatedAt`.
    pub updated_at: Option<Timestamp>,
    /// `CompletedAt`.
    pub completed_at: Option<Timestamp>,
}

/// The checks and listed errors that come with a final answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// The checks that upstream reported on, in the documented order; a missing one was not reported.
    pub checks: Vec<Check>,
    /// `ErrorList`, as far as it is kept.
    pub errors: Vec<ListedError>,
    /// How many more entries it had.
    pub errors_left_out: u32,
}

impl ListedError {
    /// Decides which rules it names: its code, known or not, and after a general code, or without one, the more
    /// specific codes in its message. It names at most `n_most`, but always one.
    fn settle(&mut self, catalogue: &Catalogue, n_most: usize) {
        let known = catalogue.codes();
        let code = self.error_code.as_deref().map(str::trim).filter(|code| !code.is_empty());
        let message = self.error_message.as_deref().unwrap_or_default();
        let mut rules = Vec::new();
        if let Some(code) = code {
            let rule = known.official(code).map_or_else(|| rules::shortened(code), str::to_owned);
            rules.push(RuleError { rule: Some(rule), ..RuleError::default() });
        }
        if code.is_none_or(|code| known.is_general(code)) {
            for mut inner in rules::split(message, known) {
                let is_news = inner.rule.is_some() && rules.iter().all(|rule| rule.rule != inner.rule);
                if is_news && rules.len() < n_most {
                    catalogue.settle(&mut inner, message);
                    inner.message.clear();
                    rules.push(inner);
                }
            }
        }
        if rules.is_empty() {
            rules.push(RuleError::default());
        }
        let page = rules::page_as_sentence(message);
        for rule in rules.iter_mut().filter(|rule| rule.severity.is_none()) {
            catalogue.settle(rule, page.as_deref().unwrap_or(message));
        }
        self.rules = rules;
    }

    /// Cuts its texts. Returns how many bytes they take.
    fn cut(&mut self) -> usize {
        let texts = [&mut self.error_code, &mut self.error_message, &mut self.error_source];
        texts
            .into_iter()
            .flatten()
            .map(|text| {
                text::cut(text, MAX_TEXT_BYTES);
                text.len()
            })
            .sum()
    }
}

impl Findings {
    /// Decides what each error is: which rules the listed ones name, which cause each has, and whether it blocks.
    pub fn settle(&mut self, catalogue: &Catalogue) {
        for check in &mut self.checks {
            for error in &mut check.errors {
                let text = std::mem::take(&mut error.message);
                catalogue.settle(error, &text);
                error.message = text;
            }
        }
        let mut n_left = MAX_ALL_LISTED_RULES;
        for listed in &mut self.errors {
            listed.settle(catalogue, n_left.clamp(1, MAX_LISTED_RULES));
            n_left = n_left.saturating_sub(listed.rules.len());
        }
    }

    /// All errors, those in checks first.
    pub fn each_error(&self) -> impl Iterator<Item = &RuleError> {
        let in_checks = self.checks.iter().flat_map(|check| &check.errors);
        in_checks.chain(self.errors.iter().flat_map(|listed| &listed.rules))
    }

    /// The explanation of each cause in the findings and of its rule, once each, in the order of the errors.
    pub fn explained(&self, catalogue: &Catalogue) -> Vec<Explanation> {
        let mut seen = HashSet::new();
        self.each_error()
            .flat_map(|error| {
                [(error.rule.as_deref(), error.variant.as_deref()), (error.rule.as_deref(), None)]
            })
            .filter(|cause| seen.insert(*cause))
            .map(|(rule, variant)| catalogue.explain_variant(rule, variant))
            .collect()
    }

    /// All six checks in the documented order, those that upstream left out as not reported.
    pub fn all_checks(&self) -> [Cow<'_, Check>; 6] {
        CHECK_NAMES.map(|name| {
            let reported = self.checks.iter().find(|check| check.name == name);
            reported.map_or_else(|| Cow::Owned(Check::not_reported(name)), Cow::Borrowed)
        })
    }

    /// Checks that passed and have nothing more to say, one bit for each position: the first has the value 2.
    pub fn passed_checks(&self) -> i64 {
        let passed = self.reported_checks().filter(|(_, check)| check.only_passed());
        passed.fold(0, |bits, (position, _)| bits | 1 << position)
    }

    /// Checks that upstream reported on, each with its position, the first being 1.
    pub fn reported_checks(&self) -> impl Iterator<Item = (i64, &Check)> {
        (1..).zip(CHECK_NAMES).filter_map(|(position, name)| {
            let check = self.checks.iter().find(|check| check.name == name)?;
            (check.outcome != CheckOutcome::NotReported).then_some((position, check))
        })
    }
}

/// The result of [`Findings::explained`], to be looked up by error.
pub(super) struct Explanations<'a>(HashMap<(Option<&'a str>, Option<&'a str>), &'a Explanation>);

impl<'a> Explanations<'a> {
    pub(super) fn new(explanations: &'a [Explanation]) -> Self {
        let keyed = explanations
            .iter()
            .map(|explained| ((explained.rule.as_deref(), explained.variant.as_deref()), explained));
        Self(keyed.collect())
    }

    /// What is known of an error; always something for an error of the same findings.
    pub(super) fn get(&self, error: &'a RuleError) -> Option<&'a Explanation> {
        self.0.get(&(error.rule.as_deref(), error.variant.as_deref())).copied()
    }
}

/// The documented body of a status answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatusBody {
    pub(super) activity_type: Option<String>,
    pub(super) status: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    completed_at: Option<String>,
    request_meta_info: Option<Object<RequestMetaInfo>>,
    response_info: Option<Object<ResponseInfo>>,
    error_list: Option<Listed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestMetaInfo {
    #[serde(default, deserialize_with = "whole_number")]
    total_count: Option<i64>,
    #[serde(default, deserialize_with = "whole_number")]
    success_count: Option<i64>,
    #[serde(default, deserialize_with = "whole_number")]
    failure_count: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseInfo {
    response_meta_data: Option<Object<ResponseMetaData>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseMetaData {
    pcsid_generated: Option<String>,
    standard_tax_invoice: Option<String>,
    standard_tax_invoice_credit: Option<String>,
    standard_tax_invoice_debit: Option<String>,
    simplified_tax_invoice: Option<String>,
    simplified_tax_invoice_credit: Option<String>,
    simplified_tax_invoice_debit: Option<String>,
}

/// The documented body of a refusal.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorBody {
    error_list: Option<Listed>,
}

impl ErrorBody {
    pub(super) fn into_findings(self) -> Findings {
        let Listed { errors, left_out } = self.error_list.unwrap_or_default();
        Findings { errors, errors_left_out: left_out, ..Findings::default() }
    }
}

/// `ErrorList`, bounded while it is read: every entry is looked at, few are kept.
#[derive(Debug, Default)]
struct Listed {
    errors: Vec<ListedError>,
    left_out: u32,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
                let (mut errors, mut bound) = (Vec::new(), Bound::default());
                while let Some(Object(mut error)) = list.next_element::<Object<ListedError>>()? {
                    if bound.takes(error.cut()) {
                        errors.push(error);
                    }
                }
                Ok(Listed { errors, left_out: bound.left_out })
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

impl StatusBody {
    pub(super) fn pcsid_generated(&self) -> Option<&str> {
        self.response_info.as_ref()?.0.response_meta_data.as_ref()?.0.pcsid_generated.as_deref()
    }

    /// Splits the body into what is kept of every answer and what is kept of a final one.
    ///
    /// A timestamp that can't be read is left out: it decides nothing.
    pub(super) fn into_parts(self, known: &KnownCodes) -> (Report, Findings) {
        let time = |text: Option<String>| text.as_deref().and_then(Timestamp::parse_lenient);
        let word = |text: Option<String>| {
            text.map(|mut text| {
                text::cut(&mut text, MAX_WORD_BYTES);
                text
            })
        };
        let counts = self.request_meta_info.map(|Object(counts)| counts).unwrap_or_default();
        let meta = self.response_info.and_then(|Object(info)| info.response_meta_data);
        let meta = meta.map(|Object(meta)| meta).unwrap_or_default();
        let report = Report {
            upstream_status: word(self.status),
            pcsid_generated: word(meta.pcsid_generated),
            total_count: counts.total_count,
            success_count: counts.success_count,
            failure_count: counts.failure_count,
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            completed_at: time(self.completed_at),
        };
        let texts = [
            meta.standard_tax_invoice,
            meta.standard_tax_invoice_credit,
            meta.standard_tax_invoice_debit,
            meta.simplified_tax_invoice,
            meta.simplified_tax_invoice_credit,
            meta.simplified_tax_invoice_debit,
        ];
        let checks = CHECK_NAMES
            .into_iter()
            .zip(texts)
            .filter(|(_, text)| text.is_some())
            .map(|(name, text)| Check::from_text(name, text, known))
            .collect();
        let Listed { errors, left_out } = self.error_list.unwrap_or_default();
        (report, Findings { checks, errors, errors_left_out: left_out })
    }
}

/// A JSON object and nothing else. serde alone would also accept an array, in the order of the fields, and conclude
/// from what upstream never documented.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A JSON number without a fraction (`6` and `6.0` alike) or null.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    // Beyond 2^53 several whole numbers are the same JSON number with a fraction.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number
        .as_i64()
        .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64))
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{number} is no whole number")))
}
