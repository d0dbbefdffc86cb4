//! `[auth]`: at most one way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;

use super::headers;
use super::oauth2::{self, Beside};
use crate::config::document::{Report, Text};
use crate::config::reference::WEBHOOK;
use crate::config::references::Resolver;
use crate::config::table::Table;
use crate::secret::Secret;
use crate::webhook::Auth;

/// Compiles `[auth]`. The credentials themselves go to `secrets`.
pub(super) fn auth(
    report: &mut Report,
    root: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    beside: &Beside<'_>,
    secrets: &mut Vec<Secret>,
) -> Option<Auth> {
    let table = root.table(report, "auth")?;
    table.refuse_unknown(report, WEBHOOK, "auth");
    if let Some(second) = table.entries.get(1) {
        report.error(second.key_at, "`[auth]` holds more than one way", "leave one of them");
        return None;
    }
    if let Some(bearer) = table.table(report, "bearer") {
        return self::bearer(report, &bearer, resolver, secrets);
    }
    if let Some(basic) = table.table(report, "basic") {
        return self::basic(report, &basic, resolver, secrets);
    }
    if let Some(oauth2) = table.table(report, "oauth2") {
        return oauth2::oauth2(report, &oauth2, resolver, beside, secrets).map(Auth::OAuth2);
    }
    let key = table.table(report, "api_key")?;
    api_key(report, &key, resolver, secrets)
}

fn bearer(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    secrets: &mut Vec<Secret>,
) -> Option<Auth> {
    table.refuse_unknown(report, WEBHOOK, "auth.bearer");
    let (text, token) = required(report, table, "token", resolver)?;
    if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        let fix = "a token has visible ASCII characters only, without blanks";
        report.error(text.at, "the bearer token is empty, or holds other characters than a token can", fix);
        return None;
    }
    let header = Secret::new(format!("Bearer {}", token.expose()));
    secrets.push(token);
    Some(Auth::Header(AUTHORIZATION, header))
}

fn basic(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    secrets: &mut Vec<Secret>,
) -> Option<Auth> {
    table.refuse_unknown(report, WEBHOOK, "auth.basic");
    let user = required(report, table, "username", resolver);
    let password = required(report, table, "password", resolver);
    let ((user_text, user), (_, password)) = (user?, password?);
    if user.expose().contains(':') {
        report.error(user_text.at, "the user name holds a colon, which ends it", "choose another user name");
        return None;
    }
    let pair = Secret::new(format!("{}:{}", user.expose(), password.expose()));
    let encoded = Secret::new(STANDARD.encode(pair.expose()));
    let header = Secret::new(format!("Basic {}", encoded.expose()));
    secrets.extend([user, password, encoded]);
    Some(Auth::Header(AUTHORIZATION, header))
}

fn api_key(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    secrets: &mut Vec<Secret>,
) -> Option<Auth> {
    table.refuse_unknown(report, WEBHOOK, "auth.api_key");
    let header = table.text(report, "header");
    if table.get("header").is_none() {
        report.error(table.at, "`auth.api_key` has no `header`", "name the header that carries the key");
    }
    let name = header.and_then(|header| headers::name(report, header.value, header.at));
    let (text, value) = required(report, table, "value", resolver)?;
    if value.expose().is_empty() || !value.expose().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        let problem = "the API key is empty, or holds other characters than a header can";
        report.error(text.at, problem, "an API key has visible ASCII characters and blanks only");
        return None;
    }
    secrets.push(value.clone());
    Some(Auth::Header(name?, value))
}

/// A field that must be there.
pub(super) fn required<'t>(
    report: &mut Report,
    table: &Table<'t>,
    key: &str,
    resolver: &mut Resolver<'_, '_>,
) -> Option<(Text<'t>, Secret)> {
    if table.get(key).is_none() {
        let fix = format!("add {key} = \"${{env:NAME}}\" or \"${{file:PATH}}\"");
        report.error(table.at, format!("`{}` has no `{key}`", table.path), fix);
        return None;
    }
    let text = table.text(report, key)?;
    constant(report, &text, resolver).map(|value| (text, value))
}

/// A text with its references replaced. It is a constant: no event may be part of a credential.
pub(super) fn constant(report: &mut Report, text: &Text<'_>, resolver: &mut Resolver<'_, '_>) -> Option<Secret> {
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
        report.error(text.at, "a credential holds a line break or another control character", "remove it");
        return None;
    }
    resolver.expand(report, text)
}
