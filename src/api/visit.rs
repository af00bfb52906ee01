//! What a page's request brings along besides its own parameters: the language it is to be told in.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use url::form_urlencoded;

use super::Api;
use crate::domain::catalogue::Language;

/// The cookie that keeps a reader's choice.
const COOKIE_NAME: &str = "pcsid-watch-lang";

/// See the module.
#[derive(Debug)]
pub(super) struct Visit {
    /// The query without the language.
    pub(super) query: String,
    /// What explanations are told in: as chosen now, else as chosen before, else as configured.
    pub(super) language: Language,
    /// The same page in the other language.
    pub(super) other_language_at: String,
    /// Whether it was chosen now, and has to be kept.
    is_chosen: bool,
}

impl Visit {
    fn read(uri: &Uri, cookies: Option<&str>, configured: Language) -> Self {
        let (mut chosen, mut query) = (None, form_urlencoded::Serializer::new(String::new()));
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            // A language that there is none of is another parameter that is not known.
            match Language::from_label(&value).filter(|_| name == "lang") {
                Some(language) => chosen = Some(language),
                None => {
                    query.append_pair(&name, &value);
                }
            }
        }
        let query = query.finish();
        let kept = cookies.into_iter().flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            Language::from_label(value).filter(|_| name == COOKIE_NAME)
        });
        let language = chosen.or(kept).unwrap_or(configured);
        let other = match language {
            Language::English => Language::Arabic,
            Language::Arabic => Language::English,
        };
        let joint = if query.is_empty() { "" } else { "&" };
        let other_language_at = format!("{}?{query}{joint}lang={}", uri.path(), other.label());
        Self { query, language, other_language_at, is_chosen: chosen.is_some() }
    }

    /// Has the browser keep the choice, where one was made.
    pub(super) fn keep(&self, response: &mut Response) {
        if self.is_chosen {
            let cookie = format!(
                "{COOKIE_NAME}={}; Path=/; Max-Age=31536000; SameSite=Strict; HttpOnly",
                self.language.label()
            );
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
    }
}

impl FromRequestParts<Arc<Api>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let cookies = parts.headers.get(COOKIE).and_then(|value| value.to_str().ok());
        Ok(Self::read(&parts.uri, cookies, api.language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_chosen_now_or_before_or_configured() {
        for (uri, cookies, language, query, other) in [
            ("/", None, Language::English, "", "/?lang=ar"),
            ("/?lang=ar", None, Language::Arabic, "", "/?lang=en"),
            ("/?refresh=off&lang=ar", None, Language::Arabic, "refresh=off", "/?refresh=off&lang=en"),
            ("/a/b?vat=3", Some("x=y; pcsid-watch-lang=ar"), Language::Arabic, "vat=3", "/a/b?vat=3&lang=en"),
            ("/?lang=en", Some("pcsid-watch-lang=ar"), Language::English, "", "/?lang=ar"),
            ("/?lang=fr", Some("pcsid-watch-lang=fr"), Language::English, "lang=fr", "/?lang=fr&lang=ar"),
        ] {
            let visit = Visit::read(&uri.parse().unwrap(), cookies, Language::English);
            assert_eq!((visit.language, visit.query.as_str()), (language, query), "{uri}");
            assert_eq!(visit.other_language_at, other);
        }
    }
}
