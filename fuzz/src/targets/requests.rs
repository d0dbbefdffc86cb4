//! What holds for every request, whatever the event and the template.

use outrigger::event::Event;
use outrigger::webhook::request::{Request, WEBHOOK_ID};
use outrigger::webhook::{Body, Webhook};
use serde::de::IgnoredAny;

/// Holds a request against what its webhook says.
pub fn assert_sendable(webhook: &Webhook, event: &Event, request: &Request) {
    assert_eq!(request.uri.scheme_str(), Some("https"), "{}", request.uri);
    assert_eq!(request.uri.host(), Some(&*webhook.url.host), "{}", request.uri);
    assert_eq!(request.uri.port_u16().unwrap_or(443), webhook.url.port, "{}", request.uri);
    assert!(request.uri.authority().is_some_and(|authority| !authority.as_str().contains('@')), "{}", request.uri);
    assert_eq!(request.method, webhook.method);
    let path = request.uri.path_and_query().expect("a path").as_str();
    assert!(path.starts_with('/'), "{path}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{path:?}");

    // Beside the webhook's own there are the delivery's id, the agent, the content type and what authenticates.
    assert!(request.headers.len() <= webhook.headers.len() + 4, "{:?}", request.headers);
    assert_eq!(request.headers.get_all(WEBHOOK_ID).iter().count(), 1);
    for (name, value) in &request.headers {
        assert_eq!(request.headers.get_all(name).iter().count(), 1, "{name}");
        assert!(value.as_bytes().iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{name}: {value:?}");
    }

    match &webhook.body {
        Body::None => assert!(request.body.is_empty()),
        Body::Event => assert_eq!(request.body, event.raw),
        Body::Json(_) => {
            let read = serde_json::from_slice::<IgnoredAny>(&request.body);
            assert!(read.is_ok(), "{}", String::from_utf8_lossy(&request.body));
        }
        Body::Text(_) => {}
    }
    assert!(matches!(webhook.body, Body::Event) || request.body.len() <= webhook.body_bytes_max);
}
