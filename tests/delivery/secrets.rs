//! No secret is in anything that the program writes, however loud it is and whatever goes wrong.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;

use super::{created, hook};
use crate::support::{receiver, sidecar};

/// What is planted, and where.
const CANARIES: &[(&str, &str)] = &[
    ("CANARY_PATH", "canary-path-4b1f"),
    ("CANARY_QUERY", "canary-query-9a3c"),
    ("CANARY_HEADER", "canary-header-77d2"),
    ("CANARY_BEARER", "canary-bearer-c0de"),
    ("CANARY_KEY", "canary-key-51ee"),
    ("CANARY_PASSWORD", "canary-password-8f0a"),
    ("CANARY_BODY", "canary-body-2d6b"),
    ("CANARY_INGEST", "canary-ingest-6e1d"),
];

/// What stands in a faulty file as it is.
const IN_FILES: [&str; 3] = ["canary-in-url", "canary in auth", "7716253411"];

/// What stands in the event: no secret, and nobody's business but the receiver's and the spool's.
const PAYLOAD: &str = "canary-payload-3e9d";

/// A webhook that carries every canary, but for those of the other kinds of auth.
fn laden(port: u16, path: &str, auth: &str, rest: &str) -> String {
    let url = format!("https://127.0.0.1:{port}{path}/${{env:CANARY_PATH}}?token=${{env:CANARY_QUERY}}");
    let body = "body = '{\"secret\": \"${env:CANARY_BODY}\", \"id\": \"{{data.id}}\"}'\nretry.max_attempts = 2";
    hook(&url, &format!("{body}\n{rest}\n[headers]\nx-secret = \"${{env:CANARY_HEADER}}\"\n[auth]\n{auth}"))
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).expect("it is a directory").map(|entry| entry.expect("it is readable").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_secret_is_in_logs_metrics_answers_or_the_spool() {
    let encoded = STANDARD.encode("ana:canary-password-8f0a");
    let echo = CANARIES.iter().map(|(_, canary)| *canary).chain([encoded.as_str()]).collect::<Vec<_>>().join(" ");
    let (target, old) = (receiver().start(), receiver().http1().start());
    // A receiver that sends back all it was told must not put it into our logs either.
    let answer = move |request: &Recorded| {
        let answer = match request.target.split('/').nth(1).unwrap_or_default() {
            "refuses" => Answer::status(400),
            "redirects" => {
                Answer::status(302).header("location", format!("https://127.0.0.1/{}", echo.replace(' ', "/")))
            }
            "fails" => Answer::status(500),
            "closes" => Answer::close(),
            "garbage" => Answer::garbage(),
            "silent" => Answer::hang(),
            _ => Answer::status(200),
        };
        answer.header("x-echo", echo.clone()).body(format!("{{\"echo\":\"{echo}\"}}"))
    };
    target.respond_with(answer.clone());
    old.respond_with(answer);
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let bearer = "bearer = { token = \"${env:CANARY_BEARER}\" }";
    let basic = "basic = { username = \"ana\", password = \"${env:CANARY_PASSWORD}\" }";
    let key = "api_key = { header = \"x-key\", value = \"${env:CANARY_KEY}\" }";
    let validator = "[[response_validators]]\nname = \"echo\"\npath = \"$.data.echo\"\nexpected = [\"never\"]";
    let (port, old_port) = (target.port(), old.port());
    let mut builder = sidecar()
        .setting("log.level = \"trace\"")
        .setting("ingest.token = \"${env:CANARY_INGEST}\"")
        .setting(&format!("egress.allow_ports = [{port}, {old_port}, {closed}]"))
        .webhook("takes", &laden(port, "/takes", bearer, ""))
        .webhook("takes-basic", &laden(port, "/takes", basic, ""))
        .webhook("takes-key", &laden(port, "/takes", key, ""))
        .webhook("refuses", &laden(port, "/refuses", bearer, ""))
        .webhook("redirects", &laden(old_port, "/redirects", basic, "retry.statuses.dead_letter = [302]"))
        .webhook("fails", &laden(port, "/fails", key, ""))
        .webhook("closes", &laden(old_port, "/closes", bearer, ""))
        .webhook("garbage", &laden(old_port, "/garbage", basic, ""))
        .webhook("silent", &laden(port, "/silent", key, "timeout = \"500ms\""))
        .webhook("strict", &laden(port, "/strict/{{data.nothing}}", bearer, "strict = true"))
        .webhook("shadow", &laden(port, "/shadow", bearer, "status = \"shadow\""))
        .webhook("unreachable", &laden(closed, "/closed", bearer, ""))
        .webhook("invalid", &format!("{}\n{validator}", laden(old_port, "/invalid", key, "")));
    for (name, canary) in CANARIES {
        builder = builder.env(name, canary);
    }
    let mut sidecar = builder.start();
    let refused = sidecar.post("/v1/events", &created("r-0"));
    assert_eq!(refused.status, 401);
    let headers = [("authorization", "Bearer canary-ingest-6e1d"), ("content-type", "application/json")];
    let settled = sidecar.post_with("/v1/events?wait=15s", &headers, created(PAYLOAD).as_bytes());
    assert_eq!(settled.status, 200, "{settled:?}");
    let deliveries = settled.json()["events"][0]["deliveries"].as_array().map_or(0, Vec::len);
    assert_eq!(deliveries, 12, "{settled:?}");
    let sent: Vec<_> = target.recorded().into_iter().filter(|seen| seen.target.starts_with("/takes/")).collect();
    assert!(
        sent.iter().all(|seen| seen.target.contains("canary-path-4b1f?token=canary-query-9a3c")),
        "it is on the wire"
    );
    assert!(sent.iter().any(|seen| seen.header("authorization") == "Bearer canary-bearer-c0de"), "it is on the wire");

    let broken = sidecar.written().config().join("webhooks/broken.toml");
    // What stands in the file itself is kept out of the log as well, and so is a number that lacks its quotes.
    for (text, says) in [
        ("url = \"https//${env:CANARY_PATH}\"\nnonsense = \"${env:CANARY_BODY}\"", "unknown key `nonsense`"),
        ("url = \"http://target.test/canary-in-url\"", "the URL is http"),
        ("url = \"https://target.test/\"\nauth.bearer.token = \"canary in auth\"", "the bearer token is empty, or"),
        ("url = \"https://target.test/\"\nauth.bearer.token = 7716253411", "`auth.bearer.token` is a number"),
    ] {
        fs::write(&broken, text).expect("it is writable");
        sidecar.wait_log(says);
    }
    let page = sidecar.metrics();
    let mut written = vec![("answers", settled.body), ("a refusal", refused.body), ("metrics", page)];
    let spool = sidecar.written().dir().join("spool");
    let read = |path: PathBuf| ("the spool", String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned());
    written.extend(files(&spool).into_iter().map(read));
    assert!(sidecar.terminate().success());
    written.extend(files(&spool).into_iter().map(read));
    let kept = written.iter().any(|(place, text)| *place == "the spool" && text.contains(PAYLOAD));
    assert!(kept, "the spool's files were read");
    let log = sidecar.log();
    assert!(
        log.contains("\"level\":\"TRACE\"") && log.contains("delivery.attempted"),
        "the log is as loud as it can be"
    );
    written.push(("the log", log));

    for (place, text) in &written {
        for canary in CANARIES
            .iter()
            .map(|(_, canary)| *canary)
            .chain(IN_FILES)
            .chain([STANDARD.encode("ana:canary-password-8f0a").as_str()])
        {
            let found = text.lines().find(|line| line.contains(canary));
            assert!(found.is_none(), "{canary} is in {place}: {found:?}");
        }
        assert!(*place == "the spool" || !text.contains(PAYLOAD), "the payload is in {place}");
    }
}
