//! Conditions: JSONPath, filters and response validators over any document.
//!
//! A case is a path, a line with a question and its words, and from the third line on a document.

use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use outrigger::kind::{Kind, Path};
use outrigger::webhook::filter::{Filter, Glob, Test};
use outrigger::webhook::validator::{FOUND_CHARS_MAX, FOUND_VALUES_MAX, Rule, Validator};
use serde_json::Value;

use super::{Target, files};

pub const TARGET: Target = Target { name: "conditions", run, seeds };

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let (written, question) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let document = lines.next().unwrap_or_default();
    let document: Value = serde_json::from_str(document).unwrap_or_else(|_| Value::from(document));
    let path = match Path::parse(written) {
        Ok(path) => path,
        Err(fault) => {
            assert!(written.get(fault.at.clone()).is_some(), "{fault:?} in {written:?}");
            assert!(!fault.problem.is_empty() && fault.fix.is_some(), "{fault:?}");
            return;
        }
    };
    let found = walk(&path, &document);
    for kind in Kind::builtin() {
        let _ = kind.look_up(&path);
    }
    let (word, rest) = question.split_once(' ').unwrap_or((question, ""));
    filter(&path, &document, word, rest);
    validate(&path, &document, rest, found);
}

/// All ways to the values of a path are one, and what the library finds, but for its filters: those are ours to judge.
fn walk(path: &Path, document: &Value) -> usize {
    let all = path.all(document);
    assert_eq!(path.first(document), all.first().copied());
    assert_eq!(path.any(document, |_| true), !all.is_empty());
    assert!(!path.is_singular() || all.len() <= 1, "{}", path.text());
    if !path.text().contains('?') {
        let query = parse_json_path(path.text()).expect("it was parsed before");
        let theirs = js_path_process(&query, document).unwrap_or_default();
        assert_eq!(all, theirs.into_iter().map(|found| found.val).collect::<Vec<_>>(), "{}", path.text());
    }
    all.len()
}

fn filter(path: &Path, document: &Value, word: &str, rest: &str) {
    let globs = || rest.split(',').map(Glob::new).collect::<Vec<_>>();
    let holds = |test: Test| {
        let filter = Filter { label: path.text().to_owned(), path: path.clone(), test };
        let (holds, refusal) = (filter.holds(document), filter.refusal(document));
        assert_eq!(holds, refusal.is_none(), "{refusal:?}");
        holds
    };
    match word {
        "any_of" | "none_of" => {
            let any = holds(Test::AnyOf(globs()));
            assert_ne!(any, holds(Test::NoneOf(globs())));
            assert!(!any || holds(Test::Exists(true)));
        }
        "every_of" => assert!(!holds(Test::EveryOf(globs())) || holds(Test::AnyOf(globs()))),
        "matches" => match Test::matches(rest) {
            Ok(test) => assert!(!holds(test) || holds(Test::Exists(true))),
            Err(fault) => assert!(rest.get(fault.at.clone()).is_some() && fault.fix.is_some(), "{fault:?}"),
        },
        "min" | "max" => {
            if let Ok(bound) = rest.parse() {
                let number = holds(Test::Min(bound)) || holds(Test::Max(bound));
                assert!(!number || holds(Test::Exists(true)));
            }
        }
        _ => assert_ne!(holds(Test::Exists(true)), holds(Test::Exists(false))),
    }
}

fn validate(path: &Path, document: &Value, wanted: &str, found: usize) {
    let wanted = vec![serde_json::from_str(wanted).unwrap_or_else(|_| Value::from(wanted)), Value::from(wanted)];
    let judge = |rule| Validator { name: "v".into(), path: path.clone(), rule, retry: false }.judge(document);
    let (expected, rejected) = (judge(Rule::Expected(wanted.clone())), judge(Rule::Rejected(wanted)));
    assert_ne!(expected.passed, rejected.passed);
    assert_eq!(expected.found, rejected.found);
    assert_eq!(expected.found.is_some(), found > 0);
    assert!(!expected.passed || found > 0);
    // Each value that is shown takes its characters, a sign that it is cut, and a comma; what is left out is counted.
    let shown = expected.found.map_or(0, |shown| shown.chars().count());
    assert!(shown <= FOUND_VALUES_MAX * (FOUND_CHARS_MAX + 3) + 32, "{shown} characters");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let questions = ["any_of prod-*,*a*", "every_of *", "matches ^[a-z]+", "min 1", "exists true"];
    let mut seeds = Vec::new();
    for kind in Kind::builtin() {
        let Some(sample) = kind.samples.first() else { continue };
        for ((name, path), question) in kind.fields.iter().zip(questions.iter().cycle()) {
            let text = format!("{}\n{question}\n{}", path.text(), sample.payload);
            seeds.push((format!("{}-{name}.txt", kind.name), text.into_bytes()));
        }
    }
    for (name, text) in files("config/webhooks") {
        let Ok(text) = String::from_utf8(text) else { continue };
        for (number, line) in text.lines().filter(|line| line.starts_with("path ")).enumerate() {
            let path = line.split('"').nth(1).unwrap_or_default();
            let seed = format!("{path}\nexpected true\n{{\"status\":200,\"headers\":{{}},\"data\":{{\"ok\":true}}}}");
            seeds.push((format!("{name}-{number}.txt"), seed.into_bytes()));
        }
    }
    seeds
}
