//! Looks that somebody asks for: `POST /-/reload` and what it answers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use serde_json::{Value, json};

use crate::bad_input::assert_problem;
use crate::support::http::{self, HttpAnswer};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

use super::{EVENT, definition, delivers, reloads, wait_reload};

const RELOAD: &str = "/-/reload";
const MARK: (&str, &str) = ("outrigger-request", "1");

/// Asks for a look as a program of this machine does.
#[track_caller]
pub(super) fn ask(sidecar: &Sidecar, headers: &[(&str, &str)]) -> HttpAnswer {
    let address = sidecar.address("admin");
    let host = address.to_string();
    let headers: Vec<_> = [("host", host.as_str())].into_iter().chain(headers.iter().copied()).collect();
    http::exchange(address, "POST", RELOAD, &headers, b"")
        .unwrap_or_else(|error| panic!("POST {RELOAD}: {error}\n{}", sidecar.log()))
}

#[track_caller]
pub(super) fn asked(sidecar: &Sidecar) -> Value {
    let answer = ask(sidecar, &[MARK]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
    answer.json()
}

/// A file whose edits no event tells of, because they are made in another folder: its second name there.
pub(super) fn second_name(sidecar: &Sidecar, webhook: &str) -> PathBuf {
    let folder = sidecar.written().dir().join("elsewhere");
    fs::create_dir_all(&folder).expect("a folder");
    let name = folder.join(webhook);
    fs::hard_link(sidecar.written().config().join("webhooks").join(webhook), &name).expect("a link");
    name
}

#[test]
fn a_request_is_answered_with_what_its_look_came_to() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .setting("config.poll = 0")
        .webhook("hook", &definition(&target, "old"))
        .webhook("other", &format!("triggers = ['Manual']\n{}", definition(&target, "other")))
        .start();
    // The look that follows the first watch is over, and the second name's creation was heard.
    let unheard = second_name(&sidecar, "hook.toml");
    wait_reload(&sidecar, "unchanged", 0.0);
    let same = asked(&sidecar);
    let hash = same["hash"].as_str().expect("a hash").to_owned();
    assert!(hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    let expected = |result: &str, generation: u64, hash: &str| {
        json!({ "result": result, "generation": generation, "hash": hash, "added": [], "changed": [], "removed": [],
            "restart": [], "warnings": [], "unlisted": 0 })
    };
    assert_eq!(same, expected("unchanged", 1, &hash));
    assert_eq!(sidecar.metric("outrigger_config_hash", &[]), Some(number(&hash)));

    fs::write(&unheard, definition(&target, "new")).expect("a write");
    let changed = asked(&sidecar);
    let fresh = changed["hash"].as_str().expect("a hash").to_owned();
    assert_ne!(fresh, hash);
    let mut published = expected("published", 2, &fresh);
    published["changed"] = json!(["hook"]);
    assert_eq!(changed, published);
    assert_eq!(sidecar.metric("outrigger_config_hash", &[]), Some(number(&fresh)));
    delivers(&sidecar, &target, "new");
    assert_eq!(asked(&sidecar), expected("unchanged", 2, &fresh));
    let line = sidecar.wait_log("config.published");
    assert!(line.contains(&fresh) && line.contains("took_ms"), "{line}");

    fs::write(&unheard, format!("# why\n{}", definition(&target, "new"))).expect("a write");
    assert_ne!(asked(&sidecar)["hash"], json!(fresh), "a comment is another state of the files");
    fs::write(&unheard, definition(&target, "new")).expect("a write");
    assert_eq!(asked(&sidecar)["hash"], json!(fresh), "the same files have the same hash");
}

/// A hash of 48 bits as the number that the metric carries.
fn number(hash: &str) -> f64 {
    let hash = u64::from_str_radix(hash, 16).expect("it is hexadecimal");
    let (high, low) =
        (u32::try_from(hash >> 32).expect("16 bits"), u32::try_from(hash & 0xffff_ffff).expect("32 bits"));
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

#[test]
fn faults_are_answered_with_their_places_and_lines_that_hide_what_may_be_secret() {
    let target = receiver().start();
    let sidecar =
        sidecar().reaching(&target).setting("config.poll = 0").webhook("hook", &definition(&target, "good")).start();
    let unheard = second_name(&sidecar, "hook.toml");
    wait_reload(&sidecar, "unchanged", 0.0);
    let faulty = format!("{}[headers]\nx-key = 7 # hunter2\n\n[auth]\nbasik = {{}}\n", definition(&target, "good"));
    fs::write(&unheard, faulty).expect("a write");
    let answer = ask(&sidecar, &[MARK]);
    assert_problem("a faulty file", &answer, 422, &["2 faults", "generation 1"]);
    assert!(!answer.body.contains("hunter2") && !sidecar.log().contains("hunter2"), "{answer:?}");
    let body = answer.json();
    let places: Vec<_> = body["diagnostics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            assert!(one["problem"].is_string() && one["fix"].is_string() && one["source"].is_string(), "{one}");
            (one["level"].as_str(), one["file"].as_str(), one["line"].as_u64(), one["column"].as_u64())
        })
        .collect();
    let file = Some("webhooks/hook.toml");
    assert_eq!(places, [(Some("error"), file, Some(4), Some(9)), (Some("error"), file, Some(7), Some(1))]);
    delivers(&sidecar, &target, "good");
    assert_eq!(sidecar.metric("outrigger_config_last_reload_successful", &[]), Some(0.0));
    fs::write(&unheard, definition(&target, "mended")).expect("a write");
    assert_eq!(asked(&sidecar)["result"], "published");
    delivers(&sidecar, &target, "mended");
}

#[test]
fn a_request_is_answered_while_changes_never_rest_and_many_at_once_share_looks() {
    const REQUESTS: usize = 20;
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "same")).start();
    let webhooks = sidecar.written().config().join("webhooks");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let link = webhooks.join("..next");
                symlink(number.to_string(), &link).and_then(|()| fs::remove_file(&link)).expect("a link");
            }
        });
        let asking: Vec<_> = (0..REQUESTS).map(|_| scope.spawn(|| ask(&sidecar, &[MARK]).status)).collect();
        let statuses: Vec<u16> = asking.into_iter().map(|one| one.join().expect("an answer")).collect();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(statuses, [200; REQUESTS]);
    });
    assert_eq!(reloads(&sidecar, "published").to_string(), "1");
}

#[test]
fn who_may_not_ask_is_refused_and_so_is_everybody_once_it_closes() {
    let target = receiver().respond(Answer::json("{}").after(Duration::from_secs(3))).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "slow")).start();
    assert_problem("without the header", &ask(&sidecar, &[]), 403, &["outrigger-request"]);
    let page = [("origin", "https://evil.example"), MARK];
    assert_problem("from a page", &ask(&sidecar, &page), 403, &["another origin"]);
    let host = sidecar.address("admin").to_string();
    let read = http::exchange(sidecar.address("admin"), "GET", RELOAD, &[("host", &host)], b"").expect("an answer");
    assert_eq!((read.status, read.header("allow")), (405, "POST"), "{read:?}");
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    sidecar.signal("TERM");
    sidecar.wait_log("shutdown.begun");
    let refused = eventually(PATIENCE, || Some(ask(&sidecar, &[MARK])).filter(|answer| answer.status != 200));
    let refused = refused.expect("it closes");
    assert_problem("closing", &refused, 503, &["closing"]);
    assert_eq!(refused.header("retry-after"), "5");
}
