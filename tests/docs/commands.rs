//! The commands that the guides say to type.

use std::collections::BTreeSet;

use crate::support::http::exchange;
use crate::support::{receiver, sidecar};

use super::fences::{Fence, fences, fences_of, guides};
use super::root;
use super::shell::commands_of;

/// Programs that are not run by a test of the documentation, and why.
const OTHERS: &[(&str, &str)] = &[
    ("apt-get", "installs packages"),
    (
        "cargo",
        "builds, measures and runs other tests; what stands behind `cargo run … --` is held against the command line",
    ),
    ("cat", "writes or shows a file"),
    ("cd", "the shell's own"),
    ("chmod", "of the reader's machine"),
    ("cp", "copies a file"),
    ("curl", "what it asks of a sidecar on this machine is asked below; what it fetches is elsewhere"),
    ("docker", "takes a daemon"),
    ("exit", "the shell's own"),
    ("export", "the shell's own"),
    ("git", "of the reader's repository"),
    ("grep", "picks lines"),
    ("head", "picks lines"),
    ("helm", "takes a chart, which has tests of its own"),
    ("install", "copies a file"),
    ("journalctl", "takes systemd"),
    ("jq", "picks members"),
    ("kind", "makes a cluster"),
    ("kubectl", "takes a cluster; `outrigger` behind `--` is held against the command line"),
    ("mkdir", "makes a folder"),
    ("nats", "takes NATS servers"),
    ("openssl", "makes keys"),
    ("printf", "writes text"),
    ("promtool", "has a test of its own"),
    ("rustup", "installs Rust"),
    ("sh", "runs what was fetched"),
    ("sleep", "waits"),
    ("sudo", "of the reader's machine"),
    ("systemctl", "takes systemd"),
    ("tail", "picks lines"),
    ("tar", "of the reader's machine"),
    ("test", "the shell's own"),
    ("zcat", "unpacks a file"),
    (".", "the shell's own"),
];

/// The script of a block: of a transcript, the lines that are typed, and those that they go on with.
pub(super) fn script(fence: &Fence) -> String {
    if fence.language == "sh" {
        return fence.body.clone();
    }
    let (mut script, mut goes_on) = (String::new(), false);
    for line in fence.body.lines() {
        if let Some(typed) = line.strip_prefix("$ ").or(goes_on.then_some(line)) {
            script.push_str(typed);
            script.push('\n');
            goes_on = typed.ends_with('\\');
        }
    }
    assert!(!script.is_empty(), "{}: a transcript without a line that begins with `$ `", fence.place());
    script
}

/// Every command of the guides, with the block in which it stands.
fn commands() -> Vec<(Fence, Vec<String>)> {
    let mut commands = Vec::new();
    for fence in fences_of(&["sh", "console"]) {
        for command in commands_of(&script(&fence)) {
            // The word that a reader puts his own address for.
            let command = command.iter().map(|word| word.replace("ADDRESS", "127.0.0.1")).collect();
            commands.push((fence.clone(), command));
        }
    }
    commands
}

/// The arguments that are meant for our own program, wherever they stand in a command.
fn arguments_of(command: &[String]) -> Option<&[String]> {
    let ours = |word: &String| word == "outrigger" || word.ends_with("/outrigger");
    let first = command.first()?;
    if ours(first) || (first == "sudo" && command.get(1).is_some_and(ours)) {
        return Some(&command[usize::from(!ours(first)) + 1..]);
    }
    let behind = command.iter().position(|word| word == "--").map(|at| &command[at + 1..])?;
    if first == "cargo" && command.get(1).is_some_and(|word| word == "run") {
        return Some(behind);
    }
    behind.first().is_some_and(ours).then(|| &behind[1..])
}

