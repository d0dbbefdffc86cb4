//! Requests as a browser sends them for pages of other origins, and listeners with a token or a socket.

use super::{MARK, ask, bury, hook, listed};
use crate::bad_input::assert_problem;
use crate::support::http::{self, HttpAnswer, exchange_unix};
use crate::support::{receiver, sidecar};

const REPLAY: &str = "/api/v1/dead-letters/replay";
const ALL: &str = "{\"all\": true}";
const PAGE: (&str, &str) = ("origin", "https://evil.example");

/// Method, path and headers of a request, and the status and a word of its refusal.
type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], u16, &'c str);

/// Nothing that a browser would take for a permission.
#[track_caller]
fn assert_no_permission(answer: &HttpAnswer) {
    assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{answer:?}");
}

#[test]
fn a_page_of_another_origin_changes_nothing_and_reads_nothing() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 1);
    let text = ("content-type", "text/plain;charset=UTF-8");
    let cross = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    let foreign = "another origin";
    let cases: &[Case<'_>] = &[
        // A form or a `fetch` in mode no-cors, of today's browsers and of old ones.
        ("POST", REPLAY, &[PAGE, text, cross[0], cross[1]], 403, foreign),
        ("POST", REPLAY, &[PAGE, text], 403, foreign),
        ("POST", REPLAY, &[("origin", "null"), text], 403, foreign),
        ("POST", REPLAY, &[text], 403, "outrigger-request"),
        ("POST", "/api/v1/webhooks/hook/resume", &[text], 403, "outrigger-request"),
        // What it would ask before it may send the header, and what it would send then.
        (
            "OPTIONS",
            REPLAY,
            &[PAGE, ("access-control-request-method", "POST"), ("access-control-request-headers", "outrigger-request")],
            403,
            foreign,
        ),
        ("POST", REPLAY, &[PAGE, MARK], 403, foreign),
        ("GET", "/api/v1/dead-letters", &[PAGE], 403, foreign),
        ("GET", "/api/v1/dead-letters", &[cross[0], ("sec-fetch-mode", "navigate")], 403, foreign),
        // A name that was given loopback's address after the page was loaded.
        ("POST", REPLAY, &[("host", "evil.example:8461"), ("origin", "http://evil.example:8461"), MARK], 421, "host"),
        ("GET", "/api/v1/dead-letters", &[("host", "127.0.0.1.evil.example")], 421, "host"),
    ];
    for (method, path, headers, status, says) in cases {
        let answer = ask(&sidecar, method, path, headers, ALL);
        assert_problem(&format!("{method} {path} {headers:?}"), &answer, *status, &[says]);
        assert_no_permission(&answer);
    }
    // A method is what the request line says, whatever a header asks for; so is nobody's name but that of `host`.
    let over = [("x-http-method-override", "POST"), MARK];
    assert_eq!(ask(&sidecar, "GET", REPLAY, &over, ALL).status, 405);
    let forwarded = [("host", "evil.example"), ("x-forwarded-host", "127.0.0.1"), MARK];
    assert_eq!(ask(&sidecar, "POST", REPLAY, &forwarded, ALL).status, 421);
    let nameless =
        http::raw(sidecar.address("admin"), b"GET /api/v1/dead-letters HTTP/1.0\r\n\r\n").expect("an answer");
    assert_eq!(nameless.status, 421, "{nameless:?}");
    let own = ask(&sidecar, "OPTIONS", REPLAY, &[], "");
    assert_eq!((own.status, own.header("allow")), (405, "POST"));
    assert_no_permission(&own);
    assert_eq!(listed(&sidecar, "").len(), 1);
    assert_eq!(target.count(), 1, "nothing was replayed");
    // The same call of a program does its work.
    assert_eq!(ask(&sidecar, "POST", REPLAY, &[MARK], ALL).json()["replayed"], 1);
    target.wait(2);
}

