//! What people on call see and repair: the admin API and the commands, against the real program.

mod api;
mod commands;
mod definition;
mod guard;
mod history;
mod invocations;
mod many;
mod openapi;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{self, HttpAnswer};
use crate::support::process::Ended;
use crate::support::receiver::Target;
use crate::support::sidecar::{Sidecar, Written};

/// What a program sends with what changes something.
const MARK: (&str, &str) = ("outrigger-request", "1");
const NDJSON: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

/// A webhook's file that posts to this URL.
fn hook(url: &str, rest: &str) -> String {
    format!("url = {url:?}\n{rest}\n")
}

/// Asks the admin listener as a program of this machine does.
#[track_caller]
fn ask(sidecar: &Sidecar, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    let address = sidecar.address("admin");
    let host = address.to_string();
    let mut all = vec![("host", host.as_str())];
    all.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    all.extend(headers);
    http::exchange(address, method, path, &all, body.as_bytes())
        .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", sidecar.log()))
}

#[track_caller]
fn get(sidecar: &Sidecar, path: &str) -> Value {
    let answer = ask(sidecar, "GET", path, &[], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}: {answer:?}");
    answer.json()
}

#[track_caller]
fn post(sidecar: &Sidecar, path: &str, body: &Value) -> Value {
    let answer = ask(sidecar, "POST", path, &[MARK], &body.to_string());
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}: {answer:?}");
    answer.json()
}

/// Runs a command against the running sidecar.
#[track_caller]
fn run(sidecar: &Sidecar, arguments: &[&str]) -> Ended {
    let admin = format!("http://{}", sidecar.address("admin"));
    sidecar.written().run(&[arguments, &["--admin", &admin]].concat())
}

/// Posts so many events and waits until all of their deliveries to this webhook are dead.
#[track_caller]
fn bury(sidecar: &Sidecar, webhook: &str, count: usize) {
    let dead = [("webhook", webhook), ("outcome", "dead")];
    let before = sidecar.metric("outrigger_deliveries_total", &dead).unwrap_or_default();
    let lines: Vec<String> = (0..count)
        .map(|number| json!({ "event_type": "RequestCreated", "data": { "id": format!("r-{number}") } }).to_string())
        .collect();
    let answer = sidecar.post_with("/v1/events", NDJSON, lines.join("\n").as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    let count = u32::try_from(count).expect("few");
    sidecar.wait_metric("outrigger_deliveries_total", &dead, before + f64::from(count));
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", webhook)], 0.0);
}

/// Edits a file of the configuration and waits until that is in force.
#[track_caller]
fn edit(sidecar: &Sidecar, edit: impl FnOnce(&Written)) {
    let published = [("result", "published")];
    let before = sidecar.metric("outrigger_config_reloads_total", &published).unwrap_or_default();
    edit(sidecar.written());
    sidecar.wait_metric("outrigger_config_reloads_total", &published, before + 1.0);
}

/// Removes a webhook's file.
fn remove(written: &Written, name: &str) {
    std::fs::remove_file(written.config().join(format!("webhooks/{name}.toml"))).expect("it is there");
}

/// Waits until so many deliveries to this webhook have arrived, and none is left.
#[track_caller]
fn wait_delivered(sidecar: &Sidecar, webhook: &str, count: f64) {
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", webhook), ("outcome", "delivered")], count);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", webhook)], 0.0);
}

/// The `webhook-id` of every request that came in from this one on.
fn ids_from(target: &Target, first: usize) -> BTreeSet<String> {
    target.recorded().iter().skip(first).map(|seen| seen.header("webhook-id").to_owned()).collect()
}

/// The ids of all dead letters, in the order of the list.
#[track_caller]
fn listed(sidecar: &Sidecar, query: &str) -> Vec<String> {
    let letters = get(sidecar, &format!("/api/v1/dead-letters?{query}"))["dead_letters"].take();
    let letters = letters.as_array().cloned().expect("a list");
    letters.iter().map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect()
}
