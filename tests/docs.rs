//! What users read is true: tables are made from the code or held against it, examples and transcripts are run.
//!
//! `UPDATE_GOLDEN=1` rewrites the generated parts.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use outrigger::config::{Key, Shape, reference};
use outrigger::delivery::{Cause, Reason};
use outrigger::diagnostic::Lint;
use outrigger::kind::Kind;
use outrigger::metrics::FAMILIES;
use outrigger::template::{Format, Template};
use outrigger::webhook::retry::{Fate, fate_of};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::{folder, outrigger};
use crate::support::{receiver, sidecar};

const README: &str = include_str!("../README.md");
const LINTS: &str = include_str!("../docs/lints.md");
const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const TEMPLATES: &str = include_str!("../docs/templates.md");
const PLAN: &str = include_str!("../docs/plan.md");
const OPERATIONS: &str = include_str!("../docs/operations.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds the generated part of a document against what it is made from.
fn hold_generated(file: &str, part: &str, made: &str) {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&format!("<!-- generated: {part} -->\n")).unwrap();
    let (found, after) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}<!-- generated: {part} -->\n{made}<!-- end -->{after}")).unwrap();
        return;
    }
    assert!(found == made, "{file} is out of date (UPDATE_GOLDEN=1 rewrites it); it should be\n{made}");
}

#[test]
fn the_generated_parts_are_what_the_code_says() {
    let mut keys = String::new();
    for (file, list) in reference() {
        let _ = write!(keys, "\n### `{file}`\n");
        let mut tables: Vec<&str> = Vec::new();
        for key in list {
            if !tables.contains(&key.table) {
                tables.push(key.table);
            }
        }
        for table in tables {
            let _ = write!(keys, "\n{}\n\n| key | value | default | |\n|---|---|---|---|\n", heading(table));
            for key in list.iter().filter(|key| key.table == table) {
                let _ = writeln!(keys, "| `{}` | {} | {} | {} |", key.key, shape(key), default(key), about(key));
            }
        }
    }
    hold_generated("docs/configuration.md", "keys", &(keys + "\n"));

    let mut kinds = String::from("\n| kind | triggers | field: where it stands |\n|---|---|---|\n");
    for kind in Kind::builtin() {
        let types: Vec<_> = kind.types.iter().map(|name| format!("`{name}`")).collect();
        let types = if types.is_empty() { "any event type".to_owned() } else { types.join(", ") };
        let fields: Vec<_> = kind.fields.iter().map(|(name, path)| format!("`{name}`: `{}`", path.text())).collect();
        let _ = writeln!(kinds, "| `{}` | {types} | {} |", kind.name, fields.join("<br>"));
    }
    hold_generated("docs/configuration.md", "kinds", &(kinds + "\n"));

    let mut metrics = String::from("\n| name | type | labels | |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            metrics,
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind,
            labels.join(", "),
            cell(family.help)
        );
    }
    hold_generated("docs/metrics.md", "metrics", &(metrics + "\n"));
}

#[test]
fn the_picture_of_a_plan_is_what_is_printed() {
    let golden = std::fs::read_to_string(root().join("tests/plan/expected.txt")).unwrap();
    let command = "$ outrigger plan git:main --events recorded.ndjson";
    hold_generated("README.md", "plan", &format!("```text\n{command}\n{golden}```\n"));
}

fn heading(table: &str) -> String {
    match table {
        "" => "Before any table".to_owned(),
        "filters" | "response_validators" | "tests" => format!("`[[{table}]]`"),
        _ => format!("`[{table}]`"),
    }
}

fn shape(key: &Key) -> String {
    let what = match key.shape {
        Shape::Text => "text",
        Shape::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            let table = if key.table.is_empty() && key.key == "ordering" { ", or a table" } else { "" };
            return format!("{}{table}", words.join(" "));
        }
        Shape::Duration => "duration",
        Shape::Size => "size",
        Shape::Rate => "rate",
        Shape::Truth => "`true` `false`",
        Shape::Whole(bounds) => return format!("{} to {}", bounds.start(), bounds.end()),
        Shape::Number => "number",
        Shape::Wholes(_) => "list of numbers",
        Shape::Texts => "list of texts",
        Shape::ManyWords(_) => "list of words",
        Shape::Values => "list of values",
        Shape::TextTable => "table of texts",
        Shape::TextOrTable => "text or table",
        Shape::Any => "any",
    };
    what.to_owned()
}

/// What a key is for, and whether it has to be there.
fn about(key: &Key) -> String {
    if key.required { format!("{} Required.", cell(key.about)) } else { cell(key.about) }
}

