//! `outrigger check`: all diagnostics, all `[[tests]]`.

mod cases;
mod compare;
mod json;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::preview;
use super::{Answer, BAD_CONFIG, Config, FINE, NO, count, show};
use crate::config::{TestCase, lint, load, sort};
use crate::diagnostic::{Diagnostic, Level};

/// How many differences of one test are printed.
const DIFFERENCES_MAX: usize = 10;

/// Check the configuration and run its [[tests]], without any network
///
/// Prints every fault and every warning with its place and fix, or one summary line when all is well.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger check\n  outrigger check --strict --placeholders config\n  \
                        outrigger check --json config | jq .diagnostics\n  \
                        OKTA_CLIENT_TOKEN=… outrigger check --config /etc/outrigger\n\n\
                        Exit codes: 78 for faults, 1 for failed tests and, with --strict, for warnings.")]
pub(super) struct Check {
    /// The configuration folder, instead of --config
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Refuse warnings with exit code 1; what is meant can be allowed in the files
    #[arg(long)]
    strict: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Every test that was run, with what differs from what it expects.
type Outcomes<'t> = Vec<(&'t TestCase, Vec<String>)>;

impl Check {
    pub(super) fn run(&self) -> Answer {
        let mut source = self.config.source();
        if let Some(folder) = &self.folder {
            source.dir.clone_from(folder);
        }
        let loaded = load(&source);
        let mut diagnostics = loaded.diagnostics;
        diagnostics.extend(loaded.test_diagnostics);
        let mut outcomes = Vec::new();
        if loaded.snapshot.is_some()
            && let Some(masked) = preview::masked(&source).snapshot
        {
            for test in &loaded.tests {
                match cases::run(&masked, test) {
                    Ok(differences) => outcomes.push((&**test, differences)),
                    Err(fault) => diagnostics.push(*fault),
                }
            }
        }
        lint(&source, loaded.snapshot.as_ref(), &mut diagnostics);
        let faulty = diagnostics.iter().any(|one| one.level == Level::Error);
        if faulty {
            outcomes.clear();
        }
        for diagnostic in diagnostics.iter_mut().filter(|_| self.strict) {
            diagnostic.level = Level::Error;
        }
        sort(&mut diagnostics);
        // A body's file may be that of several webhooks.
        diagnostics.dedup();
        let failed = outcomes.iter().any(|(_, differences)| !differences.is_empty());
        let code = match (faulty, failed || (self.strict && !diagnostics.is_empty())) {
            (true, _) => BAD_CONFIG,
            (false, true) => NO,
            (false, false) => FINE,
        };
        let webhooks = loaded.snapshot.filter(|_| !faulty).map(|snapshot| snapshot.webhooks.len());
        let out = if self.json {
            json::document(webhooks, &diagnostics, &outcomes, code == FINE)
        } else {
            text(webhooks, &diagnostics, &outcomes)
        };
        Answer { out, code, ..Answer::default() }
    }
}

/// What people read.
fn text(webhooks: Option<usize>, diagnostics: &[Diagnostic], outcomes: &Outcomes<'_>) -> String {
    let mut out = show(diagnostics, std::io::stdout().is_terminal());
    let errors = diagnostics.iter().filter(|one| one.level == Level::Error).count();
    let warnings = diagnostics.len() - errors;
    let Some(webhooks) = webhooks else {
        let _ = writeln!(out, "{}, {}", count(errors, "error"), count(warnings, "warning"));
        return out;
    };
    let failures: Vec<_> = outcomes.iter().filter(|(_, differences)| !differences.is_empty()).collect();
    for (test, differences) in &failures {
        let _ = writeln!(out, "failed: {}: {} ({}:{})", test.webhook, test.name, test.file, test.place.line);
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            let _ = writeln!(out, "  {difference}");
        }
        let _ = writeln!(out);
    }
    let (failed, passed) = (failures.len(), count(outcomes.len() - failures.len(), "test"));
    let _ = write!(out, "{}, {passed} passed, {failed} failed", count(webhooks, "webhook"));
    // Where there is no fault, an error is a warning that --strict refuses.
    let _ = match (errors, warnings) {
        (0, 0) => writeln!(out),
        (0, _) => writeln!(out, ", {}", count(warnings, "warning")),
        _ => writeln!(out, ", {} refused by --strict", count(errors, "warning")),
    };
    out
}
