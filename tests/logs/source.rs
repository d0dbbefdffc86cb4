//! The source: each line that can be written is in the table, and the table has no other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use outrigger::log::events::EVENTS;

/// A line that the source writes.
struct Written {
    level: String,
    name: String,
    fields: Vec<String>,
    file: String,
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} {} {:?}", self.file, self.level, self.name, self.fields)
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            found.push(path);
        }
    }
}

/// The arguments of a call whose opening bracket was just read.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for character in text.chars() {
        let last = arguments.last_mut().expect("there is one");
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            match character {
                '"' => quoted = true,
                '(' | '[' | '{' => depth += 1,
                ')' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        last.push(character);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

fn written(text: &str, file: &str) -> Vec<Written> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace"] {
        let call = format!("tracing::{level}!(");
        for (at, _) in text.match_indices(&call) {
            let mut arguments = arguments(&text[at + call.len()..]);
            let name = arguments.pop().unwrap_or_default();
            let fields = arguments.iter().map(|argument| {
                let name = argument.split_once(" = ").map_or(argument.as_str(), |(name, _)| name);
                name.trim_start_matches(['%', '?']).to_owned()
            });
            let (level, file) = (level.to_uppercase(), file.to_owned());
            found.push(Written { level, name: name.trim_matches('"').to_owned(), fields: fields.collect(), file });
        }
    }
    found
}

fn all() -> Vec<Written> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let text = text.split("\nmod tests {").next().expect("there is a first part").to_owned();
        for other in [
            "tracing::event!(",
            "log::info!(",
            "log::warn!(",
            "use tracing::info",
            "use tracing::warn",
            "tracing::span!(",
            "#[instrument",
        ] {
            assert!(!text.contains(other), "{} writes in another way: {other}", file.display());
        }
        found.extend(written(&text, &file.strip_prefix(&src).expect("below src").display().to_string()));
    }
    found
}

#[test]
fn each_line_of_the_source_is_in_the_table_and_each_of_the_table_is_in_the_source() {
    let (all, mut faults) = (all(), Vec::new());
    assert!(all.len() > 60, "only {} were found", all.len());
    for one in &all {
        let Some(entry) = EVENTS.iter().find(|entry| entry.name == one.name) else {
            faults.push(format!("{one} is not in the table"));
            continue;
        };
        let known: BTreeSet<&str> = entry.fields.iter().map(|field| field.trim_end_matches('?')).collect();
        let always: BTreeSet<&str> = entry.fields.iter().filter(|field| !field.ends_with('?')).copied().collect();
        let has: BTreeSet<&str> = one.fields.iter().map(String::as_str).collect();
        if !entry.levels.contains(&one.level.as_str()) {
            faults.push(format!("{one} has another level: {:?}", entry.levels));
        }
        if !has.is_subset(&known) || !always.is_subset(&has) {
            faults.push(format!("{one} has other fields: {known:?}, of which always {always:?}"));
        }
    }
    for entry in EVENTS {
        let of: Vec<&Written> = all.iter().filter(|one| one.name == entry.name).collect();
        for level in entry.levels {
            if !of.iter().any(|one| one.level == *level) {
                faults.push(format!("nothing writes {} at {level}", entry.name));
            }
        }
        for field in entry.fields {
            let plain = field.trim_end_matches('?');
            if !of.iter().any(|one| one.fields.iter().any(|name| name == plain)) {
                faults.push(format!("nothing gives {} the field {plain}", entry.name));
            }
        }
        let dotted = entry.name.split('.').count() == 2
            && entry.name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'));
        if !dotted {
            faults.push(format!("{} is no name", entry.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_call_is_read_as_it_stands() {
    let text = "tracing::warn!(\n  webhook = %a.b(1, \"x, )\\\"\"), ?names, %error, count,\n  note = \"a, b (c\", \"spool.away\"\n)";
    let [one] = &written(text, "x")[..] else { panic!("one was expected") };
    assert_eq!((one.level.as_str(), one.name.as_str()), ("WARN", "spool.away"));
    assert_eq!(one.fields, ["webhook", "names", "error", "count", "note"]);
    assert_eq!(written("tracing::info!(\"shutdown.ended\");", "x")[0].fields.len(), 0);
}
