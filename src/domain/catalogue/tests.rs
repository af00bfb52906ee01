use super::*;
use crate::domain::next_step::NextStep;

/// The whole file as it stands, before anything is looked up in it.
fn file() -> File {
    toml::from_str(BUILTIN).unwrap()
}

#[test]
fn the_builtin_rules_are_read_whole() {
    let catalogue = Catalogue::builtin();
    assert_eq!(catalogue.rules.len(), file().rules.len());
    assert!(catalogue.rules.len() >= 309, "{}", catalogue.rules.len());
}

#[test]
fn every_rule_is_told_in_both_languages_and_names_a_remedy_that_is_there() {
    let is_arabic = |text: &str| text.chars().any(|ch| ('\u{600}'..='\u{6ff}').contains(&ch));
    let is_clean = |text: &str| {
        // A word with its article twice is a term that was replaced within a word.
        text == text.trim() && !text.contains("الال") && !text.chars().any(|ch| {
            ch.is_control()
                || matches!(ch, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        })
    };
    let File { things, remedies, unnamed, rules } = file();
    for rule in &rules {
        assert!(remedies.contains_key(&rule.remedy), "{}", rule.code);
        assert!(!is_arabic(&rule.en) && is_arabic(&rule.ar), "{}", rule.code);
        assert!(is_clean(&rule.en) && is_clean(&rule.ar), "{}", rule.code);
    }
    let variants: Vec<&Variant> = rules.iter().flat_map(|rule| &rule.variants).chain(&unnamed).collect();
    for variant in &variants {
        for (en, ar) in variant.en.iter().zip(&variant.ar) {
            assert!(!is_arabic(en) && is_arabic(ar) && is_clean(en) && is_clean(ar), "{}", variant.name);
        }
        assert_eq!(variant.en.is_some(), variant.ar.is_some(), "{}", variant.name);
    }
    for (name, thing) in &things {
        assert!(!is_arabic(&thing.en) && is_arabic(&thing.ar), "{name}");
        let is_corrected = remedies.values().any(|remedy| remedy.corrects.contains(name));
        assert!(is_corrected, "no remedy corrects {name}");
    }
    for (name, remedy) in &remedies {
        let provisos = remedy.proviso.iter().flat_map(|proviso| [(&proviso.en, &proviso.ar)]);
        for (en, ar) in provisos.chain([(&remedy.en, &remedy.ar)]) {
            assert!(!is_arabic(en) && is_arabic(ar) && is_clean(en) && is_clean(ar), "{name}");
        }
        let is_named = rules.iter().any(|rule| rule.remedy == *name)
            || variants.iter().any(|variant| variant.remedy.as_ref() == Some(name));
        assert!(is_named, "no rule has the remedy {name}");
    }
}

#[test]
fn no_code_stands_twice_in_any_spelling() {
    let mut seen = KnownCodes::default();
    for rule in file().rules {
        assert_eq!(seen.official(&rule.code), None, "{}", rule.code);
        seen.extend([rule.code]);
    }
}

#[test]
fn what_the_customer_must_correct_can_stand_in_a_sentence() {
    let File { remedies, rules, .. } = file();
    for rule in rules.iter().filter(|rule| rule.owner == Owner::Registration) {
        assert!(!remedies[&rule.remedy].corrects.is_empty(), "{}", rule.code);
    }
}

#[test]
fn a_code_is_explained_in_any_spelling() {
    let catalogue = Catalogue::builtin();
    for code in ["BR-KSA-37", "br-ksa-37", " BR\u{2011}KSA\u{2011}37 "] {
        let explained = catalogue.explain(Some(code));
        assert!(explained.is_known, "{code}");
        assert_eq!((explained.rule.as_deref(), explained.owner), (Some("BR-KSA-37"), Owner::Registration));
        assert!(explained.meaning.en.contains("uilding number"), "{}", explained.meaning.en);
    }
    assert_eq!(catalogue.explain(Some("invalid-otp")).owner, Owner::Device);
    assert_eq!(catalogue.explain(Some("503")).owner, Owner::Zatca);
}

#[test]
fn an_unknown_code_is_said_to_be_unknown_and_falls_back_on_its_family() {
    let catalogue = Catalogue::builtin();
    for (code, family, owner) in [
        ("BR-KSA-999", Some(Family::Ksa), Owner::Cleartax),
        ("BR-DEC-99", Some(Family::Decimals), Owner::Cleartax),
        ("XSD_NEW", Some(Family::Xsd), Owner::Cleartax),
        ("Something", None, Owner::Cleartax),
        ("NOT_FOUND", None, Owner::Cleartax),
        ("EXCEED_RATE_LIMIT", None, Owner::Cleartax),
    ] {
        let explained = catalogue.explain(Some(code));
        assert!(!explained.is_known && explained.meaning.en.contains("not in the catalogue"), "{code}");
        assert_eq!(
            (explained.rule.as_deref(), explained.family, explained.owner),
            (Some(code), family, owner)
        );
    }
    let nothing = catalogue.explain(None);
    assert!(!nothing.is_known && nothing.rule.is_none());
    assert_eq!(catalogue.explain(Some(" ")), nothing);
}

const MORE: &str = r#"
[remedies.ask-us]
en = "Ask the help desk."
ar = "اسأل مكتب المساعدة."
[[rules]]
code = "br-ksa-37"
family = "ksa"
severity = "error"
concerns = "other"
applies_to = "all"
owner = "zatca"
remedy = "ask-us"
en = "Ours now."
ar = "لنا الآن."
[[rules]]
code = "New-Code"
family = "onboarding"
severity = "unknown"
concerns = "other"
applies_to = "all"
owner = "device"
remedy = "new-otp"
en = "A new one."
ar = "رمز جديد."
"#;

#[test]
fn a_file_of_the_users_adds_and_replaces() {
    let extended = Catalogue::builtin().extended(MORE).unwrap();
    assert_eq!(extended.rules.len(), Catalogue::builtin().rules.len() + 1);
    let replaced = extended.explain(Some("BR-KSA-37"));
    assert_eq!((replaced.owner, replaced.remedy.en.as_str()), (Owner::Zatca, "Ask the help desk."));
    assert_eq!(extended.explain(Some("new-code")).meaning.en, "A new one.");
    assert!(extended.codes().official("NEW-CODE").is_some(), "it is looked for in texts");
    assert_eq!(extended.explain(Some("BR-KSA-40")), Catalogue::builtin().explain(Some("BR-KSA-40")));
}

#[test]
fn a_file_that_is_not_of_the_form_is_refused_with_its_place() {
    let rule = MORE.split("[[rules]]").nth(2).unwrap();
    for (text, expected) in [
        ("[[rules]".to_owned(), "line 1"),
        (
            format!("[[rules]]{}", rule.replace("owner = \"device\"", "owner = \"me\"")),
            "unknown variant `me`",
        ),
        (format!("[[rules]]{}", rule.replace("en =", "english =")), "unknown field `english`"),
        (format!("[[rules]]{}", rule.replace("A new one.", " ")), "empty text"),
        (format!("[[rules]]{}", rule.replace("new-otp", "none")), "remedy `none`, which is not there"),
        (format!("[[rules]]{rule}[[rules]]{}", rule.replace("New-Code", "new-code")), "stands twice"),
    ] {
        let refused = Catalogue::builtin().extended(&text).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

/// The next step after a failure with these texts, one a check.
fn step(texts: &[&str]) -> NextStep {
    use crate::domain::activity::State;
    use crate::domain::report::{Check, CheckOutcome, Findings};
    use crate::domain::rules::split;
    let catalogue = Catalogue::builtin();
    let check = |text: &&str| Check {
        name: "StandardTaxInvoice",
        outcome: CheckOutcome::Failed,
        message: Some((*text).to_owned()),
        errors: split(text, catalogue.codes()),
        errors_left_out: 0,
    };
    let mut findings = Findings { checks: texts.iter().map(check).collect(), ..Findings::default() };
    findings.settle(&catalogue);
    NextStep::on_conclusion(State::Failed, &findings, &findings.explained(&catalogue), None).unwrap()
}

#[test]
fn the_next_step_names_what_is_to_be_corrected_before_whom_to_ask() {
    let own = step(&["BR-KSA-37", "BR-KSA-09", "BR-KSA-37", "BR-KSA-04"]);
    assert_eq!(own.kind, "correct-and-register-again");
    let english = own.text.en;
    assert!(
        english.starts_with("Correct the building number (four digits) and the organisation's address, then")
    );
    assert!(english.contains("one-time password") && english.contains("ClearTax ticket"), "{english}");
    assert!(own.text.ar.starts_with("صحّح رقم المبنى (4 أرقام)، وعنوان المنشأة"), "{}", own.text.ar);
    assert!(!step(&["BR-KSA-37"]).text.en.contains("ticket"));
    assert!(step(&["Invalid-OTP"]).text.en.contains("OTP"));
    assert_eq!(step(&["GENERAL", "503 Service Unavailable"]).kind, "try-later");
    for kind in ["Standard", "Simplified"] {
        let text = format!("certificate-permissions : Production CSID is not authorised for {kind} invoices");
        assert!(step(&[&text]).text.en.contains("invoice type"), "{kind}");
    }
    for texts in [&["BR-KSA-04"][..], &["GENERAL", "BR-KSA-04"], &["BR-KSA-999"], &[]] {
        assert_eq!(step(texts).kind, "open-ticket", "{texts:?}");
    }
}
