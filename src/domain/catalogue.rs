//! What a rule means, whose data breaks it and what to do about it.
//!
//! The rules stand in `catalogue/rules.toml`, which is part of the program. A file of the user's adds to them and
//! replaces some, so that a new rule needs no release. What neither knows is said to be unknown, with what its name
//! tells of its family.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::rules::KnownCodes;

const BUILTIN: &str = include_str!("catalogue/rules.toml");

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// Arabic.
    pub ar: String,
}

/// A language that explanations are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Arabic.
    Arabic,
}

/// Whose data a rule is about, so who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The organisation or device details that were given at registration.
    Registration,
    /// The device: CSR, invoice type, one-time password, sandbox and production mixed up.
    Device,
    /// ClearTax, which builds the sample documents.
    Cleartax,
    /// ZATCA itself.
    Zatca,
}

/// The family of rules that a rule belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "docs/explanations.md tells them apart")]
pub enum Family {
    Ksa,
    En16931,
    Calculation,
    Decimals,
    CodeList,
    Signature,
    Certificate,
    Onboarding,
    Transport,
    Xsd,
}

/// Whether breaking a rule fails a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they say it themselves; both: it depends on the document")]
pub enum Severity {
    Error,
    Warning,
    Both,
    Unknown,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Concern {
    Totals,
    TaxCategory,
    Buyer,
    QrSignature,
    Certificate,
    DocumentReference,
    SellerAddress,
    Reason,
    Dates,
    UuidCounterHash,
    SellerIdentity,
    SellerVat,
    DeviceType,
    Otp,
    Other,
}

/// Which documents a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Documents {
    All,
    Standard,
    Simplified,
    CreditDebit,
}

/// What to do about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remedy {
    en: String,
    ar: String,
    detail: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    code: String,
    family: Family,
    severity: Severity,
    concerns: Concern,
    applies_to: Documents,
    owner: Owner,
    /// Names a remedy.
    remedy: String,
    en: String,
    ar: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    remedies: BTreeMap<String, Remedy>,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// Why a file of rules can't be used. One sentence that names the place and the rule broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is no TOML, or not of the documented form.
    #[error("{0}")]
    Form(String),
    /// The same code twice.
    #[error("rule {0} stands twice")]
    Twice(String),
    /// A rule's remedy is not there.
    #[error("rule {rule} names the remedy `{remedy}`, which is not there")]
    NoRemedy {
        /// The rule.
        rule: String,
        /// What it names.
        remedy: String,
    },
    /// A text is missing.
    #[error("{0} has an empty text")]
    Empty(String),
}

/// What is known of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The code in its official spelling; as it was given where it is unknown, `None` where there is none.
    pub rule: Option<String>,
    /// Whether the catalogue has it.
    pub is_known: bool,
    /// Who must act.
    pub owner: Owner,
    /// Its family, where that is known.
    pub family: Option<Family>,
    /// Whether breaking it fails a check.
    pub severity: Severity,
    /// What it is about, where that is known.
    pub concerns: Option<Concern>,
    /// Which documents it is for.
    pub applies_to: Documents,
    /// What it means.
    pub meaning: Text,
    /// What to do.
    pub remedy: Text,
    /// What of the registration has to be corrected, where it is that.
    #[serde(skip)]
    pub detail: Option<Text>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    remedies: BTreeMap<String, Remedy>,
    /// By the official spelling.
    rules: HashMap<String, Rule>,
    codes: KnownCodes,
}

impl Text {
    /// The text in one language.
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Arabic => &self.ar,
        }
    }

    fn is_empty(&self) -> bool {
        self.en.trim().is_empty() || self.ar.trim().is_empty()
    }

    pub(super) fn new(en: impl Into<String>, ar: impl Into<String>) -> Self {
        Self { en: en.into(), ar: ar.into() }
    }
}

