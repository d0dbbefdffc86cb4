//! The admin page in a real browser: Chromium, driven by the scripts of `tests/browser`, on a real sidecar with TLS receivers.
//!
//! Each script has a sidecar of its own. It says what a target answers by writing a file, posts events and edits the
//! configuration as anybody does.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use serde_json::json;

use crate::support::process::Process;
use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// The folder whose `node_modules` has playwright-core and axe-core.
const FOLDER: &str = "OUTRIGGER_TEST_BROWSER";
/// How long one script may take.
const PATIENCE: Duration = Duration::from_mins(4);
/// The webhooks that have a target each.
const TARGETS: [&str; 4] = ["audit", "chat", "quiet", "tickets"];
/// What stands where secrets do, by the variable that gives it.
const CANARIES: [(&str, &str); 5] = [
    ("CANARY_PATH", "canary-path-5d0c"),
    ("CANARY_HEADER", "canary-header-91fe"),
    ("CANARY_BEARER", "canary-bearer-a77b"),
    ("CANARY_BODY", "canary-body-3c6e"),
    ("CANARY_QUERY", "canary-query-08d4"),
];
/// What the token of the admin listener is, where there is one.
const TOKEN: &str = "canary-admin-b1d5";
/// What somebody types where a reference belongs.
const TYPED: &str = "canary-typed-e2a9";

/// The answer that a file holds: a status, a line break, and a body; `repeat` for what was sent. 200 with `{"ok":true}` where
/// there is none.
fn answer(file: &Path, request: &Recorded) -> Answer {
    let text = fs::read_to_string(file).unwrap_or_else(|_| "200\n{\"ok\":true}".to_owned());
    let (status, body) = text.split_once('\n').unwrap_or((&text, ""));
    let answer = Answer::status(status.parse().unwrap_or(500));
    match body {
        "" => answer,
        "repeat" => answer.header("content-type", "application/json").body(repeated(request)),
        body => answer.header("content-type", "application/json").body(body.to_owned()),
    }
}

/// All that was sent, as a target that knows no better puts it into its answer.
fn repeated(request: &Recorded) -> String {
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    json!({ "ok": false, "path": request.target, "headers": headers, "body": String::from_utf8_lossy(&request.body) })
        .to_string()
}

fn target(file: PathBuf) -> Target {
    let target = receiver().start();
    target.respond_with(move |request| answer(&file, request));
    target
}

/// A sidecar with four webhooks, each with a target of its own.
struct World {
    sidecar: Sidecar,
    answers: tempfile::TempDir,
    token: Option<&'static str>,
    _targets: Vec<Target>,
}

fn world(token: Option<&'static str>) -> World {
    let answers = tempfile::tempdir().unwrap();
    let targets: Vec<Target> = TARGETS.iter().map(|name| target(answers.path().join(name))).collect();
    let url = |at: usize, rest: &str| targets[at].url(rest);
    let mut builder = sidecar()
        .setting("defaults.retry = { initial = '200ms', max_interval = '1s' }")
        .setting("history = { per_webhook = 1000, max_bytes = '64MiB' }");
    for target in &targets {
        builder = builder.reaching(target);
    }
    for (name, value) in CANARIES {
        builder = builder.env(name, value);
    }
    if let Some(token) = token {
        builder = builder.setting(&format!("admin.token = '{token}'"));
    }
    let tickets = format!(
        r#"title = "Tickets of granted requests"
triggers = ["RequestGranted"]
url = "{}?key=${{env:CANARY_QUERY}}"
body = '''{{ "summary": "{{{{data.friendly_id}}}} for {{{{data.requester.name}}}}", "why": "{{{{data.justification}}}}", "big": "{{{{data.big}}}}", "key": "${{env:CANARY_BODY}}" }}'''
[auth]
bearer = {{ token = "${{env:CANARY_BEARER}}" }}
[[response_validators]]
name = "the ticket was taken"
path = "$.data.ok"
expected = ["true"]
[[response_validators]]
name = "not busy"
path = "$.data.error"
rejected = ["busy"]
"#,
        url(3, "/tickets")
    );
    let chat = format!(
        "title = 'Chat'\ntriggers = ['RequestCreated']\nurl = \"{}${{env:CANARY_PATH}}\"\nbody = '{{\"text\":\"{{{{data.friendly_id}}}}\"}}'\n\
         breaker = {{ failures = 1000 }}\n[headers]\nx-key = \"${{env:CANARY_HEADER}}\"\n",
        url(1, "/")
    );
    let audit = format!("title = 'Audit'\ntriggers = ['RequestRejected']\nurl = \"{}\"\n", url(0, "/audit"));
    let quiet = format!("status = 'inactive'\nurl = \"{}\"\n", url(2, "/quiet"));
    let sidecar = builder
        .webhook("tickets", &tickets)
        .webhook("chat", &chat)
        .webhook("audit", &audit)
        .webhook("quiet", &quiet)
        .start();
    World { sidecar, answers, token, _targets: targets }
}

