//! A configuration in a Kubernetes volume: every state of it comes at one stroke, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::volume::AtomicWriter;
use crate::support::{PATIENCE, eventually, http, receiver, sidecar};

use super::{EVENT, definition, reloads, wait_reload};

/// How many swaps there are when nobody says; this variable says otherwise.
const SWAPS: usize = 60;
const SWAPS_VARIABLE: &str = "OUTRIGGER_TEST_RELOAD_SWAPS";
/// Threads that post, and how often each of them does: 200 events a second in all.
const PRODUCERS: usize = 4;
const POST_INTERVAL: Duration = Duration::from_millis(20);
/// What the resident memory may grow by after the first third of the swaps, in KiB: an allocator's room, and far less than one
/// Snapshot a swap.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

/// A sidecar whose webhooks have been such a volume since before its start.
fn mounted(target: &Target, files: &BTreeMap<&str, &str>) -> (Sidecar, AtomicWriter) {
    let mut sidecar = sidecar().reaching(target).webhook("hook", &definition(target, "never")).start();
    sidecar.kill9();
    let folder = sidecar.written().config().join("webhooks");
    fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)).expect("an empty folder");
    let volume = AtomicWriter::new(folder);
    volume.write(files);
    sidecar.restart();
    (sidecar, volume)
}

/// Open file descriptors of a process, and the folders that it watches.
fn open_files(pid: u32) -> (usize, usize) {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let watched = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    (fds, watched.map(|info| info.matches("inotify wd:").count()).sum())
}

/// The resident memory of a process in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Posts events at a steady pace until told to stop: the ids that were taken.
fn produce(ingest: SocketAddr, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        ids.push(post(ingest, "/v1/events"));
        // What a busy machine fell behind with is caught up.
        next += POST_INTERVAL;
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
    ids
}

/// Posts one event, which the webhook takes: its id.
fn post(ingest: SocketAddr, path: &str) -> String {
    let answer = http::exchange(ingest, "POST", path, &[], EVENT.as_bytes()).expect("an answer");
    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    let answer = answer.json();
    let event = &answer["events"][0];
    assert_eq!(event["deliveries"].as_array().map(Vec::len), Some(1), "{answer}");
    event["id"].as_str().expect("an id").to_owned()
}

/// What the swaps saw.
#[derive(Default)]
struct Seen {
    /// The event that was posted while a valid state was in force, and that state's marker.
    in_force: Vec<(String, String)>,
    /// From a swap to the publication of what it brought.
    waits: Vec<Duration>,
    /// Memory after the first third.
    resident_kib: u64,
}

/// Swaps valid, unchanged and faulty states in turn, and waits for what each came to.
fn swap_in_turn(sidecar: &Sidecar, volume: &AtomicWriter, target: &Target, swaps: usize) -> Seen {
    let mut seen = Seen::default();
    let mut text = definition(target, "state0.");
    for swap in 1..=swaps {
        let (result, fresh) = match swap % 3 {
            1 => ("published", definition(target, &format!("state{swap}."))),
            2 => ("unchanged", text.clone()),
            _ => ("refused", definition(target, "faulty").replace("body", "boody")),
        };
        let (before, at) = (reloads(sidecar, result), Instant::now());
        volume.write(&BTreeMap::from([("hook.toml", fresh.as_str())]));
        wait_reload(sidecar, result, before);
        if result == "published" {
            seen.waits.push(at.elapsed());
            let event = post(sidecar.address("ingest"), "/v1/events?wait=20s");
            seen.in_force.push((event, format!("state{swap}.")));
            text = fresh;
        }
        if swap == swaps / 3 {
            seen.resident_kib = resident_kib(sidecar.pid());
        }
    }
    seen
}

