//! What is kept from one load to the next, what is compiled again, and that nothing piles up.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::webhook::Body;

/// A configuration folder with its variables.
pub(super) struct Folder {
    folder: TempDir,
    variables: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let made = Self { folder: TempDir::new().unwrap(), variables: Arc::default() };
        for (name, text) in files {
            made.write(name, text);
        }
        made
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        // It may have been removed before.
        let _ = fs::remove_file(self.path(name));
    }

    pub(super) fn set(&self, variable: &str, value: Option<&str>) {
        let mut variables = self.variables.lock().unwrap();
        match value {
            Some(value) => variables.insert(variable.to_owned(), value.to_owned()),
            None => variables.remove(variable),
        };
    }

    pub(super) fn source(&self) -> Source {
        let variables = Arc::clone(&self.variables);
        let env = Arc::new(move |name: &str| variables.lock().unwrap().get(name).cloned());
        Source { env, ..Source::new(self.folder.path()) }
    }
}

const URL: &str = "url = \"https://hooks.example.com/in\"\n";

fn hook(rest: &str) -> String {
    format!("{URL}{rest}")
}

/// Webhooks that need nothing, a body file, a variable, a file and a kind of one's own.
fn five() -> Folder {
    let folder = Folder::new(&[
        ("outrigger.toml", "[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n"),
        ("deploy.json", "{\"type\":\"started\"}"),
        ("token", "one\n"),
        ("webhooks/plain.toml", URL),
        ("webhooks/body.toml", &hook("body_file = \"body.hbs\"\n")),
        ("webhooks/body.hbs", "{\"id\":\"{{data.id}}\"}"),
        ("webhooks/variable.toml", &hook("[headers]\nx-a = \"${env:A}\"\n")),
        ("webhooks/file.toml", &hook("[auth]\nbearer = { token = \"${file:token}\" }\n")),
        ("webhooks/deploy.toml", &hook("kind = \"deploy\"\n")),
    ]);
    folder.set("A", Some("1"));
    folder
}

fn good(loader: &mut Loader) -> Snapshot {
    let loaded = loader.load();
    loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

/// The names of the webhooks that are not the very ones of before.
fn rebuilt<'s>(before: &Snapshot, after: &'s Snapshot) -> Vec<&'s str> {
    let changed = after
        .webhooks
        .iter()
        .filter(|(name, webhook)| before.webhooks.get(*name).is_none_or(|before| !Arc::ptr_eq(before, webhook)));
    changed.map(|(name, _)| &**name).collect()
}

#[test]
fn a_change_rebuilds_the_webhooks_that_it_concerns_and_no_other() {
    const ALL: [&str; 5] = ["body", "deploy", "file", "plain", "variable"];
    type Edit = fn(&Folder);
    let edits: [(&str, Edit, &[&str]); 11] = [
        ("nothing", |_| {}, &[]),
        ("a file's time", |folder| folder.write("webhooks/plain.toml", URL), &[]),
        ("a file", |folder| folder.write("webhooks/plain.toml", &hook("title = \"x\"\n")), &["plain"]),
        ("a file more", |folder| folder.write("webhooks/new.toml", URL), &["new"]),
        ("a body file", |folder| folder.write("webhooks/body.hbs", "{}"), &["body"]),
        ("a variable", |folder| folder.set("A", Some("2")), &["variable"]),
        ("a secret's file", |folder| folder.write("token", "two\n"), &["file"]),
        ("the line break that is dropped", |folder| folder.write("token", "one"), &[]),
        ("a sample", |folder| folder.write("deploy.json", "{\"type\":\"ended\"}"), &["deploy"]),
        (
            "a setting that concerns no webhook",
            |folder| {
                let deploy = "[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n";
                folder.write("outrigger.toml", &format!("{deploy}[egress]\nallow_networks = [\"10.0.0.0/8\"]\n"));
            },
            &[],
        ),
        (
            "the defaults",
            |folder| {
                let deploy = "[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n";
                folder.write("outrigger.toml", &format!("{deploy}[defaults]\ntimeout = \"5s\"\n"));
            },
            &ALL,
        ),
    ];
    for (what, edit, expected) in edits {
        let folder = five();
        let mut loader = Loader::new(folder.source());
        let before = good(&mut loader);
        edit(&folder);
        let after = good(&mut loader);
        assert_eq!(rebuilt(&before, &after), expected, "{what}");
        assert_eq!(after.is_same(&before), expected.is_empty() && before.settings == after.settings, "{what}");
        for (name, kind) in &after.kinds {
            let kept = Arc::ptr_eq(kind, &before.kinds[name]);
            assert_eq!(kept, what != "a sample" || **name != *"deploy", "{what}: kind {name}");
        }
    }
}

