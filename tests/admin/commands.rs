//! The commands, against a running sidecar and against the spool of a stopped one.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::{bury, edit, hook, ids_from, listed, remove, run, wait_delivered};
use crate::support::process::Ended;
use crate::support::sidecar::{Sidecar, Written};
use crate::support::{receiver, sidecar};

/// Fails unless a command ended with this code, and gives what it printed on both streams.
#[track_caller]
fn expect(ended: Ended, code: i32) -> (String, String) {
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    (ended.stdout, ended.stderr)
}

/// Runs a command whichever way there is.
#[track_caller]
fn either(sidecar: &Sidecar, running: bool, arguments: &[&str]) -> Ended {
    if running { run(sidecar, arguments) } else { sidecar.written().run(arguments) }
}

#[test]
fn what_is_listed_and_shown_is_replayed_after_the_mend_with_the_same_ids() {
    for running in [true, false] {
        let target = receiver().otherwise(400).start();
        let mut sidecar = sidecar()
            .reaching(&target)
            .webhook("slack", &hook(&target.url("/"), "body = '{\"id\": \"{{data.id}}\"}'"))
            .start();
        bury(&sidecar, "slack", 3);
        let ids = listed(&sidecar, "");
        if !running {
            assert!(sidecar.terminate().success());
        }

        let (table, _) = expect(either(&sidecar, running, &["dead-letters"]), 0);
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.iter().map(|row| row[4]).collect::<Vec<_>>(), ids, "{table}");
        assert!(rows.iter().all(|row| (row[1], row[2], row[5]) == ("client_error", "1", "400")), "{table}");
        let (table, more) = expect(either(&sidecar, running, &["dead-letters", "list", "--limit", "2"]), 0);
        assert!(table.lines().count() == 3 && more.contains("--limit COUNT"), "{table}{more}");
        let (cut, more) = expect(either(&sidecar, running, &["dead-letters", "--limit", "2", "--json"]), 0);
        let cut: Value = serde_json::from_str(&cut).expect("it is JSON");
        assert_eq!((cut["dead_letters"].as_array().map(Vec::len), &cut["more"]), (Some(2), &json!(true)));
        assert!(more.contains("--limit COUNT"), "{more}");
        let (unmatched, _) = expect(either(&sidecar, running, &["dead-letters", "--reason", "expired"]), 0);
        assert_eq!(unmatched, "no dead letter matches");

        let (shown, _) = expect(either(&sidecar, running, &["dead-letters", "show", &ids[1]]), 0);
        assert!(shown.starts_with(&ids[1]) && shown.contains("\"event_type\": \"RequestCreated\""), "{shown}");
        let (shown, _) = expect(either(&sidecar, running, &["dead-letters", "show", &ids[1], "--json"]), 0);
        let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
        assert_eq!(shown["id"], ids[1]);
        assert!(shown["payload"]["data"]["id"].as_str().is_some_and(|id| id.starts_with("r-")), "{shown}");

        target.otherwise(200.into());
        let chosen = ["dead-letters", "replay", "--reason", "client_error", "--webhook", "slack"];
        let dry = [&chosen[..], &["--dry-run"]].concat();
        let (told, _) = expect(either(&sidecar, running, &dry), 0);
        assert_eq!(told, "would replay 3 dead letters");
        let (told, note) = expect(either(&sidecar, running, &chosen), 0);
        assert_eq!(told, "replayed 3 dead letters");
        assert_eq!(note.contains("goes out when the sidecar starts"), !running, "{note}");
        let (told, note) = expect(either(&sidecar, running, &chosen), 1);
        assert_eq!(told, "replayed 0 dead letters");
        assert!(note.contains("no dead letter matches"), "{note}");
        if !running {
            assert_eq!(target.count(), 3, "nothing goes out while nothing runs");
            sidecar.restart();
        }
        wait_delivered(&sidecar, "slack", 3.0);
        assert_eq!(target.count(), 6);
        assert_eq!(ids_from(&target, 3), ids_from(&target, 0));
        assert_eq!(ids_from(&target, 3), ids.into_iter().collect());
    }
}

