//! What to do next about an activity: one step, in both languages.
//!
//! While an activity waits, the step follows from what holds it ([`NextStep::while_waiting`]); once it has concluded,
//! from its errors ([`NextStep::on_conclusion`]). After a failure:
//!
//! 1. Errors in the customer's own data, of the registration or the device, come first: what ClearTax makes of wrong
//!    data is wrong as well, and a ticket about the rest would be sent back.
//! 2. If there are only errors of ZATCA's systems, the step is to try again later.
//! 3. Otherwise the step is to open a ticket.
//!
//! Not every error counts for that (`Complaints::leading`). A warning blocks nothing. A general code gives way to any
//! specific one, an unknown code to a known one in the same place, and a rule to a family that it follows from. Beside
//! checks, a listed error that is not known says only that there were errors.
//!
//! The step is part of the event, so it is stored with the conclusion and never changes. Explanations of rules in the
//! views do, with the catalogue.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::activity::State;
use super::catalogue::{Explanation, Family, OtpOf, Owner, Text};
use super::report::{CheckOutcome, Explanations, Findings};
use super::rules::Severity;

/// How many corrections a step names one by one.
const MAX_CORRECTIONS: usize = 3;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextStep {
    /// The public name of its kind, to branch on.
    pub kind: &'static str,
    /// Whose data it is about, after a failure.
    pub owner: Option<Owner>,
    /// What to do.
    #[serde(flatten)]
    pub text: Text,
}

/// Why an activity can't be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withholding {
    /// Upstream refuses its credential's token.
    CredentialHeld,
    /// The token's user may not see its VAT.
    VatHeld,
    /// No configured credential serves its VAT.
    Unserved,
}

impl Withholding {
    /// The one to name if there are several: the first that has to be solved.
    pub const fn of(is_unserved: bool, is_credential_held: bool, is_vat_held: bool) -> Option<Self> {
        match (is_unserved, is_credential_held, is_vat_held) {
            (true, _, _) => Some(Withholding::Unserved),
            (_, true, _) => Some(Withholding::CredentialHeld),
            (_, _, true) => Some(Withholding::VatHeld),
            _ => None,
        }
    }
}

impl NextStep {
    fn new(kind: &'static str, en: impl Into<String>, ar: impl Into<String>) -> Self {
        Self { kind, owner: None, text: Text::new(en, ar) }
    }

    /// What to do after an activity entered a state with these findings, which are settled and explained; `None` if
    /// there is nothing to do. `withheld` is why the activity could not be polled, if it could not.
    pub fn on_conclusion(
        state: State,
        findings: &Findings,
        explanations: &[Explanation],
        withheld: Option<Withholding>,
    ) -> Option<Self> {
        match state {
            State::Pending | State::InProgress | State::Succeeded | State::Cancelled => None,
            State::Failed => Some(Self::after_failure(&Complaints::of(findings, explanations))),
            State::Rejected => Some(Self::after_refusal(&Complaints::of(findings, explanations))),
            State::Expired => Some(match withheld {
                None => Self::new(
                    "ask-cleartax",
                    "ClearTax has not concluded it in the time allowed. Ask in a ClearTax ticket what became of it; retry the \
                     activity to go on watching, or register the device again with a new one-time password.",
                    "لم تُنهِ ClearTax هذا النشاط خلال المدة المسموحة. اسأل ClearTax في تذكرة عمّا آل إليه؛ وأعد متابعة النشاط \
                     للاستمرار، أو سجّل الجهاز من جديد برمز تحقق (OTP) جديد.",
                ),
                Some(withheld) => {
                    let mut step = Self::while_withheld(withheld);
                    step.text.en.push_str(" This activity expired while it waited: retry it afterwards.");
                    step.text.ar.push_str(" انتهت مدة هذا النشاط أثناء الانتظار، فأعد متابعته بعد ذلك.");
                    step
                }
            }),
        }
    }

    /// What to do while an activity waits; `None` if there is nothing to do.
    ///
    /// The view `report_activities` names one of [`NextStep::waiting_steps`] for each row in the same order; a test
    /// compares the two for every combination.
    pub fn while_waiting(withheld: Option<Withholding>, has_stalled: bool) -> Option<Self> {
        withheld.map(Self::while_withheld).or_else(|| has_stalled.then(Self::while_stalled))
    }

