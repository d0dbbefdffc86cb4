//! Who may ask what of the admin listener: whom its [`Guard`] lets in, and for what changes something no browser at all.
//!
//! What changes something needs a header that a page of another origin cannot send without asking beforehand, and a browser that
//! asks gets no permission. It holds also where a browser says nothing of where a request comes from, as very old ones do:
//! what is dropped, replayed or ended here is worth a second lock.

use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};

use crate::secret::Secret;
use crate::server::guard::Guard;
use crate::server::problem::Problem;

/// What a request that changes something carries, with any value, where there is no token.
pub const REQUEST_HEADER: HeaderName = HeaderName::from_static("outrigger-request");

/// Lets a request in, or says why not.
pub(super) fn admit(guard: Guard, method: &Method, headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Problem> {
    guard.admit(headers, token)?;
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && token.is_none() && !headers.contains_key(REQUEST_HEADER) {
        let detail =
            format!("what changes something needs the header `{REQUEST_HEADER}: 1` or the token of `admin.token`");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::server::guard::Reach;

    /// The status of the refusal; 0 lets in.
    fn asked(method: &str, lines: &[&str], reach: Reach, token: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let token = token.map(|token| Secret::new(token.to_owned()));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let admitted = admit(Guard::new("admin", reach), &method, &headers, token.as_ref());
        admitted.map_or_else(|problem| problem.status().as_u16(), |()| 0)
    }

    #[test]
    fn what_changes_something_needs_the_header_or_the_token_and_opens_no_other_door() {
        const HERE: &str = "host: 127.0.0.1:8461";
        const MARK: &str = "outrigger-request: 1";
        const TOKEN: &str = "authorization: Bearer t";
        type Case<'c> = (&'c str, &'c [&'c str], Reach, Option<&'c str>, u16);
        let cases: &[Case<'_>] = &[
            ("GET", &[HERE], Reach::Loopback, None, 0),
            ("HEAD", &[HERE], Reach::Loopback, None, 0),
            ("POST", &[HERE, MARK], Reach::Loopback, None, 0),
            ("POST", &[HERE], Reach::Loopback, None, 403),
            ("DELETE", &[HERE], Reach::Loopback, None, 403),
            ("FROBNICATE", &[HERE], Reach::Loopback, None, 403),
            ("POST", &[HERE, TOKEN], Reach::Loopback, None, 403),
            ("GET", &[MARK], Reach::Loopback, None, 421),
            ("POST", &["host: evil.example", MARK], Reach::Loopback, None, 421),
            ("POST", &[HERE, MARK, "origin: https://evil.example"], Reach::Loopback, None, 403),
            ("OPTIONS", &[HERE, "origin: https://evil.example"], Reach::Loopback, None, 403),
            ("OPTIONS", &[HERE], Reach::Loopback, None, 0),
            ("POST", &["host: anything"], Reach::Socket, None, 403),
            ("POST", &["host: anything", MARK], Reach::Socket, None, 0),
            ("POST", &[HERE, MARK], Reach::Loopback, Some("t"), 401),
            ("POST", &[HERE, TOKEN], Reach::Loopback, Some("t"), 0),
        ];
        for (method, headers, reach, token, status) in cases {
            assert_eq!(asked(method, headers, *reach, *token), *status, "{method} {headers:?} {reach:?} {token:?}");
        }
    }
}
