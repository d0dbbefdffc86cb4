//! What people are told of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::history::{History, Posted};
use super::judge::Violation;

/// Broken promises that are told in full.
const TOLD_MAX: usize = 6;
/// Lines of the log that are told of one delivery.
const LINES_MAX: usize = 40;

/// A run in one line.
pub(super) fn figures(
    history: &History,
    seconds: u64,
    healing: Duration,
    done: &BTreeMap<&'static str, u32>,
) -> String {
    let status = |wanted: u16| {
        let same = |result: &Posted| matches!(result, Posted::Refused { status, .. } if *status == wanted);
        history.posts.iter().filter(|post| same(&post.result)).count()
    };
    let taken = history.posts.iter().filter_map(|post| match &post.result {
        Posted::Taken(receipts) => Some(receipts),
        _ => None,
    });
    let receipts: BTreeMap<&str, usize> =
        taken.flatten().map(|receipt| (receipt.event.as_str(), receipt.owed.len())).collect();
    let lost = history.posts.iter().filter(|post| matches!(post.result, Posted::Lost(_))).count();
    let posted: BTreeSet<u64> = history.posts.iter().flat_map(|post| post.events.iter().copied()).collect();
    let mut keys = BTreeSet::new();
    let repeats =
        history.posts.iter().filter_map(|post| post.key.as_ref()).filter(|key| !keys.insert(key.as_str())).count();
    let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
    for request in history.requests.iter().filter(|request| request.accepted()) {
        *accepted.entry(&request.id).or_default() += 1;
    }
    let mut dead: BTreeMap<&str, usize> = BTreeMap::new();
    for burial in &history.burials {
        *dead.entry(&burial.reason).or_default() += 1;
    }
    let (wait, waited) = longest_wait(history);
    format!(
        "seed {}, {seconds} s: {} events posted, {} taken, {} deliveries, {} requests, {} answers lost, {} times 503, \
        {repeats} repeats, {} duplicates, dead {dead:?}, faults {done:?}, longest wait {wait:?} of {waited}, well again after {healing:?}",
        history.seed,
        posted.len(),
        receipts.len(),
        receipts.values().sum::<usize>(),
        history.requests.len(),
        lost,
        status(503),
        accepted.values().filter(|count| **count > 1).count(),
    )
}

/// The longest time between a receipt and the first request, and whose it was. What was replayed may have died unseen.
fn longest_wait(history: &History) -> (Duration, String) {
    let replayed: BTreeSet<&str> = history.replays.iter().map(|(id, _)| id.as_str()).collect();
    let mut first: BTreeMap<&str, Duration> = BTreeMap::new();
    for request in history.requests.iter().filter(|request| !replayed.contains(request.id.as_str())) {
        first.entry(&request.id).or_insert(request.at);
    }
    let mut longest = (Duration::ZERO, String::new());
    for post in &history.posts {
        let Posted::Taken(receipts) = &post.result else { continue };
        for receipt in receipts {
            for (name, _) in &receipt.owed {
                let id = format!("{}_{name}", receipt.event);
                let wait = first.get(id.as_str()).map(|at| at.saturating_sub(post.ended)).unwrap_or_default();
                if wait > longest.0 {
                    longest = (wait, id);
                }
            }
        }
    }
    longest
}

/// Some of the broken promises, each with the history of its delivery and what the log has of it.
pub(super) fn violations(history: &History, violations: &[Violation], logs: &Path) -> String {
    let mut text = String::new();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in violations {
        *rules.entry(violation.rule).or_default() += 1;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "by rule: {rules:?}");
    for violation in violations.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "\n== {}: {}", violation.rule, violation.detail);
        if let Some(id) = &violation.delivery {
            let _ = writeln!(text, "   delivery {id}");
            for line in story(history, id) {
                let _ = writeln!(text, "   {line}");
            }
            for line in log_of(history, logs, id) {
                let _ = writeln!(text, "   {line}");
            }
        }
    }
    text
}

/// All that was seen of a delivery, in order.
fn story(history: &History, id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for post in &history.posts {
        if let Posted::Taken(receipts) = &post.result
            && let Some(receipt) = receipts.iter().find(|receipt| id.starts_with(&receipt.event))
        {
            lines.push((post.ended, format!("taken: {:?} key {:?} {receipt:?}", post.events, post.key)));
        }
    }
    for request in history.requests.iter().filter(|request| request.id == id) {
        lines.push((
            request.at,
            format!("request of life {}: {:?} -> {:?}", request.life, request.payload, request.reply),
        ));
    }
    for burial in history.burials.iter().filter(|burial| burial.id == id) {
        lines.push((burial.at, format!("buried: {} after {} attempts", burial.reason, burial.attempts)));
    }
    if let (Some((first, _)), Some((last, _))) = (lines.iter().min(), lines.iter().max()) {
        let (first, last) = (*first, *last);
        let ends = history.lives.iter().filter(|life| life.ended >= first && life.begun <= last);
        lines.extend(ends.map(|life| (life.asked, format!("the process ended: {life:?}"))));
        let acts = history.acts.iter().filter(|(at, _)| *at >= first && *at <= last);
        lines.extend(acts.map(|(at, act)| (*at, format!("-- {act}"))));
    }
    lines.sort();
    lines.into_iter().map(|(at, line)| format!("{:>9.3} s  {line}", at.as_secs_f64())).collect()
}

/// The lines that the processes wrote of a delivery.
fn log_of(history: &History, logs: &Path, id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for life in 0..history.lives.len() {
        let log = fs::read_to_string(logs.join(format!("life-{life}.log"))).unwrap_or_default();
        lines.extend(log.lines().filter(|line| line.contains(id)).map(|line| format!("log of life {life}: {line}")));
    }
    lines.truncate(LINES_MAX);
    lines
}
