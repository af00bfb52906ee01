//! The bearer token that guards the API and the pages.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::{SecretError, SecretSource};

/// How long a token is used before its file is read again.
const REREAD_AFTER: Duration = Duration::from_secs(1);

/// Why the token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpTokenError {
    /// It can't be read.
    #[error("http.token_file: there is no usable token")]
    Unreadable(#[source] SecretError),
    /// No client could send it.
    #[error(
        "http.token_file: the token must be one line of visible ASCII characters without spaces, or no client can send it"
    )]
    NotSendable,
    /// It could be guessed.
    #[error(
        "http.token_file: the token is too short: other machines reach http.listen, so it must have at least {min_bytes} \
         characters, as `openssl rand -hex 32` gives them"
    )]
    TooShort {
        /// How long it must be.
        min_bytes: usize,
    },
}

fn read(source: &SecretSource, min_bytes: usize) -> Result<SecretString, HttpTokenError> {
    let secret = source.read().map_err(HttpTokenError::Unreadable)?;
    let text = secret.expose_secret();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(HttpTokenError::NotSendable)
    } else if text.len() < min_bytes {
        Err(HttpTokenError::TooShort { min_bytes })
    } else {
        Ok(secret)
    }
}

/// The configured token. A changed file takes effect within a second.
#[derive(Debug)]
pub struct HttpToken {
    source: SecretSource,
    min_bytes: usize,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    secret: SecretString,
    read_at: Instant,
    is_readable: bool,
}

impl HttpToken {
    /// Reads the token, which must have at least `min_bytes` characters.
    ///
    /// # Errors
    /// If there is no token, or one that can't be used.
    pub fn read(source: SecretSource, min_bytes: usize) -> Result<Self, HttpTokenError> {
        let secret = read(&source, min_bytes)?;
        let current = Mutex::new(Current { secret, read_at: Instant::now(), is_readable: true });
        Ok(Self { source, min_bytes, current })
    }

    /// Whether this `Authorization` header bears the token: as `Bearer TOKEN`, or as the password of `Basic`, which is
    /// what browsers send.
    pub fn admits(&self, authorization: &str) -> bool {
        let Some((scheme, rest)) = authorization.trim().split_once(' ') else { return false };
        let offered = if scheme.eq_ignore_ascii_case("bearer") {
            Some(rest.trim().to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            text.and_then(|text| text.split_once(':').map(|(_, password)| password.to_owned()))
        } else {
            None
        };
        offered.is_some_and(|offered| self.is(&offered))
    }

    fn is(&self, offered: &str) -> bool {
        let current = self.current();
        // Comparing digests takes the same time for every token, whatever its length.
        let (offered, wanted) =
            (Sha256::digest(offered.as_bytes()), Sha256::digest(current.secret.expose_secret().as_bytes()));
        offered.as_slice().ct_eq(wanted.as_slice()).into()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.read_at.elapsed() >= REREAD_AFTER {
            current.read_at = Instant::now();
            match read(&self.source, self.min_bytes) {
                Ok(secret) => {
                    current.secret = secret;
                    current.is_readable = true;
                }
                Err(err) => {
                    if std::mem::take(&mut current.is_readable) {
                        let error = &err as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            "http.token_file holds no usable token any more; the former one stays in use"
                        );
                    }
                }
            }
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_admitted_and_only_as_bearer_or_password() {
        let token = HttpToken::read(SecretSource::Inline("s3cret".into()), 1).unwrap();
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        for (header, admitted) in [
            ("Bearer s3cret".to_owned(), true),
            ("bearer  s3cret ".to_owned(), true),
            (basic("anyone:s3cret"), true),
            (basic(":s3cret"), true),
            ("Bearer s3cre".to_owned(), false),
            ("Bearer s3crett".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer".to_owned(), false),
            ("s3cret".to_owned(), false),
            ("Token s3cret".to_owned(), false),
            (basic("s3cret:"), false),
            (basic("s3cret"), false),
            ("Basic !!!".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(token.admits(&header), admitted, "{header}");
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_missing_one_changes_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let token = HttpToken::read(SecretSource::File(file.clone()), 5).unwrap();
        let age = || token.current.lock().unwrap().read_at = Instant::now() - REREAD_AFTER;
        std::fs::write(&file, "second\n").unwrap();
        age();
        assert!(token.admits("Bearer second") && !token.admits("Bearer first"));
        std::fs::write(&file, "two\nlines\n").unwrap();
        age();
        assert!(token.admits("Bearer second"), "what no client can send is no new token");
        std::fs::write(&file, "x\n").unwrap();
        age();
        assert!(token.admits("Bearer second") && !token.admits("Bearer x"), "nor is what could be guessed");
        std::fs::remove_file(&file).unwrap();
        age();
        assert!(token.admits("Bearer second"));
    }
}
