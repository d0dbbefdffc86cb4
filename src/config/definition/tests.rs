//! Canaries of every kind in a webhook's file, spelled in every way that TOML has, and none of them shown.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use std::sync::Arc;

use super::*;
use crate::config::{Loaded, load};
use crate::diagnostic::Place as DiagnosticPlace;

/// A folder with these files, loaded with values for its references.
fn loaded(files: &[(&str, &str)]) -> (tempfile::TempDir, Source, Loaded) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("webhooks")).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let env = |name: &str| match name {
        "URL" => Some("https://a.example/canary-in-url".to_owned()),
        "HOST" => Some("a.example".to_owned()),
        "SIGN" => Some("whsec_Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz".to_owned()),
        name if name.len() == 1 => Some(format!("canary-{}", name.to_lowercase())),
        _ => None,
    };
    let source = Source { env: Arc::new(env), ..Source::new(dir.path()) };
    let loaded = load(&source);
    (dir, source, loaded)
}

fn shown_with(files: &[(&str, &str)]) -> ShownDefinition {
    let (_dir, _, loaded) = loaded(files);
    let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    shown_definition(&snapshot.webhooks["hook"])
}

/// What is shown of a webhook's file.
fn shown(text: &str) -> String {
    shown_with(&[("webhooks/hook.toml", text)]).toml
}

const URL: &str = "url = \"https://a.example/\"\n";

