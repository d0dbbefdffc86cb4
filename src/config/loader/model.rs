//! A loader that is led through random edits, held against a first load of the same files after each of them.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;

use super::tests::Folder;
use super::*;
use crate::config::load;
use crate::event::{Event, EventId};
use crate::webhook::Auth;

/// One edit: a thing, and which of its states it takes; the first is the state at the beginning.
#[derive(Clone, Debug)]
struct Edit {
    thing: usize,
    state: usize,
}

/// Files and variables (those with a `$`) with the states they may be in; `None` is not being there.
const THINGS: [(&str, &[Option<&str>]); 12] = [
    (
        "outrigger.toml",
        &[
            Some(SIDECAR),
            None,
            Some(
                "[defaults]\ntimeout = \"5s\"\n[egress]\nca_file = \"ca.pem\"\n[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n",
            ),
            Some("[egress]\nallowed_hosts = [\"*.example.com\"]\n[kinds.deploy]\ntype = \"$.kind\"\n"),
            Some("[egress]\nallowed_hosts = [\"*.example.net\"]\nallow_networks = [\"10.0.0.0/8\"]\n"),
            Some("[defaults]\ntimeout = \"5 parsecs\"\n"),
            Some("no toml"),
        ],
    ),
    ("ca.pem", &[Some(PEM), None, Some(OTHER_PEM), Some("no certificate")]),
    ("deploy.json", &[Some("{\"type\":\"started\",\"kind\":\"k\"}"), None, Some("{\"type\":\"ended\"}"), Some("[]")]),
    ("token", &[Some("one\n"), None, Some("two"), Some("two\nlines"), Some("one")]),
    ("$A", &[Some("1"), None, Some("2")]),
    ("$HOST", &[Some("hooks.example.com"), None, Some("hooks.example.net"), Some("not a host")]),
    (
        "webhooks/body.hbs",
        &[Some(BODY), None, Some("{\"other\":\"{{data.frendly_id}}\"}"), Some("{\"open\":"), Some("${env:A}")],
    ),
    (
        "webhooks/a.toml",
        &[
            Some("url = \"https://${env:HOST}/in\"\nbody_file = \"body.hbs\"\n[headers]\nx-a = \"${env:A}\"\n"),
            None,
            Some("url = \"https://hooks.example.com/in\"\nstatus = \"inactive\"\n[headers]\nx-a = \"${env:A}\"\n"),
            Some("url = 1\n"),
            Some("[[tests]]\nname = \"t\"\nevent = { sample = \"RequestCreated\" }\nexpect = { delivered = true }\n"),
        ],
    ),
    (
        "webhooks/b.toml",
        &[
            Some(
                "url = \"https://hooks.example.com/in\"\nbody = '''{\"text\":\"{{data.id}} ${env:A}\"}'''\n[auth]\nbasic = { username = \"${env:A}\", password = \"${file:token}\" }\n",
            ),
            None,
            Some(
                "url = \"https://hooks.example.com/in\"\nbody_file = \"body.hbs\"\n[[tests]]\nname = \"t\"\nevent = { sample = \"RequestCreated\" }\nexpect = { delivered = true }\n[[tests]]\nnam = 1\n",
            ),
            Some("url = \"https://hooks.example.com/in\"\nkind = \"deploy\"\n[headers]\nx-b = \"{{kind}}\"\n"),
        ],
    ),
    (
        "webhooks/c.toml",
        &[Some("url = \"https://hooks.example.com/in\"\nkind = \"deploy\"\nordering = \"strict\"\n"), None],
    ),
    ("webhooks/C.toml", &[None, Some("url = \"https://hooks.example.com/C\"\n")]),
    (
        "webhooks/d.toml",
        &[Some("url = \"https://hooks.example.com/d\"\nbody = '''{\"open\": {{data.frendly_id}}}'''\n"), None],
    ),
];

const SIDECAR: &str = "[kinds.deploy]\ntype = \"$.type\"\nsample = \"deploy.json\"\n[egress]\nca_file = \"ca.pem\"\n";
const PEM: &str = include_str!("../../../tests/faults/97-tls-of-another-key/cert.pem");
/// The same twice: another text, and other certificates.
const OTHER_PEM: &str = concat!(
    include_str!("../../../tests/faults/97-tls-of-another-key/cert.pem"),
    include_str!("../../../tests/faults/97-tls-of-another-key/cert.pem")
);
const BODY: &str = "{\"id\":\"{{data.id}}\"}";

