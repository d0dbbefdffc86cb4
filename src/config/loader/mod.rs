//! The loader: loads again and again, and compiles only what changed.
//!
//! Every file is read at every load, for its content decides and nothing else: what a file's times say is not asked. A webhook
//! is compiled again when the text of its file differs, what every webhook is compiled with, its kind, or the answer to one of
//! the questions that its compilation asked (a reference, a file). Else it is the very one of before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::compile::{self, Around, Compiled, Shared};
use super::document::{Document, Report};
use super::folder::{WEBHOOKS, refuse_name, webhook_files};
use super::inputs::{Digest, Input, Inputs};
use super::load::{Loaded, Source, TOML_BYTES_MAX, sidecar, sort};
use super::snapshot::{OnInvalidWebhook, Snapshot, SpoolPlace};
use super::tests::TestCase;
use crate::diagnostic::{Diagnostic, Level};
use crate::kind::Kind;
use crate::template::Pool;
use crate::webhook::Webhook;

/// Loads a configuration folder, and keeps what it compiled for the next time.
///
/// Each answer is the one that a first load would give, but that what did not change is shared with the answers before.
/// What is kept is bounded: the last configuration without a fault, and what of the last look differs from it.
pub struct Loader {
    source: Source,
    /// The last load that gave a Snapshot.
    good: Kept,
    /// The last load, where it was refused: a fault is mostly mended in one of many files.
    refused: Kept,
    templates: Pool,
}

/// What one load compiled.
#[derive(Default)]
struct Kept {
    shared: Option<Arc<Shared>>,
    kinds: BTreeMap<Arc<str>, Arc<Kind>>,
    webhooks: BTreeMap<Arc<str>, Arc<Entry>>,
}

/// What one webhook's file came to, and all that decided it.
struct Entry {
    /// `None` when the file is faulty. Such an entry is not kept: of what its faults tell, the kinds are a part.
    webhook: Option<Arc<Webhook>>,
    file: Digest,
    shared: Arc<Shared>,
    inputs: Vec<Input>,
    diagnostics: Vec<Diagnostic>,
    tests: Vec<Arc<TestCase>>,
    test_diagnostics: Vec<Diagnostic>,
}

impl Loader {
    /// A loader that has loaded nothing yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, good: Kept::default(), refused: Kept::default(), templates: Pool::default() }
    }

    /// Where the configuration comes from; after the first load no longer for a cold start.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reads the folder, and checks and compiles what changed.
    pub fn load(&mut self) -> Loaded {
        let cold_start = std::mem::take(&mut self.source.cold_start);
        let before = [&self.good, &self.refused];
        let mut report = Report::default();
        let mut inputs = Inputs::new(&self.source, &mut self.templates);
        let mut compiled = sidecar(&mut inputs, &mut report);
        share(&mut compiled, before);
        // What the sidecar's own file asked is no webhook's.
        inputs.recorded();
        let sets_aside = cold_start
            && !report.refuses()
            && compiled.settings.as_ref().is_some_and(|set| set.on_invalid_webhook == OnInvalidWebhook::Quarantine);

        let around = Around { dir: &self.source.dir, compiled: &compiled };
        let mut look = Look { before, around, inputs, tests: Vec::new(), test_diagnostics: Vec::new() };
        let mut webhooks = BTreeMap::new();
        let mut quarantined = Vec::new();
        let mut names = BTreeMap::new();
        // An empty folder has no file to be known by, and the next file appears in it.
        look.inputs.watched.push(self.source.dir.join(WEBHOOKS));
        for path in webhook_files(&self.source.dir, &mut report) {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let mut own = Report::default();
            refuse_name(&stem, &format!("{WEBHOOKS}/{stem}.toml"), &mut names, &mut own);
            match look.webhook(&path, &stem, &mut own).filter(|_| !own.refuses()) {
                Some(entry) => {
                    webhooks.insert(Arc::from(stem), entry);
                }
                None if sets_aside => {
                    for diagnostic in &mut own.diagnostics {
                        diagnostic.level = Level::Warning;
                    }
                    quarantined.push(Arc::from(stem));
                }
                None => {}
            }
            report.diagnostics.append(&mut own.diagnostics);
        }

        let Look { mut inputs, tests, mut test_diagnostics, .. } = look;
        let (hash, watched) = (inputs.hash(), inputs.watched.into_iter().collect());
        let Compiled { settings, shared, kinds, .. } = compiled;
        let kept = Kept { shared: Some(shared), kinds, webhooks };
        let settings = settings.filter(|_| !report.refuses());
        let snapshot = settings.map(|settings| Snapshot::new(settings, kept.kinds.clone(), kept.webhooks(), hash));
        if let Some(snapshot) = snapshot.as_ref().filter(|_| cold_start) {
            // It runs from here on with this spool.
            self.source.ordered = Some(matches!(snapshot.settings.spool.place, SpoolPlace::Disk(_)));
        }
        if snapshot.is_some() {
            self.good = kept;
            self.refused = Kept::default();
        } else {
            self.refused = kept;
        }
        self.templates.prune();
        let mut diagnostics = report.diagnostics;
        sort(&mut diagnostics);
        sort(&mut test_diagnostics);
        Loaded { snapshot, diagnostics, tests, test_diagnostics, watched, quarantined }
    }
}

