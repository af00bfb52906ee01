//! What every page's request carries besides its own parameters: the reader's language, and whether the status page
//! reloads itself.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use percent_encoding::{CONTROLS, utf8_percent_encode};
use url::form_urlencoded;

use super::Api;
use super::headers::preferences;
use crate::domain::catalogue::Language;
use crate::page::Refresh;

/// The cookie that keeps a reader's language.
const LANGUAGE_COOKIE: &str = "pcsid-watch-lang";

/// The cookie that keeps whether the status page reloads itself.
const REFRESH_COOKIE: &str = "pcsid-watch-refresh";

/// See the module.
#[derive(Debug)]
pub(super) struct PageRequest {
    /// The query without these choices.
    pub(super) query: String,
    /// As chosen now, else as chosen before, else as the browser asks for, else as configured.
    pub(super) language: Language,
    /// As chosen now, else as chosen before, else off.
    pub(super) refresh: Refresh,
    /// The same page in the other language.
    pub(super) other_language_at: String,
    /// Choices that were made now and have to be kept, by their cookies.
    chosen: Vec<(&'static str, &'static str)>,
}

impl PageRequest {
    fn read(uri: &Uri, cookies: Option<&str>, accepted: Option<&str>, configured: Language) -> Self {
        let (mut language, mut refresh) = (None, None);
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            // An unknown language stays in the query, where it is refused as an unknown parameter.
            match (name.as_ref(), Language::from_label(&value), Refresh::from_label(&value)) {
                ("lang", Some(chosen), _) => language = Some(chosen),
                ("refresh", _, Some(chosen)) => refresh = Some(chosen),
                _ => {
                    query.append_pair(&name, &value);
                }
            }
        }
        let query = query.finish();
        let kept = |wanted: &str| {
            cookies.into_iter().flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
                let (name, value) = cookie.trim().split_once('=')?;
                (name == wanted).then_some(value)
            })
        };
        let chosen = [
            language.map(|language| (LANGUAGE_COOKIE, language.label())),
            refresh.map(|refresh| (REFRESH_COOKIE, refresh.label())),
        ];
        let language = language
            .or_else(|| kept(LANGUAGE_COOKIE).and_then(Language::from_label))
            .or_else(|| accepted.and_then(accepted_language))
            .unwrap_or(configured);
        let refresh =
            refresh.or_else(|| kept(REFRESH_COOKIE).and_then(Refresh::from_label)).unwrap_or(Refresh::Off);
        let other = match language {
            Language::English => Language::Arabic,
            Language::Arabic => Language::English,
        };
        let joint = if query.is_empty() { "" } else { "&" };
        // A path may hold characters outside ASCII, which can reverse the order of the text around them.
        let path = utf8_percent_encode(uri.path(), CONTROLS);
        let other_language_at = format!("{path}?{query}{joint}lang={}", other.label());
        Self { query, language, refresh, other_language_at, chosen: chosen.into_iter().flatten().collect() }
    }

    /// Makes the browser keep the choices that were made.
    pub(super) fn keep(&self, response: &mut Response) {
        for (name, value) in &self.chosen {
            let cookie = format!("{name}={value}; Path=/; Max-Age=31536000; SameSite=Strict; HttpOnly");
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
    }
}

/// The supported language that `Accept-Language` prefers; the first one if it prefers several alike.
fn accepted_language(header: &str) -> Option<Language> {
    let mut best: Option<(f32, Language)> = None;
    for (tag, quality) in preferences(header) {
        let primary = tag.split('-').next().unwrap_or_default();
        let Some(language) = Language::from_label(primary) else { continue };
        if quality > best.map_or(0.0, |(best, _)| best) {
            best = Some((quality, language));
        }
    }
    best.map(|(_, language)| language)
}

impl FromRequestParts<Arc<Api>> for PageRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let cookies = parts.headers.get(COOKIE).and_then(|value| value.to_str().ok());
        let accepted = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self::read(&parts.uri, cookies, accepted, api.language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_chosen_now_or_before_or_accepted_or_configured() {
        use Language::{Arabic, English};
        let cookie = |value| Some(value);
        for (uri, cookies, accepted, language, query, other) in [
            ("/", None, None, English, "", "/?lang=ar"),
            ("/?lang=ar", None, None, Arabic, "", "/?lang=en"),
            ("/?refresh=off&lang=ar", None, None, Arabic, "", "/?lang=en"),
            ("/a/b?vat=3", cookie("x=y; pcsid-watch-lang=ar"), None, Arabic, "vat=3", "/a/b?vat=3&lang=en"),
            ("/?lang=en", cookie("pcsid-watch-lang=ar"), Some("ar"), English, "", "/?lang=ar"),
            ("/", cookie("pcsid-watch-lang=en"), Some("ar-SA"), English, "", "/?lang=ar"),
            ("/", None, Some("ar-SA,ar;q=0.9,en;q=0.8"), Arabic, "", "/?lang=en"),
            ("/", None, Some("fr, en;q=0.4, ar;q=0.6"), Arabic, "", "/?lang=en"),
            ("/", None, Some("fr;q=1, ar;q=0, *;q=0.1"), English, "", "/?lang=ar"),
            ("/?lang=fr", cookie("pcsid-watch-lang=fr"), None, English, "lang=fr", "/?lang=fr&lang=ar"),
        ] {
            let request = PageRequest::read(&uri.parse().unwrap(), cookies, accepted, English);
            assert_eq!((request.language, request.query.as_str()), (language, query), "{uri} {accepted:?}");
            assert_eq!(request.other_language_at, other);
        }
    }

    #[test]
    fn the_status_page_stands_still_until_somebody_chooses_otherwise() {
        let refresh = |uri: &str, cookies| {
            PageRequest::read(&uri.parse().unwrap(), cookies, None, Language::English).refresh
        };
        assert_eq!(refresh("/", None), Refresh::Off);
        assert_eq!(refresh("/?refresh=on", None), Refresh::On);
        assert_eq!(refresh("/", Some("pcsid-watch-refresh=on")), Refresh::On);
        assert_eq!(refresh("/?refresh=off", Some("pcsid-watch-refresh=on")), Refresh::Off);
    }
}
