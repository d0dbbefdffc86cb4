//! What the program that started the sidecar hears of it: datagrams to `NOTIFY_SOCKET`, as systemd takes them.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
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
fn nothing_is_told_behind_the_end_while_ingest_goes_on() {
    let (_folder, path, socket) = socket();
    let builder = told(sidecar(), path.to_str().expect("a path")).setting("shutdown.delay = '10m'");
    let mut sidecar = builder.start();
    assert_eq!(next_state(&socket)[0], "READY=1");
    sidecar.signal("TERM");
    assert_eq!(next_state(&socket), ["STOPPING=1", "STATUS=draining"]);
    let unchanged = [("result", "unchanged")];
    let before = sidecar.metric("outrigger_config_reloads_total", &unchanged).unwrap_or_default();
    sidecar.signal("HUP");
    sidecar.wait_metric_from("outrigger_config_reloads_total", &unchanged, before + 1.0);
    let published = [("result", "published")];
    let before = sidecar.metric("outrigger_config_reloads_total", &published).unwrap_or_default();
    sidecar.written().write_webhook("second", HOOK);
    sidecar.signal("HUP");
    sidecar.wait_metric_from("outrigger_config_reloads_total", &published, before + 1.0);
    sidecar.signal("TERM");
    assert!(sidecar.wait_end(PATIENCE).success());
    socket.set_nonblocking(true).expect("a mode");
    assert!(socket.recv(&mut [0; 4096]).is_err(), "a manager that hears of readiness takes the end for called off");
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

/// What of the unit a user's manager can do: it has no other users, and no root file system of its own.
const USABLE: [&str; 6] = ["[", "Type=", "ExecStart", "ExecReload=", "Restart", "Timeout"];

#[test]
fn the_unit_asks_for_no_file_that_need_not_be_there() {
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/outrigger.service"));
    let unit = unit.expect("the unit");
    for key in ["LoadCredential=", "LoadCredentialEncrypted=", "EnvironmentFile=/"] {
        assert!(!unit.lines().any(|line| line.starts_with(key)), "a unit whose {key} is not there fails");
    }
    assert!(unit.contains("\n# LoadCredential="), "an example shows how");
}

/// A manager of its own, in namespaces of its own: it starts, reloads, refuses, restarts after a crash and stops, and prints what it knows
/// then. The configuration is in `$1`, which is the manager's home as well.
const MANAGED: &str = r#"
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
chmod 700 /run/user/0
export HOME="$1" XDG_RUNTIME_DIR=/run/user/0
/lib/systemd/systemd --user --unit=basic.target --log-target=console >"$1/manager" 2>&1 &
for try in $(seq 200); do systemctl --user is-active --quiet basic.target 2>/dev/null && break; sleep 0.05; done
shown() { systemctl --user show --property="$1" --value outrigger; }
# How many webhooks, without what the last look at the files came to.
webhooks() { shown StatusText | cut -d";" -f1; }
until_shown() { for try in $(seq 200); do [ "$(shown "$1")" = "$2" ] && return; sleep 0.05; done; shown "$1"; false; }
hook() { echo "$2" >"$1/fresh"; mv "$1/fresh" "$1/config/webhooks/$3.toml"; }

hook "$1" 'url = 7' one
if systemctl --user start outrigger 2>/dev/null; then exit 10; fi
echo "faulty: $(shown ExecMainStatus) $(shown NRestarts) $(shown ActiveState)"

hook "$1" 'url = "https://hooks.example.com/in"' one
systemctl --user start outrigger
"$2" healthcheck
echo "started: $(shown ActiveState) $(webhooks)"

hook "$1" 'url = "https://hooks.example.com/in"' two
systemctl --user reload outrigger
until_shown ActiveState active
echo "reloaded: $(webhooks)"

hook "$1" 'url = 7' two
if systemctl --user reload outrigger 2>/dev/null; then exit 11; fi
until_shown StatusText '2 webhooks; the last reload was refused: faults: 1'
echo "refused: $(shown ActiveState)"
rm "$1/config/webhooks/two.toml"

kill -9 "$(shown MainPID)"
until_shown NRestarts 1
until_shown ActiveState active
"$2" healthcheck
echo "restarted: $(webhooks)"

systemctl --user stop outrigger
echo "stopped: $(shown Result) $(shown ActiveState)"
"#;

#[test]
#[ignore = "needs root and systemd, with which tests/all asks for it"]
fn systemd_waits_for_its_start_refuses_a_faulty_reload_and_starts_it_again_after_a_crash() {
    let asked = std::env::var("OUTRIGGER_TEST_SYSTEMD").unwrap_or_default();
    assert_eq!(asked, "1", "OUTRIGGER_TEST_SYSTEMD=1 asks for this test, and root with systemd can run it");
    let home = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let binary = env!("CARGO_BIN_EXE_outrigger");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/outrigger.service");
    let shipped = fs::read_to_string(shipped).expect("the unit").replace("/usr/local/bin/outrigger", binary);
    let kept = shipped.lines().filter(|line| USABLE.iter().any(|key| line.starts_with(key)));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    let variables = format!("OUTRIGGER_CONFIG={0}/config OUTRIGGER_SPOOL_PATH={0}/spool", home.path().display());
    let unit = kept.replace("[Service]\n", &format!("[Service]\nEnvironment={variables}\n"));
    assert!(unit.contains("Type=notify\n") && unit.contains("RestartPreventExitStatus=78\n"), "{unit}");
    write(".config/systemd/user/outrigger.service", &unit);
    write("config/webhooks/one.toml", HOOK);

    // A start that is never told to be over would be waited for.
    let mut apart = Command::new("timeout");
    apart.args([
        "--kill-after=5",
        "120",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ]);
    apart.args(["bash", "-euc", MANAGED, "bash"]);
    let ended = apart.arg(home.path()).arg(binary).output().expect("unshare");
    let said = String::from_utf8_lossy(&ended.stdout);
    let manager = fs::read_to_string(home.path().join("manager")).unwrap_or_default();
    let wrong = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}\n{said}\n{wrong}\n{manager}", ended.status);
    let expected = "faulty: 78 0 failed\nready\nstarted: active 1 webhook\nreloaded: 2 webhooks\nrefused: active\nready\n\
                    restarted: 1 webhook\nstopped: success inactive\n";
    assert_eq!(said, expected, "{wrong}\n{manager}");
}
