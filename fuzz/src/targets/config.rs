//! Configuration: files as a folder, through loading and the lints to what people read, and to requests.
//!
//! A case is files one behind the other, each under a line `=== path`; without such a line it is one webhook's file.

use std::path::Path;

use bytes::Bytes;
use outrigger::config::{Loader, Source, lint, load, sort};
use outrigger::diagnostic::{Diagnostic, Level};
use outrigger::kind::decode::decode;

use super::{Target, event_id, files, folder, now, requests, source};

pub const TARGET: Target = Target { name: "config", run, seeds };

/// The value of every variable: it must never be seen.
const SECRET: &str = "q7Zk-9fXw";
/// What begins a file.
const MARK: &str = "=== ";
/// Files of one case.
const FILES_MAX: usize = 16;

pub fn run(data: &[u8]) {
    let files = split(data);
    if files.is_empty() {
        return;
    }
    let folder = folder(&files);
    let typed = data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    let secret = |text: &str| assert!(typed || !text.contains(SECRET), "a secret is seen in {text}");
    let source = source(folder.path(), SECRET);

    let loaded = load(&source);
    let said = |diagnostics: &[Diagnostic]| {
        for diagnostic in diagnostics {
            assert_readable(diagnostic);
            secret(&diagnostic.to_string());
            secret(&diagnostic.for_log());
        }
    };
    said(&loaded.diagnostics);
    said(&loaded.test_diagnostics);
    let faulty = loaded.diagnostics.iter().any(|one| one.level == Level::Error);
    assert_eq!(loaded.snapshot.is_none(), faulty, "{:?}", loaded.diagnostics);

    let mut linted = loaded.diagnostics.clone();
    lint(&source, loaded.snapshot.as_ref(), &mut linted);
    sort(&mut linted);
    said(&linted);

    // What is loaded again is the same, and what people look at is what is sent, but for its secrets.
    let mut loader = Loader::new(source.clone());
    let (first, again) = (loader.load(), loader.load());
    assert_eq!((&first.diagnostics, &first.watched), (&again.diagnostics, &again.watched));
    assert_eq!(first.snapshot.is_some(), loaded.snapshot.is_some());
    let (Some(snapshot), Some(first), Some(again)) = (loaded.snapshot, first.snapshot, again.snapshot) else { return };
    assert!(first.is_same(&again) && first.is_same(&snapshot));
    let masked = load(&Source { masked: true, ..source }).snapshot;
    for (name, webhook) in &snapshot.webhooks {
        secret(&format!("{:?} {:?} {:?} {:?}", webhook.url, webhook.headers, webhook.auth, webhook.body));
        for sample in &webhook.kind.samples {
            let raw = Bytes::from(sample.payload.to_string());
            let event = decode(&webhook.kind, raw, event_id(), now()).expect("a sample is an event");
            if let Ok(request) = webhook.render(&event) {
                requests::assert_sendable(webhook, &event, &request);
            }
            let shown =
                masked.as_ref().and_then(|masked| masked.webhooks.get(name)).map(|webhook| webhook.render(&event));
            if let Some(Ok(shown)) = shown {
                secret(&format!("{} {}", shown.uri, String::from_utf8_lossy(&shown.body)));
            }
        }
    }
}

/// The files of a case, under names that stay in their folder.
fn split(data: &[u8]) -> Vec<(&str, &[u8])> {
    let mut files: Vec<(&str, &[u8])> = vec![("webhooks/hook.toml", &[])];
    let mut from = 0;
    let mut at = 0;
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let name = line.strip_prefix(MARK.as_bytes()).and_then(|name| std::str::from_utf8(name.trim_ascii()).ok());
        if let Some(name) = name.filter(|name| is_inside(name)) {
            if let Some(last) = files.last_mut() {
                last.1 = &data[from..at];
            }
            files.push((name, &[]));
            from = at + line.len();
        }
        at += line.len();
    }
    if let Some(last) = files.last_mut() {
        last.1 = &data[from..];
    }
    if files.len() > 1 && files[0].1.is_empty() {
        files.remove(0);
    }
    // A name that is a folder of another one cannot be both.
    let mut kept: Vec<(&str, &[u8])> = Vec::new();
    for (name, bytes) in files {
        if kept.iter().all(|(other, _)| !Path::new(name).starts_with(other) && !Path::new(other).starts_with(name)) {
            kept.push((name, bytes));
        }
    }
    kept.truncate(FILES_MAX);
    kept
}

fn is_inside(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._- ".contains(&byte))
    };
    name.len() <= 100 && name.split('/').all(plain)
}

/// A diagnostic leads people to its place.
fn assert_readable(diagnostic: &Diagnostic) {
    let text = diagnostic.to_string();
    assert!(text.starts_with(&diagnostic.heading()) && text.contains(&diagnostic.file), "{text}");
    assert!(!diagnostic.problem.is_empty(), "{text}");
    assert!(!diagnostic.for_log().contains('\n'), "{:?}", diagnostic.for_log());
    if diagnostic.place.is_some() {
        let lines: Vec<&str> = text.lines().collect();
        let is_caret = |line: &&str| line.trim_start_matches([' ', '|']).starts_with('^');
        let caret = lines.iter().rposition(is_caret).expect("a caret");
        let at = lines[caret].find('^').unwrap_or_default();
        assert!(at <= lines[caret - 1].chars().count(), "the caret is behind its line: {text}");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut folders = std::collections::BTreeMap::<String, Vec<u8>>::new();
    for top in ["tests/faults", "tests/lints"] {
        for (name, text) in files(top) {
            let Some((folder, file)) = name.split_once('/') else { continue };
            if !["expected.txt", "env.txt"].contains(&file) && is_inside(file) {
                let case = folders.entry(format!("{}-{folder}.txt", top.replace('/', "-"))).or_default();
                case.extend_from_slice(&[MARK.as_bytes(), file.as_bytes(), b"\n", &text].concat());
            }
        }
    }
    let shipped = files("config")
        .into_iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|extension| extension == "toml"));
    let seed = |(name, text): (String, Vec<u8>)| {
        (format!("config-{name}"), [MARK.as_bytes(), name.as_bytes(), b"\n", &text].concat())
    };
    folders.into_iter().chain(shipped.map(seed)).collect()
}