#[test]
fn a_replay_renders_with_the_mended_template() {
    let target = receiver().start();
    let broken = hook(&target.url("/"), "strict = true\nbody = '{\"id\": \"{{data.idd}}\"}'");
    let sidecar = sidecar().reaching(&target).webhook("slack", &broken).start();
    bury(&sidecar, "slack", 2);
    edit(&sidecar, |written| written.write_webhook("slack", &broken.replace("idd", "id")));
    expect(run(&sidecar, &["dead-letters", "replay", "--reason", "template_error", "--webhook", "slack"]), 0);
    wait_delivered(&sidecar, "slack", 2.0);
    let mut bodies: Vec<Value> =
        target.recorded().iter().map(|seen| serde_json::from_slice(&seen.body).expect("JSON")).collect();
    bodies.sort_by_key(ToString::to_string);
    assert_eq!(bodies, [json!({ "id": "r-0" }), json!({ "id": "r-1" })]);
}

#[test]
fn a_letter_whose_webhook_is_not_configured_is_skipped_and_told() {
    for running in [true, false] {
        let target = receiver().otherwise(400).start();
        let mut sidecar = sidecar()
            .reaching(&target)
            .webhook("old", &hook(&target.url("/old"), ""))
            .webhook("slack", &hook(&target.url("/slack"), ""))
            .start();
        bury(&sidecar, "old", 2);
        sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "slack")], 2.0);
        edit(&sidecar, |written| remove(written, "old"));
        let old = listed(&sidecar, "webhook=old").remove(0);
        if !running {
            assert!(sidecar.terminate().success());
        }
        let skipped = "2 skipped: webhook `old` is not configured";
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "replay", "--all", "--dry-run"]), 0);
        assert_eq!(told, format!("would replay 2 dead letters; {skipped}"));
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "replay", "--all"]), 0);
        assert_eq!(told, format!("replayed 2 dead letters; {skipped}"));
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "replay", &old]), 1);
        assert_eq!(told, "replayed 0 dead letters; 1 skipped: webhook `old` is not configured");
        // What nobody delivers any more can be dropped.
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "drop", "--webhook", "old", "--yes"]), 0);
        assert_eq!(told, "dropped 2 dead letters");
        let (_, err) = expect(either(&sidecar, running, &["dead-letters", "show", &old]), 1);
        assert!(err.contains("no dead letter of this id"), "{err}");
    }
}

#[test]
fn more_than_one_is_dropped_only_by_those_who_mean_it() {
    for running in [true, false] {
        let target = receiver().otherwise(400).start();
        let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
        bury(&sidecar, "hook", 4);
        let ids = listed(&sidecar, "");
        if !running {
            assert!(sidecar.terminate().success());
        }
        for arguments in [&["drop", "--all"][..], &["drop", "--webhook", "hook"], &["drop", &ids[0], &ids[1]]] {
            let (out, err) = expect(either(&sidecar, running, &[&["dead-letters"], arguments].concat()), 1);
            assert!(out.is_empty() && err.contains("say --yes"), "{arguments:?}: {out}{err}");
        }
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "drop", "--all", "--dry-run"]), 0);
        assert_eq!(told, "would drop 4 dead letters");
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "drop", &ids[0]]), 0);
        assert_eq!(told, "dropped 1 dead letter");
        let (told, err) = expect(either(&sidecar, running, &["dead-letters", "drop", &ids[0], &ids[1], "--yes"]), 1);
        assert_eq!(told, "dropped 1 dead letter");
        assert!(err.contains(&format!("`{}` is no dead letter", ids[0])), "{err}");
        let (told, _) = expect(either(&sidecar, running, &["dead-letters", "drop", "--all", "--yes", "--json"]), 0);
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        assert_eq!(told, json!({ "dry_run": false, "matched": 2, "dropped": 2, "skipped": {}, "missing": [] }));
        let (list, _) = expect(either(&sidecar, running, &["dead-letters", "--json"]), 0);
        assert_eq!(
            serde_json::from_str::<Value>(&list).expect("it is JSON"),
            json!({ "dead_letters": [], "more": false })
        );
    }
}

