//! Flags and commands that are wrong.

use std::net::TcpListener;
use std::process::Command;

use crate::support::PATIENCE;
use crate::support::process::Process;
use crate::support::sidecar;

const HOOK: &str = "url = 'https://example.com/'\nbody = '{}'\n";

#[test]
fn a_command_line_that_is_wrong_ends_with_2_and_how_to_go_on() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "Usage"),
        (&["chekc"], "check"),
        (&["run", "--confg", "x"], "--config"),
        (&["run", "--listen-ingest"], "value is required"),
        (&["run", "surplus"], "unexpected argument"),
        (&["render"], "--event"),
    ];
    for (arguments, says) in cases {
        let ended = Process::spawn(Command::new(env!("CARGO_BIN_EXE_outrigger")).args(arguments)).finish(PATIENCE);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_setting_that_is_wrong_ends_with_78_and_names_the_setting() {
    let written = sidecar().webhook("hook", HOOK).write();
    let missing = written.dir().join("nowhere");
    let missing = missing.to_str().expect("a plain path");
    let cases: [(&[&str], &[&str]); 6] = [
        (&["run", "--listen-admin", "0.0.0.0:0"], &["admin.listen", "admin.token"]),
        (&["run", "--listen-ingest", "nonsense"], &["ingest.listen"]),
        (&["run", "--listen-ingest", "127.0.0.1:99999"], &["ingest.listen"]),
        (&["run", "--listen-ingest", "0.0.0.0:0"], &["ingest.listen", "ingest.token"]),
        (&["run", "--listen-metrics", "localhost"], &["metrics.listen"]),
        (&["run", "--log-level", "loud"], &["log.level"]),
    ];
    for (arguments, says) in cases {
        let ended = written.run(arguments);
        assert_eq!(ended.status.code(), Some(78), "{arguments:?}: {ended:?}");
        for word in says {
            assert!(ended.stderr.contains(word), "{arguments:?}: {word}: {ended:?}");
        }
    }
    for command in ["run", "check"] {
        let ended = Process::spawn(Command::new(env!("CARGO_BIN_EXE_outrigger")).args([command, "--config", missing]));
        let ended = ended.finish(PATIENCE);
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        // `check` was asked for faults and answers on standard output.
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains("nowhere` does not exist"), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for listener in ["ingest", "admin", "metrics"] {
        let (flag, setting) = (format!("--listen-{listener}"), format!("{listener}.listen"));
        let ended = sidecar().webhook("hook", HOOK).write().run(&["run", &flag, &address]);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let message = format!("{setting} cannot listen on {address}: ");
        assert!(ended.stderr.contains(&message) && ended.stderr.contains("end what uses this one"), "{ended:?}");
    }
    let ended = sidecar().webhook("hook", HOOK).write().run(&["run", "--listen-ingest", "unix:nowhere/ingest.sock"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("make the socket's folder") && !ended.stderr.contains("end what uses"), "{ended:?}");
}
