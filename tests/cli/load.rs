//! What loading promises to those who start, reload and watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use outrigger::config::{Listen, Loaded, Snapshot, Source, load};
use outrigger::diagnostic::Level;
use outrigger::webhook::Auth;

use super::folder;

const URL: &str = "url = \"https://hooks.example.com/in\"\n";

fn source(dir: &std::path::Path, variables: &[(&str, &str)]) -> Source {
    let variables: BTreeMap<String, String> = variables.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    Source { env: Arc::new(move |name| variables.get(name).cloned()), ..Source::new(dir) }
}

fn fingerprint(loaded: &Loaded) -> u64 {
    loaded.snapshot.as_ref().unwrap().webhooks["hook"].fingerprint
}

#[test]
fn only_a_cold_start_sets_faulty_webhooks_aside() {
    let folder = folder(&[
        ("outrigger.toml", "[config]\non_invalid_webhook = \"quarantine\"\n"),
        ("webhooks/bad.toml", "url = 1\n"),
        ("webhooks/good.toml", URL),
    ]);
    let reload = source(folder.path(), &[]);
    assert!(load(&reload).snapshot.is_none());

    let loaded = load(&Source { cold_start: true, ..reload });
    let names: Vec<_> = loaded.snapshot.unwrap().webhooks.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["good"]);
    assert_eq!(*loaded.quarantined, [Arc::from("bad")]);
    assert!(loaded.diagnostics.iter().all(|one| one.level == Level::Warning && one.file == "webhooks/bad.toml"));
    assert!(!loaded.diagnostics.is_empty());
}

#[test]
fn a_faulty_sidecar_file_refuses_even_a_cold_start_that_sets_webhooks_aside() {
    let folder = folder(&[
        ("outrigger.toml", "[config]\non_invalid_webhook = \"quarantine\"\n[log]\nlevel = 1\n"),
        ("webhooks/good.toml", URL),
    ]);
    assert!(load(&Source { cold_start: true, ..source(folder.path(), &[]) }).snapshot.is_none());
}

#[test]
fn every_file_that_was_looked_for_is_watched() {
    let hook = format!("{URL}body_file = \"hook.hbs\"\n[headers]\nx-a = \"${{file:secrets/a}}\"\n");
    let folder = folder(&[("outrigger.toml", "[egress]\nca_file = \"ca.pem\"\n"), ("webhooks/hook.toml", &hook)]);
    let loaded = load(&source(folder.path(), &[]));
    assert!(loaded.snapshot.is_none());
    let watched: Vec<_> =
        loaded.watched.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        watched,
        ["ca.pem", "outrigger.toml", "secrets/a", "webhooks", "webhooks/hook.hbs", "webhooks/hook.toml"]
    );
}

#[test]
fn a_fingerprint_changes_with_what_decides_the_webhook_and_with_nothing_else() {
    let hook = format!(
        "{URL}body_file = \"hook.hbs\"\n[headers]\nx-a = \"${{env:A}}\"\n[auth]\nbearer = {{ token = \"${{file:token}}\" }}\n"
    );
    let folder = folder(&[
        ("webhooks/hook.toml", &hook),
        ("webhooks/hook.hbs", "{}"),
        ("token", "one\n"),
        ("webhooks/other.toml", URL),
    ]);
    let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
    let read = |variables: &[(&str, &str)]| fingerprint(&load(&source(folder.path(), variables)));
    let first = read(&[("A", "1")]);
    assert_eq!(read(&[("A", "1")]), first);
    write("webhooks/other.toml", &format!("{URL}title = \"x\"\n"));
    write("token", "one");
    assert_eq!(read(&[("A", "1")]), first, "another webhook, or the newline that is dropped");
    let mut seen = vec![first, read(&[("A", "2")])];
    write("token", "two");
    seen.push(read(&[("A", "1")]));
    write("webhooks/hook.hbs", "{ }");
    seen.push(read(&[("A", "1")]));
    write("outrigger.toml", "[defaults]\ntimeout = \"5s\"\n");
    seen.push(read(&[("A", "1")]));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two changes gave one fingerprint");
}

