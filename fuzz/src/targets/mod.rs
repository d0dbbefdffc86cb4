//! The bodies of the fuzz targets: each takes bytes, does with them what the sidecar does, and panics where a promise is broken.
//!
//! libFuzzer runs them (`fuzz_targets/`), and so do the ordinary tests over what is kept (`tests/fuzz.rs`).
#![allow(unreachable_pub, reason = "the tests take this in as a private module")]

pub mod conditions;
pub mod config;
pub mod events;
pub mod ingest;
mod requests;
pub mod responses;
mod spool;
pub mod spool_file;
pub mod spool_rows;
pub mod templates;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use outrigger::config::{Snapshot, Source, load};
use outrigger::event::EventId;

/// One target.
pub struct Target {
    /// The name of its fuzzer and of its folders.
    pub name: &'static str,
    /// What is done with the bytes. It panics where a promise is broken.
    pub run: fn(&[u8]),
    /// What is made of the project's own files, beside the corpus that is kept: names and bytes.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All of them.
pub const TARGETS: [&Target; 8] = [
    &events::TARGET,
    &config::TARGET,
    &templates::TARGET,
    &conditions::TARGET,
    &responses::TARGET,
    &ingest::TARGET,
    &spool_rows::TARGET,
    &spool_file::TARGET,
];

/// The project's folder.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("fuzz/Cargo.toml").is_file();
    here.ancestors().find(is_root).unwrap_or(here).to_owned()
}

/// The files of a folder of the project, by their paths from it, in order.
///
/// # Panics
///
/// When the folder cannot be read.
#[must_use]
pub fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let (top, mut found) = (root().join(folder), Vec::new());
    let mut open = vec![top.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&top).expect("below it").display().to_string();
                found.push((name, std::fs::read(&path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

/// The instant at which all of it happens.
fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("a time")
}

/// The id of every event.
fn event_id() -> EventId {
    EventId::from_bytes([7; 16])
}

/// A folder of these files, for as long as it is held.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    folder
}

/// Where a configuration comes from that refers to variables with this value, whatever their names.
fn source(dir: &Path, value: &'static str) -> Source {
    // Those of the program's own name stand above keys.
    let env = move |name: &str| (!name.starts_with("OUTRIGGER_")).then(|| value.to_owned());
    Source { env: Arc::new(env), placeholders: false, masked: false, files_unread: false, ..Source::as_written(dir) }
}

/// A configuration that is known to be good.
fn snapshot(files: &[(&str, &[u8])]) -> Snapshot {
    let folder = folder(files);
    let loaded = load(&Source { masked: false, ..Source::as_written(folder.path()) });
    let said: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    loaded.snapshot.unwrap_or_else(|| panic!("{}", said.join("\n")))
}