/// A default is code, unless it is a few words or code already.
fn default(key: &Key) -> String {
    match key.default {
        "" => String::new(),
        words if words.contains([' ', '`']) => words.to_owned(),
        code => format!("`{code}`"),
    }
}

/// A sentence as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The rows of all tables in a text whose head begins with these cells.
fn rows<'t>(text: &'t str, head: &str) -> Vec<Vec<&'t str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with(head) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|---") {
            rows.push(line.trim_matches('|').split(" | ").map(str::trim).collect());
        }
    }
    rows
}

fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or_else(|| panic!("{cell} is no code"))
}

#[test]
fn every_reason_stands_in_the_readme_with_what_is_done() {
    let rows = rows(README, "| Reason | when | then |");
    let listed: Vec<&str> = rows.iter().map(|row| code(row[0])).collect();
    assert_eq!(listed, Reason::ALL.map(Reason::as_str));
    for (reason, row) in Reason::ALL.into_iter().zip(&rows) {
        let done = match fate_of(reason) {
            Fate::Payload | Fate::Ended => "dead letter",
            Fate::Target(Cause::Gone) => "pause, no probe",
            Fate::Target(Cause::RateLimited) => "all of the webhook waits",
            Fate::Target(_) => "pause, probe",
            Fate::Transient { .. } => "retry; counts for the breaker",
        };
        assert!(row[2].starts_with(done), "{reason}: {row:?}");
    }
    let causes: Vec<&str> = rows_of_causes().iter().map(|row| code(row[0])).collect();
    assert_eq!(causes, Cause::ALL.map(Cause::as_str));
}

#[test]
fn advice_names_keys_and_commands_that_there_are() {
    let mut known: Vec<String> = vec!["webhook-id".to_owned(), "outrigger resume NAME".to_owned()];
    for (_, keys) in reference() {
        known.extend(keys.iter().map(|key| format!("{}.{}", key.table, key.key).trim_start_matches('.').to_owned()));
        known.extend(keys.iter().map(|key| format!("[{}]", key.table.split('.').next().unwrap_or_default())));
        known.extend(keys.iter().filter(|key| key.table.is_empty()).map(|key| format!("[{}]", key.key)));
    }
    let mut seen = 0;
    for reason in Reason::ALL {
        for word in reason.advice().split('`').skip(1).step_by(2) {
            let there = known.iter().any(|known| known == word || known.starts_with(&format!("{word}.")));
            assert!(there || outrigger_takes(word), "{reason}: `{word}`");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

/// Whether this is a command that explains itself.
fn outrigger_takes(command: &str) -> bool {
    let Some(command) = command.strip_prefix("outrigger ") else { return false };
    outrigger(&[command, "--help"], &[], "").expect_code(0);
    true
}

fn rows_of_causes() -> Vec<Vec<&'static str>> {
    rows(README, "| cause | begins with | ends with |")
}

#[test]
fn the_limits_that_users_read_are_those_in_the_code() {
    let rows = [README, PLAN].map(|text| rows(text, "| limit | value | constant |"));
    assert!(rows.iter().all(|rows| rows.len() > 5), "{rows:?}");
    for row in rows.iter().flatten() {
        let (constant, file) = row[2].split_once(" in ").unwrap();
        let source = std::fs::read_to_string(root().join(code(file))).unwrap();
        let (name, value) = code(constant).split_once(" = ").unwrap();
        let stands = |line: &str| line.contains(&format!("const {name}")) && line.ends_with(&format!(" = {value};"));
        assert!(source.lines().any(stands), "{file} has no {constant}");
    }
}

#[test]
fn paths_that_are_said_to_be_refused_are_and_what_to_write_instead_is_not() {
    let rows = rows(CONFIGURATION, "| refused | because | write |");
    assert!(rows.len() > 5, "{rows:?}");
    let paths = |cell: &str| -> Vec<String> { cell.split(", `").map(|path| path.replace(['`', '\\'], "")).collect() };
    for row in rows {
        for path in paths(row[0]) {
            assert!(outrigger::kind::Path::parse(&path).is_err(), "{path}");
        }
        for path in paths(row[2]) {
            assert!(outrigger::kind::Path::parse(&path).is_ok(), "{path}: {:?}", outrigger::kind::Path::parse(&path));
        }
    }
}

/// The fenced blocks of a document that begin with this line.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<&'t str> {
    let opening = format!("\n{fence}\n");
    text.match_indices(&opening)
        .map(|(at, _)| &text[at + opening.len()..])
        .map(|rest| &rest[..rest.find("```").unwrap()])
        .collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn titled(title: &str) -> &'static str {
    let (_, language) = title.rsplit_once('.').unwrap();
    let found = blocks(README, &format!("```{language} title=\"{title}\""));
    let [block] = found.as_slice() else { panic!("the README has {} blocks {title}", found.len()) };
    block
}

#[test]
fn the_first_webhook_of_the_readme_is_checked_and_rendered_as_shown() {
    let files = ["first/webhooks/granted.toml", "first/granted.json"].map(|file| (file, titled(file)));
    let folder = folder(&files);
    let mut variables = Vec::new();
    let mut run = 0;
    for console in blocks(README, "```console") {
        for step in console.strip_prefix("$ ").unwrap().split("\n$ ") {
            let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
            let words: Vec<&str> = command.split(' ').collect();
            match words.as_slice() {
                ["export", variable] => {
                    let (name, value) = variable.split_once('=').unwrap();
                    variables.push((name.to_owned(), value.to_owned()));
                }
                ["outrigger", arguments @ ..] => {
                    let place = |word: &&str| {
                        let here = *word == "first" || word.starts_with("first/");
                        if here { folder.path().join(word).display().to_string() } else { (*word).to_owned() }
                    };
                    let arguments: Vec<String> = arguments.iter().map(place).collect();
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    let ended = outrigger(&arguments, &variables, "").expect_code(0);
                    assert_eq!(ended.out.trim_end(), shown.trim_end(), "{command}");
                    run += 1;
                }
                // What listens or posts is run by the next test.
                _ => assert!(command.contains("outrigger run") || command.starts_with("curl "), "{command}"),
            }
        }
    }
    assert_eq!(run, 2);
}

#[test]
fn the_first_webhook_of_the_readme_arrives_as_shown() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("granted", titled("first/webhooks/granted.toml"))
        .env("SLACK_WEBHOOK_URL", &target.url("/services/T00000000/B00000000/XXXXXXXX"))
        .start();
    let shown: Vec<Value> = README.lines().filter(|line| line.starts_with("{\"events\"")).map(json).collect();
    let [taken, settled] = shown.as_slice() else { panic!("the README shows {} answers", shown.len()) };
    for (path, shown) in [("/v1/events", taken), ("/v1/events?wait=10s", settled)] {
        let answer = sidecar.post(path, titled("first/granted.json"));
        let mut answer = json(&answer.body);
        let mut shown = shown.clone();
        for one in [&mut answer, &mut shown] {
            // What differs from run to run.
            assert!(one["events"][0]["id"].take().as_str().is_some_and(|id| id.starts_with("evt_")));
            if let Some(milliseconds) = one.pointer_mut("/events/0/deliveries/0/milliseconds") {
                assert!(milliseconds.take().is_u64());
            }
        }
        assert_eq!(answer, shown, "{path}");
    }
    assert_eq!(target.wait(2).len(), 2);
}

