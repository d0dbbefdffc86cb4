//! The bearer token of a listener.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// Whether the request carries the listener's token: in one `authorization` header, never in the URL. No token set lets
/// everybody in.
///
/// The bytes are compared in constant time. A token of another length is refused before that, so how long an answer takes may
/// tell the token's length, which is no secret: what protects a token is that it cannot be guessed byte by byte.
pub fn is_authorized(headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let Some(token) = token else { return true };
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    // Of two it could not be said which one an intermediary looked at.
    let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
    let Some((scheme, sent)) = sent.as_bytes().split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(sent.ct_eq(token.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn sent(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_right_bearer_token_is_let_in() {
        let token = Secret::new("s3cret".to_owned());
        assert!(is_authorized(&sent(&[]), None));
        for scheme in ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"] {
            assert!(is_authorized(&sent(&[scheme]), Some(&token)), "{scheme}: a scheme has no case (RFC 9110, 11.1)");
        }
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer S3cret",
            "Bearer  s3cret",
            "Bearer s3cret ",
            "Bearer \"s3cret\"",
            "Bearer s3cret, Bearer s3cret",
            "Basic s3cret",
            "Bearers3cret",
            "s3cret",
            "Bearer",
            "Bearer ",
            "",
        ] {
            assert!(!is_authorized(&sent(&[wrong]), Some(&token)), "{wrong}");
        }
    }

    #[test]
    fn without_the_header_and_with_two_of_it_nobody_is_let_in() {
        let token = Secret::new("s3cret".to_owned());
        for wrong in
            [&[][..], &["Bearer s3cret", "Bearer s3cret"], &["Basic x", "Bearer s3cret"], &["Bearer s3cret", ""]]
        {
            assert!(!is_authorized(&sent(wrong), Some(&token)), "{wrong:?}");
        }
        let elsewhere =
            HeaderMap::from_iter([(http::header::PROXY_AUTHORIZATION, HeaderValue::from_static("Bearer s3cret"))]);
        assert!(!is_authorized(&elsewhere, Some(&token)));
    }
}
