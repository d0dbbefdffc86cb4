//! Every lint, with the text that people read: a folder each under `tests/lints`. Those that show nothing are near misses and
//! what is allowed.
//!
//! `UPDATE_GOLDEN=1` rewrites the texts.

use std::path::Path;

use outrigger::config::{Source, load};
use outrigger::diagnostic::Lint;
use serde_json::Value;

use super::faults::variables;
use super::{Run, folder, outrigger};

/// What a secret is in these folders, typed or referred to: it must never be printed.
const SECRET: &str = "TOPSECRET";

fn check(folder: &Path, flags: &[&str]) -> Run {
    let arguments: Vec<&str> = [&["check"], flags, &[folder.to_str().unwrap()]].concat();
    let run = outrigger(&arguments, &variables(folder), "");
    assert_eq!(run.err, "", "{}", folder.display());
    assert!(!run.out.contains(SECRET), "{} shows a secret:\n{}", folder.display(), run.out);
    run
}

#[test]
fn every_lint_is_shown_with_its_place_and_its_fix_and_refused_by_strict() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lints");
    let mut folders: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let (mut wrong, mut all) = (Vec::new(), String::new());
    for folder in &folders {
        let run = check(folder, &[]).expect_code(0);
        let golden = folder.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &run.out).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if run.out != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{}", folder.display(), run.out));
        }
        let found = run.out.contains("warning[");
        let strict = check(folder, &["--strict"]).expect_code(i32::from(found));
        assert_eq!(strict.out.matches("error[").count(), run.out.matches("warning[").count());
        assert_eq!(strict.out.contains(" refused by --strict\n"), found, "{}", strict.out);
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert_eq!(found, name < "20", "{name} shows\n{}", run.out);
        all += &run.out;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for lint in Lint::ALL {
        assert!(all.contains(&format!("warning[{lint}]: ")), "no folder of {} has {lint}", folders.len());
    }
}

#[test]
fn no_command_shows_a_secret_that_is_typed_beside_a_fault() {
    let folder = folder(&[
        ("outrigger.toml", "[admin]\ntoken = \"TOPSECRET\" x\n"),
        ("webhooks/bare.toml", "auth.bearer = \"TOPSECRET\"\nheaders = \"authorization: TOPSECRET\"\n"),
        ("webhooks/broken.toml", "[auth.bearer]\ntoken \"TOPSECRET\"\n"),
        (
            "webhooks/misspelt.toml",
            "ulr = \"https://hooks.slack.com/services/T0/TOPSECRET\"\nauht.bearer.token = \"TOPSECRET\"\n",
        ),
        ("webhooks/auth.toml", "auth = { bearer = { token = \"TOPSECRET\", tokn = 1 } }\n"),
        (
            "webhooks/header.toml",
            "url = \"https://a.example\"\n[headers]\nauthorization = \"Bearer TOPSECRET {{bad\"\n",
        ),
        ("webhooks/template.toml", "url = \"https://hooks.slack.com/services/T0/TOPSECRET{{bad\"\n"),
        ("webhooks/url.toml", "url = \"http://hooks.slack.com/services/T0/B0/TOPSECRET\"\n"),
    ]);
    let dir = folder.path().to_str().unwrap();
    for arguments in [
        vec!["check", dir],
        vec!["run", "--config", dir],
        vec!["plan", dir, dir],
        vec!["render", "--config", dir, "--event", "config/events/request-granted.json"],
        vec!["test", "url", "--config", dir],
    ] {
        let run = outrigger(&arguments, &[], "");
        assert_eq!(run.code, Some(78), "{arguments:?}: {}", run.err);
        let said = run.out + &run.err;
        assert!(!said.contains(SECRET), "{arguments:?}: {said}");
        // What nobody sits before has no lines.
        let lines = ["token = ***", "authorization = ***", "ulr = ***"].iter().filter(|_| arguments[0] != "run");
        for line in lines {
            assert!(said.contains(line), "{arguments:?} has no {line}: {said}");
        }
    }
}

#[test]
fn a_reload_looks_for_no_lint() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lints/01-unknown-path");
    assert!(check(&folder, &[]).out.contains("9 warnings"));
    assert_eq!(load(&Source::new(folder)).diagnostics, []);
}

#[test]
fn what_is_shipped_has_no_lint() {
    let run = outrigger(&["check", "--strict", "--placeholders", "config"], &[], "").expect_code(0);
    assert!(!run.out.contains('['), "{}", run.out);
}

#[test]
fn a_lint_that_is_not_there_cannot_be_allowed() {
    let url = "url = \"https://hooks.example.com/in\"\n";
    let folder = folder(&[
        ("webhooks/hook.toml", &format!("allow = [\"unknown_path\", \"everything\", 1]\n{url}")),
        ("outrigger.toml", "[config]\nallow = [\"okta-get\"]\n"),
    ]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(78);
    for expected in [
        "error: there is no such lint\n --> outrigger.toml:2:10\n",
        "  = fix: did you mean \"okta-put\"?\n",
        "error: there is no such lint\n --> webhooks/hook.toml:1:10\n",
        "  = fix: did you mean \"unknown-path\"?\n",
        " --> webhooks/hook.toml:1:26\n",
        "  = fix: the lints are `unknown-path`, `never-matches`, ",
        "error: `allow` is a list of texts, and this is a number\n --> webhooks/hook.toml:1:40\n",
        "4 errors, 0 warnings\n",
    ] {
        assert!(run.out.contains(expected), "{expected}: {}", run.out);
    }
}

#[test]
fn a_folder_of_copies_is_looked_through_once() {
    let copies: Vec<(String, &str)> = (0..2_000)
        .map(|n| (format!("webhooks/copy-{n:04}.toml"), "url = \"https://hooks.example.com/in\"\n"))
        .collect();
    let files: Vec<(&str, &str)> = copies.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let folder = folder(&files);
    let run = outrigger(&["check", "--json", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let found = document["diagnostics"].as_array().unwrap();
    assert_eq!(found.len(), 1_999);
    let first = "the webhook sends what `copy-0000` sends: every event is delivered twice";
    assert!(found.iter().all(|one| one["lint"] == "equal-webhooks" && one["problem"] == first), "{}", found[0]);
}

#[test]
fn faults_hide_no_allowed_warning_and_show_no_other_lint() {
    let hook = "status = \"inactive\"\nurl = \"https://hooks.example.com/{{data.idd}}\"\nauth.bearer.token = \"${env:LATER}\"\n";
    let folder = folder(&[
        ("webhooks/bad.toml", "url = \"http://hooks.example.com/in\"\n"),
        ("webhooks/said.toml", &format!("allow = [\"unset-reference\"]\n{hook}")),
        ("webhooks/unsaid.toml", hook),
    ]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(78);
    assert!(run.out.contains("warning[unset-reference]: ") && run.out.contains(" --> webhooks/unsaid.toml:3:22\n"));
    assert!(run.out.ends_with("\n1 error, 1 warning\n"), "{}", run.out);
}

#[test]
fn a_file_full_of_secrets_is_masked_in_one_pass() {
    let headers: Vec<String> =
        (0..25_000).map(|number| format!("x-token-{number} = \"{SECRET} {number}\"\n")).collect();
    let hook = format!("url = \"https://hooks.example.com/in\"\nx\n[headers]\n{}", headers.concat());
    let folder = folder(&[("webhooks/hook.toml", &hook)]);
    let begun = std::time::Instant::now();
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(78);
    assert!(!run.out.contains(SECRET) && run.out.contains("1 error"), "{}", run.out);
    // Asking every secret about every character took minutes.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
