//! The rows of the table of webhooks, made at most once a second for all who look again and again, and what changed in them since
//! somebody last looked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;

use crate::server::problem::Problem;

/// How old rows may be that somebody is shown who looks again.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Webhooks that are gone and still told of as gone. Who looked before the oldest of them went is given all rows anew.
const GONE_MAX: usize = 1_000;

/// The rows as they were last made.
pub(super) struct Rows {
    /// What tells the cursors of one process from those of another.
    process: u64,
    made: Option<Instant>,
    version: u64,
    by_name: BTreeMap<Arc<str>, Row>,
    gone: VecDeque<(u64, Arc<str>)>,
    /// Cursors before this one have missed something.
    complete_from: u64,
    generation: u64,
    /// When counting began, as text.
    since: String,
}

struct Row {
    text: String,
    /// The version in which it last changed.
    version: u64,
}

impl Rows {
    pub(super) const fn new(process: u64, since: String) -> Self {
        Self {
            process,
            made: None,
            version: 0,
            by_name: BTreeMap::new(),
            gone: VecDeque::new(),
            complete_from: 0,
            generation: 0,
            since,
        }
    }

    /// Whether rows of this publication are fresh enough for who looks again and again.
    pub(super) fn are_fresh(&self, generation: u64) -> bool {
        self.made.is_some_and(|made| made.elapsed() < AGE_MAX) && self.generation == generation
    }

    /// Makes the rows again.
    pub(super) fn refresh(&mut self, generation: u64, made: Vec<(Arc<str>, Value)>) {
        let version = self.version + 1;
        let mut before = std::mem::take(&mut self.by_name);
        let mut changed = self.generation != generation;
        for (name, row) in made {
            let text = row.to_string();
            let row = match before.remove(&name) {
                Some(known) if known.text == text => known,
                _ => {
                    changed = true;
                    Row { text, version }
                }
            };
            self.by_name.insert(name, row);
        }
        self.gone.retain(|(_, gone)| !self.by_name.contains_key(gone));
        for name in before.into_keys() {
            changed = true;
            self.gone.push_back((version, name));
        }
        while self.gone.len() > GONE_MAX {
            if let Some((version, _)) = self.gone.pop_front() {
                self.complete_from = version;
            }
        }
        if changed {
            self.version = version;
        }
        self.generation = generation;
        self.made = Some(Instant::now());
    }

    /// `{"since", "generation", "cursor", "webhooks": [ROW…]}`.
    pub(super) fn all(&self) -> String {
        let rows = self.by_name.values().map(|row| row.text.as_str());
        let Self { generation, since, .. } = self;
        let (cursor, rows) = (self.cursor(), joined(rows));
        format!("{{\"since\":\"{since}\",\"generation\":{generation},\"cursor\":\"{cursor}\",\"webhooks\":[{rows}]}}")
    }

    /// What changed since a cursor; all rows where it is of another process, or none.
    pub(super) fn changes(&self, cursor: Option<&str>) -> Result<String, Problem> {
        let behind = match cursor {
            None => None,
            Some(cursor) => {
                let (process, version) = parse(cursor).ok_or_else(|| {
                    let detail = "`cursor` is none: write that of the last answer, or leave it out";
                    Problem::new(StatusCode::BAD_REQUEST, detail)
                })?;
                let known = process == self.process && version <= self.version && version >= self.complete_from;
                known.then_some(version)
            }
        };
        let changed = |row: &&Row| behind.is_none_or(|behind| row.version > behind);
        let rows = joined(self.by_name.values().filter(changed).map(|row| row.text.as_str()));
        let gone = self.gone.iter().filter(|(version, _)| behind.is_some_and(|behind| *version > behind));
        let gone: Vec<&str> = gone.map(|(_, name)| &**name).collect();
        let (cursor, generation, gone) = (self.cursor(), self.generation, Value::from(gone));
        let reset = behind.is_none();
        Ok(format!(
            "{{\"cursor\":\"{cursor}\",\"generation\":{generation},\"webhooks\":[{rows}],\"gone\":{gone},\"reset\":{reset}}}"
        ))
    }