#[test]
fn volume_swaps_under_load_lose_and_double_nothing_and_only_valid_changes_are_published() {
    let swaps = std::env::var(SWAPS_VARIABLE).map_or(SWAPS, |text| text.parse().expect("a number of swaps"));
    let target = receiver().start();
    let (sidecar, volume) = mounted(&target, &BTreeMap::from([("hook.toml", &*definition(&target, "state0."))]));
    wait_reload(&sidecar, "unchanged", 0.0);
    let (fds, watched) = open_files(sidecar.pid());
    let ingest = sidecar.address("ingest");

    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let (mut posted, seen) = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(|| produce(ingest, &stop))).collect();
        let swapped = scope.spawn(|| swap_in_turn(&sidecar, &volume, &target, swaps)).join();
        // The producers end also when the swaps failed.
        stop.store(true, Ordering::Relaxed);
        let posted: Vec<String> =
            producers.into_iter().flat_map(|producer| producer.join().expect("a producer")).collect();
        (posted, swapped.expect("all swaps were seen"))
    });
    let seconds = begun.elapsed().as_secs_f64();
    posted.extend(seen.in_force.iter().map(|(event, _)| event.clone()));

    let settled = eventually(PATIENCE, || {
        let pending = sidecar.metric("outrigger_pending_deliveries", &[("webhook", "hook")]);
        (target.count() >= posted.len() && pending == Some(0.0)).then_some(())
    });
    assert!(settled.is_some(), "{} of {} came", target.count(), posted.len());
    let mut received = BTreeMap::<String, Vec<String>>::new();
    for one in target.recorded() {
        let body = String::from_utf8_lossy(&one.body).into_owned();
        assert!(!body.contains("faulty"), "{body}");
        received.entry(one.header("webhook-id").to_owned()).or_default().push(body);
    }
    let expected: BTreeSet<String> = posted.iter().map(|id| format!("{id}_hook")).collect();
    assert_eq!(expected.len(), posted.len(), "no id is given twice");
    let lost = expected.iter().filter(|id| !received.contains_key(*id)).count();
    let doubled = received.values().filter(|bodies| bodies.len() > 1).count();
    assert_eq!((lost, doubled, received.len()), (0, 0, expected.len()), "each came once, and nothing else");
    for (event, marker) in &seen.in_force {
        let bodies = received.get(&format!("{event}_hook")).expect("it came");
        assert!(bodies.iter().all(|body| body.contains(marker)), "{marker} was in force: {bodies:?}");
    }
    let published = reloads(&sidecar, "published");
    let valid = u32::try_from(seen.in_force.len()).expect("few");
    assert_eq!(published.to_string(), (1 + valid).to_string(), "the start and each valid state, and nothing more");

    // Connections of the load close in their own time.
    let flat = eventually(PATIENCE, || {
        let now = open_files(sidecar.pid());
        (now.0 <= fds + 2 && now.1 <= watched).then_some(now)
    });
    assert!(flat.is_some(), "{:?} descriptors and watches, {:?} before", open_files(sidecar.pid()), (fds, watched));
    let resident = resident_kib(sidecar.pid());
    println!(
        "{swaps} swaps: {valid} valid, all seen; {} events in {seconds:.1} s ({:.0} a second), {lost} lost, {doubled} doubled; a \
         valid state is published {} ms after its swap at the latest; {} file descriptors, {} watches; {} KiB resident after a \
         third, {resident} KiB at the end",
        posted.len(),
        f64::from(u32::try_from(posted.len()).expect("few")) / seconds,
        seen.waits.iter().max().map_or(0, Duration::as_millis),
        flat.map_or(0, |now| now.0),
        flat.map_or(0, |now| now.1),
        seen.resident_kib
    );
    assert!(resident <= seen.resident_kib + GROWTH_KIB_MAX, "{resident} KiB, and {} before", seen.resident_kib);
}

#[test]
fn names_come_to_a_volume_and_leave_it() {
    let target = receiver().start();
    let (first, second) = (definition(&target, "first"), definition(&target, "second"));
    let (sidecar, volume) = mounted(&target, &BTreeMap::from([("first.toml", &*first)]));
    let both = BTreeMap::from([("first.toml", &*first), ("second.toml", &*second)]);
    for _ in 0..3 {
        volume.write(&both);
        sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 2.0);
        volume.write(&BTreeMap::from([("second.toml", &*second)]));
        sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 1.0);
        super::delivers(&sidecar, &target, "second");
    }
    sidecar.wait_metric("outrigger_config_last_reload_successful", &[], 1.0);
}
