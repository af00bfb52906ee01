//! Where a database is: what `database.url` says.

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use super::postgres::PostgresAddress;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server and a database on it.
    #[cfg(feature = "postgres")]
    Postgres(PostgresAddress),
}

/// Why a URL names no database that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAddress {
    /// The URL may be shown.
    #[error("`{url}` is not usable: {rule}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        rule: String,
    },
    /// The URL may hold a password and is not shown.
    #[error("{0}")]
    Unshown(String),
}

impl Address {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Address::Sqlite(path) => Some(path),
            #[cfg(feature = "postgres")]
            Address::Postgres(_) => None,
        }
    }

    /// Reads `database.url`; the files bring the password for a server, and a root that its certificate is signed by.
    ///
    /// # Errors
    /// What is wrong with it. No error repeats what may be a password.
    pub fn parse(
        url: &str,
        password_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, UnusableAddress> {
        let unusable = |rule: &str| UnusableAddress::Url { url: url.to_owned(), rule: rule.to_owned() };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return server(url, password_file, ca_file);
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        match path {
            // It may be a URL of another database, with a password in it.
            None if url.contains('@') => {
                Err(UnusableAddress::Unshown("it must begin with sqlite:// or postgres://".to_owned()))
            }
            None => Err(unusable("it must begin with sqlite:// or postgres://")),
            Some(path) if path.is_empty() || path.contains(":memory:") => {
                Err(unusable("it must name a file, because the database has to outlive the process"))
            }
            Some(path) if path.contains('?') => {
                Err(unusable("it must name a file and nothing else; parameters after `?` are not supported"))
            }
            Some(path) => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl Address {
    /// Whether it is known without connecting that nothing is there: a file that is missing or empty.
    pub fn is_absent(&self) -> bool {
        match self {
            Address::Sqlite(path) => !std::fs::metadata(path).is_ok_and(|file| file.len() > 0),
            #[cfg(feature = "postgres")]
            Address::Postgres(_) => false,
        }
    }
}

#[cfg(feature = "postgres")]
fn server(
    url: &str,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
) -> Result<Address, UnusableAddress> {
    Ok(Address::Postgres(PostgresAddress::parse(url, password_file, ca_file)?))
}

#[cfg(not(feature = "postgres"))]
fn server(_: &str, _: Option<PathBuf>, _: Option<PathBuf>) -> Result<Address, UnusableAddress> {
    let rule =
        "this program was built without PostgreSQL (cargo feature `postgres`): it must begin with sqlite://";
    Err(UnusableAddress::Unshown(rule.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Sqlite(path) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => address.fmt(f),
        }
    }
}

#[cfg(all(test, not(feature = "postgres")))]
mod tests {
    use super::Address;

    #[test]
    fn without_the_feature_a_server_is_refused_by_one_sentence() {
        let said = Address::parse("postgres://watch:s3cret@db/pcsid", None, None).unwrap_err().to_string();
        assert!(said.contains("built without PostgreSQL") && !said.contains("s3cret"), "{said}");
    }
}
