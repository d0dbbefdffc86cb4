//! The runbook: a section for each alert, with commands that there are.

use std::collections::{BTreeMap, BTreeSet};

use super::{RULES, alerts, values};
use crate::cli::outrigger;
use crate::support::{http, receiver, sidecar};

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The sections of the runbook that are about an alert, by its name.
fn sections() -> BTreeMap<&'static str, &'static str> {
    RUNBOOK.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap()).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_what_to_do_and_where_to_read_on() {
    let sections = sections();
    let count = values(RULES, "alert").len();
    assert!(count > 11, "{count} alerts");
    for key in ["severity", "summary", "description", "runbook_url"] {
        assert_eq!(values(RULES, key).len(), count, "{key}");
    }
    assert!(values(RULES, "severity").iter().all(|severity| ["critical", "warning"].contains(severity)));
    for (alert, url) in values(RULES, "alert").iter().zip(values(RULES, "runbook_url")) {
        assert_eq!(url, format!("https://example.com/outrigger/docs/runbook.md#{}", alert.to_ascii_lowercase()));
    }
    let told: BTreeSet<&str> = sections.keys().copied().filter(|name| name.starts_with("Outrigger")).collect();
    assert_eq!(told, alerts());
    for (alert, section) in sections.iter().filter(|(name, _)| name.starts_with("Outrigger")) {
        for part in ["**Users**", "**Look**", "**Mend**", "**Escalate**"] {
            assert!(section.contains(part), "{alert} has no {part}");
        }
    }
}

/// The lines of the runbook that are run.
fn commands() -> Vec<&'static str> {
    let blocks = RUNBOOK.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

#[test]
fn commands_of_the_runbook_are_those_that_there_are() {
    let mut run = 0;
    for line in commands() {
        let Some(command) = line.strip_prefix("outrigger ").or_else(|| Some(line.split_once("-- outrigger ")?.1))
        else {
            continue;
        };
        let mut words = command.split(' ');
        let help = outrigger(&[words.next().unwrap(), "--help"], &[], "").expect_code(0).out;
        let known = |word: &str| help.contains(&format!("- {word}:"));
        for (at, word) in words.enumerate() {
            let is_action = at == 0 && word.bytes().all(|byte| byte.is_ascii_lowercase()) && help.contains("[ACTION]");
            assert!(!is_action || known(word), "{line}: {word}");
            assert!(!word.starts_with("--") || help.split_whitespace().any(|told| told == word), "{line}: {word}");
            run += 1;
        }
    }
    assert!(run > 30, "{run} words");
}

#[test]
fn what_the_runbook_asks_for_over_http_is_answered() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("slack", &format!("url = {:?}\n", target.url("/"))).start();
    let mut asked = 0;
    for line in commands().into_iter().filter(|line| line.starts_with("curl ")) {
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, path) = rest.split(' ').next().unwrap().split_once('/').unwrap();
        let listener = if address.ends_with(":8461") { "admin" } else { "metrics" };
        let method = if line.contains("-X POST") { "POST" } else { "GET" };
        let said = line.split("-H '").skip(1).map(|rest| rest.split_once('\'').unwrap().0.split_once(": ").unwrap());
        let headers: Vec<_> = said.collect();
        let answer = http::exchange(sidecar.address(listener), method, &format!("/{path}"), &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        asked += 1;
    }
    assert!(asked > 6, "{asked}");
}
