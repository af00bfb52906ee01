//! What to do next about an activity: one step, in both languages.

use serde::Serialize;

use super::activity::State;
use super::catalogue::{Catalogue, Explanation, Owner, Text};
use super::report::Findings;

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

impl NextStep {
    fn new(kind: &'static str, en: impl Into<String>, ar: impl Into<String>) -> Self {
        Self { kind, owner: None, text: Text::new(en, ar) }
    }

    /// What follows from entering a state with these findings; `None` where there is nothing to do.
    pub fn on_conclusion(state: State, findings: &Findings, catalogue: &Catalogue) -> Option<Self> {
        match state {
            State::Pending | State::InProgress | State::Succeeded | State::Cancelled => None,
            State::Failed => Some(Self::after_failure(&findings.explained(catalogue))),
            State::Rejected => Some(Self::new(
                "check-activity-id",
                "ClearTax does not know this id as a PCSID activity of this VAT. Compare the id and the VAT with what \
                 ClearTax answered when the device was registered: if they were wrong, add the right ones; if they \
                 were right, open a ClearTax ticket, and retry the activity once they have mended it.",
                "لا تعرف ClearTax هذا المعرّف نشاطًا لإصدار شهادة PCSID لهذا الرقم الضريبي. قارن المعرّف والرقم الضريبي بما \
                 أجابت به ClearTax عند تسجيل الجهاز: إن كان أحدهما خاطئًا فأضف الصحيح، وإن كانا صحيحين فافتح تذكرة لدى \
                 ClearTax ثم أعد متابعة النشاط بعد المعالجة.",
            )),
            State::Expired => Some(Self::new(
                "ask-cleartax",
                "ClearTax has not concluded it in the time allowed. Ask in a ClearTax ticket what became of it; retry the \
                 activity to go on watching, or register the device again with a new one-time password.",
                "لم تُنهِ ClearTax هذا النشاط خلال المدة المسموحة. اسأل ClearTax في تذكرة عمّا آل إليه؛ وأعد متابعة النشاط \
                 للاستمرار، أو سجّل الجهاز من جديد برمز تحقق (OTP) جديد.",
            )),
        }
    }

    /// What to do where an activity is not concluded yet, though it should be.
    pub fn while_stalled() -> Self {
        Self::new(
            "wait-or-ask-cleartax",
            "It takes longer than usual; watching goes on and nothing has to be done. If the device is needed now, ask \
             ClearTax in a ticket what holds it up.",
            "يستغرق النشاط وقتًا أطول من المعتاد، والمتابعة مستمرة ولا يلزمك شيء. إن كنت تحتاج الجهاز الآن فاسأل ClearTax \
             في تذكرة عن سبب التأخير.",
        )
    }

    /// What to do where upstream refuses a credential's token.
    pub fn while_credential_is_held() -> Self {
        Self::new(
            "replace-token",
            "ClearTax refuses the token. Put a valid one into the file that the credential's token_file names; it is \
             tried within a second, and everything waiting goes on.",
            "ترفض ClearTax رمز الدخول (token). ضع رمزًا صالحًا في الملف الذي يحدده token_file، وسيُجرَّب خلال ثانية وتستمر \
             كل الأنشطة المنتظرة.",
        )
    }

    /// What to do where the token's user may not see a VAT.
    pub fn while_vat_is_held() -> Self {
        Self::new(
            "grant-admin",
            "The token's user is not Admin for this VAT in ClearTax. Grant the role there, or give the VAT to a \
             credential whose user has it; everything waiting goes on by itself.",
            "مستخدم رمز الدخول ليس مديرًا (Admin) لهذا الرقم الضريبي في ClearTax. امنحه الصلاحية هناك، أو اربط الرقم الضريبي \
             برمز دخول آخر له الصلاحية؛ وتستمر الأنشطة المنتظرة تلقائيًا.",
        )
    }

