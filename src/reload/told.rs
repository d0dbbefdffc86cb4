//! What a look came to, as people and programs are told.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Snapshot;
use crate::diagnostic::{Diagnostic, Level};
use crate::metrics::Reloaded;

/// Names that one line of the log lists; of more the number is told.
const NAMES_LOGGED_MAX: usize = 20;
/// Diagnostics of one look that are logged, a line each; of more the number is told.
const DIAGNOSTICS_LOGGED_MAX: usize = 50;

/// Diagnostics of one look that programs are told, and that are kept; of more the number is told.
pub const DIAGNOSTICS_MAX: usize = 1_000;

/// The result of one look.
#[derive(Clone, Debug)]
pub struct Told {
    /// What was done.
    pub result: Reloaded,
    /// The publication that is in force after it.
    pub generation: u64,
    /// The configuration that is in force after it, as [`Snapshot::hash`] tells it.
    pub hash: Arc<str>,
    /// How the webhooks differ from those before; nothing unless it was published.
    pub differences: Differences,
    /// Keys of `outrigger.toml` whose new values wait for a restart.
    pub restart: Vec<&'static str>,
    /// All faults and warnings, also of a look that came to nothing new, with what is secret masked in their lines.
    pub diagnostics: Vec<Diagnostic>,
}

/// What is kept of the last look.
#[derive(Clone, Debug)]
pub struct LastLook {
    /// When it ended.
    pub at: Timestamp,
    /// What was done.
    pub result: Reloaded,
    /// The configuration that is in force after it.
    pub hash: Arc<str>,
    /// The first faults and warnings, with what is secret masked in their lines.
    pub diagnostics: Vec<Diagnostic>,
    /// How many there are beyond them.
    pub unlisted: usize,
}

impl LastLook {
    /// What is kept of it.
    pub(super) fn of(told: &Told, at: Timestamp) -> Self {
        let diagnostics: Vec<Diagnostic> = told.diagnostics.iter().take(DIAGNOSTICS_MAX).cloned().collect();
        let unlisted = told.diagnostics.len() - diagnostics.len();
        Self { at, result: told.result, hash: Arc::clone(&told.hash), diagnostics, unlisted }
    }
}

/// Webhooks by name, each list in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Those that were not there before.
    pub added: Vec<Arc<str>>,
    /// Those whose definition, or something that it refers to, is another one.
    pub changed: Vec<Arc<str>>,
    /// Those that are gone.
    pub removed: Vec<Arc<str>>,
}

impl Differences {
    /// How the second differs from the first.
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut differences = Self::default();
        for (name, webhook) in &new.webhooks {
            match old.webhooks.get(name) {
                None => differences.added.push(Arc::clone(name)),
                Some(known) if known.fingerprint != webhook.fingerprint => differences.changed.push(Arc::clone(name)),
                Some(_) => {}
            }
        }
        let gone = old.webhooks.keys().filter(|name| !new.webhooks.contains_key(*name));
        differences.removed.extend(gone.cloned());
        differences
    }
}

impl Told {
    /// The one line about a publication.
    pub(super) fn log_published(&self, took_ms: u64) {
        let Differences { added, changed, removed } = &self.differences;
        let (generation, hash, warnings) = (self.generation, &self.hash, self.diagnostics.len());
        let (added, changed, removed) = (listed(added), listed(changed), listed(removed));
        tracing::info!(generation, %hash, ?added, ?changed, ?removed, warnings, took_ms, "config.published");
        for diagnostic in self.diagnostics.iter().take(DIAGNOSTICS_LOGGED_MAX) {
            tracing::warn!(file = %diagnostic.file, detail = %diagnostic.for_log(), "config.warning");
        }
    }

    /// The lines about a configuration that is not taken: each fault in one of its own.
    pub(super) fn log_refused(&self) {
        for diagnostic in self.diagnostics.iter().take(DIAGNOSTICS_LOGGED_MAX) {
            match diagnostic.level {
                Level::Error => {
                    tracing::error!(file = %diagnostic.file, detail = %diagnostic.for_log(), "config.fault");
                }
                Level::Warning => {
                    tracing::warn!(file = %diagnostic.file, detail = %diagnostic.for_log(), "config.warning");
                }
            }
        }
        let faults = self.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count();
        let unlisted = self.diagnostics.len().saturating_sub(DIAGNOSTICS_LOGGED_MAX);
        let generation = self.generation;
        tracing::error!(faults, unlisted, generation, "config.refused");
    }
}

/// The first names, and how many there are beyond them.
fn listed(names: &[Arc<str>]) -> Vec<String> {
    let mut listed: Vec<String> = names.iter().take(NAMES_LOGGED_MAX).map(|name| name.as_ref().to_owned()).collect();
    if names.len() > NAMES_LOGGED_MAX {
        listed.push(format!("and {} more", names.len() - NAMES_LOGGED_MAX));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_names_is_cut_in_the_log_and_counted() {
        let names: Vec<Arc<str>> = (0..25).map(|number| Arc::from(format!("hook-{number}"))).collect();
        let long = listed(&names);
        assert_eq!((long.len(), long.last().map(String::as_str)), (21, Some("and 5 more")));
        assert_eq!(listed(&names[..2]), ["hook-0", "hook-1"]);
    }
}
