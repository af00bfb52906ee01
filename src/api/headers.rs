//! What the headers of a request say: the media type of its body, and what the client prefers.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

/// The media type of the body in lower case, without parameters; empty if the request names none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// What a header such as `Accept` lists, in lower case, each with its quality: how much it is preferred, from 0 (not at
/// all) to 1. A quality that can't be read counts as 0.
pub(super) fn preferences(header: &str) -> impl Iterator<Item = (String, f32)> {
    header.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .map_or(1.0, |q| q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        (name, quality)
    })
}
