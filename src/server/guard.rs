//! Who is let in at ingest and admin: programs of this machine and holders of the token. Web pages are not.
//!
//! A browser lets a page of any origin send requests to loopback. It shows the page no answer, since no listener ever sends a
//! CORS header, but a plain `POST` would have done its work by then: a `Blob` without a type goes out without a content type
//! and without asking beforehand. Two things give a page away. The browser says where it comes from: it gives every request
//! but GET and HEAD an `Origin` (the Fetch standard, "append a request `Origin` header"), and those of today give all of them
//! `Sec-Fetch-Site` (Fetch Metadata). And a page that has its own name point to loopback (DNS rebinding) is of the listener's
//! origin for the browser, but asks for that name: so `Host` has to be loopback's where there is no token. Who brings the
//! token is no page that found its way here by chance, and none reaches a Unix socket: there `Host` may be anything.
//!
//! The metrics listener has no such guard: what it answers is read-only and without secrets.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::config::Listen;
use crate::secret::Secret;
use crate::server::bearer::is_authorized;
use crate::server::problem::Problem;

/// What a browser says of where a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How the browser asks: `navigate` where the answer is shown in place of a page.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// What for: `document` for a window or tab of its own, and another word for a frame.
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

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

/// What every request of a listener has to pass. Letting one in allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    listener: &'static str,
    reach: Reach,
}

impl Guard {
    /// The guard of a listener with this table in `outrigger.toml`.
    #[must_use]
    pub const fn new(listener: &'static str, reach: Reach) -> Self {
        Self { listener, reach }
    }

