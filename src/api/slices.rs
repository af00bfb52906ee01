//! How lists are answered: a slice at a time.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use crate::store::Slice;

/// A slice as clients get it: `items`, and where the next slice begins, in the body and as a `Link` header.
pub(super) fn sliced<P: ToString, I: Serialize>(
    path: &str,
    query: Option<&str>,
    slice: &Slice<P>,
    items: I,
) -> Response {
    let next = slice.last.as_ref().map(P::to_string);
    let more = next.as_deref().filter(|_| slice.has_more);
    let link = more.map(|next| format!("<{path}?{}>; rel=\"next\"", with_cursor(query, next)));
    let body = json!({"items": items, "next_cursor": next, "has_more": slice.has_more});
    let mut response = Json(body).into_response();
    // Percent-encoded text is a valid header value.
    if let Some(Ok(link)) = link.map(|link| HeaderValue::from_str(&link)) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The same query with another cursor.
fn with_cursor(query: Option<&str>, cursor: &str) -> String {
    let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut next = form_urlencoded::Serializer::new(String::new());
    next.extend_pairs(given.filter(|(name, _)| name != "cursor"));
    next.append_pair("cursor", cursor);
    next.finish()
}