    /// What to do where no configured credential serves a VAT.
    pub fn while_unserved() -> Self {
        Self::new(
            "configure-credential",
            "No configured credential serves this VAT, so it is not polled. Name the VAT in the `vats` of one of \
             [[credentials]], or have one without `vats`, and restart the daemon.",
            "لا يخدم أي رمز دخول في الإعدادات هذا الرقم الضريبي، فلا تُتابع أنشطته. اذكر الرقم الضريبي في vats ضمن أحد \
             [[credentials]] أو اجعل أحدها بلا vats، ثم أعد تشغيل الخدمة.",
        )
    }

    /// Every step that does not hang on findings, for whoever keeps them at hand.
    pub fn standing() -> [(&'static str, NextStep); 4] {
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

    /// The customer's own data comes first: registering again with it corrected may mend the rest as well.
    fn after_failure(errors: &[Explanation]) -> Self {
        let of = |owners: &[Owner]| -> Vec<&Explanation> {
            errors.iter().filter(|error| owners.contains(&error.owner)).collect()
        };
        let own = of(&[Owner::Registration, Owner::Device]);
        let others_remain = errors.iter().any(|error| error.owner == Owner::Cleartax && error.is_known);
        if !own.is_empty() {
            return Self::correct(&own, others_remain);
        }
        let zatca = of(&[Owner::Zatca]);
        if !zatca.is_empty() && zatca.len() == errors.len() {
            return Self::new(
                "try-later",
                "ZATCA's side failed, not your data. Register the device again later with a new one-time password (it lives \
                 one hour and works once); if it still fails after an hour, open a ClearTax ticket with the evidence.",
                "الخلل من جهة الهيئة وليس في بياناتك. سجّل الجهاز من جديد لاحقًا برمز تحقق (OTP) جديد (صالح ساعة واحدة ويُستخدم \
                 مرة واحدة)؛ وإذا استمر الفشل ساعة فافتح تذكرة لدى ClearTax مع الأدلة.",
            )
            .about(Owner::Zatca);
        }
        Self::new(
            "open-ticket",
            "Nothing in your data is known to be wrong: ClearTax builds the documents that were checked. Open a ClearTax \
             ticket with the evidence, and register the device again with a new one-time password once they confirm a fix.",
            "لا يُعرف خطأ في بياناتك، فالمستندات التي فُحصت تنشئها ClearTax. افتح تذكرة لدى ClearTax مع الأدلة، ثم سجّل الجهاز من \
             جديد برمز تحقق (OTP) جديد بعد تأكيدهم الإصلاح.",
        )
        .about(Owner::Cleartax)
    }

    fn correct(own: &[&Explanation], others_remain: bool) -> Self {
        let mut details: Vec<&Text> = Vec::new();
        for detail in own.iter().filter_map(|error| error.detail.as_ref()) {
            if !details.contains(&detail) {
                details.push(detail);
            }
        }
        let (mut en, mut ar) = match (details.as_slice(), own.first()) {
            ([], Some(first)) => (first.remedy.en.clone(), first.remedy.ar.clone()),
            (details, _) => {
                let english: Vec<&str> = details.iter().map(|detail| detail.en.as_str()).collect();
                let arabic: Vec<&str> = details.iter().map(|detail| detail.ar.as_str()).collect();
                (
                    format!(
                        "Correct {}, then register the device again at ClearTax with a new one-time password (it lives one \
                         hour and works once).",
                        listed(&english, ", ", " and ")
                    ),
                    format!(
                        "صحّح {}، ثم سجّل الجهاز من جديد لدى ClearTax برمز تحقق (OTP) جديد (صالح ساعة واحدة ويُستخدم مرة واحدة).",
                        listed(&arabic, "، و", "، و")
                    ),
                )
            }
        };
        if others_remain {
            en.push_str(" If errors of ClearTax's remain then, open a ClearTax ticket with the evidence.");
            ar.push_str(" وإذا بقيت بعد ذلك أخطاء تخص ClearTax فافتح لديها تذكرة مع الأدلة.");
        }
        let owner = own.iter().map(|error| error.owner).min().unwrap_or(Owner::Registration);
        Self::new("correct-and-register-again", en, ar).about(owner)
    }
}

/// "a, b and c".
fn listed(items: &[&str], between: &str, last: &str) -> String {
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((end, rest)) => format!("{}{last}{end}", rest.join(between)),
    }
}
