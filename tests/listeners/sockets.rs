//! Unix sockets: who may open them, whom the sidecar speaks to, and what people are told who may not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EVENT, hook};
use crate::support::http::exchange_unix;
use crate::support::process::{Ended, Process};
use crate::support::sidecar::{Sidecar, Written};
use crate::support::{PATIENCE, eventually, receiver, sidecar};

/// A user that is nobody's.
const STRANGER: u32 = 65_533;

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a socket").permissions().mode() & 0o7777
}

fn path_of(sidecar: &Sidecar, listener: &str) -> PathBuf {
    sidecar.written().dir().join(sidecar.socket(listener))
}

/// The user that the tests run as.
fn own_uid(written: &Written) -> u32 {
    fs::metadata(written.dir()).expect("a directory").uid()
}

/// Runs a program as another user, which root alone may do.
fn run_as(uid: u32, command: &mut Command) -> Ended {
    Process::spawn(command.uid(uid).gid(uid)).finish(PATIENCE)
}

/// The program where every user can run it.
fn program_for_all(dir: &Path) -> PathBuf {
    let copy = dir.join("outrigger");
    fs::copy(env!("CARGO_BIN_EXE_outrigger"), &copy).expect("a copy");
    copy
}

#[test]
fn sockets_have_the_mode_that_is_set_whatever_the_umask_is() {
    for (umask, ingest, admin) in [("000", 0o660, 0o600), ("077", 0o666, 0o640)] {
        let builder = sidecar()
            .setting("ingest.listen = \"unix:ingest.sock\"")
            .setting("admin.listen = \"unix:admin.sock\"")
            .setting("metrics.listen = \"unix:metrics.sock\"")
            .setting(&format!("ingest.socket_mode = \"{ingest:04o}\""))
            .setting(&format!("admin.socket_mode = \"{admin:o}\""))
            .webhook("hook", &hook("https://hooks.example.com/in", ""));
        let sidecar = builder.start_by(&["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        let modes = ["ingest", "admin", "metrics"].map(|listener| mode_of(&path_of(&sidecar, listener)));
        assert_eq!(modes, [ingest, admin, 0o660], "{umask}");
        let stat = Command::new("stat").args(["-c", "%a %F"]).arg(path_of(&sidecar, "ingest")).output().expect("stat");
        assert_eq!(String::from_utf8_lossy(&stat.stdout), format!("{ingest:o} socket\n"));
    }
}

#[test]
fn who_is_not_on_the_list_is_closed_at_once_and_told_of_once_and_an_edit_lets_him_in() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("ingest.listen = \"unix:ingest.sock\"")
        .setting("ingest.allow_uids = [4294967294]")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let (socket, own) = (path_of(&sidecar, "ingest"), own_uid(sidecar.written()));
    let post = || exchange_unix(&socket, "POST", "/v1/events", &[], EVENT.as_bytes());
    for _ in 0..3 {
        let refused = post().expect_err("root and its own user are not on the list");
        assert!(refused.starts_with("no answer"), "{refused}");
    }
    let line = sidecar.wait_log("was refused");
    assert!(line.contains(&format!("\"uid\":{own}")) && line.contains("ingest.allow_uids"), "{line}");
    assert_eq!(sidecar.log().matches("was refused").count(), 1, "{}", sidecar.log());
    assert_eq!(sidecar.metric("outrigger_events_received_total", &[("kind", "request")]), Some(0.0));

    let toml = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it is there");
    sidecar.written().replace("outrigger.toml", &toml.replace("4294967294", &format!("4294967294, {own}")));
    let answer = eventually(PATIENCE, || post().ok()).expect("an edit counts without a restart");
    assert_eq!(answer.status, 202);
    target.wait(1);
    assert!(!sidecar.log().contains("takes a restart"), "{}", sidecar.log());
}

#[test]
#[ignore = "needs root, as which tests/all runs it: another user can only be played by it"]
fn another_user_is_refused_by_default_and_let_in_when_named() {
    let target = receiver().start();
    let sidecar = sidecar()
        .setting("ingest.listen = \"unix:ingest.sock\"")
        .setting("ingest.socket_mode = \"0666\"")
        .reaching(&target)
        .webhook("hook", &hook(&target.url("/"), ""))
        .start();
    let (dir, socket) = (sidecar.written().dir(), path_of(&sidecar, "ingest"));
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("its own folder");
    let own = exchange_unix(&socket, "POST", "/v1/events", &[], EVENT.as_bytes()).expect("its own user comes in");
    assert_eq!(own.status, 202);
    assert_eq!(own_uid(sidecar.written()), 0, "another user can only be played by root");
    let post = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--json", EVENT, "--unix-socket"]).arg(&socket);
        run_as(STRANGER, curl.arg("http://localhost/v1/events"))
    };
    let refused = post();
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let line = sidecar.wait_log("was refused");
    assert!(line.contains(&format!("\"uid\":{STRANGER}")), "{line}");

    let toml = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it is there");
    sidecar.written().replace("outrigger.toml", &format!("ingest.allow_uids = [0, {STRANGER}]\n{toml}"));
    let let_in = eventually(PATIENCE, || Some(post()).filter(|ended| ended.status.success()));
    let let_in = let_in.unwrap_or_else(|| panic!("{:?}\n{}", post(), sidecar.log()));
    assert!(let_in.stdout.contains("\"deliveries\":[\"hook\"]"), "{let_in:?}");
    target.wait(2);
}

#[test]
fn the_commands_say_what_keeps_them_out() {
    let sidecar = sidecar()
        .setting("admin.listen = \"unix:admin.sock\"")
        .setting("admin.allow_uids = [4294967294]")
        .webhook("hook", &hook("https://hooks.example.com/in", ""))
        .start();
    let own = own_uid(sidecar.written());
    for arguments in [&["dead-letters"][..], &["dead-letters", "replay", "--all"], &["resume", "hook"]] {
        let ended = sidecar.written().run(arguments);
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        for says in ["unix:admin.sock", "`admin.allow_uids`", &format!("user {own}")] {
            assert!(ended.stderr.contains(says), "{says}: {ended:?}");
        }
    }
}

#[test]
#[ignore = "needs root, as which tests/all runs it: another user can only be played by it"]
fn the_commands_say_that_the_mode_keeps_them_out() {
    let sidecar = sidecar()
        .setting("admin.listen = \"unix:admin.sock\"")
        .webhook("hook", &hook("https://hooks.example.com/in", ""))
        .start();
    let (dir, socket) = (sidecar.written().dir(), path_of(&sidecar, "admin"));
    assert_eq!(own_uid(sidecar.written()), 0, "another user can only be played by root");
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("its own folder");
    let program = program_for_all(dir);
    for arguments in [&["dead-letters"][..], &["resume", "hook"]] {
        let mut command = Command::new(&program);
        command.args(arguments).arg("--admin").arg(format!("unix:{}", socket.display())).current_dir("/");
        let ended = run_as(STRANGER, &mut command);
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("may not be opened by user 65533: `admin.socket_mode`"), "{ended:?}");
    }
}
