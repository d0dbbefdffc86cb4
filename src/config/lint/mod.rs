//! Lints: what works and is most likely not meant. `check` runs them over a configuration without faults; a reload does not,
//! so they may read the files once more and cost what they like.

mod equal;
mod matching;
mod paths;
mod receivers;
mod secrets;

pub use secrets::{PASTED_KEY, is_secret_header, may_be_secret, says_more_than_scheme};
pub(super) use secrets::{SCHEMES, SECRET_PARAMETERS, SECRET_URLS, is_public_field, is_seed};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;

use super::document::{At, Document, Report};
use super::load::{SIDECAR_FILE, Source, TOML_BYTES_MAX};
use super::overrides;
use super::read;
use super::snapshot::Snapshot;
use super::table::{Table, list};
use crate::diagnostic::{Diagnostic, Lint, nearest};
use crate::webhook::Webhook;

/// Where the webhooks' files are.
const FOLDER: &str = "webhooks/";

/// What they end in.
const EXTENSION: &str = ".toml";

/// The table of the sidecar's file that allows lints everywhere.
const CONFIG: &str = "config";

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
    for name in snapshot.into_iter().flat_map(|snapshot| snapshot.webhooks.keys()) {
        files.entry(format!("{FOLDER}{name}{EXTENSION}")).or_default();
    }
    let mut found = files.remove(SIDECAR_FILE).unwrap_or_default();
    let everywhere = sidecar(source, snapshot.is_some(), &mut found);
    diagnostics.extend(found.into_iter().filter(|one| is_meant(one, &everywhere)));
    let mut copies = equal::Copies::default();
    for (file, mut found) in files {
        let name = file.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(EXTENSION));
        let webhook = snapshot.zip(name).and_then(|(snapshot, name)| snapshot.webhooks.get(name));
        let mut allowed = everywhere.clone();
        // A body's file is no table; what is found in it is found with its webhook.
        if let Some(document) = name.and_then(|_| read_file(source, &file)) {
            allowed.append(&mut look_into(
                source,
                &document,
                webhook.map(|webhook| &**webhook),
                &mut copies,
                &mut found,
            ));
        }
        diagnostics.extend(found.into_iter().filter(|one| is_meant(one, &allowed)));
    }
}

/// Looks into a webhook's file. What is given back is allowed in it.
fn look_into(
    source: &Source,
    document: &Document,
    webhook: Option<&Webhook>,
    copies: &mut equal::Copies,
    found: &mut Vec<Diagnostic>,
) -> BTreeSet<Lint> {
    let (parsed, faults) = DeTable::parse_recoverable(&document.text);
    let root = Table::new(document, String::new(), At::new(document, 0..0), parsed.get_ref());
    let mut report = Report::default();
    let secrets = secrets::typed(&mut report, document, &root, faults.is_empty());
    if let Some(webhook) = webhook {
        let subject = Subject { webhook, root: &root, source };
        paths::lint(&mut report, &subject);
        matching::lint(&mut report, &subject);
        receivers::lint(&mut report, &subject);
        copies.lint(&mut report, &subject);
        found.append(&mut report.diagnostics);
    }
    mask(found, document, &secrets);
    allowed(&mut report, &root)
}

/// Masks the secrets that are typed in the files of diagnostics wherever a line is shown.
pub fn hide_typed(source: &Source, diagnostics: &mut [Diagnostic]) {
    for found in diagnostics.chunk_by_mut(|one, next| one.file == next.file) {
        let Some(document) = found.first().and_then(|one| read_file(source, &one.file)) else { continue };
        if !is_toml(&document.name) {
            continue;
        }
        let (parsed, faults) = DeTable::parse_recoverable(&document.text);
        let root = Table::new(&document, String::new(), At::new(&document, 0..0), parsed.get_ref());
        let secrets = secrets::typed(&mut Report::default(), &document, &root, faults.is_empty());
        mask(found, &document, &secrets);
    }
}

/// Whether a file is a table; a body's is none.
pub(super) fn is_toml(file: &str) -> bool {
    file.ends_with(EXTENSION)
}

/// What is typed in a file and is a secret, as bytes of it. Of one that is not `whole` the table lacks a part.
pub(super) fn typed(document: &Document, root: &Table<'_>, whole: bool) -> Vec<Range<usize>> {
    secrets::typed(&mut Report::default(), document, root, whole)
}

/// Whether a diagnostic stays: faults do, and lints that are not allowed.
fn is_meant(diagnostic: &Diagnostic, allowed: &BTreeSet<Lint>) -> bool {
    diagnostic.lint.is_none_or(|lint| !allowed.contains(&lint))
}

/// Looks into the sidecar's own file, where that is asked for. What is given back is allowed in every file.
fn sidecar(source: &Source, looks: bool, found: &mut Vec<Diagnostic>) -> BTreeSet<Lint> {
    let nothing = || Document { name: SIDECAR_FILE.to_owned(), text: String::new(), shown: true };
    let document = read_file(source, SIDECAR_FILE).unwrap_or_else(nothing);
    let (parsed, faults) = DeTable::parse_recoverable(&document.text);
    let root = Table::new(&document, String::new(), At::new(&document, 0..0), parsed.get_ref());
    let mut report = Report::default();
    let secrets = secrets::typed(&mut report, &document, &root, faults.is_empty());
    if looks {
        found.append(&mut report.diagnostics);
    }
    mask(found, &document, &secrets);
    let flags = overrides::collect(source, &mut report);
    let values = overrides::values(&flags, &mut report);
    let mut config = root.table(&mut report, CONFIG).unwrap_or_else(|| Table::empty(CONFIG, root.at));
    overrides::apply(&mut config, &flags, &values);
    allowed(&mut report, &config)
}

/// Reads a file once more. What cannot be read has been reported.
fn read_file(source: &Source, file: &str) -> Option<Document> {
    let text = read::text(&source.dir.join(file), TOML_BYTES_MAX).ok()?;
    Some(Document { name: file.to_owned(), text, shown: true })
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
fn mask(found: &mut [Diagnostic], document: &Document, secrets: &[Range<usize>]) {
    if secrets.is_empty() {
        return;
    }
    let masked = masked(document, secrets);
    let lines: Vec<&str> = masked.lines().collect();
    for place in found.iter_mut().filter(|one| one.file == document.name).filter_map(|one| one.place.as_mut()) {
        if let Some(line) = place.line.checked_sub(1).and_then(|index| lines.get(index)) {
            place.show(line);
        }
    }
}

/// A document's text with these parts of it hidden. Lines and places stay: a character is a `*`.
pub(super) fn masked(document: &Document, secrets: &[Range<usize>]) -> String {
    let mut hidden = vec![false; document.text.len()];
    for secret in secrets {
        if let Some(part) = hidden.get_mut(secret.clone()) {
            part.fill(true);
        }
    }
    let show = |(at, character)| if character != '\n' && hidden.get(at) == Some(&true) { '*' } else { character };
    document.text.char_indices().map(show).collect()
}