#[test]
fn no_canary_is_shown_however_the_file_spells_it() {
    let files = [
        "auth.bearer.token = \"canary\"",
        "auth.bearer = { token = 'canary' }",
        "auth = { bearer = { token = \"canary\" } }",
        "[auth]\nbearer.token = \"canary\"",
        "[auth.bearer]\ntoken = \"canary\"",
        "[auth.bearer]\ntoken = \"\"\"canary\"\"\"",
        "[auth.bearer]\ntoken = '''\ncanary'''",
        "[auth.bearer]\ntoken = \"\"\"\\\n   canary\"\"\"",
        "[auth.bearer]\ntoken = \"\\u0063anary\"",
        "[auth.bearer]\ntoken = \"can\\u0061ry\"\n[headers]\nx-same = \"can\\u0061ry\"",
        "\"auth\".'bearer'.\"tok\\u0065n\" = 'canary'",
        "auth . bearer . token = 'canary' # canary",
        "auth.bearer.token = 'v1-${env:T}-canary'",
        "auth.bearer.token = '$${env:canary}'",
        "auth.basic = { username = 'ana', password = 'canary' }",
        "[auth.basic]\nusername = \"canary-user\"\npassword = \"${env:P}\"",
        "[auth]\napi_key = { header = 'x-key', value = 'canary' }",
        "auth.api_key.header = 'x-key'\nauth.api_key.value = 'Splunk canary'",
        "[auth.oauth2]\ntoken_url = 'https://b.example/canary/x'\nclient_id = 'id'\nclient_secret = 'canary'\nparameters = { resource = 'canary', x = 'canary' }",
        "auth.oauth2 = { token_url = '${env:URL}', client_id = '${env:C}', client_secret = '${env:S}', parameters.p = 'canary' }",
        "signing.standard_webhooks.secrets = ['whsec_Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz', \"${env:SIGN}\"]",
        "[signing]\nstandard_webhooks = { secrets = [\n  # canary-0123456789abcdef\n  'Y2FuYXJ5LXNpZ25pbmctZjAwZC1hNWMz',\n] }",
        "headers.X-Api-Key = 'canary'",
        "[headers]\n\"X-Secret\" = 'canary'\n'cookie' = \"a=canary\"",
        "headers = { Authorization = \"Bearer canary {{data.id}}\", x-token = '{{default data.x \"canary\"}}' }",
        "[headers]\nx-token = \"{{#if data.id}}canary{{/if}}\"",
        "# token = 'canary'\n# the password is canary1\n# url = 'https://a.example/canary'",
        "title = 'see https://a.example/canary and more'",
        "body = '{\"token\": \"canary\"}'",
        "body = \"{\\\"token\\\": \\\"canary\\\", \\\"id\\\": \\\"{{data.id}}\\\"}\"",
        "body = '''\n{\n  \"authorization\": \"Bearer canary\",\n  \"secrets\": [\"canary\"]\n}\n'''",
        "content_type = 'application/x-www-form-urlencoded'\nbody = 'api_key=canary&id={{data.id}}'",
        "body = '{\"text\": \"https://hooks.slack.com/services/canary\"}'",
        "[[tests]]\nname = 'a'\nevent.sample = 'RequestCreated'\nexpect.url = 'https://a.example/canary'\nexpect.headers = { x-token = 'canary' }",
        "[[tests]]\nname = 'a'\nevent.sample = 'RequestCreated'\nresponse = { headers = { set-cookie = 'canary' }, body = '{\"token\": \"canary\"}' }\nexpect.outcome = 'accepted'",
    ];
    for file in files {
        let toml = shown(&format!("{URL}{file}\n"));
        let lower = toml.to_lowercase();
        assert!(!lower.contains("canary") && !lower.contains("y2fuyxj5"), "{file}\n{toml}");
        assert!(toml.starts_with("url = \"https://a.example/***\"\n"), "{toml}");
        assert!(!toml.contains("\\u0061") && !toml.contains("\\u0063"), "{toml}");
        toml::from_str::<toml::Table>(&toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    }
}

#[test]
fn a_url_is_shown_to_its_host_however_it_is_spelled() {
    for (written, expected) in [
        ("'https://a.example/canary?x=canary'", "\"https://a.example/***\""),
        ("\"\"\"https://a.example/canary\"\"\"", "\"https://a.example/***\""),
        ("'''\nhttps://a.example/canary'''", "\"https://a.example/***\""),
        ("\"https://a.ex\\u0061mple/canary\"", "\"https://a.example/***\""),
        ("\"https://a.example/{{data.id}}/canary\"", "\"https://a.example/***\""),
        ("\"${env:URL}\"", "\"${env:URL}\""),
        ("\"${env:URL}/canary\"", "\"${env:URL}/***\""),
        ("\"https://${env:HOST}/canary/${env:X}\"", "\"https://${env:HOST}/***\""),
    ] {
        assert_eq!(shown(&format!("url = {written} # here")), format!("url = {expected} # here"), "{written}");
        let dotted = format!("\"url\" = {written}\n");
        assert_eq!(shown(&dotted), format!("\"url\" = {expected}\n"));
    }
}

#[test]
fn what_is_no_secret_is_shown_as_it_is_written() {
    let file = r#"#:schema ../schema/webhook.json
# Starts a flow when access is asked for, for a token's sake.
title    = "A title: with a token"
triggers = ["RequestCreated"]   # and nothing else
url      = "https://a.example/***"
timeout  = "60s"
ordering = { key = "$.data.id" }
body = '''
{
  "id": "{{data.id}}", "key": "OPS", "secret": "${env:S}", "token": "{{data.id}}"
}
'''

[headers]
x-api-client-token = "${env:T}"   # or "${file:/run/secrets/okta-client-token}"
x-bearer-token = "Bearer ${env:T}"
x-atlassian-token = "no-check"
x-request-token = "{{data.id}}"
x-team = "sre"

[auth]
basic = { username = "ana", password = "${env:P}" }

[[filters]]
field  = "integration"
any_of = ["prod-*", "staging"]

[[tests]]
name   = "a granted production request"
event  = { sample = "RequestCreated" }
expect = { headers = { x-api-client-token = "***" }, body = { key = "OPS" } }
"#;
    assert_eq!(shown(file), file);
}

#[test]
fn a_body_file_is_shown_beside_its_webhook_and_is_what_is_in_force() {
    let files = [
        ("webhooks/hook.toml", "url = \"https://a.example/canary-path\"\nbody_file = \"body.hbs\"\n"),
        (
            "webhooks/body.hbs",
            "{\"id\": \"{{data.id}}\", \"secret\": \"canary-typed\", \"x\": \"${env:X}\", \"at\": \"/canary-path\"}",
        ),
    ];
    let (dir, _, loaded) = loaded(&files);
    std::fs::write(dir.path().join("webhooks/hook.toml"), "another").unwrap();
    std::fs::write(dir.path().join("webhooks/body.hbs"), "another").unwrap();
    let snapshot = loaded.snapshot.unwrap();
    let shown = shown_definition(&snapshot.webhooks["hook"]);
    assert_eq!(shown.file, "webhooks/hook.toml");
    assert_eq!(shown.toml, "url = \"https://a.example/***\"\nbody_file = \"body.hbs\"\n");
    assert_eq!(shown.body_file.as_deref(), Some("body.hbs"));
    let template = "{\"id\": \"{{data.id}}\", \"secret\": \"***\", \"x\": \"${env:X}\", \"at\": \"***\"}";
    assert_eq!(shown.template.as_deref(), Some(template));
    assert!(!format!("{:?}", snapshot.webhooks["hook"]).contains("canary"));
}

#[test]
fn a_body_in_the_file_is_a_template_and_an_event_is_none() {
    let with = shown_with(&[(
        "webhooks/hook.toml",
        "url = 'https://a.example/'\nbody = \"{\\\"a\\\": \\\"{{data.id}}\\\"}\"",
    )]);
    assert_eq!((with.template.as_deref(), with.body_file), (Some("{\"a\": \"{{data.id}}\"}"), None));
    assert_eq!(shown_with(&[("webhooks/hook.toml", "url = 'https://a.example/'")]).template, None);
}

#[test]
fn what_is_typed_is_masked_in_what_receivers_repeat() {
    let files = [(
        "webhooks/hook.toml",
        "url = 'https://a.example/'\nbody = '{\"token\": \"canary-body\", \"x\": \"{{data.id}}\"}'\n[headers]\nx-api-key = \"canary-\\u0068eader\"\n",
    )];
    let (_dir, _, loaded) = loaded(&files);
    let mask = loaded.snapshot.unwrap().webhooks["hook"].mask.clone();
    assert_eq!(mask.apply("x canary-header y canary-body z"), "x *** y *** z");
}

#[test]
fn the_lines_of_diagnostics_hide_whatever_a_definition_does() {
    let files = [
        (
            "webhooks/hook.toml",
            "url = \"https://a.example/canary-path\"\nulr = 'https://b.example/canary?x' # canary0123456789\n[auth.bearer]\ntoken = 'canary'\ntokn = 'canary'\nbody = '{\"token\": \"canary\"}'\n",
        ),
        ("webhooks/open.toml", "url = https://b.example/canary\nauth.bearer.token = 'canary'\n[x\n"),
        ("webhooks/body.toml", "url = 'https://a.example/'\nbody_file = 'body.hbs'"),
        ("webhooks/body.hbs", "{\"token\": \"canary\", \"url\": \"https://a.example/canary\" {{data.frendly_id}"),
        ("outrigger.toml", "[admin]\ntoken = \"canary\" # https://a.example/canary\nx = 1\n"),
    ];
    let (_dir, source, loaded) = loaded(&files);
    let mut diagnostics = loaded.diagnostics;
    // Whatever line a fault is in, its text is shown.
    for (file, text) in files {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let place = DiagnosticPlace::locate(text, start..start + 1);
            start += line.len();
            diagnostics.push(Diagnostic {
                level: crate::diagnostic::Level::Error,
                lint: None,
                file: file.to_owned(),
                place: Some(place),
                problem: String::new(),
                fix: None,
            });
        }
    }
    assert!(diagnostics.iter().any(|one| one.to_string().contains("canary")), "there is something to hide");
    hide_lines(&source, &mut diagnostics);
    for one in &diagnostics {
        let text = one.place.as_ref().map_or("", |place| &*place.text);
        assert!(!text.contains("canary"), "{one}");
    }
    let lines: Vec<&str> = diagnostics.iter().filter_map(|one| Some(&*one.place.as_ref()?.text)).collect();
    assert!(lines.iter().any(|line| line.starts_with("url = \"https://a.example/*")), "{lines:?}");
}
