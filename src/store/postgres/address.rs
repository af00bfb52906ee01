//! Where a PostgreSQL database is.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::error::StoreError;
use crate::file;
use crate::secret::SecretSource;
use crate::store::address::UnusableAddress;

/// A server, a database on it and the user. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    url: Url,
    ssl_mode: &'static str,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

impl PostgresAddress {
    /// Reads a URL that begins with `postgres://`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating what may be a password.
    pub fn parse(
        text: &str,
        password_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, UnusableAddress> {
        let unusable = |rule: String| UnusableAddress::Unshown(rule);
        let url = Url::parse(text).map_err(|_| {
            unusable("it is no URL of the form postgres://USER@HOST[:PORT]/DATABASE[?sslmode=…]".to_owned())
        })?;
        if url.password().is_some() {
            return Err(unusable(
                "it holds a password, which would end up in logs and process lists: take it out, and name a file \
                 that holds it in database.password_file (or set PGPASSFILE)"
                    .to_owned(),
            ));
        }
        if url.username().is_empty() {
            return Err(unusable("it names no user: write postgres://USER@HOST/DATABASE".to_owned()));
        }
        let database = url.path().trim_matches('/');
        if database.is_empty() || database.contains('/') {
            return Err(unusable("it names no database: write postgres://USER@HOST/DATABASE".to_owned()));
        }
        if url.fragment().is_some() {
            return Err(unusable("it must not hold a fragment (`#…`)".to_owned()));
        }
        let mut ssl_mode = None;
        let mut socket = None;
        for (key, value) in url.query_pairs() {
            match &*key {
                "sslmode" => match SSL_MODES.into_iter().find(|mode| *mode == value) {
                    Some(mode) => ssl_mode = Some(mode),
                    None => {
                        let modes = SSL_MODES.join(", ");
                        return Err(unusable(format!("its parameter sslmode must be one of {modes}")));
                    }
                },
                "host" if value.starts_with('/') => socket = Some(value.into_owned()),
                "host" => {
                    return Err(unusable(
                        "its parameter host must be the folder of a socket, such as /run/postgresql"
                            .to_owned(),
                    ));
                }
                other => {
                    let other = other.escape_debug();
                    return Err(unusable(format!(
                        "its parameter `{other}` is unknown: sslmode and host (the folder of a socket) are known"
                    )));
                }
            }
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() && socket.is_none() {
            return Err(unusable("it names no host: write postgres://USER@HOST/DATABASE".to_owned()));
        }
        let is_near = socket.is_some() || is_loopback(host);
        let ssl_mode = ssl_mode.unwrap_or(if is_near { "prefer" } else { "verify-full" });
        Ok(Self { url, ssl_mode, password_file, ca_file })
    }

    /// How to connect, with the password as its file holds it now.
    ///
    /// # Errors
    /// If the password's file can't be read.
    pub(super) fn options(&self) -> Result<PgConnectOptions, StoreError> {
        // From the URL, so that PGPASSFILE is looked up for this host, user and database.
        let options = PgConnectOptions::from_str(self.url.as_str())
            .map_err(|source| StoreError::Connect { address: self.to_string(), source })?;
        let mut options = options
            .ssl_mode(PgSslMode::from_str(self.ssl_mode).unwrap_or(PgSslMode::VerifyFull))
            // No number with a fraction is ever read, and PgBouncer refuses the parameter.
            .extra_float_digits(None)
            .application_name("pcsid-watch");
        if let Some(path) = &self.password_file {
            let password = SecretSource::File(path.clone()).read().map_err(StoreError::Password)?;
            options = options.password(password.expose_secret());
        }
        if let Some(path) = &self.ca_file {
            // Read here, so that it is named: a connection says no more than that TLS failed.
            let pem = file::read(path, file::MAX_CA_BYTES);
            let pem = pem.map_err(|source| StoreError::CaFile { path: path.clone(), source })?;
            options = options.ssl_root_cert_from_pem(pem);
        }
        Ok(options)
    }

    /// The user that connects.
    pub(super) fn user(&self) -> String {
        self.url.username().to_owned()
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The URL, which holds no password.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<&'static str, String> {
        PostgresAddress::parse(url, None, None).map(|address| address.ssl_mode).map_err(|err| err.to_string())
    }

    #[test]
    fn a_url_names_user_host_and_database_and_tls_is_verified_off_this_machine() {
        for (url, expected) in [
            ("postgres://watch@db.example.com/pcsid", "verify-full"),
            ("postgres://watch@10.0.0.7:5433/pcsid", "verify-full"),
            ("postgres://watch@db.example.com/pcsid?sslmode=require", "require"),
            ("postgres://watch@127.0.0.1/pcsid", "prefer"),
            ("postgres://watch@[::1]/pcsid", "prefer"),
            ("postgresql://watch@localhost/pcsid", "prefer"),
            ("postgres://watch@localhost/pcsid?host=/run/postgresql", "prefer"),
        ] {
            assert_eq!(check(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_repeating_it() {
        for (url, expected) in [
            ("postgres://watch:s3cret@db/pcsid", "database.password_file"),
            ("postgres://db/pcsid", "names no user"),
            ("postgres://watch@db", "names no database"),
            ("postgres://watch@db/", "names no database"),
            ("postgres://watch@/pcsid", "no URL"),
            ("postgres://watch@db/pcsid?sslmode=s3cret", "must be one of disable"),
            ("postgres://watch@db/pcsid?password=s3cret", "`password` is unknown"),
            ("postgres://watch@db/pcsid?host=s3cret", "folder of a socket"),
            ("postgres://wa:s3cret@tch@db:x/pcsid", "no URL"),
        ] {
            let said = check(url).unwrap_err();
            assert!(said.contains(expected) && !said.contains("s3cret"), "{url}: {said}");
        }
    }
}