impl Kept {
    fn webhooks(&self) -> BTreeMap<Arc<str>, Arc<Webhook>> {
        let found =
            |(name, entry): (&Arc<str>, &Arc<Entry>)| Some((Arc::clone(name), Arc::clone(entry.webhook.as_ref()?)));
        self.webhooks.iter().filter_map(found).collect()
    }
}

/// One look at the files.
struct Look<'l> {
    before: [&'l Kept; 2],
    around: Around<'l>,
    inputs: Inputs<'l>,
    tests: Vec<Arc<TestCase>>,
    test_diagnostics: Vec<Diagnostic>,
}

impl Look<'_> {
    /// One webhook, kept or compiled. `None` when it is faulty; the report says how.
    fn webhook(&mut self, path: &Path, stem: &str, report: &mut Report) -> Option<Arc<Entry>> {
        let name = format!("{WEBHOOKS}/{stem}.toml");
        let (text, file) = match self.inputs.read_own(path, TOML_BYTES_MAX) {
            Ok(read) => read,
            Err(problem) => {
                report.file_error(name, format!("the file {problem}"), "correct the file, or remove it");
                return None;
            }
        };
        let entry = match self.kept(stem, &file) {
            Some(entry) => entry,
            None => Arc::new(self.compile(stem, &Document { name, text, shown: true }, file)),
        };
        report.diagnostics.extend_from_slice(&entry.diagnostics);
        self.tests.extend_from_slice(&entry.tests);
        self.test_diagnostics.extend_from_slice(&entry.test_diagnostics);
        entry.webhook.is_some().then_some(entry)
    }

    /// What the same file was compiled to with the same of everything.
    fn kept(&mut self, stem: &str, file: &Digest) -> Option<Arc<Entry>> {
        let compiled = self.around.compiled;
        let found = self.before.iter().filter_map(|kept| kept.webhooks.get(stem)).find(|entry| {
            let kind = entry.webhook.as_ref().map(|webhook| &webhook.kind);
            entry.file == *file
                && Arc::ptr_eq(&entry.shared, &compiled.shared)
                && kind.is_some_and(|kind| compiled.kinds.get(&kind.name).is_some_and(|now| Arc::ptr_eq(kind, now)))
                && entry.inputs.iter().all(|input| self.inputs.is_still(input))
        });
        found.cloned()
    }

    fn compile(&mut self, stem: &str, document: &Document, file: Digest) -> Entry {
        let (mut report, mut test_report, mut tests) = (Report::default(), Report::default(), Vec::new());
        let webhook =
            compile::webhook(&self.around, stem, document, &mut self.inputs, &mut report, &mut test_report, &mut tests);
        Entry {
            webhook: webhook.filter(|_| !report.refuses()).map(Arc::new),
            file,
            shared: Arc::clone(&self.around.compiled.shared),
            inputs: self.inputs.recorded(),
            diagnostics: report.diagnostics,
            tests,
            test_diagnostics: test_report.diagnostics,
        }
    }
}

/// Puts what is equal to what was there before in its place, so that the webhooks that hold on to it are kept.
fn share(compiled: &mut Compiled, before: [&Kept; 2]) {
    let mut known = before.iter().filter_map(|kept| kept.shared.as_ref());
    if let Some(known) = known.find(|known| ***known == *compiled.shared) {
        compiled.shared = Arc::clone(known);
    }
    for kind in compiled.kinds.values_mut() {
        let mut known = before.iter().filter_map(|kept| kept.kinds.get(&kind.name));
        if let Some(known) = known.find(|known| Arc::ptr_eq(known, kind) || ***known == **kind) {
            *kind = Arc::clone(known);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
