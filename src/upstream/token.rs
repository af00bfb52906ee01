//! The credentials' tokens: read at the start, read again when their files change.

use std::collections::BTreeMap;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;

use crate::settings::{CredentialSettings, SecretError, SecretSource};

/// Why a credential's token can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("credential `{credential}` has no usable token")]
    Unreadable {
        /// The credential's name.
        credential: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// It can't be sent.
    #[error("credential `{credential}`: the token holds characters that can't stand in an HTTP header")]
    NoHeaderValue {
        /// The credential's name.
        credential: String,
    },
}

/// The current token of each credential. A token shows up in no `Debug` output and no log.
#[derive(Debug, Clone)]
pub struct Tokens {
    tokens: BTreeMap<String, Token>,
}

#[derive(Debug, Clone)]
struct Token {
    source: SecretSource,
    header: HeaderValue,
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
                let header = read_header(&credential.name, &source)?;
                Ok((credential.name.clone(), Token { source, header, is_readable: true }))
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
        Self { tokens: of.map(|(name, token)| (name.clone(), token.clone())).collect() }
    }

    /// The header to send for a credential.
    pub fn header(&self, credential: &str) -> Option<&HeaderValue> {
        self.tokens.get(credential).map(|token| &token.header)
    }

    /// Reads the token files again and answers with the credentials whose token is another one now. Where a
    /// file can't be read, the former token stays in use, and that is logged once.
    pub fn refresh(&mut self) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, token) in &mut self.tokens {
            match read_header(name, &token.source) {
                Ok(header) => {
                    token.is_readable = true;
                    if header != token.header {
                        token.header = header;
                        changed.push(name.clone());
                    }
                }
                Err(err) => {
                    if token.is_readable {
                        tracing::warn!(
                            credential = %name,
                            error = &err as &dyn std::error::Error,
                            "the token of credential {name} can't be read any more; the former one stays in use"
                        );
                    }
                    token.is_readable = false;
                }
            }
        }
        changed
    }
}

fn read_header(credential: &str, source: &SecretSource) -> Result<HeaderValue, TokenError> {
    let secret = source
        .read()
        .map_err(|source| TokenError::Unreadable { credential: credential.to_owned(), source })?;
    let mut header = HeaderValue::from_str(secret.expose_secret())
        .map_err(|_| TokenError::NoHeaderValue { credential: credential.to_owned() })?;
    header.set_sensitive(true);
    Ok(header)
}