impl World {
    /// Runs a script on this sidecar.
    #[track_caller]
    fn walk(&self, script: &str) {
        let folder = std::env::var_os(FOLDER).unwrap_or_else(|| panic!("{FOLDER} is not set: run tests/all"));
        let canaries: Vec<&str> = CANARIES.iter().map(|(_, value)| *value).chain([TOKEN]).collect();
        let world = json!({
            "page": format!("http://{}", self.sidecar.address("admin")),
            "ingest": format!("http://{}", self.sidecar.address("ingest")),
            "config": self.sidecar.written().config(),
            "answers": self.answers.path(),
            "token": self.token,
            "pid": self.sidecar.pid(),
            "canaries": canaries,
            "typed": TYPED,
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(format!("{script}.mjs"));
        let ended =
            Process::spawn(Command::new("node").arg(path).arg(world.to_string()).env(FOLDER, folder)).finish(PATIENCE);
        assert!(
            ended.status.success(),
            "{script}: {}\n{}\n{}\nthe log:\n{}",
            ended.status,
            ended.stdout,
            ended.stderr,
            self.sidecar.log()
        );
    }
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn the_table_is_right_and_live_and_a_failing_target_turns_its_row_red() {
    world(None).walk("table");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn test_succeeds_and_fails_and_opens_its_invocation() {
    world(None).walk("trial");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn invocation_data_shows_the_validator_that_failed_with_expected_and_found() {
    world(None).walk("invocation");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn replay_empties_the_dead_letters() {
    world(None).walk("letters");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn a_bad_edit_of_the_configuration_shows_its_diagnostic() {
    world(None).walk("config");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn no_secret_is_in_the_dom_or_in_an_answer() {
    world(None).walk("secrets");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn a_hostile_event_does_no_harm() {
    world(None).walk("hostile");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn another_origin_can_neither_read_nor_act() {
    world(None).walk("origin");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn nothing_serious_is_found_by_axe_core_in_both_themes_and_widths() {
    world(None).walk("accessible");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn all_of_it_is_done_by_the_keyboard() {
    world(None).walk("keyboard");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn a_sidecar_that_answers_nothing_is_not_called_live() {
    world(None).walk("silent");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn why_a_request_did_not_arrive_is_three_clicks_away() {
    world(None).walk("three_clicks");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn the_token_is_asked_for_and_kept_for_the_tab_alone() {
    world(Some(TOKEN)).walk("token");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn the_list_of_invocations_loses_none_and_tells_what_went_wrong() {
    world(None).walk("list");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn what_was_asked_on_one_view_does_nothing_on_the_next() {
    world(None).walk("leaving");
}

#[test]
#[ignore = "needs node, Chromium, playwright-core and axe-core, which tests/all installs"]
fn views_follow_and_come_back_with_what_was_open() {
    world(None).walk("following");
}
