//! The recipes of `config/recipes`: each is whole, true to its own head, and good where it is copied to.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use outrigger::cli::recipes::{Recipe, recipes};
use serde_json::json;

use crate::support::{PATIENCE, eventually, receiver, sidecar};

/// The program in a folder, with these variables and no others.
fn outrigger(dir: &Path, args: &[&str], env: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(args).current_dir(dir).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command.output().expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", out(output), String::from_utf8_lossy(&output.stderr))
}

/// The variables that a text refers to.
fn referenced(text: &str) -> BTreeSet<String> {
    let without_comments: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let names = without_comments.split("${env:").skip(1);
    names.map(|rest| rest.split('}').next().unwrap_or_default().to_owned()).collect()
}

/// The variables that a recipe's head names.
fn named(recipe: &Recipe) -> BTreeSet<String> {
    let set = recipe.set();
    let first = |line: &&str| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).map(str::to_owned);
    set.iter().filter_map(first).map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// A value that a variable could have.
fn value(name: &str) -> String {
    match name {
        _ if name.starts_with("SIGNED_SECRET") => "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(),
        "LOGZIO_LISTENER" | "DATADOG_SITE" | "CORALOGIX_DOMAIN" => "receiver.example.com".to_owned(),
        _ if name.ends_with("_HOST") => "receiver.example.com".to_owned(),
        _ if name.ends_with("_URL") => "https://receiver.example.com/in/1".to_owned(),
        _ => format!("{}-value", name.to_lowercase()),
    }
}

fn values(recipe: &Recipe) -> Vec<(String, String)> {
    named(recipe).into_iter().map(|name| (name.clone(), value(&name))).collect()
}

/// A folder with a recipe as a webhook, and a key where it names one.
fn folder(recipe: &Recipe) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("config/webhooks")).expect("a folder in it");
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    fs::write(folder.path().join("config/key.pem"), key).expect("a file in it");
    let text = recipe.text.replace("/run/secrets/okta-workflows.pem", "key.pem");
    fs::write(folder.path().join(format!("config/webhooks/{}.toml", recipe.name)), text).expect("a file in it");
    folder
}

#[test]
fn the_program_has_the_recipes_of_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/recipes");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".toml", ""))
        .collect();
    let known: Vec<&str> = recipes().iter().map(|recipe| recipe.name).collect();
    assert_eq!(files.iter().collect::<Vec<_>>(), known);
    assert_eq!(known.len(), 21);
}

#[test]
fn the_head_of_a_recipe_says_what_it_is_what_to_set_and_what_the_receiver_asks() {
    for recipe in recipes() {
        let Recipe { name, text } = recipe;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"#:schema ../schema/webhook.json"), "{name}");
        let head: Vec<&str> = lines.iter().take_while(|line| line.starts_with('#')).copied().collect();
        assert!(head[1].contains(": ") && recipe.summary() == &head[1][2..], "{name}: {}", head[1]);
        for part in ["# Set:", "# Receiver:"] {
            assert!(head.contains(&part), "{name} has no `{part}`");
        }
        let source =
            head.iter().find(|line| line.starts_with("# Source: \"")).unwrap_or_else(|| panic!("{name} has no source"));
        let rest: Vec<&str> = head.iter().skip_while(|line| *line != source).copied().collect();
        assert!(rest.concat().contains("2026"), "{name} says not of when its source is");
        assert!(
            head.iter().filter(|line| line.starts_with("#   - ")).count() >= 3,
            "{name} has few rules of its receiver"
        );
        assert!(text.contains("${file:"), "{name} says not that a file will do as well");
        assert_eq!(named(recipe), referenced(text), "{name}");
    }
}

#[test]
fn every_recipe_is_good_where_it_stands_alone_with_its_variables_and_without() {
    for recipe in recipes() {
        let folder = folder(recipe);
        let tests = recipe.text.matches("[[tests]]").count();
        let wanted = format!("1 webhook, {tests} tests passed, 0 failed\n");
        let checked = outrigger(folder.path(), &["check", "--strict"], &values(recipe));
        assert!(checked.status.success() && out(&checked) == wanted, "{}: {}", recipe.name, said(&checked));
        let checked = outrigger(folder.path(), &["check", "--strict", "--placeholders"], &[]);
        assert!(checked.status.success() && out(&checked) == wanted, "{}: {}", recipe.name, said(&checked));

        // A whole body, an answer that is good, several that are not, and an event that is none of its own.
        let has = |part: &str| recipe.text.matches(part).count();
        assert!(has("outcome = \"accepted\"") >= 1 && has("reason = \"") >= 3, "{}", recipe.name);
        assert!(has("body") >= 2, "{}", recipe.name);
        assert!(has("[[filters]]") == 0 || has("delivered = false") >= 1, "{}", recipe.name);
        assert!(has("limits") >= 1, "{} has no limits", recipe.name);
    }
}

#[test]
fn a_test_of_a_recipe_fails_when_its_body_is_another() {
    for recipe in recipes() {
        let folder = folder(recipe);
        let file = folder.path().join(format!("config/webhooks/{}.toml", recipe.name));
        let text = fs::read_to_string(&file).expect("it is there");
        let at = text.find("\nbody ").unwrap_or_else(|| panic!("{} has no body", recipe.name));
        let (before, body) = text.split_at(at);
        // The first value that is filled in is lost.
        let from = body.find("{{").expect("a value");
        let until = from + body[from..].find("}}").expect("its end") + 2;
        fs::write(&file, format!("{before}{}\"\"{}", &body[..from], &body[until..])).expect("it is writable");
        let checked = outrigger(folder.path(), &["check"], &values(recipe));
        assert!(!checked.status.success(), "{}: {}", recipe.name, said(&checked));
    }
}

