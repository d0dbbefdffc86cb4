//! No secret is in anything that the program writes, however loud it is and whatever goes wrong: canaries stand in every place where
//! secrets do, receivers repeat all that they are sent, every Reason comes up and every command is run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use outrigger::delivery::Reason;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::KeyPair;
use serde_json::Value;

use super::created;
use crate::support::process::{Ended, Process};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

/// What is planted, by the variable that gives it.
const CANARIES: &[(&str, &str)] = &[
    ("CANARY_PATH", "canary-path-4b1f"),
    ("CANARY_QUERY", "canary-query-9a3c"),
    ("CANARY_TAIL", "/200/canary-tail-88e1/x"),
    ("CANARY_HEADER", "canary-header-77d2"),
    ("CANARY_BEARER", "canary-bearer-c0de"),
    ("CANARY_KEY", "canary-key-51ee"),
    ("CANARY_USER", "canary-user-13f7"),
    ("CANARY_PASSWORD", "canary-password-8f0a"),
    ("CANARY_BODY", "canary-\"body\"-2d6b"),
    ("CANARY_CLIENT", "canary-client-0c44"),
    ("CANARY_SECRET", "canary-secret-e9b2"),
    ("CANARY_PARAMETER", "canary-parameter-3aa8"),
    ("CANARY_ENDPOINT", "canary-endpoint-b7d1"),
    // `canary-signing-f00d-a5c3` as base64.
    ("CANARY_SIGNING", "whsec_Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz"),
    ("CANARY_INGEST", "canary-ingest-6e1d"),
    ("CANARY_ADMIN", "canary-admin-d00f"),
];

/// A token that the authorization server gives out.
const TOKEN: &str = "canary-token-2b9e";
/// What stands typed in URLs.
const TYPED: &str = "canary-typed-in-the-url-71c6";
/// What stands in a faulty file as it is.
const IN_FILES: [&str; 2] = ["canary in auth", "7716253411"];
/// What stands in a faulty URL.
const IN_URL: &str = "canary-in-url";
/// What stands in the event: no secret, and nobody's business but the receiver's, the spool's and that of who asks for it.
const PAYLOAD: &str = "canary-payload-3e9d";

/// A private key that is used, and one that was pasted where its file belongs.
static KEYS: LazyLock<[String; 2]> =
    LazyLock::new(|| [(); 2].map(|()| KeyPair::generate().expect("a key").serialize_pem()));

/// Everything that must not be seen, in every form in which it could be.
fn forbidden() -> Vec<String> {
    let mut forbidden: Vec<String> = CANARIES.iter().map(|(_, canary)| (*canary).to_owned()).collect();
    forbidden.extend(IN_FILES.map(str::to_owned));
    forbidden.push("canary-tail-88e1".to_owned());
    forbidden.extend([TOKEN.to_owned(), TYPED.to_owned(), IN_URL.to_owned(), "canary-signing-f00d-a5c3".to_owned()]);
    forbidden.push(STANDARD.encode("canary-user-13f7:canary-password-8f0a"));
    forbidden.push(STANDARD.encode("canary-client-0c44:canary-secret-e9b2"));
    forbidden.push("canary-\\\"body\\\"".to_owned());
    forbidden.extend(KEYS.iter().flat_map(|pem| pem.lines().filter(|line| !line.starts_with('-')).map(str::to_owned)));
    forbidden.push(utf8_percent_encode("canary-\"body\"-2d6b", NON_ALPHANUMERIC).to_string());
    forbidden
}

/// `[auth]` of each kind.
const AUTHS: [&str; 3] = [
    "bearer = { token = \"${env:CANARY_BEARER}\" }",
    "basic = { username = \"${env:CANARY_USER}\", password = \"${env:CANARY_PASSWORD}\" }",
    "api_key = { header = \"x-key\", value = \"${env:CANARY_KEY}\" }",
];

/// `[auth]` by a token of an endpoint with this path.
fn oauth2(port: u16, path: &str) -> String {
    format!(
        "oauth2 = {{ token_url = \"https://127.0.0.1:{port}/{path}/${{env:CANARY_ENDPOINT}}\", client_id = \"${{env:CANARY_CLIENT}}\", client_secret = \"${{env:CANARY_SECRET}}\", parameters = {{ p = \"${{env:CANARY_PARAMETER}}\" }} }}"
    )
}

