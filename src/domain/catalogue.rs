//! What a rule means, whose data breaks it and what to do about it.
//!
//! The rules are in `catalogue/rules.toml`, which is part of the program. A user's file adds rules and replaces some,
//! so that a new rule needs no release. An unknown rule is reported as unknown, with what its name implies.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::rules::{KnownCodes, RuleError, Severity};

const BUILTIN: &str = include_str!("catalogue/rules.toml");

/// A text in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// Arabic.
    pub ar: String,
}

/// A language of the texts for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Arabic.
    Arabic,
}

/// Whose data breaks a rule, and so who must act.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Topic {
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

/// What the new one-time password of a corrected registration has to belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtpOf {
    /// The VAT number that is registered.
    Vat,
    /// The environment that it is registered in.
    Environment,
}

/// What to do about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remedy {
    en: String,
    ar: String,
    /// Keys of `Catalogue::things`.
    #[serde(default)]
    corrects: Vec<String>,
    #[serde(default)]
    otp: Vec<OtpOf>,
    proviso: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    code: String,
    family: Family,
    severity: Severity,
    concerns: Topic,
    applies_to: Documents,
    owner: Owner,
    /// Names a remedy.
    remedy: String,
    en: String,
    ar: String,
    /// Gives way to any more specific rule.
    #[serde(default)]
    general: bool,
    /// If a rule of one of these families failed too, that one leads the next step.
    #[serde(default)]
    behind: Vec<Family>,
    #[serde(default)]
    variants: Vec<Variant>,
}

/// One of several causes of the same code, recognised by words of the message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    /// Phrases: all words of one have to be there.
    when: Vec<String>,
    severity: Option<Severity>,
    owner: Option<Owner>,
    remedy: Option<String>,
    en: Option<String>,
    ar: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    things: BTreeMap<String, Text>,
    #[serde(default)]
    remedies: BTreeMap<String, Remedy>,
    #[serde(default)]
    unnamed: Vec<Variant>,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// Why a file of rules can't be used. One sentence that names the place and the rule broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is not TOML, or not of the documented form.
    #[error("{0}")]
    Form(String),
    /// The same code twice.
    #[error("rule {0} stands twice")]
    Twice(String),
    /// A rule names a remedy that does not exist.
    #[error("rule {rule} names the remedy `{remedy}`, which is not there")]
    NoRemedy {
        /// The rule.
        rule: String,
        /// What it names.
        remedy: String,
    },
    /// A remedy corrects a thing that does not exist.
    #[error("remedy {remedy} corrects `{thing}`, which is not among the things")]
    NoThing {
        /// The remedy.
        remedy: String,
        /// What it names.
        thing: String,
    },
    /// A text is missing.
    #[error("{0} has an empty text")]
    Empty(String),
}

/// What is known of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The code in its official spelling; an unknown code as it was given; `None` if there is none.
    pub rule: Option<String>,
    /// Which of several causes this is, if the message shows it.
    pub variant: Option<String>,
    /// Whether the catalogue has it.
    pub is_known: bool,
    /// Who must act.
    pub owner: Owner,
    /// Its family, if that is known.
    pub family: Option<Family>,
    /// Whether breaking it fails a check.
    pub severity: Severity,
    /// What it is about, if that is known.
    pub concerns: Option<Topic>,
    /// Which documents it is for.
    pub applies_to: Documents,
    /// What it means.
    pub meaning: Text,
    /// What to do.
    pub remedy: Text,
    /// What in the registration has to be corrected, if anything.
    #[serde(skip)]
    pub corrects: Vec<Text>,
    /// What the one-time password has to belong to.
    #[serde(skip)]
    pub otp: Vec<OtpOf>,
    /// A remark that a next step adds.
    #[serde(skip)]
    pub proviso: Option<Text>,
    /// Whether it gives way to any more specific rule beside it.
    #[serde(skip)]
    pub is_general: bool,
    /// If a rule of one of these families failed too, that one leads the next step.
    #[serde(skip)]
    pub behind: Vec<Family>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    things: BTreeMap<String, Text>,
    remedies: BTreeMap<String, Remedy>,
    unnamed: Vec<Variant>,
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

    /// The owner with this name.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|owner| owner.label() == label)
    }
}

impl Severity {
    /// Whether it blocks, for people.
    pub fn in_words(self) -> Text {
        match self {
            Severity::Error => Text::new("error", "خطأ"),
            Severity::Unknown => Text::new("may block", "قد يكون مانعًا"),
            Severity::Warning => Text::new("warning, does not block", "تنبيه غير مانع"),
        }
    }
}

impl Variant {
    /// Whether one of its phrases is in a text of these words.
    fn fits(&self, words: &HashSet<String>) -> bool {
        self.when.iter().any(|phrase| {
            let mut wanted = words_of(phrase).peekable();
            wanted.peek().is_some()
                && wanted.all(|wanted| {
                    words.contains(&wanted) || words.iter().any(|word| word.starts_with(&wanted))
                })
        })
    }

