//! The bodies of the fuzz targets over all that is kept of them: the corpus, what the project's own files give, the findings of
//! before, and a fixed number of changes to these. `fuzz/README.md` says how the fuzzers themselves are run.
//!
//! Other changes, and more of them:
//! ```sh
//! OUTRIGGER_TEST_FUZZ_SEED=7 OUTRIGGER_TEST_FUZZ_CASES=100000 cargo test --release --test main fuzz::templates
//! ```

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use targets::{TARGETS, Target, root};

/// No case takes as long: what does is a finding, as it is for the fuzzers.
const CASE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a smaller case is looked for that does not hold either, in milliseconds.
const SHRINK_MS_MAX: u32 = 60_000;
/// Fewer cases were lost on the way.
const KEPT_MIN: usize = 5;
/// The longest case that changes make.
const CASE_BYTES_MAX: usize = 16 * 1024;

/// The tests of each target, with how many changed cases it takes for about two seconds.
macro_rules! tests {
    ($($target:ident $cases:literal,)*) => {$(
        mod $target {
            use super::targets::$target::TARGET;

            #[test]
            fn all_that_is_kept_holds() {
                super::replay(&TARGET);
            }

            #[test]
            fn what_is_kept_holds_when_it_is_changed() {
                super::change(&TARGET, $cases);
            }
        }
    )*

    /// Every target that has tests.
    const TESTED: &[&str] = &[$(stringify!($target)),*];
    };
}

tests! {
    conditions 5000,
    config 300,
    events 500,
    ingest 2000,
    responses 10000,
    spool_file 150,
    spool_rows 150,
    templates 500,
}

/// The files of a folder in `fuzz/`, in order; none where it is missing.
fn kept(folder: &str, target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("fuzz").join(folder).join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), fs::read(path).expect("a file"))).collect()
}

fn cases(target: &Target) -> Vec<(String, Vec<u8>)> {
    let corpus = kept("corpus", target);
    assert!(corpus.len() >= KEPT_MIN, "fuzz/corpus/{} has only {} cases", target.name, corpus.len());
    corpus.into_iter().chain(kept("regressions", target)).chain((target.seeds)()).collect()
}

fn run(target: &Target, case: &[u8]) {
    let begun = Instant::now();
    (target.run)(case);
    let taken = begun.elapsed();
    assert!(taken < CASE_TIMEOUT, "it took {taken:?}");
}

fn replay(target: &Target) {
    for (name, case) in cases(target) {
        let held = std::panic::catch_unwind(|| run(target, &case));
        assert!(held.is_ok(), "the target `{}` does not hold for {name}", target.name);
    }
}

/// One change to a case.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, Index),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Splice(Index, Index, Index, usize),
}

fn changed_at() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..5)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        3 => (at(), at()).prop_map(|(at, word)| Change::Word(at, word)),
        2 => (at(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (at(), 1..40_usize, 1..40_usize).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
        2 => (at(), at(), at(), 1..200_usize).prop_map(|(at, other, from, count)| Change::Splice(at, other, from, count)),
    ]
}

impl Change {
    fn make(&self, case: &mut Vec<u8>, words: &[Vec<u8>], cases: &[(String, Vec<u8>)]) {
        let place = |at: &Index| at.index(case.len() + 1);
        let (at, removed, inserted) = match self {
            Self::Flip(at, bits) => {
                let at = place(at);
                (at, 1, case.get(at).map(|byte| vec![byte ^ bits]).unwrap_or_default())
            }
            Self::Insert(at, bytes) => (place(at), 0, bytes.clone()),
            Self::Word(at, word) => (place(at), 0, word.get(words).clone()),
            Self::Remove(at, count) => (place(at), *count, Vec::new()),
            Self::Repeat(at, count, times) => {
                let at = place(at);
                (at, 0, case[at..].iter().take(*count).copied().collect::<Vec<_>>().repeat(*times))
            }
            Self::Splice(at, other, from, count) => {
                let other = &other.get(cases).1;
                let from = from.index(other.len() + 1);
                (place(at), 0, other[from..].iter().take(*count).copied().collect())
            }
        };
        let end = (at + removed).min(case.len());
        case.splice(at..end, inserted);
        case.truncate(CASE_BYTES_MAX);
    }
}

