//! Requests as people may see them: what authenticates, what is typed in clear and all of the URL behind its host masked.
//!
//! It does so for a webhook with its secrets as for one that was loaded masked, and for a request before the attempt adds what
//! belongs to it as for one behind.

use std::borrow::Cow;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::config::{is_secret_header, may_be_secret, says_more_than_scheme};
use crate::secret::{CUT, MASK, Mask};
use crate::webhook::request::Request;
use crate::webhook::signing::WEBHOOK_SIGNATURE;
use crate::webhook::{Auth, Webhook};

/// The port that a URL does not name.
const PORT: u16 = 443;

/// A request as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The method.
    pub method: String,
    /// `https://host/***`, with the port where it is another than 443.
    pub url: String,
    /// In the order in which they are set, with what the attempt adds.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// What the event lacked.
    pub missing: Vec<String>,
}

/// A request of a webhook as people may see it.
#[must_use]
pub fn request(webhook: &Webhook, request: &Request) -> Shown {
    Shown {
        method: request.method.to_string(),
        url: url(webhook),
        headers: headers(webhook, request),
        body: body(webhook, &request.body),
        missing: request.missing.clone(),
    }
}

/// A webhook's URL, of which people may see the host and the port.
#[must_use]
pub fn url(webhook: &Webhook) -> String {
    let port = if webhook.url.port == PORT { String::new() } else { format!(":{}", webhook.url.port) };
    format!("https://{}{port}/{MASK}", webhook.url.host)
}

/// A request's headers with every secret masked: what authenticates and signs, what is typed, and what is referred to.
#[must_use]
pub fn headers(webhook: &Webhook, request: &Request) -> Vec<(String, String)> {
    let mut headers = unauthenticated(webhook, request);
    for (name, value) in &mut headers {
        if is_typed_secret(webhook, name, value) {
            MASK.clone_into(value);
        } else if let Cow::Owned(masked) = webhook.mask.apply(value) {
            *value = masked;
        }
    }
    headers
}

/// A request's headers with what authenticates and signs masked, and nothing else.
#[must_use]
pub fn unauthenticated(webhook: &Webhook, request: &Request) -> Vec<(String, String)> {
    let auth = webhook.auth.as_ref().map(Auth::header);
    let is_masked = |name: &HeaderName| auth.as_ref() == Some(name) || *name == WEBHOOK_SIGNATURE;
    let mut headers: Vec<(String, String)> = Vec::with_capacity(request.headers.len() + 2);
    for (name, value) in &request.headers {
        let value = if is_masked(name) { MASK.into() } else { String::from_utf8_lossy(value.as_bytes()) };
        headers.push((name.as_str().to_owned(), value.into_owned()));
    }
    // What the attempt adds: a token that is not fetched to be looked at, and signatures.
    let token = matches!(webhook.auth, Some(Auth::OAuth2(_))).then_some(AUTHORIZATION);
    for name in token.into_iter().chain(webhook.signing.is_some().then_some(WEBHOOK_SIGNATURE)) {
        if !request.headers.contains_key(&name) {
            headers.push((name.as_str().to_owned(), MASK.to_owned()));
        }
    }
    headers
}

/// Whether a header sounds like a secret, and something in it is typed in clear, or referred to and not masked.
#[must_use]
pub fn is_typed_secret(webhook: &Webhook, name: &str, value: &str) -> bool {
    if !is_secret_header(name) || !may_be_secret(value) {
        return false;
    }
    let mut templates = webhook.headers.iter().filter(|(header, _)| header == name).map(|(_, template)| template);
    // Whatever else there may be, an event's values alone are no secret of the webhook.
    templates.any(|template| !template.is_plain() || template.literals().any(says_more_than_scheme))
}

/// What came or went as text, at most so many bytes of it, its secrets masked; `cut` is whether there is more that is not here. And
/// whether there is more than is shown.
#[must_use]
pub fn text(bytes: &[u8], cut: bool, mask: &Mask, bytes_max: usize) -> (String, bool) {
    // A secret that begins in what is shown is known by what follows it.
    let part = bytes.get(..bytes_max.saturating_add(mask.reach())).unwrap_or(bytes);
    let cut = cut || part.len() < bytes.len();
    let mut text = mask.apply(&marked(part, cut)).into_owned();
    if text.len() <= bytes_max.saturating_add(CUT.len()) {
        return (text, cut);
    }
    text.truncate(text.floor_char_boundary(bytes_max));
    text.push_str(CUT);
    (text, true)
}

/// Bytes as text. Where they are cut, a character that is not whole is left out and the cut is marked: a mask knows the beginning of a
/// secret by it.
#[must_use]
pub fn marked(bytes: &[u8], cut: bool) -> String {
    if !cut {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let whole = match bytes.utf8_chunks().last() {
        // An incomplete character at the end; what is none at all is longer, or stands before something else.
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none()) => {
            bytes.len() - last.invalid().len()
        }
        _ => bytes.len(),
    };
    String::from_utf8_lossy(bytes.get(..whole).unwrap_or(bytes)).into_owned() + CUT
}

/// A body with the webhook's secrets masked.
#[must_use]
pub fn body(webhook: &Webhook, body: &[u8]) -> String {
    webhook.mask.apply(&String::from_utf8_lossy(body)).into_owned()
}

