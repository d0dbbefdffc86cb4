//! Every piece of configuration that the guides show is one that `outrigger check` takes.

use std::collections::{BTreeMap, BTreeSet};

use outrigger::config::reference;

use crate::cli::{folder, outrigger};

use super::fences::{Fence, fences_of};
use super::generated::hold_generated;
use super::root;

/// A webhook's file, as far as it must have one.
const HOOK: &str = "url = \"https://hooks.example.com/in\"\n";

/// The first words of the tables that `outrigger.toml` has and a webhook has not.
fn tables_of_the_sidecar() -> BTreeSet<&'static str> {
    let mut files = reference()
        .into_iter()
        .map(|(_, keys)| keys.iter().map(|key| key.table.split('.').next().unwrap()).collect::<BTreeSet<&str>>());
    let (sidecar, webhook) = (files.next().unwrap(), files.next().unwrap());
    sidecar.difference(&webhook).copied().collect()
}

/// Whether a piece belongs into `outrigger.toml`.
fn is_of_the_sidecar(piece: &str) -> bool {
    let tables = tables_of_the_sidecar();
    let table = |line: &str| line.trim_start_matches('[').split(['.', ']']).next().unwrap_or_default().to_owned();
    piece.lines().filter(|line| line.starts_with('[')).any(|line| tables.contains(&*table(line)))
}

/// The kind that a piece defines.
fn kind_of(piece: &str) -> Option<&str> {
    piece.lines().find_map(|line| line.strip_prefix("[kinds.")).and_then(|rest| rest.split(['.', ']']).next())
}

/// The sample events of the shipped configuration, which examples may name.
fn shipped_events() -> Vec<(String, String)> {
    let folder = root().join("config/events");
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        events.push((format!("events/{name}"), std::fs::read_to_string(path).unwrap()));
    }
    events
}

/// Holds that a folder with these files is good, and that all tests in them pass.
#[track_caller]
fn is_good(files: &[(String, String)], place: &str) {
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let events = shipped_events();
    let free = events.iter().filter(|(path, _)| !files.iter().any(|(taken, _)| taken == path));
    all.extend(free.map(|(path, text)| (&**path, &**text)));
    let folder = folder(&all);
    let run = outrigger(&["check", "--placeholders", folder.path().to_str().unwrap()], &[], "");
    assert_eq!(run.code, Some(0), "{place}:\n{}{}", run.out, run.err);
    let hooks: Vec<&str> =
        files.iter().filter(|(path, _)| path.starts_with("webhooks/")).map(|(_, text)| &**text).collect();
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let tests: usize = hooks.iter().map(|text| text.matches("[[tests]]").count()).sum();
    let expected = format!("{}, {} passed, 0 failed\n", count(hooks.len(), "webhook"), count(tests, "test"));
    assert_eq!(run.out, expected, "{place}");
}

#[test]
fn every_piece_of_configuration_in_the_guides_is_good() {
    let mut count = 0;
    // Those of the guide to lints are meant to be found fault with.
    let pieces = fences_of(&["toml"]);
    for fence in pieces.iter().filter(|fence| fence.title.is_none() && fence.guide != "docs/lints.md") {
        let piece = fence.body.clone();
        if piece.contains("[traces]") && !cfg!(feature = "otel") {
            // `tests/otel.rs` asks what a program without them says.
            continue;
        }
        let file = |path: &str, text: String| (path.to_owned(), text);
        let files = if is_of_the_sidecar(&piece) {
            let kind = kind_of(&piece).map(|kind| format!("kind = \"{kind}\"\n")).unwrap_or_default();
            vec![file("outrigger.toml", piece), file("webhooks/hook.toml", format!("{kind}{HOOK}"))]
        } else if piece.lines().any(|line| line.starts_with("url ")) {
            vec![file("webhooks/hook.toml", piece)]
        } else {
            vec![file("webhooks/hook.toml", format!("{HOOK}{piece}"))]
        };
        is_good(&files, &fence.place());
        count += 1;
    }
    assert!(count >= 11, "only {count} pieces were found");
}

/// The titled files of each guide, by the configuration folder in which they lie.
fn titled_folders(fences: &[Fence]) -> BTreeMap<(String, String), Vec<(String, String)>> {
    let titled = |fence: &Fence| fence.title.clone().map(|title| (fence.guide.clone(), title, fence.body.clone()));
    let files: Vec<(String, String, String)> = fences.iter().filter_map(titled).collect();
    let mut folders = BTreeMap::new();
    for (guide, title, _) in &files {
        let Some((dir, _)) = title.split_once("webhooks/") else { continue };
        let inside = |(other, path, text): &(String, String, String)| {
            let path = path.strip_prefix(dir).filter(|_| other == guide)?;
            Some((path.to_owned(), text.clone()))
        };
        folders.insert((guide.clone(), dir.to_owned()), files.iter().filter_map(inside).collect());
    }
    folders
}

#[test]
fn every_file_of_a_guide_is_good_beside_the_others() {
    let folders = titled_folders(&fences_of(&["toml", "json"]));
    for ((guide, dir), files) in &folders {
        is_good(files, &format!("{guide}: {dir}"));
    }
    assert!(folders.len() >= 2, "{folders:?}");
}

#[test]
fn what_is_asked_of_a_list_is_told_as_the_guide_to_migration_shows() {
    let hook = "kind = \"integration\"\nurl  = \"https://status.example.com/in\"\nbody = '{ \"status\": \"{{data.issues.status}}\" }'\n";
    let folder = folder(&[("webhooks/integration-health.toml", hook)]);
    let ended = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    let (warning, _) = ended.out.split_once("\n\n").unwrap();
    hold_generated("docs/migration.md", "list", &format!("```text\n{warning}\n```\n"));
}
