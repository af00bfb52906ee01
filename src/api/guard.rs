//! Checks before every handler: the `Host`, the `Origin` and the token.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::Api;
use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a page of ours may load and do: its own style sheet and its own forms.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses requests for other hosts and from other sites, and keeps answers out of caches and frames.
pub(super) async fn site(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let mut response = match refuse(&api.hosts, request.method(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// How long the answer to a wrong token takes, so that guessing gets nowhere.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// Wrong tokens within this time of the last one are not logged again.
const QUIET_AFTER_WRONG_TOKEN: Duration = Duration::from_secs(10 * 60);

/// Delays, counts and logs wrong tokens.
#[derive(Debug, Default)]
pub(super) struct WrongTokens {
    last_at: Mutex<Option<Instant>>,
}

impl WrongTokens {
    async fn note(&self) {
        let before = self.last_at.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now());
        if before.is_none_or(|before| before.elapsed() >= QUIET_AFTER_WRONG_TOKEN) {
            tracing::warn!(
                "a request over HTTP had a wrong token; further ones are only counted \
                 (pcsid_watch_http_wrong_tokens_total)"
            );
        }
        // Each of them, however many there are: the number of connections bounds what guessing takes up.
        tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
    }
}

/// Asks for the token, if one is configured. A wrong token is counted and answered late. A request without a token is
/// neither: browsers send one first.
pub(super) async fn token(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(token) = &api.token else { return next.run(request).await };
    match request.headers().get(AUTHORIZATION) {
        Some(offered) if offered.to_str().is_ok_and(|offered| token.admits(offered)) => {
            next.run(request).await
        }
        offered => {
            if offered.is_some() {
                api.monitor.wrong_token();
                api.wrong_tokens.note().await;
            }
            Problem::unauthorized().into_response()
        }
    }
}

fn refuse(hosts: &[String], method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let authority = text(HOST).unwrap_or_default();
    if headers.get_all(HOST).iter().count() != 1 || !is_ours(authority, hosts) {
        return Some(Problem::foreign_host(authority));
    }
    let is_foreign_origin = text(ORIGIN).is_some_and(|origin| !is_same_site(origin, authority));
    // Another site may link here, but may not load images, scripts or anything else from here.
    let is_link = matches!(*method, Method::GET | Method::HEAD) && text(SEC_FETCH_MODE) == Some("navigate");
    let is_foreign_fetch =
        matches!(text(SEC_FETCH_SITE), Some(site) if !matches!(site, "same-origin" | "none"));
    (is_foreign_origin || (is_foreign_fetch && !is_link)).then(Problem::cross_site)
}

/// Anybody can make a name of theirs resolve to this address, so only configured names are accepted. Addresses are
/// always accepted.
fn is_ours(authority: &str, hosts: &[String]) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
}

/// The scheme may differ: a proxy in front may have ended TLS.
fn is_same_site(origin: &str, authority: &str) -> bool {
    let theirs = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        refuse(&["pcsid.example.com".to_owned()], &method, &map).map(|problem| problem.status().as_u16())
    }

    #[test]
    fn only_our_own_hosts_are_answered() {
        for (host, answer) in [
            ("localhost", None),
            ("LOCALHOST:8088", None),
            ("127.0.0.1:8088", None),
            ("[::1]:8088", None),
            ("10.1.2.3", None),
            ("pcsid.example.com", None),
            ("Pcsid.Example.com:443", None),
            ("evil.example", Some(421)),
            ("localhost.evil.example", Some(421)),
            ("pcsid.example.com.evil.example", Some(421)),
            ("127.0.0.1.evil.example:8088", Some(421)),
            ("", Some(421)),
            (":8088", Some(421)),
        ] {
            assert_eq!(refused(Method::GET, &[("host", host)]), answer, "{host}");
        }
        assert_eq!(refused(Method::GET, &[]), Some(421));
        assert_eq!(refused(Method::GET, &[("host", "localhost"), ("host", "localhost")]), Some(421));
    }

    #[test]
    fn only_our_own_pages_act() {
        let host = ("host", "localhost:8088");
        for (method, header, answer) in [
            (Method::POST, ("origin", "http://localhost:8088"), None),
            (Method::POST, ("origin", "https://localhost:8088"), None),
            (Method::POST, ("origin", "http://localhost"), Some(403)),
            (Method::POST, ("origin", "http://localhost:8089"), Some(403)),
            (Method::POST, ("origin", "https://evil.example"), Some(403)),
            (Method::POST, ("origin", "null"), Some(403)),
            (Method::GET, ("origin", "https://evil.example"), Some(403)),
            (Method::POST, ("sec-fetch-site", "same-origin"), None),
            (Method::POST, ("sec-fetch-site", "none"), None),
            (Method::POST, ("sec-fetch-site", "same-site"), Some(403)),
            (Method::POST, ("sec-fetch-site", "cross-site"), Some(403)),
            (Method::GET, ("sec-fetch-site", "cross-site"), Some(403)),
            (Method::POST, ("x-any", "program"), None),
        ] {
            assert_eq!(refused(method.clone(), &[host, header]), answer, "{method} {header:?}");
        }
        let from_elsewhere = ("sec-fetch-site", "cross-site");
        for (mode, answer) in [("navigate", None), ("no-cors", Some(403))] {
            assert_eq!(
                refused(Method::GET, &[host, from_elsewhere, ("sec-fetch-mode", mode)]),
                answer,
                "{mode}"
            );
        }
        let form = [host, from_elsewhere, ("sec-fetch-mode", "navigate")];
        assert_eq!(refused(Method::POST, &form), Some(403));
    }
}