#[test]
fn what_was_broken_or_gone_for_a_while_comes_back_as_the_very_same() {
    type Edit = fn(&Folder);
    let edits: [(&str, Edit, Edit); 6] = [
        (
            "one file",
            |folder| folder.write("webhooks/plain.toml", "url = 1\n"),
            |folder| folder.write("webhooks/plain.toml", URL),
        ),
        (
            "the sidecar's file",
            |folder| folder.write("outrigger.toml", "[defaults]\ntimeout = 0\n"),
            |folder| {
                folder.write("outrigger.toml", "[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n");
            },
        ),
        ("a variable", |folder| folder.set("A", None), |folder| folder.set("A", Some("1"))),
        ("a secret's file", |folder| folder.remove("token"), |folder| folder.write("token", "one\n")),
        (
            "a sample",
            |folder| folder.write("deploy.json", "no"),
            |folder| folder.write("deploy.json", "{\"type\":\"started\"}"),
        ),
        (
            "the folder",
            |folder| fs::rename(folder.path("webhooks"), folder.path("elsewhere")).unwrap(),
            |folder| fs::rename(folder.path("elsewhere"), folder.path("webhooks")).unwrap(),
        ),
    ];
    for (what, broken, mended) in edits {
        let folder = five();
        let mut loader = Loader::new(folder.source());
        let before = good(&mut loader);
        broken(&folder);
        for _ in 0..2 {
            assert!(loader.load().snapshot.is_none(), "{what}");
        }
        mended(&folder);
        let after = good(&mut loader);
        assert_eq!(rebuilt(&before, &after), [""; 0], "{what}");
        assert!(after.is_same(&before), "{what}");
    }
}

#[test]
fn an_edit_beside_a_fault_is_compiled_once() {
    let folder = five();
    let mut loader = Loader::new(folder.source());
    good(&mut loader);
    folder.write("webhooks/plain.toml", "url = 1\n");
    folder.write("webhooks/body.hbs", "{}");
    assert!(loader.load().snapshot.is_none());
    let compiled = loader.refused.webhooks["body"].webhook.clone().unwrap();
    assert!(loader.load().snapshot.is_none());
    folder.write("webhooks/plain.toml", URL);
    assert!(Arc::ptr_eq(&good(&mut loader).webhooks["body"], &compiled));
}

fn body(snapshot: &Snapshot, name: &str) -> Arc<crate::template::Template> {
    match &snapshot.webhooks[name].body {
        Body::Json(template) | Body::Text(template) => Arc::clone(template),
        Body::None | Body::Event => panic!("{name} has no template"),
    }
}

#[test]
fn equal_templates_are_compiled_once_also_with_those_kept_from_before() {
    let same = hook("body = '{\"id\":\"{{data.id}}\"}'\n[headers]\nx-a = \"{{data.id}}\"\n");
    let folder = Folder::new(&[("webhooks/a.toml", &same), ("webhooks/b.toml", &same)]);
    let mut loader = Loader::new(folder.source());
    let before = good(&mut loader);
    assert!(Arc::ptr_eq(&body(&before, "a"), &body(&before, "b")));
    let header = |name: &str| &before.webhooks[name].headers[0].1;
    assert!(Arc::ptr_eq(header("a"), header("b")));

    folder.write("webhooks/c.toml", &format!("title = \"c\"\n{same}"));
    let text = "content_type = \"text/plain\"\nbody = '{\"id\":\"{{data.id}}\"}'\n";
    folder.write("webhooks/text.toml", &hook(text));
    let after = good(&mut loader);
    assert!(Arc::ptr_eq(&body(&before, "a"), &body(&after, "c")));
    assert!(!Arc::ptr_eq(&body(&before, "a"), &body(&after, "text")), "another content type escapes otherwise");
}

#[test]
fn a_template_that_holds_a_secret_is_not_handed_on() {
    let same = hook("body = '{\"token\":\"${env:A}\"}'\n");
    let folder = Folder::new(&[("webhooks/a.toml", &same)]);
    folder.set("A", Some("1"));
    let mut loader = Loader::new(folder.source());
    let before = good(&mut loader);
    folder.set("A", Some("2"));
    let after = good(&mut loader);
    let rendered = |snapshot| body(snapshot, "a").render(&serde_json::json!({}), false, 1000).unwrap().text;
    assert_eq!((rendered(&before), rendered(&after)), ("{\"token\":\"1\"}".to_owned(), "{\"token\":\"2\"}".to_owned()));
}

