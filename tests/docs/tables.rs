//! Tables and links that are held against the code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use outrigger::config::reference;
use outrigger::delivery::{Cause, Reason};
use outrigger::template::{Format, Template};
use outrigger::webhook::retry::{Fate, fate_of};

use crate::cli::outrigger;
use crate::support::http::exchange;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

use super::{CONFIGURATION, DELIVERY, LIMITS, PLAN, TEMPLATES, blocks, code, json, root, rows};

#[test]
fn every_reason_stands_in_the_guide_to_delivery_with_what_is_done() {
    let rows = rows(DELIVERY, "| Reason | when | then |");
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
    rows(DELIVERY, "| cause | begins with | ends with |")
}

#[test]
fn the_limits_that_users_read_are_those_in_the_code() {
    let rows = [LIMITS, PLAN].map(|text| rows(text, "| limit | value | constant |"));
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
fn every_place_of_a_value_is_escaped_as_the_table_says() {
    let event = json(blocks(TEMPLATES, "```json").first().unwrap());
    let mut lacking = event.clone();
    lacking["data"]["note"].take();
    let mut places = Vec::new();
    for row in rows(TEMPLATES, "| place | template | becomes | missing or null is |") {
        let [place, source, becomes, missing] = row.as_slice() else { panic!("{row:?}") };
        let format = match place.split(',').next().unwrap() {
            "JSON" => Format::Json,
            "URL" => Format::Url,
            "header" => Format::Header,
            "form" => Format::Form,
            "text" => Format::Text,
            other => panic!("no format is `{other}`"),
        };
        let template = Template::compile(code(source), format, &mut |_| Err((String::new(), String::new()))).unwrap();
        assert_eq!(template.render(&event, false, 1 << 20).unwrap().text, code(becomes), "{place}");
        let without = template.render(&lacking, false, 1 << 20).map(|rendered| rendered.text);
        let expected = match *missing {
            "nothing" => code(source).replace("{{data.note}}", ""),
            "`null`" => code(source).replace("{{data.note}}", "null"),
            // A path is judged as a whole, behind rendering.
            _ => "/notes/".to_owned(),
        };
        assert_eq!(without.unwrap(), expected, "{place}, null");
        places.push(*place);
    }
    assert_eq!(places.len(), 9, "{places:?}");
}

#[test]
fn what_the_guide_to_delivery_says_is_refused_is_refused_with_its_status() {
    type Asked<'a> = (u16, &'a Sidecar, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    const EVENT: &str = "{\"event_type\":\"RequestGranted\"}";
    let target = receiver().start();
    let hook = format!("triggers = [\"RequestGranted\"]\nurl = {:?}\n", target.url("/"));
    let open = sidecar().reaching(&target).webhook("hook", &hook).setting("ingest.max_body = \"1KiB\"").start();
    let guarded = sidecar().reaching(&target).webhook("hook", &hook).setting("ingest.token = \"secret\"").start();
    let large = format!("{{\"event_type\":\"RequestGranted\",\"data\":{:?}}}", "x".repeat(2000));
    let json = ("content-type", "application/json");
    let keyed = [json, ("idempotency-key", "one")];
    assert_eq!(open.post_with("/v1/events", &keyed, EVENT.as_bytes()).status, 202);
    let asked: [Asked<'_>; 12] = [
        (400, &open, "POST", "/v1/events", &[json], "{"),
        (400, &open, "POST", "/v1/events", &[json], "{}"),
        (400, &open, "POST", "/v1/events?wait=long", &[json], EVENT),
        (401, &guarded, "POST", "/v1/events", &[json], EVENT),
        (403, &open, "POST", "/v1/events", &[json, ("origin", "https://elsewhere.example")], EVENT),
        (404, &open, "POST", "/v1/events/nothing", &[json], EVENT),
        (405, &open, "GET", "/v1/events", &[], ""),
        (409, &open, "POST", "/v1/webhooks/hook/invoke", &[json], EVENT),
        (413, &open, "POST", "/v1/events", &[json], &large),
        (415, &open, "POST", "/v1/events", &[("content-type", "text/plain")], EVENT),
        (421, &open, "POST", "/v1/events", &[json, ("host", "elsewhere.example")], EVENT),
        (422, &open, "POST", "/v1/events", &keyed, "{\"event_type\":\"RequestFailed\"}"),
    ];
    let mut seen = BTreeSet::new();
    for (status, sidecar, method, path, headers, body) in asked {
        let answer = exchange(sidecar.address("ingest"), method, path, headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {answer:?}");
        seen.insert(status.to_string());
    }
    // What takes time or a full disk has tests of its own: `tests/bad_input`, `tests/delivery`.
    seen.extend(["408", "429", "503"].map(str::to_owned));
    let listed =
        rows(DELIVERY, "| status | when |").iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect();
    assert_eq!(seen, listed);
}

#[test]
fn every_claim_about_others_has_a_source_and_every_source_a_claim() {
    let text = std::fs::read_to_string(root().join("docs/comparison.md")).unwrap();
    let (claims, sources) = text.split_once("\n## Sources\n").unwrap();
    let is_mark = |word: &&str| {
        word.len() == 2
            && word.starts_with(|one: char| one.is_ascii_uppercase())
            && word.ends_with(|one: char| one.is_ascii_digit())
    };
    let claimed: BTreeSet<&str> = claims.split(['[', ']']).filter(is_mark).collect();
    let given: BTreeSet<&str> = sources.split("**").filter(is_mark).collect();
    assert_eq!(claimed, given);
    assert!(given.len() > 25, "{given:?}");
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

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let kept = |one: char| one.is_alphanumeric() || "-_ ".contains(one);
    let slug =
        |heading: &str| heading.to_lowercase().chars().filter(|one| kept(*one)).collect::<String>().replace(' ', "-");
    text.lines()
        .filter_map(|line| {
            Some(slug(line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?))
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "SECURITY.md"].map(|file| root().join(file)).into();
    let guides = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(guides.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let (mut count, mut deep) = (0, 0);
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for (at, found) in text.match_indices("](") {
            let link = text[at + found.len()..].split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{} links to {link}, which is not there", document.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&path).unwrap());
                assert!(there.iter().any(|one| one == anchor), "{} links to {link}: {there:?}", document.display());
                deep += 1;
            }
            count += 1;
        }
    }
    assert!(count > 60 && deep > 20, "only {count} links were found, {deep} of them to headings");
}
