//! Where a secret is, and reading it. A secret's value stands in no error and no `Debug` output.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Longest secret that is read; no token or set of webhook secrets comes near.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// What a path may begin with to mean systemd's folder of credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// A secret given in the configuration, or the file that holds it.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Given in the configuration or environment itself.
    Inline(SecretString),
    /// In this file, without the white space around it.
    File(PathBuf),
}

/// Why a secret can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("`{}` can't be read: put the secret there and make it readable for this user", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is far too long to be a secret.
    #[error("`{}` is longer than 16 KiB, which no secret is", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("`{}` is empty", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in the configuration.
    #[error("it is empty")]
    Empty,
}

impl SecretSource {
    /// A file, with `$CREDENTIALS_DIRECTORY` at its beginning resolved.
    pub fn file(path: &str) -> Self {
        let rest = path.strip_prefix('$').map(|rest| {
            rest.strip_prefix(CREDENTIALS_VARIABLE).or_else(|| rest.strip_prefix("{CREDENTIALS_DIRECTORY}"))
        });
        match (rest.flatten(), std::env::var_os(CREDENTIALS_VARIABLE)) {
            (Some(rest), Some(folder)) => Self::File(Path::new(&folder).join(rest.trim_start_matches('/'))),
            _ => Self::File(PathBuf::from(path)),
        }
    }

    /// The secret, without white space around it and never empty.
    ///
    /// # Errors
    /// Where there is none to be had.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            SecretSource::Inline(secret) => match secret.expose_secret().trim() {
                "" => Err(SecretError::Empty),
                trimmed => Ok(SecretString::from(trimmed)),
            },
            SecretSource::File(path) => {
                let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
                if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_SECRET_BYTES {
                    return Err(SecretError::TooLong { path: path.clone() });
                }
                let text = SecretString::from(std::fs::read_to_string(path).map_err(unreadable)?);
                match text.expose_secret().trim() {
                    "" => Err(SecretError::EmptyFile { path: path.clone() }),
                    trimmed => Ok(SecretString::from(trimmed)),
                }
            }
        }
    }
}