    fn cursor(&self) -> String {
        format!("{:x}-{}", self.process, self.version)
    }
}

fn parse(cursor: &str) -> Option<(u64, u64)> {
    let (process, version) = cursor.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = digits(process) && digits(version);
    whole.then_some((u64::from_str_radix(process, 16).ok()?, version.parse().ok()?))
}

fn joined<'r>(rows: impl Iterator<Item = &'r str>) -> String {
    let mut joined = String::new();
    for row in rows {
        let comma = if joined.is_empty() { "" } else { "," };
        let _ = write!(joined, "{comma}{row}");
    }
    joined
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(named: &[(&str, u64)]) -> Vec<(Arc<str>, Value)> {
        named.iter().map(|(name, pending)| (Arc::from(*name), json!({ "name": name, "pending": pending }))).collect()
    }

    fn make(known: &mut Rows, generation: u64, named: &[(&str, u64)]) {
        known.refresh(generation, rows(named));
    }

    fn changes(known: &Rows, cursor: Option<&str>) -> Value {
        serde_json::from_str(&known.changes(cursor).unwrap()).unwrap()
    }

    #[test]
    fn who_looks_again_is_told_what_changed_and_what_is_gone() {
        let mut known = Rows::new(0xab, "2026-11-28T00:00:00Z".to_owned());
        make(&mut known, 1, &[("a", 0), ("b", 0), ("c", 0)]);
        let all: Value = serde_json::from_str(&known.all()).unwrap();
        assert_eq!((&all["cursor"], all["webhooks"].as_array().unwrap().len()), (&json!("ab-1"), 3));
        make(&mut known, 1, &[("a", 0), ("b", 0), ("c", 0)]);
        assert_eq!(known.cursor(), "ab-1", "nothing changed");
        make(&mut known, 2, &[("a", 0), ("b", 7)]);
        let expected = json!({ "cursor": "ab-2", "generation": 2, "webhooks": [{ "name": "b", "pending": 7 }], "gone": ["c"],
            "reset": false });
        assert_eq!(changes(&known, Some("ab-1")), expected);
        let nothing = json!({ "cursor": "ab-2", "generation": 2, "webhooks": [], "gone": [], "reset": false });
        assert_eq!(changes(&known, Some("ab-2")), nothing);
        make(&mut known, 2, &[("a", 0), ("b", 7), ("c", 1)]);
        assert_eq!(changes(&known, Some("ab-1"))["gone"], json!([]), "it came back");
    }

    #[test]
    fn a_cursor_of_another_process_or_of_long_ago_is_given_all() {
        let mut known = Rows::new(1, String::new());
        make(&mut known, 1, &[("a", 0)]);
        for cursor in [None, Some("2-1"), Some("1-9")] {
            let all = changes(&known, cursor);
            assert_eq!((&all["reset"], all["webhooks"].as_array().unwrap().len()), (&json!(true), 1), "{cursor:?}");
        }
        for nonsense in ["", "1", "1-", "-1", "1-x", "1-1-1", "1--1", "+1-1"] {
            assert!(known.changes(Some(nonsense)).is_err(), "{nonsense}");
        }
        let many: Vec<String> = (0..=GONE_MAX).map(|number| format!("hook-{number:04}")).collect();
        let named: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 0)).collect();
        make(&mut known, 1, &named);
        let cursor = known.cursor();
        make(&mut known, 1, &[]);
        assert_eq!(changes(&known, Some(&cursor))["reset"], json!(true), "more went than are told of");
    }

    #[test]
    fn rows_are_fresh_for_a_second_and_for_their_publication() {
        let mut known = Rows::new(1, String::new());
        assert!(!known.are_fresh(0));
        make(&mut known, 1, &[("a", 1)]);
        assert!(known.are_fresh(1) && !known.are_fresh(2));
        known.made = Instant::now().checked_sub(AGE_MAX);
        assert!(!known.are_fresh(1));
    }
}
