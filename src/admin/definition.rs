//! `GET /api/v1/webhooks/{name}`: one webhook in full. Its file as it is in force, its filters in words, and on request what it makes
//! of one of its kind's samples; without a secret in any of it.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::filter::nonsense;
use crate::admin::query::Parameters;
use crate::config::shown_definition;
use crate::diagnostic::nearest;
use crate::event::{Event, EventId};
use crate::kind::{Kind, Sample};
use crate::plan::refusals;
use crate::server::problem::Problem;
use crate::shown;
use crate::webhook::request::WEBHOOK_ID;
use crate::webhook::{Status, Webhook};

/// The one parameter.
const SAMPLE: &str = "sample";

/// Why a webhook takes nothing, whatever the event.
const INACTIVE: &str = "it is inactive";

/// The row of a webhook with its definition; without one (its file is faulty or gone) there is nothing more to say.
pub(super) fn show(mut row: Value, webhook: Option<&Webhook>, query: &str) -> Result<Value, Problem> {
    let parameters = Parameters::parse(query, &[SAMPLE])?;
    let members = match webhook {
        Some(webhook) => defined(webhook, parameters.get(SAMPLE))?,
        None => {
            json!({ "definition": null, "body_file": null, "filters": [], "template": null, "samples": [], "sample": null,
            "schema": null })
        }
    };
    if let (Value::Object(row), Value::Object(members)) = (&mut row, members) {
        row.extend(members);
    }
    Ok(row)
}

fn defined(webhook: &Webhook, sample: Option<&str>) -> Result<Value, Problem> {
    let kind = &webhook.kind;
    let shown = shown_definition(webhook);
    let filters = webhook.filters.iter().map(|filter| webhook.mask.apply(&filter.sentence()).into_owned());
    let samples = kind.samples.iter().map(|sample| json!({ "name": &*sample.name, "event_type": &*sample.event_type }));
    Ok(json!({
        "definition": { "file": shown.file, "toml": shown.toml },
        "body_file": shown.body_file,
        "filters": filters.collect::<Vec<_>>(),
        "template": shown.template,
        "samples": samples.collect::<Vec<_>>(),
        "sample": sample.map(|name| named(kind, name)).transpose()?.map(|sample| made_of(webhook, sample)),
        "schema": kind.schema,
    }))
}

fn named<'k>(kind: &'k Kind, name: &str) -> Result<&'k Sample, Problem> {
    kind.sample(name).ok_or_else(|| {
        let known: Vec<&str> = kind.samples.iter().map(|sample| &*sample.name).collect();
        let meant =
            nearest(name, known.iter().copied()).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
        nonsense(SAMPLE, name, format!("{meant}Kind {} has {}", kind.name, known.join(", ")))
    })
}