#[test]
fn the_repair_of_the_operations_guide_goes_as_shown() {
    let target = receiver().otherwise(400).start();
    let hook = format!("url = {:?}\n", target.url("/"));
    let sidecar = sidecar().reaching(&target).webhook("slack", &hook).start();
    assert_eq!(sidecar.post("/v1/events", "{\"event_type\":\"RequestGranted\"}").status, 202);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "slack")], 1.0);
    target.otherwise(200.into());
    // Times and ids differ from run to run.
    let plain = |text: &str| -> Vec<Vec<String>> {
        let word =
            |word: &str| if word.len() > 18 && word.contains(['Z', '_']) { "…".to_owned() } else { word.to_owned() };
        text.trim_end().lines().map(|line| line.split_whitespace().map(word).collect()).collect()
    };
    let admin = sidecar.address("admin").to_string();
    let [console] = &blocks(OPERATIONS, "```console")[..] else { panic!("one transcript was expected") };
    let mut run = 0;
    for step in console.strip_prefix("$ outrigger ").unwrap().split("\n$ outrigger ") {
        let (command, shown) = step.split_once('\n').unwrap();
        let arguments: Vec<&str> = command.split(' ').chain(["--admin", &admin]).collect();
        assert_eq!(plain(&sidecar.written().run(&arguments).stdout), plain(shown), "{command}");
        run += 1;
    }
    assert_eq!(run, 4);
}

