//! The bearer token of a listener.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// Whether the request carries the listener's token, compared in constant time. No token set lets everybody in.
pub fn is_authorized(headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let Some(token) = token else { return true };
    let sent = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let Some((scheme, sent)) = sent.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(sent.ct_eq(token.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_right_bearer_token_is_let_in() {
        let token = Secret::new("s3cret".to_owned());
        let sent = |value: &'static str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        assert!(is_authorized(&HeaderMap::new(), None));
        assert!(is_authorized(&sent("Bearer s3cret"), Some(&token)));
        assert!(is_authorized(&sent("bearer s3cret"), Some(&token)));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer", ""] {
            assert!(!is_authorized(&sent(wrong), Some(&token)), "{wrong}");
        }
        assert!(!is_authorized(&HeaderMap::new(), Some(&token)));
    }
}
