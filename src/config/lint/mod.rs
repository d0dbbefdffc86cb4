//! Lints: what works and is most likely not meant. `check` runs them over a configuration without faults; a reload does not,
//! so they may read the files once more and cost what they like.

mod equal;
mod matching;
mod paths;
mod receivers;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use super::document::{At, Document, Report};
use super::load::{FILE_BYTES_MAX, SIDECAR_FILE, Source};
use super::overrides;
use super::read;
use super::snapshot::Snapshot;
use super::table::{Table, list};
use crate::diagnostic::{Diagnostic, Lint, nearest};
use crate::webhook::Webhook;

/// What files of the configuration end in; others are bodies.
const FILE_EXTENSION: &str = ".toml";

/// One webhook as it is compiled and as it is written.
struct Subject<'s> {
    /// What is compiled.
    webhook: &'s Webhook,
    /// Its file.
    root: &'s Table<'s>,
    /// Where the files lie.
    source: &'s Source,
}

/// Adds what the lints find in a configuration without faults (`snapshot`), and takes out what the files allow; where there are
/// faults only the latter. Secrets that are typed in a file are masked in its lines.
///
/// The snapshot is one whose references are not masked: of what is masked nothing is known.
pub fn lint(source: &Source, snapshot: Option<&Snapshot>, diagnostics: &mut Vec<Diagnostic>) {
    let mut files: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for diagnostic in diagnostics.drain(..) {
        files.entry(diagnostic.file.clone()).or_default().push(diagnostic);
    }
    let everywhere = sidecar(source, snapshot.is_some(), &mut files);
    let mut copies = equal::Copies::default();
    let webhooks: BTreeMap<String, Option<&Webhook>> = files
        .keys()
        .map(|file| (file.clone(), None))
        .chain(snapshot.into_iter().flat_map(|snapshot| {
            snapshot.webhooks.iter().map(|(name, webhook)| (format!("webhooks/{name}.toml"), Some(&**webhook)))
        }))
        .collect();
    for (file, webhook) in webhooks {
        let mut found = files.remove(&file).unwrap_or_default();
        let mut allowed = BTreeSet::new();
        with_file(source, &file, |root| {
            let mut report = Report::default();
            let secrets = secrets::of_webhook(&mut report, root);
            if let Some(webhook) = webhook {
                let subject = Subject { webhook, root, source };
                paths::lint(&mut report, &subject);
                matching::lint(&mut report, &subject);
                receivers::lint(&mut report, &subject);
                copies.lint(&mut report, &subject);
                found.append(&mut report.diagnostics);
            }
            mask(&mut found, root, &secrets);
            if file != SIDECAR_FILE {
                allowed = self::allowed(&mut report, root);
            }
        });
        found.retain(|one| one.lint.is_none_or(|lint| !allowed.contains(&lint) && !everywhere.contains(&lint)));
        diagnostics.append(&mut found);
    }
}

/// Looks into the sidecar's own file, where that is asked for. What is given back is allowed in every file.
fn sidecar(source: &Source, looks: bool, files: &mut BTreeMap<String, Vec<Diagnostic>>) -> BTreeSet<Lint> {
    let mut unread = Report::default();
    let flags = overrides::collect(source, &mut unread);
    let values = overrides::values(&flags, &mut unread);
    let empty = Document { name: SIDECAR_FILE.to_owned(), text: String::new(), shown: true };
    let mut config = Table::empty("config", At::new(&empty, 0..0));
    overrides::apply(&mut config, &flags, &values);
    let mut everywhere = allowed(&mut unread, &config);
    let overridden = config.get("allow").is_some();
    with_file(source, SIDECAR_FILE, |root| {
        let mut report = Report::default();
        let secrets = secrets::of_sidecar(&mut report, root);
        if let Some(config) = root.table(&mut unread, "config").filter(|_| !overridden) {
            everywhere = allowed(&mut unread, &config);
        }
        let found = files.entry(SIDECAR_FILE.to_owned()).or_default();
        if looks {
            found.append(&mut report.diagnostics);
        }
        mask(found, root, &secrets);
    });
    everywhere
}

/// Reads a file and looks at its table, or at what of it is one. What cannot be read has been reported as a fault.
fn with_file(source: &Source, file: &str, look: impl FnOnce(&Table<'_>)) {
    let read = || read::text(&source.dir.join(file), FILE_BYTES_MAX).ok();
    let Some(text) = file.ends_with(FILE_EXTENSION).then(read).flatten() else { return };
    let document = Document { name: file.to_owned(), text, shown: true };
    let (table, _) = DeTable::parse_recoverable(&document.text);
    look(&Table::new(&document, String::new(), At::new(&document, 0..0), table.get_ref()));
}

/// The lints that a table's `allow` names; what is no lint is reported.
pub(super) fn allowed(report: &mut Report, table: &Table<'_>) -> BTreeSet<Lint> {
    let mut allowed = BTreeSet::new();
    for text in table.texts(report, "allow").unwrap_or_default() {
        if let Some(lint) = Lint::parse(text.value) {
            allowed.insert(lint);
            continue;
        }
        let fix = match nearest(text.value, Lint::NAMES) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the lints are {}", list(&Lint::NAMES)),
        };
        report.error(text.at, "there is no such lint", fix);
    }
    allowed
}

/// Hides secrets that are typed in a file wherever one of its lines is shown. Places stay: a character is a `*`.
fn mask(found: &mut [Diagnostic], root: &Table<'_>, secrets: &[Range<usize>]) {
    if secrets.is_empty() {
        return;
    }
    let document = root.at.document;
    let hidden = |at: usize| secrets.iter().any(|secret| secret.contains(&at));
    let masked: String = document
        .text
        .char_indices()
        .map(|(at, character)| if character != '\n' && hidden(at) { '*' } else { character })
        .collect();
    let lines: Vec<&str> = masked.lines().collect();
    for place in found.iter_mut().filter(|one| one.file == document.name).filter_map(|one| one.place.as_mut()) {
        if let Some(line) = place.line.checked_sub(1).and_then(|index| lines.get(index)) {
            (*line).clone_into(&mut place.text);
        }
    }
}