    /// What to do if an activity is not concluded yet, though it should be.
    fn while_stalled() -> Self {
        Self::new(
            "wait-or-ask-cleartax",
            "It takes longer than usual; watching goes on and nothing has to be done. If the device is needed now, ask \
             ClearTax in a ticket what holds it up.",
            "يستغرق النشاط وقتًا أطول من المعتاد، والمتابعة مستمرة ولا يلزمك شيء. إن كنت تحتاج الجهاز الآن فاسأل ClearTax \
             في تذكرة عن سبب التأخير.",
        )
    }

    /// What to do if an activity can't be polled.
    fn while_withheld(withheld: Withholding) -> Self {
        match withheld {
            Withholding::CredentialHeld => Self::while_credential_is_held(),
            Withholding::VatHeld => Self::while_vat_is_held(),
            Withholding::Unserved => Self::while_unserved(),
        }
    }

    /// What to do if upstream refuses a credential's token.
    pub fn while_credential_is_held() -> Self {
        Self::new(
            "replace-token",
            "ClearTax refuses the token. Put a valid one into the file that the credential's token_file names; it is \
             tried within a second, and everything waiting goes on.",
            "ترفض ClearTax رمز الوصول (token). ضع رمزًا صالحًا في الملف الذي يحدده token_file، وسيُجرَّب خلال ثانية وتستمر \
             كل الأنشطة المنتظرة.",
        )
    }

    /// What to do if the token's user may not see a VAT.
    pub fn while_vat_is_held() -> Self {
        Self::new(
            "grant-admin",
            "The token's user is not Admin for this VAT in ClearTax. Grant the role there, or give the VAT to a \
             credential whose user has it; everything waiting goes on by itself.",
            "ليست لمستخدم رمز الوصول صلاحية المدير (Admin) على هذا الرقم الضريبي لدى ClearTax. امنحه الصلاحية هناك، أو اربط الرقم الضريبي \
             برمز وصول آخر له الصلاحية؛ وتستمر الأنشطة المنتظرة تلقائيًا.",
        )
    }

    /// What to do if no configured credential serves a VAT.
    fn while_unserved() -> Self {
        Self::new(
            "configure-credential",
            "No configured credential serves this VAT, so it is not polled. Name the VAT in the `vats` of one of \
             [[credentials]], or have one without `vats`, and restart the daemon.",
            "لا يخدم أي رمز وصول في الإعدادات هذا الرقم الضريبي، فلا تُتابع أنشطته. اذكر الرقم الضريبي في vats ضمن أحد \
             [[credentials]] أو اجعل أحدها بلا vats، ثم أعد تشغيل الخدمة.",
        )
    }

    /// What to do before a certificate ends.
    pub fn before_certificate_ends() -> Self {
        Self::new(
            "renew-certificate",
            "Renew the device's certificate before it ends: make a new one-time password for this VAT number in the Fatoora \
             portal (it lives one hour and works once), renew the device at ClearTax with it, and add the activity that \
             ClearTax answers, under the same device id.",
            "جدّد شهادة الجهاز قبل انتهائها: أنشئ في بوابة فاتورة رمز تحقق (OTP) جديدًا لهذا الرقم الضريبي (صالح ساعة واحدة ويُستخدم \
             مرة واحدة)، وجدّد به الجهاز لدى ClearTax، ثم أضف النشاط الذي تجيب به ClearTax بمعرّف الجهاز نفسه.",
        )
    }

    /// What to do once a certificate has ended.
    pub fn after_certificate_ended() -> Self {
        Self::new(
            "renew-certificate",
            "The device's certificate has ended: its invoices are no longer accepted. Make a new one-time password for this VAT \
             number in the Fatoora portal, renew the device at ClearTax with it now, and add the activity that ClearTax answers, \
             under the same device id.",
            "انتهت شهادة الجهاز ولم تعد فواتيره مقبولة. أنشئ في بوابة فاتورة رمز تحقق (OTP) جديدًا لهذا الرقم الضريبي وجدّد به الجهاز \
             لدى ClearTax الآن، ثم أضف النشاط الذي تجيب به ClearTax بمعرّف الجهاز نفسه.",
        )
    }