/// A webhook that carries canaries in its URL, header, body and signature.
fn laden(authority: &str, path: &str, auth: &str, rest: &str) -> String {
    format!(
        "url = \"https://{authority}/{path}/{TYPED}/${{env:CANARY_PATH}}?token=${{env:CANARY_QUERY}}\"\nbody = '{{\"secret\": \"${{env:CANARY_BODY}}\", \"id\": \"{{{{data.id}}}}\"}}'\nordering = \"none\"\nretry.initial = \"1ms\"\nretry.max_interval = \"20ms\"\n{rest}\n[headers]\nx-secret = \"${{env:CANARY_HEADER}}\"\n[auth]\n{auth}\n[signing]\nstandard_webhooks = {{ secrets = [\"${{env:CANARY_SIGNING}}\"] }}\n"
    )
}

/// A webhook whose URL is a reference, with a template behind it.
fn whole(port: u16) -> String {
    format!(
        "url = \"https://127.0.0.1:{port}${{env:CANARY_TAIL}}?id={{{{data.id}}}}\"\n[[response_validators]]\npath = \"$.data.echo\"\nrejected = [\"never\"]\n"
    )
}

/// A receiver that repeats all that it was sent, in a header, in `Location` and in the body.
fn echo(seen: &Recorded) -> Answer {
    let headers: Vec<String> =
        seen.headers.iter().map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let body = String::from_utf8_lossy(&seen.body);
    let said = format!("{} {} {body}", seen.target, headers.join(" "));
    let path = seen.target.split('/').nth(1).unwrap_or_default();
    let answer = match path {
        "token" => {
            return Answer::json(format!("{{\"access_token\":\"{TOKEN}\",\"expires_in\":3600}}"));
        }
        "token-refused" => Answer::status(401),
        "token-down" => Answer::status(503),
        "closes" => return Answer::close(),
        "garbage" => return Answer::garbage(),
        "hangs" => return Answer::hang(),
        status => Answer::status(status.parse().unwrap_or(200)),
    };
    let body = serde_json::json!({ "echo": said, "error": said, "error_description": said });
    answer.header("x-echo", seen.target.clone()).header("location", seen.target.clone()).body(body.to_string())
}

/// A port whose listener speaks no TLS.
fn no_tls() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    port
}