#[test]
fn all_recipes_stand_side_by_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for recipe in recipes() {
        let added = outrigger(folder.path(), &["recipes", "add", recipe.name], &[]);
        assert!(added.status.success(), "{}", said(&added));
    }
    let checked = outrigger(folder.path(), &["check"], &[]);
    assert!(checked.status.success() && out(&checked).contains("\n21 webhooks, "), "{}", said(&checked));
}

#[test]
fn a_recipe_is_added_to_an_empty_folder_and_checked_and_says_what_to_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let added = outrigger(folder.path(), &["recipes", "add", "slack"], &[]);
    assert!(added.status.success(), "{}", said(&added));
    for part in [
        "wrote config/webhooks/slack.toml\n",
        "\n  SLACK_WEBHOOK_URL   the URL of an incoming webhook",
        "remove the line `status = \"inactive\"`",
    ] {
        assert!(out(&added).contains(part), "{part}\n{}", said(&added));
    }
    let checked = outrigger(folder.path(), &["check"], &[]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(out(&checked).ends_with("\n1 webhook, 10 tests passed, 0 failed, 1 warning\n"), "{}", said(&checked));
    assert!(said(&checked).contains("the environment variable `SLACK_WEBHOOK_URL` is not set"), "{}", said(&checked));

    let again = outrigger(folder.path(), &["recipes", "add", "slack"], &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("config/webhooks/slack.toml is there already; `--as NAME` writes another"),
        "{}",
        said(&again)
    );
    let other = outrigger(folder.path(), &["recipes", "add", "slack", "--as", "slack-night"], &[]);
    assert!(
        other.status.success() && folder.path().join("config/webhooks/slack-night.toml").is_file(),
        "{}",
        said(&other)
    );
    for (args, fix) in [
        (&["recipes", "add", "slak"][..], "did you mean `slack`?"),
        (&["recipes", "show", "nothing-like-it"], "`outrigger recipes` lists them"),
        (&["recipes", "add", "slack", "--as", "../x"], "`../x` is no name of a webhook"),
    ] {
        let refused = outrigger(folder.path(), args, &[]);
        assert!(refused.status.code() == Some(2) && said(&refused).contains(fix), "{args:?}: {}", said(&refused));
    }
    let refused = outrigger(folder.path(), &["recipes", "add", "slack", "--as", "SLACK"], &[]);
    assert!(
        refused.status.code() == Some(1) && said(&refused).contains("there is a webhook `slack`"),
        "{}",
        said(&refused)
    );
    let left: Vec<_> = fs::read_dir(folder.path().join("config/webhooks")).expect("the folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
    fs::write(folder.path().join("file"), "").expect("a file in it");
    let refused = outrigger(folder.path(), &["recipes", "add", "slack", "--config", "file"], &[]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("cannot be written"), "{}", said(&refused));
}

#[test]
fn recipes_are_listed_and_shown_as_they_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listed = out(&outrigger(folder.path(), &["recipes"], &[]));
    for recipe in recipes() {
        assert!(
            listed.lines().any(|line| line.starts_with(recipe.name) && line.ends_with(recipe.summary())),
            "{listed}"
        );
        assert_eq!(out(&outrigger(folder.path(), &["recipes", "show", recipe.name], &[])), recipe.text);
    }
}

#[test]
fn the_guide_lists_every_recipe_and_shows_what_is_printed() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).expect("it is there");
    let rows: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    let wanted: Vec<String> =
        recipes().iter().map(|recipe| format!("| `{}` | {} |", recipe.name, recipe.summary())).collect();
    assert_eq!(rows, wanted);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let added = out(&outrigger(folder.path(), &["recipes", "add", "slack"], &[]));
    assert!(guide.contains(&format!("$ outrigger recipes add slack\n{added}```")), "{added}");
}

#[test]
fn a_sidecar_that_runs_takes_a_recipe_and_delivers_when_it_is_made_active() {
    let target = receiver().start();
    let sidecar = sidecar()
        .reaching(&target)
        .setting("config.poll = \"100ms\"")
        .env("SIGNED_URL", &target.url("/in"))
        .env("SIGNED_SECRET", &value("SIGNED_SECRET"))
        .env("SIGNED_SECRET_OLD", &value("SIGNED_SECRET_OLD"))
        .webhook("other", &format!("url = {:?}\ntriggers = [\"Manual\"]", target.url("/other")))
        .start();
    let config = sidecar.written().config();
    let config = config.to_str().expect("a text");
    for name in ["signed", "slack"] {
        let added = outrigger(Path::new(config), &["recipes", "add", name, "--config", config], &[]);
        assert!(added.status.success(), "{}", said(&added));
    }
    // One of them lacks its variable, and is taken all the same.
    let inactive = |count: usize| {
        let series = format!("outrigger_config_webhooks{{status=\"inactive\"}} {count}");
        let seen = eventually(PATIENCE, || sidecar.metrics().contains(&series).then_some(()));
        assert!(seen.is_some(), "{count} were expected\n{}", sidecar.log());
    };
    inactive(2);
    let event = json!({ "event_type": "RequestGranted", "event_time": 1, "data": { "id": "r-1" } }).to_string();
    assert_eq!(sidecar.post("/v1/events", &event).json()["events"][0]["deliveries"], json!([]));

    let file = Path::new(config).join("webhooks/signed.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    let active: String = text.lines().filter(|line| !line.starts_with("status ")).collect::<Vec<_>>().join("\n");
    fs::write(&file, active + "\n").expect("it is writable");
    inactive(1);
    assert_eq!(sidecar.post("/v1/events", &event).json()["events"][0]["deliveries"], json!(["signed"]));
    assert!(target.wait(1)[0].header("webhook-signature").starts_with("v1,"));
}
