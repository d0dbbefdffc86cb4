//! Spools that cannot be opened, and spools that are full.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::http::{self, HttpAnswer};
use crate::support::process::Process;
use crate::support::receiver::Target;
use crate::support::sidecar::{Sidecar, Written};
use crate::support::{PATIENCE, eventually, receiver, sidecar};

use super::assert_problem;

const HOOK: &str = "url = 'https://example.com/'\nbody = '{}'\n";

fn event(bytes: usize) -> String {
    format!("{{\"event_type\":\"RequestCreated\",\"data\":\"{}\"}}", "x".repeat(bytes))
}

/// A webhook that comes back soon.
fn eager(target: &Target) -> String {
    format!(
        "url = {:?}\nbody = '{{}}'\n[retry]\ninitial = '50ms'\nmax_interval = '200ms'\n[breaker]\nfailures = 10000\n",
        target.url("/hook")
    )
}

#[test]
fn a_spool_without_a_directory_of_its_own_is_refused_with_the_setting() {
    for (what, below) in [("a path below a file", "ca.pem/spool"), ("a file in the way", "ca.pem")] {
        let written = sidecar().webhook("hook", HOOK).write();
        let path = written.dir().join(below);
        let text = fs::read_to_string(written.config().join("outrigger.toml")).expect("it was written");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("spool.path")).collect();
        let text = format!("{}\nspool.path = '{}'\n", lines.join("\n"), path.display());
        fs::write(written.config().join("outrigger.toml"), text).expect("a write");
        let ended = written.run(&["run"]);
        assert_eq!(ended.status.code(), Some(1), "{what}: {ended:?}");
        for word in ["cannot be written to", "`spool.path`", &path.display().to_string()] {
            assert!(ended.stderr.contains(word), "{what}: {word}: {ended:?}");
        }
    }
}

#[test]
fn a_second_process_on_a_spool_is_refused_with_the_first_ones_pid_and_the_first_goes_on() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &eager(&target)).start();
    let ended = sidecar.written().run(&["run"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&format!("in use by process {}", sidecar.pid())), "{ended:?}");
    assert!(ended.stderr.contains("`spool.path`"), "{ended:?}");
    assert_eq!(sidecar.post("/v1/events", &event(1)).status, 202);
    target.wait(1);
}

#[test]
fn a_damaged_spool_is_refused_with_what_to_do() {
    let target = receiver().otherwise(503).start();
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &eager(&target)).start();
    assert_eq!(sidecar.post("/v1/events", &event(1)).status, 202);
    assert!(sidecar.terminate().success());
    let spool = sidecar.written().dir().join("spool");
    let database = spool.join("spool.db");
    let whole = fs::read(&database).expect("the spool's file");
    let mut torn = whole.clone();
    torn[100..].fill(0x5a);
    for (what, bytes) in [("no database", b"certainly not a database".repeat(100)), ("torn", torn)] {
        for log in ["spool.db-wal", "spool.db-shm"] {
            let _ = fs::remove_file(spool.join(log));
        }
        fs::write(&database, &bytes).expect("a write");
        let ended = sidecar.written().run(&["run"]);
        assert_eq!(ended.status.code(), Some(1), "{what}: {ended:?}");
        for word in ["is damaged", "--recover", &database.display().to_string()] {
            assert!(ended.stderr.contains(word), "{what}: {word}: {ended:?}");
        }
        assert_eq!(fs::read(&database).expect("it is there"), bytes, "{what}: evidence is left as it was");
    }
    // What was moved away and brought back is what it was.
    fs::write(&database, whole).expect("a write");
    let before = target.count();
    sidecar.restart();
    target.wait(before + 1);
}

/// Posts until the spool refuses: the refusal, and how many were taken before.
#[track_caller]
fn fill(ingest: SocketAddr, event: &str, events_max: usize) -> (HttpAnswer, usize) {
    for taken in 0..events_max {
        let answer = post(ingest, event);
        if answer.status != 202 {
            return (answer, taken);
        }
    }
    panic!("{events_max} events were taken, and the spool is not full");
}