/// The webhooks, by the Reason that each comes to; those without one are taken.
fn webhooks(port: u16, old: u16, closed: u16, no_tls: u16) -> Vec<(&'static str, Option<Reason>, String)> {
    let here = format!("127.0.0.1:{port}");
    let old = format!("127.0.0.1:{old}");
    let by = |status: &str, auth: &str, rest: &str| laden(&here, status, auth, rest);
    let rejects = "[[response_validators]]\nname = \"echo\"\npath = \"$.data.echo\"\nexpected = [\"never\"]\n";
    let [bearer, basic, key] = AUTHS;
    let granted = oauth2(port, "token");
    vec![
        ("taken-bearer", None, by("200", bearer, "")),
        ("taken-basic", None, by("200", basic, "")),
        ("taken-key", None, by("200", key, "")),
        ("taken-token", None, by("200", &granted, "")),
        (
            "taken-assertion",
            None,
            by(
                "200",
                &granted.replace("client_secret = \"${env:CANARY_SECRET}\"", "private_key_file = \"key.pem\""),
                "",
            ),
        ),
        ("whole", None, whole(port)),
        ("shadow", None, by("200", bearer, "status = \"shadow\"")),
        ("client-error", Some(Reason::ClientError), by("400", &granted, "")),
        ("auth-error", Some(Reason::AuthError), by("401", &granted, "")),
        ("not-found", Some(Reason::NotFound), by("404", basic, "")),
        ("gone", Some(Reason::Gone), by("410", key, "")),
        ("rate-limited", Some(Reason::RateLimited), by("429", bearer, "")),
        ("server-error", Some(Reason::ServerError), by("500", basic, "")),
        ("redirect", Some(Reason::Redirect), by("302", key, "")),
        ("timeout", Some(Reason::Timeout), by("hangs", bearer, "timeout = \"200ms\"")),
        ("dns-error", Some(Reason::DnsError), laden("no-such-host.invalid", "x", basic, "")),
        ("refused", Some(Reason::ConnectionRefused), laden(&format!("127.0.0.1:{closed}"), "x", key, "")),
        ("reset", Some(Reason::ConnectionReset), laden(&old, "closes", bearer, "")),
        ("no-tls", Some(Reason::TlsError), laden(&format!("127.0.0.1:{no_tls}"), "x", basic, "")),
        ("garbage", Some(Reason::NetworkError), laden(&old, "garbage", key, "")),
        ("blocked", Some(Reason::BlockedAddress), laden("10.0.0.1", "x", bearer, "")),
        ("token-refused", Some(Reason::TokenRefused), by("200", &oauth2(port, "token-refused"), "")),
        ("token-down", Some(Reason::TokenUnavailable), by("200", &oauth2(port, "token-down"), "")),
        ("invalid", Some(Reason::ValidationFailed), format!("{}\n{rejects}", by("200", &granted, ""))),
        ("large", Some(Reason::ResponseTooLarge), format!("{}\n{rejects}", by("200", key, "limits.response = 10"))),
        ("strict", Some(Reason::TemplateError), by("{{data.nothing}}", bearer, "strict = true")),
        ("expired", Some(Reason::Expired), by("500", basic, "retry.max_age = \"1s\"")),
        ("exhausted", Some(Reason::AttemptsExhausted), by("500", key, "retry.max_attempts = 2")),
        ("removed", Some(Reason::WebhookRemoved), by("410", bearer, "")),
    ]
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).expect("it is a directory").map(|entry| entry.expect("it is readable").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What was written, by place.
struct Written(Vec<(String, String)>);

impl Written {
    fn add(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    fn spool(&mut self, sidecar: &Sidecar) {
        for path in files(&sidecar.written().dir().join("spool")) {
            self.add("the spool", String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned());
        }
    }

    fn ended(&mut self, command: &str, ended: &Ended) {
        self.add(command, format!("{}\n{}", ended.stdout, ended.stderr));
    }

    /// Fails where a canary is found.
    #[track_caller]
    fn hold(&self) {
        let forbidden = forbidden();
        for (place, text) in &self.0 {
            for canary in &forbidden {
                // `check` shows the lines of files that it speaks of, to those who have the files.
                if (canary == TYPED || canary == IN_URL) && place.starts_with("check") {
                    continue;
                }
                let found = text.lines().find(|line| line.contains(canary));
                assert!(found.is_none(), "{canary} is in {place}: {found:?}");
            }
            let asked_for = place == "the spool"
                || place.contains("invocations")
                || place.contains("find=")
                || place.contains("dead-letters show")
                || place.contains("--event");
            assert!(asked_for || !text.contains(PAYLOAD), "the payload is in {place}");
        }
    }
}

/// A sidecar with every canary in its environment.
fn laden_sidecar() -> Builder {
    let builder = sidecar();
    fs::create_dir_all(builder.dir().join("config")).expect("it is writable");
    fs::write(builder.dir().join("config/key.pem"), &KEYS[0]).expect("it is writable");
    let builder = builder
        .setting("log.level = \"trace\"")
        .setting("ingest.token = \"${env:CANARY_INGEST}\"")
        .setting("admin.token = \"${env:CANARY_ADMIN}\"")
        .setting("defaults.breaker = { failures = 10000, probe = \"1h\" }")
        .setting("config.removal_grace = \"1s\"");
    CANARIES.iter().fold(builder, |builder, (name, canary)| builder.env(name, canary))
}

fn admin(sidecar: &Sidecar, method: &str, path: &str, body: &str) -> String {
    let address = sidecar.address("admin");
    let host = address.to_string();
    let headers = [("host", host.as_str()), ("authorization", "Bearer canary-admin-d00f")];
    let answer = http::exchange(address, method, path, &headers, body.as_bytes()).expect("an answer");
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    format!("{:?}\n{}", answer.headers, answer.body)
}

#[test]
fn no_secret_is_in_anything_that_is_written_whatever_goes_wrong_and_whoever_asks() {
    let (target, old) = (receiver().start(), receiver().http1().start());
    target.respond_with(echo);
    old.respond_with(echo);
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let (port, old_port, no_tls) = (target.port(), old.port(), no_tls());
    let webhooks = webhooks(port, old_port, closed, no_tls);
    let reasons: BTreeSet<&str> =
        webhooks.iter().filter_map(|(_, reason, _)| Some(reason.as_ref()?.as_str())).collect();
    assert_eq!(reasons, Reason::ALL.map(Reason::as_str).into(), "each Reason has its webhook");
    let mut builder =
        laden_sidecar().setting(&format!("egress.allow_ports = [443, {port}, {old_port}, {closed}, {no_tls}]"));
    for (name, _, file) in &webhooks {
        builder = builder.webhook(name, file);
    }
    let mut sidecar = builder.start();
    let mut written = Written(Vec::new());

    written.add("a refusal", sidecar.post("/v1/events", &created("r-0")).body);
    let headers = [("authorization", "Bearer canary-ingest-6e1d"), ("content-type", "application/json")];
    let settled = sidecar.post_with("/v1/events?wait=3s", &headers, created(PAYLOAD).as_bytes());
    assert!(matches!(settled.status, 200 | 202), "{settled:?}");
    written.add("an answer", settled.body);
    fs::remove_file(sidecar.written().config().join("webhooks/removed.toml")).expect("it is there");
    let come_up = |sidecar: &Sidecar, reason: &str| {
        let page = sidecar.metrics();
        let unheard = format!("reason=\"{}\",webhook=\"dns-error\"", Reason::Timeout);
        page.lines().any(|line| {
            let named = line.contains(&format!("reason=\"{reason}\""));
            let unresolved = reason == Reason::DnsError.as_str() && line.contains(&unheard);
            (named || unresolved) && !line.ends_with(" 0") && !line.starts_with('#')
        }) || sidecar.log().contains(&format!("\"reason\":\"{reason}\""))
    };
    let seen = eventually(PATIENCE, || reasons.iter().all(|reason| come_up(&sidecar, reason)).then_some(()));
    // A resolver that does not answer takes its time, and is a timeout.
    let missing: Vec<&&str> = reasons.iter().filter(|reason| !come_up(&sidecar, reason)).collect();
    assert!(seen.is_some(), "these did not come up: {missing:?}\n{}", sidecar.metrics());
    let sent = target.recorded();
    assert!(sent.iter().any(|seen| seen.target.ends_with("canary-path-4b1f?token=canary-query-9a3c")), "on the wire");
    assert!(sent.iter().any(|seen| seen.header("authorization") == format!("Bearer {TOKEN}")), "on the wire");
    assert!(sent.iter().any(|seen| seen.body.starts_with(b"{\"secret\": \"canary-\\\"body")), "unchanged on the wire");

    written.add("metrics", sidecar.metrics());
    written.spool(&sidecar);
    routes(&sidecar, webhooks.iter().map(|(name, ..)| *name), &mut written);
    invocations(&sidecar, &mut written, &reasons);
    commands(&sidecar, &mut written);

    let broken = sidecar.written().config().join("webhooks/broken.toml");
    // What stands in the file itself is kept out of the log as well, and so is a number that lacks its quotes.
    for (text, says) in [
        ("url = \"https//${env:CANARY_PATH}\"\nnonsense = \"${env:CANARY_BODY}\"", "unknown key `nonsense`"),
        ("url = \"http://target.test/canary-in-url\"", "the URL is http"),
        ("url = \"https://target.test/\"\nauth.bearer.token = \"canary in auth\"", "the bearer token is empty, or"),
        ("url = \"https://target.test/\"\nauth.bearer.token = 7716253411", "`auth.bearer.token` is a number"),
        (
            &format!(
                "url = \"https://target.test/\"\n[tls]\nclient_cert_file = \"key.pem\"\nclient_key_file = \"\"\"{}\"\"\"",
                KEYS[1]
            ),
            "what stands here is no path",
        ),
        (
            "url = \"https://target.test/\"\n[signing]\nstandard_webhooks = { secrets = [\"${env:CANARY_KEY}\"] }",
            "the secret is no base64",
        ),
    ] {
        fs::write(&broken, text).expect("it is writable");
        sidecar.wait_log(says);
        let checked = sidecar.written().run(&["check"]);
        assert_eq!(checked.status.code(), Some(78));
        written.ended("check of a fault", &checked);
        written.ended("run with a fault", &sidecar.written().run(&["run"]));
        written.add("the last look", admin(&sidecar, "GET", "/api/v1/config", ""));
    }
    written.add("a refused reload", {
        let address = sidecar.address("admin");
        let answer = http::exchange(
            address,
            "POST",
            "/-/reload",
            &[("host", &address.to_string()), ("authorization", "Bearer canary-admin-d00f")],
            b"",
        );
        answer.expect("an answer").body
    });
    fs::remove_file(broken).expect("it is there");

    assert!(sidecar.terminate().success());
    written.spool(&sidecar);
    let kept = written.0.iter().any(|(place, text)| place == "the spool" && text.contains(PAYLOAD));
    assert!(kept, "the spool's files were read");
    let log = sidecar.log();
    assert!(log.contains("\"level\":\"TRACE\"") && log.contains("delivery.attempted"), "it is as loud as it can be");
    written.add("the log", log);
    written.ended("dead-letters of a stopped sidecar", &sidecar.written().run(&["dead-letters", "--json"]));
    // What is damaged is read around, and said so.
    let mut recovering = Process::spawn(&mut sidecar.written().command(&["run", "--recover"]));
    let up =
        eventually(PATIENCE, || recovering.lines().iter().any(|line| line.contains("\"sidecar.ready\"")).then_some(()));
    assert!(up.is_some(), "{:?}", recovering.lines());
    recovering.signal("TERM");
    recovering.wait(PATIENCE);
    written.add("run --recover", recovering.lines().join("\n"));
    assert!(written.0.len() > 40, "{}", written.0.len());
    written.hold();
}

/// Asks for every invocation, and for what became of the event; each reason of an attempt is among them.
fn invocations(sidecar: &Sidecar, written: &mut Written, reasons: &BTreeSet<&str>) {
    let json = |text: &str| -> Value { serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON") };
    let mut listed = Vec::new();
    let mut untold = Vec::new();
    let queries = reasons.iter().map(|reason| format!("reason={reason}")).chain(["outcome=accepted".to_owned()]);
    for query in queries {
        let list = admin(sidecar, "GET", &format!("/api/v1/invocations?limit=3&{query}"), "");
        let found = json(&list)["invocations"].as_array().cloned().expect("a list");
        if found.is_empty() {
            untold.push(query);
        }
        listed.extend(found);
        written.add("/api/v1/invocations", list);
    }
    // Those that end a delivery without an attempt have none, and a resolver that does not answer is a timeout.
    let ends = ["dns_error", "attempts_exhausted", "expired", "webhook_removed"];
    assert!(untold.iter().all(|query| ends.iter().any(|end| query.ends_with(end))), "{untold:?}");
    for one in &listed {
        let path = format!("/api/v1/invocations/{}", one["id"].as_str().expect("an id"));
        written.add(&path.clone(), admin(sidecar, "GET", &path, ""));
    }
    let find = format!("/api/v1/events?find={}", listed[0]["event_id"].as_str().expect("an id"));
    let story = admin(sidecar, "GET", &find, "");
    assert!(story.contains(PAYLOAD), "{story}");
    written.add(&find, story);
    written.add("/api/v1/changes", admin(sidecar, "GET", "/api/v1/changes", ""));
}

/// Asks the admin listener for all that it shows.
fn routes<'w>(sidecar: &Sidecar, webhooks: impl Iterator<Item = &'w str>, written: &mut Written) {
    for path in ["/api/v1/webhooks", "/api/v1/dead-letters", "/api/v1/config"] {
        written.add(path, admin(sidecar, "GET", path, ""));
    }
    for name in webhooks.filter(|name| *name != "removed") {
        let path = format!("/api/v1/webhooks/{name}?sample=RequestCreated");
        written.add(&path, admin(sidecar, "GET", &path, ""));
    }
    for name in ["client-error", "token-refused"] {
        let path = format!("/api/v1/webhooks/{name}/test");
        written.add(&path, admin(sidecar, "POST", &path, ""));
    }
}

/// Runs every command.
fn commands(sidecar: &Sidecar, written: &mut Written) {
    let dir = sidecar.written().dir();
    let event = dir.join("event.json");
    fs::write(&event, created(PAYLOAD)).expect("it is writable");
    let event = event.display().to_string();
    let admin = format!("http://{}", sidecar.address("admin"));
    let metrics = sidecar.address("metrics").to_string();
    let letters = sidecar.written().run(&["dead-letters", "--webhook", "client-error", "--json", "--admin", &admin]);
    let listed: Value = serde_json::from_str(&letters.stdout).unwrap_or_else(|error| panic!("{error}: {letters:?}"));
    let id = listed["dead_letters"][0]["id"].as_str().unwrap_or_else(|| panic!("no dead letter: {listed}")).to_owned();
    written.ended("dead-letters --json", &letters);
    let mut run = |arguments: &[&str], codes: &[i32]| {
        let ended = sidecar.written().run(arguments);
        let code = ended.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{arguments:?}: {code}\n{}{}", ended.stdout, ended.stderr);
        let silent = ended.stdout.is_empty() && ended.stderr.is_empty();
        assert!(!silent || arguments.first() == Some(&"healthcheck"), "{arguments:?} says nothing");
        written.ended(&arguments.join(" "), &ended);
    };
    run(&["check"], &[0]);
    run(&["check", "--strict"], &[0, 1]);
    run(&["check", "--json"], &[0]);
    run(&["render", "--event", &event], &[0, 1]);
    run(&["render", "client-error", "--event", &event, "--body-only"], &[0]);
    for name in [
        "taken-basic",
        "taken-token",
        "client-error",
        "auth-error",
        "redirect",
        "timeout",
        "invalid",
        "strict",
        "blocked",
        "taken-assertion",
        "whole",
    ] {
        run(&["test", name], &[0, 1]);
    }
    for name in ["token-refused", "token-down", "no-tls", "garbage", "reset", "refused", "large"] {
        run(&["test", name], &[1]);
    }
    run(&["dead-letters", "--admin", &admin], &[0]);
    run(&["dead-letters", "show", &id, "--admin", &admin], &[0]);
    run(&["dead-letters", "replay", &id, "--admin", &admin], &[0]);
    run(&["resume", "gone", "--admin", &admin], &[0]);
    run(&["resume", "nobody", "--admin", &admin], &[1]);
    run(&["dead-letters", "drop", "--webhook", "strict", "--yes", "--admin", &admin], &[0]);
    run(&["schema", "event"], &[0]);
    run(&["healthcheck", "--address", &metrics], &[0]);

    let other = dir.join("other");
    fs::create_dir_all(other.join("webhooks")).expect("it is writable");
    let edited = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(sidecar.written().config().join(name)).expect("it is there");
        assert!(text.contains(from), "{name} has no {from}");
        fs::write(other.join(name), text.replacen(from, to, 1)).expect("it is writable");
    };
    edited("outrigger.toml", "${env:CANARY_INGEST}", "${env:CANARY_KEY}");
    edited("webhooks/client-error.toml", "${env:CANARY_PATH}", "other/${env:CANARY_BODY}");
    edited("webhooks/taken-key.toml", "${env:CANARY_KEY}", "canary in auth");
    edited("webhooks/taken-token.toml", "${env:CANARY_SECRET}", "canary in auth");
    edited("webhooks/invalid.toml", "${env:CANARY_HEADER}", "canary in auth");
    edited("webhooks/large.toml", "${env:CANARY_SIGNING}", "whsec_Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz");
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(arguments).envs(CANARIES.iter().map(|(name, canary)| (*name, *canary)));
        command
    };
    for arguments in [&["schema", "config"][..], &["demo"], &["--help"], &["--version"]] {
        let ended = Process::spawn(program(arguments).current_dir(env!("CARGO_MANIFEST_DIR"))).finish(3 * PATIENCE);
        assert!(ended.status.success(), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        written.ended(&arguments.join(" "), &ended);
    }
    let (old, new) = (sidecar.written().config().display().to_string(), other.display().to_string());
    for more in [&[][..], &["--json"], &["--all", "--color", "always"], &["--show-urls"]] {
        let plan = [&["plan", &old, &new, "--events", &event], more].concat();
        let ended = Process::spawn(program(&plan).current_dir(dir)).finish(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
        let typed = more.contains(&"--show-urls");
        // Who asks for URLs gets what is typed in them, and no reference.
        let shown = if typed { ended.stdout.replace(TYPED, "") } else { ended.stdout.clone() };
        written.add(&format!("plan --events {more:?}"), format!("{shown}\n{}", ended.stderr));
    }
}