#[test]
fn with_a_token_nobody_comes_in_without_it_and_the_commands_bring_it() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar()
        .setting("admin.token = \"${env:ADMIN_TOKEN}\"")
        .setting("admin.listen = \"0.0.0.0:0\"")
        .env("ADMIN_TOKEN", "s3cret")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    bury(&sidecar, "hook", 1);
    for headers in [&[][..], &[MARK], &[("authorization", "Bearer s3cres")], &[("authorization", "Basic s3cret")]] {
        let answer = ask(&sidecar, "POST", REPLAY, headers, ALL);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{headers:?}");
    }
    let bearer = ("authorization", "Bearer s3cret");
    let elsewhere = [bearer, ("host", "outrigger.svc.cluster.local:8461")];
    assert_eq!(ask(&sidecar, "GET", "/api/v1/dead-letters", &elsewhere, "").status, 200);
    let page = ask(&sidecar, "POST", REPLAY, &[bearer, PAGE], ALL);
    assert_problem("a page that knows the token", &page, 403, &["another origin"]);

    let admin = format!("http://127.0.0.1:{}", sidecar.address("admin").port());
    let list = ["dead-letters", "--admin", &admin];
    let ended = sidecar.written().run(&list);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("client_error"), "{ended:?}");
    let bare = crate::support::process::Process::spawn(sidecar.written().command(&list).env_remove("ADMIN_TOKEN"));
    let bare = bare.finish(crate::support::PATIENCE);
    assert_eq!(bare.status.code(), Some(1), "{bare:?}");
    assert!(bare.stderr.contains("`admin.token`") && bare.stderr.contains("OUTRIGGER_ADMIN_TOKEN"), "{bare:?}");
    assert!(!sidecar.log().contains("s3cret"));
}

#[test]
fn a_unix_socket_is_asked_by_its_path_and_by_the_configuration() {
    let target = receiver().otherwise(400).start();
    let mut sidecar = sidecar()
        .setting("admin.listen = \"unix:admin.sock\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    bury(&sidecar, "hook", 2);
    let socket = sidecar.written().dir().join(sidecar.socket("admin"));
    let unmarked = exchange_unix(&socket, "POST", REPLAY, &[], ALL.as_bytes()).expect("an answer");
    assert_problem("no header", &unmarked, 403, &["outrigger-request"]);
    let path = format!("unix:{}", socket.display());
    for arguments in [&["dead-letters"][..], &["dead-letters", "--admin", &path]] {
        let ended = sidecar.written().run(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (3, ""), "{ended:?}");
    }
    target.otherwise(200.into());
    let ended = sidecar.written().run(&["dead-letters", "replay", "--all"]);
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), "replayed 2 dead letters"), "{ended:?}");
    target.wait(4);
    assert!(sidecar.terminate().success());
    assert!(!socket.exists());
    let stopped = sidecar.written().run(&["dead-letters"]);
    assert_eq!((stopped.status.code(), stopped.stdout.as_str()), (Some(0), "no dead letters"), "{stopped:?}");
    assert!(stopped.stderr.starts_with("no sidecar listens on unix:admin.sock: this is its spool in "), "{stopped:?}");
}

#[test]
fn a_token_at_hand_is_brought_though_other_values_are_missing_or_the_file_is_broken() {
    let sidecar = sidecar()
        .setting("admin.token = \"${env:ADMIN_TOKEN}\"")
        .setting("ingest.token = \"${env:INGEST_TOKEN}\"")
        .env("ADMIN_TOKEN", "s3cret")
        .env("INGEST_TOKEN", "other")
        .webhook("hook", &hook("https://example.com/", ""))
        .start();
    let admin = format!("http://{}", sidecar.address("admin"));
    let run = |set: &[(&str, &str)], unset: &[&str]| {
        let mut command = sidecar.written().command(&["resume", "hook", "--admin", &admin]);
        command.envs(set.iter().copied());
        for name in unset {
            command.env_remove(name);
        }
        let ended = crate::support::process::Process::spawn(&mut command).finish(crate::support::PATIENCE);
        (ended.status.code(), ended.stdout.clone(), ended.stderr)
    };
    let fine = (Some(0), "hook is not paused".to_owned(), String::new());
    assert_eq!(run(&[], &["INGEST_TOKEN"]), fine);
    assert_eq!(run(&[("OUTRIGGER_ADMIN_TOKEN", "s3cret")], &["INGEST_TOKEN", "ADMIN_TOKEN"]), fine);
    let (code, _, err) = run(&[], &["ADMIN_TOKEN"]);
    assert!(code == Some(1) && err.contains("OUTRIGGER_ADMIN_TOKEN"), "{err}");
    // An edit that is refused: what was in force before goes on, and so has whoever repairs it.
    std::fs::write(sidecar.written().config().join("outrigger.toml"), "[admin\n").expect("a write");
    assert_eq!(run(&[("OUTRIGGER_ADMIN_TOKEN", "s3cret")], &[]), fine);
    let (code, _, err) = run(&[], &[]);
    assert!(code == Some(1) && err.contains("outrigger.toml"), "{err}");
}
