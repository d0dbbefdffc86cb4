//! Reload under the real binary: what is edited on disk goes live, what is broken does not, and nothing is lost meanwhile.

#![allow(clippy::print_stdout, reason = "how soon an edit was live is worth a look, and no reason to fail")]

mod asked;
mod removal;
mod settings;
mod tools;
mod unheard;
mod volume;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;

use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually, receiver, sidecar};

/// An edit is in force for the next delivery within this time.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// A machine with much else to do may be slow once, not every time.
const TRIES: usize = 3;
const EVENT: &str = r#"{"event_type":"RequestCreated"}"#;

/// A way to edit a file, and what it does with a marker.
type Way<'w> = (&'w str, &'w dyn Fn(&str));

/// A webhook's file whose deliveries carry this marker.
fn definition(target: &Target, marker: &str) -> String {
    format!("url = {:?}\nbody = '{{\"marker\": \"{marker}\"}}'\n", target.url("/hook"))
}

fn saw(target: &Target, marker: &str) -> Option<Instant> {
    let recorded = target.recorded();
    recorded.iter().find(|one| String::from_utf8_lossy(&one.body).contains(marker)).map(|one| one.at)
}

/// Makes an edit and posts events until one is delivered with the marker: how long that took.
#[track_caller]
fn edit_until_live(sidecar: &Sidecar, target: &Target, marker: &str, edit: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    edit();
    let live = eventually(PATIENCE, || {
        assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
        saw(target, marker)
    });
    let Some(at) = live else { panic!("no delivery carries {marker}:\n{}", sidecar.log()) };
    at.saturating_duration_since(begun)
}

fn reloads(sidecar: &Sidecar, result: &str) -> f64 {
    sidecar.metric("outrigger_config_reloads_total", &[("result", result)]).unwrap_or_default()
}

/// Waits until more looks than this came to the result.
#[track_caller]
fn wait_reload(sidecar: &Sidecar, result: &str, before: f64) {
    let seen = eventually(PATIENCE, || (reloads(sidecar, result) > before).then_some(()));
    assert!(seen.is_some(), "no reload was {result} beyond {before}:\n{}", sidecar.log());
}

fn wait_in_force(sidecar: &Sidecar, whether: f64) {
    sidecar.wait_metric("outrigger_config_last_reload_successful", &[], whether);
}

/// Posts one event and waits until it is delivered with this marker.
#[track_caller]
fn delivers(sidecar: &Sidecar, target: &Target, marker: &str) {
    let before = target.count();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    let recorded = target.wait(before + 1);
    let body = String::from_utf8_lossy(&recorded[before].body);
    assert!(body.contains(marker), "{body} has no {marker}:\n{}", sidecar.log());
}

fn shell(script: &str, arguments: &[&Path]) {
    let done = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).status();
    assert!(done.is_ok_and(|status| status.success()), "{script}");
}

