//! The admin page: static files that the binary holds, which ask the API for all that they show.
//!
//! They hold nothing of this sidecar and nothing secret, so they are served without the token: the page asks for it and sends
//! it with its own requests. What the page shows came from outside, hostile events included; it makes text of it and never
//! markup, and [`POLICY`] has the browser hold it to that: no script but these files, no inline style, no other host, no frame.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;

use crate::server::Answer;
use crate::server::problem::Problem;

/// What the browser lets the page do. Texts that a script would be made of are refused, too (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
/// Kept by the browser and asked for again each time, so that a new version's files are never mixed with old ones.
const CACHING: &str = "no-cache";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const ALLOWED: &str = "GET, HEAD";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
    digest: u64,
}

/// The page's folder, as a table of what is at which path.
macro_rules! files {
    ($($path:literal: $content_type:ident = $file:literal),* $(,)?) => {
        &[$(File {
            path: $path,
            content_type: $content_type,
            text: include_str!(concat!("page/", $file)),
            digest: digest(include_str!(concat!("page/", $file))),
        }),*]
    };
}

static FILES: &[File] = files! {
    "/": HTML = "index.html",
    "/assets/icon.svg": SVG = "icon.svg",
    "/assets/base.css": CSS = "base.css",
    "/assets/parts.css": CSS = "parts.css",
    "/assets/main.js": JAVASCRIPT = "main.js",
    "/assets/api.js": JAVASCRIPT = "api.js",
    "/assets/dom.js": JAVASCRIPT = "dom.js",
    "/assets/format.js": JAVASCRIPT = "format.js",
    "/assets/live.js": JAVASCRIPT = "live.js",
    "/assets/route.js": JAVASCRIPT = "route.js",
    "/assets/store.js": JAVASCRIPT = "store.js",
    "/assets/text.js": JAVASCRIPT = "text.js",
    "/assets/parts/chart.js": JAVASCRIPT = "parts/chart.js",
    "/assets/parts/code.js": JAVASCRIPT = "parts/code.js",
    "/assets/parts/confirm.js": JAVASCRIPT = "parts/confirm.js",
    "/assets/parts/curl.js": JAVASCRIPT = "parts/curl.js",
    "/assets/parts/exchange.js": JAVASCRIPT = "parts/exchange.js",
    "/assets/parts/invocations.js": JAVASCRIPT = "parts/invocations.js",
    "/assets/parts/letters.js": JAVASCRIPT = "parts/letters.js",
    "/assets/parts/schema.js": JAVASCRIPT = "parts/schema.js",
    "/assets/parts/status.js": JAVASCRIPT = "parts/status.js",
    "/assets/parts/timing.js": JAVASCRIPT = "parts/timing.js",
    "/assets/views/config.js": JAVASCRIPT = "views/config.js",
    "/assets/views/find.js": JAVASCRIPT = "views/find.js",
    "/assets/views/invocation.js": JAVASCRIPT = "views/invocation.js",
    "/assets/views/token.js": JAVASCRIPT = "views/token.js",
    "/assets/views/webhook.js": JAVASCRIPT = "views/webhook.js",
    "/assets/views/webhooks.js": JAVASCRIPT = "views/webhooks.js",
};

