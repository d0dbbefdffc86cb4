//! One side of a plan: a configuration, from a folder or from a revision, and the texts that define it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::revision;
use super::scratch::Scratch;
use crate::config::{FILE_BYTES_MAX, Snapshot, Source, load, read_text};
use crate::diagnostic::Diagnostic;

/// What a revision begins with.
const REVISION: &str = "git:";

/// What a key that names a body's file is called.
const BODY_FILE: &str = "body_file";

/// A configuration that was loaded, without any secret.
pub(super) struct Side {
    /// What people call it.
    pub(super) label: String,
    pub(super) snapshot: Snapshot,
    /// `outrigger.toml`; empty where there is none.
    pub(super) sidecar: String,
    /// The file of each webhook.
    pub(super) files: BTreeMap<String, Definition>,
}

/// What a webhook's file says.
#[derive(PartialEq)]
pub(super) struct Definition {
    pub(super) text: String,
    /// The text of its `body_file`.
    pub(super) body: Option<String>,
}

/// Why a side cannot be used.
pub(super) enum Unusable {
    /// It cannot be read; a sentence with cause and fix.
    Unread(String),
    /// Its configuration is faulty.
    Faulty(Vec<Diagnostic>),
}

/// Whether a side is a revision's.
pub(super) fn is_revision(written: &str) -> bool {
    written.starts_with(REVISION)
}

/// Opens a side as it was written: a folder, or `git:REV`, or `git:REV:PATH`. `below` is its place in the scratch folder.
pub(super) fn open(written: &str, config: &Path, scratch: Option<&Scratch>, below: &str) -> Result<Side, Unusable> {
    let (folder, label) = match (written.strip_prefix(REVISION), scratch) {
        (Some(asked), Some(scratch)) => {
            let found = revision::write(asked, config, scratch, below).map_err(Unusable::Unread)?;
            (found.folder, format!("{written} ({})", found.commit))
        }
        _ => (PathBuf::from(written), written.to_owned()),
    };
    let loaded = load(&Source::as_written(&folder));
    let Some(snapshot) = loaded.snapshot else { return Err(Unusable::Faulty(loaded.diagnostics)) };
    // What load has just read is there; where it goes in between, it counts as empty.
    let read = |path: PathBuf| read_text(&path, FILE_BYTES_MAX).unwrap_or_default();
    let webhooks = folder.join("webhooks");
    let files = snapshot.webhooks.keys().map(|name| {
        let text = read(webhooks.join(format!("{name}.toml")));
        let body = body_file(&text).map(|file| read(webhooks.join(file)));
        (name.to_string(), Definition { text, body })
    });
    Ok(Side { label, files: files.collect(), sidecar: read(folder.join("outrigger.toml")), snapshot })
}

/// The file that a webhook's file names as its body.
fn body_file(text: &str) -> Option<String> {
    // Most name none and need not be parsed.
    if !text.contains(BODY_FILE) {
        return None;
    }
    let table: toml::Table = text.parse().ok()?;
    Some(table.get(BODY_FILE)?.as_str()?.to_owned())
}
