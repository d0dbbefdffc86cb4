//! Ingest as web pages reach it: what a browser sends for a page of another origin, and for one whose name was pointed to
//! loopback. And tokens where they do not belong.

use serde_json::json;

use super::{EVENT, assert_no_permission, hook};
use crate::bad_input::assert_problem;
use crate::support::http::{self, exchange, exchange_unix};
use crate::support::{receiver, sidecar};

const EVENTS: &str = "/v1/events";
const INVOKE: &str = "/v1/webhooks/hook/invoke";
const PAGE: (&str, &str) = ("origin", "https://evil.example");
const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");

/// Method, path and headers of a request, and the status and a word of its refusal.
type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], u16, &'c str);

#[test]
fn a_page_of_another_origin_posts_no_event() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), "triggers = [\"RequestCreated\", \"Manual\"]"))
        .start();
    let ingest = sidecar.address("ingest");
    let text = ("content-type", "text/plain;charset=UTF-8");
    let json = ("content-type", "application/json");
    let foreign = "another origin";
    let cases: &[Case<'_>] = &[
        // A `Blob` without a type has no content type: browsers of today, and old ones.
        ("POST", EVENTS, &[PAGE, CROSS, ("sec-fetch-mode", "no-cors")], 403, foreign),
        ("POST", EVENTS, &[PAGE], 403, foreign),
        ("POST", EVENTS, &[CROSS], 403, foreign),
        ("POST", INVOKE, &[PAGE], 403, foreign),
        // A form, a page in a frame without an origin, and a service of this machine on another port.
        ("POST", EVENTS, &[PAGE, text], 403, foreign),
        ("POST", EVENTS, &[("origin", "null"), text], 403, foreign),
        ("POST", EVENTS, &[("origin", "http://127.0.0.1:3000")], 403, foreign),
        ("POST", EVENTS, &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")], 403, foreign),
        // What it would ask before it may say that it sends JSON, and what it would send then.
        (
            "OPTIONS",
            EVENTS,
            &[PAGE, ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")],
            403,
            foreign,
        ),
        ("POST", EVENTS, &[PAGE, json], 403, foreign),
        ("GET", EVENTS, &[PAGE], 403, foreign),
        // A name that was given loopback's address after the page was loaded.
        (
            "POST",
            EVENTS,
            &[("host", "evil.example:8460"), ("origin", "http://evil.example:8460"), ("sec-fetch-site", "same-origin")],
            421,
            "host",
        ),
        ("POST", EVENTS, &[("host", "127.0.0.1.evil.example"), json], 421, "host"),
        ("POST", INVOKE, &[("host", "localhost.evil.example:80")], 421, "host"),
        ("POST", EVENTS, &[("host", "evil.example"), ("x-forwarded-host", "127.0.0.1")], 421, "host"),
        ("OPTIONS", EVENTS, &[("host", "evil.example")], 421, "host"),
    ];
    for (method, path, headers, status, says) in cases {
        let answer = exchange(ingest, method, path, headers, EVENT.as_bytes()).expect("an answer");
        assert_problem(&format!("{method} {path} {headers:?}"), &answer, *status, &[says]);
        assert_no_permission(&answer);
    }
    let length = EVENT.len();
    for head in ["HTTP/1.0", "HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example"] {
        let head = format!("POST /v1/events {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{EVENT}");
        let answer = http::raw(ingest, head.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 421, "{head}: {answer:?}");
    }
    let own = exchange(ingest, "OPTIONS", EVENTS, &[], b"").expect("an answer");
    assert_eq!((own.status, own.header("allow")), (405, "POST"));
    assert_no_permission(&own);

    // Programs need no header that pages cannot send, and may call loopback as they like.
    for headers in [&[][..], &[("host", "localhost:8460")], &[("host", "[::1]")], &[("sec-fetch-mode", "cors")]] {
        let answer = exchange(ingest, "POST", EVENTS, headers, EVENT.as_bytes()).expect("an answer");
        assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"]), (202, &json!(["hook"])), "{headers:?}");
        assert_no_permission(&answer);
    }
    assert_eq!(target.wait(4).len(), 4);
    let accepted = [("kind", "request"), ("result", "accepted")];
    assert_eq!(sidecar.metric("outrigger_events_received_total", &accepted), Some(4.0), "nothing else was taken");
}

#[test]
fn a_token_or_a_socket_stands_in_for_the_host_but_not_for_the_origin() {
    let target = receiver().start();
    let guarded = sidecar()
        .setting("ingest.listen = \"0.0.0.0:0\"")
        .setting("ingest.token = \"${env:INGEST_TOKEN}\"")
        .env("INGEST_TOKEN", "s3cret")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let bearer = ("authorization", "Bearer s3cret");
    let elsewhere = ("host", "outrigger.access.svc.cluster.local:8460");
    let post = |headers: &[(&str, &str)]| guarded.post_with(EVENTS, headers, EVENT.as_bytes());
    assert_eq!(post(&[bearer, elsewhere]).status, 202);
    assert_problem("a page that knows the token", &post(&[bearer, elsewhere, PAGE]), 403, &["another origin"]);
    assert_problem("a page of today", &post(&[bearer, elsewhere, CROSS]), 403, &["another origin"]);
    assert_eq!(post(&[elsewhere]).status, 401);

    let open = sidecar()
        .setting("ingest.listen = \"unix:ingest.sock\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let socket = open.written().dir().join(open.socket("ingest"));
    let post = |headers: &[(&str, &str)]| exchange_unix(&socket, "POST", EVENTS, headers, EVENT.as_bytes());
    assert_eq!(post(&[("host", "anything")]).expect("an answer").status, 202);
    assert_problem("through a proxy", &post(&[PAGE]).expect("an answer"), 403, &["another origin"]);
    assert_eq!(target.wait(2).len(), 2);
}

#[test]
fn a_token_counts_in_one_header_and_nowhere_else() {
    let sidecar = sidecar()
        .setting("ingest.token = \"s3cret\"")
        .setting("admin.token = \"s3cret\"")
        .webhook("hook", &hook("https://hooks.example.com/in", "status = \"inactive\""))
        .start();
    let right = ("authorization", "Bearer s3cret");
    for (listener, method, path, fine) in [("ingest", "POST", EVENTS, 202), ("admin", "GET", "/api/v1/webhooks", 200)] {
        let address = sidecar.address(listener);
        let ask = |path: &str, headers: &[(&str, &str)]| {
            exchange(address, method, path, headers, EVENT.as_bytes()).expect("an answer")
        };
        for query in ["?token=s3cret", "?access_token=s3cret", "?authorization=Bearer%20s3cret", ""] {
            let answer = ask(&format!("{path}{query}"), &[]);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{listener} {query}");
        }
        let wrong: [&[(&str, &str)]; 8] = [
            &[right, right],
            &[right, ("authorization", "")],
            &[("authorization", "Basic s3cret"), right],
            &[("authorization", "Bearer s3cret, Bearer s3cret")],
            &[("authorization", "s3cret")],
            &[("authorization", "Bearer s3cre")],
            &[("proxy-authorization", "Bearer s3cret")],
            &[("cookie", "authorization=Bearer s3cret"), ("x-authorization", "Bearer s3cret")],
        ];
        for headers in wrong {
            assert_eq!(ask(path, headers).status, 401, "{listener} {headers:?}");
        }
        for header in [right, ("authorization", "bearer s3cret"), ("AUTHORIZATION", "BEARER s3cret")] {
            assert_eq!(ask(path, &[header]).status, fine, "{listener} {header:?}");
        }
        let in_user_info = format!("http://:s3cret@{address}{path}");
        assert_eq!(ask(&in_user_info, &[]).status, 401, "{listener}");
    }
    assert!(!sidecar.log().contains("s3cret"), "{}", sidecar.log());
}

#[test]
fn metrics_are_read_under_any_name() {
    let sidecar = sidecar().webhook("hook", &hook("https://hooks.example.com/in", "")).start();
    let address = sidecar.address("metrics");
    for path in ["/metrics", "/livez", "/readyz"] {
        let answer = exchange(address, "GET", path, &[("host", "outrigger.svc:9460")], b"").expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        assert_no_permission(&answer);
        let changed = exchange(address, "POST", path, &[], b"").expect("an answer");
        assert_eq!((changed.status, changed.header("allow")), (405, "GET"), "{path}");
    }
}
