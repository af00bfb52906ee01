//! The form that checks the details of a registration. Nothing of it is stored.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::marks::{Icon, icon};
use super::text::{code, prose, theirs};
use super::{Frame, Here, layout};
use crate::domain::catalogue::Language;
use crate::domain::preflight::{Device, FIELDS, Field, Finding, FindingSeverity, Spec};
use crate::domain::text::visible;

/// Devices whose findings are shown. For more the page names the command.
const MAX_SHOWN: usize = 50;

/// What the reader entered, to be shown in the form again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entered {
    /// Values by the paths of their details.
    pub values: BTreeMap<String, String>,
    /// A pasted file.
    pub text: String,
}

/// The result of the check.
#[derive(Debug)]
pub enum Outcome {
    /// The form was not sent yet.
    Empty,
    /// The pasted text can't be read, and why.
    Unreadable(String),
    /// Each device with what was found.
    Checked(Vec<(Device, Vec<Finding>)>),
}

/// The page.
pub fn preflight(frame: &Frame<'_>, entered: &Entered, outcome: &Outcome) -> Markup {
    let words = frame.words;
    let title = words.nav_preflight().to_string();
    let main = html! {
        h1 { (title) }
        p.lead { (words.preflight_lead()) }
        @match outcome {
            Outcome::Empty => {}
            // Invisible characters are shown before the sentence is translated: our translations contain some on
            // purpose.
            Outcome::Unreadable(why) => p.banner.ill role="alert" {
                (icon(Icon::Bad)) bdi dir="auto" { (words.complaint(&visible(why))) }
            },
            Outcome::Checked(checked) => (results(frame, checked)),
        }
        (form(frame, entered))
    };
    layout(frame, &title, Here::Preflight, &main)
}

/// One of the texts of the table of details, in the reader's language.
fn in_language<'a>(frame: &Frame<'_>, texts: (&'a str, &'a str)) -> &'a str {
    match frame.words.language() {
        Language::English => texts.0,
        Language::Arabic => texts.1,
    }
}

fn results(frame: &Frame<'_>, checked: &[(Device, Vec<Finding>)]) -> Markup {
    let words = frame.words;
    let n = |severity| {
        let all = checked.iter().flat_map(|(_, findings)| findings);
        all.filter(|finding: &&Finding| finding.severity == severity).count() as u64
    };
    let (n_errors, n_warnings) = (n(FindingSeverity::Error), n(FindingSeverity::Warning));
    let n_more = checked.len().saturating_sub(MAX_SHOWN) as u64;
    html! {
        section aria-labelledby="found" {
            h2 #found { (words.preflight_found()) }
            @if n_errors + n_warnings == 0 {
                p.banner.well role="status" { (icon(Icon::Good)) span { (words.preflight_nothing()) } }
            } @else {
                p.banner.ill role="alert" {
                    (icon(if n_errors > 0 { Icon::Bad } else { Icon::Attention }))
                    span { (words.preflight_errors(n_errors)) (words.list_comma()) " " (words.preflight_warnings(n_warnings)) }
                }
            }
            @for (device, findings) in checked.iter().take(MAX_SHOWN) {
                @if checked.len() > 1 {
                    h3 {
                        @if let Some(line) = device.line { (line) ": " }
                        (theirs(&device.name().unwrap_or_default()))
                    }
                }
                ul.findings { @for finding in findings { (item(frame, finding)) } }
            }
            @if n_more > 0 { p.note { (words.preflight_more(code("pcsid-watch preflight FILE"), n_more)) } }
        }
    }
}

fn item(frame: &Frame<'_>, finding: &Finding) -> Markup {
    let words = frame.words;
    let (class, mark, word) = match finding.severity {
        FindingSeverity::Error => ("failed", Icon::Bad, words.finding_error()),
        FindingSeverity::Warning => ("rejected", Icon::Attention, words.finding_warning()),
        FindingSeverity::Note => ("cancelled", Icon::Nothing, words.finding_note()),
    };
    let spec = FIELDS.iter().find(|spec| spec.path == finding.field);
    html! {
        li {
            p {
                span class={ "chip " (class) } { (icon(mark)) (word) } " "
                strong {
                    @match spec { Some(spec) => (in_language(frame, spec.name)), None => (theirs(&finding.field)) }
                }
                @if let Some(rule) = finding.rule { " " (code(rule)) }
                @if let Some(value) = &finding.value { " = " code { (theirs(value)) } }
            }
            p { (prose(finding.problem.of(words.language()))) }
            @if !finding.expected.en.is_empty() { p.todo { (prose(finding.expected.of(words.language()))) } }
        }
    }
}

fn form(frame: &Frame<'_>, entered: &Entered) -> Markup {
    let words = frame.words;
    let asked = |spec: &&Spec| !matches!(spec.field, Field::HeaderVat | Field::Otp);
    html! {
        form.preflight action="/preflight" method="post" {
            h2 { (words.preflight_details()) }
            div.details {
                @for spec in FIELDS.iter().filter(asked) {
                    @let value = entered.values.get(spec.path).map_or("", String::as_str);
                    div.detail {
                        label for=(spec.path) { (in_language(frame, spec.name)) }
                        (input(frame, spec, value))
                        p.note { (in_language(frame, spec.form)) ". " (in_language(frame, spec.about)) }
                    }
                }
            }
            details open[!entered.text.is_empty()] {
                summary { (words.preflight_paste()) }
                textarea name="text" rows="8" cols="80" dir="ltr" spellcheck="false" aria-label="JSON, CSV" {
                    (entered.text)
                }
                p.note { (words.preflight_paste_note()) }
            }
            p { button.main type="submit" { (words.preflight_check()) } }
        }
    }
}

fn input(frame: &Frame<'_>, spec: &Spec, value: &str) -> Markup {
    let choices: &[&str] = match spec.field {
        Field::InvoiceType => &["1100", "1000", "0100"],
        Field::SellerIdScheme => &["CRN", "MOM", "MLS", "700", "SAG", "OTH"],
        _ => &[],
    };
    html! {
        @if choices.is_empty() {
            input id=(spec.path) name=(spec.path) value=(value) maxlength="512" autocomplete="off" spellcheck="false"
                dir="auto" placeholder=(spec.example);
        } @else {
            select id=(spec.path) name=(spec.path) {
                option value="" { (frame.words.preflight_not_given()) }
                @for choice in choices { option value=(choice) selected[*choice == value] { (choice) } }
            }
        }
    }
}
