//! Templates: a source compiled and rendered in every format, and as a webhook's URL, header and body.
//!
//! A case is a source, a line `---`, and an event.

use bytes::Bytes;
use outrigger::config::{Source, load};
use outrigger::event::Event;
use outrigger::secret::Secret;
use outrigger::template::{Format, Template};
use outrigger::webhook::Webhook;
use serde_json::Value;

use super::{Target, event_id, files, folder, now, requests, source};

pub const TARGET: Target = Target { name: "templates", run, seeds };

/// How long a rendered text may be.
const BYTES_MAX: usize = 64 * 1024;
/// What every reference refers to: it would be seen wherever it is not escaped.
const VALUE: &str = "a\"b\\c/d?e&f#g h";
/// What stands between a source and its event.
const BETWEEN: &str = "\n---\n";

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (template, event) = text.split_once(BETWEEN).unwrap_or((&text, "{\"a\":[{\"b\":\"c\\n\"}],\"d\":1.50}"));
    let Ok(event) = serde_json::from_str::<Value>(event) else { return };
    let mut compiles = false;
    for format in [Format::Json, Format::Text, Format::Form, Format::Url, Format::Header] {
        compiles |= by_itself(template, format, &event);
    }
    if compiles && event.is_object() {
        in_a_webhook(template, &event);
    }
}

/// Whether it compiles.
fn by_itself(text: &str, format: Format, event: &Value) -> bool {
    let template = match Template::compile(text, format, &mut |_| Ok(Secret::new(VALUE.to_owned()))) {
        Ok(template) => template,
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(text.get(fault.at.clone()).is_some() && fault.fix.is_some(), "{fault:?} in {text:?}");
            }
            return false;
        }
    };
    let _ = format!("{template:?}");
    for fault in
        template.survey(&serde_json::json!({"properties": {"a": {"items": {}}}, "additionalProperties": false}))
    {
        assert!(text.get(fault.at.clone()).is_some(), "{fault:?} in {text:?}");
    }
    let rendered = template.render(event, false, BYTES_MAX);
    if let Ok(strict) = template.render(event, true, BYTES_MAX) {
        assert_eq!(Ok(&strict), rendered.as_ref(), "strict templates print the same or nothing");
    }
    let Ok(rendered) = rendered else { return true };
    assert!(rendered.text.len() <= BYTES_MAX);
    assert!(!template.is_fixed() || rendered.missing.is_empty());
    // Where there are no blocks and nothing is raw, no value changes what stands around it.
    if let Ok(bare) = template.render(&Value::Null, false, BYTES_MAX)
        && !["{{#", "{{^", "{{~#", "{{~^", "{{{", "{{&", "{{~{", "{{~&"].iter().any(|mark| text.contains(mark))
    {
        match format {
            Format::Json => assert_same_places(&bare.text, &rendered.text, text),
            Format::Url => assert_same_count(&bare.text, &rendered.text, "/?#&=;:@\\ \"<>%", text),
            Format::Form => assert_same_count(&bare.text, &rendered.text, "&=;", text),
            Format::Header => assert!(rendered.text.is_ascii(), "{text:?} -> {rendered:?}"),
            Format::Text => {}
        }
    }
    true
}

/// What is valid JSON for an event that has nothing is valid for every other, with every value in its place.
fn assert_same_places(bare: &str, rendered: &str, text: &str) {
    let Ok(bare) = serde_json::from_str::<Value>(bare) else { return };
    let read = serde_json::from_str::<Value>(rendered);
    // Two documents that are deep enough become one that the reader refuses, valid as it is.
    if read.as_ref().is_err_and(|error| error.to_string().contains("recursion limit")) {
        return;
    }
    let read = read.unwrap_or_else(|error| panic!("{error}: {text:?} -> {rendered:?}"));
    let helps =
        text.split("{{").skip(1).any(|tag| tag.split("}}").next().unwrap_or_default().trim().contains([' ', '(']));
    assert!(helps || is_same_place(&bare, &read), "{text:?} -> {rendered:?}");
}