fn change(target: &Target, count: u32) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed = number("OUTRIGGER_TEST_FUZZ_SEED").unwrap_or(1);
    let count = number("OUTRIGGER_TEST_FUZZ_CASES").and_then(|count| u32::try_from(count).ok()).unwrap_or(count);
    let (cases, words) = (cases(target), words(target));
    let config = Config {
        cases: count,
        failure_persistence: None,
        max_shrink_time: SHRINK_MS_MAX,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let strategy = (any::<Index>(), prop::collection::vec(changed_at(), 1..8));
    let held = TestRunner::new(config).run(&strategy, |(case, changes)| {
        let mut case = case.get(&cases).1.clone();
        for change in changes {
            change.make(&mut case, &words, &cases);
        }
        let shown = || String::from_utf8_lossy(&case).into_owned();
        let held = std::panic::catch_unwind(|| run(target, &case));
        held.map_err(|_| TestCaseError::fail(format!("it does not hold for\n{}\n{case:?}", shown())))
    });
    assert!(held.is_ok(), "the target `{}`, OUTRIGGER_TEST_FUZZ_SEED={seed}: {}", target.name, held.unwrap_err());
}

/// The words of a target's dictionary, in libFuzzer's form: in quotes, `\\`, `\"` and `\xAB` for what cannot stand there.
fn words(target: &Target) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(root().join("fuzz/dictionaries").join(target.name)).expect("a dictionary");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<_> = lines.map(|line| word(line).unwrap_or_else(|| panic!("{}: {line}", target.name))).collect();
    assert!(words.len() >= KEPT_MIN, "{words:?}");
    words
}

fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?;
    let mut word = Vec::new();
    while let Some(first) = rest.bytes().next() {
        if let Some(digits) = rest.strip_prefix("\\x") {
            word.push(u8::from_str_radix(digits.get(..2)?, 16).ok()?);
            rest = digits.get(2..)?;
        } else {
            let skipped = usize::from(first == b'\\');
            word.push(*rest.as_bytes().get(skipped)?);
            rest = rest.get(skipped + 1..)?;
        }
    }
    Some(word)
}

#[test]
fn every_target_has_its_fuzzer_and_its_tests() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert_eq!(names, TESTED.iter().copied().collect());
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the manifest");
    let bins: BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    assert_eq!(
        bins,
        TARGETS
            .iter()
            .map(|target| format!("{}.rs\"", target.name))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect()
    );
    for target in TARGETS {
        let fuzzer =
            fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{}.rs", target.name))).expect("a fuzzer");
        assert!(fuzzer.contains(&format!("targets::{}::TARGET", target.name)), "{fuzzer}");
    }
    for folder in ["corpus", "regressions", "dictionaries"] {
        for entry in fs::read_dir(root().join("fuzz").join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            assert!(names.contains(name), "{} is of no target", path.display());
            assert!(path.is_file() || is_filled(&path), "{} is empty", path.display());
        }
    }
}

fn is_filled(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The versions of a lock file's packages.
fn locked(file: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join(file)).expect("a lock file");
    let field = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    text.split("[[package]]")
        .filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
        .collect()
}

#[test]
fn the_fuzzers_are_built_of_what_the_program_is_built_of() {
    let (ours, theirs) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    assert!(ours.len() > 100, "{ours:?}");
    let own = ["arbitrary", "libfuzzer-sys", "outrigger-fuzz"];
    let other: Vec<_> = theirs.difference(&ours).filter(|(name, _)| !own.contains(&&**name)).collect();
    assert!(
        other.is_empty(),
        "fuzz/Cargo.lock has {other:?}: `cp Cargo.lock fuzz/ && cargo metadata --manifest-path fuzz/Cargo.toml` brings it up to date"
    );
}
