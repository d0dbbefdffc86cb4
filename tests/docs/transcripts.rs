//! Transcripts of the guides, run from their first line to their last, and what they print.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli::{folder, outrigger, outrigger_in};
use crate::support::http::exchange;
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

use super::shell::commands_of;
use super::{OPERATIONS, QUICK_START, README, blocks, json, root};

/// The text of the one block with this title.
fn titled(guide: &'static str, title: &str) -> &'static str {
    let (_, language) = title.rsplit_once('.').unwrap();
    let found = blocks(guide, &format!("```{language} title=\"{title}\""));
    let [block] = found.as_slice() else { panic!("there are {} blocks {title}", found.len()) };
    block
}

/// The commands of a guide's transcripts, each with what it is shown to print.
fn steps(guide: &'static str) -> Vec<(&'static str, &'static str)> {
    let consoles = blocks(guide, "```console").into_iter();
    let split = |console: &'static str| console.strip_prefix("$ ").unwrap().split("\n$ ").collect::<Vec<_>>();
    consoles.flat_map(split).map(|step| step.split_once('\n').unwrap_or((step, ""))).collect()
}

#[test]
fn the_first_webhook_of_the_readme_is_checked_and_rendered_as_shown() {
    let files = ["first/webhooks/granted.toml", "first/granted.json"].map(|file| (file, titled(README, file)));
    let folder = folder(&files);
    let mut variables = Vec::new();
    let mut run = 0;
    for (command, shown) in steps(README) {
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
    assert_eq!(run, 2);
}

#[test]
fn the_first_webhook_of_the_readme_arrives_as_shown() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .webhook("granted", titled(README, "first/webhooks/granted.toml"))
        .env("SLACK_WEBHOOK_URL", &target.url("/services/T00000000/B00000000/XXXXXXXX"))
        .start();
    let shown: Vec<&str> = README.lines().filter(|line| line.starts_with("{\"events\"")).collect();
    let [taken, settled] = shown.as_slice() else { panic!("the README shows {} answers", shown.len()) };
    for (path, shown) in [("/v1/events", taken), ("/v1/events?wait=10s", settled)] {
        let answer = sidecar.post(path, titled(README, "first/granted.json"));
        assert_eq!(plain_answer(&answer.body), plain_answer(shown), "{path}");
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

/// An answer of ingest without what differs from run to run.
fn plain_answer(text: &str) -> Value {
    let mut answer = json(text);
    assert!(answer["events"][0]["id"].take().as_str().is_some_and(|id| id.starts_with("evt_")), "{text}");
    let deliveries = answer.pointer_mut("/events/0/deliveries").and_then(Value::as_array_mut).unwrap();
    for delivery in deliveries {
        if let Some(milliseconds) = delivery.get_mut("milliseconds") {
            assert!(milliseconds.take().is_u64(), "{text}");
        }
    }
    answer
}

/// The ports in a text in their order, and the text without them.
fn without_ports(text: &str) -> (Vec<SocketAddr>, String) {
    let (mut addresses, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, behind)) = rest.split_once("http://127.0.0.1:") {
        let digits = behind.len() - behind.trim_start_matches(|one: char| one.is_ascii_digit()).len();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], behind[..digits].parse().unwrap())));
        plain.push_str(before);
        plain.push_str("http://ADDRESS");
        rest = &behind[digits..];
    }
    (addresses, plain + rest)
}

/// Whether lines have been printed as a transcript shows them, where `…` stands for any.
fn is_shown(printed: &str, shown: &str) -> bool {
    let mut printed = printed.lines();
    let mut gap = false;
    for line in shown.trim_end().lines() {
        if line == "…" {
            gap = true;
            continue;
        }
        let found = if gap { printed.any(|one| one == line) } else { printed.next() == Some(line) };
        if !found {
            return false;
        }
        gap = false;
    }
    true
}

/// The quick start as somebody who types it.
struct Newcomer {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
    /// The demo that goes on, the addresses that it printed, and those that the guide shows.
    demo: Option<(Process, Vec<SocketAddr>, Vec<SocketAddr>)>,
    run: usize,
}