fn is_same_place(bare: &Value, rendered: &Value) -> bool {
    match (bare, rendered) {
        (Value::Null, _) | (Value::String(_), Value::String(_)) => true,
        (Value::Array(bare), Value::Array(rendered)) => {
            bare.len() == rendered.len() && bare.iter().zip(rendered).all(|(bare, other)| is_same_place(bare, other))
        }
        (Value::Object(bare), Value::Object(rendered)) => {
            // A member's name may be a value, too.
            bare.iter().all(|(name, bare)| rendered.get(name).is_none_or(|other| is_same_place(bare, other)))
        }
        (bare, rendered) => bare == rendered,
    }
}

/// No value brings one of these signs in or takes one out; a percent sign is that of an encoded byte, so it is not counted.
fn assert_same_count(bare: &str, rendered: &str, signs: &str, text: &str) {
    for sign in signs.chars().filter(|sign| *sign != '%') {
        assert_eq!(bare.matches(sign).count(), rendered.matches(sign).count(), "{sign}: {text:?} -> {rendered:?}");
    }
    let controls = |text: &str| text.chars().filter(|c| c.is_control() || !c.is_ascii()).count();
    assert_eq!(controls(bare), controls(rendered), "{text:?} -> {rendered:?}");
}

/// As a URL, as a header and as a body, each in a webhook of its own: what one is refused for is no fault of the others.
fn in_a_webhook(template: &str, event: &Value) {
    let quoted = Value::from(template).to_string().replace('\u{7f}', "\\u007f");
    let url = Value::from(format!("https://example.com/a/{template}")).to_string().replace('\u{7f}', "\\u007f");
    let folder = folder(&[
        ("outrigger.toml", b"config.on_invalid_webhook = 'quarantine'"),
        ("webhooks/sane.toml", b"url = 'https://example.com/'"),
        ("webhooks/url.toml", format!("method = 'GET'\nurl = {url}").as_bytes()),
        ("webhooks/header.toml", format!("url = 'https://example.com/'\nheaders.x-header = {quoted}").as_bytes()),
        ("webhooks/json.toml", format!("url = 'https://example.com/'\nbody = {quoted}").as_bytes()),
        (
            "webhooks/form.toml",
            format!(
                "url = 'https://example.com/'\ncontent_type = 'application/x-www-form-urlencoded'\nbody = {quoted}"
            )
            .as_bytes(),
        ),
    ]);
    let loaded = load(&Source { cold_start: true, ..source(folder.path(), VALUE) });
    for diagnostic in &loaded.diagnostics {
        assert!(!diagnostic.to_string().is_empty() && !diagnostic.for_log().contains('\n'), "{diagnostic}");
    }
    let snapshot = loaded.snapshot.expect("a faulty webhook is set aside");
    let raw = Bytes::from(event.to_string());
    for webhook in snapshot.webhooks.values() {
        let event = Event::new(event_id(), "request".into(), "RequestCreated".into(), now(), raw.clone());
        let Ok(request) = webhook.render(&event) else { continue };
        requests::assert_sendable(webhook, &event, &request);
        if &*webhook.name == "url" {
            assert_in_place(webhook, request.uri.path());
        }
    }
}

/// Nothing that servers resolve away leads out of the path that the webhook names.
fn assert_in_place(webhook: &Webhook, path: &str) {
    if webhook.url.templated {
        assert!(path.starts_with("/a/"), "{path}");
        assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{path}");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let event = files("config/events").into_iter().find(|(name, _)| name == "request-granted.json");
    let event = event.map(|(_, event)| event).unwrap_or_default();
    let mut seeds = Vec::new();
    for (name, text) in files("config/webhooks") {
        let Ok(text) = String::from_utf8(text) else { continue };
        for (number, body) in text.split("'''").skip(1).step_by(2).enumerate() {
            let seed = [body.as_bytes(), BETWEEN.as_bytes(), &event].concat();
            seeds.push((format!("{name}-{number}.txt"), seed));
        }
    }
    let docs =
        String::from_utf8(files("docs").into_iter().find(|(name, _)| name == "templates.md").expect("it is there").1);
    for (number, line) in docs.unwrap_or_default().lines().filter(|line| line.contains("{{")).enumerate() {
        seeds.push((format!("docs-{number}.txt"), line.trim_start_matches(['|', ' ', '`']).into()));
    }
    seeds
}