#[test]
fn an_edit_by_any_tool_is_in_the_next_delivery_within_a_second() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "start")).start();
    let webhooks = sidecar.written().config().join("webhooks");
    let file = webhooks.join("hook.toml");
    let fresh = sidecar.written().dir().join("fresh.toml");
    let secret = sidecar.written().dir().join("secret");
    fs::write(&secret, "old\n").expect("a file");
    delivers(&sidecar, &target, "start");
    // Settings that the next ways need: a body in a file of its own, and a secret.
    let body = webhooks.join("hook.json.hbs");
    let text = definition(&target, "-");
    let url = text.lines().next().expect("the url");
    let with_body_file = format!("{url}\nbody_file = 'hook.json.hbs'\n");
    let with_secret = format!("{url}\nbody = '{{\"marker\": \"${{file:{}}}\"}}'\n", secret.display());

    let plain = |marker: &str| definition(&target, marker);
    let ways: [Way<'_>; 9] = [
        ("written in place", &|marker| fs::write(&file, plain(marker)).expect("a write")),
        ("truncated, then written in two parts", &|marker| {
            use std::io::Write;
            let text = plain(marker);
            let (one, two) = text.split_at(20);
            let mut open = fs::File::create(&file).expect("a file");
            open.write_all(one.as_bytes()).and_then(|()| open.sync_data()).expect("a write");
            open.write_all(two.as_bytes()).expect("a write");
        }),
        ("replaced by a rename from the same folder", &|marker| {
            let new = webhooks.join(".hook.toml.new");
            fs::write(&new, plain(marker)).expect("a write");
            fs::rename(new, &file).expect("a rename");
        }),
        ("moved away, written anew, the backup removed", &|marker| {
            let backup = webhooks.join("hook.toml~");
            fs::rename(&file, &backup).expect("a rename");
            fs::write(&file, plain(marker)).expect("a write");
            fs::remove_file(backup).expect("a removal");
        }),
        ("cp", &|marker| {
            fs::write(&fresh, plain(marker)).expect("a write");
            shell("cp \"$1\" \"$2\"", &[&fresh, &file]);
        }),
        ("mv", &|marker| {
            fs::write(&fresh, plain(marker)).expect("a write");
            shell("mv -f \"$1\" \"$2\"", &[&fresh, &file]);
        }),
        ("made a link to a file elsewhere", &|marker| {
            let elsewhere = sidecar.written().dir().join(marker);
            fs::write(&elsewhere, plain(marker)).expect("a write");
            let link = webhooks.join("link");
            symlink(elsewhere, &link).expect("a link");
            fs::rename(link, &file).expect("a rename");
        }),
        ("its body_file written", &|marker| {
            fs::write(&body, format!("{{\"marker\": \"{marker}\"}}")).expect("a write");
            fs::write(&fresh, &with_body_file).expect("a write");
            fs::rename(&fresh, &file).expect("a rename");
        }),
        ("its secret rotated", &|marker| {
            fs::write(&fresh, &with_secret).expect("a write");
            fs::rename(&fresh, &file).expect("a rename");
            fs::write(&secret, format!("{marker}\n")).expect("a write");
        }),
    ];
    for (number, (way, edit)) in ways.iter().enumerate() {
        let mut fastest = Duration::MAX;
        for attempt in 0..TRIES {
            let marker = format!("m{number}-{attempt}.");
            fastest = fastest.min(edit_until_live(&sidecar, &target, &marker, || edit(&marker)));
            if fastest < LIVE_WITHIN {
                break;
            }
        }
        println!("{way}: live after {} ms", fastest.as_millis());
        assert!(fastest < LIVE_WITHIN, "{way}: {fastest:?}");
    }
    // The last two ways changed the definition too: once it stands, the file beside it alone is enough.
    for (text, beside, content) in
        [(&with_body_file, &body, "{\"marker\": \"body alone\"}"), (&with_secret, &secret, "secret alone")]
    {
        let published = reloads(&sidecar, "published");
        fs::write(&file, text).expect("a write");
        wait_reload(&sidecar, "published", published);
        let marker = if content.contains("body") { "body alone" } else { content };
        let took = edit_until_live(&sidecar, &target, marker, || fs::write(beside, content).expect("a write"));
        println!("{marker}: live after {} ms", took.as_millis());
    }
}

#[test]
fn a_file_that_comes_or_goes_brings_its_webhook_and_series_and_takes_them_away() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("first", &definition(&target, "first")).start();
    assert!(series(&sidecar, "second").is_empty());

    let text = format!(
        "{}[[response_validators]]\nname = 'ok'\npath = '$.data.ok'\nexpected = ['true']\n",
        definition(&target, "second")
    );
    sidecar.written().write_webhook("second", &text);
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 2.0);
    let started = series(&sidecar, "second");
    for family in [
        "deliveries_total",
        "attempts_total",
        "attempt_failures_total",
        "validator_failures_total",
        "pending_deliveries",
    ] {
        assert!(started.iter().any(|line| line.starts_with(&format!("outrigger_{family}"))), "{family}: {started:#?}");
    }
    let not_zero: Vec<_> = started.iter().filter(|line| !line.ends_with(" 0")).collect();
    assert!(not_zero.is_empty(), "{not_zero:#?}");

    let took = edit_until_live(&sidecar, &target, "second", || {});
    println!("a new webhook delivers after {} ms", took.as_millis());
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "second")], 0.0);
    fs::remove_file(sidecar.written().config().join("webhooks/second.toml")).expect("a removal");
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 1.0);
    wait_gone(&sidecar, "second");
    let before = target.count();
    delivers(&sidecar, &target, "first");
    assert_eq!(target.recorded().len(), before + 1, "one webhook is left, so one delivery came");
}

/// The series of a webhook.
fn series(sidecar: &Sidecar, webhook: &str) -> Vec<String> {
    let label = format!("webhook=\"{webhook}\"");
    sidecar.metrics().lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
}