/// A body for people: JSON is indented, all else is as it is.
#[must_use]
pub fn pretty(body: &str) -> String {
    serde_json::from_str::<Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| body.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderValue;
    use jiff::Timestamp;

    use super::*;
    use crate::config::{Source, load};
    use crate::event::{Event, EventId};

    #[test]
    fn a_cut_is_marked_wherever_it_falls_and_hides_the_beginning_of_a_secret() {
        let mask = Mask::new([&crate::secret::Secret::new("canäry-0123456789".to_owned())]);
        let whole = "x canäry-0123456789 y".as_bytes();
        assert_eq!(text(whole, false, &mask, 100), ("x *** y".to_owned(), false));
        for end in 7..19 {
            assert_eq!(text(&whole[..end], true, &mask, 100), ("x ***…".to_owned(), true), "{end}");
            assert!(!text(whole, false, &mask, end).0.contains("can"), "{end}");
        }
        // In the middle of the `ä`, behind too little of it to be known.
        assert_eq!(text(&whole[..6], true, &mask, 100), ("x can…".to_owned(), true));
        assert_eq!(marked(b"a\xff", true), "a\u{fffd}…");
        assert_eq!(marked("é".as_bytes(), true), "é…");
        assert_eq!(text(&[b'z'; 50], false, &mask, 10), ("zzzzzzzzzz…".to_owned(), true));
    }

    /// What is shown of the request that a webhook's file makes, and `seen` of it where an attempt has added its own headers.
    fn shown(file: &str, masked: bool, add: &[(&str, &str)]) -> Shown {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        std::fs::write(dir.path().join("webhooks/hook.toml"), file).unwrap();
        std::fs::write(dir.path().join("secret"), "CANARY-file").unwrap();
        let env = Arc::new(|name: &str| (name == "S").then(|| "CANARY-variable".to_owned()));
        let loaded = load(&Source { env, masked, ..Source::new(dir.path()) });
        let snapshot = loaded.snapshot.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let webhook = &snapshot.webhooks["hook"];
        let raw = Bytes::from_static(br#"{"event_type":"RequestCreated","data":{"id":"r-1"}}"#);
        let id = EventId::from_bytes([7; 16]);
        let event = Event::new(id, "request".into(), "RequestCreated".into(), Timestamp::UNIX_EPOCH, raw);
        let mut rendered = webhook.render(&event).unwrap();
        for (name, value) in add {
            rendered.headers.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        request(webhook, &rendered)
    }

    #[test]
    fn no_secret_is_in_a_request_that_is_shown_however_the_webhook_was_loaded() {
        let file = r#"
url = "https://hooks.example.com:443/CANARY-path/${env:S}"
body = '{"id": "{{data.id}}", "secret": "${file:secret}"}'
signing.standard_webhooks.secrets = ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
[headers]
x-api-key = "CANARY-typed"
x-auth-token = "Bearer ${env:S}"
x-mixed-token = "CANARY-typed {{data.id}}"
x-block-token = "{{#if data.id}}CANARY-typed{{/if}}"
x-call-token = '{{default data.none "CANARY-typed"}}'
x-csrf-token = "no-check"
x-request-token = "Bearer {{data.id}}"
x-team = "${env:S} and more"
"#;
        for auth in [
            "auth.bearer.token = 'CANARY-typed'",
            "auth.basic = { username = 'ana', password = 'CANARY-typed' }",
            "auth.api_key = { header = 'x-k', value = '${env:S}' }",
            "auth.oauth2 = { token_url = 'https://a.example/', client_id = 'CANARY-id', client_secret = '${env:S}' }",
        ] {
            for (masked, add) in [
                (false, &[] as &[_]),
                (true, &[]),
                (false, &[("authorization", "CANARY-token"), ("webhook-signature", "v1,CANARY")]),
            ] {
                let webhook = format!("{auth}\n{file}");
                // An API key leaves the header alone that this attempt would never add.
                let add = if auth.contains("api_key") { &[] } else { add };
                let shown = shown(&webhook, masked, add);
                assert!(!format!("{shown:?}").contains("CANARY"), "{auth} {masked} {add:?}: {shown:#?}");
                assert_eq!((&*shown.method, &*shown.url), ("POST", "https://hooks.example.com/***"));
                assert_eq!(shown.body, r#"{"id": "r-1", "secret": "***"}"#);
                let value =
                    |name: &str| shown.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value);
                let auth = if auth.contains("api_key") { "x-k" } else { "authorization" };
                for name in [auth, "webhook-signature", "x-api-key", "x-mixed-token", "x-block-token", "x-call-token"] {
                    assert_eq!(value(name), Some("***"), "{name}");
                }
                assert_eq!(value("x-csrf-token"), Some("no-check"));
                assert_eq!(value("x-request-token"), Some("Bearer r-1"));
                assert_eq!(value("x-team"), Some("*** and more"));
                assert_eq!(value("webhook-id"), Some("evt_07070707070707070707070707070707_hook"));
            }
        }
    }

    #[test]
    fn a_port_that_is_not_the_usual_one_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        std::fs::write(dir.path().join("outrigger.toml"), "egress.allow_ports = [8443]").unwrap();
        std::fs::write(dir.path().join("webhooks/a.toml"), "url = 'https://a.example:8443/x'").unwrap();
        let snapshot = load(&Source::new(dir.path())).snapshot.unwrap();
        assert_eq!(url(&snapshot.webhooks["a"]), "https://a.example:8443/***");
    }
}
