//! What the program that started the sidecar hears of it: datagrams to `NOTIFY_SOCKET`, as systemd takes them.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use rustix::time::{ClockId, clock_gettime};

use crate::support::sidecar::Builder;
use crate::support::{PATIENCE, receiver, sidecar};

const HOOK: &str = "url = 'https://hooks.example.com/in'\n";
const EVENT: &str = r#"{"event_type":"RequestCreated"}"#;

/// A socket as systemd has one, in a folder of its own.
fn socket() -> (tempfile::TempDir, PathBuf, UnixDatagram) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (folder, path, socket)
}

fn told(builder: Builder, socket: &str) -> Builder {
    builder.setting("config.poll = '0s'").webhook("hook", HOOK).env("NOTIFY_SOCKET", socket)
}

/// The next message, each of its lines for itself.
#[track_caller]
fn next(socket: &UnixDatagram) -> Vec<String> {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).expect("a message within the time");
    let text = std::str::from_utf8(&message[..length]).expect("a text");
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().map(str::to_owned).collect()
}

/// The next message that is more than a status: what files came to that changed by themselves may come in between.
#[track_caller]
fn next_state(socket: &UnixDatagram) -> Vec<String> {
    loop {
        let message = next(socket);
        if !message[0].starts_with("STATUS=") {
            return message;
        }
    }
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn a_start_a_reload_a_refusal_and_the_end_are_told_to_who_started_it() {
    let (_folder, path, socket) = socket();
    let mut sidecar = told(sidecar(), path.to_str().expect("a path")).start();
    assert_eq!(next_state(&socket), ["READY=1", "STATUS=1 webhook"]);
    assert_eq!(sidecar.get("metrics", "/readyz").status, 200);

    let reload = |expected: &str| {
        let before = monotonic_usec();
        sidecar.signal("HUP");
        let begun = next_state(&socket);
        assert_eq!((begun.len(), begun[0].as_str()), (2, "RELOADING=1"), "{begun:?}");
        let at: i64 = begun[1].strip_prefix("MONOTONIC_USEC=").expect("its time").parse().expect("a number");
        assert!(before <= at && at <= monotonic_usec(), "{before} {at}");
        assert_eq!(next_state(&socket), ["READY=1", &format!("STATUS={expected}")]);
    };
    reload("1 webhook; the last reload: unchanged");
    let written = sidecar.written();
    written.write_webhook("second", "url = 7\n");
    reload("1 webhook; the last reload was refused: faults: 1");

    // An edit that is found without being asked for is no reload of the supervisor's.
    written.write_webhook("second", HOOK);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last: &Vec<String>| last[0] != "STATUS=2 webhooks; the last reload: published") {
        seen.push(next(&socket));
    }
    assert!(seen.iter().all(|message| message.len() == 1), "{seen:?}");

    assert!(sidecar.terminate().success());
    assert_eq!(next_state(&socket), ["STOPPING=1", "STATUS=draining"]);
}

#[test]
fn the_end_is_told_when_it_begins_and_not_when_it_is_over() {
    let (_folder, path, socket) = socket();
    let target = receiver().otherwise(Answer::status(200).after(Duration::from_secs(2))).start();
    let hook = format!("url = {:?}\n", target.url("/hook"));
    let builder = told(sidecar(), path.to_str().expect("a path")).reaching(&target).webhook("slow", &hook);
    let mut sidecar = builder.start();
    assert_eq!(next_state(&socket)[0], "READY=1");
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    sidecar.signal("TERM");
    assert_eq!(next_state(&socket)[0], "STOPPING=1");
    assert!(!sidecar.has_ended(), "an attempt is in flight");
    assert!(sidecar.wait_end(PATIENCE).success());
}

#[test]
fn a_socket_with_an_abstract_name_is_told_as_well() {
    let name = format!("outrigger-test-{}-{}", std::process::id(), fastrand::u64(..));
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _sidecar = told(sidecar(), &format!("@{name}")).start();
    assert_eq!(next_state(&socket), ["READY=1", "STATUS=1 webhook"]);
}

#[test]
fn who_does_not_listen_holds_nothing_up() {
    for name in ["/nowhere/notify", "@", ""] {
        let mut sidecar = told(sidecar(), name).start();
        sidecar.wait_log("does not hear how it goes");
        assert!(sidecar.terminate().success(), "{name}");
    }

    let (_folder, path, socket) = socket();
    let mut sidecar = told(sidecar(), path.to_str().expect("a path")).start();
    // Far more than the socket has room for.
    for _ in 0..40 {
        let before = sidecar.metric("outrigger_config_reloads_total", &[("result", "unchanged")]).unwrap_or_default();
        sidecar.signal("HUP");
        sidecar.wait_metric_from("outrigger_config_reloads_total", &[("result", "unchanged")], before + 1.0);
    }
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    assert!(sidecar.terminate().success());
    socket.set_nonblocking(true).expect("a mode");
    let kept = std::iter::from_fn(|| socket.recv(&mut [0; 4096]).ok()).count();
    assert!((1..40).contains(&kept), "{kept} messages had room");
}