#[track_caller]
fn wait_gone(sidecar: &Sidecar, webhook: &str) {
    let gone = eventually(PATIENCE, || series(sidecar, webhook).is_empty().then_some(()));
    assert!(gone.is_some(), "{:#?}", series(sidecar, webhook));
}

#[test]
fn what_is_broken_changes_nothing_but_the_log_and_the_gauge() {
    let target = receiver().start();
    let good = definition(&target, "good");
    let sidecar = sidecar().reaching(&target).webhook("hook", &good).start();
    let config = sidecar.written().config();
    let hook = config.join("webhooks/hook.toml");
    let settings = config.join("outrigger.toml");
    let good_settings = fs::read_to_string(&settings).expect("it was written");
    let url = good.lines().next().expect("the url").to_owned();
    let breakages = [
        (&hook, String::new(), "webhooks/hook.toml"),
        (&hook, format!("{url}\nbody = 'unclosed"), "webhooks/hook.toml:2:"),
        (&hook, format!("{url}\n\nmethid = 'POST'\n"), "webhooks/hook.toml:3:1"),
        (&hook, good.replace("https://", "http://"), "webhooks/hook.toml:1:"),
        (&hook, format!("{url}\nbody = '''\n{{\n\"a\": {{{{#if x}}}}\n'''\n"), "webhooks/hook.toml:4:"),
        (&hook, format!("{url}\nbody_file = 'nowhere.hbs'\n"), "webhooks/hook.toml:2:"),
        (&hook, format!("{url}\n[headers]\nx-a = '${{file:/nowhere/token}}'\n"), "webhooks/hook.toml:3:"),
        (&settings, format!("{good_settings}\nspool.max_byte = '1MiB'\n"), "outrigger.toml:"),
    ];
    assert_eq!(sidecar.metric("outrigger_config_last_reload_successful", &[]), Some(1.0));
    for (number, (file, broken, place)) in breakages.iter().enumerate() {
        let (refused, logged) = (reloads(&sidecar, "refused"), sidecar.log().matches(place).count());
        fs::write(file, broken).expect("a write");
        wait_reload(&sidecar, "refused", refused);
        wait_in_force(&sidecar, 0.0);
        let named = eventually(PATIENCE, || (sidecar.log().matches(place).count() > logged).then_some(()));
        assert!(named.is_some(), "breakage {number}: the log does not name {place}:\n{}", sidecar.log());
        delivers(&sidecar, &target, "good");
        fs::write(file, if *file == &hook { &good } else { &good_settings }).expect("a write");
        wait_in_force(&sidecar, 1.0);
    }
    delivers(&sidecar, &target, "good");
    assert_eq!(reloads(&sidecar, "published").to_string(), "1", "nothing but the start was published");
    assert_eq!(sidecar.metric("outrigger_attempts_total", &[("outcome", "failed")]), Some(0.0));
}

#[test]
fn what_is_touched_rewritten_or_asked_for_by_a_signal_publishes_nothing() {
    let target = receiver().start();
    let text = definition(&target, "same");
    let sidecar = sidecar().reaching(&target).webhook("hook", &text).start();
    let file = sidecar.written().config().join("webhooks/hook.toml");
    // The look that follows the first watch is over.
    wait_reload(&sidecar, "unchanged", 0.0);
    let ways: [&dyn Fn(); 4] = [
        &|| shell("touch \"$1\"", &[&file]),
        &|| fs::write(&file, &text).expect("a write"),
        &|| sidecar.written().write_webhook("hook", &text),
        &|| sidecar.signal("HUP"),
    ];
    for way in ways {
        let unchanged = reloads(&sidecar, "unchanged");
        way();
        wait_reload(&sidecar, "unchanged", unchanged);
    }
    assert_eq!(reloads(&sidecar, "published").to_string(), "1");
    delivers(&sidecar, &target, "same");
}