#[track_caller]
fn post(ingest: SocketAddr, event: &str) -> HttpAnswer {
    http::exchange(ingest, "POST", "/v1/events", &[], event.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until an event is taken again.
#[track_caller]
fn wait_recovery(ingest: SocketAddr, event: &str) {
    assert!(eventually(PATIENCE, || (post(ingest, event).status == 202).then_some(())).is_some(), "no recovery");
}

/// So many deliveries come to a good end.
#[track_caller]
fn wait_delivered(metrics: SocketAddr, count: usize) {
    let wanted = format!("outrigger_deliveries_total{{outcome=\"delivered\",webhook=\"hook\"}} {count}");
    let page = || http::exchange(metrics, "GET", "/metrics", &[], b"").map(|answer| answer.body).unwrap_or_default();
    let all = eventually(PATIENCE, || page().lines().any(|line| line == wanted).then_some(()));
    assert!(all.is_some(), "{wanted}:\n{}", page());
}

/// So many deliveries come to a good end, and so many different ids came in.
#[track_caller]
fn assert_all_arrive(target: &Target, metrics: SocketAddr, count: usize) {
    wait_delivered(metrics, count);
    let ids: BTreeSet<String> = target.recorded().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_full_spool_answers_503_loses_nothing_and_takes_events_again_when_there_is_room() {
    let target = receiver().otherwise(503).start();
    let sidecar =
        sidecar().reaching(&target).setting("spool.max_bytes = '1MiB'").webhook("hook", &eager(&target)).start();
    let ingest = sidecar.address("ingest");
    let event = event(32 * 1024);
    let (refusal, taken) = fill(ingest, &event, 100);
    assert_problem("a full spool", &refusal, 503, &["the spool is full", "1048576"]);
    assert!(refusal.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{refusal:?}");
    assert!(taken >= 10, "{taken} events of 32 KiB fit into 1 MiB");
    let unavailable = [("kind", "request"), ("result", "unavailable")];
    assert_eq!(sidecar.metric("outrigger_events_received_total", &unavailable), Some(1.0));

    target.otherwise(200.into());
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    wait_recovery(ingest, &event);
    assert_all_arrive(&target, sidecar.address("metrics"), taken + 1);
}

/// Posts into a disk without room, makes room, and holds the sidecar to its promise.
fn assert_outlives_a_full_disk(target: &Target, [ingest, metrics]: [SocketAddr; 2], make_room: impl FnOnce()) {
    let event = event(64 * 1024);
    let (refusal, taken) = fill(ingest, &event, 200);
    assert_problem("a full disk", &refusal, 503, &["the spool cannot be written"]);
    assert!(refusal.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{refusal:?}");
    // It stays so, and nothing that was refused is kept.
    assert_problem("a full disk", &post(ingest, &event), 503, &[]);
    make_room();
    wait_recovery(ingest, &event);
    target.otherwise(200.into());
    assert_all_arrive(target, metrics, taken + 1);
}

/// A small file system, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the sidecar may still be about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_answers_503_and_room_on_it_is_enough_to_go_on() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = SmallDisk::mount(&place.path().join("disk")) else {
        // Where nothing may be mounted, the limit on a file's size stands in for the disk's.
        return a_limit_on_files_is_a_full_disk();
    };
    let target = receiver().otherwise(503).start();
    let sidecar: Sidecar = sidecar()
        .reaching(&target)
        .setting(&format!("spool.path = '{}'", disk.0.join("spool").display()))
        .webhook("hook", &eager(&target))
        .start();
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![0; 2 * 1024 * 1024]).expect("there is room for it");
    assert_outlives_a_full_disk(&target, [sidecar.address("ingest"), sidecar.address("metrics")], || {
        fs::remove_file(filler).expect("a removal");
    });
}

/// A sidecar that may not make any file larger than so many units of 512 bytes, and where it listens.
#[track_caller]
fn limited(written: &Written, units: u64) -> (Process, [SocketAddr; 2]) {
    let plain = written.command(&["run"]);
    let mut limited = Command::new("sh");
    // Without the trap a write past it would be the process's end.
    limited
        .args(["-c", &format!("trap '' XFSZ; ulimit -S -f {units}; exec \"$@\""), "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    let process = Process::spawn(&mut limited);
    let listeners = ["ingest", "metrics"].map(|listener| {
        let said = format!("{listener} listens on http://");
        let bound = || process.lines().iter().find_map(|line| line.strip_prefix(&said)?.parse().ok());
        eventually(PATIENCE, bound).unwrap_or_else(|| panic!("it did not start:\n{}", process.lines().join("\n")))
    });
    (process, listeners)
}

#[track_caller]
fn lift_limit(process: &Process) {
    let raised = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &process.id().to_string()]).status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit (util-linux) raises the limit");
}

#[test]
fn a_limit_on_files_is_a_full_disk() {
    let target = receiver().otherwise(503).start();
    let written = sidecar().reaching(&target).webhook("hook", &eager(&target)).write();
    // 2 MiB.
    let (process, listeners) = limited(&written, 4096);
    assert_outlives_a_full_disk(&target, listeners, || lift_limit(&process));
}

#[test]
fn a_start_on_a_full_disk_delivers_what_is_pending() {
    let target = receiver().start();
    let only = |trigger: &str| format!("triggers = ['{trigger}']\n{}", eager(&target));
    let mut sidecar = sidecar()
        .reaching(&target)
        .webhook("done", &only("RequestGranted"))
        .webhook("hook", &only("RequestCreated"))
        .start();
    // One webhook has nothing in store any more, which a start tidies up; the other owes a delivery.
    assert_eq!(sidecar.post("/v1/events", r#"{"event_type":"RequestGranted"}"#).status, 202);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "done")], 0.0);
    target.otherwise(503.into());
    assert_eq!(sidecar.post("/v1/events", &event(1)).status, 202);
    target.wait(2);
    sidecar.kill9();
    target.otherwise(200.into());
    // Not a byte more than there is.
    let log = fs::metadata(sidecar.written().dir().join("spool/spool.db-wal")).expect("it was killed").len();
    let (process, [ingest, metrics]) = limited(sidecar.written(), log / 512);
    wait_delivered(metrics, 1);
    lift_limit(&process);
    wait_recovery(ingest, &event(1));
    wait_delivered(metrics, 2);
}
