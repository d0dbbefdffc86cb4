//! A configuration in a Kubernetes volume: every state of it comes at one stroke, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

use super::{EVENT, definition, edit_until_live, reloads, saw};

/// A folder as the kubelet keeps a `ConfigMap`'s volume: one dated folder that `..data` leads to, and a link for each file.
struct Volume {
    folder: PathBuf,
    dated: Option<PathBuf>,
    count: usize,
}

impl Volume {
    /// Writes a whole new state beside the old one and turns `..data` to it with one rename.
    fn swap(&mut self, files: &[(&str, &str)]) {
        self.count += 1;
        let dated = self.folder.join(format!("..2026_11_23_10_00_{:02}.{}", self.count, 1_000_003 * self.count));
        fs::create_dir(&dated).expect("a folder");
        for (name, text) in files {
            fs::write(dated.join(name), text).expect("a write");
        }
        let (data, fresh) = (self.folder.join("..data"), self.folder.join("..data_tmp"));
        symlink(dated.file_name().expect("it has a name"), &fresh).expect("a link");
        fs::rename(fresh, data).expect("a rename");
        for (name, _) in files {
            let visible = self.folder.join(name);
            if fs::read_link(&visible).is_err() {
                // Only the first time: a plain file stands there.
                let link = self.folder.join("..first");
                symlink(Path::new("..data").join(name), &link).expect("a link");
                fs::rename(link, visible).expect("a rename");
            }
        }
        if let Some(old) = self.dated.replace(dated) {
            fs::remove_dir_all(old).expect("a removal");
        }
    }
}

/// Open file descriptors of a process and the folders that it watches.
fn open_files(pid: u32) -> (usize, usize) {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let watched = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    (fds, watched.map(|info| info.matches("inotify wd:").count()).sum())
}

/// Posts events at a steady pace until told to stop: the ids that were taken.
fn produce(ingest: SocketAddr, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = http::exchange(ingest, "POST", "/v1/events", &[], EVENT.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 202, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["events"][0]["deliveries"][0], "hook", "{answer}");
        ids.push(answer["events"][0]["id"].as_str().expect("an id").to_owned());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    ids
}

#[test]
fn twenty_volume_swaps_under_load_lose_and_double_nothing() {
    const SWAPS: usize = 20;
    const SWAPS_BROKEN: f64 = 10.0;
    const PRODUCERS: usize = 4;
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "start")).start();
    let folder = sidecar.written().config().join("webhooks");
    let mut volume = Volume { folder, dated: None, count: 0 };
    volume.swap(&[("hook.toml", &definition(&target, "state0."))]);
    edit_until_live(&sidecar, &target, "state0.", || {});
    let settle = |count: usize| {
        eventually(PATIENCE, || {
            let pending = sidecar.metric("outrigger_pending_deliveries", &[("webhook", "hook")]);
            (target.count() >= count && pending == Some(0.0)).then_some(())
        })
    };
    assert!(settle(target.count()).is_some());
    let (before, refused) = (target.count(), reloads(&sidecar, "refused"));
    let (fds, watched) = open_files(sidecar.pid());

    let ingest = sidecar.address("ingest");
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let mut waits = Vec::new();
    let posted: Vec<String> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(|| produce(ingest, &stop))).collect();
        for swap in 1..=SWAPS {
            let at = Instant::now();
            if swap % 2 == 1 {
                let marker = format!("state{swap}.");
                volume.swap(&[("hook.toml", &definition(&target, &marker))]);
                let seen = eventually(PATIENCE, || saw(&target, &marker));
                if seen.is_none() {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{marker} was never delivered:\n{}", sidecar.log());
                }
                waits.push(at.elapsed());
            } else {
                let before = reloads(&sidecar, "refused");
                let broken = definition(&target, "broken").replace("body", "boody");
                volume.swap(&[("hook.toml", &broken)]);
                if eventually(PATIENCE, || (reloads(&sidecar, "refused") > before).then_some(())).is_none() {
                    stop.store(true, Ordering::Relaxed);
                    panic!("swap {swap} was not refused:\n{}", sidecar.log());
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        producers.into_iter().flat_map(|producer| producer.join().expect("a producer")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} events in {seconds:.1} s; a good state is delivered {} ms after its swap at the latest",
        posted.len(),
        waits.iter().max().map_or(0, Duration::as_millis)
    );

    assert!(settle(before + posted.len()).is_some(), "{} of {} came", target.count() - before, posted.len());
    let mut received = BTreeMap::<String, usize>::new();
    for one in target.recorded().into_iter().skip(before) {
        assert!(!String::from_utf8_lossy(&one.body).contains("broken"));
        *received.entry(one.header("webhook-id").to_owned()).or_default() += 1;
    }
    let expected: BTreeSet<String> = posted.iter().map(|id| format!("{id}_hook")).collect();
    assert_eq!(expected.len(), posted.len(), "no id is given twice");
    assert_eq!(received.keys().cloned().collect::<BTreeSet<_>>(), expected, "each event came");
    assert!(received.values().all(|times| *times == 1), "each came once");
    assert!(reloads(&sidecar, "refused") >= refused + SWAPS_BROKEN);
    // Connections of the load close in their own time.
    let flat = eventually(PATIENCE, || {
        let now = open_files(sidecar.pid());
        (now.0 <= fds + 2 && now.1 <= watched).then_some(())
    });
    assert!(flat.is_some(), "{:?} descriptors and watches, {:?} before", open_files(sidecar.pid()), (fds, watched));
}
