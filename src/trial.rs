//! Trials: one mock event to a webhook's real target, whatever status, triggers and filters say. What `outrigger test` and the admin
//! API do.

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::attempt::{Attempted, attempt};
use crate::client::Way;
use crate::delivery::Failure;
use crate::diagnostic::nearest;
use crate::event::{Event, EventId};
use crate::kind::Kind;
use crate::kind::decode::decode;
use crate::trace::SpanId;
use crate::webhook::Webhook;
use crate::webhook::request::{Request, TEST_HEADER};

/// What the header of a trial says.
const MARK: HeaderValue = HeaderValue::from_static("true");

/// Who asks in a mock event.
const TEST_REQUESTER: &str = "Outrigger test";

/// What to send.
#[derive(Clone, Debug)]
pub enum Mock {
    /// The kind's sample of this trigger; the webhook's first trigger where none is named.
    Trigger(Option<String>),
    /// The bytes of an event.
    Event(Bytes),
}

/// The mock event, under an id of its own. The error is what is wrong with what was asked for.
pub fn mock_event(webhook: &Webhook, mock: Mock) -> Result<Event, String> {
    let kind = &webhook.kind;
    let (id, now) = (EventId::new(Uuid::now_v7()), Timestamp::now());
    let trigger = match mock {
        Mock::Event(raw) => return decode(kind, raw, id, now).map_err(|error| format!("the event: {error}")),
        Mock::Trigger(trigger) => trigger,
    };
    let sample = if let Some(trigger) = trigger {
        kind.sample(&trigger).ok_or_else(|| no_sample(kind, &trigger))?
    } else {
        let triggering = kind.samples.iter().find(|sample| webhook.triggers.include(&sample.event_type));
        let none = || format!("kind \"{}\" has no sample; give an event of your own", kind.name);
        triggering.or(kind.samples.first()).ok_or_else(none)?
    };
    let mut payload = sample.payload.clone();
    if let Some(name) = payload.pointer_mut("/data/requester/name") {
        *name = Value::from(TEST_REQUESTER);
    }
    let raw = Bytes::from(payload.to_string());
    Ok(Event::new(id, kind.name.clone(), sample.event_type.clone(), now, raw))
}

fn no_sample(kind: &Kind, trigger: &str) -> String {
    let known: Vec<&str> = kind.samples.iter().map(|sample| sample.name.as_ref()).collect();
    let meant = nearest(trigger, known.iter().copied());
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    format!("kind \"{}\" has no sample `{trigger}`{meant}; there are {}", kind.name, known.join(", "))
}

/// Renders the request of a trial that is this span.
pub fn render(webhook: &Webhook, event: &Event, span: SpanId) -> Result<Request, Failure> {
    let mut request = webhook.render(event)?;
    request.headers.insert(TEST_HEADER, MARK);
    request.trace(event, span);
    Ok(request)
}

/// Sends a mock event once and judges what comes back.
pub async fn send(way: Option<&Way>, webhook: &Webhook, event: &Event, span: SpanId) -> Attempted {
    attempt(way, webhook, event, span, Some((TEST_HEADER, MARK))).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Source, load};

    fn webhook(file: &str) -> Arc<Webhook> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        std::fs::write(dir.path().join("webhooks/hook.toml"), file).unwrap();
        let loaded = load(&Source { env: Arc::new(|_| None), ..Source::new(dir.path()) });
        Arc::clone(&loaded.snapshot.unwrap().webhooks["hook"])
    }

    #[test]
    fn a_mock_event_is_the_sample_that_was_asked_for_and_says_what_it_is() {
        let webhook = webhook("url = 'https://a.example/'\ntriggers = ['RequestGranted']\nstatus = 'inactive'\n");
        let mock = |trigger: Option<&str>| mock_event(&webhook, Mock::Trigger(trigger.map(str::to_owned)));
        let event = mock(None).unwrap();
        assert_eq!(&*event.event_type, "RequestGranted", "its first trigger");
        assert_eq!(event.payload().unwrap()["data"]["requester"]["name"], TEST_REQUESTER);
        assert_eq!(&*mock(Some("Created")).unwrap().event_type, "RequestCreated", "whatever its triggers are");
        let problem = mock(Some("RequestGrantd")).unwrap_err();
        assert!(problem.contains("`RequestGrantd`; did you mean `RequestGranted`?"), "{problem}");
        let request = render(&webhook, &event, SpanId::new(7)).unwrap();
        assert_eq!(request.headers[TEST_HEADER], "true");
    }

    #[test]
    fn an_event_of_ones_own_is_sent_as_it_is() {
        let webhook = webhook("url = 'https://a.example/'");
        let raw = Bytes::from_static(b"{\"event_type\": \"RequestGranted\", \"x\": 1.0}");
        let event = mock_event(&webhook, Mock::Event(raw.clone())).unwrap();
        assert_eq!((&*event.event_type, &event.raw), ("RequestGranted", &raw));
        let problem = mock_event(&webhook, Mock::Event(Bytes::from_static(b"[]"))).unwrap_err();
        assert!(problem.starts_with("the event: "), "{problem}");
    }
}
