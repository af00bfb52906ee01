//! Signatures of the Standard Webhooks specification: HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Lengths of a secret that the specification allows, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How far a request's timestamp may be from the receiver's clock.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Why a webhook's secrets can't be used. It quotes no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// It does not begin with `whsec_`.
    #[error("a webhook secret must begin with whsec_ (make one: echo whsec_$(openssl rand -base64 32))")]
    Prefix,
    /// What follows is not base64.
    #[error("what follows whsec_ in a webhook secret must be base64")]
    NotBase64,
    /// It is too short or too long.
    #[error("a webhook secret must hold 24 to 64 bytes, this one holds {0}")]
    Length(usize),
    /// There is none.
    #[error("there is no webhook secret")]
    None,
}

/// The secrets of one webhook; several while they are rotated. Each of them signs every request.
#[derive(Clone)]
pub struct Secrets(Vec<SecretSlice<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} redacted)", self.0.len())
    }
}

impl Secrets {
    /// Reads `whsec_…` secrets separated by white space.
    ///
    /// # Errors
    /// The first one that breaks the specification's rules.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let secrets = text
            .split_whitespace()
            .map(|secret| {
                let encoded = secret.strip_prefix("whsec_").ok_or(WebhookSecretError::Prefix)?;
                let bytes = STANDARD.decode(encoded).map_err(|_| WebhookSecretError::NotBase64)?;
                if !SECRET_BYTES.contains(&bytes.len()) {
                    return Err(WebhookSecretError::Length(bytes.len()));
                }
                Ok(SecretSlice::from(bytes))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() { Err(WebhookSecretError::None) } else { Ok(Self(secrets)) }
    }

    /// What signs, decoded: to be removed from what a receiver says.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }

    /// The value of `webhook-signature`: one `v1,…` for each secret, separated by spaces. `timestamp` is in epoch
    /// seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures: Vec<String> = self
            .0
            .iter()
            .filter_map(|secret| signature(secret.expose_secret(), id, timestamp, body))
            .map(|signature| format!("v1,{}", STANDARD.encode(signature)))
            .collect();
        signatures.join(" ")
    }
}

fn signature(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> Option<Vec<u8>> {
    // HMAC takes keys of any length, so this never fails.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(mac.finalize().into_bytes().to_vec())
}

/// Why a received request is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// `webhook-timestamp` is no number.
    #[error("webhook-timestamp must be whole seconds since 1970")]
    Timestamp,
    /// `webhook-timestamp` is too far from the receiver's clock.
    #[error("webhook-timestamp is {0} seconds from this machine's clock; more than 300 may be a replay")]
    Stale(u64),
    /// No signature has the form `v1,…`.
    #[error("webhook-signature holds no signature of the form v1,<base64>")]
    NoSignature,
    /// None of the signatures fits.
    #[error("no signature fits: is it this webhook's secret, and the body byte for byte as received?")]
    Mismatch,
}

/// Checks a received request as a receiver does. `now` is in epoch seconds; `None` skips the check of age,
/// for a request that was captured earlier.
///
/// # Errors
/// What is wrong with it.
pub fn verify(
    secrets: &Secrets,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Option<i64>,
) -> Result<(), VerifyError> {
    let timestamp: i64 = timestamp.trim().parse().map_err(|_| VerifyError::Timestamp)?;
    if let Some(now) = now {
        let distance = now.abs_diff(timestamp);
        if distance > TOLERANCE.as_secs() {
            return Err(VerifyError::Stale(distance));
        }
    }
    let received: Vec<Vec<u8>> = signatures
        .split_whitespace()
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .collect();
    if received.is_empty() {
        return Err(VerifyError::NoSignature);
    }
    let fits = secrets.0.iter().any(|secret| {
        let expected = signature(secret.expose_secret(), id, timestamp, body).unwrap_or_default();
        received.iter().any(|received| bool::from(received.as_slice().ct_eq(&expected)))
    });
    if fits { Ok(()) } else { Err(VerifyError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the specification publishes.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secrets(text: &str) -> Secrets {
        Secrets::parse(text).unwrap()
    }

    #[test]
    fn the_published_vector_is_met() {
        assert_eq!(secrets(SECRET).sign(ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn the_independent_implementation_accepts_every_signature_while_secrets_rotate() {
        let other = format!("whsec_{}", STANDARD.encode([7_u8; 32]));
        let now = crate::clock::wall_now().as_millis() / 1_000;
        let signed = secrets(&format!("{SECRET} {other}")).sign(ID, now, BODY);
        assert_eq!(signed.split(' ').count(), 2);
        for secret in [SECRET, &other] {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("webhook-id", ID.parse().unwrap());
            headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
            headers.insert("webhook-signature", signed.parse().unwrap());
            standardwebhooks::Webhook::new(secret).unwrap().verify(BODY, &headers).unwrap();
        }
    }

    #[test]
    fn verification_refuses_what_was_changed_or_is_old() {
        let secrets = secrets(SECRET);
        let check =
            |id, timestamp: &str, signature, body, now| verify(&secrets, id, timestamp, signature, body, now);
        let t = TIMESTAMP.to_string();
        assert_eq!(check(ID, &t, SIGNATURE, BODY, None), Ok(()));
        let among_others = format!("v1,AAAA v2,x {SIGNATURE}");
        assert_eq!(check(ID, &t, &among_others, BODY, None), Ok(()));
        assert_eq!(check(ID, &t, SIGNATURE, BODY, Some(TIMESTAMP + 300)), Ok(()));
        assert_eq!(check(ID, &t, SIGNATURE, BODY, Some(TIMESTAMP + 301)), Err(VerifyError::Stale(301)));
        assert_eq!(check("msg_2", &t, SIGNATURE, BODY, None), Err(VerifyError::Mismatch));
        assert_eq!(check(ID, "1614265331", SIGNATURE, BODY, None), Err(VerifyError::Mismatch));
        assert_eq!(check(ID, &t, SIGNATURE, b"{}", None), Err(VerifyError::Mismatch));
        assert_eq!(check(ID, "now", SIGNATURE, BODY, None), Err(VerifyError::Timestamp));
        assert_eq!(check(ID, &t, "g0hM9SsE", BODY, None), Err(VerifyError::NoSignature));
    }

    #[test]
    fn secrets_outside_the_specification_are_refused_without_being_shown() {
        let of_length = |n: usize| Secrets::parse(&format!("whsec_{}", STANDARD.encode(vec![1_u8; n]))).err();
        assert_eq!(of_length(23), Some(WebhookSecretError::Length(23)));
        assert_eq!(of_length(24), None);
        assert_eq!(of_length(64), None);
        assert_eq!(of_length(65), Some(WebhookSecretError::Length(65)));
        assert_eq!(
            Secrets::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").err(),
            Some(WebhookSecretError::Prefix)
        );
        assert_eq!(Secrets::parse("whsec_%%%").err(), Some(WebhookSecretError::NotBase64));
        assert_eq!(Secrets::parse(" \n").err(), Some(WebhookSecretError::None));
        assert!(!format!("{:?}", secrets(SECRET)).contains("MfKQ"));
    }
}
