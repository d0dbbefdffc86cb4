//! Signatures of Standard Webhooks 1.0.0, symmetric (`v1`): HMAC-SHA256 over `{id}.{timestamp}.{body}`.
//!
//! Several secrets give several signatures in one header, so that a secret can be replaced while receivers know only the old one.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

/// The header with the unix seconds of the attempt.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The header with the signatures.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How a secret begins; what follows is the key in base64.
const SECRET_PREFIX: &str = "whsec_";
/// How the private key of an asymmetric signature begins.
const PRIVATE_KEY_PREFIX: &str = "whsk_";
/// A key's length in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is no secret to sign with, as the end of a sentence about it. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// An ed25519 key.
    #[error("is a key for asymmetric signatures (v1a), which are not supported")]
    Asymmetric,
    /// Something else than base64 behind the prefix.
    #[error("is no base64 behind `whsec_`")]
    NoBase64,
    /// A key that is too short or too long.
    #[error("has {0} bytes, and a key has 24 to 64")]
    Length(usize),
}

/// The keys that a webhook signs with.
#[derive(Clone)]
pub struct Signing {
    keys: Vec<hmac::Key>,
}

impl Signing {
    /// Takes the secrets in the order in which their signatures are sent: `whsec_` and base64, or the base64 alone.
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self { keys: keys.into_iter().map(|SigningKey(key)| key).collect() }
    }

    /// Signs a request: sets the two headers. `id` is the delivery's, `now` the time of this attempt, `body` the very bytes that are
    /// sent.
    pub fn sign(&self, headers: &mut HeaderMap, id: &HeaderValue, now: Timestamp, body: &[u8]) {
        // Only where secrets are made up or masked is there none: what is then made is looked at and not sent.
        if self.keys.is_empty() {
            return;
        }
        let timestamp = HeaderValue::from(now.as_second());
        let mut signatures = String::new();
        for key in &self.keys {
            let mut context = hmac::Context::with_key(key);
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                context.update(part);
            }
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str("v1,");
            STANDARD.encode_string(context.sign().as_ref(), &mut signatures);
        }
        headers.insert(WEBHOOK_TIMESTAMP, timestamp);
        // Base64 and blanks are fit for a header, whatever is signed.
        if let Ok(mut signatures) = HeaderValue::try_from(signatures) {
            signatures.set_sensitive(true);
            headers.insert(WEBHOOK_SIGNATURE, signatures);
        }
    }
}

/// One secret, ready to sign with.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Reads a secret.
    pub fn parse(secret: &str) -> Result<Self, SecretError> {
        if secret.starts_with(PRIVATE_KEY_PREFIX) {
            return Err(SecretError::Asymmetric);
        }
        let encoded = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let key = zeroize::Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::NoBase64)?);
        if !KEY_BYTES.contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").field("keys", &self.keys.len()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    /// The reference vector of Standard Webhooks.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn signed(secrets: &[&str], body: &[u8]) -> HeaderMap {
        let signing = Signing::new(secrets.iter().map(|secret| SigningKey::parse(secret).unwrap()).collect());
        let mut headers = HeaderMap::new();
        let id = HeaderValue::from_static("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
        signing.sign(&mut headers, &id, Timestamp::from_second(1_649_367_553).unwrap(), body);
        headers
    }

    #[test]
    fn the_reference_vector_is_signed_as_the_standard_says() {
        let headers = signed(&[SECRET], BODY);
        assert_eq!(headers[WEBHOOK_TIMESTAMP], "1649367553");
        assert_eq!(headers[WEBHOOK_SIGNATURE], SIGNATURE);
        assert!(headers[WEBHOOK_SIGNATURE].is_sensitive());
        assert_ne!(signed(&[SECRET], b"{}")[WEBHOOK_SIGNATURE], SIGNATURE);
    }

    #[test]
    fn several_secrets_give_several_signatures_in_their_order() {
        let other = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let both = signed(&[other, SECRET], BODY);
        let signatures: Vec<&str> = both[WEBHOOK_SIGNATURE].to_str().unwrap().split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures[0], signed(&[other], BODY)[WEBHOOK_SIGNATURE]);
        assert_eq!(signatures[1], SIGNATURE);
    }

    #[test]
    fn a_secret_is_base64_of_24_to_64_bytes() {
        let error = |secret: &str| SigningKey::parse(secret).err();
        assert_eq!(error("C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), None, "the prefix may be left out");
        assert_eq!(error("whsec_not base64!"), Some(SecretError::NoBase64));
        assert_eq!(error("whsec_"), Some(SecretError::Length(0)));
        assert_eq!(error(&format!("whsec_{}", STANDARD.encode([7; 23]))), Some(SecretError::Length(23)));
        assert_eq!(error(&format!("whsec_{}", STANDARD.encode([7; 64]))), None);
        assert_eq!(error(&format!("whsec_{}", STANDARD.encode([7; 65]))), Some(SecretError::Length(65)));
        assert_eq!(error("whsk_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), Some(SecretError::Asymmetric));
        let signing = Signing::new(vec![SigningKey::parse(SECRET).unwrap()]);
        assert_eq!(format!("{signing:?}"), "Signing { keys: 1 }");
    }
}