    /// Lets a request in, or says why not: 403, 421, or 401 where the token is not the one in force.
    pub fn admit(self, headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Problem> {
        if is_of_another_origin(headers) {
            return Err(of_another_origin());
        }
        if token.is_some() && !is_authorized(headers, token) {
            return Err(Problem::unauthorized());
        }
        self.admit_host(headers, token)
    }

    /// Lets a request for a file in that is the same for everybody and no secret: a browser opens the page without the token,
    /// and by a link of another page. Scripts and frames of other origins get nothing here either.
    pub fn admit_file(self, headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Problem> {
        if is_of_another_origin(headers) && !opens_a_window(headers) {
            return Err(of_another_origin());
        }
        self.admit_host(headers, token)
    }

    /// Whether the listener may be asked by this name. Who has to bring the token may use any.
    fn admit_host(self, headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Problem> {
        match (token, self.reach) {
            // An edit took the token away, while the listener stays where it is until a restart.
            (None, Reach::Beyond) => {
                let listener = self.listener;
                let detail = format!(
                    "this listener is bound beyond loopback and its token is gone: set `{listener}.token` again, or restart"
                );
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
            (None, Reach::Loopback) if !names_loopback(headers) => {
                let detail = "the `host` header names no loopback address; ask for http://127.0.0.1:PORT or \
                              http://localhost:PORT";
                Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
            }
            (Some(_), _) | (None, Reach::Loopback | Reach::Socket) => Ok(()),
        }
    }
}

fn of_another_origin() -> Problem {
    let detail =
        "this request comes from a web page of another origin, which this listener never serves; ask from a program";
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Whether a browser says that it shows the answer in a window of its own, where the page that led to it cannot read. It sends an
/// `Origin` only with what is more than a link.
fn opens_a_window(headers: &HeaderMap) -> bool {
    let is =
        |name: HeaderName, wanted: &str| headers.get(name).is_some_and(|value| value.as_bytes() == wanted.as_bytes());
    is(SEC_FETCH_MODE, "navigate") && is(SEC_FETCH_DEST, "document") && !headers.contains_key(ORIGIN)
}

/// Whether a browser says that a page of another origin asks.
fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let foreign = |origin: &HeaderValue| {
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        !authority.zip(host).is_some_and(|(authority, host)| host.eq_ignore_ascii_case(authority.as_bytes()))
    };
    let elsewhere = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
    headers.get_all(ORIGIN).iter().any(foreign) || headers.get_all(SEC_FETCH_SITE).iter().any(elsewhere)
}

/// Whether there is one `Host`, and it is loopback's.
fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    matches!((hosts.next(), hosts.next()), (Some(host), None) if is_loopback(host.as_bytes()))
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
mod tests {
    use super::*;

    const HERE: &str = "host: 127.0.0.1:8460";
    const TOKEN: &str = "authorization: Bearer t";

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The status of the refusal; 0 lets in.
    fn asked(lines: &[&str], reach: Reach, token: Option<&str>) -> u16 {
        let token = token.map(|token| Secret::new(token.to_owned()));
        let admitted = Guard::new("ingest", reach).admit(&headers(lines), token.as_ref());
        admitted.map_or_else(|problem| problem.status().as_u16(), |()| 0)
    }

    #[test]
    fn a_file_for_everybody_is_opened_by_a_link_and_never_within_another_page() {
        const LINK: [&str; 3] = ["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document"];
        let with = |more: &[&'static str]| [&[HERE][..], more].concat();
        for (lines, token, status) in [
            (with(&[]), None, 0),
            (with(&[]), Some("t"), 0),
            (with(&LINK), None, 0),
            (with(&LINK), Some("t"), 0),
            (with(&["sec-fetch-site: same-origin", "sec-fetch-mode: cors"]), None, 0),
            (["host: evil.example"].to_vec(), None, 421),
            (["host: evil.example"].to_vec(), Some("t"), 0),
            (with(&[LINK[0], LINK[1], "sec-fetch-dest: iframe"]), None, 403),
            (with(&[LINK[0], "sec-fetch-mode: no-cors", "sec-fetch-dest: script"]), None, 403),
            (with(&[LINK[0], "sec-fetch-mode: cors", "sec-fetch-dest: empty"]), Some("t"), 403),
            (with(&[LINK[0], LINK[1], LINK[2], "origin: https://evil.example"]), None, 403),
            (with(&["origin: https://evil.example"]), None, 403),
        ] {
            let token = token.map(|token: &str| Secret::new(token.to_owned()));
            let admitted = Guard::new("admin", Reach::Loopback).admit_file(&headers(&lines), token.as_ref());
            assert_eq!(
                admitted.map_or_else(|problem| problem.status().as_u16(), |()| 0),
                status,
                "{lines:?} {token:?}"
            );
        }
        let gone = Guard::new("admin", Reach::Beyond).admit_file(&headers(&[HERE]), None);
        assert_eq!(gone.map_err(|problem| problem.status().as_u16()), Err(403));
    }

    #[test]
    fn programs_of_this_machine_and_holders_of_the_token_come_in_and_web_pages_do_not() {
        type Case<'c> = (&'c [&'c str], Reach, Option<&'c str>, u16);
        let cases: &[Case<'_>] = &[
            (&[HERE], Reach::Loopback, None, 0),
            (&[], Reach::Loopback, None, 421),
            (&["host: evil.example"], Reach::Loopback, None, 421),
            (&[HERE, "host: evil.example"], Reach::Loopback, None, 421),
            (&[HERE, HERE], Reach::Loopback, None, 421),
            (&["host: anything"], Reach::Socket, None, 0),
            (&[], Reach::Socket, None, 0),
            // Pages.
            (&[HERE, "origin: https://evil.example"], Reach::Loopback, None, 403),
            (&[HERE, "origin: null"], Reach::Loopback, None, 403),
            (&[HERE, "origin: "], Reach::Loopback, None, 403),
            (&[HERE, "origin: file://"], Reach::Loopback, None, 403),
            (&[HERE, "origin: http://127.0.0.1:9999"], Reach::Loopback, None, 403),
            (&[HERE, "origin: http://localhost:8460"], Reach::Loopback, None, 403),
            (&[HERE, "origin: http://127.0.0.1:8460"], Reach::Loopback, None, 0),
            (&[HERE, "origin: http://127.0.0.1:8460", "origin: https://e.example"], Reach::Loopback, None, 403),
            (&["host: anything", "origin: https://evil.example"], Reach::Socket, None, 403),
            (&[HERE, "sec-fetch-site: cross-site"], Reach::Loopback, None, 403),
            (&[HERE, "sec-fetch-site: same-site"], Reach::Loopback, None, 403),
            (&[HERE, "sec-fetch-site: same-origin"], Reach::Loopback, None, 0),
            (&[HERE, "sec-fetch-site: none"], Reach::Loopback, None, 0),
            (&[HERE, "sec-fetch-site: none", "sec-fetch-site: cross-site"], Reach::Loopback, None, 403),
            (&["host: evil.example", "origin: http://evil.example"], Reach::Loopback, None, 421),
            // A program that says which mode its client has, and no more.
            (&[HERE, "sec-fetch-mode: cors"], Reach::Loopback, None, 0),
            // With a token.
            (&[HERE], Reach::Loopback, Some("t"), 401),
            (&[HERE], Reach::Socket, Some("t"), 401),
            (&[HERE, TOKEN], Reach::Loopback, Some("t"), 0),
            (&["host: outrigger.svc:8460", TOKEN], Reach::Loopback, Some("t"), 0),
            (&["host: outrigger.svc:8460", TOKEN], Reach::Beyond, Some("t"), 0),
            (&[HERE, "authorization: Bearer tt"], Reach::Beyond, Some("t"), 401),
            (&[HERE, TOKEN, "origin: https://evil.example"], Reach::Beyond, Some("t"), 403),
            (&[HERE], Reach::Beyond, None, 403),
            (&[HERE, TOKEN], Reach::Beyond, None, 403),
        ];
        for (headers, reach, token, status) in cases {
            assert_eq!(asked(headers, *reach, *token), *status, "{headers:?} {reach:?} {token:?}");
        }
    }

    #[test]
    fn a_token_that_is_gone_is_called_by_its_key() {
        let problem = Guard::new("ingest", Reach::Beyond).admit(&headers(&[HERE]), None).unwrap_err();
        assert!(problem.detail().contains("set `ingest.token` again"), "{problem:?}");
    }

    #[test]
    fn the_reach_is_that_of_the_address() {
        let reach = |address: &str| Reach::of(&Listen::Tcp(address.parse().unwrap()));
        for address in ["127.0.0.1:8460", "127.9.9.9:8460", "[::1]:8460"] {
            assert_eq!(reach(address), Reach::Loopback, "{address}");
        }
        for address in ["0.0.0.0:8460", "[::]:8460", "10.0.0.1:8460", "[::ffff:127.0.0.1]:8460"] {
            assert_eq!(reach(address), Reach::Beyond, "{address}");
        }
        assert_eq!(Reach::of(&Listen::Unix("a.sock".into())), Reach::Socket);
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