/// FNV-1a: tells versions of one file apart, and is no secret's keeper.
const fn digest(text: &str) -> u64 {
    let (bytes, mut at, mut digest) = (text.as_bytes(), 0, 0xcbf2_9ce4_8422_2325_u64);
    while at < bytes.len() {
        digest = (digest ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    digest
}

/// The file at a path of the listener.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// Answers a request that was let in.
pub(super) fn answer(file: &File, method: &Method, headers: &HeaderMap) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::method_not_allowed(ALLOWED).into();
    }
    let tag = format!("\"{:016x}\"", file.digest);
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let listed = |tags: &str| tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
        tags.to_str().is_ok_and(listed)
    });
    // The listener leaves the body of an answer to HEAD out and keeps its length.
    let mut answer = Answer::new(Full::new(Bytes::from_static(if known { b"" } else { file.text.as_bytes() })));
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let tag = HeaderValue::try_from(tag).expect("hexadecimal digits in quotes are a header's value");
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, file.content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // No other page holds on to the window that it opened this one in.
        (OPENER_POLICY, "same-origin"),
        (CACHE_CONTROL, CACHING),
    ];
    let headers = answer.headers_mut();
    headers.insert(ETAG, tag);
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use http_body_util::BodyExt as _;

    use super::*;

    /// What the page may weigh, in bytes.
    const PAGE_BYTES_MAX: usize = 150_000;

    fn names(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                names(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_together_they_are_small() {
        let mut there = BTreeSet::new();
        names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page"), "", &mut there);
        let served = FILES.iter().map(|file| match file.path {
            "/" => "index.html".to_owned(),
            path => path.strip_prefix("/assets/").unwrap().to_owned(),
        });
        assert_eq!(served.collect::<BTreeSet<_>>(), there);
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < PAGE_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn no_file_asks_another_host_nor_makes_markup_or_code_of_a_text() {
        // The name of the language that drawings are in; nothing is asked for there.
        const SVG_NAME: &str = "http://www.w3.org/2000/svg";
        // Part of a command that people read.
        const EXAMPLE: &str = "curl --json @event.json http://127.0.0.1:8460/v1/events";
        let forbidden = [
            "http://",
            "https://",
            "//cdn",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "javascript:",
            "DOMParser",
            "createContextualFragment",
            "style=",
            ".style.",
            "localStorage",
            "importScripts",
            "WebSocket",
            "sendBeacon",
        ];
        for file in FILES {
            let text = file.text.replace(SVG_NAME, "").replace(EXAMPLE, "");
            let more: &[&str] = if file.content_type == CSS { &["url(", "@import"] } else { &[] };
            for word in forbidden.iter().chain(more) {
                assert!(!text.contains(word), "{} has `{word}`", file.path);
            }
            // Handlers in attributes, as ` onclick=`.
            let handler = text.match_indices(" on").any(|(at, _)| {
                let rest = text[at + 3..].trim_start_matches(|c: char| c.is_ascii_lowercase());
                rest.len() < text[at + 3..].len() && rest.starts_with("=\"")
            });
            assert!(!handler, "{} has a handler in an attribute", file.path);
        }
        let html = find("/").unwrap().text;
        assert!(!html.contains("<style") && html.matches("<script").count() == 1, "{html}");
    }

    #[test]
    fn every_module_that_a_file_names_is_there() {
        let mut imports = 0;
        for file in FILES.iter().filter(|file| file.content_type == JAVASCRIPT) {
            for line in file.text.lines().filter(|line| line.starts_with("import ")) {
                let named = line.rsplit('\'').nth(1).unwrap();
                let mut path: Vec<&str> = file.path.split('/').collect();
                path.pop();
                for part in named.split('/') {
                    match part {
                        "." => {}
                        ".." => drop(path.pop()),
                        part => path.push(part),
                    }
                }
                assert!(find(&path.join("/")).is_some(), "{}: {line}", file.path);
                imports += 1;
            }
        }
        assert!(imports > 40, "{imports}");
    }

    #[tokio::test]
    async fn a_file_comes_with_its_type_and_policy_and_is_not_sent_twice() {
        let page = find("/").unwrap();
        let first = answer(page, &Method::GET, &HeaderMap::new());
        assert_eq!(first.status(), 200);
        let header = |name: &str| first.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), HTML);
        let policy = header("content-security-policy");
        let mut allowed: Vec<&str> = policy.split("; ").collect();
        allowed.sort_unstable();
        let expected = [
            "base-uri 'none'",
            "connect-src 'self'",
            "default-src 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "img-src 'self'",
            "require-trusted-types-for 'script'",
            "script-src 'self'",
            "style-src 'self'",
            "trusted-types 'none'",
        ];
        assert_eq!(allowed, expected);
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff".into(), "no-referrer".into())
        );
        let tag = header("etag");
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), page.text.as_bytes());

        let asked = |tags: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap());
            answer(page, &Method::GET, &headers)
        };
        for known in [tag.clone(), format!("\"other\", W/{tag}")] {
            let again = asked(&known);
            assert_eq!(again.status(), 304);
            assert_eq!(again.headers()["etag"].to_str().unwrap(), tag);
            assert!(again.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
        assert_eq!(asked("\"other\"").status(), 200);
        let posted = answer(page, &Method::POST, &HeaderMap::new());
        assert_eq!((posted.status().as_u16(), posted.headers()["allow"].to_str().unwrap()), (405, ALLOWED));
    }

    #[test]
    fn what_is_no_file_of_the_page_is_not_found() {
        for path in ["", "/index.html", "/assets", "/assets/", "/assets/../main.rs", "/assets//main.js", "/favicon.ico"]
        {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
