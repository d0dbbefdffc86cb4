//! A plan for programs: one document, whose members docs/plan.md lists.

use serde_json::{Map, Value, json};

use super::Plan;
use super::definition::{self, Changed, How};
use super::effect::{Effect, Look};
use super::events::{Occurrence, Origin};
use super::report::{Report, Webhook, in_full};
use super::shown::{Body, Does, Request};

/// How an effect is called.
const fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Appear => "appear",
        Effect::Vanish => "vanish",
        Effect::Change => "change",
        Effect::Break => "break",
        Effect::Mend => "mend",
        Effect::Stuck => "stuck",
    }
}

/// All effects in the order in which they are counted.
const EFFECTS: [Effect; 6] =
    [Effect::Appear, Effect::Vanish, Effect::Change, Effect::Break, Effect::Mend, Effect::Stuck];

/// Writes a plan.
pub(super) fn write(report: &Report<'_>, plan: &Plan) -> String {
    let tally = report.tally;
    let mut deliveries = Map::new();
    deliveries.insert("before".to_owned(), tally.before.into());
    deliveries.insert("after".to_owned(), tally.after.into());
    deliveries.insert("same".to_owned(), tally.same.into());
    for effect in EFFECTS {
        deliveries.insert(word(effect).to_owned(), report.count(effect).into());
    }
    let mut shown = 0;
    let webhooks: Vec<Value> = report.webhooks.iter().map(|one| webhook(report, plan, one, &mut shown)).collect();
    let document = json!({
        "old": report.old.label,
        "new": report.new.label,
        "differs": report.differs,
        "events": report.events.all.len(),
        "samples": report.events.files == 0,
        "deliveries": deliveries,
        "sidecar": report.sidecar.iter().map(changed).collect::<Vec<_>>(),
        "webhooks": webhooks,
    });
    format!("{document:#}\n")
}

fn webhook(report: &Report<'_>, plan: &Plan, webhook: &Webhook<'_>, shown: &mut usize) -> Value {
    let status = match (webhook.old, webhook.new) {
        (false, _) => "added",
        (_, false) => "removed",
        _ => "kept",
    };
    let effects: Vec<Value> = webhook
        .effects
        .iter()
        .map(|(look, events)| {
            let full = in_full(events, plan.all, *shown);
            *shown += full.len();
            effect(report, plan, webhook.name, look, (events, full))
        })
        .collect();
    json!({
        "name": webhook.name,
        "status": status,
        "changed": webhook.changed.iter().map(changed).collect::<Vec<_>>(),
        "effects": effects,
    })
}

/// Effects that look alike: the events that have them, and the first in full.
fn effect(report: &Report<'_>, plan: &Plan, name: &str, look: &Look, (events, full): (&[usize], &[usize])) -> Value {
    let occurrence = |index: &usize| report.events.all.get(*index);
    let shown = full.iter().filter_map(occurrence).map(|one| {
        let sides = report.shown(name, one, look.effect, plan.show_urls);
        json!({
            "event": event(report, one),
            "old": side(&sides.old),
            "new": side(&sides.new),
            "hidden_path_differs": sides.hidden_path_differs,
        })
    });
    let parts = if look.effect == Effect::Change { look.alike.clone() } else { Vec::new() };
    json!({
        "effect": word(look.effect),
        "shadow": look.shadow,
        "count": events.len(),
        "parts": parts,
        "events": events.iter().filter_map(occurrence).map(origin).collect::<Vec<_>>(),
        "shown": shown.collect::<Vec<_>>(),
    })
}

/// Where an event is.
fn origin(occurrence: &Occurrence) -> Value {
    match &occurrence.origin {
        Origin::Line(file, line) => json!({"file": **file, "line": line}),
        Origin::Sample(name) => json!({"sample": **name}),
    }
}

fn event(report: &Report<'_>, occurrence: &Occurrence) -> Value {
    let mut shown = origin(occurrence);
    if let Some(event) = occurrence.event() {
        shown["kind"] = Value::from(&*event.kind);
        shown["type"] = Value::from(&*event.event_type);
        shown["id"] = Value::from(report.id(event));
    }
    shown
}

fn side(does: &Does) -> Value {
    match does {
        Does::Sends(request) => json!({ "request": sent(request) }),
        Does::Fails(problem) => json!({ "problem": problem }),
        Does::Nothing(causes) => json!({ "causes": causes }),
    }
}

fn sent(request: &Request) -> Value {
    let headers: Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let body = match &request.body {
        Body::Json(value) => value.clone(),
        Body::Text(text) => Value::from(text.as_str()),
    };
    json!({"method": request.method, "url": request.url, "headers": headers, "body": body})
}

/// A key that differs. Where its values may be secret there are none.
fn changed(changed: &Changed) -> Value {
    match &changed.how {
        How::Values(old, new) => json!({
            "key": changed.key,
            "old": old.as_ref().map(definition::json),
            "new": new.as_ref().map(definition::json),
        }),
        How::Masked => json!({"key": changed.key, "masked": true}),
        How::Text | How::Content => json!({"key": changed.key}),
    }
}
