//! Where a secret is, and reading it. A secret's value is in no error and no `Debug` output.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::file;

/// Longest secret that is read. Tokens and sets of webhook secrets are far shorter.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// What a path may begin with to mean systemd's folder of credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// A secret given in the configuration, or the file that holds it.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Given in the configuration or environment itself.
    Inline(SecretString),
    /// In this file, without the white space and byte order marks around it.
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
    /// It is named by `$CREDENTIALS_DIRECTORY`, which is not set.
    #[error(
        "`{}` can't be read, because CREDENTIALS_DIRECTORY is not set: systemd sets it for its services alone; for a command \
         set it to the folder with the secrets",
        path.display()
    )]
    NoCredentialsFolder {
        /// As configured.
        path: PathBuf,
    },
    /// It is a pipe or a device.
    #[error("`{}` is no file: a secret is read from a file again and again, so that a new one is noticed", path.display())]
    NoFile {
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
        match (after_credentials_variable(path), std::env::var_os(CREDENTIALS_VARIABLE)) {
            (Some(rest), Some(folder)) => Self::File(Path::new(&folder).join(rest.trim_start_matches('/'))),
            _ => Self::File(PathBuf::from(path)),
        }
    }

    /// The key that names it. `key` is the one of a secret in the configuration itself.
    pub fn key(&self, key: &str) -> String {
        match self {
            SecretSource::Inline(_) => key.to_owned(),
            SecretSource::File(_) => format!("{key}_file"),
        }
    }

    /// As [`SecretSource::key`], with the file if there is one.
    pub fn place(&self, key: &str) -> String {
        match self {
            SecretSource::Inline(_) => key.to_owned(),
            SecretSource::File(path) => format!("{key}_file `{}`", path.display()),
        }
    }

    /// The secret, without white space and byte order marks around it and never empty.
    ///
    /// # Errors
    /// If it can't be read, or nothing is in it.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            SecretSource::Inline(secret) => match trimmed(secret.expose_secret()) {
                "" => Err(SecretError::Empty),
                trimmed => Ok(SecretString::from(trimmed)),
            },
            SecretSource::File(path) => {
                let unreadable = |source| match path.to_str().and_then(after_credentials_variable) {
                    // Otherwise its value would be there.
                    Some(_) => SecretError::NoCredentialsFolder { path: path.clone() },
                    None => SecretError::Unreadable { path: path.clone(), source },
                };
                let found = std::fs::metadata(path).map_err(unreadable)?;
                // The daemon reads it again every second, but a pipe can be read only once.
                if !found.is_file() && !found.is_dir() {
                    return Err(SecretError::NoFile { path: path.clone() });
                }
                let text = SecretString::from(file::read_text(path, MAX_SECRET_BYTES).map_err(unreadable)?);
                match trimmed(text.expose_secret()) {
                    "" => Err(SecretError::EmptyFile { path: path.clone() }),
                    trimmed => Ok(SecretString::from(trimmed)),
                }
            }
        }
    }
}

/// What follows the variable at the beginning of a path.
fn after_credentials_variable(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('$')?;
    rest.strip_prefix(CREDENTIALS_VARIABLE).or_else(|| rest.strip_prefix("{CREDENTIALS_DIRECTORY}"))
}

/// Without what editors and shells put around a text: line ends, spaces, and the byte order mark of some.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_put_around_a_secret_is_no_part_of_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("secret");
        for text in [
            "1.abc",
            "1.abc\n",
            "1.abc\r\n",
            "\u{feff}1.abc\r\n",
            " \u{feff} 1.abc\u{a0}\n\n",
            "1.abc\u{feff}",
        ] {
            std::fs::write(&file, text).unwrap();
            for source in [SecretSource::File(file.clone()), SecretSource::Inline(text.into())] {
                assert_eq!(source.read().unwrap().expose_secret(), "1.abc", "{text:?}");
            }
        }
        for nothing in ["", "\u{feff}", " \r\n"] {
            std::fs::write(&file, nothing).unwrap();
            assert!(matches!(SecretSource::File(file.clone()).read(), Err(SecretError::EmptyFile { .. })));
            assert!(matches!(SecretSource::Inline(nothing.into()).read(), Err(SecretError::Empty)));
        }
    }
}