impl Language {
    /// The name in settings, on the command line and in pages.
    pub const fn label(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Arabic => "ar",
        }
    }

    /// The language with this name.
    pub fn from_label(label: &str) -> Option<Self> {
        [Language::English, Language::Arabic].into_iter().find(|language| language.label() == label)
    }
}

impl Owner {
    /// All owners.
    pub const ALL: [Owner; 4] = [Owner::Registration, Owner::Device, Owner::Cleartax, Owner::Zatca];

    /// The public name.
    pub const fn label(self) -> &'static str {
        match self {
            Owner::Registration => "registration",
            Owner::Device => "device",
            Owner::Cleartax => "cleartax",
            Owner::Zatca => "zatca",
        }
    }
}

impl Catalogue {
    /// The rules known when this program was built.
    pub fn builtin() -> Arc<Self> {
        static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| {
            let empty =
                Catalogue { remedies: BTreeMap::new(), rules: HashMap::new(), codes: KnownCodes::default() };
            // A test reads the file; if it were unreadable, nothing but explanations would be missing.
            Arc::new(empty.extended(BUILTIN).unwrap_or(empty))
        });
        Arc::clone(&CATALOGUE)
    }

    /// These rules with those of a file added to them; one of the same code or name takes the place of ours.
    ///
    /// # Errors
    /// Where the file is not of the documented form, or names what is not there.
    pub fn extended(&self, text: &str) -> Result<Self, CatalogueError> {
        let file: File = toml::from_str(text).map_err(|err| {
            let line =
                err.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            let at = line.map_or_else(String::new, |line| format!("line {line}: "));
            CatalogueError::Form(format!("{at}{}", err.message().lines().next().unwrap_or("no TOML")))
        })?;
        let mut extended = self.clone();
        for (name, remedy) in file.remedies {
            let texts = Text::new(&*remedy.en, &*remedy.ar);
            if texts.is_empty() || remedy.detail.as_ref().is_some_and(Text::is_empty) {
                return Err(CatalogueError::Empty(format!("remedy {name}")));
            }
            extended.remedies.insert(name, remedy);
        }
        let mut seen = KnownCodes::default();
        for rule in file.rules {
            let code = rule.code.trim().to_owned();
            if seen.official(&code).is_some() {
                return Err(CatalogueError::Twice(code));
            }
            seen.extend([code.as_str()]);
            if code.is_empty() || rule.en.trim().is_empty() || rule.ar.trim().is_empty() {
                return Err(CatalogueError::Empty(format!("rule {code}")));
            }
            if !extended.remedies.contains_key(&rule.remedy) {
                return Err(CatalogueError::NoRemedy { rule: code, remedy: rule.remedy });
            }
            if let Some(former) = extended.codes.official(&code).map(str::to_owned) {
                extended.rules.remove(&former);
            }
            extended.codes.extend([code.as_str()]);
            extended.rules.insert(code, rule);
        }
        Ok(extended)
    }

    /// The codes to look for in texts.
    pub fn codes(&self) -> &KnownCodes {
        &self.codes
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is known of a code in any spelling; `None`: of an error that names none.
    pub fn explain(&self, code: Option<&str>) -> Explanation {
        let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else { return self.no_code() };
        let rule = self.codes.official(code).and_then(|official| self.rules.get(official));
        match rule {
            Some(rule) => self.known(rule),
            None => self.unknown(code),
        }
    }

    /// As [`Catalogue::explain`], for an entry of `ErrorList`: by its code where that is known, else by the first
    /// known code in its message.
    pub fn explain_listed(&self, code: Option<&str>, message: Option<&str>) -> Explanation {
        let by_code = self.explain(code);
        if by_code.is_known {
            return by_code;
        }
        let in_message = super::rules::split(message.unwrap_or_default(), &self.codes);
        let named = in_message.iter().filter_map(|error| error.rule.as_deref());
        named.map(|rule| self.explain(Some(rule))).find(|explained| explained.is_known).unwrap_or(by_code)
    }

    fn known(&self, rule: &Rule) -> Explanation {
        let remedy = self.remedies.get(&rule.remedy);
        Explanation {
            rule: Some(rule.code.clone()),
            is_known: true,
            owner: rule.owner,
            family: Some(rule.family),
            severity: rule.severity,
            concerns: Some(rule.concerns),
            applies_to: rule.applies_to,
            meaning: Text::new(&*rule.en, &*rule.ar),
            remedy: remedy.map_or_else(ticket, |remedy| Text::new(&*remedy.en, &*remedy.ar)),
            detail: remedy.and_then(|remedy| remedy.detail.clone()),
        }
    }

    /// Falls back on the known rules whose codes begin as this one does.
    fn unknown(&self, code: &str) -> Explanation {
        let relatives = self.relatives(code);
        let family = relatives.first().map(|rule| rule.family);
        let owner = relatives.first().map(|rule| rule.owner);
        let is_of_one_owner = relatives.iter().all(|rule| Some(rule.owner) == owner);
        let upper = code.to_ascii_uppercase();
        let (en, ar) = if upper.starts_with("BR-KSA") {
            ("one of ZATCA's own rules for invoices", "من قواعد الهيئة الخاصة بالفواتير")
        } else if upper.starts_with("BR-") {
            (
                "one of the European invoice standard's (EN 16931)",
                "من قواعد المعيار الأوروبي للفواتير (EN 16931)",
            )
        } else if upper.starts_with("XSD") {
            ("about the document's structure (XML schema)", "تتعلق ببنية المستند (مخطط XML)")
        } else {
            ("of a kind that its name does not tell", "من نوع لا يدل عليه رمزها")
        };
        Explanation {
            rule: Some(code.to_owned()),
            is_known: false,
            owner: owner.filter(|_| is_of_one_owner).unwrap_or(Owner::Cleartax),
            family,
            severity: Severity::Unknown,
            concerns: None,
            applies_to: Documents::All,
            meaning: Text::new(
                format!(
                    "This rule is not in the catalogue; it is {en}. The message says what there is to know."
                ),
                format!("هذه القاعدة غير موجودة في الدليل، وهي {ar}. ما يُعرف عنها مذكور في نص الرسالة."),
            ),
            remedy: ticket(),
            detail: None,
        }
    }

    /// The rules that share the longest beginning with a code: whole parts between hyphens or underscores, two at least,
    /// or its family's one.
    fn relatives(&self, code: &str) -> Vec<&Rule> {
        let upper = code.to_ascii_uppercase();
        let ends: Vec<usize> = upper.match_indices(['-', '_']).map(|(at, _)| at + 1).collect();
        ends.iter()
            .rev()
            .map(|end| upper.get(..*end).unwrap_or_default())
            .map(|prefix| {
                let mut rules: Vec<&Rule> = self
                    .rules
                    .values()
                    .filter(|rule| rule.code.to_ascii_uppercase().starts_with(prefix))
                    .collect();
                rules.sort_by(|a, b| a.code.cmp(&b.code));
                rules
            })
            .find(|rules| !rules.is_empty())
            .unwrap_or_default()
    }

    fn no_code(&self) -> Explanation {
        Explanation {
            rule: None,
            is_known: false,
            owner: Owner::Cleartax,
            family: None,
            severity: Severity::Unknown,
            concerns: None,
            applies_to: Documents::All,
            meaning: Text::new(
                "The text names no rule. It says itself what there is to know.",
                "لا يذكر النص أي قاعدة، وما يُعرف عن الخطأ مذكور فيه.",
            ),
            remedy: ticket(),
            detail: None,
        }
    }
}

/// What to do where nothing better is known.
fn ticket() -> Text {
    Text::new(
        "Open a ClearTax ticket with the activity id, the name of the check and this text.",
        "افتح تذكرة لدى ClearTax واذكر فيها معرّف النشاط (activity id) واسم الفحص وهذا النص.",
    )
}

#[cfg(test)]
mod tests;
