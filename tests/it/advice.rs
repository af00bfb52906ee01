//! What comes of the texts that people really meet: each line of `advice.jsonl` is an activity, with what its reading
//! has to be.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::helpers::{Reply, Server, Setup, VAT, eventually, http_client};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    http: u16,
    #[serde(default)]
    checks: Map<String, Value>,
    errors: Option<Value>,
    /// Codes, severities and messages by check, in order.
    #[serde(default)]
    codes: BTreeMap<String, Vec<Option<String>>>,
    #[serde(default)]
    severities: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    messages: BTreeMap<String, Vec<String>>,
    list_codes: Option<Vec<Option<String>>>,
    list_severities: Option<Vec<String>>,
    kind: Option<String>,
    owner: Option<String>,
    /// Patterns of the English step.
    #[serde(default)]
    must: Vec<String>,
    #[serde(default)]
    must_not: Vec<String>,
    /// For readers of the file.
    #[serde(default)]
    #[expect(dead_code, reason = "it explains the line")]
    why: String,
}

impl Case {
    fn reply(&self) -> Reply {
        if self.http == 400 {
            return Reply::new(400, json!({ "ErrorList": self.errors }).to_string());
        }
        let mut meta = self.checks.clone();
        meta.insert("PcsidGenerated".to_owned(), json!("FAILED"));
        let body = json!({
            "ActivityType": "ZATCA_COMPLIANCE_INVOICE", "Status": "FAILED",
            "CreatedAt": "2026-05-26T08:14:46.512Z", "UpdatedAt": "2026-05-26T08:15:46.512Z",
            "CompletedAt": "2026-05-26T08:15:46.512Z",
            "RequestMetaInfo": {"TotalCount": 6, "SuccessCount": 0, "FailureCount": 6},
            "ResponseInfo": {"ResponseMetaData": meta},
            "ErrorList": self.errors,
        });
        Reply::new(self.http, body.to_string())
    }

    /// What is wrong with how the activity was read and what is said of it.
    fn faults(&self, event: &Value, shown: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |what: &str, found: Value, expected: Value| {
            if found != expected {
                faults.push(format!("{}: {what}: found {found}, expected {expected}", self.name));
            }
        };
        let data = &event["data"];
        let step = &data["next_step"];
        let each = |errors: &Value, key: &str| -> Value {
            errors.as_array().into_iter().flatten().map(|error| error[key].clone()).collect()
        };
        for (check, codes) in &self.codes {
            let of = |checks: &Value, name: &str| {
                let found = checks.as_array().into_iter().flatten().find(|found| found[name] == **check);
                found.map(|check| check["errors"].clone()).unwrap_or_default()
            };
            expect("codes", each(&of(&data["checks"], "name"), "rule"), json!(codes));
            expect("codes shown", each(&of(&shown["checks"], "name"), "rule"), json!(codes));
        }
        for (key, by_check) in [("severity", &self.severities), ("message", &self.messages)] {
            for (check, values) in by_check {
                let found =
                    data["checks"].as_array().into_iter().flatten().find(|found| found["name"] == **check);
                let errors = found.map(|check| check["errors"].clone()).unwrap_or_default();
                expect(key, each(&errors, key), json!(values));
            }
        }
        if let Some(codes) = &self.list_codes {
            expect("listed codes", each(&data["errors"], "rule"), json!(codes));
            expect("listed codes shown", each(&shown["errors"], "rule"), json!(codes));
        }
        if let Some(severities) = &self.list_severities {
            expect("listed severities", each(&data["errors"], "severity"), json!(severities));
        }
        for (key, expected) in [("kind", &self.kind), ("owner", &self.owner)] {
            if let Some(expected) = expected {
                expect(key, step[key].clone(), json!(expected));
                expect("the view's", shown[format!("next_step_{key}")].clone(), json!(expected));
            }
        }
        expect("step", shown["next_step"]["en"].clone(), step["en"].clone());
        let english = step["en"].as_str().unwrap_or_default();
        for (patterns, wanted) in [(&self.must, true), (&self.must_not, false)] {
            for pattern in patterns {
                if says(english, pattern) != wanted {
                    faults.push(format!(
                        "{}: {pattern:?} must{} be in {english:?}",
                        self.name,
                        if wanted { "" } else { " not" }
                    ));
                }
            }
        }
        // Whatever is said is said whole, in both languages.
        let in_checks =
            data["checks"].as_array().into_iter().flatten().flat_map(|check| check["errors"].as_array());
        for error in in_checks.chain(data["errors"].as_array()).flatten() {
            let is_whole = ["meaning", "remedy"]
                .iter()
                .all(|key| error[key]["en"].is_string() && error[key]["ar"].is_string());
            if !is_whole || !error["owner"].is_string() || !error["severity"].is_string() {
                faults.push(format!("{}: unexplained: {error}", self.name));
            }
        }
        faults
    }
}

/// Whether a text has one of the alternatives (`a|b`) of a pattern, whose parts (`a.*b`) stand in this order.
fn says(text: &str, pattern: &str) -> bool {
    pattern.trim_start_matches("(?s)").split('|').any(|alternative| {
        let mut rest = Some(text);
        for part in alternative.split(".*") {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        }
        rest.is_some()
    })
}

fn cases() -> Vec<Case> {
    let lines = include_str!("../fixtures/advice.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_field_is_read_as_it_has_to_be() {
    let replies: BTreeMap<String, Reply> =
        cases().iter().enumerate().map(|(nth, case)| (format!("case-{nth}"), case.reply())).collect();
    let upstream = Server::start(move |seen| replies[seen.activity_id()].clone()).await;
    let setup = Setup::new(&upstream.url(), "");
    let cases = cases();
    let ids: Vec<String> = (0..cases.len()).map(|nth| format!("case-{nth}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    let events = eventually("all have concluded", || async {
        let events = daemon.events();
        (events.len() == ids.len()).then_some(events)
    })
    .await;
    let mut faults = Vec::new();
    let mut steps = BTreeMap::new();
    for (case, id) in cases.iter().zip(&ids) {
        let event = events.iter().find(|event| event["data"]["activity_id"] == **id).unwrap();
        let url = format!("{}/v1/activities/{id}", daemon.url());
        let shown: Value = http_client().get(url).send().await.unwrap().json().await.unwrap();
        faults.extend(case.faults(event, &shown));
        let step = &event["data"]["next_step"];
        let text = |language: &str| step[language].as_str().unwrap_or_default().to_owned();
        steps.entry((text("en"), text("ar"))).or_insert_with(|| case.name.clone());
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    daemon.stop().await;

    assert!(steps.len() >= 30, "only {} different steps", steps.len());
    let mut told: Vec<String> =
        steps.into_iter().map(|((en, ar), name)| format!("# {name}\n{en}\n{ar}\n")).collect();
    told.sort();
    insta::assert_snapshot!("steps", told.join("\n"));
}
