//! OAuth 2.0 client credentials (RFC 6749, 4.4): the request for a token and what its answer means. Pure: who sends it and keeps
//! the token is the client's to know.
//!
//! The client proves who it is by its secret in a header or in the form (RFC 6749, 2.3.1), or by an assertion that it signs with its
//! private key (RFC 7523, `private_key_jwt` of `OpenID` Connect; Okta takes nothing else for its workflows).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::delivery::{Failure, Reason};
use crate::secret::Secret;

use super::judge::retry_after;
use super::tls::Tls;

/// What an assertion is, in a request for a token (RFC 7523, 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion is valid; some servers take no more than an hour.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(5);
/// How long a token lives whose answer does not say so.
const LIFETIME_DEFAULT: Duration = Duration::from_mins(5);
/// The longest life of a token that is believed.
const LIFETIME_MAX: Duration = Duration::from_hours(24);
/// The longest token, in bytes: it goes into a header.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The longest error code that a message repeats.
const ERROR_CODE_BYTES_MAX: usize = 64;
/// What a form leaves as it is.
const FORM_KEEPS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// Parameters of the request that have keys of their own.
pub const OWN_PARAMETERS: [&str; 7] =
    ["grant_type", "scope", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// `auth.oauth2` of a webhook.
pub struct Grant {
    /// The token endpoint, whole. All beyond its host is secret.
    pub uri: Uri,
    /// Who asks.
    pub client_id: Secret,
    /// How it proves that.
    pub proof: Proof,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// Whom the token is for, where the server wants to know.
    pub audience: Option<String>,
    /// Further parameters of the request, in the order of the file.
    pub parameters: Vec<(String, Secret)>,
    /// How the token endpoint is spoken to.
    pub tls: Arc<Tls>,
    /// The name under which a token is kept; see [`Grant::name`].
    pub identity: [u8; 32],
}

/// How a client proves who it is.
pub enum Proof {
    /// `client_secret_basic`.
    Basic(Secret),
    /// `client_secret_post`.
    Post(Secret),
    /// `private_key_jwt`.
    PrivateKey {
        /// What signs; `None` where the key was not there when the configuration was loaded.
        key: Option<Arc<AssertionKey>>,
        /// The key's name at the server, `kid`.
        key_id: Option<String>,
        /// `aud` of the assertion; the token endpoint where there is none.
        audience: Option<String>,
    },
}

/// A private key that signs assertions.
pub struct AssertionKey {
    key: EncodingKey,
    algorithm: Algorithm,
}

/// A text is no private key that can sign an assertion. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds no PEM private key that can sign (RSA of 2048 bits or more, or ECDSA P-256 as PKCS#8; not encrypted)")]
pub struct KeyError;

impl AssertionKey {
    /// Reads a PEM key, RSA for RS256 or P-256 for ES256, and tries it.
    pub fn parse(pem: &Secret) -> Result<Self, KeyError> {
        let bytes = pem.expose().as_bytes();
        let rsa = EncodingKey::from_rsa_pem(bytes).map(|key| Self { key, algorithm: Algorithm::RS256 });
        let key = rsa.or_else(|_| EncodingKey::from_ec_pem(bytes).map(|key| Self { key, algorithm: Algorithm::ES256 }));
        let key = key.map_err(|_| KeyError)?;
        key.sign(None, &json!({})).map_err(|_| KeyError)?;
        Ok(key)
    }

    fn sign(&self, key_id: Option<&str>, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid: key_id.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key)
    }
}

/// A token as it was given out.
pub struct Token {
    /// `Bearer` and the token, as a header has it.
    pub header: HeaderValue,
    /// The token alone, to be masked.
    pub secret: Secret,
    /// How long it lives from now on.
    pub lifetime: Duration,
}

impl Grant {
    /// The name of what decides the request: grants of one name can share a token.
    #[must_use]
    pub fn name(parts: &[&str]) -> [u8; 32] {
        // Each part after its length, so that what is hashed can be read in one way only.
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut name = [0; 32];
        name.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        name
    }

