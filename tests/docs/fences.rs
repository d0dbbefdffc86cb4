//! Every fenced block of README.md and docs/*.md, and that each belongs to a checker.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use outrigger::metrics::FAMILIES;

use super::{json, root};

/// A Python that has a parser of YAML.
const PYTHON: &str = "OUTRIGGER_TEST_PYTHON";
/// The linter of Prometheus.
const PROMTOOL: &str = "OUTRIGGER_TEST_PROMTOOL";

/// One fenced block.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    /// The document, from the root.
    pub(super) guide: String,
    /// The line of its opening, from 1.
    line: usize,
    pub(super) language: String,
    /// What stands behind the language as `title="…"`.
    pub(super) title: Option<String>,
    pub(super) body: String,
    /// Whether it stands in a part that is made from the code.
    generated: bool,
}

impl Fence {
    /// Where it stands, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.guide, self.line)
    }
}

/// The documents: README.md and all of docs/.
pub(super) fn guides() -> Vec<String> {
    let mut guides: Vec<String> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| std::path::Path::new(name).extension().is_some_and(|extension| extension == "md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    guides.sort();
    guides.insert(0, "README.md".to_owned());
    guides
}

/// All fenced blocks in their order.
pub(super) fn fences() -> Vec<Fence> {
    let mut fences = Vec::new();
    for guide in guides() {
        let text = std::fs::read_to_string(root().join(&guide)).unwrap();
        let mut generated = false;
        let mut open: Option<Fence> = None;
        for (at, line) in text.lines().enumerate() {
            match &mut open {
                Some(_) if line == "```" => fences.extend(open.take()),
                Some(fence) => {
                    fence.body.push_str(line);
                    fence.body.push('\n');
                }
                None if line.trim_start().starts_with("```") => {
                    let info = line.strip_prefix("```").unwrap_or_else(|| panic!("{guide}:{}: indented", at + 1));
                    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
                    let title = rest.strip_prefix("title=\"").and_then(|rest| rest.strip_suffix('"'));
                    assert!(rest.is_empty() || title.is_some(), "{guide}:{}: {rest} is no title=\"…\"", at + 1);
                    open = Some(Fence {
                        guide: guide.clone(),
                        line: at + 1,
                        language: language.to_owned(),
                        title: title.map(str::to_owned),
                        body: String::new(),
                        generated,
                    });
                }
                None if line.trim_start().starts_with("~~~") => panic!("{guide}:{}: fence it with ```", at + 1),
                None if line.starts_with("<!-- generated: ") => generated = true,
                None if line == "<!-- end -->" => generated = false,
                None => {}
            }
        }
        assert!(open.is_none(), "{guide} has a block that does not end");
    }
    fences
}

/// Those of one language.
pub(super) fn fences_of(languages: &[&str]) -> Vec<Fence> {
    fences().into_iter().filter(|fence| languages.contains(&&*fence.language)).collect()
}

#[test]
fn every_fenced_block_has_a_checker() {
    let mut seen = BTreeSet::new();
    for fence in fences() {
        match &*fence.language {
            // `configuration`, `lints`, `commands`, and the tests below.
            "toml" | "sh" | "console" | "json" | "ndjson" | "yaml" | "promql" | "ini" => {}
            "text" => assert!(
                fence.generated || fence.title.is_some(),
                "{}: nothing holds this output; give it a title that says what it shows, or make it from the code",
                fence.place()
            ),
            other => panic!("{}: no checker is for `{other}`; tests/docs.rs says which there are", fence.place()),
        }
        assert!(!fence.body.trim().is_empty(), "{}: is empty", fence.place());
        seen.insert(fence.language);
    }
    for language in ["toml", "sh", "console", "json", "text"] {
        assert!(seen.contains(language), "no block of {language} was found");
    }
}

#[test]
fn every_piece_of_json_parses() {
    for fence in fences_of(&["json"]) {
        assert!(!json(&fence.body).is_null(), "{}", fence.place());
    }
    for fence in fences_of(&["ndjson"]) {
        fence.body.lines().for_each(|line| assert!(json(line).is_object(), "{}", fence.place()));
    }
}

#[test]
fn every_piece_of_a_unit_sets_keys_that_units_have() {
    // Those that are about more than one unit of ours would have to be known by systemd, which `tests/deploy.rs` asks about the whole.
    const KEYS: [&str; 4] = ["Type", "ExecReload", "Environment", "LoadCredential"];
    for fence in fences_of(&["ini"]) {
        let mut lines = fence.body.lines();
        assert_eq!(lines.next(), Some("[Service]"), "{}", fence.place());
        for line in lines {
            let key = line.split_once('=').map(|(key, _)| key);
            assert!(key.is_some_and(|key| KEYS.contains(&key)), "{}: {line}", fence.place());
        }
    }
}

#[test]
fn every_piece_of_yaml_is_indented_with_blanks() {
    for fence in fences_of(&["yaml"]) {
        assert!(!fence.body.contains('\t'), "{}: YAML knows no tabs", fence.place());
    }
}

/// A chart's template as the YAML that it is around its actions. Lines that are an action go; others get a value in its place.
fn without_actions(text: &str) -> String {
    let mut plain = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("{{")) {
        let mut rest = line;
        while let Some((before, (_, behind))) =
            rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
        {
            plain.push_str(before);
            plain.push('0');
            rest = behind;
        }
        plain.push_str(rest);
        plain.push('\n');
    }
    plain
}

#[test]
#[ignore = "needs a Python with a parser of YAML; tests/all installs one and names it"]
fn every_piece_of_yaml_parses() {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| panic!("{PYTHON} names no Python; tests/all installs one"));
    let program = "import sys, yaml; documents = list(yaml.safe_load_all(sys.stdin)); assert any(documents)";
    for (at, fence) in fences_of(&["yaml"]).iter().enumerate() {
        let mut child = Command::new(&python).args(["-c", program]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(without_actions(&fence.body).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{} (piece {at})", fence.place());
    }
}

/// The names of families, or of the series of one, that an expression of ours speaks of.
fn families_named(expression: &str) -> Vec<String> {
    let part = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    expression
        .split(|character| !part(character))
        .filter(|word| word.starts_with("outrigger_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_expression_of_promql_names_metrics_that_there_are() {
    for fence in fences_of(&["promql"]) {
        for name in families_named(&fence.body) {
            let of = |family: &str| {
                name.strip_prefix(family).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            };
            assert!(FAMILIES.iter().any(|family| of(family.name)), "{}: there is no {name}", fence.place());
        }
    }
}

#[test]
#[ignore = "needs promtool; tests/all installs it and names it"]
fn every_expression_of_promql_is_taken_by_promtool() {
    let promtool = std::env::var(PROMTOOL).unwrap_or_else(|_| panic!("{PROMTOOL} names no promtool"));
    for fence in fences_of(&["promql"]) {
        let indented = fence.body.replace('\n', "\n          ");
        let rules = format!(
            "groups:\n  - name: docs\n    rules:\n      - record: docs:piece\n        expr: |\n          {indented}\n"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), rules).unwrap();
        let ended = Command::new(&promtool).args(["check", "rules"]).arg(file.path()).output().unwrap();
        assert!(ended.status.success(), "{}: {}", fence.place(), String::from_utf8_lossy(&ended.stderr));
    }
}
