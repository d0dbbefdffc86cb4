//! Events and requests that are wrong.

#![allow(clippy::print_stdout, reason = "how long others waited is worth a look")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

use super::assert_problem;

const GOOD: &str = r#"{"event_type":"RequestCreated","data":{"justification":"fine"}}"#;
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];
const MIB: usize = 1024 * 1024;

fn start() -> (Target, Sidecar) {
    let target = receiver().start();
    let body = r#"{"type": "{{event_type}}", "why": "{{data.justification}}"}"#;
    let hook = format!("triggers = ['RequestCreated']\nurl = {:?}\nbody = '''{body}'''\n", target.url("/hook"));
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook).start();
    (target, sidecar)
}

/// An ordinary event is delivered, as the only one since so many.
#[track_caller]
fn assert_serves(sidecar: &Sidecar, target: &Target, before: usize) {
    assert_eq!(sidecar.post("/v1/events", GOOD).status, 202);
    let recorded = target.wait(before + 1);
    assert_eq!(recorded.len(), before + 1, "only what was taken is delivered");
    assert_eq!(recorded[before].body, r#"{"type": "RequestCreated", "why": "fine"}"#);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
}

/// What is posted, and the words of the answer.
type Refused = (&'static str, &'static [(&'static str, &'static str)], Vec<u8>, u16, &'static [&'static str]);

