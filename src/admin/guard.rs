//! Who may ask what of the admin listener. Programs of this machine and holders of the token may; web pages may not.
//!
//! A browser lets a page of any origin send requests to loopback. It shows the page no answer, since this listener never
//! sends a CORS header, but a plain `POST` would have done its work by then. So what changes something needs a header that
//! such a page cannot send without asking beforehand, and `Host` has to be loopback's, because a page may give its own name
//! loopback's address (DNS rebinding).

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::config::Listen;
use crate::secret::Secret;
use crate::server::bearer::is_authorized;
use crate::server::problem::Problem;

/// What a request that changes something carries, with any value, where there is no token.
pub const REQUEST_HEADER: HeaderName = HeaderName::from_static("outrigger-request");

/// What a browser says of where a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// From where the listener that was bound can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine, browsers included.
    Loopback,
    /// From this machine, by whoever may open the socket.
    Socket,
    /// From elsewhere.
    Beyond,
}

impl Reach {
    /// The reach of what a listener is bound to.
    #[must_use]
    pub fn of(listen: &Listen) -> Self {
        match listen {
            Listen::Tcp(address) if address.ip().is_loopback() => Self::Loopback,
            Listen::Tcp(_) => Self::Beyond,
            Listen::Unix(_) => Self::Socket,
        }
    }
}

/// Lets a request in, or says why not.
pub(super) fn guard(method: &Method, headers: &HeaderMap, reach: Reach, token: Option<&Secret>) -> Result<(), Problem> {
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    if is_of_another_origin(headers, host) {
        let detail =
            "this request comes from a web page of another origin; use `outrigger` on the command line, or curl";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    match (token, reach) {
        // Whoever knows the token is no page that found its way here by chance.
        (Some(_), _) => return if is_authorized(headers, token) { Ok(()) } else { Err(Problem::unauthorized()) },
        // An edit took the token away, while the listener stays where it is until a restart.
        (None, Reach::Beyond) => {
            let detail =
                "this listener is bound beyond loopback and its token is gone: set `admin.token` again, or restart";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        (None, Reach::Loopback) if !host.is_some_and(is_loopback) => {
            let detail =
                "the `host` header names no loopback address; ask for http://127.0.0.1:PORT or http://localhost:PORT";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        (None, Reach::Loopback | Reach::Socket) => {}
    }
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !headers.contains_key(REQUEST_HEADER) {
        let detail =
            format!("what changes something needs the header `{REQUEST_HEADER}: 1` or the token of `admin.token`");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whether a browser says that a page of another origin asks.
fn is_of_another_origin(headers: &HeaderMap, host: Option<&[u8]>) -> bool {
    let foreign = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        !authority.zip(host).is_some_and(|(authority, host)| host.eq_ignore_ascii_case(authority.as_bytes()))
    };
    let elsewhere = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
    headers.get_all(ORIGIN).iter().any(foreign) || headers.get_all(SEC_FETCH_SITE).iter().any(elsewhere)
}

/// Whether a `Host` header is `localhost` or a loopback address, with any port.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let port_fits = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let name_fits = if host.starts_with('[') {
        name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    } else {
        name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    };
    port_fits && name_fits
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    /// The status of the refusal; 0 lets in.
    fn asked(method: &str, lines: &[&str], reach: Reach, token: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let token = token.map(|token| Secret::new(token.to_owned()));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        guard(&method, &headers, reach, token.as_ref()).map_or_else(|problem| problem.status().as_u16(), |()| 0)
    }

    #[test]
    fn programs_of_this_machine_and_holders_of_the_token_come_in_and_web_pages_do_not() {
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
            ("POST", &[HERE, TOKEN], Reach::Loopback, None, 403),
            ("GET", &[], Reach::Loopback, None, 421),
            ("GET", &["host: evil.example"], Reach::Loopback, None, 421),
            ("POST", &["host: evil.example", MARK], Reach::Loopback, None, 421),
            ("GET", &["host: anything"], Reach::Socket, None, 0),
            ("POST", &["host: anything"], Reach::Socket, None, 403),
            ("POST", &["host: anything", MARK], Reach::Socket, None, 0),
            // Pages.
            ("POST", &[HERE, MARK, "origin: https://evil.example"], Reach::Loopback, None, 403),
            ("POST", &[HERE, MARK, "origin: null"], Reach::Loopback, None, 403),
            ("POST", &[HERE, MARK, "origin: http://127.0.0.1:9999"], Reach::Loopback, None, 403),
            ("POST", &[HERE, MARK, "origin: http://127.0.0.1:8461"], Reach::Loopback, None, 0),
            (
                "POST",
                &[HERE, MARK, "origin: http://127.0.0.1:8461", "origin: https://e.example"],
                Reach::Loopback,
                None,
                403,
            ),
            ("OPTIONS", &[HERE, "origin: https://evil.example"], Reach::Loopback, None, 403),
            ("GET", &[HERE, "sec-fetch-site: cross-site"], Reach::Loopback, None, 403),
            ("GET", &[HERE, "sec-fetch-site: same-site"], Reach::Loopback, None, 403),
            ("GET", &[HERE, "sec-fetch-site: same-origin"], Reach::Loopback, None, 0),
            ("GET", &[HERE, "sec-fetch-site: none"], Reach::Loopback, None, 0),
            ("GET", &["host: evil.example", "origin: http://evil.example"], Reach::Loopback, None, 421),
            // With a token.
            ("GET", &[HERE], Reach::Loopback, Some("t"), 401),
            ("POST", &[HERE, MARK], Reach::Loopback, Some("t"), 401),
            ("POST", &[HERE, TOKEN], Reach::Loopback, Some("t"), 0),
            ("POST", &["host: outrigger.svc:8461", TOKEN], Reach::Beyond, Some("t"), 0),
            ("POST", &[HERE, "authorization: Bearer tt"], Reach::Beyond, Some("t"), 401),
            ("POST", &[HERE, TOKEN, "origin: https://evil.example"], Reach::Beyond, Some("t"), 403),
            ("GET", &[HERE], Reach::Beyond, None, 403),
        ];
        for (method, headers, reach, token, status) in cases {
            assert_eq!(asked(method, headers, *reach, *token), *status, "{method} {headers:?} {reach:?} {token:?}");
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.9.9.9:8461", "[::1]", "[::1]:8461"] {
            assert!(is_loopback(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8461",
            "128.0.0.1",
            "0.0.0.0",
            "::1",
            "[::2]",
            "[::1",
            "[::1]x",
            "localhost:",
            "localhost:x",
            "127.1",
            "2130706433",
            "[127.0.0.1]",
            "a@localhost",
            "a@127.0.0.1:8461",
            "localhost.",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[::1%lo]",
            "127.0.0.1,evil.example",
            "127.0.0.1 evil.example",
            "127.0.0.1:8461:80",
        ] {
            assert!(!is_loopback(host.as_bytes()), "{host}");
        }
    }
}