#[test]
fn every_command_is_one_that_there_is() {
    let (mut ours, mut faults) = (0, Vec::new());
    for (fence, command) in commands() {
        if let Some(arguments) = arguments_of(&command) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let refused = outrigger::cli::refusal(&arguments);
            faults.extend(refused.map(|refused| format!("{}: {command:?}\n{refused}", fence.place())));
            ours += 1;
            continue;
        }
        let program = &command[0];
        let known = OTHERS.iter().any(|(name, _)| name == program)
            || (program.contains('/') && root().join(program.trim_start_matches("./")).is_file());
        if !known {
            faults.push(format!("{}: `{program}` is not in the list of programs that need not be run", fence.place()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(ours > 25, "only {ours} commands were found");
}

#[test]
fn every_command_in_a_sentence_is_one_that_there_is() {
    let mut seen = BTreeSet::new();
    for guide in guides() {
        let text = std::fs::read_to_string(root().join(&guide)).unwrap();
        for span in text.split('`').filter_map(|span| span.strip_prefix("outrigger ")) {
            let command = span.split_whitespace().next().unwrap_or_default();
            // A word that is no command, as in `outrigger …`.
            if command.starts_with(|one: char| one.is_ascii_lowercase()) {
                let refused = outrigger::cli::refusal(&[command, "--help"]);
                assert!(refused.is_none(), "{guide}: `outrigger {span}`");
                seen.insert(command.to_owned());
            }
        }
    }
    assert!(seen.len() > 9, "{seen:?}");
}

/// A request that a guide makes with curl of a sidecar on this machine.
struct Asked {
    place: String,
    listener: &'static str,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What a file holds that a command names: one with a title in the same guide, or one of the repository.
fn file(guide: &str, path: &str) -> Vec<u8> {
    let titled = fences().into_iter().find(|fence| fence.guide == guide && fence.title.as_deref() == Some(path));
    if let Some(fence) = titled {
        return fence.body.into_bytes();
    }
    // A guide's configuration may be a copy of the shipped one.
    let shipped =
        path.split_once("events/").map_or_else(|| path.to_owned(), |(_, name)| format!("config/events/{name}"));
    std::fs::read(root().join(&shipped)).unwrap_or_else(|error| panic!("{guide}: {path}: {error}"))
}

/// Flags of curl that take nothing and change nothing of what is asked.
const FLAGS: [&str; 3] = ["-s", "-sS", "-sSf"];

/// What the routes that are there say of an id that is nobody's.
const NOBODYS: [&str; 2] = ["there is no dead letter of this id", "there is no invocation of this id"];

/// The request of a command, if it is one of ours.
fn asked(fence: &Fence, command: &[String]) -> Option<Asked> {
    let (place, mut words) = (fence.place(), command.iter());
    if words.next().map(String::as_str) != Some("curl") {
        return None;
    }
    let (mut method, mut url, mut headers, mut body, mut json) = (None, None, Vec::new(), None, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" | "--request" => method = words.next().cloned(),
            "-H" | "--header" => {
                let (name, value) = words.next()?.split_once(':').unwrap();
                headers.push((name.to_lowercase(), value.trim().to_owned()));
            }
            "-d" | "--data" | "--data-binary" | "--json" => {
                json |= word == "--json";
                body = words.next();
            }
            "-o" | "--output" | "-w" | "--write-out" | "-m" | "--max-time" | "--retry" => {
                words.next();
            }
            // Another way to a listener, or to elsewhere.
            "--unix-socket" | "--proto" => return None,
            flag if flag.starts_with('-') => {
                assert!(FLAGS.contains(&flag), "{place}: teach this test `{flag}`");
            }
            other => url = Some(other),
        }
    }
    let rest = url?.strip_prefix("http://127.0.0.1:").or_else(|| url?.strip_prefix("http://localhost:"))?;
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let listener = match port {
        "8460" => "ingest",
        "8461" => "admin",
        "9460" => "metrics",
        // One that is told while it runs.
        _ => return None,
    };
    let body = match body.map(|body| (body.strip_prefix('@'), body)) {
        None => None,
        Some((Some("-"), _)) => return None,
        Some((Some(path), _)) => Some(file(&fence.guide, path)),
        Some((None, text)) => Some(text.clone().into_bytes()),
    };
    if body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        // As curl does.
        let said = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.push(("content-type".to_owned(), said.to_owned()));
    }
    let method = method.unwrap_or_else(|| if body.is_some() { "POST".to_owned() } else { "GET".to_owned() });
    Some(Asked { place, listener, method, path: format!("/{path}"), headers, body: body.unwrap_or_default() })
}

#[test]
fn every_request_of_the_guides_is_one_that_a_sidecar_answers_well() {
    let requests: Vec<Asked> = commands().iter().filter_map(|(fence, command)| asked(fence, command)).collect();
    let target = receiver().start();
    let start = || {
        let hook = format!("url = {:?}\n", target.url("/"));
        let names = ["granted", "slack", "okta-workflows", "oort-okta", "tickets"];
        let sidecar = names.iter().fold(sidecar().reaching(&target), |sidecar, name| sidecar.webhook(name, &hook));
        sidecar.setting("kinds.deployment.type = \"$.type\"").start()
    };
    let shared = start();
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for asked in &requests {
        let ends = asked.path == "/-/quit";
        let one = ends.then(start);
        let sidecar = one.as_ref().unwrap_or(&shared);
        let headers: Vec<(&str, &str)> = asked.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let address = sidecar.address(asked.listener);
        let answer = exchange(address, &asked.method, &asked.path, &headers, &asked.body).unwrap();
        // An id in a guide is nobody's here, which is said by the route that is there.
        let unknown = answer.status == 404
            && ["evt_", "inv_"].iter().any(|id| asked.path.contains(id))
            && NOBODYS.iter().any(|detail| answer.body.contains(detail));
        if answer.status >= 400 && !unknown {
            let Asked { place, method, path, .. } = asked;
            faults.push(format!("{place}: {method} {path} is answered {} {}", answer.status, answer.body));
        }
        seen.insert(asked.path.clone());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.len() >= 5, "{seen:?}");
}