/// Listener, method, path and headers, and the status and words of the answer.
type Asked<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a [&'a str]);

#[test]
fn a_body_that_holds_no_event_is_refused_with_its_fault_and_nothing_of_it_is_taken() {
    let (target, sidecar) = start();
    let deep =
        |open: &str| format!("{{\"event_type\":\"RequestCreated\",\"data\":{}", open.repeat(100_000)).into_bytes();
    let padded =
        |bytes: usize| format!("{{\"event_type\":\"RequestCreated\",\"data\":\"{}\"}}", "x".repeat(bytes)).into_bytes();
    let good_twice = |between: &str| format!("{GOOD}\n{between}\n{GOOD}\n").into_bytes();
    let cases: Vec<Refused> = vec![
        ("nothing", JSON, Vec::new(), 400, &["not JSON"]),
        ("blanks", JSON, b" \n ".to_vec(), 400, &["not JSON"]),
        ("no JSON", JSON, b"event_type=RequestCreated".to_vec(), 400, &["not JSON"]),
        ("two objects", JSON, GOOD.repeat(2).into_bytes(), 400, &["not JSON"]),
        ("deep objects", JSON, deep("{\"a\":"), 400, &["100 levels"]),
        ("deep arrays", JSON, deep("["), 400, &["100 levels"]),
        ("invalid UTF-8", JSON, b"{\"event_type\":\"RequestCreated\",\"x\":\"\xc3(\"}".to_vec(), 400, &["not JSON"]),
        ("half a surrogate", JSON, br#"{"event_type":"RequestCreated","x":"\ud800"}"#.to_vec(), 400, &["not JSON"]),
        (
            "a member that the parser means otherwise",
            JSON,
            br#"{"event_type":"RequestCreated","data":{"$serde_json::private::RawValue":"x"}}"#.to_vec(),
            400,
            &["RawValue", "reserved"],
        ),
        ("a NUL byte", JSON, b"{\"event_type\":\"Request\0Created\"}".to_vec(), 400, &["not JSON"]),
        ("UTF-16", JSON, GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect(), 400, &["not JSON"]),
        ("an array", JSON, format!("[{GOOD}]").into_bytes(), 400, &["object", "array", "x-ndjson"]),
        ("a string", JSON, b"\"RequestCreated\"".to_vec(), 400, &["object", "a string"]),
        ("a number", JSON, b"1e999".to_vec(), 400, &["object", "a number"]),
        ("null", JSON, b"null".to_vec(), 400, &["object", "null"]),
        ("no type", JSON, b"{}".to_vec(), 400, &["event_type"]),
        ("a type that is no text", JSON, br#"{"event_type":5}"#.to_vec(), 400, &["event_type"]),
        ("a line too much", LINES, good_twice("[]"), 400, &["object"]),
        ("no line", LINES, b"\n\n".to_vec(), 400, &["no event"]),
        ("too many lines", LINES, "{\"event_type\":\"x\"}\n".repeat(10_001).into_bytes(), 413, &["10000"]),
        ("one byte too much", JSON, padded(MIB), 413, &["1048576", "ingest.max_body"]),
        ("10 MiB", JSON, padded(10 * MIB), 413, &["ingest.max_body"]),
    ];
    for (what, headers, body, status, says) in &cases {
        let answer = sidecar.post_with("/v1/events", headers, body);
        assert_problem(what, &answer, *status, says);
    }
    let counted = format!("outrigger_events_received_total{{kind=\"request\",result=\"invalid\"}} {}", cases.len());
    assert!(sidecar.metrics().lines().any(|line| line == counted), "{counted}");
    assert_serves(&sidecar, &target, 0);
}

#[test]
fn a_fault_in_json_has_its_line_and_column() {
    let (target, sidecar) = start();
    let second = "{\"event_type\":\"RequestCreated\",\n \"data\": }";
    let lines = format!("{GOOD}\n\n{{\"event_type\": RequestCreated}}\n{GOOD}\n");
    let typeless = format!("{GOOD}\n{GOOD}\n{{}}\n");
    let cases = [
        (JSON, "{\"event_type\":\"RequestCreated\"", Some(1), Some(30)),
        (JSON, second, Some(2), Some(10)),
        (LINES, lines.as_str(), Some(3), Some(16)),
        (LINES, typeless.as_str(), Some(3), None),
    ];
    for (headers, body, line, column) in cases {
        let answer = sidecar.post_with("/v1/events", headers, body.as_bytes());
        assert_problem(body, &answer, 400, &[]);
        let problem = answer.json();
        let place = |member: &str| problem.get(member).and_then(Value::as_u64);
        assert_eq!((place("line"), place("column")), (line, column), "{body}: {problem}");
    }
    assert_serves(&sidecar, &target, 0);
}

#[test]
fn a_request_that_asks_for_something_else_is_told_what_there_is() {
    let (target, sidecar) = start();
    let typed = |value: &'static str| [("content-type", value)];
    let (gzip, none) = ([("content-encoding", "gzip")], []);
    let (text, form, cloudevents) =
        (typed("text/plain"), typed("application/x-www-form-urlencoded"), typed("application/cloudevents+avro"));
    let cases: [Asked<'_>; 22] = [
        ("ingest", "GET", "/v1/events", &none, 405, &["POST"]),
        ("ingest", "PUT", "/v1/events", JSON, 405, &["POST"]),
        ("ingest", "DELETE", "/v1/events/request", &none, 405, &["POST"]),
        ("ingest", "FROBNICATE", "/v1/webhooks/hook/invoke", &none, 405, &["POST"]),
        ("ingest", "POST", "/", JSON, 404, &["/v1/events"]),
        ("ingest", "POST", "/v1/events/", JSON, 404, &["request", "oort"]),
        ("ingest", "POST", "/v1/events/nothing", JSON, 404, &["request", "oort"]),
        ("ingest", "POST", "/v1/events/%00", JSON, 404, &["request"]),
        ("ingest", "POST", "/v1/events/../../etc/passwd", JSON, 404, &["/v1/events"]),
        ("ingest", "POST", "/v1/webhooks/nobody/invoke", JSON, 404, &["webhook"]),
        ("ingest", "POST", "/v1/webhooks/hook/invoke", JSON, 409, &["Manual"]),
        ("ingest", "POST", "/v1/events", &text, 415, &["application/json"]),
        ("ingest", "POST", "/v1/events", &form, 415, &["application/json"]),
        ("ingest", "POST", "/v1/events", &cloudevents, 415, &["application/cloudevents+json"]),
        ("ingest", "POST", "/v1/events", &gzip, 415, &["content-encoding"]),
        ("ingest", "POST", "/v1/events?wiat=1s", JSON, 400, &["wait"]),
        ("ingest", "POST", "/v1/events?wait=", JSON, 400, &["duration"]),
        ("ingest", "POST", "/v1/events?wait=soon", JSON, 400, &["duration"]),
        ("ingest", "POST", "/v1/events?wait=-1s", JSON, 400, &["duration"]),
        ("ingest", "POST", "/v1/events?wait=2h", JSON, 400, &["300 s"]),
        ("metrics", "POST", "/metrics", JSON, 405, &["GET"]),
        ("metrics", "GET", "/metric", &none, 404, &["/metrics"]),
    ];
    for (listener, method, path, headers, status, says) in cases {
        let what = format!("{method} {path} {headers:?}");
        let answer = http::exchange(sidecar.address(listener), method, path, headers, GOOD.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_problem(&what, &answer, status, says);
        if status == 405 {
            assert_eq!(answer.header("allow"), if listener == "ingest" { "POST" } else { "GET" }, "{what}");
        }
    }
    assert_serves(&sidecar, &target, 0);
}

#[test]
fn odd_events_that_are_json_are_taken_and_arrive_as_they_were_meant() {
    let (target, sidecar) = start();
    let long = "\u{1f6a8}\u{2028}\\\"".repeat(50_000);
    let long_event = serde_json::json!({"event_type": "RequestCreated", "data": {"justification": long}}).to_string();
    let cases = [
        (r#"{"event_type":"RequestRejected","event_type":"RequestCreated"}"#, ""),
        (r#"{"event_type":"RequestCreated","data":{"justification":"a\u0000b"}}"#, "a\0b"),
        (r#"{"event_type":"RequestCreated","data":[[[]]]}"#, ""),
        (r#"{"event_type":"RequestCreated","data":{"justification":1e400}}"#, "1e+400"),
        (long_event.as_str(), long.as_str()),
    ];
    for (number, (event, why)) in cases.into_iter().enumerate() {
        assert_eq!(sidecar.post("/v1/events", event).status, 202, "{event:.80}");
        let recorded = target.wait(number + 1);
        let body: Value = serde_json::from_slice(&recorded[number].body).expect("only JSON is sent");
        assert_eq!(body["type"], "RequestCreated", "{event:.80}");
        assert!(body["why"] == why, "{event:.80}: {body:.80}");
    }
    // An event that nobody wants is taken, and owes nothing.
    let answer = sidecar.post("/v1/events", r#"{"event_type":"RequestRejected"}"#);
    assert_eq!((answer.status, &answer.json()["events"][0]["deliveries"]), (202, &serde_json::json!([])));
    assert_serves(&sidecar, &target, cases.len());
}

/// Sends bytes on a connection of their own and reads until it closes: the statuses of all answers.
fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        // Reading must not wait for writing: the other side answers before it has read all.
        scope.spawn(move || writer.write_all(bytes));
        let mut answers = Vec::new();
        // A reset after the answers takes nothing from them.
        let ended = stream.read_to_end(&mut answers);
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "it hangs"
        );
        let text = String::from_utf8_lossy(&answers).into_owned();
        text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
    })
}

fn request(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n{body}").into_bytes()
}

fn good(more: &str) -> Vec<u8> {
    request(&format!("content-length: {}{more}", GOOD.len()), GOOD)
}

#[test]
fn a_connection_goes_on_after_a_body_that_was_too_large_and_through_pipelined_faults() {
    let (target, sidecar) = start();
    let ingest = sidecar.address("ingest");
    let last = good("\r\nconnection: close");
    let sized = request(&format!("content-length: {}", 10 * MIB), &"x".repeat(10 * MIB));
    assert_eq!(statuses(ingest, &[sized, last.clone()].concat()), [413, 202]);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = request("transfer-encoding: chunked", &format!("{}0\r\n\r\n", chunk.repeat(160)));
    assert_eq!(statuses(ingest, &[chunked, last.clone()].concat()), [413, 202]);
    // A refusal that did not need the body is read all the same by a client that is still sending it.
    for (line, status) in [("POST /nowhere", 404), ("PUT /v1/events", 405), ("POST /v1/events?x", 400)] {
        let head =
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", 10 * MIB);
        let large = [head.into_bytes(), vec![b'x'; 10 * MIB]].concat();
        assert_eq!(statuses(ingest, &large), [status], "{line}");
    }
    let mut pipeline = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..10 {
        pipeline.extend(good(""));
        pipeline.extend(request("content-length: 3", "{\"a"));
        pipeline.extend(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        expected.extend([202, 400, 405]);
    }
    pipeline.extend(last);
    expected.push(202);
    assert_eq!(statuses(ingest, &pipeline), expected);
    assert_serves(&sidecar, &target, target.wait(13).len());
}

#[test]
fn what_is_no_http_is_refused_or_cut_off_and_others_are_served() {
    let (target, sidecar) = start();
    let ingest = sidecar.address("ingest");
    let header = |bytes: usize| request(&format!("x-long: {}\r\ncontent-length: 0", "x".repeat(bytes)), "");
    let many = "x-many: 1\r\n".repeat(200);
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("noise", b"\x00\x01\x02\r\n\r\n".to_vec(), &[400]),
        ("words", b"hello there\r\n\r\n".to_vec(), &[400]),
        ("a TLS client", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("another version", b"POST /v1/events HTTP/9.9\r\n\r\n".to_vec(), &[400, 505]),
        ("a negative length", request("content-length: -1", ""), &[400]),
        ("two lengths", request("content-length: 1\r\ncontent-length: 2", "{}"), &[400]),
        ("a header without a name", request(": x", ""), &[400]),
        ("a NUL in a header", request("x-a: \0", ""), &[400]),
        ("a header of 20 KiB", header(20 * 1024), &[431]),
        ("a header of 2 MiB", header(2 * MIB), &[431]),
        ("200 headers", request(&format!("{many}content-length: 0"), ""), &[431]),
        ("a long path", format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)).into_bytes(), &[414, 431]),
    ];
    for (what, bytes, expected) in cases {
        let seen = statuses(ingest, &bytes);
        assert!(seen.len() == 1 && expected.contains(&seen[0]), "{what}: {seen:?}");
    }
    // Here the fault comes behind a head that is good: the body is at fault.
    let chunk = http::raw(ingest, &request("transfer-encoding: chunked\r\nconnection: close", "zz\r\n{}\r\n"));
    assert_problem("a chunk without a size", &chunk.expect("an answer"), 400, &["body"]);
    let mut stream = TcpStream::connect(ingest).expect("it listens");
    stream.write_all(&request("content-length: 100", "{")).expect("a write");
    drop(stream);
    assert_serves(&sidecar, &target, 0);
}

#[test]
fn senders_that_stall_keep_nobody_waiting_and_their_number_is_bounded() {
    /// Connections that one listener serves at the same time.
    const CONNECTIONS_MAX: usize = 512;
    /// Connections that wait for their turn.
    const WAITING: usize = 60;
    /// Files that the process has open beside connections, fewer than those that wait.
    const OTHER_FILES_MAX: usize = 40;
    let (target, sidecar) = start();
    let ingest = sidecar.address("ingest");
    let stall = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(ingest).expect("it listens");
        stream.write_all(bytes).expect("a write");
        stream
    };
    let fds = || fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).expect("it runs").count();

    let half_body = request("content-length: 1000", "{\"event_type\":");
    let mut stalled: Vec<TcpStream> = (0..50).map(|_| stall(b"POST /v1/events HTTP/1.1\r\nho")).collect();
    stalled.extend((0..50).map(|_| stall(&half_body)));
    assert!(eventually(PATIENCE, || (fds() > 100).then_some(())).is_some());
    let begun = Instant::now();
    assert_serves(&sidecar, &target, 0);
    println!("served beside {} stalled senders after {} ms", stalled.len(), begun.elapsed().as_millis());

    // More than are served, and no more than the kernel lets wait: one beyond that would not even connect.
    stalled.extend((stalled.len()..CONNECTIONS_MAX + WAITING).map(|_| stall(&half_body)));
    assert!(eventually(PATIENCE, || (fds() >= CONNECTIONS_MAX).then_some(())).is_some(), "{} are served", fds());
    let beyond = eventually(Duration::from_millis(300), || (fds() > CONNECTIONS_MAX + OTHER_FILES_MAX).then(fds));
    assert_eq!(beyond, None, "connections are bounded");
    // What happens on one listener leaves the other alone.
    assert_eq!(sidecar.get("metrics", "/livez").status, 200);
    drop(stalled);
    assert_serves(&sidecar, &target, 1);
}
