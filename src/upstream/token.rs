//! The credentials' tokens: read at the start, and again while the daemon runs, so that a changed file is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use crate::domain::redact::Redactor;
use crate::secret::{SecretError, SecretSource};
use crate::settings::CredentialSettings;

/// Why a credential's token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("credential `{credential}` has no usable token ({key})")]
    Unreadable {
        /// The credential's name.
        credential: String,
        /// The key that names it.
        key: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// It can't be sent.
    #[error(
        "credential `{credential}`: {place} holds characters that can't stand in an HTTP header: put the token there alone, on one line"
    )]
    NoHeaderValue {
        /// The credential's name.
        credential: String,
        /// The key, and the file if there is one.
        place: String,
    },
}

/// The current token of each credential. A token shows up in no `Debug` output and no log.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokens: BTreeMap<String, Current>,
}

/// A token to send, and to take out of answers again.
#[derive(Debug, Clone)]
pub struct Token {
    pub(super) header: HeaderValue,
    pub(super) redactor: Arc<Redactor>,
}

#[derive(Debug, Clone)]
struct Current {
    source: SecretSource,
    token: Token,
    is_readable: bool,
}

impl Tokens {
    /// Reads the tokens of all credentials.
    ///
    /// # Errors
    /// The first one that can't be used.
    pub fn read(credentials: &[CredentialSettings]) -> Result<Self, TokenError> {
        let tokens = credentials
            .iter()
            .map(|credential| {
                let source = credential.token.clone();
                let token = Token::read(&credential.name, &source)?;
                Ok((credential.name.clone(), Current { source, token, is_readable: true }))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { tokens })
    }

    /// The credentials' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tokens.keys().map(String::as_str)
    }

    /// The tokens of these credentials alone.
    pub fn of(&self, credentials: &[String]) -> Self {
        let of = self.tokens.iter().filter(|(name, _)| credentials.contains(name));
        Self { tokens: of.map(|(name, current)| (name.clone(), current.clone())).collect() }
    }

    /// The token to send for a credential.
    pub fn get(&self, credential: &str) -> Option<&Token> {
        self.tokens.get(credential).map(|current| &current.token)
    }

    /// Reads the token files again. Returns the credentials whose token has changed. If a file can't be read, the
    /// former token stays in use, and that is logged once.
    pub fn refresh(&mut self) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, current) in &mut self.tokens {
            match read_header(name, &current.source) {
                Ok(header) => {
                    current.is_readable = true;
                    if header != current.token.header {
                        current.token = Token::of(header);
                        changed.push(name.clone());
                    }
                }
                Err(err) => {
                    if current.is_readable {
                        tracing::warn!(
                            credential = %name,
                            error = &err as &dyn std::error::Error,
                            "the token of credential {name} can't be read any more; the former one stays in use"
                        );
                    }
                    current.is_readable = false;
                }
            }
        }
        changed
    }
}

impl Token {
    fn read(credential: &str, source: &SecretSource) -> Result<Self, TokenError> {
        read_header(credential, source).map(Self::of)
    }

    fn of(header: HeaderValue) -> Self {
        let redactor = Arc::new(Redactor::new([header.as_bytes()]));
        Self { header, redactor }
    }
}

fn read_header(credential: &str, source: &SecretSource) -> Result<HeaderValue, TokenError> {
    let secret = source.read().map_err(|err| TokenError::Unreadable {
        credential: credential.to_owned(),
        key: source.key("credentials[].token"),
        source: err,
    })?;
    let mut header =
        HeaderValue::from_str(secret.expose_secret()).map_err(|_| TokenError::NoHeaderValue {
            credential: credential.to_owned(),
            place: source.place("credentials[].token"),
        })?;
    header.set_sensitive(true);
    Ok(header)
}
