//! A replay or a drop from its first step to its last: what is asked before, shown meanwhile and counted in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Map, Value, json};

use super::{Ask, Refused, Way, show};
use crate::admin::repair::{Action, IDS_MAX};
use crate::cli::{Answer, FINE, NO, count};

/// What is to be done.
pub(super) struct Repair<'a> {
    pub(super) action: Action,
    /// These, each once, or else those that the filter's parts name.
    pub(super) ids: Vec<&'a str>,
    pub(super) filter: Map<String, Value>,
    /// Count, and change nothing.
    pub(super) dry_run: bool,
    /// Drop more than one without asking.
    pub(super) sure: bool,
    /// Print JSON.
    pub(super) json: bool,
}

/// What it came to, over all of its steps.
#[derive(Debug, Default)]
struct Totals {
    matched: u64,
    done: u64,
    skipped: BTreeMap<String, u64>,
    missing: Vec<String>,
    /// The cursor of the run's beginning.
    run: Value,
}

impl Repair<'_> {
    /// Goes through all steps, and says what came of them.
    pub(super) async fn run(&self, way: &Way) -> Result<Answer, Refused> {
        let mut run = Value::Null;
        if self.action == Action::Drop && !self.dry_run && !self.sure && self.ids.len() != 1 {
            let mut counted = Totals::default();
            self.steps(way, true, Value::Null, &mut counted).await?;
            if counted.matched == 0 {
                return Ok(self.told(&counted));
            }
            if counted.matched > 1 && !confirmed(counted.matched) {
                let found = letters(counted.matched);
                return Err(Refused::no(format!("this would drop {found}: say --yes, or look first with --dry-run")));
            }
            // What died after it was counted was not agreed to.
            run = counted.run;
        }
        let mut totals = Totals::default();
        if let Err(Refused { text, code }) = self.steps(way, self.dry_run, run, &mut totals).await {
            let before = match totals.done {
                0 => String::new(),
                1 => format!("; 1 was {} before that, and the same command goes on", self.action.done()),
                done => format!("; {done} were {} before that, and the same command goes on", self.action.done()),
            };
            return Err(Refused { text: format!("{text}{before}"), code });
        }
        let mut answer = self.told(&totals);
        if self.action == Action::Replay && totals.done > 0 && matches!(way, Way::Stopped(..)) {
            answer.after.push_str("what was replayed goes out when the sidecar starts\n");
        }
        Ok(answer)
    }

    /// Goes on until there is nothing more to do, from the beginning of a run where one is given.
    async fn steps(&self, way: &Way, dry_run: bool, run: Value, totals: &mut Totals) -> Result<(), Refused> {
        let mut progress = Progress::new();
        if !self.ids.is_empty() {
            for ids in self.ids.chunks(IDS_MAX) {
                let body = json!({ "ids": ids, "dry_run": dry_run });
                totals.add(self.action, &way.ask(&Ask::Repair(self.action, body)).await?);
                progress.show(totals.matched);
            }
            return Ok(());
        }
        let mut body = self.filter.clone();
        body.insert("all".to_owned(), true.into());
        body.insert("dry_run".to_owned(), dry_run.into());
        body.insert("cursor".to_owned(), run);
        loop {
            let mut answer = way.ask(&Ask::Repair(self.action, Value::Object(body.clone()))).await?;
            totals.add(self.action, &answer);
            let cursor = answer["cursor"].take();
            if cursor.is_null() {
                return Ok(());
            }
            progress.show(totals.matched);
            if body.insert("cursor".to_owned(), cursor.clone()).as_ref() == Some(&cursor) {
                return Err(Refused::no("the sidecar answers the same again and again: look at its log"));
            }
        }
    }

    /// The final count.
    fn told(&self, totals: &Totals) -> Answer {
        let Totals { matched, done, skipped, missing, .. } = totals;
        let skipped_count: u64 = skipped.values().sum();
        let would = if self.dry_run { matched.saturating_sub(skipped_count) } else { *done };
        let code = if would == 0 || !missing.is_empty() { NO } else { FINE };
        let mut err = String::new();
        for id in missing {
            let _ = writeln!(err, "`{id}` is no dead letter: it was delivered, is pending, or was replayed or dropped");
        }
        if self.json {
            let name = self.action.done();
            let out = json!({ "dry_run": self.dry_run, "matched": matched, name: done, "skipped": skipped, "missing": missing });
            return Answer { out: show::json(&out), err, code, ..Answer::default() };
        }
        if *matched == 0 && missing.is_empty() {
            err.push_str("no dead letter matches: `outrigger dead-letters` lists them\n");
        }
        let verb = match (self.action, self.dry_run) {
            (Action::Replay, true) => "would replay",
            (Action::Drop, true) => "would drop",
            (action, false) => action.done(),
        };
        let mut out = format!("{verb} {}", letters(would));
        for (webhook, count) in skipped {
            let _ = write!(out, "; {count} skipped: webhook `{webhook}` is not configured");
        }
        out.push('\n');
        Answer { out, err, code, ..Answer::default() }
    }
}

impl Totals {
    fn add(&mut self, action: Action, answer: &Value) {
        self.matched += answer["matched"].as_u64().unwrap_or_default();
        self.done += answer[action.done()].as_u64().unwrap_or_default();
        for (webhook, count) in answer["skipped"].as_object().into_iter().flatten() {
            *self.skipped.entry(webhook.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        let missing = answer["missing"].as_array().into_iter().flatten();
        self.missing.extend(missing.filter_map(|id| id.as_str().map(str::to_owned)));
        self.run = answer["run"].clone();
    }
}

/// A count of what was gone through so far, on a terminal; it goes when the run ends.
struct Progress {
    seen: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { seen: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, matched: u64) {
        if self.seen {
            self.shown = true;
            // A terminal that is gone needs no count.
            let _ = write!(std::io::stderr(), "\r{} so far", letters(matched));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // Back to the start of the line, which is cleared.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Asks on the terminal; without one the answer is no.
fn confirmed(number: u64) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let _ = write!(std::io::stderr(), "drop {} for good? [y/N] ", letters(number));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}

fn letters(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "dead letter")
}