#[test]
fn a_folder_that_is_emptied_gone_or_replaced_keeps_all_until_it_is_whole_again() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "m0.")).start();
    let config = sidecar.written().config();
    let webhooks = config.join("webhooks");
    let dir = sidecar.written().dir();
    let write = |folder: &Path, marker: &str| {
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join("hook.toml"), definition(&target, marker)).expect("a write");
    };
    let losses: [(&str, &dyn Fn()); 3] = [
        ("emptied", &|| fs::remove_file(webhooks.join("hook.toml")).expect("a removal")),
        ("removed", &|| fs::remove_dir_all(&webhooks).expect("a removal")),
        ("removed with all around it", &|| fs::remove_dir_all(&config).expect("a removal")),
    ];
    let settings = fs::read(config.join("outrigger.toml")).expect("it was written");
    let mut last = "m0.".to_owned();
    for (number, (loss, lose)) in losses.iter().enumerate() {
        let refused = reloads(&sidecar, "refused");
        lose();
        wait_reload(&sidecar, "refused", refused);
        wait_in_force(&sidecar, 0.0);
        delivers(&sidecar, &target, &last);
        assert_eq!(sidecar.metric("outrigger_config_webhooks", &[("status", "active")]), Some(1.0), "{loss}");
        let marker = format!("m{}.", number + 1);
        edit_until_live(&sidecar, &target, &marker, || {
            fs::create_dir_all(&config)
                .and_then(|()| fs::write(config.join("outrigger.toml"), &settings))
                .expect("a write");
            write(&webhooks, &marker);
        });
        wait_in_force(&sidecar, 1.0);
        last = marker;
    }
    // Replaced at one stroke: what is watched afterwards is what stands there then.
    for (number, (place, other)) in [(&webhooks, "w"), (&config, "c"), (&webhooks, "w2")].into_iter().enumerate() {
        let other = dir.join(other);
        let marker = format!("replaced{number}.");
        if *place == config {
            fs::create_dir_all(&other)
                .and_then(|()| fs::write(other.join("outrigger.toml"), &settings))
                .expect("a write");
            write(&other.join("webhooks"), &marker);
        } else {
            write(&other, &marker);
        }
        edit_until_live(&sidecar, &target, &marker, || {
            fs::rename(place, other.with_extension("old")).and_then(|()| fs::rename(&other, place)).expect("renames");
        });
        let marker = format!("edited{number}.");
        edit_until_live(&sidecar, &target, &marker, || write(&webhooks, &marker));
    }
    // Removed and made anew between two looks, perhaps with the same inode.
    for number in 0..5 {
        let marker = format!("anew{number}.");
        edit_until_live(&sidecar, &target, &marker, || {
            fs::remove_dir_all(&webhooks).expect("a removal");
            write(&webhooks, &marker);
        });
        let marker = format!("anew-edited{number}.");
        edit_until_live(&sidecar, &target, &marker, || write(&webhooks, &marker));
    }
}

#[test]
fn a_configuration_behind_links_goes_live_when_any_of_them_is_turned() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "start")).start();
    // A folder that nothing else of the configuration stands in.
    let dir = sidecar.written().dir().join("srv");
    let webhooks = sidecar.written().config().join("webhooks");
    let release = |name: &str| {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("hook.toml"), definition(&target, name)).expect("a write");
    };
    release("release1");
    edit_until_live(&sidecar, &target, "release1", || {
        symlink("release1", dir.join("current")).expect("a link");
        fs::remove_dir_all(&webhooks).expect("a removal");
        symlink("../srv/current", &webhooks).expect("a link");
    });
    for name in ["release2", "release3"] {
        release(name);
        edit_until_live(&sidecar, &target, name, || {
            symlink(name, dir.join("next")).expect("a link");
            fs::rename(dir.join("next"), dir.join("current")).expect("a rename");
        });
    }
}

#[test]
fn an_attempt_in_flight_ends_on_the_definition_that_it_began_with() {
    let target = receiver().respond(Answer::json(r#"{"ok":true}"#).after(Duration::from_secs(2))).start();
    let validated = |marker: &str, expected: &str| {
        let text = definition(&target, marker);
        format!("{text}[[response_validators]]\npath = '$.data.ok'\nexpected = ['{expected}']\n")
    };
    let sidecar = sidecar().reaching(&target).webhook("hook", &validated("old", "true")).start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    let published = reloads(&sidecar, "published");
    sidecar.written().write_webhook("hook", &validated("new", "never").replacen("url", "timeout = '1500ms'\nurl", 1));
    wait_reload(&sidecar, "published", published);
    let delivered = [("webhook", "hook"), ("outcome", "delivered")];
    assert_eq!(sidecar.metric("outrigger_deliveries_total", &delivered), Some(0.0), "it is still in flight");
    // The next one begins at once, and under the new definition, whose validator buries it.
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "dead")], 1.0);
    sidecar.wait_metric("outrigger_deliveries_total", &delivered, 1.0);
    let bodies: Vec<_> = target.wait(2).iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(bodies[0].contains("old") && bodies[1].contains("new"), "{bodies:?}");
}