/// Whether the webhook wants a sample, why not, and the request that it would send in any case.
fn made_of(webhook: &Webhook, sample: &Sample) -> Value {
    let (id, raw) = (EventId::from_bytes([0; 16]), Bytes::from(sample.payload.to_string()));
    let event = Event::new(id, webhook.kind.name.clone(), sample.event_type.clone(), Timestamp::now(), raw);
    let status = (webhook.status == Status::Inactive).then(|| INACTIVE.to_owned());
    let refusals = refusals(webhook, &event.tree()).into_iter().map(|cause| webhook.mask.apply(&cause).into_owned());
    let why: Vec<String> = status.into_iter().chain(refusals).collect();
    let (request, problem, missing) = match webhook.render(&event) {
        Ok(rendered) => {
            let mut shown = shown::request(webhook, &rendered);
            // Every event gives it anew, and this one is never sent.
            shown.headers.retain(|(name, _)| *name != WEBHOOK_ID.as_str());
            let request =
                json!({ "method": shown.method, "url": shown.url, "headers": shown.headers, "body": shown.body });
            (request, None, shown.missing)
        }
        Err(failure) => (Value::Null, Some(webhook.mask.apply(&failure.detail).into_owned()), Vec::new()),
    };
    json!({
        "name": &*sample.name,
        "event": sample.payload,
        "wanted": why.is_empty(),
        "why": why,
        "request": request,
        "problem": problem,
        "missing": missing,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Source, load};

    fn answer(file: &str, query: &str) -> Result<Value, Problem> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        std::fs::write(dir.path().join("webhooks/hook.toml"), file).unwrap();
        let env = Arc::new(|name: &str| (name.len() == 1).then(|| "canary-referred".to_owned()));
        let loaded = load(&Source { env, ..Source::new(dir.path()) });
        let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
        show(json!({ "name": "hook" }), Some(&snapshot.webhooks["hook"]), query)
    }

    #[test]
    fn a_sample_is_shown_with_the_request_that_is_made_of_it_and_without_a_secret() {
        let file = "url = 'https://a.example/canary-path/${env:P}'\nbody = '{\"id\": \"{{data.id}}\", \"x\": \"{{data.nope}}\", \"s\": \"${env:S}\"}'\n[headers]\nx-token = \"canary-typed\"\n[auth]\nbearer = { token = \"${env:T}\" }\n[[filters]]\nfield = \"integration\"\nany_of = [\"canary-referred\"]\n";
        let answer = answer(file, "sample=Granted").unwrap();
        assert!(!answer.to_string().contains("canary"), "{answer:#}");
        let sample = &answer["sample"];
        assert_eq!((&sample["name"], &sample["wanted"]), (&json!("RequestGranted"), &json!(false)));
        assert!(sample["why"][0].as_str().unwrap().ends_with("wanted \"***\""), "{sample:#}");
        assert_eq!(answer["filters"], json!(["integration is ***"]));
        assert_eq!(sample["request"]["url"], "https://a.example/***");
        assert_eq!(sample["missing"], json!(["data.nope"]));
        let body: Value = serde_json::from_str(sample["request"]["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["id"], &body["s"]), (&sample["event"]["data"]["id"], &json!("***")));
        let headers = sample["request"]["headers"].as_array().unwrap();
        for name in ["x-token", "authorization"] {
            assert!(headers.contains(&json!([name, "***"])), "{headers:?}");
        }
        assert!(!headers.iter().any(|header| header[0] == "webhook-id"));
        assert!(answer["schema"]["properties"].is_object());
        assert_eq!(answer["definition"]["file"], "webhooks/hook.toml");
    }

    #[test]
    fn a_sample_that_is_wanted_has_no_cause_and_one_that_cannot_be_rendered_a_problem() {
        let wanted = answer("url = 'https://a.example/'", "sample=RequestCreated").unwrap();
        assert_eq!((&wanted["sample"]["wanted"], &wanted["sample"]["why"]), (&json!(true), &json!([])));
        assert_eq!(wanted["template"], Value::Null);
        let strict =
            "url = 'https://a.example/{{data.nope}}'\nstrict = true\nstatus = 'inactive'\ntriggers = ['Manual']";
        let sample = answer(strict, "sample=RequestCreated").unwrap()["sample"].take();
        assert_eq!((&sample["request"], &sample["missing"]), (&Value::Null, &json!([])));
        assert!(sample["problem"].as_str().unwrap().starts_with("url: "), "{sample}");
        assert_eq!(sample["why"].as_array().unwrap().len(), 2);
        assert_eq!(answer(strict, "").unwrap()["sample"], Value::Null);
    }

    #[test]
    fn nonsense_is_told_what_there_is() {
        let detail = |query: &str| answer("url = 'https://a.example/'", query).unwrap_err().detail().to_owned();
        assert!(detail("sample=RequestGrantd").contains("did you mean `RequestGranted`?"));
        assert!(detail("sampel=x").contains("did you mean `sample`?"));
        assert!(detail("sample=a&sample=b").contains("once"));
    }
}