    /// Every step that [`NextStep::while_waiting`] may name, with the key that the view finds it by.
    pub fn waiting_steps() -> [(&'static str, NextStep); 4] {
        [
            ("stalled", Self::while_stalled()),
            ("credential-held", Self::while_credential_is_held()),
            ("vat-held", Self::while_vat_is_held()),
            ("unserved", Self::while_unserved()),
        ]
    }

    fn about(self, owner: Owner) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// A refusal that names a known error is about that; any other about the id.
    fn after_refusal(complaints: &Complaints<'_>) -> Self {
        let leading = complaints.leading();
        if leading.iter().any(|complaint| complaint.explained.is_known) {
            return Self::about_errors(&leading, complaints);
        }
        Self::new(
            "check-activity-id",
            "ClearTax does not know this id as a PCSID activity of this VAT. Compare the id and the VAT with what \
             ClearTax answered when the device was registered: if they were wrong, add the right ones; if they \
             were right, open a ClearTax ticket, and retry the activity once they have fixed it.",
            "لا تجد ClearTax لهذا الرقم الضريبي نشاطًا بهذا المعرّف لإصدار شهادة PCSID. قارن المعرّف والرقم الضريبي بما \
             أجابت به ClearTax عند تسجيل الجهاز: إن كان أحدهما خاطئًا فأضف الصحيح، وإن كانا صحيحين فافتح تذكرة لدى \
             ClearTax ثم أعد متابعة النشاط بعد المعالجة.",
        )
    }

    fn after_failure(complaints: &Complaints<'_>) -> Self {
        let mut step = Self::about_errors(&complaints.leading(), complaints);
        if complaints.all_checks_passed && !complaints.all.is_empty() {
            step.text.en.insert_str(0, "All compliance checks passed; the error came after them. ");
            step.text.ar.insert_str(0, "نجحت فحوص الامتثال كلها، والخطأ وقع بعدها. ");
        }
        step
    }

    /// The customer's own data comes first: registering again with it corrected may fix the rest as well.
    fn about_errors(leading: &[&Complaint<'_>], complaints: &Complaints<'_>) -> Self {
        let own: Vec<&Complaint<'_>> = leading
            .iter()
            .filter(|complaint| matches!(complaint.explained.owner, Owner::Registration | Owner::Device))
            .copied()
            .collect();
        if !own.is_empty() {
            let others_remain = leading.iter().any(|complaint| {
                complaint.explained.owner == Owner::Cleartax && complaint.explained.is_known
            });
            return Self::correct(&own, others_remain);
        }
        if !leading.is_empty() && leading.iter().all(|complaint| complaint.explained.owner == Owner::Zatca) {
            return Self::new(
                "try-later",
                "ZATCA's side failed, not your data. Register the device again later with a new one-time password (it lives \
                 one hour and works once); if it still fails after an hour, open a ClearTax ticket with the evidence.",
                "الخلل من جهة الهيئة وليس في بياناتك. سجّل الجهاز من جديد لاحقًا برمز تحقق (OTP) جديد (صالح ساعة واحدة ويُستخدم \
                 مرة واحدة)؛ وإذا استمر الفشل ساعة فافتح تذكرة لدى ClearTax مع الأدلة.",
            )
            .about(Owner::Zatca);
        }
        Self::ticket(leading, complaints)
    }

    fn ticket(leading: &[&Complaint<'_>], complaints: &Complaints<'_>) -> Self {
        let is_known = leading.iter().any(|complaint| complaint.explained.is_known);
        let (en, ar) = if leading.is_empty() && !complaints.all.is_empty() {
            (
                "Only warnings are named, and warnings block nothing, so what failed is not said: there is nothing to \
                 correct yet. Open a ClearTax ticket with the evidence and ask what stopped it.",
                "لا تُذكر إلا تنبيهات، والتنبيهات لا تمنع شيئًا، فسبب الفشل غير مذكور ولا شيء يلزم تصحيحه بعد. افتح تذكرة لدى \
                 ClearTax مع الأدلة واسأل عما أوقف النشاط.",
            )
        } else if complaints.all.is_empty() {
            (
                "ClearTax says that it failed, but not why. Open a ClearTax ticket with the evidence and ask for the reason.",
                "تفيد ClearTax بالفشل دون ذكر سببه. افتح تذكرة لدى ClearTax مع الأدلة واسأل عن السبب.",
            )
        } else if is_known && complaints.any_check_failed {
            (
                "Nothing in your data is known to be wrong: ClearTax builds the documents that were checked. Open a ClearTax \
                 ticket with the evidence, and register the device again with a new one-time password once they confirm a fix.",
                "لا يُعرف خطأ في بياناتك، فالمستندات التي فُحصت تنشئها ClearTax. افتح تذكرة لدى ClearTax مع الأدلة، ثم سجّل الجهاز من \
                 جديد برمز تحقق (OTP) جديد بعد تأكيدهم الإصلاح.",
            )
        } else if is_known {
            (
                "Nothing in your data is known to be wrong. Open a ClearTax ticket with the evidence, and register the \
                 device again with a new one-time password once they confirm a fix.",
                "لا يُعرف خطأ في بياناتك. افتح تذكرة لدى ClearTax مع الأدلة، ثم سجّل الجهاز من جديد برمز تحقق (OTP) جديد بعد \
                 تأكيدهم الإصلاح.",
            )
        } else {
            (
                "What the error means is not known here. If its text names something in your data, correct that and \
                 register the device again with a new one-time password; otherwise open a ClearTax ticket with the evidence.",
                "معنى الخطأ غير معروف هنا. إذا كان نصه يذكر شيئًا في بياناتك فصحّحه وسجّل الجهاز من جديد برمز تحقق (OTP) جديد؛ \
                 وإلا فافتح تذكرة لدى ClearTax مع الأدلة.",
            )
        };
        let mut step = Self::new("open-ticket", en, ar).about(Owner::Cleartax);
        step.add_provisos(leading);
        step
    }

    fn correct(own: &[&Complaint<'_>], others_remain: bool) -> Self {
        // What certainly blocks leads, in the order of the findings.
        let mut own = own.to_vec();
        own.sort_by_key(|complaint| complaint.severity);
        let explained = || own.iter().map(|complaint| complaint.explained);
        let corrects = each_once(explained().flat_map(|explained| &explained.corrects));
        let otp: BTreeSet<OtpOf> = explained().flat_map(|explained| explained.otp.iter().copied()).collect();
        let mut text = if !corrects.is_empty() {
            corrections(&corrects, &otp)
        } else if !otp.is_empty() {
            new_password(&otp)
        } else {
            explained().next().map(|first| first.remedy.clone()).unwrap_or_default()
        };
        if others_remain {
            text.en
                .push_str(" If errors of ClearTax's remain then, open a ClearTax ticket with the evidence.");
            text.ar.push_str(" وإذا بقيت بعد ذلك أخطاء تخص ClearTax فافتح لديها تذكرة مع الأدلة.");
        }
        let worst = own.first().map(|complaint| complaint.severity);
        let of_worst = own.iter().filter(|complaint| Some(complaint.severity) == worst);
        let owner = of_worst.map(|complaint| complaint.explained.owner).min();
        let mut step = Self { kind: "correct-and-register-again", owner, text };
        step.add_provisos(&own);
        step
    }

    /// Adds the provisos of the first errors, each once.
    fn add_provisos(&mut self, leading: &[&Complaint<'_>]) {
        let provisos = leading.iter().filter_map(|complaint| complaint.explained.proviso.as_ref());
        for proviso in each_once(provisos.take(MAX_CORRECTIONS)) {
            for (text, more) in [(&mut self.text.en, &proviso.en), (&mut self.text.ar, &proviso.ar)] {
                text.push(' ');
                text.push_str(more);
            }
        }
    }
}

/// A cause that an answer names, once however often it does.
#[derive(Debug)]
struct Complaint<'a> {
    explained: &'a Explanation,
    /// The worst that it is said to be.
    severity: Severity,
    /// The check it is in first, counted from 0, or the listed error, counted on.
    place: usize,
    is_listed: bool,
}

/// Everything that an answer complains about.
#[derive(Debug)]
struct Complaints<'a> {
    all: Vec<Complaint<'a>>,
    any_check_failed: bool,
    all_checks_passed: bool,
}

impl<'a> Complaints<'a> {
    fn of(findings: &'a Findings, explanations: &'a [Explanation]) -> Self {
        let explained = Explanations::new(explanations);
        let mut all: Vec<Complaint<'_>> = Vec::new();
        let mut places: HashMap<(&Option<String>, &Option<String>), usize> = HashMap::new();
        let in_checks = findings
            .checks
            .iter()
            .enumerate()
            .flat_map(|(place, check)| check.errors.iter().map(move |error| (error, place, false)));
        let n_checks = findings.checks.len();
        let in_list = findings
            .errors
            .iter()
            .enumerate()
            .flat_map(|(at, listed)| listed.rules.iter().map(move |error| (error, n_checks + at, true)));
        for (error, place, is_listed) in in_checks.chain(in_list) {
            let severity = error.severity.unwrap_or(Severity::Unknown);
            let known = places.get(&(&error.rule, &error.variant)).and_then(|at| all.get_mut(*at));
            match known {
                Some(complaint) => complaint.severity = complaint.severity.min(severity),
                None => {
                    let Some(explained) = explained.get(error) else { continue };
                    places.insert((&error.rule, &error.variant), all.len());
                    all.push(Complaint { explained, severity, place, is_listed });
                }
            }
        }
        let outcome = |outcome: CheckOutcome| findings.checks.iter().any(|check| check.outcome == outcome);
        let any_check_failed = outcome(CheckOutcome::Failed);
        Self {
            all,
            any_check_failed,
            all_checks_passed: outcome(CheckOutcome::Succeeded) && !any_check_failed,
        }
    }

    /// Those that a step follows from: never a warning, and nothing that only wraps or follows another error.
    fn leading(&self) -> Vec<&Complaint<'_>> {
        let in_checks = self.all.iter().any(|complaint| !complaint.is_listed);
        // Beside checks, a listed error with an unknown code says only that there were errors.
        let blocking: Vec<&Complaint<'_>> = self
            .all
            .iter()
            .filter(|complaint| complaint.severity != Severity::Warning)
            .filter(|complaint| complaint.explained.is_known || !complaint.is_listed || !in_checks)
            .collect();
        let is_specific =
            |complaint: &Complaint<'_>| complaint.explained.is_known && !complaint.explained.is_general;
        let known_at: HashSet<usize> = blocking
            .iter()
            .filter(|complaint| complaint.explained.is_known)
            .map(|complaint| complaint.place)
            .collect();
        let families: HashSet<Family> =
            blocking.iter().filter_map(|complaint| complaint.explained.family).collect();
        let any_specific = blocking.iter().any(|complaint| is_specific(complaint));
        let gives_way = |complaint: &Complaint<'_>| {
            let explained = complaint.explained;
            let wraps = !explained.is_known && explained.rule.is_some() && explained.family.is_none();
            (explained.is_general && any_specific) || (wraps && known_at.contains(&complaint.place))
        };
        let follows = |complaint: &Complaint<'_>| {
            complaint.explained.behind.iter().any(|family| families.contains(family))
        };
        blocking.iter().filter(|complaint| !gives_way(complaint) && !follows(complaint)).copied().collect()
    }
}

