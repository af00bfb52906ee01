//! The proxy that requests go through, as the environment names it.
//!
//! The HTTP client reads the same variables by the same rules, but ignores one that it can't parse and connects without
//! a proxy. So they are checked at the start.

use std::fmt;

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The variables for https, for http, and for both. Of each pair the first one that is set counts.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// A variable names no proxy that can be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "environment variable {variable} is no address of a proxy (its value is not shown): write http://HOST:PORT, or unset it \
     to go without; SOCKS is not supported"
)]
pub struct UnusableProxy {
    variable: &'static str,
}

/// A proxy as people know it: where it is, and which variable says so. Its password is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    address: String,
    variable: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} ({})", self.address, self.variable)
    }
}

/// Checks that every variable that is set names a proxy.
///
/// # Errors
/// The first variable that does not.
pub fn check() -> Result<(), UnusableProxy> {
    match [HTTPS, HTTP, ALL].into_iter().filter_map(set).find(|(_, value)| !names_a_proxy(value)) {
        Some((variable, _)) => Err(UnusableProxy { variable }),
        None => Ok(()),
    }
}

/// The proxy for this URL; `None`: it is reached without one.
pub fn of(url: &url::Url) -> Option<Proxy> {
    let uri: Uri = url.as_str().parse().ok()?;
    let found = Matcher::from_env().intercept(&uri)?;
    let own = if url.scheme() == "https" { HTTPS } else { HTTP };
    let (variable, _) = set(own).or_else(|| set(ALL))?;
    // User and password have been taken out of it.
    let (scheme, authority) = (found.uri().scheme_str()?, found.uri().authority()?);
    Some(Proxy { address: format!("{scheme}://{authority}"), variable })
}

/// Which variable of a pair is set, and to what. An empty one counts as not set.
fn set(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let name = names.into_iter().find(|name| std::env::var_os(name).is_some())?;
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some((name, value))
}

fn names_a_proxy(value: &str) -> bool {
    let anywhere = Uri::from_static("https://upstream.invalid/");
    Matcher::builder().all(value).build().intercept(&anywhere).is_some_and(|proxy| {
        // `Matcher` accepts a port that is not a number.
        let url = url::Url::parse(&proxy.uri().to_string());
        url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    })
}

#[cfg(test)]
mod tests {
    use super::names_a_proxy;

    #[test]
    fn what_names_no_proxy_is_found() {
        for usable in
            ["proxy", "proxy:3128", "http://proxy:3128", "https://user:pass@proxy.example:443/", "[::1]:8080"]
        {
            assert!(names_a_proxy(usable), "{usable}");
        }
        for unusable in
            ["::::", "http://", "proxy:notaport", "socks5://proxy:1080", "ftp://proxy", "a b", "http://:80"]
        {
            assert!(!names_a_proxy(unusable), "{unusable}");
        }
    }
}
