//! All that a ClearTax ticket or an auditor needs of an activity, in one file whose content can be checked.
//!
//! The bundle is `{format, made_at, made_by, sha256, content}`. `sha256` is the hash of `content` in the canonical form
//! of RFC 8785: keys sorted, no white space, UTF-8. An activity gives the same content and hash until it changes. Our
//! token is not in it. Secrets in the answer were removed before it was stored, as far as `domain::redact` finds them.

mod html;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::activity::status_url;
use crate::domain::time::Timestamp;
use crate::store::{FinalAnswer, History};

pub use html::render;

/// The name of the bundle's format.
pub const FORMAT: &str = "pcsid-watch/evidence/1";

/// The program that makes bundles.
const MADE_BY: &str = concat!("pcsid-watch ", env!("CARGO_PKG_VERSION"));

/// The method of the request to upstream.
const METHOD: &str = "GET";

/// What the bundle is made of.
#[derive(Debug, Clone)]
pub struct Material {
    /// The activity.
    pub history: History,
    /// Upstream's final answer, if one concluded the activity.
    pub final_answer: Option<FinalAnswer>,
    /// The upstream that the database belongs to.
    pub base_url: String,
}

impl Material {
    /// The URL of the request that was answered.
    fn url(&self) -> String {
        status_url(&self.base_url, &self.history.activity.activity_id)
    }
}

/// The bundle about one activity.
#[derive(Debug, Clone)]
pub struct Bundle {
    material: Material,
    made_at: Timestamp,
    sha256: String,
    json: Value,
}

impl Bundle {
    /// Makes a bundle at this time.
    ///
    /// # Errors
    /// If the content can't be written as JSON.
    pub fn new(material: Material, made_at: Timestamp) -> Result<Self, serde_json::Error> {
        let content = content(&material)?;
        let sha256 = hash(&content);
        let json = json!({
            "format": FORMAT,
            "made_at": made_at,
            "made_by": MADE_BY,
            "sha256": sha256,
            "content": content,
        });
        Ok(Self { material, made_at, sha256, json })
    }

    /// The bundle as programs read it.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

fn content(material: &Material) -> Result<Value, serde_json::Error> {
    let History { activity, transitions, checks, errors, .. } = &material.history;
    // Deliveries and the next poll say nothing about ClearTax's answer, so they are no evidence.
    let mut fields = serde_json::to_value(activity)?;
    if let Some(fields) = fields.as_object_mut() {
        fields.shift_remove("next_poll_at");
    }
    let final_answer = material.final_answer.as_ref().map(|answer| {
        json!({
            "answered_at": answer.answered_at,
            "http_status": answer.http_status,
            "body": answer.body,
            "is_cut": answer.is_cut,
        })
    });
    Ok(json!({
        "request": {
            "method": METHOD,
            "url": material.url(),
            "headers": {"vat": activity.vat, "x-cleartax-auth-token": "(not part of any record)"},
        },
        "activity": fields,
        "transitions": transitions,
        "checks": checks,
        "errors": errors,
        "final_answer": final_answer,
    }))
}

/// SHA-256 of the canonical form, in hexadecimal digits.
pub fn hash(content: &Value) -> String {
    let digest = Sha256::digest(canonical(content).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The canonical form. RFC 8785 sorts keys by UTF-16 and prescribes how numbers are written. Our keys are ASCII and our
/// numbers whole, so sorting by bytes and writing as usual gives the same.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields: Vec<String> = keys
                .into_iter()
                .map(|key| {
                    let value = fields.get(key).unwrap_or(&Value::Null);
                    format!("{}:{}", Value::from(key.as_str()), canonical(value))
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_sorts_keys_and_has_no_white_space() {
        let value = json!({"b": [1, {"z": null, "a": "ي\"\n\u{1}"}], "a": true});
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"a":"ي\"\n\u0001","z":null}]}"#);
    }

    #[test]
    fn the_hash_is_of_the_content_alone() {
        let made_at = |ms| {
            let material = Material {
                history: crate::store::tests::history(),
                final_answer: None,
                base_url: "https://host/base".to_owned(),
            };
            Bundle::new(material, Timestamp::from_millis(ms)).unwrap().json
        };
        let (first, second) = (made_at(0), made_at(1));
        assert_eq!(first["sha256"], second["sha256"]);
        assert_ne!(first["made_at"], second["made_at"]);
        assert_eq!(first["sha256"], hash(&first["content"]));
        assert_eq!(first["content"]["request"]["url"], "https://host/base/onboarding/act-1/pcsid-status");
        for left_out in ["events", "deliveries", "attempts", "former_attempt", "next_poll_at"] {
            assert!(!first["content"].to_string().contains(&format!("\"{left_out}\"")), "{left_out}");
        }
    }
}