/// To register again with these things corrected.
fn corrections(corrects: &[&Text], otp: &BTreeSet<OtpOf>) -> Text {
    let (named, more) = corrects.split_at(corrects.len().min(MAX_CORRECTIONS));
    let mut english: Vec<String> = named.iter().map(|thing| thing.en.clone()).collect();
    let mut arabic: Vec<String> = named.iter().map(|thing| thing.ar.clone()).collect();
    if !more.is_empty() {
        english.push(format!("{} more below", more.len()));
        arabic.push(match more.len() {
            1 => "واحدًا آخر أدناه".to_owned(),
            2 => "اثنين آخرين أدناه".to_owned(),
            n => format!("{n} أخرى أدناه"),
        });
    }
    let (otp_en, otp_ar) = belonging_of(otp);
    Text::new(
        format!(
            "Correct {}, then register the device again at ClearTax with a new one-time password{otp_en} (it lives one \
             hour and works once).",
            listed(&english, ", ", " and ")
        ),
        format!(
            "صحّح {}، ثم سجّل الجهاز من جديد لدى ClearTax برمز تحقق (OTP) جديد{otp_ar} (صالح ساعة واحدة ويُستخدم مرة \
             واحدة).",
            listed(&arabic, "، و", "، و")
        ),
    )
}

