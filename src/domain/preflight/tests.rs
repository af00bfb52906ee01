use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::domain::catalogue::Catalogue;

const SANDBOX: Context = Context { is_production: false };

/// Findings of the example with some values replaced (`None`: left out), as `severity field rule`.
fn changed(changes: &[(&str, Option<Value>)]) -> Vec<String> {
    let mut value = example();
    for (pointer, new) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let object = value.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        match new {
            Some(new) => object.insert((*key).to_owned(), new.clone()),
            None => object.shift_remove(key),
        };
    }
    found(&value)
}

fn found(value: &Value) -> Vec<String> {
    let devices = from_text(value.to_string().as_bytes()).unwrap();
    lines(&check(&devices[0], SANDBOX, &[]))
}

fn lines(findings: &[Finding]) -> Vec<String> {
    let leaf = |path: &str| path.rsplit('.').next().unwrap().to_owned();
    let line = |found: &Finding| {
        format!("{} {} {}", found.severity.label(), leaf(&found.field), found.rule.unwrap_or("-"))
    };
    findings.iter().map(line).collect()
}

#[test]
fn the_table_has_a_row_for_each_field_in_their_order_with_distinct_names() {
    let mut names = BTreeSet::new();
    for (nth, row) in FIELDS.iter().enumerate() {
        assert_eq!(row.field as usize, nth, "{}", row.path);
        assert_eq!(spec(row.field).path, row.path);
        for name in row.synonyms {
            assert!(names.insert(*name) || *name == "vat", "{name} stands twice");
            assert_eq!(plain(name), *name);
        }
        for words in
            [row.name, row.form, row.about].into_iter().chain(row.shapes.iter().map(|shape| shape.problem))
        {
            assert!(!words.0.is_empty() && !words.1.is_empty(), "{}", row.path);
        }
        assert!(row.shapes.iter().all(|shape| (shape.holds)(row.example)), "{}", row.path);
    }
}

#[test]
fn every_rule_that_is_named_is_in_the_catalogue() {
    let catalogue = Catalogue::builtin();
    let named = FIELDS.iter().flat_map(|spec| {
        let required = match spec.presence {
            Presence::Required(rule) => rule,
            _ => None,
        };
        spec.shapes.iter().filter_map(|shape| shape.rule).chain(required)
    });
    let elsewhere = [
        "BR-KSA-08",
        "BR-KSA-39",
        "BR-KSA-40",
        "BR-KSA-F-09",
        "Invalid-CSR",
        "EXCEED_CHARACTER_LIMIT",
        "certificate-permissions",
    ];
    for rule in named.chain(elsewhere) {
        assert!(catalogue.explain(Some(rule)).is_known, "{rule}");
    }
}

#[test]
fn the_example_passes_as_json_and_as_csv() {
    assert_eq!(found(&example()), [""; 0]);
    let [header, row] = example_rows();
    let csv = format!("{}\r\n{}\r\n", header.join(","), row.join(","));
    let devices = from_text(csv.as_bytes()).unwrap();
    assert_eq!(lines(&check(&devices[0], SANDBOX, &[])), [""; 0]);
    assert_eq!(devices[0].line, Some(2));
    assert_eq!(devices[0].recognised().len(), FIELDS.len() - 1);
}

