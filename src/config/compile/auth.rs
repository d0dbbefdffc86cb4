//! `[auth]`: at most one way, compiled to the header that carries it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::headers;
use super::refuse_unsupported;
use crate::config::document::{Report, Text};
use crate::config::reference::WEBHOOK;
use crate::config::references::Resolver;
use crate::config::table::Table;
use crate::secret::Secret;

/// Compiles `[auth]`.
pub(super) fn auth(
    report: &mut Report,
    root: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<(HeaderName, Secret)> {
    let table = root.table(report, "auth")?;
    table.refuse_unknown(report, WEBHOOK, "auth");
    refuse_unsupported(report, &table, "oauth2");
    if let Some(second) = table.entries.get(1) {
        report.error(second.key_at, "`[auth]` holds more than one way", "leave one of them");
        return None;
    }
    if let Some(bearer) = table.table(report, "bearer") {
        bearer.refuse_unknown(report, WEBHOOK, "auth.bearer");
        let (text, token) = required(report, &bearer, "token", resolver)?;
        if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            let fix = "a token has visible ASCII characters only, without blanks";
            report.error(text.at, "the bearer token is empty, or holds other characters than a token can", fix);
            return None;
        }
        return Some((AUTHORIZATION, Secret::new(format!("Bearer {}", token.expose()))));
    }
    if let Some(basic) = table.table(report, "basic") {
        basic.refuse_unknown(report, WEBHOOK, "auth.basic");
        let user = required(report, &basic, "username", resolver);
        let password = required(report, &basic, "password", resolver);
        let ((user_text, user), (_, password)) = (user?, password?);
        if user.expose().contains(':') {
            report.error(user_text.at, "the user name holds a colon, which ends it", "choose another user name");
            return None;
        }
        let pair = Secret::new(format!("{}:{}", user.expose(), password.expose()));
        return Some((AUTHORIZATION, Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))));
    }
    let key = table.table(report, "api_key")?;
    key.refuse_unknown(report, WEBHOOK, "auth.api_key");
    let header = key.text(report, "header");
    if key.get("header").is_none() {
        report.error(key.at, "`auth.api_key` has no `header`", "name the header that carries the key");
    }
    let name = header.and_then(|header| headers::name(report, header.value, header.at));
    let (text, value) = required(report, &key, "value", resolver)?;
    if value.expose().is_empty() || !value.expose().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        let problem = "the API key is empty, or holds other characters than a header can";
        report.error(text.at, problem, "an API key has visible ASCII characters and blanks only");
        return None;
    }
    Some((name?, value))
}

/// A field that must be there, references replaced. It is a constant: no event may be part of a credential.
fn required<'t>(
    report: &mut Report,
    table: &Table<'t>,
    key: &str,
    resolver: &mut Resolver<'_, '_>,
) -> Option<(Text<'t>, Secret)> {
    let Some(entry) = table.get(key) else {
        let fix = format!("add {key} = \"${{env:NAME}}\" or \"${{file:PATH}}\"");
        report.error(table.at, format!("`{}` has no `{key}`", table.path), fix);
        return None;
    };
    let at = entry.node.at;
    let text = table.text(report, key)?;
    if let Some(start) = text.value.find("{{") {
        let end =
            text.value.get(start..).and_then(|rest| rest.find("}}")).map_or(text.value.len(), |end| start + end + 2);
        report.error(
            text.within(start..end),
            "a credential cannot be a template",
            "give it by a reference such as ${env:NAME}",
        );
        return None;
    }
    if text.value.chars().any(char::is_control) {
        report.error(at, format!("`{}` holds a line break or another control character", table.name(key)), "remove it");
        return None;
    }
    resolver.expand(report, &text).map(|value| (text, value))
}
