//! Holds the `use crate::` lines against the floors of ARCHITECTURE.md: imports go down, or sideways along an arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, from the top.
const FLOORS: [&[&str]; 6] = [
    &["cli"],
    &["app", "admin"],
    &["ingest", "dispatch", "attempt", "reload", "trial"],
    &[
        "client",
        "server",
        "spool",
        "live",
        "settled",
        "gates",
        "history",
        "shown",
        "stall",
        "supervisor",
        "log",
        "spans",
    ],
    &["plan", "config", "webhook", "cloudevents", "template", "kind"],
    &["event", "delivery", "diagnostic", "metrics", "secret", "trace"],
];

/// The arrows between modules of one floor: from, to.
const ARROWS: [(&str, &str); 25] = [
    ("app", "admin"),
    ("dispatch", "attempt"),
    ("trial", "attempt"),
    ("live", "client"),
    ("client", "stall"),
    ("history", "client"),
    ("history", "shown"),
    ("server", "stall"),
    ("spans", "client"),
    ("plan", "config"),
    ("plan", "webhook"),
    ("plan", "kind"),
    ("config", "webhook"),
    ("config", "template"),
    ("config", "kind"),
    ("webhook", "template"),
    ("webhook", "kind"),
    ("webhook", "cloudevents"),
    ("config", "cloudevents"),
    ("cloudevents", "kind"),
    ("template", "kind"),
    ("metrics", "delivery"),
    ("delivery", "event"),
    ("event", "secret"),
    ("event", "trace"),
];

/// What the two lowest floors must not know.
const NOT_BELOW_THE_LINE: [&str; 9] = [
    "tokio",
    "hyper",
    "hyper_util",
    "notify",
    "rusqlite",
    "fastrand",
    "Timestamp::now",
    "Instant::now",
    "SystemTime::now",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level module that a file belongs to; `None` for the crate's roots.
fn module_of(src: &Path, file: &Path) -> Option<String> {
    let inner = file.strip_prefix(src).expect("below src");
    let name = Path::new(inner.components().next()?.as_os_str()).file_stem()?.to_str()?.to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// The top-level modules that a file names by `crate::`.
fn named_modules(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            assert!(!name.is_empty(), "a grouped import cannot be read here, write one line a module: {line}");
            named.insert(name);
        }
    }
    named
}

/// The part of a file above its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn faults() -> (usize, Vec<String>) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut faults = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        let Some(module) = module_of(&src, file) else { continue };
        *seen.entry(module.clone()).or_default() += 1;
        let shown = file.strip_prefix(&src).expect("below src").display();
        let Some(floor) = floor_of(&module) else {
            faults.push(format!("{shown}: module `{module}` stands on no floor"));
            continue;
        };
        let text = fs::read_to_string(file).expect("a source");
        let text = without_tests(&text);
        for named in named_modules(text) {
            match floor_of(&named) {
                None => faults.push(format!("{shown}: `crate::{named}` stands on no floor")),
                Some(other) if other < floor => faults.push(format!("{shown}: `{named}` is above `{module}`")),
                Some(other)
                    if other == floor && named != module && !ARROWS.contains(&(module.as_str(), named.as_str())) =>
                {
                    faults.push(format!("{shown}: there is no arrow from `{module}` to `{named}`"));
                }
                Some(_) => {}
            }
        }
        if floor >= 4 {
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for word in NOT_BELOW_THE_LINE {
                    if line.contains(&format!("{word}::")) || line.contains(&format!("{word}(")) {
                        faults.push(format!("{shown}: `{word}` is not for the floors below the line: {}", line.trim()));
                    }
                }
            }
        }
    }
    for module in FLOORS.iter().flat_map(|floor| floor.iter()) {
        if !seen.contains_key(*module) {
            faults.push(format!("`{module}` stands on a floor and has no source"));
        }
    }
    (files.len(), faults)
}

#[test]
fn imports_go_down_or_along_an_arrow() {
    let (files, faults) = faults();
    assert!(files > 30, "only {files} sources were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_them() {
    let named = named_modules("use crate::spool::Spool;\n// use crate::app;\nlet x = crate::config::load();");
    assert_eq!(named, BTreeSet::from(["config".to_owned(), "spool".to_owned()]));
}