#[test]
fn each_detail_is_held_against_its_rules() {
    let device = "/DeviceDetails";
    let organization = "/OrganizationDetails";
    let address = "/OrganizationDetails/Address";
    let text = |text: &str| Some(json!(text));
    let mut wrong = Vec::new();
    let long = "x".repeat(65);
    let arabic = "ص".repeat(33);
    for (parent, key, value, expected) in [
        (device, "CommonName", None, "error CommonName Invalid-CSR"),
        (device, "CommonName", text(""), "error CommonName Invalid-CSR"),
        (device, "CommonName", text("   "), "error CommonName Invalid-CSR|warning CommonName -"),
        (device, "CommonName", text(&long), "error CommonName EXCEED_CHARACTER_LIMIT"),
        (device, "CommonName", text(&arabic), "warning CommonName EXCEED_CHARACTER_LIMIT"),
        (device, "CommonName", text("صندوق ١"), ""),
        (device, "CommonName", text(" till"), "warning CommonName -"),
        (device, "CommonName", text("ti\u{200f}ll"), "warning CommonName -"),
        (device, "CommonName", Some(json!(7)), "error CommonName -"),
        (device, "CommonName", Some(json!(true)), "error CommonName -"),
        (device, "CommonName", Some(json!(["a"])), "error CommonName -"),
        (device, "CommonName", Some(json!({"x": 1})), "error CommonName -|note x -"),
        (device, "CommonName", Some(Value::Null), "error CommonName Invalid-CSR"),
        (device, "EgsSerialNumber", None, "error EgsSerialNumber Invalid-CSR"),
        (
            device,
            "EgsSerialNumber",
            text("1-TST|2-TST|3-ed22f1d8-e6a2-1118"),
            "warning EgsSerialNumber Invalid-CSR",
        ),
        (device, "EgsSerialNumber", text("1-T-T|2-TST|3-1"), "error EgsSerialNumber Invalid-CSR"),
        (device, "EgsSerialNumber", text("1-TST|2-TST"), "error EgsSerialNumber Invalid-CSR"),
        (device, "EgsSerialNumber", text("1-TST|2-TST|3-"), "error EgsSerialNumber Invalid-CSR"),
        (device, "EgsSerialNumber", text("1-TST|2-TST|3-1|4-x"), "error EgsSerialNumber Invalid-CSR"),
        (device, "EgsSerialNumber", text("1-TST|2-T ST|3-1"), "error EgsSerialNumber Invalid-CSR"),
        (device, "EgsSerialNumber", text("1-TST|2-TST|3-١"), "warning EgsSerialNumber -"),
        (device, "Location", None, "error Location Invalid-CSR"),
        (device, "Industry", text(""), "error Industry Invalid-CSR"),
        (device, "InvoiceType", None, ""),
        (device, "InvoiceType", text("1000"), ""),
        (device, "InvoiceType", text("0100"), ""),
        (device, "InvoiceType", text("0000"), "error InvoiceType Invalid-CSR"),
        (device, "InvoiceType", text("1110"), "error InvoiceType Invalid-CSR"),
        (device, "InvoiceType", text("2000"), "error InvoiceType Invalid-CSR"),
        (device, "InvoiceType", Some(json!(1100)), "error InvoiceType -"),
        (organization, "Vat", None, "error Vat BR-KSA-39"),
        (organization, "Vat", text("310122393500004"), "error Vat BR-KSA-40"),
        (organization, "Vat", text("٣١٠١٢٢٣٩٣٥٠٠٠٠٣"), "warning Vat -"),
        (organization, "Vat", text("399999999900003"), "warning Vat -"),
        (organization, "Vat", text("310122393510003"), "error OrganizationUnit Invalid-CSR"),
        (organization, "OrganizationName", None, ""),
        (organization, "OrganizationName", text(&long), "error OrganizationName EXCEED_CHARACTER_LIMIT"),
        (organization, "OrganizationUnit", None, "warning OrganizationUnit Invalid-CSR"),
        (organization, "SellerId", None, "error SellerId BR-KSA-08"),
        (organization, "SellerId", text("10100-10000"), "error SellerId BR-KSA-08"),
        (organization, "SellerId", text("123"), "error SellerId BR-KSA-08"),
        (organization, "SellerId", text("1010\u{200b}010000"), "warning SellerId -"),
        (organization, "SellerIdScheme", text("CRX"), "error SellerIdScheme BR-KSA-08"),
        (organization, "SellerIdScheme", text("700"), "warning SellerId BR-KSA-F-09"),
        (organization, "SellerIdScheme", None, "error SellerIdScheme BR-KSA-08"),
        (organization, "MOM", text("77"), "warning SellerId BR-KSA-08"),
        (address, "Street", None, "error Street BR-KSA-09"),
        (address, "BuildingNumber", text("23"), "error BuildingNumber BR-KSA-37"),
        (address, "BuildingNumber", None, "error BuildingNumber BR-KSA-09"),
        (address, "BuildingNumber", Some(json!(2322)), "error BuildingNumber -"),
        (address, "AdditionalNumber", None, ""),
        (address, "AdditionalNumber", text("678"), "error AdditionalNumber BR-KSA-64"),
        (address, "District", text(""), "error District BR-KSA-09"),
        (address, "City", None, "error City BR-KSA-09"),
        (address, "PostalCode", text("2333"), "error PostalCode BR-KSA-66"),
        (address, "PostalCode", text("٢٣٣٣٣ "), "warning PostalCode -|warning PostalCode -"),
        (address, "Country", text("KSA"), "error Country BR-KSA-09"),
        ("", "Otp", None, ""),
        ("", "Otp", text(""), "error Otp Missing-OTP"),
        ("", "Otp", text("12345"), "warning Otp Invalid-OTP"),
        ("", "vat", text("310122393500003"), ""),
        ("", "vat", text("311122393500003"), "error vat certificate-permissions"),
        ("", "Colour", text("red"), "note Colour -"),
    ] {
        let expected: Vec<&str> = expected.split('|').filter(|line| !line.is_empty()).collect();
        let pointer = format!("{parent}/{key}");
        let said = changed(&[(&pointer, value.clone())]);
        if said != expected {
            wrong.push(format!("{key} = {value:?}: {said:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_vat_group_names_the_member_by_its_tin() {
    let with = |unit: Option<&str>| {
        changed(&[
            ("/OrganizationDetails/Vat", Some(json!("310122393510003"))),
            ("/OrganizationDetails/OrganizationUnit", unit.map(|unit| json!(unit))),
        ])
    };
    assert_eq!(with(Some("3101223935")), [""; 0]);
    assert_eq!(with(Some("Riyadh")), ["error OrganizationUnit Invalid-CSR"]);
    assert_eq!(with(None), ["error OrganizationUnit Invalid-CSR"]);
}

#[test]
fn keys_are_recognised_by_what_they_mean() {
    let device = json!({
        "device_details": {"common-name": "till", "EGSSerial": "1-A|2-B|3-C", "location": "x", "industry": "y"},
        "organisationDetails": {
            "VATNumber": "310122393500003", "branch": "x", "PartyIdentification": [{"ID": {"schemeID": "CRN", "value": "1010010000"}}],
            "address": {"StreetName": {"en": "a", "ar": "ب"}, "building_no": "1234", "PlotIdentification": "1234",
                        "CitySubdivisionName": "c", "CityName": "d", "zip": "12345", "Country": {"IdentificationCode": "SA"}},
        },
    });
    assert_eq!(found(&device), [""; 0]);
    let crn = json!({"CRN": "1010010000"});
    let flat = from_text(crn.to_string().as_bytes()).unwrap();
    assert_eq!(flat[0].recognised(), [("CRN", "OrganizationDetails.SellerId")]);
    let csv = from_text(b"vat;EgsSerialNumber;shade\n310122393500003;1-A|2-B|3-C;red\n").unwrap();
    assert_eq!(csv[0].unknown(), ["shade"]);
    assert_eq!(csv[0].identity().unwrap().names, ["1-A|2-B|3-C", "C"]);
}

#[test]
fn what_can_not_be_read_is_told_with_its_place() {
    let told = |text: &[u8]| from_text(text).unwrap_err().to_string();
    assert_eq!(told(b""), "the whole file: it is empty");
    assert!(
        told(b"{\"DeviceDetails\": {\n\"CommonName\": }").starts_with("line 2, column 15: not valid JSON")
    );
    assert!(told(b"[1]").starts_with("/0: a device is an object"));
    assert!(told(b"[]").contains("there is no device in it"));
    assert!(told(b"\"x\"").starts_with("the whole file: a device is an object"));
    assert!(told(b"{\"a\": 1}").contains("none of its keys"));
    assert!(told(b"colour,size\nred,7\n").contains("`colour` is the first"));
    assert_eq!(told(b"vat,CommonName\n3,x\n3\n"), "line 3: it has 1 fields, the header has 2");
    assert!(told(b"vat,CommonName\n3,\xff\n").starts_with("line 2: field 2 is not UTF-8"));
    assert!(told(b"vat,CommonName\n").contains("there is no device in it"));
}

#[test]
fn a_one_time_password_is_never_repeated() {
    for otp in ["ABC-SECRET", "١٢٣٤٥٦", " 123456"] {
        let mut value = example();
        value["Otp"] = json!(otp);
        let devices = from_text(value.to_string().as_bytes()).unwrap();
        let said = serde_json::to_string(&check(&devices[0], SANDBOX, &[])).unwrap();
        assert!(said.contains("Otp") && !said.contains(otp.trim()), "{said}");
    }
    let mut value = example();
    value["Otp"] = json!({"value": "123456"});
    let devices = from_text(value.to_string().as_bytes()).unwrap();
    let said = serde_json::to_string(&check(&devices[0], SANDBOX, &[])).unwrap();
    assert!(!said.contains("123456"), "{said}");
}

#[test]
fn what_the_database_knows_and_what_stands_twice_is_a_warning() {
    let one = example();
    let devices = from_text(json!([one, one]).to_string().as_bytes()).unwrap();
    assert_eq!(repeated(&devices).into_keys().collect::<Vec<_>>(), [1]);
    let known = [
        Known::Certificate { expires_at: Timestamp::from_millis(0) },
        Known::Waiting { activity_id: "act-1".to_owned() },
    ];
    let findings = check(&devices[0], SANDBOX, &known);
    assert_eq!(lines(&findings), ["warning EgsSerialNumber -", "warning EgsSerialNumber -"]);
    assert_eq!(findings[1].value.as_deref(), Some("act-1"));
}

#[test]
fn the_environment_is_told_by_the_upstream() {
    for (base_url, is_production) in [
        ("https://api.cleartax.com/middle-east/ksa/einvoicing", true),
        ("https://api-sandbox.cleartax.com/middle-east/ksa/einvoicing", false),
        ("http://127.0.0.1:8089", false),
        ("http://localhost:1", false),
        ("http://[::1]:1/x", false),
        ("https://proxy.example.com/sandbox", true),
    ] {
        assert_eq!(Context::of_upstream(base_url).is_production, is_production, "{base_url}");
    }
    let mut value = example();
    value["OrganizationDetails"]["Vat"] = json!(TEST_VAT);
    let devices = from_text(value.to_string().as_bytes()).unwrap();
    let findings = check(&devices[0], Context { is_production: true }, &[]);
    assert!(findings[0].problem.en.contains("production"), "{findings:?}");
}

proptest::proptest! {
    /// Whatever is handed in, nothing panics, and what is said stays bounded.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", key in "[a-zA-Z_]{1,12}", value in ".{0,80}") {
        let _ = from_text(text.as_bytes());
        let _ = from_csv(text.as_bytes());
        let device = Device::from_pairs([("CommonName", value.as_str()), ("EgsSerialNumber", value.as_str()),
            ("Vat", value.as_str()), (key.as_str(), value.as_str()), ("CRN", value.as_str())]);
        for found in check(&device, SANDBOX, &[Known::Waiting { activity_id: value.clone() }]) {
            proptest::prop_assert!(!found.problem.en.is_empty());
        }
    }
}

#[test]
fn what_is_kept_of_keys_is_bounded_however_long_and_many_they_are() {
    let long = "k".repeat(100_000);
    let below = |value: Value| json!({ "CommonName": "till", &long: value });
    let nested = (0..100).fold(json!({ "a": 1, "b": null }), |inner, _| json!({ &long[..200]: inner }));
    let many: serde_json::Map<_, _> = (0..20_000).map(|n| (n.to_string(), Value::Null)).collect();
    for value in [
        below(json!(vec![Value::Null; 20_000])),
        below(json!(vec![1; 20_000])),
        below(many.into()),
        below(nested),
        json!({ &long: { "CommonName": "till" } }),
    ] {
        let devices = from_value(&value).unwrap();
        let (given, unknown) = (devices[0].recognised(), devices[0].unknown());
        assert!(given.len() + unknown.len() <= 500);
        let keys = given.iter().map(|(key, _)| *key).chain(unknown.iter().map(String::as_str));
        assert!(keys.map(str::len).max() <= Some(256));
        assert!(given.iter().any(|(_, path)| path.ends_with("CommonName")));
    }
    let table = |header: &str, row: &str, n_rows: usize| {
        from_csv(format!("{header}\n{}", format!("{row}\n").repeat(n_rows)).as_bytes())
    };
    let devices = table(&format!("CommonName,{long}"), "till,", 1_000).unwrap();
    assert!(devices.iter().all(|device| device.unknown()[0].len() <= 256));
    let refused =
        table(&format!("CommonName{}", ",other".repeat(400)), &format!("till{}", ",".repeat(400)), 9_000);
    assert_eq!(refused.unwrap_err().to_string(), "the whole file: it has too many long keys: divide it");
    let endless = from_csv(format!("CommonName,{}", ",".repeat(1 << 20)).as_bytes()).unwrap_err();
    assert!(endless.what.starts_with("a row is longer than 256 KiB"), "{endless}");
}
