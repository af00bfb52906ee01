//! All that a ClearTax ticket or an auditor needs of an activity, in one file whose content can be checked.
//!
//! The bundle is `{format, made_at, made_by, sha256, content}`. `sha256` is that of `content` in its canonical form, the
//! one of RFC 8785: keys sorted, no white space, UTF-8. The same activity gives the same content and the same hash, until
//! it changes. No token or secret can be in it: none is in the database.

mod html;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::domain::time::Timestamp;
use crate::store::FinalAnswer;

pub use html::render;

/// What a bundle says that it is.
pub const FORMAT: &str = "pcsid-watch/evidence/1";

/// What the bundle is made of.
#[derive(Debug)]
pub struct Material {
    /// One element of [`crate::store::Reports::histories`].
    pub history: Map<String, Value>,
    /// Upstream's final answer, where one concluded the activity.
    pub final_answer: Option<FinalAnswer>,
    /// The upstream that the database belongs to.
    pub base_url: String,
}

/// The bundle about one activity.
pub fn bundle(material: Material, made_at: Timestamp) -> Value {
    let content = content(material);
    json!({
        "format": FORMAT,
        "made_at": made_at,
        "made_by": concat!("pcsid-watch ", env!("CARGO_PKG_VERSION")),
        "sha256": hash(&content),
        "content": content,
    })
}

fn content(material: Material) -> Value {
    let Material { mut history, final_answer, base_url } = material;
    let mut take = |key: &str| history.shift_remove(key).unwrap_or(Value::Null);
    let (transitions, checks, errors) = (take("transitions"), take("checks"), take("errors"));
    // What a receiver took, and when, is no evidence of what ClearTax said.
    for not_upstreams in ["events", "deliveries", "attempts", "former_attempt", "next_poll_at"] {
        take(not_upstreams);
    }
    let activity_id = history.get("activity_id").and_then(Value::as_str).unwrap_or_default();
    let request = json!({
        "method": "GET",
        "url": format!("{base_url}/onboarding/{activity_id}/pcsid-status"),
        "headers": {"vat": history.get("vat"), "x-cleartax-auth-token": "(not part of any record)"},
    });
    let final_answer = final_answer.map(|answer| {
        json!({
            "answered_at": answer.answered_at,
            "http_status": answer.http_status,
            "body": answer.body,
            "is_cut": answer.is_cut,
        })
    });
    json!({
        "request": request,
        "activity": history,
        "transitions": transitions,
        "checks": checks,
        "errors": errors,
        "final_answer": final_answer,
    })
}

/// SHA-256 of the canonical form, in hexadecimal digits.
pub fn hash(content: &Value) -> String {
    let digest = Sha256::digest(canonical(content).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The canonical form. Our keys are ASCII and our numbers whole, for which sorting by bytes and writing as usual is what
/// RFC 8785 asks for.
pub fn canonical(value: &Value) -> String {
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
        let material = || Material {
            history: json!({"vat": "3", "activity_id": "a", "events": [1], "checks": []})
                .as_object()
                .unwrap()
                .clone(),
            final_answer: None,
            base_url: "https://host/base".to_owned(),
        };
        let first = bundle(material(), Timestamp::from_millis(0));
        let second = bundle(material(), Timestamp::from_millis(1));
        assert_eq!(first["sha256"], second["sha256"]);
        assert_ne!(first["made_at"], second["made_at"]);
        assert_eq!(first["sha256"], hash(&first["content"]));
        assert_eq!(first["content"]["request"]["url"], "https://host/base/onboarding/a/pcsid-status");
        assert!(first["content"].to_string().find("events").is_none());
    }
}