#[test]
fn the_hash_is_of_the_files_and_of_nothing_else() {
    let (here, there) = (five(), five());
    there.set("A", Some("another"));
    there.write("token", "another");
    there.write("unused.json", "{}");
    let hash = |folder: &Folder| good(&mut Loader::new(folder.source())).hash;
    let first = hash(&here);
    assert_eq!(hash(&there), first);
    assert!(first.len() == 12 && u64::from_str_radix(&first, 16).unwrap() < 1 << 48, "{first}");
    let mut seen = vec![first];
    for (name, text) in [
        ("webhooks/plain.toml", "# a comment\nurl = \"https://hooks.example.com/in\"\n"),
        ("webhooks/body.hbs", "{}"),
        ("webhooks/more.toml", URL),
        ("deploy.json", "{\"type\":\"ended\"}"),
        ("outrigger.toml", "[kinds.deploy]\ntype = \"$.type\"\n"),
    ] {
        here.write(name, text);
        seen.push(hash(&here));
    }
    here.remove("webhooks/more.toml");
    fs::rename(here.path("webhooks/plain.toml"), here.path("webhooks/renamed.toml")).unwrap();
    seen.push(hash(&here));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two configurations have one hash");
}

#[test]
fn only_the_first_load_is_a_cold_start() {
    let folder = Folder::new(&[
        ("outrigger.toml", "[config]\non_invalid_webhook = \"quarantine\"\n"),
        ("webhooks/bad.toml", "url = 1\n"),
        ("webhooks/good.toml", URL),
    ]);
    let mut loader = Loader::new(Source { cold_start: true, ..folder.source() });
    let loaded = loader.load();
    assert_eq!((loaded.snapshot.map(|snapshot| snapshot.webhooks.len()), loaded.quarantined.len()), (Some(1), 1));
    assert!(loader.load().snapshot.is_none());
}

#[test]
fn a_thousand_reloads_leave_no_more_than_one_does() {
    let folder = five();
    let mut loader = Loader::new(folder.source());
    good(&mut loader);
    let mut live = Vec::new();
    for round in 0..1_000 {
        folder.write("webhooks/body.hbs", &format!("{{\"round\":{round},\"id\":\"{{{{data.id}}}}\"}}"));
        folder.write("webhooks/plain.toml", if round % 3 == 0 { "url = 1\n" } else { URL });
        let name = |round: u32| format!("webhooks/new-{round}.toml");
        folder.write(&name(round), &hook(&format!("body = '[{round}]'\n")));
        if round > 0 {
            folder.remove(&name(round - 1));
        }
        let loaded = loader.load();
        assert_eq!(loaded.snapshot.is_some(), round % 3 != 0, "{:?}", loaded.diagnostics);
        // As in the process: the one in force and the next one.
        live.extend(loaded.snapshot);
        live.drain(..live.len().saturating_sub(1));
        let kept = [&loader.good, &loader.refused].map(|kept| kept.webhooks.len());
        assert!(kept[0] <= 6 && kept[1] <= 6, "round {round}: {kept:?} webhooks are kept");
        assert!(loader.templates.len() <= 8, "round {round}: {} templates are kept", loader.templates.len());
    }
}

#[test]
fn a_file_is_watched_by_its_own_path() {
    let folder = five();
    let mut loader = Loader::new(folder.source());
    let first = loader.load().watched;
    assert_eq!(loader.load().watched, first, "what is kept is watched as before");
    for name in ["outrigger.toml", "deploy.json", "token", "webhooks", "webhooks/body.hbs", "webhooks/plain.toml"] {
        assert!(first.contains(Path::new(&folder.path(name))), "{name}");
    }
}

#[test]
fn another_kind_of_spool_changes_no_order_before_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("webhooks")).unwrap();
    let write = |sidecar: &str, ordering: &str| {
        std::fs::write(dir.path().join("outrigger.toml"), sidecar).unwrap();
        let hook = format!("url = \"https://hooks.example.com/in\"\n{ordering}");
        std::fs::write(dir.path().join("webhooks/hook.toml"), hook).unwrap();
    };
    let nats = "[spool]\nkind = \"nats\"\nservers = [\"nats://a\"]\n";
    let loader = || {
        let env: crate::config::Environment = Arc::new(|_| None);
        Loader::new(Source { env, cold_start: true, ..Source::new(dir.path()) })
    };
    let is_ordered = |loader: &mut Loader| {
        let snapshot = loader.load().snapshot?;
        Some(!matches!(snapshot.webhooks["hook"].ordering, crate::webhook::ordering::Ordering::None))
    };
    write("", "");
    let mut on_disk = loader();
    assert_eq!(is_ordered(&mut on_disk), Some(true));
    write(nats, "");
    assert_eq!(is_ordered(&mut on_disk), Some(true), "the disk is in force");
    let mut in_nats = loader();
    assert_eq!(is_ordered(&mut in_nats), Some(false));
    write("", "");
    assert_eq!(is_ordered(&mut in_nats), Some(false), "NATS is in force");
    write("", "ordering = \"strict\"\n");
    assert_eq!(is_ordered(&mut in_nats), None, "it keeps none");
}