    fn check(&self, of: &str) -> Result<(), CatalogueError> {
        let is_blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
        let says_nothing =
            self.name.trim().is_empty() || self.when.iter().all(|phrase| words_of(phrase).next().is_none());
        if says_nothing || is_blank(&self.en) || is_blank(&self.ar) {
            return Err(CatalogueError::Empty(format!("a variant of {of}")));
        }
        Ok(())
    }
}

/// How much of a message is searched for the words that show its cause.
const MAX_SEARCHED_BYTES: usize = 4 * 1024;

/// The words of the beginning of a text, in lower case.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    let text = text.get(..text.floor_char_boundary(MAX_SEARCHED_BYTES)).unwrap_or_default();
    text.split(|ch: char| !ch.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

impl Catalogue {
    /// The rules known when this program was built.
    #[expect(clippy::expect_used, reason = "the file is part of the program, and tests read it")]
    pub fn builtin() -> Arc<Self> {
        static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| {
            let builtin = Catalogue::default().extended(BUILTIN);
            Arc::new(builtin.expect("catalogue/rules.toml is a usable file of rules"))
        });
        Arc::clone(&CATALOGUE)
    }

    /// Adds the rules of a file; a rule of the same code or name replaces ours.
    ///
    /// # Errors
    /// If the file is not of the documented form, or names something that does not exist.
    pub fn extended(&self, text: &str) -> Result<Self, CatalogueError> {
        let file: File = toml::from_str(text).map_err(|err| {
            let line =
                err.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            let at = line.map_or_else(String::new, |line| format!("line {line}: "));
            CatalogueError::Form(format!("{at}{}", err.message().lines().next().unwrap_or("no TOML")))
        })?;
        let mut extended = self.clone();
        for (name, thing) in file.things {
            if thing.is_empty() {
                return Err(CatalogueError::Empty(format!("thing {name}")));
            }
            extended.things.insert(name, thing);
        }
        for (name, remedy) in file.remedies {
            let texts = Text::new(&*remedy.en, &*remedy.ar);
            if texts.is_empty() || remedy.proviso.as_ref().is_some_and(Text::is_empty) {
                return Err(CatalogueError::Empty(format!("remedy {name}")));
            }
            if let Some(thing) = remedy.corrects.iter().find(|thing| !extended.things.contains_key(*thing)) {
                return Err(CatalogueError::NoThing { remedy: name, thing: thing.clone() });
            }
            extended.remedies.insert(name, remedy);
        }
        for variant in file.unnamed {
            variant.check("the unnamed")?;
            extended.has_remedies(&variant.name, std::slice::from_ref(&variant))?;
            extended.unnamed.retain(|former| former.name != variant.name);
            extended.unnamed.push(variant);
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
            for variant in &rule.variants {
                variant.check(&format!("rule {code}"))?;
            }
            extended.has_remedies(&code, &rule.variants)?;
            if let Some(former) = extended.codes.official(&code).map(str::to_owned) {
                extended.rules.remove(&former);
            }
            extended.codes.extend([code.as_str()]);
            if rule.general {
                extended.codes.mark_general(&code);
            }
            extended.rules.insert(code, rule);
        }
        Ok(extended)
    }

    fn has_remedies(&self, rule: &str, variants: &[Variant]) -> Result<(), CatalogueError> {
        let mut named = variants.iter().filter_map(|variant| variant.remedy.as_ref());
        match named.find(|remedy| !self.remedies.contains_key(*remedy)) {
            Some(remedy) => Err(CatalogueError::NoRemedy { rule: rule.to_owned(), remedy: remedy.clone() }),
            None => Ok(()),
        }
    }

    /// The codes to look for in texts.
    pub fn codes(&self) -> &KnownCodes {
        &self.codes
    }

    /// What is known of a code in any spelling, or, for `None`, of an error without a code.
    pub fn explain(&self, code: Option<&str>) -> Explanation {
        self.explain_variant(code, None)
    }

    /// As [`Catalogue::explain`], for one cause of the code; for the code itself if the catalogue has no such cause.
    pub fn explain_variant(&self, code: Option<&str>, variant: Option<&str>) -> Explanation {
        let code = code.map(str::trim).filter(|code| !code.is_empty());
        let base = match (self.rule(code), code) {
            (Some(rule), _) => self.known(rule),
            (None, Some(code)) => self.unknown(code),
            (None, None) => no_code(),
        };
        match self.variants(code).iter().find(|known| Some(known.name.as_str()) == variant) {
            Some(variant) => self.varied(base, variant),
            None => base,
        }
    }

    /// What is known of an error that has been settled.
    pub fn explain_error(&self, error: &RuleError) -> Explanation {
        self.explain_variant(error.rule.as_deref(), error.variant.as_deref())
    }

    /// Decides what the message itself leaves open: which cause this is, by its words, and whether it blocks.
    pub fn settle(&self, error: &mut RuleError, text: &str) {
        let variants = self.variants(error.rule.as_deref());
        let variant = if variants.is_empty() {
            None
        } else {
            let words: HashSet<String> = words_of(text).collect();
            variants.iter().find(|variant| variant.fits(&words))
        };
        let rule = self.rule(error.rule.as_deref());
        let severity = variant.and_then(|variant| variant.severity).or(rule.map(|rule| rule.severity));
        error.severity = error.severity.or(severity).or(Some(Severity::Unknown));
        error.variant = variant.map(|variant| variant.name.clone());
    }

    fn rule(&self, code: Option<&str>) -> Option<&Rule> {
        self.codes.official(code?).and_then(|official| self.rules.get(official))
    }

    fn variants(&self, code: Option<&str>) -> &[Variant] {
        match code {
            None => &self.unnamed,
            code => self.rule(code).map_or(&[], |rule| rule.variants.as_slice()),
        }
    }

    fn known(&self, rule: &Rule) -> Explanation {
        let explanation = Explanation {
            rule: Some(rule.code.clone()),
            variant: None,
            is_known: true,
            owner: rule.owner,
            family: Some(rule.family),
            severity: rule.severity,
            concerns: Some(rule.concerns),
            applies_to: rule.applies_to,
            meaning: Text::new(&*rule.en, &*rule.ar),
            remedy: ticket(),
            corrects: Vec::new(),
            otp: Vec::new(),
            proviso: None,
            is_general: rule.general,
            behind: rule.behind.clone(),
        };
        self.with_remedy(explanation, &rule.remedy)
    }

    fn varied(&self, base: Explanation, variant: &Variant) -> Explanation {
        let meaning = Text {
            en: variant.en.clone().unwrap_or(base.meaning.en),
            ar: variant.ar.clone().unwrap_or(base.meaning.ar),
        };
        let varied = Explanation {
            variant: Some(variant.name.clone()),
            is_known: true,
            is_general: false,
            owner: variant.owner.unwrap_or(base.owner),
            severity: variant.severity.unwrap_or(base.severity),
            meaning,
            ..base
        };
        match &variant.remedy {
            Some(remedy) => self.with_remedy(varied, remedy),
            None => varied,
        }
    }

    fn with_remedy(&self, explanation: Explanation, name: &str) -> Explanation {
        let Some(remedy) = self.remedies.get(name) else { return explanation };
        Explanation {
            remedy: Text::new(&*remedy.en, &*remedy.ar),
            corrects: remedy.corrects.iter().filter_map(|thing| self.things.get(thing)).cloned().collect(),
            otp: remedy.otp.clone(),
            proviso: remedy.proviso.clone(),
            ..explanation
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
            ("but one of ZATCA's own rules for invoices", "لكنها من قواعد الهيئة الخاصة بالفواتير")
        } else if upper.starts_with("BR-") {
            (
                "but one of the European invoice standard (EN 16931)",
                "لكنها من قواعد المعيار الأوروبي للفواتير (EN 16931)",
            )
        } else if upper.starts_with("XSD") {
            ("but about the document's structure (XML schema)", "لكنها تتعلق ببنية المستند (مخطط XML)")
        } else {
            ("and its code does not say what it is about", "ورمزها لا يدل على موضوعها")
        };
        let meaning = Text::new(
            format!("This rule is not in the catalogue, {en}. Read the message."),
            format!("هذه القاعدة غير موجودة في الدليل، {ar}. راجع نص الرسالة."),
        );
        Explanation {
            rule: Some(code.to_owned()),
            owner: owner.filter(|_| is_of_one_owner).unwrap_or(Owner::Cleartax),
            family,
            ..not_known(meaning)
        }
    }

    /// The rules that share the longest beginning with a code: whole parts between hyphens or underscores, two at
    /// least, or its family's one.
    fn relatives(&self, code: &str) -> Vec<&Rule> {
        let upper = code.to_ascii_uppercase();
        let ends: Vec<usize> = upper.match_indices(['-', '_']).map(|(at, _)| at + 1).collect();
        ends.iter()
            .rev()
            .map(|end| upper.get(..*end).unwrap_or_default())
            // One ordinary word in common (`NOT_`) says nothing.
            .filter(|prefix| prefix.matches(['-', '_']).count() > 1 || matches!(*prefix, "BR-" | "XSD_"))
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
}

/// The explanation of an error that names no rule.
fn no_code() -> Explanation {
    not_known(Text::new(
        "The text names no rule. What is known of the error is in the text.",
        "لا يذكر النص أي قاعدة، وما يُعرف عن الخطأ مذكور فيه.",
    ))
}

/// The explanation of an error of which nothing is known but what `meaning` says.
fn not_known(meaning: Text) -> Explanation {
    Explanation {
        rule: None,
        variant: None,
        is_known: false,
        owner: Owner::Cleartax,
        family: None,
        severity: Severity::Unknown,
        concerns: None,
        applies_to: Documents::All,
        meaning,
        remedy: ticket(),
        corrects: Vec::new(),
        otp: Vec::new(),
        proviso: None,
        is_general: false,
        behind: Vec::new(),
    }
}

/// The remedy if nothing better is known.
fn ticket() -> Text {
    Text::new(
        "Open a ClearTax ticket with the activity id, the name of the check and this text.",
        "افتح تذكرة لدى ClearTax واذكر فيها معرّف النشاط (activity id) واسم الفحص وهذا النص.",
    )
}

#[cfg(test)]
mod tests;