impl Newcomer {
    fn types(&mut self, command: &str, shown: &str) {
        let words = commands_of(command);
        let words: Vec<&str> = words.last().unwrap().iter().map(String::as_str).collect();
        let home = self.home.path().to_owned();
        self.run += 1;
        match words.as_slice() {
            // The tests' own build is typed in its place.
            ["cargo", "build", "--release"] | ["export", "PATH=$PWD/target/release:$PATH"] => {}
            ["export", variable] => {
                let (name, value) = variable.split_once('=').unwrap();
                self.variables.push((name.to_owned(), value.to_owned()));
            }
            ["cp" | "mkdir", ..] => {
                assert!(Command::new("sh").args(["-c", command]).current_dir(&home).status().unwrap().success());
                // The file that is said to be saved next.
                std::fs::write(home.join("try/webhooks/hello.toml"), titled(QUICK_START, "try/webhooks/hello.toml"))
                    .unwrap();
            }
            ["outrigger", "demo", arguments @ ..] => self.keeps(&[&["demo"], arguments].concat(), shown),
            ["outrigger", "run", "--config", config] => self.runs(config, shown),
            ["outrigger", arguments @ ..] => {
                let ended = outrigger_in(&home, arguments, &self.variables, "").expect_code(0);
                assert_eq!(ended.out.trim_end(), shown.trim_end(), "{command}");
            }
            ["grep", pattern] => {
                let page = self.ask(commands_of(command)[0].last().unwrap(), b"");
                let [before, between, after] = pattern.split(".*").collect::<Vec<_>>()[..] else { panic!("{pattern}") };
                let is_picked = |line: &&str| {
                    let rest = line.split_once(before).and_then(|(_, rest)| rest.split_once(between));
                    rest.is_some_and(|(_, rest)| rest.contains(after))
                };
                let picked: Vec<&str> = page.lines().filter(is_picked).collect();
                assert_eq!(picked.join("\n"), shown.trim_end(), "{command}");
            }
            ["curl", "-sS", "--json", file, url] => {
                let body = std::fs::read(home.join(file.strip_prefix('@').unwrap())).unwrap();
                assert_eq!(plain_answer(&self.ask(url, &body)), plain_answer(shown), "{command}");
            }
            _ => panic!("nobody knows how to type `{command}`"),
        }
    }

    /// The demo, up to the last line that is shown.
    fn keeps(&mut self, arguments: &[&str], shown: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        let process =
            Process::spawn(command.args(arguments).current_dir(self.home.path()).env_remove("OUTRIGGER_CONFIG"));
        let (shown_addresses, shown) = without_ports(shown);
        let printed = eventually(PATIENCE * 3, || {
            let (addresses, printed) = without_ports(&process.lines().join("\n"));
            is_shown(&printed, &shown).then_some(addresses)
        });
        let addresses = printed.unwrap_or_else(|| panic!("not as shown:\n{}", process.lines().join("\n")));
        self.demo = Some((process, addresses, shown_addresses));
    }

    /// A sidecar of this configuration, but for its ports and its target, which are of this test.
    fn runs(&mut self, config: &str, shown: &str) {
        let target = receiver().start();
        let text = std::fs::read_to_string(self.home.path().join(config).join("webhooks/hello.toml")).unwrap();
        let sidecar =
            sidecar().reaching(&target).webhook("hello", &text).env("SLACK_WEBHOOK_URL", &target.url("/services/T"));
        let sidecar = sidecar.start();
        let listeners: Vec<&str> = shown.lines().map(|line| line.split_once(" listens on ").unwrap().0).collect();
        for listener in listeners {
            assert_ne!(sidecar.address(listener).port(), 0);
        }
        let next = steps(QUICK_START).into_iter().last().unwrap();
        let event = std::fs::read(self.home.path().join(config).join("events/request-granted.json")).unwrap();
        let answer = sidecar.post_with("/v1/events?wait=10s", &[("content-type", "application/json")], &event);
        assert_eq!(plain_answer(&answer.body), plain_answer(next.1));
        assert_eq!(target.wait(1).len(), 1);
    }

    /// Asks the demo that goes on: a port of the guide is the one that was printed in its place.
    fn ask(&self, url: &str, body: &[u8]) -> String {
        let (_, printed, shown) = self.demo.as_ref().expect("the demo goes on");
        let (addresses, plain) = without_ports(url);
        let at = shown.iter().position(|address| *address == addresses[0]).expect("a port that was shown");
        let path = plain.strip_prefix("http://ADDRESS").unwrap();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let answer = exchange(printed[at], method, path, &[("content-type", "application/json")], body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

#[test]
fn the_quick_start_goes_as_shown() {
    let home = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").args([&root().join("config"), home.path() as &Path]).status().unwrap();
    assert!(copied.success());
    let mut newcomer = Newcomer { home, variables: Vec::new(), demo: None, run: 0 };
    let steps = steps(QUICK_START);
    // The last one asks the sidecar that the one before it started, and is held there.
    let [all @ .., (last, _)] = steps.as_slice() else { panic!("no transcript") };
    for (command, shown) in all {
        newcomer.types(command, shown);
    }
    assert!(last.starts_with("curl ") && newcomer.run >= 13, "{last}, {}", newcomer.run);
}