#[test]
fn nonsense_on_the_command_line_is_told_how_to_go_on() {
    let written = sidecar().webhook("hook", &hook("https://example.com/", "")).write();
    let id = "evt_07070707070707070707070707070707_hook";
    let cases: &[(&[&str], &str)] = &[
        (&["dead-letters", "purge"], "[possible values: list, show, replay, drop]"),
        (&["dead-letters", "replay"], "by IDs, or by --webhook"),
        (&["dead-letters", "drop", "--yes"], "by IDs, or by --webhook"),
        (&["dead-letters", "replay", id, "--all"], "by IDs, or by --webhook"),
        (&["dead-letters", "replay", id, "--webhook", "hook"], "by IDs, or by --webhook"),
        (&["dead-letters", "replay", "evt_1"], "`evt_1` is no ID: a delivery's id is `evt_`"),
        (&["dead-letters", "list", id], "show ID"),
        (&["dead-letters", "show"], "one ID"),
        (&["dead-letters", "show", id, id], "one ID"),
        (&["dead-letters", "show", id, "--since", "1h"], "no filter"),
        (&["dead-letters", "--all"], "for replay and drop"),
        (&["dead-letters", "--dry-run"], "for replay and drop"),
        (&["dead-letters", "replay", "--all", "--yes"], "for drop"),
        (&["dead-letters", "replay", "--all", "--limit", "3"], "for the list"),
        (&["dead-letters", "--limit", "0"], "1 to 10000"),
        (&["dead-letters", "--reason", "clint_error"], "did you mean `client_error`?"),
        (&["dead-letters", "--since", "yesterday"], "2h"),
        (&["dead-letters", "--admin", "https://127.0.0.1:8461"], "http://ADDRESS:PORT or unix:PATH"),
        (&["resume"], "<NAME>"),
        (&["resume", "../x"], "no name of a webhook"),
    ];
    for (arguments, says) in cases {
        let ended = written.run(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {says}: {ended:?}");
    }
    for command in ["dead-letters", "resume"] {
        let help = written.run(&[command, "--help"]);
        assert!(help.status.success() && help.stdout.contains("Examples:"), "{help:?}");
    }
}

#[test]
fn without_a_sidecar_or_a_spool_the_way_on_is_told_and_nothing_is_made() {
    let written = sidecar().webhook("hook", &hook("https://example.com/", "")).write();
    let no = |written: &Written, arguments: &[&str], code: i32, says: &[&str]| {
        let (out, err) = expect(written.run(arguments), code);
        assert!(out.is_empty(), "{out}");
        for word in says {
            assert!(err.contains(word), "{arguments:?}: {word}: {err}");
        }
    };
    no(&written, &["dead-letters"], 1, &["nothing listens on", "there is no spool in", "--config", "--admin"]);
    assert!(!written.dir().join("spool").exists());
    std::fs::create_dir(written.dir().join("spool")).expect("a folder");
    no(&written, &["dead-letters", "replay", "--all"], 1, &["there is no spool in"]);
    assert_eq!(std::fs::read_dir(written.dir().join("spool")).expect("a folder").count(), 0);
    // Where it cannot be looked for there may be one, and why not is told.
    std::fs::remove_dir(written.dir().join("spool")).expect("it is empty");
    std::os::unix::fs::symlink("spool", written.dir().join("spool")).expect("a link to itself");
    no(&written, &["dead-letters"], 1, &["cannot be written to", "`spool.path`"]);
    no(&written, &["resume", "hook"], 1, &["nothing listens on", "--admin"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a free port");
    let free = format!("http://{free}");
    no(&written, &["dead-letters", "--admin", &free], 1, &[&free, "without --admin"]);
    std::fs::write(written.config().join("outrigger.toml"), "[admin\n").expect("a write");
    let here = format!("OUTRIGGER_ADMIN_LISTEN=127.0.0.1:{}", free.rsplit(':').next().unwrap_or_default());
    let (name, value) = here.split_once('=').expect("a variable");
    let faulty = crate::support::process::Process::spawn(written.command(&["dead-letters"]).env(name, value));
    let (_, err) = expect(faulty.finish(crate::support::PATIENCE), 78);
    assert!(err.contains("outrigger check"), "{err}");
}

#[test]
fn a_spool_in_use_is_not_opened_and_its_holder_is_named() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    // The configuration says port 0, so that the listener cannot be found by it.
    let (_, err) = expect(sidecar.written().run(&["dead-letters"]), 1);
    for word in [&format!("in use by process {}", sidecar.pid()), "--admin URL", "admin listens on"] {
        assert!(err.contains(word), "{word}: {err}");
    }
    let strange = format!("http://{}", sidecar.address("metrics"));
    let (_, err) = expect(sidecar.written().run(&["resume", "hook", "--admin", &strange]), 1);
    assert!(err.contains("GET"), "{err}");
    let found = format!("127.0.0.1:{}", sidecar.address("admin").port());
    let by_variable = sidecar.written().command(&["dead-letters"]).env("OUTRIGGER_ADMIN_LISTEN", found).output();
    assert_eq!(String::from_utf8_lossy(&by_variable.expect("it runs").stdout), "no dead letters\n");

    let (out, _) = expect(run(&sidecar, &["resume", "hook"]), 0);
    assert_eq!(out, "hook is not paused");
    let (_, err) = expect(run(&sidecar, &["resume", "hok"]), 1);
    assert!(err.contains("did you mean `hook`?"), "{err}");
    let (_, err) = expect(run(&sidecar, &["dead-letters", "--webhook", "hok"]), 1);
    assert!(err.contains("did you mean `hook`?"), "{err}");
}

#[test]
fn an_id_that_is_given_twice_is_one_letter_however_many_there_are() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 120);
    let ids = listed(&sidecar, "limit=1000");
    let mut arguments = vec!["dead-letters", "replay"];
    arguments.extend(ids.iter().map(String::as_str));
    arguments.extend(ids.iter().take(5).map(String::as_str));
    let (told, err) = expect(run(&sidecar, &arguments), 0);
    assert_eq!((told.as_str(), err.as_str()), ("replayed 120 dead letters", ""));
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 120.0);
    assert_eq!(target.count(), 240, "each was replayed once");
}