#[test]
fn a_flag_stands_above_a_variable_and_a_variable_above_the_file() {
    let folder = folder(&[
        (
            "outrigger.toml",
            "[ingest]\nlisten = \"127.0.0.1:1\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n[egress]\nallow_ports = [1]\n",
        ),
        ("webhooks/hook.toml", "url = \"https://hooks.example.com:8443/in\"\n"),
    ]);
    let variables = [
        ("OUTRIGGER_INGEST_LISTEN", "127.0.0.1:2"),
        ("OUTRIGGER_METRICS_LISTEN", "unix:/run/m.sock"),
        ("OUTRIGGER_EGRESS_ALLOW_PORTS", "[8443]"),
        ("OUTRIGGER_SHUTDOWN_GRACE", "7"),
    ];
    let overrides = vec![("ingest.listen".to_owned(), "127.0.0.1:3".to_owned())];
    let loaded = load(&Source { overrides, ..source(folder.path(), &variables) });
    assert_eq!(loaded.diagnostics, []);
    let settings = loaded.snapshot.unwrap().settings;
    assert_eq!(settings.ingest.listen, Listen::Tcp("127.0.0.1:3".parse().unwrap()));
    assert_eq!(settings.metrics.listen, Listen::Unix("/run/m.sock".into()));
    assert_eq!(settings.egress.allow_ports, [443, 8443]);
    assert_eq!(settings.shutdown.grace.as_secs(), 7);
}

#[test]
fn the_shipped_sidecar_file_says_the_defaults() {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let shipped = std::fs::read_to_string(config.join("outrigger.toml")).unwrap();
    let (with, without) =
        (folder(&[("outrigger.toml", &shipped), ("webhooks/hook.toml", URL)]), folder(&[("webhooks/hook.toml", URL)]));
    let (with, without) = (load(&source(with.path(), &[])), load(&source(without.path(), &[])));
    assert_eq!(with.diagnostics, []);
    let said = |loaded: Loaded| {
        let Snapshot { settings, kinds, webhooks, index, hash: _ } = loaded.snapshot.unwrap();
        format!("{settings:?} {kinds:?} {webhooks:?} {index:?}")
    };
    assert_eq!(said(with), said(without));
}

#[test]
fn the_shipped_sidecar_file_names_every_key() {
    let shipped = include_str!("../../config/outrigger.toml");
    for key in outrigger::config::SIDECAR {
        assert!(shipped.contains(&format!("{} = ", key.key)), "{}.{} is missing", key.table, key.key);
    }
}

#[test]
fn a_literal_dollar_brace_is_no_reference() {
    let hook = "url = \"https://hooks.example.com/in\"\n[auth]\nbasic = { username = \"ana\", password = \"a$${b}${env:P}\" }\n";
    let folder = folder(&[("webhooks/hook.toml", hook)]);
    let loaded = load(&source(folder.path(), &[("P", "${env:Q}")]));
    assert_eq!(loaded.diagnostics, []);
    let webhooks = loaded.snapshot.unwrap().webhooks;
    let Some(Auth::Header(_, auth)) = &webhooks["hook"].auth else { panic!("it authenticates") };
    // ana:a${b}${env:Q}
    assert_eq!(auth.expose(), "Basic YW5hOmEke2J9JHtlbnY6UX0=");
}

/// What configuration is made of, right and wrong.
const PIECES: [&str; 44] = [
    "url",
    "body",
    "headers",
    "auth",
    "filters",
    "tests",
    "triggers",
    "retry",
    "limits",
    "kinds",
    "x",
    "=",
    ".",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\n",
    "\r\n",
    " ",
    ",",
    "https://",
    "a.example",
    "/",
    ":",
    "@",
    "{{",
    "}}",
    "{{#if a}}",
    "{{/if}}",
    "${",
    "${env:A}",
    "$${",
    "\\",
    "\\u00e9",
    "ü",
    "1",
    "true",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_in_a_file_is_more_than_a_diagnostic(
        hook in proptest::collection::vec(0..PIECES.len(), 0..30),
        url in proptest::collection::vec(0..PIECES.len(), 0..8),
        key in 0..12_usize,
    ) {
        let text = |pieces: &[usize]| pieces.iter().map(|piece| PIECES[*piece]).collect::<String>();
        let key = ["url", "body", "title", "kind", "headers.x", "auth.bearer.token", "timeout", "method", "triggers", "content_type", "status", "body_file"][key];
        let files = [
            ("webhooks/hook.toml", text(&hook)),
            ("webhooks/value.toml", format!("{URL}{key} = '''{}'''\n", text(&url))),
            ("webhooks/url.toml", format!("url = '''https://{}'''\n", text(&url))),
            ("outrigger.toml", text(&hook)),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
        let folder = folder(&files);
        for diagnostic in load(&source(folder.path(), &[("A", "ä\n")])).diagnostics {
            prop_assert!(!diagnostic.to_string().is_empty());
        }
    }
}
