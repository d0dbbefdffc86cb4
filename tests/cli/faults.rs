//! Every kind of fault, with the text that people read: a folder each under `tests/faults`.
//!
//! `UPDATE_GOLDEN=1` rewrites the texts.

use std::path::Path;

use super::outrigger;

/// What a resolved secret is in these folders: it must never be printed.
const SECRET: &str = "TOPSECRET";

#[test]
fn every_fault_is_shown_with_its_place_and_its_fix() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut folders: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 40, "only {} folders in {}", folders.len(), root.display());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for folder in &folders {
        let run = outrigger(&["check", folder.to_str().unwrap()], &variables(folder), "").expect_code(78);
        assert_eq!(run.err, "", "{}", folder.display());
        assert!(!run.out.contains(SECRET), "{} shows a secret:\n{}", folder.display(), run.out);
        let golden = folder.join("expected.txt");
        if update {
            std::fs::write(&golden, &run.out).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if run.out != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{}", folder.display(), run.out));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `env.txt` of a folder: a variable a line.
pub(super) fn variables(folder: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder.join("env.txt")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}
