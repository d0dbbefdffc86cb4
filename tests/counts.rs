//! `benches/counts`, by figures that are made up: what it refuses, and what it does not compare. That it counts is seen by `tests/all`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The Python that runs the script.
const PYTHON: &str = "OUTRIGGER_TEST_PYTHON";
const MACHINE: &str = "# rustc: 1.95.0\n# target: x86_64-unknown-linux-gnu\n# libc: glibc 2.36\n# vectors: avx2\n\n";

/// What the script says of counts that are kept and counts that were taken, both behind what they depend on.
fn compared(kept: &str, now: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("kept.txt", kept), ("now.txt", now)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let python = std::env::var(PYTHON).unwrap_or_else(|_| panic!("{PYTHON} names no Python; tests/all installs one"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts");
    let mut command = Command::new(python);
    command.arg(script).args(["--kept", "kept.txt", "--now", "now.txt"]).args(arguments).current_dir(folder.path());
    let output = command.output().unwrap();
    let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    (output, fs::read_to_string(folder.path().join("kept.txt")).unwrap() + &said)
}

fn judged(kept: &str, now: &str) -> (Option<i32>, String) {
    let (output, said) = compared(&format!("{MACHINE}{kept}"), &format!("{MACHINE}{now}"), &[]);
    (output.status.code(), said)
}

#[test]
#[ignore = "needs python3, which tests/all installs"]
fn a_stage_may_be_off_by_three_percent_and_no_more() {
    for (now, off) in
        [(10_000, None), (10_300, None), (9_700, None), (10_301, Some("+3.01 %")), (9_699, Some("-3.01 %"))]
    {
        let (code, said) = judged("decode 500\nplan 10000\n", &format!("decode 500\nplan {now}\n"));
        assert_eq!(code, Some(i32::from(off.is_some())), "{said}");
        assert_eq!(said.contains("benches/counts --write"), off.is_some(), "it says what to do: {said}");
        assert!(off.is_none_or(|off| said.contains(&format!("\n  plan: {off}\n"))), "{said}");
        assert!(!said.contains("decode:"), "what is not off is not named: {said}");
    }
}

#[test]
#[ignore = "needs python3, which tests/all installs"]
fn a_stage_that_is_new_or_gone_has_to_be_written() {
    for (kept, now, why) in [
        ("decode 500\n", "decode 500\nplan 900\n", "plan: not kept"),
        ("decode 500\nplan 900\n", "decode 500\n", "plan: kept, and no stage any more"),
    ] {
        let (code, said) = judged(kept, now);
        assert!(code == Some(1) && said.contains(why), "{said}");
    }
    let (code, said) = judged("decode many\n", "decode 500\n");
    assert!(code == Some(1) && said.contains("kept.txt:6: `decode many`"), "{said}");
    let (code, said) = judged("", "decode 500\n");
    assert!(code == Some(1) && said.contains("kept.txt has no counts"), "{said}");
}

#[test]
#[ignore = "needs python3, which tests/all installs"]
fn counts_of_another_compiler_are_shown_and_not_compared() {
    for (from, to) in [("1.95.0", "1.96.0"), ("x86_64", "aarch64"), ("glibc 2.36", "glibc 2.41"), ("avx2", "sse2")] {
        let kept = format!("{}plan 10000\n", MACHINE.replace(from, to));
        let (output, said) = compared(&kept, &format!("{MACHINE}plan 20000\n"), &[]);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("NOT COMPARED") && said.contains(from) && said.contains(to), "{said}");
        assert!(said.contains("+100.00 %"), "the table is there: {said}");
    }
}

#[test]
#[ignore = "needs python3, which tests/all installs"]
fn what_is_written_is_what_is_compared() {
    let now = format!("{MACHINE}decode 700\nplan 20000\n");
    let (output, said) = compared(&format!("{}plan 1\n", MACHINE.replace("1.95.0", "1.94.0")), &now, &["--write"]);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let written = said.split_once("2 stages are kept in kept.txt").unwrap().0;
    let (output, said) = compared(written, &now, &[]);
    assert!(output.status.code() == Some(0) && said.contains("2 stages, none more than 3 % off"), "{said}");
}