    /// The token endpoint's host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// The secrets that it holds, the private key aside, which no server could repeat.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let secret = match &self.proof {
            Proof::Basic(secret) | Proof::Post(secret) => Some(secret),
            Proof::PrivateKey { .. } => None,
        };
        std::iter::once(&self.client_id).chain(secret).chain(self.parameters.iter().map(|(_, value)| value))
    }

    /// The request for a token: headers and form. `now` is the time, `id` a text that no other assertion has.
    pub fn request(&self, now: Timestamp, id: &str) -> Result<(HeaderMap, Bytes), Failure> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut form = Form(String::from("grant_type=client_credentials"));
        if !self.scopes.is_empty() {
            form.add("scope", &self.scopes.join(" "));
        }
        if let Some(audience) = &self.audience {
            form.add("audience", audience);
        }
        let client_id = self.client_id.expose();
        match &self.proof {
            Proof::Basic(secret) => {
                let pair = Secret::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
                let credentials = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
                let mut value = HeaderValue::from_str(credentials.expose())
                    .map_err(|_| self.refused("the client's secret is no header value"))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            Proof::Post(secret) => {
                form.add("client_id", client_id);
                form.add("client_secret", secret.expose());
            }
            Proof::PrivateKey { key, key_id, audience } => {
                let endpoint = self.uri.to_string();
                let expires = now.as_second().saturating_add(ASSERTION_LIFETIME.as_secs().cast_signed());
                let claims = json!({
                    "iss": client_id,
                    "sub": client_id,
                    "aud": audience.as_ref().unwrap_or(&endpoint),
                    "iat": now.as_second(),
                    "exp": expires,
                    "jti": id,
                });
                let Some(key) = key else { return Err(self.refused("its private key was not there to be read")) };
                let assertion = key
                    .sign(key_id.as_deref(), &claims)
                    .map_err(|_| self.refused("the client's assertion cannot be signed"))?;
                form.add("client_assertion_type", ASSERTION_TYPE);
                form.add("client_assertion", &assertion);
            }
        }
        for (name, value) in &self.parameters {
            form.add(name, value.expose());
        }
        Ok((headers, Bytes::from(form.0)))
    }

    /// What an answer comes to: a token, or why there is none. `truncated` says that there was more of the body.
    pub fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        truncated: bool,
        now: Timestamp,
    ) -> Result<Token, Failure> {
        let answer: Value = if truncated { Value::Null } else { serde_json::from_slice(body).unwrap_or_default() };
        if status.is_success() {
            return self.token(&answer);
        }
        let code = answer["error"].as_str().filter(|code| is_error_code(code));
        let code = code.map(|code| format!(" {code}")).unwrap_or_default();
        let detail = format!("the token endpoint {} answered {}{code}", self.host(), status.as_u16());
        // The status is the endpoint's: what `retry.statuses` says is about the target's.
        if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
            let retry_after = retry_after(headers, now);
            return Err(Failure { retry_after, ..Failure::new(Reason::TokenUnavailable, detail) });
        }
        Err(Failure::new(Reason::TokenRefused, detail))
    }

    fn token(&self, answer: &Value) -> Result<Token, Failure> {
        let kind = answer["token_type"].as_str().unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(self.refused("it gave out a token that is no bearer token"));
        }
        let Some(token) = answer["access_token"].as_str() else {
            return Err(self.refused("its answer holds no access_token"));
        };
        let secret = Secret::new(token.to_owned());
        let fit = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = Secret::new(format!("Bearer {token}"));
        let header = HeaderValue::from_str(header.expose()).ok().filter(|_| fit);
        let Some(mut header) = header else { return Err(self.refused("its access_token cannot stand in a header")) };
        header.set_sensitive(true);
        let seconds = match &answer["expires_in"] {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let lifetime = seconds.map_or(Some(LIFETIME_DEFAULT), |seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Token { header, secret, lifetime: lifetime.unwrap_or_default().min(LIFETIME_MAX) })
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new(Reason::TokenRefused, format!("no token of the token endpoint {}: {why}", self.host()))
    }
}

/// Whether a text is an error code as RFC 6749 lists them, so that it can be repeated.
fn is_error_code(code: &str) -> bool {
    (1..=ERROR_CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        for part in ["&", &encoded(name), "=", &encoded(value)] {
            self.0.push_str(part);
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM_KEEPS).to_string()
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("host", &self.host()).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
