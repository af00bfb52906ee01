//! Puts a gateway's web page, which may come instead of a check's text, into a sentence.

use super::view::{decode, is_space};

/// How much of a page is read. What it says is at its beginning.
const MAX_READ_BYTES: usize = 16 * 1024;

/// Longest title that is repeated, in characters.
const MAX_TITLE_CHARS: usize = 80;

/// What a web page says, in a sentence; `None` for any other text.
///
/// Pages come from gateways in front of ZATCA, so their status is that of a transport, and no rule.
pub fn page_as_sentence(text: &str) -> Option<String> {
    let head = text.get(..text.floor_char_boundary(MAX_READ_BYTES))?;
    if !head.contains(['<', '\\', '&']) {
        return None;
    }
    let page: String = decode(head).into_iter().map(|unit| unit.ch).collect();
    let lower = page.to_ascii_lowercase();
    let is_page = ["<html", "<!doctype html", "<title", "<body", "<center", "<h1"]
        .iter()
        .any(|tag| lower.contains(tag));
    if !is_page {
        return None;
    }
    let heading = |tag: &str| {
        let start = lower.find(&format!("<{tag}"))?;
        let start = start + lower.get(start..)?.find('>')? + 1;
        let end = lower.get(start..)?.find("</").map_or(lower.len(), |end| start + end);
        let text = without_tags(page.get(start..end)?);
        (!text.is_empty()).then_some(text)
    };
    let title = heading("title").or_else(|| heading("h1"));
    let body = without_tags(page.get(lower.find("<body").unwrap_or(0)..).unwrap_or_default());
    let status = title.as_deref().and_then(status_in).or_else(|| status_in(&body));
    let says = title.map(|title| reason(&title)).filter(|title| !title.is_empty());
    Some(match (status, says) {
        (Some(status), Some(says)) => format!("ZATCA's gateway answered {status} ({says})"),
        (Some(status), None) => format!("ZATCA's gateway answered {status}"),
        (None, Some(says)) => format!("ZATCA's gateway answered with a web page ({says})"),
        (None, None) => "ZATCA's gateway answered with a web page".to_owned(),
    })
}

/// The text between tags, on one line. Styles and scripts are left out.
fn without_tags(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        text.push_str(rest.get(..at).unwrap_or_default());
        text.push(' ');
        let tag = rest.get(at..).unwrap_or_default();
        let hidden = ["style", "script"]
            .into_iter()
            .find(|name| tag.get(1..=name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
        let tag = match hidden.and_then(|name| tag.find(&format!("</{name}"))) {
            Some(end) => tag.get(end..).unwrap_or_default(),
            None => tag,
        };
        rest = tag.find('>').and_then(|end| tag.get(end + 1..)).unwrap_or_default();
    }
    text.push_str(rest);
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The first HTTP status of a failure in a text.
fn status_in(text: &str) -> Option<u16> {
    text.split(|ch: char| !ch.is_alphanumeric())
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok())
        .find(|status| (400..600).contains(status))
}

/// A title without its status and the words around it.
fn reason(title: &str) -> String {
    let is_dropped = |word: &&str| {
        let bare = word.trim_matches(|ch: char| !ch.is_alphanumeric());
        bare.is_empty()
            || status_in(bare).is_some()
            || ["http", "status", "error"].iter().any(|dropped| bare.eq_ignore_ascii_case(dropped))
    };
    let words: Vec<&str> = title.split(' ').skip_while(is_dropped).collect();
    words
        .join(" ")
        .trim_matches(|ch: char| !ch.is_alphanumeric() && ch != ')')
        .chars()
        .take(MAX_TITLE_CHARS)
        .collect()
}