#[test]
fn every_example_of_the_templates_guide_prints_what_it_says() {
    let event = json(blocks(TEMPLATES, "```json").first().unwrap());
    let mut count = 0;
    let tables = [
        ("| body | becomes |", Format::Json),
        ("| template | prints |", Format::Text),
        ("| form | becomes |", Format::Form),
        ("| header | becomes |", Format::Header),
        ("| behind the host | becomes |", Format::Url),
    ];
    for (head, format) in tables {
        for row in rows(TEMPLATES, head) {
            let [source, shown] = row.as_slice() else { panic!("{row:?} has {} cells", row.len()) };
            let template = Template::compile(code(source), format, &mut |_| Err((String::new(), String::new())))
                .unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
            assert_eq!(template.render(&event, false, 1 << 20).unwrap().text, code(shown), "{source}");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} examples were found");
}

#[test]
fn every_helper_has_an_example() {
    let source = std::fs::read_to_string(root().join("src/template/helpers.rs")).unwrap();
    let names: Vec<&str> = source
        .match_indices("define(\"")
        .filter_map(|(at, found)| source[at + found.len()..].split('"').next())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let used = |cell: &str| cell.contains(&format!("{{{{{name} ")) || cell.contains(&format!("({name} "));
        assert!(rows(TEMPLATES, "| template | prints |").iter().any(|row| used(row[0])), "no example of `{name}`");
    }
}

#[test]
fn every_threat_names_a_test_that_there_is() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rows = rows(&text, "| threat | defence | test |");
    assert!(rows.len() >= 20, "{} threats", rows.len());
    for row in rows {
        let (file, test) = code(row[2]).split_once("::").unwrap_or_else(|| panic!("{row:?} names no test"));
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}");
    }
}

#[test]
fn every_piece_of_configuration_in_the_guides_is_good() {
    let mut count = 0;
    for guide in ["docs/configuration.md", "docs/templates.md", "docs/operations.md"] {
        let text = std::fs::read_to_string(root().join(guide)).unwrap();
        for piece in blocks(&text, "```toml") {
            let hook = "url = \"https://hooks.example.com/in\"\n";
            let folder = if piece.contains("[kinds.") {
                folder(&[("outrigger.toml", piece), ("webhooks/hook.toml", &format!("kind = \"deployment\"\n{hook}"))])
            } else if piece.contains("[egress]") || piece.starts_with("[ingest]") {
                folder(&[("outrigger.toml", piece), ("webhooks/hook.toml", hook)])
            } else if piece.lines().any(|line| line.starts_with("url ")) {
                folder(&[("webhooks/hook.toml", piece)])
            } else {
                folder(&[("webhooks/hook.toml", &format!("{hook}{piece}"))])
            };
            let run = outrigger(&["check", "--placeholders", folder.path().to_str().unwrap()], &[], "").expect_code(0);
            let tests = piece.matches("[[tests]]").count();
            assert_eq!(run.out, format!("1 webhook, {tests} tests passed, 0 failed\n"), "{guide}:\n{piece}");
            count += 1;
        }
    }
    assert_eq!(count, 10);
}

/// What `check --strict` finds in a piece of the guide to lints: their names.
fn lints_of(lint: Lint, piece: &str) -> Vec<String> {
    let hook = "url = \"https://hooks.example.com/hook\"\n";
    let folder = match lint {
        Lint::NoEffect => folder(&[("outrigger.toml", piece), ("webhooks/hook.toml", hook)]),
        Lint::EqualWebhooks => {
            let first = piece.replace("allow", "# allow");
            folder(&[("webhooks/first.toml", &first), ("webhooks/second.toml", piece)])
        }
        _ => folder(&[("webhooks/hook.toml", piece)]),
    };
    let flags: &[&str] = if lint == Lint::UnsetReference { &[] } else { &["--placeholders"] };
    let arguments = [&["check", "--strict", "--json"], flags, &[folder.path().to_str().unwrap()]].concat();
    let found = json(&outrigger(&arguments, &[], "").out);
    assert!(found["webhooks"].is_u64(), "{found}");
    found["diagnostics"].as_array().unwrap().iter().map(|one| one["lint"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_lint_is_in_the_guide_with_an_example_and_its_mend() {
    let sections: Vec<(&str, &str)> =
        LINTS.split("\n## `").skip(1).map(|section| section.split_once("`\n").unwrap()).collect();
    let named: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, Lint::NAMES);
    for (lint, (_, section)) in Lint::ALL.into_iter().zip(sections) {
        let [wrong, right] = blocks(section, "```toml")[..] else { panic!("{lint} has not two examples") };
        assert_eq!(lints_of(lint, wrong), [lint.as_str()], "{wrong}");
        assert_eq!(lints_of(lint, right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "ARCHITECTURE.md"].map(|file| root().join(file)).into();
    let guides = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(guides.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let mut count = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for (at, found) in text.match_indices("](") {
            let link = text[at + found.len()..].split([')', '#']).next().unwrap();
            if !link.is_empty() && !link.contains("://") {
                let path = document.parent().unwrap().join(link);
                assert!(path.exists(), "{} links to {link}, which is not there", document.display());
                count += 1;
            }
        }
    }
    assert!(count > 8, "only {count} links were found");
}