#[test]
fn to_look_at_a_stopped_spool_does_not_delete_what_is_old_in_it() {
    let target = receiver().otherwise(400).start();
    let mut sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 3);
    assert!(sidecar.terminate().success());
    sidecar.set_env("OUTRIGGER_SPOOL_DEAD_LETTER_RETENTION", "1ms");
    for arguments in [&["dead-letters"][..], &["dead-letters", "drop", "--all", "--dry-run"], &["dead-letters"]] {
        let (told, _) = expect(sidecar.written().run(arguments), 0);
        assert!(!told.contains("no dead letter"), "{arguments:?}: {told}");
    }
    let (told, _) = expect(sidecar.written().run(&["dead-letters", "replay", "--all"]), 0);
    assert_eq!(told, "replayed 3 dead letters");
}

#[test]
fn what_cannot_be_printed_is_no_success_and_a_reader_that_has_enough_is_none_of_that() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    bury(&sidecar, "hook", 1);
    let admin = format!("http://{}", sidecar.address("admin"));
    let list = ["dead-letters", "--json", "--admin", &admin];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that takes nothing");
    let ended = sidecar.written().command(&list).stdout(full).output().expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && told.contains("could not be written"), "{:?}: {told}", ended.status);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = sidecar.written().command(&list).stdout(writer).output().expect("it runs");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn no_character_of_an_event_is_obeyed_by_the_terminal_that_shows_it() {
    let target = receiver().otherwise(400).start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/"), "")).start();
    let event = json!({ "event_type": "RequestCreated", "data": { "justification": "a\u{9b}2Jb\u{7f}\u{202e}c" } });
    assert_eq!(sidecar.post("/v1/events", &event.to_string()).status, 202);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 1.0);
    let id = listed(&sidecar, "").remove(0);
    for more in [&[][..], &["--json"]] {
        let (shown, _) = expect(run(&sidecar, &[&["dead-letters", "show", &id], more].concat()), 0);
        assert!(!shown.contains(['\u{9b}', '\u{7f}', '\u{202e}']), "{shown:?}");
        assert!(shown.contains(r"a\u009b2Jb\u007f\u202ec"), "{shown:?}");
    }
    let (shown, _) = expect(run(&sidecar, &["dead-letters", "show", &id, "--json"]), 0);
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("it is JSON")["payload"], event);
}

#[test]
fn a_sidecar_that_dies_in_the_middle_of_a_replay_is_told_with_what_was_done() {
    let written = sidecar().webhook("hook", &hook("https://example.com/", "")).write();
    // A socket that is removed is gone at once, while a port may be held a moment longer by a process that is being started.
    let socket = written.dir().join("admin.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let admin = format!("unix:{}", socket.display());
    let served = std::thread::spawn(move || {
        // The first connection finds out whether somebody is there.
        drop(listener.accept().expect("a connection"));
        let (mut asked, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let _ = asked.read(&mut request).expect("a request");
        let step =
            json!({ "matched": 500, "replayed": 500, "skipped": {}, "missing": [], "cursor": "1.2.", "run": "0.2." });
        let step = step.to_string();
        std::fs::remove_file(&socket).expect("it is there");
        write!(asked, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{step}", step.len()).expect("an answer");
        // Until the client has gone: what it still sends must not cut the answer off.
        let _ = asked.read_to_end(&mut Vec::new());
    });
    let (out, err) = expect(written.run(&["dead-letters", "replay", "--all", "--json", "--admin", &admin]), 1);
    served.join().expect("no panic");
    assert_eq!(out, "");
    for word in [&admin, "any more", "500 were replayed before that, and the same command goes on"] {
        assert!(err.contains(word), "{word}: {err}");
    }
}