fn apply(folder: &Folder, (thing, text): (&str, Option<&str>)) {
    match (thing.strip_prefix('$'), text) {
        (Some(variable), value) => folder.set(variable, value),
        (None, Some(text)) => folder.write(thing, text),
        (None, None) => folder.remove(thing),
    }
}

/// All that a load says, and what its webhooks do.
fn said(loaded: &Loaded) -> String {
    let Loaded { snapshot, diagnostics, tests, test_diagnostics, watched, quarantined } = loaded;
    let mut said = format!("{diagnostics:#?}\n{test_diagnostics:#?}\n{tests:#?}\n{watched:#?}\n{quarantined:?}\n");
    let Some(snapshot) = snapshot else { return said };
    let Snapshot { settings, kinds, webhooks, index, hash } = snapshot;
    // A kind's samples are long, and whatever they are is in its fingerprint.
    let kinds: Vec<_> = kinds.values().map(|kind| (&kind.name, kind.fingerprint, kind.samples.len())).collect();
    let _ = write!(said, "{hash}\n{settings:#?}\n{kinds:?}\n");
    let raw = Bytes::from_static(br#"{"type":"started","kind":"k","data":{"id":"r-1"}}"#);
    let id = EventId::from_bytes([1; 16]);
    let event = Event::new(id, "request".into(), "RequestCreated".into(), Timestamp::UNIX_EPOCH, raw);
    for (name, webhook) in webhooks {
        let auth = match &webhook.auth {
            Some(Auth::Header(name, secret)) => Some((name, secret.expose())),
            Some(Auth::OAuth2(_)) | None => None,
        };
        let _ = writeln!(said, "{name} {:x} {:?} {auth:?}", webhook.fingerprint, webhook.timeout);
        match webhook.render(&event) {
            Ok(request) => {
                let values: Vec<_> = request.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
                let _ = writeln!(said, "{} {values:?} {:?} {:?}", request.uri, request.body, request.missing);
            }
            Err(failure) => {
                let _ = writeln!(said, "{}", failure.detail);
            }
        }
        for event_type in ["RequestCreated", "started"] {
            let found = index.triggered(&webhook.kind.name, event_type).iter().any(|found| Arc::ptr_eq(found, webhook));
            assert_eq!(found, webhook.status != crate::webhook::Status::Inactive, "{name} in the index");
        }
    }
    said
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let edit = (0..THINGS.len(), any::<proptest::sample::Index>())
        // Half of the edits mend.
        .prop_map(|(thing, state)| Edit { thing, state: state.index(2 * THINGS[thing].1.len()) })
        .prop_map(|edit| Edit { state: if edit.state < THINGS[edit.thing].1.len() { edit.state } else { 0 }, ..edit });
    proptest::collection::vec(proptest::collection::vec(edit, 0..4), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_loader_that_saw_anything_answers_as_one_that_saw_nothing(rounds in edits()) {
        let folder = Folder::new(&[]);
        for (thing, states) in THINGS {
            apply(&folder, (thing, states[0]));
        }
        let mut loader = Loader::new(folder.source());
        let mut before = None;
        for round in std::iter::once(Vec::new()).chain(rounds) {
            for edit in &round {
                let (thing, states) = THINGS[edit.thing];
                apply(&folder, (thing, states[edit.state]));
            }
            let (loaded, first) = (loader.load(), load(&folder.source()));
            prop_assert_eq!(said(&loaded), said(&first), "after {:?}", round);
            let Some(snapshot) = loaded.snapshot else { continue };
            let kept = before.as_ref().filter(|before: &&Snapshot| before.settings.egress == snapshot.settings.egress);
            for (name, webhook) in &snapshot.webhooks {
                let known = kept.and_then(|before| before.webhooks.get(name));
                if let Some(known) = known.filter(|known| known.fingerprint == webhook.fingerprint) {
                    prop_assert!(Arc::ptr_eq(known, webhook), "{} was compiled again after {:?}", name, round);
                }
            }
            before = Some(snapshot);
        }
    }
}