/// To register again if only the one-time password was wrong.
fn new_password(otp: &BTreeSet<OtpOf>) -> Text {
    let (otp_en, otp_ar) = belonging_of(otp);
    Text::new(
        format!(
            "Get a new one-time password (OTP){otp_en} (it lives one hour and works once), and register the device \
             again at ClearTax with it."
        ),
        format!(
            "احصل على رمز تحقق (OTP) جديد{otp_ar} (صالح ساعة واحدة ويُستخدم مرة واحدة)، وسجّل به الجهاز من جديد لدى \
             ClearTax."
        ),
    )
}

/// What the one-time password has to belong to, as it follows its name in English and Arabic.
fn belonging_of(otp: &BTreeSet<OtpOf>) -> (&'static str, &'static str) {
    match (otp.contains(&OtpOf::Vat), otp.contains(&OtpOf::Environment)) {
        (false, false) => ("", ""),
        (true, false) => (" made for the same VAT number", " صادر للرقم الضريبي نفسه"),
        (false, true) => (" made in the same environment", " صادر من البيئة نفسها"),
        (true, true) => (
            " made for the same VAT number in the same environment",
            " صادر للرقم الضريبي نفسه من البيئة نفسها",
        ),
    }
}

fn each_once<'a, T: PartialEq>(items: impl Iterator<Item = &'a T>) -> Vec<&'a T> {
    let mut once = Vec::new();
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}

/// "a, b and c".
fn listed(items: &[String], between: &str, last: &str) -> String {
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{}{last}{end}", rest.join(between)),
    }
}
