//! What the clients for upstream and for webhooks share: words for what went wrong, and `Retry-After`.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::clock;
use crate::domain::retry_after::parse_retry_after;

/// A client that follows no redirect and sends no referer. Plain http to this machine goes through no proxy:
/// none could reach it, and it would read the token.
pub fn client_builder(url: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("pcsid-watch/", env!("CARGO_PKG_VERSION")));
    let is_plain_loopback = url::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url));
    if is_plain_loopback { builder.no_proxy() } else { builder }
}

/// Whether a URL's host is this machine.
pub fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// How long the other side wants to be left alone, by its answer's headers.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    parse_retry_after(text(RETRY_AFTER)?, text(DATE), clock::wall_system_time())
}

/// What went wrong with a request, in an operator's words: the kind of failure and its innermost cause.
pub fn explain(err: &reqwest::Error) -> String {
    let mut chain = Vec::new();
    let mut source = err.source();
    while let Some(cause) = source {
        chain.push(cause.to_string());
        source = cause.source();
    }
    let says = |part: &str| chain.iter().any(|cause| cause.contains(part));
    let kind = if err.is_timeout() && err.is_connect() {
        "no connection in time"
    } else if err.is_timeout() {
        "no answer in time"
    } else if says("dns error") {
        "the host's name could not be resolved"
    } else if says("certificate") || says("tls") || says("TLS") {
        "TLS failed"
    } else if err.is_connect() {
        "no connection"
    } else if err.is_body() || err.is_decode() {
        "the connection broke within the answer"
    } else {
        "the connection broke before an answer"
    };
    match chain.last() {
        Some(innermost) => format!("{kind}: {innermost}"),
        None => kind.to_owned(),
    }
}
