//! The same as bytes: what hyper writes, and what arrives from the real program.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, Request};
use http_body_util::Full;
use outrigger::client::{Client, Routes};
use outrigger::config::Egress;
use outrigger::webhook::tls::Tls;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::{HEADER_NAMES, assert_target, data, event, snapshot};
use crate::faulty::AMPLE;
use crate::support::raw::{Greeting, Raw, well};
use crate::support::receiver::{AUTHORITY, RUNTIME};
use crate::support::{receiver, sidecar};

/// How many events are sent.
const CASES: u32 = 400;

#[test]
fn what_is_written_to_a_connection_is_one_request_with_the_files_headers() {
    let names = AUTHORITY.server_config(&["hooks.example"], &["http/1.1"]).expect("it is a name");
    let raw = Raw::start(Greeting::Tls(Arc::new(names)), |seen| vec![well(seen)]);
    let hosts = BTreeMap::from([("hooks.example".to_owned(), SocketAddr::from(([127, 0, 0, 1], raw.port())))]);
    let egress = Egress { allow_ports: vec![8443], ca_pem: Some(AUTHORITY.ca_pem().to_owned()), ..Egress::default() };
    let client = Client::new(&egress, &Tls::default(), Routes { hosts, ..Routes::default() }).expect("a client");
    let snapshot = snapshot();
    let hook = &snapshot.webhooks["hook"];
    let sent = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&data(), |data| {
        let Ok(made) = hook.render(&event(&data)) else { return Ok(()) };
        let mut request = Request::new(Full::new(made.body));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (made.method, made.uri, made.headers);
        let answer = RUNTIME.block_on(client.send(request, AMPLE));
        assert_eq!(answer.map(|answer| answer.status.as_u16()), Ok(200));
        sent.set(sent.get() + 1);
        let seen = raw.seen();
        assert_eq!(seen.len(), sent.get(), "each is one request");
        let head = &seen.last().expect("it came").head;
        let mut lines = head.strip_suffix("\r\n\r\n").expect("a head ends so").split("\r\n");
        let target = lines.next().and_then(|line| line.strip_prefix("PUT ")?.strip_suffix(" HTTP/1.1"));
        assert_target(target.unwrap_or_else(|| panic!("{head}")), &data);
        let mut names = Vec::new();
        for line in lines {
            assert!(line.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{line:?}");
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header"));
            assert!(name != "host" || value == "hooks.example:8443", "{line:?}");
            names.push(name);
        }
        names.sort_unstable();
        let mut expected = [&HEADER_NAMES[..], &["content-length", "host"]].concat();
        expected.sort_unstable();
        assert_eq!(names, expected, "{head}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(sent.get() > 10, "only {} of {CASES} were requests", sent.get());
}

/// A value, and what arrives of it as a path segment and as a header; nothing where it is refused.
const VALUES: [(&str, Option<(&str, &str)>); 14] = [
    ("plain", Some(("plain", "plain"))),
    ("José", Some(("Jos%C3%A9", "Jos%C3%A9"))),
    ("  a b\t", Some(("%20%20a%20b%09", "a b"))),
    ("a/b?c=d#e&f", Some(("a%2Fb%3Fc%3Dd%23e%26f", "a/b?c=d#e&f"))),
    ("@evil.example:1/", Some(("%40evil.example%3A1%2F", "@evil.example:1/"))),
    ("//evil.example/", Some(("%2F%2Fevil.example%2F", "//evil.example/"))),
    ("100%", Some(("100%25", "100%"))),
    ("%0d%0ax-evil:1", Some(("%250d%250ax-evil%3A1", "%0d%0ax-evil:1"))),
    ("x\r\nx-evil: 1", None),
    ("x\n\nGET /evil HTTP/1.1", None),
    ("a\0b", None),
    ("../evil", None),
    ("%2e%2e%2fevil", None),
    ("", None),
];

#[test]
fn an_event_from_anywhere_arrives_in_its_places_or_not_at_all() {
    let (new, old) = (receiver().start(), receiver().http1().start());
    let hook = |url: &str| {
        format!("url = {url:?}\nordering = \"none\"\nbody = '{{}}'\n[headers]\nx-who = \"{{{{data.who}}}}\"\n")
    };
    let path = "/in/{{data.who}}/end?q={{data.who}}";
    let sidecar = sidecar()
        .reaching(&new)
        .reaching(&old)
        .webhook("new", &hook(&new.url(path)))
        .webhook("old", &hook(&old.url(path)))
        .start();
    for (value, expected) in VALUES {
        let posted = json!({ "event_type": "RequestCreated", "data": { "who": value } });
        let answer = sidecar.post("/v1/events?wait=15s", &posted.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        for delivery in answer.json()["events"][0]["deliveries"].as_array().expect("a list") {
            let (outcome, reason) = (&delivery["outcome"], &delivery["reason"]);
            match expected {
                Some(_) => assert_eq!(outcome, "delivered", "{value:?}: {delivery}"),
                None => assert_eq!((outcome, reason), (&json!("dead"), &json!("template_error")), "{value:?}"),
            }
        }
    }
    let arrived: Vec<(&str, &str)> = VALUES.iter().filter_map(|(_, expected)| *expected).collect();
    for (target, http2) in [(new, true), (old, false)] {
        let seen = target.wait(arrived.len());
        assert_eq!(seen.len(), arrived.len());
        for (seen, (segment, header)) in seen.iter().zip(&arrived) {
            assert_eq!(seen.http2, http2);
            assert_eq!(seen.target, format!("/in/{segment}/end?q={segment}"));
            assert_eq!(seen.header("x-who"), *header);
            assert_eq!(seen.host, format!("127.0.0.1:{}", target.port()));
            let mut names: Vec<&str> = seen.headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            let mut expected =
                vec!["content-length", "content-type", "traceparent", "user-agent", "webhook-id", "x-who"];
            if !http2 {
                expected.insert(2, "host");
            }
            assert_eq!(names, expected);
        }
    }
}
